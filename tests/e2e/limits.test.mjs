// @ts-check
//! The limits of keys in the real runtime: their counters, reports and errors. budgets.test.mjs tests that budgets hold to
//! the last micro-USD.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, suite, test } from "node:test";
import OpenAI, { APIError } from "openai";
import { KEY, Upstream, call, eventually, minuteWith, operate } from "./harness.mjs";
import { Isolates } from "./isolates.mjs";
import { ask, assertAnswered, assertRefused, configured, lane, sent } from "./lanes.mjs";

/** @typedef {import("./harness.mjs").Gateway} Gateway */
/** @typedef {import("./lanes.mjs").Answered} Answered */

const MODEL = "demo/sim-small";
/** A token of input costs a micro-USD and one of output ten, so that no cost is rounded. */
const PRICE = { input_usd_per_mtok: 1, output_usd_per_mtok: 10 };
/** The cost of a call of `ask`: the default response repeats the three words. */
const COST = 3 + 5 * 10;
/** The tokens of such a call. */
const TOKENS = 3 + 5;

/**
 * Models whose first attempt fails in a test: one for each test, since a lane that has failed is in cooldown for a
 * while.
 */
const FAILING = ["refusing", "cutting", "hanging", "slow", "dear"].flatMap((name) => [
  name,
  `${name}-stream`,
]);

const LIMITS = /** @type {Record<string, object>} */ ({
  "three-a-minute": { limits: { requests_per_minute: 3 } },
  "two-a-minute": { limits: { requests_per_minute: 2, requests_per_day: 1000 } },
  "three-a-day": { limits: { requests_per_day: 3 } },
  "tokens-a-minute": { limits: { tokens_per_minute: 500 } },
  "tokens-a-day": { limits: { tokens_per_day: 500 } },
  "three-at-once": { limits: { concurrent: 3 } },
  "a-dollar": { limits: { usd_total: 1 } },
  "a-cent": { limits: { usd_per_day: 0.01 } },
  nothing: { limits: { usd_per_month: 0.000001 } },
  all: {
    limits: {
      requests_per_minute: 50,
      requests_per_day: 40,
      tokens_per_minute: 100_000,
      tokens_per_day: 200_000,
      concurrent: 9,
      usd_per_day: 1,
      usd_per_month: 20.5,
      usd_total: 300,
    },
    model_limits: { "demo/*": { usd_per_day: 0.5 } },
  },
  "by-provider": { model_limits: { "demo/*": { requests_per_day: 2 } } },
  "by-model": { model_limits: { "demo/sim-small": { requests_per_day: 2 } } },
  "by-alias": { model_limits: { quick: { requests_per_day: 2 } } },
  "by-group": { model_limits: { pair: { requests_per_day: 2 } } },
});

/** @type {Upstream} */ let upstream;

before(async () => {
  upstream = await Upstream.start();
});
after(() => upstream?.stop());

/** @param {object} config */
const variables = (config) =>
  configured(upstream, {
    providers: {
      demo: lane(upstream, "demo", { models: ["sim-small", "sim-other"] }),
      failing: lane(upstream, "failing", { models: FAILING }),
      second: lane(upstream, "second", { models: ["sim"] }),
      dear: lane(upstream, "dear", { models: ["sim"] }),
      charging: lane(upstream, "charging", { models: ["sim"], cancel_stops_billing: false }),
      free: lane(upstream, "free", { models: ["sim"] }),
    },
    models: {
      "demo/sim-small": { ...PRICE, max_output: 4000 },
      "demo/sim-other": PRICE,
      "second/sim": PRICE,
      "dear/sim": { input_usd_per_mtok: 1000, output_usd_per_mtok: 1000 },
      "charging/sim": PRICE,
      ...Object.fromEntries(FAILING.map((model) => [`failing/${model}`, PRICE])),
    },
    aliases: { quick: MODEL },
    groups: {
      pair: { models: [MODEL, "second/sim"] },
      "pair that is charged": { models: ["charging/sim", "second/sim"] },
      "pair that costs": { models: ["failing/dear", "dear/sim"] },
      ...Object.fromEntries(
        FAILING.map((model) => [model, { models: [`failing/${model}`, "second/sim"] }]),
      ),
    },
    routing: { hedge_ms: 300, backoff_ms: 50 },
    timeouts: { first_byte_ms: 1000, idle_ms: 1000, stream_first_byte_ms: 1000, stall_ms: 1000 },
    policies: LIMITS,
    ...config,
  });

let issued = 0;

/**
 * A new key with these policies.
 *
 * @param {Gateway} gateway
 * @param {...string} policies
 */
async function issue(gateway, ...policies) {
  const name = `limits-${(issued += 1)}`;
  const made = await operate(gateway, "POST", "/v0/api_keys", { name, policies });
  assert.equal(made.status, 201, await made.clone().text());
  const key = /** @type {string} */ ((await made.json()).api_key);
  return { name, key, authorization: `Bearer ${key}` };
}

/** @typedef {{ key: string, authorization: string }} Key */

/**
 * @param {Gateway} gateway
 * @param {Key} key
 * @param {string} [path]
 */
async function usage(gateway, { authorization }, path = "") {
  const response = await call(`${gateway.url}/usage${path}`, { headers: { authorization } });
  assert.equal(response.status, 200, await response.clone().text());
  return /** @type {Promise<any>} */ (response.json());
}

/**
 * The state of a key's limits by counter, once nothing is reserved.
 *
 * @param {Gateway} gateway
 * @param {Key} key
 */
async function standing(gateway, key) {
  const { limits } = await eventually(async () => {
    const now = await usage(gateway, key);
    return now.limits.every((/** @type {any} */ limit) => limit.held === 0) && now;
  }, 15_000);
  return new Map(
    limits.map((/** @type {any} */ limit) => [
      limit.models === null ? limit.limit : `${limit.limit} ${limit.models}`,
      limit,
    ]),
  );
}

/**
 * The receipt of a call, once it exists.
 *
 * @param {Gateway} gateway
 * @param {Key} key
 * @param {Answered} answered
 */
const receipt = (gateway, { authorization }, answered) =>
  eventually(async () => {
    const id = answered.headers.get("x-gateway-receipt");
    assert.ok(id, answered.text);
    const response = await call(`${gateway.url}/usage/requests/${id}`, {
      headers: { authorization },
    });
    return response.status === 200 && /** @type {Promise<any>} */ (response.json());
  });

/**
 * A list of a structured field (RFC 9651) whose items are strings with whole numbers as parameters.
 *
 * @param {string | null} field
 */
function parsed(field) {
  /** @type {Map<string, Record<string, number>>} */
  const members = new Map();
  let rest = field ?? "";
  while (rest !== "") {
    const member = rest.match(
      /^"((?:[ !#-[\]-~]|\\["\\])*)"((?:;[a-z*][a-z0-9_.*-]*=-?\d{1,15})*)/,
    );
    assert.ok(member, `no list of strings: ${rest}`);
    const parameters = (member[2] ?? "").split(";").slice(1);
    const pairs = parameters.map((parameter) => parameter.split("="));
    members.set(
      (member[1] ?? "").replace(/\\(.)/g, "$1"),
      Object.fromEntries(pairs.map(([name, value]) => [name, Number(value)])),
    );
    rest = rest.slice(member[0].length);
    const comma = rest.match(/^[ \t]*,[ \t]*(?=.)/);
    assert.ok(rest === "" || comma, `not the end of a member: ${rest}`);
    rest = rest.slice(comma?.[0].length ?? 0);
  }
  return members;
}

/** @param {string | null} text a time as OpenAI writes it: `6m0s` */
function seconds(text) {
  const match = text?.match(/^(?:(\d+)h)?(?:(\d+)m)?(\d+)s$/);
  assert.ok(match, `${text}`);
  return Number(match[1] ?? 0) * 3600 + Number(match[2] ?? 0) * 60 + Number(match[3]);
}

/**
 * Asserts that the gateway rejected a call because of a limit.
 *
 * @param {Answered} answered
 * @param {string} counter
 * @param {string} [code]
 */
function assertLimited(
  answered,
  counter,
  code = /^(requests|tokens)_per_day/.test(counter) ? "insufficient_quota" : "rate_limit_exceeded",
) {
  const quota = code === "insufficient_quota";
  assertRefused(answered, quota ? 402 : 429, code);
  assert.equal(answered.error.type, quota ? "insufficient_quota" : "rate_limit_error");
  assert.equal(answered.error.param, counter, answered.text);
  assert.match(answered.error.message, /^The gateway rejected this call: this key may /);
  assert.equal(answered.headers.get("x-gateway-error-source"), "gateway");
  assert.equal(answered.headers.get("x-gateway-receipt"), null);
  assert.equal(answered.headers.get("x-should-retry"), quota ? "false" : null);
  const now = parsed(answered.headers.get("ratelimit")).get(counter);
  const [, amount = "1", unit] =
    answered.error.message.match(/needs (?:up to )?(\S+?) (USD|tokens)/) ?? [];
  const needed = Number(amount) * (unit === "USD" ? 1_000_000 : 1);
  assert.ok(now?.["r"] !== undefined && now["r"] < needed, `${now?.["r"]} of ${needed}`);
  const wait = answered.headers.get("retry-after");
  // Clients sleep as long as it says: never longer than a minute.
  if (quota) assert.equal(wait, null);
  else
    assert.ok(Number.isInteger(Number(wait)) && Number(wait) >= 1 && Number(wait) <= 60, `${wait}`);
  assert.equal(answered.headers.get("link"), `</docs/errors#${code}>; rel="help"`);
  const id = answered.headers.get("x-request-id");
  assert.ok(answered.error.message.endsWith(` (request ${id})`), answered.error.message);
}

suite("limits", () => {
  /** @type {Isolates} */ let isolates;
  /** @type {Gateway} */ let gateway;
  /** @type {Gateway} */ let other;

  before(async () => {
    isolates = await Isolates.start(2, variables({}));
    [gateway, other] = [isolates.at(0), isolates.at(1)];
  });
  after(() => isolates?.stop());

  /**
   * @param {Key} key
   * @param {object} [body]
   * @param {Gateway} [at]
   */
  const use = (key, body = {}, at = gateway) =>
    ask(at, { model: MODEL, max_tokens: 20, ...body }, { authorization: key.authorization });

  test("limits: requests per minute are counted over all isolates, calls that are not sent do not count", async () => {
    const key = await issue(gateway, "three-a-minute");
    await minuteWith(20);
    const explained = await call(`${gateway.url}/v1/routing/explain`, {
      method: "POST",
      headers: { authorization: key.authorization, "content-type": "application/json" },
      body: JSON.stringify({ model: MODEL, messages: [] }),
    });
    assert.equal(explained.status, 200);
    assertRefused(await use(key, { model: "unknown/x/y" }), 404);
    for (const at of [gateway, other, gateway]) assertAnswered(await use(key, {}, at));
    for (const at of [gateway, other]) {
      const refused = await use(key, {}, at);
      assertLimited(refused, "requests_per_minute");
      const wait = Number(refused.headers.get("retry-after"));
      assert.ok(wait >= 1 && wait <= 60, `${wait}`);
      assert.match(refused.error.message, /3 requests per minute, of which 0 are left/);
      assert.match(
        refused.error.message,
        /resets at \d{4}-\d\d-\d\dT\d\d:\d\d:00Z, in \d+ s \(request/,
      );
    }
    assertAnswered(await use(await issue(gateway, "three-a-minute")), undefined);
  });

  test("limits: requests per minute hold for forty concurrent calls over two isolates", async () => {
    const key = await issue(gateway, "three-a-minute");
    await minuteWith(20);
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, index) => use(key, {}, isolates.at(index % 2))),
    );
    assert.equal(answers.filter(({ status }) => status === 200).length, 3);
    for (const refused of answers.filter(({ status }) => status !== 200)) {
      assertLimited(refused, "requests_per_minute");
    }
  });

  test("limits: requests per day", async () => {
    const key = await issue(gateway, "three-a-day");
    for (let calls = 0; calls < 3; calls += 1) assertAnswered(await use(key));
    const refused = await use(key);
    assertLimited(refused, "requests_per_day");
    assert.match(refused.error.message, /resets at \S+T00:00:00Z, in \d+ (s|min|h)/);
    const limit = (await standing(gateway, key)).get("requests_per_day");
    assert.deepEqual([limit.used, limit.remaining], [3, 0]);
  });

  for (const span of ["minute", "day"]) {
    test(`limits: tokens per ${span}`, async () => {
      const key = await issue(gateway, `tokens-a-${span}`);
      await minuteWith(25);
      const counter = `tokens_per_${span}`;
      let calls = 0;
      for (;;) {
        const answered = await use(key);
        if (answered.status !== 200) {
          assertLimited(answered, counter);
          break;
        }
        calls += 1;
        assert.ok(calls <= 62, "five hundred tokens are not enough for more");
      }
      const limit = (await standing(gateway, key)).get(counter);
      assert.equal(limit.used, calls * TOKENS);
      // The hold has a token for each byte of the request, what a provider may add, and all twenty of the response.
      assert.ok(limit.remaining < 150 + 256 + 20, `${limit.remaining} are left`);
    });
  }

  test("limits: a call that may use more than the token limit is rejected, and a long output is shortened", async () => {
    const key = await issue(gateway, "tokens-a-minute");
    await minuteWith(20);
    const large = await use(key, { messages: [{ role: "user", content: "x".repeat(500) }] });
    assertLimited(large, "tokens_per_minute");
    assert.equal((await sent(upstream, large)).length, 0);
    const roomy = await issue(gateway, "all");
    const answered = await use(roomy, { max_tokens: 100_000 });
    assertAnswered(answered);
    const [{ body } = { body: undefined }] = await sent(upstream, answered);
    assert.ok(body.max_tokens <= 100_000 / 8, `${body.max_tokens}`);
    assert.match(answered.headers.get("x-gateway-dropped-params") ?? "", /max_tokens/);
  });

  test("limits: a new minute is not charged for the previous one", async () => {
    const requests = await issue(gateway, "three-a-minute");
    const tokens = await issue(gateway, "tokens-a-minute");
    await minuteWith(15);
    const simulate = { events: 200 };
    for (let calls = 0; calls < 3; calls += 1) assertAnswered(await use(requests));
    assert.equal((await use(tokens, { simulate })).status, 200);
    assertLimited(await use(requests), "requests_per_minute");
    assertLimited(await use(tokens), "tokens_per_minute");
    const left = 60_000 - (Date.now() % 60_000);
    await new Promise((resolve) => setTimeout(resolve, left + 20));
    for (const at of [gateway, other, gateway]) assertAnswered(await use(requests, {}, at));
    assertAnswered(await use(tokens));
  });

  test("limits: a call that ends in the next minute is charged to the minute in which it began", async () => {
    const key = await issue(gateway, "tokens-a-minute");
    const left = 60_000 - (Date.now() % 60_000);
    await new Promise((resolve) => setTimeout(resolve, (left + 59_000) % 60_000));
    const late = use(key, { stream: true, simulate: { events: 90, frame_delay_ms: 20 } });
    await new Promise((resolve) => setTimeout(resolve, 1050));
    assertAnswered(await use(key));
    assert.equal((await late).status, 200);
    const limit = (await standing(gateway, key)).get("tokens_per_minute");
    assert.equal(limit.used, TOKENS);
  });

  /**
   * A stream that continues, and a function that disconnects from it.
   *
   * @param {Key} key
   * @param {Gateway} [at]
   */
  async function open(key, at = gateway) {
    const { hostname, port } = new URL(at.url);
    const socket = connect(Number(port), hostname);
    socket.on("error", () => {});
    await once(socket, "connect");
    const text = JSON.stringify({
      model: MODEL,
      stream: true,
      messages: [{ role: "user", content: "Hi" }],
      simulate: { events: 1000, frame_delay_ms: 100 },
    });
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: ${key.authorization}\r\n` +
        `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
    );
    const [first] = await once(socket, "data");
    assert.match(String(first), /^HTTP\/1\.1 200 /);
    socket.resume();
    return () => socket.resetAndDestroy();
  }

  test("limits: concurrent streams hold their places while they last and free them when the client leaves", async (t) => {
    const key = await issue(gateway, "three-at-once");
    const streams = [await open(key), await open(key, other), await open(key)];
    const until = Date.now() + 12_000;
    do {
      for (const at of [gateway, other]) {
        const refused = await use(key, {}, at);
        assertLimited(refused, "concurrent");
        assert.equal(refused.headers.get("retry-after"), "1");
      }
      await new Promise((resolve) => setTimeout(resolve, 1500));
    } while (Date.now() < until);
    streams[0]?.();
    const left = Date.now();
    const answered = await eventually(async () => {
      const again = await use(key);
      return again.status === 200 ? again : undefined;
    }, 5000);
    t.diagnostic(`free after ${Date.now() - left} ms`);
    assertAnswered(/** @type {Answered} */ (answered));
    streams[1]?.();
    streams[2]?.();
    await eventually(async () => {
      const { limits } = await usage(gateway, key);
      return limits[0].held === 0 && limits[0].remaining === 3;
    });
    const all = await Promise.all([use(key), use(key), use(key)]);
    for (const one of all) assertAnswered(one);
  });

  test("limits: a place is free when its call has ended", async () => {
    const key = await issue(gateway, "three-at-once");
    for (let calls = 0; calls < 15; calls += 1) {
      assertAnswered(await use(key, { stream: calls % 2 === 0 }));
    }
    const answers = await Promise.all(
      Array.from({ length: 12 }, () => use(key, { simulate: { delay_ms: 800 } })),
    );
    assert.equal(answers.filter(({ status }) => status === 200).length, 3);
  });

  for (const [
    policy,
    counter,
    [within, without],
  ] of /** @type {[string, string, [string[], string[]]][]} */ ([
    ["by-provider", "demo/*", [[MODEL, "demo/sim-other", "quick"], ["second/sim"]]],
    [
      "by-model",
      MODEL,
      [
        [MODEL, "quick", "pair"],
        ["demo/sim-other", "second/sim"],
      ],
    ],
    [
      "by-alias",
      "quick",
      [
        ["quick", MODEL, "sim-small"],
        ["demo/sim-other", "second/sim"],
      ],
    ],
    ["by-group", "pair", [["pair", "second/sim", "quick"], ["demo/sim-other"]]],
  ])) {
    test(`limits: a policy can limit some models (${policy})`, async () => {
      const key = await issue(gateway, policy);
      const [first, second, third] = within;
      assertAnswered(await use(key, { model: first }));
      assertAnswered(await use(key, { model: second }));
      assertLimited(await use(key, { model: third }), `requests_per_day ${counter}`);
      for (const model of without) assertAnswered(await use(key, { model }));
      const limits = await standing(gateway, key);
      assert.equal(limits.get(`requests_per_day ${counter}`).used, 2);
    });
  }

  test("limits: of two policies the stricter applies", async () => {
    const key = await issue(gateway, "three-a-minute", "two-a-minute", "a-dollar");
    await minuteWith(20);
    assertAnswered(await use(key));
    assertAnswered(await use(key));
    assertLimited(await use(key), "requests_per_minute");
    const limits = await standing(gateway, key);
    assert.deepEqual([...limits.keys()].sort(), [
      "requests_per_day",
      "requests_per_minute",
      "usd_total",
    ]);
    assert.equal(limits.get("requests_per_minute").amount, 2);
  });

  test("limits: response headers report each limit and agree with /usage", async () => {
    const key = await issue(gateway, "all");
    await minuteWith(25);
    const none = await ask(gateway, { model: MODEL });
    for (const name of ["ratelimit", "ratelimit-policy", "x-ratelimit-limit-requests"]) {
      assert.equal(none.headers.get(name), null, "a key of the ring has no limits");
    }
    for (let calls = 0; calls < 3; calls += 1) {
      const answered = await use(key, { stream: calls === 2 });
      assertAnswered(answered);
      const policy = parsed(answered.headers.get("ratelimit-policy"));
      const now = parsed(answered.headers.get("ratelimit"));
      const windows = {
        requests_per_minute: { q: 50, w: 60 },
        requests_per_day: { q: 40, w: 86_400 },
        tokens_per_minute: { q: 100_000, w: 60 },
        tokens_per_day: { q: 200_000, w: 86_400 },
        concurrent: { q: 9 },
        usd_per_day: { q: 1_000_000, w: 86_400 },
        usd_per_month: { q: 20_500_000, w: 30 * 86_400 },
        usd_total: { q: 300_000_000 },
        "usd_per_day demo/*": { q: 500_000, w: 86_400 },
      };
      assert.deepEqual(Object.fromEntries(policy), windows);
      assert.deepEqual([...now.keys()], [...policy.keys()]);
      const limits = await standing(gateway, key);
      for (const [counter, { r, t }] of now) {
        const limit = limits.get(counter);
        assert.equal(limit.amount, policy.get(counter)?.["q"], counter);
        assert.ok(r !== undefined && r <= limit.amount && r >= 0, `${counter}: ${r}`);
        // The unused part of the call's own hold has been returned since.
        assert.ok(
          r <= limit.remaining || counter === "concurrent",
          `${counter}: ${r} of ${limit.remaining}`,
        );
        if (limit.resets_at === null) {
          assert.equal(t, undefined, counter);
        } else {
          const expected = (Date.parse(limit.resets_at) - Date.now()) / 1000;
          assert.ok(t !== undefined && Math.abs(t - expected) < 15, `${counter}: ${t} ${expected}`);
        }
      }
      assert.equal(limits.get("requests_per_day").used, calls + 1);
      assert.equal(limits.get("usd_total").used, (calls + 1) * COST);
      assert.equal(limits.get("usd_per_day demo/*").used, (calls + 1) * COST);
      assert.equal(limits.get("tokens_per_minute").used, (calls + 1) * TOKENS);
      const header = (/** @type {string} */ name) => answered.headers.get(`x-ratelimit-${name}`);
      // The remaining share of forty a day is smaller than that of fifty a minute.
      assert.equal(header("limit-requests"), "40");
      assert.equal(Number(header("remaining-requests")), now.get("requests_per_day")?.["r"]);
      assert.equal(seconds(header("reset-requests")), now.get("requests_per_day")?.["t"]);
      assert.ok(["100000", "200000"].includes(header("limit-tokens") ?? ""));
      assert.ok(seconds(header("reset-tokens")) > 0);
    }
  });

  test("limits: a spent budget returns insufficient_quota, which clients do not retry", async () => {
    const key = await issue(gateway, "nothing");
    const refused = await use(key);
    assertLimited(refused, "usd_per_month", "insufficient_quota");
    assert.match(
      refused.error.message,
      /may spend 0\.000001 USD per month, of which 0\.000001 USD are left/,
    );
    assert.match(refused.error.message, /, more than is left for its input alone; the limit/);
    assert.match(
      refused.error.message,
      /resets at \d{4}-\d\d-01T00:00:00Z, in \d+ (s|min|h|days) \(request \S+\)$/,
    );
    assert.equal((await sent(upstream, refused)).length, 0);
    const limit = (await standing(gateway, key)).get("usd_per_month");
    assert.deepEqual([limit.used, limit.remaining], [0, 1]);
    const { receipts } = await usage(gateway, key);
    assert.equal(receipts.count, 0);
  });

  test("limits: a budget reserved by calls in flight returns Retry-After", async () => {
    const key = await issue(gateway, "a-cent");
    // Each may cost some 5,000 of the 10,000 micro-USD; a lease holds at most an eighth of what is left, but at least
    // 256 tokens.
    const simulate = { events: 2, delay_ms: 700 };
    const under = Array.from({ length: 10 }, () => use(key, { max_tokens: 500, simulate }));
    const answers = await Promise.all(under);
    const refused = answers.filter(({ status }) => status !== 200);
    assert.ok(refused.length > 0 && refused.length < 10, `${refused.length}`);
    for (const one of refused) {
      assertLimited(one, "usd_per_day");
      assert.equal(one.headers.get("retry-after"), "1");
      assert.match(one.error.message, /reserved for calls in progress/);
    }
    assertAnswered(await use(key));
  });

  test("limits: a huge max_tokens does not block a budget", async () => {
    const key = await issue(gateway, "a-dollar");
    const model = "demo/sim-other";
    const simulate = { events: 5, delay_ms: 700 };
    const calls = Array.from({ length: 8 }, (_, index) =>
      use(key, { model, max_tokens: 1_000_000, stream: index % 2 === 0, simulate }),
    );
    for (const answered of await Promise.all(calls)) {
      assert.equal(answered.status, 200, answered.text);
      const [{ body } = { body: undefined }] = await sent(upstream, answered);
      assert.ok(body.max_tokens >= 256 && body.max_tokens < 100_000, `${body.max_tokens}`);
      const dropped = answered.headers.get("x-gateway-dropped-params") ?? "";
      assert.match(dropped, /max_tokens/);
    }
    for (const [name, stream] of /** @type {[string, boolean][]} */ ([
      ["max_completion_tokens", false],
      ["max_tokens", true],
    ])) {
      const modest = await ask(
        gateway,
        { model, stream, [name]: 30 },
        { authorization: key.authorization },
      );
      const [{ body } = { body: undefined }] = await sent(upstream, modest);
      assert.equal(body[name], 30);
      assert.equal(modest.headers.get("x-gateway-dropped-params"), null);
    }
  });

  test("limits: a call without an output limit gets one", async () => {
    const key = await issue(gateway, "a-dollar");
    for (const model of ["demo/sim-other", MODEL]) {
      const answered = await ask(gateway, { model }, { authorization: key.authorization });
      assertAnswered(answered);
      const [{ body } = { body: undefined }] = await sent(upstream, answered);
      const limit = body.max_completion_tokens ?? body.max_tokens;
      assert.ok(Number.isInteger(limit) && limit > 0, JSON.stringify(body));
      if (model === MODEL) assert.ok(limit <= 4000, `${limit}`);
    }
    const ring = await ask(gateway, { model: MODEL });
    const [{ body } = { body: undefined }] = await sent(upstream, ring);
    assert.deepEqual([body.max_completion_tokens, body.max_tokens], [undefined, undefined]);
  });

  test("limits: a model without a known price is rejected for a key with a budget and allowed for others", async () => {
    const key = await issue(gateway, "a-dollar");
    const refused = await use(key, { model: "free/sim" });
    assertRefused(refused, 403, "price_unknown");
    assert.equal(refused.error.param, "usd_total");
    assert.equal(refused.headers.get("x-gateway-error-source"), "gateway");
    assert.match(refused.error.message, /the price of free\/sim is not known/);
    assert.equal((await sent(upstream, refused)).length, 0);
    const counting = await issue(gateway, "three-a-day");
    const answered = await use(counting, { model: "free/sim" });
    assertAnswered(answered);
    assert.equal(answered.headers.get("x-gateway-cost-usd"), null);
    const { cost_micro_usd, completion_tokens } = await receipt(gateway, counting, answered);
    assert.deepEqual([cost_micro_usd, completion_tokens], [null, 5]);
  });

  test("limits: whole responses report their cost", async () => {
    const key = await issue(gateway, "a-dollar");
    const answered = await use(key);
    assert.equal(answered.headers.get("x-gateway-cost-usd"), "0.000053");
    assert.equal(answered.headers.get("x-gateway-tokens"), "prompt=3, cached=0, completion=5");
    const noted = await receipt(gateway, key, answered);
    assert.equal(noted.cost_micro_usd, COST);
    assert.equal(noted.id, answered.headers.get("x-gateway-receipt"));
  });

  suite("limits, failed attempts", () => {
    for (const [
      what,
      name,
      simulate,
      failure,
    ] of /** @type {[string, string, object, string][]} */ ([
      ["500", "refusing", { status: 500 }, "server_error"],
      ["a cut before the response", "cutting", { cut: "headers" }, "unreachable"],
      ["no response", "hanging", { hang: "headers" }, "timed_out"],
    ])) {
      for (const stream of [false, true]) {
        test(`failed attempts: ${what} (${stream ? "stream" : "whole"}) is on the receipt and charged once`, async (t) => {
          const key = await issue(gateway, "a-dollar");
          const faulty = { ...simulate, when: { path: "/failing" } };
          const model = stream ? `${name}-stream` : name;
          const answered = await use(key, { model, stream, simulate: faulty });
          assertAnswered(answered);
          assert.equal(answered.provider, "second", answered.headers.get("x-gateway-route") ?? "");
          const noted = await receipt(gateway, key, answered);
          t.diagnostic(JSON.stringify(noted.attempts));
          const outcomes = noted.attempts.map((/** @type {any} */ attempt) => attempt.outcome);
          // A stream that does not start is hedged.
          const first = stream && failure === "timed_out" ? "cancelled" : failure;
          assert.deepEqual(outcomes.toSorted(), [first, "ok"].toSorted());
          assert.equal(noted.attempts.at(-1).cost_micro_usd, COST);
          const [{ cost_micro_usd: cost }] = noted.attempts;
          // Whoever receives a request may bill for it, unless it says that it failed.
          if (failure === "server_error") assert.equal(cost, 0);
          else assert.ok(cost >= 20 * 10 + 256, `${cost}`);
          const costs = noted.attempts.map((/** @type {any} */ attempt) => attempt.cost_micro_usd);
          const sum = costs.reduce((/** @type {number} */ a, /** @type {number} */ b) => a + b, 0);
          assert.equal(noted.cost_micro_usd, sum);
          assert.equal((await standing(gateway, key)).get("usd_total").used, sum);
        });
      }
    }

    test("failed attempts: one that the provider continues to bill is charged its maximum cost", async (t) => {
      const key = await issue(gateway, "a-dollar");
      const answered = await use(key, {
        model: "pair that is charged",
        simulate: { hang: "headers", when: { path: "/charging" } },
      });
      assertAnswered(answered);
      const noted = await receipt(gateway, key, answered);
      t.diagnostic(JSON.stringify(noted.attempts));
      const [abandoned, good] = noted.attempts;
      assert.equal(noted.estimated, true);
      assert.equal(abandoned.completion_tokens, 20);
      assert.ok(abandoned.cost_micro_usd >= 20 * 10 + 3, `${abandoned.cost_micro_usd}`);
      assert.equal(good.cost_micro_usd, COST);
      const { used } = (await standing(gateway, key)).get("usd_total");
      assert.equal(used, noted.cost_micro_usd);
    });

    test("failed attempts: both calls of a hedge are on the receipt", async (t) => {
      const key = await issue(gateway, "a-dollar");
      const simulate = { delay_ms: 900, when: { path: "/failing" } };
      const answered = await use(key, { model: "slow-stream", stream: true, simulate });
      assertAnswered(answered);
      const noted = await receipt(gateway, key, answered);
      t.diagnostic(JSON.stringify(noted.attempts));
      const costs = noted.attempts.map((/** @type {any} */ attempt) => attempt.cost_micro_usd);
      const sum = costs.reduce((/** @type {number} */ a, /** @type {number} */ b) => a + b, 0);
      assert.equal((await standing(gateway, key)).get("usd_total").used, sum);
      const outcomes = noted.attempts.map((/** @type {any} */ attempt) => attempt.outcome);
      assert.deepEqual(outcomes.toSorted(), ["cancelled", "ok"]);
    });

    test("failed attempts: when the budget allows no second attempt the first error is returned", async () => {
      const key = await issue(gateway, "a-cent");
      const answered = await use(key, {
        model: "pair that costs",
        simulate: { status: 503, message: "over capacity", when: { path: "/failing" } },
      });
      assert.equal(answered.status, 503, answered.text);
      assert.match(answered.error.message, /over capacity/);
      assert.notEqual(answered.error.code, "insufficient_quota");
      assert.ok((await sent(upstream, answered)).every(({ to }) => to === "failing"));
      assert.equal((await standing(gateway, key)).get("usd_per_day").used, 0);
    });
  });

  suite("limits with the OpenAI SDK", () => {
    /** @param {string} apiKey */
    function client(apiKey) {
      let requests = 0;
      const sdk = new OpenAI({
        baseURL: `${gateway.url}/v1`,
        apiKey,
        maxRetries: 4,
        fetch: /** @type {any} */ (
          (/** @type {string} */ url, /** @type {RequestInit} */ init) => {
            requests += 1;
            return call(url, init);
          }
        ),
      });
      return { sdk, requests: () => requests };
    }
    /** @type {OpenAI.ChatCompletionCreateParamsNonStreaming} */
    const params = { model: MODEL, messages: [{ role: "user", content: "Hi" }], max_tokens: 20 };

    test("limits with the OpenAI SDK: no retry when the budget is spent", async () => {
      const { key } = await issue(gateway, "nothing");
      const { sdk, requests } = client(key);
      await assert.rejects(sdk.chat.completions.create(params), (error) => {
        assert.ok(error instanceof APIError && error.status === 402);
        assert.deepEqual([error.code, error.param], ["insufficient_quota", "usd_per_month"]);
        return true;
      });
      assert.equal(requests(), 1);
    });

    test("limits with the OpenAI SDK: retries when all places are taken", async () => {
      const key = await issue(gateway, "three-at-once");
      const streams = [await open(key), await open(key), await open(key)];
      const { sdk, requests } = client(key.key);
      const waiting = sdk.chat.completions.create(params);
      await eventually(() => requests() === 1);
      setTimeout(() => streams[0]?.(), 300);
      const answer = await waiting;
      assert.equal(answer.choices[0]?.message.content, "You said: Hi");
      assert.ok(requests() > 1);
      for (const leave of streams) leave();
    });
  });
});

suite("unknown prices counted in tokens", () => {
  test('limits: with ledger.unknown_price = "count_tokens" unpriced calls count as requests and tokens', async () => {
    const policies = {
      counted: { limits: { usd_total: 1, requests_per_day: 5, tokens_per_day: 1000 } },
    };
    const isolates = await Isolates.start(
      1,
      variables({ ledger: { unknown_price: "count_tokens" }, policies }),
    );
    try {
      const gateway = isolates.at(0);
      const key = await issue(gateway, "counted");
      const { authorization } = key;
      const free = await ask(gateway, { model: "free/sim", max_tokens: 20 }, { authorization });
      assertAnswered(free);
      assert.equal(free.headers.get("x-gateway-cost-usd"), null);
      assertAnswered(await ask(gateway, { model: MODEL, max_tokens: 20 }, { authorization }));
      const limits = await standing(gateway, key);
      assert.deepEqual(
        ["usd_total", "requests_per_day", "tokens_per_day"].map((name) => limits.get(name).used),
        [COST, 2, 2 * TOKENS],
      );
      const { total_requests, unpriced } = await usage(gateway, key);
      assert.deepEqual([total_requests, unpriced], [2, 1]);
    } finally {
      await isolates.stop();
    }
  });
});

suite("unavailable KeyLedger object", () => {
  for (const [what, code] of [
    ["fails", "return new Response('no', { status: 500 })"],
    ["throws", "throw new Error('broken')"],
    ["hangs", "return new Promise((resolve) => setTimeout(resolve, 60_000))"],
  ]) {
    test(`limits: when the KeyLedger object ${what}, keys with limits get 503 and all others are served`, async () => {
      const isolates = await Isolates.start(1, variables({}), {
        KeyLedger: `export class KeyLedger { async fetch() { ${code} } }`,
      });
      try {
        const gateway = isolates.at(0);
        const { authorization } = await issue(gateway, "a-dollar");
        const refused = await ask(gateway, { model: MODEL }, { authorization });
        assertRefused(refused, 503, "storage_unavailable");
        assert.equal((await sent(upstream, refused)).length, 0);
        const free = await issue(gateway);
        assertAnswered(await ask(gateway, { model: MODEL }, free));
        assertAnswered(await ask(gateway, { model: MODEL, stream: true }));
        assertAnswered(await ask(gateway, { model: MODEL }, { authorization: `Bearer ${KEY}` }));
        const shown = await call(`${gateway.url}/usage`, {
          headers: { authorization: `Bearer ${KEY}` },
        });
        assert.equal(shown.status, 503);
      } finally {
        await isolates.stop();
      }
    });
  }
});
