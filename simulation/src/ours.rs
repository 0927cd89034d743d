//! Gatehouse's routing: the code of `gatehouse-core`, in several isolates that publish their observations to each other
//! as `src/isolate/health.rs` does. Makes no decisions: each call runs the Worker's own driver.

use std::collections::BTreeMap;
use std::rc::Rc;

use gatehouse_core::format;
use gatehouse_core::health::failure::{Class, Failure};
use gatehouse_core::health::{Availability, HealthView, Lanes, REFRESH_MS, Report, Shared, Token, Update};
use gatehouse_core::ledger::Reservation;
use gatehouse_core::ledger::estimate::Estimate;
use gatehouse_core::operation::CHAT_COMPLETIONS;
use gatehouse_core::route::affinity::Affinity;
use gatehouse_core::route::candidates::{self, Candidate, RouteQuery};
use gatehouse_core::route::driver::{Answered, AttemptLimits, Command, Driver, Send};
use gatehouse_core::route::plan::{LaneIndex, Limits, Plan};
use gatehouse_core::route::response::Refusal;

use crate::fleet::{Fleet, Outcome, TimeLimits};
use crate::queue::Queue;
use crate::rng::Rng;
use crate::scenario::{Call, Fate, Spot, World};
use crate::tally::Tally;

/// The timeout of an update that a call waits for, in milliseconds, as in `src/objects/provider_health.rs`.
pub const CALL_TIMEOUT_MS: u64 = 500;
/// The timeout of a report after a response.
pub const REPORT_TIMEOUT_MS: u64 = 5_000;
/// The interval at which the object stores its state, in milliseconds.
const STORE_MS: u64 = 5_000;

/// An event that can be seen from outside.
#[derive(Debug)]
pub enum Observation<'s> {
    /// A call has a plan.
    Planned {
        /// The call.
        call: &'s Call,
        /// Its isolate.
        isolate: usize,
        /// Its lanes, in order, and their availability.
        lanes: &'s [(Spot, Availability)],
    },
    /// A plan has been updated with later observations.
    Replanned {
        /// The call.
        call: &'s Call,
        /// Its lanes and their availability.
        lanes: &'s [(Spot, Availability)],
    },
    /// An attempt was sent.
    Sent {
        /// The call.
        call: &'s Call,
        /// Its lane.
        spot: Spot,
        /// True if another attempt is in flight.
        hedge: bool,
    },
    /// An attempt has settled.
    Settled {
        /// The call.
        call: &'s Call,
        /// Its isolate.
        isolate: usize,
        /// Its lane.
        spot: Spot,
        /// The time of sending, in milliseconds since 1970.
        sent_ms: u64,
        /// Its failure, if it failed.
        failure: Option<Failure>,
    },
    /// An attempt was cancelled because another was answered.
    Cancelled {
        /// The call.
        call: &'s Call,
        /// Its lane.
        spot: Spot,
    },
    /// A stream broke off.
    Broke {
        /// Its lane.
        spot: Spot,
    },
    /// A call waits.
    Waits {
        /// The call.
        call: &'s Call,
        /// The wait, in milliseconds.
        ms: u32,
    },
    /// A call has ended.
    Ended {
        /// The call.
        call: &'s Call,
        /// True if it got its response.
        answered: bool,
    },
}

/// A function that gets each event with its time, in milliseconds since 1970.
pub type Watch<'w> = &'w mut dyn FnMut(u64, &Observation<'_>);

/// The results of a run.
#[derive(Debug)]
pub struct Results {
    /// The measurements.
    pub tally: Tally,
    /// The final health view of each isolate, after all have published everything.
    pub views: Vec<HealthView>,
}

enum Event {
    Arrive(usize),
    Wake(usize),
    Hedge { call: usize, flight: u64 },
    Settle { call: usize, flight: u64 },
    Ends { isolate: usize, spot: Spot, cut: bool },
    Publish(usize),
    Report { delivery: Box<Delivery>, answered: bool },
    Answered { isolate: usize, update: Box<Update>, token: Token, waiting: Option<usize> },
    Unanswered { isolate: usize, token: Token, waiting: Option<usize> },
    Store,
    Restart,
}

/// A report in flight.
struct Delivery {
    isolate: usize,
    report: Report,
    token: Token,
    sent_ms: u64,
    waiting: Option<usize>,
}

#[derive(Default)]
struct Isolate {
    view: HealthView,
    publishing_ms: u64,
}

struct Flight {
    number: u64,
    lane: LaneIndex,
    spot: Spot,
    sent_ms: u64,
    outcome: Outcome,
}

struct Running<'w> {
    isolate: usize,
    driver: Driver<'w>,
    flights: Vec<Flight>,
}

struct Object {
    shared: Shared,
    stored: Lanes,
    storing: bool,
    epoch: u64,
}

struct Simulation<'w, 'o> {
    world: &'w World,
    watch: Watch<'o>,
    queue: Queue<Event>,
    rng: Rng,
    fleet: Fleet<'w>,
    tally: Tally,
    isolates: Vec<Isolate>,
    /// The isolate that runs in each slot.
    slots: Vec<usize>,
    ends_ms: Vec<u64>,
    running: BTreeMap<usize, Running<'w>>,
    object: Object,
    flights: u64,
}

/// Simulates a world; `watch` gets every event.
pub fn run(world: &World, watch: Watch<'_>) -> Results {
    let scenario = &world.scenario;
    let mut simulation = Simulation {
        world,
        watch,
        queue: Queue::default(),
        rng: Rng::of(&[scenario.seed, 0x0425]),
        fleet: Fleet::new(world),
        tally: Tally::default(),
        isolates: Vec::new(),
        slots: Vec::new(),
        ends_ms: Vec::new(),
        running: BTreeMap::new(),
        object: Object {
            shared: Shared::new(1, Lanes::default()),
            stored: Lanes::default(),
            storing: false,
            epoch: 1,
        },
        flights: 0,
    };
    let begin_ms = scenario.calls.first().map_or(0, |call| call.at_ms);
    for _ in 0..scenario.isolates.max(1) {
        let isolate = simulation.isolates.len();
        simulation.isolates.push(Isolate::default());
        simulation.slots.push(isolate);
        let life = simulation.life_ms();
        simulation.ends_ms.push(begin_ms.saturating_add(life));
    }
    for call in &scenario.calls {
        simulation.queue.at(call.at_ms, Event::Arrive(call.id));
    }
    for at_ms in &scenario.restarts {
        simulation.queue.at(*at_ms, Event::Restart);
    }
    let mut last_ms = begin_ms;
    while let Some((now_ms, event)) = simulation.queue.pop() {
        last_ms = now_ms;
        simulation.handle(event, now_ms);
    }
    simulation.finish(last_ms)
}

impl<'w> Simulation<'w, '_> {
    fn life_ms(&mut self) -> u64 {
        match self.world.scenario.isolate_life_ms {
            None => u64::MAX,
            Some(mean) => self.rng.wait(mean as f64) as u64,
        }
    }

    fn call(&self, index: usize) -> Option<&'w Call> {
        self.world.scenario.calls.get(index)
    }

    fn handle(&mut self, event: Event, now_ms: u64) {
        match event {
            Event::Arrive(call) => self.arrive(call, now_ms),
            Event::Wake(call) => self.wake(call, now_ms),
            Event::Hedge { call, flight } => self.hedge(call, flight, now_ms),
            Event::Settle { call, flight } => self.settle(call, flight, now_ms),
            Event::Ends { isolate, spot, cut } => self.ends(isolate, spot, cut, now_ms),
            Event::Publish(isolate) => {
                if self.isolates.get(isolate).is_some_and(|isolate| isolate.view.has_unpublished()) {
                    self.exchange(isolate, None, now_ms);
                }
            }
            Event::Report { delivery, answered } => self.deliver(*delivery, answered, now_ms),
            Event::Answered { isolate: index, update, token, waiting } => {
                if let Some(isolate) = self.isolates.get_mut(index) {
                    isolate.view.refreshed(&update, token);
                }
                self.exchanged(index, waiting, now_ms);
            }
            Event::Unanswered { isolate: index, token, waiting } => {
                if let Some(isolate) = self.isolates.get_mut(index) {
                    isolate.view.not_refreshed(token);
                }
                self.exchanged(index, waiting, now_ms);
            }
            Event::Store => {
                self.object.storing = false;
                self.object.stored = self.object.shared.lanes().clone();
            }
            Event::Restart => {
                self.object.epoch += 1;
                self.object.shared = Shared::new(self.object.epoch, self.object.stored.clone());
            }
        }
    }

    /// Ends an exchange. The call that waited for the update, if any, goes on; otherwise urgent observations that were
    /// made in the meantime are published now.
    fn exchanged(&mut self, isolate: usize, waiting: Option<usize>, now_ms: u64) {
        if let Some(call) = waiting {
            self.plan(call, isolate, now_ms);
        } else if self.isolates.get(isolate).is_some_and(|isolate| isolate.view.is_due(now_ms)) {
            self.exchange(isolate, None, now_ms);
        }
    }

    // --- The exchange, as in src/isolate/health.rs ---

    fn exchange(&mut self, isolate: usize, waiting: Option<usize>, now_ms: u64) {
        let Some(Isolate { view, .. }) = self.isolates.get_mut(isolate) else { return };
        let (report, token) = match waiting {
            Some(_) => view.refresh_request(now_ms),
            None => view.publish_report(now_ms),
        };
        let exchange = self.world.scenario.exchange;
        let way_ms = self.rng.within(exchange.way_ms.0, exchange.way_ms.1 + 1);
        if self.rng.chance(exchange.lost) {
            return self
                .queue
                .at(now_ms + timeout_ms(waiting), Event::Unanswered { isolate, token, waiting });
        }
        let answered = !self.rng.chance(exchange.unanswered);
        let delivery = Box::new(Delivery { isolate, report, token, sent_ms: now_ms, waiting });
        self.queue.at(now_ms + way_ms, Event::Report { delivery, answered });
    }

    fn deliver(&mut self, delivery: Delivery, answered: bool, now_ms: u64) {
        let Delivery { isolate, report, token, sent_ms, waiting } = delivery;
        let update = self.object.shared.take(&report);
        if !report.lanes.is_empty() && !self.object.storing {
            self.object.storing = true;
            self.queue.at(now_ms + STORE_MS, Event::Store);
        }
        let way_ms = self.world.scenario.exchange.way_ms;
        let back_ms = now_ms + self.rng.within(way_ms.0, way_ms.1 + 1);
        let until_ms = sent_ms + timeout_ms(waiting);
        if answered && back_ms < until_ms {
            self.queue.at(back_ms, Event::Answered { isolate, update: Box::new(update), token, waiting });
        } else {
            self.queue.at(until_ms, Event::Unanswered { isolate, token, waiting });
        }
    }

    fn publish(&mut self, index: usize, now_ms: u64) {
        let Some(isolate) = self.isolates.get_mut(index) else { return };
        if !isolate.view.has_unpublished() {
            return;
        }
        if isolate.view.is_due(now_ms) {
            return self.exchange(index, None, now_ms);
        }
        if isolate.publishing_ms <= now_ms {
            isolate.publishing_ms = now_ms + REFRESH_MS;
            self.queue.at(isolate.publishing_ms, Event::Publish(index));
        }
    }

    // --- A call, as in src/inference ---

    fn arrive(&mut self, index: usize, now_ms: u64) {
        let Some(call) = self.call(index) else { return };
        let slot = call.isolate % self.slots.len().max(1);
        if self.ends_ms.get(slot).is_some_and(|ends_ms| *ends_ms <= now_ms) {
            // A new isolate has an empty health view.
            let (isolate, life_ms) = (self.isolates.len(), self.life_ms());
            self.isolates.push(Isolate::default());
            if let (Some(at), Some(ends_ms)) = (self.slots.get_mut(slot), self.ends_ms.get_mut(slot)) {
                (*at, *ends_ms) = (isolate, now_ms.saturating_add(life_ms));
            }
        }
        let isolate = self.isolate_of(call);
        let Some(Isolate { view, .. }) = self.isolates.get(isolate) else { return };
        if view.is_stale(now_ms) {
            return self.exchange(isolate, Some(index), now_ms);
        }
        if view.is_due(now_ms) {
            self.exchange(isolate, None, now_ms);
        }
        self.plan(index, isolate, now_ms);
    }

    fn isolate_of(&self, call: &Call) -> usize {
        self.slots.get(call.isolate % self.slots.len().max(1)).copied().unwrap_or(0)
    }

    fn plan(&mut self, index: usize, isolate: usize, now_ms: u64) {
        let Some(call) = self.call(index) else { return };
        let world = self.world;
        let body = call.body();
        let chance = self.rng.number();
        let Some(Isolate { view, .. }) = self.isolates.get(isolate) else { return };
        let selected = format::read(&CHAT_COMPLETIONS, &body).and_then(|request| {
            let session = call.session.map(|session| session.to_string());
            let affinity = if world.config.routing.sticky {
                Affinity::of("caller", session.as_deref(), request.prompt, chance)
            } else {
                Affinity::of("", None, "", chance)
            };
            let query = RouteQuery {
                request: &request,
                force_model: None,
                force_provider: None,
                key: None,
                config: &world.config,
                registry: &world.registry,
                view,
                affinity,
                now_ms,
                explain: false,
            };
            let selection = candidates::select(&query)?;
            let limits = Limits::of(&world.config, call.at_ms);
            let plan = Plan::new(&selection.candidates, view, affinity, limits, now_ms);
            let rule = world.config.ledger.unknown_price;
            let reservation = Reservation::new(Vec::new(), Estimate::of(&request.size), rule, &request.model);
            let candidates = selection.candidates.into();
            Ok(Driver::new(candidates, &world.config, call.stream, plan, reservation))
        });
        match selected {
            Ok(driver) => {
                let lanes = lanes_of(world, &driver, view, now_ms);
                (self.watch)(now_ms, &Observation::Planned { call, isolate, lanes: &lanes });
                self.running.insert(index, Running { isolate, driver, flights: Vec::new() });
                self.step(index, now_ms);
            }
            Err(_) => self.end(index, isolate, now_ms),
        }
    }

    /// Carries out the commands of the driver of a call, until it waits.
    fn step(&mut self, index: usize, now_ms: u64) {
        let Some(call) = self.call(index) else { return };
        loop {
            let Some(running) = self.running.get_mut(&index) else { return };
            let Some(Isolate { view, .. }) = self.isolates.get_mut(running.isolate) else { return };
            if running.driver.asks_plan() && running.driver.plan().attempts() > 0 {
                let lanes = lanes_of(self.world, &running.driver, view, now_ms);
                (self.watch)(now_ms, &Observation::Replanned { call, lanes: &lanes });
            }
            match running.driver.next(now_ms, view) {
                Command::Send(send) => self.send(index, send, now_ms),
                // A key without limits reserves nothing.
                Command::Reserve(_) => return,
                Command::Await(limit_ms) => {
                    if let (Some(ms), [only]) = (limit_ms, running.flights.as_slice()) {
                        let hedge = Event::Hedge { call: index, flight: only.number };
                        self.queue.at(now_ms + u64::from(ms), hedge);
                    }
                    return;
                }
                Command::Wait(ms) => {
                    (self.watch)(now_ms, &Observation::Waits { call, ms });
                    return self.queue.at(now_ms + u64::from(ms), Event::Wake(index));
                }
                Command::Finish(Ok(answered)) => return self.answered(index, &answered, now_ms),
                Command::Finish(Err(_)) => {
                    let isolate = running.isolate;
                    self.running.remove(&index);
                    return self.end(index, isolate, now_ms);
                }
            }
        }
    }

    /// Ends the wait of a call.
    fn wake(&mut self, index: usize, now_ms: u64) {
        let Some(running) = self.running.get_mut(&index) else { return };
        running.driver.elapsed(now_ms);
        self.step(index, now_ms);
    }

    /// Ends a call without a response.
    fn end(&mut self, index: usize, isolate: usize, now_ms: u64) {
        let Some(call) = self.call(index) else { return };
        (self.watch)(now_ms, &Observation::Ended { call, answered: false });
        if call.fate == Fate::Fine {
            self.tally.failed(self.world, call, now_ms);
        }
        self.publish(isolate, now_ms);
    }

    fn send(&mut self, index: usize, send: Send, now_ms: u64) {
        let world = self.world;
        let (Some(call), Some(running)) = (self.call(index), self.running.get_mut(&index)) else { return };
        let Some(spot) = spot(world, running.driver.candidates(), send.lane) else { return };
        let AttemptLimits { first_byte_ms, stall_ms, total_ms } = send.limits;
        let time_limits = TimeLimits {
            first_byte_ms: first_byte_ms.into(),
            stall_ms: stall_ms.into(),
            total_ms: total_ms.into(),
        };
        (self.watch)(now_ms, &Observation::Sent { call, spot, hedge: send.is_hedge });
        let outcome = self.fleet.send(spot, call, running.driver.plan().attempts(), now_ms, time_limits);
        self.tally.sent(outcome.status);
        self.flights += 1;
        let flight = self.flights;
        self.queue.at(outcome.settled_ms, Event::Settle { call: index, flight });
        running.flights.push(Flight { number: flight, lane: send.lane, spot, sent_ms: now_ms, outcome });
    }

    /// Sends the hedge of a call, if its first attempt is still in flight.
    fn hedge(&mut self, index: usize, flight: u64, now_ms: u64) {
        let Some(running) = self.running.get_mut(&index) else { return };
        if matches!(running.flights.as_slice(), [only] if only.number == flight) {
            running.driver.elapsed(now_ms);
            self.step(index, now_ms);
        }
    }

    fn settle(&mut self, index: usize, number: u64, now_ms: u64) {
        let (Some(call), Some(running)) = (self.call(index), self.running.get_mut(&index)) else { return };
        let Some(at) = running.flights.iter().position(|flight| flight.number == number) else { return };
        let Flight { lane, spot, sent_ms, outcome, .. } = running.flights.remove(at);
        let isolate = running.isolate;
        let candidates = Rc::clone(running.driver.candidates());
        let (Some(candidate), Some(Isolate { view, .. })) =
            (candidates.get(lane.candidate), self.isolates.get_mut(isolate))
        else {
            return;
        };
        if outcome.status != 0 {
            view.observe_limits(
                candidate.lane(lane.key),
                candidate.provider.limit_headers,
                outcome.status == 200,
                |name| outcome.header(name),
                now_ms,
            );
        }
        let result = match &outcome.result {
            Ok(_) => Ok(()),
            Err(error) => {
                let retry_headers =
                    outcome.header("retry-after").map(|value| ("retry-after", value)).into_iter().collect();
                Err(Box::new(Refusal { retry_headers, ..Refusal::from(error.clone()) }))
            }
        };
        let failure = running.driver.settled(lane, result, now_ms, view, || self.rng.number());
        (self.watch)(now_ms, &Observation::Settled { call, isolate, spot, sent_ms, failure });
        if let Ok(response) = &outcome.result {
            self.tally.answered(self.world, call, spot, now_ms, outcome.charge, response.cut);
            if call.stream {
                self.queue.at(response.ends_ms, Event::Ends { isolate, spot, cut: response.cut });
            }
        } else {
            self.tally.wasted(outcome.charge);
            self.publish(isolate, now_ms);
        }
        self.step(index, now_ms);
    }

    /// Ends a call with its response; the slower attempts are cancelled.
    fn answered(&mut self, index: usize, answered: &Answered, now_ms: u64) {
        let (Some(call), Some(running)) = (self.call(index), self.running.remove(&index)) else { return };
        for flight in running.flights.iter().filter(|flight| answered.slower.contains(&flight.lane)) {
            (self.watch)(now_ms, &Observation::Cancelled { call, spot: flight.spot });
            self.tally.wasted(self.world.price(flight.spot, call, 0.0));
        }
        (self.watch)(now_ms, &Observation::Ended { call, answered: true });
        self.publish(running.isolate, now_ms);
    }

    /// Ends a stream.
    fn ends(&mut self, isolate: usize, spot: Spot, cut: bool, now_ms: u64) {
        let world = self.world;
        if cut && let Some(Isolate { view, .. }) = self.isolates.get_mut(isolate) {
            let failure = Failure { class: Class::Broken, retry_after_ms: None };
            let chance = self.rng.number();
            if let (Some(provider), Some(model)) = (world.provider(spot), world.model(spot)) {
                let lane = gatehouse_core::health::LaneId {
                    provider: &provider.name,
                    model: &model.id,
                    key: spot.key,
                };
                view.failed(lane, &failure, true, now_ms, chance);
            }
            (self.watch)(now_ms, &Observation::Broke { spot });
        }
        self.publish(isolate, now_ms);
    }

    /// Ends the simulation: all isolates publish what is left, twice, so that the first also gets the last one's
    /// observations.
    fn finish(mut self, last_ms: u64) -> Results {
        for round in 1..=2 {
            for isolate in &mut self.isolates {
                let (report, token) = isolate.view.publish_report(last_ms + round * 20_000);
                let update = self.object.shared.take(&report);
                isolate.view.refreshed(&update, token);
            }
        }
        let views = self.isolates.into_iter().map(|isolate| isolate.view).collect();
        Results { tally: self.tally, views }
    }
}

fn spot(world: &World, candidates: &[Candidate<'_>], lane: LaneIndex) -> Option<Spot> {
    let candidate = candidates.get(lane.candidate)?;
    let spot = world.spot(&candidate.provider.name, &candidate.model)?;
    Some(Spot { key: lane.key, ..spot })
}

/// The lanes of a call's plan and their availability.
fn lanes_of(world: &World, driver: &Driver<'_>, view: &HealthView, now_ms: u64) -> Vec<(Spot, Availability)> {
    let candidates = driver.candidates();
    let lanes = driver.plan().lanes().filter_map(|(lane, _)| {
        let candidate = candidates.get(lane.candidate)?;
        let per_day = candidate.facts.requests_per_day;
        let availability = view.availability(candidate.lane(lane.key), per_day, now_ms);
        Some((spot(world, candidates, lane)?, availability))
    });
    lanes.collect()
}

/// The timeout of an exchange: short if a call waits for it.
fn timeout_ms(waiting: Option<usize>) -> u64 {
    if waiting.is_some() { CALL_TIMEOUT_MS } else { REPORT_TIMEOUT_MS }
}
