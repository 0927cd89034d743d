#!/usr/bin/env node
// @ts-check
// The operator's key ring: mints gateway keys, keeps their hashes in a local manifest, and uploads the
// whole ring as the Worker secret GATEWAY_API_KEY_HASHES. Run it without arguments for its usage.
//
// It never stores a key and never sends one: a key is printed once, when it is minted, and only its
// SHA-256 stays. It does not read the ring back from Cloudflare, because Worker secrets are write-only:
// the manifest is the only list of what the next upload will let in.

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { hostname } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { digest, mint, parseKey, RANDOM_BYTES } from "./lib/gateway-key.mjs";

const ROOT = resolve(import.meta.dirname, "..");
const SECRET_NAME = "GATEWAY_API_KEY_HASHES";
const DEFAULT_MANIFEST = join(ROOT, "ops/gateway-key-hashes.local.json");
const THIS_SCRIPT = "node scripts/gateway-key-ring.mjs";

// Cloudflare's limit on the value of one secret.
const SECRET_BYTES = 5 * 1024;

const LOCK_WAIT_MS = 10_000;

/** A mistake that the operator can put right: shown as a bare sentence, without a stack. */
class Failure extends Error {}

// ---- The command line: these two tables drive parsing and help --------------------------------------

/** @typedef {{ label: string, sha256: string, env: string, json: boolean, manifest: string }} Options */
/** @typedef {keyof Options} OptionName */

/**
 * @typedef {object} OptionSpec
 * @property {string} [value] - What the help calls its value; an option without one is a flag.
 * @property {string} help
 * @property {(text: string) => string} [read] - Checks and normalises the value.
 */

/** @type {Record<OptionName, OptionSpec>} */
const OPTIONS = {
  label: {
    value: "LABEL",
    help: "name of an entry: 1 to 64 letters, digits and . _ : -",
    read: readLabel,
  },
  sha256: { value: "HASH", help: "SHA-256 of a key, 64 hex digits", read: readDigest },
  env: { value: "NAME", help: "wrangler environment to upload to", read: readEnvironment },
  json: { help: "print the entries as JSON, with created_at" },
  manifest: {
    value: "PATH",
    help: `file that holds the ring (default ${relative(ROOT, DEFAULT_MANIFEST)})`,
    read: (text) => resolve(text),
  },
};

/**
 * @typedef {object} Command
 * @property {string} summary
 * @property {OptionName[]} [needs]
 * @property {OptionName[]} [takes]
 * @property {string} [noArguments] - Why it takes no positional argument, where that needs saying.
 * @property {(options: Options) => void | Promise<void>} run
 */

/** @type {Record<string, Command>} */
const COMMANDS = {
  generate: {
    summary: "mint a key, add its hash to the ring and print the key, once",
    needs: ["label"],
    run: generate,
  },
  "add-hash": {
    summary: "add the hash of a key that was minted elsewhere",
    needs: ["label", "sha256"],
    run: addHash,
  },
  list: { summary: "print label:sha256 of every entry", takes: ["json"], run: list },
  "print-secret": { summary: `print the value of ${SECRET_NAME}`, run: printSecret },
  remove: { summary: "remove an entry", needs: ["label"], run: remove },
  verify: {
    summary: "read a key from standard input and tell whether it is in the ring",
    noArguments:
      "verify reads the key from standard input, never from an argument: other users of this machine " +
      "can see arguments, and the shell keeps them in its history",
    run: verify,
  },
  upload: {
    summary: `replace the Worker secret ${SECRET_NAME} by the whole ring`,
    takes: ["env"],
    run: upload,
  },
  help: { summary: "print this text", run: () => print([usage()]) },
};

const HELP_FLAGS = ["--help", "-h"];

/**
 * @param {string[]} argv
 * @returns {{ command: Command, options: Options }}
 */
function parseArguments(argv) {
  // Before anything else, so that no message below repeats a key and no label can contain one.
  // A public id alone is shorter than this and may be passed.
  if (argv.some((word) => /gw_[0-9A-Za-z]{24}/.test(word))) {
    throw new Failure(
      "A key must not be passed as an argument: other users of this machine can see arguments, and the " +
        "shell keeps them in its history. Treat that key as exposed and replace it. " +
        `To check a key, give it to "${THIS_SCRIPT} verify" on standard input`,
    );
  }

  const [first = "help", ...words] = argv;
  const name = HELP_FLAGS.includes(first) ? "help" : first;
  const command = field(COMMANDS, name);
  if (!command) throw new Failure(`Unknown command: ${name}`);

  const allowed = optionsOf(command);
  const options = defaultOptions();
  /** @type {Set<string>} */
  const given = new Set();
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at];
    if (HELP_FLAGS.includes(word)) return { command: COMMANDS.help, options };
    if (!word.startsWith("-") || word === "-") {
      throw new Failure(command.noArguments ?? `Unexpected argument: ${word}`);
    }
    const option = /** @type {OptionName} */ (word.slice(2));
    const spec = word.startsWith("--") ? field(OPTIONS, option) : undefined;
    if (!spec) throw new Failure(unknownOption(word));
    if (!allowed.includes(option)) throw new Failure(`${name} does not take ${word}`);
    if (given.has(option)) throw new Failure(`${word} is given more than once`);
    given.add(option);

    if (!spec.value) {
      Object.assign(options, { [option]: true });
      continue;
    }
    at += 1;
    const value = words[at];
    if (!value || value.startsWith("--")) throw new Failure(`Missing value for ${word}`);
    Object.assign(options, { [option]: spec.read ? spec.read(value) : value });
  }

  for (const option of command.needs ?? []) {
    if (!given.has(option)) throw new Failure(`${name} needs --${option} ${OPTIONS[option].value}`);
  }
  return { command, options };
}

/**
 * A member of a table, never one that every object inherits.
 *
 * @template T
 * @param {Record<string, T>} table
 * @param {string} name
 * @returns {T | undefined}
 */
function field(table, name) {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

/**
 * @param {Command} command
 * @returns {OptionName[]}
 */
function optionsOf(command) {
  return [...(command.needs ?? []), ...(command.takes ?? []), "manifest"];
}

/** @returns {Options} */
function defaultOptions() {
  return { label: "", sha256: "", env: "", json: false, manifest: DEFAULT_MANIFEST };
}

/** @param {string} word */
function unknownOption(word) {
  const [option] = word.split("=", 1);
  return option !== word && field(OPTIONS, option.slice(2))
    ? `Unknown option: ${option}= (write the value as an argument of its own: ${option} VALUE)`
    : `Unknown option: ${option}`;
}

function usage() {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length)) + 2;
  const commands = Object.entries(COMMANDS).flatMap(([name, command]) => {
    const needs = (command.needs ?? []).map((option) => ` ${synopsis(option)}`);
    const takes = (command.takes ?? []).map((option) => ` [${synopsis(option)}]`);
    const line = `  ${name.padEnd(width)}${command.summary}`;
    const syntax = [...needs, ...takes].join("");
    return syntax ? [line, `  ${"".padEnd(width)}${syntax.trim()}`] : [line];
  });
  const names = /** @type {OptionName[]} */ (Object.keys(OPTIONS));
  const options = names.map((name) => `  ${synopsis(name).padEnd(18)}${OPTIONS[name].help}`);
  return [
    `Usage: ${THIS_SCRIPT} COMMAND [--manifest PATH] [options]`,
    "",
    "Commands:",
    ...commands,
    "",
    "Options:",
    ...options,
    "",
    "The manifest holds hashes only. A change reaches the gateway with the next upload, which replaces",
    "the whole ring: a key whose hash is not in the manifest stops working.",
    "",
    "Environment:",
    "  GATEWAY_WRANGLER  path of the program that upload runs in place of npx wrangler",
  ].join("\n");
}

/** @param {OptionName} option */
function synopsis(option) {
  const { value } = OPTIONS[option];
  return value ? `--${option} ${value}` : `--${option}`;
}

// ---- Values -----------------------------------------------------------------------------------------

/** @param {string} text */
function isLabel(text) {
  return /^[a-zA-Z0-9._:-]{1,64}$/.test(text);
}

/** @param {string} text */
function isDigest(text) {
  return /^[0-9a-f]{64}$/.test(text);
}

/** @param {string} text */
function readLabel(text) {
  const label = text.trim();
  if (isLabel(label)) return label;
  throw new Failure("--label must be 1 to 64 characters, each a letter, a digit or one of . _ : -");
}

/** @param {string} text */
function readDigest(text) {
  const sha256 = text.trim().toLowerCase();
  if (isDigest(sha256)) return sha256;
  // The value is not repeated: it may be a key of another format, pasted by mistake.
  throw new Failure("--sha256 must be a 64-character SHA-256 hex digest");
}

/** @param {string} text */
function readEnvironment(text) {
  // So that wrangler cannot take it for an option of its own.
  if (/^\w[\w-]*$/.test(text)) return text;
  throw new Failure("--env must be the name of a wrangler environment: letters, digits, _ and -");
}

// ---- Commands ---------------------------------------------------------------------------------------

/** @param {Options} options */
async function generate({ label, manifest }) {
  const { key } = mint(randomBytes(RANDOM_BYTES));
  const sha256 = digest(key);
  // The hash is on disk before the key is shown, so no key is handed out that the next upload forgets.
  await changeRing(manifest, (entries) => withEntry(entries, label, sha256));
  try {
    await print([
      `key=${key}`,
      `sha256=${sha256}`,
      `manifest=${manifest}`,
      `Upload with: ${uploadCommand(manifest)}`,
    ]);
  } catch (error) {
    throw new Failure(
      `${explain(error)}. The new key may be lost, but its hash is in the ring: ` +
        `remove the label "${label}" and generate again`,
    );
  }
}

/** @param {Options} options */
async function addHash({ label, sha256, manifest }) {
  await changeRing(manifest, (entries) => withEntry(entries, label, sha256));
  await print([`added=${label}`, `manifest=${manifest}`]);
}

/** @param {Options} options */
async function list({ json, manifest }) {
  const entries = readRing(manifest);
  await print(json ? [JSON.stringify(entries, null, 2)] : ringLines(entries));
}

/** @param {Options} options */
async function printSecret({ manifest }) {
  await print(ringLines(readRing(manifest)));
}

/** @param {Options} options */
async function remove({ label, manifest }) {
  const left = await changeRing(manifest, (entries) => {
    const others = entries.filter((entry) => entry.label !== label);
    if (others.length < entries.length) return others;
    throw new Failure(`The label "${label}" is not in the ring`);
  });
  await print([
    `removed=${label}`,
    `manifest=${manifest}`,
    left.length > 0
      ? `The key keeps working until you run: ${uploadCommand(manifest)}`
      : `The key keeps working: upload refuses a ring that is empty, as it is now. ${emptyRingAdvice()}`,
  ]);
}

/** @param {Options} options */
async function verify({ manifest }) {
  const key = await readKey();
  const sha256 = digest(key);
  // Looked up before its form is judged: the ring may hold hashes of keys in other formats.
  const entry = readRing(manifest).find((candidate) => candidate.sha256 === sha256);
  if (entry) {
    await print([`label=${entry.label}`, `sha256=${sha256}`, `manifest=${manifest}`]);
    return;
  }
  const { publicId, reason } = parseKey(key);
  if (reason === undefined) {
    throw new Failure(`${publicId} is a well-formed key, but it is not in the ring ${manifest}`);
  }
  throw new Failure(
    reason === "prefix"
      ? `The key is not in the ring ${manifest}, and it is not a gw_ key`
      : `The key is mistyped or cut: ${KEY_FAULTS[reason]}`,
  );
}

const KEY_FAULTS = {
  length: "a gw_ key has 52 characters",
  alphabet: "a gw_ key has only letters and digits after the prefix",
  checksum: "its checksum does not match",
  overflow: "its checksum matches, but no key has these digits",
};

/** @param {Options} options */
async function upload({ env, manifest }) {
  const entries = readRing(manifest);
  if (entries.length === 0) {
    throw new Failure(
      `The ring ${manifest} is empty, and upload refuses an empty ring. ${emptyRingAdvice()}`,
    );
  }
  const secret = ringLines(entries).join("\n");
  const bytes = Buffer.byteLength(secret);
  const count = entries.length === 1 ? "1 entry" : `${entries.length} entries`;
  const where = env ? ` of the environment ${env}` : "";
  await print([
    `Uploading ${count} (${bytes} bytes) to ${SECRET_NAME}${where}.`,
    `This REPLACES the whole ring: a key whose hash is not in ${manifest} stops working.`,
  ]);
  if (bytes > SECRET_BYTES) {
    note(`The ring is larger than the ${SECRET_BYTES} bytes that Cloudflare allows for a secret.`);
  }

  const wrangler = process.env.GATEWAY_WRANGLER;
  const [program, ...before] = wrangler ? [resolve(wrangler)] : ["npx", "wrangler"];
  const words = [...before, "secret", "put", SECRET_NAME, ...(env ? ["--env", env] : [])];
  await runWithInput(program, words, secret);
}

// ---- Pieces of the commands -------------------------------------------------------------------------

/**
 * @param {Entry[]} entries
 * @param {string} label
 * @param {string} sha256
 */
function withEntry(entries, label, sha256) {
  for (const entry of entries) {
    if (entry.label === label) throw new Failure(`The label "${label}" is already in the ring`);
    if (entry.sha256 === sha256) {
      throw new Failure(
        `The digest ${sha256} is already in the ring, under the label "${entry.label}"`,
      );
    }
  }
  return [...entries, { label, sha256, created_at: new Date().toISOString() }];
}

/** @param {Entry[]} entries */
function ringLines(entries) {
  return entries.map((entry) => `${entry.label}:${entry.sha256}`);
}

/**
 * The command that uploads this ring: without the path it would replace the ring by that of another file.
 *
 * @param {string} manifest
 */
function uploadCommand(manifest) {
  const command = `${THIS_SCRIPT} upload`;
  if (manifest === DEFAULT_MANIFEST) return command;
  const quoted = /^[\w@%+=:,./-]+$/.test(manifest)
    ? manifest
    : `'${manifest.replaceAll("'", "'\\''")}'`;
  return `${command} --manifest ${quoted}`;
}

function emptyRingAdvice() {
  return `To shut out every key of the ring, run: npx wrangler secret delete ${SECRET_NAME}`;
}

async function readKey() {
  const { stdin } = process;
  if (stdin.isTTY) note("Paste the key and press Enter:");
  let text = "";
  stdin.setEncoding("utf8");
  for await (const chunk of stdin) {
    text += chunk;
    // At a terminal a line is the whole answer; a wrong file piped in need not be read to its end.
    if ((stdin.isTTY && text.includes("\n")) || text.length > 64 * 1024) break;
  }
  const key = text.trim();
  if (!key) throw new Failure("There is no key on standard input");
  if (/\s/.test(key)) throw new Failure("Standard input must hold one key and nothing else");
  return key;
}

/**
 * Run a program, without a shell, with a text as its standard input.
 *
 * @param {string} program
 * @param {string[]} words
 * @param {string} input
 * @returns {Promise<void>}
 */
function runWithInput(program, words, input) {
  return new Promise((done, fail) => {
    const child = spawn(program, words, { cwd: ROOT, stdio: ["pipe", "inherit", "inherit"] });
    child.on("error", (error) => fail(new Failure(`Cannot run ${program}: ${explain(error)}`)));
    // A program that fails early closes its input; its status then says more than the broken pipe.
    child.stdin.on("error", () => {});
    child.on("close", (status, signal) => {
      const fault = signal
        ? `was ended by ${signal}`
        : status !== 0
          ? `failed with status ${status}`
          : !child.stdin.writableFinished
            ? "did not read the ring"
            : null;
      if (fault === null) done();
      else fail(new Failure(`wrangler ${fault}: take the ring as not uploaded`));
    });
    child.stdin.end(input);
  });
}

// ---- The manifest -----------------------------------------------------------------------------------

/** @typedef {{ label: string, sha256: string, created_at: string }} Entry */

/**
 * @param {string} path
 * @returns {Entry[]} Sorted by label. A missing file is an empty ring.
 */
function readRing(path) {
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
 * Replace the ring by what `change` makes of it, or leave every byte as it is. `change` is synchronous,
 * so nothing but a dead process can leave the lock behind.
 *
 * @param {string} path
 * @param {(entries: Entry[]) => Entry[]} change
 */
async function changeRing(path, change) {
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
 * A manifest may be a symbolic link, for instance into an encrypted volume. The file it points to is
 * replaced, the lock lies beside that file, and the link stays. A link that points nowhere is refused
 * rather than taken for an empty ring: an unmounted volume must not look like a ring without keys.
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
 * Strict, because the file is rewritten as a whole: what is not understood would be lost.
 *
 * @param {string} path
 * @param {string} text
 * @returns {Entry[]}
 */
function parseManifest(path, text) {
  /** @type {(why: string) => never} */
  const refuse = (why) => {
    throw new Failure(`${path} is not a gateway key-ring manifest: ${why}`);
  };
  let document;
  try {
    document = JSON.parse(text);
  } catch {
    // Without the parser's own message, which quotes the file: the wrong file may hold a secret.
    return refuse("it is not JSON");
  }
  if (!isObject(document)) return refuse("it is not a JSON object");
  if (!Array.isArray(document.entries)) return refuse("it has no entries array");
  if (document.version !== 1) return refuse("its version is not 1");
  const { updated_at: updated = null } = document;
  if (updated !== null && !isTimestamp(updated))
    return refuse("updated_at is not an ISO date or null");
  const stranger = strangerIn(document, ["version", "updated_at", "entries"]);
  if (stranger !== undefined) return refuse(`it has an unknown member "${stranger}"`);

  const labels = new Set();
  const digests = new Set();
  document.entries.forEach((/** @type {unknown} */ entry, /** @type {number} */ index) => {
    const which = `entry ${index + 1}`;
    if (!isObject(entry)) return refuse(`${which} is not an object`);
    const { label, sha256, created_at: created } = entry;
    if (typeof label !== "string" || !isLabel(label)) return refuse(`${which} has no valid label`);
    if (typeof sha256 !== "string" || !isDigest(sha256)) {
      return refuse(`${which} ("${label}") has no sha256 of 64 lower-case hex digits`);
    }
    if (!isTimestamp(created)) return refuse(`${which} ("${label}") has no ISO date created_at`);
    const unknown = strangerIn(entry, ["label", "sha256", "created_at"]);
    if (unknown !== undefined)
      return refuse(`${which} ("${label}") has an unknown member "${unknown}"`);
    if (labels.has(label)) return refuse(`the label "${label}" occurs twice`);
    if (digests.has(sha256)) return refuse(`the digest of "${label}" occurs twice`);
    labels.add(label);
    digests.add(sha256);
  });
  return document.entries;
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
 * Labels are ASCII, so comparing code units is comparing bytes.
 *
 * @param {Entry[]} entries
 */
function sorted(entries) {
  return entries.toSorted((a, b) => (a.label < b.label ? -1 : a.label > b.label ? 1 : 0));
}

/**
 * Replace a file so that a reader, or a crash, sees the old bytes or the new ones and nothing between.
 * The new file also brings its own mode, however lax that of the old one was.
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
    // The new bytes are in place; not every file system lets a directory be synced.
  }
}

/**
 * Create a file that must not exist, or leave none.
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
 * Remove a file of ours, if it is there. It does not throw: it cleans up after errors that say more.
 *
 * @param {string} path
 * @returns {boolean} Whether it is gone.
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
  // Should that fail, the change is still made, and the next command clears a lock without a process.
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
 * Remove a lock whose process is gone. Of several processes that see it only the holder of the guard may,
 * and it looks again first: otherwise the slower would remove the lock that the faster has just taken.
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
  // Of a process on another machine nothing can be told from here.
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

// ---- Output and errors ------------------------------------------------------------------------------

/**
 * @param {string[]} lines
 * @returns {Promise<void>} Fails when the lines could not be handed over, for instance to a closed pipe.
 */
function print(lines) {
  return new Promise((done, fail) => {
    process.stdout.write(lines.map((line) => `${line}\n`).join(""), (error) => {
      if (error) fail(new Failure(`Cannot write to standard output: ${explain(error)}`));
      else done();
    });
  });
}

/** @param {string} sentence */
function note(sentence) {
  process.stderr.write(`${sentence}\n`);
}

/** @param {unknown} error */
function codeOf(error) {
  return /** @type {NodeJS.ErrnoException} */ (error)?.code;
}

/** @param {unknown} error */
function explain(error) {
  return error instanceof Error ? error.message : String(error);
}

// print() reports the failure; without a listener the same event would also end the process.
process.stdout.on("error", () => {});

try {
  const { command, options } = parseArguments(process.argv.slice(2));
  await command.run(options);
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  note(error.message);
  process.exitCode = 1;
}
