//! The D1 database: runs statements and returns their outcome. The statements are in `store`.

use std::borrow::Cow;

use gatehouse_core::json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use worker::wasm_bindgen::{self, JsValue, prelude::wasm_bindgen};
use worker::{Env, js_sys};

use super::{log, task, variables};

#[wasm_bindgen(module = "/src/platform/bindings.js")]
extern "C" {
    #[wasm_bindgen(js_name = runStatements)]
    fn run_statements(database: &JsValue, statements: &str) -> js_sys::Promise;
}

/// One statement and its parameters: strings, whole numbers below 2^53 and nulls.
#[derive(Clone, Debug, Serialize)]
pub struct Statement(Cow<'static, str>, Vec<Value>);

impl Statement {
    /// Creates a statement with `?1`, `?2`, … for its parameters, or `?` for each in turn.
    pub fn new(sql: impl Into<Cow<'static, str>>, parameters: impl Into<Vec<Value>>) -> Statement {
        Statement(sql.into(), parameters.into())
    }
}

/// The outcome of one statement.
#[derive(Debug, Default, Deserialize)]
pub struct Outcome {
    /// The rows found, as objects by column.
    pub rows: Vec<Value>,
    /// The number of rows written.
    pub changes: u64,
}

/// The reason why a transaction failed. None of its statements took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A unique constraint failed; the index or columns, such as `issued_keys.name`.
    Duplicate(String),
    /// The tables are missing: the migrations have not been applied.
    NotMigrated,
    /// There is no binding `GATEWAY_DB`.
    NotBound,
    /// The database does not respond, or rejects the statements.
    Unavailable,
}

/// Runs statements as one transaction, in order: all of them or none.
pub async fn run(env: &Env, statements: &[Statement]) -> Result<Vec<Outcome>, Failure> {
    let Some(database) = variables::binding(env, "GATEWAY_DB") else { return Err(Failure::NotBound) };
    let text = json::to_text(statements);
    match task::settled(run_statements(&database, &text)).await {
        Ok(results) => {
            let results = results.as_string().unwrap_or_default();
            serde_json::from_str(&results).map_err(|_| Failure::Unavailable)
        }
        Err(error) => Err(read_failure(&variables::message(&error))),
    }
}

fn read_failure(message: &str) -> Failure {
    if let Some((_, columns)) = message.split_once("UNIQUE constraint failed: ") {
        return Failure::Duplicate(columns.split([':', ',']).next().unwrap_or_default().trim().to_owned());
    }
    if message.contains("no such table") {
        return Failure::NotMigrated;
    }
    log::line(&log::Event::Database { error: message });
    Failure::Unavailable
}

/// The state of the database.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseState {
    /// It responds and has its tables.
    Ready,
    /// It responds, but some of `migrations/` have not been applied.
    NotMigrated,
    /// It does not respond.
    Unreachable,
    /// There is no such binding.
    NotBound,
}

/// Reads a table of each migration.
const PROBE: &str = "SELECT (SELECT 1 FROM audit_log LIMIT 1), (SELECT 1 FROM usage_daily LIMIT 1), (SELECT 1 FROM settings_version), \
    (SELECT 1 FROM provider_keys LIMIT 1), (SELECT 1 FROM usage_by_key LIMIT 1), (SELECT 1 FROM alerts LIMIT 1), \
    (SELECT 1 FROM alert_changes LIMIT 1)";

/// Runs [`PROBE`].
pub async fn probe(env: &Env) -> DatabaseState {
    match run(env, &[Statement::new(PROBE, [])]).await {
        Ok(_) => DatabaseState::Ready,
        Err(Failure::NotMigrated) => DatabaseState::NotMigrated,
        Err(Failure::NotBound) => DatabaseState::NotBound,
        Err(Failure::Unavailable | Failure::Duplicate(_)) => DatabaseState::Unreachable,
    }
}
