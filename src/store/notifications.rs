//! Pending notifications.

use gatehouse_core::error::Error;
use gatehouse_core::onboarding::webhook::Event;
use serde::Deserialize;
use worker::Env;

use super::sql::{rows, run};
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
}

/// The statement that writes a notification of a request, if the statement before it changed something.
pub fn write(request_id: &str, event: Event, body: String, now_ms: u64) -> Statement {
    let name = match event {
        Event::Submitted => "submitted",
        Event::Approved => "approved",
    };
    Statement::new(
        "INSERT INTO notifications (id, body, next_ms) SELECT ?1, ?2, ?3 WHERE changes() > 0",
        [format!("msg_{request_id}_{name}").into(), body.into(), now_ms.into()],
    )
}

/// The statement that deletes the notifications of a request.
pub fn forget(request_id: &str) -> Statement {
    let sql =
        "DELETE FROM notifications WHERE id IN ('msg_' || ?1 || '_submitted', 'msg_' || ?1 || '_approved')";
    Statement::new(sql, [request_id.into()])
}

/// Due notifications, oldest first.
pub async fn due(env: &Env, now_ms: u64) -> Result<Vec<Notification>, Error> {
    let sql = "SELECT id, body, attempts FROM notifications WHERE next_ms <= ?1 ORDER BY next_ms LIMIT ?2";
    let found = rows(env, sql, [now_ms.into(), BATCH.into()]).await?;
    Ok(found.iter().filter_map(|row| Notification::deserialize(row).ok()).collect())
}

/// The time of the next one, in milliseconds since 1970.
pub async fn next_ms(env: &Env) -> Result<Option<u64>, Error> {
    let sql = "SELECT next_ms FROM notifications WHERE next_ms IS NOT NULL ORDER BY next_ms LIMIT 1";
    Ok(rows(env, sql, []).await?.first().and_then(|row| row.get("next_ms")?.as_u64()))
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
