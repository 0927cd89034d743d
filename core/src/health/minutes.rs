//! The attempts of each lane in each minute of the last day, for operators.
//!
//! The `ProviderHealth` object counts them from the reports that it gets anyway, so that isolates and calls do nothing for
//! them. Like all health they are an estimate: a report that is repeated counts twice. Each minute is stored once, when it
//! is over, in a place that is used again a day later; a minute has at most [`MAX_LANES`] lanes.

use serde::{Deserialize, Serialize};

use super::Lanes;
use super::stats::bucket_end_ms;

/// The number of minutes that are kept.
pub const KEEP: u32 = 24 * 60;
/// A minute, in milliseconds.
pub const MINUTE_MS: u64 = 60_000;
/// The maximum number of lanes of a minute. The attempts of further lanes are not counted.
const MAX_LANES: usize = 200;

/// The attempts of one lane in some time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Attempts {
    /// The provider.
    #[serde(rename = "p")]
    pub provider: String,
    /// The model; empty for all models of the provider.
    #[serde(rename = "m")]
    pub model: String,
    /// The index of the provider's key.
    #[serde(rename = "k")]
    pub key: u8,
    /// Attempts that ended.
    #[serde(rename = "a")]
    pub attempts: u32,
    /// Those that failed through the provider's fault.
    #[serde(rename = "f")]
    pub failures: u32,
    /// The numbers of latencies, by class.
    #[serde(rename = "l")]
    pub latencies: Vec<u32>,
}

impl Attempts {
    fn is_of(&self, provider: &str, model: &str, key: u8) -> bool {
        self.key == key && self.model == model && self.provider == provider
    }

    /// Adds other attempts.
    pub fn add(&mut self, other: &Attempts) {
        self.attempts = self.attempts.saturating_add(other.attempts);
        self.failures = self.failures.saturating_add(other.failures);
        if self.latencies.len() < other.latencies.len() {
            self.latencies.resize(other.latencies.len(), 0);
        }
        for (number, more) in self.latencies.iter_mut().zip(&other.latencies) {
            *number = number.saturating_add(*more);
        }
    }

    /// A percentile of the latencies, in milliseconds: the upper end of its class, which is at most 41 % above it. `share`
    /// is in hundredths. `None` if no latency is known.
    pub fn percentile_ms(&self, share: u64) -> Option<u64> {
        let all: u64 = self.latencies.iter().map(|number| u64::from(*number)).sum();
        let mut seen = 0;
        let class = self.latencies.iter().position(|number| {
            seen += u64::from(*number);
            seen > 0 && seen * 100 >= share * all
        });
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the end of a class")]
        class.map(|class| bucket_end_ms(class).round() as u64)
    }
}

/// The attempts of all lanes in one minute, or in several that follow each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Minute {
    /// The first minute, in minutes since 1970.
    #[serde(rename = "t")]
    pub minute: u32,
    /// The attempts.
    #[serde(rename = "n")]
    pub lanes: Vec<Attempts>,
}

impl Minute {
    /// The place in which the minute is stored, from 0 to [`KEEP`].
    pub fn place(&self) -> u32 {
        self.minute % KEEP
    }

    /// Adds a report that arrived at a time. If the time is in a later minute, this minute is over: it is returned, and the
    /// later one begins.
    pub fn take(&mut self, reported: &Lanes, now_ms: u64) -> Option<Minute> {
        let minute = minute_of(now_ms);
        let is_over = self.minute != minute;
        let over = is_over.then(|| std::mem::replace(self, Minute { minute, lanes: Vec::new() }));
        for record in reported.0.iter().filter(|record| !record.model.is_empty()) {
            let recent = &record.lane.recent;
            let latencies = recent.latencies.iter().map(|weight| rounded(*weight));
            let more = Attempts {
                attempts: u32::try_from(record.lane.totals.attempts).unwrap_or(u32::MAX),
                failures: rounded(recent.bad),
                latencies: latencies.collect(),
                ..Attempts::default()
            };
            if more != Attempts::default() {
                self.add(&record.provider, &record.model, record.key, &more);
            }
        }
        over.filter(|minute| !minute.lanes.is_empty())
    }

    fn add(&mut self, provider: &str, model: &str, key: u8, more: &Attempts) {
        let index = self.lanes.iter().position(|lane| lane.is_of(provider, model, key));
        if index.is_none() && self.lanes.len() < MAX_LANES {
            let (provider, model) = (provider.to_owned(), model.to_owned());
            self.lanes.push(Attempts { provider, model, key, ..Attempts::default() });
        }
        let index = index.unwrap_or_else(|| self.lanes.len().saturating_sub(1));
        if let Some(lane) = self.lanes.get_mut(index).filter(|lane| lane.is_of(provider, model, key)) {
            lane.add(more);
        }
    }
}

/// The minute of a time, in minutes since 1970.
fn minute_of(ms: u64) -> u32 {
    u32::try_from(ms / MINUTE_MS).unwrap_or(u32::MAX)
}

/// A weight of observations that are a few seconds old, as a number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "conversions saturate")]
fn rounded(weight: f64) -> u32 {
    weight.round() as u32
}

/// A query for the last minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct HistoryQuery {
    /// The number of minutes, up to now.
    pub minutes: u32,
    /// The number of minutes that are added up.
    pub step: u32,
    /// Each lane by itself; otherwise all lanes of a provider together.
    pub by_lane: bool,
}

impl HistoryQuery {
    /// The sums of each step that has attempts, oldest first. Steps begin at multiples of their length.
    pub fn steps(self, stored: impl Iterator<Item = Minute>, now_ms: u64) -> Vec<Minute> {
        let step = self.step.max(1);
        let last = minute_of(now_ms);
        let first = last.saturating_sub(self.minutes.min(KEEP) - self.minutes.min(1));
        let mut steps: Vec<Minute> = Vec::new();
        for minute in stored.filter(|minute| (first..=last).contains(&minute.minute)) {
            let start = minute.minute / step * step;
            let index = steps.partition_point(|known| known.minute < start);
            if steps.get(index).is_none_or(|known| known.minute != start) {
                steps.insert(index, Minute { minute: start, lanes: Vec::new() });
            }
            let Some(sums) = steps.get_mut(index) else { continue };
            for lane in &minute.lanes {
                let (model, key) = if self.by_lane { (lane.model.as_str(), lane.key) } else { ("", 0) };
                sums.add(&lane.provider, model, key, lane);
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::failure::{Class, Failure};
    use crate::health::{HealthView, LaneId, Report};

    const A: LaneId<'_> = LaneId { provider: "acme", model: "a", key: 0 };
    const B: LaneId<'_> = LaneId { provider: "acme", model: "b", key: 1 };

    /// Attempts as an isolate reports them.
    fn report(observe: impl FnOnce(&mut HealthView)) -> Lanes {
        let mut view = HealthView::default();
        observe(&mut view);
        let (report, _) = view.publish_report(1);
        let report: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        report.lanes
    }

    #[test]
    fn a_minute_has_the_attempts_the_failures_and_the_latencies_of_each_lane() {
        let mut minute = Minute::default();
        let now_ms = 100 * MINUTE_MS;
        for latency_ms in [60, 60, 60, 3_000] {
            let lanes = report(|view| view.answered(A, now_ms - latency_ms, now_ms));
            assert_eq!(minute.take(&lanes, now_ms), None);
        }
        let failure = Failure { class: Class::CredentialRejected, retry_after_ms: None };
        let lanes = report(|view| view.failed(B, &failure, false, now_ms, 0));
        assert_eq!(minute.take(&lanes, now_ms + 59_999), None);
        assert_eq!((minute.minute, minute.place(), minute.lanes.len()), (100, 100, 2));
        let [a, b] = &minute.lanes[..] else { panic!("{minute:?}") };
        assert_eq!((a.attempts, a.failures), (4, 0));
        assert_eq!((a.percentile_ms(50), a.percentile_ms(95)), (Some(71), Some(3_200)));
        assert_eq!((b.attempts, b.failures, b.percentile_ms(50)), (1, 1, None));
        let over = minute.take(&Lanes::default(), now_ms + 60_000).unwrap();
        assert_eq!((over.minute, over.lanes.len(), minute), (100, 2, Minute { minute: 101, lanes: vec![] }));
        let text = serde_json::to_string(&over).unwrap();
        assert_eq!(serde_json::from_str::<Minute>(&text).unwrap(), over);
    }

    #[test]
    fn a_history_adds_up_minutes_by_step_and_by_provider() {
        let lane = |id: LaneId<'_>| Attempts {
            provider: id.provider.to_owned(),
            model: id.model.to_owned(),
            key: id.key,
            attempts: 1,
            failures: 0,
            latencies: vec![0, 0, 1],
        };
        let stored = (0..200).rev().map(|minute| Minute { minute, lanes: vec![lane(A), lane(B)] });
        let query = HistoryQuery { minutes: 60, step: 25, by_lane: true };
        let steps = query.steps(stored.clone(), 199 * MINUTE_MS);
        let shown: Vec<_> = steps.iter().map(|step| (step.minute, step.lanes[0].attempts)).collect();
        assert_eq!(shown, [(125, 10), (150, 25), (175, 25)]);
        assert_eq!(steps[0].lanes.len(), 2);
        let steps = HistoryQuery { by_lane: false, ..query }.steps(stored, 199 * MINUTE_MS);
        assert_eq!((steps[0].lanes.len(), steps[0].lanes[0].attempts), (1, 20));
    }

    #[test]
    fn a_minute_has_a_bounded_number_of_lanes() {
        let mut minute = Minute::default();
        for number in 0..500 {
            let model = format!("m{number}");
            let id = LaneId { model: &model, ..A };
            minute.take(&report(|view| view.answered(id, 0, 1)), 1);
        }
        assert_eq!(minute.lanes.len(), MAX_LANES);
        assert!(minute.lanes.iter().all(|lane| lane.attempts == 1));
    }
}
