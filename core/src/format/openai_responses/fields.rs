//! JSON of a request with its place, so that an error names the field: `input.3.content.0.text`.

use std::fmt;

use serde_json::{Map, Value};

use crate::error::{Code, Error};

/// The place of a value. It becomes a text only for an error.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    /// The body.
    Root,
    /// A field of an object.
    Field(&'a Path<'a>, &'a str),
    /// An item of an array.
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Field(Path::Root, name) => formatter.write_str(name),
            Path::Field(parent, name) => write!(formatter, "{parent}.{name}"),
            Path::Index(parent, index) => write!(formatter, "{parent}.{index}"),
        }
    }
}

impl Path<'_> {
    /// The error for a field whose value is wrong: `'input.3.role' must be user, …`.
    pub(super) fn error(&self, code: Code, what: &str) -> Error {
        let place = self.to_string();
        if place.is_empty() {
            return Error::new(code, format!("The request body {what}"));
        }
        Error::new(code, format!("'{place}' {what}")).with_param(place)
    }
}

/// An object whose fields are taken out of it.
pub(super) struct Fields<'p> {
    pub(super) path: &'p Path<'p>,
    map: Map<String, Value>,
}

impl<'p> Fields<'p> {
    /// The fields of a value, which must be an object.
    pub(super) fn of(value: Value, path: &'p Path<'p>) -> Result<Fields<'p>, Error> {
        match value {
            Value::Object(map) => Ok(Fields { path, map }),
            _ => Err(path.error(Code::InvalidType, "must be an object")),
        }
    }

    /// The place of a field.
    pub(super) fn at<'a>(&'a self, name: &'a str) -> Path<'a> {
        Path::Field(self.path, name)
    }

    /// Takes a field, unless it is absent or `null`.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// Takes a string.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.at(name).error(Code::InvalidType, "must be a string")),
        }
    }

    /// Takes a string that must be there.
    pub(super) fn required_text(&mut self, name: &str) -> Result<String, Error> {
        self.text(name)?
            .ok_or_else(|| self.at(name).error(Code::MissingMember, "is missing: it must be a string"))
    }

    /// Takes `true` or `false`.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Error> {
        let value = self.take(name);
        let flag = value.as_ref().and_then(Value::as_bool);
        if value.is_some() && flag.is_none() {
            return Err(self.at(name).error(Code::InvalidType, "must be true or false"));
        }
        Ok(flag)
    }

    /// Takes a number.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<f64>, Error> {
        let value = self.take(name);
        let number = value.as_ref().and_then(Value::as_f64);
        if value.is_some() && number.is_none() {
            return Err(self.at(name).error(Code::InvalidType, "must be a number"));
        }
        Ok(number)
    }

    /// Takes a whole number that is not negative.
    pub(super) fn count(&mut self, name: &str) -> Result<Option<u64>, Error> {
        let value = self.take(name);
        let count = value.as_ref().and_then(Value::as_u64);
        if value.is_some() && count.is_none() {
            return Err(self.at(name).error(Code::InvalidType, "must be a whole number"));
        }
        Ok(count)
    }

    /// Takes an array.
    pub(super) fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(self.at(name).error(Code::InvalidType, "must be an array")),
        }
    }

    /// Takes an object as it is.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Map<String, Value>>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(self.at(name).error(Code::InvalidType, "must be an object")),
        }
    }

    /// The names of the fields that nobody took and that are not `null`.
    pub(super) fn rest(&self) -> impl Iterator<Item = &str> {
        self.map.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str())
    }
}
