//! The chat completion as server-sent events. Builds bytes and marks in them; `body` sends them at the right time and
//! in the right pieces.

use crate::body::Mark;
use crate::chat::Chat;
use crate::faults::{Fault, Wire};
use crate::json;
use crate::reply::{Call, Reply, pieces, words};
use crate::simulate::{EventShape, Simulate, UsageMode};
use crate::whole::{Head, call_head, calls, finish_reason, logprobs, refusal, said, thought, usage};

/// A stream under construction.
pub(crate) struct Events {
    text: String,
    marks: Vec<Mark>,
    newline: &'static str,
    comments: bool,
}

impl Events {
    /// A stream without any event.
    pub(crate) fn new(simulate: &Simulate) -> Self {
        Self {
            text: String::with_capacity(4096),
            marks: Vec::new(),
            newline: simulate.newline.unwrap_or_default().text(),
            comments: simulate.comments,
        }
    }

    /// The end of a line.
    pub(crate) fn newline(&self) -> &'static str {
        self.newline
    }

    /// The number of events.
    pub(crate) fn count(&self) -> usize {
        self.marks.iter().filter(|mark| mark.is_event).count()
    }

    /// The bytes and their marks.
    pub(crate) fn into_parts(self) -> (String, Vec<Mark>) {
        (self.text, self.marks)
    }

    /// Removes everything after this many events.
    pub(crate) fn truncate(&mut self, events: usize) {
        let mut seen = 0;
        let keep = self
            .marks
            .iter()
            .take_while(|mark| {
                // The comment before a removed event is removed with it.
                seen += usize::from(mark.is_event);
                seen <= events && (mark.is_event || seen < events)
            })
            .count();
        self.marks.truncate(keep);
        self.text.truncate(self.marks.last().map_or(0, |mark| mark.end));
    }

    fn data(&mut self, tokens: u64, data: &str) {
        self.lines(tokens, ["data: ", data]);
    }

    /// Appends one event with this many completion tokens: all of its lines but the last line end, in parts.
    pub(crate) fn lines<'a>(&mut self, tokens: u64, line: impl IntoIterator<Item = &'a str>) {
        if self.comments && !self.marks.is_empty() {
            self.text.push_str(": keep-alive");
            self.end(false, 0);
        }
        line.into_iter().for_each(|part| self.text.push_str(part));
        self.end(true, tokens);
    }

    fn end(&mut self, is_event: bool, tokens: u64) {
        self.text.push_str(self.newline);
        self.text.push_str(self.newline);
        self.marks.push(Mark { end: self.text.len(), is_event, tokens });
    }
}

/// The place of usage in a stream.
struct UsagePlan {
    /// On every chunk without another value: `,"usage":null`, or nothing.
    otherwise: &'static str,
    first: String,
    finish: String,
    /// On a separate chunk; empty: no such chunk.
    last: String,
}

impl UsagePlan {
    fn new(chat: &Chat, reply: &Reply) -> Self {
        let (completion, thinking) = (chat.completion_tokens(reply.tokens), reply.thinking_tokens());
        let right = format!(",\"usage\":{}", usage(chat, completion, thinking));
        let mode = chat.simulate.usage;
        let is_requested = match mode {
            UsageMode::Always | UsageMode::Preview => true,
            UsageMode::None
            | UsageMode::XGroq
            | UsageMode::TotalOnly
            | UsageMode::AtStart
            | UsageMode::AtEnd => false,
            UsageMode::Normal | UsageMode::WithChoices => chat.include_usage,
        };
        let otherwise = if is_requested { ",\"usage\":null" } else { "" };
        let plan = Self {
            otherwise,
            first: otherwise.to_owned(),
            finish: otherwise.to_owned(),
            last: String::new(),
        };
        match mode {
            UsageMode::Normal if !is_requested => plan,
            UsageMode::None | UsageMode::TotalOnly | UsageMode::AtStart | UsageMode::AtEnd => plan,
            UsageMode::Normal | UsageMode::Always => Self { last: right, ..plan },
            UsageMode::WithChoices => Self { finish: right, ..plan },
            UsageMode::Preview => {
                let preview = format!(",\"usage\":{}", usage(chat, 1, thinking));
                Self { first: preview, last: right, ..plan }
            }
            UsageMode::XGroq => Self {
                first: ",\"x_groq\":{\"id\":\"req_sim\"}".to_owned(),
                finish: format!(
                    ",\"x_groq\":{{\"id\":\"req_sim\",\"usage\":{}}}",
                    usage(chat, completion, thinking)
                ),
                ..plan
            },
        }
    }
}

struct Writer<'a> {
    chat: &'a Chat,
    events: Events,
    /// Every chunk up to `,"model":…` and the extra fields.
    open: String,
    usage: UsagePlan,
}

impl Writer<'_> {
    /// One chunk with one choice. `delta` is the content of the delta object.
    fn chunk(
        &mut self,
        tokens: u64,
        index: u64,
        delta: &str,
        logprobs: &str,
        finish: Option<&str>,
        usage: &str,
    ) {
        let mut choice = String::with_capacity(96 + delta.len() + logprobs.len());
        json::number(&mut choice, ",\"choices\":[{\"index\":", index);
        for part in [",\"delta\":{", delta, "},\"logprobs\":", logprobs, ",\"finish_reason\":"] {
            choice.push_str(part);
        }
        match finish {
            Some(reason) => json::quote(&mut choice, reason),
            None => choice.push_str("null"),
        }
        choice.push_str("}]");
        self.events.lines(tokens, ["data: ", &self.open, &choice, usage, "}"]);
    }

    fn middle(&mut self, tokens: u64, index: u64, delta: &str, logprobs: &str) {
        let usage = self.usage.otherwise;
        self.chunk(tokens, index, delta, logprobs, None, usage);
    }

    fn first(&mut self, tokens: u64, index: u64, delta: &str) {
        let usage = if index == 0 { self.usage.first.clone() } else { self.usage.otherwise.to_owned() };
        self.chunk(tokens, index, delta, "null", None, &usage);
    }

    /// The first chunk of each choice, with its role. That of a reply without text has its first call.
    fn begin(&mut self, reply: &Reply) {
        let (tokens, delta) = match calls(reply).next() {
            Some(call) if said(reply).is_none() && thought(reply).is_none() => (
                1,
                format!(
                    "\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{{\"index\":0,{}\"\"}}}}],\"refusal\":null",
                    call_head(call)
                ),
            ),
            _ => (0, "\"role\":\"assistant\",\"content\":\"\",\"refusal\":null".to_owned()),
        };
        for index in 0..self.chat.n {
            self.first(tokens, index, &delta);
        }
    }

    /// A delta of every choice.
    fn each(&mut self, tokens: u64, delta: &str, logprobs: &str) {
        for index in 0..self.chat.n {
            self.middle(tokens, index, delta, logprobs);
        }
    }

    fn thinking(&mut self, text: &str) {
        for piece in pieces(text, None) {
            self.each(words(piece), &format!("\"reasoning_content\":{}", json::quoted(piece)), "null");
        }
    }

    fn text(&mut self, text: &str, piece: Option<usize>) {
        for piece in pieces(text, piece) {
            let delta = format!("\"content\":{}", json::quoted(piece));
            let mut probable = "null".to_owned();
            if self.chat.logprobs {
                probable.clear();
                logprobs(&mut probable, std::iter::once(piece));
            }
            self.each(words(piece), &delta, &probable);
        }
    }

    fn refusal(&mut self, text: &str) {
        for piece in pieces(text, None) {
            self.each(words(piece), &format!("\"refusal\":{}", json::quoted(piece)), "null");
        }
    }

    /// The calls that are not in the first chunk, and the arguments of all.
    fn calls(&mut self, reply: &Reply) {
        let is_begun = said(reply).is_none() && thought(reply).is_none();
        let all: Vec<(usize, &Call)> = calls(reply).enumerate().collect();
        let mut deltas: Vec<(usize, u64, String)> = Vec::new();
        for (index, call) in &all {
            if *index > 0 || !is_begun {
                deltas.push((0, 1, format!("\"index\":{index},{}\"\"}}", call_head(call))));
            }
            // A call without arguments has an empty object, as at `OpenAI`.
            let empty = ["{}".to_owned()];
            let input = if call.input.is_empty() { &empty[..] } else { call.input.as_slice() };
            for (at, fragment) in input.iter().enumerate() {
                // All arguments of a call count as one word.
                let tokens = u64::from(at == 0 && !call.input.is_empty());
                let fragment = json::quoted(fragment);
                let delta = format!("\"index\":{index},\"function\":{{\"arguments\":{fragment}}}");
                deltas.push((at + 1, tokens, delta));
            }
        }
        if self.chat.simulate.interleave {
            // All names, then the first fragment of each call, the second of each, …
            deltas.sort_by_key(|(at, ..)| *at);
        }
        for (_, tokens, delta) in deltas {
            self.each(tokens, &format!("\"tool_calls\":[{{{delta}}}]"), "null");
        }
    }

    fn end(&mut self, reply: &Reply) {
        for index in 0..self.chat.n {
            let is_last = index + 1 == self.chat.n;
            let usage = if is_last { self.usage.finish.clone() } else { self.usage.otherwise.to_owned() };
            self.chunk(0, index, "", "null", Some(finish_reason(&reply.finish)), &usage);
        }
        if !self.usage.last.is_empty() {
            self.events.lines(0, ["data: ", &self.open, ",\"choices\":[]", &self.usage.last, "}"]);
        }
    }
}

/// The requested stream, with the requested error inside it.
pub(crate) fn events(chat: &Chat, reply: &Reply, head: &Head) -> Events {
    let simulate = &chat.simulate;
    let mut open = String::new();
    head.open(&mut open, "chat.completion.chunk", chat);
    let mut writer = Writer { chat, events: Events::new(simulate), open, usage: UsagePlan::new(chat, reply) };
    writer.begin(reply);
    if let Some(thinking) = thought(reply) {
        writer.thinking(thinking);
    }
    if let Some((text, piece)) = said(reply) {
        writer.text(text, piece);
    }
    if let Some(text) = refusal(reply) {
        writer.refusal(text);
    }
    writer.calls(reply);
    writer.end(reply);
    if simulate.error_event {
        writer.events.truncate(simulate.kept_events(writer.events.count()));
        error_event(&mut writer, head.n);
    } else if simulate.done != Some(false) {
        writer.events.data(0, "[DONE]");
    }
    writer.events
}

fn error_event(writer: &mut Writer<'_>, n: u64) {
    let simulate = &writer.chat.simulate;
    let fault = Fault::of(simulate, 200, Wire::Openai, n);
    let shape = simulate.error_event_shape.unwrap_or_default();
    let lines =
        fault.event_lines(shape, |members, choice| format!("{}{}", writer.open, with(members, choice)));
    let newline = writer.events.newline;
    writer.events.lines(0, [lines.join(newline).as_str()]);
    if shape == EventShape::Openrouter {
        writer.events.data(0, "[DONE]");
    }
}

fn with(members: &str, choice: &str) -> String {
    format!(",\"provider\":\"Simulated\",{members}\"choices\":[{choice}]}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(body: &str) -> Events {
        let chat = Chat::read_alone(body.as_bytes()).unwrap();
        events(&chat, &Reply::to(&chat.ask()), &Head { n: 7, created: 1 })
    }

    #[test]
    fn truncation_counts_events_and_not_comments() {
        let body = "{\"stream\":true,\"simulate\":{\"events\":3,\"comments\":true}}";
        let all = build(body);
        assert_eq!(all.marks.iter().filter(|mark| mark.is_event).count(), 6);
        for keep in 0..=7 {
            let mut events = build(body);
            events.truncate(keep);
            let (text, marks) = events.into_parts();
            assert_eq!(text.matches("data: ").count(), keep.min(6));
            assert_eq!(text.matches(": keep-alive").count(), keep.min(6).saturating_sub(1));
            assert_eq!(marks.last().map_or(0, |mark| mark.end), text.len());
        }
    }

    #[test]
    fn tokens_of_the_events_add_up_to_the_reply() {
        for body in [
            "{\"n\":2,\"messages\":[{\"role\":\"user\",\"content\":\"a b\"}]}",
            "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"tools\":[{\"function\":{\"name\":\"f\"}}]}",
            "{\"simulate\":{\"content_bytes\":1000}}",
            "{\"tools\":[{}],\"simulate\":{\"thinking\":\"a b\",\"content\":\"c\",\"interleave\":true,\
              \"calls\":[{\"name\":\"f\",\"input\":{\"a\":\"b c\"}},{\"name\":\"g\"}]}}",
        ] {
            let chat = Chat::read_alone(body.as_bytes()).unwrap();
            let total: u64 = build(body).marks.iter().map(|mark| mark.tokens).sum();
            assert_eq!(total, Reply::to(&chat.ask()).tokens * chat.n);
        }
    }
}
