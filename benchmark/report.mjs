// @ts-check
//! The output of the benchmark on a terminal. Pure: converts figures to text.

import { number, quantity } from "../site/scripts/numbers.mjs";
import { KINDS } from "./samples.mjs";
import { CAUSES } from "./tail.mjs";

/** @typedef {import("./bars.mjs").Verdict} Verdict */
/** @typedef {import("./results.mjs").Profile} Profile */
/** @typedef {import("./results.mjs").Results} Results */

/**
 * A table for each load, and one of the bars.
 *
 * @param {Results} results
 */
export function report({ machine, versions, figures, bars }) {
  const parts = Object.entries(figures).map(([load, targets]) => {
    const names = [...new Set(Object.values(targets).flatMap((sample) => Object.keys(sample)))];
    const rows = Object.entries(targets).map(([target, sample]) => [
      target,
      ...names.map((name) => number(sample[name])),
    ]);
    return aligned([[load, ...names], ...rows]);
  });
  const judged = bars.map((bar) => [
    bar.name,
    quantity(bar),
    `${bar.side} ${number(bar.limit)}`,
    bar.holds ? "holds" : "FAILS",
    number(bar.others["bare"]),
    number(bar.others["by-hand"]),
    bar.about,
  ]);
  return [
    "",
    `${machine.processor}, ${machine.cores} cores; workerd ${versions.workerd}`,
    ...parts,
    aligned([["bar", "value", "limit", "", "bare", "by hand", "what"], ...judged], 6),
    "",
  ].join("\n\n");
}

/**
 * The profile as tables.
 *
 * @param {Profile} profile
 */
export function profileReport(profile) {
  const { machine, workerd, us_per_call, us_per_call_alone, slowest } = profile;
  const { us_per_stream, start_ms, start_cpu_ms } = profile;
  return [
    "",
    `${machine.processor}, ${machine.cores} cores; workerd ${workerd}`,
    kinds("µs per small whole response, 32 at once", us_per_call),
    kinds("µs of the same, one at a time", us_per_call_alone),
    table("slowest of these, %", { ...CAUSES, calls: "number" }, slowest),
    kinds("µs per stream of 300 events, 8 at once", us_per_stream),
    kinds("ms per start", start_cpu_ms),
    aligned([
      ["start", ...Object.keys(start_ms)],
      ["ms", ...Object.values(start_ms).map(number)],
    ]),
    "",
  ].join("\n\n");
}

/**
 * @param {string} title
 * @param {Record<string, Record<string, number>>} workers
 */
function kinds(title, workers) {
  return table(title, { ...KINDS, total: "in all" }, workers);
}

/**
 * @param {string} title
 * @param {Record<string, string>} rows
 * @param {Record<string, Record<string, number>>} workers
 */
function table(title, rows, workers) {
  const lines = Object.entries(rows).map(([key, about]) => [
    about,
    ...Object.values(workers).map((worker) => number(worker[key])),
  ]);
  return aligned([[title, ...Object.keys(workers)], ...lines]);
}

/**
 * All bars in one line.
 *
 * @param {Verdict[]} bars
 */
export function lastLine(bars) {
  const failing = bars.filter((bar) => !bar.holds).length;
  const all = bars.map(
    (bar) =>
      `${bar.name} ${quantity(bar)}${bar.holds ? "" : ` (FAILS: ${bar.side} ${number(bar.limit)})`}`,
  );
  const sum = failing === 0 ? "all bars hold" : `${failing} of ${bars.length} bars FAIL`;
  return [sum, ...all].join(" | ");
}

/**
 * Aligns columns: the first one and those from `texts` on to the left, the others to the right.
 *
 * @param {string[][]} rows
 * @param {number} [texts]
 */
function aligned(rows, texts = Infinity) {
  const widths =
    rows[0]?.map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0))) ?? [];
  return rows
    .map((row) =>
      row
        .map((text, at) => {
          const width = widths[at] ?? 0;
          return at === 0 || at >= texts ? text.padEnd(width) : text.padStart(width);
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
