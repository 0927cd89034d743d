//! Gatehouse's routing: the code of `gatehouse-core`, in several isolates that publish to each other what they see, as
//! `src/isolate/health.rs` does. Decides nothing itself: each call runs the Worker's own driver.

use std::collections::BTreeMap;
use std::rc::Rc;

use gatehouse_core::format;
use gatehouse_core::health::failure::{Class, Failure};
use gatehouse_core::health::{
    Availability, HealthView, Lanes, REFRESH_MS, Report, Shared, Token, Update as News,
};
use gatehouse_core::ledger::Reservation;
use gatehouse_core::ledger::estimate::Estimate;
use gatehouse_core::operation::CHAT_COMPLETIONS;
use gatehouse_core::route::affinity::Affinity;
use gatehouse_core::route::candidates::{self, Candidate, RouteQuery};
use gatehouse_core::route::driver::{Answered, AttemptLimits, Command, Driver, Send};
use gatehouse_core::route::plan::{LaneIndex, Limits, Plan};
use gatehouse_core::route::response::Refusal;

use crate::fleet::{Fleet, Patience, Reply};
use crate::queue::Queue;
use crate::rng::Rng;
use crate::scenario::{Call, Fate, Spot, World};
use crate::tally::Tally;

/// How long a call waits for news, in milliseconds: as `src/objects/provider_health.rs` has it.
pub const CALL_PATIENCE_MS: u64 = 500;
/// How long a report behind an answer waits.
pub const PATIENCE_MS: u64 = 5_000;
/// After how many milliseconds the object writes down what it knows.
const KEEP_MS: u64 = 5_000;

/// Something that can be seen from outside.
#[derive(Debug)]
pub enum Seen<'s> {
    /// A call's plan was made.
    Planned {
        /// The call.
        call: &'s Call,
        /// Its isolate.
        isolate: usize,
        /// Its lanes, in order, and whether each can be asked.
        lanes: &'s [(Spot, Availability)],
    },
    /// A plan was told what has been found out since.
    LookedAgain {
        /// The call.
        call: &'s Call,
        /// Its lanes, and whether each can be asked.
        lanes: &'s [(Spot, Availability)],
    },
    /// An attempt began.
    Sent {
        /// The call.
        call: &'s Call,
        /// Whom it was sent to.
        spot: Spot,
        /// Whether another attempt is under way.
        hedge: bool,
    },
    /// An attempt is over.
    Settled {
        /// The call.
        call: &'s Call,
        /// Its isolate.
        isolate: usize,
        /// Whom it was sent to.
        spot: Spot,
        /// When, in milliseconds since 1970.
        sent_ms: u64,
        /// How it failed, if it did.
        failure: Option<Failure>,
    },
    /// An attempt was cancelled since another was answered.
    Cancelled {
        /// The call.
        call: &'s Call,
        /// Whom it was sent to.
        spot: Spot,
    },
    /// A stream that had begun was cut.
    Broke {
        /// Whom it was sent to.
        spot: Spot,
    },
    /// The call waits for so many milliseconds.
    Waits {
        /// The call.
        call: &'s Call,
        /// For how long.
        ms: u32,
    },
    /// The call is over: it has its answer, or it will get none.
    Ended {
        /// The call.
        call: &'s Call,
        /// Whether it has its answer.
        answered: bool,
    },
}

/// Looks on: when it happened, in milliseconds since 1970, and what.
pub type Watch<'w> = &'w mut dyn FnMut(u64, &Seen<'_>);

/// What is left when all is over.
#[derive(Debug)]
pub struct Aftermath {
    /// The measurements.
    pub tally: Tally,
    /// What each isolate knows in the end, when all have told all.
    pub views: Vec<HealthView>,
}

enum Event {
    Arrive(usize),
    Wake(usize),
    Hedge { call: usize, flight: u64 },
    Settle { call: usize, flight: u64 },
    Ends { isolate: usize, spot: Spot, cut: bool },
    TellLater(usize),
    Told { exchange: Box<Told>, answered: bool },
    Answered { isolate: usize, news: Box<News>, token: Token, waiting: Option<usize> },
    Unanswered { isolate: usize, token: Token, waiting: Option<usize> },
    Keep,
    Restart,
}

/// A report on its way.
struct Told {
    isolate: usize,
    report: Report,
    token: Token,
    sent_ms: u64,
    waiting: Option<usize>,
}

#[derive(Default)]
struct Isolate {
    view: HealthView,
    telling_ms: u64,
}

struct Flight {
    number: u64,
    lane: LaneIndex,
    spot: Spot,
    sent_ms: u64,
    reply: Reply,
}

struct Running<'w> {
    isolate: usize,
    driver: Driver<'w>,
    flights: Vec<Flight>,
}

struct Object {
    shared: Shared,
    kept: Lanes,
    keeping: bool,
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
    /// Which isolate runs in which place.
    places: Vec<usize>,
    ends_ms: Vec<u64>,
    running: BTreeMap<usize, Running<'w>>,
    object: Object,
    flights: u64,
}

/// Runs a world; `watch` sees what happens.
pub fn run(world: &World, watch: Watch<'_>) -> Aftermath {
    let scenario = &world.scenario;
    let mut simulation = Simulation {
        world,
        watch,
        queue: Queue::default(),
        rng: Rng::of(&[scenario.seed, 0x0425]),
        fleet: Fleet::new(world),
        tally: Tally::default(),
        isolates: Vec::new(),
        places: Vec::new(),
        ends_ms: Vec::new(),
        running: BTreeMap::new(),
        object: Object {
            shared: Shared::new(1, Lanes::default()),
            kept: Lanes::default(),
            keeping: false,
            epoch: 1,
        },
        flights: 0,
    };
    let begin_ms = scenario.calls.first().map_or(0, |call| call.at_ms);
    for _ in 0..scenario.isolates.max(1) {
        let isolate = simulation.isolates.len();
        simulation.isolates.push(Isolate::default());
        simulation.places.push(isolate);
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
    simulation.quiet(last_ms)
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
            Event::TellLater(isolate) => {
                if self.isolates.get(isolate).is_some_and(|isolate| isolate.view.has_unpublished()) {
                    self.exchange(isolate, None, now_ms);
                }
            }
            Event::Told { exchange, answered } => self.told(*exchange, answered, now_ms),
            Event::Answered { isolate: index, news, token, waiting } => {
                if let Some(isolate) = self.isolates.get_mut(index) {
                    isolate.view.refreshed(&news, token);
                }
                self.exchanged(index, waiting, now_ms);
            }
            Event::Unanswered { isolate: index, token, waiting } => {
                if let Some(isolate) = self.isolates.get_mut(index) {
                    isolate.view.not_refreshed(token);
                }
                self.exchanged(index, waiting, now_ms);
            }
            Event::Keep => {
                self.object.keeping = false;
                self.object.kept = self.object.shared.lanes().clone();
            }
            Event::Restart => {
                self.object.epoch += 1;
                self.object.shared = Shared::new(self.object.epoch, self.object.kept.clone());
            }
        }
    }

    /// An exchange is over. The call that waited for news, if one did, goes on; otherwise what the others should know at
    /// once, and was seen in the meantime, is told now.
    fn exchanged(&mut self, isolate: usize, waiting: Option<usize>, now_ms: u64) {
        if let Some(call) = waiting {
            self.plan(call, isolate, now_ms);
        } else if self.isolates.get(isolate).is_some_and(|isolate| isolate.view.is_due(now_ms)) {
            self.exchange(isolate, None, now_ms);
        }
    }

    // --- The exchange, as src/isolate/health.rs has it ---------------------------------------------------------------

    fn exchange(&mut self, isolate: usize, waiting: Option<usize>, now_ms: u64) {
        let Some(Isolate { view, .. }) = self.isolates.get_mut(isolate) else { return };
        let (report, token) = match waiting {
            Some(_) => view.query(now_ms),
            None => view.report(now_ms),
        };
        let exchange = self.world.scenario.exchange;
        let way_ms = self.rng.within(exchange.way_ms.0, exchange.way_ms.1 + 1);
        if self.rng.chance(exchange.lost) {
            return self
                .queue
                .at(now_ms + patience_ms(waiting), Event::Unanswered { isolate, token, waiting });
        }
        let answered = !self.rng.chance(exchange.unanswered);
        let told = Box::new(Told { isolate, report, token, sent_ms: now_ms, waiting });
        self.queue.at(now_ms + way_ms, Event::Told { exchange: told, answered });
    }

    fn told(&mut self, told: Told, answered: bool, now_ms: u64) {
        let Told { isolate, report, token, sent_ms, waiting } = told;
        let news = self.object.shared.take(&report);
        if !report.lanes.is_empty() && !self.object.keeping {
            self.object.keeping = true;
            self.queue.at(now_ms + KEEP_MS, Event::Keep);
        }
        let way_ms = self.world.scenario.exchange.way_ms;
        let back_ms = now_ms + self.rng.within(way_ms.0, way_ms.1 + 1);
        let until_ms = sent_ms + patience_ms(waiting);
        if answered && back_ms < until_ms {
            self.queue.at(back_ms, Event::Answered { isolate, news: Box::new(news), token, waiting });
        } else {
            self.queue.at(until_ms, Event::Unanswered { isolate, token, waiting });
        }
    }

    fn tell(&mut self, index: usize, now_ms: u64) {
        let Some(isolate) = self.isolates.get_mut(index) else { return };
        if !isolate.view.has_unpublished() {
            return;
        }
        if isolate.view.is_due(now_ms) {
            return self.exchange(index, None, now_ms);
        }
        if isolate.telling_ms <= now_ms {
            isolate.telling_ms = now_ms + REFRESH_MS;
            self.queue.at(isolate.telling_ms, Event::TellLater(index));
        }
    }

    // --- A call, as src/inference has it -----------------------------------------------------------------------------

    fn arrive(&mut self, index: usize, now_ms: u64) {
        let Some(call) = self.call(index) else { return };
        let place = call.isolate % self.places.len().max(1);
        if self.ends_ms.get(place).is_some_and(|ends_ms| *ends_ms <= now_ms) {
            // A new isolate knows nothing.
            let (isolate, life_ms) = (self.isolates.len(), self.life_ms());
            self.isolates.push(Isolate::default());
            if let (Some(at), Some(ends_ms)) = (self.places.get_mut(place), self.ends_ms.get_mut(place)) {
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
        self.places.get(call.isolate % self.places.len().max(1)).copied().unwrap_or(0)
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
                (self.watch)(now_ms, &Seen::Planned { call, isolate, lanes: &lanes });
                self.running.insert(index, Running { isolate, driver, flights: Vec::new() });
                self.step(index, now_ms);
            }
            Err(_) => self.end(index, isolate, now_ms),
        }
    }

    /// Carries out what the driver of a call says, until it waits.
    fn step(&mut self, index: usize, now_ms: u64) {
        let Some(call) = self.call(index) else { return };
        loop {
            let Some(running) = self.running.get_mut(&index) else { return };
            let Some(Isolate { view, .. }) = self.isolates.get_mut(running.isolate) else { return };
            if running.driver.asks_plan() && running.driver.plan().attempts() > 0 {
                let lanes = lanes_of(self.world, &running.driver, view, now_ms);
                (self.watch)(now_ms, &Seen::LookedAgain { call, lanes: &lanes });
            }
            match running.driver.next(now_ms, view) {
                Command::Send(send) => self.send(index, send, now_ms),
                // A key without limits sets nothing aside.
                Command::Reserve(_) => return,
                Command::Await(limit_ms) => {
                    if let (Some(ms), [only]) = (limit_ms, running.flights.as_slice()) {
                        let hedge = Event::Hedge { call: index, flight: only.number };
                        self.queue.at(now_ms + u64::from(ms), hedge);
                    }
                    return;
                }
                Command::Wait(ms) => {
                    (self.watch)(now_ms, &Seen::Waits { call, ms });
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

    /// The wait of a call is over.
    fn wake(&mut self, index: usize, now_ms: u64) {
        let Some(running) = self.running.get_mut(&index) else { return };
        running.driver.elapsed(now_ms);
        self.step(index, now_ms);
    }

    /// A call ends without an answer.
    fn end(&mut self, index: usize, isolate: usize, now_ms: u64) {
        let Some(call) = self.call(index) else { return };
        (self.watch)(now_ms, &Seen::Ended { call, answered: false });
        if call.fate == Fate::Fine {
            self.tally.failed(self.world, call, now_ms);
        }
        self.tell(isolate, now_ms);
    }

    fn send(&mut self, index: usize, send: Send, now_ms: u64) {
        let world = self.world;
        let (Some(call), Some(running)) = (self.call(index), self.running.get_mut(&index)) else { return };
        let Some(spot) = spot(world, running.driver.candidates(), send.lane) else { return };
        let AttemptLimits { first_byte_ms, stall_ms, total_ms } = send.limits;
        let patience = Patience {
            first_byte_ms: first_byte_ms.into(),
            stall_ms: stall_ms.into(),
            total_ms: total_ms.into(),
        };
        (self.watch)(now_ms, &Seen::Sent { call, spot, hedge: send.is_hedge });
        let reply = self.fleet.send(spot, call, running.driver.plan().attempts(), now_ms, patience);
        self.tally.sent(reply.status);
        self.flights += 1;
        let flight = self.flights;
        self.queue.at(reply.settled_ms, Event::Settle { call: index, flight });
        running.flights.push(Flight { number: flight, lane: send.lane, spot, sent_ms: now_ms, reply });
    }

    /// The time has come to ask a second lane, if the first is still silent.
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
        let Flight { lane, spot, sent_ms, reply, .. } = running.flights.remove(at);
        let isolate = running.isolate;
        let candidates = Rc::clone(running.driver.candidates());
        let (Some(candidate), Some(Isolate { view, .. })) =
            (candidates.get(lane.candidate), self.isolates.get_mut(isolate))
        else {
            return;
        };
        if reply.status != 0 {
            view.observe_limits(
                candidate.lane(lane.key),
                candidate.provider.limit_headers,
                reply.status == 200,
                |name| reply.header(name),
                now_ms,
            );
        }
        let result = match &reply.result {
            Ok(_) => Ok(()),
            Err(error) => {
                let retry_headers =
                    reply.header("retry-after").map(|value| ("retry-after", value)).into_iter().collect();
                Err(Box::new(Refusal { retry_headers, ..Refusal::from(error.clone()) }))
            }
        };
        let failure = running.driver.settled(lane, result, now_ms, view, || self.rng.number());
        (self.watch)(now_ms, &Seen::Settled { call, isolate, spot, sent_ms, failure });
        if let Ok(answer) = &reply.result {
            self.tally.answered(self.world, call, spot, now_ms, reply.charge, answer.cut);
            if call.stream {
                self.queue.at(answer.ends_ms, Event::Ends { isolate, spot, cut: answer.cut });
            }
        } else {
            self.tally.wasted(reply.charge);
            self.tell(isolate, now_ms);
        }
        self.step(index, now_ms);
    }

    /// A call has its answer; the slower attempts are cancelled.
    fn answered(&mut self, index: usize, answered: &Answered, now_ms: u64) {
        let (Some(call), Some(running)) = (self.call(index), self.running.remove(&index)) else { return };
        for flight in running.flights.iter().filter(|flight| answered.slower.contains(&flight.lane)) {
            (self.watch)(now_ms, &Seen::Cancelled { call, spot: flight.spot });
            self.tally.wasted(self.world.price(flight.spot, call, 0.0));
        }
        (self.watch)(now_ms, &Seen::Ended { call, answered: true });
        self.tell(running.isolate, now_ms);
    }

    /// A stream has ended.
    fn ends(&mut self, isolate: usize, spot: Spot, cut: bool, now_ms: u64) {
        let world = self.world;
        if cut && let Some(Isolate { view, .. }) = self.isolates.get_mut(isolate) {
            let failure = Failure { class: Class::Broken, retry_after_ms: None };
            let chance = self.rng.number();
            if let (Some(provider), Some(model)) = (world.provider(spot), world.model(spot)) {
                let place = gatehouse_core::health::LaneId {
                    provider: &provider.name,
                    model: &model.id,
                    key: spot.key,
                };
                view.failed(place, &failure, true, now_ms, chance);
            }
            (self.watch)(now_ms, &Seen::Broke { spot });
        }
        self.tell(isolate, now_ms);
    }

    /// All is over: everybody tells what is left to tell, twice, so that the first knows what the last has told.
    fn quiet(mut self, last_ms: u64) -> Aftermath {
        for round in 1..=2 {
            for isolate in &mut self.isolates {
                let (report, token) = isolate.view.report(last_ms + round * 20_000);
                let news = self.object.shared.take(&report);
                isolate.view.refreshed(&news, token);
            }
        }
        let views = self.isolates.into_iter().map(|isolate| isolate.view).collect();
        Aftermath { tally: self.tally, views }
    }
}

fn spot(world: &World, candidates: &[Candidate<'_>], lane: LaneIndex) -> Option<Spot> {
    let candidate = candidates.get(lane.candidate)?;
    let spot = world.spot(&candidate.provider.name, &candidate.model)?;
    Some(Spot { key: lane.key, ..spot })
}

/// The lanes of a call's plan, and whether each is available.
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

/// How long an exchange may take: not long where a call waits for it.
fn patience_ms(waiting: Option<usize>) -> u64 {
    if waiting.is_some() { CALL_PATIENCE_MS } else { PATIENCE_MS }
}
