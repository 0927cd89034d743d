//! The state of the simulated provider that outlives a request.

use crate::record::Recorder;
use crate::throttle::Throttles;
use crate::when::Times;

/// The state of one server.
pub(crate) struct Provider {
    /// The requests and their outcomes.
    pub(crate) recorder: Recorder,
    /// The number of requests that have met each condition.
    pub(crate) times: Times,
    /// The throttled paths.
    pub(crate) throttles: Throttles,
}

impl Provider {
    /// Creates a state that records up to `capacity` requests.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { recorder: Recorder::new(capacity), times: Times::default(), throttles: Throttles::default() }
    }

    /// Deletes all records and restarts the counts. Throttles stay: they end by themselves.
    pub(crate) fn clear(&self) {
        self.recorder.clear();
        self.times.clear();
    }
}
