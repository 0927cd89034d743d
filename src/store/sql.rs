//! Running statements, with the errors that callers see.

use gatehouse_core::error::{Code, Error};
use serde_json::Value;
use worker::Env;

use crate::platform::database::{self, Failure, Outcome, Statement};

/// Runs statements; a failure becomes the error that callers see.
pub(super) async fn run(env: &Env, statements: &[Statement]) -> Result<Vec<Outcome>, Error> {
    database::run(env, statements).await.map_err(|failure| unavailable(&failure))
}

/// Runs statements that find rows; nothing is found where there is no database, or none with tables.
pub(super) async fn run_if_any(env: &Env, statements: &[Statement]) -> Result<Vec<Outcome>, Error> {
    match database::run(env, statements).await {
        Err(Failure::NotBound | Failure::NotMigrated) => Ok(Vec::new()),
        outcomes => outcomes.map_err(|failure| unavailable(&failure)),
    }
}

/// Runs one statement that finds rows.
pub(super) async fn rows(
    env: &Env,
    sql: &'static str,
    parameters: impl Into<Vec<Value>>,
) -> Result<Vec<Value>, Error> {
    let outcomes = run(env, &[Statement::new(sql, parameters)]).await?;
    Ok(outcomes.into_iter().next().unwrap_or_default().rows)
}

pub(super) fn unavailable(failure: &Failure) -> Error {
    let words = match failure {
        Failure::NotBound => "The gateway has no database: the operator has to bind GATEWAY_DB",
        Failure::NotMigrated => {
            "The gateway's database has no tables: the operator has to run 'npx wrangler d1 migrations apply GATEWAY_DB'"
        }
        Failure::Duplicate(_) | Failure::Unavailable => "The gateway's database does not answer; try again",
    };
    Error::new(Code::StorageUnavailable, words)
}
