//! `GET /health` for people: what [`report`] tells, as a page without scripts.
//!
//! It looks again by itself only where it is asked to (`?refresh=10`, in seconds): a page that changes while it is being
//! read is in the way of those who read slowly.

use gatehouse_core::catalog::OTHER;
use gatehouse_core::catalog::{Entry, Registry};
use gatehouse_core::error::Error;
use gatehouse_core::json;
use gatehouse_core::report::routing::{self, ModelHealth};
use gatehouse_core::time::to_rfc3339;
use serde_json::Value;

use super::state::State;
use crate::isolate::Isolate;
use crate::platform::database::DatabaseState;
use crate::platform::page::{Page, escaped};
use crate::platform::response::Response;
use crate::request_context::RequestContext;

const HEAD: &str = include_str!("head.html");
const CONTENT: &str = include_str!("page.html");
/// What stands where nothing is known.
const UNKNOWN: &str = "–";
/// How often the page looks again if it is not told how often, in seconds.
const REFRESH_S: u32 = 10;
/// How often it does at the most, in seconds.
const MIN_REFRESH_S: u32 = 5;

const PROVIDERS: &[&str] =
    &["Provider", "State", "Calls", "Went well", "p50", "p90", "p99", "Throttled", "Resting"];
const MODELS: &[&str] =
    &["Model", "State", "Calls", "Went well", "Latency", "p90", "p99", "Headroom", "Today"];

/// The page.
pub fn render(
    context: &RequestContext<'_>,
    isolate: &Isolate,
    state: &State,
    now_ms: u64,
) -> Result<Response, Error> {
    let view = isolate.health.view.borrow();
    let registry = &isolate.settings.registry;
    let seen = Seen {
        registry,
        now_ms,
        status: json::value(&routing::status(&view, &isolate.settings.config, registry, now_ms)),
        providers: json::value(&routing::provider_stats(&view, registry, now_ms)),
        models: routing::health(&view, registry, now_ms),
    };
    let page = Page::new()?;
    let (mut refresh, mut again) = (
        String::new(),
        format!(r#"<a href="/health?refresh={REFRESH_S}">Look again every {REFRESH_S} seconds</a>"#),
    );
    if let Some(seconds) = context.query("refresh") {
        let seconds = seconds.parse().unwrap_or(REFRESH_S).max(MIN_REFRESH_S);
        refresh = format!(r#"<meta http-equiv="refresh" content="{seconds}" />"#);
        again = format!(r#"Looks again every {seconds} seconds. <a href="/health">Stop that</a>"#);
    }
    let mut title = "Gatehouse is running".to_owned();
    let mut problems = String::new();
    if !state.problems.is_empty() {
        title = format!("{title}, with {}", counted(state.problems.len() as u64, "problem"));
        problems.push_str(r#"<section class="problems"><h2>Problems</h2><ul>"#);
        for problem in &state.problems {
            problems.push_str(&["<li>", &escaped(problem), "</li>"].concat());
        }
        problems.push_str("</ul></section>");
    }
    let head = page.fill(HEAD, &[("refresh", &refresh)]);
    let body = page.fill(
        CONTENT,
        &[
            ("now", &time(now_ms, None)),
            ("again", &again),
            ("problems", &problems),
            ("version", env!("CARGO_PKG_VERSION")),
            ("database", &database(state.database)),
            ("keys", &if state.keys { tag("good", "Configured", "") } else { tag("bad", "None", "") }),
            ("listed", &seen.listed()),
            ("providers", &seen.provider_table()),
            ("models", &seen.model_table()),
        ],
    );
    Ok(page.response(200, &title, &head, &body))
}

fn database(state: DatabaseState) -> String {
    match state {
        DatabaseState::Ready => tag("good", "Ready", ""),
        DatabaseState::NotMigrated => tag("bad", "Without its tables", ""),
        DatabaseState::Unreachable => tag("bad", "Does not answer", ""),
        DatabaseState::NotBound => tag("bad", "Not bound", ""),
    }
}

/// What the reports tell, and when.
struct Seen<'g> {
    registry: &'g Registry,
    now_ms: u64,
    status: Value,
    providers: Value,
    models: Vec<ModelHealth>,
}

impl Seen<'_> {
    /// How many listed models are in which state.
    fn listed(&self) -> String {
        let counts = self.status.get("summary").map(counts).unwrap_or_default();
        let others = troubles(counts);
        let comma = if others.is_empty() { "" } else { ", " };
        format!("{} available{comma}{others}", grouped(counts[0]))
    }

    fn provider_table(&self) -> String {
        let mut table = Table::new(PROVIDERS);
        for entry in self.registry.entries().iter().filter(|entry| entry.is_active()) {
            table.row(&bdi(&entry.name));
            table.cell(&self.provider_state(entry));
            let stats = list(&self.providers, "stats");
            let Some(stats) = stats.iter().find(|stats| text(stats, "provider") == entry.name) else {
                table.count(0);
                for _ in 3..PROVIDERS.len() {
                    table.cell(UNKNOWN);
                }
                continue;
            };
            table.count(number(stats, "total_attempts"));
            table.percent(fraction(stats, "success_rate").unwrap_or(0.0));
            for name in ["p50_latency_ms", "p90_latency_ms", "p99_latency_ms"] {
                table.latency(fraction(stats, name));
            }
            table.count(number(stats, "throttle_count"));
            let [resting, called] = ["models_in_cooldown", "active_models"].map(|name| number(stats, name));
            table.cell(&format!("{resting} of {called}"));
        }
        table.end(
            "All calls that have been counted; how many of the models that were called are resting; and how long \
             answers took of late: half of them (p50), nine in ten (p90) and 99 in 100 (p99) at most so long. A stream \
             is answered with its first content.",
            "No provider is configured.",
        )
    }

    /// A provider is judged by its listed models; one that lists none, by those that are not listed.
    fn provider_state(&self, entry: &Entry) -> String {
        let key = format!("{}:", entry.name);
        let mut called = self.models.iter().filter(|row| row.key.starts_with(&key));
        let Some(counts) = self.status.get("providers").and_then(|all| all.get(&entry.name)).map(counts)
        else {
            return called
                .next()
                .map_or_else(|| tag("good", "Available", ""), |row| self.model_state(row, ""));
        };
        let [available, degraded, resting, used_up] = counts;
        let usable = available + degraded;
        if usable == 0 {
            let listed = list(&self.status, "fallback_order").iter();
            let listed = listed.filter(|row| text(row, "provider") == entry.name);
            let until_ms = listed.map(|row| number(row, "cooldown_until")).min().unwrap_or(0);
            let word = if resting > 0 { "Resting" } else { "Used up" };
            return tag("bad", word, &self.until(until_ms));
        }
        let troubles = troubles(counts);
        if !troubles.is_empty() {
            let all = counted(usable + resting + used_up, "model");
            return tag("warn", "Degraded", &format!("{troubles}, of {all}"));
        }
        tag("good", "Available", if called.next().is_none() { "not called yet" } else { "" })
    }

    fn model_table(&self) -> String {
        let mut table = Table::new(MODELS);
        for row in &self.models {
            let (provider, model) = row.key.split_once(':').unwrap_or(("", &row.key));
            let is_other =
                model == OTHER && !self.registry.provider(provider).is_some_and(|entry| entry.lists(OTHER));
            let name = if is_other { "models that are not listed".to_owned() } else { bdi(model) };
            table.row(&format!("<small>{}/</small>{name}", bdi(provider)));
            table.cell(&self.model_state(row, &format!("{provider}/{model}")));
            table.count(row.attempts);
            table.percent(row.success_rate);
            table.latency(row.p90_latency_ms.and(Some(row.avg_latency_ms)));
            table.latency(row.p90_latency_ms);
            table.latency(row.p99_latency_ms);
            let share = percent(row.headroom);
            table.cell(&format!(
                r#"<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true"><rect width="{}" height="1" /></svg>{share}"#,
                share.strip_suffix('%').unwrap_or_default(),
            ));
            let limit = row.daily_limit.map(|limit| format!(" <small>of {}</small>", grouped(limit.into())));
            table.cell(&(grouped(row.daily_used.into()) + &limit.unwrap_or_default()));
        }
        table.end(
            "Models that have been called, how they did of late, and how long they took: on average, and as above. \
             Headroom is the smallest share that is left of any limit that is known; answers of today (UTC) count \
             towards that of a day.",
            "No model has been called yet.",
        )
    }

    /// Of models that are not listed, [`routing::status`] does not tell: it is only known whether they rest.
    fn model_state(&self, row: &ModelHealth, id: &str) -> String {
        let listed = list(&self.status, "fallback_order").iter().find(|listed| text(listed, "id") == id);
        let state = match listed {
            Some(listed) => text(listed, "status"),
            None if row.cooldown_until > 0 => "cooldown",
            None => "",
        };
        let mut details = Vec::new();
        if let Some(listed) = listed
            && state == "degraded"
        {
            details.extend(list(listed, "reasons").iter().filter_map(Value::as_str).map(words));
        }
        details.extend(row.cooldown_reason.map(words));
        details.extend(Some(self.until(row.cooldown_until)).filter(|until| !until.is_empty()));
        let (class, word) = match state {
            "degraded" => ("warn", "Degraded"),
            "cooldown" => ("bad", "Resting"),
            "exhausted" => ("bad", "Used up"),
            _ => ("good", "Available"),
        };
        tag(class, word, &details.join(", "))
    }

    /// For how long, and until when; empty if it is over.
    fn until(&self, until_ms: u64) -> String {
        let seconds = until_ms.saturating_sub(self.now_ms).div_ceil(1000);
        let (count, unit) = match seconds {
            0 => return String::new(),
            1..=90 => (seconds, "second"),
            91..=5_400 => (seconds.div_ceil(60), "minute"),
            5_401..=172_800 => (seconds.div_ceil(3_600), "hour"),
            _ => (seconds.div_ceil(86_400), "day"),
        };
        format!("for {}, until {}", counted(count, unit), time(until_ms, Some(self.now_ms)))
    }
}

/// A table, whose rows begin with their names. On a narrow screen each row is a card, and its cells tell their columns.
struct Table {
    columns: &'static [&'static str],
    rows: String,
    next: usize,
}

impl Table {
    fn new(columns: &'static [&'static str]) -> Table {
        Table { columns, rows: String::new(), next: 0 }
    }

    fn row(&mut self, name: &str) {
        self.rows.push_str(&[r#"<tr><th scope="row">"#, name, "</th>"].concat());
        self.next = 1;
    }

    fn cell(&mut self, html: &str) {
        let column = self.columns.get(self.next).copied().unwrap_or_default();
        self.rows.push_str(&[r#"<td data-column=""#, column, r#""><span>"#, html, "</span></td>"].concat());
        self.next += 1;
    }

    fn count(&mut self, count: u64) {
        self.cell(&grouped(count));
    }

    fn percent(&mut self, share: f64) {
        self.cell(&percent(share));
    }

    fn latency(&mut self, ms: Option<f64>) {
        let Some(ms) = ms else { return self.cell(UNKNOWN) };
        self.cell(&match whole(ms) {
            0 => "under 1 ms".to_owned(),
            ms @ 1..1000 => format!("{ms} ms"),
            ms => format!("{}.{} s", grouped(ms / 1000), ms % 1000 / 100),
        });
    }

    fn end(self, caption: &str, empty: &str) -> String {
        if self.rows.is_empty() {
            return format!("<p>{empty}</p>");
        }
        let mut out = format!("<table><caption>{caption}</caption><thead><tr>");
        for column in self.columns {
            out.push_str(&[r#"<th scope="col">"#, column, "</th>"].concat());
        }
        // A row ends where the next begins.
        [&out, "</tr></thead><tbody>", &self.rows, "</tbody></table>"].concat()
    }
}

/// A state: a word, with a colour and a shape that say the same, and more words on it.
fn tag(class: &str, word: &str, details: &str) -> String {
    let [before, after] = if details.is_empty() { [""; 2] } else { [r#" <span class="detail">"#, "</span>"] };
    [r#"<span class="state "#, class, r#"">"#, word, "</span>", before, details, after].concat()
}

/// A name from outside, which may be written in any direction.
fn bdi(name: &str) -> String {
    ["<bdi>", &escaped(name), "</bdi>"].concat()
}

/// The counts of available, degraded, resting and used up models in a part of [`routing::status`].
fn counts(part: &Value) -> [u64; 4] {
    ["available_models", "degraded_models", "cooldown_models", "exhausted_models"]
        .map(|name| number(part, name))
}

/// Those of the counts that stand for some trouble, in words.
fn troubles([_, counts @ ..]: [u64; 4]) -> String {
    let mut parts = Vec::new();
    for (count, word) in counts.into_iter().zip(["degraded", "resting", "used up"]) {
        if count > 0 {
            parts.push(format!("{} {word}", grouped(count)));
        }
    }
    parts.join(", ")
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn fraction(value: &Value, name: &str) -> Option<f64> {
    value.get(name).and_then(Value::as_f64)
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A code such as `limit_used_up`, in words.
fn words(code: &str) -> String {
    escaped(&code.replace('_', " "))
}

/// A point in time, to the second; the day is left out where it is that of the other.
fn time(ms: u64, other_ms: Option<u64>) -> String {
    let exact = to_rfc3339(ms.div_ceil(1000) * 1000);
    let other = other_ms.map(to_rfc3339).unwrap_or_default();
    let (day, time) = exact.split_once('T').unwrap_or(("", &exact));
    let day = if other.starts_with(day) { String::new() } else { format!("{day} ") };
    let time = time.trim_end_matches('Z');
    format!(r#"<time datetime="{exact}">{day}{time} UTC</time>"#)
}

fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// `12345` as `12,345`.
fn grouped(count: u64) -> String {
    if count < 1000 { count.to_string() } else { format!("{},{:03}", grouped(count / 1000), count % 1000) }
}

/// A share, rounded down: only what is whole is 100 %.
fn percent(share: f64) -> String {
    let tenths = whole(share * 10_000.0) / 10;
    match tenths % 10 {
        0 => format!("{}%", tenths / 10),
        tenth => format!("{}.{tenth}%", tenths / 10),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "shares and durations, as integers"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}
