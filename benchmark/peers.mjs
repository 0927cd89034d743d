// @ts-check
//! Other gateways, as their makers publish them, in front of the same simulated provider. Installed below .tools/ where they
//! are not there yet: the one thing of the benchmark that needs package registries. Nothing of their settings is tuned.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { freePort, root } from "../tests/e2e/harness.mjs";
import { LOADS } from "./loads.mjs";
import { tie } from "./process.mjs";
import { MODEL } from "./targets.mjs";

/** @typedef {import("./targets.mjs").Target} Target */

const PORTKEY = "1.15.2";
const LITELLM = "1.106.2";
const LITELLM_KEY = "sk-litellm";
const FOLDER = `${root}.tools/peers`;
const PATIENCE_MS = 120_000;

/** What runs of them. */
export class Peers {
  /**
   * @param {Target[]} targets
   * @param {import("node:child_process").ChildProcess[]} processes
   */
  constructor(targets, processes) {
    this.targets = targets;
    this.processes = processes;
  }

  /** @param {string} upstream its address */
  static async start(upstream) {
    const peers = new Peers([], []);
    try {
      await peers.portkey(upstream);
      await peers.litellm(upstream);
    } catch (error) {
      await peers.stop();
      throw error;
    }
    return peers;
  }

  /** @param {string} upstream */
  async portkey(upstream) {
    const folder = `${FOLDER}/portkey-${PORTKEY}`;
    const server = `${folder}/node_modules/@portkey-ai/gateway/build/start-server.js`;
    if (!existsSync(server)) {
      mkdirSync(folder, { recursive: true });
      install("npm", [
        ...["install", "--prefix", folder, "--no-audit", "--no-fund", "--loglevel=error"],
        ...["--no-save", `@portkey-ai/gateway@${PORTKEY}`],
      ]);
    }
    const port = await freePort();
    await this.add("portkey", process.execPath, [server, "--headless", `--port=${port}`], port, {
      "x-portkey-provider": "openai",
      "x-portkey-custom-host": `${upstream}/v1`,
      authorization: "Bearer sk-provider",
    });
  }

  /** @param {string} upstream */
  async litellm(upstream) {
    const folder = `${FOLDER}/litellm-${LITELLM}`;
    const server = `${folder}/bin/litellm`;
    if (!existsSync(server)) {
      mkdirSync(FOLDER, { recursive: true });
      install("python3", ["-m", "venv", folder]);
      install(`${folder}/bin/pip`, ["install", "--quiet", `litellm[proxy]==${LITELLM}`]);
    }
    const config = {
      model_list: [
        {
          model_name: MODEL,
          litellm_params: {
            model: "openai/sim-small",
            api_base: `${upstream}/v1`,
            api_key: "sk-provider",
          },
        },
      ],
      general_settings: { master_key: LITELLM_KEY },
    };
    // JSON is YAML.
    writeFileSync(`${folder}/config.yaml`, JSON.stringify(config));
    const port = await freePort();
    const words = ["--config", `${folder}/config.yaml`, "--host", "127.0.0.1", "--port", `${port}`];
    await this.add("litellm", server, words, port, { authorization: `Bearer ${LITELLM_KEY}` });
  }

  /**
   * @param {string} name
   * @param {string} program
   * @param {string[]} words
   * @param {number} port
   * @param {Record<string, string>} headers
   */
  async add(name, program, words, port, headers) {
    const child = tie(
      spawn(program, words, {
        // Their lines are thrown away, as those of the Workers are.
        stdio: "ignore",
        env: { ...process.env, LITELLM_LOCAL_MODEL_COST_MAP: "True", NODE_ENV: "production" },
      }),
    );
    this.processes.push(child);
    const target = {
      name,
      url: `http://127.0.0.1:${port}/v1/chat/completions`,
      headers,
      pid: child.pid,
    };
    await answers(target, child);
    this.targets.push(target);
  }

  async stop() {
    for (const child of this.processes) {
      if (child.exitCode !== null) continue;
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    }
  }
}

/**
 * @param {string} program
 * @param {string[]} words
 */
function install(program, words) {
  execFileSync(program, words, { stdio: ["ignore", "ignore", "inherit"] });
}

/**
 * Waits until a peer answers.
 *
 * @param {Target} target
 * @param {import("node:child_process").ChildProcess} child
 */
async function answers(target, child) {
  const deadline = performance.now() + PATIENCE_MS;
  let last = "nothing";
  while (performance.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`${target.name} ended with ${child.exitCode}`);
    try {
      const answer = await fetch(target.url, {
        method: "POST",
        headers: { "content-type": "application/json", ...target.headers },
        body: JSON.stringify(LOADS.whole.body),
      });
      last = `${answer.status}: ${await answer.text()}`;
      if (answer.status === 200) return;
    } catch (error) {
      last = String(error);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`${target.name} did not answer in time; last: ${last}`);
}
