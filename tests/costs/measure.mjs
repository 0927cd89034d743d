// @ts-check
//! Measures calls in the local runtime: messages to objects, rows, queries, and the CPU of the runtime's process.
//! `node tests/costs/measure.mjs FILE` writes the results as the field `measured` of that file (scripts/costs
//! --measure).
//!
//! Calls arrive at random, ten a second, of one key at a time; in the simulation this is one key and one isolate. The
//! bindings themselves are counted (entry.mjs). Nothing is asserted here: simulation/src/costs has the expected
//! counts.

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { digest } from "../../scripts/lib/gateway-key.mjs";
import { KEY_HASH, OPERATOR_KEY, Upstream, root, setting } from "../e2e/harness.mjs";

// Its types refer to packages whose types are not installed.
const miniflare = "miniflare";
const { Miniflare, convertV4MiniflareOptions } = await import(miniflare);

const RATE = 10;
const BEFORE_S = 20;
const MEASURED_S = 60;
/** Calls for the CPU, after a warm-up in which the runtime compiles its hot code, and their concurrency. */
const CPU_CALLS = 3_000;
const CPU_BEFORE = 500;
const CPU_AT_ONCE = 8;
/** Processor ticks per second in /proc. */
const TICKS = 100;

const file = process.argv[2];
if (file === undefined) throw new Error("usage: measure.mjs FILE");

const upstream = await Upstream.start();
const gateway = await start();
try {
  const free = await issue("free");
  const limited = await issue("limited");
  const without = await counted(free);
  const limits = await counted(limited);
  const cpu = await cpuOfCall(await issue("roomy"));
  const measured = {
    date: new Date().toISOString().slice(0, 10),
    runtime: `workerd ${createRequire(import.meta.url)("workerd/package.json").version}`,
    calls_per_second: RATE,
    seconds: MEASURED_S,
    cpu_us_per_call: Math.round(cpu),
    without_limits: without,
    with_limits: limits,
  };
  const kept = JSON.parse(readFileSync(file, "utf8"));
  writeFileSync(file, `${JSON.stringify({ ...kept, measured }, null, 2)}\n`);
  console.log(JSON.stringify(measured, null, 2));
} finally {
  await gateway.dispose();
  await upstream.stop();
}

async function start() {
  const path = (/** @type {string} */ name) => `${root}${name}`;
  const objects = ["RateLimiter", "Notifier", "ProviderHealth", "KeyLedger"];
  const upper = (/** @type {string} */ name) => name.replace(/(?!^)[A-Z]/g, "_$&").toUpperCase();
  const runtime = new Miniflare(
    convertV4MiniflareOptions({
      handleStructuredLogs: () => {},
      modules: [
        { type: "ESModule", path: path("tests/costs/entry.mjs") },
        { type: "ESModule", path: path("build/index.js") },
        { type: "CompiledWasm", path: path("build/index_bg.wasm") },
      ],
      modulesRoot: root,
      compatibilityDate: setting("compatibility_date")[0] ?? "",
      compatibilityFlags: setting("compatibility_flags"),
      durableObjects: Object.fromEntries(
        objects.map((name) => [upper(name), { className: name, useSQLite: true }]),
      ),
      d1Databases: ["GATEWAY_DB"],
      bindings: {
        GATEWAY_API_KEY_HASHES: `testing:${KEY_HASH}`,
        GATEWAY_ADMIN_KEY_HASHES: `ops:${digest(OPERATOR_KEY)}`,
        DEMO_API_KEY: "none",
        GATEWAY_CONFIG: JSON.stringify({
          providers: { demo: { base_url: `${upstream.url}/v1`, models: ["sim-small"] } },
          models: { "demo/sim-small": { input_usd_per_mtok: 1, output_usd_per_mtok: 2 } },
          policies: {
            free: {},
            limited: {
              // As in the simulation: twice the usage at this rate.
              limits: {
                requests_per_minute: 2 * 60 * RATE,
                usd_per_day: 6912,
                concurrent: 2 * 5 * RATE,
              },
            },
            roomy: {
              limits: {
                requests_per_minute: 1_000_000,
                usd_per_day: 1_000_000,
                concurrent: 10_000,
              },
            },
          },
        }),
      },
    }),
  );
  await runtime.ready;
  const database = await runtime.getD1Database("GATEWAY_DB");
  for (const name of readdirSync(path("migrations")).toSorted()) {
    for (const statement of statements(readFileSync(path(`migrations/${name}`), "utf8"))) {
      await database.prepare(statement).run();
    }
  }
  return runtime;
}

/**
 * The statements of a migration. That of a trigger contains others.
 *
 * @param {string} text
 */
function statements(text) {
  /** @type {string[]} */
  const found = [];
  let statement = "";
  for (const line of text.replace(/--.*$/gm, "").split("\n")) {
    statement += `${line}\n`;
    const isWhole = /\bBEGIN\b/.test(statement) ? /^END;/.test(line) : /;\s*$/.test(line);
    if (isWhole) {
      found.push(statement.trim());
      statement = "";
    }
  }
  return found;
}

/** @param {string} policy */
async function issue(policy) {
  const response = await gateway.dispatchFetch("http://gateway/v0/api_keys", {
    method: "POST",
    headers: { authorization: `Bearer ${OPERATOR_KEY}`, "content-type": "application/json" },
    body: JSON.stringify({ name: policy, policies: [policy] }),
  });
  if (response.status !== 201) throw new Error(`no key: ${await response.text()}`);
  return /** @type {{ api_key: string }} */ (await response.json()).api_key;
}

/**
 * @param {string} key
 * @param {number} delay of the provider, in milliseconds
 */
async function call(key, delay) {
  const url = await gateway.ready;
  const response = await fetch(new URL("/v1/chat/completions", url), {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({
      model: "demo/sim-small",
      messages: [{ role: "user", content: "What does a call cost, if it is one of a million?" }],
      max_tokens: 64,
      simulate: { delay_ms: delay },
    }),
  });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${response.status}: ${text}`);
}

async function counts() {
  const response = await fetch(new URL("/__counts", await gateway.ready));
  return /** @type {Promise<Record<string, number>>} */ (response.json());
}

/**
 * Sends calls at random times for a while; returns the counts for a million calls.
 *
 * @param {string} key
 */
async function counted(key) {
  /** @type {Promise<void>[]} */
  const calls = [];
  const send = async (/** @type {number} */ seconds) => {
    const end = performance.now() + seconds * 1_000;
    let next = performance.now();
    for (;;) {
      next += (-Math.log(1 - Math.random()) * 1_000) / RATE;
      if (next > end) break;
      await sleep(Math.max(0, next - performance.now()));
      calls.push(call(key, 1_000 + Math.floor(Math.random() * 4_000)));
    }
    await sleep(Math.max(0, end - performance.now()));
  };
  await send(BEFORE_S);
  await counts();
  await send(MEASURED_S);
  const { fetches = 0, ...found } = await counts();
  await Promise.all(calls);
  // Wait for their last reports, which must not count for the next setting.
  await sleep(15_000);
  const million = Object.entries(found).map(([name, count]) => [
    name,
    Math.round((count * 1e6) / fetches),
  ]);
  return { calls: fetches, ...Object.fromEntries(million) };
}

/**
 * The CPU of the runtime's process for each call, in microseconds.
 *
 * @param {string} key
 */
async function cpuOfCall(key) {
  const send = async (/** @type {number} */ number) => {
    let left = number;
    const work = async () => {
      while (left-- > 0) await call(key, 0);
    };
    await Promise.all(Array.from({ length: CPU_AT_ONCE }, work));
  };
  await send(CPU_BEFORE);
  const before = ticks();
  await send(CPU_CALLS);
  return ((ticks() - before) * 1e6) / TICKS / CPU_CALLS;
}

/** The CPU of all workerd child processes, in ticks. */
function ticks() {
  let sum = 0;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const [, name = "", rest = ""] = stat.match(/^\d+ \((.*)\) (.*)$/s) ?? [];
      const fields = rest.trim().split(" ");
      if (name === "workerd" && Number(fields[1]) === process.pid) {
        sum += Number(fields[11]) + Number(fields[12]);
      }
    } catch {
      // The process has just ended.
    }
  }
  if (sum === 0) throw new Error("no process of the runtime was found");
  return sum;
}
