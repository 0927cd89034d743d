// @ts-check
//! The HTTP surface common to all routes: headers, CORS, ids, methods, paths, bodies, models and health.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import {
  Gateway,
  KEY,
  OPERATOR_KEY,
  Upstream,
  call,
  chat,
  eventually,
  variables,
} from "./harness.mjs";

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;

before(async () => {
  upstream = await Upstream.start();
  gateway = await Gateway.start({
    ...variables(upstream, { requests: { max_body_bytes: 2000 } }),
    GROQ_API_KEY: "gsk",
    TOGETHER_API_KEY: "tk",
  });
});
after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

const ULID = /^[0-9A-HJKMNP-TV-Z]{26}$/;
const authorization = `Bearer ${KEY}`;

suite("response headers", () => {
  test("response headers: every response of the Worker has an id, timing, security and CORS headers", async () => {
    for (const [method, path, status] of /** @type {[string, string, number][]} */ ([
      ["GET", "/health", 200],
      ["HEAD", "/health", 200],
      ["GET", "/v1/models", 200],
      ["POST", "/v1/chat/completions", 401],
      ["GET", "/nothing", 404],
      ["PUT", "/health", 405],
      ["OPTIONS", "/health", 204],
    ])) {
      const { headers, status: got } = await call(`${gateway.url}${path}`, { method });
      const where = `${method} ${path}`;
      assert.equal(got, status, where);
      assert.match(headers.get("x-request-id") ?? "", ULID, where);
      assert.match(headers.get("server-timing") ?? "", /total;dur=\d+/, where);
      assert.equal(headers.get("x-content-type-options"), "nosniff", where);
      assert.equal(headers.get("x-frame-options"), "DENY", where);
      assert.equal(headers.get("referrer-policy"), "no-referrer", where);
      assert.equal(headers.get("access-control-allow-origin"), null, where);
      assert.equal(headers.get("access-control-expose-headers"), null, where);
      assert.equal(headers.get("cache-control"), "no-store", where);
    }
  });

  test("response headers: a valid x-request-id is kept, any other is replaced", async () => {
    const id = async (/** @type {string} */ given) =>
      (await call(`${gateway.url}/health`, { headers: { "x-request-id": given } })).headers.get(
        "x-request-id",
      );
    for (const kept of [
      "01ARZ3NDEKTSV4RRFFQ69G5FAV",
      "6f1c9c0e-9a51-4a5e-8f0c-6b1b8a3f0b9e",
      "req_1:a.b",
    ]) {
      assert.equal(await id(kept), kept);
    }
    for (const replaced of ["a b", "a,b", "<x>", "x".repeat(129)]) {
      assert.match((await id(replaced)) ?? "", ULID);
    }
  });

  test("response headers: a call reports its route and duration", async () => {
    const { headers } = await chat(gateway, {});
    assert.equal(headers.get("x-gateway-provider"), "demo");
    assert.equal(headers.get("x-gateway-model"), "sim-small");
    assert.equal(headers.get("x-gateway-attempts"), "1");
    assert.match(headers.get("server-timing") ?? "", /^upstream;dur=\d+, total;dur=\d+$/);
  });
});

suite("CORS", () => {
  test("CORS: scripts of other origins can read the response headers", async () => {
    const origin = "https://app.example";
    const { headers } = await chat(gateway, {}, { origin });
    const exposed = (headers.get("access-control-expose-headers") ?? "").split(", ");
    assert.equal(headers.get("access-control-allow-origin"), "*");
    for (const name of [
      "x-gateway-provider",
      "x-gateway-model",
      "x-gateway-receipt",
      "x-gateway-cost-usd",
      "server-timing",
      "retry-after",
      "x-request-id",
    ]) {
      assert.ok(exposed.includes(name), name);
    }
    const refused = await call(`${gateway.url}/v1/chat/completions`, {
      method: "POST",
      headers: { origin },
    });
    assert.equal(refused.status, 401);
    assert.match(refused.headers.get("access-control-expose-headers") ?? "", /www-authenticate/);
  });

  test("CORS: a preflight needs no key and its requested headers are allowed", async () => {
    const asked = "authorization,content-type,x-stainless-lang,x-stainless-retry-count";
    const { status, headers } = await call(`${gateway.url}/v1/chat/completions`, {
      method: "OPTIONS",
      headers: {
        origin: "https://app.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": asked,
      },
    });
    assert.equal(status, 204);
    assert.equal(headers.get("access-control-allow-origin"), "*");
    assert.equal(headers.get("access-control-allow-headers"), asked);
    assert.equal(headers.get("access-control-allow-methods"), "POST, OPTIONS");
    assert.equal(headers.get("access-control-max-age"), "86400");
    assert.match(headers.get("vary") ?? "", /access-control-request-headers/);
    assert.equal(headers.get("access-control-allow-credentials"), null);
  });
});

suite("methods and paths", () => {
  test("methods and paths: a wrong method returns 405 with the allowed methods", async () => {
    for (const [method, path, allow] of /** @type {string[][]} */ ([
      ["GET", "/v1/chat/completions", "POST, OPTIONS"],
      ["DELETE", "/v1/models", "GET, HEAD, OPTIONS"],
      ["POST", "/v1/models/openai/gpt-4o", "GET, HEAD, OPTIONS"],
      ["POST", "/health", "GET, HEAD, OPTIONS"],
    ])) {
      const response = await call(`${gateway.url}${path}`, { method, headers: { authorization } });
      assert.equal(response.status, 405, path);
      assert.equal(response.headers.get("allow"), allow);
      assert.equal((await response.json()).error.code, "method_not_allowed");
    }
  });

  test("methods and paths: CONNECT is not a failure of the gateway", async () => {
    const bare = await Gateway.startBare(variables(upstream));
    try {
      const socket = connect(Number(new URL(bare.url).port), "127.0.0.1");
      let text = "";
      socket.setEncoding("utf8").on("data", (data) => (text += data));
      socket.write("CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\n");
      await eventually(() => socket.readableEnded || socket.destroyed);
      assert.ok(!text.includes(" 500 "), text);
      assert.ok(!bare.log.some((line) => /exception|connect/i.test(line)), bare.log.join("\n"));
      assert.equal((await chat(bare, {})).status, 200);
    } finally {
      await bare.stop();
    }
  });

  test("methods and paths: an unknown path returns 404 in the envelope of its surface", async () => {
    for (const [path, body] of /** @type {[string, RegExp][]} */ ([
      [
        "/v1/nothing",
        /^\{"error":\{"message":"Not found.*","type":"not_found_error","param":null,"code":"not_found"\}\}$/,
      ],
      ["/nothing?x=1#y", /^\{"error":\{"message":"Not found/],
      ["/api/portal/nothing", /^\{"Status":"Error","Message":"Not found.*","Meta":null\}$/],
      ["/v0/nothing", /^\{"message":"Not found.*","error_code":"NotFound","details":null\}$/],
    ])) {
      const key = path.startsWith("/v1/") ? authorization : `Bearer ${OPERATOR_KEY}`;
      const response = await call(`${gateway.url}${path}`, { headers: { authorization: key } });
      assert.equal(response.status, 404, path);
      assert.match(await response.text(), body);
    }
  });

  test("methods and paths: the docs and the API description are served, to browsers at the root too", async () => {
    assert.match(await (await call(`${gateway.url}/docs`)).text(), /<html/i);
    assert.equal((await call(gateway.url)).url, `${gateway.url}/docs`);
    const spec = await call(`${gateway.url}/openapi.json`);
    assert.equal(spec.headers.get("access-control-allow-origin"), "*");
    assert.match((await spec.json()).openapi, /^3\.1/);
  });
});

suite("request bodies", () => {
  test("request bodies: content types are accepted as by OpenAI's API", async () => {
    for (const type of [
      "application/json; charset=utf-8",
      "Application/JSON",
      "application/vnd.x+json",
    ]) {
      assert.equal((await chat(gateway, {}, { "content-type": type })).status, 200, type);
    }
    const untyped = await call(`${gateway.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization },
      body: new TextEncoder().encode('{"model":"auto","messages":[]}'),
    });
    assert.equal(untyped.status, 200);
    for (const type of ["application/x-www-form-urlencoded", "text/plain;charset=UTF-8"]) {
      const response = await chat(gateway, {}, { "content-type": type });
      assert.equal(response.status, 400, type);
      const { error } = await response.json();
      assert.equal(error.code, "unsupported_content_type");
      assert.ok(error.message.includes(type));
    }
  });

  test("request bodies: a body over the limit returns 413, declared or chunked", async () => {
    await upstream.forget();
    const large = JSON.stringify({ model: "auto", messages: [], pad: "x".repeat(3000) });
    const declared = await chat(gateway, large);
    const chunked = await call(`${gateway.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization, "content-type": "application/json" },
      body: new ReadableStream({
        start(controller) {
          for (let at = 0; at < large.length; at += 500) {
            controller.enqueue(new TextEncoder().encode(large.slice(at, at + 500)));
          }
          controller.close();
        },
      }),
      // @ts-expect-error the types do not know it yet
      duplex: "half",
    });
    for (const response of [declared, chunked]) {
      assert.equal(response.status, 413);
      const { error } = await response.json();
      assert.equal(error.code, "body_too_large");
      assert.match(error.message, /2000 bytes/);
    }
    assert.deepEqual(await upstream.requests(), []);
    assert.equal((await chat(gateway, { pad: "x".repeat(1500) })).status, 200);
  });

  test("request bodies: errors name the field and the position", async () => {
    for (const [
      body,
      code,
      param,
      message,
    ] of /** @type {[string, string, string | null, RegExp][]} */ ([
      ["", "invalid_json", null, /the body is empty/],
      [
        '{"model":"auto",\n"messages":[}',
        "invalid_json",
        null,
        /line 2 column 13 \(in or after field 'messages'\)/,
      ],
      ["[]", "invalid_json", null, /not a JSON object/],
      ['{"messages":[]}', "missing_model", "model", /'model' is missing/],
      ['{"model":"auto"}', "missing_input", "messages", /'messages' is missing/],
      [
        '{"model":7,"messages":[]}',
        "invalid_type",
        "model",
        /'model' must be a string, not a number \(line 1, column 10\)/,
      ],
      [
        '{"model":"auto","messages":{}}',
        "invalid_type",
        "messages",
        /must be an array, not an object/,
      ],
      [
        '{"model":"auto","messages":[],"stream":1}',
        "invalid_type",
        "stream",
        /must be true or false/,
      ],
      ['{"model":"auto","model":"auto","messages":[]}', "duplicate_member", "model", /twice/],
      [
        '{"model":"auto","messages":[],"project_id":"a b"}',
        "invalid_project_id",
        "project_id",
        /1-64 chars/,
      ],
      ['{"model":"nope","messages":[]}', "model_not_found", "model", /'nope' is unknown/],
      [
        '{"model":"mistral/x","messages":[]}',
        "provider_not_configured",
        "model",
        /^provider 'mistral' is not configured here \(request \S+\)$/,
      ],
    ])) {
      const response = await chat(gateway, body);
      const { error } = await response.json();
      assert.deepEqual([error.code, error.param], [code, param], body);
      assert.match(error.message, message);
      assert.equal(response.headers.get("x-gateway-error-source"), "gateway");
    }
  });
});

suite("model list", () => {
  test("model list: has OpenAI's shape and only callable models", async () => {
    const { object, data } = await (await call(`${gateway.url}/v1/models`)).json();
    assert.equal(object, "list");
    for (const model of data) {
      assert.equal(typeof model.id, "string");
      assert.equal(model.object, "model");
      assert.ok(Number.isInteger(model.created));
      assert.equal(typeof model.owned_by, "string");
    }
    assert.deepEqual(
      [...new Set(data.map((/** @type {any} */ model) => model.owned_by))],
      ["demo", "groq", "together"],
    );
    const ids = data.map((/** @type {any} */ model) => model.id);
    assert.equal(new Set(ids).size, ids.length);
    assert.ok(ids.includes("demo/sim-small") && ids.includes("auto"));
  });

  test("model list: one model is found by its id, with plain or encoded slashes", async () => {
    const id = "together/Qwen/Qwen3.5-9B";
    for (const path of [id, encodeURIComponent(id)]) {
      const model = await (await call(`${gateway.url}/v1/models/${path}`)).json();
      assert.equal(model.id, id);
      assert.equal(model.context_length, 262144);
      assert.equal(model.pricing.input, "0.17");
      assert.deepEqual(model.architecture.output_modalities, ["text"]);
    }
    const alias = await (await call(`${gateway.url}/v1/models/auto`)).json();
    assert.equal(alias.alias_of, "demo/sim-small");
    const bare = await (await call(`${gateway.url}/v1/models/Qwen/Qwen3.5-9B`)).json();
    assert.equal(bare.id, id);
    for (const path of ["nope", "openai/gpt-4o", "%E0%A4%A", "together/"]) {
      const response = await call(`${gateway.url}/v1/models/${path}`);
      assert.equal(response.status, 404, path);
      assert.equal((await response.json()).error.code, "model_not_found");
    }
  });

  test("model list: bare ids work where one provider has them", async () => {
    assert.equal((await chat(gateway, { model: "sim-small" })).status, 200);
    assert.equal((await chat(gateway, { model: "auto" })).status, 200);
  });
});

test("health: reports configuration and lane health without an upstream call", async () => {
  await upstream.forget();
  const health = await (await call(`${gateway.url}/health`)).json();
  assert.deepEqual(await upstream.requests(), []);
  assert.equal(health.ok, true);
  assert.deepEqual(health.auth, { configured: true });
  assert.deepEqual(health.providers, ["demo", "groq", "together"]);
  assert.equal(health.database, "ready");
  assert.deepEqual(health.problems, []);
  assert.equal((await chat(gateway, { model: "demo/what-only-its-owner-knows" })).status, 200);
  const again = await (await call(`${gateway.url}/health`)).json();
  const keys = again.models.map((/** @type {any} */ model) => model.key);
  assert.deepEqual(keys, ["demo:other", "demo:sim-small"]);
  const row = health.models.find((/** @type {any} */ model) => model.key === "demo:sim-small");
  assert.ok(row.attempts > 0 && row.success_rate === 1 && row.avg_latency_ms >= 0);
});

test("health: reports a database without tables", async () => {
  const state = await mkdtemp(join(tmpdir(), "gatehouse-state-"));
  const empty = await Gateway.start(variables(upstream), [], state);
  try {
    const health = await (await call(`${empty.url}/health`)).json();
    assert.equal(health.database, "not_migrated");
    assert.match(health.problems[0], /d1 migrations apply/);
  } finally {
    await empty.stop();
    await rm(state, { recursive: true });
  }
});

test("invalid configuration: every route returns 503 and only the log explains it", async () => {
  const broken = await Gateway.start({
    ...variables(upstream),
    GATEWAY_CONFIG: '{"timeouts":{"idle":5}}',
  });
  try {
    assert.equal((await call(`${broken.url}/health`, { method: "OPTIONS" })).status, 204);
    for (const response of [await chat(broken, {}), await call(`${broken.url}/health`)]) {
      assert.equal(response.status, 503);
      const { error } = await response.json();
      assert.equal(error.code, "invalid_configuration");
      assert.ok(!error.message.includes("idle"));
    }
    assert.match(broken.log.join("\n"), /unknown field `idle`/);
  } finally {
    await broken.stop();
  }
});
