//! Counts for the metrics: key requests, keys, and incidents.

use gatehouse_core::error::Error;
use gatehouse_core::report::metrics::Snapshot;
use worker::Env;

use super::sql::run_if_any;
use crate::platform::database::{self, Failure, Statement};

/// The counts.
pub struct Counts {
    /// Pending key requests.
    pub pending_requests: u64,
    /// Issued keys that are not revoked, disabled or expired.
    pub issued_keys: u64,
    /// The incidents.
    pub incidents: Incidents,
    /// Calls whose spans were dropped.
    pub dropped_spans: u64,
}

impl Counts {
    /// The metrics that are counts; the others are still to be set.
    pub fn snapshot(&self) -> Snapshot<'static> {
        Snapshot {
            pending_requests: Some(self.pending_requests),
            issued_keys: Some(self.issued_keys),
            capped_calls: Some(self.incidents.capped_calls),
            lost_records: Some(self.incidents.lost_records),
            dropped_spans: Some(self.dropped_spans),
            ..Snapshot::default()
        }
    }
}

/// Numbers of events that should never happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incidents {
    /// Calls whose provider reported more than can be right.
    pub capped_calls: u64,
    /// Calls whose record was lost.
    pub lost_records: u64,
}

/// Adds incidents.
pub async fn add(env: &Env, incidents: Incidents) -> Result<(), Failure> {
    let sql = "INSERT INTO counters (name, value) VALUES ('capped_calls', ?1), ('lost_records', ?2) \
               ON CONFLICT (name) DO UPDATE SET value = value + excluded.value";
    let Incidents { capped_calls, lost_records } = incidents;
    database::run(env, &[Statement::new(sql, [capped_calls.into(), lost_records.into()])]).await.map(|_| ())
}

/// Adds calls whose spans were dropped.
pub async fn add_dropped_spans(env: &Env, calls: u64) -> Result<(), Failure> {
    let sql = "INSERT INTO counters (name, value) VALUES ('dropped_spans', ?1) \
               ON CONFLICT (name) DO UPDATE SET value = value + excluded.value";
    database::run(env, &[Statement::new(sql, [calls.into()])]).await.map(|_| ())
}

/// Reads the counts; `None` if there is no database, or none with tables.
pub async fn now(env: &Env, now_ms: u64) -> Result<Option<Counts>, Error> {
    let sql = "SELECT (SELECT COUNT(*) FROM key_requests WHERE state = 'pending') AS pending, \
               (SELECT COUNT(*) FROM issued_keys WHERE revoked_ms IS NULL AND disabled = 0 \
               AND (expires_ms IS NULL OR expires_ms > ?1)) AS keys, \
               coalesce((SELECT value FROM counters WHERE name = 'capped_calls'), 0) AS capped, \
               coalesce((SELECT value FROM counters WHERE name = 'lost_records'), 0) AS lost, \
               coalesce((SELECT value FROM counters WHERE name = 'dropped_spans'), 0) AS dropped";
    let outcomes = run_if_any(env, &[Statement::new(sql, [now_ms.into()])]).await?;
    let row = outcomes.first().and_then(|outcome| outcome.rows.first());
    Ok(row.and_then(|row| {
        let number = |column: &str| row[column].as_u64();
        Some(Counts {
            pending_requests: number("pending")?,
            issued_keys: number("keys")?,
            incidents: Incidents { capped_calls: number("capped")?, lost_records: number("lost")? },
            dropped_spans: number("dropped")?,
        })
    }))
}
