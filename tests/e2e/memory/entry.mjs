// Not type-checked: the build that it imports has no types.
//! The gateway, and `GET /__memory`: the size of its Wasm memory in bytes.

import { memory } from "./capture.mjs";
import Gateway from "../../../build/index.js";

export default {
  ...Gateway,
  fetch(request, env, ctx) {
    if (new URL(request.url).pathname === "/__memory") {
      return new Response(String(memory().buffer.byteLength));
    }
    return Gateway.fetch(request, env, ctx);
  },
};
