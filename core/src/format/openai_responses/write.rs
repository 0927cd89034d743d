//! Writes a request of the neutral form for an upstream that serves Responses.
//!
//! The upstream stores nothing and returns its reasoning in encrypted form, so that the next turn can bring it back. Items
//! have no ids, since only stored items have. Of the reasoning in the conversation, the upstream gets what it made itself.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value};

use super::conversation::Dropped;
use crate::conversation::carrier::{Kind, Maker};
use crate::conversation::{
    Conversation, Document, DocumentContent, Effort, Media, Output, Part, Piece, Reasoning, Role, Sampling,
    ServiceTier, Thinking, Tool, ToolChoice, ToolResult, Turn, ids, short_user,
};
use crate::error::{Code, Error};
use crate::format::target::Target;
use crate::json;

/// The smallest `max_output_tokens` that OpenAI accepts.
const LEAST_OUTPUT: u64 = 16;

/// Writes a request. Returns the body, and the names of the fields that were dropped or changed for this upstream.
pub fn write(conversation: &Conversation, target: &Target<'_>) -> Result<(Vec<u8>, Vec<String>), Error> {
    if !conversation.stop.is_empty() {
        let message = "Stop sequences are not available for this model, whose provider has none in its Responses API: leave them out";
        return Err(Error::new(Code::UnsupportedParameter, message).with_param("stop"));
    }
    let mut dropped = Dropped::default();
    let (instructions, input) = input(conversation, target.maker, &mut dropped)?;
    let reasons = target.facts.reasoning == Some(true);
    let is_sampled = target.facts.sampling_params.unwrap_or(!reasons);
    let sampling = sampling(&conversation.sampling, is_sampled, &mut dropped);
    let has_tools = !conversation.tools.is_empty();
    let has_cache_hints =
        conversation.turns.iter().flat_map(|turn| &turn.parts).any(|part| part.cache_control.is_some())
            || conversation.tools.iter().any(|tool| tool.cache_control.is_some());
    if has_cache_hints {
        dropped.add("cache_control");
    }
    let last = conversation.turns.last();
    if last.is_some_and(|turn| turn.role == Role::Assistant && turn.parts.iter().any(is_text)) {
        // The model answers the message instead of going on with it.
        dropped.add("prefill");
    }
    let is_openai = matches!(target.provider, "openai" | "azure");
    let tier = conversation.service_tier.filter(|tier| is_openai || *tier != ServiceTier::Standard);
    if tier.is_some() && !is_openai {
        dropped.add("service_tier");
    }
    // A model that never calls tools in parallel rejects the field.
    let has_parallel = has_tools && target.facts.parallel_tools != Some(false);
    let request = Request {
        model: target.model,
        instructions,
        input,
        tools: conversation.tools.iter().map(tool).collect(),
        tool_choice: conversation.tool_choice.as_ref().filter(|_| has_tools).map(tool_choice),
        parallel_tool_calls: conversation.parallel_tool_calls.filter(|_| has_parallel),
        max_output_tokens: max_output(conversation.max_output, &mut dropped),
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        reasoning: effort(conversation.thinking, target, &mut dropped).map(|effort| Thought { effort }),
        text: conversation.output.as_ref().map(|output| Text { format: format(output) }),
        user: conversation.user.as_deref().map(short_user),
        prompt_cache_key: conversation.cache_key.as_deref(),
        service_tier: tier.filter(|_| is_openai).map(ServiceTier::of_openai),
        include: reasons.then_some(["reasoning.encrypted_content"]),
        store: false,
        stream: target.stream,
    };
    Ok((json::to_text(&request).into_bytes(), dropped.0))
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
    input: Vec<Item<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Function<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Thought>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    include: Option<[&'static str; 1]>,
    store: bool,
    stream: bool,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Item<'a> {
    Message {
        role: &'static str,
        content: Vec<Content<'a>>,
    },
    FunctionCall {
        call_id: Cow<'a, str>,
        name: &'a str,
        arguments: &'a str,
    },
    FunctionCallOutput {
        call_id: Cow<'a, str>,
        output: ToolOutput<'a>,
    },
    Reasoning {
        summary: Vec<Content<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        content: Vec<Content<'a>>,
        encrypted_content: Option<&'a str>,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Content<'a> {
    InputText {
        text: Cow<'a, str>,
    },
    OutputText {
        text: &'a str,
    },
    SummaryText {
        text: &'a str,
    },
    ReasoningText {
        text: &'a str,
    },
    Refusal {
        refusal: &'a str,
    },
    InputImage {
        image_url: Cow<'a, str>,
        detail: &'static str,
    },
    InputFile {
        #[serde(skip_serializing_if = "Option::is_none")]
        filename: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_data: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_url: Option<&'a str>,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum ToolOutput<'a> {
    Text(Cow<'a, str>),
    Contents(Vec<Content<'a>>),
}

#[derive(Serialize)]
struct Function<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: &'a Map<String, Value>,
    strict: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Choice<'a> {
    Mode(&'static str),
    Function {
        #[serde(rename = "type")]
        kind: &'static str,
        name: &'a str,
    },
}

#[derive(Serialize)]
struct Thought {
    effort: &'static str,
}

#[derive(Serialize)]
struct Text<'a> {
    format: Format<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format<'a> {
    JsonObject,
    JsonSchema {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        schema: &'a Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
    },
}

fn is_text(part: &Part) -> bool {
    matches!(part.piece, Piece::Text(_))
}

/// The instructions, which are the first text of a leading system prompt, and the items of everything else.
fn input<'a>(
    conversation: &'a Conversation,
    maker: Maker,
    dropped: &mut Dropped,
) -> Result<(Option<&'a str>, Vec<Item<'a>>), Error> {
    let mut instructions = None;
    let mut items = Vec::new();
    for (index, turn) in conversation.turns.iter().enumerate() {
        let mut parts = turn.parts.as_slice();
        // A request needs some input beside its instructions.
        if index == 0
            && conversation.turns.len() > 1
            && turn.role == Role::System
            && let Some((Part { piece: Piece::Text(text), .. }, rest)) = parts.split_first()
        {
            instructions = Some(text.as_str());
            parts = rest;
        }
        match turn.role {
            Role::System => items.extend(message("system", parts)?),
            Role::User => {
                // A result directly follows its call.
                let is_result = |part: &&Part| matches!(part.piece, Piece::ToolResult(_));
                for part in parts {
                    if let Piece::ToolResult(result) = &part.piece {
                        items.push(tool_result(result)?);
                    }
                }
                items.extend(message("user", parts.iter().filter(|part| !is_result(part)))?);
            }
            Role::Assistant => assistant(turn, maker, &mut items, dropped)?,
        }
    }
    Ok((instructions, items))
}

/// A message of the user or the system; `None` without content.
fn message<'a>(
    role: &'static str,
    parts: impl IntoIterator<Item = &'a Part>,
) -> Result<Option<Item<'a>>, Error> {
    let content = parts.into_iter().map(|part| content(&part.piece)).collect::<Result<Vec<_>, _>>()?;
    Ok((!content.is_empty()).then_some(Item::Message { role, content }))
}

/// The items of a turn of the model. OpenAI rejects reasoning unless the item that it led to
/// follows.
fn assistant<'a>(
    turn: &'a Turn,
    maker: Maker,
    items: &mut Vec<Item<'a>>,
    dropped: &mut Dropped,
) -> Result<(), Error> {
    let mut waiting = Vec::new();
    for part in &turn.parts {
        let item = match &part.piece {
            Piece::Reasoning(reasoning) => {
                match own_reasoning(reasoning, maker) {
                    Some(item) => waiting.push(item),
                    None => dropped.add("reasoning"),
                }
                continue;
            }
            Piece::ToolCall(call) => Item::FunctionCall {
                call_id: ids::fit(&call.id, ids::OPENAI),
                name: &call.name,
                arguments: &call.arguments,
            },
            piece => {
                let said = said(piece)?;
                if waiting.is_empty()
                    && let Some(Item::Message { role: "assistant", content }) = items.last_mut()
                {
                    content.push(said);
                    continue;
                }
                Item::Message { role: "assistant", content: vec![said] }
            }
        };
        items.append(&mut waiting);
        items.push(item);
    }
    if !waiting.is_empty() {
        dropped.add("reasoning");
    }
    Ok(())
}

/// The reasoning as its maker wants it back; `None` if another lane made it.
fn own_reasoning(reasoning: &Reasoning, maker: Maker) -> Option<Item<'_>> {
    let blob = reasoning.blob.as_ref().filter(|blob| blob.maker == maker)?;
    let text = Some(reasoning.text.as_str()).filter(|text| !text.is_empty());
    match blob.kind {
        Kind::Encrypted => Some(Item::Reasoning {
            summary: text.map(|text| Content::SummaryText { text }).into_iter().collect(),
            content: Vec::new(),
            encrypted_content: Some(&blob.data),
        }),
        Kind::Plain => Some(Item::Reasoning {
            summary: Vec::new(),
            content: vec![Content::ReasoningText { text: text? }],
            encrypted_content: None,
        }),
        Kind::Signature | Kind::Redacted => None,
    }
}

/// A piece that the model said.
fn said(piece: &Piece) -> Result<Content<'_>, Error> {
    match piece {
        Piece::Text(text) => Ok(Content::OutputText { text }),
        Piece::Refusal(refusal) => Ok(Content::Refusal { refusal }),
        _ => Err(unsupported("Images, documents and audio of the assistant")),
    }
}

/// A piece of the input.
fn content(piece: &Piece) -> Result<Content<'_>, Error> {
    match piece {
        Piece::Text(text) | Piece::Refusal(text) => Ok(Content::InputText { text: text.into() }),
        Piece::Image(media) => Ok(Content::InputImage { image_url: url(media), detail: "auto" }),
        Piece::Document(document) => Ok(file(document)),
        Piece::Audio(_) => Err(unsupported("Audio")),
        Piece::Reasoning(_) | Piece::ToolCall(_) | Piece::ToolResult(_) => {
            Err(unsupported("Reasoning and tool calls outside of the assistant's turns"))
        }
    }
}

fn unsupported(what: &str) -> Error {
    let message = format!("{what} cannot be sent to this model, whose provider has no place for them");
    Error::new(Code::UnsupportedParameter, message).with_param("messages")
}

fn url(media: &Media) -> Cow<'_, str> {
    match media {
        Media::Inline { media_type, data } => format!("data:{media_type};base64,{data}").into(),
        Media::Url(url) => url.into(),
    }
}

fn file(document: &Document) -> Content<'_> {
    let name = document.name.as_deref();
    match &document.content {
        DocumentContent::Text(text) => Content::InputText {
            text: name.map_or(Cow::Borrowed(text.as_str()), |name| format!("{name}:\n\n{text}").into()),
        },
        DocumentContent::Media(Media::Url(url)) => {
            Content::InputFile { filename: None, file_data: None, file_url: Some(url) }
        }
        DocumentContent::Media(media) => Content::InputFile {
            filename: Some(name.unwrap_or("document.pdf")),
            file_data: Some(url(media).into_owned()),
            file_url: None,
        },
    }
}

/// A result. The format has no place for a failure, so the text says it.
fn tool_result(result: &ToolResult) -> Result<Item<'_>, Error> {
    let mut output = match result.content.as_slice() {
        [] => ToolOutput::Text(Cow::Borrowed("")),
        [Piece::Text(text)] => ToolOutput::Text(text.into()),
        pieces => ToolOutput::Contents(pieces.iter().map(content).collect::<Result<_, _>>()?),
    };
    if result.is_error {
        match &mut output {
            ToolOutput::Text(text) => *text = format!("Error: {text}").into(),
            ToolOutput::Contents(contents) => {
                contents.insert(0, Content::InputText { text: "Error:".into() });
            }
        }
    }
    Ok(Item::FunctionCallOutput { call_id: ids::fit(&result.call_id, ids::OPENAI), output })
}

/// A tool. Strict schemas are the default of this format, but of no other one.
fn tool(tool: &Tool) -> Function<'_> {
    Function {
        kind: "function",
        name: &tool.name,
        description: tool.description.as_deref(),
        parameters: &tool.parameters,
        strict: tool.strict.unwrap_or(false),
    }
}

fn tool_choice(choice: &ToolChoice) -> Choice<'_> {
    match choice {
        ToolChoice::Auto => Choice::Mode("auto"),
        ToolChoice::None => Choice::Mode("none"),
        ToolChoice::Required => Choice::Mode("required"),
        ToolChoice::One(name) => Choice::Function { kind: "function", name },
    }
}

fn format(output: &Output) -> Format<'_> {
    match output {
        Output::JsonObject => Format::JsonObject,
        Output::JsonSchema { name, description, schema, strict } => Format::JsonSchema {
            name: name.as_deref().unwrap_or("response"),
            description: description.as_deref(),
            schema,
            strict: *strict,
        },
    }
}

/// The limit of the output. The limit of a budget is added when the request is addressed, which names it for the caller
/// ([`super::request::outgoing`]).
fn max_output(asked: Option<u64>, dropped: &mut Dropped) -> Option<u64> {
    if asked? < LEAST_OUTPUT {
        dropped.add(format!("max_tokens={LEAST_OUTPUT}"));
    }
    asked.map(|asked| asked.max(LEAST_OUTPUT))
}

/// The sampling that the upstream accepts: most reasoning models accept none.
fn sampling(asked: &Sampling, is_accepted: bool, dropped: &mut Dropped) -> Sampling {
    let Sampling { temperature, top_p, top_k, seed, presence_penalty, frequency_penalty } = *asked;
    for (name, is_there) in [
        ("temperature", !is_accepted && temperature.is_some()),
        ("top_p", !is_accepted && top_p.is_some()),
        ("top_k", top_k.is_some()),
        ("seed", seed.is_some()),
        ("presence_penalty", presence_penalty.is_some()),
        ("frequency_penalty", frequency_penalty.is_some()),
    ] {
        if is_there {
            dropped.add(name);
        }
    }
    if is_accepted { *asked } else { Sampling::default() }
}

/// The effort; `None` leaves it to the model.
fn effort(thinking: Option<Thinking>, target: &Target<'_>, dropped: &mut Dropped) -> Option<&'static str> {
    let thinking = thinking?;
    if target.facts.reasoning == Some(false) {
        if thinking != Thinking::Off {
            dropped.add("thinking");
        }
        return None;
    }
    match thinking {
        Thinking::Off => Some(least_effort(target, dropped)),
        Thinking::Effort(asked) => {
            let known = target.facts.accepts_effort(asked);
            // OpenAI's models have had `minimal` since GPT-5.
            let is_usual = asked == Effort::Minimal && known.is_none();
            let effort = if is_usual { asked } else { target.facts.nearest_effort(asked) };
            if effort != asked {
                dropped.add(format!("reasoning_effort={}", effort.as_str()));
            }
            Some(effort.as_str())
        }
        Thinking::Adaptive => Some(Effort::High.as_str()),
        Thinking::Budget(tokens) => {
            let effort = target.facts.nearest_effort(Effort::of_budget(tokens));
            dropped.add(format!("thinking>effort={}", effort.as_str()));
            Some(effort.as_str())
        }
    }
}

/// The effort of a model that should not think: by its facts; without them, by its name, because OpenAI's models before
/// GPT-5.1 reject `none`.
fn least_effort(target: &Target<'_>, dropped: &mut Dropped) -> &'static str {
    let name = target.model.rsplit('/').next().unwrap_or(target.model);
    let is_of = |family: &str| name == family || name.starts_with(&format!("{family}-"));
    let is_older = ["o1", "o3", "o4"].into_iter().any(is_of);
    let efforts = target.facts.efforts;
    if efforts.none.unwrap_or(!is_older && !is_of("gpt-5")) {
        return "none";
    }
    let has_minimal = efforts.minimal.unwrap_or_else(|| is_of("gpt-5"));
    let least = if has_minimal { Effort::Minimal } else { Effort::Low };
    dropped.add(format!("thinking>effort={}", least.as_str()));
    least.as_str()
}
