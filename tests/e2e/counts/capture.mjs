// @ts-check
//! Counts the crossings between JavaScript and the Wasm instance that later modules create.

/** @typedef {Record<string, number>} Calls how often each function was called */

/** @type {{ out: Calls, in: Calls }} */
let counts = { out: {}, in: {} };

let all = 0;

/** The number of all crossings so far. */
export const number = () => all;

/** The crossings since the last reading: `out` of the Wasm, and into it. */
export function take() {
  const taken = counts;
  counts = { out: {}, in: {} };
  return taken;
}

/**
 * A function's name in a form that is stable from build to build: without hash; all closures are one.
 *
 * @param {string} name
 */
const plain = (name) =>
  name.startsWith("wasm_bindgen__convert__closures")
    ? "closure"
    : name
        .replace(/^__wbg_(.+)_[0-9a-f]{16}$/, "$1")
        .replace(/^__wbindgen_generic_\d+$/, "generic");

/**
 * @param {"out" | "in"} way
 * @param {string} name
 * @param {Function} inner
 */
function counted(way, name, inner) {
  const kept = plain(name);
  return (/** @type {unknown[]} */ ...values) => {
    all += 1;
    counts[way][kept] = (counts[way][kept] ?? 0) + 1;
    return inner(...values);
  };
}

/**
 * @template {object} T
 * @param {"out" | "in"} way
 * @param {T} functions and other things, which stay as they are
 */
const allCounted = (way, functions) =>
  /** @type {T} */ (
    Object.fromEntries(
      Object.entries(functions).map(([name, one]) => [
        name,
        typeof one === "function" ? counted(way, name, one) : one,
      ]),
    )
  );

const { Instance } = WebAssembly;
WebAssembly.Instance = /** @type {typeof Instance} */ (
  /** @type {unknown} */ (
    class extends Instance {
      /**
       * @param {WebAssembly.Module} module
       * @param {WebAssembly.Imports} imports
       */
      constructor(module, imports) {
        const modules = Object.entries(imports);
        super(
          module,
          Object.fromEntries(modules.map(([name, inner]) => [name, allCounted("out", inner)])),
        );
        // Without the table of functions: through it the glue only calls the function that ends a failed instance.
        const exports = allCounted("in", super.exports);
        Object.defineProperty(this, "exports", { value: exports });
      }
    }
  )
);
