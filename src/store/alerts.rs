//! Alerts that hold, and the notifications of their changes.
//!
//! A change of an alert and its notifications are one transaction. Each statement has an effect only if the alert changes,
//! so that any number of objects may find the same condition: it is notified once.

use gatehouse_core::alerts::{self, Alert, AlertDocument, Channel, Kind};
use gatehouse_core::config::Alerts;
use gatehouse_core::error::Error;
use gatehouse_core::request_id;
use gatehouse_core::time::{DAY_MS, to_rfc3339};
use serde_json::Value;
use worker::Env;

use super::notifications;
use super::sql::{rows, run};
use crate::platform::database::Statement;
use crate::platform::{clock, random};

/// The maximum number of alerts in a list, and of keys whose expiry one check finds.
const MOST: u32 = 1000;
const HOUR_MS: u64 = 3_600_000;

/// A stored alert.
#[derive(Clone, Debug)]
pub struct StoredAlert {
    /// The name of the kind.
    pub kind: String,
    /// The subject.
    pub subject: String,
    level: u32,
    message: String,
    since_ms: u64,
    ends_ms: Option<u64>,
}

impl StoredAlert {
    fn of(row: &Value) -> StoredAlert {
        let text = |column: &str| row[column].as_str().unwrap_or_default().to_owned();
        let number = |column: &str| row[column].as_u64();
        StoredAlert {
            kind: text("kind"),
            subject: text("subject"),
            level: number("level").and_then(|level| u32::try_from(level).ok()).unwrap_or(1),
            message: text("message"),
            since_ms: number("since_ms").unwrap_or_default(),
            ends_ms: number("ends_ms"),
        }
    }

    /// The document.
    pub fn document(self, state: &'static str) -> AlertDocument {
        AlertDocument {
            alert: self.kind,
            subject: self.subject,
            state,
            level: self.level,
            message: self.message,
            since: to_rfc3339(self.since_ms),
            ends_at: self.ends_ms.map(to_rfc3339),
        }
    }
}

/// The statements that write the notifications of a change, if the statement before them changed something.
fn notify(document: &AlertDocument, channels: &[Channel], now_ms: u64) -> Vec<Statement> {
    let id = request_id::generate(now_ms, random::id_bytes()).to_ascii_lowercase();
    let statement = |channel: &Channel| {
        let id = match channel {
            Channel::Webhook => format!("msg_alert_{id}"),
            Channel::Slack | Channel::Email => format!("msg_alert_{id}_{}", channel.name()),
        };
        notifications::write_to(&id, *channel, document.body(*channel, now_ms), now_ms)
    };
    channels.iter().map(statement).collect()
}

/// Writes that a condition holds. Without effect if it is known with the same level.
pub async fn raise(env: &Env, alert: &Alert, channels: &[Channel]) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO alerts (kind, subject, level, message, since_ms, ends_ms) SELECT ?1, ?2, ?3, ?4, ?5, ?6 \
        WHERE true ON CONFLICT (kind, subject) DO UPDATE SET level = excluded.level, message = excluded.message, \
        since_ms = excluded.since_ms, ends_ms = excluded.ends_ms WHERE alerts.level <> excluded.level";
    let now_ms = clock::now_ms();
    let row = [
        alert.kind.name().into(),
        alert.subject.as_str().into(),
        alert.level.into(),
        alert.message.as_str().into(),
        now_ms.into(),
        alert.ends_ms.into(),
    ];
    let mut statements = vec![Statement::new(SQL, row)];
    statements.extend(notify(&AlertDocument::firing(alert, now_ms), channels, now_ms));
    run(env, &statements).await.map(|_| ())
}

/// Writes that a condition is over. Without effect if it is not known.
pub async fn resolve(env: &Env, kind: Kind, subject: &str, channels: &[Channel]) -> Result<(), Error> {
    let found = select(env, "WHERE kind = ?1 AND subject = ?2", [kind.name().into(), subject.into()]).await?;
    end(env, found, channels).await
}

async fn end(env: &Env, found: Vec<StoredAlert>, channels: &[Channel]) -> Result<(), Error> {
    let now_ms = clock::now_ms();
    let mut statements = Vec::new();
    for alert in found {
        let row = [alert.kind.as_str().into(), alert.subject.as_str().into(), alert.since_ms.into()];
        let sql = "DELETE FROM alerts WHERE kind = ?1 AND subject = ?2 AND since_ms = ?3";
        statements.push(Statement::new(sql, row));
        statements.extend(notify(&alert.document("resolved"), channels, now_ms));
    }
    if statements.is_empty() { Ok(()) } else { run(env, &statements).await.map(|_| ()) }
}

async fn select(env: &Env, rest: &str, parameters: impl Into<Vec<Value>>) -> Result<Vec<StoredAlert>, Error> {
    let sql = format!(
        "SELECT kind, subject, level, message, since_ms, ends_ms FROM alerts {rest} ORDER BY kind, subject LIMIT {MOST}"
    );
    let outcomes = run(env, &[Statement::new(sql, parameters)]).await?;
    let found = outcomes.into_iter().next().unwrap_or_default().rows;
    Ok(found.iter().map(StoredAlert::of).collect())
}

/// All alerts that hold.
pub async fn list(env: &Env) -> Result<Vec<StoredAlert>, Error> {
    select(env, "", []).await
}

/// The name of a key that is not revoked, and the level of its alert about a counter; 0 if there is none.
pub async fn budget_level(env: &Env, key_id: &str, counter: &str) -> Result<Option<(String, u32)>, Error> {
    const SQL: &str = "SELECT k.name, a.level FROM issued_keys k LEFT JOIN alerts a \
        ON a.kind = 'budget' AND a.subject = k.name || ' ' || ?2 WHERE k.id = ?1 AND k.revoked_ms IS NULL";
    let found = rows(env, SQL, [key_id.into(), counter.into()]).await?;
    Ok(found.first().and_then(|row| {
        let level = row["level"].as_u64().and_then(|level| u32::try_from(level).ok());
        Some((row["name"].as_str()?.to_owned(), level.unwrap_or(0)))
    }))
}

/// Checks the conditions that depend on the time alone: keys that expire soon, pending requests, and alerts that end by
/// themselves.
pub async fn check(env: &Env, config: &Alerts, channels: &[Channel]) -> Result<(), Error> {
    let now_ms = clock::now_ms();
    let is_over = "WHERE ends_ms <= ?1";
    end(env, select(env, is_over, [now_ms.into()]).await?, channels).await?;
    check_expiries(env, config, channels, now_ms).await?;
    check_requests(env, config, channels, now_ms).await
}

async fn check_expiries(env: &Env, config: &Alerts, channels: &[Channel], now_ms: u64) -> Result<(), Error> {
    const SQL: &str = "SELECT name, expires_ms FROM issued_keys WHERE revoked_ms IS NULL AND expires_ms > ?1 AND expires_ms <= ?2 \
        AND NOT EXISTS (SELECT 1 FROM alerts WHERE kind = 'key_expiring' AND subject = issued_keys.name) LIMIT ?3";
    // Without a setting, no key expires soon, so that alerts of an earlier one end.
    let horizon_ms = now_ms + u64::from(config.key_expires_days) * DAY_MS;
    let is_over = "WHERE kind = 'key_expiring' AND NOT EXISTS (SELECT 1 FROM issued_keys WHERE name = subject \
                   AND revoked_ms IS NULL AND expires_ms <= ?1)";
    end(env, select(env, is_over, [horizon_ms.into()]).await?, channels).await?;
    for row in rows(env, SQL, [now_ms.into(), horizon_ms.into(), MOST.into()]).await? {
        let (name, expires_ms) = (row.get("name"), row.get("expires_ms"));
        if let (Some(name), Some(expires_ms)) =
            (name.and_then(Value::as_str), expires_ms.and_then(Value::as_u64))
        {
            raise(env, &alerts::key_expiring(name, expires_ms), channels).await?;
        }
    }
    Ok(())
}

async fn check_requests(env: &Env, config: &Alerts, channels: &[Channel], now_ms: u64) -> Result<(), Error> {
    let hours = u64::from(config.requests_waiting_hours);
    let before_ms = if hours > 0 { now_ms.saturating_sub(hours * HOUR_MS) } else { 0 };
    let sql = "SELECT count(*) AS count, min(created_ms) AS oldest_ms FROM key_requests WHERE state = 'pending' AND created_ms < ?1";
    let found = rows(env, sql, [before_ms.into()]).await?;
    let number = |column: &str| found.first().and_then(|row| row[column].as_u64());
    match (number("count"), number("oldest_ms")) {
        (Some(count), Some(oldest_ms)) => {
            raise(env, &alerts::requests_waiting(count, oldest_ms), channels).await
        }
        _ => resolve(env, Kind::RequestsWaiting, "", channels).await,
    }
}
