//! Keys as clients send them: in headers, doubled, with the wrong prefix, mistyped, or of somebody else.

use super::format::{FormatError, KEY_LENGTH, public_id};
use super::secret::Secret;

/// One header, or several headers of one name, carry different keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict;

/// The key in the value of `Authorization`; `None` if it has no bearer token. RFC 9110, section 11.1: schemes are
/// case-insensitive. Some clients write `Bearer` in front of a key that already has it.
pub fn bearer(value: &str) -> Result<Option<Secret>, Conflict> {
    let mut has_scheme = false;
    let parts = value.split(',').map(|part| {
        let mut rest = part.trim();
        while let Some(token) = without_scheme(rest) {
            (rest, has_scheme) = (token, true);
        }
        rest
    });
    let key = one_of(parts);
    if has_scheme { key } else { Ok(None) }
}

/// The key in a header that has nothing else.
pub fn plain(value: &str) -> Result<Option<Secret>, Conflict> {
    one_of(value.split(','))
}

/// The key that all headers of one name carry; the runtime joins their values by commas.
fn one_of<'v>(values: impl Iterator<Item = &'v str>) -> Result<Option<Secret>, Conflict> {
    let mut key: Option<Secret> = None;
    for value in values.filter_map(Secret::new) {
        match &key {
            Some(known) if known.expose() != value.expose() => return Err(Conflict),
            _ => key = Some(value),
        }
    }
    Ok(key)
}

/// The text behind the scheme `Bearer`.
fn without_scheme(text: &str) -> Option<&str> {
    let (scheme, token) = text.split_once([' ', '\t'])?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start())
}

/// The prefixes of other services' keys, the longer of two that fit first.
const FOREIGN: &[(&str, &str)] = &[
    ("sk-ant-", "Anthropic"),
    ("sk-or-", "OpenRouter"),
    ("sk-proj-", "OpenAI"),
    ("sk-svcacct-", "OpenAI"),
    ("sk-", "OpenAI or a similar provider"),
    ("AIza", "Google"),
    ("gsk_", "Groq"),
    ("xai-", "xAI"),
    ("hf_", "Hugging Face"),
    ("nvapi-", "NVIDIA"),
    ("pplx-", "Perplexity"),
    ("csk-", "Cerebras"),
    ("fw_", "Fireworks"),
    ("ghp_", "GitHub"),
    ("github_pat_", "GitHub"),
];

/// The visible fault of a key that is not valid; empty if there is none. Never contains a part of the key.
pub fn fault(key: &str) -> String {
    match public_id(key) {
        Ok(_) => String::new(),
        Err(FormatError::Prefix) => {
            let owner = FOREIGN.iter().find(|(prefix, _)| key.starts_with(prefix));
            owner.map_or_else(String::new, |(_, owner)| {
                format!("it looks like a key of {owner}; send a key of this gateway")
            })
        }
        Err(FormatError::Length) => {
            let length = key.chars().count();
            format!(
                "it is incomplete or has something added: it has {length} characters, and a key has {KEY_LENGTH}"
            )
        }
        Err(FormatError::Alphabet | FormatError::Checksum | FormatError::Overflow) => {
            "it is mistyped: its checksum does not match; copy the whole key again".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_keys_as_clients_send_them() {
        let exposed = |key: Result<Option<Secret>, Conflict>| {
            key.map(|key| key.map_or_else(String::new, |key| key.expose().to_owned()))
        };
        for (value, key) in [
            ("Bearer k", Ok("k")),
            ("bearer k", Ok("k")),
            ("BEARER  k ", Ok("k")),
            ("Bearer\tk", Ok("k")),
            ("Bearer Bearer k", Ok("k")),
            ("Bearer bearer k", Ok("k")),
            ("Bearer k, Bearer k", Ok("k")),
            ("Bearer k, Bearer other", Err(Conflict)),
            ("Bearer k, Basic other", Err(Conflict)),
            ("Bearer", Ok("")),
            ("Bearer ", Ok("")),
            ("k", Ok("")),
            ("Basic k", Ok("")),
            ("Bearerk", Ok("")),
            ("", Ok("")),
        ] {
            assert_eq!(exposed(bearer(value)), key.map(str::to_owned), "{value}");
        }
        for (value, key) in [("k", Ok("k")), (" k ,k", Ok("k")), ("k, other", Err(Conflict)), (" ", Ok(""))] {
            assert_eq!(exposed(plain(value)), key.map(str::to_owned), "{value}");
        }
    }

    #[test]
    fn names_what_is_wrong_with_a_key() {
        let key = super::super::mint(&[7; super::super::MINT_BYTES]);
        assert_eq!(fault(&key), "");
        assert_eq!(fault("something"), "");
        let mistyped = key.replacen(key.get(20..21).unwrap(), "_", 1);
        let other = if key.ends_with('0') { "1" } else { "0" };
        let last = format!("{}{other}", &key.get(..key.len() - 1).unwrap());
        for (key, words) in [
            (last.as_str(), "its checksum does not match"),
            (mistyped.as_str(), "mistyped"),
            (key.get(..40).unwrap(), "it has 40 characters, and a key has 52"),
            ("sk-ant-api03-abc", "a key of Anthropic;"),
            ("sk-abc", "a key of OpenAI or a similar provider;"),
            ("AIzaSyAbc", "a key of Google;"),
        ] {
            let fault = fault(key);
            assert!(fault.contains(words) && !fault.contains(key), "{fault}");
        }
    }
}
