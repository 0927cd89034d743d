//! The state of the simulated provider that outlives a request.

use crate::args::Options;
use crate::record::Recorder;
use crate::responses::Store;
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
    /// The kept responses.
    pub(crate) responses: Store,
    /// The key that requests to `…/messages` must have; none: they need no key.
    pub(crate) messages_key: Option<String>,
}

impl Provider {
    /// Creates the state of a server with these options.
    pub(crate) fn new(options: Options) -> Self {
        Self {
            recorder: Recorder::new(options.record),
            times: Times::default(),
            throttles: Throttles::default(),
            responses: Store::default(),
            messages_key: options.messages_key,
        }
    }

    /// Deletes all records and kept responses, and restarts the counts. Throttles stay: they end by themselves.
    pub(crate) fn clear(&self) {
        self.recorder.clear();
        self.times.clear();
        self.responses.clear();
    }
}
