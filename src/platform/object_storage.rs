//! The storage of a Durable Object that keeps a text, and its alarm: a promise for each, without the runtime's own types of
//! values, which are 6 KB of the Wasm, gzipped.

use worker::State;
use worker::js_sys::Promise;
use worker::wasm_bindgen::{self, JsValue, prelude::wasm_bindgen};

use super::task;

#[wasm_bindgen(module = "/src/platform/bindings.js")]
extern "C" {
    #[wasm_bindgen(js_name = readKept)]
    fn read_kept(state: &JsValue, name: &str) -> Promise;
    #[wasm_bindgen(js_name = keepText)]
    fn keep_text(state: &JsValue, name: &str, text: &str) -> Promise;
    #[wasm_bindgen(js_name = forgetAll)]
    fn forget_all(state: &JsValue) -> Promise;
    #[wasm_bindgen(js_name = wakeBy)]
    fn wake_by(state: &JsValue, at_ms: f64) -> Promise;
}

/// The storage of an object.
pub struct ObjectStorage(JsValue);

impl ObjectStorage {
    /// That of the object of this state.
    pub fn of(state: State) -> ObjectStorage {
        ObjectStorage(state._inner().into())
    }

    /// The text of a name.
    pub async fn read(&self, name: &str) -> worker::Result<Option<String>> {
        Ok(done(read_kept(&self.0, name)).await?.as_string())
    }

    /// Keeps a text under a name.
    pub async fn keep(&self, name: &str, text: &str) -> worker::Result<()> {
        done(keep_text(&self.0, name, text)).await.map(|_| ())
    }

    /// Forgets everything.
    pub async fn forget(&self) -> worker::Result<()> {
        done(forget_all(&self.0)).await.map(|_| ())
    }

    /// Sets the alarm, unless an earlier one is set.
    #[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 ms")]
    pub async fn wake_by(&self, at_ms: u64) -> worker::Result<()> {
        done(wake_by(&self.0, at_ms as f64)).await.map(|_| ())
    }
}

async fn done(promise: Promise) -> worker::Result<JsValue> {
    Ok(task::settled(promise).await?)
}
