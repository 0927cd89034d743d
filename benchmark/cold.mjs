// @ts-check
//! Starting: the time from starting a process to its first response, the time in which V8 compiles the Wasm, and the
//! size of the Wasm. Runs on bare workerd without Miniflare, so that nothing but the Worker is started: without
//! database and objects. The configuration is binary, as from Miniflare and wrangler: parsing it as text, with the
//! Wasm in it, would take a tenth of the time.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { writeFile, rm, mkdir } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { freePort, root, setting } from "../tests/e2e/harness.mjs";
import { LOADS } from "./loads.mjs";
import { cpuMs, tie } from "./process.mjs";
import { KEY } from "./targets.mjs";

/** @typedef {import("./targets.mjs").Worker} Worker */
/** @typedef {import("./loads.mjs").Sample} Sample */

const PATIENCE_MS = 20_000;

/**
 * Starts a Worker on bare workerd, sends it one request, and stops it.
 *
 * @param {string} name
 * @param {Worker} worker
 * @param {string[]} [under] a program that starts the Worker, and its options; an interrupt must stop both
 * @returns {Promise<Sample>}
 */
export async function coldStart(name, worker, under = []) {
  const port = await freePort();
  const path = `${root}.wrangler/cold-${port}.capnp`;
  await mkdir(`${root}.wrangler`, { recursive: true });
  await writeFile(path, config(port, worker));
  const workerd = `${root}node_modules/.bin/workerd`;
  const maxBuffer = 100_000_000;
  await writeFile(path, execFileSync(workerd, ["compile", "--config-only", path], { maxBuffer }));
  const begun = performance.now();
  const [program = workerd, ...args] = [...under, workerd, "serve", "--binary", path];
  const child = tie(spawn(program, args, { stdio: "ignore" }));
  const exited = once(child, "exit");
  try {
    await firstAnswer(name, port, begun + PATIENCE_MS);
    const ms = performance.now() - begun;
    return { ms, cpu_ms: cpuMs(/** @type {number} */ (child.pid)) };
  } finally {
    child.kill(under.length === 0 ? "SIGKILL" : "SIGINT");
    await exited;
    await rm(path);
  }
}

/**
 * @param {string} name
 * @param {number} port
 * @param {number} deadline
 */
async function firstAnswer(name, port, deadline) {
  for (;;) {
    try {
      const response = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
        body: JSON.stringify(LOADS.whole.body),
      });
      const text = await response.text();
      if (response.status === 200) return;
      throw new Error(`${name}: its first response was ${response.status}: ${text}`);
    } catch (error) {
      const refused = error instanceof TypeError;
      if (!refused) throw error;
      if (performance.now() > deadline) throw new Error(`${name} did not respond in time`);
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/**
 * @param {number} port
 * @param {Worker} worker
 */
function config(port, { modules, bindings }) {
  const embedded = modules.map((path) => {
    const kind = path.endsWith(".wasm") ? "wasm" : "esModule";
    return `(name = "${path}", ${kind} = embed "../${path}")`;
  });
  const texts = Object.entries(bindings).map(
    ([name, value]) => `(name = "${name}", text = ${JSON.stringify(value)})`,
  );
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "worker", worker = .worker),
    (name = "internet", network = (allow = ["private", "public"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "worker")],
);
const worker :Workerd.Worker = (
  modules = [${embedded.join(", ")}],
  bindings = [${texts.join(", ")}],
  compatibilityDate = "${setting("compatibility_date")[0]}",
  compatibilityFlags = ${JSON.stringify(setting("compatibility_flags"))},
);
`;
}

/**
 * The size of the Wasm and the time to compile it, in the V8 of Node, whose version differs from workerd's.
 *
 * @returns {Sample}
 */
export function wasm() {
  const bytes = readFileSync(`${root}build/index_bg.wasm`);
  const begun = performance.now();
  new WebAssembly.Module(bytes);
  const compile_ms = performance.now() - begun;
  return { bytes: bytes.length, gzipped: gzipSync(bytes, { level: 9 }).length, compile_ms };
}
