// @ts-check
// The two key rings of a gateway: the Worker secret of each, and the file that keeps it.

import { join } from "node:path";
import { FOLDER, IS_PACKAGE } from "./installation.mjs";

/** @typedef {{ secret: string, manifest: string, flag: string }} Ring - `flag` is what chooses it. */

const folder = join(FOLDER, IS_PACKAGE ? ".gatehouse" : "ops");

/** @type {Ring} */
export const CALLERS = {
  secret: "GATEWAY_API_KEY_HASHES",
  manifest: join(folder, "gateway-key-hashes.local.json"),
  flag: "",
};
/** @type {Ring} */
export const OPERATORS = {
  secret: "GATEWAY_ADMIN_KEY_HASHES",
  manifest: join(folder, "operator-key-hashes.local.json"),
  flag: " --operators",
};
