// @ts-check
//! Blocks that Markdown itself lacks: tabs, steps and cards. Their source stays readable as Markdown.
//!
//! ```text
//! :::tabs language          :::steps                 :::cards
//! === curl                  1. Install …             - [Quickstart](/docs/start): a first call
//! …                         2. Deploy …              - …
//! === Python                :::                      :::
//! …
//! :::
//! ```
//!
//! A block around another one begins and ends with more colons (`::::tabs`). Groups of tabs with the same word change together, and the browser remembers the choice (public/tabs.js). Without
//! JavaScript all tabs are shown, each under its name.

import { escaped } from "./html.mjs";

/** The number of groups so far, which makes their ids unique. */
let groups = 0;

/**
 * A group of tabs as Markdown with HTML.
 *
 * @param {string} choice the word of the groups that change together
 * @param {{ name: string, content: string }[]} all
 */
export function tabs(choice, all) {
  groups += 1;
  const id = (/** @type {number} */ at) => `tab-${groups}-${at}`;
  const buttons = all.map(
    ({ name }, at) =>
      `<button type="button" role="tab" id="${id(at)}" aria-controls="${id(at)}-panel" aria-selected="${at === 0}" tabindex="${at === 0 ? 0 : -1}">${escaped(name)}</button>`,
  );
  const panels = all.map(
    ({ name, content }, at) =>
      `<div class="tab${at === 0 ? " on" : ""}" role="tabpanel" id="${id(at)}-panel" aria-labelledby="${id(at)}">\n<p class="tab-name">${escaped(name)}</p>\n\n${content.trim()}\n\n</div>`,
  );
  return `<div class="tabs" data-choice="${escaped(choice)}">\n<div class="tab-list" role="tablist" aria-label="${escaped(choice)}">${buttons.join("")}</div>\n${panels.join("\n")}\n<tab-switch></tab-switch></div>`;
}

/**
 * The text of a page with its blocks as HTML.
 *
 * @param {string} text
 */
export const blocksAsHtml = (text) =>
  replaced(text, {
    tabs: (choice, content) => tabs(choice || "tab", split(content)),
    steps: (_, content) => `<div class="steps">\n\n${content}\n\n</div>`,
    cards: (_, content) =>
      `<div class="cards">\n\n${content.replace(/^(- \[[^\]]*\]\([^)]*\)): /gm, "$1 ")}\n\n</div>`,
  });

/**
 * The text of a page with its blocks as Markdown.
 *
 * @param {string} text
 */
export const blocksAsMarkdown = (text) =>
  replaced(text, {
    tabs: (_, content) =>
      split(content)
        .map(({ name, content: inner }) => `**${name}**\n\n${inner}`)
        .join("\n\n"),
    steps: (_, content) => content,
    cards: (_, content) => content,
  });

/**
 * @param {string} text
 * @param {Record<string, (word: string, content: string) => string>} kinds
 */
function replaced(text, kinds) {
  return text.replace(
    /^(:{3,})(tabs|steps|cards)(?: (\S+))?\n([^]*?)\n\1$/gm,
    (_, __, kind, word = "", content) => kinds[kind]?.(word, content.trim()) ?? "",
  );
}

/** @param {string} content */
function split(content) {
  const parts = content.split(/^=== (.+)$/m).slice(1);
  if (parts.length === 0) throw new Error(":::tabs has no line `=== NAME`");
  return Array.from({ length: parts.length / 2 }, (_, at) => ({
    name: (parts[2 * at] ?? "").trim(),
    content: (parts[2 * at + 1] ?? "").trim(),
  }));
}
