// @ts-check
//! Budgets hold to the last micro-USD: the real cost at the simulated provider is compared with the budget of a key, with
//! a thousand concurrent clients, and with isolates that die while they hold leases. Chat completions and messages have
//! the same fields and the same cost here.

import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { after, before, suite, test } from "node:test";
import {
  Gateway,
  OPERATOR_KEY,
  Upstream,
  eventually,
  freshState,
  operate,
  variables,
} from "./harness.mjs";
import { Isolates } from "./isolates.mjs";

/** The prices of a token of input and of output, in micro-USD: whole numbers, so that nothing is rounded. */
const [INPUT, OUTPUT] = [1, 10];
const PRICE = { input_usd_per_mtok: INPUT, output_usd_per_mtok: OUTPUT, max_output: 1000 };
const MESSAGES = [{ role: "user", content: "one two three" }];
const TOKENS = 100;
/** The cost of each call: three tokens of prompt, and those of the response. */
const COST = 3 * INPUT + TOKENS * OUTPUT;
/** The body of a call. */
const request = (/** @type {object} */ body = {}) =>
  JSON.stringify({ model: "demo/sim-small", messages: MESSAGES, max_tokens: TOKENS, ...body });
/**
 * The most that the reservation for it can be: a token for each byte of the body, and some for what a provider may add.
 */
const HOLD =
  (request({ stream: false, simulate: { events: TOKENS } }).length + 256) * INPUT + TOKENS * OUTPUT;
const FOR_CALLS = 100;
/** The endpoints of calls. */
const CHAT = "/v1/chat/completions";
const PATHS = [CHAT, "/v1/messages"];
const BUDGET = FOR_CALLS * COST;
/** The time in milliseconds for which a client retries. */
const PATIENCE_MS = 180_000;

/** @type {Upstream} */ let upstream;

before(async () => {
  upstream = await Upstream.start();
});
after(() => upstream?.stop());

/** The configuration, with a budget in micro-USD. */
const configured = (micro = BUDGET) =>
  variables(upstream, {
    providers: {
      demo: {
        base_url: `${upstream.url}/v1`,
        models: ["sim-small"],
        formats: ["chat_completions", "messages"],
      },
    },
    models: { "demo/sim-small": PRICE },
    policies: { budget: { limits: { usd_total: micro / 1_000_000 } } },
  });

/** @param {Gateway} gateway */
async function issue(gateway) {
  const name = `budget-${Math.random().toString(36).slice(2)}`;
  const made = await operate(gateway, "POST", "/v0/api_keys", { name, policies: ["budget"] });
  assert.equal(made.status, 201);
  return { name, key: /** @type {string} */ ((await made.json()).api_key) };
}

/**
 * The outcome of a client's call: `answered`, `spent`, `lost` (the gateway died), or another error.
 *
 * @param {Gateway} gateway
 * @param {string} key
 * @param {object} body
 * @param {string} path
 */
async function once(gateway, key, body, path) {
  const response = await fetch(`${gateway.url}${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: request(body),
  });
  const text = await response.text();
  if (response.status === 200) return { what: "answered", retry: 0 };
  const code = JSON.parse(text).error?.code;
  if (code === "insufficient_quota") return { what: "spent", retry: 0 };
  const retry = Number(response.headers.get("retry-after")) * 1000;
  return { what: `${response.status} ${text}`, retry: code === "rate_limit_exceeded" ? retry : 0 };
}

/**
 * A client that retries like OpenAI's.
 *
 * @param {Gateway} gateway
 * @param {string} key
 * @param {object} body
 * @param {string} [path]
 */
async function client(gateway, key, body, path = CHAT) {
  const until = Date.now() + PATIENCE_MS;
  for (let tries = 1; ; tries += 1) {
    const { what, retry } = await once(gateway, key, body, path).catch(() => ({
      what: "lost",
      retry: 0,
    }));
    if (retry === 0 || Date.now() + retry > until) return { what, tries };
    await new Promise((resolve) => setTimeout(resolve, retry));
  }
}

/**
 * The state of the key's only limit.
 *
 * @param {Gateway} gateway
 * @param {string} name
 */
async function standing(gateway, name) {
  const response = await operate(gateway, "GET", `/usage?key=${name}`);
  const text = await response.text();
  assert.equal(response.status, 200, text);
  const usage = JSON.parse(text);
  assert.equal(usage.limits.length, 1);
  return { ...usage.limits[0], receipts: usage.receipts };
}

/** The real cost at the provider, in micro-USD. */
async function realCost() {
  const { prompt_tokens, completion_tokens } = await upstream.stats();
  return Number(prompt_tokens) * INPUT + Number(completion_tokens) * OUTPUT;
}

/** @param {{ what: string }[]} ends */
function counted(ends) {
  /** @type {Record<string, number>} */
  const counts = {};
  for (const { what } of ends) counts[what] = (counts[what] ?? 0) + 1;
  return counts;
}

for (const [number, paths] of /** @type {const} */ ([
  [1, [CHAT]],
  [10, PATHS],
])) {
  suite(`budget under load, ${number} isolate(s)`, () => {
    /** @type {Isolates} */ let isolates;

    before(async () => {
      isolates = await Isolates.start(number, configured());
    });
    after(() => isolates?.stop());

    for (const path of paths)
      test(`budget: a thousand concurrent calls of ${path} over ${number} isolate(s), whole and streamed, do not overrun it`, async (t) => {
        await upstream.forget();
        const { name, key } = await issue(isolates.at(0));
        const simulate = { events: TOKENS };
        const began = Date.now();
        const ends = await Promise.all(
          Array.from({ length: 1000 }, (_, index) => {
            const stream = index % 3 === 0;
            return client(isolates.at(index % number), key, { stream, simulate }, path);
          }),
        );
        const cost = await realCost();
        const counts = counted(ends);
        t.diagnostic(`${JSON.stringify(counts)} in ${Date.now() - began} ms; ${cost} of ${BUDGET}`);
        assert.ok(cost <= BUDGET, `${cost} were spent of ${BUDGET}`);
        assert.ok(BUDGET - cost < HOLD, `${BUDGET - cost} are left, and a call needs ${HOLD}`);
        assert.deepEqual(counts, { answered: cost / COST, spent: 1000 - cost / COST });
        const settled = await eventually(async () => {
          const now = await standing(isolates.at(0), name);
          return now.held === 0 && now.used === cost && now;
        });
        assert.deepEqual(
          [settled.used, settled.held, settled.unconfirmed, settled.remaining],
          [cost, 0, 0, BUDGET - cost],
        );
        assert.equal(settled.receipts.count, cost / COST);
        assert.equal(settled.receipts.totals.cost_micro_usd, cost);
      });
  });
}

suite("budget, sequential calls", () => {
  // Twenty calls cost so much, and the twentieth is the last one that can be reserved.
  const EXACT = 19 * COST + HOLD;
  /** @type {Isolates} */ let isolates;

  before(async () => {
    isolates = await Isolates.start(2, configured(EXACT));
  });
  after(() => isolates?.stop());

  const cases = PATHS.flatMap((path) => [false, true].map((stream) => ({ path, stream })));
  for (const { path, stream } of cases) {
    const how = `${path}, ${stream ? "streamed" : "whole"}`;
    test(`budget: no sequential call is rejected before the budget is spent (${how})`, async () => {
      const { name, key } = await issue(isolates.at(0));
      const ends = [];
      for (let calls = 0; calls < 25; calls += 1) {
        const simulate = { events: TOKENS };
        ends.push(await once(isolates.at(0), key, { stream, simulate }, path));
      }
      assert.deepEqual(
        ends.map(({ what }) => what),
        Array.from({ length: 25 }, (_, index) => (index < 20 ? "answered" : "spent")),
      );
      const { used, held, remaining } = await standing(isolates.at(0), name);
      assert.deepEqual([used, held, remaining], [20 * COST, 0, EXACT - 20 * COST]);
    });

    test(`budget: two isolates answer as many sequential calls as one (${how})`, async (t) => {
      const { key } = await issue(isolates.at(0));
      const ends = [];
      for (let calls = 0; calls < 25; calls += 1) {
        const simulate = { events: TOKENS };
        ends.push(await client(isolates.at(calls % 2), key, { stream, simulate }, path));
      }
      t.diagnostic(`tries: ${ends.map(({ tries }) => tries).join(" ")}`);
      assert.deepEqual(counted(ends), { answered: 20, spent: 5 });
    });
  }
});

suite("budget after isolate deaths", () => {
  test("budget: holds when isolates die with leases, and the remainder can be spent", async (t) => {
    await upstream.forget();
    const budget = 4 * BUDGET;
    const state = await freshState();
    /** @type {Gateway | undefined} */ let gateway;
    const start = () => Gateway.start(configured(budget), [], state);
    try {
      gateway = await start();
      const { name, key } = await issue(gateway);
      /** The number of calls in flight when their isolate died. */
      let inFlight = 0;
      for (let life = 1; life <= 3; life += 1) {
        const lived = gateway;
        const simulate = { events: TOKENS, drip_ms: 20 };
        const ends = Array.from({ length: 60 }, (_, index) =>
          client(lived, key, { stream: index % 2 === 0, simulate }),
        );
        const answered = Promise.all(ends);
        await new Promise((resolve) => setTimeout(resolve, 300 + life * 250));
        await lived.kill();
        const counts = counted(await answered);
        inFlight += counts["lost"] ?? 0;
        const cost = await realCost();
        gateway = await start();
        const now = await standing(gateway, name);
        t.diagnostic(
          `life ${life}: ${JSON.stringify(counts)}; provider ${cost}; ${JSON.stringify(now)}`,
        );
        assert.ok(cost <= budget);
        // Unreported cost is still reserved.
        assert.ok(now.used <= cost, `${now.used} charged of ${cost}`);
        assert.ok(now.used + now.held + now.unconfirmed >= cost, JSON.stringify({ now, cost }));
        const first = await client(gateway, key, { simulate: { events: TOKENS } });
        assert.equal(first.what, "answered", "there is money left");
      }
      const simulate = { events: TOKENS };
      const last = gateway;
      const ends = await Promise.all(
        Array.from({ length: 500 }, (_, index) =>
          client(last, key, { stream: index % 2 === 0, simulate }),
        ),
      );
      t.diagnostic(JSON.stringify(counted(ends)));
      assert.deepEqual(Object.keys(counted(ends)).sort(), ["answered", "spent"]);
      const cost = await realCost();
      // Leases of a dead isolate are counted as spent once it has not reported for half a minute.
      const now = await eventually(async () => {
        const now = await standing(last, name);
        return now.held === 0 && now;
      }, 45_000);
      t.diagnostic(`provider ${cost}; ${JSON.stringify(now)}`);
      assert.ok(cost <= budget, `${cost} of ${budget}`);
      assert.ok(
        now.used <= cost && cost <= now.used + now.unconfirmed,
        JSON.stringify({ now, cost }),
      );
      assert.ok(now.remaining < HOLD, `${now.remaining} are left, and a call needs ${HOLD}`);
      // A lease holds at most a sixteenth of what is left for later calls, beyond what calls in flight hold or have
      // used since the last report.
      const bound = inFlight * HOLD + 3 * (budget / 16);
      assert.ok(now.unconfirmed <= bound, `${now.unconfirmed} of at most ${bound}`);
    } finally {
      await gateway?.stop();
      await rm(state, { recursive: true, force: true });
    }
  });
});

test("budget: a key's account is visible to its caller and to operators only", async () => {
  const isolates = await Isolates.start(1, configured());
  try {
    const { name, key } = await issue(isolates.at(0));
    const { key: other } = await issue(isolates.at(0));
    const get = (/** @type {string} */ secret, query = "") =>
      fetch(`${isolates.at(0).url}/usage${query}`, {
        headers: { authorization: `Bearer ${secret}` },
      });
    assert.equal((await (await get(key)).json()).key, name);
    assert.equal((await get(other, `?key=${name}`)).status, 403);
    assert.equal((await (await get(OPERATOR_KEY, `?key=${name}`)).json()).key, name);
  } finally {
    await isolates.stop();
  }
});
