//! Logs: one JSON object for each line, at most one line for each request. Never the content of a call, never a secret.

use gatehouse_core::json::text::Text;

/// Writes one line.
pub fn line(fields: Text) {
    worker::web_sys::console::log_1(&String::from(fields).into());
}
