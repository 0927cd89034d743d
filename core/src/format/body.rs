//! A JSON body: reading its fields in place, and changing some of them while every other byte survives.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;

use super::project_id;
use super::upstream::Upstream;
use crate::catalog::Quirk;
use crate::error::{Code, Error};
use crate::json::members::{self, Member, Members, ReadError, Text};

/// The gateway's own fields, which no provider knows.
const GATEWAY_FIELDS: [&str; 2] = ["project_id", "min_reasoning_level"];
/// Fields that are the gateway's, unless the provider routes by itself.
const ROUTING_FIELDS: [&str; 2] = ["models", "provider"];

/// The fields of a body that are for routing, as they are written; `None` where they are absent or null.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoutingFields<'a> {
    /// `models`
    pub models: Option<&'a str>,
    /// `provider`
    pub provider: Option<&'a str>,
}

/// The body of a request.
#[derive(Debug)]
pub struct Body<'a> {
    bytes: &'a [u8],
    members: Members<'a>,
}

impl<'a> Body<'a> {
    /// Reads a body. Each field of `once`, the fields that the gateway acts on, may appear once.
    pub fn read(bytes: &'a [u8], once: &'static [&'static str]) -> Result<Body<'a>, Error> {
        let members = Members::read(bytes, once).map_err(|error| match error {
            ReadError::Malformed(what) => {
                Error::new(Code::InvalidJson, format!("The request body is not a JSON object: {what}"))
            }
            ReadError::Duplicate(name) => {
                Error::new(Code::DuplicateMember, format!("'{name}' appears twice in the request body"))
                    .with_param(name)
            }
        })?;
        Ok(Body { bytes, members })
    }

    /// A field, as it is written, unless it is absent or `null`.
    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.find(name).map(|member| member.value).filter(|value| *value != "null")
    }

    /// A field, `null` included.
    pub fn find(&self, name: &str) -> Option<&Member<'a>> {
        self.members.get(name)
    }

    /// Every field of a name: one that the gateway does not act on can appear several times.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &Member<'a>> {
        self.members.all(name)
    }

    /// The size of a field, in bytes; 0 if it is absent.
    pub fn size(&self, name: &str) -> usize {
        self.value(name).map_or(0, str::len)
    }

    /// A field of a type; `expected` names the type in the error.
    pub fn typed<T: Deserialize<'a>>(&self, name: &'static str, expected: &str) -> Result<Option<T>, Error> {
        match self.find(name) {
            None => Ok(None),
            Some(member) => members::value(member.value).map_err(|_| self.wrong_type(name, member, expected)),
        }
    }

    /// The error of a field that has another type than expected.
    pub fn wrong_type(&self, name: &'static str, member: &Member<'_>, expected: &str) -> Error {
        let (line, column) = members::line_and_column(self.bytes, member.place.start);
        let given = match member.value.bytes().next() {
            Some(b'"') => "a string",
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b't' | b'f') => "true or false",
            Some(b'n') => "null",
            _ => "a number",
        };
        let given = if expected.contains(given) { "something else" } else { given };
        Error::new(
            Code::InvalidType,
            format!("'{name}' must be {expected}, not {given} (line {line}, column {column})"),
        )
        .with_param(name)
    }

    /// `model`, which every request has.
    pub fn model(&self) -> Result<Cow<'a, str>, Error> {
        let model = self.typed::<Text<'a>>("model", "a string")?.map(|Text(name)| name);
        model.filter(|name| !name.trim().is_empty()).ok_or_else(|| {
            Error::new(
                Code::MissingModel,
                "'model' is missing: name one, as provider/model, an id of GET /v1/models, or 'auto'",
            )
            .with_param("model")
        })
    }

    /// `project_id`
    pub fn project_id(&self) -> Result<Option<String>, Error> {
        self.typed::<String>("project_id", "a string").map_err(|_| project_id::invalid())
    }

    /// The fields that are for routing.
    pub fn routing(&self) -> RoutingFields<'a> {
        RoutingFields { models: self.value("models"), provider: self.value("provider") }
    }

    /// The changes that every request needs for an upstream: the model's id, none of the gateway's own fields, and what the
    /// provider is known to reject. `model` is the caller's name of the model.
    pub fn addressed_to<'b>(&'b self, upstream: &Upstream<'_>, model: &str) -> Edits<'b, 'a> {
        let mut edits = Edits { body: self, gone: Vec::new(), changes: Vec::new(), adjusted: Vec::new() };
        for name in GATEWAY_FIELDS {
            edits.remove(name);
        }
        if !upstream.own_routing {
            for name in ROUTING_FIELDS {
                edits.remove(name);
            }
        }
        if let Some(member) = self.find("model")
            && model != upstream.model
        {
            edits.replace(member, json_text(upstream.model));
        }
        for quirk in &*upstream.provider.quirks {
            edits.apply(quirk);
        }
        edits
    }
}

/// Changes to a body.
#[derive(Debug)]
pub struct Edits<'b, 'a> {
    body: &'b Body<'a>,
    gone: Vec<&'b Member<'a>>,
    changes: Vec<(Range<usize>, Vec<u8>)>,
    /// What the caller is told of: fields that were dropped or changed for the provider.
    pub adjusted: Vec<String>,
}

impl<'a> Edits<'_, 'a> {
    /// Removes a field.
    pub fn remove(&mut self, name: &str) {
        self.gone.extend(self.body.find(name));
    }

    /// Whether a field is removed.
    pub fn is_gone(&self, member: &Member<'_>) -> bool {
        self.gone.iter().any(|gone| gone.place == member.place)
    }

    /// The value that a field will have, as far as it is known.
    pub fn value<'s>(&'s self, member: &'s Member<'a>) -> &'s str {
        let changed = self.changes.iter().find(|(place, _)| *place == member.place);
        changed.and_then(|(_, value)| str::from_utf8(value).ok()).unwrap_or(member.value)
    }

    /// Replaces the value of a field.
    pub fn replace(&mut self, member: &Member<'_>, value: Vec<u8>) {
        match self.changes.iter_mut().find(|(place, _)| *place == member.place) {
            Some((_, known)) => *known = value,
            None => self.changes.push((member.place.clone(), value)),
        }
    }

    /// Replaces a part of a field's value; the place is counted from the value's beginning.
    pub fn replace_in(&mut self, member: &Member<'_>, place: Range<usize>, value: Vec<u8>) {
        let start = member.place.start;
        self.changes.push((start + place.start..start + place.end, value));
    }

    /// Adds a field at the end of the body.
    pub fn insert(&mut self, name: &str, value: &[u8]) {
        let end = self.body.members.end;
        let mut member = if self.body.members.is_empty() { Vec::new() } else { b",".to_vec() };
        member.extend(json_text(name));
        member.push(b':');
        member.extend_from_slice(value);
        self.changes.push((end..end, member));
    }

    /// Applies one quirk. A field that is `null` is as good as absent, and stays.
    fn apply(&mut self, quirk: &Quirk) {
        let body = self.body;
        let present = |name: &str| body.find(name).filter(|member| member.value != "null");
        match quirk {
            Quirk::Drop(name) => {
                if let Some(member) = present(name) {
                    self.gone.push(member);
                    self.adjusted.push(name.to_string());
                }
            }
            Quirk::Rename(old, new) => {
                let Some(member) = present(old) else { return };
                // Two fields may have one new name.
                let is_given = || {
                    self.adjusted.iter().any(|known| known.split_once('>').is_some_and(|(_, to)| to == new))
                };
                if body.find(new).is_some() || is_given() {
                    self.gone.push(member);
                    self.adjusted.push(old.to_string());
                } else {
                    // From the name's first quote to the value: all that stands there is the name, a colon and white space.
                    let Some(name) = name_place(body.bytes, member) else { return };
                    self.changes.push((name, json_text(new)));
                    self.adjusted.push(format!("{old}>{new}"));
                }
            }
            Quirk::Usual(name, value) => {
                self.gone.extend(body.find(name).filter(|member| member.value == *value));
            }
            Quirk::AtLeast(name, bound) | Quirk::AtMost(name, bound) => {
                let Some(member) = present(name) else { return };
                let (Some(given), Some(limit)) = (json_number(member.value), json_number(bound)) else {
                    return;
                };
                let outside = if matches!(quirk, Quirk::AtLeast(..)) { given < limit } else { given > limit };
                if outside {
                    self.replace(member, bound.as_bytes().to_vec());
                    self.adjusted.push(format!("{name}={bound}"));
                }
            }
        }
    }

    /// The changed body, `None` if nothing changed; and what the caller is told of.
    pub fn finish(self) -> (Option<Vec<u8>>, Vec<String>) {
        let Edits { body, gone, mut changes, adjusted } = self;
        // What goes is not changed as well.
        changes.retain(|(place, _)| {
            !gone.iter().any(|gone| gone.extent.start <= place.start && place.start < gone.extent.end)
        });
        changes.extend(members::removals(body.bytes, gone));
        changes.sort_by_key(|(place, _)| place.start);
        ((!changes.is_empty()).then(|| members::splice(body.bytes, &changes)), adjusted)
    }
}

/// A text as JSON.
pub fn json_text(text: &str) -> Vec<u8> {
    serde_json::Value::from(text).to_string().into_bytes()
}

/// A number as JSON has it.
pub fn json_number(text: &str) -> Option<f64> {
    serde_json::from_str(text).ok()
}

/// The place of a member's name, quotes included.
fn name_place(body: &[u8], member: &Member<'_>) -> Option<Range<usize>> {
    let before = body.get(..member.place.start)?;
    let colon = memchr::memrchr(b':', before)?;
    let end = memchr::memrchr(b'"', body.get(..colon)?)? + 1;
    // The extent of a member that is not the first begins with the comma, that of the first after the brace.
    let start = member.extent.start + memchr::memchr(b'"', body.get(member.extent.start..end)?)?;
    Some(start..end)
}
