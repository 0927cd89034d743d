//! Decides the content of the simulated model: deterministic text or a tool call. Does not write the wire format:
//! `whole` and `stream` do.

use crate::chat::{Chat, Turn, words};
use crate::json;

/// The largest number of characters that are quoted back.
const MAX_QUOTED: usize = 200;
/// One piece of the benchmark content.
const TOK: &str = "tok ";
/// One piece of generated content of a given size: 64 bytes, the last of which is a space.
const FILLER: &str = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz01234567890 ";

/// The content of the model's reply.
pub(crate) enum Content {
    /// Text, to be streamed in pieces.
    Text {
        /// All of it.
        text: String,
        /// The size of each piece in bytes; none: one word each.
        piece: Option<usize>,
    },
    /// A call of the tool of this name.
    Call(String),
}

/// The arguments of every tool call, in the pieces in which they are streamed.
pub(crate) const ARGUMENTS: [&str; 5] = ["{\"", "location", "\":\"", "Paris", "\"}"];

/// One choice of the response; all choices are alike.
pub(crate) struct Reply {
    pub(crate) content: Content,
    pub(crate) finish: &'static str,
    /// Completion tokens of one choice.
    pub(crate) tokens: u64,
}

impl Reply {
    /// The reply to a request.
    pub(crate) fn to(chat: &Chat) -> Self {
        let reply = Self::unlimited(chat);
        // An honest provider bills no more than it was asked for.
        let generated = chat.simulate.content.is_some()
            || chat.simulate.content_bytes.is_some()
            || chat.simulate.events.is_some()
            || matches!(reply.content, Content::Call(_));
        if generated && chat.simulate.bill.is_none() { reply } else { reply.limited(chat.content_limit()) }
    }

    fn unlimited(chat: &Chat) -> Self {
        let simulate = &chat.simulate;
        if let Some(content) = &simulate.content {
            return Self::text(content.clone(), None);
        }
        if let Some(size) = simulate.content_bytes {
            let mut text = FILLER.repeat(size.div_ceil(FILLER.len()));
            text.truncate(size);
            return Self::text(text, None);
        }
        if let Some(events) = simulate.events {
            return Self::text(TOK.repeat(events), Some(TOK.len()));
        }
        let text = match &chat.turn {
            Turn::ToolCall(name) => {
                let tokens = 1 + words(&ARGUMENTS.concat());
                return Self { content: Content::Call(name.clone()), finish: "tool_calls", tokens };
            }
            Turn::User(text) => format!("You said: {}", quotable(text)),
            Turn::ToolResult(text) => format!("The tool said: {}", quotable(text)),
            Turn::Nothing => "Hello from the simulated provider.".to_owned(),
        };
        let text = if chat.json { format!("{{\"answer\":{}}}", json::quoted(&text)) } else { text };
        Self::text(text, None)
    }

    fn text(text: String, piece: Option<usize>) -> Self {
        Self { tokens: words(&text), content: Content::Text { text, piece }, finish: "stop" }
    }

    fn limited(mut self, limit: Option<u64>) -> Self {
        let Some(limit) = limit.filter(|limit| self.tokens > *limit) else { return self };
        if let Content::Text { text, piece } = &mut self.content {
            let keep = pieces(text, *piece)
                .scan(0, |used, piece| {
                    *used += words(piece);
                    (*used <= limit).then_some(piece.len())
                })
                .sum();
            text.truncate(keep);
        }
        self.tokens = limit;
        self.finish = "length";
        self
    }
}

fn quotable(text: &str) -> &str {
    text.char_indices().nth(MAX_QUOTED).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// Divides a text into pieces of equal size, or of one word each with the white space before it. Together the pieces
/// are the text, and each has at most one word.
pub(crate) fn pieces(text: &str, size: Option<usize>) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = size.unwrap_or_else(|| end_of_word(rest));
        let (piece, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

fn end_of_word(text: &str) -> usize {
    let mut letters = text.char_indices().skip_while(|(_, letter)| letter.is_whitespace());
    letters.find(|(_, letter)| letter.is_whitespace()).map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn reply(value: &Value) -> (String, &'static str, u64) {
        let reply = Reply::to(&Chat::read_alone(value.to_string().as_bytes()).unwrap());
        let text = match reply.content {
            Content::Text { text, .. } => text,
            Content::Call(name) => format!("call {name}"),
        };
        (text, reply.finish, reply.tokens)
    }

    #[test]
    fn the_pieces_of_a_text_add_up_to_it() {
        for text in ["", " ", "one", "  one two\n\nthree ", "é 漢字\u{3000}🦀"] {
            assert_eq!(pieces(text, None).collect::<String>(), text);
            assert_eq!(pieces(text, None).map(words).sum::<u64>(), words(text));
            assert!(pieces(text, None).all(|piece| words(piece) <= 1));
        }
        assert_eq!(pieces("tok tok ", Some(4)).collect::<Vec<_>>(), ["tok ", "tok "]);
    }

    #[test]
    fn a_long_quote_is_cut_at_a_character() {
        let ask = json!({"messages": [{"role": "user", "content": "é".repeat(300)}]});
        assert_eq!(reply(&ask).0, format!("You said: {}", "é".repeat(200)));
    }

    #[test]
    fn the_limit_counts_words() {
        let ask =
            |limit: u64| json!({"max_tokens": limit, "messages": [{"role": "user", "content": "a b c"}]});
        assert_eq!(reply(&ask(3)), ("You said: a".to_owned(), "length", 3));
        assert_eq!(reply(&ask(5)), ("You said: a b c".to_owned(), "stop", 5));
        assert_eq!(reply(&ask(0)), (String::new(), "length", 0));
    }

    #[test]
    fn generated_content_has_the_requested_size() {
        assert_eq!(reply(&json!({"simulate": {"content_bytes": 1000}})).0.len(), 1000);
        assert_eq!(reply(&json!({"simulate": {"events": 3}})), ("tok tok tok ".to_owned(), "stop", 3));
        let json_text = reply(&json!({"response_format": {"type": "json_object"}})).0;
        assert!(serde_json::from_str::<Value>(&json_text).unwrap()["answer"].is_string());
    }
}
