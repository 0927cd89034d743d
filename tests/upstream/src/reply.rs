//! Decides the content of the simulated model: deterministic text, tool calls, and thinking if asked for. Does not write
//! a wire format: `whole` and `stream`, `messages::write` and `responses::write` do.

use crate::json;
use crate::simulate::{ScriptedCall, Simulate};

/// The largest number of characters that are quoted back.
const MAX_QUOTED: usize = 200;
/// One piece of the benchmark content.
const TOK: &str = "tok ";
/// One piece of generated content of a given size: 64 bytes, the last of which is a space.
const FILLER: &str = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz01234567890 ";
/// The thinking of a request that turns thinking on and scripts none.
const THOUGHT: &str = "The user wants a reply.";

/// The last turn of a conversation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The last user message has this text.
    User(String),
    /// A tool returned this result.
    ToolResult(String),
    /// The model should call this tool.
    ToolCall(String),
    /// There is no user message.
    Nothing,
}

/// The properties of a request that determine the reply to it, in whatever format it came.
pub(crate) struct Ask<'a> {
    pub(crate) simulate: &'a Simulate,
    pub(crate) turn: &'a Turn,
    /// True if the request offers tools; without them there are no calls.
    pub(crate) has_tools: bool,
    /// The number of tool calls in the conversation so far, from which the ids continue.
    pub(crate) earlier_calls: u64,
    /// The field that holds the text if the content must be JSON.
    pub(crate) json: Option<&'a str>,
    /// The largest number of words.
    pub(crate) limit: Option<u64>,
    /// Texts that end the reply.
    pub(crate) stops: &'a [String],
    /// True if the model thinks before it replies.
    pub(crate) thinks: bool,
}

/// A part of the model's reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// Thoughts.
    Thinking(String),
    /// Thoughts that nobody may read.
    Redacted,
    /// Text, to be streamed in pieces.
    Text {
        /// All of it.
        text: String,
        /// The size of each piece in bytes; none: one word each.
        piece: Option<usize>,
    },
    /// A refusal, where the format has a place of its own for it.
    Refusal(String),
    /// A call of a tool.
    Call(Call),
    /// A web search that the provider runs itself and has not ended.
    Search,
    /// A part of a kind that no client knows.
    Unknown,
}

/// A call of a tool.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The number of the call in the conversation, from 1.
    pub(crate) n: u64,
    pub(crate) name: String,
    /// The arguments as JSON text, in the pieces in which they are streamed; none: a call without arguments.
    pub(crate) input: Vec<String>,
}

impl Call {
    /// The name is a token, and so are all arguments together.
    fn tokens(&self) -> u64 {
        1 + u64::from(!self.input.is_empty())
    }

    /// The arguments as JSON text.
    pub(crate) fn arguments(&self) -> String {
        if self.input.is_empty() { "{}".to_owned() } else { self.input.concat() }
    }
}

/// The arguments of every tool call that no script names.
const ARGUMENTS: [&str; 5] = ["{\"", "location", "\":\"", "Paris", "\"}"];
/// The size of the pieces of scripted arguments, in bytes.
const ARGUMENT_PIECE: usize = 12;

/// The reason for which the reply ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finish {
    /// The model has nothing more to say.
    End,
    /// The limit is reached.
    Length,
    /// The model waits for the results of its calls.
    Calls,
    /// This text of the request's stop sequences came next.
    Stop(String),
    /// The reason that `simulate.stop_reason` names.
    Named(String),
}

/// The reply of the model, or one choice of it; all choices are alike.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) blocks: Vec<Block>,
    pub(crate) finish: Finish,
    /// Completion tokens of one choice, those of its thinking included.
    pub(crate) tokens: u64,
}

impl Reply {
    /// The reply to a request.
    pub(crate) fn to(ask: &Ask<'_>) -> Self {
        let simulate = ask.simulate;
        let mut blocks = Vec::new();
        if simulate.redacted_thinking {
            blocks.push(Block::Redacted);
        }
        if let Some(thinking) = simulate.thinking.as_deref().or(ask.thinks.then_some(THOUGHT)) {
            blocks.push(Block::Thinking(thinking.to_owned()));
        }
        if simulate.unknown_blocks {
            blocks.push(Block::Unknown);
        }
        let (content, mut finish) = content(ask);
        blocks.extend(content);
        match simulate.stop_reason.as_deref() {
            Some("refusal") => blocks.clear(),
            Some("pause_turn") => blocks.push(Block::Search),
            _ => {}
        }
        if let Some(reason) = &simulate.stop_reason {
            finish = Finish::Named(reason.clone());
        }
        let tokens = blocks.iter().map(Block::tokens).sum();
        let is_scripted = simulate.content.is_some()
            || simulate.content_bytes.is_some()
            || simulate.events.is_some()
            || simulate.refusal.is_some()
            || blocks.iter().any(|block| matches!(block, Block::Call(_)));
        let reply = Self { blocks, finish, tokens };
        // An honest provider bills no more than it was asked for.
        if is_scripted && simulate.bill.is_none() { reply } else { reply.limited(ask.limit) }
    }

    /// The tokens of the thinking.
    pub(crate) fn thinking_tokens(&self) -> u64 {
        let thinking = |block: &&Block| matches!(block, Block::Thinking(_) | Block::Redacted);
        self.blocks.iter().filter(thinking).map(Block::tokens).sum()
    }

    fn limited(mut self, limit: Option<u64>) -> Self {
        let Some(limit) = limit.filter(|limit| self.tokens > *limit) else { return self };
        let mut left = limit;
        for block in &mut self.blocks {
            let piece = if let Block::Text { piece, .. } = block { *piece } else { None };
            if let Block::Text { text, .. } | Block::Thinking(text) = block {
                let keep = pieces(text, piece)
                    .scan(0, |used, piece| {
                        *used += words(piece);
                        (*used <= left).then_some(piece.len())
                    })
                    .sum();
                text.truncate(keep);
            }
            left = left.saturating_sub(block.tokens());
        }
        self.tokens = limit;
        self.finish = Finish::Length;
        self
    }
}

impl Block {
    fn tokens(&self) -> u64 {
        match self {
            Self::Thinking(text) | Self::Text { text, .. } | Self::Refusal(text) => words(text),
            Self::Call(call) => call.tokens(),
            Self::Redacted | Self::Search => 1,
            Self::Unknown => 0,
        }
    }
}

/// The text or the calls.
fn content(ask: &Ask<'_>) -> (Vec<Block>, Finish) {
    let simulate = ask.simulate;
    let text = |text: String, piece| vec![Block::Text { text, piece }];
    if let Some(refusal) = &simulate.refusal {
        return (vec![Block::Refusal(refusal.clone())], Finish::End);
    }
    let generated = if let Some(content) = &simulate.content {
        Some(text(content.clone(), None))
    } else if let Some(size) = simulate.content_bytes {
        let mut filler = FILLER.repeat(size.div_ceil(FILLER.len()));
        filler.truncate(size);
        Some(text(filler, None))
    } else {
        simulate.events.map(|events| text(TOK.repeat(events), Some(TOK.len())))
    };
    if ask.has_tools && !simulate.calls.is_empty() {
        let numbered = (ask.earlier_calls + 1..).zip(&simulate.calls);
        let calls = numbered.map(|(n, call)| Block::Call(scripted(n, call)));
        return (generated.into_iter().flatten().chain(calls).collect(), Finish::Calls);
    }
    if let Some(generated) = generated {
        return (generated, Finish::End);
    }
    let said = match ask.turn {
        Turn::ToolCall(name) => {
            let input = ARGUMENTS.map(str::to_owned).to_vec();
            let call = Call { n: ask.earlier_calls + 1, name: name.clone(), input };
            return (vec![Block::Call(call)], Finish::Calls);
        }
        Turn::User(text) => format!("You said: {}", quotable(text)),
        Turn::ToolResult(text) => format!("The tool said: {}", quotable(text)),
        Turn::Nothing => "Hello from the simulated provider.".to_owned(),
    };
    let stop = ask.stops.iter().filter_map(|stop| Some((said.find(stop.as_str())?, stop))).min();
    let (said, finish) = match stop {
        Some((at, stop)) => (said.get(..at).unwrap_or_default().to_owned(), Finish::Stop(stop.clone())),
        None => (said, Finish::End),
    };
    let said = match ask.json {
        Some(field) => format!("{{{}:{}}}", json::quoted(field), json::quoted(&said)),
        None => said,
    };
    (text(said, None), finish)
}

fn scripted(n: u64, call: &ScriptedCall) -> Call {
    let input = if call.input.is_empty() {
        Vec::new()
    } else {
        let text = serde_json::Value::Object(call.input.clone()).to_string();
        pieces(&text, Some(ARGUMENT_PIECE)).map(str::to_owned).collect()
    };
    Call { n, name: call.name.clone(), input }
}

/// The number of tokens of a text: its words between white space.
pub(crate) fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
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
    use crate::chat::Chat;

    fn reply(value: &Value) -> (String, Finish, u64) {
        let chat = Chat::read_alone(value.to_string().as_bytes()).unwrap();
        let reply = Reply::to(&chat.ask());
        let texts = reply.blocks.iter().map(|block| match block {
            Block::Text { text, .. } => text.clone(),
            Block::Call(call) => format!("call {} {} {}", call.n, call.name, call.arguments()),
            other => format!("{other:?}"),
        });
        (texts.collect::<Vec<_>>().join(", "), reply.finish, reply.tokens)
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
        assert_eq!(reply(&ask(3)), ("You said: a".to_owned(), Finish::Length, 3));
        assert_eq!(reply(&ask(5)), ("You said: a b c".to_owned(), Finish::End, 5));
        assert_eq!(reply(&ask(0)), (String::new(), Finish::Length, 0));
    }

    #[test]
    fn generated_content_has_the_requested_size() {
        assert_eq!(reply(&json!({"simulate": {"content_bytes": 1000}})).0.len(), 1000);
        assert_eq!(reply(&json!({"simulate": {"events": 3}})), ("tok tok tok ".to_owned(), Finish::End, 3));
        let json_text = reply(&json!({"response_format": {"type": "json_object"}})).0;
        assert!(serde_json::from_str::<Value>(&json_text).unwrap()["answer"].is_string());
    }

    #[test]
    fn a_script_decides_the_calls_of_a_request_with_tools() {
        let tools = json!([{"type": "function", "function": {"name": "f"}}]);
        let user = |text: &str| json!([{"role": "user", "content": text}]);
        let prompt = user("go [[call f {\"a\":\"b c\"}]] [[call g]] on");
        let called = "call 1 f {\"a\":\"b c\"}, call 2 g {}".to_owned();
        assert_eq!(reply(&json!({"tools": tools, "messages": prompt})), (called, Finish::Calls, 3));
        assert_eq!(reply(&json!({"messages": prompt})).0, "You said: go   on");
        let ask = json!({"tools": tools, "messages": user("a"),
            "simulate": {"content": "I call:", "thinking": "so", "calls": [{"name": "f"}]}});
        assert_eq!(reply(&ask), ("Thinking(\"so\"), I call:, call 1 f {}".to_owned(), Finish::Calls, 4));
    }

    #[test]
    fn a_stop_sequence_ends_the_text_before_it() {
        let ask =
            json!({"stop": ["zz", "two", "One two"], "messages": [{"role": "user", "content": "One two"}]});
        assert_eq!(reply(&ask), ("You said: ".to_owned(), Finish::Stop("One two".to_owned()), 2));
    }
}
