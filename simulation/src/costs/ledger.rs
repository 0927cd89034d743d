//! The ledger of one key under load: its isolates, its Durable Object, and the rows that both read and write.
//!
//! [`LocalLease`] and [`Account`] are the gateway's own code. This module sends messages when the Worker sends them, and counts the
//! rows that the Worker writes. Only countable things are simulated: no message is lost, no isolate dies, and an overloaded
//! object is as fast as an idle one; the counts show the overload.

use gatehouse_core::ledger::tally::{Row, Slice, Tally};
use gatehouse_core::ledger::{
    Account, Changes, Charge, IDLE_MS, LeaseRequest, LeaseResponse, Limit, LocalLease, Need, Report,
    ReportResponse, Reserved, Settled,
};

use crate::day::{BEGIN_MS, DAY_MS};
use crate::queue::Queue;
use crate::rng::Rng;

/// The time of a message to an object, in milliseconds.
pub const THERE_MS: u64 = 2;
/// The time of a response from an object, in milliseconds.
pub const BACK_MS: u64 = 3;
/// The time that an object is active for a message, in milliseconds.
pub const ACTIVE_MS: u64 = 5;
/// The time that an object is active for a fold with its roll-up, in milliseconds.
pub const FOLD_ACTIVE_MS: u64 = 50;
/// The idle time after which an object is evicted from memory, in milliseconds.
const EVICTED_MS: u64 = 10_000;
/// The age of an isolate's copy of an issued key at which it is refreshed after a response (soft), and at which a call
/// waits for the refresh (hard), in milliseconds, as in `core/src/key/cache.rs`.
const KEY_SOFT_MS: u64 = 5_000;
const KEY_HARD_MS: u64 = 10_000;
/// The rows that a lookup of a key reads: its secret's and its own.
const KEY_ROWS: u64 = 2;
/// The rows that an object reads when it is loaded, in addition to the unfolded pages: the names of its tables and their
/// indexes, the last page, and the two texts.
const LOAD_ROWS: u64 = 8;
/// The rows that a fold writes in addition to sums and removed pages: the watermark, the reporters, the roll-up, and its
/// removal.
const FOLD_ROWS: u64 = 4;
/// The rows that a roll-up writes in addition to sums: the watermark, and the row to which it appends its receipts.
const ROLL_UP_ROWS: u64 = 2;
/// The rows that it reads in addition to sums: the watermark, the same row, and the hour of the last tidying, twice.
const ROLL_UP_ROWS_READ: u64 = 4;
/// The rows that a fold reads to find expired ones: the first that has not expired.
const REMOVAL_ROWS: u64 = 1;
/// The number of models that the calls of a key use.
pub const MODELS: u64 = 3;
/// The shortest and the longest duration of a call, in milliseconds.
pub const DURATION_MS: (u64, u64) = (1_000, 5_000);
/// The smallest and the largest hold of a call, in micro-USD.
pub const HOLD_MICRO_USD: (u64, u64) = (2_000, 12_000);
/// The smallest and the largest cost of a call, in micro-USD.
pub const COST_MICRO_USD: (u64, u64) = (1_000, 4_000);
/// The interval at which the amount on hold is sampled, in milliseconds.
const SAMPLE_MS: u64 = 250;

/// The parameters of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Calls of the key in ten thousand seconds.
    pub calls: u64,
    /// The isolates that share them evenly.
    pub isolates: u64,
    /// True if the key has limits.
    pub limits: bool,
}

impl Setting {
    /// The mean time between two calls, in milliseconds.
    fn gap_ms(self) -> f64 {
        1e7 / self.calls as f64
    }

    /// The time that is counted, some thousand calls and at least some folds; and the warm-up before it.
    fn times_ms(self) -> (u64, u64) {
        let calls = 2_000.0 * self.gap_ms();
        match self.calls {
            0..=100_000 => ((calls as u64).max(120_000), 60_000),
            100_001..=10_000_000 => (30_000, 20_000),
            10_000_001..=100_000_000 => (10_000, 12_000),
            _ => (4_000, 8_000),
        }
    }

    /// The limits of the key: twice the usage of its calls.
    fn limits(self) -> Vec<Limit> {
        if !self.limits {
            return Vec::new();
        }
        let in_time = |ms: u64| 2 * (ms as f64 / self.gap_ms()) as u64;
        let per_minute = in_time(60_000).max(60);
        let micro_usd = (in_time(DAY_MS) * COST_MICRO_USD.1).max(100 * HOLD_MICRO_USD.1);
        let concurrent = in_time(DURATION_MS.1).max(20);
        [("requests_per_minute", per_minute), ("usd_per_day", micro_usd), ("concurrent", concurrent)]
            .into_iter()
            .filter_map(|(name, amount)| Limit::of_counter(name, amount))
            .collect()
    }
}

/// The counts of a simulation. All belong to the same number of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls.
    pub calls: u64,
    /// Calls that were rejected: none are expected, since the limits are twice the usage.
    pub refused: u64,
    /// Calls that waited for the object.
    pub waited: u64,
    /// Calls that waited for the lookup of their key in the database.
    pub waited_for_key: u64,
    /// Requests for a lease to the object, whether a call waited or not.
    pub asks: u64,
    /// Reports to the object.
    pub reports: u64,
    /// Alarms of the object.
    pub alarms: u64,
    /// The active time of the object, in milliseconds.
    pub active_ms: u64,
    /// Rows that the object wrote, deleted ones and alarms included.
    pub object_written: u64,
    /// Rows that the object read.
    pub object_read: u64,
    /// Batches and queries of the database.
    pub d1_queries: u64,
    /// Rows that were written to the database.
    pub d1_written: u64,
    /// Rows that were read from the database.
    pub d1_read: u64,
    /// The highest amount on hold, in millionths of the daily limit.
    pub most_aside_ppm: u64,
    /// The highest number of unreported calls of an isolate.
    pub most_waiting: u64,
}

impl Counts {
    /// Messages and alarms of the object, which are charged as its requests.
    pub fn object_requests(&self) -> u64 {
        self.asks + self.reports + self.alarms
    }

    /// The counts of a million calls, rounded down; maxima stay as they are.
    #[must_use]
    pub fn of_a_million(&self) -> Counts {
        let of = |count: u64| per_million(count, self.calls);
        Counts {
            calls: 1_000_000,
            refused: of(self.refused),
            waited: of(self.waited),
            waited_for_key: of(self.waited_for_key),
            asks: of(self.asks),
            reports: of(self.reports),
            alarms: of(self.alarms),
            active_ms: of(self.active_ms),
            object_written: of(self.object_written),
            object_read: of(self.object_read),
            d1_queries: of(self.d1_queries),
            d1_written: of(self.d1_written),
            d1_read: of(self.d1_read),
            ..*self
        }
    }
}

/// Scales a count of `of` calls to a million calls, rounded down.
pub fn per_million(count: u64, of: u64) -> u64 {
    (u128::from(count) * 1_000_000 / u128::from(of.max(1))) as u64
}

enum Event {
    Call,
    End {
        isolate: usize,
        charges: Vec<Charge>,
    },
    Request {
        isolate: usize,
        ask: Box<LeaseRequest>,
    },
    Leased {
        isolate: usize,
        exchange: Box<(LeaseRequest, LeaseResponse)>,
    },
    Reported {
        isolate: usize,
        report: Box<Report>,
    },
    Acknowledged {
        isolate: usize,
        standing: ReportResponse,
    },
    /// A report is due.
    Report(usize),
    /// Leases are checked for return or renewal.
    Tend(usize),
    Alarm,
    Sample,
}

struct Isolate {
    lease: LocalLease,
    /// True while a report is in flight.
    sends: bool,
    /// True while a report is scheduled.
    waits: bool,
    tends: bool,
    /// The time of its last lookup of the key.
    key_ms: u64,
    /// Ended calls that have not been reported.
    unreported: u64,
}

struct World {
    setting: Setting,
    limits: Vec<Limit>,
    rng: Rng,
    now_ms: u64,
    queue: Queue<Event>,
    isolates: Vec<Isolate>,
    account: Account,
    alarm_ms: Option<u64>,
    active_until_ms: u64,
    /// Pages that have not been folded.
    fresh_pages: u64,
    ids: u64,
    folds: u64,
    counts: Counts,
}

/// Simulates a setting.
pub fn run(setting: Setting, seed: u64) -> Counts {
    let rng = Rng::of(&[seed, setting.calls, setting.isolates, setting.limits.into()]);
    let isolates = (0..setting.isolates).map(|number| Isolate {
        lease: LocalLease::new(format!("{number:016x}")),
        sends: false,
        waits: false,
        tends: false,
        key_ms: 0,
        unreported: 0,
    });
    let mut world = World {
        setting,
        limits: setting.limits(),
        rng,
        now_ms: BEGIN_MS,
        queue: Queue::default(),
        isolates: isolates.collect(),
        account: Account::default(),
        alarm_ms: None,
        active_until_ms: 0,
        fresh_pages: 0,
        ids: 0,
        folds: 0,
        counts: Counts::default(),
    };
    world.run();
    let World { folds, mut counts, .. } = world;
    counts.object_read += folds * REMOVAL_ROWS;
    counts
}

impl World {
    fn run(&mut self) {
        let (measured_ms, before_ms) = self.setting.times_ms();
        let (from_ms, until_ms) = (BEGIN_MS + before_ms, BEGIN_MS + before_ms + measured_ms);
        // Calls arrive at fractions of a millisecond.
        let mut next = BEGIN_MS as f64 + self.rng.wait(self.setting.gap_ms());
        self.queue.at(next as u64, Event::Call);
        if self.setting.limits {
            self.queue.at(BEGIN_MS, Event::Sample);
        }
        let mut begun = false;
        while let Some((at_ms, event)) = self.queue.pop() {
            self.now_ms = at_ms;
            if at_ms >= until_ms {
                return;
            }
            if !begun && at_ms >= from_ms {
                begun = true;
                (self.counts, self.folds) = (Counts::default(), 0);
            }
            if matches!(event, Event::Call) {
                next += self.rng.wait(self.setting.gap_ms());
                self.queue.at(next as u64, Event::Call);
            }
            self.step(event);
        }
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Call => self.call(),
            Event::End { isolate, charges } => self.end(isolate, charges),
            Event::Request { isolate, ask } => {
                let (response, changes) = self.account.request_lease(&ask, self.now_ms);
                self.counts.asks += 1;
                self.active(ACTIVE_MS);
                self.store(&changes);
                self.queue.at(
                    self.now_ms + BACK_MS,
                    Event::Leased { isolate, exchange: Box::new((*ask, response)) },
                );
            }
            Event::Leased { isolate, exchange } => {
                let (ask, response) = *exchange;
                let now_ms = self.now_ms;
                let Some(state) = self.isolates.get_mut(isolate) else { return };
                match state.lease.apply(&ask, response, now_ms) {
                    Ok(charges) if ask.waits => self.begin(isolate, charges),
                    Err(_) if ask.waits => self.counts.refused += 1,
                    _ => {}
                }
            }
            Event::Reported { isolate, report } => {
                let (standing, changes) = self.account.report(&report, self.now_ms);
                self.counts.reports += 1;
                self.active(ACTIVE_MS);
                self.store(&changes);
                if let Some(state) = self.isolates.get_mut(isolate) {
                    state.unreported -= report.calls() as u64;
                }
                self.queue.at(self.now_ms + BACK_MS, Event::Acknowledged { isolate, standing });
            }
            Event::Acknowledged { isolate, standing } => {
                if let Some(state) = self.isolates.get_mut(isolate) {
                    state.lease.reported(standing);
                    state.sends = false;
                }
                self.report(isolate);
            }
            Event::Report(isolate) => {
                if let Some(state) = self.isolates.get_mut(isolate) {
                    state.waits = false;
                }
                self.report(isolate);
            }
            Event::Tend(isolate) => {
                if let Some(state) = self.isolates.get_mut(isolate) {
                    state.tends = false;
                    state.lease.tidy(self.now_ms);
                }
                self.report(isolate);
                self.tend(isolate);
            }
            Event::Alarm => self.alarm(),
            Event::Sample => {
                let money = self.limits.iter().find(|limit| limit.name == "usd_per_day");
                if let Some(limit) = money {
                    let held = u128::from(self.account.state(limit, self.now_ms).held);
                    let ppm = (held * 1_000_000 / u128::from(limit.amount)) as u64;
                    self.counts.most_aside_ppm = self.counts.most_aside_ppm.max(ppm);
                }
                let every_ms = SAMPLE_MS.max((self.setting.gap_ms() * 0.9) as u64);
                self.queue.at(self.now_ms + every_ms, Event::Sample);
            }
        }
    }

    fn call(&mut self) {
        self.counts.calls += 1;
        let isolate = self.rng.within(0, self.setting.isolates) as usize;
        let now_ms = self.now_ms;
        let limits = &self.limits;
        let Some(state) = self.isolates.get_mut(isolate) else { return };
        let age_ms = now_ms - state.key_ms;
        if age_ms >= KEY_SOFT_MS {
            state.key_ms = now_ms;
            self.counts.d1_queries += 1;
            self.counts.d1_read += KEY_ROWS;
            self.counts.waited_for_key += u64::from(age_ms >= KEY_HARD_MS);
        }
        if limits.is_empty() {
            return self.begin(isolate, Vec::new());
        }
        let needs: Vec<Need> = limits
            .iter()
            .map(|limit| {
                let (least, most) = if limit.name == "usd_per_day" { HOLD_MICRO_USD } else { (1, 1) };
                Need { counter: limit.counter(), limit: limit.amount, least, most }
            })
            .collect();
        match state.lease.reserve(&needs, now_ms) {
            Reserved::Held(charges, refill) => {
                if let Some(ask) = refill {
                    self.queue.at(now_ms + THERE_MS, Event::Request { isolate, ask: Box::new(ask) });
                }
                self.begin(isolate, charges);
            }
            Reserved::Request(ask) => {
                self.counts.waited += 1;
                self.queue.at(now_ms + THERE_MS, Event::Request { isolate, ask: Box::new(ask) });
            }
            Reserved::Refused(_) => self.counts.refused += 1,
        }
        self.tend(isolate);
    }

    fn begin(&mut self, isolate: usize, charges: Vec<Charge>) {
        let (shortest, longest) = DURATION_MS;
        let until_ms = self.now_ms + self.rng.within(shortest, longest);
        self.queue.at(until_ms, Event::End { isolate, charges });
    }

    fn end(&mut self, isolate: usize, mut charges: Vec<Charge>) {
        let (least, most) = COST_MICRO_USD;
        let cost = self.rng.within(least, most);
        let model = self.rng.within(0, MODELS);
        for charge in &mut charges {
            charge.used = match &*charge.counter {
                "usd_per_day" => cost,
                "concurrent" => 0,
                _ => 1,
            };
        }
        let tally =
            Tally { requests: 1, successful: 1, attempts: 1, cost_micro_usd: cost, ..Tally::default() };
        let slice = Slice {
            hour: (self.now_ms / (DAY_MS / 24)) as u32,
            operation: "chat/completions".into(),
            project: String::new(),
            provider: "provider".to_owned(),
            model: format!("model-{model}"),
        };
        self.ids += 1;
        let receipt = Some(format!("{{\"id\":\"rcpt_{:026}\"}}", self.ids));
        let rows = vec![Row { slice, tally }];
        if let Some(state) = self.isolates.get_mut(isolate) {
            state.unreported += 1;
            self.counts.most_waiting = self.counts.most_waiting.max(state.unreported);
            state.lease.settle(Settled { receipt, rows, charges });
        }
        self.report(isolate);
        self.tend(isolate);
    }

    /// Sends a report, or schedules it.
    fn report(&mut self, isolate: usize) {
        let now_ms = self.now_ms;
        let Some(state) = self.isolates.get_mut(isolate) else { return };
        if state.sends {
            return;
        }
        let wait_ms = state.lease.wait_ms(now_ms);
        if wait_ms > 0 {
            if state.lease.has_unreported() && !std::mem::replace(&mut state.waits, true) {
                self.queue.at(now_ms + wait_ms, Event::Report(isolate));
            }
        } else if let Some(report) = state.lease.report(now_ms).cloned() {
            state.sends = true;
            self.queue.at(now_ms + THERE_MS, Event::Reported { isolate, report: Box::new(report) });
        }
    }

    fn tend(&mut self, isolate: usize) {
        let Some(state) = self.isolates.get_mut(isolate) else { return };
        if !state.lease.is_idle() && !std::mem::replace(&mut state.tends, true) {
            self.queue.at(self.now_ms + IDLE_MS, Event::Tend(isolate));
        }
    }

    /// Counts activity of the object.
    fn active(&mut self, ms: u64) {
        let now_ms = self.now_ms;
        if now_ms > self.active_until_ms + EVICTED_MS {
            // All leases have been returned by then.
            self.counts.object_read += LOAD_ROWS + self.fresh_pages;
        }
        let until_ms = now_ms + ms;
        self.counts.active_ms += until_ms.saturating_sub(self.active_until_ms.max(now_ms));
        self.active_until_ms = self.active_until_ms.max(until_ms);
    }

    fn store(&mut self, changes: &Changes) {
        let Changes { page, counters, leases, rejections } = changes;
        let page = u64::from(page.is_some());
        self.fresh_pages += page;
        self.counts.object_written +=
            page + u64::from(counters.is_some()) + u64::from(rejections.is_some()) + leases.len() as u64;
        self.set_alarm();
    }

    fn set_alarm(&mut self) {
        if let Some(due_ms) = self.account.due_ms()
            && self.alarm_ms.is_none_or(|at_ms| at_ms > due_ms)
        {
            self.alarm_ms = Some(due_ms);
            self.counts.object_written += 1;
            self.queue.at(due_ms, Event::Alarm);
        }
    }

    fn alarm(&mut self) {
        // An alarm that was replaced by an earlier one does not fire.
        if self.alarm_ms != Some(self.now_ms) {
            return;
        }
        self.alarm_ms = None;
        self.counts.alarms += 1;
        let leases = self.account.expire(self.now_ms);
        self.counts.object_written += leases.len() as u64;
        if self.account.is_fold_due(self.now_ms) {
            self.active(FOLD_ACTIVE_MS);
            let slices = self.account.fold(self.now_ms).len() as u64;
            self.folds += 1;
            self.counts.object_written += slices + FOLD_ROWS;
            // The sums are read and added to, and the queue is read until it is empty.
            self.counts.object_read += slices + 1;
            // On average as many pages are removed as are added.
            self.counts.object_written += std::mem::take(&mut self.fresh_pages);
            self.counts.d1_queries += 1;
            self.counts.d1_written += slices + ROLL_UP_ROWS;
            self.counts.d1_read += slices + ROLL_UP_ROWS_READ;
        } else {
            self.active(ACTIVE_MS);
        }
        self.set_alarm();
    }
}
