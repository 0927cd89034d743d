//! `POST /v1/chat/completions`: what is read of a request, and what is changed in it.
//!
//! Read: what routing goes by ([`ChatRequest`]'s fields). Changed: `model` becomes the provider's own id, members that are
//! for the gateway go, a stream asks for usage, and what a provider is known to refuse is dropped, renamed or kept within
//! its limits ([`Quirk`]), of which the caller is told. Every other member, known or not, arrives upstream byte for byte.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;

use crate::catalog::{Entry, Quirk, StreamUsage};
use crate::error::{Code, Error};
use crate::format::project_id;
use crate::json::members::{self, Member, Members, ReadError, by_place, is_empty_array};
use crate::tier::Tier;

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
            Some(member) => {
                typed::<String>(body, "project_id", member, "a string").map_err(|_| project_id::invalid())?
            }
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
    /// the gateway. `output_limit`: no choice is to have more tokens of output, whatever the caller asked for.
    pub fn outgoing(
        &self,
        model: &str,
        provider: &Entry,
        own_routing: bool,
        output_limit: Option<u64>,
    ) -> Outgoing {
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
        if let Some(limit) = output_limit {
            self.limit_output(limit, provider, &gone, &mut changes, &mut adjusted);
        }
        if let Some(member) = self.find("model")
            && self.model != model
        {
            changes.push((member.place.clone(), json_text(model)));
        }
        if hide_usage {
            changes.push(self.ask_for_usage(self.find("stream_options")));
        }
        // What goes is not changed as well.
        changes.retain(|(place, _)| {
            !gone.iter().any(|gone| gone.extent.start <= place.start && place.start < gone.extent.end)
        });
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
                // Two members may have one new name.
                let is_given =
                    || adjusted.iter().any(|told| told.split_once('>').is_some_and(|(_, to)| to == new));
                if self.find(new).is_some() || is_given() {
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
                let (Some(given), Some(limit)) = (json_number(member.value), json_number(bound)) else {
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

    /// Sees to it that no choice has more than so many tokens of output. Comes after the quirks, which decide which members
    /// for it are left and under which names.
    fn limit_output(
        &self,
        limit: u64,
        provider: &Entry,
        gone: &[&Member<'_>],
        changes: &mut Vec<(Range<usize>, Vec<u8>)>,
        adjusted: &mut Vec<String>,
    ) {
        let text = limit.to_string();
        // The first is the one to insert: OpenAI's reasoning models take no other, and others may know no other.
        let mut names: Vec<&str> = OUTPUT_LIMITS.to_vec();
        if !matches!(provider.name.as_str(), "openai" | "azure") {
            names.reverse();
        }
        for quirk in &*provider.quirks {
            if let Quirk::Rename(old, new) = quirk {
                match (names.contains(&&**old), names.contains(&&**new)) {
                    (true, false) => names.push(new),
                    (false, true) => names.push(old),
                    _ => {}
                }
            }
        }
        let is_taken = |name: &str| {
            let refuses =
                |quirk: &Quirk| matches!(quirk, Quirk::Drop(old) | Quirk::Rename(old, _) if old == name);
            !provider.quirks.iter().any(refuses)
        };
        let mut is_limited = false;
        let mut empty = None;
        for name in &names {
            let others =
                self.members.others.iter().filter(|(other, _)| other == name).map(|(_, member)| member);
            for member in self.find(name).into_iter().chain(others) {
                if gone.iter().any(|gone| gone.place == member.place) {
                    continue;
                }
                if member.value == "null" {
                    // As good as absent, and only needed where there is no other: some providers refuse two.
                    empty = empty.or_else(|| is_taken(name).then_some((*name, member)));
                    continue;
                }
                is_limited = true;
                let quirked = changes.iter_mut().find(|(place, _)| *place == member.place);
                let value = quirked.as_ref().and_then(|(_, value)| str::from_utf8(value).ok());
                // What is no number from 1 on may mean that there is no limit.
                if lenient_count(value.unwrap_or(member.value))
                    .is_some_and(|tokens| (1..=limit).contains(&tokens))
                {
                    continue;
                }
                match quirked {
                    Some((_, value)) => *value = text.clone().into_bytes(),
                    None => changes.push((member.place.clone(), text.clone().into_bytes())),
                }
                adjusted.push(format!("{name}={text}"));
            }
        }
        if is_limited {
            return;
        }
        if let Some((name, member)) = empty {
            changes.push((member.place.clone(), text.clone().into_bytes()));
            adjusted.push(format!("{name}={text}"));
        } else if let Some(name) = names.into_iter().find(|name| is_taken(name)) {
            // There is at least the model to put a comma after.
            let end = self.members.end;
            let mut member = b",".to_vec();
            member.extend(json_text(name));
            member.extend(format!(":{text}").into_bytes());
            changes.push((end..end, member));
            adjusted.push(format!("{name}={text}"));
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

/// A count as a lenient provider may read it: also from a fraction, an exponent or a string, with spaces around it or a plus
/// before it. Fractions count as the next whole number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn lenient_count(value: &str) -> Option<u64> {
    let value = value.trim_matches('"').trim();
    let value = value.strip_prefix('+').unwrap_or(value);
    let rounded = || json_number(value).filter(|number| *number >= 0.0).map(|number| number.ceil() as u64);
    value.parse().ok().or_else(rounded)
}

/// A number as JSON has it. Not by `str::parse`, whose tables are 14 KB of the Wasm, gzipped.
fn json_number(text: &str) -> Option<f64> {
    serde_json::from_str(text).ok()
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
    use proptest::prelude::*;

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
        let out =
            ChatRequest::read(body.as_bytes()).unwrap().outgoing(model, provider, provider.own_routing, None);
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

    fn renaming(old: &'static str, new: &'static str) -> Quirk {
        Quirk::Rename(old.into(), new.into())
    }

    #[test]
    fn the_output_is_limited_by_whatever_member_is_left() {
        const BOTH: [&str; 2] = OUTPUT_LIMITS;
        let newer = || vec![renaming(BOTH[1], BOTH[0])];
        let older = || vec![renaming(BOTH[0], BOTH[1])];
        for (name, quirks, given, expected, told) in [
            ("acme", vec![], "", r#","max_tokens":9"#, "max_tokens=9"),
            ("openai", vec![], "", r#","max_completion_tokens":9"#, "max_completion_tokens=9"),
            ("azure", newer(), "", r#","max_completion_tokens":9"#, "max_completion_tokens=9"),
            ("azure", older(), "", r#","max_tokens":9"#, "max_tokens=9"),
            ("acme", newer(), "", r#","max_completion_tokens":9"#, "max_completion_tokens=9"),
            ("acme", vec![], r#","max_tokens":9"#, r#","max_tokens":9"#, ""),
            ("acme", vec![], r#", "max_tokens" : 10 "#, r#", "max_tokens" : 9 "#, "max_tokens=9"),
            ("acme", vec![], r#","max_tokens":null"#, r#","max_tokens":9"#, "max_tokens=9"),
            (
                "acme",
                vec![],
                r#","max_completion_tokens":null"#,
                r#","max_completion_tokens":9"#,
                "max_completion_tokens=9",
            ),
            (
                "acme",
                vec![],
                r#","max_completion_tokens":99,"max_tokens":5"#,
                r#","max_completion_tokens":9,"max_tokens":5"#,
                "max_completion_tokens=9",
            ),
            (
                "openai",
                vec![],
                r#","max_completion_tokens":null,"max_tokens":5"#,
                r#","max_completion_tokens":null,"max_tokens":5"#,
                "",
            ),
            (
                "acme",
                older(),
                r#","max_completion_tokens":99"#,
                r#","max_tokens":9"#,
                "max_completion_tokens>max_tokens max_completion_tokens=9",
            ),
            (
                "acme",
                older(),
                r#","max_completion_tokens":1,"max_tokens":99"#,
                r#","max_tokens":9"#,
                "max_completion_tokens max_tokens=9",
            ),
            (
                "acme",
                older(),
                r#","max_completion_tokens":null"#,
                r#","max_completion_tokens":null,"max_tokens":9"#,
                "max_tokens=9",
            ),
            (
                "acme",
                newer(),
                r#","max_completion_tokens":null,"max_tokens":99"#,
                r#","max_completion_tokens":9"#,
                "max_tokens max_completion_tokens=9",
            ),
            (
                "acme",
                vec![Quirk::Drop("max_tokens".into())],
                r#","max_tokens":99"#,
                r#","max_completion_tokens":9"#,
                "max_tokens max_completion_tokens=9",
            ),
            (
                "acme",
                vec![renaming(BOTH[1], "longest")],
                r#","longest":99,"max_tokens":5"#,
                r#","longest":9"#,
                "max_tokens longest=9",
            ),
            (
                "acme",
                vec![Quirk::AtLeast("max_tokens".into(), "16".into())],
                r#","max_tokens":1"#,
                r#","max_tokens":9"#,
                "max_tokens=16 max_tokens=9",
            ),
            ("acme", vec![], r#","max_tokens":-1"#, r#","max_tokens":9"#, "max_tokens=9"),
            ("acme", vec![], r#","max_tokens":"10""#, r#","max_tokens":9"#, "max_tokens=9"),
            ("acme", vec![], r#","max_tokens":1e1"#, r#","max_tokens":9"#, "max_tokens=9"),
        ] {
            let mut acme = provider("", StreamUsage::Always);
            name.clone_into(&mut acme.name);
            acme.quirks = quirks.into();
            let body = format!(r#"{{"model":"m","messages":[]{given}}}"#);
            let out = ChatRequest::read(body.as_bytes()).unwrap().outgoing("m", &acme, false, Some(9));
            let sent = out.body.map_or_else(|| body.clone(), |body| String::from_utf8(body).unwrap());
            assert_eq!(sent, format!(r#"{{"model":"m","messages":[]{expected}}}"#), "{name} {given}");
            assert_eq!(out.adjusted.join(" "), told, "{name} {given}");
        }
    }

    fn any_quirk() -> impl Strategy<Value = Quirk> {
        let name =
            || prop_oneof![Just(OUTPUT_LIMITS[0]), Just(OUTPUT_LIMITS[1]), Just("longest"), Just("seed")];
        prop_oneof![
            name().prop_map(|name| Quirk::Drop(name.into())),
            (0usize..3, 1usize..3).prop_map(|(old, by)| {
                let names = [OUTPUT_LIMITS[0], OUTPUT_LIMITS[1], "longest"];
                renaming(names[old], names[(old + by) % 3])
            }),
            (name(), "[1-9][0-9]{0,2}").prop_map(|(name, bound)| Quirk::AtLeast(name.into(), bound.into())),
            (name(), "[1-9][0-9]{0,2}").prop_map(|(name, bound)| Quirk::AtMost(name.into(), bound.into())),
        ]
    }

    proptest! {
        /// Whatever is asked for and whatever the provider's quirks: what is sent is an object without a name twice, no
        /// member for the output in it is above the limit, there is one unless the provider takes none, and what is not
        /// concerned is written as it was.
        #[test]
        fn no_output_is_above_the_limit(
            order in Just(vec![
                ("model", "\"x\""), ("messages", "[ 1,{} ]"), ("stream", "true"), ("project_id", "\"p\""), ("other", " [\"}\" ,1]"),
                ("max_tokens", ""), ("max_completion_tokens", ""), ("longest", ""), ("stream_options", "{ }"),
            ]).prop_shuffle(),
            left_out in proptest::collection::vec(any::<bool>(), 9),
            values in proptest::collection::vec(
                prop_oneof![Just("null".to_owned()), Just("\"99\"".to_owned()), "-?[1-9][0-9]{0,3}", "[0-9]\\.5", "[1-9]e[0-9]"], 9),
            quirks in proptest::collection::vec(any_quirk(), 0..4),
            limit in 1u64..200,
            is_openai: bool,
            spaces: bool,
        ) {
            let mut acme = provider("", StreamUsage::OnRequest);
            if is_openai {
                "openai".clone_into(&mut acme.name);
            }
            acme.quirks = quirks.into();
            let needed = |name: &str| matches!(name, "model" | "messages" | "other");
            let given: Vec<String> = order
                .iter()
                .zip(values)
                .zip(left_out)
                .filter(|((member, _), left_out)| !left_out || needed(member.0))
                .map(|(((name, value), number), _)| {
                    let value = if value.is_empty() { &*number } else { value };
                    if spaces { format!(" \"{name}\" : {value} ") } else { format!("\"{name}\":{value}") }
                })
                .collect();
            let body = format!("{{{}}}", given.join(","));
            let request = ChatRequest::read(body.as_bytes()).unwrap();
            let out = request.outgoing("m", &acme, false, Some(limit));
            let sent = out.body.unwrap();
            let members = members::read_all(&sent, &[]);
            prop_assert!(members.is_ok(), "{}", String::from_utf8_lossy(&sent));
            let members = members.unwrap().others;
            let of = |wanted: &str| -> Vec<&str> {
                members.iter().filter(|(name, _)| name == wanted).map(|(_, member)| member.value).collect()
            };
            prop_assert_eq!(of("model"), ["\"m\""]);
            prop_assert_eq!(of("messages"), ["[ 1,{} ]"]);
            prop_assert_eq!(of("other"), ["[\"}\" ,1]"]);
            prop_assert!(of("project_id").is_empty());
            let is_renamed_to = |new: &str| {
                acme.quirks.iter().any(|quirk| matches!(quirk, Quirk::Rename(old, to) if to == new && OUTPUT_LIMITS.contains(&&**old)))
            };
            let mut limits = 0;
            for name in ["max_tokens", "max_completion_tokens", "longest"] {
                if !OUTPUT_LIMITS.contains(&name) && !is_renamed_to(name) {
                    continue;
                }
                let values = of(name);
                prop_assert!(values.len() < 2, "{name} twice");
                for value in values.into_iter().filter(|value| *value != "null") {
                    let tokens = value.trim_matches('"').parse::<f64>().unwrap();
                    prop_assert!((0.5..=200.0).contains(&tokens), "{name}: {value}");
                    prop_assert!(lenient_count(value).unwrap() <= limit, "{name}: {value}");
                    limits += 1;
                }
            }
            let takes = |name: &str| {
                !acme.quirks.iter().any(|quirk| matches!(quirk, Quirk::Drop(old) | Quirk::Rename(old, _) if old == name))
            };
            if OUTPUT_LIMITS.iter().any(|name| takes(name)) {
                prop_assert!(limits > 0, "{}", String::from_utf8_lossy(&sent));
            }
        }
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
        assert_eq!(request.outgoing("m", &provider("", StreamUsage::OnRequest), false, None).body, None);
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
    fn counts_are_read_as_leniently_as_a_provider_may() {
        for value in ["5", "5.0", "4.2", "5e0", "\"5\"", "\" +5\"", "\"+5.0 \"", "0.5e1"] {
            assert_eq!(lenient_count(value), Some(5), "{value}");
        }
        for value in ["-1", "null", "\"many\"", "[5]"] {
            assert_eq!(lenient_count(value), None, "{value}");
        }
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
