//! Panics. A panic in an isolate ends every call in it (`instance.js`), so its message and location are logged.

use worker::wasm_bindgen::{self, prelude::wasm_bindgen};

#[wasm_bindgen(module = "/src/platform/instance.js")]
extern "C" {
    fn panicked(message: &str, location: &str);
}

/// Logs every panic of this instance from now on, in location of the hook of the `worker` crate. `instance.js` adds the
/// stack and replaces the instance.
#[wasm_bindgen(js_name = logPanics)]
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        panicked(info.payload_as_str().unwrap_or_default(), &location);
    }));
}
