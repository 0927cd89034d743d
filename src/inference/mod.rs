//! The pipeline of a call: receive, select, reserve, attempt, respond, and record after the response. Also `POST
//! /v1/routing/explain`, which returns the plan of a call without sending it.

mod attempts;
mod record;
mod response;

use std::rc::Rc;

use gatehouse_core::error::Error;
use gatehouse_core::format;
use gatehouse_core::format::project_id;
use gatehouse_core::format::request::Inference;
use gatehouse_core::health::HealthView;
use gatehouse_core::key::Caller;
use gatehouse_core::ledger::estimate::Estimate;
use gatehouse_core::ledger::{Limit, Reservation};
use gatehouse_core::operation::{CHAT_COMPLETIONS, OPERATIONS, Operation};
use gatehouse_core::report::routing;
use gatehouse_core::route::affinity::Affinity;
use gatehouse_core::route::candidates::{self, Candidate, RouteQuery, Selection};
use gatehouse_core::route::driver::{Driver, Ended};
use gatehouse_core::route::plan::{Limits, Plan};

use crate::isolate::{Isolate, accounts};
use crate::platform::response::Response;
use crate::platform::{clock, random};
use crate::request_context::RequestContext;
use attempts::Attempts;
use record::Record;

/// The name of a session. Its calls go to the same upstream as long as that is available.
const SESSION_HEADER: &str = "x-session-id";
/// The only provider that may be called.
const FORCE_PROVIDER_HEADER: &str = "x-gateway-force-provider";
/// The model that replaces the one in the body.
const FORCE_MODEL_HEADER: &str = "x-gateway-force-model";

/// Serves one call of an operation.
pub async fn create(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    caller: &Caller,
    operation: &'static Operation,
) -> Result<Response, Error> {
    let config = &isolate.settings.config;
    context.require_json()?;
    let refreshed = isolate.health.refresh(context);
    let body = context.body(config.requests.max_body_bytes).await?;
    let bytes = body.to_vec();
    let request = format::read(operation, &bytes)?;
    let header = context.header(project_id::HEADER);
    let project = project_id::choose(header, request.project_id.clone(), config.requests.project_id)?;
    refreshed.await;
    let forced = Forced::of(context);
    let (candidates, plan) = plan(context, isolate, caller, &request, &forced)?;
    let candidates: Rc<[Candidate<'_>]> = candidates.into();
    let ledger = accounts::name_of(caller);
    let reservation = reservation(isolate, caller, &request, forced.model(&request))?;
    let limits = reservation.limits().to_vec();

    let mut driver = Driver::new(Rc::clone(&candidates), config, request.stream, plan, reservation);
    let mut attempts = Attempts {
        context,
        isolate,
        request: &request,
        body: &body,
        candidates: &candidates,
        ledger: &ledger,
        heartbeat: None,
    };
    let ended = attempts.run(&mut driver).await;

    let heartbeat = attempts.heartbeat;
    let lane = match &ended {
        Ok(success) => Some(success.answered.lane),
        Err(exhausted) => exhausted.lane,
    };
    let Ended { reservation, sent, route } = driver.into_ended();
    let record = Rc::new(Record::new(
        context,
        isolate,
        caller,
        record::Call {
            ledger,
            project,
            candidate: lane.and_then(|lane| candidates.get(lane.candidate)),
            key: lane.map_or(0, |lane| lane.key),
            prompt: request.size.prompt_bounds(),
            stream: request.stream,
            attempts: sent,
            upstream_ms: match &ended {
                Ok(success) => success.answered.upstream_ms,
                Err(exhausted) => exhausted.upstream_ms,
            },
            first_token_ms: response::is_stream(&ended).then(|| context.elapsed_ms()),
            reservation,
            heartbeat,
        },
    ));
    let response = response::respond(context, isolate, ended, &record, route)?;
    isolate.health.publish_after_response(context);
    let limit_headers = isolate.accounts.headers(&record.ledger, &limits);
    Ok(limit_headers.into_iter().fold(response, |response, (name, value)| response.with(name, value)))
}

/// `POST /v1/routing/explain`: the routing decision of `create` for the same request, with reasons. Sends nothing
/// upstream. The query parameter `endpoint` selects the operation; the default is chat completions.
pub async fn explain(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    caller: &Caller,
) -> Result<Response, Error> {
    context.require_json()?;
    let operations: Vec<_> = OPERATIONS.iter().map(|operation| (operation.path, *operation)).collect();
    let operation = context.query_choice("endpoint", &operations)?.unwrap_or(&CHAT_COMPLETIONS);
    let refreshed = isolate.health.refresh(context);
    let body = context.body(isolate.settings.config.requests.max_body_bytes).await?.to_vec();
    let request = format::read(operation, &body)?;
    refreshed.await;
    let forced = Forced::of(context);
    let view = isolate.health.view.borrow();
    let query = RouteQuery { explain: true, ..query(context, isolate, caller, &request, &forced, &view) };
    let selection = candidates::select(&query)?;
    let limits = Limits::of(&isolate.settings.config, context.began_ms);
    let plan = Plan::new(&selection.candidates, &view, query.affinity, limits, query.now_ms);
    Ok(Response::json(200, &routing::explain(&query, &selection, &plan)))
}

/// The headers that override the body.
struct Forced {
    model: Option<String>,
    provider: Option<String>,
}

impl Forced {
    fn of(context: &RequestContext<'_>) -> Forced {
        let header = |name| context.header(name).filter(|value: &String| !value.trim().is_empty());
        Forced { model: header(FORCE_MODEL_HEADER), provider: header(FORCE_PROVIDER_HEADER) }
    }

    /// The name of the requested model.
    fn model<'s>(&'s self, request: &'s Inference<'_>) -> &'s str {
        self.model.as_deref().unwrap_or(&request.model)
    }
}

/// Selects the candidates of a call, and plans its attempts.
fn plan<'a>(
    context: &RequestContext<'_>,
    isolate: &'a Isolate,
    caller: &Caller,
    request: &Inference<'_>,
    forced: &Forced,
) -> Result<(Vec<Candidate<'a>>, Plan), Error> {
    let view = isolate.health.view.borrow();
    let query = query(context, isolate, caller, request, forced, &view);
    let Selection { candidates, .. } = candidates::select(&query)?;
    let limits = Limits::of(&isolate.settings.config, context.began_ms);
    let plan = Plan::new(&candidates, &view, query.affinity, limits, query.now_ms);
    Ok((candidates, plan))
}

fn query<'a, 'b>(
    context: &RequestContext<'_>,
    isolate: &'a Isolate,
    caller: &'b Caller,
    request: &'b Inference<'b>,
    forced: &'b Forced,
    view: &'b HealthView,
) -> RouteQuery<'a, 'b> {
    let session = context.header(SESSION_HEADER);
    let session = session.as_deref().or(request.session);
    let chance = random::chance();
    let affinity = if isolate.settings.config.routing.sticky {
        Affinity::of(&caller.label, session, request.prompt, chance)
    } else {
        Affinity::of("", None, "", chance)
    };
    RouteQuery {
        request,
        force_model: forced.model.as_deref(),
        force_provider: forced.provider.as_deref(),
        key: caller.key.as_deref(),
        config: &isolate.settings.config,
        registry: &isolate.settings.registry,
        view,
        affinity,
        now_ms: clock::now_ms(),
        explain: false,
    }
}

/// The reservation of a call: its key's limits and its estimated size.
fn reservation(
    isolate: &Isolate,
    caller: &Caller,
    request: &Inference<'_>,
    model: &str,
) -> Result<Reservation, Error> {
    let config = &isolate.settings.config;
    let limits = match &caller.key {
        Some(key) => Limit::of_key(key, config)?,
        None => Vec::new(),
    };
    Ok(Reservation::new(limits, Estimate::of(&request.size), config.ledger.unknown_price, model))
}
