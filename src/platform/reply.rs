//! Replies: built as values, turned into the runtime's responses once, at the end.

use std::borrow::Cow;

use gatehouse_core::error::{Code, Error, Retry, Source, Surface};
use serde_json::Value;
use worker::wasm_bindgen::JsValue;
use worker::{js_sys, web_sys};

/// What to answer.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers of this reply; those of every reply are added by `handlers::Call::finish`.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body.
    pub body: Body,
}

/// A body, where possible one that is already on the runtime's side.
pub enum Body {
    /// None.
    Empty,
    /// Text made here.
    Text(Cow<'static, str>),
    /// Bytes that passed.
    Bytes(js_sys::Uint8Array),
    /// A stream that passes.
    Stream(web_sys::ReadableStream),
}

/// How long an automatic client should leave alone what only the operator can mend, in seconds. Clients of `/v0` are the
/// operator's own, and know 5.
const fn operator_retry(surface: Surface) -> u32 {
    match surface {
        Surface::V0 => 5,
        Surface::OpenAi | Surface::Portal => 60,
    }
}

impl Reply {
    /// A JSON document.
    pub fn json(status: u16, value: &Value) -> Reply {
        Reply::json_text(status, value.to_string())
    }

    /// A JSON document that is already text.
    pub fn json_text(status: u16, text: impl Into<Cow<'static, str>>) -> Reply {
        Reply::new(status, "application/json", Body::Text(text.into()))
    }

    /// A body of a content type.
    pub fn new(status: u16, content_type: &'static str, body: Body) -> Reply {
        Reply { status, headers: vec![("content-type", Cow::Borrowed(content_type))], body }
    }

    /// An error in the envelope of a surface.
    pub fn error(error: &Error, surface: Surface) -> Reply {
        let source = match error.source() {
            Source::Gateway => "gateway",
            Source::Upstream => "upstream",
        };
        let reply =
            Reply::json(error.status, &error.envelope(surface)).with("x-gateway-error-source", source);
        // They retry any 429 too. When a budget begins anew is for people to know.
        let reply =
            if error.is(Code::InsufficientQuota) { reply.with("x-should-retry", "false") } else { reply };
        match error.retry() {
            Some(Retry::After(seconds)) => reply.with("retry-after", seconds.to_string()),
            // OpenAI's SDKs retry any 5xx; this header of theirs tells them not to.
            Some(Retry::Operator) => {
                reply.with("retry-after", operator_retry(surface).to_string()).with("x-should-retry", "false")
            }
            Some(Retry::Never) if error.status >= 500 => reply.with("x-should-retry", "false"),
            Some(Retry::Never) | None => reply,
        }
    }

    /// The same reply with a header, which replaces one of the same name.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Reply {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.into()));
        self
    }

    /// The runtime's response.
    pub fn into_response(self) -> Result<web_sys::Response, JsValue> {
        let headers = web_sys::Headers::new()?;
        for (name, value) in &self.headers {
            headers.set(name, value)?;
        }
        let init = web_sys::ResponseInit::new();
        init.set_status(self.status);
        init.set_headers(&headers);
        match self.body {
            Body::Empty => web_sys::Response::new_with_opt_str_and_init(None, &init),
            Body::Text(text) => web_sys::Response::new_with_opt_str_and_init(Some(&text), &init),
            Body::Bytes(bytes) => web_sys::Response::new_with_opt_js_u8_array_and_init(Some(&bytes), &init),
            Body::Stream(stream) => {
                web_sys::Response::new_with_opt_readable_stream_and_init(Some(&stream), &init)
            }
        }
    }
}
