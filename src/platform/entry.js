// @ts-check
//! What the runtime loads: hands each request to the Worker (`src/lib.rs`), and exports the Durable Objects.
//!
//! `scripts/build` bundles it with `gatehouse-worker`, which is the JavaScript that `scripts/bindgen` generates around the Wasm.

import * as worker from "gatehouse-worker";
import { instance, restart, trapped } from "./instance.js";

// As many as lead from the entry to the place of a failure.
Error.stackTraceLimit = 50;

// Thrown in a microtask, by a future of an object: nobody else catches it.
addEventListener("error", ({ error }) => {
  if (error instanceof WebAssembly.RuntimeError) trapped(error);
});

worker.logPanics();

/** Replaces the instance of the Wasm. */
function instantiate() {
  worker.__wbg_reset_state();
  worker.logPanics();
}

/**
 * Calls the Wasm: a new instance of it, if the last one has failed.
 *
 * @template T
 * @param {() => T} call
 */
function guarded(call) {
  restart(instantiate);
  try {
    return call();
  } catch (error) {
    trapped(error);
    throw error;
  }
}

export default {
  /**
   * @param {Request} request
   * @param {unknown} env
   * @param {ExecutionContext} context
   */
  fetch(request, env, context) {
    return guarded(() => {
      const response = worker.fetch(request, env, context);
      // Without this the runtime drops what a client that leaves has begun, and Wasm never hears of it: its memory leaks.
      if (response instanceof Promise) context.waitUntil(response);
      return response;
    });
  },
};

/**
 * A Durable Object. The runtime keeps it for longer than an instance of the Wasm may last, so its part in Rust is constructed
 * again in each; what it must not forget is in its storage.
 *
 * @param {worker.ObjectInRust} InRust
 */
const durable = (InRust) =>
  class {
    #state;
    #env;
    #inner;
    #instance;

    /**
     * @param {DurableObjectState} state
     * @param {unknown} env
     */
    constructor(state, env) {
      this.#state = state;
      this.#env = env;
      this.#inner = guarded(() => new InRust(state, env));
      this.#instance = instance;
    }

    /** @param {Request} request */
    fetch(request) {
      return guarded(() => this.#current().fetch(request));
    }

    alarm() {
      return guarded(() => this.#current().alarm());
    }

    #current() {
      if (this.#instance !== instance) {
        this.#inner = new InRust(this.#state, this.#env);
        this.#instance = instance;
      }
      return this.#inner;
    }
  };

export const KeyLedger = durable(worker.KeyLedger);
export const Notifier = durable(worker.Notifier);
export const ProviderHealth = durable(worker.ProviderHealth);
export const RateLimiter = durable(worker.RateLimiter);
