//! Whole responses, to chat completions and to legacy completions: checks them and reads their usage. Their bytes go to the caller unchanged.

use memchr::memmem;
use serde_json::Value;

use crate::error::Error;
use crate::format::size::BYTES_PER_TOKEN;
use crate::format::upstream_error;
use crate::format::whole::{self, BOM, Whole};
use crate::json::members;
use crate::key::Secret;
use crate::usage::Usage;

/// The members that the gateway reads.
const NAMES: &[&str; 6] = &["choices", "usage", "x_groq", "timings", "error", "base_resp"];

/// Checks a whole response to a chat completion, whatever its content type.
///
/// Some providers return errors with status 200: a body with an error instead of `choices`, beside them or inside of
/// them becomes that error. `key`, the gateway's credential, is blotted out of it.
pub fn check(provider: &str, body: &[u8], key: Option<&Secret>) -> Result<Whole, Error> {
    let json = body.strip_prefix(BOM).unwrap_or(body);
    let error = |has_answer| upstream_error::in_answer(provider, json, has_answer, key);
    let Some((values, usage)) = whole::read(json, NAMES, Usage::read) else {
        return Err(
            error(false).unwrap_or_else(|| whole::invalid(provider, "a body that is not a JSON object"))
        );
    };
    let [choices, _, x_groq, timings, failed, base_resp] = values;
    let Some(choices) = choices.filter(|choices| choices.starts_with('[')) else {
        return Err(
            error(false).unwrap_or_else(|| whole::invalid(provider, "a JSON object without 'choices'"))
        );
    };
    let is_doubtful = failed.is_some_and(|error| !upstream_error::is_nothing(error))
        || base_resp.is_some()
        || memmem::find(choices.as_bytes(), b"\"error\"").is_some();
    if is_doubtful && let Some(error) = error(true) {
        return Err(error);
    }
    let usage = beside(usage, choices, x_groq, timings);
    Ok(Whole {
        usage,
        produced: produced(&usage, choices),
        has_bom: json.len() < body.len(),
        is_text: false,
        translated: None,
    })
}

/// The usage, also where it stands beside `usage` or inside of the choices.
pub(super) fn beside(usage: Usage, choices: &str, x_groq: Option<&str>, timings: Option<&str>) -> Usage {
    let mut usage = usage.larger(x_groq.and_then(of_groq).unwrap_or_default());
    if memmem::find(choices.as_bytes(), b"\"usage\"").is_some() {
        let choices: Vec<Value> = serde_json::from_str(choices).unwrap_or_default();
        let reports = choices.iter().filter_map(|choice| Usage::read(&choice.get("usage")?.to_string()));
        usage = reports.fold(usage, Usage::larger);
    }
    let is_told = usage.completion_tokens > Some(0);
    if is_told { usage } else { usage.larger(timings.and_then(Usage::read).unwrap_or_default()) }
}

/// Groq reports usage in a field of its own.
fn of_groq(x_groq: &str) -> Option<Usage> {
    let [usage] = members::pick(x_groq.as_bytes(), &["usage"]).ok()?;
    Usage::read(usage?.value)
}

/// An estimate of the output tokens, if the usage does not say them, or says suspiciously few; otherwise 0.
fn produced(usage: &Usage, choices: &str) -> u64 {
    if whole::is_plausible(usage, choices.len()) {
        return 0;
    }
    let choices: Vec<Value> = serde_json::from_str(choices).unwrap_or_default();
    let bytes: usize = choices
        .iter()
        .filter_map(|choice| choice.get("message").or(choice.get("text")))
        .map(text_bytes)
        .sum();
    bytes.div_ceil(BYTES_PER_TOKEN) as u64
}

/// The bytes of the texts in a message: not of media, opaque blobs and names.
fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) if text.starts_with("data:") => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(members) => {
            let is_text = |name: &str| {
                !matches!(
                    name,
                    "role" | "id" | "type" | "data" | "b64_json" | "signature" | "encrypted_content" | "url"
                )
            };
            members.iter().filter(|(name, _)| is_text(name)).map(|(_, value)| text_bytes(value)).sum()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(body: &str) -> Usage {
        check("acme", body.as_bytes(), None).unwrap().usage
    }

    #[test]
    fn reads_usage_if_it_is_reported() {
        for (body, prompt_tokens, completion_tokens) in [
            (r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,"x":1}}"#, Some(3), Some(5)),
            (r#"{"choices":[],"usage":{"prompt_tokens":3}}"#, Some(3), None),
            (r#"{"choices":[],"usage":null}"#, None, None),
            (r#"{"choices":[],"usage":"odd"}"#, None, None),
            (r#"{"choices":[]}"#, None, None),
            (r#"{"choices":[],"error":null}"#, None, None),
            (r#"{"choices":[],"error":{}}"#, None, None),
            (r#"{"choices":[],"error":""}"#, None, None),
            (r#"{"choices":[],"error":{"message":"","code":null}}"#, None, None),
            (r#"{"choices":[],"base_resp":{"status_code":0,"status_msg":"success"}}"#, None, None),
            ("\u{feff}{\"choices\":[]}", None, None),
            // Twice.
            (
                r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5},"usage":{"prompt_tokens":0}}"#,
                Some(3),
                Some(5),
            ),
            // Beside.
            (r#"{"choices":[{"usage":{"prompt_tokens":3,"completion_tokens":5}}]}"#, Some(3), Some(5)),
            (
                r#"{"choices":[],"usage":{"prompt_tokens":0},"x_groq":{"usage":{"prompt_tokens":3,"completion_tokens":5}}}"#,
                Some(3),
                Some(5),
            ),
            (r#"{"choices":[],"timings":{"cache_n":1,"prompt_n":2,"predicted_n":5}}"#, Some(3), Some(5)),
            // Not as integers.
            (r#"{"choices":[],"usage":{"prompt_tokens":2.5,"completion_tokens":"5"}}"#, Some(3), Some(5)),
        ] {
            let expected = Usage { prompt_tokens, completion_tokens, ..Usage::default() };
            let found = usage(body);
            assert_eq!(Usage { cached_tokens: None, ..found }, expected, "{body}");
        }
        assert!(check("acme", "\u{feff}{\"choices\":[]}".as_bytes(), None).unwrap().has_bom);
    }

    #[test]
    fn the_output_is_estimated_only_if_too_few_tokens_are_reported() {
        let text = "word ".repeat(80);
        let blob = "A".repeat(4000);
        for (message, told, expected) in [
            (format!(r#"{{"content":"{text}"}}"#), "90", 0),
            (format!(r#"{{"content":"{text}"}}"#), "1", 100),
            (format!(r#"{{"content":"{text}"}}"#), "null", 100),
            (
                format!(
                    r#"{{"content":null,"tool_calls":[{{"id":"x","function":{{"arguments":"{text}"}}}}]}}"#
                ),
                "0",
                100,
            ),
            (
                format!(
                    r#"{{"content":"","audio":{{"data":"{blob}"}},"images":[{{"image_url":{{"url":"{blob}"}}}}]}}"#
                ),
                "1",
                0,
            ),
            (r#"{"content":"a"}"#.to_owned(), "0", 1),
        ] {
            let body =
                format!(r#"{{"choices":[{{"message":{message}}}],"usage":{{"completion_tokens":{told}}}}}"#);
            assert_eq!(check("acme", body.as_bytes(), None).unwrap().produced, expected, "{body}");
        }
    }

    #[test]
    fn rejects_bodies_that_are_not_completions() {
        for (body, status, code, message) in [
            ("", 502, "upstream_invalid_response", "acme returned a body that is not a JSON object"),
            ("<html>", 502, "upstream_invalid_response", "not a JSON object"),
            (r#"{"choices":["#, 502, "upstream_invalid_response", "not a JSON object"),
            ("[]", 502, "upstream_invalid_response", "not a JSON object"),
            ("{}", 502, "upstream_invalid_response", "without 'choices'"),
            (r#"{"choices":{}}"#, 502, "upstream_invalid_response", "without 'choices'"),
            (r#"{"id":null,"choices":null}"#, 502, "upstream_invalid_response", "without 'choices'"),
            (
                r#"{"message":{"role":"assistant","content":"rate limit"}}"#,
                502,
                "upstream_invalid_response",
                "without",
            ),
            (r#"{"error":{"message":"no room","code":"busy"}}"#, 502, "busy", "no room"),
        ] {
            let error = check("acme", body.as_bytes(), None).unwrap_err();
            assert_eq!((error.status, error.code()), (status, Some(code)), "{body}");
            assert!(error.message.contains(message), "{body}: {}", error.message);
        }
    }
}
