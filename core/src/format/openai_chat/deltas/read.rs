//! Reads the upstream's response.
//!
//! Upstreams differ in small things, which are all read: calls without an index or with the same index, calls whose
//! pieces interleave, arguments as an object, content as a list of parts, reasoning under five names. Errors, usage
//! beside `usage` and the end of a stream are the business of `openai_chat::stream`, whose output this reads.

use std::borrow::Cow;
use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::progress::Progress;
use crate::conversation::carrier::{Blob, Kind, Maker};
use crate::conversation::delta::{Delta, Stop};
use crate::json::members::Text;
use crate::usage::Usage;

/// The data of the last event.
const DONE: &[u8] = b"[DONE]";
/// The letters of the response's id in the id of a call that the upstream gave none.
const MINTED: usize = 16;

/// Reads a whole response; `None` if it has no choice. `maker` is the lane that made it.
pub fn read_whole(body: &[u8], maker: Maker) -> Option<Vec<Delta>> {
    let mut reader = Reader::new(maker);
    let mut deltas = Vec::new();
    reader.document(body, &mut deltas);
    if !reader.is_begun {
        return None;
    }
    reader.finish(&mut deltas);
    Some(deltas)
}

/// Reads the events of a stream.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "what has been seen of a stream is independent of each other"
)]
pub struct Reader {
    maker: Maker,
    is_begun: bool,
    /// The beginning of the ids of calls that the upstream gave none.
    minted: String,
    /// The block that is open in the sequence of deltas.
    open: Option<Block>,
    /// Blocks that came while a call was incomplete.
    held: VecDeque<Held>,
    /// All calls so far.
    calls: Vec<Call>,
    /// The items of `reasoning_details` of the reasoning so far.
    details: Vec<Map<String, Value>>,
    /// `true` once reasoning has come as a plain text; then the texts in `reasoning_details` repeat it.
    has_plain_reasoning: bool,
    has_refusal: bool,
    finish: Option<Finish>,
    is_stopped: bool,
}

/// A block of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Text,
    Refusal,
    Reasoning,
    /// The call at this place of [`Reader::calls`].
    Call(usize),
}

/// A part of a block that has to wait.
#[derive(Debug)]
struct Held {
    block: Block,
    text: String,
}

/// A call.
#[derive(Debug)]
struct Call {
    /// The upstream's index, if it states one.
    index: Option<u64>,
    /// The upstream's id; empty if it states none.
    id: String,
    name: String,
    /// The state of all arguments that have arrived.
    arrived: Progress,
    is_begun: bool,
}

/// The upstream's finish reason, as far as it does not follow from the pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finish {
    Length,
    Filtered,
    Other,
}

/// The fields of the first chunk that identify the response.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    created: Option<&'a RawValue>,
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
}

/// A chunk of a stream, or a whole response. The values whose type differs among upstreams are read later.
#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<Message<'a>>,
    #[serde(borrow, default)]
    message: Option<Message<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning_details: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow, default)]
    function_call: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct SentCall<'a> {
    #[serde(borrow, default)]
    index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    function: Option<SentFunction<'a>>,
}

#[derive(Deserialize)]
struct SentFunction<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

impl Reader {
    /// The state for a response of a lane.
    pub fn new(maker: Maker) -> Reader {
        Reader {
            maker,
            is_begun: false,
            minted: String::new(),
            open: None,
            held: VecDeque::new(),
            calls: Vec::new(),
            details: Vec::new(),
            has_plain_reasoning: false,
            has_refusal: false,
            finish: None,
            is_stopped: false,
        }
    }

    /// Takes an event: its name and its data. Events without data, and those with errors, say nothing here.
    pub fn event(&mut self, name: &[u8], data: &[u8], out: &mut Vec<Delta>) {
        let data = data.trim_ascii();
        if data == DONE {
            self.finish(out);
        } else if !data.is_empty() && name != b"error" {
            self.document(data, out);
        }
    }

    fn document(&mut self, data: &[u8], out: &mut Vec<Delta>) {
        if self.is_stopped {
            return;
        }
        let Ok(data) = std::str::from_utf8(data) else { return };
        if let Ok(document) = serde_json::from_str(data) {
            self.read(data, &document, out);
            return;
        }
        // A field that appears twice: the last one counts.
        let once = serde_json::from_str::<Value>(data).map(|value| value.to_string());
        if let Ok(once) = once
            && let Ok(document) = serde_json::from_str(&once)
        {
            self.read(&once, &document, out);
        }
    }

    fn read(&mut self, text: &str, document: &Document<'_>, out: &mut Vec<Delta>) {
        let choices = document.choices.as_deref().unwrap_or_default();
        if !choices.is_empty() && !self.is_begun {
            self.begin(text, out);
        }
        for choice in choices.iter().filter(|choice| number(choice.index).is_none_or(|index| index == 0)) {
            if let Some(message) = &choice.delta {
                self.message(message, false, out);
            }
            if let Some(message) = &choice.message {
                self.message(message, true, out);
            }
            let reason = choice.finish_reason.and_then(string).filter(|word| !matches!(&**word, "" | "null"));
            self.finish = reason.map(|word| Finish::of(&word)).or(self.finish);
        }
        if let Some(usage) = document.usage.and_then(|usage| Usage::read(usage.get())) {
            out.push(Delta::Usage(usage));
        }
    }

    fn begin(&mut self, text: &str, out: &mut Vec<Delta>) {
        self.is_begun = true;
        let head: Option<Head<'_>> = serde_json::from_str(text).ok();
        let Head { id, created, model } = head.unwrap_or(Head { id: None, created: None, model: None });
        let stated = |value: Option<&RawValue>| {
            value.and_then(string).filter(|text| !text.is_empty()).map(Cow::into_owned)
        };
        let id = stated(id);
        let hash = Sha256::new()
            .chain_update(id.as_deref().unwrap_or_default())
            .chain_update(created.map_or("", RawValue::get));
        self.minted = hex::encode(hash.finalize());
        self.minted.truncate(MINTED);
        out.push(Delta::Begin { id, model: stated(model) });
    }

    /// Reads a message, or a part of one. The calls of a whole message are identified by their places.
    fn message(&mut self, message: &Message<'_>, is_whole: bool, out: &mut Vec<Delta>) {
        self.reasoning(message, out);
        match message.content {
            Some(content) if content.get().starts_with('[') => self.parts(content, out),
            Some(content) => self.put_text(Block::Text, string(content), out),
            None => {}
        }
        self.put_text(Block::Refusal, message.refusal.and_then(string), out);
        if let Some(list) = message.tool_calls {
            let calls: Vec<SentCall<'_>> = serde_json::from_str(list.get()).unwrap_or_default();
            for (place, call) in calls.iter().enumerate() {
                let index = number(call.index).or(is_whole.then_some(place as u64));
                self.call(index, call.id, call.function.as_ref(), out);
            }
        }
        if let Some(function) = message.function_call {
            let function: Option<SentFunction<'_>> = serde_json::from_str(function.get()).ok();
            self.call(Some(u64::MAX), None, function.as_ref(), out);
        }
    }

    /// Reads the reasoning: a text, and the items that some upstreams want back as they are.
    fn reasoning(&mut self, message: &Message<'_>, out: &mut Vec<Delta>) {
        let is_said = |text: &Cow<'_, str>| !text.is_empty();
        let written = [message.reasoning_content, message.reasoning]
            .into_iter()
            .flatten()
            .find_map(|value| string(value).filter(is_said));
        let details = message.reasoning_details.map(RawValue::get).filter(|details| details.len() > 2);
        let items: Vec<Map<String, Value>> =
            details.and_then(|details| serde_json::from_str(details).ok()).unwrap_or_default();
        self.has_plain_reasoning |= written.is_some();
        if items.is_empty() {
            self.put_text(Block::Reasoning, written, out);
            return;
        }
        let of_items = || {
            let texts = items
                .iter()
                .flat_map(|item| ["text", "summary"].into_iter().filter_map(|name| item.get(name)?.as_str()));
            if self.has_plain_reasoning { Cow::default() } else { texts.collect::<String>().into() }
        };
        let written = written.unwrap_or_else(of_items);
        let is_blob = items.iter().any(is_opaque);
        for item in items {
            self.add_detail(item);
        }
        if is_blob || !written.is_empty() {
            self.put(Block::Reasoning, &written, out);
        }
    }

    /// Adds an item of `reasoning_details`, or a piece of the last one, which has the same type and index.
    fn add_detail(&mut self, item: Map<String, Value>) {
        let same = |name: &str, other: &Map<String, Value>| {
            item.get(name).is_some() && item.get(name) == other.get(name)
        };
        match self.details.last_mut().filter(|last| same("type", last) && same("index", last)) {
            Some(last) => {
                for (name, value) in item {
                    match (last.get_mut(&name), value) {
                        (Some(Value::String(text)), Value::String(more))
                            if matches!(&*name, "text" | "summary" | "data" | "signature") =>
                        {
                            text.push_str(&more);
                        }
                        (_, Value::Null) => {}
                        (_, value) => {
                            last.insert(name, value);
                        }
                    }
                }
            }
            None => self.details.push(item),
        }
    }

    /// Reads content that is a list of parts, as Mistral's is: texts and thinking.
    fn parts(&mut self, content: &RawValue, out: &mut Vec<Delta>) {
        let parts: Vec<Value> = serde_json::from_str(content.get()).unwrap_or_default();
        for part in &parts {
            match part.get("type").and_then(Value::as_str) {
                Some("thinking") => match part.get("thinking") {
                    Some(Value::Array(items)) => {
                        for item in items {
                            self.put_value(Block::Reasoning, item.get("text"), out);
                        }
                    }
                    thinking => self.put_value(Block::Reasoning, thinking, out),
                },
                Some("refusal") => self.put_value(Block::Refusal, part.get("refusal"), out),
                _ => self.put_value(Block::Text, part.get("text"), out),
            }
        }
    }

    fn put_value(&mut self, block: Block, value: Option<&Value>, out: &mut Vec<Delta>) {
        self.put_text(block, value.and_then(Value::as_str).map(Cow::Borrowed), out);
    }

    fn put_text(&mut self, block: Block, text: Option<Cow<'_, str>>, out: &mut Vec<Delta>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.has_refusal |= block == Block::Refusal;
            self.put(block, &text, out);
        }
    }

    /// Reads a call, or a piece of one.
    fn call(
        &mut self,
        index: Option<u64>,
        id: Option<&RawValue>,
        function: Option<&SentFunction<'_>>,
        out: &mut Vec<Delta>,
    ) {
        let id = loose(id);
        let name = function.map(|function| loose(function.name)).unwrap_or_default();
        let arguments = function.map(|function| loose(function.arguments)).unwrap_or_default();
        let known = match index {
            Some(index) => self.calls.iter().rposition(|call| call.index == Some(index)),
            None => self.calls.len().checked_sub(1),
        };
        // Some upstreams give all calls one index or none; some repeat the name, or a new id, with each piece.
        let continued = known.filter(|place| {
            self.calls.get(*place).is_some_and(|call| {
                let is_other = !id.is_empty() && !call.id.is_empty() && id != call.id;
                let is_next = index.is_none() && !id.is_empty() && id != call.id;
                let begins_again = id.is_empty() && call.arrived.is_complete && !arguments.is_empty();
                name.is_empty() || call.name.is_empty() || !(is_other || is_next || begins_again)
            })
        });
        let place = continued.unwrap_or_else(|| {
            self.calls.push(Call {
                index,
                id: String::new(),
                name: String::new(),
                arrived: Progress::default(),
                is_begun: false,
            });
            self.calls.len() - 1
        });
        let Some(call) = self.calls.get_mut(place) else { return };
        if call.id.is_empty() {
            call.id = id.into_owned();
        }
        if call.name.is_empty() {
            call.name = name.into_owned();
        }
        self.put(Block::Call(place), &arguments, out);
    }

    /// Adds text to a block, now or when the open call is complete.
    fn put(&mut self, block: Block, text: &str, out: &mut Vec<Delta>) {
        if let Block::Call(place) = block
            && let Some(call) = self.calls.get_mut(place)
        {
            call.arrived.push(text);
        }
        if self.open == Some(block) {
            add(block, text, out);
        } else {
            self.hold(block, text);
        }
        self.release(false, out);
    }

    fn hold(&mut self, block: Block, text: &str) {
        let waiting = match block {
            Block::Call(place) if self.calls.get(place).is_some_and(|call| call.is_begun) => return,
            Block::Call(_) => self.held.iter_mut().find(|held| held.block == block),
            _ => self.held.back_mut().filter(|held| held.block == block),
        };
        match waiting {
            Some(held) => held.text.push_str(text),
            None => self.held.push_back(Held { block, text: text.to_owned() }),
        }
    }

    /// Writes the blocks that wait, up to a call that is incomplete, or all of them.
    fn release(&mut self, is_end: bool, out: &mut Vec<Delta>) {
        while !self.held.is_empty() && (is_end || !self.is_waiting()) {
            let is_nameless = |held: &Held| matches!(held.block, Block::Call(place) if self.calls.get(place).is_some_and(|call| call.name.is_empty()));
            if !is_end && self.held.front().is_some_and(is_nameless) {
                return;
            }
            let Some(Held { block, text }) = self.held.pop_front() else { return };
            if self.open != Some(block) {
                self.close(out);
                self.begin_block(block, out);
            }
            add(block, &text, out);
        }
    }

    /// Returns `true` if the open block is a call that is incomplete.
    fn is_waiting(&self) -> bool {
        matches!(self.open, Some(Block::Call(place)) if self.calls.get(place).is_some_and(|call| !call.arrived.is_complete))
    }

    fn begin_block(&mut self, block: Block, out: &mut Vec<Delta>) {
        self.open = Some(block);
        let Block::Call(place) = block else { return };
        let Some(call) = self.calls.get_mut(place) else { return };
        call.is_begun = true;
        if call.id.is_empty() {
            call.id = format!("call_{}_{place}", self.minted);
        }
        out.push(Delta::ToolCall { id: call.id.clone(), name: call.name.clone() });
    }

    /// Ends the open block: reasoning with its blob, a call without arguments with `{}`.
    fn close(&mut self, out: &mut Vec<Delta>) {
        match self.open.take() {
            Some(Block::Reasoning) => {
                let details = std::mem::take(&mut self.details);
                let (kind, data) = if details.iter().any(is_opaque) {
                    (Kind::Encrypted, crate::json::to_text(&details))
                } else {
                    (Kind::Plain, String::new())
                };
                out.push(Delta::Blob(Blob { kind, maker: self.maker, data }));
            }
            Some(Block::Call(place)) if self.calls.get(place).is_some_and(|call| !call.arrived.is_begun) => {
                out.push(Delta::Arguments("{}".to_owned()));
            }
            _ => {}
        }
    }

    /// The end of the content. The reason is that of the pieces, whatever the upstream's word for it is. A response
    /// without content or a finish reason has none.
    fn finish(&mut self, out: &mut Vec<Delta>) {
        self.release(true, out);
        let has_content = self.open.is_some() || self.finish.is_some();
        if !has_content || std::mem::replace(&mut self.is_stopped, true) {
            return;
        }
        self.close(out);
        let has_calls = !self.calls.is_empty();
        let stop = match self.finish {
            Some(Finish::Length) => Stop::Length,
            Some(Finish::Filtered) => Stop::Refusal,
            _ if self.has_refusal && !has_calls => Stop::Refusal,
            _ => Stop::Done,
        };
        out.push(Delta::Stop(stop.fitting(has_calls)));
    }
}

impl Finish {
    fn of(word: &str) -> Finish {
        match word.to_ascii_lowercase().as_str() {
            // The first is OpenAI's, the second of many small servers, the third Mistral's, the last DeepSeek's.
            "length" | "max_tokens" | "model_length" | "insufficient_system_resource" => Finish::Length,
            "content_filter" | "refusal" | "safety" | "sensitive" => Finish::Filtered,
            _ => Finish::Other,
        }
    }
}

/// Adds text to the open block.
fn add(block: Block, text: &str, out: &mut Vec<Delta>) {
    if text.is_empty() {
        return;
    }
    let text = text.to_owned();
    out.push(match block {
        Block::Text => Delta::Text(text),
        Block::Refusal => Delta::Refusal(text),
        Block::Reasoning => Delta::Reasoning(text),
        Block::Call(_) => Delta::Arguments(text),
    });
}

/// Returns `true` if an item of `reasoning_details` has something that its maker wants back beside the text.
fn is_opaque(item: &Map<String, Value>) -> bool {
    ["signature", "data"].iter().any(|name| item.get(*name).is_some_and(|value| !value.is_null()))
}

/// A JSON string.
fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(value.get()).ok().map(|Text(text)| text)
}

/// A JSON string, or the JSON of any other value; empty if there is none.
fn loose(value: Option<&RawValue>) -> Cow<'_, str> {
    value.map_or(Cow::Borrowed(""), |value| string(value).unwrap_or(Cow::Borrowed(value.get())))
}

fn number(value: Option<&RawValue>) -> Option<u64> {
    value?.get().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::delta::Reply;
    use crate::conversation::{Piece, ToolCall};
    use proptest::prelude::*;
    use serde_json::json;

    fn maker() -> Maker {
        Maker::of("acme", "m")
    }

    /// The deltas of a stream of chunks with these deltas.
    fn stream(deltas: &[Value], finish: &str) -> Vec<Delta> {
        let mut reader = Reader::new(maker());
        let mut out = Vec::new();
        let finish = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]});
        let chunks = deltas
            .iter()
            .map(|delta| json!({"id": "c1", "model": "m", "choices": [{"index": 0, "delta": delta}]}));
        for chunk in chunks.chain([finish]) {
            reader.event(b"", chunk.to_string().as_bytes(), &mut out);
        }
        reader.event(b"", b"[DONE]", &mut out);
        out
    }

    fn begin() -> Delta {
        Delta::Begin { id: Some("c1".to_owned()), model: Some("m".to_owned()) }
    }

    fn call(id: &str, name: &str) -> Delta {
        Delta::ToolCall { id: id.to_owned(), name: name.to_owned() }
    }

    fn arguments(text: &str) -> Delta {
        Delta::Arguments(text.to_owned())
    }

    fn plain() -> Delta {
        Delta::Blob(Blob { kind: Kind::Plain, maker: maker(), data: String::new() })
    }

    #[test]
    fn blocks_follow_each_other_and_end() {
        let found = stream(
            &[
                json!({"role": "assistant", "content": "", "reasoning_content": "a"}),
                json!({"reasoning_content": "b", "content": null}),
                json!({"content": "c"}),
                json!({"tool_calls": [{"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
                json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"x\":"}}]}),
                json!({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
                json!({"tool_calls": [{"index": 1, "id": "2", "function": {"name": "g", "arguments": ""}}]}),
            ],
            "stop",
        );
        let expected = vec![
            begin(),
            Delta::Reasoning("a".to_owned()),
            Delta::Reasoning("b".to_owned()),
            plain(),
            Delta::Text("c".to_owned()),
            call("1", "f"),
            arguments("{\"x\":"),
            arguments("1}"),
            call("2", "g"),
            arguments("{}"),
            Delta::Stop(Stop::ToolCalls),
        ];
        assert_eq!(found, expected);
    }

    /// The calls of a stream of chunks with these values of `tool_calls`: id, name and arguments.
    fn calls(chunks: &[Value]) -> Vec<(String, String, String)> {
        let deltas: Vec<Value> = chunks.iter().map(|calls| json!({"tool_calls": calls})).collect();
        let found = Reply::of(stream(&deltas, "tool_calls"));
        let calls = found.pieces.into_iter().filter_map(|piece| match piece {
            Piece::ToolCall(ToolCall { id, name, arguments }) => Some((id, name, arguments)),
            _ => None,
        });
        calls.collect()
    }

    #[test]
    fn calls_of_careless_upstreams_are_told_apart() {
        let f = |name: &str, arguments: &str| json!({"name": name, "arguments": arguments});
        let expect = |list: [(&str, &str, &str); 2]| {
            list.map(|(id, name, arguments)| (id.to_owned(), name.to_owned(), arguments.to_owned())).to_vec()
        };
        let two = expect([("1", "f", "{\"a\":1}"), ("2", "g", "{}")]);
        for chunks in [
            // All on one index.
            vec![
                json!([{"index": 0, "id": "1", "function": f("f", "{\"a\"")}]),
                json!([{"index": 0, "function": {"arguments": ":1}"}}]),
                json!([{"index": 0, "id": "2", "function": f("g", "{}")}]),
            ],
            // No index.
            vec![
                json!([{"id": "1", "function": f("f", "{\"a\"")}]),
                json!([{"id": "", "function": f("", ":1}")}]),
                json!([{"id": "2", "function": f("g", "")}]),
            ],
            vec![
                json!([{"id": "1", "function": f("f", "{\"a\":1}")}, {"id": "2", "function": f("g", "{}")}]),
            ],
            // Interleaved.
            vec![
                json!([{"index": 0, "id": "1", "function": f("f", "{")}, {"index": 1, "id": "2", "function": f("g", "")}]),
                json!([{"index": 1, "function": {"arguments": "{"}}]),
                json!([{"index": 0, "function": {"arguments": "\"a\":"}}]),
                json!([{"index": 1, "function": {"arguments": "}"}}]),
                json!([{"index": 0, "function": {"arguments": "1}"}}]),
            ],
            // Arguments as an object, and numbers as ids.
            vec![
                json!([{"index": 0, "id": 1, "function": {"name": "f", "arguments": {"a": 1}}}]),
                json!([{"index": 1, "id": 2, "function": {"name": "g", "arguments": null}}]),
            ],
            // The name and the id come again with each piece, the id even changes.
            vec![
                json!([{"index": 0, "id": "1", "function": f("f", "{\"a\"")}]),
                json!([{"index": 0, "id": "1", "function": f("f", ":")}]),
                json!([{"index": 0, "id": "9", "function": {"arguments": "1}"}}]),
                json!([{"index": 1, "id": "2", "function": f("g", "{}")}]),
            ],
            // The name comes late.
            vec![
                json!([{"index": 0, "id": "1", "function": {"arguments": ""}}]),
                json!([{"index": 0, "function": f("f", "{\"a\":1}")}]),
                json!([{"index": 1, "id": "2", "function": f("g", "{}")}]),
            ],
        ] {
            assert_eq!(calls(&chunks), two, "{chunks:?}");
        }
        // Neither ids nor different indexes.
        let found = calls(&[
            json!([{"index": 0, "function": f("f", "{}")}]),
            json!([{"index": 0, "function": f("f", "{}")}]),
        ]);
        assert_eq!(found.len(), 2);
        assert_ne!(found[0].0, found[1].0);
        assert!(found.iter().all(|(id, ..)| id.starts_with("call_")), "{found:?}");
    }

    #[test]
    fn text_that_comes_within_a_call_waits_until_it_is_complete() {
        let found = stream(
            &[
                json!({"tool_calls": [{"index": 0, "id": "1", "function": {"name": "f", "arguments": "{"}}]}),
                json!({"content": "late"}),
                json!({"content": "r"}),
                json!({"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}),
                json!({"tool_calls": [{"index": 0, "function": {"arguments": "more"}}]}),
            ],
            "tool_calls",
        );
        let expected = [
            begin(),
            call("1", "f"),
            arguments("{"),
            arguments("}"),
            Delta::Text("later".to_owned()),
            Delta::Stop(Stop::ToolCalls),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn reasoning_is_read_under_every_name() {
        let encrypted = |items: Value| {
            Delta::Blob(Blob { kind: Kind::Encrypted, maker: maker(), data: items.to_string() })
        };
        let thought = |text: &str| Delta::Reasoning(text.to_owned());
        for (deltas, expected) in [
            (vec![json!({"reasoning": "a", "reasoning_content": null})], vec![thought("a"), plain()]),
            (
                vec![json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}]})],
                vec![thought("a"), plain()],
            ),
            (
                vec![
                    json!({"reasoning": "a", "reasoning_details": [{"type": "reasoning.text", "text": "a", "index": 0}]}),
                ],
                vec![thought("a"), plain()],
            ),
            // The items with a signature go back as they are, joined.
            (
                vec![
                    json!({"reasoning_details": [{"type": "reasoning.text", "text": "a", "index": 0, "format": "x"}]}),
                    json!({"reasoning_details": [{"type": "reasoning.text", "text": "b", "index": 0, "format": "x"}]}),
                    json!({"reasoning_details": [{"type": "reasoning.text", "signature": "s", "index": 0, "format": "x"}]}),
                ],
                vec![
                    thought("a"),
                    thought("b"),
                    encrypted(
                        json!([{"type": "reasoning.text", "text": "ab", "index": 0, "format": "x", "signature": "s"}]),
                    ),
                ],
            ),
            (
                vec![json!({"reasoning_details": [{"type": "reasoning.encrypted", "data": "d"}]})],
                vec![encrypted(json!([{"type": "reasoning.encrypted", "data": "d"}]))],
            ),
        ] {
            let found = stream(&deltas, "stop");
            let expected: Vec<Delta> =
                [begin()].into_iter().chain(expected).chain([Delta::Stop(Stop::Done)]).collect();
            assert_eq!(found, expected, "{deltas:?}");
        }
    }

    #[test]
    fn the_reason_to_stop_follows_from_the_pieces() {
        let text = json!({"content": "a"});
        let refusal = json!({"refusal": "no"});
        let tool =
            json!({"tool_calls": [{"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}]});
        let older = json!({"function_call": {"name": "f", "arguments": "{}"}});
        for (delta, word, expected) in [
            (&text, "stop", Stop::Done),
            (&text, "tool_calls", Stop::Done),
            (&text, "eos", Stop::Done),
            (&text, "length", Stop::Length),
            (&text, "model_length", Stop::Length),
            (&text, "content_filter", Stop::Refusal),
            (&refusal, "stop", Stop::Refusal),
            (&tool, "stop", Stop::ToolCalls),
            (&tool, "length", Stop::Length),
            (&older, "function_call", Stop::ToolCalls),
        ] {
            let found = stream(std::slice::from_ref(delta), word);
            assert_eq!(found.last(), Some(&Delta::Stop(expected)), "{delta} {word}");
        }
    }

    #[test]
    fn chunks_that_say_nothing_change_nothing() {
        let mut reader = Reader::new(maker());
        let mut out = Vec::new();
        for data in [
            "",
            "{",
            "[]",
            r#"{"choices":[],"prompt_filter_results":[]}"#,
            r#"{"choices":null}"#,
            r#"{"error":{"message":"x"}}"#,
            "[DONE]",
        ] {
            reader.event(b"", data.as_bytes(), &mut out);
        }
        reader.event(b"error", br#"{"choices":[{"delta":{"content":"x"}}]}"#, &mut out);
        assert_eq!(out, []);
        for data in [
            r#"{"id":5,"model":"","choices":[{"index":1,"delta":{"content":"other"}}]}"#,
            r#"{"choices":[{"delta":{"content":"a"}}],"choices":[{"delta":{"content":"b"}}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":3}}"#,
        ] {
            reader.event(b"", data.as_bytes(), &mut out);
        }
        let usage = Usage { prompt_tokens: Some(3), ..Usage::default() };
        let expected =
            [Delta::Begin { id: None, model: None }, Delta::Text("b".to_owned()), Delta::Usage(usage)];
        assert_eq!(out, expected);
    }

    #[test]
    fn a_whole_response_is_read_like_a_stream() {
        let body = json!({"id": "c1", "model": "m", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
            "role": "assistant", "content": null, "refusal": null, "reasoning_content": "t", "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": ""}},
                {"type": "function", "function": {"name": "g", "arguments": "{}"}}
            ]}}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}});
        let deltas = read_whole(body.to_string().as_bytes(), maker()).unwrap();
        let reply = Reply::of(deltas);
        let [Piece::Reasoning(_), Piece::ToolCall(first), Piece::ToolCall(second)] = reply.pieces.as_slice()
        else {
            panic!("{reply:?}")
        };
        assert_eq!((first.arguments.as_str(), second.arguments.as_str()), ("{}", "{}"));
        assert!(second.id.starts_with("call_"));
        assert_eq!((reply.stop, reply.usage.completion_tokens), (Some(Stop::ToolCalls), Some(2)));
        for body in ["", "[]", "{}", r#"{"choices":[]}"#, r#"{"choices":"x"}"#] {
            assert_eq!(read_whole(body.as_bytes(), maker()), None, "{body}");
        }
    }

    /// The calls of a response, each with its arguments in pieces, and the order in which the pieces arrive.
    fn any_calls() -> impl Strategy<Value = (Vec<Vec<String>>, Vec<proptest::sample::Index>)> {
        let pieces = proptest::collection::vec("[a-z{}\\\\\" é]{0,4}", 0..4);
        (
            proptest::collection::vec(pieces, 1..4),
            proptest::collection::vec(any::<proptest::sample::Index>(), 16),
        )
    }

    proptest! {
        /// However the pieces of parallel calls interleave, the calls come one after the other, complete and in order.
        #[test]
        fn parallel_calls_never_overlap((values, order) in any_calls()) {
            let texts: Vec<String> = values.iter().map(|pieces| json!({"v": pieces.concat()}).to_string()).collect();
            // Each call in three pieces: its name, and its arguments in two.
            let mut left: Vec<Vec<Value>> = texts.iter().enumerate().map(|(index, text)| {
                let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
                let (start, end) = text.split_at(middle);
                vec![
                    json!({"index": index, "function": {"arguments": end}}),
                    json!({"index": index, "function": {"arguments": start}}),
                    json!({"index": index, "id": format!("id{index}"), "function": {"name": "f", "arguments": ""}}),
                ]
            }).collect();
            let mut chunks = Vec::new();
            // The calls begin in order.
            for pieces in &mut left {
                chunks.extend(pieces.pop().map(|piece| json!({"tool_calls": [piece]})));
            }
            let mut order = order.iter().cycle();
            while left.iter().any(|pieces| !pieces.is_empty()) {
                let open: Vec<usize> = (0..left.len()).filter(|at| !left[*at].is_empty()).collect();
                let at = open[order.next().unwrap().index(open.len())];
                chunks.extend(left[at].pop().map(|piece| json!({"tool_calls": [piece]})));
            }
            let found = stream(&chunks, "tool_calls");
            let reply = Reply::of(found);
            let calls: Vec<Piece> = texts.iter().enumerate().map(|(index, text)| {
                Piece::ToolCall(ToolCall { id: format!("id{index}"), name: "f".to_owned(), arguments: text.clone() })
            }).collect();
            prop_assert_eq!(reply.pieces, calls);
        }
    }
}
