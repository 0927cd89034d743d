// @ts-check
//! One exchange with an upstream: sends, waits within limits, collects or relays the response, and stops when the
//! client disconnects.
//!
//! This is JavaScript because it does nothing but wait: Wasm pays two closures and a task for each promise that it
//! awaits, and a stream has hundreds. Rust decides what to send and how to read the response.
//!
//! Two of the three parts that keep memory flat when clients disconnect are here: a separate AbortController for
//! every upstream fetch, and its connection to `request.signal` (which does nothing when passed to fetch itself). The
//! third is in `entry.js`.

import { beat } from "./heartbeat.js";
import { collect, join } from "./request.js";
import { streamed } from "./upload.js";

/**
 * A response with a declared length up to this, in bytes, is read in one go: the runtime enters the isolate once
 * instead of once for each chunk and once for the end, some 15 µs each. Such a response must arrive whole within the
 * limit for silence.
 */
const SMALL = 65_536;

/**
 * The outcome of sending a request.
 *
 * @typedef {object} Exchange
 * @property {"" | "client" | "unsent" | "late" | "timeout" | "unreachable" | "broken" | "too_large" | "overloaded" | "ended"} failure
 * empty if there is a response for the client; ended: the stream broke before its first content, and the hooks know why;
 * unsent: the client had left before; late: the whole response arrived after the client had left
 * @property {string} detail the runtime's message of the failure, for the log
 * @property {number} status
 * @property {Uint8Array | undefined} body the whole response, unless it is to be relayed
 * @property {Headers | undefined} headers of the response
 * @property {Watch} watch
 * @property {Hooks | undefined} hooks
 * @property {Source | undefined} source of a stream that is to be relayed
 * @property {Uint8Array[]} held the part that has been read already, for the client
 * @property {boolean} over true if that is all of it
 */

/**
 * The functions that decide about a stream.
 *
 * @typedef {object} Hooks
 * @property {(chunk: Uint8Array) => Uint8Array | undefined} push returns the bytes to send for a chunk; undefined:
 * the chunk itself
 * @property {number} [suffices] present if no stream was requested: then a small response is collected, and of each
 * later chunk of a large one `push` needs only so many bytes at the end
 * @property {() => "held" | "begun" | "over"} state held: no content yet; over: the client gets nothing more
 * @property {(ending: "closed" | "broken" | "silent") => Uint8Array | undefined} end the last bytes for the client; undefined:
 * the format has no sign of an incomplete response, so the client's connection must break
 */

/**
 * Limits that are the same for every exchange.
 *
 * @typedef {object} Limits
 * @property {number} idleMs the longest silence within a response
 * @property {number} holdMs the longest time that a stream is held until its first content
 * @property {number} holdBytes the most of it that is held
 * @property {number} maxBytes of a whole response
 * @property {number} maxErrorBytes of the response with an error
 */

/**
 * The binding `AI`.
 *
 * @typedef {{ run(model: string, inputs: object, options: object): Promise<unknown> }} Binding
 */

/**
 * The time for which an upstream is read after the client has left, in milliseconds, for the usage of a call that is
 * charged to a limit. The runtime ends a request 30 s after its client has left, and the usage must be reported before.
 */
const AFTERMATH_MS = 25_000;

/** Cancels an upstream after a period of silence, and when the client disconnects. */
class Watch {
  /**
   * @param {AbortSignal} client
   * @param {boolean} drains reads on for the usage when the client disconnects
   * @param {number} limit in milliseconds
   * @param {number} total time until everything must be over, in milliseconds
   * @param {number} pace interval of the checks, in milliseconds: at most the shortest limit that may be set later
   * @param {number | undefined} heartbeat to call at each check
   */
  constructor(client, drains, limit, total, pace, heartbeat) {
    this.client = client;
    this.drains = drains;
    this.controller = new AbortController();
    /** @type {"" | "client" | "timeout"} reason of the cancellation */
    this.reason = "";
    /** True if the client has left. */
    this.isAlone = client.aborted;
    client.addEventListener("abort", () => this.leave());
    this.limit = limit;
    this.since = Date.now();
    this.until = this.since + total;
    /**
     * Setting and clearing a timer costs 5 µs: the timer is replaced only if it is too slow for a new limit.
     */
    this.pace = Math.min(limit, pace);
    this.heartbeat = heartbeat;
    this.check = this.check.bind(this);
    this.timer = setTimeout(this.check, Math.min(this.pace, total));
  }

  /** Restarts the period of silence. Sets no timer: the running one compares the time when it fires. */
  touch() {
    this.since = Date.now();
  }

  /** Stops counting silence, while something other than the upstream is waited for. */
  pause() {
    this.since = Infinity;
  }

  /** Removes the total limit: from here on only silence counts. */
  commit() {
    if (!this.isAlone) this.until = Infinity;
  }

  /** Handles a disconnected client: cancels the upstream, or reads on for a while. */
  leave() {
    if (this.isAlone) return;
    this.isAlone = true;
    if (!this.drains) return this.abandon("client");
    this.until = Math.min(this.until, Date.now() + AFTERMATH_MS);
  }

  /** @param {number} limit from now on, in milliseconds */
  allow(limit) {
    this.limit = limit;
    this.touch();
    if (limit < this.pace) {
      this.pace = limit;
      clearTimeout(this.timer);
      this.check();
    }
  }

  check() {
    if (this.heartbeat !== undefined) beat(this.heartbeat);
    const left = Math.min(this.since + this.limit, this.until) - Date.now();
    if (left > 0) {
      this.timer = setTimeout(this.check, Math.min(left, this.pace));
    } else {
      this.abandon(this.isAlone ? "client" : "timeout");
    }
  }

  /** @param {"client" | "timeout"} reason */
  abandon(reason) {
    this.reason ||= reason;
    this.controller.abort();
  }

  stop() {
    clearTimeout(this.timer);
  }
}

/**
 * Sends a request. `settled` always resolves; `failure` states what went wrong. For a successful response to a request
 * for a stream it resolves with the first content, or when the limit of held bytes is reached; for anything else with
 * the whole response.
 *
 * @param {AbortSignal} client aborted when the client disconnects
 * @param {string} url of the endpoint; for the binding, the model
 * @param {string} headers lines: the names and values of headers beyond those of every request
 * @param {Binding | undefined} binding to use instead of HTTP, for JSON
 * @param {Uint8Array | import("./upload.js").Pieces} body JSON, or an upload
 * @param {Limits} limits
 * @param {boolean} drains reads on for the usage when the client disconnects
 * @param {number} firstByteMs until the status line
 * @param {number} stallMs the longest silence of a stream before its first content
 * @param {number} totalMs until the whole response has arrived, or the stream has started
 * @param {Hooks | undefined} hooks for a stream; undefined: none was requested
 * @param {number | undefined} heartbeat of the call
 * @param {number} heartbeatMs its interval
 * @param {number} ticket of the budget, for a whole response
 * @returns {{ settled: Promise<Exchange>, cancel: () => void }}
 */
export function send(
  client,
  url,
  headers,
  binding,
  body,
  limits,
  drains,
  firstByteMs,
  stallMs,
  totalMs,
  hooks,
  heartbeat,
  heartbeatMs,
  ticket,
) {
  const pace = Math.min(stallMs, limits.idleMs, heartbeat === undefined ? Infinity : heartbeatMs);
  const watch = new Watch(client, drains, firstByteMs, totalMs, pace, heartbeat);
  const { signal } = watch.controller;
  const pending = watch.isAlone
    ? undefined
    : binding === undefined
      ? post(url, headers, body, hooks !== undefined && hooks.suffices === undefined, signal)
      : run(binding, url, /** @type {Uint8Array} */ (body), signal);
  return {
    settled: exchange(watch, pending, limits, stallMs, hooks, ticket),
    cancel: () => {
      watch.stop();
      watch.controller.abort();
    },
  };
}

/**
 * Sends a request without a body, and collects the whole response. `settled` as for `send`.
 *
 * @param {AbortSignal} client aborted when the client disconnects
 * @param {string} method
 * @param {string} url
 * @param {string} headers lines: the names and values of headers beyond those of every request
 * @param {Limits} limits
 * @param {number} totalMs until the whole response has arrived
 * @param {number} ticket of the budget
 * @returns {{ settled: Promise<Exchange>, cancel: () => void }}
 */
export function ask(client, method, url, headers, limits, totalMs, ticket) {
  const watch = new Watch(client, false, totalMs, totalMs, limits.idleMs, undefined);
  const { signal } = watch.controller;
  const init = { method, headers: httpHeaders(headers, false), redirect: "manual", signal };
  const pending = watch.isAlone ? undefined : fetch(url, /** @type {RequestInit} */ (init));
  return {
    settled: exchange(watch, pending, limits, totalMs, undefined, ticket),
    cancel: () => {
      watch.stop();
      watch.controller.abort();
    },
  };
}

/**
 * @param {Watch} watch
 * @param {Promise<Response> | undefined} pending undefined: nothing is sent
 * @param {Limits} limits
 * @param {number} stallMs
 * @param {Hooks | undefined} hooks
 * @param {number} ticket
 * @returns {Promise<Exchange>}
 */
async function exchange(watch, pending, limits, stallMs, hooks, ticket) {
  /** @type {Exchange} */
  const exchange = {
    failure: "",
    detail: "",
    status: 0,
    body: undefined,
    headers: undefined,
    watch,
    hooks,
    source: undefined,
    held: [],
    over: false,
  };
  if (pending === undefined) {
    watch.stop();
    exchange.failure = "unsent";
    return exchange;
  }
  /** @type {Exchange["failure"]} */
  let failure = "unreachable";
  try {
    const response = await pending;
    const { headers } = response;
    failure = "broken";
    exchange.status = response.status;
    exchange.headers = headers;
    // The hooks see what the body is: many servers state another content type, or none.
    const isCollected =
      hooks === undefined || (hooks.suffices !== undefined && declared(headers) <= SMALL);
    if (!isCollected && response.ok && response.body) {
      exchange.source = new Source(response.body);
      watch.allow(stallMs);
      await hold(exchange, exchange.source, hooks, limits);
      if (exchange.failure === "") {
        watch.commit();
        watch.allow(limits.idleMs);
        return exchange;
      }
      watch.controller.abort();
    } else {
      watch.allow(limits.idleMs);
      const limit = response.ok ? limits.maxBytes : limits.maxErrorBytes;
      const size = declared(headers);
      const touch = () => watch.touch();
      if (size <= Math.min(limit, SMALL)) {
        exchange.body = new Uint8Array(await response.arrayBuffer());
      } else if (response.body === null) {
        exchange.body = new Uint8Array();
      } else if (response.ok) {
        const whole = await collect(response.body, limit, touch, ticket);
        if (typeof whole === "string") exchange.failure = whole;
        else exchange.body = whole;
      } else {
        exchange.body = await start(response.body, limit, touch);
      }
    }
  } catch (error) {
    exchange.failure = watch.reason || failure;
    exchange.detail = String(error);
  }
  // Without a client there is no other attempt. What arrived still counts.
  if (watch.isAlone) exchange.failure = exchange.failure === "" ? "late" : "client";
  watch.stop();
  return exchange;
}

/**
 * The declared size of a response, in bytes.
 *
 * @param {Headers} headers
 */
const declared = (headers) => Number(headers.get("content-length") ?? Infinity);

/**
 * @param {string} url
 * @param {string} lines the names and values of further headers
 * @param {Uint8Array | import("./upload.js").Pieces} body JSON, or an upload
 * @param {boolean} stream
 * @param {AbortSignal} signal
 */
function post(url, lines, body, stream, signal) {
  const headers = httpHeaders(lines, stream);
  const isJson = body instanceof Uint8Array;
  headers["content-type"] = isJson ? "application/json" : body.type;
  const sent = isJson ? body : streamed(body, signal);
  return fetch(url, { method: "POST", headers, body: sent, redirect: "manual", signal });
}

/**
 * The headers of a request, but for those of its body.
 *
 * @param {string} lines the names and values of further headers
 * @param {boolean} stream
 */
function httpHeaders(lines, stream) {
  // The complete list: none of the caller's headers reaches an upstream as it is.
  /** @type {Record<string, string>} */
  const headers = {
    accept: stream ? "text/event-stream" : "application/json",
    // The runtime would decode and encode again the bytes that are read here.
    "accept-encoding": "identity",
    "user-agent": "gatehouse",
  };
  const parts = lines.split("\n");
  for (let index = 1; index < parts.length; index += 2)
    headers[/** @type {string} */ (parts[index - 1])] = /** @type {string} */ (parts[index]);
  return headers;
}

/** Errors of the binding that mean "not now": the daily allocation is used up, or no capacity is left. */
const BINDING_BUSY = /^(3036|3040|4006)\b/;

/**
 * Runs a model of Workers AI. Models that respond in OpenAI's format do so here too.
 *
 * @param {Binding} binding
 * @param {string} model
 * @param {Uint8Array} body
 * @param {AbortSignal} signal
 * @returns {Promise<Response>}
 */
async function run(binding, model, body, signal) {
  const { model: _, ...inputs } = JSON.parse(new TextDecoder().decode(body));
  try {
    const running = binding.run(model, inputs, { returnRawResponse: true, signal });
    const result = await Promise.race([running, aborted(signal)]);
    if (result instanceof Response) return result;
    if (result instanceof ReadableStream) {
      // A stream of the runtime: only these read into a given buffer.
      const stream = result.pipeThrough(new IdentityTransformStream());
      return new Response(stream, { headers: { "content-type": "text/event-stream" } });
    }
    return Response.json(result);
  } catch (error) {
    if (signal.aborted) throw error;
    const message = error instanceof Error ? error.message : String(error);
    return Response.json({ error: message }, { status: BINDING_BUSY.test(message) ? 429 : 502 });
  }
}

/**
 * @param {AbortSignal} signal
 * @returns {Promise<never>}
 */
function aborted(signal) {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}

/**
 * Reads a stream until its first content, so that a stream that fails before can be replaced without the client
 * noticing. The bytes are held for the client, within limits; when a limit is reached, the stream counts as started.
 *
 * @param {Exchange} exchange
 * @param {Source} source
 * @param {Hooks} hooks
 * @param {Limits} limits
 */
async function hold(exchange, source, hooks, limits) {
  const { watch } = exchange;
  const until = Date.now() + limits.holdMs;
  let size = 0;
  /** @param {Uint8Array} bytes */
  const keep = (bytes) => {
    if (bytes.byteLength > 0) exchange.held.push(bytes);
  };
  while (size < limits.holdBytes && Date.now() < until) {
    let read;
    try {
      read = await source.read();
    } catch (error) {
      if (watch.reason !== "") throw error;
      hooks.end("broken");
      exchange.failure = "ended";
      return;
    }
    if (read.done) {
      // A whole response is served as a stream. If it is an error, the hooks know.
      keep(hooks.end("closed") ?? new Uint8Array());
      exchange.over = true;
      return;
    }
    watch.touch();
    const chunk = source.take(read.value);
    // Counts the bytes received, not those sent on: part of them may be kept back until their event is complete.
    size += chunk.byteLength;
    keep((hooks.push(chunk) ?? chunk).slice());
    const state = hooks.state();
    exchange.over = state === "over";
    if (state !== "held") {
      break;
    }
  }
}

/**
 * Waits until one of several exchanges has settled, or until the time is up.
 *
 * @param {{ settled: Promise<Exchange> }[]} flights
 * @param {number} ms
 * @returns {Promise<number>} its index; -1: none yet
 */
export async function first(flights, ms) {
  /** @type {number | null} */
  let timer = null;
  /** @type {Promise<number>} */
  const late = new Promise((resolve) => {
    timer = setTimeout(() => resolve(-1), ms);
  });
  const settled = flights.map((flight, index) => flight.settled.then(() => index));
  const which = await Promise.race([...settled, late]);
  clearTimeout(timer);
  return which;
}

/**
 * Waits, unless the client disconnects.
 *
 * @param {AbortSignal} client
 * @param {number} ms
 * @returns {Promise<boolean>} true if the client is still connected
 */
export function pause(client, ms) {
  return new Promise((resolve) => {
    if (client.aborted) return resolve(false);
    const left = () => {
      clearTimeout(timer);
      resolve(false);
    };
    const timer = setTimeout(() => {
      client.removeEventListener("abort", left);
      resolve(true);
    }, ms);
    client.addEventListener("abort", left);
  });
}

/** @param {number} ms */
export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Reads the start of a stream and cancels the rest.
 *
 * @param {ReadableStream<Uint8Array>} stream
 * @param {number} limit in bytes
 * @param {() => void} onProgress called before each read
 * @returns {Promise<Uint8Array>} at most `limit` bytes
 */
async function start(stream, limit, onProgress) {
  const reader = stream.getReader();
  /** @type {Uint8Array[]} */
  const chunks = [];
  let size = 0;
  while (size < limit) {
    onProgress();
    const { done, value } = await reader.read();
    if (done) return join(chunks, size);
    const kept = value.subarray(0, limit - size);
    size += kept.byteLength;
    chunks.push(kept);
  }
  reader.cancel().catch(() => {});
  return join(chunks, size);
}

/**
 * Relays the event stream of an exchange to the client.
 *
 * @param {Exchange} exchange
 * @param {string} ping an event or a comment without meaning
 * @param {number} pingMs time without an event after which the client gets it
 * @returns {{ readable: ReadableStream, finished: Promise<boolean> }} finished: true if the client was connected when
 * the stream ended
 */
export function relay(exchange, ping, pingMs) {
  const { source, hooks } = exchange;
  if (source === undefined || hooks === undefined) throw new Error("this exchange is no stream");
  const client = new Client(exchange.watch, ping, pingMs);
  return { readable: client.readable, finished: pump(exchange, source, hooks, client) };
}

/** The number of bytes for each read of a stream whose events come one by one. */
const READ_BYTES = 4_096;
/** The same for a stream that is gathered. */
const GATHERED_BYTES = 16_384;
/** The same for the rest of a whole response, of which nobody can use a part. `upstream.rs` has this number too. */
const BULK_BYTES = 262_144;

/**
 * The upstream's end of a stream. All reads use the same buffer: by default the runtime allocates one of 4 KB for
 * each, which is a tenth of the cost of a stream.
 */
class Source {
  /** @param {ReadableStream<Uint8Array>} body */
  constructor(body) {
    this.body = body;
    this.reader = body.getReader({ mode: "byob" });
    this.buffer = new ArrayBuffer(READ_BYTES);
    this.isGathered = false;
    this.hasEnded = false;
    this.wake = () => {};
  }

  /** Reads the next chunk, which must be passed to `take`. */
  read() {
    return this.reader.read(new Uint8Array(this.buffer));
  }

  /** The same, once a large chunk or all that is left has arrived. */
  readInBulk() {
    if (this.buffer.byteLength < BULK_BYTES) this.buffer = new ArrayBuffer(BULK_BYTES);
    return this.reader.readAtLeast(BULK_BYTES, new Uint8Array(this.buffer));
  }

  /**
   * Returns a chunk. It is valid until the next read.
   *
   * @param {Uint8Array<ArrayBuffer>} chunk
   */
  take(chunk) {
    this.buffer = chunk.buffer;
    return chunk;
  }

  /**
   * From here on a read returns all that has arrived since the last one, up to GATHERED_BYTES. Without this it returns
   * one event, as the upstream wrote it, and each read costs an entry into the isolate.
   *
   * Only the runtime can gather without entering the isolate: a branch of a tee keeps what the other branch has
   * caused to be read. So the other branch is piped, natively, into a stream that is emptied in large reads. This
   * doubles the memory of an open stream.
   *
   * @param {() => Promise<void>} ready resolves while the stream may be read ahead of `read`
   */
  gather(ready) {
    this.isGathered = true;
    this.buffer = new ArrayBuffer(GATHERED_BYTES);
    this.reader.releaseLock();
    const [kept, emptied] = this.body.tee();
    this.reader = kept.getReader({ mode: "byob" });
    const { readable, writable } = new IdentityTransformStream();
    const end = () => {
      this.hasEnded = true;
      this.wake();
    };
    emptied.pipeTo(writable).then(end, end);
    empty(readable.getReader({ mode: "byob" }), ready).catch(() => {});
  }

  /**
   * Waits for more to arrive, or until everything has.
   *
   * @param {number} ms
   * @returns {Promise<void>}
   */
  arrival(ms) {
    return new Promise((resolve) => {
      if (this.hasEnded) return resolve();
      const timer = setTimeout(resolve, ms);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/**
 * Reads a stream to its end and drops what it reads.
 *
 * @param {ReadableStreamBYOBReader} reader
 * @param {() => Promise<void>} ready is waited for before each read
 */
async function empty(reader, ready) {
  let buffer = new ArrayBuffer(GATHERED_BYTES);
  for (;;) {
    await ready();
    const { done, value } = await reader.readAtLeast(GATHERED_BYTES, new Uint8Array(buffer));
    if (done || value === undefined) return;
    ({ buffer } = value);
  }
}

/**
 * The client's end of a stream. Between two writes it is always between two events, since only whole events are sent
 * on.
 *
 * This is a JavaScript stream, because the runtime sends its own (`IdentityTransformStream`) through a buffer of 64
 * KB each: half of all the memory that an open stream took.
 */
class Client {
  /**
   * @param {Watch} watch
   * @param {string} ping
   * @param {number} pingMs
   */
  constructor(watch, ping, pingMs) {
    /** @type {Uint8Array[]} written, but not yet taken by the runtime */
    this.queue = [];
    /** Size of the queue, in bytes. */
    this.waiting = 0;
    this.wroteAt = Date.now();
    /** True if the runtime asks for more: it has sent all that it took. */
    this.isAsking = false;
    this.hasLeft = false;
    /** @type {PromiseWithResolvers<void> | undefined} of the callers of `sent` */
    this.waiter = undefined;
    /** @type {Promise<void> | undefined} */
    this.closing = undefined;
    this.readable = new ReadableStream(
      {
        start: (controller) => {
          this.controller = controller;
        },
        pull: () => {
          this.isAsking = true;
          this.hand();
        },
        cancel: () => this.leave(),
      },
      { highWaterMark: 0 },
    );
    // While nothing is being sent, only the request signals that the client has disconnected.
    watch.client.addEventListener("abort", () => this.leave());
    this.watch = watch;
    this.pings = setInterval(() => {
      const isSilent = this.isAsking && Date.now() - this.wroteAt >= pingMs;
      if (isSilent) this.write(new TextEncoder().encode(ping));
    }, pingMs);
    if (watch.isAlone) this.leave();
  }

  /** @param {Uint8Array} bytes */
  write(bytes) {
    if (bytes.byteLength === 0 || this.hasLeft) return;
    this.queue.push(bytes);
    this.waiting += bytes.byteLength;
    this.hand();
  }

  /** Passes the queue to the runtime if it asks for data. */
  hand() {
    if (!this.isAsking || this.hasLeft) return;
    if (this.waiting === 0) {
      this.waiter?.resolve();
      this.waiter = undefined;
      return;
    }
    this.isAsking = false;
    this.wroteAt = Date.now();
    this.controller?.enqueue(join(this.queue, this.waiting));
    this.queue = [];
    this.waiting = 0;
  }

  /**
   * Resolves once everything written has been sent, or nobody is there to send it to; rejects if the client
   * disconnects before and the upstream is not read any further.
   *
   * @returns {Promise<void>}
   */
  sent() {
    if (this.hasLeft) return this.watch.drains ? Promise.resolve() : Promise.reject(GONE);
    if (this.isAsking && this.waiting === 0) return Promise.resolve();
    this.waiter ??= Promise.withResolvers();
    return this.waiter.promise;
  }

  /** Closes the stream. Resolves once the client has everything that was written. */
  close() {
    clearInterval(this.pings);
    this.closing ??= this.sent().then(() => this.controller?.close());
    return this.closing;
  }

  /** Handles a disconnected client. From here on nothing is kept. */
  leave() {
    this.watch.leave();
    clearInterval(this.pings);
    this.hasLeft = true;
    this.queue = [];
    this.waiting = 0;
    if (this.watch.drains) this.waiter?.resolve();
    else this.waiter?.reject(GONE);
  }

  /**
   * Breaks the client's connection, if it is still connected.
   *
   * @param {unknown} reason
   */
  abort(reason) {
    this.leave();
    this.controller?.error(reason);
  }
}

const GONE = new Error("the client has left");
const INCOMPLETE = new Error("the response of the upstream is incomplete");

/**
 * The time between two reads of a stream that is gathered, in milliseconds. An event that comes later than that after
 * the last one is sent at once.
 */
const GATHER_MS = 16;

/**
 * A stream is gathered once this many events in a row have come within GATHER_MS each: more than sixty events a second,
 * which no screen shows one by one. Slower streams gain nothing from it.
 */
const QUICK_EVENTS = 2;

/** The number of bytes waiting for a slow client above which the upstream is not read. */
const MAX_WAITING = 65_536;

/** The time that an upstream has to end its body after its last event, in milliseconds. */
const DRAIN_MS = 1000;

/**
 * @param {Exchange} exchange
 * @param {Source} source
 * @param {Hooks} hooks
 * @param {Client} client
 * @returns {Promise<boolean>}
 */
async function pump(exchange, source, hooks, client) {
  const { watch, held } = exchange;
  exchange.held = [];
  let isComplete = false;
  try {
    client.write(
      join(
        held,
        held.reduce((sum, bytes) => sum + bytes.byteLength, 0),
      ),
    );
    const pass = hooks.suffices === undefined ? forward : forwardInBulk;
    const ending = exchange.over ? "over" : await pass(source, watch, hooks, client);
    if (client.hasLeft) return false;
    if (ending === "over") {
      // A client that has everything may leave.
      isComplete = true;
      client.close().catch(() => {});
      await drain(source, watch);
    } else {
      const last = hooks.end(ending);
      if (last === undefined) {
        isComplete = !client.hasLeft;
        throw INCOMPLETE;
      }
      client.write(last);
    }
    watch.pause();
    await client.close();
    return true;
  } catch (error) {
    // The client has disconnected. After any other failure its connection breaks instead of hanging: then the client has
    // stayed until the end.
    client.abort(error);
    return isComplete;
  } finally {
    watch.stop();
    // Nothing is left to read, or no client to read it for.
    watch.controller.abort();
  }
}

/**
 * Sends a stream on to the client, until it ends or the client gets nothing more.
 *
 * @param {Source} source
 * @param {Watch} watch
 * @param {Hooks} hooks
 * @param {Client} client
 * @returns {Promise<"closed" | "broken" | "silent" | "over">}
 */
async function forward(source, watch, hooks, client) {
  const ready = () => (client.waiting > MAX_WAITING ? client.sent() : Promise.resolve());
  let quick = 0;
  let isFull = false;
  for (;;) {
    const since = Date.now();
    watch.touch();
    if (source.isGathered && !isFull) await source.arrival(GATHER_MS);
    let read;
    try {
      read = await source.read();
    } catch (error) {
      if (watch.reason === "client") throw error;
      return watch.reason === "timeout" ? "silent" : "broken";
    }
    if (read.done) return "closed";
    const chunk = source.take(read.value);
    client.write(hooks.push(chunk) ?? chunk.slice());
    if (hooks.state() === "over") return "over";
    isFull = chunk.byteLength === GATHERED_BYTES;
    if (client.waiting > MAX_WAITING) {
      // A slow client is not a silent upstream.
      watch.pause();
      await client.sent();
    } else if (!source.isGathered) {
      quick = Date.now() - since < GATHER_MS ? quick + 1 : 0;
      if (quick === QUICK_EVENTS) source.gather(ready);
    }
  }
}

/**
 * Sends the rest of a large whole response on to the client, in large chunks and without a copy.
 *
 * @param {Source} source
 * @param {Watch} watch
 * @param {Hooks} hooks
 * @param {Client} client
 * @returns {Promise<"closed" | "broken" | "silent" | "over">}
 */
async function forwardInBulk(source, watch, hooks, client) {
  let state = hooks.state();
  for (;;) {
    watch.touch();
    let read;
    try {
      read = await source.readInBulk();
    } catch (error) {
      if (watch.reason === "client") throw error;
      return watch.reason === "timeout" ? "silent" : "broken";
    }
    if (read.done || read.value === undefined) return "closed";
    const chunk = source.take(read.value);
    const other = hooks.push(state === "begun" ? chunk.subarray(-(hooks.suffices ?? 0)) : chunk);
    client.write(other ?? chunk);
    state = hooks.state();
    if (state === "over") return "over";
    // The next read takes the chunk's memory. A slow client is not a silent upstream.
    watch.pause();
    await client.sent();
  }
}

/**
 * Reads a stream to its end, which comes soon, since a connection that is read to its end can be used again.
 *
 * @param {Source} source
 * @param {Watch} watch
 */
async function drain(source, watch) {
  watch.allow(DRAIN_MS);
  try {
    for (let read = await source.read(); !read.done; read = await source.read())
      source.take(read.value);
  } catch {
    // The connection is lost, not the response.
  }
}
