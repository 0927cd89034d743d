//! Keys of providers: reading the rows for a change, deleted ones among them, and storing rows. `store::settings` reads the
//! rows that an isolate uses.
//!
//! They share the version of the run-time settings: a change is made only if nobody has made another since it was decided.

use gatehouse_core::error::Error;
use gatehouse_core::key::provider_key::StoredKey;
use gatehouse_core::onboarding::audit::{Action, Event};
use worker::Env;

use super::change::{Change, Changed, change};
use super::sql::{run, text};
use crate::platform::database::Statement;

/// All rows with the version of the settings.
pub async fn all(env: &Env) -> Result<(u64, Vec<StoredKey>), Error> {
    let statements = [
        Statement::new("SELECT version FROM settings_version", []),
        Statement::new("SELECT * FROM provider_keys ORDER BY provider, place", []),
    ];
    let outcomes = run(env, &statements).await?;
    let rows = |index: usize| outcomes.get(index).map(|outcome| &*outcome.rows).unwrap_or_default();
    let version = rows(0).first().and_then(|row| row.get("version")?.as_u64()).unwrap_or_default();
    Ok((version, rows(1).iter().filter_map(StoredKey::from_row).collect()))
}

/// Stores rows in place of those with the same id, or with the same place of the same provider. `false` if others have
/// changed settings since the version.
pub async fn save(
    env: &Env,
    version: u64,
    keys: &[StoredKey],
    actor: &str,
    subject: &str,
    event: Event<'_>,
) -> Result<bool, Error> {
    let deciding = vec![
        Statement::new(
            "UPDATE settings_version SET version = ?1 WHERE version = ?2",
            [(version + 1).into(), version.into()],
        ),
        Statement::new(
            "INSERT OR REPLACE INTO provider_keys (id, provider, label, mask, weight, enabled, place, sealed, sealed_with, \
             created_ms, changed_ms, changed_by, deleted_ms) SELECT value->>'id', value->>'provider', value->>'label', \
             value->>'mask', value->>'weight', value->>'enabled', value->>'place', value->>'sealed', \
             value->>'sealed_with', value->>'created_ms', value->>'changed_ms', value->>'changed_by', \
             value->>'deleted_ms' FROM json_each(?1) WHERE changes() > 0",
            [text(keys)],
        ),
    ];
    let made = Change { deciding, action: Action { actor, subject, event }, then: vec![] };
    Ok(matches!(change(env, made).await?, Changed::Done))
}
