//! The messages between one isolate and `ProviderHealth`, the Durable Object that adds up the health views of all isolates.
//! [`HealthView`] and [`Shared`] are the gateway's own code; this module sends messages when the Worker sends them.

use gatehouse_core::health::{HealthView, LaneId, Lanes, REFRESH_MS, Report, Shared, Token, Update};

use super::ledger::{BACK_MS, DURATION_MS, MODELS, THERE_MS, per_million};
use crate::day::BEGIN_MS;
use crate::queue::Queue;
use crate::rng::Rng;

const NAMES: [&str; MODELS as usize] = ["model-0", "model-1", "model-2"];

enum Event {
    Call,
    End { model: usize, sent_ms: u64 },
    Report { report: Box<Report>, token: Token, after_response: bool },
    Update { update: Box<Update>, token: Token, after_response: bool },
    Publish,
}

struct World {
    now_ms: u64,
    queue: Queue<Event>,
    view: HealthView,
    shared: Shared,
    publishing_ms: u64,
    requests: u64,
    waited: u64,
}

/// Simulates one isolate with this many calls in ten thousand seconds.
pub fn run(calls: u64, seed: u64) -> Counts {
    let mut rng = Rng::of(&[seed, calls, 1 << 32]);
    let mut world = World {
        now_ms: BEGIN_MS,
        queue: Queue::default(),
        view: HealthView::default(),
        shared: Shared::new(1, Lanes::default()),
        publishing_ms: 0,
        requests: 0,
        waited: 0,
    };
    let gap_ms = 1e7 / calls as f64;
    let until_ms = BEGIN_MS + ((2_000.0 * gap_ms) as u64).max(60_000);
    let mut next = BEGIN_MS as f64 + rng.wait(gap_ms);
    world.queue.at(next as u64, Event::Call);
    let mut counted = 0;
    while let Some((at_ms, event)) = world.queue.pop() {
        if at_ms >= until_ms {
            break;
        }
        world.now_ms = at_ms;
        if matches!(event, Event::Call) {
            counted += 1;
            let model = rng.within(0, MODELS) as usize;
            let (shortest, longest) = DURATION_MS;
            let end_ms = at_ms + rng.within(shortest, longest);
            world.queue.at(end_ms, Event::End { model, sent_ms: at_ms });
            next += rng.wait(gap_ms);
            world.queue.at(next as u64, Event::Call);
        }
        world.step(event);
    }
    Counts { calls: counted, requests: world.requests, waited: world.waited }
}

/// The counts of a simulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls.
    pub calls: u64,
    /// Requests to the object.
    pub requests: u64,
    /// Calls that waited for the object.
    pub waited: u64,
}

impl Counts {
    /// The counts of a million calls, rounded down.
    #[must_use]
    pub fn of_a_million(self) -> Counts {
        let of = |count: u64| per_million(count, self.calls);
        Counts { calls: 1_000_000, requests: of(self.requests), waited: of(self.waited) }
    }
}

impl World {
    fn step(&mut self, event: Event) {
        let now_ms = self.now_ms;
        match event {
            Event::Call => {
                if self.view.is_stale(now_ms) {
                    let (report, token) = self.view.refresh_request(now_ms);
                    self.waited += 1;
                    self.send(report, token, false);
                } else if self.view.is_due(now_ms) {
                    self.exchange();
                }
            }
            Event::End { model, sent_ms } => {
                let model = NAMES.get(model).copied().unwrap_or_default();
                self.view.answered(LaneId { provider: "provider", model, key: 0 }, sent_ms, now_ms);
                if self.view.is_due(now_ms) {
                    self.exchange();
                } else if self.publishing_ms <= now_ms {
                    self.publishing_ms = now_ms + REFRESH_MS;
                    self.queue.at(self.publishing_ms, Event::Publish);
                }
            }
            Event::Publish => {
                if self.view.has_unpublished() {
                    self.exchange();
                }
            }
            Event::Report { report, token, after_response } => {
                self.requests += 1;
                let update = Box::new(self.shared.take(&report));
                self.queue.at(now_ms + BACK_MS, Event::Update { update, token, after_response });
            }
            Event::Update { update, token, after_response } => {
                self.view.refreshed(&update, token);
                if after_response && self.view.is_due(now_ms) {
                    self.exchange();
                }
            }
        }
    }

    fn exchange(&mut self) {
        let (report, token) = self.view.publish_report(self.now_ms);
        self.send(report, token, true);
    }

    fn send(&mut self, report: Report, token: Token, after_response: bool) {
        self.queue
            .at(self.now_ms + THERE_MS, Event::Report { report: Box::new(report), token, after_response });
    }
}
