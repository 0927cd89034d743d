// @ts-check
//! Failures of providers: the caller gets a clear error in one envelope, and a stream never ends silently.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import {
  Gateway,
  PROVIDER_KEY,
  Upstream,
  chat,
  events,
  eventually,
  variables,
} from "./harness.mjs";

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;

before(async () => {
  upstream = await Upstream.start();
  gateway = await Gateway.start({
    ...variables(upstream, {
      timeouts: { first_byte_ms: 1500, idle_ms: 1000 },
      responses: { max_bytes: 2_000_000 },
      providers: {
        demo: { base_url: `${upstream.url}/v1`, models: ["sim-small"] },
        nowhere: { base_url: "http://127.0.0.1:9", auth: "none" },
      },
    }),
  });
});
after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

/** @param {Response} response */
async function errorOf(response) {
  const body = await response.json();
  assert.deepEqual(Object.keys(body), ["error"]);
  assert.deepEqual(Object.keys(body.error).sort(), ["code", "message", "param", "type"]);
  assert.equal(response.headers.get("content-type"), "application/json");
  return body.error;
}

suite("upstream errors", () => {
  const shapes = [
    "openai",
    "flat",
    "message",
    "detail",
    "error_text",
    "fault",
    "array",
    "cloudflare",
    "anthropic",
  ];
  for (const error_shape of shapes) {
    test(`upstream errors: the error shape '${error_shape}' is converted to the gateway's envelope`, async () => {
      const response = await chat(gateway, {
        simulate: { status: 429, error_shape, message: "slow down" },
      });
      assert.equal(response.status, 429);
      assert.equal((await errorOf(response)).message, "slow down");
      assert.equal(response.headers.get("x-gateway-error-source"), "upstream");
      assert.equal(response.headers.get("x-gateway-provider"), "demo");
    });
  }

  for (const error_shape of ["html", "empty", "text"]) {
    test(`upstream errors: an error body without a message ('${error_shape}') is not echoed`, async () => {
      const response = await chat(gateway, { simulate: { status: 503, error_shape } });
      assert.equal(response.status, 503);
      assert.equal(
        (await errorOf(response)).message,
        "demo returned HTTP 503 without an error message",
      );
    });
  }

  test("upstream errors: the status is forwarded", async () => {
    for (const status of [400, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 529]) {
      assert.equal((await chat(gateway, { simulate: { status } })).status, status);
    }
  });

  test("upstream errors: Retry-After is forwarded, or added to a 503 that has none", async () => {
    for (const retry_after of ["7", "Wed, 21 Oct 2026 07:28:00 GMT"]) {
      const response = await chat(gateway, { simulate: { status: 429, retry_after } });
      assert.equal(response.headers.get("retry-after"), retry_after);
    }
    const precise = await chat(gateway, { simulate: { status: 503, retry_after_ms: "1500" } });
    assert.equal(precise.headers.get("retry-after-ms"), "1500");
    assert.equal(
      (await chat(gateway, { simulate: { status: 503 } })).headers.get("retry-after"),
      "1",
    );
    assert.equal(
      (await chat(gateway, { simulate: { status: 400 } })).headers.get("retry-after"),
      null,
    );
  });

  test("upstream errors: a rejected provider key is reported by the name of its secret and not revealed", async () => {
    const message = `Incorrect API key provided: ${PROVIDER_KEY}`;
    const refused = await chat(gateway, { simulate: { status: 401, message } });
    assert.equal(refused.status, 502, "a 401 would blame the caller's key");
    assert.equal(refused.headers.get("x-should-retry"), "false");
    assert.equal(refused.headers.get("www-authenticate"), null);
    const error = await errorOf(refused);
    assert.equal(error.code, "upstream_credential_rejected");
    assert.match(error.message, /DEMO_API_KEY/);
    const others = await Promise.all(
      [
        { simulate: { status: 403, message, code: PROVIDER_KEY } },
        { simulate: { body: "error_in_200", message, code: PROVIDER_KEY } },
        { stream: true, simulate: { error_event: true, message, code: PROVIDER_KEY } },
      ].map(async (body) => (await chat(gateway, body)).text()),
    );
    for (const text of [error.message, ...others]) {
      assert.ok(!text.includes(PROVIDER_KEY), text);
    }
  });

  test("upstream errors: an error in a 200 response is returned as 502", async () => {
    const response = await chat(gateway, {
      simulate: { body: "error_in_200", message: "overloaded" },
    });
    assert.equal(response.status, 502);
    assert.equal((await errorOf(response)).message, "overloaded");
  });
});

suite("unresponsive upstreams", () => {
  for (const stream of [false, true]) {
    for (const [
      name,
      body,
      status,
      code,
      message,
    ] of /** @type {[string, object, number, string, RegExp][]} */ ([
      [
        "unreachable",
        { model: "nowhere/x" },
        502,
        "upstream_unreachable",
        /^nowhere could not be reached/,
      ],
      [
        "closed before the headers",
        { simulate: { cut: "headers" } },
        502,
        "upstream_unreachable",
        /^demo /,
      ],
      [
        "reset before the headers",
        { simulate: { cut: "headers", reset: true } },
        502,
        "upstream_unreachable",
        /^demo /,
      ],
      [
        "silent",
        { simulate: { hang: "headers" } },
        504,
        "upstream_timeout",
        /^demo did not respond in time/,
      ],
      [
        "slower than the limit",
        { simulate: { delay_ms: 5000 } },
        504,
        "upstream_timeout",
        /^demo did not respond in time/,
      ],
      [
        "a redirect",
        { simulate: { redirect: "http://127.0.0.1:9/stolen" } },
        502,
        "upstream_redirected",
        /does not follow redirects/,
      ],
    ])) {
      test(`unresponsive upstreams: ${name} (${stream ? "stream" : "whole"}) returns ${status} ${code}`, async () => {
        const response = await chat(gateway, { ...body, stream });
        assert.equal(response.status, status);
        const error = await errorOf(response);
        assert.equal(error.code, code);
        assert.match(error.message, message);
        assert.equal(response.headers.get("x-gateway-error-source"), "gateway");
      });
    }
  }

  test("unresponsive upstreams: a call that timed out is cancelled", async () => {
    await upstream.forget();
    await chat(gateway, { simulate: { hang: "headers" } });
    await eventually(async () => (await upstream.lastRequest()).outcome === "cancelled", 3000);
  });
});

suite("invalid upstream responses", () => {
  for (const [name, simulate, code] of /** @type {[string, object, string][]} */ ([
    ["malformed JSON", { body: "malformed" }, "upstream_invalid_response"],
    ["an array", { body: "array" }, "upstream_invalid_response"],
    ["empty", { body: "empty" }, "upstream_invalid_response"],
    ["no choices", { body: "no_choices" }, "upstream_invalid_response"],
    ["cut in the middle", { cut: "body" }, "upstream_invalid_response"],
    ["silent in the middle", { hang: "body" }, "upstream_timeout"],
    ["larger than the limit", { content_bytes: 3_000_000 }, "upstream_response_too_large"],
    [
      "larger than the limit, undeclared",
      { content_bytes: 3_000_000, no_content_length: true },
      "upstream_response_too_large",
    ],
  ])) {
    test(`invalid upstream responses: a whole response that is ${name} returns ${code}`, async () => {
      const response = await chat(gateway, { simulate });
      assert.equal(response.status, code === "upstream_timeout" ? 504 : 502);
      const error = await errorOf(response);
      assert.equal(error.code, code);
      assert.match(error.message, /^demo /);
    });
  }

  test("invalid upstream responses: a body that is no completion where a stream was requested returns 502", async () => {
    for (const body of ["no_choices", "array", "malformed"]) {
      const response = await chat(gateway, { stream: true, simulate: { body } });
      assert.equal(response.status, 502);
      assert.equal((await errorOf(response)).code, "upstream_invalid_response");
    }
  });

  test("invalid upstream responses: the body counts, not the content type", async () => {
    for (const content_type of ["text/plain", "text/html", "application/octet-stream", null]) {
      const whole = await chat(gateway, { simulate: { content_type } });
      assert.equal(whole.status, 200, `${content_type}`);
      assert.equal(whole.headers.get("content-type"), "application/json");
      assert.ok((await whole.json()).choices[0].message.content.length > 0);
      const stream = await chat(gateway, { stream: true, simulate: { content_type } });
      assert.equal(stream.status, 200, `${content_type}`);
      assert.equal(events(await stream.text()).at(-1), "[DONE]");
    }
  });

  test("invalid upstream responses: slow, large and untyped responses are accepted", async () => {
    for (const simulate of [
      { drip_ms: 100 },
      { content_bytes: 1_000_000 },
      { content_type: null },
      { no_content_length: true },
    ]) {
      const response = await chat(gateway, { simulate });
      assert.equal(response.status, 200, JSON.stringify(simulate));
      assert.ok((await response.json()).choices[0].message.content.length > 0);
    }
  });
});

suite("broken streams", () => {
  for (const [name, simulate, code] of /** @type {[string, object, string][]} */ ([
    ["cut", { cut: "stream", after_events: 3 }, "upstream_stream_cut"],
    ["reset", { cut: "stream", after_events: 3, reset: true }, "upstream_stream_cut"],
    ["ended without [DONE]", { cut: "clean", after_events: 3 }, "upstream_stream_cut"],
    ["finished without [DONE]", { done: false }, "upstream_stream_cut"],
    ["silent", { hang: "stream", after_events: 3 }, "upstream_timeout"],
  ])) {
    for (const chunking of ["event", "bytes:5"]) {
      test(`broken streams: one that is ${name} (${chunking}) ends with a typed error event and no [DONE]`, async () => {
        const options = { chunking, ...simulate };
        const response = await chat(gateway, {
          stream: true,
          simulate: options,
          messages: [{ role: "user", content: "a b c d e" }],
        });
        assert.equal(response.status, 200);
        const seen = events(await response.text());
        const last = JSON.parse(seen.at(-1) ?? "{}");
        assert.deepEqual(
          [last.error?.code, last.error?.type],
          [code, "upstream_error"],
          seen.join("\n"),
        );
        assert.match(last.error.message, /^demo /);
        assert.ok(!seen.includes("[DONE]"));
        for (const event of seen) JSON.parse(event);
      });
    }
  }

  for (const [name, simulate, status, code] of /** @type {[string, object, number, string][]} */ ([
    ["cut", { cut: "stream" }, 502, "upstream_stream_cut"],
    ["cut after the role", { cut: "stream", after_events: 1 }, 502, "upstream_stream_cut"],
    ["ended empty", { cut: "clean" }, 502, "upstream_stream_cut"],
    ["silent", { hang: "body" }, 504, "upstream_timeout"],
    ["silent after the role", { hang: "stream", after_events: 1 }, 504, "upstream_timeout"],
  ])) {
    test(`broken streams: one that is ${name}, before any content, returns an error status`, async () => {
      const response = await chat(gateway, { stream: true, simulate });
      assert.equal(response.status, status);
      const error = await errorOf(response);
      assert.deepEqual([error.code, error.type], [code, "upstream_error"]);
      assert.match(error.message, /^demo /);
    });
  }

  for (const error_event_shape of ["openai", "text", "named", "openrouter"]) {
    test(`broken streams: an error event (${error_event_shape}) is converted and ends the stream`, async () => {
      const response = await chat(gateway, {
        stream: true,
        simulate: { error_event: true, error_event_shape, after_events: 3, message: "went wrong" },
      });
      const seen = events(await response.text());
      const { error } = JSON.parse(seen.at(-1) ?? "{}");
      assert.deepEqual(Object.keys(error).sort(), ["code", "message", "param", "type"]);
      assert.equal(error.message, "went wrong");
      assert.equal(seen.length, 4);
    });

    test(`broken streams: an error event (${error_event_shape}) before the first content returns an error status`, async () => {
      for (const after_events of [0, 1]) {
        const response = await chat(gateway, {
          stream: true,
          simulate: { error_event: true, error_event_shape, after_events, message: "went wrong" },
        });
        assert.equal(response.status, 502);
        assert.match((await errorOf(response)).message, /^went wrong/);
      }
    });
  }

  test("broken streams: a slow stream does not time out", async () => {
    const response = await chat(gateway, {
      stream: true,
      simulate: { events: 4, frame_delay_ms: 600 },
    });
    assert.equal(events(await response.text()).at(-1), "[DONE]");
  });

  test("broken streams: a silent stream is kept alive by comments, which parsers ignore", async () => {
    const pinging = await Gateway.startBare(
      variables(upstream, { timeouts: { idle_ms: 5000, ping_ms: 100 } }),
    );
    try {
      const simulate = { chunking: "bytes:40", events: 3, frame_delay_ms: 130 };
      const text = await (await chat(pinging, { stream: true, simulate })).text();
      assert.ok(text.split(": ping\n\n").length > 3, text);
      const quiet = await (await chat(gateway, { stream: true, simulate: { events: 3 } })).text();
      const deltas = (/** @type {string} */ stream) =>
        events(stream).map((event) => (event === "[DONE]" ? event : JSON.parse(event).choices));
      assert.deepEqual(deltas(text), deltas(quiet));
    } finally {
      await pinging.stop();
    }
  });

  test("broken streams: an endless event ends with upstream_response_too_large", async () => {
    const response = await chat(gateway, {
      stream: true,
      simulate: { content: "x".repeat(3_000_000) },
    });
    const last = JSON.parse(events(await response.text()).at(-1) ?? "{}");
    assert.equal(last.error?.code, "upstream_response_too_large");
  });

  test("broken streams: all of 3,000 events arrive", async () => {
    const response = await chat(gateway, { stream: true, simulate: { events: 3000 } });
    const seen = events(await response.text());
    assert.equal(seen.filter((event) => event.includes('"tok ')).length, 3000);
    assert.equal(seen.at(-1), "[DONE]");
  });
});

test("upstream errors: the gateway answers and has logged no panic after these tests", async () => {
  assert.equal((await chat(gateway, {})).status, 200);
  assert.ok(!gateway.log.join("\n").match(/panicked|Critical|RuntimeError|hung|Uncaught/i));
});
