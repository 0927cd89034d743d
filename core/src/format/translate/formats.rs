//! The readers and writers of the formats that have a neutral form: each function picks that of a format.

use std::rc::Rc;

use crate::conversation::Conversation;
use crate::conversation::carrier::Maker;
use crate::conversation::delta::{Delta, Reply};
use crate::error::{Code, Error};
use crate::format::anthropic_messages as messages;
use crate::format::openai_chat as chat;
use crate::format::openai_responses as responses;
use crate::format::request::{Outgoing, Translation};
use crate::format::target::Target;
use crate::format::upstream::Upstream;
use crate::operation::{Format, Operation, Surface};

/// Reads a request.
pub(super) fn read(format: Format, body: &[u8]) -> Result<Conversation, Error> {
    match format {
        Format::ChatCompletions => chat::conversation::read(body),
        Format::Messages => messages::conversation::read(body),
        Format::Responses => responses::conversation::read(body),
        _ => Err(untranslatable()),
    }
}

/// Writes a request, and names the dropped and changed fields.
pub(super) fn write(
    format: Format,
    conversation: &Conversation,
    target: &Target<'_>,
) -> Result<(Vec<u8>, Vec<String>), Error> {
    match format {
        Format::ChatCompletions => chat::conversation::write(conversation, target),
        Format::Messages => messages::conversation::write(conversation, target),
        Format::Responses => responses::conversation::write(conversation, target),
        _ => Err(untranslatable()),
    }
}

/// A written request as the format itself sends it to an upstream.
pub(super) fn addressed(
    operation: &'static Operation,
    body: &[u8],
    upstream: &Upstream<'_>,
    output_limit: Option<u64>,
) -> Result<Outgoing, Error> {
    match operation.format {
        Format::ChatCompletions => {
            Ok(chat::request::outgoing(&chat::request::read(operation, body)?, upstream, output_limit))
        }
        Format::Messages => {
            let request = messages::request::read(operation, body)?;
            Ok(messages::request::outgoing(&request, upstream, output_limit))
        }
        Format::Responses => {
            let request = responses::request::read(operation, body)?;
            responses::request::outgoing(&request, upstream, output_limit)
        }
        _ => Err(untranslatable()),
    }
}

fn untranslatable() -> Error {
    Error::new(Code::UnsupportedEndpoint, "Only requests for chat can be translated")
}

/// The longest name of a tool that a format accepts, in bytes.
pub(super) const fn longest_tool_name(format: Format) -> usize {
    match format {
        Format::Messages => 128,
        _ => 64,
    }
}

/// Reads a whole response; `None` if it is not one of the format.
pub(super) fn read_whole(format: Format, body: &[u8], maker: Maker) -> Option<Vec<Delta>> {
    match format {
        Format::ChatCompletions => chat::deltas::read_whole(body, maker),
        Format::Messages => messages::deltas::read_whole(body, maker),
        Format::Responses => responses::deltas::read_whole(body, maker),
        _ => None,
    }
}

/// Writes a whole response for the caller of a translation.
pub(super) fn write_whole(translation: &Translation, reply: &Reply) -> Vec<u8> {
    let id = response_id(translation, reply.id.as_deref());
    let model = reply.model.as_deref().unwrap_or(&translation.model);
    match translation.caller {
        Format::Messages => messages::deltas::write_whole(reply, &id, model),
        Format::Responses => {
            responses::deltas::write_whole(reply, echo(translation), &id, model, translation.created)
        }
        _ => chat::deltas::write_whole(reply, &id, model, options(translation)),
    }
}

/// Reads the events of a stream.
#[derive(Debug)]
pub(super) enum Reader {
    /// Of Chat Completions.
    Chat(chat::deltas::Reader),
    /// Of Messages.
    Messages(messages::deltas::Reader),
    /// Of Responses.
    Responses(responses::deltas::Reader),
}

impl Reader {
    /// The reader for a format; `None` for a format without streams.
    pub(super) fn new(format: Format, maker: Maker) -> Option<Reader> {
        match format {
            Format::ChatCompletions => Some(Reader::Chat(chat::deltas::Reader::new(maker))),
            Format::Messages => Some(Reader::Messages(messages::deltas::Reader::new(maker))),
            Format::Responses => Some(Reader::Responses(responses::deltas::Reader::new(maker))),
            _ => None,
        }
    }

    /// Takes an event.
    pub(super) fn event(&mut self, name: &[u8], data: &[u8], out: &mut Vec<Delta>) {
        match self {
            Reader::Chat(reader) => reader.event(name, data, out),
            Reader::Messages(reader) => reader.event(name, data, out),
            Reader::Responses(reader) => reader.event(name, data, out),
        }
    }
}

/// Writes the events of a stream.
#[derive(Debug)]
pub(super) enum Writer {
    /// Of Chat Completions.
    Chat(chat::deltas::Writer),
    /// Of Messages.
    Messages(messages::deltas::Writer),
    /// Of Responses.
    Responses(Box<responses::deltas::Writer>),
}

impl Writer {
    /// The writer for the caller of a translation. The upstream's id and name of the model are those of the response.
    pub(super) fn new(translation: &Translation, id: Option<&str>, model: Option<&str>) -> Writer {
        let id = response_id(translation, id);
        let model = model.unwrap_or(&translation.model);
        match translation.caller {
            Format::Messages => Writer::Messages(messages::deltas::Writer::new(id, model.to_owned())),
            Format::Responses => {
                let echo = echo(translation);
                let writer = responses::deltas::Writer::new(echo, &id, model, translation.created);
                Writer::Responses(Box::new(writer))
            }
            _ => Writer::Chat(chat::deltas::Writer::new(&id, model, options(translation))),
        }
    }

    /// Writes a delta.
    pub(super) fn write(&mut self, delta: Delta, out: &mut Vec<u8>) {
        match self {
            Writer::Chat(writer) => writer.write(delta, out),
            Writer::Messages(writer) => writer.write(delta, out),
            Writer::Responses(writer) => writer.write(delta, out),
        }
    }

    /// Writes the end of a complete stream.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        match self {
            Writer::Chat(writer) => writer.end(out),
            Writer::Messages(writer) => writer.end(out),
            Writer::Responses(writer) => writer.end(out),
        }
    }

    /// Writes the error that ends the stream.
    pub(super) fn fail(&mut self, error: &Error, out: &mut Vec<u8>) {
        match self {
            Writer::Chat(_) => out.extend_from_slice(&error.stream_event(Surface::OpenAi)),
            Writer::Messages(_) => out.extend_from_slice(&error.stream_event(Surface::Anthropic)),
            Writer::Responses(writer) => writer.fail(error, out),
        }
    }
}

fn options(translation: &Translation) -> chat::deltas::Options {
    chat::deltas::Options { created: translation.created, usage: translation.wants_usage }
}

/// The prefixes of the ids of responses, by format.
const PREFIXES: [&str; 4] = ["chatcmpl-", "msg_", "resp_", "gen-"];

/// The parts of the caller's request that its response repeats.
fn echo(translation: &Translation) -> Rc<responses::deltas::Echo> {
    translation.echo.clone().unwrap_or_else(|| Rc::new(responses::deltas::Echo::read(b"{}")))
}

/// The id of a response: that of the upstream, with the prefix of the caller's format. A response that the upstream gives
/// none gets one of its own.
fn response_id(translation: &Translation, id: Option<&str>) -> String {
    let own = || format!("{}{:x}", translation.id, translation.created);
    let id = id.filter(|id| !id.is_empty()).map_or_else(own, str::to_owned);
    let id = id.as_str();
    let bare = PREFIXES.iter().find_map(|prefix| id.strip_prefix(prefix)).unwrap_or(id);
    let prefix = match translation.caller {
        Format::Messages => "msg_",
        Format::Responses => "resp_",
        _ => "chatcmpl-",
    };
    let plain = bare.chars().filter(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-'));
    prefix.chars().chain(plain).collect()
}
