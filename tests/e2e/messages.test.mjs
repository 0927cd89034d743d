// @ts-check
//! `POST /v1/messages` against providers that serve Messages, in the real runtime: bytes in both directions, versioned
//! headers, streams and their ends, errors in Anthropic's envelope, failover, receipts, counts of tokens, and models.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { Gateway, KEY, PROVIDER_KEY, Upstream, call, eventually, variables } from "./harness.mjs";
import { lane } from "./lanes.mjs";
import { issue, receipts } from "./ledgers.mjs";

const MODEL = "demo/claude-small";
const MESSAGES = { formats: ["messages"] };

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;

before(async () => {
  upstream = await Upstream.start();
  gateway = await Gateway.start({
    ...variables(upstream, {
      aliases: {},
      groups: {
        pair: { models: ["first/a", "second/a"] },
        makers: { models: ["first/a", "second/b"] },
      },
      providers: {
        demo: {
          base_url: `${upstream.url}/demo/v1`,
          auth: "x-api-key",
          formats: ["chat_completions", "messages"],
          models: ["claude-small"],
        },
        first: lane(upstream, "first", { ...MESSAGES, models: ["a", "b"] }),
        second: lane(upstream, "second", { ...MESSAGES, models: ["a", "b"] }),
        talker: lane(upstream, "talker", { models: ["sim-small"] }),
      },
      models: {
        [MODEL]: {
          input_usd_per_mtok: 3,
          output_usd_per_mtok: 15,
          cached_input_usd_per_mtok: 1,
          cache_write_usd_per_mtok: 4,
          max_output: 1000,
        },
      },
      routing: { backoff_ms: 10, retries: 0 },
      timeouts: { first_byte_ms: 2000, ping_ms: 200, idle_ms: 1500 },
      policies: {
        "two-a-minute": { limits: { requests_per_minute: 2 } },
        budget: { limits: { usd_total: 1 } },
      },
    }),
    ANTHROPIC_API_KEY: "sk-anthropic",
    ANTHROPIC_BASE_URL: `${upstream.url}/anthropic/v1`,
  });
});
after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

/**
 * @param {string} path
 * @param {object | string} body
 * @param {Record<string, string>} headers
 */
function post(path, body, headers) {
  return call(`${gateway.url}${path}`, {
    method: "POST",
    headers: { "x-api-key": KEY, "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

/**
 * The response to a request for a message, read to its end.
 *
 * @param {object | string} body an object is completed, a text is sent as it is
 * @param {Record<string, string>} [headers]
 */
async function ask(body, headers = {}) {
  const whole =
    typeof body === "string"
      ? body
      : { model: MODEL, max_tokens: 50, messages: [{ role: "user", content: "Hi" }], ...body };
  const response = await post("/v1/messages", whole, headers);
  const text = await response.text();
  const isStream = response.headers.get("content-type")?.startsWith("text/event-stream");
  const json = isStream ? undefined : JSON.parse(text);
  return { status: response.status, headers: response.headers, text, json, error: json?.error };
}

/**
 * The names of the events of a stream, in order, and their data.
 *
 * @param {string} text
 */
const named = (text) =>
  text
    .split("\n\n")
    .filter((event) => event !== "")
    .map((event) => {
      const [, name, data] = /^event: (.*)\ndata: (.*)$/.exec(event) ?? [];
      return { name: name ?? event, data: data === undefined ? undefined : JSON.parse(data) };
    });

suite("messages that pass", () => {
  test("messages: the body and the response pass byte for byte, and no header of the caller does", async () => {
    const rest =
      '"max_tokens" : 50, "messages":[ {"role":"user","content":[{"type":"text","text":"Hi é"}]} ],"new":{"x":1.50}}';
    const body = `{"project_id":"p","model":"${MODEL}", ${rest}`;
    const answered = await ask(body, {
      "x-stainless-lang": "js",
      "anthropic-version": "2026-10-21",
    });
    assert.equal(answered.status, 200, answered.text);
    const sent = await upstream.lastRequest();
    assert.equal(sent.path, "/demo/v1/messages");
    assert.equal(sent.body_text, `{"model":"claude-small", ${rest}`);
    // The runtime adds its own.
    const { host: _, "cf-worker": __, ...headers } = sent.headers;
    assert.deepEqual(headers, {
      "content-type": "application/json",
      "content-length": String(Buffer.byteLength(sent.body_text)),
      accept: "application/json",
      "accept-encoding": "identity",
      "user-agent": "gatehouse",
      "x-api-key": PROVIDER_KEY,
      "anthropic-version": "2026-10-21",
    });
    assert.equal(answered.json.type, "message");
    assert.equal(answered.headers.get("request-id"), answered.headers.get("x-request-id"));
    assert.equal(answered.headers.get("x-gateway-provider"), "demo");
  });

  test("messages: the version is passed on or set, and betas pass if they are names", async () => {
    for (const [given, version, beta] of [
      [{}, "2023-06-01", undefined],
      [{ "anthropic-version": "2023-06-01" }, "2023-06-01", undefined],
      [
        { "anthropic-beta": "context-1m-2025-08-07, effort-2025-11-24" },
        "2023-06-01",
        "context-1m-2025-08-07,effort-2025-11-24",
      ],
    ]) {
      const answered = await ask({ simulate: { lenient: true } }, /** @type {any} */ (given));
      assert.equal(answered.status, 200, answered.text);
      const { headers } = await upstream.lastRequest();
      assert.deepEqual([headers["anthropic-version"], headers["anthropic-beta"]], [version, beta]);
    }
    for (const [name, value] of [
      ["anthropic-version", "newest"],
      ["anthropic-beta", "a b"],
    ]) {
      const answered = await ask({}, { [String(name)]: String(value) });
      assert.deepEqual([answered.status, answered.error.param], [400, name], answered.text);
    }
  });

  test("messages: ?beta=true and Bearer are accepted, and the key of Anthropic goes into its header", async () => {
    const response = await call(`${gateway.url}/v1/messages?beta=true`, {
      method: "POST",
      headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
      body: JSON.stringify({
        model: "anthropic/claude-sonnet-4-5",
        max_tokens: 9,
        messages: [{ role: "user", content: "Hi" }],
      }),
    });
    assert.equal(response.status, 200, await response.text());
    const { path, headers } = await upstream.lastRequest();
    assert.deepEqual(
      [path, headers["x-api-key"], headers["authorization"]],
      ["/anthropic/v1/messages", "sk-anthropic", undefined],
    );
  });

  test("messages: a stream passes as it is, with pings and unknown events, to message_stop", async () => {
    const simulate = { events: 40, pings: true, unknown_events: true };
    const answered = await ask({ stream: true, simulate });
    assert.equal(answered.status, 200, answered.text);
    assert.match(answered.headers.get("content-type") ?? "", /^text\/event-stream/);
    assert.ok(answered.headers.has("request-id"));
    const found = named(answered.text);
    assert.deepEqual([found[0]?.name, found.at(-1)?.name], ["message_start", "message_stop"]);
    assert.ok(found.some(({ name }) => name === "ping"));
    const text = found.map(({ data }) => data?.delta?.text ?? "").join("");
    assert.equal(text, "tok ".repeat(40));
    for (const { name, data } of found) assert.equal(name, data.type);
  });

  test("messages: a whole message where a stream was asked for is served as a stream", async () => {
    const answered = await ask({ stream: true, simulate: { whole: true, content: "whole" } });
    const found = named(answered.text);
    assert.deepEqual([found[0]?.name, found.at(-1)?.name], ["message_start", "message_stop"]);
    assert.equal(found.map(({ data }) => data.delta?.text ?? "").join(""), "whole");
  });
});

suite("reasoning of earlier turns", () => {
  const THINKING = { thinking: { type: "enabled", budget_tokens: 1024 }, max_tokens: 2000 };
  const TOOLS = [{ name: "look", input_schema: { type: "object", properties: {} } }];

  /** A conversation whose model has thought, called a tool, and got its result. */
  async function turns() {
    const question = { role: "user", content: "Look" };
    const first = await ask({
      model: "first/a",
      ...THINKING,
      tools: TOOLS,
      messages: [question],
      simulate: { thinking: "hm" },
    });
    assert.equal(first.status, 200, first.text);
    const { content } = first.json;
    assert.deepEqual(
      content.map((/** @type {any} */ block) => block.type),
      ["thinking", "tool_use"],
    );
    const result = { type: "tool_result", tool_use_id: content[1].id, content: "found" };
    const answer = { role: "assistant", content };
    return [question, answer, { role: "user", content: [result] }];
  }

  test("messages: a lane that rejects the reasoning of another model gets the request once more without it", async () => {
    const messages = await turns();
    for (const stream of [false, true]) {
      await upstream.forget();
      const body = { model: "second/b", ...THINKING, tools: TOOLS, messages, stream };
      const answered = await ask(body);
      assert.equal(answered.status, 200, answered.text);
      assert.match(
        answered.headers.get("x-gateway-route") ?? "",
        /^second\/b;reasoning_rejected;dur=\d+, second\/b;ok;dur=\d+$/,
      );
      const dropped = answered.headers.get("x-gateway-dropped-params")?.split(", ");
      assert.deepEqual(dropped, ["reasoning", "thinking"]);
      const sent = (await upstream.requests()).map((one) => JSON.parse(one.body_text ?? ""));
      const kinds = sent.map(({ messages: [, answer] }) =>
        answer.content.map((/** @type {any} */ block) => block.type),
      );
      assert.deepEqual(kinds, [["thinking", "tool_use"], ["tool_use"]]);
      assert.deepEqual([sent[0].thinking?.type, sent[1].thinking], ["enabled", undefined]);
    }
    const health = await (await call(`${gateway.url}/health`)).json();
    const lane = health.models?.find((/** @type {any} */ one) => one.key === "second:b");
    assert.ok(lane === undefined || lane.status !== "cooldown", JSON.stringify(lane));
  });

  test("messages: the retry without reasoning is in the receipt, and is charged to the budget", async () => {
    const { key } = await issue(gateway, "retried", { policies: ["budget"] });
    const thinking = { thinking: { type: "adaptive" }, max_tokens: 900 };
    const answered = await ask(
      { model: MODEL, ...thinking, tools: TOOLS, messages: await turns() },
      { "x-api-key": key },
    );
    assert.equal(answered.status, 200, answered.text);
    const [receipt] = await eventually(async () => {
      const list = await receipts(gateway, key);
      return list.length === 1 && list;
    });
    assert.deepEqual(
      receipt.attempts.map((/** @type {any} */ attempt) => [
        attempt.outcome,
        attempt.cost_micro_usd,
      ]),
      [
        ["reasoning_rejected", 0],
        ["ok", receipt.cost_micro_usd],
      ],
    );
  });

  test("messages: an error about reasoning that the request does not have is the upstream's own", async () => {
    await upstream.forget();
    const message = "messages.1.content.0: Invalid `signature` in `thinking` block";
    const answered = await ask({ simulate: { status: 400, message } });
    assert.deepEqual([answered.status, answered.error.message], [400, message]);
    assert.equal(answered.headers.get("x-gateway-attempts"), "1");
  });

  test("messages: a second rejection goes to the next lane", async () => {
    const simulate = {
      status: 400,
      message: "Invalid `signature` in `thinking` block",
      when: { path: "/first" },
    };
    const answered = await ask({
      model: "pair",
      ...THINKING,
      tools: TOOLS,
      messages: await turns(),
      simulate,
    });
    assert.equal(answered.status, 200, answered.text);
    assert.match(
      answered.headers.get("x-gateway-route") ?? "",
      /^first\/a;reasoning_rejected;.*first\/a;reasoning_rejected;.*second\/a;ok/,
    );
  });

  test("chat: a conversation stays with the model that made its reasoning, which gets it back", async () => {
    /** @param {object} body */
    const chat = async (body, path = "/v1/chat/completions") => {
      const response = await post(path, { max_tokens: 3000, reasoning_effort: "low", ...body }, {});
      assert.equal(response.status, 200, await response.clone().text());
      return { json: await response.json(), headers: response.headers };
    };
    const question = { role: "user", content: 'Why? [[simulate {"thinking": "hm"}]]' };
    const { json } = await chat({ model: "second/b", messages: [question] });
    const { message } = json.choices[0];
    assert.match(JSON.stringify(message), /gatehouse:signature:/);
    const messages = [question, message, { role: "user", content: "Go on" }];
    const next = await chat({ model: "makers", messages });
    assert.equal(next.headers.get("x-gateway-provider"), "second");
    assert.equal(next.headers.get("x-gateway-attempts"), "1");
    const { body_text } = await upstream.lastRequest();
    const [thought] = JSON.parse(body_text).messages[1].content;
    assert.deepEqual([thought.type, thought.thinking], ["thinking", "hm"]);
    assert.ok(!body_text.includes("gatehouse:"), body_text);
    const { json: plan } = await chat({ model: "makers", messages }, "/v1/routing/explain");
    assert.deepEqual([plan.sticky_by, plan.candidates[0].id], ["reasoning", "second/b"]);
    // A request that orders the models itself is not reordered, and no other lane sees the blob.
    const own = await chat({ model: "first/a", models: ["second/b"], messages });
    assert.equal(own.headers.get("x-gateway-provider"), "first");
    assert.doesNotMatch((await upstream.lastRequest()).body_text, /"type":"thinking"/);
  });
});

suite("ends of message streams", () => {
  for (const [what, simulate, kind] of [
    ["that is cut", { events: 5, cut: "stream", after_events: 5 }, "api_error"],
    ["without message_stop", { events: 5, cut: "clean", before_end: 1 }, "api_error"],
    ["with an error event", { events: 5, error_event: true, after_events: 5 }, "overloaded_error"],
    ["that falls silent", { events: 5, hang: "stream", after_events: 5 }, "timeout_error"],
  ]) {
    test(`messages: a stream ${what} ends with an error event`, async () => {
      const answered = await ask({ stream: true, simulate });
      assert.equal(answered.status, 200, answered.text);
      const last = named(answered.text).at(-1);
      assert.equal(last?.name, "error", answered.text);
      assert.deepEqual([last?.data.type, last?.data.error.type], ["error", kind]);
      assert.ok(!answered.text.includes("message_stop"));
    });
  }

  test("messages: a client of a silent upstream gets pings as events", async () => {
    const answered = await ask({
      stream: true,
      simulate: { events: 5, hang: "stream", after_events: 5 },
    });
    assert.match(answered.text, /\n\nevent: ping\ndata: \{"type": "ping"\}\n\n/);
    assert.ok(!answered.text.includes(": ping\n\n: ping"));
  });

  test("messages: what fails before its first content goes to the next lane", async () => {
    for (const fault of [
      { status: 529 },
      { error_event: true, after_events: 1 },
      { cut: "clean", after_events: 1 },
    ]) {
      await upstream.forget();
      const simulate = { ...fault, when: { path: "/first" } };
      const answered = await ask({ model: "pair", stream: true, simulate });
      assert.equal(answered.status, 200, answered.text);
      assert.equal(answered.headers.get("x-gateway-provider"), "second");
      assert.equal(named(answered.text).filter(({ name }) => name === "message_start").length, 1);
      assert.equal(named(answered.text).at(-1)?.name, "message_stop");
    }
  });
});

suite("errors of messages", () => {
  test("messages: errors have Anthropic's envelope, with the id of the request", async () => {
    for (const [body, headers, status, type, code] of [
      [{}, { "x-api-key": "wrong" }, 401, "authentication_error", "invalid_api_key"],
      [{ max_tokens: undefined }, {}, 400, "invalid_request_error", "missing_member"],
      ["{", {}, 400, "invalid_request_error", "invalid_json"],
      [{ model: "nothing/here" }, {}, 404, "not_found_error", "model_not_found"],
    ]) {
      const answered = await ask(/** @type {any} */ (body), /** @type {any} */ (headers));
      assert.deepEqual(
        [answered.status, answered.json.type, answered.error.type, answered.error.code],
        [status, "error", type, code],
        answered.text,
      );
      assert.equal(answered.json.request_id, answered.headers.get("request-id"));
      assert.equal(answered.headers.get("x-should-retry"), "false");
    }
    const wrong = await fetch(`${gateway.url}/v1/messages`, { headers: { "x-api-key": KEY } });
    assert.deepEqual([wrong.status, (await wrong.json()).type], [405, "error"]);
    assert.ok(wrong.headers.has("request-id"));
  });

  test("messages: an upstream's status and words are kept, a lack of capacity is 529", async () => {
    for (const [simulate, status, type] of [
      [{ status: 529 }, 529, "overloaded_error"],
      [{ status: 503 }, 529, "overloaded_error"],
      [{ status: 429, retry_after: 7 }, 429, "rate_limit_error"],
      [{ status: 400 }, 400, "invalid_request_error"],
      [{ status: 500 }, 500, "api_error"],
    ]) {
      const model = `anthropic/claude-${status}-${Math.random()}`;
      const answered = await ask({ model, simulate });
      assert.deepEqual([answered.status, answered.error.type], [status, type], answered.text);
      assert.equal(answered.headers.get("x-gateway-error-source"), "upstream");
      if (status === 429) assert.equal(answered.headers.get("retry-after"), "7");
    }
    const message = "prompt is too long: 200001 tokens > 200000 maximum";
    const long = await ask({ simulate: { status: 400, message } });
    assert.deepEqual([long.status, long.error.message], [400, message]);
  });
});

suite("messages and limits", () => {
  test("messages: a receipt has the tokens of the cache, priced as the catalogue says", async () => {
    const { key } = await issue(gateway, "cached");
    const simulate = { bill: { dense: true, cached: 10, cache_write: 5 }, events: 7 };
    const content = "word ".repeat(20);
    for (const stream of [false, true]) {
      const answered = await ask(
        { stream, simulate, messages: [{ role: "user", content }] },
        { "x-api-key": key },
      );
      assert.equal(answered.status, 200, answered.text);
    }
    const found = await eventually(async () => {
      const list = await receipts(gateway, key);
      return list.length === 2 && list;
    });
    const [whole, streamed] = found;
    assert.deepEqual(
      [streamed.cached_tokens, streamed.cache_write_tokens, streamed.completion_tokens],
      [10, 5, 7],
    );
    const { prompt_tokens: prompt } = streamed;
    const cost = (prompt - 15) * 3 + 10 * 1 + 5 * 4 + 7 * 15;
    assert.deepEqual([streamed.cost_micro_usd, whole.cost_micro_usd], [cost, cost]);
  });

  test("messages: a limit of the key gets 429 and a hosted tool is refused to a key with a budget", async () => {
    const { key } = await issue(gateway, "limited", { policies: ["two-a-minute"] });
    const statuses = [];
    for (let index = 0; index < 3; index += 1) {
      statuses.push(await ask({}, { "x-api-key": key }));
    }
    assert.deepEqual(
      statuses.map(({ status }) => status),
      [200, 200, 429],
    );
    assert.equal(statuses[2]?.error.type, "rate_limit_error");
    const { key: poor } = await issue(gateway, "poor", { policies: ["budget"] });
    const tools = [{ type: "web_search_20250305", name: "web_search" }];
    const refused = await ask({ tools }, { "x-api-key": poor });
    assert.deepEqual([refused.status, refused.error.param], [403, "tools"], refused.text);
    const context_management = { edits: [{ type: "clear_thinking_20251015", keep: "all" }] };
    const accepted = await ask({ context_management }, { "x-api-key": poor });
    assert.equal(accepted.status, 200, accepted.text);
  });
});

suite("counts of tokens", () => {
  const PROMPT = { messages: [{ role: "user", content: "one two three" }] };

  test("count_tokens: a provider of Messages counts, and nothing is completed or recorded", async () => {
    await upstream.forget();
    const { key } = await issue(gateway, "counter", { policies: ["budget"] });
    const response = await post(
      "/v1/messages/count_tokens?beta=true",
      { model: MODEL, ...PROMPT },
      { "x-api-key": key, "anthropic-beta": "token-counting-2024-11-01" },
    );
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("x-gateway-token-count"), "upstream");
    assert.ok((await response.json()).input_tokens > 0);
    const sent = await upstream.requests();
    assert.deepEqual(
      sent.map(({ path }) => path),
      ["/demo/v1/messages/count_tokens"],
    );
    assert.equal(JSON.parse(sent[0]?.body_text ?? "").model, "claude-small");
    assert.deepEqual(await receipts(gateway, key), []);
  });

  test("count_tokens: others are estimated, rather too high, and their lanes stay well", async () => {
    await upstream.forget();
    for (const [model, sent] of [
      ["talker/sim-small", 0],
      ["first/b", 1],
    ]) {
      const simulate = model === "first/b" ? { simulate: { status: 404 } } : {};
      const response = await post(
        "/v1/messages/count_tokens",
        { model, ...PROMPT, ...simulate },
        {},
      );
      assert.equal(response.status, 200, await response.clone().text());
      assert.equal(response.headers.get("x-gateway-token-count"), "estimated");
      assert.ok((await response.json()).input_tokens >= 3);
      const paths = (await upstream.requests()).map(({ path }) => path);
      assert.deepEqual(
        paths.filter((path) => !path.endsWith("/count_tokens")),
        [],
      );
      assert.equal(paths.length, sent);
    }
    const health = await (await call(`${gateway.url}/health`)).json();
    const lanes = health.models ?? [];
    assert.ok(
      !lanes.some((/** @type {any} */ one) => one.key === "first:b"),
      JSON.stringify(lanes),
    );
  });

  test("count_tokens: an invalid prompt is rejected in Anthropic's envelope", async () => {
    const response = await post("/v1/messages/count_tokens", { model: MODEL }, {});
    const body = await response.json();
    assert.deepEqual([response.status, body.type, body.error.param], [400, "error", "messages"]);
  });
});

suite("clients of Anthropic", () => {
  const VERSION = { "anthropic-version": "2023-06-01" };

  test("models: clients that send anthropic-version get pages in Anthropic's shape", async () => {
    const list = async (/** @type {string} */ query) =>
      (await call(`${gateway.url}/v1/models${query}`, { headers: VERSION })).json();
    const all = await list("?limit=1000");
    assert.ok(all.data.length > 3);
    const ids = all.data.map((/** @type {any} */ one) => one.id);
    assert.deepEqual([all.first_id, all.last_id], [ids[0], ids.at(-1)]);
    assert.ok(ids.includes(MODEL) && ids.includes("pair"));
    const openai = await (await call(`${gateway.url}/v1/models`)).json();
    assert.deepEqual(
      openai.data.map((/** @type {any} */ one) => one.id),
      ids,
    );
    const page = await list("?limit=2");
    assert.deepEqual([page.data.length, page.has_more], [2, true]);
    const next = await list(`?limit=2&after_id=${page.last_id}`);
    assert.equal(next.first_id, ids[2]);
    const previous = await list(`?limit=1&before_id=${next.first_id}`);
    assert.deepEqual([previous.first_id, previous.has_more], [ids[1], true]);
    assert.equal((await list("?after_id=nothing")).error.param, "after_id");
    const one = await call(`${gateway.url}/v1/models/${MODEL}`, { headers: VERSION });
    assert.deepEqual((await one.json()).type, "model");
    const none = await call(`${gateway.url}/v1/models/nothing`, { headers: VERSION });
    const body = await none.json();
    assert.deepEqual([none.status, body.type, body.error.type], [404, "error", "not_found_error"]);
  });

  test("claude code: its probes are answered", async () => {
    for (const path of ["/", "/api/hello"]) {
      const response = await fetch(`${gateway.url}${path}`, { method: "HEAD" });
      assert.equal(response.status, 200, path);
    }
  });

  test("explain: a candidate says whether a message passes", async () => {
    const response = await post(
      "/v1/routing/explain?endpoint=/v1/messages",
      { model: "pair", max_tokens: 9, messages: [{ role: "user", content: "Hi" }] },
      {},
    );
    const { candidates } = await response.json();
    assert.deepEqual(
      candidates.map((/** @type {any} */ one) => [one.id, one.format, one.passes]),
      [
        ["first/a", "messages", true],
        ["second/a", "messages", true],
      ],
    );
  });
});
