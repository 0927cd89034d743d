//! Reading the audit trail. [`super::change`] writes it together with each change.

use gatehouse_core::error::{Code, Error};
use gatehouse_core::onboarding::audit::{Entry, Head};
use gatehouse_core::onboarding::audit_state::{KeyRow, ProviderKeyRow, SecretRow, SettingRow};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use worker::Env;

use super::sql::{rows, run};
use crate::platform::database::Statement;

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

/// The entries after a number that contain a text, oldest first, at most `limit`.
pub async fn after(env: &Env, seq: u64, search: Option<&str>, limit: u64) -> Result<Vec<Entry>, Error> {
    let sql = concat!(
        "SELECT seq, entry, hash FROM audit_log WHERE seq > ?1 ",
        "AND (?2 IS NULL OR instr(lower(entry), ?2) > 0) ORDER BY seq LIMIT ?3"
    );
    entries(env, sql, seq, search, limit).await
}

/// The entries before a number, or all, that contain a text, newest first, at most `limit`.
pub async fn before(
    env: &Env,
    seq: Option<u64>,
    search: Option<&str>,
    limit: u64,
) -> Result<Vec<Entry>, Error> {
    let sql = concat!(
        "SELECT seq, entry, hash FROM audit_log WHERE seq < ?1 ",
        "AND (?2 IS NULL OR instr(lower(entry), ?2) > 0) ORDER BY seq DESC LIMIT ?3"
    );
    entries(env, sql, seq.unwrap_or(1 << 53), search, limit).await
}

/// Letters of ASCII in the text match in both cases.
async fn entries(
    env: &Env,
    sql: &'static str,
    seq: u64,
    search: Option<&str>,
    limit: u64,
) -> Result<Vec<Entry>, Error> {
    #[derive(Deserialize)]
    struct Row {
        seq: u64,
        entry: String,
        hash: String,
    }
    let search = search.map(str::to_ascii_lowercase);
    let found = rows(env, sql, [seq.into(), search.into(), limit.into()]).await?;
    Ok(found
        .iter()
        .filter_map(|row| Row::deserialize(row).ok())
        .map(|Row { seq, entry, hash }| Entry { seq, text: entry, hash })
        .collect())
}

/// The tables that the trail implies, at one moment.
pub struct Tables {
    /// The number of the last entry.
    pub last: u64,
    /// The keys.
    pub keys: Vec<KeyRow>,
    /// Their secrets.
    pub secrets: Vec<SecretRow>,
    /// The run-time settings.
    pub settings: Vec<SettingRow>,
    /// The keys of providers, without their ciphertexts.
    pub provider_keys: Vec<ProviderKeyRow>,
}

/// Reads the tables and the number of the last entry.
pub async fn tables(env: &Env) -> Result<Tables, Error> {
    let statements = [
        "SELECT coalesce(max(seq), 0) AS seq FROM audit_log",
        "SELECT id, name, disabled, policies, models, endpoints, limits, role, expires_ms, revoked_ms FROM issued_keys",
        "SELECT key_id, public_id, digest FROM key_secrets",
        "SELECT kind, name, value FROM settings",
        "SELECT provider, id, label, mask, weight, enabled, deleted_ms FROM provider_keys ORDER BY provider, place",
    ];
    let mut outcomes = run(env, &statements.map(|sql| Statement::new(sql, []))).await?.into_iter();
    let mut next = || outcomes.next().unwrap_or_default().rows;
    let last = next().first().and_then(|row| row.get("seq")?.as_u64()).unwrap_or_default();
    Ok(Tables {
        last,
        keys: read(&next())?,
        secrets: read(&next())?,
        settings: read(&next())?,
        provider_keys: read(&next())?,
    })
}

fn read<T: DeserializeOwned>(rows: &[Value]) -> Result<Vec<T>, Error> {
    let unreadable = |_| Error::new(Code::InternalError, "A stored key or setting cannot be read");
    rows.iter().map(|row| T::deserialize(row).map_err(unreadable)).collect()
}
