//! From a request to its answer: finds what the path means, reads the body, opens the ticket, and does the
//! faults that happen before the answer begins.
//! Does not build answers (`answer`, `control`).

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::Instant;

use crate::answer::Answer;
use crate::body::{AnswerBody, Cut};
use crate::chat::Chat;
use crate::control;
use crate::provider::Provider;
use crate::record::{Outcome, Ticket};
use crate::simulate;
use crate::socket::Connection;
use crate::when::Caller;
use crate::whole::Head;

/// Largest request body that is read.
const MOST_BODY: usize = 64 << 20;

const MODELS: &str = "{\"object\":\"list\",\"data\":[\
    {\"id\":\"sim-small\",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"simulated\"},\
    {\"id\":\"sim-large\",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"simulated\"}]}";

/// Answers one request. The error makes hyper close the connection without an answer.
pub(crate) async fn respond(
    provider: Arc<Provider>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Cut> {
    let (parts, incoming) = request.into_parts();
    if parts.uri.path().starts_with("/_") {
        let Ok(body) = read(incoming).await else { return Err(Cut) };
        let answer = control::answer(&provider, &parts, &body).await;
        return Ok(begin(answer, None, connection));
    }
    let recorder = &provider.recorder;
    let mut ticket = recorder.open(&parts);
    let body = match read(incoming).await {
        Ok(body) => body,
        Err(Unread::TooLarge) => {
            let answer = Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "The request is too large.", None);
            return Ok(begin(answer, Some(ticket), connection));
        }
        Err(Unread::Broken(body)) => {
            recorder.keep_body(&ticket, &body);
            return Err(Cut);
        }
    };
    recorder.keep_body(&ticket, &body);
    let answer = match kind(&parts) {
        Ok(Kind::Chat) => match chat(&provider, &parts, &body, &mut ticket, &connection).await? {
            Ok(answer) => answer,
            Err(refusal) => Answer::error(StatusCode::BAD_REQUEST, &refusal.message, refusal.param),
        },
        Ok(Kind::Models) => Answer::json(StatusCode::OK, MODELS),
        Err((status, message)) => Answer::error(status, &message, None),
    };
    Ok(begin(answer, Some(ticket), connection))
}

enum Kind {
    Chat,
    Models,
}

/// Providers have different base paths: only the end of the path counts.
fn kind(parts: &Parts) -> Result<Kind, (StatusCode, String)> {
    let path = parts.uri.path();
    let (kind, method) = if path.ends_with("/chat/completions") {
        (Kind::Chat, Method::POST)
    } else if path.ends_with("/models") {
        (Kind::Models, Method::GET)
    } else {
        let message = format!("Unknown request URL: {} {path}.", parts.method);
        return Err((StatusCode::NOT_FOUND, message));
    };
    if parts.method == method {
        Ok(kind)
    } else {
        let message = format!("{path} takes {method}.");
        Err((StatusCode::METHOD_NOT_ALLOWED, message))
    }
}

type Refused = crate::chat::Refusal;

async fn chat(
    provider: &Provider,
    request: &Parts,
    body: &[u8],
    ticket: &mut Ticket,
    connection: &Connection,
) -> Result<Result<Answer, Refused>, Cut> {
    let path = request.uri.path();
    if let Some(throttled) = provider.throttles.find(path, Instant::now()) {
        return Ok(Answer::throttled(throttled, ticket.n()));
    }
    let chat = match Chat::read(body, &Caller::new(path, &request.headers, &provider.times)) {
        Ok(chat) => chat,
        Err(refusal) => return Ok(Err(refusal)),
    };
    // 0 for a clock before 1970, which then is the least of the troubles.
    #[expect(clippy::disallowed_methods, reason = "the rule is for Wasm; this is a native program")]
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // Before any delay, so that a wrong `simulate` is refused at once.
    let answer = match Answer::to(&chat, &Head { n: ticket.n(), created }) {
        Ok(answer) => answer,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if let Some(delay) = chat.simulate.delay_ms {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    if chat.simulate.hang == Some(simulate::Hang::Headers) {
        // hyper drops this future, and the ticket with it, when the client goes away.
        std::future::pending::<()>().await;
    }
    if chat.simulate.cut == Some(simulate::Cut::Headers) {
        if chat.simulate.reset {
            connection.reset_at_end();
        }
        ticket.settle(Outcome::Cut);
        return Err(Cut);
    }
    ticket.prompt(answer.prompt_tokens);
    Ok(Ok(answer))
}

fn begin(answer: Answer, ticket: Option<Ticket>, connection: Arc<Connection>) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::new(answer.script, ticket, connection));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

enum Unread {
    TooLarge,
    /// The client went away; this much had arrived.
    Broken(Bytes),
}

async fn read(mut incoming: Incoming) -> Result<Bytes, Unread> {
    // Nearly every body is one frame: no copy for those.
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
        if all.len() > MOST_BODY {
            return Err(Unread::TooLarge);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}
