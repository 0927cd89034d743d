//! Run-time settings and keys of providers: reading them with their version, and changing a setting.

use std::collections::BTreeMap;

use gatehouse_core::error::{Code, Error};
use gatehouse_core::key::IssuedKey;
use gatehouse_core::key::provider_key::StoredKey;
use gatehouse_core::onboarding::audit::{Action, Event};
use gatehouse_core::routes::Table;
use gatehouse_core::run_time::{Change as SettingChange, Effect, Setting, place};
use serde_json::Value;
use worker::Env;

use super::change::{Change, Changed, change};
use super::sql::{or_none, rows, run, run_if_any, text};
use crate::platform::clock;
use crate::platform::database::{self, Failure, Outcome, Statement};

/// All settings, with their version.
pub struct Stored {
    /// The number of changes.
    pub version: u64,
    /// The settings, sorted by table and name.
    pub settings: Vec<Setting>,
    /// The keys of providers, encrypted, sorted by provider and place.
    pub keys: Vec<StoredKey>,
}

/// The statements that read the version, and the settings and keys if it differs from a known one.
fn statements(known_version: Option<u64>) -> [Statement; 3] {
    // The condition does not depend on the row, so that the table is not read if it is false.
    const SETTINGS: &str = "SELECT kind, name, value, version, changed_ms, changed_by FROM settings \
        WHERE (SELECT version FROM settings_version) IS NOT ?1 ORDER BY kind, name";
    const KEYS: &str = "SELECT * FROM provider_keys WHERE (SELECT version FROM settings_version) IS NOT ?1 \
        AND deleted_ms IS NULL ORDER BY provider, place";
    [
        Statement::new("SELECT version FROM settings_version", []),
        Statement::new(SETTINGS, [known_version.into()]),
        Statement::new(KEYS, [known_version.into()]),
    ]
}

fn read(outcomes: &[Outcome]) -> Stored {
    let rows = |index: usize| outcomes.get(index).map(|outcome| &*outcome.rows).unwrap_or_default();
    Stored {
        version: rows(0).first().and_then(|row| row.get("version")?.as_u64()).unwrap_or_default(),
        settings: rows(1).iter().filter_map(Setting::from_row).collect(),
        keys: rows(2).iter().filter_map(StoredKey::from_row).collect(),
    }
}

/// The settings, if their version differs from the known one. Without a database or tables there are none.
pub async fn newer(env: &Env, known_version: Option<u64>) -> Result<Option<Stored>, Error> {
    let all = statements(known_version);
    let outcomes = match database::run(env, &all).await {
        // The code was deployed before its migration: the settings apply all the same.
        Err(Failure::NotMigrated) => run_if_any(env, all.get(..2).unwrap_or_default()).await?,
        outcomes => or_none(outcomes)?,
    };
    let stored = read(&outcomes);
    Ok((known_version != Some(stored.version)).then_some(stored))
}

/// The settings, for a change.
pub async fn all(env: &Env) -> Result<Stored, Error> {
    Ok(read(&run(env, &statements(None)).await?))
}

/// All keys that are not revoked, with their permissions.
pub async fn keys(env: &Env) -> Result<Vec<IssuedKey>, Error> {
    const SQL: &str = "SELECT id, name, disabled, expires_ms AS key_expires_ms, NULL AS secret_expires_ms, policies, models, \
        endpoints, limits FROM issued_keys WHERE revoked_ms IS NULL ORDER BY name";
    let unreadable = || Error::new(Code::InternalError, "A stored key cannot be read");
    rows(env, SQL, []).await?.iter().map(|row| IssuedKey::from_row(row).ok_or_else(unreadable)).collect()
}

/// The numbers of keys that have each policy. Revoked keys do not count.
pub async fn keys_by_policy(env: &Env) -> Result<BTreeMap<String, usize>, Error> {
    const SQL: &str = "SELECT value AS policy, COUNT(*) AS keys FROM issued_keys, json_each(policies) \
        WHERE revoked_ms IS NULL GROUP BY value";
    let count = |row: &Value| {
        let keys = row.get("keys")?.as_u64().and_then(|keys| usize::try_from(keys).ok())?;
        Some((row.get("policy")?.as_str()?.to_owned(), keys))
    };
    Ok(rows(env, SQL, []).await?.iter().filter_map(count).collect())
}

/// Stores a change that was decided with the settings of a version. `false` if others have changed settings since, or
/// have given a key the policy that is removed.
pub async fn save(
    env: &Env,
    version: u64,
    decided: &SettingChange<'_>,
    effect: &Effect,
    actor: &str,
) -> Result<bool, Error> {
    let SettingChange { table, name, entry } = decided;
    let now_ms = clock::now_ms();
    let new_version = version + 1;
    let is_policy_removed = *table == Table::Policies && effect.value.is_none();
    let counted = Statement::new(
        "UPDATE settings_version SET version = ?1 WHERE version = ?2 AND (?3 IS NULL OR NOT EXISTS \
         (SELECT 1 FROM issued_keys, json_each(policies) WHERE revoked_ms IS NULL AND value = ?3))",
        [new_version.into(), version.into(), is_policy_removed.then_some(*name).into()],
    );
    let value = entry.as_ref().map(json);
    let stored = match &value {
        Some(value) => Statement::new(
            "INSERT INTO settings (kind, name, value, version, changed_ms, changed_by) \
             SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE changes() > 0 ON CONFLICT (kind, name) DO UPDATE SET \
             value = excluded.value, version = excluded.version, changed_ms = excluded.changed_ms, \
             changed_by = excluded.changed_by",
            [
                table.name().into(),
                (*name).into(),
                text(value),
                new_version.into(),
                now_ms.into(),
                actor.into(),
            ],
        ),
        None => Statement::new(
            "DELETE FROM settings WHERE kind = ?1 AND name = ?2 AND changes() > 0",
            [table.name().into(), (*name).into()],
        ),
    };
    let was = effect.was.as_ref().map(json);
    let subject = place(*table, name);
    let event = Event::Setting {
        table: table.name(),
        name,
        version: new_version,
        value: value.as_ref(),
        was: was.as_ref(),
    };
    let action = Action { actor, subject: &subject, event };
    let made = Change { deciding: vec![counted, stored], action, then: vec![] };
    Ok(matches!(change(env, made).await?, Changed::Done))
}

fn json(entry: &gatehouse_core::run_time::Entry) -> Value {
    serde_json::to_value(entry).unwrap_or_default()
}
