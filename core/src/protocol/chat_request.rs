//! `POST /v1/chat/completions`: what is read of a request, and what is changed in it.
//!
//! Read: what routing goes by ([`ChatRequest`]'s fields). Changed: `model` becomes the provider's own id, members that are
//! for the gateway go, a stream asks for usage, and what a provider is known to refuse is dropped, renamed or kept within
//! its limits ([`Quirk`]), of which the caller is told. Every other member, known or not, arrives upstream byte for byte.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;

use super::members::{self, Member, Members, ReadError, by_place, is_empty_array};
use crate::catalog::{Entry, Quirk, StreamUsage, Tier};
use crate::error::{Code, Error};

const NAMES: &[&str; 16] = &[
    "model",
    "messages",
    "stream",
    "stream_options",
    "project_id",
    "models",
    "provider",
    "tools",
    "functions",
    "response_format",
    "max_tokens",
    "max_completion_tokens",
    "reasoning_effort",
    "min_reasoning_level",
    "prompt_cache_key",
    "n",
];
/// The members that limit the output, in tokens.
const OUTPUT_LIMITS: [&str; 2] = ["max_completion_tokens", "max_tokens"];
/// The most answers that are asked for at once; no provider gives more.
const MOST_CHOICES: u64 = 128;
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
    /// The body's `messages`, as they are written.
    pub messages: &'a str,
    /// The longest answer that is asked for, in tokens.
    pub max_output: Option<u64>,
    /// How many answers are asked for: `n`, at least 1.
    pub choices: u64,
    /// The tier that `reasoning_effort` asks for; `None`: any, `auto`, or a word that only a provider knows.
    pub effort: Option<Tier>,
    /// The lowest tier that will do.
    pub min_tier: Option<Tier>,
    members: Members<'a, 16>,
}

/// What to send upstream.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// The body; `None` when it is the caller's own, unchanged.
    pub body: Option<Vec<u8>>,
    /// Whether the gateway asked for usage that the caller did not ask for, and so has to hide it.
    pub hide_usage: bool,
    /// What was dropped or changed for the provider's sake, for `x-gateway-dropped-params`: `seed`, `seed>random_seed`,
    /// `temperature=1e-8`.
    pub adjusted: Vec<String>,
}

/// How JSON is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonFormat {
    /// `json_object`.
    Object,
    /// `json_schema`.
    Schema,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct ResponseFormat<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
}

impl<'a> ChatRequest<'a> {
    /// Reads a body.
    pub fn read(body: &'a [u8]) -> Result<ChatRequest<'a>, Error> {
        let members = members::read_all(body, NAMES).map_err(|error| match error {
            ReadError::Malformed(what) => {
                Error::new(Code::InvalidJson, format!("The request body is not a JSON object: {what}"))
            }
            ReadError::Duplicate(name) => {
                Error::new(Code::DuplicateMember, format!("'{name}' appears twice in the request body"))
                    .with_param(name)
            }
        })?;
        let [model, messages, stream, stream_options, project_id, .., effort, min_tier, _, n] =
            &members.found;
        let [.., max_tokens, max_completion_tokens, _, _, _, _] = &members.found;

        let model_name = match model {
            Some(member) => typed::<String>(body, "model", member, "a string")?,
            None => None,
        };
        let model_name = model_name.filter(|name| !name.trim().is_empty()).ok_or_else(|| {
            Error::new(
                Code::MissingModel,
                "'model' is missing: name one, as provider/model, an id of GET /v1/models, or 'auto'",
            )
            .with_param("model")
        })?;
        let messages = match messages {
            Some(member) if member.value.starts_with('[') => member.value,
            Some(member) if member.value != "null" => {
                return Err(wrong_type(body, "messages", member, "an array"));
            }
            _ => {
                return Err(Error::new(Code::MissingInput, "'messages' is missing: an array of messages")
                    .with_param("messages"));
            }
        };
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
        let min_tier = match min_tier {
            Some(member) => {
                typed::<Tier>(body, "min_reasoning_level", member, "\"low\", \"medium\" or \"high\"")?
            }
            None => None,
        };
        // What is no number is for the provider to refuse.
        let tokens =
            |member: &Option<Member<'_>>| member.as_ref().and_then(|member| member.value.parse().ok());
        let max_output = tokens(max_completion_tokens).or_else(|| tokens(max_tokens));
        let choices = n.as_ref().and_then(|member| lenient_count(member.value));
        let effort = effort.as_ref().and_then(|member| effort_tier(member.value));
        Ok(ChatRequest {
            body,
            model: model_name,
            stream,
            wants_usage: options.and_then(|options| options.include_usage).unwrap_or(false),
            project_id,
            messages,
            max_output,
            choices: choices.unwrap_or(1).clamp(1, MOST_CHOICES),
            effort,
            min_tier,
            members,
        })
    }

    /// A member, as it is written, unless it is `null`.
    pub fn member(&self, name: &str) -> Option<&'a str> {
        self.find(name).map(|member| member.value).filter(|value| *value != "null")
    }

    fn find(&self, name: &str) -> Option<&Member<'a>> {
        match NAMES.iter().position(|known| *known == name) {
            Some(index) => self.members.found.get(index)?.as_ref(),
            None => self.members.others.iter().find(|(known, _)| known == name).map(|(_, member)| member),
        }
    }

    /// The size of a member, in bytes; 0 if it is not there.
    pub fn size(&self, name: &str) -> usize {
        self.member(name).map_or(0, str::len)
    }

    /// Whether tools are offered to the model.
    pub fn wants_tools(&self) -> bool {
        ["tools", "functions"].iter().any(|name| {
            self.member(name).is_some_and(|value| value.starts_with('[') && !is_empty_array(value))
        })
    }

    /// The longest answer that a provider may understand the request to ask for, in tokens: the larger of the two members
    /// for it, of which some providers know only one.
    pub fn asked_output(&self) -> Option<u64> {
        let asked = OUTPUT_LIMITS.iter().filter_map(|name| lenient_count(self.member(name)?));
        asked.filter(|tokens| *tokens > 0).max()
    }

    /// How JSON is asked for, if it is.
    pub fn json_format(&self) -> Option<JsonFormat> {
        let format: ResponseFormat<'_> = serde_json::from_str(self.member("response_format")?).ok()?;
        match format.kind.as_deref()? {
            "json_object" => Some(JsonFormat::Object),
            "json_schema" => Some(JsonFormat::Schema),
            _ => None,
        }
    }

    /// What a provider would drop of this request: members that it refuses and for which it has no other name.
    pub fn dropped_by(&self, quirks: &[Quirk]) -> Option<String> {
        quirks.iter().find_map(|quirk| match quirk {
            Quirk::Drop(name) => self.member(name).map(|_| name.to_string()),
            _ => None,
        })
    }

    /// The body for a provider that knows the model as `model`. `own_routing`: `models` and `provider` are for it, not for
    /// the gateway.
    pub fn outgoing(&self, model: &str, provider: &Entry, own_routing: bool) -> Outgoing {
        let hide_usage = self.stream && !self.wants_usage && provider.stream_usage == StreamUsage::OnRequest;
        let mut adjusted = Vec::new();
        let mut gone: Vec<&Member<'_>> = Vec::new();
        let mut changes: Vec<(Range<usize>, Vec<u8>)> = Vec::new();
        gone.extend(self.find("project_id"));
        gone.extend(self.find("min_reasoning_level"));
        if !own_routing {
            gone.extend(self.find("models"));
            gone.extend(self.find("provider"));
        }
        // The gateway's own word, which no provider knows.
        gone.extend(self.find("reasoning_effort").filter(|member| member.value == "\"auto\""));
        for quirk in &*provider.quirks {
            self.adjust(quirk, &mut gone, &mut changes, &mut adjusted);
        }
        if let Some(member) = self.find("model")
            && self.model != model
        {
            changes.push((member.place.clone(), json_text(model)));
        }
        if hide_usage {
            changes.push(self.ask_for_usage(self.find("stream_options")));
        }
        changes.extend(members::removals(self.body, gone));
        let changes = by_place(changes, |(place, _)| place.start);
        let body = (!changes.is_empty()).then(|| members::splice(self.body, &changes));
        Outgoing { body, hide_usage, adjusted }
    }

    /// Applies one quirk. A member that is `null` is as good as absent, and stays.
    fn adjust<'s>(
        &'s self,
        quirk: &Quirk,
        gone: &mut Vec<&'s Member<'a>>,
        changes: &mut Vec<(Range<usize>, Vec<u8>)>,
        adjusted: &mut Vec<String>,
    ) {
        let present = |name: &str| self.find(name).filter(|member| member.value != "null");
        match quirk {
            Quirk::Drop(name) => {
                if let Some(member) = present(name) {
                    gone.push(member);
                    adjusted.push(name.to_string());
                }
            }
            Quirk::Rename(old, new) => {
                let Some(member) = present(old) else { return };
                if self.find(new).is_some() {
                    gone.push(member);
                    adjusted.push(old.to_string());
                } else {
                    // From the name's first quote to the value: all that stands there is the name, a colon and white space.
                    let Some(name) = name_place(self.body, member) else { return };
                    changes.push((name, json_text(new)));
                    adjusted.push(format!("{old}>{new}"));
                }
            }
            Quirk::AtLeast(name, bound) | Quirk::AtMost(name, bound) => {
                let Some(member) = present(name) else { return };
                let (Ok(given), Ok(limit)) = (member.value.parse::<f64>(), bound.parse::<f64>()) else {
                    return;
                };
                let outside = if matches!(quirk, Quirk::AtLeast(..)) { given < limit } else { given > limit };
                if outside {
                    changes.push((member.place.clone(), bound.as_bytes().to_vec()));
                    adjusted.push(format!("{name}={bound}"));
                }
            }
        }
    }

    /// The change that makes `stream_options.include_usage` true and leaves its neighbours alone.
    fn ask_for_usage(&self, stream_options: Option<&Member<'_>>) -> (Range<usize>, Vec<u8>) {
        let Some(member) = stream_options else {
            // A streamed request has at least the member `stream`, so there is one to put a comma after.
            let mut text = br#","stream_options":"#.to_vec();
            text.extend_from_slice(INCLUDE_USAGE);
            return (self.members.end..self.members.end, text);
        };
        let Ok(Members { found: [include_usage], end, any, .. }) =
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

/// The tier for a written `reasoning_effort`: OpenAI's words, and the gateway's `auto`, which is none.
fn effort_tier(value: &str) -> Option<Tier> {
    match value.trim_matches('"') {
        "none" | "minimal" | "low" => Some(Tier::Low),
        "medium" => Some(Tier::Medium),
        "high" | "xhigh" => Some(Tier::High),
        _ => None,
    }
}

/// A count as a lenient provider may read it: also from a fraction, an exponent or a string. Fractions count as the next
/// whole number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn lenient_count(value: &str) -> Option<u64> {
    let value = value.trim_matches('"');
    let rounded =
        || value.parse::<f64>().ok().filter(|number| *number >= 0.0).map(|number| number.ceil() as u64);
    value.parse().ok().or_else(rounded)
}

fn json_text(text: &str) -> Vec<u8> {
    serde_json::Value::from(text).to_string().into_bytes()
}

/// Where a member's name stands, quotes included.
fn name_place(body: &[u8], member: &Member<'_>) -> Option<Range<usize>> {
    let before = body.get(..member.place.start)?;
    let colon = memchr::memrchr(b':', before)?;
    let end = memchr::memrchr(b'"', body.get(..colon)?)? + 1;
    // The extent of a member that is not the first begins with the comma, that of the first after the brace.
    let start = member.extent.start + memchr::memchr(b'"', body.get(member.extent.start..end)?)?;
    Some(start..end)
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

    use crate::catalog::Registry;
    use crate::config::Config;

    /// A provider with these settings.
    fn provider(settings: &str, usage: StreamUsage) -> Entry {
        let config = format!(
            r#"{{"providers":{{"acme":{{"base_url":"http://a.example","auth":"none"{settings}}}}}}}"#
        );
        let registry = Registry::new(&Config::read("{}", Some(&config)).unwrap(), false, |_| None);
        let mut entry = registry.into_entries().into_iter().find(|entry| entry.name == "acme").unwrap();
        entry.stream_usage = usage;
        entry
    }

    fn sent(body: &str, model: &str, provider: &Entry) -> (String, Outgoing) {
        let out = ChatRequest::read(body.as_bytes()).unwrap().outgoing(model, provider, provider.own_routing);
        (
            out.body
                .as_ref()
                .map_or_else(|| body.to_owned(), |body| String::from_utf8(body.clone()).unwrap()),
            out,
        )
    }

    fn outgoing(body: &str, model: &str, usage: StreamUsage) -> (String, bool) {
        let (body, out) = sent(body, model, &provider("", usage));
        (body, out.hide_usage)
    }

    #[test]
    fn what_is_for_the_gateway_goes() {
        for (body, expected) in [
            (
                r#"{"models":["a/b"],"provider":{"only":["a"]},"model":"m","messages":[]}"#,
                r#"{"model":"m","messages":[]}"#,
            ),
            (
                r#"{"model":"m","messages":[], "min_reasoning_level":"low", "reasoning_effort":"auto"}"#,
                r#"{"model":"m","messages":[]}"#,
            ),
            (
                r#"{"model":"m","messages":[],"reasoning_effort":"low"}"#,
                r#"{"model":"m","messages":[],"reasoning_effort":"low"}"#,
            ),
        ] {
            assert_eq!(outgoing(body, "m", StreamUsage::Always).0, expected);
        }
        let mut own = provider("", StreamUsage::Always);
        own.own_routing = true;
        let body = r#"{"models":["a/b"],"provider":{"only":["a"]},"model":"m","messages":[]}"#;
        assert_eq!(sent(body, "m", &own).0, body);
    }

    #[test]
    fn quirks_are_applied_and_told() {
        let mut acme =
            provider(r#","drop":["logprobs","x"],"rename":{"seed":"random_seed"}"#, StreamUsage::Always);
        acme.quirks.to_mut().push(Quirk::AtLeast("temperature".into(), "1e-8".into()));
        acme.quirks.to_mut().push(Quirk::AtMost("top_p".into(), "1".into()));
        for (given, expected, told) in [
            (r#","logprobs":true,"x":{"y":[1]}"#, "", "logprobs x"),
            (r#", "seed" : 7,"z":1"#, r#", "random_seed" : 7,"z":1"#, "seed>random_seed"),
            (r#","s\u0065ed":7"#, r#","random_seed":7"#, "seed>random_seed"),
            (r#","seed":7,"random_seed":8"#, r#","random_seed":8"#, "seed"),
            (
                r#","temperature":0,"top_p":1.5"#,
                r#","temperature":1e-8,"top_p":1"#,
                "temperature=1e-8 top_p=1",
            ),
            (r#","temperature":0.5,"top_p":1"#, r#","temperature":0.5,"top_p":1"#, ""),
            (r#","logprobs":null,"temperature":"hot""#, r#","logprobs":null,"temperature":"hot""#, ""),
        ] {
            let body = format!(r#"{{"model":"m","messages":[]{given}}}"#);
            let (sent, out) = sent(&body, "m", &acme);
            assert_eq!(sent, format!(r#"{{"model":"m","messages":[]{expected}}}"#));
            assert_eq!(out.adjusted.join(" "), told, "{given}");
        }
        let (first, _) = sent(r#"{"seed":7,"model":"m","messages":[]}"#, "m", &acme);
        assert_eq!(first, r#"{"random_seed":7,"model":"m","messages":[]}"#);
    }

    #[test]
    fn reads_what_routing_goes_by() {
        let read = |rest: &str| {
            let body = format!(r#"{{"model":"m","messages":[]{rest}}}"#);
            let request = ChatRequest::read(body.as_bytes()).unwrap();
            (request.wants_tools(), request.json_format(), request.max_output, request.effort)
        };
        assert_eq!(read(""), (false, None, None, None));
        assert_eq!(read(r#","tools":[],"max_tokens":null"#), (false, None, None, None));
        assert_eq!(read(r#","tools":[{}],"max_tokens":5"#), (true, None, Some(5), None));
        assert_eq!(
            read(r#","functions":[{}],"max_tokens":5,"max_completion_tokens":6,"reasoning_effort":"xhigh""#),
            (true, None, Some(6), Some(Tier::High))
        );
        assert_eq!(read(r#","response_format":{"type":"json_object"}"#).1, Some(JsonFormat::Object));
        assert_eq!(
            read(r#","response_format":{"type":"json_schema","json_schema":{}}"#).1,
            Some(JsonFormat::Schema)
        );
        assert_eq!(
            read(r#","response_format":{"type":"text"},"reasoning_effort":"odd""#),
            (false, None, None, None)
        );
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
        assert_eq!(request.outgoing("m", &provider("", StreamUsage::OnRequest), false).body, None);
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
