//! Which of several capable models comes first for `auto`.
//!
//! First the tiers, in the order that `reasoning_effort` asks for; within a tier the score. Models that score nearly the same
//! are equals, and a draw decides: so load spreads over them, and calls of one session stay together.

use crate::catalog::{Facts, Price};
use crate::tier::Tier;

use crate::health::LaneStats;

/// What counts how much; the sum is 1.
pub const WEIGHTS: Weights =
    Weights { success: 0.5, headroom: 0.15, latency: 0.15, price: 0.15, priority: 0.05 };
/// Scores that are no further apart are equal.
pub const MARGIN: f64 = 0.06;
/// The latency that counts as none of the score, in milliseconds.
const SLOWEST_MS: f64 = 10_000.0;
/// What is assumed of a lane that has answered nothing yet, in milliseconds.
const USUAL_LATENCY_MS: f64 = 1_500.0;

/// How much each part of the score counts.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    /// The share of calls that went well of late.
    pub success: f64,
    /// What is left of the lane's limits.
    pub headroom: f64,
    /// How soon it answers.
    pub latency: f64,
    /// How cheap it is.
    pub price: f64,
    /// What the operator, or the catalogue, prefers.
    pub priority: f64,
}

/// The order of tiers for an effort.
pub const fn tiers(effort: Option<Tier>) -> [Tier; 3] {
    match effort {
        Some(Tier::Low) => [Tier::Low, Tier::Medium, Tier::High],
        Some(Tier::Medium) => [Tier::Medium, Tier::High, Tier::Low],
        Some(Tier::High) => [Tier::High, Tier::Medium, Tier::Low],
        None => [Tier::Medium, Tier::Low, Tier::High],
    }
}

/// The place of a tier in the order for an effort: 0, 1 or 2.
pub fn tier_place(effort: Option<Tier>, tier: Tier) -> f64 {
    let [first, second, _] = tiers(effort);
    if tier == first {
        0.0
    } else if tier == second {
        1.0
    } else {
        2.0
    }
}

/// The score of a lane, 0 to 1.
pub fn score(facts: &Facts, lane: Option<&LaneStats>, now_ms: u64) -> f64 {
    let (success, latency_ms, headroom) = match lane {
        None => (1.0, None, 1.0),
        Some(lane) => {
            (lane.success(now_ms), lane.latency_ms(), lane.headroom(facts.requests_per_day, now_ms))
        }
    };
    let latency = 1.0 - (latency_ms.unwrap_or(USUAL_LATENCY_MS) / SLOWEST_MS).min(1.0);
    let priority = f64::from(facts.priority.unwrap_or(50)) / 100.0;
    // A lane that often fails is worth less than its share of good answers: a failure costs a whole attempt.
    WEIGHTS.success * success * success
        + WEIGHTS.headroom * headroom
        + WEIGHTS.latency * latency
        + WEIGHTS.price * cheapness(&facts.price)
        + WEIGHTS.priority * priority
}

/// 1 for what is free, falling with the order of magnitude of the price; an unknown price counts as a usual one.
fn cheapness(price: &Price) -> f64 {
    1.0 - ((1.0 + usd_per_mtok(price).unwrap_or(2.0)).log10() / 2.0).min(1.0)
}

/// US dollars per million tokens, of three input tokens to one of output, as chats are; `None` is not known.
#[expect(clippy::cast_precision_loss, reason = "prices are far below 2^52 micro-USD")]
pub fn usd_per_mtok(price: &Price) -> Option<f64> {
    Some((3.0 * price.input? as f64 + price.output? as f64) / 4e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn priced(input: u64, output: u64) -> Facts {
        let price = Price { input: Some(input), output: Some(output), ..Price::default() };
        Facts { price, ..Facts::default() }
    }

    #[test]
    fn the_weights_are_shares() {
        let Weights { success, headroom, latency, price, priority } = WEIGHTS;
        assert!((success + headroom + latency + price + priority - 1.0).abs() < 1e-9);
    }

    #[test]
    fn cheap_healthy_models_come_first() {
        let cheap = score(&priced(0, 0), None, 0);
        let dear = score(&priced(15_000_000, 75_000_000), None, 0);
        let unknown = score(&Facts::default(), None, 0);
        assert!(cheap > unknown && unknown > dear);
        assert!((0.0..=1.0).contains(&cheap) && (0.0..=1.0).contains(&dear));
    }

    #[test]
    fn tiers_follow_the_effort() {
        let places = [tier_place(None, Tier::Medium), tier_place(Some(Tier::High), Tier::Low)];
        assert_eq!(places.map(|place| place.to_string()), ["0", "2"]);
    }
}
