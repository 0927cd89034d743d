// @ts-check
//! Attempts of a call: several provider keys, retries, the total timeout, hedging, concurrent calls, and clients that
//! disconnect.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { Gateway, KEY, Upstream, begin, eventually } from "./harness.mjs";
import { QUESTION, ask, assertAnswered, assertRefused, configured, lane, sent } from "./lanes.mjs";

/** Tolerance for time limits on a busy machine. */
const SLACK_MS = 600;

/** @type {Upstream} */ let upstream;

before(async () => {
  upstream = await Upstream.start();
});
after(() => upstream?.stop());

suite("several provider keys", () => {
  const keys = ["sk-one-1111", "sk-two-2222", "sk-three-3333"];
  const [one, two, three] = /** @type {[string, string, string]} */ (/** @type {unknown} */ (keys));
  const names = ["rejected", "spent", "throttled", "mixed", "dead", "streamed", "header"];
  /** @type {Gateway} */ let gateway;

  before(async () => {
    const providers = Object.fromEntries(
      names.map((name) => [
        name,
        {
          base_url: `${upstream.url}/${name}/v1`,
          models: ["m", "n"],
          ...(name === "header" ? { auth: "api-key" } : {}),
        },
      ]),
    );
    gateway = await Gateway.startBare({
      ...configured(upstream, {
        routing: { backoff_ms: 50 },
        providers: { ...providers, second: lane(upstream, "second", { models: ["m"] }) },
        groups: { "dead or second": { models: ["dead/m", "second/m"] } },
      }),
      ...Object.fromEntries(
        names.map((name) => [`${name.toUpperCase()}_API_KEY`, ` ${one},${two}\n${three},`]),
      ),
    });
  });
  after(() => gateway?.stop());

  /** @param {Awaited<ReturnType<typeof sent>>} requests */
  const used = (requests) =>
    requests.map(({ record }) => {
      const { authorization, "api-key": key } = record.headers;
      return authorization?.replace(/^Bearer /, "") ?? key;
    });
  /** @param {import("./lanes.mjs").Answered} answered */
  const assertNoKey = (answered) => {
    const headers = JSON.stringify([...answered.headers]);
    for (const key of keys) assert.ok(!`${answered.text}${headers}`.includes(key), key);
  };

  test("several provider keys: every key in the secret is used", async () => {
    const seen = new Set();
    for (let calls = 0; calls < 30; calls += 1) {
      const [key] = used(await sent(upstream, await ask(gateway, { model: "mixed/n" })));
      seen.add(key);
    }
    assert.deepEqual([...seen].sort(), keys.toSorted());
  });

  test("several provider keys: a session keeps its key, so that the provider's prompt cache is hit", async () => {
    const seen = new Set();
    for (let calls = 0; calls < 10; calls += 1) {
      const answered = await ask(gateway, { model: "mixed/n" }, { "x-session-id": "s" });
      seen.add(used(await sent(upstream, answered))[0]);
    }
    assert.equal(seen.size, 1);
  });

  for (const [
    provider,
    stream,
    fault,
    isOfKey,
  ] of /** @type {[string, boolean, object, boolean][]} */ ([
    ["rejected", false, { status: 401, message: `Incorrect API key: ${two}` }, true],
    ["spent", false, { status: 402 }, true],
    ["throttled", false, { status: 429, retry_after: 60 }, false],
    ["streamed", true, { status: 401 }, true],
    ["header", true, { status: 429, code: "insufficient_quota" }, true],
  ])) {
    test(`several provider keys: after two fail with ${JSON.stringify(fault).slice(1, 15)} (${provider}) the third answers and the two are in cooldown`, async () => {
      const simulate = [one, two].map((key) => ({ ...fault, when: { key } }));
      let attempts = 0;
      for (let calls = 0; calls < 20; calls += 1) {
        const answered = await ask(gateway, { model: `${provider}/m`, stream, simulate });
        assertAnswered(answered);
        assertNoKey(answered);
        assert.equal(answered.provider, provider);
        attempts += answered.attempts;
        const requests = used(await sent(upstream, answered));
        assert.equal(requests.length, answered.attempts);
        assert.equal(new Set(requests).size, requests.length, "each is called once");
        assert.equal(requests.at(-1), three);
      }
      assert.equal(attempts, 22, "each of the two was found out once");
      for (let calls = 0; calls < 10; calls += 1) {
        const answered = await ask(gateway, { model: `${provider}/m`, stream });
        assert.deepEqual(used(await sent(upstream, answered)), [three]);
      }
      // An error about the key affects every model, an error about the rate only one.
      const others = new Set();
      for (let calls = 0; calls < 20; calls += 1) {
        const answered = await ask(gateway, { model: `${provider}/n`, stream });
        others.add(used(await sent(upstream, answered))[0]);
      }
      assert.equal(others.size, isOfKey ? 1 : 3);
    });
  }

  test("several provider keys: when all are rejected the error names the secret and reveals no key", async () => {
    const simulate = { status: 401, message: `Incorrect API key: ${keys.join(" ")}` };
    const answered = await ask(gateway, { model: "dead/m", simulate });
    assertRefused(answered, 502, "upstream_credential_rejected");
    assert.match(answered.error.message, /DEAD_API_KEY/);
    assertNoKey(answered);
    assert.deepEqual(used(await sent(upstream, answered)).toSorted(), keys.toSorted());
    // Only a group has other candidates.
    const next = await ask(gateway, {
      model: "dead or second",
      simulate: { ...simulate, when: { path: "/dead" } },
    });
    assertAnswered(next);
    assert.deepEqual([next.provider, next.attempts], ["second", 1]);
  });

  test("several provider keys: no key is logged", () => {
    for (const key of keys) {
      const shown = gateway.log.filter((line) => line.includes(key));
      assert.deepEqual(shown, [], key);
    }
  });
});

suite("retries", () => {
  /** @type {Gateway} */ let gateway;
  let made = 0;
  /** A model that has not been called yet. */
  const fresh = () => `m${(made += 1)}`;
  const BACKOFF_MS = 400;

  before(async () => {
    const models = Array.from({ length: 40 }, (_, index) => `m${index + 1}`);
    const six = Array.from({ length: 6 }, (_, index) => `p${index + 1}`);
    gateway = await Gateway.startBare(
      configured(upstream, {
        routing: { backoff_ms: BACKOFF_MS },
        providers: Object.fromEntries(
          ["lone", "first", "second", ...six].map((name) => [
            name,
            lane(upstream, name, { models }),
          ]),
        ),
        groups: Object.fromEntries([
          ...models.map((id) => [`two-${id}`, { models: [`first/${id}`, `second/${id}`] }]),
          ["six", { models: six.map((name) => `${name}/m1`) }],
        ]),
      }),
    );
  });
  after(() => gateway?.stop());

  for (const stream of [false, true]) {
    const how = stream ? "stream" : "whole";
    /**
     * @param {object} simulate
     * @param {string} [id]
     */
    const first_time = (simulate, id = fresh()) =>
      ask(gateway, {
        model: `lone/${id}`,
        stream,
        simulate: { ...simulate, when: { times: 1, id: `${how}-${id}` } },
      });

    for (const simulate of [
      { status: 500 },
      { status: 429 },
      { cut: "headers" },
      { body: "malformed" },
    ]) {
      test(`retries: the only lane is retried after a jittered wait (${how}, ${JSON.stringify(simulate)})`, async () => {
        const answered = await first_time(simulate);
        assertAnswered(answered);
        assert.deepEqual([answered.provider, answered.attempts], ["lone", 2]);
        assert.ok(
          answered.ms >= BACKOFF_MS / 2 && answered.ms <= BACKOFF_MS + SLACK_MS,
          `${answered.ms} ms`,
        );
        assert.equal(answered.headers.get("x-degraded-mode"), "true");
      });
    }

    test(`retries: a short Retry-After is waited for (${how})`, async () => {
      for (const simulate of [
        { status: 429, retry_after: 1 },
        { status: 503, retry_after: 1 },
        { status: 429, retry_after_ms: 1000 },
      ]) {
        const answered = await first_time(simulate);
        assertAnswered(answered);
        assert.equal(answered.attempts, 2);
        assert.ok(answered.ms >= 1000 && answered.ms <= 1000 + SLACK_MS, `${answered.ms} ms`);
      }
    });

    test(`retries: a long Retry-After is returned to the caller without waiting (${how})`, async () => {
      const id = fresh();
      const answered = await first_time({ status: 429, retry_after: 60 }, id);
      assertRefused(answered, 429);
      assert.equal(answered.headers.get("retry-after"), "60");
      assert.equal(answered.attempts, 1);
      assert.ok(answered.ms < SLACK_MS, `${answered.ms} ms`);
      // Only its provider can decide that, and no other provider could respond.
      assertAnswered(await ask(gateway, { model: `lone/${id}`, stream }));
    });

    test(`retries: errors that cannot change (402, 403, 404) are not retried (${how})`, async () => {
      for (const simulate of [{ status: 403 }, { status: 404 }, { status: 402 }]) {
        const provider = simulate.status === 402 ? "p6" : "lone";
        const model = `${provider}/${fresh()}`;
        const answered = await ask(gateway, { model, stream, simulate });
        assertRefused(answered, simulate.status);
        assert.equal(answered.attempts, 1);
      }
    });
  }

  test("retries: the only lane is called twice at most", async () => {
    const answered = await ask(gateway, { model: `lone/${fresh()}`, simulate: { status: 500 } });
    assertRefused(answered, 500);
    assert.equal((await sent(upstream, answered)).length, 2);
  });

  test("retries: of six failing lanes only routing.max_attempts are called", async () => {
    const answered = await ask(gateway, { model: "six", simulate: { status: 500 } });
    assertRefused(answered, 500);
    assert.equal(answered.attempts, 4);
    const requests = await sent(upstream, answered);
    assert.deepEqual(
      requests.map(({ to }) => to),
      ["p1", "p2", "p3", "p4"],
    );
    // The next call starts with the lanes without failures.
    const next = await ask(gateway, { model: "six", simulate: { status: 500 } });
    const others = (await sent(upstream, next)).map(({ to }) => to);
    assert.deepEqual(others.slice(0, 2), ["p5", others[1]]);
  });

  test("retries: while every lane is in a cooldown named by its provider, 503 and Retry-After are returned without a call", async () => {
    const model = `two-${fresh()}`;
    const simulate = { status: 429, retry_after: 60 };
    const first = await ask(gateway, { model, simulate });
    assertRefused(first, 429);
    assert.equal(first.attempts, 2);
    const second = await ask(gateway, { model });
    assertRefused(second, 503, "no_candidate");
    const wait = Number(second.headers.get("retry-after"));
    assert.ok(wait > 50 && wait <= 60, `${wait}`);
    assert.deepEqual(await sent(upstream, second), []);
    assert.deepEqual([second.provider, second.attempts], [null, 0]);
    assert.ok(second.ms < SLACK_MS);
  });

  test("retries: while every lane is in a short cooldown, the call waits for the first that is available", async () => {
    const model = `two-${fresh()}`;
    const throttled = (/** @type {string} */ path, /** @type {number} */ retry_after) => ({
      status: 429,
      retry_after,
      when: { path },
    });
    const simulate = [throttled("/first", 30), throttled("/second", 2)];
    const failed = ask(gateway, { model, simulate });
    // The call itself waits; another one that arrives meanwhile waits too.
    await new Promise((resolve) => setTimeout(resolve, 500));
    const answered = await ask(gateway, { model });
    assertAnswered(answered);
    assert.deepEqual([answered.provider, answered.attempts], ["second", 1]);
    assert.ok(answered.ms >= 1000 && answered.ms <= 1500 + SLACK_MS, `${answered.ms} ms`);
    assertRefused(await failed, 429);
  });
});

suite("total timeout", () => {
  /** @type {Gateway} */ let gateway;
  const BUDGET_MS = 2000;
  const faults = /** @type {[string, object, boolean][]} */ ([
    ["that send no status line", { hang: "headers" }, false],
    ["that send no status line", { hang: "headers" }, true],
    ["that send headers and nothing more", { hang: "body" }, false],
    ["that send headers and nothing more", { hang: "body" }, true],
    ["that send the role and nothing more", { hang: "stream", after_events: 1 }, true],
    ["that send comments only", { comments_ms: 20_000 }, true],
    ["that drip a response", { content_bytes: 1000, drip_ms: 500, no_content_length: true }, false],
  ]);

  before(async () => {
    const models = faults.map((_, index) => `m${index}`);
    const names = ["first", "second", "third"];
    gateway = await Gateway.startBare(
      configured(upstream, {
        timeouts: { total_ms: BUDGET_MS, first_byte_ms: 900, stall_ms: 900, idle_ms: 60_000 },
        providers: Object.fromEntries(
          names.map((name) => [name, lane(upstream, name, { models })]),
        ),
        groups: Object.fromEntries(
          models.map((id) => [id, { models: names.map((name) => `${name}/${id}`) }]),
        ),
      }),
    );
  });
  after(() => gateway?.stop());

  for (const [index, [name, simulate, stream]] of faults.entries()) {
    test(`total timeout: ends calls to upstreams ${name} (${stream ? "stream" : "whole"})`, async (t) => {
      const answered = await ask(gateway, { model: `m${index}`, stream, simulate });
      t.diagnostic(`${Math.round(answered.ms)} ms, ${answered.attempts} attempts`);
      assertRefused(answered, 504, "upstream_timeout");
      assert.ok(answered.ms >= 1700 && answered.ms <= BUDGET_MS + SLACK_MS, `${answered.ms} ms`);
      await eventually(async () =>
        (await sent(upstream, answered)).every(({ record }) => record.outcome === "cancelled"),
      );
    });
  }
});

suite("hedging", () => {
  /** @type {Gateway} */ let gateway;
  const SLOW_MS = 3000;
  const slow = { delay_ms: SLOW_MS, when: { path: "/first" } };

  before(async () => {
    const models = ["a", "b", "c", "d", "e", "f"];
    gateway = await Gateway.startBare(
      configured(upstream, {
        routing: { hedge_ms: 200, backoff_ms: 50 },
        providers: {
          first: lane(upstream, "first", { models }),
          second: lane(upstream, "second", { models }),
          charging: lane(upstream, "first-charging", { models, cancel_stops_billing: false }),
          stopping: lane(upstream, "first-stopping", { models, cancel_stops_billing: true }),
        },
        groups: {
          ...Object.fromEntries(
            models.map((id) => [id, { models: [`first/${id}`, `second/${id}`] }]),
          ),
          charged: { models: ["charging/a", "second/a"] },
          "charged second": { models: ["first/d", "charging/d"] },
          stopped: { models: ["stopping/a", "second/a"] },
        },
      }),
    );
  });
  after(() => gateway?.stop());

  for (const [model, what, simulate] of /** @type {[string, string, object][]} */ ([
    ["a", "no status line", slow],
    ["b", "headers and nothing more", { ...slow, delay_ms: 0, hang: "body" }],
    ["c", "comments only", { ...slow, delay_ms: 0, comments_ms: SLOW_MS }],
    ["stopped", "no status line, where cancelling is known to be free", slow],
  ])) {
    test(`hedging: a second upstream answers when the first sends ${what}, and the first is cancelled`, async (t) => {
      const answered = await ask(gateway, { model, stream: true, simulate });
      t.diagnostic(`${Math.round(answered.ms)} ms`);
      assertAnswered(answered);
      assert.deepEqual([answered.provider, answered.attempts], ["second", 2]);
      assert.ok(answered.ms >= 200 && answered.ms < 200 + SLACK_MS, `${answered.ms} ms`);
      await eventually(async () => {
        const [first, second] = await sent(upstream, answered);
        return first?.record.outcome === "cancelled" && second?.record.outcome === "completed";
      }, 1000);
    });
  }

  test("hedging: no second call if either upstream would bill the cancelled call", async () => {
    const charged = await ask(gateway, { model: "charged", stream: true, simulate: slow });
    assertAnswered(charged);
    assert.deepEqual([charged.provider, charged.attempts], ["charging", 1]);
    assert.ok(charged.ms >= SLOW_MS);
    const other = await ask(gateway, {
      model: "charged second",
      stream: true,
      simulate: { ...slow, delay_ms: 1000 },
    });
    assert.deepEqual([other.provider, other.attempts], ["first", 1]);
  });

  test("hedging: no second call for a whole response or a fast stream", async () => {
    const whole = await ask(gateway, { model: "e", simulate: { ...slow, delay_ms: 1000 } });
    assertAnswered(whole);
    assert.deepEqual([whole.provider, whole.attempts], ["first", 1]);
    const fast = { frame_delay_ms: 60, when: { path: "/first" } };
    const streamed = await ask(gateway, { model: "e", stream: true, simulate: fast });
    assertAnswered(streamed);
    assert.ok(streamed.ms > 200, "its end came later than the second would have been asked");
    assert.deepEqual([streamed.provider, streamed.attempts], ["first", 1]);
  });

  test("hedging: a failing second call does not affect the first", async () => {
    const answered = await ask(gateway, {
      model: "f",
      stream: true,
      simulate: [
        { delay_ms: 1000, when: { path: "/first" } },
        { status: 500, when: { path: "/second" } },
      ],
    });
    assertAnswered(answered);
    assert.deepEqual([answered.provider, answered.attempts], ["first", 2]);
  });

  test("hedging: when both calls fail the caller gets a typed error", async () => {
    const answered = await ask(gateway, {
      model: "d",
      stream: true,
      simulate: [
        { delay_ms: 600, status: 403, when: { path: "/first" } },
        { status: 403, when: { path: "/second" } },
      ],
    });
    assertRefused(answered, 403);
  });
});

suite("concurrent calls", () => {
  for (const stream of [false, true]) {
    test(`concurrent calls: forty calls whose first upstream fails each get their own response from the second (${stream ? "stream" : "whole"})`, async () => {
      const gateway = await Gateway.startBare(
        configured(upstream, {
          providers: {
            first: lane(upstream, "first", { models: ["m"] }),
            second: lane(upstream, "second", { models: ["m"] }),
          },
          groups: { both: { models: ["first/m", "second/m"] } },
        }),
      );
      try {
        const faults = [
          { status: 500 },
          { cut: "headers" },
          { delay_ms: 100, status: 429 },
          { body: "malformed" },
        ];
        const calls = Array.from({ length: 40 }, (_, index) => ({
          content: `call ${index}`,
          simulate: { ...faults[index % faults.length], when: { path: "/first" } },
        }));
        const answers = await Promise.all(
          calls.map(({ content, simulate }) =>
            ask(gateway, {
              model: "both",
              stream,
              simulate,
              messages: [{ role: "user", content }],
            }),
          ),
        );
        for (const [index, answered] of answers.entries()) {
          assertAnswered(answered, `You said: call ${index}`);
          assert.equal(answered.provider, "second");
          assert.equal((await sent(upstream, answered)).length, answered.attempts);
        }
        const later = await ask(gateway, { model: "both", stream });
        assert.deepEqual([later.provider, later.attempts], ["second", 1]);
        assert.ok(!gateway.log.join("\n").match(/panicked|Critical|RuntimeError|hung|Uncaught/i));
      } finally {
        await gateway.stop();
      }
    });
  }
});

suite("clients that leave", () => {
  /** @type {Gateway} */ let gateway;
  let made = 0;

  before(async () => {
    const models = Array.from({ length: 20 }, (_, index) => `m${index + 1}`);
    gateway = await Gateway.startBare(
      configured(upstream, {
        routing: { hedge_ms: 300 },
        providers: Object.fromEntries(
          ["lone", "first", "second"].map((name) => [name, lane(upstream, name, { models })]),
        ),
        groups: Object.fromEntries(
          models.map((id) => [id, { models: [`first/${id}`, `second/${id}`] }]),
        ),
      }),
    );
  });
  after(() => gateway?.stop());

  /**
   * Sends a call and resets the connection some time later.
   *
   * @param {object} body
   * @param {number} ms
   */
  async function leave(body, ms) {
    const tag = `leaving-${(made += 1)}`;
    const messages = [{ role: "user", content: QUESTION }];
    const { socket } = await begin(gateway, KEY, { messages, user: tag, ...body });
    await new Promise((resolve) => setTimeout(resolve, ms));
    socket.resetAndDestroy();
    return () => sent(upstream, /** @type {import("./lanes.mjs").Answered} */ ({ tag }));
  }

  /** @param {() => ReturnType<typeof sent>} requests */
  const outcomes = async (requests) => (await requests()).map(({ record }) => record.outcome);

  test("clients that leave: a disconnect during the wait for a retry prevents the retry", async () => {
    const simulate = { status: 429, retry_after: 2 };
    const requests = await leave({ model: "lone/m1", simulate }, 500);
    const log = gateway.log.length;
    await eventually(
      () => gateway.log.slice(log).some((line) => line.includes("client_left")),
      1000,
    );
    await new Promise((resolve) => setTimeout(resolve, 2500));
    assert.deepEqual(await outcomes(requests), ["completed"]);
  });

  for (const [index, [what, simulate]] of /** @type {[string, object][]} */ ([
    ["nothing", { hang: "body" }],
    ["the role", { hang: "stream", after_events: 1 }],
    ["comments", { comments_ms: 20_000 }],
  ]).entries()) {
    test(`clients that leave: a disconnect cancels the upstream of a held stream that has sent ${what}`, async () => {
      const model = `lone/m${index + 2}`;
      const requests = await leave({ model, stream: true, simulate }, 300);
      await eventually(async () => (await outcomes(requests)).join() === "cancelled", 2000);
      const next = await ask(gateway, { model, stream: true });
      assertAnswered(next);
      assert.equal(next.attempts, 1, "it speaks against nobody");
    });
  }

  test("clients that leave: a disconnect while two upstreams are called cancels both", async () => {
    const requests = await leave(
      { model: "m10", stream: true, simulate: { hang: "headers" } },
      800,
    );
    await eventually(async () => (await outcomes(requests)).join() === "cancelled,cancelled", 2000);
  });

  test("clients that leave: a disconnect during the second attempt cancels it and no other lane is called", async () => {
    const simulate = [{ status: 500, when: { path: "/first" } }, { hang: "headers" }];
    const requests = await leave({ model: "m11", simulate }, 500);
    await eventually(async () => (await outcomes(requests)).join() === "completed,cancelled", 2000);
  });
});
