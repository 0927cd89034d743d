//! A whole completion as the events of a stream, for upstreams that return one where a stream was requested: asking
//! again would be paid for twice.

use serde_json::{Map, Value, json};

/// The members that all chunks share.
const FRAME: [&str; 6] = ["id", "created", "model", "system_fingerprint", "service_tier", "provider"];

/// The events of a completion, without the final `[DONE]`: the messages, the finish reasons with whatever else the
/// completion has and, unless it is to be hidden, the usage. `None` if it has no choices.
pub(super) fn of_whole(document: &[u8], hide_usage: bool) -> Option<Vec<u8>> {
    let Ok(Value::Object(mut whole)) = serde_json::from_slice(document) else { return None };
    let Some(Value::Array(choices)) = whole.remove("choices") else { return None };
    if choices.is_empty() {
        return None;
    }
    let usage = whole.remove("usage").filter(|usage| !usage.is_null());
    if choices.iter().all(|choice| choice.get("text").is_some()) {
        // A legacy completion is an object of the same kind as each of its chunks.
        whole.insert("choices".into(), choices.into());
        whole.extend(usage.filter(|_| !hide_usage).map(|usage| ("usage".to_owned(), usage)));
        return Some(format!("data: {}\n\n", Value::Object(whole)).into_bytes());
    }
    let mut frame = Map::new();
    frame.insert("object".into(), "chat.completion.chunk".into());
    whole.remove("object");
    for name in FRAME {
        frame.extend(whole.remove(name).map(|value| (name.to_owned(), value)));
    }
    let (deltas, ends): (Vec<Value>, Vec<Value>) = choices.into_iter().enumerate().map(split).unzip();
    let chunk = |choices: Vec<Value>, more: Map<String, Value>| {
        let mut chunk = frame.clone();
        chunk.insert("choices".into(), choices.into());
        chunk.extend(more);
        format!("data: {}\n\n", Value::Object(chunk))
    };
    let mut events = chunk(deltas, Map::new()) + &chunk(ends, whole);
    if let Some(usage) = usage.filter(|_| !hide_usage) {
        events += &chunk(Vec::new(), [("usage".to_owned(), usage)].into_iter().collect());
    }
    Some(events.into_bytes())
}

/// A choice as two of a stream: its message, and its finish reason with all other members.
fn split((place, choice): (usize, Value)) -> (Value, Value) {
    let Value::Object(mut choice) = choice else { return (json!({"index": place}), json!({"index": place})) };
    let index = choice.remove("index").filter(Value::is_u64).unwrap_or_else(|| place.into());
    let Value::Object(mut message) = choice.remove("message").unwrap_or_default() else {
        return (json!({"index": index}), json!({"index": index}));
    };
    message.entry("role").or_insert_with(|| "assistant".into());
    let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
    let has_calls = calls.as_ref().is_some_and(|calls| !calls.is_empty());
    for (place, call) in calls.into_iter().flatten().enumerate() {
        if let Value::Object(call) = call {
            call.entry("index").or_insert_with(|| place.into());
        }
    }
    let reason = choice.remove("finish_reason");
    let reason = reason.filter(|reason| reason.as_str().is_some_and(|reason| !matches!(reason, "" | "null")));
    let reason = reason.unwrap_or_else(|| if has_calls { "tool_calls" } else { "stop" }.into());
    let logprobs = choice.remove("logprobs").unwrap_or_default();
    let start = json!({"index": index, "delta": message, "logprobs": logprobs, "finish_reason": null});
    choice.insert("index".into(), index);
    choice.insert("delta".into(), json!({}));
    choice.insert("finish_reason".into(), reason);
    (start, choice.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(document: &str, hide_usage: bool) -> Vec<Value> {
        let text = String::from_utf8(of_whole(document.as_bytes(), hide_usage).unwrap()).unwrap();
        text.trim_end()
            .split("\n\n")
            .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
            .collect()
    }

    #[test]
    fn a_completion_becomes_a_stream_with_the_same_ids_and_nothing_lost() {
        let document = r#"{"id":"c1","object":"chat.completion","created":1,"model":"m","citations":["u"],"choices":[
            {"index":0,"message":{"role":"assistant","content":"fine","tool_calls":[{"id":"t","function":{"name":"f"}}]},
            "logprobs":{"content":[]},"finish_reason":"stop","native":"x"}],"usage":{"prompt_tokens":9}}"#;
        let frame = json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"});
        let with = |more: Value| {
            let mut chunk = frame.clone();
            chunk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            chunk
        };
        let delta = json!({"role": "assistant", "content": "fine", "tool_calls": [{"index": 0, "id": "t", "function": {"name": "f"}}]});
        let expected = [
            with(
                json!({"choices": [{"index": 0, "delta": delta, "logprobs": {"content": []}, "finish_reason": null}]}),
            ),
            with(
                json!({"citations": ["u"], "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "native": "x"}]}),
            ),
            with(json!({"choices": [], "usage": {"prompt_tokens": 9}})),
        ];
        assert_eq!(events(document, false), expected);
        assert_eq!(events(document, true), expected.get(..2).unwrap());
    }

    #[test]
    fn a_legacy_completion_is_its_own_chunk() {
        let document = r#"{"id":"c","choices":[{"index":0,"text":"a","finish_reason":"stop"}],"usage":{"prompt_tokens":9}}"#;
        let mut whole: Value = serde_json::from_str(document).unwrap();
        assert_eq!(events(document, false), [whole.clone()]);
        whole.as_object_mut().unwrap().remove("usage");
        assert_eq!(events(document, true), [whole]);
    }

    #[test]
    fn a_finish_reason_is_always_given() {
        for (choice, reason) in [
            (r#"{"message":{"content":"a"},"finish_reason":""}"#, "stop"),
            (r#"{"message":{"content":"a"},"finish_reason":"null"}"#, "stop"),
            (r#"{"message":{"tool_calls":[{}]}}"#, "tool_calls"),
            (r#"{"message":{"content":"a"},"finish_reason":"length"}"#, "length"),
        ] {
            let found = events(&format!(r#"{{"choices":[{choice}]}}"#), true);
            assert_eq!(found[1]["choices"][0]["finish_reason"], reason, "{choice}");
        }
        assert_eq!(of_whole(br#"{"choices":[]}"#, true), None);
    }
}
