//! Sums of usage over all keys: rolling up, closing days, and reading.
//!
//! An account rolls up its rows in batches and repeats each batch until it succeeds. Each batch counts once: it sets
//! the account's watermark in the same transaction, and has no effect if the watermark is already set. The database
//! computes the sums, so that their size is bounded, whatever number of names callers have invented.
//!
//! Ledgers add to one row for each day, key, operation, project, provider and model, which also has the sums of its hours.
//! Public reports must not read as many rows as there are keys: the days that are over are summed up once more, without
//! keys, in the first roll-up of an hour ([`tidy`]). Rows that arrive for such a day are added to both.

use gatehouse_core::catalog::Registry;
use gatehouse_core::config::{Calls, Config};
use gatehouse_core::error::Error;
use gatehouse_core::ledger::tally::{DAY_HOURS, Row, Slice, Tally};
use gatehouse_core::report::spending::{Bucket, Entry, Filters, Group, Range, Rank, Selection};
use gatehouse_core::report::usage::Usage;
use serde_json::Value;
use worker::Env;

use super::calls;
use super::sql::{run_if_any, text};
use crate::platform::database::{self, Failure, Outcome, Statement};

const ADD_ROWS: &str = include_str!("usage/add_rows.sql");
const ADD_BY_KEY: &str = include_str!("usage/add_by_key.sql");
const ADD_CLOSED: &str = include_str!("usage/add_closed.sql");
const SET_WATERMARK: &str = include_str!("usage/set_watermark.sql");
const TIDIED: &str = "SELECT value FROM counters WHERE name = 'usage_tidied_hour'";
const CLOSE_DAYS: &str = include_str!("usage/close_days.sql");
const DROP_HOURS: &str = include_str!("usage/drop_hours.sql");
const DROP_CALLS: &str = include_str!("usage/drop_calls.sql");
const DROP_REJECTED: &str = include_str!("usage/drop_rejected.sql");
const SET_TIDIED: &str = include_str!("usage/set_tidied.sql");
const BY_DAY: &str = include_str!("usage/by_day.sql");
const BY_MODEL: &str = include_str!("usage/by_model.sql");
const BY_PROJECT: &str = include_str!("usage/by_project.sql");
const TOTALS: &str = include_str!("usage/totals.sql");
const SPENDING: &str = include_str!("usage/spending.sql");
/// The rows of the days of a range, by key, and without keys. Parameters are bound as floating-point numbers.
const DAYS_BY_KEY: &str = include_str!("usage/days_by_key.sql");
const DAYS_OF_ALL: &str = include_str!("usage/days_of_all.sql");
/// The same by hour, by key.
const HOURS_BY_KEY: &str = include_str!("usage/hours_by_key.sql");
/// The condition of rows of a range that match the filters.
const MATCHES: &str = include_str!("usage/matches.sql");
/// The rows of all keys, without keys.
const ALL_KEYS: &str = include_str!("usage/all_keys.sql");
/// The rows of one key in its object.
const ONE_KEY: &str = "usage_daily";
/// The elements of a row before its sums: hour, project, provider and model.
const SLICE_ELEMENTS: usize = 4;

/// Replaces the placeholders for the sums of a [`Tally`] in a statement: `{columns}`, `{values}` (of a row as an
/// array), `{additions}` (of an upsert), `{hour_additions}` (the same for the sums of one hour), `{hour_values}` (of such
/// sums), `{sums}`, `{plain_sums}` and `{negatives}`. `tests/e2e/ledgers.mjs` does the same for the statements that it
/// runs.
fn of_sums(template: &str) -> String {
    let list = |item: &dyn Fn(usize, &str) -> String| {
        let items = Tally::FIELDS.iter().enumerate().map(|(index, name)| item(index, name));
        items.collect::<Vec<_>>().join(", ")
    };
    let added_to_hour = |index, name: &str| {
        format!("coalesce(hours ->> ('$.h' || (excluded.hour % 24) || '[{index}]'), 0) + excluded.{name}")
    };
    template
        .replace("{columns}", &list(&|_, name| name.to_owned()))
        .replace("{values}", &list(&|index, _| format!("value ->> {}", SLICE_ELEMENTS + index)))
        .replace("{additions}", &list(&|_, name| format!("{name} = {name} + excluded.{name}")))
        .replace("{hour_additions}", &list(&added_to_hour))
        .replace("{hour_values}", &list(&|index, name| format!("h.value ->> {index} AS {name}")))
        .replace("{negatives}", &list(&|_, name| format!("-{name} AS {name}")))
        .replace("{plain_sums}", &list(&|_, name| format!("SUM({name})")))
        .replace("{sums}", &list(&|_, name| format!("SUM({name}) AS {name}")))
}

/// The statements that add the rows of an account, given as a JSON array, to its own sums in its object, and set its
/// watermark; they have no effect if the watermark is already set.
pub fn add_rows(rows: &str, ledger: &str, watermark: u64) -> [Statement; 2] {
    [
        Statement::new(of_sums(ADD_ROWS), [rows.into(), ledger.into(), watermark.into()]),
        Statement::new(SET_WATERMARK, [ledger.into(), watermark.into()]),
    ]
}

/// A batch of an account.
pub struct Batch<'a> {
    /// The id of the account's object.
    pub ledger: &'a str,
    /// Differs between consecutive batches of an account and is below 2^53.
    pub watermark: u64,
    /// The id of the key, or `ring:` and the label of a key of the ring.
    pub key: &'a str,
    /// The rows to add.
    pub rows: &'a [Row],
    /// The receipts to list.
    pub calls: Option<calls::Page>,
}

/// Adds a batch of an account, unless its watermark shows that it was added before. The change is atomic. Returns the
/// hour in which [`tidy`] last ran, in hours since 1970.
pub async fn roll_up(env: &Env, batch: Batch<'_>) -> Result<u64, Failure> {
    let Batch { ledger, watermark, key, rows, calls } = batch;
    let rows: Value = rows.iter().map(Row::to_json).collect();
    let rows = Value::from(rows.to_string());
    let mut statements = vec![
        Statement::new(of_sums(ADD_BY_KEY), [rows.clone(), ledger.into(), watermark.into(), key.into()]),
        Statement::new(of_sums(ADD_CLOSED), [rows, ledger.into(), watermark.into()]),
    ];
    statements.extend(calls.map(|page| page.add(ledger, watermark)));
    statements.push(Statement::new(SET_WATERMARK, [ledger.into(), watermark.into()]));
    statements.push(Statement::new(TIDIED, []));
    let outcomes = database::run(env, &statements).await?;
    let tidied = outcomes.last().and_then(|outcome| outcome.rows.first()?.get("value")?.as_u64());
    Ok(tidied.unwrap_or_default())
}

/// Closes the days that ended two hours ago, empties hours that are too old, and deletes calls beyond the limits of the
/// list. `tidied_hour` is the hour in which this was last done: of several at once only the first has an effect.
pub async fn tidy(env: &Env, now_hour: u64, tidied_hour: u64, calls: Calls) -> Result<(), Failure> {
    let hours: [Value; 2] = [now_hour.into(), tidied_hour.into()];
    let [now, tidied] = hours.clone();
    let days = if calls.keep == 0 { 0 } else { calls.days };
    let limits = [now, tidied, calls.keep.into(), days.into()];
    let statements = [
        Statement::new(of_sums(CLOSE_DAYS), hours.clone()),
        Statement::new(DROP_HOURS, hours.clone()),
        Statement::new(DROP_CALLS, limits.clone()),
        Statement::new(DROP_REJECTED, limits),
        Statement::new(SET_TIDIED, hours),
    ];
    database::run(env, &statements).await.map(|_| ())
}

/// The statements that sum the usage of a range of days of one key in its object: by day, by model, and by project.
pub fn sums(days: [u32; 2]) -> [Statement; 3] {
    sums_of(ONE_KEY, days, None, None)
}

/// The same in `usage`, of one project or all, with only these models named.
fn sums_of(
    usage: &str,
    [from, to]: [u32; 2],
    project: Option<&str>,
    listed: Option<&[String]>,
) -> [Statement; 3] {
    let sql = |template: &str| of_sums(&template.replace("{usage}", usage));
    let of = |template| Statement::new(sql(template), [from.into(), to.into(), project.into()]);
    let by_model = [from.into(), to.into(), project.into(), listed.map(text).into()];
    [of(BY_DAY), Statement::new(sql(BY_MODEL), by_model), of(BY_PROJECT)]
}

/// The models, as `provider/model`, that sums name: those that the catalogue or the configuration knows. Callers invent
/// any number of others, which are counted as one of each provider.
pub fn listed(registry: &Registry, config: &Config) -> Vec<String> {
    let of_registry = registry
        .entries()
        .iter()
        .flat_map(|entry| entry.models().map(|(id, _)| [&entry.name, "/", id].concat()));
    let of_groups = config.groups.values().flat_map(|group| &group.models);
    of_registry.chain(config.aliases.values().chain(of_groups).cloned()).collect()
}

/// The usage of a range of days, both ends included, as days since 1970; of one project, or of all. At most 1000 of the
/// models in `listed` and 1000 projects are named; other models are one of each provider, `other`. Without a database or
/// tables, the usage is empty.
pub async fn between(
    env: &Env,
    days: [u32; 2],
    project: Option<&str>,
    listed: &[String],
) -> Result<Usage, Error> {
    let mut lists = read(env, &sums_of(ALL_KEYS, days, project, Some(listed))).await?.into_iter();
    let mut next = || lists.next().unwrap_or_default();
    Ok(Usage { days: next(), models: next(), projects: next() })
}

/// The usage since counting began, by provider, model and operation. At most 1000 of the models in `listed` are named; an
/// empty name is the sum of a provider's others.
pub async fn totals(env: &Env, listed: &[String]) -> Result<Vec<Row>, Error> {
    let ever = Statement::new(of_sums(&TOTALS.replace("{usage}", ALL_KEYS)), [text(listed)]);
    Ok(read(env, &[ever]).await?.into_iter().next().unwrap_or_default())
}

/// The usage of a range by bucket and group, with one entry more than the selection allows if there is one, and the sum of
/// all. Without a database or tables, there is none.
pub async fn spending(
    env: &Env,
    range: &Range,
    selection: Selection,
    filters: &Filters,
) -> Result<(Tally, Vec<Entry>), Error> {
    let Selection { group, rank, top, limit } = selection;
    let by_key = if range.is_by_hour { HOURS_BY_KEY } else { DAYS_BY_KEY };
    // The days that are over have fewer rows without keys.
    let without_keys = if range.is_by_hour { HOURS_BY_KEY } else { DAYS_OF_ALL };
    let spans = if filters.key.is_some() { by_key } else { without_keys };
    let groups = if group == Some(Group::Key) { by_key } else { spans };
    let start = match range.bucket {
        Some(Bucket::Hour) => "hour",
        Some(Bucket::Day) => "hour / 24 * 24",
        None => "?1",
    };
    let by = match group {
        Some(Group::Key) => "key",
        Some(Group::Project) => "project",
        Some(Group::Model) => "provider || '/' || model",
        Some(Group::Provider) => "provider",
        Some(Group::Operation) => "operation",
        None => "''",
    };
    let rank = match rank {
        Rank::Requests => "SUM(requests)",
        Rank::Cost => "SUM(cost_micro_usd)",
        Rank::Tokens => "SUM(prompt_tokens) + SUM(completion_tokens)",
    };
    let template = SPENDING
        .replace("{groups}", groups)
        .replace("{spans}", spans)
        .replace("{matches}", MATCHES)
        .replace("{usage}", ALL_KEYS)
        .replace("{start}", start)
        .replace("{group}", by)
        .replace("{rank}", rank);
    // One group more than the limit tells that there are more. In spans, each has entries of its own.
    let ranked = match (top, range.bucket) {
        (Some(top), _) => top.into(),
        (None, None) => (limit + 1).into(),
        (None, Some(_)) => Value::from(-1),
    };
    let [from, to] = range.hours;
    let mut parameters: Vec<Value> = vec![from.into(), to.into()];
    let Filters { key, project, model, provider, operation } = filters;
    parameters.extend([key, project, model, provider, operation].map(|filter| filter.clone().into()));
    parameters.extend([(limit + 1).into(), ranked, u8::from(top.is_some()).into()]);
    let statement = Statement::new(of_sums(&template), parameters);
    let mut outcomes = run_if_any(env, &[statement]).await?.into_iter();
    let mut rows = outcomes.next().unwrap_or_default().rows;
    // The last row is the sum of all.
    let total = rows.pop().as_ref().map(tally).unwrap_or_default();
    let number =
        |found: &Value, column: &str| found[column].as_u64().and_then(|number| u32::try_from(number).ok());
    let entry = |found: &Value| {
        let name = |column: &str| found[column].as_str().filter(|name| !name.is_empty()).map(str::to_owned);
        Entry {
            hour: number(found, "start").unwrap_or_default(),
            group: name("grp"),
            name: name("key_name").filter(|_| group == Some(Group::Key)),
            others: number(found, "others"),
            tally: tally(found),
        }
    };
    Ok((total, rows.iter().map(entry).collect()))
}

/// Reads the rows of each statement.
async fn read(env: &Env, statements: &[Statement]) -> Result<Vec<Vec<Row>>, Error> {
    Ok(run_if_any(env, statements).await?.iter().map(rows).collect())
}

fn rows(outcome: &Outcome) -> Vec<Row> {
    outcome.rows.iter().map(row).collect()
}

/// Reads a row of sums; it has those of its names and its day that the statement selects.
pub fn row(found: &Value) -> Row {
    let text = |column: &str| found[column].as_str().unwrap_or_default().to_owned();
    let day = found["day"].as_u64().and_then(|day| u32::try_from(day).ok()).unwrap_or_default();
    let slice = Slice {
        hour: day.saturating_mul(DAY_HOURS),
        operation: text("operation").into(),
        project: text("project"),
        provider: text("provider"),
        model: text("model"),
    };
    Row { slice, tally: tally(found) }
}

fn tally(found: &Value) -> Tally {
    Tally::from_array(Tally::FIELDS.map(|column| found[column].as_u64().unwrap_or_default()))
}
