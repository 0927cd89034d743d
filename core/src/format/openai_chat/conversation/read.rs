//! Reads the caller's request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::fields::{Fields, drop_named, invalid, unsupported, wrong_type};
use crate::conversation::carrier::Blob;
use crate::conversation::{
    Conversation, Document, DocumentContent, Effort, Media, Output, Part, Piece, Reasoning, Role, Sampling,
    Thinking, Tool, ToolCall, ToolChoice, ToolResult, Turn, service_tier,
};
use crate::error::{Code, Error};

/// Fields that the gateway has acted on, or that say nothing about the conversation.
const OF_THE_GATEWAY: [&str; 10] = [
    "model",
    "stream",
    "stream_options",
    "project_id",
    "min_reasoning_level",
    "models",
    "provider",
    "route",
    "transforms",
    "usage",
];

/// Reads a body.
///
/// The error names the field in `param`: it is malformed, or it changes the meaning of the request and has no place in
/// the neutral form. Hints without a place are in [`Conversation::dropped`].
pub fn read(body: &[u8]) -> Result<Conversation, Error> {
    let body = serde_json::from_slice(body)
        .map_err(|error| Error::new(Code::InvalidJson, format!("The request body is not JSON: {error}")))?;
    let mut body = Fields::read(body, String::new())?;
    let mut dropped = Vec::new();
    reject(&mut body)?;
    for name in OF_THE_GATEWAY {
        body.take(name);
    }
    let mut tools = tools(&mut body, &mut dropped)?;
    let conversation = Conversation {
        turns: turns(&mut body, &mut dropped)?,
        tool_choice: tool_choice(&mut body, &mut tools)?,
        tools,
        parallel_tool_calls: body.flag("parallel_tool_calls")?,
        max_output: {
            let older = body.count("max_tokens")?;
            body.count("max_completion_tokens")?.or(older)
        },
        sampling: Sampling {
            temperature: body.number("temperature")?,
            top_p: body.number("top_p")?,
            top_k: body.count("top_k")?,
            seed: body.integer("seed")?,
            presence_penalty: body.number("presence_penalty")?,
            frequency_penalty: body.number("frequency_penalty")?,
        },
        stop: stop(&mut body)?,
        output: output(&mut body)?,
        thinking: thinking(&mut body)?,
        user: {
            let newer = body.text("safety_identifier")?;
            body.text("user")?.or(newer)
        },
        cache_key: body.text("prompt_cache_key")?,
        service_tier: service_tier(body.text("service_tier")?, || dropped.push("service_tier".to_owned())),
        dropped: Vec::new(),
    };
    body.drop_rest(&mut dropped);
    Ok(Conversation { dropped, ..conversation })
}

/// Rejects what changes the response and exists in no other format.
fn reject(body: &mut Fields) -> Result<(), Error> {
    if body.count("n")?.is_some_and(|n| n > 1) {
        return Err(body.unsupported("n", "more than one choice"));
    }
    if body.take("logprobs").is_some_and(|wanted| wanted != Value::Bool(false)) {
        return Err(body.unsupported("logprobs", "the probabilities of tokens"));
    }
    if body.take("top_logprobs").is_some_and(|number| number != 0) {
        return Err(body.unsupported("top_logprobs", "the probabilities of tokens"));
    }
    if body.take("audio").is_some() {
        return Err(body.unsupported("audio", "spoken output"));
    }
    if body.list("modalities")?.is_some_and(|kinds| kinds.iter().any(|kind| kind != "text")) {
        return Err(body.unsupported("modalities", "output other than text"));
    }
    if body.take("web_search_options").is_some() {
        return Err(body.unsupported("web_search_options", "the provider's own search"));
    }
    Ok(())
}

fn stop(body: &mut Fields) -> Result<Vec<String>, Error> {
    let texts = match body.take("stop") {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(text) => vec![text],
    };
    let text = |value| match value {
        Value::String(text) => Ok(text),
        other => Err(wrong_type("stop".to_owned(), "a string or an array of strings", &other)),
    };
    texts.into_iter().map(text).collect()
}

fn output(body: &mut Fields) -> Result<Option<Output>, Error> {
    let Some(mut format) = body.object("response_format")? else { return Ok(None) };
    match format.required_text("type")?.as_str() {
        "text" => Ok(None),
        "json_object" => Ok(Some(Output::JsonObject)),
        "json_schema" => {
            let mut schema = format.required_object("json_schema")?;
            Ok(Some(Output::JsonSchema {
                name: schema.text("name")?,
                description: schema.text("description")?,
                schema: schema.take("schema").unwrap_or_else(|| Value::Object(Map::new())),
                strict: schema.flag("strict")?,
            }))
        }
        _ => Err(body.unsupported("response_format", "this type of output")),
    }
}

/// The thinking: OpenAI's `reasoning_effort`, `OpenRouter`'s `reasoning`, or the `thinking` of `LiteLLM`, `DeepSeek` and
/// Z.ai.
fn thinking(body: &mut Fields) -> Result<Option<Thinking>, Error> {
    let effort = body.text("reasoning_effort")?;
    let reasoning = body.object("reasoning")?;
    let thinking = body.object("thinking")?;
    if let Some(word) = effort {
        return Ok(of_effort(&word));
    }
    if let Some(mut reasoning) = reasoning {
        if reasoning.flag("enabled")? == Some(false) {
            return Ok(Some(Thinking::Off));
        }
        if let Some(word) = reasoning.text("effort")? {
            return Ok(of_effort(&word));
        }
        return Ok(Some(reasoning.count("max_tokens")?.map_or(Thinking::Adaptive, Thinking::Budget)));
    }
    let Some(mut thinking) = thinking else { return Ok(None) };
    Ok(match thinking.text("type")?.as_deref() {
        Some("disabled") => Some(Thinking::Off),
        _ => Some(thinking.count("budget_tokens")?.map_or(Thinking::Adaptive, Thinking::Budget)),
    })
}

/// The thinking of a word for the effort; `None` for the gateway's `auto` and for words that nobody knows.
fn of_effort(word: &str) -> Option<Thinking> {
    if word == "none" { Some(Thinking::Off) } else { Effort::read(word).map(Thinking::Effort) }
}

/// The tools: `tools`, or `functions`, as they were called at first.
fn tools(body: &mut Fields, dropped: &mut Vec<String>) -> Result<Vec<Tool>, Error> {
    let mut tools = Vec::new();
    for (place, item) in body.list("tools")?.into_iter().flatten().enumerate() {
        let mut item = Fields::read(item, format!("tools[{place}]"))?;
        if item.text("type")?.is_some_and(|kind| kind != "function") {
            return Err(item.unsupported("type", "a tool that is not a function"));
        }
        let mut function = item.required_object("function")?;
        let cache_control = item.take("cache_control").or_else(|| function.take("cache_control"));
        item.drop_rest(dropped);
        tools.push(Tool { cache_control, ..tool(function, dropped)? });
    }
    for (place, item) in body.list("functions")?.into_iter().flatten().enumerate() {
        tools.push(tool(Fields::read(item, format!("functions[{place}]"))?, dropped)?);
    }
    Ok(tools)
}

fn tool(mut function: Fields, dropped: &mut Vec<String>) -> Result<Tool, Error> {
    let tool = Tool {
        name: function.required_text("name")?,
        description: function.text("description")?,
        parameters: function.map("parameters")?.unwrap_or_default(),
        strict: function.flag("strict")?,
        cache_control: None,
    };
    function.drop_rest(dropped);
    Ok(tool)
}

/// The choice of a tool. A choice of several allowed tools removes the others, since no other may be called.
fn tool_choice(body: &mut Fields, tools: &mut Vec<Tool>) -> Result<Option<ToolChoice>, Error> {
    let older = body.take("function_call");
    let (path, choice) = match (body.take("tool_choice"), older) {
        (Some(choice), _) => ("tool_choice", choice),
        (None, Some(Value::Object(one))) => {
            let mut one = Fields::read(Value::Object(one), "function_call".to_owned())?;
            return Ok(Some(ToolChoice::One(one.required_text("name")?)));
        }
        (None, Some(choice)) => ("function_call", choice),
        (None, None) => return Ok(None),
    };
    if let Value::String(word) = &choice {
        return word_of_choice(word, path).map(Some);
    }
    let mut choice = Fields::read(choice, path.to_owned())?;
    match choice.required_text("type")?.as_str() {
        "function" => {
            let mut function = choice.required_object("function")?;
            Ok(Some(ToolChoice::One(function.required_text("name")?)))
        }
        "allowed_tools" => {
            let mut allowed = choice.required_object("allowed_tools")?;
            let mode = allowed.text("mode")?.unwrap_or_else(|| "auto".to_owned());
            let mut names = Vec::new();
            for (place, item) in allowed.list("tools")?.into_iter().flatten().enumerate() {
                let mut item = Fields::read(item, format!("tool_choice.allowed_tools.tools[{place}]"))?;
                names.push(item.required_object("function")?.required_text("name")?);
            }
            tools.retain(|tool| names.contains(&tool.name));
            word_of_choice(&mode, "tool_choice.allowed_tools.mode").map(Some)
        }
        _ => Err(choice.unsupported("type", "a tool that is not a function")),
    }
}

fn word_of_choice(word: &str, path: &str) -> Result<ToolChoice, Error> {
    match word {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" | "any" => Ok(ToolChoice::Required),
        _ => Err(invalid(path.to_owned(), "\"auto\", \"none\", \"required\" or an object")),
    }
}

fn turns(body: &mut Fields, dropped: &mut Vec<String>) -> Result<Vec<Turn>, Error> {
    let mut turns: Vec<Turn> = Vec::new();
    // The id of the last call in the older form, which has none.
    let mut older_call = String::new();
    for (place, message) in body.list("messages")?.into_iter().flatten().enumerate() {
        let mut message = Fields::read(message, format!("messages[{place}]"))?;
        let cache_control = message.take("cache_control");
        let (role, mut parts) = match message.required_text("role")?.as_str() {
            "system" | "developer" => (Role::System, content(&mut message, dropped)?),
            "user" => (Role::User, content(&mut message, dropped)?),
            "assistant" => {
                let mut parts = assistant(&mut message, dropped)?;
                if let Some(mut call) = message.object("function_call")? {
                    older_call = format!("call_{place}");
                    parts.push(function(&mut call, older_call.clone())?.into());
                }
                (Role::Assistant, parts)
            }
            "tool" => {
                let call_id = message.required_text("tool_call_id")?;
                (Role::User, vec![result(&mut message, call_id, dropped)?])
            }
            "function" => (Role::User, vec![result(&mut message, older_call.clone(), dropped)?]),
            _ => {
                return Err(invalid(
                    message.path("role"),
                    "\"system\", \"developer\", \"user\", \"assistant\" or \"tool\"",
                ));
            }
        };
        if let Some(last) = parts.last_mut() {
            last.cache_control = last.cache_control.take().or(cache_control);
        }
        message.drop_rest(dropped);
        match turns.last_mut() {
            _ if parts.is_empty() => {}
            Some(turn) if turn.role == role => turn.parts.append(&mut parts),
            _ => turns.push(Turn { role, parts }),
        }
    }
    for turn in &mut turns {
        // The results follow the calls; what the user said between them comes afterwards.
        turn.parts.sort_by_key(|part| turn.role == Role::User && !is_result(part));
    }
    Ok(turns)
}

fn is_result(part: &Part) -> bool {
    matches!(part.piece, Piece::ToolResult(_))
}

fn assistant(message: &mut Fields, dropped: &mut Vec<String>) -> Result<Vec<Part>, Error> {
    let mut parts: Vec<Part> =
        reasoning(message).into_iter().map(|some| Piece::Reasoning(some).into()).collect();
    parts.append(&mut content(message, dropped)?);
    if let Some(refusal) = message.text("refusal")?.filter(|text| !text.is_empty()) {
        parts.push(Piece::Refusal(refusal).into());
    }
    let path = message.path("tool_calls");
    for (place, call) in message.list("tool_calls")?.into_iter().flatten().enumerate() {
        let mut call = Fields::read(call, format!("{path}[{place}]"))?;
        if call.text("type")?.is_some_and(|kind| kind != "function") {
            return Err(call.unsupported("type", "the call of a tool that is not a function"));
        }
        let id = call.required_text("id")?;
        parts.push(function(&mut call.required_object("function")?, id)?.into());
        call.take("index");
        call.drop_rest(dropped);
    }
    Ok(parts)
}

/// A call. Some clients send the arguments as an object.
fn function(function: &mut Fields, id: String) -> Result<Piece, Error> {
    let name = function.required_text("name")?;
    let arguments = match function.take("arguments") {
        None => "{}".to_owned(),
        Some(Value::String(text)) if text.trim().is_empty() => "{}".to_owned(),
        Some(Value::String(text)) => text,
        Some(object @ Value::Object(_)) => object.to_string(),
        Some(other) => return Err(wrong_type(function.path("arguments"), "a string", &other)),
    };
    Ok(Piece::ToolCall(ToolCall { id, name, arguments }))
}

fn result(message: &mut Fields, call_id: String, dropped: &mut Vec<String>) -> Result<Part, Error> {
    if call_id.is_empty() {
        return Err(invalid(message.path("role"), "\"tool\", since no function was called before"));
    }
    message.take("name");
    let parts = content(message, dropped)?;
    let cache_control = parts.iter().rev().find_map(|part| part.cache_control.clone());
    let content = parts.into_iter().map(|part| part.piece).collect();
    Ok(Part { piece: Piece::ToolResult(ToolResult { call_id, content, is_error: false }), cache_control })
}

/// The reasoning of a message, in the fields in which clients echo it. Those with blobs come first; what has an
/// unexpected shape is ignored, because callers do not write these fields themselves.
fn reasoning(message: &mut Fields) -> Vec<Reasoning> {
    let [blocks, details, content, reasoning] =
        ["thinking_blocks", "reasoning_details", "reasoning_content", "reasoning"]
            .map(|name| message.take(name));
    for items in [details, blocks].into_iter().flatten() {
        let found = reasoning_items(items.as_array().map_or(&[], Vec::as_slice));
        if !found.is_empty() {
            return found;
        }
    }
    let text = [content, reasoning].into_iter().flatten().find_map(|value| match value {
        Value::String(text) if !text.is_empty() => Some(text),
        _ => None,
    });
    text.map(|text| Reasoning { text, blob: None }).into_iter().collect()
}

/// The items of `reasoning_details` or `thinking_blocks`. Clients that collect the items of a stream without joining
/// them send several with one index.
fn reasoning_items(items: &[Value]) -> Vec<Reasoning> {
    let mut found: Vec<Reasoning> = Vec::new();
    let mut last_index = None;
    for item in items {
        let text = |names: [&str; 3]| names.iter().find_map(|name| item.get(name)?.as_str());
        let written = text(["text", "summary", "thinking"]).unwrap_or_default();
        let blob = text(["signature", "data", ""]).and_then(Blob::read);
        if written.is_empty() && blob.is_none() {
            continue;
        }
        let index = item.get("index").and_then(Value::as_u64);
        match found.last_mut() {
            Some(last) if last.blob.is_none() && index.is_some() && index == last_index => {
                last.text.push_str(written);
                last.blob = blob;
            }
            _ => found.push(Reasoning { text: written.to_owned(), blob }),
        }
        last_index = index;
    }
    found
}

/// The content of a message: a text, or parts. Empty texts are left out.
fn content(message: &mut Fields, dropped: &mut Vec<String>) -> Result<Vec<Part>, Error> {
    let path = message.path("content");
    let items = match message.take("content") {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) => return Ok(text_part(text).into_iter().collect()),
        Some(Value::Array(items)) => items,
        Some(other) => return Err(wrong_type(path, "a string or an array of parts", &other)),
    };
    let mut parts = Vec::with_capacity(items.len());
    for (place, item) in items.into_iter().enumerate() {
        let path = format!("{path}[{place}]");
        if let Value::String(text) = item {
            parts.extend(text_part(text));
            continue;
        }
        let mut item = Fields::read(item, path.clone())?;
        let cache_control = item.take("cache_control");
        if let Some(piece) = piece(&mut item, path, dropped)? {
            parts.push(Part { piece, cache_control });
        }
        item.drop_rest(dropped);
    }
    Ok(parts)
}

fn text_part(text: String) -> Option<Part> {
    (!text.is_empty()).then(|| Piece::Text(text).into())
}

fn piece(item: &mut Fields, path: String, dropped: &mut Vec<String>) -> Result<Option<Piece>, Error> {
    Ok(match item.required_text("type")?.as_str() {
        "text" | "input_text" | "output_text" => {
            Some(item.required_text("text")?).filter(|text| !text.is_empty()).map(Piece::Text)
        }
        "refusal" => Some(item.required_text("refusal")?).filter(|text| !text.is_empty()).map(Piece::Refusal),
        "image_url" => {
            let path = item.path("image_url");
            let url = match item.take("image_url") {
                Some(Value::String(url)) => url,
                Some(image) => {
                    let mut image = Fields::read(image, path.clone())?;
                    if image.text("detail")?.is_some_and(|detail| detail != "auto") {
                        drop_named(dropped, &image.path("detail"));
                    }
                    image.required_text("url")?
                }
                None => return Err(invalid(path, "an object with a 'url'")),
            };
            Some(Piece::Image(media(url, path)?))
        }
        "input_audio" => {
            let mut audio = item.required_object("input_audio")?;
            let data = audio.required_text("data")?;
            Some(Piece::Audio(Media::Inline { media_type: audio.required_text("format")?, data }))
        }
        "file" => Some(Piece::Document(document(&mut item.required_object("file")?)?)),
        // Mistral's form of a document.
        "document_url" => {
            let path = item.path("document_url");
            let content = DocumentContent::Media(media(item.required_text("document_url")?, path)?);
            Some(Piece::Document(Document { name: item.text("document_name")?, content }))
        }
        // Mistral's form of reasoning. It has no blob.
        "thinking" => {
            let text: String = match item.take("thinking") {
                Some(Value::String(text)) => text,
                Some(Value::Array(items)) => {
                    items.iter().filter_map(|item| item.get("text")?.as_str()).collect()
                }
                _ => String::new(),
            };
            item.take("closed");
            (!text.is_empty()).then_some(Piece::Reasoning(Reasoning { text, blob: None }))
        }
        _ => return Err(unsupported(path, "this type of content")),
    })
}

fn document(file: &mut Fields) -> Result<Document, Error> {
    let name = file.text("filename")?;
    if file.take("file_id").is_some() {
        return Err(file.unsupported("file_id", "a file that is stored at another provider"));
    }
    let path = file.path("file_data");
    let data = file.required_text("file_data")?;
    let media = if data.starts_with("data:") || is_web(&data) {
        media(data, path)?
    } else {
        Media::Inline { media_type: "application/pdf".to_owned(), data }
    };
    let text = match &media {
        Media::Inline { media_type, data } if media_type.starts_with("text/") => {
            STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok())
        }
        _ => None,
    };
    let content = text.map_or(DocumentContent::Media(media), DocumentContent::Text);
    Ok(Document { name, content })
}

/// An address, or the bytes in a `data:` URL.
fn media(url: String, path: String) -> Result<Media, Error> {
    if is_web(&url) {
        return Ok(Media::Url(url));
    }
    let inline = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    match inline {
        Some((media_type, data)) if !media_type.is_empty() => {
            // Parameters, such as a character set, say nothing about images and documents.
            let media_type = media_type.split(';').next().unwrap_or(media_type);
            Ok(Media::Inline { media_type: media_type.to_owned(), data: data.to_owned() })
        }
        _ => Err(invalid(path, "an http(s) URL, or a data: URL with a media type and base64")),
    }
}

fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::ServiceTier;
    use crate::conversation::carrier::{Kind, Maker};
    use serde_json::json;

    fn read_json(body: &Value) -> Result<Conversation, Error> {
        read(body.to_string().as_bytes())
    }

    /// The parts of the messages' turns.
    fn turns_of(messages: &Value) -> Vec<(Role, Vec<Piece>)> {
        let conversation = read_json(&json!({"model": "m", "messages": messages})).unwrap();
        let pieces = |parts: Vec<Part>| parts.into_iter().map(|part| part.piece).collect();
        conversation.turns.into_iter().map(|turn| (turn.role, pieces(turn.parts))).collect()
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    fn call(id: &str, arguments: &str) -> Piece {
        Piece::ToolCall(ToolCall { id: id.to_owned(), name: "f".to_owned(), arguments: arguments.to_owned() })
    }

    fn result(id: &str, content: Vec<Piece>) -> Piece {
        Piece::ToolResult(ToolResult { call_id: id.to_owned(), content, is_error: false })
    }

    #[test]
    fn messages_become_turns_in_which_results_come_first() {
        let calls = json!([
            {"id": "1", "type": "function", "index": 0, "function": {"name": "f", "arguments": ""}},
            {"id": "2", "function": {"name": "f", "arguments": {"a": 1}}}
        ]);
        let found = turns_of(&json!([
            {"role": "developer", "content": "a"},
            {"role": "system", "content": [{"type": "text", "text": "b"}]},
            {"role": "user", "content": ["c", {"type": "text", "text": ""}]},
            {"role": "user", "content": ""},
            {"role": "assistant", "content": null, "tool_calls": calls, "refusal": null},
            {"role": "tool", "tool_call_id": "2", "content": "r2"},
            {"role": "user", "content": "d"},
            {"role": "tool", "tool_call_id": "1", "name": "f", "content": [
                {"type": "text", "text": "r1"},
                {"type": "image_url", "image_url": {"url": "https://i.example/1"}}
            ]},
            {"role": "assistant", "content": "e", "refusal": "no"},
        ]));
        let image = Piece::Image(Media::Url("https://i.example/1".to_owned()));
        let expected = vec![
            (Role::System, vec![text("a"), text("b")]),
            (Role::User, vec![text("c")]),
            (Role::Assistant, vec![call("1", "{}"), call("2", r#"{"a":1}"#)]),
            (
                Role::User,
                vec![result("2", vec![text("r2")]), result("1", vec![text("r1"), image]), text("d")],
            ),
            (Role::Assistant, vec![text("e"), Piece::Refusal("no".to_owned())]),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_older_form_of_calls_gets_ids() {
        let body = json!({
            "model": "m",
            "functions": [{"name": "f", "parameters": {"type": "object"}}],
            "function_call": {"name": "f"},
            "messages": [
                {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}},
                {"role": "function", "name": "f", "content": "1"},
                {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
                {"role": "function", "name": "f", "content": "2"}
            ]
        });
        let conversation = read_json(&body).unwrap();
        assert_eq!(conversation.tools[0].name, "f");
        assert_eq!(conversation.tool_choice, Some(ToolChoice::One("f".to_owned())));
        assert_eq!(
            turns_of(&body["messages"]),
            [
                (Role::Assistant, vec![call("call_0", "{}")]),
                (Role::User, vec![result("call_0", vec![text("1")])]),
                (Role::Assistant, vec![call("call_2", "{}")]),
                (Role::User, vec![result("call_2", vec![text("2")])]),
            ]
        );
    }

    #[test]
    fn media_are_read_from_addresses_and_data_urls() {
        let inline = |media_type: &str, data: &str| Media::Inline {
            media_type: media_type.to_owned(),
            data: data.to_owned(),
        };
        let pdf = |name: Option<&str>, content| {
            Piece::Document(Document { name: name.map(str::to_owned), content })
        };
        for (part, expected) in [
            (
                json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "auto"}}),
                Piece::Image(inline("image/png", "AAAA")),
            ),
            (
                json!({"type": "image_url", "image_url": "http://i.example"}),
                Piece::Image(Media::Url("http://i.example".to_owned())),
            ),
            (
                json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}),
                Piece::Audio(inline("wav", "AAAA")),
            ),
            (
                json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}}),
                pdf(Some("a.pdf"), DocumentContent::Media(inline("application/pdf", "AAAA"))),
            ),
            (
                json!({"type": "document_url", "document_url": "https://d.example", "document_name": "d"}),
                pdf(Some("d"), DocumentContent::Media(Media::Url("https://d.example".to_owned()))),
            ),
            (
                json!({"type": "file", "file": {"file_data": "AAAA"}}),
                pdf(None, DocumentContent::Media(inline("application/pdf", "AAAA"))),
            ),
            (
                json!({"type": "file", "file": {"file_data": "data:text/plain;charset=utf-8;base64,w6k="}}),
                pdf(None, DocumentContent::Text("é".to_owned())),
            ),
        ] {
            let found = turns_of(&json!([{"role": "user", "content": [part.clone()]}]));
            assert_eq!(found, [(Role::User, vec![expected])], "{part}");
        }
    }

    #[test]
    fn reasoning_comes_back_from_every_field_in_which_clients_echo_it() {
        let blob = Blob { kind: Kind::Signature, maker: Maker::of("a", "m"), data: "sig".to_owned() };
        let redacted = Blob { kind: Kind::Redacted, data: "x".to_owned(), ..blob.clone() };
        let thought =
            |text: &str, blob: Option<&Blob>| Reasoning { text: text.to_owned(), blob: blob.cloned() };
        let mark = blob.to_text();
        for (fields, expected) in [
            (json!({"reasoning_content": "t"}), vec![thought("t", None)]),
            (json!({"reasoning": "t", "reasoning_content": ""}), vec![thought("t", None)]),
            (
                json!({"reasoning_content": "t", "reasoning_details": [
                    {"type": "reasoning.text", "text": "t", "signature": mark, "index": 0},
                    {"type": "reasoning.encrypted", "data": redacted.to_text(), "index": 1}
                ]}),
                vec![thought("t", Some(&blob)), thought("", Some(&redacted))],
            ),
            // Pieces of a stream that the client did not join.
            (
                json!({"reasoning_details": [
                    {"type": "reasoning.text", "text": "a", "index": 0},
                    {"type": "reasoning.text", "text": "b", "index": 0},
                    {"type": "reasoning.text", "signature": mark, "index": 0},
                    {"type": "reasoning.text", "text": "c", "index": 1}
                ]}),
                vec![thought("ab", Some(&blob)), thought("c", None)],
            ),
            (
                json!({"thinking_blocks": [
                    {"type": "thinking", "thinking": "t", "signature": mark},
                    {"type": "redacted_thinking", "data": redacted.to_text()}
                ]}),
                vec![thought("t", Some(&blob)), thought("", Some(&redacted))],
            ),
            // A blob without a mark has no known maker.
            (
                json!({"thinking_blocks": [{"type": "thinking", "thinking": "t", "signature": "ErUB"}]}),
                vec![thought("t", None)],
            ),
            (json!({"reasoning_details": "odd", "thinking_blocks": [1], "reasoning": 5}), vec![]),
            (
                json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "t"}], "closed": true}]}),
                vec![thought("t", None)],
            ),
        ] {
            let mut message = json!({"role": "assistant", "content": "said"});
            message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let conversation = read_json(&json!({"model": "m", "messages": [message]})).unwrap();
            assert_eq!(conversation.dropped, Vec::<String>::new(), "{fields}");
            let parts = conversation.turns.into_iter().flat_map(|turn| turn.parts);
            let found: Vec<Reasoning> = parts
                .filter_map(|part| match part.piece {
                    Piece::Reasoning(reasoning) => Some(reasoning),
                    _ => None,
                })
                .collect();
            assert_eq!(found, expected, "{fields}");
        }
    }

    #[test]
    fn what_changes_the_meaning_and_has_no_place_is_rejected_by_name() {
        let content = |part: Value| json!({"messages": [{"role": "user", "content": [part]}]});
        for (fields, code, param) in [
            (json!({"n": 2}), "unsupported_parameter", "n"),
            (json!({"logprobs": true}), "unsupported_parameter", "logprobs"),
            (json!({"top_logprobs": 3}), "unsupported_parameter", "top_logprobs"),
            (json!({"audio": {"voice": "a"}}), "unsupported_parameter", "audio"),
            (json!({"modalities": ["text", "audio"]}), "unsupported_parameter", "modalities"),
            (json!({"web_search_options": {}}), "unsupported_parameter", "web_search_options"),
            (json!({"tools": [{"type": "custom", "custom": {}}]}), "unsupported_parameter", "tools[0].type"),
            (json!({"tools": [{"type": "function"}]}), "missing_member", "tools[0].function"),
            (
                json!({"tools": [{"function": {"name": "f", "parameters": []}}]}),
                "invalid_type",
                "tools[0].function.parameters",
            ),
            (json!({"tool_choice": "sometimes"}), "invalid_value", "tool_choice"),
            (json!({"tool_choice": {"type": "custom"}}), "unsupported_parameter", "tool_choice.type"),
            (json!({"response_format": {"type": "grammar"}}), "unsupported_parameter", "response_format"),
            (json!({"temperature": "hot"}), "invalid_type", "temperature"),
            (json!({"max_tokens": -1}), "invalid_type", "max_tokens"),
            (json!({"stop": [1]}), "invalid_type", "stop"),
            (json!({"messages": [1]}), "invalid_type", "messages[0]"),
            (json!({"messages": [{"content": "a"}]}), "missing_member", "messages[0].role"),
            (json!({"messages": [{"role": "critic"}]}), "invalid_value", "messages[0].role"),
            (json!({"messages": [{"role": "user", "content": 1}]}), "invalid_type", "messages[0].content"),
            (
                json!({"messages": [{"role": "tool", "content": ""}]}),
                "missing_member",
                "messages[0].tool_call_id",
            ),
            (json!({"messages": [{"role": "function", "name": "f"}]}), "invalid_value", "messages[0].role"),
            (
                json!({"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "type": "custom"}]}]}),
                "unsupported_parameter",
                "messages[0].tool_calls[0].type",
            ),
            (
                json!({"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": 1}}]}]}),
                "invalid_type",
                "messages[0].tool_calls[0].function.arguments",
            ),
            (
                content(json!({"type": "file", "file": {"file_id": "f"}})),
                "unsupported_parameter",
                "messages[0].content[0].file.file_id",
            ),
            (content(json!({"type": "video_url"})), "unsupported_parameter", "messages[0].content[0]"),
            (
                content(json!({"type": "image_url", "image_url": {"url": "file:///x"}})),
                "invalid_value",
                "messages[0].content[0].image_url",
            ),
        ] {
            let mut body = json!({"model": "m", "messages": []});
            body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let error = read_json(&body).unwrap_err();
            assert_eq!((error.code(), error.param.as_deref()), (Some(code), Some(param)), "{fields}");
            assert_eq!(error.status, 400);
        }
        assert_eq!(read(b"{").unwrap_err().code(), Some("invalid_json"));
        assert_eq!(read(b"[]").unwrap_err().code(), Some("invalid_type"));
    }

    #[test]
    fn fields_are_read_and_hints_without_a_place_are_named() {
        let conversation = read_json(&json!({
            "model": "m", "stream": true, "stream_options": {"include_usage": true}, "project_id": "p",
            "messages": [{"role": "user", "name": "ann", "content": [
                {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
                {"type": "image_url", "image_url": {"url": "https://i.example", "detail": "low"}},
            ], "cache_control": {"type": "x"}}],
            "tools": [
                {"type": "function", "cache_control": {"type": "ephemeral"}, "function": {"name": "f", "strict": true}},
                {"type": "function", "function": {"name": "g"}}
            ],
            "tool_choice": {"type": "allowed_tools", "allowed_tools":
                {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}},
            "parallel_tool_calls": false, "max_tokens": 5, "max_completion_tokens": 6,
            "temperature": 0.5, "top_p": 1, "top_k": 3, "seed": -7, "presence_penalty": 1, "frequency_penalty": 2,
            "stop": "x", "user": "u", "safety_identifier": "s", "n": 1, "logprobs": false, "modalities": ["text"],
            "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"a": 1}}},
            "logit_bias": {"1": 2}, "service_tier": "flex", "metadata": {}, "store": false, "verbosity": null
        }))
        .unwrap();
        assert_eq!(
            conversation.dropped,
            ["messages.content.image_url.detail", "messages.name", "logit_bias"]
        );
        assert_eq!(conversation.service_tier, Some(ServiceTier::Flex));
        let caches: Vec<_> =
            conversation.turns[0].parts.iter().map(|part| part.cache_control.clone()).collect();
        assert_eq!(caches, [Some(json!({"type": "ephemeral"})), Some(json!({"type": "x"}))]);
        let names: Vec<&str> = conversation.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!((names, &conversation.tool_choice), (vec!["f"], &Some(ToolChoice::Required)));
        assert_eq!(conversation.tools[0].strict, Some(true));
        assert!(conversation.tools[0].cache_control.is_some());
        assert_eq!((conversation.max_output, conversation.parallel_tool_calls), (Some(6), Some(false)));
        assert_eq!((conversation.sampling.top_k, conversation.sampling.seed), (Some(3), Some(-7)));
        assert_eq!((conversation.stop, conversation.user.as_deref()), (vec!["x".to_owned()], Some("u")));
        let Some(Output::JsonSchema { schema, .. }) = conversation.output else { panic!() };
        assert_eq!(schema, json!({"a": 1}));
    }

    #[test]
    fn thinking_is_read_in_the_words_of_every_provider() {
        for (fields, expected) in [
            (json!({}), None),
            (json!({"reasoning_effort": "none"}), Some(Thinking::Off)),
            (json!({"reasoning_effort": "xhigh"}), Some(Thinking::Effort(Effort::XHigh))),
            (json!({"reasoning_effort": "auto"}), None),
            (json!({"reasoning": {"effort": "low"}}), Some(Thinking::Effort(Effort::Low))),
            (json!({"reasoning": {"max_tokens": 9}}), Some(Thinking::Budget(9))),
            (json!({"reasoning": {"enabled": true}}), Some(Thinking::Adaptive)),
            (json!({"reasoning": {"enabled": false}}), Some(Thinking::Off)),
            (json!({"thinking": {"type": "enabled", "budget_tokens": 2048}}), Some(Thinking::Budget(2048))),
            (json!({"thinking": {"type": "enabled"}}), Some(Thinking::Adaptive)),
            (json!({"thinking": {"type": "disabled"}}), Some(Thinking::Off)),
        ] {
            let mut body = json!({"model": "m", "messages": []});
            body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            assert_eq!(read_json(&body).unwrap().thinking, expected, "{fields}");
        }
    }
}
