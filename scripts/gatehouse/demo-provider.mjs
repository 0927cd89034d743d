// @ts-check
// The provider of a gateway that has no provider's key: it repeats what the user says, word by word.
//
// It speaks Chat Completions only; the gateway translates Messages and Responses. It never fails: the provider that fails in
// every way real ones do is for tests, in tests/upstream.

import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** The name of the provider in the gateway's configuration. */
export const NAME = "demo";
export const MODEL = "sim-small";

const MAX_BODY_BYTES = 20 << 20;
const MAX_QUOTED = 200;
/** Between two words of a stream, so that it can be seen. */
const WORD_MS = 20;

/** @typedef {import("node:http").ServerResponse} Response */

/**
 * Starts the provider on a free port of the loopback interface. It serves until the process ends.
 *
 * @returns {Promise<string>} its base URL
 */
export async function startDemoProvider() {
  const server = createServer((request, response) => {
    respond(request, response).catch(() => response.destroy());
  });
  await new Promise((done, fail) => {
    server.on("error", fail);
    server.listen(0, "127.0.0.1", () => done(undefined));
  });
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return `http://127.0.0.1:${port}/v1`;
}

/**
 * @param {import("node:http").IncomingMessage} request
 * @param {Response} response
 */
async function respond(request, response) {
  if (request.method !== "POST" || request.url !== "/v1/chat/completions") {
    sendError(response, 404, "The simulated provider has only POST /v1/chat/completions");
    return;
  }
  let text = "";
  request.setEncoding("utf8");
  for await (const part of request) {
    text += part;
    if (text.length > MAX_BODY_BYTES) {
      sendError(response, 413, "The request is too large");
      return;
    }
  }
  const body = parse(text);
  if (!Array.isArray(body?.messages)) {
    sendError(response, 400, "The body must be a JSON object with the array messages");
    return;
  }
  const words = reply(body.messages).match(/\s*\S+\s*$|\s*\S+/g) ?? [];
  const limit = body.max_completion_tokens ?? body.max_tokens ?? Infinity;
  const completion = {
    head: {
      id: `chatcmpl-demo-${Date.now()}`,
      created: Math.floor(Date.now() / 1000),
      model: MODEL,
    },
    words: words.slice(0, limit),
    finish: words.length > limit ? "length" : "stop",
    usage: usage(body.messages, Math.min(words.length, limit)),
  };
  if (body.stream === true)
    await sendStream(response, completion, body.stream_options?.include_usage === true);
  else sendWhole(response, completion);
}

/**
 * @typedef {object} Completion
 * @property {{ id: string, created: number, model: string }} head
 * @property {string[]} words
 * @property {string} finish
 * @property {object} usage
 */

/**
 * @param {Response} response
 * @param {Completion} completion
 */
function sendWhole(response, { head, words, finish, usage }) {
  const message = { role: "assistant", content: words.join(""), refusal: null };
  const choices = [{ index: 0, message, logprobs: null, finish_reason: finish }];
  send(response, 200, { ...head, object: "chat.completion", choices, usage });
}

/**
 * @param {Response} response
 * @param {Completion} completion
 * @param {boolean} hasUsage
 */
async function sendStream(response, { head, words, finish, usage }, hasUsage) {
  response.writeHead(200, { "content-type": "text/event-stream" });
  /** @param {object} fields */
  const event = (fields) => {
    const chunk = { ...head, object: "chat.completion.chunk", ...fields };
    response.write(`data: ${JSON.stringify(chunk)}\n\n`);
  };
  /**
   * @param {object} delta
   * @param {string | null} end
   */
  const choice = (delta, end = null) =>
    event({ choices: [{ index: 0, delta, logprobs: null, finish_reason: end }] });
  choice({ role: "assistant", content: "" });
  for (const word of words) {
    choice({ content: word });
    await sleep(WORD_MS);
    if (response.destroyed) return;
  }
  choice({}, finish);
  if (hasUsage) event({ choices: [], usage });
  response.end("data: [DONE]\n\n");
}

/**
 * @param {Response} response
 * @param {number} status
 * @param {object} body
 */
function send(response, status, body) {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

/**
 * @param {Response} response
 * @param {number} status
 * @param {string} message
 */
function sendError(response, status, message) {
  send(response, status, { error: { message, type: "invalid_request_error", code: null } });
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * The text of a message: its string, or its text parts.
 *
 * @param {any} message
 * @returns {string}
 */
function textOf(message) {
  const content = message?.content;
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.flatMap((part) => (typeof part?.text === "string" ? [part.text] : [])).join(" ");
}

/** @param {any[]} messages */
function reply(messages) {
  const text = textOf(messages.findLast((message) => message?.role === "user")).trim();
  if (text === "") return "Hello from the simulated provider.";
  const letters = [...text];
  return `You said: ${letters.slice(0, MAX_QUOTED).join("")}${letters.length > MAX_QUOTED ? " …" : ""}`;
}

/**
 * A word is a token.
 *
 * @param {any[]} messages
 * @param {number} completion
 */
function usage(messages, completion) {
  const prompt = messages.map(textOf).join(" ").split(/\s+/).filter(Boolean).length;
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
  };
}
