// @ts-check
//! The guarantees of the documentation: each names tests, and these exist.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { GUARANTEES } from "../../site/data/guarantees.mjs";

const root = new URL("../../", import.meta.url);

test("threat model: every promise is a guarantee", () => {
  const page = readFileSync(new URL("site/pages/threat-model.md", root), "utf8");
  const promises = [...page.matchAll(/\[([^\]]+)\]\(\/docs\/guarantees#([^)]+)\)/g)];
  assert.ok(promises.length >= 10, "the page has promises");
  for (const [, name = "", anchor] of promises) {
    assert.ok(
      GUARANTEES.some(({ what }) => what === name),
      `no guarantee is named "${name}"`,
    );
    const slug = name
      .toLowerCase()
      .replace(/[^a-z0-9 -]/g, "")
      .replaceAll(" ", "-");
    assert.equal(anchor, slug, `the anchor of "${name}"`);
  }
});

test("guarantees: every guarantee names tests that exist", () => {
  for (const { what, tests } of GUARANTEES) {
    assert.ok(tests.length > 0, `${what}: no test is named`);
    for (const [file, name] of tests) {
      const source = readFileSync(new URL(file, root), "utf8");
      // Prettier puts a long name on a line of its own.
      const found = file.endsWith(".rs")
        ? source.includes(`fn ${name}(`)
        : ['"', "`"].some((quote) =>
            source.replace(/test\(\s+/g, "test(").includes(`test(${quote}${name}${quote}`),
          );
      assert.ok(found, `${what}: ${file} has no test "${name}"`);
    }
  }
});
