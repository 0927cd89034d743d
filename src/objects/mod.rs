//! Durable Objects: the few things that must have one owner.
//!
//! Each file has the object, which only keeps and wakes, and the functions by which the Worker asks it. What an object
//! decides is decided in `gatehouse-core`.

pub mod key_ledger;
pub mod notifier;
pub mod provider_health;
pub mod rate_limiter;

use worker::wasm_bindgen::{self, JsValue, prelude::wasm_bindgen};
use worker::{Env, js_sys};

use crate::platform::{task, variables};

#[wasm_bindgen(module = "/src/platform/bindings.js")]
extern "C" {
    #[wasm_bindgen(js_name = askObject)]
    fn ask_object(namespace: &JsValue, name: &str, message: &str, limit_ms: f64) -> js_sys::Promise;
}

/// Why an object did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectError {
    /// There is no such binding.
    NotBound,
    /// It failed, or cannot be reached.
    Failed(String),
}

/// How long an object may take, in milliseconds, where its caller has nothing better to do than to wait.
const PATIENCE_MS: u32 = 10_000;

/// Sends a message to an object and gives its answer.
async fn ask(env: &Env, namespace: &str, name: &str, message: &str) -> Result<String, ObjectError> {
    ask_within(PATIENCE_MS, env, namespace, name, message).await
}

/// The same within some milliseconds. The message is sent at once, not only when the answer is awaited.
fn ask_within(
    limit_ms: u32,
    env: &Env,
    namespace: &str,
    name: &str,
    message: &str,
) -> impl Future<Output = Result<String, ObjectError>> + use<> {
    let promise = variables::binding(env, namespace)
        .map(|namespace| ask_object(&namespace, name, message, limit_ms.into()));
    async move {
        let answer = task::settled(promise.ok_or(ObjectError::NotBound)?).await;
        answer
            .map(|text| text.as_string().unwrap_or_default())
            .map_err(|error| ObjectError::Failed(variables::words(&error)))
    }
}
