//! Names that callers choose: request ids, projects and models. The first two are safe in headers, logs and URLs.

/// The maximum length of a model name, in bytes. The longest names of providers, which are resource names of clouds,
/// have about 200.
pub(crate) const MAX_MODEL_NAME: usize = 512;

/// The fault of the name of a model, an alias or a group; `None` if callers can use it. It appears in a header, in
/// logs and in receipts.
pub(crate) fn model_name_fault(name: &str) -> Option<String> {
    if name.len() > MAX_MODEL_NAME {
        return Some(format!("is {} bytes long; the limit is {MAX_MODEL_NAME}", name.len()));
    }
    name.chars().any(char::is_control).then(|| "has a control character".to_owned())
}

/// Returns `true` if a text is 1 to `max_length` characters of `[A-Za-z0-9._:-]`.
pub(crate) fn is_name(text: &str, max_length: usize) -> bool {
    (1..=max_length).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-'))
}
