//! A message as JSON text and as server-sent events. Decides neither the content (`reply`) nor the status (`response`).

use super::Messages;
use super::signature::{redact, sign};
use crate::faults::{Fault, Wire};
use crate::json;
use crate::reply::{Block, Call, Finish, Reply, pieces, words};
use crate::simulate::{EventShape, Signature, UsageMode};
use crate::stream::Events;
use crate::whole::{EXTRA_MEMBERS, Head};

/// The fields of a content block, without braces, that no client knows.
const UNKNOWN: &str = "\"type\":\"x_sim_block\",\"x_payload\":{\"a\":[1,2.50,1e3]}";
/// The explanation of a refusal.
const REFUSED: &str = "This request was blocked by the simulated provider.";

/// The message as JSON text.
pub(super) fn whole(messages: &Messages, reply: &Reply, head: &Head) -> String {
    let blocks: Vec<String> = reply.blocks.iter().map(|block| complete(messages, block)).collect();
    let usage = match messages.simulate.usage {
        UsageMode::None => String::new(),
        _ => format!(",\"usage\":{}", Usage::of(messages, reply).whole()),
    };
    format!("{{{},\"content\":[{}],{}{usage}}}", open(messages, head), blocks.join(","), stop(&reply.finish))
}

/// The fields of a message before its content.
fn open(messages: &Messages, head: &Head) -> String {
    let extra = if messages.simulate.extra_members { EXTRA_MEMBERS } else { "" };
    format!(
        "\"model\":{},\"id\":\"msg_sim_{}\",\"type\":\"message\",\"role\":\"assistant\"{extra}",
        json::quoted(&messages.model),
        head.n
    )
}

/// The fields that say why the message ends.
fn stop(finish: &Finish) -> String {
    let (reason, sequence) = match finish {
        Finish::End => ("end_turn", None),
        Finish::Length => ("max_tokens", None),
        Finish::Calls => ("tool_use", None),
        Finish::Stop(sequence) => ("stop_sequence", Some(sequence)),
        Finish::Named(reason) => (reason.as_str(), None),
    };
    let sequence = sequence.map_or_else(|| "null".to_owned(), |sequence| json::quoted(sequence));
    let details = if reason == "refusal" {
        format!(
            ",\"stop_details\":{{\"type\":\"refusal\",\"category\":\"cyber\",\"explanation\":\"{REFUSED}\"}}"
        )
    } else {
        String::new()
    };
    format!("\"stop_reason\":{},\"stop_sequence\":{sequence}{details}", json::quoted(reason))
}

/// A whole content block.
fn complete(messages: &Messages, block: &Block) -> String {
    match block {
        Block::Thinking(thought) => {
            let shown = if messages.hides_thoughts { "" } else { thought.as_str() };
            let signature = match messages.simulate.signature {
                Signature::Issued => {
                    format!(",\"signature\":{}", json::quoted(&sign(&messages.model, shown)))
                }
                Signature::None => String::new(),
            };
            format!("{{\"type\":\"thinking\",\"thinking\":{}{signature}}}", json::quoted(shown))
        }
        Block::Redacted => {
            format!("{{\"type\":\"redacted_thinking\",\"data\":{}}}", json::quoted(&redact(&messages.model)))
        }
        // `simulate` rejects a refusal: messages have a stop reason for it.
        Block::Text { text, .. } | Block::Refusal(text) => {
            format!("{{\"type\":\"text\",\"text\":{}}}", json::quoted(text))
        }
        Block::Call(call) => format!("{{{},\"input\":{}}}", call_head(call), call.arguments()),
        Block::Search => format!("{{{SEARCH_HEAD},\"input\":{SEARCH}}}"),
        Block::Unknown => format!("{{{UNKNOWN}}}"),
    }
}

const SEARCH_HEAD: &str = "\"type\":\"server_tool_use\",\"id\":\"srvtoolu_sim_1\",\"name\":\"web_search\"";
const SEARCH: &str = "{\"query\":\"news\"}";

fn call_head(call: &Call) -> String {
    format!("\"type\":\"tool_use\",\"id\":\"toolu_sim_{}\",\"name\":{}", call.n, json::quoted(&call.name))
}

/// The counts of the usage objects.
struct Usage {
    input: u64,
    read: u64,
    written: u64,
    written_1h: u64,
    output: u64,
    thinking: u64,
}

impl Usage {
    fn of(messages: &Messages, reply: &Reply) -> Self {
        let billed = messages.bill(reply);
        let reported = messages.simulate.bill.and_then(|bill| bill.reported);
        Self {
            input: billed.prompt,
            read: billed.cached,
            written: billed.written,
            written_1h: billed.written_1h,
            output: reported.unwrap_or(billed.completion),
            thinking: reply.thinking_tokens() + messages.billed_thinking(),
        }
    }

    /// The fields about the prompt.
    fn prompt(&self) -> String {
        format!(
            "\"input_tokens\":{},\"cache_creation_input_tokens\":{},\"cache_read_input_tokens\":{}",
            self.input,
            self.written + self.written_1h,
            self.read
        )
    }

    /// The lifetimes of what is written to the cache.
    fn lifetimes(&self) -> String {
        format!(
            ",\"cache_creation\":{{\"ephemeral_5m_input_tokens\":{},\"ephemeral_1h_input_tokens\":{}}}",
            self.written, self.written_1h
        )
    }

    fn details(&self) -> String {
        format!(",\"output_tokens_details\":{{\"thinking_tokens\":{}}}", self.thinking)
    }

    fn whole(&self) -> String {
        format!(
            "{{{}{},\"output_tokens\":{}{},\"service_tier\":\"standard\"}}",
            self.prompt(),
            self.lifetimes(),
            self.output,
            self.details()
        )
    }

    /// The object in `message_start`.
    fn start(&self, mode: UsageMode) -> String {
        let nothing = Self { input: 0, read: 0, written: 0, written_1h: 0, output: 0, thinking: 0 };
        let shown = match mode {
            UsageMode::AtEnd => nothing,
            UsageMode::Preview => Self { input: 1, ..nothing },
            _ => Self { output: 1, ..*self },
        };
        format!(
            "{{{}{},\"output_tokens\":{},\"service_tier\":\"standard\"}}",
            shown.prompt(),
            shown.lifetimes(),
            shown.output
        )
    }

    /// The object in `message_delta`.
    fn end(&self, mode: UsageMode) -> String {
        let prompt = match mode {
            UsageMode::AtStart => String::new(),
            UsageMode::AtEnd | UsageMode::Preview => format!("{}{},", self.prompt(), self.lifetimes()),
            _ => format!("{},", self.prompt()),
        };
        format!("{{{prompt}\"output_tokens\":{}{}}}", self.output, self.details())
    }
}

/// A stream under construction.
struct Writer<'a> {
    messages: &'a Messages,
    events: Events,
    /// The number of blocks that have begun.
    blocks: u64,
}

/// The message as a stream, with the requested error inside it.
pub(super) fn events(messages: &Messages, reply: &Reply, head: &Head) -> Events {
    let simulate = &messages.simulate;
    let usage = Usage::of(messages, reply);
    let with_usage = |usage: String| match simulate.usage {
        UsageMode::None => String::new(),
        _ => format!(",\"usage\":{usage}"),
    };
    let mut writer = Writer { messages, events: Events::new(simulate), blocks: 0 };
    let start = format!(
        ",\"message\":{{{},\"content\":[],\"stop_reason\":null,\"stop_sequence\":null{}}}",
        open(messages, head),
        with_usage(usage.start(simulate.usage))
    );
    writer.event(0, "message_start", &start);
    writer.unknown_event();
    for block in &reply.blocks {
        writer.block(block);
        writer.unknown_event();
    }
    let delta = format!(",\"delta\":{{{}}}{}", stop(&reply.finish), with_usage(usage.end(simulate.usage)));
    writer.event(0, "message_delta", &delta);
    if simulate.done != Some(false) {
        writer.event(0, "message_stop", "");
    }
    let mut events = writer.events;
    if simulate.error_event {
        events.truncate(simulate.kept_events(events.count()));
        let shape = simulate.error_event_shape.unwrap_or(EventShape::Anthropic);
        let fault = Fault::of(simulate, 200, Wire::Anthropic, head.n);
        // `simulate` rejects the one shape that has a chunk.
        let lines = fault.event_lines(shape, |_, _| String::new());
        let newline = events.newline();
        events.lines(0, [lines.join(newline).as_str()]);
    }
    events
}

impl Writer<'_> {
    /// Appends an event with these fields after its type.
    fn event(&mut self, tokens: u64, name: &str, fields: &str) {
        let extra = if self.messages.simulate.extra_members { EXTRA_MEMBERS } else { "" };
        let newline = self.events.newline();
        self.events
            .lines(tokens, ["event: ", name, newline, "data: {\"type\":\"", name, "\"", fields, extra, "}"]);
    }

    fn ping(&mut self) {
        let newline = self.events.newline();
        self.events.lines(0, ["event: ping", newline, "data: {\"type\": \"ping\"}"]);
    }

    fn unknown_event(&mut self) {
        if self.messages.simulate.unknown_events {
            self.event(0, "x_sim_progress", ",\"x_payload\":{\"done\":0.50}");
        }
    }

    fn block(&mut self, block: &Block) {
        let index = self.blocks;
        self.blocks += 1;
        let is_first = index == 0;
        let messages = self.messages;
        let begun = match block {
            Block::Thinking(_) => match messages.simulate.signature {
                Signature::Issued => {
                    "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}".to_owned()
                }
                Signature::None => "{\"type\":\"thinking\",\"thinking\":\"\"}".to_owned(),
            },
            Block::Text { .. } => "{\"type\":\"text\",\"text\":\"\"}".to_owned(),
            Block::Call(call) => format!("{{{},\"input\":{{}}}}", call_head(call)),
            Block::Search => format!("{{{SEARCH_HEAD},\"input\":{{}}}}"),
            Block::Redacted | Block::Unknown | Block::Refusal(_) => complete(messages, block),
        };
        let tokens = u64::from(matches!(block, Block::Call(_) | Block::Search | Block::Redacted));
        self.event(tokens, "content_block_start", &format!(",\"index\":{index},\"content_block\":{begun}"));
        if is_first && messages.simulate.pings != Some(false) {
            self.ping();
        }
        match block {
            Block::Thinking(thought) => {
                let shown = if messages.hides_thoughts { "" } else { thought.as_str() };
                // Hidden thoughts are billed all the same.
                let hidden = if messages.hides_thoughts { words(thought) } else { 0 };
                for piece in pieces(shown, None) {
                    self.delta(words(piece), index, "thinking_delta", "thinking", piece);
                }
                if messages.simulate.signature == Signature::Issued {
                    let signature = sign(&messages.model, shown);
                    self.delta(hidden, index, "signature_delta", "signature", &signature);
                }
            }
            Block::Text { text, piece } => {
                for piece in pieces(text, *piece) {
                    self.delta(words(piece), index, "text_delta", "text", piece);
                }
            }
            Block::Call(call) => {
                for (at, piece) in call.input.iter().enumerate() {
                    if at == 0 {
                        // As recorded: the first one is empty.
                        self.delta(1, index, "input_json_delta", "partial_json", "");
                    }
                    self.delta(0, index, "input_json_delta", "partial_json", piece);
                }
            }
            Block::Search => self.delta(0, index, "input_json_delta", "partial_json", SEARCH),
            Block::Redacted | Block::Unknown | Block::Refusal(_) => {}
        }
        self.event(0, "content_block_stop", &format!(",\"index\":{index}"));
    }

    fn delta(&mut self, tokens: u64, index: u64, kind: &str, field: &str, piece: &str) {
        if self.messages.simulate.pings == Some(true) {
            self.ping();
        }
        let piece = json::quoted(piece);
        self.event(
            tokens,
            "content_block_delta",
            &format!(",\"index\":{index},\"delta\":{{\"type\":\"{kind}\",\"{field}\":{piece}}}"),
        );
    }
}
