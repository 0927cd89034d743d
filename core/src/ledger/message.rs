//! What isolates and the book say to each other.
//!
//! Asks are answered one by one and may overtake each other. Reports of one isolate are numbered and sent one after the other,
//! each until it has been acknowledged, so the book takes each once and in order.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::limit::Counter;
use super::tally::Row;

/// What an attempt needs of one counter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Need {
    /// The counter, by [`super::Limit::counter`].
    pub counter: Counter,
    /// The limit: in calls, tokens or micro-USD, as all amounts of a counter.
    pub limit: u64,
    /// What it needs at least.
    pub least: u64,
    /// What it needs at most.
    pub most: u64,
}

/// An isolate asks for what an attempt needs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Ask {
    /// Which isolate.
    pub isolate: String,
    /// The number of its lease.
    pub lease: u64,
    /// Whether an attempt waits for the answer. If none does, only what is for later ones is granted.
    pub waits: bool,
    /// For how many further attempts like this one.
    pub ahead: u64,
    /// What of each counter. All are granted or none is.
    pub needs: Vec<Need>,
}

/// What is granted of one counter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Granted {
    /// The counter.
    pub counter: Counter,
    /// The window that it is of.
    pub window: u64,
    /// When that ends, in milliseconds since 1970.
    pub ends_ms: Option<u64>,
    /// For the attempt.
    pub hold: u64,
    /// For later ones.
    pub spare: u64,
    /// The most that a single hold should take of the counter for now, so that a few calls that could cost much do not lock it.
    pub cap: u64,
    /// What is left for others.
    pub left: u64,
}

/// Why nothing is granted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Refusal {
    /// The counter that has not enough.
    pub counter: Counter,
    /// The limit.
    pub limit: u64,
    /// What was needed at least.
    pub needed: u64,
    /// What is left.
    pub left: u64,
    /// What is set aside for calls that are under way, and will come back in part.
    pub held: u64,
    /// When its window ends, in milliseconds since 1970; `None`: never.
    pub ends_ms: Option<u64>,
}

impl Refusal {
    /// Whether it is spent for this window: even if all that is set aside came back, there would not be enough.
    pub fn is_spent(&self) -> bool {
        self.left.saturating_add(self.held) < self.needed
    }
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseResponse {
    /// All that was needed.
    Granted(Vec<Granted>),
    /// Nothing.
    Refused(Refusal),
}

/// What became of a hold.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Charge {
    /// The lease that it was taken from.
    pub lease: u64,
    /// The counter.
    pub counter: Counter,
    /// The window.
    pub window: u64,
    /// What was set aside.
    pub held: u64,
    /// What was used of the counter. It may be more: then the hold was too small, and the counter is charged all the same.
    pub used: u64,
}

/// A call that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Its receipt, as [`super::receipt::Receipt::to_text`] writes it; `None` where nothing was sent.
    pub receipt: Option<String>,
    /// What it adds to the sums: a row for each model that it was sent to.
    pub rows: Vec<Row>,
    /// Its holds.
    pub charges: Vec<Charge>,
}

/// A lease that an isolate gives back.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Closed {
    /// Its number.
    pub lease: u64,
    /// What of it is still set aside for calls that are under way: counter, window, amount.
    pub held: Vec<(Counter, u64, u64)>,
}

/// An isolate reports.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Report {
    /// Which isolate.
    pub isolate: String,
    /// The number of the report, from 1.
    pub number: u64,
    /// What became of the holds of the calls that have ended: those of one lease and window of a counter as one, since the book does
    /// the same with them as with each.
    pub charges: Vec<Charge>,
    /// What these calls add to the sums, those of one slice as one, as [`Row::to_json`] writes it.
    pub rows: Vec<Value>,
    /// The leases that it gives back.
    pub closed: Vec<Closed>,
    /// The leases that it holds.
    pub leases: Vec<u64>,
    /// Their receipts, in the order in which they ended: a line each, as [`super::receipt::to_line`] writes it. They go along behind
    /// the JSON, on lines of their own: in it, each of their quotes would be escaped, and read again.
    #[serde(skip)]
    pub receipts: String,
}

impl Report {
    /// How many calls have ended.
    pub fn calls(&self) -> usize {
        self.receipts.lines().count()
    }
}

/// The answer to a [`Report`]: it has been taken, now or before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Standing {
    /// The number of the last report that was taken.
    pub number: u64,
    /// How long the isolate should wait between two reports, in milliseconds: longer, the more isolates there are.
    pub pause_ms: u64,
}
