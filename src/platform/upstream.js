// @ts-check
//! One exchange with an upstream: send, wait within limits, collect or relay the answer, and stop when the client leaves.
//!
//! This is JavaScript because it is all waiting: Wasm pays two closures and a task for each promise that it awaits, and a
//! stream has hundreds. What to send and what to make of the answer is decided in Rust.
//!
//! Two of the three parts that keep memory flat when clients leave are here: an AbortController of our own for every
//! upstream fetch, and its tie to `request.signal` (which does nothing when handed to fetch itself). The third is in
//! `entry.js`.

import { collect, join } from "./request.js";

/**
 * An answer that declares to be no larger than this, in bytes, is read in one go: the runtime enters the isolate once, where
 * chunks take once for each and once for their end, some 15 µs a time. Such an answer has to come whole in the time that a
 * silence may take.
 */
const SMALL = 65_536;

/**
 * What came of sending a request.
 *
 * @typedef {object} Exchange
 * @property {"" | "client" | "timeout" | "unreachable" | "broken" | "too_large" | "ended"} failure empty when there is an
 *   answer; ended: the stream ended before its first content, and the hooks know why
 * @property {string} detail the runtime's words for the failure, for the log
 * @property {number} status
 * @property {Uint8Array | undefined} body the whole answer, unless it is to be relayed
 * @property {Headers | undefined} headers of the answer
 * @property {Watch} watch
 * @property {Hooks | undefined} hooks
 * @property {Source | undefined} source of a stream that is to be relayed
 * @property {Uint8Array[]} held what has been read of it already, for the client
 * @property {boolean} over whether that is all of it
 */

/**
 * What decides about a stream.
 *
 * @typedef {object} Hooks
 * @property {(chunk: Uint8Array) => Uint8Array | undefined} push what to send on for a chunk; undefined: the chunk itself
 * @property {() => "held" | "begun" | "over"} state held: no content has come yet; over: the client has all it will get
 * @property {(ending: "closed" | "broken" | "silent") => Uint8Array} end the last bytes for the client
 */

/**
 * Limits that are the same for every exchange.
 *
 * @typedef {object} Limits
 * @property {number} idleMs the longest silence inside an answer
 * @property {number} holdMs how long a stream is held until its first content
 * @property {number} holdBytes how much of it
 * @property {number} maxBytes of a whole answer
 * @property {number} maxErrorBytes of an answer that is not a success
 */

/**
 * The binding `AI`.
 *
 * @typedef {{ run(model: string, inputs: object, options: object): Promise<unknown> }} Binding
 */

/**
 * Told that a call is still under way, by the number of its heartbeat.
 *
 * @type {(heartbeat: number) => void}
 */
let beat = () => {};

/** @param {(heartbeat: number) => void} callback */
export function onHeartbeat(callback) {
  beat = callback;
}

/** Abandons an upstream when nothing happened for some time, and when the client leaves. */
class Watch {
  /**
   * @param {AbortSignal} client
   * @param {number} limit in milliseconds
   * @param {number} total from now until everything must be over, in milliseconds
   * @param {number} pace how often to look, in milliseconds: at least as often as the shortest limit that may be allowed later
   * @param {number | undefined} heartbeat to beat as often
   */
  constructor(client, limit, total, pace, heartbeat) {
    this.client = client;
    this.controller = new AbortController();
    /** @type {"" | "client" | "timeout"} why the upstream was abandoned */
    this.reason = "";
    client.addEventListener("abort", () => this.abandon("client"));
    if (client.aborted) this.abandon("client");
    this.limit = limit;
    this.since = Date.now();
    this.until = this.since + total;
    /** Setting and clearing a timer costs 5 µs: none is set anew for a limit that this one is not too slow for. */
    this.pace = Math.min(limit, pace);
    this.heartbeat = heartbeat;
    this.check = this.check.bind(this);
    this.timer = setTimeout(this.check, Math.min(this.pace, total));
  }

  /** Something happened. Costs no timer: the running one looks at the time when it fires. */
  touch() {
    this.since = Date.now();
  }

  /** What is waited for now is not the upstream. */
  pause() {
    this.since = Infinity;
  }

  /** From here on only silence counts. */
  commit() {
    this.until = Infinity;
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
  }
}

/**
 * Sends a request. `settled` resolves always; what went wrong is in its `failure`. Of a successful event stream it resolves
 * once the first content has come, or as much as may be held; of anything else once it has come whole.
 *
 * @param {AbortSignal} client aborted when the client leaves
 * @param {string} url of the endpoint; for the binding, the model
 * @param {string | undefined} header the name of the header with the credential
 * @param {string | undefined} credential
 * @param {Binding | undefined} binding where it goes through that, instead of over HTTP
 * @param {Uint8Array} body
 * @param {Limits} limits
 * @param {number} firstByteMs until the status line
 * @param {number} stallMs the longest silence of a stream before its first content
 * @param {number} totalMs until the answer has come, or the stream has begun
 * @param {Hooks | undefined} hooks for a stream; undefined: none was asked for
 * @param {number | undefined} heartbeat of the call
 * @param {number} heartbeatMs how often it beats
 * @returns {{ settled: Promise<Exchange>, cancel: () => void }}
 */
export function send(
  client,
  url,
  header,
  credential,
  binding,
  body,
  limits,
  firstByteMs,
  stallMs,
  totalMs,
  hooks,
  heartbeat,
  heartbeatMs,
) {
  const pace = Math.min(stallMs, limits.idleMs, heartbeat === undefined ? Infinity : heartbeatMs);
  const watch = new Watch(client, firstByteMs, totalMs, pace, heartbeat);
  const { signal } = watch.controller;
  const answer =
    binding === undefined
      ? post(url, header, credential, body, hooks !== undefined, signal)
      : run(binding, url, body, signal);
  return {
    settled: exchange(watch, answer, limits, stallMs, hooks),
    cancel: () => {
      watch.stop();
      watch.controller.abort();
    },
  };
}

/**
 * @param {Watch} watch
 * @param {Promise<Response>} answer
 * @param {Limits} limits
 * @param {number} stallMs
 * @param {Hooks | undefined} hooks
 * @returns {Promise<Exchange>}
 */
async function exchange(watch, answer, limits, stallMs, hooks) {
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
  /** @type {Exchange["failure"]} */
  let failure = "unreachable";
  try {
    const response = await answer;
    const { headers } = response;
    failure = "broken";
    exchange.status = response.status;
    exchange.headers = headers;
    if (hooks !== undefined && response.status === 200 && response.body && isEventStream(headers)) {
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
      const size = Number(headers.get("content-length") ?? Infinity);
      if (size <= Math.min(limit, SMALL)) {
        exchange.body = new Uint8Array(await response.arrayBuffer());
      } else {
        const whole =
          response.body === null
            ? new Uint8Array()
            : await collect(response.body, limit, () => watch.touch(), 0);
        if (whole === null && response.ok) exchange.failure = "too_large";
        exchange.body = whole ?? undefined;
      }
    }
  } catch (error) {
    exchange.failure = watch.reason || failure;
    exchange.detail = String(error);
  }
  watch.stop();
  return exchange;
}

/**
 * @param {string} url
 * @param {string | undefined} header
 * @param {string | undefined} credential
 * @param {Uint8Array} body
 * @param {boolean} stream
 * @param {AbortSignal} signal
 */
function post(url, header, credential, body, stream, signal) {
  // The whole list: nothing of the caller's headers reaches an upstream.
  /** @type {Record<string, string>} */
  const headers = {
    "content-type": "application/json",
    accept: stream ? "text/event-stream" : "application/json",
    // The runtime would decode and encode again what is read here.
    "accept-encoding": "identity",
    "user-agent": "gatehouse",
  };
  if (header !== undefined) headers[header] = credential ?? "";
  return fetch(url, { method: "POST", headers, body, redirect: "manual", signal });
}

/** Errors of the binding that mean "not now": the daily allocation is used up, or no capacity is left. */
const BINDING_BUSY = /^(3036|3040|4006)\b/;

/**
 * Runs a model of Workers AI. Models that answer in OpenAI's format do so here too.
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
      // Through a stream of the runtime's own, since only these read into a given buffer.
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
 * Reads a stream until its first content has come, so that one that fails before can be replaced unseen. What is read is
 * kept for the client, in bounds: when they are reached, the stream counts as begun.
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
      keep(hooks.end("closed"));
      exchange.failure = "ended";
      return;
    }
    watch.touch();
    const chunk = source.take(read.value);
    // What has come, not what goes on: part of it may be kept back until its event is whole.
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
 * Waits until one of several exchanges has settled, or some time has passed.
 *
 * @param {{ settled: Promise<Exchange> }[]} flights
 * @param {number} ms
 * @returns {Promise<number>} which one; -1: none yet
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
 * Waits, unless the client leaves.
 *
 * @param {AbortSignal} client
 * @param {number} ms
 * @returns {Promise<boolean>} whether the client is still there
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

/** @param {Headers} headers */
function isEventStream(headers) {
  return /^text\/event-stream\s*(;|$)/i.test(headers.get("content-type") ?? "");
}

/**
 * Relays the event stream of an exchange to the client.
 *
 * @param {Exchange} exchange
 * @param {number} pingMs how long the client may get nothing before it gets a comment
 * @returns {{ readable: ReadableStream, finished: Promise<boolean> }} finished: whether the client stayed to the end
 */
export function relay(exchange, pingMs) {
  const { source, hooks } = exchange;
  if (source === undefined || hooks === undefined) throw new Error("this exchange is no stream");
  const client = new Client(exchange.watch, pingMs);
  return { readable: client.readable, finished: pump(exchange, source, hooks, client) };
}

/** How much is read of a stream at a time, in bytes. */
const READ_BYTES = 4096;

/**
 * The upstream's end of a stream. All reads use the same buffer: by itself the runtime makes one of 4 KB for each, which
 * costs a tenth of what a stream costs.
 */
class Source {
  /** @param {ReadableStream<Uint8Array>} body */
  constructor(body) {
    this.reader = body.getReader({ mode: "byob" });
    this.buffer = new ArrayBuffer(READ_BYTES);
  }

  /** What comes next, to be given to `take`. */
  read() {
    return this.reader.read(new Uint8Array(this.buffer));
  }

  /**
   * What has come. It is there until the next read.
   *
   * @param {Uint8Array<ArrayBuffer>} chunk
   */
  take(chunk) {
    this.buffer = chunk.buffer;
    return chunk;
  }
}

/**
 * The client's end of a stream. Between two writes it is always between two events, since events are sent on whole.
 *
 * A stream of JavaScript, because the runtime sends one of its own (`IdentityTransformStream`) through a buffer of 64 KB for
 * each: half of all the memory that an open stream took.
 */
class Client {
  /**
   * @param {Watch} watch
   * @param {number} pingMs
   */
  constructor(watch, pingMs) {
    /** @type {Uint8Array[]} written, and not taken yet */
    this.queue = [];
    /** How much that is, in bytes. */
    this.waiting = 0;
    this.wroteAt = Date.now();
    /** Whether the runtime asks for more: it has sent all that it took. */
    this.isAsking = false;
    this.hasLeft = false;
    /** @type {{ resolve: () => void, reject: (reason: Error) => void } | undefined} who waits until all has been sent */
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
    // While nothing is being sent, only the request tells that the client has left.
    watch.client.addEventListener("abort", () => this.leave());
    this.watch = watch;
    this.pings = setInterval(() => {
      const isSilent = this.isAsking && Date.now() - this.wroteAt >= pingMs;
      if (isSilent) this.write(PING);
    }, pingMs);
  }

  /** @param {Uint8Array} bytes */
  write(bytes) {
    if (bytes.byteLength === 0 || this.hasLeft) return;
    this.queue.push(bytes);
    this.waiting += bytes.byteLength;
    this.hand();
  }

  /** Gives the runtime what it asks for, if there is something. */
  hand() {
    if (!this.isAsking || this.hasLeft) return;
    if (this.waiting === 0) {
      this.waiter?.resolve();
      return;
    }
    this.isAsking = false;
    this.wroteAt = Date.now();
    this.controller?.enqueue(join(this.queue, this.waiting));
    this.queue = [];
    this.waiting = 0;
  }

  /**
   * Resolves once all has been sent that was written; rejects if the client leaves before. One waits at a time.
   *
   * @returns {Promise<void>}
   */
  sent() {
    if (this.isAsking && this.waiting === 0) return Promise.resolve();
    if (this.hasLeft) return Promise.reject(GONE);
    return new Promise((resolve, reject) => {
      this.waiter = { resolve, reject };
    });
  }

  /** Resolves once the client has all that was written. */
  close() {
    clearInterval(this.pings);
    this.closing ??= this.sent().then(() => this.controller?.close());
    return this.closing;
  }

  /** The client has left. */
  leave() {
    this.watch.abandon("client");
    clearInterval(this.pings);
    this.hasLeft = true;
    this.waiter?.reject(GONE);
  }

  /**
   * Breaks the client's connection, if it has not left.
   *
   * @param {unknown} reason
   */
  abort(reason) {
    this.leave();
    this.controller?.error(reason);
  }
}

const GONE = new Error("the client has left");
const PING = new TextEncoder().encode(": ping\n\n");

/**
 * How long what is read of a stream is gathered before it is written, in milliseconds. What comes later than that after the
 * last is written at once, so this is only for streams of more than sixty events a second, which no screen shows one by one.
 * A write takes 20 to 40 µs with all that is behind it, and a crossing into Wasm 5: of 300 events that come fast, half of
 * what they cost.
 */
const GATHER_MS = 16;

/** How much is gathered at most, in bytes. */
const MAX_BATCH = 65_536;

/** How much may wait for a client that reads slowly, in bytes, before the upstream is not read on. */
const MAX_WAITING = 65_536;

/** How long an upstream may take to end its body after [DONE], in milliseconds. */
const DRAIN_MS = 1000;

const NOTHING = new Uint8Array();

/** What is read of a stream, on its way to the client. */
class Batch {
  /**
   * @param {Watch} watch
   * @param {Hooks} hooks
   * @param {Client} client
   */
  constructor(watch, hooks, client) {
    this.watch = watch;
    this.hooks = hooks;
    this.client = client;
    this.gathered = NOTHING;
    this.size = 0;
    this.sentAt = 0;
    /** @type {number | null} */
    this.timer = null;
    /** Whether the client has all it will get. */
    this.over = false;
  }

  /** @param {Uint8Array[]} held what the client is to get first, as it is */
  begin(held) {
    const size = held.reduce((sum, bytes) => sum + bytes.byteLength, 0);
    this.client.write(join(held, size));
    this.sentAt = Date.now();
  }

  /** @param {Uint8Array} chunk what has been read; it is copied */
  add(chunk) {
    const size = this.size + chunk.byteLength;
    if (size > this.gathered.byteLength) {
      const larger = new Uint8Array(this.size === 0 ? size : 2 * size);
      larger.set(this.gathered.subarray(0, this.size));
      this.gathered = larger;
    }
    this.gathered.set(chunk, this.size);
    this.size = size;
    const since = Date.now() - this.sentAt;
    if (since >= GATHER_MS || this.size >= MAX_BATCH) this.send();
    else this.timer ??= setTimeout(() => this.send(), GATHER_MS - since);
  }

  /** Writes what has been gathered, or what stands instead of it. */
  send() {
    clearTimeout(this.timer);
    this.timer = null;
    if (this.size === 0) return;
    const chunk = this.gathered.subarray(0, this.size);
    this.gathered = NOTHING;
    this.size = 0;
    this.sentAt = Date.now();
    const instead = this.hooks.push(chunk);
    this.client.write(instead ?? chunk);
    if (instead !== undefined && this.hooks.state() === "over") this.finish();
  }

  /** The client gets no more. What the upstream still sends is of no interest; but a connection that is read to its end can be used again. */
  finish() {
    this.over = true;
    this.client.close().catch(() => {});
    this.watch.allow(DRAIN_MS);
  }
}

/**
 * @param {Exchange} exchange
 * @param {Source} source
 * @param {Hooks} hooks
 * @param {Client} client
 * @returns {Promise<boolean>}
 */
async function pump(exchange, source, hooks, client) {
  const { watch } = exchange;
  const batch = new Batch(watch, hooks, client);
  try {
    batch.begin(exchange.held);
    exchange.held = [];
    if (exchange.over) batch.finish();
    const ending = await readOn(source, watch, batch);
    batch.send();
    if (!batch.over) client.write(hooks.end(ending));
    watch.pause();
    await client.close();
    return true;
  } catch (error) {
    // The client has left. Should anything else have failed, its connection breaks, rather than hang.
    client.abort(error);
    return false;
  } finally {
    clearTimeout(batch.timer);
    watch.stop();
    // Nothing is left to read, or nobody to read it for.
    watch.controller.abort();
  }
}

/**
 * Reads a stream to its end.
 *
 * @param {Source} source
 * @param {Watch} watch
 * @param {Batch} batch
 * @returns {Promise<"closed" | "broken" | "silent">}
 */
async function readOn(source, watch, batch) {
  for (;;) {
    if (!batch.over) watch.touch();
    let read;
    try {
      read = await source.read();
    } catch (error) {
      if (watch.reason === "client") throw error;
      return watch.reason === "timeout" ? "silent" : "broken";
    }
    if (read.done) return "closed";
    const chunk = source.take(read.value);
    if (batch.over) continue;
    batch.add(chunk);
    if (batch.client.waiting > MAX_WAITING) {
      // A client that reads slowly is not a silent upstream.
      watch.pause();
      await batch.client.sent();
    }
  }
}
