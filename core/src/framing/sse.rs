//! Server-sent events as they arrive: where events end, under any split of the bytes.
//!
//! Follows the event stream format of the HTML standard (§ 9.2.6): lines end with LF, CR LF or CR; an empty line ends an
//! event. Bytes are framed, not decoded: what comes out, joined, is what went in.

/// Cuts a byte stream into whole events.
#[derive(Debug, Default)]
pub struct Framer {
    /// The beginning of an event whose end has not arrived.
    partial: Vec<u8>,
    /// Whether some of the present line came in an earlier chunk.
    mid_line: bool,
    /// Whether the last byte was a CR that ended a line, so that an LF would still belong to it.
    after_cr: bool,
}

/// What a chunk completed.
#[derive(Debug, PartialEq, Eq)]
pub enum Framed<'a> {
    /// Whole events, all of them in this very chunk, which ends with the last of them.
    Whole(&'a [u8]),
    /// Whole events that began in an earlier chunk, or are followed by the beginning of another.
    Joined(Vec<u8>),
}

impl Framer {
    /// Takes the next bytes and gives all events that they complete; the rest is kept.
    pub fn push<'a>(&mut self, chunk: &'a [u8]) -> Framed<'a> {
        let complete = self.scan(chunk);
        if self.partial.is_empty() && complete == chunk.len() {
            return Framed::Whole(chunk);
        }
        let (done, rest) = chunk.split_at_checked(complete).unwrap_or((chunk, &[]));
        if complete == 0 {
            self.partial.extend_from_slice(rest);
            return Framed::Joined(Vec::new());
        }
        let mut events = std::mem::replace(&mut self.partial, rest.to_vec());
        events.extend_from_slice(done);
        Framed::Joined(events)
    }

    /// What has arrived of an event that is not complete.
    pub fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// How many bytes of the chunk belong to complete events.
    fn scan(&mut self, chunk: &[u8]) -> usize {
        let mut complete = 0;
        let mut line_start = 0;
        if self.after_cr && chunk.first() == Some(&b'\n') {
            line_start = 1;
            // The event that the CR completed has gone already; its LF follows it.
            if self.partial.is_empty() {
                complete = 1;
            }
        }
        while let Some(Line { length, next }) = line(chunk, line_start) {
            if length == 0 && !self.mid_line {
                complete = next;
            }
            self.mid_line = false;
            line_start = next;
        }
        if let Some(last) = chunk.last() {
            self.after_cr = *last == b'\r';
        }
        self.mid_line |= line_start < chunk.len();
        complete
    }
}

/// A line that has its end.
struct Line {
    /// Its bytes, without the end.
    length: usize,
    /// Where the next line begins.
    next: usize,
}

/// The line that begins at `start`, if its end has arrived.
fn line(bytes: &[u8], start: usize) -> Option<Line> {
    let length = memchr::memchr2(b'\n', b'\r', bytes.get(start..)?)?;
    let end = start + length;
    let crlf = bytes.get(end..end + 2) == Some(b"\r\n");
    Some(Line { length, next: end + if crlf { 2 } else { 1 } })
}

/// Splits whole events, as a [`Framer`] gives them, into single ones.
pub fn events(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let mut line_start = 0;
        let mut seen_text = false;
        while let Some(Line { length, next }) = line(bytes, line_start) {
            seen_text |= length > 0;
            // Stray line ends before the first line of an event go with that event.
            if length == 0 && seen_text {
                let (event, rest) = bytes.split_at_checked(next)?;
                bytes = rest;
                return Some(event);
            }
            line_start = next;
        }
        let rest = std::mem::take(&mut bytes);
        (!rest.is_empty()).then_some(rest)
    })
}

/// What an event says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The `event` field.
    pub name: Vec<u8>,
    /// The `data` fields, joined with LF.
    pub data: Vec<u8>,
}

/// Reads the fields of one event.
pub fn parse(event: &[u8]) -> Event {
    let mut parsed = Event::default();
    let mut has_data = false;
    for line in event.split(|byte| matches!(byte, b'\n' | b'\r')) {
        if let Some(value) = field(line, b"data") {
            if has_data {
                parsed.data.push(b'\n');
            }
            has_data = true;
            parsed.data.extend_from_slice(value);
        } else if let Some(value) = field(line, b"event") {
            parsed.name = value.to_vec();
        }
    }
    parsed
}

fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(name)?.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Frames the chunks and gives the completed events of each push, and what is left.
    fn frame(chunks: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut framer = Framer::default();
        let pushed = chunks
            .iter()
            .map(|chunk| match framer.push(chunk) {
                Framed::Whole(bytes) => bytes.to_vec(),
                Framed::Joined(bytes) => bytes,
            })
            .collect();
        (pushed, framer.partial().to_vec())
    }

    #[test]
    fn an_event_is_held_until_its_empty_line() {
        let (pushed, rest) = frame(&[b"data: a", b"\n", b"\ndata: b\n\nda", b"ta: c"]);
        assert_eq!(pushed, [&b""[..], b"", b"data: a\n\ndata: b\n\n", b""]);
        assert_eq!(rest, b"data: c");
    }

    #[test]
    fn a_chunk_of_whole_events_is_not_copied() {
        let mut framer = Framer::default();
        assert_eq!(framer.push(b"data: a\n\n: ping\n\n"), Framed::Whole(b"data: a\n\n: ping\n\n"));
    }

    #[test]
    fn cr_and_lf_may_be_torn_apart() {
        let (pushed, rest) = frame(&[b"data: a\r", b"\n\r", b"\ndata: b\r\n\r\n"]);
        assert_eq!(pushed, [&b""[..], b"data: a\r\n\r", b"\ndata: b\r\n\r\n"]);
        assert_eq!(rest, b"");
    }

    #[test]
    fn lines_that_are_not_empty_do_not_end_an_event() {
        let (pushed, rest) = frame(&[b"data: a\n", b" ", b"\n", b"x\n"]);
        assert_eq!(pushed.concat(), b"");
        assert_eq!(rest, b"data: a\n \nx\n");
    }

    #[test]
    fn reads_fields_as_the_standard_says() {
        let event = parse(b"\nevent: error\r\n: comment\r\ndata:  two spaces\r\ndata\ndata:b\r\n\r\n");
        assert_eq!(event, Event { name: b"error".to_vec(), data: b" two spaces\nb".to_vec() });
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just("data: {\"a\":\"é\u{1F600}\"}".to_owned()),
            Just(": ping".to_owned()),
            Just("event: x".to_owned()),
            Just("\n".to_owned()),
            Just("\r\n".to_owned()),
            Just("\r".to_owned()),
            Just("\n\n".to_owned()),
            Just("\r\n\r\n".to_owned()),
            Just("data: [DONE]".to_owned()),
            "[a-z\r\n ]{0,5}",
        ];
        proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat().into_bytes())
    }

    /// The events that carry a field, which is all that a client can see of a stream.
    fn seen(bytes: &[u8]) -> Vec<Event> {
        events(bytes).map(parse).filter(|event| *event != Event::default()).collect()
    }

    proptest! {
        /// Under any split, the same bytes come out, the same of them as complete events, and nothing that is complete
        /// is held back.
        #[test]
        fn any_split_gives_the_same_events(bytes in stream(), cuts in proptest::collection::vec(0usize..200, 0..30)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.push(0);
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let (whole, whole_rest) = frame(&[&bytes]);
            let (pushed, rest) = frame(&chunks);
            prop_assert_eq!([pushed.concat(), rest.clone()].concat(), bytes.clone());
            prop_assert_eq!(&rest, &whole_rest);
            prop_assert_eq!(seen(&pushed.concat()), seen(&whole.concat()));
        }

        /// Single events, joined, are the input again, and each pushed block can be split on its own.
        #[test]
        fn splitting_loses_nothing(bytes in stream()) {
            prop_assert_eq!(events(&bytes).collect::<Vec<_>>().concat(), bytes);
        }
    }
}
