//! The storage of a Durable Object that stores a text, and its alarm. One promise for each operation.

use worker::State;
use worker::js_sys::Promise;
use worker::wasm_bindgen::{self, JsValue, prelude::wasm_bindgen};

use super::task;

#[wasm_bindgen(module = "/src/platform/bindings.js")]
extern "C" {
    #[wasm_bindgen(js_name = readText)]
    fn read_text(state: &JsValue, name: &str) -> Promise;
    #[wasm_bindgen(js_name = readTexts)]
    fn read_texts(state: &JsValue, prefix: &str) -> Promise;
    #[wasm_bindgen(js_name = storeText)]
    fn store_text(state: &JsValue, name: &str, text: &str) -> Promise;
    #[wasm_bindgen(js_name = deleteAll)]
    fn delete_all(state: &JsValue) -> Promise;
    #[wasm_bindgen(js_name = wakeBy)]
    fn wake_by(state: &JsValue, at_ms: f64) -> Promise;
}

pub struct ObjectStorage(JsValue);

impl ObjectStorage {
    /// The storage that belongs to an object's state.
    pub fn of(state: State) -> ObjectStorage {
        ObjectStorage(state._inner().into())
    }

    /// Reads the text stored under a name.
    pub async fn read(&self, name: &str) -> worker::Result<Option<String>> {
        Ok(settled(read_text(&self.0, name)).await?.as_string())
    }

    /// Reads all texts whose names begin with a prefix.
    pub async fn read_all(&self, prefix: &str) -> worker::Result<Vec<String>> {
        let texts = settled(read_texts(&self.0, prefix)).await?.as_string().unwrap_or_default();
        Ok(serde_json::from_str(&texts)?)
    }

    /// Stores a text under a name.
    pub async fn store(&self, name: &str, text: &str) -> worker::Result<()> {
        settled(store_text(&self.0, name, text)).await.map(|_| ())
    }

    /// Deletes everything.
    pub async fn delete(&self) -> worker::Result<()> {
        settled(delete_all(&self.0)).await.map(|_| ())
    }

    /// Sets the alarm, unless an earlier one is set.
    #[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 ms")]
    pub async fn wake_by(&self, at_ms: u64) -> worker::Result<()> {
        settled(wake_by(&self.0, at_ms as f64)).await.map(|_| ())
    }
}

async fn settled(promise: Promise) -> worker::Result<JsValue> {
    Ok(task::settled(promise).await?)
}
