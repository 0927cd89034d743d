//! The receipts of calls as spans.
//!
//! The span of a call follows the semantic conventions for generative AI, without content: a receipt has none. Its trace id
//! is the id of the receipt, so that a repeated export is the same span. Each attempt is a child span. Receipts have the
//! durations of attempts but not the waits between them, so the spans of attempts follow each other without pauses.

use serde_json::{Value, json};
use ulid::Ulid;

use super::{attributes, operation_of, provider_name, resource, scope};
use crate::catalog::facts;
use crate::time;

/// `SPAN_KIND_CLIENT`.
const CLIENT: u8 = 3;
/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;

/// The attributes of a call and the fields of its receipt that have their values.
const OF_CALL: &[(&str, &str)] = &[
    ("gen_ai.request.model", "model"),
    ("gen_ai.usage.input_tokens", "prompt_tokens"),
    ("gen_ai.usage.output_tokens", "completion_tokens"),
    ("gen_ai.usage.cache_read.input_tokens", "cached_tokens"),
    ("gen_ai.usage.cache_creation.input_tokens", "cache_write_tokens"),
    ("gen_ai.usage.reasoning.output_tokens", "reasoning_tokens"),
    ("http.response.status_code", "status"),
    ("gatehouse.receipt", "id"),
    ("gatehouse.request_id", "request_id"),
    ("gatehouse.project", "project"),
    ("gatehouse.stream", "stream"),
    ("gatehouse.cost_micro_usd", "cost_micro_usd"),
    ("gatehouse.first_token_ms", "first_token_ms"),
];
/// The same of an attempt.
const OF_ATTEMPT: &[(&str, &str)] = &[("gen_ai.request.model", "model"), ("gatehouse.outcome", "outcome")];

/// The ids of a span, and its time in milliseconds since 1970.
struct Frame {
    trace: String,
    /// The id of the first span.
    root: u64,
    /// The place of the span.
    index: u64,
    began_ms: u64,
    ended_ms: u64,
}

impl Frame {
    fn id(&self, index: u64) -> Value {
        format!("{:016x}", self.root.wrapping_add(index << 1)).into()
    }

    fn span(&self, name: &str, attributes: &Value, is_error: bool) -> Value {
        let mut span = json!({
            "traceId": self.trace.as_str(),
            "spanId": self.id(self.index),
            "name": name,
            "kind": CLIENT,
            "startTimeUnixNano": format!("{}000000", self.began_ms),
            "endTimeUnixNano": format!("{}000000", self.ended_ms),
            "attributes": attributes,
        });
        if let Some(span) = span.as_object_mut() {
            if self.index > 0 {
                span.insert("parentSpanId".to_owned(), self.id(0));
            }
            if is_error {
                span.insert("status".to_owned(), json!({"code": ERROR}));
            }
        }
        span
    }
}

/// Adds the spans of a receipt; none if it cannot be read.
fn add_spans(spans: &mut Vec<Value>, receipt: &str, key_id: &str) -> Option<()> {
    let receipt: Value = serde_json::from_str(receipt).ok()?;
    let text = |name: &str| receipt.get(name).and_then(Value::as_str);
    let ulid = Ulid::from_string(text("id")?.strip_prefix("rcpt_")?).ok()?;
    let start_ms = time::from_rfc3339(text("time")?)?;
    let ended_ms = start_ms + receipt.get("duration_ms").and_then(Value::as_u64)?;
    // The random half of the id, which is never zero in practice; the lowest bit keeps it valid in any case.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
    let root = ulid.0 as u64 | 1;
    let mut frame = Frame { trace: format!("{:032x}", ulid.0), root, index: 0, began_ms: start_ms, ended_ms };
    let (provider, model) = (text("provider").unwrap_or_default(), text("model").unwrap_or_default());
    // Receipts of earlier versions do not have the operation.
    let task = || facts(provider, model).and_then(|facts| facts.task);
    let (operation, outcome) =
        (operation_of(text("operation").unwrap_or_default(), task), text("outcome").unwrap_or_default());
    let is_error = outcome != "answered";
    let mut more =
        vec![("gen_ai.operation.name", operation), ("gen_ai.provider.name", provider_name(provider))];
    more.extend((!key_id.is_empty()).then_some(("gatehouse.key_id", key_id)));
    more.extend(is_error.then_some(("error.type", outcome)));
    let of_call = attributes(&receipt, OF_CALL, &more);
    spans.push(frame.span(&format!("{operation} {model}"), &of_call, is_error));
    for attempt in receipt.get("attempts").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| attempt.get(name).and_then(Value::as_str).unwrap_or_default();
        let duration_ms = attempt.get("duration_ms").and_then(Value::as_u64).unwrap_or(0);
        frame.index += 1;
        frame.ended_ms = (frame.began_ms + duration_ms).min(ended_ms);
        let more = [("gen_ai.provider.name", provider_name(text("provider")))];
        let of_attempt = attributes(attempt, OF_ATTEMPT, &more);
        spans.push(frame.span(&format!("attempt {}", text("model")), &of_attempt, text("outcome") != "ok"));
        frame.began_ms = frame.ended_ms;
    }
    Some(())
}

/// The body of an export of the spans of some receipts, as `POST /v1/traces` of a collector takes it. `key_id` is empty if
/// the key is not an issued one.
pub fn traces(receipts: &[String], key_id: &str, version: &str) -> String {
    let mut spans = Vec::new();
    for receipt in receipts {
        // A receipt that cannot be read has no spans.
        let _ = add_spans(&mut spans, receipt, key_id);
    }
    json!({"resourceSpans": [{
        "resource": resource(version),
        "scopeSpans": [{"scope": scope(version), "spans": spans}],
    }]})
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIPT: &str = concat!(
        r#"{"id":"rcpt_01M80SZ4J85X0R2C9T1N6YH3QB","request_id":"r-1","time":"2026-11-22T07:11:29.48Z","project":"checkout","#,
        r#""provider":"openai","model":"gpt-5-mini","stream":true,"status":200,"outcome":"answered","prompt_tokens":1240,"#,
        r#""cached_tokens":1024,"cache_write_tokens":null,"completion_tokens":310,"reasoning_tokens":192,"image_tokens":null,"#,
        r#""cost_micro_usd":700,"first_token_ms":2210,"duration_ms":6034,"partial":false,"estimated":false,"capped":false,"#,
        r#""attempts":[{"provider":"groq","model":"x","outcome":"throttled","duration_ms":100,"prompt_tokens":null},"#,
        r#"{"provider":"openai","model":"gpt-5-mini","outcome":"ok","duration_ms":5900}],"seq":2,"hash":"0"}"#,
    );

    fn spans(text: &str) -> Vec<Value> {
        let body: Value = serde_json::from_str(&traces(&[text.to_owned()], "key-1", "1.0.0")).unwrap();
        assert_eq!(
            body["resourceSpans"][0]["resource"]["attributes"][0]["value"]["stringValue"],
            "gatehouse"
        );
        body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone()
    }

    fn value<'s>(span: &'s Value, key: &str) -> Option<&'s Value> {
        let attributes = span["attributes"].as_array().unwrap();
        attributes.iter().find(|one| one["key"] == key).map(|one| &one["value"])
    }

    #[test]
    fn a_call_is_a_span_with_its_attempts_below() {
        let spans = spans(RECEIPT);
        let [root, first, second] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!((&root["name"], &root["kind"]), (&json!("chat gpt-5-mini"), &json!(3)));
        assert_eq!(root["traceId"].as_str().unwrap().len(), 32);
        assert_eq!(root["startTimeUnixNano"], "1795331489480000000");
        assert_eq!(root["endTimeUnixNano"], "1795331495514000000");
        assert_eq!(value(root, "gen_ai.usage.input_tokens"), Some(&json!({"intValue": "1240"})));
        assert_eq!(value(root, "gen_ai.provider.name"), Some(&json!({"stringValue": "openai"})));
        assert_eq!(value(root, "gatehouse.key_id"), Some(&json!({"stringValue": "key-1"})));
        assert_eq!(value(root, "gatehouse.stream"), Some(&json!({"boolValue": true})));
        assert_eq!(value(root, "gen_ai.usage.cache_creation.input_tokens"), None);
        assert!(root.get("status").is_none() && root.get("parentSpanId").is_none());
        for (span, is_error) in [(first, true), (second, false)] {
            assert_eq!(span["parentSpanId"], root["spanId"]);
            assert_eq!(span["traceId"], root["traceId"]);
            assert_eq!(span.get("status").is_some(), is_error);
        }
        assert_eq!(second["startTimeUnixNano"], first["endTimeUnixNano"]);
        assert_ne!(first["spanId"], second["spanId"]);
        let again = || traces(&[RECEIPT.to_owned()], "", "1");
        assert_eq!(again(), again());
        assert!(!again().contains("key_id"));
    }

    #[test]
    fn a_failed_call_is_an_error_and_an_unreadable_receipt_is_left_out() {
        let failed = RECEIPT.replace("\"answered\"", "\"failed\"");
        let spans_of_failed = spans(&failed);
        assert_eq!(spans_of_failed[0]["status"], json!({"code": 2}));
        assert_eq!(value(&spans_of_failed[0], "error.type"), Some(&json!({"stringValue": "failed"})));
        assert!(spans("{}").is_empty());
    }
}
