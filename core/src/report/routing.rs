//! What is told of routing: how models and providers are doing (`GET /health`, `GET /v1/stats/providers`,
//! `GET /v1/routing/status`), and why a call would go where it would go (`POST /v1/routing/explain`).
//!
//! The shapes of the first three are those of the gateway that Gatehouse follows, with more members where more is known.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::metrics::ProviderState;
use crate::catalog::{Entry, Facts, ListedModel, Registry};
use crate::config::Config;
use crate::json;
use crate::order::by_rank;
use crate::time::to_rfc3339;

use crate::health::quota::Reading;
use crate::health::{Availability, HealthView, LaneId, LaneStats, Totals};
use crate::route::affinity::AffinitySource;
use crate::route::candidates::{Candidate, RouteQuery, Selection, is_automatic};
use crate::route::plan::Plan;
use crate::route::reason::Dropped;
use crate::route::score;

/// Below this share of good answers a model is degraded.
const DEGRADED_SUCCESS: f64 = 0.75;
/// From this mean latency on a model is degraded, in milliseconds.
const DEGRADED_LATENCY_MS: f64 = 5_000.0;

/// How one model is doing, over all keys of its provider.
struct Condition {
    lane: LaneStats,
    /// Until when no key of it can be asked; 0: one can be now.
    out_until_ms: u64,
    why: Option<&'static str>,
}

impl Condition {
    fn of(view: &HealthView, provider: &Entry, model: &str, facts: &Facts, now_ms: u64) -> Condition {
        let mut lane = LaneStats::default();
        let mut out: Option<(u64, &'static str)> = None;
        let mut open = false;
        for key in provider.key_places() {
            let place = LaneId { provider: &provider.name, model, key };
            if let Some(known) = view.lane(place) {
                lane.absorb(known);
            }
            match view.availability(place, facts.requests_per_day, now_ms) {
                Availability::Available => open = true,
                Availability::CoolingDown { until_ms, why, .. } => {
                    out = Some(out.map_or((until_ms, why), |known| known.min((until_ms, why))));
                }
            }
        }
        let (out_until_ms, why) = match out {
            Some((until_ms, why)) if !open => (until_ms, Some(why)),
            _ => (0, None),
        };
        Condition { lane, out_until_ms, why }
    }

    fn is_exhausted(&self, headroom: f64) -> bool {
        headroom <= 0.0 || matches!(self.why, Some("limit_used_up" | "daily_limit_used_up" | "quota_spent"))
    }
}

/// One row of `GET /health`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelHealth {
    /// `provider:model`; `other` stands for models that are not listed.
    pub key: String,
    /// Calls sent.
    pub attempts: u64,
    /// The share of them that went well of late, 0 to 1.
    pub success_rate: f64,
    /// Until the answer, or the first content of a stream; the mean of late, in milliseconds.
    pub avg_latency_ms: f64,
    /// The 90th percentile of the same.
    pub p90_latency_ms: Option<f64>,
    /// The 99th.
    pub p99_latency_ms: Option<f64>,
    /// Until when it is left alone, in milliseconds since 1970; 0: it is not.
    pub cooldown_until: u64,
    /// Why, if it is.
    pub cooldown_reason: Option<&'static str>,
    /// The smallest share that is left of any limit, 0 to 1.
    pub headroom: f64,
    /// Calls answered today (UTC).
    pub daily_used: u32,
    /// How many are possible, where that is known.
    pub daily_limit: Option<u32>,
}

/// All models that have been called, sorted.
pub fn health(view: &HealthView, registry: &Registry, now_ms: u64) -> Vec<ModelHealth> {
    let mut rows = Vec::new();
    for provider in registry.entries() {
        let name = &provider.name;
        for model in models_of(view, provider) {
            let facts = provider.facts(model).unwrap_or_default();
            let Condition { lane, out_until_ms, why } = Condition::of(view, provider, model, &facts, now_ms);
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
                cooldown_until: out_until_ms,
                cooldown_reason: why,
                headroom: rounded(lane.headroom(facts.requests_per_day, now_ms), 4),
                daily_used: lane.used_today(now_ms),
                daily_limit: facts.requests_per_day,
            });
        }
    }
    rows
}

/// The models of a provider of which something is known, each once.
fn models_of<'b>(view: &'b HealthView, provider: &Entry) -> Vec<&'b str> {
    let mut models: Vec<&str> = view.lanes().of_provider(&provider.name).map(|(model, ..)| model).collect();
    models.dedup();
    models
}

/// `GET /v1/stats/providers`: how providers are doing. Only those that have been called are in it.
pub fn provider_stats(view: &HealthView, registry: &Registry, now_ms: u64) -> Value {
    let mut stats = Vec::new();
    let mut quotas = Map::new();
    for entry in registry.entries() {
        let mut sum = LaneStats::default();
        let mut totals = Totals::default();
        let (mut active, mut out) = (0, 0);
        let mut readings: Vec<Reading> = Vec::new();
        let (mut firsts, mut gaps) = (Vec::new(), Vec::new());
        for model in models_of(view, entry) {
            let facts = entry.facts(model).unwrap_or_default();
            let condition = Condition::of(view, entry, model, &facts, now_ms);
            active += u32::from(condition.lane.totals.attempts > 0);
            out += u32::from(condition.out_until_ms > 0);
            readings.extend(&condition.lane.quota);
            sum.absorb(&condition.lane);
            totals = sum.totals;
        }
        if totals.attempts == 0 {
            continue;
        }
        for (_, _, lane) in view.lanes().of_provider(&entry.name) {
            firsts.extend(lane.spacing.first);
            gaps.extend(lane.spacing.median());
        }
        gaps.sort_unstable();
        let share = |part: u64| rounded(ratio(part, totals.attempts), 4);
        stats.push(json!({
            "provider": entry.name,
            "total_models": entry.models().count(),
            "active_models": active,
            "total_attempts": totals.attempts,
            "throttle_count": totals.throttles,
            "throttle_rate": share(totals.throttles),
            "success_rate": share(totals.attempts.saturating_sub(totals.usage_retriable + totals.provider_fatal)),
            "avg_latency_ms": rounded(sum.latency_ms().unwrap_or(0.0), 1),
            "p50_latency_ms": sum.percentile_ms(0.5, 0.0).map(|ms| rounded(ms, 1)),
            "p90_latency_ms": sum.percentile_ms(0.9, 0.0).map(|ms| rounded(ms, 1)),
            "p99_latency_ms": sum.percentile_ms(0.99, 0.0).map(|ms| rounded(ms, 1)),
            "cooldown_events": totals.cooldowns,
            "models_in_cooldown": out,
            "failure_breakdown": {
                "safety_refusal": totals.safety_refusal,
                "usage_retriable": totals.usage_retriable,
                "input_nonretriable": totals.input_nonretriable,
                "provider_fatal": totals.provider_fatal,
            },
            "avg_attempts_before_first_throttle": mean(&firsts),
            "throttle_spacing_p50": gaps.get(gaps.len() / 2),
            "cancel_stops_billing": entry.cancel_stops_billing,
        }));
        if !readings.is_empty() {
            quotas
                .insert(entry.name.clone(), readings.iter().map(|reading| quota(reading, now_ms)).collect());
        }
    }
    json!({"stats": stats, "quotas": quotas})
}

/// How each provider is doing that has been called, for `GET /metrics`.
pub fn provider_states<'r>(view: &HealthView, registry: &'r Registry, now_ms: u64) -> Vec<ProviderState<'r>> {
    let mut states = Vec::new();
    for entry in registry.entries() {
        let mut sum = LaneStats::default();
        let mut models_in_cooldown = 0;
        for model in models_of(view, entry) {
            let facts = entry.facts(model).unwrap_or_default();
            let condition = Condition::of(view, entry, model, &facts, now_ms);
            models_in_cooldown += u64::from(condition.out_until_ms > 0);
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

fn quota(reading: &Reading, now_ms: u64) -> Value {
    // What was said of a window that is over says nothing of the one that has begun.
    let over = reading.reset_ms.is_some_and(|reset_ms| reset_ms <= now_ms);
    json!({
        "resource": reading.resource,
        "window": reading.window,
        "limit": reading.limit,
        "remaining": if over { reading.limit } else { reading.remaining },
        "resets_at": reading.reset_ms.filter(|_| !over).map(to_rfc3339),
        "seen_at": to_rfc3339(reading.seen_ms),
    })
}

/// `GET /v1/routing/status`: every listed model, in the order in which `auto` would try them.
pub fn status(view: &HealthView, config: &Config, registry: &Registry, now_ms: u64) -> Value {
    let rows: Vec<(bool, f64, f64, Row<'_>)> = registry
        .models()
        .map(|(entry, model)| {
            let row = Row::of(view, entry, model, now_ms);
            let tier = score::tier_place(None, model.facts.effective_tier());
            let score = score::score(&model.facts, Some(&row.condition.lane), now_ms);
            let last = matches!(row.status, "cooldown" | "exhausted") || !is_automatic(config, &model);
            (last, tier, score, row)
        })
        .collect();
    let rows = by_rank(rows, |(last, tier, score, _)| [f64::from(u8::from(*last)), *tier, -score]);
    let count = |status: &str| rows.iter().filter(|(.., row)| row.status == status).count();
    let mut providers: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for (.., row) in &rows {
        let provider = providers.entry(row.model.provider).or_insert_with(|| {
            let counts = ["configured", "available", "cooldown", "exhausted", "degraded"];
            let mut members: Map<String, Value> =
                counts.iter().map(|name| (format!("{name}_models"), 0.into())).collect();
            members.insert("best_model".to_owned(), Value::Null);
            members
        });
        for name in ["configured_models".to_owned(), format!("{}_models", row.status)] {
            if let Some(count) = provider.get_mut(&name) {
                *count = (count.as_u64().unwrap_or(0) + 1).into();
            }
        }
        if let Some(best) = provider.get_mut("best_model")
            && best.is_null()
            && matches!(row.status, "available" | "degraded")
        {
            *best = row.model.id.into();
        }
    }
    let usable = count("available") + count("degraded");
    let top = rows.iter().find(|(last, ..)| !last).map(|(.., row)| row.model.provider);
    json!({
        "ok": true,
        "generated_at": to_rfc3339(now_ms),
        "summary": {
            "configured_models": rows.len(),
            "available_models": count("available"),
            "degraded_models": count("degraded"),
            "cooldown_models": count("cooldown"),
            "exhausted_models": count("exhausted"),
            "fallback_ready": usable > 1,
            "top_provider": top,
        },
        "fallback_order": rows.iter().enumerate().map(|(index, (.., row))| row.to_json(index + 1, now_ms)).collect::<Vec<_>>(),
        "providers": providers,
    })
}

/// A model in `GET /v1/routing/status`.
struct Row<'a> {
    model: ListedModel<'a>,
    condition: Condition,
    status: &'static str,
    reasons: Vec<&'static str>,
}

impl<'a> Row<'a> {
    fn of(view: &HealthView, entry: &Entry, model: ListedModel<'a>, now_ms: u64) -> Row<'a> {
        let condition = Condition::of(view, entry, model.id, &model.facts, now_ms);
        let lane = &condition.lane;
        let headroom = lane.headroom(model.facts.requests_per_day, now_ms);
        let mut reasons = Vec::new();
        if lane.totals.attempts == 0 {
            reasons.push("no_health_data_yet");
        }
        let exhausted = condition.is_exhausted(headroom);
        if exhausted {
            let of_account = condition.why == Some("quota_spent");
            reasons.push(if of_account { "provider_quota_exhausted" } else { "daily_headroom_exhausted" });
        } else if condition.out_until_ms > 0 {
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
            "exhausted"
        } else if condition.out_until_ms > 0 {
            "cooldown"
        } else if reasons.iter().any(|reason| *reason != "no_health_data_yet") {
            "degraded"
        } else {
            "available"
        };
        if reasons.is_empty() {
            reasons.push("healthy");
        }
        Row { model, condition, status, reasons }
    }

    fn to_json(&self, rank: usize, now_ms: u64) -> Value {
        let Row {
            model: ListedModel { provider, id, facts },
            condition: Condition { lane, out_until_ms, .. },
            ..
        } = self;
        let percentile = |share| lane.percentile_ms(share, 0.0).map(|ms| rounded(ms, 1));
        json!({
            "rank": rank,
            "id": format!("{provider}/{id}"),
            "provider": provider,
            "model": id,
            "reasoning": facts.effective_tier(),
            "native_reasoning": facts.reasoning,
            "status": self.status,
            "success_rate": rounded(lane.success_rate().unwrap_or(0.5), 4),
            "headroom": rounded(lane.headroom(facts.requests_per_day, now_ms), 4),
            "avg_latency_ms": rounded(lane.latency_ms().unwrap_or(1500.0), 1),
            "p90_latency_ms": percentile(0.9),
            "p99_latency_ms": percentile(0.99),
            "cooldown_until": out_until_ms,
            "daily_used": lane.used_today(now_ms),
            "daily_limit": facts.requests_per_day,
            "reasons": self.reasons,
        })
    }
}

/// `POST /v1/routing/explain`: the plan for a request, and the reason for each model that is in it or not.
pub fn explain(query: &RouteQuery<'_, '_>, selection: &Selection<'_>, plan: &Plan) -> Value {
    let RouteQuery { view, now_ms, affinity, request, .. } = *query;
    let lanes: Vec<Value> = plan
        .lanes()
        .filter_map(|(lane, ready_ms)| {
            let candidate = selection.candidates.get(lane.candidate)?;
            let availability =
                view.availability(candidate.lane(lane.key), candidate.facts.requests_per_day, now_ms);
            let why = match availability {
                Availability::Available => None,
                Availability::CoolingDown { why, .. } => Some(why),
            };
            let record = view.lane(candidate.lane(lane.key));
            Some(json!({
                "id": candidate.address(),
                "key": lane.key,
                "available": ready_ms <= now_ms,
                "available_at": (ready_ms > now_ms).then(|| to_rfc3339(ready_ms)),
                "unavailable_because": why,
                "success_rate": record.and_then(LaneStats::success_rate).map(|rate| rounded(rate, 4)),
                "avg_latency_ms": record.and_then(LaneStats::latency_ms).map(|ms| rounded(ms, 1)),
            }))
        })
        .collect();
    let dropped = |Dropped { model, reason }: &Dropped| json!({"id": model, "reason": reason.code(), "detail": reason.to_string()});
    json!({
        "object": "routing.plan",
        "model": query.force_model.unwrap_or(&request.model),
        "stream": request.stream,
        "needs": selection.needs,
        "sticky_by": match affinity.source {
            AffinitySource::Session => Some("session"),
            AffinitySource::Prompt => Some("prompt"),
            AffinitySource::None => None,
        },
        "attempts": lanes,
        "candidates": selection.candidates.iter().map(|candidate| kept(query, candidate)).collect::<Vec<_>>(),
        "dropped": selection.dropped.iter().map(dropped).collect::<Vec<_>>(),
        "limits": {
            "max_attempts": query.config.routing.max_attempts,
            "retries": query.config.routing.retries,
            "total_ms": query.config.timeouts.total_ms,
        },
    })
}

fn kept(query: &RouteQuery<'_, '_>, candidate: &Candidate<'_>) -> Value {
    let outgoing = query.request.outgoing(&candidate.upstream(), None);
    let facts = &candidate.facts;
    json!({
        "id": candidate.address(),
        "provider": candidate.provider.name,
        "model": candidate.model,
        "listed": candidate.listed,
        "tier": facts.effective_tier(),
        "score": candidate.score.map(|score| rounded(score, 4)),
        "usd_per_mtok": score::usd_per_mtok(&facts.price).map(|usd| rounded(usd, 6)),
        "context": facts.context,
        "max_output": facts.max_output,
        "dropped_params": outgoing.adjusted,
    })
}

/// A number for people, with so many decimals.
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
