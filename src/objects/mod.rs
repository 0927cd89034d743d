//! Durable Objects: the few things that must have one owner.
//!
//! Each file has the object, which only keeps and wakes, and the functions by which the Worker asks it. What an object
//! decides is decided in `gatehouse-core`.

pub mod notifier;
pub mod rate_limiter;

use worker::wasm_bindgen::{self, JsValue, prelude::wasm_bindgen};
use worker::wasm_bindgen_futures::JsFuture;
use worker::{Env, js_sys};

use crate::platform::variables;

#[wasm_bindgen(module = "/src/platform/bindings.js")]
extern "C" {
    #[wasm_bindgen(js_name = askObject)]
    fn ask_object(namespace: &JsValue, name: &str, message: &str) -> js_sys::Promise;
}

/// Why an object did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectError {
    /// There is no such binding.
    NotBound,
    /// It failed, or cannot be reached.
    Failed(String),
}

/// Sends a message to an object and gives its answer.
async fn ask(env: &Env, namespace: &str, name: &str, message: &str) -> Result<String, ObjectError> {
    let namespace = variables::binding(env, namespace).ok_or(ObjectError::NotBound)?;
    let answer = JsFuture::from(ask_object(&namespace, name, message)).await;
    answer
        .map(|text| text.as_string().unwrap_or_default())
        .map_err(|error| ObjectError::Failed(variables::words(&error)))
}
