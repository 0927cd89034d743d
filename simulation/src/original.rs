//! The routing of the gateway that this one is measured against, from its documentation: a score, cooldowns of fixed
//! length, and two attempts. Undocumented details are chosen in its favour.
//!
//! - score = 0.6 success + 0.2 headroom + 0.15 (1 − latency / 8 s) + 0.05 fit + 0.02 priority; the order of tiers comes
//!   before it.
//! - `reasoning_effort` is also the lowest acceptable tier.
//! - For `auto`, the leading peers of one tier that have been measured and are healthy take turns.
//! - A retriable failure puts a model into cooldown for 45 s, seven among the last ten for 120 s.
//! - The second attempt follows 0.5 to 5 s after a retriable failure, and only then. `retry-after` is not read.

use std::collections::{BTreeMap, VecDeque};

use gatehouse_core::error::{Code, Error};
use gatehouse_core::health::day_end_ms;
use gatehouse_core::route::score::tier_place;
use gatehouse_core::tier::Tier;

use crate::baseline::{self, Router};
use crate::rng::Rng;
use crate::scenario::{Call, Spot, Wish, World};
use crate::tally::Tally;

/// The number of outcomes that count.
const WINDOW: usize = 100;
/// The number of outcomes in which a burst of failures is looked for.
const LAST: usize = 10;

/// Runs a world.
pub fn run(world: &World) -> Tally {
    baseline::run(world, &mut Original::default())
}

#[derive(Default)]
struct Original {
    health: BTreeMap<(usize, usize), Health>,
    turns: BTreeMap<String, usize>,
}

/// The statistics of a model.
#[derive(Default)]
struct Health {
    /// The last outcomes: success, and retriable failure.
    outcomes: VecDeque<(bool, bool)>,
    latencies_ms: VecDeque<u64>,
    cooldown_until_ms: u64,
    day_end_ms: u64,
    used: u32,
}

impl Health {
    fn success(&self) -> f64 {
        let good = self.outcomes.iter().filter(|(good, _)| *good).count();
        if self.outcomes.is_empty() { 0.5 } else { good as f64 / self.outcomes.len() as f64 }
    }

    fn latency_ms(&self) -> f64 {
        let sum: u64 = self.latencies_ms.iter().sum();
        if self.latencies_ms.is_empty() { 1500.0 } else { sum as f64 / self.latencies_ms.len() as f64 }
    }

    fn short_failures(&self) -> usize {
        self.outcomes.iter().rev().take(LAST).filter(|(_, retriable)| *retriable).count()
    }

    fn headroom(&self, limit: Option<u32>, now_ms: u64) -> f64 {
        let used = if now_ms < self.day_end_ms { self.used } else { 0 };
        limit.map_or(1.0, |limit| (1.0 - f64::from(used) / f64::from(limit)).max(0.0))
    }

    /// True if the model takes turns with its peers.
    fn is_healthy(&self) -> bool {
        !self.outcomes.is_empty()
            && self.success() >= 0.8
            && self.short_failures() == 0
            && self.latency_ms() < 8000.0
    }
}

fn fit(effort: Option<Tier>, tier: Tier) -> f64 {
    match effort {
        None if tier == Tier::Medium => 1.0,
        None => 0.8,
        Some(effort) if effort == tier => 1.0,
        Some(Tier::High | Tier::Low) if tier == Tier::Medium => 0.85,
        Some(_) => 0.65,
    }
}

impl Router for Original {
    fn order(&mut self, world: &World, call: &Call, now_ms: u64) -> Vec<Spot> {
        let unknown = Health::default();
        let mut scored: Vec<(f64, f64, Spot)> = Vec::new();
        for spot in world.capable(call) {
            let (Some(provider), Some(model)) = (world.provider(spot), world.model(spot)) else { continue };
            let health = self.health.get(&(spot.provider, spot.model)).unwrap_or(&unknown);
            // The policy has one daily limit for each model. It gets the true limit, of all keys together.
            let limit = provider.per_day.map(|limit| limit * u32::from(provider.keys.max(1)));
            let headroom = health.headroom(limit, now_ms);
            let is_fit = call.effort.is_none_or(|effort| model.tier >= effort);
            if !is_fit || health.cooldown_until_ms > now_ms || headroom <= 0.0 {
                continue;
            }
            let score = 0.6 * health.success()
                + 0.2 * headroom
                + 0.15 * (1.0 - health.latency_ms() / 8000.0).clamp(0.0, 1.0)
                + 0.05 * fit(call.effort, model.tier)
                + 0.02 * 0.5;
            scored.push((tier_place(call.effort, model.tier), -score, spot));
        }
        if matches!(call.wish, Wish::Auto) {
            scored.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
            let first = scored.first().map_or(0.0, |(tier, ..)| *tier);
            let peers = scored.iter().take_while(|(tier, _, spot)| {
                let health = self.health.get(&(spot.provider, spot.model)).unwrap_or(&unknown);
                (tier - first).abs() < 0.5 && health.is_healthy()
            });
            let peers = peers.count();
            if peers > 1 {
                let mut names: Vec<String> = scored.iter().map(|(.., spot)| world.address(*spot)).collect();
                names.sort_unstable();
                let key = format!("{:?}:{}:{}", call.effort, call.stream, names.join(","));
                let turn = self.turns.entry(key).or_default();
                let first = *turn % peers;
                *turn += 1;
                if let Some(leading) = scored.get_mut(..peers) {
                    // A fixed order, so that the turn counts in a list that does not change from call to call.
                    leading.sort_by_key(|(.., spot)| *spot);
                    leading.rotate_left(first);
                }
            }
        }
        scored.into_iter().map(|(.., spot)| spot).collect()
    }

    fn settled(&mut self, spot: Spot, latency_ms: u64, result: Result<(), &Error>, now_ms: u64) {
        let health = self.health.entry((spot.provider, spot.model)).or_default();
        let retriable = result.is_err_and(is_retriable);
        health.outcomes.push_back((result.is_ok(), retriable));
        if health.outcomes.len() > WINDOW {
            health.outcomes.pop_front();
        }
        if result.is_ok() {
            health.latencies_ms.push_back(latency_ms);
            if health.latencies_ms.len() > WINDOW {
                health.latencies_ms.pop_front();
            }
            if now_ms >= health.day_end_ms {
                (health.day_end_ms, health.used) = (day_end_ms(now_ms), 0);
            }
            health.used += 1;
        } else if retriable {
            let cooldown_ms = if health.short_failures() >= 7 { 120_000 } else { 45_000 };
            health.cooldown_until_ms = now_ms + cooldown_ms;
        }
    }

    fn goes_on(&self, error: &Error) -> bool {
        is_retriable(error)
    }

    fn wait_ms(&self, rng: &mut Rng) -> u64 {
        rng.within(500, 5_000)
    }
}

fn is_retriable(error: &Error) -> bool {
    matches!(error.status, 429 | 408 | 409 | 425 | 500..) || error.is(Code::UpstreamTimeout)
}
