//! Gatehouse: an LLM gateway that is one Cloudflare Worker.
//!
//! This crate is the Worker: the only place that touches the runtime. It reads requests, asks `gatehouse-core` what to
//! do, and does it. `gatehouse_core::routes` says what there is, [`inference`] and [`handlers`] do it, [`store`] keeps what must be kept, [`objects`] are
//! the few things with one owner, [`platform`] talks to the runtime.
//!
//! The runtime loads `platform/entry.js`, which calls [`fetch`] and puts its promise under `waitUntil`. That is one of the three parts
//! that keep memory flat when clients leave (`platform::upstream` has the other two).

#![expect(
    unreachable_pub,
    reason = "a Worker exports nothing: `pub` marks what a module offers to the others"
)]

mod authentication;
mod handlers;
mod inference;
mod isolate;
mod notification;
mod objects;
mod platform;
mod request_context;
mod settings;
mod store;

use worker::wasm_bindgen::{self, JsValue, prelude::wasm_bindgen};
use worker::worker_sys::Context;
use worker::{Env, web_sys};

use crate::platform::task;
use crate::request_context::RequestContext;

/// The single entry point: gives the response, or a promise of it.
#[wasm_bindgen]
pub fn fetch(request: web_sys::Request, env: Env, context: Context) -> JsValue {
    task::run(async move {
        let context = RequestContext::new(&request, env, context);
        let response = handlers::answer(&context).await;
        context.finish(response)
    })
}
