//! Time. On Workers it stands still while a request computes and advances when it waits, so that a difference is the time
//! spent waiting for something. So it is asked for once for each time that a task goes on: a call would ask twenty times.

use std::cell::Cell;

use worker::js_sys::Date;

thread_local! {
    /// The time of the task that is going on; 0 outside of tasks.
    static NOW_MS: Cell<u64> = const { Cell::new(0) };
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    match NOW_MS.get() {
        0 => ask(),
        now_ms => now_ms,
    }
}

/// Runs what goes on now, all at one time.
pub fn standing<T>(step: impl FnOnce() -> T) -> T {
    let outer_ms = NOW_MS.replace(ask());
    let result = step();
    NOW_MS.set(outer_ms);
    result
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole milliseconds, after 1970")]
fn ask() -> u64 {
    Date::now() as u64
}
