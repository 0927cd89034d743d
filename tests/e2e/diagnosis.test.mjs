// @ts-check
//! `/v0/providers` and `/v0/lanes`: the last error of each lane, and cooldowns that operators decide.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import {
  KEY,
  PROVIDER_KEY,
  Upstream,
  call,
  chat,
  eventually,
  operate,
  variables,
} from "./harness.mjs";
import { Isolates } from "./isolates.mjs";

/** @typedef {import("./harness.mjs").Gateway} Gateway */

/** @type {Upstream} */ let upstream;
/** @type {Isolates} */ let isolates;

before(async () => {
  upstream = await Upstream.start();
  isolates = await Isolates.start(2, variables(upstream));
});
after(() => Promise.all([isolates?.stop(), upstream?.stop()]));

/**
 * @param {Gateway} gateway
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 */
async function administer(gateway, method, path, body) {
  const response = await operate(gateway, method, path, body);
  return { status: response.status, body: /** @type {any} */ (await response.json()) };
}

/**
 * Calls `demo/sim-small`, and returns the status.
 *
 * @param {Gateway} gateway
 * @param {object} [simulate] what the simulated provider should do
 */
async function status(gateway, simulate) {
  const response = await chat(gateway, simulate ? { simulate } : {});
  await response.text();
  return response.status;
}

/**
 * The lane of `demo/sim-small`, once an isolate knows it.
 *
 * @param {Gateway} gateway
 * @param {(lane: any) => boolean} [is]
 */
const lane = (gateway, is = () => true) =>
  eventually(async () => {
    const { body } = await administer(gateway, "GET", "/v0/lanes");
    return body.find((/** @type {any} */ one) => one.id === "demo:0/sim-small" && is(one));
  });

suite("diagnosis of providers", () => {
  test("diagnosis: every isolate shows the last error of a lane, without the provider's key", async () => {
    assert.equal(await status(isolates.at(0)), 200);
    assert.equal((await lane(isolates.at(1))).last_error, null);
    assert.equal(await status(isolates.at(0), { status: 503 }), 503);
    const { last_error: error } = await lane(isolates.at(1), (one) => one.last_error !== null);
    assert.equal(error.status, 503);
    assert.equal(error.class, "server_error");
    assert.ok(Math.abs(Date.parse(error.at) - Date.now()) < 10_000);
    assert.ok(error.message.length > 0 && error.message.length <= 300);
    assert.ok(!JSON.stringify(error).includes(PROVIDER_KEY));
    const { body: providers } = await administer(isolates.at(1), "GET", "/v0/providers");
    const demo = providers.find((/** @type {any} */ one) => one.name === "demo");
    assert.deepEqual([demo.active, demo.keys.length], [true, 1]);
    assert.deepEqual(demo.last_error, error);
    const idle = providers.find((/** @type {any} */ one) => one.name === "openai");
    assert.deepEqual([idle.active, typeof idle.inactive_reason], [false, "string"]);
    assert.ok(!JSON.stringify(providers).includes(PROVIDER_KEY));
    assert.equal(demo.history, undefined, "the default response is small");
  });

  test("diagnosis: operators read the attempts and failures of the last minutes of each lane and provider", async () => {
    const named = (/** @type {any[]} */ list, /** @type {string} */ id) =>
      list.find((one) => (one.id ?? one.name) === id).history;
    const sum = (/** @type {any[]} */ steps, /** @type {string} */ name) =>
      steps.reduce((all, step) => all + step[name], 0);
    const known = await eventually(async () => {
      const { body } = await administer(isolates.at(1), "GET", "/v0/lanes?minutes=10&step=1");
      const steps = named(body, "demo:0/sim-small");
      return sum(steps, "failures") > 0 ? steps : undefined;
    });
    // One success; the failing call was tried again.
    const attempts = sum(known, "failures") + 1;
    assert.equal(sum(known, "attempts"), attempts);
    assert.ok(
      known.some((/** @type {any} */ { p50_ms, p95_ms }) => p50_ms > 0 && p95_ms >= p50_ms),
    );
    for (const { start } of known) {
      assert.match(start, /:00Z$/);
      assert.ok(Math.abs(Date.parse(start) - Date.now()) < 10 * 60_000);
    }
    const { body } = await administer(isolates.at(0), "GET", "/v0/providers?minutes=1440&step=60");
    assert.equal(sum(named(body, "demo"), "attempts"), attempts);
    assert.deepEqual(named(body, "openai"), []);
    for (const query of ["minutes=1441", "minutes=0", "minutes=1440&step=4", "step=x"]) {
      const refused = await administer(isolates.at(0), "GET", `/v0/providers?${query}`);
      assert.equal(refused.status, 400, query);
    }
  });

  test("diagnosis: an operator's cooldown holds in every isolate until it is ended", async () => {
    await eventually(async () => (await status(isolates.at(0))) === 200);
    const path = "/v0/lanes/demo:0/sim-small";
    const decided = await administer(isolates.at(0), "POST", `${path}/cooldown`, { seconds: 600 });
    assert.equal(decided.status, 200, JSON.stringify(decided.body));
    assert.ok(Date.parse(decided.body.cooldown_until) > Date.now() + 500_000);
    assert.equal(await status(isolates.at(0)), 503, "at once where it was decided");
    await eventually(async () => (await status(isolates.at(1))) === 503, 3_000);
    assert.equal((await lane(isolates.at(1))).cooldown.reason, "operator");
    assert.equal((await administer(isolates.at(1), "POST", `${path}/resume`)).status, 200);
    assert.equal(await status(isolates.at(1)), 200);
    await eventually(async () => (await status(isolates.at(0))) === 200, 3_000);
    const { body } = await administer(isolates.at(0), "GET", "/v0/audit");
    const entries = body.entries.map((/** @type {any} */ { entry }) => JSON.parse(entry));
    assert.deepEqual(
      entries.map((/** @type {any} */ { action, subject }) => [action, subject]),
      [
        ["lane.cooldown", "demo:0/sim-small"],
        ["lane.resume", "demo:0/sim-small"],
      ],
    );
    const verified = (await administer(isolates.at(0), "GET", "/v0/audit/verify")).body;
    assert.equal(verified.intact, true);
  });

  test("diagnosis: a lane that does not exist is not found, and callers cannot decide", async () => {
    for (const id of ["demo:7/sim-small", "demo:0/nothing", "nobody:0", "demo"]) {
      const { status } = await administer(isolates.at(0), "POST", `/v0/lanes/${id}/cooldown`, {});
      assert.equal(status, 404, id);
    }
    const bad = { seconds: 0 };
    const refused = await administer(isolates.at(0), "POST", "/v0/lanes/demo:0/cooldown", bad);
    assert.equal(refused.status, 400);
    const response = await call(`${isolates.at(0).url}/v0/lanes/demo:0/cooldown`, {
      method: "POST",
      headers: { authorization: `Bearer ${KEY}` },
    });
    assert.equal(response.status, 403);
  });
});
