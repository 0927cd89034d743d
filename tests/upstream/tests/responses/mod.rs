//! Wire tests of the Responses side. The division into frames, delays and the ends of connections are the same code as
//! for chat completions, which `wire` tests; here is what differs.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::client::{ASK, End, Response, SAID, call, drain, get, parse, record, send_with, start};

const PATH: &str = "/v1/responses";

fn post(server: SocketAddr, path: &str, body: &Value) -> Response {
    call(server, "POST", path, body.to_string().as_bytes())
}

/// Posts a request for a response; the fields are added to the usual ones.
fn create(server: SocketAddr, fields: &Value) -> Response {
    post(server, PATH, &request(fields))
}

fn request(fields: &Value) -> Value {
    let mut body = json!({"model": "sim-small", "input": ASK});
    for (name, field) in fields.as_object().unwrap() {
        body[name] = field.clone();
    }
    body
}

fn simulate(server: SocketAddr, stream: bool, simulate: &Value) -> Response {
    create(server, &json!({"stream": stream, "simulate": simulate}))
}

fn tools() -> Value {
    json!([
        {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}},
        {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
        {"type": "namespace", "name": "mcp", "tools": [{"type": "function", "name": "find", "parameters": {"type": "object"}}]},
        {"type": "web_search"},
    ])
}

/// The events of a stream, each of which must have the name of its type and the next number.
fn events(response: &Response) -> Vec<Value> {
    let text = response.text().replace("\r\n", "\n").replace('\r', "\n");
    let events = text.split("\n\n").filter(|event| event.starts_with("event: "));
    let read = events.enumerate().map(|(number, event)| {
        let (name, data) = event.split_once('\n').unwrap();
        let value: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name, format!("event: {}", value["type"].as_str().unwrap()));
        assert_eq!(value["sequence_number"], number);
        value
    });
    read.collect()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// The output that a stream adds up to, from its deltas alone. Panics at an event out of place.
fn fold(events: &[Value]) -> Vec<Value> {
    let mut items: Vec<Value> = Vec::new();
    for event in events {
        let kind = event["type"].as_str().unwrap();
        let at = usize::try_from(event["output_index"].as_u64().unwrap_or(0)).unwrap();
        match kind {
            "response.output_item.added" => {
                assert_eq!(at, items.len());
                items.push(event["item"].clone());
                continue;
            }
            "response.output_item.done" => {
                items[at]["status"] = event["item"]["status"].clone();
                // The one of an unfinished item is another one.
                if let Some(encrypted) = event["item"].get("encrypted_content") {
                    items[at]["encrypted_content"] = encrypted.clone();
                }
                let mut complete = event["item"].clone();
                if items[at].get("status") == Some(&Value::Null) {
                    complete["status"] = Value::Null;
                }
                assert_eq!(items[at], complete);
                continue;
            }
            _ => {}
        }
        if event.get("item_id").is_none() {
            continue;
        }
        assert_eq!(event["item_id"], items[at]["id"], "{event}");
        let (list, texts) = match kind.split('.').nth(1).unwrap() {
            "content_part" | "output_text" | "reasoning_text" => ("content", "text"),
            "refusal" => ("content", "refusal"),
            "reasoning_summary_part" | "reasoning_summary_text" => ("summary", "text"),
            "function_call_arguments" => ("", "arguments"),
            "custom_tool_call_input" => ("", "input"),
            _ => continue,
        };
        let place = if list.is_empty() { &mut items[at] } else { &mut items[at][list] };
        match kind.rsplit('.').next().unwrap() {
            "added" => place.as_array_mut().unwrap().push(event["part"].clone()),
            "delta" => {
                let place = if list.is_empty() { place } else { &mut place[0] };
                let text = place[texts].as_str().unwrap().to_owned() + event["delta"].as_str().unwrap();
                place[texts] = json!(text);
            }
            "done" if kind.ends_with("part.done") => assert_eq!(place[0], event["part"]),
            "done" => {
                let place = if list.is_empty() { place } else { &mut place[0] };
                assert_eq!(place[texts], event[texts]);
            }
            other => panic!("{other}"),
        }
    }
    items
}

#[test]
fn a_whole_response_has_every_field() {
    let server = start();
    for path in [PATH, "/responses", "/api/v3/openai/responses"] {
        assert_eq!(post(server, path, &request(&json!({}))).status, 200);
    }
    let response = create(server, &json!({"model": "some/model", "instructions": "be brief", "user": "u"}));
    assert_eq!(response.header("x-request-id"), Some("req-sim-4"));
    let body = response.json();
    let expected = json!({"id": "resp_sim_4", "object": "response", "created_at": body["created_at"],
        "status": "completed", "background": false, "completed_at": body["created_at"], "error": null,
        "incomplete_details": null, "instructions": "be brief", "max_output_tokens": null, "max_tool_calls": null,
        "model": "some/model", "output": [{"id": "msg_sim_4_0", "type": "message", "status": "completed",
        "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": SAID}], "role": "assistant"}],
        "parallel_tool_calls": true, "previous_response_id": null, "prompt_cache_key": null,
        "reasoning": {"effort": null, "summary": null}, "safety_identifier": null, "service_tier": "default",
        "store": true, "temperature": 1.0, "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto", "tools": [], "top_logprobs": 0, "top_p": 1.0, "truncation": "disabled",
        "usage": {"input_tokens": 8, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 8, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 16}, "user": "u",
        "metadata": {}});
    assert_eq!(body, expected);
    let record = record(server, 4);
    assert_eq!((&record["outcome"], &record["completion_tokens"]), (&json!("completed"), &json!(8)));
    assert_eq!(call(server, "GET", PATH, b"").status, 405);
}

#[test]
fn a_stream_is_the_whole_response_in_pieces() {
    let server = start();
    let calls = json!([{"name": "weather", "input": {"location": "Aachen and Köln"}}, {"name": "weather"},
        {"name": "apply_patch", "input": {"input": "*** Begin Patch\n\"é\""}}, {"name": "mcp__find", "input": {"q": "x"}}]);
    let include = json!(["reasoning.encrypted_content"]);
    for fields in [
        json!({}),
        json!({"tools": tools()}),
        json!({"tools": tools(), "simulate": {"content": "I call", "thinking": "a b", "calls": calls}}),
        json!({"tools": tools(), "simulate": {"interleave": true, "calls": calls}}),
        json!({"reasoning": {"effort": "low"}, "include": include}),
        json!({"reasoning": {"effort": "low", "summary": "auto"}, "include": include, "store": false}),
        json!({"include": include, "simulate": {"thinking": "in the open", "open_thinking": true, "signature": "none"}}),
        json!({"simulate": {"refusal": "I cannot help with that."}}),
        json!({"simulate": {"unknown_blocks": true, "stop_reason": "pause_turn"}}),
        json!({"max_output_tokens": 16, "input": "a b c d e f g h i j k l m n o p q r s t"}),
        json!({"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object", "required": ["x"]}}}}),
        json!({"simulate": {"bill": {"cached": 1, "cache_write": 2, "reasoning": 5}}}),
    ] {
        let mut whole = create(server, &fields).json();
        let mut streamed = fields.clone();
        streamed["stream"] = json!(true);
        let response = create(server, &streamed);
        assert_eq!(response.header("content-type"), Some("text/event-stream; charset=utf-8"));
        let events = events(&response);
        let [first, second, .., last] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(types(&[first.clone(), second.clone()]), ["response.created", "response.in_progress"]);
        assert_eq!(last["type"], format!("response.{}", whole["status"].as_str().unwrap()));
        assert_eq!(first["response"]["output"], json!([]));
        let last = last["response"].clone();
        let mut folded = fold(&events);
        for item in &mut folded {
            if item.get("status") == Some(&Value::Null) {
                item.as_object_mut().unwrap().remove("status");
            }
        }
        assert_eq!(Value::Array(folded), last["output"], "{fields}");
        // The numbers of the requests differ, and with them the ids.
        let n = whole["id"].as_str().unwrap().strip_prefix("resp_sim_").unwrap().to_owned();
        let streamed: u64 = n.parse::<u64>().unwrap() + 1;
        let text = whole.to_string().replace(&format!("_sim_{n}"), &format!("_sim_{streamed}"));
        whole = serde_json::from_str(&text).unwrap();
        whole["created_at"] = last["created_at"].clone();
        whole["completed_at"] = last["completed_at"].clone();
        assert_eq!(whole, last, "{fields}");
        let recorded = get(server, "/_requests?last=2");
        if fields["simulate"]["bill"].is_null() {
            for record in recorded.as_array().unwrap() {
                assert_eq!(record["completion_tokens"], whole["usage"]["output_tokens"], "{fields}");
            }
        }
    }
}

#[test]
fn a_stream_has_the_recorded_grammar() {
    let server = start();
    assert_eq!(
        types(&events(&simulate(server, true, &json!({"content": "one two"})))),
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed"
        ]
    );
    let thinks = json!({"simulate": {"thinking": "hm", "content": ""}, "stream": true, "store": false,
        "include": ["reasoning.encrypted_content"]});
    assert_eq!(
        types(&events(&create(server, &thinks)))[2..9],
        [
            "response.output_item.added",
            "response.reasoning_summary_part.added",
            "response.reasoning_summary_text.delta",
            "response.reasoning_summary_text.done",
            "response.reasoning_summary_part.done",
            "response.output_item.done",
            "response.output_item.added"
        ]
    );
    let custom = json!({"tools": tools(), "stream": true, "simulate": {
        "calls": [{"name": "apply_patch", "input": {"input": "free text that is long"}}]}});
    let events = events(&create(server, &custom));
    assert_eq!(
        types(&events)[2..7],
        [
            "response.output_item.added",
            "response.custom_tool_call_input.delta",
            "response.custom_tool_call_input.delta",
            "response.custom_tool_call_input.done",
            "response.output_item.done"
        ]
    );
    let item = &events[6]["item"];
    assert_eq!((&item["input"], &item["name"]), (&json!("free text that is long"), &json!("apply_patch")));
    let interleaved = json!({"tools": tools(), "stream": true, "simulate": {"interleave": true,
        "calls": [{"name": "weather", "input": {"a": "b"}}, {"name": "mcp__find", "input": {"a": "b"}}]}});
    let events = self::events(&create(server, &interleaved));
    let order: Vec<u64> = events.iter().filter_map(|event| event["output_index"].as_u64()).collect();
    assert_eq!(order, [0, 1, 0, 1, 0, 1, 0, 1]);
    assert_eq!(events.last().unwrap()["response"]["output"][1]["namespace"], "mcp");
}

#[test]
fn a_stream_fails_as_requested() {
    let server = start();
    let all = events(&simulate(server, true, &json!({}))).len();
    for (fault, kept, complete) in [
        (json!({"cut": "stream", "after_events": 0}), 0, false),
        (json!({"cut": "stream", "after_events": 4}), 4, false),
        (json!({"cut": "clean", "before_end": 1}), all - 1, true),
        (json!({"done": false}), all - 1, true),
    ] {
        let response = simulate(server, true, &fault);
        assert_eq!((response.status, response.complete, &response.end), (200, complete, &End::Closed));
        assert_eq!(events(&response).len(), kept, "{fault}");
    }
    let done = simulate(server, true, &json!({"done": true}));
    assert!(done.text().ends_with("data: [DONE]\n\n"));
    let error = json!({"code": "server_error", "message": "boom"});
    for (shape, ends) in [
        (json!(null), vec!["error", "response.failed"]),
        (json!("error_failed"), vec!["error", "response.failed"]),
        (json!("failed"), vec!["response.failed"]),
        (json!("error"), vec!["error"]),
    ] {
        let mut fault = json!({"error_event": true, "after_events": 4, "message": "boom"});
        if !shape.is_null() {
            fault["error_event_shape"] = shape.clone();
        }
        let events = events(&simulate(server, true, &fault));
        assert_eq!(types(&events)[4..], ends, "{shape}");
        let last = events.last().unwrap();
        match ends.last().copied() {
            Some("error") => {
                assert_eq!((&last["code"], &last["message"]), (&error["code"], &error["message"]));
            }
            _ => assert_eq!(
                (&last["response"]["error"], &last["response"]["status"]),
                (&error, &json!("failed"))
            ),
        }
    }
    let text = simulate(server, true, &json!({"error_event": true, "error_event_shape": "openai"}));
    assert!(text.text().starts_with("data: {\"error\":{\"message\":"), "{}", text.text());
    let failed = json!({"stop_reason": "failed", "code": "rate_limit_exceeded", "message": "Slow down"});
    let whole = simulate(server, false, &failed).json();
    assert_eq!(
        (&whole["status"], &whole["error"]["code"]),
        (&json!("failed"), &json!("rate_limit_exceeded"))
    );
    assert_eq!(events(&simulate(server, true, &failed)).last().unwrap()["response"]["error"], whole["error"]);
    for reason in ["content_filter", "max_output_tokens"] {
        let incomplete = simulate(server, false, &json!({"stop_reason": reason})).json();
        assert_eq!(incomplete["incomplete_details"], json!({"reason": reason}));
    }
    let noisy = json!({"unknown_events": true, "comments": true, "newline": "crlf", "chunking": "bytes:5",
        "extra_members": true, "content": "one two"});
    let response = simulate(server, true, &noisy);
    let events = events(&response);
    assert_eq!(types(&events).iter().filter(|kind| **kind == "response.x_sim_progress").count(), 2);
    assert_eq!(fold(&events)[0]["content"][0]["text"], "one two");
    let none = simulate(server, false, &json!({"usage": "none"})).json();
    assert_eq!(none["usage"], Value::Null);
    let limited =
        simulate(server, true, &json!({"status": 429, "retry_after": 7, "code": "rate_limit_exceeded"}));
    assert_eq!((limited.status, limited.header("retry-after")), (429, Some("7")));
    assert_eq!(limited.json()["error"]["type"], "rate_limit_error");
    for impossible in [json!({"usage": "at_end"}), json!({"pings": true}), json!({"redacted_thinking": true})]
    {
        assert_eq!(simulate(server, true, &impossible).status, 400, "{impossible}");
    }
}

#[test]
fn a_script_in_the_prompt_leads_an_agent() {
    let server = start();
    let patch = json!({"input": "*** Begin Patch"});
    let script =
        format!("Go [[call weather]] [[call apply_patch {patch}]] [[then]] [[simulate {{\"status\": 529}}]]");
    let mut body = json!({"tools": tools(), "input": [{"role": "developer", "content": "x"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": script}]}]});
    let output = create(server, &body).json()["output"].clone();
    assert_eq!((&output[0]["arguments"], &output[1]["input"]), (&json!("{}"), &patch["input"]));
    let items = body["input"].as_array_mut().unwrap();
    items.extend(output.as_array().unwrap().clone());
    items.extend([
        json!({"type": "function_call_output", "call_id": output[0]["call_id"], "output": "21 C"}),
        json!({"type": "custom_tool_call_output", "call_id": output[1]["call_id"], "output": "Done"}),
    ]);
    assert_eq!(create(server, &body).status, 529);
    let items = body["input"].as_array_mut().unwrap();
    items.extend([
        json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]}),
        json!({"type": "message", "role": "user", "content": "and now?"}),
    ]);
    body["tool_choice"] = json!("none");
    assert_eq!(create(server, &body).json()["output"][0]["content"][0]["text"], "You said: and now?");
    body["input"][1]["content"] = json!("[[call weather [1]]]");
    assert_eq!(create(server, &body).json()["error"]["param"], "input");
}

/// Sends a request with a key.
fn with_key(server: SocketAddr, method: &str, path: &str, key: &str, body: &Value) -> Response {
    let headers = format!("authorization: Bearer {key}\r\n");
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let (bytes, end) = drain(&send_with(server, method, path, &headers, text.as_bytes()));
    parse(&bytes, end)
}

#[test]
fn responses_are_kept_for_their_account() {
    let server = start();
    let ask = |method: &str, path: &str| {
        with_key(server, method, &format!("/v1/responses/{path}"), "sk-1", &Value::Null)
    };
    let made = with_key(server, "POST", PATH, "sk-1", &request(&json!({"input": "one two"}))).json();
    assert_eq!(ask("GET", "resp_sim_1").json(), made);
    let streamed = ask("GET", "resp_sim_1?stream=true&starting_after=3");
    assert_eq!(streamed.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert!(streamed.text().starts_with("event: response.output_text.delta\n"), "{}", streamed.text());
    let items = ask("GET", "resp_sim_1/input_items").json();
    assert_eq!(items["data"][0]["content"], json!([{"type": "input_text", "text": "one two"}]));
    assert_eq!((&items["object"], &items["first_id"]), (&json!("list"), &items["data"][0]["id"]));
    // Another key, and another base path, are other accounts.
    for (path, key) in [(PATH, "sk-2"), ("/other/responses", "sk-1")] {
        let missing = with_key(server, "GET", &format!("{path}/resp_sim_1"), key, &Value::Null);
        let error = missing.json()["error"]["message"].clone();
        assert_eq!((missing.status, error), (404, json!("Response with id 'resp_sim_1' not found.")));
    }
    let next = json!({"previous_response_id": made["id"], "input": "three"});
    let next = with_key(server, "POST", PATH, "sk-1", &request(&next)).json();
    assert_eq!(next["usage"]["input_tokens"], 2 + 4 + 1);
    assert_eq!(next["previous_response_id"], made["id"]);
    let foreign = json!({"previous_response_id": made["id"], "input": "three"});
    let foreign = with_key(server, "POST", PATH, "sk-2", &request(&foreign));
    assert_eq!(
        (foreign.status, &foreign.json()["error"]["code"]),
        (400, &json!("previous_response_not_found"))
    );
    let reference =
        json!([{"type": "item_reference", "id": made["output"][0]["id"]}, {"role": "user", "content": "x"}]);
    let referred = with_key(server, "POST", PATH, "sk-1", &request(&json!({"input": reference})));
    assert_eq!((referred.status, &referred.json()["usage"]["input_tokens"]), (200, &json!(5)));
    let missing = create(server, &json!({"input": reference}));
    assert!(missing.text().contains("Items are not persisted when `store` is set to false."));
    assert_eq!(ask("POST", "resp_sim_1/cancel").status, 400);
    assert_eq!(ask("DELETE", "resp_sim_1").json()["deleted"], true);
    assert_eq!((ask("GET", "resp_sim_1").status, ask("DELETE", "resp_sim_1").status), (404, 404));

    let unkept = create(server, &json!({"store": false})).json();
    let path = format!("{PATH}/{}", unkept["id"].as_str().unwrap());
    assert_eq!(call(server, "GET", &path, b"").status, 404);
    let queued = create(server, &json!({"background": true})).json();
    let path = format!("{PATH}/{}", queued["id"].as_str().unwrap());
    assert_eq!((&queued["status"], &queued["output"]), (&json!("queued"), &json!([])));
    assert_eq!(call(server, "GET", &path, b"").json()["status"], "completed");
    let cancelled = call(server, "POST", &format!("{path}/cancel"), b"").json();
    assert_eq!(
        (&cancelled["status"], call(server, "GET", &path, b"").json()),
        (&json!("cancelled"), cancelled.clone())
    );
    call(server, "DELETE", "/_requests", b"");
    assert_eq!(call(server, "GET", &path, b"").status, 404);
}

#[test]
fn input_is_counted_and_compacted() {
    let server = start();
    let body = json!({"model": "m", "instructions": "a b", "input": [{"role": "user", "content": "c"},
        {"role": "assistant", "content": "d e"}]});
    assert_eq!(
        post(server, "/v1/responses/input_tokens", &body).json(),
        json!({"object": "response.input_tokens", "input_tokens": 5})
    );
    let compacted = post(server, "/v1/responses/compact", &body).json();
    assert_eq!(compacted["object"], "response.compaction");
    let output = compacted["output"].as_array().unwrap();
    assert_eq!(
        (output.len(), &output[0]["role"], &output[1]["type"]),
        (2, &json!("user"), &json!("compaction"))
    );
    let mut input = output.clone();
    input.push(json!({"role": "user", "content": "go on"}));
    assert_eq!(
        create(server, &json!({"input": input})).json()["output"][0]["content"][0]["text"],
        "You said: go on"
    );
    // Another account cannot read it.
    let foreign = post(server, "/other/responses", &request(&json!({"input": input})));
    assert_eq!(
        (foreign.status, &foreign.json()["error"]["code"]),
        (400, &json!("invalid_encrypted_content"))
    );
    let mut failing = body;
    failing["simulate"] = json!({"status": 500});
    assert_eq!(post(server, "/v1/responses/input_tokens", &failing).status, 500);
}

/// A conversation that begins with the user and has these items behind it.
#[expect(clippy::needless_pass_by_value, reason = "the items are written where they are passed")]
fn turn(items: Value) -> Value {
    let mut input = vec![json!({"role": "user", "content": "go"})];
    input.extend(items.as_array().unwrap().clone());
    json!({ "input": input })
}

#[test]
fn requests_are_checked_as_by_the_real_api() {
    let server = start();
    let function = |more: Value| {
        let mut tool = json!({"type": "function", "name": "f", "parameters": {"type": "object", "properties": {"a": {}}}});
        for (name, field) in more.as_object().unwrap() {
            tool[name] = field.clone();
        }
        json!({"tools": [tool]})
    };
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
    let output = json!({"type": "function_call_output", "call_id": "c", "output": "x"});
    let reasoning = json!({"type": "reasoning", "summary": []});
    for (fields, param, part) in [
        (json!({"messages": []}), "messages", "Unknown parameter: 'messages'."),
        (json!({"max_tokens": 5}), "max_tokens", "Unknown parameter"),
        (json!({"input": []}), "input", "Missing required parameter: 'input'."),
        (json!({"max_output_tokens": 5}), "max_output_tokens", ">= 16, but got 5"),
        (json!({"model": "gpt-5-mini", "temperature": 1}), "temperature", "not supported with this model"),
        (json!({"user": "u".repeat(65)}), "user", "maximum length 64"),
        (
            json!({"tools": [{"type": "function", "function": {"name": "f"}}]}),
            "tools[0].name",
            "Missing required",
        ),
        (function(json!({"name": "f.g"})), "tools[0].name", "does not match pattern"),
        (function(json!({"strict": true})), "tools[0].parameters", "'additionalProperties' is required"),
        (
            json!({"tool_choice": {"type": "function", "function": {"name": "f"}}}),
            "tool_choice.function",
            "Unknown",
        ),
        (json!({"tool_choice": "any"}), "tool_choice", "Invalid value: 'any'"),
        (
            json!({"text": {"format": {"type": "json_schema", "json_schema": {}}}}),
            "text.format.json_schema",
            "Unknown",
        ),
        (json!({"text": {"format": {"type": "json_schema", "schema": {}}}}), "text.format.name", "Missing"),
        (turn(json!([{"role": "tool", "content": "x"}])), "input[1].role", "Invalid value: 'tool'"),
        (
            turn(json!([{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}])),
            "input[1].content[0].type",
            "'output_text' and 'refusal'",
        ),
        (
            turn(json!([{"role": "user", "content": [{"type": "input_image", "image_url": {"url": "x"}}]}])),
            "input[1].content[0].image_url",
            "expected an image URL",
        ),
        (
            turn(json!([{"role": "assistant", "id": "chatcmpl-1", "content": "x"}])),
            "input[1].id",
            "begins with 'msg'",
        ),
        (turn(json!([call])), "input", "No tool output found for function call c."),
        (turn(json!([output])), "input", "No tool call found for function call output with call_id c."),
        (
            turn(json!([reasoning, {"role": "user", "content": "x"}])),
            "input",
            "without its required following item",
        ),
        (
            turn(
                json!([{"type": "reasoning", "id": "rs_1", "summary": []}, {"role": "assistant", "content": "x"}]),
            ),
            "input",
            "Items are not persisted",
        ),
    ] {
        let response = create(server, &fields);
        let error = response.json()["error"].clone();
        assert_eq!((response.status, &error["param"]), (400, &json!(param)), "{fields}: {error}");
        assert!(error["message"].as_str().unwrap().contains(part), "{fields}: {error}");
        let mut lenient = request(&fields);
        lenient["simulate"] = json!({"lenient": true});
        assert_eq!(post(server, PATH, &lenient).status, 200);
    }
    assert_eq!(create(server, &turn(json!([reasoning, call, output]))).status, 200);
}

#[test]
fn encrypted_reasoning_comes_back_complete_and_to_its_account() {
    let server = start();
    let first = json!({"store": false, "reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"],
        "tools": tools()});
    let made = create(server, &first).json()["output"].clone();
    assert_eq!((&made[0]["type"], &made[0]["summary"]), (&json!("reasoning"), &json!([])));
    let again = |path: &str, change: &dyn Fn(&mut Value)| {
        let mut items = vec![made[0].clone(), made[1].clone()];
        items.push(json!({"type": "function_call_output", "call_id": made[1]["call_id"], "output": "x"}));
        change(&mut items[0]);
        post(server, path, &request(&turn(Value::Array(items))))
    };
    assert_eq!(again(PATH, &|_| {}).status, 200);
    for rejected in [
        again("/other/responses", &|_| {}),
        again(PATH, &|item| item["encrypted_content"] = json!("gAAAAABunfinished")),
    ] {
        assert_eq!(
            (rejected.status, &rejected.json()["error"]["code"]),
            (400, &json!("invalid_encrypted_content"))
        );
    }
}
