//! Names that callers choose: request ids and projects. They are safe in headers, logs and URLs.

/// Returns `true` if a text is 1 to `max_length` characters of `[A-Za-z0-9._:-]`.
pub(crate) fn is_name(text: &str, max_length: usize) -> bool {
    (1..=max_length).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-'))
}
