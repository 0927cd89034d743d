// @ts-check
//! Legacy completions, moderations, rerankings, images and speech in the real runtime: bytes in both directions, the official
//! SDK, receipts in other units than tokens, budgets, failover, streams, and the errors of each.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import OpenAI from "openai";
import { Gateway, KEY, Upstream, atOnce, call, eventually, root, variables } from "./harness.mjs";
import { CohereClient, CohereClientV2 } from "../clients/cohere.mjs";
import { lane } from "./lanes.mjs";
import { issue, receipts } from "./ledgers.mjs";

const FORMATS = {
  formats: ["completions", "moderations", "rerank", "rerank_v2", "images", "speech"],
};
/** Models of which the tests let the provider `first` fail: one each, since a lane that has failed is in cooldown. */
const FAILING = ["throttled", "late", "allowed", "cut", "sick", "spoken"];
const IMAGE_USD = 0.04;

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;
/** @type {OpenAI} */ let client;

before(async () => {
  upstream = await Upstream.start();
  const image = { task: "image", usd_per_unit: { image: IMAGE_USD } };
  gateway = await Gateway.start({
    ...variables(upstream, {
      aliases: { "omni-moderation-latest": "demo/moderator" },
      providers: {
        demo: lane(upstream, "demo", { ...FORMATS, models: ["writer"] }),
        first: lane(upstream, "first", { ...FORMATS, models: FAILING }),
        second: lane(upstream, "second", { ...FORMATS, models: FAILING }),
        talker: lane(upstream, "talker", { models: ["sim-small"] }),
      },
      models: {
        "demo/writer": { task: "complete", input_usd_per_mtok: 1, output_usd_per_mtok: 2 },
        "demo/moderator": { task: "moderate", input_usd_per_mtok: 0 },
        "demo/cohere-rerank": { task: "rerank", usd_per_unit: { search: 0.002 } },
        "demo/jina-rerank": { task: "rerank", input_usd_per_mtok: 1 },
        "demo/painter": image,
        "demo/tokens": {
          task: "image",
          input_usd_per_mtok: 5,
          usd_per_unit: { image_output: 0.00004 },
        },
        "demo/speaker": { task: "speech", usd_per_unit: { character: 0.000015 } },
        "demo/tokens-speaker": {
          task: "speech",
          input_usd_per_mtok: 1,
          usd_per_unit: { audio_output: 0.000012 },
        },
        ...Object.fromEntries(
          FAILING.flatMap((id) =>
            ["first", "second"].map((name) => [
              `${name}/${id}`,
              id === "spoken" ? { task: "speech" } : image,
            ]),
          ),
        ),
      },
      routing: { backoff_ms: 10, retries: 1 },
      timeouts: { first_byte_ms: 1500, stream_first_byte_ms: 1500, idle_ms: 1500 },
      policies: {
        images: { endpoints: ["/v1/images/generations"] },
        // Five images of four cents each, and not a cent more.
        purse: { limits: { usd_total: 0.2 } },
        words: { limits: { usd_total: 0.0003 } },
      },
    }),
    OPENAI_API_KEY: "sk-openai",
    OPENAI_BASE_URL: `${upstream.url}/openai/v1`,
    COHERE_API_KEY: "sk-cohere",
    COHERE_BASE_URL: `${upstream.url}/cohere/compatibility/v1`,
    VOYAGE_API_KEY: "sk-voyage",
    VOYAGE_BASE_URL: `${upstream.url}/voyage/v1`,
  });
  client = new OpenAI({
    baseURL: `${gateway.url}/v1`,
    apiKey: KEY,
    maxRetries: 0,
    fetch: /** @type {any} */ (call),
  });
});
after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

/**
 * @param {string} path
 * @param {object | string} body
 * @param {string} [key]
 */
const post = (path, body, key = KEY) =>
  call(`${gateway.url}${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });

/**
 * The response to a request, read to its end.
 *
 * @param {string} path
 * @param {object | string} body
 * @param {string} [key]
 */
async function ask(path, body, key) {
  const response = await post(path, body, key);
  const bytes = Buffer.from(await response.arrayBuffer());
  const text = bytes.toString();
  const json = text.startsWith("{") ? JSON.parse(text) : undefined;
  return { status: response.status, headers: response.headers, bytes, text, json };
}

/** The receipt that a response names. @param {Headers} headers @param {string} [key] */
const receiptOf = (headers, key) =>
  eventually(async () => {
    const id = headers.get("x-gateway-receipt");
    return (await receipts(gateway, key)).find((/** @type {any} */ one) => one.id === id);
  });

/** The providers that received the requests since `forget`, by their paths. */
const called = async () => (await upstream.requests()).map(({ path }) => path.split("/")[1]);

const TEXT = { prompt: "one two three", max_tokens: 9 };
const RANK = { query: "red fox", documents: ["a dog", "a red fox", "red"] };
const IMAGE = { prompt: "a red fox" };
const SAID = { input: "Grüße 😀", voice: "alloy" };

suite("endpoints, bytes", () => {
  for (const [path, to, model, more] of /** @type {[string, string, string, object][]} */ ([
    ["/v1/completions", "/demo/v1/completions", "demo/writer", TEXT],
    ["/v1/moderations", "/demo/v1/moderations", "demo/moderator", { input: "harm" }],
    ["/v1/rerank", "/demo/v1/rerank", "demo/cohere-rerank", RANK],
    ["/v2/rerank", "/demo/v1/rerank", "demo/jina-rerank", RANK],
    ["/v1/rerank", "/cohere/v1/rerank", "cohere/rerank-v3.5", RANK],
    ["/v2/rerank", "/cohere/v2/rerank", "cohere/rerank-v3.5", RANK],
    ["/v1/images/generations", "/demo/v1/images/generations", "demo/painter", IMAGE],
    ["/v1/audio/speech", "/demo/v1/audio/speech", "demo/speaker", SAID],
  ])) {
    test(`endpoints: ${path} passes the bytes of ${model} in both directions`, async () => {
      const [provider, ...id] = model.split("/");
      const text = JSON.stringify({ zzz: 1, model, project_id: "p", ...more });
      const sent = text.replace(model, id.join("/")).replace('"project_id":"p",', "");
      const response = await ask(path, text);
      assert.equal(response.status, 200, response.text);
      const { path: at, body_text, headers, n } = await upstream.lastRequest();
      assert.deepEqual([at, body_text], [to, sent]);
      assert.equal(headers["accept"], path.endsWith("speech") ? "*/*" : "application/json");
      const direct = await fetch(`${upstream.url}${to}`, { method: "POST", body: sent });
      const expected = Buffer.from(await direct.arrayBuffer());
      // The ids of the provider have the number of the request in them.
      const own = (/** @type {Buffer} */ bytes) =>
        bytes.toString("latin1").replace(/"created":\d+|sim-\d+/g, "");
      assert.equal(own(response.bytes), own(expected), `${n}`);
      assert.equal(response.headers.get("x-gateway-provider"), provider);
      assert.equal(
        response.headers.get("content-type")?.split(";")[0],
        direct.headers.get("content-type"),
      );
    });
  }

  test("endpoints: a moderation without a model runs the default one, and names it", async () => {
    const { status, json, text } = await ask("/v1/moderations", { input: ["harm", "peace"] });
    assert.equal(status, 200, text);
    assert.deepEqual(
      json.results.map((/** @type {any} */ one) => one.flagged),
      [true, false],
    );
    assert.equal((await upstream.lastRequest()).path, "/demo/v1/moderations");
    assert.equal(json.model, "moderator");
  });

  test("endpoints: Voyage's fields of a reranking are adapted in both directions", async () => {
    const body = { model: "voyage/voyage-rerank", ...RANK, top_n: 2 };
    const { status, json, headers, text } = await ask("/v1/rerank", body);
    assert.equal(status, 200, text);
    assert.deepEqual(
      json.results.map((/** @type {any} */ one) => one.index),
      [1, 2],
    );
    assert.equal(headers.get("x-gateway-dropped-params"), "top_n>top_k");
    assert.equal(JSON.parse((await upstream.lastRequest()).body_text).top_k, 2);
  });

  test("endpoints: response_format is dropped for OpenAI's models that reject it", async () => {
    const body = { model: "openai/gpt-image-2", ...IMAGE, response_format: "b64_json" };
    const { status, headers, text } = await ask("/v1/images/generations", body);
    assert.equal(status, 200, text);
    assert.equal(headers.get("x-gateway-dropped-params"), "response_format");
    // 3 tokens of text at 5 USD, and 1056 of an image at 30 USD per million.
    assert.equal(headers.get("x-gateway-cost-usd"), "0.031695");
  });

  test("endpoints: images of 20 MB and speech of 5 MB pass as they come", async () => {
    const image = await ask("/v1/images/generations", {
      model: "demo/painter",
      ...IMAGE,
      simulate: { content_bytes: 15 << 20 },
    });
    assert.equal(image.json.data[0].b64_json.length, 20 << 20);
    const receipt = await receiptOf(image.headers);
    assert.deepEqual([receipt.stream, receipt.cost_micro_usd], [false, 40_000]);
    const size = 5 << 20;
    const speech = await ask("/v1/audio/speech", {
      model: "demo/speaker",
      ...SAID,
      simulate: { content_bytes: size },
    });
    const expected = Buffer.from(Array.from({ length: 256 }, (_, index) => (index + 255) % 256));
    assert.ok(speech.bytes.equals(Buffer.alloc(size, expected)));
    // The first bytes arrive while the provider has not sent the rest.
    const response = await post("/v1/audio/speech", {
      model: "demo/speaker",
      ...SAID,
      simulate: { content_bytes: 10_000, drip_ms: 100 },
    });
    const began = Date.now();
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
    assert.ok(((await reader.read()).value?.length ?? 0) < 10_000);
    assert.ok(Date.now() - began < 600, `${Date.now() - began} ms`);
    await reader.cancel();
  });
});

suite("endpoints, streams", () => {
  test("endpoints: a legacy completion is streamed and its usage is hidden", async () => {
    const body = { model: "demo/writer", ...TEXT, stream: true };
    const { status, text, headers } = await ask("/v1/completions", body);
    assert.equal(status, 200, text);
    assert.match(headers.get("content-type") ?? "", /^text\/event-stream/);
    assert.ok(text.endsWith("data: [DONE]\n\n") && !text.includes("usage"), text);
    const receipt = await receiptOf(headers);
    assert.deepEqual(
      [receipt.prompt_tokens, receipt.completion_tokens, receipt.cost_micro_usd],
      [3, 5, 13],
    );
    const cut = await ask("/v1/completions", {
      ...body,
      simulate: { cut: "clean", after_events: 2 },
    });
    assert.match(cut.text, /"code":"upstream_stream_cut"/);
    const whole = await ask("/v1/completions", { ...body, simulate: { whole: true } });
    assert.match(
      whole.text,
      /^data: \{.*"text":"You said: one two three".*\}\n\ndata: \[DONE\]\n\n$/,
    );
  });

  test("endpoints: images are streamed with partial images, and complete without [DONE]", async () => {
    const body = { model: "demo/tokens", ...IMAGE, n: 2, stream: true, partial_images: 2 };
    const { status, text, headers } = await ask("/v1/images/generations", body);
    assert.equal(status, 200, text);
    const types = [...text.matchAll(/^event: image_generation\.(\w+)$/gm)].map(([, name]) => name);
    assert.deepEqual(types, ["partial_image", "partial_image", "completed", "completed"]);
    const receipt = await receiptOf(headers);
    assert.equal(receipt.outcome, "answered");
    assert.deepEqual(receipt.units, [
      { unit: "image", quantity: 2 },
      { unit: "image_input", quantity: 0 },
      { unit: "image_output", quantity: 2112 },
    ]);
    // 6 tokens of text at 5 USD, and 2112 of images at 40 USD per million.
    assert.equal(receipt.cost_micro_usd, 30 + 84_480);
  });

  test("endpoints: a stream of images that breaks ends with an error event", async () => {
    const body = { model: "demo/painter", ...IMAGE, stream: true, partial_images: 2 };
    for (const cut of ["clean", "stream"]) {
      const { text } = await ask("/v1/images/generations", {
        ...body,
        simulate: { cut, after_events: 2 },
      });
      assert.match(text, /"code":"upstream_stream_cut"/);
    }
    const whole = await ask("/v1/images/generations", { ...body, simulate: { whole: true } });
    assert.match(whole.text, /^event: image_generation\.completed\ndata: /);
  });

  test("endpoints: an event of an image may have megabytes", async () => {
    const { text } = await ask("/v1/images/generations", {
      model: "demo/painter",
      ...IMAGE,
      stream: true,
      simulate: { content_bytes: 3 << 20 },
    });
    assert.ok(text.length > 4 << 20, `${text.length}`);
    assert.ok(!text.includes("error"));
  });

  test("endpoints: speech as events has its usage", async () => {
    const body = { model: "demo/tokens-speaker", ...SAID, stream_format: "sse" };
    const { text, headers, status } = await ask("/v1/audio/speech", body);
    assert.equal(status, 200, text);
    assert.match(headers.get("content-type") ?? "", /^text\/event-stream/);
    assert.match(text, /speech\.audio\.delta.*speech\.audio\.done/s);
    const receipt = await receiptOf(headers);
    assert.deepEqual(
      [receipt.prompt_tokens, receipt.completion_tokens, receipt.estimated],
      [2, 14, false],
    );
    assert.equal(receipt.cost_micro_usd, 2 + 14 * 12);
  });

  test("endpoints: speech that the provider breaks off breaks the connection", async () => {
    const body = { model: "demo/speaker", ...SAID };
    const cut = { content_bytes: 100_000, cut: "body", drip_ms: 5 };
    const response = await post("/v1/audio/speech", { ...body, simulate: cut });
    assert.equal(response.status, 200);
    await assert.rejects(response.arrayBuffer());
    const receipt = await receiptOf(response.headers);
    assert.deepEqual([receipt.outcome, receipt.partial], ["failed", true]);
    // A provider bills the characters that it accepts.
    assert.equal(receipt.cost_micro_usd, 7 * 15);
  });

  test("endpoints: large images that the provider breaks off break the connection", async () => {
    const simulate = { content_bytes: 200_000, cut: "body", no_content_length: true };
    const body = { model: "demo/painter", ...IMAGE, simulate };
    // The harness would read a response that is JSON.
    const response = await fetch(`${gateway.url}/v1/images/generations`, {
      method: "POST",
      headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    await assert.rejects(response.arrayBuffer());
    const receipt = await receiptOf(response.headers);
    assert.deepEqual([receipt.outcome, receipt.partial], ["failed", true]);
  });

  test("endpoints: an error in place of speech is the error of the call", async () => {
    const simulate = { body: "error_in_200" };
    const body = { model: "demo/broken-speaker", ...SAID, simulate };
    const { status, json } = await ask("/v1/audio/speech", body);
    assert.deepEqual([status, json.error.code], [502, "server_error"]);
  });
});

suite("endpoints, receipts and budgets", () => {
  for (const [name, path, body, units, cost] of /** @type {any[]} */ ([
    [
      "images",
      "/v1/images/generations",
      { model: "demo/painter", ...IMAGE, n: 3, response_format: "url" },
      [{ unit: "image", quantity: 3 }],
      120_000,
    ],
    [
      "characters, not bytes",
      "/v1/audio/speech",
      { model: "demo/speaker", ...SAID },
      [{ unit: "character", quantity: 7 }],
      105,
    ],
    [
      "the searches that the provider bills",
      "/v2/rerank",
      { model: "demo/cohere-rerank", ...RANK },
      [{ unit: "search", quantity: 1 }],
      2000,
    ],
    [
      "searches that the provider does not report",
      "/v1/rerank",
      { model: "demo/cohere-rerank", ...RANK, simulate: { usage: "none" } },
      [{ unit: "search", quantity: 1 }],
      2000,
    ],
    ["tokens", "/v1/rerank", { model: "demo/jina-rerank", ...RANK }, undefined, 8],
    ["nothing", "/v1/moderations", { input: "harm" }, undefined, 0],
  ])) {
    test(`endpoints: a receipt of ${path} has ${name}`, async () => {
      const { headers, status, text } = await ask(path, body);
      assert.equal(status, 200, text);
      const receipt = await receiptOf(headers);
      assert.deepEqual([receipt.units, receipt.cost_micro_usd], [units, cost]);
      assert.equal(receipt.outcome, "answered");
      if (units !== undefined) {
        const [{ quantity, price }] = receipt.attempts[0].units;
        assert.equal((quantity * price) / 1e6, cost);
        assert.equal(receipt.estimated, false);
      }
    });
  }

  test("endpoints: a budget for images is used up to the last one, and never overrun", async () => {
    const { key } = await issue(gateway, "endpoints-purse", { policies: ["purse"] });
    await upstream.forget();
    const answers = await atOnce(12, () =>
      ask("/v1/images/generations", { model: "demo/painter", ...IMAGE }, key),
    );
    const served = answers.filter(({ status }) => status === 200).length;
    const sent = (await upstream.requests()).length;
    assert.equal(sent, served);
    for (const { status, json } of answers.filter(({ status }) => status !== 200)) {
      assert.ok([402, 429].includes(status), JSON.stringify(json));
    }
    // What remains pays for whole images only.
    const last = [];
    for (let index = served; index < 6; index += 1) {
      last.push(await ask("/v1/images/generations", { model: "demo/painter", ...IMAGE }, key));
    }
    assert.equal(served + last.filter(({ status }) => status === 200).length, 5);
    const refused = last.at(-1);
    assert.deepEqual([refused?.status, refused?.json.error.code], [402, "insufficient_quota"]);
    const two = await ask("/v1/images/generations", { model: "demo/painter", ...IMAGE, n: 2 }, key);
    assert.equal(two.status, 402);
  });

  test("endpoints: a budget for speech holds its characters; an unknown price is refused", async () => {
    const { key } = await issue(gateway, "endpoints-words", { policies: ["words"] });
    /** @param {string} input */
    const speak = (input, model = "demo/speaker") =>
      ask("/v1/audio/speech", { model, voice: "v", input }, key);
    // 20 characters cost all of it.
    assert.equal((await speak("x".repeat(21))).status, 402);
    assert.equal((await speak("x".repeat(20))).status, 200);
    assert.equal((await speak("x")).status, 402);
    const unknown = await speak("x", "demo/unknown");
    assert.deepEqual([unknown.status, unknown.json.error.code], [403, "price_unknown"]);
  });

  test("endpoints: a key can be narrowed to an endpoint", async () => {
    const { key } = await issue(gateway, "endpoints-images", { policies: ["images"] });
    const image = { model: "demo/painter", ...IMAGE };
    assert.equal((await ask("/v1/images/generations", image, key)).status, 200);
    const { status, json } = await ask("/v1/moderations", { input: "a" }, key);
    assert.deepEqual([status, json.error.code], [403, "endpoint_not_allowed"]);
  });
});

suite("endpoints, failover", () => {
  /**
   * @param {string} id
   * @param {object} simulate of the first provider
   * @param {object} [more]
   */
  const generate = async (id, simulate, more = {}) => {
    await upstream.forget();
    return ask("/v1/images/generations", {
      model: `first/${id}`,
      models: [`second/${id}`],
      ...IMAGE,
      ...more,
      simulate: { ...simulate, when: { path: "/first" } },
    });
  };

  test("endpoints: a throttled image goes to the next provider", async () => {
    const { headers, status, text } = await generate("throttled", { status: 429 });
    assert.equal(status, 200, text);
    assert.equal(headers.get("x-gateway-provider"), "second");
    assert.deepEqual(await called(), ["first", "second"]);
  });

  test("endpoints: an image is not generated twice after a time limit or a broken response", async () => {
    const late = await generate("late", { hang: "headers" });
    assert.deepEqual([late.status, late.json.error.code], [504, "upstream_timeout"]);
    assert.deepEqual(await called(), ["first"]);
    const cut = await generate("cut", { cut: "body" });
    assert.equal(cut.status, 502, cut.text);
    assert.deepEqual(await called(), ["first"]);
  });

  test("endpoints: an image is sent again after a time limit if the caller allows it", async () => {
    const more = { provider: { allow_fallbacks: true } };
    const { status, headers, text } = await generate("allowed", { hang: "headers" }, more);
    assert.equal(status, 200, text);
    assert.equal(headers.get("x-gateway-provider"), "second");
  });

  test("endpoints: speech that breaks before its first byte goes to the next provider", async () => {
    const { status, headers, text } = await ask("/v1/audio/speech", {
      model: "first/spoken",
      models: ["second/spoken"],
      ...SAID,
      simulate: { hang: "body", when: { path: "/first" } },
    });
    assert.equal(status, 200, text);
    assert.equal(headers.get("x-gateway-provider"), "second");
  });

  test("endpoints: a provider whose images fail still serves other models", async () => {
    await generate("sick", { status: 500 });
    await upstream.forget();
    const body = { model: "first/writer-of-texts", ...TEXT };
    assert.equal((await ask("/v1/completions", body)).status, 200);
    assert.deepEqual(await called(), ["first"]);
  });

  test("endpoints: /v1/routing/explain returns the plan for each endpoint", async () => {
    for (const [endpoint, model, more] of /** @type {any[]} */ ([
      ["/v1/completions", "demo/writer", TEXT],
      ["/v1/moderations", "demo/moderator", { input: "a" }],
      ["/v1/rerank", "demo/jina-rerank", RANK],
      ["/v2/rerank", "demo/jina-rerank", RANK],
      ["/v1/images/generations", "demo/painter", IMAGE],
      ["/v1/audio/speech", "demo/speaker", SAID],
    ])) {
      const query = `?endpoint=${endpoint}`;
      const body = { model, models: ["talker/sim-small"], ...more };
      const { json, text } = await ask(`/v1/routing/explain${query}`, body);
      assert.deepEqual(
        json.candidates?.map((/** @type {any} */ { id }) => id),
        [model],
        text,
      );
      const [{ reason }] = json.dropped;
      assert.ok(["no_endpoint", "other_model"].includes(reason), reason);
    }
  });
});

suite("endpoints, requests that are rejected", () => {
  for (const [path, body, code, param] of /** @type {[string, object, string, string][]} */ ([
    ["/v1/completions", { model: "demo/writer" }, "missing_input", "prompt"],
    ["/v1/moderations", {}, "missing_input", "input"],
    ["/v1/rerank", { ...RANK }, "missing_model", "model"],
    ["/v2/rerank", { model: "demo/jina-rerank", documents: ["a"] }, "missing_input", "query"],
    ["/v1/images/generations", { model: "demo/painter", ...IMAGE, n: 11 }, "invalid_value", "n"],
    ["/v1/audio/speech", { model: "demo/speaker", input: 7 }, "invalid_type", "input"],
    [
      "/v1/images/generations",
      { model: "demo/speaker", ...IMAGE },
      "unsupported_endpoint",
      "model",
    ],
    ["/v1/images/generations", { model: "talker/any", ...IMAGE }, "unsupported_endpoint", "model"],
    [
      "/v1/chat/completions",
      { model: "demo/painter", messages: [] },
      "unsupported_endpoint",
      "model",
    ],
  ])) {
    test(`endpoints: ${path} returns ${code} for '${param}' of ${JSON.stringify(body)}`, async () => {
      await upstream.forget();
      const { status, json, headers } = await ask(path, body);
      assert.deepEqual([status, json.error.code, json.error.param], [400, code, param]);
      assert.equal(headers.get("x-gateway-error-source"), "gateway");
      assert.deepEqual(await called(), []);
    });
  }

  test("endpoints: GET /v1/models lists the models of each task with their prices", async () => {
    for (const [task, id, unit, price] of /** @type {any[]} */ ([
      ["complete", "demo/writer"],
      ["moderate", "openai/omni-moderation-latest"],
      ["rerank", "cohere/rerank-v3.5", "search", "0.002"],
      ["image", "demo/painter", "image", "0.04"],
      ["image", "openai/gpt-image-2", "image_output", "0.00003"],
      ["speech", "openai/tts-1", "character", "0.000015"],
    ])) {
      const response = await call(`${gateway.url}/v1/models?task=${task}`);
      const model = /** @type {any} */ (await response.json()).data.find(
        (/** @type {any} */ one) => one.id === id,
      );
      assert.ok(model, id);
      if (unit) assert.equal(model.pricing.per_unit[unit], price, id);
    }
  });
});

suite("endpoints, OpenAI SDK", () => {
  test("OpenAI SDK: completions, whole and streamed", async () => {
    const whole = await client.completions.create({ model: "demo/writer", ...TEXT });
    assert.equal(whole.choices[0]?.text, "You said: one two three");
    const stream = await client.completions.create({
      model: "demo/writer",
      ...TEXT,
      stream: true,
      stream_options: { include_usage: true },
    });
    let [text, tokens] = ["", 0];
    for await (const chunk of stream) {
      text += chunk.choices[0]?.text ?? "";
      tokens = chunk.usage?.total_tokens ?? tokens;
    }
    assert.deepEqual([text, tokens], ["You said: one two three", 8]);
  });

  test("OpenAI SDK: moderations", async () => {
    const { results } = await client.moderations.create({ input: "harm" });
    assert.equal(results[0]?.flagged, true);
  });

  test("OpenAI SDK: images, whole and streamed", async () => {
    const whole = await client.images.generate({ model: "demo/painter", ...IMAGE, n: 2 });
    assert.equal(whole.data?.length, 2);
    const stream = await client.images.generate({
      model: "demo/painter",
      ...IMAGE,
      stream: true,
      partial_images: 1,
    });
    const types = [];
    for await (const event of stream) types.push(event.type);
    assert.deepEqual(types, ["image_generation.partial_image", "image_generation.completed"]);
    await assert.rejects(
      client.images.generate({ model: "talker/any", ...IMAGE }),
      OpenAI.BadRequestError,
    );
  });

  test("OpenAI SDK: speech", async () => {
    const response = await client.audio.speech.create({ model: "demo/speaker", ...SAID });
    assert.equal((await response.arrayBuffer()).byteLength, 600);
    assert.equal(response.headers.get("content-type"), "audio/mpeg");
  });

  test("Cohere SDK: reranking with both clients", async () => {
    const options = { token: KEY, environment: gateway.url };
    const rank = { model: "cohere/cohere-rerank", ...RANK, topN: 2 };
    for (const client of [new CohereClient(options), new CohereClientV2(options)]) {
      const { results, meta } = await client.rerank(rank);
      assert.deepEqual([results.length, results[0]?.index], [2, 1]);
      assert.equal(meta?.billedUnits?.searchUnits, 1);
    }
    const unknown = new CohereClientV2(options).rerank({ ...rank, model: "nobody-ranks" });
    await assert.rejects(unknown, { statusCode: 404, message: /nobody-ranks/ });
  });

  const coherePython = `${root}.tools/clients-python-2/bin/python`;
  const noCohere = existsSync(coherePython) ? false : "there is no Python with venv";
  test("Cohere SDK for Python: reranking, sync and async", { skip: noCohere }, async () => {
    const program = `import asyncio, json, sys
import cohere
options = {"api_key": sys.argv[2], "base_url": sys.argv[1]}
rank = {"model": "cohere/cohere-rerank", "query": "red fox", "documents": ["a dog", "a red fox", "red"], "top_n": 2}
found = [client(**options).rerank(**rank) for client in (cohere.Client, cohere.ClientV2)]
async def later():
    return [await client(**options).rerank(**rank) for client in (cohere.AsyncClient, cohere.AsyncClientV2)]
found += asyncio.run(later())
try:
    cohere.ClientV2(api_key="wrong", base_url=sys.argv[1]).rerank(**rank)
except cohere.UnauthorizedError as error:
    status = error.status_code
print(json.dumps([[one.results[0].index, one.meta.billed_units.search_units] for one in found] + [status]))`;
    const { stdout } = await promisify(execFile)(coherePython, ["-c", program, gateway.url, KEY]);
    assert.deepEqual(JSON.parse(stdout), [[1, 1], [1, 1], [1, 1], [1, 1], 401]);
  });

  const python = `${root}.tools/docs-python/bin/python`;
  const skip = existsSync(python) ? false : "there is no Python with venv";
  test("OpenAI SDK for Python: every method, whole and streamed", { skip }, async () => {
    const program = `import json, sys
from openai import OpenAI
client = OpenAI(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0)
said = client.completions.create(model="demo/writer", prompt="one two three", max_tokens=9)
parts = client.completions.create(model="demo/writer", prompt="one two three", max_tokens=9, stream=True)
flagged = client.moderations.create(input="harm").results[0].flagged
images = client.images.generate(model="demo/painter", prompt="a fox", n=2)
events = client.images.generate(model="demo/painter", prompt="a fox", stream=True, partial_images=1)
speech = client.audio.speech.create(model="demo/speaker", input="hi", voice="alloy")
with client.audio.speech.with_streaming_response.create(model="demo/speaker", input="hi", voice="alloy") as streamed:
    sizes = sum(len(chunk) for chunk in streamed.iter_bytes())
print(json.dumps([said.choices[0].text, "".join(part.choices[0].text for part in parts), flagged,
    len(images.data), [event.type for event in events], len(speech.content), sizes]))`;
    const { stdout } = await promisify(execFile)(python, ["-c", program, `${gateway.url}/v1`, KEY]);
    const said = "You said: one two three";
    const types = ["image_generation.partial_image", "image_generation.completed"];
    assert.deepEqual(JSON.parse(stdout), [said, said, true, 2, types, 600, 600]);
  });
});
