// Not type-checked: the build that it imports has no types.
//! The gateway, and `GET /__trap?N`, `GET /__trap-in-object?N`, `GET /__panic?N`, which make its Wasm fail (see
//! arm.mjs). They wait for the work after earlier responses, so that the failure hits the next call and not that
//! work, unless a request has the header `x-at-once`. A request with `x-trap` fails itself.

import { arm } from "./arm.mjs";
import Gateway from "../../../build/index.js";

export default {
  async fetch(request, env, ctx) {
    const { pathname, search } = new URL(request.url);
    if (pathname.startsWith("/__")) {
      arm(pathname.slice("/__".length), Number(search.slice(1)));
      return new Response("armed");
    }
    // In the same turn as the start of the call, so that the failure hits it and not the work after earlier ones.
    if (request.headers.has("x-trap")) arm("trap", 1);
    if (request.headers.has("x-at-once")) return Gateway.fetch(request, env, ctx);
    const behind = [];
    const waitUntil = (promise) => {
      behind.push(promise);
      ctx.waitUntil(promise);
    };
    const answer = await Gateway.fetch(request, env, { waitUntil });
    await Promise.allSettled(behind);
    return answer;
  },
};
