//! The database, D1. It runs statements and tells what became of them; what they say is in `store`.

use gatehouse_core::{json, json_text};
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

/// One statement and its parameters: texts, whole numbers below 2^53 and nulls.
#[derive(Clone, Debug, Serialize)]
pub struct Statement(&'static str, Vec<Value>);

impl Statement {
    /// A statement, with `?1`, `?2`, … for its parameters.
    pub fn new(sql: &'static str, parameters: impl Into<Vec<Value>>) -> Statement {
        Statement(sql, parameters.into())
    }
}

/// What became of one statement.
#[derive(Debug, Default, Deserialize)]
pub struct Outcome {
    /// The rows that it found, as objects by column.
    pub rows: Vec<Value>,
    /// How many rows it wrote.
    pub changes: u64,
}

/// Why statements did not run. None of them did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A row would stand twice; the index or columns, such as `issued_keys.name`.
    Duplicate(String),
    /// The tables are not there: the migrations have not been applied.
    NotMigrated,
    /// There is no binding `GATEWAY_DB`.
    NotBound,
    /// It does not answer, or refuses.
    Unavailable,
}

/// Runs statements as one transaction, in order: all of them or none.
pub async fn run(env: &Env, statements: &[Statement]) -> Result<Vec<Outcome>, Failure> {
    let Some(database) = variables::binding(env, "GATEWAY_DB") else { return Err(Failure::NotBound) };
    let text = json!(statements).to_string();
    match task::settled(run_statements(&database, &text)).await {
        Ok(results) => {
            let results = results.as_string().unwrap_or_default();
            serde_json::from_str(&results).map_err(|_| Failure::Unavailable)
        }
        Err(error) => Err(read_failure(&variables::words(&error))),
    }
}

fn read_failure(words: &str) -> Failure {
    if let Some((_, columns)) = words.split_once("UNIQUE constraint failed: ") {
        return Failure::Duplicate(columns.split([':', ',']).next().unwrap_or_default().trim().to_owned());
    }
    if words.contains("no such table") {
        return Failure::NotMigrated;
    }
    log::line(json_text!({"event": "database", "error": words}));
    Failure::Unavailable
}

/// How the database is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseState {
    /// It answers and has its tables.
    Ready,
    /// It answers, but not all of `migrations/` have been applied.
    NotMigrated,
    /// It does not answer.
    Unreachable,
    /// There is no such binding.
    NotBound,
}

/// Asks for a table of each migration.
const PROBE: &str = "SELECT (SELECT 1 FROM audit_log LIMIT 1), (SELECT 1 FROM usage_daily LIMIT 1)";

/// Asks the database for one row.
pub async fn probe(env: &Env) -> DatabaseState {
    match run(env, &[Statement::new(PROBE, [])]).await {
        Ok(_) => DatabaseState::Ready,
        Err(Failure::NotMigrated) => DatabaseState::NotMigrated,
        Err(Failure::NotBound) => DatabaseState::NotBound,
        Err(Failure::Unavailable | Failure::Duplicate(_)) => DatabaseState::Unreachable,
    }
}
