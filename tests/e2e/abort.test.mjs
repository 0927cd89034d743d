// @ts-check
//! Clients that disconnect: the upstream call is cancelled and the Wasm memory stays flat over hundreds of them.
//!
//! This test fails if any of the three parts of the fix in src/platform/upstream.js is missing: then every abandoned
//! request keeps its body and its future.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, suite, test } from "node:test";
import { Gateway, KEY, Upstream, begin, chat, eventually, variables } from "./harness.mjs";

const ROUNDS = 6;
const ABORTS_A_ROUND = 50;
const BODY_BYTES = 200_000;

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;

before(async () => {
  upstream = await Upstream.start();
  gateway = await Gateway.startBare(variables(upstream));
});
after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

/**
 * Resolves when it is time to disconnect. `sent` is the number of requests that the upstream will have received once
 * all of this round have arrived.
 *
 * @typedef {(socket: import("node:net").Socket, sent: number) => Promise<unknown>} LeaveWhen
 */

/**
 * Sends a request and resets the connection.
 *
 * @param {object} body
 * @param {LeaveWhen} leaveWhen
 * @param {number} sent
 */
async function leave(body, leaveWhen, sent) {
  const { socket } = await begin(gateway, KEY, {
    model: "demo/sim-small",
    messages: [],
    pad: "x".repeat(BODY_BYTES),
    ...body,
  });
  await leaveWhen(socket, sent);
  socket.resetAndDestroy();
}

/**
 * @param {string} name
 * @param {object} body
 * @param {LeaveWhen} leaveWhen
 */
function staysFlat(name, body, leaveWhen) {
  test(
    `clients that leave: ${ROUNDS * ABORTS_A_ROUND} disconnects ${name} cancel the upstream calls and leave memory flat`,
    { timeout: 120_000 },
    async () => {
      await upstream.forget();
      const sizes = [];
      for (let round = 1; round <= ROUNDS; round += 1) {
        await Promise.all(
          Array.from({ length: ABORTS_A_ROUND }, () =>
            leave(body, leaveWhen, round * ABORTS_A_ROUND),
          ),
        );
        await eventually(async () => (await upstream.stats())["open"] === 0, 20_000);
        sizes.push(await gateway.memory());
      }
      const stats = await upstream.stats();
      assert.equal(stats["cancelled"], ROUNDS * ABORTS_A_ROUND);
      // The first rounds fill the allocator's pools; a leak of 50 bodies in a round would add 10 MB each time.
      const growth = /** @type {number} */ (sizes.at(-1)) - /** @type {number} */ (sizes[1]);
      assert.ok(growth <= 2_000_000, `memory after each round: ${sizes.join(", ")}`);
      assert.equal((await chat(gateway, {})).status, 200);
    },
  );
}

suite("clients that leave", () => {
  const received = (/** @type {unknown} */ _, /** @type {number} */ sent) =>
    eventually(async () => ((await upstream.stats())["requests"] ?? 0) >= sent, 20_000);
  const answered = (/** @type {import("node:net").Socket} */ socket) => once(socket, "data");

  test("clients that leave: a disconnect without a reset cancels the upstream at the next comment of a silent stream", async () => {
    await upstream.forget();
    const pinging = await Gateway.startBare(variables(upstream, { timeouts: { ping_ms: 100 } }));
    try {
      const controller = new AbortController();
      const body = {
        model: "auto",
        messages: [],
        stream: true,
        simulate: { hang: "stream", after_events: 2 },
      };
      const response = await fetch(`${pinging.url}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
        body: JSON.stringify(body),
        signal: controller.signal,
      });
      await response.body?.getReader().read();
      controller.abort();
      await eventually(async () => (await upstream.lastRequest()).outcome === "cancelled", 3000);
    } finally {
      await pinging.stop();
    }
  });

  staysFlat("before the upstream has answered", { simulate: { hang: "headers" } }, received);
  staysFlat(
    "in the middle of a stream",
    { stream: true, simulate: { events: 10_000, frame_delay_ms: 10 } },
    answered,
  );
  staysFlat(
    "while a stream is silent",
    { stream: true, simulate: { hang: "stream", after_events: 2 } },
    answered,
  );
  staysFlat(
    "in the middle of a whole answer",
    { simulate: { content_bytes: 1_000_000, drip_ms: 3_000 } },
    received,
  );
});
