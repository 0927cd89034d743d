// @ts-check
//! Generates the pages that Starlight renders from the written pages (pages/) and from data.
//!
//! A line `<!-- include: NAME -->` of a page is replaced by a part that `includes.mjs` generates from data: as HTML for the site
//! (src/content/docs/) and as Markdown for programs (.generated/md/). Pictures (pictures/) get a dark twin. The output
//! depends on neither time nor machine.

import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { apiPages } from "./api.mjs";
import { STYLES } from "./charts.mjs";
import { includes } from "./includes.mjs";
import { referencePages } from "./reference.mjs";
import { SECTIONS } from "./sections.mjs";
import { blocksAsHtml, blocksAsMarkdown } from "./tabs.mjs";

export const site = new URL("../", import.meta.url).pathname;
export const root = new URL("../../", import.meta.url).pathname;
const HTML = `${site}src/content/docs/`;
const MARKDOWN = `${site}.generated/md/`;
const PICTURES = `${site}.generated/pictures/`;

/**
 * The page's front matter and its text.
 *
 * @param {string} slug
 */
export function page(slug) {
  const source = readFileSync(`${site}pages/${slug}.md`, "utf8");
  const found = /^---\n([^]*?)\n---\n+([^]*)$/.exec(source);
  if (found === null) throw new Error(`pages/${slug}.md has no front matter`);
  const [, head = "", text = ""] = found;
  /** @param {string} name */
  const member = (name) => new RegExp(`^${name}: (.*)$`, "m").exec(head)?.[1] ?? "";
  const [title, description] = [member("title"), member("description")];
  if (title === "" || description === "") throw new Error(`pages/${slug}.md: title, description`);
  return { head, title, description, text };
}

/** The slugs of all written pages. */
export function slugs() {
  return readdirSync(`${site}pages`, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith(".md"))
    .map((name) => name.slice(0, -3))
    .toSorted();
}

/**
 * The colours of pictures on a light background, and their replacements on a dark one. All pictures and charts use these.
 *
 * @type {Record<string, string>}
 */
const DARK = {
  "#fafaf8": "#1a2124",
  "#ffffff": "#222b2f",
  "#dcdfdc": "#3a464c",
  "#22292d": "#e2e8ea",
  "#5b666d": "#a3b0b7",
  "#0b6e6e": "#57b7b7",
  "#c4601a": "#e08a4a",
  "#7465b5": "#a296da",
  "#a9bac4": "#5f7480",
  "#cfd8d8": "#3c4a4d",
  "#e3b565": "#9a7636",
  "#d98a83": "#96504a",
  "#e6f1f1": "#1d3436",
};

/** @param {string} svg */
const darkened = (svg) =>
  svg.replace(/#[0-9a-f]{6}\b/gi, (colour) => DARK[colour.toLowerCase()] ?? colour);

function pictures() {
  for (const file of readdirSync(`${site}pictures`)) {
    const name = file.replace(/\.svg$/, "");
    const svg = readFileSync(`${site}pictures/${file}`, "utf8");
    write(`${PICTURES}${name}.svg`, svg);
    write(`${PICTURES}${name}-dark.svg`, darkened(svg));
  }
}

/**
 * A picture of the site in a light and a dark version, of which the theme shows one.
 *
 * @param {string} alt
 * @param {string} name
 */
function pictureHtml(alt, name) {
  const svg = readFileSync(`${PICTURES}${name}.svg`, "utf8");
  const [, width, height] = /viewBox="0 0 ([\d.]+) ([\d.]+)"/.exec(svg) ?? [];
  const text = alt.replace(/"/g, "&quot;");
  /** @param {string} file @param {string} hidden */
  const image = (file, hidden) =>
    `<img class="picture ${hidden}:sl-hidden" src="/docs/pictures/${file}.svg" alt="${text}" width="${width}" height="${height}" loading="lazy" decoding="async">`;
  return `${image(name, "dark")}${image(`${name}-dark`, "light")}`;
}

/**
 * A screenshot of public/ with its size, so that its place is reserved before it is loaded.
 *
 * @param {string} alt
 * @param {string} name
 */
function screenshotHtml(alt, name) {
  // PNG: signature (8), length and type of the first chunk (8), which starts with width and height.
  const header = readFileSync(`${site}public/${name}.png`).subarray(16, 24);
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
  const text = alt.replace(/"/g, "&quot;");
  return `<img src="/docs/${name}.png" alt="${text}" width="${width}" height="${height}" decoding="async">`;
}

/**
 * @param {string} path
 * @param {string} text
 */
function write(path, text) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

function main() {
  for (const folder of [HTML, MARKDOWN, PICTURES]) rmSync(folder, { recursive: true, force: true });
  pictures();
  write(`${site}.generated/charts.css`, STYLES);
  const made = includes();
  const used = new Set();
  for (const slug of slugs()) {
    const { head, title, description, text } = page(slug);
    /** @param {"html" | "markdown"} kind */
    const filled = (kind) =>
      text
        .replace(/^<!-- include: (\S+) -->$/gm, (_, name) => {
          const include = made[name];
          if (include === undefined)
            throw new Error(`pages/${slug}.md: no include is named ${name}`);
          used.add(name);
          return include[kind].trim();
        })
        .replace(/!\[([^\]]*)\]\(picture:([a-z-]+)\)/g, (_, alt, name) =>
          kind === "html" ? pictureHtml(alt, name) : `![${alt}](/docs/pictures/${name}.svg)`,
        )
        .replace(/!\[([^\]]*)\]\(\/docs\/([a-z-]+)\.png\)/g, (markdown, alt, name) =>
          kind === "html" ? screenshotHtml(alt, name) : markdown,
        );
    write(`${HTML}${slug}.md`, `---\n${head}\n---\n\n${blocksAsHtml(filled("html"))}`);
    const bare = blocksAsMarkdown(filled("markdown"))
      .replace(/^(\s*```\S+) .*$/gm, "$1")
      .replace(/^:::(\w+)(?:\[(.*)\])?$/gm, (_, kind, name) => `> **${name ?? capital(kind)}**\n>`)
      .replace(/^:::\n?/gm, "")
      .replace(/^<li[^>]*><a href="([^"]*)">(.*)<\/a><\/li>$/gm, "- [$2]($1)")
      .replace(/^<\/?(?:ul|details)[^>]*>\n?/gm, "")
      .replace(/^<summary>(.*)<\/summary>$/gm, "**$1**")
      .replace(
        /<noscript>[^]*?<\/noscript>\n?|<script[^>]*><\/script>\n?|<div id="[\w-]+"[^>]*><\/div>\n?/g,
        "",
      );
    write(`${MARKDOWN}${slug}.md`, `# ${title}\n\n> ${description}\n\n${bare.trim()}\n`);
  }
  for (const name of Object.keys(made)) {
    if (!used.has(name)) throw new Error(`no page includes ${name}`);
  }
  for (const [slug, text] of Object.entries(referencePages())) write(`${HTML}${slug}.md`, text);
  const api = apiPages();
  for (const [slug, text] of Object.entries(api.pages)) write(`${MARKDOWN}${slug}.md`, text);
  writeLists(api.links);
}

/** @param {string} word */
const capital = (word) => word.charAt(0).toUpperCase() + word.slice(1);

/**
 * Writes llms.txt, the list of pages, and llms-full.txt, all pages in one file.
 *
 * @param {string} apiLinks
 */
function writeLists(apiLinks) {
  const { description } = page("index");
  const lines = [`# Gatehouse`, "", `> ${description}`, ""];
  const listed = new Set();
  let full = "";
  for (const { label, pages } of SECTIONS) {
    lines.push(`## ${label}`, "");
    for (const slug of pages) {
      const { title, description: about } = page(slug);
      lines.push(`- [${title}](/docs/${slug}.md): ${about}`);
      listed.add(slug);
      full += `${readFileSync(`${MARKDOWN}${slug}.md`, "utf8")}\n---\n\n`;
    }
    lines.push("");
  }
  const missing = slugs().filter((slug) => !listed.has(slug));
  if (missing.length > 0) throw new Error(`sections.mjs does not have: ${missing.join(", ")}`);
  lines.push("## API reference", "", `- [OpenAPI 3.1](/openapi.json): the whole API`, apiLinks, "");
  lines.push("## Optional", "", "- [Everything in one file](/docs/llms-full.txt)", "");
  write(`${site}.generated/llms.txt`, lines.join("\n"));
  write(`${site}.generated/llms-full.txt`, `# Gatehouse\n\n${full.trimEnd()}\n`);
}

if (process.argv[1] === new URL(import.meta.url).pathname) main();
