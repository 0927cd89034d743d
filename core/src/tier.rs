//! Tiers of capability.

use serde::{Deserialize, Serialize};

/// The capability of a model, in the values of `reasoning_effort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Quick and cheap.
    Low,
    /// In between.
    Medium,
    /// Capable and expensive.
    High,
}

impl Tier {
    /// `low`, `medium` or `high`.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Low => "low",
            Tier::Medium => "medium",
            Tier::High => "high",
        }
    }
}
