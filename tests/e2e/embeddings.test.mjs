// @ts-check
//! `POST /v1/embeddings` in the real runtime: bytes in both directions, receipts, limits, failover within one model, and the
//! errors of models and providers that are for other endpoints.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import {
  Gateway,
  KEY,
  Upstream,
  begin,
  call,
  chat,
  embed,
  eventually,
  minuteWith,
  variables,
} from "./harness.mjs";
import { lane } from "./lanes.mjs";
import { issue, receipts } from "./ledgers.mjs";

const MODEL = "demo/embed-small";
/** A token costs a micro-USD, so that no cost is rounded. There is no price of output. */
const PRICE = { task: "embed", input_usd_per_mtok: 1 };
const FORMATS = { formats: ["embeddings"] };
/** Models of which the tests let the provider `first` fail: one each, since a lane that has failed is in cooldown. */
const FAILING = ["throttled", "broken", "named", "grouped", "alone", "explained"];

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;

before(async () => {
  upstream = await Upstream.start();
  gateway = await Gateway.start({
    ...variables(upstream, {
      aliases: { vectors: MODEL },
      groups: {
        pair: { models: ["first/grouped", "second/grouped"] },
        mixed: { models: ["first/alone", "second/other"] },
      },
      providers: {
        demo: lane(upstream, "demo", { formats: ["chat_completions", "embeddings"] }),
        first: lane(upstream, "first", { ...FORMATS, models: FAILING }),
        second: lane(upstream, "second", { ...FORMATS, models: [...FAILING, "other"] }),
        nokey: { base_url: `${upstream.url}/nokey/v1`, ...FORMATS },
        talker: lane(upstream, "talker", { models: ["sim-small"] }),
      },
      models: {
        [MODEL]: PRICE,
        "second/other": { ...PRICE, task: "embed" },
        ...Object.fromEntries(
          FAILING.flatMap((id) => [`first/${id}`, `second/${id}`].map((name) => [name, PRICE])),
        ),
      },
      routing: { backoff_ms: 10, auto: ["second/other", "demo/embed-small", "talker/*"] },
      timeouts: { first_byte_ms: 2000 },
      policies: {
        vectors: { endpoints: ["/v1/embeddings"] },
        "two-a-minute": { limits: { requests_per_minute: 2 } },
        "tokens-a-day": { limits: { tokens_per_day: 1000 } },
        budget: { limits: { usd_total: 0.0006 } },
      },
    }),
    OPENAI_API_KEY: "sk-openai",
    OPENAI_BASE_URL: `${upstream.url}/openai/v1`,
    GROQ_API_KEY: "sk-groq",
    GROQ_BASE_URL: `${upstream.url}/groq/v1`,
    VOYAGE_API_KEY: "sk-voyage",
    VOYAGE_BASE_URL: `${upstream.url}/voyage/v1`,
    MISTRAL_API_KEY: "sk-mistral",
    MISTRAL_BASE_URL: `${upstream.url}/mistral/v1`,
  });
});
after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

/**
 * The response to a request, read to its end.
 *
 * @param {object | string} body
 * @param {Record<string, string>} [headers]
 */
async function ask(body, headers) {
  const response = await embed(gateway, body, headers);
  const text = await response.text();
  const json = JSON.parse(text);
  return { status: response.status, headers: response.headers, text, json, error: json.error };
}

/**
 * Asserts that a request is rejected by the gateway.
 *
 * @param {Awaited<ReturnType<typeof ask>>} answered
 * @param {number} status
 * @param {string} code
 * @param {string} [param]
 */
function assertRejected(answered, status, code, param) {
  assert.deepEqual([answered.status, answered.error?.code], [status, code], answered.text);
  assert.equal(answered.headers.get("x-gateway-error-source"), "gateway");
  if (param !== undefined) assert.equal(answered.error.param, param);
}

/**
 * The response of /v1/routing/explain.
 *
 * @param {string} query
 * @param {object} body
 */
async function explain(query, body) {
  const response = await call(`${gateway.url}/v1/routing/explain${query}`, {
    method: "POST",
    headers: { ...bearer(KEY), "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: response.status, ...(await response.json()) };
}

/** The providers that received the requests since `forget`, by their paths. */
const called = async () => (await upstream.requests()).map(({ path }) => path.split("/")[1]);

/** @param {string} key */
const bearer = (key) => ({ authorization: `Bearer ${key}` });

suite("embeddings, bytes", () => {
  for (const [name, input, vectors, tokens] of /** @type {[string, any, number, number][]} */ ([
    ["a text", "one two three", 1, 3],
    ["several texts", ["one two", "three", ""], 3, 3],
    ["tokens", [15339, 1917], 1, 2],
    ["tokens of several texts", [[15339], [1917, 0]], 2, 3],
    ["text in many scripts", "Grüße 漢字 😀 \u0000 \u2028 שלום", 1, 5],
  ])) {
    test(`embeddings: ${name} reaches the provider, and the vectors and tokens come back`, async () => {
      const { status, text, json, headers } = await ask({ model: MODEL, input });
      assert.equal(status, 200, text);
      assert.equal(json.data.length, vectors);
      assert.deepEqual(json.usage, { prompt_tokens: tokens, total_tokens: tokens });
      assert.equal(headers.get("x-gateway-provider"), "demo");
      assert.equal(headers.get("x-gateway-model"), "embed-small");
      const { path, body_text } = await upstream.lastRequest();
      assert.equal(path, "/demo/v1/embeddings");
      assert.deepEqual(JSON.parse(body_text), { model: "embed-small", input });
    });
  }

  for (const encoding of [undefined, "float", "base64"]) {
    test(`embeddings: the response is the provider's, byte for byte (encoding_format ${encoding})`, async () => {
      const simulate = { extra_members: true };
      const body = {
        input: ["one", "two"],
        dimensions: 1536,
        encoding_format: encoding,
        simulate,
      };
      const direct = await fetch(`${upstream.url}/v1/embeddings`, {
        method: "POST",
        body: JSON.stringify({ ...body, model: "embed-small" }),
      });
      const response = await embed(gateway, { ...body, model: MODEL });
      const [expected, received] = [await direct.bytes(), await response.bytes()];
      assert.ok(Buffer.from(received).equals(Buffer.from(expected)));
      const { data } = JSON.parse(Buffer.from(received).toString());
      const { embedding } = data[0];
      if (encoding === "base64") {
        assert.equal(Buffer.from(embedding, "base64").length, 1536 * 4);
      } else {
        assert.equal(embedding.length, 1536);
      }
    });
  }

  test("embeddings: only the model and the gateway's own fields change in the request", async () => {
    const before =
      '\n{ "zzz" : [ 1e3, 2.50 ] ,\t"input":["\\u00e9", "é😀" ],"project_id":"p","models":[],"encoding_format":"base64",\n "model" : "demo/embed-small","dimensions":16 , "provider":{"sort":"price"},"user":"u"}\n';
    const after =
      '\n{ "zzz" : [ 1e3, 2.50 ] ,\t"input":["\\u00e9", "é😀" ],"encoding_format":"base64",\n "model" : "embed-small","dimensions":16,"user":"u"}\n';
    const { status, text } = await ask(before);
    assert.equal(status, 200, text);
    const { body_base64, headers } = await upstream.lastRequest();
    assert.equal(Buffer.from(body_base64, "base64").toString(), after);
    assert.equal(headers["user-agent"], "gatehouse");
  });

  test("embeddings: 2048 inputs pass in both directions", async () => {
    const input = Array.from({ length: 2048 }, (_, index) => `text number ${index}`);
    const { status, json, text } = await ask({ model: MODEL, input, dimensions: 64 });
    assert.equal(status, 200, text.slice(0, 200));
    assert.equal(json.data.length, 2048);
    assert.equal(json.data[2047].index, 2047);
    assert.equal(json.usage.total_tokens, 3 * 2048);
  });

  test("embeddings: fields that a provider rejects or names differently are adapted", async () => {
    const fields = { input: "a", dimensions: 4, user: "u" };
    for (const [model, encoding_format, sent, adjusted] of /** @type {any[]} */ ([
      [
        "voyage/voyage-3.5",
        "float",
        { input: "a", output_dimension: 4 },
        "dimensions>output_dimension, user",
      ],
      [
        "voyage/voyage-3.5",
        "base64",
        { input: "a", output_dimension: 4, encoding_format: "base64" },
        "dimensions>output_dimension, user",
      ],
      [
        "mistral/codestral-embed",
        "float",
        { input: "a", output_dimension: 4, encoding_format: "float", user: "u" },
        "dimensions>output_dimension",
      ],
    ])) {
      const { status, text, headers } = await ask({ model, ...fields, encoding_format });
      assert.equal(status, 200, text);
      const { model: _, ...rest } = JSON.parse((await upstream.lastRequest()).body_text);
      assert.deepEqual(rest, sent, model);
      assert.equal(headers.get("x-gateway-dropped-params"), adjusted);
    }
  });

  test("embeddings: a body of more than 20 MiB returns 413, a smaller one passes", async () => {
    const before = (await upstream.stats())["requests"];
    /** @param {number} size */
    const sized = async (size) => {
      const [head, tail] = [`{"model":"${MODEL}","input":"`, '"}'];
      const body = head + "x".repeat(size - head.length - tail.length) + tail;
      return ask(body);
    };
    const largest = 20 * 1024 * 1024;
    assert.equal((await sized(largest)).status, 200);
    assertRejected(await sized(largest + 1), 413, "body_too_large");
    assert.equal((await upstream.stats())["requests"], (before ?? 0) + 1);
  });

  test("embeddings: a response of 30 MB passes as it comes, byte for byte, and is charged", async () => {
    const input = Array.from({ length: 2048 }, (_, index) => `text number ${index}`);
    const body = { input, dimensions: 1536 };
    const direct = await fetch(`${upstream.url}/v1/embeddings`, {
      method: "POST",
      body: JSON.stringify({ ...body, model: "embed-small" }),
    });
    const expected = await direct.bytes();
    assert.ok(expected.length > 28_000_000, `${expected.length} bytes`);
    const { key } = await issue(gateway, "large-vectors");
    const response = await embed(gateway, { ...body, model: MODEL }, bearer(key));
    assert.ok(Buffer.from(await response.bytes()).equals(Buffer.from(expected)));
    const receipt = await eventually(async () => (await receipts(gateway, key))[0]);
    assert.deepEqual([receipt.prompt_tokens, receipt.estimated], [3 * 2048, false]);
  });

  test("embeddings: a large response that is cut reaches the client as one that is broken", async () => {
    const input = Array.from({ length: 200 }, (_, index) => `text number ${index}`);
    const simulate = { cut: "body" };
    const response = await fetch(`${gateway.url}/v1/embeddings`, {
      method: "POST",
      headers: { ...bearer(KEY), "content-type": "application/json" },
      body: JSON.stringify({ model: MODEL, input, dimensions: 1536, simulate }),
    });
    assert.equal(response.status, 200);
    await assert.rejects(response.text(), /terminated/);
  });
});

suite("embeddings, requests that are rejected", () => {
  for (const [name, body, code, param] of [
    ["no input", { model: MODEL }, "missing_input", "input"],
    ["input null", { model: MODEL, input: null }, "missing_input", "input"],
    ["an empty array", { model: MODEL, input: [] }, "invalid_value", "input"],
    ["a number", { model: MODEL, input: 7 }, "invalid_type", "input"],
    ["an object", { model: MODEL, input: { text: "a" } }, "invalid_type", "input"],
    ["texts and tokens", { model: MODEL, input: ["a", 7] }, "invalid_type", "input"],
    ["content parts", { model: MODEL, input: [{ type: "text" }] }, "invalid_type", "input"],
    ["no model", { input: "a" }, "missing_model", "model"],
    ["a model that is a number", { model: 7, input: "a" }, "invalid_type", "model"],
    ["two inputs", `{"model":"${MODEL}","input":"a","input":"b"}`, "duplicate_member", "input"],
    ["a body that is an array", "[]", "invalid_json", null],
    ["a body that is cut", '{"model":', "invalid_json", null],
    ["a wrong project", { model: MODEL, input: "a", project_id: "a b" }, "invalid_project_id"],
    ["an unknown model", { model: "nope", input: "a" }, "model_not_found", "model"],
  ]) {
    test(`embeddings: ${name} is rejected before a provider is called`, async () => {
      await upstream.forget();
      const answered = await ask(/** @type {any} */ (body));
      const status = code === "model_not_found" ? 404 : 400;
      assertRejected(answered, status, /** @type {string} */ (code));
      if (param !== undefined) assert.equal(answered.error.param, param);
      assert.deepEqual(await called(), []);
    });
  }

  test("embeddings: a chat model is rejected with the name of its endpoint", async () => {
    const answered = await ask({ model: "openai/gpt-5-mini", input: "a" });
    assertRejected(answered, 400, "unsupported_endpoint", "model");
    assert.match(answered.error.message, /chat model.*POST \/v1\/chat\/completions/);
  });

  test("embeddings: an embedding model in a chat completion is rejected with the name of its endpoint", async () => {
    for (const model of ["openai/text-embedding-3-small", "text-embedding-3-small", "vectors"]) {
      const response = await chat(gateway, { model });
      const { error } = await response.json();
      assert.deepEqual([response.status, error.code], [400, "unsupported_endpoint"], model);
      assert.match(error.message, /embedding model.*POST \/v1\/embeddings/);
    }
  });

  test("embeddings: a provider that does not serve them is rejected with what it serves", async () => {
    for (const model of ["talker/anything", "groq/anything"]) {
      const answered = await ask({ model, input: "a" });
      assertRejected(answered, 400, "unsupported_endpoint", "model");
      assert.match(answered.error.message, /does not serve POST \/v1\/embeddings.*chat/);
    }
    const response = await chat(gateway, { model: "first/anything" });
    assert.equal((await response.json()).error.code, "unsupported_endpoint");
  });

  test("embeddings: an error of the provider is passed on", async () => {
    const input = "a";
    const answered = await ask({ model: MODEL, input, encoding_format: "int8" });
    assert.deepEqual([answered.status, answered.error.param], [400, "encoding_format"]);
    assert.equal(answered.headers.get("x-gateway-error-source"), "upstream");
    for (const body of ["malformed", "array", "empty", "no_choices"]) {
      const simulate = { body, when: { path: "/demo" } };
      const broken = await ask({ model: "demo/broken", input, simulate });
      assert.deepEqual([broken.status, broken.error.code], [502, "upstream_invalid_response"]);
    }
  });

  test("embeddings: OPTIONS lists the methods, another method returns 405, a call without a key 401", async () => {
    const url = `${gateway.url}/v1/embeddings`;
    const preflight = await call(url, { method: "OPTIONS" });
    assert.equal(preflight.status, 204);
    assert.equal(preflight.headers.get("access-control-allow-methods"), "POST, OPTIONS");
    const headers = bearer(KEY);
    for (const method of ["GET", "PUT", "DELETE"]) {
      const response = await call(url, { method, headers });
      assert.equal(response.status, 405, method);
      assert.equal(response.headers.get("allow"), "POST, OPTIONS");
    }
    assert.equal((await call(url, { method: "POST", body: "{}" })).status, 401);
    assertRejected(
      await ask({ model: MODEL, input: "a" }, { "content-type": "text/plain" }),
      400,
      "unsupported_content_type",
    );
  });
});

suite("embeddings, receipts and limits", () => {
  test("embeddings: a receipt has the tokens, the cost at the model's price, and the project", async () => {
    const { key } = await issue(gateway, "embeddings-receipt");
    const body = { model: MODEL, input: ["one two", "three"], project_id: "search" };
    const { headers, text, status } = await ask(body, bearer(key));
    assert.equal(status, 200, text);
    assert.equal(headers.get("x-gateway-tokens"), "prompt=3, cached=0, completion=0");
    assert.equal(headers.get("x-gateway-cost-usd"), "0.000003");
    const [receipt] = await eventually(async () => {
      const list = await receipts(gateway, key);
      return list.length > 0 && list;
    });
    assert.equal(receipt.id, headers.get("x-gateway-receipt"));
    assert.deepEqual(
      [receipt.prompt_tokens, receipt.completion_tokens, receipt.cost_micro_usd],
      [3, 0, 3],
    );
    assert.deepEqual([receipt.estimated, receipt.outcome], [false, "answered"]);
    assert.equal(receipt.project, "search");
  });

  test("embeddings: the price of a catalogue model is charged", async () => {
    const input = "one two three four five six seven eight nine ten ".repeat(100);
    const { headers } = await ask({ model: "text-embedding-3-small", input });
    assert.equal(headers.get("x-gateway-tokens"), "prompt=1000, cached=0, completion=0");
    assert.equal(headers.get("x-gateway-cost-usd"), "0.00002");
  });

  test("embeddings: a usage of total_tokens alone is read, a missing one is estimated", async () => {
    const { key } = await issue(gateway, "embeddings-estimated");
    const body = { model: MODEL, input: "one two three four" };
    const total = await ask({ ...body, simulate: { usage: "total_only" } }, bearer(key));
    assert.equal(total.headers.get("x-gateway-tokens"), "prompt=4, cached=0, completion=0");
    const none = await ask({ ...body, simulate: { usage: "none" } }, bearer(key));
    assert.equal(none.status, 200);
    const list = await eventually(async () => {
      const list = await receipts(gateway, key);
      return list.length > 1 && list;
    });
    const [reported, estimated] = list;
    assert.deepEqual([reported.estimated, reported.prompt_tokens], [false, 4]);
    assert.deepEqual([estimated.estimated, estimated.completion_tokens], [true, 0]);
    assert.ok(estimated.cost_micro_usd > 0);
  });

  test("embeddings: limits of requests, tokens and money hold", async () => {
    await minuteWith(10);
    const body = { model: MODEL, input: "one two three" };
    const requests = await issue(gateway, "embeddings-requests", { policies: ["two-a-minute"] });
    for (const status of [200, 200, 429]) {
      const answered = await ask(body, bearer(requests.key));
      assert.equal(answered.status, status, answered.text);
      if (status === 429) assertRejected(answered, 429, "rate_limit_exceeded");
    }
    const tokens = await issue(gateway, "embeddings-tokens", { policies: ["tokens-a-day"] });
    const large = { model: MODEL, input: "word ".repeat(190) };
    assert.equal((await ask(body, bearer(tokens.key))).status, 200);
    const tooMany = await ask(large, bearer(tokens.key));
    assertRejected(tooMany, 402, "insufficient_quota", "tokens_per_day");
  });

  test("embeddings: a budget is not overrun, and returns insufficient_quota once it is spent", async () => {
    const { key } = await issue(gateway, "embeddings-budget", { policies: ["budget"] });
    const before = Number((await upstream.stats())["prompt_tokens"]);
    let spent;
    for (let calls = 0; calls < 60 && spent === undefined; calls += 1) {
      const answered = await ask({ model: MODEL, input: "word ".repeat(10) }, bearer(key));
      if (answered.status !== 200) spent = answered;
    }
    assert.ok(spent);
    assertRejected(spent, 402, "insufficient_quota", "usd_total");
    const line = await gateway.callOf(spent.headers.get("x-request-id") ?? "");
    assert.deepEqual([line.code, line.param], ["insufficient_quota", "usd_total"]);
    const cost = Number((await upstream.stats())["prompt_tokens"]) - before;
    assert.ok(cost > 0 && cost <= 600, `${cost} of 600`);
    const unknown = await ask({ model: "demo/unknown", input: "a" }, bearer(key));
    assertRejected(unknown, 403, "price_unknown");
  });

  test("embeddings: keys and policies can be narrowed to the endpoint", async () => {
    const body = { model: MODEL, input: "a" };
    const own = await issue(gateway, "embeddings-own", { endpoints: ["/v1/embeddings"] });
    const policy = await issue(gateway, "embeddings-policy", { policies: ["vectors"] });
    for (const { key } of [own, policy]) {
      assert.equal((await ask(body, bearer(key))).status, 200);
      const response = await chat(gateway, { model: "talker/sim-small" }, bearer(key));
      const { error } = await response.json();
      assert.deepEqual([response.status, error.code], [403, "endpoint_not_allowed"]);
    }
    const talker = await issue(gateway, "embeddings-not", {
      endpoints: ["/v1/chat/completions"],
    });
    assertRejected(await ask(body, bearer(talker.key)), 403, "endpoint_not_allowed");
  });
});

suite("embeddings, failover", () => {
  for (const [id, name, simulate] of /** @type {[string, string, object][]} */ ([
    ["throttled", "a throttled provider", { status: 429 }],
    ["broken", "a response that is cut", { cut: "body" }],
  ])) {
    test(`embeddings: after ${name} the same model of another provider is called`, async () => {
      await upstream.forget();
      const { status, headers, text } = await ask({
        model: id,
        input: "a",
        provider: { order: ["first", "second"] },
        simulate: { ...simulate, when: { path: "/first" } },
      });
      assert.equal(status, 200, text);
      assert.equal(headers.get("x-gateway-provider"), "second");
      assert.equal(headers.get("x-degraded-mode"), "true");
      assert.deepEqual(await called(), ["first", "second"]);
    });
  }

  test("embeddings: fallbacks in models and groups with the same model id are called", async () => {
    const simulate = { status: 503, when: { path: "/first" } };
    for (const routing of [{ model: "first/named", models: ["second/named"] }, { model: "pair" }]) {
      const { status, headers, text } = await ask({ ...routing, input: "a", simulate });
      assert.equal(status, 200, text);
      assert.equal(headers.get("x-gateway-provider"), "second");
    }
  });

  test("embeddings: another model is never called, whatever fails", async () => {
    const simulate = { status: 503, when: { path: "/first" } };
    for (const routing of [
      { model: "first/alone", models: ["second/other", "vectors", "auto"] },
      { model: "mixed" },
    ]) {
      await upstream.forget();
      const { status, headers } = await ask({ ...routing, input: "a", simulate });
      assert.equal(status, 503);
      assert.notEqual(headers.get("x-gateway-provider"), "second");
      assert.deepEqual(new Set(await called()), new Set(["first"]));
    }
  });

  test("embeddings: a model that cannot be called is not replaced by another", async () => {
    await upstream.forget();
    const answered = await ask({ model: "nokey/m", models: ["second/other"], input: "a" });
    assertRejected(answered, 503, "no_candidate");
    assert.deepEqual(await called(), []);
  });

  test("embeddings: /v1/routing/explain returns the plan with the models that are skipped", async () => {
    const body = {
      model: "first/explained",
      models: ["second/explained", "second/other", "talker/sim-small", "openai/gpt-5-mini"],
      input: "a",
    };
    const plan = await explain("?endpoint=/v1/embeddings", body);
    assert.deepEqual(
      plan.candidates.map((/** @type {any} */ { id }) => id),
      ["first/explained", "second/explained"],
    );
    assert.deepEqual(
      plan.dropped.map((/** @type {any} */ { id, reason }) => [id, reason]),
      [
        ["second/other", "other_model"],
        ["talker/sim-small", "no_endpoint"],
        ["openai/gpt-5-mini", "other_task"],
      ],
    );
    assert.equal((await explain("", body)).error.param, "messages");
    for (const query of ["?endpoint=/v1/nothing", "?endpoint=/v1/embeddings&endpoint="]) {
      const { status, error } = await explain(query, body);
      assert.deepEqual([status, error.code, error.param], [400, "invalid_value", "endpoint"]);
      assert.match(error.message, /\/v1\/chat\/completions, .*\/v1\/embeddings/);
    }
  });

  test("embeddings: auto chooses one embedding model", async () => {
    const { status, headers, text } = await ask({ model: "auto", input: "a" });
    assert.equal(status, 200, text);
    const model = `${headers.get("x-gateway-provider")}/${headers.get("x-gateway-model")}`;
    assert.ok([MODEL, "second/other"].includes(model), model);
    assert.equal((await chat(gateway, { model: "auto" })).status, 200);
    assert.equal((await upstream.lastRequest()).path, "/talker/v1/chat/completions");
    const plan = await explain("?endpoint=/v1/embeddings", { model: "auto", input: "a" });
    assert.equal(plan.candidates.length, 1, JSON.stringify(plan));
  });
});

test("embeddings: GET /v1/models has the task of each model and lists those for one", async () => {
  /** @param {string} query */
  const list = async (query) => {
    const response = await call(`${gateway.url}/v1/models${query}`);
    return (await response.json()).data;
  };
  const usual = await list("");
  const all = [...usual, ...(await list("?task=embed"))];
  const task = (/** @type {string} */ id) =>
    all.find((/** @type {any} */ model) => model.id === id)?.task;
  assert.equal(task("openai/text-embedding-3-small"), "embed");
  assert.equal(task("openai/gpt-5-mini"), "chat");
  assert.equal(task("vectors"), "embed");
  assert.equal(task("talker/sim-small"), null);
  assert.equal(task("pair"), undefined);
  for (const name of ["chat", "embed"]) {
    const some = await list(`?task=${name}`);
    assert.ok(some.length > 0);
    const isUsual = usual.some((/** @type {any} */ model) => model.task === name);
    assert.equal(isUsual, name === "chat", name);
    assert.deepEqual(
      some,
      all.filter((/** @type {any} */ model) => model.task === name),
    );
  }
  for (const query of ["?task=sing", "?task=", "?task=chat&task=chat"]) {
    const response = await call(`${gateway.url}/v1/models${query}`);
    const { error } = await response.json();
    assert.deepEqual(
      [response.status, error.code, error.param, error.message],
      [
        400,
        "invalid_value",
        "task",
        "'task' must be one of: chat, embed, complete, moderate, rerank, image, speech, transcribe",
      ],
    );
  }
});

test("embeddings: when the client disconnects the provider's work is cancelled", async () => {
  const bare = await Gateway.startBare(
    variables(upstream, {
      providers: { demo: lane(upstream, "demo", FORMATS) },
      aliases: {},
    }),
  );
  try {
    await upstream.forget();
    const body = { model: "demo/m", input: "a", simulate: { delay_ms: 60_000 } };
    const { socket } = await begin(bare, KEY, body, {}, "/v1/embeddings");
    await eventually(async () => (await upstream.requests()).length === 1);
    socket.resetAndDestroy();
    await eventually(async () => (await upstream.lastRequest()).outcome === "cancelled");
  } finally {
    await bare.stop();
  }
});
