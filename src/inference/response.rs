//! The response of a call: the upstream's response or an error, with the gateway's headers about the call.

use std::borrow::Cow;
use std::rc::Rc;

use gatehouse_core::error::{Code, Error, Source};
use gatehouse_core::health::failure::Failure;
use gatehouse_core::ledger::receipt::{Outcome, Receipt};
use gatehouse_core::money::usd;
use gatehouse_core::route::driver::{self, Exhausted, visible_ascii};
use gatehouse_core::time::to_http_date;
use worker::web_sys::ReadableStream;

use super::attempts::{Received, Success};
use super::record::{Failed, Record};
use crate::authentication;
use crate::isolate::Isolate;
use crate::platform::request::SMALL;
use crate::platform::response::{Body, Response};
use crate::platform::upstream::{self, EventStream};
use crate::request_context::RequestContext;

/// The longest content type that is passed on, in bytes.
const MAX_TYPE: usize = 100;
const OCTETS: &str = "application/octet-stream";
const TEXT: &str = "text/plain; charset=utf-8";

/// True if the call ended with a stream to relay.
pub fn is_stream(ended: &Result<Success, Box<Exhausted>>) -> bool {
    matches!(ended, Ok(Success { received: Received::Stream(_), .. }))
}

/// Returns the response of a call and records the call: at once, or when its stream has ended. `route` describes each
/// attempt.
pub fn respond(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    ended: Result<Success, Box<Exhausted>>,
    record: &Rc<Record>,
    route: String,
) -> Result<Response, Error> {
    let mut receipt = None;
    let response = match ended {
        Ok(Success {
            received: Received::Whole { status, body, ticket, whole, stated_type, .. },
            adjusted,
            ..
        }) => {
            record.ended(driver::charge_of_whole(&whole, record.prompt));
            receipt = record.close(status, Outcome::Answered, false, None);
            record.settle_after_response(context, isolate);
            let body = if body.length() <= SMALL {
                Body::Bytes(body)
            } else {
                let idle_ms = isolate.settings.config.timeouts.idle_ms;
                Body::Stream(ticket.hand_over(&context.execution, &context.request.signal(), &body, idle_ms))
            };
            let response = Response::new(status, "application/json", body);
            let response = if whole.is_text {
                response.with("content-type", type_of("text/", stated_type).unwrap_or(TEXT.into()))
            } else {
                response
            };
            with_adjusted(response, &adjusted)
        }
        Ok(Success { received: Received::Stream(events), adjusted, .. }) => {
            let bytes = events.type_of_bytes();
            let readable = relay(context, events, Rc::clone(record), bytes.is_some())?;
            let response = match bytes {
                Some(_) if !record.stream => Response::new(200, "application/json", Body::Stream(readable)),
                Some(stated) => Response::new(200, OCTETS, Body::Stream(readable))
                    .with("content-type", type_of("audio/", Some(stated)).unwrap_or(OCTETS.into())),
                None => event_stream(readable),
            };
            with_adjusted(response, &adjusted)
        }
        Err(exhausted) => {
            let Exhausted { refusal, .. } = *exhausted;
            let status = refusal.error.status;
            let failure = Failed { error: &refusal.error, detail: refusal.detail.as_deref() };
            receipt = record.close(status, Outcome::of_status(status), false, Some(failure));
            if receipt.is_none() {
                isolate.accounts.reject(context, &record.ledger, &refusal.error);
            }
            record.settle_after_response(context, isolate);
            let error = context.with_id(refusal.error);
            let mut response = Response::error(&error, context.surface(), &context.id);
            // The key may have been revoked while the call waited.
            if status == 401 && error.source() == Source::Gateway {
                response = response.with("www-authenticate", authentication::challenge(context));
            }
            refusal
                .retry_headers
                .into_iter()
                .fold(response, |response, (name, value)| response.with(name, value))
        }
    };
    Ok(with_cost(with_route(response, record, route), record, receipt.as_ref()))
}

/// Starts to relay a stream. The call is recorded when the stream ends.
fn relay(
    context: &RequestContext<'_>,
    events: EventStream,
    record: Rc<Record>,
    is_bytes: bool,
) -> Result<ReadableStream, Error> {
    let ping_ms = record.isolate.settings.config.timeouts.ping_ms;
    let env = context.env.clone();
    // Nothing can be added to bytes.
    let ping = if is_bytes { "" } else { context.surface().ping() };
    upstream::relay_stream(&context.execution, events, ping, ping_ms, async move |stream, client_stayed| {
        let outcome = driver::outcome_of_stream(stream, client_stayed);
        if let (Outcome::Failed, Some(error)) = (outcome, stream.error()) {
            record.broke(&Failure::of(error, None));
        }
        let (is_metered, prompt) = (record.is_metered(), record.prompt);
        let stops = record.cancel_stops_billing;
        record.ended(driver::charge_of_stream(stream, outcome, stops, is_metered, prompt));
        let failed = stream.error().filter(|_| outcome == Outcome::Failed);
        let failed = failed.map(|error| Failed { error, detail: None });
        record.close(200, outcome, outcome != Outcome::Answered, failed);
        let Isolate { accounts, health, .. } = &*record.isolate;
        accounts.report(&env, &record.ledger).await;
        health.publish(&env).await;
        Rc::clone(accounts).report_and_release(env, record.ledger.clone()).await;
    })
    .map_err(|_| Error::new(Code::InternalError, "The stream could not be relayed"))
}

/// The content type that a provider states, if it is of such a kind. Markup could run scripts.
fn type_of(kind: &str, stated: Option<String>) -> Option<Cow<'static, str>> {
    let is_visible = |stated: &str| stated.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    let is_kind = |stated: &String| {
        stated.starts_with(kind)
            && !stated.starts_with("text/html")
            && stated.len() <= MAX_TYPE
            && is_visible(stated)
    };
    stated.filter(is_kind).map(Cow::Owned)
}

/// Creates a streamed response, with headers that keep proxies from buffering it.
fn event_stream(readable: ReadableStream) -> Response {
    Response::new(200, "text/event-stream; charset=utf-8", Body::Stream(readable))
        .with("cache-control", "no-cache, no-transform")
        .with("x-accel-buffering", "no")
}

/// Adds the list of parameters that were dropped or changed for the provider.
fn with_adjusted(response: Response, adjusted: &[String]) -> Response {
    if adjusted.is_empty() {
        return response;
    }
    // The operator may have renamed a field to any text.
    let adjusted: Vec<String> = adjusted.iter().map(|what| visible_ascii(what)).collect();
    response.with("x-gateway-dropped-params", adjusted.join(", "))
}

/// Adds the provider, the model and the attempts.
fn with_route(response: Response, record: &Record, route: String) -> Response {
    let mut response = response
        .with("x-gateway-attempts", record.attempts.to_string())
        .with("server-timing", format!("upstream;dur={}", record.upstream_ms));
    if let Some(provider) = &record.provider {
        response = response.with("x-gateway-provider", provider.clone());
    }
    if let Some(model) = &record.model {
        response = response.with("x-gateway-model", visible_ascii(model));
    }
    if let Some(day) = record.facts.ends {
        // RFC 8594. When the provider announced the end, which would be the date of `deprecation` (RFC 9745), is not
        // known.
        response = response.with("sunset", to_http_date(day));
    }
    if let (Some(provider), Some(successor)) = (&record.provider, record.facts.successor) {
        response = response.with("x-gateway-successor", format!("{provider}/{successor}"));
    }
    if record.attempts > 1 {
        // More than one attempt means that some lane is not healthy.
        response = response.with("x-gateway-route", route);
        if response.status < 400 {
            response = response.with("x-degraded-mode", "true");
        }
    }
    response
}

/// Adds the receipt id and, if the response is complete, its usage and cost.
fn with_cost(mut response: Response, record: &Record, receipt: Option<&Receipt>) -> Response {
    if record.attempts == 0 {
        return response;
    }
    response = response.with("x-gateway-receipt", record.receipt_id.clone());
    let Some(receipt) = receipt else { return response };
    let usage = receipt.usage();
    if let (Some(prompt), Some(completion)) = (usage.prompt_tokens, usage.completion_tokens) {
        let cached = usage.cached_tokens.unwrap_or(0);
        let tokens = format!("prompt={prompt}, cached={cached}, completion={completion}");
        response = response.with("x-gateway-tokens", tokens);
    }
    match receipt.cost_micro_usd() {
        Some(cost) => response.with("x-gateway-cost-usd", usd(cost)),
        None => response,
    }
}
