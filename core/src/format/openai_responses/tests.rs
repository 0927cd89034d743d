//! Round trips of requests and responses, with recorded traffic and with generated responses.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::conversation;
use super::deltas::{self, Echo, Reader, Writer, read_whole, write_whole};
use crate::catalog::{Efforts, Facts};
use crate::conversation::carrier::{Blob, Kind, Maker};
use crate::conversation::delta::{Delta, Reply, Stop};
use crate::conversation::{
    Effort, Media, Output, Piece, Reasoning, Role, ServiceTier, Thinking, ToolCall, ToolChoice,
};
use crate::error::{Code, Error, Meaning};
use crate::format::target::Target;
use crate::format::upstream_error;
use crate::format::{anthropic_messages, openai_chat};
use crate::framing::sse;
use crate::usage::Usage;

/// Recordings whose source left out a part of the text.
const SHORTENED: [&str; 2] = ["openai-phase.1.stream.json", "openai-shell-container.1.stream.json"];
const ID: &str = "01JABCDEF";

fn maker() -> Maker {
    Maker::of("openai", "gpt-5")
}

fn target() -> Target<'static> {
    Target {
        provider: "openai",
        model: "gpt-5",
        facts: Facts { reasoning: Some(true), ..Facts::default() },
        maker: maker(),
        stream: false,
        output_limit: None,
    }
}

/// A folder of the shared data, which is not a part of the repository: it is where `GATEHOUSE_SHARED` says, or in
/// `../shared` beside the repository. `None` if it is not there.
fn shared(folder: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("GATEHOUSE_SHARED").map_or(beside, PathBuf::from);
    Some(shared.join("data").join(folder)).filter(|folder| folder.is_dir())
}

/// The recordings, with their file names; none if the shared data is not there.
fn recordings() -> Vec<(String, Value)> {
    let mut folders = Vec::new();
    let providers = ["openai", "xai", "openrouter", "deepseek"];
    let all = providers.map(|provider| format!("recordings/{provider}-responses"));
    folders.extend(all.iter().map(String::as_str).chain(["clients"]).filter_map(shared));
    let mut found = Vec::new();
    for folder in &folders {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                match serde_json::from_slice(&fs::read(&path).unwrap()).unwrap() {
                    // The requests of a client.
                    Value::Array(list) => {
                        let sent = list.iter().filter(|sent| {
                            sent["request"].as_str().is_some_and(|line| line.contains("/responses "))
                        });
                        found.extend(
                            sent.map(|sent| (name.clone(), json!({ "request": { "body": sent["body"] } }))),
                        );
                    }
                    value => found.push((name, value)),
                }
            }
        }
    }
    if folders.is_empty() {
        eprintln!("skipped: the shared data is not there");
    } else {
        assert!(found.len() > 10);
    }
    found
}

/// The streams in a recording: the events of each, as names and data.
fn streams(recording: &Value) -> Vec<Vec<sse::Event>> {
    let text = recording["response"]["sse"].as_str().unwrap_or_default();
    let mut streams: Vec<Vec<sse::Event>> = Vec::new();
    for event in sse::events(text.as_bytes()).map(sse::parse).filter(|event| !event.data.is_empty()) {
        let kind = serde_json::from_slice::<Value>(&event.data).unwrap_or_default()["type"].clone();
        if streams.is_empty() || kind == "response.created" {
            streams.push(Vec::new());
        }
        streams.last_mut().unwrap().push(event);
    }
    streams
}

fn events(bytes: &[u8]) -> Vec<sse::Event> {
    sse::events(bytes).map(sse::parse).filter(|event| !event.data.is_empty()).collect()
}

fn read_stream(events: &[sse::Event]) -> Vec<Delta> {
    let mut reader = Reader::new(maker());
    let mut out = Vec::new();
    for event in events {
        reader.event(&event.name, &event.data, &mut out);
    }
    out
}

fn data(event: &sse::Event) -> Value {
    serde_json::from_slice(&event.data).unwrap_or_default()
}

fn echo(request: &Value) -> Rc<Echo> {
    Rc::new(Echo::read(request.to_string().as_bytes()))
}

fn write_stream(deltas: impl IntoIterator<Item = Delta>, echo: Rc<Echo>) -> Vec<u8> {
    let mut writer = Writer::new(echo, ID, "gpt-5", 1);
    let mut out = Vec::new();
    for delta in deltas {
        writer.write(delta, &mut out);
    }
    writer.end(&mut out);
    out
}

/// The response without what the format cannot say: the id of the upstream, missing numbers, reasons that are all `completed`.
fn normal(mut reply: Reply) -> Reply {
    reply.id = None;
    let refuses = reply.pieces.iter().any(|piece| matches!(piece, Piece::Refusal(_)));
    let has_calls = reply.has_tool_calls();
    reply.stop = reply.stop.map(|stop| match stop {
        Stop::Length => Stop::Length,
        _ if has_calls => Stop::ToolCalls,
        Stop::Refusal => Stop::Refusal,
        _ if refuses => Stop::Refusal,
        _ => Stop::Done,
    });
    let usage = &mut reply.usage;
    // No word for it in this format.
    usage.cache_write_1h_tokens = None;
    if *usage != Usage::default() {
        for number in [
            &mut usage.prompt_tokens,
            &mut usage.cached_tokens,
            &mut usage.cache_write_tokens,
            &mut usage.completion_tokens,
            &mut usage.reasoning_tokens,
        ] {
            *number = Some(number.unwrap_or(0));
        }
        usage.image_tokens = None;
    }
    reply
}

/// Checks the grammar of a stream, and returns its last response.
fn check_grammar(events: &[sse::Event]) -> Value {
    let mut done: Vec<Value> = Vec::new();
    let mut open: Option<Value> = None;
    let mut written = String::new();
    for (number, event) in events.iter().enumerate() {
        let value = data(event);
        let kind = value["type"].as_str().unwrap();
        assert_eq!(kind.as_bytes(), event.name);
        assert_eq!(value["sequence_number"], number);
        match (number, kind) {
            (0, _) => assert_eq!(kind, "response.created"),
            (1, _) => assert_eq!(kind, "response.in_progress"),
            (_, "response.output_item.added") => {
                assert!(open.is_none(), "items overlap");
                assert_eq!(value["output_index"], done.len());
                open = Some(value["item"].clone());
                written.clear();
            }
            (_, "response.output_item.done") => {
                let item = &value["item"];
                let (begun, index) = (open.take().unwrap(), &value["output_index"]);
                assert_eq!(
                    (&begun["id"], &begun["type"], index),
                    (&item["id"], &item["type"], &json!(done.len()))
                );
                done.push(item.clone());
            }
            (_, "response.completed" | "response.incomplete" | "response.failed") => {
                assert_eq!(number, events.len() - 1);
                assert_eq!(value["response"]["status"], kind.strip_prefix("response.").unwrap());
            }
            _ => {
                let item = open.as_ref().unwrap();
                assert_eq!(
                    (&value["item_id"], &value["output_index"]),
                    (&item["id"], &json!(done.len())),
                    "{kind}"
                );
                if let Some(delta) = value["delta"].as_str() {
                    written.push_str(delta);
                }
                for name in ["text", "refusal", "arguments", "input"] {
                    if let Some(whole) = value[name].as_str() {
                        assert_eq!(whole, written, "{kind}");
                    }
                }
                if kind == "response.content_part.done" {
                    written.clear();
                }
            }
        }
    }
    let last = data(events.last().unwrap())["response"].clone();
    assert_eq!(last["output"].as_array().unwrap(), &done);
    last
}

#[test]
fn recorded_streams_are_the_sum_of_their_last_response() {
    let mut count = 0;
    for (name, recording) in recordings() {
        if SHORTENED.contains(&name.as_str()) {
            continue;
        }
        for stream in streams(&recording) {
            let mut reply = Reply::of(read_stream(&stream));
            let last = stream.iter().rev().map(data).find(|event| event["response"].is_object()).unwrap();
            let response = &last["response"];
            if last["type"] == "response.failed" {
                assert_eq!(reply.stop, None, "{name}");
                continue;
            }
            let mut whole = Reply::of(read_whole(response.to_string().as_bytes(), maker()).unwrap());
            if response["output"].as_array().unwrap().is_empty() {
                // A stream whose last response is empty is complete for itself.
                (whole.pieces, whole.stop) = (reply.pieces.clone(), reply.stop.clone());
            }
            // OpenAI encrypts reasoning anew for the last event.
            for (streamed, whole) in reply.pieces.iter_mut().zip(&whole.pieces) {
                if let Piece::Reasoning(Reasoning { blob: Some(streamed), .. }) = streamed
                    && let Piece::Reasoning(Reasoning { blob: Some(whole), .. }) = whole
                {
                    streamed.data.clone_from(&whole.data);
                }
            }
            assert!(reply.stop.is_some(), "{name}");
            // Some upstreams change the id of the response with every event.
            whole.id.clone_from(&reply.id);
            assert_eq!(reply, whole, "{name}");
            count += 1;
        }
    }
    println!("{count} streams");
    assert!(count >= 8 || recordings().is_empty());
}

#[test]
fn recorded_responses_survive_being_written_and_read() {
    let mut count = 0;
    for (name, recording) in recordings() {
        let body = &recording["response"]["body"];
        let mut replies: Vec<Reply> =
            streams(&recording).iter().map(|stream| Reply::of(read_stream(stream))).collect();
        if body["object"] == "response" {
            replies.push(Reply::of(read_whole(body.to_string().as_bytes(), maker()).unwrap()));
        } else if body.is_object() {
            assert!(
                read_whole(body.to_string().as_bytes(), maker()).is_none_or(|_| body["output"].is_array())
            );
        }
        for reply in replies.into_iter().filter(|reply| reply.stop.is_some()) {
            let written = write_whole(&reply, echo(&json!({})), ID, "gpt-5", 1);
            let again = Reply::of(read_whole(&written, maker()).unwrap());
            assert_eq!(normal(again), normal(reply.clone()), "{name}");
            let stream = events(&write_stream(deltas_of(&reply, 3), echo(&json!({}))));
            assert_eq!(check_grammar(&stream), serde_json::from_slice::<Value>(&written).unwrap(), "{name}");
            count += 1;
        }
    }
    println!("{count} responses");
    assert!(count >= 10 || recordings().is_empty());
}

#[test]
fn recordings_of_other_formats_become_responses() {
    let mut count = 0;
    for (format, folder) in [
        ("messages", "recordings/anthropic-messages"),
        ("chat", "recordings/openai-chat"),
        ("chat", "recordings/deepseek-chat"),
    ] {
        let Some(folder) = shared(folder) else {
            eprintln!("skipped: no {folder}");
            continue;
        };
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let recording: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let text = recording["response"]["sse"].as_str().unwrap_or_default();
            let whole = recording["response"]["body"].to_string();
            let mut deltas = Vec::new();
            if format == "messages" {
                let mut reader = anthropic_messages::deltas::Reader::new(maker());
                for event in events(text.as_bytes()) {
                    reader.event(&event.name, &event.data, &mut deltas);
                }
                if text.is_empty() {
                    deltas =
                        anthropic_messages::deltas::read_whole(whole.as_bytes(), maker()).unwrap_or_default();
                }
            } else {
                let mut reader = openai_chat::deltas::Reader::new(maker());
                for event in events(text.as_bytes()) {
                    reader.event(&event.name, &event.data, &mut deltas);
                }
                if text.is_empty() {
                    deltas = openai_chat::deltas::read_whole(whole.as_bytes(), maker()).unwrap_or_default();
                }
            }
            let reply = Reply::of(deltas.clone());
            if reply.stop.is_none() {
                continue;
            }
            let stream = events(&write_stream(deltas, echo(&json!({}))));
            let response = check_grammar(&stream);
            assert_eq!(normal(Reply::of(read_stream(&stream))), normal(reply.clone()), "{}", path.display());
            // What the caller sends back is what the model said.
            let next = json!({ "input": response["output"] });
            let conversation = conversation::read(next.to_string().as_bytes()).unwrap();
            let pieces: Vec<Piece> =
                conversation.turns.into_iter().flat_map(|turn| turn.parts).map(|part| part.piece).collect();
            assert_eq!(pieces, reply.pieces, "{}", path.display());
            count += 1;
        }
    }
    println!("{count} responses of other formats");
}

#[test]
fn recorded_requests_are_written_in_other_formats() {
    let mut count = 0;
    for (name, recording) in recordings() {
        let body = recording["request"]["body"].to_string();
        let Ok(conversation) = conversation::read(body.as_bytes()) else { continue };
        for written in [
            anthropic_messages::conversation::write(&conversation, &target()),
            openai_chat::conversation::write(&conversation, &target()),
        ] {
            match written {
                Ok((body, _)) => {
                    let body: Value = serde_json::from_slice(&body).unwrap();
                    assert!(
                        body["messages"].as_array().is_some_and(|messages| !messages.is_empty()),
                        "{name}"
                    );
                    count += 1;
                }
                Err(error) => println!("{name}: {:?} {}", error.param, error.message),
            }
        }
    }
    println!("{count} requests in other formats");
    assert!(count >= 8 || recordings().is_empty());
}

/// The deltas of a response, with texts in pieces of some characters.
fn deltas_of(reply: &Reply, size: usize) -> Vec<Delta> {
    let pieces = |text: &str| {
        let chars: Vec<char> = text.chars().collect();
        chars.chunks(size).map(|chunk| chunk.iter().collect()).collect::<Vec<String>>()
    };
    let mut deltas = vec![Delta::Begin { id: reply.id.clone(), model: reply.model.clone() }];
    for piece in &reply.pieces {
        match piece {
            Piece::Text(text) => deltas.extend(pieces(text).into_iter().map(Delta::Text)),
            Piece::Refusal(text) => deltas.extend(pieces(text).into_iter().map(Delta::Refusal)),
            Piece::Reasoning(Reasoning { text, blob }) => {
                deltas.extend(pieces(text).into_iter().map(Delta::Reasoning));
                deltas.extend(blob.clone().map(Delta::Blob));
            }
            Piece::ToolCall(ToolCall { id, name, arguments }) => {
                deltas.push(Delta::ToolCall { id: id.clone(), name: name.clone() });
                deltas.extend(pieces(arguments).into_iter().map(Delta::Arguments));
            }
            piece => panic!("{piece:?}"),
        }
    }
    deltas.extend(reply.stop.clone().map(Delta::Stop));
    deltas.push(Delta::Usage(reply.usage));
    deltas
}

/// Marks encrypted reasoning as that of the target, as the gateway does before a caller sees it.
fn marked(body: &Value) -> Value {
    let mut body = body.clone();
    for item in body["input"].as_array_mut().into_iter().flatten() {
        if let Some(data) = item["encrypted_content"].as_str().filter(|_| item["type"] == "reasoning") {
            let blob = Blob { kind: Kind::Encrypted, maker: maker(), data: data.to_owned() };
            item["encrypted_content"] = blob.to_text().into();
        }
    }
    body
}

#[test]
fn recorded_requests_are_stable_under_reading_and_writing() {
    let (mut count, mut rejected) = (0, 0);
    for (name, recording) in recordings() {
        let body = &recording["request"]["body"];
        if !body.is_object() || body["input"].is_null() {
            continue;
        }
        let read = |body: &Value| conversation::read(marked(body).to_string().as_bytes());
        let conversation = match read(body) {
            Ok(conversation) => conversation,
            Err(error) => {
                assert!(error.is(Code::UnsupportedParameter), "{name}: {error:?}");
                println!("{name}: {}: {}", error.param.unwrap(), error.message);
                rejected += 1;
                continue;
            }
        };
        let (first, changed) = conversation::write(&conversation, &target()).unwrap();
        let first: Value = serde_json::from_slice(&first).unwrap();
        let again = read(&first).unwrap();
        let (second, _) = conversation::write(&again, &target()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&second).unwrap(), first, "{name}");
        let texts = |conversation: &crate::conversation::Conversation| -> usize {
            let parts = conversation.turns.iter().flat_map(|turn| &turn.parts);
            parts.filter(|part| !matches!(part.piece, Piece::Reasoning(_))).count()
        };
        assert_eq!(texts(&again), texts(&conversation), "{name}");
        println!("{name}: dropped {:?} {changed:?}", conversation.dropped);
        count += 1;
    }
    println!("{count} requests, {rejected} rejected");
    assert!(count >= 4 || recordings().is_empty());
}

#[test]
fn a_request_of_codex_keeps_its_meaning() {
    // The request behind a tool call, with a namespace of tools.
    let has = |list: &Value, name: &str, value: &str| {
        list.as_array().is_some_and(|list| list.iter().any(|item| item[name] == value))
    };
    let is_codex = |body: &Value| {
        has(&body["tools"], "name", "multi_agent_v1") && has(&body["input"], "type", "function_call_output")
    };
    let recordings = recordings();
    let mut bodies = recordings.iter().map(|(_, recording)| &recording["request"]["body"]);
    let Some(body) = bodies.find(|body| is_codex(body)) else {
        eprintln!("skipped: no recorded request of Codex");
        return;
    };
    let conversation = conversation::read(body.to_string().as_bytes()).unwrap();
    assert_eq!(conversation.dropped, ["tools.web_search"]);
    assert!(conversation.cache_key.is_some());
    let roles: Vec<_> = conversation.turns.iter().map(|turn| (turn.role, turn.parts.len())).collect();
    assert_eq!(roles, [(Role::System, 3), (Role::User, 2), (Role::Assistant, 1), (Role::User, 1)]);
    let names: Vec<_> = conversation.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert!(names.starts_with(&["exec_command", "write_stdin"]), "{names:?}");
    assert!(names.contains(&"multi_agent_v1__spawn_agent"), "{names:?}");
    let first = conversation.tools.iter().find(|tool| tool.name.starts_with("multi_agent")).unwrap();
    let description = first.description.as_deref().unwrap();
    assert!(
        description
            .ends_with("About all tools of `multi_agent_v1`: Tools for spawning and managing sub-agents.")
    );
    assert_eq!(conversation.tool_choice, Some(ToolChoice::Auto));

    let call = Delta::ToolCall { id: "call_1".to_owned(), name: "multi_agent_v1__spawn_agent".to_owned() };
    let stream = write_stream([call, Delta::Stop(Stop::ToolCalls)], echo(body));
    let response = check_grammar(&events(&stream));
    let item = &response["output"][0];
    assert_eq!((&item["name"], &item["namespace"]), (&json!("spawn_agent"), &json!("multi_agent_v1")));
    assert_eq!(item["arguments"], "{}");
    assert_eq!(response["tools"], body["tools"]);
    assert_eq!(response["reasoning"], body["reasoning"]);
}

#[expect(clippy::needless_pass_by_value, reason = "a literal at every call")]
fn request(more: Value) -> Value {
    let mut request = json!({ "model": "m", "input": "hi" });
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

fn read(more: Value) -> Result<crate::conversation::Conversation, Error> {
    conversation::read(request(more).to_string().as_bytes())
}

fn written(more: Value) -> (Value, Vec<String>) {
    let (body, changed) = conversation::write(&read(more).unwrap(), &target()).unwrap();
    (serde_json::from_slice(&body).unwrap(), changed)
}

#[test]
fn what_changes_the_meaning_is_rejected_with_the_field() {
    use Code::{InvalidType, InvalidValue, MissingMember, UnsupportedParameter};
    let user = |content: Value| json!({ "input": [{ "role": "user", "content": content }] });
    for (more, code, param) in [
        (json!({ "previous_response_id": "resp_1" }), UnsupportedParameter, "previous_response_id"),
        (json!({ "conversation": { "id": "conv_1" } }), UnsupportedParameter, "conversation"),
        (json!({ "prompt": { "id": "pmpt_1" } }), UnsupportedParameter, "prompt"),
        (json!({ "background": true }), UnsupportedParameter, "background"),
        (json!({ "top_logprobs": 2 }), UnsupportedParameter, "top_logprobs"),
        (json!({ "input": [{ "type": "item_reference", "id": "msg_1" }] }), UnsupportedParameter, "input.0"),
        (
            json!({ "input": [{ "type": "compaction", "encrypted_content": "x" }] }),
            UnsupportedParameter,
            "input.0",
        ),
        (json!({ "tool_choice": { "type": "web_search_preview" } }), UnsupportedParameter, "tool_choice"),
        (
            json!({ "tool_choice": "required", "tools": [{ "type": "web_search" }] }),
            UnsupportedParameter,
            "tool_choice",
        ),
        (
            user(json!([{ "type": "input_image", "file_id": "file_1" }])),
            UnsupportedParameter,
            "input.0.content.0.file_id",
        ),
        (user(json!([{ "type": "input_video" }])), UnsupportedParameter, "input.0.content.0.type"),
        (user(json!([{ "type": "input_text" }])), MissingMember, "input.0.content.0.text"),
        (user(json!(7)), InvalidType, "input.0.content"),
        (json!({ "input": [{ "role": "robot", "content": "" }] }), InvalidValue, "input.0.role"),
        (json!({ "input": ["hi"] }), InvalidType, "input.0"),
        (json!({ "input": null }), MissingMember, "input"),
        (
            json!({ "input": [{ "type": "function_call", "name": "f", "arguments": "" }] }),
            MissingMember,
            "input.0.call_id",
        ),
        (json!({ "reasoning": { "effort": "huge" } }), InvalidValue, "reasoning.effort"),
        (json!({ "text": { "format": { "type": "xml" } } }), InvalidValue, "text.format.type"),
        (json!({ "tools": [{ "type": "function" }] }), MissingMember, "tools.0.name"),
        (json!({ "temperature": "hot" }), InvalidType, "temperature"),
    ] {
        let error = read(more.clone()).unwrap_err();
        assert!(error.is(code), "{more}: {error:?}");
        assert_eq!(error.param.as_deref(), Some(param), "{more}");
    }
    assert!(conversation::read(b"[]").unwrap_err().is(Code::InvalidType));
    assert!(conversation::read(b"{").unwrap_err().is(Code::InvalidJson));
}

#[test]
fn hints_are_dropped_and_named() {
    let conversation = read(json!({
        "background": false, "store": true, "truncation": "auto", "service_tier": "flex", "metadata": { "a": "b" },
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"], "text": { "verbosity": "low" },
        "client_metadata": {}, "stream_options": { "include_obfuscation": false }, "top_logprobs": 0, "project_id": "p",
        "reasoning": { "summary": "auto", "context": "all_turns", "effort": "high" }, "tools": [{ "type": "web_search" }],
        "user": "u", "safety_identifier": "s", "previous_response_id": null,
        "input": [{ "type": "web_search_call", "id": "ws_1" }, { "type": "agent_message" }, { "role": "user", "content": "hi" }],
    }))
    .unwrap();
    let mut dropped = conversation.dropped.clone();
    dropped.sort_unstable();
    assert_eq!(
        dropped,
        [
            "include.message.output_text.logprobs",
            "input.agent_message",
            "input.web_search_call",
            "metadata",
            "reasoning.context",
            "store",
            "text.verbosity",
            "tools.web_search",
            "truncation"
        ]
    );
    assert_eq!(conversation.thinking, Some(Thinking::Effort(Effort::High)));
    assert_eq!(conversation.service_tier, Some(ServiceTier::Flex));
    assert_eq!(conversation.user.as_deref(), Some("u"));
    let (body, changed) =
        written(json!({ "temperature": 0.5, "max_output_tokens": 3, "user": "u".repeat(80) }));
    assert_eq!(changed, ["temperature", "max_tokens=16"]);
    assert_eq!((&body["temperature"], &body["max_output_tokens"]), (&Value::Null, &json!(16)));
    assert_eq!((&body["store"], &body["include"]), (&json!(false), &json!(["reasoning.encrypted_content"])));
}

#[test]
fn successive_items_of_the_model_are_one_turn() {
    let blob = Blob { kind: Kind::Encrypted, maker: maker(), data: "gAAA".to_owned() };
    let more = json!({
        "instructions": "Be brief.",
        "tools": [{ "type": "function", "name": "f", "parameters": null }],
        "input": [
            { "role": "developer", "content": "Now." },
            { "role": "user", "content": [{ "type": "input_image", "image_url": "data:image/png;base64,AAAA" }] },
            { "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "Hm" }],
              "encrypted_content": blob.to_text() },
            { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "Calling" }] },
            { "type": "function_call", "call_id": "gwid-functions-2ea-3a0", "name": "f", "arguments": "" },
            { "type": "function_call", "call_id": "b", "name": "f", "arguments": "{\"x\":1}" },
            { "type": "function_call_output", "call_id": "b", "output": [
                { "type": "input_text", "text": "one" }, { "type": "input_image", "image_url": "https://a/b.png" }] },
            { "role": "user", "content": "steer" },
            { "type": "function_call_output", "call_id": "gwid-functions-2ea-3a0", "output": "two" },
        ],
    });
    let conversation = read(more.clone()).unwrap();
    let roles: Vec<_> = conversation.turns.iter().map(|turn| (turn.role, turn.parts.len())).collect();
    assert_eq!(roles, [(Role::System, 2), (Role::User, 1), (Role::Assistant, 4), (Role::User, 3)]);
    let Piece::ToolCall(call) = &conversation.turns[2].parts[2].piece else { panic!() };
    assert_eq!((call.id.as_str(), call.arguments.as_str()), ("functions.a:0", "{}"));
    let Piece::Image(Media::Inline { media_type, .. }) = &conversation.turns[1].parts[0].piece else {
        panic!()
    };
    assert_eq!(media_type, "image/png");

    let (body, changed) = written(more);
    assert!(changed.is_empty(), "{changed:?}");
    assert_eq!(body["instructions"], "Be brief.");
    let kinds: Vec<_> =
        body["input"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "message",
            "message",
            "reasoning",
            "message",
            "function_call",
            "function_call",
            "function_call_output",
            "function_call_output",
            "message"
        ]
    );
    assert_eq!(body["input"][2]["encrypted_content"], "gAAA");
    assert_eq!(body["input"][4]["call_id"], "functions.a:0");
    assert_eq!(body["tools"][0]["strict"], false);
    assert_eq!(body["tools"][0]["parameters"], json!({ "type": "object", "properties": {} }));
}

#[test]
fn reasoning_goes_back_to_its_maker_only_and_never_stands_alone() {
    let item = |maker| {
        let blob = Blob { kind: Kind::Encrypted, maker, data: "gAAA".to_owned() };
        json!({ "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": blob.to_text() })
    };
    let call = json!({ "type": "function_call", "call_id": "a", "name": "f", "arguments": "{}" });
    let user = json!({ "role": "user", "content": "hi" });
    for (input, kept) in [
        (json!([user, item(maker()), call]), true),
        (json!([user, item(maker())]), false),
        (json!([user, item(maker()), user]), false),
        (json!([user, item(Maker::of("anthropic", "claude")), call]), false),
        (json!([user, { "type": "reasoning", "summary": [], "encrypted_content": "gAAA" }, call]), false),
    ] {
        let (body, changed) = written(json!({ "input": input }));
        let is_kept = body["input"].as_array().unwrap().iter().any(|item| item["type"] == "reasoning");
        assert_eq!(is_kept, kept, "{body}");
        assert_eq!(changed.is_empty(), kept || input[1]["encrypted_content"] == "gAAA", "{changed:?}");
    }
    let conversation =
        read(json!({ "input": [user, { "type": "reasoning", "summary": [], "encrypted_content": "gAAA" }] }));
    assert_eq!(conversation.unwrap().dropped, ["input.reasoning.encrypted_content"]);
    // DeepSeek wants the text itself.
    let plain = Blob { kind: Kind::Plain, maker: maker(), data: String::new() };
    let reasoning = json!({ "type": "reasoning", "summary": [{ "type": "summary_text", "text": "Hm" }], "encrypted_content": plain.to_text() });
    let (body, _) = written(json!({ "input": [user, reasoning, call] }));
    assert_eq!(body["input"][1]["content"], json!([{ "type": "reasoning_text", "text": "Hm" }]));
}

#[test]
fn efforts_and_formats_are_written_for_the_model() {
    let write = |more: Value, target: Target<'_>| {
        let (body, changed) = conversation::write(&read(more).unwrap(), &target).unwrap();
        (serde_json::from_slice::<Value>(&body).unwrap(), changed)
    };
    for (model, effort, expected) in [
        ("gpt-5", "none", json!("minimal")),
        ("gpt-5.1", "none", json!("none")),
        ("openai/o3", "none", json!("low")),
        ("gpt-5", "minimal", json!("minimal")),
        ("gpt-5", "xhigh", json!("high")),
    ] {
        let (body, _) = write(json!({ "reasoning": { "effort": effort } }), Target { model, ..target() });
        assert_eq!(body["reasoning"]["effort"], expected, "{model}");
    }
    // The facts of a model say more than its name.
    let efforts =
        Efforts { none: Some(false), minimal: Some(false), xhigh: Some(true), ..Efforts::default() };
    let known = Target {
        facts: Facts { efforts, sampling_params: Some(true), parallel_tools: Some(false), ..target().facts },
        ..target()
    };
    for (effort, expected, changed) in [
        ("none", "low", Some("thinking>effort=low")),
        ("minimal", "low", Some("reasoning_effort=low")),
        ("xhigh", "xhigh", None),
        ("max", "xhigh", Some("reasoning_effort=xhigh")),
    ] {
        let request = json!({ "reasoning": { "effort": effort }, "temperature": 0.5, "parallel_tool_calls": false,
            "prompt_cache_key": "k", "user": "u".repeat(70), "service_tier": "flex",
            "tools": [{ "type": "function", "name": "f", "parameters": {} }] });
        let (body, adjusted) = write(request, known);
        assert_eq!(body["reasoning"]["effort"], expected, "{effort}");
        assert_eq!(adjusted, changed.into_iter().map(str::to_owned).collect::<Vec<_>>());
        let carried = (&body["temperature"], &body["prompt_cache_key"], &body["service_tier"]);
        assert_eq!(carried, (&json!(0.5), &json!("k"), &json!("flex")));
        assert!(body.get("parallel_tool_calls").is_none() && body["user"].as_str().unwrap().len() == 64);
    }
    let plain = Target { facts: Facts { reasoning: Some(false), ..Facts::default() }, ..target() };
    let (body, changed) = write(json!({ "reasoning": { "effort": "high" }, "temperature": 0.5 }), plain);
    assert_eq!(
        (&body["reasoning"], &body["include"], changed),
        (&Value::Null, &Value::Null, vec!["thinking".to_owned()])
    );
    assert_eq!(body["temperature"], 0.5);
    let format =
        json!({ "type": "json_schema", "name": "n", "schema": { "type": "object" }, "strict": true });
    let (body, _) = write(json!({ "text": { "format": format } }), target());
    assert_eq!(body["text"]["format"], format);
    assert_eq!(
        read(json!({ "text": { "format": { "type": "json_object" } } })).unwrap().output,
        Some(Output::JsonObject)
    );
    let streamed = Target { stream: true, ..target() };
    let (body, _) = write(json!({ "max_output_tokens": 100 }), streamed);
    assert_eq!((&body["max_output_tokens"], &body["stream"]), (&json!(100), &json!(true)));

    let mut conversation = read(json!({})).unwrap();
    conversation.stop = vec!["END".to_owned()];
    let error = conversation::write(&conversation, &target()).unwrap_err();
    assert_eq!(error.param.as_deref(), Some("stop"));
}

#[test]
fn some_allowed_tools_leave_the_others_out() {
    let tool = |name: &str| json!({ "type": "function", "name": name, "parameters": {} });
    let choice = json!({ "type": "allowed_tools", "mode": "required", "tools": [{ "type": "function", "name": "b" }, { "type": "web_search" }] });
    let conversation = read(json!({ "tools": [tool("a"), tool("b")], "tool_choice": choice })).unwrap();
    assert_eq!(conversation.tool_choice, Some(ToolChoice::Required));
    assert_eq!(conversation.tools.len(), 1);
    let one =
        read(json!({ "tools": [tool("a")], "tool_choice": { "type": "function", "name": "a" } })).unwrap();
    assert_eq!(one.tool_choice, Some(ToolChoice::One("a".to_owned())));
}

#[test]
fn a_custom_tool_is_a_function_for_the_upstream_and_itself_for_the_caller() {
    let grammar = json!({ "type": "grammar", "syntax": "lark", "definition": "start: \"x\"" });
    let body = request(json!({
        "tools": [{ "type": "custom", "name": "apply_patch", "description": "Patch.", "format": grammar }],
        "input": [
            { "role": "user", "content": "hi" },
            { "type": "custom_tool_call", "call_id": "a", "name": "apply_patch", "input": "*** \"Begin\"\n" },
            { "type": "custom_tool_call_output", "call_id": "a", "output": "ok" },
        ],
    }));
    let conversation = conversation::read(body.to_string().as_bytes()).unwrap();
    let description = conversation.tools[0].description.as_deref().unwrap();
    assert!(
        description.starts_with("Patch.\n\n") && description.ends_with("lark grammar:\n\nstart: \"x\""),
        "{description}"
    );
    let Piece::ToolCall(call) = &conversation.turns[1].parts[0].piece else { panic!() };
    assert_eq!(call.arguments, r#"{"input":"*** \"Begin\"\n"}"#);

    // The text is streamed, however its escapes are split.
    let patch = "*** Begin\n\"é\" \u{1f600} \\";
    for arguments in [
        json!({ "input": patch }).to_string(),
        r#" { "input" : "*** Begin\n\"\u00e9\" \ud83d\ude00 \\" } "#.to_owned(),
        json!({ "other": 1, "input": patch }).to_string(),
        patch.to_owned(),
    ] {
        for size in 1..7 {
            let call =
                ToolCall { id: "a".to_owned(), name: "apply_patch".to_owned(), arguments: arguments.clone() };
            let reply = Reply {
                pieces: vec![Piece::ToolCall(call)],
                stop: Some(Stop::ToolCalls),
                ..Reply::default()
            };
            let stream = events(&write_stream(deltas_of(&reply, size), echo(&body)));
            let response = check_grammar(&stream);
            let item = &response["output"][0];
            assert_eq!(
                (&item["type"], &item["input"]),
                (&json!("custom_tool_call"), &json!(patch)),
                "{arguments}"
            );
            assert!(stream.iter().any(|event| event.name == b"response.custom_tool_call_input.delta"));
            let whole = write_whole(&reply, echo(&body), ID, "gpt-5", 1);
            assert_eq!(serde_json::from_slice::<Value>(&whole).unwrap()["output"], response["output"]);
        }
    }
}

#[test]
fn a_response_repeats_its_request_on_one_line() {
    let body = "{\"model\":\"m\",\"input\":\"hi\",\r\n \"instructions\":\"a\\nb\",\"metadata\":{\n\"k\":\"v\"},\"temperature\":null,\"top_p\":0.5}";
    let stream = write_stream(
        [Delta::Text("x".to_owned()), Delta::Stop(Stop::Length)],
        Rc::new(Echo::read(body.as_bytes())),
    );
    assert!(
        !String::from_utf8_lossy(&stream)
            .lines()
            .any(|line| !(line.is_empty() || line.starts_with("event: ") || line.starts_with("data: {")))
    );
    let response = check_grammar(&events(&stream));
    for (name, expected) in [
        ("id", json!("resp_01JABCDEF")),
        ("object", json!("response")),
        ("created_at", json!(1)),
        ("status", json!("incomplete")),
        ("incomplete_details", json!({ "reason": "max_output_tokens" })),
        ("error", Value::Null),
        ("model", json!("gpt-5")),
        ("instructions", json!("a\nb")),
        ("metadata", json!({ "k": "v" })),
        ("temperature", Value::Null),
        ("top_p", json!(0.5)),
        ("tools", json!([])),
        ("tool_choice", json!("auto")),
        ("parallel_tool_calls", json!(true)),
        ("store", json!(false)),
        ("usage", Value::Null),
    ] {
        assert_eq!(response.get(name), Some(&expected), "{name}");
    }
    assert_eq!(response["output"][0]["status"], "incomplete");
}

#[test]
fn a_failed_stream_ends_with_the_code_that_codex_acts_on() {
    let upstream = |status: u16, meaning| {
        Error::upstream(status, "t".to_owned(), None, "m".to_owned()).with_meaning(meaning, None)
    };
    for (error, code, message) in [
        (upstream(400, Meaning::TooLong), "context_length_exceeded", "m"),
        (
            upstream(429, Meaning::Throttled).with_retry_after(11),
            "rate_limit_exceeded",
            "m. Please try again in 11s.",
        ),
        (upstream(429, Meaning::QuotaSpent), "insufficient_quota", "m"),
        (upstream(400, Meaning::Refused), "invalid_prompt", "m"),
        (upstream(500, Meaning::Failed), "server_error", "m"),
        (upstream(529, Meaning::Failed), "server_is_overloaded", "m"),
        (Error::new(Code::UpstreamStreamCut, "cut"), "server_error", "cut"),
        (Error::new(Code::InsufficientQuota, "spent"), "insufficient_quota", "spent"),
    ] {
        let mut writer = Writer::new(echo(&json!({})), ID, "gpt-5", 1);
        let mut out = Vec::new();
        writer.write(Delta::Text("a".to_owned()), &mut out);
        writer.write(Delta::ToolCall { id: "c".to_owned(), name: "f".to_owned() }, &mut out);
        writer.fail(&error, &mut out);
        let length = out.len();
        writer.end(&mut out);
        writer.fail(&error, &mut out);
        assert_eq!(out.len(), length, "nothing follows the end");
        let response = data(events(&out).last().unwrap())["response"].clone();
        assert_eq!(response["error"], json!({ "code": code, "message": message }));
        assert_eq!(
            (response["status"].as_str(), response["output"].as_array().unwrap().len()),
            (Some("failed"), 1)
        );
    }
    let mut out = Vec::new();
    Writer::new(echo(&json!({})), ID, "gpt-5", 1).end(&mut out);
    let names: Vec<_> =
        events(&out).into_iter().map(|event| String::from_utf8(event.name).unwrap()).collect();
    assert_eq!(names, ["response.created", "response.in_progress", "response.failed"]);
}

#[test]
fn errors_are_found_in_every_shape() {
    for (name, data, code) in [
        (
            "error",
            r#"{"type":"error","sequence_number":2,"error":{"type":"t","code":"insufficient_quota","message":"m"}}"#,
            "insufficient_quota",
        ),
        (
            "error",
            r#"{"type":"error","code":"insufficient_quota","message":"m","param":null,"sequence_number":2}"#,
            "insufficient_quota",
        ),
        (
            "",
            r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"insufficient_quota","message":"m"}}}"#,
            "insufficient_quota",
        ),
        (
            "response.failed",
            r#"{"type":"response.failed","response":{"error":null},"error":{"code":"insufficient_quota","message":"m"}}"#,
            "insufficient_quota",
        ),
    ] {
        assert!(deltas::is_error(name.as_bytes(), data.as_bytes()), "{data}");
        let error = upstream_error::in_event("openai", data.as_bytes(), true, true, None).unwrap();
        assert!(error.message.ends_with('m'), "{data}: {error:?}");
        assert_eq!((error.code(), error.meaning()), (Some(code), Some(Meaning::QuotaSpent)), "{data}");
    }
    assert!(!deltas::is_error(b"response.completed", b"{}"));
    assert!(!deltas::is_error(b"", br#"{"type":"response.output_text.delta","delta":"error"}"#));
}

/// Feeds the events of these JSON texts, without names.
fn read_events(events: &[Value]) -> Reply {
    let mut reader = Reader::new(maker());
    let mut out = Vec::new();
    for event in events {
        reader.event(b"", event.to_string().as_bytes(), &mut out);
    }
    Reply::of(out)
}

#[test]
fn streams_that_break_the_grammar_are_read() {
    let call = |id: &str| json!({ "type": "function_call", "call_id": id, "name": "f", "arguments": format!("[\"{id}\"]") });
    let completed = |output: Value| json!({ "type": "response.completed", "response": { "id": "r", "status": "completed", "output": output } });
    let delta = |index: u64, text: &str| json!({ "type": "response.function_call_arguments.delta", "output_index": index, "delta": text });
    let added = |index: u64, id: &str| json!({ "type": "response.output_item.added", "output_index": index, "item": { "type": "function_call", "call_id": id, "name": "f", "arguments": "" } });
    let done = |index: u64, id: &str| json!({ "type": "response.output_item.done", "output_index": index, "item": call(id) });
    let both = json!([call("a"), call("b")]);
    let whole =
        Reply::of(read_whole(completed(both.clone())["response"].to_string().as_bytes(), maker()).unwrap());
    assert_eq!((whole.pieces.len(), &whole.stop), (2, &Some(Stop::ToolCalls)));
    for events in [
        // Nothing but the end.
        vec![completed(both.clone())],
        // Calls that are not announced.
        vec![delta(0, "["), delta(0, "\"a\"]"), done(0, "a"), done(1, "b"), completed(json!([]))],
        // Calls that interleave.
        vec![
            added(0, "a"),
            added(1, "b"),
            delta(1, "[\"b"),
            delta(0, "[\"a"),
            delta(1, "\"]"),
            delta(0, "\"]"),
            done(1, "b"),
            done(0, "a"),
            completed(both.clone()),
        ],
        // Calls that are never completed.
        vec![added(0, "a"), delta(0, "[\"a\"]"), added(1, "b"), completed(both.clone())],
        vec![added(0, "a"), delta(0, "[\"a\"]"), added(1, "b"), delta(1, "[\"b\"]"), completed(json!([]))],
        // The same index for all, and no index.
        vec![
            added(0, "a"),
            delta(0, "[\"a\"]"),
            done(0, "a"),
            added(0, "b"),
            delta(0, "[\"b\"]"),
            done(0, "b"),
            completed(both.clone()),
        ],
        vec![
            json!({ "type": "response.output_item.done", "item": call("a") }),
            json!({ "type": "response.output_item.added", "item": { "type": "function_call", "call_id": "b", "name": "f" } }),
            json!({ "type": "response.function_call_arguments.delta", "delta": "[\"b\"]" }),
            json!({ "type": "response.output_item.done", "item": call("b") }),
            json!({ "type": "response.future", "delta": { "x": 1 } }),
            json!({ "type": "keepalive" }),
            completed(json!([])),
        ],
    ] {
        let reply = read_events(&events);
        assert_eq!((&reply.pieces, &reply.stop), (&whole.pieces, &whole.stop), "{events:?}");
    }
    let message = json!({ "type": "message", "content": [{ "type": "output_text", "text": "ab" }, { "type": "refusal", "refusal": "no" }] });
    let text = json!({ "type": "response.output_text.delta", "output_index": 0, "delta": "ab" });
    let refusal =
        json!({ "type": "response.refusal.delta", "output_index": 0, "delta": "no", "content_index": 1 });
    for events in [
        vec![text.clone(), refusal.clone()],
        vec![json!({ "type": "response.output_item.done", "item": message })],
    ] {
        let mut events = events;
        events.push(completed(json!([])));
        let reply = read_events(&events);
        assert_eq!(reply.pieces, [Piece::Text("ab".to_owned()), Piece::Refusal("no".to_owned())]);
        assert_eq!(reply.stop, Some(Stop::Refusal));
    }
    for (status, details, stop) in [
        ("incomplete", json!({ "reason": "max_output_tokens" }), Some(Stop::Length)),
        ("incomplete", json!({ "reason": "content_filter" }), Some(Stop::Refusal)),
        ("failed", Value::Null, None),
        ("queued", Value::Null, None),
    ] {
        let response = json!({ "status": status, "incomplete_details": details, "output": [] });
        let reply = Reply::of(read_whole(response.to_string().as_bytes(), maker()).unwrap());
        assert_eq!(reply.stop, stop, "{status}");
        let event = json!({ "type": format!("response.{status}"), "response": response });
        assert_eq!(read_events(&[event]).stop, stop, "{status}");
    }
    assert_eq!(read_whole(br#"{"id":"chatcmpl-1","choices":[]}"#, maker()), None);
}

fn blobs() -> impl Strategy<Value = Blob> {
    let kinds =
        prop_oneof![Just(Kind::Signature), Just(Kind::Redacted), Just(Kind::Encrypted), Just(Kind::Plain)];
    (kinds, "[a-zA-Z0-9+/=]{0,12}").prop_map(|(kind, data)| Blob { kind, maker: Maker::of("p", &data), data })
}

fn pieces() -> impl Strategy<Value = Piece> {
    let text = "[ -~éß\u{1f600}\n]{1,12}";
    prop_oneof![
        text.prop_map(Piece::Text),
        text.prop_map(Piece::Refusal),
        (text, blobs()).prop_map(|(text, blob)| Piece::Reasoning(Reasoning { text, blob: Some(blob) })),
        blobs().prop_map(|blob| Piece::Reasoning(Reasoning { text: String::new(), blob: Some(blob) })),
        ("[a-z_]{1,9}", "[fgh]", text).prop_map(|(id, name, text)| {
            Piece::ToolCall(ToolCall { id, name, arguments: json!({ "input": text }).to_string() })
        }),
    ]
}

/// An event of an upstream that knows the events of the grammar, but not their order.
fn upstream_events() -> impl Strategy<Value = Value> {
    let kinds = prop_oneof![
        Just("message"),
        Just("reasoning"),
        Just("function_call"),
        Just("custom_tool_call"),
        Just("web_search_call")
    ];
    let deltas = prop_oneof![
        Just("output_text"),
        Just("refusal"),
        Just("reasoning_summary_text"),
        Just("reasoning_text"),
        Just("function_call_arguments"),
        Just("custom_tool_call_input"),
        Just("web_search_call")
    ];
    let item = (kinds, "[a-z]{0,2}", "[a-z\"]{0,3}").prop_map(|(kind, id, text)| {
        json!({
            "type": kind, "call_id": id, "name": "f", "arguments": text, "input": text, "encrypted_content": id,
            "summary": [{ "text": text }], "content": [{ "text": text, "refusal": if id.len() == 2 { Some("no") } else { None } }],
        })
    });
    let of_item = (prop_oneof![Just("added"), Just("done")], item, 0..4_u64).prop_map(|(step, item, index)| {
        json!({ "type": format!("response.output_item.{step}"), "output_index": index, "item": item })
    });
    let delta = (deltas, "[a-z\"]{0,3}", 0..4_u64, 0..2_u64).prop_map(|(kind, text, index, part)| {
        json!({ "type": format!("response.{kind}.delta"), "output_index": index, "content_index": part, "delta": text })
    });
    prop_oneof![of_item, delta]
}

/// Items that follow each other.
fn input_items() -> impl Strategy<Value = Value> {
    let roles = prop_oneof![Just("user"), Just("assistant"), Just("system"), Just("developer")];
    let message = (roles, "[a-z]{0,3}", "[a-z]{0,3}").prop_map(|(role, one, two)| {
        let kind = if role == "assistant" { "output_text" } else { "input_text" };
        json!({ "role": role, "content": [{ "type": kind, "text": one }, { "type": kind, "text": two }] })
    });
    let call = ("[a-z:]{1,3}", prop_oneof![Just(""), Just("{}"), Just("{\"a\":1}")])
        .prop_map(|(id, arguments)| json!({ "type": "function_call", "call_id": id, "name": "f", "arguments": arguments }));
    let result = ("[a-z:]{1,3}", "[a-z]{0,3}")
        .prop_map(|(id, output)| json!({ "type": "function_call_output", "call_id": id, "output": output }));
    let reasoning = ("[a-z]{0,3}", any::<bool>()).prop_map(|(text, is_own)| {
        let maker = if is_own { maker() } else { Maker::of("p", "m") };
        let blob = Blob { kind: Kind::Encrypted, maker, data: "gAAA".to_owned() };
        let summary = [json!({ "type": "summary_text", "text": text })];
        let said = json!({ "role": "assistant", "content": "said" });
        json!([{ "type": "reasoning", "summary": summary, "encrypted_content": blob.to_text() }, said])
    });
    let single = prop_oneof![message, call, result].prop_map(|item| json!([item]));
    prop_oneof![single, reasoning]
}

fn replies() -> impl Strategy<Value = Reply> {
    let stops = prop_oneof![
        Just(Stop::Done),
        Just(Stop::Sequence(None)),
        Just(Stop::ToolCalls),
        Just(Stop::Length),
        Just(Stop::Refusal),
        Just(Stop::Pause)
    ];
    let usage = (0..100_u64, 0..100_u64).prop_map(|(prompt, completion)| Usage {
        prompt_tokens: Some(prompt + 10),
        cached_tokens: Some(10),
        completion_tokens: Some(completion),
        ..Usage::default()
    });
    (proptest::collection::vec(pieces(), 0..7), stops, usage).prop_map(|(pieces, stop, usage)| {
        let deltas =
            deltas_of(&Reply { pieces, stop: Some(stop), usage, model: Some("m".to_owned()), id: None }, 5);
        // Neighbours that are one piece in the sum.
        Reply::of(deltas)
    })
}

proptest! {
    /// Any response comes back as it was, streamed and whole, and both are the same.
    #[test]
    fn a_response_survives_being_written_and_read(reply in replies(), size in 1..6_usize) {
        // `f` is a function, `g` a custom tool, `h` a function in a namespace: `g` and `h` come back by other names.
        let request = json!({ "tools": [{ "type": "function", "name": "f" }] });
        let stream = events(&write_stream(deltas_of(&reply, size), echo(&request)));
        let response = check_grammar(&stream);
        prop_assert_eq!(normal(Reply::of(read_stream(&stream))), normal(reply.clone()));
        let whole = write_whole(&reply, echo(&request), ID, "gpt-5", 1);
        prop_assert_eq!(&serde_json::from_slice::<Value>(&whole).unwrap(), &response);
        prop_assert_eq!(normal(Reply::of(read_whole(&whole, maker()).unwrap())), normal(reply));
    }

    /// Custom tools and namespaces follow the same grammar, and the caller's echo of them is the call as it was.
    #[test]
    fn calls_of_any_tool_come_back_in_the_next_request(reply in replies()) {
        let tools = json!([
            { "type": "function", "name": "f" },
            { "type": "custom", "name": "g" },
            { "type": "namespace", "name": "n", "tools": [{ "type": "function", "name": "h" }, { "type": "custom", "name": "i" }] },
        ]);
        let renamed = reply.pieces.iter().filter_map(|piece| match piece {
            Piece::ToolCall(call) => {
                let name = match call.name.as_str() { "h" => "n__h", "g" => "n__i", name => name }.to_owned();
                Some(Piece::ToolCall(ToolCall { name, ..call.clone() }))
            }
            _ => None,
        });
        let reply = Reply { pieces: renamed.collect(), ..reply };
        let request = json!({ "tools": tools });
        let response = check_grammar(&events(&write_stream(deltas_of(&reply, 4), echo(&request))));
        let next = json!({ "tools": tools, "input": response["output"] });
        let conversation = conversation::read(next.to_string().as_bytes()).unwrap();
        let calls: Vec<Piece> = conversation.turns.into_iter().flat_map(|turn| turn.parts).map(|part| part.piece).collect();
        prop_assert_eq!(calls, reply.pieces);
    }

    /// Whatever an upstream sends in whatever order, the deltas keep their rules, and the caller's stream its grammar.
    #[test]
    fn any_events_keep_the_rules(events in proptest::collection::vec(upstream_events(), 0..16)) {
        let mut reader = Reader::new(maker());
        let mut deltas = Vec::new();
        let last = json!({ "type": "response.completed", "response": { "status": "completed", "output": [] } });
        for event in events.iter().chain([&last]) {
            reader.event(b"", event.to_string().as_bytes(), &mut deltas);
        }
        let is_begin = |delta: &Delta| matches!(delta, Delta::Begin { .. });
        prop_assert!(deltas.first().is_some_and(is_begin));
        prop_assert_eq!(deltas.iter().filter(|delta| is_begin(delta)).count(), 1);
        prop_assert!(matches!(deltas.last(), Some(Delta::Stop(_))));
        let mut is_call = false;
        for delta in &deltas {
            match delta {
                Delta::ToolCall { .. } => is_call = true,
                Delta::Arguments(_) => prop_assert!(is_call, "arguments outside of their call: {:?}", deltas),
                _ => is_call = false,
            }
        }
        let reply = Reply::of(deltas.clone());
        let arguments = |piece: &Piece| !matches!(piece, Piece::ToolCall(call) if call.arguments.is_empty());
        prop_assert!(reply.pieces.iter().all(arguments), "{:?}", deltas);
        check_grammar(&super::tests::events(&write_stream(deltas, echo(&json!({})))));
    }

    /// An input that was read is written and read again without a change.
    #[test]
    fn any_input_is_stable(items in proptest::collection::vec(input_items(), 1..8)) {
        let user = json!({ "role": "user", "content": "hi" });
        let items = items.iter().filter_map(Value::as_array).flatten().cloned();
        let body = json!({ "input": std::iter::once(user).chain(items).collect::<Value>() });
        if let Ok(conversation) = conversation::read(body.to_string().as_bytes()) {
            let (first, _) = conversation::write(&conversation, &target()).unwrap();
            let again = conversation::read(marked(&serde_json::from_slice(&first).unwrap()).to_string().as_bytes()).unwrap();
            let (second, _) = conversation::write(&again, &target()).unwrap();
            prop_assert_eq!(String::from_utf8(first).unwrap(), String::from_utf8(second).unwrap());
        }
    }

    /// No bytes make the readers panic.
    #[test]
    fn any_bytes_are_read(text in "\\PC{0,60}", name in "[a-z_.]{0,20}") {
        let mut reader = Reader::new(maker());
        reader.event(name.as_bytes(), text.as_bytes(), &mut Vec::new());
        let _ = (read_whole(text.as_bytes(), maker()), conversation::read(text.as_bytes()), Echo::read(text.as_bytes()));
    }
}
