//! `POST /v1/chat/completions`: the call that everything else is about.

use std::fmt::Write as _;
use std::rc::Rc;

use gatehouse_core::catalog::Access;
use gatehouse_core::error::{Code, Error};
use gatehouse_core::key::{Caller, Secret};
use gatehouse_core::protocol::chat_request::ChatRequest;
use gatehouse_core::protocol::chat_stream::{ChatStream, Outcome as StreamOutcome};
use gatehouse_core::protocol::usage::Usage;
use gatehouse_core::protocol::{chat_answer, project_id, upstream_error};
use gatehouse_core::route;
use serde::Serialize;
use serde_json::json;
use worker::js_sys::Uint8Array;

use super::Call;
use crate::gateway::Gateway;
use crate::platform::reply::{Body, Reply};
use crate::platform::request::{self, BodyError};
use crate::platform::upstream::{self, Answer, AnswerBody, Failure};
use crate::platform::{clock, log};

/// Answers a chat completion, whole or as a stream.
pub async fn create(call: &Call<'_>, gateway: &Rc<Gateway>, caller: &Caller) -> Result<Reply, Error> {
    check_content_type(call)?;
    let body = read_body(call, gateway).await?;
    let bytes = body.to_vec();
    let request = ChatRequest::read(&bytes)?;
    let project = project_id::choose(
        call.header(project_id::HEADER),
        request.project_id.clone(),
        gateway.config.requests.project_id,
    )?;
    let target = route::resolve(&gateway.registry, &gateway.config, &request.model)?;
    let Access::Active { chat_url, key } = &target.provider.access else {
        return Err(Error::new(Code::InternalError, "A call was routed to a provider that is not active"));
    };
    let outgoing = request.outgoing(target.model, target.provider.stream_usage);
    let sent_ms = clock::now_ms();
    let exchange = upstream::exchange(
        &call.request.signal(),
        &gateway.config,
        upstream::Request {
            url: chat_url,
            key: key.as_ref(),
            body: &outgoing.body.map_or(body, |bytes| Uint8Array::from(bytes.as_slice())),
            stream: request.stream,
        },
    )
    .await;
    let provider = target.provider.name.as_str();
    let record = Record {
        gateway: Rc::clone(gateway),
        request_id: call.id.clone(),
        caller: caller.label.clone(),
        project,
        provider: provider.to_owned(),
        model: target.model.to_owned(),
        listed: gateway.registry.lists(target.provider, target.model),
        stream: request.stream,
        began_ms: call.began_ms,
        upstream_ms: clock::now_ms().saturating_sub(sent_ms),
    };
    let routed = |reply: Reply, record: &Record| {
        reply
            .with("x-gateway-provider", record.provider.clone())
            .with("x-gateway-model", visible_ascii(&record.model))
            .with("x-gateway-attempts", "1")
            .with("server-timing", format!("upstream;dur={}", record.upstream_ms))
    };
    let failed = |error: &Error, record: &Record, detail: Option<&str>| {
        record.close(error.status, Outcome::of_status(error.status), Usage::default(), detail);
        routed(Reply::error(error, call.surface()), record)
    };

    let answer = match exchange {
        Ok(answer) => answer,
        Err((failure, detail)) => return Ok(failed(&no_answer(provider, failure), &record, Some(&detail))),
    };
    if !(200..300).contains(&answer.status) {
        let mut reply = failed(&refused(provider, &answer, key.as_ref()), &record, None);
        for name in ["retry-after", "retry-after-ms"] {
            if let Some(value) = answer.header(name).filter(|value| value.len() <= 64) {
                reply = reply.with(name, value);
            }
        }
        return Ok(reply);
    }
    let is_json = is_json(&answer);
    let (status, body) = (answer.status, answer.body);
    match body {
        AnswerBody::Stream(events) => {
            let max_event = gateway.config.answers.max_bytes as usize;
            let stream = ChatStream::new(provider, outgoing.hide_usage, max_event);
            let reply = routed(event_stream(), &record);
            let finished = move |stream: &ChatStream, client_stayed: bool| {
                let outcome = match stream.outcome() {
                    _ if !client_stayed => Outcome::ClientLeft,
                    Some(StreamOutcome::Done) => Outcome::Answered,
                    Some(StreamOutcome::UpstreamError | StreamOutcome::Cut) | None => Outcome::Failed,
                };
                record.close(200, outcome, stream.usage(), None);
            };
            let readable = upstream::relay_stream(&call.context, events, stream, finished)
                .map_err(|_| Error::new(Code::InternalError, "The stream could not be relayed"))?;
            Ok(Reply { body: Body::Stream(readable), ..reply })
        }
        AnswerBody::Whole(_) if request.stream => {
            Ok(failed(&not_what_was_asked(provider, "an event stream"), &record, None))
        }
        AnswerBody::Whole(_) if !is_json => Ok(failed(&not_what_was_asked(provider, "JSON"), &record, None)),
        AnswerBody::Whole(body) => {
            let body = body.unwrap_or_default();
            match chat_answer::check(provider, &body.to_vec()) {
                Ok(usage) => {
                    record.close(status, Outcome::Answered, usage, None);
                    Ok(routed(Reply::new(status, "application/json", Body::Bytes(body)), &record))
                }
                Err(error) => Ok(failed(&error, &record, None)),
            }
        }
    }
}

/// The head of a streamed answer.
fn event_stream() -> Reply {
    Reply::new(200, "text/event-stream; charset=utf-8", Body::Empty)
        .with("cache-control", "no-cache, no-transform")
        .with("x-accel-buffering", "no")
}

/// OpenAI's API takes a body without a content type and refuses one that claims to be something else than JSON.
fn check_content_type(call: &Call<'_>) -> Result<(), Error> {
    match call.header("content-type") {
        Some(given) if !given.trim().is_empty() && !is_json_type(&given) => {
            let shown: String = given.chars().take(100).collect();
            Err(Error::new(
                Code::UnsupportedContentType,
                format!(
                    "Unsupported content type '{shown}': send the body as 'Content-Type: application/json'"
                ),
            )
            .with_param("content-type"))
        }
        _ => Ok(()),
    }
}

async fn read_body(call: &Call<'_>, gateway: &Gateway) -> Result<Uint8Array, Error> {
    let limit = gateway.config.requests.max_body_bytes;
    request::body(call.request, limit).await.map_err(|error| match error {
        BodyError::TooLarge => Error::new(
            Code::BodyTooLarge,
            format!("The request body is larger than this gateway's limit of {limit} bytes"),
        ),
        BodyError::Gone => {
            Error::new(Code::ClientClosedRequest, "The client left before its request was complete")
        }
    })
}

fn no_answer(provider: &str, failure: Failure) -> Error {
    let error = |code, what: &str| Error::new(code, format!("{provider} {what}"));
    match failure {
        Failure::ClientLeft => Error::new(Code::ClientClosedRequest, "The client left before the answer"),
        Failure::Timeout => error(Code::UpstreamTimeout, "took too long to answer"),
        Failure::Unreachable => error(
            Code::UpstreamUnreachable,
            "could not be reached, or closed the connection without an answer",
        ),
        Failure::Broken => {
            error(Code::UpstreamInvalidResponse, "broke the connection in the middle of its answer")
        }
        Failure::TooLarge => error(
            Code::UpstreamResponseTooLarge,
            "answered with more than this gateway's limit (answers.max_bytes)",
        ),
    }
}

/// The error for an answer that is no success.
fn refused(provider: &str, answer: &Answer, key: Option<&Secret>) -> Error {
    if (300..400).contains(&answer.status) {
        return Error::new(
            Code::UpstreamRedirected,
            format!("{provider} answered with a redirect (HTTP {}), which is never followed", answer.status),
        );
    }
    let body = match &answer.body {
        AnswerBody::Whole(Some(body)) => body.to_vec(),
        AnswerBody::Whole(None) | AnswerBody::Stream(_) => Vec::new(),
    };
    upstream_error::read(provider, answer.status, is_json(answer), &body, key)
}

fn not_what_was_asked(provider: &str, asked: &str) -> Error {
    Error::new(
        Code::UpstreamInvalidResponse,
        format!("{provider} answered with another content type than that of {asked}, which was asked for"),
    )
}

/// Whether an answer claims to be JSON. One that claims nothing is believed to be, and checked.
fn is_json(answer: &Answer) -> bool {
    answer.header("content-type").is_none_or(|given| is_json_type(&given))
}

fn is_json_type(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(media_type.as_str(), "application/json" | "text/json") || media_type.ends_with("+json")
}

/// A model id as a header value: what is not visible ASCII is percent-encoded.
fn visible_ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// What is noted of a call once it is over: in this isolate's tally, and as the request's one log line.
struct Record {
    gateway: Rc<Gateway>,
    request_id: String,
    caller: String,
    project: Option<String>,
    provider: String,
    model: String,
    /// Whether the model is one that `GET /v1/models` shows.
    listed: bool,
    stream: bool,
    began_ms: u64,
    /// Until the upstream's status line, or, of a whole answer, its end.
    upstream_ms: u64,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// With a complete answer.
    Answered,
    /// With the provider's word that the request is at fault.
    Refused,
    /// By the provider's fault, or a limit of time or size.
    Failed,
    /// The client left first.
    ClientLeft,
}

impl Outcome {
    fn of_status(status: u16) -> Outcome {
        match status {
            499 => Outcome::ClientLeft,
            400 | 404 | 409 | 413 | 415 | 422 => Outcome::Refused,
            _ => Outcome::Failed,
        }
    }
}

impl Record {
    fn close(&self, status: u16, outcome: Outcome, usage: Usage, detail: Option<&str>) {
        // Whose fault it was matters: a caller's bad requests do not make a provider look ill.
        let success = outcome != Outcome::Failed;
        let model = self.listed.then_some(self.model.as_str());
        self.gateway.tally.borrow_mut().record(&self.provider, model, success, self.upstream_ms);
        log::line(&json!({
            "event": "call",
            "request_id": self.request_id,
            "caller": self.caller,
            "project": self.project,
            "provider": self.provider,
            "model": self.model,
            "stream": self.stream,
            "status": status,
            "outcome": outcome,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "upstream_ms": self.upstream_ms,
            "total_ms": clock::now_ms().saturating_sub(self.began_ms),
            "detail": detail,
        }));
    }
}
