//! The results of days as aligned text: routing policies as columns, measures as rows.

use std::fmt::Write as _;

use crate::Policy;
use crate::tally::Tally;

type Measure = (&'static str, fn(&Tally) -> f64, fn(f64) -> String);

fn per_cent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn times(number: f64) -> String {
    format!("{number:.2}")
}

fn count(number: f64) -> String {
    thousands(number.round() as u64)
}

/// A number with a comma between groups of three digits.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let length = digits.len();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (length - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn seconds(ms: f64) -> String {
    format!("{:.2} s", ms / 1000.0)
}

/// The measures: name, value, and format.
const MEASURES: [Measure; 15] = [
    ("calls", |tally| tally.calls as f64, count),
    ("answered to the end", Tally::share, per_cent),
    ("not answered", |tally| (tally.calls - tally.answered) as f64, count),
    ("of them cut after the start", |tally| tally.cut as f64, count),
    ("no content after 30 s", |tally| tally.late as f64, count),
    ("calls to providers, for each call", Tally::attempts_per_call, times),
    ("rejected by providers with 429", |tally| tally.throttles as f64, count),
    ("share of calls to providers", |tally| tally.throttles as f64 / tally.attempts.max(1) as f64, per_cent),
    ("first content: p50", |tally| tally.percentile_ms(0.5) as f64, seconds),
    ("first content: p95", |tally| tally.percentile_ms(0.95) as f64, seconds),
    ("first content: p99", |tally| tally.percentile_ms(0.99) as f64, seconds),
    ("paid, relative to the cheapest capable model", Tally::price_ratio, times),
    ("paid for attempts without a response", Tally::wasted_share, per_cent),
    ("calls that a prompt cache can serve", |tally| tally.cacheable as f64, count),
    ("of them sent to that cache", Tally::cached_share, per_cent),
];

fn lines(head: &str, columns: &[&str], rows: &[(String, Vec<String>)]) -> String {
    let names = rows.iter().map(|(name, _)| name.chars().count()).chain([head.chars().count()]);
    let first = names.max().unwrap_or(0);
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let cells =
                rows.iter().filter_map(|(_, cells)| cells.get(index)).map(|cell| cell.chars().count());
            cells.chain([column.chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    let heads: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
    for (name, cells) in
        std::iter::once((&head.to_owned(), &heads)).chain(rows.iter().map(|(name, cells)| (name, cells)))
    {
        let _ = write!(text, "{name:first$}");
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(text, "   {cell:>width$}");
        }
        text.push('\n');
    }
    text
}

/// The table of one day, with a column for each of [`Policy::ALL`].
pub fn of_day(seed: u64, tallies: &[Tally]) -> String {
    let columns = Policy::ALL.map(Policy::name);
    let rows: Vec<(String, Vec<String>)> = MEASURES
        .iter()
        .map(|(name, measure, write)| {
            ((*name).to_owned(), tallies.iter().map(|tally| write(measure(tally))).collect())
        })
        .collect();
    lines(&format!("the day of seed {seed}"), &columns, &rows)
}

/// The sum of all days for each routing policy.
pub fn sums(days: &[(u64, Vec<Tally>)]) -> Vec<Tally> {
    (0..Policy::ALL.len())
        .map(|index| {
            let mut sum = Tally::default();
            for tally in days.iter().filter_map(|(_, tallies)| tallies.get(index)) {
                sum.add(tally);
            }
            sum
        })
        .collect()
}

/// The table of several days: mean and worst, and the days on which Gatehouse answered fewer calls than another policy.
pub fn of_days(days: &[(u64, Vec<Tally>)]) -> String {
    let columns: Vec<&str> = Policy::ALL.iter().flat_map(|policy| [policy.name(), "worst"]).collect();
    let rows: Vec<(String, Vec<String>)> = MEASURES
        .iter()
        .map(|(name, measure, write)| {
            // For measures where more is better, the smallest value is the worst.
            let is_good = ["calls", "answered to the end", "of them sent to that cache"].contains(name);
            let cells = (0..Policy::ALL.len()).flat_map(|index| {
                let values: Vec<f64> =
                    days.iter().filter_map(|(_, tallies)| tallies.get(index)).map(measure).collect();
                let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
                let worst = if is_good {
                    values.iter().copied().fold(f64::MAX, f64::min)
                } else {
                    values.iter().copied().fold(0.0, f64::max)
                };
                [write(mean), write(worst)]
            });
            ((*name).to_owned(), cells.collect())
        })
        .collect();
    let first = days.first().map_or(0, |(seed, _)| *seed);
    let mut text = lines(&format!("{} days from seed {first} on: mean, worst", days.len()), &columns, &rows);
    for (index, policy) in Policy::ALL.iter().enumerate().skip(1) {
        let behind: Vec<String> = days
            .iter()
            .filter(|(_, tallies)| match (tallies.first(), tallies.get(index)) {
                (Some(ours), Some(other)) => ours.share() < other.share(),
                _ => false,
            })
            .map(|(seed, _)| seed.to_string())
            .collect();
        let (ours, name) = (Policy::Ours.name(), policy.name());
        let _ = match behind.as_slice() {
            [] => writeln!(text, "{ours} answered at least as many calls as {name} on every day."),
            seeds => {
                writeln!(text, "{ours} answered fewer calls than {name} on the days of {}.", seeds.join(", "))
            }
        };
    }
    text
}
