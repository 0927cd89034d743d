//! The local lease: one isolate's share of a key's limits, and the calls that it has to report. The share is already
//! reserved in the account, so calls can spend it without a round trip.
//!
//! # Leases
//! Far from its limits, a key's lease covers many calls, so that few of them need a request to the account. Near a
//! limit, the isolate keeps nothing that no call holds: there, the account alone decides.
//!
//! Leases are numbered. A lease is returned when it has been idle, or when a request got no response (it may have been
//! granted). The report that closes it states the amount that calls in progress still hold, and the next lease has
//! another number.

use super::account::{LEASE_MS, spare_of};
use super::limit::{Counter, Limit};
use super::message::{
    Charge, Closed, Granted, LeaseRequest, LeaseResponse, Need, Refusal, Report, ReportResponse, Settled,
};
use super::receipt::{Totals, to_line};
use super::rejection::{self, Rejection};
use super::tally::{self, Row};
use super::window::Window;

/// The time for which an unused lease is kept, in milliseconds.
pub const IDLE_MS: u64 = 5_000;
/// The longest interval between reports of a lease, in milliseconds.
pub const RENEW_MS: u64 = LEASE_MS / 3;
/// The time after which a report without an acknowledgement is sent again, in milliseconds.
const REPEAT_MS: u64 = 12_000;
/// The time after which such a report is dropped, in milliseconds: the account would not know any more whether it has
/// taken it.
const GIVE_UP_MS: u64 = 1_800_000;
/// The maximum number of calls in one report.
pub const MAX_SETTLED: usize = 500;
/// The maximum size of the receipts of one report, in bytes, unless there is only one receipt: they become one value in
/// the ledger's SQLite, whose limit is 2 MB.
const MAX_RECEIPTS_BYTES: usize = 1_000_000;
/// The minimum pause between two reports of calls that held nothing, in milliseconds: no call waits for amounts that
/// they return. Each report costs a message and a write to disk, however few calls it has.
const SLOW_PAUSE_MS: u64 = 1_000;
/// The maximum number of calls that wait to be reported; the oldest are dropped. About 50 MB: an account that does not
/// respond for minutes under load.
const MAX_WAITING: usize = 50_000;
/// The maximum number of calls that a lease covers in advance.
const MAX_AHEAD: u64 = 256;
/// The time for which a spent limit is remembered, in milliseconds: the limit may have been raised.
const SPENT_MS: u64 = 1_000;

/// An isolate's share of one key's ledger.
#[derive(Debug)]
pub struct LocalLease {
    isolate: String,
    lease: Lease,
    /// Leases that were returned while calls held parts of them.
    closed: Vec<Lease>,
    /// Leases whose return has not been reported yet.
    closing: Vec<Lease>,
    waiting: Vec<Settled>,
    /// Rejected calls that the account has not been told of, by kind.
    rejections: Vec<Rejection>,
    sending: Option<Sending>,
    /// The number of the last report.
    number: u64,
    /// The number of calls that the next lease covers in advance.
    ahead: u64,
    spent: Option<(u64, Refusal)>,
    /// The last known state of each counter in the account.
    known: Vec<Granted>,
    pause_ms: u64,
    reported_ms: u64,
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
    /// Requests without a response so far.
    requests: u32,
    used_ms: u64,
}

#[derive(Clone, Debug)]
struct Part {
    counter: Counter,
    window: u64,
    ends_ms: Option<u64>,
    rest: u64,
    /// The amount held by calls that are in progress or not reported yet.
    held: u64,
    cap: u64,
}

/// The amounts reserved for a call, by counter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// One charge for each amount, with nothing used yet.
    pub charges: Vec<Charge>,
}

impl Hold {
    /// The amount reserved of a counter.
    pub fn of(&self, counter: &str) -> u64 {
        self.charges.iter().filter(|charge| charge.counter == counter).map(|charge| charge.held).sum()
    }

    /// Returns `true` if any amount of a counter is reserved.
    pub fn has(&self, counter: &str) -> bool {
        self.charges.iter().any(|charge| charge.counter == counter)
    }

    /// Charges the used amount of a counter: first to the earliest reservation, then to the later ones. The excess over
    /// all of them is charged to the first.
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

/// The result of a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// The amounts are reserved. Holds a request to send after the response if the lease is running low.
    Held(Vec<Charge>, Option<LeaseRequest>),
    /// The account has to grant a lease: send the request, then call [`LocalLease::apply`].
    Request(LeaseRequest),
    /// The limit is spent, as the account stated a moment ago.
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

    /// The part of a counter in the current window.
    fn current(&mut self, counter: &str, now_ms: u64) -> Option<&mut Part> {
        let is_current = |part: &&mut Part| part.ends_ms.is_none_or(|ends_ms| ends_ms > now_ms);
        self.parts.iter_mut().filter(is_current).find(|part| part.counter == counter)
    }
}

impl LocalLease {
    /// An empty local lease. `isolate` is a name that no other isolate has had.
    pub fn new(isolate: String) -> LocalLease {
        LocalLease {
            isolate,
            lease: Lease::new(1),
            closed: Vec::new(),
            closing: Vec::new(),
            waiting: Vec::new(),
            rejections: Vec::new(),
            sending: None,
            number: 0,
            ahead: 1,
            spent: None,
            known: Vec::new(),
            pause_ms: 0,
            reported_ms: 0,
            lost: 0,
        }
    }

    /// The name of the isolate.
    pub fn isolate(&self) -> &str {
        &self.isolate
    }

    /// Reserves the needs of an attempt from the lease, if it suffices.
    pub fn reserve(&mut self, needs: &[Need], now_ms: u64) -> Reserved {
        if let Some((until_ms, refusal)) = &self.spent {
            let same = |need: &&Need| {
                need.counter == refusal.counter && need.limit == refusal.limit && need.least >= refusal.needed
            };
            if *until_ms > now_ms
                && let Some(need) = needs.iter().find(same)
            {
                // The amount that the earlier call needed is not that of this one.
                let needed = need.least;
                return Reserved::Refused(Refusal { needed, ..refusal.clone() });
            }
        }
        // Unused parts of past windows are not needed any more, and the account knows that.
        let is_useful = |part: &Part| part.held > 0 || part.ends_ms.is_none_or(|ends_ms| ends_ms > now_ms);
        self.lease.parts.retain(is_useful);
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
            // The lease was too small: the next one covers more calls.
            if had_spare || now_ms < self.lease.used_ms + IDLE_MS {
                self.ahead = (self.ahead * 2).min(MAX_AHEAD);
            }
            self.lease.used_ms = now_ms;
            self.lease.requests += 1;
            return Reserved::Request(self.request(needs, true));
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
        let refill = (low && self.lease.requests == 0).then(|| {
            self.lease.requests += 1;
            self.ahead = (self.ahead * 2).min(MAX_AHEAD);
            self.request(needs, false)
        });
        Reserved::Held(charges, refill)
    }

    fn request(&self, needs: &[Need], waits: bool) -> LeaseRequest {
        LeaseRequest {
            isolate: self.isolate.clone(),
            lease: self.lease.number,
            waits,
            // Only one of several concurrent requests asks for later calls: each share of the remaining amount counts
            // once.
            ahead: if self.lease.requests > 1 { 0 } else { self.ahead },
            needs: needs.to_vec(),
        }
    }

    /// Applies the account's response, and returns the charges for the attempt that waited for it, if any. The error is
    /// the account's rejection, or `None` if the lease was returned in the meantime: then nothing is reserved, and the
    /// attempt can be requested again.
    pub fn apply(
        &mut self,
        request: &LeaseRequest,
        response: LeaseResponse,
        now_ms: u64,
    ) -> Result<Vec<Charge>, Option<Refusal>> {
        if self.lease.number == request.lease {
            self.lease.requests = self.lease.requests.saturating_sub(1);
        }
        let granted = match response {
            LeaseResponse::Granted(granted) => granted,
            LeaseResponse::Refused(refusal) => {
                if refusal.is_spent() && request.waits {
                    let until_ms = refusal.ends_ms.unwrap_or(u64::MAX).min(now_ms + SPENT_MS);
                    self.spent = Some((until_ms, refusal.clone()));
                }
                let Refusal { counter, left, ends_ms, .. } = refusal.clone();
                let window =
                    Limit::of_counter(&counter, 0).map_or(0, |limit| limit.span.window(now_ms).number);
                self.remember(Granted { counter, window, ends_ms, hold: 0, spare: 0, cap: 0, left });
                // The missing amount may be in this isolate's own lease.
                if self.lease.number == request.lease && self.lease.requests == 0 && self.has_spare() {
                    self.return_lease();
                }
                return Err(Some(refusal));
            }
        };
        if request.waits && granted.len() < request.needs.len() {
            return Err(None);
        }
        // Once the return of a lease has been reported, nothing can be spent from it: the report stated the held
        // amounts.
        let lease = if self.lease.number == request.lease {
            Some(&mut self.lease)
        } else {
            self.closing.iter_mut().find(|lease| lease.number == request.lease)
        };
        let Some(lease) = lease else { return Err(None) };
        // If the account granted less than requested, the lease is low only when half of the granted amount is gone.
        let room = granted.iter().zip(&request.needs).map(|(one, need)| one.spare / need.most.max(1)).min();
        if let Some(room) = room.filter(|_| request.ahead > 0) {
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
                charges.push(Charge { lease: request.lease, counter, window, held, used: 0 });
            }
        }
        for one in granted {
            self.remember(one);
        }
        Ok(charges)
    }

    fn remember(&mut self, now: Granted) {
        match self.known.iter_mut().find(|known| known.counter == now.counter) {
            Some(known) => *known = now,
            None => self.known.push(now),
        }
    }

    /// Returns the lease of a request without a response, because the request may have been granted.
    pub fn request_failed(&mut self, request: &LeaseRequest) {
        if self.lease.number == request.lease {
            self.return_lease();
        }
    }

    fn return_lease(&mut self) {
        let next = Lease::new(self.lease.number + 1);
        let old = std::mem::replace(&mut self.lease, next);
        for part in &old.parts {
            note_return(&mut self.known, &part.counter, part.window, part.rest);
        }
        self.closing.push(old);
        self.ahead = 1;
    }

    /// Settles a call that is over: the used amount is charged with the next report. The rest of its hold can be spent
    /// again at once; near a limit, it is returned to the account.
    pub fn settle(&mut self, mut settled: Settled) {
        if settled.receipt.is_none() && settled.charges.is_empty() {
            return;
        }
        // True if the lease would exceed the share of the remaining amount that it may keep for later calls.
        let is_too_much = |charge: &Charge| {
            let known = self.known.iter().find(|known| known.counter == charge.counter);
            let part = self
                .lease
                .parts
                .iter()
                .find(|part| part.counter == charge.counter && part.window == charge.window);
            let rest = part.map_or(0, |part| part.rest) + charge.held.saturating_sub(charge.used);
            known.is_some_and(|known| spare_of(&known.counter, known.left) < rest)
        };
        if settled.charges.iter().any(is_too_much) && self.lease.requests == 0 {
            self.return_lease();
        }
        let number = self.lease.number;
        for charge in settled.charges.iter().filter(|charge| charge.lease != number) {
            let unused = charge.held.saturating_sub(charge.used);
            note_return(&mut self.known, &charge.counter, charge.window, unused);
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

    /// Counts a rejected call.
    pub fn reject(&mut self, rejection: Rejection) {
        rejection::merge(&mut self.rejections, rejection);
    }

    /// The number of calls whose records were dropped since the last call of this method.
    pub fn lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Returns a lease that has not been used for a while.
    pub fn tidy(&mut self, now_ms: u64) {
        let idle = self.lease.requests == 0 && now_ms.saturating_sub(self.lease.used_ms) >= IDLE_MS;
        if idle && self.has_spare() {
            self.return_lease();
        }
    }

    /// Returns `true` if the lease has amounts that no call holds.
    pub fn has_spare(&self) -> bool {
        self.lease.parts.iter().any(|part| part.rest > 0)
    }

    /// Returns `true` if calls hold amounts or wait for them.
    pub fn is_holding(&self) -> bool {
        self.lease.requests > 0 || self.lease.holds()
    }

    /// Returns `true` if the account has nothing to learn: neither ended calls nor leases.
    pub fn is_idle(&self) -> bool {
        self.sending.is_none()
            && self.waiting.is_empty()
            && self.rejections.is_empty()
            && self.closing.is_empty()
            && self.closed.is_empty()
            && self.lease.is_empty()
    }

    /// Returns `true` if the account has not acknowledged all ended calls and returned leases.
    pub fn has_unreported(&self) -> bool {
        self.sending.is_some() || self.has_unsent()
    }

    /// The same, or rejected calls that the account does not have. No call waits for these.
    pub fn is_behind(&self) -> bool {
        self.has_unreported() || !self.rejections.is_empty()
    }

    fn has_unsent(&self) -> bool {
        !self.waiting.is_empty() || !self.closing.is_empty()
    }

    /// The time to wait before the next report, in milliseconds; 0 if it would be a full report, because calls may end
    /// faster than one report per pause can carry.
    pub fn wait_ms(&self, now_ms: u64) -> u64 {
        if self.waiting.len() >= MAX_SETTLED {
            return 0;
        }
        let gives_back =
            !self.closing.is_empty() || self.waiting.iter().any(|settled| !settled.charges.is_empty());
        let pause_ms = if gives_back { self.pause_ms } else { self.pause_ms.max(SLOW_PAUSE_MS) };
        (self.reported_ms + pause_ms).saturating_sub(now_ms)
    }

    /// The number of waiting calls in the next report.
    fn next_calls(&self) -> usize {
        let mut bytes = 0;
        let fits = |settled: &&Settled| {
            bytes += settled.receipt.as_ref().map_or(0, String::len);
            bytes <= MAX_RECEIPTS_BYTES
        };
        self.waiting.iter().take(MAX_SETTLED).take_while(fits).count().max(1).min(self.waiting.len())
    }

    /// The report to send now, if any: new events, an earlier report without acknowledgement, or the renewal of leases.
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
        let renews = self.has_lease() && now_ms >= self.reported_ms + RENEW_MS;
        if !self.has_unsent() && self.rejections.is_empty() && !renews {
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
        let rows = rows.into_iter().map(Row::into_json).collect();
        let rejections = std::mem::take(&mut self.rejections);
        let report = Report { isolate, number, charges, rows, closed, leases, rejections, receipts };
        self.reported_ms = now_ms;
        Some(&self.sending.insert(Sending { report, made_ms: now_ms, sent_ms: now_ms }).report)
    }

    fn has_lease(&self) -> bool {
        !self.lease.is_empty() || !self.closed.is_empty()
    }

    /// Applies the acknowledgement of a report.
    pub fn reported(&mut self, response: ReportResponse) {
        self.pause_ms = response.pause_ms;
        if self.sending.as_ref().is_some_and(|sending| sending.report.number <= response.number) {
            self.sending = None;
        }
    }

    /// Records that a report got no response, so that it can be sent again at once.
    pub fn not_reported(&mut self, number: u64) {
        if let Some(sending) = &mut self.sending
            && sending.report.number == number
        {
            sending.sent_ms = 0;
        }
    }

    /// The remaining amount of a counter and its window, as far as this isolate knows; `None` if nothing is known of
    /// this window.
    pub fn left(&self, counter: &str, now_ms: u64) -> Option<(u64, Window)> {
        let known = self.known.iter().find(|known| known.counter == counter)?;
        if known.ends_ms.is_some_and(|ends_ms| ends_ms <= now_ms) {
            return None;
        }
        let own = self.lease.parts.iter().find(|part| part.counter == counter && part.window == known.window);
        let left = known.left.saturating_add(own.map_or(0, |part| part.rest));
        Some((left, Window { number: known.window, ends_ms: known.ends_ms }))
    }
}

/// Adds an amount that returns to the account to the remaining amount that callers see.
fn note_return(known: &mut [Granted], counter: &str, window: u64, amount: u64) {
    if let Some(known) = known.iter_mut().find(|known| known.counter == counter && known.window == window) {
        known.left = known.left.saturating_add(amount);
    }
}

/// Adds a charge to the sum of its lease, window and counter.
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
