//! Logs: one JSON object a line, at most one line for a request. Never the content of a call, never a secret.

use serde_json::Value;

/// Writes one line.
pub fn line(fields: &Value) {
    worker::web_sys::console::log_1(&fields.to_string().into());
}
