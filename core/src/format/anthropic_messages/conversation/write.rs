//! Writes a Messages request from the neutral form.

use std::borrow::Cow;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::abilities::Abilities;
use super::schema;
use crate::conversation::carrier::Kind;
use crate::conversation::{
    Conversation, Document, DocumentContent, Effort, Media, Output, Part, Piece, Reasoning, Role,
    ServiceTier, Thinking, Tool, ToolCall, ToolChoice, ToolResult, ids,
};
use crate::error::{Code, Error};
use crate::format::anthropic_messages::input;
use crate::format::target::Target;
use crate::json;

/// The least budget for thinking that Anthropic accepts, in tokens.
const LEAST_BUDGET: u64 = 1024;
/// The longest `metadata.user_id`, in bytes.
const LONGEST_USER: usize = 256;
/// The text in front of an assistant's message that begins the conversation: the user always begins in Messages.
const OPENING: &str = ".";

/// Writes a Messages request (JSON) for a model. Returns it with the names of the fields that were dropped or changed,
/// with the names of OpenAI's formats, which the callers of other formats know: `seed`, `temperature=1`. The fields in
/// [`Conversation::dropped`] are not among them. The error is a 400: the model does not accept what the conversation
/// asks for.
pub fn write(conversation: &Conversation, target: &Target<'_>) -> Result<(Vec<u8>, Vec<String>), Error> {
    let abilities = Abilities::of(target.model, &target.facts);
    let mut writer = Writer { conversation, target, abilities, adjusted: Vec::new() };
    let request = writer.request()?;
    Ok((json::to_text(&request).into_bytes(), writer.adjusted))
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    max_tokens: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolOffer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thought>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
    #[serde(skip_serializing_if = "is_false")]
    stream: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

#[derive(Serialize)]
struct Block<'a> {
    #[serde(flatten)]
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<&'a Value>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Content<'a> {
    Text {
        text: Cow<'a, str>,
    },
    Image {
        source: Source<'a>,
    },
    Document {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: &'a str,
        input: Box<RawValue>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        content: Vec<Block<'a>>,
        #[serde(skip_serializing_if = "is_false")]
        is_error: bool,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    RedactedThinking {
        data: &'a str,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Source<'a> {
    Base64 { media_type: &'a str, data: &'a str },
    Url { url: &'a str },
    Text { media_type: &'static str, data: Cow<'a, str> },
}

#[derive(Serialize)]
struct ToolOffer<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: Value,
    #[serde(skip_serializing_if = "is_false")]
    strict: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<&'a Value>,
}

#[derive(Serialize)]
struct Choice<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    disable_parallel_tool_use: bool,
}

#[derive(Clone, Copy, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Thought {
    Disabled,
    Enabled {
        budget_tokens: u64,
    },
    /// Newer models omit the text of their thinking unless they are asked for it.
    Adaptive {
        display: &'static str,
    },
}

#[derive(Serialize)]
struct OutputConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<OutputFormat>,
}

#[derive(Serialize)]
struct OutputFormat {
    r#type: &'static str,
    schema: Value,
}

#[derive(Serialize)]
struct Metadata<'a> {
    user_id: &'a str,
}

struct Writer<'a> {
    conversation: &'a Conversation,
    target: &'a Target<'a>,
    abilities: Abilities,
    /// The fields that were dropped or changed.
    adjusted: Vec<String>,
}

impl<'a> Writer<'a> {
    fn request(&mut self) -> Result<Request<'a>, Error> {
        let conversation = self.conversation;
        let max_tokens = self.max_tokens();
        let Messages { system, list: messages, .. } = self.messages()?;
        self.check_prefill(&messages)?;
        let tools: Vec<_> = conversation.tools.iter().map(|tool| self.tool(tool)).collect();
        let tool_choice = self.tool_choice();
        let (thinking, effort) = self.thinking(max_tokens, &messages);
        let format = self.output_format()?;
        let is_thinking = matches!(thinking, Some(Thought::Enabled { .. } | Thought::Adaptive { .. }));
        let (temperature, top_p, top_k) = self.sampling(is_thinking);
        let stop_sequences = self.stop_sequences();
        let metadata = self.metadata();
        if conversation.cache_key.is_some() {
            self.adjust("prompt_cache_key");
        }
        let service_tier = self.service_tier();
        Ok(Request {
            model: self.target.model,
            max_tokens,
            system,
            messages,
            tools,
            tool_choice,
            thinking,
            output_config: (effort.is_some() || format.is_some())
                .then(|| OutputConfig { effort: effort.map(Effort::as_str), format }),
            temperature,
            top_p,
            top_k,
            stop_sequences,
            metadata,
            service_tier,
            stream: self.target.stream,
        })
    }

    /// Reports a field as dropped or changed, once.
    fn adjust(&mut self, field: impl Into<String>) {
        let field = field.into();
        if !self.adjusted.contains(&field) {
            self.adjusted.push(field);
        }
    }

    /// The limit of the output, which Messages requires.
    fn max_tokens(&mut self) -> u64 {
        let asked = self.conversation.max_output.map(|asked| asked.max(1));
        let wanted = asked.unwrap_or_else(|| self.abilities.usual_output());
        let most =
            self.abilities.max_output.unwrap_or(u64::MAX).min(self.target.output_limit.unwrap_or(u64::MAX));
        let max_tokens = wanted.min(most.max(1));
        let is_limited =
            max_tokens < wanted || (asked.is_none() && self.target.output_limit == Some(max_tokens));
        if is_limited {
            self.adjust(format!("max_tokens={max_tokens}"));
        }
        max_tokens
    }

    fn messages(&mut self) -> Result<Messages<'a>, Error> {
        let mut turns = self.conversation.turns.iter().peekable();
        let mut messages = Messages::default();
        while let Some(turn) = turns.next_if(|turn| turn.role == Role::System) {
            messages.system.extend(self.blocks(&turn.parts)?);
        }
        for turn in turns {
            let blocks = self.blocks(&turn.parts)?;
            match turn.role {
                Role::Assistant => messages.assistant(blocks),
                Role::User => messages.user(blocks),
                Role::System if self.abilities.system_messages => messages.late_system.extend(blocks),
                Role::System => messages.user(blocks.into_iter().map(reminder).collect()),
            }
            messages.place_late_system();
        }
        messages.finish();
        if messages.list.is_empty() {
            let error = Error::new(Code::InvalidValue, "'messages' has no message with content");
            return Err(error.with_param("messages"));
        }
        Ok(messages)
    }

    /// Newer models do not continue a message of the assistant.
    fn check_prefill(&mut self, messages: &[Message<'_>]) -> Result<(), Error> {
        if self.abilities.prefill || !ends_with_the_assistant(messages) {
            return Ok(());
        }
        let message = "'messages' ends with a message of the assistant, which this model does not continue; \
            end with a message of the user";
        Err(Error::new(Code::UnsupportedParameter, message).with_param("messages"))
    }

    fn blocks(&mut self, parts: &'a [Part]) -> Result<Vec<Block<'a>>, Error> {
        let mut blocks = Vec::with_capacity(parts.len());
        for Part { piece, cache_control } in parts {
            let Some(content) = self.content(piece)? else { continue };
            let is_reasoning = matches!(piece, Piece::Reasoning(_));
            blocks.push(Block { content, cache_control: cache_control.as_ref().filter(|_| !is_reasoning) });
        }
        Ok(blocks)
    }

    /// The block of a piece; `None` if it must not be sent. Anthropic rejects blocks of blank text.
    fn content(&mut self, piece: &'a Piece) -> Result<Option<Content<'a>>, Error> {
        Ok(match piece {
            Piece::Text(text) | Piece::Refusal(text) => {
                (!text.trim().is_empty()).then(|| Content::Text { text: Cow::Borrowed(text) })
            }
            Piece::Reasoning(reasoning) => self.reasoning(reasoning),
            Piece::ToolCall(ToolCall { id, name, arguments }) => {
                Some(Content::ToolUse { id: ids::fit(id, ids::MESSAGES), name, input: input::of(arguments) })
            }
            Piece::ToolResult(ToolResult { call_id, content, is_error }) => {
                let mut blocks = Vec::with_capacity(content.len());
                for piece in content {
                    blocks.extend(self.content(piece)?.map(|content| Block { content, cache_control: None }));
                }
                let tool_use_id = ids::fit(call_id, ids::MESSAGES);
                Some(Content::ToolResult { tool_use_id, content: blocks, is_error: *is_error })
            }
            Piece::Image(media) => Some(Content::Image { source: image_source(media)? }),
            Piece::Document(document) => document_block(document)?,
            Piece::Audio(_) => return Err(unsupported("input_audio", "Audio")),
        })
    }

    /// Reasoning goes to its maker only: every other lane rejects the blob, and no lane wants the text alone.
    fn reasoning(&mut self, Reasoning { text, blob }: &'a Reasoning) -> Option<Content<'a>> {
        let own = blob.as_ref().filter(|blob| blob.maker == self.target.maker);
        let content = own.and_then(|blob| match blob.kind {
            Kind::Signature => Some(Content::Thinking { thinking: text, signature: &blob.data }),
            Kind::Redacted => Some(Content::RedactedThinking { data: &blob.data }),
            Kind::Plain => Some(Content::Thinking { thinking: text, signature: "" }),
            Kind::Encrypted => None,
        });
        if content.is_none() {
            self.adjust("reasoning");
        }
        content
    }

    fn tool(&mut self, tool: &'a Tool) -> ToolOffer<'a> {
        let mut input_schema = Value::Object(object_schema(&tool.parameters));
        let is_strict = tool.strict == Some(true);
        if is_strict && (!self.abilities.schemas || schema::close(&mut input_schema)) {
            self.adjust("tools.strict");
        }
        ToolOffer {
            name: &tool.name,
            description: tool.description.as_deref(),
            input_schema,
            strict: is_strict && self.abilities.schemas,
            cache_control: tool.cache_control.as_ref(),
        }
    }

    fn tool_choice(&self) -> Option<Choice<'a>> {
        if self.conversation.tools.is_empty() {
            return None;
        }
        let is_single = self.conversation.parallel_tool_calls == Some(false);
        let (kind, name) = match &self.conversation.tool_choice {
            None if is_single => ("auto", None),
            None => return None,
            Some(ToolChoice::Auto) => ("auto", None),
            Some(ToolChoice::None) => ("none", None),
            Some(ToolChoice::Required) => ("any", None),
            Some(ToolChoice::One(name)) => ("tool", Some(name.as_str())),
        };
        Some(Choice { r#type: kind, name, disable_parallel_tool_use: is_single && kind != "none" })
    }

    /// The thinking and the effort.
    fn thinking(&mut self, max_tokens: u64, messages: &[Message<'_>]) -> (Option<Thought>, Option<Effort>) {
        let Some(wanted) = self.conversation.thinking else { return (None, None) };
        let field = if matches!(wanted, Thinking::Effort(_)) { "reasoning_effort" } else { "thinking" };
        let Abilities { thinks, always_thinks, adaptive, budgets, .. } = self.abilities;
        if !thinks {
            if wanted != Thinking::Off {
                self.adjust(field);
            }
            return (None, None);
        }
        let off = (!always_thinks).then_some(Thought::Disabled);
        if wanted == Thinking::Off {
            if always_thinks {
                self.adjust("reasoning_effort");
            }
            return (off, None);
        }
        let effort = self.effort(wanted);
        if adaptive && !(budgets && matches!(wanted, Thinking::Budget(_))) {
            if !always_thinks && (self.forces_a_tool() || ends_with_the_assistant(messages)) {
                self.adjust(field);
                return (off, effort);
            }
            return (Some(Thought::Adaptive { display: "summarized" }), effort);
        }
        let (budget, most) = match wanted {
            Thinking::Budget(budget) => (budget, max_tokens.saturating_sub(1)),
            // The answer needs its part of the output too.
            Thinking::Effort(effort) => (effort.budget(), max_tokens / 2),
            Thinking::Adaptive | Thinking::Off => (Effort::High.budget(), max_tokens / 2),
        };
        let is_impossible = most < LEAST_BUDGET
            || self.forces_a_tool()
            || ends_with_the_assistant(messages)
            || lacks_its_thinking(messages);
        if is_impossible {
            self.adjust(field);
            return (off, effort);
        }
        let budget_tokens = budget.clamp(LEAST_BUDGET, most);
        if matches!(wanted, Thinking::Budget(_)) && budget_tokens != budget {
            self.adjust(format!("thinking.budget_tokens={budget_tokens}"));
        }
        (Some(Thought::Enabled { budget_tokens }), effort)
    }

    /// The value of `output_config.effort`: the asked one, or the nearest that the model accepts.
    fn effort(&mut self, wanted: Thinking) -> Option<Effort> {
        let asked = match wanted {
            Thinking::Effort(effort) => effort,
            Thinking::Budget(budget) if !self.abilities.budgets => Effort::of_budget(budget),
            Thinking::Budget(_) | Thinking::Adaptive | Thinking::Off => return None,
        };
        let effort = self.abilities.efforts.nearest(asked)?;
        match wanted {
            Thinking::Effort(_) if effort != asked => {
                self.adjust(format!("reasoning_effort={}", effort.as_str()));
            }
            Thinking::Budget(_) => self.adjust(format!("thinking>effort={}", effort.as_str())),
            _ => {}
        }
        Some(effort)
    }

    /// Anthropic does not think before a call that the caller forces.
    fn forces_a_tool(&self) -> bool {
        matches!(self.conversation.tool_choice, Some(ToolChoice::Required | ToolChoice::One(_)))
            && !self.conversation.tools.is_empty()
    }

    fn output_format(&mut self) -> Result<Option<OutputFormat>, Error> {
        let param = "response_format";
        match &self.conversation.output {
            None => Ok(None),
            Some(Output::JsonObject) => {
                let message = "This model has no JSON mode without a schema; use 'response_format' with the type \
                    \"json_schema\"";
                Err(Error::new(Code::UnsupportedParameter, message).with_param(param))
            }
            Some(Output::JsonSchema { .. }) if !self.abilities.schemas => {
                Err(unsupported(param, "Output by a JSON schema"))
            }
            Some(Output::JsonSchema { schema, .. }) => {
                let mut schema = schema.clone();
                if schema::close(&mut schema) {
                    self.adjust("response_format.json_schema.schema");
                }
                Ok(Some(OutputFormat { r#type: "json_schema", schema }))
            }
        }
    }

    /// Temperature, `top_p` and `top_k`, as far as the model accepts them.
    fn sampling(&mut self, is_thinking: bool) -> (Option<f64>, Option<f64>, Option<u64>) {
        let sampling = self.conversation.sampling;
        if sampling.seed.is_some() {
            self.adjust("seed");
        }
        let penalties = [
            ("presence_penalty", sampling.presence_penalty),
            ("frequency_penalty", sampling.frequency_penalty),
        ];
        for (name, _) in penalties.iter().filter(|(_, penalty)| penalty.is_some_and(|penalty| penalty != 0.0))
        {
            self.adjust(*name);
        }
        let accepts = self.abilities.sampling;
        // With thinking, only values that change little are accepted.
        let temperature = sampling.temperature.filter(|given| {
            let is_usual = (*given - 1.0).abs() < f64::EPSILON;
            self.keep("temperature", accepts && !is_thinking, is_usual)
        });
        let temperature = temperature.map(|given| {
            if given > 1.0 {
                self.adjust("temperature=1");
            }
            given.min(1.0)
        });
        let is_alone = self.abilities.both_samplings || temperature.is_none();
        let top_p = sampling.top_p.filter(|given| {
            let is_accepted = accepts && is_alone && (!is_thinking || *given >= 0.95);
            self.keep("top_p", is_accepted, *given >= 0.99)
        });
        let top_k = sampling.top_k.filter(|_| self.keep("top_k", accepts && !is_thinking, false));
        (temperature, top_p, top_k)
    }

    /// Returns `is_accepted`. A field that is not kept is reported, unless its value is without effect.
    fn keep(&mut self, field: &str, is_accepted: bool, is_usual: bool) -> bool {
        if !is_accepted && !is_usual {
            self.adjust(field);
        }
        is_accepted
    }

    /// Anthropic rejects blank sequences.
    fn stop_sequences(&mut self) -> Vec<&'a str> {
        let (blank, rest): (Vec<&str>, Vec<&str>) =
            self.conversation.stop.iter().map(String::as_str).partition(|text| text.trim().is_empty());
        if !blank.is_empty() {
            self.adjust("stop");
        }
        rest
    }

    /// The service tier. Only Anthropic itself has another one than the standard, and it has no word for OpenAI's others.
    fn service_tier(&mut self) -> Option<&'static str> {
        match self.conversation.service_tier? {
            ServiceTier::Standard => (self.target.provider == "anthropic").then_some("standard_only"),
            ServiceTier::Flex | ServiceTier::Priority => {
                self.adjust("service_tier");
                None
            }
        }
    }

    fn metadata(&mut self) -> Option<Metadata<'a>> {
        let user_id = self.conversation.user.as_deref()?;
        if user_id.len() > LONGEST_USER {
            self.adjust("user");
            return None;
        }
        Some(Metadata { user_id })
    }
}

/// The messages, in the order that Messages demands.
#[derive(Default)]
struct Messages<'a> {
    system: Vec<Block<'a>>,
    list: Vec<Message<'a>>,
    /// The ids of all calls so far.
    call_ids: BTreeSet<String>,
    /// The calls that have no result yet: the id without a number, as results have it, and the written one.
    open_calls: Vec<(String, String)>,
    /// System prompts in the middle that have no place yet: such a message follows a message of the user, and must
    /// not come between calls and results.
    late_system: Vec<Block<'a>>,
}

impl<'a> Messages<'a> {
    fn assistant(&mut self, mut blocks: Vec<Block<'a>>) {
        if blocks.is_empty() {
            return;
        }
        for block in &mut blocks {
            if let Content::ToolUse { id, .. } = &mut block.content {
                let fitted = id.to_string();
                // The number goes to the id before it is escaped, so that it can be read again.
                let unique = self.unique(&ids::restore(&fitted));
                *id = Cow::Owned(ids::fit(&unique, ids::MESSAGES).into_owned());
                self.open_calls.push((fitted, id.to_string()));
            }
        }
        self.push("assistant", blocks);
    }

    /// The id of a call, with a number if an earlier call has the same: some models count from the start in each response, and
    /// Anthropic rejects ids that are not unique.
    fn unique(&mut self, id: &str) -> String {
        let numbered = (2..).map(|number| format!("{id}_{number}"));
        let unique = std::iter::once(id.to_owned()).chain(numbered).find(|id| !self.call_ids.contains(id));
        let unique = unique.unwrap_or_default();
        self.call_ids.insert(unique.clone());
        unique
    }

    fn user(&mut self, mut blocks: Vec<Block<'a>>) {
        if blocks.is_empty() {
            return;
        }
        for block in &mut blocks {
            if let Content::ToolResult { tool_use_id, .. } = &mut block.content
                && let Some(at) = self.open_calls.iter().position(|(fitted, _)| fitted == tool_use_id)
            {
                *tool_use_id = Cow::Owned(self.open_calls.remove(at).1);
            }
        }
        self.push("user", blocks);
        // Results come first; a text between a call and its result moves behind the result.
        if let Some(message) = self.list.last_mut() {
            message.content.sort_by_key(|block| !matches!(block.content, Content::ToolResult { .. }));
        }
    }

    /// Adds blocks to the last message, if it has the same role.
    fn push(&mut self, role: &'static str, blocks: Vec<Block<'a>>) {
        match self.list.last_mut() {
            Some(last) if last.role == role => last.content.extend(blocks),
            _ => self.list.push(Message { role, content: blocks }),
        }
    }

    /// Puts system prompts in the middle behind a message of the user that is complete.
    fn place_late_system(&mut self) {
        let is_complete = self.open_calls.is_empty()
            && self.list.last().is_some_and(|last| matches!(last.role, "user" | "system"));
        if is_complete && !self.late_system.is_empty() {
            let blocks = std::mem::take(&mut self.late_system);
            self.push("system", blocks);
        }
    }

    fn finish(&mut self) {
        let rest = std::mem::take(&mut self.late_system);
        self.user(rest.into_iter().map(reminder).collect());
        if self.list.is_empty() {
            // Instructions alone are the user's message.
            let system = std::mem::take(&mut self.system);
            self.user(system);
        }
        if self.list.first().is_some_and(|first| first.role == "assistant") {
            let opening = Content::Text { text: Cow::Borrowed(OPENING) };
            let content = vec![Block { content: opening, cache_control: None }];
            self.list.insert(0, Message { role: "user", content });
        }
        // Anthropic rejects trailing spaces in a message that it continues.
        if ends_with_the_assistant(&self.list)
            && let Some(Block { content: Content::Text { text }, .. }) =
                self.list.last_mut().and_then(|last| last.content.last_mut())
        {
            *text = Cow::Owned(text.trim_end().to_owned());
        }
    }
}

/// A system prompt in the middle, for a model that has them only at the beginning.
fn reminder(block: Block<'_>) -> Block<'_> {
    let Block { content, cache_control } = block;
    let content = match content {
        Content::Text { text } => {
            Content::Text { text: Cow::Owned(format!("<system-reminder>\n{text}\n</system-reminder>")) }
        }
        other => other,
    };
    Block { content, cache_control }
}

/// Returns `true` if the model is to continue a message of the assistant.
fn ends_with_the_assistant(messages: &[Message<'_>]) -> bool {
    messages.last().is_some_and(|last| last.role == "assistant")
}

/// Returns `true` if the request continues after tool calls that have no thinking in front of them: with a budget for
/// thinking, Anthropic demands the thinking that led to them.
fn lacks_its_thinking(messages: &[Message<'_>]) -> bool {
    let mut rest = messages.iter().rev();
    let returns_results = rest.next().is_some_and(|last| {
        last.content.iter().any(|block| matches!(block.content, Content::ToolResult { .. }))
    });
    let is_thinking = |block: &Block<'_>| {
        matches!(block.content, Content::Thinking { .. } | Content::RedactedThinking { .. })
    };
    let called = rest.find(|message| message.role == "assistant");
    returns_results && called.is_some_and(|message| !message.content.first().is_some_and(is_thinking))
}

/// The schema of a tool's arguments, which must say that they are an object.
fn object_schema(parameters: &Map<String, Value>) -> Map<String, Value> {
    let mut schema = parameters.clone();
    schema.entry("type").or_insert_with(|| Value::String("object".to_owned()));
    schema
}

fn image_source(media: &Media) -> Result<Source<'_>, Error> {
    match media {
        Media::Url(url) => Ok(Source::Url { url }),
        Media::Inline { media_type, data } => match media_type.as_str() {
            "image/jpeg" | "image/jpg" => Ok(Source::Base64 { media_type: "image/jpeg", data }),
            "image/png" | "image/gif" | "image/webp" => Ok(Source::Base64 { media_type, data }),
            _ => Err(unsupported("image_url", "An image that is not JPEG, PNG, GIF or WebP")),
        },
    }
}

/// The block of a document: PDF or plain text.
fn document_block(document: &Document) -> Result<Option<Content<'_>>, Error> {
    let text = |data| Source::Text { media_type: "text/plain", data };
    let source = match &document.content {
        DocumentContent::Text(data) if data.trim().is_empty() => return Ok(None),
        DocumentContent::Text(data) => text(Cow::Borrowed(data.as_str())),
        DocumentContent::Media(Media::Url(url)) => Source::Url { url },
        DocumentContent::Media(Media::Inline { media_type, data }) if media_type == "application/pdf" => {
            Source::Base64 { media_type, data }
        }
        DocumentContent::Media(Media::Inline { media_type, data }) => {
            let decoded = media_type.starts_with("text/").then(|| STANDARD.decode(data).ok()).flatten();
            match decoded.and_then(|bytes| String::from_utf8(bytes).ok()) {
                Some(decoded) => text(Cow::Owned(decoded)),
                None => return Err(unsupported("file", "A file that is neither PDF nor text")),
            }
        }
    };
    Ok(Some(Content::Document { source, title: document.name.as_deref() }))
}

/// The error for a part of the conversation that this lane does not accept.
fn unsupported(param: &'static str, what: &str) -> Error {
    Error::new(Code::UnsupportedParameter, format!("{what} is not supported for this model"))
        .with_param(param)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Facts;
    use crate::conversation::carrier::{Blob, Maker};
    use crate::conversation::{Sampling, Turn};
    use proptest::prelude::*;
    use serde_json::json;

    fn maker() -> Maker {
        Maker::of("anthropic", "claude")
    }

    fn target(model: &str) -> Target<'_> {
        let facts = Facts::default();
        Target { provider: "anthropic", model, facts, maker: maker(), stream: false, output_limit: None }
    }

    fn turn(role: Role, pieces: impl IntoIterator<Item = Piece>) -> Turn {
        Turn { role, parts: pieces.into_iter().map(Part::from).collect() }
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    fn call(id: &str) -> Piece {
        Piece::ToolCall(ToolCall { id: id.to_owned(), name: "f".to_owned(), arguments: String::new() })
    }

    fn result(id: &str, content: Vec<Piece>) -> Piece {
        Piece::ToolResult(ToolResult { call_id: id.to_owned(), content, is_error: false })
    }

    fn hello() -> Conversation {
        Conversation { turns: vec![turn(Role::User, [text("Hi")])], ..Conversation::default() }
    }

    fn of(turns: impl IntoIterator<Item = Turn>) -> Conversation {
        Conversation { turns: turns.into_iter().collect(), ..Conversation::default() }
    }

    fn tool() -> Tool {
        let parameters = Map::new();
        Tool { name: "f".to_owned(), description: None, parameters, strict: None, cache_control: None }
    }

    /// The request, and the adjusted fields in one text.
    fn written(conversation: &Conversation, target: &Target<'_>) -> (Value, String) {
        let (body, adjusted) = write(conversation, target).unwrap();
        (serde_json::from_slice(&body).unwrap(), adjusted.join(" "))
    }

    fn messages(conversation: &Conversation, model: &str) -> Value {
        written(conversation, &target(model)).0["messages"].take()
    }

    /// The roles and the first words or the types of the blocks: `user: Hi, tool_result`.
    fn outline(messages: &Value) -> Vec<String> {
        let block = |block: &Value| block["text"].as_str().or(block["type"].as_str()).unwrap().to_owned();
        let message = |message: &Value| {
            let blocks: Vec<_> = message["content"].as_array().unwrap().iter().map(block).collect();
            format!("{}: {}", message["role"].as_str().unwrap(), blocks.join(", "))
        };
        messages.as_array().unwrap().iter().map(message).collect()
    }

    #[test]
    fn the_smallest_request() {
        let (body, adjusted) = written(&hello(), &target("claude-opus-4-8"));
        let content = json!([{ "type": "text", "text": "Hi" }]);
        let expected = json!({
            "model": "claude-opus-4-8",
            "max_tokens": 8192,
            "messages": [{ "role": "user", "content": content }],
        });
        assert_eq!((body, adjusted.as_str()), (expected, ""));
    }

    #[test]
    fn the_output_limit_is_the_least_of_all() {
        let limit = |asked, most, allowed| {
            let facts = Facts { max_output: most, ..Facts::default() };
            let conversation = Conversation { max_output: asked, ..hello() };
            let target = Target { facts, output_limit: allowed, stream: true, ..target("m") };
            let (body, adjusted) = written(&conversation, &target);
            assert_eq!(body["stream"], true);
            (body["max_tokens"].as_u64().unwrap(), adjusted)
        };
        assert_eq!(limit(None, Some(64_000), None), (64_000, String::new()));
        assert_eq!(limit(Some(100), Some(64_000), Some(500)), (100, String::new()));
        assert_eq!(limit(Some(100), Some(50), None), (50, "max_tokens=50".to_owned()));
        assert_eq!(limit(Some(100), None, Some(10)), (10, "max_tokens=10".to_owned()));
        assert_eq!(limit(None, None, Some(10)), (10, "max_tokens=10".to_owned()));
    }

    #[test]
    fn results_come_first_and_right_behind_their_calls() {
        let conversation = of([
            turn(Role::System, [text("S")]),
            turn(Role::User, [text("Q")]),
            turn(Role::Assistant, [text("A")]),
            turn(Role::Assistant, [call("a"), call("b:1")]),
            turn(Role::User, [text("hurry")]),
            turn(Role::User, [result("a", vec![text("1"), text(" ")])]),
            turn(Role::System, [text("late")]),
            turn(Role::User, [result("b:1", vec![])]),
            turn(Role::User, [text("more"), text("")]),
        ]);
        let new = messages(&conversation, "claude-opus-4-8");
        assert_eq!(
            outline(&new),
            [
                "user: Q",
                "assistant: A, tool_use, tool_use",
                "user: tool_result, tool_result, hurry",
                "system: late",
                "user: more"
            ]
        );
        let call = &new[1]["content"][2];
        assert_eq!(call["id"], new[2]["content"][1]["tool_use_id"]);
        assert_eq!(ids::restore(call["id"].as_str().unwrap()), "b:1");
        assert_eq!(call["input"], json!({}));
        assert_eq!(new[2]["content"][0]["content"], json!([{ "type": "text", "text": "1" }]));
        assert_eq!(new[2]["content"][1].get("content"), None);
        let old = messages(&conversation, "claude-sonnet-4-5");
        let late = "user: tool_result, tool_result, hurry, <system-reminder>\nlate\n</system-reminder>, more";
        assert_eq!(outline(&old)[2], late);
    }

    #[test]
    fn ids_of_calls_are_unique() {
        let conversation = of([
            turn(Role::User, [text("Q")]),
            turn(Role::Assistant, [call("call_0"), call("call_0")]),
            turn(Role::User, [result("call_0", vec![text("1")]), result("call_0", vec![text("2")])]),
            turn(Role::Assistant, [call("call_0")]),
            turn(Role::User, [result("call_0", vec![text("3")])]),
        ]);
        let messages = messages(&conversation, "m");
        let ids = |message: usize, name: &str| -> Vec<String> {
            let blocks = messages[message]["content"].as_array().unwrap();
            blocks.iter().map(|block| block[name].as_str().unwrap().to_owned()).collect()
        };
        for (called, returned, expected) in [(1, 2, vec!["call_0", "call_0_2"]), (3, 4, vec!["call_0_3"])] {
            assert_eq!(ids(called, "id"), expected);
            assert_eq!(ids(returned, "tool_use_id"), expected);
        }
    }

    #[test]
    fn every_conversation_begins_with_the_user_and_has_a_message() {
        let outline = |turns: Vec<Turn>| outline(&messages(&of(turns), "claude-opus-4-8"));
        assert_eq!(outline(vec![turn(Role::System, [text("S")])]), ["user: S"]);
        let turns = vec![turn(Role::Assistant, [text("Hello")]), turn(Role::User, [text("Q")])];
        assert_eq!(outline(turns), ["user: .", "assistant: Hello", "user: Q"]);
        let turns = vec![turn(Role::User, [text("Q")]), turn(Role::Assistant, [text(" ")])];
        assert_eq!(outline(turns), ["user: Q"]);
        let turns = vec![
            turn(Role::User, [text("Q")]),
            turn(Role::Assistant, [text("A")]),
            turn(Role::System, [text("late")]),
            turn(Role::User, [text("R")]),
        ];
        assert_eq!(outline(turns), ["user: Q", "assistant: A", "user: R", "system: late"]);
        let empty = write(&of([turn(Role::User, [text(" ")])]), &target("m")).unwrap_err();
        assert!(empty.is(Code::InvalidValue));
    }

    #[test]
    fn only_older_models_continue_the_assistant() {
        let conversation = of([turn(Role::User, [text("Q")]), turn(Role::Assistant, [text("A: ")])]);
        assert_eq!(outline(&messages(&conversation, "claude-haiku-4-5")), ["user: Q", "assistant: A:"]);
        let error = write(&conversation, &target("claude-sonnet-4-6")).unwrap_err();
        assert!(error.is(Code::UnsupportedParameter) && error.param.as_deref() == Some("messages"));
    }

    #[test]
    fn reasoning_goes_to_its_maker_only() {
        let reasoning = |kind, maker, text: &str| {
            let blob = Some(Blob { kind, maker, data: "d".to_owned() });
            Piece::Reasoning(Reasoning { text: text.to_owned(), blob })
        };
        let other = Maker::of("openai", "gpt");
        let conversation = of([
            turn(Role::User, [text("Q")]),
            turn(
                Role::Assistant,
                [
                    reasoning(Kind::Signature, maker(), "own"),
                    reasoning(Kind::Redacted, maker(), ""),
                    reasoning(Kind::Encrypted, other, "foreign"),
                    Piece::Reasoning(Reasoning { text: "unsigned".to_owned(), blob: None }),
                    text("A"),
                ],
            ),
            turn(Role::User, [text("R")]),
        ]);
        let (body, adjusted) = written(&conversation, &target("claude-opus-4-5"));
        let expected = json!([
            { "type": "thinking", "thinking": "own", "signature": "d" },
            { "type": "redacted_thinking", "data": "d" },
            { "type": "text", "text": "A" },
        ]);
        assert_eq!(body["messages"][1]["content"], expected);
        assert_eq!(adjusted, "reasoning");
    }

    #[test]
    fn media_in_the_forms_that_messages_has() {
        let inline = |media_type: &str, data: &str| Media::Inline {
            media_type: media_type.to_owned(),
            data: data.to_owned(),
        };
        let document = |content| Piece::Document(Document { name: Some("n".to_owned()), content });
        let write_one = |piece: Piece| write(&of([turn(Role::User, [piece])]), &target("claude-opus-4-5"));
        let block = |piece: Piece| {
            let body: Value = serde_json::from_slice(&write_one(piece).unwrap().0).unwrap();
            body["messages"][0]["content"][0].clone()
        };
        assert_eq!(block(Piece::Image(inline("image/jpg", "AA")))["source"]["media_type"], "image/jpeg");
        let url = Media::Url("https://a.example".to_owned());
        assert_eq!(
            block(Piece::Image(url.clone()))["source"],
            json!({ "type": "url", "url": "https://a.example" })
        );
        let pdf = DocumentContent::Media(inline("application/pdf", "AA"));
        assert_eq!(
            block(document(pdf)),
            json!({
                "type": "document", "title": "n",
                "source": { "type": "base64", "media_type": "application/pdf", "data": "AA" },
            })
        );
        let plain = json!({ "type": "text", "media_type": "text/plain", "data": "Hi" });
        assert_eq!(block(document(DocumentContent::Text("Hi".to_owned())))["source"], plain);
        assert_eq!(block(document(DocumentContent::Media(inline("text/markdown", "SGk="))))["source"], plain);
        for (piece, param) in [
            (Piece::Audio(inline("wav", "AA")), "input_audio"),
            (Piece::Image(inline("image/bmp", "AA")), "image_url"),
            (document(DocumentContent::Media(inline("application/zip", "AA"))), "file"),
            (result("a", vec![Piece::Audio(url)]), "input_audio"),
        ] {
            let error = write_one(piece).unwrap_err();
            assert!(error.is(Code::UnsupportedParameter));
            assert_eq!(error.param.as_deref(), Some(param));
        }
    }

    #[test]
    fn tools_and_their_choice() {
        let choice = |tool_choice, parallel_tool_calls| {
            let conversation =
                Conversation { tools: vec![tool()], tool_choice, parallel_tool_calls, ..hello() };
            written(&conversation, &target("claude-opus-4-8")).0["tool_choice"].take()
        };
        assert_eq!(choice(None, None), Value::Null);
        assert_eq!(choice(None, Some(false)), json!({ "type": "auto", "disable_parallel_tool_use": true }));
        assert_eq!(choice(Some(ToolChoice::None), Some(false)), json!({ "type": "none" }));
        assert_eq!(choice(Some(ToolChoice::Required), Some(true)), json!({ "type": "any" }));
        assert_eq!(
            choice(Some(ToolChoice::One("f".to_owned())), None),
            json!({ "type": "tool", "name": "f" })
        );
        let none = Conversation { tool_choice: Some(ToolChoice::Auto), ..hello() };
        assert_eq!(written(&none, &target("m")).0.get("tool_choice"), None);

        let Value::Object(parameters) = json!({ "properties": { "n": { "type": "integer", "minimum": 1 } } })
        else {
            panic!()
        };
        let strict = Tool {
            strict: Some(true),
            parameters,
            cache_control: Some(json!({ "type": "ephemeral" })),
            ..tool()
        };
        let conversation = Conversation { tools: vec![tool(), strict], ..hello() };
        let (body, adjusted) = written(&conversation, &target("claude-opus-4-8"));
        assert_eq!(body["tools"][0], json!({ "name": "f", "input_schema": { "type": "object" } }));
        assert_eq!(
            body["tools"][1],
            json!({
                "name": "f",
                "input_schema": {
                    "type": "object",
                    "properties": { "n": { "type": "integer", "description": "{minimum: 1}" } },
                    "additionalProperties": false,
                },
                "strict": true,
                "cache_control": { "type": "ephemeral" },
            })
        );
        assert_eq!(adjusted, "tools.strict");
        let (body, adjusted) = written(&conversation, &target("claude-3-haiku-20240307"));
        assert_eq!((body["tools"][1].get("strict"), adjusted.as_str()), (None, "tools.strict"));
        assert_eq!(body["tools"][1]["input_schema"]["properties"]["n"]["minimum"], 1);
    }

    #[test]
    fn thinking_in_the_words_of_each_generation() {
        let thinking = |model: &str, thinking: Thinking, max_output: u64| {
            let conversation =
                Conversation { thinking: Some(thinking), max_output: Some(max_output), ..hello() };
            let (mut body, adjusted) = written(&conversation, &target(model));
            (body["thinking"].take(), body["output_config"]["effort"].take(), adjusted)
        };
        let enabled = |budget: u64| json!({ "type": "enabled", "budget_tokens": budget });
        let adaptive = json!({ "type": "adaptive", "display": "summarized" });
        let disabled = json!({ "type": "disabled" });
        let null = Value::Null;
        let effort = Thinking::Effort;
        for (model, wanted, most, thought, level, adjusted) in [
            ("claude-sonnet-4-5", effort(Effort::High), 64_000, enabled(16_384), null.clone(), ""),
            ("claude-sonnet-4-5", effort(Effort::High), 8000, enabled(4000), null.clone(), ""),
            (
                "claude-sonnet-4-5",
                effort(Effort::High),
                2000,
                disabled.clone(),
                null.clone(),
                "reasoning_effort",
            ),
            ("claude-sonnet-4-5", Thinking::Budget(3000), 4096, enabled(3000), null.clone(), ""),
            (
                "claude-sonnet-4-5",
                Thinking::Budget(9000),
                4096,
                enabled(4095),
                null.clone(),
                "thinking.budget_tokens=4095",
            ),
            (
                "claude-sonnet-4-5",
                Thinking::Budget(9),
                4096,
                enabled(1024),
                null.clone(),
                "thinking.budget_tokens=1024",
            ),
            ("claude-sonnet-4-5", Thinking::Adaptive, 64_000, enabled(16_384), null.clone(), ""),
            ("claude-sonnet-4-5", Thinking::Off, 64_000, disabled.clone(), null.clone(), ""),
            (
                "claude-opus-4-5",
                effort(Effort::Max),
                64_000,
                enabled(32_000),
                json!("high"),
                "reasoning_effort=high",
            ),
            (
                "claude-opus-4-6",
                effort(Effort::XHigh),
                64_000,
                adaptive.clone(),
                json!("high"),
                "reasoning_effort=high",
            ),
            ("claude-opus-4-6", Thinking::Budget(3000), 64_000, enabled(3000), null.clone(), ""),
            (
                "claude-opus-4-7",
                effort(Effort::Minimal),
                64_000,
                adaptive.clone(),
                json!("low"),
                "reasoning_effort=low",
            ),
            ("claude-opus-4-7", effort(Effort::XHigh), 64_000, adaptive.clone(), json!("xhigh"), ""),
            (
                "claude-opus-4-7",
                Thinking::Budget(9000),
                64_000,
                adaptive.clone(),
                json!("medium"),
                "thinking>effort=medium",
            ),
            ("claude-opus-4-7", Thinking::Adaptive, 64_000, adaptive.clone(), null.clone(), ""),
            ("claude-opus-4-7", Thinking::Off, 64_000, disabled.clone(), null.clone(), ""),
            ("claude-fable-5", Thinking::Off, 64_000, null.clone(), null.clone(), "reasoning_effort"),
            (
                "claude-3-haiku-20240307",
                effort(Effort::Low),
                4096,
                null.clone(),
                null.clone(),
                "reasoning_effort",
            ),
            ("claude-3-haiku-20240307", Thinking::Off, 4096, null.clone(), null.clone(), ""),
            ("kimi-k3", effort(Effort::Low), 64_000, enabled(2048), null.clone(), ""),
        ] {
            let expected = (thought, level, adjusted.to_owned());
            assert_eq!(thinking(model, wanted, most), expected, "{model} {wanted:?} {most}");
        }
    }

    #[test]
    fn thinking_gives_way_where_it_would_be_rejected() {
        let thinking = |model: &str, conversation: Conversation| {
            let conversation = Conversation {
                thinking: Some(Thinking::Effort(Effort::Low)),
                max_output: Some(64_000),
                ..conversation
            };
            let (mut body, adjusted) = written(&conversation, &target(model));
            (body["thinking"]["type"].take(), adjusted)
        };
        let forced =
            || Conversation { tools: vec![tool()], tool_choice: Some(ToolChoice::Required), ..hello() };
        let given_up = (json!("disabled"), "reasoning_effort".to_owned());
        assert_eq!(thinking("claude-sonnet-4-5", forced()), given_up);
        assert_eq!(thinking("claude-opus-4-8", forced()), given_up);
        let begun = || of([turn(Role::User, [text("Q")]), turn(Role::Assistant, [text("A")])]);
        assert_eq!(thinking("claude-sonnet-4-5", begun()), given_up);
        let calls = |first: Vec<Piece>| {
            of([
                turn(Role::User, [text("Q")]),
                turn(Role::Assistant, first.into_iter().chain([call("a")])),
                turn(Role::User, [result("a", vec![])]),
            ])
        };
        let blob = Some(Blob { kind: Kind::Signature, maker: maker(), data: "d".to_owned() });
        let own = || Piece::Reasoning(Reasoning { text: "Hm".to_owned(), blob: blob.clone() });
        assert_eq!(thinking("claude-sonnet-4-5", calls(vec![])), given_up);
        assert_eq!(thinking("claude-sonnet-4-5", calls(vec![own()])), (json!("enabled"), String::new()));
        assert_eq!(thinking("claude-opus-4-8", calls(vec![])), (json!("adaptive"), String::new()));
    }

    #[test]
    fn sampling_as_far_as_the_model_accepts_it() {
        let sampling = |model: &str, sampling: Sampling, thinking| {
            let conversation = Conversation { sampling, thinking, max_output: Some(64_000), ..hello() };
            let (body, adjusted) = written(&conversation, &target(model));
            let field = |name: &str| body.get(name).cloned().unwrap_or_default();
            (json!([field("temperature"), field("top_p"), field("top_k")]), adjusted)
        };
        let of = |temperature, top_p, top_k| Sampling { temperature, top_p, top_k, ..Sampling::default() };
        for (model, given, thinking, expected, adjusted) in [
            ("claude-3-5-haiku-20241022", of(Some(0.5), Some(0.9), Some(5)), None, json!([0.5, 0.9, 5]), ""),
            ("claude-sonnet-4-5", of(Some(0.5), Some(0.9), None), None, json!([0.5, null, null]), "top_p"),
            ("claude-sonnet-4-5", of(Some(1.7), None, None), None, json!([1.0, null, null]), "temperature=1"),
            (
                "claude-sonnet-4-5",
                of(Some(0.5), None, Some(5)),
                Some(Thinking::Adaptive),
                json!([null, null, null]),
                "temperature top_k",
            ),
            (
                "claude-sonnet-4-5",
                of(Some(1.0), Some(0.96), None),
                Some(Thinking::Adaptive),
                json!([null, 0.96, null]),
                "",
            ),
            (
                "claude-opus-4-7",
                of(Some(0.5), Some(0.9), Some(5)),
                None,
                json!([null, null, null]),
                "temperature top_p top_k",
            ),
            ("claude-opus-4-7", of(Some(1.0), Some(1.0), None), None, json!([null, null, null]), ""),
        ] {
            assert_eq!(
                sampling(model, given, thinking),
                (expected, adjusted.to_owned()),
                "{model} {given:?}"
            );
        }
        let hints = Sampling {
            seed: Some(7),
            presence_penalty: Some(0.0),
            frequency_penalty: Some(0.5),
            ..Sampling::default()
        };
        assert_eq!(sampling("claude-sonnet-4-5", hints, None).1, "seed frequency_penalty");
    }

    #[test]
    fn output_by_a_schema_only_where_the_model_has_it() {
        let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } } });
        let output = Output::JsonSchema { name: None, description: None, schema, strict: Some(true) };
        let conversation = Conversation { output: Some(output), ..hello() };
        let (body, adjusted) = written(&conversation, &target("claude-sonnet-4-5"));
        let format = &body["output_config"]["format"];
        assert_eq!((format["type"].as_str(), adjusted.as_str()), (Some("json_schema"), ""));
        assert_eq!(format["schema"]["additionalProperties"], false);
        let object = Conversation { output: Some(Output::JsonObject), ..hello() };
        for (conversation, model) in [(&conversation, "claude-sonnet-4-0"), (&object, "claude-sonnet-4-5")] {
            let error = write(conversation, &target(model)).unwrap_err();
            assert!(
                error.is(Code::UnsupportedParameter) && error.param.as_deref() == Some("response_format")
            );
        }
    }

    #[test]
    fn stop_sequences_and_the_user() {
        let stop = vec!["END".to_owned(), "\n".to_owned()];
        let conversation = Conversation { stop, user: Some("u".to_owned()), ..hello() };
        let (body, adjusted) = written(&conversation, &target("m"));
        assert_eq!(body["stop_sequences"], json!(["END"]));
        assert_eq!(body["metadata"], json!({ "user_id": "u" }));
        assert_eq!(adjusted, "stop");
        let long = Conversation { user: Some("u".repeat(300)), ..hello() };
        let (body, adjusted) = written(&long, &target("m"));
        assert_eq!((body.get("metadata"), adjusted.as_str()), (None, "user"));
    }

    fn any_turn() -> impl Strategy<Value = Turn> {
        let some_text = || prop::sample::select(vec!["", " ", "a", "b\n"]).prop_map(text);
        let id = || prop::sample::select(vec!["a", "b", "f:0", ""]);
        let user =
            prop_oneof![some_text(), (id(), some_text()).prop_map(|(id, piece)| result(id, vec![piece]))];
        let own = Blob { kind: Kind::Signature, maker: maker(), data: "d".to_owned() };
        let thought = Piece::Reasoning(Reasoning { text: "t".to_owned(), blob: Some(own) });
        let assistant = prop_oneof![some_text(), id().prop_map(call), Just(thought)];
        prop_oneof![
            1 => prop::collection::vec(some_text(), 0..3).prop_map(|pieces| turn(Role::System, pieces)),
            3 => prop::collection::vec(user, 0..4).prop_map(|pieces| turn(Role::User, pieces)),
            3 => prop::collection::vec(assistant, 0..4).prop_map(|pieces| turn(Role::Assistant, pieces)),
        ]
    }

    proptest! {
        /// Whatever the order of the turns, the messages are in the order that Anthropic accepts; and what is written
        /// and read again is written as before.
        #[test]
        fn messages_are_in_an_accepted_order(turns in prop::collection::vec(any_turn(), 0..9), is_new: bool) {
            let target = target(if is_new { "claude-opus-4-8" } else { "claude-opus-4-5" });
            let Ok((body, _)) = write(&of(turns), &target) else { return Ok(()) };
            let written: Value = serde_json::from_slice(&body).unwrap();
            let messages = written["messages"].as_array().unwrap();
            let roles: Vec<&str> = messages.iter().map(|message| message["role"].as_str().unwrap()).collect();
            prop_assert_eq!(roles[0], "user");
            for pair in roles.windows(2) {
                prop_assert_ne!(pair[0], pair[1]);
                prop_assert!(pair[1] != "system" || (is_new && pair[0] == "user"), "{:?}", roles);
            }
            let mut ids = BTreeSet::new();
            for message in messages {
                let blocks = message["content"].as_array().unwrap();
                prop_assert!(!blocks.is_empty());
                let is_result = |block: &&Value| block["type"] == "tool_result";
                let results = blocks.iter().filter(is_result).count();
                prop_assert_eq!(blocks.iter().take_while(is_result).count(), results);
                for block in blocks {
                    prop_assert!(block["text"].as_str().is_none_or(|text| !text.trim().is_empty()));
                    if let Some(id) = block["id"].as_str() {
                        prop_assert!(ids.insert(id.to_owned()), "{} twice", id);
                        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
                        prop_assert!(!id.is_empty() && id.bytes().all(is_plain), "{}", id);
                    }
                }
            }
            let mut again = super::super::read(&body).unwrap();
            // A lane's own blobs are bare, and so have no maker when they are read.
            for part in again.turns.iter_mut().flat_map(|turn| &mut turn.parts) {
                if let Piece::Reasoning(Reasoning { blob: Some(blob), .. }) = &mut part.piece {
                    blob.maker = maker();
                }
            }
            let twice: Value = serde_json::from_slice(&write(&again, &target).unwrap().0).unwrap();
            prop_assert_eq!(twice, written);
        }
    }
}
