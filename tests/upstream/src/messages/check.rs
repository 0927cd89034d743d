//! The checks of a request that the real API makes before a model sees it, in its words where they are public. Only what
//! a gateway can get wrong in a translation is checked; fields that are unknown to any API are accepted, since the tests
//! send some.

use hyper::HeaderMap;
use serde_json::Value;

use super::{kind, signature};
use crate::rejection::Rejection;

/// The published values of `anthropic-version`.
const VERSIONS: [&str; 3] = ["2023-01-01", "2023-06-01", "2026-10-21"];
/// The largest number of `cache_control` marks.
const MAX_MARKS: usize = 4;
/// The smallest budget of thinking.
const MIN_BUDGET: u64 = 1024;
/// Fields of other APIs, which a translation must not leave in a request.
const FOREIGN: [&str; 22] = [
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "instructions",
    "input",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "modalities",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "reasoning_effort",
    "response_format",
    "seed",
    "stop",
    "stream_options",
    "top_logprobs",
    "user",
];
/// The media types of images.
const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

type Checked = Result<(), Rejection>;

fn invalid(message: impl Into<String>) -> Checked {
    Err(Rejection::new(message, None))
}

/// Checks the headers. A beta flag ends with its date; one that does not is taken for unknown, because the list of the
/// real API changes every month.
pub(super) fn headers(headers: &HeaderMap) -> Checked {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("anthropic-version") {
        None => return invalid("anthropic-version: header is required"),
        Some(version) if VERSIONS.contains(&version) => {}
        Some(version) => return invalid(format!("anthropic-version: \"{version}\" is not a valid version")),
    }
    let all = headers.get_all("anthropic-beta").iter().filter_map(|value| value.to_str().ok());
    let unknown: Vec<String> = all
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|flag| !flag.is_empty() && !is_dated(flag))
        .map(|flag| format!("`{flag}`"))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    invalid(format!(
        "Unexpected value(s) {} for the `anthropic-beta` header. Please consult our documentation at \
         docs.anthropic.com or try again without the header.",
        unknown.join(", ")
    ))
}

/// True for `effort-2025-11-24` and `claude-code-20250219`.
fn is_dated(flag: &str) -> bool {
    let digits: String = flag.chars().rev().take_while(|letter| !letter.is_alphabetic()).collect();
    digits.chars().filter(char::is_ascii_digit).count() == 8 && digits.ends_with('-')
}

/// True for models that have no sampling parameters, think adaptively and take system messages anywhere: those from Opus
/// 4.7 on, by their name.
pub(super) fn is_newer(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let Some(name) = name.strip_prefix("claude-") else { return false };
    // Dates are no versions.
    let mut numbers =
        name.split('-').filter_map(|part| part.parse::<u64>().ok()).filter(|number| *number < 100);
    let major = numbers.next().unwrap_or(0);
    major >= 5 || (major == 4 && numbers.next().unwrap_or(0) >= 7)
}

/// Checks the body. A request that counts tokens needs no `max_tokens`.
pub(super) fn request(request: &Value, counts: bool) -> Checked {
    if let Some(field) = FOREIGN.iter().find(|field| request.get(**field).is_some()) {
        return invalid(format!("{field}: Extra inputs are not permitted"));
    }
    let Some(model) = request.get("model").and_then(Value::as_str) else {
        return invalid("model: Field required");
    };
    let limit = request.get("max_tokens").filter(|limit| !limit.is_null());
    match limit.map(Value::as_u64) {
        None if counts => {}
        None => return invalid("max_tokens: Field required"),
        Some(Some(1..)) => {}
        Some(Some(0)) => return invalid("max_tokens: Input should be greater than or equal to 1"),
        Some(None) => return invalid("max_tokens: Input should be a valid integer"),
    }
    sampling(request, model)?;
    let tools = request.get("tools").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    self::tools(tools)?;
    thinking(request, model, limit.and_then(Value::as_u64))?;
    output_format(request)?;
    if marks(request) > MAX_MARKS {
        let found = marks(request);
        return invalid(format!(
            "A maximum of {MAX_MARKS} blocks with cache_control may be provided. Found {found}."
        ));
    }
    if let Some(Value::Array(blocks)) = request.get("system") {
        for block in blocks {
            text_block(block, "system")?;
        }
    }
    let Some(messages) = request.get("messages").and_then(Value::as_array) else {
        return invalid("messages: Field required");
    };
    self::messages(messages, model)?;
    if request.pointer("/thinking/type").and_then(Value::as_str) == Some("enabled") {
        leading_thought(messages)?;
    }
    Ok(())
}

fn sampling(request: &Value, model: &str) -> Checked {
    for name in ["temperature", "top_p", "top_k"] {
        let Some(value) = request.get(name).filter(|value| !value.is_null()) else { continue };
        if is_newer(model) {
            return invalid(format!("`{name}` is deprecated for this model."));
        }
        if name != "top_k" && value.as_f64().is_none_or(|value| !(0.0..=1.0).contains(&value)) {
            return invalid(format!("{name}: range: 0..1"));
        }
    }
    Ok(())
}

fn tools(tools: &[Value]) -> Checked {
    let mut names: Vec<&str> = Vec::new();
    for (at, tool) in tools.iter().enumerate() {
        let name = tool.get("name").and_then(Value::as_str).unwrap_or_default();
        if names.contains(&name) && !name.is_empty() {
            return invalid("tools: Tool names must be unique.");
        }
        names.push(name);
        if !matches!(kind(tool), "" | "custom") {
            continue;
        }
        let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
        if name.is_empty() || name.len() > 128 || !name.chars().all(fits) {
            return invalid(format!(
                "tools.{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            ));
        }
        match tool.get("input_schema") {
            None => return invalid(format!("tools.{at}.custom.input_schema: Field required")),
            Some(schema) if kind(schema) != "object" => {
                return invalid(format!("tools.{at}.custom.input_schema.type: Input should be 'object'"));
            }
            Some(_) => {}
        }
        for foreign in ["function", "parameters"] {
            if tool.get(foreign).is_some() {
                return invalid(format!("tools.{at}.custom.{foreign}: Extra inputs are not permitted"));
            }
        }
    }
    Ok(())
}

fn thinking(request: &Value, model: &str, limit: Option<u64>) -> Checked {
    let Some(thinking) = request.get("thinking").filter(|thinking| !thinking.is_null()) else {
        return Ok(());
    };
    let forced = request.get("tool_choice").is_some_and(|choice| matches!(kind(choice), "any" | "tool"));
    match kind(thinking) {
        "disabled" | "between_tools" => return Ok(()),
        "adaptive" => {}
        "enabled" if is_newer(model) => {
            return invalid(
                "\"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\" and \
                 \"output_config.effort\" to control thinking behavior.",
            );
        }
        "enabled" => match thinking.get("budget_tokens").and_then(Value::as_u64) {
            None => return invalid("thinking.enabled.budget_tokens: Field required"),
            Some(budget) if budget < MIN_BUDGET => {
                return invalid(
                    "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
                );
            }
            Some(budget) if limit.is_some_and(|limit| limit <= budget) => {
                return invalid("`max_tokens` must be greater than `thinking.budget_tokens`.");
            }
            Some(_) => {}
        },
        other => {
            return invalid(format!(
                "thinking: Input tag '{other}' found using 'type' does not match any of the expected tags: \
                 'enabled', 'disabled', 'adaptive'"
            ));
        }
    }
    if forced {
        return invalid("Thinking may not be enabled when tool_choice forces tool use.");
    }
    let temperature = request.get("temperature").and_then(Value::as_f64).unwrap_or(1.0);
    if (temperature - 1.0).abs() > f64::EPSILON {
        return invalid("`temperature` may only be set to 1 when thinking is enabled.");
    }
    Ok(())
}

fn output_format(request: &Value) -> Checked {
    if let Some(effort) = request.pointer("/output_config/effort").filter(|effort| !effort.is_null())
        && !matches!(effort.as_str(), Some("low" | "medium" | "high" | "xhigh" | "max"))
    {
        return invalid("output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'");
    }
    match request.pointer("/output_config/format/schema") {
        Some(schema) if is_open(schema) => invalid(
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false",
        ),
        _ => Ok(()),
    }
}

/// True if an object of a schema accepts more than its properties.
fn is_open(schema: &Value) -> bool {
    let nested = match schema {
        Value::Object(fields) => fields.values().any(is_open),
        Value::Array(list) => list.iter().any(is_open),
        _ => false,
    };
    nested || (kind(schema) == "object" && schema.get("additionalProperties") != Some(&Value::Bool(false)))
}

fn marks(value: &Value) -> usize {
    match value {
        Value::Object(fields) => {
            let here = fields.get("cache_control").is_some_and(|mark| !mark.is_null());
            // The arguments and the schema of a tool are the caller's own data.
            let nested = fields.iter().filter(|(name, _)| !matches!(name.as_str(), "input" | "input_schema"));
            usize::from(here) + nested.map(|(_, value)| marks(value)).sum::<usize>()
        }
        Value::Array(list) => list.iter().map(marks).sum(),
        _ => 0,
    }
}

fn messages(messages: &[Value], model: &str) -> Checked {
    let role = |message: &Value| message.get("role").and_then(Value::as_str).unwrap_or_default().to_owned();
    if messages.is_empty() {
        return invalid("messages: at least one message is required");
    }
    let mut previous: Option<&Value> = None;
    for (at, message) in messages.iter().enumerate() {
        match role(message).as_str() {
            "user" | "assistant" => {}
            "system" if is_newer(model) => {
                // Nobody's turn: what follows still answers what came before.
                continue;
            }
            "system" => {
                return invalid(format!("messages.{at}.role: role 'system' is not supported on this model"));
            }
            _ => return invalid(format!("messages.{at}.role: Input should be 'user' or 'assistant'")),
        }
        if previous.is_none() && role(message) != "user" {
            return invalid("messages: first message must use the \"user\" role");
        }
        content(at, message, &role(message), model)?;
        results(at, previous, message)?;
        previous = Some(message);
    }
    let Some(last) = previous else { return invalid("messages: at least one message is required") };
    if role(last) == "assistant" {
        let ended = blocks(last).last().map(kind).unwrap_or_default();
        // The provider goes on where its own tools have paused.
        if is_newer(model) && !ended.starts_with("server_tool") && !ended.ends_with("_tool_result") {
            return invalid(
                "This model does not support assistant message prefill. The conversation must end with a user \
                 message.",
            );
        }
        unanswered(messages.len(), last, &[])?;
    }
    Ok(())
}

fn blocks(message: &Value) -> &[Value] {
    message.get("content").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Checks that a text has something in it.
fn text_block(block: &Value, place: &str) -> Checked {
    if kind(block) != "text" {
        return Ok(());
    }
    match block.get("text").and_then(Value::as_str) {
        None => invalid(format!("{place}.text: Input should be a valid string")),
        Some("") => invalid(format!("{place}: text content blocks must be non-empty")),
        Some(text) if text.trim().is_empty() => {
            invalid(format!("{place}: text content blocks must contain non-whitespace text"))
        }
        Some(_) => Ok(()),
    }
}

fn content(at: usize, message: &Value, role: &str, model: &str) -> Checked {
    match message.get("content") {
        Some(Value::String(text)) if role == "user" && text.trim().is_empty() => {
            return invalid(format!("messages.{at}: user messages must have non-empty content"));
        }
        Some(Value::String(_)) => return Ok(()),
        Some(Value::Array(list)) if role == "user" && list.is_empty() => {
            return invalid(format!("messages.{at}: user messages must have non-empty content"));
        }
        Some(Value::Array(_)) => {}
        _ => return invalid(format!("messages.{at}.content: Input should be a valid list")),
    }
    if message.get("tool_calls").is_some() {
        return invalid(format!("messages.{at}.tool_calls: Extra inputs are not permitted"));
    }
    for (index, block) in blocks(message).iter().enumerate() {
        let place = format!("messages.{at}.content.{index}");
        let field = |name: &str| block.get(name);
        match (kind(block), role) {
            ("text", _) => text_block(block, &place)?,
            ("tool_use", "assistant") => {
                tool_id(block, "id", &place)?;
                if !field("input").is_some_and(Value::is_object) {
                    return invalid(format!("{place}.tool_use.input: Input should be a valid dictionary"));
                }
            }
            ("tool_result", "user") => {
                tool_id(block, "tool_use_id", &place)?;
                for (nested, block) in blocks(block).iter().enumerate() {
                    let place = format!("{place}.tool_result.content.{nested}");
                    text_block(block, &place)?;
                    image(block, &place)?;
                }
            }
            ("thinking", "assistant") => {
                let Some(signed) = field("signature").and_then(Value::as_str) else {
                    return invalid(format!("{place}.thinking.signature: Field required"));
                };
                let thought = field("thinking").and_then(Value::as_str).unwrap_or_default();
                if signed != signature::sign(model, thought) {
                    return invalid(format!("{place}: Invalid `signature` in `thinking` block"));
                }
            }
            ("redacted_thinking", "assistant")
                if field("data").and_then(Value::as_str) != Some(&signature::redact(model)) =>
            {
                return invalid(format!("{place}: Invalid `data` in `redacted_thinking` block"));
            }
            ("image", "user") => image(block, &place)?,
            (wrong @ ("tool_use" | "thinking" | "redacted_thinking"), "user") => {
                return invalid(format!("{place}: `{wrong}` blocks can only be in `assistant` messages"));
            }
            (wrong @ ("tool_result" | "image" | "document"), "assistant") => {
                return invalid(format!("{place}: `{wrong}` blocks can only be in `user` messages"));
            }
            ("image_url" | "input_text" | "output_text" | "input_image" | "file" | "input_audio" | "", _) => {
                let tag = kind(block);
                return invalid(format!(
                    "{place}: Input tag '{tag}' found using 'type' does not match any of the expected tags"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn tool_id(block: &Value, field: &str, place: &str) -> Checked {
    let id = block.get(field).and_then(Value::as_str).unwrap_or_default();
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    if id.is_empty() || !id.chars().all(fits) {
        return invalid(format!(
            "{place}.{}.{field}: String should match pattern '^[a-zA-Z0-9_-]+$'",
            kind(block)
        ));
    }
    Ok(())
}

fn image(block: &Value, place: &str) -> Checked {
    let Some(source) =
        block.get("source").filter(|source| kind(block) == "image" && kind(source) == "base64")
    else {
        return Ok(());
    };
    let media_type = source.get("media_type").and_then(Value::as_str).unwrap_or_default();
    if IMAGES.contains(&media_type) {
        return Ok(());
    }
    invalid(format!(
        "{place}.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'"
    ))
}

/// Checks that the calls of one message and the results in the next one fit each other.
fn results(at: usize, previous: Option<&Value>, message: &Value) -> Checked {
    let called: Vec<&str> = previous.map(|previous| ids(previous, "tool_use", "id")).unwrap_or_default();
    let results = ids(message, "tool_result", "tool_use_id");
    if let Some(id) = results.iter().find(|id| !called.contains(id)) {
        return invalid(format!(
            "messages.{at}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each \
             `tool_result` block must have a corresponding `tool_use` block in the previous message."
        ));
    }
    let Some(previous) = previous else { return Ok(()) };
    // Results come first; what follows a text does not count as an answer.
    let leading: Vec<&str> = blocks(message)
        .iter()
        .take_while(|block| kind(block) == "tool_result")
        .filter_map(|block| block.get("tool_use_id")?.as_str())
        .collect();
    unanswered(at, previous, &leading)
}

fn unanswered(at: usize, message: &Value, answered: &[&str]) -> Checked {
    let open: Vec<&str> =
        ids(message, "tool_use", "id").into_iter().filter(|id| !answered.contains(id)).collect();
    if open.is_empty() {
        return Ok(());
    }
    invalid(format!(
        "messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each \
         `tool_use` block must have a corresponding `tool_result` block in the next message.",
        open.join(", ")
    ))
}

fn ids<'a>(message: &'a Value, wanted: &str, field: &str) -> Vec<&'a str> {
    let found = blocks(message).iter().filter(|block| kind(block) == wanted);
    found.filter_map(|block| block.get(field)?.as_str()).collect()
}

/// Checks that the turn whose tool results come last began with a thought.
fn leading_thought(messages: &[Value]) -> Checked {
    let Some((last, before)) = messages.split_last() else { return Ok(()) };
    let Some(called) = before.last().filter(|_| !ids(last, "tool_result", "tool_use_id").is_empty()) else {
        return Ok(());
    };
    let first = blocks(called).first().map(kind).unwrap_or_default();
    if matches!(first, "thinking" | "redacted_thinking") {
        return Ok(());
    }
    invalid(format!(
        "messages.{}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{first}`. When \
         `thinking` is enabled, a final `assistant` message must start with a thinking block.",
        before.len() - 1
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OLDER: &str = "claude-haiku-4-5-20251001";
    const NEWER: &str = "claude-opus-4-8";

    /// The message for a request with these fields in addition to the usual ones.
    fn rejected(fields: &Value) -> Option<String> {
        let mut value =
            json!({"model": OLDER, "max_tokens": 2000, "messages": [{"role": "user", "content": "a"}]});
        for (name, field) in fields.as_object().unwrap() {
            value[name] = field.clone();
        }
        request(&value, false).err().map(|rejection| rejection.message)
    }

    fn after_call(result: &Value) -> Value {
        json!({"messages": [{"role": "user", "content": "a"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t_1", "name": "f", "input": {}}]}, result]})
    }

    fn thought(model: &str, thinking: &str, signature: &str) -> Value {
        json!({"model": model, "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": [
            {"type": "thinking", "thinking": thinking, "signature": signature}, {"type": "text", "text": "b"}]},
            {"role": "user", "content": "c"}]})
    }

    #[test]
    fn a_good_request_is_accepted() {
        let signed = signature::sign(OLDER, "so");
        for fields in [
            json!({}),
            json!({"temperature": 0.5, "x_unknown": {"a": 1}, "system": [{"type": "text", "text": "s"}]}),
            json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}),
            json!({"model": NEWER, "thinking": {"type": "adaptive"},
                "messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "s"}]}),
            after_call(&json!({"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t_1", "content": ""}, {"type": "text", "text": "b"}]})),
            thought(OLDER, "so", &signed),
            json!({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}),
            json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
        ] {
            assert_eq!(rejected(&fields), None, "{fields}");
        }
    }

    #[test]
    fn a_request_is_rejected_as_by_the_real_api() {
        let user = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
        let mark = json!({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}});
        let signed = signature::sign(OLDER, "so");
        for (fields, part) in [
            (json!({"max_tokens": null}), "max_tokens: Field required"),
            (json!({"max_tokens": 0}), "greater than or equal to 1"),
            (json!({"model": null}), "model: Field required"),
            (json!({"messages": null}), "messages: Field required"),
            (json!({"messages": []}), "at least one message"),
            (json!({"stop": ["a"]}), "stop: Extra inputs are not permitted"),
            (json!({"temperature": 1.5}), "temperature: range: 0..1"),
            (json!({"model": NEWER, "temperature": 1}), "`temperature` is deprecated"),
            (json!({"model": "anthropic/claude-fable-5", "top_k": 1}), "`top_k` is deprecated"),
            (
                json!({"model": NEWER, "thinking": {"type": "enabled", "budget_tokens": 1024}}),
                "thinking.type.adaptive",
            ),
            (json!({"thinking": {"type": "enabled", "budget_tokens": 1000}}), "1024"),
            (json!({"thinking": {"type": "enabled", "budget_tokens": 2000}}), "`max_tokens` must be greater"),
            (json!({"thinking": {"type": "adaptive"}, "tool_choice": {"type": "any"}}), "forces tool use"),
            (json!({"output_config": {"effort": "minimal"}}), "output_config.effort"),
            (
                json!({"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}),
                "additionalProperties",
            ),
            (json!({"tools": [{"name": "a.b", "input_schema": {"type": "object"}}]}), "tools.0.custom.name"),
            (json!({"tools": [{"name": "a", "input_schema": {}}]}), "input_schema.type"),
            (
                json!({"tools": [{"type": "function", "function": {}}, {"name": "a"}]}),
                "input_schema: Field required",
            ),
            (user(json!([mark, mark, mark, mark, mark])), "Found 5"),
            (user(json!("")), "non-empty content"),
            (
                user(json!([{"type": "text", "text": ""}])),
                "messages.0.content.0: text content blocks must be non-empty",
            ),
            (user(json!([{"type": "text", "text": " "}])), "non-whitespace"),
            (user(json!([{"type": "image_url"}])), "Input tag 'image_url'"),
            (
                user(json!([{"type": "image", "source": {"type": "base64", "media_type": "image/bmp"}}])),
                "media_type",
            ),
            (json!({"messages": [{"role": "system", "content": "a"}]}), "role 'system'"),
            (json!({"messages": [{"role": "tool", "content": "a"}]}), "'user' or 'assistant'"),
            (json!({"messages": [{"role": "assistant", "content": "a"}]}), "first message"),
            (
                json!({"model": NEWER, "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
                "prefill",
            ),
            (
                after_call(&json!({"role": "user", "content": "b"})),
                "without `tool_result` blocks immediately after: t_1",
            ),
            (
                after_call(&json!({"role": "user", "content": [{"type": "text", "text": "b"},
                    {"type": "tool_result", "tool_use_id": "t_1"}]})),
                "immediately after",
            ),
            (
                after_call(
                    &json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t_2"}]}),
                ),
                "unexpected `tool_use_id`",
            ),
            (
                after_call(
                    &json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t:1"}]}),
                ),
                "messages.2.content.0.tool_result.tool_use_id: String should match",
            ),
            (thought(OLDER, "no", &signed), "messages.1.content.0: Invalid `signature` in `thinking` block"),
            (thought("claude-haiku-4-6", "so", &signed), "Invalid `signature`"),
        ] {
            let message = rejected(&fields);
            assert!(message.as_ref().is_some_and(|message| message.contains(part)), "{fields}: {message:?}");
        }
        let mut thinks =
            after_call(&json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t_1"}]}));
        thinks["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
        assert!(rejected(&thinks).unwrap().contains("Expected `thinking`"));
    }

    #[test]
    fn headers_are_checked() {
        let check = |pairs: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in pairs {
                map.append(*name, value.parse().unwrap());
            }
            headers(&map).err().map(|rejection| rejection.message)
        };
        let version = ("anthropic-version", "2026-10-21");
        assert_eq!(check(&[version, ("anthropic-beta", "effort-2025-11-24, claude-code-20250219")]), None);
        assert_eq!(check(&[]).unwrap(), "anthropic-version: header is required");
        assert!(check(&[("anthropic-version", "2024-01-01")]).unwrap().contains("not a valid version"));
        let unknown =
            check(&[version, ("anthropic-beta", "a-2025-01-01"), ("anthropic-beta", "no-such-beta")]);
        assert!(unknown.unwrap().starts_with("Unexpected value(s) `no-such-beta` for"));
    }

    #[test]
    fn models_are_told_apart_by_their_names() {
        for (model, newer) in [
            (OLDER, false),
            ("claude-opus-4-20250514", false),
            ("claude-opus-4-6", false),
            ("claude-opus-4-7", true),
            (NEWER, true),
            ("claude-sonnet-5", true),
            ("claude-3-5-sonnet-20241022", false),
            ("sim-small", false),
        ] {
            assert_eq!(is_newer(model), newer, "{model}");
        }
    }
}
