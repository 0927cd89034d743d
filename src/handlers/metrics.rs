//! `GET /metrics`: usage and health of the providers, in Prometheus' text format.

use std::cell::Cell;
use std::rc::Rc;

use gatehouse_core::error::Error;
use gatehouse_core::report::metrics::{CONTENT_TYPE, Snapshot};
use gatehouse_core::report::routing;

use crate::isolate::Isolate;
use crate::platform::response::{Body, Response};
use crate::platform::{clock, memory};
use crate::request_context::RequestContext;
use crate::store::counts::{self, Counts};
use crate::store::usage;

thread_local! {
    /// Denied requests to operators' routes in this isolate: with a wrong key or none, and with a key that does not
    /// administer.
    static DENIALS: Cell<[u64; 2]> = const { Cell::new([0; 2]) };
}

/// Counts a denied request to an operator's route.
pub fn count_denial(is_forbidden: bool) {
    let [failed, forbidden] = DENIALS.get();
    DENIALS.set(if is_forbidden { [failed, forbidden + 1] } else { [failed + 1, forbidden] });
}

/// `GET /metrics`
pub async fn get(context: &RequestContext<'_>, isolate: &Rc<Isolate>) -> Result<Response, Error> {
    let news = isolate.health.refresh(context);
    let totals =
        usage::totals(&context.env, &usage::listed(&isolate.settings.registry, &isolate.settings.config))
            .await?;
    let counts = counts::now(&context.env, clock::now_ms()).await?;
    news.await;
    let snapshot = Snapshot {
        version: env!("CARGO_PKG_VERSION"),
        totals,
        providers: routing::provider_states(
            &isolate.health.view.borrow(),
            &isolate.settings.registry,
            clock::now_ms(),
        ),
        operator_denials: DENIALS.get(),
        wasm_memory_bytes: memory::wasm_bytes(),
        held_bytes: memory::held_bytes(),
        ..counts.as_ref().map_or_else(Snapshot::default, Counts::snapshot)
    };
    Ok(Response::new(200, CONTENT_TYPE, Body::Text(snapshot.exposition().into())))
}
