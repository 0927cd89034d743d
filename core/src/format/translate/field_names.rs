//! Names of fields for the caller of a translation: writers name a field as Chat Completions does, and the caller knows it
//! by the name of its own format.
//!
//! Reads and writes no request. A name that all formats share, or that no other format has, is not in the table.

use std::borrow::Cow;

use crate::error::Error;
use crate::operation::Format;

/// The names of a field in Chat Completions, which writers use, in Messages, and in Responses.
const NAMES: [[&str; 3]; 13] = [
    ["messages", "messages", "input"],
    ["input_audio", "messages", "input"],
    ["response_format", "output_config.format", "text.format"],
    ["response_format.json_schema.schema", "output_config.format.schema", "text.format.schema"],
    ["stop", "stop_sequences", "stop"],
    ["reasoning_effort", "output_config.effort", "reasoning.effort"],
    ["thinking", "thinking", "reasoning"],
    ["max_tokens", "max_tokens", "max_output_tokens"],
    // The names of the limit at an upstream, when the gateway lowers it.
    ["max_completion_tokens", "max_tokens", "max_output_tokens"],
    ["max_output_tokens", "max_tokens", "max_output_tokens"],
    ["user", "metadata.user_id", "user"],
    ["parallel_tool_calls", "tool_choice.disable_parallel_tool_use", "parallel_tool_calls"],
    ["thinking.budget_tokens", "thinking.budget_tokens", "reasoning"],
];

/// The caller's name of a field; `None` if it is the same.
fn name(name: &str, caller: Format) -> Option<&'static str> {
    let column = match caller {
        Format::Messages => 1,
        Format::Responses => 2,
        _ => return None,
    };
    let row = NAMES.iter().find(|names| names.first() == Some(&name))?;
    row.get(column).copied().filter(|own| *own != name)
}

/// A dropped or changed field (`stop`, `max_tokens=16`, `thinking>effort=high`) with the caller's name of it.
pub(super) fn of_caller(adjusted: String, caller: Format) -> String {
    let end = adjusted.find(['=', '>']).unwrap_or(adjusted.len());
    let (field, change) = adjusted.split_at(end);
    match name(field, caller) {
        Some(own) => format!("{own}{change}"),
        None => adjusted,
    }
}

/// The error of a writer, whose `param` and message name the caller's field.
pub(super) fn in_error(mut error: Error, caller: Format) -> Error {
    for [chat, ..] in NAMES {
        if let Some(own) = name(chat, caller) {
            error.message = error.message.replace(&format!("'{chat}'"), &format!("'{own}'"));
        }
    }
    if let Some(own) = error.param.as_deref().and_then(|param| name(param, caller)) {
        error.param = Some(Cow::Borrowed(own));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn a_field_has_the_name_that_the_caller_knows() {
        for (adjusted, messages, responses) in [
            ("stop", "stop_sequences", "stop"),
            ("max_tokens=16", "max_tokens=16", "max_output_tokens=16"),
            ("max_completion_tokens=9", "max_tokens=9", "max_output_tokens=9"),
            ("thinking>effort=high", "thinking>effort=high", "reasoning>effort=high"),
            ("reasoning_effort=low", "output_config.effort=low", "reasoning.effort=low"),
            ("user", "metadata.user_id", "user"),
            ("top_p", "top_p", "top_p"),
            ("stops", "stops", "stops"),
        ] {
            for (caller, expected) in [
                (Format::ChatCompletions, adjusted),
                (Format::Messages, messages),
                (Format::Responses, responses),
            ] {
                assert_eq!(of_caller(adjusted.to_owned(), caller), expected);
            }
        }
        let error =
            Error::new(Code::UnsupportedParameter, "use 'response_format', not 'stop'").with_param("stop");
        let found = in_error(error.clone(), Format::Messages);
        assert_eq!(found.message, "use 'output_config.format', not 'stop_sequences'");
        assert_eq!((found.param.as_deref(), found.code()), (Some("stop_sequences"), error.code()));
        assert_eq!(in_error(error.clone(), Format::ChatCompletions), error);
    }
}
