// @ts-check
//! What upstreams say decides what happens, not their status or content type: whose fault a failure is, where an error
//! stands, what the body is, and which usage counts. The upstream sends the bytes of public bug reports.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { KEY as CALLER_KEY, Gateway, Upstream } from "./harness.mjs";
import { ANSWER, RawUpstream, ask, assertRefused, configured, lane } from "./lanes.mjs";

const KEY = "sk-upstream-AbCdEf1234567890wxyz";

/** @param {unknown} body @param {number} [status] @param {string} [type] */
const json = (body, status = 200, type = "application/json") =>
  http(typeof body === "string" ? body : JSON.stringify(body), status, `content-type: ${type}\r\n`);

/** @param {string} body @param {number} [status] @param {string} [headers] */
const http = (body, status = 200, headers = "") =>
  `HTTP/1.1 ${status} X\r\n${headers}content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`;

/** @param {string} body @param {string} [headers] */
const sse = (body, headers = "content-type: text/event-stream\r\n") =>
  `HTTP/1.1 200 OK\r\n${headers}connection: close\r\n\r\n${body}`;

/** @param {unknown[]} chunks */
const events = (...chunks) =>
  chunks
    .map((chunk) => `data: ${typeof chunk === "string" ? chunk : JSON.stringify(chunk)}\n\n`)
    .join("");

const ROLE = { id: "c1", choices: [{ index: 0, delta: { role: "assistant", content: "" } }] };
const HELLO = { id: "c1", choices: [{ index: 0, delta: { content: "Hello" } }] };
const STOP = { id: "c1", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] };
const USAGE = { prompt_tokens: 9, completion_tokens: 12, total_tokens: 21 };
const WHOLE = {
  id: "c1",
  object: "chat.completion",
  created: 1,
  model: "m",
  choices: [{ index: 0, message: { role: "assistant", content: "fine" }, finish_reason: "stop" }],
  usage: USAGE,
};

/**
 * A failure of the first of two upstreams.
 *
 * @typedef {object} Fault
 * @property {string} name
 * @property {string} answer
 * @property {boolean} [stream] asks for a stream
 * @property {boolean} failover whether the second upstream is asked
 * @property {boolean} well whether the next call asks the first again
 * @property {number} [status] of the response if no other upstream is asked
 * @property {string | null} [code]
 * @property {string} [how] the class, as in `x-gateway-route`
 */

/** @param {string} name @param {unknown} error @param {Omit<Fault, "name" | "answer">} expected @returns {Fault[]} */
const everywhere = (name, error, expected) => [
  { name: `${name}, as a whole 200`, answer: json(error), ...expected },
  { name: `${name}, as text/plain`, answer: json(error, 200, "text/plain"), ...expected },
  { name: `${name}, as JSON for a stream`, answer: json(error), stream: true, ...expected },
  {
    name: `${name}, unframed in a stream`,
    answer: sse(JSON.stringify(error)),
    stream: true,
    ...expected,
  },
  { name: `${name}, as an event`, answer: sse(events(ROLE, error)), stream: true, ...expected },
  {
    name: `${name}, behind a byte order mark`,
    answer: sse(`\ufeff${events(error)}`),
    stream: true,
    ...expected,
  },
  { name: `${name}, as a list`, answer: sse(events([error])), stream: true, ...expected },
];

/** @type {Fault[]} */
const FAULTS = [
  ...everywhere(
    "429",
    { error: { message: "Rate limit exceeded", code: 429 } },
    { failover: true, well: false, status: 429, code: "429", how: "throttled" },
  ),
  ...everywhere(
    "400",
    { error: { message: "bad schema", code: 400 } },
    { failover: false, well: true, status: 400, code: "400" },
  ),
  {
    name: "a choice with an error",
    answer: json({
      ...WHOLE,
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: "" },
          finish_reason: "error",
          error: { code: 502, message: "Provider disconnected" },
        },
      ],
    }),
    failover: true,
    well: false,
    how: "server_error",
  },
  {
    name: "an error beside the choices",
    answer: json({ ...WHOLE, error: { code: 429, message: "Provider returned error" } }),
    failover: true,
    well: false,
    how: "throttled",
  },
  {
    name: "a stream whose first choice has an error",
    answer: sse(
      events(
        {
          id: "c1",
          choices: [
            {
              index: 0,
              delta: { content: "" },
              finish_reason: "error",
              error: { code: 502, message: "m" },
            },
          ],
        },
        "[DONE]",
      ),
    ),
    stream: true,
    failover: true,
    well: false,
    how: "server_error",
  },
  {
    name: "MiniMax's base_resp",
    answer: json({ choices: null, base_resp: { status_code: 1002, status_msg: "rate limit" } }),
    failover: true,
    well: false,
    how: "throttled",
  },
  {
    name: "no endpoint with tools",
    answer: json(
      { error: { message: "No endpoints found that support tool use.", code: 404 } },
      404,
    ),
    failover: true,
    well: true,
    how: "unsupported",
  },
  {
    name: "a request larger than a limit by the minute",
    answer: json(
      {
        error: {
          message: "Request too large for x on tokens per min (TPM): Limit 3, Requested 4.",
          type: "tokens",
          code: "rate_limit_exceeded",
        },
      },
      429,
    ),
    failover: true,
    well: true,
    how: "unsupported",
  },
  {
    name: "moderation",
    answer: json({ error: { message: 'Your input was flagged for "self-harm".', code: 403 } }, 403),
    failover: false,
    well: true,
    status: 403,
  },
  {
    name: "a rejected key as 400",
    answer: json({ code: "x", error: `Incorrect API key provided: sk-up***wxyz.` }, 400),
    failover: true,
    well: false,
    how: "credential_rejected",
  },
  {
    name: "an empty account as 400",
    answer: json({ error: { message: "insufficient quota", type: "invalid_request_error" } }, 400),
    failover: true,
    well: false,
    how: "quota_spent",
  },
  {
    name: "an empty account without words, as text/plain",
    answer: json({ error: { message: "", code: "insufficient_quota" } }, 429, "text/plain"),
    failover: true,
    well: false,
    how: "quota_spent",
  },
  {
    name: "a status that is none",
    answer: http("{}", 777),
    failover: true,
    well: false,
    how: "broken",
  },
];

/** @type {Upstream} */ let upstream;
/** @type {RawUpstream} */ let raw;
/** @type {Gateway} */ let gateway;

before(async () => {
  [upstream, raw] = await Promise.all([Upstream.start(), RawUpstream.start()]);
  const faulty = Object.fromEntries(
    FAULTS.map((_, index) => [`p${index}`, { base_url: raw.url(`p${index}`), models: ["m"] }]),
  );
  const short = { base_url: raw.url("short"), auth: "none", models: ["m"] };
  gateway = await Gateway.startBare({
    ...configured(upstream, {
      routing: { retries: 0 },
      providers: {
        ...faulty,
        short,
        raw: { base_url: raw.url("raw"), auth: "none", models: ["m"] },
        unasked: {
          base_url: raw.url("unasked"),
          auth: "none",
          models: ["m"],
          drop: ["stream_options"],
        },
        ending: { base_url: raw.url("ending"), auth: "none", ends_without_done: true },
        good: lane(upstream, "good", { models: ["m"] }),
      },
      models: {
        "short/m": { context: 10_000, tools: true },
        "good/m": { context: 20_000, tools: true },
      },
      groups: {
        ...Object.fromEntries(
          FAULTS.map((_, index) => [`g${index}`, { models: [`p${index}/m`, "good/m"] }]),
        ),
        longer: { models: ["short/m", "good/m"] },
        shorts: { models: ["short/m"] },
      },
    }),
    ...Object.fromEntries(FAULTS.map((_, index) => [`P${index}_API_KEY`, KEY])),
  });
});
after(() => Promise.all([gateway?.stop(), upstream?.stop(), raw?.stop()]));

suite("whose fault", () => {
  for (const [index, fault] of FAULTS.entries()) {
    const { name, answer, stream = false, failover, well, status, code, how } = fault;
    const next = well ? "and the lane stays" : "and the lane is left alone";
    test(`whose fault: ${name} ${failover ? "fails over" : "is the caller's"} ${next}`, async () => {
      const provider = `p${index}`;
      raw.answers.set(provider, [answer]);
      const answered = await ask(gateway, { model: `g${index}`, stream });
      if (failover) {
        assert.equal(answered.content, ANSWER, answered.text);
        assert.deepEqual([answered.provider, answered.attempts], ["good", 2]);
        assert.match(
          answered.headers.get("x-gateway-route") ?? "",
          new RegExp(`^${provider}/m;${how};`),
        );
      } else {
        assertRefused(answered, status ?? 400, code);
        assert.deepEqual([answered.provider, answered.attempts], [provider, 1]);
      }
      await ask(gateway, { model: `g${index}`, stream });
      assert.equal(raw.asked(provider), well ? 2 : 1);
      const alone = await ask(gateway, { model: `${provider}/m`, stream });
      assert.ok(!/sk-up|wxyz/.test(alone.text), alone.text);
      if (status !== undefined) assert.equal(alone.status, status, alone.text);
    });
  }

  test("whose fault: the operator sees in the log what the provider says of the key, without the key", async () => {
    const index = FAULTS.findIndex(({ how }) => how === "credential_rejected");
    const alone = await ask(gateway, { model: `p${index}/m` });
    assertRefused(alone, 502, "upstream_credential_rejected");
    const log = gateway.log.join("\n");
    assert.match(log, /"event":"upstream".*Incorrect API key provided: …/);
    assert.ok(!/sk-up|wxyz/.test(log));
  });

  test("whose fault: a prompt that is too long asks the longer model", async () => {
    for (const [status, error] of /** @type {[number, unknown][]} */ ([
      [400, { error: { code: 400, message: "", type: "exceed_context_size_error" } }],
      [
        422,
        { error: { message: "`inputs` tokens + `max_new_tokens` must be <= 32769. Given: 1" } },
      ],
      [413, { error: { message: "input length and `max_tokens` exceed context limit: 1 > 0" } }],
      [200, { error: { message: "exceeded model token limit: 262144", code: 400 } }],
    ])) {
      raw.answers.set("short", [json(error, status)]);
      for (const stream of [false, true]) {
        const answered = await ask(gateway, { model: "longer", stream });
        assert.deepEqual([answered.provider, answered.content], ["good", ANSWER], answered.text);
        const alone = await ask(gateway, { model: "shorts", stream });
        assertRefused(alone, 400, "context_length_exceeded");
      }
    }
  });

  test("whose fault: a prompt that no model accepts is the caller's, and nothing is asked", async () => {
    const asked = raw.asked("short");
    const content = "word ".repeat(30_000);
    for (const model of ["longer", "shorts"]) {
      const refused = await ask(gateway, { model, messages: [{ role: "user", content }] });
      assertRefused(refused, 400, "context_length_exceeded");
      assert.match(refused.error.message, /maximum context length .* (2|1)0000 tokens/);
    }
    assert.equal(raw.asked("short"), asked);
  });

  test("whose fault: the first part of an error of 100 KB is enough", async () => {
    const words = `{"error":{"message":"This model's maximum context length is 4096 tokens","input":"`;
    raw.answers.set("short", [json(`${words}${"P".repeat(100_000)}"}}`, 400)]);
    const alone = await ask(gateway, { model: "shorts" });
    assertRefused(alone, 400, "context_length_exceeded");
    assert.match(alone.error.message, /^This model's maximum context length/);
  });
});

/** @param {string} answer @param {object} [body] @param {string} [provider] */
async function got(answer, body = {}, provider = "raw") {
  raw.answers.set(provider, [answer]);
  const before = raw.asked(provider);
  const answered = await ask(gateway, { model: `${provider}/m`, ...body });
  assert.equal(raw.asked(provider), before + 1, "asked once");
  return answered;
}

suite("the body, not its label", () => {
  for (const [name, headers] of /** @type {[string, string][]} */ ([
    ["no content type", ""],
    ["a wrong content type", "content-type: application/json\r\n"],
    ["an unknown content type", "content-type: text/plain\r\n"],
    [
      "two content types",
      "content-type: text/event-stream\r\ncontent-type: text/event-stream; charset=utf-8\r\n",
    ],
  ])) {
    test(`the body, not its label: a stream with ${name} is a stream`, async () => {
      const body = events(ROLE, HELLO, STOP, "[DONE]");
      const answered = await got(sse(body, headers), { stream: true });
      assert.deepEqual([answered.status, answered.content, answered.done], [200, "Hello", true]);
    });
  }

  for (const type of ["text/plain", "application/octet-stream", "text/event-stream", "x/json"]) {
    test(`the body, not its label: a completion as ${type} is an answer`, async () => {
      const answered = await got(json(WHOLE, 200, type));
      assert.deepEqual(answered.body, WHOLE);
    });
  }

  for (const type of ["application/json", "text/event-stream", "text/plain"]) {
    test(`the body, not its label: a completion as ${type} is served as the stream that was requested`, async () => {
      for (const include_usage of [true, false]) {
        const answered = await got(json(WHOLE, 200, type), {
          stream: true,
          stream_options: { include_usage },
        });
        assert.deepEqual([answered.content, answered.done], ["fine", true], answered.text);
        assert.ok(answered.headers.get("content-type")?.startsWith("text/event-stream"));
        assert.ok(answered.events.every(({ id }) => id === "c1"));
        assert.equal(answered.events.at(-1).usage !== undefined, include_usage);
      }
    });
  }

  for (const headers of ["content-type: application/json\r\n", undefined]) {
    test(`the body, not its label: a stream ${headers ? "as JSON " : ""}is the whole response that was requested`, async () => {
      const body = events(ROLE, HELLO, STOP, { choices: [], usage: USAGE }, "[DONE]");
      const { status, body: whole } = await got(sse(body, headers));
      assert.equal(status, 200);
      assert.equal(whole.object, "chat.completion");
      assert.equal(whole.choices[0].message.content, "Hello");
      assert.equal(whole.choices[0].finish_reason, "stop");
      assert.equal(whole.usage.total_tokens, USAGE.total_tokens);
    });
  }

  test("the body, not its label: a byte order mark and usage that appears twice do no harm", async () => {
    const twice = `{"choices":[{"index":0,"message":{"content":"x"}}],"usage":{"prompt_tokens":1},"usage":{}}`;
    assert.equal((await got(json(twice))).content, "x");
    assert.deepEqual((await got(json(`\ufeff${JSON.stringify(WHOLE)}`))).body, WHOLE);
  });

  test("the body, not its label: [DONE] may have blanks, and errors may say nothing", async () => {
    const blank = await got(sse(events(HELLO, STOP, "[DONE] ")), { stream: true });
    assert.deepEqual([blank.content, blank.done], ["Hello", true], blank.text);
    for (const error of ["", null, false, {}]) {
      const chunks = [ROLE, HELLO, STOP].map((chunk) => ({ ...chunk, error }));
      const answered = await got(sse(events(...chunks, "[DONE]")), { stream: true });
      assert.deepEqual([answered.content, answered.done], ["Hello", true], answered.text);
    }
    assert.equal((await got(json({ ...WHOLE, error: "" }))).content, "fine");
  });

  test("the body, not its label: without [DONE] a stream is complete only if its provider is known for it", async () => {
    const ends = sse(events(HELLO, STOP, { choices: [], usage: USAGE }));
    const known = await got(ends, { stream: true }, "ending");
    assert.deepEqual([known.content, known.done, known.error], ["Hello", true, undefined]);
    const other = await got(ends, { stream: true });
    assert.equal(other.error.code, "upstream_stream_cut");
  });

  test("the body, not its label: a finish reason of no letters is none, so the error behind it fails the attempt", async () => {
    const empty = { ...ROLE, choices: [{ ...ROLE.choices[0], finish_reason: "" }] };
    const error = { error: { message: "oom", code: 503 } };
    const refused = await got(sse(events(empty, error)), { stream: true });
    assertRefused(refused, 503);
    assert.equal(refused.error.message, "oom");
  });
});

suite("usage", () => {
  /** @param {string} answer @param {object} body @param {string} [provider] */
  async function charged(answer, body, provider) {
    const id = `usage-${Math.random()}`;
    raw.answers.set(provider ?? "raw", [answer]);
    const answered = await ask(
      gateway,
      { model: `${provider ?? "raw"}/m`, ...body },
      { "x-request-id": id },
    );
    const call = await gateway.callOf(id);
    return { answered, told: [call.prompt_tokens, call.completion_tokens, call.estimated] };
  }

  for (const [name, chunks] of /** @type {[string, unknown[]][]} */ ([
    ["zeros", [{ choices: [], usage: { prompt_tokens: 0, completion_tokens: 0 } }]],
    ["an empty usage", [{ choices: [], usage: {} }]],
    ["null", [{ choices: [], usage: null }]],
  ])) {
    test(`usage: ${name} at the end of a stream erases nothing`, async () => {
      const answer = sse(events(HELLO, { ...STOP, usage: USAGE }, ...chunks, "[DONE]"));
      const { answered, told } = await charged(answer, { stream: true });
      assert.deepEqual(told, [9, 12, false]);
      assert.ok(answered.done && !answered.text.includes("prompt_tokens"), answered.text);
    });
  }

  for (const [name, usage] of /** @type {[string, object][]} */ ([
    ["fractions", { prompt_tokens: 9.0, completion_tokens: 11.25 }],
    ["strings", { prompt_tokens: "9", completion_tokens: "12" }],
  ])) {
    test(`usage: ${name} are numbers, rounded up`, async () => {
      const text = JSON.stringify({ choices: [], usage }).replace(":9,", ":9.0,");
      const stream = await charged(sse(events(HELLO, STOP, text, "[DONE]")), { stream: true });
      assert.deepEqual(stream.told, [9, 12, false]);
      // Not by `ask`: the bytes of the upstream pass, and the description of the API has integers only.
      raw.answers.set("raw", [json({ ...WHOLE, usage })]);
      const headers = { authorization: `Bearer ${CALLER_KEY}`, "content-type": "application/json" };
      const body = JSON.stringify({ model: "raw/m", messages: [{ role: "user", content: "Hi" }] });
      const url = `${gateway.url}/v1/chat/completions`;
      const whole = await fetch(url, { method: "POST", headers, body });
      assert.equal(
        whole.headers.get("x-gateway-tokens"),
        "prompt=9, cached=0, completion=12",
        await whole.text(),
      );
    });
  }

  test("usage: it is read from choices and from timings", async () => {
    for (const more of [
      { choices: [{ ...STOP.choices[0], usage: USAGE }] },
      { ...STOP, timings: { prompt_n: 9, predicted_n: 12 } },
    ]) {
      const { told } = await charged(sse(events(HELLO, more, "[DONE]")), { stream: true });
      assert.deepEqual(told, [9, 12, false]);
    }
  });

  test("usage: what cannot be true is corrected upwards and marked", async () => {
    const words = Array.from({ length: 50 }, () => ({
      choices: [{ delta: { content: "word " } }],
    }));
    const usage = { prompt_tokens: 9, completion_tokens: 1 };
    const stream = await charged(sse(events(...words, STOP, { choices: [], usage }, "[DONE]")), {
      stream: true,
    });
    assert.ok(Number(stream.told[1]) >= 50 && stream.told[2] === true, `${stream.told}`);
    const content = "word ".repeat(400);
    const choices = [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }];
    const whole = await charged(
      json({ ...WHOLE, choices, usage: { prompt_tokens: 0, completion_tokens: 0 } }),
      {},
    );
    assert.ok(Number(whole.told[0]) > 0 && Number(whole.told[1]) >= 400, `${whole.told}`);
    assert.equal(whole.told[2], true);
  });

  for (const [name, chunk, seen] of /** @type {[string, object, object | undefined][]} */ ([
    ["choices null", { id: "c1", choices: null, usage: USAGE }, undefined],
    ["no choices", { id: "c1", usage: USAGE }, undefined],
    [
      "timings",
      { id: "c1", choices: [], usage: USAGE, timings: { x: 1 } },
      { id: "c1", choices: [], timings: { x: 1 } },
    ],
    ["a finish reason", { ...STOP, usage: USAGE }, STOP],
  ])) {
    test(`usage: unrequested usage in a chunk with ${name} is hidden, and nothing else`, async () => {
      const { answered, told } = await charged(sse(events(HELLO, chunk, "[DONE]")), {
        stream: true,
      });
      assert.deepEqual(answered.events, [HELLO, seen].filter(Boolean));
      assert.deepEqual(told, [9, 12, false]);
    });
  }

  test("usage: the lines of an event around its data stay", async () => {
    const body = `event: message\nid: 3\ndata: ${JSON.stringify({ ...STOP, usage: USAGE })}\n\n`;
    const { answered } = await charged(sse(`${events(HELLO)}${body}data: [DONE]\n\n`), {
      stream: true,
    });
    assert.ok(answered.text.includes("event: message\nid: 3\ndata: {"), answered.text);
    assert.ok(!answered.text.includes("prompt_tokens"), answered.text);
  });

  test("usage: a provider that drops stream_options is not asked for usage", async () => {
    const answer = sse(events(HELLO, STOP, "[DONE]"));
    await charged(answer, { stream: true }, "unasked");
    assert.equal(raw.requests.get("unasked")?.at(-1).stream_options, undefined);
    await charged(answer, { stream: true });
    assert.deepEqual(raw.requests.get("raw")?.at(-1).stream_options, { include_usage: true });
  });
});

test("upstream words: the gateway has logged no panic", () => {
  assert.ok(!gateway.log.join("\n").match(/panicked|Critical|RuntimeError|hung|Uncaught/i));
});
