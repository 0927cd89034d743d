//! Messages responses and the neutral form: reads an upstream's response as deltas, and writes deltas for a caller.
//!
//! A whole message is read by the code that reads a stream, block by block. Blocks that no other format has, such as
//! those of server tools, and events that are not known are skipped. The writer numbers its blocks itself, opens none
//! before it has content, and puts the usage into `message_delta`, because a translated upstream reports it last.
//!
//! Framing and `error` events are not read here: the stream that drives the reader handles them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::input;
use crate::conversation::carrier::{Blob, Kind, Maker};
use crate::conversation::delta::{Delta, Reply, Stop};
use crate::conversation::{Piece, Reasoning, ids};
use crate::json::{self, to_text};
use crate::usage::Usage;

/// The least length of an id that is unique in a conversation, in bytes: Mistral's have nine.
const LEAST_UNIQUE: usize = 9;

/// Reads a whole message as deltas; `None` if the body is not a message. `maker` is the lane. As in a stream, a message
/// with neither content nor a reason for its end has no [`Delta::Stop`].
pub fn read_whole(body: &[u8], maker: Maker) -> Option<Vec<Delta>> {
    let Whole { id, model, content, usage, stop_reason, stop_sequence, stop_details } =
        serde_json::from_slice(body).ok()?;
    let mut reader = Reader::new(maker);
    let mut deltas = Vec::new();
    reader.begin(id, model, &mut deltas);
    reader.add_usage(usage.as_ref(), &mut deltas);
    for block in content {
        reader.open(block, &mut deltas);
        reader.close(&mut deltas);
    }
    reader.ending = Ending { stop_reason, stop_sequence, stop_details };
    reader.finish(&mut deltas);
    Some(deltas)
}

#[derive(Deserialize)]
struct Whole<'a> {
    id: Option<String>,
    model: Option<String>,
    #[serde(borrow)]
    content: Vec<&'a RawValue>,
    usage: Option<Value>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
    stop_details: Option<Value>,
}

/// Reads the events of a stream.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub struct Reader {
    maker: Maker,
    has_begun: bool,
    /// The block that is open.
    block: Block,
    has_content: bool,
    has_tool_calls: bool,
    /// The numbers reported so far, as the upstream names them; of each the largest.
    usage: Map<String, Value>,
    ending: Ending,
    is_over: bool,
}

#[derive(Debug)]
enum Block {
    /// None is open.
    None,
    Text,
    Thinking {
        has_text: bool,
        signature: String,
    },
    ToolUse {
        /// The arguments in the start of the block, where some upstreams put all of them.
        input: Option<String>,
        has_arguments: bool,
    },
    /// A block without meaning in the neutral form.
    Skipped,
}

/// The reason why a message ends.
#[derive(Debug, Default, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of the format")]
struct Ending {
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
    stop_details: Option<Value>,
}

#[derive(Deserialize)]
struct Kinded {
    r#type: String,
}

#[derive(Deserialize)]
struct BlockStart<'a> {
    #[serde(borrow)]
    content_block: &'a RawValue,
}

#[derive(Deserialize)]
struct BlockDelta {
    delta: AnyDelta,
}

/// The content of every kind of delta; each has one of them.
#[derive(Deserialize)]
struct AnyDelta {
    text: Option<String>,
    thinking: Option<String>,
    signature: Option<String>,
    partial_json: Option<String>,
}

#[derive(Deserialize)]
struct MessageStart {
    message: Started,
}

#[derive(Deserialize)]
struct Started {
    id: Option<String>,
    model: Option<String>,
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct MessageDelta {
    delta: Option<Ending>,
    usage: Option<Value>,
}

/// The exact text of a tool's arguments.
#[derive(Deserialize)]
struct Input<'a> {
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

impl Reader {
    /// The reader of one response. `maker` is the lane, which gets its blobs back.
    pub fn new(maker: Maker) -> Reader {
        Reader {
            maker,
            has_begun: false,
            block: Block::None,
            has_content: false,
            has_tool_calls: false,
            usage: Map::new(),
            ending: Ending::default(),
            is_over: false,
        }
    }

    /// Reads an event. `name` is that of the `event:` line, and may be empty; `data` is JSON. [`Delta::Stop`] comes with
    /// `message_stop`, so that a stream which is cut before it has none. Unknown and malformed events are skipped.
    pub fn event(&mut self, name: &[u8], data: &[u8], out: &mut Vec<Delta>) {
        if self.is_over {
            return;
        }
        let stated = name.is_empty().then(|| serde_json::from_slice::<Kinded>(data).ok()).flatten();
        let name = stated.as_ref().map_or(name, |stated| stated.r#type.as_bytes());
        match name {
            b"content_block_delta" => {
                if let Ok(BlockDelta { delta }) = serde_json::from_slice(data) {
                    self.add(delta, out);
                }
            }
            b"content_block_start" => {
                if let Ok(BlockStart { content_block }) = serde_json::from_slice(data) {
                    self.close(out);
                    self.open(content_block, out);
                }
            }
            b"content_block_stop" => self.close(out),
            b"message_start" => {
                if let Ok(MessageStart { message }) = serde_json::from_slice(data) {
                    self.begin(message.id, message.model, out);
                    self.add_usage(message.usage.as_ref(), out);
                }
            }
            b"message_delta" => {
                if let Ok(MessageDelta { delta, usage }) = serde_json::from_slice(data) {
                    self.begin(None, None, out);
                    self.ending.note(delta.unwrap_or_default());
                    self.add_usage(usage.as_ref(), out);
                }
            }
            b"message_stop" => self.finish(out),
            _ => {}
        }
    }

    fn begin(&mut self, id: Option<String>, model: Option<String>, out: &mut Vec<Delta>) {
        if !self.has_begun {
            self.has_begun = true;
            out.push(Delta::Begin { id, model });
        }
    }

    /// Begins a block, with the content that its start has: in a whole message all of it.
    fn open(&mut self, block: &RawValue, out: &mut Vec<Delta>) {
        self.begin(None, None, out);
        let Ok(fields) = serde_json::from_str::<Map<String, Value>>(block.get()) else { return };
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        self.block = match text("type").as_str() {
            "text" => {
                self.push_text(text("text"), out);
                Block::Text
            }
            "thinking" => {
                let has_text = self.push_reasoning(text("thinking"), out);
                Block::Thinking { has_text, signature: text("signature") }
            }
            "redacted_thinking" => {
                self.push_blob(Kind::Redacted, text("data"), out);
                Block::Skipped
            }
            "tool_use" => {
                (self.has_content, self.has_tool_calls) = (true, true);
                out.push(Delta::ToolCall { id: text("id"), name: text("name") });
                let input = serde_json::from_str::<Input<'_>>(block.get()).ok().and_then(|block| block.input);
                let input = input.map(|input| input.get().to_owned()).filter(|input| input != "null");
                Block::ToolUse { input, has_arguments: false }
            }
            _ => Block::Skipped,
        };
    }

    fn add(&mut self, delta: AnyDelta, out: &mut Vec<Delta>) {
        self.begin(None, None, out);
        let AnyDelta { text, thinking, signature: more_signature, partial_json } = delta;
        match &mut self.block {
            Block::None | Block::Text => self.push_text(text.unwrap_or_default(), out),
            Block::Thinking { has_text, signature } => {
                signature.push_str(&more_signature.unwrap_or_default());
                if let Some(thinking) = thinking.filter(|thinking| !thinking.is_empty()) {
                    (*has_text, self.has_content) = (true, true);
                    out.push(Delta::Reasoning(thinking));
                }
            }
            Block::ToolUse { has_arguments, .. } => {
                if let Some(more) = partial_json.filter(|more| !more.is_empty()) {
                    *has_arguments = true;
                    out.push(Delta::Arguments(more));
                }
            }
            Block::Skipped => {}
        }
    }

    fn close(&mut self, out: &mut Vec<Delta>) {
        match std::mem::replace(&mut self.block, Block::None) {
            Block::Thinking { signature, .. } if !signature.is_empty() => {
                self.push_blob(Kind::Signature, signature, out);
            }
            // The text is all that the maker can get back.
            Block::Thinking { has_text: true, .. } => {
                self.push_blob(Kind::Plain, String::new(), out);
            }
            Block::ToolUse { input, has_arguments: false } => {
                out.push(Delta::Arguments(input.unwrap_or_else(|| "{}".to_owned())));
            }
            _ => {}
        }
    }

    fn push_text(&mut self, text: String, out: &mut Vec<Delta>) {
        if !text.is_empty() {
            self.has_content = true;
            out.push(Delta::Text(text));
        }
    }

    /// Returns `true` if there is a text.
    fn push_reasoning(&mut self, text: String, out: &mut Vec<Delta>) -> bool {
        let has_text = !text.is_empty();
        if has_text {
            self.has_content = true;
            out.push(Delta::Reasoning(text));
        }
        has_text
    }

    /// A blob of the lane; or one that carries a mark already, because the upstream is a gateway of this kind.
    fn push_blob(&mut self, kind: Kind, data: String, out: &mut Vec<Delta>) {
        self.has_content = true;
        let blob = Blob::read(&data).unwrap_or(Blob { kind, maker: self.maker, data });
        out.push(Delta::Blob(blob));
    }

    fn add_usage(&mut self, usage: Option<&Value>, out: &mut Vec<Delta>) {
        let Some(Value::Object(usage)) = usage else { return };
        add_numbers(&mut self.usage, usage);
        if let Some(mut usage) = Usage::read(&to_text(&self.usage)) {
            let thinking =
                self.usage.get("output_tokens_details").and_then(|details| details.get("thinking_tokens"));
            usage.reasoning_tokens = usage.reasoning_tokens.or(thinking.and_then(Value::as_u64));
            out.push(Delta::Usage(usage));
        }
    }

    fn finish(&mut self, out: &mut Vec<Delta>) {
        self.close(out);
        self.is_over = true;
        let Ending { stop_reason, stop_sequence, stop_details } = std::mem::take(&mut self.ending);
        let stop = match stop_reason.as_deref() {
            // Nothing at all is no response.
            None if !self.has_content => return,
            Some("stop_sequence") => Stop::Sequence(stop_sequence),
            Some("tool_use") => Stop::ToolCalls,
            Some("max_tokens" | "model_context_window_exceeded") => Stop::Length,
            Some("refusal") => Stop::Refusal,
            Some("pause_turn") => Stop::Pause,
            // `end_turn`, and reasons that are not known yet.
            _ => Stop::Done,
        };
        self.begin(None, None, out);
        let explanation = stop_details.as_ref().and_then(|details| details.get("explanation")?.as_str());
        if let Some(explanation) = explanation.filter(|text| stop == Stop::Refusal && !text.is_empty()) {
            out.push(Delta::Refusal(explanation.to_owned()));
        }
        out.push(Delta::Stop(stop.fitting(self.has_tool_calls)));
    }
}

impl Ending {
    /// Takes over what another report states.
    fn note(&mut self, other: Ending) {
        self.stop_reason = other.stop_reason.or(self.stop_reason.take());
        self.stop_sequence = other.stop_sequence.or(self.stop_sequence.take());
        self.stop_details = other.stop_details.or(self.stop_details.take());
    }
}

/// Adds a report of usage: of each number the largest, since later reports may lack what earlier ones had.
fn add_numbers(known: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (name, value) in more {
        match (known.get_mut(name), value) {
            (_, Value::Null) => {}
            (Some(Value::Object(known)), Value::Object(more)) => add_numbers(known, more),
            (Some(known), value) => {
                let is_less = value.as_f64().zip(known.as_f64()).is_some_and(|(value, known)| value < known);
                if !is_less {
                    *known = value.clone();
                }
            }
            (None, value) => {
                known.insert(name.clone(), value.clone());
            }
        }
    }
}

/// Writes deltas as the events of a Messages stream.
#[derive(Debug)]
pub struct Writer {
    id: String,
    model: String,
    has_begun: bool,
    open: Open,
    /// The index of the block that is open, or of the next one.
    index: usize,
    usage: Usage,
    stop: Option<Stop>,
    refusal: String,
}

/// The block that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    None,
    Text,
    Thinking,
    ToolUse,
}

#[derive(Serialize)]
struct BlockDeltaEvent<'a> {
    r#type: &'static str,
    index: usize,
    delta: &'a DeltaContent<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum DeltaContent<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
}

impl Writer {
    /// The writer of one response. `id` is its id if the upstream has none of this format's shape, `msg_…`; `model` is
    /// the name to show.
    pub fn new(id: String, model: String) -> Writer {
        Writer {
            id,
            model,
            has_begun: false,
            open: Open::None,
            index: 0,
            usage: Usage::default(),
            stop: None,
            refusal: String::new(),
        }
    }

    /// Writes the events for a delta, if it makes any.
    pub fn write(&mut self, delta: Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Begin { id, .. } => self.begin(id, out),
            Delta::Text(text) => self.add(Open::Text, &text, out),
            Delta::Reasoning(text) => self.add(Open::Thinking, &text, out),
            Delta::Arguments(text) if self.open == Open::ToolUse => self.add(Open::ToolUse, &text, out),
            Delta::Arguments(_) => {}
            Delta::Refusal(text) => self.refusal.push_str(&text),
            Delta::Blob(blob) => self.blob(&blob, out),
            Delta::ToolCall { id, name } => {
                let id = call_id(&id, &self.id);
                let block = json!({ "type": "tool_use", "id": id, "name": name, "input": {} });
                self.open(Open::ToolUse, &block, out);
            }
            Delta::Usage(usage) => self.usage = self.usage.larger(usage),
            Delta::Stop(stop) => self.stop = Some(stop),
        }
    }

    /// Ends the stream. Writes nothing if there was no [`Delta::Stop`]: the response was cut, and the stream has to end
    /// with an error event.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        let Some(stop) = self.stop.take() else { return };
        self.begin(None, out);
        self.close(out);
        let ending = ending(&stop, &self.refusal);
        let delta = json!({ "type": "message_delta", "delta": ending, "usage": usage(&self.usage) });
        event("message_delta", &delta, out);
        event("message_stop", &json!({ "type": "message_stop" }), out);
    }

    fn begin(&mut self, id: Option<String>, out: &mut Vec<u8>) {
        if self.has_begun {
            return;
        }
        self.has_begun = true;
        if let Some(id) = id.filter(|id| is_message_id(id)) {
            self.id = id;
        }
        let message = json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": usage(&Usage::default()),
        });
        event("message_start", &json!({ "type": "message_start", "message": message }), out);
    }

    /// Adds to a block of this kind; opens it first if another one is open.
    fn add(&mut self, kind: Open, text: &str, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if self.open != kind {
            let block = match kind {
                Open::Thinking => json!({ "type": "thinking", "thinking": "", "signature": "" }),
                _ => json!({ "type": "text", "text": "" }),
            };
            self.open(kind, &block, out);
        }
        let delta = match kind {
            Open::Thinking => DeltaContent::Thinking { thinking: text },
            Open::ToolUse => DeltaContent::InputJson { partial_json: text },
            Open::Text | Open::None => DeltaContent::Text { text },
        };
        self.delta(&delta, out);
    }

    /// Ends the block of thinking with its blob. A blob without a text is a block of its own.
    fn blob(&mut self, blob: &Blob, out: &mut Vec<u8>) {
        let text = blob.to_text();
        if self.open != Open::Thinking && blob.kind == Kind::Redacted {
            self.open(Open::None, &json!({ "type": "redacted_thinking", "data": text }), out);
            self.stop_block(out);
            return;
        }
        if self.open != Open::Thinking {
            let block = json!({ "type": "thinking", "thinking": "", "signature": "" });
            self.open(Open::Thinking, &block, out);
        }
        self.delta(&DeltaContent::Signature { signature: &text }, out);
        self.close(out);
    }

    fn open(&mut self, kind: Open, block: &Value, out: &mut Vec<u8>) {
        self.begin(None, out);
        self.close(out);
        self.open = kind;
        let start = json!({ "type": "content_block_start", "index": self.index, "content_block": block });
        event("content_block_start", &start, out);
    }

    fn delta(&mut self, delta: &DeltaContent<'_>, out: &mut Vec<u8>) {
        let delta = BlockDeltaEvent { r#type: "content_block_delta", index: self.index, delta };
        event("content_block_delta", &delta, out);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open != Open::None {
            self.stop_block(out);
        }
    }

    fn stop_block(&mut self, out: &mut Vec<u8>) {
        event("content_block_stop", &json!({ "type": "content_block_stop", "index": self.index }), out);
        self.open = Open::None;
        self.index += 1;
    }
}

fn event<T: Serialize>(name: &str, data: &T, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    json::append(data, out);
    out.extend_from_slice(b"\n\n");
}

#[derive(Serialize)]
struct Message<'a> {
    id: &'a str,
    r#type: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<Content<'a>>,
    #[serde(flatten)]
    ending: Value,
    usage: Value,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Content<'a> {
    Text { text: &'a str },
    Thinking { thinking: &'a str, signature: String },
    RedactedThinking { data: String },
    ToolUse { id: Cow<'a, str>, name: &'a str, input: Box<RawValue> },
}

/// Writes a whole message. `id` and `model` as in [`Writer::new`].
pub fn write_whole(reply: &Reply, id: &str, model: &str) -> Vec<u8> {
    let refusals = reply.pieces.iter().filter_map(|piece| match piece {
        Piece::Refusal(text) => Some(text.as_str()),
        _ => None,
    });
    let refusal: String = refusals.collect();
    let id = reply.id.as_deref().filter(|id| is_message_id(id)).unwrap_or(id);
    let message = Message {
        id,
        r#type: "message",
        role: "assistant",
        model,
        content: reply.pieces.iter().filter_map(|piece| content(piece, id)).collect(),
        ending: ending(reply.stop.as_ref().unwrap_or(&Stop::Done), &refusal),
        usage: usage(&reply.usage),
    };
    to_text(&message).into_bytes()
}

/// The block of a piece. A refusal has none: it is the reason for the end. Other pieces occur in requests only.
fn content<'a>(piece: &'a Piece, message_id: &str) -> Option<Content<'a>> {
    match piece {
        Piece::Text(text) => Some(Content::Text { text }),
        Piece::Reasoning(Reasoning { text, blob: Some(blob) })
            if text.is_empty() && blob.kind == Kind::Redacted =>
        {
            Some(Content::RedactedThinking { data: blob.to_text() })
        }
        Piece::Reasoning(Reasoning { text, blob }) => {
            let signature = blob.as_ref().map(Blob::to_text).unwrap_or_default();
            Some(Content::Thinking { thinking: text, signature })
        }
        Piece::ToolCall(call) => Some(Content::ToolUse {
            id: call_id(&call.id, message_id),
            name: &call.name,
            input: input::of(&call.arguments),
        }),
        Piece::Refusal(_) | Piece::ToolResult(_) | Piece::Image(_) | Piece::Document(_) | Piece::Audio(_) => {
            None
        }
    }
}

/// Returns `true` if the id of a response has this format's shape, which clients may check.
fn is_message_id(id: &str) -> bool {
    id.starts_with("msg_")
}

/// The id of a call in a form that this format accepts. Clients of it find calls by their ids alone, so a short id such
/// as `call_0`, which a model may use again in its next response, gets the id of the response.
fn call_id<'a>(id: &'a str, message_id: &str) -> Cow<'a, str> {
    if id.len() >= LEAST_UNIQUE {
        return ids::fit(id, ids::MESSAGES);
    }
    Cow::Owned(ids::fit(&format!("{id}_{message_id}"), ids::MESSAGES).into_owned())
}

/// The fields that say why a message ends. A refusal's text is the explanation.
fn ending(stop: &Stop, refusal: &str) -> Value {
    let is_refusal = *stop == Stop::Refusal || !refusal.is_empty();
    let (reason, sequence) = match stop {
        _ if is_refusal => ("refusal", None),
        Stop::Sequence(sequence) => ("stop_sequence", sequence.as_deref()),
        Stop::ToolCalls => ("tool_use", None),
        Stop::Length => ("max_tokens", None),
        Stop::Pause => ("pause_turn", None),
        Stop::Done | Stop::Refusal => ("end_turn", None),
    };
    let mut ending = json!({ "stop_reason": reason, "stop_sequence": sequence });
    if is_refusal && let Some(fields) = ending.as_object_mut() {
        let explanation = Some(refusal).filter(|text| !text.is_empty());
        let details = json!({ "type": "refusal", "category": null, "explanation": explanation });
        fields.insert("stop_details".to_owned(), details);
    }
    ending
}

/// The usage as Messages state it: their input excludes what is read from and written to the cache. Unknown numbers
/// are 0, because clients add them up.
fn usage(usage: &Usage) -> Value {
    let read = usage.cached_tokens.unwrap_or(0);
    let written = usage.cache_write_tokens.unwrap_or(0);
    let input = usage.prompt_tokens.unwrap_or(0).saturating_sub(read.saturating_add(written));
    let mut fields = json!({
        "input_tokens": input,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage.completion_tokens.unwrap_or(0),
    });
    if let Some(fields) = fields.as_object_mut() {
        if let Some(thinking) = usage.reasoning_tokens {
            fields.insert("output_tokens_details".to_owned(), json!({ "thinking_tokens": thinking }));
        }
        if let Some(longer) = usage.cache_write_1h_tokens {
            let shorter = written.saturating_sub(longer);
            let by_lifetime =
                json!({ "ephemeral_5m_input_tokens": shorter, "ephemeral_1h_input_tokens": longer });
            fields.insert("cache_creation".to_owned(), by_lifetime);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::ToolCall;
    use proptest::prelude::*;

    fn maker() -> Maker {
        Maker::of("anthropic", "claude")
    }

    /// The events of a stream, checked: names, indexes, and the order that the format demands.
    fn events(stream: &[u8]) -> Vec<(String, Value)> {
        let stream = std::str::from_utf8(stream).unwrap();
        let events: Vec<(String, Value)> = stream
            .split_terminator("\n\n")
            .map(|event| {
                let (name, data) = event.split_once('\n').unwrap();
                let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
                (name.strip_prefix("event: ").unwrap().to_owned(), data)
            })
            .collect();
        let (mut next, mut open) = (0, None);
        for (at, (name, data)) in events.iter().enumerate() {
            assert_eq!(data["type"], **name);
            match name.as_str() {
                "message_start" => assert_eq!(at, 0),
                "content_block_start" => {
                    assert_eq!((open, &data["index"]), (None, &json!(next)));
                    open = Some(next);
                }
                "content_block_delta" => {
                    assert_eq!(data["index"], json!(open.unwrap()));
                    let is_empty = |value: &Value| value == "";
                    assert!(!data["delta"].as_object().unwrap().values().any(is_empty), "{data}");
                }
                "content_block_stop" => {
                    assert_eq!(data["index"], json!(open.take().unwrap()));
                    next += 1;
                }
                "message_delta" => assert_eq!((open, at), (None, events.len() - 2)),
                "message_stop" => assert_eq!(at, events.len() - 1),
                other => panic!("{other}"),
            }
        }
        events
    }

    fn written(deltas: &[Delta]) -> Vec<u8> {
        let mut writer = Writer::new("msg_own".to_owned(), "claude".to_owned());
        let mut stream = Vec::new();
        for delta in deltas {
            writer.write(delta.clone(), &mut stream);
        }
        writer.end(&mut stream);
        stream
    }

    fn read(events: &[(String, Value)]) -> Vec<Delta> {
        let mut reader = Reader::new(maker());
        let mut deltas = Vec::new();
        for (name, data) in events {
            reader.event(name.as_bytes(), data.to_string().as_bytes(), &mut deltas);
        }
        deltas
    }

    fn read_text(stream: &str) -> Vec<Delta> {
        let mut reader = Reader::new(maker());
        let mut deltas = Vec::new();
        for line in stream.lines().map(str::trim).filter(|line| !line.is_empty()) {
            reader.event(b"", line.as_bytes(), &mut deltas);
        }
        deltas
    }

    fn text(text: &str) -> Delta {
        Delta::Text(text.to_owned())
    }

    fn signed(data: &str) -> Delta {
        Delta::Blob(Blob { kind: Kind::Signature, maker: maker(), data: data.to_owned() })
    }

    fn without_usage(deltas: Vec<Delta>) -> Vec<Delta> {
        deltas.into_iter().filter(|delta| !matches!(delta, Delta::Usage(_))).collect()
    }

    #[test]
    fn a_stream_is_read_with_its_unknown_blocks_skipped() {
        let deltas = read_text(
            r#"
            {"type":"message_start","message":{"id":"msg_1","model":"claude-x","content":[],"usage":{"input_tokens":43,"cache_read_input_tokens":100,"cache_creation_input_tokens":7,"output_tokens":1}}}
            {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}
            {"type":"ping"}
            {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm"}}
            {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"Er=="}}
            {"type":"content_block_stop","index":0}
            {"type":"content_block_start","index":1,"content_block":{"type":"server_tool_use","id":"srv","name":"web_search","input":{}}}
            {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"q\":1}"}}
            {"type":"content_block_stop","index":1}
            {"type":"content_block_start","index":2,"content_block":{"type":"web_search_tool_result","tool_use_id":"srv","content":[{"text":{}}]}}
            {"type":"content_block_stop","index":2}
            {"type":"new_event","index":9}
            {"type":"content_block_start","index":3,"content_block":{"type":"text","text":""}}
            {"type":"content_block_delta","index":3,"delta":{"type":"citations_delta","citation":{"type":"x"}}}
            {"type":"content_block_delta","index":3,"delta":{"type":"text_delta","text":"Hello"}   }
            {"type":"content_block_stop","index":3}
            {"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"toolu_1","name":"now","input":{}}}
            {"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":""}}
            {"type":"content_block_stop","index":4}
            {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":61,"cache_read_input_tokens":null,"output_tokens":20,"output_tokens_details":{"thinking_tokens":8}}}
            {"type":"message_stop"}
            {"type":"content_block_delta","index":5,"delta":{"type":"text_delta","text":"late"}}
            "#,
        );
        let reply = Reply::of(deltas.clone());
        assert_eq!(
            without_usage(deltas),
            [
                Delta::Begin { id: Some("msg_1".to_owned()), model: Some("claude-x".to_owned()) },
                Delta::Reasoning("Hm".to_owned()),
                signed("Er=="),
                text("Hello"),
                Delta::ToolCall { id: "toolu_1".to_owned(), name: "now".to_owned() },
                Delta::Arguments("{}".to_owned()),
                Delta::Stop(Stop::ToolCalls),
            ]
        );
        let expected = Usage {
            prompt_tokens: Some(61 + 100 + 7),
            cached_tokens: Some(100),
            cache_write_tokens: Some(7),
            cache_write_1h_tokens: None,
            completion_tokens: Some(20),
            reasoning_tokens: Some(8),
            image_tokens: None,
            units: crate::unit::Units::NONE,
        };
        assert_eq!(reply.usage, expected);
    }

    #[test]
    fn a_stream_without_its_end_has_no_stop() {
        let start = r#"{"type":"message_start","message":{"id":"msg_1","usage":{}}}"#;
        let block = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#;
        let delta = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#;
        let stop = r#"{"type":"message_stop"}"#;
        let ending = |events: &[&str]| match read_text(&events.join("\n")).pop() {
            Some(Delta::Stop(stop)) => Some(stop),
            _ => None,
        };
        assert_eq!(ending(&[start, block, delta]), None);
        assert_eq!(ending(&[start, stop]), None, "nothing came");
        assert_eq!(ending(&[start, delta, stop]), Some(Stop::Done), "the upstream says that it is complete");
        assert_eq!(ending(&[start, block, stop]), Some(Stop::Done), "the reason is missing");
        assert_eq!(ending(&[block, delta, stop, stop]), Some(Stop::Done));
    }

    #[test]
    fn arguments_in_the_start_of_a_block_count_if_none_follow() {
        let call = |start: &str, more: &str| {
            let stream = format!(
                r#"{{"type":"content_block_start","index":0,"content_block":{{"type":"tool_use","id":"a","name":"f"{start}}}}}
                {more}
                {{"type":"content_block_stop","index":0}}
                {{"type":"message_stop"}}"#
            );
            let Reply { pieces, stop, .. } = Reply::of(read_text(&stream));
            assert_eq!(stop, Some(Stop::ToolCalls));
            match pieces.into_iter().next() {
                Some(Piece::ToolCall(ToolCall { arguments, .. })) => arguments,
                other => panic!("{other:?}"),
            }
        };
        let more = r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"b\":2}"}}"#;
        assert_eq!(call(r#","input":{"a": 1.50}"#, ""), r#"{"a": 1.50}"#);
        assert_eq!(call(r#","input":{"a":1}"#, more), r#"{"b":2}"#);
        assert_eq!(call(r#","input":{}"#, more), r#"{"b":2}"#);
        assert_eq!(call(r#","input":null"#, ""), "{}");
        assert_eq!(call("", ""), "{}");
    }

    #[test]
    fn reasons_for_the_end_follow_from_the_pieces() {
        let whole = |content: &str, reason: &str| {
            let body = format!(r#"{{"type":"message","content":[{content}],{reason},"usage":{{}}}}"#);
            Reply::of(read_whole(body.as_bytes(), maker()).unwrap())
        };
        let call = r#"{"type":"tool_use","id":"a","name":"f","input":{}}"#;
        let hello = r#"{"type":"text","text":"Hi"}"#;
        for (content, reason, stop) in [
            (hello, r#""stop_reason":"end_turn""#, Stop::Done),
            (call, r#""stop_reason":"end_turn""#, Stop::ToolCalls),
            (call, r#""stop_reason":"tool_use""#, Stop::ToolCalls),
            (call, r#""stop_reason":"max_tokens""#, Stop::Length),
            (hello, r#""stop_reason":"tool_use""#, Stop::Done),
            (hello, r#""stop_reason":"model_context_window_exceeded""#, Stop::Length),
            (
                hello,
                r#""stop_reason":"stop_sequence","stop_sequence":"END""#,
                Stop::Sequence(Some("END".to_owned())),
            ),
            (hello, r#""stop_reason":"pause_turn""#, Stop::Pause),
            (hello, r#""stop_reason":"something_new""#, Stop::Done),
            (hello, r#""stop_reason":null"#, Stop::Done),
            ("", r#""stop_reason":"end_turn""#, Stop::Done),
        ] {
            assert_eq!(whole(content, reason).stop, Some(stop), "{content} {reason}");
        }
        let refused =
            whole("", r#""stop_reason":"refusal","stop_details":{"type":"refusal","explanation":"No."}"#);
        assert_eq!(refused.stop, Some(Stop::Refusal));
        assert_eq!(refused.pieces, [Piece::Refusal("No.".to_owned())]);
    }

    #[test]
    fn other_bodies_are_no_message() {
        for body in ["", "null", "[]", r#"{"error":{"message":"x"}}"#, r#"{"content":"text"}"#] {
            assert_eq!(read_whole(body.as_bytes(), maker()), None, "{body}");
        }
        let empty = read_whole(br#"{"type":"message","content":[],"stop_reason":null}"#, maker()).unwrap();
        assert_eq!(Reply::of(empty).stop, None);
    }

    #[test]
    fn thinking_without_a_signature_comes_back_as_plain_reasoning() {
        let body = r#"{"content":[{"type":"thinking","thinking":"Hm","signature":""},{"type":"text","text":"Hi"}],"stop_reason":"end_turn"}"#;
        let reply = Reply::of(read_whole(body.as_bytes(), maker()).unwrap());
        let blob = Blob { kind: Kind::Plain, maker: maker(), data: String::new() };
        let reasoning = Reasoning { text: "Hm".to_owned(), blob: Some(blob.clone()) };
        assert_eq!(reply.pieces, [Piece::Reasoning(reasoning), Piece::Text("Hi".to_owned())]);
        let whole = write_whole(&reply, "msg_1", "m");
        let whole: Value = serde_json::from_slice(&whole).unwrap();
        assert_eq!(whole["content"][0]["signature"], blob.to_text());
    }

    #[test]
    fn the_events_of_a_response_of_another_format() {
        let begin = Delta::Begin { id: Some("chatcmpl-1".to_owned()), model: Some("gpt".to_owned()) };
        let usage = Usage {
            prompt_tokens: Some(110),
            cached_tokens: Some(100),
            completion_tokens: Some(5),
            ..Usage::default()
        };
        let call = Delta::ToolCall { id: "functions.Bash:0".to_owned(), name: "Bash".to_owned() };
        let stream = written(&[begin, text(""), call, Delta::Stop(Stop::ToolCalls), Delta::Usage(usage)]);
        let events = events(&stream);
        assert_eq!(events[0].1["message"]["id"], "msg_own");
        assert_eq!(events[0].1["message"]["usage"]["input_tokens"], 0);
        let block = &events[1].1["content_block"];
        assert_eq!(block["type"], "tool_use", "no empty text block in front of it");
        assert_eq!(ids::restore(block["id"].as_str().unwrap()), "functions.Bash:0");
        let ending = &events[3].1;
        assert_eq!(ending["delta"], json!({ "stop_reason": "tool_use", "stop_sequence": null }));
        assert_eq!(
            ending["usage"],
            json!({
                "input_tokens": 10,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 100,
                "output_tokens": 5,
            })
        );
        assert_eq!(events.len(), 5);
    }

    #[test]
    fn short_ids_of_calls_become_unique() {
        let reply = |id: &str| {
            let call = ToolCall { id: id.to_owned(), name: "f".to_owned(), arguments: "{}".to_owned() };
            Reply { pieces: vec![Piece::ToolCall(call)], stop: Some(Stop::ToolCalls), ..Reply::default() }
        };
        for (id, expected) in [("call_0", "call_0_msg_own"), ("call_abcd", "call_abcd"), ("", "_msg_own")] {
            let whole: Value = serde_json::from_slice(&write_whole(&reply(id), "msg_own", "m")).unwrap();
            assert_eq!(whole["content"][0]["id"], expected);
            let stream = written(&deltas(&reply(id)));
            assert_eq!(events(&stream)[1].1["content_block"]["id"], expected);
        }
    }

    #[test]
    fn a_response_that_was_cut_gets_no_end() {
        let begin = Delta::Begin { id: None, model: None };
        let stream = written(&[begin, text("Hi")]);
        assert!(!String::from_utf8(stream).unwrap().contains("message_stop"));
    }

    #[test]
    fn arguments_that_are_no_object_stay_readable() {
        let input = |arguments: &str| {
            let call = ToolCall { id: "a".to_owned(), name: "f".to_owned(), arguments: arguments.to_owned() };
            let reply = Reply { pieces: vec![Piece::ToolCall(call)], ..Reply::default() };
            let whole: Value = serde_json::from_slice(&write_whole(&reply, "msg_1", "m")).unwrap();
            whole["content"][0]["input"].clone()
        };
        assert_eq!(input(r#" {"a":1} "#), json!({ "a": 1 }));
        assert_eq!(input(""), json!({}));
        assert_eq!(input("null"), json!({}));
        assert_eq!(input(r#"{"a":"#), json!({ "arguments": r#"{"a":"# }));
        assert_eq!(input("[1]"), json!({ "arguments": "[1]" }));
    }

    fn any_text() -> impl Strategy<Value = String> {
        "[a-zé\"\\\\\n ]{1,12}"
    }

    fn any_blob() -> impl Strategy<Value = Blob> {
        let kind = prop::sample::select(vec![Kind::Signature, Kind::Redacted, Kind::Encrypted, Kind::Plain]);
        (kind, "[a-zA-Z0-9+/=:]{0,9}", any::<bool>()).prop_map(|(kind, data, is_own)| {
            let maker = if is_own { maker() } else { Maker::of("deepseek", "r") };
            Blob { kind, maker, data }
        })
    }

    fn any_piece() -> impl Strategy<Value = Piece> {
        let arguments = prop::sample::select(vec!["{}", r#"{"a":1.50,"b":["é",null]}"#, r#"{ "q" : "x" }"#]);
        prop_oneof![
            any_text().prop_map(Piece::Text),
            ("[a-z ]{0,9}", any_blob())
                .prop_map(|(text, blob)| Piece::Reasoning(Reasoning { text, blob: Some(blob) })),
            ("[a-zA-Z0-9_-]{9,20}", "[a-z]{1,9}", arguments).prop_map(|(id, name, arguments)| {
                Piece::ToolCall(ToolCall { id, name, arguments: arguments.to_owned() })
            }),
        ]
    }

    fn any_reply() -> impl Strategy<Value = Reply> {
        let tokens = || 0u64..1000;
        let stops = vec![
            Stop::Done,
            Stop::Sequence(Some("END".to_owned())),
            Stop::Length,
            Stop::Pause,
            Stop::Refusal,
        ];
        let usage = (tokens(), tokens(), tokens(), tokens(), prop::option::of(tokens()));
        let pieces = prop::collection::vec(any_piece(), 0..8);
        (pieces, usage, prop::sample::select(stops), "[a-z]{0,9}").prop_map(
            |(mut pieces, (input, read, write, output, reasoning_tokens), stop, explanation)| {
                // Neighbouring texts are one.
                pieces.dedup_by(|one, other| matches!((one, other), (Piece::Text(_), Piece::Text(_))));
                let mut reply = Reply {
                    id: Some("msg_1".to_owned()),
                    model: Some("claude".to_owned()),
                    pieces,
                    usage: Usage {
                        prompt_tokens: Some(input + read + write),
                        cached_tokens: Some(read),
                        cache_write_tokens: Some(write),
                        cache_write_1h_tokens: None,
                        completion_tokens: Some(output),
                        reasoning_tokens,
                        image_tokens: None,
                        units: crate::unit::Units::NONE,
                    },
                    stop: None,
                };
                reply.stop = Some(stop.fitting(reply.has_tool_calls()));
                if reply.stop == Some(Stop::Refusal) && !explanation.is_empty() {
                    reply.pieces.push(Piece::Refusal(explanation));
                }
                reply
            },
        )
    }

    /// The deltas of a reply, with its texts in parts.
    fn deltas(reply: &Reply) -> Vec<Delta> {
        let parts = |text: &str| -> Vec<String> {
            let chars: Vec<char> = text.chars().collect();
            chars.chunks(3).map(|part| part.iter().collect()).collect()
        };
        let mut deltas = vec![Delta::Begin { id: reply.id.clone(), model: reply.model.clone() }];
        for piece in &reply.pieces {
            match piece {
                Piece::Text(text) => deltas.extend(parts(text).into_iter().map(Delta::Text)),
                Piece::Reasoning(Reasoning { text, blob }) => {
                    deltas.extend(parts(text).into_iter().map(Delta::Reasoning));
                    deltas.extend(blob.clone().map(Delta::Blob));
                }
                Piece::ToolCall(ToolCall { id, name, arguments }) => {
                    deltas.push(Delta::ToolCall { id: id.clone(), name: name.clone() });
                    deltas.extend(parts(arguments).into_iter().map(Delta::Arguments));
                }
                Piece::Refusal(text) => deltas.push(Delta::Refusal(text.clone())),
                other => panic!("{other:?}"),
            }
        }
        deltas.push(Delta::Usage(reply.usage));
        deltas.extend(reply.stop.clone().map(Delta::Stop));
        deltas
    }

    proptest! {
        /// A written stream is read as the same deltas.
        #[test]
        fn a_written_stream_is_read_as_the_same_deltas(reply in any_reply()) {
            let deltas = deltas(&reply);
            let events = events(&written(&deltas));
            let again = read(&events);
            prop_assert_eq!(Reply::of(again.clone()), reply);
            prop_assert_eq!(without_usage(again), without_usage(deltas));
        }

        /// A written whole message is read as the same reply, and the stream of it says the same.
        #[test]
        fn a_written_whole_is_read_as_the_same_reply(reply in any_reply()) {
            let whole = write_whole(&reply, "msg_own", "claude");
            let again = Reply::of(read_whole(&whole, maker()).unwrap());
            prop_assert_eq!(&again, &reply);
            let from_stream = Reply::of(read(&events(&written(&deltas(&reply)))));
            prop_assert_eq!(from_stream, again);
        }

        /// Events in any order keep the rules of deltas, and panic nowhere.
        #[test]
        fn any_events_keep_the_rules_of_deltas(order in prop::collection::vec(0usize..12, 0..20)) {
            const EVENTS: [&str; 12] = [
                r#"{"type":"message_start","message":{"id":"msg_1"}}"#,
                r#"{"type":"content_block_start","content_block":{"type":"text","text":"a"}}"#,
                r#"{"type":"content_block_start","content_block":{"type":"thinking","thinking":"b"}}"#,
                r#"{"type":"content_block_start","content_block":{"type":"tool_use","id":"c","name":"f"}}"#,
                r#"{"type":"content_block_start","content_block":7}"#,
                r#"{"type":"content_block_delta","delta":{"text":"d","thinking":"e","partial_json":"{}","signature":"s"}}"#,
                r#"{"type":"content_block_delta","delta":{"text":7}}"#,
                r#"{"type":"content_block_stop"}"#,
                r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":3}}"#,
                r#"{"type":"message_delta","usage":[]}"#,
                r#"{"type":"message_stop"}"#,
                "no JSON",
            ];
            let stream: Vec<&str> = order.iter().map(|at| EVENTS[*at]).collect();
            let deltas = read_text(&stream.join("\n"));
            let begins = deltas.iter().filter(|delta| matches!(delta, Delta::Begin { .. })).count();
            prop_assert!(begins <= 1);
            let content = |delta: &&Delta| !matches!(delta, Delta::Usage(_));
            let first = deltas.iter().find(content);
            prop_assert!(first.is_none_or(|first| matches!(first, Delta::Begin { .. })), "{:?}", first);
            let stop = deltas.iter().position(|delta| matches!(delta, Delta::Stop(_)));
            prop_assert!(stop.is_none_or(|at| at == deltas.len() - 1));
            for call in deltas.windows(2).filter(|pair| matches!(pair[0], Delta::ToolCall { .. })) {
                let is_followed = matches!(call[1], Delta::Arguments(_) | Delta::Usage(_));
                prop_assert!(is_followed, "{:?}", deltas);
            }
        }
    }
}
