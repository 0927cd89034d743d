// @ts-check
//! The parts of pages that are generated from data, each as HTML for the site and as Markdown for programs.

import { readFileSync } from "node:fs";
import { GUARANTEES } from "../data/guarantees.mjs";
import { escaped, inline, table, wide } from "./html.mjs";
import { results } from "./results.mjs";

const root = new URL("../../", import.meta.url).pathname;
/** @param {string} path */
const read = (path) => readFileSync(root + path, "utf8");
/** @param {string} path */
const json = (path) => JSON.parse(read(path));

/** @typedef {import("./html.mjs").Include} Include */

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
    if (what === undefined) throw new Error(`data/advice.json has no entry for ${code}`);
    return `<tr id="${code}"><th scope="row"><a href="#${code}"><code>${code}</code></a></th><td>${status}</td><td>${escaped(type)}</td><td>${retry}</td><td>${inline(meaning)}</td><td>${inline(what)}</td></tr>`;
  });
  const head = ["Code", "Status", "Type", "Retry", "Meaning", "Remedy"];
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
 * @property {string} [task]
 * @property {string} [deprecation_date]
 * @property {{ tokens: number, input_usd_per_mtok: number, output_usd_per_mtok: number }[]} [above]
 */

/** The formats in which alone a listed model may be served. */
const FORMATS = ["chat_completions", "responses"];

/** @returns {Model[]} */
const models = () =>
  read("core/data/models.jsonl")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line))
    // The file also has models that are not listed, and models for other tasks, whose prices are not by token.
    .filter(
      ({ hidden, formats, task = "chat" }) =>
        !hidden && (!formats || FORMATS.includes(formats[0])) && ["chat", "embed"].includes(task),
    );

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

/**
 * The providers that serve embeddings.
 *
 * @returns {Include}
 */
function embeddingProviders() {
  /** @type {{ name: string, serves: string[] }[]} */
  const rows = json("site/data/providers.json");
  const lines = rows
    .filter(({ serves }) => serves.includes("embeddings"))
    .map(({ name }) => {
      const ids = models()
        .filter(({ provider, task }) => provider === name && task === "embed")
        .map(({ id }) => `\`${id}\``);
      return `| \`${name}\` | ${ids.join(", ") || "–"} |`;
    });
  const markdown = ["| Provider | Embedding models known |", "| --- | --- |", ...lines].join("\n");
  return { html: markdown, markdown };
}

/**
 * The providers that serve a format, as a sentence.
 *
 * @param {string} format
 * @param {string} title
 * @returns {Include}
 */
function providersOf(format, title) {
  /** @type {{ name: string, serves: string[] }[]} */
  const rows = json("site/data/providers.json");
  const names = rows.filter(({ serves }) => serves.includes(format));
  const list = names.map(({ name }) => `\`${name}\``).join(", ");
  const markdown = `These built-in providers serve ${title}: ${list}.`;
  return { html: markdown, markdown };
}

/** The names of wire formats. @type {Record<string, string>} */
const FORMAT_NAMES = {
  chat_completions: "OpenAI Chat Completions",
  messages: "Anthropic Messages",
  responses: "OpenAI Responses",
  compaction: "OpenAI Responses",
  embeddings: "OpenAI Embeddings",
  completions: "OpenAI Completions",
  moderations: "OpenAI Moderations",
  rerank: "Jina Rerank",
  rerank_v2: "Cohere Rerank",
  images: "OpenAI Images",
  image_edits: "OpenAI Image Edits",
  image_variations: "OpenAI Image Variations",
  speech: "OpenAI Speech",
  transcriptions: "OpenAI Transcriptions",
  translations: "OpenAI Translations",
};

/**
 * The inference endpoints, their formats, and how many of the built-in providers serve each.
 *
 * @returns {Include}
 */
function endpoints() {
  /** @type {{ path: string, format: string, translated: boolean }[]} */
  const rows = json("site/data/operations.json");
  /** @type {{ serves: string[] }[]} */
  const providers = json("site/data/providers.json");
  return table({
    label: "Endpoints",
    columns: ["Endpoint", "Format", "Byte for byte", "Translated"],
    texts: [1],
    rows: rows.map(({ path, format, translated }) => {
      const name = FORMAT_NAMES[format];
      if (name === undefined) throw new Error(`includes.mjs has no name for the format ${format}`);
      const count = providers.filter(({ serves }) => serves.includes(format)).length;
      const others = translated ? String(providers.filter(isConversation).length - count) : "–";
      return { cells: [`\`${path}\``, name, String(count), others] };
    }),
  });
}

/** @param {{ serves: string[] }} provider */
const isConversation = ({ serves }) =>
  ["chat_completions", "messages", "responses"].some((format) => serves.includes(format));

/**
 * The range of the costs of a million calls.
 *
 * @returns {Include}
 */
function costSentence() {
  /** @type {{ operators: { micro_usd: Record<string, number> }[] }} */
  const { operators } = json("site/data/costs.json");
  const { usd_per_month } = json("site/data/prices.json");
  // Only operators with Analytics Engine pay this item.
  const sums = operators.map(({ micro_usd: { analytics_points: _, ...items } }) =>
    Object.values(items).reduce((sum, one) => sum + one, 0),
  );
  const [least, most] = [Math.min(...sums), Math.max(...sums)].map((sum) => Math.round(sum / 1e6));
  const text = `Cloudflare charges about $${least} to $${most} for a million calls, in addition to the $${usd_per_month} a month of Workers Paid.`;
  return { html: text, markdown: text };
}

/** @returns {Include} */
const providerCount = () => {
  const count = String(json("site/data/providers.json").length);
  const date = /^State: (\d{4}-\d\d-\d\d)/m.exec(read("core/data/README.md"))?.[1];
  if (date === undefined) throw new Error("core/data/README.md has no date");
  const text = `${count} providers are built in; the catalogue has ${models().length.toLocaleString("en")} of their models, as of ${date}.`;
  return { html: text, markdown: text };
};

/**
 * The models as one table, which public/catalogue.js filters; for programs, a table for each provider.
 *
 * @returns {Include}
 */
function catalogue() {
  /** @type {Map<string, Model[]>} */
  const byProvider = new Map();
  for (const model of models()) {
    byProvider.set(model.provider, [...(byProvider.get(model.provider) ?? []), model]);
  }
  /** @param {number | undefined} count */
  const tokens = (count) => (count === undefined ? "" : count.toLocaleString("en"));
  /** @param {Model} model @param {"input_usd_per_mtok" | "output_usd_per_mtok"} kind */
  const usd = (model, kind) => {
    const price = model[kind];
    const steps = (model.above ?? []).map(
      (step) => `, $${step[kind]} above ${tokens(step.tokens)}`,
    );
    return price === undefined ? "" : `$${price}${steps.join("")}`;
  };
  /** @param {Model} model */
  const abilities = (model) =>
    [
      model.task === "embed" && "embeddings",
      model.tools && "tools",
      model.json_schema && "JSON schema",
      model.vision && "images",
      model.reasoning && "reasoning",
      model.deprecation_date && `ends ${model.deprecation_date}`,
    ]
      .filter(Boolean)
      .join(", ");
  const head = ["Model", "Context", "Output", "Input price", "Output price", "Capabilities"];
  const rows = [];
  let markdown = "";
  for (const [provider, list] of byProvider) {
    const cells = list.map((model) => [
      model.id,
      tokens(model.context),
      tokens(model.max_output),
      usd(model, "input_usd_per_mtok"),
      usd(model, "output_usd_per_mtok"),
      abilities(model),
    ]);
    for (const [index, [id = "", ...others]] of cells.entries()) {
      const data = others.map(
        (text, at) => `<td${at < 4 ? ' class="number"' : ""}>${escaped(text)}</td>`,
      );
      rows.push(
        `<tr${index === 0 ? ` id="${provider}"` : ""}><th scope="row"><code>${escaped(id)}</code></th><td>${provider}</td>${data.join("")}</tr>`,
      );
    }
    markdown += `## ${provider}\n\n| ${head.join(" | ")} |\n| --- | ---: | ---: | ---: | ---: | --- |\n${cells.map((row) => `| ${row.join(" | ")} |`).join("\n")}\n\n`;
  }
  const heads = [head[0] ?? "", "Provider", ...head.slice(1)].map(
    (name, at) => `<th scope="col"${at > 1 && at < 6 ? ' class="number"' : ""}>${name}</th>`,
  );
  const options = (/** @type {string[]} */ names) =>
    names.map((name) => `<option>${escaped(name)}</option>`).join("");
  const filters = [
    `<label><span>Model</span><input type="search" name="model" autocomplete="off"></label>`,
    `<label><span>Provider</span><select name="provider"><option value="">all</option>${options([...byProvider.keys()])}</select></label>`,
    `<label><span>Capability</span><select name="capability"><option value="">any</option>${options(["tools", "JSON schema", "images", "reasoning", "embeddings"])}</select></label>`,
    `<label><span>Context, at least</span><input type="number" name="context" min="0" step="1000"></label>`,
    `<label><span>Input price, at most ($)</span><input type="number" name="price" min="0" step="0.01"></label>`,
  ];
  const table = `<table class="models"><thead><tr>${heads.join("")}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
  return {
    html: `<div class="inputs" id="filters">${filters.join("")}</div>\n<p id="matches" role="status">50 of ${rows.length.toLocaleString("en")} matching models.</p>\n${wide("Models", table)}\n<p><button type="button" id="more" hidden>Show more</button></p>\n<script type="module" src="/docs/catalogue.js"></script>`,
    markdown,
  };
}

/** @returns {Include} */
function guarantees() {
  /** @param {(title: string, list: string) => string} fold */
  const all = (fold) =>
    GUARANTEES.map(({ what, how, tests }) => {
      const list = tests.map(([file, name]) => `- \`${file}\`: \`${name}\``).join("\n");
      const title = tests.length === 1 ? "The test" : `The ${tests.length} tests`;
      return `## ${what}\n\n${how}\n\n${fold(title, list)}\n`;
    }).join("\n");
  return {
    html: all((title, list) => `<details>\n<summary>${title}</summary>\n\n${list}\n\n</details>`),
    markdown: all((title, list) => `${title}:\n\n${list}`),
  };
}

/** The events of the log and their fields. @returns {Include} */
function logFields() {
  /** @type {{ event: string, meaning: string, fields: { name: string, type: string, nullable: boolean, optional: boolean, meaning: string }[] }[]} */
  const rows = json("site/data/log.json");
  const markdown = rows.map(({ event, meaning, fields }) => {
    const lines = fields.map(({ name, type, nullable, optional, meaning: says }) => {
      const kind = type + (nullable ? " or null" : "") + (optional ? ", or absent" : "");
      return `| \`${name}\` | ${kind} | ${says} |`;
    });
    const head = "| Field | Type | Meaning |\n| --- | --- | --- |";
    return `## ${event}\n\n${meaning}\n\n${head}\n${lines.join("\n")}\n`;
  });
  return { html: markdown.join("\n"), markdown: markdown.join("\n") };
}

/** @returns {Include} */
function changelog() {
  const markdown = read("CHANGELOG.md").replace(/^# .*\n+/, "");
  return { html: markdown, markdown };
}

/** The matrix of translations that tests/e2e/translation.test.mjs has run. @returns {Include} */
function translation() {
  /** @type {{ caller: string, upstream: string, cases: Record<string, string> }[]} */
  const rows = json("site/data/translation.json");
  /** @type {Record<string, string>} */
  const formats = {
    chat_completions: "Chat Completions",
    messages: "Messages",
    responses: "Responses",
  };
  const columns = Object.keys(rows[0]?.cases ?? {});
  return table({
    label: "Translations between formats",
    columns: ["Caller, provider", ...columns],
    texts: columns.map((_, at) => at + 1),
    rows: rows.map(({ caller, upstream, cases }) => ({
      cells: [
        `${formats[caller]}, ${formats[upstream]}`,
        ...columns.map((name) => cases[name] ?? ""),
      ],
    })),
  });
}

/** @returns {Record<string, Include>} */
export function includes() {
  return {
    errors: errors(),
    providers: providers(),
    "embedding-providers": embeddingProviders(),
    "messages-providers": providersOf("messages", "Messages"),
    "responses-providers": providersOf("responses", "Responses"),
    "provider-count": providerCount(),
    endpoints: endpoints(),
    "cost-sentence": costSentence(),
    catalogue: catalogue(),
    guarantees: guarantees(),
    translation: translation(),
    "log-fields": logFields(),
    changelog: changelog(),
    ...results({
      routing: json("site/data/routing.json"),
      costs: json("site/data/costs.json"),
      prices: json("site/data/prices.json"),
      performance: json("site/data/performance.json"),
    }),
  };
}
