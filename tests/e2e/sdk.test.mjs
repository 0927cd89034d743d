// @ts-check
//! The official OpenAI SDK as a client, with only its base URL and key changed.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import OpenAI from "openai";
import { Gateway, KEY, Upstream, call, eventually, root, variables } from "./harness.mjs";

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;
/** @type {OpenAI} */ let client;

before(async () => {
  upstream = await Upstream.start();
  gateway = await Gateway.startBare(
    variables(upstream, {
      providers: {
        demo: {
          base_url: `${upstream.url}/v1`,
          models: ["sim-small"],
          formats: ["chat_completions", "embeddings"],
        },
      },
      models: { "demo/sim-chat": { task: "chat" } },
      timeouts: { first_byte_ms: 3000, idle_ms: 1000 },
    }),
  );
  client = new OpenAI({
    baseURL: `${gateway.url}/v1`,
    apiKey: KEY,
    maxRetries: 0,
    fetch: /** @type {any} */ (call),
  });
});
after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

const model = "demo/sim-small";
/** @type {OpenAI.ChatCompletionMessageParam[]} */
const messages = [{ role: "user", content: "Grüße 😀 from the SDK" }];

/**
 * A request that makes the simulated provider fail.
 *
 * @param {object} simulate
 * @returns {OpenAI.ChatCompletionCreateParamsNonStreaming}
 */
const failing = (simulate) => Object.assign({ model, messages }, { simulate });

/** @type {OpenAI.ChatCompletionTool[]} */
const tools = [
  {
    type: "function",
    function: {
      name: "weather",
      parameters: { type: "object", properties: { location: { type: "string" } } },
    },
  },
];

suite("OpenAI SDK, responses", () => {
  test("OpenAI SDK: a whole response", async () => {
    const answer = await client.chat.completions.create({ model, messages });
    assert.equal(answer.choices[0]?.message.content, "You said: Grüße 😀 from the SDK");
    assert.ok(answer.usage && answer.usage.total_tokens > 0);
    assert.equal(answer._request_id?.length, 26);
  });

  test("OpenAI SDK: a streamed response", async () => {
    const stream = await client.chat.completions.create({ model, messages, stream: true });
    let content = "";
    for await (const chunk of stream) {
      assert.equal(chunk.usage, undefined);
      content += chunk.choices[0]?.delta.content ?? "";
    }
    assert.equal(content, "You said: Grüße 😀 from the SDK");
  });

  test("OpenAI SDK: a streamed response with usage when asked for", async () => {
    const stream = await client.chat.completions.create({
      model,
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    const last = chunks.at(-1);
    assert.deepEqual(last?.choices, []);
    assert.ok(last?.usage && last.usage.completion_tokens > 0);
  });

  test("OpenAI SDK: several choices, logprobs and JSON", async () => {
    const answer = await client.chat.completions.create({
      model,
      messages,
      n: 3,
      logprobs: true,
      response_format: { type: "json_object" },
    });
    assert.equal(answer.choices.length, 3);
    assert.ok(answer.choices[0]?.logprobs?.content?.length);
    JSON.parse(answer.choices[0]?.message.content ?? "");
  });

  test("OpenAI SDK: a conversation with a tool, whole and streamed", async () => {
    const answer = await client.chat.completions.create({ model, messages, tools });
    const message = answer.choices[0]?.message;
    const call = message?.tool_calls?.[0];
    assert.ok(message && call?.type === "function" && call.function.name === "weather");
    const whole = await client.chat.completions.create({
      model,
      tools,
      messages: [...messages, message, { role: "tool", tool_call_id: call.id, content: "22 °C" }],
    });
    assert.match(whole.choices[0]?.message.content ?? "", /22 °C/);
    const streamed = await client.chat.completions
      .stream({ model, messages, tools })
      .finalChatCompletion();
    const again = streamed.choices[0]?.message.tool_calls?.[0];
    assert.ok(again?.type === "function");
    assert.deepEqual(JSON.parse(again.function.arguments), JSON.parse(call.function.arguments));
  });

  test("OpenAI SDK: models are listed and retrieved", async () => {
    const ids = [];
    for await (const listed of client.models.list()) ids.push(listed.id);
    assert.ok(ids.includes(model));
    assert.equal((await client.models.retrieve(model)).id, model);
  });
});

/** Requests for embeddings, in the SDKs' spelling. */
const EMBEDDINGS = [
  { input: "Grüße 😀" },
  { input: ["one", "two", "Grüße 😀"], dimensions: 1536 },
  { input: [[15339], [1917, 0]], encoding_format: "float" },
  { input: "one", dimensions: 3, encoding_format: "float" },
];

/**
 * The vectors that the simulated provider itself sends, as 32-bit floats.
 *
 * @param {object} body
 */
async function vectorsOf(body) {
  const response = await fetch(`${upstream.url}/v1/embeddings`, {
    method: "POST",
    body: JSON.stringify({ ...body, encoding_format: "float" }),
  });
  return rounded(/** @type {any} */ (await response.json()).data);
}

/** @param {{ embedding: number[] }[]} data */
const rounded = (data) => data.map(({ embedding }) => embedding.map(Math.fround));

suite("OpenAI SDK, embeddings", () => {
  for (const body of EMBEDDINGS) {
    test(`OpenAI SDK: embeddings are those of the provider (${JSON.stringify(body)})`, async () => {
      const response = await client.embeddings.create(/** @type {any} */ ({ model, ...body }));
      const { encoding_format: sent } = JSON.parse((await upstream.lastRequest()).body_text);
      // The SDK asks for base64 where the caller does not choose, and decodes it.
      assert.equal(sent, body.encoding_format ?? "base64");
      assert.deepEqual(rounded(/** @type {any} */ (response.data)), await vectorsOf(body));
      assert.ok(response.usage.total_tokens > 0);
    });
  }

  test("OpenAI SDK: a chat model for embeddings throws BadRequestError", async () => {
    await assert.rejects(
      client.embeddings.create({ model: "demo/sim-chat", input: "a" }),
      (/** @type {any} */ error) =>
        error instanceof OpenAI.BadRequestError && error.code === "unsupported_endpoint",
    );
  });

  const python = `${root}.tools/docs-python/bin/python`;
  const skip = existsSync(python)
    ? false
    : "there is no Python with venv; scripts/setup --tests says more";
  test("OpenAI SDK for Python: embeddings are those of the provider", { skip }, async () => {
    const program = `import json, sys
from openai import OpenAI
client = OpenAI(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0)
responses = [client.embeddings.create(model=sys.argv[3], **body) for body in json.loads(sys.argv[4])]
print(json.dumps([[{"embedding": one.embedding} for one in response.data] for response in responses]))`;
    const { stdout } = await promisify(execFile)(python, [
      ...["-c", program, `${gateway.url}/v1`, KEY, model],
      JSON.stringify(EMBEDDINGS),
    ]);
    const requests = (await upstream.requests()).slice(-EMBEDDINGS.length);
    assert.deepEqual(
      requests.map(({ body_text }) => JSON.parse(body_text).encoding_format),
      EMBEDDINGS.map(({ encoding_format }) => encoding_format ?? "base64"),
    );
    const vectors = JSON.parse(stdout).map(rounded);
    assert.deepEqual(vectors, await Promise.all(EMBEDDINGS.map(vectorsOf)));
  });
});

suite("OpenAI SDK, errors", () => {
  for (const [
    name,
    options,
    body,
    type,
    code,
  ] of /** @type {[string, object, any, any, string][]} */ ([
    [
      "a wrong key",
      { apiKey: "wrong" },
      { model, messages },
      OpenAI.AuthenticationError,
      "invalid_api_key",
    ],
    ["an unknown model", {}, { model: "nope", messages }, OpenAI.NotFoundError, "model_not_found"],
    ["a bad body", {}, { model, messages: "hi" }, OpenAI.BadRequestError, "invalid_type"],
    [
      "a rate limit of the provider",
      {},
      failing({ status: 429, code: "rate_limit_exceeded" }),
      OpenAI.RateLimitError,
      "rate_limit_exceeded",
    ],
    [
      "an error of the provider",
      {},
      failing({ status: 500, code: "oops" }),
      OpenAI.InternalServerError,
      "oops",
    ],
    [
      "a provider that is too slow",
      {},
      failing({ hang: "headers" }),
      OpenAI.InternalServerError,
      "upstream_timeout",
    ],
    [
      "a response that is cut",
      {},
      failing({ cut: "body" }),
      OpenAI.InternalServerError,
      "upstream_invalid_response",
    ],
  ])) {
    test(`OpenAI SDK: ${name} throws ${type.name}`, async () => {
      const error = await client
        .withOptions(options)
        .chat.completions.create(body)
        .then(
          () => assert.fail("answered"),
          (/** @type {any} */ error) => error,
        );
      assert.ok(error instanceof type, `${error}`);
      assert.equal(error.code, code);
      assert.equal(error.requestID?.length, 26);
    });
  }

  for (const simulate of [
    { cut: "stream", after_events: 3 },
    { cut: "clean", after_events: 3 },
    { hang: "stream", after_events: 3 },
    { error_event: true, after_events: 3, error_event_shape: "named", message: "broken" },
  ]) {
    test(`OpenAI SDK: a broken stream throws (${JSON.stringify(simulate)})`, async () => {
      const stream = await client.chat.completions.create({ ...failing(simulate), stream: true });
      let chunks = 0;
      await assert.rejects(async () => {
        for await (const _ of stream) chunks += 1;
      }, OpenAI.APIError);
      assert.equal(chunks, 3);
    });
  }

  test("OpenAI SDK: retries stop when the gateway reports that they are useless", async () => {
    await upstream.forget();
    let requests = 0;
    const counting = new OpenAI({
      baseURL: `${gateway.url}/v1`,
      apiKey: KEY,
      maxRetries: 2,
      fetch: (url, init) => {
        requests += 1;
        return fetch(url, /** @type {any} */ (init));
      },
    });
    await assert.rejects(
      counting.chat.completions.create({ model: "mistral/x", messages }),
      OpenAI.InternalServerError,
    );
    assert.equal(requests, 1);
    await assert.rejects(
      counting.chat.completions.create(failing({ status: 503, retry_after_ms: "10" })),
      OpenAI.InternalServerError,
    );
    assert.equal(requests, 4);
  });
});

suite("OpenAI SDK, aborts", () => {
  test("OpenAI SDK: aborting a stream cancels the upstream", async () => {
    await upstream.forget();
    const stream = await client.chat.completions.create({
      ...failing({ events: 10_000, frame_delay_ms: 20 }),
      stream: true,
    });
    for await (const _ of stream) break;
    await eventually(async () => (await upstream.lastRequest()).outcome === "cancelled", 3000);
    assert.ok((await upstream.lastRequest()).events_sent < 100);
  });

  test("OpenAI SDK: aborting a whole response cancels the upstream", async () => {
    await upstream.forget();
    const controller = new AbortController();
    const answer = client.chat.completions.create(failing({ delay_ms: 60_000 }), {
      signal: controller.signal,
    });
    await eventually(async () => (await upstream.requests()).length === 1);
    controller.abort();
    await assert.rejects(answer, OpenAI.APIUserAbortError);
    // The SDK ends its connection without a reset, which workerd on a bare socket notices only when it writes; so the
    // gateway's time limit is what cancels here. abort.test.mjs has the resets.
    await eventually(async () => (await upstream.lastRequest()).outcome === "cancelled", 6000);
  });
});
