//! The measurements of a run.

use std::collections::BTreeMap;

use crate::scenario::{Call, Spot, World};

/// The lifetime of an upstream's prompt cache, in milliseconds.
const CACHE_MS: u64 = 300_000;
/// The wait for the first content after which a call counts as late, in milliseconds.
pub const TOO_LONG_MS: u64 = 30_000;
/// The length of a slot of [`Tally::slots`], in milliseconds: a quarter of an hour.
pub const SLOT_MS: u64 = 900_000;

/// The measurements of one run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Calls that a healthy provider would have answered.
    pub calls: u64,
    /// Of these: answered to the end.
    pub answered: u64,
    /// Of these: answered, but the stream broke off.
    pub cut: u64,
    /// Calls without content after [`TOO_LONG_MS`], answered later or not at all.
    pub late: u64,
    /// Requests to providers.
    pub attempts: u64,
    /// Of these: answered with 429.
    pub throttles: u64,
    /// The charge for whole responses, in micro-USD.
    pub paid: f64,
    /// The charge for attempts without a whole response, in micro-USD.
    pub wasted: f64,
    /// The cost of the whole responses at the cheapest capable model, in micro-USD.
    pub cheapest: f64,
    /// The wait of each answered call for its first content, in milliseconds, all attempts included.
    pub first_ms: Vec<u64>,
    /// Calls whose session or long prompt was served within the five minutes before.
    pub cacheable: u64,
    /// Of these: served by the same model with the same key.
    pub cached: u64,
    /// Calls and answered calls by quarter of an hour.
    pub slots: Vec<(u64, u64)>,
    served: BTreeMap<(bool, u64), (Spot, u64)>,
}

impl Tally {
    /// Counts a request to a provider and the status of its response.
    pub fn sent(&mut self, status: u16) {
        self.attempts += 1;
        self.throttles += u64::from(status == 429);
    }

    /// Counts the charge for an attempt without a response, in micro-USD.
    pub fn wasted(&mut self, charge: f64) {
        self.wasted += charge;
    }

    /// Counts a call at its first content, or at its whole response. `cut`: the stream will break off.
    pub fn answered(&mut self, world: &World, call: &Call, spot: Spot, at_ms: u64, charge: f64, cut: bool) {
        self.over(world, call, at_ms, !cut);
        self.first_ms.push(at_ms.saturating_sub(call.at_ms));
        if cut {
            self.cut += 1;
            self.wasted += charge;
        } else {
            self.paid += charge;
            self.cheapest += world
                .capable(call)
                .into_iter()
                .map(|spot| world.price(spot, call, 1.0))
                .fold(charge, f64::min);
        }
        if let Some(cached_by) = call.cached_by()
            && let Some((before, last_ms)) = self.served.insert(cached_by, (spot, at_ms))
            && at_ms.saturating_sub(last_ms) <= CACHE_MS
        {
            self.cacheable += 1;
            self.cached += u64::from(before == spot);
        }
    }

    /// Counts a call whose every attempt failed.
    pub fn failed(&mut self, world: &World, call: &Call, at_ms: u64) {
        self.over(world, call, at_ms, false);
    }

    fn over(&mut self, world: &World, call: &Call, at_ms: u64, answered: bool) {
        self.calls += 1;
        self.answered += u64::from(answered);
        self.late += u64::from(at_ms.saturating_sub(call.at_ms) > TOO_LONG_MS);
        let first_ms = world.scenario.calls.first().map_or(0, |first| first.at_ms / SLOT_MS);
        let slot = (call.at_ms / SLOT_MS).saturating_sub(first_ms) as usize;
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, (0, 0));
        }
        if let Some((calls, good)) = self.slots.get_mut(slot) {
            *calls += 1;
            *good += u64::from(answered);
        }
    }

    /// Adds the measurements of another run, except its slots.
    pub fn add(&mut self, other: &Tally) {
        self.calls += other.calls;
        self.answered += other.answered;
        self.cut += other.cut;
        self.late += other.late;
        self.attempts += other.attempts;
        self.throttles += other.throttles;
        self.paid += other.paid;
        self.wasted += other.wasted;
        self.cheapest += other.cheapest;
        self.first_ms.extend(&other.first_ms);
        self.cacheable += other.cacheable;
        self.cached += other.cached;
    }

    /// The share of calls that were answered to the end, 0 to 1.
    pub fn share(&self) -> f64 {
        self.answered as f64 / self.calls.max(1) as f64
    }

    /// A percentile of the waits for the first content, in milliseconds.
    pub fn percentile_ms(&self, share: f64) -> u64 {
        let mut waits = self.first_ms.clone();
        waits.sort_unstable();
        let index = (waits.len().saturating_sub(1) as f64 * share).round() as usize;
        waits.get(index).copied().unwrap_or(0)
    }

    /// Attempts per call.
    pub fn attempts_per_call(&self) -> f64 {
        self.attempts as f64 / self.calls.max(1) as f64
    }

    /// The cost of the whole responses, wasted attempts included, relative to the cheapest capable models.
    pub fn price_ratio(&self) -> f64 {
        (self.paid + self.wasted) / self.cheapest.max(1.0)
    }

    /// The share of the cost that was wasted, 0 to 1.
    pub fn wasted_share(&self) -> f64 {
        self.wasted / (self.paid + self.wasted).max(1.0)
    }

    /// The share of cacheable calls that found their prompt in a cache, 0 to 1.
    pub fn cached_share(&self) -> f64 {
        self.cached as f64 / self.cacheable.max(1) as f64
    }
}
