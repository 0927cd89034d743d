// @ts-check
//! Post-processes the pages that Astro has built, so that they work under a content security policy without any `unsafe-` for
//! scripts and styles, and so that every page is available as Markdown too.
//!
//! - Scripts inside pages become files, in the same place and order. Style attributes become classes.
//! - Every page has a Markdown twin, to which it links; llms.txt, llms-full.txt and pictures are put beside them.
//! - An inline script or style, a broken link (of a page or of its Markdown twin), a reference to a missing element, or a request
//!   to another host fails the build.
//! - Names of generated files have a hash of their content, since browsers keep them.

import { createHash } from "node:crypto";
import { cpSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { wide } from "./html.mjs";
import { documentWithSamples } from "./samples.mjs";

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
/** The finished pages. @type {Map<string, string>} */
const texts = new Map();
/** Stands for the address of the style sheet, whose hash is known after all pages. */
const INLINE = "INLINE-STYLES";

/**
 * What search engines and previews of links read. The addresses have no host, since every gateway serves the pages on its own.
 *
 * @param {string} address
 */
const preview = (address) =>
  `<link rel="canonical" href="${address}"><meta property="og:url" content="${address}"><meta property="og:image" content="/docs/social.png"><meta property="og:image:alt" content="Gatehouse, an LLM gateway that runs as one Cloudflare Worker">`;

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
  // Tables of Markdown scroll in their containers, as generated ones do.
  let tables = 0;
  html = html.replace(/<table>[^]*?<\/table>/g, (table) => wide(`Table ${(tables += 1)}`, table));
  // Without JavaScript the only theme is the light one.
  html = html.replace('data-theme="dark"', 'data-theme="light"');
  const slug = name === "index.html" ? "index" : name.replace(/\/index\.html$/, "");
  if (!existsSync(`${DIST}${slug}.md`)) complaints.add(`${name} has no Markdown twin`);
  const address = name === "index.html" ? "/docs" : `/docs/${slug}`;
  html = html.replace(
    "</head>",
    `<link rel="stylesheet" href="${INLINE}"><link rel="alternate" type="text/markdown" href="/docs/${slug}.md">${preview(address)}</head>`,
  );
  texts.set(name, html);
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
const inlineStyles = rules.join("\n") + "\n";
const inlineFile = `inline.${hash(inlineStyles)}.css`;
writeFileSync(`${DIST}_astro/${inlineFile}`, inlineStyles);
for (const [name, html] of texts)
  writeFileSync(DIST + name, html.replace(INLINE, `${FILES}${inlineFile}`));
writeFileSync(`${DIST}openapi.json`, `${JSON.stringify(documentWithSamples())}\n`);

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
  for (const name of readdirSync(DIST, { recursive: true }).map(String)) {
    if (!name.endsWith(".md")) continue;
    const prose = readFileSync(DIST + name, "utf8").replace(/^( *)(`{3,})[^]*?^\1\2$/gm, "");
    for (const [, target = "", , fragment] of prose.matchAll(
      /\]\((\/docs[^)#\s]*)(#([^)\s]*))?\)/g,
    )) {
      const known = ids.get(target);
      if (
        known === undefined
          ? !existsSync(DIST + target.slice("/docs/".length))
          : fragment && !known.has(fragment)
      )
        complaints.add(`${name}: ${target}${fragment ? `#${fragment}` : ""} leads nowhere`);
    }
  }
  for (const [path, html] of texts) {
    for (const [, names = ""] of html.matchAll(/\saria-(?:controls|labelledby)="([^"]*)"/g)) {
      for (const id of names.split(" "))
        if (!ids.get(path)?.has(id)) complaints.add(`${path}: there is no element ${id}`);
    }
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
