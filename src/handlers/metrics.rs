//! `GET /metrics`: usage and health of the providers, in Prometheus' text format.

use std::rc::Rc;

use gatehouse_core::error::Error;
use gatehouse_core::report::metrics::{CONTENT_TYPE, Snapshot};
use gatehouse_core::report::routing;

use crate::isolate::Isolate;
use crate::platform::clock;
use crate::platform::response::{Body, Response};
use crate::request_context::RequestContext;
use crate::store::{counts, usage};

/// `GET /metrics`
pub async fn get(context: &RequestContext<'_>, isolate: &Rc<Isolate>) -> Result<Response, Error> {
    let news = isolate.health.refresh(context);
    let totals = usage::totals(&context.env).await?;
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
        pending_requests: counts.as_ref().map(|counts| counts.pending_requests),
        issued_keys: counts.as_ref().map(|counts| counts.issued_keys),
        capped_calls: counts.as_ref().map(|counts| counts.incidents.capped_calls),
        lost_records: counts.map(|counts| counts.incidents.lost_records),
    };
    Ok(Response::new(200, CONTENT_TYPE, Body::Text(snapshot.exposition().into())))
}
