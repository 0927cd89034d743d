// @ts-check
//! Provider quirks: fields that are dropped, renamed or changed for a provider and reported to the caller, the header
//! of its key, and the error if its URL is incomplete.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Gateway, KEY, Upstream, call } from "./harness.mjs";
import { ask, assertRefused, configured, lane } from "./lanes.mjs";

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;

before(async () => {
  upstream = await Upstream.start();
  const at = (/** @type {string} */ name) => `${upstream.url}/${name}/v1`;
  gateway = await Gateway.startBare({
    ...configured(upstream, {
      providers: {
        plain: lane(upstream, "plain"),
        choosy: lane(upstream, "choosy", {
          drop: ["logprobs", "seed"],
          rename: { max_completion_tokens: "max_tokens", "x y": "ü" },
        }),
        headed: { base_url: at("headed"), auth: "x-api-key" },
      },
      groups: { both: { models: ["plain/m", "choosy/m"] } },
    }),
    HEADED_API_KEY: "sk-headed",
    GROQ_API_KEY: "sk-groq",
    GROQ_BASE_URL: at("groq"),
    MISTRAL_API_KEY: "sk-mistral",
    MISTRAL_BASE_URL: at("mistral"),
    AZURE_API_KEY: "sk-azure",
    AZURE_BASE_URL: at("azure"),
    BEDROCK_API_KEY: "sk-bedrock",
    CLOUDFLARE_API_TOKEN: "sk-cloudflare",
    AZURE_AI_API_KEY: "sk-azure-ai",
    AZURE_AI_BASE_URL: at("azure-ai"),
    OPENROUTER_API_KEY: "sk-openrouter",
    OPENROUTER_BASE_URL: at("openrouter"),
  });
});
after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

/**
 * Sends a body unchanged, and returns the upstream's body and headers and the header that lists dropped fields.
 *
 * @param {string} body
 */
async function pass(body) {
  await upstream.forget();
  const response = await call(`${gateway.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
    body,
  });
  assert.equal(response.status, 200, await response.clone().text());
  await response.arrayBuffer();
  const { body_text, headers } = await upstream.lastRequest();
  return { got: body_text, dropped: response.headers.get("x-gateway-dropped-params"), headers };
}

const M = '"messages":[{"role":"user","content":"Hi"}]';

for (const [
  name,
  given,
  expected,
  dropped,
] of /** @type {[string, string, string, string | null][]} */ ([
  [
    "a provider without quirks gets every field",
    `{"model":"plain/m", ${M},"logprobs":true,"seed":1,"max_completion_tokens":5}`,
    `{"model":"m", ${M},"logprobs":true,"seed":1,"max_completion_tokens":5}`,
    null,
  ],
  [
    "a custom provider has fields dropped and renamed",
    `{"model":"choosy/m", ${M}, "logprobs" : true , "x y":1e3,"seed":1.0,"max_completion_tokens" :5}`,
    `{"model":"m", ${M} , "ü":1e3,"max_tokens" :5}`,
    "logprobs, seed, max_completion_tokens>max_tokens, x%20y>%C3%BC",
  ],
  [
    "a field renamed to a name that is present is dropped",
    `{"model":"choosy/m",${M},"max_tokens":7,"max_completion_tokens":5}`,
    `{"model":"m",${M},"max_tokens":7}`,
    "max_completion_tokens",
  ],
  [
    "a field that is null is not reported",
    `{"model":"choosy/m",${M},"seed":null,"logprobs":null}`,
    `{"model":"m",${M},"seed":null,"logprobs":null}`,
    null,
  ],
  [
    "nested fields are unchanged",
    `{"model":"choosy/m",${M},"x":{"seed":1,"model":"choosy/m"}}`,
    `{"model":"m",${M},"x":{"seed":1,"model":"choosy/m"}}`,
    null,
  ],
  [
    "groq has logprobs dropped and the temperature 0 replaced",
    `{"model":"groq/m","logprobs":true,${M},"top_logprobs":2,"temperature":0}`,
    `{"model":"m",${M},"temperature":1e-8}`,
    "logprobs, top_logprobs, temperature=1e-8",
  ],
  [
    "groq keeps any other temperature",
    `{"model":"groq/m",${M},"temperature":0.70}`,
    `{"model":"m",${M},"temperature":0.70}`,
    null,
  ],
  [
    "mistral gets its own field names",
    `{"model":"mistral/m",${M},"seed":42,"max_completion_tokens":5}`,
    `{"model":"m",${M},"random_seed":42,"max_tokens":5}`,
    "max_completion_tokens>max_tokens, seed>random_seed",
  ],
  [
    "mistral reports usage in streams without being asked",
    `{"model":"mistral/m",${M},"stream":true}`,
    `{"model":"m",${M},"stream":true}`,
    null,
  ],
  [
    "the request to groq asks for usage in streams",
    `{"model":"groq/m",${M},"stream":true,"logit_bias":{}}`,
    `{"model":"m",${M},"stream":true,"stream_options":{"include_usage":true}}`,
    "logit_bias",
  ],
  [
    "openrouter gets the routing preferences",
    `{"model":"openrouter/m","models":["a","b"],${M},"provider":{"quantizations":["int4"]}}`,
    `{"model":"m","models":["a","b"],${M},"provider":{"quantizations":["int4"]}}`,
    null,
  ],
])) {
  test(`provider quirks: ${name}`, async () => {
    const { got, dropped: header } = await pass(given);
    assert.equal(got, expected);
    assert.equal(header, dropped);
  });
}

test("provider quirks: after a failover x-gateway-dropped-params is about the provider that answered", async () => {
  const answered = await ask(gateway, {
    model: "both",
    logprobs: true,
    simulate: { status: 500, when: { path: "/plain" } },
  });
  assert.equal(answered.provider, "choosy");
  assert.equal(answered.headers.get("x-gateway-dropped-params"), "logprobs");
});

test("provider quirks: the provider's key is sent only in the header that the provider expects", async () => {
  for (const [model, header, value] of /** @type {[string, string, string][]} */ ([
    ["azure/m", "api-key", "sk-azure"],
    ["azure_ai/m", "authorization", "Bearer sk-azure-ai"],
    ["groq/m", "authorization", "Bearer sk-groq"],
    ["headed/m", "x-api-key", "sk-headed"],
  ])) {
    const { headers } = await pass(`{"model":"${model}",${M}}`);
    assert.equal(headers[header], value);
    const text = JSON.stringify(headers);
    assert.equal(text.split("sk-").length, 2, text);
    assert.ok(!text.includes(KEY) || !text.includes(`Bearer ${KEY}"`), text);
  }
  const { headers } = await pass(`{"model":"plain/m",${M}}`);
  assert.ok(!("authorization" in headers), JSON.stringify(headers));
});

test("provider quirks: an incomplete provider address returns 503, and the log has the missing variable", async () => {
  for (const [model, missing] of /** @type {[string, RegExp][]} */ ([
    ["bedrock/m", /BEDROCK_REGION is not set/],
    ["workers_ai/m", /CLOUDFLARE_ACCOUNT_ID is not set/],
    ["openai/m", /OPENAI_API_KEY is not set/],
    ["ollama/m", /OLLAMA_BASE_URL is not set/],
  ])) {
    const answered = await ask(gateway, { model });
    assertRefused(answered, 503, "provider_not_configured");
    const provider = model.split("/")[0];
    assert.equal(
      answered.error.message.split(" (request")[0],
      `provider '${provider}' is not configured here`,
    );
    const line = await gateway.callOf(answered.headers.get("x-request-id") ?? "");
    assert.match(line.detail, missing);
  }
  const health = await (await fetch(`${gateway.url}/health`)).json();
  assert.deepEqual(health.providers, [
    "azure",
    "azure_ai",
    "choosy",
    "groq",
    "headed",
    "mistral",
    "openrouter",
    "plain",
  ]);
});

test("provider quirks: an invalid region cannot change the host", async () => {
  const other = await Gateway.startBare({
    ...configured(upstream, {}),
    BEDROCK_API_KEY: "sk-bedrock",
    BEDROCK_REGION: "x.evil.example/#",
  });
  try {
    const answered = await ask(other, { model: "bedrock/m" });
    assertRefused(answered, 503, "provider_not_configured");
    const line = await other.callOf(answered.headers.get("x-request-id") ?? "");
    assert.match(line.detail, /BEDROCK_REGION must be letters, digits and '-'/);
  } finally {
    await other.stop();
  }
});
