// @ts-check
//! Starting: how long a fresh process takes until it has answered its first call, how long V8 compiles the Wasm, and how
//! large that is. Bare workerd, without Miniflare: nothing but the Worker is started. So without database and objects. Its
//! configuration is in binary, as Miniflare and wrangler give it: reading it as text, the Wasm in it, would be a tenth of the time.

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
 * Starts a Worker on bare workerd, asks it once, and ends it.
 *
 * @param {string} name
 * @param {Worker} worker
 * @param {string[]} [under] a program that starts it, and its options; an interrupt has to end both
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
      const answer = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
        body: JSON.stringify(LOADS.whole.body),
      });
      const text = await answer.text();
      if (answer.status === 200) return;
      throw new Error(`${name}: its first answer was ${answer.status}: ${text}`);
    } catch (error) {
      const refused = error instanceof TypeError;
      if (!refused) throw error;
      if (performance.now() > deadline) throw new Error(`${name} did not answer in time`);
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
 * How large the Wasm is, and how long it takes to compile: by the V8 of Node, whose version is not that of workerd.
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
