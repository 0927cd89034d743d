// @ts-check
//! Links, anchors and paths in the repository's Markdown files, and the index of decisions. `site/scripts/finish.mjs`
//! checks the pages of `site/pages`, since it knows their addresses.

import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";

const root = new URL("../../", import.meta.url).pathname;
const SKIPPED = new Set(["node_modules", "target", "build", "dist", "site", ".git", ".tools"]);

/**
 * The Markdown files under a directory, relative to the root.
 *
 * @param {string} directory
 * @returns {string[]}
 */
function markdown(directory) {
  return readdirSync(join(root, directory), { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : markdown(path);
    return entry.name.endsWith(".md") ? [path] : [];
  });
}

const files = markdown("");
/** @param {string} path */
const read = (path) => readFileSync(join(root, path), "utf8");
/** @param {string} path */
const withoutCode = (path) => read(path).replace(/^```[^]*?^```$/gm, "");

/**
 * The anchors of a file's headings, as GitHub generates them.
 *
 * @param {string} path
 */
const anchors = (path) =>
  new Set(
    [...withoutCode(path).matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
      title
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );

test("Markdown files: every relative link leads to a file and to a heading in it", () => {
  for (const file of files) {
    for (const [, link = ""] of withoutCode(file).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link)) continue;
      const [path = "", anchor] = link.split("#");
      const target = path === "" ? file : normalize(join(dirname(file), path));
      assert.ok(existsSync(join(root, target)), `${file}: ${link} leads to no file`);
      if (anchor !== undefined) {
        assert.ok(anchors(target).has(anchor), `${file}: ${link} leads to no heading`);
      }
    }
  }
});

test("decisions: the index has the number, title and status of each", () => {
  const folder = "docs/decisions/";
  const index = read(`${folder}README.md`);
  const names = files.filter((file) => file.startsWith(folder) && !file.endsWith("README.md"));
  const rows = names.map((file) => {
    const [, number = "", title = ""] = /^# (\d+)\. (.+)$/m.exec(read(file)) ?? [];
    const [, status = ""] = /^Status: ([^:.]+(?:\.md\))?)/m.exec(read(file)) ?? [];
    const name = file.slice(folder.length);
    assert.equal(Number(name.slice(0, 4)), Number(number), file);
    return `| ${number} | [${title}](${name}) | ${status} |`;
  });
  assert.deepEqual(
    index
      .split("\n")
      .filter((line) => /^\| \d/.test(line))
      .sort(),
    rows.sort(),
  );
});

test("maintainers' documents: every path that they name exists", () => {
  const directories = readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && (entry.name === "site" || !SKIPPED.has(entry.name)))
    .map(({ name }) => name.replaceAll(".", "\\."));
  const path = new RegExp(`(?<![\\w./$-])(?:${directories.join("|")})/[\\w./-]*[\\w/]`, "g");
  const missing = files
    .filter((file) => file !== "CHANGELOG.md" && (!file.includes("/") || file.startsWith("docs/")))
    .flatMap((file) => [...read(file).matchAll(path)].map(([named]) => ({ file, named })))
    .filter(({ named }) => !named.includes("NNNN") && !existsSync(join(root, named)))
    .map(({ file, named }) => `${file}: ${named}`);
  assert.deepEqual(missing, []);
});
