//! Gatehouse: an LLM gateway that is one Cloudflare Worker.
//!
//! This crate is the Worker, the only code that touches the runtime. `gatehouse-core` decides, this crate carries it
//! out: `gatehouse_core::routes` lists the endpoints, [`inference`] and [`handlers`] serve them, [`store`] reads and
//! writes the database, [`objects`] are the Durable Objects, and [`platform`] talks to the runtime.
//!
//! The runtime loads `platform/entry.js`, which calls [`fetch`] and passes its promise to `waitUntil`. That is one of
//! the three parts that keep memory flat when clients disconnect; `platform::upstream` has the other two.

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
mod snapshot;
mod store;

use worker::wasm_bindgen::{self, JsValue, prelude::wasm_bindgen};
use worker::worker_sys::Context;
use worker::{Env, web_sys};

use crate::platform::task;
use crate::request_context::RequestContext;

/// The single entry point: returns the response, or a promise of it.
#[wasm_bindgen]
pub fn fetch(request: web_sys::Request, env: Env, context: Context) -> JsValue {
    task::run(async move {
        let context = RequestContext::new(&request, env, context);
        let response = handlers::answer(&context).await;
        context.finish(response)
    })
}
