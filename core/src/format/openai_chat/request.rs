//! Chat Completions requests: reads the caller's, and writes the upstream's.
//!
//! Changes: `model` becomes the provider's own id, the gateway's fields are removed, a stream asks for usage, and
//! fields that the provider is known to reject are dropped, renamed or limited, which the caller sees in a header.
//! Every other field, known or not, is forwarded unchanged.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::catalog::{Quirk, StreamUsage};
use crate::conversation::carrier;
use crate::error::Error;
use crate::format::body::{Body, Edits, lenient_count};
use crate::format::request::{Inference, Needs, Outgoing, Responder, Size};
use crate::format::size::Images;
use crate::format::upstream::Upstream;
use crate::json::members::{self, Members, is_empty_array};
use crate::operation::{Format, Operation};
use crate::tier::Tier;

/// The fields that the gateway acts on; each may appear only once.
const ONCE: &[&str] = &[
    "model",
    "messages",
    "stream",
    "stream_options",
    "project_id",
    "models",
    "provider",
    "usage",
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
/// The fields that limit the output, in tokens.
const OUTPUT_LIMITS: [&str; 2] = ["max_completion_tokens", "max_tokens"];
/// The fields of a message in which clients echo reasoning.
const REASONING: [&str; 4] = ["reasoning_details", "thinking_blocks", "reasoning_content", "reasoning"];
const INCLUDE_USAGE: &[u8] = br#"{"include_usage":true}"#;

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// The value of `OpenRouter`'s field `usage`.
#[derive(Deserialize)]
struct IncludeUsage {
    include: Option<bool>,
}

#[derive(Deserialize)]
struct ResponseFormat<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
}

/// Reads a body.
pub fn read<'a>(operation: &'static Operation, bytes: &'a [u8]) -> Result<Inference<'a>, Error> {
    let body = Body::read(bytes, ONCE)?;
    let model = body.model()?;
    let messages = body.array("messages", "messages")?;
    let stream = body.typed::<bool>("stream", "true or false")?.unwrap_or(false);
    let wants_usage = wants_usage(&body)?;
    let project_id = body.project_id()?;
    let min_tier = body.typed::<Tier>("min_reasoning_level", "\"low\", \"medium\" or \"high\"")?;
    let images = Images::of(messages.as_bytes());
    let tools = offers_tools(&body);
    let format = output_format(&body);
    let text = messages.len() + body.size("tools") + body.size("functions");
    let schema = body.size("response_format");
    let size = Size {
        text: text.saturating_sub(images.bytes),
        schema,
        rest: bytes.len().saturating_sub(text + schema),
        images: images.count,
        has_media: has_media(messages),
        tools,
        max_output: requested_output(&body),
        choices: body.find("n").and_then(|member| lenient_count(member.value)).unwrap_or(1).max(1),
        ..Size::default()
    };
    // Values that are not numbers are left to the provider to reject.
    let tokens = |name: &str| body.find(name).and_then(|member| member.value.parse().ok());
    Ok(Inference {
        operation,
        model,
        stream,
        wants_usage,
        project_id,
        routing: body.routing(),
        needs: Needs {
            tools,
            json_mode: format == Some(OutputFormat::Object),
            json_schema: format == Some(OutputFormat::Schema),
            vision: images.count > 0,
            input_tokens: size.needed_tokens(),
            output_tokens: OUTPUT_LIMITS.iter().find_map(|name| tokens(name)),
            effort: body.find("reasoning_effort").and_then(|member| effort_tier(member.value)),
            min_tier,
        },
        size,
        session: body.value("prompt_cache_key"),
        prompt: messages,
        body,
    })
}

/// The least prompt that is searched for embedded media, in bytes: shorter ones cannot hold many.
const LEAST_MEDIA: usize = 16 * 1024;

/// Returns `true` if messages embed audio or files.
fn has_media(messages: &str) -> bool {
    let has = |name: &[u8]| memchr::memmem::find(messages.as_bytes(), name).is_some();
    messages.len() > LEAST_MEDIA
        && (has(b"\"input_audio\"") || has(b"\"file_data\"") || has(b"\"video_url\""))
}

/// Returns `true` if the caller asks for the usage of a stream.
pub(super) fn wants_usage(body: &Body<'_>) -> Result<bool, Error> {
    if let Some(member) = body.find("stream_options")
        && !member.value.starts_with('{')
        && member.value != "null"
    {
        return Err(body.wrong_type("stream_options", member, "an object"));
    }
    let options =
        body.typed::<StreamOptions>("stream_options", "an object whose include_usage is true or false")?;
    let stated = options.and_then(|options| options.include_usage);
    // OpenRouter's word for it.
    let asks = || {
        let usage: Option<IncludeUsage> = serde_json::from_str(body.value("usage")?).ok();
        usage?.include
    };
    Ok(stated.or_else(asks).unwrap_or(false))
}

/// Returns `true` if the request offers tools.
fn offers_tools(body: &Body<'_>) -> bool {
    ["tools", "functions"]
        .iter()
        .any(|name| body.value(name).is_some_and(|value| value.starts_with('[') && !is_empty_array(value)))
}

/// The longest output that a provider may read the request to allow, in tokens: the larger of the two fields, because
/// some providers know only one of them.
fn requested_output(body: &Body<'_>) -> Option<u64> {
    let requested = OUTPUT_LIMITS.iter().filter_map(|name| lenient_count(body.value(name)?));
    requested.filter(|tokens| *tokens > 0).max()
}

/// The JSON output formats.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OutputFormat {
    /// `json_object`
    Object,
    /// `json_schema`
    Schema,
}

fn output_format(body: &Body<'_>) -> Option<OutputFormat> {
    let format: ResponseFormat<'_> = serde_json::from_str(body.value("response_format")?).ok()?;
    match format.kind.as_deref()? {
        "json_object" => Some(OutputFormat::Object),
        "json_schema" => Some(OutputFormat::Schema),
        _ => None,
    }
}

/// Writes a request for an upstream.
pub fn outgoing(request: &Inference<'_>, upstream: &Upstream<'_>, output_limit: Option<u64>) -> Outgoing {
    let body = &request.body;
    let on_request = upstream.provider.stream_usage == StreamUsage::OnRequest;
    let may_ask = !upstream.provider.quirks.iter().any(|quirk| quirk.takes("stream_options"));
    let hide_usage = request.stream && !request.wants_usage && on_request;
    let mut edits = body.addressed_to(upstream, &request.model);
    if body.find("reasoning_effort").is_some_and(|member| member.value == "\"auto\"") {
        // A value of the gateway, which no provider knows.
        edits.remove("reasoning_effort");
    }
    if let Some(messages) = body.find("messages")
        && let Some(changed) = without_reasoning(messages.value, Some(carrier::MARK))
    {
        edits.replace(messages, changed);
        edits.adjusted.push("reasoning".to_owned());
    }
    if let Some(limit) = output_limit {
        limit_output(body, &mut edits, limit, upstream, request.operation.format);
    }
    // OpenRouter's word for usage has been removed.
    let is_reworded = request.stream && request.wants_usage && on_request && body.find("usage").is_some();
    if (hide_usage || is_reworded) && may_ask {
        ask_for_usage(body, &mut edits);
    }
    let (body, adjusted) = edits.finish();
    let ends_without_done = upstream.provider.ends_without_done;
    let responder =
        Responder { format: request.operation.format, hide_usage, ends_without_done, translation: None };
    Outgoing { body, adjusted, responder }
}

/// Leaves out all reasoning of earlier turns.
pub(crate) fn leave_out_reasoning<'a>(body: &Body<'a>, edits: &mut Edits<'_, 'a>) {
    if let Some(messages) = body.find("messages")
        && let Some(changed) = without_reasoning(messages.value, None)
    {
        edits.replace(messages, changed);
        edits.adjusted.push("reasoning".to_owned());
    }
}

/// The messages without the reasoning that has a mark, `None` for any; `None` if there is none. Providers reject what the
/// gateway has carried from a lane of another format ([`carrier`]). Its text goes too: it is not this provider's.
fn without_reasoning(messages: &str, mark: Option<&str>) -> Option<Vec<u8>> {
    let is_marked =
        |text: &str| mark.is_none_or(|mark| memmem::find(text.as_bytes(), mark.as_bytes()).is_some());
    if !is_marked(messages) {
        return None;
    }
    let all: Vec<&RawValue> = serde_json::from_str(messages).ok()?;
    let mut is_changed = false;
    let written: Vec<Vec<u8>> = all
        .into_iter()
        .map(|message| {
            let bytes = message.get().as_bytes();
            let Ok(members) = Members::read(bytes, &[]) else { return bytes.to_vec() };
            let reasoning = || REASONING.iter().flat_map(|name| members.all(name));
            if !reasoning().any(|member| is_marked(member.value)) {
                return bytes.to_vec();
            }
            is_changed = true;
            members::splice(bytes, &members::removals(bytes, reasoning().collect()))
        })
        .collect();
    is_changed.then(|| [b"[", &*written.join(&b","[..]), b"]"].concat())
}

/// Limits the output of each choice. Runs after the quirks, which decide the remaining fields and their names.
fn limit_output(
    body: &Body<'_>,
    edits: &mut Edits<'_, '_>,
    limit: u64,
    upstream: &Upstream<'_>,
    format: Format,
) {
    let provider = upstream.provider;
    let text = limit.to_string();
    // The first name is used for insertion: OpenAI's reasoning models accept no other, and other providers may not know
    // it.
    let mut names: Vec<&str> = OUTPUT_LIMITS.to_vec();
    if !matches!(provider.name.as_str(), "openai" | "azure") || format == Format::Completions {
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
    let is_accepted = |name: &str| {
        let rejects =
            |quirk: &Quirk| matches!(quirk, Quirk::Drop(old) | Quirk::Rename(old, _) if old == name);
        !provider.quirks.iter().any(rejects)
    };
    let mut is_limited = false;
    let mut empty = None;
    for name in &names {
        for member in body.all(name) {
            if edits.is_removed(member) {
                continue;
            }
            if member.value == "null" {
                // Counts as absent, and is only used if there is no other: some providers reject requests with both.
                empty = empty.or_else(|| is_accepted(name).then_some((*name, member)));
                continue;
            }
            is_limited = true;
            // A value that is not a number of at least 1 may mean that there is no limit.
            if lenient_count(edits.value(member)).is_some_and(|tokens| (1..=limit).contains(&tokens)) {
                continue;
            }
            edits.replace(member, text.clone().into_bytes());
            edits.adjusted.push(format!("{name}={text}"));
        }
    }
    if is_limited {
        return;
    }
    if let Some((name, member)) = empty {
        edits.replace(member, text.clone().into_bytes());
        edits.adjusted.push(format!("{name}={text}"));
    } else if let Some(name) = names.into_iter().find(|name| is_accepted(name)) {
        edits.insert(name, text.as_bytes());
        edits.adjusted.push(format!("{name}={text}"));
    }
}

/// Sets `stream_options.include_usage` to `true` without changing its other fields.
fn ask_for_usage(body: &Body<'_>, edits: &mut Edits<'_, '_>) {
    let Some(options) = body.find("stream_options") else {
        edits.insert("stream_options", INCLUDE_USAGE);
        return;
    };
    let Ok(inner) = members::Members::read(options.value.as_bytes(), &["include_usage"]) else {
        edits.replace(options, INCLUDE_USAGE.to_vec());
        return;
    };
    if let Some(include_usage) = inner.get("include_usage") {
        edits.replace_in(options, include_usage.place.clone(), b"true".to_vec());
        return;
    }
    let comma = if inner.is_empty() { "" } else { "," };
    let member = format!(r#"{comma}"include_usage":true"#).into_bytes();
    edits.replace_in(options, inner.end..inner.end, member);
}

/// The tier for a `reasoning_effort` as written: OpenAI's values; none for the gateway's `auto`.
fn effort_tier(value: &str) -> Option<Tier> {
    match value.trim_matches('"') {
        "none" | "minimal" | "low" => Some(Tier::Low),
        "medium" => Some(Tier::Medium),
        "high" | "xhigh" => Some(Tier::High),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::catalog::{Entry, Registry};
    use crate::config::Config;
    use crate::operation::CHAT_COMPLETIONS;
    use proptest::prelude::*;

    fn read(body: &str) -> Result<Inference<'_>, Error> {
        super::read(&CHAT_COMPLETIONS, body.as_bytes())
    }

    fn written(request: &Inference<'_>, model: &str, provider: &Entry, limit: Option<u64>) -> Outgoing {
        let upstream = Upstream { provider, model, own_routing: provider.own_routing };
        super::outgoing(request, &upstream, limit)
    }

    /// A provider with the given settings.
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
        let out = written(&read(body).unwrap(), model, provider, None);
        (
            out.body
                .as_ref()
                .map_or_else(|| body.to_owned(), |body| String::from_utf8(body.clone()).unwrap()),
            out,
        )
    }

    fn outgoing(body: &str, model: &str, usage: StreamUsage) -> (String, bool) {
        let (body, out) = sent(body, model, &provider("", usage));
        (body, out.responder.hide_usage)
    }

    #[test]
    fn the_fields_of_the_gateway_are_removed() {
        for (body, expected) in [
            (
                r#"{"models":["a/b"],"provider":{"only":["a"]},"model":"m","messages":[]}"#,
                r#"{"model":"m","messages":[]}"#,
            ),
            (
                r#"{"model":"m","usage":{"include":true},"transforms":[],"route":"fallback","messages":[]}"#,
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
        let body = r#"{"models":["a/b"],"provider":{"only":["a"]},"usage":{"include":true},"model":"m","messages":[]}"#;
        assert_eq!(sent(body, "m", &own).0, body);
    }

    #[test]
    fn openrouters_word_for_usage_is_translated() {
        let body = r#"{"model":"m","usage":{"include":true},"stream":true,"messages":[]}"#;
        let expected = r#"{"model":"m","stream":true,"messages":[],"stream_options":{"include_usage":true}}"#;
        assert_eq!(outgoing(body, "m", StreamUsage::OnRequest), (expected.to_owned(), false));
    }

    #[test]
    fn quirks_are_applied_and_reported() {
        let mut acme =
            provider(r#","drop":["logprobs","x"],"rename":{"seed":"random_seed"}"#, StreamUsage::Always);
        acme.quirks.to_mut().push(Quirk::AtLeast("temperature".into(), "1e-8".into()));
        acme.quirks.to_mut().push(Quirk::AtMost("top_p".into(), "1".into()));
        for (given, expected, adjusted) in [
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
            assert_eq!(out.adjusted.join(" "), adjusted, "{given}");
        }
        let (first, _) = sent(r#"{"seed":7,"model":"m","messages":[]}"#, "m", &acme);
        assert_eq!(first, r#"{"random_seed":7,"model":"m","messages":[]}"#);
    }

    #[test]
    fn reasoning_of_other_formats_is_not_sent() {
        let mark =
            r#"[{"type":"reasoning.text","text":"t","signature":"gatehouse:signature:0:s","index":0}]"#;
        let marked = format!(
            r#"{{"role":"assistant","reasoning_content":"t","content":"a", "reasoning_details":{mark}}}"#
        );
        let own = r#"{"role":"assistant","content":"gatehouse: b","reasoning_content":"t"}"#;
        let acme = provider("", StreamUsage::Always);
        let (found, out) = sent(&format!(r#"{{"model":"m","messages":[{marked}, {own}]}}"#), "m", &acme);
        assert_eq!(
            found,
            format!(r#"{{"model":"m","messages":[{{"role":"assistant","content":"a"}},{own}]}}"#)
        );
        assert_eq!(out.adjusted, ["reasoning"]);
        let unmarked = format!(r#"{{"model":"m","messages":[{own}]}}"#);
        assert_eq!(written(&read(&unmarked).unwrap(), "m", &acme, None).body, None);
    }

    fn renaming(old: &'static str, new: &'static str) -> Quirk {
        Quirk::Rename(old.into(), new.into())
    }

    #[test]
    fn the_output_is_limited_by_a_field_that_the_provider_accepts() {
        const BOTH: [&str; 2] = OUTPUT_LIMITS;
        let newer = || vec![renaming(BOTH[1], BOTH[0])];
        let older = || vec![renaming(BOTH[0], BOTH[1])];
        for (name, quirks, given, expected, adjusted) in [
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
            let out = written(&read(&body).unwrap(), "m", &acme, Some(9));
            let sent = out.body.map_or_else(|| body.clone(), |body| String::from_utf8(body).unwrap());
            assert_eq!(sent, format!(r#"{{"model":"m","messages":[]{expected}}}"#), "{name} {given}");
            assert_eq!(out.adjusted.join(" "), adjusted, "{name} {given}");
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
        /// For any request and any quirks: the body sent is an object without duplicate names, none of its output
        /// fields exceeds the limit, it has one unless the provider accepts none, and all other fields are unchanged.
        #[test]
        fn no_output_is_above_the_limit(
            order in Just(vec![
                ("model", "\"x\""), ("messages", "[ 1,{} ]"), ("stream", "true"), ("project_id", "\"p\""), ("other", " [\"}\" ,1]"),
                ("max_tokens", ""), ("max_completion_tokens", ""), ("longest", ""), ("stream_options", "{ }"),
            ]).prop_shuffle(),
            omitted in proptest::collection::vec(any::<bool>(), 9),
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
                .zip(omitted)
                .filter(|((member, _), omitted)| !omitted || needed(member.0))
                .map(|(((name, value), number), _)| {
                    let value = if value.is_empty() { &*number } else { value };
                    if spaces { format!(" \"{name}\" : {value} ") } else { format!("\"{name}\":{value}") }
                })
                .collect();
            let body = format!("{{{}}}", given.join(","));
            let out = written(&read(&body).unwrap(), "m", &acme, Some(limit));
            let sent = out.body.unwrap();
            let members = members::Members::read(&sent, &[]);
            prop_assert!(members.is_ok(), "{}", String::from_utf8_lossy(&sent));
            let members = members.unwrap();
            let of = |wanted: &str| -> Vec<&str> { members.all(wanted).map(|member| member.value).collect() };
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
    fn reads_the_needs_of_a_request() {
        let needs = |rest: &str| {
            let body = format!(r#"{{"model":"m","messages":[]{rest}}}"#);
            let Needs { tools, json_mode, json_schema, output_tokens, effort, .. } =
                super::read(&CHAT_COMPLETIONS, body.as_bytes()).unwrap().needs;
            (tools, json_mode, json_schema, output_tokens, effort)
        };
        assert_eq!(needs(""), (false, false, false, None, None));
        assert_eq!(needs(r#","tools":[],"max_tokens":null"#), (false, false, false, None, None));
        assert_eq!(needs(r#","tools":[{}],"max_tokens":5"#), (true, false, false, Some(5), None));
        assert_eq!(
            needs(r#","functions":[{}],"max_tokens":5,"max_completion_tokens":6,"reasoning_effort":"xhigh""#),
            (true, false, false, Some(6), Some(Tier::High))
        );
        assert!(needs(r#","response_format":{"type":"json_object"}"#).1);
        assert!(needs(r#","response_format":{"type":"json_schema","json_schema":{}}"#).2);
        assert_eq!(
            needs(r#","response_format":{"type":"text"},"reasoning_effort":"odd""#),
            (false, false, false, None, None)
        );
    }

    #[test]
    fn changes_only_the_named_fields() {
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
        let request = read(r#"{"model":"m","messages":[]}"#).unwrap();
        assert_eq!(written(&request, "m", &provider("", StreamUsage::OnRequest), None).body, None);
    }

    #[test]
    fn a_stream_requests_usage_and_hides_it_unless_the_caller_asked() {
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
    fn counts_are_read_leniently() {
        for value in ["5", "5.0", "4.2", "5e0", "\"5\"", "\" +5\"", "\"+5.0 \"", "0.5e1"] {
            assert_eq!(lenient_count(value), Some(5), "{value}");
        }
        for value in ["-1", "null", "\"many\"", "[5]"] {
            assert_eq!(lenient_count(value), None, "{value}");
        }
    }

    #[test]
    fn errors_name_the_field_and_the_position() {
        for (body, code, message) in [
            ("", "invalid_json", "The request body is not a JSON object: the body is empty"),
            ("[]", "invalid_json", "expected a JSON object"),
            (
                "{\"model\":\"m\",\n \"messages\":[}",
                "invalid_json",
                "line 2 column 14 (in or after field 'messages')",
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
            let error = read(body).unwrap_err();
            assert_eq!(error.code(), Some(code), "{body}: {}", error.message);
            assert!(error.message.contains(message), "{body}: {}", error.message);
        }
    }
}
