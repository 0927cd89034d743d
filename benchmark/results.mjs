// @ts-check
//! The files of the benchmark: site/data/performance.json, for the chart of the documentation
//! (site/scripts/charts.mjs), and the same as tables for readers of the repository, results.txt.

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { KINDS } from "./samples.mjs";
import { profileReport, report } from "./report.mjs";
import { CAUSES } from "./tail.mjs";

/** @typedef {import("./loads.mjs").Sample} Sample */

/**
 * The processor time of a call: for each Worker, by kind and in total.
 *
 * @typedef {object} Profile
 * @property {string} date
 * @property {{ processor: string, cores: number }} machine
 * @property {string} workerd
 * @property {Record<string, Record<string, number>>} us_per_call 32 calls at once
 * @property {Record<string, Record<string, number>>} us_per_call_alone one call at a time
 * @property {Record<string, Record<string, number>>} slowest the slowest hundredth of those: their number, and
 * percentages by cause
 * @property {Record<string, Record<string, number>>} us_per_stream streams of 300 events, 8 at once
 * @property {Record<string, number>} start_ms from starting a process to its first response
 * @property {Record<string, Record<string, number>>} start_cpu_ms processor time in that interval, by kind and in total
 */

/**
 * The content of the file.
 *
 * @typedef {object} Results
 * @property {string} about
 * @property {Record<string, string>} targets names of the Workers, by the keys of `figures` and `profile`
 * @property {Record<string, string>} kinds names of the kinds of processor time, by the keys of `profile`
 * @property {Record<string, string>} causes names of the causes in `profile.slowest`
 * @property {string} date
 * @property {{ processor: string, cores: number, memory_gb: number }} machine
 * @property {{ workerd: string, rustc: string, node: string }} versions
 * @property {Record<string, number>} rounds
 * @property {Record<string, Record<string, Sample>>} figures by load and Worker
 * @property {import("./bars.mjs").Verdict[]} bars
 * @property {Profile} [profile]
 */

const PATH = new URL("../site/data/performance.json", import.meta.url).pathname;
const TABLES = new URL("results.txt", import.meta.url).pathname;

/** The part of the file that is not measured. */
export const NAMES = {
  about:
    "Written by scripts/bench: medians over rounds, and the bars. CPU is that of the whole process of the Worker; the upstream is simulated, on the same machine.",
  targets: {
    bare: "bare Worker",
    "by-hand": "by hand",
    ring: "ring key",
    issued: "issued key",
    limits: "with limits",
  },
  kinds: KINDS,
  causes: CAUSES,
};

/** @returns {Results | undefined} undefined if nothing has been measured */
export function read() {
  return existsSync(PATH) ? JSON.parse(readFileSync(PATH, "utf8")) : undefined;
}

/** @param {Results} results */
export function write(results) {
  writeFileSync(PATH, `${JSON.stringify(results, null, 2)}\n`);
  execFileSync("prettier", ["--write", "--log-level", "warn", PATH], { stdio: "inherit" });
  const { date, profile } = results;
  const measured =
    profile === undefined ? "" : `Profile, ${profile.date}\n${profileReport(profile)}`;
  writeFileSync(TABLES, `Written by scripts/bench, ${date}\n${report(results)}\n${measured}`);
}
