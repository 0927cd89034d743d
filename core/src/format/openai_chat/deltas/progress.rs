//! The progress of the arguments of a call.

/// The state of a JSON text that arrives in pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the first two are about the last byte, the others about all"
)]
pub(super) struct Progress {
    depth: u32,
    in_string: bool,
    is_escaped: bool,
    /// `true` once anything but white space has arrived.
    pub(super) is_begun: bool,
    /// `true` once the outermost object or array has been closed.
    pub(super) is_complete: bool,
}

impl Progress {
    /// Takes the next piece.
    pub(super) fn push(&mut self, piece: &str) {
        for byte in piece.bytes() {
            self.is_begun |= !byte.is_ascii_whitespace();
            if self.in_string {
                self.in_string = self.is_escaped || byte != b'"';
                self.is_escaped = !self.is_escaped && byte == b'\\';
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.is_complete |= self.depth == 0;
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_complete_when_the_outermost_object_is_closed() {
        for (text, is_complete) in [
            ("", false),
            (" ", false),
            ("{", false),
            ("{}", true),
            (r#"{"a":"}"#, false),
            (r#"{"a":"}\"}"}"#, true),
            (r#"{"a":"\\"}"#, true),
            (r#"{"a":[{}]"#, false),
            (r#"{"a":[{}]}"#, true),
        ] {
            let mut whole = Progress::default();
            whole.push(text);
            assert_eq!(whole.is_complete, is_complete, "{text}");
            let mut pieces = Progress::default();
            text.chars().for_each(|char| pieces.push(char.encode_utf8(&mut [0; 4])));
            assert_eq!(pieces, whole, "{text}");
        }
    }
}
