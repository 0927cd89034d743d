// @ts-check
//! A caller who leaves on purpose: calls that end at every point, and are dear where the gateway cannot see it. The
//! simulated provider keeps its own bill (tests/upstream/README.md), which is compared with the limit of the key.

import { once } from "node:events";
import { begin } from "./harness.mjs";

/** @typedef {import("./harness.mjs").Gateway} Gateway */

/** The prices of a token, in micro-USD: whole numbers, so that nothing is rounded. */
export const PRICES = { input: 2, cached: 1, written: 3, output: 10 };
export const MODEL = "demo/sim-small";
/** The configuration of the model. */
export const SETTINGS = {
  input_usd_per_mtok: PRICES.input,
  cached_input_usd_per_mtok: PRICES.cached,
  cache_write_usd_per_mtok: PRICES.written,
  output_usd_per_mtok: PRICES.output,
  max_output: 4000,
};

/**
 * Random numbers that are the same in each run.
 *
 * @param {number} seed
 */
function random(seed) {
  let state = seed;
  return (/** @type {number} */ below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/**
 * A call, and when its caller leaves: after the first text that matches, or after some milliseconds, or never.
 *
 * @param {(below: number) => number} below
 * @param {number} index
 */
function plot(below, index) {
  const stream = below(4) > 0;
  const tools = below(6) === 0;
  const events = [5, 40, 200, 900][below(4)] ?? 5;
  const slow = below(3) === 0;
  /** @type {Record<string, unknown>} */
  const simulate = {
    usage: below(12) === 0 ? "none" : "normal",
    bill: {
      dense: below(3) > 0,
      reasoning: [0, 0, 300, 1500, 9000][below(5)],
      cached: [0, 100, 5000][below(3)],
      cache_write: [0, 100, 5000][below(3)],
    },
  };
  if (!tools) simulate["events"] = events;
  if (stream && slow) simulate["frame_delay_ms"] = 2;
  if (!stream && slow) simulate["drip_ms"] = 20;
  if (below(8) === 0) simulate["delay_ms"] = 400;
  // A few never end: the gateway has to give up.
  if (index % 40 === 7) Object.assign(simulate, stream ? { hang: "stream" } : { hang: "body" });
  if (stream && index % 40 === 7) simulate["after_events"] = below(6);
  if (index % 40 === 23) simulate["hang"] = "headers";
  /** @type {Record<string, unknown>} */
  const body = {
    model: MODEL,
    stream,
    messages: [
      { role: "system", content: "x".repeat(below(3) === 0 ? 1500 : 20) },
      { role: "user", content: Array.from({ length: 1 + below(30) }, () => "\u6f22~").join("") },
    ],
    simulate,
  };
  if (tools) body["tools"] = [{ type: "function", function: { name: "weather", parameters: {} } }];
  if (below(3) === 0) body["n"] = 1 + below(4);
  const limits = [{}, { max_tokens: 60 }, { max_completion_tokens: 900 }, { max_tokens: 100_000 }];
  Object.assign(body, limits[below(4)]);
  const whole = [/^HTTP/, /$./, 5 + below(40), 100 + below(500)];
  const streamed = [
    ...[/^HTTP/, /"role"/, /"content":"tok/, /"tool_calls"/, /"finish_reason":"(stop|length|tool)/],
    ...[/"finish_reason":"(stop|length|tool)/, /\[DONE\]/, /$./, below(300), below(1500)],
  ];
  const choices = stream ? streamed : whole;
  return { body, leave: choices[below(choices.length)] ?? /$./ };
}

/**
 * Makes one call and leaves. Returns the status, or 0 if the caller left before it.
 *
 * @param {Gateway} gateway
 * @param {string} key
 * @param {{ body: object, leave: RegExp | number }} plot
 */
async function play(gateway, key, { body, leave }) {
  const called = await begin(gateway, key, body);
  const { socket } = called;
  /** @type {Promise<unknown>} */
  const over = once(socket, "close").catch(() => {});
  const isOver = () => /\r\n0\r\n\r\n$/.test(called.text) || isWhole(called.text);
  const until = Date.now() + (typeof leave === "number" ? leave : 3000);
  while (Date.now() < until && !socket.closed) {
    if (leave instanceof RegExp && leave.test(called.text)) break;
    if (isOver()) break;
    await Promise.race([
      once(socket, "data").catch(() => {}),
      over,
      new Promise((resolve) => setTimeout(resolve, Math.max(1, until - Date.now()))),
    ]);
  }
  const status = Number(called.text.match(/^HTTP\/1\.1 (\d+)/)?.[1] ?? 0);
  socket.resetAndDestroy();
  return status;
}

/**
 * True if a response with a declared length has arrived.
 *
 * @param {string} text
 */
function isWhole(text) {
  const [head, ...rest] = text.split("\r\n\r\n");
  const length = head?.match(/content-length: (\d+)/i)?.[1];
  return length !== undefined && Buffer.byteLength(rest.join("\r\n\r\n")) >= Number(length);
}

/**
 * Makes many such calls, some at once, over several isolates. Returns the number of calls by status.
 *
 * @param {(index: number) => Gateway} gateway
 * @param {string} key
 * @param {{ calls: number, atOnce: number, seed: number }} options
 */
export async function attack(gateway, key, { calls, atOnce, seed }) {
  const below = random(seed);
  const plots = Array.from({ length: calls }, (_, index) => plot(below, index));
  /** @type {Record<string, number>} */
  const statuses = {};
  let next = 0;
  const work = async () => {
    while (next < calls) {
      const index = (next += 1) - 1;
      const one = plots[index];
      if (one === undefined) return;
      const status = await play(gateway(index), key, one);
      statuses[status] = (statuses[status] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return statuses;
}

/**
 * The sums of the provider's bill: tokens, and the cost in micro-USD.
 *
 * @param {import("./harness.mjs").Upstream} upstream
 */
export async function billed(upstream) {
  const stats = await upstream.stats();
  const of = (/** @type {string} */ name) => stats[`billed_${name}`] ?? 0;
  const [prompt, cached, written, completion] = [
    of("prompt"),
    of("cached"),
    of("written"),
    of("completion"),
  ];
  return {
    tokens: prompt + cached + written + completion,
    micro:
      prompt * PRICES.input +
      cached * PRICES.cached +
      written * PRICES.written +
      completion * PRICES.output,
  };
}
