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
import { join, relative, resolve } from "node:path";
import { helpLines, parseArguments } from "./lib/arguments.mjs";
import { digest, mint, parseKey, RANDOM_BYTES } from "./lib/gateway-key.mjs";
import { changeRing, isDigest, isLabel, readRing } from "./lib/key-ring-manifest.mjs";
import { explain, Failure, note, print } from "./lib/terminal.mjs";

/** @import { Command, OptionSpec, Tables } from "./lib/arguments.mjs" */
/** @import { Entry } from "./lib/key-ring-manifest.mjs" */

const ROOT = resolve(import.meta.dirname, "..");
const SECRET_NAME = "GATEWAY_API_KEY_HASHES";
const DEFAULT_MANIFEST = join(ROOT, "ops/gateway-key-hashes.local.json");
const THIS_SCRIPT = "node scripts/gateway-key-ring.mjs";

// Cloudflare's limit on the value of one secret.
const SECRET_BYTES = 5 * 1024;

// ---- The command line: these two tables drive parsing and help --------------------------------------

/** @typedef {{ label: string, sha256: string, env: string, json: boolean, manifest: string }} Options */

/** @type {Record<keyof Options, OptionSpec>} */
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

/** @type {Record<string, Command<Options>>} */
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

/** @type {Tables<Options>} */
const TABLES = {
  commands: COMMANDS,
  options: OPTIONS,
  shared: ["manifest"],
  defaults: { label: "", sha256: "", env: "", json: false, manifest: DEFAULT_MANIFEST },
};

/**
 * Runs before parsing, so that none of its messages repeats a key and no label can contain one.
 *
 * @param {string[]} argv
 */
function refuseKeys(argv) {
  // A public id alone is shorter than this and may be passed.
  if (argv.some((word) => /gw_[0-9A-Za-z]{24}/.test(word))) {
    throw new Failure(
      "A key must not be passed as an argument: other users of this machine can see arguments, and the " +
        "shell keeps them in its history. Treat that key as exposed and replace it. " +
        `To check a key, give it to "${THIS_SCRIPT} verify" on standard input`,
    );
  }
}

function usage() {
  return [
    `Usage: ${THIS_SCRIPT} COMMAND [--manifest PATH] [options]`,
    "",
    ...helpLines(TABLES),
    "",
    "The manifest holds hashes only. A change reaches the gateway with the next upload, which replaces",
    "the whole ring: a key whose hash is not in the manifest stops working.",
    "",
    "Environment:",
    "  GATEWAY_WRANGLER  path of the program that upload runs in place of npx wrangler",
  ].join("\n");
}

// ---- Values -----------------------------------------------------------------------------------------

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

// ---- The run ----------------------------------------------------------------------------------------

try {
  const argv = process.argv.slice(2);
  refuseKeys(argv);
  const { command, options } = parseArguments(argv, TABLES);
  await command.run(options);
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  note(error.message);
  process.exitCode = 1;
}
