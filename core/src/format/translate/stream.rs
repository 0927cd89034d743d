//! A translated stream on its way to the caller.
//!
//! The upstream's own stream state (`openai_chat::stream` for Chat Completions) decides what it decides for calls that
//! are not translated: where events end, what an error is, whether the stream is complete, how many tokens it used. Its
//! output is read event by event into deltas, and these are written in the caller's format. The end is the caller's
//! only if the upstream's stream is complete; otherwise it is an error event.

use std::rc::Rc;

use super::formats::{Reader, Writer};
use crate::conversation::delta::{Delta, Stop};
use crate::conversation::names;
use crate::error::Error;
use crate::format::request::Translation;
use crate::format::stream::{Ending, Outcome, Relayed, ResponseStream, StreamState};
use crate::format::whole;
use crate::framing::sse::{self, Framed, Framer};
use crate::usage::Usage;

/// The state of one stream.
pub(super) struct TranslatedStream {
    /// The state of the upstream's stream.
    upstream: Box<dyn ResponseStream>,
    provider: String,
    translation: Rc<Translation>,
    framer: Framer,
    reader: Reader,
    /// `None` until the response begins.
    writer: Option<Writer>,
    /// The deltas of one event, kept for their memory.
    deltas: Vec<Delta>,
    /// The reason why the content is complete. The caller gets it with the end, so that a stream that is cut after it
    /// does not look complete.
    stop: Option<Stop>,
    /// `true` once the caller has the last event.
    is_ended: bool,
}

impl TranslatedStream {
    pub(super) fn new(
        upstream: Box<dyn ResponseStream>,
        provider: &str,
        reader: Reader,
        translation: Rc<Translation>,
    ) -> TranslatedStream {
        TranslatedStream {
            upstream,
            provider: provider.to_owned(),
            translation,
            framer: Framer::default(),
            reader,
            writer: None,
            deltas: Vec::new(),
            stop: None,
            is_ended: false,
        }
    }

    /// Translates bytes of the upstream's stream.
    fn translate(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match self.framer.push(bytes) {
            Framed::Whole(events) => self.events(events, out),
            Framed::Joined(events) => self.events(&events, out),
        }
        if let StreamState::Over(outcome) = self.upstream.state()
            && !self.is_ended
        {
            self.is_ended = true;
            self.end_with(outcome, out);
        }
    }

    fn events(&mut self, events: &[u8], out: &mut Vec<u8>) {
        let mut deltas = std::mem::take(&mut self.deltas);
        for event in sse::events(events) {
            read_event(&mut self.reader, event, &mut deltas);
            for delta in deltas.drain(..) {
                self.write(delta, out);
            }
        }
        self.deltas = deltas;
    }

    fn write(&mut self, delta: Delta, out: &mut Vec<u8>) {
        if let Delta::Begin { id, model } = &delta {
            self.writer = Some(Writer::new(&self.translation, id.as_deref(), model.as_deref()));
        }
        if let Delta::Stop(stop) = delta {
            self.stop = Some(stop);
            return;
        }
        // Usage that comes before the response begins is in the final usage too.
        if let Some(writer) = &mut self.writer {
            writer.write(names::restore(delta, &self.translation.aliases), out);
        }
    }

    /// The error for a stream that is complete, but says nothing: its model may not even have begun.
    fn without_content(&self) -> Error {
        whole::invalid(&self.provider, "a stream without any content")
    }

    /// Writes the end: that of the caller's format only if the upstream's stream is complete.
    fn end_with(&mut self, outcome: Outcome, out: &mut Vec<u8>) {
        let stop = self.stop.clone().filter(|_| outcome == Outcome::Done);
        if let Some((stop, writer)) = stop.zip(self.writer.as_mut()) {
            writer.write(Delta::Usage(self.upstream.usage()), out);
            writer.write(Delta::Stop(stop), out);
            writer.end(out);
            return;
        }
        let error = self.error().cloned().unwrap_or_else(|| self.without_content());
        self.fail(&error, out);
    }

    /// Writes the error that ends the stream.
    fn fail(&mut self, error: &Error, out: &mut Vec<u8>) {
        let translation = &self.translation;
        self.writer.get_or_insert_with(|| Writer::new(translation, None, None)).fail(error, out);
    }
}

impl ResponseStream for TranslatedStream {
    fn push(&mut self, chunk: &[u8]) -> Relayed {
        let mut out = Vec::with_capacity(chunk.len());
        match self.upstream.push(chunk) {
            Relayed::AsIs => self.translate(chunk, &mut out),
            Relayed::Instead(bytes) => self.translate(&bytes, &mut out),
        }
        Relayed::Instead(out)
    }

    fn end(&mut self, ending: Ending) -> Vec<u8> {
        let last = self.upstream.end(ending);
        let mut out = Vec::new();
        self.translate(&last, &mut out);
        out
    }

    fn state(&self) -> StreamState {
        self.upstream.state()
    }

    fn early_end(&self) -> Option<Error> {
        if self.state() != StreamState::Over(Outcome::Done) {
            return self.upstream.early_end();
        }
        self.stop.is_none().then(|| self.without_content())
    }

    fn error(&self) -> Option<&Error> {
        self.upstream.error()
    }

    fn failure(&mut self, error: &Error) -> Vec<u8> {
        let mut out = Vec::new();
        self.fail(error, &mut out);
        out
    }

    fn usage(&self) -> Usage {
        self.upstream.usage()
    }

    fn produced(&self) -> u64 {
        self.upstream.produced()
    }

    fn surely_produced(&self) -> u64 {
        self.upstream.surely_produced()
    }
}

/// Reads an event into deltas.
pub(super) fn read_event(reader: &mut Reader, event: &[u8], deltas: &mut Vec<Delta>) {
    if let Some((name, data)) = plain_fields(event) {
        reader.event(name, data, deltas);
    } else {
        let event = sse::parse(event);
        reader.event(&event.name, &event.data, deltas);
    }
}

/// The name and the data of an event that is written as most are: at most one line for each, and LF. They are neither
/// copied nor searched byte by byte.
fn plain_fields(event: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, rest) = match event.strip_prefix(b"event: ") {
        Some(named) => named.split_at_checked(memchr::memchr(b'\n', named)?)?,
        None => (&[][..], event),
    };
    let data = rest.strip_prefix(b"\n").unwrap_or(rest).strip_prefix(b"data: ")?.strip_suffix(b"\n\n")?;
    let is_plain = |text| memchr::memchr2(b'\n', b'\r', text).is_none();
    (is_plain(name) && is_plain(data)).then_some((name, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_events_have_the_fields_that_any_reader_finds() {
        for (event, is_plain) in [
            ("data: {}\n\n", true),
            ("event: ping\ndata: {}\n\n", true),
            ("event: \ndata:  \n\n", true),
            ("\ndata: {}\n\n", true),
            ("data:{}\n\n", false),
            ("data: {}\r\n\r\n", false),
            ("data: {}\rid: 1\n\n", false),
            ("data: {\ndata: }\n\n", false),
            (": comment\ndata: {}\n\n", false),
            ("event: a\revent: b\ndata: {}\n\n", false),
            ("data: {}\nid: 1\n\n", false),
            ("event: a\n\n", false),
            ("data: {}\n", false),
            ("error: {}\n\n", false),
        ] {
            let parsed = sse::parse(event.as_bytes());
            let found = plain_fields(event.as_bytes());
            assert_eq!(found.is_some(), is_plain, "{event:?}");
            if let Some((name, data)) = found {
                assert_eq!((name, data), (&*parsed.name, &*parsed.data), "{event:?}");
            }
        }
    }
}
