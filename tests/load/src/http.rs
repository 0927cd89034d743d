//! Where an answer ends: the status line, the headers that say so, and the body by its length or by its chunks.
//! Reads pieces as they come, wherever they are cut. Does not look into the body and does not read from anything.

use memchr::memmem;

/// The longest head, and the longest line between chunks, that is read.
const MAX_LINES: usize = 64 * 1024;

/// What is to come next.
#[derive(Debug)]
enum Next {
    /// Of the status line and the headers, which are kept until the empty line.
    Head,
    /// So many bytes of the body, and no more after them.
    Length(u64),
    /// The line with the length of a chunk.
    Size,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The end of the line behind a chunk.
    ChunkEnd,
    /// Lines behind the last chunk, until an empty one.
    Trailer,
    /// Nothing: the answer is whole.
    Nothing,
}

/// An answer that is being read.
#[derive(Debug)]
pub(crate) struct Reader {
    next: Next,
    /// What has come of a head or a line that is not whole yet.
    kept: Vec<u8>,
    /// The status, once the head has been read.
    pub(crate) status: u16,
    /// Whether the connection can be used again.
    pub(crate) keeps: bool,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self { next: Next::Head, kept: Vec::new(), status: 0, keeps: true }
    }

    /// Whether all of it has come.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.next, Next::Nothing)
    }

    /// Takes the bytes that came next, and gives those of the body to `body`. Bytes behind the end are an error: nothing
    /// has been asked for that they could answer.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut body: impl FnMut(&[u8])) -> Result<(), String> {
        while !bytes.is_empty() {
            match self.next {
                Next::Nothing => return Err("bytes behind the end of an answer".to_owned()),
                Next::Length(left) | Next::Chunk(left) => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let (part, rest) = bytes.split_at(taken);
                    body(part);
                    bytes = rest;
                    let left = left - taken as u64;
                    self.next = match self.next {
                        Next::Length(_) if left == 0 => Next::Nothing,
                        Next::Length(_) => Next::Length(left),
                        _ if left == 0 => Next::ChunkEnd,
                        _ => Next::Chunk(left),
                    };
                }
                Next::Head => {
                    let Some(head) = self.until(&mut bytes, b"\r\n\r\n")? else { break };
                    self.read_head(&head)?;
                }
                Next::Size | Next::ChunkEnd | Next::Trailer => {
                    let Some(line) = self.until(&mut bytes, b"\r\n")? else { break };
                    self.read_line(&line)?;
                }
            }
        }
        Ok(())
    }

    /// What stands before `end`, once that has come.
    fn until(&mut self, bytes: &mut &[u8], end: &[u8]) -> Result<Option<Vec<u8>>, String> {
        // The end itself may be cut.
        let from = self.kept.len().saturating_sub(end.len() - 1);
        let before = self.kept.len();
        self.kept.extend_from_slice(bytes);
        let found = self.kept.get(from..).and_then(|kept| memmem::find(kept, end));
        let Some(at) = found.map(|at| from + at) else {
            *bytes = &[];
            return if self.kept.len() > MAX_LINES { Err("an endless head".to_owned()) } else { Ok(None) };
        };
        *bytes = bytes.get(at + end.len() - before..).unwrap_or_default();
        let mut all = std::mem::take(&mut self.kept);
        all.truncate(at);
        Ok(Some(all))
    }

    fn read_head(&mut self, head: &[u8]) -> Result<(), String> {
        let head = std::str::from_utf8(head).map_err(|_| "a head that is no text")?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        self.status = status.ok_or("no status line of HTTP/1.1")?;
        let mut length = None;
        let mut is_chunked = false;
        for line in lines {
            let (name, value) = line.split_once(':').ok_or("a header without a colon")?;
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.parse().map_err(|_| "a content-length that is no number")?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                is_chunked = value.eq_ignore_ascii_case("chunked");
            } else if name.eq_ignore_ascii_case("connection") {
                self.keeps = !value.eq_ignore_ascii_case("close");
            }
        }
        self.next = match length {
            _ if is_chunked => Next::Size,
            Some(0) => Next::Nothing,
            Some(length) => Next::Length(length),
            None => return Err("an answer with neither a length nor chunks".to_owned()),
        };
        Ok(())
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), String> {
        self.next = match self.next {
            Next::ChunkEnd if line.is_empty() => Next::Size,
            Next::ChunkEnd => return Err("a chunk that is longer than it says".to_owned()),
            Next::Size => {
                let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
                let size = std::str::from_utf8(size).ok().map(str::trim);
                let size = size.and_then(|size| u64::from_str_radix(size, 16).ok());
                match size.ok_or("a chunk whose length is no number")? {
                    0 => Next::Trailer,
                    size => Next::Chunk(size),
                }
            }
            _ if line.is_empty() => Next::Nothing,
            _ => Next::Trailer,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of bytes that come in pieces of a size: status, whether it is whole, the body.
    fn read(bytes: &[u8], size: usize) -> Result<(u16, bool, Vec<u8>), String> {
        let mut reader = Reader::new();
        let mut body = Vec::new();
        for piece in bytes.chunks(size) {
            reader.push(piece, |part| body.extend_from_slice(part))?;
        }
        Ok((reader.status, reader.is_whole(), body))
    }

    const LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: y\r\n\r\nhello";
    const CHUNKS: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\na;x=1\r\nlo\r\n world\r\n0\r\nt: 1\r\n\r\n";

    #[test]
    fn bodies_are_read_by_length_and_by_chunks_wherever_they_are_cut() {
        for size in 1..=LENGTH.len() {
            assert_eq!(read(LENGTH, size), Ok((200, true, b"hello".to_vec())), "pieces of {size}");
        }
        for size in 1..=CHUNKS.len() {
            assert_eq!(read(CHUNKS, size), Ok((429, true, b"hello\r\n world".to_vec())), "pieces of {size}");
        }
    }

    #[test]
    fn what_is_cut_is_not_whole() {
        for bytes in [LENGTH, CHUNKS] {
            for cut in 1..bytes.len() {
                let (_, is_whole, _) = read(bytes.get(..cut).unwrap(), 7).unwrap();
                assert!(!is_whole, "cut at {cut}");
            }
        }
    }

    #[test]
    fn an_answer_without_a_body_ends_with_its_head() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(read(answer, 1), Ok((200, true, vec![])));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for (bytes, error) in [
            (&b"HTTP/1.0 200 OK\r\n\r\n"[..], "no status line"),
            (b"HTTP/1.1 200 OK\r\n\r\n", "neither a length nor chunks"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "no number"),
            (b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "without a colon"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab", "behind the end"),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "no number"),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n", "longer than it says"),
        ] {
            let said = read(bytes, 5).unwrap_err();
            assert!(said.contains(error), "{said}");
        }
        assert!(read(&vec![b'x'; MAX_LINES + 2], 4096).unwrap_err().contains("endless"));
    }

    #[test]
    fn a_connection_that_is_to_be_closed_is_not_kept() {
        let mut reader = Reader::new();
        reader.push(b"HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 0\r\n\r\n", |_| ()).unwrap();
        assert!(!reader.keeps);
    }
}
