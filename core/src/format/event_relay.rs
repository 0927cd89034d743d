//! A stream of server-sent events on its way to the caller, whatever its format: framing, the first content, errors, and
//! the end. A [`Grammar`] adds what differs between formats.
//!
//! Events are forwarded unchanged unless the grammar acts on them; an error inside of the stream becomes the gateway's
//! error in the format's own form. A stream that ends without its last event and without an error gets a typed error
//! event, so that an incomplete response never looks complete.
//!
//! The body counts, not its content type: a whole response where a stream was requested is served as a stream, and a
//! body that is an error document becomes that error.

use std::fmt;

use super::size::BYTES_PER_TOKEN;
use super::stream::{Ending, Outcome, Relayed, ResponseStream, StreamState};
use super::whole::{self, BOM, Whole};
use crate::error::{Code, Error};
use crate::framing::sse::{self, Event, Framed, Framer};
use crate::key::Secret;
use crate::operation::Surface;
use crate::usage::Usage;

/// The part of a stream that depends on its format.
pub trait Grammar: fmt::Debug {
    /// The form of the error that ends a stream.
    const SURFACE: Surface;

    /// Classifies an event, as long as there has been no content.
    fn glance(event: &[u8], parsed: &Event) -> Glance;

    /// Takes note of events on their way to the caller. They are not parsed for it: this runs for every chunk.
    fn passing(&mut self, _events: &[u8]) {}

    /// Takes note that one of the events of which `passing` took note last is an error. `relayed` are those before it.
    fn failing(&mut self, _relayed: &[u8]) {}

    /// Takes note of the first event with content.
    fn began(&mut self, _first: Event) {}

    /// Returns `true` if events may contain something to act on. Events are not parsed for it: this runs for every chunk.
    fn needs_inspection(&self, events: &[u8]) -> bool;

    /// Relays an event with content whose fields need not be read; returns `false` if this is none.
    fn relay_plain(&self, _event: &[u8], _out: &mut Vec<u8>) -> bool {
        false
    }

    /// The last event of a complete stream, if this is it: the bytes to send.
    fn last<'e>(event: &'e [u8], parsed: &Event) -> Option<&'e [u8]>;

    /// The usage in the last event.
    fn usage_of_last(_last: &Event) -> Usage {
        Usage::default()
    }

    /// The last event of a stream that failed.
    fn failure(&self, error: &Error) -> Vec<u8> {
        error.stream_event(Self::SURFACE)
    }

    /// Returns `false` if a line with data surely has no content that no other line has.
    fn counts(_line: &[u8]) -> bool {
        true
    }

    /// The error in a document, if there is one. `is_named` is `true` if it is an event with the name `error`.
    fn error_in(provider: &str, document: &[u8], is_named: bool, key: Option<&Secret>) -> Option<Error>;

    /// Relays an event that is no error, and reads its usage. Returns `true` if it may have content.
    fn inspect(&mut self, event: &[u8], data: &[u8], usage: &mut Usage, out: &mut Vec<u8>) -> bool;

    /// The events of a whole response that came in place of a stream, the last one included; `None` if it has no content.
    fn of_whole(
        &self,
        provider: &str,
        document: &[u8],
        key: Option<&Secret>,
    ) -> Result<Option<(Vec<u8>, Whole)>, Error>;

    /// The id of the response, if its provider may keep it.
    fn response_id(&self) -> Option<String> {
        None
    }

    /// The last event to add to a stream that is complete without one, judged by its usage; `None` if it is not.
    fn completion(&self, _usage: &Usage) -> Option<&'static [u8]> {
        None
    }
}

/// The class of an event, as long as there has been no content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// Content, or the end of the response: text, a tool call, a refusal or reasoning, of so many bytes as written.
    Content(usize),
    /// A part of the frame, such as the role.
    Nothing,
    /// Anything else: it may be an error. An event with an error has no content, whatever its other fields are.
    Doubtful,
}

/// The state of one stream.
#[derive(Debug)]
pub struct EventRelay<G> {
    provider: String,
    key: Option<Secret>,
    max_event: usize,
    framer: Framer,
    pub(super) usage: Usage,
    outcome: Option<Outcome>,
    /// `true` once any byte has arrived.
    arrived: bool,
    /// `true` once an event with data has arrived.
    has_events: bool,
    /// `true` once any content has arrived.
    pub(super) begun: bool,
    /// The error that ended the stream, instead of its last event.
    error: Option<Error>,
    /// The amount of content so far.
    content: Content,
    /// The estimated output of a body that was no stream.
    produced_whole: Option<u64>,
    grammar: G,
}

impl<G: Grammar> EventRelay<G> {
    /// The state for a stream of a provider. `key`, the gateway's credential, is blotted out of errors; `max_event` is
    /// the maximum size of an event in bytes.
    pub fn of(provider: &str, key: Option<Secret>, max_event: usize, grammar: G) -> EventRelay<G> {
        EventRelay {
            provider: provider.to_owned(),
            key,
            max_event,
            framer: Framer::default(),
            usage: Usage::default(),
            outcome: None,
            arrived: false,
            has_events: false,
            begun: false,
            error: None,
            content: Content::default(),
            produced_whole: None,
            grammar,
        }
    }

    /// Looks for the first content in these events, until it has arrived.
    fn find_content(&mut self, events: &[u8]) -> Found {
        let mut found = Found { start: 0, is_doubtful: false, had_events: self.has_events };
        if self.begun {
            return found;
        }
        for event in sse::events(events) {
            let parsed = sse::parse(event);
            self.has_events |= !parsed.data.is_empty();
            let glance =
                if unframed(event, &parsed).is_some() { Glance::Doubtful } else { G::glance(event, &parsed) };
            match glance {
                Glance::Content(bytes) => {
                    self.begun = true;
                    self.content = Content::starting_with(event, bytes, G::counts);
                    self.grammar.began(parsed);
                    break;
                }
                Glance::Doubtful => found.is_doubtful = true,
                Glance::Nothing => {}
            }
            found.start += event.len();
        }
        found
    }

    /// Returns `true` if some of these events must be inspected one by one.
    fn acts_on(&self, events: &[u8], found: Found) -> bool {
        found.is_doubtful || self.grammar.needs_inspection(events)
    }

    /// Relays whole events.
    pub(super) fn relay(&mut self, events: &[u8], found: Found) -> Vec<u8> {
        let mut out = Vec::with_capacity(events.len());
        let mut at = 0;
        let mut had_events = found.had_events;
        for event in sse::events(events) {
            let mut has_content = true;
            let is_doubtful = found.is_doubtful && at < found.start;
            let is_relayed = !is_doubtful && self.grammar.relay_plain(event, &mut out);
            if !is_relayed {
                if self.acts_on(event, Found { start: 0, is_doubtful, had_events }) {
                    has_content = self.relay_event(event, had_events, &mut out);
                } else {
                    out.extend_from_slice(event);
                }
            }
            if self.begun && has_content && at >= found.start {
                self.content.count(event, G::counts);
            }
            had_events = had_events || !sse::parse(event).data.is_empty();
            at += event.len();
            if self.outcome.is_some() {
                break;
            }
        }
        out
    }

    /// Relays one event, and returns `true` if it may have content. `had_events` is `true` if an event with data came
    /// before it.
    pub(super) fn relay_event(&mut self, event: &[u8], had_events: bool, out: &mut Vec<u8>) -> bool {
        let parsed = sse::parse(event);
        if let Some(last) = G::last(event, &parsed) {
            self.usage = self.usage.larger(G::usage_of_last(&parsed));
            self.outcome = Some(Outcome::Done);
            out.extend_from_slice(last);
            return false;
        }
        if let Some(text) = unframed(event, &parsed) {
            self.end_with_document(text, had_events, out);
            if self.outcome.is_none() {
                out.extend_from_slice(event);
            }
            return false;
        }
        if let Some(error) = self.error_in(parsed.data.trim_ascii(), parsed.name == b"error") {
            self.grammar.failing(out);
            self.fail(error, Outcome::UpstreamError, out);
            return false;
        }
        self.grammar.inspect(event, &parsed.data, &mut self.usage, out)
    }

    /// The error in a document, if there is one.
    fn error_in(&self, document: &[u8], is_named: bool) -> Option<Error> {
        G::error_in(&self.provider, document, is_named, self.key.as_ref())
    }

    /// Ends the stream with an error.
    fn fail(&mut self, error: Error, outcome: Outcome, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.grammar.failure(&error));
        self.outcome = Some(outcome);
        self.error = Some(error);
    }

    /// Ends a stream whose body is, or ends with, a document that is no event: an error, or a whole response.
    fn end_with_document(&mut self, document: &[u8], had_events: bool, out: &mut Vec<u8>) {
        if had_events {
            if let Some(error) = self.error_in(document, false) {
                self.fail(error, Outcome::UpstreamError, out);
            }
            return;
        }
        match self.grammar.of_whole(&self.provider, document, self.key.as_ref()) {
            Ok(None) => {}
            Ok(Some((events, Whole { usage, produced, .. }))) => {
                self.usage = usage;
                self.produced_whole = Some(produced);
                self.begun = true;
                self.outcome = Some(Outcome::Done);
                out.extend_from_slice(&events);
            }
            Err(error) => {
                let is_told = error.meaning().is_some();
                self.fail(error, if is_told { Outcome::UpstreamError } else { Outcome::Cut }, out);
            }
        }
    }

    /// The last bytes of a body that has ended properly, with an event that has no empty line behind it.
    fn end_closed(&mut self) -> Vec<u8> {
        let rest = self.framer.partial().to_vec();
        let mut last = Vec::new();
        let text = rest.strip_prefix(BOM).unwrap_or(&rest).trim_ascii();
        if is_document(text) {
            self.end_with_document(text, self.has_events, &mut last);
        } else if is_whole_event::<G>(&rest) {
            // Some servers omit the empty line after the last event.
            let event = [&rest, &b"\n\n"[..]].concat();
            self.grammar.passing(&event);
            let found = self.find_content(&event);
            last = self.relay(&event, Found { is_doubtful: true, ..found });
        }
        if self.outcome.is_none()
            && let Some(end) = self.grammar.completion(&self.usage)
        {
            self.outcome = Some(Outcome::Done);
            last.extend_from_slice(end);
        }
        if self.outcome.is_none() && !self.has_events && (self.arrived && !text.is_empty()) {
            let error = whole::invalid(&self.provider, "neither an event stream nor a JSON object");
            self.fail(error, Outcome::Cut, &mut last);
        }
        last
    }
}

impl<G: Grammar> ResponseStream for EventRelay<G> {
    fn push(&mut self, chunk: &[u8]) -> Relayed {
        if self.outcome.is_some() {
            return Relayed::Instead(Vec::new());
        }
        // Some servers begin with a byte order mark, which many clients take for a part of the first field.
        let has_bom = !self.arrived && chunk.starts_with(BOM);
        let events = if has_bom { chunk.get(BOM.len()..).unwrap_or_default() } else { chunk };
        self.arrived |= !chunk.is_empty();
        let relayed = match self.framer.push(events) {
            Framed::Whole(events) => {
                self.grammar.passing(events);
                let found = self.find_content(events);
                if !self.acts_on(events, found) && !has_bom {
                    self.content.count(events.get(found.start..).unwrap_or_default(), G::counts);
                    return Relayed::AsIs;
                }
                self.relay(events, found)
            }
            Framed::Joined(events) => {
                self.grammar.passing(&events);
                let found = self.find_content(&events);
                if self.acts_on(&events, found) {
                    self.relay(&events, found)
                } else {
                    self.content.count(events.get(found.start..).unwrap_or_default(), G::counts);
                    events
                }
            }
        };
        if self.outcome.is_none() && self.framer.partial().len() > self.max_event {
            let error = Error::new(
                Code::UpstreamResponseTooLarge,
                format!("{} sent an event larger than the limit of {} bytes", self.provider, self.max_event),
            );
            let mut last = relayed;
            self.fail(error, Outcome::Cut, &mut last);
            return Relayed::Instead(last);
        }
        if relayed == chunk { Relayed::AsIs } else { Relayed::Instead(relayed) }
    }

    fn end(&mut self, ending: Ending) -> Vec<u8> {
        if self.outcome.is_some() {
            return Vec::new();
        }
        let mut last = if ending == Ending::Closed { self.end_closed() } else { Vec::new() };
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
            self.fail(error, Outcome::Cut, &mut last);
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

    fn failure(&mut self, error: &Error) -> Vec<u8> {
        self.grammar.failure(error)
    }

    fn response_id(&self) -> Option<String> {
        self.grammar.response_id()
    }

    fn usage(&self) -> Usage {
        self.usage
    }

    /// An event counts as one token, or more if it is long.
    fn produced(&self) -> u64 {
        self.produced_whole.unwrap_or_else(|| self.content.tokens(self.outcome == Some(Outcome::Done)))
    }

    fn surely_produced(&self) -> u64 {
        self.produced_whole.unwrap_or_else(|| self.content.least_tokens(self.outcome == Some(Outcome::Done)))
    }
}

/// The findings in events before the first content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// The offset at which content starts, or continues.
    pub(super) start: usize,
    /// `true` if an event before it is neither content nor the frame of content, and so may be an error.
    pub(super) is_doubtful: bool,
    /// `true` if an event with data came before all of them.
    pub(super) had_events: bool,
}

/// The text of an event that has no fields, if it is JSON.
fn unframed<'e>(event: &'e [u8], parsed: &Event) -> Option<&'e [u8]> {
    let text = event.strip_prefix(BOM).unwrap_or(event).trim_ascii();
    (parsed.data.is_empty() && is_document(text)).then_some(text)
}

/// Returns `true` if a text starts as a JSON object or array does.
fn is_document(text: &[u8]) -> bool {
    text.starts_with(b"{") || text.starts_with(b"[")
}

/// Returns `true` if an event that has no empty line behind it is complete.
fn is_whole_event<G: Grammar>(event: &[u8]) -> bool {
    let parsed = sse::parse(event);
    let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(parsed.data.trim_ascii()).is_ok();
    G::last(event, &parsed).is_some() || parsed.name == b"error" || is_json()
}

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
    fn starting_with(event: &[u8], content_bytes: usize, counts: fn(&[u8]) -> bool) -> Content {
        let mut first = Content::default();
        first.count(event, counts);
        if first.bytes == 0 {
            // Its content comes again. What is around it is about as long in the events that count.
            return Content { envelope: event.len() as u64, ..Content::default() };
        }
        Content { envelope: first.bytes.saturating_sub(content_bytes as u64), ..Content::default() }
    }

    /// Counts whole events, ignoring comments and all fields other than `data`.
    fn count(&mut self, events: &[u8], counts: fn(&[u8]) -> bool) {
        let mut was_data = false;
        for line in lines(events) {
            let is_data = line.starts_with(b"data:") && counts(line);
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
        self.events.saturating_sub(u64::from(is_complete)).max(self.content_tokens())
    }

    /// The number of tokens that there are at least: several events may be one token, and media are long.
    fn least_tokens(&self, is_complete: bool) -> u64 {
        self.events.saturating_sub(u64::from(is_complete)).min(self.content_tokens())
    }

    fn content_tokens(&self) -> u64 {
        let content = self.bytes.saturating_sub(self.envelope.saturating_mul(self.events));
        content / BYTES_PER_TOKEN as u64
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
