//! Writing the log: one JSON object for each line, at most one line for each request. [`Event`] has the fields. A failure of
//! the Wasm itself is logged by `instance.js`, with the fields of the same table.

use gatehouse_core::json;
pub use gatehouse_core::log::Event;

/// Writes one line.
pub fn line(event: &Event<'_>) {
    worker::web_sys::console::log_1(&json::to_text(event).into());
}
