// @ts-check
//! One exchange with an upstream: send, wait within limits, collect or relay the answer, and stop when the client leaves.
//!
//! This is JavaScript because it is all waiting: Wasm pays two closures and a task for each promise that it awaits, and a
//! stream has hundreds. What to send and what to make of the answer is decided in Rust.
//!
//! Two of the three parts that keep memory flat when clients leave are here: an AbortController of our own for every
//! upstream fetch, and its tie to `request.signal` (which does nothing when handed to fetch itself). The third is
//! RUN_TO_COMPLETION in scripts/build.

import { collect } from "./body.js";

/**
 * What came of sending a request.
 *
 * @typedef {object} Exchange
 * @property {"" | "client" | "timeout" | "unreachable" | "broken" | "too_large"} failure empty when there is an answer
 * @property {string} detail the runtime's words for the failure, for the log
 * @property {number} status
 * @property {Uint8Array | undefined} body the whole answer, unless it is to be relayed
 * @property {Response | undefined} response
 * @property {Watch} watch
 */

/** Calls back when nothing happened for some time, and when the client leaves. */
class Watch {
  /**
   * @param {AbortSignal} client
   * @param {number} limit in milliseconds
   */
  constructor(client, limit) {
    this.controller = new AbortController();
    /** @type {"" | "client" | "timeout"} why the upstream was abandoned */
    this.reason = "";
    this.client = client;
    this.onClientLeft = () => this.abandon("client");
    client.addEventListener("abort", this.onClientLeft);
    if (client.aborted) this.abandon("client");
    /** @type {number | null} */
    this.timer = null;
    this.limit = 0;
    this.since = 0;
    this.allow(limit);
  }

  /** Something happened. Costs no timer: the running one looks at the time when it fires. */
  touch() {
    this.since = Date.now();
  }

  /** What is waited for now is not the upstream. */
  pause() {
    this.since = Infinity;
  }

  /** @param {number} limit from now on, in milliseconds */
  allow(limit) {
    clearTimeout(this.timer);
    this.limit = limit;
    this.since = Date.now();
    this.timer = setTimeout(() => this.check(), limit);
  }

  check() {
    const left = this.since + this.limit - Date.now();
    if (left > 0) {
      this.timer = setTimeout(() => this.check(), Math.min(left, this.limit));
    } else {
      this.abandon("timeout");
    }
  }

  /** @param {"client" | "timeout"} reason */
  abandon(reason) {
    this.reason ||= reason;
    this.controller.abort();
  }

  stop() {
    clearTimeout(this.timer);
    this.client.removeEventListener("abort", this.onClientLeft);
  }
}

/**
 * Sends a request. Resolves always; what went wrong is in `failure`.
 *
 * @param {AbortSignal} client aborted when the client leaves
 * @param {string} url
 * @param {string | undefined} authorization
 * @param {Uint8Array} body
 * @param {boolean} stream whether a successful event stream is to be relayed instead of collected
 * @param {number} firstByteMs
 * @param {number} idleMs
 * @param {number} maxBytes of a whole answer
 * @param {number} maxErrorBytes of an answer that is not a success
 * @returns {Promise<Exchange>}
 */
export async function send(
  client,
  url,
  authorization,
  body,
  stream,
  firstByteMs,
  idleMs,
  maxBytes,
  maxErrorBytes,
) {
  const watch = new Watch(client, firstByteMs);
  /** @type {Exchange} */
  const exchange = {
    failure: "",
    detail: "",
    status: 0,
    body: undefined,
    response: undefined,
    watch,
  };
  // The whole list: nothing of the caller's headers reaches an upstream.
  /** @type {Record<string, string>} */
  const headers = {
    "content-type": "application/json",
    accept: stream ? "text/event-stream" : "application/json",
    // The runtime would decode and encode again what is read here.
    "accept-encoding": "identity",
    "user-agent": "gatehouse",
  };
  if (authorization !== undefined) headers["authorization"] = authorization;
  /** @type {Exchange["failure"]} */
  let failure = "unreachable";
  try {
    const response = await fetch(url, {
      method: "POST",
      headers,
      body,
      redirect: "manual",
      signal: watch.controller.signal,
    });
    failure = "broken";
    exchange.status = response.status;
    exchange.response = response;
    watch.allow(idleMs);
    if (stream && response.status === 200 && response.body !== null && isEventStream(response)) {
      return exchange;
    }
    const limit = response.ok ? maxBytes : maxErrorBytes;
    const whole =
      response.body === null
        ? new Uint8Array()
        : await collect(response.body, limit, () => watch.touch(), 0);
    if (whole === null && response.ok) exchange.failure = "too_large";
    exchange.body = whole ?? undefined;
  } catch (error) {
    exchange.failure = watch.reason || failure;
    exchange.detail = String(error);
  }
  watch.stop();
  return exchange;
}

/** @param {Response} response */
function isEventStream(response) {
  return /^text\/event-stream\s*(;|$)/i.test(response.headers.get("content-type") ?? "");
}

/**
 * Relays the event stream of an exchange to the client.
 *
 * @param {Exchange} exchange
 * @param {number} pingMs how long the client may get nothing before it gets a comment
 * @param {(chunk: Uint8Array) => Uint8Array | undefined} push what to send on for a chunk; undefined: the chunk itself
 * @param {() => boolean} isOver whether the client has all it will get, asked after each chunk that push gave
 * @param {(ending: "closed" | "broken" | "silent") => Uint8Array} end the last bytes for the client
 * @returns {{ readable: ReadableStream, finished: Promise<boolean> }} finished: whether the client stayed to the end
 */
export function relay(exchange, pingMs, push, isOver, end) {
  const { readable, writable } = new IdentityTransformStream();
  const client = new Client(writable.getWriter(), pingMs);
  const finished = pump(exchange, client, push, isOver, end);
  return { readable, finished };
}

/** The client's end of a stream. Between two writes it is always between two events, since events are sent on whole. */
class Client {
  /**
   * @param {WritableStreamDefaultWriter<Uint8Array>} writer
   * @param {number} pingMs
   */
  constructor(writer, pingMs) {
    this.writer = writer;
    this.writing = false;
    this.wroteAt = Date.now();
    this.pings = setInterval(() => {
      if (!this.writing && Date.now() - this.wroteAt >= pingMs) this.write(PING).catch(() => {});
    }, pingMs);
  }

  /** @param {Uint8Array} bytes */
  async write(bytes) {
    this.writing = true;
    await this.writer.write(bytes);
    this.writing = false;
    this.wroteAt = Date.now();
  }

  close() {
    this.stopPings();
    return this.writer.close();
  }

  stopPings() {
    clearInterval(this.pings);
  }
}

const PING = new TextEncoder().encode(": ping\n\n");

/**
 * @param {Exchange} exchange
 * @param {Client} client
 * @param {(chunk: Uint8Array) => Uint8Array | undefined} push
 * @param {() => boolean} isOver
 * @param {(ending: "closed" | "broken" | "silent") => Uint8Array} end
 * @returns {Promise<boolean>}
 */
async function pump({ response, watch }, client, push, isOver, end) {
  const upstream = /** @type {ReadableStream<Uint8Array>} */ (response?.body).getReader();
  // Tells that the client left even while the upstream is silent.
  client.writer.closed.catch(() => watch.abandon("client"));
  try {
    const ending = await relayChunks(upstream, watch, client, push, isOver);
    if (ending !== "over") {
      const last = end(ending);
      if (last.byteLength > 0) await client.write(last);
    }
    await client.close();
    // What follows [DONE] is of no interest, but a connection that is read to its end can be used again.
    if (ending === "over") await drain(upstream, watch);
    return true;
  } catch (error) {
    // Writing failed: the client has left. Should anything else have failed, its connection breaks, rather than hang.
    watch.abandon("client");
    client.writer.abort(error).catch(() => {});
    return false;
  } finally {
    client.stopPings();
    watch.stop();
    // Nothing is left to read, or nobody to read it for.
    watch.controller.abort();
  }
}

/**
 * @param {ReadableStreamDefaultReader<Uint8Array>} upstream
 * @param {Watch} watch
 * @param {Client} client
 * @param {(chunk: Uint8Array) => Uint8Array | undefined} push
 * @param {() => boolean} isOver
 * @returns {Promise<"over" | "closed" | "broken" | "silent">}
 */
async function relayChunks(upstream, watch, client, push, isOver) {
  for (;;) {
    watch.touch();
    let read;
    try {
      read = await upstream.read();
    } catch (error) {
      if (watch.reason === "client") throw error;
      return watch.reason === "timeout" ? "silent" : "broken";
    }
    if (read.done) return "closed";
    const instead = push(read.value);
    const chunk = instead ?? read.value;
    if (chunk.byteLength > 0) {
      // A client that reads slowly is not a silent upstream.
      watch.pause();
      await client.write(chunk);
      watch.touch();
    }
    if (instead !== undefined && isOver()) return "over";
  }
}

/**
 * @param {ReadableStreamDefaultReader<Uint8Array>} upstream
 * @param {Watch} watch
 */
async function drain(upstream, watch) {
  watch.allow(DRAIN_MS);
  try {
    while (!(await upstream.read()).done);
  } catch {
    // It broke or took too long; the client has its answer.
  }
}

/** How long an upstream may take to end its body after [DONE]. */
const DRAIN_MS = 1000;
