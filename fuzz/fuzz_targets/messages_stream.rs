//! However a stream of Messages that passes is divided into chunks, the caller gets the same events and the gateway the
//! same usage. The last event is `message_stop` or an error; a stream that is cut never looks complete.
#![no_main]

use gatehouse_core::format::request::Responder;
use gatehouse_core::format::stream::{Ending, Outcome, Relayed, ResponseStream, StreamState};
use gatehouse_core::framing::sse::{self, Event};
use gatehouse_core::operation::Format;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Sixteen bytes and the stream, as for `chat_stream`.
#[derive(Debug, arbitrary::Arbitrary)]
struct Input<'a> {
    _unused: [bool; 2],
    ending: u8,
    max_event: u8,
    /// The lengths of the chunks, repeated.
    lengths: [u8; 12],
    bytes: &'a [u8],
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
    assert_eq!(torn, whole);
    assert_eq!(torn_stream.usage(), whole_stream.usage());
    assert_eq!(torn_stream.state(), whole_stream.state());
    check(&whole, &*whole_stream);

    let (bounded, stream) = relay(&input, &chunks, input.max_event.into());
    check(&bounded, &*stream);
});

/// The events that a client gets, and the state of the stream.
fn relay(input: &Input<'_>, chunks: &[&[u8]], max_event: usize) -> (Vec<Event>, Box<dyn ResponseStream>) {
    let responder =
        Responder { format: Format::Messages, hide_usage: false, ends_without_done: false, translation: None };
    let Some(mut stream) = responder.stream("acme", None, max_event) else { panic!("no stream") };
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
    (sse::events(&out).map(sse::parse).filter(|event| !event.data.is_empty()).collect(), stream)
}

fn check(events: &[Event], stream: &dyn ResponseStream) {
    let Some((last, before)) = events.split_last() else { panic!("the stream ended silently") };
    let is_stop = |event: &Event| {
        let data: Value = serde_json::from_slice(&event.data).unwrap_or_default();
        event.name == b"message_stop" || data["type"] == "message_stop"
    };
    let is_done = stream.state() == StreamState::Over(Outcome::Done);
    assert_eq!((is_stop(last), before.iter().any(is_stop)), (is_done, false));
    if !is_done {
        let error: Value = serde_json::from_slice(&last.data).unwrap_or_default();
        assert!(last.name == b"error" && error["error"]["message"].is_string(), "the stream ended with {last:?}");
    }
}
