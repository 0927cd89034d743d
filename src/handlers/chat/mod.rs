//! `POST /v1/chat/completions`: the call that everything else is about.

mod received;
mod record;

use std::fmt::Write as _;
use std::rc::Rc;

use gatehouse_core::catalog::Access;
use gatehouse_core::error::{Code, Error};
use gatehouse_core::key::Caller;
use gatehouse_core::protocol::chat_request::ChatRequest;
use gatehouse_core::protocol::chat_stream::{ChatStream, Outcome as StreamOutcome};
use gatehouse_core::protocol::project_id;
use gatehouse_core::protocol::usage::Usage;
use gatehouse_core::route;
use worker::js_sys::Uint8Array;
use worker::web_sys::ReadableStream;

use super::Call;
use crate::gateway::Gateway;
use crate::platform::clock;
use crate::platform::reply::{Body, Reply};
use crate::platform::upstream::{self, EventStream};
use received::Received;
use record::{Outcome, Record};

/// Answers a chat completion, whole or as a stream.
pub async fn create(call: &Call<'_>, gateway: &Rc<Gateway>, caller: &Caller) -> Result<Reply, Error> {
    call.require_json()?;
    let body = call.body(gateway.config.requests.max_body_bytes).await?;
    let bytes = body.to_vec();
    let request = ChatRequest::read(&bytes)?;
    let project = project_id::choose(
        call.header(project_id::HEADER),
        request.project_id.clone(),
        gateway.config.requests.project_id,
    )?;
    let target = route::resolve(&gateway.registry, &gateway.config, &request.model)?;
    if let Some(key) = &caller.key {
        let canonical = format!("{}/{}", target.provider.name, target.model);
        key.check_model(&gateway.config, &request.model, &canonical)?;
    }
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
    let record = Rc::new(Record {
        gateway: Rc::clone(gateway),
        request_id: call.id.clone(),
        caller: Rc::clone(&caller.label),
        project,
        provider: provider.to_owned(),
        model: target.model.to_owned(),
        listed: gateway.registry.lists(target.provider, target.model),
        stream: request.stream,
        began_ms: call.began_ms,
        upstream_ms: clock::now_ms().saturating_sub(sent_ms),
    });
    let reply = match received::read(provider, key.as_ref(), request.stream, exchange) {
        Ok(Received::Whole { status, body, usage }) => {
            record.close(status, Outcome::Answered, usage, None);
            Reply::new(status, "application/json", Body::Bytes(body))
        }
        Ok(Received::Stream(events)) => {
            let max_event = gateway.config.answers.max_bytes as usize;
            let stream = ChatStream::new(provider, key.clone(), outgoing.hide_usage, max_event);
            event_stream(relay(call, events, stream, Rc::clone(&record))?)
        }
        Err(refusal) => {
            let status = refusal.error.status;
            record.close(status, Outcome::of_status(status), Usage::default(), refusal.detail.as_deref());
            let reply = Reply::error(&refusal.error, call.surface());
            refusal.retry_headers.into_iter().fold(reply, |reply, (name, value)| reply.with(name, value))
        }
    };
    Ok(reply
        .with("x-gateway-provider", record.provider.clone())
        .with("x-gateway-model", visible_ascii(&record.model))
        .with("x-gateway-attempts", "1")
        .with("server-timing", format!("upstream;dur={}", record.upstream_ms)))
}

/// Starts to relay a stream; what is to be noted of the call is noted when it has ended.
fn relay(
    call: &Call<'_>,
    events: EventStream,
    stream: ChatStream,
    record: Rc<Record>,
) -> Result<ReadableStream, Error> {
    let ping_ms = record.gateway.config.timeouts.ping_ms;
    upstream::relay_stream(&call.context, events, ping_ms, stream, move |stream, client_stayed| {
        let outcome = match stream.outcome() {
            _ if !client_stayed => Outcome::ClientLeft,
            Some(StreamOutcome::Done) => Outcome::Answered,
            Some(StreamOutcome::UpstreamError | StreamOutcome::Cut) | None => Outcome::Failed,
        };
        record.close(200, outcome, stream.usage(), None);
    })
    .map_err(|_| Error::new(Code::InternalError, "The stream could not be relayed"))
}

/// A streamed answer, with the headers that keep proxies from holding it back.
fn event_stream(readable: ReadableStream) -> Reply {
    Reply::new(200, "text/event-stream; charset=utf-8", Body::Stream(readable))
        .with("cache-control", "no-cache, no-transform")
        .with("x-accel-buffering", "no")
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
