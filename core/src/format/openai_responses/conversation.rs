//! Responses requests in the neutral form: reads the caller's; [`write`] writes the upstream's.
//!
//! A request carries its whole conversation: what refers to something that only the provider has (an earlier response,
//! a conversation, a stored prompt, a file, a compaction) is an error. Items and tools that only their provider
//! understands are dropped and named, so that a history with a web search can continue elsewhere.

use serde_json::{Value, json};

use super::fields::{Fields, Path};
use super::tools::{Tools, custom_arguments, function_name};
pub use super::write::write;
use crate::conversation::carrier::Blob;
use crate::conversation::{
    Conversation, Document, DocumentContent, Effort, Media, Output, Part, Piece, Reasoning, Role, Sampling,
    Thinking, ToolCall, ToolChoice, ToolResult, Turn, ids, service_tier,
};
use crate::error::{Code, Error};
use crate::format::body::{GATEWAY_FIELDS, ROUTING_FIELDS};

/// Fields that refer to what only OpenAI stores, or ask for a response of another kind, with the rest of the message.
pub(super) const STATE: [(&str, &str); 5] = [
    (
        "previous_response_id",
        "refers to a response, and this model's provider stores none: send the whole conversation in 'input' instead",
    ),
    (
        "conversation",
        "refers to a stored conversation, and this model's provider stores none: send all of it in 'input' instead",
    ),
    (
        "prompt",
        "refers to a stored prompt, which this model's provider does not know: send its text in 'instructions' instead",
    ),
    ("background", "is not available for this model: leave it out, or stream the response"),
    (
        "moderation",
        "is not available for this model: leave it out, and check the texts with a moderation endpoint",
    ),
];
/// Fields that other modules act on, or that make no difference: the gateway never pads events, and no hosted tool runs.
const WITHOUT_EFFECT: [&str; 5] = ["model", "stream", "stream_options", "client_metadata", "max_tool_calls"];
/// Hints, with the values that are what the caller gets anyway.
const DEFAULTS: [(&str, &[&str]); 1] = [("truncation", &["disabled"])];

/// Reads a request.
///
/// The error names the field: [`Code::UnsupportedParameter`] for what changes the meaning and has no place in the neutral
/// form.
pub fn read(body: &[u8]) -> Result<Conversation, Error> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        Error::new(Code::InvalidJson, format!("The request body is not valid JSON: {error}"))
    })?;
    let mut request = Fields::of(value, &Path::Root)?;
    reject_state(&mut request)?;

    let mut reader = InputReader::default();
    if let Some(instructions) = request.text("instructions")? {
        reader.say(Role::System, text(instructions));
    }
    let tools = request.list("tools")?.unwrap_or_default();
    reader.tools.add(tools, &request.at("tools"))?;
    match request.take("input") {
        Some(Value::String(input)) => reader.say(Role::User, text(input)),
        Some(Value::Array(items)) => reader.add(items, &request.at("input"))?,
        Some(_) => {
            return Err(request
                .at("input")
                .error(Code::InvalidType, "must be a string or an array of items"));
        }
        None => return Err(request.at("input").error(Code::MissingMember, "is missing")),
    }
    let InputReader { turns, mut tools, mut dropped } = reader;
    for kind in &tools.hosted {
        dropped.add(format!("tools.{kind}"));
    }
    let tool_choice = tool_choice(&mut request, &mut tools)?;
    let (output, thinking) = (output(&mut request, &mut dropped)?, thinking(&mut request, &mut dropped)?);
    let user = request.text("safety_identifier")?;
    let user = request.text("user")?.or(user);
    let max_output = request.count("max_output_tokens")?;
    if max_output == Some(0) {
        return Err(request.at("max_output_tokens").error(Code::InvalidValue, "must be at least 1"));
    }
    let sampling = Sampling {
        temperature: request.number("temperature")?,
        top_p: request.number("top_p")?,
        ..Sampling::default()
    };
    let parallel_tool_calls = request.flag("parallel_tool_calls")?;
    let cache_key = request.text("prompt_cache_key")?;
    let service_tier = service_tier(request.text("service_tier")?, || dropped.add("service_tier"));
    hints(&mut request, &mut dropped)?;
    Ok(Conversation {
        turns,
        tools: tools.functions,
        tool_choice,
        parallel_tool_calls,
        max_output,
        sampling,
        stop: Vec::new(),
        output,
        thinking,
        user,
        cache_key,
        service_tier,
        dropped: dropped.0,
    })
}

/// The names of dropped fields, each once.
#[derive(Debug, Default)]
pub(super) struct Dropped(pub(super) Vec<String>);

impl Dropped {
    pub(super) fn add(&mut self, name: impl Into<String>) {
        let name = name.into();
        if !self.0.contains(&name) {
            self.0.push(name);
        }
    }
}

fn reject_state(request: &mut Fields<'_>) -> Result<(), Error> {
    for (name, what) in STATE {
        if request.take(name).is_some_and(|value| value != Value::Bool(false)) {
            return Err(request.at(name).error(Code::UnsupportedParameter, what));
        }
    }
    if request.count("top_logprobs")?.is_some_and(|number| number > 0) {
        let what = "is not available for this model: leave it out";
        return Err(request.at("top_logprobs").error(Code::UnsupportedParameter, what));
    }
    Ok(())
}

/// Drops all fields that are left. They are hints.
fn hints(request: &mut Fields<'_>, dropped: &mut Dropped) -> Result<(), Error> {
    for name in WITHOUT_EFFECT.into_iter().chain(GATEWAY_FIELDS).chain(ROUTING_FIELDS) {
        request.take(name);
    }
    if request.flag("store")? == Some(true) {
        dropped.add("store");
    }
    let include = request.list("include")?.unwrap_or_default();
    for name in include.iter().filter_map(Value::as_str).filter(|name| *name != "reasoning.encrypted_content")
    {
        dropped.add(format!("include.{name}"));
    }
    for (name, defaults) in DEFAULTS {
        let is_default = |value: Value| value.as_str().is_some_and(|word| defaults.contains(&word));
        if request.take(name).is_some_and(|value| !is_default(value)) {
            dropped.add(name);
        }
    }
    request.rest().for_each(|name| dropped.add(name));
    Ok(())
}

fn output(request: &mut Fields<'_>, dropped: &mut Dropped) -> Result<Option<Output>, Error> {
    let Some(value) = request.take("text") else { return Ok(None) };
    let path = request.at("text");
    let mut text = Fields::of(value, &path)?;
    if text.text("verbosity")?.is_some_and(|verbosity| verbosity != "medium") {
        dropped.add("text.verbosity");
    }
    let Some(value) = text.take("format") else { return Ok(None) };
    let path = text.at("format");
    let mut format = Fields::of(value, &path)?;
    match format.required_text("type")?.as_str() {
        "text" => Ok(None),
        "json_object" => Ok(Some(Output::JsonObject)),
        "json_schema" => {
            let schema = format.object("schema")?;
            let schema = schema.ok_or_else(|| {
                format.at("schema").error(Code::MissingMember, "is missing: it must be a JSON Schema")
            })?;
            Ok(Some(Output::JsonSchema {
                name: format.text("name")?,
                description: format.text("description")?,
                schema: Value::Object(schema),
                strict: format.flag("strict")?,
            }))
        }
        _ => Err(format.at("type").error(Code::InvalidValue, "must be text, json_object or json_schema")),
    }
}

/// Summaries are not asked for: the caller gets whatever reasoning the model shows.
fn thinking(request: &mut Fields<'_>, dropped: &mut Dropped) -> Result<Option<Thinking>, Error> {
    let Some(value) = request.take("reasoning") else { return Ok(None) };
    let path = request.at("reasoning");
    let mut reasoning = Fields::of(value, &path)?;
    for name in ["summary", "generate_summary"] {
        reasoning.take(name);
    }
    let effort = reasoning.text("effort")?;
    reasoning.rest().for_each(|name| dropped.add(format!("reasoning.{name}")));
    match effort.as_deref() {
        None => Ok(None),
        Some("none") => Ok(Some(Thinking::Off)),
        Some(word) => match Effort::read(word) {
            Some(effort) => Ok(Some(Thinking::Effort(effort))),
            None => Err(reasoning
                .at("effort")
                .error(Code::InvalidValue, "must be none, minimal, low, medium, high, xhigh or max")),
        },
    }
}

/// The choice. A choice among some of the tools leaves the others out.
fn tool_choice(request: &mut Fields<'_>, tools: &mut Tools) -> Result<Option<ToolChoice>, Error> {
    let value = request.take("tool_choice");
    let path = request.at("tool_choice");
    let choice = match value {
        None => return Ok(None),
        Some(Value::String(word)) => mode(&word, &path)?,
        Some(value) => {
            let mut choice = Fields::of(value, &path)?;
            let kind = choice.required_text("type")?;
            if kind == "allowed_tools" {
                allowed_tools(choice, tools)?
            } else {
                ToolChoice::One(chosen(&kind, &mut choice)?.ok_or_else(|| hosted(&kind, &path))?)
            }
        }
    };
    if choice == ToolChoice::Required && tools.functions.is_empty() {
        let kinds = tools.hosted.join(", ");
        return Err(match kinds.as_str() {
            "" => path.error(Code::InvalidValue, "requires a tool call, but there are no tools"),
            kinds => hosted(kinds, &path),
        });
    }
    Ok(Some(choice))
}

fn mode(word: &str, path: &Path<'_>) -> Result<ToolChoice, Error> {
    match word {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" => Ok(ToolChoice::Required),
        _ => {
            Err(path
                .error(Code::InvalidValue, "must be auto, none, required, or an object that names a tool"))
        }
    }
}

/// The function that a choice names; `None` for a hosted tool.
fn chosen(kind: &str, choice: &mut Fields<'_>) -> Result<Option<String>, Error> {
    if !matches!(kind, "function" | "custom") {
        return Ok(None);
    }
    let namespace = choice.text("namespace")?;
    let name = choice.required_text("name")?;
    Ok(Some(function_name(namespace.as_deref(), &name).into_owned()))
}

fn allowed_tools(mut choice: Fields<'_>, tools: &mut Tools) -> Result<ToolChoice, Error> {
    let word = choice.text("mode")?.unwrap_or_else(|| "auto".to_owned());
    let mode = mode(&word, &choice.at("mode"))?;
    let list = choice.list("tools")?.unwrap_or_default();
    let path = choice.at("tools");
    let mut allowed = Vec::new();
    for (index, value) in list.into_iter().enumerate() {
        let path = Path::Index(&path, index);
        let mut tool = Fields::of(value, &path)?;
        let kind = tool.required_text("type")?;
        allowed.extend(chosen(&kind, &mut tool)?);
    }
    tools.functions.retain(|tool| allowed.contains(&tool.name));
    Ok(mode)
}

fn hosted(kind: &str, path: &Path<'_>) -> Error {
    let what = format!(
        "requires {kind}, a tool that only OpenAI runs and that this model does not have: use a function, or a model of OpenAI's"
    );
    path.error(Code::UnsupportedParameter, &what)
}

/// Reads the items of `input`.
#[derive(Debug, Default)]
struct InputReader {
    turns: Vec<Turn>,
    tools: Tools,
    dropped: Dropped,
}

impl InputReader {
    /// Adds parts to the turn of a participant; consecutive items of one participant are one turn.
    fn say(&mut self, role: Role, parts: impl IntoIterator<Item = Part>) {
        let mut parts = parts.into_iter().peekable();
        if parts.peek().is_none() {
            return;
        }
        match self.turns.last_mut() {
            Some(turn) if turn.role == role => turn.parts.extend(parts),
            _ => self.turns.push(Turn { role, parts: parts.collect() }),
        }
    }

    fn add(&mut self, items: Vec<Value>, path: &Path<'_>) -> Result<(), Error> {
        for (index, value) in items.into_iter().enumerate() {
            let path = Path::Index(path, index);
            self.add_item(Fields::of(value, &path)?)?;
        }
        Ok(())
    }

    fn add_item(&mut self, mut item: Fields<'_>) -> Result<(), Error> {
        let kind = item.text("type")?;
        match kind.as_deref().unwrap_or("message") {
            "message" => self.add_message(item),
            "reasoning" => self.add_reasoning(item),
            "function_call" => {
                let arguments = item.text("arguments")?.filter(|text| !text.trim().is_empty());
                self.add_call(item, arguments.unwrap_or_else(|| "{}".to_owned()))
            }
            "custom_tool_call" => {
                let input = item.required_text("input")?;
                self.add_call(item, custom_arguments(&input))
            }
            "function_call_output" | "custom_tool_call_output" => self.add_result(item),
            // Tools that the client announces in the middle of the conversation.
            kind @ ("additional_tools" | "tool_search_output") => {
                let tools = item.list("tools")?.unwrap_or_default();
                self.tools.add(tools, &item.at("tools"))?;
                if kind == "tool_search_output" {
                    self.dropped.add("input.tool_search_output");
                }
                Ok(())
            }
            "item_reference" => Err(item.path.error(
                Code::UnsupportedParameter,
                "refers to an item that is stored at another provider: send the item itself instead",
            )),
            "compaction" | "compaction_trigger" => Err(item.path.error(
                Code::UnsupportedParameter,
                "is a compaction, which only OpenAI can read: send the conversation, or a summary as text, instead",
            )),
            other => {
                self.dropped.add(format!("input.{other}"));
                Ok(())
            }
        }
    }

    fn add_message(&mut self, mut message: Fields<'_>) -> Result<(), Error> {
        let role = match message.required_text("role")?.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" | "developer" => Role::System,
            _ => {
                let what = "must be user, assistant, system or developer";
                return Err(message.at("role").error(Code::InvalidValue, what));
            }
        };
        let parts = self.contents(&mut message, "content")?;
        self.say(role, parts);
        Ok(())
    }

    /// The contents in a field: a text, or a list of parts.
    fn contents(&mut self, fields: &mut Fields<'_>, name: &str) -> Result<Vec<Part>, Error> {
        let value = fields.take(name);
        let path = fields.at(name);
        match value {
            None => Err(path.error(Code::MissingMember, "is missing")),
            Some(Value::String(said)) => Ok(text(said).into_iter().collect()),
            Some(Value::Array(list)) => {
                let mut parts = Vec::with_capacity(list.len());
                for (index, value) in list.into_iter().enumerate() {
                    let path = Path::Index(&path, index);
                    let mut part = Fields::of(value, &path)?;
                    let breakpoint = part.take("prompt_cache_breakpoint");
                    let cache_control = breakpoint.map(|_| json!({ "type": "ephemeral" }));
                    parts.extend(self.content(part)?.map(|piece| Part { piece, cache_control }));
                }
                Ok(parts)
            }
            Some(_) => Err(path.error(Code::InvalidType, "must be a string or an array of parts")),
        }
    }

    /// A piece of content; `None` for an empty text.
    fn content(&mut self, mut part: Fields<'_>) -> Result<Option<Piece>, Error> {
        match part.required_text("type")?.as_str() {
            "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text" => {
                let text = part.required_text("text")?;
                Ok((!text.is_empty()).then_some(Piece::Text(text)))
            }
            "refusal" => {
                let text = part.required_text("refusal")?;
                Ok((!text.is_empty()).then_some(Piece::Refusal(text)))
            }
            "input_image" => {
                if part.text("detail")?.is_some_and(|detail| detail != "auto") {
                    self.dropped.add("input_image.detail");
                }
                reject_file_id(&mut part)?;
                Ok(Some(Piece::Image(media(part.required_text("image_url")?))))
            }
            "input_file" => file(part).map(|document| Some(Piece::Document(document))),
            "input_audio" => {
                let value = part.take("input_audio").unwrap_or_default();
                let path = part.at("input_audio");
                let mut audio = Fields::of(value, &path)?;
                let (data, media_type) = (audio.required_text("data")?, audio.required_text("format")?);
                Ok(Some(Piece::Audio(Media::Inline { media_type, data })))
            }
            _ => Err(part.at("type").error(
                Code::UnsupportedParameter,
                "is not a content that this model's provider accepts: use input_text, input_image or input_file",
            )),
        }
    }

    fn add_reasoning(&mut self, mut item: Fields<'_>) -> Result<(), Error> {
        let mut texts = Vec::new();
        for name in ["summary", "content"] {
            let list = item.list(name)?.unwrap_or_default();
            let parts = list.into_iter().filter_map(|part| match part {
                Value::Object(mut part) => part.remove("text"),
                _ => None,
            });
            let parts = parts.filter_map(|text| match text {
                Value::String(text) if !text.is_empty() => Some(text),
                _ => None,
            });
            let parts: Vec<String> = parts.collect();
            if texts.is_empty() {
                texts = parts;
            }
        }
        let encrypted = item.text("encrypted_content")?;
        let blob = encrypted.as_deref().and_then(Blob::read);
        // Only the lane that made it can read it, and without a mark nobody knows which one that was.
        if encrypted.is_some_and(|text| !text.is_empty()) && blob.is_none() {
            self.dropped.add("input.reasoning.encrypted_content");
        }
        let text = texts.join("\n\n");
        if !text.is_empty() || blob.is_some() {
            self.say(Role::Assistant, [Piece::Reasoning(Reasoning { text, blob }).into()]);
        }
        Ok(())
    }

    fn add_call(&mut self, mut item: Fields<'_>, arguments: String) -> Result<(), Error> {
        let call_id = item.required_text("call_id")?;
        let namespace = item.text("namespace")?;
        let name = item.required_text("name")?;
        let call = ToolCall {
            id: ids::restore(&call_id).into_owned(),
            name: function_name(namespace.as_deref(), &name).into_owned(),
            arguments,
        };
        self.say(Role::Assistant, [Piece::ToolCall(call).into()]);
        Ok(())
    }

    fn add_result(&mut self, mut item: Fields<'_>) -> Result<(), Error> {
        let call_id = item.required_text("call_id")?;
        let parts = self.contents(&mut item, "output")?;
        let result = ToolResult {
            call_id: ids::restore(&call_id).into_owned(),
            content: parts.into_iter().map(|part| part.piece).collect(),
            is_error: false,
        };
        self.say(Role::User, [Piece::ToolResult(result).into()]);
        Ok(())
    }
}

/// A text as a part; `None` if it is empty.
fn text(text: String) -> Option<Part> {
    (!text.is_empty()).then(|| Piece::Text(text).into())
}

/// The media at a URL, or inside of it.
fn media(url: String) -> Media {
    match url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
        Some((media_type, data)) => {
            Media::Inline { media_type: media_type.to_owned(), data: data.to_owned() }
        }
        None => Media::Url(url),
    }
}

fn file(mut part: Fields<'_>) -> Result<Document, Error> {
    reject_file_id(&mut part)?;
    let name = part.text("filename")?;
    let content = match (part.text("file_data")?, part.text("file_url")?) {
        // OpenAI also accepts the bare bytes of a PDF.
        (Some(data), _) if !data.starts_with("data:") => {
            Media::Inline { media_type: "application/pdf".to_owned(), data }
        }
        (Some(data), _) => media(data),
        (None, Some(url)) => media(url),
        (None, None) => {
            return Err(part.path.error(Code::MissingMember, "must have 'file_data' or 'file_url'"));
        }
    };
    Ok(Document { name, content: DocumentContent::Media(content) })
}

fn reject_file_id(part: &mut Fields<'_>) -> Result<(), Error> {
    if part.take("file_id").is_none() {
        return Ok(());
    }
    let what = "names a file that is stored at another provider: send its content or its URL instead";
    Err(part.at("file_id").error(Code::UnsupportedParameter, what))
}
