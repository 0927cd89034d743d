//! Responses in the neutral form: reads the upstream's, whole and streamed; [`Writer`] writes the caller's.
//!
//! Items that only their provider understands, such as a web search, are skipped: the text that they led to follows.
//! Errors are not read here ([`is_error`] finds them, and [`crate::format::upstream_error`] reads them); a response that
//! failed has no [`Delta::Stop`].

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use super::echo::Echo;
use super::tools::{custom_arguments, function_name};
pub use super::writer::{Writer, write_whole};
use crate::conversation::carrier::{Blob, Kind, Maker};
use crate::conversation::delta::{Delta, Stop};
use crate::json;
use crate::json::members;
use crate::usage::Usage;

/// The members of an event that are read.
const EVENT: &[&str; 7] =
    &["type", "output_index", "item", "delta", "response", "summary_index", "content_index"];
/// The members of a response that are read.
const RESPONSE: &[&str; 6] = &["id", "model", "status", "incomplete_details", "output", "usage"];
/// The gap between the paragraphs of a summary.
const GAP: &str = "\n\n";

/// Returns `true` if an event says that the response failed: `response.failed`, or `error`, whose error is in a member
/// `error` or is the event itself.
pub fn is_error(name: &[u8], data: &[u8]) -> bool {
    let written = || members::pick(data, EVENT).ok().and_then(|[kind, ..]| Some(kind?.value));
    let kind = if name.is_empty() { written().map_or(name, unquoted) } else { name };
    matches!(kind, b"error" | b"response.failed")
}

/// Reads a whole response. `None` if it is not one of this format.
pub fn read_whole(body: &[u8], maker: Maker) -> Option<Vec<Delta>> {
    let response = Response::read(body)?;
    let output: Vec<&RawValue> = serde_json::from_str(response.output?).ok()?;
    let mut reader = Reader::new(maker);
    let mut out = Vec::new();
    reader.begin(&response, &mut out);
    reader.add_output(&output, &mut out);
    reader.finish(&response, None, &mut out);
    Some(out)
}

/// The members of a response, as written.
#[derive(Clone, Copy, Default)]
struct Response<'a> {
    id: Option<&'a str>,
    model: Option<&'a str>,
    status: Option<&'a str>,
    incomplete_details: Option<&'a str>,
    output: Option<&'a str>,
    usage: Option<&'a str>,
}

impl Response<'_> {
    fn read(text: &[u8]) -> Option<Response<'_>> {
        let values = members::pick(text, RESPONSE).ok()?.map(|member| member.map(|member| member.value));
        let [id, model, status, incomplete_details, output, usage] = values;
        Some(Response { id, model, status, incomplete_details, output, usage })
    }
}

/// An item of the output, as read. The types of members that only some items have are not relied on.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    call_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<Cow<'a, str>>,
    #[serde(borrow)]
    summary: Option<Vec<Part<'a>>>,
    #[serde(borrow)]
    content: Option<Vec<Part<'a>>>,
    #[serde(borrow)]
    encrypted_content: Option<Cow<'a, str>>,
}

/// A part of a message, of reasoning or of its summary.
#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    refusal: Option<Cow<'a, str>>,
}

/// The items that have a place in the neutral form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Message,
    Reasoning,
    Call,
    CustomCall,
}

impl Shape {
    fn of(kind: &str) -> Option<Shape> {
        match kind {
            "message" => Some(Shape::Message),
            "reasoning" => Some(Shape::Reasoning),
            "function_call" => Some(Shape::Call),
            "custom_tool_call" => Some(Shape::CustomCall),
            _ => None,
        }
    }
}

/// The progress of one item.
#[derive(Debug)]
struct Progress {
    /// Its place in the output. Its id is not relied on: some upstreams change it with every event.
    index: u64,
    shape: Shape,
    /// The deltas that wait until the items before it are complete.
    held: Vec<Delta>,
    /// `true` if the call has been announced.
    is_announced: bool,
    /// The part that the last text belonged to, if there was any text: `true` for the content of reasoning, and the
    /// index.
    part: Option<(bool, u64)>,
    is_done: bool,
}

/// Reads the events of a stream.
#[derive(Debug)]
pub struct Reader {
    maker: Maker,
    has_begun: bool,
    /// The items in the order in which they began.
    items: Vec<Progress>,
    /// The number of items that are complete, and so are those before them.
    passed: usize,
    has_refused: bool,
    is_over: bool,
}

impl Reader {
    /// The state before the first event. `maker` is the lane.
    pub fn new(maker: Maker) -> Reader {
        Reader { maker, has_begun: false, items: Vec::new(), passed: 0, has_refused: false, is_over: false }
    }

    /// Reads an event: its name and its data. Appends the deltas to `out`. Unknown events are skipped.
    pub fn event(&mut self, name: &[u8], data: &[u8], out: &mut Vec<Delta>) {
        let Ok(found) = members::pick(data, EVENT) else { return };
        let [kind, output_index, item, delta, response, summary_index, content_index] =
            found.map(|member| member.map(|member| member.value));
        let kind = kind.map_or(name, unquoted);
        if self.is_over {
            return;
        }
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
        let index = number(output_index).unwrap_or_else(|| self.likely_index(kind));
        let part = number(summary_index).or_else(|| number(content_index)).unwrap_or(0);
        let delta = delta.and_then(string).filter(|delta| !delta.is_empty());
        let response = response.and_then(|response| Response::read(response.as_bytes()));
        if let Some(response) = &response {
            self.begin(response, out);
        }
        match (kind, delta) {
            (b"response.output_item.added", _) => self.added(index, item),
            (b"response.output_item.done", _) => self.done(index, item),
            (b"response.output_text.delta", Some(delta)) => {
                self.text(index, Delta::Text(delta));
            }
            (b"response.refusal.delta", Some(delta)) => {
                self.has_refused = true;
                self.text(index, Delta::Refusal(delta));
            }
            (b"response.reasoning_summary_text.delta", Some(delta)) => {
                self.reasoning(index, (false, part), delta);
            }
            (b"response.reasoning_text.delta", Some(delta)) => self.reasoning(index, (true, part), delta),
            (b"response.function_call_arguments.delta", Some(delta)) => {
                self.arguments(index, Shape::Call, delta);
            }
            (b"response.custom_tool_call_input.delta", Some(delta)) => {
                self.arguments(index, Shape::CustomCall, escaped(&delta));
            }
            (b"response.completed" | b"response.incomplete" | b"response.failed", _) => {
                let response = response.unwrap_or_default();
                let output = response.output.and_then(|output| serde_json::from_str(output).ok());
                let output: Vec<&RawValue> = output.unwrap_or_default();
                self.complete(&output, out);
                self.finish(&response, kind.strip_prefix(b"response."), out);
                return;
            }
            _ => return,
        }
        self.pass(out);
    }

    /// Announces the response.
    fn begin(&mut self, response: &Response<'_>, out: &mut Vec<Delta>) {
        if !self.has_begun {
            self.has_begun = true;
            let text = |value: Option<&str>| value.and_then(string).filter(|text| !text.is_empty());
            out.push(Delta::Begin { id: text(response.id), model: text(response.model) });
        }
    }

    /// The index of an event that states none: that of the last item while it is open, otherwise the next one.
    fn likely_index(&self, kind: &[u8]) -> u64 {
        match self.items.last() {
            None => 0,
            Some(last) if last.is_done || kind == b"response.output_item.added" => last.index + 1,
            Some(last) => last.index,
        }
    }

    /// The open item at an index of the output. It begins now if it is not known: some upstreams do not announce items.
    fn item(&mut self, index: u64, shape: Shape) -> Option<&mut Progress> {
        let known = self.items.iter().rposition(|item| item.index == index && item.shape == shape);
        let at = known.unwrap_or_else(|| self.begin_item(index, shape));
        self.items.get_mut(at).filter(|item| !item.is_done)
    }

    /// Begins an item, and returns its place among the items.
    fn begin_item(&mut self, index: u64, shape: Shape) -> usize {
        let (held, is_announced, part, is_done) = (Vec::new(), false, None, false);
        self.items.push(Progress { index, shape, held, is_announced, part, is_done });
        self.items.len() - 1
    }

    fn added(&mut self, index: u64, item: Option<&str>) {
        let Some(item) = item.and_then(Item::read) else { return };
        let Some(shape) = Shape::of(&item.kind) else { return };
        if self.item(index, shape).is_none() {
            // Some upstreams give the same index to several items.
            self.begin_item(index, shape);
        }
        if let Some(progress) = self.item(index, shape) {
            progress.announce(&item);
        }
    }

    fn done(&mut self, index: u64, item: Option<&str>) {
        let Some(item) = item.and_then(Item::read) else { return };
        self.take(index, &item);
    }

    /// Takes a complete item.
    fn take(&mut self, index: u64, item: &Item<'_>) {
        let maker = self.maker;
        let Some(shape) = Shape::of(&item.kind) else { return };
        self.has_refused |= item.content.iter().flatten().any(|part| part.refusal.is_some());
        if let Some(progress) = self.item(index, shape) {
            progress.complete(item, maker);
        }
    }

    fn text(&mut self, index: u64, delta: Delta) {
        if let Some(item) = self.item(index, Shape::Message) {
            item.part = Some((false, 0));
            item.held.push(delta);
        }
    }

    /// Adds to reasoning. If there are both a summary and the reasoning itself, the one that came first counts.
    fn reasoning(&mut self, index: u64, part: (bool, u64), delta: String) {
        let Some(item) = self.item(index, Shape::Reasoning) else { return };
        let delta = match item.part {
            Some((is_content, _)) if is_content != part.0 => return,
            Some((_, last)) if last != part.1 => format!("{GAP}{delta}"),
            _ => delta,
        };
        item.part = Some(part);
        item.held.push(Delta::Reasoning(delta));
    }

    /// Adds to the arguments of a call. Those of a call that was not announced come with the complete item.
    fn arguments(&mut self, index: u64, shape: Shape, delta: String) {
        let Some(item) = self.item(index, shape).filter(|item| item.is_announced) else { return };
        if shape == Shape::CustomCall && item.part.is_none() {
            let (start, _) = custom_frame();
            item.held.push(Delta::Arguments(start));
        }
        item.part = Some((false, 0));
        item.held.push(Delta::Arguments(delta));
    }

    /// Completes what the stream left open with the output of the last event.
    fn complete(&mut self, output: &[&RawValue], out: &mut Vec<Delta>) {
        if self.items.is_empty() {
            self.add_output(output, out);
        }
        for (index, item) in (0_u64..).zip(output) {
            let is_open = self.items.iter().any(|known| known.index == index && !known.is_done);
            if is_open && let Some(item) = Item::read(item.get()) {
                self.take(index, &item);
            }
        }
        let maker = self.maker;
        self.items.iter_mut().for_each(|item| item.close(maker));
        self.pass(out);
    }

    /// Adds the items of an output.
    fn add_output(&mut self, output: &[&RawValue], out: &mut Vec<Delta>) {
        for (index, item) in (0_u64..).zip(output) {
            if let Some(item) = Item::read(item.get()) {
                self.take(index, &item);
            }
        }
        self.pass(out);
    }

    /// Passes on the deltas of the first item that is not complete, and of those before it.
    fn pass(&mut self, out: &mut Vec<Delta>) {
        while let Some(item) = self.items.get_mut(self.passed) {
            if !item.held.is_empty() && !self.has_begun {
                self.has_begun = true;
                out.push(Delta::Begin { id: None, model: None });
            }
            out.append(&mut item.held);
            if !item.is_done {
                return;
            }
            self.passed += 1;
        }
    }

    /// Ends the response. `kind` is the status that the last event's name states.
    fn finish(&mut self, response: &Response<'_>, kind: Option<&[u8]>, out: &mut Vec<Delta>) {
        self.is_over = true;
        out.extend(response.usage.and_then(Usage::read).map(Delta::Usage));
        let has_calls = self.items.iter().any(|item| item.is_announced);
        let status = response.status.and_then(string);
        let stop = match status.as_deref().map_or(kind, |status| Some(status.as_bytes())) {
            Some(b"completed") if has_calls => Stop::ToolCalls,
            Some(b"completed") if self.has_refused => Stop::Refusal,
            Some(b"completed") => Stop::Done,
            Some(b"incomplete")
                if response.incomplete_details.is_some_and(|why| why.contains("content_filter")) =>
            {
                Stop::Refusal
            }
            Some(b"incomplete") => Stop::Length,
            _ => return,
        };
        out.push(Delta::Stop(stop));
    }
}

impl Item<'_> {
    fn read(text: &str) -> Option<Item<'_>> {
        serde_json::from_str(text).ok()
    }

    /// The texts of a list of parts, with gaps between them; `None` if they are empty.
    fn texts(parts: Option<&Vec<Part<'_>>>) -> Option<String> {
        let texts = parts?.iter().filter_map(|part| part.text.as_deref()).filter(|text| !text.is_empty());
        let texts: Vec<&str> = texts.collect();
        (!texts.is_empty()).then(|| texts.join(GAP))
    }

    /// The arguments of a call, which are a JSON text; some upstreams write the object itself.
    fn arguments(&self) -> String {
        let raw = self.arguments.map_or("", RawValue::get);
        let text = string(raw).unwrap_or_else(|| raw.to_owned());
        if text.trim().is_empty() || text == "null" { "{}".to_owned() } else { text }
    }
}

impl Progress {
    /// Announces a call. A call without a name or an id waits for the complete item.
    fn announce(&mut self, item: &Item<'_>) {
        let is_call = matches!(self.shape, Shape::Call | Shape::CustomCall);
        let texts = item.call_id.as_deref().zip(item.name.as_deref());
        let Some((id, name)) = texts.filter(|(id, name)| is_call && !id.is_empty() && !name.is_empty())
        else {
            return;
        };
        if !self.is_announced {
            self.is_announced = true;
            let name = function_name(item.namespace.as_deref(), name).into_owned();
            self.held.push(Delta::ToolCall { id: id.to_owned(), name });
        }
    }

    /// Adds what the complete item has beyond the deltas so far.
    fn complete(&mut self, item: &Item<'_>, maker: Maker) {
        self.announce(item);
        if self.part.is_none() {
            match self.shape {
                Shape::Message => self.add_contents(item),
                Shape::Reasoning => self.add_reasoning(item),
                Shape::Call if self.is_announced => self.add_arguments(item.arguments()),
                Shape::CustomCall if self.is_announced => {
                    self.add_arguments(custom_arguments(item.input.as_deref().unwrap_or_default()));
                }
                Shape::Call | Shape::CustomCall => {}
            }
        } else if self.shape == Shape::CustomCall {
            self.held.push(Delta::Arguments(custom_frame().1));
        }
        if self.shape == Shape::Reasoning {
            self.add_blob(item.encrypted_content.as_deref().unwrap_or_default(), maker);
        }
        self.is_done = true;
    }

    /// Ends an item that was never completed.
    fn close(&mut self, maker: Maker) {
        if self.is_done {
            return;
        }
        match (self.shape, self.part) {
            (Shape::Reasoning, _) => self.add_blob("", maker),
            (Shape::CustomCall, Some(_)) => self.held.push(Delta::Arguments(custom_frame().1)),
            (Shape::Call, None) if self.is_announced => self.add_arguments("{}".to_owned()),
            (Shape::CustomCall, None) if self.is_announced => self.add_arguments(custom_arguments("")),
            _ => {}
        }
        self.is_done = true;
    }

    fn add_contents(&mut self, item: &Item<'_>) {
        for part in item.content.iter().flatten() {
            let text = part.text.as_deref().filter(|text| !text.is_empty());
            let refusal = part.refusal.as_deref().filter(|text| !text.is_empty());
            self.held.extend(text.map(|text| Delta::Text(text.to_owned())));
            self.held.extend(refusal.map(|text| Delta::Refusal(text.to_owned())));
        }
    }

    fn add_reasoning(&mut self, item: &Item<'_>) {
        let summary = Item::texts(item.summary.as_ref()).map(|text| (false, text));
        let content = || Item::texts(item.content.as_ref()).map(|text| (true, text));
        if let Some((is_content, text)) = summary.or_else(content) {
            self.part = Some((is_content, 0));
            self.held.push(Delta::Reasoning(text));
        }
    }

    fn add_arguments(&mut self, arguments: String) {
        self.part = Some((false, 0));
        self.held.push(Delta::Arguments(arguments));
    }

    /// Ends reasoning with its blob. Reasoning without one, whose text is the content itself, is wanted back as text.
    fn add_blob(&mut self, encrypted: &str, maker: Maker) {
        let is_content = matches!(self.part, Some((true, _)));
        let blob = match Blob::read(encrypted) {
            Some(blob) => blob,
            None if !encrypted.is_empty() => {
                Blob { kind: Kind::Encrypted, maker, data: encrypted.to_owned() }
            }
            None if is_content => Blob { kind: Kind::Plain, maker, data: String::new() },
            None => return,
        };
        self.held.push(Delta::Blob(blob));
    }
}

/// The name of an event in its quotes. None has escapes.
fn unquoted(text: &str) -> &[u8] {
    text.trim_matches('"').as_bytes()
}

/// A JSON string; `None` for any other value.
fn string(text: &str) -> Option<String> {
    serde_json::from_str(text).ok()
}

/// A text as it is inside of a JSON string.
fn escaped(text: &str) -> String {
    let quoted = json::to_text(text);
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned()
}

/// The arguments of a custom call before and behind its text.
fn custom_frame() -> (String, String) {
    let empty = custom_arguments("");
    let end = empty.len().saturating_sub("\"}".len());
    let (start, end) = empty.split_at_checked(end).unwrap_or_default();
    (start.to_owned(), end.to_owned())
}
