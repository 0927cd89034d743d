//! OpenAI Responses with recorded traffic: native calls pass, and calls between Responses and the other formats of
//! conversations are translated with the same content in whole and streamed responses.
//!
//! The recordings are not a part of this repository. They are read from the folder that `GATEHOUSE_SHARED` names, by default
//! `../shared` beside the repository, and are skipped with a message if they are not there.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests may panic and say why they are skipped"
)]

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::{env, fs};

use gatehouse_core::catalog::{Entry, Registry};
use gatehouse_core::config::Config;
use gatehouse_core::conversation::carrier::Maker;
use gatehouse_core::conversation::delta::Reply;
use gatehouse_core::format;
use gatehouse_core::format::openai_responses::deltas::{Echo, Reader, is_error, read_whole};
use gatehouse_core::format::request::{Responder, Translation};
use gatehouse_core::format::stream::{Ending, Outcome, Relayed, ResponseStream, StreamState};
use gatehouse_core::format::upstream::Upstream;
use gatehouse_core::framing::sse;
use gatehouse_core::operation::{CHAT_COMPLETIONS, Format, MESSAGES, Operation, RESPONSES};
use serde_json::{Value, json};

/// The recorded exchanges in some folders, with their names.
fn recordings(folders: &[&str]) -> Vec<(String, Value)> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = env::var_os("GATEHOUSE_SHARED").map_or(beside, PathBuf::from);
    let mut found = Vec::new();
    for folder in folders {
        let Ok(files) = fs::read_dir(shared.join("data/recordings").join(folder)) else {
            eprintln!("skipped: no recordings in {}", shared.display());
            continue;
        };
        for path in files.map(|file| file.unwrap().path()) {
            if path.extension().is_some_and(|extension| extension == "json") {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                found.push((name, serde_json::from_slice(&fs::read(path).unwrap()).unwrap()));
            }
        }
    }
    found.sort_by(|one: &(String, Value), other| one.0.cmp(&other.0));
    found
}

const OF_RESPONSES: [&str; 4] =
    ["openai-responses", "xai-responses", "openrouter-responses", "deepseek-responses"];

fn entry(name: &str, formats: &str) -> Entry {
    let config = format!(
        r#"{{"providers":{{"acme":{{"base_url":"http://a.example","auth":"none","formats":{formats}}}}}}}"#
    );
    let key = |name: &str| name.ends_with("_API_KEY").then(|| "sk-x".to_owned());
    let registry = Registry::new(&Config::read("{}", Some(&config)).unwrap(), false, key);
    registry.into_entries().into_iter().find(|entry| entry.name == name).unwrap()
}

fn responder(format: Format, translation: Option<Rc<Translation>>) -> Responder {
    Responder { format, hide_usage: false, ends_without_done: false, translation }
}

fn translation(caller: Format, request: &[u8]) -> Rc<Translation> {
    Rc::new(Translation {
        caller,
        maker: Maker::of("acme", "m"),
        model: "m".to_owned(),
        id: "0".to_owned(),
        wants_usage: true,
        created: 1,
        aliases: [].into(),
        echo: (caller == Format::Responses).then(|| Rc::new(Echo::read(request))),
    })
}

/// The bytes for the caller of a stream that arrives in chunks of this size, and its state.
fn relay(responder: &Responder, bytes: &[u8], size: usize) -> (Vec<u8>, Box<dyn ResponseStream>) {
    let mut stream = responder.stream("acme", None, 10_000_000).unwrap();
    let mut out = Vec::new();
    for chunk in bytes.chunks(size.min(bytes.len().max(1))) {
        match stream.push(chunk) {
            Relayed::AsIs => out.extend_from_slice(chunk),
            Relayed::Instead(bytes) => out.extend_from_slice(&bytes),
        }
    }
    out.extend_from_slice(&stream.end(Ending::Closed));
    (out, stream)
}

/// The first complete response of a recorded stream, up to and with its last event; `None` if there is no complete one.
fn first_stream(exchange: &Value) -> Option<String> {
    let text = exchange["response"]["sse"].as_str()?;
    let mut out = String::new();
    for event in sse::events(text.as_bytes()) {
        out.push_str(std::str::from_utf8(event).unwrap());
        let parsed = sse::parse(event);
        let kind = serde_json::from_slice::<Value>(&parsed.data).unwrap_or_default()["type"].clone();
        if kind == "response.completed" || kind == "response.incomplete" {
            return Some(out);
        }
    }
    None
}

#[test]
fn recorded_requests_pass_as_they_are() {
    let openai = entry("openai", "[]");
    let mut count = 0;
    for (name, exchange) in recordings(&OF_RESPONSES) {
        let request = &exchange["request"];
        let is_create = request["path"].as_str().is_some_and(|path| path.ends_with("/responses"));
        if !request["body"].is_object() || !is_create || exchange["response"]["status"] == 400 {
            continue;
        }
        let body = request["body"].to_string();
        let read =
            format::read(&RESPONSES, body.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let model = read.model.clone();
        let upstream = Upstream { provider: &openai, model: &model, own_routing: false };
        assert_eq!(read.outgoing(&upstream, None).unwrap().body, None, "{name}");
        // What a provider reports as input is within the bounds of the request.
        if let Some(told) = exchange["response"]["body"]["usage"]["input_tokens"].as_u64() {
            let bounds = read.size.prompt_bounds();
            assert!((bounds.least..=bounds.most).contains(&told), "{name}: {told} {bounds:?}");
        }
        count += 1;
    }
    eprintln!("{count} requests");
}

#[test]
fn recorded_responses_pass_and_their_usage_is_read() {
    for (name, exchange) in recordings(&OF_RESPONSES) {
        let body = &exchange["response"]["body"];
        if body["output"].is_array() && body["object"] == "response" {
            let whole = responder(Format::Responses, None).whole("acme", body.to_string().as_bytes(), None);
            let whole = whole.unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert_eq!(whole.usage.completion_tokens, body["usage"]["output_tokens"].as_u64(), "{name}");
            assert_eq!(whole.usage.prompt_tokens, body["usage"]["input_tokens"].as_u64(), "{name}");
            // Some recordings have shortened texts or usage that was made up.
            let produced = whole.produced;
            assert!(produced <= whole.usage.completion_tokens.unwrap_or(produced) + 8, "{name}: {produced}");
        }
    }
}

#[test]
fn recorded_streams_pass_however_they_are_split() {
    let mut count = 0;
    for (name, exchange) in recordings(&OF_RESPONSES) {
        let Some(text) = first_stream(&exchange) else { continue };
        for size in [usize::MAX, 16_384, 1_000, 77, 1] {
            let (out, stream) = relay(&responder(Format::Responses, None), text.as_bytes(), size);
            assert_eq!(String::from_utf8(out).unwrap(), text, "{name} in chunks of {size}");
            assert_eq!(stream.state(), StreamState::Over(Outcome::Done), "{name}");
            assert!(stream.early_end().is_none(), "{name}");
        }
        // Cut before its last event, it ends with `response.failed`.
        let events: Vec<_> = sse::events(text.as_bytes()).collect();
        let cut = events[..events.len() - 1].concat();
        let (out, stream) = relay(&responder(Format::Responses, None), &cut, 100);
        assert!(out.starts_with(&cut), "{name}");
        let last = sse::events(&out).map(sse::parse).last().unwrap();
        assert!(is_error(&last.name, &last.data) && last.name == b"response.failed", "{name}");
        assert_eq!(stream.state(), StreamState::Over(Outcome::Cut), "{name}");
        count += 1;
    }
    eprintln!("{count} streams");
}

/// The content of a response as a caller of Responses reads it.
fn read_responses(stream: &[u8]) -> Reply {
    let mut reader = Reader::new(Maker::of("acme", "m"));
    let mut deltas = Vec::new();
    for event in sse::events(stream).map(sse::parse) {
        reader.event(&event.name, &event.data, &mut deltas);
    }
    Reply::of(deltas)
}

#[test]
fn recordings_of_other_formats_reach_callers_of_responses_whole_and_streamed() {
    let mut count = 0;
    for (format, folder) in [
        (Format::Messages, "anthropic-messages"),
        (Format::ChatCompletions, "openai-chat"),
        (Format::ChatCompletions, "deepseek-chat"),
    ] {
        for (name, exchange) in recordings(&[folder]) {
            let responder = responder(format, Some(translation(Format::Responses, b"{}")));
            if let Some(text) = exchange["response"]["sse"].as_str() {
                let (out, stream) = relay(&responder, text.as_bytes(), usize::MAX);
                assert_eq!(relay(&responder, text.as_bytes(), 33).0, out, "{name}");
                let last = sse::events(&out).map(sse::parse).last().unwrap();
                let is_done =
                    stream.state() == StreamState::Over(Outcome::Done) && stream.early_end().is_none();
                assert_eq!(is_done, last.name != b"response.failed", "{name}");
                assert!(last.name.starts_with(b"response."), "{name}");
                if is_done {
                    assert_eq!(
                        read_responses(&out).usage.completion_tokens,
                        stream.usage().completion_tokens
                    );
                    count += 1;
                }
            } else if let Ok(whole) =
                responder.whole("acme", exchange["response"]["body"].to_string().as_bytes(), None)
            {
                let body = whole.translated.unwrap();
                let reply = Reply::of(read_whole(&body, Maker::of("acme", "m")).unwrap());
                assert!(reply.stop.is_some(), "{name}");
                count += 1;
            }
        }
    }
    eprintln!("{count} responses");
}

#[test]
fn recordings_of_responses_reach_callers_of_other_formats() {
    let mut count = 0;
    for (name, exchange) in recordings(&OF_RESPONSES) {
        for (caller, end) in
            [(Format::ChatCompletions, "data: [DONE]\n\n"), (Format::Messages, "event: message_stop\n")]
        {
            let responder = responder(Format::Responses, Some(translation(caller, b"{}")));
            let Some(text) = first_stream(&exchange) else { continue };
            let (out, stream) = relay(&responder, text.as_bytes(), usize::MAX);
            assert_eq!(relay(&responder, text.as_bytes(), 33).0, out, "{name}");
            if stream.early_end().is_none() {
                assert!(String::from_utf8(out).unwrap().contains(end), "{name}");
                count += 1;
            }
        }
    }
    eprintln!("{count} streams");
}

/// The request that an upstream gets, and the names of what was dropped or changed.
fn sent(operation: &'static Operation, body: &Value, provider: &Entry, model: &str) -> (Format, Value) {
    let bytes = body.to_string();
    let request = format::read(operation, bytes.as_bytes()).unwrap();
    let upstream = Upstream { provider, model, own_routing: false };
    let outgoing = request.outgoing(&upstream, None).unwrap();
    let sent = outgoing.body.map_or_else(|| body.clone(), |body| serde_json::from_slice(&body).unwrap());
    (outgoing.responder.format, sent)
}

#[test]
fn a_response_is_translated_for_providers_of_other_formats() {
    let tools =
        json!([{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]);
    let body = json!({"model": "a", "instructions": "be kind", "input": "hi", "max_output_tokens": 50, "tools": tools});
    let (format, chat) = sent(&RESPONSES, &body, &entry("acme", r#"["chat_completions"]"#), "up");
    assert_eq!((format, &chat["model"]), (Format::ChatCompletions, &json!("up")));
    let expected = json!([{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]);
    assert_eq!(chat["messages"], expected);
    assert_eq!(chat["tools"][0]["function"]["name"], "f");
    let (format, messages) = sent(&RESPONSES, &body, &entry("acme", r#"["messages"]"#), "up");
    assert_eq!((format, &messages["max_tokens"]), (Format::Messages, &json!(50)));
    assert_eq!(messages["tools"][0]["name"], "f");
    for field in ["previous_response_id", "conversation", "prompt"] {
        let mut body = body.clone();
        body[field] = "x_1".into();
        let bytes = body.to_string();
        let request = format::read(&RESPONSES, bytes.as_bytes()).unwrap();
        for formats in [r#"["chat_completions"]"#, r#"["responses"]"#] {
            let provider = entry("acme", formats);
            let upstream = Upstream { provider: &provider, model: "up", own_routing: false };
            let error = request.check_translation(&upstream).unwrap_err();
            assert_eq!(
                (error.code(), error.param.as_deref()),
                (Some("unsupported_parameter"), Some(field)),
                "{formats}"
            );
        }
    }
}

/// The newest of OpenAI's reasoning models reject tools in Chat Completions.
#[test]
fn messages_with_tools_go_to_openais_reasoning_models_as_responses() {
    let openai = entry("openai", "[]");
    let tools = json!([{"name": "f", "input_schema": {"type": "object", "properties": {}}}]);
    let user = json!([{"role": "user", "content": "hi"}]);
    let plain = json!({"model": "a", "max_tokens": 50, "messages": user});
    let with_tools = json!({"model": "a", "max_tokens": 50, "messages": user, "tools": tools});
    let is_reasoning = |model: &str| openai.facts(model).and_then(|facts| facts.reasoning) == Some(true);
    assert!(is_reasoning("gpt-5") && !is_reasoning("gpt-4o"));
    for (body, model, expected) in [
        (&with_tools, "gpt-5", Format::Responses),
        (&plain, "gpt-5", Format::ChatCompletions),
        (&with_tools, "gpt-4o", Format::ChatCompletions),
    ] {
        let (format, written) = sent(&MESSAGES, body, &openai, model);
        assert_eq!(format, expected, "{model}");
        assert_eq!(written["input"].is_array(), expected == Format::Responses, "{written}");
    }
    let chat = json!({"model": "gpt-5", "messages": user, "tools": [{"type": "function", "function": {"name": "f"}}]});
    assert_eq!(sent(&CHAT_COMPLETIONS, &chat, &openai, "gpt-5").0, Format::ChatCompletions);
}
