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
