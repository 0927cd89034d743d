// @ts-check
// A gateway on this machine: the built Worker in workerd, its database, and the simulated provider if there is no other.
//
// workerd gets all secrets through a pipe: none is an argument of a process, and none is written but those of
// local-state.mjs.

import { createServer } from "node:net";
import { join } from "node:path";
import { digest } from "../lib/gateway-key.mjs";
import { COMMAND, OPERATOR_COMMAND, ROOT } from "../lib/installation.mjs";
import { addSampleData } from "../lib/sample-data.mjs";
import { explain, Failure, note, print, requirePackages } from "../lib/terminal.mjs";
import * as demo from "./demo-provider.mjs";
import { DATA, localKeys, makeState, migrate } from "./local-state.mjs";
import { activating, localVariables } from "./variables.mjs";

const HOST = "127.0.0.1";
const USUAL_PORT = 8787;

/**
 * Starts the gateway, which serves until the process ends: Miniflare then ends workerd, at Ctrl-C as well.
 *
 * @param {{ port?: number }} options
 */
export async function serve({ port: wanted }) {
  const port = await choosePort(wanted);
  makeState();
  const keys = localKeys();
  const own = localVariables();
  const active = activating(own);
  const [configured] = configuredModels(own);
  const isSimulated = active.length === 0 && configured === undefined;
  const provider = isSimulated ? await demo.startDemoProvider() : undefined;
  const log = { isShown: false };
  const hasRing = Boolean(own.GATEWAY_API_KEY || own.GATEWAY_API_KEY_HASHES);
  await startWorker(port, log, {
    ...(hasRing ? {} : { GATEWAY_API_KEY: keys.caller }),
    GATEWAY_ADMIN_KEY_HASHES: `local:${digest(keys.operator)}`,
    GATEWAY_MASTER_KEY: keys.master,
    ...own,
    ...(provider ? { GATEWAY_CONFIG: withDemo(own, provider) } : {}),
  });
  const url = `http://localhost:${port}`;
  const model = provider
    ? `${demo.NAME}/${demo.MODEL}`
    : (configured ?? (await firstModel(url, keys.caller)));
  // The console has something to show. Only with the simulated provider, because it makes calls.
  if (provider)
    await addSampleData({ url, operatorKey: keys.operator, model }).catch((error) =>
      note(`The sample data could not be added: ${explain(error)}`),
    );
  // A key of .dev.vars is not printed.
  const caller = hasRing ? "<your key>" : keys.caller;
  const operator = own.GATEWAY_ADMIN_KEY_HASHES ? "<your operator key>" : keys.operator;
  await print(greeting({ url, model, active, caller, operator }));
  log.isShown = true;
}

/**
 * A port that is free: the wanted one, or the usual one, or any.
 *
 * @param {number | undefined} wanted
 */
async function choosePort(wanted) {
  const port = await freePort(wanted ?? USUAL_PORT);
  if (port !== undefined) return port;
  if (wanted !== undefined) {
    throw new Failure(
      `Port ${wanted} is in use. Stop the other program, or choose another port: ${COMMAND} --port ${wanted === 65_535 ? wanted - 1 : wanted + 1}`,
    );
  }
  return /** @type {number} */ (await freePort(0));
}

/**
 * @param {number} port - 0: any
 * @returns {Promise<number | undefined>} undefined: it is in use
 */
function freePort(port) {
  return new Promise((done, fail) => {
    const server = createServer();
    server.on("error", (/** @type {NodeJS.ErrnoException} */ error) => {
      if (error.code === "EADDRINUSE" || error.code === "EACCES") done(undefined);
      else fail(new Failure(`Cannot listen on ${HOST}: ${explain(error)}`));
    });
    server.listen(port, HOST, () => {
      const address = /** @type {import("node:net").AddressInfo} */ (server.address());
      server.close(() => done(address.port));
    });
  });
}

/**
 * @param {Record<string, string>} variables
 * @returns {any}
 */
function config({ GATEWAY_CONFIG: text }) {
  if (!text) return {};
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Failure(`GATEWAY_CONFIG is not JSON: ${explain(error)}`);
  }
}

/**
 * The models of the providers in GATEWAY_CONFIG.
 *
 * @param {Record<string, string>} variables
 * @returns {string[]}
 */
function configuredModels(variables) {
  const providers = Object.entries(config(variables).providers ?? {});
  return providers.flatMap(([name, { models = [] }]) =>
    models.map((/** @type {string} */ model) => `${name}/${model}`),
  );
}

/**
 * The configuration with the simulated provider.
 *
 * @param {Record<string, string>} variables
 * @param {string} url
 */
function withDemo(variables, url) {
  const provider = { base_url: url, auth: "none", models: [demo.MODEL] };
  return JSON.stringify({ ...config(variables), providers: { [demo.NAME]: provider } });
}

/**
 * @param {number} port
 * @param {{ isShown: boolean }} log - Of the Worker: a line for each call.
 * @param {Record<string, string>} variables
 */
async function startWorker(port, log, variables) {
  process.env.WRANGLER_SEND_METRICS = "false";
  const [{ Miniflare, Log, LogLevel, convertV4MiniflareOptions }, wrangler] = await Promise.all([
    import("miniflare"),
    import("wrangler"),
  ]).catch(requirePackages);
  // The bindings, the objects and the static files, as a deployment has them.
  const { workerOptions, externalWorkers } = wrangler.unstable_getMiniflareWorkerOptions(
    join(ROOT, "wrangler.toml"),
  );
  const build = join(ROOT, "build");
  /** @type {any} */
  const options = {
    host: HOST,
    port,
    // Otherwise it asks the internet for the location of this machine.
    cf: false,
    resourcePersistencePath: DATA,
    log: new Log(LogLevel.WARN),
    handleStructuredLogs: (/** @type {{ message: string }} */ { message }) => {
      if (log.isShown) process.stdout.write(`${message}\n`);
    },
    workers: [
      {
        ...workerOptions,
        name: "gatehouse",
        modulesRoot: build,
        modules: [
          { type: "ESModule", path: join(build, "index.js") },
          { type: "CompiledWasm", path: join(build, "index_bg.wasm") },
        ],
        bindings: variables,
      },
      ...externalWorkers,
    ],
  };
  const miniflare = new Miniflare(convertV4MiniflareOptions(options));
  try {
    await miniflare.ready;
    await migrate(await miniflare.getD1Database("GATEWAY_DB"), wrangler.unstable_splitSqlQuery);
  } catch (error) {
    await miniflare.dispose().catch(() => {});
    if (error instanceof Failure) throw error;
    throw new Failure(`The gateway did not start: ${explain(error)}`);
  }
}

/**
 * @param {string} url
 * @param {string} key
 */
async function firstModel(url, key) {
  const response = await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
  const { data } = /** @type {any} */ (await response.json());
  return String(data?.[0]?.id ?? "provider/model");
}

/**
 * @param {object} what
 * @param {string} what.url
 * @param {string} what.model
 * @param {string[]} what.active - Names of the variables that activate providers.
 * @param {string} what.caller - The key of a caller.
 * @param {string} what.operator - The key of an operator.
 */
function greeting({ url, model, active, caller, operator }) {
  return [
    "",
    `Gatehouse is listening on ${url}`,
    active.length > 0
      ? `Providers: those of ${active.join(", ")}.`
      : model.startsWith(`${demo.NAME}/`)
        ? `No provider key is configured, so ${model} is a simulated provider that repeats what you say.`
        : "Providers: those of GATEWAY_CONFIG.",
    "",
    "Try it:",
    "",
    `  curl ${url}/v1/chat/completions \\`,
    `    -H "Authorization: Bearer ${caller}" -H "Content-Type: application/json" \\`,
    `    -d '{"model": "${model}", "messages": [{"role": "user", "content": "Say hello"}]}'`,
    "",
    `Add "stream": true for a stream. Models: ${url}/v1/models  Documentation: ${url}/docs`,
    "",
    `Console: ${url}/console   Sign in with the operator key  ${operator}`,
    `The page of a key holder: ${url}/key   Sign in with the key above, or with one that the console creates.`,
    "",
    "In a terminal, keys that others ask for are reviewed with:",
    "",
    `  export GATEWAY_URL=${url} GATEWAY_ADMIN_KEY='${operator}'`,
    `  ${OPERATOR_COMMAND} requests list`,
    "",
    "Ctrl-C stops everything.",
    "",
  ];
}
