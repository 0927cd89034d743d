//! The parts of a request that a provider bills in addition to its tokens, or at another price, or as tokens that the
//! gateway cannot count. A key with a limit that such a part could overrun may not use it.
//!
//! Only the requests of keys with limits of money or tokens are read for this.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;

use super::anthropic_messages::blocks;
use super::request::Inference;
use crate::operation::Format;

/// A part of a request that changes what a provider bills.
#[derive(Debug, PartialEq, Eq)]
pub struct Extra {
    /// The field of the request.
    pub field: &'static str,
    /// Where in the field it is.
    found: Found,
    /// The reason, as the beginning of an error message.
    pub why: &'static str,
    /// `true` if it may add tokens; otherwise it only changes prices.
    pub adds_tokens: bool,
    /// The providers that ignore or reject it, or to which it is not sent.
    free_at: &'static [&'static str],
}

/// The place of an extra within its field.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// The field has a value other than `null` and these, as JSON.
    Value(&'static [&'static str]),
    /// A tool runs at the provider.
    HostedTool,
    /// An edit of the conversation other than taking parts out of it.
    Edit,
    /// The field has a member of one of these names, at any depth.
    Member(&'static [&'static str]),
    /// The field has a member of this name whose value is a text other than these, at any depth.
    Text(&'static str, &'static [&'static str]),
    /// The field asks for an hour in the prompt cache, at any depth.
    HourInCache,
    /// The field has an object of one of these types, at any depth.
    Kind(&'static [&'static str]),
    /// A name or a text in the field is written with escaped letters, so that its members cannot be found.
    EscapedLetter,
}

/// The parts of a request that change its bill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Billing {
    /// The parts.
    pub extras: Vec<&'static Extra>,
    /// The images in the messages.
    pub images: u64,
}

const fn extra(field: &'static str, found: Found, why: &'static str, adds_tokens: bool) -> Extra {
    Extra { field, found, why, adds_tokens, free_at: &[] }
}

/// **The** table of what the gateway cannot price. State: November 2026, from the documentation of the providers.
#[rustfmt::skip]
const EXTRAS: &[Extra] = &[
    // `auto` is the default. The others cost the base price or less.
    Extra { free_at: &["cerebras"], ..extra("service_tier",
        Found::Value(&["\"auto\"", "\"default\"", "\"standard\"", "\"standard_only\"", "\"on_demand\"", "\"flex\"", "\"batch\""]),
        "a service tier has prices of its own", false) },
    Extra { ..extra("speed", Found::Value(&["\"standard\""]), "a fast mode has prices of its own", false) },
    // Text is the default; audio and images have prices of their own.
    extra("modalities", Found::Value(&["[\"text\"]", "[ \"text\" ]", "[]"]), "output other than text has prices of its own", true),
    extra("audio", Found::Value(&[]), "audio output has prices of its own", true),
    // Tokens of a prediction that are not used are billed as output, beyond the limit of the output.
    extra("prediction", Found::Value(&[]), "a prediction is billed in addition to the output", true),
    extra("best_of", Found::Value(&["1"]), "each alternative is billed", true),
    // Searches are billed each, and what they find is added to the prompt.
    extra("web_search_options", Found::Value(&[]), "web search is billed for each search", true),
    extra("web_search", Found::Value(&["false"]), "web search is billed for each search", true),
    extra("search_parameters", Found::Value(&[]), "search is billed for each source", true),
    extra("enable_search", Found::Value(&["false"]), "web search is billed for each search", true),
    extra("search_settings", Found::Value(&[]), "web search is billed for each search", true),
    extra("compound_custom", Found::Value(&[]), "hosted tools are billed for each use", true),
    extra("plugins", Found::Value(&["[]"]), "plugins are billed for each use", true),
    extra("data_sources", Found::Value(&["[]"]), "what is found in data sources is added to the prompt", true),
    extra("mcp_servers", Found::Value(&["[]"]), "hosted tools add to the prompt", true),
    extra("container", Found::Value(&[]), "a container is billed by time", true),
    extra("inference_geo", Found::Value(&["\"global\""]), "a region has prices of its own", false),
    extra("fallbacks", Found::Value(&["[]"]), "a fallback model has prices of its own, and is billed in addition", true),
    // A summary of the conversation is written before the response.
    extra("compaction", Found::Value(&[]), "a summary of the conversation is billed in addition", true),
    extra("context_management", Found::Edit, "a summary of the conversation is billed in addition", true),
    extra("thread", Found::Value(&[]), "a stored conversation is added to the prompt", true),
    // A cached content is part of the prompt, of any size.
    extra("cached_content", Found::Value(&[]), "cached content is added to the prompt", true),
    extra("extra_body", Found::Value(&["{}"]), "a field inside of it may add to the prompt", true),
    // What the provider keeps is added to the prompt.
    extra("previous_response_id", Found::Value(&[]), "an earlier response is added to the prompt", true),
    extra("conversation", Found::Value(&[]), "a stored conversation is added to the prompt", true),
    extra("prompt", Found::Value(&[]), "a stored prompt is added to the prompt", true),
    // The gateway does not see the usage of a response that nobody waits for.
    extra("background", Found::Value(&["false"]), "the usage of a background response is not known", true),
    extra("tools", Found::HostedTool, "a hosted tool is billed for each use", true),
    extra("tools", Found::EscapedLetter, "escaped letters hide the names of fields", true),
    extra("messages", Found::EscapedLetter, "escaped letters hide the names of fields", true),
    extra("input", Found::EscapedLetter, "escaped letters hide the names of fields", true),
    extra("input", Found::Kind(&["item_reference", "compaction"]), "what the provider keeps is added to the prompt", true),
    extra("input", Found::Kind(HOSTED), "a hosted tool is billed for each use", true),
    extra("input", Found::Member(&["file_id", "file_url", "file_data"]), "a file has a number of tokens that the gateway does not know", true),
    extra("input", Found::Member(&["input_audio"]), "audio input has prices of its own", true),
    extra("system", Found::EscapedLetter, "escaped letters hide the names of fields", true),
    // The size of what is read from a file, a video or a recording is not that of its bytes.
    extra("messages", Found::Member(&["file", "file_id", "file_url", "file_data", "file_uri", "fileData", "document", "document_url", "container_upload"]),
        "a file has a number of tokens that the gateway does not know", true),
    extra("messages", Found::Member(&["video", "video_url", "input_video"]),
        "a video has a number of tokens that the gateway does not know", true),
    extra("messages", Found::Member(&["audio", "audio_url", "input_audio"]), "audio input has prices of its own", true),
    // Five minutes is the default; a longer time costs more.
    extra("messages", Found::HourInCache, LONGER_IN_CACHE, false),
    extra("messages", Found::Text("ttl", CACHE_TIMES), LONGER_IN_CACHE, false),
    extra("system", Found::HourInCache, LONGER_IN_CACHE, false),
    extra("system", Found::Text("ttl", CACHE_TIMES), LONGER_IN_CACHE, false),
    extra("tools", Found::HourInCache, LONGER_IN_CACHE, false),
    extra("tools", Found::Text("ttl", CACHE_TIMES), LONGER_IN_CACHE, false),
    extra("cache_control", Found::HourInCache, LONGER_IN_CACHE, false),
    extra("cache_control", Found::Text("ttl", CACHE_TIMES), LONGER_IN_CACHE, false),
];

/// The output of a compaction. Its field is the conversation that is compacted.
static COMPACTION: Extra =
    extra("input", Found::Value(&[]), "the length of a compaction cannot be limited", true);

const LONGER_IN_CACHE: &str = "a longer time in the prompt cache has a price of its own";
/// The times in the prompt cache that the gateway can price: the default, and [`Found::HourInCache`].
const CACHE_TIMES: &[&str] = &["\"5m\"", HOUR];
const HOUR: &str = "\"1h\"";

/// The names of the members of messages that are images. One of them is in each image.
const IMAGES: &[&str] = &["image_url", "image", "source"];

impl Extra {
    /// Returns `true` if a provider may bill for it.
    pub fn is_billed_by(&self, provider: &str) -> bool {
        !self.free_at.contains(&provider)
    }

    /// Returns `true` if it asks for an hour in the prompt cache, which can be charged if its price is known.
    pub fn writes_1h(&self) -> bool {
        self.found == Found::HourInCache
    }

    fn is_in(&self, value: &str, format: Format) -> bool {
        let in_blocks = format == Format::Messages && self.field == "messages";
        match &self.found {
            Found::Value(free) => value != "null" && !free.contains(&value),
            Found::HostedTool => has_hosted_tool(value, format),
            Found::Edit => has_other_edit(value),
            // Anything may be in the input of a tool: only the blocks themselves count.
            Found::Member(kinds) if in_blocks => {
                let mut is_in = false;
                blocks::each(value, &mut |block| is_in |= kinds.contains(&&*block.kind));
                is_in
            }
            Found::Text("ttl", free) if in_blocks => has_cache_time(value, |ttl| !free.contains(&ttl)),
            Found::HourInCache if in_blocks => has_cache_time(value, |ttl| ttl == HOUR),
            Found::Member(names) => names.iter().any(|name| members(value, name).next().is_some()),
            Found::Text(name, free) => members(value, name)
                .any(|rest| rest.starts_with('"') && !free.iter().any(|free| rest.starts_with(free))),
            Found::HourInCache => members(value, "ttl").any(|rest| rest.starts_with(HOUR)),
            Found::Kind(kinds) => members(value, "type").any(|rest| {
                let kind = rest.strip_prefix('"').and_then(|rest| rest.split('"').next());
                kind.is_some_and(|kind| kinds.contains(&kind))
            }),
            Found::EscapedLetter => has_escaped_letter(value),
        }
    }
}

impl Inference<'_> {
    /// The parts of the request that change its bill.
    pub fn billing(&self) -> Billing {
        let format = self.operation.format;
        let is_compaction = format == Format::Compaction;
        let is_responses = is_compaction || format == Format::Responses;
        let is_in = |extra: &&Extra| {
            let is_list_of_items = is_responses || extra.field != "input";
            // Elsewhere it is the text itself.
            let is_stored =
                is_compaction || Format::CONVERSATIONS.contains(&format) || extra.field != "prompt";
            is_list_of_items
                && is_stored
                && self.body.all(extra.field).any(|member| extra.is_in(member.value, format))
        };
        let images = match format {
            Format::Messages | Format::Responses | Format::Compaction => self.size.images,
            _ => IMAGES.iter().map(|name| members(self.prompt, name).count()).sum(),
        };
        let extras = EXTRAS.iter().filter(is_in).chain(is_compaction.then_some(&COMPACTION));
        Billing { extras: extras.collect(), images: images as u64 }
    }
}

/// Returns `true` if a block of messages asks for such a time in the prompt cache, as JSON.
fn has_cache_time(messages: &str, is_such: impl Fn(&str) -> bool) -> bool {
    let mut has = false;
    blocks::each(messages, &mut |block| {
        has |= block.cache_ttl().is_some_and(|ttl| is_such(&format!("\"{ttl}\"")));
    });
    has
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    function: Option<&'a serde_json::value::RawValue>,
}

/// The beginnings of the types of tools that Anthropic defines and the caller runs. Each goes on with a date.
const CLIENT_TOOLS: [&str; 4] = ["bash_", "text_editor_", "computer_", "memory_"];

/// The types of tools in Responses that the caller runs, other than functions.
const OWN_TOOLS: [&str; 4] = ["namespace", "local_shell", "apply_patch", "tool_search"];
/// The types of the usual hosted tools in Responses, which an item of the input can offer too.
const HOSTED: &[&str] = &[
    "web_search",
    "web_search_preview",
    "file_search",
    "code_interpreter",
    "image_generation",
    "mcp",
    "computer",
    "computer_use_preview",
    "shell",
];

/// Returns `true` if a tool of this type runs at the caller and not at the provider. In Messages a tool without a type is
/// the caller's own.
pub fn runs_at_caller(kind: Option<&str>, format: Format) -> bool {
    match (kind, format) {
        (Some("function" | "custom"), _) | (None, Format::Messages) => true,
        (Some(kind), Format::Responses) => OWN_TOOLS.contains(&kind),
        (Some(kind), Format::Messages) => CLIENT_TOOLS.iter().any(|start| kind.starts_with(start)),
        _ => false,
    }
}

fn has_hosted_tool(tools: &str, format: Format) -> bool {
    if tools == "null" {
        return false;
    }
    let is_own = |tool: &Tool<'_>| {
        runs_at_caller(tool.kind.as_deref(), format) || (tool.kind.is_none() && tool.function.is_some())
    };
    serde_json::from_str::<Vec<Tool<'_>>>(tools).is_ok_and(|tools| !tools.iter().all(is_own))
}

#[derive(Deserialize)]
struct ContextManagement<'a> {
    #[serde(borrow, default)]
    edits: Vec<Edit<'a>>,
}

#[derive(Deserialize)]
struct Edit<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

/// Returns `true` unless all edits only take parts out of the conversation: `clear_tool_uses_…`, `clear_thinking_…`.
fn has_other_edit(value: &str) -> bool {
    let only_clears = |management: ContextManagement<'_>| {
        management.edits.iter().all(|edit| edit.kind.starts_with("clear_"))
    };
    value != "null" && !serde_json::from_str(value).is_ok_and(only_clears)
}

/// The values of all members of a name, at any depth, each as the rest of the text. Between bare quotes a name can only
/// be a JSON string, because quotes inside a string are escaped; before a colon it is the name of a member.
fn members<'t>(text: &'t str, name: &'static str) -> impl Iterator<Item = &'t str> {
    memmem::find_iter(text.as_bytes(), name.as_bytes()).filter_map(move |at| {
        let is_whole = text.as_bytes().get(at.checked_sub(1)?) == Some(&b'"');
        let rest = text.get(at + name.len()..)?.strip_prefix('"')?.trim_ascii_start();
        let value = rest.strip_prefix(':')?.trim_ascii_start();
        (is_whole && value != "null").then_some(value)
    })
}

/// Returns `true` if a JSON text has a letter, a digit or an underscore as an escape. No JSON library writes them so.
fn has_escaped_letter(text: &str) -> bool {
    let bytes = text.as_bytes();
    memmem::find_iter(bytes, b"\\u00").any(|at| {
        let code = text.get(at + 4..at + 6).and_then(|code| u8::from_str_radix(code, 16).ok());
        // A backslash that is itself escaped begins no escape.
        let before =
            bytes.get(..at).unwrap_or_default().iter().rev().take_while(|byte| **byte == b'\\').count();
        before % 2 == 0 && code.is_some_and(|code| code.is_ascii_alphanumeric() || code == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn billing(rest: &str) -> Billing {
        let body = format!(r#"{{"model":"m",{rest}}}"#);
        crate::format::read(&crate::operation::CHAT_COMPLETIONS, body.as_bytes()).unwrap().billing()
    }

    fn fields(rest: &str) -> Vec<&'static str> {
        let mut fields: Vec<_> = billing(rest).extras.iter().map(|extra| extra.field).collect();
        fields.dedup();
        fields
    }

    #[test]
    fn finds_what_cannot_be_priced() {
        for (rest, found) in [
            (r#""service_tier":"priority","messages":[]"#, "service_tier"),
            (r#""service_tier":"auto","service_tier":"priority","messages":[]"#, "service_tier"),
            (r#""service\u005ftier":"priority","messages":[]"#, "service_tier"),
            (r#""service_tier":"def\u0061ult","messages":[]"#, "service_tier"),
            (r#""web_search_options":{},"messages":[]"#, "web_search_options"),
            (r#""modalities":["text","audio"],"messages":[]"#, "modalities"),
            (r#""prediction":{"type":"content","content":"x"},"messages":[]"#, "prediction"),
            (r#""plugins":[{"id":"web"}],"messages":[]"#, "plugins"),
            (r#""tools":[{"type":"function"},{"type":"web_search"}],"messages":[]"#, "tools"),
            (r#""tools":[{"google_search":{}}],"messages":[]"#, "tools"),
            (r#""tools":[{"type":"function","cache_control":{"ttl":"1h"}}],"messages":[]"#, "tools"),
            (r#""cache_control":{"type":"ephemeral","ttl":"1h"},"messages":[]"#, "cache_control"),
            (r#""messages":[{"content":[{"type":"file","file":{"file_id":"f"}}]}]"#, "messages"),
            (r#""messages":[{"content":[{"type":"video_url", "video_url" : {"url":"u"}}]}]"#, "messages"),
            (r#""messages":[{"content":[{"cache_control":{"ttl":"1h"}}]}]"#, "messages"),
            (r#""messages":[{"content":[{"cache_control":{"ttl":"24h"}}]}]"#, "messages"),
            (r#""system":[{"type":"text","cache_control":{"ttl":"1h"}}],"messages":[]"#, "system"),
            (r#""messages":[{"content":[{"\u0074ype":"x"}]}]"#, "messages"),
        ] {
            assert_eq!(fields(rest), [found], "{rest}");
        }
    }

    #[test]
    fn a_compaction_cannot_be_priced() {
        let body = br#"{"model":"m","input":"hi"}"#;
        let of = |operation| crate::format::read(operation, body).unwrap().billing().extras;
        assert_eq!(of(&crate::operation::COMPACTIONS), [&COMPACTION]);
        assert!(of(&crate::operation::RESPONSES).is_empty());
    }

    /// The fields with something that cannot be priced in a request for a message.
    fn of_message(rest: &str) -> Vec<&'static str> {
        let body = format!(r#"{{"model":"m","max_tokens":9,{rest}}}"#);
        let request = crate::format::read(&crate::operation::MESSAGES, body.as_bytes()).unwrap();
        let mut fields: Vec<_> = request.billing().extras.iter().map(|extra| extra.field).collect();
        fields.dedup();
        fields
    }

    #[test]
    fn finds_what_cannot_be_priced_in_messages() {
        let with = |block: &str| format!(r#""messages":[{{"role":"user","content":[{block}]}}]"#);
        for (rest, found) in [
            (
                r#""messages":[],"tools":[{"name":"f"},{"type":"web_search_20250305","name":"web_search"}]"#,
                "tools",
            ),
            (
                r#""messages":[],"tools":[{"type":"code_execution_20250825","name":"code_execution"}]"#,
                "tools",
            ),
            (r#""messages":[],"tools":[{"type":"mcp_toolset","mcp_server_name":"x"}]"#, "tools"),
            (r#""messages":[],"mcp_servers":[{"url":"u"}]"#, "mcp_servers"),
            (r#""messages":[],"container":"c""#, "container"),
            (r#""messages":[],"speed":"fast""#, "speed"),
            (r#""messages":[],"service_tier":"priority""#, "service_tier"),
            (r#""messages":[],"inference_geo":"us""#, "inference_geo"),
            (
                r#""messages":[],"context_management":{"edits":[{"type":"compact_20260112"}]}"#,
                "context_management",
            ),
            (r#""messages":[],"context_management":{"edits":7}"#, "context_management"),
            (
                r#""messages":[],"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral","ttl":"1h"}}]"#,
                "system",
            ),
            (&with(r#"{"type":"document","source":{"type":"url","url":"u"}}"#), "messages"),
            (&with(r#"{"type":"tool_result","content":[{"type":"document"}]}"#), "messages"),
            (&with(r#"{"type":"container_upload","file_id":"f"}"#), "messages"),
            (&with(r#"{"type":"text","text":"a","cache_control":{"ttl":"1h"}}"#), "messages"),
            (&with(r#"{"\u0074ype":"document"}"#), "messages"),
        ] {
            assert_eq!(of_message(rest), [found], "{rest}");
        }
        for rest in [
            r#""messages":[{"role":"user","content":"a"}]"#,
            r#""messages":[],"tools":[{"name":"f","input_schema":{}},{"type":"custom","name":"g"},{"type":"bash_20250124","name":"bash"},{"type":"text_editor_20250728","name":"e"}]"#,
            r#""messages":[],"context_management":{"edits":[{"type":"clear_thinking_20251015","keep":"all"}]}"#,
            r#""messages":[],"service_tier":"standard_only","speed":"standard","inference_geo":"global""#,
            &with(r#"{"type":"tool_use","input":{"type":"document","file":1,"ttl":"1h","video":{}}}"#),
            &with(r#"{"type":"text","text":"a","cache_control":{"type":"ephemeral","ttl":"5m"}}"#),
            &with(r#"{"type":"image","source":{"type":"url","url":"u"}}"#),
        ] {
            assert_eq!(of_message(rest), [""; 0], "{rest}");
        }
    }

    #[test]
    fn an_hour_in_the_cache_is_told_from_other_times() {
        for (ttl, writes_1h) in [("1h", true), ("24h", false), ("1hour", false)] {
            let [extra] = billing(&format!(r#""messages":[],"cache_control":{{"ttl":"{ttl}"}}"#)).extras[..]
            else {
                panic!("one")
            };
            assert_eq!(extra.writes_1h(), writes_1h, "{ttl}");
        }
    }

    #[test]
    fn what_costs_no_more_is_not_found() {
        for rest in [
            r#""messages":[]"#,
            r#""service_tier":null,"service_tier":"flex","messages":[]"#,
            r#""modalities":["text"],"plugins":[],"web_search_options":null,"messages":[]"#,
            r#""tools":[{"type":"function","function":{"parameters":{"properties":{"file":{},"ttl":{"type":"string"}}}}}],"messages":[]"#,
            r#""tools":null,"messages":[]"#,
            r#""messages":[{"content":"file"},{"content":"\"file\":1, \"ttl\":\"1h\""},{"content":"\\u0061 \u00e9 \u003c"}]"#,
            r#""messages":[{"content":[{"cache_control":{"ttl":"5m"}}]}]"#,
        ] {
            assert_eq!(fields(rest), [""; 0], "{rest}");
        }
    }

    #[test]
    fn each_image_is_counted_whatever_its_form() {
        let parts = r#"{"type":"image_url","image_url":{"url":"u"}},{"type":"input_image","image_url":"u"},{"image":"u"}"#;
        assert_eq!(billing(&format!(r#""messages":[{{"content":[{parts}]}}]"#)).images, 3);
    }

    #[test]
    fn a_provider_to_which_a_field_is_not_sent_does_not_bill_for_it() {
        let [tier] = billing(r#""service_tier":"priority","messages":[]"#).extras[..] else { panic!("one") };
        assert!(tier.is_billed_by("openai") && !tier.is_billed_by("cerebras"));
    }
}
