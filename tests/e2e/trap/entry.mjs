// Not type-checked: the build that it imports has no types.
//! The gateway, and `GET /__trap?N`: its Wasm traps when it asks for the time for the Nth time.

import { arm } from "./arm.mjs";
import Gateway from "../../../build/index.js";

export default {
  fetch(request, env, ctx) {
    const { pathname, search } = new URL(request.url);
    if (pathname !== "/__trap") return Gateway.fetch(request, env, ctx);
    arm(Number(search.slice(1)));
    return new Response("armed");
  },
};
