// @ts-check
//! A trap or a panic of the Wasm is the end of its calls, and of nothing else: with the next request it begins anew.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { KEY, Upstream, variables } from "./harness.mjs";
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

async function status() {
  const response = await fetch(`${isolates.at(0).url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
    body: JSON.stringify({ model: "demo/sim-small", messages: [{ role: "user", content: "hi" }] }),
  });
  await response.text();
  return response.status;
}

// A call asks for the time once each time that it goes on: at its beginning, when its body is there, when the answer is.
for (const [time, where] of /** @type {const} */ ([
  [1, "before anything was waited for"],
  [2, "when the body had come"],
  [3, "when the upstream had answered"],
])) {
  test(`a trap ${where}: 500, and the next calls are answered`, async () => {
    assert.equal(await status(), 200);
    await fetch(`${isolates.at(0).url}/__trap?${time}`);
    assert.equal(await status(), 500);
    await fetch(`${isolates.at(0).url}/__trap?0`);
    for (let call = 0; call < 3; call += 1) assert.equal(await status(), 200);
  });
}
