// @ts-check
//! The processor time of a stream of 300 events for each format of the caller and of the upstream, to that of chat
//! completions that pass: `scripts/bench --formats`. Has bars of its own and writes nothing.
//!
//! The upstream repeats the prompt, so that a request needs no field of the simulated provider, which a translation
//! would drop.

import { setTimeout as sleep } from "node:timers/promises";
import { Upstream } from "../tests/e2e/harness.mjs";
import { median } from "./figures.mjs";
import { cpuMs, tie } from "./process.mjs";
import { KEY, Running, gatehouse } from "./targets.mjs";

const PROCESSES = 2;
const ROUNDS = 4;
const STREAMS = 400;
const CONNECTIONS = 8;
/** The time in which work after a response is done and counted. */
const SETTLE_MS = 400;
const PASSED_AT_MOST = 1.15;
const TRANSLATED_AT_MOST = 1.6;

const PROMPT = Array(300).fill("word").join(" ");
const MESSAGES = [{ role: "user", content: PROMPT }];
const MAX_TOKENS = 1000;

/**
 * A format: its path, the fields of a request, and the last event of a complete stream.
 *
 * @typedef {{ path: string, fields: object, end: string }} Format
 */
/** @satisfies {Record<string, Format>} */
const FORMATS = {
  chat_completions: {
    path: "/v1/chat/completions",
    fields: {
      messages: MESSAGES,
      max_tokens: MAX_TOKENS,
      stream_options: { include_usage: true },
    },
    end: "[DONE]",
  },
  messages: {
    path: "/v1/messages",
    fields: { messages: MESSAGES, max_tokens: MAX_TOKENS },
    end: "message_stop",
  },
  responses: {
    path: "/v1/responses",
    fields: { input: PROMPT, max_output_tokens: MAX_TOKENS },
    end: "response.completed",
  },
};
const NAMES = /** @type {(keyof typeof FORMATS)[]} */ (Object.keys(FORMATS));

const upstream = await Upstream.start(["--record", "0"]);
tie(upstream.child);
const worker = gatehouse(upstream.url);
const config = JSON.parse(worker.bindings.GATEWAY_CONFIG);
const base_url = `${upstream.url}/v1`;
for (const name of NAMES) {
  const provider = { base_url, models: ["sim-small"], formats: [name], auth: "none" };
  config.providers[providerOf(name)] = provider;
}
worker.bindings.GATEWAY_CONFIG = JSON.stringify(config);

/** @param {string} format */
function providerOf(format) {
  return `only-${format.replace("_", "-")}`;
}

/**
 * Streams in one format through an upstream of another, and returns the processor time of each in milliseconds.
 *
 * @param {Running} running
 * @param {keyof typeof FORMATS} caller
 * @param {keyof typeof FORMATS} served
 */
async function stream(running, caller, served) {
  const { path, fields, end } = FORMATS[caller];
  const body = JSON.stringify({
    model: `${providerOf(served)}/sim-small`,
    stream: true,
    ...fields,
  });
  const headers = { authorization: `Bearer ${KEY}`, "content-type": "application/json" };
  const before = cpuMs(running.pid);
  let left = STREAMS;
  const client = async () => {
    while (left > 0) {
      left -= 1;
      const response = await fetch(running.url + path, { method: "POST", headers, body });
      const text = await response.text();
      if (!text.includes(end)) throw new Error(`${caller} to ${served}: ${text.slice(0, 300)}`);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, client));
  await sleep(SETTLE_MS);
  return (cpuMs(running.pid) - before) / STREAMS;
}

/** Ratios to chat completions that pass, by caller and upstream. @type {Map<string, number[]>} */
const ratios = new Map();
for (let process = 0; process < PROCESSES; process += 1) {
  const running = await Running.start(worker);
  // The first round of a process compiles its code and is not counted.
  for (let round = 0; round <= ROUNDS; round += 1) {
    let passing = NaN;
    for (const caller of NAMES) {
      for (const served of NAMES) {
        const ms = await stream(running, caller, served);
        if (caller === "chat_completions" && served === caller) passing = ms;
        const name = `${caller} to ${served}`;
        if (round > 0) ratios.set(name, [...(ratios.get(name) ?? []), ms / passing]);
      }
    }
  }
  await running.stop();
}
await upstream.stop();

let fails = 0;
for (const [name, list] of ratios) {
  const [caller, served] = name.split(" to ");
  const atMost = caller === served ? PASSED_AT_MOST : TRANSLATED_AT_MOST;
  const ratio = median(list);
  const holds = ratio <= atMost;
  if (!holds) fails += 1;
  console.log(
    `${name.padEnd(40)} ${ratio.toFixed(2)}× (at most ${atMost})${holds ? "" : "  FAILS"}`,
  );
}
process.exit(fails === 0 ? 0 : 1);
