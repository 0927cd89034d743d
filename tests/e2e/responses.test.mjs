// @ts-check
//! `POST /v1/responses` in the real runtime: bytes in both directions at a provider that serves Responses, translation to
//! providers of Chat Completions and Messages, ends of streams, errors, budgets, what clients ask for beside it, and the
//! responses that a provider keeps. Chat completions that are sent as Responses are here too.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request } from "node:http";
import { after, before, suite, test } from "node:test";
import OpenAI from "openai";
import { Gateway, KEY, Upstream, call, eventually, variables } from "./harness.mjs";
import { keeper } from "./keeper.mjs";
import { lane } from "./lanes.mjs";
import { issue, receipts } from "./ledgers.mjs";

const MODEL = "native/gpt-small";

/**
 * An event of a stream.
 *
 * @param {string} type
 * @param {object} members
 */
const event = (type, members) =>
  `event: ${type}\ndata: ${JSON.stringify({ type, ...members })}\n\n`;

const ITEM = {
  id: "msg_1",
  type: "message",
  status: "completed",
  role: "assistant",
  content: [{ type: "output_text", text: "Hello!", annotations: [] }],
};
const CALL = {
  id: "fc_1",
  type: "function_call",
  status: "completed",
  call_id: "call_1",
  name: "weather",
  arguments: '{"city":"Oslo"}',
};
const USAGE = {
  input_tokens: 20,
  input_tokens_details: { cached_tokens: 10 },
  output_tokens: 7,
  output_tokens_details: { reasoning_tokens: 2 },
  total_tokens: 27,
};

/** @param {object[]} output */
const response = (output, status = "completed") => ({
  id: "resp_upstream_1",
  object: "response",
  created_at: 1_795_000_000,
  status,
  error: null,
  incomplete_details: null,
  model: "gpt-small",
  output,
  parallel_tool_calls: true,
  tool_choice: "auto",
  tools: [],
  usage: status === "in_progress" ? null : USAGE,
});

/**
 * The events of a stream with this item.
 *
 * @param {any} item
 */
function stream(item) {
  const place = { item_id: item.id, output_index: 0 };
  const begun = response([], "in_progress");
  const parts =
    item.type === "message"
      ? [
          event("response.output_item.added", {
            sequence_number: 2,
            output_index: 0,
            item: { ...item, content: [] },
          }),
          event("response.content_part.added", {
            sequence_number: 3,
            ...place,
            content_index: 0,
            part: { ...item.content[0], text: "" },
          }),
          event("response.output_text.delta", {
            sequence_number: 4,
            ...place,
            content_index: 0,
            delta: "Hello!",
          }),
          event("response.output_text.done", {
            sequence_number: 5,
            ...place,
            content_index: 0,
            text: "Hello!",
          }),
        ]
      : [
          event("response.output_item.added", {
            sequence_number: 2,
            output_index: 0,
            item: { ...item, arguments: "" },
          }),
          event("response.function_call_arguments.delta", {
            sequence_number: 3,
            ...place,
            delta: item.arguments,
          }),
          event("response.function_call_arguments.done", {
            sequence_number: 4,
            ...place,
            arguments: item.arguments,
          }),
        ];
  return [
    event("response.created", { sequence_number: 0, response: begun }),
    event("response.in_progress", { sequence_number: 1, response: begun }),
    ...parts,
    event("response.output_item.done", { sequence_number: 6, output_index: 0, item }),
    event("response.completed", { sequence_number: 7, response: response([item]) }),
  ];
}

/**
 * A small provider of Responses: what it does is in the request's `metadata.do`.
 *
 * @returns {Promise<{ url: string, sent: { path: string, body: string, headers: any }[], close: () => void }>}
 */
async function responsesProvider() {
  /** @type {{ path: string, body: string, headers: any }[]} */
  const sent = [];
  const server = createServer(async (incoming, answer) => {
    let body = "";
    for await (const chunk of incoming) body += chunk;
    sent.push({ path: incoming.url ?? "", body, headers: incoming.headers });
    const asked = JSON.parse(body);
    const what = asked.metadata?.do ?? "";
    const first = incoming.url?.startsWith("/first");
    const item = what === "tool" ? CALL : ITEM;
    const hasReasoning = /"type": ?"reasoning"/.test(body);
    if (incoming.url?.endsWith("/chat/completions")) {
      answer.writeHead(200, { "content-type": "application/json" });
      const message = { role: "assistant", content: "Hello!" };
      answer.end(JSON.stringify({ choices: [{ index: 0, message, finish_reason: "stop" }] }));
    } else if (what === "blob" && hasReasoning) {
      const message = "The encrypted content gAAA could not be verified.";
      answer.writeHead(400, { "content-type": "application/json" });
      answer.end(
        JSON.stringify({
          error: { message, type: "invalid_request_error", code: "invalid_encrypted_content" },
        }),
      );
    } else if (what === "busy" || (what === "busy-first" && first)) {
      answer.writeHead(503, { "content-type": "application/json" });
      answer.end('{"error":{"message":"no room","type":"server_error","code":"busy"}}');
    } else if (asked.stream !== true || what === "whole") {
      answer.writeHead(200, { "content-type": "application/json" });
      answer.end(JSON.stringify(response([item])));
    } else {
      answer.writeHead(200, { "content-type": "text/event-stream" });
      const events = stream(item);
      const error = { code: "server_error", message: "it broke" };
      const failed = event("response.failed", {
        sequence_number: 2,
        response: { ...response([], "failed"), error },
      });
      if (what === "cut") answer.end(events.slice(0, 5).join(""));
      else if (what === "fail") answer.end(events.slice(0, 5).join("") + failed);
      else if (what === "fail-first" && first) answer.end(events.slice(0, 2).join("") + failed);
      else answer.end(events.join("") + (what === "done" ? "data: [DONE]\n\n" : ""));
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return { url: `http://127.0.0.1:${port}`, sent, close: () => server.close() };
}

/** @type {Awaited<ReturnType<typeof responsesProvider>>} */ let provider;
/** @type {Awaited<ReturnType<typeof keeper>>} */ let openai;
/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;
/** @type {OpenAI} */ let client;

before(async () => {
  [upstream, provider] = await Promise.all([Upstream.start(), responsesProvider()]);
  openai = await keeper(upstream.url);
  const native = (/** @type {string} */ name) => ({
    base_url: `${provider.url}/${name}/v1`,
    auth: "none",
    formats: ["responses"],
    models: ["gpt-small"],
  });
  gateway = await Gateway.start({
    ...variables(upstream, {
      aliases: {},
      groups: {
        pair: { models: ["first/gpt-small", "second/gpt-small"] },
        mixed: { models: [MODEL, "talker/sim-small"] },
      },
      providers: {
        native: native("native"),
        first: native("first"),
        second: native("second"),
        // It gives its responses no ids.
        nameless: { ...native("nameless"), formats: ["chat_completions"] },
        talker: lane(upstream, "talker", { models: ["sim-small"] }),
        claude: lane(upstream, "claude", { formats: ["messages"], models: ["sim-small"] }),
      },
      models: {
        [MODEL]: {
          input_usd_per_mtok: 2,
          output_usd_per_mtok: 10,
          cached_input_usd_per_mtok: 1,
          max_output: 1000,
          tools: true,
        },
      },
      routing: { backoff_ms: 10, retries: 0 },
      timeouts: { first_byte_ms: 2000, idle_ms: 1500 },
      policies: { budget: { limits: { usd_total: 1 } }, small: { limits: { usd_total: 0.004 } } },
    }),
    OPENAI_API_KEY: "sk-one,sk-two",
    OPENAI_BASE_URL: `${openai.url}/v1`,
    XAI_API_KEY: "sk-xai",
    XAI_BASE_URL: `${openai.url}/x/v1`,
  });
  client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: KEY, maxRetries: 0 });
});
after(() => Promise.all([gateway?.stop(), upstream?.stop(), provider?.close(), openai?.close()]));

/**
 * The response to a request, read to its end.
 *
 * @param {object | string} body an object is completed, a text is sent as it is
 * @param {string} [key]
 */
async function ask(body, key = KEY) {
  const whole =
    typeof body === "string" ? body : JSON.stringify({ model: MODEL, input: "Hi", ...body });
  const answered = await call(`${gateway.url}/v1/responses`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: whole,
  });
  const text = await answered.text();
  const isStream = answered.headers.get("content-type")?.startsWith("text/event-stream");
  const json = isStream ? undefined : JSON.parse(text);
  return { status: answered.status, headers: answered.headers, text, json, error: json?.error };
}

/**
 * The data of the events of a stream, each of whose names is its type.
 *
 * @param {string} text
 * @returns {any[]}
 */
const events = (text) =>
  text
    .split("\n\n")
    .filter((one) => one !== "")
    .map((one) => {
      const [, name, data] = /^event: (.*)\ndata: (.*)$/.exec(one) ?? [];
      const json = JSON.parse(data ?? "null");
      assert.equal(json?.type, name, one);
      return json;
    });

suite("responses that pass", () => {
  test("responses: the body and the response pass byte for byte, and no header of the caller does", async () => {
    const rest = '"input":[ {"role":"user","content":"Hi é"} ],"store" : false,"new":{"x":1.50}}';
    const answered = await ask(`{"project_id":"p","model":"${MODEL}", ${rest}`);
    assert.equal(answered.status, 200, answered.text);
    assert.equal(answered.text, JSON.stringify(response([ITEM])));
    const { path, body, headers } = provider.sent.at(-1) ?? assert.fail();
    assert.deepEqual([path, body], ["/native/v1/responses", `{"model":"gpt-small", ${rest}`]);
    assert.equal(headers.authorization, undefined);
  });

  test("responses: a stream passes byte for byte, with or without [DONE] behind its end", async () => {
    for (const what of ["", "done"]) {
      const answered = await ask({ stream: true, metadata: { do: what } });
      assert.equal(answered.text, stream(ITEM).join(""));
    }
    const whole = await ask({ stream: true, metadata: { do: "whole" } });
    const last = events(whole.text).at(-1);
    assert.deepEqual([last.type, last.response.id], ["response.completed", "resp_upstream_1"]);
    assert.match(whole.text, /response\.output_text\.delta/);
  });

  test("responses: a stream that breaks ends with response.failed, with the id of the response", async () => {
    for (const [what, message] of [
      ["cut", /incomplete/],
      ["fail", /it broke/],
    ]) {
      const answered = await ask({ stream: true, metadata: { do: what } });
      const last = events(answered.text).at(-1);
      assert.equal(last.type, "response.failed", answered.text);
      assert.deepEqual([last.response.id, last.response.status], ["resp_upstream_1", "failed"]);
      assert.equal(last.response.error.code, "server_error");
      assert.match(last.response.error.message, /** @type {RegExp} */ (message));
    }
  });

  test("responses: what fails before its first content goes to the next lane", async () => {
    for (const [what, isStream] of [
      ["busy-first", false],
      ["busy-first", true],
      ["fail-first", true],
    ]) {
      const answered = await ask({ model: "pair", stream: isStream, metadata: { do: what } });
      assert.equal(answered.status, 200, answered.text);
      assert.equal(answered.headers.get("x-gateway-provider"), "second");
    }
    const busy = await ask({ metadata: { do: "busy" }, stream: true });
    assert.deepEqual([busy.status, busy.error.code], [503, "busy"]);
  });

  test("responses: a lane that rejects encrypted reasoning gets the request once more without it", async () => {
    const input = [
      { role: "user", content: "Hi" },
      { type: "reasoning", id: "rs_1", summary: [], encrypted_content: "gAAA" },
      {
        type: "message",
        id: "msg_1",
        role: "assistant",
        content: [{ type: "output_text", text: "Yes?" }],
      },
      { role: "user", content: "Go on" },
    ];
    const answered = await ask({ input, metadata: { do: "blob" } });
    assert.equal(answered.status, 200, answered.text);
    assert.match(
      answered.headers.get("x-gateway-route") ?? "",
      /^native\/gpt-small;reasoning_rejected;dur=\d+, native\/gpt-small;ok;dur=\d+$/,
    );
    assert.equal(answered.headers.get("x-gateway-dropped-params"), "reasoning");
    const [first, second] = provider.sent.slice(-2).map(({ body }) => JSON.parse(body).input);
    assert.deepEqual(first, input);
    const { id: _, ...message } = /** @type {any} */ (input[2]);
    assert.deepEqual(second, [input[0], message, input[3]]);
  });

  test("responses: stop sequences skip a lane of Responses if another one serves them", async () => {
    const body = { model: "mixed", stop: ["x"], messages: [{ role: "user", content: "Hi" }] };
    const post = (/** @type {string} */ path, /** @type {object} */ extra) =>
      call(`${gateway.url}${path}`, {
        method: "POST",
        headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
        body: JSON.stringify({ ...body, ...extra }),
      });
    const answered = await post("/v1/chat/completions", {});
    assert.equal(answered.status, 200, await answered.clone().text());
    assert.equal(answered.headers.get("x-gateway-provider"), "talker");
    const plan = await (await post("/v1/routing/explain", {})).json();
    assert.deepEqual(
      plan.dropped.map((/** @type {any} */ one) => one.id),
      ["native/gpt-small"],
    );
    assert.match(plan.dropped[0].detail, /Stop sequences/);
    const alone = await (await post("/v1/chat/completions", { model: MODEL })).json();
    assert.deepEqual([alone.error.code, alone.error.param], ["unsupported_parameter", "stop"]);
    const message = { model: MODEL, stop: undefined, stop_sequences: ["x"], max_tokens: 9 };
    const { error } = await (await post("/v1/messages", message)).json();
    assert.deepEqual([error.code, error.param], ["unsupported_parameter", "stop_sequences"]);
  });

  test("responses: a receipt has the tokens, whole and streamed", async () => {
    const { key } = await issue(gateway, "metered");
    for (const isStream of [false, true]) await ask({ stream: isStream }, key);
    const found = await eventually(async () => {
      const list = await receipts(gateway, key);
      return list.length === 2 && list;
    });
    for (const one of found) {
      assert.deepEqual(
        [one.prompt_tokens, one.cached_tokens, one.completion_tokens, one.cost_micro_usd],
        [20, 10, 7, 10 * 2 + 10 * 1 + 7 * 10],
      );
    }
  });

  test("responses: a budget limits the output, and what has no known price is rejected", async () => {
    const { key: poor } = await issue(gateway, "poor", { policies: ["small"] });
    const limited = await ask({}, poor);
    assert.equal(limited.status, 200, limited.text);
    const { max_output_tokens: most } = JSON.parse(provider.sent.at(-1)?.body ?? "");
    assert.ok(most > 0 && most < 1000, `${most}`);
    assert.equal(limited.headers.get("x-gateway-dropped-params"), `max_output_tokens=${most}`);
    const { key } = await issue(gateway, "careful", { policies: ["budget"] });
    for (const [field, value] of [
      ["tools", [{ type: "web_search" }]],
      ["background", true],
      ["previous_response_id", "resp_1"],
      ["input", [{ type: "item_reference", id: "msg_1" }]],
      ["input", [{ type: "additional_tools", tools: [{ type: "code_interpreter" }] }]],
    ]) {
      const refused = await ask({ [/** @type {string} */ (field)]: value }, key);
      assert.notEqual(refused.status, 200, refused.text);
      assert.equal(refused.error.param, field, refused.text);
    }
    const tools = [
      { type: "function", name: "f" },
      { type: "custom", name: "apply_patch" },
      { type: "namespace", name: "n", tools: [] },
    ];
    assert.equal((await ask({ tools }, key)).status, 200);
  });
});

suite("responses that are translated", () => {
  for (const model of ["talker/sim-small", "claude/sim-small"]) {
    test(`responses: ${model} answers whole and streamed, with the same text`, async () => {
      const input = [
        { type: "message", role: "user", content: [{ type: "input_text", text: "one two" }] },
      ];
      const whole = await ask({ model, instructions: "Be kind", input });
      assert.equal(whole.status, 200, whole.text);
      const { object, status, output, usage, instructions } = whole.json;
      assert.deepEqual([object, status, instructions], ["response", "completed", "Be kind"]);
      assert.equal(output[0].content[0].text, "You said: one two");
      assert.ok(usage.input_tokens > 0 && usage.output_tokens > 0, whole.text);
      const streamed = await ask({ model, input, stream: true });
      const all = events(streamed.text);
      assert.deepEqual(
        all.map(({ sequence_number: number }) => number),
        all.map((_, index) => index),
      );
      assert.deepEqual(all.at(-1).response.output[0].content, output[0].content);
      assert.equal(all.at(-1).type, "response.completed");
    });

    test(`responses: ${model} fails with response.failed behind the content, and with an error before it`, async () => {
      const cut = 'one two three [[simulate {"cut": "clean", "after_events": 4}]]';
      const answered = await ask({ model, input: cut, stream: true });
      const last = events(answered.text).at(-1);
      assert.equal(last.type, "response.failed", answered.text);
      assert.equal(last.response.status, "failed");
      const early = await ask({ model, stream: true, input: '[[simulate {"status": 500}]]' });
      assert.equal(early.status >= 500, true, early.text);
    });
  }

  test("responses: what refers to a stored response is rejected with advice", async () => {
    for (const model of ["talker/sim-small", MODEL]) {
      for (const body of [
        { previous_response_id: "resp_1" },
        { conversation: "conv_1" },
        { prompt: { id: "p" } },
        { background: true },
      ]) {
        const refused = await ask({ model, ...body });
        assert.deepEqual(
          [refused.status, refused.error.code, refused.error.param],
          [400, "unsupported_parameter", Object.keys(body)[0]],
          refused.text,
        );
      }
    }
  });

  test("responses: explain says in which format each candidate gets the request", async () => {
    for (const [model, format] of [
      [MODEL, "responses"],
      ["talker/sim-small", "chat_completions"],
      ["claude/sim-small", "messages"],
    ]) {
      const url = `${gateway.url}/v1/routing/explain?endpoint=/v1/responses`;
      const explained = await call(url, {
        method: "POST",
        headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
        body: JSON.stringify({ model, input: "Hi" }),
      });
      const { candidates } = await explained.json();
      assert.deepEqual([candidates[0].format, candidates[0].passes], [format, model === MODEL]);
    }
  });
});

suite("clients of responses", () => {
  test("responses: OpenAI's SDK creates, streams and calls tools", async () => {
    for (const model of [MODEL, "talker/sim-small", "claude/sim-small"]) {
      const created = await client.responses.create({ model, input: "one two" });
      assert.match(created.output_text, /^(Hello!|You said: one two)$/);
      const run = client.responses.stream({ model, input: "one two" });
      let text = "";
      run.on("response.output_text.delta", ({ delta }) => (text += delta));
      const final = await run.finalResponse();
      assert.deepEqual([text, final.status], [created.output_text, "completed"]);
    }
    const run = client.responses.stream({
      model: MODEL,
      input: "weather?",
      metadata: { do: "tool" },
    });
    const [item] = (await run.finalResponse()).output;
    assert.ok(item?.type === "function_call");
    assert.deepEqual([item.name, item.arguments], ["weather", '{"city":"Oslo"}']);
  });

  test("responses: a WebSocket gets 426 at once", async () => {
    const headers = { authorization: `Bearer ${KEY}` };
    const get = await fetch(`${gateway.url}/v1/responses`, { headers });
    assert.equal(get.status, 405);
    const url = new URL(gateway.url);
    const probe = request({
      host: url.hostname,
      port: url.port,
      path: "/v1/responses",
      headers: {
        ...headers,
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "openai-beta": "responses_websockets=2026-02-06",
      },
    });
    probe.end();
    const [answered] = await once(probe, "response");
    let text = "";
    for await (const chunk of answered) text += chunk;
    assert.deepEqual(
      [answered.statusCode, JSON.parse(text).error.code],
      [426, "websocket_not_supported"],
      text,
    );
  });
});

/**
 * The response to a request about a kept response, or to another one beside `POST /v1/responses`.
 *
 * @param {string} method
 * @param {string} path
 * @param {string} key
 * @param {object} [body]
 */
async function about(method, path, key, body) {
  const answered = await call(`${gateway.url}/v1/responses/${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const json = /** @type {any} */ (await answered.json());
  return { status: answered.status, headers: answered.headers, json, error: json.error };
}

/**
 * A response that openai keeps for a key.
 *
 * @param {string} key
 * @param {object} [body]
 * @returns {Promise<{ id: string, account: string }>}
 */
async function stored(key, body = {}) {
  const made = await ask({ model: "openai/gpt-5.6-luna", ...body }, key);
  assert.equal(made.status, 200, made.text);
  const id = made.json?.id ?? events(made.text)[0].response.id;
  return { id, account: openai.sent.at(-1)?.account ?? assert.fail() };
}

suite("responses that a provider keeps", () => {
  /** @type {string} */ let key;
  /** @type {string} */ let other;
  before(async () => {
    [{ key }, { key: other }] = await Promise.all([issue(gateway, "one"), issue(gateway, "other")]);
  });

  test("stored responses: a continued conversation stays with the account that made its beginning", async () => {
    const accounts = new Set();
    for (let turn = 0; turn < 12; turn += 1) {
      const first = await stored(key, { stream: turn % 2 === 0, input: `Hi ${turn}` });
      const second = await stored(key, { previous_response_id: first.id, input: "And?" });
      assert.equal(second.account, first.account);
      accounts.add(first.account);
    }
    // Without affinity, half of the turns would have failed.
    assert.deepEqual([...accounts].sort(), ["sk-one", "sk-two"]);
  });

  test("stored responses: GET, input_items, cancel and DELETE go to the account that made the response", async () => {
    for (const stream of [false, true]) {
      const { id, account } = await stored(key, { stream, background: !stream });
      const got = await about("GET", `${id}?include[]=a%26b&secret=1`, key);
      assert.deepEqual([got.status, got.json.id], [200, id], JSON.stringify(got.json));
      assert.equal(got.headers.get("x-gateway-provider"), "openai");
      const last = openai.sent.at(-1) ?? assert.fail();
      assert.equal(last.path, `/v1/responses/${id}?include%5B%5D=a%26b`);
      const items = await about("GET", `${id}/input_items?limit=1&order=asc`, key);
      assert.deepEqual([items.status, items.json.data.length], [200, 1]);
      const cancelled = await about("POST", `${id}/cancel`, key);
      assert.deepEqual([cancelled.status, cancelled.json.status], [200, "cancelled"]);
      const deleted = await about("DELETE", id, key);
      assert.deepEqual([deleted.status, deleted.json.deleted], [200, true]);
      assert.ok(openai.sent.slice(-4).every((one) => one.account === account));
      const gone = await about("GET", id, key);
      assert.deepEqual([gone.status, gone.error.code], [404, "response_not_found"]);
    }
  });

  test("stored responses: another key, an unknown id and store false get 404, and nothing is sent", async () => {
    const { id } = await stored(key);
    const { id: unstored } = await stored(key, { store: false });
    const before = openai.sent.length;
    for (const [method, path, who] of [
      ["GET", id, other],
      ["DELETE", id, other],
      ["POST", `${id}/cancel`, other],
      ["GET", `${id}/input_items`, other],
      ["GET", id, KEY],
      ["GET", unstored, key],
      ["GET", "resp_unknown", key],
      ["GET", "..%2Fmodels", key],
    ]) {
      const missing = await about(`${method}`, `${path}`, `${who}`);
      assert.deepEqual([missing.status, missing.error.code], [404, "response_not_found"]);
    }
    for (const who of [other, KEY]) {
      const refused = await ask({ model: "openai/gpt-5.6-luna", previous_response_id: id }, who);
      const { code, param } = refused.error;
      assert.deepEqual(
        [refused.status, code, param],
        [400, "previous_response_not_found", "previous_response_id"],
      );
    }
    assert.equal(openai.sent.length, before);
    assert.equal((await about("GET", id, key)).status, 200);
    const streamed = await about("GET", `${id}?stream=true`, key);
    assert.deepEqual([streamed.status, streamed.error.param], [400, "stream"]);
  });

  test("stored responses: a provider without an endpoint, or another provider, is named", async () => {
    const { id } = await stored(key, { model: "xai/grok-4.5" });
    assert.equal((await about("GET", id, key)).status, 200);
    for (const [method, path] of [
      ["POST", `${id}/cancel`],
      ["GET", `${id}/input_items`],
    ]) {
      const refused = await about(`${method}`, `${path}`, key);
      assert.deepEqual([refused.status, refused.error.code], [400, "unsupported_endpoint"]);
    }
    const crossed = await ask({ model: "openai/gpt-5.6-luna", previous_response_id: id }, key);
    assert.deepEqual([crossed.status, crossed.error.code], [400, "unsupported_parameter"]);
    assert.match(crossed.error.message, /'xai'/);
    const background = await ask({ model: "xai/grok-4.5", background: true }, key);
    assert.deepEqual([background.status, background.error.param], [400, "background"]);
    assert.equal((await about("DELETE", id, key)).status, 200);
  });

  test("stored responses: OpenAI's SDK retrieves, lists, counts, compacts and deletes", async () => {
    const model = "openai/gpt-5.6-luna";
    const sdk = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key, maxRetries: 0 });
    const { id } = await sdk.responses.create({ model, input: "Hi" });
    assert.equal((await sdk.responses.retrieve(id)).id, id);
    assert.equal((await sdk.responses.inputItems.list(id)).data.length, 1);
    assert.equal((await sdk.responses.cancel(id)).status, "cancelled");
    await sdk.responses.delete(id);
    const count = await sdk.responses.inputTokens.count({ model, input: "Hi you" });
    assert.deepEqual([count.object, count.input_tokens], ["response.input_tokens", 8]);
    const compacted = await sdk.responses.compact({ model: "openai/gpt-5.6-luna", input: "Hi" });
    assert.equal(compacted.output[0]?.type, "compaction");
  });

  test("compactions: a compaction has a receipt, and needs a provider that compacts and a key without a budget", async () => {
    const { key: fresh } = await issue(gateway, "compacting");
    const body = { model: "openai/gpt-5.6-luna", input: "Hi" };
    const made = await about("POST", "compact", fresh, body);
    assert.equal(made.status, 200, JSON.stringify(made.json));
    assert.equal(made.headers.get("x-gateway-tokens"), "prompt=20, cached=0, completion=7");
    assert.equal(openai.sent.at(-1)?.path, "/v1/responses/compact");
    const [receipt] = await eventually(async () => {
      const list = await receipts(gateway, fresh);
      return list.length > 0 && list;
    });
    assert.equal(receipt.completion_tokens, 7);
    for (const model of ["talker/sim-small", MODEL, "xai/grok-4.5"]) {
      const refused = await about("POST", "compact", fresh, { ...body, model });
      assert.deepEqual([refused.status, refused.error.code], [400, "unsupported_endpoint"], model);
    }
    const { key: poor } = await issue(gateway, "compacting-poor", { policies: ["budget"] });
    const unpriced = await about("POST", "compact", poor, body);
    assert.deepEqual([unpriced.status, unpriced.error.code], [403, "price_unknown"]);
    const streamed = await about("POST", "compact", fresh, { ...body, stream: true });
    assert.deepEqual([streamed.status, streamed.error.param], [400, "stream"]);
  });

  test("input_tokens: the provider counts if it can, the maker of an earlier response if there is one; others are estimated", async () => {
    const { id, account } = await stored(key);
    const model = "openai/gpt-5.6-luna";
    const counted = await about("POST", "input_tokens", key, {
      model,
      input: "Hi",
      previous_response_id: id,
    });
    assert.deepEqual([counted.status, counted.json.input_tokens], [200, 4]);
    assert.equal(counted.headers.get("x-gateway-token-count"), "upstream");
    assert.equal(openai.sent.at(-1)?.account, account);
    for (const other of [MODEL, "talker/sim-small"]) {
      const guessed = await about("POST", "input_tokens", key, { model: other, input: "Hi you" });
      assert.equal(guessed.status, 200, JSON.stringify(guessed.json));
      assert.equal(guessed.headers.get("x-gateway-token-count"), "estimated");
      assert.equal(guessed.json.object, "response.input_tokens");
      assert.ok(guessed.json.input_tokens >= 2);
    }
    // A prompt of Messages that would be sent as Responses is counted as one.
    const messages = await call(`${gateway.url}/v1/messages/count_tokens`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({
        model,
        messages: [{ role: "user", content: "Hi" }],
        tools: [{ name: "f", input_schema: { type: "object", properties: {} } }],
      }),
    });
    const { input_tokens: tokens, ...rest } = await messages.json();
    assert.ok(tokens > 0);
    assert.deepEqual([rest, messages.headers.get("x-gateway-token-count")], [{}, "upstream"]);
    const { body } = openai.sent.at(-1) ?? assert.fail();
    assert.deepEqual(Object.keys(body).sort(), ["input", "model", "tools"]);
  });
});

suite("chat completions that are sent as Responses", () => {
  const TOOLS = [
    { type: "function", function: { name: "f", parameters: { type: "object", properties: {} } } },
  ];
  const messages = [{ role: "user", content: "Hi" }];

  /** @param {object} body @param {string} [key] */
  async function complete(body, key = KEY) {
    const answered = await call(`${gateway.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({ messages, ...body }),
    });
    const text = await answered.text();
    return { status: answered.status, headers: answered.headers, text };
  }

  test("chat: a model that is served only as Responses answers whole and streamed", async () => {
    for (const model of ["openai/gpt-5.4-pro", "xai/grok-4.20-multi-agent"]) {
      const whole = await complete({ model, reasoning_effort: "high" });
      assert.equal(whole.status, 200, whole.text);
      const { object, choices, usage } = JSON.parse(whole.text);
      assert.equal(object, "chat.completion");
      assert.match(choices[0].message.content, /^said \d+$/);
      assert.deepEqual([usage.prompt_tokens, usage.completion_tokens], [20, 7]);
      const { path, body } = openai.sent.at(-1) ?? assert.fail();
      assert.match(path, /\/v1\/responses$/);
      assert.deepEqual([body.store, body.reasoning], [false, { effort: "high" }]);
      const streamed = await complete({
        model,
        stream: true,
        stream_options: { include_usage: true },
      });
      assert.match(streamed.text, /"content":"said \d+"/);
      assert.match(streamed.text, /"prompt_tokens":20/);
      assert.ok(streamed.text.endsWith("data: [DONE]\n\n"));
      const tooMuch = await complete({ model, n: 2 });
      const { error } = JSON.parse(tooMuch.text);
      assert.deepEqual(
        [tooMuch.status, error.code, error.param],
        [400, "unsupported_parameter", "n"],
      );
    }
  });

  test("chat: tools go as Responses only to models that reject them in Chat Completions", async () => {
    for (const [model, rest, format] of [
      ["openai/gpt-5.6-sol", {}, "responses"],
      ["openai/gpt-5.6-sol", { reasoning_effort: "low" }, "responses"],
      ["openai/gpt-5.6-sol", { reasoning_effort: "none" }, "chat_completions"],
      ["openai/gpt-5.4", { reasoning_effort: "low" }, "responses"],
      ["openai/gpt-5.4", {}, "chat_completions"],
      ["openai/gpt-5", { reasoning_effort: "low" }, "chat_completions"],
    ]) {
      const body = { model, messages, tools: TOOLS, .../** @type {object} */ (rest) };
      const explained = await call(`${gateway.url}/v1/routing/explain`, {
        method: "POST",
        headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      const { candidates } = await explained.json();
      const { format: found, passes } = candidates[0];
      assert.deepEqual([found, passes], [format, format === "chat_completions"], `${model}`);
      const without = await call(`${gateway.url}/v1/routing/explain`, {
        method: "POST",
        headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
        body: JSON.stringify({ model, messages }),
      });
      assert.equal((await without.json()).candidates[0].passes, true, `${model}`);
    }
    const called = await complete({ model: "openai/gpt-5.6-sol", tools: TOOLS });
    const [choice] = JSON.parse(called.text).choices;
    assert.equal(choice.finish_reason, "tool_calls");
    assert.deepEqual(choice.message.tool_calls[0].function, { name: "f", arguments: "{}" });
  });

  test("chat: a budget limits the output of a call that is sent as a response", async () => {
    const { key: poor } = await issue(gateway, "chat-poor", { policies: ["small"] });
    const limited = await complete({ model: "openai/gpt-5.6-luna", tools: TOOLS }, poor);
    assert.equal(limited.status, 200, limited.text);
    const { max_output_tokens: most } = openai.sent.at(-1)?.body ?? assert.fail();
    assert.ok(most > 0 && most < 5000, `${most}`);
    assert.match(`${limited.headers.get("x-gateway-dropped-params")}`, /max_output_tokens=/);
  });

  test("responses: two translated responses of one moment have different ids", async () => {
    const body = { model: "nameless/gpt-small", input: "Hi" };
    const made = await Promise.all([ask(body), ask(body), ask(body)]);
    const ids = made.map(({ json }) => json?.id);
    assert.equal(new Set(ids).size, 3, `${ids}`);
    assert.ok(ids.every((id) => /^resp_.{16,}$/.test(id)));
  });
});

suite("Codex", () => {
  test("models: Codex gets an empty catalogue of its own beside the list", async () => {
    const list = async (/** @type {string} */ query) =>
      /** @type {any} */ (await (await call(`${gateway.url}/v1/models${query}`)).json());
    const [ordinary, codex] = [await list(""), await list("?client_version=0.171.0")];
    assert.equal(ordinary.models, undefined);
    assert.deepEqual(codex, { ...ordinary, models: [] });
  });
});
