//! Statistics of one lane: one model of one provider, reached with one of its keys.
//!
//! Statistics can be added up ([`LaneStats::absorb`]): each isolate counts by itself and reports its counts, and the
//! sum is the same as if one isolate had counted everything. Recent observations decay, so that the last minutes
//! decide. This needs no clock, because each record has the time of its last addition.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::health::failure::{Class, Failure};
use crate::health::quota::Reading;
use crate::time::DAY_MS;

/// The half-life of outcomes, in milliseconds.
const OUTCOME_HALF_LIFE_MS: f64 = 120_000.0;
/// The half-life of latencies, in milliseconds.
const LATENCY_HALF_LIFE_MS: f64 = 600_000.0;
/// The number of latency classes; their upper ends are 50 ms · √2ⁿ, up to about 4.5 minutes.
const BUCKETS: usize = 26;
const FIRST_BUCKET_MS: f64 = 50.0;
/// The number of distances between throttles that are kept.
const MAX_GAPS: usize = 16;

/// The statistics of one lane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LaneStats {
    /// Counts since the lane was first used.
    pub totals: Totals,
    /// Outcomes and latencies of the last minutes.
    pub recent: Recent,
    /// The reason and the end of the last cooldown.
    #[serde(rename = "outage", skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<Cooldown>,
    /// Successful calls today.
    pub today: Today,
    /// The last limit headers of the provider, one reading for each resource and window.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quota: Vec<Reading>,
    /// The numbers of attempts between throttles.
    pub spacing: Spacing,
    /// The last failure that was not the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<Box<LastError>>,
}

/// The last failure of a lane, for operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// The time, in milliseconds since 1970.
    pub at_ms: u64,
    /// The class of the failure.
    pub class: Class,
    /// The status that the error has: the provider's, or that of the gateway's error if there was no response.
    pub status: u16,
    /// The code of the error.
    pub code: Option<String>,
    /// The first [`LastError::MAX_MESSAGE`] characters of the message, without any part of a key.
    pub message: String,
}

impl LastError {
    /// The maximum length of a message, in characters.
    pub const MAX_MESSAGE: usize = 300;

    /// The failure behind an error. `None` if it was the caller's: the message could repeat the caller's words.
    pub fn of(error: &Error, message: &str, now_ms: u64) -> Option<LastError> {
        let class = Failure::of(error, None).class;
        class.is_fault().then(|| LastError {
            at_ms: now_ms,
            class,
            status: error.told_status(),
            code: error.code().map(str::to_owned),
            message: message.chars().take(LastError::MAX_MESSAGE).collect(),
        })
    }
}

/// Counts that do not decay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Attempts sent.
    pub attempts: u64,
    /// Attempts that were throttled.
    pub throttles: u64,
    /// Cooldowns started.
    #[serde(rename = "outages")]
    pub cooldowns: u64,
    /// Failures by category of `GET /v1/stats/providers`; see [`Class::breakdown`].
    pub safety_refusal: u64,
    /// See [`Class::breakdown`].
    pub usage_retriable: u64,
    /// See [`Class::breakdown`].
    pub input_nonretriable: u64,
    /// See [`Class::breakdown`].
    pub provider_fatal: u64,
}

/// Outcomes and latencies that decay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recent {
    /// The time of the last addition, in milliseconds since 1970.
    pub at_ms: u64,
    /// The weight of the successful calls.
    pub good: f64,
    /// The weight of the calls that failed through the provider's fault.
    pub bad: f64,
    /// The weight of the latencies, by class of [`bucket_end_ms`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub latencies: Vec<f64>,
    /// The weighted sum of the latencies, in milliseconds.
    pub latency_ms: f64,
}

/// The last cooldown of a lane or key; it may be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cooldown {
    /// The end, in milliseconds since 1970; 0 if a success has ended it early.
    pub until_ms: u64,
    /// The time at which the cause was observed, in milliseconds since 1970.
    pub since_ms: u64,
    /// The number of failures in a row.
    pub streak: u32,
    /// The class of the last failure.
    pub cause: Class,
    /// `true` if the provider itself stated the end.
    pub stated: bool,
}

/// Successful calls on one day (UTC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Today {
    /// The day, as the number of days since 1970-01-01.
    pub day: u64,
    /// Successful calls on that day.
    pub used: u32,
}

/// Distances between throttles, in attempts, in the order in which reports arrive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spacing {
    /// Attempts before the first throttle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// Attempts at the last throttle.
    pub last_at: u64,
    /// The last distances, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<u64>,
}

/// The day of a time, as the number of days since 1970-01-01 (UTC).
pub(super) fn day_of(now_ms: u64) -> u64 {
    now_ms / DAY_MS
}

/// The end of the day of a time, in milliseconds since 1970.
pub fn day_end_ms(now_ms: u64) -> u64 {
    (day_of(now_ms) + 1) * DAY_MS
}

/// The upper end of a latency class, in milliseconds.
#[expect(clippy::cast_precision_loss, reason = "there are 26 classes")]
pub(super) fn bucket_end_ms(index: usize) -> f64 {
    FIRST_BUCKET_MS * (index as f64 / 2.0).exp2()
}

fn bucket_of(latency_ms: u64) -> usize {
    (0..BUCKETS - 1).find(|index| millis(latency_ms) <= bucket_end_ms(*index)).unwrap_or(BUCKETS - 1)
}

#[expect(clippy::cast_precision_loss, reason = "durations are far below 2^52 ms")]
fn millis(ms: u64) -> f64 {
    ms as f64
}

impl LaneStats {
    /// Adds the counts of other statistics.
    pub fn absorb(&mut self, other: &LaneStats) {
        let throttles = other.totals.throttles;
        self.totals.add(&other.totals);
        if throttles > 0 {
            self.spacing.note(self.totals.attempts, throttles);
        }
        self.recent.absorb(&other.recent);
        self.cooldown = later(self.cooldown, other.cooldown);
        self.today = match (self.today, other.today) {
            (mine, theirs) if mine.day == theirs.day => {
                Today { used: mine.used.saturating_add(theirs.used), ..mine }
            }
            (mine, theirs) if mine.day > theirs.day => mine,
            (_, theirs) => theirs,
        };
        for reading in &other.quota {
            self.take_reading(*reading);
        }
        let at_ms = |error: &Option<Box<LastError>>| error.as_ref().map(|error| error.at_ms);
        if at_ms(&other.last_error) > at_ms(&self.last_error) {
            self.last_error.clone_from(&other.last_error);
        }
    }

    /// Stores a reading of limit headers, unless a later one is known.
    pub fn take_reading(&mut self, reading: Reading) {
        let same =
            |known: &&mut Reading| (known.resource, known.window) == (reading.resource, reading.window);
        match self.quota.iter_mut().find(same) {
            Some(known) if known.seen_ms <= reading.seen_ms => *known = reading,
            Some(_) => {}
            None => self.quota.push(reading),
        }
    }

    /// The recent share of successful calls, 0 to 1. A lane without observations counts as good: if it ranked below a
    /// lane with a success, the first of several equal lanes to be tried would get all further calls.
    pub fn success(&self, now_ms: u64) -> f64 {
        let fade = self.recent.fade(now_ms, OUTCOME_HALF_LIFE_MS);
        let (good, bad) = (self.recent.good * fade, self.recent.bad * fade);
        (good + 2.0) / (good + bad + 2.0)
    }

    /// The recent share of successful calls without smoothing, 0 to 1, for reports; `None` without calls.
    pub fn success_rate(&self) -> Option<f64> {
        let weight = self.recent.good + self.recent.bad;
        (weight > 0.0).then(|| self.recent.good / weight)
    }

    /// The weights of the recent successful calls and of those that failed through the provider's fault.
    pub fn outcomes(&self, now_ms: u64) -> [f64; 2] {
        let fade = self.recent.fade(now_ms, OUTCOME_HALF_LIFE_MS);
        [self.recent.good * fade, self.recent.bad * fade]
    }

    /// The recent mean latency, in milliseconds.
    pub fn latency_ms(&self) -> Option<f64> {
        let weight: f64 = self.recent.latencies.iter().sum();
        (weight > 1e-6).then(|| self.recent.latency_ms / weight)
    }

    /// A percentile of the recent latencies, in milliseconds: the upper end of its latency class. `None` if the weight
    /// of the known latencies is below `at_least`.
    pub fn percentile_ms(&self, share: f64, at_least: f64) -> Option<f64> {
        let weight: f64 = self.recent.latencies.iter().sum();
        if weight < at_least.max(1e-6) {
            return None;
        }
        let mut seen = 0.0;
        let index = self.recent.latencies.iter().position(|bucket| {
            seen += bucket;
            seen >= share * weight
        });
        index.map(bucket_end_ms)
    }

    /// Successful calls on the day of a time.
    pub fn used_today(&self, now_ms: u64) -> u32 {
        if self.today.day == day_of(now_ms) { self.today.used } else { 0 }
    }

    /// The smallest remaining share of any limit, 0 to 1; `per_day` is the limit in the catalogue.
    pub fn headroom(&self, per_day: Option<u32>, now_ms: u64) -> f64 {
        let day = per_day.map(|limit| 1.0 - f64::from(self.used_today(now_ms)) / f64::from(limit.max(1)));
        let current =
            self.quota.iter().filter(|reading| reading.reset_ms.is_some_and(|reset| reset > now_ms));
        let shares =
            current.filter_map(|reading| Some(millis(reading.remaining?) / millis(reading.limit?.max(1))));
        shares.chain(day).fold(1.0, f64::min).clamp(0.0, 1.0)
    }

    /// The time at which a used-up limit of the provider resets, in milliseconds since 1970.
    pub fn spent_until_ms(&self, now_ms: u64) -> Option<u64> {
        let spent = self.quota.iter().filter(|reading| reading.remaining == Some(0));
        // If the provider states a time more than a day away, the lane is tried again after a day.
        let until_ms = spent.filter_map(|reading| Some(reading.reset_ms?.min(reading.seen_ms + DAY_MS)));
        until_ms.filter(|until_ms| *until_ms > now_ms).max()
    }
}

/// The later of two observations of a cooldown. While a time lasts that the provider itself has stated, estimates do
/// not replace it; its age does not change either, so that a later statement of the provider, made to another isolate,
/// replaces it.
pub(super) fn later(mine: Option<Cooldown>, theirs: Option<Cooldown>) -> Option<Cooldown> {
    let (Some(mine), Some(theirs)) = (mine, theirs) else { return mine.or(theirs) };
    let age = |cooldown: Cooldown| (cooldown.since_ms, cooldown.until_ms);
    let (earlier, later) = if age(mine) > age(theirs) { (theirs, mine) } else { (mine, theirs) };
    // What an operator has decided holds, whatever calls observe that do not know of it.
    let is_decided = earlier.cause == Class::Operator && earlier.until_ms > later.since_ms;
    if is_decided && later.cause != Class::Operator {
        return Some(earlier);
    }
    let is_estimate = later.streak > 0 && !later.stated;
    if is_estimate && earlier.stated && earlier.until_ms > later.since_ms {
        return Some(Cooldown { streak: earlier.streak.max(later.streak), ..earlier });
    }
    Some(later)
}

impl Totals {
    fn add(&mut self, other: &Totals) {
        self.attempts += other.attempts;
        self.throttles += other.throttles;
        self.cooldowns += other.cooldowns;
        self.safety_refusal += other.safety_refusal;
        self.usage_retriable += other.usage_retriable;
        self.input_nonretriable += other.input_nonretriable;
        self.provider_fatal += other.provider_fatal;
    }
}

impl Recent {
    /// One outcome, with the latency of a response.
    pub fn of(at_ms: u64, good: bool, latency_ms: Option<u64>) -> Recent {
        let mut latencies = Vec::new();
        if let Some(latency_ms) = latency_ms {
            latencies = vec![0.0; bucket_of(latency_ms)];
            latencies.push(1.0);
        }
        Recent {
            at_ms,
            good: if good { 1.0 } else { 0.0 },
            bad: if good { 0.0 } else { 1.0 },
            latencies,
            latency_ms: latency_ms.map_or(0.0, millis),
        }
    }

    fn fade(&self, now_ms: u64, half_life_ms: f64) -> f64 {
        (-millis(now_ms.saturating_sub(self.at_ms)) / half_life_ms).exp2()
    }

    fn absorb(&mut self, other: &Recent) {
        let at_ms = self.at_ms.max(other.at_ms);
        let [outcomes, latencies] = [OUTCOME_HALF_LIFE_MS, LATENCY_HALF_LIFE_MS]
            .map(|half_life_ms| (self.fade(at_ms, half_life_ms), other.fade(at_ms, half_life_ms)));
        let (mine, theirs) = outcomes;
        self.good = self.good * mine + other.good * theirs;
        self.bad = self.bad * mine + other.bad * theirs;
        let (mine, theirs) = latencies;
        if self.latencies.len() < other.latencies.len() {
            self.latencies.resize(other.latencies.len().min(BUCKETS), 0.0);
        }
        for bucket in &mut self.latencies {
            *bucket *= mine;
        }
        for (bucket, more) in self.latencies.iter_mut().zip(&other.latencies) {
            *bucket += more * theirs;
        }
        self.latency_ms = self.latency_ms * mine + other.latency_ms * theirs;
        self.at_ms = at_ms;
    }
}

impl Spacing {
    /// Records `throttles` throttles since the last report, the last at the given count of attempts.
    fn note(&mut self, attempts: u64, throttles: u64) {
        if self.first.is_none() {
            self.first = Some(attempts.saturating_sub(throttles));
        } else {
            let gap = attempts.saturating_sub(self.last_at) / throttles;
            if self.gaps.len() >= MAX_GAPS {
                self.gaps.remove(0);
            }
            self.gaps.push(gap);
        }
        self.last_at = attempts;
    }

    /// The median of the last distances.
    pub fn median(&self) -> Option<u64> {
        let mut gaps = self.gaps.clone();
        gaps.sort_unstable();
        gaps.get(gaps.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Resource, Window};
    use proptest::prelude::*;

    fn answered(at_ms: u64, latency_ms: u64) -> LaneStats {
        LaneStats {
            totals: Totals { attempts: 1, ..Totals::default() },
            recent: Recent::of(at_ms, true, Some(latency_ms)),
            today: Today { day: day_of(at_ms), used: 1 },
            ..LaneStats::default()
        }
    }

    fn throttled(at_ms: u64) -> LaneStats {
        LaneStats {
            totals: Totals { attempts: 1, throttles: 1, usage_retriable: 1, ..Totals::default() },
            recent: Recent::of(at_ms, false, None),
            ..LaneStats::default()
        }
    }

    #[test]
    fn success_follows_the_last_minutes() {
        let mut lane = LaneStats::default();
        assert!((lane.success(0) - 1.0).abs() < 1e-9);
        for second in 0..20 {
            lane.absorb(&throttled(second * 1000));
        }
        assert!(lane.success(20_000) < 0.15);
        assert!(lane.success(20_000 + 20 * 120_000) > 0.85, "old failures decay");
        for second in 0..60 {
            lane.absorb(&answered(600_000 + second * 1000, 100));
        }
        assert!(lane.success(660_000) > 0.9);
    }

    #[test]
    fn percentiles_are_upper_ends_of_latency_classes() {
        let mut lane = LaneStats::default();
        for n in 0..100 {
            lane.absorb(&answered(1000, if n < 90 { 200 } else { 3000 }));
        }
        assert_eq!(lane.percentile_ms(0.5, 20.0), Some(200.0));
        assert!(lane.percentile_ms(0.95, 20.0).unwrap() >= 3000.0);
        assert_eq!(lane.percentile_ms(0.5, 1000.0), None);
        assert!((lane.latency_ms().unwrap() - 480.0).abs() < 1.0);
    }

    #[test]
    fn headroom_is_the_smallest_share_that_is_left() {
        let mut lane = answered(1000, 5);
        assert!((lane.headroom(Some(4), 1000) - 0.75).abs() < 1e-9);
        assert!((lane.headroom(Some(4), 1000 + DAY_MS) - 1.0).abs() < 1e-9, "another day");
        let reading = Reading {
            resource: Resource::Requests,
            window: Window::Minute,
            limit: Some(10),
            remaining: Some(1),
            reset_ms: Some(9000),
            seen_ms: 1000,
        };
        lane.take_reading(reading);
        lane.take_reading(Reading { remaining: Some(9), seen_ms: 999, ..reading });
        assert!((lane.headroom(Some(4), 1000) - 0.1).abs() < 1e-9);
        assert!((lane.headroom(None, 9000) - 1.0).abs() < 1e-9, "the limit has reset");
        lane.take_reading(Reading { remaining: Some(0), ..reading });
        assert_eq!(lane.spent_until_ms(8999), Some(9000));
        assert_eq!(lane.spent_until_ms(9000), None);
    }

    #[test]
    fn spacing_is_counted_in_attempts() {
        let mut lane = LaneStats::default();
        for attempt in 1..=30 {
            lane.absorb(&if attempt % 10 == 0 { throttled(0) } else { answered(0, 1) });
        }
        assert_eq!((lane.spacing.first, lane.spacing.median()), (Some(9), Some(10)));
    }

    proptest! {
        /// Counting in several isolates and adding up gives the counts of a single isolate.
        #[test]
        fn reports_add_up(events in proptest::collection::vec((0u64..3, 0u64..600_000, any::<bool>(), 1u64..100_000), 0..60)) {
            let mut events = events;
            events.sort_by_key(|(_, at_ms, ..)| *at_ms);
            let mut whole = LaneStats::default();
            let mut parts = vec![LaneStats::default(); 3];
            for (isolate, at_ms, good, latency_ms) in &events {
                let lane = if *good { answered(*at_ms, *latency_ms) } else { throttled(*at_ms) };
                whole.absorb(&lane);
                parts[usize::try_from(*isolate).unwrap()].absorb(&lane);
            }
            let mut sum = LaneStats::default();
            for part in &parts {
                sum.absorb(part);
            }
            prop_assert_eq!(sum.totals, whole.totals);
            prop_assert_eq!(sum.today, whole.today);
            prop_assert!((sum.success(600_000) - whole.success(600_000)).abs() < 1e-6);
            prop_assert_eq!(sum.latency_ms().is_some(), whole.latency_ms().is_some());
            if let (Some(sum), Some(whole)) = (sum.latency_ms(), whole.latency_ms()) {
                prop_assert!((sum - whole).abs() < 1e-3 * whole.max(1.0));
            }
            prop_assert!((0.0..=1.0).contains(&whole.success(600_000)));
        }
    }
}
