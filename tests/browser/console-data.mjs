// @ts-check
//! The gateway that the tests and the pictures of the console use: the sample data, a provider that works, one that is throttled, one that
//! cannot be reached, and texts that would do harm if they were not escaped.

import { createHash } from "node:crypto";
import { addSampleData } from "../../scripts/lib/sample-data.mjs";
import {
  Gateway,
  OPERATOR_KEY,
  chat,
  eventually,
  operate,
  requestKey,
  variables,
} from "../e2e/harness.mjs";
import { closeDays } from "../e2e/ledgers.mjs";

const DAY_MS = 86_400_000;
/** What `addLargeData` adds. */
const LARGE = { keys: 10_000, calls: 100_000, days: 90, requests: 2_000, entries: 20_000 };

/** Texts that would do harm, or break the layout, if they were not treated as text. */
export const HOSTILE = {
  markup: `"><img src=x onerror="window.foreign = true"><script>window.foreign = true</script>`,
  bidi: "\u202egnp.exe \u2066hidden\u2069",
  long: "very-long-".repeat(1000),
};
/** Ids of models of the simulated provider. */
const MODELS = ["sim-small", "sim-large"];
const HOSTILE_MODELS = ["<script>window.foreign = true</script>", "モデル-🦀"];

/**
 * @param {import("../e2e/harness.mjs").Upstream} upstream
 * @param {{ hostile?: boolean }} [options] hostile: false leaves the texts that would do harm out
 */
export function consoleVariables(upstream, { hostile = true } = {}) {
  const provider = (/** @type {string} */ name, /** @type {string[]} */ models) => ({
    base_url: `${upstream.url}/${name}/v1`,
    auth: "none",
    models,
  });
  return {
    // A receiver that rejects alerts.
    GATEWAY_SLACK_URL: `${upstream.url}/slack`,
    // Keys of providers can be stored.
    GATEWAY_MASTER_KEY: Buffer.alloc(32, 9).toString("base64"),
    ...variables(upstream, {
      providers: {
        demo: provider("demo", hostile ? [...MODELS, ...HOSTILE_MODELS] : MODELS),
        busy: provider("busy", ["sim-small"]),
        broken: provider("broken", ["sim-small"]),
        // Without a key it is not active.
        keyless: { base_url: `${upstream.url}/keyless/v1`, models: ["sim-small"] },
      },
      calls: { keep: LARGE.calls },
      groups: { chat: { models: ["busy/sim-small", "demo/sim-small"] } },
      aliases: { auto: "demo/sim-small" },
      // A key with a budget calls only models whose price is known.
      models: {
        "busy/sim-small": { input_usd_per_mtok: 2, output_usd_per_mtok: 8, max_output: 1000 },
        "demo/sim-large": { input_usd_per_mtok: 5, output_usd_per_mtok: 25, max_output: 1000 },
      },
    }),
  };
}

/**
 * Adds calls of the last 30 days to the sums of the database, for pictures. The accounts of keys do not have them.
 *
 * @param {Gateway} gateway
 */
export function addHistory(gateway) {
  const today = Math.floor(Date.now() / 86_400_000);
  gateway.withDatabase((database) => {
    const columns = database
      .prepare("PRAGMA table_info(usage_by_key)")
      .all()
      .map(({ name }) => String(name));
    const ids = new Map(
      database
        .prepare("SELECT id, name FROM issued_keys")
        .all()
        .map(({ id, name }) => [String(name), String(id)]),
    );
    const row = database.prepare(
      `INSERT INTO usage_by_key (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})`,
    );
    const parts = /** @type {const} */ ([
      ["checkout-service", "checkout", "demo", "sim-small", 61],
      ["support-bot", "support", "demo", "sim-large", 34],
      ["analytics-nightly", "search", "busy", "sim-small", 17],
    ]);
    for (let day = today - 29; day <= today; day += 1) {
      const weekday = new Date(day * 86_400_000).getUTCDay() % 6 === 0 ? 0.4 : 1;
      for (const [at, [key, project, provider, model, size]] of parts.entries()) {
        // Regular, so that a picture is the same each time: no random numbers.
        const wave = 1 + 0.25 * Math.sin(day * 1.7 + at * 2) + (day - today) / 80;
        const requests = Math.round(size * 6 * weekday * wave);
        const failed = Math.round(requests * (day % 11 === 0 ? 0.08 : 0.006));
        /** @type {Record<string, string | number>} */
        const values = { day, key: ids.get(key) ?? key, project, provider, model, requests };
        values["operation"] = "responses"; // the calls of the sample data have another one
        values["successful"] = requests - failed;
        values["attempts"] = requests + failed;
        values["prompt_tokens"] = requests * 820;
        values["completion_tokens"] = requests * 190;
        values["cost_micro_usd"] = requests * 5310;
        values["duration_ms"] = requests * 1400;
        values["streams"] = Math.round(requests / 2);
        values["first_token_ms"] = Math.round(requests / 2) * 310;
        values["hour"] = day * 24 + 23;
        values["hours"] = "{}";
        row.run(...columns.map((column) => values[column] ?? 0));
      }
    }
    closeDays(database);
  });
}

/**
 * @param {Gateway} gateway with `consoleVariables`
 * @param {{ hostile?: boolean }} [options] hostile: false leaves the texts that would do harm out
 * @returns {Promise<Record<string, string>>} the keys of the sample data by name
 */
export async function fill(gateway, { hostile = true } = {}) {
  const target = { url: gateway.url, operatorKey: OPERATOR_KEY, model: "demo/sim-small" };
  const keys = (await addSampleData(target)) ?? {};
  const headers = { authorization: `Bearer ${keys["support-bot"]}` };
  // A provider that is throttled, so that a group moves on, and one that fails.
  await chat(
    gateway,
    { model: "chat", simulate: [{ status: 429, retry_after: 600, when: { path: "/busy" } }] },
    headers,
  );
  const failure = { status: 503, message: "The model is overloaded, try again later" };
  for (let n = 0; n < 3; n += 1)
    await chat(gateway, { model: "broken/sim-small", simulate: { ...failure, retry_after: 1 } });
  await chat(gateway, { model: "demo/sim-large", stream: true }).then((response) =>
    response.text(),
  );
  for (const text of hostile ? [HOSTILE.markup, HOSTILE.long] : [])
    await requestKey(gateway, {
      email: "hostile@example.com",
      use_case: text.slice(0, 2000),
      company: text.slice(0, 120),
    });
  // A public request may not have characters that change the direction of text; one of a developer portal may.
  if (hostile)
    await operate(gateway, "POST", "/api/portal/requests", {
      by_user: "hostile-portal",
      fields: { use_case: HOSTILE.bidi, company: HOSTILE.markup },
    });
  // The receipts and sums of all these calls.
  await eventually(async () => {
    const usage = await (await operate(gateway, "GET", "/usage?key=checkout-service")).json();
    const lanes = await (await operate(gateway, "GET", "/v0/lanes")).json();
    const { total_requests } = await (await fetch(`${gateway.url}/v1/analytics`)).json();
    const has = (/** @type {string} */ name) =>
      lanes.some((/** @type {any} */ lane) => lane.provider === name && lane.last_error);
    return usage.total_requests === 12 && has("broken") && has("busy") && total_requests >= 35;
  }, 20_000);
  return keys;
}

/**
 * Fills the database as after a long time: 10,000 keys, 100,000 calls in the list, 90 days of usage, requests, and a long audit
 * trail. It writes the tables directly; the accounts of keys are empty. Names and amounts are the same each time.
 *
 * @param {Gateway} gateway with an empty database, and with `calls.keep` of 100,000
 */
export function addLargeData(gateway) {
  const now = Date.now();
  const today = Math.floor(now / DAY_MS);
  const json = (/** @type {unknown} */ value) => JSON.stringify(value);
  const id = (/** @type {string} */ prefix, /** @type {number} */ n) =>
    `${prefix}${String(n).padStart(26, "0")}`;
  const keyId = (/** @type {number} */ n) =>
    `01940000-0000-7000-8000-${String(n).padStart(12, "0")}`;
  const models = MODELS.map((model) => ["demo", model]).concat([["busy", "sim-small"]]);
  const project = (/** @type {number} */ n) => ["", "checkout", "support", "search"][n % 4] ?? "";
  /** Few keys make most of the calls. @param {number} n */
  const caller = (n) => Math.floor(LARGE.keys * ((n * 0.618_034) % 1) ** 4);
  gateway.withDatabase((database) => {
    /**
     * @param {string} table
     * @param {Record<string, string | number | null>} row with the columns that every row has
     */
    const inserter = (table, row) => {
      const columns = Object.keys(row);
      const statement = database.prepare(
        `INSERT INTO ${table} (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})`,
      );
      return (/** @type {typeof row} */ values) =>
        statement.run(...columns.map((column) => values[column] ?? row[column] ?? null));
    };
    database.exec("BEGIN");
    const addKey = inserter("issued_keys", {
      ...{ id: "", name: "", disabled: 0, policies: "[]", metadata: "{}", limits: "{}" },
      ...{ request_id: null, created_ms: now, created_by: "ops", expires_ms: null },
    });
    const addSecret = inserter("key_secrets", {
      public_id: "",
      digest: "",
      key_id: "",
      created_ms: now,
    });
    for (let n = 0; n < LARGE.keys; n += 1) {
      addKey({
        id: keyId(n),
        name: `${["team", "service", "ci", "person"][n % 4]}-${String(n).padStart(5, "0")}`,
        disabled: Number(n % 50 === 0),
        policies: json([["trial", "team", "production"][n % 3]]),
        metadata: json({ team: `team-${n % 200}`, owner: `owner-${n}@example.com` }),
        limits: n % 5 === 0 ? json({ usd_per_month: 10 + (n % 90) }) : "{}",
        created_ms: now - n * 600_000,
        expires_ms: n % 20 === 0 ? now - DAY_MS : now + 30 * DAY_MS,
        request_id: n < LARGE.requests ? id("kreq_", n) : null,
      });
      const digest = n.toString(16).padStart(64, "0");
      addSecret({ public_id: `gw_${String(n).padStart(10, "0")}`, digest, key_id: keyId(n) });
    }
    const addRequest = inserter("key_requests", {
      ...{ id: "", state: "", by_user: "", email: "", policies: "[]", fields: "{}", version: "v2" },
      ...{ date_created: new Date(now).toISOString(), created_ms: now, key_id: null },
    });
    for (let n = 0; n < LARGE.requests; n += 1) {
      addRequest({
        id: id("kreq_", n),
        state: n % 4 === 0 ? "pending" : n % 4 === 1 ? "declined" : "approved",
        by_user: `developer-${n}`,
        email: `person-${n}@example.com`,
        fields: json({
          use_case: `Use case ${n}: `.padEnd(300, "text "),
          company: `Company ${n % 90}`,
        }),
        created_ms: now - n * 3_600_000,
        key_id: n % 4 > 1 ? keyId(n) : null,
      });
    }
    // Sums: each call counts in the row of its day, key, project and model.
    /** @type {Map<string, Record<string, string | number>>} */
    const sums = new Map();
    for (let n = 0; n < LARGE.calls; n += 1) {
      const day = today - (n % LARGE.days);
      const [provider = "", model = ""] = models[n % models.length] ?? [];
      const key = keyId(caller(n));
      const at = [day, key, project(n), provider, model].join(" ");
      const row = sums.get(at) ?? {
        day,
        key,
        operation: "chat/completions",
        project: project(n),
        provider,
        model,
      };
      sums.set(at, row);
      const add = (/** @type {string} */ name, /** @type {number} */ amount) =>
        (row[name] = Number(row[name] ?? 0) + amount);
      add("requests", 1);
      add("successful", Number(n % 40 !== 0));
      add("attempts", 1);
      add("prompt_tokens", 400 + (n % 900));
      add("completion_tokens", 100 + (n % 400));
      add("cost_micro_usd", 900 + (n % 5_000));
      add("duration_ms", 900);
      row["hour"] = day * 24 + (n % 24);
    }
    const columns = database.prepare("PRAGMA table_info(usage_by_key)").all();
    const empty = Object.fromEntries(
      columns.map(({ name }) => [String(name), name === "hours" ? "{}" : 0]),
    );
    const addSums = inserter("usage_by_key", empty);
    for (const row of sums.values()) addSums(row);
    // The list of calls: five in ten seconds.
    const addCalls = inserter("recent_calls", { span: 0, calls: 5, receipts: "" });
    for (let n = 0; n < LARGE.calls; n += 5) {
      const time = new Date(now - n * 5_000);
      const receipts = Array.from({ length: 5 }, (_, i) => {
        const [provider = "", model = ""] = models[(n + i) % models.length] ?? [];
        const isFailed = (n + i) % 40 === 0;
        const tokens = { prompt_tokens: 400 + (n % 900), completion_tokens: 100 + (n % 400) };
        return json({
          id: id("rcpt_", LARGE.calls - n + i),
          ...{
            request_id: id("req_", n + i),
            time: time.toISOString(),
            operation: "chat/completions",
          },
          ...{ project: project(n + i) || null, provider, model, stream: true },
          ...{ status: isFailed ? 503 : 200, code: isFailed ? "no_upstream_available" : null },
          ...{ outcome: isFailed ? "failed" : "answered", ...tokens, cached_tokens: 0 },
          ...{ cache_write_tokens: null, reasoning_tokens: 0, image_tokens: null },
          ...{ cost_micro_usd: 900 + (n % 5_000), first_token_ms: 210, duration_ms: 900 },
          ...{ partial: false, estimated: false, capped: false },
          attempts: [
            {
              ...{ provider, model, key: 0, outcome: isFailed ? "server_error" : "ok", ...tokens },
              ...{
                status: isFailed ? 503 : 200,
                duration_ms: 900,
                cost_micro_usd: 900 + (n % 5_000),
              },
              price: {
                input: 3_000_000,
                cached_input: null,
                cache_write: null,
                output: 15_000_000,
              },
            },
          ],
          ...{
            seq: n,
            totals: { requests: n, ...tokens, cost_micro_usd: n },
            previous: "0".repeat(64),
          },
          ...{ hash: n.toString(16).padStart(64, "0"), key_id: keyId(caller(n + i)) },
        });
      });
      addCalls({ span: Math.floor(time.getTime() / 10_000), receipts: receipts.join(",") });
    }
    const addEntry = inserter("audit_log", { seq: 0, entry: "", hash: "" });
    let head = "0".repeat(64);
    for (let seq = 1; seq <= LARGE.entries; seq += 1) {
      const entry = json({
        ...{
          action: "key.rotated",
          actor: "ops",
          at: new Date(now - (LARGE.entries - seq) * 60_000),
        },
        detail: { key_id: keyId(seq), overlap_seconds: 3600 },
        ...{ seq, subject: `team-${String(seq).padStart(5, "0")}` },
      });
      head = createHash("sha256").update(`${head}\n${entry}`).digest("hex");
      addEntry({ seq, entry, hash: head });
    }
    database.exec("COMMIT");
    closeDays(database);
  });
}
