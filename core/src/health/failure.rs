//! The meaning of a failed attempt: for the lane, and for the rest of the call.
//!
//! The classes form a table; the methods of [`Class`] are its columns. What an upstream's error means is decided by
//! [`crate::format::upstream_error`], before its status is looked at.

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Meaning};

/// The class of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Too many requests: 429.
    Throttled,
    /// The provider account has no quota left: 402, or a 429 with such a code.
    QuotaSpent,
    /// The provider rejects the gateway's key: 401.
    CredentialRejected,
    /// The gateway's key does not have permission: 403.
    Forbidden,
    /// The provider does not have the model, or no longer: 404, 410.
    ModelGone,
    /// The provider failed: 408, 5xx, or an error inside a stream.
    ServerError,
    /// A time limit passed: no status line, no content, or no end.
    TimedOut,
    /// No connection, or the connection was closed before a response.
    Unreachable,
    /// A response that is incomplete or malformed.
    Broken,
    /// The input is longer than the model accepts.
    TooLong,
    /// The lane cannot serve this request, but another one may: it has no tools, or the request alone is larger than a
    /// limit by the minute.
    Unsupported,
    /// The provider rejects the reasoning of earlier turns; the same lane may accept the request without it.
    ReasoningRejected,
    /// The provider rejects the content.
    ContentRefused,
    /// The request is invalid: any other 4xx. Another provider would reject it too.
    Refused,
    /// A defect of the gateway.
    Internal,
    /// The client disconnected.
    ClientLeft,
    /// An operator has put the lane into cooldown. No failure has this class.
    Operator,
}

/// A failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The class.
    pub class: Class,
    /// The time for which the provider wants no requests, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

impl Failure {
    /// The failure behind an error. `retry_after_ms` comes from the headers of the upstream's response.
    pub fn of(error: &Error, retry_after_ms: Option<u64>) -> Failure {
        Failure { class: Class::of(error), retry_after_ms }
    }
}

impl Class {
    fn of(error: &Error) -> Class {
        let Some(meaning) = error.meaning() else { return Class::of_gateway(error) };
        match meaning {
            Meaning::TooLong => Class::TooLong,
            Meaning::Moderated => Class::ContentRefused,
            Meaning::Unsupported => Class::Unsupported,
            Meaning::ReasoningRejected => Class::ReasoningRejected,
            Meaning::Refused => Class::Refused,
            Meaning::ModelUnknown => Class::ModelGone,
            Meaning::CredentialRejected => Class::CredentialRejected,
            Meaning::QuotaSpent => Class::QuotaSpent,
            Meaning::Forbidden => Class::Forbidden,
            Meaning::Throttled => Class::Throttled,
            Meaning::Failed => Class::ServerError,
        }
    }

    fn of_gateway(error: &Error) -> Class {
        let is = |code| error.is(code);
        if is(Code::UpstreamTimeout) {
            Class::TimedOut
        } else if is(Code::UpstreamUnreachable) {
            Class::Unreachable
        } else if is(Code::ClientClosedRequest) {
            Class::ClientLeft
        } else if is(Code::UnsupportedParameter) {
            // The request cannot be translated for this lane.
            Class::Unsupported
        } else if error.kind() == Code::UpstreamUnreachable.spec().kind {
            Class::Broken
        } else {
            Class::Internal
        }
    }

    /// Returns `true` if the call can continue with another lane.
    pub fn goes_on(self) -> bool {
        !matches!(self, Class::ContentRefused | Class::Refused | Class::Internal | Class::ClientLeft)
    }

    /// Returns `true` if the call can retry the same lane after a wait. Not after a time limit: that attempt has
    /// already taken long enough.
    pub fn can_repeat(self) -> bool {
        matches!(self, Class::Throttled | Class::ServerError | Class::Unreachable | Class::Broken)
    }

    /// Returns `true` if the model may have started to generate, so that the provider may charge for the attempt.
    pub fn may_have_used(self) -> bool {
        matches!(self, Class::TimedOut | Class::Broken | Class::ClientLeft)
    }

    /// Returns `true` if the failure counts against the lane. Invalid requests of callers must not lower the health of
    /// a provider.
    pub fn is_fault(self) -> bool {
        !matches!(
            self,
            Class::TooLong
                | Class::Unsupported
                | Class::ReasoningRejected
                | Class::ContentRefused
                | Class::Refused
                | Class::Internal
                | Class::ClientLeft
        )
    }

    /// Returns `true` if the failure concerns the key, and so all models that are reached with it.
    pub fn is_of_key(self) -> bool {
        matches!(self, Class::QuotaSpent | Class::CredentialRejected)
    }

    /// The cooldown of the lane or the key after the `streak`th failure in a row, in milliseconds, unless the provider
    /// stated a time; 0 for none.
    pub fn cooldown_ms(self, streak: u32) -> u64 {
        let doubled = |first_ms: u64, most_ms: u64| {
            first_ms.saturating_mul(1 << streak.saturating_sub(1).min(20)).min(most_ms)
        };
        match self {
            Class::Throttled => doubled(5_000, 120_000),
            Class::ServerError | Class::TimedOut | Class::Unreachable | Class::Broken => {
                doubled(2_000, 120_000)
            }
            Class::QuotaSpent | Class::CredentialRejected => doubled(60_000, 3_600_000),
            Class::Forbidden | Class::ModelGone => doubled(60_000, 600_000),
            Class::TooLong
            | Class::Unsupported
            | Class::ReasoningRejected
            | Class::ContentRefused
            | Class::Refused
            | Class::Internal
            | Class::ClientLeft
            | Class::Operator => 0,
        }
    }

    /// The priority of a failure. If all attempts of a call fail, the caller gets the failure with the highest rank:
    /// first what the caller can fix, then what passes with time, then what only the operator can fix. Rejected reasoning
    /// comes last: the retry without it has a failure of its own.
    pub fn rank(self) -> u8 {
        match self {
            Class::ClientLeft => 9,
            Class::Refused | Class::ContentRefused | Class::Internal => 8,
            Class::TooLong | Class::Unsupported => 7,
            Class::Throttled => 6,
            Class::ServerError | Class::TimedOut | Class::Unreachable | Class::Broken => 5,
            Class::ModelGone => 4,
            Class::Forbidden | Class::QuotaSpent | Class::CredentialRejected | Class::Operator => 3,
            Class::ReasoningRejected => 2,
        }
    }

    /// The category of `failure_breakdown` in `GET /v1/stats/providers`, which has four; `None` if the upstream did not
    /// fail.
    pub fn breakdown(self) -> Option<Breakdown> {
        match self {
            Class::ContentRefused => Some(Breakdown::SafetyRefusal),
            Class::Throttled | Class::ServerError | Class::TimedOut | Class::Unreachable | Class::Broken => {
                Some(Breakdown::UsageRetriable)
            }
            Class::TooLong | Class::Unsupported | Class::ReasoningRejected | Class::Refused => {
                Some(Breakdown::InputNonretriable)
            }
            Class::QuotaSpent | Class::CredentialRejected | Class::Forbidden | Class::ModelGone => {
                Some(Breakdown::ProviderFatal)
            }
            Class::Internal | Class::ClientLeft | Class::Operator => None,
        }
    }

    /// The name in logs and headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Throttled => "throttled",
            Class::QuotaSpent => "quota_spent",
            Class::CredentialRejected => "credential_rejected",
            Class::Forbidden => "forbidden",
            Class::ModelGone => "model_gone",
            Class::ServerError => "server_error",
            Class::TimedOut => "timed_out",
            Class::Unreachable => "unreachable",
            Class::Broken => "broken",
            Class::TooLong => "too_long",
            Class::Unsupported => "unsupported",
            Class::ReasoningRejected => "reasoning_rejected",
            Class::ContentRefused => "content_refused",
            Class::Refused => "refused",
            Class::Internal => "internal",
            Class::ClientLeft => "client_left",
            Class::Operator => "operator",
        }
    }
}

/// The categories of failures in `GET /v1/stats/providers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakdown {
    /// The provider rejects the content.
    SafetyRefusal,
    /// The failure is temporary: limits, overload, time limits, network.
    UsageRetriable,
    /// The request is invalid.
    InputNonretriable,
    /// The provider rejects all requests until somebody acts.
    ProviderFatal,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_meaning_and_every_error_of_the_gateway_has_its_class() {
        for (status, class) in [
            (429, Class::Throttled),
            (402, Class::QuotaSpent),
            (401, Class::CredentialRejected),
            (403, Class::Forbidden),
            (404, Class::ModelGone),
            (410, Class::ModelGone),
            (408, Class::ServerError),
            (500, Class::ServerError),
            (529, Class::ServerError),
            (413, Class::TooLong),
            (400, Class::Refused),
            (422, Class::Refused),
        ] {
            let error = Error::upstream(status, "t".into(), None, "m".into());
            assert_eq!(Class::of(&error), class, "{status}");
        }
        for (meaning, class, goes_on) in [
            (Meaning::TooLong, Class::TooLong, true),
            (Meaning::Unsupported, Class::Unsupported, true),
            (Meaning::ReasoningRejected, Class::ReasoningRejected, true),
            (Meaning::Moderated, Class::ContentRefused, false),
            (Meaning::Refused, Class::Refused, false),
        ] {
            let error = Error::upstream(429, "t".into(), None, "m".into()).with_meaning(meaning, None);
            assert_eq!((Class::of(&error), class.goes_on()), (class, goes_on), "{meaning:?}");
            assert!(!class.is_fault() && class.cooldown_ms(1) == 0, "the caller's request: {meaning:?}");
        }
        for (code, class) in [
            (Code::UpstreamTimeout, Class::TimedOut),
            (Code::UpstreamUnreachable, Class::Unreachable),
            (Code::UpstreamInvalidResponse, Class::Broken),
            (Code::UpstreamStreamCut, Class::Broken),
            (Code::UpstreamRedirected, Class::Broken),
            (Code::ClientClosedRequest, Class::ClientLeft),
            (Code::UnsupportedParameter, Class::Unsupported),
            (Code::InternalError, Class::Internal),
        ] {
            assert_eq!(Class::of(&Error::new(code, "m")), class);
        }
    }

    #[test]
    fn cooldowns_grow_and_are_bounded() {
        assert_eq!(Class::ServerError.cooldown_ms(1), 2_000);
        assert_eq!(Class::ServerError.cooldown_ms(3), 8_000);
        assert_eq!(Class::ServerError.cooldown_ms(u32::MAX), 120_000);
        assert_eq!(Class::Refused.cooldown_ms(5), 0);
    }
}
