//! Durable Objects, for state that needs a single owner.
//!
//! Each file has an object, which only stores and wakes, and the functions through which the Worker calls it. `telemetry` has
//! what two of them send to a collector.
//! `gatehouse-core` makes the decisions.

pub mod key_ledger;
pub mod notifier;
pub mod provider_health;
pub mod rate_limiter;
mod telemetry;

use worker::wasm_bindgen::{self, JsValue, prelude::wasm_bindgen};
use worker::{Env, js_sys};

use crate::platform::{task, variables};

#[wasm_bindgen(module = "/src/platform/bindings.js")]
extern "C" {
    #[wasm_bindgen(js_name = sendToObject)]
    fn send_to_object(namespace: &JsValue, name: &str, message: &str, timeout_ms: f64) -> js_sys::Promise;
}

/// The error of a request to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectError {
    /// The Worker has no such binding.
    NotBound,
    /// The request failed, or the object cannot be reached.
    Failed(String),
}

/// The timeout of a request, in milliseconds, for callers that cannot go on without the response.
const TIMEOUT_MS: u32 = 10_000;

/// Sends a message to an object and returns its response.
async fn send(env: &Env, namespace: &str, name: &str, message: &str) -> Result<String, ObjectError> {
    send_within(TIMEOUT_MS, env, namespace, name, message).await
}

/// Sends a message to an object with a timeout in milliseconds. The message is sent when this is called, not when
/// the future is awaited.
fn send_within(
    timeout_ms: u32,
    env: &Env,
    namespace: &str,
    name: &str,
    message: &str,
) -> impl Future<Output = Result<String, ObjectError>> + use<> {
    let promise = variables::binding(env, namespace)
        .map(|namespace| send_to_object(&namespace, name, message, timeout_ms.into()));
    async move {
        let response = task::settled(promise.ok_or(ObjectError::NotBound)?).await;
        response
            .map(|text| text.as_string().unwrap_or_default())
            .map_err(|error| ObjectError::Failed(variables::message(&error)))
    }
}
