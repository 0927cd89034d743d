//! `POST /v1/messages/count_tokens` and `POST /v1/responses/input_tokens`: the tokens of a prompt, without a response.
//!
//! The upstream that would serve the call counts them, if it can; otherwise, or if it does not answer, the gateway
//! returns an estimate that is rather too high. A response header says which of the two it is. Nothing is charged,
//! nothing is recorded, and no answer counts for or against a lane: many upstreams do not have this endpoint.

use std::rc::Rc;

use gatehouse_core::error::{Code, Error, Meaning};
use gatehouse_core::format::request::Inference;
use gatehouse_core::format::versions::Versions;
use gatehouse_core::format::{self, upstream_error};
use gatehouse_core::json::members;
use gatehouse_core::key::Caller;
use gatehouse_core::operation::{Format, Operation};
use gatehouse_core::route::candidates::Candidate;
use gatehouse_core::route::driver::{AttemptLimits, visible_ascii};
use gatehouse_core::usage::Usage;
use serde::Serialize;
use worker::js_sys::Uint8Array;

use super::attempts::headers;
use super::selection::{Forced, plan};
use super::{body_limits, kept_responses, permission, request_limit};
use crate::isolate::{Isolate, accounts};
use crate::platform::response::{Body, Response};
use crate::platform::upstream::{self, Target, UpstreamBody};
use crate::request_context::RequestContext;

/// The largest number of counts for one key in any minute.
const PER_MINUTE: u32 = 1_200;
/// The time that an upstream has to count, in milliseconds.
const PATIENCE_MS: u32 = 5_000;

/// Whose count it is.
const SOURCE_HEADER: &str = "x-gateway-token-count";

#[derive(Serialize)]
struct Count {
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'static str>,
    input_tokens: u64,
}

/// The count of an upstream.
struct Counted {
    input_tokens: u64,
    /// The upstream's own body, if it is in the caller's format.
    own: Option<Uint8Array>,
}

/// Counts the tokens of a prompt of an operation.
pub async fn create(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    caller: &Caller,
    operation: &'static Operation,
) -> Result<Response, Error> {
    context.require_json()?;
    request_limit::check(context, caller, "count_tokens", PER_MINUTE).await?;
    let refreshed = isolate.health.refresh(context);
    let body = context.body(body_limits(&isolate.settings.config), None).await?;
    let request = format::read_prompt(operation, &body.bytes)?;
    let versions = Versions::read(operation.format, |name| context.header(name))?;
    refreshed.await;
    let caller = &permission::of_caller(context, isolate, caller).await?;
    let is_messages = operation.format == Format::Messages;
    let mut planned = match plan(context, isolate, caller, &request, &Forced::of(context)) {
        // A prompt that cannot be translated has a length all the same. One that its provider keeps has none here.
        Err(error) if error.is(Code::UnsupportedParameter) && is_messages => None,
        planned => Some(planned?),
    };
    if let (Some(id), Some((selection, plan))) = (request.previous_response_id()?, &mut planned) {
        let ledger = accounts::name_of(caller);
        let maker = kept_responses::find_previous(context, &ledger, &id).await?;
        kept_responses::keep_to_maker(&maker, &selection.candidates, plan)?;
    }
    let first = planned.as_ref().and_then(|(selection, plan)| {
        let (lane, _) = plan.lanes().next()?;
        Some((selection.candidates.get(lane.candidate)?, lane.key))
    });
    let counted = match first {
        Some((candidate, key)) => {
            of_upstream(context, isolate, &request, &body.bytes, &versions, candidate, key).await?
        }
        None => None,
    };
    if counted.is_none() && request.previous_response_id()?.is_some() {
        let message =
            "The provider did not count the tokens, and only it has the earlier response; try again";
        return Err(Error::new(Code::UpstreamUnreachable, message));
    }
    let source = if counted.is_some() { "upstream" } else { "estimated" };
    let response = match counted {
        Some(Counted { own: Some(body), .. }) => Response::new(200, "application/json", Body::Bytes(body)),
        counted => {
            let input_tokens =
                counted.map_or_else(|| request.high_estimate(), |counted| counted.input_tokens);
            let object = (!is_messages).then_some("response.input_tokens");
            Response::json(200, &Count { object, input_tokens })
        }
    };
    let response = response.with(SOURCE_HEADER, source);
    Ok(match first {
        Some((candidate, _)) => response
            .with("x-gateway-provider", candidate.provider.name.clone())
            .with("x-gateway-model", visible_ascii(&candidate.model)),
        None => response,
    })
}

/// The count of the upstream; `None` if it makes none. Fails if the upstream rejects the prompt itself.
async fn of_upstream(
    context: &RequestContext<'_>,
    isolate: &Isolate,
    request: &Inference<'_>,
    bytes: &[u8],
    versions: &Versions,
    candidate: &Candidate<'_>,
    key: u8,
) -> Result<Option<Counted>, Error> {
    let provider = candidate.provider;
    let Some(format) = request.format_at(&candidate.upstream()) else { return Ok(None) };
    let Some((endpoint, path)) = provider.counter(format) else { return Ok(None) };
    let key = provider.secret(key);
    let outgoing = request.prompt_for(&candidate.upstream())?;
    let flight = upstream::begin(
        &context.request.signal(),
        Target::Http(&format!("{}/{path}", endpoint.url), headers(endpoint, key, versions)),
        &Uint8Array::from(outgoing.as_deref().unwrap_or(bytes)),
        &isolate.settings.limits,
        AttemptLimits { first_byte_ms: PATIENCE_MS, stall_ms: PATIENCE_MS, total_ms: PATIENCE_MS },
        None,
        false,
        None,
    );
    let Ok(response) = flight.settle().await else { return Ok(None) };
    let UpstreamBody::Whole(Some(body)) = response.body else { return Ok(None) };
    if response.status == 200 {
        let is_own = format == request.operation.format;
        let counted = count(&body.to_vec());
        return Ok(counted.map(|input_tokens| Counted { input_tokens, own: is_own.then_some(body) }));
    }
    if !(400..600).contains(&response.status) {
        return Ok(None);
    }
    let error = upstream_error::read(&provider.name, response.status, &body.to_vec(), key);
    match error.meaning() {
        Some(Meaning::Refused | Meaning::TooLong | Meaning::Moderated) if error.status != 405 => Err(error),
        _ => Ok(None),
    }
}

/// The number in a count; `None` if the body is none.
fn count(body: &[u8]) -> Option<u64> {
    let [count] = members::pick(body, &["input_tokens"]).ok()?;
    Usage::count(count?.value)
}
