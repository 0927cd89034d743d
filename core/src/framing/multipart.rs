//! A reader of multipart bodies: RFC 2046, section 5.1, as RFC 7578 uses it for forms.
//!
//! The bytes arrive in pieces of any size, and only those of texts and the first and last ones of files are kept. A part is
//! otherwise a range of the body, so that a file of megabytes is never held here. What a name means is the matter of
//! [`crate::format::form`].
//!
//! Upstreams read the same bytes with readers of their own, and a part that only one of the two sees could name another
//! model. So whatever readers are known to disagree about is an error: lines that end without a carriage return, escapes
//! in names, repeated headers and parameters, encodings of a part.

use std::ops::Range;

use memchr::memmem::Finder;

use crate::error::{Code, Error};

/// The longest boundary, in bytes, according to RFC 2046.
const MAX_BOUNDARY: usize = 70;
/// The most parts of a body. A form has some ten fields and at most 16 images.
pub const MAX_PARTS: usize = 256;
/// The most bytes of the head of a part.
pub const MAX_HEAD: usize = 4 * 1024;
/// The most bytes of all texts together.
pub const MAX_TEXTS: usize = 4 * 1024 * 1024;
/// The first bytes of a file that are kept, and the last ones: the headers of a container are in them.
pub const FILE_START: usize = 64 * 1024;
const FILE_END: usize = 64 * 1024;
/// The most characters of a name in a message.
const MAX_SHOWN: usize = 40;

/// One part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The name.
    pub name: String,
    /// `true` if it has a file name, so that it is a file and no text.
    pub is_file: bool,
    /// From the delimiter before the part to the one after it: the bytes to cut in order to remove the part.
    pub extent: Range<usize>,
    /// The bytes of the content.
    pub content: Range<usize>,
    /// The content of a text, or the first [`FILE_START`] bytes of a file.
    pub kept: Vec<u8>,
    /// The last 64 to 128 KiB of the rest of a file, or all of the rest; empty if there is no rest.
    pub end: Vec<u8>,
}

/// A body that has been read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multipart {
    /// The parts, in their order.
    pub parts: Vec<Part>,
    /// The boundary.
    pub boundary: String,
    /// The position of the last delimiter, at which a further part can be inserted.
    pub end: usize,
}

/// Reads a body piece by piece.
#[derive(Debug)]
pub struct Reader {
    boundary: String,
    /// Finds a line feed and the delimiter.
    delimiter: Finder<'static>,
    state: State,
    /// The bytes that have arrived and are not read yet.
    rest: Vec<u8>,
    /// The position of `rest` in the body.
    at: usize,
    parts: Vec<Part>,
    /// The bytes of the texts so far.
    texts: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first delimiter.
    Preamble,
    /// Behind a delimiter, whose position this is.
    Delimiter(usize),
    /// In the head of a part, behind the delimiter at this position.
    Head(usize),
    /// In the content of the last part.
    Content,
    /// Behind the last delimiter, whose position this is.
    End(usize),
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::InvalidForm, message)
}

/// A name as it is shown in a message.
fn shown(name: &str) -> String {
    name.chars().filter(|shown| !shown.is_control()).take(MAX_SHOWN).collect()
}

/// Returns `true` if a content type is that of a form.
pub fn is_form_type(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("multipart/form-data"))
}

/// The boundary that a content type states.
fn boundary(content_type: &str) -> Result<String, Error> {
    let wrong = |what: &str| {
        let message = format!("'Content-Type: multipart/form-data' {what}; let the HTTP client set it");
        invalid(message).with_param("content-type")
    };
    let parameters = content_type.split_once(';').map_or("", |(_, parameters)| parameters);
    let parameters = read_parameters(parameters).ok_or_else(|| wrong("has malformed parameters"))?;
    let mut stated = parameters.into_iter().filter(|(name, _)| name == "boundary");
    let (Some((_, boundary)), None) = (stated.next(), stated.next()) else {
        return Err(wrong("must state one boundary"));
    };
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let is_valid = (1..=MAX_BOUNDARY).contains(&boundary.len())
        && boundary.bytes().all(is_allowed)
        && !boundary.ends_with(' ');
    if is_valid {
        Ok(boundary)
    } else {
        Err(wrong("must have a boundary of 1 to 70 characters that RFC 2046 allows"))
    }
}

/// Parameters, each with a semicolon before it but the first: names in lower case, and values without quotes. `None` if
/// they are malformed, or if a quoted value has an escape.
fn read_parameters(text: &str) -> Option<Vec<(String, String)>> {
    let mut list = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(';').unwrap_or(after.len())),
        };
        if value.contains('\\') {
            return None;
        }
        let after = after.trim_start();
        rest = if after.is_empty() { "" } else { after.strip_prefix(';')?.trim_start() };
        let name = name.trim().to_ascii_lowercase();
        if name.is_empty() || name.contains([';', '"', ' ']) {
            return None;
        }
        list.push((name, value.trim_end().to_owned()));
    }
    Some(list)
}

impl Reader {
    /// The reader for a body of this content type.
    pub fn new(content_type: &str) -> Result<Reader, Error> {
        let boundary = boundary(content_type)?;
        let delimiter = Finder::new(format!("\n--{boundary}").as_bytes()).into_owned();
        Ok(Reader {
            boundary,
            delimiter,
            state: State::Preamble,
            // The first delimiter may be at the very beginning, as if a line had ended before it.
            rest: b"\r\n".to_vec(),
            at: 0,
            parts: Vec::new(),
            texts: 0,
        })
    }

    /// Takes the next bytes of the body.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.rest.extend_from_slice(piece);
        while self.step()? {}
        Ok(())
    }

    /// Ends the body.
    pub fn finish(self) -> Result<Multipart, Error> {
        let Reader { boundary, parts, state, .. } = self;
        let ended = match state {
            State::End(end) => return Ok(Multipart { parts, boundary, end }),
            State::Preamble => "has no line '--' and the boundary of its content type".to_owned(),
            _ => match parts.last() {
                Some(last) => {
                    format!("ends in or after part '{}', without its last boundary line", shown(&last.name))
                }
                None => "ends without its last boundary line".to_owned(),
            },
        };
        Err(invalid(format!("The form {ended}; send the whole body")))
    }

    /// Removes bytes from the front of the rest.
    fn consume(&mut self, count: usize) {
        self.rest.drain(..count);
        self.at += count;
    }

    /// Reads on; returns `false` if more bytes are needed.
    fn step(&mut self) -> Result<bool, Error> {
        match self.state {
            State::Preamble | State::Content => self.until_delimiter(),
            State::Delimiter(start) => self.after_delimiter(start),
            State::Head(start) => self.head(start),
            State::End(_) => {
                self.consume(self.rest.len());
                Ok(false)
            }
        }
    }

    /// Reads to the next delimiter.
    fn until_delimiter(&mut self) -> Result<bool, Error> {
        let length = self.delimiter.needle().len();
        match self.delimiter.find(&self.rest) {
            None => {
                // A delimiter may have begun, with the carriage return before it.
                let count = self.rest.len().saturating_sub(length);
                self.keep(count)?;
                self.consume(count);
                Ok(false)
            }
            Some(found) => {
                let end = found.checked_sub(1).filter(|before| self.rest.get(*before) == Some(&b'\r'));
                let Some(end) = end else {
                    return Err(invalid(format!(
                        "A boundary line {} does not begin after a carriage return and a line feed",
                        self.place()
                    )));
                };
                self.keep(end)?;
                // Of the bytes before the body, none is part of it.
                let delimiter = (self.at + found + 1).saturating_sub(2);
                if self.state == State::Content
                    && let Some(part) = self.parts.last_mut()
                {
                    part.content.end = delimiter.saturating_sub(2);
                    part.extent.end = delimiter;
                }
                self.consume(found + length);
                self.state = State::Delimiter(delimiter);
                Ok(true)
            }
        }
    }

    /// Keeps the first `count` bytes of the rest, as far as they are a text or the start of a file.
    fn keep(&mut self, count: usize) -> Result<(), Error> {
        let Some(part) = self.parts.last_mut().filter(|_| self.state == State::Content) else {
            return Ok(());
        };
        let bytes = self.rest.get(..count).unwrap_or_default();
        if part.is_file {
            let room = FILE_START.saturating_sub(part.kept.len());
            let (start, rest) = bytes.split_at(room.min(bytes.len()));
            part.kept.extend_from_slice(start);
            keep_end(&mut part.end, rest);
            return Ok(());
        }
        self.texts += count;
        if self.texts > MAX_TEXTS {
            let name = shown(&part.name);
            let message = format!(
                "Part '{name}' is too large: the texts of a form have at most {MAX_TEXTS} bytes together; send a file with its 'filename'"
            );
            return Err(Error::new(Code::BodyTooLarge, message).with_param(name));
        }
        part.kept.extend_from_slice(bytes);
        Ok(())
    }

    /// Reads the end of a delimiter.
    fn after_delimiter(&mut self, start: usize) -> Result<bool, Error> {
        if self.rest.starts_with(b"--") {
            self.state = State::End(start);
            return Ok(true);
        }
        let padding = self.rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let after = self.rest.get(padding..).unwrap_or_default();
        if after.len() < 2 && padding < MAX_BOUNDARY && b"\r\n".starts_with(after) || self.rest == b"-" {
            return Ok(false);
        }
        if !after.starts_with(b"\r\n") || padding >= MAX_BOUNDARY {
            return Err(invalid(format!("A boundary line {} has more than the boundary", self.place())));
        }
        if self.parts.len() == MAX_PARTS {
            return Err(invalid(format!("The form has more than {MAX_PARTS} parts")));
        }
        // The line feed is left, so that the end of an empty head is found like that of any other.
        self.consume(padding);
        self.state = State::Head(start);
        Ok(true)
    }

    /// Reads the head of a part.
    fn head(&mut self, start: usize) -> Result<bool, Error> {
        const END: &[u8] = b"\r\n\r\n";
        let searched = self.rest.get(..self.rest.len().min(MAX_HEAD)).unwrap_or_default();
        let Some(end) = memchr::memmem::find(searched, END) else {
            if self.rest.len() < MAX_HEAD {
                return Ok(false);
            }
            let message = format!("The headers of a part {} have more than {MAX_HEAD} bytes", self.place());
            return Err(invalid(message));
        };
        let head = self.rest.get(..end).unwrap_or_default();
        let (name, is_file) = read_head(head)
            .map_err(|what| invalid(format!("The headers of the part {} {what}", self.place())))?;
        self.consume(end + END.len());
        let content = self.at.saturating_sub(2);
        self.parts.push(Part {
            name,
            is_file,
            extent: start..start,
            content: content..content,
            kept: Vec::new(),
            end: Vec::new(),
        });
        self.state = State::Content;
        Ok(true)
    }

    /// The place that has been reached, for a message.
    fn place(&self) -> String {
        let before = self.parts.last().map(|part| format!("after part '{}'", shown(&part.name)));
        before.unwrap_or_else(|| "before the first part".to_owned())
    }
}

/// Adds bytes to the end of a file, of which the last [`FILE_END`] are needed.
fn keep_end(end: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = bytes.get(bytes.len().saturating_sub(FILE_END)..).unwrap_or_default();
    // Not with each piece: the rest would be moved each time.
    if end.len() + bytes.len() > 2 * FILE_END {
        let excess = (end.len() + bytes.len()).saturating_sub(FILE_END).min(end.len());
        end.drain(..excess);
    }
    end.extend_from_slice(bytes);
}

/// The name in the head of a part, and `true` if it has a file name. The error is the rest of a sentence.
fn read_head(head: &[u8]) -> Result<(String, bool), &'static str> {
    const DISPOSITION: &str = "must have one 'Content-Disposition: form-data; name=\"…\"'";
    let head = std::str::from_utf8(head).map_err(|_| "are not UTF-8")?;
    let mut found = None;
    for line in head.split("\r\n").filter(|line| !line.is_empty()) {
        if line.contains(['\r', '\n', '\0']) || line.starts_with([' ', '\t']) {
            return Err("have a line that ends without a carriage return and a line feed, or is folded");
        }
        let (name, value) = line.split_once(':').ok_or("have a line without a colon")?;
        match name.to_ascii_lowercase().as_str() {
            "content-disposition" if found.is_some() => return Err(DISPOSITION),
            "content-disposition" => found = Some(value.trim()),
            "content-transfer-encoding" => {
                let is_plain =
                    ["7bit", "8bit", "binary"].iter().any(|plain| value.trim().eq_ignore_ascii_case(plain));
                if !is_plain {
                    return Err("must not have a 'Content-Transfer-Encoding'; send the bytes as they are");
                }
            }
            _ if name.ends_with([' ', '\t']) => return Err("have white space before a colon"),
            _ => {}
        }
    }
    let (kind, parameters) = found.ok_or(DISPOSITION)?.split_once(';').ok_or(DISPOSITION)?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(DISPOSITION);
    }
    let (mut names, mut is_file) = (Vec::new(), false);
    for (name, value) in disposition(parameters).ok_or("have a malformed 'Content-Disposition'")? {
        match name.as_str() {
            "name" => names.push(value),
            "filename" | "filename*" => is_file = true,
            "name*" => return Err("must have a plain 'name', not 'name*'"),
            _ => {}
        }
    }
    let [name] = <[String; 1]>::try_from(names).map_err(|_| DISPOSITION)?;
    if name.is_empty() || name.chars().any(|one| one.is_control() || matches!(one, '\\' | '%')) {
        return Err("must have a 'name' without escapes and control characters");
    }
    Ok((name, is_file))
}

/// The parameters of a disposition. Only file names may have escapes, since nothing is read of them.
fn disposition(text: &str) -> Option<Vec<(String, String)>> {
    let mut plain = String::new();
    let mut is_quoted = false;
    let mut characters = text.chars();
    while let Some(one) = characters.next() {
        match one {
            '"' => is_quoted = !is_quoted,
            // What is escaped is not read. An escape in a name stays, and is rejected there.
            '\\' if is_quoted => {
                let escaped = characters.next()?;
                plain.push('%');
                plain.extend(Some(escaped).filter(|escaped| !matches!(escaped, '"' | '\\')));
                continue;
            }
            _ => {}
        }
        plain.push(one);
    }
    read_parameters(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPE: &str = "multipart/form-data; boundary=b";

    fn read(body: &[u8], size: usize) -> Result<Multipart, Error> {
        let mut reader = Reader::new(TYPE)?;
        for piece in body.chunks(size.max(1)) {
            reader.push(piece)?;
        }
        reader.finish()
    }

    const FORM: &str = "preamble\r\n--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n\
        --b \t\r\ncontent-type: audio/wav\r\ncontent-disposition: FORM-DATA; filename=\"a \\\"b\\\\; name=x.wav\"; name=file\r\n\r\n\
        RIFF\r\n--B\r\n-\n\r\n--b\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--b--\r\nepilogue";

    #[test]
    fn a_form_is_read_whatever_its_split() {
        for size in 1..=FORM.len() {
            let Multipart { parts, boundary, end } = read(FORM.as_bytes(), size).unwrap();
            let read: Vec<(&str, bool, &[u8])> =
                parts.iter().map(|part| (part.name.as_str(), part.is_file, &*part.kept)).collect();
            assert_eq!(
                read,
                [("model", false, &b"m"[..]), ("file", true, b"RIFF\r\n--B\r\n-\n"), ("empty", false, b"")],
                "{size}"
            );
            assert_eq!(boundary, "b");
            assert_eq!(FORM.get(end..end + 5), Some("--b--"));
            for part in &parts {
                assert_eq!(FORM.get(part.content.clone()).map(str::as_bytes), Some(&*part.kept));
                let extent = FORM.get(part.extent.clone()).unwrap();
                assert!(extent.starts_with("--b") && extent.ends_with("\r\n"), "{extent}");
            }
        }
    }

    #[test]
    fn the_first_boundary_may_be_the_beginning() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--b--";
        let form = read(body.as_bytes(), 3).unwrap();
        assert_eq!(form.parts.first().map(|part| part.extent.clone()), Some(0..form.end));
        assert_eq!(read(b"--b--", 5).unwrap().parts.len(), 0);
    }

    #[test]
    fn a_boundary_may_be_quoted() {
        for (stated, boundary) in [
            ("multipart/form-data; boundary=\"a b:c\"; charset=utf-8", "a b:c"),
            ("multipart/form-data;BOUNDARY=----WebKitFormBoundary7MA4YWxk", "----WebKitFormBoundary7MA4YWxk"),
        ] {
            assert_eq!(Reader::new(stated).unwrap().boundary, boundary);
        }
        for stated in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=a; boundary=b",
            "multipart/form-data; boundary=\"a\\b\"",
            "multipart/form-data; boundary=\"a",
            "multipart/form-data; boundary=a\"b",
            "multipart/form-data; boundary=a\u{e9}",
        ] {
            let error = Reader::new(stated).unwrap_err();
            assert_eq!(
                (error.code(), error.param.as_deref()),
                (Some("invalid_form"), Some("content-type")),
                "{stated}"
            );
        }
        let long =
            |length: usize| Reader::new(&format!("multipart/form-data; boundary={}", "x".repeat(length)));
        assert!(long(70).is_ok() && long(71).is_err());
        assert!(is_form_type("Multipart/Form-Data; boundary=x") && !is_form_type("multipart/mixed"));
    }

    #[test]
    fn what_other_readers_may_read_otherwise_is_rejected() {
        let part = |head: &str| format!("--b\r\n{head}\r\n\r\nx\r\n--b--");
        for (body, words) in [
            (String::new(), "has no line"),
            ("--b\r\n".to_owned(), "without its last boundary"),
            (part("Content-Disposition: form-data; name=\"a\"").replace("\r\n--b--", ""), "part 'a'"),
            (part("Content-Disposition: form-data; name=\"a\"").replace("x\r\n", "x\n"), "after part 'a'"),
            (
                part("Content-Disposition: form-data; name=\"a\"").replace("--b--", "--bb--"),
                "more than the boundary",
            ),
            (part("Content-Type: text/plain"), "must have one"),
            (part("Content-Disposition: form-data"), "must have one"),
            (part("Content-Disposition: attachment; name=\"a\""), "must have one"),
            (part("Content-Disposition: form-data; name=\"a\"; name=\"b\""), "must have one"),
            (
                part("Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b"),
                "must have one",
            ),
            (part("Content-Disposition: form-data; name=\"m\\odel\""), "escapes"),
            (part("Content-Disposition: form-data; name=\"m%6fdel\""), "escapes"),
            (part("Content-Disposition: form-data; name=\"\""), "escapes"),
            (part("Content-Disposition: form-data; name*=UTF-8''a"), "'name*'"),
            (part("Content-Disposition: form-data;\r\n name=\"a\""), "folded"),
            (part("Content-Disposition: form-data; name=\"a"), "malformed"),
            (part("Content-Disposition : form-data; name=\"a\""), "white space"),
            (
                part("Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64"),
                "Transfer-Encoding",
            ),
            (part("no colon"), "colon"),
            (part(&"x".repeat(MAX_HEAD)), "more than"),
        ] {
            for size in [1, body.len()] {
                let error = read(body.as_bytes(), size).unwrap_err();
                assert_eq!((error.status, error.code()), (400, Some("invalid_form")), "{body}");
                assert!(error.message.contains(words), "{body}: {}", error.message);
            }
        }
    }

    #[test]
    fn parts_and_texts_are_bounded_and_files_are_not_kept() {
        let one = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n";
        assert!(read([one.repeat(MAX_PARTS).as_str(), "--b--"].concat().as_bytes(), 1000).is_ok());
        assert!(read(one.repeat(MAX_PARTS + 1).as_bytes(), 1000).is_err());
        let large = "y".repeat(MAX_TEXTS + 10);
        let error = read(one.replace('x', &large).as_bytes(), 65_536).unwrap_err();
        assert_eq!((error.status, error.param.as_deref()), (413, Some("a")));
        let file = one.replace("\"a\"", "\"a\"; filename=\"f\"").replace('x', &large) + "--b--";
        let form = read(file.as_bytes(), 65_536).unwrap();
        let part = form.parts.first().unwrap();
        assert_eq!((part.kept.len(), part.content.len()), (FILE_START, large.len()));
    }

    proptest! {
        /// Any bytes are read or rejected, alike for any split.
        #[test]
        fn any_split_has_the_same_result(
            pieces in proptest::collection::vec(prop_oneof![
                Just("--b"), Just("\r\n"), Just("--"), Just("\n"), Just("x"), Just("\r\n\r\n"), Just("\r"),
                Just("Content-Disposition: form-data; name=\"a\""), Just("; filename=\"f\\\"\""),
            ], 0..24),
            size in 1_usize..9,
        ) {
            let body = pieces.concat();
            let whole = read(body.as_bytes(), body.len());
            let split = read(body.as_bytes(), size);
            prop_assert_eq!(whole.map_err(|error| error.message), split.map_err(|error| error.message));
        }
    }
}
