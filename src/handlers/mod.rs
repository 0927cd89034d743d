//! What happens to a request: preflight, authentication, the route's handler, and the headers of every reply.

pub mod access;
pub mod analytics;
pub mod api_keys;
pub mod audit;
pub mod authentication;
pub mod board;
pub mod chat;
pub mod claims;
pub mod health;
pub mod ledger;
pub mod metrics;
pub mod models;
pub mod notify;
pub mod portal;
pub mod routing;
pub mod usage;

use std::borrow::Cow;
use std::future::ready;
use std::pin::Pin;
use std::rc::Rc;

use gatehouse_core::envelope::Surface;
use gatehouse_core::error::{Code, Error, Source};
use gatehouse_core::json_text;
use gatehouse_core::key::Caller;
use gatehouse_core::onboarding::{MAX_BODY_BYTES, client_address};
use gatehouse_core::request_id;
use gatehouse_core::time::DAY_MS;
use worker::js_sys::Uint8Array;
use worker::wasm_bindgen::JsValue;
use worker::worker_sys::Context;
use worker::{Env, web_sys};

use crate::gateway::{self, Gateway};
use crate::platform::reply::{Body, Reply};
use crate::platform::request::{BodyError, Head};
use crate::platform::{clock, log, random, request, variables};
use gatehouse_core::routes::{self, Access, Handler, Match};

/// One request, and what belongs to it alone.
pub struct Call<'a> {
    /// The request.
    pub request: &'a web_sys::Request,
    /// The runtime's context of it.
    pub context: Context,
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
fn last_days(days: u32) -> [u32; 2] {
    let today = u32::try_from(clock::now_ms() / DAY_MS).unwrap_or(u32::MAX);
    [today.saturating_sub(days - 1), today]
}

/// Request headers that a preflight may send if it does not say which.
const USUAL_HEADERS: &str = "authorization, content-type, idempotency-key, x-api-key, x-request-id, x-gateway-project-id, x-session-id, \
     x-gateway-force-provider, x-gateway-force-model";

/// Headers of replies that scripts of other origins may read. Only they are told: it is the longest header of all.
const EXPOSED_HEADERS: &str = "x-request-id, x-gateway-provider, x-gateway-model, x-gateway-attempts, x-gateway-route, \
     x-gateway-dropped-params, x-degraded-mode, x-gateway-error-source, x-gateway-receipt, x-gateway-cost-usd, \
     x-gateway-tokens, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, \
     x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, ratelimit, ratelimit-policy, \
     retry-after, retry-after-ms, x-should-retry, server-timing, www-authenticate, allow";

impl<'a> Call<'a> {
    /// Reads what every request has.
    pub fn new(request: &'a web_sys::Request, env: Env, context: Context) -> Call<'a> {
        let began_ms = clock::now_ms();
        let head = Head::read(request);
        let id = match head.header("x-request-id") {
            Some(id) if request_id::is_valid(&id) => id.into_owned(),
            _ => request_id::generate(began_ms, random::id_bytes()),
        };
        Call { request, context, env, id, began_ms, head }
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
    pub fn finish(self, mut reply: Reply) -> JsValue {
        let total = format!("total;dur={}", self.elapsed_ms());
        match reply.headers.iter_mut().find(|(name, _)| *name == "server-timing") {
            Some((_, parts)) => *parts = format!("{parts}, {total}").into(),
            None => reply.headers.push(("server-timing", total.into())),
        }
        if self.head.method() == "HEAD" {
            reply.body = Body::Empty;
        }
        if self.head.header("origin").is_some() {
            reply.headers.push(("access-control-expose-headers", EXPOSED_HEADERS.into()));
        }
        let surface = self.surface();
        reply.headers.push(("x-request-id", self.id.into()));
        reply.into_response().unwrap_or_else(|error| {
            let words = variables::words(&error);
            log::line(json_text!({"event": "reply", "error": words}));
            let error = Error::new(Code::InternalError, "The gateway could not make its reply");
            Reply::error(&error, surface).into_response().unwrap_or_default()
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

/// Whether a content type is that of JSON.
fn is_json_type(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(media_type.as_str(), "application/json" | "text/json") || media_type.ends_with("+json")
}

/// Answers a request.
pub async fn answer(call: &Call<'_>) -> Reply {
    if call.head.method() == "OPTIONS" {
        return preflight(call);
    }
    let answer = match gateway::of_isolate(&call.env) {
        Ok(gateway) => handle(call, &gateway).await,
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(|error| refusal(call, &error))
}

/// An error, with the headers that belong to its status.
fn refusal(call: &Call<'_>, error: &Error) -> Reply {
    let reply = Reply::error(error, call.surface());
    if error.is(Code::MethodNotAllowed) {
        return reply.with("allow", routes::allowed_methods(call.path()));
    }
    if error.status == 401 && error.source() == Source::Gateway {
        // RFC 6750, section 3: the challenge names an error only when there was a credential.
        let sent = matches!(authentication::credential(call), Ok(Some(_)));
        let challenge = if sent {
            r#"Bearer realm="gatehouse", error="invalid_token""#
        } else {
            r#"Bearer realm="gatehouse""#
        };
        return reply.with("www-authenticate", challenge);
    }
    reply
}

async fn handle(call: &Call<'_>, gateway: &Rc<Gateway>) -> Result<Reply, Error> {
    let found = routes::find(call.head.method(), call.path());
    let access = routes::access(&found, call.path());
    let caller = match access {
        Access::Public => None,
        Access::Inference | Access::Holder | Access::Operator => {
            Some(authentication::authenticate(call, gateway, access).await?)
        }
    };
    match found {
        Match::Found(route, rest) => match caller {
            None => public(call, gateway, route.handler, rest).await,
            Some(caller) => {
                let answer = private(call, gateway, route.handler, rest, &caller).await;
                if let Err(error) = &answer {
                    log_refusal(call, route.path, &caller, error);
                }
                answer
            }
        },
        Match::WrongMethod => Err(Error::new(
            Code::MethodNotAllowed,
            format!(
                "{} is not possible here; it has {}",
                call.head.method(),
                routes::allowed_methods(call.path())
            ),
        )),
        Match::Nothing => Err(nothing_here()),
    }
}

/// The log line of a request that came to nothing. A call that reached an upstream has one of its own (`chat::record`); what
/// strangers send has none, since they could fill the log with it.
fn log_refusal(call: &Call<'_>, path: &str, caller: &Caller, error: &Error) {
    log::line(json_text!({
        "event": "refused",
        "request_id": call.id,
        "method": call.head.method(),
        "path": path,
        "caller": &*caller.label,
        "key_id": caller.key.as_ref().map(|key| key.id.as_str()),
        "status": error.status,
        "code": error.code(),
        "param": error.param,
        "total_ms": call.elapsed_ms(),
    }));
}

/// What a handler is doing. Boxed: otherwise all handlers were one future, as large as the largest of them, with one function
/// of 117 KB that polls it, and the runtime would compile all of that for an isolate's first call: 5 ms.
type Answering<'a> = Pin<Box<dyn Future<Output = Result<Reply, Error>> + 'a>>;

/// Routes for anybody.
fn public<'a>(
    call: &'a Call<'_>,
    gateway: &'a Rc<Gateway>,
    handler: Handler,
    rest: &'a str,
) -> Answering<'a> {
    match handler {
        Handler::Analytics => Box::pin(analytics::get(call, gateway)),
        Handler::ListModels => Box::pin(async { Ok(models::list(call, gateway).await) }),
        Handler::GetModel => Box::pin(ready(models::get(gateway, rest))),
        Handler::Health => Box::pin(health::get(call, gateway)),
        Handler::RoutingStatus => Box::pin(async { Ok(routing::status(call, gateway).await) }),
        Handler::ProviderStats => Box::pin(async { Ok(routing::provider_stats(call, gateway).await) }),
        Handler::RequestKey => Box::pin(access::request_key(call, gateway)),
        Handler::ShowClaim => Box::pin(claims::show(call, gateway, rest)),
        Handler::RedeemClaim => Box::pin(claims::redeem(call, gateway, rest)),
        // The runtime serves static files before the Worker is asked: what comes here is not one of them.
        Handler::Asset => Box::pin(ready(Err(nothing_here()))),
        _ => Box::pin(ready(Err(Error::new(Code::InternalError, "A call came without a caller")))),
    }
}

/// Routes for callers and operators with a key.
fn private<'a>(
    call: &'a Call<'_>,
    gateway: &'a Rc<Gateway>,
    handler: Handler,
    rest: &'a str,
    caller: &'a Caller,
) -> Answering<'a> {
    match handler {
        Handler::ChatCompletions => Box::pin(chat::create(call, gateway, caller)),
        Handler::ExplainRouting => Box::pin(chat::explain(call, gateway, caller)),
        Handler::GetUsage => Box::pin(usage::get(call, gateway, caller)),
        Handler::ListReceipts => Box::pin(usage::list_receipts(call, gateway, caller)),
        Handler::GetReceipt => Box::pin(usage::get_receipt(call, gateway, caller, rest)),
        Handler::ListRequests => Box::pin(portal::list(call, gateway)),
        Handler::CreateRequest => Box::pin(portal::create(call, gateway, caller)),
        Handler::GetRequest => Box::pin(portal::get(call, gateway, rest)),
        Handler::UpdateRequest => Box::pin(portal::update(call, caller, rest)),
        Handler::DeleteRequest => Box::pin(portal::delete(call, caller, rest)),
        Handler::ApproveRequest => Box::pin(portal::approve(call, gateway, caller, rest)),
        Handler::DeclineRequest => Box::pin(portal::decline(call, caller, rest)),
        Handler::ListApiKeys => Box::pin(api_keys::list(call)),
        Handler::CreateApiKey => Box::pin(api_keys::create(call, gateway, caller)),
        Handler::GetApiKey | Handler::UpdateApiKey | Handler::RevokeApiKey | Handler::RotateApiKey => {
            Box::pin(one_api_key(call, gateway, handler, rest, caller))
        }
        Handler::Metrics => Box::pin(metrics::get(call, gateway)),
        Handler::ListAudit => Box::pin(audit::list(call)),
        Handler::VerifyAudit => Box::pin(audit::verify(call)),
        _ => Box::pin(ready(Err(Error::new(
            Code::InternalError,
            "A call of a public route came with a caller",
        )))),
    }
}

/// Routes of a single API key, which its path names.
async fn one_api_key(
    call: &Call<'_>,
    gateway: &Rc<Gateway>,
    handler: Handler,
    rest: &str,
    caller: &Caller,
) -> Result<Reply, Error> {
    let name = &api_keys::name_of(rest)?;
    match handler {
        Handler::GetApiKey => api_keys::get(call, name).await,
        Handler::UpdateApiKey => api_keys::update(call, gateway, caller, name).await,
        Handler::RevokeApiKey => api_keys::revoke(call, gateway, caller, name).await,
        _ => api_keys::rotate(call, gateway, caller, name).await,
    }
}

fn nothing_here() -> Error {
    Error::new(Code::NotFound, "Not found: there is nothing at this path; /openapi.json lists what there is")
}

/// A CORS preflight, answered before authentication because browsers send it without credentials. What it asks for is
/// reflected: SDKs send headers of their own (`x-stainless-*`), and a key in a header is no cookie.
fn preflight(call: &Call<'_>) -> Reply {
    let allowed = routes::allowed_methods(call.path());
    let asked = call.header("access-control-request-headers").filter(|names| !names.trim().is_empty());
    Reply { status: 204, headers: Vec::new(), body: Body::Empty }
        .with(
            "access-control-allow-methods",
            if allowed.is_empty() {
                "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS".into()
            } else {
                allowed.clone()
            },
        )
        .with("access-control-allow-headers", asked.map_or(Cow::Borrowed(USUAL_HEADERS), Cow::Owned))
        .with("access-control-max-age", "86400")
        .with("vary", "access-control-request-headers")
        .with("allow", allowed)
}
