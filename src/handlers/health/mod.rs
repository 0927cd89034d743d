//! `GET /health`: the configuration and the health of the gateway; a page for browsers, JSON for programs. It calls no upstream,
//! and reads one row of the database, at most every [`DATABASE_INTERVAL_MS`].

mod page;
mod state;

use std::rc::Rc;

use gatehouse_core::alerts;
use gatehouse_core::catalog::Entry;
use gatehouse_core::error::Error;
use gatehouse_core::key::master::Fault;
use gatehouse_core::report::routing::{self, ModelHealth};
use serde::Serialize;
use worker::Env;

use crate::isolate::Isolate;
use crate::platform::clock;
use crate::platform::database::{self, DatabaseState};
use crate::platform::email;
use crate::platform::response::Response;
use crate::request_context::RequestContext;
use crate::snapshot;
use state::GatewayState;

/// The time for which a result of the database check is used, in milliseconds.
const DATABASE_INTERVAL_MS: u64 = 10_000;

/// `GET /health`
pub async fn get(context: &RequestContext<'_>, isolate: &Rc<Isolate>) -> Result<Response, Error> {
    let news = isolate.health.refresh(context);
    let state = state(context, isolate).await;
    news.await;
    let now_ms = clock::now_ms();
    let response = if is_shown(context) {
        page::render(context, isolate, &state, now_ms)?
    } else {
        json(isolate, &state, now_ms)
    };
    Ok(response.with("vary", "accept, sec-fetch-dest"))
}

/// Returns true if a browser will show the response as a page. Scripts that fetch it send another `Sec-Fetch-Dest`.
fn is_shown(context: &RequestContext<'_>) -> bool {
    context.wants_page() && context.header("sec-fetch-dest").is_none_or(|what| what == "document")
}

pub async fn state(context: &RequestContext<'_>, isolate: &Isolate) -> GatewayState {
    let env = &context.env;
    let mut problems = Vec::new();
    if isolate.settings.ring.is_empty() && isolate.settings.operators.is_empty() {
        problems.push("no gateway key is configured, so nobody can call");
    }
    if isolate.settings.operators.is_empty() {
        problems.push("no operator key is configured (GATEWAY_ADMIN_KEY_HASHES), so nobody can approve requests or issue keys");
    }
    if isolate.settings.config.webhook.url.is_some() && isolate.settings.signing_key.is_none() {
        problems.push(
            "there is a webhook but no GATEWAY_WEBHOOK_SECRET (whsec_ and base64), so no webhook is sent",
        );
    }
    if isolate.settings.config.email.from.is_some() && !email::is_bound(env) {
        problems.push("there is an e-mail sender but no binding GATEWAY_EMAIL, so no e-mail is sent");
    }
    if context.header("cf-connecting-ip").is_none() {
        problems.push("this request has no cf-connecting-ip, which a proxy has to set: without it all callers share the limits for one address");
    }
    if alerts::any_is_on(&isolate.settings.config.alerts) && isolate.settings.channels(env).is_empty() {
        problems.push("alerts are on, but there is no channel to send them on: GET /v0/alerts names the settings of each");
    }
    let database = database_state(isolate, env).await;
    match database {
        DatabaseState::Ready => {}
        DatabaseState::NotMigrated => {
            problems.push("the database has no tables: npx wrangler d1 migrations apply GATEWAY_DB --remote");
        }
        DatabaseState::Unreachable => problems.push("the database does not respond"),
        DatabaseState::NotBound => problems.push("there is no database binding GATEWAY_DB"),
    }
    if snapshot::is_unread(env) {
        problems.push("the run-time settings cannot be read: those last known stay in use");
    }
    if !isolate.settings.run_time.faults.is_empty() {
        problems.push("some run-time settings do not apply, because they are not valid with this deployment: GET /v0/config has them");
    }
    if isolate.settings.run_time.keys.iter().any(|key| key.secret.is_err()) {
        problems.push(
            "some keys of providers in the database cannot be read: GET /v0/providers says which and why",
        );
    }
    if isolate.settings.master.current() == Err(Fault::Malformed) {
        problems.push(
            "the secret GATEWAY_MASTER_KEY is not 32 bytes in base64: openssl rand -base64 32 creates one",
        );
    }
    if !isolate.settings.registry.entries().iter().any(Entry::is_active) {
        problems.push("no provider is configured, so no model can be called");
    }
    GatewayState {
        keys: !isolate.settings.ring.is_empty() || !isolate.settings.operators.is_empty(),
        database,
        problems,
    }
}

/// The response for programs.
#[derive(Serialize)]
struct Health<'a> {
    /// Always true: the gateway runs.
    ok: bool,
    version: &'static str,
    auth: Auth,
    database: DatabaseState,
    /// The names of the active providers.
    providers: Vec<&'a str>,
    models: Vec<ModelHealth>,
    problems: &'a [&'static str],
}

#[derive(Serialize)]
struct Auth {
    /// At least one key is configured, so that calls are possible.
    configured: bool,
}

fn json(isolate: &Isolate, state: &GatewayState, now_ms: u64) -> Response {
    let registry = &isolate.settings.registry;
    let active = registry.entries().iter().filter(|entry| entry.is_active());
    let health = Health {
        ok: true,
        version: env!("CARGO_PKG_VERSION"),
        auth: Auth { configured: state.keys },
        database: state.database,
        providers: active.map(|entry| entry.name.as_str()).collect(),
        models: routing::health(&isolate.health.view.borrow(), registry, now_ms),
        problems: &state.problems,
    };
    Response::json(200, &health)
}

/// Concurrent requests each query the database: none waits for another's promise.
async fn database_state(isolate: &Isolate, env: &Env) -> DatabaseState {
    let now = clock::now_ms();
    if let Some((asked_ms, state)) = isolate.database.get()
        && now.saturating_sub(asked_ms) < DATABASE_INTERVAL_MS
    {
        return state;
    }
    let state = database::probe(env).await;
    isolate.database.set(Some((now, state)));
    state
}
