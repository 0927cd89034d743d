//! Sums of usage over all keys: rolling up, and reading.
//!
//! An account rolls up its rows in batches and repeats each batch until it succeeds. Each batch counts once: it sets
//! the account's watermark in the same transaction, and has no effect if the watermark is already set. The database
//! computes the sums, so that their size is bounded, whatever number of names callers have invented.

use gatehouse_core::catalog::Registry;
use gatehouse_core::config::Config;
use gatehouse_core::error::Error;
use gatehouse_core::ledger::tally::{Row, Slice, Tally};
use gatehouse_core::report::usage::Usage;
use serde_json::Value;
use worker::Env;

use super::sql::{run_if_any, text};
use crate::platform::database::{self, Failure, Outcome, Statement};

const ADD_ROWS: &str = include_str!("usage/add_rows.sql");
const SET_WATERMARK: &str = include_str!("usage/set_watermark.sql");
const BY_DAY: &str = include_str!("usage/by_day.sql");
const BY_MODEL: &str = include_str!("usage/by_model.sql");
const BY_PROJECT: &str = include_str!("usage/by_project.sql");
/// The elements of a row before its sums: day, project, provider and model.
const SLICE_ELEMENTS: usize = 4;

/// Replaces the placeholders for the sums of a [`Tally`] in a statement: `{columns}`, `{values}` (of a row as an
/// array), `{additions}` (of an upsert) and `{sums}`. `tests/e2e/ledgers.mjs` does the same.
fn of_sums(template: &str) -> String {
    let list = |item: &dyn Fn(usize, &str) -> String| {
        let items = Tally::FIELDS.iter().enumerate().map(|(index, name)| item(index, name));
        items.collect::<Vec<_>>().join(", ")
    };
    template
        .replace("{columns}", &list(&|_, name| name.to_owned()))
        .replace("{values}", &list(&|index, _| format!("value ->> {}", SLICE_ELEMENTS + index)))
        .replace("{additions}", &list(&|_, name| format!("{name} = {name} + excluded.{name}")))
        .replace("{sums}", &list(&|_, name| format!("SUM({name}) AS {name}")))
}

/// The statements that add the rows of an account, given as a JSON array, and set its watermark; they have no effect if
/// the watermark is already set.
pub fn add_rows(rows: &str, ledger: &str, watermark: u64) -> [Statement; 2] {
    [
        Statement::new(of_sums(ADD_ROWS), [rows.into(), ledger.into(), watermark.into()]),
        Statement::new(SET_WATERMARK, [ledger.into(), watermark.into()]),
    ]
}

/// Adds the rows of an account, unless its watermark shows that they were added before. `watermark` differs between
/// consecutive batches of an account and is below 2^53. The change is atomic.
pub async fn roll_up(env: &Env, ledger: &str, watermark: u64, rows: &[Row]) -> Result<(), Failure> {
    let rows: Value = rows.iter().map(Row::to_json).collect();
    database::run(env, &add_rows(&rows.to_string(), ledger, watermark)).await.map(|_| ())
}

/// The statements that sum the usage of a range of days: by day, by model, and by project.
pub fn sums(days: [u32; 2], project: Option<&str>) -> [Statement; 3] {
    sums_naming(days, project, None)
}

/// The same, with only these models named.
fn sums_naming([from, to]: [u32; 2], project: Option<&str>, listed: Option<&[String]>) -> [Statement; 3] {
    let of = |sql| Statement::new(of_sums(sql), [from.into(), to.into(), project.into()]);
    [of(BY_DAY), by_model([from, to], project, listed), of(BY_PROJECT)]
}

fn by_model([from, to]: [u32; 2], project: Option<&str>, listed: Option<&[String]>) -> Statement {
    Statement::new(of_sums(BY_MODEL), [from.into(), to.into(), project.into(), listed.map(text).into()])
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
    [from, to]: [u32; 2],
    project: Option<&str>,
    listed: &[String],
) -> Result<Usage, Error> {
    let mut lists = read(env, &sums_naming([from, to], project, Some(listed))).await?.into_iter();
    let mut next = || lists.next().unwrap_or_default();
    Ok(Usage { days: next(), models: next(), projects: next() })
}

/// The usage since counting began, by provider and model. At most 1000 of the models in `listed` are named; an empty name
/// is the sum of a provider's others.
pub async fn totals(env: &Env, listed: &[String]) -> Result<Vec<Row>, Error> {
    let ever = by_model([0, u32::MAX], None, Some(listed));
    Ok(read(env, &[ever]).await?.into_iter().next().unwrap_or_default())
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
    let number = |column: &str| found[column].as_u64().unwrap_or_default();
    let slice = Slice {
        day: u32::try_from(number("day")).unwrap_or_default(),
        project: text("project"),
        provider: text("provider"),
        model: text("model"),
    };
    Row { slice, tally: Tally::from_array(Tally::FIELDS.map(number)) }
}
