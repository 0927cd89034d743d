//! `GET /health`: what is configured, and how it has been doing; a page for browsers, JSON for everybody else. Calls no
//! upstream; asks the database for one row, and that at most every [`DATABASE_INTERVAL_MS`].

mod page;

use std::rc::Rc;

use gatehouse_core::catalog::Entry;
use gatehouse_core::error::Error;
use gatehouse_core::json;
use gatehouse_core::report::routing;
use worker::Env;

use super::{Call, board};
use crate::gateway::Gateway;
use crate::platform::clock;
use crate::platform::database::{self, DatabaseState};
use crate::platform::email;
use crate::platform::reply::Reply;

/// How long an answer of the database stands, in milliseconds.
const DATABASE_INTERVAL_MS: u64 = 10_000;

/// The state of the gateway, but for how its models are doing.
struct State {
    /// Whether there is any key, so that anybody can call.
    keys: bool,
    database: DatabaseState,
    /// What keeps it from being of use.
    problems: Vec<&'static str>,
}

/// `GET /health`
pub async fn get(call: &Call<'_>, gateway: &Rc<Gateway>) -> Result<Reply, Error> {
    let news = board::news(call, gateway);
    let state = state(call, gateway).await;
    news.await;
    let now_ms = clock::now_ms();
    let reply = if is_shown(call) {
        page::render(call, gateway, &state, now_ms)?
    } else {
        json(gateway, &state, now_ms)
    };
    Ok(reply.with("vary", "accept, sec-fetch-dest"))
}

/// Whether a browser will show the answer as a page of its own. One that only fetches says so, whatever it accepts.
fn is_shown(call: &Call<'_>) -> bool {
    call.wants_page() && call.header("sec-fetch-dest").is_none_or(|what| what == "document")
}

async fn state(call: &Call<'_>, gateway: &Gateway) -> State {
    let env = &call.env;
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
    if !gateway.registry.entries().iter().any(Entry::is_active) {
        problems.push("no provider is configured, so nothing can be called");
    }
    State { keys: !gateway.ring.is_empty() || !gateway.operators.is_empty(), database, problems }
}

/// `ok` says that it runs.
fn json(gateway: &Gateway, state: &State, now_ms: u64) -> Reply {
    let active = gateway.registry.entries().iter().filter(|entry| entry.is_active());
    Reply::json(
        200,
        &json!({
            "ok": true,
            "version": env!("CARGO_PKG_VERSION"),
            "auth": {"configured": state.keys},
            "database": state.database,
            "providers": active.map(|entry| entry.name.as_str()).collect::<Vec<_>>(),
            "models": routing::health(&gateway.board.borrow(), &gateway.registry, now_ms),
            "problems": state.problems,
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
