// @ts-check
//! The API reference as Markdown, from openapi.json: one page for each operation, in addition to the HTML page that
//! starlight-openapi generates.

import { readFileSync } from "node:fs";

const document = JSON.parse(readFileSync(new URL("../../openapi.json", import.meta.url), "utf8"));
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

/** Each operation, in the document's order. */
export function* operations() {
  for (const [kind, items] of [
    ["operations", document.paths],
    ["webhooks", document.webhooks ?? {}],
  ]) {
    for (const [path, item] of Object.entries(items)) {
      for (const method of METHODS) {
        const operation = item[method];
        if (operation) yield { kind, path, method, operation, item };
      }
    }
  }
}

/**
 * @param {any} schema
 * @returns {string}
 */
function typeOf(schema) {
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

/**
 * The fields of a schema, nested; a schema that contains itself is listed once.
 *
 * @param {any} schema
 * @param {string} indent
 * @param {any[]} above
 * @returns {string}
 */
function members(schema, indent = "", above = []) {
  const it = resolve(schema);
  if (it === undefined || above.includes(it) || above.length > 6) return "";
  const inside = [...above, it];
  let text = "";
  for (const part of it.allOf ?? []) text += members(part, indent, inside);
  for (const part of it.oneOf ?? it.anyOf ?? []) text += members(part, indent, inside);
  for (const [name, member] of Object.entries(it.properties ?? {})) {
    const known = resolve(member);
    const required = it.required?.includes(name) ? ", required" : "";
    const about = member.description ?? known.description ?? "";
    text += `${indent}- \`${name}\` (${typeOf(member)}${required})${about ? `: ${oneLine(about)}` : ""}\n`;
    text += members(
      known.type === "array" || known.items ? known.items : known,
      `${indent}  `,
      inside,
    );
  }
  return text;
}

/** @param {string} text */
const oneLine = (text) => text.replace(/\s+/g, " ").trim();

/**
 * @param {any} content
 * @param {number} most of its examples
 */
function contents(content, most) {
  let text = "";
  for (const [type, media] of Object.entries(content ?? {})) {
    text += `\`${type}\`\n\n`;
    const listed = members(media.schema);
    if (listed) text += `${listed}\n`;
    for (const [name, reference] of Object.entries(media.examples ?? {}).slice(0, most)) {
      const example = resolve(reference);
      const value = example.value;
      const body = typeof value === "string" ? value : JSON.stringify(value, null, 2);
      text += `Example: ${oneLine(example.summary ?? name)}\n\n\`\`\`\n${body.trimEnd()}\n\`\`\`\n\n`;
    }
  }
  return text;
}

export function apiPages() {
  /** @type {Record<string, string>} */
  const pages = {};
  /** @type {string[]} */
  const links = [];
  let overview = `# API reference\n\n> ${oneLine(document.info.title)} ${document.info.version}\n\n${document.info.description}\n\n`;
  /** @type {Map<string, string>} */
  const tags = new Map();
  for (const { kind, path, method, operation, item } of operations()) {
    const slug = `api/${kind}/${operation.operationId.toLowerCase()}`;
    const head = kind === "webhooks" ? `webhook ${path}` : `${method.toUpperCase()} ${path}`;
    let text = `# ${operation.summary}\n\n\`${head}\`\n\n`;
    if (operation.description) text += `${operation.description}\n\n`;
    const security = (operation.security ?? document.security ?? []).flatMap(
      (/** @type {any} */ one) => Object.keys(one),
    );
    text += `Authorization: ${security.length > 0 ? security.join(" or ") : "none"}\n\n`;
    const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map(resolve);
    if (parameters.length > 0) {
      text += "## Parameters\n\n";
      for (const one of parameters) {
        text += `- \`${one.name}\` (${one.in}, ${typeOf(one.schema)}${one.required ? ", required" : ""}): ${oneLine(one.description ?? "")}\n`;
      }
      text += "\n";
    }
    const body = resolve(operation.requestBody);
    if (body) {
      text += `## Request body\n\n${body.description ? `${body.description}\n\n` : ""}${contents(body.content, 9)}`;
    }
    text += "## Responses\n\n";
    for (const [status, reference] of Object.entries(operation.responses)) {
      const response = resolve(reference);
      text += `### ${status}\n\n${response.description}\n\n${contents(response.content, status < "300" ? 9 : 1)}`;
    }
    pages[slug] = `${text.trimEnd()}\n`;
    const link = `- [${head}](/docs/${slug}.md): ${operation.summary}`;
    links.push(link);
    for (const tag of operation.tags ?? []) {
      const about =
        document.tags?.find((/** @type {any} */ one) => one.name === tag)?.description ?? "";
      tags.set(tag, `${tags.get(tag) ?? `# ${tag}\n\n${about}\n\n`}${link}\n`);
    }
  }
  for (const [tag, text] of tags) {
    pages[`api/operations/tags/${tag.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`] = text;
  }
  pages["api"] = `${overview}${links.join("\n")}\n`;
  return { pages, links: links.join("\n") };
}
