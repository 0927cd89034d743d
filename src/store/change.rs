//! A change together with its entry in the audit trail, as one transaction.

use gatehouse_core::error::Error;
use gatehouse_core::onboarding::audit::Action;
use worker::Env;

use super::audit;
use super::sql::unavailable;
use crate::platform::database::{self, Failure, Statement};
use crate::platform::{clock, random, upstream};

/// The maximum time of retries while others write to the audit trail, in milliseconds.
const PATIENCE_MS: u64 = 15_000;

/// A change with an entry in the audit trail.
pub(super) struct Change<'a> {
    /// The statements of the change. If the last of them changes nothing, no entry is written.
    pub(super) deciding: Vec<Statement>,
    /// The action for the entry.
    pub(super) action: Action<'a>,
    /// Statements that depend on the change.
    pub(super) then: Vec<Statement>,
}

/// The result of a change.
pub(super) enum Changed {
    /// The change and its entry were written.
    Done,
    /// The change had no effect, because the state was not the expected one.
    Nothing,
    /// The change would have duplicated a row.
    Duplicate,
}

/// Writes a change and its entry as one transaction. Retries if another entry was written at the same time.
pub(super) async fn change(env: &Env, change: Change<'_>) -> Result<Changed, Error> {
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
            // Another entry took this place in the chain.
            Err(Failure::Duplicate(columns)) if columns == "audit_log.seq" => {
                if clock::now_ms().saturating_sub(began_ms) > PATIENCE_MS {
                    return Err(unavailable(&Failure::Unavailable));
                }
                // A random wait that grows, so that concurrent changes do not collide repeatedly.
                longest_wait_ms = (longest_wait_ms * 2).min(1000);
                let [share] = random::id_bytes();
                upstream::sleep(longest_wait_ms * u32::from(share) / 255).await;
            }
            Err(Failure::Duplicate(_)) => return Ok(Changed::Duplicate),
            Err(failure) => return Err(unavailable(&failure)),
        }
    }
}
