//! A JSON body: reads its fields in place, and changes some of them without touching any other byte.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;

use super::project_id;
use super::upstream::Upstream;
use crate::catalog::Quirk;
use crate::error::{Code, Error};
use crate::json::members::{self, Member, Members, ReadError, Text};

/// The gateway's own fields, which providers do not know.
pub(super) const GATEWAY_FIELDS: [&str; 2] = ["project_id", "min_reasoning_level"];
/// Fields of `OpenRouter`'s API that the gateway uses itself, or that have no meaning elsewhere, and that other providers
/// reject. A provider that does its own routing gets them.
pub(super) const ROUTING_FIELDS: [&str; 5] = ["models", "provider", "route", "transforms", "usage"];

/// Returns `true` if a field is the gateway's own, and so is removed for an upstream.
pub fn is_removed(name: &str, upstream: &Upstream<'_>) -> bool {
    GATEWAY_FIELDS.contains(&name) || (!upstream.own_routing && ROUTING_FIELDS.contains(&name))
}

/// The routing fields of a body, as written; `None` if absent or null.
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
    /// The fields that the gateway acts on.
    once: &'static [&'static str],
    /// `true` for the object of a form, whose positions mean nothing to the caller.
    is_form: bool,
}

impl<'a> Body<'a> {
    /// Reads a body. Each field in `once` (the fields that the gateway acts on) may appear only once.
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
        Ok(Body { bytes, members, once, is_form: false })
    }

    /// Reads the object of a form ([`Form::json`](super::form::Form::json)).
    pub fn of_form(json: &'a str, once: &'static [&'static str]) -> Result<Body<'a>, Error> {
        Ok(Body { is_form: true, ..Body::read(json.as_bytes(), once)? })
    }

    /// The whole body.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The value of a field, as written, unless it is absent or `null`.
    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.find(name).map(|member| member.value).filter(|value| *value != "null")
    }

    /// A field, including one that is `null`.
    pub fn find(&self, name: &str) -> Option<&Member<'a>> {
        self.members.get(name)
    }

    /// All fields with a name: one that the gateway does not act on can appear several times.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &Member<'a>> {
        self.members.all(name)
    }

    /// All fields, in their order: name and value, as written.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.members.iter().map(|(name, member)| (name, member.value))
    }

    /// Returns `true` if a name differs only in upper and lower case from a field that the gateway acts on.
    pub fn is_look_alike(&self, name: &str) -> bool {
        self.once.iter().any(|known| known.eq_ignore_ascii_case(name) && *known != name)
    }

    /// The size of a field, in bytes; 0 if it is absent.
    pub fn size(&self, name: &str) -> usize {
        self.value(name).map_or(0, str::len)
    }

    /// The value of a field, deserialized; `expected` describes the type in the error.
    pub fn typed<T: Deserialize<'a>>(&self, name: &'static str, expected: &str) -> Result<Option<T>, Error> {
        match self.find(name) {
            None => Ok(None),
            Some(member) => members::value(member.value).map_err(|_| self.wrong_type(name, member, expected)),
        }
    }

    /// The error for a field with the wrong type.
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
        let message = if self.is_form {
            format!("Part '{name}' of the form must be {expected}")
        } else {
            format!("'{name}' must be {expected}, not {given} (line {line}, column {column})")
        };
        Error::new(Code::InvalidType, message).with_param(name)
    }

    /// `model`, which every request must have.
    pub fn model(&self) -> Result<Cow<'a, str>, Error> {
        let model = self.typed::<Text<'a>>("model", "a string")?.map(|Text(name)| name);
        model.filter(|name| !name.trim().is_empty()).ok_or_else(|| {
            Error::new(
                Code::MissingModel,
                "'model' is missing; set it to provider/model, an id from GET /v1/models, or 'auto'",
            )
            .with_param("model")
        })
    }

    /// A field that must be an array, of `items`; as written.
    pub fn array(&self, name: &'static str, items: &str) -> Result<&'a str, Error> {
        match self.find(name) {
            Some(member) if member.value.starts_with('[') => Ok(member.value),
            Some(member) if member.value != "null" => Err(self.wrong_type(name, member, "an array")),
            _ => {
                let message = format!("'{name}' is missing; it must be an array of {items}");
                Err(Error::new(Code::MissingInput, message).with_param(name))
            }
        }
    }

    /// `project_id`
    pub fn project_id(&self) -> Result<Option<String>, Error> {
        self.typed::<String>("project_id", "a string").map_err(|_| project_id::invalid())
    }

    /// The routing fields.
    pub fn routing(&self) -> RoutingFields<'a> {
        RoutingFields { models: self.value("models"), provider: self.value("provider") }
    }

    /// No changes yet.
    pub fn edits(&self) -> Edits<'_, 'a> {
        Edits { body: self, removed: Vec::new(), changes: Vec::new(), adjusted: Vec::new() }
    }

    /// The changes that every request needs for an upstream: the provider's id of the model, none of the gateway's own
    /// fields, and the provider's quirks. `model` is the caller's name of the model.
    pub fn addressed_to<'b>(&'b self, upstream: &Upstream<'_>, model: &str) -> Edits<'b, 'a> {
        let mut edits = self.edits();
        for name in GATEWAY_FIELDS.into_iter().chain(ROUTING_FIELDS) {
            if is_removed(name, upstream) {
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

/// Changes to a body, collected before they are applied.
#[derive(Debug)]
pub struct Edits<'b, 'a> {
    body: &'b Body<'a>,
    removed: Vec<&'b Member<'a>>,
    changes: Vec<(Range<usize>, Vec<u8>)>,
    /// The fields that were dropped or changed for the provider, which the caller sees in a header.
    pub adjusted: Vec<String>,
}

impl<'a> Edits<'_, 'a> {
    /// Removes a field.
    pub fn remove(&mut self, name: &str) {
        self.removed.extend(self.body.find(name));
    }

    /// Returns `true` if a field is removed.
    pub fn is_removed(&self, member: &Member<'_>) -> bool {
        self.removed.iter().any(|removed| removed.place == member.place)
    }

    /// The value that a field will have after the changes so far.
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

    /// Replaces a part of a field's value; `place` is relative to the start of the value.
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

    /// Applies one quirk. A field that is `null` counts as absent and is kept.
    fn apply(&mut self, quirk: &Quirk) {
        let body = self.body;
        let present = |name: &str| body.find(name).filter(|member| member.value != "null");
        match quirk {
            Quirk::Drop(name) => {
                if let Some(member) = present(name) {
                    self.removed.push(member);
                    self.adjusted.push(name.to_string());
                }
            }
            Quirk::Rename(old, new) => {
                let Some(member) = present(old) else { return };
                // Two fields may be renamed to the same name.
                let is_given = || {
                    self.adjusted.iter().any(|known| known.split_once('>').is_some_and(|(_, to)| to == new))
                };
                if body.find(new).is_some() || is_given() {
                    self.removed.push(member);
                    self.adjusted.push(old.to_string());
                } else {
                    // Between the name's first quote and the value there are only the name, a colon and white space.
                    let Some(name) = name_place(body.bytes, member) else { return };
                    self.changes.push((name, json_text(new)));
                    self.adjusted.push(format!("{old}>{new}"));
                }
            }
            Quirk::Usual(name, value) => {
                self.removed.extend(body.find(name).filter(|member| member.value == *value));
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

    /// The changed body, or `None` if nothing changed; and the adjusted fields.
    pub fn finish(self) -> (Option<Vec<u8>>, Vec<String>) {
        let Edits { body, removed, mut changes, adjusted } = self;
        // A removed field is not changed as well.
        changes.retain(|(place, _)| {
            !removed.iter().any(|field| field.extent.start <= place.start && place.start < field.extent.end)
        });
        changes.extend(members::removals(body.bytes, removed));
        changes.sort_by_key(|(place, _)| place.start);
        ((!changes.is_empty()).then(|| members::splice(body.bytes, &changes)), adjusted)
    }
}

/// Encodes a text as JSON.
pub fn json_text(text: &str) -> Vec<u8> {
    serde_json::Value::from(text).to_string().into_bytes()
}

/// Parses a JSON number.
pub fn json_number(text: &str) -> Option<f64> {
    serde_json::from_str(text).ok()
}

/// A count as a lenient provider may read it: also from a fraction, an exponent or a string, with surrounding spaces or
/// a leading plus. Fractions are rounded up.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
pub fn lenient_count(value: &str) -> Option<u64> {
    let value = value.trim_matches('"').trim();
    let value = value.strip_prefix('+').unwrap_or(value);
    let rounded = || json_number(value).filter(|number| *number >= 0.0).map(|number| number.ceil() as u64);
    value.parse().ok().or_else(rounded)
}

/// The place of a field's name, including the quotes.
fn name_place(body: &[u8], member: &Member<'_>) -> Option<Range<usize>> {
    let before = body.get(..member.place.start)?;
    let colon = memchr::memrchr(b':', before)?;
    let end = memchr::memrchr(b'"', body.get(..colon)?)? + 1;
    // The extent of the first field starts after the brace, that of any other with its comma.
    let start = member.extent.start + memchr::memchr(b'"', body.get(member.extent.start..end)?)?;
    Some(start..end)
}
