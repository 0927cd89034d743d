// @ts-check
//! Helpers for end-to-end tests: the simulated provider and gateways in the real runtime, as child processes.
//!
//! A gateway is started as an operator would: `wrangler dev --port N --var NAME:VALUE …`. Nothing is asserted here, except
//! that responses match openapi.json.

import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { globSync, readFileSync } from "node:fs";
import {
  cp,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { digest, mint } from "../../scripts/lib/gateway-key.mjs";
import { check } from "./contract.mjs";
import { checkEvent } from "./log.mjs";

export const root = fileURLToPath(new URL("../../", import.meta.url));

/** A key that every gateway of the tests accepts, and its caller's label. */
export const KEY = "test";
export const LABEL = "testing";
/** SHA-256 of KEY: the example of the documentation of GATEWAY_API_KEY_HASHES. */
export const KEY_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
/** An operator key of every gateway of the tests, and its label. */
export const OPERATOR_KEY = mint(Buffer.alloc(31, 7)).key;
export const OPERATOR_LABEL = "ops";
/** The gateway's own credential with the provider `demo`; no caller may ever see it. */
export const PROVIDER_KEY = "sk-provider-secret";

/**
 * `fetch`, with the response checked against the description of the API.
 *
 * @param {string} url
 * @param {RequestInit} [init]
 */
export async function call(url, init) {
  const response = await fetch(url, init);
  await check(init?.method ?? "GET", url, response);
  return response;
}

/**
 * A free port below 32768. Systems take the ports of outgoing connections from above, and could take it before it is
 * used.
 *
 * @returns {Promise<number>}
 */
export async function freePort() {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 17_000);
    const server = createServer().listen(port, "127.0.0.1");
    try {
      await once(server, "listening");
    } catch {
      continue;
    }
    server.close();
    await once(server, "close");
    return port;
  }
}

/** @param {number} port */
async function listens(port) {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** @param {import("node:child_process").ChildProcess} child */
async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = once(child, "exit");
  // The whole process group: wrangler has workerd as a child.
  process.kill(-child.pid, "SIGTERM");
  const killer = setTimeout(() => child.pid && process.kill(-child.pid, "SIGKILL"), 5000);
  await exited;
  clearTimeout(killer);
}

/**
 * The lines that a process writes, as they arrive.
 *
 * @param {import("node:child_process").ChildProcessByStdio<null, import("node:stream").Readable, import("node:stream").Readable>} child
 */
function logOf(child) {
  /** @type {string[]} */
  const log = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on("line", (line) => log.push(line));
  }
  return log;
}

/**
 * The strings of a setting of wrangler.toml.
 *
 * @param {string} name
 */
export function setting(name) {
  const toml = readFileSync(`${root}wrangler.toml`, "utf8");
  const value = toml.match(new RegExp(`^${name} = (\\[[^\\]]*\\]|.*)$`, "m"))?.[1] ?? "";
  return [...value.replace(/#.*$/gm, "").matchAll(/"([^"]*)"/g)].map((match) => match[1] ?? "");
}

/**
 * Waits until a process is ready; if it does not become ready, ends it and throws its output.
 *
 * @param {import("node:child_process").ChildProcess} child
 * @param {() => boolean | Promise<boolean>} ready
 * @param {string[]} log
 */
async function started(child, ready, log) {
  try {
    await eventually(() => {
      if (child.exitCode !== null) throw new Error("it ended");
      return ready();
    }, 60_000);
  } catch (error) {
    await stop(child);
    throw new Error(`${child.spawnfile} did not start:\n${log.join("\n")}`, { cause: error });
  }
}

/**
 * @typedef {object} Recorded a request as the simulated provider received it
 * @property {number} n
 * @property {string} path
 * @property {Record<string, string>} headers
 * @property {string} body_text
 * @property {string} body_base64
 * @property {"pending" | "completed" | "cancelled" | "cut"} outcome
 * @property {number} events_sent
 */

/** The simulated provider. */
export class Upstream {
  /**
   * @param {import("node:child_process").ChildProcess} child
   * @param {string} url
   */
  constructor(child, url) {
    this.child = child;
    this.url = url;
  }

  /** @param {string[]} [args] */
  static async start(args = []) {
    const child = spawn(`${root}target/native/upstream`, args, {
      stdio: ["ignore", "pipe", "inherit"],
      detached: true,
    });
    const lines = createInterface({ input: child.stdout });
    const [line] = await once(lines, "line");
    return new Upstream(child, String(line).replace("listening on ", ""));
  }

  /** @returns {Promise<Recorded[]>} */
  async requests() {
    const response = await fetch(`${this.url}/_requests`);
    return /** @type {Promise<Recorded[]>} */ (response.json());
  }

  /** @returns {Promise<Recorded>} */
  async lastRequest() {
    const last = (await this.requests()).at(-1);
    if (last === undefined) throw new Error("the upstream received nothing");
    return last;
  }

  async stats() {
    const response = await fetch(`${this.url}/_stats`);
    return /** @type {Promise<Record<string, number>>} */ (response.json());
  }

  forget() {
    return fetch(`${this.url}/_requests`, { method: "DELETE" });
  }

  stop() {
    return stop(this.child);
  }
}

/**
 * A folder for the state of a gateway, with the tables of `migrations/` and nothing in them. The migrations are applied
 * once for all tests, and again when they change.
 */
export async function freshState() {
  const migrations = globSync(`${root}migrations/*.sql`).toSorted();
  const hash = createHash("sha256");
  for (const path of migrations) hash.update(readFileSync(path));
  const template = `${root}.wrangler/migrated-${hash.digest("hex").slice(0, 16)}`;
  if (!(await exists(template))) {
    await mkdir(`${root}.wrangler`, { recursive: true });
    const made = await mkdtemp(`${root}.wrangler/migrating-`);
    await promisify(execFile)(
      `${root}node_modules/.bin/wrangler`,
      ["d1", "migrations", "apply", "GATEWAY_DB", "--local", "--persist-to", made],
      { cwd: root, env: environment(), timeout: 60_000 },
    );
    // Another test may have been faster.
    await rename(made, template).catch(() => rm(made, { recursive: true }));
  }
  const state = await mkdtemp(join(tmpdir(), "gatehouse-state-"));
  await cp(template, state, { recursive: true });
  return state;
}

/** @param {string} path */
const exists = (path) =>
  stat(path).then(
    () => true,
    () => false,
  );

/**
 * The bytes of all files under a folder, as Latin-1 texts. A file that disappears meanwhile is skipped: the
 * runtime removes the `-shm` and `-wal` files of an idle object.
 *
 * @param {string} folder
 * @param {(path: string) => boolean} [counts] which of them
 */
export async function contents(folder, counts = () => true) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  return Promise.all(
    paths.filter(counts).map((path) =>
      readFile(path, "latin1").catch((error) => {
        if (error.code === "ENOENT") return "";
        throw error;
      }),
    ),
  );
}

/** The environment of wrangler. */
function environment() {
  return {
    ...process.env,
    PATH: `${root}node_modules/.bin:${process.env["PATH"]}`,
    WRANGLER_SEND_METRICS: "false",
    CI: "1",
  };
}

/** A gateway in the real runtime. */
export class Gateway {
  /**
   * @param {import("node:child_process").ChildProcess} child
   * @param {string} url
   * @param {string[]} log
   * @param {string} [state] the folder of its state
   */
  constructor(child, url, log, state) {
    this.child = child;
    this.url = url;
    /** The lines of its output. */
    this.log = log;
    this.state = state;
    /** True if `stop` removes the state. */
    this.ownsState = false;
  }

  /**
   * A gateway with a database of its own, whose tables are empty.
   *
   * @param {Record<string, string>} variables
   * @param {string[]} [args] further arguments of wrangler
   * @param {string} [state] a folder from `freshState`; its maker removes it
   */
  static async start(variables, args = [], state = undefined) {
    const folder = state ?? (await freshState());
    // Another process may take a free port before wrangler does.
    for (let tries = 3; ; tries -= 1) {
      try {
        const gateway = await Gateway.startOnce(variables, args, folder);
        gateway.ownsState = state === undefined;
        return gateway;
      } catch (error) {
        if (tries === 1) throw error;
      }
    }
  }

  /**
   * @param {Record<string, string>} variables
   * @param {string[]} args
   * @param {string} folder
   */
  static async startOnce(variables, args, folder) {
    const port = await freePort();
    const vars = Object.entries(variables).flatMap(([name, value]) => [
      "--var",
      `${name}:${value}`,
    ]);
    const inspector = await freePort();
    const child = spawn(
      `${root}node_modules/.bin/wrangler`,
      [
        "dev",
        ...["--port", `${port}`, "--inspector-port", `${inspector}`, "--persist-to", folder],
        ...args,
        ...vars,
      ],
      { cwd: root, env: environment(), stdio: ["ignore", "pipe", "pipe"], detached: true },
    );
    const log = logOf(child);
    const gateway = new Gateway(child, `http://127.0.0.1:${port}`, log, folder);
    await started(child, () => log.some((line) => line.includes("Ready on")), log);
    return gateway;
  }

  /**
   * The same Worker on bare workerd, with `GET /__memory`: the size of its Wasm memory in bytes. The proxy of
   * `wrangler dev` does not forward that a client has disconnected; here the Worker notices it as in production. No
   * database and no static files.
   *
   * @param {Record<string, string>} variables
   * @param {{ wait?: boolean, ai?: string }} [options] wait: false gives a gateway that listens but has answered nothing
   *   yet; ai: the address of an upstream that answers for the binding `AI`, by way of ai/service.mjs
   */
  static async startBare(variables, { wait = true, ai } = {}) {
    const port = await freePort();
    const modules = [
      "tests/e2e/memory/entry.mjs",
      "tests/e2e/memory/capture.mjs",
      "build/index.js",
      "build/index_bg.wasm",
    ];
    const texts = Object.entries(variables).map(
      ([name, value]) => `(name = "${name}", text = ${JSON.stringify(value)})`,
    );
    // As in production: the runtime's own client, and a service that speaks its protocol.
    const binding = `(name = "AI", wrapped = (moduleName = "cloudflare-internal:ai-api", innerBindings = [(name = "fetcher", service = "ai")]))`;
    const compatibility = `compatibilityDate = "${setting("compatibility_date")[0]}",
  compatibilityFlags = ${JSON.stringify(setting("compatibility_flags"))}`;
    const config = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "gateway", worker = .gateway),
    (name = "ai", worker = .ai),
    (name = "internet", network = (allow = ["private", "public"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "gateway")],
);
const gateway :Workerd.Worker = (
  modules = [${modules.map((name) => `(name = "${name}", ${name.endsWith(".wasm") ? "wasm" : "esModule"} = embed "../${name}")`).join(", ")}],
  bindings = [${[...texts, ...(ai === undefined ? [] : [binding])].join(", ")}],
  ${compatibility},
);
const ai :Workerd.Worker = (
  modules = [(name = "service.mjs", esModule = embed "../tests/e2e/ai/service.mjs")],
  bindings = [(name = "UPSTREAM", text = "${ai ?? ""}")],
  ${compatibility},
);
`;
    await mkdir(`${root}.wrangler`, { recursive: true });
    const path = `${root}.wrangler/bare-${port}.capnp`;
    await writeFile(path, config);
    const child = spawn(`${root}node_modules/.bin/workerd`, ["serve", path], {
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    const gateway = new Gateway(child, `http://127.0.0.1:${port}`, logOf(child));
    const ready = () =>
      wait
        ? fetch(`${gateway.url}/health`).then(
            (response) => response.ok,
            () => false,
          )
        : listens(port);
    await started(child, ready, gateway.log);
    await rm(path);
    return gateway;
  }

  /** The size of the Wasm memory of a bare gateway, in bytes. */
  async memory() {
    return Number(await (await fetch(`${this.url}/__memory`)).text());
  }

  /** The lines of JSON that the Worker has logged. */
  events() {
    return this.log.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  }

  /**
   * The line that the Worker logs for a call, once it is written.
   *
   * @param {string} id the call's x-request-id
   */
  callOf(id) {
    return eventually(() => this.events().find((event) => event.request_id === id));
  }

  /**
   * Opens the gateway's database directly.
   *
   * @template T
   * @param {(database: DatabaseSync) => T} act
   */
  withDatabase(act) {
    const [file, ...others] = globSync(`${this.state}/v3/d1/*/*.sqlite`).filter(
      (path) => !path.endsWith("metadata.sqlite"),
    );
    if (file === undefined || others.length > 0) throw new Error("there is not one database");
    const database = new DatabaseSync(file, { timeout: 5000 });
    try {
      return act(database);
    } finally {
      database.close();
    }
  }

  /**
   * Runs statements on the gateway's database.
   *
   * @param {string} sql
   */
  execute(sql) {
    this.withDatabase((database) => database.exec(sql));
  }

  /**
   * The rows that a statement finds in the gateway's database.
   *
   * @param {string} sql
   * @param {(string | number)[]} values
   */
  query(sql, ...values) {
    return this.withDatabase((database) => database.prepare(sql).all(...values));
  }

  /**
   * The number of rows in the gateway's database.
   *
   * @param {string} from such as "issued_keys WHERE name = ?"
   * @param {string[]} values
   */
  count(from, ...values) {
    return Number(this.query(`SELECT count(*) AS n FROM ${from}`, ...values)[0]?.["n"]);
  }

  /** Kills the gateway without warning, like a machine that fails. Its state stays. */
  async kill() {
    if (this.child.pid === undefined || this.child.exitCode !== null) return;
    const exited = once(this.child, "exit");
    process.kill(-this.child.pid, "SIGKILL");
    await exited;
  }

  async stop() {
    await stop(this.child);
    for (const line of this.events()) if (typeof line.event === "string") checkEvent(line);
    if (this.ownsState && this.state) await rm(this.state, { recursive: true, force: true });
  }
}

/**
 * The variables of a gateway that accepts KEY and has the simulated provider as `demo`.
 *
 * @param {Upstream} upstream
 * @param {object} [config] merged into GATEWAY_CONFIG
 */
export function variables(upstream, config = {}) {
  return {
    GATEWAY_API_KEY_HASHES: `${LABEL}:${KEY_HASH}`,
    GATEWAY_ADMIN_KEY_HASHES: `${OPERATOR_LABEL}:${digest(OPERATOR_KEY)}`,
    DEMO_API_KEY: PROVIDER_KEY,
    GATEWAY_CONFIG: JSON.stringify({
      providers: { demo: { base_url: `${upstream.url}/v1`, models: ["sim-small"] } },
      aliases: { auto: "demo/sim-small" },
      ...config,
    }),
  };
}

/**
 * Spends a claim link: posts its token, which is the fragment.
 *
 * @param {string} url
 * @param {Record<string, string>} [headers]
 */
export const redeem = (url, headers = {}) =>
  call(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ token: new URL(url).hash.slice(1) }),
  });

/**
 * Posts a chat completion with KEY.
 *
 * @param {Gateway} gateway
 * @param {object | string} body an object becomes a whole request, a text is sent as it is
 * @param {Record<string, string>} [headers]
 */
export function chat(gateway, body, headers = {}) {
  const text =
    typeof body === "string"
      ? body
      : JSON.stringify({
          model: "demo/sim-small",
          messages: [{ role: "user", content: "Hi" }],
          ...body,
        });
  return call(`${gateway.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json", ...headers },
    body: text,
  });
}

/**
 * Posts an embeddings request with KEY.
 *
 * @param {Gateway} gateway
 * @param {object | string} body an object is sent as JSON, a text unchanged
 * @param {Record<string, string>} [headers]
 */
export function embed(gateway, body, headers = {}) {
  return call(`${gateway.url}/v1/embeddings`, {
    method: "POST",
    headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

/**
 * Starts a call on a separate connection, which can be reset. The runtime would notice a mere FIN only when it writes.
 *
 * @param {Gateway} gateway
 * @param {string} key
 * @param {object} body
 * @param {Record<string, string>} [headers]
 * @param {string} [path]
 */
export async function begin(gateway, key, body, headers = {}, path = "/v1/chat/completions") {
  const { hostname, port } = new URL(gateway.url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {});
  await once(socket, "connect");
  const text = JSON.stringify(body);
  const more = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const called = { socket, text: "" };
  socket.setEncoding("utf8");
  socket.on("data", (data) => (called.text += data));
  socket.write(
    `POST ${path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer ${key}\r\n${more.join("")}` +
      `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
  return called;
}

/**
 * Submits a key request, as a new client unless the headers name one.
 *
 * @param {Gateway} gateway
 * @param {unknown} body a text or bytes are sent as they are
 * @param {Record<string, string>} [headers]
 */
export function requestKey(gateway, body, headers = {}) {
  const raw = typeof body === "string" || body instanceof Uint8Array;
  return call(`${gateway.url}/access/request-key`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "cf-connecting-ip": newClient(),
      ...headers,
    },
    body: raw ? /** @type {BodyInit} */ (body) : JSON.stringify(body),
  });
}

/**
 * Sends a request as an operator.
 *
 * @param {Gateway} gateway
 * @param {string} method
 * @param {string} path
 * @param {object | string} [body] an object is sent as JSON, a text as it is
 * @param {Record<string, string>} [headers]
 */
export function operate(gateway, method, path, body, headers = {}) {
  return call(`${gateway.url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${OPERATOR_KEY}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
}

/**
 * A unique client address from a block reserved for documentation: the `cf-connecting-ip` of a test's request.
 */
export function newClient() {
  clients += 1;
  return `2001:db8:${Math.floor(clients / 65536).toString(16)}:${(clients % 65536).toString(16)}::1`;
}

let clients = Math.floor(Math.random() * 2 ** 30);

/**
 * The data of the events of a stream's text.
 *
 * @param {string} text
 * @returns {string[]}
 */
export function events(text) {
  return text
    .split(/\r\n\r\n|\n\n|\r\r/)
    .map((event) => event.split(/\r\n|\n|\r/).find((line) => line.startsWith("data:")))
    .filter((line) => line !== undefined)
    .map((line) => line.slice(5).trimStart());
}

/**
 * Waits for the next minute if less than this is left of the current one: limits per minute reset with each.
 *
 * @param {number} seconds
 */
export async function minuteWith(seconds) {
  const left = 60_000 - (Date.now() % 60_000);
  if (left < seconds * 1000) await new Promise((resolve) => setTimeout(resolve, left + 100));
}

/**
 * Runs a function several times concurrently.
 *
 * @template T
 * @param {number} times
 * @param {(index: number) => Promise<T>} act
 */
export const atOnce = (times, act) =>
  Promise.all(Array.from({ length: times }, (_, index) => act(index)));

/**
 * Waits until a condition holds.
 *
 * @template T
 * @param {() => T | Promise<T>} condition
 * @param {number} [ms]
 * @returns {Promise<Exclude<T, false | null | undefined>>} what the condition gave
 */
export async function eventually(condition, ms = 10_000) {
  const deadline = Date.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return /** @type {Exclude<T, false | null | undefined>} */ (value);
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
