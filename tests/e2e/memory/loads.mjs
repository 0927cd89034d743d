// @ts-check
//! Loads that make a gateway hold as much as it lets them: for tests/e2e/memory.test.mjs and benchmark/memory.mjs.

import { once } from "node:events";
import { createServer, request } from "node:http";
import { connect } from "node:net";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { KEY } from "../harness.mjs";

/** @typedef {import("../harness.mjs").Gateway} Gateway */

const CHUNK = Buffer.alloc(65_536, "x");

/** An upstream that answers any request with as much as it is told to, without waiting for an end of the line. */
export class Flood {
  /** @param {(response: import("node:http").ServerResponse) => Promise<unknown>} answer */
  static async start(answer) {
    const server = createServer((incoming, response) => {
      response.on("error", () => {});
      incoming.resume().on("end", () => answer(response).catch(() => {}));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Flood(server);
  }

  /** @param {import("node:http").Server} server */
  constructor(server) {
    this.server = server;
    const address = /** @type {import("node:net").AddressInfo} */ (server.address());
    this.url = `http://127.0.0.1:${address.port}`;
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}

const content = (/** @type {string} */ text) =>
  Buffer.from(
    `data: ${JSON.stringify({ id: "a", object: "chat.completion.chunk", model: "m", choices: [{ index: 0, delta: { content: text } }] })}\n\n`,
  );

/**
 * An answer with an event stream, sent as fast as the reader takes it.
 *
 * @param {() => Iterable<Buffer>} pieces
 */
const streamed = (pieces) => async (/** @type {import("node:http").ServerResponse} */ response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  Readable.from(pieces()).pipe(response);
};

/**
 * A stream that begins, and then has one line of this many bytes.
 *
 * @param {number} bytes
 */
export const longLine = (bytes) =>
  streamed(function* () {
    yield content("begin");
    yield Buffer.from("data: ");
    for (let sent = 0; sent < bytes; sent += CHUNK.length) yield CHUNK;
  });

/**
 * A stream of this many bytes in events of 4 KB.
 *
 * @param {number} bytes
 */
export const manyEvents = (bytes) =>
  streamed(function* () {
    const event = content("x".repeat(4_000));
    for (let sent = 0; sent < bytes; sent += event.length) yield event;
    yield Buffer.from("data: [DONE]\n\n");
  });

/**
 * A whole response of this many bytes.
 *
 * @param {number} bytes
 */
export const whole =
  (bytes) => async (/** @type {import("node:http").ServerResponse} */ response) => {
    const text = JSON.stringify({
      id: "a",
      object: "chat.completion",
      choices: [{ index: 0, message: { role: "assistant", content: "x".repeat(bytes) } }],
    });
    response.writeHead(200, {
      "content-type": "application/json",
      "content-length": `${text.length}`,
    });
    response.end(text);
  };

/**
 * The body of a chat completion of this many bytes.
 *
 * @param {number} bytes
 * @param {object} [more]
 */
export function body(bytes, more = {}) {
  const empty = JSON.stringify({
    model: "demo/sim-small",
    messages: [{ role: "user", content: "" }],
    ...more,
  });
  return Buffer.from(
    empty.replace('"content":""', `"content":"${"x".repeat(bytes - empty.length)}"`),
  );
}

/** The boundary of `upload`. */
const BOUNDARY = "a-boundary";

/**
 * The form of a transcription with a file of this many bytes, for `send`.
 *
 * @param {number} bytes
 */
export const upload = (bytes) =>
  Buffer.concat([
    Buffer.from(
      `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="speech.wav"\r\n\r\n`,
    ),
    Buffer.alloc(bytes),
    Buffer.from(
      `\r\n--${BOUNDARY}\r\nContent-Disposition: form-data; name="model"\r\n\r\nlistener/a\r\n--${BOUNDARY}--\r\n`,
    ),
  ]);

/** Where `upload` is sent, and as what. */
export const UPLOAD = {
  path: "/v1/audio/transcriptions",
  type: `multipart/form-data; boundary=${BOUNDARY}`,
};

/**
 * Sends a body in pieces, and returns the status and the code of an error.
 *
 * @param {Gateway} gateway
 * @param {Buffer} text
 * @param {{ declared?: boolean, pauseMs?: number, path?: string, type?: string }} [options] declared: with a content length
 * @returns {Promise<{ status: number, code: string | undefined, retryAfter: string | undefined }>}
 */
export async function send(gateway, text, options = {}) {
  const { declared = true, pauseMs = 0 } = options;
  const { path = "/v1/chat/completions", type = "application/json" } = options;
  const sent = request(`${gateway.url}${path}`, {
    method: "POST",
    agent: false,
    headers: {
      authorization: `Bearer ${KEY}`,
      "content-type": type,
      ...(declared ? { "content-length": `${text.length}` } : {}),
    },
  });
  const failed = once(sent, "error").then(([error]) => ({ error }));
  const responded = once(sent, "response").then(([response]) => ({ response }));
  responded.catch(() => {});
  const pieces = async function* () {
    for (let start = 0; start < text.length; start += 1_000_000) {
      yield text.subarray(start, start + 1_000_000);
      if (pauseMs > 0) await sleep(pauseMs);
    }
  };
  Readable.from(pieces()).pipe(sent);
  const ended = await Promise.race([responded, failed]);
  if ("error" in ended) return { status: 0, code: `${ended.error}`, retryAfter: undefined };
  let received = "";
  for await (const chunk of ended.response.setEncoding("utf8")) received += chunk;
  const { statusCode, headers } = ended.response;
  const code = statusCode === 200 ? undefined : JSON.parse(received).error?.code;
  return { status: statusCode, code, retryAfter: headers["retry-after"] };
}

/**
 * Streams of which the client reads the head and then nothing more.
 *
 * @param {Gateway} gateway
 * @param {number} count
 * @param {object} [more] members of the body
 */
export async function slowReaders(gateway, count, more = {}) {
  const { hostname, port } = new URL(gateway.url);
  const text = body(200, { stream: true, ...more });
  return Promise.all(
    Array.from({ length: count }, async () => {
      const socket = connect(Number(port), hostname);
      socket.on("error", () => {});
      await once(socket, "connect");
      socket.write(
        `POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer ${KEY}\r\n` +
          `content-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n`,
      );
      socket.write(text);
      await Promise.race([once(socket, "readable"), sleep(10_000)]);
      return socket;
    }),
  );
}
