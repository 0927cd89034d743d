// @ts-check
//! The API reference as pages of the site, from openapi.json: a page for each operation, webhook and tag, and an overview.
//!
//! Each page is Markdown with HTML, which Astro renders as it does the written pages. A page of an operation has two parts:
//! its description, and its samples and examples, which stand beside it if the window is wide. Response headers, errors and
//! nested fields are folded.

import { escaped, inline } from "./html.mjs";
import {
  bodyOf,
  document,
  exampleOf,
  examplesOf,
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
import { tabs } from "./tabs.mjs";

/** @typedef {import("./openapi.mjs").Operation} Operation */

/** Fields nested deeper than this are only in openapi.json. */
const MAX_DEPTH = 4;
/** More values of one type than this are folded. */
const MAX_VALUES = 8;
/** The languages of samples, for the highlighter. */
const HIGHLIGHTED = /** @type {Record<string, string>} */ ({
  Shell: "sh",
  Python: "python",
  JavaScript: "js",
});
/** The tags of operations that call a model: their pages can send a call. */
const INFERENCE = new Set(["Chat", "Messages", "Responses", "Embeddings", "Other endpoints"]);
/** @type {Record<string, "note" | "success" | "caution" | "danger">} */
const BADGES = { get: "note", post: "success", put: "caution", patch: "caution", delete: "danger" };

/** The groups of the sidebar. */
export function sidebar() {
  /** @type {Map<string, object[]>} */
  const groups = new Map();
  for (const one of operations()) {
    const { method, operation, kind } = one;
    const item = {
      slug: slugOf(one),
      ...(kind === "operations"
        ? { badge: { text: method.toUpperCase(), variant: BADGES[method] } }
        : {}),
    };
    for (const tag of operation.tags) groups.set(tag, [...(groups.get(tag) ?? []), item]);
  }
  return {
    label: "API reference",
    items: [
      { slug: "api", label: "All operations" },
      ...[...groups].map(([label, items]) => ({ label, collapsed: true, items })),
    ],
  };
}

/** The source of each page, by its slug. @returns {Record<string, string>} */
export function referencePages() {
  /** @type {Record<string, string>} */
  const pages = {};
  /** @type {Map<string, string>} */
  const tags = new Map();
  for (const one of operations()) {
    pages[slugOf(one)] = operationPage(one);
    const line = `<li>${endpoint(one)} <a href="/docs/${slugOf(one)}">${escaped(one.operation.summary)}</a></li>`;
    for (const tag of one.operation.tags) tags.set(tag, `${tags.get(tag) ?? ""}${line}\n`);
  }
  let overview = `${document.info.description}\n\nThe whole API is described in [openapi.json](/openapi.json) (OpenAPI 3.1).\n`;
  for (const [tag, lines] of tags) {
    const about = tagAbout(tag);
    const list = `<ul class="operations">\n${lines}</ul>`;
    pages[slugOfTag(tag)] =
      `${front({ title: tag, description: about || `Operations: ${tag}` })}${about}\n\n${list}\n`;
    overview += `\n## ${tag}\n\n${about}\n\n${list}\n`;
  }
  pages["api"] =
    `${front({ title: "API reference", description: `${document.info.summary} All operations.` })}${overview}`;
  return pages;
}

/** @param {string} name */
const tagAbout = (name) =>
  document.tags.find((/** @type {any} */ one) => one.name === name)?.description ?? "";

/**
 * The front matter of a generated page.
 *
 * @param {Record<string, unknown>} members
 */
const front = (members) =>
  `---\n${Object.entries(members)
    .map(([name, value]) => `${name}: ${JSON.stringify(value)}`)
    .join("\n")}\n---\n\n`;

/** @param {Operation} one */
function endpoint({ kind, method, path }) {
  const name = kind === "webhooks" ? "webhook" : method.toUpperCase();
  const shown = kind === "webhooks" ? "" : ` <code>${escaped(path)}</code>`;
  return `<span class="endpoint"><span class="method ${kind === "webhooks" ? "hook" : method}">${name}</span>${shown}</span>`;
}

/** @param {Operation} one */
function operationPage(one) {
  const { kind, operation } = one;
  const [first = "", ...others] = (operation.description ?? "").split(/\n{2,}/);
  const canBeSent =
    INFERENCE.has(operation.tags[0]) &&
    resolve(operation.requestBody)?.content["application/json"] !== undefined;
  const rest =
    others.length > 1
      ? details("More about this operation", `\n${others.join("\n\n")}\n`, "more")
      : others.join("\n\n");
  const about = [
    `<p>${endpoint(one)}</p>`,
    first,
    rest,
    `**Authorization:** ${authorization(operation)}`,
  ];
  const samples = kind === "operations" ? samplesSection(one) : "";
  return `${front({
    title: operation.summary,
    description: oneLine(`${one.method.toUpperCase()} ${one.path}. ${first}`)
      .replace(/[`*]|\[|\]\([^)]*\)/g, "")
      .slice(0, 200),
    sidebar: { label: operation.summary },
    tableOfContents: false,
    head: [
      { tag: "meta", attrs: { name: "content-width", content: "90rem" } },
      ...(canBeSent ? [{ tag: "script", attrs: { type: "module", src: "/docs/try.js" } }] : []),
    ],
  })}<div class="api">
<div class="api-about">

${about.filter((part) => part !== "").join("\n\n")}

</div>
<div class="api-samples">

${samples}${examplesSection(one)}${canBeSent ? tryIt(one) : ""}
</div>
<div class="api-parts">

${parametersSection(one)}${bodySection(operation)}${requestHeadersSection(one)}${responsesSection(operation)}${errorsSection(operation)}
</div>
</div>
`;
}

/**
 * @param {string} summary
 * @param {string} content
 * @param {string} [className]
 */
const details = (summary, content, className) =>
  `<details${className ? ` class="${className}"` : ""}><summary>${inline(summary)}</summary>\n${content}\n</details>`;

/** @param {any} operation */
function authorization(operation) {
  const names = securityOf(operation);
  /** @type {string[]} */
  const ways = [];
  if (names.includes("bearer"))
    ways.push("an inference key, as `Authorization: Bearer gw_…` or `x-api-key: gw_…`");
  if (names.includes("operatorBearer"))
    ways.push("an operator key, as `Authorization: Bearer gw_op_…`");
  if (names.includes("operatorRaw")) ways.push("or without `Bearer`");
  const isPublic = names.length === 0;
  const isOptional = (operation.security ?? []).some(
    (/** @type {object} */ it) => Object.keys(it).length === 0,
  );
  if (isPublic) return "none.";
  return `${isOptional ? "none, or " : ""}${ways.join(", ")}. See [authentication](/docs/authentication).`;
}

/** @param {Operation} one */
function samplesSection(one) {
  const groups = samplesOf(one).map(({ summary, samples }) => {
    const group = tabs(
      "language",
      samples.map(({ lang, label, source }) => ({
        name: label,
        content: fenced(HIGHLIGHTED[lang] ?? "text", source),
      })),
    );
    return `${summary ? `<p class="api-caption">${escaped(summary)}</p>\n\n` : ""}${group}`;
  });
  return `## Request samples\n\n${groups.join("\n\n")}\n\n`;
}

/** The bodies that have no sample, and the examples of responses. @param {Operation} one */
function examplesSection(one) {
  const { kind, operation } = one;
  const { media, isForm } = bodyOf(operation) ?? {};
  const sampled = kind === "operations" ? samplesOf(one).map(({ body }) => body) : [];
  let text = "";
  // A form as JSON would mislead: its samples show how it is sent.
  for (const { summary, value } of isForm ? [] : examplesOf(media)) {
    if (sampled.includes(value)) continue;
    text += `${details(`Request: ${summary}`, `\n${fenced("json", textOf(value))}\n`)}\n\n`;
  }
  for (const [status, reference] of Object.entries(operation.responses)) {
    if (!/^2/.test(status)) continue;
    for (const [type, content] of Object.entries(resolve(reference).content ?? {})) {
      for (const { summary, value } of examplesOf(content)) {
        const language = type.includes("json") ? "json" : "text";
        const label = `Response ${status}: ${summary}`;
        text += `${details(label, `\n${fenced(language, textOf(value))}\n`)}\n\n`;
      }
    }
  }
  return text === "" ? "" : `## Examples\n\n${text}`;
}

/**
 * A fenced block.
 *
 * @param {string} language
 * @param {string} text
 */
const fenced = (language, text) => `\`\`\`\`${language}\n${text}\n\`\`\`\`\n`;

/** The place that try.js fills. @param {Operation} one */
function tryIt({ path, operation }) {
  const media = resolve(operation.requestBody)?.content["application/json"];
  const body = examplesOf(media)[0]?.value ?? {};
  const streams = resolve(media.schema)?.properties?.stream !== undefined;
  return `<div class="try not-content" data-path="${path}"${streams ? " data-streams" : ""} data-body="${escaped(JSON.stringify(body))}"></div>\n`;
}

/** The parameters of the path and the query. @param {Operation} one */
function parametersSection(one) {
  const items = parameterItems(one, ({ in: place }) => place !== "header");
  return items === "" ? "" : `## Parameters\n\n${items}\n\n`;
}

/** The headers that the operation reads; a webhook sends them. @param {Operation} one */
function requestHeadersSection(one) {
  const items = parameterItems(one, ({ in: place }) => place === "header");
  return items === "" ? "" : `## Request headers\n\n${items}\n\n`;
}

/**
 * @param {Operation} one
 * @param {(parameter: any) => boolean} isShown
 */
function parameterItems(one, isShown) {
  const items = parametersOf(one)
    .filter(isShown)
    .map((parameter) =>
      field({
        name: parameter.name,
        schema: parameter.schema,
        required: parameter.required,
        place: parameter.in === "header" ? "" : parameter.in,
        description: parameter.description,
        example: exampleOf(parameter),
        above: [],
      }),
    );
  return items.length === 0 ? "" : `<ul class="fields">\n${items.join("\n")}\n</ul>`;
}

/** @param {any} operation */
function bodySection(operation) {
  const body = resolve(operation.requestBody);
  if (body === undefined) return "";
  let text = `## Request body\n\n${body.description ?? ""}\n\n`;
  const [first, ...others] = Object.entries(body.content);
  if (first === undefined) return text;
  text += `${typeLine(first[0])}${fields(first[1].schema)}\n\n`;
  for (const [type, { schema }] of others) {
    text +=
      schema.$ref === first[1].schema.$ref
        ? `The same fields are accepted as \`${type}\`.\n\n`
        : `${details(`Fields of \`${type}\``, fields(schema))}\n\n`;
  }
  return text;
}

/** @param {string} type */
const typeLine = (type) =>
  type === "application/json" ? "" : `<p class="api-type"><code>${escaped(type)}</code></p>\n`;

/** @param {any} operation */
function responsesSection(operation) {
  let text = "## Response\n\n";
  for (const [status, reference] of Object.entries(operation.responses)) {
    if (!/^2/.test(status)) continue;
    const { description, content = {} } = resolve(reference);
    text += `<p><span class="status">${status}</span> ${inline(oneLine(description))}</p>\n\n`;
    for (const [type, media] of Object.entries(content)) {
      const events = media.schema?.["x-event-data"];
      if (media.schema?.description) text += `${oneLine(media.schema.description)}\n\n`;
      const listed = fields(events ?? media.schema);
      if (listed) {
        const what = events === undefined ? "Fields" : "Fields of events";
        text += `${details(`${what} of \`${type}\``, listed)}\n\n`;
      } else {
        text += `${typeLine(type)}\n`;
      }
    }
  }
  return `${text}${headersSection(operation)}`;
}

/** All response headers, each once. @param {any} operation */
function headersSection(operation) {
  /** @type {Map<string, { header: any, statuses: string[] }>} */
  const found = new Map();
  const statuses = Object.keys(operation.responses);
  for (const status of statuses) {
    const { headers = {} } = resolve(operation.responses[status]);
    for (const [name, reference] of Object.entries(headers)) {
      const known = found.get(name) ?? { header: resolve(reference), statuses: [] };
      known.statuses.push(status);
      found.set(name, known);
    }
  }
  if (found.size === 0) return "";
  const items = [...found]
    .toSorted(([one], [other]) => one.localeCompare(other))
    .map(([name, { header, statuses: on }]) =>
      field({
        name,
        schema: header.schema,
        place: placeOf(on, statuses),
        description: header.description,
        example: exampleOf(header),
        above: [],
      }),
    );
  return `${details(`Response headers (${found.size})`, `<ul class="fields">\n${items.join("\n")}\n</ul>`)}\n\n`;
}

/**
 * On which statuses a header is sent.
 *
 * @param {string[]} on
 * @param {string[]} all
 */
function placeOf(on, all) {
  if (on.length === all.length) return "all responses";
  const errors = all.filter((status) => !/^2/.test(status));
  if (on.length === errors.length && errors.every((status) => on.includes(status)))
    return "all errors";
  return on.length > 6 ? `${on.length} of ${all.length} statuses` : on.join(", ");
}

/** All errors of an operation, each status once. @param {any} operation */
function errorsSection(operation) {
  const rows = Object.entries(operation.responses)
    .filter(([status]) => !/^2/.test(status))
    .map(([status, reference]) => {
      const response = resolve(reference);
      const codes = [
        ...new Set(
          Object.values(response.content ?? {}).flatMap((media) =>
            examplesOf(media).map(({ value }) => value?.error?.code ?? value?.code),
          ),
        ),
      ].filter((code) => typeof code === "string");
      const links = codes.map((code) => `<code>${escaped(code)}</code>`).join(", ");
      const shown = status === "default" ? "other" : status;
      return `<tr><th scope="row">${shown}</th><td>${inline(oneLine(response.description))}${links ? ` <span class="codes">Example: ${links}</span>` : ""}</td></tr>`;
    });
  if (rows.length === 0) return "";
  const table = `<table class="statuses"><thead><tr><th scope="col">Status</th><th scope="col">Meaning</th></tr></thead><tbody>${rows.join("")}</tbody></table>`;
  const [, sample] =
    Object.entries(operation.responses).find(([status]) => /^4/.test(status)) ?? [];
  const media = resolve(sample)?.content?.["application/json"];
  const example = examplesOf(media)[0];
  return `## Errors\n\n${details(`${rows.length} statuses`, table)}\n\n${
    example
      ? `${details("Example of an error", `\n${fenced("json", textOf(example.value))}\n`)}\n\n`
      : ""
  }Each code, with its remedy: [errors](/docs/errors).\n\n`;
}

/**
 * The fields of a schema as a list, or "" if it has none. A schema that contains itself is listed once.
 *
 * @param {any} schema
 * @param {any[]} [above]
 * @returns {string}
 */
function fields(schema, above = []) {
  const items = itemsOf(schema, above);
  return items === "" ? "" : `<ul class="fields">\n${items}\n</ul>`;
}

/**
 * @param {any} schema
 * @param {any[]} above
 * @returns {string}
 */
function itemsOf(schema, above) {
  const it = resolve(schema);
  if (it === undefined || above.includes(it) || above.length > MAX_DEPTH) return "";
  const inside = [...above, it];
  const parts = [
    ...(it.allOf ?? []).map((/** @type {any} */ part) => itemsOf(part, inside)),
    ...alternatives(it, inside),
    ...Object.entries(it.properties ?? {}).map(([name, member]) =>
      field({
        name,
        schema: member,
        required: it.required?.includes(name),
        description: member.description ?? resolve(member).description,
        above: inside,
      }),
    ),
  ];
  return parts.filter((part) => part !== "").join("\n");
}

/**
 * The alternatives of a schema: as they are if only one has fields, otherwise a folded list for each.
 *
 * @param {any} it
 * @param {any[]} above
 * @returns {string[]}
 */
function alternatives(it, above) {
  const all = (it.oneOf ?? it.anyOf ?? [])
    .map((/** @type {any} */ part) => {
      const known = resolve(part);
      const name = part.$ref?.split("/").at(-1) ?? known.title ?? known.description ?? "object";
      return { name: String(name), items: itemsOf(known.items ?? part, above) };
    })
    .filter((/** @type {{ items: string }} */ { items }) => items !== "");
  if (all.length < 2) return all.map((/** @type {{ items: string }} */ { items }) => items);
  return all.map(
    (/** @type {{ name: string, items: string }} */ { name, items }) =>
      `<li>${details(name, `<ul class="fields">\n${items}\n</ul>`)}</li>`,
  );
}

/**
 * A field, a parameter or a header.
 *
 * @param {{ name: string, schema: any, required?: boolean, place?: string, description?: string, example?: any, above: any[] }} one
 */
function field({ name, schema, required, place, description, example, above }) {
  const known = resolve(schema) ?? {};
  const values = known.enum ?? [];
  const type =
    values.length > MAX_VALUES
      ? `${known.type ?? "string"}, ${values.length} values`
      : typeOf(schema);
  const inner = known.items === undefined ? known : known.items;
  const nested = fields(inner, above);
  const facts = [
    place,
    known.default === undefined ? undefined : `default \`${JSON.stringify(known.default)}\``,
    range(known),
  ].filter((fact) => fact !== undefined && fact !== "");
  const shownExample =
    example === undefined ? "" : ` Example: <code>${escaped(String(example))}</code>`;
  const text = description ? `<p>${inline(oneLine(description))}${shownExample}</p>` : shownExample;
  const folded = nested
    ? details(`Fields of \`${name}\``, nested)
    : values.length > MAX_VALUES
      ? details(
          "Values",
          `<p>${values.map((/** @type {any} */ value) => `<code>${escaped(String(value))}</code>`).join(", ")}</p>`,
        )
      : "";
  return `<li><p class="field"><code>${escaped(name)}</code> <span class="type">${inline(type)}${facts.map((fact) => ` · ${inline(String(fact))}`).join("")}</span>${required ? ' <span class="required">required</span>' : ""}${known.deprecated ? ' <span class="required">deprecated</span>' : ""}</p>${text}${folded ? `\n${folded}` : ""}</li>`;
}

/** The limits of a value. @param {any} schema */
function range({ minimum, maximum, maxLength, maxItems }) {
  if (minimum !== undefined && maximum !== undefined) return `${minimum} to ${maximum}`;
  if (maximum !== undefined) return `at most ${maximum}`;
  if (maxLength !== undefined) return `at most ${maxLength} characters`;
  if (maxItems !== undefined) return `at most ${maxItems} items`;
  return undefined;
}
