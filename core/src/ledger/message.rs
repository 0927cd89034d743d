//! The messages between isolates and the account.
//!
//! Lease requests are independent and may overtake each other. The reports of one isolate are numbered and sent one
//! after the other, each until it has been acknowledged, so the account takes each report once and in order.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::limit::Counter;
use super::rejection::Rejection;
use super::tally::Row;
use crate::error::Error;

/// The need of an attempt for one counter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Need {
    /// The counter, by [`super::Limit::counter`].
    pub counter: Counter,
    /// The limit in calls, tokens or micro-USD, like all amounts of a counter.
    pub limit: u64,
    /// The minimum.
    pub least: u64,
    /// The maximum.
    pub most: u64,
}

/// A request of an isolate for the needs of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct LeaseRequest {
    /// The isolate.
    pub isolate: String,
    /// The number of the isolate's lease.
    pub lease: u64,
    /// `true` if an attempt waits for the response. Otherwise only the share for later attempts is granted.
    pub waits: bool,
    /// The number of later attempts of this kind to cover.
    pub ahead: u64,
    /// The needs. Either all are granted or none.
    pub needs: Vec<Need>,
}

/// The amounts granted of one counter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Granted {
    /// The counter.
    pub counter: Counter,
    /// The window of the counter.
    pub window: u64,
    /// The end of the window, in milliseconds since 1970.
    pub ends_ms: Option<u64>,
    /// The amount for the attempt.
    pub hold: u64,
    /// The amount for later attempts.
    pub spare: u64,
    /// The maximum that a single hold should take of the counter for now, so that a few calls with a high maximum cost
    /// do not lock it.
    pub cap: u64,
    /// The amount left for other isolates.
    pub left: u64,
}

/// The reason why nothing is granted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Refusal {
    /// The counter without enough left.
    pub counter: Counter,
    /// The limit.
    pub limit: u64,
    /// The minimum that was needed.
    pub needed: u64,
    /// The amount left.
    pub left: u64,
    /// The amount reserved for calls in progress, a part of which will return.
    pub held: u64,
    /// The end of the window, in milliseconds since 1970; `None` for never.
    pub ends_ms: Option<u64>,
}

impl Refusal {
    /// Returns `true` if the limit is spent in this window: even if all reserved amounts returned, there would not be
    /// enough.
    pub fn is_spent(&self) -> bool {
        self.left.saturating_add(self.held) < self.needed
    }
}

/// The reason why nothing is reserved for an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreserved {
    /// The account refused.
    Refused(Refusal),
    /// The account could not be asked.
    Unavailable(Error),
}

/// The response to a [`LeaseRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseResponse {
    /// All needs are granted.
    Granted(Vec<Granted>),
    /// Nothing is granted.
    Refused(Refusal),
}

/// The final state of a hold.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Charge {
    /// The lease from which it was taken.
    pub lease: u64,
    /// The counter.
    pub counter: Counter,
    /// The window.
    pub window: u64,
    /// The reserved amount.
    pub held: u64,
    /// The used amount. It may exceed the hold, if that was too small; the counter is charged anyway.
    pub used: u64,
}

/// A call that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The receipt, as [`super::receipt::Receipt::to_text`] writes it; `None` if nothing was sent.
    pub receipt: Option<String>,
    /// The rows that the call adds to the sums: one for each model that it was sent to.
    pub rows: Vec<Row>,
    /// The holds.
    pub charges: Vec<Charge>,
}

/// A lease that an isolate returns.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Closed {
    /// The number of the lease.
    pub lease: u64,
    /// The amounts that are still reserved for calls in progress: counter, window, amount.
    pub held: Vec<(Counter, u64, u64)>,
}

/// A report of an isolate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Report {
    /// The isolate.
    pub isolate: String,
    /// The number of the report, from 1.
    pub number: u64,
    /// The charges of the calls that have ended. Charges of one lease, counter and window are summed up, which makes no
    /// difference to the account.
    pub charges: Vec<Charge>,
    /// The rows that these calls add to the sums, summed up by slice, as [`Row::to_json`] writes them.
    pub rows: Vec<Value>,
    /// The leases that the isolate returns.
    pub closed: Vec<Closed>,
    /// The leases that the isolate holds.
    pub leases: Vec<u64>,
    /// Rejected calls, by kind. Isolates of an earlier version do not report them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejections: Vec<Rejection>,
    /// The receipts of the calls in the order in which they ended, one per line, as [`super::receipt::to_line`] writes
    /// them. They are sent after the JSON, on lines of their own: inside it, each of their quotes would have to be
    /// escaped and parsed again.
    #[serde(skip)]
    pub receipts: String,
}

impl Report {
    /// The number of calls that have ended.
    pub fn calls(&self) -> usize {
        self.receipts.lines().count()
    }
}

/// The lane that made a response which its provider keeps. It has nothing of the response but its id.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct KeptResponse {
    /// The provider's id of the response.
    pub id: String,
    /// The provider.
    pub provider: String,
    /// The index of the provider's key.
    pub key: u8,
}

/// The time for which a ledger remembers a [`KeptResponse`], in milliseconds: the providers keep responses for 30 days.
pub const KEEP_RESPONSES_MS: u64 = 30 * 86_400_000;
/// The most that a ledger remembers: the last ones.
pub const MAX_KEPT_RESPONSES: u64 = 100_000;

/// The response to a [`Report`], which has been taken, now or before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ReportResponse {
    /// The number of the last report that was taken.
    pub number: u64,
    /// The time that the isolate should wait between two reports, in milliseconds; it grows with the number of
    /// isolates.
    pub pause_ms: u64,
}
