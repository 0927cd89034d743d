//! The report of `GET /v0/usage`: the usage of all keys in a range of time, by key, project, model, provider or operation,
//! and by hour or day; as JSON and as CSV.
//!
//! Sums are kept by day, and by hour for [`HOURS_DAYS`] days. A range begins and ends at full hours while these have sums,
//! and at full days otherwise; the report states the range that it has. The module does not read a clock.

use serde::Serialize;
use serde_json::Value;

use super::usage::{Detail, Sums};
use crate::error::{Code, Error};
use crate::ledger::tally::{DAY_HOURS, Tally};
use crate::time::{HOUR_MS, from_rfc3339, to_rfc3339};

/// The number of days before today whose hours have sums of their own.
pub const HOURS_DAYS: u32 = 8;
/// The default length of a report by hour, and of any other, in hours.
const DEFAULT_BY_HOUR: u32 = DAY_HOURS;
const DEFAULT_BY_DAY: u32 = 30 * DAY_HOURS;

/// The length of the spans of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bucket {
    /// An hour.
    Hour,
    /// A day, UTC.
    Day,
}

impl Bucket {
    /// The values of the query parameter.
    pub const CHOICES: [(&'static str, Bucket); 2] = [("hour", Bucket::Hour), ("day", Bucket::Day)];
}

/// The property by which a report groups calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// The key.
    Key,
    /// The project.
    Project,
    /// The model, as `provider/model`.
    Model,
    /// The provider.
    Provider,
    /// The operation: [`crate::operation::Operation::name`].
    Operation,
}

impl Group {
    /// The values of the query parameter.
    pub const CHOICES: [(&'static str, Group); 5] = [
        ("key", Group::Key),
        ("project", Group::Project),
        ("model", Group::Model),
        ("provider", Group::Provider),
        ("operation", Group::Operation),
    ];
}

/// The measure by which groups are ranked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rank {
    /// The number of calls.
    #[default]
    Requests,
    /// The cost.
    Cost,
    /// The tokens of input and output.
    Tokens,
}

impl Rank {
    /// The values of the query parameter.
    pub const CHOICES: [(&'static str, Rank); 3] =
        [("requests", Rank::Requests), ("cost", Rank::Cost), ("tokens", Rank::Tokens)];
}

/// The entries of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The property by which calls are grouped; `None` is all together.
    pub group: Option<Group>,
    /// The order of groups.
    pub rank: Rank,
    /// The number of groups of the range that have entries of their own, the largest; the others are one. `None` is all.
    pub top: Option<u32>,
    /// The maximum number of entries.
    pub limit: u32,
}

/// Restrictions to calls with one value of a property; `None` is any. An empty project is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// The id of an issued key, or `ring:` and the label of a key of the ring.
    pub key: Option<String>,
    /// The project.
    pub project: Option<String>,
    /// The model, as `provider/model`.
    pub model: Option<String>,
    /// The provider.
    pub provider: Option<String>,
    /// The operation.
    pub operation: Option<String>,
}

/// The range of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first hour, and the first hour after it, in hours since 1970.
    pub hours: [u32; 2],
    /// The spans; `None` is the whole range.
    pub bucket: Option<Bucket>,
    /// The sums of hours are read. Otherwise the range consists of days.
    pub is_by_hour: bool,
}

impl Range {
    /// The range from one time to another, which are RFC 3339 or dates (`2026-11-30`, UTC), for a bucket. The default is
    /// the last day by hour, otherwise the last 30 days.
    ///
    /// # Errors
    /// 400 for a text that is not a time, a range that is empty, or hours that have no sums any more.
    pub fn new(
        from: Option<&str>,
        to: Option<&str>,
        bucket: Option<Bucket>,
        now_ms: u64,
    ) -> Result<Range, Error> {
        let from_ms = from.map(|text| time("from", text)).transpose()?;
        let to_ms = to.map(|text| time("to", text)).transpose()?.unwrap_or(now_ms);
        let hour = |ms: u64| u32::try_from(ms / HOUR_MS).unwrap_or(u32::MAX / 2);
        let end = hour(to_ms.saturating_add(HOUR_MS - 1));
        let default = if bucket == Some(Bucket::Hour) { DEFAULT_BY_HOUR } else { DEFAULT_BY_DAY };
        let start = from_ms.map_or(end.saturating_sub(default), hour);
        if from_ms.is_some_and(|from_ms| from_ms >= to_ms) {
            return Err(invalid("from", "'from' must be before 'to', whose default is now"));
        }
        let first_with_hours = (hour(now_ms) / DAY_HOURS).saturating_sub(HOURS_DAYS) * DAY_HOURS;
        if bucket == Some(Bucket::Hour) && start < first_with_hours {
            let first = to_rfc3339(u64::from(first_with_hours) * HOUR_MS);
            let message = format!(
                "The usage of each hour is kept for {HOURS_DAYS} days: set 'from' to {first} or later, or 'bucket' to day"
            );
            return Err(invalid("from", &message));
        }
        let is_of_days = start.is_multiple_of(DAY_HOURS) && (end.is_multiple_of(DAY_HOURS) || to.is_none());
        let is_by_hour =
            bucket == Some(Bucket::Hour) || (from_ms.is_some() && !is_of_days && start >= first_with_hours);
        let hours = if is_by_hour {
            [start, end]
        } else {
            [start / DAY_HOURS * DAY_HOURS, end.div_ceil(DAY_HOURS) * DAY_HOURS]
        };
        Ok(Range { hours, bucket, is_by_hour })
    }
}

/// Reads a time or a date.
///
/// # Errors
/// 400 for any other text.
pub fn time(name: &'static str, text: &str) -> Result<u64, Error> {
    // A plus sign in a query is a space.
    let text = text.replace(' ', "+");
    from_rfc3339(&text).or_else(|| from_rfc3339(&format!("{text}T00:00:00Z"))).ok_or_else(|| {
        invalid(
            name,
            &format!("'{name}' must be a time such as 2026-11-30T14:00:00Z, or a date such as 2026-11-30"),
        )
    })
}

fn invalid(name: &'static str, message: &str) -> Error {
    Error::new(Code::InvalidValue, message.to_owned()).with_param(name)
}

/// The sums of a group in a span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The first hour of the span, in hours since 1970.
    pub hour: u32,
    /// The value of the property; `None` for calls without one.
    pub group: Option<String>,
    /// The name of the key, if it is an issued key that is known.
    pub name: Option<String>,
    /// The number of groups of the range without entries of their own, if this is the entry of those.
    pub others: Option<u32>,
    /// The sums.
    pub tally: Tally,
}

/// The report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The beginning.
    from: String,
    /// The end, which is not part of the range.
    to: String,
    /// The spans.
    bucket: Option<Bucket>,
    /// The property by which calls are grouped.
    group_by: Option<Group>,
    /// The sums of all calls that match.
    totals: Sums,
    /// The sums, by span, the largest first.
    data: Vec<Line>,
    /// There are more entries than the limit allows.
    has_more: bool,
}

/// One entry of a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Line {
    /// The beginning of the span.
    start: String,
    /// The value of the property; `None` for calls without one, and if calls are not grouped.
    group: Option<String>,
    /// The name of a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The number of groups of the range without entries of their own, if this is the entry of those.
    #[serde(skip_serializing_if = "Option::is_none")]
    others: Option<u32>,
    #[serde(flatten)]
    sums: Sums,
}

/// The columns of the CSV text: fields of an entry.
const COLUMNS: [&str; 17] = [
    "start",
    "group",
    "name",
    "requests",
    "successful",
    "failed",
    "prompt_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cost_usd",
    "unpriced",
    "estimated",
    "avg_duration_ms",
    "avg_first_token_ms",
    "others",
];

impl Report {
    /// The report of a selection. An entry above its limit is not shown.
    pub fn new(range: &Range, selection: Selection, totals: &Tally, entries: Vec<Entry>) -> Report {
        let Selection { group, limit, .. } = selection;
        let limit = limit as usize;
        let [from, to] = range.hours.map(|hour| to_rfc3339(u64::from(hour) * HOUR_MS));
        let has_more = entries.len() > limit;
        let line = |entry: Entry| Line {
            start: to_rfc3339(u64::from(entry.hour) * HOUR_MS),
            name: entry.name.or_else(|| {
                // A key of the ring has no other name than its label.
                let id = entry.group.as_deref().filter(|_| group == Some(Group::Key))?;
                id.strip_prefix("ring:").map(str::to_owned)
            }),
            group: entry.group,
            others: entry.others,
            sums: Sums::of(&entry.tally, Detail::Full),
        };
        Report {
            from,
            to,
            bucket: range.bucket,
            group_by: group,
            totals: Sums::of(totals, Detail::Full),
            data: entries.into_iter().take(limit).map(line).collect(),
            has_more,
        }
    }

    /// The entries as CSV (RFC 4180), with a line of names first.
    pub fn to_csv(&self) -> String {
        let mut text = COLUMNS.join(",");
        text.push_str("\r\n");
        for line in &self.data {
            let line = serde_json::to_value(line).unwrap_or_default();
            for (index, column) in COLUMNS.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                match line.get(column) {
                    Some(Value::String(field)) => text.push_str(&csv_field(field)),
                    Some(Value::Null) | None => {}
                    Some(number) => text.push_str(&number.to_string()),
                }
            }
            text.push_str("\r\n");
        }
        text
    }
}

/// A text as a field of CSV. Callers choose some of the names: a spreadsheet must not run one as a formula, so a text that
/// could be one gets an apostrophe before it.
fn csv_field(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { "'" } else { "" };
    if text.contains(['"', ',', '\r', '\n']) {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        format!("{guard}{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::to_text;

    /// 2026-11-30T14:25:00Z.
    const NOW_MS: u64 = 1_796_048_700_000;

    fn range(from: Option<&str>, to: Option<&str>, bucket: Option<Bucket>) -> Result<[String; 2], String> {
        let range = Range::new(from, to, bucket, NOW_MS).map_err(|error| error.message)?;
        Ok(range.hours.map(|hour| to_rfc3339(u64::from(hour) * HOUR_MS)))
    }

    #[test]
    fn ranges_begin_and_end_at_hours_while_these_have_sums() {
        assert_eq!(to_rfc3339(NOW_MS), "2026-11-30T14:25:00Z");
        for (from, to, bucket, expected) in [
            (None, None, None, ["2026-10-31T00:00:00Z", "2026-12-01T00:00:00Z"]),
            (None, None, Some(Bucket::Day), ["2026-10-31T00:00:00Z", "2026-12-01T00:00:00Z"]),
            (None, None, Some(Bucket::Hour), ["2026-11-29T15:00:00Z", "2026-11-30T15:00:00Z"]),
            (Some("2026-11-22"), None, Some(Bucket::Hour), ["2026-11-22T00:00:00Z", "2026-11-30T15:00:00Z"]),
            (Some("2026-11-29T14:25:00Z"), None, None, ["2026-11-29T14:00:00Z", "2026-11-30T15:00:00Z"]),
            (Some("2026-11-29"), None, None, ["2026-11-29T00:00:00Z", "2026-12-01T00:00:00Z"]),
            (Some("2026-11-29"), Some("2026-11-30"), None, ["2026-11-29T00:00:00Z", "2026-11-30T00:00:00Z"]),
            (
                Some("2026-11-29T02:00:00 02:00"),
                Some("2026-11-29T05:30:00Z"),
                Some(Bucket::Day),
                ["2026-11-29T00:00:00Z", "2026-11-29T06:00:00Z"],
            ),
            (
                Some("2026-10-02T14:00:00Z"),
                Some("2026-10-03T14:00:00Z"),
                None,
                ["2026-10-02T00:00:00Z", "2026-10-04T00:00:00Z"],
            ),
        ] {
            assert_eq!(range(from, to, bucket).unwrap(), expected, "{from:?} {to:?} {bucket:?}");
        }
        for (from, to, bucket, part) in [
            (Some("yesterday"), None, None, "'from' must be a time"),
            (None, Some("2026-13-01"), None, "'to' must be a time"),
            (Some("2026-11-30"), Some("2026-11-30"), None, "must be before 'to'"),
            (Some("2027-01-01"), None, None, "must be before 'to'"),
            (Some("2026-11-21T23:00:00Z"), None, Some(Bucket::Hour), "2026-11-22T00:00:00Z or later"),
        ] {
            let error = range(from, to, bucket).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_report_has_its_range_its_totals_and_at_most_as_many_entries_as_the_limit() {
        let range = Range::new(Some("2026-11-29"), Some("2026-11-30"), None, NOW_MS).unwrap();
        let tally = Tally { requests: 3, successful: 2, cost_micro_usd: 1_500_000, ..Tally::default() };
        let entry = |group: &str| Entry {
            hour: range.hours[0],
            group: Some(group.into()),
            tally,
            ..Entry::default()
        };
        let others = Entry { group: None, others: Some(7), ..entry("") };
        let entries = vec![entry("ring:=ci\"x\""), others, entry("third")];
        let selection = Selection { group: Some(Group::Key), rank: Rank::Cost, top: Some(1), limit: 2 };
        let report = Report::new(&range, selection, &tally, entries);
        let sums = r#""requests":3,"successful":2,"failed":1,"prompt_tokens":0,"cached_tokens":0,"cache_write_tokens":0,"completion_tokens":0,"reasoning_tokens":0,"cost_usd":1.5,"unpriced":0,"estimated":0,"avg_duration_ms":0,"avg_first_token_ms":null"#;
        assert_eq!(
            to_text(&report),
            [
                r#"{"from":"2026-11-29T00:00:00Z","to":"2026-11-30T00:00:00Z","bucket":null,"group_by":"key","totals":{"#,
                sums,
                r#"},"data":[{"start":"2026-11-29T00:00:00Z","group":"ring:=ci\"x\"","name":"=ci\"x\"","#,
                sums,
                r#"},{"start":"2026-11-29T00:00:00Z","group":null,"others":7,"#,
                sums,
                r#"}],"has_more":true}"#,
            ]
            .concat()
        );
        assert_eq!(
            report.to_csv(),
            concat!(
                "start,group,name,requests,successful,failed,prompt_tokens,cached_tokens,cache_write_tokens,",
                "completion_tokens,reasoning_tokens,cost_usd,unpriced,estimated,avg_duration_ms,avg_first_token_ms,others\r\n",
                "2026-11-29T00:00:00Z,\"ring:=ci\"\"x\"\"\",\"'=ci\"\"x\"\"\",3,2,1,0,0,0,0,0,1.5,0,0,0,,\r\n",
                "2026-11-29T00:00:00Z,,,3,2,1,0,0,0,0,0,1.5,0,0,0,,7\r\n",
            )
        );
        for (text, field) in
            [("a,b", "\"a,b\""), ("+1", "'+1"), ("-1,\n", "\"'-1,\n\""), ("@x", "'@x"), ("ä b", "ä b")]
        {
            assert_eq!(csv_field(text), field);
        }
    }
}
