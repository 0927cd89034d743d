//! The items of a request: reads those that determine the reply. Lenient: `check` rejects what is wrong.

use serde_json::{Value, json};

use crate::chat::text;
use crate::reply::{Turn, words};
use crate::script::{self, Author};

/// The tokens around each item, if a prompt has a token for each byte.
const FRAME: u64 = 4;

/// A tool that the client carries out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offered {
    /// The name under which a script calls it: the tool's own, behind its namespace.
    pub(super) flat: String,
    /// The tool's own name.
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    /// True if its argument is free text.
    pub(super) is_custom: bool,
}

/// The type of an item, a part or a tool.
pub(super) fn kind(value: &Value) -> &str {
    value.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// The list in a field.
pub(super) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn strings(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The items of `input`, which may be a text.
pub(super) fn items(request: &Value) -> Vec<Value> {
    match request.get("input") {
        Some(Value::String(text)) => vec![json!({"type": "message", "role": "user", "content": text})],
        Some(Value::Array(items)) => items.clone(),
        _ => Vec::new(),
    }
}

/// The items of the output of a response.
pub(super) fn output_of(response: &Value) -> impl Iterator<Item = &Value> {
    list(response, "output").iter()
}

/// The items as the provider lists them, each with an id.
pub(super) fn listed(items: &[Value], n: u64) -> Vec<Value> {
    let mut listed = items.to_vec();
    for (at, item) in listed.iter_mut().enumerate() {
        let Some(fields) = item.as_object_mut() else { continue };
        if !fields.contains_key("id") {
            fields.insert("id".to_owned(), json!(format!("msg_sim_in_{n}_{at}")));
        }
        if let Some(Value::String(text)) = fields.get("content") {
            let is_output = fields.get("role").is_some_and(|role| role == "assistant");
            let kind = if is_output { "output_text" } else { "input_text" };
            let parts = json!([{"type": kind, "text": text}]);
            fields.insert("content".to_owned(), parts);
        }
    }
    listed
}

/// True for a message, whose type may be left out.
pub(super) fn is_message(item: &Value) -> bool {
    kind(item) == "message" || (kind(item).is_empty() && item.get("role").is_some())
}

fn role(item: &Value) -> &str {
    if is_message(item) { item.get("role").and_then(Value::as_str).unwrap_or_default() } else { "" }
}

/// True for a call of a tool that the client carries out.
pub(super) fn is_call(item: &Value) -> bool {
    matches!(kind(item), "function_call" | "custom_tool_call")
}

/// True for the result of such a call.
pub(super) fn is_result(item: &Value) -> bool {
    matches!(kind(item), "function_call_output" | "custom_tool_call_output")
}

/// True for an item that the model has written.
pub(super) fn is_output(item: &Value) -> bool {
    role(item) == "assistant" || is_call(item) || matches!(kind(item), "reasoning" | "web_search_call")
}

/// The text of an item.
fn text_of(item: &Value) -> String {
    if is_result(item) {
        return text(&json!({"content": item.get("output")}));
    }
    text(item)
}

/// The messages of the conversation for a script. All items that the model has written in a row are one.
pub(super) fn spoken(items: &[Value]) -> Vec<(Author, String)> {
    let mut spoken: Vec<(Author, String)> = Vec::new();
    let mut was_output = false;
    for item in items {
        let is_output = is_output(item);
        match role(item) {
            _ if is_output && was_output => {}
            _ if is_output => spoken.push((Author::Assistant, String::new())),
            "user" => spoken.push((Author::User, text(item))),
            _ => spoken.push((Author::Other, String::new())),
        }
        was_output = is_output;
    }
    spoken
}

/// The tools of a request, and those that its items announce.
pub(super) fn offered(request: &Value, items: &[Value]) -> Vec<Offered> {
    let announced = |item: &&Value| matches!(kind(item), "additional_tools" | "tool_search_output");
    let announced = items.iter().filter(announced).flat_map(|item| list(item, "tools"));
    let mut all = Vec::new();
    for tool in list(request, "tools").iter().chain(announced) {
        let name = |tool: &Value| tool.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut add = |tool: &Value, namespace: Option<String>| {
            if matches!(kind(tool), "function" | "custom") {
                let flat = match &namespace {
                    Some(space) => format!("{space}__{}", name(tool)),
                    None => name(tool),
                };
                all.push(Offered { flat, name: name(tool), namespace, is_custom: kind(tool) == "custom" });
            }
        };
        if kind(tool) == "namespace" {
            for inner in list(tool, "tools") {
                add(inner, Some(name(tool)));
            }
        } else {
            add(tool, None);
        }
    }
    all
}

pub(super) fn turn(request: &Value, items: &[Value], tools: &[Offered]) -> Turn {
    // A message of the system in the middle is nobody's turn.
    let is_aside = |item: &&Value| !matches!(role(item), "system" | "developer");
    let last = items.iter().rfind(is_aside);
    if last.is_some_and(is_result) {
        let results = items.iter().rev().filter(is_aside).take_while(|item| is_result(item));
        let mut results: Vec<String> = results.map(text_of).collect();
        results.reverse();
        return Turn::ToolResult(results.join(" "));
    }
    if last.is_some_and(|last| role(last) == "user")
        && let Some(name) = chosen_tool(request, tools)
    {
        return Turn::ToolCall(name);
    }
    match items.iter().rfind(|item| role(item) == "user").map(text) {
        Some(text) if !text.is_empty() => Turn::User(script::without(&text)),
        _ => Turn::Nothing,
    }
}

/// The tool that `tool_choice` names, otherwise the first one.
fn chosen_tool(request: &Value, tools: &[Offered]) -> Option<String> {
    let choice = request.get("tool_choice");
    if choice.is_some_and(|choice| choice == "none") {
        return None;
    }
    let field = |name: &str| choice.and_then(|choice| choice.get(name)?.as_str());
    let first = tools.first()?;
    Some(match (field("namespace"), field("name")) {
        (Some(space), Some(name)) => format!("{space}__{name}"),
        (None, Some(name)) => name.to_owned(),
        _ => first.flat.clone(),
    })
}

/// The tokens of the instructions and the items. A dense prompt has a token for each byte, those of its tools and tool
/// calls too.
pub(super) fn tokens(request: &Value, items: &[Value], dense: bool) -> u64 {
    let instructions = request.get("instructions").and_then(Value::as_str).unwrap_or_default();
    let texts = items.iter().map(text_of);
    if !dense {
        return words(instructions) + texts.map(|text| words(&text)).sum::<u64>();
    }
    let calls = items.iter().filter(|item| is_call(item)).map(|item| item.to_string().len() as u64);
    let tools = request.get("tools").map_or(0, |tools| tools.to_string().len() as u64);
    let frames = FRAME * items.len() as u64;
    let texts = texts.map(|text| text.len() as u64).sum::<u64>();
    instructions.len() as u64 + texts + calls.sum::<u64>() + tools + frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_items_decide_the_turn() {
        let request = json!({"tools": [
            {"type": "web_search"}, {"type": "namespace", "name": "n", "tools": [{"type": "custom", "name": "a"}]},
            {"type": "function", "name": "b", "parameters": {}}]});
        let turn = |request: &Value, input: Value| {
            let items = items(&json!({"input": input}));
            super::turn(request, &items, &offered(request, &items))
        };
        assert_eq!(turn(&json!({}), json!("one two")), Turn::User("one two".into()));
        assert_eq!(turn(&request, json!("one two")), Turn::ToolCall("n__a".into()));
        let mut none = request.clone();
        none["tool_choice"] = json!("none");
        assert_eq!(turn(&none, json!("one two")), Turn::User("one two".into()));
        let mut named = request.clone();
        named["tool_choice"] = json!({"type": "function", "name": "b"});
        assert_eq!(turn(&named, json!("one two")), Turn::ToolCall("b".into()));
        let results = json!([{"role": "user", "content": "go"},
            {"type": "function_call", "call_id": "1", "name": "b", "arguments": "{}"},
            {"type": "custom_tool_call", "call_id": "2", "name": "a", "input": "x"},
            {"type": "function_call_output", "call_id": "1", "output": "21 C"},
            {"type": "custom_tool_call_output", "call_id": "2", "output": [{"type": "input_text", "text": "ok"}]},
            {"role": "developer", "content": "be brief"}]);
        assert_eq!(turn(&request, results.clone()), Turn::ToolResult("21 C ok".into()));
        let authors: Vec<Author> =
            spoken(&items(&json!({"input": results}))).into_iter().map(|(author, _)| author).collect();
        let [user, model, other] = [Author::User, Author::Assistant, Author::Other];
        assert_eq!(authors, [user, model, other, other, other]);
        assert_eq!(turn(&json!({}), json!([])), Turn::Nothing);
    }
}
