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
  chat,
  contents,
  embed,
  eventually,
  freshState,
  variables,
} from "./harness.mjs";

const PROMPT = "prompt-that-nobody-keeps";
const ANSWER = "answer-that-nobody-keeps";
const CALLER_KEY = "sk-caller-key-that-nobody-keeps";

test("privacy: after a run neither logs nor stored state contain content or secrets", async () => {
  const state = await freshState();
  const upstream = await Upstream.start();
  const providers = {
    demo: {
      base_url: `${upstream.url}/v1`,
      models: ["sim-small"],
      formats: ["chat_completions", "embeddings"],
    },
  };
  const gateway = await Gateway.start(
    { ...variables(upstream, { providers }), GATEWAY_API_KEY: CALLER_KEY },
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
    const wrong = await chat(gateway, { messages }, { authorization: `Bearer ${CALLER_KEY}x` });
    said.push(JSON.stringify([...wrong.headers]), await wrong.text());
    await fetch(`${gateway.url}/health`);
    await eventually(() => gateway.events().filter((event) => event.event === "call").length >= 9);

    const log = gateway.log.filter((line) => !line.startsWith("env.")).join("\n");
    const disk = (await contents(state)).join("\n");
    assert.ok(disk.length > 0, "the database left no state to search");
    for (const secret of [PROMPT, ANSWER, CALLER_KEY, PROVIDER_KEY, KEY_HASH]) {
      assert.ok(!log.includes(secret), `${secret} in the log`);
      assert.ok(!disk.includes(secret), `${secret} on disk`);
    }
    for (const secret of [CALLER_KEY, PROVIDER_KEY, KEY_HASH, upstream.url]) {
      assert.ok(!said.join("\n").includes(secret), `${secret} in a reply`);
    }
  } finally {
    await Promise.all([gateway.stop(), upstream.stop()]);
    await rm(state, { recursive: true });
  }
});
