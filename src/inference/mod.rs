//! `POST /v1/chat/completions`: the call that everything else is about. And `POST /v1/routing/explain`: what it would do.

mod attempts;
mod record;
mod response;

use std::cell::RefCell;
use std::rc::Rc;

use gatehouse_core::error::{Code, Error};
use gatehouse_core::format::openai_chat::request::ChatRequest;
use gatehouse_core::format::openai_chat::stream::{ChatStream, Outcome as StreamOutcome};
use gatehouse_core::format::project_id;
use gatehouse_core::format::size::BYTES_PER_TOKEN;
use gatehouse_core::health::Board;
use gatehouse_core::health::failure::Failure;
use gatehouse_core::key::Caller;
use gatehouse_core::ledger::estimate::Estimate;
use gatehouse_core::ledger::receipt::Receipt;
use gatehouse_core::ledger::{End, Limit, Spending};
use gatehouse_core::money::usd;
use gatehouse_core::report::routing;
use gatehouse_core::route::affinity::Draw;
use gatehouse_core::route::candidates::{self, Asked, Selection};
use gatehouse_core::route::plan::{Limits, Plan};
use worker::js_sys::Uint8Array;
use worker::web_sys::ReadableStream;

use crate::isolate::{Isolate, accounts};
use crate::platform::reply::{Body, Reply, visible_ascii};
use crate::platform::upstream::{self, EventStream};
use crate::platform::{clock, random, task};
use crate::request_context::RequestContext;
use attempts::{Attempts, Lost, Won};
use record::{Outcome, Record};
use response::Received;

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
    fn of(context: &RequestContext<'_>) -> Forced {
        let header = |name| context.header(name).filter(|value: &String| !value.trim().is_empty());
        Forced { model: header(FORCE_MODEL_HEADER), provider: header(FORCE_PROVIDER_HEADER) }
    }
}

/// Answers a chat completion, whole or as a stream.
pub async fn create(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    caller: &Caller,
) -> Result<Reply, Error> {
    context.require_json()?;
    let news = isolate.health.refresh(context);
    let body = context.body(isolate.settings.config.requests.max_body_bytes).await?;
    let bytes = body.to_vec();
    let request = ChatRequest::read(&bytes)?;
    let project = project_id::choose(
        context.header(project_id::HEADER),
        request.project_id.clone(),
        isolate.settings.config.requests.project_id,
    )?;
    news.await;
    let forced = Forced::of(context);
    let (candidates, plan) = {
        let board = isolate.health.view.borrow();
        let asked = asked(context, isolate, caller, &request, &forced, &board);
        let Selection { candidates, .. } = candidates::select(&asked)?;
        let limits = Limits::of(&isolate.settings.config, context.began_ms);
        let plan = Plan::new(&candidates, &board, asked.draw, limits, asked.now_ms);
        (candidates, plan)
    };

    let limits = match &caller.key {
        Some(key) => Limit::of_key(key, &isolate.settings.config)?,
        None => Vec::new(),
    };
    let asked = forced.model.as_deref().unwrap_or(&request.model);
    let rule = isolate.settings.config.ledger.unknown_price;
    let ledger = accounts::name_of(caller);
    let mut attempts = Attempts {
        context,
        isolate,
        request: &request,
        body: &body,
        candidates: &candidates,
        plan,
        spending: Spending::new(limits, Estimate::of(&request), rule, asked),
        ledger: &ledger,
        heartbeat: None,
        route: String::new(),
        sent: 0,
    };
    let ended = attempts.run().await;
    let Attempts { route, sent, spending, heartbeat, .. } = attempts;
    let lane = match &ended {
        Ok(won) => Some(won.lane),
        Err(lost) => lost.lane,
    };
    let candidate = lane.and_then(|lane| candidates.get(lane.candidate));
    let limits = spending.limits().to_vec();
    let is_stream = matches!(&ended, Ok(Won { received: Received::Stream(_), .. }));
    let record = Rc::new(Record {
        isolate: Rc::clone(isolate),
        request_id: context.id.clone(),
        receipt_id: Receipt::new_id(context.began_ms, random::id_bytes()),
        caller: caller.clone(),
        ledger,
        project,
        provider: candidate.map(|candidate| candidate.provider.name.clone()),
        model: candidate.map(|candidate| candidate.model.to_string()),
        listed: candidate.is_some_and(|candidate| candidate.listed),
        key: lane.map_or(0, |lane| lane.key),
        stream: request.stream,
        began_ms: context.began_ms,
        attempts: sent,
        upstream_ms: match &ended {
            Ok(won) => won.upstream_ms,
            Err(lost) => lost.upstream_ms,
        },
        first_token_ms: is_stream.then(|| context.elapsed_ms()),
        spending: RefCell::new(Some(spending)),
        heartbeat: RefCell::new(heartbeat),
    });
    let mut receipt = None;
    let reply = match ended {
        Ok(Won { received: Received::Whole { status, body, usage }, adjusted, .. }) => {
            let whole = if usage.is_known() { End::Told(usage) } else { End::Partly(likely_tokens(&body)) };
            record.ended(whole);
            receipt = record.close(status, Outcome::Answered, false, None);
            told(Reply::new(status, "application/json", Body::Bytes(body)), &adjusted)
        }
        Ok(Won { received: Received::Stream(events), adjusted, .. }) => {
            told(event_stream(relay(context, events, Rc::clone(&record))?), &adjusted)
        }
        Err(Lost { refusal, .. }) => {
            let status = refusal.error.status;
            receipt = record.close(status, Outcome::of_status(status), false, refusal.detail.as_deref());
            let reply = Reply::error(&refusal.error, context.surface());
            refusal.retry_headers.into_iter().fold(reply, |reply, (name, value)| reply.with(name, value))
        }
    };
    if !is_stream {
        let (accounts, env, ledger) =
            (Rc::clone(&isolate.accounts), context.env.clone(), record.ledger.clone());
        task::run_behind(&context.execution, accounts.settle_up(env, ledger));
    }
    isolate.health.publish_after_response(context);
    let limit_headers = isolate.accounts.headers(&record.ledger, &limits);
    let reply = limit_headers.into_iter().fold(reply, |reply, (name, value)| reply.with(name, value));
    Ok(charged(routed(reply, &record, route), &record, receipt.as_ref()))
}

/// What a whole answer that does not tell its usage is taken for, in tokens.
fn likely_tokens(body: &Uint8Array) -> u64 {
    u64::from(body.length()) / BYTES_PER_TOKEN as u64
}

/// Tells what `create` would do with the same request, and why. Asks no upstream.
pub async fn explain(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    caller: &Caller,
) -> Result<Reply, Error> {
    context.require_json()?;
    let news = isolate.health.refresh(context);
    let body = context.body(isolate.settings.config.requests.max_body_bytes).await?.to_vec();
    let request = ChatRequest::read(&body)?;
    news.await;
    let forced = Forced::of(context);
    let board = isolate.health.view.borrow();
    let asked = Asked { explain: true, ..asked(context, isolate, caller, &request, &forced, &board) };
    let selection = candidates::select(&asked)?;
    let limits = Limits::of(&isolate.settings.config, context.began_ms);
    let plan = Plan::new(&selection.candidates, &board, asked.draw, limits, asked.now_ms);
    Ok(Reply::json(200, &routing::explain(&asked, &selection, &plan)))
}

fn asked<'a, 'b>(
    context: &RequestContext<'_>,
    isolate: &'a Isolate,
    caller: &'b Caller,
    request: &'b ChatRequest<'b>,
    forced: &'b Forced,
    board: &'b Board,
) -> Asked<'a, 'b> {
    let session = context.header(SESSION_HEADER);
    let session = session.as_deref().or_else(|| request.member("prompt_cache_key"));
    let chance = random::chance();
    let draw = if isolate.settings.config.routing.sticky {
        Draw::of(&caller.label, session, request.messages, chance)
    } else {
        Draw::of("", None, "", chance)
    };
    Asked {
        request,
        force_model: forced.model.as_deref(),
        force_provider: forced.provider.as_deref(),
        key: caller.key.as_deref(),
        config: &isolate.settings.config,
        registry: &isolate.settings.registry,
        board,
        draw,
        now_ms: clock::now_ms(),
        explain: false,
    }
}

/// Starts to relay a stream; what is to be noted of the call is noted when it has ended.
fn relay(
    context: &RequestContext<'_>,
    events: EventStream,
    record: Rc<Record>,
) -> Result<ReadableStream, Error> {
    let ping_ms = record.isolate.settings.config.timeouts.ping_ms;
    let env = context.env.clone();
    let provider =
        record.provider.as_deref().and_then(|name| record.isolate.settings.registry.provider(name));
    let goes_on = provider.is_some_and(|entry| entry.cancel_stops_billing == Some(false));
    upstream::relay_stream(&context.execution, events, ping_ms, async move |stream, client_stayed| {
        let outcome = match stream.outcome() {
            // Whoever has got all of it may leave.
            Some(StreamOutcome::Done) => Outcome::Answered,
            _ if !client_stayed => Outcome::ClientLeft,
            Some(StreamOutcome::UpstreamError | StreamOutcome::Cut) | None => Outcome::Failed,
        };
        if let (Outcome::Failed, Some(error)) = (outcome, stream.error()) {
            record.broke(&Failure::of(error, None));
        }
        record.ended(used(stream, outcome, goes_on));
        record.close(200, outcome, outcome != Outcome::Answered, None);
        let Isolate { accounts, health, .. } = &*record.isolate;
        accounts.report(&env, &record.ledger).await;
        health.publish(&env).await;
        Rc::clone(accounts).settle_up(env, record.ledger.clone()).await;
    })
    .map_err(|_| Error::new(Code::InternalError, "The stream could not be relayed"))
}

/// What a stream has used. `goes_on`: the provider charges a cancelled call to its end.
fn used(stream: &ChatStream, outcome: Outcome, goes_on: bool) -> End {
    let usage = stream.usage();
    let produced = stream.produced();
    match outcome {
        Outcome::Answered if usage.is_known() => End::Told(usage),
        Outcome::ClientLeft if goes_on => End::AtMost,
        // Some tell it along the way: the last word of a stream that was cut may be behind what has come.
        _ if usage.is_known() && usage.completion_tokens >= Some(produced) => End::Told(usage),
        _ => End::Partly(produced),
    }
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

/// A reply, with what the call has cost, as far as that is known in time, and where the rest can be asked for.
fn charged(mut reply: Reply, record: &Record, receipt: Option<&Receipt>) -> Reply {
    if record.attempts == 0 {
        return reply;
    }
    reply = reply.with("x-gateway-receipt", record.receipt_id.clone());
    let Some(receipt) = receipt else { return reply };
    let usage = receipt.usage();
    if let (Some(prompt), Some(completion)) = (usage.prompt_tokens, usage.completion_tokens) {
        let cached = usage.cached_tokens.unwrap_or(0);
        let tokens = format!("prompt={prompt}, cached={cached}, completion={completion}");
        reply = reply.with("x-gateway-tokens", tokens);
    }
    match receipt.cost_micro_usd() {
        Some(cost) => reply.with("x-gateway-cost-usd", usd(cost)),
        None => reply,
    }
}
