//! Tasks: futures that JavaScript waits for.
//!
//! This module and the entry (`src/platform/entry.js`) replace `wasm-bindgen`'s executor, because that executor creates
//! two closures, a `then` and a `queueMicrotask` for each awaited promise, and a promise with two closures for each
//! future: some 20 µs for each call, where a bare Worker takes 200 in all. Here a future is polled at once. While it
//! waits for a promise, one JavaScript function awaits the promise (`task.js`) and resumes the future with the result.
//! A future that waits for nothing needs no promise.
//!
//! So a task waits for one promise at a time, with [`settled`], and for nothing else: there are no wakers, and no
//! joining of futures in Rust. Concurrent work is several promises, awaited one after the other.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context as Polling, Poll, Waker};

use slab::Slab;
use worker::js_sys::{Function, Promise};
use worker::wasm_bindgen::{self, JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use worker::wasm_bindgen_futures::JsFuture;
use worker::worker_sys;

use super::clock;

#[wasm_bindgen(module = "/src/platform/task.js")]
extern "C" {
    fn drive(resume: &Function, task: usize, first: &Promise) -> Promise;
}

type Future = Pin<Box<dyn std::future::Future<Output = JsValue>>>;

/// The state that the polled future and its executor share.
enum Turn {
    /// No task is being polled.
    Idle,
    /// The task has not waited yet.
    Running,
    /// The task waits for this promise.
    Waiting(Promise),
    /// The promise that the task waited for has settled.
    Settled(Result<JsValue, JsValue>),
}

thread_local! {
    static TURN: RefCell<Turn> = const { RefCell::new(Turn::Idle) };
    /// The waiting tasks; `None` in the place of a task that is being polled.
    static WAITING: RefCell<Slab<Option<Future>>> = const { RefCell::new(Slab::new()) };
    static RESUME: Closure<dyn Fn(usize, JsValue, bool) -> JsValue> = Closure::new(resume);
}

/// Waits for a promise and returns its result. In a task this costs no closures; elsewhere (in objects) it is the usual
/// future.
pub async fn settled(promise: Promise) -> Result<JsValue, JsValue> {
    let in_task = TURN.with_borrow(|turn| !matches!(turn, Turn::Idle));
    if !in_task {
        return JsFuture::from(promise).await;
    }
    let mut promise = Some(promise);
    poll_fn(move |_| match promise.take() {
        Some(promise) => {
            TURN.set(Turn::Waiting(promise));
            Poll::Pending
        }
        None => match TURN.replace(Turn::Running) {
            Turn::Settled(result) => Poll::Ready(result),
            _ => Poll::Ready(Err(JsValue::UNDEFINED)),
        },
    })
    .await
}

/// Runs a future. Returns its value or, if it has to wait, a promise of its value.
pub fn run(future: impl std::future::Future<Output = JsValue> + 'static) -> JsValue {
    let mut future: Future = Box::pin(future);
    match poll(&mut future, Turn::Running) {
        Ok(value) => value,
        Err(promise) => {
            let task = WAITING.with_borrow_mut(|tasks| tasks.insert(Some(future)));
            RESUME.with(|resume| drive(resume.as_ref().unchecked_ref(), task, &promise)).into()
        }
    }
}

/// Runs a future after the response of a request. The runtime keeps the request alive for it.
pub fn after_response(
    context: &worker_sys::Context,
    future: impl std::future::Future<Output = ()> + 'static,
) {
    let value = run(async move {
        future.await;
        JsValue::UNDEFINED
    });
    if let Some(promise) = value.dyn_ref::<Promise>() {
        // This fails only if the request is over, and the future with it.
        let _ = context.wait_until(promise);
    }
}

fn resume(task: usize, value: JsValue, failed: bool) -> JsValue {
    let waiting = WAITING.with_borrow_mut(|tasks| tasks.get_mut(task)?.take());
    let Some(mut future) = waiting else { broken(&format!("task {task} is resumed, but does not wait")) };
    let result = if failed { Err(value) } else { Ok(value) };
    match poll(&mut future, Turn::Settled(result)) {
        Ok(value) => {
            WAITING.with_borrow_mut(|tasks| tasks.try_remove(task));
            value
        }
        Err(promise) => {
            WAITING.with_borrow_mut(|tasks| tasks.get_mut(task).map(|place| place.replace(future)));
            promise.into()
        }
    }
}

/// Polls a future once. Returns its value, or the promise that it waits for.
fn poll(future: &mut Future, turn: Turn) -> Result<JsValue, Promise> {
    // A task may start another one while it is polled.
    let outer = TURN.replace(turn);
    let polled = clock::at_fixed_time(|| future.as_mut().poll(&mut Polling::from_waker(Waker::noop())));
    let turn = TURN.replace(outer);
    match (polled, turn) {
        (Poll::Ready(value), _) => Ok(value),
        (Poll::Pending, Turn::Waiting(promise)) => Err(promise),
        (Poll::Pending, _) => {
            broken("a task waits for something other than `settled`, which nothing would resume")
        }
    }
}

/// Ends the instance, because of a mistake in this crate that leaves a task waiting forever.
#[expect(clippy::panic, reason = "an error returned from here would be the response of some other call")]
fn broken(mistake: &str) -> ! {
    panic!("{mistake}")
}
