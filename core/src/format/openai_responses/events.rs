//! A whole response as the events of a stream, for upstreams that return one where a stream was requested: asking again
//! would be paid for twice. The items are those of the response, ids included.

use serde_json::{Map, Value, json};

/// The events of a response, the last one included; `None` if it has no list of items.
pub(super) fn of_whole(document: &[u8]) -> Option<Vec<u8>> {
    let Ok(Value::Object(response)) = serde_json::from_slice(document) else { return None };
    let Some(Value::Array(items)) = response.get("output") else { return None };
    let mut begun = response.clone();
    for (name, value) in [("output", json!([])), ("status", json!("in_progress")), ("usage", Value::Null)] {
        begun.insert(name.to_owned(), value);
    }
    let mut events = Events::default();
    events.write("response.created", json!({ "response": begun }));
    events.write("response.in_progress", json!({ "response": begun }));
    for (index, item) in items.iter().enumerate() {
        events.item(index, item);
    }
    let is_incomplete = response.get("status").is_some_and(|status| status == "incomplete");
    let last = if is_incomplete { "response.incomplete" } else { "response.completed" };
    events.write(last, json!({ "response": response }));
    Some(events.out)
}

#[derive(Default)]
struct Events {
    sequence: u64,
    out: Vec<u8>,
}

impl Events {
    /// Writes an event, whose name is its type.
    fn write(&mut self, kind: &str, members: Value) {
        let mut data = Map::new();
        data.insert("type".to_owned(), kind.into());
        data.insert("sequence_number".to_owned(), self.sequence.into());
        if let Value::Object(members) = members {
            data.extend(members);
        }
        self.sequence += 1;
        self.out.extend_from_slice(format!("event: {kind}\ndata: {}\n\n", Value::Object(data)).as_bytes());
    }

    /// Writes an item: its texts, arguments and reasoning as deltas, and everything else with its start and its end.
    fn item(&mut self, index: usize, item: &Value) {
        let mut started = item.clone();
        let mut empty = |name: &str, value: Value| {
            if let Some(member) = started.get_mut(name) {
                *member = value;
            }
        };
        empty("status", json!("in_progress"));
        empty("content", json!([]));
        empty("summary", json!([]));
        empty("arguments", json!(""));
        empty("input", json!(""));
        self.write("response.output_item.added", json!({ "output_index": index, "item": started }));
        let place = json!({ "item_id": item.get("id"), "output_index": index });
        self.parts(item, "content", &place);
        self.parts(item, "summary", &place);
        for (name, kind) in
            [("arguments", "response.function_call_arguments"), ("input", "response.custom_tool_call_input")]
        {
            if let Some(text) = item.get(name).filter(|text| text.is_string()) {
                self.text(kind, name, text, &place);
            }
        }
        self.write("response.output_item.done", json!({ "output_index": index, "item": item }));
    }

    /// Writes the parts in a member of an item.
    fn parts(&mut self, item: &Value, member: &str, place: &Value) {
        for (index, part) in item.get(member).and_then(Value::as_array).into_iter().flatten().enumerate() {
            let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
            let (frame, number, text) = match kind {
                "summary_text" => {
                    ("response.reasoning_summary_part", "summary_index", "reasoning_summary_text")
                }
                "reasoning_text" => ("response.content_part", "content_index", "reasoning_text"),
                "refusal" => ("response.content_part", "content_index", "refusal"),
                _ => ("response.content_part", "content_index", "output_text"),
            };
            let name = if kind == "refusal" { "refusal" } else { "text" };
            let place = joined(place, json!({ number: index }));
            let mut started = part.clone();
            if let Some(text) = started.get_mut(name) {
                *text = json!("");
            }
            self.write(&format!("{frame}.added"), joined(&place, json!({ "part": started })));
            if let Some(written) = part.get(name) {
                self.text(&format!("response.{text}"), name, written, &place);
            }
            self.write(&format!("{frame}.done"), joined(&place, json!({ "part": part })));
        }
    }

    /// Writes a text as one delta, and its end.
    fn text(&mut self, kind: &str, name: &str, text: &Value, place: &Value) {
        if text != "" {
            self.write(&format!("{kind}.delta"), joined(place, json!({ "delta": text })));
        }
        self.write(&format!("{kind}.done"), joined(place, json!({ name: text })));
    }
}

/// The members of two objects.
fn joined(one: &Value, other: Value) -> Value {
    let mut all = one.as_object().cloned().unwrap_or_default();
    if let Value::Object(other) = other {
        all.extend(other);
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::carrier::Maker;
    use crate::conversation::delta::Reply;
    use crate::format::openai_responses::deltas::{Reader, read_whole};
    use crate::framing::sse;

    #[test]
    fn a_response_becomes_a_stream_with_nothing_lost() {
        let document = json!({
            "id": "resp_1", "object": "response", "status": "completed", "model": "m", "error": null,
            "output": [
                {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "x"},
                {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"query": "q"}},
                {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [
                    {"type": "output_text", "text": "a\nb", "annotations": []}, {"type": "refusal", "refusal": "no"}]},
                {"id": "fc_1", "type": "function_call", "status": "completed", "call_id": "c", "name": "f", "arguments": "{}"},
                {"id": "ct_1", "type": "custom_tool_call", "call_id": "d", "name": "g", "input": "text"},
            ],
            "usage": {"input_tokens": 3, "output_tokens": 5},
        });
        let whole = document.to_string();
        let bytes = of_whole(whole.as_bytes()).unwrap();
        let maker = Maker::of("a", "m");
        let (mut reader, mut deltas, mut kinds) = (Reader::new(maker), Vec::new(), Vec::new());
        for (number, event) in sse::events(&bytes).map(sse::parse).enumerate() {
            let data: Value = serde_json::from_slice(&event.data).unwrap();
            assert_eq!(data["sequence_number"], number);
            assert_eq!(data["type"].as_str().unwrap().as_bytes(), event.name);
            reader.event(&event.name, &event.data, &mut deltas);
            kinds.push(data);
        }
        let last = kinds.last().unwrap();
        assert_eq!((&last["type"], &last["response"]), (&json!("response.completed"), &document));
        assert_eq!(kinds[0]["response"]["output"], json!([]));
        let done: Vec<_> =
            kinds.iter().filter(|event| event["type"] == "response.output_item.done").collect();
        let items: Vec<_> = done.iter().map(|event| event["item"].clone()).collect();
        assert_eq!(Value::Array(items), document["output"]);
        assert_eq!(Reply::of(deltas), Reply::of(read_whole(whole.as_bytes(), maker).unwrap()));
        let incomplete = of_whole(br#"{"status":"incomplete","output":[]}"#).unwrap();
        assert!(String::from_utf8(incomplete).unwrap().contains("event: response.incomplete\n"));
        assert_eq!(of_whole(b"{}"), None);
        assert_eq!(of_whole(b"["), None);
    }
}
