//! The page of `GET /health` for people, without scripts: the routing reports as tables.
//!
//! It reloads itself only on request (`?refresh=10`, in seconds): a page that changes disturbs people who read slowly.

use gatehouse_core::catalog::OTHER;
use gatehouse_core::catalog::{Entry, Registry};
use gatehouse_core::error::Error;
use gatehouse_core::report::routing::{self, Counts, ModelHealth, ProviderReport, RoutingStatus, State};
use gatehouse_core::time::to_rfc3339;
use maud::{Markup, html};

use super::state::GatewayState;
use crate::isolate::Isolate;
use crate::platform::database::DatabaseState;
use crate::platform::page::Page;
use crate::platform::response::Response;
use crate::request_context::RequestContext;

const STYLE: &str = include_str!("style.css");
/// The text of an unknown value.
const UNKNOWN: &str = "–";
/// The interval at which the page reloads if the query does not state one, in seconds.
const REFRESH_S: u32 = 10;
/// The shortest interval, in seconds.
const MIN_REFRESH_S: u32 = 5;

const PROVIDERS: [&str; 9] =
    ["Provider", "State", "Calls", "Success", "p50", "p90", "p99", "Throttled", "Cooldown"];
const PROVIDERS_CAPTION: &str = "Calls since counting began, the recent success rate, the number of called models in \
    cooldown, and percentiles of recent latencies. The latency of a stream is the time until its first content.";
const MODELS: [&str; 9] =
    ["Model", "State", "Calls", "Success", "Latency", "p90", "p99", "Headroom", "Today"];
const MODELS_CAPTION: &str = "Models that have been called, with their recent success rate, and the mean and percentiles of \
    recent latencies. Headroom is the smallest remaining share of any known limit; responses of today (UTC) count towards \
    the daily limit.";

/// The page.
pub fn render(
    context: &RequestContext<'_>,
    isolate: &Isolate,
    state: &GatewayState,
    now_ms: u64,
) -> Result<Response, Error> {
    let view = isolate.health.view.borrow();
    let registry = &isolate.settings.registry;
    let reports = Reports {
        registry,
        now_ms,
        status: routing::status(&view, &isolate.settings.config, registry, now_ms),
        providers: routing::provider_stats(&view, registry, now_ms),
        models: routing::health(&view, registry, now_ms),
    };
    let refresh_s =
        context.query("refresh").map(|seconds| seconds.parse().unwrap_or(REFRESH_S).max(MIN_REFRESH_S));
    let mut title = "Gatehouse is running".to_owned();
    if !state.problems.is_empty() {
        title = format!("{title}, with {}", counted(state.problems.len() as u64, "problem"));
    }
    let page = Page::new()?;
    let head = html! {
        @if let Some(seconds) = refresh_s { meta http-equiv="refresh" content=(seconds); }
        (page.style(STYLE))
    };
    Ok(page.response(200, &title, &head, &content(state, &reports, refresh_s)))
}

fn content(state: &GatewayState, reports: &Reports<'_>, refresh_s: Option<u32>) -> Markup {
    html! {
        p.quiet {
            "As of " (time(reports.now_ms, None)) ". "
            @if let Some(seconds) = refresh_s {
                "Reloads every " (seconds) " seconds. " a href="/health" { "Stop reloading" }
            } @else {
                a href={ "/health?refresh=" (REFRESH_S) } { "Reload every " (REFRESH_S) " seconds" }
            }
        }
        @if !state.problems.is_empty() {
            section.problems {
                h2 { "Problems" }
                ul { @for problem in &state.problems { li { (problem) } } }
            }
        }
        dl {
            div { dt { "Gateway" } dd { span.state.good { "Running," } " version " (env!("CARGO_PKG_VERSION")) } }
            div { dt { "Database" } dd { (database(state.database)) } }
            div {
                dt { "Gateway keys" }
                dd { (if state.keys { tag("good", "Configured", &[]) } else { tag("bad", "None", &[]) }) }
            }
            div { dt { "Listed models" } dd { (reports.listed()) } }
        }
        h2 { "Providers" }
        (table(PROVIDERS, &reports.provider_rows(), PROVIDERS_CAPTION, "No provider is configured."))
        h2 { "Models" }
        (table(MODELS, &reports.model_rows(), MODELS_CAPTION, "No model has been called yet."))
        footer.quiet {
            p {
                "Programs get this report as JSON. Further reports are "
                a href="/v1/routing/status" { "/v1/routing/status" } " and "
                a href="/v1/stats/providers" { "/v1/stats/providers" } ". See the "
                a href="/docs" { "documentation" } "."
            }
        }
    }
}

fn database(state: DatabaseState) -> Markup {
    match state {
        DatabaseState::Ready => tag("good", "Ready", &[]),
        DatabaseState::NotMigrated => tag("bad", "No tables", &[]),
        DatabaseState::Unreachable => tag("bad", "Unreachable", &[]),
        DatabaseState::NotBound => tag("bad", "Not bound", &[]),
    }
}

/// The reports that the page shows.
struct Reports<'g> {
    registry: &'g Registry,
    now_ms: u64,
    status: RoutingStatus<'g>,
    providers: ProviderReport<'g>,
    models: Vec<ModelHealth>,
}

/// A row of a table: its name, and the cells after it.
type Row = (Markup, Vec<Markup>);

impl Reports<'_> {
    /// The counts of listed models by state.
    fn listed(&self) -> String {
        let counts = self.status.summary.counts();
        let others = troubles(counts);
        let comma = if others.is_empty() { "" } else { ", " };
        format!("{} available{comma}{others}", grouped(counts.available as u64))
    }

    fn provider_rows(&self) -> Vec<Row> {
        let active = self.registry.entries().iter().filter(|entry| entry.is_active());
        active.map(|entry| (bdi(&entry.name), self.provider_cells(entry))).collect()
    }

    fn provider_cells(&self, entry: &Entry) -> Vec<Markup> {
        let state = self.provider_state(entry);
        let Some(called) = self.providers.stats.iter().find(|stats| stats.provider == entry.name) else {
            let mut cells = vec![state, text(&grouped(0))];
            cells.resize_with(PROVIDERS.len() - 1, || text(UNKNOWN));
            return cells;
        };
        vec![
            state,
            text(&grouped(called.total_attempts)),
            text(&percent(called.success_rate)),
            latency(called.p50_latency_ms),
            latency(called.p90_latency_ms),
            latency(called.p99_latency_ms),
            text(&grouped(called.throttle_count)),
            text(&format!("{} of {}", called.models_in_cooldown, called.active_models)),
        ]
    }

    /// The state of a provider: that of its listed models, or of its unlisted ones if it lists none.
    fn provider_state(&self, entry: &Entry) -> Markup {
        let key = format!("{}:", entry.name);
        let mut called = self.models.iter().filter(|row| row.key.starts_with(&key));
        let Some(summary) = self.status.providers.get(entry.name.as_str()) else {
            return called
                .next()
                .map_or_else(|| tag("good", "Available", &[]), |row| self.model_state(row, ""));
        };
        let counts = summary.counts();
        if counts.usable() == 0 {
            let listed = self.status.fallback_order.iter().filter(|row| row.provider == entry.name);
            let until_ms = listed.map(|row| row.cooldown_until).min().unwrap_or(0);
            let word = if counts.cooldown > 0 { "Cooldown" } else { "Used up" };
            return tag("bad", word, self.until(until_ms).as_slice());
        }
        let troubles = troubles(counts);
        if !troubles.is_empty() {
            let all = counted(summary.configured_models as u64, "model");
            return tag("warn", "Degraded", &[text(&format!("{troubles}, of {all}"))]);
        }
        let details = called.next().is_none().then(|| text("not called yet"));
        tag("good", "Available", details.as_slice())
    }

    fn model_rows(&self) -> Vec<Row> {
        self.models.iter().map(|row| self.model_row(row)).collect()
    }

    fn model_row(&self, row: &ModelHealth) -> Row {
        let (provider, model) = row.key.split_once(':').unwrap_or(("", &row.key));
        let is_other =
            model == OTHER && !self.registry.provider(provider).is_some_and(|entry| entry.lists(OTHER));
        let name = if is_other { text("unlisted models") } else { bdi(model) };
        let headroom = percent(row.headroom);
        let width = headroom.strip_suffix('%').unwrap_or_default();
        let cells = vec![
            self.model_state(row, &format!("{provider}/{model}")),
            text(&grouped(row.attempts)),
            text(&percent(row.success_rate)),
            latency(row.p90_latency_ms.and(Some(row.avg_latency_ms))),
            latency(row.p90_latency_ms),
            latency(row.p99_latency_ms),
            html! {
                svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true" {
                    rect width=(width) height="1" {}
                }
                (headroom)
            },
            html! {
                (grouped(row.daily_used.into()))
                @if let Some(limit) = row.daily_limit { " " small { "of " (grouped(limit.into())) } }
            },
        ];
        (html! { small { (bdi(provider)) "/" } (name) }, cells)
    }

    /// The state of a model. [`routing::status`] has only listed models; for others, only the cooldown is known.
    fn model_state(&self, row: &ModelHealth, id: &str) -> Markup {
        let listed = self.status.fallback_order.iter().find(|listed| listed.id == id);
        let state = match listed {
            Some(listed) => listed.status,
            None if row.cooldown_until > 0 => State::Cooldown,
            None => State::Available,
        };
        let mut details = Vec::new();
        if let Some(listed) = listed
            && state == State::Degraded
        {
            details.extend(listed.reasons.iter().map(|code| phrase(code)));
        }
        details.extend(row.cooldown_reason.map(phrase));
        details.extend(self.until(row.cooldown_until));
        let (class, word) = match state {
            State::Available => ("good", "Available"),
            State::Degraded => ("warn", "Degraded"),
            State::Cooldown => ("bad", "Cooldown"),
            State::Exhausted => ("bad", "Used up"),
        };
        tag(class, word, &details)
    }

    /// The rest of a cooldown, and its end; `None` if it is over.
    fn until(&self, until_ms: u64) -> Option<Markup> {
        let seconds = until_ms.saturating_sub(self.now_ms).div_ceil(1000);
        let (count, unit) = match seconds {
            0 => return None,
            1..=90 => (seconds, "second"),
            91..=5_400 => (seconds.div_ceil(60), "minute"),
            5_401..=172_800 => (seconds.div_ceil(3_600), "hour"),
            _ => (seconds.div_ceil(86_400), "day"),
        };
        Some(html! { "for " (counted(count, unit)) ", until " (time(until_ms, Some(self.now_ms))) })
    }
}

/// A table whose rows start with their names. On a narrow screen each row is a card, whose cells name their columns.
fn table(columns: [&str; 9], rows: &[Row], caption: &str, empty: &str) -> Markup {
    if rows.is_empty() {
        return html! { p { (empty) } };
    }
    html! {
        table {
            caption { (caption) }
            thead { tr { @for column in columns { th scope="col" { (column) } } } }
            tbody {
                @for (name, cells) in rows {
                    tr {
                        th scope="row" { (name) }
                        @for (column, cell) in columns.iter().skip(1).zip(cells) {
                            td data-column=(column) { span { (cell) } }
                        }
                    }
                }
            }
        }
    }
}

/// A state: a word, with the matching colour and shape, and its details.
fn tag(class: &str, word: &str, details: &[Markup]) -> Markup {
    html! {
        span class={ "state " (class) } { (word) }
        @if !details.is_empty() {
            " "
            span.detail {
                @for (index, detail) in details.iter().enumerate() {
                    @if index > 0 { ", " }
                    (detail)
                }
            }
        }
    }
}

fn text(text: &str) -> Markup {
    html! { (text) }
}

/// A name from outside, which may be written in any direction.
fn bdi(name: &str) -> Markup {
    html! { bdi { (name) } }
}

/// The counts of models that are not available.
fn troubles(counts: Counts) -> String {
    let parts =
        [(counts.degraded, "degraded"), (counts.cooldown, "in cooldown"), (counts.exhausted, "used up")];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    parts.map(|(count, word)| format!("{} {word}", grouped(count as u64))).collect::<Vec<_>>().join(", ")
}

/// A code such as `limit_used_up`, as a phrase.
fn phrase(code: &str) -> Markup {
    text(&code.replace('_', " "))
}

/// A point in time, to the second. The day is omitted if it is the same as that of the other.
fn time(ms: u64, other_ms: Option<u64>) -> Markup {
    let exact = to_rfc3339(ms.div_ceil(1000) * 1000);
    let other = other_ms.map(to_rfc3339).unwrap_or_default();
    let (day, time) = exact.split_once('T').unwrap_or(("", &exact));
    html! {
        time datetime=(exact) {
            @if !other.starts_with(day) { (day) " " }
            (time.trim_end_matches('Z')) " UTC"
        }
    }
}

fn latency(ms: Option<f64>) -> Markup {
    text(&match ms.map(whole) {
        None => UNKNOWN.to_owned(),
        Some(0) => "under 1 ms".to_owned(),
        Some(ms @ 1..1000) => format!("{ms} ms"),
        Some(ms) => format!("{}.{} s", grouped(ms / 1000), ms % 1000 / 100),
    })
}

fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// `12345` as `12,345`.
fn grouped(count: u64) -> String {
    if count < 1000 { count.to_string() } else { format!("{},{:03}", grouped(count / 1000), count % 1000) }
}

/// A share, rounded down: only a full share is 100 %.
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
