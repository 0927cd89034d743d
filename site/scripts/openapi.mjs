// @ts-check
//! openapi.json as the generators read it: its operations, references resolved, and the type of a schema as text.

import { readFileSync } from "node:fs";

export const document = JSON.parse(
  readFileSync(new URL("../../openapi.json", import.meta.url), "utf8"),
);
const METHODS = ["get", "put", "post", "delete", "patch"];

/**
 * The value, or the target of its `$ref`.
 *
 * @param {any} value
 * @returns {any}
 */
export function resolve(value) {
  if (typeof value?.$ref !== "string") return value;
  const path = value.$ref.slice(2).split("/");
  return resolve(
    path.reduce((/** @type {any} */ at, /** @type {string} */ name) => at?.[name], document),
  );
}

/**
 * @typedef {object} Operation
 * @property {"operations" | "webhooks"} kind
 * @property {string} path
 * @property {string} method
 * @property {any} operation
 * @property {any} item of the path
 */

/** Each operation, in the document's order. @returns {Generator<Operation>} */
export function* operations() {
  for (const [kind, items] of /** @type {const} */ ([
    ["operations", document.paths],
    ["webhooks", document.webhooks ?? {}],
  ])) {
    for (const [path, item] of Object.entries(items)) {
      for (const method of METHODS) {
        const operation = item[method];
        if (operation) yield { kind, path, method, operation, item };
      }
    }
  }
}

/** The page of an operation. @param {Operation} one */
export const slugOf = ({ kind, operation }) => `api/${kind}/${operation.operationId.toLowerCase()}`;

/** The page of a tag. @param {string} tag */
export const slugOfTag = (tag) =>
  `api/operations/tags/${tag.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`;

/** The parameters of an operation and of its path. @param {Operation} one @returns {any[]} */
export const parametersOf = ({ item, operation }) =>
  [...(item.parameters ?? []), ...(operation.parameters ?? [])].map(resolve);

/** The names of the security schemes, any of which is sufficient. @param {any} operation @returns {string[]} */
export const securityOf = (operation) =>
  (operation.security ?? document.security ?? []).flatMap((/** @type {any} */ one) =>
    Object.keys(one),
  );

/** The first example of a parameter or a header. @param {any} one */
export const exampleOf = (one) =>
  one.example ??
  Object.values(one.examples ?? {}).map((/** @type {any} */ example) => resolve(example).value)[0];

/**
 * The examples of a body or a response.
 *
 * @param {any} media
 * @returns {{ summary: string, value: any }[]}
 */
export const examplesOf = (media) =>
  Object.entries(media?.examples ?? {}).map(([name, reference]) => {
    const { summary = name, value } = resolve(reference);
    return { summary: oneLine(summary), value };
  });

/**
 * The body of an operation that has examples: JSON or a form, whichever comes first, with the names of the form's files.
 *
 * @param {any} operation
 * @returns {{ media: any, isForm: boolean, files: string[] } | undefined}
 */
export function bodyOf(operation) {
  for (const [type, media] of Object.entries(resolve(operation.requestBody)?.content ?? {})) {
    const isForm = type === "multipart/form-data";
    if (!isForm && type !== "application/json") continue;
    const properties = isForm ? (resolve(media.schema)?.properties ?? {}) : {};
    const files = Object.entries(properties).filter(([, field]) => field.format === "binary");
    return { media, isForm, files: files.map(([name]) => name) };
  }
  return undefined;
}

/** The value of an example as text. @param {any} value */
export const textOf = (value) =>
  (typeof value === "string" ? value : JSON.stringify(value, null, 2)).trimEnd();

/** @param {string} text */
export const oneLine = (text) => text.replace(/\s+/g, " ").trim();

/**
 * The type of a schema. Values have backquotes.
 *
 * @param {any} schema
 * @returns {string}
 */
export function typeOf(schema) {
  const it = resolve(schema) ?? {};
  const alternatives = it.oneOf ?? it.anyOf;
  if (alternatives) return [...new Set(alternatives.map(typeOf))].join(" or ");
  if (it.const !== undefined) return `\`${JSON.stringify(it.const)}\``;
  if (it.enum)
    return it.enum.map((/** @type {any} */ value) => `\`${JSON.stringify(value)}\``).join(", ");
  const type = [it.type ?? "any"].flat();
  return type
    .map((name) => (name === "array" ? `array of ${typeOf(it.items)}` : name))
    .join(" or ");
}
