// @ts-check
//! Privacy: prompts, responses and secrets are in no log, no error and no state on disk.

import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { test } from "node:test";
import {
  KEY_HASH,
  PROVIDER_KEY,
  Gateway,
  Upstream,
  call,
  chat,
  contents,
  embed,
  eventually,
  freshState,
  operate,
  variables,
} from "./harness.mjs";
import { keeper } from "./keeper.mjs";

const PROMPT = "prompt-that-nobody-keeps";
const ANSWER = "answer-that-nobody-keeps";
const CALLER_KEY = "sk-caller-key-that-nobody-keeps";
const STORED_KEY = "sk-stored-key-that-nobody-reads";
const MASTER_KEY = Buffer.alloc(32, 0xa7).toString("base64");

test("privacy: after a run neither logs nor stored state contain content or secrets", async () => {
  const state = await freshState();
  const upstream = await Upstream.start();
  const xai = await keeper(upstream.url);
  const providers = {
    demo: {
      base_url: `${upstream.url}/v1`,
      models: ["sim-small"],
      formats: ["chat_completions", "embeddings"],
    },
  };
  const gateway = await Gateway.start(
    {
      ...variables(upstream, { providers }),
      GATEWAY_API_KEY: CALLER_KEY,
      XAI_API_KEY: PROVIDER_KEY,
      XAI_BASE_URL: `${xai.url}/v1`,
      GATEWAY_MASTER_KEY: MASTER_KEY,
    },
    [],
    state,
  );
  try {
    const headers = { authorization: `Bearer ${CALLER_KEY}` };
    const messages = [{ role: "user", content: PROMPT }];
    const said = [];
    for (const body of [
      { messages },
      { messages, stream: true },
      { messages, simulate: { content: ANSWER } },
      { messages, stream: true, simulate: { content: ANSWER } },
      { messages, simulate: { status: 500, message: ANSWER } },
      { messages, simulate: { body: "malformed" } },
      { messages, stream: true, simulate: { cut: "stream", after_events: 2 } },
      { messages: PROMPT },
      `{"model":"auto","messages":["${PROMPT}"`,
      { model: "openai/x", messages },
    ]) {
      const response = await chat(gateway, body, headers);
      said.push(JSON.stringify([...response.headers]), await response.text());
    }
    const embedding = { model: "demo/sim-small", input: [PROMPT] };
    for (const body of [
      embedding,
      { ...embedding, simulate: { status: 400, message: ANSWER } },
      { ...embedding, input: { text: PROMPT } },
    ]) {
      const response = await embed(gateway, body, headers);
      said.push(JSON.stringify([...response.headers]), await response.text());
    }
    // Of a response that its provider keeps, the ledger remembers the id.
    const input = [{ role: "user", content: PROMPT }];
    const kept = await call(`${gateway.url}/v1/responses`, {
      method: "POST",
      headers: { ...headers, "content-type": "application/json" },
      body: JSON.stringify({ model: "xai/grok-4.5", input }),
    });
    const { id } = await kept.json();
    const read = await call(`${gateway.url}/v1/responses/${id}`, { headers });
    assert.equal(read.status, 200);
    said.push(await read.text());
    const wrong = await chat(gateway, { messages }, { authorization: `Bearer ${CALLER_KEY}x` });
    said.push(JSON.stringify([...wrong.headers]), await wrong.text());
    const key = { key: STORED_KEY, label: "stored", weight: 1000 };
    for (const [method, path, body] of /** @type {const} */ ([
      ["POST", "/v0/providers/demo/keys", key],
      ["POST", "/v0/providers/demo/keys", key],
      ["POST", "/v0/providers/demo/keys", { ...key, weight: 0 }],
      ["GET", "/v0/providers", undefined],
      ["GET", "/v0/audit", undefined],
    ])) {
      const response = await operate(gateway, method, path, body);
      said.push(JSON.stringify([...response.headers]), await response.text());
    }
    await upstream.forget();
    for (let calls = 0; calls < 20; calls += 1) {
      await (await chat(gateway, { messages }, headers)).text();
    }
    const sent = (await upstream.requests()).map((request) => request.headers["authorization"]);
    assert.ok(sent.includes(`Bearer ${STORED_KEY}`), "the stored key is used");
    await fetch(`${gateway.url}/health`);
    await eventually(() => gateway.events().filter((event) => event.event === "call").length >= 9);

    const log = gateway.log.filter((line) => !line.startsWith("env.")).join("\n");
    const disk = (await contents(state)).join("\n");
    assert.ok(disk.length > 0, "the database left no state to search");
    const unprintable = Buffer.from(MASTER_KEY, "base64").toString("hex");
    const keys = [CALLER_KEY, PROVIDER_KEY, KEY_HASH, STORED_KEY, MASTER_KEY, unprintable];
    for (const secret of [PROMPT, ANSWER, ...keys]) {
      assert.ok(!log.includes(secret), `${secret} in the log`);
      assert.ok(!disk.includes(secret), `${secret} on disk`);
    }
    for (const secret of [...keys, upstream.url]) {
      assert.ok(!said.join("\n").includes(secret), `${secret} in a reply`);
    }
  } finally {
    await Promise.all([gateway.stop(), upstream.stop(), xai.close()]);
    await rm(state, { recursive: true });
  }
});
