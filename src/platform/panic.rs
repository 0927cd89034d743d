//! Panics. A panic in an isolate ends every call in it (`instance.js`), so it logs its message and its place.

use worker::wasm_bindgen::{self, prelude::wasm_bindgen};

#[wasm_bindgen(module = "/src/platform/instance.js")]
extern "C" {
    fn panicked(message: &str, place: &str);
}

/// Logs every panic of this instance from now on, instead of what the `worker` crate does then. `instance.js` adds the stack and
/// sees to it that the instance is not used again.
#[wasm_bindgen(js_name = logPanics)]
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        panicked(info.payload_as_str().unwrap_or_default(), &place);
    }));
}
