//! What the simulated provider keeps from one request to the next.

use crate::record::Recorder;
use crate::throttle::Throttles;
use crate::when::Times;

/// The memory of one server.
pub(crate) struct Provider {
    /// The requests and how their answers ended.
    pub(crate) recorder: Recorder,
    /// How often conditions have been met.
    pub(crate) times: Times,
    /// The paths that are throttled.
    pub(crate) throttles: Throttles,
}

impl Provider {
    /// Remembers up to `capacity` requests.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { recorder: Recorder::new(capacity), times: Times::default(), throttles: Throttles::default() }
    }

    /// Forgets all requests and counts from 0. Throttles stay: they end by themselves.
    pub(crate) fn clear(&self) {
        self.recorder.clear();
        self.times.clear();
    }
}
