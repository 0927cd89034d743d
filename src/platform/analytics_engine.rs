//! Analytics Engine: one data point for each call, if the operator has bound a data set.

use gatehouse_core::json;
use serde::Serialize;
use worker::Env;
use worker::wasm_bindgen::{self, JsValue, prelude::wasm_bindgen};

use super::variables;

#[wasm_bindgen(module = "/src/platform/bindings.js")]
extern "C" {
    #[wasm_bindgen(js_name = writeDataPoint, catch)]
    fn write_data_point(dataset: &JsValue, point: &str) -> Result<(), JsValue>;
}

/// A data point. Names and numbers keep their places.
#[derive(Serialize)]
pub struct DataPoint<'a> {
    /// The value by which the point is sampled.
    pub indexes: [&'a str; 1],
    /// Names.
    pub blobs: [Option<&'a str>; 5],
    /// Numbers.
    pub doubles: [u64; 7],
}

/// A data set.
pub struct Dataset(JsValue);

impl Dataset {
    /// The data set of the binding `GATEWAY_ANALYTICS`.
    pub fn bound(env: &Env) -> Option<Dataset> {
        variables::binding(env, "GATEWAY_ANALYTICS").map(Dataset)
    }

    /// Writes a point. A failure is ignored, since the ledger has the data too.
    pub fn write(&self, point: &DataPoint<'_>) {
        let _ = write_data_point(&self.0, &json::to_text(point));
    }
}
