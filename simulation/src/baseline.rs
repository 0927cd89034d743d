//! The common part of the two routing policies that Gatehouse is compared with: one list, two attempts, and streams that
//! are forwarded as they arrive, so that a stream that fails after its status line is lost.
//!
//! They get more than gateways of their kind usually have: all keys in turn, health that every isolate knows at once, the
//! same timeouts, and groups and fallbacks as lists.

use std::collections::BTreeMap;

use gatehouse_core::error::Error;

use crate::fleet::{Fleet, Outcome, TimeLimits};
use crate::queue::Queue;
use crate::rng::Rng;
use crate::scenario::{Call, Fate, Spot, World};
use crate::tally::Tally;

/// The number of attempts of a call.
const ATTEMPTS: u32 = 2;

/// A routing policy.
pub trait Router {
    /// The models to call, the best first; their keys do not matter.
    fn order(&mut self, world: &World, call: &Call, now_ms: u64) -> Vec<Spot>;
    /// Records the result of an attempt, as far as this policy reads it.
    fn settled(&mut self, spot: Spot, latency_ms: u64, result: Result<(), &Error>, now_ms: u64);
    /// True if another attempt may follow a failure.
    fn goes_on(&self, error: &Error) -> bool;
    /// The wait before the next attempt, in milliseconds.
    fn wait_ms(&self, rng: &mut Rng) -> u64;
}

enum Event {
    Attempt(usize),
    Settle(usize, Box<Outcome>),
}

struct Running {
    order: Vec<Spot>,
    spot: Spot,
    sent_ms: u64,
    attempts: u32,
}

/// Simulates a world.
pub fn run(world: &World, router: &mut dyn Router) -> Tally {
    let scenario = &world.scenario;
    let mut rng = Rng::of(&[scenario.seed, 0xBA5E]);
    let mut fleet = Fleet::new(world);
    let mut tally = Tally::default();
    let mut queue = Queue::default();
    let mut running: BTreeMap<usize, Running> = BTreeMap::new();
    let mut turns: BTreeMap<(usize, usize), u8> = BTreeMap::new();
    for call in &scenario.calls {
        queue.at(call.at_ms, Event::Attempt(call.id));
    }
    let timeouts = &world.config.timeouts;
    while let Some((now_ms, event)) = queue.pop() {
        match event {
            Event::Attempt(index) => {
                let Some(call) = scenario.calls.get(index) else { continue };
                let run = running.entry(index).or_insert_with(|| Running {
                    order: router.order(world, call, now_ms),
                    spot: Spot { provider: 0, model: 0, key: 0 },
                    sent_ms: now_ms,
                    attempts: 0,
                });
                let next = run.order.get(run.attempts as usize).or(run.order.first());
                let Some(spot) = next.copied() else {
                    fail(&mut tally, world, call, now_ms);
                    continue;
                };
                // The keys of a model take turns.
                let keys = world.provider(spot).map_or(1, |provider| provider.keys.max(1));
                let turn = turns.entry((spot.provider, spot.model)).or_default();
                *turn = (*turn + 1) % keys;
                let spot = Spot { key: *turn, ..spot };
                run.attempts += 1;
                (run.spot, run.sent_ms) = (spot, now_ms);
                let first_byte_ms = if call.stream {
                    timeouts.stream_first_byte_ms.min(timeouts.first_byte_ms)
                } else {
                    timeouts.first_byte_ms
                };
                let left_ms = (call.at_ms + u64::from(timeouts.total_ms)).saturating_sub(now_ms);
                let time_limits = TimeLimits {
                    first_byte_ms: first_byte_ms.into(),
                    stall_ms: timeouts.idle_ms.into(),
                    total_ms: left_ms,
                };
                let outcome = fleet.send(spot, call, run.attempts, now_ms, time_limits);
                tally.sent(outcome.status);
                queue.at(outcome.settled_ms, Event::Settle(index, Box::new(outcome)));
            }
            Event::Settle(index, outcome) => {
                let (Some(call), Some(run)) = (scenario.calls.get(index), running.get(&index)) else {
                    continue;
                };
                let latency_ms = now_ms.saturating_sub(run.sent_ms);
                // A stream that has started counts as answered, even if it breaks later.
                let result = if outcome.inside { Ok(()) } else { outcome.result.as_ref().map(|_| ()) };
                router.settled(run.spot, latency_ms, result, now_ms);
                match &outcome.result {
                    Ok(response) => {
                        tally.answered(world, call, run.spot, now_ms, outcome.charge, response.cut);
                    }
                    Err(error) => {
                        tally.wasted(outcome.charge);
                        if run.attempts < ATTEMPTS && !outcome.inside && router.goes_on(error) {
                            queue.at(now_ms + router.wait_ms(&mut rng), Event::Attempt(index));
                        } else {
                            fail(&mut tally, world, call, now_ms);
                        }
                    }
                }
            }
        }
    }
    tally
}

fn fail(tally: &mut Tally, world: &World, call: &Call, now_ms: u64) {
    if call.fate == Fate::Fine {
        tally.failed(world, call, now_ms);
    }
}
