//! Analytics Engine: one data point for each call, if the operator has bound a data set.

use serde_json::Value;
use worker::Env;
use worker::wasm_bindgen::{self, JsValue, prelude::wasm_bindgen};

use super::variables;

#[wasm_bindgen(module = "/src/platform/bindings.js")]
extern "C" {
    #[wasm_bindgen(js_name = writeDataPoint, catch)]
    fn write_data_point(dataset: &JsValue, point: &str) -> Result<(), JsValue>;
}

pub struct Dataset(JsValue);

impl Dataset {
    /// The data set of the binding `GATEWAY_ANALYTICS`.
    pub fn bound(env: &Env) -> Option<Dataset> {
        variables::binding(env, "GATEWAY_ANALYTICS").map(Dataset)
    }

    /// Writes a point: `{"indexes": […], "blobs": […], "doubles": […]}`. A failure is ignored, since the ledger has the
    /// data too.
    pub fn write(&self, point: &Value) {
        let _ = write_data_point(&self.0, &point.to_string());
    }
}
