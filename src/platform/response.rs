//! Responses: built as values and converted to the runtime's responses once, at the end.

use std::borrow::Cow;

use gatehouse_core::envelope::Surface;
use gatehouse_core::error::{Error, Retry, Source};
use gatehouse_core::json;
use serde::Serialize;
use worker::wasm_bindgen::{self, JsValue, prelude::wasm_bindgen};
use worker::{js_sys, web_sys};

#[wasm_bindgen(module = "/src/platform/response.js")]
extern "C" {
    #[wasm_bindgen(catch)]
    fn respond(status: u16, headers: &str, body: &JsValue) -> Result<JsValue, JsValue>;
}

/// A response of the gateway.
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The headers of this response. `response.js` adds those of every response.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    pub body: Body,
}

/// A body, on the runtime's side where possible.
pub enum Body {
    /// No body.
    Empty,
    /// Text created by the gateway.
    Text(Cow<'static, str>),
    /// Bytes forwarded from an upstream.
    Bytes(js_sys::Uint8Array),
    /// A stream forwarded from an upstream.
    Stream(web_sys::ReadableStream),
}

/// The delay, in seconds, before an automatic client retries what only the operator can fix. Clients of `/v0` are the
/// operator's own and expect 5.
const fn operator_retry(surface: Surface) -> u32 {
    match surface {
        Surface::V0 => 5,
        Surface::OpenAi | Surface::Anthropic | Surface::Portal => 60,
    }
}

impl Response {
    /// A JSON response.
    pub fn json<T: Serialize + ?Sized>(status: u16, body: &T) -> Response {
        Response::json_text(status, json::to_text(body))
    }

    /// A JSON response whose body is already text.
    pub fn json_text(status: u16, text: impl Into<Cow<'static, str>>) -> Response {
        Response::new(status, "application/json", Body::Text(text.into()))
    }

    /// A response with a body and its content type.
    pub fn new(status: u16, content_type: &'static str, body: Body) -> Response {
        Response { status, headers: vec![("content-type", Cow::Borrowed(content_type))], body }
    }

    /// An error response in the envelope of a surface, for the request with this id.
    pub fn error(error: &Error, surface: Surface, request_id: &str) -> Response {
        let source = match error.source() {
            Source::Gateway => "gateway",
            Source::Upstream => "upstream",
        };
        let envelope = error.envelope(surface).of_request(request_id);
        let mut response =
            Response::json(error.status_on(surface), &envelope).with("x-gateway-error-source", source);
        if let Some(path) = error.documentation() {
            response = response.with("link", format!("<{path}>; rel=\"help\""));
        }
        match error.retry() {
            Some(Retry::After(seconds)) => response.with("retry-after", seconds.to_string()),
            // Some clients retry whatever they are not told to leave: OpenAI's SDKs any 409 and 5xx, Claude Code a 401
            // for 90 seconds. OpenAI's header `x-should-retry` stops both.
            Some(Retry::Operator) => response
                .with("retry-after", operator_retry(surface).to_string())
                .with("x-should-retry", "false"),
            Some(Retry::Never) => response.with("x-should-retry", "false"),
            None => response,
        }
    }

    /// Sets a header, replacing one of the same name.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Response {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.into()));
        self
    }

    /// The runtime's response, with the headers of every response (in `response.js`).
    pub fn into_response(self) -> Result<JsValue, JsValue> {
        let size = self.headers.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        let mut lines = String::with_capacity(size);
        for (name, value) in &self.headers {
            lines.push_str(name);
            lines.push('\n');
            lines.push_str(value);
            lines.push('\n');
        }
        let body = match self.body {
            Body::Empty => JsValue::NULL,
            Body::Text(text) => JsValue::from_str(&text),
            Body::Bytes(bytes) => bytes.into(),
            Body::Stream(stream) => stream.into(),
        };
        respond(self.status, &lines, &body)
    }
}
