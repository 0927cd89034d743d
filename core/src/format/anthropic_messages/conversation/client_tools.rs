//! Anthropic-defined tools that the client runs. Their schemas are not on the wire, because Claude knows them; another
//! model needs them. The schemas follow Anthropic's documentation of each tool.

use serde_json::{Map, Value, json};

/// The description and the schema of the arguments of a tool, by its `type`; `None` if the type is not such a tool, or
/// if it makes no sense for another model, as the `computer` tool, for which Claude is trained.
pub(super) fn known(kind: &str) -> Option<(&'static str, Map<String, Value>)> {
    let family = kind.trim_end_matches(|char: char| char.is_ascii_digit()).strip_suffix('_')?;
    let (description, properties, required) = match family {
        "bash" => (
            "Run a command in a persistent bash session, or restart the session.",
            json!({
                "command": { "type": "string", "description": "The command to run. Required unless `restart` is true." },
                "restart": { "type": "boolean", "description": "`true` to restart the session." },
            }),
            json!([]),
        ),
        "text_editor" => (
            "View, create and edit text files.",
            json!({
                "command": { "type": "string", "enum": editor_commands(kind) },
                "path": { "type": "string", "description": "The path of the file or directory." },
                "view_range": {
                    "type": "array", "items": { "type": "integer" },
                    "description": "For `view`: the first and the last line, counted from 1; -1 is the end of the file.",
                },
                "file_text": { "type": "string", "description": "For `create`: the content of the file." },
                "old_str": { "type": "string", "description": "For `str_replace`: the text to replace, which occurs exactly once." },
                "new_str": { "type": "string", "description": "For `str_replace`: the new text." },
                "insert_line": { "type": "integer", "description": "For `insert`: the line after which the text is inserted; 0 is the start of the file." },
                "insert_text": { "type": "string", "description": "For `insert`: the text to insert." },
            }),
            json!(["command", "path"]),
        ),
        "memory" => (
            "Read and write files in the directory /memories, which persists between conversations.",
            json!({
                "command": { "type": "string", "enum": ["view", "create", "str_replace", "insert", "delete", "rename"] },
                "path": { "type": "string", "description": "The path of the file or directory; all commands but `rename`." },
                "view_range": {
                    "type": "array", "items": { "type": "integer" },
                    "description": "For `view`: the first and the last line, counted from 1.",
                },
                "file_text": { "type": "string", "description": "For `create`: the content of the file." },
                "old_str": { "type": "string", "description": "For `str_replace`: the text to replace." },
                "new_str": { "type": "string", "description": "For `str_replace`: the new text." },
                "insert_line": { "type": "integer", "description": "For `insert`: the line after which the text is inserted." },
                "insert_text": { "type": "string", "description": "For `insert`: the text to insert." },
                "old_path": { "type": "string", "description": "For `rename`: the present path." },
                "new_path": { "type": "string", "description": "For `rename`: the new path." },
            }),
            json!(["command"]),
        ),
        _ => return None,
    };
    let schema = json!({ "type": "object", "properties": properties, "required": required });
    let Value::Object(schema) = schema else { return None };
    Some((description, schema))
}

/// The commands of a version of the text editor: only the first two versions can undo.
fn editor_commands(kind: &str) -> Value {
    if kind.ends_with("_20241022") || kind.ends_with("_20250124") {
        json!(["view", "create", "str_replace", "insert", "undo_edit"])
    } else {
        json!(["view", "create", "str_replace", "insert"])
    }
}

/// The tools that Anthropic runs, by the beginning of their `type`.
const SERVER_TOOLS: [&str; 6] =
    ["web_search", "web_fetch", "code_execution", "tool_search_tool", "advisor", "mcp_toolset"];

/// The family of a tool that Anthropic runs, by its `type`; `None` if it is not such a tool.
pub(super) fn server_tool(kind: &str) -> Option<&'static str> {
    SERVER_TOOLS.into_iter().find(|family| kind.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_of_a_client_tool_has_its_schema() {
        for kind in ["bash_20241022", "bash_20250124", "text_editor_20250728", "memory_20250818"] {
            let (description, schema) = known(kind).unwrap();
            assert!(description.ends_with('.'));
            for name in schema["required"].as_array().unwrap() {
                assert!(schema["properties"].get(name.as_str().unwrap()).is_some(), "{kind}: {name}");
            }
        }
        let commands = |kind: &str| known(kind).unwrap().1["properties"]["command"]["enum"].clone();
        assert_eq!(commands("text_editor_20250124")[4], "undo_edit");
        assert_eq!(commands("text_editor_20250429").as_array().unwrap().len(), 4);
        for kind in ["computer_20251124", "custom", "bash", "web_search_20250305", ""] {
            assert!(known(kind).is_none(), "{kind}");
        }
        assert_eq!(server_tool("tool_search_tool_bm25_20251119"), Some("tool_search_tool"));
        assert_eq!(server_tool("bash_20250124"), None);
    }
}
