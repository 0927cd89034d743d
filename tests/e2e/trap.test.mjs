// @ts-check
//! A trap or a panic of the Wasm ends its calls, and nothing else: it is logged, and the next request gets a new instance.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { KEY, Upstream, eventually, variables } from "./harness.mjs";
import { Isolates } from "./isolates.mjs";

/** @type {Upstream} */
let upstream;
/** @type {Isolates} */
let isolates;

before(async () => {
  upstream = await Upstream.start();
  isolates = await Isolates.start(1, variables(upstream), {}, ["trap/entry.mjs", "trap/arm.mjs"]);
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
