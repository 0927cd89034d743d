//! The D1 database `GATEWAY_DB`.

use serde::Serialize;
use worker::Env;

/// Whether the database can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseState {
    /// It answers and has its tables.
    Ready,
    /// It answers, but `migrations/` have not been applied.
    NotMigrated,
    /// It does not answer.
    Unreachable,
    /// There is no such binding.
    NotBound,
}

/// Asks the database for one row.
pub async fn probe(env: &Env) -> DatabaseState {
    let Ok(database) = env.d1("GATEWAY_DB") else { return DatabaseState::NotBound };
    match database.prepare("SELECT 1 FROM issued_keys LIMIT 1").run().await {
        Ok(_) => DatabaseState::Ready,
        Err(error) if error.to_string().contains("no such table") => DatabaseState::NotMigrated,
        Err(_) => DatabaseState::Unreachable,
    }
}
