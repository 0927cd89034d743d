// @ts-check
//! The bare pass-through with Gatehouse's Wasm beside it, of which nothing is run: what of a start is the Wasm itself, which
//! the runtime reads and compiles before the first call.

import passThrough from "./pass-through.mjs";
// @ts-expect-error: Wasm has no types
import "../../build/index_bg.wasm";

export default passThrough;
