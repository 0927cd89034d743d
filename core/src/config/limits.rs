//! The limits of a policy. [`crate::ledger`] counts and enforces them.

use serde::{Deserialize, Serialize};

use crate::money::MicroUsd;

/// The limits of a key, or of a key's use of some models. An absent field means no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Calls per minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Calls per day (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_day: Option<u32>,
    /// Input and output tokens per minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u32>,
    /// Tokens per day (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u32>,
    /// Concurrent calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u32>,
    /// US dollars per day (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_per_day: Option<MicroUsd>,
    /// US dollars per calendar month (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_per_month: Option<MicroUsd>,
    /// US dollars in total.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_total: Option<MicroUsd>,
}

/// The limits whose every field `$pick` chooses from the same field of two others.
macro_rules! pick_each {
    ($left:expr, $right:expr, $pick:path) => {
        Limits {
            requests_per_minute: $pick($left.requests_per_minute, $right.requests_per_minute),
            requests_per_day: $pick($left.requests_per_day, $right.requests_per_day),
            tokens_per_minute: $pick($left.tokens_per_minute, $right.tokens_per_minute),
            tokens_per_day: $pick($left.tokens_per_day, $right.tokens_per_day),
            concurrent: $pick($left.concurrent, $right.concurrent),
            usd_per_day: $pick($left.usd_per_day, $right.usd_per_day),
            usd_per_month: $pick($left.usd_per_month, $right.usd_per_month),
            usd_total: $pick($left.usd_total, $right.usd_total),
        }
    };
}

fn lower<T: Ord>(left: Option<T>, right: Option<T>) -> Option<T> {
    left.into_iter().chain(right).min()
}

impl Limits {
    /// The stricter of two limits of each kind.
    #[must_use]
    pub fn strictest(&self, other: &Limits) -> Limits {
        pick_each!(self, other, lower)
    }

    /// These limits, and those of `other` of which there is none here.
    #[must_use]
    pub fn over(&self, other: &Limits) -> Limits {
        pick_each!(self, other, Option::or)
    }

    /// The limits of the kinds that `named` has.
    #[must_use]
    pub fn only(&self, named: &Limits) -> Limits {
        pick_each!(named, self, Option::and)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_combined_by_kind() {
        let left = Limits { requests_per_day: Some(5), usd_total: Some(MicroUsd(7)), ..Limits::default() };
        let right = Limits { requests_per_day: Some(3), concurrent: Some(1), ..Limits::default() };
        let strictest = Limits { usd_total: Some(MicroUsd(7)), ..right.clone() };
        assert_eq!(left.strictest(&right), strictest);
        assert_eq!(right.strictest(&left), strictest);
        assert_eq!(left.over(&right), Limits { concurrent: Some(1), ..left.clone() });
        assert_eq!(left.only(&right), Limits { requests_per_day: Some(5), ..Limits::default() });
    }
}
