// @ts-check
// The command selftest: the gateway's own checks, and those that only a client can make: an unknown key, CORS, the order of
// a stream, the limit of a key, and a call that is cancelled.
//
// Calls cost money, so they need consent. They are made with a key that expires within minutes and is revoked at the end.

import { randomBytes } from "node:crypto";
import { createInterface } from "node:readline/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { call, expectFields } from "../lib/gateway-client.mjs";
import { table } from "../lib/table.mjs";
import { explain, Failure } from "../lib/terminal.mjs";
import { gatewayOf } from "./connection.mjs";
import { report } from "./report.mjs";

/** @import { Gateway } from "../lib/gateway-client.mjs" */
/** @import { Column } from "../lib/table.mjs" */
/** @import { Options } from "../gateway-operator.mjs" */

/** @typedef {{ name: string, ok: boolean, detail: string, fix: string | null }} Check */

/** The time limits of the gateway's own checks and of one call, in seconds. */
const GATEWAY_S = 100;
const CALL_S = 30;
/** The time for which the receipt of a cancelled call is looked for, in milliseconds. */
const RECEIPT_MS = 15_000;
/** The calls that the limit of the key allows: the stream, and the one that is cancelled. */
const CALLS = 2;

/** @type {Column<Check>[]} */
const COLUMNS = [
  { title: "", cell: ({ ok }) => (ok ? "ok" : "FAIL") },
  { title: "CHECK", cell: ({ name }) => name },
  { title: "FINDING", cell: ({ detail, fix }) => (fix ? `${detail}. Fix: ${fix}` : detail) },
];

/** @param {Options} options */
export async function selfTest(options) {
  const gateway = await gatewayOf({ ...options, timeout: GATEWAY_S });
  const spend = await maySpend(options);
  const data = await call(gateway, "POST", "/v0/selftest", { spend });
  expectFields(data, { ok: "boolean", checks: "array" });
  const mine = [await checked("unknown key", () => unknownKey(gateway))];
  mine.push(await checked("CORS", () => cors(gateway)));
  /** @type {number | null} */
  let spentMicroUsd = 0;
  if (spend && data.model) {
    const calls = await callsOf(gateway, data.model);
    mine.push(...calls.checks);
    spentMicroUsd = calls.spentMicroUsd;
  }
  const checks = [...data.checks, ...mine];
  const spent =
    data.spent_usd === null || spentMicroUsd === null
      ? null
      : String(Number((Number(data.spent_usd) + spentMicroUsd / 1e6).toFixed(6)));
  const ok = checks.every((check) => check.ok);
  const document = { ok, spent_usd: spent, checks };
  await report(options, document, () => [
    ...table(COLUMNS, checks),
    "",
    summary(checks, spend, spent),
  ]);
  if (!ok) process.exitCode = 1;
}

/**
 * @param {Check[]} checks
 * @param {boolean} spend
 * @param {string | null} spent
 */
function summary(checks, spend, spent) {
  const failed = checks.filter(({ ok }) => !ok).length;
  const result =
    failed === 0
      ? `All ${checks.length} checks succeeded.`
      : `${failed} of ${checks.length} checks failed.`;
  const cost = spend
    ? `The calls cost ${spent === null ? "an amount that is not known" : `${spent} US dollars`}.`
    : "No provider was called; --spend calls them.";
  return `${result} ${cost}`;
}

/**
 * Asks at a terminal before anything is spent. A script has to give --spend.
 *
 * @param {Options} options
 */
async function maySpend({ spend = false, yes = false, keyStdin = false }) {
  if (spend || yes) return true;
  if (keyStdin || !process.stdin.isTTY) return false;
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await lines.question(
    "Call each active provider once with a cheap model, and two streams? This costs a few cents at most. [y/N] ",
  );
  lines.close();
  return /^y(es)?$/i.test(answer.trim());
}

/**
 * @param {string} name
 * @param {() => Promise<Omit<Check, "name">>} check
 * @returns {Promise<Check>}
 */
async function checked(name, check) {
  try {
    return { name, ...(await check()) };
  } catch (error) {
    return bad(name, explain(error), "check that this machine reaches the gateway");
  }
}

/** @param {string} detail */
const good = (detail) => ({ ok: true, detail, fix: null });

/**
 * @param {string} name
 * @param {string} detail
 * @param {string} fix
 */
const bad = (name, detail, fix) => ({ name, ok: false, detail, fix });

/**
 * A request as a caller sends it.
 *
 * @param {Gateway} gateway
 * @param {string} path
 * @param {RequestInit} init
 */
const send = ({ base }, path, init) =>
  fetch(new URL(base.pathname.replace(/\/+$/, "") + path, base), {
    redirect: "manual",
    signal: AbortSignal.timeout(CALL_S * 1000),
    ...init,
  });

/** @param {Gateway} gateway */
async function unknownKey(gateway) {
  const response = await send(gateway, "/v1/chat/completions", {
    method: "POST",
    headers: { authorization: "Bearer self-test", "content-type": "application/json" },
    body: "{}",
  });
  await response.body?.cancel();
  return response.status === 401
    ? good("a request with an unknown key gets 401")
    : bad(
        "unknown key",
        `a request with an unknown key gets ${response.status}, not 401`,
        "check what stands between this machine and the gateway",
      );
}

/** @param {Gateway} gateway */
async function cors(gateway) {
  const origin = "https://self-test.example";
  const preflight = await send(gateway, "/v1/chat/completions", {
    method: "OPTIONS",
    headers: {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization, content-type",
    },
  });
  const allowed = preflight.headers.get("access-control-allow-origin");
  const methods = preflight.headers.get("access-control-allow-methods") ?? "";
  const headers = preflight.headers.get("access-control-allow-headers") ?? "";
  if (
    preflight.ok &&
    allowed === "*" &&
    methods.includes("POST") &&
    headers.includes("authorization")
  ) {
    return good("a page of another origin may call /v1/chat/completions");
  }
  return bad(
    "CORS",
    `the preflight gets ${preflight.status} and allows the origin ${allowed ?? "nowhere"}`,
    "let OPTIONS requests and access-control headers pass through your proxy",
  );
}

/**
 * The checks that call a model, with a key of their own.
 *
 * @param {Gateway} gateway
 * @param {string} model
 * @returns {Promise<{ checks: Check[], spentMicroUsd: number | null }>}
 */
async function callsOf(gateway, model) {
  const name = `self-test-${randomBytes(6).toString("hex")}`;
  /** @type {Check[]} */
  const checks = [];
  const made = await call(gateway, "POST", "/v0/api_keys", {
    name,
    models: [model],
    limits: { requests_per_day: CALLS },
    expires_at: new Date(Date.now() + 10 * 60_000).toISOString(),
    metadata: { purpose: "self-test" },
  });
  expectFields(made, { api_key: "string" });
  try {
    const key = made.api_key;
    checks.push(await checked("streaming", () => streaming(gateway, key, model)));
    const since = Date.now();
    checks.push(await checked("cancel", () => cancelled(gateway, key, model, name)));
    checks.push(await checked("limit of a key", () => limited(gateway, key, model)));
    const receipts = await receiptsOf(gateway, name, CALLS, since);
    const costs = receipts.map((/** @type {any} */ one) => one.cost_micro_usd);
    const known =
      costs.length > 0 && costs.every((/** @type {unknown} */ one) => typeof one === "number");
    const sum = costs.reduce(
      (/** @type {number} */ all, /** @type {number} */ one) => all + one,
      0,
    );
    return { checks, spentMicroUsd: known ? sum : null };
  } finally {
    await call(gateway, "DELETE", `/v0/api_keys/${name}`);
  }
}

/**
 * Starts a stream.
 *
 * @param {Gateway} gateway
 * @param {string} key
 * @param {string} model
 * @param {string} prompt
 * @param {number} most tokens
 * @param {AbortSignal} [signal]
 */
async function stream(gateway, key, model, prompt, most, signal) {
  const response = await send(gateway, "/v1/chat/completions", {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({
      model,
      messages: [{ role: "user", content: prompt }],
      max_completion_tokens: most,
      stream: true,
    }),
    ...(signal ? { signal } : {}),
  });
  if (response.status === 200 && response.body) return response.body;
  const text = await response.text();
  throw new Failure(`the call gets ${response.status}: ${text.slice(0, 300)}`);
}

/** @param {ReadableStream<Uint8Array>} body */
async function* eventsOf(body) {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n\n");
    rest = parts.pop() ?? "";
    for (const part of parts) {
      const data = part.split("\n").filter((line) => line.startsWith("data: "));
      if (data.length > 0) yield data.map((line) => line.slice("data: ".length)).join("\n");
    }
  }
}

/**
 * @param {Gateway} gateway
 * @param {string} key
 * @param {string} model
 */
async function streaming(gateway, key, model) {
  const events = [];
  const prompt = "Write the numbers from 1 to 5, separated by spaces.";
  for await (const event of eventsOf(await stream(gateway, key, model, prompt, 64)))
    events.push(event);
  const fix = "let streams pass through your proxy without buffering or rewriting them";
  if (events.at(-1) !== "[DONE]") {
    return bad("streaming", `the stream ends with ${String(events.at(-1)).slice(0, 200)}`, fix);
  }
  const chunks = events.slice(0, -1).map((event) => JSON.parse(event));
  const finish = chunks.findIndex((chunk) => chunk.choices?.[0]?.finish_reason);
  const late = chunks.slice(finish + 1).some((chunk) => chunk.choices?.[0]?.delta?.content);
  return finish === -1 || late
    ? bad("streaming", "the events of the stream are not in order", fix)
    : good(`${events.length} events in order, ended by [DONE]`);
}

/**
 * @param {Gateway} gateway
 * @param {string} key
 * @param {string} model
 * @param {string} name of the key
 */
async function cancelled(gateway, key, model, name) {
  const since = Date.now();
  const abort = new AbortController();
  const prompt = "Write the numbers from 1 to 300, separated by spaces.";
  const body = await stream(gateway, key, model, prompt, 400, abort.signal);
  const events = eventsOf(body);
  await events.next();
  abort.abort();
  const receipts = await receiptsOf(gateway, name, CALLS, since);
  const outcome = receipts[0]?.outcome;
  if (receipts.length < CALLS) {
    return bad(
      "cancel",
      `the cancelled call has no receipt after ${RECEIPT_MS / 1000} seconds`,
      "see the log of the Worker",
    );
  }
  return good(
    outcome === "client_left"
      ? "a call whose client disconnects is cancelled and recorded"
      : `the call was over before it could be cancelled (${outcome})`,
  );
}

/**
 * @param {Gateway} gateway
 * @param {string} key
 * @param {string} model
 */
async function limited(gateway, key, model) {
  const response = await send(gateway, "/v1/chat/completions", {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({
      model,
      messages: [{ role: "user", content: "OK" }],
      max_completion_tokens: 16,
    }),
  });
  await response.body?.cancel();
  return [402, 429].includes(response.status)
    ? good(`a call beyond the limit of a key gets ${response.status}`)
    : bad(
        "limit of a key",
        `a call beyond the limit of a key gets ${response.status}`,
        "see the log of the Worker for the Durable Object KEY_LEDGER",
      );
}

/**
 * The receipts of a key, newest first, once there are as many as expected.
 *
 * @param {Gateway} gateway
 * @param {string} name
 * @param {number} expected
 * @param {number} since in milliseconds since 1970
 * @returns {Promise<any[]>}
 */
async function receiptsOf(gateway, name, expected, since) {
  for (;;) {
    const { data } = await call(gateway, "GET", `/usage/requests?key=${encodeURIComponent(name)}`);
    if (data.length >= expected || Date.now() > since + RECEIPT_MS) return data;
    await sleep(500);
  }
}
