//! Gatehouse: an LLM gateway that is one Cloudflare Worker.
//!
//! This crate is the Worker: the only place that touches the runtime. It reads requests, asks `gatehouse-core` what to
//! do, and does it. [`routes`] says what there is, [`handlers`] do it, [`store`] keeps what must be kept, [`objects`] are
//! the few things with one owner, [`platform`] talks to the runtime.
//!
//! The build must set `RUN_TO_COMPLETION=1` (see `scripts/build`): the handler's promise then stands under `waitUntil`,
//! which is one of the three parts that keep memory flat when clients leave (`platform::upstream` has the other two).

#![expect(
    unreachable_pub,
    reason = "a Worker exports nothing: `pub` marks what a module offers to the others"
)]

mod gateway;
mod handlers;
mod objects;
mod platform;
mod routes;
mod store;

use worker::{Context, Env, event, web_sys};

use crate::handlers::Call;

/// The single entry point.
#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, context: Context) -> worker::Result<web_sys::Response> {
    let call = Call::new(&request, env, context);
    let reply = handlers::answer(&call).await;
    Ok(call.finish(reply)?)
}
