//! The conditions of alerts. [`crate::alerts`] decides about them.

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::text::email;

/// Alerts to operators. All are off by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// Used shares, in percent, of limits per day or month and of totals, at which an alert is sent. Empty: none.
    pub budget_percent: Vec<u32>,
    /// The time before the expiry of a key at which an alert is sent, in days; 0: none.
    pub key_expires_days: u32,
    /// Send an alert when almost every call to a provider fails.
    pub provider_failing: bool,
    /// The share of failed calls to a provider in the last minutes, in percent, at which an alert is sent; 0: none.
    pub error_rate_percent: u32,
    /// The age of a pending key request at which an alert is sent, in hours; 0: none.
    pub requests_waiting_hours: u32,
    /// The recipient of alerts by e-mail, which need `email.from` and the binding `GATEWAY_EMAIL`. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

impl Alerts {
    /// Checks the settings. `can_send` states that `email.from` is set.
    pub(crate) fn check(&self, can_send: bool) -> Result<(), ConfigError> {
        let fail = |message: &str| Err(ConfigError(message.to_owned()));
        if self.budget_percent.len() > 10
            || self.budget_percent.iter().any(|share| !(1..=100).contains(share))
        {
            return fail("alerts.budget_percent must have at most 10 numbers from 1 to 100");
        }
        if self.error_rate_percent > 100 {
            return fail("alerts.error_rate_percent must be between 0 and 100");
        }
        if self.key_expires_days > 365 || self.requests_waiting_hours > 24 * 365 {
            return fail("alerts.key_expires_days and alerts.requests_waiting_hours must be at most a year");
        }
        match self.email.as_deref().map(email) {
            Some(Err(error)) => Err(ConfigError(format!("alerts.email: {}", error.message))),
            Some(Ok(_)) if !can_send => fail("alerts.email needs a sender: set email.from"),
            _ => Ok(()),
        }
    }
}
