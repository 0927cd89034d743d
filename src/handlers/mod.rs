//! The entry of a request: preflight, authentication, the route's handler, and the headers of every response.

mod access;
mod alerts;
mod analytics;
mod api_keys;
mod audit;
mod calls;
mod claims;
mod health;
mod lanes;
mod metrics;
mod missing_page;
mod models;
mod own_key;
mod portal;
mod provider_keys;
mod request_form;
mod routing;
mod self_test;
mod settings;
mod spending;
mod usage;

use std::borrow::Cow;
use std::future::ready;
use std::pin::Pin;
use std::rc::Rc;

use gatehouse_core::error::{Code, Error, Source};
use gatehouse_core::key::Caller;
use gatehouse_core::routes::{self, Audience, Endpoint, Keyed, Match, OnApiKey, Public, Route};

use crate::isolate::{self, Isolate, accounts};
use crate::platform::log;
use crate::platform::response::{Body, Response};
use crate::request_context::RequestContext;
use crate::{authentication, inference};

/// Request headers that a preflight may send if it does not name any.
const USUAL_HEADERS: &str = "authorization, content-type, idempotency-key, x-api-key, x-request-id, x-gateway-project-id, x-session-id, \
     anthropic-version, anthropic-beta, x-gateway-force-provider, x-gateway-force-model";

/// Handles a request.
pub async fn answer(context: &RequestContext<'_>) -> Response {
    if context.method() == "OPTIONS" {
        return preflight(context);
    }
    let answer = match isolate::of(context).await {
        Ok(isolate) => handle(context, isolate).await,
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(|error| refusal(context, error))
}

/// An error, with the headers that belong to its status.
fn refusal(context: &RequestContext<'_>, error: Error) -> Response {
    let error = context.with_id(error);
    let response = Response::error(&error, context.surface(), &context.id);
    if error.is(Code::MethodNotAllowed) {
        return response.with("allow", routes::allowed_methods(context.path()));
    }
    if error.is(Code::UnsupportedEncoding) {
        // RFC 9110, section 15.5.16.
        return response.with("accept-encoding", "identity");
    }
    if error.status == 401 && error.source() == Source::Gateway {
        return response.with("www-authenticate", authentication::challenge(context));
    }
    response
}

async fn handle(context: &RequestContext<'_>, mut isolate: Rc<Isolate>) -> Result<Response, Error> {
    let found = routes::find(context.method(), context.path());
    let caller = match routes::audience(&found, context.path()) {
        None => None,
        Some(audience) => {
            let authenticated = authentication::authenticate(context, &isolate, audience).await;
            if let (Audience::Operator, Err(error)) = (audience, &authenticated) {
                note_denial(context, &found, error);
            }
            let caller = authenticated?;
            if audience == Audience::Operator {
                // Operators see each other's changes at once. If the settings cannot be read, those known stay in use.
                isolate = isolate::refresh(&context.env).await.unwrap_or(isolate);
            }
            Some(caller)
        }
    };
    let isolate = &isolate;
    match found {
        Match::Found(Route { endpoint: Endpoint::Public(handler), .. }, rest) => {
            public(context, isolate, handler, rest).await
        }
        Match::Found(Route { endpoint: Endpoint::Keyed(_, handler), path, .. }, rest) => {
            // The router finds a route with this audience only for callers with a key.
            let caller = caller.ok_or_else(|| nothing_here(context))?;
            let response = keyed(context, isolate, handler, rest, &caller).await;
            if let Err(error) = &response {
                log_refusal(context, path, &caller, error);
                isolate.accounts.reject(context, &accounts::name_of(&caller), error);
            }
            response
        }
        Match::Nothing if missing_page::applies(context) => missing_page::show(),
        // The runtime serves static files before it calls the Worker, so this path has none.
        Match::Found(Route { endpoint: Endpoint::Asset, .. }, _) | Match::Nothing => {
            Err(nothing_here(context))
        }
        // Codex tries a WebSocket first, and continues with HTTP at once after this status alone.
        Match::WrongMethod if is_websocket(context) => Err(Error::new(
            Code::WebSocketNotSupported,
            format!("{} is not served over WebSocket; send the request with POST", context.path()),
        )),
        Match::WrongMethod => Err(Error::new(
            Code::MethodNotAllowed,
            format!(
                "{} is not allowed here; allowed methods are: {}",
                context.method(),
                routes::allowed_methods(context.path())
            ),
        )),
    }
}

/// Returns `true` if the client asks for a WebSocket.
fn is_websocket(context: &RequestContext<'_>) -> bool {
    context.header("upgrade").is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"))
}

/// Counts and logs a failed login of an operator, or a request with a key that does not administer. Neither the key nor a
/// path that a stranger chose is logged; the limit on wrong keys bounds the number of lines.
fn note_denial(context: &RequestContext<'_>, found: &Match, error: &Error) {
    let route = match found {
        Match::Found(Route { path, .. }, _) => path,
        Match::Nothing | Match::WrongMethod => "",
    };
    if error.is(Code::RateLimitExceeded) || error.source() == Source::Upstream {
        return;
    }
    metrics::count_denial(error.is(Code::PermissionDenied));
    log::line(&log::Event::OperatorDenied {
        request_id: &context.id,
        method: context.method(),
        route,
        status: error.status,
        code: error.code(),
    });
}

/// The log line of a rejected request. A call that reached an upstream has its own line (`chat::record`). Requests
/// without a valid key have none, since they could fill the log.
fn log_refusal(context: &RequestContext<'_>, path: &str, caller: &Caller, error: &Error) {
    log::line(&log::Event::Refused {
        request_id: &context.id,
        method: context.method(),
        path,
        caller: &caller.label,
        key_id: caller.key.as_ref().map(|key| key.id.as_str()),
        status: error.status,
        code: error.code(),
        param: error.param.as_deref(),
        detail: error.operator_detail(),
        total_ms: context.elapsed_ms(),
    });
}

/// The future of a handler. Boxed: otherwise all handlers were one future, as large as the largest of them, with one
/// function of 117 KB that polls it, which the runtime would compile during an isolate's first call: 5 ms.
type Answering<'a> = Pin<Box<dyn Future<Output = Result<Response, Error>> + 'a>>;

/// Public routes.
fn public<'a>(
    context: &'a RequestContext<'_>,
    isolate: &'a Rc<Isolate>,
    handler: Public,
    rest: &'a str,
) -> Answering<'a> {
    match handler {
        Public::Analytics => Box::pin(analytics::get(context, isolate)),
        Public::ListModels => Box::pin(models::list(context, isolate)),
        Public::GetModel => Box::pin(ready(models::get(context, isolate, rest))),
        Public::Hello => Box::pin(ready(Ok(hello()))),
        Public::Health => Box::pin(health::get(context, isolate)),
        Public::RoutingStatus => Box::pin(async { Ok(routing::status(context, isolate).await) }),
        Public::ProviderStats => Box::pin(async { Ok(routing::provider_stats(context, isolate).await) }),
        Public::RequestForm => Box::pin(ready(access::form(isolate))),
        Public::RequestKey => Box::pin(access::request_key(context, isolate)),
        Public::ShowClaim => Box::pin(ready(claims::show())),
        Public::RedeemClaim => Box::pin(claims::redeem(context, isolate)),
    }
}

/// Routes for callers and operators with a key.
fn keyed<'a>(
    context: &'a RequestContext<'_>,
    isolate: &'a Rc<Isolate>,
    handler: Keyed,
    rest: &'a str,
    caller: &'a Caller,
) -> Answering<'a> {
    match handler {
        Keyed::Inference(operation) => Box::pin(inference::create(context, isolate, caller, operation)),
        Keyed::CountTokens(operation) => {
            Box::pin(inference::count_tokens::create(context, isolate, caller, operation))
        }
        Keyed::KeptResponse(on) => {
            Box::pin(inference::kept_responses::create(context, isolate, caller, on, rest))
        }
        Keyed::ExplainRouting => Box::pin(inference::explain(context, isolate, caller)),
        Keyed::GetUsage => Box::pin(usage::get(context, isolate, caller)),
        Keyed::RotateOwnKey => Box::pin(own_key::rotate(context, isolate, caller)),
        Keyed::RequestIncrease => Box::pin(own_key::request_increase(context, isolate, caller)),
        Keyed::ListReceipts => Box::pin(usage::list_receipts(context, isolate, caller)),
        Keyed::GetReceipt => Box::pin(usage::get_receipt(context, isolate, caller, rest)),
        Keyed::ListRequests => Box::pin(portal::list(context, isolate)),
        Keyed::CreateRequest => Box::pin(portal::create(context, isolate, caller)),
        Keyed::GetRequest => Box::pin(portal::get(context, isolate, rest)),
        Keyed::UpdateRequest => Box::pin(portal::update(context, caller, rest)),
        Keyed::DeleteRequest => Box::pin(portal::delete(context, caller, rest)),
        Keyed::ApproveRequest => Box::pin(portal::approve(context, isolate, caller, rest)),
        Keyed::DeclineRequest => Box::pin(portal::decline(context, caller, rest)),
        Keyed::ListApiKeys => Box::pin(api_keys::list(context)),
        Keyed::CreateApiKey => Box::pin(api_keys::create(context, isolate, caller)),
        Keyed::ApiKey(on) => Box::pin(on_api_key(context, isolate, on, rest, caller)),
        Keyed::Metrics => Box::pin(metrics::get(context, isolate)),
        Keyed::ListProviders => Box::pin(lanes::list_providers(context, isolate)),
        Keyed::ProviderKeys(on) => Box::pin(provider_keys::on_keys(context, isolate, caller, on, rest)),
        Keyed::SelfTest => Box::pin(self_test::run(context, isolate)),
        Keyed::ListLanes => Box::pin(lanes::list(context, isolate)),
        Keyed::CoolDownLane => Box::pin(lanes::cool_down(context, isolate, caller, rest)),
        Keyed::ResumeLane => Box::pin(lanes::resume(context, isolate, caller, rest)),
        Keyed::GetConfig => Box::pin(ready(settings::config(isolate))),
        Keyed::Settings(table, on) => Box::pin(settings::on_table(context, isolate, caller, table, on, rest)),
        Keyed::GetSpending => Box::pin(spending::get(context)),
        Keyed::ListCalls => Box::pin(calls::list(context, isolate)),
        Keyed::GetCall => Box::pin(calls::get(context, isolate, rest)),
        Keyed::ListAlerts => Box::pin(alerts::list(context, isolate)),
        Keyed::TestAlerts => Box::pin(alerts::test(context, caller)),
        Keyed::ListAudit => Box::pin(audit::list(context)),
        Keyed::VerifyAudit => Box::pin(audit::verify(context)),
    }
}

/// Routes of a single API key, which its path names.
async fn on_api_key(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    on: OnApiKey,
    rest: &str,
    caller: &Caller,
) -> Result<Response, Error> {
    let name = &api_keys::name_of(rest)?;
    match on {
        OnApiKey::Get => api_keys::get(context, name).await,
        OnApiKey::Update => api_keys::update(context, isolate, caller, name).await,
        OnApiKey::Revoke => api_keys::revoke(context, isolate, caller, name).await,
        OnApiKey::Rotate => api_keys::rotate(context, isolate, caller, name).await,
    }
}

/// `GET /api/hello`, by which Claude Code checks that it can reach the host.
fn hello() -> Response {
    Response::json_text(200, r#"{"message":"hello"}"#)
}

fn nothing_here(context: &RequestContext<'_>) -> Error {
    Error::new(Code::NotFound, routes::nothing_at(context.method(), context.path()))
}

/// Handles a CORS preflight, before authentication because browsers send it without credentials. The requested headers
/// are reflected: SDKs send headers of their own (`x-stainless-*`), and a key in a header is no cookie.
fn preflight(context: &RequestContext<'_>) -> Response {
    let allowed = routes::allowed_methods(context.path());
    let asked = context.header("access-control-request-headers").filter(|names| !names.trim().is_empty());
    Response { status: 204, headers: Vec::new(), body: Body::Empty }
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
