//! Tests of the simulated provider through a raw socket: an HTTP client would hide how a body is divided and how a
//! connection ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "helpers of tests, which clippy does not take for tests, in a native program"
)]

mod client;
mod messages;
mod responses;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use client::{
    End, Response, SAID, call, chat, connect, drain, get, parse, read_for, record, send, send_with, settled,
    simulate, start, start_with,
};

#[test]
fn a_whole_response_has_every_field() {
    let server = start();
    let body = json!({"model": "some/model", "messages": [
        {"role": "system", "content": "be brief"}, {"role": "user", "content": "Hi there"}]});
    for path in ["/v1/chat/completions", "/chat/completions", "/api/v3/openai/chat/completions"] {
        let response = call(server, "POST", path, body.to_string().as_bytes());
        assert_eq!((response.status, response.complete), (200, true));
        assert_eq!(response.header("content-type"), Some("application/json"));
    }
    let response = chat(server, &body).json();
    assert!(response["created"].as_u64().unwrap() > 1_700_000_000);
    let expected = json!({"id": "chatcmpl-sim-4", "object": "chat.completion", "created": response["created"],
        "model": "some/model", "choices": [{"index": 0, "message": {"role": "assistant",
        "content": "You said: Hi there", "refusal": null}, "logprobs": null, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 4, "completion_tokens": 4, "total_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}}});
    assert_eq!(response, expected);
    let record = record(server, 4);
    assert_eq!((&record["outcome"], &record["completion_tokens"]), (&json!("completed"), &json!(4)));
}

#[test]
fn embeddings_are_served_and_recorded_like_completions() {
    let server = start();
    let ask = |path: &str, body: &Value| call(server, "POST", path, body.to_string().as_bytes());
    let body = json!({"model": "some/model", "input": ["Hi there", "you"], "dimensions": 2});
    for path in ["/v1/embeddings", "/compatible-mode/v1/embeddings"] {
        let response = ask(path, &body);
        assert_eq!((response.status, response.complete), (200, true));
        assert_eq!(response.header("content-type"), Some("application/json"));
        let response = response.json();
        assert_eq!(response["data"].as_array().unwrap().len(), 2);
        assert_eq!(response["usage"], json!({"prompt_tokens": 3, "total_tokens": 3}));
    }
    let recorded = record(server, 2);
    assert_eq!((&recorded["prompt_tokens"], &recorded["completion_tokens"]), (&json!(3), &json!(0)));
    assert_eq!(recorded["body_text"], body.to_string());
    assert_eq!(ask("/v1/embeddings", &json!({"input": 1})).status, 400);
    assert_eq!(call(server, "GET", "/v1/embeddings", b"").status, 405);
}

#[test]
fn embeddings_fail_like_completions() {
    let server = start();
    let ask = |simulate: Value| {
        let body = json!({"model": "m", "input": "Hi", "simulate": simulate}).to_string();
        call(server, "POST", "/first/v1/embeddings", body.as_bytes())
    };
    assert_eq!(ask(json!({"status": 503, "when": {"path": "/first"}})).status, 503);
    assert_eq!(ask(json!({"status": 503, "when": {"path": "/second"}})).status, 200);
    assert!(!ask(json!({"cut": "body"})).complete);
    assert_eq!(record(server, 3)["outcome"], "cut");
    assert_eq!(ask(json!({"body": "no_choices"})).text(), "{}");
    assert_eq!(ask(json!({"body": "error_in_200", "code": "busy"})).json()["error"]["code"], "busy");
    let began = Instant::now();
    assert_eq!(ask(json!({"delay_ms": 100})).status, 200);
    assert!(began.elapsed() >= Duration::from_millis(100));
    call(server, "POST", "/_throttle", br#"{"path":"/first","for_ms":60000,"retry_after":3}"#);
    let throttled = ask(json!({}));
    assert_eq!((throttled.status, throttled.header("retry-after")), (429, Some("3")));
}

#[test]
fn a_stream_is_the_whole_response_in_pieces() {
    let server = start();
    let whole = simulate(server, false, &json!({})).json();
    assert_eq!(whole["choices"][0]["message"]["content"], SAID);
    let response = simulate(server, true, &json!({}));
    assert_eq!(response.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(response.events().last().map(String::as_str), Some("[DONE]"));
    assert!(response.complete && response.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(response.content(0), SAID);
    let chunks = response.chunks_of_stream();
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");
    // The role, eight words, the finish: no usage unless requested.
    assert_eq!(chunks.len(), 10);
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
    // Each event has a separate frame.
    assert_eq!(response.chunks.len(), 11);
    assert!(response.chunks.iter().all(|chunk| chunk.starts_with(b"data: ") && chunk.ends_with(b"\n\n")));
    assert_eq!(record(server, 2)["events_sent"], 11);
    assert_eq!(record(server, 2)["completion_tokens"], whole["usage"]["completion_tokens"]);
}

#[test]
fn usage_is_where_it_is_requested() {
    let server = start();
    let ask = |include: bool, mode: &str| {
        let response = chat(
            server,
            &json!({"stream": true, "stream_options": {"include_usage": include},
            "messages": [{"role": "user", "content": "a b"}], "simulate": {"usage": mode}}),
        );
        response.chunks_of_stream()
    };
    let completion_tokens = |chunk: &Value| chunk["usage"]["completion_tokens"].as_u64();
    for (include, mode) in [(true, "normal"), (false, "always"), (true, "always")] {
        let chunks = ask(include, mode);
        let (last, others) = chunks.split_last().unwrap();
        assert_eq!(last["choices"], json!([]));
        assert_eq!((completion_tokens(last), &last["usage"]["prompt_tokens"]), (Some(4), &json!(2)));
        assert!(others.iter().all(|chunk| chunk.get("usage") == Some(&Value::Null)));
    }
    for (include, mode) in [(false, "normal"), (true, "none")] {
        assert!(ask(include, mode).iter().all(|chunk| chunk.get("usage").is_none()));
    }
    let with_choices = ask(false, "with_choices").pop().unwrap();
    assert_eq!(
        (completion_tokens(&with_choices), &with_choices["choices"][0]["finish_reason"]),
        (Some(4), &json!("stop"))
    );
    let groq = ask(true, "x_groq").pop().unwrap();
    assert_eq!(groq["x_groq"]["usage"]["completion_tokens"], 4);
    assert_eq!((groq.get("usage"), &groq["choices"][0]["finish_reason"]), (None, &json!("stop")));
    let preview = ask(false, "preview");
    assert_eq!(
        (completion_tokens(&preview[0]), completion_tokens(preview.last().unwrap())),
        (Some(1), Some(4))
    );
    assert!(simulate(server, false, &json!({"usage": "none"})).json().get("usage").is_none());
}

#[test]
fn tools_choices_and_formats_are_respected() {
    let server = start();
    let tools = json!([{"type": "function", "function": {"name": "weather", "parameters": {}}}]);
    let mut body = json!({"tools": tools, "messages": [{"role": "user", "content": "?"}]});
    let choice = chat(server, &body).json()["choices"][0].clone();
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["content"]),
        (&json!("tool_calls"), &Value::Null)
    );
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(
        call,
        &json!({"id": "call_sim_1", "type": "function",
        "function": {"name": "weather", "arguments": "{\"location\":\"Paris\"}"}})
    );

    body["stream"] = json!(true);
    let chunks = chat(server, &body).chunks_of_stream();
    let pieces: Vec<&Value> = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0])
        .filter(|piece| !piece.is_null())
        .collect();
    assert_eq!((&pieces[0]["id"], &pieces[0]["function"]["name"]), (&json!("call_sim_1"), &json!("weather")));
    assert!(pieces.iter().all(|piece| piece["index"] == 0) && pieces[1].get("id").is_none());
    let arguments: String =
        pieces.iter().filter_map(|piece| piece["function"]["arguments"].as_str()).collect();
    assert_eq!(arguments, "{\"location\":\"Paris\"}");
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");

    let result =
        chat(server, &json!({"tools": tools, "messages": [{"role": "tool", "content": "21 degrees"}]}))
            .json();
    assert_eq!(result["choices"][0]["message"]["content"], "The tool said: 21 degrees");

    let many = chat(
        server,
        &json!({"n": 2, "stream": true, "max_tokens": 3, "logprobs": true,
        "messages": [{"role": "user", "content": "one two"}]}),
    );
    assert_eq!((many.content(0), many.content(1)), ("You said: one".to_owned(), "You said: one".to_owned()));
    assert_eq!(many.chunks_of_stream().last().unwrap()["choices"][0]["finish_reason"], "length");
    let token = &many.chunks_of_stream()[2]["choices"][0]["logprobs"]["content"][0];
    assert_eq!((&token["token"], &token["bytes"]), (&json!("You"), &json!([89, 111, 117])));

    let format = json!({"response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "\"q\""}]});
    let content =
        chat(server, &format).json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(&content).unwrap(), json!({"answer": "You said: \"q\""}));
}

#[test]
fn every_error_shape_has_its_format() {
    let server = start();
    let shapes = [
        ("openai", "/error/message"),
        ("flat", "/message"),
        ("message", "/message"),
        ("detail", "/detail"),
        ("detail_list", "/detail/0/msg"),
        ("error_text", "/error"),
        ("fault", "/fault/faultstring"),
        ("array", "/0/error/message"),
        ("cloudflare", "/errors/0/message"),
        ("anthropic", "/error/message"),
    ];
    for status in [400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504, 529, 599] {
        for (shape, at) in shapes {
            let fault = json!({"status": status, "error_shape": shape, "message": "boom \"x\"", "code": "c1",
                "retry_after": "7", "retry_after_ms": 7000});
            let response = simulate(server, true, &fault);
            assert_eq!(
                (response.status, response.header("content-type")),
                (status, Some("application/json"))
            );
            assert_eq!(response.json().pointer(at), Some(&json!("boom \"x\"")), "{shape}");
            assert_eq!(
                (response.header("retry-after"), response.header("retry-after-ms")),
                (Some("7"), Some("7000"))
            );
        }
    }
    let default = simulate(server, false, &json!({"status": 429})).json();
    assert_eq!(default["error"]["code"], "rate_limit_exceeded");
    assert_eq!(default["error"].as_object().unwrap().len(), 4);
    let named = simulate(server, false, &json!({"status": 429, "code": "insufficient_quota"})).json();
    assert_eq!(
        (&named["error"]["code"], &named["error"]["type"]),
        (&json!("insufficient_quota"), &json!("insufficient_quota"))
    );
    assert_eq!(
        simulate(server, false, &json!({"status": 500, "error_shape": "flat"})).json()["object"],
        "error"
    );
    assert_eq!(
        simulate(server, false, &json!({"status": 500, "error_shape": "cloudflare"})).json()["success"],
        false
    );
    let overloaded = simulate(server, false, &json!({"status": 529, "error_shape": "anthropic"})).json();
    assert_eq!(
        (&overloaded["type"], &overloaded["error"]["type"]),
        (&json!("error"), &json!("overloaded_error"))
    );

    let html = simulate(server, false, &json!({"status": 502, "error_shape": "html"}));
    assert!(
        html.header("content-type").unwrap().starts_with("text/html")
            && html.text().contains("<h1>Error 502")
    );
    let empty = simulate(server, false, &json!({"status": 500, "error_shape": "empty"}));
    assert_eq!(
        (empty.body.len(), empty.header("content-type"), empty.header("content-length")),
        (0, None, Some("0"))
    );
    let text = simulate(server, false, &json!({"status": 500, "error_shape": "text", "message": "boom"}));
    assert_eq!((text.text(), text.header("content-type")), ("boom", Some("text/plain; charset=utf-8")));
    let none = simulate(server, false, &json!({"status": 204}));
    assert_eq!((none.status, none.body.len()), (204, 0));
    assert_eq!(settled(server, 151)["outcome"], "completed");
}

#[test]
fn cuts_end_as_requested() {
    let server = start();
    let all = simulate(server, true, &json!({}));
    for after in [0, 1, 3] {
        let expected: Vec<_> = all.events().into_iter().take(after).collect();
        let cut = simulate(server, true, &json!({"cut": "stream", "after_events": after}));
        assert_eq!((cut.status, cut.complete, &cut.end), (200, false, &End::Closed));
        assert_eq!(cut.events().len(), expected.len(), "everything before the cut has arrived");
        let clean = simulate(server, true, &json!({"cut": "clean", "after_events": after}));
        assert_eq!((clean.status, clean.complete, clean.events().len()), (200, true, after));
        assert_eq!(clean.header("transfer-encoding"), Some("chunked"));
    }
    let records = get(server, "/_requests?last=2");
    assert_eq!((&records[0]["outcome"], &records[0]["events_sent"]), (&json!("cut"), &json!(3)));
    assert_eq!((&records[1]["outcome"], &records[1]["events_sent"]), (&json!("cut"), &json!(3)));
    assert_eq!(records[0]["completion_tokens"], 2);

    let (bytes, end) =
        drain(&send(server, "POST", "/chat/completions", b"{\"simulate\":{\"cut\":\"headers\"}}"));
    assert_eq!((bytes.len(), end), (0, End::Closed));
    assert_eq!(record(server, 8)["outcome"], "cut");

    for chunked in [false, true] {
        let half = simulate(
            server,
            false,
            &json!({"cut": "body", "content_bytes": 5000, "no_content_length": chunked}),
        );
        assert_eq!((half.status, half.complete, &half.end), (200, false, &End::Closed));
        assert!((2000..4000).contains(&half.body.len()), "{}", half.body.len());
        assert_eq!(half.header("content-length").is_none(), chunked);
    }
    // More than the buffers of the system hold, and a client that is always late: nothing before the cut may be lost in
    // hyper's own buffer.
    let fault = json!({"cut": "stream", "after_events": 110_001, "events": 120_000});
    let body = json!({"stream": true, "simulate": fault}).to_string();
    let mut stream = send(server, "POST", "/chat/completions", body.as_bytes());
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 65536]);
    loop {
        thread::sleep(Duration::from_millis(2));
        match stream.read(&mut buffer).unwrap() {
            0 => break,
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
    assert_eq!(bytes.windows(6).filter(|six| six == b"data: ").count(), 110_001);
    assert!(!bytes.ends_with(b"0\r\n\r\n"));
    assert_eq!(get(server, "/_stats")["cut"], 10);
}

#[test]
fn a_reset_is_a_reset() {
    let server = start();
    let stream = simulate(server, true, &json!({"cut": "stream", "after_events": 2, "reset": true}));
    assert_eq!((stream.end, stream.complete), (End::Reset, false));
    let deltas = stream.chunks.iter().filter(|chunk| chunk.starts_with(b"data: ")).count();
    assert_eq!(deltas, 2);
    let body = simulate(server, false, &json!({"cut": "body", "reset": true}));
    assert_eq!((body.end, body.complete), (End::Reset, false));
    let raw = b"{\"simulate\":{\"cut\":\"headers\",\"reset\":true}}";
    let (bytes, end) = drain(&send(server, "POST", "/chat/completions", raw));
    assert_eq!((bytes.len(), end), (0, End::Reset));
    assert_eq!(get(server, "/_stats")["cut"], 3);
}

#[test]
fn the_division_into_frames_does_not_change_the_bytes() {
    let server = start();
    // The id and the time differ between requests and are not compared.
    let same = |response: &Response| {
        let text = response.text().to_owned();
        let value = response.chunks_of_stream()[0].clone();
        text.replace(value["id"].as_str().unwrap(), "ID").replace(&value["created"].to_string(), "TIME")
    };
    for newline in ["lf", "crlf", "cr"] {
        let event = simulate(server, true, &json!({"newline": newline}));
        let single = simulate(server, true, &json!({"newline": newline, "chunking": "bytes:1"}));
        let seven = simulate(server, true, &json!({"newline": newline, "chunking": "bytes:7"}));
        let all = simulate(server, true, &json!({"newline": newline, "chunking": "all"}));
        let texts = [same(&event), same(&single), same(&seven), same(&all)];
        assert!(texts.iter().all(|text| *text == texts[0]));
        assert!(single.chunks.iter().all(|chunk| chunk.len() == 1));
        assert!(single.chunks.iter().any(|chunk| std::str::from_utf8(chunk).is_err()));
        assert!(seven.chunks.iter().rev().skip(1).all(|chunk| chunk.len() == 7));
        assert_eq!(all.chunks.len(), 1);
        assert_eq!(event.content(0), SAID);
        let (lf, cr) = (event.text().matches('\n').count(), event.text().matches('\r').count());
        match newline {
            "lf" => assert!(lf == 22 && cr == 0),
            "crlf" => assert!(lf == 22 && cr == 22 && event.text().ends_with("data: [DONE]\r\n\r\n")),
            _ => assert!(lf == 0 && cr == 22),
        }
    }
    assert_eq!(record(server, 2)["events_sent"], 11);
}

#[test]
fn frames_are_written_separately_and_paced() {
    let server = start();
    // Frames arrive in separate reads if there is time between them.
    let stream = send(
        server,
        "POST",
        "/chat/completions",
        b"{\"stream\":true,\"simulate\":{\"events\":4,\"frame_delay_ms\":40}}",
    );
    let (mut reads, mut buffer, start) = (0, [0; 8192], Instant::now());
    while (&stream).read(&mut buffer).unwrap() > 0 {
        reads += 1;
    }
    assert!(reads >= 7, "{reads} reads for 7 frames");
    assert!(start.elapsed() >= Duration::from_millis(6 * 40));

    let start = Instant::now();
    let drip = simulate(server, false, &json!({"drip_ms": 20, "no_content_length": true}));
    assert_eq!((drip.chunks.len(), drip.complete), (10, true));
    assert!(start.elapsed() >= Duration::from_millis(9 * 20));
    let start = Instant::now();
    assert_eq!(simulate(server, false, &json!({"delay_ms": 150})).status, 200);
    assert!(start.elapsed() >= Duration::from_millis(150));
}

#[test]
fn errors_inside_a_stream_follow_the_events() {
    let server = start();
    for (shape, mark) in [
        ("openai", "data: {\"error\":{\"message\":\"boom\""),
        ("text", "data: {\"error\":\"boom\"}"),
        ("named", "event: error\ndata: {\"message\":\"boom\"}"),
        ("openrouter", "\"finish_reason\":\"error\""),
    ] {
        for after in [0, 2] {
            let fault = json!({"error_event": true, "error_event_shape": shape, "after_events": after, "message": "boom"});
            let response = simulate(server, true, &fault);
            assert_eq!((response.status, response.complete), (200, true));
            let events: Vec<&str> = response.text().trim_end().split("\n\n").collect();
            assert!(events[after].contains(mark), "{shape}: {}", events[after]);
            assert_eq!(events.len(), after + if shape == "openrouter" { 2 } else { 1 });
            assert_eq!(events.last() == Some(&"data: [DONE]"), shape == "openrouter");
        }
    }
    let chunk = simulate(
        server,
        true,
        &json!({"error_event": true, "error_event_shape": "openrouter", "code": "429"}),
    );
    assert_eq!(chunk.chunks_of_stream()[0]["error"]["code"], "429");
}

#[test]
fn a_fault_can_apply_to_some_requests_only() {
    let server = start();
    let ask = |path: &str, headers: &str, model: &str, simulate: &Value| {
        let body = json!({"model": model, "messages": [], "simulate": simulate}).to_string();
        let request =
            send_with(server, "POST", &format!("{path}/v1/chat/completions?a=/b"), headers, body.as_bytes());
        let (bytes, end) = drain(&request);
        parse(&bytes, end).status
    };
    // One failure, at one of two upstreams.
    let first = json!({"status": 500, "when": {"path": "/first"}});
    assert_eq!((ask("/first", "", "m", &first), ask("/second", "", "m", &first)), (500, 200));
    // The first match applies; without one the response is the usual one.
    let list = json!([
        {"status": 501, "when": {"path": "/first", "model": "sim-small", "key": "sk-1"}},
        {"status": 502, "when": {"path": "/first", "model": "sim-small"}},
        {"status": 503, "when": {"key": "sk-2"}},
    ]);
    let bearer = "Authorization: Bearer sk-1\r\n";
    for (path, headers, model, status) in [
        ("/first", bearer, "sim-small", 501),
        ("/first", "api-key: sk-1\r\n", "sim-small", 501),
        ("/first", "X-Api-Key: sk-1\r\n", "sim-small", 501),
        ("/first", "Authorization: Basic sk-1\r\n", "sim-small", 502),
        ("/first/more", "", "sim-small", 502),
        ("/first", bearer, "sim-large", 200),
        ("/second", "authorization: bearer sk-2\r\n", "sim-large", 503),
        ("/b", bearer, "sim-small", 200),
    ] {
        assert_eq!(ask(path, headers, model, &list), status, "{path} {headers} {model}");
    }
    assert_eq!(ask("", "", "m", &json!([{"status": 500}, {"status": 501}])), 500);
    assert_eq!(ask("", "", "m", &json!([])), 200);
    assert_eq!(record(server, 1)["path"], "/first/v1/chat/completions?a=/b");
}

#[test]
fn a_fault_can_apply_to_the_first_requests_only() {
    let server = start();
    let ask = |fault: &Value| simulate(server, false, fault).status;
    let twice = json!({"status": 500, "when": {"times": 2, "id": "a", "model": "m"}});
    assert_eq!([0; 4].map(|_| ask(&twice)), [500, 500, 200, 200]);
    // Another id is another count, and requests that do not match otherwise do not count.
    let other = json!({"status": 500, "when": {"times": 1, "id": "b", "model": "other"}});
    let list = json!([other, {"status": 501, "when": {"times": 1, "id": "c"}}, {"status": 502}]);
    assert_eq!([0; 2].map(|_| ask(&list)), [501, 502]);
    // A rejected request does not count.
    let wrong = json!({"n": 0, "simulate": {"status": 500, "when": {"times": 1, "id": "d"}}});
    assert_eq!(chat(server, &wrong).status, 400);
    assert_eq!([0; 2].map(|_| ask(&json!(wrong["simulate"]))), [500, 200]);
    call(server, "DELETE", "/_requests", b"");
    assert_eq!([0; 3].map(|_| ask(&twice)), [500, 500, 200]);
}

#[test]
fn a_path_can_be_throttled() {
    let server = start();
    let throttle = |body: &Value| call(server, "POST", "/_throttle", body.to_string().as_bytes()).status;
    let ask = |path: &str| call(server, "POST", path, b"{\"simulate\":{\"status\":500}}");
    let start = Instant::now();
    assert_eq!(throttle(&json!({"path": "/first", "for_ms": 800, "retry_after": 3})), 200);
    let rejected = ask("/first/v1/chat/completions");
    assert_eq!((rejected.status, rejected.header("retry-after")), (429, Some("3")));
    assert_eq!(rejected.header("x-request-id"), Some("req-sim-1"));
    assert_eq!(rejected.json()["error"]["code"], "rate_limit_exceeded");
    assert_eq!(ask("/second/chat/completions").status, 500);
    assert_eq!(get(server, "/first/models")["object"], "list");
    while ask("/first/chat/completions").status == 429 {
        assert!(start.elapsed() < Duration::from_secs(5), "the throttle does not end");
        thread::sleep(Duration::from_millis(10));
    }
    assert!(start.elapsed() >= Duration::from_millis(800));

    assert_eq!(throttle(&json!({"path": "/", "for_ms": 60_000})), 200);
    let rejected = ask("/first/chat/completions");
    assert_eq!((rejected.status, rejected.header("retry-after")), (429, None));
    assert_eq!(settled(server, 1)["outcome"], "completed");
    // A throttle is not a record that could be deleted.
    call(server, "DELETE", "/_requests", b"");
    assert_eq!(ask("/first/chat/completions").status, 429);
    assert_eq!(call(server, "DELETE", "/_throttle", b"").status, 200);
    assert_eq!(ask("/first/chat/completions").status, 500);
    for wrong in [
        json!({"path": "first", "for_ms": 1}),
        json!({"path": "/"}),
        json!({"path": "/", "for_ms": 1, "x": 1}),
    ] {
        assert_eq!(throttle(&wrong), 400, "{wrong}");
    }
    assert_eq!(get(server, "/_stats")["requests"], 2);
}

#[test]
fn a_stream_can_fail_after_the_role_chunk() {
    let server = start();
    let role = |response: &Response| {
        let chunk = response.chunks_of_stream()[0].clone();
        assert_eq!(
            chunk["choices"][0]["delta"],
            json!({"role": "assistant", "content": "", "refusal": null})
        );
    };
    let cut = simulate(server, true, &json!({"cut": "stream", "after_events": 1}));
    assert_eq!((cut.events().len(), cut.complete), (1, false));
    role(&cut);
    let error = simulate(server, true, &json!({"error_event": true, "after_events": 1, "message": "boom"}));
    assert_eq!((error.events().len(), error.complete), (2, true));
    role(&error);
    assert_eq!(error.chunks_of_stream()[1]["error"]["message"], "boom");
    let body = b"{\"stream\":true,\"simulate\":{\"hang\":\"stream\",\"after_events\":1}}";
    let hanging = send(server, "POST", "/chat/completions", body);
    let seen = read_for(&hanging, Duration::from_millis(300));
    assert_eq!(seen.matches("data: ").count(), 1);
    assert!(seen.contains("\"role\":\"assistant\""));
    let record = record(server, 3);
    assert_eq!((&record["outcome"], &record["events_sent"]), (&json!("pending"), &json!(1)));
}

#[test]
fn comments_can_come_before_the_first_chunk() {
    let server = start();
    for (newline, end) in [("lf", "\n"), ("crlf", "\r\n"), ("cr", "\r")] {
        let start = Instant::now();
        let response =
            simulate(server, true, &json!({"comments_ms": 120, "newline": newline, "chunking": "bytes:40"}));
        assert!(start.elapsed() >= Duration::from_millis(120));
        let comment = format!(": PROCESSING{end}{end}");
        assert!(response.complete && response.text().starts_with(&format!("{}data: ", comment.repeat(3))));
        assert!(response.chunks[..3].iter().all(|chunk| *chunk == comment.as_bytes()));
        assert_eq!(response.text().matches(": PROCESSING").count(), 3);
        assert_eq!(response.content(0), SAID);
    }
    assert_eq!(record(server, 3)["events_sent"], 11);
    // Before a fault, and alone.
    let cut = simulate(server, true, &json!({"comments_ms": 60, "cut": "stream"}));
    assert_eq!((cut.text(), cut.complete), (": PROCESSING\n\n: PROCESSING\n\n", false));
    let clean = simulate(server, true, &json!({"comments_ms": 50, "cut": "clean"}));
    assert_eq!((clean.text(), clean.complete), (": PROCESSING\n\n", true));
    let reset = simulate(server, true, &json!({"comments_ms": 1, "cut": "stream", "reset": true}));
    assert_eq!((reset.text(), &reset.end), (": PROCESSING\n\n", &End::Reset));
    let error = simulate(server, true, &json!({"comments_ms": 60, "error_event": true}));
    assert!(error.text().starts_with(": PROCESSING\n\n: PROCESSING\n\ndata: {\"error\""));
    let none = simulate(server, true, &json!({"comments_ms": 0}));
    assert!(none.text().starts_with("data: "));
    assert!(simulate(server, false, &json!({"comments_ms": 60_000})).complete, "a whole response has none");
    // The headers and the first comment arrive at once.
    let body = b"{\"stream\":true,\"simulate\":{\"comments_ms\":60000}}";
    let waiting = send(server, "POST", "/chat/completions", body);
    let seen = read_for(&waiting, Duration::from_millis(400));
    assert!(seen.starts_with("HTTP/1.1 200") && !seen.contains("data: "));
    assert!((2..=9).contains(&seen.matches(": PROCESSING").count()), "{seen}");
    drop(waiting);
    assert_eq!(settled(server, 10)["outcome"], "cancelled");
    let body = b"{\"stream\":true,\"simulate\":{\"comments_ms\":60000,\"hang\":\"body\"}}";
    let silent = read_for(&send(server, "POST", "/chat/completions", body), Duration::from_millis(200));
    assert!(silent.ends_with("\r\n\r\n"), "{silent}");
}

#[test]
fn content_and_bodies_follow_the_request() {
    let server = start();
    let exact = " \n\"quoted\"\u{0}\u{7f} é🦀\r\n ";
    let whole = simulate(server, false, &json!({"content": exact})).json();
    assert_eq!(whole["choices"][0]["message"]["content"], exact);
    assert_eq!(simulate(server, true, &json!({"content": exact})).content(0), exact);
    let huge = simulate(server, false, &json!({"content_bytes": 3_000_001})).json();
    assert_eq!(huge["choices"][0]["message"]["content"].as_str().unwrap().len(), 3_000_001);
    let events = simulate(server, true, &json!({"events": 300, "comments": true, "extra_members": true}));
    assert_eq!((events.events().len(), events.content(0)), (303, "tok ".repeat(300)));
    assert_eq!(events.text().matches(": keep-alive\n\n").count(), 302);
    assert_eq!(events.text().matches("\"x_unknown\":{\"a\":[1,2.50,1e3]}").count(), 302);
    let undone = simulate(server, true, &json!({"done": false}));
    assert!(undone.complete && !undone.text().contains("[DONE]") && undone.text().contains("\"stop\""));

    assert!(
        serde_json::from_slice::<Value>(&simulate(server, false, &json!({"body": "malformed"})).body)
            .is_err()
    );
    assert!(simulate(server, true, &json!({"body": "array"})).json().is_array());
    assert_eq!(simulate(server, false, &json!({"body": "empty"})).body.len(), 0);
    assert_eq!(simulate(server, false, &json!({"body": "no_choices"})).json(), json!({}));
    let error = simulate(server, true, &json!({"body": "error_in_200", "message": "boom"}));
    assert_eq!((error.status, &error.json()["error"]["message"]), (200, &json!("boom")));

    let odd = simulate(
        server,
        false,
        &json!({"content_type": "text/html", "headers": {"X-Leak": "1", "set-cookie": "a=b"}}),
    );
    assert_eq!(
        (odd.header("content-type"), odd.header("x-leak"), odd.header("set-cookie")),
        (Some("text/html"), Some("1"), Some("a=b"))
    );
    assert_eq!(simulate(server, true, &json!({"content_type": null})).header("content-type"), None);
    let moved = simulate(server, true, &json!({"redirect": "http://elsewhere.example/"}));
    assert_eq!((moved.status, moved.header("location")), (307, Some("http://elsewhere.example/")));
    assert_eq!(simulate(server, false, &json!({"redirect": "/x", "status": 301})).status, 301);
}

#[test]
fn a_disconnected_client_is_recorded() {
    let server = start();
    let body = |simulate: &str| format!("{{\"stream\":true,\"simulate\":{simulate}}}");
    // Before the headers, after them, after two events, in a delay, in the middle of a stream that would continue, and
    // with the system's buffers full.
    let cases = [
        ("{\"hang\":\"headers\"}", 0, 0..=0),
        ("{\"delay_ms\":60000}", 0, 0..=0),
        ("{\"hang\":\"body\"}", 100, 0..=0),
        ("{\"hang\":\"stream\",\"after_events\":2}", 500, 2..=2),
        ("{\"events\":1000,\"drip_ms\":10}", 1000, 2..=990),
        ("{\"events\":200000}", 1000, 2..=199_000),
    ];
    for (n, (simulate, read, events)) in (1..).zip(cases) {
        let mut stream = send(server, "POST", "/v1/chat/completions", body(simulate).as_bytes());
        stream.read_exact(&mut vec![0; read]).unwrap();
        thread::sleep(Duration::from_millis(60));
        assert_eq!(record(server, n)["outcome"], "pending", "{simulate}");
        drop(stream);
        let record = settled(server, n);
        assert_eq!(record["outcome"], "cancelled", "{simulate}");
        assert!(events.contains(&record["events_sent"].as_u64().unwrap()), "{simulate}: {record}");
    }
    // A whole response that hyper holds in full, but that the client never read.
    let raw = b"{\"simulate\":{\"content_bytes\":50000000}}";
    let mut stream = send(server, "POST", "/v1/chat/completions", raw);
    stream.read_exact(&mut [0; 1000]).unwrap();
    drop(stream);
    assert_eq!(settled(server, 7)["outcome"], "cancelled");
    // A request whose body never arrives in full.
    let mut stream = connect(server);
    stream
        .write_all(b"POST /chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{\"a\"")
        .unwrap();
    thread::sleep(Duration::from_millis(50));
    drop(stream);
    let record = settled(server, 8);
    assert_eq!((&record["outcome"], &record["body_text"]), (&json!("cancelled"), &json!("{\"a\"")));
    let stats = get(server, "/_stats");
    assert_eq!((&stats["requests"], &stats["cancelled"], &stats["open"]), (&json!(8), &json!(8), &json!(0)));
}

#[test]
fn the_record_keeps_the_exact_bytes() {
    let server = start_with(2);
    let odd = b" {\"model\" : \"m\",\t\"x\":1e3, \"x\":2.50}\n";
    call(server, "POST", "/v1/chat/completions?api-version=1", odd);
    let first = record(server, 1);
    assert_eq!(first["body_text"], std::str::from_utf8(odd).unwrap());
    assert_eq!((&first["bytes"], &first["method"]), (&json!(odd.len()), &json!("POST")));
    assert_eq!(
        (&first["path"], &first["headers"]["x-trace"]),
        (&json!("/v1/chat/completions?api-version=1"), &json!("a, b"))
    );
    assert_eq!(call(server, "POST", "/chat/completions", b"\xff\xfe\x00").status, 400);
    assert_eq!(
        (&record(server, 2)["body_text"], &record(server, 2)["body_base64"]),
        (&Value::Null, &json!("//4A"))
    );
    // A body of many reads.
    let long = json!({"messages": [{"role": "user", "content": "x".repeat(3_000_000)}]}).to_string();
    assert_eq!(call(server, "POST", "/chat/completions", long.as_bytes()).status, 200);
    let list = get(server, "/_requests");
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!((&list[0]["n"], &list[1]["body_text"]), (&json!(2), &json!(long)));
    assert_eq!(get(server, "/_requests?last=1")[0]["n"], 3);
    assert_eq!(call(server, "GET", "/_requests/1", b"").status, 404);
    assert_eq!(call(server, "GET", "/_requests?lst=1", b"").status, 400);
    assert_eq!(call(server, "DELETE", "/_requests", b"").status, 200);
    assert_eq!((get(server, "/_requests"), &get(server, "/_stats")["requests"]), (json!([]), &json!(0)));
    assert_eq!(call(server, "GET", "/_health", b"").status, 200);
}

#[test]
fn counting_continues_without_records() {
    let server = start_with(0);
    simulate(server, true, &json!({"events": 5}));
    simulate(server, true, &json!({"events": 5, "cut": "clean", "after_events": 3}));
    assert_eq!(get(server, "/_requests"), json!([]));
    assert_eq!(
        get(server, "/_stats"),
        json!({"requests": 2, "completed": 1, "cancelled": 0, "cut": 1, "open": 0,
        "prompt_tokens": 12, "completion_tokens": 7,
        "billed_prompt": 0, "billed_cached": 0, "billed_written": 0, "billed_written_1h": 0,
        "billed_completion": 0})
    );
}

#[test]
fn a_call_is_billed_for_all_that_it_was_asked_for() {
    let server = start();
    let bill = json!({"dense": true, "reasoning": 30, "cached": 5, "cache_write": 2});
    let body = json!({"messages": [{"role": "user", "content": "abcdef"}], "n": 2, "max_tokens": 50, "stream": true,
        "simulate": {"events": 100, "cut": "clean", "after_events": 3, "bill": bill}});
    call(server, "POST", "/v1/chat/completions", body.to_string().as_bytes());
    let stats = get(server, "/_stats");
    let billed = |name: &str| stats[format!("billed_{name}")].as_u64().unwrap();
    // Six bytes and four tokens of frame; thirty of reasoning and twenty of content in each of two choices.
    assert_eq!((billed("prompt"), billed("cached"), billed("written"), billed("completion")), (3, 5, 2, 100));
}

#[test]
fn invalid_requests_are_rejected_in_the_envelope() {
    let server = start();
    let rejected = simulate(server, true, &json!({"cutt": "stream"}));
    assert_eq!(rejected.status, 400);
    let error = rejected.json()["error"].clone();
    assert!(error["message"].as_str().unwrap().contains("`cutt`"));
    assert_eq!((&error["param"], &error["type"]), (&json!("simulate"), &json!("invalid_request_error")));
    for wrong in [
        json!({"headers": {"content-length": "1"}}),
        json!({"headers": {"a b": "1"}}),
        json!({"status": 100}),
        json!({"cut": "stream"}),
        json!([{"status": 500}, {"when": {"path": "/"}, "statsu": 500}]),
        json!({"status": 500, "when": {"model_name": "m"}}),
        json!({"status": 500, "when": {"times": 1}}),
        json!({"usage": "sometimes"}),
        json!(7),
    ] {
        assert_eq!(simulate(server, false, &wrong).status, 400, "{wrong}");
    }
    assert_eq!(call(server, "POST", "/v1/chat/completions", b"{\"model\":").status, 400);
    assert_eq!(call(server, "GET", "/v1/chat/completions", b"").status, 405);
    assert_eq!(call(server, "GET", "/v1/unknown", b"").json()["error"]["type"], "invalid_request_error");
    let models = get(server, "/any/base/models");
    assert_eq!((&models["object"], models["data"].as_array().unwrap().len()), (&json!("list"), 2));
}

#[test]
fn one_connection_serves_many_requests() {
    let server = start();
    let mut stream = connect(server);
    for _ in 0..3 {
        stream.write_all(b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"]}") {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0);
            seen.extend_from_slice(&buffer[..read]);
        }
    }
    assert_eq!(get(server, "/_stats")["completed"], 3);
}

#[test]
fn the_program_prints_its_address_and_obeys_signals() {
    let program = env!("CARGO_BIN_EXE_upstream");
    let wrong = Command::new(program).arg("--colour").output().unwrap();
    assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("--colour"));

    for signal in ["-TERM", "-INT"] {
        let mut child = Command::new(program).args(["--record", "5"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on http://").unwrap().parse().unwrap();
        assert_eq!(call(address, "GET", "/_health", b"").status, 200);
        // An open connection must not keep the program running.
        let _hanging = send(address, "POST", "/chat/completions", b"{\"simulate\":{\"hang\":\"headers\"}}");
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert!(child.wait().unwrap().success());
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "it prints only one line");
    }
}
