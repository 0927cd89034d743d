// @ts-check
//! What an operator changes about an issued key holds for calls that have begun and have not been sent: calls with a
//! slow body, calls that go on after a failed attempt, calls that wait, and hedges.

import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, suite, test } from "node:test";
import { Upstream, atOnce, chat, eventually, operate, variables } from "./harness.mjs";
import { Isolates } from "./isolates.mjs";
import { lane } from "./lanes.mjs";
import { issue } from "./ledgers.mjs";

/** @typedef {import("./harness.mjs").Gateway} Gateway */

/** The guaranteed delay of a change, and the tolerance for clocks. */
const BOUND_MS = 10_000;
const GRANULARITY_MS = 300;
/** The delay before the first upstream fails or answers: the time for a change. */
const ATTEMPT_MS = 1_500;

/** The first upstream of each test of failover: it is in cooldown after its test. */
const FIRST = Array.from({ length: 7 }, (_, index) => `first-${index}`);

const BODY = JSON.stringify({
  model: "demo/sim-small",
  messages: [{ role: "user", content: "Hi" }],
});

/** @type {Upstream} */ let upstream;
/** @type {Isolates} */ let isolates;

before(async () => {
  upstream = await Upstream.start();
  const { GATEWAY_CONFIG = "{}", ...others } = variables(upstream);
  const config = JSON.parse(GATEWAY_CONFIG);
  const usual = (/** @type {string} */ name) =>
    lane(upstream, name, { models: ["m"], cancel_stops_billing: true });
  isolates = await Isolates.start(2, {
    ...others,
    GATEWAY_CONFIG: JSON.stringify({
      ...config,
      routing: { retries: 1, backoff_ms: 2 * ATTEMPT_MS, hedge_ms: ATTEMPT_MS },
      providers: {
        ...config.providers,
        ...Object.fromEntries(FIRST.map((name) => [name, usual(name)])),
        second: usual("second"),
      },
      groups: Object.fromEntries(
        FIRST.map((name) => [`${name} or second`, { models: [`${name}/m`, "second/m"] }]),
      ),
      policies: {
        wide: { limits: { requests_per_minute: 1000 } },
        tight: { limits: { requests_per_minute: 1 } },
      },
    }),
  });
});
after(() => Promise.all([isolates?.stop(), upstream?.stop()]));

/**
 * Begins a call whose body is sent later.
 *
 * @param {Gateway} gateway
 * @param {string} key
 * @param {string} [path]
 * @returns {(body?: string) => Promise<string>} sends the rest; returns the status, and the code of an error
 */
function begin(gateway, key, path = "/v1/chat/completions") {
  const sent = request(`${gateway.url}${path}`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${key}`,
      "content-type": "application/json",
      "content-length": `${BODY.length}`,
    },
  });
  const responded = once(sent, "response");
  sent.on("error", () => {});
  responded.catch(() => {});
  sent.write(BODY.slice(0, 10));
  return async () => {
    sent.end(BODY.slice(10));
    const [response] = await responded;
    let text = "";
    for await (const chunk of response.setEncoding("utf8")) text += chunk;
    if (response.statusCode === 401) assert.match(response.headers["www-authenticate"], /^Bearer/);
    return outcome(response.statusCode, text);
  };
}

/**
 * @param {number} status
 * @param {string} text
 */
const outcome = (status, text) =>
  status === 200 ? "200" : `${status} ${JSON.parse(text).error.code}`;

/**
 * @param {string} name
 * @param {string} [action]
 */
const keyPath = (name, action = "") => `/v0/api_keys/${name}${action}`;

/** @type {[what: string, expected: string, change: [method: string, action: string, body?: object]][]} */
const CHANGES = [
  ["revoked", "401 invalid_api_key", ["DELETE", ""]],
  ["disabled", "401 api_key_disabled", ["PATCH", "", { disabled: true }]],
  ["rotated", "401 invalid_api_key", ["POST", "/rotate", { overlap_seconds: 0 }]],
  ["without-model", "403 model_not_allowed", ["PATCH", "", { models: ["second/*"] }]],
  [
    "without-endpoint",
    "403 endpoint_not_allowed",
    ["PATCH", "", { endpoints: ["/v1/embeddings"] }],
  ],
  ["renamed", "200", ["PATCH", "", { metadata: { note: "nothing else" } }]],
];

suite("calls with a slow body", () => {
  test("permission: a call whose body comes after the bound is not sent with a key that was revoked, disabled or narrowed", async () => {
    await upstream.forget();
    const keys = await Promise.all(CHANGES.map(([what]) => issue(isolates.at(0), `slow-${what}`)));
    for (const { key } of keys) {
      const warm = await chat(isolates.at(1), {}, { authorization: `Bearer ${key}` });
      assert.equal(warm.status, 200, await warm.text());
    }
    const calls = await Promise.all(
      keys.map(({ key }) => atOnce(5, async () => begin(isolates.at(1), key))),
    );
    const explained = keys.map(({ key }) => begin(isolates.at(1), key, "/v1/routing/explain"));
    // The heads have arrived, and each key has been checked.
    await sleep(500);
    for (const [index, [what, , [method, action, body]]] of CHANGES.entries()) {
      const path = keyPath(keys[index]?.name ?? "", action);
      const changed = await operate(isolates.at(0), method, path, body);
      assert.equal(changed.status, 200, `${what}: ${await changed.text()}`);
    }
    await sleep(BOUND_MS + GRANULARITY_MS);
    await upstream.forget();
    for (const [index, [what, expected]] of CHANGES.entries()) {
      const answers = await Promise.all((calls[index] ?? []).map((finish) => finish()));
      assert.deepEqual(answers, Array(5).fill(expected), what);
      assert.equal(await explained[index]?.(), expected, `${what}: explain`);
    }
    const allowed = CHANGES.filter(([, expected]) => expected === "200").length;
    assert.equal((await upstream.requests()).length, allowed * 5);
  });

  test("permission: a key that expires between the head and the body of a call is rejected", async () => {
    await upstream.forget();
    const expires_at = new Date(Date.now() + 1_500).toISOString();
    const { key } = await issue(isolates.at(0), "expiring", { expires_at });
    const finish = begin(isolates.at(0), key);
    await sleep(2_000);
    assert.equal(await finish(), "401 api_key_expired");
    assert.deepEqual(await upstream.requests(), []);
  });

  test("permission: checking again causes no database query while the key's entry is young", async () => {
    const { key } = await issue(isolates.at(0), "young");
    assert.equal(await begin(isolates.at(0), key)(), "200");
    const finish = begin(isolates.at(0), key);
    await sleep(300);
    await isolates.execute("ALTER TABLE key_secrets RENAME COLUMN digest TO hidden");
    try {
      assert.equal(await finish(), "200");
    } finally {
      await isolates.execute("ALTER TABLE key_secrets RENAME COLUMN hidden TO digest");
    }
  });
});

suite("calls that go on after an attempt", () => {
  /**
   * Sends a call, changes its key once the first upstream has the call, and returns the outcome and the upstreams that
   * were called.
   *
   * @param {string} name
   * @param {object} body
   * @param {[method: string, action: string, body?: object]} change
   * @param {object} [before] the key's settings
   */
  async function changedMeanwhile(name, body, [method, action, settings], before = {}) {
    await upstream.forget();
    const { key } = await issue(isolates.at(0), name, before);
    const answered = chat(isolates.at(0), body, { authorization: `Bearer ${key}` });
    await eventually(async () => (await upstream.requests()).length === 1);
    const changed = await operate(isolates.at(0), method, keyPath(name, action), settings);
    assert.equal(changed.status, 200, await changed.text());
    const response = await answered;
    const found = outcome(response.status, await response.text());
    const called = (await upstream.requests()).map(({ path }) => path.split("/")[1]);
    return { found, called };
  }

  const failing = { delay_ms: ATTEMPT_MS, status: 500, when: { path: "/first" } };
  let used = 0;
  const unused = () => FIRST[(used += 1) - 1] ?? "";

  for (const [what, expected, change] of /** @type {typeof CHANGES} */ ([
    ["revoked", "401 invalid_api_key", ["DELETE", ""]],
    ["disabled", "401 api_key_disabled", ["PATCH", "", { disabled: true }]],
    ["without-model", "403 model_not_allowed", ["PATCH", "", { models: ["demo/*"] }]],
    ["with-lower-limits", "429 rate_limit_exceeded", ["PATCH", "", { policies: ["tight"] }]],
    ["with-the-same", "200", ["PATCH", "", { metadata: { note: "nothing else" } }]],
  ])) {
    test(`permission: no failover with a key that is ${what} during the first attempt`, async () => {
      const first = unused();
      const { found, called } = await changedMeanwhile(
        `failover-${what}`,
        { model: `${first} or second`, simulate: [failing] },
        change,
        { policies: ["wide"] },
      );
      assert.equal(found, expected);
      assert.deepEqual(called, expected === "200" ? [first, "second"] : [first]);
    });
  }

  test("permission: no retry with a key that is revoked during the wait", async () => {
    const first = unused();
    const { found, called } = await changedMeanwhile(
      "waiting",
      { model: `${first}/m`, simulate: [{ status: 500 }] },
      ["DELETE", ""],
    );
    assert.equal(found, "401 invalid_api_key");
    assert.deepEqual(called, [first]);
  });

  test("permission: no hedge with a key that is revoked, and the attempt in flight answers", async () => {
    const slow = { delay_ms: 3 * ATTEMPT_MS, when: { path: "/first" } };
    const first = unused();
    const { found, called } = await changedMeanwhile(
      "hedged",
      { model: `${first} or second`, stream: true, simulate: [slow] },
      ["DELETE", ""],
    );
    assert.equal(found, "200");
    assert.deepEqual(called, [first]);
  });
});
