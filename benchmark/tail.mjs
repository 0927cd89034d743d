// @ts-check
//! The causes of slow calls: sends one request at a time, and classifies the activity of the Worker's process
//! meanwhile, by the samples of the profiler (`samples.mjs`). Does not start the profiler.

import { Agent, request } from "node:http";
import { median } from "./figures.mjs";

/** @typedef {import("./samples.mjs").Sample} Sample */

/**
 * A call that got its response.
 *
 * @typedef {object} Call
 * @property {number} at its start, in seconds of the system's monotonic clock
 * @property {number} took in seconds
 */

/** The causes of slow calls in their order, with names for readers. */
export const CAUSES = /** @type {const} */ ({
  collection: "garbage collection, for the most part",
  ledger: "the ledger’s database was written to, in the same process",
  waiting: "the Worker’s thread waited: for a processor, the provider or the caller",
  busy: "nothing else: the call’s own work took longer",
});

/** @typedef {keyof typeof CAUSES} Cause */

/** The slowest of this many calls is examined. */
const ONE_OF = 100;
/** The thread that runs Workers has the name of the program; others have different names. */
const WORKER_THREAD = /^workerd/;

/**
 * Sends requests to a target, one after the other, on one connection.
 *
 * @param {import("./targets.mjs").Target} target
 * @param {object} body
 * @param {number} seconds
 */
export async function askAlone(target, body, seconds) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const text = JSON.stringify(body);
  /** @type {Call[]} */
  const calls = [];
  const now = () => Number(process.hrtime.bigint()) / 1e9;
  const until = now() + seconds;
  try {
    while (now() < until) {
      const at = now();
      const status = await ask(agent, target, text);
      if (status !== 200) throw new Error(`${target.name} responded with status ${status}`);
      calls.push({ at, took: now() - at });
    }
  } finally {
    agent.destroy();
  }
  return calls;
}

/**
 * @param {Agent} agent
 * @param {import("./targets.mjs").Target} target
 * @param {string} body
 * @returns {Promise<number | undefined>} the status, once the whole response has arrived
 */
function ask(agent, { url, headers }, body) {
  return new Promise((resolve, reject) => {
    const call = request(url, {
      method: "POST",
      agent,
      headers: {
        ...headers,
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
      },
    });
    call.on("error", reject);
    call.on("response", (response) => {
      response.on("error", reject);
      response.on("end", () => resolve(response.statusCode));
      response.resume();
    });
    call.end(body);
  });
}

/**
 * The slowest hundredth of calls, by cause.
 *
 * @param {Call[]} calls one after the other
 * @param {Sample[]} samples with times of the same clock
 * @param {number} frequency of the samples, for each second of a processor
 */
export function slowest(calls, samples, frequency) {
  const work = perCall(calls, samples);
  const usual = median(calls.map(({ took }) => took));
  const usuallyIdle = median(calls.map(({ took }, at) => took - busy(work[at]) / frequency));
  const count = Math.floor(calls.length / ONE_OF);
  const slow = calls
    .map(({ took }, at) => ({ took, work: work[at] ?? [] }))
    .toSorted((a, b) => b.took - a.took)
    .slice(0, count);
  const causes = /** @type {Record<Cause, number>} */ (
    Object.fromEntries(Object.keys(CAUSES).map((cause) => [cause, 0]))
  );
  for (const { took, work } of slow) {
    const half = (took - usual) / 2;
    const collecting = work.filter(({ kind }) => kind === "collection").length / frequency;
    const idle = took - busy(work) / frequency - usuallyIdle;
    if (collecting >= half) causes.collection += 1;
    else if (work.some(({ database }) => database)) causes.ledger += 1;
    else if (idle >= half) causes.waiting += 1;
    else causes.busy += 1;
  }
  return { calls: count, causes };
}

/** @param {Sample[] | undefined} work */
const busy = (work) => work?.length ?? 0;

/**
 * The activity of the Worker’s thread during each call.
 *
 * @param {Call[]} calls
 * @param {Sample[]} samples
 */
function perCall(calls, samples) {
  /** @type {Sample[][]} */
  const work = calls.map(() => []);
  let at = 0;
  for (const sample of samples.toSorted((a, b) => a.seconds - b.seconds)) {
    if (!WORKER_THREAD.test(sample.thread)) continue;
    while ((calls[at]?.at ?? Infinity) + (calls[at]?.took ?? 0) < sample.seconds) at += 1;
    const call = calls[at];
    if (call !== undefined && sample.seconds >= call.at) work[at]?.push(sample);
  }
  return work;
}
