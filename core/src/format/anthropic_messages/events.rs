//! A whole message as the events of a stream, for upstreams that return one where a stream was requested: asking again
//! would be paid for twice.

use serde_json::{Map, Value, json};

/// The events of a message, the last one included; `None` if it has no list of blocks.
pub(super) fn of_whole(document: &[u8]) -> Option<Vec<u8>> {
    let Ok(Value::Object(mut message)) = serde_json::from_slice(document) else { return None };
    let Some(Value::Array(blocks)) = message.remove("content") else { return None };
    let mut ending = Map::new();
    for name in ["stop_reason", "stop_sequence", "stop_details"] {
        ending.extend(message.insert(name.into(), Value::Null).map(|value| (name.to_owned(), value)));
    }
    let usage = message.get("usage").cloned().unwrap_or_else(|| json!({"output_tokens": 0}));
    message.insert("content".into(), json!([]));
    let mut out = Vec::new();
    write(&mut out, &json!({"type": "message_start", "message": message}));
    for (index, block) in blocks.into_iter().enumerate() {
        let (start, deltas) = parts(block);
        write(&mut out, &json!({"type": "content_block_start", "index": index, "content_block": start}));
        for delta in deltas {
            write(&mut out, &json!({"type": "content_block_delta", "index": index, "delta": delta}));
        }
        write(&mut out, &json!({"type": "content_block_stop", "index": index}));
    }
    write(&mut out, &json!({"type": "message_delta", "delta": ending, "usage": usage}));
    write(&mut out, &json!({"type": "message_stop"}));
    Some(out)
}

/// Writes an event, whose name is its type.
fn write(out: &mut Vec<u8>, data: &Value) {
    let name = data.get("type").and_then(Value::as_str).unwrap_or_default();
    out.extend_from_slice(format!("event: {name}\ndata: {data}\n\n").as_bytes());
}

/// A block as it starts, and the deltas that complete it. Blocks of other kinds come whole at their start.
fn parts(mut block: Value) -> (Value, Vec<Value>) {
    let mut deltas = Vec::new();
    let mut take = |name: &str, empty: Value, delta: &mut dyn FnMut(Value) -> Value| {
        let field = block.get_mut(name).filter(|field| **field != empty);
        if let Some(field) = field {
            let whole = std::mem::replace(field, empty);
            deltas.push(delta(whole));
        }
    };
    let empty = Value::from("");
    take("thinking", empty.clone(), &mut |text| json!({"type": "thinking_delta", "thinking": text}));
    take("signature", empty.clone(), &mut |text| json!({"type": "signature_delta", "signature": text}));
    take("text", empty, &mut |text| json!({"type": "text_delta", "text": text}));
    take(
        "input",
        json!({}),
        &mut |input| json!({"type": "input_json_delta", "partial_json": input.to_string()}),
    );
    if let Some(Value::Array(citations)) = block.get_mut("citations") {
        let citations = std::mem::take(citations);
        deltas.extend(citations.into_iter().map(|one| json!({"type": "citations_delta", "citation": one})));
    }
    (block, deltas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_becomes_a_stream_with_nothing_lost() {
        let document = json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "a", "citations": [{"url": "u"}]},
                {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
                {"type": "tool_use", "id": "u", "name": "g", "input": {}},
                {"type": "redacted_thinking", "data": "d"},
            ],
            "stop_reason": "tool_use", "stop_sequence": null, "usage": {"input_tokens": 3, "output_tokens": 5},
        });
        let text = String::from_utf8(of_whole(document.to_string().as_bytes()).unwrap()).unwrap();
        let events: Vec<Value> = text
            .trim_end()
            .split("\n\n")
            .map(|event| {
                let (name, data) = event.split_once("\ndata: ").unwrap();
                let data: Value = serde_json::from_str(data).unwrap();
                assert_eq!(name, format!("event: {}", data["type"].as_str().unwrap()));
                data
            })
            .collect();
        let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        let block = ["content_block_start", "content_block_stop"];
        let [start, stop] = block;
        let delta = "content_block_delta";
        let expected = [
            &["message_start"][..],
            &[start, delta, delta, stop],
            &[start, delta, delta, stop],
            &[start, delta, stop],
            &block,
            &block,
            &["message_delta", "message_stop"],
        ];
        assert_eq!(kinds, expected.concat());
        assert_eq!(events[0]["message"]["content"], json!([]));
        assert_eq!(events[0]["message"]["stop_reason"], Value::Null);
        assert_eq!(events[1]["content_block"], json!({"type": "thinking", "thinking": "", "signature": ""}));
        assert_eq!(events[6]["delta"], json!({"type": "text_delta", "text": "a"}));
        assert_eq!(events[7]["delta"], json!({"type": "citations_delta", "citation": {"url": "u"}}));
        assert_eq!(
            events[9]["content_block"],
            json!({"type": "tool_use", "id": "t", "name": "f", "input": {}})
        );
        assert_eq!(events[10]["delta"]["partial_json"], r#"{"x":1}"#);
        let last = &events[events.len() - 2];
        assert_eq!(last["delta"], json!({"stop_reason": "tool_use", "stop_sequence": null}));
        assert_eq!(last["usage"], document["usage"]);
        assert_eq!(of_whole(b"{}"), None);
        assert_eq!(of_whole(b"["), None);
    }
}
