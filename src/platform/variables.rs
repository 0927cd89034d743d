//! Variables, secrets and bindings of the Worker.

use worker::wasm_bindgen::{JsCast, JsValue};
use worker::{Env, js_sys};

/// The text of a variable or secret, if it is set.
pub fn get(env: &Env, name: &str) -> Option<String> {
    js_sys::Reflect::get(env, &JsValue::from_str(name)).ok()?.as_string()
}

/// A binding, if there is one of this name.
pub fn binding(env: &Env, name: &str) -> Option<JsValue> {
    js_sys::Reflect::get(env, &JsValue::from_str(name)).ok().filter(JsValue::is_object)
}

/// The message of a thrown value.
pub fn message(error: &JsValue) -> String {
    error.dyn_ref::<js_sys::Error>().map_or_else(|| "unknown".to_owned(), |error| error.message().into())
}
