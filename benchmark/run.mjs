// @ts-check
//! Runs the benchmark: starts the targets, puts the loads on them in rounds, and prints the results. `scripts/bench`
//! documents the options and builds the requirements.
//!
//! Each round puts a load on every target in turn, in an order that varies, so that other activity of the machine is
//! spread over all of them. Comparisons are made within a round; their medians over the rounds are reported.

import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { cpus, totalmem } from "node:os";
import { parseArgs } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { Upstream } from "../tests/e2e/harness.mjs";
import { judge } from "./bars.mjs";
import { coldStart, wasm } from "./cold.mjs";
import { mapValues, median, medians, rotated, rounded } from "./figures.mjs";
import { LOADS, hold, measure, warm } from "./loads.mjs";
import { Peers } from "./peers.mjs";
import { cpuMs, memoryMb, tie } from "./process.mjs";
import {
  checkPerf,
  perCall,
  perCallAlone,
  perStart,
  record,
  recordAlone,
  recordStart,
  slowestByCause,
} from "./profile.mjs";
import { lastLine, profileReport, report } from "./report.mjs";
import { NAMES, read, write } from "./results.mjs";
import { Running, byHand, gatehouse, passThrough, passThroughWithWasm } from "./targets.mjs";

/** @typedef {import("./targets.mjs").Target} Target */
/** @typedef {import("./targets.mjs").Worker} Worker */
/** @typedef {import("./loads.mjs").Sample} Sample */
/** @typedef {keyof typeof LOADS} LoadName */

const RING_SIZES = [1, 100, 10_000];
const OPEN_STREAMS = 1_000;
/** The number of requests before the measurements, enough for the runtime to compile its hot code. */
const WARM_REQUESTS = 3_000;
/**
 * The time for which an idle process is observed, after a rest in which it finishes the work of earlier calls.
 */
const IDLE_S = 10;
const REST_S = 15;
/** The warm-up of a profiled target, and the number and the duration of its recordings. */
const PROFILE_WARM_S = 4;
const PROFILE_STREAM_WARM_S = 1;
const PROFILE_ROUNDS = 6;
const PROFILE_S = 2;
const PROFILE_ALONE_S = 4;
const PROFILE_STARTS = 15;

/**
 * The numbers of rounds, with `--quick` and in full. Loads run on several processes of each Worker, one after the
 * other, since a process is up to a tenth faster or slower than the next for all of its life.
 */
const ROUNDS = {
  quick: { processes: 2, loads: 2, ring: 2, memory: 1, cold: 5, peers: 3 },
  full: { processes: 3, loads: 3, ring: 5, memory: 3, cold: 15, peers: 5 },
};

/** The parts of the benchmark, in this order. */
const PARTS = ["wasm", "cold", ...Object.keys(LOADS), "memory", "idle", "peers"];
/** Parts without a bar are omitted with `--quick`. */
const NOT_QUICK = ["long-stream", "idle"];
/** Loads that are put on every target; others only on one Gatehouse and the Workers that it is compared with. */
const FOR_ALL = ["whole", "alone"];
const FOR_FEW = ["direct", "issued", "limits"];

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string", multiple: true, default: [] },
    peers: { type: "boolean", default: false },
    profile: { type: "boolean", default: false },
  },
});
const rounds = options.quick ? ROUNDS.quick : ROUNDS.full;
const begun = performance.now();

/** @type {import("./figures.mjs").Samples} */
const samples = {};
/** Functions that stop what has been started, run in reverse order. @type {(() => Promise<unknown>)[]} */
const ends = [];

try {
  if (options.profile) await profile();
  else process.exitCode = await benchmark();
} catch (error) {
  console.error(`benchmark: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
} finally {
  for (const end of ends.reverse()) await end();
}

/** @returns {Promise<number>} the exit status: 0 if all bars hold */
async function benchmark() {
  const parts = chosen();
  const upstream = await startUpstream();

  if (parts.includes("wasm")) add("wasm", "ring", wasm());
  if (parts.includes("cold")) await cold(upstream.url);
  await loads(
    upstream,
    /** @type {LoadName[]} */ (parts.filter((part) => part in LOADS && part !== "ring")),
  );
  if (parts.includes("ring")) await ring(upstream.url);
  if (parts.includes("memory")) await memory(upstream.url);
  if (parts.includes("idle")) await idle(upstream.url);
  if (parts.includes("peers")) await peers(upstream);

  const results = {
    ...NAMES,
    ...circumstances(),
    rounds,
    figures: medians(samples),
    bars: bars(),
    // The profile is measured separately and stays until it is measured again.
    profile: read()?.profile,
  };
  console.log(report(results));
  if (!options.quick && options.only.length === 0) {
    write(results);
  }
  console.log(lastLine(results.bars));
  return results.bars.every((bar) => bar.holds) ? 0 : 1;
}

/** Measures the breakdown of processor time for responses and starts, and adds it to the other figures. */
async function profile() {
  if (options.quick || options.peers || options.only.length > 0) {
    throw new Error("--profile cannot be combined with other options");
  }
  checkPerf();
  const upstream = await startUpstream();
  /** @type {Record<string, import("./profile.mjs").Recording[]>} */
  const recordings = {};
  /** @type {Record<string, import("./profile.mjs").RecordingAlone[]>} */
  const alone = {};
  /** @type {Record<string, import("./profile.mjs").Recording[]>} */
  const streams = {};
  for (let round = 0; round < PROFILE_ROUNDS; round += 1) {
    for (const [name, worker] of rotated(fresh(upstream.url), round)) {
      progress(`round ${round + 1} of ${PROFILE_ROUNDS}: profile of ${name}`);
      const running = await start(worker);
      const target = { ...running.target(name), pid: running.pid };
      await measure(target, { ...LOADS.whole, seconds: PROFILE_WARM_S });
      const recording = await record(target, { ...LOADS.whole, seconds: PROFILE_S });
      (recordings[name] ??= []).push(recording);
      const one = await recordAlone(target, { ...LOADS.alone, seconds: PROFILE_ALONE_S });
      (alone[name] ??= []).push(one);
      await measure(target, { ...LOADS.stream, seconds: PROFILE_STREAM_WARM_S });
      const streamed = await record(target, { ...LOADS.stream, seconds: PROFILE_S });
      (streams[name] ??= []).push(streamed);
      await stop(running);
    }
  }
  const { date, machine, versions } = circumstances();
  const { workerd } = versions;
  const found = {
    ...{ date, machine, workerd },
    us_per_call: mapValues(recordings, perCall),
    us_per_call_alone: mapValues(alone, perCallAlone),
    slowest: mapValues(alone, slowestByCause),
    us_per_stream: mapValues(streams, perCall),
    ...(await starts(upstream.url)),
  };
  console.log(profileReport(found));
  const results = read();
  if (results === undefined) throw new Error("run scripts/bench once before --profile");
  write({ ...results, ...NAMES, profile: found });
}

/**
 * Measures the time of a start, also of a Worker that only includes Gatehouse's Wasm; and separately the processor
 * time of one.
 *
 * @param {string} upstream its address
 */
async function starts(upstream) {
  /** @type {[name: string, worker: Worker][]} */
  const all = [
    ["bare", passThrough(upstream)],
    ["bare with the Wasm", passThroughWithWasm(upstream)],
    ["ring", gatehouse(upstream)],
  ];
  /** @type {Record<string, number[]>} */
  const times = {};
  /** @type {Record<string, Record<import("./samples.mjs").Kind, number>[]>} */
  const counts = {};
  for (let round = 0; round < PROFILE_STARTS; round += 1) {
    for (const [name, worker] of rotated(all, round)) {
      progress(`round ${round + 1} of ${PROFILE_STARTS}: start of ${name}`);
      (times[name] ??= []).push((await coldStart(name, worker)).ms ?? NaN);
      (counts[name] ??= []).push(await recordStart(name, worker));
    }
  }
  return {
    start_ms: mapValues(times, (list) => rounded(median(list))),
    start_cpu_ms: mapValues(counts, perStart),
  };
}

async function startUpstream() {
  const upstream = await Upstream.start(["--record", "0"]);
  tie(upstream.child);
  ends.push(() => upstream.stop());
  return upstream;
}

/** The parts that are to be measured. */
function chosen() {
  const unknown = options.only.find((name) => !PARTS.includes(name));
  if (unknown !== undefined) {
    throw new Error(`unknown part ${unknown}; the parts are ${PARTS.join(", ")}`);
  }
  if (options.only.length > 0) return PARTS.filter((part) => options.only.includes(part));
  return PARTS.filter((part) => {
    if (part === "peers") return options.peers;
    return !options.quick || !NOT_QUICK.includes(part);
  });
}

/**
 * @param {string} load
 * @param {string} target
 * @param {Sample} sample
 */
function add(load, target, sample) {
  ((samples[load] ??= {})[target] ??= []).push(sample);
}

/**
 * Prints the current activity; on a terminal in a line that is overwritten.
 *
 * @param {string} activity
 */
function progress(activity) {
  const seconds = Math.round((performance.now() - begun) / 1_000);
  const line = `${`${seconds}`.padStart(5)} s  ${activity}`;
  process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`);
}

/**
 * Starts a Worker. The caller stops it; otherwise it is stopped at the end.
 *
 * @param {Worker} worker
 */
async function start(worker) {
  const running = await Running.start(worker);
  ends.push(() => running.stop());
  return running;
}

/** @param {Running} running */
async function stop(running) {
  ends.pop();
  await running.stop();
}

/**
 * Puts the loads on every target that takes them.
 *
 * @param {Upstream} upstream
 * @param {LoadName[]} names
 */
async function loads(upstream, names) {
  if (names.length === 0) return;
  for (let round = 0; round < rounds.processes * rounds.loads; round += rounds.loads) {
    await loadsOnProcesses(upstream, names, round);
  }
}

/**
 * Runs rounds of the loads on one process of each Worker.
 *
 * @param {Upstream} upstream
 * @param {LoadName[]} names
 * @param {number} first round
 */
async function loadsOnProcesses(upstream, names, first) {
  progress("starting the Workers");
  const bare = await start(passThrough(upstream.url));
  const hand = await start(byHand(upstream.url));
  // One process for each kind of key: the memory and the pending reports of one are not counted with another.
  const ringed = await start(gatehouse(upstream.url));
  const issuing = await start(gatehouse(upstream.url));
  const limiting = await start(gatehouse(upstream.url));
  /** @type {Target[]} */
  const targets = [
    { name: "direct", url: `${upstream.url}/v1/chat/completions`, headers: {}, pid: undefined },
    bare.target("bare"),
    hand.target("by-hand"),
    ringed.target("ring"),
    issuing.target("issued", await issuing.issue("issued", [])),
    limiting.target("limits", await limiting.issue("limits", ["roomy"])),
  ];
  for (const target of targets) {
    progress(`warming up ${target.name}`);
    await warm(target, LOADS.whole, WARM_REQUESTS);
    // The warm-up includes additional code of these loads, and the limits of each key.
    for (const name of names) await warm(target, LOADS[name], LOADS[name].connections);
  }
  for (let round = first; round < first + rounds.loads; round += 1) {
    const which = `round ${round + 1} of ${rounds.processes * rounds.loads}`;
    for (const name of names) {
      const loaded = targets.filter(
        ({ name: target }) => FOR_ALL.includes(name) || !FOR_FEW.includes(target),
      );
      for (const target of rotated(loaded, round)) {
        progress(`${which}: ${LOADS[name].about}: ${target.name}`);
        add(name, target.name, await measure(target, LOADS[name]));
      }
    }
  }
  for (const running of [limiting, issuing, ringed, hand, bare]) await stop(running);
}

/** @param {string} upstream its address */
async function ring(upstream) {
  for (let round = 0; round < rounds.processes * rounds.ring; round += rounds.ring) {
    await ringOnProcesses(upstream, round);
  }
}

/**
 * Runs rounds on one process for each size of ring.
 *
 * @param {string} upstream its address
 * @param {number} first round
 */
async function ringOnProcesses(upstream, first) {
  const gateways = [];
  for (const size of RING_SIZES) gateways.push(await start(gatehouse(upstream, size)));
  const targets = gateways.map((gateway, index) => gateway.target(`ring of ${RING_SIZES[index]}`));
  for (const target of targets) await warm(target, LOADS.ring, WARM_REQUESTS);
  for (let round = first; round < first + rounds.ring; round += 1) {
    const which = `round ${round + 1} of ${rounds.processes * rounds.ring}`;
    for (const target of rotated(targets, round)) {
      progress(`${which}: ${LOADS.ring.about}: ${target.name}`);
      add("ring", target.name, await measure(target, LOADS.ring));
    }
  }
  for (const gateway of gateways.reverse()) await stop(gateway);
}

/**
 * The Workers that are measured in fresh processes, one for each measurement.
 *
 * @param {string} upstream its address
 * @returns {[name: string, worker: Worker][]}
 */
function fresh(upstream) {
  return [
    ["bare", passThrough(upstream)],
    ["by-hand", byHand(upstream)],
    ["ring", gatehouse(upstream)],
  ];
}

/** @param {string} upstream its address */
async function memory(upstream) {
  for (let round = 0; round < rounds.memory; round += 1) {
    for (const [name, worker] of rotated(fresh(upstream), round)) {
      progress(`round ${round + 1} of ${rounds.memory}: ${OPEN_STREAMS} open streams: ${name}`);
      const running = await start(worker);
      const target = { ...running.target(name), pid: running.pid };
      await warm(target, LOADS.whole, WARM_REQUESTS);
      await warm(target, LOADS.stream, 200);
      add("memory", name, await hold(target, OPEN_STREAMS));
      await stop(running);
    }
  }
}

/** @param {string} upstream its address */
async function cold(upstream) {
  for (let round = 0; round < rounds.cold; round += 1) {
    for (const [name, worker] of rotated(fresh(upstream), round)) {
      progress(`round ${round + 1} of ${rounds.cold}: cold start: ${name}`);
      add("cold", name, await coldStart(name, worker));
    }
  }
}

/**
 * Measures the idle consumption of a process that has served calls.
 *
 * @param {string} upstream its address
 */
async function idle(upstream) {
  /** @type {[name: string, running: Running][]} */
  const all = [];
  for (const [name, worker] of fresh(upstream)) {
    const running = await start(worker);
    await warm(running.target(name), LOADS.whole, WARM_REQUESTS);
    all.push([name, running]);
  }
  progress(`idle for ${REST_S + IDLE_S} s`);
  await sleep(REST_S * 1_000);
  const before = all.map(([, { pid }]) => cpuMs(pid));
  await sleep(IDLE_S * 1_000);
  for (const [index, [name, { pid }]] of all.entries()) {
    const spent = cpuMs(pid) - (before[index] ?? NaN);
    add("idle", name, { cpu_ms_per_s: spent / IDLE_S, resident_mb: memoryMb(pid).resident });
  }
  for (const [, running] of all.reverse()) await stop(running);
}

/** @param {Upstream} upstream */
async function peers(upstream) {
  progress("installing and starting the peers");
  const others = await Peers.start(upstream.url);
  ends.push(() => others.stop());
  /** @type {Target[]} */
  const targets = [];
  for (const [name, worker] of fresh(upstream.url))
    targets.push((await start(worker)).target(name));
  targets.push(...others.targets);
  for (const target of targets) {
    progress(`warming up ${target.name}`);
    await warm(target, LOADS.whole, WARM_REQUESTS / 5);
  }
  for (let round = 0; round < rounds.peers; round += 1) {
    for (const target of rotated(targets, round)) {
      progress(`round ${round + 1} of ${rounds.peers}: small whole responses: ${target.name}`);
      add("peers", target.name, await measure(target, { ...LOADS.whole, seconds: 4 }));
    }
  }
}

function bars() {
  return judge(samples).map((bar) => ({
    ...bar,
    value: rounded(bar.value),
    others: mapValues(bar.others, rounded),
  }));
}

/** The versions that the figures were measured with. */
function circumstances() {
  const { version } = createRequire(import.meta.url)("workerd/package.json");
  const [rustc = ""] = execFileSync("rustc", ["--version"], { encoding: "utf8" }).split(" (");
  return {
    date: new Date().toISOString().slice(0, 10),
    machine: {
      processor: cpus()[0]?.model ?? "unknown",
      cores: cpus().length,
      memory_gb: Math.round(totalmem() / 2 ** 30),
    },
    versions: {
      workerd: version,
      rustc: rustc.trim().replace("rustc ", ""),
      node: process.versions.node,
    },
  };
}
