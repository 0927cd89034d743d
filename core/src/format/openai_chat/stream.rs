//! A streamed response on its way to the caller.
//!
//! Chunks are forwarded unchanged, with two exceptions: usage that the gateway requested and the caller did not is
//! hidden, and errors inside the stream are converted to the gateway's error. A stream that ends without `[DONE]` and
//! without an error gets a typed error event, so that an incomplete response never looks complete.

use std::ops::Range;

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{Code, Error};
use crate::format::size::BYTES_PER_TOKEN;
use crate::format::stream::{Ending, Outcome, Relayed, ResponseStream, StreamState};
use crate::format::upstream_error;
use crate::format::usage::Usage;
use crate::framing::sse::{self, Framed, Framer};
use crate::json::members::{self, Members, is_empty_array};
use crate::json::scan;
use crate::key::Secret;

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
    /// `true` once any content has arrived.
    begun: bool,
    /// The error that ended the stream, instead of `[DONE]`.
    error: Option<Error>,
    /// The amount of content so far.
    content: Content,
}

impl ChatStream {
    /// The state for a stream of a provider. `key`, the gateway's credential, is redacted from errors; `max_event` is
    /// the maximum size of an event in bytes.
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
            content: Content::default(),
        }
    }

    /// The offset in these events at which content starts, or continues; only looks until the first content has
    /// arrived.
    fn find_content(&mut self, events: &[u8]) -> usize {
        if self.begun {
            return 0;
        }
        let mut start = 0;
        for event in sse::events(events) {
            if let Some(bytes) = content_bytes(&sse::parse(event).data) {
                self.begun = true;
                self.content = Content::starting_with(event, bytes);
                break;
            }
            start += event.len();
        }
        start
    }

    /// Relays whole events; `content_start` is the offset of the first content.
    fn relay(&mut self, events: &[u8], content_start: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(events.len());
        let mut at = 0;
        for event in sse::events(events) {
            let mut has_content = true;
            if let Some(null_usage) = plain_null_usage(event) {
                let (visible, rest) = event.split_at_checked(null_usage.start).unwrap_or((event, &[]));
                out.extend_from_slice(visible);
                let hidden = if self.hide_usage { null_usage.len() } else { 0 };
                out.extend_from_slice(rest.get(hidden..).unwrap_or_default());
            } else if needs_inspection(event) {
                has_content = self.relay_event(event, &mut out);
            } else {
                out.extend_from_slice(event);
            }
            if self.begun && has_content && at >= content_start {
                self.content.count(event);
            }
            at += event.len();
            if self.outcome.is_some() {
                break;
            }
        }
        out
    }

    /// Relays one event, and returns `true` if it may have content.
    fn relay_event(&mut self, event: &[u8], out: &mut Vec<u8>) -> bool {
        let parsed = sse::parse(event);
        if parsed.data == b"[DONE]" {
            self.outcome = Some(Outcome::Done);
            out.extend_from_slice(event);
            return false;
        }
        if let Some(error) =
            upstream_error::read_event(&parsed.data, parsed.name == b"error", self.key.as_ref())
        {
            out.extend_from_slice(&error.stream_event());
            self.outcome = Some(Outcome::UpstreamError);
            self.error = Some(error);
            return false;
        }
        let Inspected { visible, has_content } = self.usage_of(&parsed.data);
        match visible {
            Visible::AsIs => out.extend_from_slice(event),
            Visible::Nothing => {}
            Visible::Instead(data) => {
                for line in data.split(|byte| *byte == b'\n') {
                    out.extend_from_slice(b"data: ");
                    out.extend_from_slice(line);
                    out.push(b'\n');
                }
                out.push(b'\n');
            }
        }
        has_content
    }

    /// Stores the usage in a chunk, and decides which part of the chunk the caller sees.
    fn usage_of(&mut self, data: &[u8]) -> Inspected {
        let Ok([choices, usage, x_groq]) = members::pick(data, &["choices", "usage", "x_groq"]) else {
            return Inspected { visible: Visible::AsIs, has_content: true };
        };
        let is_empty = choices.is_some_and(|choices| is_empty_array(choices.value));
        let inspected = |visible| Inspected { visible, has_content: !is_empty };
        self.usage = x_groq.and_then(|x_groq| groq_usage(x_groq.value)).unwrap_or(self.usage);
        let Some(usage) = usage else { return inspected(Visible::AsIs) };
        let reported = Usage::read(usage.value);
        self.usage = reported.unwrap_or(self.usage);
        inspected(if !self.hide_usage {
            Visible::AsIs
        } else if reported.is_some() && is_empty {
            Visible::Nothing
        } else {
            Visible::Instead(members::splice(data, &[(usage.extent, Vec::new())]))
        })
    }
}

impl ResponseStream for ChatStream {
    fn push(&mut self, chunk: &[u8]) -> Relayed {
        if self.outcome.is_some() {
            return Relayed::Instead(Vec::new());
        }
        let relayed = match self.framer.push(chunk) {
            Framed::Whole(events) => {
                let start = self.find_content(events);
                if !needs_inspection(events) {
                    self.content.count(events.get(start..).unwrap_or_default());
                    return Relayed::AsIs;
                }
                self.relay(events, start)
            }
            Framed::Joined(events) => {
                let start = self.find_content(&events);
                if needs_inspection(&events) {
                    self.relay(&events, start)
                } else {
                    self.content.count(events.get(start..).unwrap_or_default());
                    events
                }
            }
        };
        if self.outcome.is_none() && self.framer.partial().len() > self.max_event {
            let error = Error::new(
                Code::UpstreamResponseTooLarge,
                format!("{} sent an event larger than the limit of {} bytes", self.provider, self.max_event),
            );
            self.outcome = Some(Outcome::Cut);
            let event = error.stream_event();
            self.error = Some(error);
            return Relayed::Instead([relayed, event].concat());
        }
        if relayed == chunk { Relayed::AsIs } else { Relayed::Instead(relayed) }
    }

    fn end(&mut self, ending: Ending) -> Vec<u8> {
        if self.outcome.is_some() {
            return Vec::new();
        }
        // Some servers omit the empty line after the last event.
        let mut last = Vec::new();
        if ending == Ending::Closed && sse::parse(self.framer.partial()).data == b"[DONE]" {
            last = [self.framer.partial(), b"\n\n"].concat();
            last = self.relay(&last, 0);
        }
        if self.outcome.is_none() {
            let (code, what) = match ending {
                Ending::Closed => (Code::UpstreamStreamCut, "ended the stream before it was complete"),
                Ending::Broken => {
                    (Code::UpstreamStreamCut, "closed the connection in the middle of the stream")
                }
                Ending::Silent => {
                    (Code::UpstreamTimeout, "sent nothing for too long in the middle of the stream")
                }
            };
            let error = Error::new(code, format!("{} {what}; the response is incomplete", self.provider));
            last.extend_from_slice(&error.stream_event());
            self.outcome = Some(Outcome::Cut);
            self.error = Some(error);
        }
        last
    }

    fn state(&self) -> StreamState {
        match self.outcome {
            Some(outcome) => StreamState::Over(outcome),
            None if self.begun => StreamState::Begun,
            None => StreamState::Held,
        }
    }

    fn early_end(&self) -> Option<Error> {
        match self.outcome {
            Some(Outcome::Done) if !self.begun => Some(Error::new(
                Code::UpstreamInvalidResponse,
                format!("{} ended its stream without any content", self.provider),
            )),
            Some(_) if !self.begun => self.error.clone(),
            _ => None,
        }
    }

    fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    fn usage(&self) -> Usage {
        self.usage
    }

    /// An event counts as one token, or more if it is long.
    fn produced(&self) -> u64 {
        self.content.tokens(self.outcome == Some(Outcome::Done))
    }
}

/// The result of inspecting a chunk.
struct Inspected {
    visible: Visible,
    /// `true` if the chunk has choices.
    has_content: bool,
}

/// The part of a chunk that the caller sees.
enum Visible {
    AsIs,
    Nothing,
    Instead(Vec<u8>),
}

/// A usage that is not known yet, as a field that is not the first.
const NULL_USAGE: &[u8] = b",\"usage\":null";
/// A field of events that have no content.
const NO_CHOICES: &[u8] = b"\"choices\":[]";

/// The part of a tool call's first event that is not the call itself, in bytes: field names and an id.
const TOOL_CALL_FRAME: usize = 90;

/// The amount of content so far, estimated by the size of events. Events are not parsed for it, because they pass a
/// chunk at a time.
#[derive(Debug, Default)]
struct Content {
    /// The number of events with content, and of all later ones.
    events: u64,
    /// The total bytes of their data.
    bytes: u64,
    /// The bytes of one event's data that are not content.
    envelope: u64,
}

impl Content {
    /// The initial value, from the first event with content and the number of bytes of its content.
    fn starting_with(event: &[u8], content_bytes: usize) -> Content {
        let mut first = Content::default();
        first.count(event);
        Content { envelope: first.bytes.saturating_sub(content_bytes as u64), ..Content::default() }
    }

    /// Counts whole events, ignoring comments and all fields other than `data`.
    fn count(&mut self, events: &[u8]) {
        let mut was_data = false;
        for line in lines(events) {
            let is_data = line.starts_with(b"data:");
            if is_data {
                self.bytes += line.len() as u64;
                // The data of an event may span several lines.
                self.events += u64::from(!was_data);
            }
            was_data = is_data;
        }
    }

    /// The estimated number of tokens. The last event of a complete stream has the finish reason, but no content.
    fn tokens(&self, is_complete: bool) -> u64 {
        let content = self.bytes.saturating_sub(self.envelope.saturating_mul(self.events));
        self.events.saturating_sub(u64::from(is_complete)).max(content / BYTES_PER_TOKEN as u64)
    }
}

/// The lines of whole events.
fn lines(events: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    memchr::memchr2_iter(b'\n', b'\r', events).map(move |end| {
        let line = events.get(start..end).unwrap_or_default();
        start = end + 1;
        line
    })
}

/// The number of bytes of content in a chunk, as written; `None` if the chunk has neither content nor the end of the
/// response. Content is text, a tool call, a refusal or reasoning, but not the role. A chunk with an error has no
/// content, whatever its other fields are.
fn content_bytes(data: &[u8]) -> Option<usize> {
    let [choices, error] = members::pick(data, &["choices", "error"]).ok()?;
    if error.is_some_and(|error| error.value != "null") {
        return None;
    }
    let choices: Vec<Choice<'_>> =
        choices.and_then(|choices| serde_json::from_str(choices.value).ok()).unwrap_or_default();
    let mut sum = None;
    for choice in choices {
        if choice.finish_reason.is_some() {
            sum = sum.or(Some(0));
        }
        let members = choice.delta.and_then(|delta| Members::read(delta.get().as_bytes(), &["role"]).ok());
        for (name, member) in members.iter().flat_map(Members::iter) {
            if name != "role" && !is_nothing(member.value) {
                let frame = if member.value.starts_with('"') { 2 } else { TOOL_CALL_FRAME };
                sum = Some(sum.unwrap_or(0) + member.value.len().saturating_sub(frame));
            }
        }
    }
    sum
}

fn is_nothing(value: &str) -> bool {
    matches!(value, "null" | "\"\"") || is_empty_array(value)
}

/// The fields of a choice that decide whether it has content.
#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
}

/// Returns `true` if events may contain something to act on. The needles can only be JSON names or SSE fields, because
/// quotes inside a JSON text are escaped.
fn needs_inspection(events: &[u8]) -> bool {
    [&b"\"usage\""[..], b"\"error\"", b"[DONE]", b"event:"]
        .iter()
        .any(|needle| memmem::find(events, needle).is_some())
}

/// The place of `"usage":null` in an event with content and nothing else to inspect. Providers that are asked for usage
/// send it in all events but the last. The fields of such events are not read, which saves 5 µs for each. An event that
/// is not one line with JSON is never plain: it passes unchanged.
fn plain_null_usage(event: &[u8]) -> Option<Range<usize>> {
    let place = memmem::find(event, NULL_USAGE)?;
    let end = place + NULL_USAGE.len();
    let object = event.strip_prefix(b"data: ")?;
    let is_needle = |quote: usize| {
        let name = event.get(quote..).unwrap_or_default();
        (name.starts_with(b"\"usage\"") && quote != place + 1)
            || name.starts_with(b"\"error\"")
            || name.starts_with(NO_CHOICES)
    };
    let is_plain = matches!(event.get(end), Some(b',' | b'}'))
        && !memchr::memchr_iter(b'"', event).any(is_needle)
        && scan::depth_of_comma(object, place - (event.len() - object.len())) == Some(1);
    is_plain.then_some(place..end)
}

/// Groq reports usage in a field of its own.
fn groq_usage(x_groq: &str) -> Option<Usage> {
    let [usage] = members::pick(x_groq.as_bytes(), &["usage"]).ok()?;
    Usage::read(usage?.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_event_that_is_not_parsed_is_relayed_like_one_that_is(
            members in proptest::sample::subsequence(
                vec![
                    r#""id":"a""#,
                    r#""usage":null"#,
                    r#""x":{"y":1,"usage":null}"#,
                    r#""x_groq":{"id":"b","usage":{"prompt_tokens":1}}"#,
                    r#""error":null"#,
                    r#""obfuscation":"}{\\\"""#,
                ],
                0..=6,
            ).prop_shuffle(),
            choices in proptest::option::of(proptest::sample::select(vec![
                r#""choices":[{"delta":{"content":"\"usage\":null,"}}]"#,
                r#""choices":[]"#,
            ])),
            place in any::<proptest::sample::Index>(),
            hide_usage in any::<bool>(),
        ) {
            let mut members = members;
            if let Some(choices) = choices {
                members.insert(place.index(members.len() + 1), choices);
            }
            let event = format!("data: {{{}}}\n\n", members.join(","));
            let mut slow = ChatStream::new("p", None, hide_usage, 1_000_000);
            let mut expected = Vec::new();
            slow.relay_event(event.as_bytes(), &mut expected);
            let mut quick = ChatStream::new("p", None, hide_usage, 1_000_000);
            let relayed = quick.relay(event.as_bytes(), 0);
            prop_assert_eq!(String::from_utf8(relayed), String::from_utf8(expected));
            prop_assert_eq!(quick.usage, slow.usage);
        }
    }

    const CONTENT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"é\"}}],\"usage\":null}\n\n";
    const VISIBLE: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"é\"}}]}\n\n";
    const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}\n\n";
    const DONE: &str = "data: [DONE]\n\n";
    const REPORTED: Usage = Usage {
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
    fn content_starts_with_anything_but_the_role() {
        for (chunk, starts) in [
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
            assert_eq!(stream.begun, starts, "{chunk}");
            assert_eq!(stream.early_end().is_some(), !starts, "{chunk}");
        }
        let (_, empty) = closed(true, DONE);
        assert!(empty.early_end().unwrap().is(Code::UpstreamInvalidResponse));
        let (_, rejected) = closed(true, "data: {\"error\":{\"message\":\"m\",\"code\":429}}\n\n");
        assert_eq!(rejected.early_end().unwrap().status, 429);
    }

    const FRAME: &str = r#"data: {"id":"x","choices":[{"index":0,"delta":"#;

    /// A stream as providers send them: the role, the content in pieces, and the end.
    fn streamed(deltas: &[String], before: &str, usage: &str) -> (String, String) {
        let mut text = format!(
            "{FRAME}{{\"role\":\"assistant\",\"content\":\"\"}},\"finish_reason\":null}}]{usage}}}\n\n"
        );
        for delta in deltas {
            text += &[before, FRAME, "{", delta, "},\"finish_reason\":null}]", usage, "}\n\n"].concat();
        }
        (text, format!("{FRAME}{{}},\"finish_reason\":\"stop\"}}]{usage}}}\n\n"))
    }

    #[test]
    fn the_tokens_received_are_estimated() {
        let content = |text: &str| format!("\"content\":\"{text}\"");
        let call = |arguments: &str| {
            format!(
                r#""tool_calls":[{{"index":0,"id":"call_1","type":"function","function":{{"name":"f","arguments":"{arguments}"}}}}]"#
            )
        };
        let fragment =
            |text: &str| format!(r#""tool_calls":[{{"index":0,"function":{{"arguments":"{text}"}}}}]"#);
        for (deltas, tokens) in [
            (vec![], 0..=0),
            (vec![content("a")], 1..=1),
            (vec![content("a"); 50], 50..=50),
            (vec![content(&"word ".repeat(400))], 495..=502),
            (vec![content("Hi"), content(&"word ".repeat(400))], 495..=502),
            (vec![content(&"word ".repeat(400)), content("Hi")], 495..=502),
            (vec![call(""), fragment("{"), fragment("}")], 3..=3),
            (vec![call(&"word ".repeat(400))], 470..=510),
        ] {
            for (usage, hide) in [("", true), (",\"usage\":null", true), (",\"usage\":null", false)] {
                let (text, finish) = streamed(&deltas, ": ping\n\nevent: x\n", usage);
                let (_, cut) = closed(hide, &text);
                assert!(tokens.contains(&cut.produced()), "{}: {deltas:?}", cut.produced());
                let (_, complete) = closed(hide, &[&text, &finish, USAGE, DONE, CONTENT].concat());
                let produced = complete.produced();
                assert!((*tokens.start()..=tokens.end() + 2).contains(&produced), "{produced}: {deltas:?}");
            }
        }
        let error = "data: {\"error\":{\"message\":\"m\"}}\n\n";
        assert_eq!(closed(true, &[CONTENT, error].concat()).1.produced(), 1);
        let lines = "data: {\"choices\":[{\"delta\":\ndata: {\"content\":\"a\"}}]}\n\n";
        assert_eq!(closed(true, &lines.repeat(3)).1.produced(), 3);
    }

    #[test]
    fn usage_is_read_and_hidden_from_callers_that_did_not_ask() {
        let sent = [CONTENT, USAGE, DONE].concat();
        let (out, stream) = closed(true, &sent);
        assert_eq!((out, stream.usage()), ([VISIBLE, DONE].concat(), REPORTED));
        let (out, stream) = closed(false, &sent);
        assert_eq!((out, stream.usage(), stream.state()), (sent, REPORTED, StreamState::Over(Outcome::Done)));
    }

    #[test]
    fn usage_is_found_in_unusual_places() {
        for (event, visible) in [
            // In the chunk with the last choices; the chunk is kept without the usage that the caller did not ask for.
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
            assert_eq!((out, stream.usage()), ([visible, DONE].concat(), REPORTED));
        }
        let preview = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9}}\n\n";
        assert_eq!(
            closed(false, &[preview, USAGE, CONTENT, DONE].concat()).1.usage(),
            REPORTED,
            "the last report counts"
        );
    }

    #[test]
    fn an_event_that_is_no_json_passes_unchanged() {
        for sent in [
            "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}}\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null,}\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":a}}],\"usage\":null}\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null,\"x\":1\n\n",
        ] {
            let (out, _) = closed(true, &[CONTENT, sent, DONE].concat());
            assert!(out.contains(sent), "{sent}: {out}");
        }
    }

    #[test]
    fn text_that_looks_like_usage_or_an_error_is_forwarded_unchanged() {
        let sent = r#"data: {"choices":[{"delta":{"content":"{\"error\":\"usage\"} event: error"}}]}"#
            .to_owned()
            + "\n\n"
            + DONE;
        assert_eq!(closed(true, &sent).0, sent);
    }

    #[test]
    fn an_incomplete_stream_ends_with_an_error_event() {
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
            assert_eq!(stream.state(), StreamState::Over(Outcome::Cut));
        }
    }

    #[test]
    fn errors_inside_a_stream_are_converted_and_end_it() {
        for event in [
            "data: {\"error\":{\"message\":\"m\",\"type\":\"upstream_error\"}}\n\n",
            "data: {\"error\":\"m\"}\n\n",
            "event: error\ndata: {\"message\":\"m\"}\n\n",
            "data: {\"id\":\"x\",\"choices\":[{\"finish_reason\":\"error\"}],\"error\":{\"message\":\"m\"}}\n\n",
        ] {
            let (out, stream) = closed(false, &[CONTENT, event, DONE].concat());
            let error = "data: {\"error\":{\"message\":\"m\",\"type\":\"upstream_error\",\"param\":null,\"code\":null}}\n\n";
            assert_eq!(
                (out.as_str(), stream.state()),
                ([CONTENT, error].concat().as_str(), StreamState::Over(Outcome::UpstreamError))
            );
        }
    }

    #[test]
    fn nothing_follows_done_and_an_incomplete_last_event_is_completed() {
        assert_eq!(closed(false, &[DONE, CONTENT].concat()).0, DONE);
        assert_eq!(closed(false, "data: [DONE]").0, DONE);
        assert_eq!(closed(false, "data:[DONE]\r\n").0, "data:[DONE]\r\n\n");
    }

    #[test]
    fn an_event_of_several_lines_stays_one_event() {
        let event = "data: {\"choices\":[1],\ndata: \"x\":1,\"usage\":null}\n\n";
        let visible = "data: {\"choices\":[1],\ndata: \"x\":1}\n\n";
        assert_eq!(closed(true, &[event, DONE].concat()).0, [visible, DONE].concat());
    }

    #[test]
    fn bytes_after_the_end_do_not_count_towards_the_limit() {
        let (out, stream) = closed(false, &[DONE, &"x".repeat(2000)].concat());
        assert_eq!((out.as_str(), stream.state()), (DONE, StreamState::Over(Outcome::Done)));
    }

    #[test]
    fn the_size_of_an_event_is_limited() {
        let (out, stream) = relay(false, &[b"data: ", &[b'x'; 2000]], Ending::Closed);
        assert!(out.contains("upstream_response_too_large"), "{out}");
        assert_eq!(stream.state(), StreamState::Over(Outcome::Cut));
    }

    proptest! {
        /// However the bytes are split, an event with four bytes of content counts as one token.
        #[test]
        fn the_estimate_does_not_depend_on_the_split(
            crlf: bool,
            hide: bool,
            with_usage: bool,
            count in 0usize..60,
            cuts in proptest::collection::vec(0usize..10_000, 0..60),
        ) {
            let usage = if with_usage { ",\"usage\":null" } else { "" };
            let (mut text, mut finish) = streamed(&vec!["\"content\":\"tok \"".to_owned(); count], "", usage);
            if crlf {
                (text, finish) = (text.replace('\n', "\r\n"), finish.replace('\n', "\r\n"));
            }
            let length = text.len();
            text.push_str(&finish);
            text.push_str(DONE);
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, length, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let cut = cuts.iter().position(|cut| *cut == length).unwrap();
            prop_assert_eq!(relay(hide, &chunks[..cut], Ending::Broken).1.produced(), count as u64);
            prop_assert_eq!(relay(hide, &chunks, Ending::Closed).1.produced(), count as u64);
        }

        /// However the bytes are split, the caller sees the same events.
        #[test]
        fn the_events_do_not_depend_on_the_split(
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
            prop_assert_eq!(split_stream.state(), StreamState::Over(Outcome::Done));
        }
    }
}
