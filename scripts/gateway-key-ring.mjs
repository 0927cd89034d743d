#!/usr/bin/env node
// @ts-check
// The key rings of callers and operators: creates gateway keys, keeps their hashes in a local manifest, and
// uploads a whole ring as a Worker secret. Run it with --help for its usage.
//
// It never stores or sends a key: a key is printed once, when it is created, and only its SHA-256 is kept. It
// does not read the ring back from Cloudflare, because Worker secrets are write-only: the manifest is the only
// list of the keys that the next upload admits.

import { randomBytes } from "node:crypto";
import { relative, resolve } from "node:path";
import { action, createProgram, option, runProgram } from "./lib/command-line.mjs";
import { digest, mint, parseKey, RANDOM_BYTES } from "./lib/gateway-key.mjs";
import { FOLDER, KEYS_COMMAND as THIS_SCRIPT } from "./lib/installation.mjs";
import { readKey, refuseKeys } from "./lib/key-input.mjs";
import { changeRing, isDigest, isLabel, readRing } from "./lib/key-ring-manifest.mjs";
import { CALLERS, OPERATORS } from "./lib/key-rings.mjs";
import { explain, Failure, note, print, UsageError } from "./lib/terminal.mjs";
import { wrangler } from "./lib/wrangler.mjs";

/** @import { Entry } from "./lib/key-ring-manifest.mjs" */
/** @import { Ring } from "./lib/key-rings.mjs" */

// Cloudflare's limit on the value of one secret.
const SECRET_BYTES = 5 * 1024;

/**
 * @typedef {object} Options
 * @property {string} label
 * @property {string} sha256
 * @property {string} [env]
 * @property {boolean} [json]
 * @property {boolean} [operators]
 * @property {string} [manifest]
 */

// ---- Values -----------------------------------------------------------------------------------------

/** @param {string} text */
function readLabel(text) {
  const label = text.trim();
  if (isLabel(label)) return label;
  throw new UsageError(
    "--label must be 1 to 64 characters, each a letter, a digit or one of . _ : -",
  );
}

/** @param {string} text */
function readDigest(text) {
  const sha256 = text.trim().toLowerCase();
  if (isDigest(sha256)) return sha256;
  // The value is not repeated: it may be a key of another format, pasted by mistake.
  throw new UsageError("--sha256 must be a 64-character SHA-256 hex digest");
}

/** @param {string} text */
function readEnvironment(text) {
  // So that wrangler cannot take it for an option of its own.
  if (/^\w[\w-]*$/.test(text)) return text;
  throw new UsageError(
    "--env must be the name of a wrangler environment: letters, digits, _ and -",
  );
}

/**
 * The ring that a command applies to.
 *
 * @param {Options} options
 * @returns {Ring}
 */
function ringOf({ operators, manifest }) {
  const ring = operators ? OPERATORS : CALLERS;
  const path = manifest || ring.manifest;
  // Either mistake is serious: every caller would be an operator, or no caller would be admitted any more.
  if (path === (operators ? CALLERS : OPERATORS).manifest) {
    throw new UsageError(
      operators
        ? `${path} is the ring of callers, and --operators would make all of them operators`
        : `${path} is the ring of operators: give --operators with it`,
    );
  }
  return { ...ring, manifest: path };
}

// ---- Commands ---------------------------------------------------------------------------------------

/** @param {Options} options */
async function generate(options) {
  const { label } = options;
  const ring = ringOf(options);
  const { manifest } = ring;
  const { key } = mint(randomBytes(RANDOM_BYTES));
  const sha256 = digest(key);
  // The hash is on disk before the key is shown, so no key is handed out that the next upload forgets.
  await changeRing(manifest, (entries) => withEntry(entries, label, sha256));
  try {
    await print([
      `key=${key}`,
      `sha256=${sha256}`,
      `manifest=${manifest}`,
      `Upload with: ${uploadCommand(ring)}`,
    ]);
  } catch (error) {
    throw new Failure(
      `${explain(error)}. The new key may be lost, but its hash is in the ring: ` +
        `remove the label "${label}" and generate again`,
    );
  }
}

/** @param {Options} options */
async function addHash(options) {
  const { label, sha256 } = options;
  const { manifest } = ringOf(options);
  await changeRing(manifest, (entries) => withEntry(entries, label, sha256));
  await print([`added=${label}`, `manifest=${manifest}`]);
}

/** @param {Options} options */
async function list(options) {
  const entries = readRing(ringOf(options).manifest);
  await print(options.json ? [JSON.stringify(entries, null, 2)] : ringLines(entries));
}

/** @param {Options} options */
async function printSecret(options) {
  await print(ringLines(readRing(ringOf(options).manifest)));
}

/** @param {Options} options */
async function remove(options) {
  const { label } = options;
  const ring = ringOf(options);
  const { manifest } = ring;
  const left = await changeRing(manifest, (entries) => {
    const others = entries.filter((entry) => entry.label !== label);
    if (others.length < entries.length) return others;
    throw new Failure(`The label "${label}" is not in the ring`);
  });
  await print([
    `removed=${label}`,
    `manifest=${manifest}`,
    left.length > 0
      ? `The key keeps working until you run: ${uploadCommand(ring)}`
      : `The key keeps working: upload rejects a ring that is empty, as it is now. ${emptyRingAdvice(ring)}`,
  ]);
}

/** @param {Options} options */
async function verify(options) {
  const { manifest } = ringOf(options);
  const key = await readKey();
  const sha256 = digest(key);
  // Looked up before its format is checked: the ring may hold hashes of keys in other formats.
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
async function upload(options) {
  const { env } = options;
  const ring = ringOf(options);
  const { manifest } = ring;
  const entries = readRing(manifest);
  if (entries.length === 0) {
    throw new Failure(
      `The ring ${manifest} is empty, and upload rejects an empty ring. ${emptyRingAdvice(ring)}`,
    );
  }
  const secret = ringLines(entries).join("\n");
  const bytes = Buffer.byteLength(secret);
  const count = entries.length === 1 ? "1 entry" : `${entries.length} entries`;
  const where = env ? ` of the environment ${env}` : "";
  await print([
    `Uploading ${count} (${bytes} bytes) to ${ring.secret}${where}.`,
    `This REPLACES the whole ring: a key whose hash is not in ${manifest} stops working.`,
  ]);
  if (bytes > SECRET_BYTES) {
    note(`The ring is larger than the ${SECRET_BYTES} bytes that Cloudflare allows for a secret.`);
  }

  const words = ["secret", "put", ring.secret, ...(env ? ["--env", env] : [])];
  const { fault } = await wrangler(words, { input: secret });
  if (fault !== null) {
    throw new Failure(`wrangler ${fault}: assume that the ring was not uploaded`);
  }
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
 * The command that uploads this ring. Without the path and the flag it would upload another one.
 *
 * @param {Ring} ring
 */
function uploadCommand({ flag, manifest }) {
  const command = `${THIS_SCRIPT} upload${flag}`;
  if (manifest === CALLERS.manifest || manifest === OPERATORS.manifest) return command;
  const quoted = /^[\w@%+=:,./-]+$/.test(manifest)
    ? manifest
    : `'${manifest.replaceAll("'", "'\\''")}'`;
  return `${command} --manifest ${quoted}`;
}

/** @param {Ring} ring */
function emptyRingAdvice({ secret }) {
  return `To shut out every key of the ring, run: npx wrangler secret delete ${secret}`;
}

// ---- The command line -------------------------------------------------------------------------------

const program = createProgram(THIS_SCRIPT)
  .description("Creates gateway keys and uploads their hashes as a Worker secret.")
  .addOption(option("--operators", "use the operators' ring instead of the callers'"))
  .addOption(
    option(
      "--manifest PATH",
      `file that holds the ring (default ${relative(FOLDER, CALLERS.manifest)})`,
      {
        read: (text) => resolve(text),
      },
    ),
  )
  .addHelpText(
    "after",
    `
The manifest holds hashes only. A change reaches the gateway with the next upload, which replaces
the whole ring: a key whose hash is not in the manifest stops working.

Callers' keys are uploaded as ${CALLERS.secret}. With --operators the ring is that of operators,
uploaded as ${OPERATORS.secret} and kept in ${relative(FOLDER, OPERATORS.manifest)}.

Environment:
  GATEWAY_WRANGLER  path of the program that upload runs instead of wrangler`,
  );

const label = option("--label LABEL", "name of the entry: 1 to 64 letters, digits and . _ : -", {
  required: true,
  read: readLabel,
});

program
  .command("generate")
  .description("create a key, add its hash to the ring and print the key once")
  .addOption(label)
  .action(action(generate));
program
  .command("add-hash")
  .description("add the hash of a key that was created elsewhere")
  .addOption(label)
  .addOption(
    option("--sha256 HASH", "SHA-256 of the key, 64 hex digits", {
      required: true,
      read: readDigest,
    }),
  )
  .action(action(addHash));
program
  .command("list")
  .description("print label:sha256 of every entry")
  .addOption(option("--json", "print the entries as JSON, with created_at"))
  .action(action(list));
program
  .command("print-secret")
  .description("print the value of the Worker secret")
  .action(action(printSecret));
program.command("remove").description("remove an entry").addOption(label).action(action(remove));
program
  .command("verify")
  .description("check whether the key on standard input is in the ring")
  .action(action(verify));
program
  .command("upload")
  .description("replace the Worker secret by the whole ring")
  .addOption(option("--env NAME", "wrangler environment to upload to", { read: readEnvironment }))
  .action(action(upload));

await runProgram(program, (argv) =>
  refuseKeys(argv, `To check a key, pass it to "${THIS_SCRIPT} verify" on standard input`),
);
