//! Tiers of capability.

use serde::{Deserialize, Serialize};

/// How capable a model is, in the words of `reasoning_effort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Quick and cheap.
    Low,
    /// In between.
    Medium,
    /// For what is hard.
    High,
}

impl Tier {
    /// The word for it: `low`, `medium` or `high`.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Low => "low",
            Tier::Medium => "medium",
            Tier::High => "high",
        }
    }
}
