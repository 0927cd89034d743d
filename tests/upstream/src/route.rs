//! Routes a request: resolves the path, reads the body, opens the ticket, and carries out the faults that happen before
//! the response starts. Does not build responses (`response`, `control`).

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response as HttpResponse, StatusCode};
use tokio::time::Instant;

use crate::body::{Cut, ScriptBody};
use crate::chat::Chat;
use crate::control;
use crate::embeddings::Embeddings;
use crate::faults::Wire;
use crate::form;
use crate::media;
use crate::messages;
use crate::provider::Provider;
use crate::record::{Billed, Outcome, Ticket};
use crate::rejection::Rejection;
use crate::reply::Reply;
use crate::response::{Generated, Response};
use crate::responses::{self, Action};
use crate::simulate::{Cut as CutAt, Hang, Simulate};
use crate::socket::Connection;
use crate::stream;
use crate::when::Caller;
use crate::whole::{self, Head};

/// The largest request body that is read, in bytes.
const MAX_BODY: usize = 64 << 20;

const MODELS: &str = "{\"object\":\"list\",\"data\":[\
    {\"id\":\"sim-small\",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"simulated\"},\
    {\"id\":\"sim-large\",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"simulated\"}]}";

/// Responds to one request. The error makes hyper close the connection without a response.
pub(crate) async fn respond(
    provider: Arc<Provider>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<HttpResponse<ScriptBody>, Cut> {
    let (parts, incoming) = request.into_parts();
    if parts.uri.path().starts_with("/_") {
        let Ok(body) = read(incoming).await else { return Err(Cut) };
        let response = control::respond(&provider, &parts, &body).await;
        return Ok(begin(response, None, connection));
    }
    let recorder = &provider.recorder;
    let mut ticket = recorder.open(&parts);
    let body = match read(incoming).await {
        Ok(body) => body,
        Err(Unread::TooLarge) => {
            let (status, message) = (StatusCode::PAYLOAD_TOO_LARGE, "The request is too large.");
            let response = Response::error(wire(&parts), ticket.n(), status, message, None);
            return Ok(begin(response, Some(ticket), connection));
        }
        Err(Unread::Broken(body)) => {
            recorder.record_body(&ticket, &body);
            return Err(Cut);
        }
    };
    recorder.record_body(&ticket, &body);
    let (wire, n) = (wire(&parts), ticket.n());
    let response = match kind(&parts) {
        Ok(Kind::Call(called)) => {
            match call(&called, &provider, &parts, &body, &mut ticket, &connection).await? {
                Ok(response) => response,
                Err(rejection) => Response::rejection(wire, n, &rejection),
            }
        }
        Ok(Kind::Models) => match wire {
            Wire::Openai => Response::json(StatusCode::OK, MODELS),
            Wire::Anthropic => Response::json(StatusCode::OK, messages::models()),
        },
        Err((status, message)) => Response::error(wire, n, status, &message, None),
    };
    Ok(begin(response, Some(ticket), connection))
}

/// The API that a request is for: Anthropic's by its path, or by the header that its other endpoints need.
fn wire(parts: &Parts) -> Wire {
    let path = parts.uri.path();
    let is_messages = path.ends_with("/messages") || path.ends_with("/messages/count_tokens");
    if is_messages || parts.headers.contains_key("anthropic-version") {
        Wire::Anthropic
    } else {
        Wire::Openai
    }
}

enum Kind {
    Call(Called),
    Models,
}

/// A request whose response is built from its body, with the faults that it asks for.
enum Called {
    /// One that depends on nothing else.
    Alone(Reader),
    /// One of the Responses API, which keeps responses.
    Responses(Action),
}

/// Reads a body, and builds the response and the faults that come before it.
type Reader = fn(&[u8], &Caller<'_>, &Head) -> Result<(Response, Simulate), Rejection>;

/// Resolves a path by its end, since providers have different base paths.
fn kind(parts: &Parts) -> Result<Kind, (StatusCode, String)> {
    let path = parts.uri.path();
    let alone = |read: Reader| Kind::Call(Called::Alone(read));
    let (kind, method) = if path.ends_with("/chat/completions") {
        (alone(chat), Method::POST)
    } else if path.ends_with("/embeddings") {
        (alone(embeddings), Method::POST)
    } else if path.ends_with("/completions") {
        (alone(media::completion), Method::POST)
    } else if path.ends_with("/moderations") {
        (alone(media::moderation), Method::POST)
    } else if path.ends_with("/rerank") {
        (alone(media::reranking), Method::POST)
    } else if path.ends_with("/images/generations") {
        (alone(media::images), Method::POST)
    } else if path.ends_with("/images/edits") {
        (alone(media::edits), Method::POST)
    } else if path.ends_with("/images/variations") {
        (alone(media::variations), Method::POST)
    } else if path.ends_with("/audio/speech") {
        (alone(media::speech), Method::POST)
    } else if path.ends_with("/audio/transcriptions") || path.ends_with("/audio/translations") {
        (alone(media::transcription), Method::POST)
    } else if path.ends_with("/messages") {
        (alone(messages::message), Method::POST)
    } else if path.ends_with("/messages/count_tokens") {
        (alone(messages::count), Method::POST)
    } else if path.ends_with("/models") {
        (Kind::Models, Method::GET)
    } else if let Some((action, method)) = Action::of(path, parts.method == Method::DELETE) {
        (Kind::Call(Called::Responses(action)), method)
    } else {
        let message = format!("Unknown request URL: {} {path}.", parts.method);
        return Err((StatusCode::NOT_FOUND, message));
    };
    if parts.method == method {
        Ok(kind)
    } else {
        let message = format!("{path} accepts {method}.");
        Err((StatusCode::METHOD_NOT_ALLOWED, message))
    }
}

fn chat(body: &[u8], caller: &Caller<'_>, head: &Head) -> Result<(Response, Simulate), Rejection> {
    let chat = Chat::read(body, caller)?;
    let reply = Reply::to(&chat.ask());
    let whole = || whole::completion(&chat, &reply, head);
    let events = || stream::events(&chat, &reply, head);
    let tokens = chat.completion_tokens(reply.tokens);
    let bill = chat.simulate.bill.map(|bill| {
        let cached = bill.cached.min(chat.prompt_tokens);
        let written = bill.cache_write.min(chat.prompt_tokens - cached);
        let prompt = chat.prompt_tokens - cached - written;
        Billed { prompt, cached, written, completion: tokens, ..Billed::default() }
    });
    let generated = Generated {
        simulate: &chat.simulate,
        wire: Wire::Openai,
        whole: &whole,
        events: if chat.stream { Some(&events) } else { None },
        prompt_tokens: chat.prompt_tokens,
        tokens: reply.tokens * chat.n,
        bill: bill.unwrap_or_default(),
    };
    let response = Response::to(&generated, head.n)?;
    Ok((response, chat.simulate))
}

fn embeddings(body: &[u8], caller: &Caller<'_>, head: &Head) -> Result<(Response, Simulate), Rejection> {
    let embeddings = Embeddings::read(body, caller)?;
    Ok((Response::with_vectors(&embeddings, head.n)?, embeddings.simulate))
}

async fn call(
    kind: &Called,
    provider: &Provider,
    request: &Parts,
    body: &[u8],
    ticket: &mut Ticket,
    connection: &Connection,
) -> Result<Result<Response, Rejection>, Cut> {
    let path = request.uri.path();
    let wire = wire(request);
    let caller = Caller::new(path, &request.headers, &provider.times);
    if let Some(rejection) = unauthorised(provider, wire, &caller) {
        return Ok(Err(rejection));
    }
    if let Some(throttled) = provider.throttles.find(path, Instant::now()) {
        return Ok(Response::throttled(throttled, wire, ticket.n()));
    }
    // 0 for a clock before 1970.
    #[expect(clippy::disallowed_methods, reason = "the rule is for Wasm; this is a native program")]
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // Before any delay, so that an invalid `simulate` is rejected at once.
    let head = Head { n: ticket.n(), created };
    let built = match kind {
        Called::Alone(read) => form::object(&request.headers, body)
            .and_then(|object| read(object.as_deref().unwrap_or(body), &caller, &head)),
        Called::Responses(action) => {
            let place = (path, request.uri.query());
            responses::respond(action, body, place, &caller, &head, &provider.responses)
        }
    };
    let (response, simulate) = match built {
        Ok(built) => built,
        Err(rejection) => return Ok(Err(rejection)),
    };
    ticket.bill(response.bill);
    if let Some(delay) = simulate.delay_ms {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    if simulate.hang == Some(Hang::Headers) {
        // hyper drops this future, and the ticket with it, when the client disconnects.
        std::future::pending::<()>().await;
    }
    if simulate.cut == Some(CutAt::Headers) {
        if simulate.reset {
            connection.reset_at_end();
        }
        ticket.settle(Outcome::Cut);
        return Err(Cut);
    }
    ticket.prompt(response.prompt_tokens);
    Ok(Ok(response))
}

/// The rejection of a request that has not the key that the program was started with.
fn unauthorised(provider: &Provider, wire: Wire, caller: &Caller<'_>) -> Option<Rejection> {
    let key = provider.messages_key.as_deref().filter(|_| wire == Wire::Anthropic)?;
    let message = match caller.keys.as_slice() {
        [] => "x-api-key header is required",
        keys if keys.contains(&key) => return None,
        _ => "invalid x-api-key",
    };
    Some(Rejection { status: 401, ..Rejection::new(message, None) })
}

fn begin(
    response: Response,
    ticket: Option<Ticket>,
    connection: Arc<Connection>,
) -> HttpResponse<ScriptBody> {
    let mut started = HttpResponse::new(ScriptBody::new(response.script, ticket, connection));
    *started.status_mut() = response.status;
    *started.headers_mut() = response.headers;
    started
}

enum Unread {
    TooLarge,
    /// The client disconnected; this much had arrived.
    Broken(Bytes),
}

async fn read(mut incoming: Incoming) -> Result<Bytes, Unread> {
    // Nearly every body is one frame, which is not copied.
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let Ok(frame) = frame else {
            return Err(Unread::Broken(if all.is_empty() { first } else { all.freeze() }));
        };
        let Ok(data) = frame.into_data() else { continue };
        if first.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&first);
        }
        all.extend_from_slice(&data);
        if all.len() > MAX_BODY {
            return Err(Unread::TooLarge);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}
