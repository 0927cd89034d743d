//! Ids of tool calls on their way between formats.
//!
//! A client echoes the ids that it got, so an id that one format does not accept has to come back as it was, without
//! state. [`fit`] writes the characters that are not accepted as escapes, which [`restore`] reads again; an id that
//! is then too long becomes a hash, which is the same for the call and its result.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// The beginning of an id with escapes.
const ESCAPED: &str = "gwid-";

/// The ids that a format, or one provider of it, accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The longest id, in bytes.
    pub longest: usize,
    /// Characters other than letters and digits that may be in it.
    pub others: &'static str,
}

/// Anthropic: `^[a-zA-Z0-9_-]+$`. Its length is not documented; this one is accepted everywhere.
pub const MESSAGES: Rule = Rule { longest: 128, others: "_-" };
/// OpenAI and most others accept any text; Responses at most 64 characters.
pub const OPENAI: Rule = Rule { longest: 64, others: "_-.:" };
/// Mistral: exactly nine letters and digits.
pub const MISTRAL: Rule = Rule { longest: 9, others: "" };

impl Rule {
    fn accepts(self, id: &str) -> bool {
        let is_known = |char: char| char.is_ascii_alphanumeric() || self.others.contains(char);
        !id.is_empty()
            && id.len() <= self.longest
            && id.chars().all(is_known)
            && (self != MISTRAL || id.len() == 9)
    }
}

/// The id in a form that a rule accepts.
pub fn fit(id: &str, rule: Rule) -> Cow<'_, str> {
    if rule.accepts(id) {
        return Cow::Borrowed(id);
    }
    if rule.others.contains('-') {
        let escaped = escaped(id);
        if rule.accepts(&escaped) {
            return Cow::Owned(escaped);
        }
    }
    let mut hash = hex::encode(Sha256::digest(id));
    hash.truncate(rule.longest.min(40));
    Cow::Owned(hash)
}

/// The id as it was before [`fit`], unless it had become a hash.
pub fn restore(id: &str) -> Cow<'_, str> {
    id.strip_prefix(ESCAPED).and_then(unescaped).map_or(Cow::Borrowed(id), Cow::Owned)
}

/// Every byte that is not a letter, a digit or `_` as `-` and two hexadecimal digits.
fn escaped(id: &str) -> String {
    id.bytes().fold(ESCAPED.to_owned(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "-{byte:02x}");
        }
        text
    })
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut pieces = text.split('-');
    bytes.extend_from_slice(pieces.next()?.as_bytes());
    for piece in pieces {
        bytes.push(u8::from_str_radix(piece.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(piece.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_and_what_does_not_comes_back() {
        assert_eq!(fit("toolu_01A-b", MESSAGES), "toolu_01A-b");
        for id in ["functions.Bash:0", "é b", "call-1.2", "gwid-x:"] {
            let fitted = fit(id, MESSAGES);
            assert!(MESSAGES.accepts(&fitted), "{fitted}");
            assert_eq!(restore(&fitted), id);
        }
        assert_eq!(restore("call_1"), "call_1");
        assert_eq!(restore("gwid-a-z"), "gwid-a-z");
    }

    #[test]
    fn what_is_too_long_becomes_a_hash_that_is_always_the_same() {
        let long = "x".repeat(200);
        assert_eq!(fit(&long, MESSAGES), fit(&long, MESSAGES));
        assert!(MESSAGES.accepts(&fit(&long, MESSAGES)));
        assert!(MISTRAL.accepts(&fit("call_abc", MISTRAL)));
        assert_ne!(fit("call_abc", MISTRAL), fit("call_abd", MISTRAL));
        assert!(MESSAGES.accepts(&fit("", MESSAGES)));
    }
}
