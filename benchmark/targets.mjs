// @ts-check
//! The targets, each in a separate workerd process that Miniflare starts, with the same settings of the runtime: the
//! bare pass-through, the handwritten gateway, and Gatehouse as deployed, with its database, its objects and its log.
//! Sends them no requests except to issue keys.

import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { digest, mint } from "../scripts/lib/gateway-key.mjs";
import { OPERATOR_KEY, OPERATOR_LABEL, root, setting } from "../tests/e2e/harness.mjs";
import { migrate } from "../tests/e2e/isolates.mjs";
import { issue } from "../tests/e2e/ledgers.mjs";
import { children } from "./process.mjs";

// The package's types refer to packages whose types are not installed.
const miniflare = "miniflare";
const { Miniflare, convertV4MiniflareOptions } = await import(miniflare);

/** @typedef {import("../tests/e2e/harness.mjs").Gateway} Gateway */

/**
 * A server of chat completions.
 *
 * @typedef {object} Target
 * @property {string} name
 * @property {string} url of the endpoint
 * @property {Record<string, string>} headers with the caller’s key
 * @property {number | undefined} pid of the process that is measured
 */

/**
 * A Worker in the form that the runtime takes.
 *
 * @typedef {object} Worker
 * @property {string[]} modules the first of them is the main one; paths below the root
 * @property {Record<string, string>} bindings
 */

export const MODEL = "demo/sim-small";
/** The last key of the ring. */
export const KEY = mint(Buffer.alloc(31, 1)).key;
const PROVIDER_KEY = "sk-provider";
const OBJECTS = {
  RATE_LIMITER: "RateLimiter",
  NOTIFIER: "Notifier",
  PROVIDER_HEALTH: "ProviderHealth",
  KEY_LEDGER: "KeyLedger",
};

/**
 * A ring of the given size, as the value of the secret.
 *
 * @param {number} keys
 */
function ringOf(keys) {
  const others = Array.from({ length: keys - 1 }, (_, index) => {
    return `key-${index}:${randomBytes(32).toString("hex")}`;
  });
  return [...others, `caller:${digest(KEY)}`].join(",");
}

/** @param {string} upstream its address */
export const passThrough = (upstream) => ({
  modules: ["benchmark/workers/pass-through.mjs"],
  bindings: { UPSTREAM: upstream, UPSTREAM_KEY: PROVIDER_KEY },
});

/** @param {string} upstream its address */
export const passThroughWithWasm = (upstream) => {
  const { modules, bindings } = passThrough(upstream);
  const own = "benchmark/workers/pass-through-with-wasm.mjs";
  return { modules: [own, ...modules, "build/index_bg.wasm"], bindings };
};

/** @param {string} upstream its address */
export const byHand = (upstream) => ({
  modules: ["benchmark/workers/by-hand.mjs"],
  bindings: {
    KEY_HASHES: ringOf(1),
    PROVIDERS: JSON.stringify({
      demo: { base_url: `${upstream}/v1`, key: PROVIDER_KEY, models: ["sim-small"] },
    }),
  },
});

/**
 * @param {string} upstream its address
 * @param {number} [keys] of its ring
 */
export const gatehouse = (upstream, keys = 1) => ({
  modules: ["build/index.js", "build/index_bg.wasm"],
  bindings: {
    GATEWAY_API_KEY_HASHES: ringOf(keys),
    GATEWAY_ADMIN_KEY_HASHES: `${OPERATOR_LABEL}:${digest(OPERATOR_KEY)}`,
    DEMO_API_KEY: PROVIDER_KEY,
    GATEWAY_CONFIG: JSON.stringify({
      providers: { demo: { base_url: `${upstream}/v1`, models: ["sim-small"] } },
      models: { [MODEL]: { input_usd_per_mtok: 1, output_usd_per_mtok: 2 } },
      policies: {
        // Every limit is checked for every call, and none is reached.
        roomy: {
          limits: {
            requests_per_minute: 10_000_000,
            tokens_per_minute: 1_000_000_000,
            usd_per_day: 1_000_000,
            concurrent: 100_000,
          },
        },
      },
    }),
  },
});

/** A Worker that runs. */
export class Running {
  /**
   * @param {{ dispose(): Promise<void> }} runtime
   * @param {string} url
   * @param {number} pid
   */
  constructor(runtime, url, pid) {
    this.runtime = runtime;
    this.url = url;
    this.pid = pid;
  }

  /** @param {Worker} worker */
  static async start({ modules, bindings }) {
    const missing = modules.find((path) => !existsSync(root + path));
    if (missing !== undefined) throw new Error(`${missing} is missing: run ./scripts/build`);
    const isGatehouse = modules[0] === "build/index.js";
    const before = children("workerd");
    const runtime = new Miniflare(
      convertV4MiniflareOptions({
        // Reads and discards each line of the log, for every Worker, whether it writes lines or not.
        handleStructuredLogs: () => {},
        name: "worker",
        modulesRoot: root,
        modules: modules.map((path) => ({
          type: path.endsWith(".wasm") ? "CompiledWasm" : "ESModule",
          path: root + path,
        })),
        compatibilityDate: setting("compatibility_date")[0] ?? "",
        compatibilityFlags: setting("compatibility_flags"),
        bindings,
        ...(isGatehouse
          ? {
              d1Databases: ["GATEWAY_DB"],
              durableObjects: Object.fromEntries(
                Object.entries(OBJECTS).map(([name, className]) => [
                  name,
                  { className, useSQLite: true },
                ]),
              ),
            }
          : {}),
        // Without the simulator's own Worker in between.
        unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
      }),
    );
    await runtime.ready;
    if (isGatehouse) await migrate(await runtime.getD1Database("GATEWAY_DB"));
    const { origin } = await runtime.unsafeGetDirectURL("worker");
    const pids = children("workerd").filter((pid) => !before.includes(pid));
    if (pids.length !== 1)
      throw new Error(`Miniflare has started ${pids.length} runtimes, not one`);
    return new Running(runtime, origin, /** @type {number} */ (pids[0]));
  }

  /**
   * @param {string} name
   * @param {string} [key]
   * @returns {Target}
   */
  target(name, key = KEY) {
    return {
      name,
      url: `${this.url}/v1/chat/completions`,
      headers: { authorization: `Bearer ${key}` },
      pid: this.pid,
    };
  }

  /**
   * Issues a key, of a gateway.
   *
   * @param {string} name
   * @param {string[]} policies
   */
  async issue(name, policies) {
    const gateway = /** @type {Gateway} */ (/** @type {unknown} */ ({ url: this.url }));
    const { key } = await issue(gateway, name, { policies });
    return key;
  }

  stop() {
    return this.runtime.dispose();
  }
}
