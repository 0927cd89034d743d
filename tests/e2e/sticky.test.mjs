// @ts-check
//! Session affinity: among equal lanes a session or a long prompt stays on one, other calls are spread.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { Gateway, Upstream, eventually } from "./harness.mjs";
import { ask, assertAnswered, configured, lane } from "./lanes.mjs";

const NAMES = ["one", "two", "three", "four"];

/** @type {Upstream} */ let upstream;

before(async () => {
  upstream = await Upstream.start();
});
after(() => upstream?.stop());

/** @param {object} [routing] */
const started = (routing = {}) =>
  Gateway.startBare(
    configured(upstream, {
      routing,
      providers: Object.fromEntries(
        NAMES.map((name) => [name, lane(upstream, name, { models: ["m"] })]),
      ),
      groups: {
        even: { models: NAMES.map((name) => `${name}/m`), weights: [1, 1, 1, 1] },
      },
    }),
  );

/**
 * The number of calls that went to each provider.
 *
 * @param {Gateway} gateway
 * @param {number} calls
 * @param {(index: number) => [object, Record<string, string>?]} call
 */
async function spread(gateway, calls, call) {
  /** @type {Map<string | null, number>} */
  const counts = new Map();
  for (let index = 0; index < calls; index += 1) {
    const answered = await ask(gateway, ...call(index));
    assertAnswered(answered, answered.content);
    assert.equal(answered.attempts, 1);
    counts.set(answered.provider, (counts.get(answered.provider) ?? 0) + 1);
  }
  return counts;
}

const session = (/** @type {string} */ id) => ({ "x-session-id": id });
/** A prompt of at least `bytes`, with a beginning of its own. */
const prompt = (/** @type {string} */ begin, /** @type {number} */ bytes) => [
  { role: "system", content: `${begin} ${"x".repeat(bytes)}` },
  { role: "user", content: "Hi" },
];

for (const model of ["auto", "even"]) {
  suite(`session affinity over four equal lanes (${model})`, () => {
    /** @type {Gateway} */ let gateway;

    before(async () => {
      gateway = await started();
    });
    after(() => gateway?.stop());

    test(`session affinity: a session stays on one lane, whole or streamed, and sessions are spread (${model})`, async (t) => {
      const counts = new Map();
      for (let id = 0; id < 24; id += 1) {
        const seen = await spread(gateway, 4, (index) => [
          { model, stream: index % 2 === 0 },
          session(`session ${id}`),
        ]);
        assert.equal(seen.size, 1, `session ${id}: ${JSON.stringify([...seen])}`);
        const [provider] = seen.keys();
        counts.set(provider, (counts.get(provider) ?? 0) + 1);
      }
      t.diagnostic(JSON.stringify([...counts]));
      assert.equal(counts.size, 4, JSON.stringify([...counts]));
    });

    test(`session affinity: prompt_cache_key identifies a session (${model})`, async () => {
      const seen = await spread(gateway, 6, () => [{ model, prompt_cache_key: "p" }]);
      assert.equal(seen.size, 1);
    });

    test(`session affinity: calls whose long prompts begin alike stay on one lane (${model})`, async () => {
      const counts = new Map();
      for (let id = 0; id < 16; id += 1) {
        const seen = await spread(gateway, 4, (index) => [
          { model, messages: prompt(`conversation ${id}`, 4100 + 1000 * index) },
        ]);
        assert.equal(seen.size, 1);
        counts.set([...seen.keys()][0], true);
      }
      assert.ok(counts.size >= 3);
    });

    test(`session affinity: short prompts are spread (${model})`, async () => {
      const counts = await spread(gateway, 60, () => [{ model, messages: prompt("", 1000) }]);
      // Of 60 draws, each of four has 15 on average; five standard deviations below are none at all.
      assert.equal(counts.size, 4);
      for (const count of counts.values()) assert.ok(count >= 3, JSON.stringify([...counts]));
    });
  });
}

test("session affinity: with routing.sticky off, sessions are spread", async () => {
  const gateway = await started({ sticky: false });
  try {
    const counts = await spread(gateway, 40, () => [{ model: "even" }, session("one")]);
    assert.equal(counts.size, 4);
  } finally {
    await gateway.stop();
  }
});

for (const model of ["auto", "even"]) {
  test(`session affinity: a session whose upstream is throttled moves, stays there and returns (${model})`, async (t) => {
    const gateway = await started();
    try {
      const headers = session("moving");
      const counts = await spread(gateway, 30, () => [{ model }, headers]);
      const [home] = /** @type {[string]} */ ([...counts.keys()]);
      assert.equal(counts.size, 1);
      // The other lanes have been called too.
      for (const name of NAMES) await spread(gateway, 15, () => [{ model: `${name}/m` }]);
      const FOR_MS = 2000;
      const began = performance.now();
      await fetch(`${upstream.url}/_throttle`, {
        method: "POST",
        body: JSON.stringify({ path: `/${home}`, for_ms: FOR_MS, retry_after: 2 }),
      });
      const moved = await ask(gateway, { model }, headers);
      assertAnswered(moved);
      assert.equal(moved.attempts, 2);
      assert.notEqual(moved.provider, home);
      while (performance.now() - began < FOR_MS - 500) {
        const answered = await ask(gateway, { model }, headers);
        assert.deepEqual([answered.provider, answered.attempts], [moved.provider, 1]);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      await eventually(async () => {
        const answered = await ask(gateway, { model }, headers);
        assertAnswered(answered);
        return answered.provider === home;
      }, 10_000);
      t.diagnostic(`back after ${Math.round(performance.now() - began)} ms`);
      const settled = await spread(gateway, 10, () => [{ model }, headers]);
      assert.deepEqual([...settled.keys()], [home]);
    } finally {
      await gateway.stop();
    }
  });
}
