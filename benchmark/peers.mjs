// @ts-check
//! Other gateways, as published by their makers, in front of the same simulated provider. They are installed below
//! .tools/ if they are missing, which is the only part of the benchmark that needs package registries. Their settings
//! are not tuned.

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

/** The running peers. */
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
    const args = ["--config", `${folder}/config.yaml`, "--host", "127.0.0.1", "--port", `${port}`];
    await this.add("litellm", server, args, port, { authorization: `Bearer ${LITELLM_KEY}` });
  }

  /**
   * @param {string} name
   * @param {string} program
   * @param {string[]} args
   * @param {number} port
   * @param {Record<string, string>} headers
   */
  async add(name, program, args, port, headers) {
    const child = tie(
      spawn(program, args, {
        // Their output is discarded, as that of the Workers is.
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
    await waitUntilReady(target, child);
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
 * @param {string[]} args
 */
function install(program, args) {
  execFileSync(program, args, { stdio: ["ignore", "ignore", "inherit"] });
}

/**
 * Waits until a peer responds.
 *
 * @param {Target} target
 * @param {import("node:child_process").ChildProcess} child
 */
async function waitUntilReady(target, child) {
  const deadline = performance.now() + PATIENCE_MS;
  let last = "nothing";
  while (performance.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`${target.name} ended with ${child.exitCode}`);
    try {
      const response = await fetch(target.url, {
        method: "POST",
        headers: { "content-type": "application/json", ...target.headers },
        body: JSON.stringify(LOADS.whole.body),
      });
      last = `${response.status}: ${await response.text()}`;
      if (response.status === 200) return;
    } catch (error) {
      last = String(error);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`${target.name} did not respond in time; last: ${last}`);
}
