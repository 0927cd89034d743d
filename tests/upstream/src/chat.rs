//! Reads the fields of a chat request that determine the response. Lenient on purpose: it only rejects what cannot be
//! answered, since the requests under test come from a gateway that may add and drop fields.

use serde_json::Value;

use crate::simulate::{Simulate, Wanted};
use crate::when::Caller;

/// The error for a request body that is rejected with status 400.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) message: String,
    pub(crate) param: Option<&'static str>,
}

/// The parameters of a chat request.
#[expect(clippy::struct_excessive_bools, reason = "the switches are independent of each other on the wire")]
pub(crate) struct Chat {
    pub(crate) model: String,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    /// Number of choices.
    pub(crate) n: u64,
    /// The largest number of words in the response.
    pub(crate) limit: Option<u64>,
    pub(crate) logprobs: bool,
    /// True if the content of the response must be JSON.
    pub(crate) json: bool,
    pub(crate) prompt_tokens: u64,
    pub(crate) turn: Turn,
    pub(crate) simulate: Simulate,
}

/// The last turn of the conversation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The last user message has this text.
    User(String),
    /// A tool returned this result.
    ToolResult(String),
    /// The model should call this tool.
    ToolCall(String),
    /// There is no user message.
    Nothing,
}

/// The tokens around each message, if a prompt has a token for each byte.
const FRAME: u64 = 4;
/// The largest number of choices, as at `OpenAI`.
const MAX_CHOICES: u64 = 128;

impl Chat {
    /// Reads a request body. The caller only determines which faults apply.
    pub(crate) fn read(body: &[u8], caller: &Caller<'_>) -> Result<Self, Rejection> {
        let value: Value = serde_json::from_slice(body).map_err(|error| Rejection {
            message: format!("We could not parse the JSON body of your request: {error}"),
            param: None,
        })?;
        if !value.is_object() {
            return Err(Rejection { message: "The body must be a JSON object.".to_owned(), param: None });
        }
        let truth = |name: &str| value.get(name).and_then(Value::as_bool).unwrap_or(false);
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        let stream = truth("stream");
        let wanted = if stream { Wanted::Stream } else { Wanted::Whole };
        let simulates = Simulate::read(value.get("simulate").unwrap_or(&Value::Null), wanted)
            .map_err(|message| Rejection { message, param: Some("simulate") })?;
        let n = number("n").unwrap_or(1);
        if !(1..=MAX_CHOICES).contains(&n) {
            return Err(Rejection {
                message: format!("n must be from 1 to {MAX_CHOICES}, not {n}"),
                param: Some("n"),
            });
        }
        // After everything that can reject the request, since this counts it.
        let simulate = Simulate::choose(simulates, caller, value.get("model").and_then(Value::as_str));
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
            prompt_tokens: if simulate.bill.is_some_and(|bill| bill.dense) {
                let tools = value.get("tools").map_or(0, |tools| tools.to_string().len() as u64);
                tools + messages.iter().map(|message| text(message).len() as u64 + FRAME).sum::<u64>()
            } else {
                messages.iter().map(|message| words(&text(message))).sum()
            },
            turn: turn(&value, messages),
            simulate,
        })
    }

    /// The reasoning tokens of one choice.
    pub(crate) fn reasoning_tokens(&self) -> u64 {
        let reasoning = self.simulate.bill.map_or(0, |bill| bill.reasoning);
        reasoning.min(self.limit.unwrap_or(u64::MAX))
    }

    /// The largest number of words of content in one choice.
    pub(crate) fn content_limit(&self) -> Option<u64> {
        self.limit.map(|limit| limit - self.reasoning_tokens())
    }

    /// The completion tokens of all choices, each with this much content.
    pub(crate) fn completion_tokens(&self, content: u64) -> u64 {
        (content + self.reasoning_tokens()) * self.n
    }

    /// The same for tests in which the caller does not matter.
    #[cfg(test)]
    pub(crate) fn read_alone(body: &[u8]) -> Result<Self, Rejection> {
        Self::read(body, &Caller::new("/", &hyper::HeaderMap::new(), &crate::when::Times::default()))
    }
}

/// The number of tokens of a text: its words between white space.
pub(crate) fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

fn turn(request: &Value, messages: &[Value]) -> Turn {
    let role = |message: &Value| message.get("role").and_then(Value::as_str).map(str::to_owned);
    let last = messages.last();
    match last.and_then(role).as_deref() {
        Some("tool") => return Turn::ToolResult(last.map(text).unwrap_or_default()),
        Some("user") => {
            if let Some(name) = chosen_tool(request) {
                return Turn::ToolCall(name);
            }
        }
        _ => {}
    }
    let user = messages.iter().rfind(|message| role(message).as_deref() == Some("user")).map(text);
    match user {
        Some(text) if !text.is_empty() => Turn::User(text),
        _ => Turn::Nothing,
    }
}

/// The tool that `tool_choice` names, otherwise the first one.
fn chosen_tool(request: &Value) -> Option<String> {
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
        Chat::read_alone(value.to_string().as_bytes()).map_err(|rejection| rejection.message).unwrap()
    }

    #[test]
    fn the_conversation_decides_the_turn() {
        let tool = json!([{"type": "function", "function": {"name": "a"}}]);
        let user = json!([{"role": "user", "content": [{"type": "text", "text": "one two"}, {"type": "image_url"}]}]);
        assert_eq!(read(&json!({"messages": user})).turn, Turn::User("one two".into()));
        assert_eq!(read(&json!({"messages": user})).prompt_tokens, 2);
        assert_eq!(read(&json!({"messages": user, "tools": tool})).turn, Turn::ToolCall("a".into()));
        let none = json!({"messages": user, "tools": tool, "tool_choice": "none"});
        assert_eq!(read(&none).turn, Turn::User("one two".into()));
        let named = json!({"messages": user, "tools": tool, "tool_choice": {"function": {"name": "b"}}});
        assert_eq!(read(&named).turn, Turn::ToolCall("b".into()));
        let result = json!({"messages": [{"role": "tool", "content": "21 C"}], "tools": tool});
        assert_eq!(read(&result).turn, Turn::ToolResult("21 C".into()));
        assert_eq!(read(&json!({})).turn, Turn::Nothing);
    }

    #[test]
    fn the_newer_limit_wins() {
        assert_eq!(read(&json!({"max_tokens": 5, "max_completion_tokens": 3})).limit, Some(3));
        assert!(Chat::read_alone(b"{\"n\":0}").is_err());
        assert!(Chat::read_alone(b"[]").is_err());
        assert!(Chat::read_alone(b"{\"a\":").is_err());
    }
}
