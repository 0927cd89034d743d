// @ts-check
// `gatehouse deploy`: login, database, Worker, secrets and first keys, with wrangler's own commands.
//
// It keeps no list of the steps that are done: each step reads from Cloudflare what is missing and adds that. So the command
// can be repeated after an interruption, and it is also the upgrade. Variables and domains that were set in Cloudflare's
// dashboard stay.

import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  COMMAND,
  DEPLOYED,
  IS_PACKAGE,
  KEYS_COMMAND,
  OPERATOR_COMMAND,
  ROOT,
} from "../lib/installation.mjs";
import { readRing } from "../lib/key-ring-manifest.mjs";
import { CALLERS, OPERATORS } from "../lib/key-rings.mjs";
import { explain, Failure, note, print } from "../lib/terminal.mjs";
import { wrangler } from "../lib/wrangler.mjs";
import { makeState } from "./local-state.mjs";
import { providerVariables } from "./variables.mjs";

/** @import { Ring } from "../lib/key-rings.mjs" */

const BINDING = "GATEWAY_DB";
const MASTER_KEY = "GATEWAY_MASTER_KEY";

/** The commands of wrangler. None has a secret among its arguments. */
const COMMANDS = {
  account: ["whoami", "--json"],
  login: ["login"],
  databases: ["d1", "list", "--json"],
  migrate: ["d1", "migrations", "apply", BINDING, "--remote"],
  deploy: ["deploy", "--keep-vars"],
  secrets: ["secret", "list", "--format", "json"],
  upload: ["secret", "bulk"],
};

/** The files of the package that are deployed. */
const FILES = ["wrangler.toml", "build", "dist", "migrations"];

/** The rings with the label of the first key of each. */
const RINGS = [
  { ring: CALLERS, label: "first", whose: "callers" },
  { ring: OPERATORS, label: "ops", whose: "operators" },
];

/** @param {{ dryRun?: boolean }} options */
export async function deploy({ dryRun = false }) {
  if (dryRun) {
    await rehearse();
    return;
  }
  prepare();
  note("1/5 Login");
  await login();
  const isThere = await hasDatabase();
  note(`2/5 Database${isThere ? "" : ": the Worker's first deployment creates it"}`);
  // The old Worker works with the new tables, and not the other way round.
  if (isThere) await must(COMMANDS.migrate);
  note("3/5 Worker");
  const url = await deployWorker();
  if (!isThere) await must(COMMANDS.migrate);
  note("4/5 Secrets");
  const present = await secrets();
  await uploadSecrets(present);
  note("5/5 First keys");
  for (const { ring, label, whose } of RINGS) await firstKey(ring, label, whose, present);
  await print([
    "",
    `Gatehouse is deployed${url ? ` at ${url}` : ""}.`,
    ...(url ? [`Console: ${url}/console   Documentation: ${url}/docs`] : []),
    `To check it: GATEWAY_ADMIN_KEY=… ${OPERATOR_COMMAND} selftest --url ${url ?? "https://…"}`,
    `To upgrade it, or to upload changed keys of providers: run "${COMMAND} deploy" again.`,
  ]);
}

// ---- Steps --------------------------------------------------------------------------------------------

async function login() {
  if ((await keep(COMMANDS.account)).fault === null) return;
  if (!process.stdin.isTTY) {
    throw new Failure(
      "wrangler is not logged in, and there is no terminal to log in: set CLOUDFLARE_API_TOKEN to a token that may edit Workers and D1",
    );
  }
  await must(COMMANDS.login);
}

/** Copies the package to a folder that wrangler can write to. The repository is such a folder. */
function prepare() {
  if (!IS_PACKAGE) return;
  makeState();
  copyFiles(DEPLOYED);
}

/** @param {string} folder */
function copyFiles(folder) {
  try {
    rmSync(folder, { recursive: true, force: true });
    for (const name of FILES) cpSync(join(ROOT, name), join(folder, name), { recursive: true });
  } catch (error) {
    throw new Failure(`Cannot write to ${folder}: ${explain(error)}`);
  }
}

async function hasDatabase() {
  const toml = readFileSync(join(DEPLOYED, "wrangler.toml"), "utf8");
  const name = /^database_name = "(.*)"$/m.exec(toml)?.[1];
  const databases = await listing(COMMANDS.databases);
  return databases.some((database) => database.name === name);
}

/** @returns {Promise<string | undefined>} the address of the Worker */
async function deployWorker() {
  const folder = mkdtempSync(join(tmpdir(), "gatehouse-"));
  const path = join(folder, "output.ndjson");
  try {
    await must(COMMANDS.deploy, { WRANGLER_OUTPUT_FILE_PATH: path });
    return addressIn(path);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param {string} path - The file of wrangler's report, a line of JSON for each event. */
function addressIn(path) {
  try {
    const lines = readFileSync(path, "utf8").trim().split("\n");
    const { targets } = lines.map((line) => JSON.parse(line)).find(({ type }) => type === "deploy");
    const [target] = targets;
    return /^https:\/\/\S+$/.test(target) ? String(target).replace(/\/$/, "") : undefined;
  } catch {
    // The address is only shown; wrangler has shown it as well.
    return undefined;
  }
}

/** @returns {Promise<Set<string>>} the names of the secrets that the Worker has */
async function secrets() {
  return new Set((await listing(COMMANDS.secrets)).map(({ name }) => String(name)));
}

/** @param {Set<string>} present */
async function uploadSecrets(present) {
  const values = providerVariables(process.env);
  if (Object.keys(values).length === 0) {
    note(
      `No key of a provider is in the environment. Add one in the console, or set a variable such as OPENAI_API_KEY and run "${COMMAND} deploy" again.`,
    );
  }
  // Encrypts the keys that the console stores, so it must not be replaced.
  if (!present.has(MASTER_KEY)) values[MASTER_KEY] = randomBytes(32).toString("base64");
  const names = Object.keys(values);
  if (names.length === 0) return;
  note(`Uploading ${names.join(", ")}`);
  const { fault, output, problems } = await wrangler(COMMANDS.upload, {
    input: JSON.stringify(values),
    output: "keep",
  });
  if (fault !== null) {
    const words = withoutValues(`${output}${problems}`, Object.values(values));
    throw new Failure(`The secrets may not be uploaded, because wrangler ${fault}: ${words}`);
  }
}

/**
 * Creates the first key of a ring, unless the Worker has that ring. A ring that is there is not replaced: it may have keys
 * that this folder does not know.
 *
 * @param {Ring} ring
 * @param {string} label
 * @param {string} whose
 * @param {Set<string>} present
 */
async function firstKey(ring, label, whose, present) {
  if (present.has(ring.secret)) {
    note(
      `The Worker has the ring of ${whose}; "${KEYS_COMMAND} upload${ring.flag}" would replace it.`,
    );
    return;
  }
  const flag = ring.flag.trim().split(" ").filter(Boolean);
  if (readRing(ring.manifest).length === 0) {
    if (!process.stdout.isTTY) {
      note(
        `No key of ${whose} was created, because it would be shown in a log. At a terminal, run: ${KEYS_COMMAND} generate${ring.flag} --label ${label}, then ${COMMAND} deploy again.`,
      );
      return;
    }
    note(`The first key of ${whose}, which is shown only now:`);
    await keyRing(["generate", ...flag, "--label", label]);
  }
  await keyRing(["upload", ...flag]);
}

// ---- Dry run --------------------------------------------------------------------------------------------

/** Prints each step, and has wrangler check the Worker without a network. */
async function rehearse() {
  const names = Object.keys(providerVariables(process.env));
  const line = (/** @type {string[]} */ words) => `     wrangler ${words.join(" ")}`;
  await print([
    "1/5 Login, if there is none",
    line(COMMANDS.account),
    line(COMMANDS.login),
    "2/5 Database: the migrations that are missing. In the first deployment after step 3, which creates the database",
    line(COMMANDS.databases),
    line(COMMANDS.migrate),
    "3/5 Worker",
    line(COMMANDS.deploy),
    `4/5 Secrets: ${[...names, `${MASTER_KEY} unless there is one`].join(", ")}`,
    line(COMMANDS.secrets),
    `${line(COMMANDS.upload)}     the values are its standard input`,
    "5/5 First keys: of callers and of operators, unless the Worker has such a ring",
    ...RINGS.flatMap(({ ring, label }) => [
      `     ${KEYS_COMMAND} generate${ring.flag} --label ${label}`,
      `     ${KEYS_COMMAND} upload${ring.flag}`,
    ]),
    "",
  ]);
  const folder = mkdtempSync(join(tmpdir(), "gatehouse-"));
  try {
    if (IS_PACKAGE) copyFiles(folder);
    const words = [...COMMANDS.deploy, "--dry-run", "--outdir", join(folder, "out")];
    const cwd = IS_PACKAGE ? folder : DEPLOYED;
    const { fault, output, problems } = await wrangler(words, { output: "keep", cwd });
    if (fault !== null) {
      throw new Failure(
        `The Worker cannot be deployed, because wrangler ${fault}: ${output}${problems}`,
      );
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  await print(["wrangler accepts the Worker. Nothing was changed."]);
}

// ---- Pieces of the steps ----------------------------------------------------------------------------------

/**
 * Runs wrangler at the operator's terminal.
 *
 * @param {string[]} words
 * @param {Record<string, string>} [env]
 */
async function must(words, env = {}) {
  const { fault } = await wrangler(words, { env });
  if (fault !== null) {
    throw new Failure(
      `wrangler ${words.join(" ")} ${fault}. When that is fixed, run "${COMMAND} deploy" again: it continues here`,
    );
  }
}

/** @param {string[]} words */
const keep = (words) => wrangler(words, { output: "keep" });

/**
 * The JSON array that wrangler prints.
 *
 * @param {string[]} words
 * @returns {Promise<any[]>}
 */
async function listing(words) {
  const { fault, output, problems } = await keep(words);
  if (fault !== null) {
    throw new Failure(`wrangler ${words.join(" ")} ${fault}: ${output}${problems}`);
  }
  try {
    return JSON.parse(output);
  } catch {
    throw new Failure(`wrangler ${words.join(" ")} printed no JSON: ${output}`);
  }
}

/**
 * @param {string} text
 * @param {string[]} values
 */
function withoutValues(text, values) {
  return values.reduce((left, value) => left.replaceAll(value, "***"), text);
}

/**
 * Runs the script of key rings at the operator's terminal.
 *
 * @param {string[]} words
 * @returns {Promise<void>}
 */
function keyRing(words) {
  const script = join(ROOT, "scripts/gateway-key-ring.mjs");
  return new Promise((done, fail) => {
    const child = execFile(process.execPath, [script, ...words], (error) => {
      if (error === null) done();
      else
        fail(
          new Failure(
            `${KEYS_COMMAND} ${words[0]} failed. When that is fixed, run "${COMMAND} deploy" again`,
          ),
        );
    });
    child.stdout?.pipe(process.stdout);
    child.stderr?.pipe(process.stderr);
  });
}
