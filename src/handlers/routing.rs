//! `GET /v1/routing/status` and `GET /v1/stats/providers`: public reports on models and providers.

use std::rc::Rc;

use gatehouse_core::report::routing;

use crate::isolate::Isolate;
use crate::platform::clock;
use crate::platform::response::Response;
use crate::request_context::RequestContext;

/// Every listed model, in the order in which `auto` would try them.
pub async fn status(context: &RequestContext<'_>, isolate: &Rc<Isolate>) -> Response {
    isolate.health.refresh(context).await;
    Response::json(
        200,
        &routing::status(
            &isolate.health.view.borrow(),
            &isolate.settings.config,
            &isolate.settings.registry,
            clock::now_ms(),
        ),
    )
}

/// The statistics of each provider.
pub async fn provider_stats(context: &RequestContext<'_>, isolate: &Rc<Isolate>) -> Response {
    isolate.health.refresh(context).await;
    Response::json(
        200,
        &routing::provider_stats(&isolate.health.view.borrow(), &isolate.settings.registry, clock::now_ms()),
    )
}
