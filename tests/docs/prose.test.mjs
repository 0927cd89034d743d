// @ts-check
//! The prose that users read: no phrase of a list that GLOSSARY.md's style forbids, each with what to write instead. It reads
//! the pages, the maintainers' documents, the descriptions of openapi.json, the table of errors, and the messages in the code.
//! Code in backquotes and fenced blocks is not prose. It does not judge grammar.

import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { test } from "node:test";

const root = new URL("../../", import.meta.url).pathname;

/** @type {[phrase: RegExp, instead: string][]} */
const FORBIDDEN = [
  [
    /\b(?:it|which|that|gateway|`{2}|page|message|header|route|endpoint) tells\b/i,
    "returns, shows, reports",
  ],
  [/\b(?:is|are|was|were|be|been) told\b/i, "receives, is notified"],
  [/\bmend(?:s|ed|ing)?\b/i, "fix"],
  [/\bgoes? by\b/i, "uses, depends on"],
  [/\bof late\b(?! \w+ \d{4})/i, "recently"],
  [/\banew\b/i, "again, from the start"],
  [/\breckons?\b/i, "computes"],
  [/\bwhoever\b/i, "anybody who, the holder of"],
  [/\bwhosoever\b|\bwhatsoever\b/i, "anybody, any"],
  [/\bbesides\b/i, "also, apart from"],
  [/\bpass(?:es|ed) over (?!borrowed)/i, "skip"],
  [/\boutrun\b/i, "lost the hedge"],
  [/\bresting\b/i, "cooling down, in cooldown"],
  [/\bleft alone\b|\bput aside\b/i, "in cooldown, reserved"],
  [/\bat (?:your|its|their) word\b/i, "(leave it out)"],
  [/\bleast of all\b/i, "including"],
  [/\bthe draw (?:decides|chooses)\b/i, "ties are broken at random"],
  [/\b(?:provider|model|upstream|lane|nobody|everybody)s? (?:is|are) asked\b/i, "called"],
  [/\bkeys? of the ring\b/i, "ring key"],
  [/\bis taken to be\b/i, "counts as, is assumed to be"],
  [/\bis not what it can be\b/i, "is not a valid value"],
  [/\bbegins? again with each\b/i, "resets at"],
  [/\bhitherto\b|\bthereof\b|\bwherefore\b|\blest\b|\bnought\b/i, "(plain words)"],
];

/** @typedef {{ where: string, text: string }} Prose */

/** The Markdown files, without their code. @returns {Prose[]} */
function documents() {
  const files = globSync(
    [
      "*.md",
      "site/pages/**/*.md",
      "docs/**/*.md",
      "benchmark/**/*.md",
      "tests/upstream/*.md",
      "core/data/*.md",
    ],
    { cwd: root, exclude: (name) => name === "node_modules" },
  );
  return files
    .filter((file) => file !== "GLOSSARY.md") // it lists such phrases
    .map((file) => ({
      where: file,
      text: readFileSync(root + file, "utf8")
        .replace(/^( *)(`{3,})[^]*?^\1\2$/gm, (block) => block.replace(/[^\n]+/g, ""))
        .replace(/`[^`\n]*`/g, "``"),
    }));
}

/** The descriptions and summaries of openapi.json. @returns {Prose[]} */
function descriptions() {
  /** @type {Prose[]} */
  const found = [];
  /** @param {any} value @param {string} where */
  const visit = (value, where) => {
    for (const [name, inner] of Object.entries(value)) {
      if (name === "example" || name === "value") continue; // data
      if (typeof inner === "string" && /^(description|summary|title)$/.test(name))
        found.push({ where: `${where}/${name}`, text: inner.replace(/`[^`]*`/g, "``") });
      else if (typeof inner === "object" && inner !== null) visit(inner, `${where}/${name}`);
    }
  };
  visit(JSON.parse(readFileSync(`${root}openapi.json`, "utf8")), "openapi.json#");
  return found;
}

/** The table of errors and its advice. @returns {Prose[]} */
const errors = () =>
  ["errors", "advice"].map((name) => ({
    where: `site/data/${name}.json`,
    text: readFileSync(`${root}site/data/${name}.json`, "utf8").replace(/`[^`\n]*`/g, "``"),
  }));

/** The texts in the code outside of tests and comments: messages of errors, pages, notifications. @returns {Prose[]} */
function messages() {
  return globSync("{core/src,src}/**/*.rs", { cwd: root }).map((file) => {
    const [code = ""] = readFileSync(root + file, "utf8").split(/^#\[cfg\(test\)\]/m);
    return {
      where: file,
      // Lines stay lines, so that the place is right.
      text: code
        .split("\n")
        .map((line) =>
          /^\s*\/\//.test(line)
            ? ""
            : [...line.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, text]) => text).join(" "),
        )
        .join("\n"),
    };
  });
}

for (const [name, prose] of /** @type {const} */ ([
  ["pages and documents", documents],
  ["openapi.json", descriptions],
  ["errors", errors],
  ["messages in the code", messages],
])) {
  test(`prose: ${name}: no forbidden phrase`, () => {
    const all = prose();
    assert.ok(all.length > 1);
    const found = all.flatMap(({ where, text }) =>
      FORBIDDEN.flatMap(([phrase, instead]) =>
        [...text.matchAll(new RegExp(phrase, "gi"))].map((match) => {
          const line = text.slice(0, match.index).split("\n").length;
          return `${where}:${line}: "${match[0]}": ${instead}`;
        }),
      ),
    );
    assert.deepEqual(found, []);
  });
}

test("prose: the list finds what it forbids", () => {
  for (const text of [
    "Mend the JSON at the place",
    "how long answers took of late",
    "it begins anew",
    "A lane that is resting",
    "the header tells which",
    "a key of the ring",
  ])
    assert.ok(
      FORBIDDEN.some(([phrase]) => phrase.test(text)),
      text,
    );
  assert.ok(!FORBIDDEN.some(([phrase]) => phrase.test("as of late November 2026")));
});
