// Not type-checked: the build that it imports has no types.
//! The gateway, and `GET /__counts`: the crossings between JavaScript and its Wasm since the last request for them.
//!
//! The provider is here too, so that responses are divided in the same way each time: over a network the events of a
//! stream may arrive together or separately.

import { number, take } from "./capture.mjs";
import { EVENTS, HOST } from "./shape.mjs";
import Gateway from "../../../build/index.js";

/** The time without crossings after which the work that follows a response is done. */
const QUIET_MS = 4;

const choices = [{ index: 0, message: { role: "assistant", content: "Hello!" } }];
const model = "sim-small";
const usage = { prompt_tokens: 9, completion_tokens: 300, total_tokens: 309 };
const whole = JSON.stringify({ id: "a", object: "chat.completion", model, choices, usage });

/** The events of a stream, as OpenAI sends them: with `"usage": null` in each if usage was requested. */
function* events(withUsage) {
  const event = (more) => {
    const chunk = { id: "a", object: "chat.completion.chunk", model, ...more };
    return `data: ${JSON.stringify(chunk)}\n\n`;
  };
  const none = withUsage ? { usage: null } : {};
  const said = (delta, reason = null) =>
    event({ choices: [{ index: 0, delta, finish_reason: reason }], ...none });
  yield said({ role: "assistant", content: "" });
  for (let number = 0; number < EVENTS; number += 1) yield said({ content: " word" });
  yield said({}, "stop");
  if (withUsage) yield event({ choices: [], usage });
  yield "data: [DONE]\n\n";
}

function answer(body) {
  const asked = JSON.parse(new TextDecoder().decode(body));
  if (!asked.stream) {
    const headers = { "content-type": "application/json", "content-length": `${whole.length}` };
    return new Response(whole, { headers });
  }
  const left = events(asked.stream_options?.include_usage === true);
  const encoder = new TextEncoder();
  const stream = new ReadableStream({
    type: "bytes",
    pull(controller) {
      const { done, value } = left.next();
      if (done) controller.close();
      else controller.enqueue(encoder.encode(value));
    },
  });
  return new Response(stream, { headers: { "content-type": "text/event-stream" } });
}

const { fetch } = globalThis;
globalThis.fetch = (url, init) =>
  new URL(url).host === HOST ? Promise.resolve(answer(init.body)) : fetch(url, init);

export default {
  async fetch(request, env, ctx) {
    if (new URL(request.url).pathname !== "/__counts") return Gateway.fetch(request, env, ctx);
    for (let before = -1; before !== number();) {
      before = number();
      await scheduler.wait(QUIET_MS);
    }
    return Response.json(take());
  },
};
