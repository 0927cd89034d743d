//! Writes JSON text piece by piece, so that responses are built without an intermediate tree. Does not read JSON:
//! `serde_json` does.

use std::fmt::Write as _;

/// Appends `text` as a JSON string.
pub(crate) fn quote(out: &mut String, text: &str) {
    out.push('"');
    // Most text needs no escaping, and huge responses must stay cheap.
    if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        text.chars().for_each(|letter| escape(out, letter));
    } else {
        out.push_str(text);
    }
    out.push('"');
}

fn escape(out: &mut String, letter: char) {
    match letter {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        control if control < ' ' => {
            number(out, "\\u00", u64::from(u32::from(control)) >> 4);
            out.push(char::from_digit(u32::from(control) & 15, 16).unwrap_or('0'));
        }
        other => out.push(other),
    }
}

/// Appends `before` and then the decimal number.
pub(crate) fn number(out: &mut String, before: &str, number: u64) {
    out.push_str(before);
    // Writing to a String cannot fail.
    let _ = write!(out, "{number}");
}

/// Returns the text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    quote(&mut out, text);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_survives() {
        let text: String =
            (0..=0x11f_u32).filter_map(char::from_u32).chain("\u{2028}é漢🦀".chars()).collect();
        assert_eq!(serde_json::from_str::<String>(&quoted(&text)).unwrap(), text);
        assert_eq!(quoted("plain"), "\"plain\"");
    }
}
