//! Whole responses: checks them and reads their usage. Their bytes go to the caller unchanged.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::Error;
use crate::format::size::BYTES_PER_TOKEN;
use crate::format::upstream_error;
use crate::format::whole::{self, BOM, Whole};
use crate::key::Secret;
use crate::usage::Usage;

/// The members that the gateway reads.
const NAMES: &[&str; 4] = &["output", "usage", "error", "status"];

/// Checks a whole response, whatever its content type. A failed response, or an error in place of one, becomes that
/// error. `key`, the gateway's credential, is blotted out of it.
pub fn check(provider: &str, body: &[u8], key: Option<&Secret>) -> Result<Whole, Error> {
    let json = body.strip_prefix(BOM).unwrap_or(body);
    let error = |has_answer| upstream_error::in_answer(provider, json, has_answer, key);
    let Some(([output, _, failed, status], usage)) = whole::read(json, NAMES, Usage::read) else {
        return Err(
            error(false).unwrap_or_else(|| whole::invalid(provider, "a body that is not a JSON object"))
        );
    };
    let has_failed = status == Some("\"failed\"");
    if has_failed || failed.is_some_and(|error| !upstream_error::is_nothing(error)) {
        return Err(error(!has_failed).unwrap_or_else(|| whole::invalid(provider, "a failed response")));
    }
    let Some(output) = output.filter(|output| output.starts_with('[')) else {
        return Err(
            error(false).unwrap_or_else(|| whole::invalid(provider, "a JSON object without 'output'"))
        );
    };
    let produced = produced(&usage, output);
    Ok(Whole { usage, produced, has_bom: json.len() < body.len(), is_text: false, translated: None })
}

/// The fields of an item, or of a part of one, that the model has written.
#[derive(Default, Deserialize)]
struct Written<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
}

/// An estimate of the output tokens, if the usage does not say them, or says suspiciously few; otherwise 0. What a hosted
/// tool has found is no output, and the summary of reasoning is not billed.
fn produced(usage: &Usage, output: &str) -> u64 {
    if whole::is_plausible(usage, output.len()) {
        return 0;
    }
    let list = |text: &str| -> u64 {
        let all: Vec<Written<'_>> = serde_json::from_str(text).unwrap_or_default();
        // The quotes of a text.
        let size = |value: Option<&RawValue>| value.map_or(0, |value| value.get().len().saturating_sub(2));
        let sizes =
            all.iter().map(|one| size(one.text) + size(one.refusal) + size(one.arguments) + size(one.input));
        sizes.sum::<usize>() as u64
    };
    let items: Vec<Written<'_>> = serde_json::from_str(output).unwrap_or_default();
    let parts = items.iter().filter_map(|item| item.content);
    let bytes = list(output) + parts.map(|parts| list(parts.get())).sum::<u64>();
    bytes.div_ceil(BYTES_PER_TOKEN as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_usage_if_it_is_reported() {
        let full = r#"{"id":"resp_1","status":"completed","error":null,"output":[],"usage":{"input_tokens":30,"input_tokens_details":{"cached_tokens":20},"output_tokens":9,"output_tokens_details":{"reasoning_tokens":4},"total_tokens":39}}"#;
        let whole = check("acme", full.as_bytes(), None).unwrap();
        let expected = Usage {
            prompt_tokens: Some(30),
            cached_tokens: Some(20),
            completion_tokens: Some(9),
            reasoning_tokens: Some(4),
            ..Usage::default()
        };
        assert_eq!((whole.usage, whole.produced, whole.has_bom), (expected, 0, false));
        for body in [r#"{"output":[]}"#, r#"{"output":[],"usage":null,"status":"in_progress"}"#] {
            assert_eq!(check("acme", body.as_bytes(), None).unwrap().usage, Usage::default(), "{body}");
        }
        assert!(check("acme", "\u{feff}{\"output\":[]}".as_bytes(), None).unwrap().has_bom);
    }

    #[test]
    fn the_output_is_estimated_only_if_too_few_tokens_are_reported() {
        let text = "word ".repeat(80);
        for (item, told, expected) in [
            (
                format!(r#"{{"type":"message","content":[{{"type":"output_text","text":"{text}"}}]}}"#),
                "90",
                0,
            ),
            (
                format!(r#"{{"type":"message","content":[{{"type":"output_text","text":"{text}"}}]}}"#),
                "1",
                100,
            ),
            (
                format!(
                    r#"{{"type":"reasoning","content":[{{"text":"{text}"}}],"encrypted_content":"{text}"}}"#
                ),
                "0",
                100,
            ),
            (format!(r#"{{"type":"function_call","arguments":"{text}"}}"#), "null", 100),
            (format!(r#"{{"type":"web_search_call","action":{{"query":"{text}"}}}}"#), "1", 0),
        ] {
            let body = format!(r#"{{"output":[{item}],"usage":{{"output_tokens":{told}}}}}"#);
            assert_eq!(check("acme", body.as_bytes(), None).unwrap().produced, expected, "{body}");
        }
    }

    #[test]
    fn rejects_failed_responses_and_bodies_that_are_none() {
        for (body, status, message) in [
            ("", 502, "acme returned a body that is not a JSON object"),
            ("<html>", 502, "not a JSON object"),
            ("{}", 502, "without 'output'"),
            (r#"{"output":"a"}"#, 502, "without 'output'"),
            (r#"{"error":{"message":"no room","code":"busy"}}"#, 502, "no room"),
            (r#"{"status":"failed","output":[],"error":null}"#, 502, "a failed response"),
            (
                r#"{"status":"failed","output":[],"error":{"code":"rate_limit_exceeded","message":"Slow down"}}"#,
                429,
                "Slow down",
            ),
        ] {
            let error = check("acme", body.as_bytes(), None).unwrap_err();
            assert_eq!(error.status, status, "{body}");
            assert!(error.message.contains(message), "{body}: {}", error.message);
        }
    }
}
