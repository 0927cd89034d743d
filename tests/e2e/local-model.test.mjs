// @ts-check
//! A real language model through the gateway. Skipped unless `scripts/local-model install` has been run: compiling
//! its server takes minutes.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import OpenAI from "openai";
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
