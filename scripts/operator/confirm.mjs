// @ts-check
// The question before a change that loses something: asked at a terminal, and answered by --yes.

import { createInterface } from "node:readline/promises";
import { Failure } from "../lib/terminal.mjs";
import { safeText } from "../lib/safe-text.mjs";

/**
 * Asks at a terminal, unless `--yes` is given. A script is not asked.
 *
 * @param {{ yes?: boolean, keyStdin?: boolean }} options
 * @param {string} question
 */
export async function confirm({ yes = false, keyStdin = false }, question) {
  if (yes || keyStdin || !process.stdin.isTTY) return;
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await lines.question(`${safeText(question)} [y/N] `);
  lines.close();
  if (!/^y(es)?$/i.test(answer.trim())) throw new Failure("Nothing was changed");
}
