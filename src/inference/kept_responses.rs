//! Responses that a provider keeps: the lane that made each, and the endpoints under `/v1/responses/{response_id}`.
//!
//! Only the account at the provider that made a response has it. So the ledger of the key remembers the id of a response
//! with the provider and the index of its key ([`KeptResponse`]), for 30 days; the content stays at the provider. What
//! another key has made is not found. Nothing is charged for these requests, none has a receipt, and no answer counts for
//! or against a lane.

use std::rc::Rc;

use gatehouse_core::catalog::{Entry, Kept};
use gatehouse_core::error::{Code, Error};
use gatehouse_core::format::response_id::is_response_id;
use gatehouse_core::format::versions::Versions;
use gatehouse_core::key::Caller;
use gatehouse_core::ledger::KeptResponse;
use gatehouse_core::operation::Format;
use gatehouse_core::route::candidates::Candidate;
use gatehouse_core::route::plan::{LaneIndex, Plan};
use gatehouse_core::route::response;
use gatehouse_core::routes::OnResponse;
use worker::js_sys::Uint8Array;

use super::attempts::headers;
use super::permission::of_caller;
use super::request_limit;
use crate::isolate::{Isolate, accounts};
use crate::objects::{ObjectError, key_ledger};
use crate::platform::response::{Body, Response};
use crate::platform::task;
use crate::platform::upstream::{self, UpstreamBody};
use crate::request_context::RequestContext;

/// The largest number of these requests for one key in any minute.
const PER_MINUTE: u32 = 1_200;
/// The time that a provider has, in milliseconds.
const PATIENCE_MS: u32 = 30_000;
/// The wait before an unknown response is looked up again, in milliseconds: its record may still be on its way.
const SECOND_LOOK_MS: u32 = 300;
/// The field with the id of the response that a request continues.
const PREVIOUS: &str = "previous_response_id";
/// The query parameters that a provider gets.
const PARAMETERS: [&str; 7] =
    ["include", "include[]", "include_obfuscation", "starting_after", "after", "limit", "order"];
/// The longest query with them, in bytes.
const MAX_QUERY: usize = 1_024;

/// Remembers the lane that made a response. The record is sent at once; the response does not wait for it.
pub fn remember(context: &RequestContext<'_>, ledger: &str, candidate: &Candidate<'_>, key: u8, id: String) {
    let provider = candidate.provider;
    if !provider.keeps.contains(&Kept::Responses) {
        return;
    }
    let kept = KeptResponse { id, provider: provider.name.clone(), key };
    let remembered = key_ledger::keep_response(&context.env, ledger, &kept);
    task::after_response(&context.execution, async move {
        // If this fails, the response cannot be continued or read through the gateway.
        let _ = remembered.await;
    });
}

/// The lane that made a response; `None` if the key has made none with this id.
async fn find(context: &RequestContext<'_>, ledger: &str, id: &str) -> Result<Option<KeptResponse>, Error> {
    let look = || async {
        match key_ledger::kept_response(&context.env, ledger, id).await {
            Ok(found) => Ok(found),
            Err(ObjectError::NotBound) => Ok(None),
            Err(ObjectError::Failed(_)) => {
                let message = "The gateway cannot look up the response now; try again";
                Err(Error::new(Code::StorageUnavailable, message))
            }
        }
    };
    if let Some(found) = look().await? {
        return Ok(Some(found));
    }
    if upstream::wait(&context.request.signal(), SECOND_LOOK_MS).await { look().await } else { Ok(None) }
}

/// The place of the provider's key for a response. A key that replaces the only one is of the same account.
fn key_of(kept: &KeptResponse, provider: &Entry) -> u8 {
    if provider.key_places().any(|key| key == kept.key) {
        kept.key
    } else {
        provider.key_places().next().unwrap_or(0)
    }
}

/// The lane that made the response that a request continues.
pub async fn find_previous(
    context: &RequestContext<'_>,
    ledger: &str,
    id: &str,
) -> Result<KeptResponse, Error> {
    find(context, ledger, id).await?.ok_or_else(|| {
        let message = format!(
            "'{PREVIOUS}' is not the id of a response that this key has made in the last 30 days: send the whole conversation in 'input' instead"
        );
        Error::new(Code::PreviousResponseNotFound, message).with_param(PREVIOUS)
    })
}

/// Leaves of a plan only the lane that made a response. Fails if the plan does not have it.
pub fn keep_to_maker(
    maker: &KeptResponse,
    candidates: &[Candidate<'_>],
    plan: &mut Plan,
) -> Result<(), Error> {
    let is_maker = |lane: LaneIndex| {
        let provider = candidates.get(lane.candidate).map(|candidate| candidate.provider);
        provider
            .is_some_and(|provider| provider.name == maker.provider && key_of(maker, provider) == lane.key)
    };
    if plan.keep(is_maker) {
        return Ok(());
    }
    let message = format!(
        "'{PREVIOUS}' refers to a response of the provider '{}': use a model of this provider, or send the whole conversation in 'input' instead",
        maker.provider
    );
    Err(Error::new(Code::UnsupportedParameter, message).with_param(PREVIOUS))
}

/// The part of Responses that a request needs, its method, and its path below the response.
fn of_endpoint(on: OnResponse) -> (Kept, &'static str, &'static str) {
    match on {
        OnResponse::Get => (Kept::Responses, "GET", ""),
        OnResponse::Delete => (Kept::Responses, "DELETE", ""),
        OnResponse::Cancel => (Kept::Background, "POST", "/cancel"),
        OnResponse::ListInput => (Kept::InputItems, "GET", "/input_items"),
    }
}

fn not_found(id: &str) -> Error {
    let shown: String = id.chars().take(100).collect();
    let message =
        format!("This key has made no response '{shown}' in the last 30 days that its provider keeps");
    Error::new(Code::ResponseNotFound, message).with_param("response_id")
}

/// Serves a request about one response, from the account that made it.
pub async fn create(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    caller: &Caller,
    on: OnResponse,
    id: &str,
) -> Result<Response, Error> {
    let query = query(context)?;
    if !is_response_id(id) {
        return Err(not_found(id));
    }
    request_limit::check(context, caller, "responses", PER_MINUTE).await?;
    let ledger = accounts::name_of(caller);
    let kept = find(context, &ledger, id).await?.ok_or_else(|| not_found(id))?;
    of_caller(context, isolate, caller).await?;
    let (needed, method, below) = of_endpoint(on);
    let provider = isolate.settings.registry.provider(&kept.provider);
    let Some((provider, endpoint)) =
        provider.and_then(|entry| Some((entry, entry.endpoint(Format::Responses)?)))
    else {
        return Err(not_found(id));
    };
    if !provider.keeps.contains(&needed) {
        let message = format!("provider '{}' does not serve {method} of responses{below}", provider.name);
        return Err(Error::new(Code::UnsupportedEndpoint, message).with_param("response_id"));
    }
    let key = provider.secret(key_of(&kept, provider));
    let flight = upstream::ask(
        &context.request.signal(),
        method,
        &format!("{}/{id}{below}{query}", endpoint.url),
        &headers(endpoint, key, &Versions::default()),
        &isolate.settings.limits,
        PATIENCE_MS,
    );
    let answered = flight.settle().await;
    let answered = answered.map_err(|interrupted| response::interrupted(&provider.name, interrupted.why))?;
    let body = match answered.body {
        UpstreamBody::Whole(body) => body.unwrap_or_default(),
        UpstreamBody::Stream(_) => Uint8Array::default(),
    };
    match answered.status {
        200..=299 => {}
        404 => return Err(not_found(id)),
        status => return Err(response::error_of(&provider.name, status, &body.to_vec(), key)),
    }
    if on == OnResponse::Delete {
        let env = context.env.clone();
        let id = id.to_owned();
        task::after_response(&context.execution, async move {
            // If this fails, the provider says that there is no such response.
            let _ = key_ledger::forget_response(&env, &ledger, &id).await;
        });
    }
    let response = Response::new(200, "application/json", Body::Bytes(body));
    Ok(response.with("x-gateway-provider", provider.name.clone()))
}

/// The query for the provider: the known parameters, encoded anew. A response is not streamed.
fn query(context: &RequestContext<'_>) -> Result<String, Error> {
    if context.query("stream").is_some_and(|value| value != "false") {
        let message = "'stream' is not available for a stored response: leave it out, and ask again until 'status' is 'completed'";
        return Err(Error::new(Code::UnsupportedParameter, message).with_param("stream"));
    }
    let query = context.query_of(&PARAMETERS);
    if query.len() > MAX_QUERY {
        let message = format!("The query of the request must have at most {MAX_QUERY} bytes");
        return Err(Error::new(Code::InvalidValue, message));
    }
    Ok(query)
}
