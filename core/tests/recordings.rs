//! Recorded traffic of Anthropic's API, through the reader of requests, the check of whole responses, and streams.
//!
//! The recordings are not a part of this repository. They are read from the folder that `GATEHOUSE_RECORDINGS` names, by
//! default `../shared/data/recordings` beside the repository; where there is none, the tests are skipped.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests may panic and say why they are skipped")]

use std::path::PathBuf;
use std::{env, fs};

use gatehouse_core::catalog::{Entry, Registry};
use gatehouse_core::config::Config;
use gatehouse_core::format;
use gatehouse_core::format::request::Responder;
use gatehouse_core::format::stream::{Ending, Outcome, Relayed, StreamState};
use gatehouse_core::format::upstream::Upstream;
use gatehouse_core::format::upstream_error;
use gatehouse_core::operation::{Format, MESSAGES};
use serde_json::Value;

/// A recorded exchange, and the name of its file.
struct Recording {
    name: String,
    exchange: Value,
}

fn recordings() -> Vec<Recording> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/recordings");
    let folder = env::var_os("GATEHOUSE_RECORDINGS").map_or_else(beside, PathBuf::from);
    let Ok(files) = fs::read_dir(folder.join("anthropic-messages")) else {
        eprintln!("skipped: there are no recordings in {}", folder.display());
        return Vec::new();
    };
    let mut found: Vec<_> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| Recording {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            exchange: serde_json::from_slice(&fs::read(path).unwrap()).unwrap(),
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(!found.is_empty(), "there are no recordings in {}", folder.display());
    found
}

fn provider() -> Entry {
    let config =
        r#"{"providers":{"acme":{"base_url":"http://a.example","auth":"none","formats":["messages"]}}}"#;
    let registry = Registry::new(&Config::read("{}", Some(config)).unwrap(), false, |_| None);
    registry.into_entries().into_iter().find(|entry| entry.name == "acme").unwrap()
}

fn responder() -> Responder {
    Responder { format: Format::Messages, hide_usage: false, ends_without_done: false, translation: None }
}

#[test]
fn recorded_requests_are_read_and_pass_as_they_are() {
    let provider = provider();
    for Recording { name, exchange } in recordings() {
        let request = &exchange["request"];
        if !request["body"].is_object() || exchange["response"]["status"] != 200 {
            continue;
        }
        let body = request["body"].to_string();
        if request["path"].as_str().unwrap().contains("count_tokens") {
            let prompt = format::read_prompt(&MESSAGES, body.as_bytes()).unwrap();
            let counted = exchange["response"]["body"]["input_tokens"].as_u64().unwrap();
            let estimate = prompt.high_estimate();
            assert!(estimate >= counted, "{name}: {estimate} < {counted}");
            continue;
        }
        let read =
            format::read(&MESSAGES, body.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(read.needs.output_tokens, request["body"]["max_tokens"].as_u64(), "{name}");
        let model = read.model.clone();
        let upstream = Upstream { provider: &provider, model: &model, own_routing: false };
        assert_eq!(read.outgoing(&upstream, None).unwrap().body, None, "{name}");
        let upstream = Upstream { model: "other", ..upstream };
        let sent: Value =
            serde_json::from_slice(&read.outgoing(&upstream, None).unwrap().body.unwrap()).unwrap();
        let mut expected = request["body"].clone();
        expected["model"] = "other".into();
        assert_eq!(sent, expected, "{name}");
        // What a provider may report as input is within the bounds of the request.
        let usage = &exchange["response"]["body"]["usage"];
        if let Some(whole) = exchange["response"]["body"]["content"].as_array() {
            let is_hosted = whole.iter().any(|block| block["type"] != "text" && block["type"] != "tool_use");
            let told = ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"];
            let told: u64 = told.iter().filter_map(|name| usage[*name].as_u64()).sum();
            let bounds = read.size.prompt_bounds();
            assert!(is_hosted || (bounds.least..=bounds.most).contains(&told), "{name}: {told} {bounds:?}");
        }
    }
}

#[test]
fn recorded_messages_pass_and_their_usage_is_read() {
    for Recording { name, exchange } in recordings() {
        let response = &exchange["response"];
        let Some(status) = response["status"].as_u64() else { continue };
        if response["body"].get("content").is_none() && status == 200 {
            continue;
        }
        let Some(body) = response.get("body") else { continue };
        if status != 200 {
            let error = upstream_error::read(
                "acme",
                u16::try_from(status).unwrap(),
                body.to_string().as_bytes(),
                None,
            );
            assert_eq!(error.message, body["error"]["message"].as_str().unwrap(), "{name}");
            continue;
        }
        let whole = responder().whole("acme", body.to_string().as_bytes(), None).unwrap();
        let output = body["usage"]["output_tokens"].as_u64();
        assert!(whole.usage.completion_tokens >= output && output.is_some(), "{name}: {:?}", whole.usage);
        assert!(whole.usage.prompt_tokens >= body["usage"]["input_tokens"].as_u64(), "{name}");
        let produced = whole.produced;
        assert!(produced <= whole.usage.completion_tokens.unwrap_or(0) * 2, "{name}: {produced}");
    }
}

#[test]
fn recorded_streams_pass_however_they_are_split() {
    for Recording { name, exchange } in recordings() {
        let Some(text) = exchange["response"]["sse"].as_str() else { continue };
        // One file has two messages, one after the other.
        let end = "data: {\"type\":\"message_stop\"}";
        let text = text.split_inclusive(end).next().unwrap();
        let mut usage = None;
        for size in [usize::MAX, 16_384, 1_000, 77, 1] {
            let mut stream = responder().stream("acme", None, 10_000_000).unwrap();
            let mut out = Vec::new();
            for chunk in text.as_bytes().chunks(size.min(text.len())) {
                match stream.push(chunk) {
                    Relayed::AsIs => out.extend_from_slice(chunk),
                    Relayed::Instead(bytes) => out.extend_from_slice(&bytes),
                }
            }
            out.extend_from_slice(&stream.end(Ending::Closed));
            assert_eq!(stream.state(), StreamState::Over(Outcome::Done), "{name}");
            assert_eq!(String::from_utf8(out).unwrap().trim_end(), text.trim_end(), "{name}");
            assert!(stream.early_end().is_none(), "{name}");
            assert!(stream.usage().is_known(), "{name}");
            assert_eq!(*usage.get_or_insert_with(|| stream.usage()), stream.usage(), "{name}");
        }
        let outputs = text.split("\"output_tokens\":").skip(1);
        let told = outputs.filter_map(|rest| rest.split([',', '}', ' ']).next()?.parse().ok()).max();
        assert!(usage.unwrap().completion_tokens >= told, "{name}: {usage:?} {told:?}");
    }
}
