//! The neutral form of a conversation: what a request in any chat format says, and what a response says.
//!
//! A call whose upstream serves the caller's own format never comes here: its bytes pass. Otherwise the caller's format
//! is read into a [`Conversation`] and written in the upstream's format; the upstream's response is read into
//! [`delta::Delta`]s and written in the caller's format. So each format has one reader and one writer, and no format
//! knows another one.
//!
//! The form is narrow: it has what at least two formats can say. What it cannot hold is either an error, if it changes
//! the meaning of the request, or is dropped and named in [`Conversation::dropped`], if it is only a hint. This module
//! reads and writes no format.

pub mod carrier;
pub mod delta;
pub mod ids;
pub mod names;

use std::borrow::Cow;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// A request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversation {
    /// The turns, in the order of the request; system prompts may be anywhere.
    pub turns: Vec<Turn>,
    /// The tools that the model may call, in order.
    pub tools: Vec<Tool>,
    /// Which of them it must call; `None` if the request does not say.
    pub tool_choice: Option<ToolChoice>,
    /// `Some(false)` if the model may call only one tool at a time.
    pub parallel_tool_calls: Option<bool>,
    /// The longest output, in tokens.
    pub max_output: Option<u64>,
    /// The choice among likely tokens.
    pub sampling: Sampling,
    /// The texts at which the output ends.
    pub stop: Vec<String>,
    /// The shape of the output; `None` for text.
    pub output: Option<Output>,
    /// The amount of thinking before the answer.
    pub thinking: Option<Thinking>,
    /// The end user, as the caller names them.
    pub user: Option<String>,
    /// The calls with the same key share the provider's prompt cache: OpenAI's `prompt_cache_key`.
    pub cache_key: Option<String>,
    /// The capacity that serves the call; `None` leaves it to the provider.
    pub service_tier: Option<ServiceTier>,
    /// The caller's fields that have no place in this form and are only hints: names as in the request, with dots.
    pub dropped: Vec<String>,
}

/// The contribution of one participant, until another one speaks.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// The participant.
    pub role: Role,
    /// Its pieces, in order.
    pub parts: Vec<Part>,
}

/// A participant of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The author of the instructions: `system` and `developer`.
    System,
    /// The user, and the tools that report to the model.
    User,
    /// The model.
    Assistant,
}

/// A piece of a turn, with the caller's wish to cache everything up to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The piece.
    pub piece: Piece,
    /// The value of `cache_control`, as Anthropic defines it and OpenRouter and `LiteLLM` accept it.
    pub cache_control: Option<Value>,
}

/// A piece of a turn.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text, never empty.
    Text(String),
    /// The model's refusal to answer, as text.
    Refusal(String),
    /// The model's reasoning.
    Reasoning(Reasoning),
    /// The model calls a tool.
    ToolCall(ToolCall),
    /// A tool reports to the model.
    ToolResult(ToolResult),
    /// An image.
    Image(Media),
    /// A document.
    Document(Document),
    /// Audio.
    Audio(Media),
}

/// Reasoning that a model produced, and that its maker wants back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasoning {
    /// The reasoning, or its summary, as text; empty if only the blob was shown.
    pub text: String,
    /// The opaque blob that belongs to it (a signature or encrypted content), with its maker.
    pub blob: Option<carrier::Blob>,
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// The id, as the request or the response has it.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments as JSON text, as the model wrote them: an object, or what the model wrote instead. Never empty:
    /// no arguments are `{}`.
    pub arguments: String,
}

/// The result of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    /// The id of the call.
    pub call_id: String,
    /// The result: text, images and documents.
    pub content: Vec<Piece>,
    /// `true` if the tool failed.
    pub is_error: bool,
}

/// Bytes of a media type, or where to find them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Media {
    /// The bytes in base64.
    Inline {
        /// The media type: `image/png`. For audio also OpenAI's short form: `wav`.
        media_type: String,
        /// The bytes, in base64.
        data: String,
    },
    /// The address, which the provider fetches.
    Url(String),
}

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The name of the file, or the title.
    pub name: Option<String>,
    /// Its content.
    pub content: DocumentContent,
}

/// The content of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentContent {
    /// A file, such as a PDF.
    Media(Media),
    /// Plain text.
    Text(String),
}

/// A tool that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// The name.
    pub name: String,
    /// Its purpose.
    pub description: Option<String>,
    /// The JSON Schema of the arguments, an object.
    pub parameters: Map<String, Value>,
    /// `true` if the arguments must match the schema exactly.
    pub strict: Option<bool>,
    /// As in [`Part`].
    pub cache_control: Option<Value>,
}

/// Which tools the model calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    Auto,
    /// None.
    None,
    /// At least one.
    Required,
    /// This one.
    One(String),
}

/// The choice among likely tokens. Numbers as the caller wrote them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sampling {
    /// The temperature: 0 to 2 in OpenAI's formats, 0 to 1 in Anthropic's.
    pub temperature: Option<f64>,
    /// The probability mass that is considered.
    pub top_p: Option<f64>,
    /// The number of tokens that are considered.
    pub top_k: Option<u64>,
    /// The seed.
    pub seed: Option<i64>,
    /// The penalty for tokens that are there already.
    pub presence_penalty: Option<f64>,
    /// The penalty for tokens by how often they are there already.
    pub frequency_penalty: Option<f64>,
}

/// The shape of the output.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Any JSON object.
    JsonObject,
    /// JSON that matches a schema.
    JsonSchema {
        /// The name, which OpenAI's formats require.
        name: Option<String>,
        /// The description.
        description: Option<String>,
        /// The schema.
        schema: Value,
        /// `true` if it must be matched exactly.
        strict: Option<bool>,
    },
}

/// The capacity of a provider that serves a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceTier {
    /// The usual one, whatever the account has reserved: OpenAI's `default`, Anthropic's `standard_only`.
    Standard,
    /// Slower, at a lower price.
    Flex,
    /// Faster, at a higher price.
    Priority,
}

impl ServiceTier {
    /// The word of OpenAI's formats.
    pub const fn of_openai(self) -> &'static str {
        match self {
            ServiceTier::Standard => "default",
            ServiceTier::Flex => "flex",
            ServiceTier::Priority => "priority",
        }
    }
}

/// Reads the service tier of any format, `None` for `auto`, which leaves it to the provider. `drop` reports a tier that no
/// other format has.
pub fn service_tier(word: Option<String>, drop: impl FnOnce()) -> Option<ServiceTier> {
    match word?.as_str() {
        "auto" => None,
        "default" | "standard" | "standard_only" => Some(ServiceTier::Standard),
        "flex" => Some(ServiceTier::Flex),
        "priority" => Some(ServiceTier::Priority),
        _ => {
            drop();
            None
        }
    }
}

/// The longest `user` that OpenAI's formats accept, in bytes.
const LONGEST_USER: usize = 64;

/// The user for OpenAI's formats: one with a longer name as its hash, which names the same user.
pub fn short_user(user: &str) -> Cow<'_, str> {
    if user.len() <= LONGEST_USER { user.into() } else { hex::encode(Sha256::digest(user)).into() }
}

/// The amount of thinking before an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// Not at all.
    Off,
    /// By an effort.
    Effort(Effort),
    /// By the number of tokens it may take.
    Budget(u64),
    /// As the model sees fit.
    Adaptive,
}

/// The effort of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// `minimal`
    Minimal,
    /// `low`
    Low,
    /// `medium`
    Medium,
    /// `high`
    High,
    /// `xhigh`
    XHigh,
    /// `max`
    Max,
}

impl Effort {
    /// All efforts, from least to most.
    pub const ALL: [Effort; 6] =
        [Effort::Minimal, Effort::Low, Effort::Medium, Effort::High, Effort::XHigh, Effort::Max];

    /// The word that all formats use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Effort::Minimal => "minimal",
            Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High => "high",
            Effort::XHigh => "xhigh",
            Effort::Max => "max",
        }
    }

    /// The budget of thinking that corresponds to the effort, in tokens.
    pub const fn budget(self) -> u64 {
        match self {
            Effort::Minimal => 1_024,
            Effort::Low => 2_048,
            Effort::Medium => 8_192,
            Effort::High => 16_384,
            Effort::XHigh => 24_576,
            Effort::Max => 32_768,
        }
    }

    /// The effort that corresponds to a budget of thinking, in tokens: the most whose budget is not larger.
    pub fn of_budget(tokens: u64) -> Effort {
        Effort::ALL.into_iter().rev().find(|effort| effort.budget() <= tokens).unwrap_or(Effort::Minimal)
    }

    /// The effort of a word.
    pub fn read(word: &str) -> Option<Effort> {
        Effort::ALL.into_iter().find(|effort| effort.as_str() == word)
    }
}

impl From<Piece> for Part {
    fn from(piece: Piece) -> Part {
        Part { piece, cache_control: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effort_survives_its_way_as_a_budget() {
        for effort in Effort::ALL {
            assert_eq!(Effort::of_budget(effort.budget()), effort);
        }
        for (budget, effort) in
            [(0, Effort::Minimal), (4_096, Effort::Low), (10_000, Effort::Medium), (200_000, Effort::Max)]
        {
            assert_eq!(Effort::of_budget(budget), effort, "{budget}");
        }
    }
}
