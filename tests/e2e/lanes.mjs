// @ts-check
//! Helpers for tests of routing: several providers on one simulated upstream, and calls whose upstream requests can
//! be identified.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { KEY, call, events, variables } from "./harness.mjs";

/** @typedef {import("./harness.mjs").Gateway} Gateway */
/** @typedef {import("./harness.mjs").Upstream} Upstream */
/** @typedef {import("./harness.mjs").Recorded} Recorded */

/** The default message of a call, and the response to it. */
export const QUESTION = "one two three";
export const ANSWER = `You said: ${QUESTION}`;

/**
 * The settings of a provider at `/name` of the simulated upstream.
 *
 * @param {Upstream} upstream
 * @param {string} name
 * @param {object} [settings]
 */
export function lane(upstream, name, settings = {}) {
  return { base_url: `${upstream.url}/${name}/v1`, auth: "none", ...settings };
}

/**
 * The variables of a gateway with this configuration and no other provider.
 *
 * @param {Upstream} upstream
 * @param {object} config
 */
export const configured = (upstream, config) =>
  variables(upstream, { aliases: {}, providers: {}, ...config });

/**
 * A chat completion, read to its end.
 *
 * @typedef {object} Answered
 * @property {number} status
 * @property {Headers} headers
 * @property {string} text
 * @property {any} body of a whole answer
 * @property {any} error
 * @property {string} content of a whole answer or a stream
 * @property {any[]} events of a stream, as JSON, without `[DONE]`
 * @property {boolean} done whether the stream has a `[DONE]`
 * @property {number} ms until its end
 * @property {string | null} provider
 * @property {number} attempts
 * @property {string} tag by which `sent` finds what was sent upstream for it
 */

let asked = 0;

/**
 * Sends a chat completion and reads the whole response.
 *
 * @param {Gateway} gateway
 * @param {object} body
 * @param {Record<string, string>} [headers]
 * @returns {Promise<Answered>}
 */
export async function ask(gateway, body, headers = {}) {
  const tag = `ask-${(asked += 1)}`;
  const began = performance.now();
  const response = await call(`${gateway.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json", ...headers },
    body: JSON.stringify({
      messages: [{ role: "user", content: QUESTION }],
      user: tag,
      ...body,
    }),
  });
  const text = await response.text();
  const answered = {
    status: response.status,
    headers: response.headers,
    text,
    ms: performance.now() - began,
    provider: response.headers.get("x-gateway-provider"),
    attempts: Number(response.headers.get("x-gateway-attempts")),
    tag,
  };
  if (!response.headers.get("content-type")?.startsWith("text/event-stream")) {
    const json = JSON.parse(text);
    const content = json.choices?.[0].message.content;
    return { ...answered, body: json, error: json.error, content, events: [], done: false };
  }
  const data = events(text);
  const done = data.at(-1) === "[DONE]";
  const parsed = (done ? data.slice(0, -1) : data).map((event) => JSON.parse(event));
  const deltas = parsed.map((event) => event.choices?.[0]?.delta?.content ?? "");
  const error = parsed.find((event) => event.error)?.error;
  return {
    ...answered,
    body: undefined,
    error,
    content: deltas.join(""),
    events: parsed,
    done,
  };
}

/**
 * The upstream requests of a call: the provider (by its path), the body and the record.
 *
 * @param {Upstream} upstream
 * @param {Answered} answered
 */
export async function sent(upstream, { tag }) {
  const records = await upstream.requests();
  return records.flatMap((record) => {
    const body = JSON.parse(record.body_text ?? "{}");
    const to = record.path.split("/")[1] ?? "";
    return body.user === tag ? [{ to, body, record }] : [];
  });
}

/**
 * Asserts that a call was answered completely, by one upstream only.
 *
 * @param {Answered} answered
 * @param {string} [content]
 */
export function assertAnswered(answered, content = ANSWER) {
  assert.equal(answered.status, 200, answered.text);
  assert.equal(answered.error, undefined, answered.text);
  assert.equal(answered.content, content);
  if (answered.events.length > 0) {
    assert.ok(answered.done, answered.text);
    const ids = new Set(answered.events.map((event) => event.id));
    assert.equal(ids.size, 1, answered.text);
    const roles = answered.events.filter((event) => event.choices?.[0]?.delta?.role !== undefined);
    assert.equal(roles.length, 1, answered.text);
  }
}

/**
 * Asserts that a call was answered with an error in the envelope of this API.
 *
 * @param {Answered} answered
 * @param {number} status
 * @param {string | null} [code] undefined: any
 */
export function assertRefused(answered, status, code) {
  assert.equal(answered.status, status, answered.text);
  assert.equal(answered.headers.get("content-type"), "application/json");
  assert.deepEqual(Object.keys(answered.body), ["error"]);
  assert.deepEqual(Object.keys(answered.error).sort(), ["code", "message", "param", "type"]);
  assert.equal(typeof answered.error.type, "string");
  if (code !== undefined) assert.equal(answered.error.code, code, answered.text);
}

/**
 * An upstream that answers with exactly the given bytes: responses that no framework would send. The first segment of
 * the path selects them.
 */
export class RawUpstream {
  /** @type {Map<string, (string | Buffer)[]>} the parts of a response, each written by itself */
  answers = new Map();
  /** @type {Map<string, any[]>} the bodies of the requests so far */
  requests = new Map();
  /** @type {Set<import("node:net").Socket>} */
  #sockets = new Set();
  #server = createServer((socket) => this.#serve(socket));

  static async start() {
    const raw = new RawUpstream();
    raw.#server.listen(0, "127.0.0.1");
    await once(raw.#server, "listening");
    return raw;
  }

  /** @param {string} name */
  url(name) {
    const { port } = /** @type {import("node:net").AddressInfo} */ (this.#server.address());
    return `http://127.0.0.1:${port}/${name}/v1`;
  }

  /** @param {string} name */
  asked(name) {
    return this.requests.get(name)?.length ?? 0;
  }

  /** @param {import("node:net").Socket} socket */
  async #serve(socket) {
    this.#sockets.add(socket);
    socket.on("error", () => {}).on("close", () => this.#sockets.delete(socket));
    let received = "";
    for await (const chunk of socket) {
      received += chunk.toString("latin1");
      const [head = "", body] = received.split("\r\n\r\n");
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1]);
      if (body === undefined || body.length < length) continue;
      const name = head.split("/")[1] ?? "";
      this.requests.set(name, [...(this.requests.get(name) ?? []), JSON.parse(body)]);
      for (const part of this.answers.get(name) ?? []) {
        await new Promise((resolve) => socket.write(part, resolve));
      }
      break;
    }
    socket.end();
  }

  async stop() {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, "close");
  }
}
