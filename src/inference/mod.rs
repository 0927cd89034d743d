//! The pipeline of a call: receive, select, reserve, attempt, respond, and record after the response. Also `POST
//! /v1/routing/explain`, which returns the plan of a call without sending it, the count of a prompt's tokens
//! ([`count_tokens`]), the requests about responses that a provider keeps ([`kept_responses`]), and the trial of a
//! provider's key ([`trial`]).

mod attempts;
pub mod count_tokens;
mod early;
pub mod kept_responses;
mod permission;
mod receive;
mod record;
mod request_limit;
mod response;
mod selection;
pub mod trial;

use std::rc::Rc;

use gatehouse_core::config::Config;
use gatehouse_core::error::Error;
use gatehouse_core::format::project_id;
use gatehouse_core::format::request::Inference;
use gatehouse_core::format::versions::Versions;
use gatehouse_core::key::Caller;
use gatehouse_core::ledger::estimate::Estimate;
use gatehouse_core::ledger::{Limit, Reservation};
use gatehouse_core::operation::{CHAT_COMPLETIONS, OPERATIONS, Operation};
use gatehouse_core::report::routing;
use gatehouse_core::route::candidates::{self, Candidate, RouteQuery, Selection};
use gatehouse_core::route::driver::{Answered, Driver, Ended};
use gatehouse_core::route::plan::{Limits, Plan};
use gatehouse_core::route::preferences;

use crate::isolate::{Isolate, accounts};
use crate::platform::request::BodyLimits;
use crate::platform::response::Response;
use crate::request_context::RequestContext;
use attempts::{Attempts, Success};
use early::Early;
use permission::Permission;
use receive::Incoming;
use record::Record;
use selection::{Forced, plan, query};

/// The largest number of explanations for one key in any minute.
const EXPLAIN_PER_MINUTE: u32 = 300;

/// Serves one call of an operation.
pub async fn create(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    caller: &Caller,
    operation: &'static Operation,
) -> Result<Response, Error> {
    let config = &isolate.settings.config;
    context.check_type(operation.format)?;
    let refreshed = isolate.health.refresh(context);
    let mut early = Early::reserve(context, isolate, caller).await?;
    let incoming = Incoming::receive(context, config, operation, early.heartbeat()).await?;
    let request = incoming.read(operation)?;
    let versions = Versions::read(operation.format, |name| context.header(name))?;
    let header = context.header(project_id::HEADER);
    let project = project_id::choose(header, request.project_id.clone(), config.requests.project_id)?;
    refreshed.await;
    let caller = &permission::of_caller(context, isolate, caller).await?;
    let forced = Forced::of(context);
    let (Selection { candidates, translated, .. }, mut plan) =
        plan(context, isolate, caller, &request, &forced)?;
    let candidates: Rc<[Candidate<'_>]> = candidates.into();
    let ledger = accounts::name_of(caller);
    if let Some(id) = request.previous_response_id()? {
        let maker = kept_responses::find_previous(context, &ledger, &id).await?;
        kept_responses::keep_to_maker(&maker, &candidates, &mut plan)?;
    }
    let reservation = reservation(
        isolate,
        caller,
        &request,
        preferences::limited_name(request.routing, forced.model(&request)),
    )?;
    let limits = reservation.limits().to_vec();
    early.check_limits(&limits);

    let is_cautious = operation.task.is_dear() && !preferences::allows_repeats(request.routing)?;
    let mut driver =
        Driver::new(Rc::clone(&candidates), config, request.stream, plan, reservation).cautious(is_cautious);
    let mut attempts = Attempts {
        context,
        isolate,
        request: &request,
        versions: &versions,
        incoming: &incoming,
        candidates: &candidates,
        translated,
        permission: Permission {
            context,
            isolate,
            caller,
            request: &request,
            forced: &forced,
            candidates: &candidates,
            limits: &limits,
        },
        ledger: &ledger,
        heartbeat: early.take_heartbeat(),
        early,
        was_sent: false,
    };
    let ended = attempts.run(&mut driver).await;

    let heartbeat = attempts.heartbeat;
    let lane = match &ended {
        Ok(success) => Some(success.answered.lane),
        Err(exhausted) => exhausted.lane,
    };
    if let Ok(Success { answered: Answered { lane, .. }, received, .. }) = &ended
        && request.is_stored()
        && let (Some(candidate), Some(id)) = (candidates.get(lane.candidate), received.response_id())
    {
        kept_responses::remember(context, &ledger, candidate, lane.key, id);
    }
    let Ended { reservation, sent, route } = driver.into_ended();
    let record = Rc::new(Record::new(
        context,
        isolate,
        caller,
        record::Call {
            ledger,
            operation: operation.name(),
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
    let operations: Vec<_> = OPERATIONS.iter().map(|operation| (operation.path, *operation)).collect();
    let operation = context.query_choice("endpoint", &operations)?.unwrap_or(&CHAT_COMPLETIONS);
    context.check_type(operation.format)?;
    request_limit::check(context, caller, "explain", EXPLAIN_PER_MINUTE).await?;
    let refreshed = isolate.health.refresh(context);
    let incoming = Incoming::receive(context, &isolate.settings.config, operation, None).await?;
    let request = incoming.read(operation)?;
    refreshed.await;
    let caller = &permission::of_caller(context, isolate, caller).await?;
    let forced = Forced::of(context);
    let maker = match request.previous_response_id()? {
        None => None,
        Some(id) => {
            // As in a call, a model that cannot continue any response is an error of its own.
            plan(context, isolate, caller, &request, &forced)?;
            Some(kept_responses::find_previous(context, &accounts::name_of(caller), &id).await?)
        }
    };
    let view = isolate.health.view.borrow();
    let query = RouteQuery { explain: true, ..query(context, isolate, caller, &request, &forced, &view) };
    let selection = candidates::select(&query)?;
    let limits = Limits::of(&isolate.settings.config, context.began_ms);
    let mut plan = Plan::new(&selection.candidates, &view, query.affinity, limits, query.now_ms);
    if let Some(maker) = maker {
        kept_responses::keep_to_maker(&maker, &selection.candidates, &mut plan)?;
    }
    Ok(Response::json(200, &routing::explain(&query, &selection, &plan)))
}

/// The limits of a call's body.
fn body_limits(config: &Config) -> BodyLimits {
    BodyLimits { bytes: config.requests.max_body_bytes, ms: config.timeouts.body_ms }
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
    let reservation =
        Reservation::new(limits, Estimate::of(&request.size), config.ledger.unknown_price, model);
    Ok(if reservation.has_meter() { reservation.billed(request.billing()) } else { reservation })
}
