// @ts-check
//! Exchanges with bindings. Each is one promise and one string in each direction, so that Wasm awaits once and parses
//! JSON itself.

/** The time limit of the database, in milliseconds. */
const DATABASE_MS = 10_000;
/** The time limit of the receiver of a webhook, in milliseconds. */
const WEBHOOK_MS = 10_000;

/**
 * Runs statements as one transaction: all of them or none.
 *
 * @param {D1Database} database
 * @param {string} statements JSON: `[[sql, [parameter, …]], …]`
 * @returns {Promise<string>} JSON: `[{"rows": […], "changes": n}, …]`
 */
export async function runStatements(database, statements) {
  /** @type {[string, (string | number | null)[]][]} */
  const list = JSON.parse(statements);
  const batch = database.batch(list.map(([sql, values]) => database.prepare(sql).bind(...values)));
  const results = await within(DATABASE_MS, batch);
  return JSON.stringify(
    results.map(({ results: rows, meta }) => ({ rows: rows ?? [], changes: meta.changes })),
  );
}

/**
 * Runs statements synchronously in the storage of a Durable Object, as one transaction. A statement without
 * parameters may consist of several.
 *
 * @param {DurableObjectState} state
 * @param {string} statements JSON: `[[sql, [parameter, …]], …]`
 * @param {string} long a parameter that is too long for JSON; `true` in `statements` is its placeholder
 * @returns {string} JSON: the rows that each statement found, as objects by column
 */
export function runObjectStatements(state, statements, long) {
  /** @type {[string, (string | number | null | true)[]][]} */
  const list = JSON.parse(statements);
  const { storage } = state;
  return JSON.stringify(
    storage.transactionSync(() =>
      list.map(([sql, values]) =>
        storage.sql.exec(sql, ...values.map((value) => (value === true ? long : value))).toArray(),
      ),
    ),
  );
}

/**
 * Sets the alarm of a Durable Object.
 *
 * @param {DurableObjectState} state
 * @param {number} at in milliseconds since 1970
 */
export function setObjectAlarm(state, at) {
  // The output gate holds the response until the write is done, so there is nothing to wait for.
  state.storage.setAlarm(at).catch(() => {});
}

/**
 * Reads the text that a Durable Object stores under a name.
 *
 * @param {DurableObjectState} state
 * @param {string} name
 * @returns {Promise<string | undefined>}
 */
export async function readText(state, name) {
  return state.storage.get(name);
}

/**
 * Reads all texts whose names begin with a prefix.
 *
 * @param {DurableObjectState} state
 * @param {string} prefix
 * @returns {Promise<string>} JSON: an array of the texts
 */
export async function readTexts(state, prefix) {
  return JSON.stringify([...(await state.storage.list({ prefix })).values()]);
}

/**
 * Stores a text under a name.
 *
 * @param {DurableObjectState} state
 * @param {string} name
 * @param {string} text
 */
export async function storeText(state, name, text) {
  await state.storage.put(name, text);
}

/**
 * Deletes everything that a Durable Object stores.
 *
 * @param {DurableObjectState} state
 */
export async function deleteAll(state) {
  await state.storage.deleteAll();
}

/**
 * Sets the alarm of a Durable Object, unless an earlier one is set.
 *
 * @param {DurableObjectState} state
 * @param {number} at in milliseconds since 1970
 */
export async function wakeBy(state, at) {
  const set = await state.storage.getAlarm();
  if (set === null || set > at) await state.storage.setAlarm(at);
}

/**
 * Sends a message to a Durable Object and returns its response.
 *
 * @param {DurableObjectNamespace} namespace
 * @param {string} name of the object
 * @param {string} message
 * @param {number} limit in milliseconds
 * @returns {Promise<string>}
 */
export async function sendToObject(namespace, name, message, limit) {
  return within(limit, responseOf(namespace.get(namespace.idFromName(name)), message));
}

/**
 * @param {DurableObjectStub} stub
 * @param {string} message
 */
async function responseOf(stub, message) {
  const response = await stub.fetch("https://object/", { method: "POST", body: message });
  const text = await response.text();
  if (!response.ok) throw new Error(`the object responded with status ${response.status}: ${text}`);
  return text;
}

/**
 * Writes a data point of Analytics Engine. The runtime buffers it, so there is nothing to wait for.
 *
 * @param {AnalyticsEngineDataset} dataset
 * @param {string} point JSON: `{"indexes": […], "blobs": […], "doubles": […]}`
 */
export function writeDataPoint(dataset, point) {
  dataset.writeDataPoint(JSON.parse(point));
}

/**
 * Sends a text by e-mail.
 *
 * @param {SendEmail} binding
 * @param {string} from
 * @param {string} to
 * @param {string} subject
 * @param {string} text
 */
export async function sendEmail(binding, from, to, subject, text) {
  await binding.send({ from, to, subject, text });
}

/**
 * Posts a webhook.
 *
 * @param {string} url
 * @param {string} id empty for a receiver without signatures
 * @param {string} timestamp
 * @param {string} signature
 * @param {string} body
 * @returns {Promise<string>} the status; redirects are not followed
 */
export async function postWebhook(url, id, timestamp, signature, body) {
  const response = await fetch(url, {
    method: "POST",
    redirect: "manual",
    signal: AbortSignal.timeout(WEBHOOK_MS),
    headers: {
      "content-type": "application/json",
      "user-agent": "gatehouse",
      ...(id !== "" && {
        "webhook-id": id,
        "webhook-timestamp": timestamp,
        "webhook-signature": signature,
      }),
    },
    body,
  });
  await response.body?.cancel();
  return String(response.status);
}

/**
 * Posts telemetry.
 *
 * @param {string} url
 * @param {string} headers JSON: `{"name": "value", …}`
 * @param {string} body
 * @returns {Promise<string>} the status; redirects are not followed
 */
export async function postTelemetry(url, headers, body) {
  const response = await fetch(url, {
    method: "POST",
    redirect: "manual",
    signal: AbortSignal.timeout(WEBHOOK_MS),
    headers: {
      ...JSON.parse(headers),
      "content-type": "application/json",
      "user-agent": "gatehouse",
    },
    body,
  });
  await response.body?.cancel();
  return String(response.status);
}

/**
 * @template T
 * @param {number} limit in milliseconds
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
async function within(limit, promise) {
  /** @type {number | null} */
  let timer = null;
  /** @type {Promise<never>} */
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no response within ${limit} ms`)), limit);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
