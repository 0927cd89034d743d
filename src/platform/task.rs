//! Tasks: futures whose waiting is done by JavaScript.
//!
//! This module and the entry (`src/platform/entry.js`) are what is unusual here, and this is why: `wasm-bindgen`'s executor pays two
//! closures, a `then` and a `queueMicrotask` for each promise that is awaited, and a promise with two closures for each
//! future, some 20 µs a call in all, where a bare Worker has 200 for everything. Here a future is polled at once. As long as
//! it waits for a promise, one function of JavaScript awaits that (`task.js`) and resumes the future with what has become of
//! it; a future that waits for nothing costs no promise at all.
//!
//! So a task waits for one promise at a time, by [`settled`], and for nothing else: no wakers, no joining of futures in Rust.
//! What is to go on at the same time is several promises, awaited one after the other.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context as Polling, Poll, Waker};

use worker::js_sys::{Function, Promise};
use worker::wasm_bindgen::{self, JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use worker::wasm_bindgen_futures::JsFuture;
use worker::worker_sys;

use super::clock;
use super::slab::Slab;

#[wasm_bindgen(module = "/src/platform/task.js")]
extern "C" {
    fn drive(resume: &Function, task: u32, first: &Promise) -> Promise;
}

type Future = Pin<Box<dyn std::future::Future<Output = JsValue>>>;

/// What the future that is being polled and its executor tell each other.
enum Turn {
    /// No task is being polled.
    Nobodys,
    /// It has not waited yet.
    Running,
    /// It waits for this.
    Waiting(Promise),
    /// What it waited for has settled.
    Settled(Result<JsValue, JsValue>),
}

thread_local! {
    static TURN: RefCell<Turn> = const { RefCell::new(Turn::Nobodys) };
    /// The tasks that wait.
    static WAITING: RefCell<Slab<Future>> = const { RefCell::new(Slab::new()) };
    static RESUME: Closure<dyn Fn(u32, JsValue, bool) -> JsValue> = Closure::new(resume);
}

/// What became of a promise. In a task it costs no more than that; elsewhere (in objects) it is the usual future.
pub async fn settled(promise: Promise) -> Result<JsValue, JsValue> {
    let in_task = TURN.with_borrow(|turn| !matches!(turn, Turn::Nobodys));
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

/// Runs a future: gives what it gives, or, if it has to wait for something, a promise of that.
pub fn run(future: impl std::future::Future<Output = JsValue> + 'static) -> JsValue {
    let mut future: Future = Box::pin(future);
    match poll(&mut future, Turn::Running) {
        Ok(value) => value,
        Err(promise) => {
            let task = WAITING.with_borrow_mut(|tasks| tasks.insert(future));
            RESUME.with(|resume| drive(resume.as_ref().unchecked_ref(), task, &promise)).into()
        }
    }
}

/// Runs a future behind the answer of a request, which the runtime keeps alive for it.
pub fn after_response(
    context: &worker_sys::Context,
    future: impl std::future::Future<Output = ()> + 'static,
) {
    let value = run(async move {
        future.await;
        JsValue::UNDEFINED
    });
    if let Some(promise) = value.dyn_ref::<Promise>() {
        // It fails only where the request is over, and with it the future.
        let _ = context.wait_until(promise);
    }
}

fn resume(task: u32, value: JsValue, failed: bool) -> JsValue {
    let waiting = WAITING.with_borrow_mut(|tasks| tasks.take(task));
    let Some(mut future) = waiting else { broken(&format!("task {task} is resumed, but does not wait")) };
    let result = if failed { Err(value) } else { Ok(value) };
    match poll(&mut future, Turn::Settled(result)) {
        Ok(value) => {
            WAITING.with_borrow_mut(|tasks| tasks.free(task));
            value
        }
        Err(promise) => {
            WAITING.with_borrow_mut(|tasks| tasks.put(task, future));
            promise.into()
        }
    }
}

/// Polls a future once: what it gives, or what it waits for.
fn poll(future: &mut Future, turn: Turn) -> Result<JsValue, Promise> {
    // A task may be begun by another one.
    let outer = TURN.replace(turn);
    let polled = clock::standing(|| future.as_mut().poll(&mut Polling::from_waker(Waker::noop())));
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
