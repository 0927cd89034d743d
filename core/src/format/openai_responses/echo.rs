//! The parts of a request that its response repeats.
//!
//! SDKs declare these members of a response as required, so a translated response has all of them: with the caller's
//! value, or with the default.

use memchr::memmem;
use serde_json::Value;

use super::fields::{Fields, Path};
use super::tools::{Named, Tools};
use crate::json::members::Members;

/// The members, with their defaults.
const MEMBERS: [(&str, &str); 15] = [
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("max_tool_calls", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("prompt_cache_key", "null"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("safety_identifier", "null"),
    ("temperature", "null"),
    ("text", r#"{"format":{"type":"text"}}"#),
    ("tool_choice", r#""auto""#),
    ("tools", "[]"),
    ("top_p", "null"),
    ("truncation", r#""disabled""#),
    ("user", "null"),
];

/// The parts of a request that its response repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    /// The members of the response, as JSON without the braces, on one line.
    pub(super) members: String,
    /// The tools whose calls the caller expects in another shape than the upstream writes.
    named: Vec<Named>,
}

impl Echo {
    /// Reads the body of a request that [`super::conversation::read`] accepts.
    pub fn read(body: &[u8]) -> Echo {
        let request = Members::read(body, &[]).ok();
        let value = |name: &str| {
            let member = request.as_ref()?.get(name)?;
            Some(member.value).filter(|value| *value != "null")
        };
        let mut members = String::new();
        for (name, default) in MEMBERS {
            if !members.is_empty() {
                members.push(',');
            }
            members.push('"');
            members.push_str(name);
            members.push_str("\":");
            // JSON has line breaks only between its tokens, and an event cannot have any.
            members.extend(value(name).unwrap_or(default).split(['\n', '\r']));
        }
        Echo { members, named: named(value("tools"), value("input")) }
    }

    /// The caller's tool for a name of the upstream's; `None` if it is a function of the same name.
    pub(super) fn tool(&self, function: &str) -> Option<&Named> {
        self.named.iter().find(|named| named.function == function)
    }
}

/// The tools in `tools`, and those that items of the input announce.
fn named(tools: Option<&str>, input: Option<&str>) -> Vec<Named> {
    let mut found = Tools::default();
    let mut add = |list: Value| {
        if let Value::Array(list) = list {
            // The request has been read, so its tools are valid.
            let _ = found.add(list, &Path::Root);
        }
    };
    add(tools.and_then(|tools| serde_json::from_str(tools).ok()).unwrap_or_default());
    let announces =
        |kind: &str| input.is_some_and(|input| memmem::find(input.as_bytes(), kind.as_bytes()).is_some());
    if announces("additional_tools") || announces("tool_search_output") {
        let items: Vec<Value> = input.and_then(|input| serde_json::from_str(input).ok()).unwrap_or_default();
        for item in items {
            if let Ok(mut item) = Fields::of(item, &Path::Root)
                && let Ok(Some(kind)) = item.text("type")
                && matches!(kind.as_str(), "additional_tools" | "tool_search_output")
            {
                add(item.take("tools").unwrap_or_default());
            }
        }
    }
    found.named
}
