// @ts-check
//! The breakdown of processor time: puts a load on a target while `perf` samples its process, and counts the samples
//! by kind (`samples.mjs`); for calls one at a time, also the causes of the slowest ones (`tail.mjs`).

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { coldStart } from "./cold.mjs";
import { rounded } from "./figures.mjs";
import { measure } from "./loads.mjs";
import { tie } from "./process.mjs";
import { KINDS, samples, tally } from "./samples.mjs";
import { CAUSES, askAlone, slowest } from "./tail.mjs";

/** @typedef {import("./loads.mjs").Load} Load */
/** @typedef {import("./samples.mjs").Kind} Kind */
/** @typedef {import("./tail.mjs").Cause} Cause */
/** @typedef {import("./targets.mjs").Target & { pid: number }} Running */
/** @typedef {{ counts: Record<Kind, number>, requests: number }} Recording */
/** @typedef {Awaited<ReturnType<typeof recordAlone>>} RecordingAlone */

/** Samples in a second of processor time: a number that is not in step with periodic work. */
const FREQUENCY = 999;
/** The same for calls one at a time: several samples in each. */
const ALONE_FREQUENCY = 4_999;
/** The same for a start, which is short. */
const START_FREQUENCY = 9_999;
/** The time until perf samples all threads of a process, which it does not report. */
const ATTACH_MS = 500;

/** Throws if the profiler is missing, or may not see everything that a process does. */
export function checkPerf() {
  try {
    execFileSync("perf", ["--version"], { stdio: "ignore" });
  } catch {
    throw new Error(
      "--profile needs perf, which is not installed or does not run (linux-perf or linux-tools)",
    );
  }
  const paranoid = Number(readFileSync("/proc/sys/kernel/perf_event_paranoid", "utf8"));
  if (process.getuid?.() !== 0 && paranoid > 1) {
    throw new Error(
      "--profile cannot sample the kernel: run it as root, or with kernel.perf_event_paranoid at most 1",
    );
  }
}

/**
 * Puts a load on a target under the profiler, until the work that follows the responses is done.
 *
 * @param {Running} target
 * @param {Load} load
 * @returns {Promise<Recording>}
 */
export async function record(target, load) {
  const [found, { requests = NaN }] = await recorded(target.pid, FREQUENCY, () =>
    measure(target, load),
  );
  return { counts: tally(found), requests };
}

/**
 * Sends a target one request at a time under the profiler.
 *
 * @param {Running} target
 * @param {Load} load
 */
export async function recordAlone(target, load) {
  const [found, calls] = await recorded(target.pid, ALONE_FREQUENCY, () =>
    askAlone(target, load.body, load.seconds),
  );
  return {
    counts: tally(found),
    requests: calls.length,
    slowest: slowest(calls, found, ALONE_FREQUENCY),
  };
}

/**
 * Samples a process during some work.
 *
 * @template Result
 * @param {number} pid
 * @param {number} frequency
 * @param {() => Promise<Result>} work
 * @returns {Promise<[import("./samples.mjs").Sample[], Result]>}
 */
async function recorded(pid, frequency, work) {
  const folder = mkdtempSync(join(tmpdir(), "gatehouse-profile-"));
  try {
    const file = join(folder, "perf.data");
    // The clock event, so that a sample is a fixed time even on machines without hardware counters; with timestamps
    // of Node's clock.
    const options = ["-e", "cpu-clock", "-k", "mono", "-F", `${frequency}`, "-g", "-p", `${pid}`];
    const perf = tie(
      spawn("perf", ["record", ...options, "-o", file], { stdio: ["ignore", "ignore", "pipe"] }),
    );
    const error = text(perf.stderr);
    const closed = once(perf, "close");
    await sleep(ATTACH_MS);
    if (perf.exitCode !== null) throw new Error(`perf record: ${(await error).trim()}`);
    const result = await work();
    perf.kill("SIGINT");
    await closed;
    return [await read(file), result];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Starts a Worker under the profiler, until its first response.
 *
 * @param {string} name
 * @param {import("./targets.mjs").Worker} worker
 */
export async function recordStart(name, worker) {
  const folder = mkdtempSync(join(tmpdir(), "gatehouse-profile-"));
  try {
    const file = join(folder, "perf.data");
    const options = ["-e", "cpu-clock", "-F", `${START_FREQUENCY}`, "-g"];
    await coldStart(name, worker, ["perf", "record", "-q", ...options, "-o", file, "--"]);
    return tally(await read(file));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param {string} file of `perf record` */
async function read(file) {
  const args = ["script", "--no-inline", "-i", file, "-F", "comm,time,ip,sym,dso"];
  const perf = tie(spawn("perf", args, { stdio: ["ignore", "pipe", "pipe"] }));
  const [found, error, [code]] = await Promise.all([
    samples(createInterface({ input: perf.stdout })),
    text(perf.stderr),
    once(perf, "close"),
  ]);
  if (code !== 0) throw new Error(`perf script: ${error.trim()}`);
  return found;
}

/**
 * Microseconds of processor time for each call, by kind and in total.
 *
 * @param {Recording[]} recordings
 */
export function perCall(recordings) {
  return byCall(recordings, FREQUENCY);
}

/**
 * The same for calls one at a time.
 *
 * @param {RecordingAlone[]} recordings
 */
export function perCallAlone(recordings) {
  return byCall(recordings, ALONE_FREQUENCY);
}

/**
 * The slowest hundredth of calls one at a time: their number, and their percentages by cause.
 *
 * @param {RecordingAlone[]} recordings
 */
export function slowestByCause(recordings) {
  const calls = recordings.reduce((total, { slowest }) => total + slowest.calls, 0);
  const percent = (/** @type {Cause} */ cause) =>
    rounded(
      (recordings.reduce((sum, { slowest }) => sum + slowest.causes[cause], 0) / calls) * 100,
    );
  const causes = /** @type {Cause[]} */ (Object.keys(CAUSES));
  return { calls, ...Object.fromEntries(causes.map((cause) => [cause, percent(cause)])) };
}

/**
 * @param {Recording[]} recordings
 * @param {number} frequency
 */
function byCall(recordings, frequency) {
  const requests = recordings.reduce((total, recording) => total + recording.requests, 0);
  const counts = recordings.map((recording) => recording.counts);
  return byKind(counts, 1_000_000 / frequency / requests);
}

/**
 * Milliseconds of processor time for each start, by kind and in total.
 *
 * @param {Record<Kind, number>[]} starts
 */
export function perStart(starts) {
  return byKind(starts, 1_000 / START_FREQUENCY / starts.length);
}

/**
 * The sums of samples by kind and in total, converted to times.
 *
 * @param {Record<Kind, number>[]} all
 * @param {number} time of one sample
 * @returns {Record<Kind | "total", number>}
 */
function byKind(all, time) {
  const kinds = /** @type {Kind[]} */ (Object.keys(KINDS));
  const samples = kinds.map((kind) => all.reduce((total, counts) => total + counts[kind], 0));
  const total = samples.reduce((sum, count) => sum + count, 0);
  const entries = kinds.map((kind, at) => [kind, rounded((samples[at] ?? NaN) * time)]);
  return Object.fromEntries([...entries, ["total", rounded(total * time)]]);
}
