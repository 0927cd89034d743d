// @ts-check
//! Checks responses against `openapi.json`. Every response that a test gets through the harness is checked.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";

/** @type {any} */
const spec = JSON.parse(readFileSync(new URL("../../openapi.json", import.meta.url), "utf8"));
const ajv = new Ajv2020({ strict: false, validateFormats: false }).addSchema(spec, "openapi.json");

/** Paths with a name that has slashes: those of models, aliases, groups and lanes. */
const WITH_SLASHES = /^(\/v1\/models|\/v0\/(?:models|aliases|groups|lanes))\/\{[^}]+\}(.*)$/;
/** Path templates as regular expressions. */
const templates = Object.keys(spec.paths).map((path) => ({
  path,
  pattern: new RegExp(
    `^${path.replace(WITH_SLASHES, "$1/.+$2").replace(/\{[^}]+\}/g, "[^/]+")}/?$`,
  ),
}));

/**
 * @param {any} node
 * @param {string} pointer of the node
 * @returns {{ node: any, pointer: string }} what a reference leads to, or the node itself
 */
function follow(node, pointer) {
  if (node?.$ref === undefined) return { node, pointer };
  const parts = node.$ref.slice(2).split("/");
  return follow(
    parts.reduce((/** @type {any} */ at, /** @type {string} */ part) => at[part], spec),
    node.$ref.slice(1),
  );
}

/** @param {string} part */
const escape = (part) => part.replaceAll("~", "~0").replaceAll("/", "~1");

/**
 * Fails unless openapi.json allows the response.
 *
 * @param {string} method
 * @param {string} url
 * @param {Response} response left unread
 */
export async function check(method, url, response) {
  const { pathname } = new URL(url);
  const verb = method === "HEAD" ? "get" : method.toLowerCase();
  const template = templates.find(({ pattern }) => pattern.test(pathname));
  const operation = template && spec.paths[template.path][verb];
  const where = `${method} ${pathname}: ${response.status}`;
  // Unknown paths and methods get responses too, but are not in the description.
  if (!operation) return;
  const statuses = Object.keys(operation.responses);
  const status = [`${response.status}`, `${Math.trunc(response.status / 100)}XX`, "default"].find(
    (name) => statuses.includes(name),
  );
  assert.ok(status, `${where} is not described`);
  const base = `/paths/${escape(/** @type {any} */ (template).path)}/${verb}/responses/${status}`;
  const described = follow(operation.responses[status], base);
  if (method === "HEAD" || described.node.content === undefined) return;
  const type = (response.headers.get("content-type") ?? "").split(";")[0] ?? "";
  assert.ok(described.node.content[type], `${where}: ${type} is not described`);
  if (type !== "application/json") return;
  const validate = ajv.compile({
    $ref: encodeURI(`openapi.json#${described.pointer}/content/${escape(type)}/schema`),
  });
  const body = await response.clone().json();
  assert.ok(
    validate(body),
    `${where}: ${ajv.errorsText(validate.errors)}\n${JSON.stringify(body)}`,
  );
}
