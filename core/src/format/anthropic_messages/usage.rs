//! The usage of Messages.

use serde_json::value::RawValue;

use crate::json::members;
use crate::usage::Usage;

/// Reads a `usage` object.
///
/// A response may be the work of several iterations, such as a summary of the conversation before the answer. The
/// provider bills all of them, and its sums leave some out.
pub(super) fn read(text: &str) -> Option<Usage> {
    let usage = Usage::read(text)?;
    let [iterations] = members::pick(text.as_bytes(), &["iterations"]).ok()?;
    let iterations = iterations.and_then(|member| serde_json::from_str::<Vec<&RawValue>>(member.value).ok());
    let each = iterations.into_iter().flatten().filter_map(|iteration| Usage::read(iteration.get()));
    Some(usage.larger(each.reduce(Usage::plus).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_iterations_are_billed() {
        let text = r#"{"input_tokens":612,"cache_read_input_tokens":8,"output_tokens":2819,"output_tokens_details":{"thinking_tokens":7},
            "iterations":[{"input_tokens":60385,"output_tokens":522,"cache_read_input_tokens":0,"type":"compaction"},
            {"input_tokens":612,"output_tokens":2819,"cache_read_input_tokens":8,"type":"message"}]}"#;
        let expected = Usage {
            prompt_tokens: Some(61_005),
            cached_tokens: Some(8),
            completion_tokens: Some(3_341),
            reasoning_tokens: Some(7),
            ..Usage::default()
        };
        assert_eq!(read(text), Some(expected));
        for iterations in ["null", "[]", "7", "[7,null]"] {
            let text = format!(r#"{{"input_tokens":3,"output_tokens":5,"iterations":{iterations}}}"#);
            assert_eq!(read(&text), Usage::read(r#"{"input_tokens":3,"output_tokens":5}"#), "{text}");
        }
        assert_eq!(read("null"), None);
    }
}
