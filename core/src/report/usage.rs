//! What is told of usage: rows as the JSON of `GET /v1/analytics`, and of a key's own usage.
//!
//! The shape is that of the gateway that Gatehouse follows; [`Detail::Full`] has more members in every object. Nothing here
//! knows where rows come from, or who asks.

use std::cmp::Reverse;

use serde_json::{Map, Value};

use crate::json;
use crate::ledger::tally::{Row, Tally};
use crate::ledger::{Account, Limit, State};
use crate::time::{DAY_MS, to_rfc3339};

/// The most names that an object has; what is beyond is added up under [`OTHER`].
pub const MAX_NAMES: usize = 1_000;
/// The name of what is not named. No provider, model or project can be called so.
pub const OTHER: &str = "(other)";

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Requests, and how they went.
    Public,
    /// The same, without the names of projects.
    PublicWithoutProjects,
    /// Also tokens, costs and durations.
    Full,
}

/// The rows that a summary is made of, each list with all calls in it. Of the first only days matter, and so on: so a
/// database can add up what does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// By day.
    pub days: Vec<Row>,
    /// By provider and model; an empty model stands for several.
    pub models: Vec<Row>,
    /// By project; [`OTHER`] stands for several.
    pub projects: Vec<Row>,
}

impl Usage {
    /// The summary as JSON.
    pub fn summary(&self, detail: Detail) -> Value {
        summary([&self.days, &self.models, &self.projects], detail)
    }
}

/// The summary of rows as JSON.
pub fn of_rows(rows: &[Row], detail: Detail) -> Value {
    summary([rows; 3], detail)
}

/// Sums by name, sorted by name.
type Sums = Vec<(String, Tally)>;

fn summary([by_day, by_model, by_project]: [&[Row]; 3], detail: Detail) -> Value {
    let mut total = Tally::default();
    let [mut days, mut providers, mut models, mut projects] = <[Sums; 4]>::default();
    for Row { slice, tally } in by_day {
        total.add(tally);
        add(&mut days, &date(slice.day), tally);
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
    let daily = days.into_iter().map(|(date, tally)| {
        let mut members = Map::new();
        members.insert("date".to_owned(), date.into());
        tell(&mut members, &tally, "", detail);
        Value::Object(members)
    });
    let daily = daily.collect();
    let mut members = Map::new();
    tell(&mut members, &total, "_requests", detail);
    members.insert("success_rate".to_owned(), success_rate(&total));
    for (name, sums) in [("providers", providers), ("models", models), ("projects", projects)] {
        members.insert(name.to_owned(), named(sums, detail));
    }
    members.insert("daily".to_owned(), daily);
    Value::Object(members)
}

/// Adds to the sum of a name, or makes it.
fn add(sums: &mut Sums, name: &str, tally: &Tally) {
    match sums.binary_search_by(|(known, _)| known.as_str().cmp(name)) {
        Ok(index) => {
            if let Some((_, sum)) = sums.get_mut(index) {
                sum.add(tally);
            }
        }
        Err(index) => sums.insert(index, (name.to_owned(), *tally)),
    }
}

/// An object by name, most requests first, [`OTHER`] last.
fn named(mut sums: Sums, detail: Detail) -> Value {
    let mut other = Tally::default();
    let mut objects = Map::new();
    let mut put = |name: String, tally: &Tally| {
        let mut members = Map::new();
        tell(&mut members, tally, "", detail);
        objects.insert(name, Value::Object(members));
    };
    let mut places = MAX_NAMES;
    sums.sort_by_key(|(_, tally)| Reverse(tally.requests));
    for (name, tally) in sums {
        if name == OTHER || places == 0 {
            other.add(&tally);
        } else {
            places -= 1;
            put(name, &tally);
        }
    }
    if other != Tally::default() {
        put(OTHER.to_owned(), &other);
    }
    Value::Object(objects)
}

/// What is told of some calls. The counts of all calls together are called `total_requests` and so on, others `requests`.
fn tell(members: &mut Map<String, Value>, tally: &Tally, suffix: &str, detail: Detail) {
    let of_all = !suffix.is_empty();
    let counts = [
        (if of_all { "total" } else { "requests" }, tally.requests),
        ("successful", tally.successful),
        ("failed", tally.failed()),
    ];
    for (name, count) in counts {
        members.insert([name, suffix].concat(), count.into());
    }
    if detail != Detail::Full {
        return;
    }
    let mean = |sum: u64, count: u64| Value::from(sum.checked_div(count));
    // Behind requests, successful and attempts.
    for (name, sum) in Tally::FIELDS.into_iter().zip(tally.to_array()).skip(3) {
        let (name, value) = match name {
            "cost_micro_usd" => ("cost_usd", usd(sum)),
            "duration_ms" => ("avg_duration_ms", mean(sum, tally.requests)),
            "first_token_ms" => ("avg_first_token_ms", mean(sum, tally.streams)),
            "streams" => continue,
            _ => (name, sum.into()),
        };
        members.insert(name.to_owned(), value);
    }
}

/// Micro-USD as a JSON number of US dollars with at most six decimals. Exact up to a billion dollars: below that the nearest
/// binary fraction is written with the digits that it was made from.
#[expect(clippy::cast_precision_loss, reason = "see above")]
pub fn usd(micro_usd: u64) -> Value {
    if micro_usd.is_multiple_of(1_000_000) {
        (micro_usd / 1_000_000).into()
    } else {
        (micro_usd as f64 / 1e6).into()
    }
}

/// The share of successful calls, 0 to 1; 0 of none.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn success_rate(tally: &Tally) -> Value {
    if tally.requests == 0 { 0.into() } else { json!(tally.successful as f64 / tally.requests as f64) }
}

/// `2026-11-22`.
fn date(day: u32) -> String {
    let mut text = to_rfc3339(u64::from(day) * DAY_MS);
    text.truncate(text.find('T').unwrap_or(0));
    text
}

/// How a key's account stands: the members of `GET /usage` that its ledger knows. `limits` are counters and amounts.
pub fn account(usage: &Usage, account: &mut Account, limits: &[(String, u64)], now_ms: u64) -> Value {
    let mut document = usage.summary(Detail::Full);
    let mut states = Vec::with_capacity(limits.len());
    for (counter, amount) in limits {
        let Some(limit) = Limit::of_counter(counter, *amount) else { continue };
        let State { used, held, unconfirmed, left, ends_ms } = account.state(&limit, now_ms);
        states.push(json!({
            "limit": limit.name,
            "models": limit.models,
            "amount": limit.amount,
            "used": used,
            "held": held,
            "unconfirmed": unconfirmed,
            "remaining": left,
            "resets_at": ends_ms.map(to_rfc3339),
        }));
    }
    let chain = account.chain();
    let receipts = json!({"count": chain.count, "head": chain.head, "totals": chain.totals});
    if let Value::Object(members) = &mut document {
        members.insert("as_of".to_owned(), to_rfc3339(now_ms).into());
        members.insert("limits".to_owned(), states.into());
        members.insert("receipts".to_owned(), receipts);
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tally::Slice;
    use proptest::prelude::*;
    use serde_json::json;

    fn row(day: u32, project: &str, provider: &str, model: &str, requests: u64, successful: u64) -> Row {
        let [project, provider, model] = [project, provider, model].map(str::to_owned);
        Row {
            slice: Slice { day, project, provider, model },
            tally: Tally { requests, successful, ..Tally::default() },
        }
    }

    #[test]
    fn nothing_is_zeros_and_empty_objects() {
        for detail in [Detail::Public, Detail::PublicWithoutProjects] {
            assert_eq!(
                of_rows(&[], detail).to_string(),
                r#"{"total_requests":0,"successful_requests":0,"failed_requests":0,"success_rate":0,"providers":{},"models":{},"projects":{},"daily":[]}"#
            );
            assert_eq!(Usage::default().summary(detail), of_rows(&[], detail));
        }
    }

    #[test]
    fn each_member_has_its_sums_most_requests_first() {
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
        assert_eq!(of_rows(&rows, Detail::Public).to_string(), text);
        let hidden = of_rows(&rows, Detail::PublicWithoutProjects);
        assert_eq!(hidden["projects"], json!({}));
        assert_eq!(hidden["total_requests"], 10);
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
        let summary = of_rows(&[row], Detail::Full);
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
        assert_eq!(of_rows(&[], Detail::Full)["avg_duration_ms"], Value::Null);
        assert_eq!(of_rows(&[], Detail::Full)["cost_usd"], 0);
    }

    #[test]
    fn an_object_has_a_bounded_number_of_names_and_nothing_is_lost() {
        let names: Vec<String> = (0..1_500).map(|number| format!("p{number:04}")).collect();
        let mut rows: Vec<Row> = names
            .iter()
            .map(|name| row(1, name, "groq", name, if name == "p1499" { 9 } else { 2 }, 1))
            .collect();
        rows.push(row(1, OTHER, "groq", "", 100, 10));
        let summary = of_rows(&rows, Detail::Public);
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
            assert_eq!(usd(micro).to_string(), text);
        }
    }

    proptest! {
        /// As a decimal, digit by digit.
        #[test]
        fn money_is_exact(micro in 0_u64..1_000_000_000_000_000) {
            let text = usd(micro).to_string();
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            let shift = 6 + exponent.parse::<i32>().unwrap() - i32::try_from(fraction.len()).unwrap();
            let read = format!("{whole}{fraction}").parse::<u64>().unwrap() * 10_u64.pow(u32::try_from(shift).unwrap());
            prop_assert_eq!(read, micro);
        }

        /// Rows in any order and in any number of pieces give the same.
        #[test]
        fn order_does_not_matter(rows in proptest::collection::vec((0u32..3, 0usize..4, 0usize..3, 0u64..5), 0..30)) {
            let rows: Vec<Row> = rows
                .into_iter()
                .map(|(day, project, model, n)| row(day, ["", "a", "b", "c"][project], "p", ["x", "y", "z"][model], n, n / 2))
                .collect();
            let back: Vec<Row> = rows.iter().rev().cloned().collect();
            let summary = of_rows(&rows, Detail::Full);
            prop_assert_eq!(summary.to_string(), of_rows(&back, Detail::Full).to_string());
            let usage = Usage { days: rows.clone(), models: rows.clone(), projects: rows };
            prop_assert_eq!(usage.summary(Detail::Full), summary);
        }
    }
}
