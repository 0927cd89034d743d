//! The JSON of an error on each surface.
//!
//! Each URL prefix keeps the shape that its clients expect ([`Surface`]): OpenAI's `{"error":{…}}` with all four fields
//! always present, Anthropic's `{"type":"error","error":{…},"request_id"}`, the portal's `{"Status","Message","Meta"}`,
//! and `/v0`'s `{"message","error_code","details"}`. The error, its status and its code are in [`crate::error`].
//!
//! Anthropic's clients know an error by its type, which follows from the status. `code` and `param` are additions, which
//! they ignore.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use crate::error::{Code, Error, Meaning, Origin, Retry};
use crate::json;
pub use crate::operation::Surface;

/// The body of an error, in the shape of a surface.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Envelope<'a> {
    /// On [`Surface::OpenAi`].
    OpenAi {
        /// The error.
        error: OpenAiError<'a>,
    },
    /// On [`Surface::Anthropic`].
    Anthropic {
        /// `error`.
        #[serde(rename = "type")]
        kind: &'static str,
        /// The error.
        error: AnthropicError<'a>,
        /// The request id; `None` in a stream, whose head has it.
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    },
    /// On [`Surface::Portal`].
    #[serde(rename_all = "PascalCase")]
    Portal {
        /// `Error`.
        status: &'static str,
        /// The message.
        message: &'a str,
        /// Null.
        meta: (),
    },
    /// On [`Surface::V0`].
    V0 {
        /// The message.
        message: &'a str,
        /// The code in Pascal case.
        error_code: &'static str,
        /// Facts about the error.
        details: Details<'a>,
    },
}

/// An error in `OpenAI`'s API. All four fields are always present.
#[derive(Clone, Debug, Serialize)]
pub struct OpenAiError<'a> {
    /// The message.
    pub message: &'a str,
    /// The type.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The field, parameter or header at fault.
    pub param: Option<&'a str>,
    /// The code.
    pub code: Option<&'a str>,
}

/// An error in Anthropic's API.
#[derive(Clone, Debug, Serialize)]
pub struct AnthropicError<'a> {
    /// The type, which follows from the status.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The message.
    pub message: Cow<'a, str>,
    /// The gateway's code, or the upstream's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'a str>,
    /// The field, parameter or header at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub param: Option<&'a str>,
}

/// Facts about an error on [`Surface::V0`].
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Details<'a> {
    /// Those of the error.
    Stated(&'a Value),
    /// The field, parameter or header at fault.
    Param {
        /// Its name.
        param: &'a str,
    },
    /// None: null.
    None,
}

impl Error {
    /// The body of the error in the envelope of a surface.
    pub fn envelope(&self, surface: Surface) -> Envelope<'_> {
        let param = self.param.as_deref();
        match surface {
            Surface::OpenAi => Envelope::OpenAi {
                error: OpenAiError { message: &self.message, kind: self.kind(), param, code: self.code() },
            },
            Surface::Anthropic => Envelope::Anthropic {
                kind: "error",
                error: AnthropicError {
                    kind: anthropic_type(self.status_on(surface)),
                    message: self.anthropic_message(),
                    code: self.code(),
                    param,
                },
                request_id: None,
            },
            Surface::Portal => {
                Envelope::Portal { status: "Error", message: self.message_on(surface), meta: () }
            }
            Surface::V0 => Envelope::V0 {
                message: self.message_on(surface),
                error_code: match self.origin {
                    // The one code that clients of this surface know by another name.
                    Origin::Gateway(Code::InvalidApiKey) => "AuthenticationFailed",
                    Origin::Gateway(code) => code.spec().pascal_code,
                    Origin::Upstream(_) => "UpstreamError",
                },
                details: match (self.details(), param) {
                    (Some(details), _) => Details::Stated(details),
                    (None, Some(param)) => Details::Param { param },
                    (None, None) => Details::None,
                },
            },
        }
    }

    /// The message, or the fixed text that clients of the operator's surfaces compare.
    fn message_on(&self, surface: Surface) -> &str {
        match (surface, &self.origin) {
            (Surface::Portal, Origin::Gateway(Code::InvalidApiKey)) => "Not authorised",
            (Surface::V0, Origin::Gateway(Code::InvalidApiKey)) => "Unauthorized API key",
            _ => &self.message,
        }
    }

    /// The HTTP status on a surface. Anthropic's clients know a lack of capacity by 529.
    pub fn status_on(&self, surface: Surface) -> u16 {
        if surface != Surface::Anthropic {
            return self.status;
        }
        match &self.origin {
            Origin::Gateway(Code::Overloaded) => OVERLOADED,
            // No lane is available now.
            Origin::Gateway(Code::NoCandidate) if matches!(self.retry(), Some(Retry::After(_))) => OVERLOADED,
            Origin::Upstream(_) if self.status == 503 => OVERLOADED,
            // A body of too many bytes, which a shorter prompt may not fix.
            Origin::Upstream(_) if self.kind() == TOO_LARGE => 413,
            _ => self.status,
        }
    }

    /// The message for Anthropic's clients. Agents compact the conversation when they read [`TOO_LONG`].
    fn anthropic_message(&self) -> Cow<'_, str> {
        if let Some([needs, most]) = self.tokens() {
            return Cow::Owned(format!("{TOO_LONG}: {needs} tokens > {most} maximum. {}", self.message));
        }
        let is_too_long = self.meaning() == Some(Meaning::TooLong) && self.status == 400;
        if is_too_long && self.kind() != TOO_LARGE && !self.message.contains(TOO_LONG) {
            return Cow::Owned(format!("{TOO_LONG}: {}", self.message));
        }
        Cow::Borrowed(&self.message)
    }

    /// The error as the last event of a stream.
    pub fn stream_event(&self, surface: Surface) -> Vec<u8> {
        let name = if surface == Surface::Anthropic { "event: error\n" } else { "" };
        format!("{name}data: {}\n\n", json::to_text(&self.envelope(surface))).into_bytes()
    }
}

impl<'a> Envelope<'a> {
    /// The same body with the id of the request, on the surface that has one.
    #[must_use]
    pub fn of_request(mut self, id: &'a str) -> Envelope<'a> {
        if let Envelope::Anthropic { request_id, .. } = &mut self {
            *request_id = Some(id);
        }
        self
    }
}

/// Anthropic's status for a lack of capacity.
const OVERLOADED: u16 = 529;
/// Anthropic's type of a request of too many bytes.
const TOO_LARGE: &str = "request_too_large";
/// Anthropic's words for a prompt that is longer than the context of the model.
const TOO_LONG: &str = "prompt is too long";

/// The type of an error in Anthropic's API.
fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => TOO_LARGE,
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        400..500 => "invalid_request_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_surface_has_its_envelope() {
        let error = Error::new(Code::InvalidType, "'model' must be a string").with_param("model");
        assert_eq!(
            json::to_text(&error.envelope(Surface::of_path("/v1/chat/completions"))),
            r#"{"error":{"message":"'model' must be a string","type":"invalid_request_error","param":"model","code":"invalid_type"}}"#
        );
        assert_eq!(
            json::to_text(&error.envelope(Surface::of_path("/api/portal/requests"))),
            r#"{"Status":"Error","Message":"'model' must be a string","Meta":null}"#
        );
        assert_eq!(
            json::to_text(&error.envelope(Surface::of_path("/v0/api_keys"))),
            r#"{"message":"'model' must be a string","error_code":"InvalidType","details":{"param":"model"}}"#
        );
    }

    #[test]
    fn anthropics_clients_get_types_statuses_and_words_that_they_know() {
        let surface = Surface::of_path("/v1/messages/count_tokens");
        let text = |error: &Error| json::to_text(&error.envelope(surface).of_request("r1"));
        let missing = Error::new(Code::MissingMember, "'max_tokens' is missing").with_param("max_tokens");
        assert_eq!(
            text(&missing),
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"'max_tokens' is missing","code":"missing_member","param":"max_tokens"},"request_id":"r1"}"#
        );
        let upstream = |status| Error::upstream(status, "odd".into(), None, "m".into());
        for (error, status, kind) in [
            (Error::new(Code::InvalidApiKey, "m"), 401, "authentication_error"),
            (Error::new(Code::InsufficientQuota, "m"), 402, "billing_error"),
            (Error::new(Code::ModelNotAllowed, "m"), 403, "permission_error"),
            (Error::new(Code::ModelNotFound, "m"), 404, "not_found_error"),
            (Error::new(Code::MethodNotAllowed, "m"), 405, "invalid_request_error"),
            (Error::new(Code::BodyTooLarge, "m"), 413, "request_too_large"),
            (Error::new(Code::RateLimitExceeded, "m"), 429, "rate_limit_error"),
            (Error::new(Code::InternalError, "m"), 500, "api_error"),
            (Error::new(Code::UpstreamStreamCut, "m"), 502, "api_error"),
            (Error::new(Code::UpstreamTimeout, "m"), 504, "timeout_error"),
            (Error::new(Code::Overloaded, "m"), 529, "overloaded_error"),
            (Error::new(Code::NoCandidate, "m").with_retry_after(3), 529, "overloaded_error"),
            (Error::new(Code::NoCandidate, "m"), 503, "api_error"),
            (Error::new(Code::AuthNotConfigured, "m"), 503, "api_error"),
            (upstream(503), 529, "overloaded_error"),
            (upstream(529), 529, "overloaded_error"),
            (upstream(500), 500, "api_error"),
            (Error::upstream(400, TOO_LARGE.into(), None, "m".into()), 413, "request_too_large"),
        ] {
            assert_eq!(error.status_on(surface), status, "{error:?}");
            assert!(text(&error).contains(&format!(r#""error":{{"type":"{kind}""#)), "{error:?}");
        }
        let event = String::from_utf8(missing.stream_event(surface)).unwrap();
        assert!(event.starts_with("event: error\ndata: {\"type\":\"error\",\"error\":{"), "{event}");
        assert!(event.ends_with("}}\n\n") && !event.contains("request_id"), "{event}");
    }

    #[test]
    fn agents_read_that_a_prompt_is_too_long() {
        let own = Error::new(Code::ContextLengthExceeded, "Shorten it").with_tokens([9, 5]);
        let foreign = Error::upstream(400, "x".into(), None, "maximum context length".into());
        let foreign = foreign.with_meaning(Meaning::TooLong, None);
        let native =
            Error::upstream(400, "x".into(), None, "prompt is too long: 9 tokens > 5 maximum".into())
                .with_meaning(Meaning::TooLong, None);
        for (error, message) in [
            (own, "prompt is too long: 9 tokens > 5 maximum. Shorten it"),
            (foreign, "prompt is too long: maximum context length"),
            (native, "prompt is too long: 9 tokens > 5 maximum"),
        ] {
            assert_eq!(error.anthropic_message(), message);
        }
    }

    #[test]
    fn a_prefix_is_a_whole_segment() {
        assert_eq!(Surface::of_path("/v0x"), Surface::OpenAi);
        assert_eq!(Surface::of_path("/v0"), Surface::V0);
        assert_eq!(Surface::of_path("/api/portals"), Surface::OpenAi);
        assert_eq!(Surface::of_path("/v1/messages"), Surface::Anthropic);
        assert_eq!(Surface::of_path("/v1/messages/nothing"), Surface::Anthropic);
        assert_eq!(Surface::of_path("/v1/messagesx"), Surface::OpenAi);
    }

    #[test]
    fn all_four_fields_are_present_even_when_null() {
        let error = Error::upstream(418, "teapot".into(), None, "no".into());
        assert_eq!(
            json::to_text(&error.envelope(Surface::OpenAi)),
            r#"{"error":{"message":"no","type":"teapot","param":null,"code":null}}"#
        );
    }
}
