//! Writes a response for the caller, whole and streamed.
//!
//! One path for both: the whole response is the one that the last event of the stream contains. The ids of the response
//! and its items derive from the id of the call, and are the same in all events. Nothing is stored, so reasoning always
//! carries its blob for the next turn.

use std::fmt;
use std::io::Write as _;
use std::mem;
use std::rc::Rc;

use super::echo::Echo;
use super::tools::INPUT;
use crate::conversation::delta::{Delta, Reply, Stop};
use crate::conversation::{Piece, Reasoning, ToolCall, ids};
use crate::error::{Code, Error, Meaning, Retry};
use crate::json;
use crate::usage::Usage;

/// The characters of the id of a call that ids in the response have. OpenAI accepts items whose ids have up to 64.
const LONGEST_ID: usize = 48;

/// The events with a piece of a call.
const FUNCTION_DELTA: &str = "response.function_call_arguments.delta";
const CUSTOM_DELTA: &str = "response.custom_tool_call_input.delta";

/// Writes the events of a stream.
#[derive(Debug)]
pub struct Writer {
    echo: Rc<Echo>,
    id: String,
    model: String,
    created_at: u64,
    /// The number of the next event.
    sequence: u64,
    /// The members that say which item an event is about, as JSON.
    place: String,
    has_begun: bool,
    open: Open,
    /// The complete items, as JSON.
    output: Vec<String>,
    has_refused: bool,
    usage: Usage,
    stop: Option<Stop>,
    is_over: bool,
}

/// The item that is being written.
#[derive(Debug)]
enum Open {
    None,
    /// A message: its complete parts, as JSON, and the one that is being written.
    Message {
        parts: Vec<String>,
        text: String,
        is_refusal: bool,
    },
    Reasoning {
        text: String,
    },
    /// A call of the caller's tool; `custom` if the tool is one.
    Call {
        call: ToolCall,
        namespace: Option<String>,
        custom: Option<CustomInput>,
    },
}

/// The end of a response: `completed`, `incomplete` or `failed`.
struct End<'a> {
    status: &'static str,
    reason: Option<&'static str>,
    error: Option<(&'static str, &'a str)>,
}

impl Writer {
    /// The state before the first event. `id` is the id of the call, from which the ids in the response are made;
    /// `model` is the name of the model if the upstream states none; `created_at` is in seconds.
    pub fn new(echo: Rc<Echo>, id: &str, model: &str, created_at: u64) -> Writer {
        let plain = id.trim_start_matches("resp_").chars().filter(char::is_ascii_alphanumeric);
        Writer {
            echo,
            id: plain.take(LONGEST_ID).collect(),
            model: model.to_owned(),
            created_at,
            sequence: 0,
            place: String::new(),
            has_begun: false,
            open: Open::None,
            output: Vec::new(),
            has_refused: false,
            usage: Usage::default(),
            stop: None,
            is_over: false,
        }
    }

    /// Writes the events for a delta.
    pub fn write(&mut self, delta: Delta, out: &mut Vec<u8>) {
        if self.is_over {
            return;
        }
        match delta {
            Delta::Begin { model, .. } => {
                if let Some(model) = model {
                    self.model = model;
                }
                self.begin(out);
            }
            Delta::Text(more) => self.say(&more, false, out),
            Delta::Refusal(more) => self.say(&more, true, out),
            Delta::Reasoning(more) => self.reason(&more, out),
            Delta::Blob(blob) => {
                if !matches!(self.open, Open::Reasoning { .. }) {
                    self.open_reasoning(out);
                }
                self.close_reasoning(Some(&blob.to_text()), out);
            }
            Delta::ToolCall { id, name } => self.open_call(&id, name, out),
            Delta::Arguments(more) => self.add_arguments(&more, out),
            Delta::Usage(usage) => self.usage = self.usage.larger(usage),
            Delta::Stop(stop) => {
                let status = if stop == Stop::Length { "incomplete" } else { "completed" };
                self.close(status, out);
                self.stop = Some(stop);
            }
        }
    }

    /// Ends the stream with the whole response. A response that was cut ends as failed.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        let end = match &self.stop {
            Some(Stop::Length) => End::incomplete("max_output_tokens"),
            Some(Stop::Refusal) if !self.has_refused => End::incomplete("content_filter"),
            Some(_) => End { status: "completed", reason: None, error: None },
            None => {
                let message = "The response ended before it was complete";
                return self.fail(&Error::new(Code::UpstreamStreamCut, message), out);
            }
        };
        self.finish(&end, out);
    }

    /// Ends the stream with `response.failed`. An item that is not complete is not in the response, so that no client
    /// runs half a tool call.
    pub fn fail(&mut self, error: &Error, out: &mut Vec<u8>) {
        let (code, message) = failure(error);
        self.open = Open::None;
        self.finish(&End { status: "failed", reason: None, error: Some((code, &message)) }, out);
    }

    fn finish(&mut self, end: &End<'_>, out: &mut Vec<u8>) {
        if mem::replace(&mut self.is_over, true) {
            return;
        }
        self.begin(out);
        let response = format!("\"response\":{}", self.response(end));
        self.event(&format!("response.{}", end.status), &response, out);
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if mem::replace(&mut self.has_begun, true) {
            return;
        }
        let response = self.response(&End { status: "in_progress", reason: None, error: None });
        let response = format!("\"response\":{response}");
        self.event("response.created", &response, out);
        self.event("response.in_progress", &response, out);
    }

    /// The response as it is now, as JSON.
    fn response(&self, end: &End<'_>) -> String {
        let error = end.error.map_or_else(
            || "null".to_owned(),
            |(code, message)| format!(r#"{{"code":"{code}","message":{}}}"#, json::to_text(message)),
        );
        let details =
            end.reason.map_or_else(|| "null".to_owned(), |reason| format!(r#"{{"reason":"{reason}"}}"#));
        let Writer { id, created_at, .. } = self;
        format!(
            r#"{{"id":"resp_{id}","object":"response","created_at":{created_at},"status":"{}","background":false,"error":{error},"incomplete_details":{details},"model":{},{},"previous_response_id":null,"service_tier":"default","store":false,"top_logprobs":0,"output":[{}],"usage":{}}}"#,
            end.status,
            json::to_text(&self.model),
            self.echo.members,
            self.output.join(","),
            usage(self.usage),
        )
    }

    /// Writes an event; `members` are JSON without the braces.
    fn event(&mut self, kind: &str, members: &str, out: &mut Vec<u8>) {
        let number = self.sequence;
        // Writing to a vector never fails.
        let _ = write!(
            out,
            "event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{number},{members}}}\n\n"
        );
        self.sequence += 1;
    }

    /// The id of the item that is being written.
    fn item_id(&self) -> String {
        let prefix = match &self.open {
            Open::None | Open::Message { .. } => "msg",
            Open::Reasoning { .. } => "rs",
            Open::Call { custom: None, .. } => "fc",
            Open::Call { custom: Some(_), .. } => "ctc",
        };
        format!("{prefix}_{}{:04}", self.id, self.output.len())
    }

    fn added(&mut self, item: &str, out: &mut Vec<u8>) {
        let index = self.output.len();
        self.place = format!(r#""item_id":"{}","output_index":{index}"#, self.item_id());
        self.event("response.output_item.added", &format!(r#""output_index":{index},"item":{item}"#), out);
    }

    /// Completes the item that is being written.
    fn done(&mut self, item: String, out: &mut Vec<u8>) {
        let members = format!(r#""output_index":{},"item":{item}"#, self.output.len());
        self.event("response.output_item.done", &members, out);
        self.output.push(item);
        self.open = Open::None;
    }

    /// Completes the item that is being written, if any.
    fn close(&mut self, status: &str, out: &mut Vec<u8>) {
        match &self.open {
            Open::None => {}
            Open::Message { .. } => self.close_message(status, out),
            Open::Reasoning { .. } => self.close_reasoning(None, out),
            Open::Call { .. } => self.close_call(status, out),
        }
    }

    fn say(&mut self, more: &str, refuses: bool, out: &mut Vec<u8>) {
        if more.is_empty() {
            return;
        }
        match &self.open {
            Open::Message { is_refusal, .. } if *is_refusal == refuses => {}
            Open::Message { .. } => {
                self.close_part(out);
                self.open_part(refuses, out);
            }
            _ => {
                self.begin(out);
                self.close("completed", out);
                self.open = Open::Message { parts: Vec::new(), text: String::new(), is_refusal: refuses };
                let item = self.message("in_progress", "");
                self.added(&item, out);
                self.open_part(refuses, out);
            }
        }
        self.has_refused |= refuses;
        let Open::Message { text, parts, .. } = &mut self.open else { return };
        text.push_str(more);
        let part = parts.len();
        let (kind, rest) = if refuses {
            ("response.refusal.delta", "")
        } else {
            ("response.output_text.delta", r#","logprobs":[]"#)
        };
        self.delta(kind, format_args!(r#","content_index":{part}"#), more, rest, out);
    }

    /// Writes a piece of the item that is being written: `part` says which part of the item, `rest` follows the piece. Most
    /// events of a stream are such pieces, so that they are written in place.
    fn delta(&mut self, kind: &str, part: fmt::Arguments<'_>, more: &str, rest: &str, out: &mut Vec<u8>) {
        let (number, place) = (self.sequence, &self.place);
        // Writing to a vector never fails.
        let _ = write!(
            out,
            "event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{number},{place}{part},\"delta\":"
        );
        json::append(more, out);
        out.extend_from_slice(rest.as_bytes());
        out.extend_from_slice(b"}\n\n");
        self.sequence += 1;
    }

    /// A message as JSON.
    fn message(&self, status: &str, parts: &str) -> String {
        let id = self.item_id();
        format!(
            r#"{{"id":"{id}","type":"message","status":"{status}","role":"assistant","content":[{parts}]}}"#
        )
    }

    /// The members that say which part of a message an event is about.
    fn part_place(&self) -> String {
        let index = if let Open::Message { parts, .. } = &self.open { parts.len() } else { 0 };
        format!(r#"{},"content_index":{index}"#, self.place)
    }

    fn open_part(&mut self, refuses: bool, out: &mut Vec<u8>) {
        if let Open::Message { text, is_refusal, .. } = &mut self.open {
            text.clear();
            *is_refusal = refuses;
        }
        let members = format!(r#"{},"part":{}"#, self.part_place(), part(refuses, "\"\""));
        self.event("response.content_part.added", &members, out);
    }

    fn close_part(&mut self, out: &mut Vec<u8>) {
        let place = self.part_place();
        let Open::Message { text, is_refusal, .. } = &self.open else { return };
        let (text, refuses) = (json::to_text(text), *is_refusal);
        if refuses {
            self.event("response.refusal.done", &format!(r#"{place},"refusal":{text}"#), out);
        } else {
            let members = format!(r#"{place},"text":{text},"logprobs":[]"#);
            self.event("response.output_text.done", &members, out);
        }
        let part = part(refuses, &text);
        self.event("response.content_part.done", &format!(r#"{place},"part":{part}"#), out);
        if let Open::Message { parts, .. } = &mut self.open {
            parts.push(part);
        }
    }

    fn close_message(&mut self, status: &str, out: &mut Vec<u8>) {
        self.close_part(out);
        let Open::Message { parts, .. } = &self.open else { return };
        let item = self.message(status, &parts.join(","));
        self.done(item, out);
    }

    fn open_reasoning(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
        self.close("completed", out);
        self.open = Open::Reasoning { text: String::new() };
        let item = format!(r#"{{"id":"{}","type":"reasoning","summary":[]}}"#, self.item_id());
        self.added(&item, out);
    }

    fn reason(&mut self, more: &str, out: &mut Vec<u8>) {
        if more.is_empty() {
            return;
        }
        if !matches!(self.open, Open::Reasoning { .. }) {
            self.open_reasoning(out);
        }
        let Open::Reasoning { text } = &mut self.open else { return };
        let is_first = text.is_empty();
        text.push_str(more);
        if is_first {
            let members = format!(r#"{},"summary_index":0,"part":{}"#, self.place, summary("\"\""));
            self.event("response.reasoning_summary_part.added", &members, out);
        }
        let part = format_args!(r#","summary_index":0"#);
        self.delta("response.reasoning_summary_text.delta", part, more, "", out);
    }

    fn close_reasoning(&mut self, encrypted: Option<&str>, out: &mut Vec<u8>) {
        let place = format!(r#"{},"summary_index":0"#, self.place);
        let Open::Reasoning { text } = &self.open else { return };
        let mut parts = String::new();
        if !text.is_empty() {
            let text = json::to_text(text);
            parts = summary(&text);
            self.event("response.reasoning_summary_text.done", &format!(r#"{place},"text":{text}"#), out);
            self.event("response.reasoning_summary_part.done", &format!(r#"{place},"part":{parts}"#), out);
        }
        let encrypted = json::to_text(&encrypted);
        let id = self.item_id();
        let item = format!(
            r#"{{"id":"{id}","type":"reasoning","summary":[{parts}],"encrypted_content":{encrypted}}}"#
        );
        self.done(item, out);
    }

    fn open_call(&mut self, id: &str, name: String, out: &mut Vec<u8>) {
        self.begin(out);
        self.close("completed", out);
        let (name, namespace, is_custom) = match self.echo.tool(&name) {
            Some(tool) => (tool.name.clone(), tool.namespace.clone(), tool.is_custom),
            None => (name, None, false),
        };
        let call = ToolCall { id: ids::fit(id, ids::OPENAI).into_owned(), name, arguments: String::new() };
        self.open = Open::Call { call, namespace, custom: is_custom.then(CustomInput::default) };
        let item = self.call("in_progress", "");
        self.added(&item, out);
    }

    /// A call as JSON, in the shape of the caller's tool. `input` are the arguments, or the text of a custom call.
    fn call(&self, status: &str, input: &str) -> String {
        let Open::Call { call, namespace, custom } = &self.open else { return "null".to_owned() };
        let (kind, member) =
            if custom.is_some() { ("custom_tool_call", "input") } else { ("function_call", "arguments") };
        let namespace = namespace
            .as_ref()
            .map_or_else(String::new, |namespace| format!(r#","namespace":{}"#, json::to_text(namespace)));
        format!(
            r#"{{"id":"{}","type":"{kind}","status":"{status}","call_id":{},"name":{}{namespace},"{member}":{}}}"#,
            self.item_id(),
            json::to_text(&call.id),
            json::to_text(&call.name),
            json::to_text(input),
        )
    }

    fn add_arguments(&mut self, more: &str, out: &mut Vec<u8>) {
        let Open::Call { call, custom, .. } = &mut self.open else { return };
        call.arguments.push_str(more);
        match custom {
            None => self.call_delta(FUNCTION_DELTA, more, out),
            Some(custom) => {
                let more = custom.more(&call.arguments);
                self.call_delta(CUSTOM_DELTA, &more, out);
            }
        }
    }

    fn call_delta(&mut self, kind: &str, more: &str, out: &mut Vec<u8>) {
        if !more.is_empty() {
            self.delta(kind, format_args!(""), more, "", out);
        }
    }

    fn close_call(&mut self, status: &str, out: &mut Vec<u8>) {
        let Open::Call { call, custom, .. } = &mut self.open else { return };
        let (event, member, input, rest) = match custom {
            Some(custom) => {
                let rest = custom.rest(&call.arguments);
                ("custom_tool_call_input", "input", mem::take(&mut custom.written), rest)
            }
            None if call.arguments.is_empty() => {
                ("function_call_arguments", "arguments", "{}".to_owned(), "{}".to_owned())
            }
            None => ("function_call_arguments", "arguments", mem::take(&mut call.arguments), String::new()),
        };
        let kind = if event == "function_call_arguments" { FUNCTION_DELTA } else { CUSTOM_DELTA };
        self.call_delta(kind, &rest, out);
        let name = match &self.open {
            Open::Call { call, custom: None, .. } => format!(r#","name":{}"#, json::to_text(&call.name)),
            _ => String::new(),
        };
        let members = format!(r#"{}{name},"{member}":{}"#, self.place, json::to_text(&input));
        self.event(&format!("response.{event}.done"), &members, out);
        let item = self.call(status, &input);
        self.done(item, out);
    }
}

impl End<'_> {
    fn incomplete(reason: &'static str) -> Self {
        End { status: "incomplete", reason: Some(reason), error: None }
    }
}

/// Writes a whole response; the parameters are those of [`Writer::new`]. A response that was cut is a failed one.
pub fn write_whole(reply: &Reply, echo: Rc<Echo>, id: &str, model: &str, created_at: u64) -> Vec<u8> {
    let mut writer = Writer::new(echo, id, model, created_at);
    let mut events = Vec::new();
    for delta in deltas(reply) {
        writer.write(delta, &mut events);
    }
    events.clear();
    writer.end(&mut events);
    // The last event is the whole response, behind the members that every event has.
    let last = events.strip_suffix(b"}\n\n").unwrap_or_default();
    let start = memchr::memmem::find(last, RESPONSE).map_or(last.len(), |place| place + RESPONSE.len());
    last.get(start..).unwrap_or_default().to_vec()
}

/// The member of the last event that is the whole response.
const RESPONSE: &[u8] = b",\"response\":";

/// The deltas whose sum is a response.
fn deltas(reply: &Reply) -> Vec<Delta> {
    let mut deltas = vec![Delta::Begin { id: reply.id.clone(), model: reply.model.clone() }];
    for piece in &reply.pieces {
        match piece {
            Piece::Text(text) => deltas.push(Delta::Text(text.clone())),
            Piece::Refusal(text) => deltas.push(Delta::Refusal(text.clone())),
            Piece::Reasoning(Reasoning { text, blob }) => {
                if !text.is_empty() {
                    deltas.push(Delta::Reasoning(text.clone()));
                }
                deltas.extend(blob.clone().map(Delta::Blob));
            }
            Piece::ToolCall(ToolCall { id, name, arguments }) => {
                deltas.push(Delta::ToolCall { id: id.clone(), name: name.clone() });
                deltas.push(Delta::Arguments(arguments.clone()));
            }
            // No response has these.
            Piece::ToolResult(_) | Piece::Image(_) | Piece::Document(_) | Piece::Audio(_) => {}
        }
    }
    deltas.push(Delta::Usage(reply.usage));
    deltas.extend(reply.stop.clone().map(Delta::Stop));
    deltas
}

/// A part of a message as JSON; `text` is a JSON string.
fn part(refuses: bool, text: &str) -> String {
    if refuses {
        format!(r#"{{"type":"refusal","refusal":{text}}}"#)
    } else {
        format!(r#"{{"type":"output_text","text":{text},"annotations":[],"logprobs":[]}}"#)
    }
}

/// A part of a summary as JSON; `text` is a JSON string.
fn summary(text: &str) -> String {
    format!(r#"{{"type":"summary_text","text":{text}}}"#)
}

/// The usage as JSON; `null` if nothing is known.
fn usage(usage: Usage) -> String {
    if usage == Usage::default() {
        return "null".to_owned();
    }
    let number = Option::unwrap_or_default;
    let (input, output) = (number(usage.prompt_tokens), number(usage.completion_tokens));
    format!(
        r#"{{"input_tokens":{input},"input_tokens_details":{{"cached_tokens":{},"cache_write_tokens":{}}},"output_tokens":{output},"output_tokens_details":{{"reasoning_tokens":{}}},"total_tokens":{}}}"#,
        number(usage.cached_tokens),
        number(usage.cache_write_tokens),
        number(usage.reasoning_tokens),
        input + output,
    )
}

/// The code and the message of a failed response. Codex acts on both: it compacts after `context_length_exceeded`, waits
/// as long as the message says after `rate_limit_exceeded`, gives up after `insufficient_quota` and `invalid_prompt`, and
/// repeats the call after any other code.
pub(super) fn failure(error: &Error) -> (&'static str, String) {
    let code = match error.meaning() {
        Some(Meaning::TooLong) => "context_length_exceeded",
        Some(Meaning::Throttled) => "rate_limit_exceeded",
        Some(Meaning::QuotaSpent) => "insufficient_quota",
        Some(Meaning::Failed) => "server_error",
        // Codex shows the message of this code, and of few others.
        Some(_) => "invalid_prompt",
        None if error.is(Code::ContextLengthExceeded) => "context_length_exceeded",
        None if error.is(Code::RateLimitExceeded) => "rate_limit_exceeded",
        None if error.is(Code::InsufficientQuota) => "insufficient_quota",
        None if error.status < 500 => "invalid_prompt",
        None => "server_error",
    };
    let code = if code == "server_error" && matches!(error.status, 503 | 529) {
        "server_is_overloaded"
    } else {
        code
    };
    let message = match error.retry() {
        Some(Retry::After(seconds))
            if code == "rate_limit_exceeded" && !error.message.contains("try again in") =>
        {
            let end = if error.message.ends_with('.') { "" } else { "." };
            format!("{}{end} Please try again in {seconds}s.", error.message)
        }
        _ => error.message.clone(),
    };
    (code, message)
}

/// The text of a custom call, while the arguments of the function in its place arrive: `{"input":"…"}`.
#[derive(Debug, Default)]
struct CustomInput {
    /// The number of bytes of the arguments that are in `written`; 0 before the text begins.
    read: usize,
    /// The text so far.
    written: String,
    /// `true` behind the end of the text.
    is_over: bool,
}

impl CustomInput {
    /// The text that has arrived since the last call.
    fn more(&mut self, arguments: &str) -> String {
        if self.read == 0 {
            self.read = start_of_text(arguments).unwrap_or(0);
        }
        let rest = arguments.get(self.read..).unwrap_or_default();
        if self.read == 0 || self.is_over {
            return String::new();
        }
        let (end, is_over) = end_of_text(rest);
        // Half of a surrogate pair waits for the other half.
        let text =
            rest.get(..end).and_then(|text| serde_json::from_str::<String>(&format!("\"{text}\"")).ok());
        let Some(text) = text else { return String::new() };
        self.read += end;
        self.is_over = is_over;
        self.written.push_str(&text);
        text
    }

    /// The text that is not written yet, now that the arguments are complete. If they are not of the shape that was asked
    /// for, they are the text.
    fn rest(&mut self, arguments: &str) -> String {
        let value = serde_json::from_str::<serde_json::Value>(arguments).ok();
        let text = value.as_ref().and_then(|value| value.get(INPUT)?.as_str()).unwrap_or(arguments);
        let is_cut = value.is_none() && self.read > 0;
        match text.strip_prefix(self.written.as_str()) {
            Some(rest) if !is_cut => {
                let rest = rest.to_owned();
                self.written.push_str(&rest);
                rest
            }
            _ => String::new(),
        }
    }
}

/// The place of the text in arguments that begin with `{"input":"`.
fn start_of_text(arguments: &str) -> Option<usize> {
    let rest = arguments.trim_start().strip_prefix('{')?.trim_start();
    let rest = rest.strip_prefix('"')?.strip_prefix(INPUT)?.strip_prefix('"')?.trim_start();
    let rest = rest.strip_prefix(':')?.trim_start().strip_prefix('"')?;
    Some(arguments.len() - rest.len())
}

/// The length of a JSON string's text up to its end or up to an escape that is not complete; `true` at its end.
fn end_of_text(text: &str) -> (usize, bool) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let length = match byte {
            b'"' => return (at, true),
            b'\\' if bytes.get(at + 1) == Some(&b'u') => 6,
            b'\\' => 2,
            _ => 1,
        };
        if at + length > bytes.len() {
            break;
        }
        at += length;
    }
    (at, false)
}
