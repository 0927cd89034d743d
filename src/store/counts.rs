//! Counts of key requests and of keys.

use gatehouse_core::error::Error;
use worker::Env;

use super::sql::run_if_any;
use crate::platform::database::Statement;

/// The counts.
pub struct Counts {
    /// Pending key requests.
    pub pending_requests: u64,
    /// Issued keys that are not revoked, disabled or expired.
    pub issued_keys: u64,
}

/// Reads the counts; `None` if there is no database, or none with tables.
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
