//! Alerts that hold, and the notifications of their changes.
//!
//! A change of an alert, its entry in the list of changes and its notifications are one transaction. Each statement has an
//! effect only if the alert changes, so that any number of objects may find the same condition: it is notified once.

use gatehouse_core::alerts::{self, Alert, AlertChange, AlertDocument, Channel, Delivery, Kind};
use gatehouse_core::config::Alerts;
use gatehouse_core::error::Error;
use gatehouse_core::request_id;
use gatehouse_core::time::{DAY_MS, to_rfc3339};
use serde_json::Value;
use worker::Env;

use super::notifications;
use super::sql::{rows, run, text};
use crate::platform::database::Statement;
use crate::platform::{clock, random};

/// The maximum number of alerts in a list, and of keys whose expiry one check finds.
const MOST: u32 = 1000;
/// The number of changes in a list, and of those that are kept, for a time.
const LISTED_CHANGES: u32 = 50;
const KEPT_CHANGES: u32 = 1000;
const KEPT_MS: u64 = 30 * DAY_MS;
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
            level: level(row),
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

/// The statements that write the entry of a change and its notifications, if the statement before them changed something.
fn notify(document: &AlertDocument, channels: &[Channel], now_ms: u64) -> Vec<Statement> {
    const SQL: &str = "INSERT INTO alert_changes (id, at_ms, kind, subject, state, level, message, channels) \
        SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE changes() > 0";
    let id = request_id::generate(now_ms, random::id_bytes()).to_ascii_lowercase();
    let names: Vec<_> = channels.iter().map(|channel| channel.name()).collect();
    let row = [
        id.as_str().into(),
        now_ms.into(),
        document.alert.as_str().into(),
        document.subject.as_str().into(),
        document.state.into(),
        document.level.into(),
        document.message.as_str().into(),
        text(&names),
    ];
    let statement = |channel: &Channel| {
        let id = notification_id(&id, channel.name());
        notifications::write_to(&id, *channel, document.body(*channel, now_ms), now_ms)
    };
    let mut statements = vec![Statement::new(SQL, row)];
    statements.extend(channels.iter().map(statement));
    statements
}

/// The id of the notification of a change on a channel.
fn notification_id(change: &str, channel: &str) -> String {
    match channel {
        "webhook" => format!("msg_alert_{change}"),
        _ => format!("msg_alert_{change}_{channel}"),
    }
}

/// The newest changes, newest first, with the state of their notifications: one that is delivered is no longer a row.
pub async fn changes(env: &Env) -> Result<Vec<AlertChange>, Error> {
    const CHANGES: &str = "SELECT * FROM alert_changes ORDER BY id DESC LIMIT ?1";
    const UNDELIVERED: &str = "SELECT id, attempts, next_ms FROM notifications \
        WHERE id >= 'msg_alert_' AND id < 'msg_alert`' ORDER BY id DESC LIMIT ?1";
    let statements =
        [Statement::new(CHANGES, [LISTED_CHANGES.into()]), Statement::new(UNDELIVERED, [MOST.into()])];
    let mut outcomes = run(env, &statements).await?.into_iter();
    let mut rows = || outcomes.next().unwrap_or_default().rows;
    let (changes, undelivered) = (rows(), rows());
    let delivery = |change: &str, channel: String| {
        let id = notification_id(change, &channel);
        let row = undelivered.iter().find(|row| row["id"].as_str() == Some(&id));
        let state = match row {
            None => "delivered",
            Some(row) if row["next_ms"].is_null() => "failed",
            Some(_) => "pending",
        };
        let attempts = row.and_then(|row| u32::try_from(row["attempts"].as_u64()?).ok());
        Delivery { channel, state, failed_attempts: attempts }
    };
    let change = |row: &Value| {
        let text = |column: &str| row[column].as_str().unwrap_or_default().to_owned();
        let channels: Vec<String> = serde_json::from_str(&text("channels")).unwrap_or_default();
        let id = text("id");
        AlertChange {
            at: to_rfc3339(row["at_ms"].as_u64().unwrap_or_default()),
            alert: text("kind"),
            subject: text("subject"),
            state: text("state"),
            level: level(row),
            message: text("message"),
            deliveries: channels.into_iter().map(|channel| delivery(&id, channel)).collect(),
        }
    };
    Ok(changes.iter().map(change).collect())
}

fn level(row: &Value) -> u32 {
    row["level"].as_u64().and_then(|level| u32::try_from(level).ok()).unwrap_or(1)
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
/// themselves. Ends the alerts that operators have turned off, and forgets old changes.
pub async fn check(env: &Env, config: &Alerts, channels: &[Channel]) -> Result<(), Error> {
    let now_ms = clock::now_ms();
    let off: Vec<_> = Kind::ALL.iter().filter(|kind| !kind.is_on(config)).map(|kind| kind.name()).collect();
    let is_over = "WHERE ends_ms <= ?1 OR kind IN (SELECT value FROM json_each(?2))";
    end(env, select(env, is_over, [now_ms.into(), text(&off)]).await?, channels).await?;
    if Kind::KeyExpiring.is_on(config) {
        check_expiries(env, config, channels, now_ms).await?;
    }
    if Kind::RequestsWaiting.is_on(config) {
        check_requests(env, config, channels, now_ms).await?;
    }
    forget_changes(env, now_ms).await
}

async fn forget_changes(env: &Env, now_ms: u64) -> Result<(), Error> {
    const SQL: &str = "DELETE FROM alert_changes WHERE at_ms < ?1 \
        OR id <= (SELECT id FROM alert_changes ORDER BY id DESC LIMIT 1 OFFSET ?2)";
    let row = [now_ms.saturating_sub(KEPT_MS).into(), KEPT_CHANGES.into()];
    run(env, &[Statement::new(SQL, row)]).await.map(|_| ())
}

async fn check_expiries(env: &Env, config: &Alerts, channels: &[Channel], now_ms: u64) -> Result<(), Error> {
    const SQL: &str = "SELECT name, expires_ms FROM issued_keys WHERE revoked_ms IS NULL AND expires_ms > ?1 AND expires_ms <= ?2 \
        AND NOT EXISTS (SELECT 1 FROM alerts WHERE kind = 'key_expiring' AND subject = issued_keys.name) LIMIT ?3";
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
    let before_ms = now_ms.saturating_sub(u64::from(config.requests_waiting_hours) * HOUR_MS);
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
