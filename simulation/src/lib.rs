//! A day of traffic, simulated: the same calls meet the same providers under three ways of routing them.
//!
//! [`ours`] is Gatehouse's own code, driven as the Worker drives it. [`original`] and [`in_turn`] are what it is compared
//! with. [`day`] draws a day: providers with limits and outages, and calls. [`fleet`] plays the providers. Everything
//! follows from a seed: no clock, no network, no threads. What a provider does to a call depends on the call and the
//! provider alone, so that no way of routing is luckier than another.
//!
//! It is no benchmark of the gateway's speed, and its providers are invented: what it shows is how decisions compare.

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

/// A way of routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Gatehouse's own.
    Ours,
    /// Score, cooldowns and two attempts, as the gateway had it that this one is measured against.
    Original,
    /// The next model in turn, and once more if that fails.
    InTurn,
}

impl Policy {
    /// All, in the order of the table's columns.
    pub const ALL: [Policy; 3] = [Policy::Ours, Policy::Original, Policy::InTurn];

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Ours => "Gatehouse",
            Policy::Original => "score + cooldown",
            Policy::InTurn => "round robin",
        }
    }

    /// Runs a world under it.
    pub fn run(self, world: &World) -> Tally {
        match self {
            Policy::Ours => ours::run(world, &mut |_, _| {}).tally,
            Policy::Original => original::run(world),
            Policy::InTurn => in_turn::run(world),
        }
    }
}
