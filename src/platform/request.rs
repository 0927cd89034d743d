//! Incoming requests.

use std::borrow::Cow;

use worker::wasm_bindgen::{self, JsCast, JsValue, prelude::wasm_bindgen};
use worker::{js_sys, web_sys};

use super::task;

#[wasm_bindgen(module = "/src/platform/request.js")]
extern "C" {
    #[wasm_bindgen(js_name = readHead)]
    fn read_head(request: &web_sys::Request, names: &js_sys::Array) -> String;

    #[wasm_bindgen(js_name = readRequest)]
    fn read_request(request: &web_sys::Request, limit: f64) -> js_sys::Promise;
}

/// The reason why a body could not be read.
pub enum BodyError {
    /// It is larger than the limit.
    TooLarge,
    /// The client disconnected.
    Gone,
}

/// Reads the whole body, at most `limit` bytes. A declared length above the limit is rejected before anything is read.
pub async fn body(request: &web_sys::Request, limit: u32) -> Result<js_sys::Uint8Array, BodyError> {
    let body: JsValue =
        task::settled(read_request(request, limit.into())).await.map_err(|_| BodyError::Gone)?;
    body.dyn_into().map_err(|_| BodyError::TooLarge)
}

/// The headers that are read with every request. Others are read one by one.
const HEADERS: [&str; 9] = [
    "origin",
    "authorization",
    "x-api-key",
    "x-request-id",
    "content-type",
    "x-session-id",
    "x-gateway-project-id",
    "x-gateway-force-provider",
    "x-gateway-force-model",
];

thread_local! {
    static HEADER_NAMES: js_sys::Array = HEADERS.into_iter().map(JsValue::from_str).collect();
}

/// The method, the URL and the headers of a request.
pub struct Head<'a> {
    request: &'a web_sys::Request,
    /// The lines of `readHead`.
    lines: String,
    /// The end of each line.
    ends: [usize; 2 + HEADERS.len()],
}

impl<'a> Head<'a> {
    pub fn read(request: &'a web_sys::Request) -> Head<'a> {
        let lines = HEADER_NAMES.with(|names| read_head(request, names));
        let mut ends = [lines.len(); 2 + HEADERS.len()];
        let line_feeds = lines.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        for (end, (index, _)) in ends.iter_mut().zip(line_feeds) {
            *end = index;
        }
        Head { request, lines, ends }
    }

    fn line(&self, number: usize) -> &str {
        let end = |number: usize| self.ends.get(number).copied();
        let begin = number.checked_sub(1).and_then(end).map_or(0, |end| end + 1);
        self.lines.get(begin..end(number).unwrap_or(begin)).unwrap_or_default()
    }

    /// The method, in upper case.
    pub fn method(&self) -> &str {
        self.line(0)
    }

    /// The whole URL.
    pub fn url(&self) -> &str {
        self.line(1)
    }

    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        match HEADERS.iter().position(|known| *known == name) {
            Some(index) => Some(self.line(2 + index)).filter(|value| *value != "\0").map(Cow::Borrowed),
            None => self.request.headers().get(name).ok().flatten().map(Cow::Owned),
        }
    }
}
