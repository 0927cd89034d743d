// @ts-check
// The folder .gatehouse of a gateway on this machine: its keys, which are created once, and its database.

import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import { mint, RANDOM_BYTES } from "../lib/gateway-key.mjs";
import { ROOT, STATE } from "../lib/installation.mjs";
import { explain, Failure } from "../lib/terminal.mjs";

/** The folder of the database and the objects. */
export const DATA = join(STATE, "data");

const gatewayKey = () => mint(randomBytes(RANDOM_BYTES)).key;

/** Creates the folder, which no other user can read and git ignores. */
export function makeState() {
  try {
    fs.mkdirSync(STATE, { recursive: true, mode: 0o700 });
    fs.writeFileSync(join(STATE, ".gitignore"), "*\n");
  } catch (error) {
    throw new Failure(`Cannot write to ${STATE}: ${explain(error)}`);
  }
}

/**
 * The keys of this folder. They are the same every time, so that commands that were pasted yesterday still work.
 *
 * @returns {{ caller: string, operator: string, master: string }}
 */
export function localKeys() {
  return {
    caller: secretIn("caller-key", gatewayKey),
    operator: secretIn("operator-key", gatewayKey),
    // Encrypts the providers' keys that the console stores.
    master: secretIn("master-key", () => randomBytes(32).toString("base64")),
  };
}

/**
 * @param {string} name
 * @param {() => string} make
 */
function secretIn(name, make) {
  const path = join(STATE, name);
  try {
    if (!fs.existsSync(path)) fs.writeFileSync(path, `${make()}\n`, { mode: 0o600, flag: "wx" });
    const secret = fs.readFileSync(path, "utf8").trim();
    if (secret !== "") return secret;
  } catch (error) {
    throw new Failure(`Cannot keep a key in ${path}: ${explain(error)}`);
  }
  throw new Failure(`${path} is empty: remove it, and a new key is created`);
}

/**
 * Applies the migrations that the local database does not have, and notes them as wrangler does.
 *
 * @param {any} database - The D1 database, as the Worker has it.
 * @param {(sql: string) => string[]} split - Separates the statements of a file.
 */
export async function migrate(database, split) {
  await database
    .prepare(
      "CREATE TABLE IF NOT EXISTS d1_migrations(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)",
    )
    .run();
  const { results } = await database.prepare("SELECT name FROM d1_migrations").all();
  const applied = new Set(results.map((/** @type {{ name: string }} */ { name }) => name));
  const folder = join(ROOT, "migrations");
  const names = fs.readdirSync(folder).filter((name) => name.endsWith(".sql"));
  for (const name of names.toSorted()) {
    if (applied.delete(name)) continue;
    const statements = split(fs.readFileSync(join(folder, name), "utf8"));
    await database.batch([
      ...statements.map((statement) => database.prepare(statement)),
      database.prepare("INSERT INTO d1_migrations (name) VALUES (?)").bind(name),
    ]);
  }
  const [stranger] = applied;
  if (stranger !== undefined) {
    throw new Failure(
      `The database in ${DATA} has ${stranger}, which this version of the gateway does not have: use a newer version, or remove that folder to begin with an empty database`,
    );
  }
}
