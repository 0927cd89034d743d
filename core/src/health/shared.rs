//! What the `ProviderHealth` object knows: the sum of what all isolates report.

use serde::{Deserialize, Serialize};

use super::Lanes;

/// The most lanes that are kept. Lanes are those of listed models, so a deployment's catalogue bounds them too.
const MAX_LANES: usize = 4_000;

/// What an isolate reports: what it has seen since its last report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The state of the object that it knows: the object's epoch, and the version in it.
    pub seen: Option<(u64, u64)>,
    /// What it has counted.
    pub lanes: Lanes,
}

/// What the object answers: the lanes that have changed since the state that the isolate knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// The object's epoch, and the version in it.
    pub state: (u64, u64),
    /// The lanes that have changed.
    pub lanes: Lanes,
}

/// The object's state. What it keeps over a restart is [`Shared::lanes`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shared {
    epoch: u64,
    version: u64,
    lanes: Lanes,
}

impl Shared {
    /// The state that an object begins with, from the lanes that it has kept. `epoch` must differ from that of any before.
    pub fn new(epoch: u64, mut lanes: Lanes) -> Shared {
        for record in &mut lanes.0 {
            record.version = 1;
        }
        Shared { epoch, version: 1, lanes }
    }

    /// Everything that is known.
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Takes a report, and says what its isolate does not know.
    pub fn take(&mut self, report: &Report) -> Update {
        if !report.lanes.is_empty() {
            self.version += 1;
        }
        for news in &report.lanes.0 {
            if let Some(record) = self.lanes.record(news.id()) {
                record.lane.absorb(&news.lane);
                record.version = self.version;
            }
        }
        self.forget_the_oldest();
        let known = match report.seen {
            Some((epoch, version)) if epoch == self.epoch => version,
            _ => 0,
        };
        let news = self.lanes.0.iter().filter(|record| record.version > known).cloned().collect();
        Update { state: (self.epoch, self.version), lanes: Lanes(news) }
    }

    fn forget_the_oldest(&mut self) {
        while self.lanes.0.len() > MAX_LANES {
            let oldest = self.lanes.0.iter().enumerate().min_by_key(|(_, record)| record.version);
            let Some((index, _)) = oldest else { return };
            self.lanes.0.remove(index);
        }
    }
}
