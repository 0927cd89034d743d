//! Wire tests of the Messages side. The division into frames, delays and the ends of connections are the same code as
//! for chat completions, which `wire` tests; here is what differs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{
    ASK, End, Response, SAID, call, chat, drain, get, parse, record, send_with, start, start_with_key,
};

const VERSION: &str = "anthropic-version: 2023-06-01\r\n";

/// Posts a body with these headers.
fn post(server: SocketAddr, path: &str, headers: &str, body: &Value) -> Response {
    let (bytes, end) = drain(&send_with(server, "POST", path, headers, body.to_string().as_bytes()));
    parse(&bytes, end)
}

/// Posts a request for a message; the fields are added to the usual ones.
fn message(server: SocketAddr, fields: &Value) -> Response {
    post(server, "/v1/messages", VERSION, &request(fields))
}

fn request(fields: &Value) -> Value {
    let mut body = json!({"model": "claude-haiku-4-5", "max_tokens": 100,
        "messages": [{"role": "user", "content": ASK}]});
    for (name, field) in fields.as_object().unwrap() {
        body[name] = field.clone();
    }
    body
}

fn simulate(server: SocketAddr, stream: bool, simulate: &Value) -> Response {
    message(server, &json!({"stream": stream, "simulate": simulate}))
}

/// The events of a stream, each of which must have the name of its type.
fn events(response: &Response) -> Vec<Value> {
    let text = response.text().replace("\r\n", "\n").replace('\r', "\n");
    let events = text.split("\n\n").filter(|event| event.starts_with("event: "));
    let read = events.map(|event| {
        let (name, data) = event.split_once('\n').unwrap();
        let value: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name, format!("event: {}", value["type"].as_str().unwrap()));
        value
    });
    read.collect()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// The message that a stream adds up to. Panics at an event out of place.
fn fold(events: &[Value]) -> Value {
    let mut message = Value::Null;
    let mut input = String::new();
    let mut is_open = false;
    for event in events {
        match event["type"].as_str().unwrap() {
            "message_start" => {
                assert!(message.is_null());
                message = event["message"].clone();
            }
            "content_block_start" => {
                let content = message["content"].as_array_mut().unwrap();
                assert!(!is_open && event["index"] == content.len());
                content.push(event["content_block"].clone());
                input.clear();
                is_open = true;
            }
            "content_block_delta" => {
                assert!(is_open && event["index"] == message["content"].as_array().unwrap().len() - 1);
                let block = message["content"].as_array_mut().unwrap().last_mut().unwrap();
                for (field, piece) in
                    event["delta"].as_object().unwrap().iter().filter(|(name, _)| *name != "type")
                {
                    let piece = piece.as_str().unwrap();
                    if field == "partial_json" {
                        input.push_str(piece);
                    } else {
                        let whole = format!("{}{piece}", block[field].as_str().unwrap());
                        block[field] = json!(whole);
                    }
                }
            }
            "content_block_stop" => {
                assert!(is_open);
                is_open = false;
                if !input.is_empty() {
                    let block = message["content"].as_array_mut().unwrap().last_mut().unwrap();
                    block["input"] = serde_json::from_str(&input).unwrap();
                }
            }
            "message_delta" => {
                for (part, into) in [("delta", None), ("usage", Some("usage"))] {
                    for (name, value) in event[part].as_object().unwrap() {
                        match into {
                            Some(into) => message[into][name] = value.clone(),
                            None => message[name] = value.clone(),
                        }
                    }
                }
            }
            _ => {}
        }
    }
    assert!(!is_open);
    message
}

fn tools() -> Value {
    json!([{"name": "weather", "input_schema": {"type": "object"}}, {"name": "clock", "input_schema": {"type": "object"}}])
}

#[test]
fn a_whole_message_has_every_field() {
    let server = start();
    for path in ["/v1/messages", "/messages", "/api/anthropic/v1/messages?beta=true"] {
        assert_eq!(post(server, path, VERSION, &request(&json!({}))).status, 200);
    }
    let response = message(server, &json!({"system": "be brief"}));
    assert_eq!(
        (response.header("content-type"), response.header("request-id")),
        (Some("application/json"), Some("req_sim_4"))
    );
    let expected = json!({"model": "claude-haiku-4-5", "id": "msg_sim_4", "type": "message", "role": "assistant",
        "content": [{"type": "text", "text": SAID}], "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 8, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}, "output_tokens": 8,
        "output_tokens_details": {"thinking_tokens": 0}, "service_tier": "standard"}});
    assert_eq!(response.json(), expected);
    let record = record(server, 4);
    assert_eq!((&record["outcome"], &record["completion_tokens"]), (&json!("completed"), &json!(8)));
    assert_eq!(record["headers"]["anthropic-version"], "2023-06-01");
}

#[test]
fn a_stream_is_the_whole_message_in_pieces() {
    let server = start();
    for fields in [
        json!({}),
        json!({"tools": tools()}),
        json!({"thinking": {"type": "adaptive"}, "model": "claude-opus-4-8"}),
        json!({"tools": tools(), "simulate": {"content": "I call", "thinking": "a b", "redacted_thinking": true,
            "calls": [{"name": "weather", "input": {"location": "Aachen and Köln"}}, {"name": "clock"}]}}),
        json!({"simulate": {"thinking": "unsigned", "signature": "none"}}),
        json!({"simulate": {"stop_reason": "refusal"}}),
        json!({"simulate": {"stop_reason": "pause_turn", "unknown_blocks": true}}),
        json!({"stop_sequences": ["漢"]}),
        json!({"max_tokens": 3}),
        json!({"simulate": {"bill": {"cached": 1, "cache_write": 2, "cache_write_1h": 3, "reasoning": 5}}}),
    ] {
        let whole = message(server, &fields).json();
        let mut streamed = fields.clone();
        streamed["stream"] = json!(true);
        let response = message(server, &streamed);
        assert_eq!(response.header("content-type"), Some("text/event-stream; charset=utf-8"));
        let events = events(&response);
        assert_eq!(events.last().unwrap()["type"], "message_stop");
        let mut folded = fold(&events);
        folded["id"] = whole["id"].clone();
        // A refusal has its details in the whole message, too.
        assert_eq!(folded, whole, "{fields}");
        let last = get(server, "/_requests?last=2");
        if fields["simulate"]["bill"].is_null() {
            assert_eq!(last[0]["completion_tokens"], whole["usage"]["output_tokens"], "{fields}");
            assert_eq!(last[1]["completion_tokens"], whole["usage"]["output_tokens"], "{fields}");
        }
    }
}

#[test]
fn a_stream_has_the_recorded_grammar() {
    let server = start();
    let text = simulate(server, true, &json!({"content": "one two"}));
    assert_eq!(
        types(&events(&text)),
        [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    let calls = message(
        server,
        &json!({"stream": true, "tools": tools(), "simulate": {"calls": [
            {"name": "weather", "input": {"at": "Köln"}}, {"name": "clock"}], "pings": false}}),
    );
    let events = events(&calls);
    // The first piece of arguments is empty, and a call without arguments has none at all.
    assert_eq!(events[2]["delta"], json!({"type": "input_json_delta", "partial_json": ""}));
    assert_eq!(events[1]["content_block"]["id"], "toolu_sim_1");
    assert_eq!(events[events.len() - 4]["content_block"]["id"], "toolu_sim_2");
    assert_eq!(
        types(&events[events.len() - 4..]),
        ["content_block_start", "content_block_stop", "message_delta", "message_stop"]
    );
    let refused = fold(&self::events(&simulate(server, true, &json!({"stop_reason": "refusal"}))));
    assert_eq!((&refused["content"], &refused["stop_details"]["type"]), (&json!([]), &json!("refusal")));
}

#[test]
fn thinking_is_signed_and_verified() {
    let server = start();
    let first =
        json!({"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000, "tools": tools()});
    let content = message(server, &first).json()["content"].clone();
    assert_eq!((&content[0]["type"], &content[1]["type"]), (&json!("thinking"), &json!("tool_use")));
    let mut second = first.clone();
    let result = json!([{"type": "tool_result", "tool_use_id": content[1]["id"], "content": "21 C"}]);
    second["messages"] = json!([{"role": "user", "content": ASK}, {"role": "assistant", "content": content},
        {"role": "user", "content": result}]);
    let replied = message(server, &second).json();
    assert_eq!(replied["content"][1]["text"], "The tool said: 21 C");
    second["messages"][1]["content"][0]["signature"] = json!("Zm9yZWlnbg==");
    let rejected = message(server, &second);
    assert_eq!(rejected.status, 400);
    assert_eq!(
        rejected.json(),
        json!({"type": "error", "error": {"type": "invalid_request_error",
            "message": "messages.1.content.0: Invalid `signature` in `thinking` block"}, "request_id": "req_sim_3"})
    );
    second["simulate"] = json!({"lenient": true});
    assert_eq!(message(server, &second).status, 200);
    // The newer models sign what they do not show.
    let hidden =
        message(server, &json!({"model": "claude-opus-4-8", "thinking": {"type": "adaptive"}})).json();
    assert_eq!(hidden["content"][0]["thinking"], "");
    assert!(hidden["usage"]["output_tokens_details"]["thinking_tokens"].as_u64().unwrap() > 0);
}

#[test]
fn a_script_in_the_prompt_leads_an_agent() {
    let server = start();
    let script =
        "Look [[call weather {\"at\": \"Köln\"}]] [[call clock]] [[then]] [[simulate {\"status\": 529}]]";
    let mut body = json!({"tools": tools(), "messages": [{"role": "user", "content": script}]});
    let content = message(server, &body).json()["content"].clone();
    assert_eq!((&content[0]["input"], &content[1]["name"]), (&json!({"at": "Köln"}), &json!("clock")));
    let results: Vec<Value> = ["21 C", "noon"]
        .iter()
        .zip(content.as_array().unwrap())
        .map(|(text, call)| json!({"type": "tool_result", "tool_use_id": call["id"], "content": text}))
        .collect();
    let messages = body["messages"].as_array_mut().unwrap();
    messages.extend([
        json!({"role": "assistant", "content": content}),
        json!({"role": "user", "content": results}),
    ]);
    assert_eq!(message(server, &body).status, 529);
    body["messages"].as_array_mut().unwrap().extend([
        json!({"role": "assistant", "content": "x"}),
        json!({"role": "user", "content": results_to_text(&results)}),
    ]);
    body["tools"] = json!([]);
    assert_eq!(message(server, &body).json()["content"][0]["text"], "You said: 21 C noon");
    // The same conversation in the other format.
    let tools = json!([{"type": "function", "function": {"name": "weather"}}]);
    let asked = json!({"tools": tools, "messages": [{"role": "user", "content": script}]});
    let reply = chat(server, &asked).json()["choices"][0]["message"].clone();
    assert_eq!(reply["tool_calls"].as_array().unwrap().len(), 2);
    assert_eq!(reply["tool_calls"][1]["function"], json!({"name": "clock", "arguments": "{}"}));
    assert_eq!(
        message(server, &json!({"messages": [{"role": "user", "content": "[[call a {]]"}]})).status,
        400
    );
}

fn results_to_text(results: &[Value]) -> String {
    results.iter().filter_map(|result| result["content"].as_str()).collect::<Vec<_>>().join(" ")
}

#[test]
fn parallel_calls_of_a_chat_completion_have_their_index() {
    let server = start();
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    for interleave in [false, true] {
        let body = json!({"stream": true, "tools": tools, "simulate": {"thinking": "a b", "interleave": interleave,
            "calls": [{"name": "f", "input": {"text": "a long argument"}}, {"name": "g", "input": {"text": "another long one"}}]}});
        let chunks = chat(server, &body).chunks_of_stream();
        let mut arguments = [String::new(), String::new()];
        let mut order = Vec::new();
        let mut thought = String::new();
        for delta in chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]) {
            thought.push_str(delta["reasoning_content"].as_str().unwrap_or_default());
            let piece = &delta["tool_calls"][0];
            if let Some(index) = piece["index"].as_u64() {
                arguments[usize::try_from(index).unwrap()]
                    .push_str(piece["function"]["arguments"].as_str().unwrap());
                order.push(index);
            }
        }
        assert_eq!(arguments, ["{\"text\":\"a long argument\"}", "{\"text\":\"another long one\"}"]);
        assert_eq!((thought.as_str(), order.is_sorted()), ("a b", !interleave));
    }
}

#[test]
fn usage_is_where_it_is_requested() {
    let server = start();
    let bill = json!({"cached": 2, "cache_write": 1, "cache_write_1h": 1, "reasoning": 3});
    let ask = |mode: &str| {
        let events = events(&simulate(server, true, &json!({"usage": mode, "bill": bill})));
        let delta = events.iter().find(|event| event["type"] == "message_delta").unwrap();
        (events[0]["message"]["usage"].clone(), delta["usage"].clone())
    };
    let (start, end) = ask("normal");
    assert_eq!((&start["input_tokens"], &start["cache_read_input_tokens"]), (&json!(2), &json!(2)));
    assert_eq!(
        start["cache_creation"],
        json!({"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 1})
    );
    assert_eq!((&end["input_tokens"], &end["output_tokens"]), (&json!(2), &json!(11)));
    assert_eq!(end["output_tokens_details"]["thinking_tokens"], 3);
    let (start, end) = ask("at_end");
    assert_eq!((&start["input_tokens"], &start["cache_read_input_tokens"]), (&json!(0), &json!(0)));
    assert_eq!((&end["input_tokens"], &end["cache_creation_input_tokens"]), (&json!(2), &json!(2)));
    let (start, end) = ask("at_start");
    assert_eq!((&start["input_tokens"], end.get("input_tokens")), (&json!(2), None));
    let (start, end) = ask("preview");
    assert_eq!((&start["input_tokens"], &end["input_tokens"]), (&json!(1), &json!(2)));
    assert_eq!(ask("none"), (Value::Null, Value::Null));
    let stats = get(server, "/_stats");
    assert_eq!(
        (&stats["billed_written_1h"], &stats["billed_completion"], &stats["billed_prompt"]),
        (&json!(5), &json!(55), &json!(10))
    );
}

#[test]
fn a_stream_fails_as_requested() {
    let server = start();
    let all = types(&events(&simulate(server, true, &json!({})))).len();
    for (fault, kept, complete) in [
        (json!({"cut": "stream", "after_events": 0}), 0, false),
        (json!({"cut": "stream", "after_events": 4}), 4, false),
        (json!({"cut": "clean", "before_end": 1}), all - 1, true),
        (json!({"cut": "stream", "before_end": 2}), all - 2, false),
        (json!({"done": false}), all - 1, true),
    ] {
        let response = simulate(server, true, &fault);
        assert_eq!((response.status, response.complete, &response.end), (200, complete, &End::Closed));
        assert_eq!(events(&response).len(), kept, "{fault}");
    }
    for after in [0, 1, 4] {
        let response = simulate(server, true, &json!({"error_event": true, "after_events": after}));
        let events = events(&response);
        assert_eq!((events.len(), response.complete), (after + 1, true));
        let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
        assert_eq!(events[after], error);
    }
    let named = json!({"error_event": true, "error_type": "api_error", "message": "boom"});
    let error = events(&simulate(server, true, &named)).pop().unwrap();
    assert_eq!(error["error"], json!({"type": "api_error", "message": "boom"}));
    let noisy = json!({"pings": true, "unknown_events": true, "comments": true, "newline": "crlf", "chunking": "bytes:5",
        "extra_members": true, "content": "one two"});
    let response = simulate(server, true, &noisy);
    let events = events(&response);
    assert_eq!(types(&events).iter().filter(|kind| **kind == "ping").count(), 3);
    assert_eq!(types(&events).iter().filter(|kind| **kind == "x_sim_progress").count(), 2);
    assert_eq!(fold(&events)["content"][0]["text"], "one two");
    let whole = simulate(server, true, &json!({"whole": true}));
    assert_eq!(
        (whole.header("content-type"), &whole.json()["type"]),
        (Some("application/json"), &json!("message"))
    );
    let began = Instant::now();
    assert_eq!(simulate(server, true, &json!({"delay_ms": 60, "frame_delay_ms": 5})).status, 200);
    assert!(began.elapsed() >= Duration::from_millis(60 + 5 * 12));
    let huge = simulate(server, true, &json!({"content": "x".repeat(3_000_000)}));
    assert_eq!((huge.complete, huge.body.len() > 3_000_000), (true, true));
}

#[test]
fn errors_have_the_envelope_of_the_api() {
    let server = start();
    for (status, kind) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ] {
        let fault = json!({"status": status, "retry_after": 7, "headers": {"anthropic-ratelimit-requests-remaining": "0"}});
        let response = simulate(server, true, &fault);
        assert_eq!((response.status, response.header("retry-after")), (status, Some("7")));
        assert_eq!(response.header("anthropic-ratelimit-requests-remaining"), Some("0"));
        let again = if matches!(status, 429 | 500 | 504 | 529) { "true" } else { "false" };
        assert_eq!(response.header("x-should-retry"), Some(again), "{status}");
        let error = response.json();
        assert_eq!((&error["type"], &error["error"]["type"]), (&json!("error"), &json!(kind)));
        assert_eq!(error["request_id"], response.header("request-id").unwrap());
    }
    let long = simulate(
        server,
        false,
        &json!({"status": 400, "code": "c1",
        "message": "prompt is too long: 200001 tokens > 200000 maximum"}),
    );
    assert_eq!(
        long.json()["error"],
        json!({"type": "invalid_request_error", "message": "prompt is too long: 200001 tokens > 200000 maximum",
            "details": {"error_code": "c1"}})
    );
    let inside = simulate(server, false, &json!({"body": "error_in_200", "message": "boom"}));
    assert_eq!((inside.status, &inside.json()["error"]["message"]), (200, &json!("boom")));
    for (shape, text) in [("no_choices", "{}"), ("empty", "")] {
        assert_eq!(simulate(server, true, &json!({"body": shape})).text(), text);
    }
    assert_eq!(
        simulate(server, false, &json!({"status": 500, "error_shape": "html"})).header("request-id"),
        Some("req_sim_15")
    );
    call(server, "POST", "/_throttle", br#"{"path":"/v1","for_ms":60000,"retry_after":3}"#);
    let throttled = message(server, &json!({}));
    assert_eq!((throttled.status, throttled.header("retry-after")), (429, Some("3")));
    assert_eq!(throttled.json()["error"]["type"], "rate_limit_error");
}

#[test]
fn requests_are_checked_as_by_the_real_api() {
    let server = start_with_key("sk-sim");
    let body = request(&json!({}));
    let ask = |headers: &str| {
        let response = post(server, "/v1/messages", headers, &body);
        let message = response.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        (response.status, message)
    };
    assert_eq!(ask(VERSION), (401, "x-api-key header is required".to_owned()));
    assert_eq!(ask(&format!("{VERSION}x-api-key: no\r\n")), (401, "invalid x-api-key".to_owned()));
    assert_eq!(ask("x-api-key: sk-sim\r\n"), (400, "anthropic-version: header is required".to_owned()));
    assert_eq!(ask(&format!("{VERSION}x-api-key: sk-sim\r\n")).0, 200);
    let bearer = "anthropic-version: 2026-10-21\r\nauthorization: Bearer sk-sim\r\n";
    assert_eq!(ask(bearer).0, 200);
    let (status, unknown) = ask(&format!("{bearer}anthropic-beta: no-such-beta\r\n"));
    assert!(status == 400 && unknown.contains("`no-such-beta`"), "{unknown}");
    // The other endpoints need no key.
    assert_eq!(chat(server, &json!({"messages": []})).status, 200);
    assert_eq!(call(server, "GET", "/v1/messages", b"").status, 405);
}

#[test]
fn tokens_are_counted_and_models_are_listed() {
    let server = start();
    let mut body =
        json!({"model": "claude-haiku-4-5", "system": "a b", "messages": [{"role": "user", "content": "c"}]});
    let count = |body: &Value| post(server, "/v1/messages/count_tokens?beta=true", VERSION, body);
    assert_eq!(count(&body).json(), json!({"input_tokens": 3}));
    // A script is for the reply.
    body["messages"][0]["content"] = json!("c [[simulate {\"status\": 529}]]");
    assert_eq!(count(&body).status, 200);
    body["simulate"] = json!({"status": 529});
    assert_eq!(count(&body).json()["error"]["type"], "overloaded_error");
    body["simulate"] = json!({"content": "a"});
    assert_eq!(count(&body).status, 400);

    let (bytes, end) = drain(&send_with(server, "GET", "/v1/models", VERSION, b""));
    let list = parse(&bytes, end).json();
    assert_eq!((&list["data"][0]["type"], &list["has_more"]), (&json!("model"), &json!(false)));
    assert_eq!(call(server, "GET", "/v1/models", b"").json()["object"], "list");
}
