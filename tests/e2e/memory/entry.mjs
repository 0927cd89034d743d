// Not type-checked: the build that it imports has no types.
//! The gateway, and `GET /__memory`: the size of its Wasm memory in bytes.

import { memory } from "./capture.mjs";
import Gateway from "../../../build/index.js";

export default class extends Gateway {
  fetch(request) {
    if (new URL(request.url).pathname === "/__memory") {
      return new Response(String(memory().buffer.byteLength));
    }
    return super.fetch(request);
  }
}
