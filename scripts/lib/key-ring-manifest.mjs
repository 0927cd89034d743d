// @ts-check
// The manifest of a key ring: the JSON file of labels and hashes that the key-ring script maintains. This module
// reads and validates it, and changes it so that neither a crash nor a concurrent command loses an entry.
//
// It does not mint or hash keys and does not decide which entries change: the caller passes a function that does. It
// knows no commands, no secrets and no Worker.

import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { explain, Failure, note } from "./terminal.mjs";

const LOCK_WAIT_MS = 10_000;

/** @typedef {{ label: string, sha256: string, created_at: string }} Entry */

/**
 * @param {string} path
 * @returns {Entry[]} Sorted by label. A missing file is an empty ring.
 */
export function readRing(path) {
  const target = followLink(path);
  let text;
  try {
    text = fs.readFileSync(target, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw new Failure(`Cannot read ${path}: ${explain(error)}`);
  }
  return sorted(parseManifest(path, text));
}

/**
 * Replaces the ring by the result of `change`, or leaves every byte unchanged. `change` is synchronous, so only a
 * dead process can leave the lock behind.
 *
 * @param {string} path
 * @param {(entries: Entry[]) => Entry[]} change
 */
export async function changeRing(path, change) {
  const target = followLink(path);
  try {
    fs.mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new Failure(`Cannot create ${dirname(target)}: ${explain(error)}`);
  }
  const release = await lock(`${target}.lock`);
  try {
    const entries = sorted(change(readRing(path)));
    const ring = { version: 1, updated_at: new Date().toISOString(), entries };
    replaceFile(target, `${JSON.stringify(ring, null, 2)}\n`);
    return entries;
  } finally {
    release();
  }
}

/**
 * Resolves a manifest that is a symbolic link, for instance into an encrypted volume. The target is replaced, the
 * lock is beside the target, and the link stays. A dangling link is rejected and not regarded as an empty ring: an
 * unmounted volume must not look like a ring without keys.
 *
 * @param {string} path
 */
function followLink(path) {
  try {
    return fs.realpathSync(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw new Failure(`Cannot read ${path}: ${explain(error)}`);
  }
  if (fs.lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) {
    throw new Failure(`${path} is a symbolic link to a file that does not exist`);
  }
  return path;
}

/**
 * Parses strictly, because the file is rewritten as a whole: unknown content would be lost.
 *
 * @param {string} path
 * @param {string} text
 * @returns {Entry[]}
 */
function parseManifest(path, text) {
  /** @type {(why: string) => never} */
  const reject = (why) => {
    throw new Failure(`${path} is not a gateway key-ring manifest: ${why}`);
  };
  let document;
  try {
    document = JSON.parse(text);
  } catch {
    // Without the parser's own message, which quotes the file: the wrong file may hold a secret.
    return reject("it is not JSON");
  }
  if (!isObject(document)) return reject("it is not a JSON object");
  if (!Array.isArray(document.entries)) return reject("it has no entries array");
  if (document.version !== 1) return reject("its version is not 1");
  const { updated_at: updated = null } = document;
  if (updated !== null && !isTimestamp(updated))
    return reject("updated_at is not an ISO date or null");
  const stranger = strangerIn(document, ["version", "updated_at", "entries"]);
  if (stranger !== undefined) return reject(`it has an unknown field "${stranger}"`);

  const labels = new Set();
  const digests = new Set();
  document.entries.forEach((/** @type {unknown} */ entry, /** @type {number} */ index) => {
    const which = `entry ${index + 1}`;
    if (!isObject(entry)) return reject(`${which} is not an object`);
    const { label, sha256, created_at: created } = entry;
    if (typeof label !== "string" || !isLabel(label)) return reject(`${which} has no valid label`);
    if (typeof sha256 !== "string" || !isDigest(sha256)) {
      return reject(`${which} ("${label}") has no sha256 of 64 lower-case hex digits`);
    }
    if (!isTimestamp(created)) return reject(`${which} ("${label}") has no ISO date created_at`);
    const unknown = strangerIn(entry, ["label", "sha256", "created_at"]);
    if (unknown !== undefined)
      return reject(`${which} ("${label}") has an unknown field "${unknown}"`);
    if (labels.has(label)) return reject(`the label "${label}" occurs twice`);
    if (digests.has(sha256)) return reject(`the digest of "${label}" occurs twice`);
    labels.add(label);
    digests.add(sha256);
  });
  return document.entries;
}

/** @param {string} text */
export function isLabel(text) {
  return /^[a-zA-Z0-9._:-]{1,64}$/.test(text);
}

/** @param {string} text */
export function isDigest(text) {
  return /^[0-9a-f]{64}$/.test(text);
}

/**
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @param {unknown} value */
function isTimestamp(value) {
  return (
    typeof value === "string" &&
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(value) &&
    !Number.isNaN(Date.parse(value))
  );
}

/**
 * @param {object} object
 * @param {string[]} known
 */
function strangerIn(object, known) {
  return Object.keys(object).find((name) => !known.includes(name));
}

/**
 * Labels are unique, and ASCII, so comparing code units is comparing bytes.
 *
 * @param {Entry[]} entries
 */
function sorted(entries) {
  return entries.toSorted((a, b) => (a.label < b.label ? -1 : 1));
}

/**
 * Replaces a file so that a reader, or a crash, sees either the old bytes or the new ones. The new file also gets its
 * own mode, however permissive that of the old one was.
 *
 * @param {string} path
 * @param {string} text
 */
function replaceFile(path, text) {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    createFile(temporary, text);
    fs.renameSync(temporary, path);
  } catch (error) {
    discard(temporary);
    throw new Failure(`Cannot write ${path}: ${explain(error)}`);
  }
  try {
    const directory = fs.openSync(dirname(path), "r");
    fs.fsyncSync(directory);
    fs.closeSync(directory);
  } catch {
    // The new bytes are in place. Not every file system can sync a directory.
  }
}

/**
 * Creates a file that must not exist, or leaves none.
 *
 * @param {string} path
 * @param {string} text
 */
function createFile(path, text) {
  const file = fs.openSync(path, "wx", 0o600);
  try {
    fs.writeFileSync(file, text);
    fs.fsyncSync(file);
  } catch (error) {
    discard(path);
    throw error;
  } finally {
    fs.closeSync(file);
  }
}

/**
 * Removes a file of ours, if it exists. Does not throw, since it cleans up after errors that are more informative.
 *
 * @param {string} path
 * @returns {boolean} True if it is gone.
 */
function discard(path) {
  try {
    fs.rmSync(path, { force: true });
    return true;
  } catch {
    return false;
  }
}

// ---- The lock: two commands at once must not lose an entry ------------------------------------------

/**
 * @param {string} path
 * @returns {Promise<() => void>} Releases the lock.
 */
async function lock(path) {
  const deadline = Date.now() + LOCK_WAIT_MS;
  while (!claim(path)) {
    clearStaleLock(path);
    if (Date.now() > deadline) {
      const holder = holderOf(path)?.name ?? "an unknown process";
      const files = [path, guardOf(path)].filter((file) => fs.existsSync(file)).join(" and ");
      throw new Failure(
        `${path} is held by ${holder}: if no key-ring command is running, remove ${files}`,
      );
    }
    await sleep(10 + 30 * Math.random());
  }
  // If this fails, the change is still made, and the next command removes the lock of a dead process.
  return () => discard(path);
}

/**
 * @param {string} path
 * @returns {boolean} False if another process was faster.
 */
function claim(path) {
  try {
    createFile(path, `${process.pid} ${hostname()}\n`);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw new Failure(`Cannot create ${path}: ${explain(error)}`);
  }
}

/**
 * Removes a lock whose process is gone. Of several processes that see it only the holder of the guard may remove it,
 * after checking again: otherwise the slower one would remove the lock that the faster one has just taken.
 *
 * @param {string} path
 */
function clearStaleLock(path) {
  if (!holderOf(path)?.gone || !claim(guardOf(path))) return;
  try {
    const holder = holderOf(path);
    if (!holder?.gone) return;
    if (discard(path)) note(`Removed ${path}: ${holder.name} is gone without releasing it.`);
  } finally {
    discard(guardOf(path));
  }
}

/** @param {string} path */
function guardOf(path) {
  return `${path}.clearing`;
}

/**
 * @param {string} path
 * @returns {{ name: string, gone: boolean } | null} Null while its process has yet to write its name.
 */
function holderOf(path) {
  let text;
  try {
    text = fs.readFileSync(path, "utf8");
  } catch {
    return null;
  }
  const [, pid, host] = /^([1-9]\d*) (.*)\n$/.exec(text) ?? [];
  if (!pid) return null;
  // The state of a process on another machine is unknown.
  const gone = host === hostname() && !isRunning(Number(pid));
  return { name: `process ${pid} on ${host}`, gone };
}

/** @param {number} pid */
function isRunning(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) !== "ESRCH";
  }
}

/** @param {unknown} error */
function codeOf(error) {
  return /** @type {NodeJS.ErrnoException} */ (error)?.code;
}
