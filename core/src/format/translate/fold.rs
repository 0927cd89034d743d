//! A stream that an upstream sends although a whole response was requested: read to its end and written as the whole
//! response. It is complete and paid for, so asking another lane would pay twice.
//!
//! Does not fold streams of several choices, which the neutral form does not have, nor streams of formats that no
//! server is known to send unasked: a caller of Messages or Responses whose request passes gets an error as before.

use std::rc::Rc;

use serde::Deserialize;

use super::formats::Reader;
use super::stream::read_event;
use super::{native, write};
use crate::conversation::carrier;
use crate::conversation::delta::Delta;
use crate::conversation::names;
use crate::error::Error;
use crate::format::request::{Responder, Translation};
use crate::format::size::BYTES_PER_TOKEN;
use crate::format::stream::{Ending, Outcome, Relayed, StreamState};
use crate::format::whole::{self, BOM, Whole};
use crate::framing::sse;
use crate::key::Secret;
use crate::operation::Format;

/// Reads a body that is a stream of events as a whole response. `None` if it is not one, or cannot be folded: then it
/// is checked as what was requested. `key` as in [`Responder::whole`].
pub fn fold(
    responder: &Responder,
    provider: &str,
    body: &[u8],
    key: Option<&Secret>,
) -> Option<Result<Whole, Error>> {
    let body = body.strip_prefix(BOM).unwrap_or(body);
    if !is_events(body) {
        return None;
    }
    let translation = match &responder.translation {
        Some(translation) => Rc::clone(translation),
        None if responder.format == Format::ChatCompletions => Rc::new(untranslated(body)?),
        None => return None,
    };
    let upstream = Responder { hide_usage: false, ..native(responder) };
    let mut stream = upstream.stream(provider, key.cloned(), body.len())?;
    let mut reader = Reader::new(responder.format, translation.maker)?;
    let mut events = match stream.push(body) {
        Relayed::AsIs => body.to_vec(),
        Relayed::Instead(bytes) => bytes,
    };
    events.extend(stream.end(Ending::Closed));
    let mut deltas: Vec<Delta> = Vec::new();
    for event in sse::events(&events) {
        read_event(&mut reader, event, &mut deltas);
    }
    if stream.state() != StreamState::Over(Outcome::Done) {
        let error = stream.error().cloned().or_else(|| stream.early_end());
        return Some(Err(error.unwrap_or_else(|| incomplete(provider))));
    }
    let Some((translated, usage)) = write(&translation, deltas, stream.usage()) else {
        return Some(Err(incomplete(provider)));
    };
    let estimate = stream.produced();
    let content = usize::try_from(estimate).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_TOKEN);
    let produced = if whole::is_plausible(&usage, content) { 0 } else { estimate };
    Some(Ok(Whole { usage, produced, has_bom: false, is_text: false, translated: Some(translated) }))
}

fn incomplete(provider: &str) -> Error {
    whole::invalid(provider, "an incomplete stream in place of a whole response")
}

/// Returns `true` if a body begins as a stream of events does, and no JSON can.
fn is_events(body: &[u8]) -> bool {
    let body = body.trim_ascii_start();
    ["data:", "event:", "id:", "retry:", ":"].iter().any(|field| body.starts_with(field.as_bytes()))
}

/// The parts of a chunk that decide whether it can be folded.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    created: Option<u64>,
    #[serde(default)]
    choices: Option<Vec<Choice>>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: Option<u64>,
}

/// The facts for a call that is not translated, from the stream itself. `None` if it has several choices.
fn untranslated(body: &[u8]) -> Option<Translation> {
    let mut created = 0;
    for event in sse::events(body) {
        let Ok(chunk) = serde_json::from_slice::<Chunk>(&sse::parse(event).data) else { continue };
        if chunk.choices.iter().flatten().any(|choice| choice.index > Some(0)) {
            return None;
        }
        created = created.max(chunk.created.unwrap_or(0));
    }
    Some(Translation {
        caller: Format::ChatCompletions,
        maker: carrier::unmarked(),
        model: String::new(),
        id: String::new(),
        wants_usage: true,
        created,
        aliases: names::Aliases::default(),
        echo: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const CHAT: Responder = Responder {
        format: Format::ChatCompletions,
        hide_usage: false,
        ends_without_done: false,
        translation: None,
    };

    fn chunk(choices: &str) -> String {
        format!(
            r#"data: {{"id":"chatcmpl-7","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[{choices}]}}"#
        )
    }

    fn stream(events: &[String]) -> String {
        events.iter().map(|event| format!("{event}\n\n")).collect()
    }

    fn told() -> String {
        stream(&[
            chunk(r#"{"index":0,"delta":{"role":"assistant","content":""}}"#),
            ": a comment".to_owned(),
            chunk(r#"{"index":0,"delta":{"content":"Hel"}}"#),
            chunk(r#"{"index":0,"delta":{"content":"lo"}}"#),
            chunk(r#"{"index":0,"delta":{},"finish_reason":"stop"}"#),
            r#"data: {"id":"chatcmpl-7","choices":[],"usage":{"prompt_tokens":4,"completion_tokens":2,"total_tokens":6}}"#.to_owned(),
            "data: [DONE]".to_owned(),
        ])
    }

    fn whole(body: &str) -> Result<(Whole, Value), Error> {
        let whole = CHAT.whole("acme", body.as_bytes(), None)?;
        let json = serde_json::from_slice(whole.translated.as_deref().unwrap_or(b"null")).unwrap();
        Ok((whole, json))
    }

    #[test]
    fn a_stream_becomes_the_whole_response() {
        for body in [told(), format!("\u{feff}{}", told()), format!("\r\n{}", told().replace('\n', "\r\n"))] {
            let (whole, json) = whole(&body).unwrap();
            assert_eq!(json["id"], "chatcmpl-7");
            assert_eq!(json["object"], "chat.completion");
            assert_eq!(json["created"], 1_700_000_000);
            assert_eq!(json["model"], "m");
            assert_eq!(json["choices"][0]["message"]["content"], "Hello");
            assert_eq!(json["choices"][0]["finish_reason"], "stop");
            assert_eq!(json["usage"]["total_tokens"], 6);
            assert_eq!((whole.usage.prompt_tokens, whole.usage.completion_tokens), (Some(4), Some(2)));
            assert_eq!(whole.produced, 0);
        }
    }

    #[test]
    fn tool_calls_are_joined() {
        let call = |part: &str| chunk(&format!(r#"{{"index":0,"delta":{{"tool_calls":[{part}]}}}}"#));
        let body = stream(&[
            call(r#"{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}"#),
            call(r#"{"index":0,"function":{"arguments":"{\"x\":"}}"#),
            call(r#"{"index":0,"function":{"arguments":"1}"}}"#),
            call(r#"{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}"#),
            chunk(r#"{"index":0,"delta":{},"finish_reason":"tool_calls"}"#),
            "data: [DONE]".to_owned(),
        ]);
        let (whole, json) = whole(&body).unwrap();
        let calls = &json["choices"][0]["message"]["tool_calls"];
        assert_eq!(calls[0]["function"], json!({ "name": "f", "arguments": "{\"x\":1}" }));
        assert_eq!(calls[1]["id"], "b");
        assert!(whole.produced > 0, "no usage was reported");
    }

    #[test]
    fn an_incomplete_stream_is_an_error() {
        let cut = told().replace("data: [DONE]\n\n", "");
        for body in [cut.as_str(), "data: [DONE]\n\n", ": only a comment\n\n", "data: {\"x\""] {
            assert!(whole(body).is_err(), "{body}");
        }
    }

    #[test]
    fn an_error_event_is_that_error() {
        let body = "data: {\"error\":{\"message\":\"slow down\",\"code\":429}}\n\ndata: [DONE]\n\n";
        assert_eq!(whole(body).unwrap_err().status, 429);
    }

    #[test]
    fn several_choices_are_not_folded() {
        let body = stream(&[
            chunk(r#"{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}"#),
            chunk(r#"{"index":1,"delta":{"content":"b"},"finish_reason":"stop"}"#),
            "data: [DONE]".to_owned(),
        ]);
        assert_eq!(whole(&body).unwrap_err().status, 502);
    }

    #[test]
    fn only_what_no_json_begins_with_is_a_stream() {
        for (body, expected) in [
            ("data: x", true),
            (" \n:ok", true),
            ("event:x", true),
            ("{\"data\":1}", false),
            ("\"data\"", false),
            ("", false),
        ] {
            assert_eq!(is_events(body.as_bytes()), expected, "{body}");
        }
    }
}
