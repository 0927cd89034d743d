//! The account: the used and reserved amounts of each limit of a key, and the chain of receipts. It is their only
//! owner, and exact. It lives in memory and returns with each step the part of it to store ([`Changes`]); the caller
//! must store that part before it sends the response.
//!
//! # Reserved amounts
//! For each counter: `left = limit - used - reserved`. The reserved amount is the sum of all leases, including expired
//! ones: it is not known what a silent isolate has spent, so its lease stays charged until the window ends. Only its
//! calls are certainly over: expiry frees the slots of [`Kind::Concurrent`].
//!
//! # Times
//! Every deadline is stored as a time, never as an age: the object may be loaded at any moment, and as often as it is
//! called. Each report renews a lease, but not each writes it: the stored deadline of a lease is up to [`SLACK_MS`]
//! later than the deadline in memory, and is written again when it would be earlier.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::limit::{self, Kind, Limit};
use super::message::{
    Charge, Closed, Granted, LeaseRequest, LeaseResponse, Need, Refusal, Report, ReportResponse,
};
use super::receipt::{Chain, id_of, of_line};
use super::rejection::{Batch, Rejections};
use super::tally::{Row, merge};
use super::window::Window;
use crate::json;

/// The time after which a lease expires without a report from its isolate, in milliseconds.
pub(crate) const LEASE_MS: u64 = 30_000;
/// The maximum time by which the stored deadline of a lease is later than the one in memory, in milliseconds. An isolate
/// with calls in flight reports every ten seconds; one that is busy reports four times a second, and should not cause a
/// write each time.
const SLACK_MS: u64 = 4_000;
/// The time between a receipt and the folding of the sums, in milliseconds.
pub(crate) const FOLD_MS: u64 = 10_000;
/// The time for which a silent isolate is remembered, in milliseconds. No report is repeated after that long.
const REPORTER_MS: u64 = 3_600_000;
/// The divisor of the remaining amount for the largest hold, and for a lease for later calls.
const HOLD_SHARE: u64 = 8;
const SPARE_SHARE: u64 = 16;
/// The same for concurrent calls. The share is larger: slots are few, and nearly every call would request one
/// otherwise.
const SPARE_PLACES_SHARE: u64 = 4;
/// The maximum number of projects of a key that are counted separately in a day. Receipts name all of them.
const MAX_PROJECTS: usize = 1_000;
/// The name under which further projects are counted: callers cannot use it.
const OTHER_PROJECTS: &str = "(other)";
/// The minimum pause between reports of an isolate, and the pause for each reporting isolate, in milliseconds. They
/// bound the load of the account to about 500 reports a second.
const PAUSE_MS: u64 = 250;
const PAUSE_FOR_EACH_MS: u64 = 2;
/// The time for which an isolate counts as reporting after its last report, in milliseconds.
const REPORTING_MS: u64 = 10_000;
/// The maximum time for which a lease request may be under way, in milliseconds.
const ON_ITS_WAY_MS: u64 = 60_000;

/// The account of one key.
#[derive(Clone, Debug, Default)]
pub struct Account {
    chain: Chain,
    counters: Vec<Counter>,
    leases: Vec<Lease>,
    reporters: Vec<Reporter>,
    /// Rows added since the sums were last folded.
    unfolded: Vec<Row>,
    fold_ms: Option<u64>,
    /// The projects of a day, which are limited so that no caller fills the sums with names.
    projects: (u32, Vec<String>),
    rejections: Rejections,
}

/// The used amount of one limit.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Counter {
    name: String,
    window: u64,
    used: u64,
    /// The reserved amount in this window: the sum over all leases.
    #[serde(skip)]
    reserved: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Lease {
    isolate: String,
    number: u64,
    expired: bool,
    parts: Vec<Part>,
    /// The time at which it expires, unless its isolate reports before, in milliseconds since 1970.
    #[serde(skip)]
    expires_ms: u64,
    /// The same as stored.
    #[serde(default, rename = "expires_ms")]
    stored_ms: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Part {
    counter: limit::Counter,
    window: u64,
    amount: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Reporter {
    isolate: String,
    /// The last report that was taken.
    number: u64,
    /// The last lease that was returned, and the time: nothing more is granted for it.
    closed: u64,
    closed_ms: u64,
    seen_ms: u64,
}

/// The stored form of the counters, with the leases that were returned recently: a request for one of them may still be
/// under way.
#[derive(Default, Deserialize, Serialize)]
struct StoredCounters {
    counters: Vec<Counter>,
    /// Isolate, number of the lease, time.
    closed: Vec<(String, u64, u64)>,
}

/// The data to store after a step, all of it or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The receipts added.
    pub page: Option<Page>,
    /// The counters as one text, if they have changed.
    pub counters: Option<String>,
    /// The leases that have changed: the name and the text of each, or `None` if it is gone.
    pub leases: Vec<(String, Option<String>)>,
    /// The rejected calls that are not in the list of calls yet, as one text, if they have changed.
    pub rejections: Option<String>,
}

/// The receipts of one report, as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The number of the first receipt.
    pub first: u64,
    /// The number of the last receipt.
    pub last: u64,
    /// The smallest of the receipt ids.
    pub min_id: String,
    /// The largest of the receipt ids.
    pub max_id: String,
    /// The isolate that sent the report.
    pub isolate: String,
    /// The number of the report.
    pub report: u64,
    /// The time of the report, in milliseconds since 1970.
    pub at_ms: u64,
    /// The hash of the last receipt.
    pub hash: String,
    /// The totals after the last receipt, as JSON.
    pub totals: String,
    /// The rows that they add to the sums, as a JSON array.
    pub rows: String,
    /// The receipts, one per line.
    pub receipts: String,
}

/// The state of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The used amount.
    pub used: u64,
    /// The amount reserved for calls in progress and in leases.
    pub held: u64,
    /// The amount held by isolates that stopped reporting: charged, because it may have been spent.
    pub unconfirmed: u64,
    /// The amount left.
    pub left: u64,
    /// The end of the window, in milliseconds since 1970; `None` for never.
    pub ends_ms: Option<u64>,
}

/// The stored data from which an account is loaded.
#[derive(Clone, Debug, Default)]
pub struct Stored<'a> {
    /// The last page: its last number, its hash and its totals.
    pub last: Option<(u64, &'a str, &'a str)>,
    /// The text of the counters.
    pub counters: Option<&'a str>,
    /// The texts of the leases.
    pub leases: Vec<&'a str>,
    /// The text of [`Account::reporters`] when the sums were last folded.
    pub reporters: Option<&'a str>,
    /// The text of the rejected calls.
    pub rejections: Option<&'a str>,
    /// The pages since then: isolate, number of the report, time, rows.
    pub pages: Vec<(&'a str, u64, u64, &'a str)>,
}

impl Counter {
    fn new(name: &str) -> Counter {
        Counter { name: name.to_owned(), window: 0, used: 0, reserved: 0 }
    }
}

/// The window of a counter at a time.
fn window(counter: &str, now_ms: u64) -> Window {
    Limit::of_counter(counter, 0).map_or_else(Window::default, |limit| limit.span.window(now_ms))
}

/// The part of a counter's remaining amount that an isolate may hold for later calls.
pub(crate) fn spare_of(counter: &str, left: u64) -> u64 {
    left / if is_concurrent(counter) { SPARE_PLACES_SHARE } else { SPARE_SHARE }
}

fn is_concurrent(counter: &str) -> bool {
    Limit::of_counter(counter, 0).is_some_and(|limit| limit.kind == Kind::Concurrent)
}

impl Lease {
    fn name(&self) -> String {
        format!("{} {}", self.isolate, self.number)
    }

    fn is_empty(&self) -> bool {
        self.parts.iter().all(|part| part.amount == 0)
    }

    /// Renews it after a sign of life of its isolate. Returns `true` if it must be stored.
    fn renew(&mut self, now_ms: u64) -> bool {
        self.expires_ms = now_ms + LEASE_MS;
        std::mem::take(&mut self.expired) || self.stored_ms < self.expires_ms
    }

    /// The change to store.
    fn change(&mut self) -> (String, Option<String>) {
        if !self.expired {
            self.stored_ms = self.expires_ms + SLACK_MS;
        }
        let text = (!self.is_empty()).then(|| json::to_text(self));
        (self.name(), text)
    }

    fn part(&mut self, counter: &str, window: u64) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.counter == counter && part.window == window)
    }
}

impl Account {
    /// Loads a stored account, with all of its deadlines.
    pub fn load(stored: &Stored<'_>, now_ms: u64) -> Account {
        let mut account = Account::default();
        if let Some((count, head, totals)) = stored.last {
            let totals = json::read(totals).unwrap_or_default();
            account.chain = Chain { count, head: head.to_owned(), totals };
        }
        let kept: StoredCounters = stored.counters.and_then(|text| json::read(text).ok()).unwrap_or_default();
        account.counters = kept.counters;
        account.reporters = stored.reporters.and_then(|text| json::read(text).ok()).unwrap_or_default();
        account.rejections = stored.rejections.and_then(|text| json::read(text).ok()).unwrap_or_default();
        for (isolate, lease, at_ms) in &kept.closed {
            let reporter = account.reporter(isolate, *at_ms);
            (reporter.closed, reporter.closed_ms) = (*lease, *at_ms);
        }
        for (isolate, report, at_ms, rows) in &stored.pages {
            let reporter = account.reporter(isolate, *at_ms);
            reporter.number = reporter.number.max(*report);
            let rows: Vec<Value> = serde_json::from_str(rows).unwrap_or_default();
            for row in rows.iter().filter_map(Row::from_json) {
                account.add_row(row, *at_ms);
            }
        }
        for text in &stored.leases {
            let Ok(lease) = json::read::<Lease>(text) else { continue };
            // A clock that was ahead must not keep a lease for ever.
            let expires_ms = lease.stored_ms.min(now_ms + LEASE_MS + SLACK_MS);
            let reporter = account.reporter(&lease.isolate, expires_ms.saturating_sub(LEASE_MS + SLACK_MS));
            // Earlier leases of the same isolate have been returned.
            reporter.closed = reporter.closed.max(lease.number.saturating_sub(1));
            account.leases.push(Lease { expires_ms, ..lease });
        }
        let parts: Vec<Part> = account.leases.iter().flat_map(|lease| lease.parts.iter().cloned()).collect();
        for part in parts {
            account.reserve(&part.counter, part.window, part.amount);
        }
        account
    }

    /// Decides on an isolate's request for the needs of an attempt.
    pub fn request_lease(&mut self, request: &LeaseRequest, now_ms: u64) -> (LeaseResponse, Changes) {
        let mut changes = Changes { leases: self.expire(now_ms), ..Changes::default() };
        let closed = self.reporter(&request.isolate, now_ms).closed;
        let mut refusal: Option<Refusal> = None;
        let mut ahead = request.ahead;
        let mut granted = Vec::with_capacity(request.needs.len());
        for need in &request.needs {
            match self.weigh(need, request.waits, now_ms) {
                Ok((one, most_ahead)) => {
                    ahead = ahead.min(most_ahead);
                    granted.push(one);
                }
                // Of several reasons, the one that lasts longest is returned.
                Err(other) => {
                    if refusal.as_ref().is_none_or(|known| !known.is_spent() && other.is_spent()) {
                        refusal = Some(other);
                    }
                }
            }
        }
        if let Some(refusal) = refusal {
            return (LeaseResponse::Refused(refusal), changes);
        }
        if request.lease <= closed {
            // The isolate has given up waiting for this response.
            return (LeaseResponse::Granted(Vec::new()), changes);
        }
        for (one, need) in granted.iter_mut().zip(&request.needs) {
            let unit = one.hold;
            one.spare = unit.saturating_mul(ahead);
            one.hold = if request.waits { unit } else { 0 };
            let amount = one.hold + one.spare;
            self.reserve(&need.counter, one.window, amount);
            one.left = one.left.saturating_sub(amount);
        }
        let index = self
            .leases
            .iter()
            .position(|lease| lease.isolate == request.isolate && lease.number == request.lease);
        let index = index.unwrap_or_else(|| {
            let (isolate, number) = (request.isolate.clone(), request.lease);
            let parts = Vec::new();
            self.leases.push(Lease { isolate, number, expired: false, parts, expires_ms: 0, stored_ms: 0 });
            self.leases.len() - 1
        });
        if let Some(lease) = self.leases.get_mut(index) {
            lease.renew(now_ms);
            lease.parts.retain(|part| part.amount > 0);
            for Granted { counter, window, hold, spare, .. } in &granted {
                match lease.part(counter, *window) {
                    Some(part) => part.amount += hold + spare,
                    None => lease.parts.push(Part {
                        counter: counter.clone(),
                        window: *window,
                        amount: hold + spare,
                    }),
                }
            }
            changes.leases.push(lease.change());
        }
        self.leases.retain(|lease| !lease.is_empty());
        (LeaseResponse::Granted(granted), changes)
    }

    /// Weighs one need: the size of one hold, as `hold` of the grant, and the number of further holds that fit.
    fn weigh(&mut self, need: &Need, waits: bool, now_ms: u64) -> Result<(Granted, u64), Refusal> {
        let Window { number, ends_ms } = self.roll(&need.counter, now_ms);
        let (used, reserved) =
            self.counter(&need.counter).map_or((0, 0), |counter| (counter.used, counter.reserved));
        let left = need.limit.saturating_sub(used).saturating_sub(reserved);
        if waits && left < need.least {
            // The leases of silent isolates do not return in this window, so they are no reason to retry.
            let held = reserved.saturating_sub(self.unconfirmed(&need.counter, number));
            return Err(Refusal {
                counter: need.counter.clone(),
                limit: need.limit,
                needed: need.least,
                left,
                held: held.min(need.limit.saturating_sub(used)),
                ends_ms,
            });
        }
        let hold = need.most.min(need.least.max(left / HOLD_SHARE));
        let rest = left.saturating_sub(if waits { hold } else { 0 });
        let ahead = spare_of(&need.counter, rest).checked_div(hold).unwrap_or(u64::MAX);
        let counter = need.counter.clone();
        let cap = rest / HOLD_SHARE;
        Ok((Granted { counter, window: number, ends_ms, hold, spare: 0, cap, left }, ahead))
    }

    /// Takes a report, once even if it arrives several times.
    pub fn report(&mut self, report: &Report, now_ms: u64) -> (ReportResponse, Changes) {
        let mut changes = Changes { leases: self.expire(now_ms), ..Changes::default() };
        let mut touched = Vec::new();
        for lease in &mut self.leases {
            let is_alive = lease.isolate == report.isolate && report.leases.contains(&lease.number);
            if is_alive && lease.renew(now_ms) {
                touched.push(lease.number);
            }
        }
        let reporter = self.reporter(&report.isolate, now_ms);
        reporter.seen_ms = now_ms;
        if reporter.number < report.number {
            reporter.number = report.number;
            for closed in &report.closed {
                reporter.closed = reporter.closed.max(closed.lease);
                reporter.closed_ms = now_ms;
            }
            changes.page = self.add_page(report, now_ms);
            for charge in &report.charges {
                self.settle(&report.isolate, charge, now_ms);
                touched.push(charge.lease);
            }
            for closed in &report.closed {
                self.close(&report.isolate, closed);
                touched.push(closed.lease);
            }
            if !report.closed.is_empty() || report.charges.iter().any(|charge| charge.used > 0) {
                changes.counters = Some(self.counters_text(now_ms));
            }
            if !report.rejections.is_empty() {
                self.rejections.add(&report.rejections, now_ms);
                changes.rejections = Some(json::to_text(&self.rejections));
            }
        }
        let touched = |lease: &&mut Lease| lease.isolate == report.isolate && touched.contains(&lease.number);
        changes.leases.extend(self.leases.iter_mut().filter(touched).map(Lease::change));
        self.leases.retain(|lease| !lease.is_empty());
        (self.report_response(&report.isolate, now_ms), changes)
    }

    fn counters_text(&self, now_ms: u64) -> String {
        let recent =
            |reporter: &&Reporter| reporter.closed > 0 && reporter.closed_ms + ON_ITS_WAY_MS > now_ms;
        let closed = self.reporters.iter().filter(recent);
        let closed = closed.map(|reporter| (reporter.isolate.clone(), reporter.closed, reporter.closed_ms));
        json::to_text(&StoredCounters { counters: self.counters.clone(), closed: closed.collect() })
    }

    fn report_response(&mut self, isolate: &str, now_ms: u64) -> ReportResponse {
        let reporting = |reporter: &&Reporter| reporter.seen_ms + REPORTING_MS > now_ms;
        let isolates = self.reporters.iter().filter(reporting).count() as u64;
        let number = self.reporter(isolate, now_ms).number;
        ReportResponse { number, pause_ms: PAUSE_MS.max(isolates * PAUSE_FOR_EACH_MS) }
    }

    fn add_page(&mut self, report: &Report, now_ms: u64) -> Option<Page> {
        let mut page: Option<Page> = None;
        for (receipt, adds) in report.receipts.lines().filter_map(of_line) {
            let id = id_of(receipt).unwrap_or_default();
            let text = self.chain.add(receipt, adds);
            let page = page.get_or_insert_with(|| Page {
                first: self.chain.count,
                last: 0,
                min_id: id.to_owned(),
                max_id: id.to_owned(),
                isolate: report.isolate.clone(),
                report: report.number,
                at_ms: now_ms,
                hash: String::new(),
                totals: String::new(),
                rows: String::new(),
                // The chain adds about 300 bytes to each.
                receipts: String::with_capacity(2 * report.receipts.len()),
            });
            if id < page.min_id.as_str() {
                id.clone_into(&mut page.min_id);
            }
            if id > page.max_id.as_str() {
                id.clone_into(&mut page.max_id);
            }
            page.receipts.push_str(text.as_str());
            page.receipts.push('\n');
        }
        let mut page = page?;
        page.last = self.chain.count;
        page.hash.clone_from(&self.chain.head);
        page.totals = json::to_text(&self.chain.totals);
        let mut rows: Vec<Row> = Vec::new();
        for row in report.rows.iter().filter_map(Row::from_json) {
            merge(&mut rows, self.bounded(row));
        }
        page.rows = Value::Array(rows.iter().map(Row::to_json).collect()).to_string();
        for row in rows {
            self.add_row(row, now_ms);
        }
        Some(page)
    }

    /// The row, with its project replaced by [`OTHER_PROJECTS`] if the day has too many.
    fn bounded(&mut self, mut row: Row) -> Row {
        let (day, projects) = &mut self.projects;
        if *day != row.slice.day() {
            *day = row.slice.day();
            projects.clear();
        }
        if projects.len() < MAX_PROJECTS && !projects.contains(&row.slice.project) {
            projects.push(row.slice.project.clone());
        } else if !projects.contains(&row.slice.project) {
            OTHER_PROJECTS.clone_into(&mut row.slice.project);
        }
        row
    }

    /// Adds a row of a receipt that arrived at this time.
    fn add_row(&mut self, row: Row, at_ms: u64) {
        merge(&mut self.unfolded, row);
        self.fold_ms.get_or_insert(at_ms + FOLD_MS);
    }

    fn settle(&mut self, isolate: &str, charge: &Charge, now_ms: u64) {
        let Charge { lease: number, counter, window, held, used } = charge;
        let lease = self.leases.iter_mut().find(|lease| lease.isolate == isolate && lease.number == *number);
        if let Some(part) = lease.and_then(|lease| lease.part(counter, *window)) {
            let back = part.amount.min(*held);
            part.amount -= back;
            self.release(counter, *window, back);
        }
        self.roll(counter, now_ms);
        if let Some(counter) = self.counter(counter)
            && counter.window == *window
        {
            counter.used = counter.used.saturating_add(*used);
        }
    }

    fn close(&mut self, isolate: &str, closed: &Closed) {
        let index =
            self.leases.iter().position(|lease| lease.isolate == isolate && lease.number == closed.lease);
        let Some(lease) = index.and_then(|index| self.leases.get_mut(index)) else { return };
        let parts = closed.held.iter().map(|(counter, window, amount)| Part {
            counter: counter.clone(),
            window: *window,
            amount: *amount,
        });
        let before = std::mem::replace(&mut lease.parts, parts.collect());
        for part in before {
            self.release(&part.counter, part.window, part.amount);
        }
        for (counter, window, amount) in &closed.held {
            self.reserve(counter, *window, *amount);
        }
    }

    /// Marks the leases of isolates that have been silent for too long as expired, and frees the slots of their calls.
    pub fn expire(&mut self, now_ms: u64) -> Vec<(String, Option<String>)> {
        let mut changes = Vec::new();
        let mut freed = Vec::new();
        for lease in &mut self.leases {
            if lease.expired || lease.expires_ms > now_ms {
                continue;
            }
            lease.expired = true;
            for part in lease.parts.iter_mut().filter(|part| is_concurrent(&part.counter)) {
                freed.push(part.clone());
                part.amount = 0;
            }
            // Parts of past windows are not needed any more.
            lease.parts.retain(|part| part.amount > 0 && part.window >= window(&part.counter, now_ms).number);
            changes.push(lease.change());
        }
        for part in freed {
            self.release(&part.counter, part.window, part.amount);
        }
        self.leases.retain(|lease| !lease.is_empty());
        changes
    }

    /// The rows added since the sums were last folded.
    pub fn unfolded(&self) -> &[Row] {
        &self.unfolded
    }

    /// The time of the next expiry or folding, in milliseconds since 1970.
    pub fn due_ms(&self) -> Option<u64> {
        let leases = self.leases.iter().filter(|lease| !lease.expired).map(|lease| lease.expires_ms);
        leases.chain(self.fold_ms).chain(self.rejections.due_ms()).min()
    }

    /// The rejected calls to list now, if any, and the change to store before.
    pub fn list_rejections(&mut self, now_ms: u64) -> Option<(Batch, Changes)> {
        let batch = self.rejections.batch(now_ms)?;
        Some((batch, self.changed_rejections()))
    }

    /// Takes note of whether the list of calls has the batch of [`Account::list_rejections`].
    pub fn rejections_listed(&mut self, is_done: bool, now_ms: u64) -> Changes {
        if is_done {
            self.rejections.listed();
        } else {
            self.rejections.not_listed(now_ms);
        }
        self.changed_rejections()
    }

    fn changed_rejections(&self) -> Changes {
        Changes { rejections: Some(json::to_text(&self.rejections)), ..Changes::default() }
    }

    /// Returns `true` if it is time to fold the sums.
    pub fn is_fold_due(&self, now_ms: u64) -> bool {
        self.fold_ms.is_some_and(|at_ms| at_ms <= now_ms)
    }

    /// Takes the rows added since the last folding; call it once they have been folded.
    pub fn fold(&mut self, now_ms: u64) -> Vec<Row> {
        self.fold_ms = None;
        self.reporters.retain(|reporter| reporter.seen_ms + REPORTER_MS > now_ms);
        std::mem::take(&mut self.unfolded)
    }

    /// The reports that have been taken, in the form of [`Stored::reporters`].
    pub fn reporters(&self) -> String {
        json::to_text(&self.reporters)
    }

    /// The state of the chain of receipts.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The amount of a counter that isolates held when they stopped reporting.
    fn unconfirmed(&self, counter: &str, window: u64) -> u64 {
        let expired = self.leases.iter().filter(|lease| lease.expired).flat_map(|lease| &lease.parts);
        let of_this = |part: &&Part| part.counter == counter && part.window == window;
        expired.filter(of_this).map(|part| part.amount).sum()
    }

    /// The state of a limit.
    pub fn state(&mut self, limit: &Limit, now_ms: u64) -> State {
        let name = limit.counter();
        let Window { number, ends_ms } = self.roll(&name, now_ms);
        let (used, reserved) = self.counter(&name).map_or((0, 0), |counter| (counter.used, counter.reserved));
        let unconfirmed = self.unconfirmed(&name, number);
        let left = limit.amount.saturating_sub(used).saturating_sub(reserved);
        State { used, held: reserved.saturating_sub(unconfirmed), unconfirmed, left, ends_ms }
    }

    fn counter(&mut self, name: &str) -> Option<&mut Counter> {
        self.counters.iter_mut().find(|counter| counter.name == name)
    }

    /// Creates a counter if it is missing, and resets it if its window is over.
    fn roll(&mut self, name: &str, now_ms: u64) -> Window {
        let now = window(name, now_ms);
        if self.counter(name).is_none() {
            self.counters.push(Counter { window: now.number, ..Counter::new(name) });
        }
        if let Some(counter) = self.counter(name)
            && counter.window < now.number
        {
            *counter = Counter { window: now.number, ..Counter::new(name) };
            for lease in &mut self.leases {
                lease.parts.retain(|part| part.counter != name || part.window >= now.number);
            }
        }
        now
    }

    fn reserve(&mut self, name: &str, window: u64, amount: u64) {
        if self.counter(name).is_none() {
            self.counters.push(Counter { window, ..Counter::new(name) });
        }
        if let Some(counter) = self.counter(name)
            && counter.window == window
        {
            counter.reserved = counter.reserved.saturating_add(amount);
        }
    }

    fn release(&mut self, name: &str, window: u64, amount: u64) {
        if let Some(counter) = self.counter(name)
            && counter.window == window
        {
            counter.reserved = counter.reserved.saturating_sub(amount);
        }
    }

    fn reporter(&mut self, isolate: &str, now_ms: u64) -> &mut Reporter {
        let index = self.reporters.iter().position(|reporter| reporter.isolate == isolate);
        let index = index.unwrap_or_else(|| {
            let isolate = isolate.to_owned();
            self.reporters.push(Reporter { isolate, number: 0, closed: 0, closed_ms: 0, seen_ms: now_ms });
            self.reporters.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "the index was found or has just been added")]
        &mut self.reporters[index]
    }
}
