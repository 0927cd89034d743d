//! Builds the status, the headers and the script of a response. Does not wait and does not send: `route` does delays
//! and responses that never start.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
    TRANSFER_ENCODING,
};

use crate::body::{Comments, Ending, Frames, Mark, Script};
use crate::embeddings::Embeddings;
use crate::faults::{Fault, Wire};
use crate::record::Billed;
use crate::rejection::Rejection;
use crate::simulate::{BodyShape, Chunking, ContentType, Cut, ErrorShape, Hang, Simulate};
use crate::stream::Events;
use crate::throttle::Throttled;

const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";
/// The number of frames of a whole response that is sent slowly.
const DRIPS: usize = 10;

/// A response that is generated for a request, in whatever format, before its faults happen.
pub(crate) struct Generated<'a> {
    pub(crate) simulate: &'a Simulate,
    pub(crate) wire: Wire,
    /// The whole response as JSON text.
    pub(crate) whole: &'a dyn Fn() -> String,
    /// The events of the stream, with an error event if one is requested; none: the request wants a whole response.
    pub(crate) events: Option<&'a dyn Fn() -> Events>,
    pub(crate) prompt_tokens: u64,
    /// The completion tokens of the whole response.
    pub(crate) tokens: u64,
    pub(crate) bill: Billed,
}

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

    /// An error in the envelope of an API.
    pub(crate) fn error(wire: Wire, n: u64, status: StatusCode, message: &str, param: Option<&str>) -> Self {
        let fault =
            Fault { wire, n, status: status.as_u16(), message: Some(message), param, ..Fault::default() };
        Self::json(status, fault.envelope())
    }

    /// The response to a request that is rejected.
    pub(crate) fn rejection(wire: Wire, n: u64, rejection: &Rejection) -> Self {
        let status = StatusCode::from_u16(rejection.status).unwrap_or(StatusCode::BAD_REQUEST);
        let fault = Fault {
            wire,
            n,
            status: status.as_u16(),
            message: Some(&rejection.message),
            code: rejection.code,
            param: rejection.param.as_deref(),
            ..Fault::default()
        };
        let mut response = Self::json(status, fault.envelope());
        if wire == Wire::Anthropic {
            // The names and the values are constants, so there is nothing that can be rejected again.
            let _ = shape_headers(&mut response.headers, status, &Simulate::default(), wire, n);
        }
        response
    }

    /// The response to a request whose path is throttled.
    pub(crate) fn throttled(throttled: Throttled, wire: Wire, n: u64) -> Result<Self, Rejection> {
        let status = StatusCode::TOO_MANY_REQUESTS;
        let fault = Fault { wire, n, status: status.as_u16(), ..Fault::default() };
        let mut response = Self::json(status, fault.envelope());
        shape_headers(&mut response.headers, status, &Simulate::default(), wire, n)?;
        if let Some(after) = throttled.retry_after {
            response.headers.insert(RETRY_AFTER, after);
        }
        Ok(response)
    }

    /// The response to a request for something that is generated.
    pub(crate) fn to(generated: &Generated<'_>, n: u64) -> Result<Self, Rejection> {
        let Generated { simulate, wire, .. } = *generated;
        let is_stream = generated.events.is_some() && simulate.streams();
        let mut response = match &generated.events {
            Some(events) if is_stream => Self::stream(simulate, events()),
            _ if simulate.generates() => {
                let mut response = Self::json(StatusCode::OK, (generated.whole)());
                let end = response.script.bytes.len();
                response.script.marks = vec![Mark { end, is_event: false, tokens: generated.tokens }];
                response
            }
            _ => Self::unusual(simulate, wire, n, generated.whole)?,
        };
        if !is_stream {
            shape_whole(&mut response.script, simulate);
        }
        if simulate.generates() {
            response.prompt_tokens = generated.prompt_tokens;
            response.bill = generated.bill;
        }
        response.finished(simulate, wire, n)
    }

    /// The rest of a stream that was kept.
    pub(crate) fn resumed(events: String) -> Self {
        let mut response = Self::json(StatusCode::OK, events);
        response.headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
        response
    }

    /// Replaces the body by sound, in frames of a kilobyte and without a declared length.
    pub(crate) fn speak(&mut self, sound: Vec<u8>, kind: &'static str, simulate: &Simulate) {
        self.script.bytes = sound.into();
        self.script.promised = None;
        self.script.marks = Vec::new();
        self.script.frames = Frames::Every(1024);
        if simulate.content_type == ContentType::Usual {
            self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        shape_whole(&mut self.script, simulate);
        if simulate.hang == Some(Hang::Body) {
            self.script.bytes.clear();
        }
    }

    /// The response to an embeddings request.
    pub(crate) fn with_vectors(embeddings: &Embeddings, n: u64) -> Result<Self, Rejection> {
        let simulate = &embeddings.simulate;
        let mut response = if simulate.streams() {
            let mut response = Self::json(StatusCode::OK, embeddings.response());
            response.prompt_tokens = embeddings.prompt_tokens;
            response
        } else {
            Self::unusual(simulate, Wire::Openai, n, &|| embeddings.response())?
        };
        shape_whole(&mut response.script, simulate);
        response.finished(simulate, Wire::Openai, n)
    }

    /// The response with the headers and the faults that do not depend on its content.
    fn finished(mut self, simulate: &Simulate, wire: Wire, n: u64) -> Result<Self, Rejection> {
        if simulate.hang == Some(Hang::Body) {
            self.script.bytes.clear();
            self.script.comments = Comments::default();
            self.script.ending = Ending::Hang;
        }
        shape_headers(&mut self.headers, self.status, simulate, wire, n)?;
        Ok(self)
    }

    /// A redirect, an error status, or a 200 that is not the usual response, which `whole` builds.
    fn unusual(
        simulate: &Simulate,
        wire: Wire,
        n: u64,
        whole: &dyn Fn() -> String,
    ) -> Result<Self, Rejection> {
        let fault = |status| Fault::of(simulate, status, wire, n);
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
            let usual = match wire {
                Wire::Openai => ErrorShape::Openai,
                Wire::Anthropic => ErrorShape::Anthropic,
            };
            let error = fault(code).body(simulate.error_shape.unwrap_or(usual));
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

    fn stream(simulate: &Simulate, mut events: Events) -> Self {
        let ending = match (simulate.cut, simulate.hang) {
            (Some(Cut::Stream), _) => Ending::Break { reset: simulate.reset },
            (Some(Cut::Clean), _) => Ending::CleanCut,
            (_, Some(Hang::Stream)) => Ending::Hang,
            _ => Ending::Complete,
        };
        if ending != Ending::Complete {
            events.truncate(simulate.kept_events(events.count()));
        }
        let (text, marks) = events.into_parts();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
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
        Self { status: StatusCode::OK, headers, script, prompt_tokens: 0, bill: Billed::default() }
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

fn shape_headers(
    headers: &mut HeaderMap,
    status: StatusCode,
    simulate: &Simulate,
    wire: Wire,
    n: u64,
) -> Result<(), Rejection> {
    let (name, id) = match wire {
        Wire::Openai => ("x-request-id", format!("req-sim-{n}")),
        Wire::Anthropic => ("request-id", format!("req_sim_{n}")),
    };
    headers.insert(HeaderName::from_static(name), value(name, &id)?);
    if wire == Wire::Anthropic && (status.is_client_error() || status.is_server_error()) {
        let again = status.is_server_error() || matches!(status.as_u16(), 408 | 409 | 429);
        let again = HeaderValue::from_static(if again { "true" } else { "false" });
        headers.insert(HeaderName::from_static("x-should-retry"), again);
    }
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
    Rejection::new(message, Some("simulate"))
}
