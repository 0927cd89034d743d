//! Small JSON objects in request bodies: every fault has an error that names the field.
//!
//! Used for the bodies of `/access`, `/api/portal` and `/v0`, which have a few fields each. [`crate::format`] reads
//! chat requests in place.

pub mod members;
pub mod partial;
pub mod scan;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::error::{Code, Error};
use crate::time;

/// Reads a text outside the hot path, by way of a [`Value`], so that the parser is compiled once and not for each type.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    T::deserialize(&serde_json::from_str::<Value>(text)?)
}

/// Writes a value as compact JSON, without building a [`Value`].
pub fn to_text<T: Serialize + ?Sized>(written: &T) -> String {
    serde_json::to_string(written).unwrap_or_default()
}

/// Appends a value as compact JSON to bytes, without a text of its own.
pub fn append<T: Serialize + ?Sized>(written: &T, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, written);
}

/// The fields of an object.
#[derive(Debug, Default)]
pub struct Object(Map<String, Value>);

impl Object {
    /// Reads a body that must be a JSON object, with each field at most once.
    pub fn read(body: &[u8]) -> Result<Object, Error> {
        let text = std::str::from_utf8(body)
            .map_err(|_| Error::new(Code::InvalidJson, "The body is not a JSON object: it is not UTF-8"))?;
        serde_json::from_str(text).map_err(|error| {
            let text = error.to_string();
            if let Some(name) = text.strip_prefix(DUPLICATE).and_then(|rest| rest.split('\u{0}').next()) {
                return Error::new(Code::DuplicateMember, format!("'{name}' appears twice"));
            }
            let what = if body.iter().all(u8::is_ascii_whitespace) {
                "the body is empty".to_owned()
            } else if error.is_data() {
                // For a value that is not an object, serde_json repeats the whole text.
                "expected a JSON object".to_owned()
            } else {
                text
            };
            Error::new(Code::InvalidJson, format!("The body is not a JSON object: {what}"))
        })
    }

    /// An object of fields that were read elsewhere.
    pub fn of(fields: Map<String, Value>) -> Object {
        Object(fields)
    }

    /// Reads a body that may be missing.
    pub fn read_optional(body: &[u8]) -> Result<Object, Error> {
        if body.iter().all(u8::is_ascii_whitespace) { Ok(Object::default()) } else { Object::read(body) }
    }

    /// Rejects fields that would have no effect.
    pub fn only(&self, known: &[&str]) -> Result<(), Error> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let name: String = name.chars().take(64).collect();
                let message =
                    format!("'{name}' is not a field of this body; valid fields are: {}", known.join(", "));
                Err(Error::new(Code::UnknownMember, message).with_param(name))
            }
        }
    }

    /// The whole object, for a reader that is derived from a type.
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// Returns true if a field is present, even if it is null.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A field, unless it is missing or null.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A string.
    pub fn string(&self, name: &'static str) -> Result<Option<&str>, Error> {
        self.get(name).map(|value| value.as_str().ok_or_else(|| wrong_type(name, "a string"))).transpose()
    }

    /// A required string.
    pub fn required_string(&self, name: &'static str) -> Result<&str, Error> {
        self.string(name)?.ok_or_else(|| {
            Error::new(Code::MissingMember, format!("'{name}' is missing: it must be a string"))
                .with_param(name)
        })
    }

    /// True or false.
    pub fn boolean(&self, name: &'static str) -> Result<Option<bool>, Error> {
        self.get(name)
            .map(|value| value.as_bool().ok_or_else(|| wrong_type(name, "true or false")))
            .transpose()
    }

    /// A whole number that is not negative.
    pub fn integer(&self, name: &'static str) -> Result<Option<u64>, Error> {
        self.get(name)
            .map(|value| value.as_u64().ok_or_else(|| wrong_type(name, "a whole number")))
            .transpose()
    }

    /// An array of strings.
    pub fn strings(&self, name: &'static str) -> Result<Option<Vec<String>>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let items = value.as_array().and_then(|items| {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        items.map(Some).ok_or_else(|| wrong_type(name, "an array of strings"))
    }

    /// An object whose values are strings.
    pub fn string_map(&self, name: &'static str) -> Result<Option<BTreeMap<String, String>>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let wrong = || wrong_type(name, "an object of strings");
        let mut texts = BTreeMap::new();
        for (name, value) in value.as_object().ok_or_else(wrong)? {
            texts.insert(name.clone(), value.as_str().ok_or_else(wrong)?.to_owned());
        }
        Ok(Some(texts))
    }

    /// A point in time, in milliseconds since 1970.
    pub fn time(&self, name: &'static str) -> Result<Option<u64>, Error> {
        let Some(text) = self.string(name)? else { return Ok(None) };
        time::from_rfc3339(text).map(Some).ok_or_else(|| not_a_time(name))
    }
}

/// The error for a field that should be a point in time.
pub fn not_a_time(name: &'static str) -> Error {
    Error::new(
        Code::InvalidValue,
        format!("'{name}' must be a time as in RFC 3339, such as 2026-12-31T23:59:59Z"),
    )
    .with_param(name)
}

fn wrong_type(name: &'static str, expected: &str) -> Error {
    Error::new(Code::InvalidType, format!("'{name}' must be {expected}")).with_param(name)
}

/// Marks the error of a duplicate name, which follows up to a NUL: the errors of serde carry only text.
const DUPLICATE: &str = "\u{0}duplicate ";

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
        struct ObjectVisitor;
        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Object;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.contains_key(&name) {
                        let name: String = name.chars().take(64).collect();
                        return Err(A::Error::custom(format!("{DUPLICATE}{name}\u{0}")));
                    }
                    members.insert(name, value);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(ObjectVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(body: &str) -> Option<String> {
        Object::read(body.as_bytes()).err().and_then(|error| error.code().map(str::to_owned))
    }

    #[test]
    fn rejects_a_body_that_is_no_object_or_ambiguous() {
        for (body, expected) in [
            ("", "invalid_json"),
            (" \n", "invalid_json"),
            ("[]", "invalid_json"),
            ("\"a\"", "invalid_json"),
            ("{\"a\":1", "invalid_json"),
            ("{\"a\":1} x", "invalid_json"),
            ("{\"a\":1,\"a\":2}", "duplicate_member"),
        ] {
            assert_eq!(code(body).as_deref(), Some(expected), "{body}");
        }
        let error = Object::read(br#"{"na'me":1,"na'me":2}"#).unwrap_err();
        assert_eq!(error.message, "'na'me' appears twice");
        let error = Object::read(b"\"secret text\"").unwrap_err();
        assert!(!error.message.contains("secret"), "{}", error.message);
        assert!(!Object::read_optional(b" ").unwrap().has("a"));
    }

    #[test]
    fn each_type_has_its_message() {
        let object =
            Object::read(br#"{"n":1,"s":"x","l":["a",1],"m":{"a":1},"t":"soon","null":null}"#).unwrap();
        for (error, message) in [
            (object.string("n").unwrap_err(), "'n' must be a string"),
            (object.boolean("s").unwrap_err(), "'s' must be true or false"),
            (object.integer("s").unwrap_err(), "'s' must be a whole number"),
            (object.strings("l").unwrap_err(), "'l' must be an array of strings"),
            (object.string_map("m").unwrap_err(), "'m' must be an object of strings"),
            (object.required_string("null").unwrap_err(), "'null' is missing: it must be a string"),
            (object.required_string("none").unwrap_err(), "'none' is missing: it must be a string"),
            (
                object.only(&["n", "s"]).unwrap_err(),
                "'l' is not a field of this body; valid fields are: n, s",
            ),
        ] {
            assert_eq!(error.message, message);
        }
        assert!(object.time("t").unwrap_err().message.contains("RFC 3339"));
        assert_eq!(object.string("null").unwrap(), None);
        assert!(object.has("null") && object.get("null").is_none());
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_a_panic(body: Vec<u8>) {
            let _ = Object::read(&body);
        }
    }
}
