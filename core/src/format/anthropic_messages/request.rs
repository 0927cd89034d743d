//! Messages requests: reads the caller's, and writes the upstream's.
//!
//! Changes: `model` becomes the provider's own id, the gateway's fields are removed, the output is limited if a budget
//! requires it, and reasoning that the gateway has carried from a lane of another format is taken out. Every other field,
//! known or not, is forwarded unchanged.

use serde::Deserialize;

use super::blocks::{self, Media};
use crate::conversation::carrier::Maker;
use crate::error::{Code, Error};
use crate::format::body::{Body, Edits};
use crate::format::request::{Inference, Needs, Outgoing, Responder, Size};
use crate::format::size::TOKENS_PER_IMAGE;
use crate::format::upstream::Upstream;
use crate::json::members::{self, is_empty_array};
use crate::operation::{Format, Operation};
use crate::tier::Tier;

/// The fields that the gateway acts on; each may appear only once.
const ONCE: &[&str] = &[
    "model",
    "messages",
    "system",
    "max_tokens",
    "stream",
    "project_id",
    "models",
    "provider",
    "tools",
    "output_config",
    "output_format",
    "thinking",
    "metadata",
    "min_reasoning_level",
];
/// The instructions that Anthropic adds to the prompt for a tool that it defines, in bytes as [`Size::text`] counts them:
/// at least as many as tokens, of which the largest tool has 735.
const CLIENT_TOOL: usize = 1_024;
/// A part of the type of every tool that Anthropic defines, such as `bash_20250124`.
const TOOL_VERSION: &[u8] = b"_20";
/// System prompts shorter than this do not decide the affinity of a call: providers do not cache them by themselves.
const LONG_SYSTEM: usize = 4_096;
/// The least thinking that Anthropic accepts, in tokens.
const LEAST_THINKING: u64 = 1_024;

/// Reads the body of a call.
pub fn read<'a>(operation: &'static Operation, bytes: &'a [u8]) -> Result<Inference<'a>, Error> {
    let request = read_prompt(operation, bytes)?;
    if request.size.max_output.is_none() {
        let message = "'max_tokens' is missing; set it to the most tokens that the response may have";
        return Err(Error::new(Code::MissingMember, message).with_param("max_tokens"));
    }
    Ok(request)
}

/// Reads a body whose prompt is to be counted: there is no response, whose length `max_tokens` would limit.
pub fn read_prompt<'a>(operation: &'static Operation, bytes: &'a [u8]) -> Result<Inference<'a>, Error> {
    let body = Body::read(bytes, ONCE)?;
    let model = body.model()?;
    let messages = body.array("messages", "messages")?;
    let max_output = body.typed::<u64>("max_tokens", "a whole number of tokens")?;
    let stream = body.typed::<bool>("stream", "true or false")?.unwrap_or(false);
    let project_id = body.project_id()?;
    let min_tier = body.typed::<Tier>("min_reasoning_level", "\"low\", \"medium\" or \"high\"")?;
    let Media { images, has_documents } = blocks::media(messages);
    let tools = body.value("tools").unwrap_or_default();
    let system = body.value("system").unwrap_or_default();
    let client_tools = memchr::memmem::find_iter(tools.as_bytes(), TOOL_VERSION).count();
    let text = messages.len() + system.len() + tools.len();
    let output = Output::of(&body);
    let schema = body.size("output_config") + body.size("output_format");
    let size = Size {
        text: text.saturating_sub(images.bytes) + client_tools * CLIENT_TOOL,
        schema,
        rest: bytes.len().saturating_sub(text + schema),
        images: images.count,
        has_media: has_documents,
        tools: tools.starts_with('[') && !is_empty_array(tools),
        max_output,
        choices: 1,
        ..Size::default()
    };
    Ok(Inference {
        operation,
        model,
        stream,
        // A stream of Messages always has its usage.
        wants_usage: true,
        project_id,
        routing: body.routing(),
        needs: Needs {
            tools: size.tools,
            json_mode: false,
            json_schema: output.has_schema,
            vision: images.count > 0,
            input_tokens: size.needed_tokens(),
            output_tokens: max_output,
            effort: output.effort,
            min_tier,
        },
        size,
        session: user_id(&body),
        prompt: if system.len() < LONG_SYSTEM { messages } else { system },
        body,
    })
}

/// The end user. Claude Code writes the session into it.
fn user_id<'a>(body: &Body<'a>) -> Option<&'a str> {
    let [user] = members::pick(body.value("metadata")?.as_bytes(), &["user_id"]).ok()?;
    user.map(|user| user.value).filter(|user| *user != "null")
}

/// The wishes of a request for the output.
struct Output {
    has_schema: bool,
    effort: Option<Tier>,
}

#[derive(Deserialize)]
struct Thinking<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a str>,
    budget_tokens: Option<u64>,
}

impl Output {
    fn of(body: &Body<'_>) -> Output {
        let config = body.value("output_config").unwrap_or_default();
        let [format, effort] = members::pick(config.as_bytes(), &["format", "effort"]).unwrap_or_default();
        let says = |member: Option<members::Member<'_>>| member.is_some_and(|member| member.value != "null");
        let effort = effort.and_then(|effort| match effort.value.trim_matches('"') {
            "minimal" | "low" => Some(Tier::Low),
            "medium" => Some(Tier::Medium),
            "high" | "xhigh" | "max" => Some(Tier::High),
            _ => None,
        });
        Output {
            has_schema: says(format) || body.value("output_format").is_some(),
            effort: effort.or_else(|| thinking_tier(body.value("thinking")?)),
        }
    }
}

/// The tier for the field `thinking` as written. Adaptive thinking asks for none.
fn thinking_tier(value: &str) -> Option<Tier> {
    let Thinking { kind, budget_tokens } = serde_json::from_str(value).ok()?;
    match (kind?, budget_tokens) {
        ("disabled", _) | ("enabled", Some(..4_096)) => Some(Tier::Low),
        ("enabled", Some(4_096..16_384)) => Some(Tier::Medium),
        ("enabled", Some(_)) => Some(Tier::High),
        _ => None,
    }
}

/// Writes a request for an upstream.
pub fn outgoing(request: &Inference<'_>, upstream: &Upstream<'_>, output_limit: Option<u64>) -> Outgoing {
    let body = &request.body;
    let mut edits = body.addressed_to(upstream, &request.model);
    if let Some(messages) = body.find("messages") {
        let lane = Maker::of(&upstream.provider.name, upstream.model);
        for (place, replacement) in blocks::without_reasoning(messages.value, Some(lane)) {
            edits.replace_in(messages, place, replacement);
        }
    }
    if let (Some(limit), Some(most)) = (output_limit, request.size.max_output)
        && limit < most
    {
        limit_output(body, &mut edits, limit);
    }
    let (body, adjusted) = edits.finish();
    let responder = Responder {
        format: Format::Messages,
        hide_usage: false,
        ends_without_done: false,
        translation: None,
    };
    Outgoing { body, adjusted, responder }
}

/// Leaves out all reasoning of earlier turns.
///
/// A turn whose tools have just run must begin with its thinking if `thinking` has a budget: then this turn goes on without
/// thinking. An edit of the context that clears thinking is rejected without it, so the edits go too; they only save tokens.
pub(crate) fn leave_out_reasoning<'a>(body: &Body<'a>, edits: &mut Edits<'_, 'a>) {
    let Some(messages) = body.find("messages") else { return };
    let changes = blocks::without_reasoning(messages.value, None);
    if !changes.is_empty() {
        edits.adjusted.push("reasoning".to_owned());
    }
    for (place, replacement) in changes {
        edits.replace_in(messages, place, replacement);
    }
    let has = |name: &str, word: &str| body.value(name).is_some_and(|value| value.contains(word));
    if has("thinking", "\"enabled\"") && blocks::end_with_results(messages.value) {
        edits.remove("thinking");
        edits.adjusted.push("thinking".to_owned());
        if has("context_management", "clear_thinking") {
            edits.remove("context_management");
            edits.adjusted.push("context_management".to_owned());
        }
    }
}

/// Lowers the limit of the output, and the budget of the thinking with it, which must be less.
fn limit_output(body: &Body<'_>, edits: &mut Edits<'_, '_>, limit: u64) {
    if let Some(member) = body.find("max_tokens") {
        edits.replace(member, limit.to_string().into_bytes());
        edits.adjusted.push(format!("max_tokens={limit}"));
    }
    let Some(thinking) = body.find("thinking") else { return };
    let Ok([Some(budget)]) = members::pick(thinking.value.as_bytes(), &["budget_tokens"]) else { return };
    // A quarter is left for the answer.
    let most = limit - limit / 4;
    if most >= LEAST_THINKING && budget.value.parse().is_ok_and(|tokens: u64| tokens > most) {
        edits.replace_in(thinking, budget.place, most.to_string().into_bytes());
        edits.adjusted.push(format!("thinking.budget_tokens={most}"));
    }
}

/// The tokens that Anthropic adds to a prompt with tools, at most.
const TOOL_FRAME: usize = 1_024;
/// The bytes of ASCII text in a token, at the least that is usual: code and JSON have about three.
const LEAST_BYTES: usize = 3;
/// The same for other text: scripts such as Chinese have three bytes in a character.
const LEAST_BYTES_OF_OTHERS: usize = 2;

/// An estimate of the prompt's tokens that is rather too high, for a count that no upstream makes.
pub fn high_estimate(request: &Inference<'_>) -> u64 {
    let fields =
        ["system", "messages", "tools", "output_config", "output_format", "instructions", "input", "text"];
    let values = fields.iter().filter_map(|name| request.body.value(name));
    let others: usize = values.map(|value| value.bytes().filter(|byte| !byte.is_ascii()).count()).sum();
    let ascii = (request.size.text + request.size.schema).saturating_sub(others);
    let images = request.size.images * 2 * TOKENS_PER_IMAGE;
    let tools = if request.size.tools { TOOL_FRAME } else { 0 };
    let tokens = ascii.div_ceil(LEAST_BYTES) + others.div_ceil(LEAST_BYTES_OF_OTHERS) + images + tools;
    tokens.max(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Entry, Registry};
    use crate::config::Config;
    use crate::conversation::carrier::{Blob, Kind};
    use crate::operation::MESSAGES;

    fn read(body: &str) -> Result<Inference<'_>, Error> {
        super::read(&MESSAGES, body.as_bytes())
    }

    fn provider() -> Entry {
        let config =
            r#"{"providers":{"acme":{"base_url":"http://a.example","auth":"none","formats":["messages"]}}}"#;
        let registry = Registry::new(&Config::read("{}", Some(config)).unwrap(), false, |_| None);
        registry.into_entries().into_iter().find(|entry| entry.name == "acme").unwrap()
    }

    fn sent(body: &str, model: &str, limit: Option<u64>) -> (String, Vec<String>) {
        let provider = provider();
        let upstream = Upstream { provider: &provider, model, own_routing: false };
        let out = outgoing(&read(body).unwrap(), &upstream, limit);
        let text = out.body.map_or_else(|| body.to_owned(), |body| String::from_utf8(body).unwrap());
        (text, out.adjusted)
    }

    #[test]
    fn an_unchanged_body_is_not_copied() {
        let body = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"a"}],"new":{"x":1}}"#;
        let provider = provider();
        let upstream = Upstream { provider: &provider, model: "m", own_routing: false };
        assert_eq!(outgoing(&read(body).unwrap(), &upstream, Some(9)).body, None);
    }

    #[test]
    fn only_the_gateways_fields_are_changed() {
        let body = r#"{"project_id":"p","model":"x", "max_tokens" : 9,"messages":[],"thinking":{"type":"adaptive"},"new":1}"#;
        let expected =
            r#"{"model":"claude", "max_tokens" : 9,"messages":[],"thinking":{"type":"adaptive"},"new":1}"#;
        assert_eq!(sent(body, "claude", None), (expected.to_owned(), vec![]));
    }

    #[test]
    fn the_output_is_limited_with_the_thinking_in_it() {
        let body = |most: u64, thinking: &str| {
            format!(r#"{{"model":"m","max_tokens":{most},"messages":[]{thinking}}}"#)
        };
        let budget = |tokens: u64| format!(r#","thinking":{{"type":"enabled","budget_tokens":{tokens}}}"#);
        for (given, limit, expected, adjusted) in [
            (body(64_000, ""), 800, body(800, ""), vec!["max_tokens=800"]),
            (body(700, ""), 800, body(700, ""), vec![]),
            (
                body(64_000, &budget(32_000)),
                8_000,
                body(8_000, &budget(6_000)),
                vec!["max_tokens=8000", "thinking.budget_tokens=6000"],
            ),
            (body(64_000, &budget(2_000)), 8_000, body(8_000, &budget(2_000)), vec!["max_tokens=8000"]),
            // Too little to think: the provider rejects it.
            (body(64_000, &budget(2_000)), 800, body(800, &budget(2_000)), vec!["max_tokens=800"]),
        ] {
            let (sent, changed) = sent(&given, "m", Some(limit));
            assert_eq!(
                (sent, changed),
                (expected, adjusted.into_iter().map(str::to_owned).collect()),
                "{given}"
            );
        }
    }

    #[test]
    fn reasoning_of_other_lanes_is_taken_out() {
        let blob =
            Blob { kind: Kind::Encrypted, maker: Maker::of("openai", "m"), data: "x".into() }.to_text();
        let thinking = format!(r#"{{"type":"thinking","thinking":"t","signature":"{blob}"}}"#);
        let body = |blocks: &str| {
            format!(
                r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"assistant","content":[{blocks}{{"type":"text","text":"a"}}]}}]}}"#
            )
        };
        assert_eq!(sent(&body(&format!("{thinking}, ")), "m", None), (body(""), vec![]));
    }

    fn sent_without_reasoning(body: &str) -> (String, Vec<String>) {
        let provider = provider();
        let upstream = Upstream { provider: &provider, model: "m", own_routing: false };
        let out = read(body).unwrap().outgoing_without_reasoning(&upstream, None).unwrap();
        (out.body.map_or_else(|| body.to_owned(), |body| String::from_utf8(body).unwrap()), out.adjusted)
    }

    #[test]
    fn a_retry_leaves_out_the_reasoning_and_what_depends_on_it() {
        let body = |answer: &str, last: &str, rest: &str| {
            format!(
                r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"assistant","content":[{answer}]}},{{"role":"user","content":[{last}]}}]{rest}}}"#
            )
        };
        let thought = r#"{"type":"thinking","thinking":"t","signature":"ErUB"}"#;
        let call = r#"{"type":"tool_use","id":"1","name":"f","input":{"type":"thinking"}}"#;
        let result = r#"{"type":"tool_result","tool_use_id":"1","content":"ok"}"#;
        let text = r#"{"type":"text","text":"go on"}"#;
        let enabled = r#","thinking":{"type":"enabled","budget_tokens":1024}"#;
        let adaptive = r#","thinking":{"type":"adaptive"}"#;
        let edits = r#","context_management":{"edits":[{"type":"clear_thinking_20251015"}]}"#;
        let both = format!("{thought},{call}");
        for (given, expected, left_out) in [
            (body(&both, text, enabled), body(call, text, enabled), vec!["reasoning"]),
            (body(&both, result, adaptive), body(call, result, adaptive), vec!["reasoning"]),
            (body(&both, result, enabled), body(call, result, ""), vec!["reasoning", "thinking"]),
            (
                body(&both, result, &format!("{enabled}{edits}")),
                body(call, result, ""),
                vec!["reasoning", "thinking", "context_management"],
            ),
            (body(call, result, enabled), body(call, result, ""), vec!["thinking"]),
            (body(call, result, edits), body(call, result, edits), vec![]),
        ] {
            assert_eq!(read(&given).unwrap().has_reasoning(), !left_out.is_empty(), "{given}");
            let (sent, adjusted) = sent_without_reasoning(&given);
            assert_eq!((sent, adjusted), (expected, left_out.into_iter().map(str::to_owned).collect()));
        }
    }

    #[test]
    fn derives_the_needs_of_a_request() {
        let needs = |rest: &str| {
            let body = format!(r#"{{"model":"auto","max_tokens":9,{rest}}}"#);
            let request = super::read(&MESSAGES, body.as_bytes()).unwrap();
            (request.needs, request.size)
        };
        let (plain, _) = needs(r#""messages":[{"role":"user","content":"say \"image\""}]"#);
        let none = Needs { input_tokens: plain.input_tokens, output_tokens: Some(9), ..Needs::default() };
        assert_eq!(plain, none);
        let data = "A".repeat(1_000_000);
        let image = format!(
            r#""messages":[{{"role":"user","content":[{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{data}"}}}}]}}]"#
        );
        let (needed, size) = needs(&image);
        assert!(needed.vision && (1000..2000).contains(&needed.input_tokens), "{needed:?}");
        assert!(size.images == 1 && size.text < 300 && !size.has_media, "{size:?}");
        let (_, document) = needs(&image.replace("\"image\"", "\"document\""));
        assert!(document.has_media && document.text > 1_000_000, "{document:?}");
        let input = image.replace("\"type\":\"image\"", "\"type\":\"tool_use\"");
        assert!(needs(&input).1.text > 1_000_000, "the input of a tool is text, whatever it looks like");
        let (all, _) = needs(
            r#""messages":[],"tools":[{}],"output_config":{"format":{"type":"json_schema"},"effort":"max"},"min_reasoning_level":"high""#,
        );
        assert!(all.tools && all.json_schema && !all.json_mode);
        assert_eq!((all.effort, all.min_tier), (Some(Tier::High), Some(Tier::High)));
        for (thinking, effort) in [
            (r#"{"type":"disabled"}"#, Some(Tier::Low)),
            (r#"{"type":"adaptive"}"#, None),
            (r#"{"type":"enabled","budget_tokens":1024}"#, Some(Tier::Low)),
            (r#"{"type":"enabled","budget_tokens":10000}"#, Some(Tier::Medium)),
            (r#"{"type":"enabled","budget_tokens":32000}"#, Some(Tier::High)),
            ("null", None),
            ("7", None),
        ] {
            assert_eq!(
                needs(&format!(r#""messages":[],"thinking":{thinking}"#)).0.effort,
                effort,
                "{thinking}"
            );
        }
    }

    #[test]
    fn tools_that_anthropic_defines_have_instructions_of_their_own() {
        let text = |tools: &str| {
            let body = format!(r#"{{"model":"m","max_tokens":9,"messages":[],"tools":[{tools}]}}"#);
            super::read(&MESSAGES, body.as_bytes()).unwrap().size.text - tools.len()
        };
        let bare = text(r#"{"name":"f","input_schema":{}}"#);
        assert_eq!(text(r#"{"type":"bash_20250124","name":"bash"}"#), bare + CLIENT_TOOL);
    }

    #[test]
    fn a_session_is_the_user_and_a_prompt_begins_with_its_longest_part() {
        let long = "s".repeat(LONG_SYSTEM);
        for (rest, session, prompt) in [
            (r#""messages":[1]"#.to_owned(), None, "[1]".to_owned()),
            (r#""metadata":{"user_id":"u"},"messages":[]"#.to_owned(), Some("\"u\""), "[]".to_owned()),
            (r#""metadata":{"user_id":null},"messages":[],"system":"s""#.to_owned(), None, "[]".to_owned()),
            (format!(r#""messages":[],"system":"{long}""#), None, format!("\"{long}\"")),
        ] {
            let body = format!(r#"{{"model":"m","max_tokens":9,{rest}}}"#);
            let request = read(&body).unwrap();
            assert_eq!((request.session, request.prompt), (session, prompt.as_str()), "{rest}");
        }
    }

    #[test]
    fn errors_name_the_field() {
        for (body, code, param) in [
            (r#"{"max_tokens":9,"messages":[]}"#, "missing_model", "model"),
            (r#"{"model":"m","max_tokens":9}"#, "missing_input", "messages"),
            (r#"{"model":"m","max_tokens":9,"messages":null}"#, "missing_input", "messages"),
            (r#"{"model":"m","max_tokens":9,"messages":"a"}"#, "invalid_type", "messages"),
            (r#"{"model":"m","messages":[]}"#, "missing_member", "max_tokens"),
            (r#"{"model":"m","messages":[],"max_tokens":null}"#, "missing_member", "max_tokens"),
            (r#"{"model":"m","messages":[],"max_tokens":"9"}"#, "invalid_type", "max_tokens"),
            (r#"{"model":"m","messages":[],"max_tokens":-1}"#, "invalid_type", "max_tokens"),
            (r#"{"model":"m","messages":[],"max_tokens":9,"stream":"yes"}"#, "invalid_type", "stream"),
            (r#"{"model":"m","model":"n","messages":[],"max_tokens":9}"#, "duplicate_member", "model"),
        ] {
            let error = read(body).unwrap_err();
            assert_eq!((error.code(), error.param.as_deref()), (Some(code), Some(param)), "{body}");
        }
        assert!(read_prompt(&MESSAGES, br#"{"model":"m","messages":[]}"#).is_ok());
    }

    #[test]
    fn the_estimate_of_a_count_is_rather_too_high() {
        let count = |content: &str| {
            let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{content}"}}]}}"#);
            high_estimate(&read_prompt(&MESSAGES, body.as_bytes()).unwrap())
        };
        // About 5 bytes, and 2 bytes, in a token.
        assert!((1_000..2_000).contains(&count(&"word ".repeat(1_000))));
        assert!((1_000..2_000).contains(&count(&"字".repeat(1_000))));
        assert!(count("") >= 1);
    }
}
