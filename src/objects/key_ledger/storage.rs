//! The SQLite storage of a `KeyLedger`. The functions are synchronous: they run their statements at once, and the
//! statements of one call are atomic.

use gatehouse_core::config::Calls;
use gatehouse_core::json;
use gatehouse_core::ledger::tally::Row;
use gatehouse_core::ledger::{
    Account, Changes, KEEP_RESPONSES_MS, KeptResponse, MAX_KEPT_RESPONSES, MAX_SETTLED, Page, Stored, receipt,
};
use gatehouse_core::report::usage::Usage;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use worker::wasm_bindgen::{self, JsValue, prelude::wasm_bindgen};

use crate::platform::database::Statement;
use crate::platform::variables;
use crate::store::sql;
use crate::store::usage::{add_rows, row, sums};

#[wasm_bindgen(module = "/src/platform/bindings.js")]
extern "C" {
    #[wasm_bindgen(js_name = runObjectStatements, catch)]
    fn run_object_statements(state: &JsValue, statements: &str, long: &str) -> Result<String, JsValue>;
    #[wasm_bindgen(js_name = setObjectAlarm)]
    fn set_object_alarm(state: &JsValue, at_ms: f64);
}

const TABLES: &str = include_str!("schema.sql");
const USAGE_TABLES: &str = include_str!("../../../migrations/0002_usage.sql");
/// The name of the ledger among its own watermarks.
const ITSELF: &str = "";
/// The maximum number of stored receipts, and their maximum age, in milliseconds. The sums are kept forever.
const KEEP_RECEIPTS: u64 = 10_000;
const KEEP_MS: u64 = 30 * 86_400_000;

/// The number of the newest receipts of a roll-up that are offered to the list of calls, apart from those of one page.
const MAX_LISTED: u64 = 200;

/// The placeholder of the long parameter in a statement.
const LONG: Value = Value::Bool(true);

/// Runs statements in order, atomically, and returns the rows of each.
fn run(state: &JsValue, statements: &[Statement]) -> Result<Vec<Vec<Value>>, String> {
    run_with(state, statements, "")
}

/// The same with one long parameter in place of [`LONG`]: as an ordinary parameter it would be escaped and parsed
/// again.
fn run_with(state: &JsValue, statements: &[Statement], long: &str) -> Result<Vec<Vec<Value>>, String> {
    let found = run_object_statements(state, &json::to_text(statements), long);
    let found = found.map_err(|error| variables::message(&error))?;
    serde_json::from_str(&found).map_err(|error| error.to_string())
}

fn text<'v>(row: &'v Value, column: &str) -> &'v str {
    row[column].as_str().unwrap_or_default()
}

fn number(row: &Value, column: &str) -> u64 {
    row[column].as_u64().unwrap_or_default()
}

/// The key of an object, as the sums and the calls of all keys name it, and the configuration of the list of calls. Reports
/// state it, since an object does not know its own name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Holder {
    /// The id of an issued key, or `ring:` and the label of a key of the ring.
    pub key: String,
    /// The list of calls.
    pub calls: Calls,
}

/// Reads the stored account and its key, and creates the tables if they do not exist.
pub fn load(state: &JsValue, now_ms: u64) -> Result<(Account, Holder), String> {
    let there = Statement::new("SELECT 1 FROM sqlite_master WHERE name = 'pages'", []);
    if run(state, &[there])?.iter().all(Vec::is_empty) {
        run(state, &[Statement::new(TABLES, []), Statement::new(USAGE_TABLES, [])])?;
    }
    let found = run(
        state,
        &[
            Statement::new("SELECT last, hash, totals FROM pages ORDER BY first DESC LIMIT 1", []),
            Statement::new("SELECT name, body FROM kept", []),
            Statement::new("SELECT body FROM leases", []),
            Statement::new(
                "SELECT isolate, report, at_ms, rows FROM pages WHERE first > \
                 coalesce((SELECT watermark FROM usage_watermarks WHERE ledger = ?1), 0) ORDER BY first",
                [ITSELF.into()],
            ),
        ],
    )?;
    let [last, kept, leases, pages] = found.as_slice() else { return Err("no result".to_owned()) };
    let of_kept = |name: &str| kept.iter().find(|row| text(row, "name") == name).map(|row| text(row, "body"));
    let page = |row| (text(row, "isolate"), number(row, "report"), number(row, "at_ms"), text(row, "rows"));
    let stored = Stored {
        last: last.first().map(|row| (number(row, "last"), text(row, "hash"), text(row, "totals"))),
        counters: of_kept("counters"),
        leases: leases.iter().map(|row| text(row, "body")).collect(),
        reporters: of_kept("reporters"),
        rejections: of_kept("rejections"),
        pages: pages.iter().map(page).collect(),
    };
    let holder = of_kept("holder").and_then(|text| json::read(text).ok()).unwrap_or_default();
    Ok((Account::load(&stored, now_ms), holder))
}

fn keep(name: &str, body: &str) -> Statement {
    let sql =
        "INSERT INTO kept (name, body) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET body = excluded.body";
    Statement::new(sql, [name.into(), body.into()])
}

/// Stores the key.
pub fn store_holder(state: &JsValue, holder: &Holder) -> Result<(), String> {
    run(state, &[keep("holder", &json::to_text(holder))]).map(|_| ())
}

/// Writes the changes of a step of the account.
pub fn store(state: &JsValue, changes: &Changes) -> Result<(), String> {
    let mut statements = Vec::new();
    if let Some(page) = &changes.page {
        let Page { first, last, min_id, max_id, isolate, report, at_ms, hash, totals, rows, receipts: _ } =
            page;
        let row = [
            ("first", (*first).into()),
            ("last", (*last).into()),
            ("min_id", min_id.as_str().into()),
            ("max_id", max_id.as_str().into()),
            ("isolate", isolate.as_str().into()),
            ("report", (*report).into()),
            ("at_ms", (*at_ms).into()),
            ("hash", hash.as_str().into()),
            ("totals", totals.as_str().into()),
            ("rows", rows.as_str().into()),
            ("receipts", LONG),
        ];
        statements.push(sql::insert("pages", row, ""));
    }
    statements.extend(changes.counters.as_ref().map(|counters| keep("counters", counters)));
    statements.extend(changes.rejections.as_ref().map(|rejections| keep("rejections", rejections)));
    for (name, body) in &changes.leases {
        statements.push(match body {
            Some(body) => Statement::new(
                "INSERT INTO leases (name, body) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET body = excluded.body",
                [name.as_str().into(), body.as_str().into()],
            ),
            None => Statement::new("DELETE FROM leases WHERE name = ?1", [name.as_str().into()]),
        });
    }
    if statements.is_empty() {
        return Ok(());
    }
    let receipts = changes.page.as_ref().map_or("", |page| page.receipts.as_str());
    run_with(state, &statements, receipts).map(|_| ())
}

/// Adds new receipts to the sums, queues these for the database, and deletes receipts that are too old.
pub fn fold(state: &JsValue, account: &mut Account, now_ms: u64) -> Result<(), String> {
    let count = account.chain().count;
    let rows: Vec<Value> = account.fold(now_ms).iter().map(Row::to_json).collect();
    let [added, marked] = add_rows(&json::to_text(&rows), ITSELF, count);
    let statements = [
        // Before the watermark of the object itself: its receipts begin behind it.
        Statement::new(
            "INSERT INTO roll_ups (watermark, rows) SELECT ?1, json_insert(?2, '$[#]', coalesce((SELECT watermark \
             FROM usage_watermarks WHERE ledger = ?3), 0))",
            [count.into(), json::to_text(&rows).into(), ITSELF.into()],
        ),
        added,
        marked,
        keep("reporters", &account.reporters()),
        // Both use the primary key, so that they read few more rows than they delete. The last page stays: it continues
        // the chain.
        Statement::new(
            "DELETE FROM pages WHERE first < ?1",
            [count.saturating_sub(KEEP_RECEIPTS + MAX_SETTLED as u64).into()],
        ),
        Statement::new(
            "DELETE FROM pages WHERE first < (SELECT first FROM pages WHERE at_ms >= ?1 ORDER BY first LIMIT 1)",
            [now_ms.saturating_sub(KEEP_MS).into()],
        ),
    ];
    run(state, &statements).map(|_| ())
}

/// Sums that wait for their roll-up.
pub struct RollUp {
    /// Their watermark: the number of the last receipt.
    pub watermark: u64,
    /// The number of the receipt before the first.
    pub after: u64,
    /// The sums.
    pub rows: Vec<Row>,
    /// The retry, if a roll-up has failed.
    pub retry: Option<Retry>,
}

/// When a roll-up is tried again.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub struct Retry {
    /// The time, in milliseconds since 1970.
    pub at_ms: u64,
    /// The wait that led to it, in milliseconds.
    pub wait_ms: u64,
}

/// The oldest sums that wait for their roll-up.
pub fn oldest_roll_up(state: &JsValue) -> Option<RollUp> {
    let sql = "SELECT watermark, rows, (SELECT body FROM kept WHERE name = 'retry') AS retry \
               FROM roll_ups ORDER BY watermark LIMIT 1";
    let found = run(state, &[Statement::new(sql, [])]).ok()?;
    let oldest = found.first()?.first()?;
    let rows: Vec<Value> = serde_json::from_str(text(oldest, "rows")).ok()?;
    let watermark = number(oldest, "watermark");
    // Earlier versions did not store the number.
    let after = rows.last().and_then(Value::as_u64).unwrap_or(watermark);
    Some(RollUp {
        watermark,
        after,
        rows: rows.iter().filter_map(Row::from_json).collect(),
        retry: json::read(text(oldest, "retry")).ok(),
    })
}

/// The newest pages of the receipts of a roll-up, newest first: some hundred receipts at most, so that the calls of a busy
/// key fit into memory. The account numbers receipts without gaps, and a page is never split.
pub fn newest_receipts(state: &JsValue, after: u64, last: u64) -> Vec<String> {
    let sql = "SELECT receipts FROM pages WHERE first > ?1 AND last <= ?2 AND (last = ?2 OR first > ?2 - ?3) \
               ORDER BY first DESC";
    let parameters = [after.into(), last.into(), MAX_LISTED.into()];
    let found = run(state, &[Statement::new(sql, parameters)]).unwrap_or_default();
    found.iter().flatten().map(|page| text(page, "receipts").to_owned()).collect()
}

/// Stores when to try again.
pub fn retry_at(state: &JsValue, retry: Retry) {
    // If this fails the next try is earlier.
    let _ = run(state, &[keep("retry", &json::to_text(&retry))]);
}

/// Deletes sums that were rolled up. `was_retried` is true if a retry is stored.
pub fn rolled_up(state: &JsValue, watermark: u64, was_retried: bool) {
    let mut statements =
        vec![Statement::new("DELETE FROM roll_ups WHERE watermark = ?1", [watermark.into()])];
    if was_retried {
        statements.push(Statement::new("DELETE FROM kept WHERE name = 'retry'", []));
    }
    // If this fails they are rolled up again, and counted once.
    let _ = run(state, &statements);
}

/// The sums of a range of days, including those that are not folded yet.
pub fn usage(state: &JsValue, [from, to]: [u32; 2], account: &Account) -> Result<Usage, String> {
    let found = run(state, &sums([from, to]))?;
    let mut lists = found.iter().map(|rows| rows.iter().map(row).collect::<Vec<Row>>());
    let mut next = || lists.next().unwrap_or_default();
    let mut usage = Usage { days: next(), models: next(), projects: next() };
    for row in account.unfolded().iter().filter(|row| (from..=to).contains(&row.slice.day())) {
        for list in [&mut usage.days, &mut usage.models, &mut usage.projects] {
            list.push(row.clone());
        }
    }
    Ok(usage)
}

/// Texts of receipts with numbers below `before`, newest first.
pub fn receipts(state: &JsValue, before: u64, limit: u32) -> Result<Vec<String>, String> {
    let sql = "SELECT first, receipts FROM pages WHERE first < ?1 ORDER BY first DESC LIMIT ?2";
    // A page has at least one receipt.
    let found = run(state, &[Statement::new(sql, [before.into(), limit.into()])])?;
    let pages = found.into_iter().flatten();
    let mut texts = Vec::new();
    for page in pages {
        let first = number(&page, "first");
        let lines: Vec<&str> = text(&page, "receipts").lines().collect();
        let numbered = (first..).zip(lines);
        let mut of_page: Vec<String> =
            numbered.filter(|(seq, _)| *seq < before).map(|(_, line)| line.to_owned()).collect();
        of_page.reverse();
        texts.extend(of_page);
        if texts.len() >= limit as usize {
            break;
        }
    }
    texts.truncate(limit as usize);
    Ok(texts)
}

/// The text of a receipt, by its id or by that of its request: then the newest.
pub fn receipt(state: &JsValue, id: &str) -> Result<Option<String>, String> {
    // Ids are letters, digits and a few marks, so the JSON text has them unescaped.
    let of_request = format!("\"request_id\":\"{id}\",");
    let found = run(
        state,
        &[
            Statement::new(
                "SELECT receipts FROM pages WHERE ?1 BETWEEN min_id AND max_id ORDER BY first DESC",
                [id.into()],
            ),
            Statement::new(
                "SELECT receipts FROM pages WHERE instr(receipts, ?1) > 0 ORDER BY first DESC LIMIT 1",
                [of_request.as_str().into()],
            ),
        ],
    )?;
    let pages = |index: usize| found.get(index).into_iter().flatten();
    let mut by_id = pages(0).flat_map(|page| text(page, "receipts").lines());
    let mut by_request = pages(1).flat_map(|page| text(page, "receipts").lines().rev());
    let found = by_id.find(|line| receipt::id_of(line) == Some(id));
    Ok(found.or_else(|| by_request.find(|line| line.contains(&of_request))).map(str::to_owned))
}

/// The table of the responses that providers keep. It is created with the first of them: most keys have none.
const RESPONSES: &str = "CREATE TABLE IF NOT EXISTS responses (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, \
     provider TEXT NOT NULL, key INTEGER NOT NULL, made_ms INTEGER NOT NULL) STRICT";

/// Remembers the lane that made a response, and forgets those that are too old or too many. All statements use the
/// primary key, so that they read few more rows than they delete.
pub fn keep_response(state: &JsValue, kept: &KeptResponse, now_ms: u64) -> Result<(), String> {
    let KeptResponse { id, provider, key } = kept;
    let row = [id.as_str().into(), provider.as_str().into(), (*key).into(), now_ms.into()];
    let statements = [
        Statement::new(RESPONSES, []),
        Statement::new(
            "INSERT INTO responses (id, provider, key, made_ms) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO NOTHING",
            row,
        ),
        Statement::new(
            "DELETE FROM responses WHERE seq <= (SELECT max(seq) FROM responses) - ?1",
            [MAX_KEPT_RESPONSES.into()],
        ),
        // Each new record removes up to eight that are too old, so that those never accumulate.
        Statement::new(
            "DELETE FROM responses WHERE seq IN (SELECT seq FROM responses ORDER BY seq LIMIT 8) AND made_ms < ?1",
            [now_ms.saturating_sub(KEEP_RESPONSES_MS).into()],
        ),
    ];
    run(state, &statements).map(|_| ())
}

/// The lane that made a response.
pub fn kept_response(state: &JsValue, id: &str, now_ms: u64) -> Result<Option<KeptResponse>, String> {
    let oldest_ms = now_ms.saturating_sub(KEEP_RESPONSES_MS);
    let sql = "SELECT provider, key FROM responses WHERE id = ?1 AND made_ms >= ?2";
    let found =
        run(state, &[Statement::new(RESPONSES, []), Statement::new(sql, [id.into(), oldest_ms.into()])])?;
    Ok(found.last().and_then(|rows| rows.first()).map(|row| KeptResponse {
        id: id.to_owned(),
        provider: text(row, "provider").to_owned(),
        key: u8::try_from(number(row, "key")).unwrap_or(u8::MAX),
    }))
}

/// Forgets a response.
pub fn forget_response(state: &JsValue, id: &str) -> Result<(), String> {
    let forgotten = Statement::new("DELETE FROM responses WHERE id = ?1", [id.into()]);
    run(state, &[Statement::new(RESPONSES, []), forgotten]).map(|_| ())
}

/// A text that is stored under a name.
pub fn kept(state: &JsValue, name: &str) -> Option<String> {
    let found = run(state, &[Statement::new("SELECT body FROM kept WHERE name = ?1", [name.into()])]).ok()?;
    found.first()?.first().map(|row| text(row, "body").to_owned())
}

/// Stores a text under a name.
pub fn set_kept(state: &JsValue, name: &str, body: &str) {
    // If this fails, the same is done again.
    let _ = run(state, &[keep(name, body)]);
}

/// Receipts in the order of their numbers.
pub struct Receipts {
    /// The number of the first.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
    /// Their texts.
    pub texts: Vec<String>,
}

/// The oldest stored receipts with numbers above `seq`: some pages; `None` if there are none.
pub fn receipts_after(state: &JsValue, seq: u64) -> Option<Receipts> {
    const MAX_RECEIPTS: usize = 200;
    let sql = "SELECT first, last, receipts FROM pages WHERE first > ?1 ORDER BY first LIMIT 20";
    let found = run(state, &[Statement::new(sql, [seq.into()])]).ok()?;
    let pages = found.first()?;
    let mut receipts = Receipts { first: number(pages.first()?, "first"), last: 0, texts: Vec::new() };
    for page in pages {
        receipts.last = number(page, "last");
        receipts.texts.extend(text(page, "receipts").lines().map(str::to_owned));
        if receipts.texts.len() >= MAX_RECEIPTS {
            break;
        }
    }
    Some(receipts)
}

/// The number of the last receipt before the last minute; `count` if none is so new.
pub fn before_minute(state: &JsValue, count: u64, now_ms: u64) -> u64 {
    let sql = "SELECT coalesce(min(first) - 1, ?2) AS seq FROM pages WHERE at_ms >= ?1";
    let parameters = [now_ms.saturating_sub(60_000).into(), count.into()];
    let found = run(state, &[Statement::new(sql, parameters)]).unwrap_or_default();
    found.first().and_then(|rows| rows.first()).map_or(count, |row| number(row, "seq"))
}

/// Sets the alarm.
#[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 ms")]
pub fn set_alarm(state: &JsValue, at_ms: u64) {
    set_object_alarm(state, at_ms as f64);
}
