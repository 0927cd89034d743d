//! The memory of an isolate: a budget of bytes for all that its calls hold together.
//!
//! An isolate has 128 MB for Wasm and JavaScript together, and Wasm memory never shrinks, so the peak must be bounded.
//! Counted are request bodies, the held start of streams, events of streams that have not arrived whole, and whole
//! responses. Whoever holds bytes has a [`Held`], which gives them back when it is dropped. What exceeds the budget is
//! rejected and never waits: waiting calls would hold memory themselves.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use gatehouse_core::error::{Code, Error};
use worker::wasm_bindgen::{self, JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use worker::worker_sys::Context;
use worker::{js_sys, web_sys};

use super::task;

#[wasm_bindgen(module = "/src/platform/memory.js")]
extern "C" {
    #[wasm_bindgen(js_name = connectBudget)]
    fn connect_budget(grow: &js_sys::Function, release: &js_sys::Function);

    #[wasm_bindgen(js_name = handOver)]
    fn hand_over(
        client: &web_sys::AbortSignal,
        bytes: &js_sys::Uint8Array,
        idle_ms: f64,
        ticket: u32,
    ) -> HandedOver;

    type HandedOver;
    #[wasm_bindgen(method, getter)]
    fn readable(this: &HandedOver) -> web_sys::ReadableStream;
    #[wasm_bindgen(method, getter)]
    fn finished(this: &HandedOver) -> js_sys::Promise;
}

/// The number of seconds after which a rejected call may try again.
const RETRY_AFTER: u32 = 2;

thread_local! {
    static LIMIT: Cell<usize> = const { Cell::new(usize::MAX) };
    static HELD: Cell<usize> = const { Cell::new(0) };
    /// The bytes that JavaScript holds, by ticket.
    static TICKETS: RefCell<BTreeMap<u32, usize>> = const { RefCell::new(BTreeMap::new()) };
    static NEXT: Cell<u32> = const { Cell::new(0) };
    static GROW: Closure<dyn Fn(u32, u32) -> bool> = Closure::new(grow);
    static RELEASE: Closure<dyn Fn(u32)> = Closure::new(release);
}

/// Sets the budget, in bytes.
pub fn set_limit(bytes: u32) {
    LIMIT.set(bytes as usize);
}

/// The bytes that calls hold now.
pub fn held_bytes() -> u64 {
    HELD.get() as u64
}

/// The size of the Wasm memory, in bytes.
pub fn wasm_bytes() -> u64 {
    const PAGE: usize = 65_536;
    (core::arch::wasm32::memory_size(0) * PAGE) as u64
}

fn take(bytes: usize) -> bool {
    let held = HELD.get().saturating_add(bytes);
    let has_room = held <= LIMIT.get();
    if has_room {
        HELD.set(held);
    }
    has_room
}

fn give_back(bytes: usize) {
    HELD.set(HELD.get().saturating_sub(bytes));
}

fn grow(ticket: u32, bytes: u32) -> bool {
    TICKETS.with_borrow_mut(|tickets| {
        let Some(held) = tickets.get_mut(&ticket) else { return false };
        let has_room = take(bytes as usize);
        if has_room {
            *held += bytes as usize;
        }
        has_room
    })
}

fn release(ticket: u32) {
    let held = TICKETS.with_borrow_mut(|tickets| tickets.remove(&ticket));
    give_back(held.unwrap_or(0));
}

/// The error if the budget is used up.
pub fn overloaded() -> Error {
    let message = "The gateway holds too much data of other calls at the moment; try again";
    Error::new(Code::Overloaded, message).with_retry_after(RETRY_AFTER)
}

/// Bytes that a call holds in Wasm.
#[derive(Debug, Default)]
pub struct Held(usize);

impl Held {
    /// Changes the number of bytes; fails if there is no room for more, and then changes nothing.
    pub fn set(&mut self, bytes: usize) -> Result<(), Error> {
        if bytes > self.0 && !take(bytes - self.0) {
            return Err(overloaded());
        }
        give_back(self.0.saturating_sub(bytes));
        self.0 = bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        give_back(self.0);
    }
}

/// The bytes that a call holds in JavaScript, which knows them by the number.
#[derive(Debug)]
pub struct Ticket(u32);

impl Ticket {
    /// A ticket for no bytes so far.
    pub fn new() -> Ticket {
        let ticket = NEXT.get();
        if ticket == 0 {
            GROW.with(|grow| {
                RELEASE.with(|release| {
                    connect_budget(grow.as_ref().unchecked_ref(), release.as_ref().unchecked_ref());
                });
            });
        }
        // A stream of an earlier instance must not release a ticket of this one.
        let ticket = if ticket == 0 { u32::from_le_bytes(super::random::id_bytes()) | 1 } else { ticket };
        NEXT.set(ticket.wrapping_add(1).max(1));
        TICKETS.with_borrow_mut(|tickets| tickets.insert(ticket, 0));
        Ticket(ticket)
    }

    /// The number.
    pub fn number(&self) -> u32 {
        self.0
    }

    /// Streams bytes to the client. The ticket is released when the client has them or has left.
    pub fn hand_over(
        self,
        context: &Context,
        client: &web_sys::AbortSignal,
        bytes: &js_sys::Uint8Array,
        idle_ms: u32,
    ) -> web_sys::ReadableStream {
        let handed = hand_over(client, bytes, idle_ms.into(), self.0);
        let finished = handed.finished();
        task::after_response(context, async move {
            let _: Result<JsValue, JsValue> = task::settled(finished).await;
            drop(self);
        });
        handed.readable()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        release(self.0);
    }
}
