//! A response as JSON and as server-sent events. Decides neither the content (`reply`) nor the status (`response`).

use serde_json::{Map, Value, json};

use super::Responses;
use super::sealed::{self, Kind};
use crate::faults::{Fault, Wire};
use crate::record::Billed;
use crate::reply::{Block, Call, Finish, Reply, pieces, words};
use crate::simulate::{EventShape, Signature, Simulate, UsageMode};
use crate::stream::Events;
use crate::whole::{EXTRA_MEMBERS, Head};

/// The size of the pieces of free text that a tool gets, in bytes.
const INPUT_PIECE: usize = 12;
/// The encrypted reasoning of an item that has just begun. The one of the complete item is another one, and only that one is
/// accepted.
const BEGUN: &str = "gAAAAABunfinished";

/// A response that is to be sent.
pub(super) struct Written<'a> {
    responses: &'a Responses,
    reply: &'a Reply,
    head: &'a Head,
    items: Vec<Item>,
}

/// An item of the output.
struct Item {
    /// The item as it begins.
    begun: Value,
    /// The complete item.
    complete: Value,
    /// The tokens of the item that are in none of its pieces.
    tokens: u64,
    parts: Parts,
}

/// The pieces of an item, each with its tokens.
enum Parts {
    /// The item comes at once.
    None,
    /// A web search that the provider runs.
    Search,
    Text(Pieces),
    Refusal(Pieces),
    Summary(Pieces),
    /// Reasoning that is shown as it is.
    Thoughts(Pieces),
    Arguments(Pieces),
    /// The free text of a custom tool.
    Input(Pieces),
}

type Pieces = Vec<(u64, String)>;

/// An event: its tokens, its name and its fields behind the type and the number.
type Event = (u64, String, Value);

impl<'a> Written<'a> {
    pub(super) fn new(responses: &'a Responses, reply: &'a Reply, head: &'a Head) -> Self {
        let items = reply.blocks.iter().enumerate();
        let items =
            items.map(|(at, block)| item(responses, block, &format!("sim_{}_{at}", head.n))).collect();
        Self { responses, reply, head, items }
    }

    /// The response before anything is generated.
    pub(super) fn begun(&self, status: &str) -> Value {
        self.object(status, &json!([]), &Value::Null, &Value::Null, &Value::Null)
    }

    /// The complete response.
    pub(super) fn whole(&self) -> Value {
        let usage = match self.simulate().usage {
            UsageMode::None => Value::Null,
            _ => self.usage(),
        };
        let output: Value = self.items.iter().map(|item| item.complete.clone()).collect();
        match self.end() {
            End::Completed => self.object("completed", &output, &usage, &Value::Null, &Value::Null),
            End::Incomplete(reason) => {
                self.object("incomplete", &output, &usage, &Value::Null, &json!({ "reason": reason }))
            }
            End::Failed => self.failed(),
        }
    }

    /// The complete response as JSON text.
    pub(super) fn text(&self) -> String {
        let text = self.whole().to_string();
        match text.strip_suffix('}') {
            Some(open) if self.simulate().extra_members => format!("{open}{EXTRA_MEMBERS}}}"),
            _ => text,
        }
    }

    fn simulate(&self) -> &'a Simulate {
        &self.responses.simulate
    }

    fn fault(&self) -> Fault<'a> {
        Fault::of(self.simulate(), 200, Wire::Openai, self.head.n)
    }

    fn failed(&self) -> Value {
        let fault = self.fault();
        let error = json!({"code": fault.code(), "message": fault.message()});
        self.object("failed", &json!([]), &Value::Null, &error, &Value::Null)
    }

    fn end(&self) -> End<'_> {
        match &self.reply.finish {
            Finish::Length => End::Incomplete("max_output_tokens"),
            Finish::End | Finish::Calls | Finish::Stop(_) => End::Completed,
            Finish::Named(name) => match name.as_str() {
                "failed" => End::Failed,
                "completed" | "pause_turn" => End::Completed,
                reason => End::Incomplete(reason),
            },
        }
    }

    fn object(
        &self,
        status: &str,
        output: &Value,
        usage: &Value,
        error: &Value,
        incomplete: &Value,
    ) -> Value {
        let request = &self.responses.request;
        let given = |name: &str, usual: Value| match request.get(name) {
            None | Some(Value::Null) => usual,
            Some(value) => value.clone(),
        };
        let none = Value::Null;
        let text = given("text", json!({"format": {"type": "text"}, "verbosity": "medium"}));
        let reasoning = json!({
            "effort": request.pointer("/reasoning/effort"),
            "summary": request.pointer("/reasoning/summary"),
        });
        json!({
            "id": format!("resp_sim_{}", self.head.n),
            "object": "response",
            "created_at": self.head.created,
            "status": status,
            "background": given("background", json!(false)),
            "completed_at": if status == "completed" { json!(self.head.created) } else { Value::Null },
            "error": error,
            "incomplete_details": incomplete,
            "instructions": given("instructions", none.clone()),
            "max_output_tokens": given("max_output_tokens", none.clone()),
            "max_tool_calls": given("max_tool_calls", none.clone()),
            "model": self.responses.model,
            "output": output,
            "parallel_tool_calls": given("parallel_tool_calls", json!(true)),
            "previous_response_id": given("previous_response_id", none.clone()),
            "prompt_cache_key": given("prompt_cache_key", none.clone()),
            "reasoning": reasoning,
            "safety_identifier": given("safety_identifier", none.clone()),
            "service_tier": "default",
            "store": given("store", json!(true)),
            "temperature": given("temperature", json!(1.0)),
            "text": text,
            "tool_choice": given("tool_choice", json!("auto")),
            "tools": given("tools", json!([])),
            "top_logprobs": given("top_logprobs", json!(0)),
            "top_p": given("top_p", json!(1.0)),
            "truncation": given("truncation", json!("disabled")),
            "usage": usage,
            "user": given("user", none),
            "metadata": given("metadata", json!({})),
        })
    }

    fn usage(&self) -> Value {
        let Billed { prompt, cached, written, completion, .. } = self.responses.bill(self.reply);
        let input = prompt + cached + written;
        let output = self.simulate().bill.and_then(|bill| bill.reported).unwrap_or(completion);
        json!({
            "input_tokens": input,
            "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
            "output_tokens": output,
            "output_tokens_details": {
                "reasoning_tokens": self.reply.thinking_tokens() + self.responses.billed_reasoning(),
            },
            "total_tokens": input + output,
        })
    }

    /// The response as a stream, with the requested error inside it.
    pub(super) fn events(&self) -> Events {
        let simulate = self.simulate();
        let mut writer = Writer { simulate, events: Events::new(simulate), number: 0 };
        let is_background = self.responses.request.get("background") == Some(&Value::Bool(true));
        let (first, status) = if is_background { ("queued", "queued") } else { ("created", "in_progress") };
        if is_background {
            writer.event(0, "response.created", json!({"response": self.begun("queued")}));
        }
        writer.event(0, &format!("response.{first}"), json!({"response": self.begun(status)}));
        writer.event(0, "response.in_progress", json!({"response": self.begun("in_progress")}));
        writer.unknown_event();
        self.write_items(&mut writer);
        let last = match self.end() {
            End::Completed => "response.completed",
            End::Incomplete(_) => "response.incomplete",
            End::Failed => "response.failed",
        };
        if simulate.done != Some(false) {
            writer.event(0, last, json!({"response": self.whole()}));
        }
        if simulate.error_event {
            self.error(writer)
        } else {
            if simulate.done == Some(true) {
                writer.events.lines(0, ["data: [DONE]"]);
            }
            writer.events
        }
    }

    fn write_items(&self, writer: &mut Writer<'_>) {
        let is_call = |item: &Item| matches!(item.parts, Parts::Arguments(_) | Parts::Input(_));
        let mut waiting: Vec<(usize, Vec<Event>)> = Vec::new();
        for (index, item) in self.items.iter().enumerate() {
            writer.added(index, item);
            let place = json!({"item_id": item.complete.get("id"), "output_index": index});
            let events = item.events(&place);
            if self.simulate().interleave && is_call(item) {
                waiting.push((index, events));
                continue;
            }
            for (tokens, name, fields) in events {
                writer.event(tokens, &name, fields);
            }
            writer.done(index, item);
        }
        // The first piece of each call, the second of each, …
        let longest = waiting.iter().map(|(_, events)| events.len()).max().unwrap_or(0);
        for at in 0..longest {
            for (tokens, name, fields) in waiting.iter().filter_map(|(_, events)| events.get(at)) {
                writer.event(*tokens, name, fields.clone());
            }
        }
        for (index, _) in &waiting {
            if let Some(item) = self.items.get(*index) {
                writer.done(*index, item);
            }
        }
    }

    /// Ends the stream with the requested error.
    fn error(&self, mut writer: Writer<'_>) -> Events {
        let simulate = self.simulate();
        writer.truncate(simulate.kept_events(writer.events.count()));
        let fault = self.fault();
        let shape = simulate.error_event_shape.unwrap_or(EventShape::ErrorFailed);
        let (code, message) = (fault.code(), fault.message());
        if shape == EventShape::Error {
            writer.event(0, "error", json!({"code": code, "message": message, "param": null}));
        }
        if shape == EventShape::ErrorFailed {
            let error = json!({"type": fault.kind(), "code": code, "message": message, "param": null});
            writer.event(0, "error", json!({ "error": error }));
        }
        match shape {
            EventShape::Failed | EventShape::ErrorFailed => {
                writer.event(0, "response.failed", json!({"response": self.failed()}));
            }
            EventShape::Error => {}
            shape => {
                // `simulate` rejects the one shape that has a chunk.
                let lines = fault.event_lines(shape, |_, _| String::new());
                let newline = writer.events.newline();
                writer.events.lines(0, [lines.join(newline).as_str()]);
            }
        }
        writer.events
    }
}

/// The end of a response.
enum End<'a> {
    Completed,
    /// Incomplete, for this reason.
    Incomplete(&'a str),
    Failed,
}

fn item(responses: &Responses, block: &Block, id: &str) -> Item {
    match block {
        Block::Thinking(thought) => reasoning(responses, thought, id),
        Block::Text { text, piece } => {
            let part = json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text});
            message(id, &part, Parts::Text(counted(pieces(text, *piece))))
        }
        Block::Refusal(text) => {
            let part = json!({"type": "refusal", "refusal": text});
            message(id, &part, Parts::Refusal(counted(pieces(text, None))))
        }
        Block::Call(call) => self::call(responses, call, id),
        Block::Search => {
            let action = json!({"type": "search", "query": "news", "queries": ["news"]});
            let item = |status: &str| json!({"id": format!("ws_{id}"), "type": "web_search_call", "status": status, "action": action});
            Item { begun: item("in_progress"), complete: item("completed"), tokens: 1, parts: Parts::Search }
        }
        // `simulate` rejects redacted thinking.
        Block::Unknown | Block::Redacted => {
            let item = json!({"id": format!("x_{id}"), "type": "x_sim_item", "x_payload": {"a": [1, 2.5]}});
            Item { begun: item.clone(), complete: item, tokens: 0, parts: Parts::None }
        }
    }
}

/// Pieces with their words.
fn counted<'t>(pieces: impl Iterator<Item = &'t str>) -> Pieces {
    pieces.map(|piece| (words(piece), piece.to_owned())).collect()
}

fn message(id: &str, part: &Value, parts: Parts) -> Item {
    let message = |status: &str, content: Value| {
        json!({"id": format!("msg_{id}"), "type": "message", "status": status, "content": content,
            "role": "assistant"})
    };
    let (begun, complete) = (message("in_progress", json!([])), message("completed", json!([part])));
    Item { begun, complete, tokens: 0, parts }
}

fn reasoning(responses: &Responses, thought: &str, id: &str) -> Item {
    let simulate = &responses.simulate;
    let is_open = simulate.open_thinking;
    let is_shown = is_open || responses.shows_thoughts();
    let list = |kind: &str, is_here: bool| {
        let is_listed = is_here && is_shown && !thought.is_empty();
        if is_listed { json!([{"type": kind, "text": thought}]) } else { json!([]) }
    };
    let mut complete =
        json!({"id": format!("rs_{id}"), "type": "reasoning", "summary": list("summary_text", !is_open)});
    let mut begun = json!({"id": format!("rs_{id}"), "type": "reasoning", "summary": []});
    if is_open {
        set(&mut complete, "content", list("reasoning_text", true));
        set(&mut begun, "content", json!([]));
    }
    if responses.encrypts() {
        let is_issued = simulate.signature == Signature::Issued;
        let sealed = sealed::seal(Kind::Reasoning, &responses.account);
        set(&mut complete, "encrypted_content", if is_issued { json!(sealed) } else { Value::Null });
        set(&mut begun, "encrypted_content", if is_issued { json!(BEGUN) } else { Value::Null });
    }
    let shown = if is_shown { thought } else { "" };
    let parts = counted(pieces(shown, None));
    // Hidden reasoning is billed all the same.
    let tokens = if is_shown { 0 } else { words(thought) };
    let parts = match (parts.is_empty(), is_open) {
        (true, _) => Parts::None,
        (false, true) => Parts::Thoughts(parts),
        (false, false) => Parts::Summary(parts),
    };
    Item { begun, complete, tokens, parts }
}

fn call(responses: &Responses, call: &Call, id: &str) -> Item {
    let tool = responses.tools.iter().find(|tool| tool.flat == call.name);
    let name = tool.map_or(call.name.as_str(), |tool| tool.name.as_str());
    let namespace = tool.and_then(|tool| tool.namespace.as_deref());
    let is_custom = tool.is_some_and(|tool| tool.is_custom);
    let (kind, prefix, field) =
        if is_custom { ("custom_tool_call", "ctc", "input") } else { ("function_call", "fc", "arguments") };
    let arguments = call.arguments();
    let (text, parts) = if is_custom {
        let value: Option<Value> = serde_json::from_str(&arguments).ok();
        let input = value.as_ref().and_then(|value| value.get("input")?.as_str()).unwrap_or(&arguments);
        let pieces = pieces(input, Some(INPUT_PIECE)).map(str::to_owned).collect();
        (input.to_owned(), Parts::Input(first_counts(pieces, !call.input.is_empty())))
    } else {
        // A call without arguments has an empty object.
        let pieces = if call.input.is_empty() { vec![arguments.clone()] } else { call.input.clone() };
        (arguments, Parts::Arguments(first_counts(pieces, !call.input.is_empty())))
    };
    let item = |status: &str, text: &str| {
        let mut item = json!({"id": format!("{prefix}_{id}"), "type": kind, "status": status,
            "call_id": format!("call_sim_{}", call.n), "name": name});
        set(&mut item, field, json!(text));
        if let Some(namespace) = namespace {
            set(&mut item, "namespace", json!(namespace));
        }
        item
    };
    Item { begun: item("in_progress", ""), complete: item("completed", &text), tokens: 1, parts }
}

/// Pieces of which the first one counts, if any does.
fn first_counts(pieces: Vec<String>, counts: bool) -> Pieces {
    let counted = |at: usize| u64::from(at == 0 && counts);
    pieces.into_iter().enumerate().map(|(at, piece)| (counted(at), piece)).collect()
}

impl Item {
    /// The events between the beginning of the item and its end. `place` is the fields that name the item.
    fn events(&self, place: &Value) -> Vec<Event> {
        let with = |fields: Value| joined(place.clone(), fields);
        let (event, part, texts, pieces) = match &self.parts {
            Parts::None => return Vec::new(),
            Parts::Search => {
                let states = ["in_progress", "searching", "completed"];
                return states
                    .map(|state| (0, format!("response.web_search_call.{state}"), with(json!({}))))
                    .into();
            }
            Parts::Text(pieces) => ("output_text", Some(("content", "output_text")), "text", pieces),
            Parts::Refusal(pieces) => ("refusal", Some(("content", "refusal")), "refusal", pieces),
            Parts::Summary(pieces) => {
                ("reasoning_summary_text", Some(("summary", "summary_text")), "text", pieces)
            }
            Parts::Thoughts(pieces) => {
                ("reasoning_text", Some(("content", "reasoning_text")), "text", pieces)
            }
            Parts::Arguments(pieces) => ("function_call_arguments", None, "arguments", pieces),
            Parts::Input(pieces) => ("custom_tool_call_input", None, "input", pieces),
        };
        let text: String = pieces.iter().map(|(_, piece)| piece.as_str()).collect();
        let mut events = Vec::new();
        let index = match part {
            Some(("summary", _)) => json!({"summary_index": 0}),
            Some(_) => json!({"content_index": 0}),
            None => json!({}),
        };
        let frame = part.map(|(list, kind)| {
            let name = if list == "summary" { "reasoning_summary_part" } else { "content_part" };
            (name, list, kind)
        });
        if let Some((name, _, kind)) = frame {
            let mut part = json!({ "type": kind });
            if kind == "output_text" {
                part = json!({"type": kind, "annotations": [], "logprobs": []});
            }
            set(&mut part, texts, json!(""));
            let fields = joined(index.clone(), json!({ "part": part }));
            events.push((0, format!("response.{name}.added"), with(fields)));
        }
        for (tokens, piece) in pieces {
            let fields = joined(index.clone(), json!({ "delta": piece }));
            events.push((*tokens, format!("response.{event}.delta"), with(fields)));
        }
        let mut done = index.clone();
        set(&mut done, texts, json!(text));
        events.push((0, format!("response.{event}.done"), with(done)));
        if let Some((name, list, _)) = frame {
            let part = self.complete.pointer(&format!("/{list}/0"));
            let fields = joined(index, json!({ "part": part }));
            events.push((0, format!("response.{name}.done"), with(fields)));
        }
        events
    }
}

/// Sets a field of an object.
fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

/// The fields of two objects.
fn joined(one: Value, other: Value) -> Value {
    let (Value::Object(mut all), Value::Object(other)) = (one, other) else { return Value::Null };
    all.extend(other);
    Value::Object(all)
}

/// A stream under construction.
struct Writer<'a> {
    simulate: &'a Simulate,
    events: Events,
    /// The number of the next event.
    number: u64,
}

impl Writer<'_> {
    /// Appends an event.
    fn event(&mut self, tokens: u64, name: &str, fields: Value) {
        let mut data = Map::new();
        data.insert("type".to_owned(), name.into());
        data.insert("sequence_number".to_owned(), self.number.into());
        if let Value::Object(fields) = fields {
            data.extend(fields);
        }
        self.number += 1;
        let text = Value::Object(data).to_string();
        let extra = if self.simulate.extra_members { EXTRA_MEMBERS } else { "" };
        let open = text.strip_suffix('}').unwrap_or(&text);
        let newline = self.events.newline();
        self.events.lines(tokens, ["event: ", name, newline, "data: ", open, extra, "}"]);
    }

    fn unknown_event(&mut self) {
        if self.simulate.unknown_events {
            self.event(0, "response.x_sim_progress", json!({"x_payload": {"done": 0.5}}));
        }
    }

    fn added(&mut self, index: usize, item: &Item) {
        let fields = json!({"output_index": index, "item": item.begun});
        self.event(item.tokens, "response.output_item.added", fields);
    }

    fn done(&mut self, index: usize, item: &Item) {
        self.event(0, "response.output_item.done", json!({"output_index": index, "item": item.complete}));
        self.unknown_event();
    }

    /// Removes everything after this many events.
    fn truncate(&mut self, events: usize) {
        self.events.truncate(events);
        self.number = self.events.count() as u64;
    }
}
