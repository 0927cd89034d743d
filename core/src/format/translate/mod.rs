//! Translation of a call whose upstream does not serve the caller's format: the request through the neutral form into
//! the upstream's format, and the response back.
//!
//! Knows no pair of formats: it joins the reader of one format with the writer of another. A call in the upstream's own
//! format never comes here.

mod field_names;
mod fold;
mod formats;
mod stream;

pub use fold::fold;

use std::rc::Rc;

use self::formats::Reader;
use self::stream::TranslatedStream;
use super::openai_responses::deltas::Echo;
use super::request::{Inference, Outgoing, Responder, Translation};
use super::stream::ResponseStream;
use super::target::Target;
use super::upstream::Upstream;
use super::whole::{self, BOM, Whole};
use crate::conversation::carrier::Maker;
use crate::conversation::delta::{Delta, Reply};
use crate::conversation::names;
use crate::error::{Code, Error};
use crate::key::Secret;
use crate::operation::{Format, OPERATIONS};
use crate::usage::Usage;

/// Writes a request in the upstream's format. `output_limit` as in [`Inference::outgoing`]. The error, with its `param`, is
/// that the request cannot be translated: a field that changes its meaning has no place in that format, or this model does
/// not accept it.
///
/// The written body then passes through the target format's own `read` and `outgoing`, as a caller's would: the
/// provider's quirks, the output limit and the usage of streams are in one place.
pub fn outgoing(
    request: &Inference<'_>,
    upstream: &Upstream<'_>,
    target: Format,
    output_limit: Option<u64>,
) -> Result<Outgoing, Error> {
    let caller = request.operation.format;
    let mut conversation = formats::read(caller, request.body.bytes())?;
    let aliases = names::alias(&mut conversation, formats::longest_tool_name(target));
    let provider = upstream.provider.name.as_str();
    let maker = Maker::of(provider, upstream.model);
    let facts = upstream.provider.facts(upstream.model).unwrap_or_default();
    let lane = Target { provider, model: upstream.model, facts, maker, stream: request.stream, output_limit };
    let (body, dropped) =
        formats::write(target, &conversation, &lane).map_err(|error| field_names::in_error(error, caller))?;
    let operation = OPERATIONS.iter().copied().find(|operation| operation.format == target);
    let operation = operation.ok_or_else(|| {
        Error::new(Code::UnsupportedEndpoint, "The provider's format has no operation of this gateway")
    })?;
    let written = formats::addressed(operation, &body, upstream, output_limit)?;
    let mut adjusted = conversation.dropped;
    for name in dropped.into_iter().chain(written.adjusted) {
        let name = field_names::of_caller(name, caller);
        if !adjusted.contains(&name) {
            adjusted.push(name);
        }
    }
    let translation = Translation {
        caller,
        maker,
        model: upstream.model.to_owned(),
        id: String::new(),
        wants_usage: request.wants_usage,
        created: 0,
        aliases,
        echo: (caller == Format::Responses).then(|| Rc::new(Echo::read(request.body.bytes()))),
    };
    // The usage is read from the upstream's events, and written only if the caller wants it.
    let responder =
        Responder { hide_usage: false, translation: Some(Rc::new(translation)), ..written.responder };
    Ok(Outgoing { body: Some(written.body.unwrap_or(body)), adjusted, responder })
}

/// Checks a whole response, and translates it: [`Whole::translated`] is the body for the caller.
pub fn whole(
    responder: &Responder,
    translation: &Rc<Translation>,
    provider: &str,
    body: &[u8],
    key: Option<&Secret>,
) -> Result<Whole, Error> {
    let checked = native(responder).whole(provider, body, key)?;
    let json = body.strip_prefix(BOM).unwrap_or(body);
    let deltas = formats::read_whole(responder.format, json, translation.maker)
        .ok_or_else(|| whole::invalid(provider, "a response without content"))?;
    let (translated, _) = write(translation, deltas, checked.usage)
        .ok_or_else(|| whole::invalid(provider, "an incomplete response"))?;
    Ok(Whole { has_bom: false, translated: Some(translated), ..checked })
}

/// Writes a whole response for the caller. Returns it and its usage: that of the deltas or that which was `checked`,
/// whichever is larger. `None` if the deltas have no end.
fn write(translation: &Translation, deltas: Vec<Delta>, checked: Usage) -> Option<(Vec<u8>, Usage)> {
    let mut reply = Reply::of(deltas.into_iter().map(|delta| names::restore(delta, &translation.aliases)));
    reply.usage = reply.usage.larger(checked);
    reply.stop.as_ref()?;
    Some((formats::write_whole(translation, &reply), reply.usage))
}

/// Creates the state of a streamed response that is translated.
pub fn stream(
    responder: &Responder,
    translation: &Rc<Translation>,
    provider: &str,
    key: Option<Secret>,
    max_event: usize,
) -> Option<Box<dyn ResponseStream>> {
    let upstream = native(responder).stream(provider, key, max_event)?;
    let reader = Reader::new(responder.format, translation.maker)?;
    Some(Box::new(TranslatedStream::new(upstream, provider, reader, Rc::clone(translation))))
}

/// The responder for the upstream's own format.
fn native(responder: &Responder) -> Responder {
    Responder { translation: None, ..responder.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Entry, Registry};
    use crate::config::Config;
    use crate::conversation::carrier::{Blob, Kind};
    use crate::format::stream::{Ending, Outcome, Relayed, StreamState};
    use crate::framing::sse;
    use crate::operation::{CHAT_COMPLETIONS, MESSAGES};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// A provider with the given settings.
    fn provider(settings: &str) -> Entry {
        let config = format!(
            r#"{{"providers":{{"acme":{{"base_url":"http://a.example","auth":"none"{settings}}}}}}}"#
        );
        let registry = Registry::new(&Config::read("{}", Some(&config)).unwrap(), false, |_| None);
        registry.into_entries().into_iter().find(|entry| entry.name == "acme").unwrap()
    }

    /// The request of a caller of Chat Completions, through the neutral form, for an upstream of Chat Completions.
    fn translated(body: &Value, provider: &Entry, limit: Option<u64>) -> Result<(Value, Outgoing), Error> {
        let bytes = body.to_string();
        let request = crate::format::read(&CHAT_COMPLETIONS, bytes.as_bytes())?;
        let upstream = Upstream { provider, model: "up", own_routing: false };
        let outgoing = outgoing(&request, &upstream, Format::ChatCompletions, limit)?;
        Ok((serde_json::from_slice(outgoing.body.as_ref().unwrap()).unwrap(), outgoing))
    }

    #[test]
    fn a_translated_request_is_written_for_the_provider_like_any_other() {
        let acme = provider(r#","drop":["seed"],"rename":{"max_tokens":"longest"}"#);
        let long = "x".repeat(70);
        let body = json!({"model": "a", "stream": true, "max_tokens": 50, "seed": 1, "service_tier": "flex", "top_k": 2,
            "messages": [{"role": "user", "content": "hi"}],
            "tools": [{"type": "function", "function": {"name": long, "parameters": {"type": "object", "properties": {}}}}]});
        let (sent, outgoing) = translated(&body, &acme, Some(20)).unwrap();
        let alias = sent["tools"][0]["function"]["name"].as_str().unwrap();
        assert_eq!(alias.len(), 64);
        assert_eq!(
            (&sent["model"], &sent["longest"], &sent["stream_options"]),
            (&json!("up"), &json!(20), &json!({"include_usage": true}))
        );
        assert_eq!(
            outgoing.adjusted,
            ["top_k", "service_tier", "seed", "max_tokens>longest", "max_tokens=20"]
        );
        let Responder { format, hide_usage, translation, .. } = &outgoing.responder;
        assert_eq!((*format, *hide_usage), (Format::ChatCompletions, false));
        let translation = translation.as_ref().unwrap();
        assert_eq!((translation.aliases.get(alias), translation.wants_usage), (Some(&long), false));
        assert_eq!(translation.id, "");
        let made = outgoing.created_at(7, || [171; 12]).responder.translation.unwrap();
        assert_eq!((made.created, made.id.as_str()), (7, "abababababababababababab"));
    }

    #[test]
    fn what_cannot_be_translated_is_rejected_before_anything_is_sent() {
        let body = json!({"model": "a", "n": 2, "messages": []});
        let error = translated(&body, &provider(""), None).unwrap_err();
        assert_eq!((error.code(), error.param.as_deref()), (Some("unsupported_parameter"), Some("n")));
    }

    #[test]
    fn a_message_is_written_for_an_upstream_of_chat_completions() {
        let acme = provider("");
        let bytes = json!({"model": "a", "max_tokens": 50, "top_k": 3, "stream": true,
            "system": [{"type": "text", "text": "be kind", "cache_control": {"type": "ephemeral"}}],
            "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "gwid-f-3a0", "name": "f", "input": {}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "gwid-f-3a0", "content": "done"},
                    {"type": "text", "text": "go on"}
                ]}
            ]})
        .to_string();
        let request = crate::format::read(&MESSAGES, bytes.as_bytes()).unwrap();
        let upstream = Upstream { provider: &acme, model: "up", own_routing: false };
        let outgoing = outgoing(&request, &upstream, Format::ChatCompletions, None).unwrap();
        let sent: Value = serde_json::from_slice(&outgoing.body.unwrap()).unwrap();
        let expected = json!({
            "model": "up",
            "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "f:0", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ]},
                {"role": "tool", "content": "done", "tool_call_id": "f:0"},
                {"role": "user", "content": "go on"}
            ],
            "stream": true,
            "max_tokens": 50,
            "tools": [{"type": "function", "function":
                {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
            "tool_choice": "required",
            "parallel_tool_calls": false,
            "stream_options": {"include_usage": true}
        });
        assert_eq!(sent, expected);
        assert_eq!(outgoing.adjusted, ["cache_control", "top_k"]);
        assert_eq!(outgoing.responder.translation.unwrap().caller, Format::Messages);
    }

    #[test]
    fn a_chat_completion_is_written_for_an_upstream_of_messages_and_its_stream_read() {
        let acme = provider(r#","formats":["messages"]"#);
        let long = "x".repeat(130);
        let bytes = json!({"model": "a", "max_tokens": 50, "seed": 3, "stream": true,
            "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}],
            "tools": [{"type": "function", "function": {"name": long}}]})
        .to_string();
        let request = crate::format::read(&CHAT_COMPLETIONS, bytes.as_bytes()).unwrap();
        let upstream = Upstream { provider: &acme, model: "up", own_routing: false };
        let outgoing = outgoing(&request, &upstream, Format::Messages, Some(20)).unwrap();
        let sent: Value = serde_json::from_slice(&outgoing.body.unwrap()).unwrap();
        let alias = sent["tools"][0]["name"].as_str().unwrap();
        assert_eq!((&sent["model"], &sent["max_tokens"], alias.len()), (&json!("up"), &json!(20), 128));
        assert!(outgoing.adjusted.contains(&"seed".to_owned()), "{:?}", outgoing.adjusted);
        let translation = outgoing.responder.translation.clone().unwrap();
        let event = |data: Value| format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap());
        let block = json!({"type": "tool_use", "id": "toolu_1", "name": alias, "input": {}});
        let events = [
            json!({"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 3}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "t"}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "content_block_start", "index": 1, "content_block": block}),
            json!({"type": "content_block_stop", "index": 1}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}}),
            json!({"type": "message_stop"}),
        ]
        .map(event);
        let relay = |events: &[String]| {
            let mut stream = stream(&outgoing.responder, &translation, "acme", None, 10_000).unwrap();
            let mut out = Vec::new();
            for event in events {
                let Relayed::Instead(bytes) = stream.push(event.as_bytes()) else { panic!() };
                out.extend(bytes);
            }
            out.extend_from_slice(&stream.end(Ending::Closed));
            (data(&String::from_utf8(out).unwrap()), stream)
        };
        let (found, stream) = relay(&events);
        assert_eq!(stream.usage().completion_tokens, Some(5));
        let chunks: Vec<Value> =
            found.iter().map(|data| serde_json::from_str(data).unwrap_or_default()).collect();
        let deltas: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]).collect();
        assert_eq!(deltas[0], &json!({"role": "assistant", "content": ""}));
        assert_eq!(deltas[1], &json!({"reasoning_content": "t"}));
        let mark = Blob { kind: Kind::Signature, maker: translation.maker, data: "s".to_owned() }.to_text();
        assert_eq!(deltas[2]["reasoning_details"][0]["signature"], mark);
        assert_eq!(deltas[3]["tool_calls"][0]["function"]["name"], long);
        assert_eq!(deltas[4]["tool_calls"][0]["function"]["arguments"], "{}");
        assert_eq!(chunks[5]["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!(found[6..], ["[DONE]"]);
        // Everything but the last event: the caller does not take it for complete.
        let (cut, stream) = relay(&events[..8]);
        assert_eq!(stream.state(), StreamState::Over(Outcome::Cut));
        assert!(cut.last().unwrap().contains("\"error\""), "{cut:?}");
        assert!(!cut.concat().contains("finish_reason\":\"tool_calls"), "{cut:?}");
    }

    #[test]
    fn a_stream_for_a_caller_of_messages_ends_with_message_stop_or_an_error_event() {
        let translation = Rc::new(Translation { caller: Format::Messages, ..(*translation(false)).clone() });
        let relay = |events: &str| {
            let mut stream = stream(&responder(false), &translation, "acme", None, 10_000).unwrap();
            let Relayed::Instead(mut out) = stream.push(events.as_bytes()) else { panic!() };
            out.extend_from_slice(&stream.end(Ending::Closed));
            String::from_utf8(out).unwrap()
        };
        let names = |out: &str| -> Vec<String> {
            let events = sse::events(out.as_bytes()).map(sse::parse);
            events.map(|event| String::from_utf8(event.name).unwrap()).collect()
        };
        let complete = relay(&joined(&[ROLE, TEXT, CALL, FINISH, USAGE, DONE]));
        let block = ["content_block_start", "content_block_delta", "content_block_stop"];
        let expected: Vec<&str> = ["message_start"]
            .into_iter()
            .chain(block)
            .chain(block)
            .chain(["message_delta", "message_stop"])
            .collect();
        assert_eq!(names(&complete), expected, "{complete}");
        assert!(complete.contains(r#""stop_reason":"tool_use""#), "{complete}");
        assert!(
            complete.contains(r#""input_tokens":3"#) && complete.contains(r#""output_tokens":5"#),
            "{complete}"
        );
        let cut = relay(&joined(&[ROLE, TEXT, FINISH]));
        assert_eq!(names(&cut).last().map(String::as_str), Some("error"), "{cut}");
        assert!(!cut.contains("message_stop") && !cut.contains("stop_reason\":\"end_turn"), "{cut}");
        let last = data(&cut).pop().unwrap();
        let error: Value = serde_json::from_str(&last).unwrap();
        assert_eq!((&error["type"], &error["error"]["type"]), (&json!("error"), &json!("api_error")));
    }

    fn translation(wants_usage: bool) -> Rc<Translation> {
        Rc::new(Translation {
            caller: Format::ChatCompletions,
            maker: Maker::of("acme", "m"),
            model: "m".to_owned(),
            id: "0".to_owned(),
            wants_usage,
            created: 1,
            aliases: [("alias".to_owned(), "name.of a tool".to_owned())].into(),
            echo: None,
        })
    }

    fn responder(ends_without_done: bool) -> Responder {
        Responder { format: Format::ChatCompletions, hide_usage: false, ends_without_done, translation: None }
    }

    /// The bytes for the caller, and the state of the stream.
    fn relay(chunks: &[&[u8]], ending: Ending) -> (String, Box<dyn ResponseStream>) {
        let mut stream = stream(&responder(false), &translation(true), "acme", None, 10_000).unwrap();
        let mut out = Vec::new();
        for chunk in chunks {
            match stream.push(chunk) {
                Relayed::AsIs => out.extend_from_slice(chunk),
                Relayed::Instead(bytes) => out.extend_from_slice(&bytes),
            }
        }
        out.extend_from_slice(&stream.end(ending));
        assert_eq!(stream.push(b"data: late\n\n"), Relayed::Instead(Vec::new()));
        assert_eq!(stream.end(ending), b"");
        (String::from_utf8(out).unwrap(), stream)
    }

    fn data(bytes: &str) -> Vec<String> {
        let events = sse::events(bytes.as_bytes()).map(sse::parse);
        events.map(|event| String::from_utf8(event.data).unwrap()).collect()
    }

    const ROLE: &str = r#"data: {"id":"msg_1","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#;
    const TEXT: &str =
        r#"data: {"id":"msg_1","model":"m","choices":[{"index":0,"delta":{"content":"hi"}}],"usage":null}"#;
    const CALL: &str = r#"data: {"choices":[{"delta":{"tool_calls":[{"id":"1","function":{"name":"alias","arguments":"{}"}}]}}]}"#;
    const FINISH: &str = r#"data: {"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
    const USAGE: &str = r#"data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}"#;
    const DONE: &str = "data: [DONE]";

    fn joined(events: &[&str]) -> String {
        events.iter().map(|event| format!("{event}\n\n")).collect()
    }

    #[test]
    fn a_complete_stream_ends_as_the_callers_format_does() {
        let (out, stream) =
            relay(&[joined(&[ROLE, TEXT, CALL, FINISH, USAGE, DONE]).as_bytes()], Ending::Closed);
        let found = data(&out);
        assert!(found[0].contains(r#""id":"chatcmpl-1""#), "{out}");
        assert!(found[2].contains(r#""name":"name.of a tool""#), "{out}");
        assert_eq!(found[found.len() - 3..][0].matches("tool_calls").count(), 1, "{out}");
        assert!(
            found[found.len() - 2].contains(r#""usage":{"prompt_tokens":3,"completion_tokens":5"#),
            "{out}"
        );
        assert_eq!(found[found.len() - 1], "[DONE]");
        assert_eq!(
            (stream.state(), stream.usage().prompt_tokens),
            (StreamState::Over(Outcome::Done), Some(3))
        );
    }

    #[test]
    fn a_failed_stream_ends_with_an_error_and_without_a_finish_reason() {
        let error = r#"data: {"error":{"message":"boom","type":"server_error"}}"#;
        for (events, ending, outcome, message) in [
            (joined(&[ROLE, TEXT]), Ending::Closed, Outcome::Cut, "before it was complete"),
            (joined(&[ROLE, TEXT]), Ending::Broken, Outcome::Cut, "in the middle of the stream"),
            (joined(&[ROLE, TEXT, FINISH]), Ending::Silent, Outcome::Cut, "sent nothing for too long"),
            (joined(&[ROLE, TEXT, error]), Ending::Closed, Outcome::UpstreamError, "boom"),
            (joined(&[ROLE, DONE]), Ending::Closed, Outcome::Done, "without any content"),
            (joined(&[error]), Ending::Closed, Outcome::UpstreamError, "boom"),
            (String::new(), Ending::Closed, Outcome::Cut, "before it was complete"),
        ] {
            let (out, stream) = relay(&[events.as_bytes()], ending);
            assert_eq!(stream.state(), StreamState::Over(outcome), "{events}");
            let last: Value = serde_json::from_str(data(&out).last().unwrap()).unwrap();
            assert!(last["error"]["message"].as_str().unwrap().contains(message), "{out}");
            assert!(!out.contains("[DONE]") && !out.contains(r#""finish_reason":"stop""#), "{out}");
            assert_eq!(stream.early_end().is_some(), !events.contains("hi"), "{events}");
        }
    }

    #[test]
    fn a_stream_is_held_until_its_first_content() {
        let mut stream = stream(&responder(false), &translation(true), "acme", None, 10_000).unwrap();
        for (event, state) in [
            (ROLE, StreamState::Held),
            (TEXT, StreamState::Begun),
            (FINISH, StreamState::Begun),
            (DONE, StreamState::Over(Outcome::Done)),
        ] {
            stream.push(joined(&[event]).as_bytes());
            assert_eq!(stream.state(), state, "{event}");
        }
    }

    #[test]
    fn a_whole_response_is_translated_and_its_failure_never_looks_good() {
        let body = json!({"id": "msg_1", "model": "m", "choices": [{"index": 0, "finish_reason": "stop",
            "message": {"content": "hi", "tool_calls": [{"id": "1", "function": {"name": "alias", "arguments": ""}}]}}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 5}});
        let body = format!("\u{feff}{body}");
        let found = whole(&responder(false), &translation(true), "acme", body.as_bytes(), None).unwrap();
        assert_eq!((found.usage.completion_tokens, found.has_bom), (Some(5), false));
        let written: Value = serde_json::from_slice(&found.translated.unwrap()).unwrap();
        let choice = &written["choices"][0];
        assert_eq!((&written["id"], &choice["finish_reason"]), (&json!("chatcmpl-1"), &json!("tool_calls")));
        let function = json!({"name": "name.of a tool", "arguments": "{}"});
        assert_eq!(choice["message"]["tool_calls"][0]["function"], function);
        for body in [
            r#"{"choices":[]}"#,
            r#"{"error":{"message":"x"}}"#,
            "<html>",
            r#"{"choices":[],"error":{"message":"x"}}"#,
        ] {
            let error =
                whole(&responder(false), &translation(true), "acme", body.as_bytes(), None).unwrap_err();
            assert!(error.status >= 400, "{body}");
        }
    }

    proptest! {
        /// However the upstream's bytes are divided, the caller gets the same ones.
        #[test]
        fn a_translation_does_not_depend_on_the_chunks(
            events in proptest::collection::vec(
                proptest::sample::select(vec![ROLE, TEXT, CALL, FINISH, USAGE, DONE, ": comment", "event: ping\r\ndata: {}"]), 1..9),
            end in proptest::sample::select(vec!["\n\n", "\r\n\r\n", "\n"]),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        ) {
            let bytes = events.iter().map(|event| format!("{event}\n\n")).collect::<String>().trim_end().to_owned() + end;
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            places.extend([0, bytes.len()]);
            places.sort_unstable();
            let chunks: Vec<&[u8]> = places.windows(2).map(|pair| &bytes.as_bytes()[pair[0]..pair[1]]).collect();
            let (torn, torn_stream) = relay(&chunks, Ending::Closed);
            let (expected, stream) = relay(&[bytes.as_bytes()], Ending::Closed);
            prop_assert_eq!(torn, expected);
            prop_assert_eq!(torn_stream.state(), stream.state());
        }
    }
}
