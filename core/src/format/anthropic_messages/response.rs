//! Whole messages: checks them and reads their usage. Their bytes go to the caller unchanged.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::Error;
use crate::format::size::BYTES_PER_TOKEN;
use crate::format::upstream_error;
use crate::format::whole::{self, BOM, Whole};
use crate::key::Secret;
use crate::usage::Usage;

use super::usage;

/// The members that the gateway reads.
const NAMES: &[&str; 4] = &["content", "usage", "error", "base_resp"];

/// Checks a whole response, whatever its content type. An error in place of the content, or beside it, becomes that
/// error. `key`, the gateway's credential, is blotted out of it.
pub fn check(provider: &str, body: &[u8], key: Option<&Secret>) -> Result<Whole, Error> {
    let json = body.strip_prefix(BOM).unwrap_or(body);
    let error = |has_answer| upstream_error::in_answer(provider, json, has_answer, key);
    let Some(([content, _, failed, base_resp], usage)) = whole::read(json, NAMES, usage::read) else {
        return Err(
            error(false).unwrap_or_else(|| whole::invalid(provider, "a body that is not a JSON object"))
        );
    };
    let Some(content) = content.filter(|content| content.starts_with('[')) else {
        return Err(
            error(false).unwrap_or_else(|| whole::invalid(provider, "a JSON object without 'content'"))
        );
    };
    let is_doubtful = failed.is_some_and(|error| !upstream_error::is_nothing(error)) || base_resp.is_some();
    if is_doubtful && let Some(error) = error(true) {
        return Err(error);
    }
    let produced = produced(&usage, content);
    Ok(Whole { usage, produced, has_bom: json.len() < body.len(), is_text: false, translated: None })
}

/// The fields of a block that the model has written.
#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
}

/// An estimate of the output tokens, if the usage does not say them, or says suspiciously few; otherwise 0. What a hosted
/// tool has found is no output.
fn produced(usage: &Usage, content: &str) -> u64 {
    if whole::is_plausible(usage, content.len()) {
        return 0;
    }
    let blocks: Vec<Block<'_>> = serde_json::from_str(content).unwrap_or_default();
    // The quotes of a text, or the braces of an empty input.
    let size = |value: Option<&RawValue>| value.map_or(0, |value| value.get().len().saturating_sub(2));
    let bytes: usize =
        blocks.iter().map(|block| size(block.text) + size(block.thinking) + size(block.input)).sum();
    bytes.div_ceil(BYTES_PER_TOKEN) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_usage_if_it_is_reported() {
        for (body, prompt_tokens, completion_tokens) in [
            (
                r#"{"type":"message","content":[],"usage":{"input_tokens":3,"output_tokens":5}}"#,
                Some(3),
                Some(5),
            ),
            (
                r#"{"content":[],"usage":{"input_tokens":3,"cache_read_input_tokens":4,"cache_creation_input_tokens":2,"output_tokens":5}}"#,
                Some(9),
                Some(5),
            ),
            (r#"{"content":[],"usage":null,"error":null}"#, None, None),
            (r#"{"content":[]}"#, None, None),
            ("\u{feff}{\"content\":[]}", None, None),
            (
                r#"{"content":[],"usage":{"input_tokens":3,"output_tokens":5},"usage":{"input_tokens":0}}"#,
                Some(3),
                Some(5),
            ),
        ] {
            let whole = check("acme", body.as_bytes(), None).unwrap();
            assert_eq!(
                (whole.usage.prompt_tokens, whole.usage.completion_tokens, whole.has_bom),
                (prompt_tokens, completion_tokens, body.starts_with('\u{feff}')),
                "{body}"
            );
        }
    }

    #[test]
    fn the_output_is_estimated_only_if_too_few_tokens_are_reported() {
        let text = "word ".repeat(80);
        for (block, told, expected) in [
            (format!(r#"{{"type":"text","text":"{text}"}}"#), "90", 0),
            (format!(r#"{{"type":"text","text":"{text}"}}"#), "1", 100),
            (format!(r#"{{"type":"thinking","thinking":"{text}","signature":"{text}"}}"#), "null", 100),
            (format!(r#"{{"type":"web_search_tool_result","content":[{{"title":"{text}"}}]}}"#), "1", 0),
            (r#"{"type":"tool_use","input":{}}"#.to_owned(), "0", 0),
        ] {
            let body = format!(r#"{{"content":[{block}],"usage":{{"output_tokens":{told}}}}}"#);
            assert_eq!(check("acme", body.as_bytes(), None).unwrap().produced, expected, "{body}");
        }
    }

    #[test]
    fn rejects_bodies_that_are_not_messages() {
        for (body, status, code, message) in [
            ("", 502, "upstream_invalid_response", "acme returned a body that is not a JSON object"),
            ("<html>", 502, "upstream_invalid_response", "not a JSON object"),
            ("{}", 502, "upstream_invalid_response", "without 'content'"),
            (r#"{"content":"a"}"#, 502, "upstream_invalid_response", "without 'content'"),
            (r#"{"error":{"message":"no room","code":"busy"}}"#, 502, "busy", "no room"),
        ] {
            let error = check("acme", body.as_bytes(), None).unwrap_err();
            assert_eq!((error.status, error.code()), (status, Some(code)), "{body}");
            assert!(error.message.contains(message), "{body}: {}", error.message);
        }
        let body = br#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        assert_eq!(check("acme", body, None).unwrap_err().status, 503);
    }
}
