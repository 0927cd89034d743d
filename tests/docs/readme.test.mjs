// @ts-check
//! The README's figure is that of the last benchmark. `UPDATE_README=1` before this test writes it anew.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { includes } from "../../site/scripts/includes.mjs";

const path = new URL("../../README.md", import.meta.url);

test("README.md tells what the last benchmark found", () => {
  const readme = readFileSync(path, "utf8");
  const told = includes()["performance-ratio"]?.markdown ?? "";
  const [begin, end] = ["<!-- ratio: begin -->\n", "<!-- ratio: end -->"];
  const [from, to] = [readme.indexOf(begin) + begin.length, readme.indexOf(end)];
  const wanted = `${told}\n`;
  if (process.env["UPDATE_README"] === "1") {
    writeFileSync(path, readme.slice(0, from) + wanted + readme.slice(to));
    return;
  }
  assert.equal(
    readme.slice(from, to),
    wanted,
    "UPDATE_README=1 node --test tests/docs/readme.test.mjs",
  );
});
