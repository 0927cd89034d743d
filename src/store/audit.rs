//! Reading the audit trail. [`super::change`] writes it together with each change.

use gatehouse_core::error::Error;
use gatehouse_core::onboarding::audit::{Entry, Head};
use serde::Deserialize;
use worker::Env;

use super::sql::rows;

/// The end of the chain.
pub async fn head(env: &Env) -> Result<Head, Error> {
    #[derive(Deserialize)]
    struct Row {
        seq: u64,
        hash: String,
    }
    let found = rows(env, "SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1", []).await?;
    let head = found.first().and_then(|row| Row::deserialize(row).ok());
    Ok(head.map_or_else(Head::default, |Row { seq, hash }| Head { seq, hash }))
}

/// The entries after a number, oldest first, at most `limit`.
pub async fn after(env: &Env, seq: u64, limit: u64) -> Result<Vec<Entry>, Error> {
    #[derive(Deserialize)]
    struct Row {
        seq: u64,
        entry: String,
        hash: String,
    }
    let sql = "SELECT seq, entry, hash FROM audit_log WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    let found = rows(env, sql, [seq.into(), limit.into()]).await?;
    Ok(found
        .iter()
        .filter_map(|row| Row::deserialize(row).ok())
        .map(|Row { seq, entry, hash }| Entry { seq, text: entry, hash })
        .collect())
}
