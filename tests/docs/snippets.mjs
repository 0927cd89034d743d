// @ts-check
//! The examples of the documentation: every fenced block of README.md and site/pages in a language that can run.
//!
//! Words after the language: `test=NAME`, the name under which snippets.test.mjs runs it; `client=NAME`, the tool with which
//! tests/manners runs it, with `file=PATH` if it is a file and not a command; `untested="why"`, with a reason; `output`, the
//! output of another block.

import { globSync, readFileSync } from "node:fs";
import { relative } from "node:path";
import { root } from "../e2e/harness.mjs";

/** Languages that only show something. */
const SHOWN = new Set(["http", "console", "text", "ini"]);

/**
 * @typedef {object} Snippet
 * @property {string} page
 * @property {number} line where it begins
 * @property {string} language
 * @property {string} test its name, or "" where snippets.test.mjs does not run it
 * @property {string} client the tool, or "" where tests/manners does not run it
 * @property {string} file the path of the file that it is, or ""
 * @property {string} why it is not run
 * @property {string} text
 */

/** @returns {Snippet[]} */
export function snippets() {
  return [`${root}README.md`, ...globSync(`${root}site/pages/**/*.md`).toSorted()].flatMap((path) =>
    inPage(path),
  );
}

/**
 * @param {string} path
 * @returns {Snippet[]}
 */
function inPage(path) {
  const source = readFileSync(path, "utf8");
  const page = relative(`${root}site/pages`, path);
  return [...source.matchAll(/^( *)```(\S+)(.*)\n([^]*?)^\1```$/gm)].flatMap((match) => {
    const [, indent = "", language = "", words = "", text = ""] = match;
    if (SHOWN.has(language) || /\boutput\b/.test(words)) return [];
    return [
      {
        page,
        line: source.slice(0, match.index).split("\n").length,
        language,
        test: /\btest=(\S+)/.exec(words)?.[1] ?? "",
        client: /\bclient=(\S+)/.exec(words)?.[1] ?? "",
        file: /\bfile=(\S+)/.exec(words)?.[1] ?? "",
        why: /\buntested="([^"]+)"/.exec(words)?.[1] ?? "",
        text: text.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
      },
    ];
  });
}
