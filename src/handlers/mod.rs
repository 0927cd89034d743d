//! What happens to a request: preflight, authentication, the route's handler, and the headers of every reply.

mod access;
mod analytics;
mod api_keys;
mod audit;
mod claims;
mod health;
mod metrics;
mod models;
mod portal;
mod routing;
mod usage;

use std::borrow::Cow;
use std::future::ready;
use std::pin::Pin;
use std::rc::Rc;

use gatehouse_core::error::{Code, Error, Source};
use gatehouse_core::json_text;
use gatehouse_core::key::Caller;
use gatehouse_core::operation::CHAT_COMPLETIONS;
use gatehouse_core::routes::{self, Access, Handler, Match};

use crate::isolate::{self, Isolate};
use crate::platform::log;
use crate::platform::reply::{Body, Reply};
use crate::request_context::RequestContext;
use crate::{authentication, inference};

/// Request headers that a preflight may send if it does not say which.
const USUAL_HEADERS: &str = "authorization, content-type, idempotency-key, x-api-key, x-request-id, x-gateway-project-id, x-session-id, \
     x-gateway-force-provider, x-gateway-force-model";

/// Answers a request.
pub async fn answer(context: &RequestContext<'_>) -> Reply {
    if context.method() == "OPTIONS" {
        return preflight(context);
    }
    let answer = match isolate::of(&context.env) {
        Ok(isolate) => handle(context, &isolate).await,
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(|error| refusal(context, &error))
}

/// An error, with the headers that belong to its status.
fn refusal(context: &RequestContext<'_>, error: &Error) -> Reply {
    let reply = Reply::error(error, context.surface());
    if error.is(Code::MethodNotAllowed) {
        return reply.with("allow", routes::allowed_methods(context.path()));
    }
    if error.status == 401 && error.source() == Source::Gateway {
        // RFC 6750, section 3: the challenge names an error only when there was a credential.
        let sent = matches!(authentication::credential(context), Ok(Some(_)));
        let challenge = if sent {
            r#"Bearer realm="gatehouse", error="invalid_token""#
        } else {
            r#"Bearer realm="gatehouse""#
        };
        return reply.with("www-authenticate", challenge);
    }
    reply
}

async fn handle(context: &RequestContext<'_>, isolate: &Rc<Isolate>) -> Result<Reply, Error> {
    let found = routes::find(context.method(), context.path());
    let access = routes::access(&found, context.path());
    let caller = match access {
        Access::Public => None,
        Access::Inference | Access::Holder | Access::Operator => {
            Some(authentication::authenticate(context, isolate, access).await?)
        }
    };
    match found {
        Match::Found(route, rest) => match caller {
            None => public(context, isolate, route.handler, rest).await,
            Some(caller) => {
                let answer = private(context, isolate, route.handler, rest, &caller).await;
                if let Err(error) = &answer {
                    log_refusal(context, route.path, &caller, error);
                }
                answer
            }
        },
        Match::WrongMethod => Err(Error::new(
            Code::MethodNotAllowed,
            format!(
                "{} is not possible here; it has {}",
                context.method(),
                routes::allowed_methods(context.path())
            ),
        )),
        Match::Nothing => Err(nothing_here()),
    }
}

/// The log line of a request that came to nothing. A call that reached an upstream has one of its own (`chat::record`); what
/// strangers send has none, since they could fill the log with it.
fn log_refusal(context: &RequestContext<'_>, path: &str, caller: &Caller, error: &Error) {
    log::line(json_text!({
        "event": "refused",
        "request_id": context.id,
        "method": context.method(),
        "path": path,
        "caller": &*caller.label,
        "key_id": caller.key.as_ref().map(|key| key.id.as_str()),
        "status": error.status,
        "code": error.code(),
        "param": error.param,
        "total_ms": context.elapsed_ms(),
    }));
}

/// What a handler is doing. Boxed: otherwise all handlers were one future, as large as the largest of them, with one function
/// of 117 KB that polls it, and the runtime would compile all of that for an isolate's first call: 5 ms.
type Answering<'a> = Pin<Box<dyn Future<Output = Result<Reply, Error>> + 'a>>;

/// Routes for anybody.
fn public<'a>(
    context: &'a RequestContext<'_>,
    isolate: &'a Rc<Isolate>,
    handler: Handler,
    rest: &'a str,
) -> Answering<'a> {
    match handler {
        Handler::Analytics => Box::pin(analytics::get(context, isolate)),
        Handler::ListModels => Box::pin(async { Ok(models::list(context, isolate).await) }),
        Handler::GetModel => Box::pin(ready(models::get(isolate, rest))),
        Handler::Health => Box::pin(health::get(context, isolate)),
        Handler::RoutingStatus => Box::pin(async { Ok(routing::status(context, isolate).await) }),
        Handler::ProviderStats => Box::pin(async { Ok(routing::provider_stats(context, isolate).await) }),
        Handler::RequestKey => Box::pin(access::request_key(context, isolate)),
        Handler::ShowClaim => Box::pin(claims::show(context, isolate, rest)),
        Handler::RedeemClaim => Box::pin(claims::redeem(context, isolate, rest)),
        // The runtime serves static files before the Worker is asked: what comes here is not one of them.
        Handler::Asset => Box::pin(ready(Err(nothing_here()))),
        _ => Box::pin(ready(Err(Error::new(Code::InternalError, "A call came without a caller")))),
    }
}

/// Routes for callers and operators with a key.
fn private<'a>(
    context: &'a RequestContext<'_>,
    isolate: &'a Rc<Isolate>,
    handler: Handler,
    rest: &'a str,
    caller: &'a Caller,
) -> Answering<'a> {
    match handler {
        Handler::ChatCompletions => Box::pin(inference::create(context, isolate, caller, &CHAT_COMPLETIONS)),
        Handler::ExplainRouting => Box::pin(inference::explain(context, isolate, caller)),
        Handler::GetUsage => Box::pin(usage::get(context, isolate, caller)),
        Handler::ListReceipts => Box::pin(usage::list_receipts(context, isolate, caller)),
        Handler::GetReceipt => Box::pin(usage::get_receipt(context, isolate, caller, rest)),
        Handler::ListRequests => Box::pin(portal::list(context, isolate)),
        Handler::CreateRequest => Box::pin(portal::create(context, isolate, caller)),
        Handler::GetRequest => Box::pin(portal::get(context, isolate, rest)),
        Handler::UpdateRequest => Box::pin(portal::update(context, caller, rest)),
        Handler::DeleteRequest => Box::pin(portal::delete(context, caller, rest)),
        Handler::ApproveRequest => Box::pin(portal::approve(context, isolate, caller, rest)),
        Handler::DeclineRequest => Box::pin(portal::decline(context, caller, rest)),
        Handler::ListApiKeys => Box::pin(api_keys::list(context)),
        Handler::CreateApiKey => Box::pin(api_keys::create(context, isolate, caller)),
        Handler::GetApiKey | Handler::UpdateApiKey | Handler::RevokeApiKey | Handler::RotateApiKey => {
            Box::pin(one_api_key(context, isolate, handler, rest, caller))
        }
        Handler::Metrics => Box::pin(metrics::get(context, isolate)),
        Handler::ListAudit => Box::pin(audit::list(context)),
        Handler::VerifyAudit => Box::pin(audit::verify(context)),
        _ => Box::pin(ready(Err(Error::new(
            Code::InternalError,
            "A call of a public route came with a caller",
        )))),
    }
}

/// Routes of a single API key, which its path names.
async fn one_api_key(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    handler: Handler,
    rest: &str,
    caller: &Caller,
) -> Result<Reply, Error> {
    let name = &api_keys::name_of(rest)?;
    match handler {
        Handler::GetApiKey => api_keys::get(context, name).await,
        Handler::UpdateApiKey => api_keys::update(context, isolate, caller, name).await,
        Handler::RevokeApiKey => api_keys::revoke(context, isolate, caller, name).await,
        _ => api_keys::rotate(context, isolate, caller, name).await,
    }
}

fn nothing_here() -> Error {
    Error::new(Code::NotFound, "Not found: there is nothing at this path; /openapi.json lists what there is")
}

/// A CORS preflight, answered before authentication because browsers send it without credentials. What it asks for is
/// reflected: SDKs send headers of their own (`x-stainless-*`), and a key in a header is no cookie.
fn preflight(context: &RequestContext<'_>) -> Reply {
    let allowed = routes::allowed_methods(context.path());
    let asked = context.header("access-control-request-headers").filter(|names| !names.trim().is_empty());
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
