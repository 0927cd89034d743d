//! Invariants of every call, whatever providers do, in ten thousand small worlds. They are checked from outside: by
//! the attempts and their times, not by the state of the plan.
//!
//! A failure names its seed; `SEED=n cargo test -p gatehouse-simulation --test invariants -- --nocapture` repeats that
//! world alone and prints all its events.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "tests, with the small numbers of small worlds"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use gatehouse_core::health::Availability;
use gatehouse_core::health::failure::{Class, Failure};
use gatehouse_core::tier::Tier;
use gatehouse_simulation::day::BEGIN_MS;
use gatehouse_simulation::ours::{self, Observation};
use gatehouse_simulation::rng::Rng;
use gatehouse_simulation::scenario::{
    Call, Counting, Exchange, Fate, Fault, Incident, Model, Provider, Scenario, Spot, Wish, World,
};
use serde_json::json;

const SEEDS: u64 = 10_000;
/// The time until every isolate has the observations of one, in milliseconds, not counting the network.
const KNOWN_MS: u64 = 2_000;

fn provider(index: u64, rng: &mut Rng) -> Provider {
    let models = (0..rng.within(1, 3)).map(|model| Model {
        id: format!("m{model}"),
        tier: *rng.pick(&[Tier::Low, Tier::Medium, Tier::High]).unwrap(),
        input_usd: 0.1,
        output_usd: 0.1,
        context: rng.within(1, 4) as u32 * 1_000,
        tools: rng.chance(0.8),
        first_ms: rng.within(50, 1_500) as f64,
        tokens_per_second: 200.0,
        known_per_day: rng.chance(0.1).then(|| rng.within(1, 8) as u32),
    });
    let models = models.collect();
    Provider {
        name: format!("p{index}"),
        models,
        keys: rng.within(0, 4) as u8,
        per_minute: rng.chance(0.6).then(|| rng.within(1, 15) as u32),
        tokens_per_minute: rng.chance(0.2).then(|| rng.within(500, 5_000) as u32),
        per_day: rng.chance(0.1).then(|| rng.within(1, 10) as u32),
        counting: if rng.chance(0.5) { Counting::Fixed } else { Counting::Bucket },
        retry_after: rng.chance(0.6),
        headers: rng.chance(0.4),
        failing: *rng.pick(&[0.0, 0.05, 0.3]).unwrap(),
        varying: 0.5,
        cancel_stops_billing: *rng.pick(&[None, Some(true), Some(false)]).unwrap(),
    }
}

fn incident(providers: usize, rng: &mut Rng) -> Incident {
    let faults = [
        Fault::Errors,
        Fault::Hangs,
        Fault::Stalls,
        Fault::EarlyErrors,
        Fault::Cuts,
        Fault::Unreachable,
        Fault::Slow(8.0),
        Fault::DeadKey(rng.within(0, 3) as u8),
        Fault::NoMoney,
        Fault::Gone,
        Fault::Refuses,
        Fault::Refuses,
        Fault::DeadKey(0),
    ];
    let from_ms = BEGIN_MS + rng.within(0, 60_000);
    Incident {
        provider: rng.within(0, providers as u64) as usize,
        from_ms,
        until_ms: from_ms + rng.within(1_000, 60_000),
        fault: *rng.pick(&faults).unwrap(),
        share: *rng.pick(&[0.3, 1.0]).unwrap(),
    }
}

fn scenario(seed: u64) -> Scenario {
    let rng = &mut Rng::of(&[seed, 0x14A7]);
    let providers: Vec<Provider> = (0..rng.within(2, 6)).map(|index| provider(index, rng)).collect();
    let incidents = (0..rng.within(0, 5)).map(|_| incident(providers.len(), rng)).collect();
    let addresses: Vec<String> = providers
        .iter()
        .flat_map(|provider| provider.models.iter().map(|model| format!("{}/{}", provider.name, model.id)))
        .collect();
    let some = |rng: &mut Rng| {
        let mut some: Vec<String> = Vec::new();
        for _ in 0..rng.within(1, 4) {
            let address = rng.pick(&addresses).unwrap();
            if !some.contains(address) {
                some.push(address.clone());
            }
        }
        some
    };
    let isolates = rng.within(1, 4) as usize;
    let span_ms = *rng.pick(&[3_000, 20_000, 90_000]).unwrap();
    let mut times: Vec<u64> = (0..rng.within(8, 33)).map(|_| rng.within(0, span_ms)).collect();
    times.sort_unstable();
    let calls = times.iter().enumerate().map(|(id, at_ms)| Call {
        id,
        at_ms: BEGIN_MS + at_ms,
        isolate: rng.within(0, isolates as u64) as usize,
        wish: match rng.within(0, 4) {
            0 | 1 => Wish::Auto,
            2 => Wish::Group("several".to_owned()),
            _ => Wish::Models(some(rng)),
        },
        session: rng.chance(0.3).then(|| rng.within(0, 5)),
        prompt: rng.within(0, 3),
        bytes: *rng.pick(&[200, 200, 200, 4_300, 8_000]).unwrap(),
        output: rng.within(1, 800) as u32,
        stream: rng.chance(0.7),
        effort: *rng.pick(&[None, None, Some(Tier::Low), Some(Tier::High)]).unwrap(),
        tools: rng.chance(0.2),
        fate: match rng.within(0, 20) {
            0 => Fate::Refused,
            1 => Fate::ContentRefused,
            2 => Fate::TooLong,
            _ => Fate::Fine,
        },
    });
    let calls = calls.collect();
    let lossy = rng.chance(0.4);
    let way_ms = *rng.pick(&[(1, 5), (1, 5), (5, 120)]).unwrap();
    let mut routing = json!({
        "max_attempts": rng.within(1, 7),
        "retries": rng.within(0, 4),
        "backoff_ms": rng.within(20, 2_000),
        "max_wait_ms": rng.pick(&[0, 500, 5_000, 30_000]).unwrap(),
        "sticky": rng.chance(0.7),
    });
    if rng.chance(0.4) {
        let most = *rng.pick(&[150, 1_500]).unwrap();
        routing["hedge_ms"] = rng.within(50, most).into();
    }
    Scenario {
        seed,
        providers,
        incidents,
        calls,
        isolates,
        isolate_life_ms: None,
        restarts: if rng.chance(0.15) { vec![BEGIN_MS + rng.within(0, span_ms)] } else { Vec::new() },
        exchange: Exchange {
            way_ms,
            lost: if lossy { 0.2 } else { 0.0 },
            unanswered: if lossy && rng.chance(0.5) { 0.2 } else { 0.0 },
        },
        settings: json!({
            "routing": routing,
            "timeouts": {
                "total_ms": rng.pick(&[2_000, 10_000, 60_000]).unwrap(),
                "first_byte_ms": rng.within(500, 20_000),
                "stream_first_byte_ms": rng.within(500, 20_000),
                "stall_ms": rng.within(500, 5_000),
                "idle_ms": rng.within(500, 20_000),
            },
            "groups": {"several": {"models": some(rng)}},
        }),
    }
}

/// The history of one call.
#[derive(Default)]
struct History {
    lanes: Vec<(Spot, Availability)>,
    attempts: u32,
    tries: BTreeMap<Spot, u32>,
    in_flight: BTreeSet<Spot>,
    failures: Vec<(Spot, Failure, u64)>,
    ended: bool,
}

impl History {
    /// The end of the cooldown that the provider stated last for this lane in this call.
    fn stated_ms(&self, spot: Spot) -> Option<u64> {
        let (_, failure, at_ms) = self.failures.iter().rev().find(|(of, ..)| *of == spot)?;
        Some(at_ms + failure.retry_after_ms?)
    }

    /// True if earlier failures of this call exclude this lane.
    fn is_excluded(&self, world: &World, spot: Spot) -> bool {
        let context = |spot: Spot| world.model(spot).unwrap().context;
        self.failures.iter().any(|(of, failure, _)| match failure.class {
            Class::QuotaSpent | Class::CredentialRejected => {
                (of.provider, of.key) == (spot.provider, spot.key)
            }
            Class::ModelGone => (of.provider, of.model) == (spot.provider, spot.model),
            Class::TooLong => context(spot) <= context(*of),
            _ => false,
        })
    }
}

/// A cooldown that a provider stated.
#[derive(Clone, Copy)]
struct Cooldown {
    at_ms: u64,
    until_ms: u64,
    class: Class,
}

struct Checks<'w> {
    world: &'w World,
    calls: BTreeMap<usize, History>,
    /// The last stated cooldown of a lane (or a key: without a model), for each isolate that received it.
    cooldowns: BTreeMap<(usize, Option<usize>, u8), BTreeMap<usize, Cooldown>>,
    /// The last failure of a lane or a key.
    failed_ms: BTreeMap<(usize, Option<usize>, u8), u64>,
    settled: u64,
    violations: Vec<String>,
    log: Option<String>,
}

type Of = (usize, Option<usize>, u8);

fn of(spot: Spot, class: Class) -> Of {
    let of_key = matches!(class, Class::QuotaSpent | Class::CredentialRejected);
    (spot.provider, (!of_key).then_some(spot.model), spot.key)
}

impl Checks<'_> {
    fn violation(&mut self, at_ms: u64, call: Option<&Call>, message: &str) {
        let id = call.map_or(String::new(), |call| format!("call {}: ", call.id));
        self.violations.push(format!("{} ms: {id}{message}", at_ms - BEGIN_MS));
    }

    fn observe(&mut self, now_ms: u64, observation: &Observation<'_>) {
        if let Some(log) = &mut self.log {
            let _ = match observation {
                Observation::Planned { call, isolate, lanes } => {
                    writeln!(log, "{} call {} in {isolate}: {lanes:?}", now_ms - BEGIN_MS, call.id)
                }
                Observation::Sent { call, spot, hedge } => {
                    writeln!(log, "{} call {} → {spot:?} {hedge}", now_ms - BEGIN_MS, call.id)
                }
                Observation::Settled { call, spot, failure, .. } => {
                    writeln!(log, "{} call {} ← {spot:?} {failure:?}", now_ms - BEGIN_MS, call.id)
                }
                other => writeln!(log, "{} {other:?}", now_ms - BEGIN_MS),
            };
        }
        match observation {
            Observation::Planned { call, isolate, lanes } => self.planned(now_ms, call, *isolate, lanes),
            Observation::Replanned { call, lanes } => {
                self.calls.entry(call.id).or_default().lanes = lanes.to_vec();
            }
            Observation::Sent { call, spot, hedge } => self.sent(now_ms, call, *spot, *hedge),
            Observation::Settled { call, isolate, spot, sent_ms, failure } => {
                self.settled(now_ms, call, *isolate, *spot, *sent_ms, failure.as_ref());
            }
            Observation::Cancelled { call, spot } => {
                // The attempt counts, although its outcome is unknown.
                self.settled += 1;
                self.calls.entry(call.id).or_default().in_flight.remove(spot);
            }
            Observation::Broke { spot } => {
                self.failed_ms.insert((spot.provider, Some(spot.model), spot.key), now_ms);
            }
            Observation::Waits { call, ms } => {
                if *ms > self.world.config.routing.max_wait_ms {
                    self.violation(now_ms, Some(call), &format!("waits {ms} ms, longer than max_wait_ms"));
                }
            }
            Observation::Ended { call, answered } => self.ended(now_ms, call, *answered),
        }
    }

    fn is_lossless(&self) -> bool {
        let Scenario { exchange, restarts, .. } = &self.world.scenario;
        exchange.lost == 0.0 && exchange.unanswered == 0.0 && restarts.is_empty()
    }

    fn planned(&mut self, now_ms: u64, call: &Call, isolate: usize, lanes: &[(Spot, Availability)]) {
        let mut violations = Vec::new();
        let way_ms = self.world.scenario.exchange.way_ms.1;
        for (spot, availability) in lanes {
            let is_available = *availability == Availability::Available;
            let ofs = [(spot.provider, Some(spot.model), spot.key), (spot.provider, None, spot.key)];
            let cooldowns = ofs.iter().flat_map(|of| self.cooldowns.get(of).into_iter().flatten());
            for (known_in, cooldown) in cooldowns {
                let is_own = *known_in == isolate;
                let is_known = now_ms >= cooldown.at_ms + KNOWN_MS + 4 * way_ms + 2;
                if is_available && now_ms < cooldown.until_ms && self.is_lossless() && (is_own || is_known) {
                    violations.push(format!(
                        "isolate {isolate} treats {spot:?} as available, but isolate {known_in} got a cooldown with {} ms left, {} ms ago",
                        cooldown.until_ms - now_ms,
                        now_ms - cooldown.at_ms
                    ));
                }
            }
            // Available again: no failure since, and the provider sends no headers with its limits.
            let provider = self.world.provider(*spot).unwrap();
            let known_limit = self.world.model(*spot).unwrap().known_per_day;
            let last = ofs
                .iter()
                .flat_map(|of| self.cooldowns.get(of).into_iter().flatten().map(|(_, cooldown)| cooldown));
            let last = last.max_by_key(|cooldown| cooldown.at_ms);
            let [failed_ms, key_failed_ms] = ofs.map(|of| self.failed_ms.get(&of));
            let why = match availability {
                Availability::Available => "",
                Availability::CoolingDown { why, .. } => why,
            };
            if let Some(Cooldown { at_ms, until_ms, class: Class::Throttled }) = last
                && failed_ms.is_none_or(|failed_ms| failed_ms <= at_ms)
                && key_failed_ms.is_none()
                && now_ms >= *until_ms
                && !is_available
                && why != "being_tried"
                && !provider.headers
                && known_limit.is_none()
                && self.is_lossless()
            {
                violations.push(format!(
                    "{spot:?} is still cooling down after the end of its cooldown: {availability:?}"
                ));
            }
        }
        for violation in violations {
            self.violation(now_ms, Some(call), &violation);
        }
        self.calls.entry(call.id).or_default().lanes = lanes.to_vec();
    }

    fn sent(&mut self, now_ms: u64, call: &Call, spot: Spot, hedge: bool) {
        let routing = &self.world.config.routing;
        let deadline_ms = call.at_ms + u64::from(self.world.config.timeouts.total_ms);
        let history = self.calls.entry(call.id).or_default();
        let mut violations: Vec<String> = Vec::new();
        if history.ended {
            violations.push("is sent after its end".into());
        }
        if now_ms >= deadline_ms {
            violations.push("is sent after its deadline".into());
        }
        history.attempts += 1;
        if history.attempts > routing.max_attempts {
            violations.push(format!("is sent {} times", history.attempts));
        }
        let tries = history.tries.entry(spot).or_default();
        *tries += 1;
        if *tries > 1 + routing.retries {
            violations.push(format!("is sent to {spot:?} {tries} times"));
        }
        if !history.in_flight.insert(spot) {
            violations.push(format!("is sent to {spot:?} twice at the same time"));
        }
        if hedge != (history.in_flight.len() > 1) {
            violations.push("is marked as a hedge, but is none, or the reverse".into());
        }
        if !history.lanes.iter().any(|(lane, _)| *lane == spot) {
            violations.push(format!("is sent to {spot:?}, which is not in its plan"));
        }
        for (of, failure, _) in &history.failures {
            match failure.class {
                Class::Refused | Class::ContentRefused => {
                    violations.push(format!("is sent on after {of:?} {}", failure.class.as_str()));
                }
                Class::CredentialRejected if (of.provider, of.key) == (spot.provider, spot.key) => {
                    violations.push(format!("is sent to {spot:?} with a key that was rejected"));
                }
                _ => {}
            }
        }
        if history.is_excluded(self.world, spot) {
            violations.push(format!("is sent to {spot:?}, which earlier failures exclude"));
        }
        if history.stated_ms(spot).is_some_and(|stated_ms| now_ms < stated_ms) {
            violations.push(format!("returns to {spot:?} before the stated time"));
        }
        let availability =
            history.lanes.iter().find(|(lane, _)| *lane == spot).map(|(_, availability)| *availability);
        if history.lanes.len() > 1
            && let Some(Availability::CoolingDown { until_ms, stated: true, .. }) = availability
            && now_ms < until_ms
        {
            violations.push(format!("is sent to {spot:?}, which is in a stated cooldown"));
        }
        for violation in violations {
            self.violation(now_ms, Some(call), &violation);
        }
    }

    fn settled(
        &mut self,
        now_ms: u64,
        call: &Call,
        isolate: usize,
        spot: Spot,
        sent_ms: u64,
        failure: Option<&Failure>,
    ) {
        self.settled += 1;
        let history = self.calls.entry(call.id).or_default();
        history.in_flight.remove(&spot);
        let Some(failure) = failure else {
            // A success ends the cooldowns that were stated before it was sent, in all isolates.
            for of in [(spot.provider, Some(spot.model), spot.key), (spot.provider, None, spot.key)] {
                if let Some(cooldowns) = self.cooldowns.get_mut(&of) {
                    cooldowns.retain(|_, cooldown| cooldown.at_ms > sent_ms);
                }
            }
            return;
        };
        history.failures.push((spot, *failure, now_ms));
        let of = of(spot, failure.class);
        if failure.class.is_fault() {
            self.failed_ms.insert(of, now_ms);
        }
        if let (true, Some(retry_after_ms)) = (failure.class.is_fault(), failure.retry_after_ms) {
            let cooldowns = self.cooldowns.entry(of).or_default();
            let until_ms = now_ms + retry_after_ms;
            // The last statement counts; an isolate that has not received it may use the one before.
            for cooldown in cooldowns.values_mut() {
                cooldown.until_ms = cooldown.until_ms.min(until_ms);
            }
            cooldowns.insert(isolate, Cooldown { at_ms: now_ms, until_ms, class: failure.class });
        }
    }

    fn ended(&mut self, now_ms: u64, call: &Call, answered: bool) {
        let routing = &self.world.config.routing;
        let deadline_ms = call.at_ms + u64::from(self.world.config.timeouts.total_ms);
        let mut violations: Vec<String> = Vec::new();
        let history = self.calls.entry(call.id).or_default();
        if std::mem::replace(&mut history.ended, true) {
            violations.push("ends twice".into());
        }
        if now_ms > deadline_ms {
            violations.push(format!("ends {} ms after its deadline", now_ms - deadline_ms));
        }
        if !history.in_flight.is_empty() {
            violations.push(format!("ends while {:?} are in flight", history.in_flight));
        }
        let refused = history
            .failures
            .iter()
            .any(|(_, failure, _)| matches!(failure.class, Class::Refused | Class::ContentRefused));
        let over = answered || refused || history.attempts >= routing.max_attempts || now_ms >= deadline_ms;
        for (spot, availability) in if over { &[][..] } else { &history.lanes } {
            if history.is_excluded(self.world, *spot) {
                continue;
            }
            let tries = history.tries.get(spot).copied().unwrap_or(0);
            let too_far = |ready_ms: u64| {
                ready_ms.saturating_sub(now_ms) > routing.max_wait_ms.into() || ready_ms >= deadline_ms
            };
            let is_left = match availability {
                Availability::CoolingDown { until_ms, stated: true, .. } if tries == 0 => {
                    history.lanes.len() == 1 || !too_far(*until_ms)
                }
                _ if tries == 0 => true,
                _ => {
                    let last = history.failures.iter().rev().find(|(of, ..)| of == spot);
                    let (_, failure, at_ms) = last.unwrap();
                    // The longest permitted wait.
                    let wait_ms = failure
                        .retry_after_ms
                        .unwrap_or(u64::from(routing.backoff_ms) << (tries - 1).min(10));
                    let is_cooling = matches!(
                        availability,
                        Availability::CoolingDown { until_ms, stated: true, .. } if too_far(*until_ms)
                    );
                    !is_cooling
                        && tries <= routing.retries
                        && matches!(
                            failure.class,
                            Class::Throttled | Class::ServerError | Class::Unreachable | Class::Broken
                        )
                        && !too_far(at_ms + wait_ms.max(1))
                }
            };
            if is_left {
                violations
                    .push(format!("is given up, though {spot:?} is left ({availability:?}, {tries} tries)"));
            }
        }
        for violation in violations {
            self.violation(now_ms, Some(call), &violation);
        }
    }
}

/// The violations in the world of a seed.
fn check(seed: u64, verbose: bool) -> Vec<String> {
    let world = World::new(scenario(seed)).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let mut checks = Checks {
        world: &world,
        calls: BTreeMap::new(),
        cooldowns: BTreeMap::new(),
        failed_ms: BTreeMap::new(),
        settled: 0,
        violations: Vec::new(),
        log: verbose.then(String::new),
    };
    let results = ours::run(&world, &mut |now_ms, observation| checks.observe(now_ms, observation));
    let Checks { calls, settled, mut violations, log, .. } = checks;
    if let Some(log) = log {
        println!("{:#?}\n{log}", world.scenario);
    }
    for call in &world.scenario.calls {
        if !calls.get(&call.id).is_some_and(|history| history.ended) {
            violations.push(format!("call {} never ends", call.id));
        }
    }
    let Scenario { exchange, restarts, providers, .. } = &world.scenario;
    for (isolate, view) in results.views.iter().enumerate() {
        let lanes = providers.iter().flat_map(|provider| view.lanes().of_provider(&provider.name));
        let counted: u64 = lanes.map(|(_, _, lane)| lane.totals.attempts).sum();
        // A restarted object loses what it has not stored.
        let fewer = counted < settled && restarts.is_empty();
        // If a response is lost, the report is sent and counted twice.
        let more = counted > settled && exchange.unanswered == 0.0;
        if fewer || more {
            violations.push(format!("isolate {isolate} counts {counted} attempts of {settled}"));
        }
    }
    violations
}

#[test]
fn the_invariants_hold_for_every_call_in_ten_thousand_worlds() {
    if let Some(seed) = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        let violations = check(seed, true);
        assert!(violations.is_empty(), "seed {seed}:\n{}", violations.join("\n"));
        return;
    }
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let failed: Vec<(u64, Vec<String>)> = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                scope.spawn(move || {
                    let seeds = (0..SEEDS).filter(|seed| seed % threads == part);
                    seeds
                        .map(|seed| (seed, check(seed, false)))
                        .filter(|(_, violations)| !violations.is_empty())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    let shown: Vec<String> = failed
        .iter()
        .take(10)
        .map(|(seed, violations)| format!("seed {seed}:\n  {}", violations.join("\n  ")))
        .collect();
    assert!(failed.is_empty(), "{} of {SEEDS} worlds fail; the first:\n{}", failed.len(), shown.join("\n"));
}
