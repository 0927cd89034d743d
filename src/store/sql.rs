//! Running statements, with the errors that callers see.

use gatehouse_core::error::{Code, Error};
use gatehouse_core::json;
use serde::Serialize;
use serde_json::Value;
use worker::Env;

use crate::platform::database::{self, Failure, Outcome, Statement};

/// Runs statements; a failure becomes the error that callers see.
pub(super) async fn run(env: &Env, statements: &[Statement]) -> Result<Vec<Outcome>, Error> {
    database::run(env, statements).await.map_err(|failure| unavailable(&failure))
}

/// Runs statements that read rows; without a database or tables, they return no rows.
pub(super) async fn run_if_any(env: &Env, statements: &[Statement]) -> Result<Vec<Outcome>, Error> {
    or_none(database::run(env, statements).await)
}

/// No rows without a database or tables; any other failure becomes the error that callers see.
pub(super) fn or_none(outcomes: Result<Vec<Outcome>, Failure>) -> Result<Vec<Outcome>, Error> {
    match outcomes {
        Err(Failure::NotBound | Failure::NotMigrated) => Ok(Vec::new()),
        outcomes => outcomes.map_err(|failure| unavailable(&failure)),
    }
}

/// Runs one statement that reads rows.
pub(super) async fn rows(
    env: &Env,
    sql: &'static str,
    parameters: impl Into<Vec<Value>>,
) -> Result<Vec<Value>, Error> {
    let outcomes = run(env, &[Statement::new(sql, parameters)]).await?;
    Ok(outcomes.into_iter().next().unwrap_or_default().rows)
}

/// An `INSERT` of one row, of columns and their values. `rest` follows the values: `WHERE …`, which distinguishes an
/// `ON CONFLICT` from a join.
pub fn insert<const N: usize>(table: &str, row: [(&str, Value); N], rest: &str) -> Statement {
    let (columns, values): (Vec<&str>, Vec<Value>) = row.into_iter().unzip();
    let places = vec!["?"; N].join(", ");
    Statement::new(format!("INSERT INTO {table} ({}) SELECT {places} {rest}", columns.join(", ")), values)
}

/// An `UPDATE`. Each clause has one `?` and its value: `state = ?`.
pub(super) fn update<const S: usize, const C: usize>(
    table: &str,
    set: [(&str, Value); S],
    conditions: [(&str, Value); C],
) -> Statement {
    let (set, mut values): (Vec<&str>, Vec<Value>) = set.into_iter().unzip();
    let (conditions, compared): (Vec<&str>, Vec<Value>) = conditions.into_iter().unzip();
    values.extend(compared);
    let sql = format!("UPDATE {table} SET {} WHERE {}", set.join(", "), conditions.join(" AND "));
    Statement::new(sql, values)
}

/// A list or a map as the JSON text of a column.
pub(super) fn text<T: Serialize + ?Sized>(value: &T) -> Value {
    json::to_text(value).into()
}

pub(super) fn unavailable(failure: &Failure) -> Error {
    let words = match failure {
        Failure::NotBound => "The gateway has no database: the operator has to bind GATEWAY_DB",
        Failure::NotMigrated => {
            "The gateway's database has no tables: the operator has to run 'npx wrangler d1 migrations apply GATEWAY_DB'"
        }
        Failure::Duplicate(_) | Failure::Unavailable => "The gateway's database does not respond; try again",
    };
    Error::new(Code::StorageUnavailable, words)
}
