//! The limits that a policy can state. How they are counted is decided in [`crate::ledger`].

use serde::{Deserialize, Serialize};

use crate::money::MicroUsd;

/// The limits of a key, or of a key's use of some models. Absent: no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Calls in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Calls in a day, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_day: Option<u32>,
    /// Tokens, read and written, in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u32>,
    /// Tokens in a day, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u32>,
    /// Calls at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u32>,
    /// US dollars in a day, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_per_day: Option<MicroUsd>,
    /// US dollars in a calendar month, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_per_month: Option<MicroUsd>,
    /// US dollars in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_total: Option<MicroUsd>,
}
