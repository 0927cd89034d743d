// @ts-check
//! The error event of a chat stream, as SDKs show it: the gateway's own, and others that were considered and that hide the
//! error in some SDK ([decision 71](../../docs/decisions/0071-error-events-without-choices.md)). scripts/client-manners installs
//! the SDKs and runs this file.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { after, before, suite, test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { Gateway, KEY, Upstream, root, variables } from "../e2e/harness.mjs";

const ERROR = {
  message: "demo closed the connection in the middle of the stream",
  type: "server_error",
  param: null,
  code: "upstream_stream_cut",
};
const FRAME = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m" };
/** @param {string | null} finish_reason */
const choice = (finish_reason) => ({ index: 0, delta: {}, finish_reason });

/** The last events of a stream, with the clients that show no error. @type {[name: string, event: object, hiding: string[]][]} */
const EVENTS = [
  ["the error alone", { error: ERROR }, []],
  ["with id, object, created and model", { ...FRAME, error: ERROR }, []],
  ["with choices: null", { ...FRAME, choices: null, error: ERROR }, []],
  [
    "with choices: []",
    { ...FRAME, choices: [], error: ERROR },
    ["AI SDK, openai.chat", "mistralai", "async-openai"],
  ],
  [
    "with a choice that has not finished",
    { ...FRAME, choices: [choice(null)], error: ERROR },
    ["AI SDK, openai.chat", "mistralai", "async-openai"],
  ],
  [
    'with a choice that finishes with "error"',
    { ...FRAME, choices: [choice("error")], error: ERROR },
    ["AI SDK, openai.chat", "mistralai"],
  ],
  [
    "with such a choice and a number as the code, as OpenRouter's SDK reads it",
    { ...FRAME, choices: [choice("error")], error: { ...ERROR, code: 502 } },
    ["AI SDK, openai.chat", "mistralai", "OpenRouter SDK"],
  ],
];

/**
 * @typedef {object} Client
 * @property {string} name
 * @property {RegExp} says what it shows of the gateway's error
 * @property {string} needs the file without which it is not installed
 * @property {(ask: Ask) => Promise<void>} stream throws if the SDK shows an error
 */
/** @typedef {{ url: string, key: string, model: string, prompt: string }} Ask */

/**
 * A package that another folder has installed.
 *
 * @param {string} folder
 * @param {string} name
 * @returns {Promise<any>}
 */
const from = (folder, name) =>
  import(pathToFileURL(createRequire(`${root}${folder}/`).resolve(name)).href);

/** @param {AsyncIterable<unknown>} events */
async function drain(events) {
  for await (const _ of events);
}

/**
 * @param {string} program
 * @param {string[]} args
 */
async function execute(program, args) {
  const { stdout } = await promisify(execFile)(program, args, { timeout: 30_000 });
  if (stdout.trim() !== "complete") throw new Error(stdout);
}

/**
 * @param {string} name
 * @param {string} argument
 * @param {string} environment
 * @param {RegExp} says
 * @returns {Client}
 */
const python = (name, argument, environment, says) => ({
  name,
  says,
  needs: `.tools/${environment}/bin/python`,
  stream: ({ url, key, model, prompt }) =>
    execute(`${root}.tools/${environment}/bin/python`, [
      `${root}tests/manners/stream.py`,
      ...[argument, url, key, model, prompt],
    ]),
});

/**
 * @param {string} name
 * @param {string} folder of the package
 * @param {string} packageName
 * @param {(provider: any, ask: Ask) => any} model
 * @returns {Client}
 */
const aiSdk = (name, folder, packageName, model) => ({
  name,
  says: /closed the connection/,
  needs: `${folder}/node_modules/${packageName}`,
  async stream(ask) {
    const { streamText } = await from(folder, "ai");
    /** @type {unknown} */ let failure;
    const { textStream } = streamText({
      model: model(await from(folder, packageName), ask),
      prompt: ask.prompt,
      maxRetries: 0,
      onError: (/** @type {any} */ { error }) => (failure = error),
    });
    await drain(textStream);
    if (failure !== undefined) throw failure;
  },
});

/** @param {Ask} ask */
const body = ({ model, prompt }) => ({
  model,
  messages: [{ role: "user", content: prompt }],
  stream: true,
});

/** @type {Client[]} */
const CLIENTS = [
  {
    name: "openai for Node.js",
    says: /closed the connection/,
    needs: "tests/docs/node_modules/openai",
    async stream(ask) {
      const { default: OpenAI } = await from("tests/docs", "openai");
      const client = new OpenAI({ baseURL: `${ask.url}/v1`, apiKey: ask.key, maxRetries: 0 });
      await drain(await client.chat.completions.create(body(ask)));
    },
  },
  {
    name: "LangChain for JavaScript",
    says: /closed the connection/,
    needs: "tests/docs/node_modules/@langchain/openai",
    async stream({ url, key, model, prompt }) {
      const { ChatOpenAI } = await from("tests/docs", "@langchain/openai");
      const configuration = { baseURL: `${url}/v1` };
      const chat = new ChatOpenAI({ model, apiKey: key, maxRetries: 0, configuration });
      await drain(await chat.stream(prompt));
    },
  },
  aiSdk(
    "AI SDK, openai-compatible",
    "tests/docs",
    "@ai-sdk/openai-compatible",
    ({ createOpenAICompatible }, { url, key, model }) =>
      createOpenAICompatible({ name: "gatehouse", baseURL: `${url}/v1`, apiKey: key })(model),
  ),
  aiSdk(
    "AI SDK, openai.chat",
    "tests/clients",
    "@ai-sdk/openai",
    ({ createOpenAI }, { url, key, model }) =>
      createOpenAI({ baseURL: `${url}/v1`, apiKey: key }).chat(model),
  ),
  python("openai for Python", "openai", "docs-python", /closed the connection/),
  python("LangChain for Python", "langchain", "docs-python", /closed the connection/),
  // It shows the beginning and the end of the event, and thus the code.
  python("mistralai", "mistral", "clients-mistral", /upstream_stream_cut/),
  {
    name: "OpenRouter SDK",
    // It shows which fields of a chunk are missing, and nothing of the event.
    says: /expected array, received undefined/,
    needs: ".tools/clients-node/node_modules/@openrouter/sdk",
    async stream(ask) {
      const { OpenRouter } = await from(".tools/clients-node", "@openrouter/sdk");
      const client = new OpenRouter({ apiKey: ask.key, serverURL: `${ask.url}/v1` });
      await drain(await client.chat.send({ chatRequest: body(ask) }));
    },
  },
  {
    name: "async-openai",
    says: /closed the connection/,
    needs: ".tools/clients-rust/debug/gatehouse-async-openai",
    stream: ({ url, key, model, prompt }) =>
      execute(`${root}.tools/clients-rust/debug/gatehouse-async-openai`, [
        ...[`${url}/v1`, key, model, prompt],
      ]),
  },
];

/** A server whose streams end with the event of the path's number. */
const server = createServer((request, response) => {
  const [, event] = EVENTS[Number(request.url?.split("/")[1])] ?? [];
  const chunk = { ...FRAME, choices: [{ ...choice(null), delta: { content: "half" } }] };
  request.resume().on("end", () => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.end(`data: ${JSON.stringify(chunk)}\n\ndata: ${JSON.stringify(event)}\n\n`);
  });
});
/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;
let url = "";

before(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (server.address()).port}`;
  upstream = await Upstream.start();
  const models = CLIENTS.map((_, index) => `sim-${index}`);
  gateway = await Gateway.startBare(
    variables(upstream, { providers: { demo: { base_url: `${upstream.url}/v1`, models } } }),
  );
});
after(async () => {
  server.closeAllConnections();
  server.close();
  await Promise.all([gateway?.stop(), upstream?.stop()]);
});

for (const [index, client] of CLIENTS.entries()) {
  const skip = existsSync(`${root}${client.needs}`) ? false : "not installed";
  suite(`stream errors in ${client.name}`, { skip }, () => {
    test(`${client.name}: a stream that is cut at the provider ends with an error`, async () => {
      const simulate = JSON.stringify({ cut: "stream", after_events: 4, events: 20 });
      const ask = { key: KEY, model: `demo/sim-${index}`, prompt: `Hi [[simulate ${simulate}]]` };
      await assert.rejects(client.stream({ url: gateway.url, ...ask }), (error) => {
        assert.match(String(/** @type {any} */ (error).message ?? error), client.says);
        return true;
      });
    });

    for (const [number, [name, , hiding]] of EVENTS.entries()) {
      const hides = hiding.includes(client.name);
      test(`${client.name}: an event ${name} ${hides ? "is hidden" : "is an error"}`, async () => {
        const ask = { url: `${url}/${number}`, key: "k", model: "m", prompt: "Hi" };
        const shown = await client.stream(ask).then(
          () => false,
          () => true,
        );
        assert.equal(shown, !hides);
      });
    }
  });
}
