//! Writes the caller's response: as the events of a stream, or whole.

use std::borrow::Cow;

use serde::Serialize;

use crate::conversation::carrier::{Blob, Kind};
use crate::conversation::delta::{Delta, Reply, Stop};
use crate::conversation::ids::{self, OPENAI};
use crate::conversation::{Piece, Reasoning, ToolCall};
use crate::json::{self, to_text};
use crate::usage::Usage;

/// The `format` of an item of `reasoning_details` with a marked blob.
const DETAILS_FORMAT: &str = "gatehouse-v1";

/// The parts of a response that do not follow from its deltas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The time of the response, in seconds since 1970.
    pub created: u64,
    /// `true` if the caller wants a stream to report its usage.
    pub usage: bool,
}

/// Writes the events of a stream.
#[derive(Debug)]
pub struct Writer {
    /// The beginning of every chunk with a choice, up to its delta.
    prefix: String,
    /// The beginning of a chunk without a choice, up to its usage.
    usage_prefix: String,
    wants_usage: bool,
    usage: Usage,
    /// The calls so far.
    calls: u64,
    /// The blobs so far.
    blobs: u64,
    /// The text of the open reasoning, which its blob is written with.
    reasoning: String,
    has_refusal: bool,
}

#[derive(Default, Serialize)]
struct ChunkDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_details: Option<[Detail<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[Call<'a>; 1]>,
}

/// A call, or a piece of one.
#[derive(Default, Serialize)]
struct Call<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: Function<'a>,
}

#[derive(Default, Serialize)]
struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

/// An item of `reasoning_details`: reasoning that the client echoes, with its marked blob.
#[derive(Serialize)]
struct Detail<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    format: &'static str,
    index: u64,
}

impl<'a> Detail<'a> {
    fn of(text: &'a str, blob: &Blob, index: u64) -> Detail<'a> {
        let mark = Some(blob.to_text());
        let is_text = !text.is_empty() || matches!(blob.kind, Kind::Signature | Kind::Plain);
        let (kind, text, signature, data) = if is_text {
            ("reasoning.text", Some(text), mark, None)
        } else {
            ("reasoning.encrypted", None, None, mark)
        };
        Detail { kind, text, signature, data, format: DETAILS_FORMAT, index }
    }
}

#[derive(Serialize)]
struct Counts {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<InputCounts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<OutputCounts>,
}

#[derive(Serialize)]
struct InputCounts {
    cached_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
}

#[derive(Serialize)]
struct OutputCounts {
    reasoning_tokens: u64,
}

impl Counts {
    /// The usage as this format states it; `None` if nothing is known.
    fn of(usage: &Usage) -> Option<Counts> {
        let Usage { cached_tokens, cache_write_tokens, reasoning_tokens, .. } = *usage;
        usage.prompt_tokens.or(usage.completion_tokens)?;
        let [prompt_tokens, completion_tokens] =
            [usage.prompt_tokens, usage.completion_tokens].map(Option::unwrap_or_default);
        let has_input_details = cached_tokens.or(cache_write_tokens).is_some();
        Some(Counts {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens.saturating_add(completion_tokens),
            prompt_tokens_details: has_input_details.then(|| InputCounts {
                cached_tokens: cached_tokens.unwrap_or_default(),
                cache_write_tokens,
            }),
            completion_tokens_details: reasoning_tokens
                .map(|reasoning_tokens| OutputCounts { reasoning_tokens }),
        })
    }
}

impl Writer {
    /// The state for a response with this id and the name of this model.
    pub fn new(id: &str, model: &str, options: Options) -> Writer {
        let usage_prefix = format!(
            r#"data: {{"id":{},"object":"chat.completion.chunk","created":{},"model":{},"choices":["#,
            to_text(id),
            options.created,
            to_text(model)
        );
        Writer {
            prefix: format!(r#"{usage_prefix}{{"index":0,"delta":"#),
            usage_prefix,
            wants_usage: options.usage,
            usage: Usage::default(),
            calls: 0,
            blobs: 0,
            reasoning: String::new(),
            has_refusal: false,
        }
    }

    /// Writes a delta.
    pub fn write(&mut self, delta: Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Begin { .. } => {
                let delta =
                    ChunkDelta { role: Some("assistant"), content: Some(""), ..ChunkDelta::default() };
                self.chunk(&delta, out);
            }
            Delta::Text(text) => {
                self.reasoning.clear();
                self.chunk(&ChunkDelta { content: Some(&text), ..ChunkDelta::default() }, out);
            }
            Delta::Refusal(text) => {
                self.reasoning.clear();
                self.has_refusal = true;
                self.chunk(&ChunkDelta { refusal: Some(&text), ..ChunkDelta::default() }, out);
            }
            Delta::Reasoning(text) => {
                self.reasoning.push_str(&text);
                self.chunk(&ChunkDelta { reasoning_content: Some(&text), ..ChunkDelta::default() }, out);
            }
            Delta::Blob(blob) => {
                let text = std::mem::take(&mut self.reasoning);
                let details = Some([Detail::of(&text, &blob, self.blobs)]);
                self.chunk(&ChunkDelta { reasoning_details: details, ..ChunkDelta::default() }, out);
                self.blobs += 1;
            }
            Delta::ToolCall { id, name } => {
                self.reasoning.clear();
                let call = Call {
                    index: Some(self.calls),
                    id: Some(&ids::fit(&id, OPENAI)),
                    kind: Some("function"),
                    function: Function { name: Some(&name), arguments: "" },
                };
                self.chunk(&ChunkDelta { tool_calls: Some([call]), ..ChunkDelta::default() }, out);
                self.calls += 1;
            }
            Delta::Arguments(more) => {
                let index = Some(self.calls.saturating_sub(1));
                let call =
                    Call { index, function: Function { name: None, arguments: &more }, ..Call::default() };
                self.chunk(&ChunkDelta { tool_calls: Some([call]), ..ChunkDelta::default() }, out);
            }
            Delta::Usage(usage) => self.usage = self.usage.larger(usage),
            Delta::Stop(stop) => {
                let reason = finish_reason(&stop, self.calls > 0, self.has_refusal);
                out.extend_from_slice(self.prefix.as_bytes());
                out.extend_from_slice(format!("{{}},\"finish_reason\":\"{reason}\"}}]}}\n\n").as_bytes());
            }
        }
    }

    /// Writes the end of a complete stream.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if let Some(counts) = Counts::of(&self.usage).filter(|_| self.wants_usage) {
            out.extend_from_slice(self.usage_prefix.as_bytes());
            out.extend_from_slice(format!("],\"usage\":{}}}\n\n", to_text(&counts)).as_bytes());
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn chunk(&self, delta: &ChunkDelta<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(self.prefix.as_bytes());
        json::append(delta, out);
        out.extend_from_slice(b",\"finish_reason\":null}]}\n\n");
    }
}

/// The finish reason. Clients look for calls only if it says so.
fn finish_reason(stop: &Stop, has_calls: bool, has_refusal: bool) -> &'static str {
    match stop {
        Stop::Length => "length",
        // The text of a refusal says it all; without one, clients need the word.
        Stop::Refusal if !has_refusal => "content_filter",
        _ if has_calls => "tool_calls",
        _ => "stop",
    }
}

#[derive(Serialize)]
struct Whole<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [WholeChoice<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Counts>,
}

#[derive(Serialize)]
struct WholeChoice<'a> {
    index: u64,
    message: Message<'a>,
    logprobs: (),
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<String>,
    refusal: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    reasoning_content: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasoning_details: Vec<Detail<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WholeCall<'a>>,
}

#[derive(Serialize)]
struct WholeCall<'a> {
    id: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    function: WholeFunction<'a>,
}

#[derive(Serialize)]
struct WholeFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

/// Writes a whole response.
pub fn write_whole(reply: &Reply, id: &str, model: &str, options: Options) -> Vec<u8> {
    let mut message = Message {
        role: "assistant",
        content: None,
        refusal: None,
        reasoning_content: String::new(),
        reasoning_details: Vec::new(),
        tool_calls: Vec::new(),
    };
    for piece in &reply.pieces {
        match piece {
            Piece::Text(text) => message.content.get_or_insert_default().push_str(text),
            Piece::Refusal(text) => message.refusal.get_or_insert_default().push_str(text),
            Piece::Reasoning(Reasoning { text, blob }) => {
                message.reasoning_content.push_str(text);
                let index = message.reasoning_details.len() as u64;
                message.reasoning_details.extend(blob.as_ref().map(|blob| Detail::of(text, blob, index)));
            }
            Piece::ToolCall(ToolCall { id, name, arguments }) => message.tool_calls.push(WholeCall {
                id: ids::fit(id, OPENAI),
                kind: "function",
                function: WholeFunction { name, arguments },
            }),
            _ => {}
        }
    }
    let (has_calls, has_refusal) = (!message.tool_calls.is_empty(), message.refusal.is_some());
    if message.content.is_none() && !has_calls && !has_refusal {
        message.content = Some(String::new());
    }
    let finish_reason = finish_reason(reply.stop.as_ref().unwrap_or(&Stop::Done), has_calls, has_refusal);
    let choice = WholeChoice { index: 0, message, logprobs: (), finish_reason };
    let usage = Counts::of(&reply.usage);
    let object = "chat.completion";
    to_text(&Whole { id, object, created: options.created, model, choices: [choice], usage }).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::{Reader, read_whole};
    use super::*;
    use crate::conversation::carrier::Maker;
    use crate::framing::sse;
    use std::fmt::Write as _;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn maker() -> Maker {
        Maker::of("acme", "m")
    }

    fn blob(kind: Kind) -> Blob {
        Blob { kind, maker: Maker::of("anthropic", "claude"), data: "sig\"".to_owned() }
    }

    fn begin() -> Delta {
        Delta::Begin { id: Some("chatcmpl-1".to_owned()), model: Some("m".to_owned()) }
    }

    fn events(deltas: &[Delta], options: Options) -> Vec<u8> {
        let mut writer = Writer::new("chatcmpl-1", "m", options);
        let mut out = Vec::new();
        for delta in deltas {
            writer.write(delta.clone(), &mut out);
        }
        writer.end(&mut out);
        out
    }

    fn chunks(deltas: &[Delta], options: Options) -> Vec<Value> {
        let bytes = events(deltas, options);
        let events: Vec<_> = sse::events(&bytes).map(sse::parse).collect();
        let (last, chunks) = events.split_last().unwrap();
        assert_eq!(last.data, b"[DONE]");
        chunks.iter().map(|event| serde_json::from_slice(&event.data).unwrap()).collect()
    }

    #[test]
    fn a_stream_has_its_role_first_and_its_usage_last() {
        let usage = Usage {
            prompt_tokens: Some(9),
            cached_tokens: Some(4),
            completion_tokens: Some(2),
            ..Usage::default()
        };
        let call = |id: &str| Delta::ToolCall { id: id.to_owned(), name: "f".to_owned() };
        let deltas = [
            Delta::Usage(Usage { prompt_tokens: Some(1), ..Usage::default() }),
            begin(),
            Delta::Reasoning("a".to_owned()),
            Delta::Reasoning("b".to_owned()),
            Delta::Blob(blob(Kind::Signature)),
            Delta::Text("c".to_owned()),
            call("1"),
            call("2"),
            Delta::Arguments("{}".to_owned()),
            Delta::Stop(Stop::Done),
            Delta::Usage(usage),
        ];
        let found = chunks(&deltas, Options { created: 7, usage: true });
        let frame = |choices: Value| json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": choices});
        let chunk = |delta: Value| frame(json!([{"index": 0, "delta": delta, "finish_reason": null}]));
        let started = |index: u64, id: &str| {
            chunk(
                json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": "f", "arguments": ""}}]}),
            )
        };
        let detail = json!({"type": "reasoning.text", "text": "ab", "signature": blob(Kind::Signature).to_text(),
            "format": "gatehouse-v1", "index": 0});
        let mut last = frame(json!([]));
        last["usage"] = json!({"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11, "prompt_tokens_details": {"cached_tokens": 4}});
        let expected = [
            chunk(json!({"role": "assistant", "content": ""})),
            chunk(json!({"reasoning_content": "a"})),
            chunk(json!({"reasoning_content": "b"})),
            chunk(json!({"reasoning_details": [detail]})),
            chunk(json!({"content": "c"})),
            started(0, "1"),
            started(1, "2"),
            chunk(json!({"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]})),
            frame(json!([{"index": 0, "delta": {}, "finish_reason": "tool_calls"}])),
            last,
        ];
        assert_eq!(found, expected);
        let found = chunks(&deltas, Options { created: 7, usage: false });
        assert_eq!(found, expected[..9]);
    }

    #[test]
    fn the_finish_reason_follows_from_the_pieces() {
        for (stop, has_calls, has_refusal, expected) in [
            (Stop::Done, false, false, "stop"),
            (Stop::Done, true, false, "tool_calls"),
            (Stop::Sequence(None), false, false, "stop"),
            (Stop::Pause, false, false, "stop"),
            (Stop::ToolCalls, true, false, "tool_calls"),
            (Stop::Length, true, false, "length"),
            (Stop::Refusal, false, false, "content_filter"),
            (Stop::Refusal, false, true, "stop"),
        ] {
            assert_eq!(finish_reason(&stop, has_calls, has_refusal), expected, "{stop:?}");
        }
    }

    #[test]
    fn a_whole_response_has_all_members() {
        let pieces = vec![
            Piece::Reasoning(Reasoning { text: String::new(), blob: Some(blob(Kind::Redacted)) }),
            Piece::Text("a".to_owned()),
            Piece::ToolCall(ToolCall {
                id: "1".to_owned(),
                name: "f".to_owned(),
                arguments: "{}".to_owned(),
            }),
            Piece::Text("b".to_owned()),
        ];
        let reply = Reply { pieces, stop: Some(Stop::ToolCalls), ..Reply::default() };
        let written = write_whole(&reply, "chatcmpl-1", "m", Options { created: 7, usage: false });
        let detail = json!({"type": "reasoning.encrypted", "data": blob(Kind::Redacted).to_text(), "format": "gatehouse-v1", "index": 0});
        let message = json!({"role": "assistant", "content": "ab", "refusal": null, "reasoning_details": [detail],
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
        let expected = json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": "m",
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": "tool_calls"}]});
        assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), expected);
        let empty = Reply { stop: Some(Stop::Done), ..Reply::default() };
        let written = write_whole(&empty, "x", "m", Options::default());
        let written: Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(written["choices"][0]["message"]["content"], "");
    }

    #[test]
    fn the_reasoning_that_a_client_echoes_has_its_blob() {
        for kind in [Kind::Signature, Kind::Redacted, Kind::Encrypted, Kind::Plain] {
            let text = if kind == Kind::Redacted { "" } else { "thought" };
            let deltas = [
                begin(),
                Delta::Reasoning(text.to_owned()),
                Delta::Blob(blob(kind)),
                Delta::Text("a".to_owned()),
                Delta::Stop(Stop::Done),
            ];
            let reply =
                Reply::of(deltas.iter().filter(|delta| **delta != Delta::Reasoning(String::new())).cloned());
            let whole = write_whole(&reply, "x", "m", Options::default());
            let whole: Value = serde_json::from_slice(&whole).unwrap();
            // A client that collects the fields of the deltas, lists by appending.
            let mut streamed =
                json!({"role": "assistant", "content": "", "reasoning_content": "", "reasoning_details": []});
            for chunk in chunks(&deltas, Options::default()) {
                let delta = &chunk["choices"][0]["delta"];
                for name in ["content", "reasoning_content"] {
                    let more = delta[name].as_str().unwrap_or_default();
                    streamed[name] = format!("{}{more}", streamed[name].as_str().unwrap()).into();
                }
                let details = delta["reasoning_details"].as_array().cloned().unwrap_or_default();
                streamed["reasoning_details"].as_array_mut().unwrap().extend(details);
            }
            for message in [whole["choices"][0]["message"].clone(), streamed] {
                let request = json!({"model": "m", "messages": [message]}).to_string();
                let conversation = super::super::super::conversation::read(request.as_bytes()).unwrap();
                let reasoning = Reasoning { text: text.to_owned(), blob: Some(blob(kind)) };
                assert_eq!(conversation.turns[0].parts[0].piece, Piece::Reasoning(reasoning), "{request}");
            }
        }
    }

    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z ]{1,8}", Just("\"\\\n\u{1}é\u{2028}".to_owned())]
    }

    /// A block of a response, as its deltas.
    fn any_block() -> impl Strategy<Value = Vec<Delta>> {
        let texts = || proptest::collection::vec(any_text(), 1..4);
        prop_oneof![
            texts().prop_map(|texts| texts.into_iter().map(Delta::Text).collect()),
            texts().prop_map(|texts| {
                let blob = Delta::Blob(Blob { kind: Kind::Plain, maker: maker(), data: String::new() });
                texts.into_iter().map(Delta::Reasoning).chain([blob]).collect()
            }),
            ("[a-z0-9]{1,9}", "[a-z_]{1,9}", any_text()).prop_map(|(id, name, value)| {
                let arguments = json!({"v": value}).to_string();
                let (start, end) = arguments.split_at(5);
                let pieces = [start, end].map(|piece| Delta::Arguments(piece.to_owned()));
                [Delta::ToolCall { id, name }].into_iter().chain(pieces).collect()
            }),
        ]
    }

    /// The deltas of a complete response: no two blocks of text or reasoning follow each other, and no two calls have one id.
    fn any_deltas() -> impl Strategy<Value = Vec<Delta>> {
        let length = any::<bool>();
        (proptest::collection::vec(any_block(), 1..5), length, 0u64..99).prop_map(
            |(blocks, is_cut, tokens)| {
                let mut deltas = vec![begin()];
                let mut last = None;
                let mut calls = 0;
                for block in blocks {
                    let kind = std::mem::discriminant(&block[0]);
                    if last == Some(kind) && !matches!(block[0], Delta::ToolCall { .. }) {
                        continue;
                    }
                    last = Some(kind);
                    deltas.extend(block.into_iter().map(|delta| match delta {
                        Delta::ToolCall { id, name } => {
                            calls += 1;
                            Delta::ToolCall { id: format!("{id}-{calls}"), name }
                        }
                        delta => delta,
                    }));
                }
                let usage =
                    Usage { prompt_tokens: Some(tokens), completion_tokens: Some(1), ..Usage::default() };
                let stop = match calls {
                    _ if is_cut => Stop::Length,
                    0 => Stop::Done,
                    _ => Stop::ToolCalls,
                };
                deltas.extend([Delta::Usage(usage), Delta::Stop(stop)]);
                deltas
            },
        )
    }

    fn without_blobs(deltas: impl IntoIterator<Item = Delta>) -> Vec<Delta> {
        deltas.into_iter().filter(|delta| !matches!(delta, Delta::Blob(_))).collect()
    }

    proptest! {
        /// The blobs of an upstream are marked on their way to the client, so only they differ.
        #[test]
        fn a_written_stream_is_read_as_the_same_deltas(deltas in any_deltas()) {
            let bytes = events(&deltas, Options { created: 1, usage: true });
            let mut reader = Reader::new(maker());
            let mut found = Vec::new();
            for event in sse::events(&bytes).map(sse::parse) {
                reader.event(&event.name, &event.data, &mut found);
            }
            prop_assert_eq!(without_blobs(found), without_blobs(deltas));
        }

        #[test]
        fn a_whole_response_is_the_fold_of_the_stream(deltas in any_deltas()) {
            let reply = Reply::of(deltas);
            let whole = write_whole(&reply, "chatcmpl-1", "m", Options::default());
            let found = Reply::of(read_whole(&whole, maker()).unwrap());
            // This format has one text, one reasoning and one list of calls.
            let parts = |reply: &Reply| {
                let mut parts = [String::new(), String::new(), String::new()];
                for piece in &reply.pieces {
                    match piece {
                        Piece::Text(text) => parts[0].push_str(text),
                        Piece::Reasoning(reasoning) => parts[1].push_str(&reasoning.text),
                        other => write!(parts[2], "{other:?}").unwrap(),
                    }
                }
                parts
            };
            prop_assert_eq!(parts(&found), parts(&reply));
            prop_assert_eq!((found.stop, found.usage), (reply.stop, reply.usage));
        }
    }
}
