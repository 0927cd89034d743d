//! What a failed attempt says: about the lane, and about where the call can go next.
//!
//! One table of classes; [`Class`]'s methods are its columns.

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Source};

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Too many calls for now: 429.
    Throttled,
    /// The account is empty: 402, or 429 that says so.
    QuotaSpent,
    /// The gateway's key is not valid: 401.
    CredentialRejected,
    /// The gateway's key may not do this: 403.
    Forbidden,
    /// The provider does not have the model (any more): 404, 410.
    ModelGone,
    /// The provider failed: 408, 5xx, an error inside a stream.
    ServerError,
    /// A time limit: no status line, no content, no end.
    TimedOut,
    /// No connection, or closed without an answer.
    Unreachable,
    /// An answer that is cut, or not what it claims to be.
    Broken,
    /// More than the model can read: 413, `context_length_exceeded`.
    TooLong,
    /// The provider refuses the content.
    ContentRefused,
    /// The request is at fault: any other 4xx. Another provider would say the same.
    Refused,
    /// The gateway's own fault.
    Internal,
    /// The client left.
    ClientLeft,
}

/// A failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub class: Class,
    /// How long the provider wants to be left alone, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

impl Failure {
    /// What an error means. `retry_after_ms` is what the upstream's headers said.
    pub fn of(error: &Error, retry_after_ms: Option<u64>) -> Failure {
        Failure { class: Class::of(error), retry_after_ms }
    }
}

impl Class {
    fn of(error: &Error) -> Class {
        if error.source() == Source::Gateway {
            return Class::of_gateway(error);
        }
        let code = error.code().unwrap_or_default();
        let words = error.message.to_ascii_lowercase();
        let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
        if ["context_length_exceeded", "string_above_max_length"].contains(&code)
            || (error.status == 400
                && says(&[
                    "context length",
                    "context window",
                    "maximum context",
                    "too many tokens",
                    "prompt is too long",
                ]))
        {
            return Class::TooLong;
        }
        match error.status {
            402 => Class::QuotaSpent,
            // 3036 and 4006 are how Workers AI says that the day's allocation is used up.
            429 if ["insufficient_quota", "3036", "4006"].contains(&code)
                || error.kind() == "insufficient_quota" =>
            {
                Class::QuotaSpent
            }
            429 => Class::Throttled,
            401 => Class::CredentialRejected,
            // Gemini says so with a 400.
            400 if code == "API_KEY_INVALID" || says(&["api key not valid", "invalid api key"]) => {
                Class::CredentialRejected
            }
            403 => Class::Forbidden,
            404 | 410 => Class::ModelGone,
            413 => Class::TooLong,
            408 | 409 | 425 | 500.. => Class::ServerError,
            _ if code.starts_with("content_") || says(&["safety", "content filter", "content policy"]) => {
                Class::ContentRefused
            }
            _ => Class::Refused,
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
        } else if error.kind() == Code::UpstreamUnreachable.spec().kind {
            Class::Broken
        } else {
            Class::Internal
        }
    }

    /// Whether another lane may be asked for the same call.
    pub fn goes_on(self) -> bool {
        !matches!(self, Class::ContentRefused | Class::Refused | Class::Internal | Class::ClientLeft)
    }

    /// Whether the same lane may be asked again for the same call, after a wait. Not after a time limit: that has cost
    /// enough already.
    pub fn can_repeat(self) -> bool {
        matches!(self, Class::Throttled | Class::ServerError | Class::Unreachable | Class::Broken)
    }

    /// Whether the model may have begun to answer, so that the provider charges something all the same.
    pub fn may_have_used(self) -> bool {
        matches!(self, Class::TimedOut | Class::Broken | Class::ClientLeft)
    }

    /// Whether it speaks against the lane. A caller's bad requests do not make a provider look ill.
    pub fn is_fault(self) -> bool {
        !matches!(
            self,
            Class::TooLong | Class::ContentRefused | Class::Refused | Class::Internal | Class::ClientLeft
        )
    }

    /// Whether it is about the key, and so about every model that is asked with it.
    pub fn is_of_key(self) -> bool {
        matches!(self, Class::QuotaSpent | Class::CredentialRejected)
    }

    /// How long the lane, or the key, is left alone after the `streak`th failure in a row, in milliseconds, unless the
    /// provider named a time; 0: not at all.
    pub fn outage_ms(self, streak: u32) -> u64 {
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
            Class::TooLong | Class::ContentRefused | Class::Refused | Class::Internal | Class::ClientLeft => {
                0
            }
        }
    }

    /// Of several failures of one call, the one of the highest rank is told to the caller: first what the caller can
    /// mend, then what passes with time, last what only the operator can mend.
    pub fn rank(self) -> u8 {
        match self {
            Class::ClientLeft => 9,
            Class::Refused | Class::ContentRefused | Class::Internal => 8,
            Class::TooLong => 7,
            Class::Throttled => 6,
            Class::ServerError | Class::TimedOut | Class::Unreachable | Class::Broken => 5,
            Class::ModelGone => 4,
            Class::Forbidden | Class::QuotaSpent | Class::CredentialRejected => 3,
        }
    }

    /// The word of `failure_breakdown` in `GET /v1/stats/providers`, which knows four; `None`: no failure of an upstream.
    pub fn breakdown(self) -> Option<Breakdown> {
        match self {
            Class::ContentRefused => Some(Breakdown::SafetyRefusal),
            Class::Throttled | Class::ServerError | Class::TimedOut | Class::Unreachable | Class::Broken => {
                Some(Breakdown::UsageRetriable)
            }
            Class::TooLong | Class::Refused => Some(Breakdown::InputNonretriable),
            Class::QuotaSpent | Class::CredentialRejected | Class::Forbidden | Class::ModelGone => {
                Some(Breakdown::ProviderFatal)
            }
            Class::Internal | Class::ClientLeft => None,
        }
    }

    /// Its name, as logs and headers have it.
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
            Class::ContentRefused => "content_refused",
            Class::Refused => "refused",
            Class::Internal => "internal",
            Class::ClientLeft => "client_left",
        }
    }
}

/// The classes of failures that `GET /v1/stats/providers` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakdown {
    /// The provider refuses the content.
    SafetyRefusal,
    /// It passes: limits, overload, time limits, network.
    UsageRetriable,
    /// The request is at fault.
    InputNonretriable,
    /// The provider will not answer until somebody acts.
    ProviderFatal,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_class() {
        for (status, code, message, class) in [
            (429, "rate_limit_exceeded", "slow down", Class::Throttled),
            (429, "insufficient_quota", "pay", Class::QuotaSpent),
            (429, "3036", "used up", Class::QuotaSpent),
            (402, "", "pay", Class::QuotaSpent),
            (401, "", "key", Class::CredentialRejected),
            (
                400,
                "API_KEY_INVALID",
                "API key not valid. Please pass a valid API key.",
                Class::CredentialRejected,
            ),
            (403, "", "no", Class::Forbidden),
            (404, "model_not_found", "no", Class::ModelGone),
            (410, "", "retired", Class::ModelGone),
            (408, "", "late", Class::ServerError),
            (500, "", "oops", Class::ServerError),
            (529, "", "overloaded", Class::ServerError),
            (413, "", "too large", Class::TooLong),
            (400, "context_length_exceeded", "m", Class::TooLong),
            (400, "", "This model's maximum context length is 8192 tokens", Class::TooLong),
            (400, "content_filter", "m", Class::ContentRefused),
            (400, "", "blocked by safety settings", Class::ContentRefused),
            (400, "", "messages: field required", Class::Refused),
            (422, "", "bad", Class::Refused),
        ] {
            let code = Some(code.to_owned()).filter(|code| !code.is_empty());
            let error = Error::upstream(status, "t".into(), code, message.into());
            assert_eq!(Class::of(&error), class, "{status} {message}");
        }
        for (code, class) in [
            (Code::UpstreamTimeout, Class::TimedOut),
            (Code::UpstreamUnreachable, Class::Unreachable),
            (Code::UpstreamInvalidResponse, Class::Broken),
            (Code::UpstreamStreamCut, Class::Broken),
            (Code::UpstreamRedirected, Class::Broken),
            (Code::ClientClosedRequest, Class::ClientLeft),
            (Code::InternalError, Class::Internal),
        ] {
            assert_eq!(Class::of(&Error::new(code, "m")), class);
        }
    }

    #[test]
    fn outages_grow_and_are_bounded() {
        assert_eq!(Class::ServerError.outage_ms(1), 2_000);
        assert_eq!(Class::ServerError.outage_ms(3), 8_000);
        assert_eq!(Class::ServerError.outage_ms(u32::MAX), 120_000);
        assert_eq!(Class::Refused.outage_ms(5), 0);
    }
}
