//! Streamed media: events with parts of an image, of speech or of a transcript, and speech as bytes.
//!
//! Events pass unchanged. The one with the usage is the last of its image, of the speech or of the transcript; such a stream ends with the
//! body, without `[DONE]`. Nothing of the content is read: an event may have megabytes.
//!
//! Bytes pass as they come: sound, and images or vectors as one JSON object, of which only the end is read. A response whose first bytes are a JSON object may be an error: it is held until that is
//! certain.

use std::fmt::Write as _;

use memchr::memmem;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::audio;
use super::embeddings::{self, input_tokens};
use super::event_relay::{EventRelay, Glance, Grammar};
use super::objects;
use super::stream::{Ending, Outcome, Relayed, ResponseStream, StreamState};
use super::upstream_error;
use super::whole::{self, Whole};
use crate::error::{Code, Error};
use crate::framing::sse::Event;
use crate::json::members;
use crate::key::Secret;
use crate::operation::{Format, Surface};
use crate::unit::{Unit, Units};
use crate::usage::Usage;

/// The part of the state that only media have.
#[derive(Debug)]
pub struct Media {
    /// The format of the stream.
    format: Format,
    /// `true` once an image, the speech or the transcript is complete.
    is_complete: bool,
}

/// The state for a stream of events in a format. `key`, the gateway's credential, is blotted out of errors; `max_event`
/// is the maximum size of an event in bytes.
pub fn of_events(format: Format, provider: &str, key: Option<Secret>, max_event: usize) -> EventRelay<Media> {
    EventRelay::of(provider, key, max_event, Media { format, is_complete: false })
}

const DONE: &[u8] = b"[DONE]";
/// The ends of the types of events with which an image or the speech is complete.
const ENDS: [&str; 2] = [".completed\"", ".done\""];

impl Grammar for Media {
    const SURFACE: Surface = Surface::OpenAi;

    fn glance(_event: &[u8], parsed: &Event) -> Glance {
        let document = parsed.data.trim_ascii();
        match members::pick(document, &["type", "error"]) {
            _ if document.is_empty() => Glance::Nothing,
            Ok([Some(kind), None]) if kind.value != "\"error\"" && parsed.name != b"error" => {
                Glance::Content(0)
            }
            _ => Glance::Doubtful,
        }
    }

    /// A needle with a quote can only be a part of a type or a name, because quotes inside a JSON text are escaped.
    fn needs_inspection(&self, events: &[u8]) -> bool {
        let has = |needle: &[u8]| memmem::find(events, needle).is_some();
        ENDS.iter().any(|end| has(end.as_bytes())) || has(b"\"error\"") || has(b"event: error") || has(DONE)
    }

    fn last<'e>(event: &'e [u8], parsed: &Event) -> Option<&'e [u8]> {
        (parsed.data.trim_ascii() == DONE).then_some(event)
    }

    fn counts(_line: &[u8]) -> bool {
        false
    }

    fn error_in(provider: &str, document: &[u8], is_named: bool, key: Option<&Secret>) -> Option<Error> {
        let is_part = || matches!(members::pick(document, &["type", "error"]), Ok([Some(kind), None]) if kind.value != "\"error\"");
        if !is_named && is_part() {
            return None;
        }
        upstream_error::in_event(provider, document, is_named, false, key)
    }

    fn inspect(&mut self, event: &[u8], data: &[u8], usage: &mut Usage, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(event);
        let Ok([Some(kind), report]) = members::pick(data.trim_ascii(), &["type", "usage"]) else {
            return true;
        };
        if ENDS.iter().any(|end| kind.value.ends_with(end)) {
            self.is_complete = true;
            let is_image = kind.value.starts_with("\"image");
            let read = report.and_then(|report| match kind.value {
                _ if is_image => objects::of_image_usage(report.value),
                kind if kind.starts_with("\"transcript") => audio::usage(report.value),
                _ => of_speech(report.value),
            });
            let image = Units::default().with(Unit::Image, is_image.then_some(1));
            // Each image has an event of its own.
            *usage = usage.plus(read.unwrap_or_default()).plus(Usage { units: image, ..Usage::default() });
        }
        true
    }

    fn of_whole(
        &self,
        provider: &str,
        document: &[u8],
        key: Option<&Secret>,
    ) -> Result<Option<(Vec<u8>, Whole)>, Error> {
        let (whole, events) = match self.format {
            Format::Transcriptions | Format::Translations => {
                (audio::check(provider, document, key)?, audio::events_of(document))
            }
            Format::ImageEdits => {
                (objects::check(Format::Images, provider, document, key)?, events_of("image_edit", document))
            }
            _ => (
                objects::check(Format::Images, provider, document, key)?,
                events_of("image_generation", document),
            ),
        };
        Ok(events.map(|events| (events, whole)))
    }

    fn completion(&self, _usage: &Usage) -> Option<&'static [u8]> {
        self.is_complete.then_some(&[])
    }
}

/// Images that were returned in place of a stream, as its events: asking again would be paid for twice.
fn events_of(prefix: &str, document: &[u8]) -> Option<Vec<u8>> {
    let kind = format!("{prefix}.completed");
    let Ok(Value::Object(mut whole)) = serde_json::from_slice(document) else { return None };
    let Some(Value::Array(images)) = whole.remove("data") else { return None };
    let created = whole.remove("created").unwrap_or_default();
    let mut usage = whole.remove("usage");
    let mut events = String::new();
    for image in images {
        let Value::Object(mut event) = image else { continue };
        event.insert("type".to_owned(), kind.as_str().into());
        event.insert("created_at".to_owned(), created.clone());
        event.extend(whole.clone());
        event.extend(usage.take().map(|usage| ("usage".to_owned(), usage)));
        // Writing to a String cannot fail.
        let _ = write!(events, "event: {kind}\ndata: {}\n\n", json!(event));
    }
    (!events.is_empty()).then(|| events.into_bytes())
}

/// The usage of speech: its output is audio.
fn of_speech(text: &str) -> Option<Usage> {
    let usage = Usage::read(text)?;
    Some(Usage { units: Units::default().with(Unit::AudioOutput, usage.completion_tokens), ..usage })
}

/// Speech: bytes, or events with parts of it. The first bytes decide.
#[derive(Debug)]
pub struct Audio {
    provider: String,
    key: Option<Secret>,
    max_event: usize,
    kind: Kind,
    outcome: Option<Outcome>,
    error: Option<Error>,
}

#[derive(Debug)]
enum Kind {
    /// Not known yet. Holds what has arrived.
    Unknown(Vec<u8>),
    /// Bytes.
    Bytes,
    /// Events.
    Events(Box<EventRelay<Media>>),
}

/// The beginnings of a stream of events.
const FIELDS: [&[u8]; 3] = [b"event:", b"data:", b":"];
/// The size of a JSON object, in bytes, above which it is no error but sound that happens to begin as an object does.
const MOST_OF_ERROR: usize = 64 * 1024;

impl Audio {
    /// The state for speech of a provider. The arguments are those of [`of_events`].
    pub fn new(provider: &str, key: Option<Secret>, max_event: usize) -> Audio {
        let provider = provider.to_owned();
        Audio { provider, key, max_event, kind: Kind::Unknown(Vec::new()), outcome: None, error: None }
    }

    /// Ends the stream with an error.
    fn fail(&mut self, error: Error, outcome: Outcome) {
        self.outcome = Some(outcome);
        self.error = Some(error);
    }
}

impl ResponseStream for Audio {
    fn push(&mut self, chunk: &[u8]) -> Relayed {
        match &mut self.kind {
            Kind::Bytes => Relayed::AsIs,
            Kind::Events(events) => events.push(chunk),
            Kind::Unknown(start) => {
                start.extend_from_slice(chunk);
                let is_field = |field: &&[u8]| start.starts_with(field);
                let may_be_field = |field: &&[u8]| field.starts_with(start);
                if FIELDS.iter().any(is_field) {
                    let start = std::mem::take(start);
                    let mut events =
                        Box::new(of_events(Format::Speech, &self.provider, self.key.clone(), self.max_event));
                    let relayed = match events.push(&start) {
                        Relayed::AsIs => Relayed::Instead(start),
                        relayed @ Relayed::Instead(_) => relayed,
                    };
                    self.kind = Kind::Events(events);
                    return relayed;
                }
                let may_be_error = start.starts_with(b"{") && start.len() <= MOST_OF_ERROR;
                if may_be_error || FIELDS.iter().any(may_be_field) {
                    return Relayed::Instead(Vec::new());
                }
                let start = std::mem::take(start);
                self.kind = Kind::Bytes;
                if start == chunk { Relayed::AsIs } else { Relayed::Instead(start) }
            }
        }
    }

    fn end(&mut self, ending: Ending) -> Vec<u8> {
        let start = match &mut self.kind {
            Kind::Events(events) => return events.end(ending),
            Kind::Unknown(start) => std::mem::take(start),
            Kind::Bytes => Vec::new(),
        };
        if self.outcome.is_some() {
            return Vec::new();
        }
        let provider = &self.provider;
        let said = match (&self.kind, ending) {
            (Kind::Bytes, Ending::Closed) => None,
            (_, Ending::Silent | Ending::Broken) => Some(incomplete(provider, ending)),
            (_, Ending::Closed) if start.starts_with(b"{") => {
                let error = upstream_error::in_answer(provider, &start, false, self.key.as_ref());
                Some(error.unwrap_or_else(|| whole::invalid(provider, "a JSON object in place of audio")))
            }
            (_, Ending::Closed) if start.is_empty() => Some(whole::invalid(provider, "no audio")),
            // A few bytes that could have been a field.
            (_, Ending::Closed) => None,
        };
        if let Some(error) = said {
            let is_told = error.meaning().is_some();
            self.fail(error, if is_told { Outcome::UpstreamError } else { Outcome::Cut });
            return Vec::new();
        }
        self.kind = Kind::Bytes;
        self.outcome = Some(Outcome::Done);
        start
    }

    fn state(&self) -> StreamState {
        match (&self.kind, self.outcome) {
            (Kind::Events(events), _) => events.state(),
            (_, Some(outcome)) => StreamState::Over(outcome),
            (Kind::Bytes, None) => StreamState::Begun,
            (Kind::Unknown(_), None) => StreamState::Held,
        }
    }

    fn early_end(&self) -> Option<Error> {
        match &self.kind {
            Kind::Events(events) => events.early_end(),
            Kind::Bytes => None,
            Kind::Unknown(_) => self.error.clone(),
        }
    }

    fn error(&self) -> Option<&Error> {
        match &self.kind {
            Kind::Events(events) => events.error(),
            _ => self.error.as_ref(),
        }
    }

    fn failure(&mut self, error: &Error) -> Vec<u8> {
        match &mut self.kind {
            Kind::Events(events) => events.failure(error),
            _ => Vec::new(),
        }
    }

    fn usage(&self) -> Usage {
        match &self.kind {
            Kind::Events(events) => events.usage(),
            _ => Usage::default(),
        }
    }

    fn produced(&self) -> u64 {
        0
    }

    fn surely_produced(&self) -> u64 {
        0
    }

    fn is_bytes(&self) -> bool {
        !matches!(self.kind, Kind::Events(_))
    }
}

/// One JSON object, which may have tens of megabytes: images, or vectors. The bytes pass as they come, and only the number of
/// images and the usage are read.
#[derive(Debug)]
pub struct LargeObject {
    items: Items,
    provider: String,
    key: Option<Secret>,
    /// All of it, until its first item has arrived.
    start: Vec<u8>,
    /// The last bytes, in which the usage is.
    tail: Vec<u8>,
    /// The number of images that have begun.
    count: u64,
    begun: bool,
    outcome: Option<Outcome>,
    error: Option<Error>,
    usage: Usage,
}

/// The items of `data` in a large object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Items {
    /// Images.
    Images,
    /// Embeddings.
    Vectors,
}

impl Items {
    /// The names of which each item has one.
    fn names(self) -> &'static [&'static [u8]] {
        match self {
            Items::Images => &[b"\"b64_json\":", b"\"url\":"],
            Items::Vectors => &[b"\"embedding\""],
        }
    }

    /// The last usage in a part of a response.
    fn usage_in(self, part: &[u8]) -> Option<Usage> {
        const NAME: &[u8] = b"\"usage\"";
        let rest =
            part.get(memmem::rfind(part, NAME)? + NAME.len()..)?.trim_ascii_start().strip_prefix(b":")?;
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
        let report = values.next()?.ok()?.get();
        match self {
            Items::Images => objects::of_image_usage(report),
            Items::Vectors => Some(embeddings::usage(input_tokens(report))),
        }
    }

    /// Checks a response that had no item.
    fn check(self, provider: &str, body: &[u8], key: Option<&Secret>) -> Result<Usage, Error> {
        let whole = match self {
            Items::Images => objects::check(Format::Images, provider, body, key),
            Items::Vectors => embeddings::check(provider, body, key),
        };
        whole.map(|whole| whole.usage)
    }
}

/// The bytes of a response in which its first item begins, and those of its end in which its usage is.
const MOST_OF_START: usize = 64 * 1024;
const MOST_OF_TAIL: usize = 8 * 1024;

impl LargeObject {
    /// The state for a response of a provider. `key`, the gateway's credential, is blotted out of errors.
    pub fn new(items: Items, provider: &str, key: Option<Secret>) -> LargeObject {
        LargeObject {
            items,
            provider: provider.to_owned(),
            key,
            start: Vec::new(),
            tail: Vec::new(),
            count: 0,
            begun: false,
            outcome: None,
            error: None,
            usage: Usage::default(),
        }
    }

    /// Counts the images that begin in a chunk.
    fn count(&mut self, chunk: &[u8]) {
        let names = self.items.names();
        // A name may begin in the chunk before.
        let overlap = names.iter().map(|name| name.len()).max().unwrap_or(0) - 1;
        let before = self.tail.get(self.tail.len().saturating_sub(overlap)..).unwrap_or_default();
        let seam = [before, chunk.get(..overlap.min(chunk.len())).unwrap_or_default()].concat();
        for name in names {
            let in_chunk = memmem::find_iter(chunk, name).count();
            let at_seam = memmem::find_iter(&seam, name)
                .filter(|at| *at < before.len() && at + name.len() > before.len())
                .count();
            self.count += (in_chunk + at_seam) as u64;
        }
    }

    /// Keeps the end of what has arrived.
    fn keep(&mut self, chunk: &[u8]) {
        if chunk.len() >= MOST_OF_TAIL {
            self.tail.clear();
        }
        self.tail
            .extend_from_slice(chunk.get(chunk.len().saturating_sub(MOST_OF_TAIL)..).unwrap_or_default());
        let excess = self.tail.len().saturating_sub(MOST_OF_TAIL);
        self.tail.drain(..excess);
    }
}

impl ResponseStream for LargeObject {
    fn push(&mut self, chunk: &[u8]) -> Relayed {
        if self.items == Items::Images {
            self.count(chunk);
        }
        self.keep(chunk);
        if !self.begun {
            self.start.extend_from_slice(chunk);
            let data = memmem::find(&self.start, b"\"data\"");
            let names = self.items.names().iter();
            // A name of the model may stand before the data.
            let item = names.filter_map(|name| memmem::rfind(&self.start, name)).max();
            if data.zip(item).is_some_and(|(data, item)| data < item) {
                self.begun = true;
                self.usage = self.items.usage_in(&self.start).unwrap_or_default();
                self.start = Vec::new();
            } else if self.start.len() > MOST_OF_START && self.outcome.is_none() {
                self.outcome = Some(Outcome::Cut);
                self.error = Some(whole::invalid(&self.provider, "a JSON object without 'data'"));
            }
        }
        Relayed::AsIs
    }

    fn end(&mut self, ending: Ending) -> Vec<u8> {
        if self.outcome.is_some() {
            return Vec::new();
        }
        let provider = &self.provider;
        let checked = match ending {
            Ending::Closed if self.begun => {
                let is_whole = self.tail.trim_ascii_end().ends_with(b"}");
                let usage = self.items.usage_in(&self.tail).unwrap_or_default().larger(self.usage);
                let is_image = self.items == Items::Images;
                let units =
                    if is_image { usage.units.with(Unit::Image, Some(self.count)) } else { usage.units };
                if is_whole {
                    Ok(Usage { units, ..usage })
                } else {
                    Err(incomplete(provider, Ending::Broken))
                }
            }
            Ending::Closed => self.items.check(provider, &self.start, self.key.as_ref()),
            Ending::Broken | Ending::Silent => Err(incomplete(provider, ending)),
        };
        match checked {
            Ok(usage) => {
                self.usage = usage;
                self.outcome = Some(Outcome::Done);
            }
            Err(error) => {
                let is_told = error.meaning().is_some();
                self.outcome = Some(if is_told { Outcome::UpstreamError } else { Outcome::Cut });
                self.error = Some(error);
            }
        }
        Vec::new()
    }

    fn state(&self) -> StreamState {
        match self.outcome {
            Some(outcome) => StreamState::Over(outcome),
            None if self.begun => StreamState::Begun,
            None => StreamState::Held,
        }
    }

    fn early_end(&self) -> Option<Error> {
        self.error.clone().filter(|_| !self.begun)
    }

    fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    fn failure(&mut self, _error: &Error) -> Vec<u8> {
        Vec::new()
    }

    fn usage(&self) -> Usage {
        self.usage
    }

    fn produced(&self) -> u64 {
        0
    }

    fn surely_produced(&self) -> u64 {
        0
    }

    fn is_bytes(&self) -> bool {
        true
    }

    fn suffices(&self) -> usize {
        match self.items {
            Items::Images => usize::MAX,
            Items::Vectors => MOST_OF_TAIL,
        }
    }
}

/// The error for a response that ended before its end.
fn incomplete(provider: &str, ending: Ending) -> Error {
    let (code, what) = match ending {
        Ending::Silent => (Code::UpstreamTimeout, "sent nothing for too long"),
        Ending::Broken | Ending::Closed => (Code::UpstreamStreamCut, "closed the connection"),
    };
    Error::new(code, format!("{provider} {what}; the response is incomplete"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bytes for the caller, and the state, of a stream in chunks.
    fn relay(stream: &mut dyn ResponseStream, chunks: &[&[u8]], ending: Ending) -> Vec<u8> {
        let mut out = Vec::new();
        for chunk in chunks {
            match stream.push(chunk) {
                Relayed::AsIs => out.extend_from_slice(chunk),
                Relayed::Instead(bytes) => out.extend(bytes),
            }
        }
        out.extend(stream.end(ending));
        out
    }

    const IMAGES: &str = "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"AAAA\",\"partial_image_index\":0}\n\n\
        event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"BBBB\",\"usage\":{\"input_tokens\":9,\"output_tokens\":1000,\"total_tokens\":1009}}\n\n";
    const SPEECH: &str = "data: {\"type\":\"speech.audio.delta\",\"audio\":\"AAAA\"}\n\n\
        data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":4,\"output_tokens\":30,\"total_tokens\":34}}\n\n";

    #[test]
    fn a_stream_of_images_is_complete_with_its_body() {
        let mut stream = of_events(Format::Images, "acme", None, 1 << 20);
        let twice = [IMAGES, IMAGES].concat();
        assert_eq!(relay(&mut stream, &[twice.as_bytes()], Ending::Closed), twice.as_bytes());
        assert_eq!(stream.state(), StreamState::Over(Outcome::Done));
        let usage = stream.usage();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (Some(18), Some(2000)));
        assert_eq!(usage.units, Units::of(&[(Unit::Image, 2), (Unit::ImageOutput, 2000)]));
        assert_eq!((stream.produced(), stream.surely_produced()), (0, 0));
    }

    #[test]
    fn a_stream_of_images_that_is_cut_ends_with_an_error() {
        let partial = IMAGES.split_inclusive("\n\n").next().unwrap();
        for (ending, code) in [(Ending::Closed, "upstream_stream_cut"), (Ending::Silent, "upstream_timeout")]
        {
            let mut stream = of_events(Format::Images, "acme", None, 1 << 20);
            let text = String::from_utf8(relay(&mut stream, &[partial.as_bytes()], ending)).unwrap();
            assert!(text.starts_with(partial) && text.contains(code), "{text}");
            assert_eq!(stream.state(), StreamState::Over(Outcome::Cut));
        }
        let mut stream = of_events(Format::Images, "acme", None, 1 << 20);
        let failed =
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"m\",\"code\":\"busy\"}}\n\n";
        relay(&mut stream, &[failed.as_bytes()], Ending::Closed);
        assert_eq!(stream.early_end().unwrap().code(), Some("busy"));
    }

    #[test]
    fn whole_images_become_events() {
        let mut stream = of_events(Format::Images, "acme", None, 1 << 20);
        let whole = r#"{"created":7,"data":[{"b64_json":"AA"},{"b64_json":"BB"}],"size":"1x1","usage":{"input_tokens":9,"output_tokens":10}}"#;
        let text = String::from_utf8(relay(&mut stream, &[whole.as_bytes()], Ending::Closed)).unwrap();
        let data: Vec<Value> = text
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|data| serde_json::from_str(data).unwrap())
            .collect();
        assert_eq!(data.len(), 2);
        assert_eq!(
            data[0],
            json!({"type": "image_generation.completed", "b64_json": "AA", "created_at": 7, "size": "1x1",
                "usage": {"input_tokens": 9, "output_tokens": 10}})
        );
        assert_eq!(stream.usage().units.get(Unit::Image), Some(2));
        assert_eq!(stream.state(), StreamState::Over(Outcome::Done));
    }

    #[test]
    fn speech_is_bytes_or_events() {
        let mut stream = Audio::new("acme", None, 1 << 20);
        assert_eq!(relay(&mut stream, &[b"ID3\x04", b"\xff\xfb{"], Ending::Closed), b"ID3\x04\xff\xfb{");
        assert!(stream.is_bytes() && stream.state() == StreamState::Over(Outcome::Done));
        assert_eq!(stream.usage(), Usage::default());

        let mut stream = Audio::new("acme", None, 1 << 20);
        assert_eq!(relay(&mut stream, &[SPEECH.as_bytes()], Ending::Closed), SPEECH.as_bytes());
        assert!(!stream.is_bytes() && stream.state() == StreamState::Over(Outcome::Done));
        let usage = stream.usage();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (Some(4), Some(30)));
        assert_eq!(usage.units, Units::of(&[(Unit::AudioOutput, 30)]));
    }

    #[test]
    fn speech_that_is_cut_or_an_error_does_not_look_complete() {
        for (chunks, ending, outcome, code) in [
            (&[&b"ID3"[..]][..], Ending::Broken, Outcome::Cut, None),
            (&[b"ID3"], Ending::Silent, Outcome::Cut, None),
            (&[], Ending::Closed, Outcome::Cut, Some("upstream_invalid_response")),
            (&[b"{\"a\":", b"1}"], Ending::Closed, Outcome::Cut, Some("upstream_invalid_response")),
            (
                &[br#"{"error":{"message":"m","code":"busy"}}"#],
                Ending::Closed,
                Outcome::UpstreamError,
                Some("busy"),
            ),
            (&[], Ending::Broken, Outcome::Cut, Some("upstream_stream_cut")),
        ] {
            let mut stream = Audio::new("acme", None, 1 << 20);
            let sent = relay(&mut stream, chunks, ending);
            assert_eq!(stream.state(), StreamState::Over(outcome), "{chunks:?}");
            let early = stream.early_end();
            assert_eq!(early.as_ref().and_then(Error::code), code, "{chunks:?}");
            assert!(code.is_none() || sent.is_empty(), "{chunks:?}");
        }
        // Sound may begin as an object does.
        let mut stream = Audio::new("acme", None, 1 << 20);
        let sound = [b"{".to_vec(), vec![7; MOST_OF_ERROR]].concat();
        assert_eq!(relay(&mut stream, &[&sound], Ending::Closed), sound);
    }

    #[test]
    fn whole_images_pass_and_are_counted_whatever_their_split() {
        let text = r#"{"created":1,"data":[{"b64_json":"AAAA"},{"b64_json":"BBBB","revised_prompt":"\"url\":"}],
            "size":"1x1","usage":{"input_tokens":9,"output_tokens":100,"total_tokens":109}}"#;
        for size in 1..text.len() {
            let mut stream = LargeObject::new(Items::Images, "acme", None);
            let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            assert_eq!(relay(&mut stream, &chunks, Ending::Closed), text.as_bytes());
            assert_eq!(stream.state(), StreamState::Over(Outcome::Done), "{size}");
            let usage = stream.usage();
            assert_eq!((usage.prompt_tokens, usage.completion_tokens), (Some(9), Some(100)), "{size}");
            let units = Units::of(&[(Unit::Image, 2), (Unit::ImageOutput, 100)]);
            assert_eq!((usage.units, stream.is_bytes()), (units, true), "{size}");
        }
        let large = text.replace("AAAA", &"A".repeat(100_000));
        let mut stream = LargeObject::new(Items::Images, "acme", None);
        let chunks: Vec<&[u8]> = large.as_bytes().chunks(9_000).collect();
        relay(&mut stream, &chunks, Ending::Closed);
        assert_eq!(stream.usage().units.get(Unit::Image), Some(2));
        assert!(stream.tail.len() <= MOST_OF_TAIL && stream.start.is_empty());
    }

    #[test]
    fn images_that_are_cut_or_an_error_do_not_look_complete() {
        for (text, ending, code) in [
            (r#"{"error":{"message":"m","code":"busy","url":"u"}}"#, Ending::Closed, Some("busy")),
            ("{}", Ending::Closed, Some("upstream_invalid_response")),
            ("", Ending::Broken, Some("upstream_stream_cut")),
            (r#"{"data":[{"b64_json":"AA"#, Ending::Closed, None),
            (r#"{"data":[{"b64_json":"AA"}]}"#, Ending::Broken, None),
        ] {
            let mut stream = LargeObject::new(Items::Images, "acme", None);
            relay(&mut stream, &[text.as_bytes()], ending);
            assert_ne!(stream.state(), StreamState::Over(Outcome::Done), "{text}");
            assert_eq!(stream.early_end().as_ref().and_then(Error::code), code, "{text}");
            assert!(stream.error().is_some());
        }
        let mut stream = LargeObject::new(Items::Images, "acme", None);
        relay(&mut stream, &[br#"{"data":[]}"#], Ending::Closed);
        assert_eq!((stream.state(), stream.early_end()), (StreamState::Over(Outcome::Done), None));
    }

    proptest! {
        /// Any split of a stream's bytes has the same result.
        #[test]
        fn any_split_has_the_same_result(
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
            which in 0_usize..4,
        ) {
            let text = [IMAGES.as_bytes(), SPEECH.as_bytes(), b"\xff\xfbdata: sound", b"dat"][which];
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
            places.extend([0, text.len()]);
            places.sort_unstable();
            let chunks: Vec<&[u8]> = places.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let mut stream = Audio::new("acme", None, 1 << 20);
            prop_assert_eq!(relay(&mut stream, &chunks, Ending::Closed), text);
            prop_assert_eq!(stream.state(), StreamState::Over(Outcome::Done));
        }
    }
}
