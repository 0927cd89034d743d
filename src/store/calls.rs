//! The list of recent calls of all keys: receipts that the ledgers copy here with their roll-ups. A key's own receipts in
//! its object are complete; this list is bounded.
//!
//! The receipts that are recorded in the same ten seconds are one row. A ledger appends to it in the transaction of its
//! roll-up, so that a call costs at most one row, and a row is removed once for all calls in it. A row that has
//! [`MOST_BYTES`] takes no more receipts, except for those of failed calls, up to twice as many bytes.
//!
//! Rejected calls, which have no receipt, are in a table of their own, so that they push no call out: a ledger adds at most
//! one row of counts a minute ([`add_rejected`]).

use gatehouse_core::error::Error;
use gatehouse_core::ledger::receipt::{is_failed, with_key};
use gatehouse_core::ledger::rejection::Batch;
use gatehouse_core::report::calls::{Cursor, Query, SPAN_MS};
use serde_json::Value;
use worker::Env;

use super::sql::run_if_any;
use crate::platform::clock;
use crate::platform::database::{self, Failure, Statement};

const ADD: &str = include_str!("calls/add.sql");
const LIST: &str = include_str!("calls/list.sql");
const FIND: &str = include_str!("calls/find.sql");
/// The tables of calls, and their columns with the calls.
const SOURCES: [[&str; 2]; 2] = [["recent_calls", "receipts"], ["rejected_calls", "calls"]];
/// The size from which on a row takes only failed calls, in bytes.
const MOST_BYTES: usize = 200_000;
/// The part of them that failed calls may take in one page.
const MOST_FAILED_BYTES: usize = 100_000;

/// The receipts of a roll-up.
pub struct Page {
    /// Their number and their texts, separated by commas.
    all: (u64, String),
    /// The same of the failed calls among them.
    failed: (u64, String),
}

impl Page {
    /// The page of receipts of a key, newest first; `None` without receipts. What does not fit is left out: the oldest, and
    /// of the failed calls the oldest of these.
    pub fn new<'r>(key_id: &str, receipts: impl Iterator<Item = &'r str> + Clone) -> Option<Page> {
        let mut failed = Part::default();
        for receipt in receipts.clone().filter(|receipt| is_failed(receipt)) {
            failed.add(receipt, key_id, MOST_FAILED_BYTES);
        }
        let mut others = Part::default();
        for receipt in receipts.filter(|receipt| !is_failed(receipt)) {
            others.add(receipt, key_id, MOST_BYTES - MOST_FAILED_BYTES);
        }
        let all: Vec<String> = failed.texts.iter().chain(&others.texts).cloned().collect();
        let joined = |texts: &[String]| (texts.len() as u64, texts.join(","));
        (!all.is_empty()).then(|| Page { all: joined(&all), failed: joined(&failed.texts) })
    }

    /// The statement that adds the page, unless the watermark of its ledger shows that it was added before.
    pub fn add(self, ledger: &str, watermark: u64) -> Statement {
        let Page { all, failed } = self;
        let parameters: [Value; 8] = [
            (clock::now_ms() / SPAN_MS).into(),
            all.0.into(),
            all.1.into(),
            failed.0.into(),
            failed.1.into(),
            ledger.into(),
            watermark.into(),
            MOST_BYTES.into(),
        ];
        Statement::new(ADD, parameters)
    }
}

#[derive(Default)]
struct Part {
    texts: Vec<String>,
    bytes: usize,
}

impl Part {
    fn add(&mut self, receipt: &str, key_id: &str, most: usize) {
        if self.bytes + receipt.len() <= most {
            self.bytes += receipt.len();
            self.texts.push(with_key(receipt, key_id));
        }
    }
}

/// A call of the list.
pub struct Call {
    /// The receipt with `key_id`, as JSON text.
    pub receipt: String,
    /// The name of its key, if it is an issued key that is known.
    pub key_name: Option<String>,
    /// Its place in the list.
    pub cursor: Cursor,
}

/// The calls that match a query, newest first, at most `limit`. Without a database or tables, there are none.
pub async fn list(env: &Env, query: &Query, limit: u32) -> Result<Vec<Call>, Error> {
    let Query { after, from_id, before_id, filters, status, code, failed, since_span } = query;
    let last_span = after.as_ref().map_or(1 << 50, |cursor| cursor.span);
    let mut parameters: Vec<Value> = vec![
        last_span.into(),
        (*since_span).into(),
        after.as_ref().map(|cursor| cursor.id.as_str()).into(),
        from_id.as_deref().into(),
        before_id.as_deref().into(),
    ];
    let filters = [&filters.key, &filters.project, &filters.model, &filters.provider, &filters.operation];
    parameters.extend(filters.map(|filter| filter.as_deref().into()));
    parameters.extend([(*status).into(), code.as_deref().into(), failed.map(u8::from).into(), limit.into()]);
    let sql = of_sources(LIST) + " ORDER BY span DESC, place DESC LIMIT ?14";
    let outcomes = run_if_any(env, &[Statement::new(sql, parameters)]).await?;
    Ok(outcomes.first().map(|outcome| outcome.rows.iter().map(call).collect()).unwrap_or_default())
}

/// The newest call with this id or request id.
pub async fn find(env: &Env, id: &str) -> Result<Option<Call>, Error> {
    // The id of a call or a request is letters, digits and a few marks, so the JSON text has it unescaped.
    let sql = of_sources(FIND) + " ORDER BY span DESC LIMIT 1";
    let outcomes = run_if_any(env, &[Statement::new(sql, [format!("\"{id}\"").into(), id.into()])]).await?;
    Ok(outcomes.first().and_then(|outcome| outcome.rows.first()).map(call))
}

/// A query of one table, for both.
fn of_sources(template: &str) -> String {
    let of = |[table, column]: [&str; 2]| template.replace("{table}", table).replace("{calls}", column);
    SOURCES.map(of).join(" UNION ALL ")
}

/// Adds rejected calls of a key, once even if it is repeated.
pub async fn add_rejected(env: &Env, key: &str, batch: &Batch) -> Result<(), Failure> {
    let texts: Vec<String> =
        batch.rejections.iter().map(|rejection| with_key(&rejection.to_text(), key)).collect();
    let sql = "INSERT INTO rejected_calls (span, key, calls) VALUES (?1, ?2, ?3) ON CONFLICT (span, key) DO NOTHING";
    let parameters = [(batch.at_ms / SPAN_MS).into(), key.into(), texts.join(",").into()];
    database::run(env, &[Statement::new(sql, parameters)]).await.map(|_| ())
}

fn call(found: &Value) -> Call {
    let text = |column: &str| found[column].as_str().map(str::to_owned);
    Call {
        receipt: text("receipt").unwrap_or_default(),
        key_name: text("key_name"),
        cursor: Cursor {
            span: found["span"].as_u64().unwrap_or_default(),
            id: text("id").unwrap_or_default(),
        },
    }
}
