// @ts-check
//! What the documentation says of tests: that each guarantee is kept by tests which exist.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { GUARANTEES } from "../../site/data/guarantees.mjs";

const root = new URL("../../", import.meta.url);

test("every guarantee names tests, and each of them exists", () => {
  for (const { what, tests } of GUARANTEES) {
    assert.ok(tests.length > 0, `${what} is kept by nothing`);
    for (const [file, name] of tests) {
      const source = readFileSync(new URL(file, root), "utf8");
      const written = file.endsWith(".rs")
        ? [`fn ${name}(`]
        : [`test("${name}"`, `test(\`${name}\``, `\n  "${name}",`, `\n  \`${name}\`,`];
      assert.ok(
        written.some((one) => source.includes(one)),
        `${what}: ${file} has no test "${name}"`,
      );
    }
  }
});
