// @ts-check
//! The catalogue of models: the announced end of a model, its successor, and prices that depend on the length of the
//! input. The figures are those of `core/data/models.jsonl`.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { Gateway, Upstream, call } from "./harness.mjs";
import { ask, configured } from "./lanes.mjs";

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;

before(async () => {
  upstream = await Upstream.start();
  gateway = await Gateway.startBare({
    ...configured(upstream, {}),
    OPENAI_API_KEY: "sk-openai",
    OPENAI_BASE_URL: `${upstream.url}/openai/v1`,
    TOGETHER_API_KEY: "sk-together",
    TOGETHER_BASE_URL: `${upstream.url}/together/v1`,
  });
});
after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

/** @returns {Promise<any[]>} */
async function published() {
  const file = await readFile(new URL("../../core/data/models.jsonl", import.meta.url), "utf8");
  return file
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

test("catalogue: the list of models has exactly the prices, ends and successors of the data", async () => {
  const { data } = await (await call(`${gateway.url}/v1/models`)).json();
  const listed = new Map(data.map((/** @type {any} */ model) => [model.id, model]));
  const rows = (await published()).filter(
    ({ provider, hidden, formats, task = "chat" }) =>
      ["openai", "together"].includes(provider) && !hidden && !formats && task === "chat",
  );
  assert.ok(rows.length > 50);
  const usd = (/** @type {number | undefined} */ price) => (price === undefined ? null : price);
  const number = (/** @type {string | null | undefined} */ text) =>
    text === null || text === undefined ? null : Number(text);
  for (const row of rows) {
    const model = listed.get(`${row.provider}/${row.id}`);
    assert.ok(model, row.id);
    for (const kind of ["input", "output", "cached_input", "cache_write", "cache_write_1h"]) {
      assert.equal(
        number(model.pricing?.[kind]),
        usd(row[`${kind}_usd_per_mtok`]),
        `${row.id} ${kind}`,
      );
    }
    assert.deepEqual(
      model.pricing?.above?.map((/** @type {any} */ step) => [step.tokens, number(step.input)]),
      row.above?.map((/** @type {any} */ step) => [step.tokens, step.input_usd_per_mtok]),
      row.id,
    );
    assert.equal(model.deprecation_date, row.deprecation_date, row.id);
    assert.equal(model.successor, row.successor && `${row.provider}/${row.successor}`, row.id);
  }
});

test("catalogue: a response of a model with an announced end has its date and its successor", async () => {
  for (const stream of [false, true]) {
    const answered = await ask(gateway, { model: "openai/gpt-5-mini", stream });
    assert.equal(answered.status, 200, answered.text);
    assert.equal(answered.headers.get("sunset"), "Fri, 11 Dec 2026 00:00:00 GMT");
    assert.equal(answered.headers.get("x-gateway-successor"), "openai/gpt-5.6-terra");
  }
  const live = await ask(gateway, { model: "openai/gpt-6-sol" });
  assert.equal(live.headers.get("sunset"), null);
  assert.equal(live.headers.get("x-gateway-successor"), null);
});

test("catalogue: a model that has ended is not listed, and is called only by its address", async () => {
  const { data } = await (await call(`${gateway.url}/v1/models`)).json();
  assert.ok(data.every((/** @type {any} */ model) => model.id !== "together/MiniMaxAI/MiniMax-M3"));
  const bare = await ask(gateway, { model: "MiniMaxAI/MiniMax-M3" });
  assert.equal(bare.error.code, "model_not_found");
  const ended = await ask(gateway, { model: "together/MiniMaxAI/MiniMax-M3" });
  assert.equal(ended.status, 200, ended.text);
  assert.match(
    ended.headers.get("sunset") ?? "",
    /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} 2026 00:00:00 GMT$/,
  );
});

test("catalogue: above a step, the whole call costs what the step says", async () => {
  const messages = (/** @type {number} */ tokens) => [
    // The simulated provider counts a token for each byte, and 4 for the message.
    { role: "user", content: "a".repeat(tokens - 4) },
  ];
  for (const [tokens, input, output] of [
    [272_000, 2, 10],
    [272_001, 4, 15],
  ]) {
    const { status, body, headers, text } = await ask(gateway, {
      model: "openai/gpt-6-sol",
      messages: messages(tokens ?? 0),
      simulate: { content: "three short words", bill: { dense: true } },
    });
    assert.equal(status, 200, text.slice(0, 200));
    const { prompt_tokens, completion_tokens } = body.usage;
    assert.equal(prompt_tokens, tokens);
    const micro = prompt_tokens * (input ?? 0) + completion_tokens * (output ?? 0);
    assert.equal(Number(headers.get("x-gateway-cost-usd")), micro / 1e6);
  }
});
