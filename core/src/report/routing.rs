//! Routing reports: the health of models and providers (`GET /health`, `GET /v1/stats/providers`,
//! `GET /v1/routing/status`), and the explanation of a routing decision (`POST /v1/routing/explain`).
//!
//! Shares are numbers from 0 to 1, latencies are milliseconds, and `None` (`null` in JSON) is unknown. The structure of
//! the first three follows the gateway in docs/compatibility.md, with additional fields.

use std::collections::BTreeMap;

use serde::Serialize;

use super::metrics::ProviderState;
use crate::catalog::{Entry, Facts, ListedModel, Registry, Resource, Window};
use crate::config::Config;
use crate::operation::Format;
use crate::order::by_rank;
use crate::tier::Tier;
use crate::time::to_rfc3339;

use crate::format::request::Needs;
use crate::health::quota::Reading;
use crate::health::{Availability, HealthView, LaneId, LaneStats};
use crate::route::affinity::AffinitySource;
use crate::route::candidates::{Candidate, RouteQuery, Selection, is_automatic};
use crate::route::plan::Plan;
use crate::route::reason::Dropped;
use crate::route::score;

/// The success rate below which a model is degraded.
const DEGRADED_SUCCESS: f64 = 0.75;
/// The mean latency above which a model is degraded, in milliseconds.
const DEGRADED_LATENCY_MS: f64 = 5_000.0;

/// The condition of one model, over all keys of its provider.
struct Condition {
    lane: LaneStats,
    /// The end of its cooldown, if all keys are in cooldown, in milliseconds since 1970; 0 if it is available with one.
    cooldown_until_ms: u64,
    why: Option<&'static str>,
}

impl Condition {
    fn of(view: &HealthView, provider: &Entry, model: &str, facts: &Facts, now_ms: u64) -> Condition {
        let mut lane = LaneStats::default();
        let mut cooldown: Option<(u64, &'static str)> = None;
        let mut is_available = false;
        for key in provider.key_places() {
            let place = LaneId { provider: &provider.name, model, key };
            if let Some(known) = view.lane(place) {
                lane.absorb(known);
            }
            match view.availability(place, facts.requests_per_day, now_ms) {
                Availability::Available => is_available = true,
                Availability::CoolingDown { until_ms, why, .. } => {
                    cooldown = Some(cooldown.map_or((until_ms, why), |known| known.min((until_ms, why))));
                }
            }
        }
        let (cooldown_until_ms, why) = match cooldown {
            Some((until_ms, why)) if !is_available => (until_ms, Some(why)),
            _ => (0, None),
        };
        Condition { lane, cooldown_until_ms, why }
    }

    fn is_exhausted(&self, headroom: f64) -> bool {
        headroom <= 0.0 || matches!(self.why, Some("limit_used_up" | "daily_limit_used_up" | "quota_spent"))
    }
}

/// One row of `GET /health`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelHealth {
    /// `provider:model`; the model `other` is the sum of all unlisted models.
    pub key: String,
    /// Calls sent.
    pub attempts: u64,
    /// The recent share of successful calls.
    pub success_rate: f64,
    /// The recent mean time until the response, or until the first content of a stream.
    pub avg_latency_ms: f64,
    /// The 90th percentile of this time.
    pub p90_latency_ms: Option<f64>,
    /// The 99th percentile of this time.
    pub p99_latency_ms: Option<f64>,
    /// The end of its cooldown, in milliseconds since 1970; 0 if it is available.
    pub cooldown_until: u64,
    /// The reason of the cooldown; `None` if it is available.
    pub cooldown_reason: Option<&'static str>,
    /// The smallest remaining share of any limit.
    pub headroom: f64,
    /// Calls with a response today (UTC).
    pub daily_used: u32,
    /// The maximum number of calls in a day.
    pub daily_limit: Option<u32>,
}

/// The health of all models that have been called, by provider and model.
pub fn health(view: &HealthView, registry: &Registry, now_ms: u64) -> Vec<ModelHealth> {
    let mut rows = Vec::new();
    for provider in registry.entries() {
        let name = &provider.name;
        for model in models_of(view, provider) {
            let facts = provider.facts(model).unwrap_or_default();
            let Condition { lane, cooldown_until_ms, why } =
                Condition::of(view, provider, model, &facts, now_ms);
            if lane.totals.attempts == 0 {
                continue;
            }
            rows.push(ModelHealth {
                key: format!("{name}:{model}"),
                attempts: lane.totals.attempts,
                success_rate: rounded(lane.success_rate().unwrap_or(1.0), 4),
                avg_latency_ms: rounded(lane.latency_ms().unwrap_or(0.0), 1),
                p90_latency_ms: lane.percentile_ms(0.9, 0.0).map(|ms| rounded(ms, 1)),
                p99_latency_ms: lane.percentile_ms(0.99, 0.0).map(|ms| rounded(ms, 1)),
                cooldown_until: cooldown_until_ms,
                cooldown_reason: why,
                headroom: rounded(lane.headroom(facts.requests_per_day, now_ms), 4),
                daily_used: lane.used_today(now_ms),
                daily_limit: facts.requests_per_day,
            });
        }
    }
    rows
}

/// The models of a provider that have statistics, each once.
fn models_of<'b>(view: &'b HealthView, provider: &Entry) -> Vec<&'b str> {
    let mut models: Vec<&str> = view.lanes().of_provider(&provider.name).map(|(model, ..)| model).collect();
    models.dedup();
    models
}

/// `GET /v1/stats/providers`: the statistics of each provider that has been called.
#[derive(Clone, Debug, Serialize)]
pub struct ProviderReport<'a> {
    /// The statistics, by name of the provider.
    pub stats: Vec<ProviderStats<'a>>,
    /// The quotas that the headers of upstreams state, by provider.
    pub quotas: BTreeMap<&'a str, Vec<Quota>>,
    /// The recent time until the response, or until the first content of a stream, of all providers together.
    pub latency: Latency,
}

/// Percentiles of a time, in milliseconds; `None` without recent calls. Each is the upper end of its class, which is at
/// most 41 % above it.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    /// The 50th.
    pub p50_ms: Option<f64>,
    /// The 95th.
    pub p95_ms: Option<f64>,
}

/// A percentile of the recent latencies, in milliseconds with one decimal.
fn percentile(stats: &LaneStats, share: f64) -> Option<f64> {
    stats.percentile_ms(share, 0.0).map(|ms| rounded(ms, 1))
}

/// Statistics of one provider, over all of its models.
#[derive(Clone, Debug, Serialize)]
pub struct ProviderStats<'a> {
    /// The provider's name.
    pub provider: &'a str,
    /// Its listed models.
    pub total_models: usize,
    /// Models that have been called, listed or not.
    pub active_models: u32,
    /// Calls sent.
    pub total_attempts: u64,
    /// Calls rejected with 429.
    pub throttle_count: u64,
    /// The share of throttled calls.
    pub throttle_rate: f64,
    /// The share of successful calls.
    pub success_rate: f64,
    /// The recent mean time until the response, or until the first content of a stream.
    pub avg_latency_ms: f64,
    /// The 50th percentile of this time.
    pub p50_latency_ms: Option<f64>,
    /// The 90th percentile of this time.
    pub p90_latency_ms: Option<f64>,
    /// The 99th percentile of this time.
    pub p99_latency_ms: Option<f64>,
    /// Cooldowns that have started.
    pub cooldown_events: u64,
    /// Models that are in cooldown now.
    pub models_in_cooldown: u32,
    /// Failed calls by class.
    pub failure_breakdown: FailureBreakdown,
    /// The mean number of calls of a lane before its first throttled call.
    pub avg_attempts_before_first_throttle: Option<f64>,
    /// The median number of calls from one throttled call to the next.
    pub throttle_spacing_p50: Option<u64>,
    /// The provider stops charging when a call is cancelled.
    pub cancel_stops_billing: Option<bool>,
}

/// Failed calls by class.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct FailureBreakdown {
    /// Calls that the provider rejected because of their content.
    pub safety_refusal: u64,
    /// Calls that may succeed on a retry.
    pub usage_retriable: u64,
    /// Calls with an invalid request.
    pub input_nonretriable: u64,
    /// Calls that failed because of the provider or the operator.
    pub provider_fatal: u64,
}

/// A quota, as the headers of an upstream last stated it.
#[derive(Clone, Debug, Serialize)]
pub struct Quota {
    /// The limited resource.
    pub resource: Resource,
    /// The window of the limit.
    pub window: Window,
    /// The limit, in requests or tokens.
    pub limit: Option<u64>,
    /// The remaining amount, in requests or tokens.
    pub remaining: Option<u64>,
    /// The end of the window, in RFC 3339; `None` if it is unknown or has passed.
    pub resets_at: Option<String>,
    /// The time of the reading, in RFC 3339.
    pub seen_at: String,
}

impl Quota {
    fn of(reading: &Reading, now_ms: u64) -> Quota {
        // After the end of its window a reading does not apply to the next one.
        let over = reading.reset_ms.is_some_and(|reset_ms| reset_ms <= now_ms);
        Quota {
            resource: reading.resource,
            window: reading.window,
            limit: reading.limit,
            remaining: if over { reading.limit } else { reading.remaining },
            resets_at: reading.reset_ms.filter(|_| !over).map(to_rfc3339),
            seen_at: to_rfc3339(reading.seen_ms),
        }
    }
}

/// Makes the report of `GET /v1/stats/providers`. It has only providers that have been called.
pub fn provider_stats<'a>(view: &HealthView, registry: &'a Registry, now_ms: u64) -> ProviderReport<'a> {
    let (mut stats, mut quotas) = (Vec::new(), BTreeMap::new());
    let mut all = LaneStats::default();
    for entry in registry.entries() {
        let mut sum = LaneStats::default();
        let (mut active_models, mut models_in_cooldown) = (0, 0);
        let mut readings: Vec<Reading> = Vec::new();
        for model in models_of(view, entry) {
            let facts = entry.facts(model).unwrap_or_default();
            let condition = Condition::of(view, entry, model, &facts, now_ms);
            active_models += u32::from(condition.lane.totals.attempts > 0);
            models_in_cooldown += u32::from(condition.cooldown_until_ms > 0);
            readings.extend(&condition.lane.quota);
            sum.absorb(&condition.lane);
        }
        let totals = sum.totals;
        if totals.attempts == 0 {
            continue;
        }
        let (mut firsts, mut gaps) = (Vec::new(), Vec::new());
        for (_, _, lane) in view.lanes().of_provider(&entry.name) {
            firsts.extend(lane.spacing.first);
            gaps.extend(lane.spacing.median());
        }
        gaps.sort_unstable();
        let share = |part: u64| rounded(ratio(part, totals.attempts), 4);
        all.absorb(&sum);
        stats.push(ProviderStats {
            provider: &entry.name,
            total_models: entry.models().count(),
            active_models,
            total_attempts: totals.attempts,
            throttle_count: totals.throttles,
            throttle_rate: share(totals.throttles),
            success_rate: share(
                totals.attempts.saturating_sub(totals.usage_retriable + totals.provider_fatal),
            ),
            avg_latency_ms: rounded(sum.latency_ms().unwrap_or(0.0), 1),
            p50_latency_ms: percentile(&sum, 0.5),
            p90_latency_ms: percentile(&sum, 0.9),
            p99_latency_ms: percentile(&sum, 0.99),
            cooldown_events: totals.cooldowns,
            models_in_cooldown,
            failure_breakdown: FailureBreakdown {
                safety_refusal: totals.safety_refusal,
                usage_retriable: totals.usage_retriable,
                input_nonretriable: totals.input_nonretriable,
                provider_fatal: totals.provider_fatal,
            },
            avg_attempts_before_first_throttle: mean(&firsts),
            throttle_spacing_p50: gaps.get(gaps.len() / 2).copied(),
            cancel_stops_billing: entry.cancel_stops_billing,
        });
        if !readings.is_empty() {
            let of_provider = readings.iter().map(|reading| Quota::of(reading, now_ms)).collect();
            quotas.insert(entry.name.as_str(), of_provider);
        }
    }
    let latency = Latency { p50_ms: percentile(&all, 0.5), p95_ms: percentile(&all, 0.95) };
    ProviderReport { stats, quotas, latency }
}

/// The state of each provider that has been called, for `GET /metrics`.
pub fn provider_states<'r>(view: &HealthView, registry: &'r Registry, now_ms: u64) -> Vec<ProviderState<'r>> {
    let mut states = Vec::new();
    for entry in registry.entries() {
        let mut sum = LaneStats::default();
        let mut models_in_cooldown = 0;
        for model in models_of(view, entry) {
            let facts = entry.facts(model).unwrap_or_default();
            let condition = Condition::of(view, entry, model, &facts, now_ms);
            models_in_cooldown += u64::from(condition.cooldown_until_ms > 0);
            sum.absorb(&condition.lane);
        }
        if sum.totals.attempts > 0 {
            let success_per_10k = sum.success_rate().map(per_10k);
            states.push(ProviderState { name: &entry.name, success_per_10k, models_in_cooldown });
        }
    }
    states
}

/// A share as ten-thousandths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10,000")]
fn per_10k(share: f64) -> u64 {
    (share.clamp(0.0, 1.0) * 10_000.0).round() as u64
}

/// `GET /v1/routing/status`: the state of every listed model.
#[derive(Clone, Debug, Serialize)]
pub struct RoutingStatus<'a> {
    /// Always true.
    pub ok: bool,
    /// The time of the report, in RFC 3339.
    pub generated_at: String,
    /// Counts over all models.
    pub summary: Summary<'a>,
    /// The models in the order in which `auto` would try them.
    pub fallback_order: Vec<ModelStatus<'a>>,
    /// Counts by provider.
    pub providers: BTreeMap<&'a str, ProviderSummary<'a>>,
}

/// Counts of models by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Models that are available.
    pub available: usize,
    /// Models that are available, but slow or failing.
    pub degraded: usize,
    /// Models that are in cooldown.
    pub cooldown: usize,
    /// Models whose quota is used up.
    pub exhausted: usize,
}

impl Counts {
    /// Counts states.
    fn of(states: impl Iterator<Item = State>) -> Counts {
        let mut counts = Counts::default();
        for state in states {
            *match state {
                State::Available => &mut counts.available,
                State::Degraded => &mut counts.degraded,
                State::Cooldown => &mut counts.cooldown,
                State::Exhausted => &mut counts.exhausted,
            } += 1;
        }
        counts
    }

    /// Models that can be called now.
    pub fn usable(&self) -> usize {
        self.available + self.degraded
    }
}

/// Counts over all listed models.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Summary<'a> {
    /// All models.
    pub configured_models: usize,
    /// See [`Counts::available`].
    pub available_models: usize,
    /// See [`Counts::degraded`].
    pub degraded_models: usize,
    /// See [`Counts::cooldown`].
    pub cooldown_models: usize,
    /// See [`Counts::exhausted`].
    pub exhausted_models: usize,
    /// A second model can be called if the first fails.
    pub fallback_ready: bool,
    /// The provider of the first model that `auto` would try; `None` if none can be called.
    pub top_provider: Option<&'a str>,
}

impl Summary<'_> {
    /// The counts by state.
    pub fn counts(&self) -> Counts {
        Counts {
            available: self.available_models,
            degraded: self.degraded_models,
            cooldown: self.cooldown_models,
            exhausted: self.exhausted_models,
        }
    }
}

/// Counts over the listed models of one provider.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ProviderSummary<'a> {
    /// All its models.
    pub configured_models: usize,
    /// See [`Counts::available`].
    pub available_models: usize,
    /// See [`Counts::cooldown`].
    pub cooldown_models: usize,
    /// See [`Counts::exhausted`].
    pub exhausted_models: usize,
    /// See [`Counts::degraded`].
    pub degraded_models: usize,
    /// The provider's id of its first model that can be called.
    pub best_model: Option<&'a str>,
}

impl<'a> ProviderSummary<'a> {
    fn of(models: &[&ModelStatus<'a>]) -> ProviderSummary<'a> {
        let Counts { available, degraded, cooldown, exhausted } =
            Counts::of(models.iter().map(|model| model.status));
        ProviderSummary {
            configured_models: models.len(),
            available_models: available,
            cooldown_models: cooldown,
            exhausted_models: exhausted,
            degraded_models: degraded,
            best_model: models.iter().find(|model| model.status.is_usable()).map(|model| model.model),
        }
    }

    /// The counts by state.
    pub fn counts(&self) -> Counts {
        Counts {
            available: self.available_models,
            degraded: self.degraded_models,
            cooldown: self.cooldown_models,
            exhausted: self.exhausted_models,
        }
    }
}

/// The state of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It can be called.
    Available,
    /// It can be called, but is slow or failing.
    Degraded,
    /// It is in cooldown.
    Cooldown,
    /// Its quota is used up.
    Exhausted,
}

impl State {
    fn is_usable(self) -> bool {
        matches!(self, State::Available | State::Degraded)
    }
}

/// A model in `GET /v1/routing/status`.
#[derive(Clone, Debug, Serialize)]
pub struct ModelStatus<'a> {
    /// Its place in the order, from 1.
    pub rank: usize,
    /// `provider/model`.
    pub id: String,
    /// Its provider.
    pub provider: &'a str,
    /// The provider's id of the model.
    pub model: &'a str,
    /// Its tier.
    pub reasoning: Tier,
    /// The model reasons before it responds.
    pub native_reasoning: Option<bool>,
    /// Its state.
    pub status: State,
    /// The recent share of successful calls; 0.5 before the first call.
    pub success_rate: f64,
    /// The smallest remaining share of any limit.
    pub headroom: f64,
    /// The recent mean time until the response, or until the first content of a stream; 1500 before the first call.
    pub avg_latency_ms: f64,
    /// The 90th percentile of this time.
    pub p90_latency_ms: Option<f64>,
    /// The 99th percentile of this time.
    pub p99_latency_ms: Option<f64>,
    /// The end of its cooldown, in milliseconds since 1970; 0 if it is not in cooldown.
    pub cooldown_until: u64,
    /// Calls with a response today (UTC).
    pub daily_used: u32,
    /// The maximum number of calls in a day.
    pub daily_limit: Option<u32>,
    /// Codes of the reasons for the state, at least one.
    pub reasons: Vec<&'static str>,
}

/// The code of a model that has not been called yet.
const NO_DATA: &str = "no_health_data_yet";

impl<'a> ModelStatus<'a> {
    fn of(model: &ListedModel<'a>, condition: &Condition, now_ms: u64) -> ModelStatus<'a> {
        let ListedModel { provider, id, facts } = model;
        let lane = &condition.lane;
        let headroom = lane.headroom(facts.requests_per_day, now_ms);
        let mut reasons = Vec::new();
        if lane.totals.attempts == 0 {
            reasons.push(NO_DATA);
        }
        let exhausted = condition.is_exhausted(headroom);
        if exhausted {
            let of_account = condition.why == Some("quota_spent");
            reasons.push(if of_account { "provider_quota_exhausted" } else { "daily_headroom_exhausted" });
        } else if condition.cooldown_until_ms > 0 {
            reasons.push("in_cooldown");
        }
        if lane.success_rate().is_some_and(|rate| rate < DEGRADED_SUCCESS) {
            reasons.push("low_success_rate");
        }
        if lane.cooldown.is_some_and(|cooldown| cooldown.streak > 0) {
            reasons.push("recent_retriable_failures");
        }
        if lane.latency_ms().is_some_and(|ms| ms > DEGRADED_LATENCY_MS) {
            reasons.push("high_latency");
        }
        let status = if exhausted {
            State::Exhausted
        } else if condition.cooldown_until_ms > 0 {
            State::Cooldown
        } else if reasons.iter().any(|reason| *reason != NO_DATA) {
            State::Degraded
        } else {
            State::Available
        };
        if reasons.is_empty() {
            reasons.push("healthy");
        }
        ModelStatus {
            rank: 0,
            id: format!("{provider}/{id}"),
            provider,
            model: id,
            reasoning: facts.effective_tier(),
            native_reasoning: facts.reasoning,
            status,
            success_rate: rounded(lane.success_rate().unwrap_or(0.5), 4),
            headroom: rounded(headroom, 4),
            avg_latency_ms: rounded(lane.latency_ms().unwrap_or(1500.0), 1),
            p90_latency_ms: percentile(lane, 0.9),
            p99_latency_ms: percentile(lane, 0.99),
            cooldown_until: condition.cooldown_until_ms,
            daily_used: lane.used_today(now_ms),
            daily_limit: facts.requests_per_day,
            reasons,
        }
    }
}

/// The report of `GET /v1/routing/status`.
pub fn status<'a>(
    view: &HealthView,
    config: &Config,
    registry: &'a Registry,
    now_ms: u64,
) -> RoutingStatus<'a> {
    let models: Vec<(bool, f64, f64, ModelStatus<'a>)> = registry
        .models()
        .map(|(entry, model)| {
            let condition = Condition::of(view, entry, model.id, &model.facts, now_ms);
            let status = ModelStatus::of(&model, &condition, now_ms);
            let tier = score::tier_place(None, model.facts.effective_tier());
            let score = score::score(&model.facts, Some(&condition.lane), now_ms);
            let is_last = !status.status.is_usable() || !is_automatic(config, &model);
            (is_last, tier, score, status)
        })
        .collect();
    let models = by_rank(models, |(is_last, tier, score, _)| [f64::from(u8::from(*is_last)), *tier, -score]);
    let top_provider = models.iter().find(|(is_last, ..)| !is_last).map(|(.., model)| model.provider);
    let fallback_order: Vec<ModelStatus<'a>> = models
        .into_iter()
        .enumerate()
        .map(|(index, (.., model))| ModelStatus { rank: index + 1, ..model })
        .collect();
    let mut by_provider: BTreeMap<&str, Vec<&ModelStatus<'a>>> = BTreeMap::new();
    for model in &fallback_order {
        by_provider.entry(model.provider).or_default().push(model);
    }
    let providers =
        by_provider.into_iter().map(|(name, models)| (name, ProviderSummary::of(&models))).collect();
    let counts = Counts::of(fallback_order.iter().map(|model| model.status));
    RoutingStatus {
        ok: true,
        generated_at: to_rfc3339(now_ms),
        summary: Summary {
            configured_models: fallback_order.len(),
            available_models: counts.available,
            degraded_models: counts.degraded,
            cooldown_models: counts.cooldown,
            exhausted_models: counts.exhausted,
            fallback_ready: counts.usable() > 1,
            top_provider,
        },
        fallback_order,
        providers,
    }
}

/// `POST /v1/routing/explain`: the plan of a request, with a reason for each candidate and each skipped model.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation<'a> {
    /// `routing.plan`.
    pub object: &'static str,
    /// The model name of the request, or of the header that replaces it.
    pub model: &'a str,
    /// The request asks for a stream.
    pub stream: bool,
    /// The needs of the request; `None` if it names one model.
    pub needs: Option<Needs>,
    /// The reason for affinity: `reasoning`, `session` or `prompt`.
    pub sticky_by: Option<&'static str>,
    /// The lanes in the order in which they would be tried.
    pub attempts: Vec<PlannedLane>,
    /// The candidates, in order.
    pub candidates: Vec<CandidateReport<'a>>,
    /// The skipped models.
    pub dropped: Vec<DroppedModel<'a>>,
    /// The limits of the attempts.
    pub limits: AttemptLimits,
}

/// A lane of the plan.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedLane {
    /// `provider/model`.
    pub id: String,
    /// The index of the provider's key, from 0.
    pub key: u8,
    /// The lane is available now.
    pub available: bool,
    /// The time from which it is available, in RFC 3339; `None` if it is now.
    pub available_at: Option<String>,
    /// The reason why it is not available.
    pub unavailable_because: Option<&'static str>,
    /// The recent share of successful calls.
    pub success_rate: Option<f64>,
    /// The recent mean time until the response, or until the first content of a stream.
    pub avg_latency_ms: Option<f64>,
}

/// A candidate.
#[derive(Clone, Debug, Serialize)]
pub struct CandidateReport<'a> {
    /// `provider/model`.
    pub id: String,
    /// The provider.
    pub provider: &'a str,
    /// The provider's id of the model.
    pub model: &'a str,
    /// The model is listed.
    pub listed: bool,
    /// The model's tier.
    pub tier: Tier,
    /// Its score; `None` if the order does not depend on it.
    pub score: Option<f64>,
    /// Its price, in US dollars per million tokens, input and output weighted.
    pub usd_per_mtok: Option<f64>,
    /// The maximum input, in tokens.
    pub context: Option<u32>,
    /// The maximum output, in tokens.
    pub max_output: Option<u32>,
    /// The format in which the request would be sent.
    pub format: Format,
    /// The request would pass as it is, apart from the dropped parameters; otherwise it would be translated.
    pub passes: bool,
    /// The parameters that would be dropped or changed for the provider.
    pub dropped_params: Vec<String>,
}

/// A skipped model.
#[derive(Clone, Debug, Serialize)]
pub struct DroppedModel<'a> {
    /// `provider/model`, or the name that resolves to no model.
    pub id: &'a str,
    /// The code of the reason.
    pub reason: &'static str,
    /// The reason as a sentence.
    pub detail: String,
}

/// Limits of the attempts of a call.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct AttemptLimits {
    /// Attempts of one call.
    pub max_attempts: u32,
    /// Attempts after the first on the same lane.
    pub retries: u32,
    /// The time until the start of the response, in milliseconds.
    pub total_ms: u32,
}

/// The report of `POST /v1/routing/explain`.
pub fn explain<'r>(query: &RouteQuery<'r, 'r>, selection: &'r Selection<'r>, plan: &Plan) -> Explanation<'r> {
    let RouteQuery { affinity, request, config, .. } = *query;
    Explanation {
        object: "routing.plan",
        model: query.force_model.unwrap_or(&request.model),
        stream: request.stream,
        needs: selection.needs,
        sticky_by: match affinity.source {
            _ if selection.follows_reasoning => Some("reasoning"),
            AffinitySource::Session => Some("session"),
            AffinitySource::Prompt => Some("prompt"),
            AffinitySource::None => None,
        },
        attempts: planned_lanes(query, selection, plan),
        candidates: selection.candidates.iter().map(|candidate| candidate_report(query, candidate)).collect(),
        dropped: selection
            .dropped
            .iter()
            .map(|Dropped { model, reason }| DroppedModel {
                id: model,
                reason: reason.code(),
                detail: reason.to_string(),
            })
            .collect(),
        limits: AttemptLimits {
            max_attempts: config.routing.max_attempts,
            retries: config.routing.retries,
            total_ms: config.timeouts.total_ms,
        },
    }
}

fn planned_lanes(query: &RouteQuery<'_, '_>, selection: &Selection<'_>, plan: &Plan) -> Vec<PlannedLane> {
    let RouteQuery { view, now_ms, .. } = *query;
    plan.lanes()
        .filter_map(|(lane, ready_ms)| {
            let candidate = selection.candidates.get(lane.candidate)?;
            let id = candidate.lane(lane.key);
            let unavailable_because = match view.availability(id, candidate.facts.requests_per_day, now_ms) {
                Availability::Available => None,
                Availability::CoolingDown { why, .. } => Some(why),
            };
            let stats = view.lane(id);
            Some(PlannedLane {
                id: candidate.address(),
                key: lane.key,
                available: ready_ms <= now_ms,
                available_at: (ready_ms > now_ms).then(|| to_rfc3339(ready_ms)),
                unavailable_because,
                success_rate: stats.and_then(LaneStats::success_rate).map(|rate| rounded(rate, 4)),
                avg_latency_ms: stats.and_then(LaneStats::latency_ms).map(|ms| rounded(ms, 1)),
            })
        })
        .collect()
}

fn candidate_report<'r>(query: &RouteQuery<'_, '_>, candidate: &'r Candidate<'_>) -> CandidateReport<'r> {
    let operation = query.request.operation;
    // A candidate whose request cannot be translated has been skipped.
    let outgoing = query.request.outgoing(&candidate.upstream(), None);
    let format = query.request.format_at(&candidate.upstream()).unwrap_or(operation.format);
    let facts = &candidate.facts;
    CandidateReport {
        id: candidate.address(),
        provider: &candidate.provider.name,
        model: &candidate.model,
        listed: candidate.listed,
        tier: facts.effective_tier(),
        score: candidate.score.map(|score| rounded(score, 4)),
        usd_per_mtok: score::usd_per_mtok(&facts.price).map(|usd| rounded(usd, 6)),
        context: facts.context,
        max_output: facts.max_output,
        format,
        passes: candidate.passes(query.request),
        dropped_params: outgoing.map(|outgoing| outgoing.adjusted).unwrap_or_default(),
    }
}

/// Rounds a number to some decimals.
fn rounded(value: f64, decimals: i32) -> f64 {
    let factor = 10_f64.powi(decimals);
    (value * factor).round() / factor
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn mean(values: &[u64]) -> Option<f64> {
    let sum: u64 = values.iter().sum();
    (!values.is_empty()).then(|| rounded(ratio(sum, values.len() as u64), 1))
}
