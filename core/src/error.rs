//! Every error that a caller can see, in one table.
//!
//! # Source of an error
//! An error comes either from the gateway ([`Source::Gateway`]: it has a [`Code`], and its status and type follow from
//! the table) or from an upstream ([`Source::Upstream`]: the provider's own status, type and code, put into the
//! gateway's envelope by [`crate::format::upstream_error`]). The header `x-gateway-error-source` names the source. If a
//! provider rejects the gateway's credential, the source is the provider, but the code and the message are the
//! gateway's, so that code is in the table too.
//!
//! [`crate::envelope`] writes an error for each surface.
//!
//! The codes are part of the API contract: they are listed in `openapi.json`, and a test keeps both lists equal.

use std::borrow::Cow;

use serde_json::Value;

/// The effect of an automatic retry by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request fails again until somebody changes something.
    Never,
    /// A retry can succeed after this many seconds.
    After(u32),
    /// Not until the operator acts: a person may check again in a minute; automatic retries are pointless.
    Operator,
}

/// One row of the error table.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The stable machine-readable code, `error.code` in OpenAI's envelope.
    pub code: &'static str,
    /// The code in the style of the `/v0` surface.
    pub pascal_code: &'static str,
    /// HTTP status.
    pub status: u16,
    /// `error.type` in OpenAI's envelope.
    pub kind: &'static str,
    /// The effect of an automatic retry.
    pub retry: Retry,
    /// The meaning, for the documentation.
    pub meaning: &'static str,
}

macro_rules! error_table {
    ($($variant:ident, $code:literal, $status:literal, $kind:literal, $retry:expr, $meaning:literal;)+) => {
        /// Every error of the gateway. [`Spec`] describes the columns of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)+
        }

        impl Code {
            /// All codes, in the table's order.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)+];

            /// The row of the table.
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
        "The request has no key, or its key is not valid for this gateway.";
    ApiKeyExpired, "api_key_expired", 401, "authentication_error", Retry::Never,
        "The key is valid, but has expired.";
    ApiKeyDisabled, "api_key_disabled", 401, "authentication_error", Retry::Never,
        "The key is valid, but the operator has disabled it.";
    PermissionDenied, "permission_denied", 403, "permission_error", Retry::Never,
        "The key is valid, but not for this endpoint: operator keys cannot run inference, and inference keys cannot administer.";
    ModelNotAllowed, "model_not_allowed", 403, "permission_error", Retry::Never,
        "The key may not use this model.";
    EndpointNotAllowed, "endpoint_not_allowed", 403, "permission_error", Retry::Never,
        "The key may not call this endpoint.";
    FieldNotAllowed, "field_not_allowed", 403, "permission_error", Retry::Never,
        "By a field of the request, the provider would choose a model, a service or a price that the key's policy does not allow; `param` names the field.";
    UnknownPolicy, "unknown_policy", 400, "invalid_request_error", Retry::Never,
        "The operator's configuration has no policy of this name.";
    PolicyRemoved, "policy_removed", 403, "permission_error", Retry::Never,
        "A policy of the key is no longer in the operator's configuration, so its permissions are not known.";
    RateLimitExceeded, "rate_limit_exceeded", 429, "rate_limit_error", Retry::After(1),
        "Too many requests from this address or with this key; `retry-after` is the number of seconds to wait.";
    InsufficientQuota, "insufficient_quota", 402, "insufficient_quota", Retry::Never,
        "A budget of the key, or a limit that lasts longer than a minute, is spent; the message names it and the time at which it resets.";
    PriceUnknown, "price_unknown", 403, "permission_error", Retry::Never,
        "The key has a budget, but the price of the model is not known, so the call cannot be charged.";
    ReceiptNotFound, "receipt_not_found", 404, "not_found_error", Retry::Never,
        "The key has no receipt with this id, or the receipt has been deleted.";
    ResponseNotFound, "response_not_found", 404, "not_found_error", Retry::Never,
        "The key has made no response with this id in the last 30 days that its provider still keeps.";
    PreviousResponseNotFound, "previous_response_not_found", 400, "invalid_request_error", Retry::Never,
        "`previous_response_id` is not the id of a response that the key has made in the last 30 days and that its provider keeps.";
    ConflictingCredentials, "conflicting_credentials", 400, "invalid_request_error", Retry::Never,
        "`Authorization` and `x-api-key` carry different keys.";
    AuthNotConfigured, "auth_not_configured", 503, "configuration_error", Retry::Operator,
        "The operator has not configured a valid key, so every request is rejected.";
    AccessKeysUnavailable, "access_keys_unavailable", 503, "service_unavailable", Retry::After(60),
        "The public keys of the Cloudflare Access team cannot be read, so no token of it can be checked; an operator key works.";
    InvalidConfiguration, "invalid_configuration", 503, "configuration_error", Retry::Operator,
        "The gateway's configuration is not valid; the operator's log names the setting.";
    NotFound, "not_found", 404, "not_found_error", Retry::Never,
        "There is nothing at this path.";
    MethodNotAllowed, "method_not_allowed", 405, "invalid_request_error", Retry::Never,
        "The path does not support this method; the `allow` header lists the methods that it supports.";
    WebSocketNotSupported, "websocket_not_supported", 426, "invalid_request_error", Retry::Never,
        "The gateway does not serve this path over WebSocket; send the request with `POST`.";
    UnsupportedContentType, "unsupported_content_type", 400, "invalid_request_error", Retry::Never,
        "The content type of the body is not one that the endpoint accepts.";
    BodyTooLarge, "body_too_large", 413, "invalid_request_error", Retry::Never,
        "The request body is larger than the gateway accepts.";
    RequestTimeout, "request_timeout", 408, "invalid_request_error", Retry::After(1),
        "The body of the request did not arrive in time (`timeouts.body_ms`).";
    Overloaded, "overloaded", 503, "service_unavailable", Retry::After(2),
        "This instance of the gateway holds as much data of calls as it may (`requests.max_held_bytes`); `retry-after` is the number of seconds to wait.";
    UnsupportedEncoding, "unsupported_encoding", 415, "invalid_request_error", Retry::Never,
        "The body has a content encoding, such as gzip; the gateway reads only plain bodies.";
    InvalidJson, "invalid_json", 400, "invalid_request_error", Retry::Never,
        "The body is not valid JSON; the message gives the position.";
    InvalidForm, "invalid_form", 400, "invalid_request_error", Retry::Never,
        "The body is not a valid form (`multipart/form-data`); the message names the part.";
    InvalidType, "invalid_type", 400, "invalid_request_error", Retry::Never,
        "A field of the body has the wrong JSON type.";
    MissingMember, "missing_member", 400, "invalid_request_error", Retry::Never,
        "A required field of the body is missing or null.";
    InvalidValue, "invalid_value", 400, "invalid_request_error", Retry::Never,
        "A field, parameter or header has an invalid value; the message names the valid ones.";
    UnsupportedParameter, "unsupported_parameter", 400, "invalid_request_error", Retry::Never,
        "The request has to be translated for the model's provider, and a field that changes its meaning cannot be; `param` names the field.";
    UnknownMember, "unknown_member", 400, "invalid_request_error", Retry::Never,
        "The body has a field that would have no effect.";
    DuplicateMember, "duplicate_member", 400, "invalid_request_error", Retry::Never,
        "A field that the gateway reads appears twice, so its value is ambiguous.";
    MissingInput, "missing_input", 400, "invalid_request_error", Retry::Never,
        "The body has no input, such as `messages` or `file`.";
    MissingModel, "missing_model", 400, "invalid_request_error", Retry::Never,
        "The body has no `model`.";
    InvalidProjectId, "invalid_project_id", 400, "invalid_request_error", Retry::Never,
        "`project_id` is required and missing, or is not 1 to 64 characters of [a-zA-Z0-9._:-].";
    IdempotencyKeyReused, "idempotency_key_reused", 422, "invalid_request_error", Retry::Never,
        "The `Idempotency-Key` was used before with a different body.";
    RequestNotFound, "request_not_found", 404, "not_found_error", Retry::Never,
        "No key request has this id.";
    RequestProcessed, "request_processed", 400, "invalid_request_error", Retry::Never,
        "The key request has already been approved or declined.";
    IncreasePending, "increase_pending", 409, "invalid_request_error", Retry::Never,
        "The key has a request for higher limits that waits for the operator's decision.";
    NoAlertChannel, "no_alert_channel", 409, "invalid_request_error", Retry::Never,
        "No channel for alerts is configured; the message names the settings of each.";
    ClaimNotFound, "claim_not_found", 404, "not_found_error", Retry::Never,
        "No claim link has this address, or its key has been revoked.";
    ClaimUsed, "claim_used", 410, "not_found_error", Retry::Never,
        "The claim link has been used; each link shows its key once.";
    ClaimExpired, "claim_expired", 410, "not_found_error", Retry::Never,
        "The claim link has expired.";
    UnknownApiKey, "unknown_api_key", 404, "not_found_error", Retry::Never,
        "No issued key has this name.";
    DuplicateName, "duplicate_name", 409, "invalid_request_error", Retry::Never,
        "An issued key with this name already exists.";
    EmptyName, "empty_name", 400, "invalid_request_error", Retry::Never,
        "The name of a key must not be empty.";
    TooLongName, "too_long_name", 400, "invalid_request_error", Retry::Never,
        "The name of a key is longer than 100 bytes.";
    NameDoesNotMatchPattern, "name_does_not_match_pattern", 400, "invalid_request_error", Retry::Never,
        "The name of a key has characters other than letters, digits, `_` and `-`.";
    OwnerAdminNotMintableAsApiKey, "owner_admin_not_mintable_as_api_key", 403, "permission_error", Retry::Never,
        "A key has the role `read` or `write`; the roles `admin` and `owner` cannot be given to a key.";
    UnknownSetting, "unknown_setting", 404, "not_found_error", Retry::Never,
        "There is no run-time setting of this name.";
    SettingInUse, "setting_in_use", 409, "invalid_request_error", Retry::Never,
        "Keys or other settings need the setting as it is; the message names them, and `details.keys` lists the keys.";
    SettingInFile, "setting_in_file", 409, "invalid_request_error", Retry::Never,
        "The setting is part of the deployment's configuration: it can be overridden, but only a deployment removes it.";
    UnknownProviderKey, "unknown_provider_key", 404, "not_found_error", Retry::Never,
        "The provider has no key of this id.";
    DuplicateProviderKey, "duplicate_provider_key", 409, "invalid_request_error", Retry::Never,
        "The provider has this key already; the message names it.";
    ProviderKeyInSecret, "provider_key_in_secret", 409, "invalid_request_error", Retry::Never,
        "The key is in a Worker secret: only a deployment changes it.";
    MasterKeyUnavailable, "master_key_unavailable", 503, "configuration_error", Retry::Operator,
        "Keys of providers cannot be stored or read, because the secret `GATEWAY_MASTER_KEY` is missing, malformed or another one; the message says which.";
    StorageUnavailable, "storage_unavailable", 503, "storage_error", Retry::After(5),
        "The gateway's database does not respond. If the request was a change, it may or may not have been made.";
    ModelNotFound, "model_not_found", 404, "not_found_error", Retry::Never,
        "No configured provider has a model with this name.";
    UnsupportedEndpoint, "unsupported_endpoint", 400, "invalid_request_error", Retry::Never,
        "The model or its provider does not support this endpoint; the message names the endpoints that it supports.";
    AmbiguousModel, "ambiguous_model", 400, "invalid_request_error", Retry::Never,
        "Several providers have a model with this name; use provider/model.";
    ProviderNotConfigured, "provider_not_configured", 503, "configuration_error", Retry::Operator,
        "The provider is known, but the operator has not configured a key or a usable address for it.";
    NoCandidate, "no_candidate", 503, "service_unavailable", Retry::Never,
        "None of the models that the name resolves to meets the needs of the call, or none is available now; in that case `retry-after` is the number of seconds to wait.";
    ContextLengthExceeded, "context_length_exceeded", 400, "invalid_request_error", Retry::Never,
        "The input is longer than every model that the name resolves to accepts.";
    UpstreamUnreachable, "upstream_unreachable", 502, "upstream_error", Retry::After(1),
        "The provider could not be reached, or closed the connection without a response.";
    UpstreamTimeout, "upstream_timeout", 504, "upstream_error", Retry::After(1),
        "The provider did not respond in time.";
    UpstreamInvalidResponse, "upstream_invalid_response", 502, "upstream_error", Retry::After(1),
        "The provider's response is malformed, or is not of the requested kind.";
    UpstreamResponseTooLarge, "upstream_response_too_large", 502, "upstream_error", Retry::Never,
        "The provider's response is larger than the gateway accepts.";
    UpstreamRedirected, "upstream_redirected", 502, "upstream_error", Retry::Never,
        "The provider returned a redirect; the gateway does not follow redirects.";
    UpstreamCredentialRejected, "upstream_credential_rejected", 502, "upstream_error", Retry::Never,
        "The provider rejected the gateway's own credential; only the operator can fix this.";
    UpstreamStreamCut, "upstream_stream_cut", 502, "upstream_error", Retry::After(1),
        "The provider's stream ended before it was complete; the error is the last event of the stream.";
    ClientClosedRequest, "client_closed_request", 499, "client_error", Retry::Never,
        "The client disconnected before the response; the code appears only in logs.";
    InternalError, "internal_error", 500, "server_error", Retry::After(1),
        "A defect of the gateway; report it with the request id.";
}

/// The peer that rejected the request; the header `x-gateway-error-source` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The gateway.
    Gateway,
    /// The provider.
    Upstream,
}

/// An error as a value. [`crate::envelope`] writes it for each surface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// HTTP status.
    pub status: u16,
    /// A sentence for people: what is wrong, and where. Never contains a secret or a caller's content.
    pub message: String,
    /// The field or header at fault.
    pub param: Option<Cow<'static, str>>,
    /// Members that few errors have. Boxed, to keep results small.
    facts: Option<Box<Facts>>,
    /// The effect of a retry; overrides the table.
    retry: Option<Retry>,
    pub(crate) origin: Origin,
}

/// Members that few errors have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Facts {
    details: Option<Value>,
    operator_detail: Option<String>,
    tokens: Option<[u64; 2]>,
}

/// The source of an error, with its details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Gateway(Code),
    Upstream(Box<FromUpstream>),
}

/// The parts of an upstream's error beyond its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FromUpstream {
    kind: String,
    code: Option<String>,
    meaning: Meaning,
    /// The upstream's own message, if the caller gets another one.
    told: Option<String>,
    /// The upstream's own status, if the caller gets another one.
    told_status: Option<u16>,
}

/// The meaning of an upstream's error for the call, whatever its status. `format::upstream_error` decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The input is longer than the model accepts.
    TooLong,
    /// The content is rejected by moderation.
    Moderated,
    /// The upstream cannot serve this request, but another one may: it has no tools, or the request alone is larger than
    /// a limit of the account.
    Unsupported,
    /// The upstream rejects the reasoning of earlier turns that the request brings back: another lane may have made it.
    ReasoningRejected,
    /// The request is invalid everywhere.
    Refused,
    /// The upstream does not know the model.
    ModelUnknown,
    /// The upstream rejects the gateway's credential.
    CredentialRejected,
    /// The gateway's account has no quota or money left.
    QuotaSpent,
    /// The gateway's credential has no permission.
    Forbidden,
    /// Too many requests.
    Throttled,
    /// The upstream failed, or has no capacity.
    Failed,
}

impl Meaning {
    /// The meaning of a status if the upstream says nothing that explains it.
    pub fn of_status(status: u16) -> Meaning {
        match status {
            401 => Meaning::CredentialRejected,
            402 => Meaning::QuotaSpent,
            403 => Meaning::Forbidden,
            404 | 410 => Meaning::ModelUnknown,
            413 => Meaning::TooLong,
            429 => Meaning::Throttled,
            400..500 if !matches!(status, 408 | 409 | 425) => Meaning::Refused,
            _ => Meaning::Failed,
        }
    }

    /// Returns `true` if only the operator can fix the error.
    pub fn is_operators(self) -> bool {
        matches!(self, Meaning::CredentialRejected | Meaning::QuotaSpent | Meaning::Forbidden)
    }

    /// Returns `true` if the caller's request is the reason.
    pub fn is_callers(self) -> bool {
        matches!(
            self,
            Meaning::TooLong
                | Meaning::Moderated
                | Meaning::Unsupported
                | Meaning::ReasoningRejected
                | Meaning::Refused
        )
    }
}

impl Error {
    /// An error of the gateway, with the status of the table.
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        Error {
            status: code.spec().status,
            message: message.into(),
            param: None,
            facts: None,
            retry: None,
            origin: Origin::Gateway(code),
        }
    }

    /// An error that an upstream returned: its own status, type and code. Its meaning is that of the status.
    pub fn upstream(status: u16, kind: String, code: Option<String>, message: String) -> Error {
        let meaning = Meaning::of_status(status);
        let origin =
            Origin::Upstream(Box::new(FromUpstream { kind, code, meaning, told: None, told_status: None }));
        Error { status, message, param: None, facts: None, retry: None, origin }
    }

    /// The same upstream error with another meaning than that of its status. `told` is the upstream's own message, for
    /// the operator, if the caller does not get it.
    #[must_use]
    pub fn with_meaning(mut self, meaning: Meaning, told: Option<String>) -> Error {
        if let Origin::Upstream(upstream) = &mut self.origin {
            (upstream.meaning, upstream.told) = (meaning, told);
        }
        self
    }

    /// The same upstream error with the status that the upstream sent, if the caller does not get it.
    #[must_use]
    pub fn with_told_status(mut self, status: Option<u16>) -> Error {
        if let Origin::Upstream(upstream) = &mut self.origin {
            upstream.told_status = status;
        }
        self
    }

    /// The status as the operator sees it: that of the upstream, if it sent one.
    pub fn told_status(&self) -> u16 {
        match &self.origin {
            Origin::Gateway(_) => self.status,
            Origin::Upstream(upstream) => upstream.told_status.unwrap_or(self.status),
        }
    }

    /// The meaning of an upstream's error; `None` for an error of the gateway.
    pub fn meaning(&self) -> Option<Meaning> {
        match &self.origin {
            Origin::Gateway(_) => None,
            Origin::Upstream(upstream) => Some(upstream.meaning),
        }
    }

    /// The upstream's own message, for the operator, if the caller does not get it.
    pub fn told(&self) -> Option<&str> {
        match &self.origin {
            Origin::Gateway(_) => None,
            Origin::Upstream(upstream) => upstream.told.as_deref(),
        }
    }

    /// The same error, naming the field or header at fault.
    #[must_use]
    pub fn with_param(self, param: impl Into<Cow<'static, str>>) -> Error {
        Error { param: Some(param.into()), ..self }
    }

    /// The same error with a message that starts with `place`.
    #[must_use]
    pub fn found_in(self, place: &str) -> Error {
        Error { message: format!("{place}: {}", self.message), ..self }
    }

    /// The same error with a message that ends with `more`.
    #[must_use]
    pub fn with_more(self, more: &str) -> Error {
        Error { message: format!("{}{more}", self.message), ..self }
    }

    /// The same error with `details` for the `/v0` surface.
    #[must_use]
    pub fn with_details(self, details: Value) -> Error {
        let mut facts = self.facts.unwrap_or_default();
        facts.details = Some(details);
        Error { facts: Some(facts), ..self }
    }

    /// The same error, with the request id in its message if somebody may have to be asked about it: a limit of the
    /// key, or a failure. Screenshots and logs of clients often have nothing but the message.
    #[must_use]
    pub fn with_request_id(self, id: &str) -> Error {
        let is_for_people = matches!(self.status, 402 | 429) || self.status >= 500;
        if self.source() == Source::Upstream || !is_for_people {
            return self;
        }
        self.with_more(&format!(" (request {id})"))
    }

    /// The same error with the number of seconds after which a retry can succeed.
    #[must_use]
    pub fn with_retry_after(self, seconds: u32) -> Error {
        Error { retry: Some(Retry::After(seconds)), ..self }
    }

    /// The same error, which no automatic retry should repeat.
    #[must_use]
    pub fn without_retry(self) -> Error {
        Error { retry: Some(Retry::Never), ..self }
    }

    /// The same error with a detail for the operator's log.
    #[must_use]
    pub fn with_operator_detail(self, detail: impl Into<String>) -> Error {
        let mut facts = self.facts.unwrap_or_default();
        facts.operator_detail = Some(detail.into());
        Error { facts: Some(facts), ..self }
    }

    /// The same error for a prompt that needs more tokens than there can be: the two numbers, for the clients that read
    /// them.
    #[must_use]
    pub fn with_tokens(self, needed_and_most: [u64; 2]) -> Error {
        let mut facts = self.facts.unwrap_or_default();
        facts.tokens = Some(needed_and_most);
        Error { facts: Some(facts), ..self }
    }

    /// The tokens that a prompt needs and the most that there can be, if that is the error.
    pub(crate) fn tokens(&self) -> Option<[u64; 2]> {
        self.facts.as_ref()?.tokens
    }

    /// The value of `details` on the `/v0` surface.
    pub(crate) fn details(&self) -> Option<&Value> {
        self.facts.as_ref()?.details.as_ref()
    }

    /// The facts for the operator that the caller must not see: for logs only.
    pub fn operator_detail(&self) -> Option<&str> {
        self.facts.as_ref()?.operator_detail.as_deref()
    }

    /// The peer that rejected the request.
    pub fn source(&self) -> Source {
        match self.origin {
            Origin::Gateway(_) => Source::Gateway,
            Origin::Upstream(_) => Source::Upstream,
        }
    }

    /// `error.type`.
    pub fn kind(&self) -> &str {
        match &self.origin {
            Origin::Gateway(code) => code.spec().kind,
            Origin::Upstream(upstream) => &upstream.kind,
        }
    }

    /// `error.code`; `None` if the upstream gave none.
    pub fn code(&self) -> Option<&str> {
        match &self.origin {
            Origin::Gateway(code) => Some(code.spec().code),
            Origin::Upstream(upstream) => upstream.code.as_deref(),
        }
    }

    /// The effect of a retry; `None` if the upstream does not state it.
    pub fn retry(&self) -> Option<Retry> {
        if self.retry.is_some() {
            return self.retry;
        }
        match &self.origin {
            Origin::Gateway(code) => Some(code.spec().retry),
            Origin::Upstream(upstream) if upstream.meaning.is_callers() => Some(Retry::Never),
            // Clients of a 429 or 503 expect a `retry-after`; the upstream's own value replaces this one.
            Origin::Upstream(_) => matches!(self.status, 429 | 503).then_some(Retry::After(1)),
        }
    }

    /// The seconds after which a retry can succeed, if the error states them itself.
    pub fn stated_retry_after(&self) -> Option<u32> {
        match self.retry {
            Some(Retry::After(seconds)) => Some(seconds),
            _ => None,
        }
    }

    /// The path of the error's documentation, for a `link` header; `None` for the error of an upstream.
    pub fn documentation(&self) -> Option<String> {
        match self.origin {
            Origin::Gateway(code) => Some(format!("/docs/errors#{}", code.spec().code)),
            Origin::Upstream { .. } => None,
        }
    }

    /// Returns `true` if this is the given error of the table.
    pub fn is(&self, code: Code) -> bool {
        self.origin == Origin::Gateway(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_statuses_are_error_statuses() {
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
