//! What happens to a request: preflight, authentication, the route's handler, and the headers of every reply.

pub mod chat;
pub mod health;
pub mod models;

use std::borrow::Cow;
use std::rc::Rc;

use gatehouse_core::error::{Code, Error, Surface};
use gatehouse_core::key::{Caller, Secret};
use gatehouse_core::request_id;
use worker::wasm_bindgen::JsValue;
use worker::{Context, Env, web_sys};

use crate::gateway::{self, Gateway};
use crate::platform::reply::{Body, Reply};
use crate::platform::{clock, random, request};
use crate::routes::{self, Access, Handler, Match};

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
    method: String,
    url: String,
}

/// Headers of ours that scripts of other origins may read.
const EXPOSED_HEADERS: &str = "x-request-id, x-gateway-provider, x-gateway-model, x-gateway-attempts, \
                               x-gateway-error-source, retry-after, retry-after-ms, x-should-retry, server-timing, \
                               www-authenticate, allow";
/// Request headers that a preflight may send if it does not say which.
const USUAL_HEADERS: &str = "authorization, content-type, x-api-key, x-request-id, x-gateway-project-id";

impl<'a> Call<'a> {
    /// Reads what every request has.
    pub fn new(request: &'a web_sys::Request, env: Env, context: Context) -> Call<'a> {
        let began_ms = clock::now_ms();
        let id = request::header(request, "x-request-id")
            .filter(|id| request_id::is_valid(id))
            .unwrap_or_else(|| request_id::generate(began_ms, random::id_bytes()));
        Call { request, context, env, id, began_ms, method: request.method(), url: request.url() }
    }

    /// The path, without query.
    pub fn path(&self) -> &str {
        request::path(&self.url)
    }

    /// The shape of errors here.
    pub fn surface(&self) -> Surface {
        Surface::of_path(self.path())
    }

    /// A header of the request.
    pub fn header(&self, name: &str) -> Option<String> {
        request::header(self.request, name)
    }

    /// Milliseconds since the request began.
    pub fn elapsed_ms(&self) -> u64 {
        clock::now_ms().saturating_sub(self.began_ms)
    }

    /// Adds the headers of every reply and gives the runtime's response.
    pub fn finish(self, reply: Reply) -> Result<web_sys::Response, JsValue> {
        let total = format!("total;dur={}", self.elapsed_ms());
        let timing = match reply.headers.iter().find(|(name, _)| *name == "server-timing") {
            Some((_, parts)) => format!("{parts}, {total}"),
            None => total,
        };
        let mut reply = reply.with("server-timing", timing);
        let common: [(&'static str, Cow<'static, str>); 6] = [
            ("x-request-id", self.id.into()),
            ("x-content-type-options", "nosniff".into()),
            ("x-frame-options", "DENY".into()),
            ("referrer-policy", "no-referrer".into()),
            ("access-control-allow-origin", "*".into()),
            ("access-control-expose-headers", EXPOSED_HEADERS.into()),
        ];
        reply.headers.extend(common);
        if !reply.headers.iter().any(|(name, _)| *name == "cache-control") {
            reply.headers.push(("cache-control", "no-store".into()));
        }
        if self.method == "HEAD" {
            reply.body = Body::Empty;
        }
        reply.into_response()
    }

    /// The key that was sent: `Authorization: Bearer`, or `x-api-key`.
    fn credential(&self) -> Result<Option<Secret>, Error> {
        let authorization = self.header("authorization");
        let bearer =
            authorization.as_deref().and_then(|text| text.strip_prefix("Bearer ")).and_then(Secret::new);
        let api_key = self.header("x-api-key").as_deref().and_then(Secret::new);
        match (bearer, api_key) {
            (Some(bearer), Some(api_key)) if bearer.expose() != api_key.expose() => Err(Error::new(
                Code::ConflictingCredentials,
                "The headers 'Authorization' and 'x-api-key' carry different keys; send one of them",
            )
            .with_param("x-api-key")),
            (bearer, api_key) => Ok(bearer.or(api_key)),
        }
    }

    /// Who is calling.
    fn authenticate<'g>(&self, gateway: &'g Gateway) -> Result<&'g Caller, Error> {
        if gateway.ring.is_empty() {
            return Err(Error::new(
                Code::AuthNotConfigured,
                "Gateway API key is not configured: the operator has to set GATEWAY_API_KEY or GATEWAY_API_KEY_HASHES",
            ));
        }
        let Some(key) = self.credential()? else {
            let sent = match self.header("authorization") {
                Some(_) => "the header 'Authorization' is not of the form 'Bearer <key>'",
                None => "no key was sent",
            };
            return Err(Error::new(
                Code::InvalidApiKey,
                format!("Unauthorized: {sent}. Send 'Authorization: Bearer <key>' or 'x-api-key: <key>'"),
            ));
        };
        gateway
            .ring
            .authenticate(&key)
            .ok_or_else(|| Error::new(Code::InvalidApiKey, "Unauthorized: this key is not valid here"))
    }
}

/// Answers a request.
pub async fn answer(call: &Call<'_>) -> Reply {
    if call.method == "OPTIONS" {
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
    if error.is(Code::InvalidApiKey) {
        // RFC 6750, section 3: the challenge names an error only when there was a credential.
        let sent = matches!(call.credential(), Ok(Some(_)));
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
    let found = routes::find(&call.method, call.path());
    let caller = match routes::access(&found, call.path()) {
        Access::Public => None,
        Access::Inference => Some(call.authenticate(gateway)?),
    };
    match found {
        Match::Found(route, rest) => match (route.handler, caller) {
            (Handler::ChatCompletions, Some(caller)) => chat::create(call, gateway, caller).await,
            (Handler::ListModels, _) => Ok(models::list(gateway)),
            (Handler::GetModel, _) => models::get(gateway, rest),
            (Handler::Health, _) => Ok(health::get(gateway, &call.env).await),
            (Handler::ChatCompletions, None) => {
                Err(Error::new(Code::InternalError, "A call came without a caller"))
            }
            // The runtime serves static files before the Worker is asked: what comes here is not one of them.
            (Handler::Asset, _) => Err(nothing_here()),
        },
        Match::WrongMethod => Err(Error::new(
            Code::MethodNotAllowed,
            format!("{} is not possible here; it has {}", call.method, routes::allowed_methods(call.path())),
        )),
        Match::Nothing => Err(nothing_here()),
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
            if allowed.is_empty() { "GET, HEAD, POST, OPTIONS".into() } else { allowed.clone() },
        )
        .with("access-control-allow-headers", asked.map_or(Cow::Borrowed(USUAL_HEADERS), Cow::Owned))
        .with("access-control-max-age", "86400")
        .with("vary", "access-control-request-headers")
        .with("allow", allowed)
}
