//! Decides whether an upstream's response is passed on, or becomes an error in the gateway's envelope. Sends nothing
//! and counts nothing.

use crate::error::{Code, Error};
use crate::format::request::Responder;
use crate::format::upstream_error;
use crate::format::whole::Whole;
use crate::health::failure::{Class, Failure};
use crate::health::quota;
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
pub struct Arrived {
    /// The status.
    pub status: u16,
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
    /// The usage of the attempt, if that does not follow from the class of the failure.
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
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    target_pointer_width = "64",
    expect(
        clippy::large_enum_variant,
        reason = "it lives for a moment; a box would be an allocation in each call"
    )
)]
pub enum Passed {
    /// A whole response, and what is read of it.
    Whole(Whole),
    /// A stream.
    Stream,
}

/// Headers of an upstream's error response that are passed to the caller.
const RETRY_HEADERS: [&str; 2] = ["retry-after", "retry-after-ms"];
/// The maximum length of such a header, in bytes.
const MAX_RETRY_HEADER: usize = 64;

/// The request that a response belongs to.
#[derive(Clone, Debug)]
pub struct Sent<'r> {
    /// The provider.
    pub provider: &'r str,
    /// The credential, which is removed from errors.
    pub key: Option<&'r Secret>,
    /// Reads the body.
    pub responder: Responder,
}

/// Reads a response. `body` returns the whole body, if it has arrived; `header` finds a header by its lower-case name.
///
/// The content type is not looked at: many servers state a wrong one, or none. What is neither a stream nor JSON of the
/// requested kind is an error in any case.
pub fn read(
    sent: Sent<'_>,
    arrived: Arrived,
    body: impl FnOnce() -> Vec<u8>,
    header: impl Fn(&str) -> Option<String>,
) -> Result<Passed, Box<Refusal>> {
    let Arrived { status, is_stream } = arrived;
    let Sent { provider, key, responder } = sent;
    let error = match status {
        200..300 if is_stream => return Ok(Passed::Stream),
        200..300 => match responder.whole(provider, &body(), key) {
            Ok(whole) => return Ok(Passed::Whole(whole)),
            Err(error) => return Err(Box::new(refused(error, header).after_success())),
        },
        _ => {
            let body = if is_stream { Vec::new() } else { body() };
            error_of(provider, status, &body, key)
        }
    };
    Err(Box::new(refused(error, header)))
}

/// The error of a response whose status is none of success.
pub fn error_of(provider: &str, status: u16, body: &[u8], key: Option<&Secret>) -> Error {
    match status {
        300..400 => Error::new(
            Code::UpstreamRedirected,
            format!("{provider} returned a redirect (HTTP {status}); the gateway does not follow redirects"),
        ),
        400..600 => upstream_error::read(provider, status, body, key),
        _ => Error::new(
            Code::UpstreamInvalidResponse,
            format!("{provider} returned HTTP {status}, which is not a status"),
        ),
    }
}

/// The refusal for an error that came with a response; `header` finds a header by its lower-case name.
pub fn refused(error: Error, header: impl Fn(&str) -> Option<String>) -> Refusal {
    let mut retry_headers: Vec<_> = RETRY_HEADERS
        .into_iter()
        .filter_map(|name| Some((name, header(name)?)))
        .filter(|(name, value)| value.len() <= MAX_RETRY_HEADER && is_delay(name, value))
        .collect();
    if let Some(seconds) = error.stated_retry_after().filter(|_| retry_headers.is_empty()) {
        retry_headers.push(("retry-after", seconds.to_string()));
    }
    let detail = error.told().map(str::to_owned);
    Refusal { detail, retry_headers, ..Refusal::from(error) }
}

/// The error of a request that got no response.
pub fn interrupted(provider: &str, reason: Interruption) -> Error {
    let error = |code, what: &str| Error::new(code, format!("{provider} {what}"));
    let again = |code, what: &str| error(code, &format!("{what}; try again, or call another model"));
    match reason {
        Interruption::ClientLeft => client_left(),
        Interruption::Timeout => again(Code::UpstreamTimeout, "did not respond in time"),
        Interruption::Unreachable => again(
            Code::UpstreamUnreachable,
            "could not be reached, or closed the connection without a response",
        ),
        Interruption::Broken => {
            again(Code::UpstreamInvalidResponse, "closed the connection in the middle of its response")
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

/// Returns `true` if the value of a retry header is valid. Clients do the strangest things with `-3`, `Infinity` and
/// `30s`.
fn is_delay(name: &str, value: &str) -> bool {
    let value = Some(value);
    let (seconds, milliseconds) = if name == "retry-after" { (value, None) } else { (None, value) };
    quota::retry_after_ms(seconds, milliseconds, 0).is_some()
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

    fn received(status: u16, is_stream: bool, body: &str) -> Result<Passed, Box<Refusal>> {
        let responder = Responder {
            format: Format::ChatCompletions,
            hide_usage: false,
            ends_without_done: false,
            translation: None,
        };
        let sent = Sent { provider: "acme", key: None, responder };
        let header = |name: &str| (name == "retry-after").then(|| "7".to_owned());
        read(sent, Arrived { status, is_stream }, || body.as_bytes().to_vec(), header)
    }

    #[test]
    fn a_completion_is_passed_on_with_its_usage() {
        let body = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}"#;
        let Ok(Passed::Whole(whole)) = received(200, false, body) else { panic!("not passed on") };
        assert_eq!(whole.usage.completion_tokens, Some(5));
        assert_eq!(received(200, true, "").unwrap(), Passed::Stream);
    }

    #[test]
    fn only_valid_delays_are_passed_on() {
        for (value, valid) in [
            ("7", true),
            ("1.5", true),
            ("Wed, 21 Oct 2026 07:28:00 GMT", true),
            ("-3", false),
            ("Infinity", false),
            ("NaN", false),
            ("30s", false),
            ("7, 9", false),
            ("soon", false),
            ("", false),
        ] {
            assert_eq!(is_delay("retry-after", value), valid, "{value}");
        }
        assert!(is_delay("retry-after-ms", "1500") && !is_delay("retry-after-ms", "-1"));
        assert!(!is_delay("retry-after-ms", "Wed, 21 Oct 2026 07:28:00 GMT"));
    }

    #[test]
    fn anything_else_is_an_error() {
        for (status, body, expected, code) in [
            (200, "<html>", 502, "upstream_invalid_response"),
            (200, "", 502, "upstream_invalid_response"),
            (204, "", 502, "upstream_invalid_response"),
            (302, "", 502, "upstream_redirected"),
            (401, "{}", 502, "upstream_credential_rejected"),
            (200, r#"{"error":{"message":"m","code":"busy"}}"#, 502, "busy"),
            (200, r#"{"error":{"message":"m","code":429}}"#, 429, "429"),
            (101, "", 502, "upstream_invalid_response"),
            (600, r#"{"error":{"message":"m","code":429}}"#, 502, "upstream_invalid_response"),
            (999, "", 502, "upstream_invalid_response"),
        ] {
            let refusal = received(status, false, body).unwrap_err();
            assert_eq!(
                (refusal.error.status, refusal.error.code()),
                (expected, Some(code)),
                "{status} {body}"
            );
            assert!(refusal.error.message.contains("acme") || refusal.error.message == "m", "{status}");
            assert_eq!(refusal.retry_header("retry-after"), Some("7"));
        }
    }

    #[test]
    fn a_delay_that_only_the_body_states_becomes_a_header() {
        for (details, expected) in [
            (r#"[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.4s"}]"#, Some("35")),
            (r#"[{"reason":"x"},{"retryDelay":"7s"}]"#, Some("7")),
            (r#"[{"retryDelay":"-7s"}]"#, None),
            (r#"[{"retryDelay":7}]"#, None),
            (r#"{"retryDelay":"7s"}"#, None),
        ] {
            let body = format!(r#"[{{"error":{{"code":429,"message":"slow","details":{details}}}}}]"#);
            let error = upstream_error::read("gemini", 429, body.as_bytes(), None);
            assert_eq!(refused(error.clone(), |_| None).retry_header("retry-after"), expected, "{details}");
            let stated = refused(error, |name| (name == "retry-after").then(|| "3".to_owned()));
            assert_eq!(stated.retry_header("retry-after"), Some("3"));
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
