//! Time. On Workers it stands still while a request computes and advances when it waits, so that a difference is the time
//! spent waiting for something.

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole milliseconds, after 1970"
    )]
    let now_ms = worker::js_sys::Date::now() as u64;
    now_ms
}
