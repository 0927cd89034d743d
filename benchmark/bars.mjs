// @ts-check
//! The bars: the limits that the measurements must keep. This is the only place with limits.

import { compare } from "./figures.mjs";

/** @typedef {import("./figures.mjs").Samples} Samples */
/** @typedef {import("./figures.mjs").Comparison} Comparison */

/**
 * @typedef {Comparison & { name: string, about: string, unit?: string } &
 *   ({ atMost: number, atLeast?: undefined } | { atLeast: number, atMost?: undefined })} Bar
 */

/**
 * The requests per second of the gateway whose API Gatehouse took over, relative to a bare Worker; measured once on
 * one machine: 290 of 4,500. It needs services that are not here, so it is not measured again.
 */
const ORIGINAL_TO_BARE = 290 / 4_500;

const cpu = { figure: "cpu_us", of: "ring", to: "bare" };
const whole = { ...cpu, load: "whole" };
const alone = { load: "alone", of: "ring", to: "bare" };
const delay = { load: "paced-stream", of: "ring", unit: "ms" };

const AT_MOST = "at most";
const AT_LEAST = "at least";

/** @type {Bar[]} */
export const BARS = [
  {
    name: "whole-ring",
    about: "CPU of a small whole response, ring key, to that of the bare Worker",
    ...{ ...whole, atMost: 1.7 },
  },
  {
    name: "whole-issued",
    about: "the same, issued key",
    ...{ ...whole, of: "issued", atMost: 1.72 },
  },
  {
    name: "whole-limits",
    about: "the same, issued key with limits",
    ...{ ...whole, of: "limits", atMost: 1.95 },
  },
  {
    name: "alone-p50",
    about: "median time of a small whole response alone, more than the bare Worker’s",
    ...{ ...alone, figure: "p50_ms", how: "difference", unit: "ms", atMost: 0.22 },
  },
  {
    name: "alone-p99",
    about: "99th percentile of the same, to the bare Worker’s",
    ...{ ...alone, figure: "p99_ms", atMost: 1.6 },
  },
  {
    name: "prompt",
    about: "CPU of a prompt of 100 KB, to that of the gateway by hand",
    ...{ ...cpu, load: "prompt", to: "by-hand", atMost: 1 },
  },
  {
    name: "stream",
    about: "CPU of a stream of 300 events whose usage is hidden, to that of the bare Worker",
    ...{ ...cpu, load: "stream", atMost: 1.75 },
  },
  {
    name: "stream-with-usage",
    about: "the same, with usage",
    ...{ ...cpu, load: "stream-with-usage", atMost: 1.45 },
  },
  {
    name: "paced-stream",
    about:
      "CPU of a stream of 300 events some 2 ms apart, usage hidden, to that of the bare Worker",
    ...{ ...cpu, load: "paced-stream", atMost: 2.2 },
  },
  {
    name: "paced-stream-with-usage",
    about: "the same, with usage",
    ...{ ...cpu, load: "paced-stream-with-usage", atMost: 1.7 },
  },
  {
    name: "stream-first-event",
    about: "median time to the first event of a stream alone, more than the bare Worker’s",
    ...{ ...alone, load: "stream-alone", figure: "first_event_p50_ms" },
    ...{ how: "difference", unit: "ms", atMost: 1 },
  },
  {
    name: "event-delay",
    about:
      "median time from an upstream’s write of an event to its arrival, events some 2 ms apart",
    ...{ ...delay, figure: "event_delay_p50_ms", atMost: 10 },
  },
  {
    name: "event-delay-most",
    about: "the longest of these times, more than the bare Worker’s",
    ...{ ...delay, figure: "event_delay_max_ms", to: "bare", how: "difference", atMost: 30 },
  },
  {
    name: "ring-10000",
    about: "CPU of a small whole response with a ring of 10,000 keys, to that with one key",
    ...{ load: "ring", figure: "cpu_us", of: "ring of 10000", to: "ring of 1", atMost: 1.05 },
  },
  {
    name: "memory",
    about: "memory for each of 1,000 open streams, to that of the bare Worker",
    ...{ load: "memory", figure: "kb_per_stream", of: "ring", to: "bare", atMost: 1.2 },
  },
  {
    name: "wasm",
    about: "the Wasm, gzipped",
    ...{ load: "wasm", figure: "gzipped", of: "ring", unit: "bytes", atMost: 1_300_000 },
  },
  {
    name: "cold",
    about: "from starting a process to its first response, to that of the bare Worker",
    ...{ load: "cold", figure: "ms", of: "ring", to: "bare", atMost: 2.2 },
  },
  {
    name: "original",
    about: "requests per second, to those of the gateway whose API this one took over",
    ...{ load: "whole", figure: "rps", of: "ring", to: "bare" },
    ...{ scale: 1 / ORIGINAL_TO_BARE, atLeast: 8 },
  },
  {
    name: "portkey",
    about: "requests per second, to those of Portkey’s gateway on Node",
    ...{ load: "peers", figure: "rps", of: "ring", to: "portkey", atLeast: 1 },
  },
  {
    name: "litellm",
    about: "requests per second, to those of LiteLLM’s proxy",
    ...{ load: "peers", figure: "rps", of: "ring", to: "litellm", atLeast: 15 },
  },
];

/**
 * @typedef {object} Verdict
 * @property {string} name
 * @property {string} about
 * @property {number} value
 * @property {string} unit × of a ratio
 * @property {string} side of the limit: `at most` or `at least`
 * @property {number} limit
 * @property {boolean} holds
 * @property {Record<string, number>} others the same value of the Workers that Gatehouse is compared with
 */

const OTHERS = ["bare", "by-hand"];

/**
 * The verdicts on all bars with sufficient measurements.
 *
 * @param {Samples} samples
 * @param {Bar[]} [bars]
 * @returns {Verdict[]}
 */
export function judge(samples, bars = BARS) {
  return bars.flatMap((bar) => {
    const value = compare(samples, bar);
    if (value === undefined) return [];
    const { name, about, unit = "×" } = bar;
    const measured = OTHERS.filter((other) => bar.to !== undefined && bar.to !== other)
      .map((of) => /** @type {const} */ ([of, compare(samples, { ...bar, of })]))
      .filter(([, value]) => value !== undefined);
    const others = /** @type {Record<string, number>} */ (Object.fromEntries(measured));
    // NaN, which means that a figure is missing, fails.
    const verdict =
      bar.atMost === undefined
        ? { side: AT_LEAST, limit: bar.atLeast, holds: value >= bar.atLeast }
        : { side: AT_MOST, limit: bar.atMost, holds: value <= bar.atMost };
    return { name, about, value, unit, ...verdict, others };
  });
}
