//! The ids of responses that a provider keeps: those that the gateway remembers and puts into paths.

use crate::json::members;

/// The longest id, in bytes.
const MAX_ID: usize = 128;

/// Returns `true` if a text can be the id of a response: it becomes a segment of a path.
pub fn is_response_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(is_plain)
}

/// The id of a whole response or of one that begins, as JSON; `None` if the gateway cannot remember it.
pub fn response_id(response: &[u8]) -> Option<String> {
    let [id] = members::pick(response, &["id"]).ok()?;
    serde_json::from_str(id?.value).ok().filter(|id: &String| is_response_id(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_segment_of_a_path() {
        for (response, expected) in [
            (r#"{"output":[],"id":"resp_1"}"#, Some("resp_1")),
            (r#"{"id":"a/b"}"#, None),
            (r#"{"id":null}"#, None),
            ("{}", None),
            ("[", None),
        ] {
            assert_eq!(response_id(response.as_bytes()).as_deref(), expected, "{response}");
        }
        assert!(is_response_id(&"a".repeat(MAX_ID)) && !is_response_id(&"a".repeat(MAX_ID + 1)));
        assert!(!is_response_id("") && !is_response_id(".."));
    }
}
