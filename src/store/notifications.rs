//! Pending notifications.

use gatehouse_core::alerts::Channel;
use gatehouse_core::error::Error;
use gatehouse_core::onboarding::webhook::Event;
use serde::Deserialize;
use serde_json::Value;
use worker::Env;

use super::sql::{rows, run, text};
use crate::platform::database::Statement;

/// The maximum number of notifications in one delivery run.
const BATCH: u32 = 20;

/// One notification.
#[derive(Debug, Deserialize)]
pub struct Notification {
    /// The id, the same for each attempt.
    pub id: String,
    /// The body.
    pub body: String,
    /// The number of attempts.
    pub attempts: u32,
    channel: String,
}

impl Notification {
    /// The channel on which it is sent.
    pub fn channel(&self) -> Option<Channel> {
        Channel::ALL.into_iter().find(|channel| channel.name() == self.channel)
    }
}

/// The statement that writes a notification of a request or a secret, if the statement before it changed something.
pub fn write(subject: &str, event: Event, body: String, now_ms: u64) -> Statement {
    let name = match event {
        Event::Submitted => "submitted",
        Event::Approved => "approved",
        Event::Rotated => "rotated",
    };
    write_to(&format!("msg_{subject}_{name}"), Channel::Webhook, body, now_ms)
}

/// The statement that writes a notification, if the statement before it changed something.
pub fn write_to(id: &str, channel: Channel, body: String, now_ms: u64) -> Statement {
    Statement::new(
        "INSERT INTO notifications (id, body, next_ms, channel) SELECT ?1, ?2, ?3, ?4 WHERE changes() > 0",
        [id.into(), body.into(), now_ms.into(), channel.name().into()],
    )
}

/// The statement that deletes the notifications of a request.
pub fn forget(request_id: &str) -> Statement {
    let sql =
        "DELETE FROM notifications WHERE id IN ('msg_' || ?1 || '_submitted', 'msg_' || ?1 || '_approved')";
    Statement::new(sql, [request_id.into()])
}

/// Due notifications on some channels, oldest first.
pub async fn due(env: &Env, channels: &[Channel], now_ms: u64) -> Result<Vec<Notification>, Error> {
    let sql = "SELECT id, body, attempts, channel FROM notifications WHERE next_ms <= ?1 \
               AND channel IN (SELECT value FROM json_each(?3)) ORDER BY next_ms LIMIT ?2";
    let found = rows(env, sql, [now_ms.into(), BATCH.into(), names(channels)]).await?;
    Ok(found.iter().filter_map(|row| Notification::deserialize(row).ok()).collect())
}

/// The time of the next one on some channels, in milliseconds since 1970.
pub async fn next_ms(env: &Env, channels: &[Channel]) -> Result<Option<u64>, Error> {
    let sql = "SELECT next_ms FROM notifications WHERE next_ms IS NOT NULL \
               AND channel IN (SELECT value FROM json_each(?1)) ORDER BY next_ms LIMIT 1";
    Ok(rows(env, sql, [names(channels)]).await?.first().and_then(|row| row.get("next_ms")?.as_u64()))
}

fn names(channels: &[Channel]) -> Value {
    text(&channels.iter().map(|channel| channel.name()).collect::<Vec<_>>())
}

/// Deletes a delivered notification.
pub async fn delivered(env: &Env, id: &str) -> Result<(), Error> {
    run(env, &[Statement::new("DELETE FROM notifications WHERE id = ?1", [id.into()])]).await.map(|_| ())
}

/// Records a failed attempt, and the time of the next one; `None` gives the notification up.
pub async fn failed(env: &Env, id: &str, attempts: u32, next_ms: Option<u64>) -> Result<(), Error> {
    let sql = "UPDATE notifications SET attempts = ?2, next_ms = ?3 WHERE id = ?1";
    run(env, &[Statement::new(sql, [id.into(), attempts.into(), next_ms.into()])]).await.map(|_| ())
}
