//! Decides whether an upstream's response is passed on, or becomes an error in the gateway's envelope. Sends nothing
//! and counts nothing.

use crate::error::{Code, Error};
use crate::format::request::Responder;
use crate::format::upstream_error;
use crate::format::usage::Usage;
use crate::health::failure::{Class, Failure};
use crate::key::Secret;
use crate::ledger::End;

/// The reason why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// The client disconnected, and the upstream request was cancelled.
    ClientLeft,
    /// A time limit passed.
    Timeout,
    /// No connection, or the connection was closed before the status line.
    Unreachable,
    /// The connection was closed in the middle of the response.
    Broken,
    /// The response is larger than the limit.
    TooLarge,
    /// The calls of the isolate hold too much data together.
    Overloaded,
}

/// The head of a response.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'r> {
    /// The status.
    pub status: u16,
    /// `content-type`
    pub content_type: Option<&'r str>,
    /// `true` if the body is an event stream that has started; otherwise the whole body has arrived.
    pub is_stream: bool,
}

/// An attempt that failed, for the caller and for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The error for the caller.
    pub error: Error,
    /// The runtime's message, for the log.
    pub detail: Option<String>,
    /// The upstream's own retry headers: names in lower case, and values.
    pub retry_headers: Vec<(&'static str, String)>,
    /// What the attempt used, if that does not follow from the class of the failure.
    pub used: Option<End>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal { error, detail: None, retry_headers: Vec::new(), used: None }
    }
}

impl From<Error> for Box<Refusal> {
    fn from(error: Error) -> Box<Refusal> {
        Box::new(Refusal::from(error))
    }
}

impl Refusal {
    /// The refusal of an upstream that had sent a status of success: it may have generated before it failed.
    #[must_use]
    pub fn after_success(self) -> Refusal {
        let is_failure = Failure::of(&self.error, None).class == Class::ServerError;
        Refusal { used: if is_failure { Some(End::Unknown) } else { self.used }, ..self }
    }

    /// The value of a retry header.
    pub fn retry_header(&self, name: &str) -> Option<&str> {
        self.retry_headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// A response to pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// A whole response, and its usage.
    Whole(Usage),
    /// A stream.
    Stream,
}

/// Headers of an upstream's error response that are passed to the caller.
const RETRY_HEADERS: [&str; 2] = ["retry-after", "retry-after-ms"];
/// The maximum length of such a header, in bytes.
const MAX_RETRY_HEADER: usize = 64;

/// The request that a response belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'r> {
    /// The provider.
    pub provider: &'r str,
    /// The credential, which is removed from errors.
    pub key: Option<&'r Secret>,
    /// `true` if the request asked for an event stream.
    pub stream: bool,
    /// Reads the body.
    pub responder: Responder,
}

/// Reads a response. `body` returns the whole body, if it has arrived; `header` finds a header by its lower-case name.
pub fn read(
    sent: Sent<'_>,
    arrived: Arrived<'_>,
    body: impl FnOnce() -> Vec<u8>,
    header: impl Fn(&str) -> Option<String>,
) -> Result<Passed, Box<Refusal>> {
    let Arrived { status, content_type, is_stream } = arrived;
    let Sent { provider, key, stream, responder } = sent;
    // A body without a content type counts as JSON, and is checked.
    let is_json = content_type.is_none_or(is_json_type);
    if status < 200 {
        // The runtime cannot make a response of it either.
        let message = format!("{provider} returned HTTP {status}, which ends no request");
        return Err(Error::new(Code::UpstreamInvalidResponse, message).into());
    }
    if !(200..300).contains(&status) {
        let retry_headers = RETRY_HEADERS
            .into_iter()
            .filter_map(|name| Some((name, header(name)?)))
            .filter(|(_, value)| value.len() <= MAX_RETRY_HEADER)
            .collect();
        let error = if (300..400).contains(&status) {
            Error::new(
                Code::UpstreamRedirected,
                format!(
                    "{provider} returned a redirect (HTTP {status}); the gateway does not follow redirects"
                ),
            )
        } else {
            let body = if is_stream { Vec::new() } else { body() };
            upstream_error::read(provider, status, is_json, &body, key)
        };
        return Err(Box::new(Refusal { retry_headers, ..Refusal::from(error) }));
    }
    match (is_stream, stream) {
        (true, _) => Ok(Passed::Stream),
        (false, true) => Err(other_content_type(provider, "an event stream").into()),
        (false, false) if !is_json => Err(other_content_type(provider, "JSON").into()),
        (false, false) => match responder.whole(provider, &body(), key) {
            Ok(usage) => Ok(Passed::Whole(usage)),
            Err(error) => Err(Box::new(Refusal::from(error).after_success())),
        },
    }
}

/// The error of a request that got no response.
pub fn interrupted(provider: &str, reason: Interruption) -> Error {
    let error = |code, what: &str| Error::new(code, format!("{provider} {what}"));
    match reason {
        Interruption::ClientLeft => client_left(),
        Interruption::Timeout => error(Code::UpstreamTimeout, "did not respond in time"),
        Interruption::Unreachable => error(
            Code::UpstreamUnreachable,
            "could not be reached, or closed the connection without a response",
        ),
        Interruption::Broken => {
            error(Code::UpstreamInvalidResponse, "closed the connection in the middle of its response")
        }
        Interruption::Overloaded => Error::new(
            Code::Overloaded,
            "The gateway holds too much data of other calls to receive this response; try again",
        ),
        Interruption::TooLarge => error(
            Code::UpstreamResponseTooLarge,
            "returned a response larger than the gateway's limit (responses.max_bytes)",
        ),
    }
}

/// The error for a client that disconnected before its response.
pub fn client_left() -> Error {
    Error::new(Code::ClientClosedRequest, "The client disconnected before the response")
}

fn other_content_type(provider: &str, requested: &str) -> Error {
    Error::new(
        Code::UpstreamInvalidResponse,
        format!("{provider} returned a content type other than {requested}, which was requested"),
    )
}

/// Returns `true` if a content type is JSON.
pub fn is_json_type(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(media_type.as_str(), "application/json" | "text/json") || media_type.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Format;

    fn received(
        status: u16,
        content_type: Option<&str>,
        stream: bool,
        body: &str,
    ) -> Result<Passed, Box<Refusal>> {
        let responder = Responder { format: Format::ChatCompletions, hide_usage: false };
        let sent = Sent { provider: "acme", key: None, stream, responder };
        let is_stream = content_type == Some("text/event-stream");
        let header = |name: &str| (name == "retry-after").then(|| "7".to_owned());
        read(sent, Arrived { status, content_type, is_stream }, || body.as_bytes().to_vec(), header)
    }

    #[test]
    fn a_completion_is_passed_on_with_its_usage() {
        let body = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}"#;
        let Ok(Passed::Whole(usage)) = received(200, Some("application/json; charset=utf-8"), false, body)
        else {
            panic!("not passed on")
        };
        assert_eq!(usage.completion_tokens, Some(5));
        assert!(received(200, None, false, body).is_ok(), "a body without a content type counts as JSON");
        assert_eq!(received(200, Some("text/event-stream"), true, "").unwrap(), Passed::Stream);
    }

    #[test]
    fn a_response_of_another_kind_than_requested_is_an_error() {
        for (status, content_type, stream, body, code) in [
            (200, Some("text/html"), false, "{}", "upstream_invalid_response"),
            (200, Some("application/json"), true, r#"{"choices":[]}"#, "upstream_invalid_response"),
            (302, None, false, "", "upstream_redirected"),
            (101, None, true, "", "upstream_invalid_response"),
            (401, Some("application/json"), false, "{}", "upstream_credential_rejected"),
            (200, Some("application/json"), false, r#"{"error":{"message":"m","code":"busy"}}"#, "busy"),
        ] {
            let refusal = received(status, content_type, stream, body).unwrap_err();
            assert_eq!(refusal.error.code(), Some(code), "{status} {body}");
            assert_eq!(refusal.retry_header("retry-after").is_some(), ![101, 200].contains(&status));
        }
    }

    #[test]
    fn json_has_several_content_types() {
        for (content_type, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/problem+json", true),
            ("text/json", true),
            ("text/plain", false),
            ("application/jsonl", false),
        ] {
            assert_eq!(is_json_type(content_type), expected, "{content_type}");
        }
    }
}
