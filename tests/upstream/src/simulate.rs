//! The `simulate` field of a request: the faults and the shape of its response. Reads and validates; does not carry
//! anything out. Unknown fields are rejected, and so are faults that cannot happen in the response: a test must not
//! pass because its fault was mistyped.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::when::{Caller, When};

/// The largest generated content, in bytes, so that a mistake does not use up the memory of the machine.
pub(crate) const MAX_CONTENT: usize = 64 << 20;
/// The largest number of generated events.
pub(crate) const MAX_EVENTS: usize = 1_000_000;

/// The fields of `simulate`. The README explains each.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "the switches are independent of each other on the wire")]
pub(crate) struct Simulate {
    // The requests that this applies to.
    pub(crate) when: Option<When>,
    // Responses other than 200.
    pub(crate) status: Option<u16>,
    pub(crate) error_shape: Option<ErrorShape>,
    pub(crate) message: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) error_type: Option<String>,
    pub(crate) retry_after: Option<HeaderText>,
    pub(crate) retry_after_ms: Option<HeaderText>,
    pub(crate) redirect: Option<String>,
    // Time and connection.
    pub(crate) delay_ms: Option<u64>,
    pub(crate) hang: Option<Hang>,
    pub(crate) cut: Option<Cut>,
    pub(crate) reset: bool,
    pub(crate) after_events: Option<usize>,
    pub(crate) before_end: Option<usize>,
    pub(crate) error_event: bool,
    pub(crate) error_event_shape: Option<EventShape>,
    pub(crate) drip_ms: Option<u64>,
    // Shape of streams.
    pub(crate) chunking: Option<Chunking>,
    pub(crate) newline: Option<Newline>,
    pub(crate) frame_delay_ms: Option<u64>,
    pub(crate) stamped: bool,
    pub(crate) comments: bool,
    pub(crate) comments_ms: Option<u64>,
    pub(crate) done: Option<bool>,
    pub(crate) pings: Option<bool>,
    pub(crate) unknown_events: bool,
    pub(crate) interleave: bool,
    pub(crate) usage: UsageMode,
    // Content.
    pub(crate) events: Option<usize>,
    pub(crate) content: Option<String>,
    pub(crate) content_bytes: Option<usize>,
    pub(crate) calls: Vec<ScriptedCall>,
    pub(crate) thinking: Option<String>,
    pub(crate) open_thinking: bool,
    pub(crate) redacted_thinking: bool,
    pub(crate) signature: Signature,
    pub(crate) unknown_blocks: bool,
    pub(crate) stop_reason: Option<String>,
    pub(crate) refusal: Option<String>,
    // Shape of 200 responses.
    pub(crate) body: Option<BodyShape>,
    pub(crate) whole: bool,
    pub(crate) content_type: ContentType,
    pub(crate) no_content_length: bool,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) extra_members: bool,
    // Money.
    pub(crate) bill: Option<Bill>,
    // The request.
    pub(crate) lenient: bool,
}

/// One tool call of a scripted reply.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScriptedCall {
    /// The name of the tool.
    pub(crate) name: String,
    /// The arguments; empty: a call without arguments.
    #[serde(default)]
    pub(crate) input: Map<String, Value>,
}

/// The signature of a thinking block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Signature {
    /// One that is accepted with the next turn.
    #[default]
    Issued,
    /// None: no delta with a signature, and no such field in a whole response.
    None,
}

/// What the call costs at the provider: see the README.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Bill {
    /// The prompt has a token for each byte.
    pub(crate) dense: bool,
    /// Tokens of reasoning before the content of each choice.
    pub(crate) reasoning: u64,
    /// Tokens of the prompt that are read from the cache.
    pub(crate) cached: u64,
    /// Tokens of the prompt that are written to the cache for five minutes.
    pub(crate) cache_write: u64,
    /// Tokens of the prompt that are written to the cache for an hour.
    pub(crate) cache_write_1h: u64,
    /// The output tokens that are reported, if not the right number.
    pub(crate) reported: Option<u64>,
}

/// The `content-type` of a response. `null` is a value here, not an absence.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Option<String>")]
pub(crate) enum ContentType {
    /// The one that fits the response.
    #[default]
    Usual,
    /// No such header.
    None,
    /// This one.
    Given(String),
}

impl From<Option<String>> for ContentType {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::None, Self::Given)
    }
}

/// A header value that may be written as a number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum HeaderText {
    /// A string, used unchanged.
    Text(String),
    /// A number, written in decimal digits.
    Number(u64),
}

impl std::fmt::Display for HeaderText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// The format of an error response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ErrorShape {
    #[default]
    Openai,
    Flat,
    Message,
    Detail,
    DetailList,
    ErrorText,
    Fault,
    Array,
    Cloudflare,
    Anthropic,
    Html,
    Empty,
    Text,
}

/// The format of an error inside a 200 stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EventShape {
    #[default]
    Openai,
    Openrouter,
    Text,
    Named,
    Anthropic,
    /// Of Responses: `response.failed`.
    Failed,
    /// Of Responses: `error`, as its documentation describes it.
    Error,
    /// Of Responses: `error` with the error in a field, then `response.failed`, as recorded.
    ErrorFailed,
}

/// The point at which nothing more happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Hang {
    Headers,
    Body,
    Stream,
}

/// The point at which the response is broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cut {
    Headers,
    Stream,
    Clean,
    Body,
}

/// The division of a stream into frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Chunking {
    Event,
    Bytes(usize),
    All,
}

impl TryFrom<String> for Chunking {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match (text.as_str(), text.strip_prefix("bytes:").and_then(|size| size.parse().ok())) {
            ("event", _) => Ok(Self::Event),
            ("all", _) => Ok(Self::All),
            (_, Some(size)) if size > 0 => Ok(Self::Bytes(size)),
            _ => Err(format!(
                "chunking must be \"event\", \"all\" or \"bytes:N\" with N of 1 or more, not {text:?}"
            )),
        }
    }
}

/// The end of a line in a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Newline {
    #[default]
    Lf,
    Crlf,
    Cr,
}

impl Newline {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Lf => "\n",
            Self::Crlf => "\r\n",
            Self::Cr => "\r",
        }
    }
}

/// The kind of response that is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A whole completion.
    Whole,
    /// A streamed completion.
    Stream,
    /// Embeddings.
    Vectors,
    /// A whole message.
    Message,
    /// A streamed message.
    MessageStream,
    /// The number of tokens of a prompt, or another response without content of the model.
    Count,
    /// A whole response of the Responses API.
    Response,
    /// A streamed one.
    ResponseStream,
}

impl Wanted {
    fn is_stream(self) -> bool {
        matches!(self, Self::Stream | Self::MessageStream | Self::ResponseStream)
    }

    fn is_message(self) -> bool {
        matches!(self, Self::Message | Self::MessageStream)
    }

    fn is_response(self) -> bool {
        matches!(self, Self::Response | Self::ResponseStream)
    }

    fn is_chat(self) -> bool {
        matches!(self, Self::Whole | Self::Stream)
    }
}

/// The place of the usage in a response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UsageMode {
    #[default]
    Normal,
    None,
    Always,
    WithChoices,
    XGroq,
    Preview,
    TotalOnly,
    AtEnd,
    AtStart,
}

/// A 200 response that is not a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BodyShape {
    Malformed,
    Array,
    Empty,
    NoChoices,
    #[serde(rename = "error_in_200")]
    ErrorIn200,
}

impl Simulate {
    /// Reads the field, which is one object or an array of them. Validates all of them, including those that do not
    /// apply to this request; the error names the mistake.
    pub(crate) fn read(value: &Value, wanted: Wanted) -> Result<Vec<Self>, String> {
        match value {
            Value::Null => Ok(Vec::new()),
            Value::Array(list) => list
                .iter()
                .enumerate()
                .map(|(at, value)| Self::one(value, wanted, &format!("simulate[{at}]")))
                .collect(),
            value => Ok(vec![Self::one(value, wanted, "simulate")?]),
        }
    }

    fn one(value: &Value, wanted: Wanted, name: &str) -> Result<Self, String> {
        // Serde would accept an array as the fields in their order.
        if !value.is_object() || value.get("when").is_some_and(|when| !when.is_object()) {
            return Err(format!("{name}: must be an object, and so must its when"));
        }
        let simulate = Self::deserialize(value).map_err(|error| format!("{name}: {error}"))?;
        match simulate.fault(wanted) {
            Some(rule) => Err(format!("{name}: {rule}")),
            None => Ok(simulate),
        }
    }

    /// Returns the first one that applies to this request; none: the usual response.
    pub(crate) fn choose(all: Vec<Self>, caller: &Caller<'_>, model: Option<&str>, stream: bool) -> Self {
        let mut all = all.into_iter();
        all.find(|one| one.when.as_ref().is_none_or(|when| when.matches(caller, model, stream)))
            .unwrap_or_default()
    }

    /// True if the response to a request for a stream is an event stream.
    pub(crate) fn streams(&self) -> bool {
        self.status.is_none() && self.redirect.is_none() && self.body.is_none() && !self.whole
    }

    /// True if the response is generated: not an error, not a redirect, and not malformed.
    pub(crate) fn generates(&self) -> bool {
        self.status.is_none() && self.redirect.is_none() && self.body.is_none()
    }

    /// The number of events that are kept of so many, before a cut, a hang or an error event.
    pub(crate) fn kept_events(&self, all: usize) -> usize {
        self.before_end.map_or(self.after_events.unwrap_or(0), |end| all.saturating_sub(end))
    }

    /// The mistake in faults that cannot happen.
    fn fault(&self, wanted: Wanted) -> Option<&'static str> {
        let of_any = self.impossible(wanted);
        of_any.or_else(|| self.misplaced(wanted)).or_else(|| self.when.as_ref()?.fault())
    }

    /// The mistake in a combination of faults.
    fn impossible(&self, wanted: Wanted) -> Option<&'static str> {
        // A condition on the kind of the response also says which faults can happen in it.
        let stream =
            self.when.as_ref().and_then(When::stream).unwrap_or(wanted.is_stream()) && self.streams();
        let count = |set: &[bool]| set.iter().filter(|set| **set).count();
        let content = count(&[
            self.content.is_some(),
            self.content_bytes.is_some(),
            self.events.is_some(),
            self.refusal.is_some(),
        ]);
        let in_stream = matches!(self.cut, Some(Cut::Stream | Cut::Clean))
            || self.hang == Some(Hang::Stream)
            || self.error_event;
        let faults = count(&[self.cut.is_some(), self.hang.is_some(), self.error_event]);
        let rules = [
            (in_stream && !stream, "this cut, hang or error_event needs a response that is a stream"),
            (
                self.cut == Some(Cut::Body) && stream,
                "cut \"body\" needs a whole response; streams have \"stream\" and \"clean\"",
            ),
            (faults > 1, "only one of cut, hang and error_event can happen"),
            (
                self.reset && !matches!(self.cut, Some(Cut::Headers | Cut::Stream | Cut::Body)),
                "reset needs cut \"headers\", \"stream\" or \"body\"",
            ),
            (
                (self.after_events.is_some() || self.before_end.is_some()) && !in_stream,
                "after_events and before_end need cut or hang in the stream, or error_event",
            ),
            (
                self.after_events.is_some() && self.before_end.is_some(),
                "only one of after_events and before_end can be the place",
            ),
            (self.error_event_shape.is_some() && !self.error_event, "error_event_shape needs error_event"),
            (
                self.status.is_some_and(|status| !(201..=599).contains(&status)),
                "status must be from 201 to 599 (1xx cannot end a response, 200 is the default)",
            ),
            (self.error_shape.is_some() && self.status.is_none(), "error_shape needs status"),
            (self.body.is_some() && self.status.is_some(), "body needs a 200 response, not status"),
            (self.whole && !self.generates(), "whole needs a 200 response, not status, redirect or body"),
            (self.whole && !wanted.is_stream(), "whole needs a request for a stream"),
            (
                self.redirect.is_some() && self.status.is_some_and(|status| !(300..=399).contains(&status)),
                "redirect needs a status of 300 to 399, or none (307)",
            ),
            (self.content_bytes.is_some_and(|bytes| bytes > MAX_CONTENT), "content_bytes is too large"),
            (self.events.is_some_and(|events| events > MAX_EVENTS), "events is too large"),
            (content > 1, "only one of content, content_bytes, events and refusal can be the content"),
        ];
        rules.into_iter().find(|(broken, _)| *broken).map(|(_, rule)| rule)
    }

    /// The mistake in a field that responses of this kind do not have.
    fn misplaced(&self, wanted: Wanted) -> Option<&'static str> {
        let generates = wanted.is_chat() || wanted.is_message() || wanted.is_response();
        let has_content = self.content.is_some()
            || self.content_bytes.is_some()
            || self.events.is_some()
            || self.thinking.is_some()
            || self.redacted_thinking
            || !self.calls.is_empty()
            || self.stop_reason.is_some()
            || self.refusal.is_some();
        let rules = [
            (!generates && has_content, "embeddings and counts of tokens have no content"),
            (!generates && self.bill.is_some(), "bill is for completions and messages"),
            (
                wanted == Wanted::Vectors
                    && !matches!(self.usage, UsageMode::Normal | UsageMode::None | UsageMode::TotalOnly),
                "embeddings have usage \"normal\", \"none\" or \"total_only\"",
            ),
            (
                wanted != Wanted::Vectors && self.usage == UsageMode::TotalOnly,
                "usage \"total_only\" is for embeddings",
            ),
            (
                wanted.is_message()
                    && !matches!(
                        self.usage,
                        UsageMode::Normal
                            | UsageMode::None
                            | UsageMode::Preview
                            | UsageMode::AtEnd
                            | UsageMode::AtStart
                    ),
                "messages have usage \"normal\", \"none\", \"preview\", \"at_start\" or \"at_end\"",
            ),
            (
                wanted.is_response() && !matches!(self.usage, UsageMode::Normal | UsageMode::None),
                "responses have usage \"normal\" or \"none\"",
            ),
            (
                !wanted.is_message() && matches!(self.usage, UsageMode::AtEnd | UsageMode::AtStart),
                "usage \"at_start\" and \"at_end\" are for messages",
            ),
            (
                !wanted.is_chat() && self.error_event_shape == Some(EventShape::Openrouter),
                "error_event_shape \"openrouter\" is for chat completions",
            ),
            (
                !wanted.is_response()
                    && (self.open_thinking
                        || matches!(
                            self.error_event_shape,
                            Some(EventShape::Failed | EventShape::Error | EventShape::ErrorFailed)
                        )),
                "open_thinking and error_event_shape \"failed\", \"error\" and \"error_failed\" are for responses",
            ),
            (
                !wanted.is_message()
                    && (self.pings.is_some()
                        || self.redacted_thinking
                        || self.bill.is_some_and(|bill| bill.cache_write_1h > 0)),
                "pings, redacted_thinking and bill.cache_write_1h are for messages",
            ),
            (
                !wanted.is_message()
                    && !wanted.is_response()
                    && (self.unknown_events || self.unknown_blocks || self.signature != Signature::Issued),
                "unknown_events, unknown_blocks and signature are for messages and responses",
            ),
            (
                !wanted.is_chat() && !wanted.is_response() && self.interleave,
                "interleave is for chat completions and responses: the blocks of a message follow each other",
            ),
            (
                !wanted.is_chat() && !wanted.is_response() && self.refusal.is_some(),
                "refusal is for chat completions and responses; messages have stop_reason \"refusal\"",
            ),
            (
                self.lenient && (wanted.is_chat() || wanted == Wanted::Vectors),
                "lenient is for messages and responses; nothing else is strict",
            ),
        ];
        rules.into_iter().find(|(broken, _)| *broken).map(|(_, rule)| rule)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(value: &Value, stream: bool) -> String {
        Simulate::read(value, if stream { Wanted::Stream } else { Wanted::Whole }).unwrap_err()
    }

    #[test]
    fn impossible_faults_are_rejected() {
        assert!(wrong(&json!({"statsu": 500}), false).contains("`statsu`"));
        assert!(wrong(&json!({"cut": "stream"}), false).contains("needs a response that is a stream"));
        assert!(wrong(&json!({"cut": "clean", "status": 500}), true).contains("stream"));
        assert!(wrong(&json!({"reset": true}), true).contains("reset needs"));
        assert!(wrong(&json!({"cut": "stream", "hang": "stream"}), true).contains("only one"));
        assert!(wrong(&json!({"status": 200}), true).contains("201 to 599"));
        assert!(wrong(&json!({"chunking": "bytes:0"}), true).contains("bytes:N"));
        assert!(wrong(&json!({"events": 1, "content": ""}), true).contains("only one"));
        assert!(wrong(&json!({"usage": "total_only"}), false).contains("for embeddings"));
        let vectors = Simulate::read(&json!({"usage": "x_groq"}), Wanted::Vectors).unwrap_err();
        assert!(vectors.contains("total_only"));
        let message = Simulate::read(&json!({"usage": "x_groq"}), Wanted::MessageStream).unwrap_err();
        assert!(message.contains("at_end"));
        for (simulate, part) in [
            (json!({"usage": "at_end"}), "for messages"),
            (json!({"pings": true}), "for messages"),
            (json!({"lenient": true}), "for messages"),
            (json!({"cut": "stream", "after_events": 1, "before_end": 1}), "only one"),
            (json!({"cut": "stream", "when": {"stream": false}}), "needs a response that is a stream"),
            (json!({"whole": true, "status": 500}), "200"),
            (json!({"calls": [{"nme": "f"}]}), "`nme`"),
        ] {
            assert!(wrong(&simulate, true).contains(part), "{simulate}: {}", wrong(&simulate, true));
        }
        // A condition that the request does not meet makes the fault possible elsewhere.
        let elsewhere = json!({"cut": "stream", "when": {"stream": true}});
        assert!(Simulate::read(&elsewhere, Wanted::Message).is_ok());
        let counted = Simulate::read(&json!({"content": "a"}), Wanted::Count).unwrap_err();
        assert!(counted.contains("no content"));
        assert!(wrong(&json!({"when": {"pth": "/"}}), true).contains("`pth`"));
        assert!(wrong(&json!({"when": {"times": 1}}), true).contains("when.id"));
        assert!(wrong(&json!({"when": ["/"]}), true).contains("must be an object"));
        assert!(wrong(&json!([500]), true).contains("simulate[0]: must be an object"));
        assert!(wrong(&json!([[500]]), true).contains("simulate[0]: must be an object"));
        // Also what follows one that applies to every request.
        let list = json!([{"status": 500}, {"statsu": 500, "when": {"path": "/b"}}]);
        assert!(wrong(&list, true).contains("simulate[1]: unknown field `statsu`"));
    }

    #[test]
    fn a_null_content_type_is_distinguished_from_none() {
        let read = |value| Simulate::read(&value, Wanted::Whole).unwrap().remove(0).content_type;
        assert_eq!(read(json!({})), ContentType::Usual);
        assert_eq!(read(json!({"content_type": null})), ContentType::None);
        assert_eq!(read(json!({"content_type": "a/b"})), ContentType::Given("a/b".to_owned()));
    }
}
