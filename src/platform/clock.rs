//! Time. On Workers the time stands still while a request computes and advances while it waits, so a difference between
//! two times is time spent waiting. The runtime is asked once for each poll of a task instead of some twenty times for
//! each call.

use std::cell::Cell;

use worker::js_sys::Date;

thread_local! {
    /// The time of the current poll; 0 outside of tasks.
    static NOW_MS: Cell<u64> = const { Cell::new(0) };
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    match NOW_MS.get() {
        0 => read(),
        now_ms => now_ms,
    }
}

/// Runs `step` with the time fixed.
pub fn at_fixed_time<T>(step: impl FnOnce() -> T) -> T {
    let outer_ms = NOW_MS.replace(read());
    let result = step();
    NOW_MS.set(outer_ms);
    result
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole milliseconds, after 1970")]
fn read() -> u64 {
    Date::now() as u64
}
