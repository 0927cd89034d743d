//! Recorded traffic of Chat Completions through the neutral form, and between it and Messages.
//!
//! The recordings are not a part of the repository. The tests read them where `GATEHOUSE_SHARED` says, or from
//! `../shared` beside the repository, and are skipped with a message if they are not there.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gatehouse_core::catalog::Facts;
use gatehouse_core::conversation::carrier::Maker;
use gatehouse_core::conversation::delta::{Delta, Reply, Stop};
use gatehouse_core::conversation::{Conversation, Piece};
use gatehouse_core::format::anthropic_messages;
use gatehouse_core::format::openai_chat::{conversation, deltas};
use gatehouse_core::format::request::{Responder, Translation};
use gatehouse_core::format::stream::{Ending, Outcome, Relayed, StreamState};
use gatehouse_core::format::target::Target;
use gatehouse_core::format::translate;
use gatehouse_core::framing::sse;
use gatehouse_core::operation::Format;
use gatehouse_core::usage::Usage;
use serde_json::Value;

/// One recorded exchange.
struct Recording {
    name: String,
    document: Value,
}

/// The recordings of the folders whose names end with `suffix`.
fn recordings(suffix: &str) -> Vec<Recording> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("GATEHOUSE_SHARED").map_or(beside, PathBuf::from);
    let Ok(folders) = fs::read_dir(shared.join("data/recordings")) else {
        eprintln!("skipped: no data in {}", shared.display());
        return Vec::new();
    };
    let folders = folders.map(|entry| entry.unwrap().path());
    let folders = folders.filter(|path| path.to_str().unwrap().ends_with(suffix));
    let mut paths: Vec<PathBuf> =
        folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let document = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let folder = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        Recording { name: format!("{folder}/{}", path.file_stem().unwrap().to_str().unwrap()), document }
    };
    paths.into_iter().map(read).collect()
}

fn maker() -> Maker {
    Maker::of("acme", "m")
}

fn translation(caller: Format) -> Rc<Translation> {
    Rc::new(Translation {
        caller,
        maker: maker(),
        model: "m".to_owned(),
        id: "0".to_owned(),
        wants_usage: true,
        created: 1,
        aliases: [].into(),
        echo: None,
    })
}

fn responder() -> Responder {
    Responder {
        format: Format::ChatCompletions,
        hide_usage: false,
        ends_without_done: false,
        translation: None,
    }
}

/// Translates a stream of Chat Completions for a caller, in chunks of this size, and returns its bytes and its outcome.
fn relayed(sse: &[u8], caller: Format, size: usize) -> (String, StreamState) {
    let mut stream = translate::stream(&responder(), &translation(caller), "acme", None, 1 << 24).unwrap();
    let mut out = Vec::new();
    for chunk in sse.chunks(size) {
        match stream.push(chunk) {
            Relayed::AsIs => out.extend_from_slice(chunk),
            Relayed::Instead(bytes) => out.extend_from_slice(&bytes),
        }
    }
    out.extend_from_slice(&stream.end(Ending::Closed));
    (String::from_utf8(out).unwrap(), stream.state())
}

/// The deltas of a stream of Chat Completions.
fn read_stream(stream: &str) -> Vec<Delta> {
    let mut reader = deltas::Reader::new(maker());
    let mut out = Vec::new();
    for event in sse::events(stream.as_bytes()).map(sse::parse) {
        reader.event(&event.name, &event.data, &mut out);
    }
    out
}

/// The deltas of a stream of Messages.
fn read_messages(stream: &str) -> Vec<Delta> {
    let mut reader = anthropic_messages::deltas::Reader::new(maker());
    let mut out = Vec::new();
    for event in sse::events(stream.as_bytes()).map(sse::parse) {
        reader.event(&event.name, &event.data, &mut out);
    }
    out
}

/// The contents of a reply: text, reasoning, refusal, and calls with their arguments.
fn contents(reply: &Reply) -> [String; 4] {
    let mut parts = [const { String::new() }; 4];
    for piece in &reply.pieces {
        match piece {
            Piece::Text(text) => parts[0].push_str(text),
            Piece::Reasoning(reasoning) => parts[1].push_str(&reasoning.text),
            Piece::Refusal(text) => parts[2].push_str(text),
            Piece::ToolCall(call) => {
                writeln!(parts[3], "{} {} {}", call.id, call.name, call.arguments).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
    parts
}

/// The contents of the choice of a stream or of a whole response, read by hand.
fn recorded_contents(documents: &[Value]) -> [String; 4] {
    let mut parts = [const { String::new() }; 4];
    let mut calls: Vec<(Value, [String; 3])> = Vec::new();
    let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let choices =
        documents.iter().flat_map(|document| document["choices"].as_array().cloned().unwrap_or_default());
    for choice in choices.filter(|choice| choice["index"] == 0) {
        let message = if choice["delta"].is_object() { &choice["delta"] } else { &choice["message"] };
        match &message["content"] {
            Value::Array(items) => {
                for item in items {
                    parts[0] += &string(&item["text"]);
                    for item in item["thinking"].as_array().into_iter().flatten() {
                        parts[1] += &string(&item["text"]);
                    }
                }
            }
            content => parts[0] += &string(content),
        }
        parts[1] += &string(&message["reasoning_content"]);
        parts[1] += &string(&message["reasoning"]);
        parts[2] += &string(&message["refusal"]);
        for (place, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
            let index = if message["role"].is_string() && choice["message"].is_object() {
                place.into()
            } else {
                call["index"].clone()
            };
            let at = calls.iter().position(|(known, _)| *known == index).unwrap_or_else(|| {
                calls.push((index, [const { String::new() }; 3]));
                calls.len() - 1
            });
            let known = &mut calls[at].1;
            for (part, value) in
                known.iter_mut().zip([&call["id"], &call["function"]["name"], &call["function"]["arguments"]])
            {
                *part += &string(value);
            }
        }
    }
    for (_, [id, name, arguments]) in calls {
        let arguments = if arguments.is_empty() { "{}".to_owned() } else { arguments };
        writeln!(parts[3], "{id} {name} {arguments}").unwrap();
    }
    parts
}

#[test]
fn recorded_streams_are_read_completely_and_written_the_same_whatever_their_chunks() {
    let mut streams = 0;
    for Recording { name, document } in recordings("-chat") {
        let Some(stream) = document["response"]["sse"].as_str() else { continue };
        let data = stream.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim);
        let chunks: Vec<Value> = data.filter_map(|data| serde_json::from_str(data).ok()).collect();
        let has_error =
            stream.contains("event: error") || chunks.iter().any(|chunk| !chunk["error"].is_null());
        let (out, state) = relayed(stream.as_bytes(), Format::ChatCompletions, usize::MAX);
        let (messages, _) = relayed(stream.as_bytes(), Format::Messages, usize::MAX);
        for size in [1, 7, 100] {
            let torn = relayed(stream.as_bytes(), Format::ChatCompletions, size);
            assert_eq!(torn, (out.clone(), state), "{name} in chunks of {size}");
            let torn = relayed(stream.as_bytes(), Format::Messages, size);
            assert_eq!(torn, (messages.clone(), state), "{name} as Messages in chunks of {size}");
        }
        if has_error {
            assert_eq!(state, StreamState::Over(Outcome::UpstreamError), "{name}");
            continue;
        }
        assert_eq!(state, StreamState::Over(Outcome::Done), "{name}: {out}");
        let expected = recorded_contents(&chunks);
        let first = read_stream(stream);
        check_rules(&name, &first);
        let reply = Reply::of(first);
        assert_eq!(contents(&reply), expected, "{name}");
        let second = Reply::of(read_stream(&out));
        assert_eq!(contents(&second), expected, "{name}, written");
        assert_eq!(
            (second.stop, counted(second.usage)),
            (reply.stop.clone(), counted(reply.usage)),
            "{name}"
        );
        let third = Reply::of(read_messages(&messages));
        let (mut in_messages, mut fitted) = (contents(&third), expected.clone());
        // A refusal has no block: it is the explanation of the end.
        in_messages[2].clear();
        fitted[2].clear();
        assert_eq!(in_messages, fitted, "{name} as Messages");
        assert_eq!(
            (third.stop.clone(), third.usage.prompt_tokens),
            // Unknown numbers are 0 there.
            (reply.stop.clone(), reply.usage.prompt_tokens.or(Some(0))),
            "{name} as Messages"
        );
        let whole = deltas::write_whole(&reply, "x", "m", deltas::Options::default());
        let whole = Reply::of(deltas::read_whole(&whole, maker()).unwrap());
        assert_eq!((contents(&whole), whole.stop), (expected, reply.stop), "{name}, whole");
        streams += 1;
    }
    println!("{streams} streams");
}

/// The usage without the tokens of images, which this format does not state.
fn counted(usage: Usage) -> Usage {
    Usage { image_tokens: None, cache_write_1h_tokens: None, ..usage }
}

/// The rules that `conversation::delta` states.
fn check_rules(name: &str, deltas: &[Delta]) {
    assert!(matches!(deltas.first(), Some(Delta::Begin { .. })), "{name}: {:?}", deltas.first());
    let content = deltas.iter().filter(|delta| !matches!(delta, Delta::Usage(_))).collect::<Vec<_>>();
    assert!(matches!(content.last(), Some(Delta::Stop(_))), "{name}");
    assert_eq!(
        content.iter().filter(|delta| matches!(delta, Delta::Stop(_) | Delta::Begin { .. })).count(),
        2,
        "{name}"
    );
    for pair in content.windows(2) {
        let is_within = matches!(pair[0], Delta::ToolCall { .. } | Delta::Arguments(_));
        assert!(!matches!(pair[1], Delta::Arguments(_)) || is_within, "{name}: {pair:?}");
    }
}

#[test]
fn recorded_whole_responses_are_read_completely_and_written_the_same() {
    let mut bodies = 0;
    for Recording { name, document } in recordings("-chat") {
        let body = &document["response"]["body"];
        if !body["choices"].is_array() {
            continue;
        }
        let text = body.to_string();
        let expected = recorded_contents(std::slice::from_ref(body));
        let reply = Reply::of(deltas::read_whole(text.as_bytes(), maker()).unwrap());
        assert_eq!(contents(&reply), expected, "{name}");
        let whole = translate::whole(
            &responder(),
            &translation(Format::ChatCompletions),
            "acme",
            text.as_bytes(),
            None,
        )
        .unwrap();
        let again = Reply::of(deltas::read_whole(&whole.translated.unwrap(), maker()).unwrap());
        assert_eq!(
            (contents(&again), again.stop, counted(again.usage)),
            (expected, reply.stop, counted(reply.usage)),
            "{name}"
        );
        bodies += 1;
    }
    println!("{bodies} whole responses");
}

#[test]
fn recorded_messages_are_written_as_chat_completions_and_read_the_same() {
    let mut responses = 0;
    for Recording { name, document } in recordings("anthropic-messages") {
        let response = &document["response"];
        let first = match response["sse"].as_str() {
            Some(stream) => read_messages(stream),
            None => anthropic_messages::deltas::read_whole(response["body"].to_string().as_bytes(), maker())
                .unwrap_or_default(),
        };
        let reply = Reply::of(first.clone());
        // Errors, and responses of other endpoints.
        let Some(stop) = reply.stop.clone() else { continue };
        let options = deltas::Options { created: 1, usage: true };
        let mut writer = deltas::Writer::new("x", "m", options);
        let mut stream = Vec::new();
        for delta in first {
            writer.write(delta, &mut stream);
        }
        writer.end(&mut stream);
        let streamed = Reply::of(read_stream(&String::from_utf8(stream).unwrap()));
        let whole = deltas::write_whole(&reply, "x", "m", options);
        let whole = Reply::of(deltas::read_whole(&whole, maker()).unwrap());
        // What this format has no word for.
        let stop = match stop {
            Stop::Sequence(_) | Stop::Pause => Stop::Done,
            stop => stop,
        };
        for found in [streamed, whole] {
            assert_eq!(contents(&found), contents(&reply), "{name}");
            assert_eq!(
                (found.stop, counted(found.usage)),
                (Some(stop.clone()), counted(reply.usage)),
                "{name}"
            );
        }
        responses += 1;
    }
    println!("{responses} responses of Messages");
}

#[test]
fn recorded_requests_are_read_and_what_is_written_is_read_the_same() {
    let (mut read, mut rejected) = (0, Vec::new());
    for Recording { name, document } in recordings("-chat") {
        let body = &document["request"]["body"];
        if !body["messages"].is_array() {
            continue;
        }
        let first = match conversation::read(body.to_string().as_bytes()) {
            Ok(first) => first,
            Err(error) => {
                rejected.push(format!("{name}: {}", error.message));
                continue;
            }
        };
        // A provider that takes files and marks of caches, so that nothing is lost.
        let facts = Facts { reasoning: Some(true), ..Facts::default() };
        let target = Target {
            provider: "openrouter",
            model: "m",
            facts,
            maker: maker(),
            stream: false,
            output_limit: None,
        };
        let (written, _) = conversation::write(&first, &target).unwrap();
        let second = conversation::read(&written).unwrap();
        assert_eq!(essence(&second), essence(&first), "{name}");
        read += 1;
    }
    println!("{read} requests; rejected: {rejected:#?}");
}

/// The parts that a round trip keeps: roles, texts joined, calls and results, tools, without reasoning of unknown makers.
fn essence(conversation: &Conversation) -> Vec<String> {
    let mut found = Vec::new();
    for turn in &conversation.turns {
        let mut texts = Vec::new();
        for part in &turn.parts {
            match &part.piece {
                Piece::Text(text) => texts.push(text.as_str()),
                Piece::Reasoning(_) => {}
                Piece::ToolResult(result) => {
                    let content: Vec<&str> = result
                        .content
                        .iter()
                        .filter_map(|piece| match piece {
                            Piece::Text(text) => Some(text.as_str()),
                            _ => None,
                        })
                        .collect();
                    found.push(format!("{} {}", result.call_id, content.join("\n\n")));
                }
                // A document without a name gets one.
                Piece::Document(document) => found.push(format!("{:?}", document.content)),
                piece => found.push(format!("{piece:?}")),
            }
        }
        found.push(format!("{:?} {}", turn.role, texts.join("\n\n")));
    }
    found.extend(conversation.tools.iter().map(|tool| tool.name.clone()));
    found.push(format!("{:?}", conversation.tool_choice.as_ref().filter(|_| !conversation.tools.is_empty())));
    found
}
