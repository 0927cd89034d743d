//! A check of a JSON text that allocates nothing, for texts whose fields need not be read.

/// Deeper texts are not checked: each level is a bit of a number.
const DEEPEST: u32 = 63;

/// In how many objects and arrays a comma of a JSON text lies. `None` if there is no comma between values at the place,
/// if the text is no JSON (or one whose field names have escapes, or that is very deep), or if it is no object.
pub fn depth_of_comma(text: &[u8], place: usize) -> Option<u32> {
    str::from_utf8(text).ok()?;
    let mut scan = Scan { text, at: 0 };
    let mut found = None;
    // A bit for each level: 1 for an object, 0 for an array; the lowest is the innermost.
    let (mut levels, mut depth) = (0u64, 0u32);
    scan.space();
    if scan.peek() != Some(b'{') {
        return None;
    }
    loop {
        // A value.
        match scan.next()? {
            open @ (b'{' | b'[') => {
                depth += 1;
                if depth > DEEPEST {
                    return None;
                }
                levels = levels << 1 | u64::from(open == b'{');
                scan.space();
                let close = if open == b'{' { b'}' } else { b']' };
                if scan.peek() != Some(close) {
                    if open == b'{' {
                        scan.name()?;
                    }
                    continue;
                }
            }
            b'"' => _ = scan.string()?,
            b't' => scan.literal(b"rue")?,
            b'f' => scan.literal(b"alse")?,
            b'n' => scan.literal(b"ull")?,
            first => scan.number(first)?,
        }
        // A value is followed by the ends of objects and arrays, then a comma or the end of the text.
        loop {
            scan.space();
            let in_object = levels & 1 == 1;
            match scan.peek() {
                Some(b'}') if depth > 0 && in_object => {}
                Some(b']') if depth > 0 && !in_object => {}
                Some(b',') if depth > 0 => {
                    if scan.at == place {
                        found = Some(depth);
                    }
                    scan.at += 1;
                    scan.space();
                    if in_object {
                        scan.name()?;
                    }
                    break;
                }
                None if depth == 0 => return found,
                _ => return None,
            }
            scan.at += 1;
            levels >>= 1;
            depth -= 1;
        }
    }
}

/// A place in a text.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The name of a field and its colon. A name with escapes is not compared with others, and so ends the scan.
    fn name(&mut self) -> Option<()> {
        (self.next()? == b'"' && !self.string()?).then_some(())?;
        self.space();
        (self.next()? == b':').then_some(())?;
        self.space();
        Some(())
    }

    /// The rest of a string. Returns `true` if it has escapes.
    fn string(&mut self) -> Option<bool> {
        let mut has_escapes = false;
        loop {
            match self.next()? {
                b'"' => return Some(has_escapes),
                b'\\' => {
                    has_escapes = true;
                    match self.next()? {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                        b'u' => {
                            for _ in 0..4 {
                                self.next()?.is_ascii_hexdigit().then_some(())?;
                            }
                        }
                        _ => return None,
                    }
                }
                0..0x20 => return None,
                _ => {}
            }
        }
    }

    fn literal(&mut self, rest: &[u8]) -> Option<()> {
        let end = self.at + rest.len();
        (self.text.get(self.at..end)? == rest).then(|| self.at = end)
    }

    /// The rest of a number.
    fn number(&mut self, first: u8) -> Option<()> {
        let first = if first == b'-' { self.next()? } else { first };
        match first {
            b'0' => {}
            b'1'..=b'9' => _ = self.digits(),
            _ => return None,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            (self.digits() > 0).then_some(())?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            (self.digits() > 0).then_some(())?;
        }
        Some(())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    /// Adds a field behind a comma, so that a text which is an object has a place to look at.
    fn is_object(text: &str) -> bool {
        let Some(body) = text.strip_suffix('}') else { return false };
        depth_of_comma(format!(r#"{body},"z":0}}"#).as_bytes(), body.len()) == Some(1)
    }

    #[test]
    fn finds_the_depth_of_a_comma() {
        let text = r#" {"a":[1,{"b":"x,y","c":[]},{}],"d":-1.5e+3 , "e":null} "#;
        let places: Vec<_> =
            text.match_indices(',').map(|(place, _)| depth_of_comma(text.as_bytes(), place)).collect();
        assert_eq!(places, [Some(2), None, Some(3), Some(2), Some(1), Some(1)]);
        assert_eq!(depth_of_comma(text.as_bytes(), 0), None);
    }

    #[test]
    fn what_is_no_json_object_has_no_depth() {
        for text in [
            r#"{"a":1}}"#,
            r#"{"a":1,}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":.1}"#,
            r#"{"a":1e}"#,
            r#"{"a":+1}"#,
            r#"{"a":tru}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\u12g4"}"#,
            "{\"a\":\"\u{1}\"}",
            r#"{"a" 1}"#,
            "{a:1}",
            r#"{"a":[1}"#,
            r#"{"a":{1]}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":}"#,
            r#"{"a":1 2}"#,
            r#"{"a":1"b":2}"#,
            r#"{"a\n":1}"#,
        ] {
            assert!(!is_object(text), "{text}");
        }
        assert_eq!(depth_of_comma(b"[1,2]", 2), None);
        assert_eq!(depth_of_comma(b"{\"a\":\"\xff\",\"b\":1}", 8), None);
        let deep = format!(r#"{{"a":{}{},"b":1}}"#, "[".repeat(100), "]".repeat(100));
        assert_eq!(depth_of_comma(deep.as_bytes(), 205), None);
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(text in r#"\{("[a-c]":([0-9.eE+-]{1,4}|"([a-c]|\\[nu/x])*"|\[\]|\{\}|true|null|\[[0-9],?\]) ?,? ?){1,3}\}"#) {
            let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
            prop_assert_eq!(is_object(&text), is_json, "{}", text);
        }
    }
}
