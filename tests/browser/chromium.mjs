// @ts-check
//! The browser of the tests: CHROMIUM, or /usr/bin/chromium.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import axe from "axe-core";
import { chromium } from "playwright-core";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** The reason why tests in a browser are skipped, or false. */
export const skip = existsSync(executablePath)
  ? false
  : `there is no Chromium at ${executablePath}: install it (apt-get install chromium), or name another in CHROMIUM`;

/** Starts the browser, without background requests of its own. */
export function launch() {
  return chromium.launch({
    executablePath,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/**
 * The violations that axe finds on a page.
 *
 * @param {import("playwright-core").Page} page
 * @param {{ rules?: "all" | "colours" }} [options] `colours`: only the contrast of texts
 */
export async function violations(page, { rules = "all" } = {}) {
  // Not through a script element, which the policies of the pages forbid.
  if (!(await page.evaluate("'axe' in window"))) await page.evaluate(axe.source);
  // What axe need not describe: it halves the time.
  const runOnly = rules === "colours" ? 'runOnly: ["color-contrast"]' : "";
  const results = /** @type {import("axe-core").AxeResults} */ (
    await page.evaluate(`axe.run({ resultTypes: ["violations"], ${runOnly} })`)
  );
  assert.ok(results.passes.length > (rules === "colours" ? 0 : 8));
  return results.violations.flatMap(({ id, help, nodes }) =>
    nodes.map((node) => `${id}: ${help}: ${node.target.join(" ")}`),
  );
}
