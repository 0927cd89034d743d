//! The book: what has been used of each limit of a key, what is set aside, and the chain of receipts. The one owner of these,
//! and exact. It stands in memory and tells with each step what of it has to be stored ([`Changes`]); whoever runs it stores
//! that before anybody hears the answer.
//!
//! # What is set aside
//! For each counter: `left = limit - used - set aside`. What is set aside is the sum of all leases, those that have expired
//! included: of an isolate that is silent nobody knows what it has spent, so what it held is charged until the window ends.
//! Only its calls under way are over for certain: expiry frees the places of [`Kind::Concurrent`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::limit::{self, Kind, Limit};
use super::message::{Ask, Charge, Closed, Granted, LeaseResponse, Need, Refusal, Report, Standing};
use super::receipt::{Chain, id_of, of_line};
use super::tally::{Row, merge};
use super::window::Window;
use crate::json;

/// How long a lease lasts without word from its isolate, in milliseconds.
pub(crate) const LEASE_MS: u64 = 30_000;
/// How long after a receipt the sums are folded and rolled up, in milliseconds.
pub(crate) const FOLD_MS: u64 = 10_000;
/// How long an isolate that is silent is remembered, in milliseconds. No report is repeated for so long.
const REPORTER_MS: u64 = 3_600_000;
/// The most that one hold takes, and a lease for later calls: this part of what is left.
const HOLD_SHARE: u64 = 8;
const SPARE_SHARE: u64 = 16;
/// Of places for calls under way it is more: they are few, and would else be asked for by nearly every call.
const SPARE_PLACES_SHARE: u64 = 4;
/// The most projects of a key that are told apart in a day. Receipts name every one.
const MAX_PROJECTS: usize = 1_000;
/// What the others are counted as: no name that a caller could give.
const OTHER_PROJECTS: &str = "(other)";
/// How long isolates pause between reports, in milliseconds: at least so long, and longer with many isolates, so that the book
/// gets some five hundred a second at most.
const PAUSE_MS: u64 = 250;
const PAUSE_FOR_EACH_MS: u64 = 2;
/// An isolate that has been heard of in this time reports now, in milliseconds.
const REPORTING_MS: u64 = 10_000;
/// For how long an ask may be on its way, in milliseconds.
const ON_ITS_WAY_MS: u64 = 60_000;

/// The account of one key.
#[derive(Clone, Debug, Default)]
pub struct Account {
    chain: Chain,
    counters: Vec<Counter>,
    leases: Vec<Lease>,
    reporters: Vec<Reporter>,
    /// What has been added since the sums were folded.
    news: Vec<Row>,
    fold_ms: Option<u64>,
    /// The projects of a day, so that nobody fills the sums with names.
    projects: (u32, Vec<String>),
}

/// What has been used of one limit.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Counter {
    name: String,
    window: u64,
    used: u64,
    /// What is set aside in this window: the sum over all leases.
    #[serde(skip)]
    aside: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Lease {
    isolate: String,
    number: u64,
    expired: bool,
    parts: Vec<Part>,
    #[serde(skip)]
    expires_ms: u64,
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
    /// The last lease that was given back, and when: nothing more is granted to it.
    closed: u64,
    closed_ms: u64,
    seen_ms: u64,
}

/// What is stored of the counters, together with which leases were given back not long ago: an ask for one of them may still
/// be on its way.
#[derive(Default, Deserialize, Serialize)]
struct Kept {
    counters: Vec<Counter>,
    /// Isolate, number of the lease, when.
    closed: Vec<(String, u64, u64)>,
}

/// What has to be stored after a step, all of it or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The receipts that have been added.
    pub page: Option<Page>,
    /// The counters, as one text, if they have changed.
    pub counters: Option<String>,
    /// Leases that have changed: the name of each, and its text, or `None` if it is gone.
    pub leases: Vec<(String, Option<String>)>,
}

/// Receipts that came in one report, as they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The number of the first.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
    /// The least of their ids.
    pub min_id: String,
    /// The greatest of their ids.
    pub max_id: String,
    /// The isolate that reported them, and the number of its report.
    pub isolate: String,
    /// The number of the report.
    pub report: u64,
    /// When they came, in milliseconds since 1970.
    pub at_ms: u64,
    /// The hash of the last.
    pub hash: String,
    /// The totals after the last, as JSON.
    pub totals: String,
    /// What they add to the sums: a JSON array of rows.
    pub rows: String,
    /// The receipts, one a line.
    pub receipts: String,
}

/// How a limit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// What has been used.
    pub used: u64,
    /// What is set aside for calls under way, and in leases.
    pub held: u64,
    /// What isolates held that have not been heard of since: charged, since it may have been spent.
    pub unconfirmed: u64,
    /// What is left.
    pub left: u64,
    /// When the window ends, in milliseconds since 1970; `None`: never.
    pub ends_ms: Option<u64>,
}

/// What had been stored, to begin with.
#[derive(Clone, Debug, Default)]
pub struct Stored<'a> {
    /// The last page: its last number, its hash and its totals.
    pub last: Option<(u64, &'a str, &'a str)>,
    /// The counters' text.
    pub counters: Option<&'a str>,
    /// The leases' texts.
    pub leases: Vec<&'a str>,
    /// The text that [`Account::reporters`] gave when the sums were last folded.
    pub reporters: Option<&'a str>,
    /// Of the pages since: isolate, number of the report, time, rows.
    pub pages: Vec<(&'a str, u64, u64, &'a str)>,
}

impl Counter {
    fn new(name: &str) -> Counter {
        Counter { name: name.to_owned(), window: 0, used: 0, aside: 0 }
    }
}

/// The window of a counter at a time.
fn window(counter: &str, now_ms: u64) -> Window {
    Limit::of_counter(counter, 0).map_or_else(Window::default, |limit| limit.span.window(now_ms))
}

/// How much of what is left of a counter an isolate may have for later calls.
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

    fn change(&self) -> (String, Option<String>) {
        let text = (!self.is_empty()).then(|| json!(self).to_string());
        (self.name(), text)
    }

    fn part(&mut self, counter: &str, window: u64) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.counter == counter && part.window == window)
    }
}

impl Account {
    /// The book as it was stored. Leases get a full time to be heard of again.
    pub fn load(stored: &Stored<'_>, now_ms: u64) -> Account {
        let mut account = Account::default();
        if let Some((count, head, totals)) = stored.last {
            let totals = json::read(totals).unwrap_or_default();
            account.chain = Chain { count, head: head.to_owned(), totals };
        }
        let kept: Kept = stored.counters.and_then(|text| json::read(text).ok()).unwrap_or_default();
        account.counters = kept.counters;
        account.reporters = stored.reporters.and_then(|text| json::read(text).ok()).unwrap_or_default();
        for (isolate, lease, at_ms) in &kept.closed {
            let reporter = account.reporter(isolate, *at_ms);
            (reporter.closed, reporter.closed_ms) = (*lease, *at_ms);
        }
        for (isolate, report, at_ms, rows) in &stored.pages {
            let reporter = account.reporter(isolate, *at_ms);
            reporter.number = reporter.number.max(*report);
            let rows: Vec<Value> = serde_json::from_str(rows).unwrap_or_default();
            for row in rows.iter().filter_map(Row::from_json) {
                account.add_news(row, now_ms);
            }
        }
        for text in &stored.leases {
            let Ok(lease) = json::read::<Lease>(text) else { continue };
            let reporter = account.reporter(&lease.isolate, now_ms);
            // An older lease of the same isolate has been given back.
            reporter.closed = reporter.closed.max(lease.number.saturating_sub(1));
            account.leases.push(Lease { expires_ms: now_ms + LEASE_MS, ..lease });
        }
        let parts: Vec<Part> = account.leases.iter().flat_map(|lease| lease.parts.iter().cloned()).collect();
        for part in parts {
            account.set_aside(&part.counter, part.window, part.amount);
        }
        account
    }

    /// Answers an isolate that asks for what an attempt needs.
    pub fn ask(&mut self, ask: &Ask, now_ms: u64) -> (LeaseResponse, Changes) {
        let mut changes = Changes { leases: self.expire(now_ms), ..Changes::default() };
        let closed = self.reporter(&ask.isolate, now_ms).closed;
        let mut refusal: Option<Refusal> = None;
        let mut ahead = ask.ahead;
        let mut granted = Vec::with_capacity(ask.needs.len());
        for need in &ask.needs {
            match self.weigh(need, ask.waits, now_ms) {
                Ok((one, most_ahead)) => {
                    ahead = ahead.min(most_ahead);
                    granted.push(one);
                }
                // Of several reasons the one that lasts longest is told.
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
        if ask.lease <= closed {
            // The isolate has given up waiting for this answer.
            return (LeaseResponse::Granted(Vec::new()), changes);
        }
        for (one, need) in granted.iter_mut().zip(&ask.needs) {
            let unit = one.hold;
            one.spare = unit.saturating_mul(ahead);
            one.hold = if ask.waits { unit } else { 0 };
            let amount = one.hold + one.spare;
            self.set_aside(&need.counter, one.window, amount);
            one.left = one.left.saturating_sub(amount);
        }
        let index =
            self.leases.iter().position(|lease| lease.isolate == ask.isolate && lease.number == ask.lease);
        let index = index.unwrap_or_else(|| {
            let (isolate, number) = (ask.isolate.clone(), ask.lease);
            self.leases.push(Lease { isolate, number, expired: false, parts: Vec::new(), expires_ms: 0 });
            self.leases.len() - 1
        });
        if let Some(lease) = self.leases.get_mut(index) {
            lease.expires_ms = now_ms + LEASE_MS;
            lease.expired = false;
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

    /// Weighs one need: what one hold gets, as `hold` of the grant, and for how many further ones there is enough.
    fn weigh(&mut self, need: &Need, waits: bool, now_ms: u64) -> Result<(Granted, u64), Refusal> {
        let Window { number, ends_ms } = self.roll(&need.counter, now_ms);
        let (used, aside) =
            self.counter(&need.counter).map_or((0, 0), |counter| (counter.used, counter.aside));
        let left = need.limit.saturating_sub(used).saturating_sub(aside);
        if waits && left < need.least {
            // What silent isolates held does not come back in this window: it is no reason to try again.
            let held = aside.saturating_sub(self.unconfirmed(&need.counter, number));
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

    /// Takes a report: once, however often it comes.
    pub fn report(&mut self, report: &Report, now_ms: u64) -> (Standing, Changes) {
        let mut changes = Changes { leases: self.expire(now_ms), ..Changes::default() };
        for lease in &mut self.leases {
            if lease.isolate == report.isolate && report.leases.contains(&lease.number) {
                lease.expires_ms = now_ms + LEASE_MS;
                if lease.expired {
                    lease.expired = false;
                    changes.leases.push(lease.change());
                }
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
            let mut touched = Vec::new();
            for charge in &report.charges {
                self.settle(&report.isolate, charge, now_ms);
                touched.push(charge.lease);
            }
            for closed in &report.closed {
                self.close(&report.isolate, closed);
                touched.push(closed.lease);
            }
            if !report.closed.is_empty() || report.charges.iter().any(|charge| charge.used > 0) {
                changes.counters = Some(self.kept(now_ms));
            }
            let touched = |lease: &&Lease| lease.isolate == report.isolate && touched.contains(&lease.number);
            changes.leases.extend(self.leases.iter().filter(touched).map(Lease::change));
            self.leases.retain(|lease| !lease.is_empty());
        }
        (self.standing(&report.isolate, now_ms), changes)
    }

    fn kept(&self, now_ms: u64) -> String {
        let recent =
            |reporter: &&Reporter| reporter.closed > 0 && reporter.closed_ms + ON_ITS_WAY_MS > now_ms;
        let closed = self.reporters.iter().filter(recent);
        let closed = closed.map(|reporter| (reporter.isolate.clone(), reporter.closed, reporter.closed_ms));
        json!(Kept { counters: self.counters.clone(), closed: closed.collect() }).to_string()
    }

    fn standing(&mut self, isolate: &str, now_ms: u64) -> Standing {
        let reporting = |reporter: &&Reporter| reporter.seen_ms + REPORTING_MS > now_ms;
        let isolates = self.reporters.iter().filter(reporting).count() as u64;
        let number = self.reporter(isolate, now_ms).number;
        Standing { number, pause_ms: PAUSE_MS.max(isolates * PAUSE_FOR_EACH_MS) }
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
                // What the chain adds is some 300 bytes.
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
            self.add_news(row, now_ms);
        }
        Some(page)
    }

    /// The row, its project called [`OTHER_PROJECTS`] where the day has too many.
    fn bounded(&mut self, mut row: Row) -> Row {
        let (day, projects) = &mut self.projects;
        if *day != row.slice.day {
            *day = row.slice.day;
            projects.clear();
        }
        if projects.len() < MAX_PROJECTS && !projects.contains(&row.slice.project) {
            projects.push(row.slice.project.clone());
        } else if !projects.contains(&row.slice.project) {
            OTHER_PROJECTS.clone_into(&mut row.slice.project);
        }
        row
    }

    fn add_news(&mut self, row: Row, now_ms: u64) {
        merge(&mut self.news, row);
        self.fold_ms.get_or_insert(now_ms + FOLD_MS);
    }

    fn settle(&mut self, isolate: &str, charge: &Charge, now_ms: u64) {
        let Charge { lease: number, counter, window, held, used } = charge;
        let lease = self.leases.iter_mut().find(|lease| lease.isolate == isolate && lease.number == *number);
        if let Some(part) = lease.and_then(|lease| lease.part(counter, *window)) {
            let back = part.amount.min(*held);
            part.amount -= back;
            self.give_back(counter, *window, back);
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
            self.give_back(&part.counter, part.window, part.amount);
        }
        for (counter, window, amount) in &closed.held {
            self.set_aside(counter, *window, *amount);
        }
    }

    /// Marks the leases of isolates that have been silent for too long, and frees the places of their calls.
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
            // What is of a window that is over is of no interest any more.
            lease.parts.retain(|part| part.amount > 0 && part.window >= window(&part.counter, now_ms).number);
            changes.push(lease.change());
        }
        for part in freed {
            self.give_back(&part.counter, part.window, part.amount);
        }
        self.leases.retain(|lease| !lease.is_empty());
        changes
    }

    /// What has been added since the sums were last folded.
    pub fn news(&self) -> &[Row] {
        &self.news
    }

    /// When something is to be done: in milliseconds since 1970.
    pub fn due_ms(&self) -> Option<u64> {
        let leases = self.leases.iter().filter(|lease| !lease.expired).map(|lease| lease.expires_ms);
        leases.chain(self.fold_ms).min()
    }

    /// Whether it is time to fold the sums.
    pub fn is_fold_due(&self, now_ms: u64) -> bool {
        self.fold_ms.is_some_and(|at_ms| at_ms <= now_ms)
    }

    /// Takes what has been added since, once it has been folded.
    pub fn fold(&mut self, now_ms: u64) -> Vec<Row> {
        self.fold_ms = None;
        self.reporters.retain(|reporter| reporter.seen_ms + REPORTER_MS > now_ms);
        std::mem::take(&mut self.news)
    }

    /// Which reports have been taken, as [`Stored::reporters`] wants it.
    pub fn reporters(&self) -> String {
        json!(self.reporters).to_string()
    }

    /// Where the chain of receipts stands.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// What isolates held of a counter that have not been heard of since.
    fn unconfirmed(&self, counter: &str, window: u64) -> u64 {
        let expired = self.leases.iter().filter(|lease| lease.expired).flat_map(|lease| &lease.parts);
        let of_this = |part: &&Part| part.counter == counter && part.window == window;
        expired.filter(of_this).map(|part| part.amount).sum()
    }

    /// How a limit stands.
    pub fn state(&mut self, limit: &Limit, now_ms: u64) -> State {
        let name = limit.counter();
        let Window { number, ends_ms } = self.roll(&name, now_ms);
        let (used, aside) = self.counter(&name).map_or((0, 0), |counter| (counter.used, counter.aside));
        let unconfirmed = self.unconfirmed(&name, number);
        let left = limit.amount.saturating_sub(used).saturating_sub(aside);
        State { used, held: aside.saturating_sub(unconfirmed), unconfirmed, left, ends_ms }
    }

    fn counter(&mut self, name: &str) -> Option<&mut Counter> {
        self.counters.iter_mut().find(|counter| counter.name == name)
    }

    /// Sees to it that a counter is there and counts in the window of this time.
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

    fn set_aside(&mut self, name: &str, window: u64, amount: u64) {
        if self.counter(name).is_none() {
            self.counters.push(Counter { window, ..Counter::new(name) });
        }
        if let Some(counter) = self.counter(name)
            && counter.window == window
        {
            counter.aside = counter.aside.saturating_add(amount);
        }
    }

    fn give_back(&mut self, name: &str, window: u64, amount: u64) {
        if let Some(counter) = self.counter(name)
            && counter.window == window
        {
            counter.aside = counter.aside.saturating_sub(amount);
        }
    }

    fn reporter(&mut self, isolate: &str, now_ms: u64) -> &mut Reporter {
        let index = self.reporters.iter().position(|reporter| reporter.isolate == isolate);
        let index = index.unwrap_or_else(|| {
            let isolate = isolate.to_owned();
            self.reporters.push(Reporter { isolate, number: 0, closed: 0, closed_ms: 0, seen_ms: now_ms });
            self.reporters.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "it was found, or has just been added")]
        &mut self.reporters[index]
    }
}
