//! A form (`multipart/form-data`) as the JSON object of its texts, so that all that reads or changes the fields of a body
//! does so for a form too. What the object that is sent has differently becomes a change of the form's own bytes.
//!
//! Files are no fields: only their names, sizes and first bytes are known here, and they are always sent as they are.
//!
//! SDKs write lists and objects with brackets: `include[]=logprobs`, `provider[only][]=openai`.

use std::ops::Range;

use serde_json::{Map, Value};

use crate::error::{Code, Error};
use crate::framing::multipart::{Multipart, Part};
use crate::json;

/// The fields that are numbers in a body of JSON.
const NUMBERS: [&str; 4] = ["n", "partial_images", "output_compression", "temperature"];
/// The fields that are `true` or `false`.
const SWITCHES: [&str; 1] = ["stream"];
/// The fields that may be written as JSON.
const WRITTEN_AS_JSON: [&str; 2] = ["models", "provider"];
/// The most brackets of a name.
const MAX_BRACKETS: usize = 4;

/// A form.
#[derive(Debug)]
pub struct Form {
    parts: Vec<Part>,
    boundary: String,
    end: usize,
    fields: Map<String, Value>,
    json: String,
}

/// A change of a form's bytes: the bytes to replace, and what replaces them.
pub type Change = (Range<usize>, Vec<u8>);

impl Form {
    /// Reads the parts of a form. Each text in `once` may appear only once, and those in `files` are files.
    pub fn read(form: Multipart, once: &[&'static str], files: &[&'static str]) -> Result<Form, Error> {
        let Multipart { parts, boundary, end } = form;
        let mut fields = Map::new();
        for part in &parts {
            let (name, brackets) = path(&part.name)?;
            let known = |names: &[&'static str]| names.iter().copied().find(|known| *known == name);
            if let (Some(name), false) = (known(files), part.is_file) {
                let message =
                    format!("Part '{name}' of the form must be a file; add a 'filename' to its headers");
                return Err(Error::new(Code::InvalidType, message).with_param(name));
            }
            if part.is_file {
                if let Some(name) = known(once) {
                    let message = format!(
                        "Part '{name}' of the form must be a text, not a file; remove its 'filename'"
                    );
                    return Err(Error::new(Code::InvalidType, message).with_param(name));
                }
                continue;
            }
            let text = str::from_utf8(&part.kept).map_err(|_| invalid(&part.name, "is not UTF-8"))?;
            if !insert(&mut fields, name, &brackets, value(name, text), known(once).is_none()) {
                let message = format!("Part '{name}' appears twice in the form");
                return Err(Error::new(Code::DuplicateMember, message).with_param(name.to_owned()));
            }
        }
        let json = json::to_text(&fields);
        Ok(Form { parts, boundary, end, fields, json })
    }

    /// The JSON object of the texts.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The files of a name, also as a list: `image` and `image[]`.
    pub fn files(&self, name: &str) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |part| {
            let own = part.name.strip_prefix(name);
            part.is_file && own.is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
        })
    }

    /// The changes of the form's bytes, in their order, that make its texts those of a JSON object. `None` stands for the
    /// object of [`Form::json`].
    pub fn changes(&self, sent: Option<&[u8]>) -> Result<Vec<Change>, Error> {
        let Some(sent) = sent else { return Ok(Vec::new()) };
        let sent: Map<String, Value> = serde_json::from_slice(sent)
            .map_err(|_| Error::new(Code::InternalError, "A changed form is not a JSON object"))?;
        let mut changes = Vec::new();
        for (name, value) in &self.fields {
            let wanted = sent.get(name);
            if wanted == Some(value) {
                continue;
            }
            let is_own = |part: &&Part| !part.is_file && path(&part.name).is_ok_and(|(own, _)| own == name);
            let mut parts = self.parts.iter().filter(is_own);
            if let Some(wanted) = wanted {
                changes.extend(parts.next().map(|part| (part.content.clone(), text(wanted))));
            }
            changes.extend(parts.map(|part| (part.extent.clone(), Vec::new())));
        }
        let added = sent.iter().filter(|(name, _)| !self.fields.contains_key(*name));
        let mut parts = Vec::new();
        for (name, value) in added {
            let head =
                format!("--{}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n", self.boundary);
            parts.extend_from_slice(head.as_bytes());
            parts.extend(text(value));
            parts.extend_from_slice(b"\r\n");
        }
        if !parts.is_empty() {
            changes.push((self.end..self.end, parts));
        }
        changes.sort_by_key(|(place, _)| place.start);
        Ok(changes)
    }
}

fn invalid(name: &str, what: &str) -> Error {
    let shown: String = name.chars().take(40).collect();
    Error::new(Code::InvalidForm, format!("Part '{shown}' of the form {what}"))
}

/// The name of a field, and the names in brackets behind it: `a[b][]` is `a` with `b` and the empty name.
fn path(name: &str) -> Result<(&str, Vec<&str>), Error> {
    let (field, mut rest) = name.split_at(name.find('[').unwrap_or(name.len()));
    let mut brackets = Vec::new();
    while !rest.is_empty() {
        let inside = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let Some((inside, after)) = inside.filter(|(inside, _)| !inside.contains('[')) else {
            return Err(invalid(name, "has a name with malformed brackets"));
        };
        brackets.push(inside);
        rest = after;
    }
    if field.is_empty() || brackets.len() > MAX_BRACKETS {
        return Err(invalid(name, "has a name with malformed brackets"));
    }
    Ok((field, brackets))
}

/// A text as the value of a field.
fn value(name: &str, text: &str) -> Value {
    let is_json = || text.starts_with(['[', '{']);
    let parsed = || serde_json::from_str::<Value>(text).ok();
    let typed = if NUMBERS.contains(&name) {
        parsed().filter(Value::is_number)
    } else if SWITCHES.contains(&name) {
        parsed().filter(Value::is_boolean)
    } else if WRITTEN_AS_JSON.contains(&name) && is_json() {
        parsed()
    } else {
        None
    };
    typed.unwrap_or_else(|| Value::from(text))
}

/// The text of a value.
fn text(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

/// Adds a value at a path. A name that is there already makes a list, if it `may_repeat`; `false` if it may not, or if it
/// is of another type.
fn insert(
    object: &mut Map<String, Value>,
    name: &str,
    path: &[&str],
    value: Value,
    may_repeat: bool,
) -> bool {
    match path {
        [] => match object.get_mut(name) {
            None => {
                object.insert(name.to_owned(), value);
                true
            }
            Some(Value::Array(list)) if may_repeat => {
                list.push(value);
                true
            }
            Some(known) if may_repeat => {
                *known = Value::Array(vec![known.take(), value]);
                true
            }
            Some(_) => false,
        },
        // What is behind a list of objects is not told apart: they are items of their own.
        ["", ..] => match object.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
            Value::Array(list) => {
                list.push(value);
                true
            }
            _ => false,
        },
        [inner, rest @ ..] => match object.entry(name).or_insert_with(|| Value::Object(Map::new())) {
            Value::Object(inside) => insert(inside, inner, rest, value, false),
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::multipart::Reader;

    const TYPE: &str = "multipart/form-data; boundary=b";

    fn body(parts: &[(&str, &str)]) -> String {
        let part = |(name, value): &(&str, &str)| {
            format!("--b\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n")
        };
        parts.iter().map(part).collect::<String>() + "--b--\r\n"
    }

    fn read(body: &str) -> Result<Form, Error> {
        let mut reader = Reader::new(TYPE)?;
        reader.push(body.as_bytes())?;
        Form::read(reader.finish()?, &["model", "models", "provider", "stream", "n"], &["file"])
    }

    #[test]
    fn a_form_is_the_object_of_its_texts() {
        for (parts, json) in [
            (
                &[("\"model\"", "7"), ("\"n\"", "2"), ("\"stream\"", "true")][..],
                r#"{"model":"7","n":2,"stream":true}"#,
            ),
            (
                &[("n", "two"), ("stream", "yes"), ("temperature", "0.5")],
                r#"{"n":"two","stream":"yes","temperature":0.5}"#,
            ),
            (
                &[("include[]", "a"), ("include[]", "b"), ("x", "1"), ("x", "2")],
                r#"{"include":["a","b"],"x":["1","2"]}"#,
            ),
            (
                &[("models[]", "a"), ("provider[only][]", "b"), ("provider[sort]", "c")],
                r#"{"models":["a"],"provider":{"only":["b"],"sort":"c"}}"#,
            ),
            (
                &[("models", r#"["a"]"#), ("provider", r#"{"only":["b"]}"#)],
                r#"{"models":["a"],"provider":{"only":["b"]}}"#,
            ),
            (&[("\"file\"; filename=\"f\"", "RIFF"), ("prompt", "é \"")], r#"{"prompt":"é \""}"#),
        ] {
            let form = read(&body(parts)).unwrap();
            let expected: Value = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::from_str::<Value>(form.json()).unwrap(), expected);
            assert_eq!(form.changes(None).unwrap(), []);
            assert_eq!(form.changes(Some(form.json().as_bytes())).unwrap(), []);
        }
    }

    #[test]
    fn any_other_form_is_rejected_with_the_name_of_its_part() {
        for (parts, code, param) in [
            (&[("model", "a"), ("model", "b")][..], "duplicate_member", Some("model")),
            (&[("models[]", "a"), ("models", "b")], "duplicate_member", Some("models")),
            (&[("provider[only]", "a"), ("provider[only]", "b")], "duplicate_member", Some("provider")),
            (&[("model; filename=m", "a")], "invalid_type", Some("model")),
            (&[("file", "RIFF")], "invalid_type", Some("file")),
            (&[("model[", "a")], "invalid_form", None),
            (&[("[a]", "a")], "invalid_form", None),
            (&[("a[b]c", "a")], "invalid_form", None),
        ] {
            let error = read(&body(parts)).unwrap_err();
            assert_eq!((error.code(), error.param.as_deref()), (Some(code), param), "{parts:?}");
        }
    }

    #[test]
    fn changes_touch_only_the_parts_of_their_fields() {
        let parts = [
            ("model", "a/m"),
            ("file; filename=f", "RIFF\r\n--x"),
            ("project_id", "p"),
            ("models[]", "x"),
            ("models[]", "y"),
            ("z", "1"),
        ];
        let whole = body(&parts);
        let form = read(&whole).unwrap();
        let sent = br#"{"model":"m","z":"1","new":[2]}"#;
        let mut out = String::new();
        let mut at = 0;
        for (place, bytes) in form.changes(Some(sent)).unwrap() {
            out += whole.get(at..place.start).unwrap();
            out += &String::from_utf8(bytes).unwrap();
            at = place.end;
        }
        out += whole.get(at..).unwrap();
        let kept = [("model", "m"), ("file; filename=f", "RIFF\r\n--x"), ("z", "1"), ("\"new\"", "[2]")];
        assert_eq!(out, body(&kept));
        assert_eq!(form.files("file").count(), 1);
    }
}
