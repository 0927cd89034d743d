// Not type-checked: the build that it imports has no types.
//! The gateway, and `GET /__trap?N`: its Wasm traps when it asks for the time for the Nth time. What goes on behind an answer is
//! waited for, so that what is meant for a call does not hit that.

import { arm } from "./arm.mjs";
import Gateway from "../../../build/index.js";

export default {
  async fetch(request, env, ctx) {
    const { pathname, search } = new URL(request.url);
    if (pathname === "/__trap") {
      arm(Number(search.slice(1)));
      return new Response("armed");
    }
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
