// @ts-check
//! Sends every example request of openapi.json to a gateway in the real runtime. Each must succeed, and the harness
//! checks each response against the schema of its operation. Keys, requests, receipts and models that the examples
//! name are created first. The request samples that are generated from the examples run as well: those of inference, models
//! and routing unchanged; of the others, which name ids, the syntax is checked.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { after, before, suite, test } from "node:test";
import { digest } from "../../scripts/lib/gateway-key.mjs";
import { bodyOf, operations, resolve } from "../../site/scripts/openapi.mjs";
import { documentWithSamples, samplesOf } from "../../site/scripts/samples.mjs";
import {
  Gateway,
  KEY,
  KEY_HASH,
  OPERATOR_KEY,
  PROVIDER_KEY,
  Upstream,
  call,
  chat,
  eventually,
  newClient,
  operate,
  root,
} from "../e2e/harness.mjs";
import { keeper } from "../e2e/keeper.mjs";

/** Examples that cannot succeed here, as there is no binding for e-mail, and their responses. */
const REFUSED = { ApprovalEmail: 400 };

/** Paths for the holder of an issued key alone. */
const OWN = ["/usage/rotate", "/usage/request-increase"];

/** An entry of each table of run-time settings. */
const SETTINGS = /** @type {const} */ ({
  "/v0/policies/{name}": ["spare", {}],
  "/v0/aliases/{name}": ["spare", { model: "demo/sim-small" }],
  "/v0/groups/{name}": ["spares", { models: ["demo/sim-small"] }],
  "/v0/models/{id}": ["demo/spare", {}],
  "/v0/alerts/settings": ["", {}],
});

/** @type {Awaited<ReturnType<typeof keeper>>} */ let openai;
/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;

before(async () => {
  upstream = await Upstream.start();
  openai = await keeper(upstream.url);
  const policy = { models: ["groq/*", "demo/*"] };
  gateway = await Gateway.start({
    GATEWAY_API_KEY_HASHES: `staging:${KEY_HASH}`,
    GATEWAY_ADMIN_KEY_HASHES: `ops:${digest(OPERATOR_KEY)}`,
    GATEWAY_MASTER_KEY: Buffer.alloc(32, 7).toString("base64"),
    DEMO_API_KEY: PROVIDER_KEY,
    ACME_API_KEY: PROVIDER_KEY,
    // A receiver that rejects alerts: the test of the channels returns that.
    GATEWAY_SLACK_URL: `${upstream.url}/slack`,
    GROQ_API_KEY: PROVIDER_KEY,
    GROQ_BASE_URL: `${upstream.url}/v1`,
    OPENAI_API_KEY: PROVIDER_KEY,
    OPENAI_BASE_URL: `${openai.url}/v1`,
    JINA_API_KEY: PROVIDER_KEY,
    JINA_BASE_URL: `${upstream.url}/v1`,
    ANTHROPIC_API_KEY: PROVIDER_KEY,
    ANTHROPIC_BASE_URL: `${upstream.url}/v1`,
    GATEWAY_CONFIG: JSON.stringify({
      providers: {
        demo: { base_url: `${upstream.url}/v1`, models: ["sim-small"] },
        acme: { base_url: `${upstream.url}/v1`, models: ["acme-large", "acme-small"] },
      },
      aliases: { fast: "demo/sim-small" },
      policies: { trial: policy, "chat-only": policy },
    }),
  });
});
after(() => Promise.all([gateway?.stop(), upstream?.stop(), openai?.close()]));

/** @param {Response} response */
const json = async (response) => /** @type {any} */ (await response.json());

/** A pending request for a key. */
async function pending() {
  const response = await call(`${gateway.url}/access/request-key`, {
    method: "POST",
    headers: { "content-type": "application/json", "cf-connecting-ip": newClient() },
    body: JSON.stringify({ email: "ada@example.com", use_case: "Trying what is documented" }),
  });
  return (await json(response)).request_id;
}

/** A claim link that has not been opened. */
async function token() {
  const path = `/api/portal/requests/approve/${await pending()}`;
  const { ClaimURL: url } = await json(await operate(gateway, "PUT", path, { delivery: "claim" }));
  return new URL(url).hash.slice(1);
}

/**
 * The key that examples name, created again.
 *
 * @param {object} [limits]
 */
async function issued(limits = {}) {
  await operate(gateway, "DELETE", "/v0/api_keys/ci-runner");
  const made = await operate(gateway, "POST", "/v0/api_keys", { name: "ci-runner", limits });
  return (await json(made)).api_key;
}

/** The stored key that examples name, created again; returns the value for the braces of its path. */
async function storedKey() {
  const providers = await json(await operate(gateway, "GET", "/v0/providers"));
  const { keys } = providers.find((/** @type {any} */ one) => one.name === "groq");
  for (const { key_id: id } of keys) {
    if (id) await operate(gateway, "DELETE", `/v0/providers/groq/keys/${id}`);
  }
  const made = await operate(gateway, "POST", "/v0/providers/groq/keys", { key: "gsk_example" });
  return `groq/keys/${(await json(made)).key_id}`;
}

/**
 * The id of a receipt.
 *
 * @param {string} key of the call
 */
async function receipt(key) {
  const headers = { authorization: `Bearer ${key}` };
  await chat(gateway, {}, headers);
  return eventually(async () => {
    return (await json(await call(`${gateway.url}/usage/requests`, { headers }))).data[0]?.id;
  });
}

/** The id of a response that a provider keeps. */
async function stored() {
  const response = await call(`${gateway.url}/v1/responses`, {
    method: "POST",
    headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
    body: JSON.stringify({ model: "openai/gpt-5.6-luna", input: "Hi" }),
  });
  return (await json(response)).id;
}

/**
 * Creates what a request needs, and returns the value for the brace of its path.
 *
 * @param {string} path
 * @param {string} query
 * @returns {Promise<string[]>} values to try one after the other
 */
async function prepared(path, query) {
  if (path.startsWith("/v0/lanes/")) return ["groq:0/openai/gpt-oss-20b", "groq:0"];
  if (path.startsWith("/v0/providers/{name}/keys")) {
    const value = await storedKey();
    return [path.includes("{id}") ? value : "groq"];
  }
  if (path in SETTINGS) {
    const [name, entry] = SETTINGS[/** @type {keyof typeof SETTINGS} */ (path)];
    await operate(gateway, "PUT", path.replace(/\{.*\}/, name), entry);
    return [name];
  }
  if (path === "/v0/calls/{id}") {
    // The call of the example, as a ledger lists it: a real one would take ten seconds.
    const { data } = resolve({ $ref: "#/components/examples/CallPage" }).value;
    const { key_name: _, ...call } = data[0];
    gateway.withDatabase((database) =>
      database
        .prepare("INSERT OR REPLACE INTO recent_calls VALUES (1, 1, ?)")
        .run(JSON.stringify(call)),
    );
    return [call.id, call.request_id];
  }
  const named = path.includes("{name}") || query === "?key=ci-runner" ? await issued() : undefined;
  if (path === "/v0/api_keys") await operate(gateway, "DELETE", "/v0/api_keys/ci-runner");
  if (path.startsWith("/v1/models/")) return ["groq/openai/gpt-oss-20b", "fast"];
  if (path === "/usage/requests/{id}") return [await receipt(named ?? KEY)];
  if (path.includes("{response_id}")) return [await stored()];
  if (path.includes("{name}")) return ["ci-runner"];
  return path.includes("{id}") ? [await pending()] : [""];
}

/**
 * The example values of a parameter or a media type.
 *
 * @param {any} described
 * @returns {[name: string, value: any][]}
 */
const examples = (described) =>
  described.example === undefined
    ? Object.entries(described.examples ?? {}).map(([name, one]) => [name, resolve(one).value])
    : [["example", described.example]];

/**
 * A form with the fields of an example. The files of its schema have the name that the example gives.
 *
 * @param {any} media
 * @param {Record<string, any>} fields
 */
function formOf(media, fields) {
  const { properties } = resolve(media.schema);
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    const isFile = properties[name]?.format === "binary";
    form.append(name, isFile ? new File([new Uint8Array(64_000)], value) : `${value}`);
  }
  return form;
}

/**
 * The queries to test: none, and each parameter with each of its examples.
 *
 * @param {any[]} parameters
 */
function queries(parameters) {
  const found = parameters.filter((one) => one.in === "query");
  return [
    "",
    ...found.flatMap(({ name, ...described }) =>
      examples(described).map(([, value]) => `?${name}=${value}`),
    ),
  ];
}

suite("examples of openapi.json", () => {
  for (const { kind, path, method, operation, item } of operations()) {
    if (kind !== "operations") continue;
    test(`openapi.json: examples of ${method.toUpperCase()} ${path}`, async () => {
      const parameters = [...(operation.parameters ?? []), ...(item.parameters ?? [])].map(resolve);
      const content = resolve(operation.requestBody)?.content ?? {};
      const { "application/json": json, "multipart/form-data": form } = content;
      /** @type {[name: string, value: any, media?: any][]} */
      const bodies = [];
      for (const media of [json, path.endsWith("/explain") ? undefined : form]) {
        if (media === undefined) continue;
        for (const [name, value] of examples(media)) bodies.push([name, value, media]);
      }
      if (Object.keys(content).length === 0) bodies.push(["none", undefined]);
      assert.ok(bodies.length > 0, "it has no example");
      const names = operation.security.flatMap((/** @type {object} */ one) => Object.keys(one));
      for (const [name, body, media] of bodies) {
        for (const query of queries(parameters)) {
          const isOperators = !names.includes("bearer") || query.startsWith("?key=");
          for (const value of await prepared(path, query)) {
            // The token of the example is that of no link.
            const sent = path === "/access/claim" && body ? { token: await token() } : body;
            const own = OWN.includes(path) ? await issued({ requests_per_minute: 60 }) : KEY;
            const response = await call(gateway.url + path.replace(/\{.*\}/, value) + query, {
              method: method.toUpperCase(),
              headers: {
                "cf-connecting-ip": newClient(),
                ...(names.length > 0
                  ? { authorization: `Bearer ${isOperators ? OPERATOR_KEY : own}` }
                  : {}),
                ...(media === undefined || media === form
                  ? {}
                  : { "content-type": "application/json" }),
              },
              ...(sent === undefined
                ? {}
                : { body: media === form ? formOf(media, sent) : JSON.stringify(sent) }),
            });
            const text = await response.text();
            const wanted = /** @type {Record<string, number>} */ (REFUSED)[name];
            const fits = wanted === undefined ? response.ok : response.status === wanted;
            assert.ok(fits, `${name}${query}: ${response.status} ${text}`);
          }
        }
      }
    });
  }
});

suite("request samples", () => {
  const PYTHON = `${root}.tools/docs-python/bin/python`;
  const TAGS = new Set([
    "Chat",
    "Messages",
    "Responses",
    "Embeddings",
    "Other endpoints",
    "Models",
    "Routing",
  ]);
  const folder = `${root}tests/docs/node_modules/.run/samples/`;

  /**
   * The samples of a language, with this gateway's address; those that can run if `runs`, otherwise the others.
   *
   * @param {string} lang
   * @param {boolean} runs
   */
  const of = (lang, runs) =>
    [...operations()].flatMap((one) => {
      if (one.kind !== "operations") return [];
      const isRun = TAGS.has(one.operation.tags[0]) && !one.path.includes("{");
      if (isRun !== runs) return [];
      return samplesOf(one).flatMap(({ samples }, at) =>
        samples
          .filter((sample) => sample.lang === lang)
          .map(({ source }) => ({
            name: `${one.operation.operationId}-${at}`,
            text: source.replaceAll("https://gatehouse.example", gateway.url),
          })),
      );
    });

  /**
   * @param {string} program
   * @param {string[]} args
   */
  async function run(program, args) {
    await mkdir(folder, { recursive: true });
    // The files that forms name.
    for (const one of operations()) {
      for (const field of bodyOf(one.operation)?.files ?? []) {
        for (const { body } of samplesOf(one))
          if (body?.[field]) await writeFile(folder + body[field], new Uint8Array(64_000));
      }
    }
    const env = { ...process.env, GATEHOUSE_API_KEY: KEY, GATEWAY_ADMIN_KEY: OPERATOR_KEY };
    const options = { cwd: folder, timeout: 120_000, env, maxBuffer: 20_000_000 };
    return (await promisify(execFile)(program, args, options)).stdout;
  }

  test("request samples: curl", async () => {
    const runs = of("Shell", true);
    assert.ok(runs.length > 15);
    const script = runs.map(({ name, text }) => `echo "== ${name}"\n${text}\n`).join("\n");
    const curl = 'curl() { command curl -sS --fail-with-body "$@"; }';
    const output = await run("bash", ["--norc", "-euo", "pipefail", "-c", `${curl}\n${script}`]);
    assert.match(output, /== createChatCompletion-0\n\{[^]*"choices"/);
    assert.match(output, /== createChatCompletion-1\ndata: [^]*data: \[DONE\]/);
    const others = of("Shell", false).map(({ text }) => text);
    assert.ok(others.length > 40);
    await run("bash", ["-n", "-c", others.join("\n")]);
  });

  const skip = existsSync(PYTHON) ? false : "there is no Python with venv";
  test("request samples: Python", { skip }, async () => {
    await mkdir(folder, { recursive: true });
    await writeFile(
      `${folder}samples.json`,
      JSON.stringify({ runs: of("Python", true), others: of("Python", false) }),
    );
    const program = `
import json
samples = json.load(open("samples.json"))
for sample in samples["runs"]:
    print("== " + sample["name"])
    exec(compile(sample["text"], sample["name"], "exec"), {})
for sample in samples["others"]:
    compile(sample["text"], sample["name"], "exec")
`;
    const output = await run(PYTHON, ["-c", program]);
    assert.match(output, /== createChatCompletion-0\nYou said: Say hello\./);
    assert.match(output, /== createChatCompletion-1\nYou said: Say hello/);
    assert.match(output, /== createResponse-0\n\S/);
  });

  test("request samples: Node", async () => {
    await mkdir(folder, { recursive: true });
    const names = [];
    for (const { name, text } of of("JavaScript", true)) {
      await writeFile(`${folder}${name}.mjs`, text);
      names.push(name);
    }
    const program = `for (const name of ${JSON.stringify(names)}) { console.log("== " + name); await import("./" + name + ".mjs"); }`;
    await writeFile(`${folder}all.mjs`, program);
    const output = await run(process.execPath, ["all.mjs"]);
    assert.match(output, /== createChatCompletion-0\nYou said: Say hello\./);
    assert.match(output, /== createChatCompletion-1\nYou said: Say hello/);
    assert.match(output, /== createEmbeddings-0\n\[/);
    for (const { name, text } of of("JavaScript", false)) {
      await writeFile(`${folder}check.mjs`, text);
      await assert.doesNotReject(run(process.execPath, ["--check", "check.mjs"]), name);
    }
  });

  test("request samples: the served openapi.json has them", async () => {
    const served = await json(await fetch(`${gateway.url}/openapi.json`));
    assert.deepEqual(served, documentWithSamples());
    const samples = served.paths["/v1/chat/completions"].post["x-codeSamples"];
    assert.deepEqual(
      [...new Set(samples.map((/** @type {any} */ one) => one.label))],
      ["curl", "Python", "Node"],
    );
  });
});
