//! OpenTelemetry, in the JSON encoding of OTLP: calls as [`traces`], and the metrics of `GET /metrics` as [`metrics`].
//!
//! Names follow the semantic conventions for generative AI where these have one. Nothing here has content of calls. The
//! module neither sends nor schedules anything: the Durable Objects of the Worker do.

mod metrics;
mod spans;

use serde_json::{Value, json};

use crate::operation::{OPERATIONS, Task};

pub use metrics::metrics;
pub use spans::traces;

/// An attribute. Whole numbers are texts, as the JSON encoding of Protocol Buffers writes them. `None` without a value.
fn attribute(key: &str, value: &Value) -> Option<Value> {
    let (kind, value) = match value {
        Value::String(text) => ("stringValue", Value::from(text.as_str())),
        Value::Number(number) => ("intValue", Value::from(number.to_string())),
        Value::Bool(flag) => ("boolValue", Value::from(*flag)),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(json!({"key": key, "value": {kind: value}}))
}

/// The attributes that an object has under other names, and some more.
fn attributes(of: &Value, fields: &[(&str, &str)], more: &[(&str, &str)]) -> Value {
    let read = fields.iter().filter_map(|(key, field)| attribute(key, of.get(field)?));
    let given = more.iter().filter_map(|(key, text)| attribute(key, &Value::from(*text)));
    read.chain(given).collect()
}

/// The resource of everything that is exported.
fn resource(version: &str) -> Value {
    let service = [("service.name", "gatehouse"), ("service.version", version)];
    json!({"attributes": attributes(&Value::Null, &[], &service)})
}

/// The scope of everything that is exported.
fn scope(version: &str) -> Value {
    json!({"name": "gatehouse", "version": version})
}

/// The name of an operation in the semantic conventions. `usual` is the task of the model, for an operation without a name.
fn operation_of(name: &str, usual: impl FnOnce() -> Option<Task>) -> &'static str {
    let known = OPERATIONS.iter().find(|operation| operation.name() == name);
    match known.map_or_else(usual, |operation| Some(operation.task)) {
        None | Some(Task::Chat) => "chat",
        Some(Task::Embed) => "embeddings",
        Some(Task::Complete) => "text_completion",
        // The conventions have no names for the others.
        Some(task) => task.name(),
    }
}

/// The name of a provider in the semantic conventions, where it differs from the gateway's.
fn provider_name(provider: &str) -> &str {
    match provider {
        "azure" => "azure.ai.openai",
        "bedrock" => "aws.bedrock",
        "gemini" | "google" => "gcp.gemini",
        "mistral" => "mistral_ai",
        "xai" => "x_ai",
        other => other,
    }
}
