//! The purse: what one isolate holds of one key's limits, and what it has to report of the key's calls. What is in it has been
//! set aside in the book, so calls spend from it without asking.
//!
//! # Leases
//! Far from its limits a key's lease is for many calls, so that few of them have to ask. Near a limit nothing is kept that no call
//! holds: there the book alone decides.
//!
//! A lease is numbered. It is given back when it has been idle, or when an ask got no answer (it may have been granted all the
//! same): then the report that closes it says what of it calls under way still hold, and the next lease has another number.

use super::account::{LEASE_MS, spare_of};
use super::limit::{Counter, Limit};
use super::message::{Ask, Charge, Closed, Granted, LeaseResponse, Need, Refusal, Report, Settled, Standing};
use super::receipt::{Totals, to_line};
use super::tally::{self, Row};
use super::window::Window;

/// How long a lease that nobody spends from is kept, in milliseconds.
pub const IDLE_MS: u64 = 5_000;
/// How often the book hears of a lease at least, in milliseconds.
pub const RENEW_MS: u64 = LEASE_MS / 3;
/// After how long a report that was not acknowledged is sent again, in milliseconds.
const REPEAT_MS: u64 = 12_000;
/// After how long it is given up, in milliseconds: the book would not know any more whether it has taken it.
const GIVE_UP_MS: u64 = 1_800_000;
/// The most calls of one report.
pub const MAX_SETTLED: usize = 500;
/// The most that the receipts of one report have together, in bytes, unless it is a single one: they become one value in the
/// ledger's SQLite, which takes 2 MB.
const MAX_RECEIPTS_BYTES: usize = 1_000_000;
/// The pause between two reports of calls that held nothing, in milliseconds, at least: nobody waits for what they give back. Each
/// report is a message to the ledger and a write to its disk, however few calls it tells of.
const UNHURRIED_MS: u64 = 1_000;
/// The most calls that wait to be reported; the oldest go first. Some 50 MB: a book that does not answer for minutes under load.
const MAX_WAITING: usize = 50_000;
/// For how many calls a lease is asked ahead, at most.
const MAX_AHEAD: u64 = 256;
/// How long it is remembered that a limit is spent, in milliseconds: it may have been raised.
const SPENT_MS: u64 = 1_000;

/// An isolate's share of one key's ledger.
#[derive(Debug)]
pub struct LocalLease {
    isolate: String,
    lease: Lease,
    /// Leases that were given back while calls held some of them.
    closed: Vec<Lease>,
    /// Leases whose closing has not been reported yet.
    closing: Vec<Lease>,
    waiting: Vec<Settled>,
    sending: Option<Sending>,
    /// The number of the last report.
    number: u64,
    /// For how many calls the next lease is asked ahead.
    ahead: u64,
    spent: Option<(u64, Refusal)>,
    /// What the book last said of each counter.
    standing: Vec<Granted>,
    pause_ms: u64,
    told_ms: u64,
    lost: u64,
}

#[derive(Clone, Debug)]
struct Sending {
    report: Report,
    made_ms: u64,
    sent_ms: u64,
}

#[derive(Clone, Debug, Default)]
struct Lease {
    number: u64,
    parts: Vec<Part>,
    /// Asks that have not been answered.
    asks: u32,
    used_ms: u64,
}

#[derive(Clone, Debug)]
struct Part {
    counter: Counter,
    window: u64,
    ends_ms: Option<u64>,
    rest: u64,
    /// What calls hold that are under way, or whose end has not been put in a report.
    held: u64,
    cap: u64,
}

/// What is set aside for a call, by counter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// A charge each, with nothing used yet.
    pub charges: Vec<Charge>,
}

impl Hold {
    /// What is set aside of a counter.
    pub fn of(&self, counter: &str) -> u64 {
        self.charges.iter().filter(|charge| charge.counter == counter).map(|charge| charge.held).sum()
    }

    /// Whether any of it has been taken.
    pub fn has(&self, counter: &str) -> bool {
        self.charges.iter().any(|charge| charge.counter == counter)
    }

    /// Says what has been used of a counter: of what was set aside first, then of what was added. What is beyond all of it
    /// counts with the first.
    pub fn charge(&mut self, counter: &str, used: u64) {
        let mut rest = used;
        for charge in self.charges.iter_mut().filter(|charge| charge.counter == counter) {
            charge.used = rest.min(charge.held);
            rest -= charge.used;
        }
        if let Some(first) = self.charges.iter_mut().find(|charge| charge.counter == counter) {
            first.used += rest;
        }
    }
}

/// What came of an attempt to set something aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// It has been set aside. The purse is running low if there is something to ask for behind the call.
    Held(Vec<Charge>, Option<Ask>),
    /// The book has to be asked; then [`LocalLease::answered`].
    Ask(Ask),
    /// The limit was spent a moment ago.
    Refused(Refusal),
}

impl Lease {
    fn new(number: u64) -> Lease {
        Lease { number, ..Lease::default() }
    }

    fn is_empty(&self) -> bool {
        self.parts.iter().all(|part| part.rest == 0 && part.held == 0)
    }

    fn holds(&self) -> bool {
        self.parts.iter().any(|part| part.held > 0)
    }

    fn part(&mut self, counter: &str, window: u64) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.counter == counter && part.window == window)
    }

    /// The part of a counter that counts now.
    fn current(&mut self, counter: &str, now_ms: u64) -> Option<&mut Part> {
        let is_open = |part: &&mut Part| part.ends_ms.is_none_or(|ends_ms| ends_ms > now_ms);
        self.parts.iter_mut().filter(is_open).find(|part| part.counter == counter)
    }
}

impl LocalLease {
    /// An empty purse. `isolate` is a name that no other isolate has had.
    pub fn new(isolate: String) -> LocalLease {
        LocalLease {
            isolate,
            lease: Lease::new(1),
            closed: Vec::new(),
            closing: Vec::new(),
            waiting: Vec::new(),
            sending: None,
            number: 0,
            ahead: 1,
            spent: None,
            standing: Vec::new(),
            pause_ms: 0,
            told_ms: 0,
            lost: 0,
        }
    }

    /// The name of the isolate.
    pub fn isolate(&self) -> &str {
        &self.isolate
    }

    /// Sets aside what an attempt needs, if it is there.
    pub fn reserve(&mut self, needs: &[Need], now_ms: u64) -> Reserved {
        if let Some((until_ms, refusal)) = &self.spent {
            let same = |need: &&Need| {
                need.counter == refusal.counter && need.limit == refusal.limit && need.least >= refusal.needed
            };
            if *until_ms > now_ms && needs.iter().any(|need| same(&need)) {
                return Reserved::Refused(refusal.clone());
            }
        }
        // What was for a window that is over is of no use any more, and the book knows.
        let is_of_use = |part: &Part| part.held > 0 || part.ends_ms.is_none_or(|ends_ms| ends_ms > now_ms);
        self.lease.parts.retain(is_of_use);
        let had_spare = self.has_spare();
        let takes: Vec<Option<(u64, u64)>> = needs
            .iter()
            .map(|need| {
                let part = self.lease.current(&need.counter, now_ms)?;
                let take = need.most.min(need.least.max(part.cap));
                (part.rest >= take).then_some((part.window, take))
            })
            .collect();
        if takes.iter().any(Option::is_none) {
            // What was leased was not enough: more is asked for the next time.
            if had_spare || now_ms < self.lease.used_ms + IDLE_MS {
                self.ahead = (self.ahead * 2).min(MAX_AHEAD);
            }
            self.lease.used_ms = now_ms;
            self.lease.asks += 1;
            return Reserved::Ask(self.ask(needs, true));
        }
        self.lease.used_ms = now_ms;
        let mut charges = Vec::with_capacity(needs.len());
        let mut low = false;
        for (need, take) in needs.iter().zip(takes) {
            let Some((window, take)) = take else { continue };
            let number = self.lease.number;
            let Some(part) = self.lease.part(&need.counter, window) else { continue };
            part.rest -= take;
            part.held += take;
            low |= part.rest < take.saturating_mul(self.ahead / 2 + 1);
            charges.push(Charge {
                lease: number,
                counter: need.counter.clone(),
                window,
                held: take,
                used: 0,
            });
        }
        let refill = (low && self.lease.asks == 0).then(|| {
            self.lease.asks += 1;
            self.ahead = (self.ahead * 2).min(MAX_AHEAD);
            self.ask(needs, false)
        });
        Reserved::Held(charges, refill)
    }

    fn ask(&self, needs: &[Need], waits: bool) -> Ask {
        Ask {
            isolate: self.isolate.clone(),
            lease: self.lease.number,
            waits,
            // One of several asks at once brings what later calls need: each share of what is left counts once.
            ahead: if self.lease.asks > 1 { 0 } else { self.ahead },
            needs: needs.to_vec(),
        }
    }

    /// Takes the book's answer, and gives what is set aside for the attempt that waited for it, if one did. The error is the
    /// book's refusal, or `None` if the lease was given back in the meantime: then nothing has been set aside, and it can be
    /// asked for again.
    pub fn answered(
        &mut self,
        ask: &Ask,
        answer: LeaseResponse,
        now_ms: u64,
    ) -> Result<Vec<Charge>, Option<Refusal>> {
        if self.lease.number == ask.lease {
            self.lease.asks = self.lease.asks.saturating_sub(1);
        }
        let granted = match answer {
            LeaseResponse::Granted(granted) => granted,
            LeaseResponse::Refused(refusal) => {
                if refusal.is_spent() && ask.waits {
                    let until_ms = refusal.ends_ms.unwrap_or(u64::MAX).min(now_ms + SPENT_MS);
                    self.spent = Some((until_ms, refusal.clone()));
                }
                let Refusal { counter, left, ends_ms, .. } = refusal.clone();
                let window =
                    Limit::of_counter(&counter, 0).map_or(0, |limit| limit.span.window(now_ms).number);
                self.stands(Granted { counter, window, ends_ms, hold: 0, spare: 0, cap: 0, left });
                // What this isolate keeps itself may be what is missing.
                if self.lease.number == ask.lease && self.lease.asks == 0 && self.has_spare() {
                    self.give_back();
                }
                return Err(Some(refusal));
            }
        };
        if ask.waits && granted.len() < ask.needs.len() {
            return Err(None);
        }
        // Of a lease whose closing has been reported nothing can be spent any more: the book was told what is still held.
        let lease = if self.lease.number == ask.lease {
            Some(&mut self.lease)
        } else {
            self.closing.iter_mut().find(|lease| lease.number == ask.lease)
        };
        let Some(lease) = lease else { return Err(None) };
        // With less room than was asked for, the lease is not low before half of what there was room for is gone.
        let room = granted.iter().zip(&ask.needs).map(|(one, need)| one.spare / need.most.max(1)).min();
        if let Some(room) = room.filter(|_| ask.ahead > 0) {
            self.ahead = self.ahead.min(room.max(1));
        }
        let mut charges = Vec::with_capacity(granted.len());
        lease.parts.retain(|part| part.rest > 0 || part.held > 0);
        for one in &granted {
            let Granted { counter, window, ends_ms, hold, spare, cap, .. } = one;
            if let Some(part) = lease.part(counter, *window) {
                part.rest += spare;
                part.held += hold;
                part.cap = *cap;
            } else {
                let (counter, rest, held) = (counter.clone(), *spare, *hold);
                lease.parts.push(Part { counter, window: *window, ends_ms: *ends_ms, rest, held, cap: *cap });
            }
            if *hold > 0 {
                let (counter, window, held) = (counter.clone(), *window, *hold);
                charges.push(Charge { lease: ask.lease, counter, window, held, used: 0 });
            }
        }
        for one in granted {
            self.stands(one);
        }
        Ok(charges)
    }

    fn stands(&mut self, now: Granted) {
        match self.standing.iter_mut().find(|known| known.counter == now.counter) {
            Some(known) => *known = now,
            None => self.standing.push(now),
        }
    }

    /// Notes that an ask got no answer: it may have been granted, so the lease is given back.
    pub fn not_answered(&mut self, ask: &Ask) {
        if self.lease.number == ask.lease {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        let next = Lease::new(self.lease.number + 1);
        let old = std::mem::replace(&mut self.lease, next);
        for part in &old.parts {
            come_back(&mut self.standing, &part.counter, part.window, part.rest);
        }
        self.closing.push(old);
        self.ahead = 1;
    }

    /// Notes that a call is over: what it used is charged with the next report. What it held beyond that can be spent again at
    /// once; where a limit is near, it goes back to the book.
    pub fn settle(&mut self, mut settled: Settled) {
        if settled.receipt.is_none() && settled.charges.is_empty() {
            return;
        }
        // More than the share of what is left that a lease may keep for later calls.
        let is_too_much = |charge: &Charge| {
            let known = self.standing.iter().find(|known| known.counter == charge.counter);
            let part = self
                .lease
                .parts
                .iter()
                .find(|part| part.counter == charge.counter && part.window == charge.window);
            let rest = part.map_or(0, |part| part.rest) + charge.held.saturating_sub(charge.used);
            known.is_some_and(|known| spare_of(&known.counter, known.left) < rest)
        };
        if settled.charges.iter().any(is_too_much) && self.lease.asks == 0 {
            self.give_back();
        }
        let number = self.lease.number;
        for charge in settled.charges.iter().filter(|charge| charge.lease != number) {
            let unused = charge.held.saturating_sub(charge.used);
            come_back(&mut self.standing, &charge.counter, charge.window, unused);
        }
        for charge in settled.charges.iter_mut().filter(|charge| charge.lease == number) {
            let unused = charge.held.saturating_sub(charge.used);
            if let Some(part) = self.lease.part(&charge.counter, charge.window) {
                part.held = part.held.saturating_sub(unused);
                part.rest += unused;
                charge.held -= unused;
            }
        }
        settled.charges.retain(|charge| charge.held > 0 || charge.used > 0);
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.remove(0);
            self.lost += 1;
        }
        self.waiting.push(settled);
    }

    /// How many calls' records had to be given up since this was last asked.
    pub fn lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Gives back a lease that nobody has spent from for a while.
    pub fn tidy(&mut self, now_ms: u64) {
        let idle = self.lease.asks == 0 && now_ms.saturating_sub(self.lease.used_ms) >= IDLE_MS;
        if idle && self.has_spare() {
            self.give_back();
        }
    }

    /// Whether there is anything in the lease that no call holds.
    pub fn has_spare(&self) -> bool {
        self.lease.parts.iter().any(|part| part.rest > 0)
    }

    /// Whether calls hold something, or wait for it.
    pub fn is_holding(&self) -> bool {
        self.lease.asks > 0 || self.lease.holds()
    }

    /// Whether there is anything that the book does not know yet, or has to hear of again: calls that have ended, leases.
    pub fn is_idle(&self) -> bool {
        self.sending.is_none()
            && self.waiting.is_empty()
            && self.closing.is_empty()
            && self.closed.is_empty()
            && self.lease.is_empty()
    }

    /// Whether the book has not acknowledged all there is: calls that have ended, leases that are given back.
    pub fn has_news(&self) -> bool {
        self.sending.is_some() || self.has_unsent()
    }

    fn has_unsent(&self) -> bool {
        !self.waiting.is_empty() || !self.closing.is_empty()
    }

    /// How long to wait before the next report, in milliseconds: not at all once it would be a full one, since calls may end
    /// faster than one report in each pause can tell.
    pub fn wait_ms(&self, now_ms: u64) -> u64 {
        if self.waiting.len() >= MAX_SETTLED {
            return 0;
        }
        let gives_back =
            !self.closing.is_empty() || self.waiting.iter().any(|settled| !settled.charges.is_empty());
        let pause_ms = if gives_back { self.pause_ms } else { self.pause_ms.max(UNHURRIED_MS) };
        (self.told_ms + pause_ms).saturating_sub(now_ms)
    }

    /// How many of the calls that wait are told of by the next report.
    fn next_calls(&self) -> usize {
        let mut bytes = 0;
        let fits = |settled: &&Settled| {
            bytes += settled.receipt.as_ref().map_or(0, String::len);
            bytes <= MAX_RECEIPTS_BYTES
        };
        self.waiting.iter().take(MAX_SETTLED).take_while(fits).count().max(1).min(self.waiting.len())
    }

    /// The report to send now, if there is one: news, an older one that was not acknowledged, or that leases are still held.
    pub fn report(&mut self, now_ms: u64) -> Option<&Report> {
        if let Some(sending) = &mut self.sending {
            if now_ms < sending.sent_ms + REPEAT_MS {
                return None;
            }
            if now_ms < sending.made_ms + GIVE_UP_MS {
                sending.sent_ms = now_ms;
                return self.sending.as_ref().map(|sending| &sending.report);
            }
            self.lost += sending.report.calls() as u64;
            self.sending = None;
        }
        let renews = self.has_lease() && now_ms >= self.told_ms + RENEW_MS;
        if !self.has_unsent() && !renews {
            return None;
        }
        let (mut charges, mut rows, mut receipts) = (Vec::new(), Vec::new(), String::new());
        for settled in self.waiting.drain(..self.next_calls()) {
            if let Some(receipt) = &settled.receipt {
                to_line(receipt, Totals::of(&settled.rows), &mut receipts);
            }
            settled.rows.into_iter().for_each(|row| tally::merge(&mut rows, row));
            settled.charges.into_iter().for_each(|charge| merge(&mut charges, charge));
        }
        for charge in &charges {
            let leases = self.closing.iter_mut().chain(&mut self.closed).chain([&mut self.lease]);
            let lease = leases.into_iter().find(|lease| lease.number == charge.lease);
            if let Some(part) = lease.and_then(|lease| lease.part(&charge.counter, charge.window)) {
                part.held = part.held.saturating_sub(charge.held);
            }
        }
        let closing = std::mem::take(&mut self.closing);
        let closed = closing.iter().map(|lease| Closed {
            lease: lease.number,
            held: lease.parts.iter().map(|part| (part.counter.clone(), part.window, part.held)).collect(),
        });
        let closed = closed.collect();
        self.closed.extend(closing);
        self.closed.retain(Lease::holds);
        self.number += 1;
        let leases = self.closed.iter().map(|lease| lease.number).chain([self.lease.number]).collect();
        let (isolate, number) = (self.isolate.clone(), self.number);
        let rows = rows.iter().map(Row::to_json).collect();
        let report = Report { isolate, number, charges, rows, closed, leases, receipts };
        self.told_ms = now_ms;
        Some(&self.sending.insert(Sending { report, made_ms: now_ms, sent_ms: now_ms }).report)
    }

    fn has_lease(&self) -> bool {
        !self.lease.is_empty() || !self.closed.is_empty()
    }

    /// Takes the acknowledgement of a report.
    pub fn reported(&mut self, standing: Standing) {
        self.pause_ms = standing.pause_ms;
        if self.sending.as_ref().is_some_and(|sending| sending.report.number <= standing.number) {
            self.sending = None;
        }
    }

    /// Notes that a report got no acknowledgement: it can be sent again at once.
    pub fn not_reported(&mut self, number: u64) {
        if let Some(sending) = &mut self.sending
            && sending.report.number == number
        {
            sending.sent_ms = 0;
        }
    }

    /// What is left of a counter and when its window ends, as far as this isolate knows; `None`: nothing in this window.
    pub fn left(&self, counter: &str, now_ms: u64) -> Option<(u64, Window)> {
        let known = self.standing.iter().find(|known| known.counter == counter)?;
        if known.ends_ms.is_some_and(|ends_ms| ends_ms <= now_ms) {
            return None;
        }
        let own = self.lease.parts.iter().find(|part| part.counter == counter && part.window == known.window);
        let left = known.left.saturating_add(own.map_or(0, |part| part.rest));
        Some((left, Window { number: known.window, ends_ms: known.ends_ms }))
    }
}

/// Notes that something goes back to the book, for what callers are told to be left.
fn come_back(standing: &mut [Granted], counter: &str, window: u64, amount: u64) {
    if let Some(known) = standing.iter_mut().find(|known| known.counter == counter && known.window == window)
    {
        known.left = known.left.saturating_add(amount);
    }
}

/// Adds a charge to those of its lease, window and counter.
fn merge(charges: &mut Vec<Charge>, charge: Charge) {
    let same = |sum: &&mut Charge| {
        (sum.lease, sum.window) == (charge.lease, charge.window) && sum.counter == charge.counter
    };
    match charges.iter_mut().find(same) {
        Some(sum) => {
            sum.held = sum.held.saturating_add(charge.held);
            sum.used = sum.used.saturating_add(charge.used);
        }
        None => charges.push(charge),
    }
}
