//! The meaning of a failed attempt: for the lane, and for the rest of the call.
//!
//! The classes form a table; the methods of [`Class`] are its columns.

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Source};

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
    /// The input is longer than the model accepts: 413, `context_length_exceeded`.
    TooLong,
    /// The provider rejects the content.
    ContentRefused,
    /// The request is invalid: any other 4xx. Another provider would reject it too.
    Refused,
    /// A defect of the gateway.
    Internal,
    /// The client disconnected.
    ClientLeft,
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
        if error.source() == Source::Gateway {
            return Class::of_gateway(error);
        }
        let code = error.code().unwrap_or_default();
        let message = error.message.to_ascii_lowercase();
        let mentions = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
        if ["context_length_exceeded", "string_above_max_length"].contains(&code)
            || (error.status == 400
                && mentions(&[
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
            // 3036 and 4006 are the codes of Workers AI for a used-up daily allocation.
            429 if ["insufficient_quota", "3036", "4006"].contains(&code)
                || error.kind() == "insufficient_quota" =>
            {
                Class::QuotaSpent
            }
            429 => Class::Throttled,
            401 => Class::CredentialRejected,
            // Gemini uses status 400 for this.
            400 if code == "API_KEY_INVALID" || mentions(&["api key not valid", "invalid api key"]) => {
                Class::CredentialRejected
            }
            403 => Class::Forbidden,
            404 | 410 => Class::ModelGone,
            413 => Class::TooLong,
            408 | 409 | 425 | 500.. => Class::ServerError,
            _ if code.starts_with("content_")
                || mentions(&["safety", "content filter", "content policy"]) =>
            {
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
            Class::TooLong | Class::ContentRefused | Class::Refused | Class::Internal | Class::ClientLeft
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
            Class::TooLong | Class::ContentRefused | Class::Refused | Class::Internal | Class::ClientLeft => {
                0
            }
        }
    }

    /// The priority of a failure. If all attempts of a call fail, the caller gets the failure with the highest rank:
    /// first what the caller can fix, then what passes with time, last what only the operator can fix.
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

    /// The category of `failure_breakdown` in `GET /v1/stats/providers`, which has four; `None` if the upstream did not
    /// fail.
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
            Class::ContentRefused => "content_refused",
            Class::Refused => "refused",
            Class::Internal => "internal",
            Class::ClientLeft => "client_left",
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
    fn every_status_and_code_has_its_class() {
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
    fn cooldowns_grow_and_are_bounded() {
        assert_eq!(Class::ServerError.cooldown_ms(1), 2_000);
        assert_eq!(Class::ServerError.cooldown_ms(3), 8_000);
        assert_eq!(Class::ServerError.cooldown_ms(u32::MAX), 120_000);
        assert_eq!(Class::Refused.cooldown_ms(5), 0);
    }
}
