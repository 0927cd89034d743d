//! Every error that a caller can see, in one table.
//!
//! # Who refused
//! An error comes either from the gateway ([`Source::Gateway`]: it has a [`Code`], and its status and type follow from
//! the table) or from an upstream ([`Source::Upstream`]: the provider's own status, type and code, folded into our
//! envelope by [`crate::format::upstream_error`]). The header `x-gateway-error-source` tells the caller which. A refused
//! credential of the gateway is the provider's refusal in our words: its code stands in the table too.
//!
//! [`crate::envelope`] shows an error on each surface.
//!
//! The codes are part of the API contract: they are listed in `openapi.json`, and a test keeps both lists equal.

use std::borrow::Cow;

use serde_json::Value;

/// Whether a client's automatic retry can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request will fail again until somebody changes something.
    Never,
    /// Worth trying again after this many seconds.
    After(u32),
    /// Only after the operator has acted: people may look again in a minute, automatic retries are a waste.
    Operator,
}

/// One row of the error table.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The stable machine-readable code, `error.code` in OpenAI's envelope.
    pub code: &'static str,
    /// The same in the style of the `/v0` surface.
    pub pascal_code: &'static str,
    /// HTTP status.
    pub status: u16,
    /// `error.type` in OpenAI's envelope.
    pub kind: &'static str,
    /// What an automatic retry may expect.
    pub retry: Retry,
    /// What it means, for the documentation.
    pub meaning: &'static str,
}

macro_rules! error_table {
    ($($variant:ident, $code:literal, $status:literal, $kind:literal, $retry:expr, $meaning:literal;)+) => {
        /// Every error that the gateway itself can answer with. The table's columns: [`Spec`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)+
        }

        impl Code {
            /// All codes, in the table's order.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)+];

            /// The row of this code.
            pub const fn spec(self) -> Spec {
                match self {
                    $(Code::$variant => Spec {
                        code: $code,
                        pascal_code: stringify!($variant),
                        status: $status,
                        kind: $kind,
                        retry: $retry,
                        meaning: $meaning,
                    },)+
                }
            }
        }
    };
}

error_table! {
    InvalidApiKey, "invalid_api_key", 401, "authentication_error", Retry::Never,
        "No key was sent, or the key is not valid here.";
    ApiKeyExpired, "api_key_expired", 401, "authentication_error", Retry::Never,
        "The key is real, but its time is over.";
    ApiKeyDisabled, "api_key_disabled", 401, "authentication_error", Retry::Never,
        "The key is real, but the operator has disabled it.";
    PermissionDenied, "permission_denied", 403, "permission_error", Retry::Never,
        "The key is real, but not for this: operator keys run no inference, inference keys do not administer.";
    ModelNotAllowed, "model_not_allowed", 403, "permission_error", Retry::Never,
        "The key may not use this model.";
    EndpointNotAllowed, "endpoint_not_allowed", 403, "permission_error", Retry::Never,
        "The key may not call this endpoint.";
    UnknownPolicy, "unknown_policy", 400, "invalid_request_error", Retry::Never,
        "The operator's configuration has no policy of this name.";
    PolicyRemoved, "policy_removed", 403, "permission_error", Retry::Never,
        "A policy of the key is no longer in the operator's configuration, so it is unclear what the key may do.";
    RateLimitExceeded, "rate_limit_exceeded", 429, "rate_limit_error", Retry::After(1),
        "Too many requests from this address or with this key; `retry-after` tells when there is room again.";
    InsufficientQuota, "insufficient_quota", 429, "insufficient_quota", Retry::Never,
        "A budget of the key is spent; the message says which, and when it begins anew.";
    PriceUnknown, "price_unknown", 403, "permission_error", Retry::Never,
        "The key has a budget, and the price of the model is not known, so that the call could not be charged.";
    ReceiptNotFound, "receipt_not_found", 404, "not_found_error", Retry::Never,
        "The key has no receipt of this id, or not any more.";
    ConflictingCredentials, "conflicting_credentials", 400, "invalid_request_error", Retry::Never,
        "`Authorization` and `x-api-key` carry different keys.";
    AuthNotConfigured, "auth_not_configured", 503, "configuration_error", Retry::Operator,
        "The operator has configured no valid key, so nobody can be let in.";
    InvalidConfiguration, "invalid_configuration", 503, "configuration_error", Retry::Operator,
        "The gateway's configuration is not valid; the operator's log says where.";
    NotFound, "not_found", 404, "not_found_error", Retry::Never,
        "There is nothing at this path.";
    MethodNotAllowed, "method_not_allowed", 405, "invalid_request_error", Retry::Never,
        "The path exists, but not for this method; the `allow` header lists those it has.";
    UnsupportedContentType, "unsupported_content_type", 400, "invalid_request_error", Retry::Never,
        "The body's content type is something other than JSON.";
    BodyTooLarge, "body_too_large", 413, "invalid_request_error", Retry::Never,
        "The request body is larger than this gateway accepts.";
    InvalidJson, "invalid_json", 400, "invalid_request_error", Retry::Never,
        "The body is not valid JSON; the message tells where.";
    InvalidType, "invalid_type", 400, "invalid_request_error", Retry::Never,
        "A member of the body has the wrong JSON type.";
    MissingMember, "missing_member", 400, "invalid_request_error", Retry::Never,
        "A required member of the body is missing or null.";
    InvalidValue, "invalid_value", 400, "invalid_request_error", Retry::Never,
        "A member, parameter or header has a value that is not possible; the message tells which are.";
    UnknownMember, "unknown_member", 400, "invalid_request_error", Retry::Never,
        "The body has a member that would have no effect.";
    DuplicateMember, "duplicate_member", 400, "invalid_request_error", Retry::Never,
        "A member that the gateway acts on appears twice, so it is unclear which one counts.";
    MissingInput, "missing_input", 400, "invalid_request_error", Retry::Never,
        "The body has no `messages`.";
    MissingModel, "missing_model", 400, "invalid_request_error", Retry::Never,
        "The body has no `model`.";
    InvalidProjectId, "invalid_project_id", 400, "invalid_request_error", Retry::Never,
        "`project_id` is missing where it is required, or is not 1 to 64 characters of [a-zA-Z0-9._:-].";
    IdempotencyKeyReused, "idempotency_key_reused", 422, "invalid_request_error", Retry::Never,
        "The `Idempotency-Key` was used before, with another body.";
    RequestNotFound, "request_not_found", 404, "not_found_error", Retry::Never,
        "There is no key request of this id.";
    RequestProcessed, "request_processed", 409, "invalid_request_error", Retry::Never,
        "The key request has been approved or declined already.";
    ClaimNotFound, "claim_not_found", 404, "not_found_error", Retry::Never,
        "There is no claim link of this address, or its key has been revoked.";
    ClaimUsed, "claim_used", 410, "not_found_error", Retry::Never,
        "The claim link has been used; each shows its key once.";
    ClaimExpired, "claim_expired", 410, "not_found_error", Retry::Never,
        "The claim link was not opened in time.";
    UnknownApiKey, "unknown_api_key", 404, "not_found_error", Retry::Never,
        "There is no issued key of this name.";
    DuplicateName, "duplicate_name", 409, "invalid_request_error", Retry::Never,
        "There is an issued key of this name already.";
    EmptyName, "empty_name", 400, "invalid_request_error", Retry::Never,
        "A key's name must not be empty.";
    TooLongName, "too_long_name", 400, "invalid_request_error", Retry::Never,
        "A key's name has at most 100 bytes.";
    NameDoesNotMatchPattern, "name_does_not_match_pattern", 400, "invalid_request_error", Retry::Never,
        "A key's name has only letters, digits, `_` and `-`.";
    StorageUnavailable, "storage_unavailable", 503, "storage_error", Retry::After(5),
        "The gateway's database does not answer. Of a change that was asked for, it is not known whether it was made.";
    ModelNotFound, "model_not_found", 404, "not_found_error", Retry::Never,
        "No configured provider has a model of this name.";
    UnsupportedEndpoint, "unsupported_endpoint", 400, "invalid_request_error", Retry::Never,
        "The model, or its provider, is not for this endpoint; the message names the endpoints that it is for.";
    AmbiguousModel, "ambiguous_model", 400, "invalid_request_error", Retry::Never,
        "Several providers have a model of this name; address it as provider/model.";
    ProviderNotConfigured, "provider_not_configured", 503, "configuration_error", Retry::Operator,
        "The provider is known, but the operator has not given it a key or a usable address.";
    NoCandidate, "no_candidate", 503, "service_unavailable", Retry::Never,
        "No model that the name stands for can do what the call needs, or none can be asked now; then `retry-after` tells when.";
    UpstreamUnreachable, "upstream_unreachable", 502, "upstream_error", Retry::After(1),
        "The provider could not be reached, or closed the connection without an answer.";
    UpstreamTimeout, "upstream_timeout", 504, "upstream_error", Retry::After(1),
        "The provider took too long.";
    UpstreamInvalidResponse, "upstream_invalid_response", 502, "upstream_error", Retry::After(1),
        "The provider's answer is not what it claims to be, or not what was asked for.";
    UpstreamResponseTooLarge, "upstream_response_too_large", 502, "upstream_error", Retry::Never,
        "The provider's answer is larger than this gateway accepts.";
    UpstreamRedirected, "upstream_redirected", 502, "upstream_error", Retry::Never,
        "The provider answered with a redirect, which is never followed.";
    UpstreamCredentialRejected, "upstream_credential_rejected", 401, "upstream_error", Retry::Never,
        "The provider refused the gateway's own credential; only the operator can mend that.";
    UpstreamStreamCut, "upstream_stream_cut", 502, "upstream_error", Retry::After(1),
        "The provider's stream ended before it was complete; seen as an event in the stream.";
    ClientClosedRequest, "client_closed_request", 499, "client_error", Retry::Never,
        "The client went away before the answer; only seen in logs.";
    InternalError, "internal_error", 500, "server_error", Retry::After(1),
        "A fault of the gateway itself; report it with the request id.";
}

/// Who refused: told to the caller in `x-gateway-error-source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The gateway.
    Gateway,
    /// The provider.
    Upstream,
}

/// An error as a value, ready to be shown on any surface by [`crate::envelope`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// HTTP status.
    pub status: u16,
    /// What is wrong and where, in a sentence for people. Never holds a secret or a caller's content.
    pub message: String,
    /// The member or header at fault.
    pub param: Option<Cow<'static, str>>,
    /// What `/v0` shows as `details`.
    pub(crate) details: Option<Box<Value>>,
    /// Seconds until another try can succeed, where that is known better than by the table.
    retry_after: Option<u32>,
    pub(crate) origin: Origin,
}

/// Who the error comes from, with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Gateway(Code),
    Upstream { kind: String, code: Option<String> },
}

impl Error {
    /// An error of the gateway, by the table.
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        Error {
            status: code.spec().status,
            message: message.into(),
            param: None,
            details: None,
            retry_after: None,
            origin: Origin::Gateway(code),
        }
    }

    /// An error that an upstream answered with: its own status, type and code.
    pub fn upstream(status: u16, kind: String, code: Option<String>, message: String) -> Error {
        let origin = Origin::Upstream { kind, code };
        Error { status, message, param: None, details: None, retry_after: None, origin }
    }

    /// The same error, naming the member or header at fault.
    #[must_use]
    pub fn with_param(self, param: impl Into<Cow<'static, str>>) -> Error {
        Error { param: Some(param.into()), ..self }
    }

    /// The same error, its message beginning with where it was found.
    #[must_use]
    pub fn found_in(self, place: &str) -> Error {
        Error { message: format!("{place}: {}", self.message), ..self }
    }

    /// The same error, with what `/v0` shows as `details`.
    #[must_use]
    pub fn with_details(self, details: Value) -> Error {
        Error { details: Some(Box::new(details)), ..self }
    }

    /// The same error, worth trying again after this many seconds.
    #[must_use]
    pub fn with_retry_after(self, seconds: u32) -> Error {
        Error { retry_after: Some(seconds), ..self }
    }

    /// Who refused.
    pub fn source(&self) -> Source {
        match self.origin {
            Origin::Gateway(_) => Source::Gateway,
            Origin::Upstream { .. } => Source::Upstream,
        }
    }

    /// `error.type`.
    pub fn kind(&self) -> &str {
        match &self.origin {
            Origin::Gateway(code) => code.spec().kind,
            Origin::Upstream { kind, .. } => kind,
        }
    }

    /// `error.code`; an upstream may give none.
    pub fn code(&self) -> Option<&str> {
        match &self.origin {
            Origin::Gateway(code) => Some(code.spec().code),
            Origin::Upstream { code, .. } => code.as_deref(),
        }
    }

    /// Whether to try again; `None` where an upstream leaves it open.
    pub fn retry(&self) -> Option<Retry> {
        if let Some(seconds) = self.retry_after {
            return Some(Retry::After(seconds));
        }
        match self.origin {
            Origin::Gateway(code) => Some(code.spec().retry),
            // What clients of a 429 or 503 may expect; the upstream's own `retry-after` replaces it.
            Origin::Upstream { .. } => matches!(self.status, 429 | 503).then_some(Retry::After(1)),
        }
    }

    /// Whether this is the given error of the table.
    pub fn is(&self, code: Code) -> bool {
        self.origin == Origin::Gateway(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_no_two_rows_of_one_code_and_only_error_statuses() {
        let mut codes: Vec<_> = Code::ALL.iter().map(|code| code.spec().code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!((400..600).contains(&code.spec().status), "{code:?}");
            assert!(code.spec().meaning.ends_with('.'), "{code:?} has no sentence");
        }
    }
}
