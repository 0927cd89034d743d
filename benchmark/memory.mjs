// @ts-check
//! The Wasm memory of one isolate under the loads that need the most: before, at the peak and after. Wasm memory never
//! shrinks, so the peak is what an isolate keeps.
//!
//! `./scripts/build && node benchmark/memory.mjs`; fails if a peak is above the bar.

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Gateway, Upstream, chat, variables } from "../tests/e2e/harness.mjs";
import {
  Flood,
  body,
  longLine,
  manyEvents,
  send,
  slowReaders,
  whole,
} from "../tests/e2e/memory/loads.mjs";

/** The bar, in bytes: Cloudflare gives an isolate 128 MB, of which JavaScript needs a part. */
const BAR = 100_000_000;

/** @typedef {{ upstream: Upstream, gateway: Gateway }} Place */

/** @type {[name: string, answer: Parameters<typeof Flood.start>[0] | undefined, load: (gateway: Gateway) => Promise<string>][]} */
const LOADS = [
  ["1 body of 20 MB", undefined, (gateway) => bodies(gateway, 1, 20_000_000)],
  ["32 bodies of 20 MB at once", undefined, (gateway) => bodies(gateway, 32, 20_000_000)],
  ["32 bodies of 20 MB, chunked", undefined, (gateway) => bodies(gateway, 32, 20_000_000, false)],
  ["500 bodies of 200 KB at once", undefined, (gateway) => bodies(gateway, 500, 200_000)],
  ["10 streams with a line of 100 MB", longLine(100_000_000), (gateway) => streams(gateway, 10)],
  ["20 whole responses of 15 MB", whole(15_000_000), (gateway) => bodies(gateway, 20, 1_000)],
  ["500 slow readers of streams", manyEvents(2_000_000), readers],
];

/**
 * @param {Gateway} gateway
 * @param {number} count
 * @param {number} bytes
 * @param {boolean} [declared]
 */
async function bodies(gateway, count, bytes, declared = true) {
  const text = body(bytes);
  return statuses(
    await Promise.all(Array.from({ length: count }, () => send(gateway, text, { declared }))),
  );
}

/** @param {{ status: number, code: string | undefined }[]} answers */
function statuses(answers) {
  /** @type {Record<string, number>} */
  const counts = {};
  for (const { status, code } of answers) {
    const name = code === undefined ? `${status}` : `${status} ${code}`;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return Object.entries(counts)
    .map(([name, count]) => `${count} × ${name}`)
    .join(", ");
}

/**
 * @param {Gateway} gateway
 * @param {number} count
 */
async function streams(gateway, count) {
  const answers = await Promise.all(
    Array.from({ length: count }, async () => {
      const response = await chat(gateway, { stream: true });
      const text = await response.text();
      return { status: response.status, code: text.match(/"code":\s*"(\w+)"/)?.[1] };
    }),
  );
  return statuses(answers);
}

/** @param {Gateway} gateway */
async function readers(gateway) {
  const sockets = await slowReaders(gateway, 500);
  await sleep(2_000);
  for (const socket of sockets) socket.resetAndDestroy();
  return `${sockets.length} streams`;
}

/** @param {Gateway} gateway */
function resident(gateway) {
  const status = readFileSync(`/proc/${gateway.child.pid}/status`, "utf8");
  return Number(status.match(/VmHWM:\s+(\d+) kB/)?.[1] ?? 0) * 1024;
}

const mb = (/** @type {number} */ bytes) => (bytes / 1e6).toFixed(1).padStart(8);

/**
 * Measures one load; returns the peak.
 *
 * @param {string} name
 * @param {Gateway} gateway
 * @param {(gateway: Gateway) => Promise<string>} load
 */
async function measure(name, gateway, load) {
  await chat(gateway, { stream: true }).then((response) => response.body?.cancel());
  await sleep(300);
  const before = await gateway.memory();
  let peak = before;
  const watch = setInterval(async () => (peak = Math.max(peak, await gateway.memory())), 200);
  const outcome = await load(gateway);
  clearInterval(watch);
  await sleep(500);
  const after = await gateway.memory();
  peak = Math.max(peak, after);
  const sizes = [before, peak, after, resident(gateway)].map(mb).join(" ");
  console.log(`${name.padEnd(34)} ${sizes}   ${outcome}`);
  return peak;
}

const only = process.argv[2];
let failed = false;
console.log("Wasm memory in MB: before, at the peak, after; and the peak of the process");
for (const [name, answer, load] of LOADS) {
  if (only !== undefined && !name.includes(only)) continue;
  const upstream =
    answer === undefined ? await Upstream.start(["--record", "0"]) : await Flood.start(answer);
  /** @type {Gateway | undefined} */
  let gateway;
  try {
    gateway = await Gateway.startBare(variables(/** @type {Upstream} */ (upstream)));
    failed = (await measure(name, gateway, load)) > BAR || failed;
  } finally {
    await Promise.all([gateway?.stop(), upstream.stop()]);
  }
}
if (failed) {
  console.error(`a peak is above ${mb(BAR).trim()} MB`);
  process.exitCode = 1;
}
