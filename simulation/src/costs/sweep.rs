//! The counts of all settings as data, `site/data/costs.json`, for the diagrams of the documentation, and as text for a
//! terminal.

use std::fmt::Write as _;

use gatehouse_core::report::calls::SPAN_MS;
use serde_json::{Map, Value, json};

use super::ledger::{self, Setting};
use super::prices::{Item, Needs};
use super::{CALLS, CALLS_OF_ISOLATE, health, of_each, settings};
use crate::table::thousands;

/// The most messages that an object handles in a second.
const OBJECT_LIMIT: u64 = 1_000;
/// The most short queries that the database runs in a second, one at a time.
const DATABASE_LIMIT: u64 = 1_000;
/// The duration over which a [`Setting`] counts its calls, in seconds.
const SECONDS: u64 = 10_000;
/// The numbers of keys and the calls per second of the grid.
const KEYS: [u64; 4] = [1, 10, 1_000, 10_000];
const RATES: [u64; 6] = [1, 10, 100, 1_000, 10_000, 100_000];

/// The counts of every setting, for a million calls each.
#[derive(Clone, Debug)]
pub struct Sweep {
    seed: u64,
    ledgers: Vec<(Setting, ledger::Counts)>,
    views: Vec<(u64, health::Counts)>,
}

/// An operator of the documentation's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The name in the table.
    pub name: &'static str,
    /// Calls of all keys in ten thousand seconds.
    pub calls: u64,
    /// The number of keys.
    pub keys: u64,
    /// The number of isolates.
    pub isolates: u64,
    /// `true` if the keys have limits.
    pub limits: bool,
}

/// The operators of the documentation's table.
pub const OPERATORS: [Operator; 4] = [
    Operator { name: "Team", calls: SECONDS, keys: 10, isolates: 1, limits: true },
    Operator { name: "Company", calls: 100 * SECONDS, keys: 100, isolates: 10, limits: true },
    Operator { name: "Platform", calls: 10_000 * SECONDS, keys: 1_000, isolates: 100, limits: true },
    Operator { name: "Hyperscale", calls: 100_000 * SECONDS, keys: 10_000, isolates: 1_000, limits: true },
];

impl Sweep {
    /// Simulates every setting.
    pub fn new(seed: u64) -> Sweep {
        let all = settings();
        let counted = of_each(&all, |setting| ledger::run(*setting, seed));
        let calls: Vec<u64> = CALLS.into_iter().filter(|calls| *calls <= CALLS_OF_ISOLATE).collect();
        let views = of_each(&calls, |calls| health::run(*calls, seed));
        Sweep {
            seed,
            ledgers: all.into_iter().zip(counted.iter().map(ledger::Counts::of_a_million)).collect(),
            views: calls.into_iter().zip(views.into_iter().map(health::Counts::of_a_million)).collect(),
        }
    }

    /// Reads a file that [`Sweep::to_json`] wrote.
    pub fn from_json(file: &Value) -> Option<Sweep> {
        let rows = |name: &str| file.get(name)?.get("rows")?.as_array();
        let numbers = |row: &Value| row.as_array()?.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>();
        let view = |row: &Value| {
            let [calls, requests, waited] = numbers(row)?.try_into().ok()?;
            Some((calls, health::Counts { calls: 1_000_000, requests, waited }))
        };
        Some(Sweep {
            seed: file.get("seed")?.as_u64()?,
            ledgers: rows("ledger")?.iter().map(|row| of_row(&numbers(row)?)).collect::<Option<_>>()?,
            views: rows("board")?.iter().map(view).collect::<Option<_>>()?,
        })
    }

    /// The counts of a setting.
    pub fn ledger(&self, setting: Setting) -> Option<&ledger::Counts> {
        self.ledgers.iter().find(|(known, _)| *known == setting).map(|(_, counts)| counts)
    }

    fn of(&self, operator: &Operator) -> Option<(&ledger::Counts, &health::Counts)> {
        let Operator { calls, keys, isolates, limits, .. } = *operator;
        let ledger = self.ledger(Setting { calls: calls / keys, isolates, limits })?;
        let view = self.views.iter().find(|(known, _)| *known == calls / isolates)?;
        Some((ledger, &view.1))
    }

    fn needs(&self, operator: &Operator, cpu_us: u64) -> Option<Needs> {
        self.of(operator).map(|(ledger, health)| {
            let d1_written = ledger.d1_written + removed_spans(operator, ledger);
            Needs::new(ledger::Counts { d1_written, ..*ledger }, *health, cpu_us)
        })
    }

    /// The content of the file. `measured` is copied unchanged.
    pub fn to_json(&self, items: &[Item], measured: &Value) -> Value {
        let rows: Vec<Value> = self.ledgers.iter().map(|(setting, counts)| row(*setting, counts)).collect();
        let views: Vec<Value> =
            self.views.iter().map(|(calls, counts)| json!([calls, counts.requests, counts.waited])).collect();
        let cpu_us = cpu_us(measured);
        let operators: Vec<Value> =
            OPERATORS.iter().filter_map(|operator| self.operator(operator, items, cpu_us)).collect();
        json!({
            "about": "Written by scripts/costs. `ledger` and `board` are simulated (simulation/src/costs), `measured` is what scripts/costs --measure found in the local runtime, prices are in prices.json. Counts are for a million calls.",
            "seed": self.seed,
            "measured": measured,
            "assumed": {
                "calls_per_second_of_isolate": CALLS_OF_ISOLATE / SECONDS,
                "object_round_trip_ms": ledger::THERE_MS + ledger::BACK_MS,
                "object_active_ms_per_message": ledger::ACTIVE_MS,
                "object_active_ms_per_fold": ledger::FOLD_ACTIVE_MS,
                "object_mb": super::prices::OBJECT_MB,
                "object_messages_per_second_at_most": OBJECT_LIMIT,
                "d1_queries_per_second_at_most": DATABASE_LIMIT,
                "call_span_seconds": SPAN_MS / 1000,
                "call_duration_ms": [ledger::DURATION_MS.0, ledger::DURATION_MS.1],
                "models_of_key": ledger::MODELS,
                "hold_micro_usd": [ledger::HOLD_MICRO_USD.0, ledger::HOLD_MICRO_USD.1],
                "cost_micro_usd": [ledger::COST_MICRO_USD.0, ledger::COST_MICRO_USD.1],
                "limits": "requests_per_minute, usd_per_day, concurrent: each twice what is used",
            },
            "ledger": { "columns": COLUMNS, "rows": rows },
            "board": { "columns": ["calls_of_isolate_in_10000_s", "requests", "waited"], "rows": views },
            "operators": operators,
            "grid": { "columns": GRID_COLUMNS, "rows": self.grid(items, cpu_us) },
        })
    }

    fn operator(&self, operator: &Operator, items: &[Item], cpu_us: u64) -> Option<Value> {
        let needs = self.needs(operator, cpu_us)?;
        let (ledger, health) = self.of(operator)?;
        let (mut units, mut money, mut total) = (Map::new(), Map::new(), 0);
        for item in items {
            let micro_usd = needs.micro_usd(item);
            units.insert(item.id.clone(), needs.units(&item.id).into());
            money.insert(item.id.clone(), micro_usd.into());
            if item.id != OPTIONAL {
                total += micro_usd;
            }
        }
        let Operator { name, calls, keys, isolates, limits } = *operator;
        let per_second = |per_million: u64| per_million * (calls / SECONDS) / 1_000_000;
        Some(json!({
            "name": name,
            "calls_per_second": calls / SECONDS,
            "keys": keys,
            "isolates": isolates,
            "limits": limits,
            "units": units,
            "micro_usd": money,
            "total_micro_usd": total,
            "ledger_messages_per_second": per_second(ledger.object_requests()) / keys,
            "board_messages_per_second": per_second(health.requests),
            "d1_queries_per_second": per_second(ledger.d1_queries),
            "waited_ppm": ledger.waited,
        }))
    }

    /// Checks that a file has the counts of this sweep.
    ///
    /// # Errors
    /// The first field that differs.
    pub fn check(&self, items: &[Item], stored: &Value) -> Result<(), String> {
        let new = self.to_json(items, stored.get("measured").unwrap_or(&Value::Null));
        let names = ["seed", "assumed", "ledger", "board", "operators", "grid", "about"];
        match names.iter().find(|name| new.get(**name) != stored.get(**name)) {
            None => Ok(()),
            Some(name) => {
                Err(format!("costs.json: \"{name}\" differs from the simulation; run scripts/costs"))
            }
        }
    }

    /// The grid as text for a terminal: US dollars for a million calls, and messages of a ledger.
    pub fn to_text(&self, items: &[Item], cpu_us: u64) -> String {
        let mut text = String::from(
            "US dollars per million calls with full logs, and messages per second of a ledger\n",
        );
        for limits in [false, true] {
            let _ = write!(text, "\n{:28}", if limits { "keys with limits" } else { "keys without limits" });
            for keys in KEYS {
                let _ = write!(text, "{:>22}", format!("{} keys", thousands(keys)));
            }
            text.push('\n');
            for rate in RATES {
                let _ = write!(text, "{:28}", format!("{} calls/s", thousands(rate)));
                for keys in KEYS {
                    let point = self.point(rate, keys, limits, items, cpu_us);
                    let cell = point.map_or_else(String::new, |(micro_usd, messages)| {
                        format!("{:.2} {messages:>8.1}/s", micro_usd as f64 / 1e6)
                    });
                    let _ = write!(text, "{cell:>22}");
                }
                text.push('\n');
            }
        }
        text
    }

    /// A row for each rate of calls, number of keys, and keys without and with limits, in [`GRID_COLUMNS`].
    fn grid(&self, items: &[Item], cpu_us: u64) -> Vec<Value> {
        let mut rows = Vec::new();
        for limits in [false, true] {
            for keys in KEYS {
                rows.extend(RATES.iter().filter_map(|rate| {
                    let (micro_usd, messages) = self.point(*rate, keys, limits, items, cpu_us)?;
                    // Eight decimals, so that the last digit does not depend on the order of operations.
                    let messages = (messages * 1e8).round() / 1e8;
                    Some(json!([rate, keys, u8::from(limits), micro_usd, messages]))
                }));
            }
        }
        rows
    }

    /// The cost of a million calls in micro-USD, and the messages that one ledger receives in a second.
    fn point(&self, rate: u64, keys: u64, limits: bool, items: &[Item], cpu_us: u64) -> Option<(u64, f64)> {
        let calls = rate * SECONDS;
        let isolates = (calls / CALLS_OF_ISOLATE).max(1);
        let operator = Operator { name: "", calls, keys, isolates, limits };
        let needs = self.needs(&operator, cpu_us)?;
        let (ledger, _) = self.of(&operator)?;
        let sum = items.iter().filter(|item| item.id != OPTIONAL).map(|item| needs.micro_usd(item)).sum();
        let messages = ledger.object_requests() as f64 / ledger.calls.max(1) as f64;
        Some((sum, messages * rate as f64 / keys as f64))
    }
}

/// The rows of the list of calls that are removed for a million calls: one for each span of time in which any key rolled up.
fn removed_spans(operator: &Operator, ledger: &ledger::Counts) -> u64 {
    let seconds = 1_000_000 * SECONDS / operator.calls.max(1);
    (seconds * 1_000 / SPAN_MS).min(ledger.alarms)
}

/// The item that is only paid by operators who bind Analytics Engine.
const OPTIONAL: &str = "analytics_points";

const COLUMNS: [&str; 17] = [
    "calls_of_key_in_10000_s",
    "isolates",
    "limits",
    "asks",
    "reports",
    "alarms",
    "object_active_ms",
    "object_rows_written",
    "object_rows_read",
    "d1_queries",
    "d1_rows_written",
    "d1_rows_read",
    "waited",
    "waited_for_key",
    "refused",
    "most_aside_ppm_of_limit",
    "most_unreported_of_isolate",
];

const GRID_COLUMNS: [&str; 5] =
    ["calls_per_second", "keys", "limits", "micro_usd", "ledger_messages_per_second"];

/// A row of the file, of a million calls.
pub fn row(setting: Setting, counts: &ledger::Counts) -> Value {
    json!([
        setting.calls,
        setting.isolates,
        u8::from(setting.limits),
        counts.asks,
        counts.reports,
        counts.alarms,
        counts.active_ms,
        counts.object_written,
        counts.object_read,
        counts.d1_queries,
        counts.d1_written,
        counts.d1_read,
        counts.waited,
        counts.waited_for_key,
        counts.refused,
        counts.most_aside_ppm,
        counts.most_waiting,
    ])
}

/// Reads a row that [`row`] wrote.
fn of_row(row: &[u64]) -> Option<(Setting, ledger::Counts)> {
    let [
        calls,
        isolates,
        limits,
        asks,
        reports,
        alarms,
        active_ms,
        object_written,
        object_read,
        d1_queries,
        d1_written,
        d1_read,
        waited,
        waited_for_key,
        refused,
        most_aside_ppm,
        most_waiting,
    ] = *row
    else {
        return None;
    };
    let counts = ledger::Counts {
        calls: 1_000_000,
        refused,
        waited,
        waited_for_key,
        asks,
        reports,
        alarms,
        active_ms,
        object_written,
        object_read,
        d1_queries,
        d1_written,
        d1_read,
        most_aside_ppm,
        most_waiting,
    };
    Some((Setting { calls, isolates, limits: limits == 1 }, counts))
}

/// The measured CPU of a call, in microseconds.
pub fn cpu_us(measured: &Value) -> u64 {
    measured.get("cpu_us_per_call").and_then(Value::as_u64).unwrap_or_default()
}
