// @ts-check
//! Lane health: the reports, sharing among isolates through the `ProviderHealth` object, and a gateway without that object.

import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, suite, test } from "node:test";
import { Gateway, KEY, Upstream, freshState, call } from "./harness.mjs";
import { Isolates } from "./isolates.mjs";
import { QUESTION, ask, assertAnswered, configured, lane, sent } from "./lanes.mjs";

const ISOLATES = 10;
/** The guaranteed delay of health updates among isolates, and the tolerance for clocks and polling. */
const BOUND_MS = 2000;
const GRANULARITY_MS = 150;

/** @type {Upstream} */ let upstream;

before(async () => {
  upstream = await Upstream.start();
});
after(() => upstream?.stop());

const MODELS = ["a", "b", "c", "d", "e", "f"];

const variables = () =>
  configured(upstream, {
    providers: {
      first: lane(upstream, "first", { models: MODELS }),
      second: lane(upstream, "second", { models: MODELS }),
      limited: { base_url: `${upstream.url}/limited/v1`, models: ["m"] },
    },
    groups: Object.fromEntries(
      MODELS.map((id) => [id, { models: [`first/${id}`, `second/${id}`] }]),
    ),
    models: { "first/f": { requests_per_day: 2 } },
  });

/**
 * @param {Gateway} gateway
 * @param {string} path
 */
async function get(gateway, path) {
  const response = await call(`${gateway.url}${path}`);
  assert.equal(response.status, 200);
  return response.json();
}

/** @param {unknown} value */
const isCount = (value) => Number.isInteger(value) && Number(value) >= 0;
/** @param {unknown} value */
const isShare = (value) => typeof value === "number" && value >= 0 && value <= 1;

suite("health reports", () => {
  /** @type {Gateway} */ let gateway;

  before(async () => {
    gateway = await Gateway.start(variables());
  });
  after(() => gateway?.stop());

  const HEALTH = [
    "attempts",
    "avg_latency_ms",
    "cooldown_reason",
    "cooldown_until",
    "daily_limit",
    "daily_used",
    "headroom",
    "key",
    "p90_latency_ms",
    "p99_latency_ms",
    "success_rate",
  ];
  const ROW = [
    "avg_latency_ms",
    "cooldown_until",
    "daily_limit",
    "daily_used",
    "headroom",
    "id",
    "model",
    "native_reasoning",
    "p90_latency_ms",
    "p99_latency_ms",
    "provider",
    "rank",
    "reasoning",
    "reasons",
    "status",
    "success_rate",
  ];

  test("health reports: before any call every field is present and no lane has data", async () => {
    assert.deepEqual((await get(gateway, "/health")).models, []);
    assert.deepEqual(await get(gateway, "/v1/stats/providers"), {
      stats: [],
      quotas: {},
      latency: { p50_ms: null, p95_ms: null },
    });
    const status = await get(gateway, "/v1/routing/status");
    assert.deepEqual(Object.keys(status).sort(), [
      "fallback_order",
      "generated_at",
      "ok",
      "providers",
      "summary",
    ]);
    assert.equal(status.ok, true);
    assert.ok(Math.abs(Date.parse(status.generated_at) - Date.now()) < 5000);
    assert.deepEqual(status.summary, {
      configured_models: 12,
      available_models: 12,
      degraded_models: 0,
      cooldown_models: 0,
      exhausted_models: 0,
      fallback_ready: true,
      top_provider: "first",
    });
    assert.deepEqual(Object.keys(status.providers), ["first", "second"]);
    assert.equal(status.providers.first.configured_models, 6);
    for (const [index, row] of status.fallback_order.entries()) {
      assert.deepEqual(Object.keys(row).sort(), ROW);
      assert.deepEqual([row.rank, row.status], [index + 1, "available"]);
      assert.deepEqual(row.reasons, ["no_health_data_yet"]);
      assert.deepEqual([row.success_rate, row.headroom, row.avg_latency_ms], [0.5, 1, 1500]);
    }
  });

  test("health reports: after calls they show the outcomes", async () => {
    for (let calls = 0; calls < 3; calls += 1) await ask(gateway, { model: "a" });
    await ask(gateway, { model: "a", stream: true });
    const throttled = { status: 429, retry_after: 30, when: { path: "/first" } };
    assertAnswered(await ask(gateway, { model: "b", simulate: throttled }));
    await ask(gateway, { model: "first/c", simulate: { status: 400 } });
    await ask(gateway, { model: "first/c", simulate: { status: 400, code: "content_filter" } });
    await ask(gateway, { model: "first/d", simulate: { status: 403 } });
    await ask(gateway, { model: "first/not listed" });
    for (let calls = 0; calls < 3; calls += 1) await ask(gateway, { model: "f" });

    const { models } = await get(gateway, "/health");
    const health = new Map(models.map((/** @type {any} */ row) => [row.key, row]));
    assert.deepEqual(
      [...health.keys()],
      [
        "first:a",
        "first:b",
        "first:c",
        "first:d",
        "first:f",
        "first:other",
        "second:b",
        "second:f",
      ],
    );
    for (const row of models) {
      assert.deepEqual(Object.keys(row).sort(), HEALTH);
      assert.ok(isCount(row.attempts) && isShare(row.success_rate) && isShare(row.headroom));
      assert.ok(isCount(row.daily_used) && row.avg_latency_ms >= 0);
    }
    const a = health.get("first:a");
    assert.deepEqual([a.attempts, a.success_rate, a.cooldown_until, a.daily_used], [4, 1, 0, 4]);
    const b = health.get("first:b");
    assert.deepEqual([b.attempts, b.success_rate, b.cooldown_reason], [1, 0, "throttled"]);
    assert.ok(b.cooldown_until > Date.now() + 20_000 && b.cooldown_until < Date.now() + 31_000);
    assert.deepEqual(
      [health.get("first:c").success_rate, health.get("first:c").cooldown_until],
      [1, 0],
    );
    assert.equal(health.get("first:d").cooldown_reason, "forbidden");
    const f = health.get("first:f");
    assert.deepEqual(
      [f.daily_used, f.daily_limit, f.headroom, f.cooldown_reason],
      [2, 2, 0, "daily_limit_used_up"],
    );

    const { stats, latency } = await get(gateway, "/v1/stats/providers");
    assert.ok(latency.p50_ms > 0 && latency.p50_ms <= latency.p95_ms, JSON.stringify(latency));
    assert.deepEqual(
      stats.map((/** @type {any} */ one) => one.provider),
      ["first", "second"],
    );
    const [first] = stats;
    assert.deepEqual(Object.keys(first).sort(), [
      "active_models",
      "avg_attempts_before_first_throttle",
      "avg_latency_ms",
      "cancel_stops_billing",
      "cooldown_events",
      "failure_breakdown",
      "models_in_cooldown",
      "p50_latency_ms",
      "p90_latency_ms",
      "p99_latency_ms",
      "provider",
      "success_rate",
      "throttle_count",
      "throttle_rate",
      "throttle_spacing_p50",
      "total_attempts",
      "total_models",
    ]);
    assert.deepEqual(
      [first.total_models, first.active_models, first.total_attempts, first.throttle_count],
      [6, 6, 11, 1],
    );
    assert.deepEqual(first.failure_breakdown, {
      safety_refusal: 1,
      usage_retriable: 1,
      input_nonretriable: 1,
      provider_fatal: 1,
    });
    // One is throttled, one is forbidden, one has used up its day.
    assert.deepEqual([first.cooldown_events, first.models_in_cooldown], [2, 3]);

    const status = await get(gateway, "/v1/routing/status");
    const rows = new Map(status.fallback_order.map((/** @type {any} */ row) => [row.id, row]));
    assert.deepEqual(
      [rows.get("first/b").status, rows.get("first/b").reasons[0]],
      ["cooldown", "in_cooldown"],
    );
    assert.deepEqual(
      [rows.get("first/f").status, rows.get("first/f").reasons],
      ["exhausted", ["daily_headroom_exhausted"]],
    );
    assert.deepEqual(
      [rows.get("first/a").status, rows.get("first/a").reasons],
      ["available", ["healthy"]],
    );
    const last = status.fallback_order.slice(-3).map((/** @type {any} */ row) => row.id);
    assert.deepEqual(last.toSorted(), ["first/b", "first/d", "first/f"]);
    assert.deepEqual([status.summary.cooldown_models, status.summary.exhausted_models], [2, 1]);
  });

  test("health reports: rate limits named by a provider are shown and respected", async () => {
    const limited = await Gateway.startBare({ ...variables(), LIMITED_API_KEY: "k1" });
    try {
      const reset = (/** @type {number} */ remaining) => ({
        headers: {
          "x-ratelimit-limit-requests": "60",
          "x-ratelimit-remaining-requests": `${remaining}`,
          "x-ratelimit-reset-requests": "30s",
        },
        when: { path: "/limited" },
      });
      const model = "limited/m";
      const models = ["second/a"];
      await ask(limited, { model, models, simulate: reset(6) });
      const { quotas } = await get(limited, "/v1/stats/providers");
      const [quota] = quotas.limited;
      assert.deepEqual(
        [quota.resource, quota.window, quota.limit, quota.remaining],
        ["requests", "minute", 60, 6],
      );
      assert.ok(Date.parse(quota.resets_at) > Date.now() + 25_000);
      assert.equal((await get(limited, "/health")).models[0].headroom, 0.1);
      // Once a second is often enough to read it.
      await sleep(1100);
      assertAnswered(await ask(limited, { model, models, simulate: reset(0) }));
      const next = await ask(limited, { model, models });
      assert.deepEqual([next.provider, next.attempts], ["second", 1]);
      const [row] = (await get(limited, "/health")).models;
      assert.deepEqual(
        [row.key, row.headroom, row.cooldown_reason],
        ["limited:m", 0, "limit_used_up"],
      );
    } finally {
      await limited.stop();
    }
  });

  test("health reports: are public and allow GET and HEAD only", async () => {
    for (const path of ["/v1/routing/status", "/v1/stats/providers"]) {
      const headers = { authorization: "Bearer wrong" };
      assert.equal((await fetch(`${gateway.url}${path}`, { headers })).status, 200);
      const posted = await fetch(`${gateway.url}${path}`, { method: "POST" });
      assert.ok([401, 405].includes(posted.status), `${posted.status}`);
      const head = await fetch(`${gateway.url}${path}`, { method: "HEAD" });
      assert.deepEqual([head.status, await head.text()], [200, ""]);
    }
  });
});

suite(`shared health of ${ISOLATES} isolates`, () => {
  /** @type {Isolates} */ let isolates;

  before(async () => {
    isolates = await Isolates.start(ISOLATES, variables());
  });
  after(() => isolates?.stop());

  /** @param {string} model */
  const warm = (model) =>
    Promise.all(
      isolates.gateways.map(async (gateway) => {
        const answered = await ask(gateway, { model });
        assert.deepEqual([answered.provider, answered.attempts], ["first", 1]);
      }),
    );
  /**
   * Makes one isolate discover that the first provider of a group is throttled.
   *
   * @param {number} index
   * @param {string} model
   * @param {number} retry_after in seconds
   */
  const findOut = async (index, model, retry_after) => {
    const simulate = { status: 429, retry_after, when: { path: "/first" } };
    const answered = await ask(isolates.at(index), { model, simulate });
    assertAnswered(answered);
    assert.deepEqual([answered.provider, answered.attempts], ["second", 2]);
    return performance.now();
  };

  test("shared health: a cooldown found by one busy isolate is known to all within the bound", async (t) => {
    await warm("a");
    const RETRY_AFTER_MS = 5000;
    const sent = performance.now();
    const began = await findOut(0, "a", RETRY_AFTER_MS / 1000);
    const learned = await Promise.all(
      isolates.gateways.slice(1).map(async (gateway) => {
        for (;;) {
          const at = performance.now() - began;
          // Uses the same health view as a call, without observations of its own.
          const response = await call(`${gateway.url}/v1/routing/explain`, {
            method: "POST",
            headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
            body: JSON.stringify({ model: "a", messages: [{ role: "user", content: QUESTION }] }),
          });
          const { attempts } = await response.json();
          if (attempts[0].id === "second/a") return Math.round(at);
          assert.ok(at <= BOUND_MS + GRANULARITY_MS, `not known after ${at} ms`);
          await sleep(20);
        }
      }),
    );
    t.diagnostic(`known after at most ${Math.max(...learned)} ms (${learned.join(", ")})`);

    // Until the time that the provider named, no isolate sends it anything; then all do again.
    const back = await Promise.all(
      isolates.gateways.map(async (gateway) => {
        for (;;) {
          const now = performance.now();
          const answered = await ask(gateway, { model: "a" });
          assertAnswered(answered);
          assert.equal(answered.attempts, 1);
          if (answered.provider === "first") return Math.round(now - sent);
          assert.ok(now - began < RETRY_AFTER_MS + 500, `still away after ${now - began} ms`);
          await sleep(50);
        }
      }),
    );
    t.diagnostic(`back after ${back.join(", ")} ms`);
    for (const ms of back) assert.ok(ms > RETRY_AFTER_MS - 100, `${ms}`);
  });

  test("shared health: an idle isolate knows of a cooldown at its first call after the bound", async (t) => {
    await warm("b");
    // For every isolate: a response after the rejection would rightly end the cooldown.
    const throttle = { path: "/first", for_ms: 30_000, retry_after: 30 };
    await fetch(`${upstream.url}/_throttle`, { method: "POST", body: JSON.stringify(throttle) });
    try {
      const found = await ask(isolates.at(3), { model: "b" });
      const began = performance.now();
      assert.deepEqual([found.provider, found.attempts], ["second", 2]);
      const early = [];
      for (const [index, gateway] of isolates.gateways.entries()) {
        if (index === 3) continue;
        // Each is called once, so it knows only what other isolates have shared.
        const at = index < 3 ? 600 * index : BOUND_MS + 50 * index;
        await sleep(Math.max(0, at - (performance.now() - began)));
        const after = performance.now() - began;
        const answered = await ask(gateway, { model: "b" });
        assertAnswered(answered);
        if (answered.attempts > 1) early.push(Math.round(after));
      }
      t.diagnostic(`sent to the first provider after ${early.join(", ") || "no"} ms`);
      for (const ms of early) assert.ok(ms < BOUND_MS + GRANULARITY_MS, `${ms}`);
    } finally {
      await fetch(`${upstream.url}/_throttle`, { method: "DELETE" });
    }
  });

  test("shared health: attempts of all isolates are counted together", async () => {
    await Promise.all(isolates.gateways.map((gateway) => ask(gateway, { model: "first/c" })));
    await sleep(BOUND_MS + 500);
    for (const index of [0, 5, 9]) {
      const { models } = await get(isolates.at(index), "/health");
      const row = models.find((/** @type {any} */ one) => one.key === "first:c");
      assert.equal(row?.attempts, ISOLATES, JSON.stringify(row));
    }
  });

  test("shared health: a failure seen by all isolates at once counts as one failure", async () => {
    const simulate = { status: 500, when: { path: "/first" } };
    const answers = await Promise.all(
      isolates.gateways.map((gateway) => ask(gateway, { model: "d", simulate })),
    );
    for (const answered of answers) assertAnswered(answered);
    await sleep(BOUND_MS);
    // Two seconds, and a fifth more at most: had each counted for itself, it would be minutes.
    await sleep(800);
    const [row] = (await get(isolates.at(7), "/health")).models.filter(
      (/** @type {any} */ one) => one.key === "first:d",
    );
    assert.ok(row.cooldown_until < Date.now(), JSON.stringify(row));
    assert.equal((await ask(isolates.at(7), { model: "d" })).provider, "first");
  });
});

suite("health without the ProviderHealth object", () => {
  test("health: a gateway without the ProviderHealth object uses its own view and loses no time", async () => {
    const gateway = await Gateway.startBare(variables());
    try {
      const simulate = { status: 429, retry_after: 2, when: { path: "/first" } };
      const first = await ask(gateway, { model: "a", simulate });
      assertAnswered(first);
      assert.equal(first.attempts, 2);
      for (let calls = 0; calls < 10; calls += 1) {
        const answered = await ask(gateway, { model: "a" });
        assert.deepEqual([answered.provider, answered.attempts], ["second", 1]);
        assert.ok(answered.ms < 200, `${answered.ms} ms`);
      }
      const { models } = await get(gateway, "/health");
      assert.equal(models[0].cooldown_reason, "throttled");
      await sleep(2100);
      assert.equal((await ask(gateway, { model: "a" })).provider, "first");
    } finally {
      await gateway.stop();
    }
  });

  for (const [what, health] of [
    ["does not answer", "fetch() { return new Promise(() => {}); }"],
    ["fails", 'fetch() { throw new Error("out of order"); }'],
    ["returns nonsense", 'fetch() { return new Response("{}]"); }'],
  ]) {
    test(`health: a gateway whose ProviderHealth object ${what} uses its own view and waits for it half a second at most`, async (t) => {
      const other = `export class ProviderHealth { ${health} }`;
      const isolates = await Isolates.start(1, variables(), { ProviderHealth: other });
      try {
        const gateway = isolates.at(0);
        const simulate = { status: 429, retry_after: 60, when: { path: "/first" } };
        const first = await ask(gateway, { model: "a", simulate });
        assertAnswered(first);
        assert.ok(first.ms < 1500, `${first.ms} ms`);
        const times = [];
        for (let calls = 0; calls < 20; calls += 1) {
          const answered = await ask(gateway, { model: "a" });
          assert.deepEqual([answered.provider, answered.attempts], ["second", 1]);
          times.push(Math.round(answered.ms));
          await sleep(250);
        }
        t.diagnostic(`calls took ${times.join(", ")} ms`);
        assert.ok(Math.max(...times) < 700);
        assert.ok(times.filter((ms) => ms > 300).length <= 4, "only every two seconds");
      } finally {
        await isolates.stop();
      }
    });
  }

  test("health: a restarted gateway remembers cooldowns", async () => {
    const state = await freshState();
    try {
      const before = await Gateway.start(variables(), [], state);
      const simulate = { status: 429, retry_after: 120, when: { path: "/first" } };
      assertAnswered(await ask(before, { model: "a", simulate }));
      // The health view is stored every five seconds.
      await sleep(6500);
      await before.stop();
      const again = await Gateway.start(variables(), [], state);
      try {
        const answered = await ask(again, { model: "a" });
        assert.deepEqual([answered.provider, answered.attempts], ["second", 1]);
        assert.equal((await sent(upstream, answered)).length, 1);
      } finally {
        await again.stop();
      }
    } finally {
      await rm(state, { recursive: true, force: true });
    }
  });
});
