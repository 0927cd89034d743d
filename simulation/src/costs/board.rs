//! The messages between one isolate and `ProviderHealth`, the Durable Object that shares the health view of all isolates.
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
    Told { report: Box<Report>, token: Token, behind: bool },
    Answered { answer: Box<Update>, token: Token, behind: bool },
    Tell,
}

struct World {
    now_ms: u64,
    queue: Queue<Event>,
    board: HealthView,
    shared: Shared,
    telling_ms: u64,
    requests: u64,
    waited: u64,
}

/// Simulates one isolate with this many calls in ten thousand seconds.
pub fn run(calls: u64, seed: u64) -> Counts {
    let mut rng = Rng::of(&[seed, calls, 1 << 32]);
    let mut world = World {
        now_ms: BEGIN_MS,
        queue: Queue::default(),
        board: HealthView::default(),
        shared: Shared::new(1, Lanes::default()),
        telling_ms: 0,
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
                if self.board.is_stale(now_ms) {
                    let (report, token) = self.board.query(now_ms);
                    self.waited += 1;
                    self.send(report, token, false);
                } else if self.board.is_due(now_ms) {
                    self.exchange();
                }
            }
            Event::End { model, sent_ms } => {
                let model = NAMES.get(model).copied().unwrap_or_default();
                self.board.answered(LaneId { provider: "provider", model, key: 0 }, sent_ms, now_ms);
                if self.board.is_due(now_ms) {
                    self.exchange();
                } else if self.telling_ms <= now_ms {
                    self.telling_ms = now_ms + REFRESH_MS;
                    self.queue.at(self.telling_ms, Event::Tell);
                }
            }
            Event::Tell => {
                if self.board.has_unpublished() {
                    self.exchange();
                }
            }
            Event::Told { report, token, behind } => {
                self.requests += 1;
                let answer = Box::new(self.shared.take(&report));
                self.queue.at(now_ms + BACK_MS, Event::Answered { answer, token, behind });
            }
            Event::Answered { answer, token, behind } => {
                self.board.refreshed(&answer, token);
                if behind && self.board.is_due(now_ms) {
                    self.exchange();
                }
            }
        }
    }

    fn exchange(&mut self) {
        let (report, token) = self.board.report(self.now_ms);
        self.send(report, token, true);
    }

    fn send(&mut self, report: Report, token: Token, behind: bool) {
        self.queue.at(self.now_ms + THERE_MS, Event::Told { report: Box::new(report), token, behind });
    }
}
