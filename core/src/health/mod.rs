//! How each provider, model and key has been doing.
//!
//! A [`HealthView`] is what one isolate knows: what it saw itself, at once, and what the others saw, at most two seconds later,
//! by way of the `ProviderHealth` object, whose state is [`Shared`]. What is exchanged is [`Lanes`], which add up. Nothing
//! here knows a clock, chance or the object itself.

pub mod failure;
pub mod quota;
mod shared;
mod stats;
mod view;

use serde::{Deserialize, Serialize};

pub use shared::{Report, Shared, Update};
pub use stats::{LaneStats, Outage, Totals, day_end_ms};
pub use view::{Availability, HealthView, REFRESH_MS, STALE_MS, Token};

/// A lane, by name: one model of one provider, asked with one of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneId<'a> {
    /// The provider.
    pub provider: &'a str,
    /// The model; `other` for one that is not listed: what callers may invent is counted under one name. Empty: the key
    /// itself, for what is true of all models that are asked with it.
    pub model: &'a str,
    /// The place of the key among the provider's keys.
    pub key: u8,
}

impl<'a> LaneId<'a> {
    /// The key that this lane is asked with.
    #[must_use]
    pub fn of_key(self) -> LaneId<'a> {
        LaneId { model: "", ..self }
    }
}

/// Records of lanes, sorted by their places.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lanes(Vec<Record>);

/// What is known of one lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    provider: String,
    model: String,
    key: u8,
    lane: LaneStats,
    /// In which version of the shared state it changed last.
    #[serde(skip)]
    version: u64,
}

impl Record {
    fn id(&self) -> LaneId<'_> {
        LaneId { provider: &self.provider, model: &self.model, key: self.key }
    }
}

impl Lanes {
    /// What is known of a lane.
    pub fn get(&self, id: LaneId<'_>) -> Option<&LaneStats> {
        let index = self.find(id).ok()?;
        self.0.get(index).map(|record| &record.lane)
    }

    /// The lanes of a provider, without its keys: model, key, and what is known.
    pub fn of_provider(&self, provider: &str) -> impl Iterator<Item = (&str, u8, &LaneStats)> {
        let start = self.0.partition_point(|record| record.provider.as_str() < provider);
        let records = self.0.iter().skip(start).take_while(move |record| record.provider == provider);
        records
            .filter(|record| !record.model.is_empty())
            .map(|record| (record.model.as_str(), record.key, &record.lane))
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, id: LaneId<'_>) -> Result<usize, usize> {
        self.0.binary_search_by(|record| record.id().cmp(&id))
    }

    /// A lane's record, made if there is none.
    fn record(&mut self, id: LaneId<'_>) -> Option<&mut Record> {
        let index = self.find(id).unwrap_or_else(|index| {
            let LaneId { provider, model, key } = id;
            let (provider, model) = (provider.to_owned(), model.to_owned());
            self.0.insert(index, Record { provider, model, key, lane: LaneStats::default(), version: 0 });
            index
        });
        self.0.get_mut(index)
    }

    /// Adds what has been counted of one lane.
    fn add(&mut self, id: LaneId<'_>, lane: &LaneStats) {
        if let Some(record) = self.record(id) {
            record.lane.absorb(lane);
        }
    }

    /// Adds what others have counted.
    pub fn absorb(&mut self, other: &Lanes) {
        for record in &other.0 {
            self.add(record.id(), &record.lane);
        }
    }

    /// Puts what is told in the place of what is known of the same lanes.
    fn replace(&mut self, told: &Lanes) {
        for record in &told.0 {
            if let Some(known) = self.record(record.id()) {
                known.lane = record.lane.clone();
            }
        }
    }

    /// What can be said twice: no counts.
    fn standing(&self) -> Lanes {
        let standing = |record: &Record| {
            let LaneStats { outage, quota, .. } = &record.lane;
            let lane = LaneStats { outage: *outage, quota: quota.clone(), ..LaneStats::default() };
            Record { lane, ..record.clone() }
        };
        Lanes(self.0.iter().map(standing).collect())
    }

    /// Those of these lanes that the others have too.
    fn within(&self, others: &Lanes) -> Lanes {
        Lanes(self.0.iter().filter(|record| others.find(record.id()).is_ok()).cloned().collect())
    }
}
