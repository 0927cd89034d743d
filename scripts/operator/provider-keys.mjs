// @ts-check
// The commands about keys of providers that are in the gateway's database: add, list, set, test, disable, delete, encrypt.
//
// A key is read from standard input, never from an argument, and never printed.

import { call, expectFields, segment } from "../lib/gateway-client.mjs";
import { readKey } from "../lib/key-input.mjs";
import { table } from "../lib/table.mjs";
import { Failure, UsageError } from "../lib/terminal.mjs";
import { confirm } from "./confirm.mjs";
import { gatewayOf } from "./connection.mjs";
import { EVERYWHERE, moment, report } from "./report.mjs";

/** @import { Gateway } from "../lib/gateway-client.mjs" */
/** @import { Column } from "../lib/table.mjs" */
/** @import { Options } from "../gateway-operator.mjs" */

/**
 * A key of a provider.
 *
 * @typedef {object} ProviderKey
 * @property {string} id
 * @property {string | null} key_id
 * @property {string | null} label
 * @property {string} mask
 * @property {number} weight
 * @property {boolean} enabled
 * @property {string | null} problem
 * @property {string | null} changed_at
 * @property {{ until: string, reason: string } | null} cooldown
 */

/** @typedef {{ key: string, ok: boolean, model: string, status: number, class: string | null, message: string | null, cost_usd: string | null, latency_ms: number }} Trial */

/**
 * The id by which commands name a key: that of a stored key, the index of one in a Worker secret.
 *
 * @param {ProviderKey} key
 */
const idOf = ({ id, key_id: stored }) => stored ?? String(id.split(":").at(-1));

/** @param {ProviderKey} key */
function stateOf({ enabled, problem, cooldown }) {
  if (problem) return problem;
  if (!enabled) return "disabled";
  return cooldown ? `${cooldown.reason} until ${moment(cooldown.until)}` : "active";
}

/** @type {Column<{ provider: string, key: ProviderKey }>[]} */
const KEYS = [
  { title: "PROVIDER", cell: ({ provider }) => provider },
  { title: "ID", cell: ({ key }) => idOf(key) },
  { title: "LABEL", most: 32, cell: ({ key }) => key.label ?? "Worker secret" },
  { title: "KEY", cell: ({ key }) => key.mask },
  { title: "WEIGHT", cell: ({ key }) => String(key.weight) },
  { title: "STATE", most: 60, cell: ({ key }) => stateOf(key) },
  { title: "CHANGED", cell: ({ key }) => (key.changed_at ? moment(key.changed_at) : "-") },
];

/** @type {Column<Trial & { provider: string }>[]} */
const TRIALS = [
  { title: "PROVIDER", cell: ({ provider }) => provider },
  { title: "KEY", cell: ({ key }) => key },
  { title: "RESULT", cell: (one) => (one.ok ? "ok" : `${one.class} (${one.status})`) },
  { title: "MODEL", cell: ({ model }) => model },
  { title: "US DOLLARS", cell: (one) => one.cost_usd ?? "unknown" },
  { title: "MS", cell: (one) => String(one.latency_ms) },
  { title: "MESSAGE", most: 90, cell: ({ message }) => message ?? "-" },
];

/**
 * The providers with their keys; of one name, if it is given.
 *
 * @param {Gateway} gateway
 * @param {string} [name]
 * @returns {Promise<{ name: string, active: boolean, keys: ProviderKey[] }[]>}
 */
async function providersOf(gateway, name) {
  const data = await call(gateway, "GET", "/v0/providers");
  expectFields({ data }, { data: "array" });
  const found = data.filter((/** @type {any} */ one) => name === undefined || one.name === name);
  if (name !== undefined && found.length === 0) throw new Failure(`There is no provider ${name}`);
  for (const one of found) expectFields(one, { name: "string", keys: "array" });
  return found;
}

/**
 * @param {string} provider
 * @param {string} [id]
 */
const path = (provider, id) =>
  `/v0/providers/${segment(provider)}/keys${id === undefined ? "" : `/${segment(id)}`}`;

/** @param {Options} options */
export async function addProviderKey(options) {
  const { provider, label, weight, keyStdin } = options;
  if (keyStdin) {
    throw new UsageError(
      "The key of the provider is on standard input: give the operator key by GATEWAY_ADMIN_KEY",
    );
  }
  const gateway = await gatewayOf(options);
  const key = await readKey();
  const body = { key, ...(label ? { label } : {}), ...(weight ? { weight } : {}) };
  const data = await call(gateway, "POST", path(provider), body);
  await report(options, data, () => {
    expectFields(data, { key_id: "string", label: "string", mask: "string" });
    return [
      `Added the key ${data.key_id} (${data.label}, ${data.mask}) of ${provider}: in use ${EVERYWHERE}.`,
      `Test it: providers keys test ${provider} ${data.key_id}`,
    ];
  });
}

/** @param {Options} options */
export async function listProviderKeys(options) {
  const providers = await providersOf(await gatewayOf(options), options.provider);
  const keys = providers.flatMap(({ name, keys }) => keys.map((key) => ({ provider: name, key })));
  const data = keys.map(({ provider, key }) => ({ provider, ...key }));
  await report(options, data, () => (keys.length > 0 ? table(KEYS, keys) : ["No keys."]));
}

/** @param {Options} options */
export async function setProviderKey(options) {
  const { label, weight } = options;
  if (label === undefined && weight === undefined) {
    throw new UsageError("Give --label or --weight");
  }
  await change(options, { ...(label ? { label } : {}), ...(weight ? { weight } : {}) }, "Changed");
}

/** @param {Options} options */
export const disableProviderKey = (options) => change(options, { enabled: false }, "Disabled");

/** @param {Options} options */
export const enableProviderKey = (options) => change(options, { enabled: true }, "Enabled");

/**
 * @param {Options} options
 * @param {object} body
 * @param {string} done
 */
async function change(options, body, done) {
  const { provider, id } = options;
  const data = await call(await gatewayOf(options), "PATCH", path(provider, id), body);
  await report(options, data, () => {
    expectFields(data, { label: "string", weight: "number" });
    return [
      `${done} the key ${id} of ${provider} (${data.label}, weight ${data.weight}): ${EVERYWHERE}.`,
    ];
  });
}

/** @param {Options} options */
export async function deleteProviderKey(options) {
  const { provider, id } = options;
  const gateway = await gatewayOf(options);
  await confirm(options, `Delete the key ${id} of ${provider}? It cannot be restored.`);
  const data = await call(gateway, "DELETE", path(provider, id));
  await report(options, data, () => [
    `Deleted the key ${id} of ${provider}: no call uses it ${EVERYWHERE}.`,
  ]);
}

/**
 * @param {Gateway} gateway
 * @param {string} provider
 * @param {string} id
 * @param {any} model undefined is the cheapest one
 * @returns {Promise<Trial & { provider: string }>}
 */
async function trial(gateway, provider, id, model) {
  const data = await call(gateway, "POST", `${path(provider, id)}/test`, model ? { model } : {});
  expectFields(data, { provider: "string", ok: "boolean", model: "string", status: "number" });
  return data;
}

/** @param {Options} options */
export async function testProviderKey(options) {
  const { provider, id, model } = options;
  const data = await trial(await gatewayOf(options), provider, id, model);
  await report(options, data, () => table(TRIALS, [data]));
  if (!data.ok) process.exitCode = 1;
}

/** @param {Options} options */
export async function testProviders(options) {
  const gateway = await gatewayOf(options);
  const all = await providersOf(gateway, options.provider);
  const providers = all.filter(({ active, keys }) => active || keys.length > 0);
  const keys = providers.flatMap(({ name, keys }) =>
    keys.filter(({ problem }) => !problem).map((key) => ({ name, id: idOf(key) })),
  );
  if (keys.length === 0) throw new Failure("There is no key to test");
  await confirm(options, `Send one small request with each of ${keys.length} keys?`);
  /** @type {(Trial & { provider: string })[]} */
  const trials = [];
  // One after the other, so that no limit of a provider is reached.
  for (const { name, id } of keys) trials.push(await trial(gateway, name, id, options.model));
  await report(options, trials, () => table(TRIALS, trials));
  if (trials.some(({ ok }) => !ok)) process.exitCode = 1;
}

/** @param {Options} options */
export async function encryptProviderKeys(options) {
  const data = await call(await gatewayOf(options), "POST", "/v0/provider_keys/encrypt");
  await report(options, data, () => {
    expectFields(data, { encrypted: "number", current: "number", unreadable: "array" });
    const { encrypted, current, unreadable } = data;
    return [
      `Encrypted ${encrypted} keys again; ${current} are encrypted with the current master key.`,
      ...unreadable.map((/** @type {string} */ id) => `The key ${id} cannot be read.`),
    ];
  });
}
