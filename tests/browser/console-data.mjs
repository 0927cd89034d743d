// @ts-check
//! The gateway that the tests and the pictures of the console use: the sample data, a provider that works, one that is throttled, one that
//! cannot be reached, and texts that would do harm if they were not escaped.

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
