//! Variables and secrets of the Worker.

use worker::{Env, js_sys, wasm_bindgen::JsValue};

/// The text of a variable or secret, if it is set.
pub fn get(env: &Env, name: &str) -> Option<String> {
    js_sys::Reflect::get(env, &JsValue::from_str(name)).ok()?.as_string()
}
