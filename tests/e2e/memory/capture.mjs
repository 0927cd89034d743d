// @ts-check
//! Exports the memory of the Wasm instance that later modules create.

/** @type {WebAssembly.Memory | undefined} */
let captured;

const { Instance } = WebAssembly;
WebAssembly.Instance = /** @type {typeof Instance} */ (
  /** @type {unknown} */ (
    class extends Instance {
      /**
       * @param {WebAssembly.Module} module
       * @param {WebAssembly.Imports} imports
       */
      constructor(module, imports) {
        super(module, imports);
        captured = /** @type {WebAssembly.Memory} */ (this.exports["memory"]);
      }
    }
  )
);

export function memory() {
  if (captured === undefined) throw new Error("no Wasm instance has been made");
  return captured;
}
