//! `POST /v1/messages/count_tokens`: the tokens of a prompt, without a response.
//!
//! The upstream that would serve the call counts them, if it serves Messages; otherwise, or if it does not answer, the
//! gateway returns an estimate that is rather too high. A response header says which of the two it is. Nothing is charged,
//! nothing is recorded, and no answer counts for or against a lane: many upstreams do not have this endpoint.

use std::rc::Rc;

use gatehouse_core::error::{Code, Error, Meaning};
use gatehouse_core::format::request::Inference;
use gatehouse_core::format::versions::Versions;
use gatehouse_core::format::{self, upstream_error};
use gatehouse_core::json::members;
use gatehouse_core::key::Caller;
use gatehouse_core::route::candidates::Candidate;
use gatehouse_core::route::driver::{AttemptLimits, visible_ascii};
use gatehouse_core::usage::Usage;
use serde::Serialize;
use worker::js_sys::Uint8Array;

use super::attempts::headers;
use super::selection::{Forced, plan};
use super::{body_limits, check_limit, permission};
use crate::isolate::Isolate;
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
    input_tokens: u64,
}

/// Counts the tokens of a prompt.
pub async fn create(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    caller: &Caller,
) -> Result<Response, Error> {
    context.require_json()?;
    check_limit(context, caller, "count_tokens", PER_MINUTE).await?;
    let refreshed = isolate.health.refresh(context);
    let body = context.body(body_limits(&isolate.settings.config), None).await?;
    let request = format::read_prompt(&body.bytes)?;
    let versions = Versions::read(request.operation.format, |name| context.header(name))?;
    refreshed.await;
    let caller = &permission::of_caller(context, isolate, caller).await?;
    let planned = match plan(context, isolate, caller, &request, &Forced::of(context)) {
        // A prompt that cannot be translated has a length all the same.
        Err(error) if error.is(Code::UnsupportedParameter) => None,
        planned => Some(planned?),
    };
    let first = planned.as_ref().and_then(|(candidates, plan)| {
        let (lane, _) = plan.lanes().next()?;
        Some((candidates.get(lane.candidate)?, lane.key))
    });
    let counted = match first {
        Some((candidate, key)) => {
            of_upstream(context, isolate, &request, &body.bytes, &versions, candidate, key).await?
        }
        None => None,
    };
    let response = if let Some(body) = counted {
        Response::new(200, "application/json", Body::Bytes(body)).with(SOURCE_HEADER, "upstream")
    } else {
        let count = Count { input_tokens: request.high_estimate() };
        Response::json(200, &count).with(SOURCE_HEADER, "estimated")
    };
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
) -> Result<Option<Uint8Array>, Error> {
    let provider = candidate.provider;
    let Some(endpoint) = provider.endpoint(request.operation.format) else { return Ok(None) };
    let key = provider.keys().get(usize::from(key));
    let outgoing = request.outgoing(&candidate.upstream(), None)?;
    let flight = upstream::begin(
        &context.request.signal(),
        Target::Http(&format!("{}/count_tokens", endpoint.url), headers(endpoint, key, versions)),
        &Uint8Array::from(outgoing.body.as_deref().unwrap_or(bytes)),
        &isolate.settings.limits,
        AttemptLimits { first_byte_ms: PATIENCE_MS, stall_ms: PATIENCE_MS, total_ms: PATIENCE_MS },
        None,
        false,
        None,
    );
    let Ok(response) = flight.settle().await else { return Ok(None) };
    let UpstreamBody::Whole(Some(body)) = response.body else { return Ok(None) };
    if response.status == 200 {
        return Ok(is_count(&body.to_vec()).then_some(body));
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

/// Returns `true` if a body is a count.
fn is_count(body: &[u8]) -> bool {
    let count = || {
        let [count] = members::pick(body, &["input_tokens"]).ok()?;
        Usage::count(count?.value)
    };
    count().is_some()
}
