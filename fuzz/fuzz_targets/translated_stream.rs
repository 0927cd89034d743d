//! However a stream that is translated is divided into chunks, the caller gets the same bytes and the gateway the same
//! usage. The last event is the end of the caller's format, or an error; a stream that is cut never looks complete.
#![no_main]

use std::rc::Rc;

use gatehouse_core::conversation::carrier::Maker;
use gatehouse_core::format::request::{Responder, Translation};
use gatehouse_core::format::stream::{Ending, Outcome, Relayed, ResponseStream, StreamState};
use gatehouse_core::format::translate;
use gatehouse_core::framing::sse::{self, Event};
use gatehouse_core::operation::Format;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Sixteen bytes and the stream, so that seeds can be written by hand, and are those of `chat_stream` too.
#[derive(Debug, arbitrary::Arbitrary)]
struct Input<'a> {
    wants_usage: bool,
    ends_without_done: bool,
    /// How the stream ends, and the caller's format.
    ending: u8,
    max_event: u8,
    /// The lengths of the chunks, repeated.
    lengths: [u8; 12],
    bytes: &'a [u8],
}

impl Input<'_> {
    fn caller(&self) -> Format {
        match self.ending / 3 % 3 {
            0 => Format::ChatCompletions,
            1 => Format::Messages,
            _ => Format::Responses,
        }
    }
}

fuzz_target!(|input: Input<'_>| {
    let mut rest = input.bytes;
    let mut chunks = Vec::new();
    for length in input.lengths.iter().cycle().take(input.bytes.len()) {
        let (chunk, after) = rest.split_at(rest.len().min((*length).into()));
        chunks.push(chunk);
        rest = after;
    }
    chunks.push(rest);

    let (whole, whole_stream) = relay(&input, &[input.bytes], usize::MAX);
    let (torn, torn_stream) = relay(&input, &chunks, usize::MAX);
    assert_eq!(String::from_utf8(torn), String::from_utf8(whole.clone()));
    assert_eq!(torn_stream.usage(), whole_stream.usage());
    assert_eq!(torn_stream.state(), whole_stream.state());
    check(&input, &whole, &*whole_stream);

    let (bounded, stream) = relay(&input, &chunks, input.max_event.into());
    check(&input, &bounded, &*stream);
});

fn relay(input: &Input<'_>, chunks: &[&[u8]], max_event: usize) -> (Vec<u8>, Box<dyn ResponseStream>) {
    let Input { wants_usage, ends_without_done, .. } = *input;
    let responder = Responder { format: Format::ChatCompletions, hide_usage: false, ends_without_done, translation: None };
    let translation = Rc::new(Translation {
        caller: input.caller(),
        maker: Maker::of("acme", "m"),
        model: "m".to_owned(),
        id: "0".to_owned(),
        wants_usage,
        created: 0,
        aliases: [].into(),
        echo: None,
    });
    let Some(mut stream) = translate::stream(&responder, &translation, "acme", None, max_event) else {
        panic!("no stream")
    };
    let mut out = Vec::new();
    for chunk in chunks {
        match stream.push(chunk) {
            Relayed::AsIs => out.extend_from_slice(chunk),
            Relayed::Instead(bytes) => out.extend_from_slice(&bytes),
        }
    }
    let ending = match input.ending % 3 {
        0 => Ending::Closed,
        1 => Ending::Broken,
        _ => Ending::Silent,
    };
    out.extend_from_slice(&stream.end(ending));
    assert_eq!(stream.push(b"data: late\n\n"), Relayed::Instead(Vec::new()));
    assert_eq!(stream.end(ending), b"");
    (out, stream)
}

fn check(input: &Input<'_>, bytes: &[u8], stream: &dyn ResponseStream) {
    let events: Vec<Event> = sse::events(bytes).map(sse::parse).collect();
    let Some((last, before)) = events.split_last() else { panic!("the stream ended silently") };
    let is_done = stream.state() == StreamState::Over(Outcome::Done) && stream.early_end().is_none();
    if input.caller() == Format::Responses {
        let is_end = |event: &Event| matches!(event.name.as_slice(), b"response.completed" | b"response.incomplete");
        assert_eq!((is_end(last), before.iter().any(is_end)), (is_done, false));
        assert!(is_done || last.name == b"response.failed", "the stream ended with {last:?}");
        return;
    }
    if input.caller() == Format::Messages {
        let is_whole = before.iter().any(|event| event.name == b"message_delta");
        assert_eq!((last.name == b"message_stop", is_whole), (is_done, is_done));
        assert!(is_done || last.name == b"error", "the stream ended with {last:?}");
        return;
    }
    if last.data == b"[DONE]" {
        assert!(is_done, "a stream that is not complete looks so");
    } else {
        let error: Value = serde_json::from_slice(&last.data).unwrap_or_default();
        assert!(error["error"]["message"].is_string(), "the stream ended with {last:?}");
    }
    let chunks: Vec<Value> =
        before.iter().map(|event| serde_json::from_slice(&event.data).unwrap_or_default()).collect();
    let finish = |chunk: &Value| chunk["choices"][0]["finish_reason"].is_string();
    assert_eq!(chunks.iter().filter(|chunk| finish(chunk)).count(), usize::from(last.data == b"[DONE]"));
    let has_usage = chunks.last().is_some_and(|chunk| !chunk["usage"].is_null());
    assert!(input.wants_usage || !has_usage, "usage that nobody asked for");
    assert!(chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk"));
}
