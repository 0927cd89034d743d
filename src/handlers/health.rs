//! `GET /health`: what is configured, and how it has been doing. Calls no upstream; asks the database for
//! one row, and that at most every [`DATABASE_INTERVAL_MS`].

use std::rc::Rc;

use gatehouse_core::route::report;
use serde_json::json;
use worker::Env;

use super::{Call, board};
use crate::gateway::Gateway;
use crate::platform::clock;
use crate::platform::database::{self, DatabaseState};
use crate::platform::email;
use crate::platform::reply::Reply;

/// How long an answer of the database stands, in milliseconds.
const DATABASE_INTERVAL_MS: u64 = 10_000;

/// The state of the gateway. `ok` says that it runs; `problems` what keeps it from being of use.
pub async fn get(call: &Call<'_>, gateway: &Rc<Gateway>) -> Reply {
    let env = &call.env;
    let news = board::news(call, gateway);
    let mut problems = Vec::new();
    if gateway.ring.is_empty() && gateway.operators.is_empty() {
        problems.push("no gateway key is configured, so nobody can call");
    }
    if gateway.operators.is_empty() {
        problems.push("no operator key is configured (GATEWAY_ADMIN_KEY_HASHES), so nobody can approve requests or issue keys");
    }
    if gateway.config.webhook.url.is_some() && gateway.signing_key.is_none() {
        problems.push("there is a webhook but no GATEWAY_WEBHOOK_SECRET (whsec_ and base64), so it is not told anything");
    }
    if gateway.config.email.from.is_some() && !email::is_bound(env) {
        problems.push("there is an e-mail sender but no binding GATEWAY_EMAIL, so no e-mail is sent");
    }
    let database = database_state(gateway, env).await;
    match database {
        DatabaseState::Ready => {}
        DatabaseState::NotMigrated => {
            problems.push("the database has no tables: npx wrangler d1 migrations apply GATEWAY_DB --remote");
        }
        DatabaseState::Unreachable => problems.push("the database does not answer"),
        DatabaseState::NotBound => problems.push("there is no database binding GATEWAY_DB"),
    }
    let active: Vec<&str> = gateway
        .registry
        .entries()
        .iter()
        .filter(|entry| entry.is_active())
        .map(|entry| entry.name.as_str())
        .collect();
    if active.is_empty() {
        problems.push("no provider is configured, so nothing can be called");
    }
    news.await;
    let models = report::health(&gateway.board.borrow(), &gateway.registry, clock::now_ms());
    Reply::json(
        200,
        &json!({
            "ok": true,
            "version": env!("CARGO_PKG_VERSION"),
            "auth": {"configured": !gateway.ring.is_empty() || !gateway.operators.is_empty()},
            "database": database,
            "providers": active,
            "models": models,
            "problems": problems,
        }),
    )
}

/// Requests that come while one asks ask for themselves: none waits on another's promise.
async fn database_state(gateway: &Gateway, env: &Env) -> DatabaseState {
    let now = clock::now_ms();
    if let Some((asked_ms, state)) = gateway.database.get()
        && now.saturating_sub(asked_ms) < DATABASE_INTERVAL_MS
    {
        return state;
    }
    let state = database::probe(env).await;
    gateway.database.set(Some((now, state)));
    state
}
