// @ts-check
//! Makes the Wasm of later modules fail in the middle of a call: by a trap when it reads the clock, or only when an
//! object does, or by a panic when it waits for a promise.

/** @typedef {"trap" | "trap-in-object" | "panic"} Failure */

/** @type {Failure} */
let failure = "trap";
/** The number of such operations until the Wasm fails; 0: it does not. */
let left = 0;

/**
 * @param {Failure} how
 * @param {number} time the Wasm fails the time that it reads the clock or waits for the Nth time from now on
 */
export function arm(how, time) {
  failure = how;
  left = time;
}

/** @param {Failure} how */
const isDue = (how) => failure === how && left > 0 && (left -= 1) === 0;

const now = Date.now;
Date.now = () => {
  const { stack = "" } = new Error();
  const isTrap = stack.includes("wasm") && isDue("trap");
  // Objects run on the executor of wasm-bindgen, not on the gateway's.
  if (isTrap || (stack.includes("js_sys::futures") && isDue("trap-in-object"))) {
    throw new WebAssembly.RuntimeError("unreachable");
  }
  return now();
};

const NO_TASK = 1_000_000;

/** @typedef {(resume: object, task: number, first: Promise<unknown>) => unknown} Drive see src/platform/task.js */

/** @param {Drive} drive */
const resumingAnother = (drive) => {
  /** @type {Drive} */
  return (resume, task, first) => drive(resume, isDue("panic") ? NO_TASK : task, first);
};

const { Instance } = WebAssembly;
WebAssembly.Instance = /** @type {typeof Instance} */ (
  /** @type {unknown} */ (
    class extends Instance {
      /**
       * @param {WebAssembly.Module} module
       * @param {Record<string, Record<string, any>>} imports
       */
      constructor(module, imports) {
        for (const functions of Object.values(imports)) {
          for (const name of Object.keys(functions)) {
            if (name.startsWith("__wbg_drive_")) functions[name] = resumingAnother(functions[name]);
          }
        }
        super(module, imports);
      }
    }
  )
);
