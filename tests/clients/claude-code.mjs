// @ts-check
//! Claude Code as a client: `claude -p`, in an empty home, with nothing but the address and the key of the server.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("node_modules/.bin/claude", import.meta.url));

/** True if it is installed. */
export const isInstalled = existsSync(program);

/**
 * @typedef {object} Run
 * @property {number | null} status exit status; null: it was ended after the time
 * @property {string} output
 * @property {any} result the object that `--output-format json` prints, if it did
 * @property {number} ms
 */

/**
 * Runs one prompt to its end.
 *
 * @param {object} ask
 * @param {string} ask.baseUrl
 * @param {string} ask.key
 * @param {boolean} [ask.bearer] sends the key as `Authorization: Bearer`, not as `x-api-key`
 * @param {string} ask.model
 * @param {string} ask.prompt
 * @param {Record<string, string>} [ask.env]
 * @param {number} [ask.timeout] in milliseconds
 * @returns {Promise<Run>}
 */
export async function claude({ baseUrl, key, bearer, model, prompt, env = {}, timeout = 40_000 }) {
  const home = await mkdtemp(join(tmpdir(), "claude-home-"));
  const began = Date.now();
  try {
    const child = spawn(
      program,
      ["-p", prompt, "--output-format", "json", "--model", model, "--allowedTools", "Bash,Read"],
      {
        cwd: home,
        stdio: ["ignore", "pipe", "pipe"],
        env: {
          PATH: process.env["PATH"],
          HOME: home,
          CLAUDE_CONFIG_DIR: join(home, ".claude"),
          ANTHROPIC_BASE_URL: baseUrl,
          [bearer ? "ANTHROPIC_AUTH_TOKEN" : "ANTHROPIC_API_KEY"]: key,
          CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
          CLAUDE_CODE_DISABLE_TERMINAL_TITLE: "1",
          DISABLE_AUTOUPDATER: "1",
          DISABLE_ERROR_REPORTING: "1",
          DISABLE_TELEMETRY: "1",
          ...env,
        },
      },
    );
    let [output, errors] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (data) => (output += data));
    child.stderr.setEncoding("utf8").on("data", (data) => (errors += data));
    const timer = setTimeout(() => child.kill("SIGKILL"), timeout);
    /** @type {number | null} */
    const status = await new Promise((resolve) => child.on("close", resolve));
    clearTimeout(timer);
    let result;
    try {
      result = JSON.parse(output);
    } catch {
      // It printed a text instead.
    }
    return { status, output: output + errors, result, ms: Date.now() - began };
  } finally {
    await rm(home, { recursive: true, force: true, maxRetries: 3 });
  }
}
