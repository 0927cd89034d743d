//! Counts the events of a stream (server-sent events), in pieces as they come. An event counts once its empty line has
//! come; comments are none. Does not keep what they say, except whether the last of them was `[DONE]`.

/// How much of a line has to be seen to know what it is.
const SEEN: usize = 16;

/// The events of one stream so far.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// How many have ended.
    pub(crate) count: u64,
    /// Whether the last one was `[DONE]`.
    pub(crate) is_done: bool,
    /// The beginning of the line that has not ended.
    line: Vec<u8>,
    /// Whether the event that has not ended has data.
    has_data: bool,
}

impl Events {
    /// Takes the bytes that came next. Lines end with LF or CRLF.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut from = 0;
        for at in memchr::memchr_iter(b'\n', bytes) {
            self.see(bytes.get(from..at).unwrap_or_default());
            self.end_line();
            from = at + 1;
        }
        self.see(bytes.get(from..).unwrap_or_default());
    }

    fn see(&mut self, part: &[u8]) {
        let room = SEEN.saturating_sub(self.line.len());
        self.line.extend(part.iter().take(room));
    }

    fn end_line(&mut self) {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        if line.is_empty() {
            self.count += u64::from(self.has_data);
            self.has_data = false;
        } else if let Some(data) = line.strip_prefix(b"data:") {
            self.has_data = true;
            self.is_done = data.trim_ascii_start() == b"[DONE]";
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Count and whether the last is `[DONE]`, of bytes in pieces of a size.
    fn count(bytes: &[u8], size: usize) -> (u64, bool) {
        let mut events = Events::default();
        for piece in bytes.chunks(size) {
            events.push(piece);
        }
        (events.count, events.is_done)
    }

    #[test]
    fn events_are_counted_wherever_they_are_cut() {
        for stream in [
            &b": hello\n\ndata: {\"a\":1}\n\nevent: x\ndata: {}\n\ndata: [DONE]\n\n"[..],
            b"data:{\"a\":1}\r\n\r\n: hello\r\n\r\ndata: a\r\ndata: b\r\n\r\ndata: [DONE]\r\n\r\n",
        ] {
            for size in 1..=stream.len() {
                assert_eq!(count(stream, size), (3, true), "pieces of {size}");
            }
        }
    }

    #[test]
    fn an_event_counts_once_it_has_ended() {
        assert_eq!(count(b"data: a\n\ndata: b\n", 3), (1, false));
        assert_eq!(count(b"data: [DONE]\n\ndata: more\n\n", 3), (2, false));
        assert_eq!(count(b"data: [DONE] and so on\n\n", 3), (1, false));
        assert_eq!(count(b"", 1), (0, false));
    }
}
