//! Responses requests: reads the caller's, and writes the upstream's.
//!
//! Changes: `model` becomes the provider's own id, the gateway's fields are removed, the output is limited if a budget
//! requires it, and reasoning that the gateway has carried from a lane of another format is taken out. Every other field,
//! known or not, is forwarded unchanged.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::conversation::STATE;
use crate::catalog::Kept;
use crate::conversation::carrier::{self, Blob, Kind, Maker};
use crate::error::{Code, Error};
use crate::format::body::{Body, Edits, json_text};
use crate::format::list::{items, place, removals};
use crate::format::request::{Inference, Needs, Outgoing, Responder, Size};
use crate::format::response_id::is_response_id;
use crate::format::size::Images;
use crate::format::upstream::Upstream;
use crate::json::members::{self, Members, is_empty_array};
use crate::operation::{Format, Operation};
use crate::tier::Tier;

/// The fields that the gateway acts on; each may appear only once.
const ONCE: &[&str] = &[
    "model",
    "input",
    "instructions",
    "max_output_tokens",
    "stream",
    "project_id",
    "models",
    "provider",
    "tools",
    "text",
    "reasoning",
    "prompt_cache_key",
    "previous_response_id",
    "conversation",
    "prompt",
    "background",
    "min_reasoning_level",
];
/// The fields of [`STATE`] for which a provider has to keep something, and that any other may ignore.
const KEPT: [(&str, Kept); 4] = [
    (PREVIOUS, Kept::Responses),
    ("conversation", Kept::Conversations),
    ("prompt", Kept::Prompts),
    ("background", Kept::Background),
];
/// The field with the id of the response that a request continues.
const PREVIOUS: &str = "previous_response_id";
/// The fields without `input` of which a request has its prompt at the provider.
const INSTEAD_OF_INPUT: [&str; 3] = [PREVIOUS, "conversation", "prompt"];
/// Parts of a request whose tokens do not follow from their bytes: files, audio, and what hosted tools find.
const OTHER_MEDIA: [&[u8]; 2] = [b"\"input_file\"", b"\"input_audio\""];
const HOSTED_TOOLS: [&[u8]; 5] =
    [b"\"web_search", b"\"file_search\"", b"\"code_interpreter\"", b"\"mcp\"", b"\"shell\""];
/// Instructions shorter than this do not decide the affinity of a call: providers do not cache them by themselves.
const LONG_INSTRUCTIONS: usize = 4_096;

/// Reads a body.
pub fn read<'a>(operation: &'static Operation, bytes: &'a [u8]) -> Result<Inference<'a>, Error> {
    let body = Body::read(bytes, ONCE)?;
    let model = body.model()?;
    let input = input(&body)?;
    let stream = body.typed::<bool>("stream", "true or false")?.unwrap_or(false);
    let max_output = body.typed::<u64>("max_output_tokens", "a whole number of tokens")?;
    let project_id = body.project_id()?;
    let min_tier = body.typed::<Tier>("min_reasoning_level", "\"low\", \"medium\" or \"high\"")?;
    let tools = body.value("tools").unwrap_or_default();
    let instructions = body.value("instructions").unwrap_or_default();
    let images = images(input);
    let has =
        |text: &str, words: &[&[u8]]| words.iter().any(|word| memmem::find(text.as_bytes(), word).is_some());
    let text = input.len() + instructions.len() + tools.len();
    let schema = body.size("text");
    let format = output_format(&body);
    let size = Size {
        text: text.saturating_sub(images.bytes),
        schema,
        rest: bytes.len().saturating_sub(text + schema),
        images: images.count,
        has_media: has(input, &OTHER_MEDIA) || has(tools, &HOSTED_TOOLS) || kept(&body).next().is_some(),
        tools: tools.starts_with('[') && !is_empty_array(tools),
        max_output,
        choices: 1,
        ..Size::default()
    };
    Ok(Inference {
        operation,
        model,
        stream,
        // The last event of a stream always has the usage.
        wants_usage: true,
        project_id,
        routing: body.routing(),
        needs: Needs {
            tools: size.tools,
            json_mode: format.as_deref() == Some("json_object"),
            json_schema: format.as_deref() == Some("json_schema"),
            vision: images.count > 0,
            input_tokens: size.needed_tokens(),
            output_tokens: max_output,
            effort: effort(&body),
            min_tier,
        },
        size,
        session: body.value("prompt_cache_key"),
        prompt: if instructions.len() < LONG_INSTRUCTIONS { input } else { instructions },
        body,
    })
}

/// `input` as written: a text, or a list of items. Only a request whose prompt is at the provider may have none.
fn input<'a>(body: &Body<'a>) -> Result<&'a str, Error> {
    match body.find("input") {
        Some(member) if member.value.starts_with(['"', '[']) => Ok(member.value),
        Some(member) if member.value != "null" => {
            Err(body.wrong_type("input", member, "a string or an array of items"))
        }
        _ if INSTEAD_OF_INPUT.iter().any(|name| body.value(name).is_some()) => Ok(""),
        _ => {
            let message = "'input' is missing; it must be a string or an array of items";
            Err(Error::new(Code::MissingInput, message).with_param("input"))
        }
    }
}

/// Counts the images: unlike in Chat Completions, each has the word `image_url` once, or only the id of a file.
fn images(input: &str) -> Images {
    let count = |word: &[u8]| memmem::find_iter(input.as_bytes(), word).count();
    let images = Images::of(input.as_bytes());
    Images { count: images.count.max(count(b"\"image_url\"")).max(count(b"\"input_image\"")), ..images }
}

/// The fields of a request that refer to what only the provider has, or ask for a response that it has to keep.
fn kept(body: &Body<'_>) -> impl Iterator<Item = (&'static str, Kept)> {
    KEPT.into_iter().filter(|(name, _)| body.value(name).is_some_and(|value| value != "false"))
}

impl Inference<'_> {
    /// `previous_response_id`: the id of the response that the request continues. Fails if it is no id.
    pub fn previous_response_id(&self) -> Result<Option<String>, Error> {
        if !matches!(self.operation.format, Format::Responses | Format::Compaction) {
            return Ok(None);
        }
        let given = self.body.typed::<String>(PREVIOUS, "a string")?;
        match given {
            Some(id) if !is_response_id(&id) => {
                let message = format!("'{PREVIOUS}' must be the id of a response, such as resp_123");
                Err(Error::new(Code::InvalidValue, message).with_param(PREVIOUS))
            }
            given => Ok(given),
        }
    }

    /// Returns `true` if a provider that keeps responses keeps the one to this request.
    pub fn is_stored(&self) -> bool {
        self.operation.format == Format::Responses && self.body.value("store") != Some("false")
    }
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
}

/// The type of `text.format`.
fn output_format<'a>(body: &Body<'a>) -> Option<Cow<'a, str>> {
    let [format] = members::pick(body.value("text")?.as_bytes(), &["format"]).ok()?;
    serde_json::from_str::<Typed<'a>>(format?.value).ok()?.kind
}

/// The tier for `reasoning.effort`.
fn effort(body: &Body<'_>) -> Option<Tier> {
    let [effort] = members::pick(body.value("reasoning")?.as_bytes(), &["effort"]).ok()?;
    match effort?.value.trim_matches('"') {
        "none" | "minimal" | "low" => Some(Tier::Low),
        "medium" => Some(Tier::Medium),
        "high" | "xhigh" | "max" => Some(Tier::High),
        _ => None,
    }
}

/// Checks that an upstream of this format accepts a request: what refers to a kept response passes only to providers that
/// keep responses. Others may ignore the field, and then answer without the conversation.
pub fn check(request: &Inference<'_>, upstream: &Upstream<'_>) -> Result<(), Error> {
    let keeps = upstream.provider.keeps;
    let Some((field, _)) = kept(&request.body).find(|(_, kept)| !keeps.contains(kept)) else { return Ok(()) };
    let what = STATE.iter().find(|(name, _)| *name == field).map_or("", |(_, what)| what);
    Err(Error::new(Code::UnsupportedParameter, format!("'{field}' {what}")).with_param(field))
}

/// Writes a request for an upstream. Fails as [`check`] does.
pub fn outgoing(
    request: &Inference<'_>,
    upstream: &Upstream<'_>,
    output_limit: Option<u64>,
) -> Result<Outgoing, Error> {
    check(request, upstream)?;
    let body = &request.body;
    let mut edits = body.addressed_to(upstream, &request.model);
    if let Some(input) = body.find("input") {
        let lane = Maker::of(&upstream.provider.name, upstream.model);
        remove_reasoning(input.value, Some(lane), |place, replacement| {
            edits.replace_in(input, place, replacement);
        });
    }
    if let Some(limit) = output_limit
        && request.size.max_output.is_none_or(|most| most > limit)
    {
        limit_output(body, &mut edits, limit);
    }
    let (body, adjusted) = edits.finish();
    let responder = Responder {
        format: Format::Responses,
        hide_usage: false,
        ends_without_done: false,
        translation: None,
    };
    Ok(Outgoing { body, adjusted, responder })
}

fn limit_output(body: &Body<'_>, edits: &mut Edits<'_, '_>, limit: u64) {
    let text = limit.to_string();
    edits.adjusted.push(format!("max_output_tokens={text}"));
    match body.find("max_output_tokens") {
        Some(member) => edits.replace(member, text.into_bytes()),
        None => edits.insert("max_output_tokens", text.as_bytes()),
    }
}

/// Leaves out all reasoning of earlier turns. Messages and calls that it led to lose their ids: by an id, the provider looks
/// for the reasoning that belongs to it.
pub(crate) fn leave_out_reasoning<'a>(body: &Body<'a>, edits: &mut Edits<'_, 'a>) {
    let Some(input) = body.find("input") else { return };
    let mut is_changed = false;
    remove_reasoning(input.value, None, |place, replacement| {
        edits.replace_in(input, place, replacement);
        is_changed = true;
    });
    if is_changed {
        edits.adjusted.push("reasoning".to_owned());
    }
}

/// An item of the input, as far as reasoning is concerned.
#[derive(Deserialize)]
struct Reasoning<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    encrypted_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
}

impl Reasoning<'_> {
    /// Returns `true` for reasoning, and for a reference to it.
    fn is_reasoning(&self) -> bool {
        let is_reference =
            || self.kind == "item_reference" && self.id.as_ref().is_some_and(|id| id.starts_with("rs_"));
        self.kind == "reasoning" || is_reference()
    }
}

/// Takes reasoning out of the input that the gateway has carried from another lane ([`carrier`]). A lane gets its own
/// blob back as it was. Without a lane, all reasoning is taken out, and the ids of messages and calls with it.
fn remove_reasoning(
    input: &str,
    lane: Option<Maker>,
    mut replace: impl FnMut(std::ops::Range<usize>, Vec<u8>),
) {
    if lane.is_some() && memmem::find(input.as_bytes(), carrier::MARK.as_bytes()).is_none() {
        return;
    }
    let items = items(input);
    let mut is_foreign = Vec::with_capacity(items.len());
    for item in &items {
        let reasoning = serde_json::from_str::<Reasoning<'_>>(item).ok();
        let Some(lane) = lane else {
            is_foreign.push(reasoning.as_ref().is_some_and(Reasoning::is_reasoning));
            if reasoning
                .is_some_and(|item| matches!(&*item.kind, "message" | "function_call" | "custom_tool_call"))
            {
                let bytes = item.as_bytes();
                let Ok(members) = Members::read(bytes, &[]) else { continue };
                let start = place(input, item).start;
                for (place, nothing) in members::removals(bytes, members.all("id").collect()) {
                    replace(start + place.start..start + place.end, nothing);
                }
            }
            continue;
        };
        let reasoning = reasoning.filter(|item| item.kind == "reasoning");
        let value = reasoning.and_then(|item| item.encrypted_content).map(RawValue::get);
        let text: Cow<'_, str> = value.and_then(|value| serde_json::from_str(value).ok()).unwrap_or_default();
        let is_marked = text.starts_with(carrier::MARK);
        let own = Blob::read(&text).filter(|blob| blob.kind == Kind::Encrypted && blob.maker == lane);
        if let (Some(value), Some(blob)) = (value, &own) {
            replace(place(input, value), json_text(&blob.data));
        }
        is_foreign.push(is_marked && own.is_none());
    }
    for (place, replacement) in removals(input, &items, &is_foreign) {
        replace(place, replacement);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Entry, Registry};
    use crate::config::Config;
    use crate::operation::RESPONSES;
    use serde_json::{Value, json};

    fn read(body: &str) -> Result<Inference<'_>, Error> {
        super::read(&RESPONSES, body.as_bytes())
    }

    /// A provider of the operator's, or a built-in one with a key.
    fn provider(name: &str) -> Entry {
        let config =
            r#"{"providers":{"acme":{"base_url":"http://a.example","auth":"none","formats":["responses"]}}}"#;
        let key = |name: &str| name.ends_with("_API_KEY").then(|| "sk-x".to_owned());
        let registry = Registry::new(&Config::read("{}", Some(config)).unwrap(), false, key);
        registry.into_entries().into_iter().find(|entry| entry.name == name).unwrap()
    }

    fn sent(body: &str, provider: &Entry, limit: Option<u64>) -> Result<(String, Vec<String>), Error> {
        let upstream = Upstream { provider, model: "up", own_routing: false };
        let request = read(body)?;
        assert_eq!(check(&request, &upstream).is_ok(), outgoing(&request, &upstream, limit).is_ok());
        let Outgoing { body: changed, adjusted, responder } = outgoing(&request, &upstream, limit)?;
        assert_eq!((responder.format, responder.translation), (Format::Responses, None));
        Ok((changed.map_or_else(|| body.to_owned(), |body| String::from_utf8(body).unwrap()), adjusted))
    }

    #[test]
    fn reads_what_routing_needs() {
        let input = r#"[{"role":"user","content":[{"type":"input_text","text":"hi"},{"type":"input_image","image_url":"u"},{"type":"input_image","image_url":"data:image/png;base64,AAAA"}]}]"#;
        let body = format!(
            r#"{{"model":"m","input":{input},"stream":true,"max_output_tokens":50,"tools":[{{"type":"function","name":"f"}}],"text":{{"format":{{"type":"json_schema","schema":{{}}}}}},"reasoning":{{"effort":"high"}},"prompt_cache_key":"k","project_id":"p"}}"#
        );
        let request = read(&body).unwrap();
        let needs = Needs {
            tools: true,
            json_schema: true,
            vision: true,
            input_tokens: request.size.needed_tokens(),
            output_tokens: Some(50),
            effort: Some(Tier::High),
            ..Needs::default()
        };
        assert_eq!(request.needs, needs);
        assert!(request.stream && request.wants_usage);
        assert_eq!((request.session, request.prompt), (Some("\"k\""), input));
        let Size { images, max_output, choices, has_media, .. } = request.size;
        assert_eq!((images, max_output, choices, has_media), (2, Some(50), 1, false));
        assert!(request.size.text < input.len() + 40);
        let long = format!("\"{}\"", "x".repeat(5_000));
        let body = format!(r#"{{"model":"m","input":"hi","instructions":{long}}}"#);
        assert_eq!(read(&body).unwrap().prompt, long);
    }

    #[test]
    fn media_and_kept_conversations_have_an_unknown_size() {
        for (rest, expected) in [
            (r#""input":"hi","background":false,"previous_response_id":null"#, false),
            (r#""input":[{"role":"user","content":[{"type":"input_file","file_url":"u"}]}]"#, true),
            (r#""input":"hi","tools":[{"type":"web_search"}]"#, true),
            (r#""previous_response_id":"resp_1""#, true),
            (r#""prompt":{"id":"p"}"#, true),
            (r#""input":"hi","background":true"#, true),
        ] {
            let body = format!(r#"{{"model":"m",{rest}}}"#);
            assert_eq!(read(&body).unwrap().size.has_media, expected, "{rest}");
        }
    }

    #[test]
    fn rejects_what_it_cannot_act_on() {
        for (body, code, param) in [
            (r#"{"input":"a"}"#, "missing_model", "model"),
            (r#"{"model":"m"}"#, "missing_input", "input"),
            (r#"{"model":"m","input":null}"#, "missing_input", "input"),
            (r#"{"model":"m","input":{}}"#, "invalid_type", "input"),
            (r#"{"model":"m","input":"a","stream":1}"#, "invalid_type", "stream"),
            (r#"{"model":"m","input":"a","max_output_tokens":"9"}"#, "invalid_type", "max_output_tokens"),
            (r#"{"model":"m","input":"a","input":"b"}"#, "duplicate_member", "input"),
        ] {
            let error = read(body).unwrap_err();
            assert_eq!((error.code(), error.param.as_deref()), (Some(code), Some(param)), "{body}");
        }
    }

    #[test]
    fn only_the_gateways_own_fields_change() {
        let acme = provider("acme");
        let body = r#"{"project_id":"p","model":"m", "input" : "hi","x":1.50, "models":["a"]}"#;
        assert_eq!(sent(body, &acme, None).unwrap().0, r#"{"model":"up", "input" : "hi","x":1.50}"#);
        let same = r#"{ "model":"up","input":[],"store":false }"#;
        assert_eq!(sent(same, &acme, None).unwrap(), (same.to_owned(), vec![]));
    }

    #[test]
    fn a_retry_leaves_out_the_reasoning_and_the_ids_of_what_it_led_to() {
        let acme = provider("acme");
        let upstream = Upstream { provider: &acme, model: "up", own_routing: false };
        let without = |body: &str| {
            let out = read(body).unwrap().outgoing_without_reasoning(&upstream, None).unwrap();
            (out.body.map(|body| String::from_utf8(body).unwrap()), out.adjusted)
        };
        let body = |input: &str| format!(r#"{{"model":"up","input":{input}}}"#);
        for (input, expected) in [
            (
                r#"[{"role":"user","content":"reasoning"}, {"id":"rs_1","type":"reasoning","encrypted_content":"gAAA"}, {"type":"function_call","id":"fc_1","call_id":"c"}]"#,
                r#"[{"role":"user","content":"reasoning"}, {"type":"function_call","call_id":"c"}]"#,
            ),
            (
                r#"[{"type":"item_reference","id":"rs_1"},{"id":"msg_1","type":"message"},{"type":"item_reference","id":"msg_2"}]"#,
                r#"[{"type":"message"},{"type":"item_reference","id":"msg_2"}]"#,
            ),
        ] {
            assert!(read(&body(input)).unwrap().has_reasoning());
            assert_eq!(without(&body(input)), (Some(body(expected)), vec!["reasoning".to_owned()]));
        }
        for input in
            [r#""reasoning""#, r#"[{"role":"user","content":"a"},{"type":"web_search_call","id":"ws_1"}]"#]
        {
            assert!(!read(&body(input)).unwrap().has_reasoning(), "{input}");
            assert_eq!(without(&body(input)), (None, vec![]));
        }
    }

    #[test]
    fn a_budget_limits_the_output() {
        let acme = provider("acme");
        for (rest, limit, expected, adjusted) in [
            ("", 20, r#","max_output_tokens":20"#, true),
            (r#","max_output_tokens":null"#, 20, r#","max_output_tokens":20"#, true),
            (r#","max_output_tokens":50"#, 20, r#","max_output_tokens":20"#, true),
            (r#","max_output_tokens":10"#, 20, r#","max_output_tokens":10"#, false),
        ] {
            let (sent, names) =
                sent(&format!(r#"{{"model":"up","input":"a"{rest}}}"#), &acme, Some(limit)).unwrap();
            assert_eq!(sent, format!(r#"{{"model":"up","input":"a"{expected}}}"#));
            let expected: &[&str] = if adjusted { &["max_output_tokens=20"] } else { &[] };
            assert_eq!(names, expected, "{rest}");
        }
    }

    #[test]
    fn kept_responses_pass_only_to_providers_that_keep_them() {
        for (field, value) in [
            ("previous_response_id", json!("resp_1")),
            ("conversation", json!({"id": "conv_1"})),
            ("prompt", json!({"id": "p"})),
            ("background", json!(true)),
        ] {
            let body = json!({"model": "up", "input": "a", field: value}).to_string();
            let error = sent(&body, &provider("acme"), None).unwrap_err();
            assert_eq!((error.code(), error.param.as_deref()), (Some("unsupported_parameter"), Some(field)));
            assert_eq!(sent(&body, &provider("openai"), None).unwrap().0, body);
            assert_eq!(sent(&body, &provider("azure"), None).unwrap().0, body);
            for (name, keeps) in [("xai", field == "previous_response_id"), ("groq", false)] {
                assert_eq!(sent(&body, &provider(name), None).is_ok(), keeps, "{name} {field}");
            }
        }
        let both = json!({"model": "up", "previous_response_id": "resp_1", "background": true}).to_string();
        let error = sent(&both, &provider("fireworks"), None).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("background"));
    }

    #[test]
    fn the_id_of_an_earlier_response_is_a_segment_of_a_path() {
        let previous = |rest: &str| {
            let body = format!(r#"{{"model":"m","input":"a"{rest}}}"#);
            read(&body).unwrap().previous_response_id()
        };
        for (rest, expected) in [
            ("", Ok(None)),
            (r#","previous_response_id":null"#, Ok(None)),
            (r#","previous_response_id":"resp_1-a""#, Ok(Some("resp_1-a".to_owned()))),
            (r#","previous_response_id":"../x""#, Err("invalid_value")),
            (r#","previous_response_id":"""#, Err("invalid_value")),
            (r#","previous_response_id":7"#, Err("invalid_type")),
        ] {
            let found = previous(rest);
            let found = found.map_err(|error| error.code().map(str::to_owned).unwrap());
            assert_eq!(found, expected.map_err(str::to_owned), "{rest}");
        }
        let chat = br#"{"model":"m","messages":[],"previous_response_id":"resp_1"}"#;
        let chat = crate::format::read(&crate::operation::CHAT_COMPLETIONS, chat).unwrap();
        assert_eq!((chat.previous_response_id(), chat.is_stored()), (Ok(None), false));
    }

    #[test]
    fn a_response_is_stored_unless_the_request_says_otherwise() {
        for (rest, expected) in
            [("", true), (r#","store":true"#, true), (r#","store":null"#, true), (r#","store":false"#, false)]
        {
            let body = format!(r#"{{"model":"m","input":"a"{rest}}}"#);
            assert_eq!(read(&body).unwrap().is_stored(), expected, "{rest}");
        }
    }

    #[test]
    fn reasoning_of_other_lanes_is_taken_out_and_own_reasoning_is_unmarked() {
        let acme = provider("acme");
        let blob = |maker, kind| Blob { kind, maker, data: "d".to_owned() }.to_text();
        let own = blob(Maker::of("acme", "up"), Kind::Encrypted);
        let foreign = blob(Maker::of("acme", "other"), Kind::Encrypted);
        let signature = blob(Maker::of("acme", "up"), Kind::Signature);
        let reasoning = |text: &str| json!({"type": "reasoning", "summary": [], "encrypted_content": text});
        let said = json!({"role": "user", "content": "gatehouse:encrypted:0:x"});
        let request = |input: &[Value]| json!({"model": "up", "input": input}).to_string();
        for (input, expected) in [
            (vec![reasoning(&foreign), said.clone()], vec![said.clone()]),
            (vec![said.clone(), reasoning(&signature)], vec![said.clone()]),
            (vec![reasoning(&own), said.clone()], vec![reasoning("d"), said.clone()]),
            (vec![reasoning("gAAAA"), said.clone()], vec![reasoning("gAAAA"), said.clone()]),
            (vec![reasoning(&foreign)], vec![]),
        ] {
            let (sent, _) = sent(&request(&input), &acme, None).unwrap();
            assert_eq!(sent, request(&expected));
        }
    }
}
