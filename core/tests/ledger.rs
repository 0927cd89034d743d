//! The ledger against a model of the world: isolates that ask, spend, report, fall silent and die; a network that delays,
//! repeats and loses; a book that is restarted. Whatever the order, no limit is ever overrun by what was really spent.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::BTreeMap;

use gatehouse_core::ledger::tally::{Row, Slice, Tally};
use gatehouse_core::ledger::{
    Account, Ask, Changes, Charge, LeaseResponse, Limit, LocalLease, Need, Page, Report, Reserved, Settled,
    Standing, Stored,
};
use proptest::prelude::*;

const LIMIT: u64 = 10_000;
const COUNTER: &str = "usd_total";
const SLOTS: u64 = 20;

/// What stands in the object's storage.
#[derive(Default)]
struct Storage {
    pages: Vec<Page>,
    counters: Option<String>,
    leases: BTreeMap<String, String>,
    reporters: Option<String>,
    folded: u64,
}

impl Storage {
    fn store(&mut self, changes: Changes) {
        self.pages.extend(changes.page);
        if changes.counters.is_some() {
            self.counters = changes.counters;
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
            pages: fresh
                .map(|page| (page.isolate.as_str(), page.report, page.at_ms, page.rows.as_str()))
                .collect(),
        };
        Account::load(&stored, now_ms)
    }
}

enum Message {
    Ask(usize, Ask, Call),
    LeaseResponse(usize, Ask, LeaseResponse, Call),
    Report(usize, Report),
    Standing(usize, Standing),
}

/// A call that wants something, or is under way.
#[derive(Clone, Default)]
struct Call {
    charges: Vec<Charge>,
    /// Its isolate has given up waiting for the answer.
    gave_up: bool,
    asked_ms: u64,
}

struct World {
    now_ms: u64,
    account: Account,
    storage: Storage,
    leases: Vec<(LocalLease, Vec<Call>)>,
    born: usize,
    network: Vec<Message>,
    /// What providers have really charged.
    spent: u64,
    crashes: usize,
    calls: u64,
}

fn row(tally: Tally) -> Row {
    Row {
        slice: Slice { day: 1, project: String::new(), provider: "p".to_owned(), model: "m".to_owned() },
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
            crashes: 0,
            calls: 0,
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
        let asking = Call { asked_ms: self.now_ms, ..Call::default() };
        let Some((local, calls)) = self.leases.get_mut(isolate) else { return };
        match local.reserve(&Self::needs(least, more), self.now_ms) {
            Reserved::Held(charges, refill) => {
                calls.push(Call { charges, ..Call::default() });
                if let Some(ask) = refill {
                    self.network.push(Message::Ask(isolate, ask, asking));
                }
            }
            Reserved::Ask(ask) => self.network.push(Message::Ask(isolate, ask, asking)),
            Reserved::Refused(_) => {}
        }
    }

    fn deliver(&mut self, message: Message) {
        match message {
            // No message is on its way for so long.
            Message::Ask(isolate, ask, call) if call.asked_ms + 60_000 < self.now_ms => {
                self.give_up(isolate, &ask, &call);
            }
            Message::Ask(isolate, ask, call) => {
                let (answer, changes) = self.account.ask(&ask, self.now_ms);
                self.storage.store(changes);
                self.network.push(Message::LeaseResponse(isolate, ask, answer, call));
            }
            Message::LeaseResponse(isolate, ask, answer, call) => {
                let Some((lease, calls)) = self.leases.get_mut(isolate) else { return };
                if call.gave_up || !is_of(lease, &ask.isolate) {
                    return;
                }
                if let Ok(charges) = lease.answered(&ask, answer, self.now_ms)
                    && ask.waits
                {
                    calls.push(Call { charges, ..Call::default() });
                }
            }
            Message::Report(isolate, report) => {
                let (standing, changes) = self.account.report(&report, self.now_ms);
                self.storage.store(changes);
                if self.leases.get(isolate).is_some_and(|(lease, _)| is_of(lease, &report.isolate)) {
                    self.network.push(Message::Standing(isolate, standing));
                }
            }
            Message::Standing(isolate, standing) => {
                if let Some((lease, _)) = self.leases.get_mut(isolate) {
                    lease.reported(standing);
                }
            }
        }
    }

    /// The isolate does not wait any longer; `lost`: the message never arrives, else it does later.
    fn time_out(&mut self, index: usize, lost: bool) {
        let message = self.network.remove(index);
        match message {
            Message::Ask(isolate, ask, call) | Message::LeaseResponse(isolate, ask, _, call) if lost => {
                self.give_up(isolate, &ask, &call);
            }
            Message::Ask(isolate, ask, mut call) => {
                self.give_up(isolate, &ask, &call);
                call.gave_up = true;
                self.network.push(Message::Ask(isolate, ask, call));
            }
            Message::LeaseResponse(isolate, ask, answer, mut call) => {
                self.give_up(isolate, &ask, &call);
                call.gave_up = true;
                self.network.push(Message::LeaseResponse(isolate, ask, answer, call));
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
            Message::Standing(..) => {}
        }
    }

    fn give_up(&mut self, isolate: usize, ask: &Ask, call: &Call) {
        if let Some((lease, _)) = self.leases.get_mut(isolate)
            && !call.gave_up
            && is_of(lease, &ask.isolate)
        {
            lease.not_answered(ask);
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
        // The provider may go on and charge what was held.
        self.spent += calls.iter().map(|call| money(call) * percent / 100).sum::<u64>();
        self.crashes += 1;
    }

    fn restart(&mut self) {
        self.account = self.storage.load(self.now_ms);
    }

    /// What the object's alarm does.
    fn alarm(&mut self) {
        let leases = self.account.expire(self.now_ms);
        self.storage.store(Changes { leases, ..Changes::default() });
        if self.account.is_fold_due(self.now_ms) {
            self.account.fold(self.now_ms);
            self.storage.folded = self.account.chain().count;
            self.storage.reporters = Some(self.account.reporters());
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
        // A silent isolate's places are given to others after half a minute.
        assert!(self.crashes > 0 || slots as u64 <= SLOTS, "{slots} calls at once");
    }

    /// Lets everything come to rest: calls end, messages arrive, idle leases are given back.
    fn settle_down(&mut self) {
        for _ in 0..40 {
            self.now_ms += 13_000;
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
        1 => Just(Event::Restart),
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
            Event::Wait(ms) => world.now_ms += ms,
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

    /// Without deaths every micro-USD that was set aside comes back, and what is charged is what was spent.
    #[test]
    fn nothing_is_lost_overrun_or_kept(events in proptest::collection::vec(event(false), 1..250)) {
        let mut world = run(&events);
        world.settle_down();
        let (used, held, unconfirmed, left) = world.state();
        prop_assert_eq!((used, held, unconfirmed), (world.spent, 0, 0));
        prop_assert_eq!(left, LIMIT - world.spent);
        prop_assert_eq!(world.account.chain().count, world.calls);
        prop_assert_eq!(world.account.chain().totals.cost_micro_usd, world.spent);
        prop_assert!(world.leases.iter().all(|(lease, _)| lease.is_idle()));
        // Nor is a call refused for which there is enough.
        if left > 0 {
            world.call(0, left, 0);
            world.settle_down();
            prop_assert_eq!(world.state().3, LIMIT - world.spent);
            prop_assert!(world.spent > used || left == 1);
        }
    }

    /// Isolates that die with leases in hand leave no way to overrun the limit.
    #[test]
    fn deaths_overrun_nothing(events in proptest::collection::vec(event(true), 1..250)) {
        let mut world = run(&events);
        world.settle_down();
        let (used, held, unconfirmed, _) = world.state();
        prop_assert_eq!(held, 0);
        prop_assert!(used <= world.spent && world.spent <= used + unconfirmed);
    }
}

/// A burst of calls does not put most of a limit into the lease of one isolate.
#[test]
fn a_burst_leases_a_sixteenth_for_later_calls() {
    let mut world = World::new();
    let mut asks = Vec::new();
    for _ in 0..60 {
        let money = &World::needs(10, 0)[..1];
        match world.leases[0].0.reserve(money, world.now_ms) {
            Reserved::Ask(ask) => asks.push(ask),
            other => panic!("{other:?}"),
        }
    }
    for ask in asks {
        let (answer, _) = world.account.ask(&ask, world.now_ms);
        world.leases[0].0.answered(&ask, answer, world.now_ms).unwrap();
    }
    let (_, held, _, _) = world.state();
    assert!(held <= 600 + LIMIT / 16, "{held}");
}

/// What an isolate holds that has been silent for too long does not come back in this window: nobody is told to wait for it.
#[test]
fn what_the_dead_held_is_spent() {
    let mut world = World::new();
    let ask = |world: &mut World, isolate: usize, least: u64| {
        let needs = World::needs(least, 0);
        let Reserved::Ask(ask) = world.leases[isolate].0.reserve(&needs, world.now_ms) else {
            panic!("it has nothing")
        };
        let (answer, _) = world.account.ask(&ask, world.now_ms);
        world.leases[isolate].0.answered(&ask, answer, world.now_ms)
    };
    assert!(ask(&mut world, 0, LIMIT - 10).is_ok());
    let waits = ask(&mut world, 1, 20).unwrap_err().unwrap();
    assert!(!waits.is_spent(), "{waits:?}");
    world.now_ms += 31_000;
    let refused = ask(&mut world, 1, 20).unwrap_err().unwrap();
    assert!(refused.is_spent(), "{refused:?}");
}

/// An answer that comes when its lease has been given back is not a refusal: whoever waited asks again.
#[test]
fn an_answer_to_a_lease_that_is_gone_is_no_refusal() {
    let mut world = World::new();
    let needs = World::needs(10, 0);
    let reserve = |world: &mut World| {
        let Reserved::Ask(ask) = world.leases[0].0.reserve(&needs, world.now_ms) else {
            panic!("it has nothing")
        };
        ask
    };
    let (late, lost) = (reserve(&mut world), reserve(&mut world));
    // One ask gets no answer: the lease is given back, before the book hears of the other.
    world.leases[0].0.not_answered(&lost);
    let report = world.leases[0].0.report(world.now_ms).cloned().unwrap();
    let (standing, _) = world.account.report(&report, world.now_ms);
    world.leases[0].0.reported(standing);
    let (answer, _) = world.account.ask(&late, world.now_ms);
    assert_eq!(world.leases[0].0.answered(&late, answer, world.now_ms), Err(None));
    let again = reserve(&mut world);
    let (answer, _) = world.account.ask(&again, world.now_ms);
    assert!(world.leases[0].0.answered(&again, answer, world.now_ms).is_ok());
}

/// Calls that end faster than a report in each pause could tell of are told of all the same: a full report does not wait.
#[test]
fn reports_keep_up_with_calls() {
    let mut world = World::new();
    let settled = || Settled { receipt: Some("{}".to_owned()), rows: Vec::new(), charges: Vec::new() };
    let mut told = 0;
    for millisecond in 0..60_000 {
        let lease = &mut world.leases[0].0;
        // 2,000 a second.
        (0..2).for_each(|_| lease.settle(settled()));
        if lease.wait_ms(world.now_ms + millisecond) > 0 {
            continue;
        }
        let Some(report) = lease.report(world.now_ms + millisecond).cloned() else { continue };
        told += report.calls();
        let (standing, _) = world.account.report(&report, world.now_ms + millisecond);
        lease.reported(standing);
    }
    assert!(120_000 - told <= 500, "{told}");
    assert_eq!(world.leases[0].0.lost(), 0);
}

/// What nobody waits for is told of once a second, what gives something back four times.
#[test]
fn what_gives_nothing_back_is_not_hurried() {
    let charge = Charge { lease: 1, counter: COUNTER.into(), window: 0, held: 50, used: 20 };
    for (charges, pause_ms) in [(Vec::new(), 1_000), (vec![charge], 250)] {
        let mut world = World::new();
        let settled =
            || Settled { receipt: Some("{}".to_owned()), rows: Vec::new(), charges: charges.clone() };
        let lease = &mut world.leases[0].0;
        lease.settle(settled());
        assert_eq!(lease.wait_ms(world.now_ms), 0, "the first is told of at once");
        let report = lease.report(world.now_ms).cloned().unwrap();
        lease.reported(world.account.report(&report, world.now_ms).0);
        lease.settle(settled());
        assert_eq!(lease.wait_ms(world.now_ms), pause_ms);
        assert_eq!(lease.wait_ms(world.now_ms + pause_ms), 0);
    }
}

/// However large receipts are, those of a report are one value that the storage takes: 2 MB.
#[test]
fn reports_are_bounded() {
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
