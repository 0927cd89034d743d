// @ts-check
//! The API reference as Markdown, from openapi.json: the Markdown twin of each page of `reference.mjs`.

import {
  document,
  oneLine,
  operations,
  parametersOf,
  resolve,
  securityOf,
  slugOf,
  slugOfTag,
  textOf,
  typeOf,
} from "./openapi.mjs";
import { samplesOf } from "./samples.mjs";

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
      text += `Example: ${oneLine(example.summary ?? name)}\n\n\`\`\`\n${textOf(example.value)}\n\`\`\`\n\n`;
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
  for (const one of operations()) {
    const { kind, path, method, operation } = one;
    const slug = slugOf(one);
    const head = kind === "webhooks" ? `webhook ${path}` : `${method.toUpperCase()} ${path}`;
    let text = `# ${operation.summary}\n\n\`${head}\`\n\n`;
    if (operation.description) text += `${operation.description}\n\n`;
    const security = securityOf(operation);
    text += `Authorization: ${security.length > 0 ? security.join(" or ") : "none"}\n\n`;
    const parameters = parametersOf(one);
    if (parameters.length > 0) {
      text += "## Parameters\n\n";
      for (const { name, in: place, schema, required, description } of parameters) {
        text += `- \`${name}\` (${place}, ${typeOf(schema)}${required ? ", required" : ""}): ${oneLine(description ?? "")}\n`;
      }
      text += "\n";
    }
    const body = resolve(operation.requestBody);
    if (body) {
      text += `## Request body\n\n${body.description ? `${body.description}\n\n` : ""}${contents(body.content, 9)}`;
    }
    if (kind === "operations") {
      text += "## Request samples\n\n";
      for (const { label, source } of samplesOf(one).flatMap((it) => it.samples)) {
        text += `${label}:\n\n\`\`\`\n${source}\n\`\`\`\n\n`;
      }
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
    pages[slugOfTag(tag)] = text;
  }
  pages["api"] = `${overview}${links.join("\n")}\n`;
  return { pages, links: links.join("\n") };
}
