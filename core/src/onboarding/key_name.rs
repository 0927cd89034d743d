//! The form of names: of issued keys, and of the policies in requests. The tests are those of [`super::api_key`] and
//! [`super::key_request`].

use serde_json::json;
use validator::ValidationError;

use crate::error::{Code, Error};
use crate::text::invalid;

/// The maximum length of a name, in bytes.
const MAX_NAME: usize = 100;
const MAX_POLICIES: usize = 16;

/// Checks a name, in this order: not empty, at most 100 bytes, only `[a-zA-Z0-9_-]`.
pub fn check_name(name: &str) -> Result<(), Error> {
    const PATTERN: &str = "^[a-zA-Z0-9_-]+$";
    const DESCRIPTION: &str =
        "lowercase (a-z), uppercase (A-Z), number (0-9), underscore (_) or hyphen (-) characters";
    if name.is_empty() {
        return Err(Error::new(Code::EmptyName, "Name cannot be empty"));
    }
    let shown: String = name.chars().take(200).collect();
    if name.len() > MAX_NAME {
        let length = name.len();
        let message = format!("Name '{shown}' is longer ({length}) than maximum allowed ({MAX_NAME})");
        let details = json!({"name": shown, "length": length, "maximum": MAX_NAME});
        return Err(Error::new(Code::TooLongName, message).with_details(details));
    }
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
        return Ok(());
    }
    let message =
        format!("Name '{shown}' should be non-empty and only contain {DESCRIPTION} (pattern: '{PATTERN}')");
    let details = json!({"name": shown, "pattern": PATTERN, "pattern_description": DESCRIPTION});
    Err(Error::new(Code::NameDoesNotMatchPattern, message).with_details(details))
}

/// Checks the form of policies' names. Whether the policies exist is checked when a key is created.
pub(super) fn are_policy_names(policies: &[String]) -> Result<(), ValidationError> {
    if policies.len() <= MAX_POLICIES && policies.iter().all(|name| (1..=64).contains(&name.len())) {
        return Ok(());
    }
    let message = format!("has at most {MAX_POLICIES} names of 1 to 64 characters");
    Err(invalid("apply_policies", &message).into())
}
