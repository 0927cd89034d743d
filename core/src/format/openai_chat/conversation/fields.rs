//! The fields of an object in a request, taken one by one: every fault has an error that names the field, and what is
//! left over is known by name.

use serde_json::{Map, Value};

use crate::error::{Code, Error};

/// An object.
#[derive(Debug)]
pub(super) struct Fields {
    /// Its place in the request: `messages[2].content[0]`; empty for the request itself.
    path: String,
    fields: Map<String, Value>,
}

impl Fields {
    /// Reads an object.
    pub(super) fn read(value: Value, path: String) -> Result<Fields, Error> {
        match value {
            Value::Object(fields) => Ok(Fields { path, fields }),
            other => Err(wrong_type(path, "an object", &other)),
        }
    }

    /// The place of a field in the request.
    pub(super) fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Takes a field, unless it is absent or null.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Takes a string.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Error> {
        self.typed(name, "a string", |value| match value {
            Value::String(text) => Ok(text),
            other => Err(other),
        })
    }

    /// Takes a string that must be there.
    pub(super) fn required_text(&mut self, name: &str) -> Result<String, Error> {
        self.text(name)?.ok_or_else(|| self.missing(name, "a string"))
    }

    /// Takes true or false.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Error> {
        self.typed(name, "true or false", |value| value.as_bool().ok_or(value))
    }

    /// Takes a number.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<f64>, Error> {
        self.typed(name, "a number", |value| value.as_f64().ok_or(value))
    }

    /// Takes a whole number that is not negative.
    pub(super) fn count(&mut self, name: &str) -> Result<Option<u64>, Error> {
        self.typed(name, "a whole number", |value| value.as_u64().ok_or(value))
    }

    /// Takes a whole number.
    pub(super) fn integer(&mut self, name: &str) -> Result<Option<i64>, Error> {
        self.typed(name, "a whole number", |value| value.as_i64().ok_or(value))
    }

    /// Takes a list.
    pub(super) fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>, Error> {
        self.typed(name, "an array", |value| match value {
            Value::Array(items) => Ok(items),
            other => Err(other),
        })
    }

    /// Takes an object.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Fields>, Error> {
        let path = self.path(name);
        self.take(name).map(|value| Fields::read(value, path)).transpose()
    }

    /// Takes an object that must be there.
    pub(super) fn required_object(&mut self, name: &str) -> Result<Fields, Error> {
        self.object(name)?.ok_or_else(|| self.missing(name, "an object"))
    }

    /// Takes an object whose fields are not read.
    pub(super) fn map(&mut self, name: &str) -> Result<Option<Map<String, Value>>, Error> {
        Ok(self.object(name)?.map(|Fields { fields, .. }| fields))
    }

    fn typed<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl FnOnce(Value) -> Result<T, Value>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.take(name) else { return Ok(None) };
        read(value).map(Some).map_err(|other| wrong_type(self.path(name), expected, &other))
    }

    fn missing(&self, name: &str, expected: &str) -> Error {
        let path = self.path(name);
        Error::new(Code::MissingMember, format!("'{path}' is missing; it must be {expected}"))
            .with_param(path)
    }

    /// The error for a field that changes the meaning of the request and has no place in the neutral form.
    pub(super) fn unsupported(&self, name: &str, what: &str) -> Error {
        unsupported(self.path(name), what)
    }

    /// Names the fields that are left over and say something, once each and without the positions of lists.
    pub(super) fn drop_rest(self, dropped: &mut Vec<String>) {
        for (name, value) in &self.fields {
            let says_nothing = match value {
                Value::Null | Value::Bool(false) => true,
                Value::String(text) => text.is_empty(),
                Value::Array(items) => items.is_empty(),
                Value::Object(fields) => fields.is_empty(),
                _ => false,
            };
            if !says_nothing {
                drop_named(dropped, &self.path(name));
            }
        }
    }
}

/// Adds the name of a dropped field, without the positions of lists.
pub(super) fn drop_named(dropped: &mut Vec<String>, path: &str) {
    let mut is_position = false;
    let name: String = path
        .chars()
        .filter(|char| {
            is_position |= *char == '[';
            let is_kept = !is_position;
            is_position &= *char != ']';
            is_kept
        })
        .collect();
    if !dropped.contains(&name) {
        dropped.push(name);
    }
}

/// The error for a field of the wrong type.
pub(super) fn wrong_type(path: String, expected: &str, given: &Value) -> Error {
    let given = match given {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    let given = if expected.contains(given) { "something else" } else { given };
    let place = if path.is_empty() { "The request body".to_owned() } else { format!("'{path}'") };
    let error = Error::new(Code::InvalidType, format!("{place} must be {expected}, not {given}"));
    if path.is_empty() { error } else { error.with_param(path) }
}

/// The error for a field with an invalid value.
pub(super) fn invalid(path: String, expected: &str) -> Error {
    Error::new(Code::InvalidValue, format!("'{path}' must be {expected}")).with_param(path)
}

/// The error for a field that changes the meaning of the request and has no place in the neutral form.
pub(super) fn unsupported(path: String, what: &str) -> Error {
    let message = format!("'{path}': {what} cannot be translated into the format of the model's provider");
    Error::new(Code::UnsupportedParameter, message).with_param(path)
}
