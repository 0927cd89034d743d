//! The ledger in a model of the world: isolates request, spend, report, fall silent and die; the network delays,
//! repeats and loses messages; the account is restarted. In any order, the amount that was really spent never exceeds a
//! limit.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use std::collections::BTreeMap;

use gatehouse_core::ledger::tally::{Row, Slice, Tally};
use gatehouse_core::ledger::{
    Account, Changes, Charge, LeaseRequest, LeaseResponse, Limit, LocalLease, Need, Page, RENEW_MS, Report,
    ReportResponse, Reserved, Settled, Stored,
};
use proptest::prelude::*;

const LIMIT: u64 = 10_000;
const COUNTER: &str = "usd_total";
const SLOTS: u64 = 20;
/// The time after which the lease of a silent isolate expires, in milliseconds.
const LEASE_MS: u64 = 3 * RENEW_MS;

/// The object's storage.
#[derive(Default)]
struct Storage {
    pages: Vec<Page>,
    counters: Option<String>,
    leases: BTreeMap<String, String>,
    reporters: Option<String>,
    rejections: Option<String>,
    folded: u64,
}

impl Storage {
    fn store(&mut self, changes: Changes) {
        self.pages.extend(changes.page);
        if changes.counters.is_some() {
            self.counters = changes.counters;
        }
        if changes.rejections.is_some() {
            self.rejections = changes.rejections;
        }
        for (name, text) in changes.leases {
            match text {
                Some(text) => drop(self.leases.insert(name, text)),
                None => drop(self.leases.remove(&name)),
            }
        }
    }

    fn load(&self, now_ms: u64) -> Account {
        let fresh = self.pages.iter().filter(|page| page.first > self.folded);
        let stored = Stored {
            last: self.pages.last().map(|page| (page.last, page.hash.as_str(), page.totals.as_str())),
            counters: self.counters.as_deref(),
            leases: self.leases.values().map(String::as_str).collect(),
            reporters: self.reporters.as_deref(),
            rejections: self.rejections.as_deref(),
            pages: fresh
                .map(|page| (page.isolate.as_str(), page.report, page.at_ms, page.rows.as_str()))
                .collect(),
        };
        Account::load(&stored, now_ms)
    }
}

enum Message {
    LeaseRequest(usize, LeaseRequest, Call),
    LeaseResponse(usize, LeaseRequest, LeaseResponse, Call),
    Report(usize, Report),
    ReportResponse(usize, ReportResponse),
}

/// A call that waits for a lease, or is in progress.
#[derive(Clone, Default)]
struct Call {
    charges: Vec<Charge>,
    /// `true` if its isolate has given up waiting for the response.
    gave_up: bool,
    requested_ms: u64,
}

struct World {
    now_ms: u64,
    account: Account,
    storage: Storage,
    leases: Vec<(LocalLease, Vec<Call>)>,
    born: usize,
    network: Vec<Message>,
    /// The amount that providers have really charged.
    spent: u64,
    calls: u64,
    /// The time at which the account last granted or renewed each lease of each isolate, in milliseconds.
    renewed_ms: BTreeMap<String, BTreeMap<u64, u64>>,
    /// `true` if an isolate has died, or did not renew a lease in time: the slots of its calls are then granted to
    /// others, while its calls may continue.
    lost_slots: bool,
}

fn row(tally: Tally) -> Row {
    Row {
        slice: Slice { hour: 24, provider: "p".to_owned(), model: "m".to_owned(), ..Slice::default() },
        tally,
    }
}

impl World {
    fn new() -> World {
        let mut world = World {
            now_ms: 1_000_000,
            account: Account::default(),
            storage: Storage::default(),
            leases: Vec::new(),
            born: 0,
            network: Vec::new(),
            spent: 0,
            calls: 0,
            renewed_ms: BTreeMap::new(),
            lost_slots: false,
        };
        for _ in 0..3 {
            let lease = world.lease();
            world.leases.push((lease, Vec::new()));
        }
        world
    }

    fn lease(&mut self) -> LocalLease {
        self.born += 1;
        LocalLease::new(format!("isolate-{}", self.born))
    }

    fn needs(least: u64, more: u64) -> Vec<Need> {
        vec![
            Need { counter: COUNTER.into(), limit: LIMIT, least, most: least + more },
            Need { counter: "concurrent".into(), limit: SLOTS, least: 1, most: 1 },
        ]
    }

    fn call(&mut self, isolate: usize, least: u64, more: u64) {
        let waiting = Call { requested_ms: self.now_ms, ..Call::default() };
        let Some((local, calls)) = self.leases.get_mut(isolate) else { return };
        match local.reserve(&Self::needs(least, more), self.now_ms) {
            Reserved::Held(charges, refill) => {
                calls.push(Call { charges, ..Call::default() });
                if let Some(request) = refill {
                    self.network.push(Message::LeaseRequest(isolate, request, waiting));
                }
            }
            Reserved::Request(request) => {
                self.network.push(Message::LeaseRequest(isolate, request, waiting));
            }
            Reserved::Refused(_) => {}
        }
    }

    fn deliver(&mut self, message: Message) {
        match message {
            // No message is under way for that long.
            Message::LeaseRequest(isolate, request, call) if call.requested_ms + 60_000 < self.now_ms => {
                self.give_up(isolate, &request, &call);
            }
            Message::LeaseRequest(isolate, request, call) => {
                let (response, changes) = self.account.request_lease(&request, self.now_ms);
                self.storage.store(changes);
                if matches!(response, LeaseResponse::Granted(_)) {
                    self.renewed(&request.isolate, &[request.lease]);
                }
                self.network.push(Message::LeaseResponse(isolate, request, response, call));
            }
            Message::LeaseResponse(isolate, request, response, call) => {
                let Some((lease, calls)) = self.leases.get_mut(isolate) else { return };
                if call.gave_up || !is_of(lease, &request.isolate) {
                    return;
                }
                if let Ok(charges) = lease.apply(&request, response, self.now_ms)
                    && request.waits
                {
                    calls.push(Call { charges, ..Call::default() });
                }
            }
            Message::Report(isolate, report) => {
                let (response, changes) = self.account.report(&report, self.now_ms);
                self.storage.store(changes);
                self.renewed(&report.isolate, &report.leases);
                if self.leases.get(isolate).is_some_and(|(lease, _)| is_of(lease, &report.isolate)) {
                    self.network.push(Message::ReportResponse(isolate, response));
                }
            }
            Message::ReportResponse(isolate, response) => {
                if let Some((lease, _)) = self.leases.get_mut(isolate) {
                    lease.reported(response);
                }
            }
        }
    }

    /// The isolate stops waiting; if `lost`, the message never arrives, otherwise it arrives later.
    fn time_out(&mut self, index: usize, lost: bool) {
        let message = self.network.remove(index);
        match message {
            Message::LeaseRequest(isolate, request, call)
            | Message::LeaseResponse(isolate, request, _, call)
                if lost =>
            {
                self.give_up(isolate, &request, &call);
            }
            Message::LeaseRequest(isolate, request, mut call) => {
                self.give_up(isolate, &request, &call);
                call.gave_up = true;
                self.network.push(Message::LeaseRequest(isolate, request, call));
            }
            Message::LeaseResponse(isolate, request, response, mut call) => {
                self.give_up(isolate, &request, &call);
                call.gave_up = true;
                self.network.push(Message::LeaseResponse(isolate, request, response, call));
            }
            Message::Report(isolate, report) => {
                if let Some((lease, _)) = self.leases.get_mut(isolate)
                    && is_of(lease, &report.isolate)
                {
                    lease.not_reported(report.number);
                }
                if !lost {
                    self.network.push(Message::Report(isolate, report));
                }
            }
            Message::ReportResponse(..) => {}
        }
    }

    fn give_up(&mut self, isolate: usize, request: &LeaseRequest, call: &Call) {
        if let Some((lease, _)) = self.leases.get_mut(isolate)
            && !call.gave_up
            && is_of(lease, &request.isolate)
        {
            lease.request_failed(request);
        }
    }

    fn finish(&mut self, isolate: usize, which: usize, percent: u64) {
        let Some((lease, calls)) = self.leases.get_mut(isolate) else { return };
        if calls.is_empty() {
            return;
        }
        let mut call = calls.swap_remove(which % calls.len());
        let used = money(&call) * percent / 100;
        self.spent += used;
        self.calls += 1;
        if let Some(charge) = call.charges.iter_mut().find(|charge| charge.counter == COUNTER) {
            charge.used = used;
        }
        let tally = Tally { requests: 1, cost_micro_usd: used, ..Tally::default() };
        let receipt = format!("{{\"id\":\"rcpt_{:08}\"}}", self.calls);
        lease.settle(Settled { receipt: Some(receipt), rows: vec![row(tally)], charges: call.charges });
    }

    fn report(&mut self, isolate: usize) {
        let Some((lease, _)) = self.leases.get_mut(isolate) else { return };
        lease.tidy(self.now_ms);
        if let Some(report) = lease.report(self.now_ms).cloned() {
            self.network.push(Message::Report(isolate, report));
        }
    }

    fn crash(&mut self, isolate: usize, percent: u64) {
        let fresh = self.lease();
        let Some(place) = self.leases.get_mut(isolate) else { return };
        let (_, calls) = std::mem::replace(place, (fresh, Vec::new()));
        // The provider may continue and charge the held amount.
        self.spent += calls.iter().map(|call| money(call) * percent / 100).sum::<u64>();
        self.lost_slots = true;
    }

    fn restart(&mut self) {
        self.account = self.storage.load(self.now_ms);
    }

    /// The work of the object's alarm.
    fn alarm(&mut self) {
        let leases = self.account.expire(self.now_ms);
        self.storage.store(Changes { leases, ..Changes::default() });
        if self.account.is_fold_due(self.now_ms) {
            self.account.fold(self.now_ms);
            self.storage.folded = self.account.chain().count;
            self.storage.reporters = Some(self.account.reporters());
        }
    }

    fn renewed(&mut self, isolate: &str, leases: &[u64]) {
        let of_isolate = self.renewed_ms.entry(isolate.to_owned()).or_default();
        of_isolate.extend(leases.iter().map(|number| (*number, self.now_ms)));
    }

    fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        let is_late = |number: &u64, renewed_ms: &BTreeMap<u64, u64>| {
            renewed_ms.get(number).is_some_and(|renewed_ms| renewed_ms + LEASE_MS <= self.now_ms)
        };
        for (lease, calls) in &self.leases {
            let Some(renewed_ms) = self.renewed_ms.get(lease.isolate()) else { continue };
            let held = calls.iter().flat_map(|call| &call.charges).map(|charge| charge.lease);
            let granted = self.network.iter().filter_map(|message| match message {
                Message::LeaseResponse(_, request, ..) if is_of(lease, &request.isolate) => {
                    Some(request.lease)
                }
                _ => None,
            });
            let spare = renewed_ms.keys().last().copied().filter(|_| lease.has_spare());
            self.lost_slots |= held.chain(granted).chain(spare).any(|number| is_late(&number, renewed_ms));
        }
    }

    fn state(&mut self) -> (u64, u64, u64, u64) {
        let limit = Limit::of_counter(COUNTER, LIMIT).unwrap();
        let state = self.account.state(&limit, self.now_ms);
        (state.used, state.held, state.unconfirmed, state.left)
    }

    fn check(&mut self) {
        let in_flight: u64 = self.leases.iter().flat_map(|(_, calls)| calls).map(money).sum();
        assert!(self.spent + in_flight <= LIMIT, "{} spent and {in_flight} at risk of {LIMIT}", self.spent);
        let (used, held, unconfirmed, left) = self.state();
        assert!(used <= self.spent, "{used} charged, {} spent", self.spent);
        assert_eq!(used + held + unconfirmed + left, LIMIT);
        let slots: usize = self.leases.iter().map(|(_, calls)| calls.len()).sum();
        assert!(self.lost_slots || slots as u64 <= SLOTS, "{slots} concurrent calls");
    }

    /// Waits until everything has settled: calls end, messages arrive, idle leases are returned.
    fn settle_down(&mut self) {
        for _ in 0..40 {
            self.wait(13_000);
            for isolate in 0..self.leases.len() {
                while !self.leases[isolate].1.is_empty() {
                    self.finish(isolate, 0, 50);
                }
                self.report(isolate);
            }
            while !self.network.is_empty() {
                let message = self.network.remove(0);
                self.deliver(message);
            }
            self.alarm();
            self.check();
        }
    }
}

fn money(call: &Call) -> u64 {
    call.charges.iter().filter(|charge| charge.counter == COUNTER).map(|charge| charge.held).sum()
}

fn is_of(lease: &LocalLease, isolate: &str) -> bool {
    lease.isolate() == isolate
}

#[derive(Clone, Debug)]
enum Event {
    Call(usize, u64, u64),
    Finish(usize, usize, u64),
    Report(usize),
    Deliver(usize),
    Repeat(usize),
    TimeOut(usize, bool),
    Wait(u64),
    Crash(usize, u64),
    Restart,
}

fn event(crashes: bool) -> impl Strategy<Value = Event> {
    let isolate = 0..3usize;
    prop_oneof![
        8 => (isolate.clone(), 1..600u64, 0..3000u64).prop_map(|(isolate, least, more)| Event::Call(isolate, least, more)),
        6 => (isolate.clone(), 0..8usize, 0..=100u64).prop_map(|(isolate, which, percent)| Event::Finish(isolate, which, percent)),
        4 => isolate.clone().prop_map(Event::Report),
        12 => (0..20usize).prop_map(Event::Deliver),
        1 => (0..20usize).prop_map(Event::Repeat),
        1 => (0..20usize, any::<bool>()).prop_map(|(index, lost)| Event::TimeOut(index, lost)),
        2 => (1..8_000u64).prop_map(Event::Wait),
        u32::from(crashes) => (isolate, 0..=100u64).prop_map(|(isolate, percent)| Event::Crash(isolate, percent)),
        3 => Just(Event::Restart),
    ]
}

fn run(events: &[Event]) -> World {
    let mut world = World::new();
    for event in events {
        let messages = world.network.len().max(1);
        match event {
            Event::Call(isolate, least, more) => world.call(*isolate, *least, *more),
            Event::Finish(isolate, which, percent) => world.finish(*isolate, *which, *percent),
            Event::Report(isolate) => world.report(*isolate),
            Event::Deliver(index) if !world.network.is_empty() => {
                let message = world.network.remove(index % messages);
                world.deliver(message);
            }
            Event::Repeat(index) => {
                if let Some(Message::Report(isolate, report)) = world.network.get(index % messages) {
                    let again = Message::Report(*isolate, report.clone());
                    world.network.push(again);
                }
            }
            Event::TimeOut(index, lost) if !world.network.is_empty() => {
                world.time_out(index % messages, *lost);
            }
            Event::Wait(ms) => world.wait(*ms),
            Event::Crash(isolate, percent) => world.crash(*isolate, *percent),
            Event::Restart => world.restart(),
            Event::Deliver(_) | Event::TimeOut(..) => {}
        }
        world.alarm();
        world.check();
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Without deaths, every reserved micro-USD returns, and the charged amount is the amount spent.
    #[test]
    fn without_deaths_the_charged_amount_is_the_amount_spent(events in proptest::collection::vec(event(false), 1..250)) {
        let mut world = run(&events);
        world.settle_down();
        let (used, held, unconfirmed, left) = world.state();
        prop_assert_eq!((used, held, unconfirmed), (world.spent, 0, 0));
        prop_assert_eq!(left, LIMIT - world.spent);
        prop_assert_eq!(world.account.chain().count, world.calls);
        prop_assert_eq!(world.account.chain().totals.cost_micro_usd, world.spent);
        prop_assert!(world.leases.iter().all(|(lease, _)| lease.is_idle()));
        // A call for which enough is left is not rejected.
        if left > 0 {
            world.call(0, left, 0);
            world.settle_down();
            prop_assert_eq!(world.state().3, LIMIT - world.spent);
            prop_assert!(world.spent > used || left == 1);
        }
    }

    /// Isolates that die with leases cannot cause an overrun of the limit.
    #[test]
    fn deaths_do_not_overrun_the_limit(events in proptest::collection::vec(event(true), 1..250)) {
        let mut world = run(&events);
        world.settle_down();
        let (used, held, unconfirmed, _) = world.state();
        prop_assert_eq!(held, 0);
        prop_assert!(used <= world.spent && world.spent <= used + unconfirmed);
    }
}

/// An isolate's request for one place, which the account answers at once.
fn request_place(world: &mut World, isolate: usize) -> bool {
    let needs = &World::needs(1, 0)[1..];
    let Reserved::Request(request) = world.leases[isolate].0.reserve(needs, world.now_ms) else {
        return true;
    };
    let (response, changes) = world.account.request_lease(&request, world.now_ms);
    world.storage.store(changes);
    world.leases[isolate].0.apply(&request, response, world.now_ms).is_ok()
}

proptest! {
    /// The places of a dead isolate are free after 30 to 35 seconds, whatever the rhythm of the calls, however often the
    /// object is loaded again, and whether its alarm goes off. Its alarm ends.
    #[test]
    fn the_places_of_a_dead_isolate_are_free_in_time(
        renewals in proptest::collection::vec(1..12_000u64, 0..5),
        calls in proptest::collection::vec((1..25_000u64, any::<bool>(), any::<bool>()), 1..60),
    ) {
        let mut world = World::new();
        while request_place(&mut world, 0) {}
        for wait_ms in renewals {
            world.now_ms += wait_ms;
            world.report(0);
            while let Some(message) = world.network.pop() {
                world.deliver(message);
            }
        }
        world.restart();
        let heard_ms = world.account.due_ms().unwrap().max(world.now_ms) - 34_000;
        world.crash(0, 0);
        for (wait_ms, restarts, wakes) in calls {
            world.now_ms += wait_ms;
            if restarts {
                world.restart();
            }
            if wakes && world.account.due_ms().is_some_and(|due_ms| due_ms <= world.now_ms) {
                world.alarm();
                prop_assert!(world.account.due_ms().is_none_or(|due_ms| due_ms > world.now_ms));
            }
            let silent_ms = world.now_ms - heard_ms;
            let is_free = request_place(&mut world, 1);
            prop_assert!(is_free || silent_ms < 35_000, "taken after {silent_ms} ms");
            prop_assert!(!is_free || silent_ms >= 26_000, "free after {silent_ms} ms");
            if is_free {
                break;
            }
        }
    }
}

/// Loading an account again changes none of its deadlines.
#[test]
fn a_loaded_account_has_the_deadlines_that_it_had() {
    let mut world = World::new();
    request_place(&mut world, 0);
    let settled = Settled {
        receipt: Some("{\"id\":\"r\"}".to_owned()),
        rows: vec![row(Tally::default())],
        charges: Vec::new(),
    };
    world.leases[0].0.settle(settled);
    world.report(0);
    let message = world.network.pop().unwrap();
    world.deliver(message);
    let deadlines = |world: &mut World| {
        let fold_ms = world.account.due_ms().unwrap();
        let mut later = world.storage.load(world.now_ms);
        later.fold(world.now_ms);
        (fold_ms, later.due_ms().unwrap())
    };
    let before = deadlines(&mut world);
    assert_eq!(before.0, world.now_ms + 10_000);
    for _ in 0..9 {
        world.now_ms += 1_000;
        world.restart();
        assert_eq!(deadlines(&mut world), before);
    }
}

/// The leases of a busy isolate are not written with every report.
#[test]
fn renewals_are_written_every_few_seconds() {
    let mut world = World::new();
    request_place(&mut world, 0);
    let mut writes = 0;
    for _ in 0..100 {
        world.now_ms += 300;
        let settled = Settled { receipt: Some("{}".to_owned()), rows: Vec::new(), charges: Vec::new() };
        world.leases[0].0.settle(settled);
        let report = world.leases[0].0.report(world.now_ms).cloned().unwrap();
        let (response, changes) = world.account.report(&report, world.now_ms);
        world.leases[0].0.reported(response);
        writes += changes.leases.len();
    }
    assert!((6..=8).contains(&writes), "{writes}");
}

/// A burst of calls does not put most of a limit into the lease of one isolate.
#[test]
fn a_burst_leases_a_sixteenth_for_later_calls() {
    let mut world = World::new();
    let mut requests = Vec::new();
    for _ in 0..60 {
        let money = &World::needs(10, 0)[..1];
        match world.leases[0].0.reserve(money, world.now_ms) {
            Reserved::Request(request) => requests.push(request),
            other => panic!("{other:?}"),
        }
    }
    for request in requests {
        let (response, _) = world.account.request_lease(&request, world.now_ms);
        world.leases[0].0.apply(&request, response, world.now_ms).unwrap();
    }
    let (_, held, _, _) = world.state();
    assert!(held <= 600 + LIMIT / 16, "{held}");
}

/// The lease of an isolate that has been silent for too long does not return in this window: no caller has to wait
/// for it.
#[test]
fn the_lease_of_a_dead_isolate_counts_as_spent() {
    let mut world = World::new();
    let request = |world: &mut World, isolate: usize, least: u64| {
        let needs = World::needs(least, 0);
        let Reserved::Request(request) = world.leases[isolate].0.reserve(&needs, world.now_ms) else {
            panic!("the lease is not empty")
        };
        let (response, _) = world.account.request_lease(&request, world.now_ms);
        world.leases[isolate].0.apply(&request, response, world.now_ms)
    };
    assert!(request(&mut world, 0, LIMIT - 10).is_ok());
    let waits = request(&mut world, 1, 20).unwrap_err().unwrap();
    assert!(!waits.is_spent(), "{waits:?}");
    world.now_ms += 31_000;
    let spent = request(&mut world, 1, 20).unwrap_err().unwrap();
    assert!(spent.is_spent(), "{spent:?}");
}

/// A response for a lease that has been returned is not a rejection: the waiting call requests again.
#[test]
fn a_response_for_a_returned_lease_is_not_a_rejection() {
    let mut world = World::new();
    let needs = World::needs(10, 0);
    let reserve = |world: &mut World| {
        let Reserved::Request(request) = world.leases[0].0.reserve(&needs, world.now_ms) else {
            panic!("the lease is not empty")
        };
        request
    };
    let (late, lost) = (reserve(&mut world), reserve(&mut world));
    // One request gets no response: the lease is returned before the account receives the other request.
    world.leases[0].0.request_failed(&lost);
    let report = world.leases[0].0.report(world.now_ms).cloned().unwrap();
    let (response, _) = world.account.report(&report, world.now_ms);
    world.leases[0].0.reported(response);
    let (response, _) = world.account.request_lease(&late, world.now_ms);
    assert_eq!(world.leases[0].0.apply(&late, response, world.now_ms), Err(None));
    let again = reserve(&mut world);
    let (response, _) = world.account.request_lease(&again, world.now_ms);
    assert!(world.leases[0].0.apply(&again, response, world.now_ms).is_ok());
}

/// Reports keep up with calls that end faster than one report per pause can carry: a full report does not wait.
#[test]
fn reports_keep_up_with_calls() {
    let mut world = World::new();
    let settled = || Settled { receipt: Some("{}".to_owned()), rows: Vec::new(), charges: Vec::new() };
    let mut reported = 0;
    for millisecond in 0..60_000 {
        let lease = &mut world.leases[0].0;
        // 2,000 calls per second.
        (0..2).for_each(|_| lease.settle(settled()));
        if lease.wait_ms(world.now_ms + millisecond) > 0 {
            continue;
        }
        let Some(report) = lease.report(world.now_ms + millisecond).cloned() else { continue };
        reported += report.calls();
        let (response, _) = world.account.report(&report, world.now_ms + millisecond);
        lease.reported(response);
    }
    assert!(120_000 - reported <= 500, "{reported}");
    assert_eq!(world.leases[0].0.lost(), 0);
}

/// Calls that return nothing are reported once a second, calls that return something four times a second.
#[test]
fn calls_that_return_nothing_are_reported_once_a_second() {
    let charge = Charge { lease: 1, counter: COUNTER.into(), window: 0, held: 50, used: 20 };
    for (charges, pause_ms) in [(Vec::new(), 1_000), (vec![charge], 250)] {
        let mut world = World::new();
        let settled =
            || Settled { receipt: Some("{}".to_owned()), rows: Vec::new(), charges: charges.clone() };
        let lease = &mut world.leases[0].0;
        lease.settle(settled());
        assert_eq!(lease.wait_ms(world.now_ms), 0, "the first call is reported at once");
        let report = lease.report(world.now_ms).cloned().unwrap();
        lease.reported(world.account.report(&report, world.now_ms).0);
        lease.settle(settled());
        assert_eq!(lease.wait_ms(world.now_ms), pause_ms);
        assert_eq!(lease.wait_ms(world.now_ms + pause_ms), 0);
    }
}

/// The receipts of a report, which become one value, fit into the storage's limit of 2 MB, however large they are.
#[test]
fn the_size_of_reports_is_limited() {
    for (size, calls) in [(100, 500), (5_000, 200), (2_500_000, 1)] {
        let mut world = World::new();
        let lease = &mut world.leases[0].0;
        for _ in 0..600 {
            let receipt = Some("x".repeat(size));
            lease.settle(Settled { receipt, rows: Vec::new(), charges: Vec::new() });
        }
        let report = lease.report(world.now_ms).unwrap();
        assert_eq!(report.calls(), calls, "{size}");
        assert!(calls == 1 || report.receipts.len() < 2_000_000);
    }
}

/// An isolate that knows that a limit is spent refuses a call with the amount that this call needs, not with that of the
/// call that found out.
#[test]
fn a_remembered_refusal_has_the_numbers_of_the_refused_call() {
    let mut world = World::new();
    let needs = World::needs(LIMIT + 10, 0)[..1].to_vec();
    let Reserved::Request(request) = world.leases[0].0.reserve(&needs, world.now_ms) else {
        panic!("the lease is not empty")
    };
    let (response, _) = world.account.request_lease(&request, world.now_ms);
    let first = world.leases[0].0.apply(&request, response, world.now_ms).unwrap_err().unwrap();
    assert!(first.is_spent() && first.needed == LIMIT + 10, "{first:?}");
    let needs = World::needs(LIMIT + 25, 0)[..1].to_vec();
    match world.leases[0].0.reserve(&needs, world.now_ms) {
        Reserved::Refused(refusal) => assert_eq!(refusal.needed, LIMIT + 25),
        other => panic!("{other:?}"),
    }
}
