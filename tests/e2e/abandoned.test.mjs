// @ts-check
//! Callers who leave: whatever they do, the provider's own bill stays within the limit of their key, and an honest
//! caller pays no more than the provider can have billed.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { MODEL, PRICES, SETTINGS, attack, billed } from "./adversary.mjs";
import { Upstream, begin, eventually, operate, variables } from "./harness.mjs";
import { Isolates } from "./isolates.mjs";
import { receipts } from "./ledgers.mjs";

/** @typedef {import("./harness.mjs").Gateway} Gateway */

/** The number of calls of an attack; `scripts/adversary` makes a thousand. */
const CALLS = Number(process.env["ADVERSARIAL_CALLS"] ?? 200);
const BUDGET = CALLS * 3000;
const TOKENS = CALLS * 750;

/** @type {Upstream} */ let upstream;

before(async () => {
  upstream = await Upstream.start();
});
after(() => upstream?.stop());

/** @param {Upstream} upstream */
const configured = (upstream) =>
  variables(upstream, {
    models: { [MODEL]: SETTINGS },
    timeouts: { stall_ms: 60_000 },
    routing: { retries: 0 },
    policies: {
      money: { limits: { usd_total: BUDGET / 1_000_000 } },
      tokens: { limits: { tokens_per_day: TOKENS } },
      place: { limits: { usd_total: BUDGET / 1_000_000, concurrent: 1 } },
      "place-alone": { limits: { concurrent: 1 } },
    },
  });

/**
 * @param {Gateway} gateway
 * @param {string} policy
 */
async function issue(gateway, policy) {
  const name = `abandoned-${Math.random().toString(36).slice(2)}`;
  const made = await operate(gateway, "POST", "/v0/api_keys", { name, policies: [policy] });
  assert.equal(made.status, 201, await made.clone().text());
  return { name, key: /** @type {string} */ ((await made.json()).api_key) };
}

/**
 * @param {Gateway} gateway
 * @param {string} name
 */
async function limits(gateway, name) {
  const response = await operate(gateway, "GET", `/usage?key=${name}`);
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return /** @type {any[]} */ (JSON.parse(text).limits);
}

/**
 * The first limit of a key, once nothing is held.
 *
 * @param {Gateway} gateway
 * @param {string} name
 */
const settled = (gateway, name) =>
  eventually(async () => {
    const all = await limits(gateway, name);
    return all.every(({ held }) => held === 0) && all[0];
  }, 60_000);

suite("callers who leave on purpose", { concurrency: true }, () => {
  for (const count of [1, 4]) {
    for (const kind of /** @type {const} */ (["money", "tokens"])) {
      test(
        `abandoned calls: the provider's bill for ${CALLS} adversarial calls stays within a limit of ${kind} (${count} isolates)`,
        { timeout: 180_000 + CALLS * 1000 },
        async (t) => {
          const upstream = await Upstream.start();
          const isolates = await Isolates.start(count, configured(upstream));
          try {
            const { name, key } = await issue(isolates.at(0), kind);
            const began = Date.now();
            const statuses = await attack((index) => isolates.at(index % count), key, {
              calls: CALLS,
              atOnce: 12,
              seed: count,
            });
            const limit = await settled(isolates.at(0), name);
            const bill = await billed(upstream);
            const [amount, spent] = kind === "money" ? [BUDGET, bill.micro] : [TOKENS, bill.tokens];
            t.diagnostic(
              `${JSON.stringify(statuses)} in ${Date.now() - began} ms; billed ${spent} of ${amount}, charged ${limit.used}`,
            );
            assert.ok(
              spent > amount / 4,
              `only ${spent} of ${amount} were spent: this tests nothing`,
            );
            assert.ok(spent <= amount, `${spent} were billed of ${amount}`);
            assert.ok(spent <= limit.used, `${spent} were billed, and ${limit.used} charged`);
            assert.ok(limit.used <= amount, `${limit.used} were charged of ${amount}`);
          } finally {
            await isolates.stop();
            await upstream.stop();
          }
        },
      );
    }
  }
});

suite("callers who leave", () => {
  /** @type {Isolates} */ let isolates;
  /** @type {Gateway} */ let gateway;

  before(async () => {
    isolates = await Isolates.start(1, configured(upstream));
    gateway = isolates.at(0);
  });
  after(() => isolates?.stop());

  const MESSAGES = [{ role: "user", content: "one two three" }];

  /**
   * Starts a call, and leaves once `seen` has arrived, or after 300 ms.
   *
   * @param {string} key
   * @param {object} body
   * @param {RegExp} [seen]
   */
  async function leave(key, body, seen) {
    const request = { model: MODEL, messages: MESSAGES, max_tokens: 500, ...body };
    const called = await begin(gateway, key, request);
    if (seen === undefined) await new Promise((resolve) => setTimeout(resolve, 300));
    else await eventually(() => seen.test(called.text));
    called.socket.resetAndDestroy();
    return JSON.stringify(request).length;
  }

  for (const [what, body, seen] of /** @type {[string, object, RegExp | undefined][]} */ ([
    [
      "before the first content of a stream",
      { stream: true, simulate: { delay_ms: 900 } },
      undefined,
    ],
    [
      "in the middle of a stream",
      { stream: true, simulate: { events: 60, frame_delay_ms: 20 } },
      /"content":"tok/,
    ],
    [
      "after the finish reason",
      { stream: true, simulate: { events: 20, done: true } },
      /"finish_reason":"stop"/,
    ],
    ["before a whole response", { simulate: { events: 60, delay_ms: 900 } }, undefined],
    ["in the middle of a whole response", { simulate: { events: 60, drip_ms: 100 } }, undefined],
  ])) {
    test(`callers who leave: ${what}, the usage that the provider reports is charged`, async () => {
      await upstream.forget();
      const { name, key } = await issue(gateway, "money");
      const { simulate } = /** @type {any} */ (body);
      await leave(key, { ...body, simulate: { ...simulate, bill: { reasoning: 40 } } }, seen);
      const limit = await eventually(async () => {
        const [now] = await limits(gateway, name);
        return now.held === 0 && now.used > 0 && now;
      }, 15_000);
      const { micro } = await billed(upstream);
      assert.ok(micro > 0);
      assert.equal(limit.used, micro);
      const [receipt] = await receipts(gateway, key);
      const { outcome, estimated, reasoning_tokens, cost_micro_usd } = receipt;
      assert.deepEqual(
        { outcome, estimated, reasoning_tokens, cost_micro_usd },
        {
          outcome: seen?.source.includes("finish") ? outcome : "client_left",
          estimated: false,
          reasoning_tokens: 40,
          cost_micro_usd: micro,
        },
      );
      assert.equal((await upstream.lastRequest()).outcome, "completed");
    });
  }

  test(
    "callers who leave: without the usage after 25 s the upstream is cancelled, the hold is charged, and the place is free",
    { timeout: 90_000 },
    async (t) => {
      await upstream.forget();
      const { name, key } = await issue(gateway, "place");
      const simulate = { hang: "stream", after_events: 3, events: 50, bill: {} };
      const bytes = await leave(key, { stream: true, simulate }, /"content":"tok/);
      const left = Date.now();
      const again = async () => {
        const called = await begin(gateway, key, {
          model: MODEL,
          messages: MESSAGES,
          max_tokens: 9,
        });
        await eventually(() => /^HTTP\/1\.1 \d+/.test(called.text));
        called.socket.resetAndDestroy();
        return Number(called.text.slice(9, 12));
      };
      while (Date.now() - left < 20_000) {
        assert.equal(await again(), 429, "the call still runs");
        assert.equal((await upstream.stats())["open"], 1);
        await new Promise((resolve) => setTimeout(resolve, 2000));
      }
      const cancelled = await eventually(
        async () => (await upstream.lastRequest()).outcome === "cancelled" && Date.now() - left,
        15_000,
      );
      t.diagnostic(`cancelled after ${cancelled} ms`);
      assert.ok(cancelled >= 24_000 && cancelled < 30_000, `${cancelled}`);
      await eventually(async () => (await again()) === 200, 5000);
      const [receipt] = await receipts(gateway, key);
      // A token for each byte of the request, the frame of the prompt, and all the output that was asked for.
      const most = (bytes + 256) * PRICES.written + 500 * PRICES.output;
      assert.deepEqual([receipt.outcome, receipt.estimated], ["client_left", true]);
      assert.equal(receipt.cost_micro_usd, most);
      await settled(gateway, name);
    },
  );

  test("callers who leave: a key without limits of money or tokens cancels the upstream at once", async () => {
    for (const stream of [true, false]) {
      await upstream.forget();
      const { key } = await issue(gateway, "place-alone");
      const simulate = stream ? { events: 1000, frame_delay_ms: 50 } : { delay_ms: 20_000 };
      await leave(key, { stream, simulate }, stream ? /"content":"tok/ : undefined);
      await eventually(async () => (await upstream.lastRequest()).outcome === "cancelled", 2000);
    }
  });

  test("callers who leave: one absurd report is charged up to a bound, and the key goes on", async () => {
    for (const stream of [true, false]) {
      for (const policy of ["money", "tokens"]) {
        const { name, key } = await issue(gateway, policy);
        const ask = async (/** @type {object} */ simulate) => {
          const response = await fetch(`${gateway.url}/v1/chat/completions`, {
            method: "POST",
            headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
            body: JSON.stringify({
              model: MODEL,
              messages: MESSAGES,
              max_tokens: 400,
              stream,
              simulate,
            }),
          });
          await response.text();
          return response.status;
        };
        assert.equal(await ask({ bill: { reported: 2 ** 40 } }), 200);
        assert.equal(await ask({ bill: {} }), 200, "the key goes on");
        await settled(gateway, name);
        const [absurd, usual] = await receipts(gateway, key);
        assert.deepEqual([absurd.capped, usual.capped], [true, false]);
        assert.equal(absurd.attempts[0].reported.completion_tokens, 2 ** 40);
        assert.equal(usual.attempts[0].reported, undefined);
        assert.ok(absurd.completion_tokens < 2 * (400 + 700), `${absurd.completion_tokens}`);
        assert.ok(absurd.cost_micro_usd > 400 * PRICES.output, `${absurd.cost_micro_usd}`);
      }
    }
  });

  test("callers who leave: a field that the gateway cannot price is rejected for a key with a budget", async () => {
    await upstream.forget();
    const money = await issue(gateway, "money");
    const tokens = await issue(gateway, "tokens");
    const free = await issue(gateway, "place-alone");
    for (const [field, body, counted] of /** @type {[string, object, boolean][]} */ ([
      ["service_tier", { service_tier: "priority" }, false],
      ["web_search_options", { web_search_options: {} }, true],
      ["modalities", { modalities: ["text", "audio"] }, true],
      ["tools", { tools: [{ type: "web_search" }] }, true],
      [
        "messages",
        { messages: [{ role: "user", content: [{ type: "file", file: { file_id: "f" } }] }] },
        true,
      ],
    ])) {
      const ask = async (/** @type {{ key: string }} */ { key }) => {
        const response = await fetch(`${gateway.url}/v1/chat/completions`, {
          method: "POST",
          headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
          body: JSON.stringify({ model: MODEL, messages: MESSAGES, max_tokens: 9, ...body }),
        });
        return { status: response.status, ...(await response.json()) };
      };
      const refused = await ask(money);
      assert.equal(refused.status, 403, `${field}: ${JSON.stringify(refused)}`);
      // Tools that a provider runs itself are beyond the policy of any key with a budget.
      const code = field === "tools" ? "field_not_allowed" : "price_unknown";
      assert.deepEqual([refused.error.code, refused.error.param], [code, field]);
      assert.equal((await ask(tokens)).status, counted ? 403 : 200, field);
      assert.equal((await ask(free)).status, 200, field);
    }
  });
});
