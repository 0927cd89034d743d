//! Decisions of operators about lanes: only their entries in the audit trail. The state of lanes is in the `ProviderHealth`
//! object.

use gatehouse_core::error::Error;
use gatehouse_core::onboarding::audit::{Action, Event};
use worker::Env;

use super::change::{Change, change};
use crate::platform::database::Statement;

/// Notes that an operator put a lane into cooldown until a time, or ended its cooldown.
pub async fn note(env: &Env, id: &str, until_ms: Option<u64>, actor: &str) -> Result<(), Error> {
    // An entry needs a statement that changes a row.
    let deciding = vec![Statement::new("UPDATE settings_version SET version = version", [])];
    let action = Action { actor, subject: id, event: Event::Lane { until_ms } };
    change(env, Change { deciding, action, then: vec![] }).await.map(|_| ())
}
