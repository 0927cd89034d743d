// @ts-check
//! Legacy completions, moderations, rerankings, images, speech and transcriptions in the real runtime: bytes in both
//! directions, the official SDK, receipts in other units than tokens, budgets, failover, streams, and the errors of each.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import OpenAI from "openai";
import {
  Gateway,
  KEY,
  Upstream,
  atOnce,
  call,
  events,
  eventually,
  root,
  variables,
} from "./harness.mjs";
import { CohereClient, CohereClientV2 } from "../clients/cohere.mjs";
import { lane } from "./lanes.mjs";
import { issue, receipts } from "./ledgers.mjs";

const FORMATS = {
  formats: [
    "completions",
    "moderations",
    "rerank",
    "rerank_v2",
    "images",
    "image_edits",
    "image_variations",
    "speech",
    "transcriptions",
    "translations",
  ],
};
/** Models of which the tests let the provider `first` fail: one each, since a lane that has failed is in cooldown. */
const FAILING = [
  "throttled",
  "late",
  "allowed",
  "cut",
  "sick",
  "spoken",
  "edited",
  "heard",
  "broken",
];
const TRANSCRIBED = ["heard", "broken"];
const IMAGE_USD = 0.04;
const HD_USD = 0.12;
const HD = { quality: "hd", size: "1024x1792" };

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
        "demo/hd/1024-x-1792/painter": { hidden: true, usd_per_unit: { image: HD_USD } },
        "demo/tokens": {
          task: "image",
          input_usd_per_mtok: 5,
          usd_per_unit: { image_output: 0.00004 },
        },
        "demo/speaker": { task: "speech", usd_per_unit: { character: 0.000015 } },
        "demo/listener": { task: "transcribe", usd_per_unit: { second: 0.0001 } },
        "demo/token-listener": {
          task: "transcribe",
          input_usd_per_mtok: 1,
          output_usd_per_mtok: 10,
          usd_per_unit: { audio_input: 0.000006 },
        },
        "demo/whisper-any": { task: "transcribe", usd_per_unit: { second: 0.0001 } },
        "demo/tokens-speaker": {
          task: "speech",
          input_usd_per_mtok: 1,
          usd_per_unit: { audio_output: 0.000012 },
        },
        ...Object.fromEntries(
          FAILING.flatMap((id) =>
            ["first", "second"].map((name) => [
              `${name}/${id}`,
              id === "spoken"
                ? { task: "speech" }
                : TRANSCRIBED.includes(id)
                  ? { task: "transcribe" }
                  : image,
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
        // Five times ten seconds.
        hearing: { limits: { usd_total: 0.005 } },
        narrow: { models: ["demo/listener"] },
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

/** PCM of 16,000 samples of 16 bits in a second: 32,000 bytes. @param {number} seconds */
function wav(seconds) {
  const bytes = Buffer.alloc(32_000 * seconds);
  bytes.write("RIFF\0\0\0\0WAVEfmt ", 0, "latin1");
  bytes.set([16, 0, 0, 0, 1, 0, 1, 0, 0x80, 0x3e, 0, 0, 0, 0x7d, 0, 0, 2, 0, 16, 0], 16);
  bytes.write("data", 36);
  return bytes;
}

/** A file of a form. @param {Buffer} bytes @param {string} [name] */
const file = (bytes, name = "speech.wav") => new File([new Uint8Array(bytes)], name);
const WAV = file(wav(2));
const PNG = file(Buffer.from("\x89PNG\r\n\x1a\n--x\r\n", "latin1"), "fox.png");

/**
 * The response to a form, read to its end.
 *
 * @param {string} path
 * @param {Record<string, string | object | (string | File)[] | File>} fields lists are parts with brackets, objects are JSON
 * @param {string} [key]
 */
async function send(path, fields, key = KEY) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (Array.isArray(value)) for (const one of value) form.append(`${name}[]`, one);
    else if (value instanceof File || typeof value === "string") form.append(name, value);
    else form.append(name, JSON.stringify(value));
  }
  const headers = { authorization: `Bearer ${key}` };
  const response = await call(`${gateway.url}${path}`, { method: "POST", headers, body: form });
  const text = await response.text();
  const json = text.startsWith("{") ? JSON.parse(text) : undefined;
  return { status: response.status, headers: response.headers, text, json };
}

const TRANSCRIPTIONS = "/v1/audio/transcriptions";
const EDITS = "/v1/images/edits";

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
      "images of a quality and a size",
      "/v1/images/generations",
      { model: "demo/painter", ...IMAGE, ...HD, n: 2, response_format: "url" },
      [{ unit: "image", quantity: 2 }],
      240_000,
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

  test("endpoints: a budget holds the price of the quality and the size of an image", async () => {
    const { key } = await issue(gateway, "endpoints-purse-hd", { policies: ["purse"] });
    /** @param {object} [fields] */
    const paint = (fields) =>
      ask("/v1/images/generations", { model: "demo/painter", ...IMAGE, ...fields }, key);
    // 0.12 of 0.20 US dollars, and twice 0.04.
    const asked = [HD, HD, {}, { ...HD, size: "1024x1024" }, {}];
    const statuses = [];
    for (const fields of asked) statuses.push((await paint(fields)).status);
    assert.deepEqual(statuses, [200, 402, 200, 200, 402]);
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

suite("endpoints, forms", () => {
  /**
   * A form with parts in this order, of which the content may have anything but the boundary.
   *
   * @param {[string, string | Buffer][]} parts parameters of the disposition, and contents
   */
  const formOf = (parts, boundary = "b--of a form") =>
    Buffer.concat([
      Buffer.from("a preamble"),
      ...parts.flatMap(([name, content]) => [
        Buffer.from(
          `\r\n--${boundary} \t\r\nX-Any: 1\r\ncontent-disposition: form-data; ${name}\r\n\r\n`,
        ),
        Buffer.from(content),
      ]),
      Buffer.from(`\r\n--${boundary}--\r\nan epilogue`),
    ]);
  const TYPE = 'Multipart/Form-Data; boundary="b--of a form"; charset=utf-8';

  /** @param {Buffer} body @param {string} [type] @param {string} [path] */
  const post = (body, type = TYPE, path = TRANSCRIPTIONS) =>
    call(`${gateway.url}${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${KEY}`, "content-type": type },
      body: new Uint8Array(body),
    });

  test("forms: a form passes byte for byte but for its model and the gateway's own fields", async () => {
    // Larger than a piece, with bytes that look like boundaries, and the model behind it.
    const sound = Buffer.concat([
      wav(3),
      Buffer.from("\r\n--b--of a forX\r\n--\r\n\xff\x00", "latin1"),
    ]);
    const sent = (/** @type {string} */ model, /** @type {[string, string][]} */ own = []) =>
      formOf([
        ['name="language"', "en"],
        ['name="file"; filename="a \\"b\\" é; name=model.wav"', sound],
        ...own,
        ['name="timestamp_granularities[]"', "word"],
        ['name="timestamp_granularities[]"', "segment"],
        ['name="model"', model],
        ['name="unknown"', "\r\n"],
      ]);
    const own = /** @type {[string, string][]} */ ([
      ['name="project_id"', "p"],
      ['name="models[]"', "demo/whisper-any"],
      ['name="provider[only][]"', "demo"],
    ]);
    const response = await post(sent("demo/listener", own));
    assert.equal(response.status, 200, await response.clone().text());
    const { path, headers, body_base64: body } = await upstream.lastRequest();
    assert.equal(path, "/demo/v1/audio/transcriptions");
    assert.equal(
      Buffer.from(body, "base64").toString("latin1"),
      sent("listener").toString("latin1"),
    );
    assert.equal(headers["content-type"], TYPE);
    assert.equal(headers["content-length"], `${sent("listener").length}`);
    assert.equal(headers["accept"], "*/*");
    const receipt = await receiptOf(response.headers);
    assert.deepEqual(
      [receipt.project_id ?? receipt.project, receipt.operation],
      ["p", "audio/transcriptions"],
    );
  });

  test("forms: a field that the gateway would not see as its own upstream does is rejected", async () => {
    for (const [
      parts,
      code,
      param,
    ] of /** @type {[[string, string][], string, string | null][]} */ ([
      [[["name=model", "demo/listener"]], "missing_input", "file"],
      [[["name=file; filename=f", "x"]], "missing_model", "model"],
      [
        [
          ["name=model", "a"],
          ["name=model", "b"],
        ],
        "duplicate_member",
        "model",
      ],
      [[["name=model; filename=m", "a"]], "invalid_type", "model"],
      [
        [
          ["name=model", "a"],
          ["name=file", "x"],
        ],
        "invalid_type",
        "file",
      ],
      [[['name="m%6fdel"', "a"]], "invalid_form", null],
      [[["name=a; name=model", "a"]], "invalid_form", null],
      [[["name=model", "a\n--b--of a form"]], "invalid_form", null],
    ])) {
      const response = await post(formOf(parts));
      const { error } = /** @type {any} */ (await response.json());
      assert.deepEqual(
        [response.status, error.code, error.param],
        [400, code, param],
        JSON.stringify(parts),
      );
    }
    const cut = formOf([["name=model", "demo/listener"]]).subarray(0, -20);
    const { error } = /** @type {any} */ (await (await post(cut)).json());
    assert.match(
      error.message,
      /^The form ends in or after part 'model', without its last boundary line/,
    );
  });

  test("forms: an endpoint names the content types that it accepts", async () => {
    for (const [path, type] of [
      [TRANSCRIPTIONS, "application/json"],
      ["/v1/audio/translations", "text/plain"],
      ["/v1/images/variations", "application/json"],
      ["/v1/audio/speech", TYPE],
    ]) {
      const response = await post(Buffer.from("{}"), type, path);
      const { error } = /** @type {any} */ (await response.json());
      assert.deepEqual([response.status, error.code], [400, "unsupported_content_type"], path);
      assert.match(
        error.message,
        path?.endsWith("speech") ? /application\/json/ : /multipart\/form-data/,
      );
    }
    const response = await post(Buffer.from(""), "multipart/form-data");
    const { error } = /** @type {any} */ (await response.json());
    assert.deepEqual([error.code, error.param], ["invalid_form", "content-type"]);
  });

  test("forms: a form larger than the limit is rejected", async () => {
    const { status, json } = await send(TRANSCRIPTIONS, {
      model: "demo/listener",
      file: file(Buffer.alloc(27 << 20)),
    });
    assert.deepEqual([status, json.error.code], [413, "body_too_large"]);
  });

  test("forms: a model in a form does not cross the policies of a key", async () => {
    const { key } = await issue(gateway, "endpoints-narrow", { policies: ["narrow"] });
    const ask = (/** @type {string} */ model) => send(TRANSCRIPTIONS, { model, file: WAV }, key);
    assert.equal((await ask("demo/listener")).status, 200);
    const { status, json } = await ask("demo/token-listener");
    assert.deepEqual([status, json.error.code], [403, "model_not_allowed"]);
  });
});

suite("endpoints, transcriptions", () => {
  const MODEL = { model: "demo/listener", file: WAV };

  for (const [format, type, start] of /** @type {[string, string, RegExp][]} */ ([
    ["json", "application/json", /^\{"text":/],
    ["verbose_json", "application/json", /"segments":/],
    ["diarized_json", "application/json", /"speaker":"A"/],
    ["text", "text/plain; charset=utf-8", /^One two three\.\n$/],
    ["srt", "text/plain; charset=utf-8", /^1\n00:00:00,000 --> /],
    ["vtt", "text/vtt", /^WEBVTT\n/],
  ])) {
    test(`transcriptions: ${format} passes as it is, and is charged by the second`, async () => {
      const { status, headers, text } = await send(TRANSCRIPTIONS, {
        ...MODEL,
        response_format: format,
      });
      assert.equal(status, 200, text);
      assert.equal(headers.get("content-type"), type);
      assert.match(format === "json" ? text.replace(/^\{.*?"text"/, '{"text"') : text, start);
      const receipt = await receiptOf(headers);
      // A file of WAV states its length, so nothing is estimated where nothing is reported.
      assert.deepEqual(
        [receipt.units, receipt.cost_micro_usd, receipt.estimated],
        [[{ unit: "second", quantity: 2 }], 200, false],
      );
    });
  }

  test("transcriptions: the length of another file is estimated where nothing is reported", async () => {
    const audio = file(Buffer.alloc(40_000), "speech.ogg");
    const { headers, text } = await send(TRANSCRIPTIONS, {
      ...MODEL,
      file: audio,
      response_format: "text",
    });
    assert.equal(text, "One two three.\n");
    const { units, estimated, cost_micro_usd: cost } = await receiptOf(headers);
    assert.deepEqual([units, cost, estimated], [[{ unit: "second", quantity: 10 }], 1000, true]);
  });

  test("transcriptions: tokens of audio have a price of their own", async () => {
    const { headers, status, text } = await send(TRANSCRIPTIONS, {
      ...MODEL,
      model: "demo/token-listener",
    });
    assert.equal(status, 200, text);
    const receipt = await receiptOf(headers);
    assert.deepEqual(receipt.units, [{ unit: "audio_input", quantity: 20 }]);
    // 20 tokens of audio at 6 USD, and 3 of text at 10 USD per million.
    assert.deepEqual([receipt.cost_micro_usd, receipt.estimated], [150, false]);
  });

  test("transcriptions: a stream passes, and ends without [DONE]", async () => {
    const body = { ...MODEL, model: "demo/token-listener", stream: "true" };
    const { status, headers, text } = await send(TRANSCRIPTIONS, body);
    assert.equal(status, 200, text);
    assert.match(headers.get("content-type") ?? "", /^text\/event-stream/);
    assert.equal((await upstream.lastRequest()).headers["accept"], "text/event-stream");
    assert.match(text, /transcript\.text\.delta.*transcript\.text\.done.*\n\n$/s);
    assert.ok(!text.includes("[DONE]") && !text.includes('"error"'), text);
    const receipt = await receiptOf(headers);
    assert.deepEqual([receipt.outcome, receipt.cost_micro_usd], ["answered", 150]);
  });

  test("transcriptions: a stream that breaks ends with an error event", async () => {
    const body = { ...MODEL, model: "demo/token-listener", stream: "true" };
    for (const cut of ["clean", "stream"]) {
      const { text } = await send(TRANSCRIPTIONS, { ...body, simulate: { cut, after_events: 2 } });
      assert.match(text, /transcript\.text\.delta.*"code":"upstream_stream_cut"/s);
    }
  });

  test("transcriptions: a model that does not stream is served as a stream", async () => {
    const body = { ...MODEL, model: "demo/whisper-any", stream: "true" };
    const { text, headers } = await send(TRANSCRIPTIONS, body);
    const types = events(text).map((event) => JSON.parse(event).type);
    assert.deepEqual(types, ["transcript.text.delta", "transcript.text.done"]);
    assert.equal((await receiptOf(headers)).cost_micro_usd, 200);
  });

  test("transcriptions: what is no transcription is an error", async () => {
    for (const [simulate, code] of /** @type {[object, string][]} */ ([
      [{ body: "no_choices" }, "upstream_invalid_response"],
      [{ body: "error_in_200" }, "server_error"],
    ])) {
      const { status, json } = await send(TRANSCRIPTIONS, {
        ...MODEL,
        model: "demo/any",
        simulate,
      });
      assert.deepEqual([status, json.error.code], [502, code]);
    }
  });

  test("transcriptions: a file goes to the next provider unless content has arrived", async () => {
    for (const [id, simulate, more] of /** @type {[string, object, object][]} */ ([
      ["heard", { status: 503 }, {}],
      ["broken", { cut: "stream", after_events: 0 }, { stream: "true" }],
    ])) {
      await upstream.forget();
      const { status, headers, text } = await send(TRANSCRIPTIONS, {
        model: `first/${id}`,
        models: [`second/${id}`],
        file: file(wav(40)),
        ...more,
        simulate: { ...simulate, when: { path: "/first" } },
      });
      assert.equal(status, 200, text);
      assert.equal(headers.get("x-gateway-provider"), "second");
      const [one, two] = await upstream.requests();
      assert.deepEqual([one?.path.split("/")[1], two?.path.split("/")[1]], ["first", "second"]);
      assert.equal(one?.body_base64, two?.body_base64);
    }
  });

  test("transcriptions: a translation is a call of its own", async () => {
    const { status, headers, text } = await send("/v1/audio/translations", {
      ...MODEL,
      response_format: "srt",
    });
    assert.equal(status, 200, text);
    assert.equal((await receiptOf(headers)).operation, "audio/translations");
  });

  test("transcriptions: a budget is used up to the last second, and never overrun", async () => {
    const { key } = await issue(gateway, "endpoints-hearing", { policies: ["hearing"] });
    await upstream.forget();
    const ten = { model: "demo/listener", file: file(wav(10)) };
    const answers = await atOnce(12, () =>
      send(TRANSCRIPTIONS, { ...ten, response_format: "text" }, key),
    );
    const served = answers.filter(({ status }) => status === 200).length;
    assert.equal((await upstream.requests()).length, served);
    for (const { status, text } of answers.filter(({ status }) => status !== 200)) {
      assert.ok([402, 429].includes(status), text);
    }
    const last = [];
    for (let index = served; index < 6; index += 1) last.push(await send(TRANSCRIPTIONS, ten, key));
    assert.equal(served + last.filter(({ status }) => status === 200).length, 5);
    assert.deepEqual(
      [last.at(-1)?.status, last.at(-1)?.json.error.code],
      [402, "insufficient_quota"],
    );
  });

  test("transcriptions: the hold of a file without a reliable length is that of its bytes", async () => {
    const { key } = await issue(gateway, "endpoints-bytes", { policies: ["hearing"] });
    // At 8 kbit/s, which costs 0.006 USD; at any usual bit rate it would be affordable.
    const { status } = await send(
      TRANSCRIPTIONS,
      { model: "demo/listener", file: file(Buffer.alloc(60_000)) },
      key,
    );
    assert.equal(status, 402);
  });
});

suite("endpoints, edits of images", () => {
  const EDIT = { model: "demo/painter", prompt: "a red fox", image: PNG };

  test("images: edits take one image or several, a mask, and JSON", async () => {
    for (const image of [PNG, [PNG, PNG]]) {
      const { status, text, json, headers } = await send(EDITS, {
        ...EDIT,
        image,
        mask: PNG,
        n: "2",
      });
      assert.equal(status, 200, text);
      assert.equal(json.data.length, 2);
      assert.equal((await upstream.lastRequest()).path, "/demo/v1/images/edits");
      const receipt = await receiptOf(headers);
      assert.deepEqual([receipt.operation, receipt.cost_micro_usd], ["images/edits", 80_000]);
    }
    const images = [{ image_url: "data:image/png;base64,AAAA" }];
    const { status, text } = await ask(EDITS, { ...EDIT, image: undefined, images });
    assert.equal(status, 200, text);
    assert.ok(JSON.parse((await upstream.lastRequest()).body_text).images);
  });

  test("images: edits are charged by the tokens of what they read and make", async () => {
    const { headers, text } = await send(EDITS, { ...EDIT, model: "demo/tokens" });
    const receipt = await receiptOf(headers);
    // 3 tokens of text and 528 of an image at 5 USD, and 1056 of an image at 40 USD per million.
    assert.equal(receipt.cost_micro_usd, Math.ceil(531 * 5) + 1056 * 40, text);
  });

  test("images: edits are streamed with partial images, and a broken stream ends with an error", async () => {
    const body = { ...EDIT, stream: "true", partial_images: "1" };
    const { text } = await send(EDITS, body);
    const types = [...text.matchAll(/^event: (\S+)$/gm)].map(([, name]) => name);
    assert.deepEqual(types, ["image_edit.partial_image", "image_edit.completed"]);
    const cut = await send(EDITS, { ...body, simulate: { cut: "stream", after_events: 1 } });
    assert.match(cut.text, /"code":"upstream_stream_cut"/);
    const whole = await send(EDITS, { ...body, simulate: { whole: true } });
    assert.match(whole.text, /^event: image_edit\.completed\ndata: /);
  });

  test("images: variations take an image alone", async () => {
    const body = { model: "demo/painter", image: PNG, n: "3", response_format: "url" };
    const { status, json, text, headers } = await send("/v1/images/variations", body);
    assert.equal(status, 200, text);
    assert.equal(json.data.length, 3);
    assert.equal((await receiptOf(headers)).cost_micro_usd, 120_000);
  });

  test("images: response_format is dropped for OpenAI's models that reject it, also from a form", async () => {
    const body = { ...EDIT, model: "openai/gpt-image-2", response_format: "b64_json" };
    const { status, headers, text } = await send(EDITS, body);
    assert.equal(status, 200, text);
    assert.equal(headers.get("x-gateway-dropped-params"), "response_format");
  });

  test("images: an edit is not made twice after a time limit", async () => {
    await upstream.forget();
    const { status, json } = await send(EDITS, {
      ...EDIT,
      model: "first/edited",
      models: ["second/edited"],
      simulate: { hang: "headers", when: { path: "/first" } },
    });
    assert.deepEqual([status, json.error.code], [504, "upstream_timeout"]);
    assert.deepEqual(await called(), ["first"]);
  });

  test("images: a budget for edits is used up to the last one, and never overrun", async () => {
    const { key } = await issue(gateway, "endpoints-edits", { policies: ["purse"] });
    const answers = await atOnce(12, () => send(EDITS, EDIT, key));
    const served = answers.filter(({ status }) => status === 200).length;
    const last = [];
    for (let index = served; index < 6; index += 1) last.push(await send(EDITS, EDIT, key));
    assert.equal(served + last.filter(({ status }) => status === 200).length, 5);
    assert.equal(last.at(-1)?.status, 402);
  });

  test("images: a request that is not complete names what is missing", async () => {
    for (const [path, body, code, param] of /** @type {[string, any, string, string][]} */ ([
      [EDITS, { ...EDIT, prompt: undefined }, "missing_input", "prompt"],
      [EDITS, { model: "demo/painter", prompt: "a" }, "missing_input", "image"],
      [EDITS, { ...EDIT, n: "two" }, "invalid_type", "n"],
      [EDITS, { ...EDIT, n: "11" }, "invalid_value", "n"],
      [EDITS, { ...EDIT, image: "a fox" }, "invalid_type", "image"],
      ["/v1/images/variations", { model: "demo/painter", prompt: "a" }, "missing_input", "image"],
    ])) {
      const fields = Object.entries(body).filter(([, value]) => value !== undefined);
      const { status, json } = await send(path, Object.fromEntries(fields));
      assert.deepEqual([status, json.error.code, json.error.param], [400, code, param], path);
    }
  });

  test("images: /v1/routing/explain takes a form for the endpoints that do", async () => {
    for (const [endpoint, fields] of /** @type {[string, any][]} */ ([
      [EDITS, EDIT],
      ["/v1/images/variations", { model: "demo/painter", image: PNG }],
      [TRANSCRIPTIONS, { model: "demo/listener", file: WAV }],
      ["/v1/audio/translations", { model: "demo/listener", file: WAV }],
    ])) {
      const { json, text } = await send(`/v1/routing/explain?endpoint=${endpoint}`, {
        ...fields,
        models: ["talker/sim-small"],
      });
      assert.deepEqual(
        json.candidates?.map((/** @type {any} */ { id }) => id),
        [fields.model],
        text,
      );
      assert.equal(json.dropped[0].reason, "no_endpoint");
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
      ["transcribe", "openai/whisper-1", "second", "0.0001"],
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

  test("OpenAI SDK: transcriptions in every format, whole and streamed, and translations", async () => {
    const request = () => ({ model: "demo/token-listener", file: file(wav(2)) });
    const { text, usage } = await client.audio.transcriptions.create(request());
    assert.deepEqual([text, usage?.type], ["One two three.", "tokens"]);
    const verbose = await client.audio.transcriptions.create({
      ...request(),
      response_format: "verbose_json",
      timestamp_granularities: ["word", "segment"],
    });
    assert.equal(verbose.segments?.length, 1);
    for (const response_format of /** @type {const} */ (["text", "srt", "vtt"])) {
      const plain = await client.audio.transcriptions.create({ ...request(), response_format });
      assert.match(`${plain}`, /One two three\./);
    }
    const stream = await client.audio.transcriptions.create({ ...request(), stream: true });
    let said = "";
    for await (const event of stream)
      if (event.type === "transcript.text.delta") said += event.delta;
    assert.equal(said, "One two three.");
    assert.equal((await client.audio.translations.create(request())).text, "One two three.");
    await assert.rejects(
      client.audio.transcriptions.create({ ...request(), model: "talker/any" }),
      OpenAI.BadRequestError,
    );
  });

  test("OpenAI SDK: edits of images, whole and streamed, and variations", async () => {
    const request = { model: "demo/painter", image: [PNG, PNG], mask: PNG, ...IMAGE };
    assert.equal((await client.images.edit({ ...request, n: 2 })).data?.length, 2);
    const stream = await client.images.edit({ ...request, stream: true, partial_images: 1 });
    const types = [];
    for await (const event of stream) types.push(event.type);
    assert.deepEqual(types, ["image_edit.partial_image", "image_edit.completed"]);
    const variations = { model: "demo/painter", image: PNG };
    assert.equal((await client.images.createVariation(variations)).data?.length, 1);
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

  test("OpenAI SDK for Python: forms, whole and streamed, sync and async", { skip }, async () => {
    const program = `import asyncio, io, json, sys
from openai import AsyncOpenAI, OpenAI
options = {"base_url": sys.argv[1], "api_key": sys.argv[2], "max_retries": 0}
def sound():
    return ("speech.wav", io.BytesIO(b"RIFF" + bytes(64000)))
png = ("fox.png", b"PNG")
hear = {"model": "demo/token-listener"}
edit = {"model": "demo/painter", "prompt": "a fox"}
def sync():
    client = OpenAI(**options)
    audio = client.audio
    texts = [audio.transcriptions.create(file=sound(), response_format=form, **hear) for form in ["json", "verbose_json", "text", "srt", "vtt"]]
    deltas = [event.delta for event in audio.transcriptions.create(file=sound(), stream=True, **hear) if event.type == "transcript.text.delta"]
    routed = audio.transcriptions.create(file=sound(), extra_body={"models": ["demo/listener"], "project_id": "p"}, **hear)
    return [texts[0].text, texts[1].text, "three" in texts[2], "-->" in texts[3], texts[4][:6], "".join(deltas), routed.text,
        audio.translations.create(file=sound(), **hear).text,
        len(client.images.edit(image=[png, png], mask=png, n=2, **edit).data),
        [event.type for event in client.images.edit(image=png, stream=True, **edit)],
        len(client.images.create_variation(image=png, model="demo/painter").data)]
async def run():
    client = AsyncOpenAI(**options)
    text = (await client.audio.transcriptions.create(file=sound(), **hear)).text
    deltas = [event.delta async for event in await client.audio.transcriptions.create(file=sound(), stream=True, **hear) if event.type == "transcript.text.delta"]
    translated = (await client.audio.translations.create(file=sound(), **hear)).text
    edited = len((await client.images.edit(image=[png], **edit)).data)
    types = [event.type async for event in await client.images.edit(image=png, stream=True, **edit)]
    return [text, "".join(deltas), translated, edited, types, len((await client.images.create_variation(image=png, model="demo/painter")).data)]
print(json.dumps([sync(), asyncio.run(run())]))`;
    const { stdout } = await promisify(execFile)(python, ["-c", program, `${gateway.url}/v1`, KEY]);
    const said = "One two three.";
    const types = ["image_edit.completed"];
    assert.deepEqual(JSON.parse(stdout), [
      [said, said, true, true, "WEBVTT", said, said, said, 2, types, 1],
      [said, said, said, 1, types, 1],
    ]);
  });
});
