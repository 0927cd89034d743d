// @ts-check
//! What pages have from data: each as HTML for the site and as Markdown for programs.

import { readFileSync } from "node:fs";
import { told } from "../../benchmark/report.mjs";
import { GUARANTEES } from "../data/guarantees.mjs";

const root = new URL("../../", import.meta.url).pathname;
/** @param {string} path */
const read = (path) => readFileSync(root + path, "utf8");
/** @param {string} path */
const json = (path) => JSON.parse(read(path));

/** @typedef {{ html: string, markdown: string }} Include */

/** @param {string} text */
const escaped = (text) =>
  text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");

/**
 * Text with code in backticks, as HTML.
 *
 * @param {string} text
 */
const inline = (text) => escaped(text).replace(/`([^`]+)`/g, "<code>$1</code>");

/**
 * A table that scrolls by itself where it does not fit.
 *
 * @param {string} label
 * @param {string} table
 */
const wide = (label, table) =>
  `<div class="wide" tabindex="0" role="region" aria-label="${escaped(label)}">\n${table}\n</div>`;

/**
 * A table of HTML without line breaks inside, so that Markdown takes it for one block.
 *
 * @param {string} html
 */
const flat = (html) =>
  html
    .replace(/\s*\n\s*/g, " ")
    .replace(/> </g, "><")
    .trim();

/**
 * HTML of one of our tables, as Markdown.
 *
 * @param {string} html
 */
function tableMarkdown(html) {
  /** @param {string} cell */
  const text = (cell) =>
    cell
      .replace(/<code>|<\/code>/g, "`")
      .replace(/<\/?strong>/g, "**")
      .replace(/<[^>]+>/g, "")
      .replace(/\s+/g, " ")
      .replace(/&lt;/g, "<")
      .replace(/&gt;/g, ">")
      .replace(/&amp;/g, "&")
      .replace(/\|/g, "\\|")
      .trim();
  const caption = /<caption>([^]*?)<\/caption>/.exec(html)?.[1];
  const rows = [...html.matchAll(/<tr[^>]*>([^]*?)<\/tr>/g)].map((row) =>
    [...(row[1] ?? "").matchAll(/<t[hd][^>]*>([^]*?)<\/t[hd]>/g)].map((cell) =>
      text(cell[1] ?? ""),
    ),
  );
  const [head = [], ...body] = rows;
  return [
    ...(caption ? [text(caption), ""] : []),
    `| ${head.join(" | ")} |`,
    `|${head.map(() => " --- |").join("")}`,
    ...body.map((row) => `| ${row.join(" | ")} |`),
  ].join("\n");
}

/**
 * A table that one of the repository's scripts has written between marks.
 *
 * @param {string} file
 * @param {string} name
 * @param {string} label
 * @returns {Include}
 */
function written(file, name, label) {
  const page = read(`docs/site/docs/${file}`);
  const [begin, end] = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`];
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < 0) throw new Error(`${file} has no marks of ${name}`);
  const html = flat(page.slice(from + begin.length, to));
  if (!html.startsWith("<table")) {
    const text = html.replaceAll("</p><p>", "\n\n").replace(/<[^>]+>/g, "");
    return { html, markdown: text.trim() };
  }
  return { html: wide(label, html), markdown: tableMarkdown(html) };
}

/** @returns {Include} */
function errors() {
  /** @type {{ code: string, v0_code: string, status: number, type: string, retry: string, meaning: string }[]} */
  const rows = json("site/data/errors.json");
  /** @type {Record<string, string>} */
  const advice = json("site/data/advice.json");
  const codes = new Set(rows.map(({ code }) => code));
  for (const code of Object.keys(advice)) {
    if (!codes.has(code)) throw new Error(`data/advice.json: there is no error ${code}`);
  }
  const html = rows.map(({ code, status, type, retry, meaning }) => {
    const what = advice[code];
    if (what === undefined) throw new Error(`data/advice.json says nothing of ${code}`);
    return `<tr id="${code}"><th scope="row"><a href="#${code}"><code>${code}</code></a></th><td>${status}</td><td>${escaped(type)}</td><td>${retry}</td><td>${inline(meaning)}</td><td>${inline(what)}</td></tr>`;
  });
  const head = ["Code", "Status", "Type", "Try again", "Meaning", "What to do"];
  const markdown = rows.map(
    ({ code, status, type, retry, meaning }) =>
      `| \`${code}\` | ${status} | ${type} | ${retry} | ${meaning} | ${advice[code]} |`,
  );
  return {
    html: wide(
      "Errors of the gateway",
      `<table class="errors"><thead><tr>${head.map((name) => `<th scope="col">${name}</th>`).join("")}</tr></thead><tbody>${html.join("")}</tbody></table>`,
    ),
    markdown: `| ${head.join(" | ")} |\n|${head.map(() => " --- |").join("")}\n${markdown.join("\n")}`,
  };
}

/**
 * @typedef {object} Model
 * @property {string} provider
 * @property {string} id
 * @property {number} [context]
 * @property {number} [max_output]
 * @property {number} [input_usd_per_mtok]
 * @property {number} [output_usd_per_mtok]
 * @property {boolean} [tools]
 * @property {boolean} [json_schema]
 * @property {boolean} [vision]
 * @property {boolean} [reasoning]
 */

/** @returns {Model[]} */
const models = () =>
  read("core/data/models.jsonl")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

/** @returns {Include} */
function providers() {
  /** @type {{ name: string, base_url: string, auth: string, key_variables: string[], cancel_stops_billing: boolean | null }[]} */
  const rows = json("site/data/providers.json");
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { provider } of models()) counts.set(provider, (counts.get(provider) ?? 0) + 1);
  const lines = rows.map(({ name, base_url, auth, key_variables, cancel_stops_billing }) => {
    const count = counts.get(name);
    const known = count === undefined ? "–" : `[${count}](/docs/catalogue#${name})`;
    const secret = auth === "none" ? "none" : key_variables.map((one) => `\`${one}\``).join(", ");
    const stops = cancel_stops_billing === null ? "unknown" : cancel_stops_billing ? "yes" : "no";
    return `| \`${name}\` | ${secret} | \`${base_url}\` | ${known} | ${stops} |`;
  });
  const markdown = [
    "| Provider | Secret | Address | Models known | Stops billing when cancelled |",
    "| --- | --- | --- | ---: | --- |",
    ...lines,
  ].join("\n");
  return { html: markdown, markdown };
}

/** @returns {Include} */
const providerCount = () => {
  const count = String(json("site/data/providers.json").length);
  const date = /^State: (\d{4}-\d\d-\d\d)/m.exec(read("core/data/README.md"))?.[1];
  if (date === undefined) throw new Error("core/data/README.md does not say of when it is");
  const text = `${count} providers are built in; ${models().length.toLocaleString("en")} models of theirs are known, as of ${date}.`;
  return { html: text, markdown: text };
};

/** @returns {Include} */
function catalogue() {
  /** @type {Map<string, Model[]>} */
  const byProvider = new Map();
  for (const model of models()) {
    byProvider.set(model.provider, [...(byProvider.get(model.provider) ?? []), model]);
  }
  /** @param {number | undefined} count */
  const tokens = (count) => (count === undefined ? "" : count.toLocaleString("en"));
  /** @param {number | undefined} price */
  const usd = (price) => (price === undefined ? "" : `$${price}`);
  /** @param {Model} model */
  const abilities = (model) =>
    [
      model.tools && "tools",
      model.json_schema && "JSON schema",
      model.vision && "images",
      model.reasoning && "reasoning",
    ]
      .filter(Boolean)
      .join(", ");
  const head = ["Model", "Context", "Output", "Input price", "Output price", "Known to do"];
  let html = "";
  let markdown = "";
  for (const [provider, list] of byProvider) {
    const rows = list.map((model) => [
      model.id,
      tokens(model.context),
      tokens(model.max_output),
      usd(model.input_usd_per_mtok),
      usd(model.output_usd_per_mtok),
      abilities(model),
    ]);
    const cells = rows.map(
      ([id = "", ...others]) =>
        `<tr><th scope="row"><code>${escaped(id)}</code></th>${others.map((text, index) => `<td${index < 4 ? ' class="number"' : ""}>${escaped(text)}</td>`).join("")}</tr>`,
    );
    const heads = head.map(
      (name, index) =>
        `<th scope="col"${index > 0 && index < 5 ? ' class="number"' : ""}>${name}</th>`,
    );
    const table = `<table class="models"><thead><tr>${heads.join("")}</tr></thead><tbody>${cells.join("")}</tbody></table>`;
    html += `## ${provider}\n\n${wide(`Models of ${provider}`, table)}\n\n`;
    markdown += `## ${provider}\n\n| ${head.join(" | ")} |\n| --- | ---: | ---: | ---: | ---: | --- |\n${rows.map((row) => `| ${row.join(" | ")} |`).join("\n")}\n\n`;
  }
  return { html, markdown };
}

/** @returns {Include} */
function guarantees() {
  const markdown = GUARANTEES.map(({ what, how, tests }) => {
    const kept = tests.map(([file, name]) => `\`${file}\`: \`${name}\``);
    const list = kept.map((line) => `- ${line}`).join("\n");
    return `## ${what}\n\n${how}\n\nKept by:\n\n${list}\n`;
  }).join("\n");
  return { html: markdown, markdown };
}

/** @returns {Include} */
function changelog() {
  const markdown = read("CHANGELOG.md").replace(/^# .*\n+/, "");
  return { html: markdown, markdown };
}

/** @returns {Include} */
function ratio() {
  /** @type {import("../../benchmark/report.mjs").Results} */
  const { bars } = json("docs/site/docs/performance.json");
  const [whole, alone] = ["whole-ring", "alone-p50"].map((name) => {
    const bar = bars.find((one) => one.name === name);
    if (bar === undefined) throw new Error(`performance.json has no bar ${name}`);
    return told(bar);
  });
  const text = `In the last run of the benchmark a small call with a key of the ring took ${whole} the processor time of a Worker that only passes it through, and ${alone} longer.`;
  return { html: text, markdown: text };
}

/** @returns {Record<string, Include>} */
export function includes() {
  return {
    errors: errors(),
    providers: providers(),
    "provider-count": providerCount(),
    catalogue: catalogue(),
    guarantees: guarantees(),
    changelog: changelog(),
    "costs-table": written("costs.html", "costs", "Cost of a million calls of four operators"),
    "costs-measured": written("costs.html", "measured", "Measured counts"),
    "performance-figures": written(
      "performance.html",
      "figures",
      "Figures of each Worker under each load",
    ),
    "performance-bars": written("performance.html", "bars", "Bars, and what was measured"),
    "performance-profile": written(
      "performance.html",
      "profile",
      "CPU of a small whole answer by kind, for each Worker",
    ),
    "performance-profile-in-words": written("performance.html", "profile in words", ""),
    "performance-alone": written(
      "performance.html",
      "alone",
      "CPU of small whole answers one at a time, by kind, for each Worker",
    ),
    "performance-slowest": written(
      "performance.html",
      "slowest",
      "The slowest hundredth of them, by cause",
    ),
    "performance-stream": written(
      "performance.html",
      "stream",
      "CPU of a stream of 300 events by kind, for each Worker",
    ),
    "performance-start": written("performance.html", "start", "Processor time of a start, by kind"),
    "performance-start-in-words": written("performance.html", "start in words", ""),
    "performance-ratio": ratio(),
  };
}
