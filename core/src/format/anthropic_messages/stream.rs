//! A streamed message: the grammar of its events.
//!
//! All events pass unchanged, known or not. `ping` and `message_start` are no content; a stream is complete with
//! `message_stop` alone.

use memchr::memmem;

use crate::error::Error;
use crate::format::event_relay::{EventRelay, Glance, Grammar};
use crate::format::upstream_error;
use crate::format::whole::Whole;
use crate::framing::sse::Event;
use crate::json::members::{self, Members, is_empty_array};
use crate::key::Secret;
use crate::operation::Surface;
use crate::usage::Usage;

use super::{events, response, usage};

/// The state of one stream.
pub type MessagesStream = EventRelay<Messages>;

/// The part of the state that only Messages have: none.
#[derive(Debug)]
pub struct Messages;

impl MessagesStream {
    /// The state for a stream of a provider. `key`, the gateway's credential, is blotted out of errors; `max_event` is
    /// the maximum size of an event in bytes.
    pub fn new(provider: &str, key: Option<Secret>, max_event: usize) -> MessagesStream {
        EventRelay::of(provider, key, max_event, Messages)
    }
}

const STOP: &str = "message_stop";
const STOP_EVENT: &[u8] = b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

impl Grammar for Messages {
    const SURFACE: Surface = Surface::Anthropic;

    fn glance(_event: &[u8], parsed: &Event) -> Glance {
        let document = parsed.data.trim_ascii();
        if document.is_empty() {
            return Glance::Nothing;
        }
        let Ok([kind, delta, block, error]) =
            members::pick(document, &["type", "delta", "content_block", "error"])
        else {
            return Glance::Doubtful;
        };
        let is_error =
            parsed.name == b"error" || error.is_some_and(|error| !upstream_error::is_nothing(error.value));
        let Some(kind) = kind.filter(|kind| !is_error && kind.value != "\"error\"") else {
            return Glance::Doubtful;
        };
        let part = match kind.value {
            "\"content_block_start\"" => block,
            "\"content_block_delta\"" => delta,
            // A refusal may have no block at all.
            "\"message_delta\"" if delta.as_ref().is_some_and(|delta| stops(delta.value)) => {
                return Glance::Content(0);
            }
            _ => None,
        };
        let bytes = part.and_then(|part| content_bytes(part.value));
        bytes.map_or(Glance::Nothing, Glance::Content)
    }

    /// The needles in quotes can only be JSON names or whole texts, because quotes inside a JSON text are escaped.
    fn needs_inspection(&self, events: &[u8]) -> bool {
        [&b"\"usage\""[..], b"\"error\"", b"event: error", STOP.as_bytes()]
            .iter()
            .any(|needle| memmem::find(events, needle).is_some())
    }

    fn last<'e>(event: &'e [u8], parsed: &Event) -> Option<&'e [u8]> {
        let is_stop = || {
            let [kind] = members::pick(parsed.data.trim_ascii(), &["type"]).ok()?;
            Some(kind?.value == "\"message_stop\"")
        };
        // Clients ignore an event without data, and would wait for another one.
        let visible = if parsed.data.trim_ascii().is_empty() { STOP_EVENT } else { event };
        (parsed.name == STOP.as_bytes() || is_stop().unwrap_or(false)).then_some(visible)
    }

    fn error_in(provider: &str, document: &[u8], is_named: bool, key: Option<&Secret>) -> Option<Error> {
        let mut has_answer = false;
        if let Ok([kind, error, base_resp]) = members::pick(document, &["type", "error", "base_resp"]) {
            has_answer = kind.is_some_and(|kind| kind.value != "\"error\"");
            let is_told = error.is_some_and(|error| !upstream_error::is_nothing(error.value));
            if !is_named && has_answer && !is_told && base_resp.is_none() {
                return None;
            }
        } else if !is_named && !document.starts_with(b"[") {
            return None;
        }
        upstream_error::in_event(provider, document, is_named, has_answer && !is_named, key)
    }

    fn inspect(&mut self, event: &[u8], data: &[u8], known: &mut Usage, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(event);
        let Ok([kind, message, usage]) = members::pick(data, &["type", "message", "usage"]) else {
            return !data.is_empty();
        };
        let of_message = || {
            let [usage] = members::pick(message?.value.as_bytes(), &["usage"]).ok()?;
            usage
        };
        // The numbers of later events count everything so far. Some providers leave out there what they said at first.
        let reported = usage.or_else(of_message).and_then(|usage| usage::read(usage.value));
        *known = known.larger(reported.unwrap_or_default());
        kind.is_some_and(|kind| kind.value.starts_with("\"content_block_"))
    }

    fn of_whole(
        &self,
        provider: &str,
        document: &[u8],
        key: Option<&Secret>,
    ) -> Result<Option<(Vec<u8>, Whole)>, Error> {
        let whole = response::check(provider, document, key)?;
        Ok(events::of_whole(document).map(|events| (events, whole)))
    }
}

/// Returns `true` if a `message_delta` has a stop reason.
fn stops(delta: &str) -> bool {
    members::pick(delta.as_bytes(), &["stop_reason"])
        .is_ok_and(|[reason]| reason.is_some_and(|reason| reason.value != "null"))
}

/// The bytes of the content in a block as it starts, or in a delta; `None` if there is none yet.
fn content_bytes(part: &str) -> Option<usize> {
    let fields = Members::read(part.as_bytes(), &[]).ok()?;
    let says_something = |value: &str| !matches!(value, "null" | "\"\"" | "{}") && !is_empty_array(value);
    let sizes = fields.iter().filter(|(name, field)| *name != "type" && says_something(field.value));
    sizes.map(|(_, field)| field.value.len().saturating_sub(2)).reduce(|sum, size| sum + size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::format::stream::{Ending, Outcome, Relayed, ResponseStream, StreamState};
    use crate::framing::sse;
    use proptest::prelude::*;
    use serde_json::Value;

    fn event(data: &str) -> String {
        let kind: Value = serde_json::from_str(data).unwrap();
        format!("event: {}\ndata: {data}\n\n", kind["type"].as_str().unwrap())
    }

    const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"model":"m","stop_reason":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":3,"cache_read_input_tokens":5,"output_tokens":1}}}"#;
    const PING: &str = r#"{"type":"ping"}"#;
    const TEXT: &str =
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    const STOPPED: &str = r#"{"type":"content_block_stop","index":0}"#;
    const DELTA: &str = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":30,"output_tokens_details":{"thinking_tokens":9}}}"#;
    const END: &str = r#"{"type":"message_stop"}"#;

    fn word(text: &str) -> String {
        event(&format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{text}"}}}}"#
        ))
    }

    fn complete(words: &[String]) -> String {
        let before = [START, TEXT, PING].map(event).concat();
        before + &words.concat() + &[STOPPED, DELTA, END].map(event).concat()
    }

    fn relay(chunks: &[&[u8]], ending: Ending) -> (String, MessagesStream) {
        let mut stream = MessagesStream::new("acme", None, 2000);
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

    fn closed(text: &str) -> (String, MessagesStream) {
        relay(&[text.as_bytes()], Ending::Closed)
    }

    #[test]
    fn a_complete_stream_passes_as_it_is_and_its_usage_is_read() {
        let text = complete(&[word("Hi"), word(" \\\"error\\\" \\\"usage\\\" there")]);
        let (out, stream) = closed(&text);
        assert_eq!(out, text);
        assert_eq!(stream.state(), StreamState::Over(Outcome::Done));
        let expected = Usage {
            prompt_tokens: Some(20),
            cached_tokens: Some(5),
            cache_write_tokens: Some(3),
            cache_write_1h_tokens: None,
            completion_tokens: Some(30),
            reasoning_tokens: Some(9),
            image_tokens: None,
            units: crate::unit::Units::NONE,
        };
        assert_eq!(stream.usage(), expected);
        // What follows the end is not sent.
        assert_eq!(closed(&format!("{text}data: [DONE]\n\n")).0, text);
    }

    #[test]
    fn content_starts_with_anything_but_the_frame() {
        for (data, starts) in [
            (START, false),
            (PING, false),
            (TEXT, false),
            (
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
                false,
            ),
            (
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"","citations":[]}}"#,
                false,
            ),
            (r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}"#, false),
            (r#"{"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":1}}"#, false),
            (r#"{"type":"new_event","text":"x"}"#, false),
            (
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
                true,
            ),
            (
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking","data":"x"}}"#,
                true,
            ),
            (r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#, true),
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"a"}}"#,
                true,
            ),
            (
                r#"{"type":"message_delta","delta":{"stop_reason":"refusal"},"usage":{"output_tokens":1}}"#,
                true,
            ),
        ] {
            let (_, stream) = relay(&[event(data).as_bytes()], Ending::Broken);
            assert_eq!(stream.begun, starts, "{data}");
            assert_eq!(stream.early_end().is_some(), !starts, "{data}");
        }
        let (_, empty) = closed(&[START, END].map(event).concat());
        assert!(empty.early_end().unwrap().is(Code::UpstreamInvalidResponse));
    }

    const OVERLOADED: &str =
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}"#;

    #[test]
    fn errors_inside_a_stream_are_converted_and_end_it() {
        let begun = [START, TEXT].map(event).concat() + &word("a");
        for (error, kind) in [
            (event(OVERLOADED), "overloaded_error"),
            (format!("data: {OVERLOADED}\n\n"), "overloaded_error"),
            ("event: error\ndata: upstream connect error\n\n".to_owned(), "api_error"),
            (r#"data: {"error":{"message":"m","code":429}}"#.to_owned() + "\n\n", "rate_limit_error"),
        ] {
            for before in ["", &begun] {
                let (out, stream) = closed(&format!("{before}{error}{}", event(END)));
                let last = out.strip_prefix(before).unwrap();
                assert!(last.starts_with("event: error\ndata: {\"type\":\"error\",\"error\":{"), "{out}");
                assert!(last.contains(&format!(r#""type":"{kind}""#)), "{out}");
                assert_eq!(last.matches("\n\n").count(), 1, "{out}");
                assert_eq!(stream.state(), StreamState::Over(Outcome::UpstreamError));
                assert_eq!(stream.early_end().is_some(), before.is_empty());
            }
        }
    }

    #[test]
    fn an_incomplete_stream_ends_with_an_error_event() {
        let text = complete(&[word("a")]);
        let cut = text.strip_suffix(&event(END)).unwrap();
        for (ending, code, kind) in [
            (Ending::Closed, "upstream_stream_cut", "api_error"),
            (Ending::Broken, "upstream_stream_cut", "api_error"),
            (Ending::Silent, "upstream_timeout", "timeout_error"),
        ] {
            for part in [cut, &format!("{cut}data: [DONE]\n\n")] {
                let (out, stream) = relay(&[part.as_bytes()], ending);
                let last = out.strip_prefix(part).unwrap();
                assert!(
                    last.starts_with("event: error\n") && last.contains(code) && last.contains(kind),
                    "{last}"
                );
                assert_eq!(stream.state(), StreamState::Over(Outcome::Cut));
            }
        }
        // Without the last empty line it is complete, and without the last data too.
        for ending in [
            text.trim_end(),
            &format!("{cut}event: message_stop\n\n"),
            &format!("{cut}event: message_stop\nda"),
        ] {
            let (out, stream) = closed(ending);
            assert_eq!((out, stream.state()), (text.clone(), StreamState::Over(Outcome::Done)));
        }
    }

    #[test]
    fn a_whole_message_is_served_as_a_stream_and_an_error_document_as_an_error() {
        let message = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":5}}"#;
        for text in [message.to_owned(), format!("\u{feff}{message}"), format!("{message}\n")] {
            let (out, stream) = closed(&text);
            assert!(out.starts_with("event: message_start\n") && out.ends_with(&event(END)), "{out}");
            assert_eq!(stream.state(), StreamState::Over(Outcome::Done));
            assert_eq!(stream.usage().completion_tokens, Some(5));
            assert!(stream.early_end().is_none());
        }
        let (_, failed) = closed(OVERLOADED);
        assert_eq!(failed.early_end().unwrap().status, 503);
        let (_, odd) = closed("<html>");
        assert!(odd.early_end().unwrap().is(Code::UpstreamInvalidResponse));
    }

    proptest! {
        /// However the bytes are split, the caller sees the same events and the gateway the same usage.
        #[test]
        fn the_events_do_not_depend_on_the_split(
            crlf: bool,
            words in proptest::collection::vec("[a-z\"\\\\]{0,6}", 0..12),
            cuts in proptest::collection::vec(0usize..2000, 0..40),
        ) {
            let words: Vec<String> = words
                .iter()
                .map(|text| Value::from(text.as_str()).to_string())
                .map(|json| word(json.get(1..json.len() - 1).unwrap()))
                .collect();
            let mut text = complete(&words);
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
            let (split, stream) = relay(&chunks, Ending::Closed);
            prop_assert_eq!(seen(&split), seen(&text));
            prop_assert_eq!(stream.state(), StreamState::Over(Outcome::Done));
            prop_assert_eq!(stream.usage().completion_tokens, Some(30));
        }
    }
}
