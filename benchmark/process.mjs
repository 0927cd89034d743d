// @ts-check
//! The processor time and the memory of a process (Linux, /proc), and processes that end together with this one.

import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";

/** The number of ticks in a second of processor time in /proc. */
const TICKS = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

/**
 * The fields of /proc/PID/stat after the name, which may contain anything. The first of them is the state.
 *
 * @param {number | string} pid
 */
function stat(pid) {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  return {
    name: text.slice(text.indexOf("(") + 1, text.lastIndexOf(")")),
    fields: text.slice(text.lastIndexOf(")") + 2).split(" "),
  };
}

/**
 * The processor time of a process with all its threads, in milliseconds, in ticks of 10.
 *
 * @param {number} pid
 */
export function cpuMs(pid) {
  const { fields } = stat(pid);
  return ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS;
}

/**
 * Memory in MB: the resident size now, and the peak since `forgetPeak`.
 *
 * @param {number} pid
 */
export function memoryMb(pid) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const of = (/** @type {string} */ name) =>
    Number(status.match(new RegExp(`^${name}:\\s+(\\d+) kB`, "m"))?.[1]) / 1024;
  return { resident: of("VmRSS"), peak: of("VmHWM") };
}

/** @type {Set<import("node:child_process").ChildProcess>} */
const tied = new Set();

process.on("exit", () => tied.forEach((child) => child.kill("SIGKILL")));
// Miniflare ends the process on these signals as well, but it is not always there.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

/**
 * Ends a child when this process ends, in whatever way.
 *
 * @template {import("node:child_process").ChildProcess} Child
 * @param {Child} child
 */
export function tie(child) {
  tied.add(child);
  child.once("exit", () => tied.delete(child));
  return child;
}

/**
 * Resets the peak of a process's memory.
 *
 * @param {number} pid
 */
export function forgetPeak(pid) {
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
}

/**
 * The children of this process with a given name.
 *
 * @param {string} name
 */
export function children(name) {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      try {
        const found = stat(pid);
        return found.name === name && Number(found.fields[1]) === process.pid;
      } catch {
        // The process has just ended.
        return false;
      }
    })
    .map(Number);
}
