//! What is known of one lane: one model of one provider, asked with one of its keys.
//!
//! A lane's record can be added to another ([`LaneStats::absorb`]): so isolates count by themselves and report what they have
//! counted, and the sum is the same as if one had counted everything. What is recent fades, so that a lane is judged by its
//! last minutes; no clock is needed for that, each record knows when it was last added to.

use serde::{Deserialize, Serialize};

use crate::health::failure::Class;
use crate::health::quota::Reading;
use crate::time::DAY_MS;

/// How fast outcomes fade: after this many milliseconds one counts half.
const OUTCOME_HALF_LIFE_MS: f64 = 120_000.0;
/// How fast latencies fade.
const LATENCY_HALF_LIFE_MS: f64 = 600_000.0;
/// Upper ends of the latency classes: 50 ms · √2ⁿ, up to some 4.5 minutes.
const BUCKETS: usize = 26;
const FIRST_BUCKET_MS: f64 = 50.0;
/// How many distances between throttles are remembered.
const MAX_GAPS: usize = 16;

/// The record of one lane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LaneStats {
    /// Counts since the record began.
    pub totals: Totals,
    /// Outcomes and latencies of the last minutes.
    pub recent: Recent,
    /// Why it is left alone, and until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outage: Option<Outage>,
    /// Calls answered today.
    pub today: Today,
    /// What the provider's headers said last, one for each resource and window.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quota: Vec<Reading>,
    /// How many attempts lie between throttles.
    pub spacing: Spacing,
}

/// Counts that never fade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Calls sent.
    pub attempts: u64,
    /// Of them: refused because there were too many.
    pub throttles: u64,
    /// How often it was put aside.
    pub outages: u64,
    /// Failures by class, in the words of `GET /v1/stats/providers`.
    pub safety_refusal: u64,
    /// See [`Class::breakdown`].
    pub usage_retriable: u64,
    /// See [`Class::breakdown`].
    pub input_nonretriable: u64,
    /// See [`Class::breakdown`].
    pub provider_fatal: u64,
}

/// Outcomes and latencies that fade.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recent {
    /// When this was last added to, in milliseconds since 1970.
    pub at_ms: u64,
    /// The weight of the calls that went well.
    pub good: f64,
    /// The weight of those that failed by the provider's fault.
    pub bad: f64,
    /// The weight of the latencies, by class of [`bucket_end_ms`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub latencies: Vec<f64>,
    /// Their weighted sum, in milliseconds.
    pub latency_ms: f64,
}

/// Why and until when something is left alone. The last word counts: one that is over has a time that has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// Until when, in milliseconds since 1970; 0: an earlier one is over.
    pub until_ms: u64,
    /// When this was found.
    pub since_ms: u64,
    /// How many failures in a row.
    pub streak: u32,
    /// What happened.
    pub cause: Class,
    /// Whether the provider itself named the time.
    pub stated: bool,
}

/// Calls answered on one day (UTC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Today {
    /// The day, counted from 1970-01-01.
    pub day: u64,
    /// Calls answered on it.
    pub used: u32,
}

/// Distances between throttles, in attempts, as reports of them arrive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spacing {
    /// Attempts before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// Attempts when the last came.
    pub last_at: u64,
    /// The last distances.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<u64>,
}

/// The day of a time, counted from 1970-01-01 (UTC).
pub(super) fn day_of(now_ms: u64) -> u64 {
    now_ms / DAY_MS
}

/// When the day of a time ends, in milliseconds since 1970.
pub fn day_end_ms(now_ms: u64) -> u64 {
    (day_of(now_ms) + 1) * DAY_MS
}

/// The upper end of a latency class, in milliseconds.
#[expect(clippy::cast_precision_loss, reason = "there are 26 classes")]
fn bucket_end_ms(index: usize) -> f64 {
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
    /// Adds what another record has counted.
    pub fn absorb(&mut self, other: &LaneStats) {
        let throttles = other.totals.throttles;
        self.totals.add(&other.totals);
        if throttles > 0 {
            self.spacing.note(self.totals.attempts, throttles);
        }
        self.recent.absorb(&other.recent);
        self.outage = later(self.outage, other.outage);
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
    }

    /// Takes what a provider's headers said, unless something later is known.
    pub fn take_reading(&mut self, reading: Reading) {
        let same =
            |known: &&mut Reading| (known.resource, known.window) == (reading.resource, reading.window);
        match self.quota.iter_mut().find(same) {
            Some(known) if known.seen_ms <= reading.seen_ms => *known = reading,
            Some(_) => {}
            None => self.quota.push(reading),
        }
    }

    /// The share of calls that went well of late, 0 to 1. A lane of which nothing is known is taken to be good: were it
    /// worth less than one that has answered, the first of several equals to be asked would get all further calls.
    pub fn success(&self, now_ms: u64) -> f64 {
        let fade = self.recent.fade(now_ms, OUTCOME_HALF_LIFE_MS);
        let (good, bad) = (self.recent.good * fade, self.recent.bad * fade);
        (good + 2.0) / (good + bad + 2.0)
    }

    /// The plain share of calls that went well of late, 0 to 1, for people; `None` where there were none.
    pub fn success_rate(&self) -> Option<f64> {
        let weight = self.recent.good + self.recent.bad;
        (weight > 0.0).then(|| self.recent.good / weight)
    }

    /// The mean latency of late, in milliseconds.
    pub fn latency_ms(&self) -> Option<f64> {
        let weight: f64 = self.recent.latencies.iter().sum();
        (weight > 1e-6).then(|| self.recent.latency_ms / weight)
    }

    /// A percentile of the latencies of late, in milliseconds: the upper end of the class that it falls into. `None` where
    /// fewer than `at_least` are known.
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

    /// Calls answered on the day of a time.
    pub fn used_today(&self, now_ms: u64) -> u32 {
        if self.today.day == day_of(now_ms) { self.today.used } else { 0 }
    }

    /// The smallest share that is left of any limit, 0 to 1; `per_day` is the one that the catalogue knows.
    pub fn headroom(&self, per_day: Option<u32>, now_ms: u64) -> f64 {
        let day = per_day.map(|limit| 1.0 - f64::from(self.used_today(now_ms)) / f64::from(limit.max(1)));
        let told = self.quota.iter().filter(|reading| reading.reset_ms.is_some_and(|reset| reset > now_ms));
        let told =
            told.filter_map(|reading| Some(millis(reading.remaining?) / millis(reading.limit?.max(1))));
        told.chain(day).fold(1.0, f64::min).clamp(0.0, 1.0)
    }

    /// Until when a limit that the provider told of is used up, in milliseconds since 1970.
    pub fn spent_until_ms(&self, now_ms: u64) -> Option<u64> {
        let spent = self.quota.iter().filter(|reading| reading.remaining == Some(0));
        // A provider that names a time beyond a day is asked again after a day.
        let until_ms = spent.filter_map(|reading| Some(reading.reset_ms?.min(reading.seen_ms + DAY_MS)));
        until_ms.filter(|until_ms| *until_ms > now_ms).max()
    }
}

/// The later of two words on an outage. While a time stands that the provider itself has named, guesses do not count: the
/// word stays as old as it is, so that a later one of the provider, heard elsewhere, takes its place.
pub(super) fn later(mine: Option<Outage>, theirs: Option<Outage>) -> Option<Outage> {
    let (Some(mine), Some(theirs)) = (mine, theirs) else { return mine.or(theirs) };
    let age = |outage: Outage| (outage.since_ms, outage.until_ms);
    let (earlier, later) = if age(mine) > age(theirs) { (theirs, mine) } else { (mine, theirs) };
    let is_guess = later.streak > 0 && !later.stated;
    if is_guess && earlier.stated && earlier.until_ms > later.since_ms {
        return Some(Outage { streak: earlier.streak.max(later.streak), ..earlier });
    }
    Some(later)
}

impl Totals {
    fn add(&mut self, other: &Totals) {
        self.attempts += other.attempts;
        self.throttles += other.throttles;
        self.outages += other.outages;
        self.safety_refusal += other.safety_refusal;
        self.usage_retriable += other.usage_retriable;
        self.input_nonretriable += other.input_nonretriable;
        self.provider_fatal += other.provider_fatal;
    }
}

impl Recent {
    /// One outcome, with the latency of an answer.
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
    /// `throttles` of them have come since the last report, the last at the given count of attempts.
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

    /// The middle one of the last distances.
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
        assert!(lane.success(20_000 + 20 * 120_000) > 0.85, "it is forgotten");
        for second in 0..60 {
            lane.absorb(&answered(600_000 + second * 1000, 100));
        }
        assert!(lane.success(660_000) > 0.9);
    }

    #[test]
    fn percentiles_are_class_ends() {
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
        assert!((lane.headroom(None, 9000) - 1.0).abs() < 1e-9, "it is full again");
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
        /// Counting in several isolates and adding up gives what one would have counted.
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
