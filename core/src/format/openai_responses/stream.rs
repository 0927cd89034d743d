//! A streamed response: the grammar of its events.
//!
//! All events pass unchanged, known or not. The frame (`response.created` and `response.in_progress`, an item or a part
//! that begins) is no content; a stream is complete with `response.completed` or `response.incomplete`, and only then. A
//! stream that fails ends with `response.failed`, which continues the response and the numbers of the upstream: clients
//! know no other end.

use std::rc::Rc;

use memchr::memmem;
use serde_json::{Map, Value, json};

use super::deltas::{self, Echo, Writer};
use super::writer::failure;
use super::{events, response};
use crate::error::Error;
use crate::format::event_relay::{EventRelay, Glance, Grammar};
use crate::format::response_id::response_id;
use crate::format::upstream_error;
use crate::format::whole::Whole;
use crate::framing::sse::Event;
use crate::json::members::{self, is_empty_array};
use crate::key::Secret;
use crate::operation::Surface;
use crate::usage::Usage;

/// The state of one stream.
pub type ResponsesStream = EventRelay<Responses>;

/// The part of the state that only Responses have.
#[derive(Debug, Default)]
pub struct Responses {
    /// The response as it was when it began, as JSON.
    begun: Option<String>,
    /// The number of the next event.
    next: u64,
    /// The number of the next event before the events that came last.
    before: u64,
}

impl ResponsesStream {
    /// The state for a stream of a provider. `key`, the gateway's credential, is blotted out of errors; `max_event` is
    /// the maximum size of an event in bytes.
    pub fn new(provider: &str, key: Option<Secret>, max_event: usize) -> ResponsesStream {
        EventRelay::of(provider, key, max_event, Responses::default())
    }
}

const CREATED: &str = "response.created";
const ENDS: [&str; 2] = ["response.completed", "response.incomplete"];
const NUMBER: &[u8] = b"\"sequence_number\":";
const DONE: &[u8] = b"[DONE]";
const SUMMARY: &[u8] = b"\"response.reasoning_summary_text.delta\"";

impl Grammar for Responses {
    const SURFACE: Surface = Surface::OpenAi;

    fn glance(_event: &[u8], parsed: &Event) -> Glance {
        let document = parsed.data.trim_ascii();
        if document.is_empty() {
            return Glance::Nothing;
        }
        let Ok([kind, delta, item, response]) =
            members::pick(document, &["type", "delta", "item", "response"])
        else {
            return Glance::Doubtful;
        };
        let kind = kind.map_or("", |kind| kind.value.trim_matches('"'));
        if deltas::is_error(&parsed.name, document) || !kind.starts_with("response.") {
            return Glance::Doubtful;
        }
        let bytes = match kind {
            "response.output_item.added" => item.and_then(|item| starts_content(item.value).then_some(0)),
            "response.output_item.done" | "response.incomplete" => Some(0),
            "response.completed" => response.and_then(|response| output_bytes(response.value)),
            kind if kind.rsplit('.').next() == Some("delta") => {
                delta.map(|delta| delta.value.len().saturating_sub(2)).filter(|bytes| *bytes > 0)
            }
            _ => None,
        };
        bytes.map_or(Glance::Nothing, Glance::Content)
    }

    fn passing(&mut self, events: &[u8]) {
        self.before = self.next;
        self.next = number_behind(events).unwrap_or(self.next);
    }

    /// The numbers have no gap: the upstream's error event is not sent.
    fn failing(&mut self, relayed: &[u8]) {
        self.next = number_behind(relayed).unwrap_or(self.before);
    }

    /// A needle in quotes can only be a JSON name or a whole text, because quotes inside a JSON text are escaped.
    fn needs_inspection(&self, events: &[u8]) -> bool {
        let needles = [CREATED, ENDS[0], ENDS[1], "response.failed", "\"error\"", "event: error"];
        needles.iter().any(|needle| memmem::find(events, needle.as_bytes()).is_some())
            || memmem::find(events, DONE).is_some()
    }

    fn last<'e>(event: &'e [u8], parsed: &Event) -> Option<&'e [u8]> {
        let is_end = |kind: &[u8]| ENDS.iter().any(|end| end.as_bytes() == kind);
        let has_end = || {
            let [kind] = members::pick(parsed.data.trim_ascii(), &["type"]).ok()?;
            Some(is_end(kind?.value.trim_matches('"').as_bytes()))
        };
        (is_end(&parsed.name) || (parsed.name.is_empty() && has_end().unwrap_or(false))).then_some(event)
    }

    fn usage_of_last(last: &Event) -> Usage {
        let usage = || {
            let [response] = members::pick(last.data.trim_ascii(), &["response"]).ok()?;
            let [usage] = members::pick(response?.value.as_bytes(), &["usage"]).ok()?;
            Usage::read(usage?.value)
        };
        usage().unwrap_or_default()
    }

    fn failure(&self, error: &Error) -> Vec<u8> {
        let mut out = Vec::new();
        let begun = self.begun.as_deref().and_then(|begun| serde_json::from_str(begun).ok());
        let Some(mut response): Option<Map<String, Value>> = begun else {
            let echo = Rc::new(Echo::read(b"{}"));
            Writer::new(echo, "", "", 0).fail(error, &mut out);
            return out;
        };
        let (code, message) = failure(error);
        response.insert("status".to_owned(), "failed".into());
        response.insert("error".to_owned(), json!({ "code": code, "message": message }));
        let kind = "response.failed";
        let data = json!({ "type": kind, "sequence_number": self.next, "response": response });
        out.extend_from_slice(format!("event: {kind}\ndata: {data}\n\n").as_bytes());
        out
    }

    /// Only deltas count: the events behind them repeat their text. The summary of reasoning is not billed.
    fn counts(line: &[u8]) -> bool {
        memmem::find(line, b".delta\"").is_some() && memmem::find(line, SUMMARY).is_none()
    }

    fn error_in(provider: &str, document: &[u8], is_named: bool, key: Option<&Secret>) -> Option<Error> {
        if is_named || deltas::is_error(b"", document) {
            return upstream_error::in_event(provider, document, true, false, key);
        }
        let kind = members::pick(document, &["type"]);
        if kind.is_ok_and(|[kind]| kind.is_some_and(|kind| kind.value.starts_with("\"response."))) {
            return None;
        }
        upstream_error::in_event(provider, document, false, false, key)
    }

    fn inspect(&mut self, event: &[u8], data: &[u8], _usage: &mut Usage, out: &mut Vec<u8>) -> bool {
        let data = data.trim_ascii();
        if data == DONE {
            // Clients stop reading here, but the response is not complete.
            return false;
        }
        out.extend_from_slice(event);
        if let Ok([Some(kind), Some(response)]) = members::pick(data, &["type", "response"])
            && kind.value.trim_matches('"') == CREATED
        {
            self.begun = Some(response.value.to_owned());
        }
        true
    }

    fn response_id(&self) -> Option<String> {
        response_id(self.begun.as_deref()?.as_bytes())
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

/// The number of the event behind these events; `None` if they have no numbers.
fn number_behind(events: &[u8]) -> Option<u64> {
    let at = memmem::rfind(events, NUMBER)? + NUMBER.len();
    let digits = events.get(at..)?.trim_ascii_start();
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number: u64 = std::str::from_utf8(digits.get(..length)?).ok()?.parse().ok()?;
    Some(number.saturating_add(1))
}

/// Returns `true` if an item is content as it begins: a call, whose parts may never come as deltas. Texts and reasoning
/// are empty as they begin.
fn starts_content(item: &str) -> bool {
    let kind = members::pick(item.as_bytes(), &["type"]).ok().and_then(|[kind]| Some(kind?.value));
    kind.is_some_and(|kind| !matches!(kind, "\"message\"" | "\"reasoning\""))
}

/// The bytes of the output of a response; `None` if it has none.
fn output_bytes(response: &str) -> Option<usize> {
    let [output] = members::pick(response.as_bytes(), &["output"]).ok()?;
    output
        .map(|output| output.value)
        .filter(|output| !is_empty_array(output) && *output != "null")
        .map(str::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::format::stream::{Ending, Outcome, Relayed, ResponseStream, StreamState};
    use crate::framing::sse;
    use proptest::prelude::*;

    fn event(data: &str) -> String {
        let value: Value = serde_json::from_str(data).unwrap();
        format!("event: {}\ndata: {data}\n\n", value["type"].as_str().unwrap())
    }

    const START: &str = r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","model":"m","output":[],"error":null,"usage":null}}"#;
    const ITEM: &str = r#"{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"id":"msg_1","type":"message","content":[]}}"#;
    const CALL: &str = r#"{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"id":"fc_1","type":"function_call","name":"f","call_id":"c","arguments":""}}"#;
    const ITEM_DONE: &str = r#"{"type":"response.output_item.done","sequence_number":90,"output_index":0,"item":{"id":"msg_1","type":"message","content":[{"type":"output_text","text":"Hi"}]}}"#;
    const END: &str = r#"{"type":"response.completed","sequence_number":91,"response":{"id":"resp_1","status":"completed","error":null,"output":[{"type":"message"}],"usage":{"input_tokens":12,"input_tokens_details":{"cached_tokens":5},"output_tokens":30,"output_tokens_details":{"reasoning_tokens":9}}}}"#;
    const INCOMPLETE: &str = r#"{"type":"response.incomplete","sequence_number":91,"response":{"id":"resp_1","status":"incomplete","error":null,"output":[],"usage":{"input_tokens":12,"output_tokens":30}}}"#;
    const FAILED: &str = r#"{"type":"response.failed","sequence_number":7,"response":{"id":"resp_1","status":"failed","error":{"code":"rate_limit_exceeded","message":"Slow down"},"usage":null}}"#;
    const ERROR: &str =
        r#"{"type":"error","sequence_number":7,"code":"server_error","message":"boom","param":null}"#;

    fn word(text: &str, number: usize) -> String {
        let delta = json!({"type": "response.output_text.delta", "sequence_number": number, "item_id": "msg_1",
            "output_index": 0, "content_index": 0, "delta": text});
        event(&delta.to_string())
    }

    fn complete(words: &[String]) -> String {
        [START, ITEM].map(event).concat() + &words.concat() + &[ITEM_DONE, END].map(event).concat()
    }

    fn relay(chunks: &[&[u8]], ending: Ending) -> (String, ResponsesStream) {
        let mut stream = ResponsesStream::new("acme", None, 5000);
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

    fn closed(text: &str) -> (String, ResponsesStream) {
        relay(&[text.as_bytes()], Ending::Closed)
    }

    #[test]
    fn a_complete_stream_passes_as_it_is_and_its_usage_is_read() {
        let text = complete(&[word("Hi", 2), word("\"error\" response.completed", 3)]);
        let (out, stream) = closed(&text);
        assert_eq!(out, text);
        assert_eq!(stream.state(), StreamState::Over(Outcome::Done));
        let expected = Usage {
            prompt_tokens: Some(12),
            cached_tokens: Some(5),
            completion_tokens: Some(30),
            reasoning_tokens: Some(9),
            ..Usage::default()
        };
        assert_eq!(stream.usage(), expected);
        // What follows the end is not sent.
        assert_eq!(closed(&format!("{text}data: [DONE]\n\n")).0, text);
        let unnamed = text
            .lines()
            .filter(|line| !line.starts_with("event:"))
            .fold(String::new(), |all, line| all + line + "\n");
        assert_eq!(closed(&unnamed).1.usage(), expected);
    }

    #[test]
    fn content_starts_with_anything_but_the_frame() {
        let progress = START.replace("created", "in_progress");
        let reasoning = ITEM.replace("\"message\"", "\"reasoning\"");
        let part = r#"{"type":"response.content_part.added","part":{"type":"output_text","text":""}}"#;
        let no_delta = r#"{"type":"response.output_text.delta","delta":""}"#;
        let arguments = r#"{"type":"response.function_call_arguments.delta","delta":"{"}"#;
        let search = r#"{"type":"response.output_item.added","item":{"type":"web_search_call"}}"#;
        for (data, starts) in [
            (START, false),
            (progress.as_str(), false),
            (ITEM, false),
            (&reasoning, false),
            (part, false),
            (no_delta, false),
            (r#"{"type":"response.queued","response":{}}"#, false),
            (CALL, true),
            (search, true),
            (arguments, true),
            (ITEM_DONE, true),
            (END, true),
            (INCOMPLETE, true),
        ] {
            let (_, stream) = relay(&[event(data).as_bytes()], Ending::Broken);
            assert_eq!(stream.begun, starts, "{data}");
            assert_eq!(stream.early_end().is_some(), !starts, "{data}");
        }
        let empty = END.replace(r#"[{"type":"message"}]"#, "[]");
        let (_, empty) = closed(&(event(START) + &event(&empty)));
        assert!(empty.early_end().unwrap().is(Code::UpstreamInvalidResponse));
        let (out, stream) = closed(&(event(START) + &event(INCOMPLETE)));
        assert!(out.ends_with(&event(INCOMPLETE)));
        assert_eq!(
            (stream.state(), stream.usage().completion_tokens),
            (StreamState::Over(Outcome::Done), Some(30))
        );
    }

    #[test]
    fn the_id_of_a_response_is_known_once_it_begins() {
        let (_, stream) = relay(&[event(START).as_bytes()], Ending::Broken);
        assert_eq!(stream.response_id().as_deref(), Some("resp_1"));
        let (_, stream) = relay(&[event(ITEM).as_bytes()], Ending::Broken);
        assert_eq!(stream.response_id(), None);
    }

    /// The last event of a stream that failed.
    fn failed_event(text: &str) -> Value {
        let last = sse::events(text.as_bytes()).map(sse::parse).last().unwrap();
        assert_eq!(last.name, b"response.failed", "{text}");
        serde_json::from_slice(&last.data).unwrap()
    }

    #[test]
    fn a_stream_that_fails_ends_with_response_failed() {
        let begun = [START, ITEM].map(event).concat() + &word("a", 2);
        for (error, code, message) in [
            (event(FAILED), "rate_limit_exceeded", "Slow down"),
            (event(ERROR), "server_error", "boom"),
            (format!("data: {ERROR}\n\n"), "server_error", "boom"),
            (
                "event: error\ndata: upstream connect error\n\n".to_owned(),
                "server_error",
                "acme returned an error",
            ),
            (r#"data: {"error":{"message":"m","code":429}}"#.to_owned() + "\n\n", "rate_limit_exceeded", "m"),
        ] {
            for before in ["", &begun] {
                let (out, stream) = closed(&format!("{before}{error}data: [DONE]\n\n"));
                assert!(out.starts_with(before));
                let last = failed_event(&out);
                let response = &last["response"];
                assert_eq!(
                    (&response["status"], &response["error"]["code"]),
                    (&json!("failed"), &json!(code)),
                    "{out}"
                );
                assert!(response["error"]["message"].as_str().unwrap().contains(message), "{out}");
                assert_eq!(stream.state(), StreamState::Over(Outcome::UpstreamError));
                assert_eq!(stream.early_end().is_some(), before.is_empty());
                if !before.is_empty() {
                    assert_eq!((&response["id"], &response["model"]), (&json!("resp_1"), &json!("m")));
                }
            }
        }
    }

    #[test]
    fn the_numbers_have_no_gap_before_an_error() {
        let before = [event(START), event(ITEM), word("a", 2)].concat();
        let error = event(&ERROR.replace("\"sequence_number\":7", "\"sequence_number\":3"));
        let failed = event(&FAILED.replace("\"sequence_number\":7", "\"sequence_number\":4"));
        let all = format!("{before}{error}{failed}");
        for split in 0..=all.len() {
            let (one, other) = all.as_bytes().split_at(split);
            let (out, _) = relay(&[one, other], Ending::Closed);
            assert_eq!(failed_event(&out)["sequence_number"], 3, "{split}: {out}");
        }
    }

    #[test]
    fn an_incomplete_stream_ends_with_response_failed() {
        let text = complete(&[word("a", 2)]);
        let cut = text.strip_suffix(&event(END)).unwrap();
        for (ending, part) in [
            (Ending::Closed, cut.to_owned()),
            (Ending::Broken, cut.to_owned()),
            (Ending::Silent, cut.to_owned()),
            // Clients stop at this, so that they would not see the error.
            (Ending::Closed, format!("{cut}data: [DONE]\n\n")),
        ] {
            let (out, stream) = relay(&[part.as_bytes()], ending);
            assert!(out.starts_with(cut) && !out.contains("[DONE]"), "{out}");
            let last = failed_event(&out);
            assert_eq!((&last["sequence_number"], &last["response"]["id"]), (&json!(91), &json!("resp_1")));
            assert_eq!(last["response"]["error"]["code"], "server_error");
            assert_eq!(stream.state(), StreamState::Over(Outcome::Cut));
        }
        // Without the last empty line it is complete.
        let (out, stream) = closed(text.trim_end());
        assert_eq!((out, stream.state()), (text, StreamState::Over(Outcome::Done)));
    }

    #[test]
    fn a_whole_response_is_served_as_a_stream_and_an_error_document_as_an_error() {
        let response = r#"{"id":"resp_1","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}],"usage":{"input_tokens":3,"output_tokens":5}}"#;
        for text in [response.to_owned(), format!("\u{feff}{response}"), format!("{response}\n")] {
            let (out, stream) = closed(&text);
            assert!(
                out.starts_with("event: response.created\n") && out.contains("output_text.delta"),
                "{out}"
            );
            assert_eq!(stream.state(), StreamState::Over(Outcome::Done));
            assert_eq!(stream.usage().completion_tokens, Some(5));
            assert!(stream.early_end().is_none());
        }
        let (_, failed) = closed(r#"{"error":{"message":"full","code":"rate_limit_exceeded"}}"#);
        assert_eq!(failed.early_end().unwrap().status, 429);
        let (_, odd) = closed("<html>");
        assert!(odd.early_end().unwrap().is(Code::UpstreamInvalidResponse));
    }

    #[test]
    fn only_deltas_are_output() {
        let words: Vec<String> = (0..20).map(|number| word("word", number + 2)).collect();
        let (_, stream) = closed(&complete(&words));
        assert!((20..=24).contains(&stream.produced()), "{}", stream.produced());
        let calls = event(START) + &event(CALL) + &event(ITEM_DONE) + &event(ITEM_DONE);
        let (_, stream) = relay(&[calls.as_bytes()], Ending::Broken);
        assert_eq!(stream.produced(), 0);
    }

    proptest! {
        /// However the bytes are split, the caller sees the same events and the gateway the same usage.
        #[test]
        fn the_events_do_not_depend_on_the_split(
            crlf: bool,
            is_cut: bool,
            words in proptest::collection::vec("[a-z\"\\\\]{0,6}", 0..12),
            cuts in proptest::collection::vec(0usize..3000, 0..40),
        ) {
            let words: Vec<String> = words.iter().enumerate().map(|(at, text)| word(text, at + 2)).collect();
            let mut text = complete(&words);
            if is_cut {
                text.truncate(text.len() - event(END).len());
            }
            if crlf {
                text = text.replace('\n', "\r\n");
            }
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let (torn, torn_stream) = relay(&chunks, Ending::Closed);
            let (whole, stream) = closed(&text);
            // The last line break of CRLF may come behind the end.
            prop_assert_eq!(torn.trim_end(), whole.trim_end());
            prop_assert_eq!(torn_stream.usage(), stream.usage());
            prop_assert_eq!(torn_stream.state(), stream.state());
            prop_assert_eq!(torn_stream.produced(), stream.produced());
        }
    }
}
