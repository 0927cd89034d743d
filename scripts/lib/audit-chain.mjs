// @ts-check
// Verifies the hash chain of the gateway's audit log: each entry's hash includes that of the one before.
//
// It does no I/O and does not interpret entries. The owner of the database can still rewrite an intact chain as a
// whole, or truncate it: only a head that was noted earlier, somewhere else, detects that.

import { createHash } from "node:crypto";

/** @typedef {{ seq: number, entry: string, hash: string }} Entry - `entry` is the text that was hashed. */

/** The head of an empty log, which the first entry follows. */
export const START = "0".repeat(64);

/**
 * @typedef {object} Chain - What was read so far.
 * @property {number} entries
 * @property {string} head - Hash of the last entry.
 * @property {{ seq: number, reason: string }} [broken] - The first entry that does not fit.
 */

/** @type {Chain} */
export const EMPTY_CHAIN = { entries: 0, head: START };

/**
 * Adds an entry to the chain. The checks and the messages are those of core/src/onboarding/audit.rs. A broken chain
 * stays unchanged: entries after a break prove nothing.
 *
 * @param {Chain} chain
 * @param {Entry} entry
 * @returns {Chain}
 */
export function follow(chain, { seq, entry, hash }) {
  if (chain.broken) return chain;
  const reason =
    seq !== chain.entries + 1
      ? "an entry is missing before this one"
      : hash !== hashOf(chain.head, entry)
        ? "the hash is not that of the entry and the one before it"
        : seq !== seqIn(entry)
          ? "the entry has another number than its place"
          : null;
  if (reason !== null) return { ...chain, broken: { seq, reason } };
  return { entries: chain.entries + 1, head: hash };
}

/**
 * @param {string} before - Hash of the entry before.
 * @param {string} text
 */
function hashOf(before, text) {
  return createHash("sha256").update(`${before}\n${text}`, "utf8").digest("hex");
}

/** @param {string} text */
function seqIn(text) {
  try {
    return JSON.parse(text)?.seq;
  } catch {
    return undefined;
  }
}
