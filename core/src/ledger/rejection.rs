//! Rejected calls: those of a known key for which no provider was called. They have no receipt and cost nothing, so they are
//! counted by what they have in common, and only the first of each kind is kept as an example.
//!
//! However many calls are rejected, an isolate reports at most [`MAX_KINDS`] kinds with a report, and the account lists as
//! many once a minute. Nothing here is content: a field at fault is kept only if its name is a plain word.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::receipt::{code_of, is_word};
use crate::error::{Code, Error, Source};
use crate::request_id;
use crate::time::to_rfc3339;

/// The largest number of kinds that are counted separately until they are listed. Further kinds are not counted.
pub const MAX_KINDS: usize = 32;
/// The time from a report of rejected calls to their entry, in milliseconds: that of receipts.
const WAIT_MS: u64 = 10_000;
/// The shortest time between two entries of a key in the list of calls, in milliseconds.
const EVERY_MS: u64 = 60_000;

/// Rejected calls of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Rejection {
    /// The id of the entry in the list of calls, which has the time of the first.
    pub id: String,
    /// The `x-request-id` of the first.
    pub request_id: String,
    /// The time of the first, in milliseconds since 1970.
    pub first_ms: u64,
    /// The time of the last, in milliseconds since 1970.
    pub last_ms: u64,
    /// The operation: [`crate::operation::Operation::name`].
    pub operation: String,
    /// The status that the callers got.
    pub status: u16,
    /// The code of the error.
    pub code: Option<String>,
    /// The field or the limit at fault.
    pub param: Option<String>,
    /// The number of calls.
    pub count: u64,
}

impl Rejection {
    /// One rejected call; `None` if it was not the gateway that rejected it. `random` distinguishes its id.
    pub fn new(
        request_id: &str,
        operation: &str,
        error: &Error,
        now_ms: u64,
        random: [u8; 10],
    ) -> Option<Rejection> {
        if error.source() != Source::Gateway || error.is(Code::ClientClosedRequest) {
            return None;
        }
        Some(Rejection {
            id: format!("rej_{}", request_id::generate(now_ms, random)),
            request_id: request_id.to_owned(),
            first_ms: now_ms,
            last_ms: now_ms,
            operation: operation.to_owned(),
            status: error.status,
            code: code_of(error).map(str::to_owned),
            param: error.param.as_deref().filter(|param| is_word(param)).map(str::to_owned),
            count: 1,
        })
    }

    fn is_like(&self, other: &Rejection) -> bool {
        self.status == other.status
            && self.code == other.code
            && self.param == other.param
            && self.operation == other.operation
    }

    /// The entry in the list of calls, as JSON text.
    pub fn to_text(&self) -> String {
        let Rejection { id, request_id, first_ms, last_ms, operation, status, code, param, count } = self;
        json!({
            "id": id,
            "request_id": request_id,
            "time": to_rfc3339(*first_ms),
            "last_time": to_rfc3339(*last_ms),
            "operation": operation,
            "project": null,
            "provider": null,
            "model": null,
            "status": status,
            "code": code,
            "param": param,
            "outcome": "rejected",
            "count": count,
            "attempts": [],
        })
        .to_string()
    }
}

/// Adds rejected calls to those of their kind.
pub fn merge(list: &mut Vec<Rejection>, more: Rejection) {
    let has_room = list.len() < MAX_KINDS;
    match list.iter_mut().find(|known| known.is_like(&more)) {
        Some(known) => {
            known.count = known.count.saturating_add(more.count);
            known.last_ms = known.last_ms.max(more.last_ms);
        }
        None if has_room => list.push(more),
        None => {}
    }
}

/// The rejected calls of a key that the list of calls does not have yet: those that are being listed, and those that came
/// later. What is being listed is repeated unchanged until the list has it, so that the list has it once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Rejections {
    waiting: Vec<Rejection>,
    listing: Option<Batch>,
    /// The time at which they are to be listed, in milliseconds since 1970; 0 if there are none.
    due_ms: u64,
    /// The time at which the last batch was made, in milliseconds since 1970.
    listed_ms: u64,
}

/// Rejected calls that are listed together.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Batch {
    /// The time at which they were put together, in milliseconds since 1970, which is their place in the list.
    pub at_ms: u64,
    /// The kinds.
    pub rejections: Vec<Rejection>,
}

impl Rejections {
    /// Adds what an isolate has reported.
    pub fn add(&mut self, reported: &[Rejection], now_ms: u64) {
        for rejection in reported {
            merge(&mut self.waiting, rejection.clone());
        }
        if self.due_ms == 0 && !self.waiting.is_empty() {
            self.due_ms = (now_ms + WAIT_MS).max(self.listed_ms + EVERY_MS);
        }
    }

    /// The time at which a batch is to be listed, in milliseconds since 1970.
    pub fn due_ms(&self) -> Option<u64> {
        (self.due_ms > 0).then_some(self.due_ms)
    }

    /// The batch to list now, if any.
    pub fn batch(&mut self, now_ms: u64) -> Option<Batch> {
        if self.due_ms == 0 || self.due_ms > now_ms {
            return None;
        }
        if self.listing.is_none() {
            self.listed_ms = now_ms;
            let rejections = std::mem::take(&mut self.waiting);
            self.listing = (!rejections.is_empty()).then_some(Batch { at_ms: now_ms, rejections });
        }
        self.listing.clone()
    }

    /// Takes note that the batch is in the list.
    pub fn listed(&mut self) {
        self.listing = None;
        self.due_ms = if self.waiting.is_empty() { 0 } else { self.listed_ms + EVERY_MS };
    }

    /// Takes note that the batch is to be listed again later.
    pub fn not_listed(&mut self, now_ms: u64) {
        self.due_ms = now_ms + EVERY_MS;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Account, LocalLease, Report, Stored};
    use super::*;
    use serde_json::Value;

    fn rejection(code: Code, param: &'static str, now_ms: u64) -> Rejection {
        let error = Error::new(code, "no").with_param(param);
        Rejection::new("r-1", "chat/completions", &error, now_ms, [7; 10]).unwrap()
    }

    #[test]
    fn a_flood_is_a_count_for_each_kind() {
        let mut list = Vec::new();
        for now_ms in 1..=1_000 {
            merge(&mut list, rejection(Code::InsufficientQuota, "usd_per_month", now_ms));
            merge(&mut list, rejection(Code::InsufficientQuota, "usd_per_day", now_ms));
        }
        let facts: Vec<_> = list.iter().map(|one| (one.first_ms, one.last_ms, one.count)).collect();
        assert_eq!(facts, [(1, 1_000, 1_000), (1, 1_000, 1_000)]);
        let text: Value = serde_json::from_str(&list[0].to_text()).unwrap();
        assert_eq!((&text["count"], &text["param"]), (&json!(1_000), &json!("usd_per_month")));
        assert_eq!((&text["outcome"], &text["status"]), (&json!("rejected"), &json!(402)));
        let first = list[0].clone();
        for status in 0..100 {
            merge(&mut list, Rejection { status, ..first.clone() });
        }
        assert_eq!(list.len(), MAX_KINDS);
    }

    #[test]
    fn what_a_caller_writes_is_not_kept() {
        for (param, kept) in [("messages[0].role", true), ("a secret question?", false), ("", false)] {
            assert_eq!(rejection(Code::InvalidValue, param, 1).param.is_some(), kept, "{param}");
        }
        let left = Error::new(Code::ClientClosedRequest, "left");
        assert_eq!(Rejection::new("r", "embeddings", &left, 1, [0; 10]), None);
    }

    #[test]
    fn a_report_brings_counts_to_the_account_once_and_a_restart_keeps_them() {
        let mut lease = LocalLease::new("isolate".to_owned());
        for now_ms in 1..=5 {
            lease.reject(rejection(Code::ModelNotAllowed, "model", now_ms));
        }
        assert!(lease.is_behind() && !lease.has_unreported() && !lease.is_idle());
        let report = lease.report(1_001_000).unwrap().clone();
        let read: Report = crate::json::read(&crate::json::to_text(&report)).unwrap();
        assert_eq!((read.rejections.len(), read.rejections[0].count), (1, 5));
        let mut account = Account::default();
        let (response, changes) = account.report(&read, 1_001_000);
        assert!(account.report(&read, 1_001_001).1.rejections.is_none());
        lease.reported(response);
        assert!(!lease.is_behind() && lease.is_idle());
        assert_eq!(account.due_ms(), Some(1_011_000));
        let stored = Stored { rejections: changes.rejections.as_deref(), ..Stored::default() };
        let mut account = Account::load(&stored, 1_020_000);
        let (batch, changes) = account.list_rejections(1_020_000).unwrap();
        assert_eq!(batch.rejections[0].count, 5);
        let stored = Stored { rejections: changes.rejections.as_deref(), ..Stored::default() };
        let mut account = Account::load(&stored, 1_030_000);
        assert_eq!(account.list_rejections(1_030_000).unwrap().0, batch);
        account.rejections_listed(true, 1_030_000);
        assert_eq!((account.list_rejections(1_090_000), account.due_ms()), (None, None));
    }

    #[test]
    fn a_key_is_listed_ten_seconds_after_a_rejection_and_at_most_once_a_minute() {
        let mut rejections = Rejections::default();
        assert_eq!((rejections.due_ms(), rejections.batch(1)), (None, None));
        rejections.add(&[rejection(Code::NoCandidate, "model", 1_001_000)], 1_001_000);
        assert_eq!((rejections.due_ms(), rejections.batch(1_010_999)), (Some(1_011_000), None));
        let batch = rejections.batch(1_011_000).unwrap();
        assert_eq!((batch.at_ms, batch.rejections.len()), (1_011_000, 1));
        // Until the list has the batch, it stays as it is.
        rejections.add(&[rejection(Code::NoCandidate, "model", 1_012_000)], 1_012_000);
        rejections.not_listed(1_012_000);
        assert_eq!((rejections.batch(1_071_999), rejections.batch(1_072_000)), (None, Some(batch)));
        rejections.listed();
        assert_eq!(rejections.due_ms(), Some(1_071_000));
        assert_eq!(rejections.batch(1_072_000).unwrap().rejections[0].first_ms, 1_012_000);
        rejections.listed();
        assert_eq!(rejections.due_ms(), None);
        rejections.add(&[rejection(Code::NoCandidate, "model", 1_073_000)], 1_073_000);
        assert_eq!(rejections.due_ms(), Some(1_132_000));
    }
}
