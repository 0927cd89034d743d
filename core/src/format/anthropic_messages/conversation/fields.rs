//! Typed access to JSON objects at any depth of a request, with errors that name the place: `messages.3.content.0.source`.
//!
//! A [`Fault`] starts at the field that is wrong and gets the steps above it on its way up, so that the good case builds
//! no paths.

use std::fmt::Display;

use serde_json::{Map, Value};

use crate::error::{Code, Error};

/// The fault of one field.
#[derive(Debug)]
pub(super) struct Fault {
    code: Code,
    /// The steps to the field, joined by dots. They hold known names and indexes only, nothing of the caller's.
    path: String,
    /// The sentence behind the name of the field.
    problem: String,
}

/// The result of reading a field.
pub(super) type Read<T> = Result<T, Fault>;

impl Fault {
    pub(super) fn new(code: Code, field: impl Into<String>, problem: impl Into<String>) -> Fault {
        Fault { code, path: field.into(), problem: problem.into() }
    }

    /// The fault of a field that cannot be carried into another format.
    pub(super) fn unsupported(field: impl Into<String>, reason: &str) -> Fault {
        Fault::new(Code::UnsupportedParameter, field, reason)
    }

    fn wrong_type(field: &str, expected: &str) -> Fault {
        Fault::new(Code::InvalidType, field, format!("must be {expected}"))
    }

    /// The same fault, seen from one step above.
    pub(super) fn within(self, step: impl Display) -> Fault {
        let path = if self.path.is_empty() { step.to_string() } else { format!("{step}.{}", self.path) };
        Fault { path, ..self }
    }
}

impl From<Fault> for Error {
    fn from(Fault { code, path, problem }: Fault) -> Error {
        if path.is_empty() {
            return Error::new(code, format!("The request body {problem}"));
        }
        Error::new(code, format!("'{path}' {problem}")).with_param(path)
    }
}

/// The fields of an object. A field that is `null` counts as absent.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// The fields of a value, which must be an object.
    pub(super) fn of(value: &'a Value) -> Read<Fields<'a>> {
        value.as_object().map(Fields).ok_or_else(|| Fault::wrong_type("", "an object"))
    }

    /// The names of the fields that are not `null`.
    pub(super) fn names(self) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str())
    }

    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(self, name: &str) -> Read<Option<&'a str>> {
        self.typed(name, "a string", Value::as_str)
    }

    pub(super) fn flag(self, name: &str) -> Read<Option<bool>> {
        self.typed(name, "true or false", Value::as_bool)
    }

    pub(super) fn count(self, name: &str) -> Read<Option<u64>> {
        self.typed(name, "a whole number", Value::as_u64)
    }

    pub(super) fn number(self, name: &str) -> Read<Option<f64>> {
        self.typed(name, "a number", Value::as_f64)
    }

    pub(super) fn items(self, name: &str) -> Read<Option<&'a [Value]>> {
        self.typed(name, "an array", |value| value.as_array().map(Vec::as_slice))
    }

    pub(super) fn map(self, name: &str) -> Read<Option<&'a Map<String, Value>>> {
        self.typed(name, "an object", Value::as_object)
    }

    pub(super) fn object(self, name: &str) -> Read<Option<Fields<'a>>> {
        Ok(self.map(name)?.map(Fields))
    }

    /// The value of a required field, from the result of one of the functions above.
    pub(super) fn required<T>(name: &str, value: Option<T>) -> Read<T> {
        value.ok_or_else(|| Fault::new(Code::MissingMember, name, "is missing"))
    }

    fn typed<T>(
        self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Read<Option<T>> {
        self.get(name).map(|value| read(value).ok_or_else(|| Fault::wrong_type(name, expected))).transpose()
    }
}

/// Reads each item of an array; a fault gets the item's index.
pub(super) fn each<'a, T>(items: &'a [Value], mut read: impl FnMut(&'a Value) -> Read<T>) -> Read<Vec<T>> {
    items.iter().enumerate().map(|(index, item)| read(item).map_err(|fault| fault.within(index))).collect()
}
