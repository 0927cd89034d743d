//! What is kept in the database, and the statements that keep it.
//!
//! Everything that an operator does is one transaction together with its entry in the audit trail: both stand, or
//! neither. In such a transaction each statement happens only if the one before it changed something
//! (`changes() > 0`): of two operators who do the same at once, one does it, and the other's statements do nothing.

pub mod audit;
pub mod claims;
pub mod counts;
pub mod keys;
pub mod notifications;
pub mod requests;
pub mod usage;

use gatehouse_core::error::{Code, Error};
use gatehouse_core::onboarding::audit::Action;
use serde_json::Value;
use worker::Env;

use crate::platform::database::{self, Failure, Outcome, Statement};
use crate::platform::{clock, random, upstream};

/// How long to go on when others write to the audit trail at the same time, in milliseconds.
const PATIENCE_MS: u64 = 15_000;

/// Runs statements; a failure becomes the error that callers see.
async fn run(env: &Env, statements: &[Statement]) -> Result<Vec<Outcome>, Error> {
    database::run(env, statements).await.map_err(|failure| unavailable(&failure))
}

/// Runs statements that find rows; nothing is found where there is no database, or none with tables.
async fn run_if_any(env: &Env, statements: &[Statement]) -> Result<Vec<Outcome>, Error> {
    match database::run(env, statements).await {
        Err(Failure::NotBound | Failure::NotMigrated) => Ok(Vec::new()),
        outcomes => outcomes.map_err(|failure| unavailable(&failure)),
    }
}

/// Runs one statement that finds rows.
async fn rows(env: &Env, sql: &'static str, parameters: impl Into<Vec<Value>>) -> Result<Vec<Value>, Error> {
    let outcomes = run(env, &[Statement::new(sql, parameters)]).await?;
    Ok(outcomes.into_iter().next().unwrap_or_default().rows)
}

fn unavailable(failure: &Failure) -> Error {
    let words = match failure {
        Failure::NotBound => "The gateway has no database: the operator has to bind GATEWAY_DB",
        Failure::NotMigrated => {
            "The gateway's database has no tables: the operator has to run 'npx wrangler d1 migrations apply GATEWAY_DB'"
        }
        Failure::Duplicate(_) | Failure::Unavailable => "The gateway's database does not answer; try again",
    };
    Error::new(Code::StorageUnavailable, words)
}

/// A change that is noted in the audit trail.
struct Change {
    /// What makes the change. The last of them decides: if it changes nothing, nothing is noted.
    deciding: Vec<Statement>,
    /// What is noted.
    action: Action,
    /// What follows from the change.
    then: Vec<Statement>,
}

/// What became of a change.
enum Changed {
    /// It is made and noted.
    Done,
    /// It changed nothing, because things were not as expected.
    Nothing,
    /// It would have made a row that there is already.
    Duplicate,
}

/// Makes a change and notes it, as one transaction. When another change is noted at the same time, tries again.
async fn change(env: &Env, change: Change) -> Result<Changed, Error> {
    let began_ms = clock::now_ms();
    let decisive = change.deciding.len();
    let mut longest_wait_ms = 5;
    loop {
        let entry = audit::head(env).await?.next(clock::now_ms(), &change.action);
        let mut statements = change.deciding.clone();
        statements.push(Statement::new(
            "INSERT INTO audit_log (seq, entry, hash) SELECT ?1, ?2, ?3 WHERE changes() > 0",
            [entry.seq.into(), entry.text.into(), entry.hash.into()],
        ));
        statements.extend(change.then.iter().cloned());
        match database::run(env, &statements).await {
            Ok(outcomes) => {
                let noted = outcomes.get(decisive).is_some_and(|outcome| outcome.changes > 0);
                return Ok(if noted { Changed::Done } else { Changed::Nothing });
            }
            // Somebody else's entry took the place in the chain.
            Err(Failure::Duplicate(columns)) if columns == "audit_log.seq" => {
                if clock::now_ms().saturating_sub(began_ms) > PATIENCE_MS {
                    return Err(unavailable(&Failure::Unavailable));
                }
                // By chance, and longer each time, so that many do not collide again and again.
                longest_wait_ms = (longest_wait_ms * 2).min(1000);
                let [share] = random::id_bytes();
                upstream::sleep(longest_wait_ms * u32::from(share) / 255).await;
            }
            Err(Failure::Duplicate(_)) => return Ok(Changed::Duplicate),
            Err(failure) => return Err(unavailable(&failure)),
        }
    }
}
