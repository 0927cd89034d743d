// @ts-check
//! The README shows the figure of the last benchmark and the picture of the last simulation. With `UPDATE_README=1`
//! this test rewrites both.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { routingPicture } from "../../site/scripts/charts.mjs";
import { includes } from "../../site/scripts/includes.mjs";

const path = new URL("../../README.md", import.meta.url);
const isUpdate = process.env["UPDATE_README"] === "1";
const COMMAND = "UPDATE_README=1 node --test tests/docs/readme.test.mjs";

test("README: figures are those of the last benchmark", () => {
  const readme = readFileSync(path, "utf8");
  const figure = includes()["performance-ratio"]?.markdown ?? "";
  const [begin, end] = ["<!-- ratio: begin -->\n", "<!-- ratio: end -->"];
  const [from, to] = [readme.indexOf(begin) + begin.length, readme.indexOf(end)];
  const wanted = `${figure}\n`;
  if (isUpdate) {
    writeFileSync(path, readme.slice(0, from) + wanted + readme.slice(to));
    return;
  }
  assert.equal(readme.slice(from, to), wanted, COMMAND);
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
