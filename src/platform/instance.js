// @ts-check
//! The life cycle of the Wasm instance. After a panic or a trap its state is undefined: its calls end, the failure is
//! logged, and the next request gets a new instance.

/** The number of the instance, from 0. */
export let instance = 0;
/** True if the instance has failed. */
export let failed = false;

/**
 * Marks the instance as failed and logs the first failure; later ones follow from it.
 *
 * @param {unknown} error thrown by a call of the instance. Rust returns expected errors, so any thrown error is a
 * failure
 */
export function trapped(error) {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  fail({ event: "trap", error: message, stack });
}

/**
 * The same for a panic, called by the panic hook. The trap that ends the panicked call follows.
 *
 * @param {string} message
 * @param {string} place file, line and column in Rust
 */
export function panicked(message, place) {
  fail({ event: "panic", error: message, place, stack: new Error().stack });
}

/** @param {{ event: string, error: string, place?: string, stack: string | undefined }} line */
function fail(line) {
  if (failed) return;
  failed = true;
  console.error(JSON.stringify({ ...line, stack: frames(line.stack) }));
}

/** A Wasm function in a stack trace; its name in Rust is the first group. */
const IN_RUST = /^\w+\.wasm\.(.+?)(::h[0-9a-f]{16})?( externref.*)? \(wasm:.*\)$/;

/**
 * The functions in a stack trace, innermost first.
 *
 * @param {string | undefined} stack
 */
function frames(stack = "") {
  return stack
    .split("\n")
    .filter((line) => line.startsWith("    at "))
    .map((line) => line.slice("    at ".length).replace(IN_RUST, "$1"));
}

/**
 * Replaces the instance if it has failed.
 *
 * @param {() => void} instantiate
 */
export function restart(instantiate) {
  if (!failed) return;
  failed = false;
  instance += 1;
  instantiate();
}
