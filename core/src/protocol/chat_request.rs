//! `POST /v1/chat/completions`: what is read of a request, and what is changed in it.
//!
//! Read: `model`, `messages` (that it is there), `stream`, `stream_options.include_usage`, `project_id`. Changed: `model`
//! becomes the provider's own id, `project_id` goes, and a stream asks for usage. Every other member, known or not,
//! arrives upstream byte for byte.

use std::ops::Range;

use serde::Deserialize;

use super::members::{self, Member, Members, ReadError};
use crate::catalog::StreamUsage;
use crate::error::{Code, Error};

const NAMES: &[&str; 5] = &["model", "messages", "stream", "stream_options", "project_id"];
const INCLUDE_USAGE: &[u8] = br#"{"include_usage":true}"#;

/// A request, checked as far as the gateway acts on it.
#[derive(Debug)]
pub struct ChatRequest<'a> {
    body: &'a [u8],
    /// The caller's name of the model.
    pub model: String,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether the caller asked for the usage of a stream.
    pub wants_usage: bool,
    /// The body's `project_id`.
    pub project_id: Option<String>,
    members: Members<'a, 5>,
}

/// What to send upstream.
#[derive(Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The body; `None` when it is the caller's own, unchanged.
    pub body: Option<Vec<u8>>,
    /// Whether the gateway asked for usage that the caller did not ask for, and so has to hide it.
    pub hide_usage: bool,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

impl<'a> ChatRequest<'a> {
    /// Reads a body.
    pub fn read(body: &'a [u8]) -> Result<ChatRequest<'a>, Error> {
        let members = members::read(body, NAMES).map_err(|error| match error {
            ReadError::Malformed(what) => {
                Error::new(Code::InvalidJson, format!("The request body is not a JSON object: {what}"))
            }
            ReadError::Duplicate(name) => {
                Error::new(Code::DuplicateMember, format!("'{name}' appears twice in the request body"))
                    .with_param(name)
            }
        })?;
        let [model, messages, stream, stream_options, project_id] = &members.found;

        let model_name = match model {
            Some(member) => typed::<String>(body, "model", member, "a string")?,
            None => None,
        };
        let model_name = model_name.filter(|name| !name.trim().is_empty()).ok_or_else(|| {
            Error::new(
                Code::MissingModel,
                "'model' is missing: name one, as provider/model or an id of GET /v1/models",
            )
            .with_param("model")
        })?;
        match messages {
            Some(member) if member.value.starts_with('[') => {}
            Some(member) if member.value != "null" => {
                return Err(wrong_type(body, "messages", member, "an array"));
            }
            _ => {
                return Err(Error::new(Code::MissingInput, "'messages' is missing: an array of messages")
                    .with_param("messages"));
            }
        }
        let stream = match stream {
            Some(member) => typed::<bool>(body, "stream", member, "true or false")?.unwrap_or(false),
            None => false,
        };
        let options = match stream_options {
            Some(member) if member.value.starts_with('{') || member.value == "null" => {
                typed::<StreamOptions>(
                    body,
                    "stream_options",
                    member,
                    "an object whose include_usage is true or false",
                )?
            }
            Some(member) => return Err(wrong_type(body, "stream_options", member, "an object")),
            None => None,
        };
        let project_id = match project_id {
            Some(member) => typed::<String>(body, "project_id", member, "a string")
                .map_err(|_| super::project_id::invalid())?,
            None => None,
        };
        Ok(ChatRequest {
            body,
            model: model_name,
            stream,
            wants_usage: options.and_then(|options| options.include_usage).unwrap_or(false),
            project_id,
            members,
        })
    }

    /// The body for a provider that knows the model as `model`.
    pub fn outgoing(&self, model: &str, stream_usage: StreamUsage) -> Outgoing {
        let hide_usage = self.stream && !self.wants_usage && stream_usage == StreamUsage::OnRequest;
        let [model_member, _, _, stream_options, project_id] = &self.members.found;
        let mut changes: Vec<(Range<usize>, Vec<u8>)> = Vec::with_capacity(3);
        if let Some(member) = project_id {
            changes.push((member.extent.clone(), Vec::new()));
        }
        if let Some(member) = model_member
            && self.model != model
        {
            changes.push((member.place.clone(), serde_json::Value::from(model).to_string().into_bytes()));
        }
        if hide_usage {
            changes.push(self.ask_for_usage(stream_options.as_ref()));
        }
        changes.sort_by_key(|(place, _)| place.start);
        let body = (!changes.is_empty()).then(|| members::splice(self.body, &changes));
        Outgoing { body, hide_usage }
    }

    /// The change that makes `stream_options.include_usage` true and leaves its neighbours alone.
    fn ask_for_usage(&self, stream_options: Option<&Member<'_>>) -> (Range<usize>, Vec<u8>) {
        let Some(member) = stream_options else {
            // A streamed request has at least the member `stream`, so there is one to put a comma after.
            let mut text = br#","stream_options":"#.to_vec();
            text.extend_from_slice(INCLUDE_USAGE);
            return (self.members.end..self.members.end, text);
        };
        let Ok(Members { found: [include_usage], end, any }) =
            members::read(member.value.as_bytes(), &["include_usage"])
        else {
            return (member.place.clone(), INCLUDE_USAGE.to_vec());
        };
        let start = member.place.start;
        if let Some(include_usage) = include_usage {
            return (start + include_usage.place.start..start + include_usage.place.end, b"true".to_vec());
        }
        let comma = if any { "," } else { "" };
        (start + end..start + end, format!(r#"{comma}"include_usage":true"#).into_bytes())
    }
}

fn typed<'a, T: Deserialize<'a>>(
    body: &[u8],
    name: &'static str,
    member: &Member<'a>,
    expected: &str,
) -> Result<Option<T>, Error> {
    members::value(member.value).map_err(|_| wrong_type(body, name, member, expected))
}

fn wrong_type(body: &[u8], name: &'static str, member: &Member<'_>, expected: &str) -> Error {
    let (line, column) = members::line_and_column(body, member.place.start);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(body: &str, model: &str, usage: StreamUsage) -> (String, bool) {
        let out = ChatRequest::read(body.as_bytes()).unwrap().outgoing(model, usage);
        (out.body.map_or_else(|| body.to_owned(), |body| String::from_utf8(body).unwrap()), out.hide_usage)
    }

    #[test]
    fn changes_only_the_named_members() {
        for (body, sent) in [
            (r#"{"model":"demo/m","messages":[]}"#, r#"{"model":"m","messages":[]}"#),
            (
                "{ \"messages\" : [ ] ,\n \"x\":[1e3, 2.50,\"\\u00e9é\"], \"model\" : \"d/m\" }",
                "{ \"messages\" : [ ] ,\n \"x\":[1e3, 2.50,\"\\u00e9é\"], \"model\" : \"m\" }",
            ),
            (r#"{"project_id":"p","model":"d/m","messages":[]}"#, r#"{"model":"m","messages":[]}"#),
            (r#"{"model":"d/m","messages":[], "project_id":"p"}"#, r#"{"model":"m","messages":[]}"#),
            (r#"{"model":"m","messages":[]}"#, r#"{"model":"m","messages":[]}"#),
            (
                r#"{"model":"d/m","messages":[],"stream":false}"#,
                r#"{"model":"m","messages":[],"stream":false}"#,
            ),
        ] {
            assert_eq!(outgoing(body, "m", StreamUsage::OnRequest), (sent.to_owned(), false), "{body}");
        }
    }

    #[test]
    fn an_unchanged_body_is_not_copied() {
        let request = ChatRequest::read(br#"{"model":"m","messages":[]}"#).unwrap();
        assert_eq!(request.outgoing("m", StreamUsage::OnRequest).body, None);
    }

    #[test]
    fn a_stream_asks_for_usage_and_hides_it_from_who_did_not_ask() {
        for (options, sent, hide) in [
            ("", r#","stream_options":{"include_usage":true}"#, true),
            (r#","stream_options":null"#, r#","stream_options":{"include_usage":true}"#, true),
            (r#","stream_options":{}"#, r#","stream_options":{"include_usage":true}"#, true),
            (
                r#","stream_options":{"include_obfuscation":false }"#,
                r#","stream_options":{"include_obfuscation":false,"include_usage":true }"#,
                true,
            ),
            (
                r#","stream_options":{"include_usage":false,"x":1}"#,
                r#","stream_options":{"include_usage":true,"x":1}"#,
                true,
            ),
            (
                r#","stream_options":{"include_usage":null}"#,
                r#","stream_options":{"include_usage":true}"#,
                true,
            ),
            (
                r#","stream_options":{"include_usage":true}"#,
                r#","stream_options":{"include_usage":true}"#,
                false,
            ),
        ] {
            let body = format!(r#"{{"model":"m","messages":[],"stream":true{options} }}"#);
            let expected = format!(r#"{{"model":"m","messages":[],"stream":true{sent} }}"#);
            assert_eq!(outgoing(&body, "m", StreamUsage::OnRequest), (expected, hide), "{options}");
            assert_eq!(outgoing(&body, "m", StreamUsage::Always), (body.clone(), false), "{options}");
        }
    }

    #[test]
    fn a_model_id_is_written_as_json() {
        let (sent, _) = outgoing(r#"{"model":"x","messages":[]}"#, "a\"b\\é", StreamUsage::Always);
        assert_eq!(sent, r#"{"model":"a\"b\\é","messages":[]}"#);
    }

    #[test]
    fn says_which_member_is_wrong_and_where() {
        for (body, code, message) in [
            ("", "invalid_json", "The request body is not a JSON object: the body is empty"),
            ("[]", "invalid_json", "expected a JSON object"),
            (
                "{\"model\":\"m\",\n \"messages\":[}",
                "invalid_json",
                "line 2 column 14 (in or after member 'messages')",
            ),
            (r#"{"messages":[]}"#, "missing_model", "'model' is missing"),
            (r#"{"model":null,"messages":[]}"#, "missing_model", "'model' is missing"),
            (r#"{"model":" ","messages":[]}"#, "missing_model", "'model' is missing"),
            (r#"{"model":"m"}"#, "missing_input", "'messages' is missing"),
            (r#"{"model":"m","messages":null}"#, "missing_input", "'messages' is missing"),
            (
                r#"{"model":1,"messages":[]}"#,
                "invalid_type",
                "'model' must be a string, not a number (line 1, column 10)",
            ),
            (
                "{\"model\":\"m\",\n\"messages\":\"hi\"}",
                "invalid_type",
                "'messages' must be an array, not a string (line 2, column 12)",
            ),
            (
                r#"{"model":"m","messages":[],"stream":"yes"}"#,
                "invalid_type",
                "'stream' must be true or false, not a string",
            ),
            (
                r#"{"model":"m","messages":[],"stream_options":7}"#,
                "invalid_type",
                "'stream_options' must be an object",
            ),
            (
                r#"{"model":"m","messages":[],"stream_options":{"include_usage":1}}"#,
                "invalid_type",
                "'stream_options' must be an object whose include_usage is true or false, not something else",
            ),
            (
                r#"{"model":"m","messages":[],"project_id":7}"#,
                "invalid_project_id",
                "Missing or invalid project_id",
            ),
            (r#"{"model":"m","model":"n","messages":[]}"#, "duplicate_member", "'model' appears twice"),
        ] {
            let error = ChatRequest::read(body.as_bytes()).unwrap_err();
            assert_eq!(error.code(), Some(code), "{body}: {}", error.message);
            assert!(error.message.contains(message), "{body}: {}", error.message);
        }
    }
}
