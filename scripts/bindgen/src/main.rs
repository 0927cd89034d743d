//! Reads the Wasm that `cargo build` has compiled, and writes the Wasm and the JavaScript that the runtime loads.
//!
//!     bindgen WASM FOLDER
//!
//! Equivalent to the `wasm-bindgen` program with these options. That program takes three minutes to compile, because it
//! can also run tests in browsers.

use std::env;

use anyhow::{Context as _, Result};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<()> {
    let mut arguments = env::args_os().skip(1);
    let (Some(wasm), Some(folder), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: bindgen WASM FOLDER");
    };
    Bindgen::new()
        .input_path(&wasm)
        .out_name("index")
        // An ES module that imports the Wasm as a module and instantiates it.
        .module(true)?
        .typescript(false)
        // Exports `__wbg_reset_state`, with which the entry point replaces an instance that has trapped.
        .reset_state_function(true)
        .generate(&folder)
        .with_context(|| format!("{} cannot be bound", wasm.display()))
}
