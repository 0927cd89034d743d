//! What an upstream's answer amounts to: an answer to pass on, or an error in our envelope. Sends nothing and notes nothing.

use gatehouse_core::error::{Code, Error};
use gatehouse_core::format::openai_chat::response;
use gatehouse_core::format::upstream_error;
use gatehouse_core::format::usage::Usage;
use gatehouse_core::key::Secret;
use worker::js_sys::Uint8Array;

use crate::platform::upstream::{self, Answer, AnswerBody, EventStream, Failure};
use crate::request_context::is_json_type;

/// An answer to pass on.
pub enum Received {
    /// A completion, to be passed on as these bytes.
    Whole {
        /// Its status, 2xx.
        status: u16,
        /// Its bytes.
        body: Uint8Array,
        /// What it used.
        usage: Usage,
    },
    /// A stream of events, not read yet.
    Stream(EventStream),
}

/// No answer, and why.
pub struct Refusal {
    /// For the caller.
    pub error: Error,
    /// The runtime's words, for the log.
    pub detail: Option<String>,
    /// The upstream's own word on when to try again.
    pub retry_headers: Vec<(&'static str, String)>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal { error, detail: None, retry_headers: Vec::new() }
    }
}

/// Headers of an upstream's refusal that go to the caller.
const RETRY_HEADERS: [&str; 2] = ["retry-after", "retry-after-ms"];
/// The longest of them that is believed, in bytes.
const MAX_RETRY_HEADER: usize = 64;

/// Reads what came of an exchange with a provider. `key` is the credential that it was sent, `stream` whether an event
/// stream was asked for.
pub fn read(
    provider: &str,
    key: Option<&Secret>,
    stream: bool,
    outcome: upstream::Outcome,
) -> Result<Received, Refusal> {
    let answer = outcome.map_err(|(failure, detail, early)| Refusal {
        detail: Some(detail).filter(|detail| !detail.is_empty()),
        ..Refusal::from(early.unwrap_or_else(|| no_answer(provider, failure)))
    })?;
    if !(200..300).contains(&answer.status) {
        let retry_headers = RETRY_HEADERS
            .into_iter()
            .filter_map(|name| Some((name, answer.header(name)?)))
            .filter(|(_, value)| value.len() <= MAX_RETRY_HEADER)
            .collect();
        return Err(Refusal { retry_headers, ..Refusal::from(refused(provider, &answer, key)) });
    }
    let is_json = is_json(&answer);
    match answer.body {
        AnswerBody::Stream(events) => Ok(Received::Stream(events)),
        AnswerBody::Whole(_) if stream => Err(not_what_was_asked(provider, "an event stream").into()),
        AnswerBody::Whole(_) if !is_json => Err(not_what_was_asked(provider, "JSON").into()),
        AnswerBody::Whole(body) => {
            let body = body.unwrap_or_default();
            let usage = response::check(provider, &body.to_vec(), key)?;
            Ok(Received::Whole { status: answer.status, body, usage })
        }
    }
}

fn no_answer(provider: &str, failure: Failure) -> Error {
    let error = |code, what: &str| Error::new(code, format!("{provider} {what}"));
    match failure {
        Failure::ClientLeft => Error::new(Code::ClientClosedRequest, "The client left before the answer"),
        Failure::Timeout => error(Code::UpstreamTimeout, "took too long to answer"),
        Failure::Unreachable => error(
            Code::UpstreamUnreachable,
            "could not be reached, or closed the connection without an answer",
        ),
        Failure::Broken | Failure::Ended => {
            error(Code::UpstreamInvalidResponse, "broke the connection in the middle of its answer")
        }
        Failure::TooLarge => error(
            Code::UpstreamResponseTooLarge,
            "answered with more than this gateway's limit (answers.max_bytes)",
        ),
    }
}

/// The error for an answer that is no success.
fn refused(provider: &str, answer: &Answer, key: Option<&Secret>) -> Error {
    if (300..400).contains(&answer.status) {
        return Error::new(
            Code::UpstreamRedirected,
            format!("{provider} answered with a redirect (HTTP {}), which is never followed", answer.status),
        );
    }
    let body = match &answer.body {
        AnswerBody::Whole(Some(body)) => body.to_vec(),
        AnswerBody::Whole(None) | AnswerBody::Stream(_) => Vec::new(),
    };
    upstream_error::read(provider, answer.status, is_json(answer), &body, key)
}

fn not_what_was_asked(provider: &str, asked: &str) -> Error {
    Error::new(
        Code::UpstreamInvalidResponse,
        format!("{provider} answered with another content type than that of {asked}, which was asked for"),
    )
}

/// Whether an answer claims to be JSON. One that claims nothing is believed to be, and checked.
fn is_json(answer: &Answer) -> bool {
    answer.header("content-type").is_none_or(|given| is_json_type(&given))
}
