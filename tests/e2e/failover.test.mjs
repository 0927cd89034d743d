// @ts-check
//! Failover: when an upstream fails before its first content another answers, or the caller gets a typed error.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { Gateway, Upstream } from "./harness.mjs";
import { ask, assertAnswered, assertRefused, configured, lane, sent } from "./lanes.mjs";

const TOTAL_MS = 4000;
/** Tolerance for time limits on a busy machine. */
const SLACK_MS = 600;

/**
 * A failure, and the error if every upstream fails in this way. `key`: the failure concerns the provider's key, and
 * so all of its models.
 *
 * @typedef {object} Fault
 * @property {string} name
 * @property {object} simulate
 * @property {number} status
 * @property {string | null} [code]
 * @property {boolean} [key]
 */

/** Faults of whole responses and of streams. @type {Fault[]} */
const FAULTS = [
  {
    name: "401",
    simulate: { status: 401 },
    status: 502,
    code: "upstream_credential_rejected",
    key: true,
  },
  { name: "402", simulate: { status: 402 }, status: 402, key: true },
  {
    name: "429 that says that the account is empty",
    simulate: { status: 429, code: "insufficient_quota" },
    status: 429,
    key: true,
  },
  {
    name: "400 that is about the key",
    simulate: { status: 400, message: "API key not valid. Please pass a valid API key." },
    status: 502,
    key: true,
  },
  ...[403, 404, 408, 429, 500, 502, 503, 529].map((status) => ({
    name: `${status}`,
    simulate: { status },
    status,
  })),
  { name: "429 with retry-after", simulate: { status: 429, retry_after: 30 }, status: 429 },
  { name: "503 with HTML", simulate: { status: 503, error_shape: "html" }, status: 503 },
  { name: "500 with nothing", simulate: { status: 500, error_shape: "empty" }, status: 500 },
  {
    name: "a redirect",
    simulate: { redirect: "http://127.0.0.1:9/stolen" },
    status: 502,
    code: "upstream_redirected",
  },
  {
    name: "no status line",
    simulate: { hang: "headers" },
    status: 504,
    code: "upstream_timeout",
  },
  {
    name: "a status line that comes too late",
    simulate: { delay_ms: 20_000 },
    status: 504,
    code: "upstream_timeout",
  },
  {
    name: "closed without a response",
    simulate: { cut: "headers" },
    status: 502,
    code: "upstream_unreachable",
  },
  {
    name: "reset without a response",
    simulate: { cut: "headers", reset: true },
    status: 502,
    code: "upstream_unreachable",
  },
  { name: "silent after the headers", simulate: { hang: "body" }, status: 504 },
  ...["malformed", "array", "no_choices"].map((body) => ({
    name: `a whole 200 that is '${body}'`,
    simulate: { body },
    status: 502,
    code: "upstream_invalid_response",
  })),
];

/** Faults of whole responses only. @type {Fault[]} */
const WHOLE = [
  { name: "an error in a 200", simulate: { body: "error_in_200" }, status: 502 },
  { name: "cut in the middle", simulate: { cut: "body" }, status: 502 },
  { name: "reset in the middle", simulate: { cut: "body", reset: true }, status: 502 },
  {
    name: "larger than the limit",
    simulate: { content_bytes: 300_000 },
    status: 502,
    code: "upstream_response_too_large",
  },
  {
    name: "larger than the limit, undeclared",
    simulate: { content_bytes: 300_000, no_content_length: true },
    status: 502,
    code: "upstream_response_too_large",
  },
  {
    name: "empty",
    simulate: { body: "empty" },
    status: 502,
    code: "upstream_invalid_response",
  },
];

/** Faults of streams only, before any content. @type {Fault[]} */
const STREAMED = [
  { name: "empty", simulate: { body: "empty" }, status: 502, code: "upstream_stream_cut" },
  { name: "an error in a whole 200", simulate: { body: "error_in_200" }, status: 502 },
  ...["openai", "text", "named", "openrouter"].flatMap((error_event_shape) =>
    [0, 1].map((after_events) => ({
      name: `an error event (${error_event_shape}) after ${after_events} events`,
      simulate: { error_event: true, error_event_shape, after_events, message: "went wrong" },
      status: 502,
    })),
  ),
  ...[0, 1].flatMap((after_events) => [
    {
      name: `cut after ${after_events} events`,
      simulate: { cut: "stream", after_events },
      status: 502,
    },
    {
      name: `reset after ${after_events} events`,
      simulate: { cut: "stream", reset: true, after_events },
      status: 502,
    },
    {
      name: `ended after ${after_events} events`,
      simulate: { cut: "clean", after_events },
      status: 502,
      code: "upstream_stream_cut",
    },
    {
      name: `silent after ${after_events} events`,
      simulate: { hang: "stream", after_events },
      status: 504,
      code: "upstream_timeout",
    },
  ]),
  {
    name: "comments, then cut",
    simulate: { comments_ms: 300, cut: "stream" },
    status: 502,
  },
  {
    name: "comments, then silence after the role",
    simulate: { comments_ms: 300, hang: "stream", after_events: 1 },
    status: 504,
    code: "upstream_timeout",
  },
  {
    name: "the role in pieces, then cut",
    simulate: { cut: "stream", after_events: 1, chunking: "bytes:7" },
    status: 502,
  },
  {
    name: "an error event in pieces",
    simulate: { error_event: true, after_events: 1, chunking: "bytes:7", message: "went wrong" },
    status: 502,
  },
  {
    name: "the role and an error event at once",
    simulate: { error_event: true, after_events: 1, chunking: "all", message: "went wrong" },
    status: 502,
  },
];

/** A separate lane for each, so that no call is affected by the failures of another. */
const CASES = [
  ...[...FAULTS, ...WHOLE].map((fault) => ({ ...fault, stream: false })),
  ...[...FAULTS, ...STREAMED].map((fault) => ({ ...fault, stream: true })),
].map((fault, index) => {
  const suffix = fault.key ? `-${index}` : "";
  return { ...fault, index, first: `first${suffix}`, second: `second${suffix}` };
});

/** @type {Upstream} */ let upstream;

before(async () => {
  upstream = await Upstream.start();
});
after(() => upstream?.stop());

suite("failover", () => {
  /** @type {Gateway} */ let gateway;

  before(async () => {
    const names = new Set(CASES.flatMap(({ first, second }) => [first, second]));
    const models = CASES.flatMap(({ index }) => [`one-${index}`, `all-${index}`]);
    gateway = await Gateway.start(
      configured(upstream, {
        timeouts: {
          total_ms: TOTAL_MS,
          first_byte_ms: 700,
          stream_first_byte_ms: 700,
          stall_ms: 700,
          idle_ms: 700,
        },
        routing: { backoff_ms: 50 },
        responses: { max_bytes: 100_000 },
        providers: Object.fromEntries(
          [...names].map((name) => [name, lane(upstream, name, { models })]),
        ),
        groups: Object.fromEntries(
          CASES.flatMap(({ index, first, second }) =>
            ["one", "all"].map((which) => {
              const model = `${which}-${index}`;
              return [`group-${model}`, { models: [`${first}/${model}`, `${second}/${model}`] }];
            }),
          ),
        ),
      }),
    );
  });
  after(() => gateway?.stop());

  for (const { name, stream, index, first, second, simulate } of CASES) {
    test(`failover: when the first upstream fails (${name}, ${stream ? "stream" : "whole"}) the second answers`, async () => {
      const when = { path: `/${first}` };
      const answered = await ask(gateway, {
        model: `group-one-${index}`,
        stream,
        simulate: { ...simulate, when },
      });
      assertAnswered(answered);
      assert.deepEqual([answered.provider, answered.attempts], [second, 2]);
      const { headers } = answered;
      assert.equal(headers.get("x-gateway-model"), `one-${index}`);
      assert.equal(headers.get("x-degraded-mode"), "true");
      assert.match(
        headers.get("x-gateway-route") ?? "",
        new RegExp(`^${first}/one-${index};[a-z_]+;dur=\\d+, ${second}/one-${index};ok;dur=\\d+$`),
      );
      assert.equal(headers.get("x-gateway-error-source"), null);
      assert.equal(headers.get("retry-after"), null);
      assert.ok(answered.ms < TOTAL_MS, `${answered.ms}`);
      // The response is from one upstream, and contains nothing from the other.
      const requests = await sent(upstream, answered);
      assert.deepEqual(
        requests.map(({ to }) => to),
        [first, second],
      );
      const id = `chatcmpl-sim-${requests[1]?.record.n}`;
      assert.equal(stream ? answered.events[0].id : answered.body.id, id);
      assert.ok(!answered.text.includes("PROCESSING") && !answered.text.includes("went wrong"));
    });
  }

  for (const { name, stream, index, simulate, status, code } of CASES) {
    test(`failover: when every upstream fails (${name}, ${stream ? "stream" : "whole"}) the caller gets a typed error`, async () => {
      const answered = await ask(gateway, { model: `group-all-${index}`, stream, simulate });
      assertRefused(answered, status, code);
      assert.ok(answered.ms < TOTAL_MS + SLACK_MS, `${answered.ms} ms`);
      assert.equal(answered.headers.get("x-degraded-mode"), null);
      assert.match(answered.error.message, /\(all attempts failed: .* after \d+ ms; .*\)$/);
      assert.ok(answered.attempts >= 2 && answered.attempts <= 4);
      assert.equal((await sent(upstream, answered)).length, answered.attempts);
    });
  }

  test("failover: the gateway logs no panic in these tests", async () => {
    assert.ok(!gateway.log.join("\n").match(/panicked|Critical|RuntimeError|hung|Uncaught/i));
  });
});

suite("broken streams", () => {
  /** @type {Gateway} */ let gateway;
  const faults = /** @type {[string, object, string | null][]} */ ([
    ["cut", { cut: "stream" }, "upstream_stream_cut"],
    ["reset", { cut: "stream", reset: true }, "upstream_stream_cut"],
    ["ended", { cut: "clean" }, "upstream_stream_cut"],
    ["silent", { hang: "stream" }, "upstream_timeout"],
    ...["openai", "text", "named", "openrouter"].map((error_event_shape) => [
      `an error event (${error_event_shape})`,
      { error_event: true, error_event_shape, message: "went wrong" },
      null,
    ]),
  ]);

  before(async () => {
    const models = faults.map((_, index) => `m${index}`);
    gateway = await Gateway.startBare(
      configured(upstream, {
        timeouts: { idle_ms: 600 },
        providers: {
          first: lane(upstream, "first", { models }),
          second: lane(upstream, "second", { models }),
        },
        groups: Object.fromEntries(
          models.map((id) => [`group-${id}`, { models: [`first/${id}`, `second/${id}`] }]),
        ),
      }),
    );
  });
  after(() => gateway?.stop());

  for (const [index, [name, simulate, code]] of faults.entries()) {
    test(`broken streams: a break after content (${name}) ends with an error event, without failover, and the next call uses another lane`, async () => {
      const body = { model: `group-m${index}`, stream: true };
      const broken = await ask(gateway, {
        ...body,
        simulate: { after_events: 3, ...simulate, when: { path: "/first" } },
      });
      assert.equal(broken.status, 200);
      assert.deepEqual([broken.provider, broken.attempts], ["first", 1]);
      assert.equal(broken.headers.get("x-degraded-mode"), null);
      assert.equal(broken.content, "You said:");
      assert.ok(!broken.done);
      const last = broken.events.at(-1);
      assert.deepEqual(Object.keys(last.error).sort(), ["code", "message", "param", "type"]);
      if (code !== null) assert.equal(last.error.code, code);
      assert.equal((await sent(upstream, broken)).length, 1);
      const next = await ask(gateway, body);
      assertAnswered(next);
      assert.deepEqual([next.provider, next.attempts], ["second", 1]);
    });
  }
});

suite("held stream start", () => {
  /** @param {object} routing */
  const started = (routing) =>
    Gateway.startBare(
      configured(upstream, {
        routing,
        providers: {
          first: lane(upstream, "first", { models: ["a", "b"] }),
          second: lane(upstream, "second", { models: ["a", "b"] }),
        },
        groups: {
          a: { models: ["first/a", "second/a"] },
          b: { models: ["first/b", "second/b"] },
        },
      }),
    );
  // One comment of 15 bytes every 50 ms.
  for (const [what, routing] of /** @type {[string, object][]} */ ([
    ["time", { hold_ms: 700 }],
    ["size", { hold_bytes: 210 }],
  ])) {
    test(`held stream start: the hold is bounded in ${what}, and an upstream that sends comments is kept`, async () => {
      const gateway = await started(routing);
      try {
        const first = { when: { path: "/first" } };
        const slow = { comments_ms: 1500, ...first };
        const answered = await ask(gateway, { model: "a", stream: true, simulate: slow });
        assertAnswered(answered);
        assert.deepEqual([answered.provider, answered.attempts], ["first", 1]);
        assert.match(answered.text, /^: PROCESSING/);
        const begun = { comments_ms: 1500, cut: "stream", ...first };
        const broken = await ask(gateway, { model: "a", stream: true, simulate: begun });
        assert.deepEqual([broken.status, broken.provider], [200, "first"]);
        assert.equal(broken.events.at(-1).error.code, "upstream_stream_cut");
        const held = { comments_ms: 200, cut: "stream", ...first };
        const replaced = await ask(gateway, { model: "b", stream: true, simulate: held });
        assertAnswered(replaced);
        assert.equal(replaced.provider, "second");
      } finally {
        await gateway.stop();
      }
    });
  }
});

suite("rejected requests", () => {
  /** @type {Gateway} */ let gateway;
  const able = { tools: true };

  before(async () => {
    const models = ["small", "same", "large", "unknown"];
    gateway = await Gateway.startBare(
      configured(upstream, {
        routing: { backoff_ms: 50 },
        providers: {
          first: lane(upstream, "first", { models }),
          second: lane(upstream, "second", { models }),
          third: lane(upstream, "third", { models }),
        },
        models: {
          "first/small": { ...able, context: 8000 },
          "second/same": { ...able, context: 8000 },
          "third/large": { ...able, context: 32_000 },
          "third/unknown": { ...able },
        },
        groups: {
          all: { models: ["first/small", "second/same", "third/unknown", "third/large"] },
          equal: { models: ["first/small", "second/same"] },
        },
      }),
    );
  });
  after(() => gateway?.stop());

  for (const stream of [false, true]) {
    const how = stream ? "stream" : "whole";
    for (const [name, simulate] of /** @type {[string, { status: number }][]} */ ([
      ["400", { status: 400, message: "messages: field required" }],
      ["422", { status: 422, message: "temperature must be below 2" }],
      ["415", { status: 415 }],
      ["a content filter's code", { status: 400, code: "content_filter" }],
      [
        "a content filter's message",
        { status: 400, message: "The response was blocked by safety settings" },
      ],
      ["a content filter's 422", { status: 422, code: "content_policy_violation" }],
    ])) {
      test(`rejected requests: a rejection (${name}, ${how}) is returned without failover and without a cooldown`, async () => {
        const when = { path: "/first" };
        const answered = await ask(gateway, {
          model: "all",
          stream,
          simulate: { ...simulate, when },
        });
        assertRefused(answered, simulate.status);
        assert.equal(answered.headers.get("x-gateway-error-source"), "upstream");
        assert.deepEqual([answered.provider, answered.attempts], ["first", 1]);
        assert.ok(!answered.error.message.includes("all attempts failed"));
        assert.equal((await sent(upstream, answered)).length, 1);
        const next = await ask(gateway, { model: "all", stream });
        assert.equal(next.provider, "first");
      });
    }

    for (const [name, simulate] of /** @type {[string, object][]} */ ([
      ["its code", { status: 400, code: "context_length_exceeded" }],
      [
        "its message",
        { status: 400, message: "This model's maximum context length is 8192 tokens" },
      ],
      ["413", { status: 413 }],
    ])) {
      test(`rejected requests: a prompt that is too long (${name}, ${how}) fails over only to a larger context`, async () => {
        const too_long = { ...simulate, when: { path: "/first" } };
        const answered = await ask(gateway, { model: "all", stream, simulate: too_long });
        assertAnswered(answered);
        assert.deepEqual([answered.provider, answered.attempts], ["third", 2]);
        assert.equal(answered.headers.get("x-gateway-model"), "large");
        assert.match(answered.headers.get("x-gateway-route") ?? "", /^first\/small;too_long;/);

        const nobody = await ask(gateway, { model: "equal", stream, simulate: too_long });
        assert.ok([400, 413].includes(nobody.status), nobody.text);
        assert.equal((await sent(upstream, nobody)).length, 1);
        assert.equal((await ask(gateway, { model: "equal" })).provider, "first");
      });
    }
  }
});
