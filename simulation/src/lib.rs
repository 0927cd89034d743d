//! A simulated day of traffic: the same calls meet the same providers under three routing policies.
//!
//! [`ours`] runs Gatehouse's own code as the Worker does; [`original`] and [`in_turn`] are the policies that it is
//! compared with. [`day`] generates a day: providers with limits and outages, and calls. [`fleet`] simulates the
//! providers. Everything follows from a seed: no clock, no network, no threads. A provider's treatment of a call
//! depends only on the call and the provider, so no policy is luckier than another.
//!
//! This is no benchmark of the gateway's speed, and its providers are invented: it compares decisions.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts, prices and times of one day: far below 2^31, or below 2^52 where they are times"
)]

pub mod baseline;
pub mod costs;
pub mod data;
pub mod day;
pub mod fleet;
pub mod in_turn;
pub mod original;
pub mod ours;
pub mod queue;
pub mod rng;
pub mod scenario;
pub mod table;
pub mod tally;

use scenario::World;
use tally::Tally;

/// A routing policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Gatehouse's own routing.
    Ours,
    /// Score, cooldowns and two attempts, as documented for the gateway that this one is measured against.
    Original,
    /// Round robin, with one more attempt after a failure.
    InTurn,
}

impl Policy {
    /// All policies, in the order of the table's columns.
    pub const ALL: [Policy; 3] = [Policy::Ours, Policy::Original, Policy::InTurn];

    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Ours => "Gatehouse",
            Policy::Original => "score + cooldown",
            Policy::InTurn => "round robin",
        }
    }

    /// Simulates a world under this policy.
    pub fn run(self, world: &World) -> Tally {
        match self {
            Policy::Ours => ours::run(world, &mut |_, _| {}).tally,
            Policy::Original => original::run(world),
            Policy::InTurn => in_turn::run(world),
        }
    }
}
