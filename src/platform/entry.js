// @ts-check
//! What the runtime loads: hands each request to the Worker (`src/lib.rs`), and exports the Durable Objects.
//!
//! worker-build makes a class of its own for that, which costs two proxies and an object with thirteen functions for each
//! request. What that does besides is done here too: after a trap or a panic the Wasm begins anew with the next request.

import Worker, { KeyLedger, Notifier, ProviderHealth, RateLimiter } from "gatehouse-worker";

export { KeyLedger, Notifier, ProviderHealth, RateLimiter };

const { fetch } = Worker.prototype;
/** Shared with the `worker` crate, whose panic hook sets `criticalError`. */
const state = globalThis.__worker_init_state;

export default {
  /**
   * @param {Request} request
   * @param {unknown} env
   * @param {ExecutionContext} ctx
   */
  fetch(request, env, ctx) {
    // Making one of these is how worker-build is told to begin anew.
    if (state.criticalError) new Worker(ctx, env);
    try {
      const answer = fetch.call({ env, ctx }, request);
      // Without this the runtime drops what a client that leaves has begun, and Wasm never hears of it: its memory leaks.
      if (answer instanceof Promise) ctx.waitUntil(answer);
      return answer;
    } catch (error) {
      state.criticalError = true;
      throw error;
    }
  },
};
