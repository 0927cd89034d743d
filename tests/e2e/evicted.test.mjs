// @ts-check
//! Deadlines survive the end of the process and each load of an object: places that a dead isolate held are free again
//! in time, whatever the rhythm of the calls.

import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { after, before, test } from "node:test";
import {
  Gateway,
  Upstream,
  begin,
  eventually,
  freshState,
  operate,
  variables,
} from "./harness.mjs";

const PLACES = 3;
/** A lease expires 30 s after the last report of its isolate; the stored deadline is up to 4 s later. */
const FREE_MS = 35_000;
/** The pauses between calls, in milliseconds. The runtime evicts an object after 10 s without a message. */
const RHYTHMS = [1_000, 5_000, 11_000, 20_000];

/** @type {Upstream} */ let upstream;

before(async () => {
  upstream = await Upstream.start();
});
after(() => upstream?.stop());

test(
  `evictions: after a death with all places held, they are free within ${FREE_MS / 1000} s, whatever the rhythm of calls`,
  { timeout: 300_000 },
  async (t) => {
    const state = await freshState();
    const configuration = variables(upstream, {
      policies: { places: { limits: { concurrent: PLACES } } },
    });
    /** @type {Gateway | undefined} */ let gateway;
    try {
      gateway = await Gateway.start(configuration, [], state);
      /** @type {string[]} */ const keys = [];
      for (const rhythm of RHYTHMS) {
        const settings = { name: `every-${rhythm}`, policies: ["places"] };
        const made = await operate(gateway, "POST", "/v0/api_keys", settings);
        assert.equal(made.status, 201, await made.clone().text());
        keys.push((await made.json()).api_key);
      }
      const body = { model: "demo/sim-small", messages: [{ role: "user", content: "Hi" }] };
      const hanging = { ...body, stream: true, simulate: { hang: "stream", after_events: 2 } };
      let died = 0;
      // On a busy machine a start can take so long that the places are free before the first call.
      for (let lives = 0; lives < 3; lives += 1) {
        const lived = gateway;
        const streams = keys.flatMap((key) => Array.from({ length: PLACES }, () => key));
        await Promise.all(
          streams.map(async (key) => {
            const called = await begin(lived, key, hanging);
            await eventually(() => /"content"/.test(called.text), 30_000);
          }),
        );
        died = Date.now();
        await lived.kill();
        gateway = await Gateway.start(configuration, [], state);
        if (Date.now() - died < 20_000) break;
        await new Promise((resolve) =>
          setTimeout(resolve, Math.max(0, died + FREE_MS - Date.now())),
        );
      }
      const { url } = gateway;
      const call = async (/** @type {string} */ key) => {
        const response = await fetch(`${url}/v1/chat/completions`, {
          method: "POST",
          headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
          body: JSON.stringify(body),
        });
        await response.text();
        return response.status;
      };
      const waits = await Promise.all(
        keys.map(async (key, index) => {
          const rhythm = RHYTHMS[index] ?? 0;
          assert.equal(await call(key), 429, "the places are held");
          for (;;) {
            const late = Math.max(0, died + FREE_MS - Date.now());
            // The last call before the deadline waits for it.
            const pause = late > 0 && late < rhythm ? late : rhythm;
            await new Promise((resolve) => setTimeout(resolve, pause));
            const began = Date.now();
            if ((await call(key)) === 200) return began - died;
            assert.ok(began - died < FREE_MS, `every ${rhythm} ms: taken after ${began - died} ms`);
          }
        }),
      );
      t.diagnostic(`free after ${waits.join(", ")} ms`);
      for (const wait of waits) assert.ok(wait > 15_000, `${wait}`);
    } finally {
      await gateway?.stop();
      await rm(state, { recursive: true, force: true });
    }
  },
);
