//! The order of capable models for `auto`.
//!
//! Tiers come first, in the order that `reasoning_effort` asks for; within a tier, scores decide. Models with nearly
//! equal scores count as equal and are ordered by affinity, which spreads the load and keeps the calls of one session
//! together.

use crate::catalog::{Facts, Price};
use crate::tier::Tier;

use crate::health::LaneStats;

/// The weights of the parts of the score; their sum is 1.
pub const WEIGHTS: Weights =
    Weights { success: 0.5, headroom: 0.15, latency: 0.15, price: 0.15, priority: 0.05 };
/// The largest difference between two scores that count as equal.
pub const MARGIN: f64 = 0.06;
/// The latency from which a lane gets nothing for its latency, in milliseconds.
const SLOWEST_MS: f64 = 10_000.0;
/// The latency that is assumed for a lane without latencies, in milliseconds.
const USUAL_LATENCY_MS: f64 = 1_500.0;

/// The weight of each part of the score.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    /// The recent share of successful calls.
    pub success: f64,
    /// The remaining share of the lane's limits.
    pub headroom: f64,
    /// The recent latency.
    pub latency: f64,
    /// The price.
    pub price: f64,
    /// The priority that the operator or the catalogue gives.
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

/// The index of a tier in the order for an effort: 0, 1 or 2.
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
    // The square makes frequent failures cost more than their share: each takes a whole attempt.
    WEIGHTS.success * success * success
        + WEIGHTS.headroom * headroom
        + WEIGHTS.latency * latency
        + WEIGHTS.price * cheapness(&facts.price)
        + WEIGHTS.priority * priority
}

/// 1 for a free model, falling with the order of magnitude of the price; an unknown price counts as a usual one.
fn cheapness(price: &Price) -> f64 {
    1.0 - ((1.0 + usd_per_mtok(price).unwrap_or(2.0)).log10() / 2.0).min(1.0)
}

/// US dollars per million tokens, of three input tokens to one output token, as is usual in chats; `None` if not known.
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
    fn the_weights_sum_to_one() {
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
