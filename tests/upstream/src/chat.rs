//! Reads the body of a chat request as far as the answer depends on it.
//! Lenient on purpose: only what cannot be answered is refused, as the requests under test come from a gateway
//! that may add and drop members.

use serde_json::Value;

use crate::simulate::Simulate;
use crate::when::Caller;

/// A request body that is refused with status 400.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) param: Option<&'static str>,
}

/// What a chat request asks for.
#[expect(clippy::struct_excessive_bools, reason = "the switches are independent of each other on the wire")]
pub(crate) struct Chat {
    pub(crate) model: String,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    /// Number of choices.
    pub(crate) n: u64,
    /// Most words of the answer.
    pub(crate) limit: Option<u64>,
    pub(crate) logprobs: bool,
    /// Whether the answer's content has to be JSON.
    pub(crate) json: bool,
    pub(crate) prompt_tokens: u64,
    pub(crate) asked: Asked,
    pub(crate) simulate: Simulate,
}

/// What the conversation leads up to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// An answer to the last user message with this text.
    User(String),
    /// An answer that uses this result of a tool.
    ToolResult(String),
    /// A call of this tool.
    ToolCall(String),
    /// An answer to nothing in particular.
    Nothing,
}

/// Most choices, as at `OpenAI`.
const MOST_CHOICES: u64 = 128;

impl Chat {
    /// Reads a request body. Who asks decides only which faults there are.
    pub(crate) fn read(body: &[u8], caller: &Caller<'_>) -> Result<Self, Refusal> {
        let value: Value = serde_json::from_slice(body).map_err(|error| Refusal {
            message: format!("We could not parse the JSON body of your request: {error}"),
            param: None,
        })?;
        if !value.is_object() {
            return Err(Refusal { message: "The body has to be a JSON object.".to_owned(), param: None });
        }
        let truth = |name: &str| value.get(name).and_then(Value::as_bool).unwrap_or(false);
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        let stream = truth("stream");
        let simulates = Simulate::read(value.get("simulate").unwrap_or(&Value::Null), stream)
            .map_err(|message| Refusal { message, param: Some("simulate") })?;
        let n = number("n").unwrap_or(1);
        if !(1..=MOST_CHOICES).contains(&n) {
            return Err(Refusal { message: format!("n is 1 to {MOST_CHOICES}, not {n}"), param: Some("n") });
        }
        let messages: &[Value] = value.get("messages").and_then(Value::as_array).map_or(&[], Vec::as_slice);
        let format = value.pointer("/response_format/type").and_then(Value::as_str);
        let model = value.get("model").and_then(Value::as_str);
        Ok(Self {
            model: model.unwrap_or("simulated").to_owned(),
            stream,
            include_usage: value
                .pointer("/stream_options/include_usage")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            n,
            limit: number("max_completion_tokens").or_else(|| number("max_tokens")),
            logprobs: truth("logprobs"),
            json: matches!(format, Some("json_object" | "json_schema")),
            prompt_tokens: messages.iter().map(|message| words(&text(message))).sum(),
            asked: asked(&value, messages),
            // After everything that refuses the request: this counts it.
            simulate: Simulate::choose(simulates, caller, model),
        })
    }

    /// The same for tests in which it does not matter who asks.
    #[cfg(test)]
    pub(crate) fn read_alone(body: &[u8]) -> Result<Self, Refusal> {
        Self::read(body, &Caller::new("/", &hyper::HeaderMap::new(), &crate::when::Times::default()))
    }
}

/// Tokens of a text: its words between white space.
pub(crate) fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

fn asked(request: &Value, messages: &[Value]) -> Asked {
    let role = |message: &Value| message.get("role").and_then(Value::as_str).map(str::to_owned);
    let last = messages.last();
    match last.and_then(role).as_deref() {
        Some("tool") => return Asked::ToolResult(last.map(text).unwrap_or_default()),
        Some("user") => {
            if let Some(name) = wanted_tool(request) {
                return Asked::ToolCall(name);
            }
        }
        _ => {}
    }
    let user = messages.iter().rfind(|message| role(message).as_deref() == Some("user")).map(text);
    match user {
        Some(text) if !text.is_empty() => Asked::User(text),
        _ => Asked::Nothing,
    }
}

/// The tool that `tool_choice` names, else the first one.
fn wanted_tool(request: &Value) -> Option<String> {
    let first = request.pointer("/tools/0")?;
    let choice = request.get("tool_choice");
    if choice.and_then(Value::as_str) == Some("none") {
        return None;
    }
    choice
        .and_then(|choice| choice.pointer("/function/name"))
        .or_else(|| first.pointer("/function/name"))
        .and_then(Value::as_str)
        .map(str::to_owned)
}

/// The text of a message: its string content, or its text parts with a blank between them.
fn text(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts: Vec<&str> =
                parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect();
            texts.join(" ")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Chat {
        Chat::read_alone(value.to_string().as_bytes()).map_err(|refusal| refusal.message).unwrap()
    }

    #[test]
    fn the_conversation_decides_what_is_asked() {
        let tool = json!([{"type": "function", "function": {"name": "a"}}]);
        let user = json!([{"role": "user", "content": [{"type": "text", "text": "one two"}, {"type": "image_url"}]}]);
        assert_eq!(read(&json!({"messages": user})).asked, Asked::User("one two".into()));
        assert_eq!(read(&json!({"messages": user})).prompt_tokens, 2);
        assert_eq!(read(&json!({"messages": user, "tools": tool})).asked, Asked::ToolCall("a".into()));
        let none = json!({"messages": user, "tools": tool, "tool_choice": "none"});
        assert_eq!(read(&none).asked, Asked::User("one two".into()));
        let named = json!({"messages": user, "tools": tool, "tool_choice": {"function": {"name": "b"}}});
        assert_eq!(read(&named).asked, Asked::ToolCall("b".into()));
        let result = json!({"messages": [{"role": "tool", "content": "21 C"}], "tools": tool});
        assert_eq!(read(&result).asked, Asked::ToolResult("21 C".into()));
        assert_eq!(read(&json!({})).asked, Asked::Nothing);
    }

    #[test]
    fn the_newer_limit_wins() {
        assert_eq!(read(&json!({"max_tokens": 5, "max_completion_tokens": 3})).limit, Some(3));
        assert!(Chat::read_alone(b"{\"n\":0}").is_err());
        assert!(Chat::read_alone(b"[]").is_err());
        assert!(Chat::read_alone(b"{\"a\":").is_err());
    }
}
