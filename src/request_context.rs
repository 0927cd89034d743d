//! The HTTP request that is being served, as every handler reads it, and the completion of its response.

use std::borrow::Cow;

use gatehouse_core::config::{BaseUrl, Config};
use gatehouse_core::envelope::Surface;
use gatehouse_core::error::{Code, Error};
use gatehouse_core::format::versions::VERSION;
use gatehouse_core::framing::multipart::is_form_type;
use gatehouse_core::onboarding::{MAX_BODY_BYTES, client_address};
use gatehouse_core::operation::Format;
use gatehouse_core::request_id;
use gatehouse_core::route::response::is_json_type;
use gatehouse_core::time::DAY_MS;
use gatehouse_core::url;
use worker::wasm_bindgen::JsValue;
use worker::worker_sys::Context;
use worker::{Env, web_sys};

use crate::platform::request::{BodyError, BodyLimits, Head, RequestBody};
use crate::platform::response::{Body, Response};
use crate::platform::upload::Upload;
use crate::platform::upstream::Heartbeat;
use crate::platform::{clock, log, memory, random, request, upload, variables};

/// Response headers that scripts of other origins may read. Sent only to requests with an `Origin`, which browsers set.
const EXPOSED_HEADERS: &str = "x-request-id, request-id, x-gateway-token-count, x-gateway-provider, x-gateway-model, \
     x-gateway-attempts, x-gateway-route, x-gateway-dropped-params, x-gateway-successor, sunset, x-degraded-mode, \
     x-gateway-error-source, x-gateway-receipt, x-gateway-cost-usd, x-gateway-tokens, x-ratelimit-limit-requests, \
     x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, \
     x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, ratelimit, ratelimit-policy, retry-after, \
     retry-after-ms, x-should-retry, server-timing, www-authenticate, allow, link, x-total-count";

/// The longest time that the body of a request about keys may take, in milliseconds.
const SMALL_BODY_MS: u32 = 30_000;

/// One request and its state.
pub struct RequestContext<'a> {
    /// The request.
    pub request: &'a web_sys::Request,
    /// The runtime's `ExecutionContext`.
    pub execution: Context,
    /// The Worker's bindings.
    pub env: Env,
    /// The request id, from the request or generated.
    pub id: String,
    /// The time of arrival, in milliseconds since 1970.
    pub began_ms: u64,
    head: Head<'a>,
}

/// The error for a query parameter that occurs several times, so that it is unclear which value counts.
pub struct Repeated;

/// The default and the largest number of days of usage in a response.
const DEFAULT_DAYS: u32 = 30;
const MAX_DAYS: u32 = 365;

/// The last `days` days including today: the first and the last of them, as days since 1970 (UTC).
pub fn last_days(days: u32) -> [u32; 2] {
    let today = u32::try_from(clock::now_ms() / DAY_MS).unwrap_or(u32::MAX);
    [today.saturating_sub(days - 1), today]
}

impl<'a> RequestContext<'a> {
    /// Reads the head of the request and chooses the request id.
    pub fn new(request: &'a web_sys::Request, env: Env, execution: Context) -> RequestContext<'a> {
        let began_ms = clock::now_ms();
        let head = Head::read(request);
        let id = match head.header("x-request-id") {
            Some(id) if request_id::is_valid(&id) => id.into_owned(),
            _ => request_id::generate(began_ms, random::id_bytes()),
        };
        RequestContext { request, execution, env, id, began_ms, head }
    }

    pub fn method(&self) -> &str {
        self.head.method()
    }

    /// The path, without query.
    pub fn path(&self) -> &str {
        url::path(self.head.url())
    }

    /// The API surface, which determines the form of errors.
    pub fn surface(&self) -> Surface {
        if self.is_of_anthropic() { Surface::Anthropic } else { Surface::of_path(self.path()) }
    }

    /// Returns `true` if a client of Anthropic's API asks for models, whose path is the same in OpenAI's.
    pub fn is_of_anthropic(&self) -> bool {
        self.path().starts_with("/v1/models") && self.header(VERSION).is_some()
    }

    pub fn header(&self, name: &str) -> Option<String> {
        self.head.header(name).map(Cow::into_owned)
    }

    /// The client that limits count by: its address, or the network of the address.
    pub fn client(&self) -> String {
        client_address::client(self.header("cf-connecting-ip").as_deref())
    }

    /// An error with the request id in its message, under `/v1`: the messages of the other paths follow other APIs.
    pub fn with_id(&self, error: Error) -> Error {
        if self.path().starts_with("/v1/") { error.with_request_id(&self.id) } else { error }
    }

    /// Milliseconds since the request began.
    pub fn elapsed_ms(&self) -> u64 {
        clock::now_ms().saturating_sub(self.began_ms)
    }

    /// Adds the headers of every response and returns the runtime's response.
    pub fn finish(self, mut response: Response) -> JsValue {
        let total = format!("total;dur={}", self.elapsed_ms());
        match response.headers.iter_mut().find(|(name, _)| *name == "server-timing") {
            Some((_, parts)) => *parts = format!("{parts}, {total}").into(),
            None => response.headers.push(("server-timing", total.into())),
        }
        if self.head.method() == "HEAD" {
            response.body = Body::Empty;
        }
        if self.head.header("origin").is_some() {
            response.headers.push(("access-control-allow-origin", "*".into()));
            response.headers.push(("access-control-expose-headers", EXPOSED_HEADERS.into()));
        }
        let surface = self.surface();
        if surface == Surface::Anthropic {
            response.headers.push(("request-id", self.id.clone().into()));
        }
        response.headers.push(("x-request-id", self.id.clone().into()));
        response.into_response().unwrap_or_else(|error| {
            let message = variables::message(&error);
            log::line(&log::Event::Response { error: &message });
            let error = Error::new(Code::InternalError, "The gateway could not create its response");
            Response::error(&error, surface, &self.id).into_response().unwrap_or_default()
        })
    }

    /// The first query parameter with this name, decoded.
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        url::query(self.head.url(), name).next()
    }

    /// As in [`url::query_of`].
    pub fn query_of(&self, names: &[&str]) -> String {
        url::query_of(self.head.url(), names)
    }

    /// A query parameter that may occur once, decoded.
    pub fn query_once(&self, name: &str) -> Result<Option<Cow<'_, str>>, Repeated> {
        let mut values = url::query(self.head.url(), name);
        let value = values.next();
        if values.next().is_none() { Ok(value) } else { Err(Repeated) }
    }

    /// A query parameter that is a whole number from 1 to `most`.
    pub fn query_number(&self, name: &'static str, most: u32) -> Result<Option<u32>, Error> {
        let given = match self.query_once(name) {
            Ok(None) => return Ok(None),
            Ok(Some(text)) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        };
        match given {
            Some(number) if (1..=most).contains(&number) => Ok(given),
            _ => {
                let message = format!("'{name}' must be one whole number from 1 to {most}");
                Err(Error::new(Code::InvalidValue, message).with_param(name))
            }
        }
    }

    /// A query parameter that names one of several choices.
    pub fn query_choice<T: Copy>(
        &self,
        name: &'static str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, Error> {
        let chosen = match self.query_once(name) {
            Ok(None) => return Ok(None),
            Ok(Some(given)) => choices.iter().find(|(choice, _)| *choice == given),
            Err(Repeated) => None,
        };
        chosen.map(|(_, choice)| Some(*choice)).ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(choice, _)| *choice).collect();
            let message = format!("'{name}' must be one of: {}", names.join(", "));
            Error::new(Code::InvalidValue, message).with_param(name)
        })
    }

    /// The query parameter `days`.
    pub fn query_days(&self) -> Result<u32, Error> {
        Ok(self.query_number("days", MAX_DAYS)?.unwrap_or(DEFAULT_DAYS))
    }

    /// The URL of a claim link: at the configured URL of this gateway, or at the origin that the operator used. The token
    /// is in the fragment, which browsers do not send, so that no log of requests has it.
    pub fn claim_url(&self, config: &Config, token: &str) -> String {
        let base = config.access.public_url.as_ref();
        let base = base.map_or_else(|| url::origin(self.head.url()), BaseUrl::as_str);
        format!("{base}/access/claim#{token}")
    }

    /// Returns `true` if a page of another host sent the request, as browsers state. `Sec-Fetch-Site` decides, which no page
    /// can set: the `Origin` of a form on the gateway's own pages is `null`, because of their referrer policy. Older browsers
    /// send `Origin` alone; the gateway's own host is then the one that was called or that of its configured URL, and behind
    /// a proxy with TLS the schemes differ.
    pub fn is_of_other_origin(&self, config: &Config) -> bool {
        if let Some(site) = self.header("sec-fetch-site") {
            return site == "cross-site" || site == "same-site";
        }
        let Some(sent) = self.header("origin") else { return false };
        let own = [Some(self.head.url()), config.access.public_url.as_ref().map(BaseUrl::as_str)];
        !own.into_iter().flatten().any(|own| url::host(own).eq_ignore_ascii_case(url::host(&sent)))
    }

    /// The declared size of the body, in bytes.
    pub fn declared_size(&self) -> Option<u64> {
        self.head.header("content-length")?.parse().ok()
    }

    /// The request body. `heartbeat` beats while a large one arrives.
    pub async fn body(
        &self,
        limits: BodyLimits,
        heartbeat: Option<&Heartbeat>,
    ) -> Result<RequestBody, Error> {
        self.require_plain()?;
        let read = request::body(self.request, self.declared_size(), limits, heartbeat).await;
        read.map_err(|error| unread(&error, limits))
    }

    /// The request body as an upload, of which `take` gets all bytes.
    pub async fn upload(
        &self,
        content_type: &str,
        limits: BodyLimits,
        heartbeat: Option<&Heartbeat>,
        take: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<Upload, Error> {
        self.require_plain()?;
        let declared = self.declared_size();
        let read = upload::read(self.request, content_type, declared, limits, heartbeat, take).await;
        read.map_err(|error| unread(&error, limits))?
    }

    /// The body of a request about keys.
    pub async fn small_body(&self) -> Result<Vec<u8>, Error> {
        let limits = BodyLimits { bytes: MAX_BODY_BYTES, ms: SMALL_BODY_MS };
        Ok(self.body(limits, None).await?.bytes)
    }

    /// Rejects a body with a content encoding: nothing bounds its size once it is decoded.
    fn require_plain(&self) -> Result<(), Error> {
        let Some(given) = self.header("content-encoding") else { return Ok(()) };
        let is_plain = |coding: &str| coding.is_empty() || coding.eq_ignore_ascii_case("identity");
        if given.split(',').map(str::trim).all(is_plain) {
            return Ok(());
        }
        let shown: String = given.chars().take(100).collect();
        let message =
            format!("Unsupported content encoding '{shown}': send the body without 'Content-Encoding'");
        Err(Error::new(Code::UnsupportedEncoding, message).with_param("content-encoding"))
    }

    /// True if the body is an HTML form.
    pub fn sends_form(&self) -> bool {
        let given = self.header("content-type").unwrap_or_default();
        let essence = given.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    }

    /// Rejects a content type that an inference endpoint does not accept. Returns that of a form; `None` for JSON.
    pub fn check_type(&self, format: Format) -> Result<Option<String>, Error> {
        let given = self.header("content-type").unwrap_or_default();
        if format.takes_form() && is_form_type(&given) {
            return Ok(Some(given));
        }
        if format.takes_only_form() {
            return Err(unsupported_type(&given, "'Content-Type: multipart/form-data' with its boundary"));
        }
        self.require_json().map(|()| None)
    }

    /// Rejects a content type other than JSON. Like OpenAI's API, accepts a body without a content type.
    pub fn require_json(&self) -> Result<(), Error> {
        match self.header("content-type") {
            Some(given) if !given.trim().is_empty() && !is_json_type(&given) => {
                Err(unsupported_type(&given, "'Content-Type: application/json'"))
            }
            _ => Ok(()),
        }
    }

    /// True if the client accepts HTML, as browsers do.
    pub fn wants_page(&self) -> bool {
        self.header("accept").is_some_and(|accept| accept.contains("text/html"))
    }
}

/// The error for a content type that is not accepted.
fn unsupported_type(given: &str, accepted: &str) -> Error {
    let shown: String = given.chars().take(100).collect();
    let message = format!("Unsupported content type '{shown}': send the body as {accepted}");
    Error::new(Code::UnsupportedContentType, message).with_param("content-type")
}

/// The error for a body that could not be read.
fn unread(error: &BodyError, limits: BodyLimits) -> Error {
    match error {
        BodyError::TooLarge => Error::new(
            Code::BodyTooLarge,
            format!("The request body is larger than the limit of {}", size(limits.bytes)),
        ),
        BodyError::Gone => {
            Error::new(Code::ClientClosedRequest, "The client disconnected before its request was complete")
        }
        BodyError::Late => Error::new(
            Code::RequestTimeout,
            format!("The request body did not arrive within {} ms (timeouts.body_ms)", limits.ms),
        ),
        BodyError::Overloaded => memory::overloaded(),
    }
}

/// A number of bytes, in the largest unit of which it is a multiple.
fn size(bytes: u32) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

/// Milliseconds as whole seconds, rounded up.
pub fn seconds(wait_ms: u64) -> u32 {
    u32::try_from(wait_ms.div_ceil(1000)).unwrap_or(u32::MAX)
}
