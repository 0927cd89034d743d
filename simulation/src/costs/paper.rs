//! The counts on paper: `costs.json`, which the page reads, the table of the page, its picture, and text for a terminal.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::ledger::{self, Setting};
use super::prices::{Item, Needs};
use super::{CALLS, CALLS_OF_ISOLATE, board, of_each, settings};
use crate::chart::{LINE, QUIET, Svg, TEXT, thousands};

/// The part of the page that is written here.
pub const MARKS: (&str, &str) = ("<!-- costs: begin -->", "<!-- costs: end -->");
/// Another: what was measured.
pub const MEASURED_MARKS: (&str, &str) = ("<!-- measured: begin -->", "<!-- measured: end -->");
/// What an object takes at most, in messages a second.
pub const OBJECT_LIMIT: u64 = 1_000;
/// What the database takes at most, in short queries a second: it answers one at a time.
pub const DATABASE_LIMIT: u64 = 1_000;
/// Seconds for which the calls of a [`Setting`] are.
const SECONDS: u64 = 10_000;

/// What a million calls of each setting came to.
#[derive(Clone, Debug)]
pub struct Sweep {
    seed: u64,
    ledgers: Vec<(Setting, ledger::Counts)>,
    boards: Vec<(u64, board::Counts)>,
}

/// An operator's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator {
    /// What it is called.
    pub name: &'static str,
    /// Calls in ten thousand seconds, of all keys.
    pub calls: u64,
    /// Keys.
    pub keys: u64,
    /// Isolates.
    pub isolates: u64,
    /// Whether the keys have limits.
    pub limits: bool,
}

/// Those of the table.
pub const OPERATORS: [Operator; 4] = [
    Operator { name: "Team", calls: SECONDS, keys: 10, isolates: 1, limits: true },
    Operator { name: "Company", calls: 100 * SECONDS, keys: 100, isolates: 10, limits: true },
    Operator { name: "Platform", calls: 10_000 * SECONDS, keys: 1_000, isolates: 100, limits: true },
    Operator { name: "Hyperscale", calls: 100_000 * SECONDS, keys: 10_000, isolates: 1_000, limits: true },
];

impl Sweep {
    /// Simulates all.
    pub fn new(seed: u64) -> Sweep {
        let all = settings();
        let counted = of_each(&all, |setting| ledger::run(*setting, seed));
        let calls: Vec<u64> = CALLS.into_iter().filter(|calls| *calls <= CALLS_OF_ISOLATE).collect();
        let boards = of_each(&calls, |calls| board::run(*calls, seed));
        Sweep {
            seed,
            ledgers: all.into_iter().zip(counted.iter().map(ledger::Counts::of_a_million)).collect(),
            boards: calls.into_iter().zip(boards.into_iter().map(board::Counts::of_a_million)).collect(),
        }
    }

    /// What a file has, as [`Sweep::to_json`] wrote it.
    pub fn from_json(file: &Value) -> Option<Sweep> {
        let rows = |name: &str| file.get(name)?.get("rows")?.as_array();
        let numbers = |row: &Value| row.as_array()?.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>();
        let board = |row: &Value| {
            let [calls, requests, waited] = numbers(row)?.try_into().ok()?;
            Some((calls, board::Counts { calls: 1_000_000, requests, waited }))
        };
        Some(Sweep {
            seed: file.get("seed")?.as_u64()?,
            ledgers: rows("ledger")?.iter().map(|row| of_row(&numbers(row)?)).collect::<Option<_>>()?,
            boards: rows("board")?.iter().map(board).collect::<Option<_>>()?,
        })
    }

    /// What a setting came to.
    pub fn ledger(&self, setting: Setting) -> Option<&ledger::Counts> {
        self.ledgers.iter().find(|(known, _)| *known == setting).map(|(_, counts)| counts)
    }

    fn of(&self, operator: &Operator) -> Option<(&ledger::Counts, &board::Counts)> {
        let Operator { calls, keys, isolates, limits, .. } = *operator;
        let ledger = self.ledger(Setting { calls: calls / keys, isolates, limits })?;
        let board = self.boards.iter().find(|(known, _)| *known == calls / isolates)?;
        Some((ledger, &board.1))
    }

    fn needs(&self, operator: &Operator, cpu_us: u64) -> Option<Needs> {
        self.of(operator).map(|(ledger, board)| Needs::new(*ledger, *board, cpu_us))
    }

    /// The file. `measured` is passed on.
    pub fn to_json(&self, items: &[Item], measured: &Value) -> Value {
        let rows: Vec<Value> = self.ledgers.iter().map(|(setting, counts)| row(*setting, counts)).collect();
        let boards: Vec<Value> = self
            .boards
            .iter()
            .map(|(calls, counts)| json!([calls, counts.requests, counts.waited]))
            .collect();
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
                "call_duration_ms": [ledger::DURATION_MS.0, ledger::DURATION_MS.1],
                "models_of_key": ledger::MODELS,
                "hold_micro_usd": [ledger::HOLD_MICRO_USD.0, ledger::HOLD_MICRO_USD.1],
                "cost_micro_usd": [ledger::COST_MICRO_USD.0, ledger::COST_MICRO_USD.1],
                "limits": "requests_per_minute, usd_per_day, concurrent: each twice what is used",
            },
            "ledger": { "columns": COLUMNS, "rows": rows },
            "board": { "columns": ["calls_of_isolate_in_10000_s", "requests", "waited"], "rows": boards },
            "operators": operators,
        })
    }

    fn operator(&self, operator: &Operator, items: &[Item], cpu_us: u64) -> Option<Value> {
        let needs = self.needs(operator, cpu_us)?;
        let (ledger, board) = self.of(operator)?;
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
        let a_second = |per_million: u64| per_million * (calls / SECONDS) / 1_000_000;
        Some(json!({
            "name": name,
            "calls_per_second": calls / SECONDS,
            "keys": keys,
            "isolates": isolates,
            "limits": limits,
            "units": units,
            "micro_usd": money,
            "total_micro_usd": total,
            "ledger_messages_a_second": a_second(ledger.object_requests()) / keys,
            "board_messages_a_second": a_second(board.requests),
            "d1_queries_a_second": a_second(ledger.d1_queries),
            "waited_ppm": ledger.waited,
        }))
    }

    /// Whether a file says what this does.
    ///
    /// # Errors
    /// What differs.
    pub fn check(&self, items: &[Item], kept: &Value) -> Result<(), String> {
        let new = self.to_json(items, kept.get("measured").unwrap_or(&Value::Null));
        let names = ["seed", "assumed", "ledger", "board", "operators", "about"];
        match names.iter().find(|name| new.get(**name) != kept.get(**name)) {
            None => Ok(()),
            Some(name) => Err(format!("costs.json: {name} is not what the simulation gives")),
        }
    }

    /// The grid of rates and keys, for a terminal: US dollars for a million calls.
    pub fn to_text(&self, items: &[Item], cpu_us: u64) -> String {
        let mut text = String::from(
            "US dollars for a million calls, logs in full; after that messages a second of a ledger\n",
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

    /// Micro-USD for a million calls, and messages a second of a ledger.
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

    /// The page with its table written anew.
    ///
    /// # Errors
    /// If it has no place for it.
    pub fn into_page(&self, page: &str, items: &[Item], measured: &Value) -> Result<String, String> {
        let page = between(page, MARKS, &self.table(items, cpu_us(measured)))?;
        between(&page, MEASURED_MARKS, &self.beside(measured))
    }

    /// What was measured, beside what the simulation gives for the same: counts for a call.
    fn beside(&self, measured: &Value) -> String {
        let number = |name: &str| measured.get(name).and_then(Value::as_u64).unwrap_or_default();
        let word = |name: &str| measured.get(name).and_then(Value::as_str).unwrap_or("not yet");
        let calls = number("calls_per_second") * SECONDS;
        let columns = [("without_limits", false), ("with_limits", true)];
        let found = |column: &str, name: &str| {
            let count = measured.get(column).and_then(|of| of.get(name)).and_then(Value::as_u64);
            count.map_or_else(|| "–".to_owned(), of_call)
        };
        let simulated = |limits: bool, name: &str| {
            let count = if name == "board" {
                let board = self.boards.iter().find(|(known, _)| *known == calls);
                board.map(|(_, counts)| counts.requests)
            } else {
                let setting = Setting { calls, isolates: 1, limits };
                let column = COLUMNS.iter().position(|column| *column == name);
                let row = self.ledger(setting).map(|counts| row(setting, counts));
                column.and_then(|column| row?.get(column)?.as_u64())
            };
            count.map_or_else(|| "–".to_owned(), of_call)
        };
        let mut html = format!(
            "<table class=\"costs\"><caption>One key and one isolate, {} calls a second for {} s; {}, {}. CPU of a call: {:.2} ms.</caption><thead><tr><th scope=\"col\">For each call</th>",
            number("calls_per_second"),
            number("seconds"),
            word("runtime"),
            word("date"),
            number("cpu_us_per_call") as f64 / 1e3,
        );
        for head in ["no limits: measured", "simulated", "limits: measured", "simulated"] {
            let _ = write!(html, "<th scope=\"col\" class=\"number\">{head}</th>");
        }
        html.push_str("</tr></thead><tbody>");
        for (name, text) in MEASURES {
            let _ = write!(html, "<tr><th scope=\"row\">{text}</th>");
            for (column, limits) in columns {
                for cell in [found(column, name), simulated(limits, name)] {
                    let _ = write!(html, "<td class=\"number\">{cell}</td>");
                }
            }
            html.push_str("</tr>");
        }
        html.push_str("</tbody></table>");
        html
    }

    /// The table of the page.
    fn table(&self, items: &[Item], cpu_us: u64) -> String {
        let all: Vec<(Operator, Needs, ledger::Counts, board::Counts)> = OPERATORS
            .iter()
            .filter_map(|operator| {
                Some((*operator, self.needs(operator, cpu_us)?, *self.of(operator)?.0, *self.of(operator)?.1))
            })
            .collect();
        let mut html =
            String::from("<table class=\"costs\"><thead><tr><th scope=\"col\">A million calls</th>");
        for (operator, ..) in &all {
            let _ = write!(html, "<th scope=\"col\" class=\"number\">{}</th>", operator.name);
        }
        html.push_str("</tr></thead><tbody>");
        let mut line = |class: &str, name: &str, cells: &mut dyn Iterator<Item = String>| {
            let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
            let _ = write!(html, "<tr{class}><th scope=\"row\">{name}</th>");
            for cell in cells {
                let _ = write!(html, "<td class=\"number\">{cell}</td>");
            }
            html.push_str("</tr>");
        };
        line("quiet", "calls a second", &mut all.iter().map(|(it, ..)| thousands(it.calls / SECONDS)));
        line("quiet", "keys, with limits", &mut all.iter().map(|(it, ..)| thousands(it.keys)));
        line("quiet", "isolates", &mut all.iter().map(|(it, ..)| thousands(it.isolates)));
        let paid = |item: &&Item| item.id != OPTIONAL;
        for item in items.iter().filter(paid) {
            line("", &item.name, &mut all.iter().map(|(_, needs, ..)| dollars(needs.micro_usd(item))));
        }
        let sum = |needs: &Needs| items.iter().filter(paid).map(|item| needs.micro_usd(item)).sum();
        line("sum", "together", &mut all.iter().map(|(_, needs, ..)| dollars(sum(needs))));
        let optional = items.iter().find(|item| item.id == OPTIONAL);
        if let Some(item) = optional {
            let name = format!("{}, if bound", item.name);
            line("quiet", &name, &mut all.iter().map(|(_, needs, ..)| dollars(needs.micro_usd(item))));
        }
        line(
            "quiet",
            "calls that wait for the ledger",
            &mut all.iter().map(|(_, _, ledger, _)| {
                format!("{:.1} %", ledger.waited as f64 * 100.0 / ledger.calls.max(1) as f64)
            }),
        );
        let busy = |per_million: u64, operator: &Operator, most: u64| {
            let a_second = per_million * (operator.calls / SECONDS) / 1_000_000;
            let mark = if a_second > most { "<strong>too many:</strong> " } else { "" };
            format!("{mark}{}", thousands(a_second))
        };
        let queries = |(it, _, ledger, _): &(Operator, Needs, ledger::Counts, board::Counts)| {
            busy(ledger.d1_queries, it, DATABASE_LIMIT)
        };
        line("quiet", "D1 queries a second", &mut all.iter().map(queries));
        let messages = |(it, _, _, board): &(Operator, Needs, ledger::Counts, board::Counts)| {
            busy(board.requests, it, OBJECT_LIMIT)
        };
        line("quiet", "messages to <code>ProviderHealth</code> a second", &mut all.iter().map(messages));
        html.push_str("</tbody></table>");
        html
    }

    /// The picture.
    pub fn draw(&self, items: &[Item], cpu_us: u64) -> String {
        let title = "What a million calls cost, and how busy a ledger is";
        let mut svg = Svg(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 {HEIGHT}\" role=\"img\" aria-labelledby=\"title what\" font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', sans-serif\">\n<title id=\"title\">{title}</title>\n<desc id=\"what\">Both fall with the rate of calls of each key: see the table and the file costs.json.</desc>\n<rect x=\"0.5\" y=\"0.5\" width=\"959\" height=\"{}\" rx=\"10\" fill=\"#fafaf8\" stroke=\"{LINE}\"/>\n",
            HEIGHT - 1.0
        ));
        svg.text((28.0, 38.0), 20.0, TEXT, r#" font-weight="600""#, title);
        let what = format!(
            "Simulation, seed {}; list prices. Calls are spread evenly over keys, and over isolates with a hundred a second each.",
            self.seed
        );
        svg.text((28.0, 60.0), 13.0, QUIET, "", &what);
        let mut x = 28.0;
        for (keys, stroke) in KEYS.iter().zip(COLOURS) {
            svg.line((x, 86.0), (x + 26.0, 86.0), &format!(r#"stroke="{stroke}" stroke-width="2.4""#));
            let label = if *keys == 1 { "1 key".to_owned() } else { format!("{} keys", thousands(*keys)) };
            svg.text((x + 33.0, 90.0), 12.0, TEXT, "", &label);
            x += label.chars().count() as f64 * 7.0 + 58.0;
        }
        for (label, dash) in [("with limits", ""), ("without", "3 3")] {
            let rest = format!(r#"stroke="{QUIET}" stroke-width="1.8" stroke-dasharray="{dash}""#);
            svg.line((x, 86.0), (x + 26.0, 86.0), &rest);
            svg.text((x + 33.0, 90.0), 12.0, QUIET, "", label);
            x += label.chars().count() as f64 * 7.0 + 58.0;
        }
        let money =
            Panel { left: 76.0, right: 466.0, low: 0.5, high: 40.0, head: "US dollars for a million calls" };
        let busy = Panel {
            left: 548.0,
            right: 932.0,
            low: 0.0001,
            high: 100_000.0,
            head: "Messages a second of one key's ledger",
        };
        money.frame(&mut svg, &[1.0, 2.0, 5.0, 10.0, 20.0]);
        busy.frame(&mut svg, &[0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1_000.0, 10_000.0]);
        let y = busy.y_of(OBJECT_LIMIT as f64);
        svg.line((busy.left, y), (busy.right, y), r##"stroke="#b3403a" stroke-width="1.4""##);
        svg.text((busy.left + 6.0, y - 6.0), 11.0, "#b3403a", "", "about what one object can take");
        for limits in [false, true] {
            for (keys, stroke) in KEYS.iter().zip(COLOURS) {
                let points: Vec<(u64, u64, f64)> = RATES
                    .iter()
                    .filter_map(|rate| {
                        let (micro_usd, messages) = self.point(*rate, *keys, limits, items, cpu_us)?;
                        Some((*rate, micro_usd, messages))
                    })
                    .collect();
                money.draw(
                    &mut svg,
                    stroke,
                    limits,
                    points.iter().map(|(rate, cost, _)| (*rate, *cost as f64 / 1e6)),
                );
                busy.draw(
                    &mut svg,
                    stroke,
                    limits,
                    points.iter().map(|(rate, _, messages)| (*rate, *messages)),
                );
            }
        }
        svg.0.push_str("</svg>\n");
        svg.0
    }
}

/// What is measured as well as simulated.
const MEASURES: [(&str, &str); 9] = [
    ("asks", "questions to the ledger"),
    ("reports", "reports to it"),
    ("alarms", "its alarms"),
    ("object_rows_written", "rows that it writes"),
    ("object_rows_read", "rows that it reads"),
    ("d1_queries", "queries of D1"),
    ("d1_rows_written", "rows written in D1"),
    ("d1_rows_read", "rows read in D1"),
    ("board", "messages to <code>ProviderHealth</code>"),
];

/// A count for a million calls, for one.
fn of_call(per_million: u64) -> String {
    format!("{:.3}", per_million as f64 / 1e6)
}

/// A text with what stands between two marks replaced.
fn between(text: &str, (begin, end): (&str, &str), new: &str) -> Result<String, String> {
    let missing = |mark: &str| format!("the page has no {mark}");
    let (before, rest) = text.split_once(begin).ok_or_else(|| missing(begin))?;
    let (_, after) = rest.split_once(end).ok_or_else(|| missing(end))?;
    Ok(format!("{before}{begin}{new}{end}{after}"))
}

/// Whether two pages differ in white space at most, which a formatter may have moved.
pub fn is_same_page(page: &str, other: &str) -> bool {
    let solid = |text: &str| text.split_whitespace().collect::<String>();
    solid(page) == solid(other)
}

/// What is bound by those who want it.
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

/// What [`row`] wrote.
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

/// The CPU of a call, in microseconds, as it was measured.
pub fn cpu_us(measured: &Value) -> u64 {
    measured.get("cpu_us_per_call").and_then(Value::as_u64).unwrap_or_default()
}

fn dollars(micro_usd: u64) -> String {
    match micro_usd {
        0 => "0".to_owned(),
        1..5_000 => "&lt; $0.01".to_owned(),
        _ => format!("${:.2}", micro_usd as f64 / 1e6),
    }
}

const KEYS: [u64; 4] = [1, 10, 1_000, 10_000];
const RATES: [u64; 6] = [1, 10, 100, 1_000, 10_000, 100_000];
const COLOURS: [&str; 4] = ["#7465b5", "#0b6e6e", "#c4601a", "#a8325e"];
const HEIGHT: f64 = 470.0;
const TOP: f64 = 136.0;
const BOTTOM: f64 = 416.0;

/// A plot with two logarithmic axes.
struct Panel {
    left: f64,
    right: f64,
    low: f64,
    high: f64,
    head: &'static str,
}

impl Panel {
    fn y_of(&self, value: f64) -> f64 {
        let share = (value.max(self.low) / self.low).ln() / (self.high / self.low).ln();
        BOTTOM - (BOTTOM - TOP) * share.min(1.0)
    }

    fn x_of(&self, rate: u64) -> f64 {
        self.left + (self.right - self.left) * (rate as f64).log10() / 5.0
    }

    fn frame(&self, svg: &mut Svg, levels: &[f64]) {
        svg.text((self.left - 48.0, 120.0), 13.0, TEXT, r#" font-weight="600""#, self.head);
        for level in levels {
            let y = self.y_of(*level);
            svg.line((self.left, y), (self.right, y), &format!(r#"stroke="{LINE}""#));
            let label = if *level < 1.0 { level.to_string() } else { thousands(*level as u64) };
            svg.text((self.left - 8.0, y + 4.0), 11.0, QUIET, r#" text-anchor="end""#, &label);
        }
        for rate in RATES {
            let label = thousands(rate);
            svg.text((self.x_of(rate), BOTTOM + 18.0), 11.0, QUIET, r#" text-anchor="middle""#, &label);
        }
        let middle = f64::midpoint(self.left, self.right);
        svg.text(
            (middle, BOTTOM + 36.0),
            11.0,
            QUIET,
            r#" text-anchor="middle""#,
            "calls a second, all keys",
        );
    }

    fn draw(&self, svg: &mut Svg, stroke: &str, limits: bool, points: impl Iterator<Item = (u64, f64)>) {
        let points: Vec<String> =
            points.map(|(rate, value)| format!("{:.1},{:.1}", self.x_of(rate), self.y_of(value))).collect();
        let (width, dash) = if limits { (2.4, "") } else { (1.6, "3 3") };
        let _ = writeln!(
            svg.0,
            r#"<polyline fill="none" stroke="{stroke}" stroke-width="{width}" stroke-dasharray="{dash}" stroke-linejoin="round" points="{}"/>"#,
            points.join(" ")
        );
    }
}
