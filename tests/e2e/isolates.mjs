// @ts-check
//! Many isolates at once: Miniflare (the simulator inside wrangler) runs the same build as several Workers that share one
//! database.

import { globSync, readFileSync } from "node:fs";
import { root, setting } from "./harness.mjs";

/** @typedef {import("./harness.mjs").Gateway} Gateway */

// Its types refer to packages whose types are not installed.
const miniflare = "miniflare";
const { Miniflare, convertV4MiniflareOptions } = await import(miniflare);

/**
 * @typedef {object} Statement
 * @property {(...values: string[]) => Statement} bind
 * @property {() => Promise<unknown>} run
 * @property {() => Promise<{ results: Record<string, any>[] }>} all
 */
/**
 * @typedef {object} Database D1
 * @property {(sql: string) => Statement} prepare
 * @property {(statements: Statement[]) => Promise<unknown>} batch
 */

/**
 * Creates the tables of `migrations/` in an empty database.
 *
 * @param {Database} database
 */
export async function migrate(database) {
  for (const path of globSync(`${root}migrations/*.sql`).toSorted()) {
    // A statement ends where the next one begins; triggers have semicolons inside.
    const statements = readFileSync(path, "utf8")
      .replace(/--.*$/gm, "")
      .split(/;\s*(?=CREATE|INSERT|ALTER|DROP|$)/)
      .filter((statement) => statement.trim() !== "");
    await database.batch(statements.map((statement) => database.prepare(statement)));
  }
}

/** The same Worker in several isolates that share one database and one set of objects. */
export class Isolates {
  /**
   * @param {{ dispose: () => Promise<void> }} simulator
   * @param {Gateway[]} gateways
   * @param {Database} database
   * @param {string[]} errors
   * @param {string[]} log
   */
  constructor(simulator, gateways, database, errors, log) {
    this.simulator = simulator;
    this.gateways = gateways;
    this.database = database;
    /** The errors that the isolates have logged. */
    this.errors = errors;
    /** The lines that the isolates have logged. */
    this.log = log;
  }

  /**
   * @param {number} count
   * @param {Record<string, string> | ((index: number) => Record<string, string>)} bindings of all, or of each
   * @param {Record<string, string>} [objects] the code of other objects than those of the build, by name:
   *   `export class ProviderHealth …`
   * @param {string[]} [inside] the modules around the gateway, from tests/e2e: the one that answers comes first
   */
  static async start(
    count,
    bindings,
    objects = {},
    inside = ["memory/entry.mjs", "memory/capture.mjs"],
  ) {
    // First, so that it observes the creation of the Wasm instance.
    const entry = [
      `export { default } from "./tests/e2e/${inside[0]}";`,
      ...["RateLimiter", "Notifier", "ProviderHealth", "KeyLedger"].map(
        (name) => objects[name] ?? `export { ${name} } from "./build/index.js";`,
      ),
    ].join("\n");
    /** @type {string[]} */
    const errors = [];
    /** @type {string[]} */
    const log = [];
    const simulator = new Miniflare(
      convertV4MiniflareOptions({
        handleStructuredLogs: (/** @type {{ level: string, message: string }} */ line) => {
          if (line.level === "error") errors.push(line.message);
          log.push(line.message);
        },
        workers: Array.from({ length: count }, (_, index) => ({
          name: `gateway-${index}`,
          modulesRoot: root,
          modules: [
            { type: "ESModule", path: `${root}isolate.mjs`, contents: entry },
            ...inside.map((name) => ({ type: "ESModule", path: `${root}tests/e2e/${name}` })),
            { type: "ESModule", path: `${root}build/index.js` },
            { type: "CompiledWasm", path: `${root}build/index_bg.wasm` },
          ],
          compatibilityDate: setting("compatibility_date")[0] ?? "",
          compatibilityFlags: setting("compatibility_flags"),
          bindings: typeof bindings === "function" ? bindings(index) : bindings,
          d1Databases: { GATEWAY_DB: "shared" },
          durableObjects: {
            RATE_LIMITER: { className: "RateLimiter", useSQLite: true },
            NOTIFIER: { className: "Notifier", useSQLite: true },
            // These are shared: they run in the first isolate.
            PROVIDER_HEALTH: {
              className: "ProviderHealth",
              useSQLite: true,
              ...(index > 0 ? { scriptName: "gateway-0" } : {}),
            },
            KEY_LEDGER: {
              className: "KeyLedger",
              useSQLite: true,
              ...(index > 0 ? { scriptName: "gateway-0" } : {}),
            },
          },
          unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
        })),
      }),
    );
    await simulator.ready;
    /** @type {Database} */
    const database = await simulator.getD1Database("GATEWAY_DB", "gateway-0");
    await migrate(database);
    const gateways = [];
    for (let index = 0; index < count; index += 1) {
      const { origin } = await simulator.unsafeGetDirectURL(`gateway-${index}`);
      // Only the address matters here: the process is the simulator's.
      gateways.push(/** @type {Gateway} */ (/** @type {unknown} */ ({ url: origin })));
    }
    return new Isolates(simulator, gateways, database, errors, log);
  }

  /** @param {number} index */
  at(index) {
    const gateway = this.gateways[index];
    if (gateway === undefined) throw new Error(`there is no isolate ${index}`);
    return gateway;
  }

  /** @param {string} sql */
  execute(sql) {
    return this.database.prepare(sql).run();
  }

  stop() {
    return this.simulator.dispose();
  }
}
