//! Reads the Wasm that `cargo build` has compiled, and writes the Wasm and the JavaScript that the runtime loads.
//!
//!     bindgen WASM FOLDER
//!
//! Equivalent to the `wasm-bindgen` program with these options. That program takes three minutes to compile, because it
//! can also run tests in browsers. In addition, the names of functions are shortened: they are there for the stack of a
//! trap, and take a tenth of the compressed Wasm as the compiler writes them.

use std::env;
use std::path::Path;

use anyhow::{Context as _, Result};
use walrus::Module;
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
        .with_context(|| format!("{} cannot be bound", wasm.display()))?;
    shorten_names(&Path::new(&folder).join("index_bg.wasm"))
}

/// Shortens the names of all functions of a Wasm file.
fn shorten_names(path: &Path) -> Result<()> {
    let mut module = Module::from_file(path)?;
    for function in module.funcs.iter_mut() {
        function.name = function.name.take().map(|name| short(&name));
    }
    module.emit_wasm_file(path)
}

/// A name without the hash of its instance and without generic arguments:
/// `core::ptr::drop_in_place<alloc::vec::Vec<u8>>::h0123456789abcdef` → `core::ptr::drop_in_place`.
fn short(name: &str) -> String {
    let is_hash = |part: &str| part.len() == 17 && part.starts_with('h');
    let name = name.rsplit_once("::").map_or(name, |(path, last)| if is_hash(last) { path } else { name });
    // The type and the trait of `<Type as Trait>::function` stay.
    let deepest = u32::from(name.starts_with('<'));
    let mut depth = 0_u32;
    let mut kept = String::new();
    for char in name.chars() {
        depth += u32::from(char == '<');
        if depth <= deepest {
            kept.push(char);
        }
        depth = depth.saturating_sub(u32::from(char == '>'));
    }
    kept
}
