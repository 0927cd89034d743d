// @ts-check
//! Codex as a client: `codex exec`, in an empty home, with nothing but a model provider of its configuration.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("node_modules/.bin/codex", import.meta.url));

/** True if it is installed. */
export const isInstalled = existsSync(program);

/**
 * @typedef {object} Run
 * @property {number | null} status exit status; null: it was ended after the time
 * @property {string} output
 * @property {any[]} events the objects that `--json` prints
 * @property {string} message the last message of the model
 * @property {string} folder the folder in which it ran, which exists until `clean` is called
 * @property {() => Promise<void>} clean
 * @property {number} ms
 */

/**
 * Runs one prompt to its end.
 *
 * @param {object} ask
 * @param {string} ask.baseUrl without `/v1`
 * @param {string} ask.key
 * @param {string} ask.model
 * @param {string} ask.prompt
 * @param {boolean} [ask.builtIn] uses the built-in provider of OpenAI, which tries a WebSocket first
 * @param {string} [ask.settings] further lines of the configuration
 * @param {number} [ask.timeout] in milliseconds
 * @returns {Promise<Run>}
 */
export async function codex({
  baseUrl,
  key,
  model,
  prompt,
  builtIn,
  settings = "",
  timeout = 40_000,
}) {
  const home = await mkdtemp(join(tmpdir(), "codex-home-"));
  const folder = join(home, "work");
  const began = Date.now();
  await mkdir(folder);
  const provider = `
[model_providers.gatehouse]
name = "Gatehouse"
base_url = "${baseUrl}/v1"
env_key = "GATEHOUSE_API_KEY"
wire_api = "responses"
`;
  await writeFile(
    join(home, "config.toml"),
    `model = "${model}"
model_provider = "${builtIn ? "openai" : "gatehouse"}"
${builtIn ? `openai_base_url = "${baseUrl}/v1"` : ""}
web_search = "disabled"
check_for_update_on_startup = false
${settings}
[analytics]
enabled = false
${builtIn ? "" : provider}`,
  );
  const child = spawn(
    program,
    [
      ...["exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"],
      ...["--cd", folder, prompt],
    ],
    {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        PATH: process.env["PATH"],
        HOME: home,
        CODEX_HOME: home,
        GATEHOUSE_API_KEY: key,
        ...(builtIn && { CODEX_API_KEY: key }),
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
  const events = output
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
  const messages = events.filter(
    ({ type, item }) => type === "item.completed" && item.type === "agent_message",
  );
  return {
    status,
    output: output + errors,
    events,
    message: messages.at(-1)?.item.text ?? "",
    folder,
    clean: () => rm(home, { recursive: true, force: true, maxRetries: 3 }),
    ms: Date.now() - began,
  };
}
