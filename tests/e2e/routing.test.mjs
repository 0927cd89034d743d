// @ts-check
//! Routing: the upstream of a call by its model name, its needs, the caller's preferences and the key's restrictions.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { Gateway, KEY, Upstream, operate, call } from "./harness.mjs";
import {
  ANSWER,
  QUESTION,
  ask,
  assertAnswered,
  assertRefused,
  configured,
  lane,
  sent,
} from "./lanes.mjs";

const IMAGE = { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } };
const TOOLS = [
  { type: "function", function: { name: "look", parameters: { type: "object", properties: {} } } },
];
const JSON_OBJECT = { type: "json_object" };
const JSON_SCHEMA = {
  type: "json_schema",
  json_schema: { name: "answer", schema: { type: "object", properties: {} } },
};
/** Nothing of what a call may need. */
const UNABLE = {
  context: 8000,
  max_output: 1000,
  tier: "low",
  tools: false,
  json_mode: false,
  json_schema: false,
  vision: false,
};

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;

before(async () => {
  upstream = await Upstream.start();
  gateway = await Gateway.start(
    configured(upstream, {
      routing: {
        auto: ["first/plain", "able/*"],
      },
      providers: {
        first: lane(upstream, "first", { models: ["plain", "shared", "ünïcode/модель 🦀"] }),
        second: lane(upstream, "second", { models: ["plain", "shared"] }),
        third: lane(upstream, "third", { models: ["plain"], drop: ["logprobs"] }),
        able: lane(upstream, "able"),
        keyless: { base_url: `${upstream.url}/keyless/v1`, models: ["lonely"] },
      },
      aliases: { quick: "second/plain", "names/may have/anything": "first/plain" },
      groups: {
        ordered: { models: ["third/plain", "first/plain", "second/plain"] },
        weighted: { models: ["first/plain", "second/plain"], weights: [3, 1] },
        partly: { models: ["keyless/lonely", "second/plain"] },
        nobody: { models: ["keyless/lonely", "keyless/other"] },
      },
      models: {
        "first/plain": { ...UNABLE, tier: "medium", input_usd_per_mtok: 2, output_usd_per_mtok: 4 },
        "second/plain": { ...UNABLE, input_usd_per_mtok: 0.5, output_usd_per_mtok: 1 },
        "third/plain": { ...UNABLE },
        "able/tools": { ...UNABLE, tools: true },
        "able/json": { ...UNABLE, json_mode: true },
        "able/schema": { ...UNABLE, json_schema: true },
        "able/eyes": { ...UNABLE, vision: true },
        "able/reader": { ...UNABLE, context: 200_000 },
        "able/writer": { ...UNABLE, max_output: 30_000 },
        "able/thinker": { ...UNABLE, tier: "high", reasoning: true },
        "able/hidden": { ...UNABLE, tools: true, vision: true, hidden: true },
        "able/copy": { like: "groq/openai/gpt-oss-120b", hidden: true },
      },
    }),
  );
});
after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

/**
 * The `provider/model` that serves a call.
 *
 * @param {object} body
 * @param {Record<string, string>} [headers]
 */
async function goesTo(body, headers) {
  const answered = await ask(gateway, body, headers);
  assert.equal(answered.status, 200, answered.text);
  const [request, ...others] = await sent(upstream, answered);
  assert.deepEqual(others, []);
  const model = decodeURIComponent(answered.headers.get("x-gateway-model") ?? "");
  assert.deepEqual([request?.to, request?.body.model], [answered.provider, model]);
  return `${answered.provider}/${model}`;
}

/**
 * @param {object} body
 * @param {Record<string, string>} [headers]
 */
async function explain(body, headers = {}) {
  const response = await call(`${gateway.url}/v1/routing/explain`, {
    method: "POST",
    headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json", ...headers },
    body: JSON.stringify({ messages: [{ role: "user", content: QUESTION }], ...body }),
  });
  return { status: response.status, body: await response.json() };
}

/**
 * Asserts that a call is rejected without an upstream request.
 *
 * @param {object} body
 * @param {number} status
 * @param {string} code
 * @param {Record<string, string>} [headers]
 */
async function refused(body, status, code, headers) {
  const answered = await ask(gateway, body, headers);
  assertRefused(answered, status, code);
  assert.deepEqual(await sent(upstream, answered), []);
  return answered.error;
}

suite("model names", () => {
  test("model names: provider/model selects that model, listed or not", async () => {
    for (const model of [
      "first/plain",
      "first/not listed/at all",
      "able/hidden",
      "first/ünïcode/модель 🦀",
    ]) {
      assert.equal(await goesTo({ model }), model);
    }
  });

  test("model names: an alias selects its model", async () => {
    assert.equal(await goesTo({ model: "quick" }), "second/plain");
    assert.equal(await goesTo({ model: "names/may have/anything" }), "first/plain");
  });

  test("model names: a group selects its first model", async () => {
    for (let calls = 0; calls < 5; calls += 1) {
      assert.equal(await goesTo({ model: "ordered" }), "third/plain");
    }
  });

  test("model names: a group skips providers that are not configured", async () => {
    assert.equal(await goesTo({ model: "partly" }), "second/plain");
    const error = await refused({ model: "nobody" }, 503, "provider_not_configured");
    assert.match(error.message, /^provider 'keyless' is not configured here/);
  });

  test("model names: a weighted group distributes calls by weight", async (t) => {
    const CALLS = 200;
    const counts = { "first/plain": 0, "second/plain": 0 };
    await Promise.all(
      Array.from({ length: 10 }, async () => {
        for (let calls = 0; calls < CALLS / 10; calls += 1) {
          const { provider } = await ask(gateway, { model: "weighted" });
          counts[provider === "first" ? "first/plain" : "second/plain"] += 1;
        }
      }),
    );
    t.diagnostic(JSON.stringify(counts));
    // With weights of 3:1, four standard deviations of 200 draws are 24.
    assert.ok(Math.abs(counts["first/plain"] - 0.75 * CALLS) <= 25, JSON.stringify(counts));
  });

  test("model names: a bare id selects the only provider that lists it", async () => {
    assert.equal(await goesTo({ model: "eyes" }), "able/eyes");
    assert.equal(await goesTo({ model: "ünïcode/модель 🦀" }), "first/ünïcode/модель 🦀");
  });

  test("model names: a bare id listed by several providers returns ambiguous_model unless a preference decides", async () => {
    const error = await refused({ model: "shared" }, 400, "ambiguous_model");
    assert.match(error.message, /'first\/shared' or 'second\/shared'/);
    for (const [provider, address] of /** @type {[object, string][]} */ ([
      [{ order: ["second"] }, "second/shared"],
      [{ only: ["first"] }, "first/shared"],
    ])) {
      assert.equal(await goesTo({ model: "shared", provider }), address);
    }
    const forced = { "x-gateway-force-provider": "second" };
    assert.equal(await goesTo({ model: "shared" }, forced), "second/shared");
  });

  test("model names: an unlisted id returns 404, one of a provider without a key 503", async () => {
    for (const model of ["nobody's", "hidden", "lonely", "unknown/x", "first/", "/", "🦀"]) {
      const error = await refused({ model }, 404, "model_not_found");
      assert.equal(error.param, "model");
    }
    const error = await refused({ model: "keyless/lonely" }, 503, "provider_not_configured");
    assert.match(error.message, /^provider 'keyless' is not configured here/);
  });

  test("model names: a hidden model is not listed", async () => {
    const models = (await (await call(`${gateway.url}/v1/models`)).json()).data;
    const ids = models.map((/** @type {{ id: string }} */ model) => model.id);
    assert.ok(ids.includes("able/tools"), ids);
    assert.ok(!ids.includes("able/hidden"), ids);
  });

  test("model names: a model declared like a catalogue model has its properties", async () => {
    const { body } = await explain({ model: "auto", models: ["able/copy"] });
    const copy = body.candidates.find((/** @type {any} */ one) => one.id === "able/copy");
    assert.deepEqual([copy.context, copy.max_output, copy.tier], [131_072, 65_536, "high"]);
  });
});

suite("auto", () => {
  for (const [what, body, address] of /** @type {[string, object, string][]} */ ([
    ["no special needs", {}, "first/plain"],
    ["an empty list of tools", { tools: [] }, "first/plain"],
    ["tools", { tools: TOOLS }, "able/tools"],
    ["functions", { functions: [{ name: "look" }] }, "able/tools"],
    ["JSON output", { response_format: JSON_OBJECT }, "able/json"],
    ["a JSON schema", { response_format: JSON_SCHEMA }, "able/schema"],
    ["text output", { response_format: { type: "text" } }, "first/plain"],
    [
      "an image",
      { messages: [{ role: "user", content: [{ type: "text", text: "?" }, IMAGE] }] },
      "able/eyes",
    ],
    ["long context", { messages: [{ role: "user", content: "x ".repeat(20_000) }] }, "able/reader"],
    ["a large max_tokens", { max_tokens: 20_000 }, "able/writer"],
    ["a large max_completion_tokens", { max_completion_tokens: 20_000 }, "able/writer"],
    ["a high reasoning level", { min_reasoning_level: "high" }, "able/thinker"],
    ["a medium reasoning level", { min_reasoning_level: "medium" }, "first/plain"],
    ["a high reasoning effort", { reasoning_effort: "high" }, "able/thinker"],
    ["a medium reasoning effort", { reasoning_effort: "medium" }, "first/plain"],
    ["an automatic reasoning effort", { reasoning_effort: "auto" }, "first/plain"],
    ["a large image", bigImage(), "able/eyes"],
    [
      'the text "image_url"',
      { messages: [{ role: "user", content: '"image_url"' }] },
      "first/plain",
    ],
  ])) {
    for (const stream of [false, true]) {
      test(`auto: a call with ${what} goes to ${address} (${stream ? "stream" : "whole"})`, async () => {
        assert.equal(await goesTo({ model: "auto", stream, ...body }), address);
      });
    }
  }

  function bigImage() {
    const url = `data:image/png;base64,${"A".repeat(500_000)}`;
    return { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url } }] }] };
  }

  test("auto: low effort selects one of the simple models", async () => {
    const address = await goesTo({ model: "auto", reasoning_effort: "low" });
    assert.match(address, /^able\/(tools|json|schema|eyes|reader|writer)$/);
  });

  test("auto: needs that no model meets return an error with the needs and the nearest model", async () => {
    const body = {
      model: "auto",
      tools: TOOLS,
      messages: [{ role: "user", content: [{ type: "text", text: "?" }, IMAGE] }],
    };
    const error = await refused(body, 503, "no_candidate");
    assert.match(error.message, /needs tools, vision, about \d+ tokens of context/);
    assert.match(
      error.message,
      /the nearest is 'able\/(tools|eyes)', which is skipped: is not known/,
    );
    assert.equal(error.param, "model");
    const much = { model: "auto", max_tokens: 10_000_000, min_reasoning_level: "high" };
    const tooMuch = await refused(much, 503, "no_candidate");
    assert.match(tooMuch.message, /10000000 tokens of output, reasoning level high or above/);
    assert.match(tooMuch.message, /'able\/thinker', which is skipped: writes at most 1000 tokens/);
  });

  test("auto: a single named model is called even if the catalogue says that it cannot", async () => {
    assert.equal(await goesTo({ model: "first/plain", tools: TOOLS }), "first/plain");
  });
});

suite("routing preferences", () => {
  test("routing preferences: 'models' are used when the first model cannot serve the call", async () => {
    const models = ["second/plain", "able/tools"];
    assert.equal(await goesTo({ model: "first/plain", models }), "first/plain");
    assert.equal(await goesTo({ model: "first/plain", models, tools: TOOLS }), "able/tools");
    assert.equal(await goesTo({ model: "unknown/x", models }), "second/plain");
    assert.equal(await goesTo({ model: "keyless/lonely", models }), "second/plain");
    assert.equal(await goesTo({ model: "unknown/x", models: ["quick"] }), "second/plain");
    assert.equal(await goesTo({ model: "unknown/x", models: ["ordered"] }), "third/plain");
    assert.equal(await goesTo({ model: "unknown/x", models: ["auto"] }), "first/plain");
  });

  test("routing preferences: 'models' are used when the first model fails", async () => {
    const answered = await ask(gateway, {
      model: "first/fails",
      models: ["first/fails", "first/fails too", "ünïcode/модель 🦀"],
      simulate: [
        { status: 500, when: { model: "fails" } },
        { status: 500, when: { model: "fails too" } },
      ],
    });
    assertAnswered(answered);
    assert.equal(answered.attempts, 3);
    const route = answered.headers.get("x-gateway-route") ?? "";
    assert.match(
      route,
      /^first\/fails;server_error;dur=\d+, first\/fails%20too;server_error;dur=\d+, first\/%C3%BC[!-~]+;ok;dur=\d+$/,
    );
  });

  test("routing preferences: sixteen 'models' in any script are accepted, seventeen rejected", async () => {
    const models = Array.from(
      { length: 16 },
      (_, index) => `unknown/${"模型🦀".repeat(49)}-${index}`,
    );
    const error = await refused({ model: "unknown/x", models }, 503, "no_candidate");
    assert.match(error.message, /no model has this name/);
    assert.equal(await goesTo({ model: "first/plain", models }), "first/plain");
    const tooMany = { model: "first/plain", models: [...models, "first/plain"] };
    assert.equal((await refused(tooMany, 400, "invalid_value")).param, "models");
    const { status, body } = await explain({ model: "first/plain", models });
    assert.equal(status, 200);
    assert.equal(body.dropped.length, 16);
    assert.ok(body.dropped.every((/** @type {any} */ one) => one.reason === "unknown_model"));
  });

  test("routing preferences: 'provider' selects, excludes and orders providers", async () => {
    const model = "ordered";
    for (const [provider, address] of /** @type {[object, string][]} */ ([
      [{ order: ["second", "first"] }, "second/plain"],
      [{ order: ["able"] }, "third/plain"],
      [{ only: ["first", "second"] }, "first/plain"],
      [{ ignore: ["third"] }, "first/plain"],
      [{ ignore: ["third", "first"] }, "second/plain"],
      [{ max_price: { prompt: 1 } }, "second/plain"],
      [{ max_price: { completion: 4 } }, "first/plain"],
      [{ sort: "price" }, "second/plain"],
      [{ sort: "price", order: ["first"] }, "first/plain"],
      [{ sort: "latency", only: ["first"] }, "first/plain"],
      [{ allow_fallbacks: true }, "third/plain"],
      [{ require_parameters: true }, "third/plain"],
      [{}, "third/plain"],
    ])) {
      assert.equal(await goesTo({ model, provider }), address, JSON.stringify(provider));
    }
    const strict = { model, logprobs: true, provider: { require_parameters: true } };
    assert.equal(await goesTo(strict), "first/plain");
    assert.equal(await goesTo({ model, provider: null, models: null }), "third/plain");
  });

  test("routing preferences: allow_fallbacks false prevents failover", async () => {
    const answered = await ask(gateway, {
      model: "first/alone",
      models: ["second/plain"],
      provider: { allow_fallbacks: false },
      simulate: { status: 403 },
    });
    assertRefused(answered, 403);
    assert.equal(answered.attempts, 1);
    assert.equal((await sent(upstream, answered)).length, 1);
  });

  test("routing preferences: preferences that exclude every candidate return no_candidate", async () => {
    for (const provider of [
      { only: ["able"] },
      { only: ["first"], ignore: ["first"] },
      { max_price: { prompt: 0.1 } },
    ]) {
      const error = await refused({ model: "ordered", provider }, 503, "no_candidate");
      assert.match(error.message, /the nearest is '/);
    }
    const keyless = { model: "auto", provider: { only: ["keyless"] } };
    await refused(keyless, 503, "provider_not_configured");
  });

  test("routing preferences: invalid preferences return 400", async () => {
    for (const [param, members] of /** @type {[string, object][]} */ ([
      ["provider", { provider: { order: ["nobody"] } }],
      ["provider", { provider: { only: ["nobody"] } }],
      ["provider", { provider: { ignore: ["First"] } }],
      ["provider", { provider: { quantizations: ["int4"] } }],
      ["provider", { provider: { max_price: { request: 1 } } }],
      ["provider", { provider: { max_price: { prompt: -1 } } }],
      ["provider", { provider: { max_price: { prompt: "1" } } }],
      ["provider", { provider: { sort: "quality" } }],
      ["provider", { provider: { allow_fallbacks: "no" } }],
      ["provider", { provider: "first" }],
      ["provider", { provider: ["first"] }],
      ["models", { models: "second/plain" }],
      ["models", { models: [""] }],
      ["models", { models: [1] }],
      ["models", { models: { 0: "second/plain" } }],
    ])) {
      const error = await refused({ model: "first/plain", ...members }, 400, "invalid_value");
      assert.equal(error.param, param, JSON.stringify(members));
    }
    const level = { model: "auto", min_reasoning_level: "extreme" };
    assert.equal((await refused(level, 400, "invalid_type")).param, "min_reasoning_level");
  });

  test("routing preferences: they are removed from the upstream request, the rest is forwarded byte for byte", async () => {
    const text =
      '{ "models" : ["second/plain"], "model":"first/plain","provider":{"order":["first"]} ,' +
      '"min_reasoning_level":"low", "temperature":1.50,"x":{"models":[1e3]},' +
      '"messages":[{"role":"user","content":"golden"}],"reasoning_effort":"auto" }';
    const response = await call(`${gateway.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
      body: text,
    });
    assert.equal(response.status, 200, await response.clone().text());
    const requests = await upstream.requests();
    const got = requests.find(({ body_text }) => body_text?.includes("golden"))?.body_text;
    assert.equal(
      got,
      '{ "model":"plain", "temperature":1.50,"x":{"models":[1e3]},' +
        '"messages":[{"role":"user","content":"golden"}] }',
    );
    // A suffix of the model itself stays.
    const answered = await ask(gateway, { model: "auto", reasoning_effort: "medium" });
    assert.equal((await sent(upstream, answered))[0]?.body.reasoning_effort, "medium");
  });

  test("routing preferences: headers force a provider or a model", async () => {
    const provider = (/** @type {string} */ name) => ({ "x-gateway-force-provider": name });
    const forced = (/** @type {string} */ name) => ({ "x-gateway-force-model": name });
    assert.equal(await goesTo({ model: "ordered" }, provider("second")), "second/plain");
    assert.equal(await goesTo({ model: "auto" }, provider("first")), "first/plain");
    assert.equal(await goesTo({ model: "ordered" }, forced("able/eyes")), "able/eyes");
    assert.equal(await goesTo({ model: "unknown/x" }, forced("quick")), "second/plain");
    assert.equal(await goesTo({ model: "ordered" }, provider(" ")), "third/plain");
    const both = { ...provider("second"), ...forced("shared") };
    assert.equal(await goesTo({ model: "auto" }, both), "second/shared");
    await refused({ model: "auto" }, 400, "invalid_value", provider("nobody"));
    await refused({ model: "auto" }, 404, "model_not_found", forced("nobody's"));
    await refused({ model: "first/plain" }, 503, "no_candidate", provider("second"));
    await refused({ model: "auto" }, 503, "provider_not_configured", provider("keyless"));
  });
});

suite("key restrictions", () => {
  let made = 0;
  /** @param {string[]} models */
  const issue = async (models) => {
    const name = `narrow-${(made += 1)}`;
    const response = await operate(gateway, "POST", "/v0/api_keys", { name, models });
    assert.equal(response.status, 201, await response.clone().text());
    return { authorization: `Bearer ${(await response.json()).api_key}` };
  };

  test("key restrictions: auto, groups, fallbacks and bare ids are narrowed to the key's models", async () => {
    const second = await issue(["second/*"]);
    assert.equal(await goesTo({ model: "ordered" }, second), "second/plain");
    assert.equal(await goesTo({ model: "quick" }, second), "second/plain");
    assert.equal(
      await goesTo({ model: "shared", provider: { sort: "price" } }, second),
      "second/shared",
    );
    const models = ["third/plain", "second/plain"];
    assert.equal(await goesTo({ model: "first/plain", models }, second), "second/plain");
    const eyes = await issue(["able/eyes"]);
    assert.equal(await goesTo({ model: "auto" }, eyes), "able/eyes");
    const forced = { ...second, "x-gateway-force-model": "first/plain" };
    await refused({ model: "second/plain" }, 403, "model_not_allowed", forced);
    for (const body of [
      { model: "auto" },
      { model: "first/plain" },
      { model: "first/plain", models: ["third/plain"] },
    ]) {
      await refused(body, 403, "model_not_allowed", second);
    }
  });

  test("key restrictions: a call does not fail over to a model that the key cannot use", async () => {
    const two = await issue(["first/*", "third/plain"]);
    const answered = await ask(
      gateway,
      { model: "ordered", simulate: { status: 500, when: { path: "/third" } } },
      two,
    );
    assertAnswered(answered);
    assert.equal(answered.provider, "first");
    const nobody = await ask(
      gateway,
      { model: "first/x", models: ["second/plain"], simulate: { status: 403 } },
      two,
    );
    assertRefused(nobody, 403);
    assert.deepEqual(
      (await sent(upstream, nobody)).map(({ to }) => to),
      ["first"],
    );
  });

  test("key restrictions: a key for an alias, a group or auto does not allow the models behind it", async () => {
    const named = await issue(["auto", "ordered", "quick"]);
    assert.equal(await goesTo({ model: "auto" }, named), "first/plain");
    assert.equal(await goesTo({ model: "quick" }, named), "second/plain");
    assert.match(await goesTo({ model: "ordered" }, named), /\/plain$/);
    await refused({ model: "second/plain" }, 403, "model_not_allowed", named);
    await refused({ model: "weighted" }, 403, "model_not_allowed", named);
  });

  test("key restrictions: a key without models gets the same error for every name", async () => {
    const nothing = await issue([]);
    for (const model of [
      "auto",
      "ordered",
      "weighted",
      "first/plain",
      "keyless/lonely",
      "nobody",
    ]) {
      const error = await refused({ model }, 403, "model_not_allowed", nothing);
      assert.equal(error.message, `This key may not use the model '${model}'`);
    }
  });
});

suite("/v1/routing/explain", () => {
  test("/v1/routing/explain: lists candidates in order and rejected ones with reasons, without an upstream call", async () => {
    const before = (await upstream.stats())["requests"];
    const { status, body } = await explain({
      model: "ordered",
      models: ["able/tools", "unknown/x", "keyless/lonely"],
      provider: { ignore: ["second"] },
      tools: TOOLS,
      logprobs: true,
    });
    assert.equal(status, 200, JSON.stringify(body));
    assert.deepEqual(Object.keys(body).sort(), [
      "attempts",
      "candidates",
      "dropped",
      "limits",
      "model",
      "needs",
      "object",
      "sticky_by",
      "stream",
    ]);
    const ids = (/** @type {any[]} */ list) => list.map(({ id }) => id);
    assert.deepEqual(ids(body.candidates), ["able/tools"]);
    assert.deepEqual(ids(body.attempts), ["able/tools"]);
    assert.deepEqual(
      body.dropped.map((/** @type {any} */ one) => [one.id, one.reason]),
      [
        ["third/plain", "not_capable"],
        ["first/plain", "not_capable"],
        ["second/plain", "not_preferred"],
        ["unknown/x", "unknown_model"],
        ["keyless/lonely", "provider_not_configured"],
      ],
    );
    for (const { detail } of body.dropped) assert.ok(detail.length > 10, detail);
    assert.deepEqual([body.needs.tools, body.needs.vision], [true, false]);
    assert.equal(body.limits.max_attempts, 4);
    assert.equal((await upstream.stats())["requests"], before);
  });

  test("/v1/routing/explain: names the lane that the call then uses", async () => {
    for (const body of [
      { model: "auto" },
      { model: "auto", reasoning_effort: "high" },
      { model: "ordered", provider: { sort: "price" } },
      { model: "quick" },
      { model: "auto", max_tokens: 20_000, stream: true },
    ]) {
      const { body: plan } = await explain(body);
      assert.equal(plan.attempts[0].id, await goesTo(body), JSON.stringify(body));
    }
  });

  test("/v1/routing/explain: returns the errors of the call", async () => {
    for (const [status, code, body] of /** @type {[number, string, object][]} */ ([
      [404, "model_not_found", { model: "nobody's" }],
      [400, "ambiguous_model", { model: "shared" }],
      [503, "no_candidate", { model: "auto", max_tokens: 10_000_000 }],
      [400, "invalid_value", { model: "auto", provider: { only: ["nobody"] } }],
      [400, "missing_model", {}],
    ])) {
      const explained = await explain(body);
      assert.deepEqual([explained.status, explained.body.error.code], [status, code]);
      const asked = await ask(gateway, body);
      // The messages name their own requests.
      const [one, other] = [explained, asked].map((answer) =>
        JSON.stringify(answer.body).replace(/ \(request \w{26}\)/, ""),
      );
      assert.equal(one, other);
    }
  });

  test("/v1/routing/explain: requires a key", async () => {
    const none = await explain({ model: "auto" }, { authorization: "" });
    assert.deepEqual([none.status, none.body.error.code], [401, "invalid_api_key"]);
    const wrong = await explain({ model: "auto" }, { authorization: "Bearer wrong" });
    assert.equal(wrong.status, 401);
  });
});

test("routing: the gateway answers and has logged no panic after these tests", async () => {
  const answered = await ask(gateway, { model: "auto" });
  assert.equal(answered.content, ANSWER);
  assert.ok(!gateway.log.join("\n").match(/panicked|Critical|RuntimeError|hung|Uncaught/i));
});
