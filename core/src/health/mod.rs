//! The health of each provider, model and key.
//!
//! A [`HealthView`] is what one isolate knows: its own observations at once, those of the other isolates at most two
//! seconds later. Isolates exchange [`Lanes`] through the `ProviderHealth` object, whose state is [`Shared`]; lanes can
//! be added up. This module does not know clocks, randomness or the object itself.

pub mod failure;
pub mod minutes;
pub mod quota;
mod shared;
mod stats;
mod view;

use serde::{Deserialize, Serialize};

pub use shared::{Report, Shared, Update};
pub use stats::{Cooldown, LaneStats, LastError, Totals, day_end_ms};
pub use view::{Availability, HealthView, REFRESH_MS, STALE_MS, Token};

/// The id of a lane: one model of one provider, reached with one of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneId<'a> {
    /// The provider.
    pub provider: &'a str,
    /// The model; `other` for all models that are not listed, because callers can invent any number of names. Empty for
    /// the key itself: statistics that apply to all models reached with it.
    pub model: &'a str,
    /// The index of the key among the provider's keys.
    pub key: u8,
}

impl<'a> LaneId<'a> {
    /// The id of the key that this lane uses.
    #[must_use]
    pub fn of_key(self) -> LaneId<'a> {
        LaneId { model: "", ..self }
    }
}

/// Statistics of lanes, sorted by id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lanes(Vec<Record>);

/// The statistics of one lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    provider: String,
    model: String,
    key: u8,
    lane: LaneStats,
    /// The version of the shared state in which the record last changed.
    #[serde(skip)]
    version: u64,
}

impl Record {
    fn id(&self) -> LaneId<'_> {
        LaneId { provider: &self.provider, model: &self.model, key: self.key }
    }
}

impl Lanes {
    /// The statistics of a lane.
    pub fn get(&self, id: LaneId<'_>) -> Option<&LaneStats> {
        let index = self.find(id).ok()?;
        self.0.get(index).map(|record| &record.lane)
    }

    /// The lanes of a provider, without its keys: model, key and statistics.
    pub fn of_provider(&self, provider: &str) -> impl Iterator<Item = (&str, u8, &LaneStats)> {
        let start = self.0.partition_point(|record| record.provider.as_str() < provider);
        let records = self.0.iter().skip(start).take_while(move |record| record.provider == provider);
        records
            .filter(|record| !record.model.is_empty())
            .map(|record| (record.model.as_str(), record.key, &record.lane))
    }

    /// The statistics of the keys of a provider themselves: the index of the key, and what applies to all its models.
    pub fn of_keys(&self, provider: &str) -> impl Iterator<Item = (u8, &LaneStats)> {
        let of_key = move |record: &&Record| record.provider == provider && record.model.is_empty();
        self.0.iter().filter(of_key).map(|record| (record.key, &record.lane))
    }

    /// The weights of recent outcomes of each provider, as [`LaneStats::outcomes`] has them.
    pub fn outcomes(&self, now_ms: u64) -> Vec<(&str, [f64; 2])> {
        let mut sums: Vec<(&str, [f64; 2])> = Vec::new();
        for record in self.0.iter().filter(|record| !record.model.is_empty()) {
            let [good, bad] = record.lane.outcomes(now_ms);
            match sums.last_mut().filter(|(provider, _)| *provider == record.provider) {
                Some((_, [all_good, all_bad])) => {
                    *all_good += good;
                    *all_bad += bad;
                }
                None => sums.push((&record.provider, [good, bad])),
            }
        }
        sums
    }

    /// Returns `true` if no lane has statistics.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, id: LaneId<'_>) -> Result<usize, usize> {
        self.0.binary_search_by(|record| record.id().cmp(&id))
    }

    /// The record of a lane; inserted if missing.
    fn record(&mut self, id: LaneId<'_>) -> Option<&mut Record> {
        let index = self.find(id).unwrap_or_else(|index| {
            let LaneId { provider, model, key } = id;
            let (provider, model) = (provider.to_owned(), model.to_owned());
            self.0.insert(index, Record { provider, model, key, lane: LaneStats::default(), version: 0 });
            index
        });
        self.0.get_mut(index)
    }

    /// Adds statistics to those of one lane.
    fn add(&mut self, id: LaneId<'_>, lane: &LaneStats) {
        if let Some(record) = self.record(id) {
            record.lane.absorb(lane);
        }
    }

    /// Adds the statistics of other lanes to these.
    pub fn absorb(&mut self, other: &Lanes) {
        for record in &other.0 {
            self.add(record.id(), &record.lane);
        }
    }

    /// Replaces the statistics of the lanes that `others` contains.
    fn replace(&mut self, others: &Lanes) {
        for record in &others.0 {
            if let Some(known) = self.record(record.id()) {
                known.lane = record.lane.clone();
            }
        }
    }

    /// A copy without counts: the part that can be applied twice.
    fn without_counts(&self) -> Lanes {
        let without_counts = |record: &Record| {
            let LaneStats { cooldown, quota, last_error, .. } = &record.lane;
            let (quota, last_error) = (quota.clone(), last_error.clone());
            let lane = LaneStats { cooldown: *cooldown, quota, last_error, ..LaneStats::default() };
            Record { lane, ..record.clone() }
        };
        Lanes(self.0.iter().map(without_counts).collect())
    }

    /// The lanes that `others` contains too.
    fn within(&self, others: &Lanes) -> Lanes {
        Lanes(self.0.iter().filter(|record| others.find(record.id()).is_ok()).cloned().collect())
    }
}
