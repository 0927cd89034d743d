// @ts-check
// The commands about issued keys: create, list, show, disable, enable, rotate, revoke.

import { call, expectFields, segment } from "../lib/gateway-client.mjs";
import { details, table } from "../lib/table.mjs";
import { UsageError } from "../lib/terminal.mjs";
import { confirm } from "./confirm.mjs";
import { gatewayOf } from "./connection.mjs";
import { changedLimits, describeLimits } from "./limits.mjs";
import {
  deliveryLines,
  enumerate,
  EVERYWHERE,
  moment,
  optional,
  report,
  reportSecret,
  rotateAdvice,
} from "./report.mjs";

/** @import { Column } from "../lib/table.mjs" */
/** @import { Options } from "../gateway-operator.mjs" */

/**
 * An issued key.
 *
 * @typedef {object} ApiKey
 * @property {string} id
 * @property {string} name
 * @property {string} state
 * @property {string[]} policies
 * @property {string[] | null} models
 * @property {string[] | null} endpoints
 * @property {Record<string, number>} [limits]
 * @property {string} [role]
 * @property {Record<string, string> | null} metadata
 * @property {string} created_at
 * @property {string} created_by
 * @property {string | null} expires_at
 * @property {string | null} request_id
 * @property {string | null} [email]
 * @property {{ public_id: string, created_at: string, expires_at: string | null }[]} secrets
 */

/** @type {Column<ApiKey>[]} */
const KEY_COLUMNS = [
  { title: "NAME", cell: ({ name }) => name },
  { title: "STATE", cell: ({ state }) => state },
  { title: "POLICIES", most: 32, cell: ({ policies }) => enumerate(policies) },
  { title: "CREATED", cell: (key) => moment(key.created_at) },
  { title: "EXPIRES", cell: (key) => (key.expires_at ? moment(key.expires_at) : "never") },
  { title: "EMAIL", most: 48, cell: ({ email }) => email ?? "-" },
  {
    title: "PUBLIC ID",
    cell: ({ secrets }) => enumerate(secrets?.map((secret) => secret.public_id)),
  },
];

/** @param {Options} options */
export async function createKey(options) {
  const { name, policy, model, endpoint, metadata, claim = false } = options;
  const names = (metadata ?? []).map(([member]) => member);
  const twice = names.find((member, at) => names.indexOf(member) !== at);
  if (twice !== undefined) throw new UsageError(`--metadata ${twice}=... is given more than once`);
  const limits = changedLimits({}, options);
  const body = {
    name,
    ...(limits ? { limits } : {}),
    ...(options.role ? { role: options.role } : {}),
    ...(policy ? { policies: policy } : {}),
    ...(model ? { models: model } : {}),
    ...(endpoint ? { endpoints: endpoint } : {}),
    ...(metadata ? { metadata: Object.fromEntries(metadata) } : {}),
    ...(options.expiresAt ? { expires_at: options.expiresAt } : {}),
    ...(claim ? { delivery: "claim" } : {}),
  };
  const data = await call(await gatewayOf(options), "POST", "/v0/api_keys", body);
  await reportSecret(options, data, rotateAdvice(name), () => [
    `Created the key ${name}.`,
    ...deliveryLines(data, claim),
  ]);
}

/** @param {Options} options */
export async function listKeys(options) {
  const data = await call(await gatewayOf(options), "GET", "/v0/api_keys");
  await report(options, data, (/** @type {ApiKey[]} */ keys) => {
    expectFields({ keys }, { keys: "array" });
    return keys.length > 0 ? table(KEY_COLUMNS, keys) : ["No keys."];
  });
}

/** @param {Options} options */
export async function showKey(options) {
  const data = await call(await gatewayOf(options), "GET", keyPath(options.name));
  await report(options, data, () => {
    const key = data?.[0];
    expectFields(key, { id: "string", name: "string", state: "string", secrets: "array" });
    return describeKey(key);
  });
}

/** @param {ApiKey} key */
function describeKey(key) {
  const secrets = key.secrets.map(
    (secret) =>
      `${secret.public_id} since ${moment(secret.created_at)}` +
      (secret.expires_at ? `, until ${moment(secret.expires_at)}` : ""),
  );
  const metadata = Object.entries(key.metadata ?? {});
  return [
    ...details([
      ["name", key.name],
      ["id", key.id],
      ...optional("email", key.email),
      ["state", key.state],
      ["policies", enumerate(key.policies)],
      ["models", key.models ? enumerate(key.models) : "no limit of its own"],
      ["endpoints", key.endpoints ? enumerate(key.endpoints) : "no limit of its own"],
      ["limits", describeLimits(key.limits)],
      ["created", `${moment(key.created_at)} by ${key.created_by}`],
      ["expires", key.expires_at ? moment(key.expires_at) : "never"],
      ...optional("request", key.request_id),
      ["secrets", secrets.join("\n") || "none yet: the claim link has not been opened"],
    ]),
    ...(metadata.length > 0 ? ["", "Metadata:"] : []),
    ...details(metadata).map((line) => `  ${line}`),
  ];
}

/**
 * Changes what the options name; the rest stays.
 *
 * @param {Options} options
 */
export async function setKey(options) {
  const { name, policy, model, endpoint, metadata } = options;
  const gateway = await gatewayOf(options);
  const [key] = (await call(gateway, "GET", keyPath(name))) ?? [];
  expectFields(key, { name: "string" });
  const limits = changedLimits(key.limits ?? {}, options);
  const body = {
    ...(limits ? { limits } : {}),
    ...(policy ? { policies: policy } : {}),
    ...(model ? { models: model } : {}),
    ...(endpoint ? { endpoints: endpoint } : {}),
    ...(metadata ? { metadata: { ...key.metadata, ...Object.fromEntries(metadata) } } : {}),
    ...(options.expiresAt ? { expires_at: options.expiresAt } : {}),
  };
  if (Object.keys(body).length === 0) throw new UsageError("Name at least one thing to change");
  const data = await call(gateway, "PATCH", keyPath(name), body);
  await report(options, data, () => {
    expectFields(data, { id: "string", name: "string", state: "string", secrets: "array" });
    return [`Changed the key ${name}: it takes effect ${EVERYWHERE}.`, ...describeKey(data)];
  });
}

/** @param {Options} options */
export async function disableKey(options) {
  const path = keyPath(options.name);
  const data = await call(await gatewayOf(options), "PATCH", path, { disabled: true });
  await report(options, data, () => [
    `Disabled the key ${options.name}: it is rejected ${EVERYWHERE}, until "keys enable".`,
  ]);
}

/** @param {Options} options */
export async function enableKey(options) {
  const path = keyPath(options.name);
  const data = await call(await gatewayOf(options), "PATCH", path, { disabled: false });
  await report(options, data, () => [
    `Enabled the key ${options.name}: it is accepted ${EVERYWHERE}.`,
  ]);
}

/** @param {Options} options */
export async function rotateKey(options) {
  const { name, overlap, claim = false } = options;
  const body = {
    ...(overlap !== undefined ? { overlap_seconds: overlap } : {}),
    ...(claim ? { delivery: "claim" } : {}),
  };
  const data = await call(await gatewayOf(options), "POST", `${keyPath(name)}/rotate`, body);
  await reportSecret(options, data, rotateAdvice(name), () => {
    const until = data?.previous_expires_at ?? null;
    const old = claim
      ? "An old secret keeps working; its overlap begins when the link is opened."
      : until === null
        ? "The key had no secret before."
        : overlap === 0
          ? `The old secret is rejected ${EVERYWHERE}.`
          : `The old secret keeps working until ${moment(until)}.`;
    return [`Rotated the key ${name}.`, ...deliveryLines(data, claim), old];
  });
}

/** @param {Options} options */
export async function revokeKey(options) {
  const { name } = options;
  await confirm(options, `Revoke the key ${name}? This cannot be undone.`);
  const data = await call(await gatewayOf(options), "DELETE", keyPath(name));
  await report(options, data, () => [
    `Revoked the key ${name}: it is rejected ${EVERYWHERE}, and its name is free again.`,
  ]);
}

/** @param {string} name */
function keyPath(name) {
  return `/v0/api_keys/${segment(name)}`;
}
