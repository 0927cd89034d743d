// @ts-check
//! Post-processes the pages that Astro has built, so that they work under a content security policy without any `unsafe-` for
//! scripts and styles, and so that every page is available as Markdown too.
//!
//! - Scripts inside pages become files, in the same place and order. Style attributes become classes.
//! - Every page has a Markdown twin, to which it links; llms.txt, llms-full.txt and pictures are put beside them.
//! - An inline script or style, a broken link, or a request to another host fails the build.

import { createHash } from "node:crypto";
import { cpSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";

const site = new URL("../", import.meta.url).pathname;
const DIST = `${site}dist/`;
const FILES = "/docs/_astro/";

const pages = readdirSync(DIST, { recursive: true })
  .map(String)
  .filter((name) => name.endsWith(".html"))
  .toSorted();

cpSync(`${site}.generated/md`, DIST, { recursive: true });
cpSync(`${site}.generated/pictures`, `${DIST}pictures`, { recursive: true });
// The calculator reads the data of the costs; pages link to that of the charts.
for (const name of ["costs", "performance", "prices", "routing"])
  cpSync(`${site}data/${name}.json`, `${DIST}${name}.json`);
for (const name of ["llms.txt", "llms-full.txt"])
  cpSync(`${site}.generated/${name}`, `${DIST}${name}`);
// The pages use Starlight's search, none of Pagefind's own interfaces.
for (const name of readdirSync(`${DIST}pagefind`)) {
  if (/-ui\.|highlight/.test(name)) rmSync(`${DIST}pagefind/${name}`);
}

/** @param {string} text */
const hash = (text) => createHash("sha256").update(text).digest("hex").slice(0, 10);

/** @type {Map<string, string>} */
const styles = new Map();
/** @type {Map<string, string>} */
const scripts = new Map();
const complaints = new Set();

for (const name of pages) {
  let html = readFileSync(DIST + name, "utf8");
  html = html.replace(/<script([^>]*)>([^]*?)<\/script>/g, (all, attributes, text) => {
    if (text.trim() === "") return all;
    const file = `inline.${hash(text)}.js`;
    scripts.set(file, text.trim() + "\n");
    return `<script${attributes} src="${FILES}${file}"></script>`;
  });
  html = html.replace(/<[a-z][^<>]*\sstyle="[^"]*"[^<>]*>/g, (tag) => {
    const style = /\sstyle="([^"]*)"/.exec(tag)?.[1] ?? "";
    const bare = tag.replace(/\sstyle="[^"]*"/, "");
    // A script shows this keyboard hint, and cannot remove a class, so it is left as it is.
    if (/^display:\s*none;?$/.test(style)) return bare;
    const declarations = style
      .replace(/&quot;/g, '"')
      .replace(/&#39;/g, "'")
      .replace(/;?\s*$/, "");
    const className = `i-${hash(declarations)}`;
    styles.set(className, declarations);
    return /\sclass="/.test(bare)
      ? bare.replace(/\sclass="/, ` class="${className} `)
      : bare.replace(/^<([\w-]+)/, `<$1 class="${className}"`);
  });
  // As a heading, the word "Example" before an example of the API reference would skip levels.
  html = html.replace(/<h5( class="sl-openapi-examples-heading[^>]*>)([^<]*)<\/h5>/g, "<p$1$2</p>");
  // Without JavaScript the only theme is the light one.
  html = html.replace('data-theme="dark"', 'data-theme="light"');
  const slug = name === "index.html" ? "index" : name.replace(/\/index\.html$/, "");
  if (!existsSync(`${DIST}${slug}.md`)) complaints.add(`${name} has no Markdown twin`);
  html = html.replace(
    "</head>",
    `<link rel="stylesheet" href="${FILES}inline.css"><link rel="alternate" type="text/markdown" href="/docs/${slug}.md"></head>`,
  );
  writeFileSync(DIST + name, html);
}
for (const [file, text] of scripts) writeFileSync(`${DIST}_astro/${file}`, text);
// Colours of examples: the highlighter's rules select by style attributes, which are classes now.
for (const name of readdirSync(`${DIST}_astro`).filter((file) => file.endsWith(".css"))) {
  const css = readFileSync(`${DIST}_astro/${name}`, "utf8");
  const changed = css.replaceAll(
    /span\[style\^=(?:'--'|"--"|--)\]:not\(\[class\]\)/g,
    'span[class^="i-"]',
  );
  if (/\[style/.test(changed)) complaints.add(`${name}: a rule selects by a removed attribute`);
  writeFileSync(`${DIST}_astro/${name}`, changed);
}
// As specific as an attribute: takes precedence over any one or two classes.
const rules = [...styles].toSorted().map(([name, text]) => `${`.${name}`.repeat(3)}{${text}}`);
writeFileSync(`${DIST}_astro/inline.css`, rules.join("\n") + "\n");

check();

/** Links and what pages load. */
function check() {
  /** @type {Map<string, Set<string>>} */
  const ids = new Map();
  /** @type {Map<string, string>} */
  const texts = new Map();
  for (const name of pages) {
    const html = readFileSync(DIST + name, "utf8");
    const path = name === "index.html" ? "/docs" : `/docs/${name.replace(/\/index\.html$/, "")}`;
    texts.set(path, html);
    ids.set(path, new Set([...html.matchAll(/\sid="([^"]*)"/g)].map((match) => match[1] ?? "")));
  }
  for (const [path, html] of texts) {
    if (/<style|<script(?![^>]*\ssrc=)|\sstyle="|\son[a-z]+="/.test(html)) {
      complaints.add(`${path}: an inline script or style is left`);
    }
    for (const [, url = ""] of html.matchAll(
      /<(?:link|script|img)[^>]*\s(?:href|src)="([^"]*)"/g,
    )) {
      if (!url.startsWith("/") && !url.startsWith("data:")) complaints.add(`${path} loads ${url}`);
    }
    for (const [, url = ""] of html.matchAll(/<a\s[^>]*href="([^"]*)"/g)) {
      const [target = "", fragment] = url.split("#");
      const to = target === "" ? path : target.replace(/\/$/, "");
      if (!to.startsWith("/docs")) {
        if (/^https?:/.test(to)) continue;
        if (
          !/^\/(openapi\.json|llms\.txt|health|console|key|v1\/[\w/]+(\?\w+=\w+)?|metrics|usage)$/.test(
            to,
          )
        )
          complaints.add(`${path}: ${url}`);
        continue;
      }
      const known = ids.get(to);
      const file = to.slice("/docs/".length);
      if (known === undefined) {
        if (!existsSync(DIST + file)) complaints.add(`${path}: ${url} leads nowhere`);
      } else if (fragment && !known.has(decodeURIComponent(fragment))) {
        complaints.add(`${path}: ${url} has no such place`);
      }
    }
  }
  if (complaints.size > 0) {
    for (const complaint of complaints) console.error(complaint);
    process.exit(1);
  }
}
