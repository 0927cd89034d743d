// @ts-check
//! A trap or a panic of the Wasm ends all calls of its isolate: it is logged, and the next request gets a new instance. The
//! records of these calls, and of those that were not reported yet, are lost and counted; their money is charged.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { KEY, Upstream, eventually, operate, variables } from "./harness.mjs";
import { Isolates } from "./isolates.mjs";

/** @type {Upstream} */
let upstream;
/** @type {Isolates} */
let isolates;

before(async () => {
  upstream = await Upstream.start();
  const configured = variables(upstream, {
    models: { "demo/sim-small": { input_usd_per_mtok: 1, output_usd_per_mtok: 10 } },
    policies: { budget: { limits: { usd_total: 1 } } },
  });
  isolates = await Isolates.start(1, configured, {}, ["trap/entry.mjs", "trap/arm.mjs"]);
});

after(async () => {
  await isolates?.stop();
  await upstream?.stop();
});

/** @param {string} path */
const get = (path) => fetch(isolates.at(0).url + path).then((response) => response.text());

async function status() {
  const response = await fetch(`${isolates.at(0).url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
    body: JSON.stringify({ model: "demo/sim-small", messages: [{ role: "user", content: "hi" }] }),
  });
  await response.text();
  return response.status;
}

/**
 * Makes the next call fail, checks that later ones are answered, and returns what was logged.
 *
 * @param {string} how
 * @returns {Promise<{ event: string, error: string, place?: string, stack: string[] }[]>}
 */
async function failed(how) {
  assert.equal(await status(), 200);
  const before = isolates.errors.length;
  await get(how);
  assert.equal(await status(), 500);
  await get("/__trap?0");
  for (let call = 0; call < 3; call += 1) assert.equal(await status(), 200);
  const logged = () => isolates.errors.slice(before);
  // The runtime's own line about the exception follows ours.
  await eventually(() => logged().find((line) => line.startsWith("Uncaught")));
  return logged()
    .filter((line) => !line.startsWith("Uncaught"))
    .map((line) => JSON.parse(line));
}

// A call reads the clock in each poll: at its start, after its body has arrived, and after the upstream's response.
for (const [time, where] of /** @type {const} */ ([
  [1, "before anything is waited for"],
  [2, "when the body has come"],
  [3, "when the upstream has responded"],
])) {
  test(`a trap ${where}: 500, a line in the log with the functions on the stack, and the next calls are answered`, async () => {
    const [line, ...others] = await failed(`/__trap?${time}`);
    assert.deepEqual(others, []);
    assert.equal(line?.event, "trap");
    assert.equal(line.error, "unreachable");
    assert.match(line.stack.join("\n"), /gatehouse::platform::task::/);
  });
}

test("a panic: 500, a line in the log with its message and place, and the next calls are answered", async () => {
  const [line, ...others] = await failed("/__panic?1");
  assert.deepEqual(others, []);
  assert.equal(line?.event, "panic");
  assert.equal(line.error, "task 1000000 is resumed, but does not wait");
  assert.match(line.place ?? "", /^src\/platform\/task\.rs:\d+:\d+$/);
  assert.match(line.stack.join("\n"), /gatehouse::platform::task::/);
});

test("a trap in a Durable Object: a line in the log, and the object is constructed again", async () => {
  const ask = () =>
    fetch(`${isolates.at(0).url}/access/request-key`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ email: "ada@example.com", use_case: "Trying it out" }),
      signal: AbortSignal.timeout(5_000),
    }).then((response) => response.status);
  assert.equal(await ask(), 202);
  const before = isolates.errors.length;
  await get("/__trap-in-object?1");
  // A request whose object has trapped gets no response.
  const request = ask().catch(() => "gave up");
  const line = await eventually(() => isolates.errors[before]);
  assert.equal(JSON.parse(line).event, "trap");
  assert.equal(await ask(), 202);
  assert.notEqual(await request, 202);
});

/** The calls that run when one traps. */
const NEIGHBOURS = 20;

test(
  `a trap costs its ${NEIGHBOURS} neighbours: they end, their records are lost and counted, and their money is charged in time`,
  { timeout: 120_000 },
  async (t) => {
    await upstream.forget();
    const gateway = isolates.at(0);
    const made = await operate(gateway, "POST", "/v0/api_keys", {
      name: "neighbours",
      policies: ["budget"],
    });
    assert.equal(made.status, 201, await made.clone().text());
    const key = /** @type {string} */ ((await made.json()).api_key);
    const ask = async (/** @type {object} */ body, headers = {}) => {
      const response = await fetch(`${gateway.url}/v1/chat/completions`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${key}`,
          "content-type": "application/json",
          "x-at-once": "1",
          ...headers,
        },
        body: JSON.stringify({
          model: "demo/sim-small",
          messages: [{ role: "user", content: "hi" }],
          max_tokens: 100,
          ...body,
        }),
      });
      const text = await response.text();
      return response.status === 200 && /"usage"|\[DONE\]/.test(text);
    };
    const standing = async () => {
      const response = await operate(gateway, "GET", "/usage?key=neighbours");
      return /** @type {any} */ (await response.json());
    };
    const lostRecords = async () => {
      const text = await (await operate(gateway, "GET", "/metrics")).text();
      return Number(text.match(/^gatehouse_lost_records_total (\d+)$/m)?.[1]);
    };
    await eventually(async () => (await ask({})) && (await standing()).receipts.count > 0);
    const before = await standing();
    const lostBefore = await lostRecords();
    const bill = { bill: {} };
    const neighbours = Array.from({ length: NEIGHBOURS }, (_, index) =>
      ask(
        index % 2 === 0
          ? { stream: true, simulate: { events: 90, frame_delay_ms: 50, ...bill } }
          : { simulate: { events: 90, delay_ms: 4000, ...bill } },
      ).catch(() => false),
    );
    await eventually(async () => ((await upstream.stats())["open"] ?? 0) === NEIGHBOURS);
    // Some that have just ended: their records wait for the next report.
    const ended = await Promise.all(Array.from({ length: 10 }, () => ask({ simulate: bill })));
    assert.ok(ended.every(Boolean));
    assert.equal(await ask({}, { "x-trap": "1" }), false, "the call that traps");
    const trapped = Date.now();
    assert.equal(await ask({}), true, "the next call");
    const answered = (await Promise.all(neighbours)).filter(Boolean).length;
    const now = await eventually(async () => {
      const now = await standing();
      return now.limits[0].held === 0 && now;
    }, 45_000);
    const waited = Date.now() - trapped;
    const recorded = now.receipts.count - before.receipts.count;
    const lost =
      (await eventually(async () => (await lostRecords()) > lostBefore && lostRecords())) -
      lostBefore;
    t.diagnostic(
      `${NEIGHBOURS - answered} of ${NEIGHBOURS} neighbours ended; ${recorded} records arrived, ${lost} were lost; nothing was held after ${waited} ms`,
    );
    // All neighbours, those that had ended, and the call after the trap. That which trapped had sent nothing.
    assert.equal(recorded + lost, NEIGHBOURS + 10 + 1);
    assert.ok(waited < 36_000, `${waited}`);
    const { used, unconfirmed } = now.limits[0];
    const cost = Number((await upstream.stats())["billed_completion"]) * 10;
    assert.ok(
      used - before.limits[0].used + unconfirmed >= cost,
      `${used} and ${unconfirmed} of ${cost}`,
    );
  },
);
