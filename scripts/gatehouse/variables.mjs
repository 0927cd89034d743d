// @ts-check
// The variables of a gateway: the keys of providers and what belongs to them, from the environment and from .dev.vars.
//
// From the environment it takes only what is meant for a provider. GITHUB_TOKEN usually is for other programs, and
// OPENAI_BASE_URL or a key that begins with gw_ is for a client of this gateway: .dev.vars can have them.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { KEY_PREFIX } from "../lib/gateway-key.mjs";
import { FOLDER, ROOT } from "../lib/installation.mjs";
import { explain, Failure } from "../lib/terminal.mjs";

/** @typedef {{ base_url: string, key_variables: string[] }} Provider */

/** The table of core/src/catalog/providers.rs, as a test writes it for the documentation. */
const providers = () =>
  /** @type {Provider[]} */ (
    JSON.parse(readFileSync(join(ROOT, "site/data/providers.json"), "utf8"))
  );

/**
 * The keys of providers in an environment, with the variables that are part of these providers' URLs.
 *
 * @param {NodeJS.ProcessEnv} environment
 * @returns {Record<string, string>}
 */
export function providerVariables(environment) {
  /** @type {Record<string, string>} */
  const found = {};
  for (const { base_url: url, key_variables: keys } of providers()) {
    const ours = keys.filter((key) => key.endsWith("_API_KEY") && isProviderKey(environment[key]));
    if (ours.length === 0) continue;
    const parts = [...url.matchAll(/\{(\w+)\}/g)].map((match) => String(match[1]));
    for (const variable of [...ours, ...parts]) {
      const value = environment[variable];
      if (value) found[variable] = value;
    }
  }
  return found;
}

/** @param {string | undefined} value */
const isProviderKey = (value) => Boolean(value) && !value?.startsWith(KEY_PREFIX);

/**
 * The variables of the environment, over those of .dev.vars if there is one.
 *
 * @returns {Record<string, string>}
 */
export function localVariables() {
  const config = process.env.GATEWAY_CONFIG;
  return {
    ...devVars(),
    ...providerVariables(process.env),
    ...(config ? { GATEWAY_CONFIG: config } : {}),
  };
}

/** @returns {Record<string, string>} */
function devVars() {
  const path = join(FOLDER, ".dev.vars");
  if (!existsSync(path)) return {};
  try {
    const all = Object.entries(parseEnv(readFileSync(path, "utf8")));
    return Object.fromEntries(all.flatMap(([name, value]) => (value ? [[name, value]] : [])));
  } catch (error) {
    throw new Failure(`Cannot read ${path}: ${explain(error)}`);
  }
}

/**
 * The names of the variables that are keys of providers, or that activate one without a key.
 *
 * @param {Record<string, string>} variables
 */
export function activating(variables) {
  const names = new Set(providers().flatMap(({ key_variables }) => key_variables));
  return Object.keys(variables).filter(
    (name) => names.has(name) || name === "WORKERS_AI_ENABLED" || name === "OLLAMA_BASE_URL",
  );
}
