// @ts-check
//! A soak of a given time: rounds of concurrent calls, whole, streamed and left by their callers, of keys with a budget,
//! on two isolates. After each round the accounts are compared with what the simulated provider has produced, and the
//! Wasm memory of the isolates is read.

import assert from "node:assert/strict";
import { Upstream, eventually, operate, variables } from "../e2e/harness.mjs";
import { Isolates } from "../e2e/isolates.mjs";

/** @typedef {import("../e2e/harness.mjs").Gateway} Gateway */

const SECONDS = Number(process.argv[2] ?? 3600);
const ISOLATES = 2;
const CLIENTS = 16;
const CALLS_A_ROUND = 240;
/** The prices of a token of input and of output, in micro-USD: whole numbers, so that nothing is rounded. */
const [INPUT, OUTPUT] = [1, 10];
const TOKENS = 50;
/** So much that about half of a round's calls fit. */
const BUDGET = (CALLS_A_ROUND / 2) * (3 * INPUT + TOKENS * OUTPUT);
/** The growth of the Wasm memory that later rounds may add to that of the first ones, in bytes. */
const GROWTH = 4_000_000;

const upstream = await Upstream.start();
const isolates = await Isolates.start(
  ISOLATES,
  variables(upstream, {
    models: {
      "demo/sim-small": {
        input_usd_per_mtok: INPUT,
        output_usd_per_mtok: OUTPUT,
        max_output: 1000,
      },
    },
    policies: { budget: { limits: { usd_total: BUDGET / 1_000_000 } } },
  }),
);

/**
 * One call; every fifth caller leaves after a moment. Returns the status, or `left`.
 *
 * @param {number} index
 * @param {string} key
 */
async function once(index, key) {
  const gateway = isolates.at(index % ISOLATES);
  const leaving = index % 5 === 0 ? { signal: AbortSignal.timeout(20 + (index % 7) * 10) } : {};
  try {
    const response = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({
        model: "demo/sim-small",
        messages: [{ role: "user", content: "one two three" }],
        max_tokens: TOKENS,
        stream: index % 3 === 0,
        simulate: { events: TOKENS },
      }),
      ...leaving,
    });
    await response.text();
    return String(response.status);
  } catch {
    return "left";
  }
}

/** The Wasm memory of each isolate, in bytes. */
const memory = () =>
  Promise.all(
    isolates.gateways.map(async ({ url }) => Number(await (await fetch(`${url}/__memory`)).text())),
  );

/** @param {number} round */
async function run(round) {
  await upstream.forget();
  const name = `soak-${round}`;
  const made = await operate(isolates.at(0), "POST", "/v0/api_keys", {
    name,
    policies: ["budget"],
  });
  assert.equal(made.status, 201);
  const { api_key: key } = await made.json();
  /** @type {Record<string, number>} */
  const counts = {};
  let next = 0;
  await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      for (let index = next++; index < CALLS_A_ROUND; index = next++) {
        const status = await once(index, key);
        counts[status] = (counts[status] ?? 0) + 1;
      }
    }),
  );
  const odd = Object.keys(counts).filter(
    (status) => !["200", "402", "429", "left"].includes(status),
  );
  assert.deepEqual(odd, [], JSON.stringify(counts));

  const settled = await eventually(async () => {
    const usage = await (await operate(isolates.at(0), "GET", `/usage?key=${name}`)).json();
    const [limit] = usage.limits;
    return limit.held === 0 && { ...limit, receipts: usage.receipts };
  }, 60_000);
  const { requests, prompt_tokens, completion_tokens } = await upstream.stats();
  const bill = Number(prompt_tokens) * INPUT + Number(completion_tokens) * OUTPUT;
  assert.ok(bill <= BUDGET, `the provider bills ${bill} of a budget of ${BUDGET}`);
  assert.ok(settled.used <= BUDGET, `${settled.used} of ${BUDGET} are charged`);
  assert.ok(settled.used >= bill, `${settled.used} are charged, and the provider bills ${bill}`);
  assert.equal(
    settled.receipts.count,
    requests,
    "a receipt for each call that reached the provider",
  );
  return { counts, bill, used: settled.used };
}

const began = Date.now();
const passed = () => (Date.now() - began) / 1000;
let calls = 0;
let first = 0;
try {
  for (let round = 1; round === 1 || passed() < SECONDS; round += 1) {
    const { counts, bill, used } = await run(round);
    calls += CALLS_A_ROUND;
    const sizes = await memory();
    const largest = Math.max(...sizes);
    if (passed() < SECONDS / 10 || first === 0) first = Math.max(first, largest);
    assert.ok(largest <= first + GROWTH, `Wasm memory grew from ${first} to ${largest} bytes`);
    console.log(
      `${passed().toFixed(0)} s, round ${round}: ${JSON.stringify(counts)}, billed ${bill}, charged ${used} of ${BUDGET}, Wasm memory ${largest}`,
    );
  }
  console.log(`${calls} calls in ${passed().toFixed(0)} s: budgets, receipts and memory hold`);
} finally {
  await isolates.stop();
  await upstream.stop();
}
