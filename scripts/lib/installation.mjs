// @ts-check
// Where the scripts are: in a clone of the repository, or in the npm package that `scripts/release` makes. The two have the
// same folders, and differ in the names of the commands and in the place of an operator's files.

import { existsSync, readFileSync } from "node:fs";
import { join, resolve, sep } from "node:path";

/** The folder of the repository or of the package. */
export const ROOT = resolve(import.meta.dirname, "../..");

const MANIFEST = join(ROOT, "package.json");

/** @returns {{ version: string, bin?: object }} */
const manifest = () => JSON.parse(readFileSync(MANIFEST, "utf8"));

/** True in the package. The repository's manifest names no command. */
export const IS_PACKAGE = existsSync(MANIFEST) && manifest().bin !== undefined;

/** The folder of a deployment: what belongs to it stays when the package is replaced by another version. */
export const FOLDER = IS_PACKAGE ? process.cwd() : ROOT;

/** The state of a gateway on this machine, and in the package all files of a deployment. git ignores it. */
export const STATE = join(FOLDER, ".gatehouse");

/** The folder from which wrangler deploys: of the package a copy, which wrangler can write to. */
export const DEPLOYED = IS_PACKAGE ? join(STATE, "worker") : ROOT;

/** @returns {string} The command as it was called, so that it can be pasted. */
function command() {
  const tarball = `./gatehouse-${version()}.tgz`;
  const program = String(process.argv[1]);
  if (program.startsWith(join(FOLDER, "node_modules"))) return "npx gatehouse";
  if (program.includes(`${sep}_npx${sep}`) && existsSync(tarball)) return `npx ${tarball}`;
  return "gatehouse";
}

export const COMMAND = IS_PACKAGE ? command() : "node scripts/gatehouse.mjs";
export const KEYS_COMMAND = IS_PACKAGE ? `${COMMAND} keys` : "node scripts/gateway-key-ring.mjs";
export const OPERATOR_COMMAND = IS_PACKAGE
  ? `${COMMAND} operator`
  : "node scripts/gateway-operator.mjs";

/** @returns {string} The version of the repository or of the package. */
export function version() {
  return manifest().version;
}
