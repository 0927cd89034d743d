//! The HTTP request that is being served: what every handler reads of it, and how its response is finished.

use std::borrow::Cow;

use gatehouse_core::envelope::Surface;
use gatehouse_core::error::{Code, Error};
use gatehouse_core::json_text;
use gatehouse_core::onboarding::{MAX_BODY_BYTES, client_address};
use gatehouse_core::request_id;
use gatehouse_core::route::response::is_json_type;
use gatehouse_core::time::DAY_MS;
use worker::js_sys::Uint8Array;
use worker::wasm_bindgen::JsValue;
use worker::worker_sys::Context;
use worker::{Env, web_sys};

use crate::platform::request::{BodyError, Head};
use crate::platform::response::{Body, Response};
use crate::platform::{clock, log, random, request, variables};

/// Headers of replies that scripts of other origins may read. Only they are told: it is the longest header of all.
const EXPOSED_HEADERS: &str = "x-request-id, x-gateway-provider, x-gateway-model, x-gateway-attempts, x-gateway-route, \
     x-gateway-dropped-params, x-degraded-mode, x-gateway-error-source, x-gateway-receipt, x-gateway-cost-usd, \
     x-gateway-tokens, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, \
     x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, ratelimit, ratelimit-policy, \
     retry-after, retry-after-ms, x-should-retry, server-timing, www-authenticate, allow";

/// One request, and what belongs to it alone.
pub struct RequestContext<'a> {
    /// The request.
    pub request: &'a web_sys::Request,
    /// The runtime's context of it.
    pub execution: Context,
    /// The Worker's bindings.
    pub env: Env,
    /// Its id.
    pub id: String,
    /// When it began, in milliseconds since 1970.
    pub began_ms: u64,
    head: Head<'a>,
}

/// A parameter stands in the query several times, so that it is unclear which one counts.
pub struct Repeated;

/// How many days usage is told of unless something else is asked for, and at most.
const USUAL_DAYS: u32 = 30;
const MOST_DAYS: u32 = 365;

/// The last days up to today, today included: the first and the last of them, as days since 1970 (UTC).
pub fn last_days(days: u32) -> [u32; 2] {
    let today = u32::try_from(clock::now_ms() / DAY_MS).unwrap_or(u32::MAX);
    [today.saturating_sub(days - 1), today]
}

impl<'a> RequestContext<'a> {
    /// Reads what every request has.
    pub fn new(request: &'a web_sys::Request, env: Env, execution: Context) -> RequestContext<'a> {
        let began_ms = clock::now_ms();
        let head = Head::read(request);
        let id = match head.header("x-request-id") {
            Some(id) if request_id::is_valid(&id) => id.into_owned(),
            _ => request_id::generate(began_ms, random::id_bytes()),
        };
        RequestContext { request, execution, env, id, began_ms, head }
    }

    /// The method.
    pub fn method(&self) -> &str {
        self.head.method()
    }

    /// The path, without query.
    pub fn path(&self) -> &str {
        request::path(self.head.url())
    }

    /// The shape of errors here.
    pub fn surface(&self) -> Surface {
        Surface::of_path(self.path())
    }

    /// A header of the request.
    pub fn header(&self, name: &str) -> Option<String> {
        self.head.header(name).map(Cow::into_owned)
    }

    /// Who counts as one client.
    pub fn client(&self) -> String {
        client_address::client(self.header("cf-connecting-ip").as_deref())
    }

    /// Milliseconds since the request began.
    pub fn elapsed_ms(&self) -> u64 {
        clock::now_ms().saturating_sub(self.began_ms)
    }

    /// Adds what every reply tells of its request, and gives the runtime's response.
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
            response.headers.push(("access-control-expose-headers", EXPOSED_HEADERS.into()));
        }
        let surface = self.surface();
        response.headers.push(("x-request-id", self.id.into()));
        response.into_response().unwrap_or_else(|error| {
            let words = variables::words(&error);
            log::line(json_text!({"event": "reply", "error": words}));
            let error = Error::new(Code::InternalError, "The gateway could not make its reply");
            Response::error(&error, surface).into_response().unwrap_or_default()
        })
    }

    /// A parameter of the query, decoded; the first of its name.
    pub fn query(&self, name: &str) -> Option<String> {
        request::query(self.head.url(), name)
    }

    /// A parameter of the query that may stand there once, decoded. The error says that it stands there several times.
    pub fn query_once(&self, name: &str) -> Result<Option<String>, Repeated> {
        let mut values = request::queries(self.head.url(), name);
        let value = values.next();
        if values.next().is_none() { Ok(value) } else { Err(Repeated) }
    }

    /// A parameter of the query that is a whole number from 1 on.
    pub fn query_number(&self, name: &'static str, most: u32) -> Result<Option<u32>, Error> {
        let given = match self.query_once(name) {
            Ok(None) => return Ok(None),
            Ok(Some(text)) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        };
        match given {
            Some(number) if (1..=most).contains(&number) => Ok(given),
            _ => {
                let words = format!("'{name}' must be one whole number from 1 to {most}");
                Err(Error::new(Code::InvalidValue, words).with_param(name))
            }
        }
    }

    /// How many days usage is asked for.
    pub fn query_days(&self) -> Result<u32, Error> {
        Ok(self.query_number("days", MOST_DAYS)?.unwrap_or(USUAL_DAYS))
    }

    /// Where a claim link leads: this gateway, as the operator reached it.
    pub fn claim_url(&self, token: &str) -> String {
        format!("{}/access/claim/{token}", request::origin(self.head.url()))
    }

    /// The body, at most `limit` bytes of it.
    pub async fn body(&self, limit: u32) -> Result<Uint8Array, Error> {
        request::body(self.request, limit).await.map_err(|error| match error {
            BodyError::TooLarge => Error::new(
                Code::BodyTooLarge,
                format!("The request body is larger than the limit of {limit} bytes"),
            ),
            BodyError::Gone => {
                Error::new(Code::ClientClosedRequest, "The client left before its request was complete")
            }
        })
    }

    /// The body of a request about keys.
    pub async fn small_body(&self) -> Result<Vec<u8>, Error> {
        Ok(self.body(MAX_BODY_BYTES).await?.to_vec())
    }

    /// OpenAI's API takes a body without a content type and refuses one that claims to be something else than JSON.
    pub fn require_json(&self) -> Result<(), Error> {
        match self.header("content-type") {
            Some(given) if !given.trim().is_empty() && !is_json_type(&given) => {
                let shown: String = given.chars().take(100).collect();
                Err(Error::new(
                    Code::UnsupportedContentType,
                    format!(
                        "Unsupported content type '{shown}': send the body as 'Content-Type: application/json'"
                    ),
                )
                .with_param("content-type"))
            }
            _ => Ok(()),
        }
    }

    /// Whether the client is a browser that shows pages.
    pub fn wants_page(&self) -> bool {
        self.header("accept").is_some_and(|accept| accept.contains("text/html"))
    }
}

/// Milliseconds as whole seconds, rounded up.
pub fn seconds(wait_ms: u64) -> u32 {
    u32::try_from(wait_ms.div_ceil(1000)).unwrap_or(u32::MAX)
}
