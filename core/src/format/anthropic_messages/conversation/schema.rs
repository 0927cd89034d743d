//! JSON Schemas in the form that Anthropic compiles for structured output and strict tools.
//!
//! Anthropic rejects a schema with an object that allows further properties, and with bounds on numbers, strings and
//! arrays. As Anthropic's own SDKs do, bounds move into the description, where the model still reads them.

use serde_json::{Map, Value};

/// Keywords that Anthropic rejects; their values become a part of the description.
const REJECTED: [&str; 14] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "patternProperties",
    "propertyNames",
    "contains",
];
/// Keywords whose value is a schema by name.
const NAMED: [&str; 3] = ["properties", "$defs", "definitions"];
/// Keywords whose value is a list of schemas.
const LISTS: [&str; 3] = ["anyOf", "allOf", "prefixItems"];

/// Changes a schema so that Anthropic compiles it. Returns `true` if the new schema says less than the old one or
/// something else; closing an object that was silent on further properties does not count.
pub(super) fn close(schema: &mut Value) -> bool {
    let Value::Object(object) = schema else { return false };
    let mut is_changed = move_bounds(object);
    if let Some(choices) = object.shift_remove("oneOf") {
        object.entry("anyOf").or_insert(choices);
    }
    if object.get("type").is_some_and(is_object_type) || object.contains_key("properties") {
        let before = object.insert("additionalProperties".to_owned(), Value::Bool(false));
        is_changed |= before.is_some_and(|before| before != Value::Bool(false));
    }
    for name in NAMED {
        if let Some(Value::Object(schemas)) = object.get_mut(name) {
            is_changed |= schemas.values_mut().fold(false, |changed, schema| close(schema) | changed);
        }
    }
    for name in LISTS {
        if let Some(Value::Array(schemas)) = object.get_mut(name) {
            is_changed |= schemas.iter_mut().fold(false, |changed, schema| close(schema) | changed);
        }
    }
    if let Some(items) = object.get_mut("items") {
        is_changed |= close(items);
    }
    is_changed
}

/// `"object"`, alone or in a list of types.
fn is_object_type(kind: &Value) -> bool {
    kind == "object" || kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "object"))
}

/// Moves the keywords that Anthropic rejects into the description.
fn move_bounds(object: &mut Map<String, Value>) -> bool {
    // Anthropic accepts 0 and 1 here.
    let has_many = object.get("minItems").is_some_and(|least| least.as_u64().is_none_or(|least| least > 1));
    let names = REJECTED.into_iter().chain(has_many.then_some("minItems"));
    let bounds: Vec<String> =
        names.filter_map(|name| Some(format!("{name}: {}", object.shift_remove(name)?))).collect();
    if bounds.is_empty() {
        return false;
    }
    let bounds = format!("{{{}}}", bounds.join(", "));
    let description = match object.get("description").and_then(Value::as_str) {
        Some(known) => format!("{known}\n\n{bounds}"),
        None => bounds,
    };
    object.insert("description".to_owned(), Value::String(description));
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn closed(mut schema: Value) -> (Value, bool) {
        let is_changed = close(&mut schema);
        (schema, is_changed)
    }

    #[test]
    fn objects_are_closed_at_every_depth() {
        let (schema, is_changed) = closed(json!({
            "type": "object",
            "properties": {
                "minimum": { "type": ["object", "null"], "properties": {} },
                "b": { "type": "array", "items": { "type": "object" } },
                "c": { "oneOf": [{ "$ref": "#/$defs/d" }, { "type": "null" }] },
            },
            "$defs": { "d": { "type": "object", "additionalProperties": false } },
        }));
        assert!(!is_changed);
        assert_eq!(
            schema,
            json!({
                "type": "object",
                "properties": {
                    "minimum": { "type": ["object", "null"], "properties": {}, "additionalProperties": false },
                    "b": { "type": "array", "items": { "type": "object", "additionalProperties": false } },
                    "c": { "anyOf": [{ "$ref": "#/$defs/d" }, { "type": "null" }] },
                },
                "$defs": { "d": { "type": "object", "additionalProperties": false } },
                "additionalProperties": false,
            })
        );
        assert_eq!(closed(json!(true)), (json!(true), false));
        assert!(closed(json!({ "type": "object", "additionalProperties": true })).1);
    }

    #[test]
    fn bounds_move_into_the_description() {
        let (schema, is_changed) = closed(json!({
            "type": "object",
            "properties": {
                "n": { "type": "integer", "minimum": 1, "maximum": 5, "description": "Stars." },
                "l": { "type": "array", "minItems": 2, "items": { "type": "string" } },
                "m": { "type": "array", "minItems": 1 },
            },
        }));
        assert!(is_changed);
        let properties = &schema["properties"];
        assert_eq!(
            properties["n"],
            json!({ "type": "integer", "description": "Stars.\n\n{minimum: 1, maximum: 5}" })
        );
        assert_eq!(
            properties["l"],
            json!({ "type": "array", "items": { "type": "string" }, "description": "{minItems: 2}" })
        );
        assert_eq!(properties["m"]["minItems"], 1);
    }
}
