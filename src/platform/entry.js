// @ts-check
//! The entry point that the runtime loads. Passes each request to the Worker (`src/lib.rs`) and exports the Durable
//! Objects.
//!
//! `scripts/build` bundles it with `gatehouse-worker`, which is the JavaScript that `scripts/bindgen` generates around the Wasm.

import * as worker from "gatehouse-worker";
import { instance, restart, trapped } from "./instance.js";

// Enough frames to show the way from the entry point to the failure.
Error.stackTraceLimit = 50;

// A future of an object throws in a microtask, where nothing else catches it.
addEventListener("error", ({ error }) => {
  if (error instanceof WebAssembly.RuntimeError) trapped(error);
});

worker.logPanics();

/** Replaces the Wasm instance. The records that it had not reported are lost; only their number is known. */
function instantiate() {
  const lost = worker.unrecorded();
  worker.__wbg_reset_state();
  worker.logPanics();
  if (lost > 0) worker.recordsLost(lost);
}

/**
 * Calls the Wasm, in a new instance if the last one has failed.
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
   * A gateway is no proxy: the connection of a CONNECT request is closed. Without this function the runtime responds 500
   * and logs a failure.
   *
   * @param {Socket} socket
   */
  connect(socket) {
    return socket.close();
  },

  /**
   * @param {Request} request
   * @param {unknown} env
   * @param {ExecutionContext} context
   */
  fetch(request, env, context) {
    return guarded(() => {
      const response = worker.fetch(request, env, context);
      // Without this the runtime drops the work of a client that disconnects, and Wasm is not notified: its memory
      // leaks.
      if (response instanceof Promise) context.waitUntil(response);
      return response;
    });
  },
};

/**
 * A Durable Object. The runtime keeps it for longer than a Wasm instance may last, so its part in Rust is constructed
 * again in each instance. State that must survive is in its storage.
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
