//! Exchanges with upstreams: the typed interface of `upstream.js`, which does the waiting.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use gatehouse_core::config::Config;
use gatehouse_core::error::Error;
use gatehouse_core::format::stream::{Ending, Outcome, Relayed, ResponseStream, StreamState};
use gatehouse_core::format::upstream_error::MAX_BODY as MAX_ERROR_BYTES;
use gatehouse_core::route::driver::AttemptLimits;
use gatehouse_core::route::response::Interruption;
use slab::Slab;
use worker::wasm_bindgen::{self, JsCast, JsValue, prelude::Closure, prelude::wasm_bindgen};
use worker::worker_sys::Context;
use worker::{js_sys, web_sys};

use super::memory::{self, Held, Ticket};
use super::task;

#[wasm_bindgen(module = "/src/platform/upstream.js")]
extern "C" {
    fn send(
        client: &web_sys::AbortSignal,
        url: &str,
        headers: &str,
        binding: &JsValue,
        body: &JsValue,
        limits: &js_sys::Object,
        drains: bool,
        first_byte_ms: f64,
        stall_ms: f64,
        total_ms: f64,
        hooks: Option<&js_sys::Object>,
        heartbeat: Option<usize>,
        heartbeat_ms: f64,
        ticket: u32,
    ) -> JsFlight;

    #[wasm_bindgen(js_name = ask)]
    fn send_without_body(
        client: &web_sys::AbortSignal,
        method: &str,
        url: &str,
        headers: &str,
        limits: &js_sys::Object,
        total_ms: f64,
        ticket: u32,
    ) -> JsFlight;

    fn first(flights: &js_sys::Array, ms: f64) -> js_sys::Promise;

    fn pause(client: &web_sys::AbortSignal, ms: f64) -> js_sys::Promise;

    #[wasm_bindgen(js_name = sleep)]
    fn timer(ms: f64) -> js_sys::Promise;

    #[wasm_bindgen(catch)]
    fn relay(exchange: &JsExchange, ping: &str, ping_ms: f64) -> Result<JsRelay, JsValue>;

    type JsFlight;
    #[wasm_bindgen(method, getter)]
    fn settled(this: &JsFlight) -> js_sys::Promise;
    #[wasm_bindgen(method)]
    fn cancel(this: &JsFlight);

    type JsExchange;
    #[wasm_bindgen(method, getter)]
    fn failure(this: &JsExchange) -> String;
    #[wasm_bindgen(method, getter)]
    fn detail(this: &JsExchange) -> String;
    #[wasm_bindgen(method, getter)]
    fn status(this: &JsExchange) -> u16;
    #[wasm_bindgen(method, getter)]
    fn body(this: &JsExchange) -> Option<js_sys::Uint8Array>;
    #[wasm_bindgen(method, getter)]
    fn headers(this: &JsExchange) -> Option<web_sys::Headers>;
    #[wasm_bindgen(method, getter)]
    fn source(this: &JsExchange) -> JsValue;

    type JsRelay;
    #[wasm_bindgen(method, getter)]
    fn readable(this: &JsRelay) -> web_sys::ReadableStream;
    #[wasm_bindgen(method, getter)]
    fn finished(this: &JsRelay) -> js_sys::Promise;
}

#[wasm_bindgen(module = "/src/platform/heartbeat.js")]
extern "C" {
    #[wasm_bindgen(js_name = onHeartbeat)]
    fn on_heartbeat(callback: &js_sys::Function);
}

/// An exchange that got no response.
pub struct Interrupted {
    /// The class of the failure.
    pub why: Interruption,
    /// `true` if nothing was sent, because the client had left before.
    pub unsent: bool,
    detail: String,
    early: Option<Error>,
    headers: Option<web_sys::Headers>,
}

impl Interrupted {
    /// The runtime's message, for the log.
    pub fn detail(&self) -> Option<&str> {
        Some(self.detail.as_str()).filter(|detail| !detail.is_empty())
    }

    /// The error that a stream ended with before its first content.
    pub fn early(&self) -> Option<&Error> {
        self.early.as_ref()
    }

    /// A header of the response, if its head has arrived.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.as_ref()?.get(name).ok().flatten()
    }
}

/// An upstream's response.
pub struct UpstreamResponse {
    pub status: u16,
    pub body: UpstreamBody,
    /// The bytes of a whole body.
    pub ticket: Ticket,
    /// `true` if the client had left before it arrived.
    pub late: bool,
    headers: web_sys::Headers,
}

/// The body of a response.
pub enum UpstreamBody {
    /// All of it or, of the body of an error, the first [`MAX_ERROR_BYTES`].
    Whole(Option<js_sys::Uint8Array>),
    /// An event stream that has started, for [`relay_stream`].
    Stream(EventStream),
}

/// An event stream that has started.
pub struct EventStream {
    exchange: JsExchange,
    hooks: Hooks,
}

impl EventStream {
    /// As in [`ResponseStream::response_id`].
    pub fn response_id(&self) -> Option<String> {
        self.hooks.stream.borrow().response_id()
    }

    /// The content type of a response that is bytes without events; `None` for events.
    pub fn type_of_bytes(&self) -> Option<String> {
        let stated = || self.exchange.headers()?.get("content-type").ok().flatten();
        self.hooks.stream.borrow().is_bytes().then(|| stated().unwrap_or_default())
    }
}

impl UpstreamResponse {
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).ok().flatten()
    }
}

/// The destination of a request.
pub enum Target<'a> {
    /// An HTTP endpoint: the URL, and the headers beyond those of every request, with their values.
    Http(&'a str, Vec<(&'a str, String)>),
    /// The binding `AI`: the model.
    Binding(JsValue, &'a str),
}

/// The limits that are the same for every exchange, as the object that `upstream.js` reads; created once for each
/// isolate.
pub struct Limits(js_sys::Object);

impl Limits {
    /// The limits of the configuration.
    pub fn of(config: &Config) -> Limits {
        let max_error_bytes = u32::try_from(MAX_ERROR_BYTES).unwrap_or(u32::MAX);
        Limits(object(&[
            ("idleMs", config.timeouts.idle_ms.into()),
            ("holdMs", config.routing.hold_ms.into()),
            ("holdBytes", config.routing.hold_bytes.into()),
            ("maxBytes", config.responses.max_bytes.into()),
            ("maxErrorBytes", max_error_bytes.into()),
        ]))
    }
}

fn object(properties: &[(&str, JsValue)]) -> js_sys::Object {
    let object = js_sys::Object::new();
    for (name, value) in properties {
        // Setting a property of a plain object cannot fail.
        let _ = js_sys::Reflect::set(&object, &JsValue::from_str(name), value);
    }
    object
}

/// The methods of a [`ResponseStream`], as functions that `upstream.js` calls.
struct Hooks {
    stream: Rc<RefCell<Box<dyn ResponseStream>>>,
    overload: Rc<Cell<Overload>>,
    object: js_sys::Object,
    _push: Closure<dyn FnMut(js_sys::Uint8Array) -> JsValue>,
    _state: Closure<dyn FnMut() -> JsValue>,
    _end: Closure<dyn FnMut(String) -> JsValue>,
}

impl Hooks {
    /// The functions for a response; `is_whole` is `true` if no stream was requested.
    fn new(stream: Box<dyn ResponseStream>, is_whole: bool) -> Hooks {
        let suffices = u32::try_from(stream.suffices()).unwrap_or(u32::MAX);
        let stream = Rc::new(RefCell::new(stream));
        let overload: Rc<Cell<Overload>> = Rc::default();
        let push = {
            let (stream, overload) = (Rc::clone(&stream), Rc::clone(&overload));
            let mut kept = Kept { buffer: if is_whole { BULK_BYTES } else { 0 }, ..Kept::default() };
            Closure::new(move |chunk: js_sys::Uint8Array| {
                let mut stream = stream.borrow_mut();
                let bytes = chunk.to_vec();
                let relayed = stream.push(&bytes);
                if let Err(error) = kept.pushed(bytes.len(), &relayed, stream.state()) {
                    let has_begun = stream.state() != StreamState::Held;
                    overload.set(if has_begun { Overload::Late } else { Overload::Early });
                    return js_sys::Uint8Array::from(stream.failure(&error).as_slice()).into();
                }
                match relayed {
                    Relayed::AsIs if !matches!(stream.state(), StreamState::Over(_)) => JsValue::UNDEFINED,
                    Relayed::AsIs => chunk.into(),
                    Relayed::Instead(bytes) => js_sys::Uint8Array::from(bytes.as_slice()).into(),
                }
            })
        };
        let state = {
            let (stream, overload) = (Rc::clone(&stream), Rc::clone(&overload));
            Closure::new(move || {
                JsValue::from_str(match stream.borrow().state() {
                    _ if overload.get() != Overload::None => "over",
                    StreamState::Over(_) => "over",
                    StreamState::Begun => "begun",
                    StreamState::Held => "held",
                })
            })
        };
        let end = {
            let stream = Rc::clone(&stream);
            Closure::new(move |ending: String| {
                let ending = match ending.as_str() {
                    "closed" => Ending::Closed,
                    "silent" => Ending::Silent,
                    _ => Ending::Broken,
                };
                let mut stream = stream.borrow_mut();
                let last = stream.end(ending);
                if stream.is_bytes() && stream.state() != StreamState::Over(Outcome::Done) {
                    return JsValue::UNDEFINED;
                }
                js_sys::Uint8Array::from(last.as_slice()).into()
            })
        };
        let function = |closure: &JsValue| closure.clone();
        let properties = [
            ("push", function(push.as_ref())),
            ("state", function(state.as_ref())),
            ("end", function(end.as_ref())),
            ("suffices", suffices.into()),
        ];
        // A stream does not pay for the last one.
        let count = if is_whole { properties.len() } else { properties.len() - 1 };
        let object = object(properties.get(..count).unwrap_or(&properties));
        Hooks { stream, overload, object, _push: push, _state: state, _end: end }
    }

    /// The error if the stream ended before its first content.
    fn early_end(&self) -> Option<Error> {
        match self.overload.get() {
            Overload::Early => Some(memory::overloaded()),
            Overload::Late | Overload::None => self.stream.borrow().early_end(),
        }
    }
}

/// The time at which the budget of the isolate was used up for a stream.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Overload {
    /// It was not.
    #[default]
    None,
    /// Before the first content: the call fails.
    Early,
    /// Later: the stream ends with an error event.
    Late,
}

/// `BULK_BYTES` of `upstream.js`: the buffer through which a large whole response passes.
const BULK_BYTES: usize = 262_144;

/// The bytes of a stream that are kept back.
#[derive(Default)]
struct Kept {
    /// The buffer for reading, if it is large.
    buffer: usize,
    /// Bytes since the last complete event.
    event: usize,
    /// Bytes before the first content.
    start: usize,
    held: Held,
}

impl Kept {
    /// Counts a chunk; fails if the budget has no room for it.
    fn pushed(&mut self, chunk: usize, relayed: &Relayed, state: StreamState) -> Result<(), Error> {
        self.event = match relayed {
            Relayed::AsIs => 0,
            Relayed::Instead(bytes) if bytes.is_empty() => self.event + chunk,
            // What is kept came with this chunk.
            Relayed::Instead(_) => chunk,
        };
        self.start = if state == StreamState::Held { self.start + chunk } else { 0 };
        // A buffer that grows has up to twice the size of its content.
        self.held.set(self.buffer + 2 * self.event + self.start)
    }
}

type Callback = Rc<dyn Fn()>;

thread_local! {
    static HEARTBEATS: RefCell<Slab<Callback>> = const { RefCell::new(Slab::new()) };
    static ON_HEARTBEAT: Closure<dyn Fn(usize)> = Closure::new(beat);
}

fn beat(number: usize) {
    let callback = HEARTBEATS.with_borrow(|heartbeats| heartbeats.get(number).cloned());
    if let Some(callback) = callback {
        callback();
    }
}

/// Calls a function regularly while an exchange of a call is in flight, as long as this value exists. The timers of the
/// exchanges do it, so that a short call costs nothing.
pub struct Heartbeat {
    pub(super) number: usize,
    pub(super) every_ms: u32,
}

impl Heartbeat {
    /// Creates a heartbeat that calls `callback` about every `every_ms`.
    pub fn new(every_ms: u32, callback: impl Fn() + 'static) -> Heartbeat {
        ON_HEARTBEAT.with(|function| on_heartbeat(function.as_ref().unchecked_ref()));
        Heartbeat {
            number: HEARTBEATS.with_borrow_mut(|heartbeats| heartbeats.insert(Rc::new(callback))),
            every_ms,
        }
    }

    /// Calls the function now, for times in which no exchange is in flight.
    pub fn beat(&self) {
        beat(self.number);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        let beat = HEARTBEATS.with_borrow_mut(|heartbeats| heartbeats.try_remove(self.number));
        drop(beat);
    }
}

/// An exchange in flight.
pub struct Flight {
    sent: JsFlight,
    hooks: Option<Hooks>,
    ticket: Ticket,
}

/// Sends a request. The body is a buffer with JSON, or [`Upload::with`](super::upload::Upload::with). `stream` reads a response that is passed on as it comes, and is with `true` if no stream was requested;
/// `None` if the response is to be collected. If it
/// `drains`, the response is read on for its usage when the client disconnects, for a while.
#[expect(clippy::too_many_arguments, reason = "each is a fact of the exchange")]
pub fn begin(
    client: &web_sys::AbortSignal,
    target: Target<'_>,
    body: &JsValue,
    limits: &Limits,
    attempt: AttemptLimits,
    stream: Option<(Box<dyn ResponseStream>, bool)>,
    drains: bool,
    heartbeat: Option<&Heartbeat>,
) -> Flight {
    let (url, headers, binding) = match target {
        Target::Http(url, headers) => (url, headers, JsValue::UNDEFINED),
        Target::Binding(binding, model) => (model, Vec::new(), binding),
    };
    let hooks = stream.map(|(stream, is_whole)| Hooks::new(stream, is_whole));
    let ticket = Ticket::new();
    let AttemptLimits { first_byte_ms, stall_ms, total_ms } = attempt;
    let sent = send(
        client,
        url,
        &lines(&headers),
        &binding,
        body,
        &limits.0,
        drains,
        first_byte_ms.into(),
        stall_ms.into(),
        total_ms.into(),
        hooks.as_ref().map(|hooks| &hooks.object),
        heartbeat.map(|heartbeat| heartbeat.number),
        heartbeat.map_or(0, |heartbeat| heartbeat.every_ms).into(),
        ticket.number(),
    );
    Flight { sent, hooks, ticket }
}

/// Sends a request without a body, whose whole response must arrive within `total_ms`.
pub fn ask(
    client: &web_sys::AbortSignal,
    method: &str,
    url: &str,
    headers: &[(&str, String)],
    limits: &Limits,
    total_ms: u32,
) -> Flight {
    let ticket = Ticket::new();
    let sent =
        send_without_body(client, method, url, &lines(headers), &limits.0, total_ms.into(), ticket.number());
    Flight { sent, hooks: None, ticket }
}

/// The lines of headers: name and value in turn.
fn lines(headers: &[(&str, String)]) -> String {
    headers.iter().flat_map(|(name, value)| [name, "\n", value, "\n"]).collect()
}

impl Flight {
    /// Waits for the whole response, or for the first content of an event stream.
    pub async fn settle(self) -> Result<UpstreamResponse, Interrupted> {
        let Flight { sent, hooks, ticket } = self;
        let settled = task::settled(sent.settled()).await;
        let exchange: JsValue = settled.map_err(|error| Interrupted {
            why: Interruption::Unreachable,
            detail: format!("{error:?}"),
            early: None,
            headers: None,
            unsent: false,
        })?;
        let exchange: JsExchange = exchange.unchecked_into();
        let early = hooks.as_ref().and_then(Hooks::early_end);
        let failure = exchange.failure();
        let (late, unsent) = (failure == "late", failure == "unsent");
        let why = match failure.as_str() {
            "" | "late" if early.is_none() => None,
            "client" | "late" | "unsent" => Some(Interruption::ClientLeft),
            "timeout" => Some(Interruption::Timeout),
            "" | "broken" | "ended" => Some(Interruption::Broken),
            "too_large" => Some(Interruption::TooLarge),
            "overloaded" => Some(Interruption::Overloaded),
            _ => Some(Interruption::Unreachable),
        };
        match (why, exchange.headers()) {
            (None, Some(headers)) => {
                let status = exchange.status();
                let body = match hooks {
                    Some(hooks) if !exchange.source().is_undefined() => {
                        UpstreamBody::Stream(EventStream { exchange, hooks })
                    }
                    _ => UpstreamBody::Whole(exchange.body()),
                };
                Ok(UpstreamResponse { status, body, ticket, late, headers })
            }
            (why, headers) => {
                // Nothing reads the rest of a stream that ended before its first content.
                sent.cancel();
                let why = why.unwrap_or(Interruption::Unreachable);
                Err(Interrupted { why, detail: exchange.detail(), early, headers, unsent })
            }
        }
    }

    /// Cancels the exchange.
    pub fn cancel(self) {
        self.sent.cancel();
    }
}

/// Waits until one of several exchanges has settled, and returns its index; `None` if none has within `ms`.
pub async fn first_of(flights: impl Iterator<Item = &Flight>, ms: u32) -> Option<usize> {
    let list: js_sys::Array = flights.map(|flight| JsValue::from(&flight.sent)).collect();
    let which = task::settled(first(&list, ms.into())).await.ok()?.as_f64()?;
    #[expect(clippy::cast_possible_truncation, reason = "an index of the list, or -1")]
    usize::try_from(which as i64).ok()
}

/// Waits, unless the client disconnects. Returns true if it is still connected.
pub async fn wait(client: &web_sys::AbortSignal, ms: u32) -> bool {
    task::settled(pause(client, ms.into())).await.is_ok_and(|stayed| stayed.is_truthy())
}

pub async fn sleep(ms: u32) {
    // This fails only if the request is over, and the waiting task with it.
    let _ = task::settled(timer(ms.into())).await;
}

/// Relays an event stream. Returns the stream for the client, which gets the `ping` after each `ping_ms` without an
/// event. When the stream has ended, in whatever way, calls `finished` with a flag that is true if the client stayed
/// connected.
pub fn relay_stream(
    context: &Context,
    EventStream { exchange, hooks }: EventStream,
    ping: &str,
    ping_ms: u32,
    finished: impl AsyncFnOnce(&dyn ResponseStream, bool) + 'static,
) -> Result<web_sys::ReadableStream, JsValue> {
    let relayed = relay(&exchange, ping, ping_ms.into())?;
    let promise = relayed.finished();
    task::after_response(context, async move {
        let stayed = task::settled(promise).await.is_ok_and(|stayed| stayed.is_truthy());
        // Nothing more is pushed. Dropping these functions leaves one owner of the stream.
        let Hooks { stream, overload: _, object, _push: push, _state: state, _end: end } = hooks;
        drop((object, push, state, end));
        if let Some(stream) = Rc::into_inner(stream) {
            finished(&*stream.into_inner(), stayed).await;
        }
    });
    Ok(relayed.readable())
}
