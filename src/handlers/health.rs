//! `GET /health`: what is configured, and how it has been doing in this isolate. Costs no call to anything.

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::platform::reply::Reply;

/// The state of the gateway. `ok` says that it runs; `problems` what keeps it from being of use.
pub fn get(gateway: &Gateway) -> Reply {
    let mut problems = Vec::new();
    if gateway.ring.is_empty() {
        problems.push("no gateway key is configured, so nobody can call");
    }
    let active: Vec<&str> = gateway
        .registry
        .entries()
        .iter()
        .filter(|entry| entry.is_active())
        .map(|entry| entry.name.as_str())
        .collect();
    let tally = gateway.tally.borrow();
    let models: Vec<Value> = tally.rows().map(|row| json!(row)).collect();
    Reply::json(
        200,
        &json!({
            "ok": true,
            "version": env!("CARGO_PKG_VERSION"),
            "auth": {"configured": !gateway.ring.is_empty()},
            "providers": active,
            "models": models,
            "problems": problems,
        }),
    )
}
