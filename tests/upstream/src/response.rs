//! Builds the status, the headers and the script of a response. Does not wait and does not send: `route` does delays
//! and responses that never start.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
    TRANSFER_ENCODING,
};

use crate::body::{Comments, Ending, Frames, Mark, Script};
use crate::chat::{Chat, Rejection};
use crate::embeddings::Embeddings;
use crate::faults::Fault;
use crate::record::Billed;
use crate::reply::Reply;
use crate::simulate::{BodyShape, Chunking, ContentType, Cut, Hang, Simulate};
use crate::stream;
use crate::throttle::Throttled;
use crate::whole::{Head, completion};

const JSON: &str = "application/json";
/// The number of frames of a whole response that is sent slowly.
const DRIPS: usize = 10;

/// A response, ready to be sent.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) script: Script,
    /// The prompt tokens to record; 0 if nothing was generated.
    pub(crate) prompt_tokens: u64,
    /// What the provider bills, from the moment at which it accepts the request.
    pub(crate) bill: Billed,
}

impl Response {
    /// A response of JSON text without any fault.
    pub(crate) fn json(status: StatusCode, text: impl Into<bytes::Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        Self { status, headers, script: Script::plain(text), prompt_tokens: 0, bill: Billed::default() }
    }

    /// An error in `OpenAI`'s envelope.
    pub(crate) fn error(status: StatusCode, message: &str, param: Option<&str>) -> Self {
        let fault = Fault { status: status.as_u16(), message: Some(message), code: None, param };
        Self::json(status, fault.envelope())
    }

    /// The response to a request whose path is throttled.
    pub(crate) fn throttled(throttled: Throttled, n: u64) -> Result<Self, Rejection> {
        let status = StatusCode::TOO_MANY_REQUESTS;
        let fault = Fault { status: status.as_u16(), message: None, code: None, param: None };
        let mut response = Self::json(status, fault.envelope());
        shape_headers(&mut response.headers, &Simulate::default(), n)?;
        if let Some(after) = throttled.retry_after {
            response.headers.insert(RETRY_AFTER, after);
        }
        Ok(response)
    }

    /// The response to a chat request.
    pub(crate) fn to(chat: &Chat, head: &Head) -> Result<Self, Rejection> {
        let simulate = &chat.simulate;
        let mut response = if !simulate.streams() {
            Self::unusual(simulate, || completion(chat, &Reply::to(chat), head))?
        } else if chat.stream {
            Self::stream(chat, head)
        } else {
            let reply = Reply::to(chat);
            let text = completion(chat, &reply, head);
            let mut response = Self::json(StatusCode::OK, text);
            let end = response.script.bytes.len();
            response.script.marks = vec![Mark { end, is_event: false, tokens: reply.tokens * chat.n }];
            response.prompt_tokens = chat.prompt_tokens;
            response
        };
        if !(chat.stream && simulate.streams()) {
            shape_whole(&mut response.script, simulate);
        }
        if let Some(bill) = simulate.bill.filter(|_| simulate.streams()) {
            let cached = bill.cached.min(chat.prompt_tokens);
            let written = bill.cache_write.min(chat.prompt_tokens - cached);
            let completion = chat.completion_tokens(Reply::to(chat).tokens);
            response.bill =
                Billed { prompt: chat.prompt_tokens - cached - written, cached, written, completion };
        }
        response.finished(simulate, head.n)
    }

    /// The response to an embeddings request.
    pub(crate) fn with_vectors(embeddings: &Embeddings, n: u64) -> Result<Self, Rejection> {
        let simulate = &embeddings.simulate;
        let mut response = if simulate.streams() {
            let mut response = Self::json(StatusCode::OK, embeddings.response());
            response.prompt_tokens = embeddings.prompt_tokens;
            response
        } else {
            Self::unusual(simulate, || embeddings.response())?
        };
        shape_whole(&mut response.script, simulate);
        response.finished(simulate, n)
    }

    /// The response with the headers and the faults that do not depend on its content.
    fn finished(mut self, simulate: &Simulate, n: u64) -> Result<Self, Rejection> {
        if simulate.hang == Some(Hang::Body) {
            self.script.bytes.clear();
            self.script.comments = Comments::default();
            self.script.ending = Ending::Hang;
        }
        shape_headers(&mut self.headers, simulate, n)?;
        Ok(self)
    }

    /// A redirect, an error status, or a 200 that is not the usual response, which `whole` builds.
    fn unusual(simulate: &Simulate, whole: impl Fn() -> String) -> Result<Self, Rejection> {
        let fault = |status| Fault {
            status,
            message: simulate.message.as_deref(),
            code: simulate.code.as_deref(),
            param: None,
        };
        if let Some(location) = &simulate.redirect {
            let status = simulate.status.and_then(|status| StatusCode::from_u16(status).ok());
            let mut headers = HeaderMap::new();
            headers.insert(LOCATION, value("redirect", location)?);
            return Ok(Self {
                status: status.unwrap_or(StatusCode::TEMPORARY_REDIRECT),
                headers,
                script: Script::plain(""),
                prompt_tokens: 0,
                bill: Billed::default(),
            });
        }
        if let Some(code) = simulate.status {
            let status = StatusCode::from_u16(code)
                .map_err(|error| rejected(format!("simulate: status {code}: {error}")))?;
            let error = fault(code).body(simulate.error_shape.unwrap_or_default());
            // These statuses have no body in HTTP.
            let has_body = !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
            let mut response = Self::json(status, if has_body { error.text } else { String::new() });
            response.headers.remove(CONTENT_TYPE);
            if let Some(content_type) = error.content_type.filter(|_| has_body) {
                response.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            }
            return Ok(response);
        }
        let text = match simulate.body {
            Some(BodyShape::Malformed) => {
                let mut text = whole().into_bytes();
                text.truncate(text.len() / 2);
                return Ok(Self::json(StatusCode::OK, text));
            }
            Some(BodyShape::Array) => format!("[{}]", whole()),
            Some(BodyShape::Empty) => String::new(),
            Some(BodyShape::NoChoices) => "{}".to_owned(),
            Some(BodyShape::ErrorIn200) => fault(200).envelope(),
            None => whole(),
        };
        Ok(Self::json(StatusCode::OK, text))
    }

    fn stream(chat: &Chat, head: &Head) -> Self {
        let simulate = &chat.simulate;
        let mut events = stream::events(chat, &Reply::to(chat), head);
        let after = simulate.after_events.unwrap_or(0);
        let ending = match (simulate.cut, simulate.hang) {
            (Some(Cut::Stream), _) => Ending::Break { reset: simulate.reset },
            (Some(Cut::Clean), _) => Ending::CleanCut,
            (_, Some(Hang::Stream)) => Ending::Hang,
            _ => Ending::Complete,
        };
        if ending != Ending::Complete {
            events.truncate(after);
        }
        let (text, marks) = events.into_parts();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let newline = simulate.newline.unwrap_or_default().text();
        let script = Script {
            comments: Comments {
                text: format!(": PROCESSING{newline}{newline}").into(),
                rest: Duration::from_millis(simulate.comments_ms.unwrap_or(0)),
            },
            bytes: text.into(),
            promised: None,
            marks,
            frames: match simulate.chunking {
                None | Some(Chunking::Event) => Frames::PerMark,
                Some(Chunking::Bytes(size)) => Frames::Every(size),
                Some(Chunking::All) => Frames::Whole,
            },
            pace: simulate.frame_delay_ms.or(simulate.drip_ms).map(Duration::from_millis),
            stamped: simulate.stamped,
            ending,
        };
        Self {
            status: StatusCode::OK,
            headers,
            script,
            prompt_tokens: chat.prompt_tokens,
            bill: Billed::default(),
        }
    }
}

fn shape_whole(script: &mut Script, simulate: &Simulate) {
    let size = script.bytes.len();
    if simulate.no_content_length {
        script.promised = None;
    }
    if let Some(drip) = simulate.drip_ms {
        script.frames = Frames::Every(size.div_ceil(DRIPS).max(1));
        script.pace = Some(Duration::from_millis(drip));
    }
    if simulate.cut == Some(Cut::Body) {
        script.bytes.truncate(size / 2);
        script.ending = Ending::Break { reset: simulate.reset };
    }
}

fn shape_headers(headers: &mut HeaderMap, simulate: &Simulate, n: u64) -> Result<(), Rejection> {
    headers.insert(HeaderName::from_static("x-request-id"), value("x-request-id", &format!("req-sim-{n}"))?);
    if let Some(after) = &simulate.retry_after {
        headers.insert(RETRY_AFTER, value("retry_after", &after.to_string())?);
    }
    if let Some(after) = &simulate.retry_after_ms {
        headers
            .insert(HeaderName::from_static("retry-after-ms"), value("retry_after_ms", &after.to_string())?);
    }
    for (name, text) in &simulate.headers {
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .ok()
            // These headers would contradict the framing that hyper chooses.
            .filter(|name| *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING)
            .ok_or_else(|| rejected(format!("simulate: headers: {name:?} cannot be set")))?;
        headers.insert(parsed, value(name, text)?);
    }
    match &simulate.content_type {
        ContentType::Given(text) => headers.insert(CONTENT_TYPE, value("content_type", text)?),
        ContentType::None => headers.remove(CONTENT_TYPE),
        ContentType::Usual => None,
    };
    Ok(())
}

fn value(name: &str, text: &str) -> Result<HeaderValue, Rejection> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| rejected(format!("simulate: {name}: {text:?} cannot be a header value")))
}

fn rejected(message: String) -> Rejection {
    Rejection { message, param: Some("simulate") }
}
