//! Writes the upstream's request.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::conversation::carrier::Kind;
use crate::conversation::ids::{self, Rule};
use crate::conversation::{
    Conversation, Document, DocumentContent, Effort, Media, Output, Part, Piece, Reasoning, Role,
    ServiceTier, Thinking, Tool, ToolChoice, ToolResult, Turn, short_user,
};
use crate::error::{Code, Error};
use crate::format::target::Target;

/// The name of an output schema or of a document that has none; OpenAI requires one.
const SCHEMA_NAME: &str = "response";
const DOCUMENT_NAME: &str = "document.pdf";

/// Writes a body, and names the fields that were dropped or changed (`top_k`, `reasoning_effort=high`). The error is that
/// the conversation has a piece that this target does not accept.
///
/// The field for the output limit, the usage of streams and the quirks of the provider are left to
/// `openai_chat::request`, which changes the written body as it changes a caller's.
pub fn write(conversation: &Conversation, target: &Target<'_>) -> Result<(Vec<u8>, Vec<String>), Error> {
    let mut writer = Writer { target, provider: Provider::of(target.provider), adjusted: Vec::new() };
    let request = writer.request(conversation)?;
    let body = serde_json::to_vec(&request).map_err(|error| {
        Error::new(Code::InternalError, format!("The request cannot be written: {error}"))
    })?;
    Ok((body, writer.adjusted))
}

/// The differences among the providers of this format that a translation has to know.
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
struct Provider {
    /// The ids of tool calls that it accepts.
    ids: Rule,
    /// The place for its own reasoning.
    reasoning: ReasoningPlace,
    /// OpenAI's own rules: the newer field for the output limit, no sampling for reasoning models.
    is_openai: bool,
    /// It accepts documents as parts of type `file`.
    takes_files: bool,
    /// It accepts `cache_control` on parts and tools.
    takes_cache_control: bool,
    /// It accepts `top_k`.
    takes_top_k: bool,
    /// It accepts `user`.
    takes_user: bool,
    /// Mistral's own rules: no message of the user right behind the result of a tool, documents as `document_url`, and
    /// only a message of the assistant that has `prefix` is continued.
    is_mistral: bool,
}

/// The place for a provider's own reasoning in a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReasoningPlace {
    /// `reasoning_content`
    ReasoningContent,
    /// `reasoning`
    Reasoning,
    /// A part of type `thinking`.
    Content,
}

impl Provider {
    fn of(name: &str) -> Provider {
        let is_openai = matches!(name, "openai" | "azure");
        let is_mistral = name == "mistral";
        Provider {
            ids: if is_mistral { ids::MISTRAL } else { ids::OPENAI },
            reasoning: match name {
                "mistral" => ReasoningPlace::Content,
                "openrouter" | "groq" | "cerebras" => ReasoningPlace::Reasoning,
                _ => ReasoningPlace::ReasoningContent,
            },
            is_openai,
            takes_files: is_openai || name == "openrouter",
            takes_cache_control: name == "openrouter",
            takes_top_k: matches!(name, "openrouter" | "together" | "fireworks" | "deepinfra"),
            takes_user: !is_mistral,
            is_mistral,
        }
    }
}

struct Writer<'a> {
    target: &'a Target<'a>,
    provider: Provider,
    adjusted: Vec<String>,
}

impl<'a> Writer<'a> {
    fn request(&mut self, conversation: &'a Conversation) -> Result<Request<'a>, Error> {
        let mut messages = Vec::new();
        for turn in &conversation.turns {
            match turn.role {
                Role::System => self.system(turn, &mut messages),
                Role::User => self.user(turn, &mut messages)?,
                Role::Assistant => self.assistant(turn, &mut messages),
            }
        }
        self.prefill(&mut messages);
        let has_tools = !conversation.tools.is_empty();
        let limit = self.max_output(conversation.max_output);
        let (older_limit, newer_limit) = if self.provider.is_openai { (None, limit) } else { (limit, None) };
        let sampling = &conversation.sampling;
        Ok(Request {
            model: self.target.model,
            messages,
            stream: self.target.stream,
            max_tokens: older_limit,
            max_completion_tokens: newer_limit,
            temperature: self.sampled("temperature", sampling.temperature),
            top_p: self.sampled("top_p", sampling.top_p),
            top_k: {
                let takes_top_k =
                    self.provider.takes_top_k && self.target.facts.sampling_params != Some(false);
                self.kept("top_k", sampling.top_k, takes_top_k)
            },
            seed: sampling.seed,
            presence_penalty: self.sampled("presence_penalty", sampling.presence_penalty),
            frequency_penalty: self.sampled("frequency_penalty", sampling.frequency_penalty),
            stop: &conversation.stop,
            tools: conversation.tools.iter().map(|tool| self.tool(tool)).collect(),
            tool_choice: conversation.tool_choice.as_ref().filter(|_| has_tools).map(choice),
            parallel_tool_calls: {
                // A model that never calls tools in parallel rejects the field.
                let has_parallel = self.target.facts.parallel_tools != Some(false);
                conversation.parallel_tool_calls.filter(|allowed| has_tools && has_parallel && !allowed)
            },
            response_format: conversation.output.as_ref().map(ResponseFormat::of),
            reasoning_effort: self.effort(conversation.thinking, has_tools),
            user: {
                let takes_user = self.provider.takes_user;
                let user = conversation.user.as_deref().map(short_user);
                self.kept("user", user, takes_user)
            },
            prompt_cache_key: {
                let is_openai = self.provider.is_openai;
                self.kept("prompt_cache_key", conversation.cache_key.as_deref(), is_openai)
            },
            service_tier: self.service_tier(conversation.service_tier),
        })
    }

    /// A turn of instructions as one message.
    fn system(&mut self, turn: &'a Turn, messages: &mut Vec<Message<'a>>) {
        let parts: Vec<ContentPart<'a>> = turn
            .parts
            .iter()
            .filter_map(|part| match &part.piece {
                Piece::Text(text) => Some(self.text(Cow::Borrowed(text), part)),
                _ => None,
            })
            .collect();
        if !parts.is_empty() {
            messages.push(Message { role: "system", content: Some(joined(parts)), ..Message::default() });
        }
    }

    /// A turn of the user: one message for the result of each tool, then one message with the rest. Media in results
    /// come with the rest, because a result is a text.
    fn user(&mut self, turn: &'a Turn, messages: &mut Vec<Message<'a>>) -> Result<(), Error> {
        let mut rest = Vec::new();
        for part in &turn.parts {
            if let Piece::ToolResult(result) = &part.piece {
                let content = self.result(result, &mut rest)?;
                self.drop_cache_control(part);
                messages.push(Message {
                    role: "tool",
                    content: Some(Content::Text(content.into())),
                    tool_call_id: Some(self.id(&result.call_id)),
                    ..Message::default()
                });
            }
        }
        let is_behind_results = messages.last().is_some_and(|message| message.role == "tool");
        for part in &turn.parts {
            rest.extend(self.user_part(part)?);
        }
        if rest.is_empty() {
            return Ok(());
        }
        if self.provider.is_mistral && is_behind_results {
            let content = Some(Content::Text("OK".into()));
            messages.push(Message { role: "assistant", content, ..Message::default() });
        }
        messages.push(Message { role: "user", content: Some(joined(rest)), ..Message::default() });
        Ok(())
    }

    /// The text of a result. Its media go to `media`, and the text refers to them.
    fn result(&self, result: &'a ToolResult, media: &mut Vec<ContentPart<'a>>) -> Result<String, Error> {
        let mut texts = Vec::new();
        for piece in &result.content {
            if let Piece::Text(text) = piece {
                texts.push(Cow::Borrowed(text.as_str()));
            } else if let Some(part) = self.media(piece)? {
                let name = format!("attachment {} of the result of {}", media.len() / 2 + 1, result.call_id);
                texts.push(format!("[{name}: see the next message of the user]").into());
                media.push(ContentPart::Text { text: format!("[{name}]").into(), cache_control: None });
                media.push(part);
            }
        }
        let text = texts.join("\n\n");
        Ok(if result.is_error { format!("Error: {text}") } else { text })
    }

    fn user_part(&mut self, part: &'a Part) -> Result<Option<ContentPart<'a>>, Error> {
        match &part.piece {
            Piece::Text(text) => Ok(Some(self.text(Cow::Borrowed(text), part))),
            Piece::ToolResult(_) => Ok(None),
            piece => {
                self.drop_cache_control(part);
                self.media(piece)
            }
        }
    }

    /// An image, audio or a document; `None` for any other piece.
    fn media(&self, piece: &'a Piece) -> Result<Option<ContentPart<'a>>, Error> {
        Ok(Some(match piece {
            Piece::Image(media) => ContentPart::ImageUrl { image_url: ImageUrl { url: url(media) } },
            Piece::Audio(Media::Inline { media_type, data }) => {
                let format = media_type.strip_prefix("audio/").unwrap_or(media_type);
                ContentPart::InputAudio { input_audio: InputAudio { data, format } }
            }
            Piece::Audio(Media::Url(_)) => return Err(self.unsupported("Audio by its address")),
            Piece::Document(document) => self.document(document)?,
            _ => return Ok(None),
        }))
    }

    fn document(&self, Document { name, content }: &'a Document) -> Result<ContentPart<'a>, Error> {
        match content {
            DocumentContent::Text(text) => {
                let text = match name {
                    Some(name) => format!("[{name}]\n{text}").into(),
                    None => Cow::Borrowed(text.as_str()),
                };
                Ok(ContentPart::Text { text, cache_control: None })
            }
            DocumentContent::Media(media) if self.provider.is_mistral => {
                Ok(ContentPart::DocumentUrl { document_url: url(media), document_name: name.as_deref() })
            }
            DocumentContent::Media(media @ Media::Inline { .. }) if self.provider.takes_files => {
                let filename = name.as_deref().unwrap_or(DOCUMENT_NAME);
                Ok(ContentPart::File { file: File { filename, file_data: url(media) } })
            }
            DocumentContent::Media(Media::Inline { .. }) => {
                Err(self.unsupported("A document other than plain text"))
            }
            DocumentContent::Media(Media::Url(_)) => Err(self.unsupported("A document by its address")),
        }
    }

    fn unsupported(&self, what: &str) -> Error {
        let message = format!("{what} in 'messages' cannot be sent to {}", self.target.provider);
        Error::new(Code::UnsupportedParameter, message).with_param("messages")
    }

    /// A turn of the model as one message: its reasoning if this lane made it, its text, its calls.
    fn assistant(&mut self, turn: &'a Turn, messages: &mut Vec<Message<'a>>) {
        let mut message = Message { role: "assistant", ..Message::default() };
        let mut texts = Vec::new();
        let mut thoughts = String::new();
        let mut details: Vec<Value> = Vec::new();
        for part in &turn.parts {
            match &part.piece {
                Piece::Text(text) => texts.push(self.text(Cow::Borrowed(text), part)),
                Piece::Refusal(text) => {
                    texts.push(ContentPart::Text { text: Cow::Borrowed(text), cache_control: None });
                }
                Piece::Reasoning(reasoning) => self.reasoning(reasoning, &mut thoughts, &mut details),
                Piece::ToolCall(call) => {
                    self.drop_cache_control(part);
                    let function = Function { name: &call.name, arguments: &call.arguments };
                    message.tool_calls.push(Call { id: self.id(&call.id), kind: "function", function });
                }
                _ => {}
            }
        }
        if texts.is_empty() && message.tool_calls.is_empty() {
            return;
        }
        if !thoughts.is_empty() {
            match self.provider.reasoning {
                ReasoningPlace::ReasoningContent => message.reasoning_content = Some(thoughts),
                ReasoningPlace::Reasoning => message.reasoning = Some(thoughts),
                ReasoningPlace::Content => {
                    let text = ContentPart::Text { text: thoughts.into(), cache_control: None };
                    texts.insert(0, ContentPart::Thinking { thinking: vec![text] });
                }
            }
        }
        message.reasoning_details = details;
        message.content = (!texts.is_empty()).then(|| joined(texts));
        messages.push(message);
    }

    /// Reasoning goes only to the lane that made it.
    fn reasoning(&mut self, reasoning: &Reasoning, thoughts: &mut String, details: &mut Vec<Value>) {
        let own = reasoning.blob.as_ref().filter(|blob| blob.maker == self.target.maker);
        match own.map(|blob| (blob.kind, &blob.data)) {
            Some((Kind::Plain, _)) => thoughts.push_str(&reasoning.text),
            Some((Kind::Encrypted, data)) => match serde_json::from_str::<Vec<Value>>(data) {
                Ok(mut items) => details.append(&mut items),
                Err(_) => self.adjust("reasoning"),
            },
            _ => self.adjust("reasoning"),
        }
    }

    /// A last message of the assistant, which the model is to continue. Most providers answer it instead.
    fn prefill(&mut self, messages: &mut [Message<'a>]) {
        let last = messages.last_mut().filter(|message| message.role == "assistant");
        if let Some(last) = last {
            if self.provider.is_mistral {
                last.prefix = true;
            } else {
                self.adjust("prefill");
            }
        }
    }

    fn tool(&mut self, tool: &'a Tool) -> ToolFunction<'a> {
        let takes_cache_control = self.provider.takes_cache_control;
        ToolFunction {
            kind: "function",
            function: Declaration {
                name: &tool.name,
                description: tool.description.as_deref(),
                parameters: parameters(&tool.parameters),
                strict: tool.strict,
            },
            cache_control: self.kept("cache_control", tool.cache_control.as_ref(), takes_cache_control),
        }
    }

    fn text(&mut self, text: Cow<'a, str>, part: &'a Part) -> ContentPart<'a> {
        let takes_cache_control = self.provider.takes_cache_control;
        let cache_control = self.kept("cache_control", part.cache_control.as_ref(), takes_cache_control);
        ContentPart::Text { text, cache_control }
    }

    fn drop_cache_control(&mut self, part: &Part) {
        if part.cache_control.is_some() {
            self.adjust("cache_control");
        }
    }

    fn id(&self, id: &'a str) -> Cow<'a, str> {
        match ids::restore(id) {
            Cow::Borrowed(id) => ids::fit(id, self.provider.ids),
            Cow::Owned(id) => Cow::Owned(ids::fit(&id, self.provider.ids).into_owned()),
        }
    }

    /// The longest output: not longer than the model's, which formats that require a limit often ask for.
    fn max_output(&mut self, wanted: Option<u64>) -> Option<u64> {
        let most = self.target.facts.max_output.map(u64::from);
        match (wanted, most) {
            (Some(wanted), Some(most)) if wanted > most => {
                self.adjust(&format!("max_tokens={most}"));
                Some(most)
            }
            _ => wanted,
        }
    }

    /// OpenAI's reasoning models reject everything that changes the choice of tokens; of other models the facts say so.
    fn sampled(&mut self, name: &str, value: Option<f64>) -> Option<f64> {
        let facts = &self.target.facts;
        let is_usual = !self.provider.is_openai || facts.reasoning != Some(true);
        let is_accepted = facts.sampling_params.unwrap_or(is_usual);
        self.kept(name, value, is_accepted)
    }

    /// The value of a hint that the target accepts.
    fn kept<T>(&mut self, name: &str, value: Option<T>, is_accepted: bool) -> Option<T> {
        if value.is_some() && !is_accepted {
            self.adjust(name);
        }
        value.filter(|_| is_accepted)
    }

    /// The effort, for models that are known to reason.
    fn effort(&mut self, thinking: Option<Thinking>, has_tools: bool) -> Option<&'static str> {
        let reasons = self.target.facts.reasoning == Some(true);
        if reasons && has_tools && self.provider.is_openai && is_without_tools_and_effort(self.target.model) {
            if !matches!(thinking, None | Some(Thinking::Off)) {
                self.adjust("reasoning_effort=none");
            }
            return Some("none");
        }
        let facts = &self.target.facts;
        let (effort, is_exact) = match thinking? {
            Thinking::Off if reasons && facts.efforts.none == Some(true) => return Some("none"),
            // The word `none` is rejected by most models; they think as little as they can without it.
            Thinking::Off if reasons => {
                self.adjust("thinking");
                return None;
            }
            Thinking::Off => return None,
            _ if !reasons => {
                self.adjust("thinking");
                return None;
            }
            // OpenAI's models have had it since GPT-5.
            Thinking::Effort(Effort::Minimal)
                if self.provider.is_openai && facts.accepts_effort(Effort::Minimal).is_none() =>
            {
                (Effort::Minimal, true)
            }
            Thinking::Effort(wanted) => {
                let effort = facts.nearest_effort(wanted);
                (effort, effort == wanted)
            }
            Thinking::Budget(tokens) => (facts.nearest_effort(Effort::of_budget(tokens)), false),
            // Anthropic's default effort.
            Thinking::Adaptive => (Effort::High, true),
        };
        if !is_exact {
            self.adjust(&format!("reasoning_effort={}", effort.as_str()));
        }
        Some(effort.as_str())
    }

    /// The service tier. Providers other than OpenAI have tiers of their own; the standard one is their default.
    fn service_tier(&mut self, tier: Option<ServiceTier>) -> Option<&'static str> {
        let is_openai = self.provider.is_openai;
        let tier = tier.filter(|tier| is_openai || *tier != ServiceTier::Standard);
        self.kept("service_tier", tier.map(ServiceTier::of_openai), is_openai)
    }

    fn adjust(&mut self, what: &str) {
        if !self.adjusted.iter().any(|known| known == what) {
            self.adjusted.push(what.to_owned());
        }
    }
}

/// Returns `true` if OpenAI accepts tools for a model on this endpoint only without effort: gpt-5.4 and later.
fn is_without_tools_and_effort(model: &str) -> bool {
    let minor =
        model.strip_prefix("gpt-5.").map(|rest| rest.split(|char: char| !char.is_ascii_digit()).next());
    minor.flatten().and_then(|minor| minor.parse::<u32>().ok()).is_some_and(|minor| minor >= 4)
}

/// The schema of a tool. Some providers reject an object that does not list its properties.
fn parameters(given: &Map<String, Value>) -> Cow<'_, Map<String, Value>> {
    let kind = given.get("type");
    if given.contains_key("properties") || kind.is_some_and(|kind| kind != "object") {
        return Cow::Borrowed(given);
    }
    let mut parameters = given.clone();
    parameters.entry("type").or_insert_with(|| "object".into());
    parameters.insert("properties".to_owned(), Value::Object(Map::new()));
    Cow::Owned(parameters)
}

fn choice(choice: &ToolChoice) -> Choice<'_> {
    match choice {
        ToolChoice::Auto => Choice::Word("auto"),
        ToolChoice::None => Choice::Word("none"),
        ToolChoice::Required => Choice::Word("required"),
        ToolChoice::One(name) => Choice::One { kind: "function", function: Named { name } },
    }
}

fn url(media: &Media) -> Cow<'_, str> {
    match media {
        Media::Url(url) => url.into(),
        Media::Inline { media_type, data } => format!("data:{media_type};base64,{data}").into(),
    }
}

/// Parts as content: one text where that loses nothing, because every provider accepts it.
fn joined(parts: Vec<ContentPart<'_>>) -> Content<'_> {
    let is_plain = |part: &ContentPart<'_>| matches!(part, ContentPart::Text { cache_control: None, .. });
    if !parts.iter().all(is_plain) {
        return Content::Parts(parts);
    }
    let mut texts: Vec<Cow<'_, str>> = parts
        .into_iter()
        .filter_map(|part| match part {
            ContentPart::Text { text, .. } => Some(text),
            _ => None,
        })
        .collect();
    let last = if texts.len() == 1 { texts.pop() } else { None };
    Content::Text(last.unwrap_or_else(|| texts.join("\n\n").into()))
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "is_false")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolFunction<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct Message<'a> {
    role: &'static str,
    /// Null beside calls.
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasoning_details: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "is_false")]
    prefix: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<ContentPart<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ContentPart<'a> {
    Text {
        text: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<&'a Value>,
    },
    ImageUrl {
        image_url: ImageUrl<'a>,
    },
    InputAudio {
        input_audio: InputAudio<'a>,
    },
    File {
        file: File<'a>,
    },
    DocumentUrl {
        document_url: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        document_name: Option<&'a str>,
    },
    Thinking {
        thinking: Vec<ContentPart<'a>>,
    },
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    url: Cow<'a, str>,
}

#[derive(Serialize)]
struct InputAudio<'a> {
    data: &'a str,
    format: &'a str,
}

#[derive(Serialize)]
struct File<'a> {
    filename: &'a str,
    file_data: Cow<'a, str>,
}

#[derive(Serialize)]
struct Call<'a> {
    id: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
struct ToolFunction<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: Declaration<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<&'a Value>,
}

#[derive(Serialize)]
struct Declaration<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: Cow<'a, Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Choice<'a> {
    Word(&'static str),
    One {
        #[serde(rename = "type")]
        kind: &'static str,
        function: Named<'a>,
    },
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ResponseFormat<'a> {
    JsonObject,
    JsonSchema { json_schema: JsonSchema<'a> },
}

#[derive(Serialize)]
struct JsonSchema<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    schema: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

impl<'a> ResponseFormat<'a> {
    fn of(output: &'a Output) -> ResponseFormat<'a> {
        match output {
            Output::JsonObject => ResponseFormat::JsonObject,
            Output::JsonSchema { name, description, schema, strict } => ResponseFormat::JsonSchema {
                json_schema: JsonSchema {
                    name: name.as_deref().unwrap_or(SCHEMA_NAME),
                    description: description.as_deref(),
                    schema,
                    strict: *strict,
                },
            },
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Efforts, Facts};
    use crate::conversation::carrier::{Blob, Maker};
    use crate::conversation::{Sampling, ToolCall};
    use proptest::prelude::*;
    use serde_json::json;

    const MODEL: &str = "m";

    fn facts() -> Facts {
        Facts { reasoning: Some(true), max_output: Some(9_000), ..Facts::default() }
    }

    fn target(provider: &str, facts: Facts) -> Target<'_> {
        let maker = Maker::of(provider, MODEL);
        Target { provider, model: MODEL, facts, maker, stream: false, output_limit: None }
    }

    fn written(conversation: &Conversation, target: &Target<'_>) -> (Value, Vec<String>) {
        let (body, adjusted) = write(conversation, target).unwrap();
        (serde_json::from_slice(&body).unwrap(), adjusted)
    }

    fn turn(role: Role, pieces: impl IntoIterator<Item = Piece>) -> Turn {
        Turn { role, parts: pieces.into_iter().map(Part::from).collect() }
    }

    fn messages(turns: Vec<Turn>, provider: &str) -> (Value, Vec<String>) {
        let conversation = Conversation { turns, ..Conversation::default() };
        let (body, adjusted) = written(&conversation, &target(provider, facts()));
        (body["messages"].clone(), adjusted)
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    fn image() -> Piece {
        Piece::Image(Media::Inline { media_type: "image/png".to_owned(), data: "AAAA".to_owned() })
    }

    fn call(id: &str) -> Piece {
        Piece::ToolCall(ToolCall { id: id.to_owned(), name: "f".to_owned(), arguments: "{}".to_owned() })
    }

    fn result(id: &str, content: Vec<Piece>, is_error: bool) -> Piece {
        Piece::ToolResult(ToolResult { call_id: id.to_owned(), content, is_error })
    }

    #[test]
    fn a_turn_with_results_becomes_a_message_for_each_and_one_for_the_rest() {
        let turns = vec![
            turn(Role::System, [text("a"), text("b")]),
            turn(Role::User, [text("hi")]),
            turn(Role::Assistant, [text("one"), call("1"), text("two"), call("2")]),
            turn(
                Role::User,
                [
                    result("1", vec![text("r"), image()], false),
                    result("2", vec![text("broken")], true),
                    text("more"),
                ],
            ),
        ];
        let function = json!({"name": "f", "arguments": "{}"});
        let url = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
        let expected = json!([
            {"role": "system", "content": "a\n\nb"},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "one\n\ntwo", "tool_calls": [
                {"id": "1", "type": "function", "function": function},
                {"id": "2", "type": "function", "function": function}
            ]},
            {"role": "tool", "content": "r\n\n[attachment 1 of the result of 1: see the next message of the user]",
                "tool_call_id": "1"},
            {"role": "tool", "content": "Error: broken", "tool_call_id": "2"},
            {"role": "user", "content": [
                {"type": "text", "text": "[attachment 1 of the result of 1]"},
                url,
                {"type": "text", "text": "more"}
            ]}
        ]);
        assert_eq!(messages(turns.clone(), "acme"), (expected, vec![]));
        // Mistral accepts no user behind a tool, and ids of nine characters.
        let (found, _) = messages(turns, "mistral");
        let roles: Vec<&str> =
            found.as_array().unwrap().iter().filter_map(|message| message["role"].as_str()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "tool", "tool", "assistant", "user"]);
        assert_eq!(found[2]["tool_calls"][1]["id"], found[4]["tool_call_id"]);
        assert_eq!(found[4]["tool_call_id"].as_str().unwrap().len(), 9);
    }

    #[test]
    fn a_call_without_text_has_null_content_and_an_id_comes_back_as_it_was() {
        let fitted = ids::fit("functions.Bash:0", ids::MESSAGES).into_owned();
        let turns =
            vec![turn(Role::Assistant, [call(&fitted)]), turn(Role::User, [result(&fitted, vec![], false)])];
        let (found, _) = messages(turns, "moonshot");
        assert_eq!(found[0]["content"], Value::Null);
        assert_eq!(found[0]["tool_calls"][0]["id"], "functions.Bash:0");
        assert_eq!(found[1], json!({"role": "tool", "content": "", "tool_call_id": "functions.Bash:0"}));
    }

    #[test]
    fn reasoning_goes_only_to_its_maker_in_the_place_that_the_provider_knows() {
        let thought = |kind, maker: &str, data: &str| {
            let blob = Blob { kind, maker: Maker::of(maker, MODEL), data: data.to_owned() };
            Piece::Reasoning(Reasoning { text: "t".to_owned(), blob: Some(blob) })
        };
        let details = r#"[{"type":"reasoning.encrypted","data":"x"}]"#;
        for (provider, piece, expected, adjusted) in [
            (
                "deepseek",
                thought(Kind::Plain, "deepseek", ""),
                json!({"content": "a", "reasoning_content": "t"}),
                "",
            ),
            ("groq", thought(Kind::Plain, "groq", ""), json!({"content": "a", "reasoning": "t"}), ""),
            (
                "mistral",
                thought(Kind::Plain, "mistral", ""),
                json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "t"}]}, {"type": "text", "text": "a"}]}),
                "",
            ),
            (
                "openrouter",
                thought(Kind::Encrypted, "openrouter", details),
                json!({"content": "a", "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}),
                "",
            ),
            ("deepseek", thought(Kind::Plain, "zai", ""), json!({"content": "a"}), "reasoning"),
            ("deepseek", thought(Kind::Signature, "anthropic", "s"), json!({"content": "a"}), "reasoning"),
            ("deepseek", Piece::Reasoning(Reasoning::default()), json!({"content": "a"}), "reasoning"),
        ] {
            let turns = vec![turn(Role::Assistant, [piece, text("a")]), turn(Role::User, [text("b")])];
            let (found, told) = messages(turns, provider);
            let mut expected = expected;
            expected["role"] = "assistant".into();
            assert_eq!((&found[0], told.join(" ").as_str()), (&expected, adjusted), "{provider}");
        }
    }

    #[test]
    fn documents_are_files_or_texts_or_rejected() {
        let document = |content| Piece::Document(Document { name: Some("a.pdf".to_owned()), content });
        let pdf = || Media::Inline { media_type: "application/pdf".to_owned(), data: "AAAA".to_owned() };
        let (found, _) =
            messages(vec![turn(Role::User, [document(DocumentContent::Media(pdf()))])], "openai");
        let file = json!({"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"});
        assert_eq!(found[0]["content"], json!([{"type": "file", "file": file}]));
        let (found, _) =
            messages(vec![turn(Role::User, [document(DocumentContent::Text("x".to_owned()))])], "acme");
        assert_eq!(found[0]["content"], "[a.pdf]\nx");
        let (found, _) =
            messages(vec![turn(Role::User, [document(DocumentContent::Media(pdf()))])], "mistral");
        let part = json!({"type": "document_url", "document_url": "data:application/pdf;base64,AAAA", "document_name": "a.pdf"});
        assert_eq!(found[0]["content"], json!([part]));
        for content in [
            DocumentContent::Media(pdf()),
            DocumentContent::Media(Media::Url("https://d.example".to_owned())),
        ] {
            let turns = vec![turn(Role::User, [document(content)])];
            let conversation = Conversation { turns, ..Conversation::default() };
            let error = write(&conversation, &target("acme", facts())).unwrap_err();
            let found = (error.status, error.code(), error.param.as_deref());
            assert_eq!(found, (400, Some("unsupported_parameter"), Some("messages")));
        }
    }

    #[test]
    fn hints_are_kept_where_the_provider_takes_them_and_named_elsewhere() {
        let conversation = Conversation {
            sampling: Sampling {
                temperature: Some(0.5),
                top_k: Some(4),
                seed: Some(1),
                ..Sampling::default()
            },
            user: Some("u".repeat(100)),
            max_output: Some(32_000),
            stop: vec!["x".to_owned()],
            tool_choice: Some(ToolChoice::One("f".to_owned())),
            parallel_tool_calls: Some(false),
            ..Conversation::default()
        };
        let hash = short_user(&"u".repeat(100)).into_owned();
        assert_eq!(hash.len(), 64);
        for (provider, expected, adjusted) in [
            (
                "openai",
                json!({"max_completion_tokens": 9000, "seed": 1, "user": hash}),
                "max_tokens=9000 temperature top_k",
            ),
            (
                "acme",
                json!({"max_tokens": 9000, "temperature": 0.5, "seed": 1, "user": hash}),
                "max_tokens=9000 top_k",
            ),
            (
                "openrouter",
                json!({"max_tokens": 9000, "temperature": 0.5, "top_k": 4, "seed": 1, "user": hash}),
                "max_tokens=9000",
            ),
            (
                "mistral",
                json!({"max_tokens": 9000, "temperature": 0.5, "seed": 1}),
                "max_tokens=9000 top_k user",
            ),
        ] {
            let mut expected = expected;
            expected.as_object_mut().unwrap().extend([
                ("model".to_owned(), json!("m")),
                ("messages".to_owned(), json!([])),
                ("stop".to_owned(), json!(["x"])),
            ]);
            let (found, told) = written(&conversation, &target(provider, facts()));
            assert_eq!((found, told.join(" ").as_str()), (expected, adjusted), "{provider}");
        }
    }

    #[test]
    fn the_effort_follows_the_facts_of_the_model() {
        let known = facts();
        let unknown = Facts::default();
        let efforts =
            Efforts { none: Some(true), minimal: Some(false), xhigh: Some(true), ..Efforts::default() };
        let newer = Facts { efforts, ..known };
        for (provider, model, facts, tools, thinking, effort, adjusted) in [
            ("acme", "m", known, false, Thinking::Effort(Effort::Low), Some("low"), ""),
            ("acme", "m", known, false, Thinking::Effort(Effort::Max), Some("high"), "reasoning_effort=high"),
            (
                "acme",
                "m",
                known,
                false,
                Thinking::Effort(Effort::Minimal),
                Some("low"),
                "reasoning_effort=low",
            ),
            ("openai", "gpt-5", known, true, Thinking::Effort(Effort::Minimal), Some("minimal"), ""),
            ("acme", "m", known, false, Thinking::Budget(1_024), Some("low"), "reasoning_effort=low"),
            ("acme", "m", known, false, Thinking::Budget(10_000), Some("medium"), "reasoning_effort=medium"),
            ("acme", "m", known, false, Thinking::Budget(31_999), Some("high"), "reasoning_effort=high"),
            ("acme", "m", known, false, Thinking::Adaptive, Some("high"), ""),
            ("acme", "m", known, false, Thinking::Off, None, "thinking"),
            ("acme", "m", unknown, false, Thinking::Off, None, ""),
            ("acme", "m", unknown, false, Thinking::Adaptive, None, "thinking"),
            ("openai", "gpt-5.4", known, true, Thinking::Adaptive, Some("none"), "reasoning_effort=none"),
            ("openai", "gpt-5.4", known, false, Thinking::Adaptive, Some("high"), ""),
            ("openai", "gpt-5.1", known, true, Thinking::Adaptive, Some("high"), ""),
            ("acme", "m", newer, false, Thinking::Effort(Effort::XHigh), Some("xhigh"), ""),
            (
                "acme",
                "m",
                newer,
                false,
                Thinking::Effort(Effort::Max),
                Some("xhigh"),
                "reasoning_effort=xhigh",
            ),
            ("acme", "m", newer, false, Thinking::Budget(31_999), Some("xhigh"), "reasoning_effort=xhigh"),
            ("acme", "m", newer, false, Thinking::Off, Some("none"), ""),
            (
                "openai",
                "m",
                newer,
                false,
                Thinking::Effort(Effort::Minimal),
                Some("low"),
                "reasoning_effort=low",
            ),
        ] {
            let tool = Tool {
                name: "f".to_owned(),
                description: None,
                parameters: Map::new(),
                strict: None,
                cache_control: None,
            };
            let tools = if tools { vec![tool] } else { Vec::new() };
            let conversation = Conversation { thinking: Some(thinking), tools, ..Conversation::default() };
            let (found, told) = written(&conversation, &Target { model, ..target(provider, facts) });
            let found = (found["reasoning_effort"].as_str(), told.join(" "));
            assert_eq!(found, (effort, adjusted.to_owned()), "{provider}/{model} {thinking:?}");
        }
    }

    #[test]
    fn tools_always_list_their_properties() {
        for (given, expected) in [
            (json!({}), json!({"type": "object", "properties": {}})),
            (json!({"type": "object"}), json!({"type": "object", "properties": {}})),
            (
                json!({"type": "object", "properties": {"a": {}}}),
                json!({"type": "object", "properties": {"a": {}}}),
            ),
        ] {
            let given = given.as_object().unwrap().clone();
            assert_eq!(Value::Object(parameters(&given).into_owned()), expected);
        }
    }

    #[test]
    fn a_message_to_continue_is_marked_for_mistral_and_named_elsewhere() {
        let turns = || vec![turn(Role::User, [text("a")]), turn(Role::Assistant, [text("b")])];
        let (found, told) = messages(turns(), "mistral");
        assert_eq!((&found[1]["prefix"], told.len()), (&Value::Bool(true), 0));
        assert_eq!(messages(turns(), "acme").1, ["prefill"]);
    }

    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z]{1,8}", Just("\"\\\n\u{1}é".to_owned())]
    }

    fn any_assistant(maker: Maker) -> impl Strategy<Value = Turn> {
        let blob = Blob { kind: Kind::Plain, maker, data: String::new() };
        let calls = proptest::collection::vec(("[a-z]{9}", "[a-z_]{1,9}"), 0..3);
        (proptest::option::of(any_text()), any_text(), calls).prop_map(move |(thought, said, calls)| {
            let thought = thought.map(|text| Piece::Reasoning(Reasoning { text, blob: Some(blob.clone()) }));
            let calls = calls.into_iter().map(|(id, name)| {
                Piece::ToolCall(ToolCall { id, name, arguments: r#"{"a":"é"}"#.to_owned() })
            });
            turn(Role::Assistant, thought.into_iter().chain([Piece::Text(said)]).chain(calls))
        })
    }

    fn any_user() -> impl Strategy<Value = Turn> {
        let result =
            ("[a-z]{9}", any_text()).prop_map(|(id, said)| result(&id, vec![Piece::Text(said)], false));
        let rest = proptest::option::of(prop_oneof![any_text().prop_map(Piece::Text), Just(image())]);
        (proptest::collection::vec(result, 1..3), rest)
            .prop_map(|(results, rest)| turn(Role::User, results.into_iter().chain(rest)))
    }

    proptest! {
        /// A client that echoes what it got loses nothing but the maker of plain reasoning, which has no mark upstream.
        #[test]
        fn what_is_written_is_read_again(
            rounds in proptest::collection::vec((any_user(), any_assistant(Maker::of("acme", MODEL))), 1..4),
            system in any_text(),
            last in any_text(),
            max_output in proptest::option::of(1u64..9_000),
            temperature in proptest::option::of(0u8..8),
        ) {
            let mut turns = vec![turn(Role::System, [Piece::Text(system)])];
            turns.extend(rounds.into_iter().flat_map(|(user, assistant)| [user, assistant]));
            turns.push(turn(Role::User, [Piece::Text(last)]));
            let temperature = temperature.map(|eighths| f64::from(eighths) / 8.0);
            let sampling = Sampling { temperature, ..Sampling::default() };
            let mut conversation = Conversation { turns, max_output, sampling, ..Conversation::default() };
            let (body, adjusted) = write(&conversation, &target("acme", facts())).unwrap();
            prop_assert!(adjusted.is_empty());
            for part in conversation.turns.iter_mut().flat_map(|turn| &mut turn.parts) {
                if let Piece::Reasoning(reasoning) = &mut part.piece {
                    reasoning.blob = None;
                }
            }
            prop_assert_eq!(super::super::read(&body).unwrap(), conversation);
        }
    }
}
