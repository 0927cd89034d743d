//! A streamed chat completion, or a legacy completion of a text: the grammar of its chunks.
//!
//! Two things are changed: usage that the gateway requested and the caller did not is hidden, and errors inside the
//! stream are converted to the gateway's error. [`EventRelay`] does the rest.

use std::ops::Range;

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::Error;
use crate::format::event_relay::{EventRelay, Glance, Grammar};
use crate::format::upstream_error;
use crate::format::whole::Whole;
use crate::framing::sse::{self, Event};
use crate::json::members::{self, Member, Members, is_empty_array};
use crate::json::scan;
use crate::key::Secret;
use crate::operation::Surface;
use crate::usage::Usage;

use super::{chunks, response};

/// The state of one stream.
pub type ChatStream = EventRelay<Chat>;

/// The part of the state that only chat completions have.
#[derive(Debug)]
pub struct Chat {
    hide_usage: bool,
    /// `true` if the provider's streams are known to end without `[DONE]`.
    ends_without_done: bool,
    /// `true` once a finish reason has arrived; only if `ends_without_done`.
    finished: bool,
    /// The data of the first event with content, if usage is hidden: what a chunk with usage has in common with it is no
    /// news.
    usual: Vec<u8>,
}

impl ChatStream {
    /// The state for a stream of a provider. `key`, the gateway's credential, is blotted out of errors; `max_event` is
    /// the maximum size of an event in bytes.
    pub fn new(
        provider: &str,
        key: Option<Secret>,
        hide_usage: bool,
        ends_without_done: bool,
        max_event: usize,
    ) -> ChatStream {
        let chat = Chat { hide_usage, ends_without_done, finished: false, usual: Vec::new() };
        EventRelay::of(provider, key, max_event, chat)
    }
}

impl Grammar for Chat {
    const SURFACE: Surface = Surface::OpenAi;

    fn glance(_event: &[u8], parsed: &Event) -> Glance {
        let document = parsed.data.trim_ascii();
        if document.is_empty() {
            return Glance::Nothing;
        }
        glance(document).unwrap_or(Glance::Doubtful)
    }

    fn began(&mut self, first: Event) {
        if self.hide_usage {
            self.usual = first.data;
        }
    }

    /// Most of the needles can only be JSON names, because quotes inside a JSON text are escaped.
    fn needs_inspection(&self, events: &[u8]) -> bool {
        let has = |needle: &[u8]| memmem::find(events, needle).is_some();
        [&b"\"usage\""[..], b"error", b"[DONE]", b"\"base_resp\"", b"\"timings\""].into_iter().any(has)
            || (self.ends_without_done && has(FINISH_REASON))
    }

    fn relay_plain(&self, event: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(null_usage) = plain_null_usage(event).filter(|_| !self.ends_without_done) else {
            return false;
        };
        let (visible, rest) = event.split_at_checked(null_usage.start).unwrap_or((event, &[]));
        out.extend_from_slice(visible);
        let hidden = if self.hide_usage { null_usage.len() } else { 0 };
        out.extend_from_slice(rest.get(hidden..).unwrap_or_default());
        true
    }

    fn last<'e>(event: &'e [u8], parsed: &Event) -> Option<&'e [u8]> {
        // Clients compare it as a whole.
        let is_exact = parsed.data == DONE;
        (parsed.data.trim_ascii() == DONE).then_some(if is_exact { event } else { DONE_EVENT })
    }

    /// A document is only parsed if it has a sign of an error.
    fn error_in(provider: &str, document: &[u8], is_named: bool, key: Option<&Secret>) -> Option<Error> {
        let mut has_answer = false;
        if let Ok([choices, error, base_resp]) = members::pick(document, &["choices", "error", "base_resp"]) {
            let choices = choices.map(|choices| choices.value).filter(|choices| choices.starts_with('['));
            has_answer = choices.is_some();
            let is_inside =
                || choices.is_some_and(|choices| memmem::find(choices.as_bytes(), b"\"error\"").is_some());
            let is_told = error.is_some_and(|error| !upstream_error::is_nothing(error.value));
            if !is_named && has_answer && !is_told && base_resp.is_none() && !is_inside() {
                return None;
            }
        } else if !is_named && !document.starts_with(b"[") {
            return None;
        }
        upstream_error::in_event(provider, document, is_named, has_answer, key)
    }

    fn inspect(&mut self, event: &[u8], data: &[u8], usage: &mut Usage, out: &mut Vec<u8>) -> bool {
        let Inspected { visible, has_content } = self.usage_of(event, data, usage);
        match visible {
            Visible::AsIs => out.extend_from_slice(event),
            Visible::Nothing => {}
            Visible::Instead(data) => sse::write_with_data(event, &data, out),
        }
        has_content
    }

    fn of_whole(
        &self,
        provider: &str,
        document: &[u8],
        key: Option<&Secret>,
    ) -> Result<Option<(Vec<u8>, Whole)>, Error> {
        let whole = response::check(provider, document, key)?;
        let events = chunks::of_whole(document, self.hide_usage);
        Ok(events.map(|events| ([&events, DONE_EVENT].concat(), whole)))
    }

    fn completion(&self, usage: &Usage) -> Option<&'static [u8]> {
        (self.finished && usage.is_known()).then_some(DONE_EVENT)
    }
}

impl Chat {
    /// Stores the usage in a chunk, and decides which part of the chunk the caller sees.
    fn usage_of(&mut self, event: &[u8], data: &[u8], known: &mut Usage) -> Inspected {
        let Ok([choices, usage, x_groq, timings]) =
            members::pick(data, &["choices", "usage", "x_groq", "timings"])
        else {
            return Inspected { visible: Visible::AsIs, has_content: !data.is_empty() };
        };
        let list = choices.as_ref().map(|choices| choices.value).filter(|choices| choices.starts_with('['));
        let is_empty = list.is_none_or(is_empty_array);
        let inspected = |visible| Inspected { visible, has_content: !is_empty };
        self.finished |= self.ends_without_done && list.is_some_and(has_finish_reason);
        let reported = usage.as_ref().and_then(|usage| Usage::read(usage.value));
        let [x_groq, timings] = [x_groq, timings].map(|member| member.map(|member| member.value));
        *known = response::beside(
            known.larger(reported.unwrap_or_default()),
            list.unwrap_or_default(),
            x_groq,
            timings,
        );
        let Some(usage) = usage else { return inspected(Visible::AsIs) };
        inspected(if !self.hide_usage {
            Visible::AsIs
        } else if reported.is_none() {
            Visible::Instead(members::splice(data, &[(usage.extent, Vec::new())]))
        } else if is_empty && sse::is_data_alone(event) && says_nothing_else(data, &self.usual) {
            Visible::Nothing
        } else {
            Visible::Instead(without_usage(
                data,
                &usage,
                choices.filter(|_| list.is_none()).as_ref(),
                list.is_some(),
            ))
        })
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

/// The data of the last event.
const DONE: &[u8] = b"[DONE]";
const DONE_EVENT: &[u8] = b"data: [DONE]\n\n";
/// The name of the field that says that a choice is complete.
const FINISH_REASON: &[u8] = b"\"finish_reason\"";
/// The members of a chunk that are only its frame: without choices and usage, they tell the caller nothing.
const FRAME: [&str; 10] = [
    "id",
    "object",
    "created",
    "model",
    "choices",
    "usage",
    "system_fingerprint",
    "service_tier",
    "provider",
    "obfuscation",
];

/// Returns `true` if a chunk has nothing but its frame, its usage, and what the `usual` chunks have too.
fn says_nothing_else(data: &[u8], usual: &[u8]) -> bool {
    let usual = Members::read(usual, &[]).ok();
    let is_usual = |name: &str, value: &str| {
        usual.as_ref().and_then(|usual| usual.get(name)).is_some_and(|member| member.value == value)
    };
    Members::read(data, &[]).is_ok_and(|members| {
        members.iter().all(|(name, member)| {
            FRAME.contains(&name) || upstream_error::is_nothing(member.value) || is_usual(name, member.value)
        })
    })
}

/// A chunk without its usage, and with a list of choices, which clients rely on. `choices` is the member if it is no
/// list.
fn without_usage(data: &[u8], usage: &Member<'_>, choices: Option<&Member<'_>>, has_list: bool) -> Vec<u8> {
    let mut changes = vec![(usage.extent.clone(), Vec::new())];
    if let Some(choices) = choices {
        changes.push((choices.place.clone(), b"[]".to_vec()));
    } else if !has_list && let Ok(members) = Members::read(data, &[]) {
        let comma = if members.iter().count() > 1 { "," } else { "" };
        changes.push((members.end..members.end, format!("{comma}\"choices\":[]").into_bytes()));
    }
    changes.sort_by_key(|(place, _)| place.start);
    members::splice(data, &changes)
}

/// Returns `true` if every choice of a chunk has its finish reason.
fn has_finish_reason(choices: &str) -> bool {
    let choices: Vec<Choice<'_>> = serde_json::from_str(choices).unwrap_or_default();
    !choices.is_empty() && choices.iter().all(|choice| choice.finish().is_some())
}

/// A usage that is not known yet, as a field that is not the first.
const NULL_USAGE: &[u8] = b",\"usage\":null";
/// A field of events that have no content.
const NO_CHOICES: &[u8] = b"\"choices\":[]";

/// The part of a tool call's first event that is not the call itself, in bytes: field names and an id.
const TOOL_CALL_FRAME: usize = 90;

/// The class of a chunk, as long as there has been no content; `None` if it is none.
fn glance(document: &[u8]) -> Option<Glance> {
    let [choices, error] = members::pick(document, &["choices", "error"]).ok()?;
    let is_error = error.is_some_and(|error| !upstream_error::is_nothing(error.value));
    let choices = choices.filter(|choices| choices.value.starts_with('[') && !is_error)?;
    let choices: Vec<Choice<'_>> = serde_json::from_str(choices.value).unwrap_or_default();
    let mut sum = None;
    for choice in choices {
        if choice.error.is_some_and(|error| !upstream_error::is_nothing(error.get())) {
            return None;
        }
        if choice.finish().is_some_and(|reason| reason != "\"error\"") {
            sum = sum.or(Some(0));
        }
        let members = choice.delta.and_then(|delta| Members::read(delta.get().as_bytes(), &["role"]).ok());
        for (name, member) in members.iter().flat_map(Members::iter) {
            if name != "role" && !is_nothing(member.value) {
                let frame = if member.value.starts_with('"') { 2 } else { TOOL_CALL_FRAME };
                sum = Some(sum.unwrap_or(0) + member.value.len().saturating_sub(frame));
            }
        }
        if let Some(text) = choice.text.map(RawValue::get).filter(|text| !is_nothing(text)) {
            sum = Some(sum.unwrap_or(0) + text.len().saturating_sub(2));
        }
    }
    Some(sum.map_or(Glance::Nothing, Glance::Content))
}

fn is_nothing(value: &str) -> bool {
    matches!(value, "null" | "\"\"") || is_empty_array(value)
}

/// The fields of a choice that decide whether it has content.
#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    /// Of legacy completions, in place of `delta`.
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl<'a> Choice<'a> {
    /// The finish reason as written. Some servers write an empty text or the word "null" for none.
    fn finish(&self) -> Option<&'a str> {
        self.finish_reason
            .map(RawValue::get)
            .filter(|reason| !matches!(*reason, "\"\"" | "\"null\"" | "null"))
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::format::event_relay::Found;
    use crate::format::stream::{Ending, Outcome, Relayed, ResponseStream, StreamState};
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
            let mut slow = ChatStream::new("p", None, hide_usage, false, 1_000_000);
            let mut expected = Vec::new();
            slow.relay_event(event.as_bytes(), false, &mut expected);
            let mut quick = ChatStream::new("p", None, hide_usage, false, 1_000_000);
            let relayed = quick.relay(event.as_bytes(), Found { start: 0, is_doubtful: false, had_events: false });
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
        cache_write_1h_tokens: None,
        completion_tokens: Some(5),
        reasoning_tokens: None,
        image_tokens: None,
        units: crate::unit::Units::NONE,
    };

    fn relay(hide_usage: bool, chunks: &[&[u8]], ending: Ending) -> (String, ChatStream) {
        let mut stream = ChatStream::new("acme", None, hide_usage, false, 1000);
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
        let nothing = "data: {\"choices\":[],\"usage\":{}}\n\n";
        let zeros = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}\n\n";
        for reports in [[preview, USAGE], [USAGE, preview], [USAGE, nothing], [USAGE, zeros], [zeros, USAGE]]
        {
            let text = [&reports.concat(), CONTENT, DONE].concat();
            let most = if reports.contains(&preview) { Some(9) } else { Some(3) };
            assert_eq!(
                closed(false, &text).1.usage(),
                Usage { prompt_tokens: most, ..REPORTED },
                "the largest numbers count: {text}"
            );
        }
    }

    #[test]
    fn hidden_usage_takes_nothing_else_along_and_leaves_chunks_that_clients_can_read() {
        let usage = r#""usage":{"prompt_tokens":3,"completion_tokens":5}"#;
        for (event, visible) in [
            (format!("data: {{\"id\":\"a\",\"choices\":null,{usage}}}\n\n"), String::new()),
            (format!("data: {{\"id\":\"a\",{usage}}}\n\n"), String::new()),
            (format!("data: {{{usage}}}\n\n"), String::new()),
            ("data: {\"id\":\"a\",\"choices\":[],\"usage\":{}}\n\n".to_owned(), String::new()),
            // What the usual chunks have too.
            (format!("data: {{\"vendor\":1,\"choices\":[],{usage}}}\n\n"), String::new()),
            (
                format!("data: {{\"id\":\"a\",\"choices\":[],{usage},\"timings\":{{\"x\":1}}}}\n\n"),
                "data: {\"id\":\"a\",\"choices\":[],\"timings\":{\"x\":1}}\n\n".to_owned(),
            ),
            (
                format!("data: {{\"choices\":null,{usage},\"timings\":{{\"x\":1}}}}\n\n"),
                "data: {\"choices\":[],\"timings\":{\"x\":1}}\n\n".to_owned(),
            ),
            (
                format!("data: {{{usage},\"timings\":{{\"x\":1}}}}\n\n"),
                "data: {\"timings\":{\"x\":1},\"choices\":[]}\n\n".to_owned(),
            ),
            (
                format!("event: message\nid: 3\ndata: {{\"choices\":[{{\"delta\":{{}}}}],{usage}}}\n\n"),
                "event: message\nid: 3\ndata: {\"choices\":[{\"delta\":{}}]}\n\n".to_owned(),
            ),
            (
                format!("id: 3\r\ndata: {{{usage}}}\r\n\r\n"),
                "id: 3\r\ndata: {\"choices\":[]}\r\n\r\n".to_owned(),
            ),
        ] {
            let first = VISIBLE.replace("}\n\n", ",\"vendor\":1}\n\n");
            let (out, stream) = closed(true, &[&first, &event, DONE].concat());
            assert_eq!(out, [&first, &visible, DONE].concat(), "{event}");
            let reported = if event.contains("{}") && event.contains("usage\":{}") {
                Usage::default()
            } else {
                REPORTED
            };
            assert_eq!(stream.usage(), reported, "{event}");
            assert_eq!(closed(false, &[VISIBLE, &event, DONE].concat()).0, [VISIBLE, &event, DONE].concat());
        }
    }

    #[test]
    fn usage_is_read_from_choices_and_timings() {
        for chunk in [
            r#"{"choices":[{"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":3,"completion_tokens":5}}]}"#,
            r#"{"choices":[],"timings":{"prompt_n":3,"predicted_n":5}}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":"3","completion_tokens":4.25}}"#,
        ] {
            let (_, stream) = closed(true, &[CONTENT, "data: ", chunk, "\n\n", DONE].concat());
            assert_eq!(stream.usage(), REPORTED, "{chunk}");
        }
    }

    #[test]
    fn errors_before_the_content_are_found_in_every_position() {
        for (text, status, message) in [
            ("data: {\"error\":{\"message\":\"m\",\"code\":503}}\n\n", 503, "m"),
            ("\u{feff}data: {\"error\":{\"message\":\"m\",\"code\":503}}\n\n", 503, "m"),
            ("data: [{\"error\":{\"message\":\"m\",\"code\":429}}]\n\n", 429, "m"),
            ("error: {\"message\":\"m\",\"code\":429}\n\n", 429, "m"),
            ("{\"error\":{\"message\":\"m\",\"code\":429}}", 429, "m"),
            ("{\"error\":{\"message\":\"m\",\"code\":429}}\n\n", 429, "m"),
            ("\n\n\u{feff}{\"error\":{\"message\":\"m\",\"code\":429}}\n", 429, "m"),
            ("[{\"error\":{\"message\":\"m\",\"code\":429}}]", 429, "m"),
            ("{\"message\":\"m\"}", 502, "m"),
            ("data: {\"error\":{\"message\":\"m\",\"code\":429}}\n", 429, "m"),
            (
                "data: {\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\",\"error\":{\"code\":429,\"message\":\"m\"}}]}\n\n",
                429,
                "m",
            ),
            (
                "data: {\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":\"\"}]}\n\ndata: {\"error\":{\"message\":\"m\",\"code\":503}}\n\n",
                503,
                "m",
            ),
            (
                "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"null\"}]}\n\ndata: {\"error\":{\"message\":\"m\",\"code\":503}}\n\n",
                503,
                "m",
            ),
            (
                "data: {\"choices\":null,\"base_resp\":{\"status_code\":1002,\"status_msg\":\"m\"}}\n\n",
                429,
                "m",
            ),
            ("data: {\"detail\":\"m\"}\n\n", 502, "m"),
            ("data: {\"code\":\"odd\",\"msg\":\"m\"}\n\n", 502, "m"),
            (
                ": ping\n\nevent: error\ndata: upstream connect error\n\n",
                502,
                "acme returned an error without an error message",
            ),
            ("<html>", 502, "acme returned neither an event stream nor a JSON object"),
            ("{\"object\":\"list\"}", 502, "acme returned a JSON object without 'choices'"),
        ] {
            for size in [1000, 7, 1] {
                let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                let (out, stream) = relay(true, &chunks, Ending::Closed);
                let error = stream.early_end().unwrap_or_else(|| panic!("{text}: {out}"));
                assert_eq!((error.status, error.message.as_str()), (status, message), "{text}");
            }
        }
    }

    #[test]
    fn errors_after_the_content_are_found_too() {
        for text in [
            "data: [{\"error\":{\"message\":\"m\"}}]\n\n",
            "error: {\"message\":\"m\"}\n\n",
            "{\"error\":{\"message\":\"m\"}}",
            "{\"error\":{\"message\":\"m\"}}\n\n",
            "data: {\"error\":{\"message\":\"m\"}}",
            "data: {\"choices\":[{\"error\":{\"message\":\"m\"}}]}\n\n",
            "data: {\"base_resp\":{\"status_code\":1,\"status_msg\":\"m\"}}\n\n",
        ] {
            let (_, stream) = closed(true, &[VISIBLE, text].concat());
            assert_eq!(stream.state(), StreamState::Over(Outcome::UpstreamError), "{text}");
            assert_eq!(stream.error().unwrap().message, "m", "{text}");
        }
    }

    #[test]
    fn an_error_that_says_nothing_is_none() {
        for nothing in ["\"\"", "null", "false", "{}", "{\"message\":\"\",\"code\":0}"] {
            let event = CONTENT.replace("}\n\n", &format!(",\"error\":{nothing}}}\n\n"));
            let (out, stream) = closed(false, &[&event, USAGE, DONE].concat());
            assert_eq!(out, [&event, USAGE, DONE].concat());
            assert_eq!(stream.early_end(), None, "{nothing}");
        }
    }

    #[test]
    fn a_whole_completion_is_served_as_a_stream() {
        let body = r#"{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"fine"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":5}}"#;
        for text in [body.to_owned(), format!("\u{feff}{body}\n"), format!("\n\n  {body}\n\n")] {
            for (hide_usage, size) in [(true, 2000), (false, 2000), (true, 1), (false, 7)] {
                let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                let (out, stream) = relay(hide_usage, &chunks, Ending::Closed);
                assert_eq!(stream.state(), StreamState::Over(Outcome::Done), "{out}");
                assert_eq!((stream.early_end(), stream.usage()), (None, REPORTED), "{out}");
                assert_eq!(out.matches("\"id\":\"c1\"").count(), if hide_usage { 2 } else { 3 }, "{out}");
                assert_eq!(out.contains("prompt_tokens"), !hide_usage, "{out}");
                assert!(out.trim_start().starts_with("data: {") && out.ends_with(DONE), "{out}");
            }
        }
        let (_, cut) = relay(true, &[body.as_bytes()], Ending::Broken);
        assert_eq!(cut.state(), StreamState::Over(Outcome::Cut));
        let (_, cut) = relay(true, &[&body.as_bytes()[..100]], Ending::Closed);
        assert!(cut.early_end().unwrap().is(Code::UpstreamInvalidResponse));
    }

    #[test]
    fn done_may_have_blanks() {
        for done in ["data: [DONE] \n\n", "data:  [DONE]\n\n", "data: [DONE]\t", "data: [DONE] \r\n\r\n"] {
            let (out, stream) = closed(false, &[CONTENT, done].concat());
            assert_eq!(out, [CONTENT, DONE].concat(), "{done}");
            assert_eq!(stream.state(), StreamState::Over(Outcome::Done));
        }
    }

    #[test]
    fn without_done_a_stream_is_complete_only_if_its_provider_is_known_for_it() {
        let finish = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n";
        let empty = finish.replace("\"stop\"", "\"\"");
        for (text, ending, is_complete) in [
            ([CONTENT, finish, USAGE].concat(), Ending::Closed, true),
            ([CONTENT, finish, USAGE.trim_end()].concat(), Ending::Closed, true),
            ([CONTENT, finish, USAGE].concat(), Ending::Broken, false),
            ([CONTENT, finish].concat(), Ending::Closed, false),
            ([CONTENT, USAGE].concat(), Ending::Closed, false),
            ([CONTENT, &empty, USAGE].concat(), Ending::Closed, false),
        ] {
            for ends_without_done in [true, false] {
                let mut stream = ChatStream::new("acme", None, true, ends_without_done, 1000);
                stream.push(text.as_bytes());
                let last = stream.end(ending);
                let is_done = stream.state() == StreamState::Over(Outcome::Done);
                assert_eq!(is_done, is_complete && ends_without_done, "{text}");
                assert_eq!(last == DONE_EVENT, is_done, "{text}");
            }
        }
    }

    #[test]
    fn the_least_that_was_produced_is_estimated() {
        let text = |deltas: &[String]| streamed(deltas, "", "").0;
        let content = |text: &str| format!("\"content\":\"{text}\"");
        for (deltas, least) in [
            (vec![content("word "); 40], 40),
            (vec![content("w"); 40], 10),
            (vec![content(&"A".repeat(400)); 1], 1),
        ] {
            assert_eq!(closed(true, &text(&deltas)).1.surely_produced(), least, "{deltas:?}");
        }
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
