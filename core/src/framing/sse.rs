//! Server-sent events: event boundaries in a byte stream, under any split of the bytes.
//!
//! Follows the event stream format of the HTML standard (§ 9.2.6): lines end with LF, CR LF or CR; an empty line ends
//! an event. Bytes are framed, not decoded: the output, joined, equals the input.

/// Splits a byte stream into whole events.
#[derive(Debug, Default)]
pub struct Framer {
    /// The start of an event whose end has not arrived.
    partial: Vec<u8>,
    /// `true` if an earlier chunk has a part of the current line.
    mid_line: bool,
    /// `true` if the last byte was a CR that ended a line, so that a following LF belongs to it.
    after_cr: bool,
}

/// The events that a chunk completed.
#[derive(Debug, PartialEq, Eq)]
pub enum Framed<'a> {
    /// Whole events that lie in this chunk, which ends with the last of them.
    Whole(&'a [u8]),
    /// Whole events that started in an earlier chunk, or are followed by the start of another one.
    Joined(Vec<u8>),
}

impl Framer {
    /// Takes the next bytes and returns all events that they complete; keeps the rest.
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

    /// The part of an incomplete event that has arrived.
    pub fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// The number of bytes of the chunk that belong to complete events.
    fn scan(&mut self, chunk: &[u8]) -> usize {
        let mut complete = 0;
        let mut line_start = 0;
        if self.after_cr && chunk.first() == Some(&b'\n') {
            line_start = 1;
            // The event that the CR completed has already been returned; this is its LF.
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

/// A complete line.
struct Line {
    /// The number of its bytes, without the line end.
    length: usize,
    /// The offset of the next line.
    next: usize,
}

/// The line that starts at `start`, if its end has arrived.
fn line(bytes: &[u8], start: usize) -> Option<Line> {
    let length = memchr::memchr2(b'\n', b'\r', bytes.get(start..)?)?;
    let end = start + length;
    let crlf = bytes.get(end..end + 2) == Some(b"\r\n");
    Some(Line { length, next: end + if crlf { 2 } else { 1 } })
}

/// Splits the whole events of a [`Framer`] into single ones.
pub fn events(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let mut line_start = 0;
        let mut seen_text = false;
        while let Some(Line { length, next }) = line(bytes, line_start) {
            seen_text |= length > 0;
            // Extra line ends before the first line of an event belong to that event.
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

/// The fields of an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The `event` field.
    pub name: Vec<u8>,
    /// The `data` fields, joined with LF.
    pub data: Vec<u8>,
}

/// Reads the fields of one event. A byte order mark before it is ignored. `error: …`, which is no field of the standard,
/// counts as the data of an event with this name.
pub fn parse(event: &[u8]) -> Event {
    let mut parsed = Event::default();
    let mut has_data = false;
    let event = event.strip_prefix("\u{feff}".as_bytes()).unwrap_or(event);
    for line in event.split(|byte| matches!(byte, b'\n' | b'\r')) {
        if let Some(value) = field(line, b"data") {
            if has_data {
                parsed.data.push(b'\n');
            }
            has_data = true;
            parsed.data.extend_from_slice(value);
        } else if let Some(value) = field(line, b"event") {
            parsed.name = value.to_vec();
        } else if let Some(value) = field(line, b"error") {
            parsed.name = b"error".to_vec();
            parsed.data = value.to_vec();
        }
    }
    parsed
}

/// Writes an event with other data; all other lines stay as they are.
pub fn write_with_data(event: &[u8], data: &[u8], out: &mut Vec<u8>) {
    let mut is_written = false;
    let mut start = 0;
    while let Some(Line { length, next }) = line(event, start) {
        let whole = event.get(start..next).unwrap_or_default();
        let (text, end) = whole.split_at_checked(length).unwrap_or((whole, b"\n"));
        if !is_data(text) {
            // Behind a line that ends with CR, an LF alone would be a part of its end, and no empty line.
            let is_joined = whole == b"\n" && out.ends_with(b"\r");
            out.extend_from_slice(if is_joined { b"\r" } else { whole });
        } else if !is_written {
            is_written = true;
            for part in data.split(|byte| *byte == b'\n') {
                out.extend_from_slice(b"data: ");
                out.extend_from_slice(part);
                out.extend_from_slice(end);
            }
        }
        start = next;
    }
}

/// Returns `true` if an event has no fields other than its data; comments are none.
pub fn is_data_alone(event: &[u8]) -> bool {
    let mut lines = event.split(|byte| matches!(byte, b'\n' | b'\r'));
    lines.all(|line| line.is_empty() || line.starts_with(b":") || is_data(line))
}

fn is_data(line: &[u8]) -> bool {
    line == b"data" || line.starts_with(b"data:")
}

fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(name)?.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_event_with_other_data_keeps_its_empty_line() {
        for (event, expected) in [
            ("data: a\nid: 1\n\n", "data: b\nid: 1\n\n"),
            ("data: a\r\nid: 1\r\n\r\n", "data: b\r\nid: 1\r\n\r\n"),
            ("data: a\rid: 1\rdata:\n\n", "data: b\rid: 1\r\r"),
        ] {
            let mut out = Vec::new();
            write_with_data(event.as_bytes(), b"b", &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    /// Frames the chunks, and returns the completed events of each push, and the rest.
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
    fn cr_and_lf_may_be_in_different_chunks() {
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
    fn reads_fields_as_in_the_standard() {
        let event = parse(b"\nevent: error\r\n: comment\r\ndata:  two spaces\r\ndata\ndata:b\r\n\r\n");
        assert_eq!(event, Event { name: b"error".to_vec(), data: b" two spaces\nb".to_vec() });
    }

    #[test]
    fn a_field_error_and_a_byte_order_mark_are_understood() {
        let event = parse("\u{feff}error: {\"message\":\"m\"}\n\n".as_bytes());
        assert_eq!(event, Event { name: b"error".to_vec(), data: b"{\"message\":\"m\"}".to_vec() });
    }

    #[test]
    fn other_lines_stay_when_the_data_is_replaced() {
        for (event, expected) in [
            ("data: a\n\n", "data: x\n\n"),
            (
                "event: message\nid: 2\ndata: a\ndata: b\nretry:3\n: c\n\n",
                "event: message\nid: 2\ndata: x\nretry:3\n: c\n\n",
            ),
            ("id: 1\r\ndata:a\r\n\r\n", "id: 1\r\ndata: x\r\n\r\n"),
        ] {
            let mut out = Vec::new();
            write_with_data(event.as_bytes(), b"x", &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
            assert_eq!(is_data_alone(event.as_bytes()), event.starts_with("data"), "{event}");
        }
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

    /// The events with a field: all that a client sees of a stream.
    fn seen(bytes: &[u8]) -> Vec<Event> {
        events(bytes).map(parse).filter(|event| *event != Event::default()).collect()
    }

    proptest! {
        /// Under any split, the output has the same bytes and the same complete events, and no complete event is held
        /// back.
        #[test]
        fn the_events_do_not_depend_on_the_split(bytes in stream(), cuts in proptest::collection::vec(0usize..200, 0..30)) {
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

        /// Single events, joined, equal the input, and each pushed block can be split by itself.
        #[test]
        fn splitting_keeps_all_bytes(bytes in stream()) {
            prop_assert_eq!(events(&bytes).collect::<Vec<_>>().concat(), bytes);
        }
    }
}
