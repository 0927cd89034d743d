//! The parts of a request that a provider bills in addition to its tokens, or at another price, or as tokens that the
//! gateway cannot count. A key with a limit that such a part could overrun may not use it.
//!
//! Only the requests of keys with limits of money or tokens are read for this.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;

use super::request::Inference;

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
    /// A tool is neither a function nor a custom tool.
    HostedTool,
    /// The field has a member of one of these names, at any depth.
    Member(&'static [&'static str]),
    /// The field has a member of this name whose value is a text other than this one, at any depth.
    Text(&'static str, &'static str),
    /// A name or a text in the field is written with escaped letters, so that its members cannot be found.
    EscapedLetter,
}

/// What a request has that changes its bill.
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
    // A cached content is part of the prompt, of any size.
    extra("cached_content", Found::Value(&[]), "cached content is added to the prompt", true),
    extra("extra_body", Found::Value(&["{}"]), "a field inside of it may add to the prompt", true),
    extra("tools", Found::HostedTool, "a hosted tool is billed for each use", true),
    extra("tools", Found::EscapedLetter, "escaped letters hide the names of fields", true),
    extra("messages", Found::EscapedLetter, "escaped letters hide the names of fields", true),
    // The size of what is read from a file, a video or a recording is not that of its bytes.
    extra("messages", Found::Member(&["file", "file_id", "file_url", "file_data", "file_uri", "fileData", "document", "document_url"]),
        "a file has a number of tokens that the gateway does not know", true),
    extra("messages", Found::Member(&["video", "video_url", "input_video"]),
        "a video has a number of tokens that the gateway does not know", true),
    extra("messages", Found::Member(&["audio", "audio_url", "input_audio"]), "audio input has prices of its own", true),
    // Five minutes is the default; a longer time costs more.
    extra("messages", Found::Text("ttl", "\"5m\""), "a longer time in the prompt cache has a price of its own", false),
    extra("tools", Found::Text("ttl", "\"5m\""), "a longer time in the prompt cache has a price of its own", false),
    extra("cache_control", Found::Text("ttl", "\"5m\""), "a longer time in the prompt cache has a price of its own", false),
];

/// The names of the members of messages that are images. One of them is in each image.
const IMAGES: &[&str] = &["image_url", "image", "source"];

impl Extra {
    /// Returns `true` if a provider may bill for it.
    pub fn is_billed_by(&self, provider: &str) -> bool {
        !self.free_at.contains(&provider)
    }

    fn is_in(&self, value: &str) -> bool {
        match &self.found {
            Found::Value(free) => value != "null" && !free.contains(&value),
            Found::HostedTool => has_hosted_tool(value),
            Found::Member(names) => names.iter().any(|name| members(value, name).next().is_some()),
            Found::Text(name, free) => {
                members(value, name).any(|rest| rest.starts_with('"') && !rest.starts_with(free))
            }
            Found::EscapedLetter => has_escaped_letter(value),
        }
    }
}

impl Inference<'_> {
    /// What the request has that changes its bill.
    pub fn billing(&self) -> Billing {
        let is_in = |extra: &&Extra| self.body.all(extra.field).any(|member| extra.is_in(member.value));
        let images = IMAGES.iter().map(|name| members(self.prompt, name).count()).sum::<usize>();
        Billing { extras: EXTRAS.iter().filter(is_in).collect(), images: images as u64 }
    }
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    function: Option<&'a serde_json::value::RawValue>,
}

fn has_hosted_tool(tools: &str) -> bool {
    if tools == "null" {
        return false;
    }
    let is_own = |tool: &Tool<'_>| match tool.kind.as_deref() {
        Some("function" | "custom") => true,
        Some(_) => false,
        None => tool.function.is_some(),
    };
    serde_json::from_str::<Vec<Tool<'_>>>(tools).is_ok_and(|tools| !tools.iter().all(is_own))
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
            (r#""messages":[{"content":[{"\u0074ype":"x"}]}]"#, "messages"),
        ] {
            assert_eq!(fields(rest), [found], "{rest}");
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
