//! `POST /v1/chat/completions`: the call that everything else is about. And `POST /v1/routing/explain`: what it would do.

mod attempts;
mod received;
mod record;

use std::fmt::Write as _;
use std::rc::Rc;

use gatehouse_core::error::{Code, Error};
use gatehouse_core::key::Caller;
use gatehouse_core::protocol::chat_request::ChatRequest;
use gatehouse_core::protocol::chat_stream::Outcome as StreamOutcome;
use gatehouse_core::protocol::project_id;
use gatehouse_core::protocol::usage::Usage;
use gatehouse_core::route::candidates::{self, Asked, Selection};
use gatehouse_core::route::draw::Draw;
use gatehouse_core::route::failure::Failure;
use gatehouse_core::route::health::Board;
use gatehouse_core::route::plan::{Limits, Plan};
use gatehouse_core::route::report;
use worker::web_sys::ReadableStream;

use super::{Call, board};
use crate::gateway::Gateway;
use crate::platform::reply::{Body, Reply};
use crate::platform::upstream::{self, EventStream};
use crate::platform::{clock, random};
pub use attempts::AI_BINDING;
use attempts::{Attempts, Lost, Won};
use received::Received;
use record::{Outcome, Record};

/// Names a session: its calls go to the same upstream, as long as that can be asked.
const SESSION_HEADER: &str = "x-session-id";
/// The one provider that may be asked.
const FORCE_PROVIDER_HEADER: &str = "x-gateway-force-provider";
/// The model to ask for, in the place of the body's.
const FORCE_MODEL_HEADER: &str = "x-gateway-force-model";

/// The headers that routing goes by.
struct Forced {
    model: Option<String>,
    provider: Option<String>,
}

impl Forced {
    fn of(call: &Call<'_>) -> Forced {
        let header = |name| call.header(name).filter(|value: &String| !value.trim().is_empty());
        Forced { model: header(FORCE_MODEL_HEADER), provider: header(FORCE_PROVIDER_HEADER) }
    }
}

/// Answers a chat completion, whole or as a stream.
pub async fn create(call: &Call<'_>, gateway: &Rc<Gateway>, caller: &Caller) -> Result<Reply, Error> {
    call.require_json()?;
    let news = board::news(call, gateway);
    let body = call.body(gateway.config.requests.max_body_bytes).await?;
    let bytes = body.to_vec();
    let request = ChatRequest::read(&bytes)?;
    let project = project_id::choose(
        call.header(project_id::HEADER),
        request.project_id.clone(),
        gateway.config.requests.project_id,
    )?;
    news.await;
    let forced = Forced::of(call);
    let (candidates, plan) = {
        let board = gateway.board.borrow();
        let asked = asked(call, gateway, caller, &request, &forced, &board);
        let Selection { candidates, .. } = candidates::select(&asked)?;
        let limits = Limits::of(&gateway.config, call.began_ms);
        let plan = Plan::new(&candidates, &board, asked.draw, limits, asked.now_ms);
        (candidates, plan)
    };

    let mut attempts = Attempts {
        call,
        gateway,
        request: &request,
        body: &body,
        candidates: &candidates,
        plan,
        route: String::new(),
    };
    let ended = attempts.run().await;
    let Attempts { plan, route, .. } = attempts;
    let lane = match &ended {
        Ok(won) => Some(won.lane),
        Err(lost) => lost.lane,
    };
    let candidate = lane.and_then(|lane| candidates.get(lane.candidate));
    let record = Rc::new(Record {
        gateway: Rc::clone(gateway),
        request_id: call.id.clone(),
        caller: Rc::clone(&caller.label),
        project,
        provider: candidate.map(|candidate| candidate.provider.name.clone()),
        model: candidate.map(|candidate| candidate.model.to_string()),
        listed: candidate.is_some_and(|candidate| candidate.listed),
        key: lane.map_or(0, |lane| lane.key),
        stream: request.stream,
        began_ms: call.began_ms,
        attempts: plan.attempts(),
        upstream_ms: match &ended {
            Ok(won) => won.upstream_ms,
            Err(lost) => lost.upstream_ms,
        },
    });
    let reply = match ended {
        Ok(Won { received: Received::Whole { status, body, usage }, adjusted, .. }) => {
            record.close(status, Outcome::Answered, usage, None);
            told(Reply::new(status, "application/json", Body::Bytes(body)), &adjusted)
        }
        Ok(Won { received: Received::Stream(events), adjusted, .. }) => {
            told(event_stream(relay(call, events, Rc::clone(&record))?), &adjusted)
        }
        Err(Lost { refusal, .. }) => {
            let status = refusal.error.status;
            record.close(status, Outcome::of_status(status), Usage::default(), refusal.detail.as_deref());
            let reply = Reply::error(&refusal.error, call.surface());
            refusal.retry_headers.into_iter().fold(reply, |reply, (name, value)| reply.with(name, value))
        }
    };
    board::tell_behind(call, gateway);
    Ok(routed(reply, &record, route))
}

/// Tells what `create` would do with the same request, and why. Asks no upstream.
pub async fn explain(call: &Call<'_>, gateway: &Rc<Gateway>, caller: &Caller) -> Result<Reply, Error> {
    call.require_json()?;
    let news = board::news(call, gateway);
    let body = call.body(gateway.config.requests.max_body_bytes).await?.to_vec();
    let request = ChatRequest::read(&body)?;
    news.await;
    let forced = Forced::of(call);
    let board = gateway.board.borrow();
    let asked = Asked { explain: true, ..asked(call, gateway, caller, &request, &forced, &board) };
    let selection = candidates::select(&asked)?;
    let limits = Limits::of(&gateway.config, call.began_ms);
    let plan = Plan::new(&selection.candidates, &board, asked.draw, limits, asked.now_ms);
    Ok(Reply::json(200, &report::explain(&asked, &selection, &plan)))
}

fn asked<'a, 'b>(
    call: &Call<'_>,
    gateway: &'a Gateway,
    caller: &'b Caller,
    request: &'b ChatRequest<'b>,
    forced: &'b Forced,
    board: &'b Board,
) -> Asked<'a, 'b> {
    let session = call.header(SESSION_HEADER);
    let session = session.as_deref().or_else(|| request.member("prompt_cache_key"));
    let chance = u64::from_le_bytes(random::id_bytes());
    let draw = if gateway.config.routing.sticky {
        Draw::of(&caller.label, session, request.messages, chance)
    } else {
        Draw::of("", None, "", chance)
    };
    Asked {
        request,
        force_model: forced.model.as_deref(),
        force_provider: forced.provider.as_deref(),
        key: caller.key.as_deref(),
        config: &gateway.config,
        registry: &gateway.registry,
        board,
        draw,
        now_ms: clock::now_ms(),
        explain: false,
    }
}

/// Starts to relay a stream; what is to be noted of the call is noted when it has ended.
fn relay(call: &Call<'_>, events: EventStream, record: Rc<Record>) -> Result<ReadableStream, Error> {
    let ping_ms = record.gateway.config.timeouts.ping_ms;
    let env = call.env.clone();
    upstream::relay_stream(&call.context, events, ping_ms, async move |stream, client_stayed| {
        let outcome = match stream.outcome() {
            _ if !client_stayed => Outcome::ClientLeft,
            Some(StreamOutcome::Done) => Outcome::Answered,
            Some(StreamOutcome::UpstreamError | StreamOutcome::Cut) | None => Outcome::Failed,
        };
        if let (Outcome::Failed, Some(error)) = (outcome, stream.error()) {
            record.broke(&Failure::of(error, None));
        }
        record.close(200, outcome, stream.usage(), None);
        board::tell(Rc::clone(&record.gateway), env).await;
    })
    .map_err(|_| Error::new(Code::InternalError, "The stream could not be relayed"))
}

/// A streamed answer, with the headers that keep proxies from holding it back.
fn event_stream(readable: ReadableStream) -> Reply {
    Reply::new(200, "text/event-stream; charset=utf-8", Body::Stream(readable))
        .with("cache-control", "no-cache, no-transform")
        .with("x-accel-buffering", "no")
}

/// An answer, with what was dropped or changed for the provider's sake.
fn told(reply: Reply, adjusted: &[String]) -> Reply {
    if adjusted.is_empty() {
        return reply;
    }
    // The operator may have renamed a member to anything.
    let adjusted: Vec<String> = adjusted.iter().map(|what| visible_ascii(what)).collect();
    reply.with("x-gateway-dropped-params", adjusted.join(", "))
}

/// A reply, with where the call went.
fn routed(reply: Reply, record: &Record, route: String) -> Reply {
    let mut reply = reply
        .with("x-gateway-attempts", record.attempts.to_string())
        .with("server-timing", format!("upstream;dur={}", record.upstream_ms));
    if let Some(provider) = &record.provider {
        reply = reply.with("x-gateway-provider", provider.clone());
    }
    if let Some(model) = &record.model {
        reply = reply.with("x-gateway-model", visible_ascii(model));
    }
    if record.attempts > 1 {
        // An answer that cost more than one attempt is a sign that something is not well.
        reply = reply.with("x-gateway-route", route);
        if reply.status < 400 {
            reply = reply.with("x-degraded-mode", "true");
        }
    }
    reply
}

/// A name as a header value: what is not visible ASCII is percent-encoded.
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
