//! Reads the fields of a chat request that determine the response. Lenient on purpose: it only rejects what cannot be
//! answered, since the requests under test come from a gateway that may add and drop fields.

use serde_json::Value;

use crate::rejection::Rejection;
use crate::reply::{Ask, Turn, words};
use crate::script::{self, Author, Step};
use crate::simulate::{Simulate, Wanted};
use crate::when::Caller;

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
    turn: Turn,
    has_tools: bool,
    earlier_calls: u64,
    stops: Vec<String>,
    pub(crate) simulate: Simulate,
}

/// The tokens around each message, if a prompt has a token for each byte.
const FRAME: u64 = 4;
/// The largest number of choices, as at `OpenAI`.
const MAX_CHOICES: u64 = 128;

impl Chat {
    /// Reads a request body. The caller only determines which faults apply.
    pub(crate) fn read(body: &[u8], caller: &Caller<'_>) -> Result<Self, Rejection> {
        let value = object(body)?;
        let truth = |name: &str| value.get(name).and_then(Value::as_bool).unwrap_or(false);
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        let stream = truth("stream");
        let wanted = if stream { Wanted::Stream } else { Wanted::Whole };
        let messages: &[Value] = value.get("messages").and_then(Value::as_array).map_or(&[], Vec::as_slice);
        let texts: Vec<(Author, String)> =
            messages.iter().map(|message| (author(message), text(message))).collect();
        let step = script::next_step(texts.iter().map(|(author, text)| (*author, text.as_str())))
            .map_err(|message| Rejection::new(message, Some("messages")))?;
        let simulates = simulates(&value, &step, wanted)?;
        let n = number("n").unwrap_or(1);
        if !(1..=MAX_CHOICES).contains(&n) {
            return Err(Rejection::new(format!("n must be from 1 to {MAX_CHOICES}, not {n}"), Some("n")));
        }
        let model = value.get("model").and_then(Value::as_str);
        // After everything that can reject the request, since this counts it.
        let simulate = chosen(simulates, step, caller, model, stream);
        let format = value.pointer("/response_format/type").and_then(Value::as_str);
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
            has_tools: value.get("tools").and_then(Value::as_array).is_some_and(|tools| !tools.is_empty()),
            earlier_calls: messages
                .iter()
                .filter_map(|message| message.get("tool_calls")?.as_array())
                .map(|calls| calls.len() as u64)
                .sum(),
            stops: match value.get("stop") {
                Some(Value::String(text)) => vec![text.clone()],
                Some(Value::Array(stops)) => {
                    stops.iter().filter_map(Value::as_str).map(str::to_owned).collect()
                }
                _ => Vec::new(),
            },
            simulate,
        })
    }

    /// The properties that determine the reply.
    pub(crate) fn ask(&self) -> Ask<'_> {
        Ask {
            simulate: &self.simulate,
            turn: &self.turn,
            has_tools: self.has_tools,
            earlier_calls: self.earlier_calls,
            json: self.json.then_some("answer"),
            limit: self.content_limit(),
            stops: &self.stops,
            thinks: false,
        }
    }

    /// The reasoning tokens of one choice, without those of scripted thinking.
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

/// A request body, which must be a JSON object.
pub(crate) fn object(body: &[u8]) -> Result<Value, Rejection> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        Rejection::new(format!("We could not parse the JSON body of your request: {error}"), None)
    })?;
    if value.is_object() { Ok(value) } else { Err(Rejection::new("The body must be a JSON object.", None)) }
}

/// The faults of a request: those of its field `simulate`, otherwise those of the script in its prompt.
pub(crate) fn simulates(request: &Value, step: &Step, wanted: Wanted) -> Result<Vec<Simulate>, Rejection> {
    let value = request.get("simulate").unwrap_or(&step.simulate);
    Simulate::read(value, wanted).map_err(|message| Rejection::new(message, Some("simulate")))
}

/// The faults that apply, with the calls of the script.
pub(crate) fn chosen(
    simulates: Vec<Simulate>,
    step: Step,
    caller: &Caller<'_>,
    model: Option<&str>,
    stream: bool,
) -> Simulate {
    let mut simulate = Simulate::choose(simulates, caller, model, stream);
    if simulate.calls.is_empty() {
        simulate.calls = step.calls;
    }
    simulate
}

fn author(message: &Value) -> Author {
    match message.get("role").and_then(Value::as_str) {
        Some("user") => Author::User,
        Some("assistant") => Author::Assistant,
        _ => Author::Other,
    }
}

fn turn(request: &Value, messages: &[Value]) -> Turn {
    let role = |message: &Value| message.get("role").and_then(Value::as_str).map(str::to_owned);
    // A system message in the middle is nobody's turn.
    let is_turn = |message: &&Value| !matches!(role(message).as_deref(), Some("system" | "developer"));
    let last = messages.iter().rfind(is_turn);
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
        Some(text) if !text.is_empty() => Turn::User(script::without(&text)),
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
pub(crate) fn text(message: &Value) -> String {
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
        let system = json!({"role": "system", "content": "be brief"});
        let followed = json!({"messages": [{"role": "tool", "content": "21 C"}, system]});
        assert_eq!(read(&followed).turn, Turn::ToolResult("21 C".into()));
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
