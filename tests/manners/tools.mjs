// @ts-check
//! Command-line clients, run as their page of the documentation says: the files and commands of `site/pages/clients/NAME.md`
//! that are marked with `client=NAME`, in an empty home. scripts/client-manners installs the programs.
//!
//! Only these parts of a page are replaced: the gateway's address, the prompt, and the model if a scenario needs another one.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { snippets } from "../docs/snippets.mjs";
import { root } from "../e2e/harness.mjs";
import { Watch } from "./watch.mjs";

const BASE = "https://gatehouse.example";
const PROMPT = '"Say hello."';
/** The models of the pages. */
export const MODELS = ["openai/gpt-5-mini", "anthropic/claude-opus-4-8"];
/** Where the programs are, Node.js first. */
const FOLDERS = [
  `${root}node_modules/.bin`,
  `${root}.tools/clients-node/node_modules/.bin`,
  `${root}tests/clients/node_modules/.bin`,
  `${root}.tools/clients-aider/bin`,
  `${root}.tools/clients-llm/bin`,
];

/**
 * @typedef {object} Tool
 * @property {string} name that of its page
 * @property {string} program
 * @property {number} [repeats] how long it repeats a call that failed, showing the message, in milliseconds
 * @property {Record<string, string>} env settings that keep it from the network and from questions, and nothing else
 */

/** @type {Tool[]} */
export const TOOLS = [
  {
    name: "claude-code",
    program: "claude",
    env: {
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
      DISABLE_AUTOUPDATER: "1",
      DISABLE_ERROR_REPORTING: "1",
      DISABLE_TELEMETRY: "1",
    },
  },
  { name: "codex", program: "codex", env: {} },
  {
    name: "opencode",
    program: "opencode",
    env: {
      OPENCODE_DISABLE_AUTOUPDATE: "1",
      OPENCODE_DISABLE_MODELS_FETCH: "1",
      OPENCODE_DISABLE_LSP_DOWNLOAD: "1",
      // The call for a title quotes the prompt, and a script in it is then none.
      OPENCODE_CONFIG_CONTENT: JSON.stringify({ agent: { title: { disable: true } } }),
    },
  },
  { name: "continue", program: "cn", env: { CONTINUE_TELEMETRY_ENABLED: "0" } },
  { name: "cline", program: "cline", env: { CLINE_TELEMETRY_DISABLED: "1" } },
  { name: "qwen-code", program: "qwen", env: { QWEN_TELEMETRY_ENABLED: "false" } },
  { name: "pi", program: "pi", env: { PI_OFFLINE: "1", PI_SKIP_VERSION_CHECK: "1" } },
  {
    name: "aider",
    program: "aider",
    repeats: 70_000,
    env: {
      AIDER_ANALYTICS_DISABLE: "true",
      AIDER_CHECK_UPDATE: "false",
      AIDER_GIT: "false",
      AIDER_PRETTY: "false",
      AIDER_SHOW_MODEL_WARNINGS: "false",
      AIDER_SHOW_RELEASE_NOTES: "false",
      AIDER_YES_ALWAYS: "true",
    },
  },
  { name: "llm", program: "llm", env: {} },
];

/** @param {Tool} tool */
export const isInstalled = (tool) =>
  FOLDERS.some((folder) => existsSync(join(folder, tool.program)));

/**
 * @typedef {object} Ask
 * @property {string} url the gateway
 * @property {string} key
 * @property {string} prompt
 * @property {(model: string) => string} [rename] the model to call instead of the page's
 * @property {RegExp} shows the message that the tool should show
 * @property {number} timeout in milliseconds, after which it is ended
 */

/**
 * @typedef {object} Run
 * @property {number | null} status exit status; null: it was ended after the time
 * @property {string} output without the control sequences of terminals
 * @property {number | undefined} shown milliseconds from the first call to the message; undefined: it did not come
 * @property {number | undefined} ended milliseconds from the first call to the end of the program
 * @property {number} calls
 */

/**
 * Does what a tool's page says.
 *
 * @param {Tool} tool
 * @param {Ask} ask
 * @returns {Promise<Run>}
 */
export async function run(tool, { url, key, prompt, rename = (model) => model, shows, timeout }) {
  const home = await mkdtemp(join(tmpdir(), `${tool.name}-`));
  const work = join(home, "work");
  const watch = await Watch.before(url);
  /** @param {string} text */
  const filled = (text) =>
    MODELS.reduce((filled, model) => filled.replaceAll(model, rename(model)), text)
      .replaceAll(BASE, watch.url)
      .replaceAll(PROMPT, `'${prompt.replaceAll("'", "'\\''")}'`);
  try {
    await mkdir(work);
    const parts = snippets().filter(({ client }) => client === tool.name);
    const commands = [];
    for (const { file, language, text } of parts) {
      if (file === "") {
        if (language !== "sh") throw new Error(`${tool.name}: ${language} has no file=`);
        commands.push(filled(text));
        continue;
      }
      const path = file.startsWith("~/") ? join(home, file.slice(2)) : join(work, file);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, filled(text));
    }
    return await execute(tool, {
      home,
      work,
      lines: commands.join("\n"),
      key,
      shows,
      timeout,
      watch,
    });
  } finally {
    watch.stop();
    await rm(home, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

/**
 * @param {Tool} tool
 * @param {{ home: string, work: string, lines: string, key: string, shows: RegExp, timeout: number, watch: Watch }} how
 * @returns {Promise<Run>}
 */
async function execute(tool, { home, work, lines, key, shows, timeout, watch }) {
  const child = spawn("bash", ["--norc", "-euo", "pipefail", "-c", lines], {
    cwd: work,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      PATH: [...FOLDERS, process.env["PATH"]].join(":"),
      HOME: home,
      LANG: "C.UTF-8",
      CI: "1",
      NO_COLOR: "1",
      GATEHOUSE_API_KEY: key,
      ...tool.env,
    },
  });
  let output = "";
  /** @type {number | undefined} */ let at;
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      output += text;
      if (at === undefined && shows.test(plain(output))) at = Date.now();
    });
  }
  const group = -Number(child.pid);
  const timer = setTimeout(() => process.kill(group, "SIGKILL"), timeout);
  /** @type {number | null} */
  const status = await new Promise((resolve) => child.on("close", resolve));
  const end = Date.now();
  clearTimeout(timer);
  const [first] = watch.calls;
  /** @param {number | undefined} time */
  const since = (time) =>
    time === undefined || first === undefined ? undefined : Math.max(0, time - first);
  return {
    status,
    output: plain(output),
    shown: since(at),
    ended: since(end),
    calls: watch.calls.length,
  };
}

/**
 * The text without the control sequences of terminals, as one line: tools wrap long messages.
 *
 * @param {string} text
 */
const plain = (text) =>
  text
    // eslint-disable-next-line no-control-regex
    .replaceAll(/\u001b(\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(\u0007|\u001b\\)|[@-Z\\-_])/g, "")
    .replaceAll(/[\s│┃|]+/g, " ");
