// @ts-check
//! What clients show their users: errors that name the remedy, and the headers that decide whether a client retries.

import assert from "node:assert/strict";
import { request } from "node:http";
import { after, before, suite, test } from "node:test";
import { mint } from "../../scripts/lib/gateway-key.mjs";
import { Gateway, KEY, KEY_HASH, LABEL, Upstream, call } from "./harness.mjs";

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;

before(async () => {
  upstream = await Upstream.start();
  gateway = await Gateway.start({
    GATEWAY_API_KEY_HASHES: `${LABEL}:${KEY_HASH}`,
    DEMO_API_KEY: "sk-demo",
    GATEWAY_CONFIG: JSON.stringify({
      providers: {
        demo: { base_url: `${upstream.url}/v1`, models: ["sim-small", "sim-large"] },
      },
      aliases: { quick: "demo/sim-small" },
      policies: { small: { models: ["demo/sim-small"] } },
    }),
  });
});
after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

const MESSAGES = [{ role: "user", content: "Hi" }];
const JSON_TYPE = { "content-type": "application/json" };
const WITH_KEY = { authorization: `Bearer ${KEY}` };

/**
 * @param {string} path
 * @param {Record<string, string>} [headers]
 * @param {object} [body]
 */
async function post(
  path,
  headers = WITH_KEY,
  body = { model: "demo/sim-small", messages: MESSAGES },
) {
  const response = await call(`${gateway.url}${path}`, {
    method: "POST",
    headers: { ...JSON_TYPE, ...headers },
    body: JSON.stringify(body),
  });
  const json = JSON.parse(await response.text());
  return { status: response.status, headers: response.headers, error: json.error };
}

/**
 * A request with headers as given, which `fetch` would join or reject.
 *
 * @param {string[]} headers names and values
 * @returns {Promise<{ status: number | undefined, error: any }>}
 */
function raw(headers) {
  const body = JSON.stringify({ model: "demo/sim-small", messages: MESSAGES });
  return new Promise((resolve, reject) => {
    const sent = request(`${gateway.url}/v1/chat/completions`, {
      method: "POST",
      headers: [
        ...["host", new URL(gateway.url).host, "content-type", "application/json"],
        ...["content-length", `${body.length}`, ...headers],
      ],
    });
    sent.on("response", async (response) => {
      const chunks = await response.toArray();
      const { error } = JSON.parse(Buffer.concat(chunks).toString());
      resolve({ status: response.statusCode, error });
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

suite("manners: unknown paths", () => {
  for (const [path, words] of /** @type {[string, RegExp][]} */ ([
    [
      "/chat/completions",
      /at POST \/chat\/completions: '\/v1' is missing; use \/v1\/chat\/completions/,
    ],
    ["/v1/v1/chat/completions", /'\/v1' is doubled; use \/v1\/chat\/completions/],
    ["/v1//chat/completions", /a slash is doubled; use \/v1\/chat\/completions/],
    ["/openai/deployments/m/chat/completions", /use \/v1\/chat\/completions/],
    ["/messages?beta=true", /'\/v1' is missing; use \/v1\/messages/],
    ["/v1beta/models/m:generateContent", /Gemini's API is not served here/],
    ["/v1/nothing", /at POST \/v1\/nothing\. The endpoints are POST \/v1\/chat\/completions, /],
  ])) {
    test(`manners: POST ${path} names the path that was meant`, async () => {
      const { status, headers, error } = await post(path);
      assert.deepEqual([status, error.code], [404, "not_found"]);
      assert.match(error.message, words);
      assert.match(error.message, /\/openapi\.json lists all$/);
      assert.equal(headers.get("x-should-retry"), "false");
      assert.equal(headers.get("link"), '</docs/errors#not_found>; rel="help"');
    });
  }
});

suite("manners: keys", () => {
  const own = mint(Buffer.alloc(31, 9)).key;
  const last = own.endsWith("0") ? "1" : "0";
  for (const [name, key, words] of /** @type {[string, string, RegExp][]} */ ([
    ["a mistyped key", own.slice(0, -1) + last, /its checksum does not match/],
    ["an incomplete key", own.slice(0, -2), /it has 50 characters, and a key has 52/],
    ["OpenAI's key", "sk-proj-abcdefgh", /a key of OpenAI; send a key of this gateway/],
    ["Anthropic's key", "sk-ant-api03-abcdefgh", /a key of Anthropic; /],
    ["Google's key", "AIzaSyabcdefgh", /a key of Google; /],
    ["an unknown key", own, /^Unauthorized: this key is not valid here$/],
  ])) {
    test(`manners: ${name} is named in the 401, which no client retries`, async () => {
      const { status, headers, error } = await post("/v1/chat/completions", {
        authorization: `Bearer ${key}`,
      });
      assert.deepEqual([status, error.code], [401, "invalid_api_key"]);
      assert.match(error.message, words);
      assert.ok(!error.message.includes(key.slice(3)), error.message);
      assert.equal(headers.get("x-should-retry"), "false");
      assert.equal(headers.get("retry-after"), null);
    });
  }

  for (const headers of [
    ["Authorization", `bearer ${KEY}`],
    ["Authorization", `BEARER  ${KEY}`],
    ["Authorization", `Bearer Bearer ${KEY}`],
    ["Authorization", `Bearer ${KEY}`, "Authorization", `Bearer ${KEY}`],
    ["Authorization", `Bearer ${KEY}`, "x-api-key", KEY],
    ["x-api-key", KEY, "x-api-key", KEY],
    ["x-goog-api-key", KEY],
    ["api-key", KEY],
    ["x-goog-api-key", KEY, "api-key", KEY],
  ]) {
    test(`manners: the key is accepted as ${headers.join(" ")}`, async () => {
      const { status, error } = await raw(headers);
      assert.equal(status, 200, JSON.stringify(error));
    });
  }

  for (const headers of [
    ["x-api-key", KEY, "x-api-key", "other"],
    ["Authorization", `Bearer ${KEY}`, "x-api-key", "other"],
    ["x-goog-api-key", KEY, "api-key", "other"],
  ]) {
    test(`manners: different keys are rejected: ${headers.join(" ")}`, async () => {
      const { status, error } = await raw(headers);
      assert.deepEqual([status, error.code], [400, "conflicting_credentials"]);
    });
  }
});

suite("manners: models", () => {
  for (const [model, words] of /** @type {[string, RegExp][]} */ ([
    ["sim-smal", /'sim-smal' is unknown\. Did you mean 'demo\/sim-small'\? GET/],
    ["dmeo2/sim-small", /Did you mean 'demo\/sim-small'\?/],
    ["nothing/like-it", /'nothing\/like-it' is unknown\. GET/],
    ["demos/sim-small", /Did you mean 'demo\/sim-small'\?/],
    ["quic", /Did you mean 'quick'\?/],
    ["gpt-4o-mini", /'gpt-4o-mini' is a model of .*'openai'.*not configured here/],
  ])) {
    test(`manners: the unknown model ${model} gets a remedy`, async () => {
      const { status, error } = await post("/v1/chat/completions", WITH_KEY, {
        model,
        messages: MESSAGES,
      });
      assert.deepEqual([status, error.code, error.param], [404, "model_not_found", "model"]);
      assert.match(error.message, words);
      assert.ok(!error.message.includes("API_KEY"), error.message);
    });
  }

  test("manners: a misspelt provider of a preference gets a remedy", async () => {
    const { status, error } = await post("/v1/chat/completions", WITH_KEY, {
      model: "quick",
      messages: MESSAGES,
      provider: { only: ["demoo"] },
    });
    assert.equal(status, 400);
    assert.match(error.message, /'demoo' does not exist\. Did you mean 'demo'\?/);
  });
});

suite("manners: bodies", () => {
  for (const [encoding, expected] of /** @type {[string, number][]} */ ([
    ["identity", 200],
    ["Identity, identity", 200],
    ["gzip", 415],
    ["deflate", 415],
    ["zstd", 415],
    ["identity, br", 415],
  ])) {
    test(`manners: a body with content-encoding: ${encoding} returns ${expected}`, async () => {
      const { status, headers, error } = await post("/v1/chat/completions", {
        ...WITH_KEY,
        "content-encoding": encoding,
      });
      assert.equal(status, expected, JSON.stringify(error));
      if (status === 200) return;
      assert.deepEqual([error.code, error.param], ["unsupported_encoding", "content-encoding"]);
      assert.ok(error.message.includes(`'${encoding}'`), error.message);
      assert.equal(headers.get("accept-encoding"), "identity");
    });
  }

  test("manners: OpenRouter's usage field is not sent to other providers", async () => {
    const usage = { include: true };
    const given = { model: "demo/sim-small", messages: MESSAGES, usage };
    assert.equal((await post("/v1/chat/completions", WITH_KEY, given)).status, 200);
    assert.ok(!("usage" in JSON.parse((await upstream.lastRequest()).body_text)));
  });
});

suite("manners: retries", () => {
  for (const retry_after of ["-3", "Infinity", "30s", "7, 9"]) {
    test(`manners: the provider's Retry-After ${retry_after} is replaced`, async () => {
      const body = { model: "quick", messages: MESSAGES, simulate: { status: 400, retry_after } };
      const { headers } = await post("/v1/chat/completions", WITH_KEY, body);
      assert.equal(headers.get("retry-after"), null);
      const busy = { ...body, simulate: { status: 429, retry_after } };
      const { status, headers: of } = await post("/v1/chat/completions", WITH_KEY, busy);
      assert.ok([429, 503].includes(status), `${status}`);
      assert.match(of.get("retry-after") ?? "", /^\d+$/);
    });
  }

  test("manners: no client waits for a provider's daily limit", async () => {
    const simulate = { status: 429, retry_after: "85055" };
    const body = { model: "demo/sim-large", messages: MESSAGES, simulate };
    for (const status of [429, 429]) {
      const answered = await post("/v1/chat/completions", WITH_KEY, body);
      assert.equal(answered.status, status);
      assert.equal(answered.headers.get("retry-after"), null);
      assert.equal(answered.headers.get("x-should-retry"), "false");
    }
  });
});
