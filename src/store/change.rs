//! A change together with its entry in the audit trail, as one transaction.

use gatehouse_core::error::Error;
use gatehouse_core::onboarding::audit::Action;
use worker::Env;

use super::audit;
use super::sql::unavailable;
use crate::platform::database::{self, Failure, Statement};
use crate::platform::{clock, random, upstream};

/// How long to go on when others write to the audit trail at the same time, in milliseconds.
const PATIENCE_MS: u64 = 15_000;

/// A change that is noted in the audit trail.
pub(super) struct Change<'a> {
    /// What makes the change. The last of them decides: if it changes nothing, nothing is noted.
    pub(super) deciding: Vec<Statement>,
    /// What is noted.
    pub(super) action: Action<'a>,
    /// What follows from the change.
    pub(super) then: Vec<Statement>,
}

/// What became of a change.
pub(super) enum Changed {
    /// It is made and noted.
    Done,
    /// It changed nothing, because things were not as expected.
    Nothing,
    /// It would have made a row that there is already.
    Duplicate,
}

/// Makes a change and notes it, as one transaction. When another change is noted at the same time, tries again.
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
