//! However a stream is divided into chunks, the caller gets the same events and the gateway the same usage. The events
//! are the upstream's own, possibly without the usage that is hidden, and the last is `[DONE]` or an error.
#![no_main]

use std::collections::BTreeMap;

use gatehouse_core::format::request::Responder;
use gatehouse_core::format::stream::{Ending, Outcome, Relayed, ResponseStream, StreamState};
use gatehouse_core::framing::sse::{self, Event};
use gatehouse_core::operation::Format;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use serde_json::value::RawValue;

/// Sixteen bytes and the stream, so that seeds can be written by hand.
#[derive(Debug, arbitrary::Arbitrary)]
struct Input<'a> {
    hide_usage: bool,
    ends_without_done: bool,
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
    let whole = visible_events(&whole);
    assert_eq!(visible_events(&torn), whole);
    assert_eq!(torn_stream.usage(), whole_stream.usage());
    assert_eq!(torn_stream.state(), whole_stream.state());
    check(&input, &whole, &*whole_stream);

    let (bounded, stream) = relay(&input, &chunks, input.max_event.into());
    check(&input, &visible_events(&bounded), &*stream);
});

fn relay(input: &Input<'_>, chunks: &[&[u8]], max_event: usize) -> (Vec<u8>, Box<dyn ResponseStream>) {
    let Input { hide_usage, ends_without_done, .. } = *input;
    let responder = Responder { format: Format::ChatCompletions, hide_usage, ends_without_done, translation: None };
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
    (out, stream)
}

/// The events that a client gets.
fn visible_events(bytes: &[u8]) -> Vec<Event> {
    sse::events(bytes).map(sse::parse).filter(|event| !event.data.is_empty()).collect()
}

fn check(input: &Input<'_>, events: &[Event], stream: &dyn ResponseStream) {
    let Some((last, before)) = events.split_last() else { panic!("the stream ended silently") };
    if stream.state() == StreamState::Over(Outcome::Done) {
        assert_eq!(last.data, b"[DONE]");
    } else {
        let error: Value = serde_json::from_slice(&last.data).unwrap_or_default();
        assert!(error["error"]["message"].is_string(), "the stream ended with {last:?}");
    }
    let sent = visible_events(input.bytes);
    if sent.is_empty() || starts_with_document(input.bytes) {
        // A whole completion, which is served as a stream.
        return;
    }
    let mut sent = sent.iter();
    for event in before {
        assert_ne!(event.data, b"[DONE]");
        assert!(
            sent.any(|sent| sent == event || (input.hide_usage && is_without_usage(event, sent))),
            "the upstream sent nothing like {:?}",
            String::from_utf8_lossy(&event.data)
        );
    }
}

/// Returns `true` if a JSON document comes before the first event with data.
fn starts_with_document(bytes: &[u8]) -> bool {
    let is_document = |event: &[u8]| {
        let text = event.strip_prefix("\u{feff}".as_bytes()).unwrap_or(event).trim_ascii();
        text.starts_with(b"{") || text.starts_with(b"[")
    };
    sse::events(bytes).take_while(|event| sse::parse(event).data.is_empty()).any(is_document)
}

fn is_without_usage(event: &Event, sent: &Event) -> bool {
    let Some(mut expected) = members(&sent.data) else { return false };
    let is_hidden = expected.remove("usage").is_some();
    let mut found = members(&event.data).unwrap_or_default();
    // A chunk that had no list of choices gets one.
    if expected.get("choices").is_none_or(|choices| !choices.starts_with('[')) {
        expected.remove("choices");
        found.remove("choices");
    }
    is_hidden && found == expected
}

/// The fields of a JSON object in their original spelling.
fn members(data: &[u8]) -> Option<BTreeMap<String, String>> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_slice(data).ok()?;
    Some(members.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect())
}
