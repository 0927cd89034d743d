//! Reads a Messages request into the neutral form.

use serde_json::{Map, Value};

use super::client_tools;
use super::fields::{Fault, Fields, Read, each};
use crate::conversation::carrier::{self, Blob, Kind};
use crate::conversation::{
    Conversation, Document, DocumentContent, Effort, Media, Output, Part, Piece, Reasoning, Role, Sampling,
    Thinking, Tool, ToolCall, ToolChoice, ToolResult, Turn, ids, service_tier,
};
use crate::error::{Code, Error};

/// Fields that are read, and the gateway's own.
const KNOWN: [&str; 25] = [
    "model",
    "messages",
    "system",
    "max_tokens",
    "tools",
    "tool_choice",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "thinking",
    "output_config",
    "output_format",
    "metadata",
    "service_tier",
    "cache_control",
    "context_management",
    "stream",
    "project_id",
    "min_reasoning_level",
    "models",
    "provider",
    "route",
    "transforms",
    "usage",
];
/// Fields that change the meaning and that no other format has.
const REJECTED: [&str; 4] = ["mcp_servers", "container", "thread", "compaction"];
/// The largest number of unknown fields that are reported.
const MAX_UNKNOWN: usize = 16;
/// The start of the block that Claude Code puts in front of the system prompt. It changes with each request, which
/// defeats the prompt cache of every provider that does not know it.
const ATTRIBUTION: &str = "x-anthropic-billing-header:";
const OTHER_FORMAT: &str =
    "is not supported for this model, whose provider does not serve the Messages format; remove it";

/// Reads a Messages request into the neutral form. The error is a 400 that names the field: it is malformed, or changes
/// the meaning and has no place in the neutral form.
pub fn read(body: &[u8]) -> Result<Conversation, Error> {
    let body: Value = serde_json::from_slice(body).map_err(|error| {
        Error::new(Code::InvalidJson, format!("The request body is not a JSON object: {error}"))
    })?;
    Ok(Reader::default().conversation(&body)?)
}

#[derive(Default)]
struct Reader {
    /// The fields that are dropped so far.
    dropped: Vec<String>,
}

impl Reader {
    fn conversation(mut self, body: &Value) -> Read<Conversation> {
        let fields = Fields::of(body)?;
        self.check_names(fields)?;
        let mut turns = self.turns(fields)?;
        if let Some(cache_control) = fields.get("cache_control") {
            cache_to_the_end(&mut turns, cache_control);
        }
        let (tools, server_tools) = self.tools(fields)?;
        let (tool_choice, parallel_tool_calls) = match tool_choice(fields, &server_tools)? {
            // Other formats reject a choice among no tools.
            (Some(ToolChoice::Auto | ToolChoice::None), _) if tools.is_empty() => (None, None),
            choice => choice,
        };
        let thinking = self.thinking(fields)?;
        let output = output(fields)?;
        let user = self.user(fields)?;
        let tier = fields.text("service_tier")?.map(str::to_owned);
        let service_tier = service_tier(tier, || self.drop("service_tier"));
        Ok(Conversation {
            turns,
            tools,
            tool_choice,
            parallel_tool_calls,
            // A prompt that is only counted has none.
            max_output: fields.count("max_tokens")?,
            sampling: Sampling {
                temperature: fields.number("temperature")?,
                top_p: fields.number("top_p")?,
                top_k: fields.count("top_k")?,
                ..Sampling::default()
            },
            stop: stop(fields)?,
            output,
            thinking,
            user,
            cache_key: None,
            service_tier,
            dropped: self.dropped,
        })
    }

    /// Reports a field as dropped, once.
    fn drop(&mut self, name: &str) {
        if !self.dropped.iter().any(|known| known == name) {
            self.dropped.push(name.to_owned());
        }
    }

    /// Rejects the fields that cannot be carried, and drops those that need not be.
    fn check_names(&mut self, fields: Fields<'_>) -> Read<()> {
        for name in REJECTED {
            if fields.get(name).is_some_and(|value| value.as_array().is_none_or(|items| !items.is_empty())) {
                return Err(Fault::unsupported(name, OTHER_FORMAT));
            }
        }
        self.check_context_management(fields)?;
        let is_unknown = |name: &&str| !KNOWN.contains(name) && !REJECTED.contains(name);
        // The names go into a header.
        let is_a_word = |name: &&str| {
            name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        for name in fields.names().filter(is_unknown).filter(is_a_word).take(MAX_UNKNOWN) {
            self.drop(name);
        }
        Ok(())
    }

    /// Edits that clear old content only save tokens; other edits, such as a compaction, replace it.
    fn check_context_management(&mut self, fields: Fields<'_>) -> Read<()> {
        let Some(management) = fields.object("context_management")? else { return Ok(()) };
        let within = |fault: Fault| fault.within("context_management");
        let edits = management.items("edits").map_err(within)?.unwrap_or_default();
        each(edits, |edit| match Fields::of(edit)?.text("type")? {
            Some(kind) if kind.starts_with("clear_") => Ok(()),
            _ => Err(Fault::unsupported("type", OTHER_FORMAT)),
        })
        .map_err(|fault| within(fault.within("edits")))?;
        if !edits.is_empty() {
            self.drop("context_management");
        }
        Ok(())
    }

    /// The turns, neighbours of the same role joined: Anthropic reads them as one.
    fn turns(&mut self, fields: Fields<'_>) -> Read<Vec<Turn>> {
        let mut turns = Vec::new();
        push(&mut turns, Role::System, self.system(fields)?);
        let Some(messages) = fields.items("messages")? else {
            return Err(Fault::new(
                Code::MissingInput,
                "messages",
                "is missing; it must be an array of messages",
            ));
        };
        for (index, message) in messages.iter().enumerate() {
            let (role, parts) =
                self.message(message).map_err(|fault| fault.within(index).within("messages"))?;
            push(&mut turns, role, parts);
        }
        if turns.is_empty() {
            return Err(Fault::new(
                Code::InvalidValue,
                "messages",
                "must have at least one message with content",
            ));
        }
        Ok(turns)
    }

    fn system(&mut self, fields: Fields<'_>) -> Read<Vec<Part>> {
        let mut parts = self.content(fields, "system")?;
        parts.retain(|part| !matches!(&part.piece, Piece::Text(text) if text.starts_with(ATTRIBUTION)));
        if parts.iter().any(|part| !matches!(part.piece, Piece::Text(_))) {
            return Err(Fault::new(
                Code::InvalidValue,
                "system",
                "must be a string or an array of text blocks",
            ));
        }
        Ok(parts)
    }

    fn message(&mut self, message: &Value) -> Read<(Role, Vec<Part>)> {
        let fields = Fields::of(message)?;
        let role = match Fields::required("role", fields.text("role")?)? {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => {
                let problem = "must be \"user\", \"assistant\" or \"system\"";
                return Err(Fault::new(Code::InvalidValue, "role", problem));
            }
        };
        if role == Role::System && fields.get("output_config").is_some() {
            self.drop("messages.output_config");
        } else {
            Fields::required("content", fields.get("content"))?;
        }
        let parts = self.content(fields, "content")?;
        if parts.iter().any(|part| !may_say(role, &part.piece)) {
            let problem = "has a block that a message of this role cannot have";
            return Err(Fault::new(Code::InvalidValue, "content", problem));
        }
        Ok((role, parts))
    }

    /// The content of a field that is a string or an array of blocks, possibly absent.
    fn content(&mut self, fields: Fields<'_>, name: &'static str) -> Read<Vec<Part>> {
        match fields.get(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(text_piece(text).map(Part::from).into_iter().collect()),
            Some(Value::Array(blocks)) => {
                let parts = each(blocks, |block| self.block(block)).map_err(|fault| fault.within(name))?;
                Ok(parts.into_iter().flatten().collect())
            }
            Some(_) => Err(Fault::new(Code::InvalidType, name, "must be a string or an array of blocks")),
        }
    }

    /// A block of content. Documents may become two parts; blocks without meaning elsewhere become none.
    fn block(&mut self, block: &Value) -> Read<Vec<Part>> {
        let fields = Fields::of(block)?;
        let mut pieces = match Fields::required("type", fields.text("type")?)? {
            "text" => text_piece(Fields::required("text", fields.text("text")?)?).into_iter().collect(),
            "image" => vec![Piece::Image(image(fields)?)],
            "document" => self.document(fields)?,
            "search_result" => {
                self.drop("search_result");
                vec![search_result(fields)?]
            }
            "tool_use" => vec![Piece::ToolCall(tool_call(fields)?)],
            "tool_result" => return Ok(vec![self.tool_result(fields)?]),
            "tool_reference" => {
                self.drop("tool_reference");
                let name = Fields::required("tool_name", fields.text("tool_name")?)?;
                vec![Piece::Text(format!("The tool {name} is available."))]
            }
            "thinking" => thinking_piece(fields)?.into_iter().collect(),
            "redacted_thinking" => {
                let data = Fields::required("data", fields.text("data")?)?;
                vec![Piece::Reasoning(Reasoning {
                    text: String::new(),
                    blob: Some(blob(Kind::Redacted, data)),
                })]
            }
            "compaction" => {
                self.drop("compaction");
                fields.text("content")?.and_then(text_piece).into_iter().collect()
            }
            // A server tool of an earlier turn: the model has used it, and its text remains.
            kind if kind.ends_with("_tool_use") || kind.ends_with("_tool_result") => {
                self.drop(if kind.ends_with("_use") { "server_tool_use" } else { "server_tool_result" });
                Vec::new()
            }
            kind @ ("fallback" | "tool_addition" | "tool_removal") => {
                self.drop(kind);
                Vec::new()
            }
            _ => return Err(Fault::unsupported("type", OTHER_FORMAT)),
        };
        let cache_control = fields.map("cache_control")?.cloned().map(Value::Object);
        let Some(last) = pieces.pop() else { return Ok(Vec::new()) };
        let mut parts: Vec<Part> = pieces.into_iter().map(Part::from).collect();
        parts.push(Part { piece: last, cache_control });
        Ok(parts)
    }

    /// A document, with its context as a text in front of it.
    fn document(&mut self, fields: Fields<'_>) -> Read<Vec<Piece>> {
        if fields
            .object("citations")?
            .is_some_and(|citations| citations.get("enabled") == Some(&Value::Bool(true)))
        {
            self.drop("citations");
        }
        let source = Fields::required("source", fields.object("source")?)?;
        let content = document_content(source).map_err(|fault| fault.within("source"))?;
        let name = fields.text("title")?.map(str::to_owned);
        let introduction = fields.text("context")?.and_then(text_piece);
        Ok(introduction.into_iter().chain([Piece::Document(Document { name, content })]).collect())
    }

    fn tool_result(&mut self, fields: Fields<'_>) -> Read<Part> {
        let call_id = Fields::required("tool_use_id", fields.text("tool_use_id")?)?;
        let parts = self.content(fields, "content")?;
        // A block inside of the result can have it too; the neutral form has only one for the whole result.
        let inner = parts.iter().rev().find_map(|part| part.cache_control.clone());
        let content: Vec<Piece> = parts.into_iter().map(|part| part.piece).collect();
        let is_media = |piece: &Piece| matches!(piece, Piece::Text(_) | Piece::Image(_) | Piece::Document(_));
        if !content.iter().all(is_media) {
            return Err(Fault::new(
                Code::InvalidValue,
                "content",
                "must have text, images and documents only",
            ));
        }
        let is_error = fields.flag("is_error")?.unwrap_or(false);
        let cache_control = fields.map("cache_control")?.cloned().map(Value::Object).or(inner);
        let result = ToolResult { call_id: ids::restore(call_id).into_owned(), content, is_error };
        Ok(Part { piece: Piece::ToolResult(result), cache_control })
    }

    /// The tools that another model can call, and the families of Anthropic's server tools among the rest.
    fn tools(&mut self, fields: Fields<'_>) -> Read<(Vec<Tool>, Vec<ServerTool>)> {
        let mut server_tools = Vec::new();
        let tools = each(fields.items("tools")?.unwrap_or_default(), |tool| {
            let fields = Fields::of(tool)?;
            let kind = fields.text("type")?.unwrap_or("custom");
            let Some(family) = client_tools::server_tool(kind) else {
                return tool_of(fields, kind).map(Some);
            };
            let name = fields.text("name")?.unwrap_or(family).to_owned();
            server_tools.push(ServerTool { name });
            self.drop(&format!("tools.{family}"));
            Ok(None)
        })
        .map_err(|fault| fault.within("tools"))?;
        Ok((tools.into_iter().flatten().collect(), server_tools))
    }

    fn thinking(&mut self, fields: Fields<'_>) -> Read<Option<Thinking>> {
        let effort = self.effort(fields).map_err(|fault| fault.within("output_config"))?;
        let Some(thinking) = fields.object("thinking")? else { return Ok(effort.map(Thinking::Effort)) };
        let within = |fault: Fault| fault.within("thinking");
        if thinking.text("display").map_err(within)?.is_some_and(|display| display != "summarized") {
            self.drop("thinking.display");
        }
        let kind = thinking.text("type").and_then(|kind| Fields::required("type", kind)).map_err(within)?;
        let asked = match kind {
            "disabled" => return Ok(Some(Thinking::Off)),
            "adaptive" => Thinking::Adaptive,
            "between_tools" => {
                self.drop("thinking.type");
                Thinking::Adaptive
            }
            "enabled" => {
                let budget = thinking.count("budget_tokens");
                let budget =
                    budget.and_then(|budget| Fields::required("budget_tokens", budget)).map_err(within)?;
                if effort.is_some() {
                    self.drop("thinking.budget_tokens");
                }
                Thinking::Budget(budget)
            }
            _ => {
                let problem = "must be \"enabled\", \"adaptive\", \"between_tools\" or \"disabled\"";
                return Err(within(Fault::new(Code::InvalidValue, "type", problem)));
            }
        };
        Ok(Some(effort.map_or(asked, Thinking::Effort)))
    }

    fn effort(&mut self, fields: Fields<'_>) -> Read<Option<Effort>> {
        let Some(config) = fields.object("output_config")? else { return Ok(None) };
        if config.get("task_budget").is_some() {
            self.drop("output_config.task_budget");
        }
        let Some(word) = config.text("effort")? else { return Ok(None) };
        let problem = "must be \"low\", \"medium\", \"high\", \"xhigh\" or \"max\"";
        Effort::read(word).map(Some).ok_or_else(|| Fault::new(Code::InvalidValue, "effort", problem))
    }

    fn user(&mut self, fields: Fields<'_>) -> Read<Option<String>> {
        let Some(metadata) = fields.object("metadata")? else { return Ok(None) };
        if metadata.names().any(|name| name != "user_id") {
            self.drop("metadata");
        }
        let user = metadata.text("user_id").map_err(|fault| fault.within("metadata"))?;
        Ok(user.map(str::to_owned))
    }
}

/// A tool that Anthropic runs.
struct ServerTool {
    name: String,
}

/// Returns `true` if a participant can say a piece: only the model thinks and calls, and only the user has results.
fn may_say(role: Role, piece: &Piece) -> bool {
    match piece {
        Piece::Text(_) => true,
        Piece::ToolCall(_) | Piece::Reasoning(_) | Piece::Refusal(_) => role == Role::Assistant,
        Piece::ToolResult(_) => role == Role::User,
        Piece::Image(_) | Piece::Document(_) | Piece::Audio(_) => role != Role::System,
    }
}

/// Adds what a participant says to the turns.
fn push(turns: &mut Vec<Turn>, role: Role, parts: Vec<Part>) {
    match turns.last_mut() {
        _ if parts.is_empty() => {}
        Some(last) if last.role == role => last.parts.extend(parts),
        _ => turns.push(Turn { role, parts }),
    }
}

/// The meaning of a `cache_control` at the top level: everything up to the last block that can have it.
fn cache_to_the_end(turns: &mut [Turn], cache_control: &Value) {
    let mut parts = turns.iter_mut().rev().flat_map(|turn| turn.parts.iter_mut().rev());
    if let Some(part) = parts.find(|part| !matches!(part.piece, Piece::Reasoning(_))) {
        part.cache_control.get_or_insert_with(|| cache_control.clone());
    }
}

/// A text, unless it is empty.
fn text_piece(text: &str) -> Option<Piece> {
    (!text.is_empty()).then(|| Piece::Text(text.to_owned()))
}

fn image(fields: Fields<'_>) -> Read<Media> {
    let source = Fields::required("source", fields.object("source")?)?;
    media(source)
        .and_then(|media| {
            media.ok_or_else(|| {
                Fault::unsupported("", "is not supported for this model; send the image as base64 or url")
            })
        })
        .map_err(|fault| fault.within("source"))
}

/// The bytes or the address of a source; `None` if it is of another type.
fn media(source: Fields<'_>) -> Read<Option<Media>> {
    let text = |name| Fields::required(name, source.text(name)?).map(str::to_owned);
    Ok(match Fields::required("type", source.text("type")?)? {
        "base64" => Some(Media::Inline { media_type: text("media_type")?, data: text("data")? }),
        "url" => Some(Media::Url(text("url")?)),
        _ => None,
    })
}

fn document_content(source: Fields<'_>) -> Read<DocumentContent> {
    if let Some(media) = media(source)? {
        return Ok(DocumentContent::Media(media));
    }
    let unsupported = || {
        Fault::unsupported("", "is not supported for this model; send the document as base64, text or url")
    };
    match source.text("type")? {
        Some("text") => {
            let text = Fields::required("data", source.text("data")?)?;
            Ok(DocumentContent::Text(text.to_owned()))
        }
        Some("content") => match source.get("content") {
            Some(Value::String(text)) => Ok(DocumentContent::Text(text.clone())),
            Some(Value::Array(blocks)) => texts(blocks).map(DocumentContent::Text).ok_or_else(unsupported),
            _ => Err(Fault::new(Code::InvalidType, "content", "must be a string or an array of blocks")),
        },
        _ => Err(unsupported()),
    }
}

/// The text of blocks that are all text.
fn texts(blocks: &[Value]) -> Option<String> {
    let texts: Option<Vec<&str>> = blocks.iter().map(|block| block.get("text")?.as_str()).collect();
    Some(texts?.join("\n\n"))
}

/// A search result as a text: title, address, content.
fn search_result(fields: Fields<'_>) -> Read<Piece> {
    let title = Fields::required("title", fields.text("title")?)?;
    let source = Fields::required("source", fields.text("source")?)?;
    let content = texts(Fields::required("content", fields.items("content")?)?)
        .ok_or_else(|| Fault::new(Code::InvalidValue, "content", "must be an array of text blocks"))?;
    Ok(Piece::Text(format!("{title}\n{source}\n\n{content}")))
}

fn tool_call(fields: Fields<'_>) -> Read<ToolCall> {
    let id = Fields::required("id", fields.text("id")?)?;
    let name = Fields::required("name", fields.text("name")?)?;
    let arguments = fields.map("input")?.map_or_else(|| "{}".to_owned(), crate::json::to_text);
    Ok(ToolCall { id: ids::restore(id).into_owned(), name: name.to_owned(), arguments })
}

/// A block of thinking; `None` if it says nothing.
fn thinking_piece(fields: Fields<'_>) -> Read<Option<Piece>> {
    let text = fields.text("thinking")?.unwrap_or_default().to_owned();
    let signature = fields.text("signature")?.filter(|signature| !signature.is_empty());
    let blob = signature.map(|signature| blob(Kind::Signature, signature));
    Ok((blob.is_some() || !text.is_empty()).then_some(Piece::Reasoning(Reasoning { text, blob })))
}

/// A blob as a client echoes it: with its maker, or bare as a lane of this format wrote it.
fn blob(kind: Kind, data: &str) -> Blob {
    Blob::read(data).unwrap_or_else(|| Blob { kind, maker: carrier::unmarked(), data: data.to_owned() })
}

/// A tool that the client runs.
fn tool_of(fields: Fields<'_>, kind: &str) -> Read<Tool> {
    let name = Fields::required("name", fields.text("name")?)?.to_owned();
    let description = fields.text("description")?.filter(|text| !text.is_empty()).map(str::to_owned);
    let cache_control = fields.map("cache_control")?.cloned().map(Value::Object);
    if kind == "custom" {
        let parameters: Map<String, Value> =
            Fields::required("input_schema", fields.map("input_schema")?)?.clone();
        return Ok(Tool { name, description, parameters, strict: fields.flag("strict")?, cache_control });
    }
    let Some((known, parameters)) = client_tools::known(kind) else {
        return Err(Fault::unsupported("type", OTHER_FORMAT));
    };
    Ok(Tool { name, description: Some(known.to_owned()), parameters, strict: None, cache_control })
}

/// The choice, and `Some(false)` if only one tool may be called at a time.
fn tool_choice(fields: Fields<'_>, server_tools: &[ServerTool]) -> Read<(Option<ToolChoice>, Option<bool>)> {
    let Some(choice) = fields.object("tool_choice")? else { return Ok((None, None)) };
    let within = |fault: Fault| fault.within("tool_choice");
    let name = choice.text("name").map_err(within)?;
    let read = match choice.text("type").and_then(|kind| Fields::required("type", kind)).map_err(within)? {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "any" => ToolChoice::Required,
        "tool" => ToolChoice::One(Fields::required("name", name).map_err(within)?.to_owned()),
        _ => {
            let problem = "must be \"auto\", \"any\", \"tool\" or \"none\"";
            return Err(within(Fault::new(Code::InvalidValue, "type", problem)));
        }
    };
    let forces_a_server_tool = match &read {
        ToolChoice::Required => !server_tools.is_empty(),
        ToolChoice::One(name) => server_tools.iter().any(|tool| tool.name == *name),
        ToolChoice::Auto | ToolChoice::None => false,
    };
    if forces_a_server_tool {
        let reason = "may force a tool that runs at Anthropic, which this model's provider does not have";
        return Err(Fault::unsupported("tool_choice", reason));
    }
    let is_single = choice.flag("disable_parallel_tool_use").map_err(within)? == Some(true);
    Ok((Some(read), is_single.then_some(false)))
}

/// The schema of the output, in the present field or the one of the first beta.
fn output(fields: Fields<'_>) -> Read<Option<Output>> {
    if let Some(config) = fields.object("output_config")? {
        let format = config.object("format").map_err(|fault| fault.within("output_config"))?;
        if let Some(format) = format {
            let schema = json_schema(format).map_err(|fault| fault.within("output_config.format"))?;
            return Ok(Some(schema));
        }
    }
    let Some(format) = fields.object("output_format")? else { return Ok(None) };
    json_schema(format).map(Some).map_err(|fault| fault.within("output_format"))
}

fn json_schema(format: Fields<'_>) -> Read<Output> {
    if format.text("type")? != Some("json_schema") {
        return Err(Fault::new(Code::InvalidValue, "type", "must be \"json_schema\""));
    }
    let schema = Fields::required("schema", format.map("schema")?)?.clone();
    Ok(Output::JsonSchema { name: None, description: None, schema: Value::Object(schema), strict: None })
}

fn stop(fields: Fields<'_>) -> Read<Vec<String>> {
    let sequences = fields.items("stop_sequences")?.unwrap_or_default();
    each(sequences, |text| {
        let wrong = || Fault::new(Code::InvalidType, "", "must be a string");
        text.as_str().map(str::to_owned).ok_or_else(wrong)
    })
    .map_err(|fault| fault.within("stop_sequences"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::needless_pass_by_value, reason = "`json!` makes values")]

    use super::*;
    use crate::conversation::ServiceTier;
    use proptest::prelude::*;
    use serde_json::json;

    /// Reads a request that has what is required, and these fields.
    fn request(fields: Value) -> Result<Conversation, Error> {
        let mut body =
            json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "Hi" }] });
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        super::read(body.to_string().as_bytes())
    }

    fn read(fields: Value) -> Conversation {
        request(fields).unwrap()
    }

    /// The pieces of one message.
    fn pieces(role: &str, content: Value) -> Vec<Piece> {
        let conversation = read(json!({ "messages": [{ "role": role, "content": content }] }));
        conversation.turns.into_iter().flat_map(|turn| turn.parts).map(|part| part.piece).collect()
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    #[test]
    fn system_prompts_may_be_anywhere() {
        let ephemeral = json!({ "type": "ephemeral" });
        let conversation = read(json!({
            "system": [
                { "type": "text", "text": "x-anthropic-billing-header: cc_version=2; cc_entrypoint=cli;" },
                { "type": "text", "text": "Be brief.", "cache_control": ephemeral },
                { "type": "text", "text": "" },
            ],
            "messages": [
                { "role": "user", "content": "a" },
                { "role": "user", "content": [{ "type": "text", "text": "b" }] },
                { "role": "system", "content": "Now in verse." },
                { "role": "assistant", "content": [] },
                { "role": "assistant", "content": "c" },
            ],
        }));
        let turns: Vec<(Role, Vec<Piece>)> = conversation
            .turns
            .iter()
            .map(|turn| (turn.role, turn.parts.iter().map(|part| part.piece.clone()).collect()))
            .collect();
        assert_eq!(
            turns,
            [
                (Role::System, vec![text("Be brief.")]),
                (Role::User, vec![text("a"), text("b")]),
                (Role::System, vec![text("Now in verse.")]),
                (Role::Assistant, vec![text("c")]),
            ]
        );
        assert_eq!(conversation.turns[0].parts[0].cache_control, Some(ephemeral));
        assert_eq!(read(json!({ "system": "s" })).turns[0].role, Role::System);
        assert_eq!(read(json!({ "system": null, "tools": [] })).turns.len(), 1);
    }

    #[test]
    fn calls_and_results_keep_everything_in_them() {
        let calls = pieces(
            "assistant",
            json!([
                { "type": "tool_use", "id": "gwid-f-3a0", "name": "f", "input": { "b": 1, "a": [2.5] } },
                { "type": "tool_use", "id": "toolu_2", "name": "g", "input": {} },
            ]),
        );
        let call = |id: &str, name: &str, arguments: &str| {
            Piece::ToolCall(ToolCall {
                id: id.to_owned(),
                name: name.to_owned(),
                arguments: arguments.to_owned(),
            })
        };
        assert_eq!(calls, [call("f:0", "f", r#"{"b":1,"a":[2.5]}"#), call("toolu_2", "g", "{}")]);
        let results = pieces(
            "user",
            json!([
                { "type": "tool_result", "tool_use_id": "gwid-f-3a0", "is_error": true, "content": [
                    { "type": "text", "text": "failed" },
                    { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AA==" } },
                    { "type": "document", "source": { "type": "url", "url": "https://a.example/b.pdf" } },
                    { "type": "tool_reference", "tool_name": "now" },
                ] },
                { "type": "tool_result", "tool_use_id": "toolu_2" },
                { "type": "tool_result", "tool_use_id": "toolu_3", "content": "" },
                { "type": "text", "text": "Go on." },
            ]),
        );
        let result = |call_id: &str, content: Vec<Piece>, is_error| {
            Piece::ToolResult(ToolResult { call_id: call_id.to_owned(), content, is_error })
        };
        let url = Media::Url("https://a.example/b.pdf".to_owned());
        let content = vec![
            text("failed"),
            Piece::Image(Media::Inline { media_type: "image/png".to_owned(), data: "AA==".to_owned() }),
            Piece::Document(Document { name: None, content: DocumentContent::Media(url) }),
            text("The tool now is available."),
        ];
        assert_eq!(
            results,
            [
                result("f:0", content, true),
                result("toolu_2", vec![], false),
                result("toolu_3", vec![], false),
                text("Go on."),
            ]
        );
    }

    #[test]
    fn reasoning_comes_back_with_its_maker() {
        let maker = carrier::Maker::of("deepseek", "r");
        let marked = |kind| Blob { kind, maker, data: "d:1".to_owned() };
        let content = json!([
            { "type": "thinking", "thinking": "a", "signature": marked(Kind::Encrypted).to_text() },
            { "type": "thinking", "thinking": "b", "signature": "Er==" },
            { "type": "thinking", "thinking": "c", "signature": "" },
            { "type": "thinking", "thinking": "", "signature": "" },
            { "type": "redacted_thinking", "data": marked(Kind::Redacted).to_text() },
            { "type": "redacted_thinking", "data": "Em==" },
        ]);
        let reasoning = |text: &str, blob| Piece::Reasoning(Reasoning { text: text.to_owned(), blob });
        let bare = |kind, data: &str| Some(Blob { kind, maker: carrier::unmarked(), data: data.to_owned() });
        assert_eq!(
            pieces("assistant", content),
            [
                reasoning("a", Some(marked(Kind::Encrypted))),
                reasoning("b", bare(Kind::Signature, "Er==")),
                reasoning("c", None),
                reasoning("", Some(marked(Kind::Redacted))),
                reasoning("", bare(Kind::Redacted, "Em==")),
            ]
        );
    }

    #[test]
    fn documents_and_search_results() {
        let document = |name: Option<&str>, content: &str| {
            let content = DocumentContent::Text(content.to_owned());
            Piece::Document(Document { name: name.map(str::to_owned), content })
        };
        let source = json!({ "type": "text", "media_type": "text/plain", "data": "Once" });
        let blocks = json!([{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }]);
        let content = json!([
            { "type": "document", "source": source, "title": "Tale", "context": "Old.", "citations": { "enabled": true } },
            { "type": "document", "source": { "type": "content", "content": blocks } },
            { "type": "search_result", "title": "T", "source": "https://a.example", "content": blocks },
        ]);
        let conversation = read(json!({ "messages": [{ "role": "user", "content": content }] }));
        let pieces: Vec<_> = conversation.turns[0].parts.iter().map(|part| part.piece.clone()).collect();
        assert_eq!(
            pieces,
            [
                text("Old."),
                document(Some("Tale"), "Once"),
                document(None, "a\n\nb"),
                text("T\nhttps://a.example\n\na\n\nb"),
            ]
        );
        assert_eq!(conversation.dropped, ["citations", "search_result"]);
    }

    #[test]
    fn server_tools_are_dropped_unless_they_are_forced() {
        let tools = json!([
            { "name": "f", "description": "", "input_schema": { "type": "object" }, "defer_loading": true, "strict": true },
            { "type": "custom", "name": "g", "input_schema": {}, "cache_control": { "type": "ephemeral" } },
            { "type": "bash_20250124", "name": "bash" },
            { "type": "web_search_20250305", "name": "web_search" },
        ]);
        let conversation = read(json!({ "tools": tools, "tool_choice": { "type": "auto" } }));
        let names: Vec<_> = conversation.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, ["f", "g", "bash"]);
        assert_eq!((&conversation.tools[0].description, conversation.tools[0].strict), (&None, Some(true)));
        assert!(conversation.tools[1].cache_control.is_some());
        assert!(conversation.tools[2].parameters["properties"]["command"].is_object());
        assert_eq!(conversation.dropped, ["tools.web_search"]);
        for choice in [json!({ "type": "any" }), json!({ "type": "tool", "name": "web_search" })] {
            let error = request(json!({ "tools": tools, "tool_choice": choice })).unwrap_err();
            assert!(error.is(Code::UnsupportedParameter) && error.param.as_deref() == Some("tool_choice"));
        }
        let history = json!([
            { "type": "server_tool_use", "id": "s", "name": "web_search", "input": {} },
            { "type": "web_search_tool_result", "tool_use_id": "s", "content": [] },
            { "type": "text", "text": "Found." },
        ]);
        assert_eq!(pieces("assistant", history), [text("Found.")]);
    }

    #[test]
    fn the_choice_of_tools() {
        let choice = |choice: Value| {
            let tools = json!([{ "name": "f", "input_schema": {} }]);
            let conversation = read(json!({ "tools": tools, "tool_choice": choice }));
            (conversation.tool_choice.unwrap(), conversation.parallel_tool_calls)
        };
        assert_eq!(
            choice(json!({ "type": "auto", "disable_parallel_tool_use": true })),
            (ToolChoice::Auto, Some(false))
        );
        assert_eq!(
            choice(json!({ "type": "any", "disable_parallel_tool_use": false })),
            (ToolChoice::Required, None)
        );
        assert_eq!(choice(json!({ "type": "tool", "name": "f" })), (ToolChoice::One("f".to_owned()), None));
        assert_eq!(choice(json!({ "type": "none" })), (ToolChoice::None, None));
        assert_eq!(read(json!({ "tool_choice": { "type": "auto" } })).tool_choice, None);
    }

    #[test]
    fn thinking_and_effort_are_one_wish() {
        let thinking = |fields: Value| {
            let conversation = read(fields);
            (conversation.thinking, conversation.dropped.join(" "))
        };
        for (fields, expected, dropped) in [
            (json!({}), None, ""),
            (
                json!({ "thinking": { "type": "disabled" }, "output_config": { "effort": "high" } }),
                Some(Thinking::Off),
                "",
            ),
            (
                json!({ "thinking": { "type": "adaptive" }, "output_config": { "effort": "max" } }),
                Some(Thinking::Effort(Effort::Max)),
                "",
            ),
            (
                json!({ "thinking": { "type": "adaptive", "display": "omitted" } }),
                Some(Thinking::Adaptive),
                "thinking.display",
            ),
            (
                json!({ "thinking": { "type": "enabled", "budget_tokens": 2000 } }),
                Some(Thinking::Budget(2000)),
                "",
            ),
            (
                json!({ "thinking": { "type": "enabled", "budget_tokens": 2000 }, "output_config": { "effort": "low" } }),
                Some(Thinking::Effort(Effort::Low)),
                "thinking.budget_tokens",
            ),
            (
                json!({ "output_config": { "effort": "low", "task_budget": {} } }),
                Some(Thinking::Effort(Effort::Low)),
                "output_config.task_budget",
            ),
            (json!({ "thinking": { "type": "between_tools" } }), Some(Thinking::Adaptive), "thinking.type"),
        ] {
            assert_eq!(thinking(fields.clone()), (expected, dropped.to_owned()), "{fields}");
        }
    }

    #[test]
    fn the_rest_of_the_fields() {
        let format = json!({ "type": "json_schema", "schema": { "type": "object" } });
        let conversation = read(json!({
            "temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop_sequences": ["END"],
            "output_config": { "format": format },
            "metadata": { "user_id": "u" },
            "cache_control": { "type": "ephemeral" },
            "context_management": { "edits": [{ "type": "clear_thinking_20251015", "keep": "all" }] },
            "service_tier": "auto", "inference_geo": "us", "speed": null, "project_id": "p", "models": [], "b\n": 1,
        }));
        let Sampling { temperature, top_p, top_k, .. } = conversation.sampling;
        assert_eq!((temperature, top_p, top_k), (Some(0.5), Some(0.9), Some(5)));
        assert_eq!((conversation.max_output, conversation.user.as_deref()), (Some(9), Some("u")));
        assert_eq!(conversation.stop, ["END"]);
        assert!(
            matches!(&conversation.output, Some(Output::JsonSchema { schema, .. }) if schema["type"] == "object")
        );
        assert_eq!(read(json!({ "output_format": format })).output, conversation.output);
        assert!(conversation.turns[0].parts[0].cache_control.is_some());
        assert_eq!(conversation.dropped, ["context_management", "inference_geo"]);
        let tier = |word: &str| {
            let Conversation { service_tier, dropped, .. } = read(json!({ "service_tier": word }));
            (service_tier, dropped)
        };
        assert_eq!(tier("standard_only"), (Some(ServiceTier::Standard), vec![]));
        assert_eq!(tier("another"), (None, vec!["service_tier".to_owned()]));
    }

    #[test]
    fn every_fault_names_its_field() {
        let image = |source: Value| json!({ "messages": [{ "role": "user", "content": [{ "type": "image", "source": source }] }] });
        let result = |block: Value| {
            let result = json!([{ "type": "tool_result", "tool_use_id": "a", "content": [block] }]);
            json!({ "messages": [{ "role": "user", "content": "Hi" }, { "role": "user", "content": result }] })
        };
        for (fields, code, param) in [
            (json!({ "max_tokens": -1 }), Code::InvalidType, "max_tokens"),
            (json!({ "messages": null }), Code::MissingInput, "messages"),
            (json!({ "messages": [] }), Code::InvalidValue, "messages"),
            (json!({ "messages": [7] }), Code::InvalidType, "messages.0"),
            (
                json!({ "messages": [{ "role": "tool", "content": "" }] }),
                Code::InvalidValue,
                "messages.0.role",
            ),
            (json!({ "messages": [{ "role": "user" }] }), Code::MissingMember, "messages.0.content"),
            (
                json!({ "messages": [{ "role": "user", "content": 7 }] }),
                Code::InvalidType,
                "messages.0.content",
            ),
            (
                json!({ "messages": [{ "role": "user", "content": [{}] }] }),
                Code::MissingMember,
                "messages.0.content.0.type",
            ),
            (
                json!({ "messages": [{ "role": "user", "content": [{ "type": "video" }] }] }),
                Code::UnsupportedParameter,
                "messages.0.content.0.type",
            ),
            (
                image(json!({ "type": "file", "file_id": "f" })),
                Code::UnsupportedParameter,
                "messages.0.content.0.source",
            ),
            (
                image(json!({ "type": "base64", "data": "" })),
                Code::MissingMember,
                "messages.0.content.0.source.media_type",
            ),
            (
                result(json!({ "type": "image", "source": { "type": "url" } })),
                Code::MissingMember,
                "messages.1.content.0.content.0.source.url",
            ),
            (
                result(json!({ "type": "tool_use", "id": "a", "name": "f" })),
                Code::InvalidValue,
                "messages.1.content.0.content",
            ),
            (
                json!({ "system": [{ "type": "image", "source": { "type": "url", "url": "u" } }] }),
                Code::InvalidValue,
                "system",
            ),
            (json!({ "mcp_servers": [{}] }), Code::UnsupportedParameter, "mcp_servers"),
            (json!({ "container": "c" }), Code::UnsupportedParameter, "container"),
            (
                json!({ "context_management": { "edits": [{ "type": "compact_20260112" }] } }),
                Code::UnsupportedParameter,
                "context_management.edits.0.type",
            ),
            (json!({ "tools": [{ "name": "f" }] }), Code::MissingMember, "tools.0.input_schema"),
            (
                json!({ "tools": [{ "type": "computer_20250124", "name": "computer" }] }),
                Code::UnsupportedParameter,
                "tools.0.type",
            ),
            (json!({ "tool_choice": { "type": "tool" } }), Code::MissingMember, "tool_choice.name"),
            (json!({ "tool_choice": "auto" }), Code::InvalidType, "tool_choice"),
            (json!({ "thinking": { "type": "enabled" } }), Code::MissingMember, "thinking.budget_tokens"),
            (json!({ "thinking": { "type": "deep" } }), Code::InvalidValue, "thinking.type"),
            (json!({ "output_config": { "effort": "huge" } }), Code::InvalidValue, "output_config.effort"),
            (
                json!({ "output_config": { "format": { "type": "json" } } }),
                Code::InvalidValue,
                "output_config.format.type",
            ),
            (json!({ "stop_sequences": [7] }), Code::InvalidType, "stop_sequences.0"),
            (json!({ "metadata": { "user_id": 7 } }), Code::InvalidType, "metadata.user_id"),
        ] {
            let error = request(fields.clone()).unwrap_err();
            assert!(error.is(code), "{fields}: {error:?}");
            assert_eq!(error.param.as_deref(), Some(param), "{fields}");
            assert!(error.message.starts_with(&format!("'{param}' ")), "{}", error.message);
        }
        let call = json!([{ "type": "tool_use", "id": "a", "name": "f", "input": {} }]);
        let result = json!([{ "type": "tool_result", "tool_use_id": "a" }]);
        for (role, content) in [("user", &call), ("system", &call), ("assistant", &result)] {
            let error = request(json!({ "messages": [{ "role": role, "content": content }] })).unwrap_err();
            assert!(error.is(Code::InvalidValue) && error.param.as_deref() == Some("messages.0.content"));
        }
        assert!(super::read(b"[").unwrap_err().is(Code::InvalidJson));
        assert!(super::read(b"[]").unwrap_err().is(Code::InvalidType));
    }

    /// JSON that has names and values of the format in unusual places.
    fn any_json() -> impl Strategy<Value = Value> {
        const WORDS: [&str; 24] = [
            "type",
            "text",
            "content",
            "role",
            "user",
            "assistant",
            "system",
            "source",
            "base64",
            "data",
            "url",
            "tool_use",
            "tool_result",
            "thinking",
            "id",
            "name",
            "input",
            "tool_use_id",
            "image",
            "document",
            "cache_control",
            "title",
            "signature",
            "media_type",
        ];
        let word = || prop::sample::select(WORDS.to_vec()).prop_map(str::to_owned);
        let leaf = prop_oneof![
            word().prop_map(Value::String),
            any::<bool>().prop_map(Value::Bool),
            any::<i16>().prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::vec((word(), inner), 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Any value in any field is read, or is an error that names a field.
        #[test]
        fn any_value_is_read_or_named(at in 0usize..KNOWN.len(), value in any_json(), is_content: bool) {
            let fields = if is_content {
                json!({ "messages": [{ "role": "user", "content": value }] })
            } else {
                json!({ KNOWN[at]: value })
            };
            if let Err(error) = request(fields) {
                prop_assert!(error.param.is_some() && error.status == 400, "{:?}", error);
            }
        }
    }
}
