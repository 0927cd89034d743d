//! Incoming requests.

use std::borrow::Cow;

use worker::wasm_bindgen::{self, JsCast, JsValue, prelude::wasm_bindgen};
use worker::{js_sys, web_sys};

use super::memory::{Held, Ticket};
use super::task;
use super::upstream::Heartbeat;

#[wasm_bindgen(module = "/src/platform/request.js")]
extern "C" {
    #[wasm_bindgen(js_name = readHead)]
    fn read_head(request: &web_sys::Request, names: &js_sys::Array) -> String;

    #[wasm_bindgen(js_name = readSmall)]
    fn read_small(request: &web_sys::Request, ms: f64) -> js_sys::Promise;

    #[wasm_bindgen(js_name = readPieces)]
    fn read_pieces(
        request: &web_sys::Request,
        limit: f64,
        ms: f64,
        ticket: u32,
        share: f64,
        heartbeat: Option<usize>,
        heartbeat_ms: f64,
    ) -> js_sys::Promise;
}

/// The largest declared size, in bytes, of a body that is read in one go.
pub const SMALL: u32 = 65_536;

/// The reason why a body could not be read.
pub enum BodyError {
    /// It is larger than the limit.
    TooLarge,
    /// The client disconnected.
    Gone,
    /// It did not arrive in time.
    Late,
    /// There is no room for it in the budget of the isolate.
    Overloaded,
}

/// The body of a request.
#[derive(Debug)]
pub struct RequestBody {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The same bytes as a buffer of the runtime, if they are few.
    pub buffer: Option<js_sys::Uint8Array>,
    _held: Held,
}

/// The limits of a body.
#[derive(Clone, Copy)]
pub struct BodyLimits {
    /// The largest size, in bytes.
    pub bytes: u32,
    /// The longest time that it may take, in milliseconds.
    pub ms: u32,
}

/// Reads the whole body of a request. `declared` is its declared size. The bytes count against the budget of the isolate
/// as long as the body exists. While a large body arrives, `heartbeat` beats.
pub async fn body(
    request: &web_sys::Request,
    declared: Option<u64>,
    limits: BodyLimits,
    heartbeat: Option<&Heartbeat>,
) -> Result<RequestBody, BodyError> {
    let mut held = Held::default();
    let overloaded = |_| BodyError::Overloaded;
    if let Some(size) = declared.filter(|size| *size <= limits.bytes.min(SMALL).into()) {
        held.set(usize::try_from(size).unwrap_or(usize::MAX)).map_err(overloaded)?;
        let read = task::settled(read_small(request, limits.ms.into())).await;
        let buffer: js_sys::Uint8Array =
            read.map_err(|_| BodyError::Gone)?.dyn_into().map_err(|_| BodyError::Late)?;
        return Ok(RequestBody { bytes: buffer.to_vec(), buffer: Some(buffer), _held: held });
    }
    let (pieces, ticket) = pieces(request, declared, limits, 1.0, heartbeat).await?;
    // From here on the bytes are held by Wasm: the runtime's copy is dropped.
    drop(ticket);
    let size = pieces.iter().map(|piece| piece.length() as usize).sum();
    held.set(size).map_err(overloaded)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| BodyError::Overloaded)?;
    for piece in pieces {
        let start = bytes.len();
        bytes.resize(start + piece.length() as usize, 0);
        piece.copy_to(bytes.get_mut(start..).unwrap_or_default());
    }
    Ok(RequestBody { bytes, buffer: None, _held: held })
}

/// Reads the whole body of a request, which stays in JavaScript; of each byte, this `share` counts against the budget.
pub(super) async fn pieces(
    request: &web_sys::Request,
    declared: Option<u64>,
    limits: BodyLimits,
    share: f64,
    heartbeat: Option<&Heartbeat>,
) -> Result<(Vec<js_sys::Uint8Array>, Ticket), BodyError> {
    let is_too_large = declared.is_some_and(|size| size > limits.bytes.into());
    let limit = if is_too_large { 0 } else { limits.bytes };
    let ticket = Ticket::new();
    let every_ms = heartbeat.map_or(limits.ms, |heartbeat| heartbeat.every_ms);
    let number = heartbeat.map(|heartbeat| heartbeat.number);
    let ms = limits.ms.into();
    let read = read_pieces(request, limit.into(), ms, ticket.number(), share, number, every_ms.into());
    let read = task::settled(read).await.map_err(|_| BodyError::Gone)?;
    let pieces: js_sys::Array = read.dyn_into().map_err(|reason| match reason.as_string().as_deref() {
        Some("late") => BodyError::Late,
        Some("overloaded") => BodyError::Overloaded,
        _ => BodyError::TooLarge,
    })?;
    Ok((pieces.iter().map(JsCast::unchecked_into).collect(), ticket))
}

/// The headers that are read with every request. Others are read one by one.
const HEADERS: [&str; 11] = [
    "origin",
    "authorization",
    "x-api-key",
    "x-request-id",
    "content-type",
    "content-length",
    "content-encoding",
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
