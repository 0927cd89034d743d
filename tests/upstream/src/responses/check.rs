//! The checks of a request that the real API makes before a model sees it, in its words where they are public. Only what
//! a gateway can get wrong in a translation is checked; fields that are unknown to any API are accepted, since the tests
//! send some.

use serde_json::Value;

use super::input::{is_call, is_message, is_output, is_result, kind, list, strings};
use super::sealed::{self, Kind};
use super::stored::{Store, unknown_item};
use crate::rejection::Rejection;

/// Fields of other APIs, which a translation must not leave in a request.
const FOREIGN: [&str; 18] = [
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "n",
    "output_config",
    "presence_penalty",
    "frequency_penalty",
    "functions",
    "function_call",
    "logit_bias",
    "logprobs",
    "reasoning_effort",
    "response_format",
    "seed",
    "stop",
    "stop_sequences",
    "system",
    "thinking",
];
/// The smallest `max_output_tokens`.
const LEAST_OUTPUT: u64 = 16;
/// The longest `call_id`, in characters.
const LONGEST_CALL_ID: usize = 64;
/// The longest name of a tool, in characters.
const LONGEST_NAME: usize = 128;
/// The longest `user`, in characters.
const LONGEST_USER: usize = 64;
/// The beginnings of models that reason, which have no sampling parameters.
const REASONING_MODELS: [&str; 4] = ["gpt-5", "o1", "o3", "o4"];

type Checked = Result<(), Rejection>;

fn invalid(param: impl Into<String>, code: &'static str, message: impl Into<String>) -> Checked {
    Err(Rejection::new(message, None).with_param(param).with_code(code))
}

fn unknown(param: String) -> Checked {
    let message = format!("Unknown parameter: '{param}'.");
    invalid(param, "unknown_parameter", message)
}

fn missing(param: String) -> Checked {
    let message = format!("Missing required parameter: '{param}'.");
    invalid(param, "missing_required_parameter", message)
}

fn value(param: String, value: &str, supported: &str) -> Checked {
    invalid(param, "invalid_value", format!("Invalid value: '{value}'. Supported values are: {supported}."))
}

/// Checks the body. `items` is its input with that of earlier responses.
pub(super) fn request(request: &Value, items: &[Value], account: &str, store: &Store) -> Checked {
    if let Some(field) = FOREIGN.iter().find(|field| request.get(**field).is_some()) {
        return unknown((*field).to_owned());
    }
    let model = request.get("model").and_then(Value::as_str).unwrap_or_default();
    if items.is_empty() && request.get("prompt").is_none() && request.get("conversation").is_none() {
        return missing("input".to_owned());
    }
    if let Some(limit) = request.get("max_output_tokens").and_then(Value::as_u64)
        && limit < LEAST_OUTPUT
    {
        let message = format!(
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= {LEAST_OUTPUT}, but got {limit} \
             instead."
        );
        return invalid("max_output_tokens", "integer_below_min_value", message);
    }
    let is_reasoning = REASONING_MODELS.iter().any(|name| model.starts_with(name));
    for name in ["temperature", "top_p"] {
        if is_reasoning && request.get(name).is_some_and(|value| !value.is_null()) {
            let message = format!("Unsupported parameter: '{name}' is not supported with this model.");
            return Err(Rejection::new(message, Some(name)));
        }
    }
    for name in ["user", "safety_identifier"] {
        let length = request.get(name).and_then(Value::as_str).map_or(0, |user| user.chars().count());
        if length > LONGEST_USER {
            return too_long(name.to_owned(), LONGEST_USER, length);
        }
    }
    tools(list(request, "tools"), "tools")?;
    choice(request)?;
    output_format(request)?;
    for (at, item) in items.iter().enumerate() {
        self::item(item, &format!("input[{at}]"), account, store)?;
    }
    pairs(items)?;
    followed(items)
}

fn too_long(param: String, longest: usize, length: usize) -> Checked {
    let message = format!(
        "Invalid '{param}': string too long. Expected a string with maximum length {longest}, but got a string with \
         length {length} instead."
    );
    invalid(param, "string_above_max_length", message)
}

fn tools(tools: &[Value], place: &str) -> Checked {
    let mut names: Vec<String> = Vec::new();
    for (at, tool) in tools.iter().enumerate() {
        let place = format!("{place}[{at}]");
        match kind(tool) {
            "function" | "custom" => {}
            "namespace" => {
                self::tools(list(tool, "tools"), &format!("{place}.tools"))?;
                continue;
            }
            "" => return missing(format!("{place}.type")),
            // Tools of the provider's, whose list changes.
            _ => continue,
        }
        let Some(name) = tool.get("name").and_then(Value::as_str) else {
            return missing(format!("{place}.name"));
        };
        let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
        if name.is_empty() || !name.chars().all(fits) {
            let message = format!(
                "Invalid '{place}.name': string does not match pattern. Expected a string that matches the pattern \
                 '^[a-zA-Z0-9_-]+$'."
            );
            return invalid(format!("{place}.name"), "invalid_value", message);
        }
        if name.len() > LONGEST_NAME {
            return too_long(format!("{place}.name"), LONGEST_NAME, name.len());
        }
        if names.iter().any(|known| known == name) {
            let message = format!("Duplicate tool name: '{name}'.");
            return invalid(place, "invalid_value", message);
        }
        names.push(name.to_owned());
        for foreign in ["function", "input_schema"] {
            if tool.get(foreign).is_some() {
                return unknown(format!("{place}.{foreign}"));
            }
        }
        if kind(tool) == "custom" {
            continue;
        }
        match tool.get("parameters") {
            Some(schema) if kind(schema) != "object" => {
                let message = format!(
                    "Invalid schema for function '{name}': schema must be a JSON Schema of 'type: \"object\"', got \
                     'type: \"{}\"'.",
                    kind(schema)
                );
                return invalid(format!("{place}.parameters"), "invalid_function_parameters", message);
            }
            Some(schema) if tool.get("strict") == Some(&Value::Bool(true)) => {
                strict(schema, &format!("{place}.parameters"), "function", name)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks that each object of a strict schema is closed and requires all of its properties.
fn strict(schema: &Value, param: &str, what: &str, name: &str) -> Checked {
    match schema {
        Value::Object(fields) => {
            fields.values().try_for_each(|value| strict(value, param, what, name))?;
            let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Ok(()) };
            let required = strings(schema.get("required"));
            let message = if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
                "'additionalProperties' is required to be supplied and to be false"
            } else if properties.keys().any(|property| !required.contains(property)) {
                "'required' is required to be supplied and to be an array including every key in properties"
            } else {
                return Ok(());
            };
            let code = if what == "function" { "invalid_function_parameters" } else { "invalid_json_schema" };
            invalid(param, code, format!("Invalid schema for {what} '{name}': In context=(), {message}."))
        }
        Value::Array(list) => list.iter().try_for_each(|value| strict(value, param, what, name)),
        _ => Ok(()),
    }
}

fn choice(request: &Value) -> Checked {
    match request.get("tool_choice") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(word)) if matches!(word.as_str(), "auto" | "none" | "required") => Ok(()),
        Some(Value::String(word)) => value("tool_choice".to_owned(), word, "'none', 'auto', and 'required'"),
        Some(choice) if choice.get("function").is_some() => unknown("tool_choice.function".to_owned()),
        Some(choice) if kind(choice) == "function" && choice.get("name").is_none() => {
            missing("tool_choice.name".to_owned())
        }
        Some(_) => Ok(()),
    }
}

fn output_format(request: &Value) -> Checked {
    let Some(format) = request.pointer("/text/format") else { return Ok(()) };
    match kind(format) {
        "text" | "json_object" => return Ok(()),
        "json_schema" => {}
        other => {
            return value("text.format.type".to_owned(), other, "'text', 'json_object', and 'json_schema'");
        }
    }
    if format.get("json_schema").is_some() {
        return unknown("text.format.json_schema".to_owned());
    }
    let Some(name) = format.get("name").and_then(Value::as_str) else {
        return missing("text.format.name".to_owned());
    };
    match format.get("schema") {
        None => missing("text.format.schema".to_owned()),
        Some(schema) if format.get("strict") == Some(&Value::Bool(true)) => {
            strict(schema, "text.format.schema", "response_format", name)
        }
        Some(_) => Ok(()),
    }
}

fn item(item: &Value, place: &str, account: &str, store: &Store) -> Checked {
    let id = item.get("id").and_then(Value::as_str);
    let begins = |prefix: &str| match id.filter(|id| !id.starts_with(prefix)) {
        None => Ok(()),
        Some(id) => {
            let message =
                format!("Invalid '{place}.id': '{id}'. Expected an ID that begins with '{prefix}'.");
            invalid(format!("{place}.id"), "invalid_value", message)
        }
    };
    match kind(item) {
        _ if is_message(item) => {
            if item.get("role").is_some_and(|role| role == "assistant") {
                begins("msg")?;
            }
            message(item, place)
        }
        "function_call" => {
            begins("fc")?;
            call_id(item, place)?;
            for name in ["name", "arguments"] {
                if item.get(name).is_none_or(|value| !value.is_string()) {
                    return missing(format!("{place}.{name}"));
                }
            }
            Ok(())
        }
        "custom_tool_call" => {
            begins("ctc")?;
            call_id(item, place)
        }
        "function_call_output" | "custom_tool_call_output" => {
            call_id(item, place)?;
            match item.get("output") {
                Some(Value::String(_)) => Ok(()),
                Some(Value::Array(parts)) => self::parts(parts, &format!("{place}.output"), false),
                _ => missing(format!("{place}.output")),
            }
        }
        "reasoning" => {
            begins("rs")?;
            let Some(encrypted) = item.get("encrypted_content").and_then(Value::as_str) else {
                return match id.filter(|id| store.item(account, id).is_none()) {
                    Some(id) => Err(unknown_item(id)),
                    None => Ok(()),
                };
            };
            sealed_by(account, Kind::Reasoning, encrypted)
        }
        "compaction" => {
            let encrypted = item.get("encrypted_content").and_then(Value::as_str).unwrap_or_default();
            sealed_by(account, Kind::Compaction, encrypted)
        }
        "" => missing(format!("{place}.type")),
        "tool_use" | "tool_result" | "text" => {
            value(format!("{place}.type"), kind(item), "'message', 'function_call', and others")
        }
        // Items of the provider's tools, whose list changes.
        _ => Ok(()),
    }
}

/// Checks that something encrypted comes from this account.
fn sealed_by(account: &str, what: Kind, encrypted: &str) -> Checked {
    if encrypted == sealed::seal(what, account) {
        return Ok(());
    }
    let shown: String = encrypted.chars().take(8).collect();
    let message = format!(
        "The encrypted content {shown}... could not be verified. Reason: Encrypted content could not be decrypted or \
         parsed."
    );
    Err(Rejection::new(message, None).with_code("invalid_encrypted_content"))
}

fn call_id(item: &Value, place: &str) -> Checked {
    match item.get("call_id").and_then(Value::as_str) {
        None | Some("") => missing(format!("{place}.call_id")),
        Some(id) if id.chars().count() > LONGEST_CALL_ID => {
            too_long(format!("{place}.call_id"), LONGEST_CALL_ID, id.chars().count())
        }
        Some(_) => Ok(()),
    }
}

fn message(item: &Value, place: &str) -> Checked {
    let role = item.get("role").and_then(Value::as_str).unwrap_or_default();
    if !matches!(role, "user" | "assistant" | "system" | "developer") {
        let roles = "'assistant', 'system', 'developer', and 'user'";
        return value(format!("{place}.role"), role, roles);
    }
    for foreign in ["tool_calls", "tool_call_id", "reasoning_content"] {
        if item.get(foreign).is_some() {
            return unknown(format!("{place}.{foreign}"));
        }
    }
    match item.get("content") {
        Some(Value::String(_)) => Ok(()),
        Some(Value::Array(list)) => parts(list, &format!("{place}.content"), role == "assistant"),
        _ => missing(format!("{place}.content")),
    }
}

fn parts(parts: &[Value], place: &str, is_output: bool) -> Checked {
    for (at, part) in parts.iter().enumerate() {
        let place = format!("{place}[{at}]");
        let is_known = match kind(part) {
            "output_text" | "refusal" => is_output,
            "input_text" | "input_image" | "input_file" | "input_audio" => !is_output,
            _ => false,
        };
        if !is_known {
            let supported = if is_output {
                "'output_text' and 'refusal'"
            } else {
                "'input_text', 'input_image', 'input_file', and others"
            };
            return value(format!("{place}.type"), kind(part), supported);
        }
        if kind(part).ends_with("_text") && part.get("text").is_none_or(|text| !text.is_string()) {
            return missing(format!("{place}.text"));
        }
        if let Some(url) = part.get("image_url").filter(|url| !url.is_null()) {
            let Some(url) = url.as_str() else {
                let message = format!(
                    "Invalid type for '{place}.image_url': expected an image URL, but got an object instead."
                );
                return invalid(format!("{place}.image_url"), "invalid_type", message);
            };
            if !url.starts_with("https://") && !url.starts_with("http://") && !url.starts_with("data:image/")
            {
                let message = format!(
                    "Invalid '{place}.image_url'. Expected a valid URL, but got a value with an invalid format."
                );
                return invalid(format!("{place}.image_url"), "invalid_value", message);
            }
        }
    }
    Ok(())
}

/// Checks that each call has a later result of its kind, and each result an earlier call.
fn pairs(items: &[Value]) -> Checked {
    let id = |item: &Value| item.get("call_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    for (at, item) in items.iter().enumerate() {
        let (before, after) = items.split_at_checked(at).unwrap_or((items, &[]));
        if is_result(item) {
            let wanted = kind(item).strip_suffix("_output").unwrap_or_default();
            if !before.iter().any(|call| kind(call) == wanted && id(call) == id(item)) {
                let message =
                    format!("No tool call found for function call output with call_id {}.", id(item));
                return Err(Rejection::new(message, Some("input")));
            }
        }
        if is_call(item) && !after.iter().any(|result| is_result(result) && id(result) == id(item)) {
            let message = format!("No tool output found for function call {}.", id(item));
            return Err(Rejection::new(message, Some("input")));
        }
    }
    Ok(())
}

/// Checks that reasoning is followed by the item that it led to.
fn followed(items: &[Value]) -> Checked {
    for (at, item) in items.iter().enumerate() {
        if kind(item) == "reasoning" && !items.get(at + 1).is_some_and(is_output) {
            let id = item.get("id").and_then(Value::as_str).unwrap_or("reasoning");
            let message =
                format!("Item '{id}' of type 'reasoning' was provided without its required following item.");
            return Err(Rejection::new(message, Some("input")));
        }
    }
    Ok(())
}
