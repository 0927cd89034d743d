// @ts-check
//! The clients from PyPI, each version of the SDK in an environment of its own, which `scripts/setup --tests` makes.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { MAX_TURNS, SHAPE, TOOLS, VERSIONS } from "./conversation.mjs";

/** @typedef {import("./conversation.mjs").Client} Client */

const root = fileURLToPath(new URL("../../", import.meta.url));

/** The programs that run, to be ended by `stop`. @type {import("node:child_process").ChildProcess[]} */
const running = [];

/**
 * A function that sends a request to the program of one environment and returns its response. The program has all clients of
 * its environment, and answers one request after the other: it takes seconds to load.
 *
 * @param {number} major
 */
function environment(major) {
  const python = `${root}.tools/clients-python-${major}/bin/python`;
  /** @type {PromiseWithResolvers<string>[]} */
  const waiting = [];
  /** @type {import("node:child_process").ChildProcess | undefined} */
  let child;
  /** @param {object} request */
  const send = async (request) => {
    if (child === undefined) {
      const started = spawn(python, ["-u", `${root}tests/clients/client.py`], {
        stdio: ["pipe", "pipe", "inherit"],
      });
      createInterface({ input: started.stdout }).on("line", (line) =>
        waiting.shift()?.resolve(line),
      );
      started.on("exit", () => {
        for (const { reject } of waiting) reject(new Error("the program has ended"));
      });
      running.push(started);
      child = started;
    }
    /** @type {PromiseWithResolvers<string>} */
    const line = Promise.withResolvers();
    waiting.push(line);
    child.stdin?.write(`${JSON.stringify(request)}\n`);
    const { value, failure } = JSON.parse(await line.promise);
    if (failure !== undefined) throw new Error(failure.message);
    return value;
  };
  return { exists: existsSync(python), send };
}

const environments = { 1: environment(1), 2: environment(2) };

const common = { toolList: TOOLS, maxTurns: MAX_TURNS, shape: SHAPE };
/** The clients of Anthropic's Messages. */
const MESSAGES = ["official", "langchain"];

/**
 * @param {string} name
 * @param {1 | 2} major the version of Anthropic's SDK in its environment
 * @param {string} client
 * @returns {Client[]} none if its environment is not there
 */
function python(name, major, client) {
  const { exists, send } = environments[major];
  if (!exists) return [];
  /** @type {Client} */
  const described = {
    name,
    converse: (ask) => send({ ...common, ...ask, client, what: "converse" }),
  };
  if (MESSAGES.includes(client)) described.version = VERSIONS[major === 1 ? 0 : 1];
  if (client === "responses") {
    described.models = (ask) => send({ ...ask, client, what: "models" });
  }
  if (client === "official") {
    described.count = (ask) => send({ ...ask, client, what: "count" });
    described.models = (ask) => send({ ...ask, client, what: "models" });
  }
  return [described];
}

/** The clients of Anthropic's Messages. @type {Client[]} */
export const clients = [
  ...python("Python SDK 1", 1, "official"),
  ...python("Python SDK 2", 2, "official"),
  ...python("LangChain", 2, "langchain"),
];

/** The clients of OpenAI's Responses. @type {Client[]} */
export const responsesClients = [
  ...python("Python SDK", 2, "responses"),
  ...python("asynchronous Python SDK", 2, "responses_async"),
  ...python("Python Agents", 2, "agents"),
  ...python("LangChain", 2, "langchain_openai"),
];

/** Ends the programs. */
export function stop() {
  for (const child of running) child.kill();
}
