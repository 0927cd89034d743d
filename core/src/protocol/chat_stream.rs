//! A streamed answer on its way to the caller.
//!
//! Chunks that need no change pass as they are. Changed are only: the usage that the gateway asked for and the caller did
//! not (hidden), and errors inside the stream (folded into one shape). A stream that ends without `[DONE]` and without an
//! error gets a typed error event, so that a cut answer never looks complete.

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::members::{self, Members, is_empty_array};
use super::sse::{self, Framed, Framer};
use super::upstream_error;
use super::usage::Usage;
use crate::error::{Code, Error};
use crate::key::Secret;

/// What to send on for a chunk.
#[derive(Debug, PartialEq, Eq)]
pub enum Relayed {
    /// The chunk itself.
    AsIs,
    /// These bytes instead, which may be none.
    Instead(Vec<u8>),
}

/// Why the upstream's stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It ended its body.
    Closed,
    /// The connection broke.
    Broken,
    /// It was silent for too long.
    Silent,
}

/// The state of one stream.
#[derive(Debug)]
pub struct ChatStream {
    provider: String,
    key: Option<Secret>,
    hide_usage: bool,
    max_event: usize,
    framer: Framer,
    usage: Usage,
    outcome: Option<Outcome>,
    /// Whether any content has come.
    begun: bool,
    /// What it ended with, if that was no `[DONE]`.
    error: Option<Error>,
}

/// How a stream ended for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With `[DONE]`.
    Done,
    /// With an error event of the upstream.
    UpstreamError,
    /// With our error event, because the upstream's stream was cut, silent or malformed.
    Cut,
}

impl ChatStream {
    /// A stream of a provider. `key`, the gateway's credential, is blotted out of errors; `max_event` is the largest event
    /// in bytes.
    pub fn new(provider: &str, key: Option<Secret>, hide_usage: bool, max_event: usize) -> ChatStream {
        ChatStream {
            provider: provider.to_owned(),
            key,
            hide_usage,
            max_event,
            framer: Framer::default(),
            usage: Usage::default(),
            outcome: None,
            begun: false,
            error: None,
        }
    }

    /// Whether the first content has come: anything of an answer but its role. What comes before can be thrown away and the
    /// call sent elsewhere, and nobody is the wiser.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Why it ended without any content; `None` if it did not.
    pub fn early_end(&self) -> Option<Error> {
        match self.outcome {
            Some(Outcome::Done) if !self.begun => Some(Error::new(
                Code::UpstreamInvalidResponse,
                format!("{} ended its stream without an answer", self.provider),
            )),
            Some(_) if !self.begun => self.error.clone(),
            _ => None,
        }
    }

    /// What it ended with, if that was no `[DONE]`.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// What the stream has told of its usage: the last that was told.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// How it ended; `None` while it runs. Once it has, nothing more goes to the caller.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Takes a chunk of the upstream's stream.
    pub fn push(&mut self, chunk: &[u8]) -> Relayed {
        if self.outcome.is_some() {
            return Relayed::Instead(Vec::new());
        }
        let relayed = match self.framer.push(chunk) {
            Framed::Whole(events) => {
                self.look_for_content(events);
                if !needs_a_look(events) {
                    return Relayed::AsIs;
                }
                self.relay(events)
            }
            Framed::Joined(events) => {
                self.look_for_content(&events);
                if needs_a_look(&events) { self.relay(&events) } else { events }
            }
        };
        if self.outcome.is_none() && self.framer.partial().len() > self.max_event {
            let error = Error::new(
                Code::UpstreamResponseTooLarge,
                format!("{} sent an event of more than {} bytes", self.provider, self.max_event),
            );
            self.outcome = Some(Outcome::Cut);
            let event = error.stream_event();
            self.error = Some(error);
            return Relayed::Instead([relayed, event].concat());
        }
        if relayed == chunk { Relayed::AsIs } else { Relayed::Instead(relayed) }
    }

    /// Tells that the upstream's stream has ended, and gives the last bytes for the caller.
    pub fn end(&mut self, ending: Ending) -> Vec<u8> {
        if self.outcome.is_some() {
            return Vec::new();
        }
        // A last event without its empty line: some servers end so.
        let mut last = Vec::new();
        if ending == Ending::Closed && sse::parse(self.framer.partial()).data == b"[DONE]" {
            last = [self.framer.partial(), b"\n\n"].concat();
            last = self.relay(&last);
        }
        if self.outcome.is_none() {
            let (code, what) = match ending {
                Ending::Closed => (Code::UpstreamStreamCut, "ended the stream before it was complete"),
                Ending::Broken => {
                    (Code::UpstreamStreamCut, "broke the connection in the middle of the stream")
                }
                Ending::Silent => {
                    (Code::UpstreamTimeout, "was silent for too long in the middle of the stream")
                }
            };
            let error = Error::new(
                code,
                format!("{} {what}; what was received is not the whole answer", self.provider),
            );
            last.extend_from_slice(&error.stream_event());
            self.outcome = Some(Outcome::Cut);
            self.error = Some(error);
        }
        last
    }

    /// Looks only until the first content has come.
    fn look_for_content(&mut self, events: &[u8]) {
        if !self.begun {
            self.begun = sse::events(events).any(|event| has_content(&sse::parse(event).data));
        }
    }

    fn relay(&mut self, events: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(events.len());
        for event in sse::events(events) {
            if needs_a_look(event) {
                self.relay_event(event, &mut out);
            } else {
                out.extend_from_slice(event);
            }
            if self.outcome.is_some() {
                break;
            }
        }
        out
    }

    fn relay_event(&mut self, event: &[u8], out: &mut Vec<u8>) {
        let parsed = sse::parse(event);
        if parsed.data == b"[DONE]" {
            self.outcome = Some(Outcome::Done);
            out.extend_from_slice(event);
            return;
        }
        if let Some(error) =
            upstream_error::read_event(&parsed.data, parsed.name == b"error", self.key.as_ref())
        {
            out.extend_from_slice(&error.stream_event());
            self.outcome = Some(Outcome::UpstreamError);
            self.error = Some(error);
            return;
        }
        match self.usage_of(&parsed.data) {
            Shown::AsIs => out.extend_from_slice(event),
            Shown::Not => {}
            Shown::Instead(data) => {
                for line in data.split(|byte| *byte == b'\n') {
                    out.extend_from_slice(b"data: ");
                    out.extend_from_slice(line);
                    out.push(b'\n');
                }
                out.push(b'\n');
            }
        }
    }

    /// Notes the usage that a chunk tells, and decides what of the chunk the caller sees.
    fn usage_of(&mut self, data: &[u8]) -> Shown {
        let Ok(Members { found: [choices, usage, x_groq], .. }) =
            members::read(data, &["choices", "usage", "x_groq"])
        else {
            return Shown::AsIs;
        };
        self.usage = x_groq.and_then(|x_groq| groq_usage(x_groq.value)).unwrap_or(self.usage);
        let Some(usage) = usage else { return Shown::AsIs };
        let told = Usage::read(usage.value);
        self.usage = told.unwrap_or(self.usage);
        if !self.hide_usage {
            Shown::AsIs
        } else if told.is_some() && choices.is_some_and(|choices| is_empty_array(choices.value)) {
            Shown::Not
        } else {
            Shown::Instead(members::splice(data, &[(usage.extent, Vec::new())]))
        }
    }
}

/// What the caller sees of a chunk.
enum Shown {
    AsIs,
    Not,
    Instead(Vec<u8>),
}

/// Whether a chunk carries content: text, a tool call, a refusal, reasoning, an end of the answer; not only who speaks. An
/// error is none, whatever else stands beside it.
fn has_content(data: &[u8]) -> bool {
    let Ok(Members { found: [choices, error], .. }) = members::read(data, &["choices", "error"]) else {
        return false;
    };
    if error.is_some_and(|error| error.value != "null") {
        return false;
    }
    let choices: Vec<Choice<'_>> =
        choices.and_then(|choices| serde_json::from_str(choices.value).ok()).unwrap_or_default();
    let says = |delta: &RawValue| {
        let members = members::read_all(delta.get().as_bytes(), &["role"]);
        members.is_ok_and(|members| members.others.iter().any(|(_, member)| !is_nothing(member.value)))
    };
    choices.iter().any(|choice| choice.finish_reason.is_some() || choice.delta.is_some_and(says))
}

fn is_nothing(value: &str) -> bool {
    matches!(value, "null" | "\"\"") || is_empty_array(value)
}

/// What of a choice tells whether it carries content.
#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
}

/// Whether events may hold something that has to be acted on. The needles can only be JSON names or SSE fields: inside a
/// JSON text a quote is escaped.
fn needs_a_look(events: &[u8]) -> bool {
    [&b"\"usage\""[..], b"\"error\"", b"[DONE]", b"event:"]
        .iter()
        .any(|needle| memmem::find(events, needle).is_some())
}

/// Groq tells usage in a member of its own.
fn groq_usage(x_groq: &str) -> Option<Usage> {
    let Members { found: [usage], .. } = members::read(x_groq.as_bytes(), &["usage"]).ok()?;
    Usage::read(usage?.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONTENT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"é\"}}],\"usage\":null}\n\n";
    const SHOWN: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"é\"}}]}\n\n";
    const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}\n\n";
    const DONE: &str = "data: [DONE]\n\n";
    const TOLD: Usage = Usage {
        prompt_tokens: Some(3),
        cached_tokens: None,
        cache_write_tokens: None,
        completion_tokens: Some(5),
        reasoning_tokens: None,
        image_tokens: None,
    };

    fn relay(hide_usage: bool, chunks: &[&[u8]], ending: Ending) -> (String, ChatStream) {
        let mut stream = ChatStream::new("acme", None, hide_usage, 1000);
        let mut out = Vec::new();
        for chunk in chunks {
            match stream.push(chunk) {
                Relayed::AsIs => out.extend_from_slice(chunk),
                Relayed::Instead(bytes) => out.extend_from_slice(&bytes),
            }
        }
        out.extend_from_slice(&stream.end(ending));
        (String::from_utf8(out).unwrap(), stream)
    }

    fn closed(hide_usage: bool, text: &str) -> (String, ChatStream) {
        relay(hide_usage, &[text.as_bytes()], Ending::Closed)
    }

    #[test]
    fn content_begins_with_anything_but_the_role() {
        for (chunk, begins) in [
            (r#"{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#, false),
            (r#"{"choices":[{"delta":{"role":"assistant","content":null,"tool_calls":[]}}]}"#, false),
            (r#"{"choices":[],"prompt_filter_results":[{}]}"#, false),
            (r#"{"choices":[],"usage":{"prompt_tokens":1}}"#, false),
            (
                r#"{"error":{"message":"m"},"choices":[{"delta":{"content":"x"},"finish_reason":"error"}]}"#,
                false,
            ),
            ("not json", false),
            (r#"{"choices":[{"delta":{"content":"a"}}]}"#, true),
            (r#"{"choices":[{"delta":{}},{"delta":{"reasoning_content":"hm"}}]}"#, true),
            (r#"{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#, true),
            (r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, true),
        ] {
            let (_, stream) = relay(true, &[format!("data: {chunk}\n\n").as_bytes()], Ending::Broken);
            assert_eq!(stream.has_begun(), begins, "{chunk}");
            assert_eq!(stream.early_end().is_some(), !begins, "{chunk}");
        }
        let (_, empty) = closed(true, DONE);
        assert!(empty.early_end().unwrap().is(Code::UpstreamInvalidResponse));
        let (_, refused) = closed(true, "data: {\"error\":{\"message\":\"m\",\"code\":429}}\n\n");
        assert_eq!(refused.early_end().unwrap().status, 429);
    }

    #[test]
    fn usage_is_noted_and_shown_only_to_who_asked() {
        let sent = [CONTENT, USAGE, DONE].concat();
        let (out, stream) = closed(true, &sent);
        assert_eq!((out, stream.usage()), ([SHOWN, DONE].concat(), TOLD));
        let (out, stream) = closed(false, &sent);
        assert_eq!((out, stream.usage(), stream.outcome()), (sent, TOLD, Some(Outcome::Done)));
    }

    #[test]
    fn usage_is_found_in_odd_places() {
        for (event, shown) in [
            // With the last choices; the chunk stays, without what was not asked for.
            (
                "data: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5},\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n",
                "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n",
            ),
            (
                "data: {\"choices\":[],\"x_groq\":{\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}}\n\n",
                "data: {\"choices\":[],\"x_groq\":{\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}}\n\n",
            ),
        ] {
            let (out, stream) = closed(true, &[event, DONE].concat());
            assert_eq!((out, stream.usage()), ([shown, DONE].concat(), TOLD));
        }
        let preview = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9}}\n\n";
        assert_eq!(closed(false, &[preview, USAGE, CONTENT, DONE].concat()).1.usage(), TOLD, "the last told");
    }

    #[test]
    fn text_that_looks_like_usage_or_an_error_passes() {
        let sent = r#"data: {"choices":[{"delta":{"content":"{\"error\":\"usage\"} event: error"}}]}"#
            .to_owned()
            + "\n\n"
            + DONE;
        assert_eq!(closed(true, &sent).0, sent);
    }

    #[test]
    fn a_stream_never_ends_silently() {
        for (text, ending, code) in [
            (CONTENT, Ending::Closed, "upstream_stream_cut"),
            ("", Ending::Closed, "upstream_stream_cut"),
            ("data: {\"choices\":[{\"delta\":{\"con", Ending::Broken, "upstream_stream_cut"),
            (CONTENT, Ending::Silent, "upstream_timeout"),
        ] {
            let (out, stream) = relay(false, &[text.as_bytes()], ending);
            let last = out.trim_end().rsplit("data: ").next().unwrap();
            let error: serde_json::Value = serde_json::from_str(last).unwrap();
            assert_eq!(error["error"]["code"], code, "{out}");
            assert!(error["error"]["message"].as_str().unwrap().starts_with("acme "));
            assert!(!out.contains("[DONE]"));
            assert_eq!(stream.outcome(), Some(Outcome::Cut));
        }
    }

    #[test]
    fn errors_inside_a_stream_are_folded_and_end_it() {
        for event in [
            "data: {\"error\":{\"message\":\"m\",\"type\":\"upstream_error\"}}\n\n",
            "data: {\"error\":\"m\"}\n\n",
            "event: error\ndata: {\"message\":\"m\"}\n\n",
            "data: {\"id\":\"x\",\"choices\":[{\"finish_reason\":\"error\"}],\"error\":{\"message\":\"m\"}}\n\n",
        ] {
            let (out, stream) = closed(false, &[CONTENT, event, DONE].concat());
            let error = "data: {\"error\":{\"message\":\"m\",\"type\":\"upstream_error\",\"param\":null,\"code\":null}}\n\n";
            assert_eq!(
                (out.as_str(), stream.outcome()),
                ([CONTENT, error].concat().as_str(), Some(Outcome::UpstreamError))
            );
        }
    }

    #[test]
    fn nothing_follows_done_and_a_torn_end_is_mended() {
        assert_eq!(closed(false, &[DONE, CONTENT].concat()).0, DONE);
        assert_eq!(closed(false, "data: [DONE]").0, DONE);
        assert_eq!(closed(false, "data:[DONE]\r\n").0, "data:[DONE]\r\n\n");
    }

    #[test]
    fn an_event_of_several_lines_stays_one() {
        let event = "data: {\"choices\":[1],\ndata: \"x\":1,\"usage\":null}\n\n";
        let shown = "data: {\"choices\":[1],\ndata: \"x\":1}\n\n";
        assert_eq!(closed(true, &[event, DONE].concat()).0, [shown, DONE].concat());
    }

    #[test]
    fn what_follows_the_end_is_not_measured() {
        let (out, stream) = closed(false, &[DONE, &"x".repeat(2000)].concat());
        assert_eq!((out.as_str(), stream.outcome()), (DONE, Some(Outcome::Done)));
    }

    #[test]
    fn an_event_without_an_end_is_bounded() {
        let (out, stream) = relay(false, &[b"data: ", &[b'x'; 2000]], Ending::Closed);
        assert!(out.contains("upstream_response_too_large"), "{out}");
        assert_eq!(stream.outcome(), Some(Outcome::Cut));
    }

    proptest! {
        /// However the bytes are split, the caller sees the same events.
        #[test]
        fn any_split_relays_the_same(
            crlf: bool,
            hide: bool,
            order in proptest::collection::vec(0usize..4, 0..8),
            cuts in proptest::collection::vec(0usize..900, 0..40),
        ) {
            let pieces = [CONTENT, USAGE, ": ping\n\n", "event: x\ndata: y\n\n"];
            let mut text: String = order.iter().map(|index| pieces[*index]).collect();
            text.push_str(DONE);
            if crlf {
                text = text.replace('\n', "\r\n");
            }
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let seen = |text: &str| -> Vec<_> {
                sse::events(text.as_bytes()).map(sse::parse).filter(|event| !event.data.is_empty()).collect()
            };
            let (split, split_stream) = relay(hide, &chunks, Ending::Closed);
            let (whole, whole_stream) = relay(hide, &[bytes], Ending::Closed);
            prop_assert_eq!(seen(&split), seen(&whole));
            prop_assert_eq!(split_stream.usage(), whole_stream.usage());
            prop_assert_eq!(split_stream.outcome(), Some(Outcome::Done));
        }
    }
}
