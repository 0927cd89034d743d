// @ts-check
//! The bare pass-through together with Gatehouse's Wasm, which is not run: measures the part of a start that is due
//! to the Wasm itself, which the runtime reads and compiles before the first call.

import passThrough from "./pass-through.mjs";
// @ts-expect-error: Wasm has no types
import "../../build/index_bg.wasm";

export default passThrough;
