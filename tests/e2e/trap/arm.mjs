// @ts-check
//! Makes the Wasm of the modules after this one fail as it does by a trap: in the middle of a call, by an error that it cannot
//! catch. What it asks for the time throws it.

const now = Date.now;
let asked = 0;

Date.now = () => {
  const fromWasm = asked > 0 && new Error().stack?.includes("wasm");
  if (fromWasm && (asked -= 1) === 0) throw new WebAssembly.RuntimeError("unreachable");
  return now();
};

/** @param {number} time which time from now on the Wasm asks for the time is to fail; 0: none */
export function arm(time) {
  asked = time;
}
