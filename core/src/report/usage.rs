//! Usage reports: `GET /v1/analytics`, and `GET /usage` of one key.
//!
//! The structure follows the gateway in docs/compatibility.md; [`Detail::Full`] adds fields to every object. A report
//! is computed from rows of sums.

use std::cmp::Reverse;

use serde::{Serialize, Serializer};

use crate::ledger::receipt::Totals;
use crate::ledger::tally::{Row, Tally};
use crate::ledger::{Account, Limit, State};
use crate::time::{DAY_MS, to_rfc3339};

/// The maximum number of names in an object; [`OTHER`] is the sum of all others.
pub const MAX_NAMES: usize = 1_000;
/// The name of the sum of all entries that are not named. No provider, model or project can have it.
pub const OTHER: &str = "(other)";

/// The detail of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Requests, and the number of successful ones.
    Public,
    /// The same, without the names of projects.
    PublicWithoutProjects,
    /// Also tokens, costs and durations.
    Full,
}

/// The rows of a report. Each list covers all calls and groups them by one property, so that a database can sum over the
/// others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Rows by day.
    pub days: Vec<Row>,
    /// Rows by provider and model; a row without a model is the sum of several.
    pub models: Vec<Row>,
    /// Rows by project; [`OTHER`] is the sum of several.
    pub projects: Vec<Row>,
}

impl Usage {
    /// The report.
    pub fn summary(&self, detail: Detail) -> Summary {
        Summary::of([&self.days, &self.models, &self.projects], detail)
    }
}

/// The report of `GET /v1/analytics`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Calls that were sent to a provider.
    pub total_requests: u64,
    /// Calls with a complete response.
    pub successful_requests: u64,
    /// All other calls.
    pub failed_requests: u64,
    /// Sums over all calls.
    #[serde(flatten)]
    pub details: Option<Details>,
    /// The share of successful calls, 0 to 1; 0 without calls.
    pub success_rate: Ratio,
    /// Sums by provider.
    pub providers: ByName,
    /// Sums by model, as `provider/model`.
    pub models: ByName,
    /// Sums by project.
    pub projects: ByName,
    /// Sums by day, oldest first. Days without calls are omitted.
    pub daily: Vec<DaySums>,
}

/// Sums over the calls of one day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DaySums {
    /// The day, UTC, as `2026-11-22`.
    pub date: String,
    /// The sums.
    #[serde(flatten)]
    pub sums: Sums,
}

/// Sums over some calls.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sums {
    /// Calls that were sent to a provider.
    pub requests: u64,
    /// Calls with a complete response.
    pub successful: u64,
    /// All other calls.
    pub failed: u64,
    /// Further sums, in reports with [`Detail::Full`].
    #[serde(flatten)]
    pub details: Option<Details>,
}

/// Sums of tokens, costs and durations over some calls.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Details {
    /// See [`Tally::prompt_tokens`].
    pub prompt_tokens: u64,
    /// See [`Tally::cached_tokens`].
    pub cached_tokens: u64,
    /// See [`Tally::cache_write_tokens`].
    pub cache_write_tokens: u64,
    /// See [`Tally::completion_tokens`].
    pub completion_tokens: u64,
    /// See [`Tally::reasoning_tokens`].
    pub reasoning_tokens: u64,
    /// The cost of the calls whose cost is known.
    pub cost_usd: Usd,
    /// Calls whose cost is unknown.
    pub unpriced: u64,
    /// Calls whose tokens were estimated.
    pub estimated: u64,
    /// The mean duration, in milliseconds; `None` without calls.
    pub avg_duration_ms: Option<u64>,
    /// The mean time until the first content of a stream, in milliseconds; `None` if no call has one.
    pub avg_first_token_ms: Option<u64>,
}

/// Sums by name, most requests first, [`OTHER`] last: an object in JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ByName(pub Vec<(String, Sums)>);

impl Serialize for ByName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, sums)| (name, sums)))
    }
}

/// A part of a whole: in JSON a number from 0 to 1, and 0 if the whole is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    /// The part.
    pub part: u64,
    /// The whole.
    pub whole: u64,
}

impl Serialize for Ratio {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.whole {
            0 => serializer.serialize_u64(0),
            whole => serializer.serialize_f64(self.part as f64 / whole as f64),
        }
    }
}

/// Micro-USD: in JSON a number of US dollars with at most six decimals. Exact up to a billion dollars: below that, the
/// nearest binary fraction is written with the original digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usd(pub u64);

impl Serialize for Usd {
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(1_000_000) {
            serializer.serialize_u64(self.0 / 1_000_000)
        } else {
            serializer.serialize_f64(self.0 as f64 / 1e6)
        }
    }
}

impl Details {
    fn of(tally: &Tally, detail: Detail) -> Option<Details> {
        (detail == Detail::Full).then(|| Details {
            prompt_tokens: tally.prompt_tokens,
            cached_tokens: tally.cached_tokens,
            cache_write_tokens: tally.cache_write_tokens,
            completion_tokens: tally.completion_tokens,
            reasoning_tokens: tally.reasoning_tokens,
            cost_usd: Usd(tally.cost_micro_usd),
            unpriced: tally.unpriced,
            estimated: tally.estimated,
            avg_duration_ms: tally.duration_ms.checked_div(tally.requests),
            avg_first_token_ms: tally.first_token_ms.checked_div(tally.streams),
        })
    }
}

impl Sums {
    /// The sums of a tally.
    pub fn of(tally: &Tally, detail: Detail) -> Sums {
        Sums {
            requests: tally.requests,
            successful: tally.successful,
            failed: tally.failed(),
            details: Details::of(tally, detail),
        }
    }
}

/// Tallies by name, sorted by name.
type Tallies = Vec<(String, Tally)>;

impl Summary {
    /// Makes the report of rows, each of which is in every list.
    pub fn of_rows(rows: &[Row], detail: Detail) -> Summary {
        Summary::of([rows; 3], detail)
    }

    fn of([by_day, by_model, by_project]: [&[Row]; 3], detail: Detail) -> Summary {
        let mut total = Tally::default();
        let [mut days, mut providers, mut models, mut projects] = <[Tallies; 4]>::default();
        for Row { slice, tally } in by_day {
            total.add(tally);
            add(&mut days, &date(slice.day()), tally);
        }
        for Row { slice, tally } in by_model {
            add(&mut providers, &slice.provider, tally);
            let model = [&slice.provider, "/", &slice.model].concat();
            add(&mut models, if slice.model.is_empty() { OTHER } else { &model }, tally);
        }
        for Row { slice, tally } in by_project {
            if !slice.project.is_empty() && detail != Detail::PublicWithoutProjects {
                add(&mut projects, &slice.project, tally);
            }
        }
        Summary {
            total_requests: total.requests,
            successful_requests: total.successful,
            failed_requests: total.failed(),
            details: Details::of(&total, detail),
            success_rate: Ratio { part: total.successful, whole: total.requests },
            providers: ByName::of(providers, detail),
            models: ByName::of(models, detail),
            projects: ByName::of(projects, detail),
            daily: days
                .into_iter()
                .map(|(date, tally)| DaySums { date, sums: Sums::of(&tally, detail) })
                .collect(),
        }
    }
}

/// Adds to the tally of a name, or creates it.
fn add(tallies: &mut Tallies, name: &str, tally: &Tally) {
    match tallies.binary_search_by(|(known, _)| known.as_str().cmp(name)) {
        Ok(index) => {
            if let Some((_, sum)) = tallies.get_mut(index) {
                sum.add(tally);
            }
        }
        Err(index) => tallies.insert(index, (name.to_owned(), *tally)),
    }
}

impl ByName {
    fn of(mut tallies: Tallies, detail: Detail) -> ByName {
        let mut other = Tally::default();
        let mut named = Vec::with_capacity(tallies.len().min(MAX_NAMES + 1));
        tallies.sort_by_key(|(_, tally)| Reverse(tally.requests));
        for (name, tally) in tallies {
            if name == OTHER || named.len() == MAX_NAMES {
                other.add(&tally);
            } else {
                named.push((name, Sums::of(&tally, detail)));
            }
        }
        if other != Tally::default() {
            named.push((OTHER.to_owned(), Sums::of(&other, detail)));
        }
        ByName(named)
    }
}

/// `2026-11-22`.
fn date(day: u32) -> String {
    let mut text = to_rfc3339(u64::from(day) * DAY_MS);
    text.truncate(text.find('T').unwrap_or(0));
    text
}

/// The report of `GET /usage`: the usage of one key, its limits, and the head of its chain of receipts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KeyUsage<'a> {
    /// The name of the key, or the label of a ring key.
    pub key: &'a str,
    /// The sums.
    #[serde(flatten)]
    pub summary: Summary,
    /// The time of the report, in RFC 3339.
    pub as_of: String,
    /// The limits of the key.
    pub limits: Vec<LimitUsage>,
    /// The end of the chain of receipts.
    pub receipts: ChainEnd<'a>,
}

/// One limit of a key. Amounts are calls, tokens or micro-USD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitUsage {
    /// The name of the limit in the configuration.
    pub limit: &'static str,
    /// The models that it applies to, as the policy names them; `None` is all together.
    pub models: Option<String>,
    /// The limit itself.
    pub amount: u64,
    /// See [`State::used`].
    pub used: u64,
    /// See [`State::held`].
    pub held: u64,
    /// See [`State::unconfirmed`].
    pub unconfirmed: u64,
    /// See [`State::left`].
    pub remaining: u64,
    /// The end of the window, in RFC 3339; `None` if it never ends.
    pub resets_at: Option<String>,
}

/// The head of a key's chain of receipts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChainEnd<'a> {
    /// The number of receipts.
    pub count: u64,
    /// The hash of the last one.
    pub head: &'a str,
    /// The sums over all of them.
    pub totals: Totals,
}

impl<'a> KeyUsage<'a> {
    /// Makes the report of a key. `limits` are counters ([`Limit::counter`]) and amounts.
    pub fn of(
        key: &'a str,
        usage: &Usage,
        account: &'a mut Account,
        limits: &[(String, u64)],
        now_ms: u64,
    ) -> KeyUsage<'a> {
        let limits = limits
            .iter()
            .filter_map(|(counter, amount)| Limit::of_counter(counter, *amount))
            .map(|limit| {
                let State { used, held, unconfirmed, left, ends_ms } = account.state(&limit, now_ms);
                LimitUsage {
                    limit: limit.name,
                    models: limit.models,
                    amount: limit.amount,
                    used,
                    held,
                    unconfirmed,
                    remaining: left,
                    resets_at: ends_ms.map(to_rfc3339),
                }
            })
            .collect();
        let chain = account.chain();
        KeyUsage {
            key,
            summary: usage.summary(Detail::Full),
            as_of: to_rfc3339(now_ms),
            limits,
            receipts: ChainEnd { count: chain.count, head: &chain.head, totals: chain.totals },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::to_text;
    use crate::ledger::tally::Slice;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn value(summary: &Summary) -> Value {
        serde_json::to_value(summary).unwrap()
    }

    fn row(day: u32, project: &str, provider: &str, model: &str, requests: u64, successful: u64) -> Row {
        let [project, provider, model] = [project, provider, model].map(str::to_owned);
        Row {
            slice: Slice { hour: day * 24, project, provider, model, ..Slice::default() },
            tally: Tally { requests, successful, ..Tally::default() },
        }
    }

    #[test]
    fn without_calls_the_report_has_zeros_and_empty_objects() {
        for detail in [Detail::Public, Detail::PublicWithoutProjects] {
            assert_eq!(
                to_text(&Summary::of_rows(&[], detail)),
                r#"{"total_requests":0,"successful_requests":0,"failed_requests":0,"success_rate":0,"providers":{},"models":{},"projects":{},"daily":[]}"#
            );
            assert_eq!(Usage::default().summary(detail), Summary::of_rows(&[], detail));
        }
    }

    #[test]
    fn each_name_has_its_sums_most_requests_first() {
        let rows = [
            row(20_780, "a", "groq", "x/y", 1, 1),
            row(20_779, "", "groq", "z", 3, 0),
            row(20_780, "b", "openai", "x", 4, 4),
            row(20_779, "a", "openai", "x", 1, 1),
            row(20_779, "0", "openai", "ä 🦀", 1, 0),
        ];
        let text = concat!(
            r#"{"total_requests":10,"successful_requests":6,"failed_requests":4,"success_rate":0.6,"#,
            r#""providers":{"openai":{"requests":6,"successful":5,"failed":1},"groq":{"requests":4,"successful":1,"failed":3}},"#,
            r#""models":{"openai/x":{"requests":5,"successful":5,"failed":0},"groq/z":{"requests":3,"successful":0,"failed":3},"#,
            r#""groq/x/y":{"requests":1,"successful":1,"failed":0},"openai/ä 🦀":{"requests":1,"successful":0,"failed":1}},"#,
            r#""projects":{"b":{"requests":4,"successful":4,"failed":0},"a":{"requests":2,"successful":2,"failed":0},"#,
            r#""0":{"requests":1,"successful":0,"failed":1}},"#,
            r#""daily":[{"date":"2026-11-22","requests":5,"successful":1,"failed":4},"#,
            r#"{"date":"2026-11-23","requests":5,"successful":5,"failed":0}]}"#,
        );
        assert_eq!(to_text(&Summary::of_rows(&rows, Detail::Public)), text);
        let hidden = Summary::of_rows(&rows, Detail::PublicWithoutProjects);
        assert_eq!((hidden.projects, hidden.total_requests), (ByName::default(), 10));
    }

    #[test]
    fn full_detail_has_tokens_costs_and_means_in_every_object() {
        let mut row = row(1, "p", "groq", "x", 2, 1);
        row.tally = Tally {
            prompt_tokens: 10,
            cached_tokens: 4,
            cache_write_tokens: 3,
            completion_tokens: 7,
            reasoning_tokens: 2,
            cost_micro_usd: 1_234_567,
            unpriced: 1,
            estimated: 2,
            duration_ms: 301,
            ..row.tally
        };
        let summary = value(&Summary::of_rows(&[row], Detail::Full));
        let more = json!({
            "prompt_tokens": 10,
            "cached_tokens": 4,
            "cache_write_tokens": 3,
            "completion_tokens": 7,
            "reasoning_tokens": 2,
            "cost_usd": 1.234_567,
            "unpriced": 1,
            "estimated": 2,
            "avg_duration_ms": 150,
            "avg_first_token_ms": null,
        });
        let places = ["", "/providers/groq", "/models/groq~1x", "/projects/p", "/daily/0"];
        for object in places.map(|place| summary.pointer(place).unwrap()) {
            for (name, value) in more.as_object().unwrap() {
                assert_eq!(object.get(name), Some(value), "{name} of {object}");
            }
        }
        let nothing = value(&Summary::of_rows(&[], Detail::Full));
        assert_eq!((&nothing["avg_duration_ms"], &nothing["cost_usd"]), (&Value::Null, &json!(0)));
    }

    #[test]
    fn the_usage_of_a_key_has_its_limits_and_the_head_of_its_chain() {
        let mut account = Account::load(&crate::ledger::Stored::default(), 0);
        let limits = [("usd_per_day groq/*".to_owned(), 500_000), ("nothing".to_owned(), 1)];
        let head = account.chain().head.clone();
        let text = to_text(&KeyUsage::of("k", &Usage::default(), &mut account, &limits, 0));
        let expected = [
            r#"{"key":"k","total_requests":0,"successful_requests":0,"failed_requests":0,"prompt_tokens":0,"#,
            r#""cached_tokens":0,"cache_write_tokens":0,"completion_tokens":0,"reasoning_tokens":0,"cost_usd":0,"#,
            r#""unpriced":0,"estimated":0,"avg_duration_ms":null,"avg_first_token_ms":null,"success_rate":0,"#,
            r#""providers":{},"models":{},"projects":{},"daily":[],"as_of":"1970-01-01T00:00:00Z","limits":[{"#,
            r#""limit":"usd_per_day","models":"groq/*","amount":500000,"used":0,"held":0,"unconfirmed":0,"#,
            r#""remaining":500000,"resets_at":"1970-01-02T00:00:00Z"}],"receipts":{"count":0,"head":"HEAD","#,
            r#""totals":{"requests":0,"prompt_tokens":0,"completion_tokens":0,"cost_micro_usd":0}}}"#,
        ];
        assert_eq!(text, expected.concat().replace("HEAD", &head));
    }

    #[test]
    fn an_object_has_a_bounded_number_of_names_and_nothing_is_lost() {
        let names: Vec<String> = (0..1_500).map(|number| format!("p{number:04}")).collect();
        let mut rows: Vec<Row> = names
            .iter()
            .map(|name| row(1, name, "groq", name, if name == "p1499" { 9 } else { 2 }, 1))
            .collect();
        rows.push(row(1, OTHER, "groq", "", 100, 10));
        let summary = value(&Summary::of_rows(&rows, Detail::Public));
        for (member, first) in [("projects", "p1499"), ("models", "groq/p1499")] {
            let object = summary[member].as_object().unwrap();
            assert_eq!(object.len(), MAX_NAMES + 1);
            let names: Vec<_> = object.keys().map(String::as_str).collect();
            assert_eq!((names[0], names[MAX_NAMES]), (first, OTHER));
            assert!(names[1].ends_with("p0000"), "ties are in the order of their names");
            assert_eq!(object[OTHER], json!({"requests": 1_100, "successful": 510, "failed": 590}));
        }
        assert_eq!(summary["providers"]["groq"]["requests"], summary["total_requests"]);
    }

    #[test]
    fn money_is_a_number_of_dollars() {
        for (micro, text) in [
            (0, "0"),
            (1, "1e-6"),
            (10, "0.00001"),
            (250_000, "0.25"),
            (1_000_000, "1"),
            (1_000_001, "1.000001"),
            (999_999_999_999_999, "999999999.999999"),
        ] {
            assert_eq!(to_text(&Usd(micro)), text);
        }
    }

    proptest! {
        /// As a decimal, digit by digit.
        #[test]
        fn money_is_exact(micro in 0_u64..1_000_000_000_000_000) {
            let text = to_text(&Usd(micro));
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            let shift = 6 + exponent.parse::<i32>().unwrap() - i32::try_from(fraction.len()).unwrap();
            let read = format!("{whole}{fraction}").parse::<u64>().unwrap() * 10_u64.pow(u32::try_from(shift).unwrap());
            prop_assert_eq!(read, micro);
        }

        /// The order and the division of rows do not change the report.
        #[test]
        fn order_does_not_matter(rows in proptest::collection::vec((0u32..3, 0usize..4, 0usize..3, 0u64..5), 0..30)) {
            let rows: Vec<Row> = rows
                .into_iter()
                .map(|(day, project, model, n)| row(day, ["", "a", "b", "c"][project], "p", ["x", "y", "z"][model], n, n / 2))
                .collect();
            let back: Vec<Row> = rows.iter().rev().cloned().collect();
            let summary = Summary::of_rows(&rows, Detail::Full);
            prop_assert_eq!(to_text(&summary), to_text(&Summary::of_rows(&back, Detail::Full)));
            let usage = Usage { days: rows.clone(), models: rows.clone(), projects: rows };
            prop_assert_eq!(usage.summary(Detail::Full), summary);
        }
    }
}
