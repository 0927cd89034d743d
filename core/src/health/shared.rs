//! The state of the `ProviderHealth` object: the sum of the reports of all isolates.

use serde::{Deserialize, Serialize};

use super::Lanes;

/// The maximum number of lanes. Lanes are those of listed models, so the catalogue of a deployment is a second bound.
const MAX_LANES: usize = 4_000;

/// A report: the observations of an isolate since its last report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The state of the object that the isolate has: the object's epoch and the version within it.
    pub seen: Option<(u64, u64)>,
    /// The observations.
    pub lanes: Lanes,
}

/// The object's response: the lanes that have changed since the state that the isolate has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// The object's epoch and the version within it.
    pub state: (u64, u64),
    /// The lanes that have changed.
    pub lanes: Lanes,
}

/// The object's state. [`Shared::lanes`] is the part that survives a restart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shared {
    epoch: u64,
    version: u64,
    lanes: Lanes,
}

impl Shared {
    /// The initial state of an object with the lanes that it has stored. `epoch` must differ from all earlier ones.
    pub fn new(epoch: u64, mut lanes: Lanes) -> Shared {
        for record in &mut lanes.0 {
            record.version = 1;
        }
        Shared { epoch, version: 1, lanes }
    }

    /// The statistics of all lanes.
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Adds a report and returns the changes that its isolate does not have.
    pub fn take(&mut self, report: &Report) -> Update {
        if !report.lanes.is_empty() {
            self.version += 1;
        }
        for reported in &report.lanes.0 {
            if let Some(record) = self.lanes.record(reported.id()) {
                record.lane.absorb(&reported.lane);
                record.version = self.version;
            }
        }
        self.remove_the_oldest();
        let known = match report.seen {
            Some((epoch, version)) if epoch == self.epoch => version,
            _ => 0,
        };
        let changed = self.lanes.0.iter().filter(|record| record.version > known).cloned().collect();
        Update { state: (self.epoch, self.version), lanes: Lanes(changed) }
    }

    fn remove_the_oldest(&mut self) {
        while self.lanes.0.len() > MAX_LANES {
            let oldest = self.lanes.0.iter().enumerate().min_by_key(|(_, record)| record.version);
            let Some((index, _)) = oldest else { return };
            self.lanes.0.remove(index);
        }
    }
}
