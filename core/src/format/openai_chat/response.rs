//! Whole responses: checks them and reads their usage. Their bytes go to the caller unchanged.

use crate::error::{Code, Error};
use crate::format::upstream_error;
use crate::format::usage::Usage;
use crate::json::members::{self, ReadError};
use crate::key::Secret;

/// Checks a whole response to a chat completion.
///
/// Some providers return errors with status 200: a body with an `error` instead of `choices` becomes that error. `key`,
/// the gateway's credential, is redacted from it.
pub fn check(provider: &str, body: &[u8], key: Option<&Secret>) -> Result<Usage, Error> {
    let invalid =
        |what: &str| Error::new(Code::UpstreamInvalidResponse, format!("{provider} returned {what}"));
    let [choices, usage, error] = match members::pick(body, &["choices", "usage", "error"]) {
        Ok(members) => members,
        Err(ReadError::Malformed(_)) => return Err(invalid("a body that is not a JSON object")),
        Err(ReadError::Duplicate(name)) => {
            return Err(invalid(&format!("a JSON object with two fields '{name}'")));
        }
    };
    if choices.is_some_and(|choices| choices.value.starts_with('[')) {
        return Ok(usage.and_then(|usage| Usage::read(usage.value)).unwrap_or_default());
    }
    match error {
        Some(error) if error.value != "null" => Err(upstream_error::read(provider, 502, true, body, key)),
        _ => Err(invalid("a JSON object without 'choices'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_usage_if_it_is_reported() {
        for (body, usage) in [
            (r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,"x":1}}"#, (Some(3), Some(5))),
            (r#"{"choices":[],"usage":{"prompt_tokens":3}}"#, (Some(3), None)),
            (r#"{"choices":[],"usage":null}"#, (None, None)),
            (r#"{"choices":[],"usage":"odd"}"#, (None, None)),
            (r#"{"choices":[]}"#, (None, None)),
            (r#"{"choices":[],"error":null}"#, (None, None)),
        ] {
            let (prompt_tokens, completion_tokens) = usage;
            assert_eq!(
                check("acme", body.as_bytes(), None).unwrap(),
                Usage { prompt_tokens, completion_tokens, ..Usage::default() },
                "{body}"
            );
        }
    }

    #[test]
    fn rejects_bodies_that_are_not_completions() {
        for (body, code, message) in [
            ("", "upstream_invalid_response", "acme returned a body that is not a JSON object"),
            ("<html>", "upstream_invalid_response", "not a JSON object"),
            (r#"{"choices":["#, "upstream_invalid_response", "not a JSON object"),
            ("[]", "upstream_invalid_response", "not a JSON object"),
            ("{}", "upstream_invalid_response", "without 'choices'"),
            (r#"{"choices":{}}"#, "upstream_invalid_response", "without 'choices'"),
            (r#"{"error":{"message":"overloaded","code":"busy"}}"#, "busy", "overloaded"),
        ] {
            let error = check("acme", body.as_bytes(), None).unwrap_err();
            assert_eq!((error.status, error.code()), (502, Some(code)), "{body}");
            assert!(error.message.contains(message), "{body}: {}", error.message);
        }
    }
}
