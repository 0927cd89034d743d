// @ts-check
//! The README shows the endpoints, the costs, the figure of the last benchmark and the picture of the last simulation.
//! With `UPDATE_README=1` this test rewrites them.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { routingPicture } from "../../site/scripts/charts.mjs";
import { includes } from "../../site/scripts/includes.mjs";

const path = new URL("../../README.md", import.meta.url);
const isUpdate = process.env["UPDATE_README"] === "1";
/** The markers, and the names of the parts in `site/scripts/includes.mjs`. */
const PARTS = [
  ["providers", "provider-count"],
  ["endpoints", "endpoints"],
  ["ratio", "performance-ratio"],
  ["costs", "cost-sentence"],
];
const COMMAND = "UPDATE_README=1 node --test tests/docs/readme.test.mjs";

test("README: generated parts are those of the tables and of the last measurements", () => {
  let readme = readFileSync(path, "utf8");
  const made = includes();
  for (const [marker, name] of PARTS) {
    const [begin, end] = [`<!-- ${marker}: begin -->\n`, `<!-- ${marker}: end -->`];
    const [from, to] = [readme.indexOf(begin) + begin.length, readme.indexOf(end)];
    assert.ok(from >= begin.length && to >= from, `README.md has no markers for ${marker}`);
    const wanted = `${made[name]?.markdown}\n`;
    if (isUpdate) readme = readme.slice(0, from) + wanted + readme.slice(to);
    else assert.equal(readme.slice(from, to), wanted, COMMAND);
  }
  if (isUpdate) writeFileSync(path, readme);
});

test("README: the picture is drawn from the last simulated day", () => {
  const data = new URL("../../site/data/routing.json", import.meta.url);
  const picture = new URL("../../docs/routing.svg", import.meta.url);
  const wanted = routingPicture(JSON.parse(readFileSync(data, "utf8")));
  if (isUpdate) {
    writeFileSync(picture, wanted);
    return;
  }
  assert.equal(readFileSync(picture, "utf8"), wanted, COMMAND);
});
