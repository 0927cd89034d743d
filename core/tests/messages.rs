//! Recorded traffic of the Messages API through its readers and writers.
//!
//! The recordings are not a part of the repository. The tests read them where `GATEHOUSE_SHARED` says, or from
//! `../shared` beside the repository, and are skipped with a message if they are not there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gatehouse_core::catalog::Facts;
use gatehouse_core::conversation::carrier::{self, Maker};
use gatehouse_core::conversation::delta::{Delta, Reply};
use gatehouse_core::conversation::{Conversation, Piece, Role, Sampling};
use gatehouse_core::error::Code;
use gatehouse_core::format::anthropic_messages::conversation::{read, write};
use gatehouse_core::format::anthropic_messages::deltas::{Reader, Writer, read_whole, write_whole};
use gatehouse_core::format::target::Target;
use serde_json::{Value, json};

/// The JSON files of a folder of the shared data, by name; `None` if it is not here.
fn shared(folder: &str) -> Option<BTreeMap<String, Value>> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("GATEHOUSE_SHARED").map_or(beside, PathBuf::from);
    let Ok(entries) = fs::read_dir(shared.join("data").join(folder)) else {
        eprintln!("skipped: no data in {}", shared.display());
        return None;
    };
    let read = |path: PathBuf| {
        let name = path.file_stem()?.to_str()?.to_owned();
        (path.extension()? == "json")
            .then(|| (name, serde_json::from_slice(&fs::read(path).unwrap()).unwrap()))
    };
    Some(entries.filter_map(|entry| read(entry.unwrap().path())).collect())
}

fn maker() -> Maker {
    Maker::of("anthropic", "claude")
}

/// The events of a stream: name and data. Some recordings have a second response behind the first, which is left out.
fn events(stream: &str) -> Vec<(String, Value)> {
    const END: &str = "event: message_stop";
    let end = stream.find(END).map_or(stream.len(), |at| at + stream[at..].find("\n\n").unwrap_or(END.len()));
    stream[..end]
        .split("\n\n")
        .filter_map(|event| {
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            Some((field("event:")?.to_owned(), serde_json::from_str(field("data:")?).unwrap()))
        })
        .collect()
}

fn read_events(events: &[(String, Value)]) -> Vec<Delta> {
    let mut reader = Reader::new(maker());
    let mut deltas = Vec::new();
    for (name, data) in events {
        reader.event(name.as_bytes(), data.to_string().as_bytes(), &mut deltas);
    }
    deltas
}

/// The message that a stream makes, as Anthropic's SDKs put it together; of the usage with the largest numbers.
fn put_together(events: &[(String, Value)]) -> Value {
    let mut message = Value::Null;
    let mut arguments = String::new();
    for (name, data) in events {
        let block = data["index"].as_u64().map(|index| usize::try_from(index).unwrap());
        match name.as_str() {
            "message_start" => message = data["message"].clone(),
            "content_block_start" => {
                arguments.clear();
                message["content"].as_array_mut().unwrap().push(data["content_block"].clone());
            }
            "content_block_delta" => {
                for name in ["text", "thinking", "signature"] {
                    if let Some(more) = data["delta"][name].as_str() {
                        let field = &mut message["content"][block.unwrap()][name];
                        *field = json!(format!("{}{more}", field.as_str().unwrap_or_default()));
                    }
                }
                arguments.push_str(data["delta"]["partial_json"].as_str().unwrap_or_default());
            }
            "content_block_stop" if !arguments.is_empty() => {
                message["content"][block.unwrap()]["input"] = serde_json::from_str(&arguments).unwrap();
            }
            "message_delta" => {
                for (name, value) in data["delta"].as_object().unwrap() {
                    message[name] = value.clone();
                }
                for (name, value) in data["usage"].as_object().unwrap() {
                    let known = &mut message["usage"][name];
                    if !value.is_null() && known.as_u64() <= value.as_u64().or(known.as_u64()) {
                        *known = value.clone();
                    }
                }
            }
            _ => {}
        }
    }
    message
}

/// The reply with its arguments in one spelling, and unknown usage as 0, which is how Messages writes it.
fn comparable(mut reply: Reply) -> Reply {
    for piece in &mut reply.pieces {
        if let Piece::ToolCall(call) = piece {
            let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
            call.arguments = arguments.to_string();
        }
    }
    let usage = &mut reply.usage;
    let counts = [
        &mut usage.prompt_tokens,
        &mut usage.cached_tokens,
        &mut usage.cache_write_tokens,
        &mut usage.completion_tokens,
    ];
    for count in counts {
        count.get_or_insert(0);
    }
    reply
}

/// Writes a reply as a stream, checks the stream, and reads it again.
fn through_a_stream(deltas: Vec<Delta>, model: &str) -> Reply {
    let mut writer = Writer::new("msg_own".to_owned(), model.to_owned());
    let mut stream = Vec::new();
    for delta in deltas {
        writer.write(delta, &mut stream);
    }
    writer.end(&mut stream);
    let events = events(std::str::from_utf8(&stream).unwrap());
    let starts = events.iter().filter(|(name, _)| name == "content_block_start");
    for (index, (_, start)) in starts.enumerate() {
        assert_eq!(start["index"], json!(index));
    }
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.first(), Some(&"message_start"));
    assert_eq!(&names[names.len() - 2..], ["message_delta", "message_stop"]);
    assert_eq!(names.iter().filter(|name| **name == "message_delta").count(), 1);
    Reply::of(read_events(&events))
}

#[test]
fn recorded_streams_and_whole_messages_say_the_same_in_every_form() {
    let Some(recordings) = shared("recordings/anthropic-messages") else { return };
    let (mut streams, mut wholes) = (0, 0);
    for (name, recording) in &recordings {
        let response = &recording["response"];
        let deltas = if let Some(stream) = response["sse"].as_str() {
            streams += 1;
            let events = events(stream);
            let deltas = read_events(&events);
            let whole = put_together(&events).to_string();
            let whole = Reply::of(read_whole(whole.as_bytes(), maker()).unwrap());
            assert_eq!(comparable(Reply::of(deltas.clone())), comparable(whole), "{name}");
            deltas
        } else if response["body"]["type"] == "message" {
            wholes += 1;
            read_whole(response["body"].to_string().as_bytes(), maker()).unwrap()
        } else {
            assert_eq!(read_whole(response["body"].to_string().as_bytes(), maker()), None, "{name}");
            continue;
        };
        let reply = comparable(Reply::of(deltas.clone()));
        assert!(reply.stop.is_some(), "{name}");
        assert_eq!(reply.stop.clone().unwrap().fitting(reply.has_tool_calls()), reply.stop.clone().unwrap());
        let model = reply.model.clone().unwrap();
        let whole = write_whole(&reply, "msg_own", &model);
        let again = Reply::of(read_whole(&whole, maker()).unwrap());
        assert_eq!(comparable(again), reply, "{name}: whole");
        assert_eq!(comparable(through_a_stream(deltas, &model)), reply, "{name}: stream");
    }
    assert!(streams > 10 && wholes > 10, "{streams} streams, {wholes} whole messages");
    eprintln!("{streams} streams and {wholes} whole messages passed");
}

/// The content of a request without the fields that the writer may change for the model, and without blank texts.
fn essence(conversation: &Conversation) -> Conversation {
    let mut conversation = conversation.clone();
    for turn in &mut conversation.turns {
        turn.parts.retain(|part| !matches!(&part.piece, Piece::Text(text) if text.trim().is_empty()));
    }
    Conversation {
        dropped: Vec::new(),
        thinking: None,
        sampling: Sampling::default(),
        ..conversation.clone()
    }
}

#[test]
fn recorded_requests_survive_a_round_trip() {
    let Some(recordings) = shared("recordings/anthropic-messages") else { return };
    let (mut passed, mut rejected) = (0, Vec::new());
    for (name, recording) in &recordings {
        let request = &recording["request"];
        let is_count = request["path"].as_str().is_some_and(|path| path.contains("count_tokens"));
        if !request["body"].is_object() || is_count {
            continue;
        }
        let model = request["body"]["model"].as_str().unwrap();
        let target = target(model);
        let conversation = match read(request["body"].to_string().as_bytes()) {
            Ok(conversation) => conversation,
            Err(error) => {
                assert!(error.is(Code::UnsupportedParameter) && error.param.is_some(), "{name}: {error:?}");
                rejected.push(name);
                continue;
            }
        };
        let written = match write(&conversation, &target) {
            Ok((body, _)) => body,
            Err(error) => {
                assert!(error.is(Code::UnsupportedParameter), "{name}: {error:?}");
                rejected.push(name);
                continue;
            }
        };
        let again = read(&written).unwrap();
        assert_eq!(essence(&again), essence(&conversation), "{name}");
        let twice = write(&again, &target).unwrap().0;
        assert_eq!(String::from_utf8(twice).unwrap(), String::from_utf8(written).unwrap(), "{name}");
        passed += 1;
    }
    assert!(passed > 10, "{passed} requests");
    eprintln!("{passed} requests passed; rejected: {rejected:?}");
}

/// The thinking that a recorded request asks for, as the writer asks for it: only its display may differ.
#[test]
fn recorded_thinking_is_asked_for_again() {
    let Some(recordings) = shared("recordings/anthropic-messages") else { return };
    let mut passed = 0;
    for (name, recording) in &recordings {
        let body = &recording["request"]["body"];
        let kind = &body["thinking"]["type"];
        // No thinking goes before a message of the assistant that the model continues.
        let is_continued =
            body["messages"].as_array().and_then(|all| all.last()?["role"].as_str()) == Some("assistant");
        if kind.is_null() || body["mcp_servers"].is_array() || is_continued {
            continue;
        }
        let conversation = read(body.to_string().as_bytes()).unwrap();
        let (written, _) = write(&conversation, &target(body["model"].as_str().unwrap())).unwrap();
        let written: Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(&written["thinking"]["type"], kind, "{name}");
        assert_eq!(written["thinking"]["budget_tokens"], body["thinking"]["budget_tokens"], "{name}");
        assert_eq!(written["output_config"]["effort"], body["output_config"]["effort"], "{name}");
        passed += 1;
    }
    assert!(passed > 5, "{passed} requests");
}

/// A client echoes what it got: the last message of the assistant in a recorded follow-up request has the pieces of
/// the recorded response before it.
#[test]
fn recorded_responses_come_back_in_the_next_request() {
    let Some(recordings) = shared("recordings/anthropic-messages") else { return };
    let mut passed = 0;
    for (name, recording) in &recordings {
        let Some((stem, number)) = name.rsplit_once('.') else { continue };
        let next =
            number.parse::<u32>().ok().and_then(|number| recordings.get(&format!("{stem}.{}", number + 1)));
        let (Some(next), Some(body)) = (next, recording["response"].get("body")) else { continue };
        let Ok(request) = read(next["request"]["body"].to_string().as_bytes()) else { continue };
        let reply = Reply::of(read_whole(body.to_string().as_bytes(), carrier::unmarked()).unwrap());
        let last = request.turns.iter().rev().find(|turn| turn.role == Role::Assistant);
        let echoed: Vec<Piece> =
            last.into_iter().flat_map(|turn| &turn.parts).map(|part| part.piece.clone()).collect();
        assert_eq!(joined(echoed), joined(comparable(reply).pieces), "{name}");
        passed += 1;
    }
    assert!(passed > 5, "{passed} responses");
    eprintln!("{passed} responses came back");
}

/// The pieces with neighbouring texts as one, as a response has them.
fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (joined.last_mut(), piece) {
            (Some(Piece::Text(text)), Piece::Text(more)) => text.push_str(&more),
            (_, piece) => joined.push(piece),
        }
    }
    joined
}

/// The requests that recorded clients of the Messages API send.
#[test]
fn the_requests_of_real_clients_are_read_and_written() {
    let Some(clients) = shared("clients") else { return };
    let mut passed = 0;
    for (name, exchanges) in &clients {
        for exchange in exchanges.as_array().into_iter().flatten() {
            let is_messages = exchange["request"].as_str().is_some_and(|line| {
                line.starts_with("POST") && line.contains("/v1/messages") && !line.contains("count_tokens")
            });
            let body = match &exchange["body"] {
                Value::String(text) => text.clone(),
                body => body.to_string(),
            };
            if !is_messages {
                continue;
            }
            let conversation = read(body.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            let attribution = |piece: &Piece| matches!(piece, Piece::Text(text) if text.starts_with("x-anthropic-billing-header"));
            assert!(
                !conversation.turns.iter().flat_map(|turn| &turn.parts).any(|part| attribution(&part.piece))
            );
            let (written, _) = write(&conversation, &target("claude-opus-4-8")).unwrap();
            assert_eq!(essence(&read(&written).unwrap()), essence(&conversation), "{name}");
            passed += 1;
        }
    }
    assert!(passed > 5, "{passed} requests");
    eprintln!("{passed} requests of clients passed");
}

/// An Anthropic lane; recorded blobs have no mark.
fn target(model: &str) -> Target<'_> {
    Target {
        provider: "anthropic",
        model,
        facts: Facts::default(),
        maker: carrier::unmarked(),
        stream: false,
        output_limit: None,
    }
}
