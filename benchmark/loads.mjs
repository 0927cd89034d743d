// @ts-check
//! The loads, and how each is put on a target: by the program `load` (tests/load), with the processor time and the
//! memory of the target's process read before and after.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { root } from "../tests/e2e/harness.mjs";
import { cpuMs, forgetPeak, memoryMb, tie } from "./process.mjs";
import { MODEL } from "./targets.mjs";

/** @typedef {import("./targets.mjs").Target} Target */
/** @typedef {Record<string, number>} Sample figures of one load on one target in one round, by name */

/**
 * @typedef {object} Load
 * @property {string} about
 * @property {number} connections
 * @property {number} seconds for each target in each round
 * @property {number} [events] of each stream
 * @property {object} body
 */

/**
 * The time between the end of a load and the reading of the processor time. Work that follows a response, such as
 * reporting its receipt, happens in this time and is counted. Work that a gateway does every ten seconds is counted
 * in the load that is running.
 */
const SETTLE_MS = 400;

const QUESTION = { role: "user", content: "What does a call cost, if it is one of a million?" };

/**
 * @param {number} events of content
 * @param {object} [options]
 * @param {number} [options.apart] milliseconds between two events; absent: no wait (0 would wait for a tick)
 * @param {boolean} [options.withUsage] true if the request asks for the usage; otherwise Gatehouse hides it
 */
function streamOf(events, { apart, withUsage = false } = {}) {
  const content = Array(events).fill("sent_us=0000000000000000").join(" ");
  return {
    ...smallBody(),
    stream: true,
    ...(withUsage ? { stream_options: { include_usage: true } } : {}),
    simulate: { content, stamped: true, frame_delay_ms: apart },
  };
}

function smallBody() {
  return { model: MODEL, messages: [QUESTION], max_tokens: 64 };
}

/** Text as people write it, with line ends, quotes and letters beyond ASCII: about 100 KB as JSON. */
function longBody() {
  const line = `She said: “the café's \\"new\\" hours are 9–17 Uhr”, and then went on to the next of the pages.\n`;
  const content = line.repeat(Math.floor(100_000 / JSON.stringify(line).length));
  return { ...smallBody(), messages: [{ role: "system", content }, QUESTION] };
}

/** The events of a stream other than content: the role, the finish, and `[DONE]`. */
const FRAME_EVENTS = 3;
const USAGE_EVENTS = 1;

/** @satisfies {Record<string, Load>} */
export const LOADS = {
  whole: {
    about: "small whole responses, 32 at once",
    connections: 32,
    seconds: 1.6,
    body: smallBody(),
  },
  alone: {
    about: "small whole responses, one at a time",
    connections: 1,
    seconds: 2,
    body: smallBody(),
  },
  prompt: {
    about: "prompts of 100 KB, 8 at once",
    connections: 8,
    seconds: 1.6,
    body: longBody(),
  },
  stream: {
    about: "streams of 300 events, 8 at once",
    connections: 8,
    seconds: 2,
    events: 300 + FRAME_EVENTS,
    body: streamOf(300),
  },
  "stream-alone": {
    about: "streams of 300 events, one at a time",
    connections: 1,
    seconds: 1,
    events: 300 + FRAME_EVENTS,
    body: streamOf(300),
  },
  "paced-stream": {
    // As models write: each event comes alone. In the other streams events come as fast as they are read, several at
    // once.
    about: "streams of 300 events some 2 ms apart, 16 at once",
    connections: 16,
    seconds: 1.6,
    events: 300 + FRAME_EVENTS,
    body: streamOf(300, { apart: 2 }),
  },
  "stream-with-usage": {
    about: "streams of 300 events with usage, 8 at once",
    connections: 8,
    seconds: 2,
    events: 300 + FRAME_EVENTS + USAGE_EVENTS,
    body: streamOf(300, { withUsage: true }),
  },
  "paced-stream-with-usage": {
    about: "streams of 300 events with usage, some 2 ms apart, 16 at once",
    connections: 16,
    seconds: 1.6,
    events: 300 + FRAME_EVENTS + USAGE_EVENTS,
    body: streamOf(300, { apart: 2, withUsage: true }),
  },
  "long-stream": {
    about: "streams of 3,000 events some 2 ms apart, 4 at once",
    connections: 4,
    seconds: 7,
    events: 3_000 + FRAME_EVENTS,
    body: streamOf(3_000, { apart: 2 }),
  },
  ring: {
    about: "small whole responses, 32 at once, with rings of 1, 100 and 10,000 keys",
    connections: 32,
    seconds: 1.6,
    body: smallBody(),
  },
};

/**
 * Streams for `hold`: an event each second, for longer than the measurement. (The provider builds them before it
 * sends.)
 */
const SLOW_STREAM = {
  about: "slow streams",
  connections: 1,
  seconds: 0,
  events: 300 + FRAME_EVENTS,
  body: streamOf(300, { apart: 1_000 }),
};

const folder = mkdtempSync(join(tmpdir(), "gatehouse-bench-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
let files = 0;

/**
 * The arguments of `load` for a target and a load.
 *
 * @param {Target} target
 * @param {Load} load
 */
function words(target, load) {
  files += 1;
  const file = join(folder, `${files}.json`);
  // Only the upstream itself knows models by other names, and it accepts any.
  writeFileSync(file, JSON.stringify(load.body));
  return [
    target.url,
    ...["--body", file],
    ...Object.entries(target.headers).flatMap(([name, value]) => ["--header", `${name}: ${value}`]),
    ...(load.events === undefined ? [] : ["--events", `${load.events}`, "--stamped"]),
  ];
}

/**
 * Puts a load on a target and returns the measurements. A single wrong response ends the benchmark.
 *
 * @param {Target} target
 * @param {Load} load
 * @returns {Promise<Sample>}
 */
export async function measure(target, load) {
  const { pid } = target;
  if (pid !== undefined) forgetPeak(pid);
  const before = pid === undefined ? 0 : cpuMs(pid);
  const report = await run(target, load, ["--seconds", `${load.seconds}`]);
  await sleep(SETTLE_MS);
  const { requests, rps, latency_us: latency, events } = report;
  const { first_event_us: first, event_delay_us: delay } = report;
  const cpuUs = pid === undefined ? 0 : (cpuMs(pid) - before) * 1_000;
  return {
    requests,
    rps,
    p50_ms: latency.p50 / 1_000,
    p90_ms: latency.p90 / 1_000,
    p99_ms: latency.p99 / 1_000,
    ...(first === null
      ? {}
      : { first_event_p50_ms: first.p50 / 1_000, first_event_p99_ms: first.p99 / 1_000 }),
    ...(delay === null
      ? {}
      : {
          event_delay_p50_ms: delay.p50 / 1_000,
          event_delay_p99_ms: delay.p99 / 1_000,
          event_delay_max_ms: delay.max / 1_000,
        }),
    ...(pid === undefined
      ? {}
      : {
          cpu_us: cpuUs / requests,
          ...(events > 0 ? { cpu_us_per_1000_events: (cpuUs * 1_000) / events } : {}),
          peak_mb: memoryMb(pid).peak,
        }),
  };
}

/**
 * Puts an unmeasured load on a target, so that the runtime compiles its hot code.
 *
 * @param {Target} target
 * @param {Load} load
 * @param {number} requests
 */
export async function warm(target, load, requests) {
  await run(target, load, ["--requests", `${requests}`]);
}

/**
 * @param {Target} target
 * @param {Load} load
 * @param {string[]} until
 */
async function run(target, load, until) {
  const args = [...words(target, load), "--connections", `${load.connections}`, ...until];
  const child = tie(
    spawn(`${root}target/native/load`, args, { stdio: ["ignore", "pipe", "pipe"] }),
  );
  const [out, error, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close"),
  ]);
  if (out === "") throw new Error(`${target.name}: ${error.trim() || `load ended with ${code}`}`);
  const report = JSON.parse(out);
  if (report.errors > 0 || report.requests === 0) {
    throw new Error(
      `${target.name}, ${load.about}: ${report.errors} of ${report.requests + report.errors} responses were wrong, first: ${report.first_error}`,
    );
  }
  return report;
}

/**
 * Measures the memory of each of many open streams, as the growth of resident memory.
 *
 * @param {Target & { pid: number }} target
 * @param {number} streams
 * @returns {Promise<Sample>}
 */
export async function hold(target, streams) {
  await sleep(SETTLE_MS);
  const before = memoryMb(target.pid).resident;
  const args = [...words(target, SLOW_STREAM), "--hold", `${streams}`];
  const child = tie(spawn(`${root}target/native/load`, args, { stdio: ["pipe", "pipe", "pipe"] }));
  const error = text(child.stderr);
  const closed = once(child, "close");
  const lines = createInterface({ input: child.stdout });
  const line = await Promise.race([once(lines, "line"), closed.then(() => undefined)]);
  if (line === undefined) throw new Error(`${target.name}, slow streams: ${(await error).trim()}`);
  // A few events for each stream, so that it has allocated what a flowing stream needs.
  await sleep(3_000);
  const { resident } = memoryMb(target.pid);
  child.stdin.end();
  const [code] = await closed;
  if (code !== 0) throw new Error(`${target.name}, slow streams: ${(await error).trim()}`);
  return {
    resident_mb_before: before,
    resident_mb: resident,
    kb_per_stream: ((resident - before) * 1024) / streams,
  };
}
