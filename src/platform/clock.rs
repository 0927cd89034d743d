//! Time. On Workers it stands still while a request computes and advances when it waits, so that a difference is the time
//! spent waiting for something.

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    worker::Date::now().as_millis()
}
