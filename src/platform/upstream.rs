//! Exchanges with upstreams. The waiting is done in `upstream.js`, which says why; here is its typed face.

use std::cell::RefCell;
use std::rc::Rc;

use gatehouse_core::config::Config;
use gatehouse_core::key::Secret;
use gatehouse_core::protocol::chat_stream::{ChatStream, Ending, Relayed};
use gatehouse_core::protocol::upstream_error::MAX_BODY as MAX_ERROR_BYTES;
use worker::wasm_bindgen::{self, JsCast, JsValue, prelude::Closure, prelude::wasm_bindgen};
use worker::wasm_bindgen_futures::JsFuture;
use worker::{Context, js_sys, web_sys};

#[wasm_bindgen(module = "/src/platform/upstream.js")]
extern "C" {
    fn send(
        client: &web_sys::AbortSignal,
        url: &str,
        authorization: Option<&str>,
        body: &js_sys::Uint8Array,
        stream: bool,
        first_byte_ms: f64,
        idle_ms: f64,
        max_bytes: f64,
        max_error_bytes: f64,
    ) -> js_sys::Promise;

    #[wasm_bindgen(catch)]
    fn relay(
        exchange: &JsExchange,
        ping_ms: f64,
        push: &Closure<dyn FnMut(js_sys::Uint8Array) -> JsValue>,
        is_over: &Closure<dyn FnMut() -> bool>,
        end: &Closure<dyn FnMut(String) -> js_sys::Uint8Array>,
    ) -> Result<JsRelay, JsValue>;

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
    fn response(this: &JsExchange) -> Option<web_sys::Response>;

    type JsRelay;
    #[wasm_bindgen(method, getter)]
    fn readable(this: &JsRelay) -> web_sys::ReadableStream;
    #[wasm_bindgen(method, getter)]
    fn finished(this: &JsRelay) -> js_sys::Promise;
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The client left, and the upstream was cancelled.
    ClientLeft,
    /// A time limit.
    Timeout,
    /// No connection, or closed before the status line.
    Unreachable,
    /// The connection broke in the middle of the answer.
    Broken,
    /// The answer is larger than the limit.
    TooLarge,
}

/// An upstream's answer.
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: AnswerBody,
    response: web_sys::Response,
}

/// The body of an answer.
pub enum AnswerBody {
    /// All of it; `None` when it was an error's body and larger than [`MAX_ERROR_BYTES`].
    Whole(Option<js_sys::Uint8Array>),
    /// An event stream, to be given to [`relay_stream`].
    Stream(EventStream),
}

/// An event stream that has not been read.
pub struct EventStream(JsExchange);

impl Answer {
    /// One of its headers.
    pub fn header(&self, name: &str) -> Option<String> {
        self.response.headers().get(name).ok().flatten()
    }
}

/// What to send.
pub struct Request<'a> {
    /// Where to.
    pub url: &'a str,
    /// What goes into `Authorization: Bearer`.
    pub key: Option<&'a Secret>,
    /// The body.
    pub body: &'a js_sys::Uint8Array,
    /// Whether the answer is to be an event stream.
    pub stream: bool,
}

/// Sends a request and waits for the answer: for all of it, or for the head of an event stream. On failure, the second
/// member is the runtime's words, for the log.
pub async fn exchange(
    client: &web_sys::AbortSignal,
    config: &Config,
    request: Request<'_>,
) -> Result<Answer, (Failure, String)> {
    let authorization = request.key.map(|key| format!("Bearer {}", key.expose()));
    let promise = send(
        client,
        request.url,
        authorization.as_deref(),
        request.body,
        request.stream,
        config.timeouts.first_byte_ms.into(),
        config.timeouts.idle_ms.into(),
        config.answers.max_bytes.into(),
        u32::try_from(MAX_ERROR_BYTES).unwrap_or(u32::MAX).into(),
    );
    let exchange: JsValue =
        JsFuture::from(promise).await.map_err(|error| (Failure::Unreachable, format!("{error:?}")))?;
    let exchange: JsExchange = exchange.unchecked_into();
    let failure = match exchange.failure().as_str() {
        "" => None,
        "client" => Some(Failure::ClientLeft),
        "timeout" => Some(Failure::Timeout),
        "broken" => Some(Failure::Broken),
        "too_large" => Some(Failure::TooLarge),
        _ => Some(Failure::Unreachable),
    };
    match (failure, exchange.response()) {
        (None, Some(response)) => {
            let status = exchange.status();
            let body = match exchange.body() {
                None if request.stream && status == 200 => AnswerBody::Stream(EventStream(exchange)),
                whole => AnswerBody::Whole(whole),
            };
            Ok(Answer { status, body, response })
        }
        (failure, _) => Err((failure.unwrap_or(Failure::Unreachable), exchange.detail())),
    }
}

/// Relays an event stream through a [`ChatStream`]: gives what the client reads, with a comment whenever `ping_ms` passed
/// without an event, and calls `finished` when it has ended,
/// however it ended, with whether the client stayed.
pub fn relay_stream(
    context: &Context,
    EventStream(exchange): EventStream,
    ping_ms: u32,
    stream: ChatStream,
    finished: impl FnOnce(&ChatStream, bool) + 'static,
) -> Result<web_sys::ReadableStream, JsValue> {
    let stream = Rc::new(RefCell::new(stream));
    let push = {
        let stream = Rc::clone(&stream);
        Closure::new(move |chunk: js_sys::Uint8Array| {
            let mut stream = stream.borrow_mut();
            match stream.push(&chunk.to_vec()) {
                Relayed::AsIs if stream.outcome().is_none() => JsValue::UNDEFINED,
                Relayed::AsIs => chunk.into(),
                Relayed::Instead(bytes) => js_sys::Uint8Array::from(bytes.as_slice()).into(),
            }
        })
    };
    let is_over = {
        let stream = Rc::clone(&stream);
        Closure::new(move || stream.borrow().outcome().is_some())
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
    let relayed = relay(&exchange, ping_ms.into(), &push, &is_over, &end)?;
    let promise = relayed.finished();
    context.wait_until(async move {
        let stayed = JsFuture::from(promise).await.is_ok_and(|stayed| stayed.is_truthy());
        finished(&stream.borrow(), stayed);
        drop((push, is_over, end));
    });
    Ok(relayed.readable())
}
