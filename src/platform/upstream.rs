//! Exchanges with upstreams. The waiting is done in `upstream.js`, which says why; here is its typed face.

use std::cell::RefCell;
use std::rc::Rc;

use gatehouse_core::config::Config;
use gatehouse_core::error::Error;
use gatehouse_core::format::stream::{Ending, Relayed, ResponseStream, StreamState};
use gatehouse_core::format::upstream_error::MAX_BODY as MAX_ERROR_BYTES;
use gatehouse_core::route::driver::AttemptLimits;
use gatehouse_core::route::response::Interruption;
use worker::wasm_bindgen::{self, JsCast, JsValue, prelude::Closure, prelude::wasm_bindgen};
use worker::worker_sys::Context;
use worker::{js_sys, web_sys};

use super::slab::Slab;
use super::task;

#[wasm_bindgen(module = "/src/platform/upstream.js")]
extern "C" {
    fn send(
        client: &web_sys::AbortSignal,
        url: &str,
        header: Option<&str>,
        credential: Option<&str>,
        binding: &JsValue,
        body: &js_sys::Uint8Array,
        limits: &js_sys::Object,
        first_byte_ms: f64,
        stall_ms: f64,
        total_ms: f64,
        hooks: Option<&js_sys::Object>,
        heartbeat: Option<u32>,
        heartbeat_ms: f64,
    ) -> JsFlight;

    #[wasm_bindgen(js_name = onHeartbeat)]
    fn on_heartbeat(callback: &js_sys::Function);

    fn first(flights: &js_sys::Array, ms: f64) -> js_sys::Promise;

    fn pause(client: &web_sys::AbortSignal, ms: f64) -> js_sys::Promise;

    #[wasm_bindgen(js_name = sleep)]
    fn timer(ms: f64) -> js_sys::Promise;

    #[wasm_bindgen(catch)]
    fn relay(exchange: &JsExchange, ping_ms: f64) -> Result<JsRelay, JsValue>;

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

/// An exchange that got no response.
pub struct Interrupted {
    /// Why.
    pub why: Interruption,
    /// The runtime's message, for the log.
    pub detail: String,
    /// The error that a stream ended with before its first content.
    pub early: Option<Error>,
}

/// An upstream's response.
pub struct UpstreamResponse {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: UpstreamBody,
    headers: web_sys::Headers,
}

/// The body of a response.
pub enum UpstreamBody {
    /// All of it; `None` when it was an error's body and larger than [`MAX_ERROR_BYTES`].
    Whole(Option<js_sys::Uint8Array>),
    /// An event stream that has begun, to be given to [`relay_stream`].
    Stream(EventStream),
}

/// An event stream that has begun.
pub struct EventStream {
    exchange: JsExchange,
    hooks: Hooks,
}

impl UpstreamResponse {
    /// One of its headers.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).ok().flatten()
    }
}

/// Where a request goes.
pub enum Target<'a> {
    /// Over HTTP: the address, and the header with the credential.
    Http(&'a str, Option<(&'a str, String)>),
    /// Through the binding `AI`: the model.
    Binding(JsValue, &'a str),
}

/// The limits that are the same for every exchange, as `upstream.js` reads them: made once for each isolate.
pub struct Limits(js_sys::Object);

impl Limits {
    /// Those of the configuration.
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

fn object(members: &[(&str, JsValue)]) -> js_sys::Object {
    let object = js_sys::Object::new();
    for (name, value) in members {
        // Setting a member of a plain object cannot fail.
        let _ = js_sys::Reflect::set(&object, &JsValue::from_str(name), value);
    }
    object
}

/// What decides about a stream, as functions that `upstream.js` calls.
struct Hooks {
    stream: Rc<RefCell<Box<dyn ResponseStream>>>,
    object: js_sys::Object,
    _push: Closure<dyn FnMut(js_sys::Uint8Array) -> JsValue>,
    _state: Closure<dyn FnMut() -> JsValue>,
    _end: Closure<dyn FnMut(String) -> js_sys::Uint8Array>,
}

impl Hooks {
    fn new(stream: Box<dyn ResponseStream>) -> Hooks {
        let stream = Rc::new(RefCell::new(stream));
        let push = {
            let stream = Rc::clone(&stream);
            Closure::new(move |chunk: js_sys::Uint8Array| {
                let mut stream = stream.borrow_mut();
                match stream.push(&chunk.to_vec()) {
                    Relayed::AsIs if !matches!(stream.state(), StreamState::Over(_)) => JsValue::UNDEFINED,
                    Relayed::AsIs => chunk.into(),
                    Relayed::Instead(bytes) => js_sys::Uint8Array::from(bytes.as_slice()).into(),
                }
            })
        };
        let state = {
            let stream = Rc::clone(&stream);
            Closure::new(move || {
                JsValue::from_str(match stream.borrow().state() {
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
                js_sys::Uint8Array::from(stream.borrow_mut().end(ending).as_slice())
            })
        };
        let function = |closure: &JsValue| closure.clone();
        let members = [
            ("push", function(push.as_ref())),
            ("state", function(state.as_ref())),
            ("end", function(end.as_ref())),
        ];
        Hooks { stream, object: object(&members), _push: push, _state: state, _end: end }
    }
}

type Beat = Rc<dyn Fn()>;

thread_local! {
    static BEATS: RefCell<Slab<Beat>> = const { RefCell::new(Slab::new()) };
    static ON_HEARTBEAT: Closure<dyn Fn(u32)> = Closure::new(beat);
}

fn beat(number: u32) {
    let tell = BEATS.with_borrow(|beats| beats.get(number).cloned());
    if let Some(tell) = tell {
        tell();
    }
}

/// Lets somebody hear that a call is under way, while its exchanges are; for as long as this is there. The timers of its
/// exchanges do it, so that a call that is soon over pays nothing for it.
pub struct Heartbeat {
    number: u32,
    every_ms: u32,
}

impl Heartbeat {
    /// One that tells about as often as this, in milliseconds.
    pub fn new(every_ms: u32, tell: impl Fn() + 'static) -> Heartbeat {
        ON_HEARTBEAT.with(|callback| on_heartbeat(callback.as_ref().unchecked_ref()));
        Heartbeat { number: BEATS.with_borrow_mut(|beats| beats.insert(Rc::new(tell))), every_ms }
    }

    /// Tells now, for times in which no exchange is under way.
    pub fn beat(&self) {
        beat(self.number);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        let beat = BEATS.with_borrow_mut(|beats| beats.free(self.number));
        drop(beat);
    }
}

/// An exchange that is under way.
pub struct Flight {
    flight: JsFlight,
    hooks: Option<Hooks>,
}

/// Sends a request. `stream` is what an event stream is read with; `None` where none was asked for.
pub fn begin(
    client: &web_sys::AbortSignal,
    target: Target<'_>,
    body: &js_sys::Uint8Array,
    limits: &Limits,
    attempt: AttemptLimits,
    stream: Option<Box<dyn ResponseStream>>,
    heartbeat: Option<&Heartbeat>,
) -> Flight {
    let (url, credential, binding) = match target {
        Target::Http(url, credential) => (url, credential, JsValue::UNDEFINED),
        Target::Binding(binding, model) => (model, None, binding),
    };
    let (header, credential) = credential.unzip();
    let hooks = stream.map(Hooks::new);
    let AttemptLimits { first_byte_ms, stall_ms, total_ms } = attempt;
    let flight = send(
        client,
        url,
        header,
        credential.as_deref(),
        &binding,
        body,
        &limits.0,
        first_byte_ms.into(),
        stall_ms.into(),
        total_ms.into(),
        hooks.as_ref().map(|hooks| &hooks.object),
        heartbeat.map(|heartbeat| heartbeat.number),
        heartbeat.map_or(0, |heartbeat| heartbeat.every_ms).into(),
    );
    Flight { flight, hooks }
}

impl Flight {
    /// Waits for the response: for all of it, or for the first content of an event stream.
    pub async fn settle(self) -> Result<UpstreamResponse, Interrupted> {
        let Flight { flight, hooks } = self;
        let settled = task::settled(flight.settled()).await;
        let exchange: JsValue = settled.map_err(|error| Interrupted {
            why: Interruption::Unreachable,
            detail: format!("{error:?}"),
            early: None,
        })?;
        let exchange: JsExchange = exchange.unchecked_into();
        let early = hooks.as_ref().and_then(|hooks| hooks.stream.borrow().early_end());
        let why = match exchange.failure().as_str() {
            "" if early.is_none() => None,
            "client" => Some(Interruption::ClientLeft),
            "timeout" => Some(Interruption::Timeout),
            "" | "broken" | "ended" => Some(Interruption::Broken),
            "too_large" => Some(Interruption::TooLarge),
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
                Ok(UpstreamResponse { status, body, headers })
            }
            (why, _) => {
                // Of a stream that is over before it has begun, nobody reads the rest.
                flight.cancel();
                let why = why.unwrap_or(Interruption::Unreachable);
                Err(Interrupted { why, detail: exchange.detail(), early })
            }
        }
    }

    /// Lets the upstream go: another one was faster.
    pub fn cancel(self) {
        self.flight.cancel();
    }
}

/// Waits until one of several exchanges has settled, and says which; `None` if none has after some time.
pub async fn first_of(flights: impl Iterator<Item = &Flight>, ms: u32) -> Option<usize> {
    let list: js_sys::Array = flights.map(|flight| JsValue::from(&flight.flight)).collect();
    let which = task::settled(first(&list, ms.into())).await.ok()?.as_f64()?;
    #[expect(clippy::cast_possible_truncation, reason = "an index of the list, or -1")]
    usize::try_from(which as i64).ok()
}

/// Waits, unless the client leaves; says whether it is still there.
pub async fn wait(client: &web_sys::AbortSignal, ms: u32) -> bool {
    task::settled(pause(client, ms.into())).await.is_ok_and(|stayed| stayed.is_truthy())
}

/// Waits.
pub async fn sleep(ms: u32) {
    // It fails only where the request is over, and with it whoever waits.
    let _ = task::settled(timer(ms.into())).await;
}

/// Relays an event stream: gives what the client reads, with a comment whenever `ping_ms` passed without an event, and calls
/// `finished` when it has ended, however it ended, with whether the client stayed.
pub fn relay_stream(
    context: &Context,
    EventStream { exchange, hooks }: EventStream,
    ping_ms: u32,
    finished: impl AsyncFnOnce(&dyn ResponseStream, bool) + 'static,
) -> Result<web_sys::ReadableStream, JsValue> {
    let relayed = relay(&exchange, ping_ms.into())?;
    let promise = relayed.finished();
    task::after_response(context, async move {
        let stayed = task::settled(promise).await.is_ok_and(|stayed| stayed.is_truthy());
        // Nothing more is pushed: the functions that the stream was pushed by can go, and then it is nobody else's.
        let Hooks { stream, object, _push: push, _state: state, _end: end } = hooks;
        drop((object, push, state, end));
        if let Some(stream) = Rc::into_inner(stream) {
            finished(&*stream.into_inner(), stayed).await;
        }
    });
    Ok(relayed.readable())
}
