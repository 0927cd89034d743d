// @ts-check
//! Real models through the gateway: an embedding model, and a language model, which is skipped unless
//! `scripts/local-model install` has been run: compiling its server takes minutes.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import OpenAI from "openai";
import { serveEmbeddings } from "../clients/embedding-model.mjs";
import { Gateway, KEY, call, eventually, freePort, root } from "./harness.mjs";

const installed = existsSync(`${root}.tools/local-model/installed`);

test(
  "local model: answers a whole and a streamed call",
  { skip: !installed && "run scripts/local-model install" },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "gatehouse-model-"));
    const ready = join(folder, "ready");
    const port = await freePort();
    const server = spawn(
      `${root}scripts/local-model`,
      ["serve", "--port", `${port}`, "--ready-file", ready],
      {
        stdio: "ignore",
      },
    );
    /** @type {Gateway | undefined} */
    let gateway;
    try {
      await eventually(() => existsSync(ready), 60_000);
      const base_url = (await readFile(ready, "utf8")).trim();
      gateway = await Gateway.startBare({
        GATEWAY_API_KEY: KEY,
        GATEWAY_CONFIG: JSON.stringify({ providers: { local: { base_url, auth: "none" } } }),
      });
      const client = new OpenAI({
        baseURL: `${gateway.url}/v1`,
        apiKey: KEY,
        maxRetries: 0,
        fetch: /** @type {any} */ (call),
      });
      const model = "local/smollm2-135m-instruct";
      /** @type {OpenAI.ChatCompletionMessageParam[]} */
      const messages = [{ role: "user", content: "Say hello." }];
      const whole = await client.chat.completions.create({
        model,
        messages,
        max_tokens: 20,
        temperature: 0,
      });
      assert.match(whole.choices[0]?.message.content ?? "", /[a-z]{2}/i);
      assert.ok(whole.usage && whole.usage.completion_tokens > 0);
      const stream = await client.chat.completions.create({
        model,
        messages,
        max_tokens: 20,
        temperature: 0,
        stream: true,
      });
      let text = "";
      for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
      assert.equal(text, whole.choices[0]?.message.content);
    } finally {
      server.kill();
      await Promise.all([once(server, "exit"), gateway?.stop()]);
      await rm(folder, { recursive: true });
    }
  },
);

test("local model: vectors of a real embedding model, by the SDK", async () => {
  const model = await serveEmbeddings();
  /** @type {Gateway | undefined} */
  let gateway;
  try {
    const local = {
      base_url: model.baseUrl,
      auth: "none",
      formats: ["embeddings"],
      models: ["use-lite"],
    };
    gateway = await Gateway.startBare({
      GATEWAY_API_KEY: KEY,
      GATEWAY_CONFIG: JSON.stringify({ providers: { local } }),
    });
    const client = new OpenAI({
      baseURL: `${gateway.url}/v1`,
      apiKey: KEY,
      maxRetries: 0,
      fetch: /** @type {any} */ (call),
    });
    const input = ["A cat sat on the mat.", "A kitten rests on a rug.", "Quarterly tax returns"];
    const expected = (await model.vectors(input)).map((vector) => [...Float32Array.from(vector)]);
    // The SDK asks for base64 unless it is told otherwise.
    for (const encoding_format of /** @type {const} */ ([undefined, "float"])) {
      const { data, usage } = await client.embeddings.create({
        model: "local/use-lite",
        input,
        ...(encoding_format ? { encoding_format } : {}),
      });
      const [cat, kitten, taxes] = data.map(({ embedding }) => embedding);
      assert.ok(cat && kitten && taxes);
      const dot = (/** @type {number[]} */ other) =>
        cat.reduce((sum, value, index) => sum + value * (other[index] ?? NaN), 0);
      assert.ok(dot(kitten) > 0.6 && dot(taxes) < 0.3, `${dot(kitten)}, ${dot(taxes)}`);
      const received = data.map(({ embedding }) => [...Float32Array.from(embedding)]);
      assert.deepEqual(received, expected);
      assert.ok(usage.prompt_tokens > 0);
    }
  } finally {
    await Promise.all([gateway?.stop(), model.stop()]);
  }
});
