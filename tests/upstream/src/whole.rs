//! The whole (not streamed) chat completion, and the parts that a streamed one shares with it. Decides neither the
//! content (`reply`) nor the status (`response`).

use crate::chat::Chat;
use crate::json;
use crate::reply::{Block, Call, Finish, Reply, pieces};
use crate::simulate::UsageMode;

/// Fields unknown to every client, with numbers in spellings that a careless rewriting would change.
pub(crate) const EXTRA_MEMBERS: &str =
    ",\"system_fingerprint\":\"fp_sim\",\"x_unknown\":{\"a\":[1,2.50,1e3]}";

/// The parts that are the same in every response to one request.
pub(crate) struct Head {
    /// The number of the request, which determines the id.
    pub(crate) n: u64,
    /// Seconds since 1970.
    pub(crate) created: u64,
}

impl Head {
    /// Opens an object up to and with its model. `kind` is the value of `object`.
    pub(crate) fn open(&self, out: &mut String, kind: &str, chat: &Chat) {
        json::number(out, "{\"id\":\"chatcmpl-sim-", self.n);
        out.push_str("\",\"object\":\"");
        out.push_str(kind);
        json::number(out, "\",\"created\":", self.created);
        out.push_str(",\"model\":");
        json::quote(out, &chat.model);
        if chat.simulate.extra_members {
            out.push_str(EXTRA_MEMBERS);
        }
    }
}

/// The usage object, with so many completion tokens, unless the request wants others to be reported, and so many tokens of
/// scripted thinking in each choice.
pub(crate) fn usage(chat: &Chat, completion: u64, thinking: u64) -> String {
    let prompt = chat.prompt_tokens;
    let bill = chat.simulate.bill.unwrap_or_default();
    let completion = bill.reported.unwrap_or(completion);
    let cached = bill.cached.min(prompt);
    let written = match bill.cache_write.min(prompt - cached) {
        0 => String::new(),
        tokens => format!(",\"cache_write_tokens\":{tokens}"),
    };
    format!(
        "{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion},\"total_tokens\":{},\
         \"prompt_tokens_details\":{{\"cached_tokens\":{cached}{written}}},\
         \"completion_tokens_details\":{{\"reasoning_tokens\":{}}}}}",
        prompt + completion,
        (chat.reasoning_tokens() + thinking) * chat.n
    )
}

/// The logprobs object of some pieces of text.
pub(crate) fn logprobs<'a>(out: &mut String, tokens: impl Iterator<Item = &'a str>) {
    out.push_str("{\"content\":[");
    for (at, token) in tokens.enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str("{\"token\":");
        json::quote(out, token);
        out.push_str(",\"logprob\":-0.1,\"bytes\":[");
        for (at, byte) in token.bytes().enumerate() {
            json::number(out, if at > 0 { "," } else { "" }, u64::from(byte));
        }
        out.push_str("],\"top_logprobs\":[]}");
    }
    out.push_str("],\"refusal\":null}");
}

/// The text of a reply and the size of its pieces.
pub(crate) fn said(reply: &Reply) -> Option<(&str, Option<usize>)> {
    reply.blocks.iter().find_map(|block| match block {
        Block::Text { text, piece } => Some((text.as_str(), *piece)),
        _ => None,
    })
}

/// The thinking of a reply, which goes into `reasoning_content`.
pub(crate) fn thought(reply: &Reply) -> Option<&str> {
    reply.blocks.iter().find_map(|block| match block {
        Block::Thinking(text) => Some(text.as_str()),
        _ => None,
    })
}

/// The refusal of a reply.
pub(crate) fn refusal(reply: &Reply) -> Option<&str> {
    reply.blocks.iter().find_map(|block| match block {
        Block::Refusal(text) => Some(text.as_str()),
        _ => None,
    })
}

/// The tool calls of a reply.
pub(crate) fn calls(reply: &Reply) -> impl Iterator<Item = &Call> {
    reply.blocks.iter().filter_map(|block| match block {
        Block::Call(call) => Some(call),
        _ => None,
    })
}

/// The fields of a tool call up to the value of its arguments.
pub(crate) fn call_head(call: &Call) -> String {
    let mut out = String::new();
    json::number(&mut out, "\"id\":\"call_sim_", call.n);
    out.push_str("\",\"type\":\"function\",\"function\":{\"name\":");
    json::quote(&mut out, &call.name);
    out.push_str(",\"arguments\":");
    out
}

/// The `finish_reason` of a choice.
pub(crate) fn finish_reason(finish: &Finish) -> &str {
    match finish {
        Finish::End | Finish::Stop(_) => "stop",
        Finish::Length => "length",
        Finish::Calls => "tool_calls",
        Finish::Named(name) => name,
    }
}

/// The chat completion as JSON text.
pub(crate) fn completion(chat: &Chat, reply: &Reply, head: &Head) -> String {
    let mut out = String::with_capacity(768);
    head.open(&mut out, "chat.completion", chat);
    out.push_str(",\"choices\":[");
    for index in 0..chat.n {
        json::number(&mut out, if index > 0 { ",{\"index\":" } else { "{\"index\":" }, index);
        out.push_str(",\"message\":{\"role\":\"assistant\",\"content\":");
        match said(reply) {
            Some((text, _)) => json::quote(&mut out, text),
            None => out.push_str("null"),
        }
        out.push_str(",\"refusal\":");
        match refusal(reply) {
            Some(text) => json::quote(&mut out, text),
            None => out.push_str("null"),
        }
        if let Some(thinking) = thought(reply) {
            out.push_str(",\"reasoning_content\":");
            json::quote(&mut out, thinking);
        }
        for (at, call) in calls(reply).enumerate() {
            out.push_str(if at > 0 { ",{" } else { ",\"tool_calls\":[{" });
            out.push_str(&call_head(call));
            json::quote(&mut out, &call.arguments());
            out.push_str("}}");
        }
        out.push_str(if calls(reply).next().is_some() { "]}" } else { "}" });
        out.push_str(",\"logprobs\":");
        match said(reply) {
            Some((text, piece)) if chat.logprobs => logprobs(&mut out, pieces(text, piece)),
            _ => out.push_str("null"),
        }
        out.push_str(",\"finish_reason\":");
        json::quote(&mut out, finish_reason(&reply.finish));
        out.push('}');
    }
    out.push(']');
    if chat.simulate.usage != UsageMode::None {
        out.push_str(",\"usage\":");
        out.push_str(&usage(chat, chat.completion_tokens(reply.tokens), reply.thinking_tokens()));
    }
    out.push('}');
    out
}
