// @ts-check
//! Large responses that nobody has to read: vectors and speech. The processor time of Gatehouse to that of the bare
//! pass-through, and the time to the first byte beyond that of the upstream itself: `scripts/bench --media`. Has bars
//! of its own and writes nothing.

import { setTimeout as sleep } from "node:timers/promises";
import { Upstream } from "../tests/e2e/harness.mjs";
import { median } from "./figures.mjs";
import { cpuMs, tie } from "./process.mjs";
import { KEY, Running, gatehouse, passThrough } from "./targets.mjs";

const PROCESSES = 2;
const ROUNDS = 4;
/** The time in which work after a response is done and counted. */
const SETTLE_MS = 400;
const MB = 1e6;

/**
 * A kind of response.
 *
 * @typedef {object} Kind
 * @property {string} path
 * @property {object} body
 * @property {number} bytes that a response has at least
 * @property {number} times of a round
 * @property {number} cpuAtMost to the pass-through
 * @property {number} [firstByteAtMost] milliseconds beyond the upstream
 */
/** @satisfies {Record<string, Kind>} */
const KINDS = {
  embeddings: {
    path: "/v1/embeddings",
    body: {
      model: "demo/embed-small",
      input: Array.from({ length: 2048 }, (_, index) => `text number ${index}`),
      dimensions: 1536,
    },
    bytes: 25 * MB,
    times: 3,
    cpuAtMost: 1.5,
  },
  speech: {
    path: "/v1/audio/speech",
    body: {
      model: "demo/tts-small",
      input: "What does a call cost, if it is one of a million?",
      voice: "alloy",
      simulate: { content_bytes: 5 * MB },
    },
    bytes: 5 * MB,
    times: 20,
    cpuAtMost: 1.3,
    firstByteAtMost: 5,
  },
};

const upstream = await Upstream.start(["--record", "0"]);
tie(upstream.child);
const worker = gatehouse(upstream.url);
const config = JSON.parse(worker.bindings.GATEWAY_CONFIG);
config.providers.demo.formats = ["chat_completions", "embeddings", "speech"];
config.providers.demo.models = ["sim-small", "embed-small", "tts-small"];
worker.bindings.GATEWAY_CONFIG = JSON.stringify(config);

/**
 * Fetches responses one after the other, and returns for each the milliseconds to its first byte, and its size.
 *
 * @param {string} origin
 * @param {Kind} kind
 */
async function load(origin, { path, body, bytes, times }) {
  const headers = { authorization: `Bearer ${KEY}`, "content-type": "application/json" };
  const text = JSON.stringify(body);
  const firsts = [];
  let size = 0;
  for (let time = 0; time < times; time += 1) {
    const began = performance.now();
    const response = await fetch(origin + path, { method: "POST", headers, body: text });
    let received = 0;
    for await (const chunk of /** @type {AsyncIterable<Uint8Array>} */ (response.body)) {
      if (received === 0) firsts.push(performance.now() - began);
      received += chunk.length;
    }
    if (!response.ok || received < bytes) {
      throw new Error(`${origin}${path}: status ${response.status}, ${received} bytes`);
    }
    size = received;
  }
  return { first: median(firsts), size };
}

/**
 * The same with the processor time of a response.
 *
 * @param {Running} running
 * @param {Kind} kind
 */
async function measured(running, kind) {
  const before = cpuMs(running.pid);
  const figures = await load(running.url, kind);
  await sleep(SETTLE_MS);
  return { ...figures, cpu: (cpuMs(running.pid) - before) / kind.times };
}

/** @type {Map<string, { size: number, cpu: number[], bare: number[], first: number[] }>} */
const results = new Map();
for (let process = 0; process < PROCESSES; process += 1) {
  const bare = await Running.start(passThrough(upstream.url));
  const gateway = await Running.start(worker);
  // The first round of a process compiles its code and is not counted.
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const [name, kind] of Object.entries(KINDS)) {
      const least = await measured(bare, kind);
      const own = await measured(gateway, kind);
      const direct = await load(upstream.url, kind);
      if (round === 0) continue;
      const result = results.get(name) ?? { size: own.size, cpu: [], bare: [], first: [] };
      result.cpu.push(own.cpu / least.cpu);
      result.bare.push(least.cpu);
      result.first.push(own.first - direct.first);
      results.set(name, result);
    }
  }
  await bare.stop();
  await gateway.stop();
}
await upstream.stop();

let fails = 0;
/**
 * @param {string} name
 * @param {string} figure
 * @param {number} value
 * @param {number | undefined} atMost
 */
function report(name, figure, value, atMost) {
  const isOver = atMost !== undefined && !(value <= atMost);
  if (isOver) fails += 1;
  const bar = atMost === undefined ? "" : ` (at most ${atMost})`;
  console.log(
    `${name.padEnd(12)} ${figure.padEnd(44)} ${value.toFixed(2)}${bar}${isOver ? "  FAILS" : ""}`,
  );
}
for (const [name, result] of results) {
  /** @type {Kind} */
  const kind = KINDS[/** @type {keyof typeof KINDS} */ (name)];
  report(name, "MB of a response", result.size / MB, undefined);
  report(name, "ms of processor time, bare", median(result.bare), undefined);
  report(name, "processor time to bare", median(result.cpu), kind.cpuAtMost);
  report(
    name,
    "ms to the first byte beyond the upstream",
    median(result.first),
    kind.firstByteAtMost,
  );
}
process.exit(fails === 0 ? 0 : 1);
