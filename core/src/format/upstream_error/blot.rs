//! Blots the gateway's credential, whole or in part, out of what an upstream says.

/// The text in the place of a credential.
const BLOT: &str = "…";
/// The least number of bytes that a word has to share with the start of the credential, to count as a part of it.
const START: usize = 8;
/// The same for its end.
const END: usize = 4;
/// Shorter credentials are blotted only as a whole: their parts are ordinary words.
const LEAST: usize = 12;

/// Returns the text without the credential and without words that show a part of it: `sk-abc***xyz`, `…wxyz`.
pub fn blot(text: &str, key: &str) -> String {
    let text = if key.is_empty() { text.to_owned() } else { text.replace(key, BLOT) };
    if key.len() < LEAST {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let gap = rest.find(is_of_word).unwrap_or(rest.len());
        let (before, from) = rest.split_at(gap);
        let (word, after) = from.split_at(from.find(|char| !is_of_word(char)).unwrap_or(from.len()));
        out.push_str(before);
        out.push_str(if shows(word, key) { BLOT } else { word });
        rest = after;
    }
    out
}

fn is_of_word(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '-' | '_' | '*' | '.' | '…' | '•' | '+' | '=' | '/')
}

/// Returns `true` if a word shows a part of the key.
fn shows(word: &str, key: &str) -> bool {
    let word = word.trim_end_matches('.');
    let common = |a: &mut dyn Iterator<Item = u8>, b: &mut dyn Iterator<Item = u8>| {
        a.zip(b).take_while(|(a, b)| a == b).count()
    };
    let start = common(&mut word.bytes(), &mut key.bytes());
    let end = common(&mut word.bytes().rev(), &mut key.bytes().rev());
    let is_masked = ["**", "...", "…", "••", "xxx", "XXX"].iter().any(|mask| word.contains(mask));
    start >= START || end >= END || (is_masked && (start >= 2 || end >= 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_key_is_left() {
        let key = "xai-AbCdEfGh1234567890";
        for (text, expected) in [
            ("Incorrect API key provided: xa***90. Get one", "Incorrect API key provided: … Get one"),
            ("key xai-AbCdEfGh1234567890!", "key …!"),
            ("key xai-AbCd...7890,", "key …,"),
            ("ends with 7890", "ends with …"),
            ("starts with 'xai-AbCdEf'", "starts with '…'"),
            ("****7890 is invalid", "… is invalid"),
            ("An ordinary sentence... with **bold** words.", "An ordinary sentence... with **bold** words."),
        ] {
            assert_eq!(blot(text, key), expected);
        }
        assert_eq!(blot("a test of tests", "test"), "a … of …s");
        assert_eq!(blot("a", ""), "a");
    }
}
