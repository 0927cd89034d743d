//! The API contract in `openapi.json`, checked against the tables of routes and errors.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests"
)]

use std::collections::BTreeSet;

use gatehouse_core::envelope::Surface;
use gatehouse_core::error::Code;
use gatehouse_core::routes::{Audience, routes};
use serde_json::Value;

const OPENAPI: &str = include_str!("../../openapi.json");

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

fn document() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

/// The target of a value's `$ref`, or the value itself.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        None => value,
        Some(reference) => reference
            .strip_prefix('#')
            .and_then(|pointer| document.pointer(pointer))
            .unwrap_or_else(|| panic!("{reference} leads nowhere")),
    }
}

/// One operation of the document.
struct Operation<'a> {
    method: String,
    path: &'a str,
    fields: &'a Value,
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (name, fields) in item.as_object().unwrap() {
            assert!(METHODS.contains(&name.as_str()), "{path}: {name} is no method");
            operations.push(Operation { method: name.to_uppercase(), path, fields });
        }
    }
    operations
}

/// The responses of an operation: the status (or `default`) and the resolved response.
fn responses<'a>(document: &'a Value, operation: &Operation<'a>) -> Vec<(&'a str, &'a Value)> {
    let responses = operation.fields["responses"].as_object().unwrap();
    responses.iter().map(|(status, response)| (status.as_str(), resolve(document, response))).collect()
}

/// The values of all examples of a request or response, of one media type or of all. An empty body has none.
fn examples<'a>(document: &'a Value, message: &'a Value, media_type: Option<&str>) -> Vec<&'a Value> {
    let mut values = Vec::new();
    for (name, content) in message["content"].as_object().into_iter().flatten() {
        if media_type.is_none_or(|wanted| wanted == name) {
            let examples = content["examples"].as_object().unwrap();
            values.extend(examples.values().map(|example| &resolve(document, example)["value"]));
        }
    }
    values
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

/// Calls `visit` for every object of the document.
fn each_object<'a>(value: &'a Value, visit: &mut impl FnMut(&'a serde_json::Map<String, Value>)) {
    match value {
        Value::Object(fields) => {
            visit(fields);
            fields.values().for_each(|field| each_object(field, visit));
        }
        Value::Array(items) => items.iter().for_each(|item| each_object(item, visit)),
        _ => {}
    }
}

#[test]
fn has_exactly_the_routes_of_the_route_table() {
    let document = document();
    let written: BTreeSet<_> = operations(&document)
        .iter()
        .map(|operation| format!("{} {}", operation.method, operation.path))
        .collect();
    let routed: BTreeSet<_> =
        routes().map(|route| format!("{} {}", route.method, route.openapi_path())).collect();
    assert_eq!(written, routed);
    assert_eq!(routed.len(), routes().count(), "a route is in the table twice");
}

/// A public route that the operator's configuration can restrict to operators.
const CLOSABLE: &str = "/v1/analytics";

#[test]
fn the_security_of_each_operation_matches_the_route_table() {
    let document = document();
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(schemes["bearer"]["type"], "http");
    assert_eq!(schemes["bearer"]["scheme"], "bearer");
    assert_eq!(schemes["apiKey"]["in"], "header");
    assert_eq!(schemes["apiKey"]["name"], "x-api-key");
    assert_eq!(schemes["operatorBearer"]["type"], "http");
    assert_eq!(schemes["operatorBearer"]["scheme"], "bearer");
    assert_eq!(schemes["operatorRaw"]["in"], "header");
    assert_eq!(schemes["operatorRaw"]["name"], "Authorization");
    for operation in operations(&document) {
        let route = routes()
            .find(|route| route.openapi_path() == operation.path && route.method == operation.method)
            .unwrap();
        let named: Vec<_> = operation.fields["security"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|choice| choice.as_object().unwrap().keys())
            .collect();
        let closable = route.path == CLOSABLE;
        let expected: &[&str] = match route.audience() {
            None if closable => &["operatorBearer"],
            None => &[],
            Some(Audience::Inference) => &["bearer", "apiKey"],
            Some(Audience::Operator) if Surface::of_path(operation.path) == Surface::Portal => {
                &["operatorBearer", "operatorRaw"]
            }
            Some(Audience::Operator) => &["operatorBearer"],
            Some(Audience::Holder) => &["bearer", "apiKey", "operatorBearer"],
        };
        assert_eq!(named, expected, "{}", operation.path);
        let statuses: Vec<_> =
            responses(&document, &operation).into_iter().map(|(status, _)| status).collect();
        // No key, a key of the other kind, too many wrong keys, no key configured.
        for status in ["401", "403"] {
            let rejects = statuses.contains(&status);
            // Forms of other sites are rejected, and where keys are issued at once, pages of other origins.
            let by_origin =
                status == "403" && operation.path == "/access/request-key" && operation.method == "POST";
            let expected = closable || by_origin || route.audience().is_some();
            assert_eq!(rejects, expected, "{}: {status}", operation.path);
        }
        if route.audience().is_some() {
            for status in ["429", "503"] {
                assert!(statuses.contains(&status), "{} {}: {status}", operation.method, operation.path);
            }
        }
    }
}

#[test]
fn lists_exactly_the_codes_of_the_error_table() {
    let document = document();
    let schema = &document["components"]["schemas"]["GatewayErrorCode"];
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.spec().code).collect();
    assert_eq!(strings(&schema["enum"]), codes);
    let meanings: Vec<_> =
        Code::ALL.iter().map(|code| format!("{}: {}", code.spec().status, code.spec().meaning)).collect();
    assert_eq!(strings(&schema["x-enum-descriptions"]), meanings);
    let of_keys = &document["components"]["schemas"]["KeysErrorCode"];
    let in_pascal_case: Vec<_> = Code::ALL.iter().copied().map(v0_code).collect();
    assert_eq!(strings(&of_keys["enum"]), in_pascal_case);
}

/// `error_code` of an error under `/v0`.
fn v0_code(code: Code) -> String {
    let error = gatehouse_core::error::Error::new(code, "");
    let envelope = serde_json::to_value(error.envelope(Surface::V0)).unwrap();
    envelope["error_code"].as_str().unwrap().to_owned()
}

#[test]
fn every_reference_resolves_and_every_component_is_used() {
    let document = document();
    let mut used = BTreeSet::new();
    each_object(&document, &mut |fields| {
        if let Some(reference) = fields.get("$ref") {
            let reference = reference.as_str().unwrap();
            let pointer =
                reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} is not in this document"));
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            used.insert(pointer);
        }
    });
    for (kind, components) in document["components"].as_object().unwrap() {
        for name in components.as_object().unwrap().keys().filter(|_| kind != "securitySchemes") {
            let pointer = format!("/components/{kind}/{name}");
            assert!(used.contains(pointer.as_str()), "nothing refers to {pointer}");
        }
    }
}

#[test]
fn every_operation_is_described_with_examples_and_errors() {
    let document = document();
    let mut ids = BTreeSet::new();
    let tags: Vec<_> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    for operation in operations(&document) {
        let Operation { path, fields, .. } = &operation;
        let id = fields["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{path}: another operation is {id} too");
        for name in ["summary", "description"] {
            assert!(!fields[name].as_str().unwrap().is_empty(), "{path} has no {name}");
        }
        let own_tags = fields["tags"].as_array().unwrap();
        assert!(own_tags.iter().all(|tag| tags.contains(&tag)), "{path}: an unknown tag");

        let in_path: Vec<_> = path.split(['{', '}']).skip(1).step_by(2).collect();
        let described: Vec<_> = fields["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|parameter| resolve(&document, parameter))
            .filter(|parameter| parameter["in"] == "path" && parameter["required"] == true)
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        assert_eq!(described, in_path, "{path}: its parameters");

        let of_body = fields.get("requestBody");
        if let Some(body) = of_body {
            assert!(!examples(&document, resolve(&document, body), None).is_empty(), "{path}");
        }
        let responses = responses(&document, &operation);
        let has = |class: char| responses.iter().any(|(status, _)| status.starts_with(class));
        assert!(has('2') && (has('4') || has('5')), "{path} must be able to succeed and to fail");
        for status in ["400", "408", "413"] {
            let rejects = responses.iter().any(|(other, _)| *other == status);
            assert!(rejects || of_body.is_none(), "{path}: a body can be rejected with {status}");
        }
        for (status, response) in responses {
            let description = response["description"].as_str().unwrap();
            assert!(!description.is_empty(), "{path} {status}");
            let empty = response.get("content").is_none();
            assert_eq!(empty, description.contains("body is empty"), "{path} {status}: {description}");
            let any = !examples(&document, response, None).is_empty();
            assert!(any || empty, "{path} {status}: no example");
        }
    }
}

/// Checks an example of a gateway error: the fields of its envelope, and their agreement with the error table.
fn check_error(surface: Surface, status: &str, example: &Value) {
    let names = |value: &Value| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    let set = |list: &[&str]| -> BTreeSet<String> { list.iter().map(|name| (*name).to_owned()).collect() };
    let row = |is: &dyn Fn(Code) -> bool| Code::ALL.iter().copied().find(|code| is(*code)).map(Code::spec);
    match surface {
        Surface::OpenAi => {
            assert_eq!(names(example), set(&["error"]), "{example}");
            let error = &example["error"];
            assert_eq!(names(error), set(&["code", "message", "param", "type"]), "{example}");
            // Other codes are a provider's.
            if let Some(spec) = row(&|code| error["code"] == code.spec().code) {
                assert_eq!(error["type"], spec.kind, "{example}");
                assert_eq!(spec.status.to_string(), status, "{example}");
            }
        }
        Surface::Anthropic => {
            assert_eq!(names(example), set(&["type", "error", "request_id"]), "{example}");
            assert_eq!(example["type"], "error", "{example}");
            let code = Code::ALL.iter().find(|code| example["error"]["code"] == code.spec().code);
            let error = code.map(|code| gatehouse_core::error::Error::new(*code, "m"));
            // Without a code of the gateway, the error is a provider's.
            let of_upstream =
                |status| gatehouse_core::error::Error::upstream(status, "x".into(), None, "m".into());
            let error = error.unwrap_or_else(|| of_upstream(status.parse().unwrap_or(418)));
            if status != "default" {
                assert_eq!(error.status_on(surface).to_string(), status, "{example}");
            }
            let written = serde_json::to_value(error.envelope(surface)).unwrap();
            assert_eq!(written["error"]["type"], example["error"]["type"], "{example}");
        }
        Surface::Portal => {
            assert_eq!(names(example), set(&["Message", "Meta", "Status"]), "{example}");
            assert_eq!((&example["Status"], &example["Meta"]), (&"Error".into(), &Value::Null), "{example}");
            let message = example["Message"].as_str().unwrap();
            assert_eq!(message == "Not authorised", status == "401", "{example}");
        }
        Surface::V0 => {
            assert_eq!(names(example), set(&["details", "error_code", "message"]), "{example}");
            assert!(example["details"].is_null() || example["details"].is_object(), "{example}");
            let spec = row(&|code| example["error_code"] == v0_code(code));
            let spec = spec.unwrap_or_else(|| panic!("the table has no row for {example}"));
            assert_eq!(spec.status.to_string(), status, "{example}");
            assert_eq!(example["message"] == "Unauthorized API key", status == "401", "{example}");
        }
    }
}

#[test]
fn examples_of_errors_have_the_envelope_and_agree_with_the_error_table() {
    let document = document();
    let mut checked = [0, 0, 0, 0];
    for operation in operations(&document) {
        let surface = Surface::of_path(operation.path);
        for (status, response) in responses(&document, &operation) {
            if status.starts_with('2') {
                continue;
            }
            for example in examples(&document, response, Some("application/json")) {
                check_error(surface, status, example);
                checked[surface as usize] += 1;
            }
        }
    }
    assert!(checked.iter().all(|count| *count > 10), "{checked:?}");
}

/// The last events of streams that are complete without `[DONE]`.
const COMPLETED: [&str; 5] = [
    "response.completed",
    "image_generation.completed",
    "image_edit.completed",
    "speech.audio.done",
    "transcript.text.done",
];

/// The last event of an example of a stream: its name, or `done` for `[DONE]`.
fn ending(text: &str) -> &'static str {
    let mut ending = "";
    for event in text.strip_suffix("\n\n").unwrap_or_else(|| panic!("{text}")).split("\n\n") {
        assert_eq!(ending, "", "{text}: nothing follows the end");
        let (name, data) = match event.split_once('\n') {
            Some((name, data)) => (name.strip_prefix("event: ").unwrap_or_else(|| panic!("{event}")), data),
            None => ("", event),
        };
        let data = data.strip_prefix("data: ").unwrap_or_else(|| panic!("{event}"));
        if data == "[DONE]" {
            ending = "done";
            continue;
        }
        let data: Value = serde_json::from_str(data).unwrap();
        // Events of transcripts have no name.
        let kind = data["type"].as_str().filter(|kind| name.is_empty() && kind.starts_with("transcript."));
        let name = kind.unwrap_or(name);
        if data["error"]["message"].is_string() {
            ending = "error";
        } else if name == "message_stop" {
            ending = "message_stop";
        } else if COMPLETED.contains(&name) {
            ending = "completed";
        } else if name == "response.failed" {
            ending = "failed";
        } else {
            assert!(data["choices"].is_array() || data["type"] == name, "{event}");
        }
    }
    ending
}

#[test]
fn examples_of_streams_end_as_their_format_does_or_with_an_error() {
    let document = document();
    let mut endings = BTreeSet::new();
    for operation in operations(&document) {
        for (_, response) in responses(&document, &operation) {
            for example in examples(&document, response, Some("text/event-stream")) {
                endings.insert((operation.path, ending(example.as_str().unwrap())));
            }
        }
    }
    let expected = [
        ("/v1/audio/speech", "completed"),
        ("/v1/audio/transcriptions", "completed"),
        ("/v1/audio/translations", "completed"),
        ("/v1/chat/completions", "done"),
        ("/v1/chat/completions", "error"),
        ("/v1/completions", "done"),
        ("/v1/images/edits", "completed"),
        ("/v1/images/generations", "completed"),
        ("/v1/messages", "error"),
        ("/v1/messages", "message_stop"),
        ("/v1/responses", "completed"),
        ("/v1/responses", "failed"),
    ];
    assert_eq!(endings, BTreeSet::from(expected));
}

#[test]
fn version_and_licence_match_the_crate() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["info"]["license"]["name"], "MIT OR Apache-2.0");
}
