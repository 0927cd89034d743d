//! How many requests for keys and how many keys there are.

use gatehouse_core::error::Error;
use worker::Env;

use super::sql::run_if_any;
use crate::platform::database::Statement;

/// What is counted.
pub struct Counts {
    /// Requests for keys that wait for an operator.
    pub pending_requests: u64,
    /// Issued keys that are not revoked, disabled or at their end.
    pub issued_keys: u64,
}

/// Counts; `None` where there is no database, or none with tables.
pub async fn now(env: &Env, now_ms: u64) -> Result<Option<Counts>, Error> {
    let sql = "SELECT (SELECT COUNT(*) FROM key_requests WHERE state = 'pending') AS pending, \
               (SELECT COUNT(*) FROM issued_keys WHERE revoked_ms IS NULL AND disabled = 0 \
               AND (expires_ms IS NULL OR expires_ms > ?1)) AS keys";
    let outcomes = run_if_any(env, &[Statement::new(sql, [now_ms.into()])]).await?;
    let row = outcomes.first().and_then(|outcome| outcome.rows.first());
    Ok(row.and_then(|row| {
        let number = |column: &str| row[column].as_u64();
        Some(Counts { pending_requests: number("pending")?, issued_keys: number("keys")? })
    }))
}
