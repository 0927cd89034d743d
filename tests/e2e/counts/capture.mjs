// @ts-check
//! Counts what crosses between JavaScript and the Wasm instance that the modules after this one make.

/** @typedef {Record<string, number>} Calls how often each function was called */

/** @type {{ out: Calls, in: Calls }} */
let counts = { out: {}, in: {} };

let all = 0;

/** How often anything has crossed, ever. */
export const number = () => all;

/** What has crossed since the last time: `out` of the Wasm, and into it. */
export function take() {
  const taken = counts;
  counts = { out: {}, in: {} };
  return taken;
}

/**
 * A function's name, as it stays from build to build: without hash; all closures are one.
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
        // The table of functions is not among them: through it the glue only calls what ends an instance that has failed.
        const exports = allCounted("in", super.exports);
        Object.defineProperty(this, "exports", { value: exports });
      }
    }
  )
);
