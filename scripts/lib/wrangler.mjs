// @ts-check
// Runs wrangler, in the folder from which the Worker is deployed. Its arguments are visible to every user of the machine, so that a secret
// is only ever its standard input.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { COMMAND, DEPLOYED, IS_PACKAGE } from "./installation.mjs";
import { explain, Failure } from "./terminal.mjs";

/** @returns {[string, ...string[]]} The program and its first arguments. */
function command() {
  const other = process.env.GATEWAY_WRANGLER;
  if (other) return [resolve(other)];
  if (!IS_PACKAGE) return ["npx", "wrangler"];
  const place = createRequire(import.meta.url).resolve("wrangler/package.json");
  return [process.execPath, join(dirname(place), "bin/wrangler.js")];
}

/**
 * @typedef {object} Run
 * @property {string} [input] - The standard input; without it the operator's terminal.
 * @property {"show" | "keep"} [output] - Its place: the terminal, or the result.
 * @property {string} [cwd]
 * @property {Record<string, string>} [env] - Variables beside those of this process.
 */

/**
 * Runs a command of wrangler, without a shell.
 *
 * @param {string[]} words
 * @param {Run} [run]
 * @returns {Promise<{ fault: string | null, output: string, problems: string }>} The two outputs, if they are kept. The
 *   fault completes a sentence that begins with "wrangler".
 */
export function wrangler(words, { input, output = "show", cwd = DEPLOYED, env = {} } = {}) {
  if (!existsSync(cwd)) {
    throw new Failure(`Nothing has been deployed from this folder: run "${COMMAND} deploy" first`);
  }
  const [program, ...before] = command();
  return new Promise((done, fail) => {
    const child = spawn(program, [...before, ...words], {
      cwd,
      env: { ...process.env, WRANGLER_SEND_METRICS: "false", ...env },
      stdio: [
        input === undefined ? "inherit" : "pipe",
        output === "keep" ? "pipe" : "inherit",
        output === "keep" ? "pipe" : "inherit",
      ],
    });
    const kept = { output: "", problems: "" };
    child.stdout?.setEncoding("utf8").on("data", (text) => (kept.output += text));
    child.stderr?.setEncoding("utf8").on("data", (text) => (kept.problems += text));
    child.on("error", (error) => fail(new Failure(`Cannot run ${program}: ${explain(error)}`)));
    // A program that fails early closes its input; its status is then more informative than the broken pipe.
    child.stdin?.on("error", () => {});
    child.on("close", (status, signal) => {
      const fault = signal
        ? `was ended by ${signal}`
        : status !== 0
          ? `failed with status ${status}`
          : child.stdin && !child.stdin.writableFinished
            ? "did not read its input"
            : null;
      done({ fault, ...kept });
    });
    child.stdin?.end(input);
  });
}
