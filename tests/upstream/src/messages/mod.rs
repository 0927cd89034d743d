//! Anthropic Messages: reads the fields of a request that determine the response, and responds to it and to a request to
//! count tokens. `check` rejects what the real API rejects, `signature` makes and verifies what only the provider can
//! read, and `write` writes the wire format.

mod check;
mod signature;
mod write;

use serde_json::{Value, json};

use crate::chat::{chosen, object, simulates, text};
use crate::faults::Wire;
use crate::record::Billed;
use crate::rejection::Rejection;
use crate::reply::{Ask, Reply, Turn, words};
use crate::response::{Generated, Response};
use crate::script::{self, Author, Step};
use crate::simulate::{Simulate, Wanted};
use crate::when::Caller;
use crate::whole::Head;

/// The tokens around each message, if a prompt has a token for each byte.
const FRAME: u64 = 4;

/// The models of the list.
const MODELS: [(&str, &str); 3] = [
    ("sim-small", "Simulated small"),
    ("claude-opus-4-8", "Simulated Claude Opus 4.8"),
    ("claude-haiku-4-5", "Simulated Claude Haiku 4.5"),
];

/// The parameters of a request.
#[expect(clippy::struct_excessive_bools, reason = "the switches are independent of each other on the wire")]
struct Messages {
    model: String,
    stream: bool,
    limit: Option<u64>,
    prompt_tokens: u64,
    turn: Turn,
    has_tools: bool,
    earlier_calls: u64,
    /// The field that holds the text if the content must be JSON.
    json: Option<String>,
    stops: Vec<String>,
    thinks: bool,
    /// True if the thoughts are signed but not shown.
    hides_thoughts: bool,
    simulate: Simulate,
}

/// Responds to a request for a message.
pub(crate) fn message(
    body: &[u8],
    caller: &Caller<'_>,
    head: &Head,
) -> Result<(Response, Simulate), Rejection> {
    let messages = Messages::read(body, caller, false)?;
    let reply = Reply::to(&messages.ask());
    let whole = || write::whole(&messages, &reply, head);
    let events = || write::events(&messages, &reply, head);
    let bill = messages.bill(&reply);
    let generated = Generated {
        simulate: &messages.simulate,
        wire: Wire::Anthropic,
        whole: &whole,
        events: if messages.stream { Some(&events) } else { None },
        prompt_tokens: messages.prompt_tokens,
        tokens: reply.tokens,
        bill: if messages.simulate.bill.is_some() { bill } else { Billed::default() },
    };
    let response = Response::to(&generated, head.n)?;
    Ok((response, messages.simulate))
}

/// Responds to a request for the number of tokens of a prompt.
pub(crate) fn count(
    body: &[u8],
    caller: &Caller<'_>,
    head: &Head,
) -> Result<(Response, Simulate), Rejection> {
    let messages = Messages::read(body, caller, true)?;
    let whole = || json!({"input_tokens": messages.prompt_tokens}).to_string();
    let generated = Generated {
        simulate: &messages.simulate,
        wire: Wire::Anthropic,
        whole: &whole,
        events: None,
        prompt_tokens: 0,
        tokens: 0,
        bill: Billed::default(),
    };
    let response = Response::to(&generated, head.n)?;
    Ok((response, messages.simulate))
}

/// The list of models in Anthropic's shape.
pub(crate) fn models() -> String {
    let models: Vec<Value> = MODELS
        .iter()
        .map(|(id, name)| {
            json!({"type": "model", "id": id, "display_name": name, "created_at": "2023-11-14T22:13:20Z",
                "lifecycle": "active", "max_input_tokens": 200_000, "max_tokens": 64_000})
        })
        .collect();
    let [first, .., last] = MODELS.map(|(id, _)| id);
    json!({"data": models, "has_more": false, "first_id": first, "last_id": last}).to_string()
}

impl Messages {
    /// Reads the body of a request for a message, or of one to count its tokens.
    fn read(body: &[u8], caller: &Caller<'_>, counts: bool) -> Result<Self, Rejection> {
        let value = object(body)?;
        let stream = !counts && value.get("stream") == Some(&Value::Bool(true));
        let wanted = match (counts, stream) {
            (true, _) => Wanted::Count,
            (_, true) => Wanted::MessageStream,
            (_, false) => Wanted::Message,
        };
        let messages: &[Value] = value.get("messages").and_then(Value::as_array).map_or(&[], Vec::as_slice);
        let texts: Vec<(Author, String)> =
            messages.iter().map(|message| (author(message), text(message))).collect();
        // A script is for the reply, and there is none to a request that counts.
        let step = if counts {
            Step::default()
        } else {
            script::next_step(texts.iter().map(|(author, text)| (*author, text.as_str())))
                .map_err(|message| Rejection::new(message, None))?
        };
        let simulates = simulates(&value, &step, wanted)?;
        if !simulates.iter().any(|simulate| simulate.lenient) {
            check::headers(caller.headers)?;
            check::request(&value, counts)?;
        }
        let model = value.get("model").and_then(Value::as_str);
        // After everything that can reject the request, since this counts it.
        let simulate = chosen(simulates, step, caller, model, stream);
        let model = model.unwrap_or("simulated").to_owned();
        let thinking = value.pointer("/thinking/type").and_then(Value::as_str);
        let display = value.pointer("/thinking/display").and_then(Value::as_str);
        Ok(Self {
            stream,
            limit: value.get("max_tokens").and_then(Value::as_u64),
            prompt_tokens: prompt_tokens(&value, messages, simulate.bill.is_some_and(|bill| bill.dense)),
            turn: turn(&value, messages),
            has_tools: !tools(&value).is_empty(),
            earlier_calls: blocks(messages).filter(|block| kind(block) == "tool_use").count() as u64,
            json: json_field(&value),
            stops: strings(value.get("stop_sequences")),
            thinks: matches!(thinking, Some("enabled" | "adaptive")),
            hides_thoughts: display.map_or(check::is_newer(&model), |display| display == "omitted"),
            model,
            simulate,
        })
    }

    fn ask(&self) -> Ask<'_> {
        Ask {
            simulate: &self.simulate,
            turn: &self.turn,
            has_tools: self.has_tools,
            earlier_calls: self.earlier_calls,
            json: self.json.as_deref(),
            limit: self.limit.map(|limit| limit.saturating_sub(self.billed_thinking())),
            stops: &self.stops,
            thinks: self.thinks,
        }
    }

    /// The tokens of thinking that are billed without being sent.
    fn billed_thinking(&self) -> u64 {
        let thinking = self.simulate.bill.map_or(0, |bill| bill.reasoning);
        thinking.min(self.limit.unwrap_or(u64::MAX))
    }

    /// The tokens of the call, which are also those of its usage.
    fn bill(&self, reply: &Reply) -> Billed {
        let bill = self.simulate.bill.unwrap_or_default();
        let cached = bill.cached.min(self.prompt_tokens);
        let written = bill.cache_write.min(self.prompt_tokens - cached);
        let written_1h = bill.cache_write_1h.min(self.prompt_tokens - cached - written);
        Billed {
            prompt: self.prompt_tokens - cached - written - written_1h,
            cached,
            written,
            written_1h,
            completion: reply.tokens + self.billed_thinking(),
        }
    }
}

fn author(message: &Value) -> Author {
    match message.get("role").and_then(Value::as_str) {
        Some("user") => Author::User,
        Some("assistant") => Author::Assistant,
        _ => Author::Other,
    }
}

/// The blocks of all messages.
fn blocks(messages: &[Value]) -> impl Iterator<Item = &Value> {
    messages.iter().filter_map(|message| message.get("content")?.as_array()).flatten()
}

/// The type of a block.
fn kind(block: &Value) -> &str {
    block.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// The tools that are the client's to carry out.
fn tools(request: &Value) -> Vec<&Value> {
    let all = request.get("tools").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    all.iter().filter(|tool| matches!(kind(tool), "" | "custom")).collect()
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The first required field of the JSON schema that the content must fit.
fn json_field(request: &Value) -> Option<String> {
    let schema = request.pointer("/output_config/format/schema")?;
    Some(strings(schema.get("required")).into_iter().next().unwrap_or_else(|| "answer".to_owned()))
}

fn turn(request: &Value, messages: &[Value]) -> Turn {
    // A system message in the middle is nobody's turn.
    let spoken = || messages.iter().filter(|message| author(message) != Author::Other);
    if let Some(last) = spoken().next_back().filter(|last| author(last) == Author::User) {
        let results: Vec<String> = blocks(std::slice::from_ref(last))
            .filter(|block| kind(block) == "tool_result")
            .map(text)
            .collect();
        if !results.is_empty() {
            return Turn::ToolResult(results.join(" "));
        }
        let choice = request.get("tool_choice");
        let named = choice.and_then(|choice| choice.get("name")).and_then(Value::as_str);
        let first = tools(request).first().and_then(|tool| tool.get("name")?.as_str());
        let is_none = choice.is_some_and(|choice| kind(choice) == "none");
        if let Some(name) = named.or(first).filter(|_| !is_none && first.is_some()) {
            return Turn::ToolCall(name.to_owned());
        }
    }
    match spoken().rfind(|message| author(message) == Author::User).map(text) {
        Some(text) if !text.is_empty() => Turn::User(script::without(&text)),
        _ => Turn::Nothing,
    }
}

/// The tokens of the system prompt, the messages and their tool results. A dense prompt has a token for each byte, those
/// of its tools and tool calls too.
fn prompt_tokens(request: &Value, messages: &[Value], dense: bool) -> u64 {
    let system = match request.get("system") {
        Some(system) => text(&json!({"content": system})),
        None => String::new(),
    };
    let texts = messages.iter().map(text).chain(blocks(messages).map(|block| match kind(block) {
        "tool_result" => text(block),
        _ => String::new(),
    }));
    if !dense {
        return words(&system) + texts.map(|text| words(&text)).sum::<u64>();
    }
    let length = |value: &Value| value.to_string().len() as u64;
    let calls = blocks(messages).filter_map(|block| block.get("input")).map(length).sum::<u64>();
    let frames = FRAME * messages.len() as u64;
    let tools = request.get("tools").map_or(0, length);
    tools + calls + frames + system.len() as u64 + texts.map(|text| text.len() as u64).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;
    use hyper::header::HeaderValue;

    use super::*;
    use crate::when::Times;

    fn read(value: &Value) -> Messages {
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
        let mut value = value.clone();
        let usual = json!({"model": "claude-haiku-4-5", "max_tokens": 100});
        for (name, usual) in usual.as_object().unwrap() {
            value.as_object_mut().unwrap().entry(name).or_insert(usual.clone());
        }
        let times = Times::default();
        let caller = Caller::new("/", &headers, &times);
        Messages::read(value.to_string().as_bytes(), &caller, false).map_err(|error| error.message).unwrap()
    }

    #[test]
    fn the_conversation_decides_the_turn() {
        let tools = json!([{"type": "web_search_20250305", "name": "web_search"},
            {"name": "a", "input_schema": {"type": "object"}}, {"name": "b", "input_schema": {"type": "object"}}]);
        let user = json!([{"role": "user", "content": [{"type": "text", "text": "one two"}]}]);
        let turn = |request: Value| read(&request).turn;
        assert_eq!(turn(json!({"messages": user})), Turn::User("one two".into()));
        assert_eq!(turn(json!({"messages": user, "tools": tools})), Turn::ToolCall("a".into()));
        let named = json!({"messages": user, "tools": tools, "tool_choice": {"type": "tool", "name": "b"}});
        assert_eq!(turn(named), Turn::ToolCall("b".into()));
        let none = json!({"messages": user, "tools": tools, "tool_choice": {"type": "none"}});
        assert_eq!(turn(none), Turn::User("one two".into()));
        let results = json!({"tools": tools, "messages": [{"role": "user", "content": "go [[call a]]"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "a", "input": {}},
                {"type": "tool_use", "id": "t2", "name": "b", "input": {"x": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "21 C"},
                {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "ok"}]},
                {"type": "text", "text": "go on"}]}]});
        let messages = read(&results);
        assert_eq!((&messages.turn, messages.earlier_calls), (&Turn::ToolResult("21 C ok".into()), 2));
        assert!(messages.simulate.calls.is_empty());
    }

    #[test]
    fn tokens_are_words_or_bytes() {
        let mut request = json!({"system": [{"type": "text", "text": "be brief"}],
            "messages": [{"role": "user", "content": "one two"}]});
        assert_eq!(read(&request).prompt_tokens, 4);
        request["simulate"] =
            json!({"bill": {"dense": true, "cached": 3, "cache_write": 4, "cache_write_1h": 5}});
        let messages = read(&request);
        assert_eq!(messages.prompt_tokens, 8 + 7 + 4);
        let billed = messages.bill(&Reply::to(&messages.ask()));
        assert_eq!((billed.prompt, billed.cached, billed.written, billed.written_1h), (7, 3, 4, 5));
    }
}
