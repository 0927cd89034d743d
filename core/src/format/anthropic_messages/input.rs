//! The arguments of a tool call as the `input` of Messages, which is an object.

use serde_json::json;
use serde_json::value::RawValue;

use crate::json;

/// The object that a text of arguments means. No arguments are an empty object. A text that is not a JSON object
/// stays readable as the only member of one: the caller of the tool got an error for it, and the model learns from the
/// two.
pub(super) fn of(arguments: &str) -> Box<RawValue> {
    if arguments.trim_start().starts_with('{')
        && let Ok(object) = RawValue::from_string(arguments.trim().to_owned())
    {
        return object;
    }
    let object = match arguments.trim() {
        "" | "null" => json!({}),
        _ => json!({ "arguments": arguments }),
    };
    RawValue::from_string(json::to_text(&object)).unwrap_or_default()
}
