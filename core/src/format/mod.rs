//! Wire formats: reading requests, writing the upstream's request, and reading its responses.
//!
//! Works on bytes, not trees: only the fields that the gateway acts on are read, and a changed request consists of the
//! caller's own bytes with those fields spliced in. Everything else is forwarded byte for byte.

pub mod anthropic_messages;
pub mod audio;
mod audio_length;
pub mod billing;
pub mod body;
pub mod embeddings;
pub mod event_relay;
pub mod form;
mod list;
pub mod media;
pub mod objects;
pub mod openai_chat;
pub mod openai_responses;
pub mod project_id;
pub mod request;
pub mod response_id;
pub mod size;
pub mod stream;
pub mod target;
pub mod translate;
pub mod upstream;
pub mod upstream_error;
pub mod versions;
pub mod whole;

use crate::conversation::carrier::{self, Maker};
use crate::error::{Code, Error};
use crate::framing::multipart::Multipart;
use crate::key::Secret;
use crate::operation::{Format, Operation};
use form::Form;
use media::{Items, LargeObject};
use request::{Inference, Outgoing, Responder};
use stream::ResponseStream;
use upstream::Upstream;
use whole::Whole;

/// The fields of a prompt that the counters of Messages and of Responses accept.
const PROMPT_FIELDS: [&str; 12] = [
    "model",
    "system",
    "messages",
    "thinking",
    "output_config",
    "instructions",
    "input",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "text",
    "reasoning",
];

/// Reads the body of a request.
pub fn read<'a>(operation: &'static Operation, body: &'a [u8]) -> Result<Inference<'a>, Error> {
    match operation.format {
        Format::ChatCompletions => openai_chat::request::read(operation, body),
        Format::Messages => anthropic_messages::request::read(operation, body),
        Format::Responses => openai_responses::request::read(operation, body),
        Format::Compaction => openai_responses::compaction::read(operation, body),
        Format::Embeddings => embeddings::read(operation, body),
        Format::Completions => openai_chat::text::read(operation, body),
        Format::Moderations
        | Format::Rerank
        | Format::RerankV2
        | Format::Images
        | Format::ImageEdits
        | Format::ImageVariations
        | Format::Speech
        | Format::Transcriptions
        | Format::Translations => objects::read(operation, body),
    }
}

/// Reads the parts of a form.
pub fn form(operation: &'static Operation, parts: Multipart) -> Result<Form, Error> {
    match operation.format {
        Format::Transcriptions | Format::Translations => Form::read(parts, audio::ONCE, audio::FILES),
        _ => Form::read(parts, objects::ONCE, objects::FILES),
    }
}

/// Reads a request whose body is a form.
pub fn read_form<'a>(operation: &'static Operation, form: &'a Form) -> Result<Inference<'a>, Error> {
    match operation.format {
        Format::Transcriptions | Format::Translations => audio::read(operation, form),
        _ => objects::read_form(operation, form),
    }
}

/// Reads the body of a request for the number of tokens in its prompt.
pub fn read_prompt<'a>(operation: &'static Operation, body: &'a [u8]) -> Result<Inference<'a>, Error> {
    match operation.format {
        Format::Messages => anthropic_messages::request::read_prompt(operation, body),
        _ => read(operation, body),
    }
}

impl Inference<'_> {
    /// An estimate of the prompt's tokens that is rather too high, for a count that no upstream makes.
    pub fn high_estimate(&self) -> u64 {
        anthropic_messages::request::high_estimate(self)
    }

    /// The field with the input.
    pub fn input_field(&self) -> &'static str {
        match self.operation.format {
            Format::ChatCompletions | Format::Messages => "messages",
            Format::Responses
            | Format::Compaction
            | Format::Embeddings
            | Format::Moderations
            | Format::Speech => "input",
            Format::Completions | Format::Images => "prompt",
            Format::ImageEdits | Format::ImageVariations => "image",
            Format::Transcriptions | Format::Translations => "file",
            Format::Rerank | Format::RerankV2 => "documents",
        }
    }

    /// Writes the request for an upstream, in the caller's format if the upstream serves it. If there is an
    /// `output_limit`, no choice may have more tokens of output, even if the caller asked for more. Fails if the request
    /// has to be translated and cannot be.
    pub fn outgoing(&self, upstream: &Upstream<'_>, output_limit: Option<u64>) -> Result<Outgoing, Error> {
        let format = self.operation.format;
        match self.format_at(upstream) {
            Some(other) if other != format => translate::outgoing(self, upstream, other, output_limit),
            _ => match format {
                Format::ChatCompletions | Format::Completions => {
                    Ok(openai_chat::request::outgoing(self, upstream, output_limit))
                }
                Format::Messages => Ok(anthropic_messages::request::outgoing(self, upstream, output_limit)),
                Format::Responses => openai_responses::request::outgoing(self, upstream, output_limit),
                Format::Compaction => openai_responses::compaction::outgoing(self, upstream),
                Format::Embeddings => Ok(embeddings::outgoing(self, upstream)),
                Format::Moderations
                | Format::Rerank
                | Format::RerankV2
                | Format::Images
                | Format::ImageEdits
                | Format::ImageVariations
                | Format::Speech
                | Format::Transcriptions
                | Format::Translations => Ok(objects::outgoing(self, upstream)),
            },
        }
    }

    /// Writes the request for an upstream that counts the tokens of its prompt; `None` if that is the caller's own body. Of
    /// a translated request, only what belongs to the prompt is left: counters reject other fields.
    pub fn prompt_for(&self, upstream: &Upstream<'_>) -> Result<Option<Vec<u8>>, Error> {
        let Outgoing { body, responder, .. } = self.outgoing(upstream, None)?;
        let (Some(written), true) = (&body, responder.translation.is_some()) else { return Ok(body) };
        let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(written)
            .map_err(|_| Error::new(Code::InternalError, "A translated request is not a JSON object"))?;
        fields.retain(|name, _| PROMPT_FIELDS.contains(&name.as_str()));
        Ok(Some(crate::json::to_text(&fields).into_bytes()))
    }

    /// Writes the request as [`Inference::outgoing`] does, but without the reasoning of earlier turns, for a lane that has
    /// rejected it. It reads the request again: such a retry is rare.
    pub fn outgoing_without_reasoning(
        &self,
        upstream: &Upstream<'_>,
        output_limit: Option<u64>,
    ) -> Result<Outgoing, Error> {
        let (Some(body), mut adjusted) = self.without_reasoning() else {
            return self.outgoing(upstream, output_limit);
        };
        let outgoing = read(self.operation, &body)?.outgoing(upstream, output_limit)?;
        let is_new = |name: &String| !adjusted.contains(name);
        let others: Vec<String> = outgoing.adjusted.into_iter().filter(is_new).collect();
        adjusted.extend(others);
        Ok(Outgoing { body: Some(outgoing.body.unwrap_or(body)), adjusted, responder: outgoing.responder })
    }

    /// Returns `true` if the request brings back reasoning of earlier turns, so that a retry without it is another request.
    pub fn has_reasoning(&self) -> bool {
        self.without_reasoning().0.is_some()
    }

    /// The body without the reasoning of earlier turns, `None` if it has none, and the names of what is left out.
    fn without_reasoning(&self) -> (Option<Vec<u8>>, Vec<String>) {
        let body = &self.body;
        let mut edits = body.edits();
        match self.operation.format {
            Format::ChatCompletions => openai_chat::request::leave_out_reasoning(body, &mut edits),
            Format::Messages => anthropic_messages::request::leave_out_reasoning(body, &mut edits),
            Format::Responses | Format::Compaction => {
                openai_responses::request::leave_out_reasoning(body, &mut edits);
            }
            _ => {}
        }
        edits.finish()
    }

    /// The lane that made the newest reasoning which the gateway has carried for it; `None` if it carries none.
    pub fn reasoning_maker(&self) -> Option<Maker> {
        carrier::last_maker(self.body.bytes())
    }

    /// The format in which the request is sent to an upstream; `None` if the upstream serves none that fits.
    pub fn format_at(&self, upstream: &Upstream<'_>) -> Option<Format> {
        let format = self.operation.format;
        upstream.provider.format_for_model(format, upstream.model, self.tool_use())
    }

    /// Checks that the request can be sent to an upstream: that it passes as it is, or can be translated. Returns the
    /// translated request, which need not be written again if it is sent without an output limit; `None` if it passes.
    pub fn check_translation(&self, upstream: &Upstream<'_>) -> Result<Option<Outgoing>, Error> {
        let format = self.operation.format;
        match self.format_at(upstream) {
            Some(other) if other != format => translate::outgoing(self, upstream, other, None).map(Some),
            _ if matches!(format, Format::Responses | Format::Compaction) => {
                openai_responses::request::check(self, upstream).map(|()| None)
            }
            _ => Ok(None),
        }
    }
}

impl Responder {
    /// Checks a whole response, and returns its usage. `key`, the gateway's credential, is blotted out of errors.
    pub fn whole(&self, provider: &str, body: &[u8], key: Option<&Secret>) -> Result<Whole, Error> {
        if let Some(folded) = translate::fold(self, provider, body, key) {
            return folded;
        }
        if let Some(translation) = &self.translation {
            return translate::whole(self, translation, provider, body, key);
        }
        match self.format {
            Format::ChatCompletions | Format::Completions => {
                openai_chat::response::check(provider, body, key)
            }
            Format::Messages => anthropic_messages::response::check(provider, body, key),
            Format::Responses | Format::Compaction => openai_responses::response::check(provider, body, key),
            Format::Embeddings => embeddings::check(provider, body, key),
            Format::Transcriptions | Format::Translations => audio::check(provider, body, key),
            Format::Moderations
            | Format::Rerank
            | Format::RerankV2
            | Format::Images
            | Format::ImageEdits
            | Format::ImageVariations
            | Format::Speech => objects::check(self.format, provider, body, key),
        }
    }

    /// Returns `true` if the response is one of Responses that passes as it is, so that its provider may keep it.
    pub fn is_own_response(&self) -> bool {
        self.format == Format::Responses && self.translation.is_none()
    }

    /// Creates the state of a response that is no stream but too large to be collected; `None` for any other.
    pub fn large(&self, provider: &str, key: Option<Secret>) -> Option<Box<dyn ResponseStream>> {
        let items = match self.format {
            _ if self.translation.is_some() => return None,
            Format::Images | Format::ImageEdits | Format::ImageVariations => Items::Images,
            Format::Embeddings => Items::Vectors,
            _ => return None,
        };
        Some(Box::new(LargeObject::new(items, provider, key)))
    }

    /// Creates the state of a streamed response; `None` for a format without streams. `key` as in [`Responder::whole`];
    /// `max_event` is the maximum size of an event, in bytes.
    pub fn stream(
        &self,
        provider: &str,
        key: Option<Secret>,
        max_event: usize,
    ) -> Option<Box<dyn ResponseStream>> {
        if let Some(translation) = &self.translation {
            return translate::stream(self, translation, provider, key, max_event);
        }
        match self.format {
            Format::ChatCompletions | Format::Completions => {
                let Responder { hide_usage, ends_without_done, .. } = *self;
                let stream = openai_chat::stream::ChatStream::new(
                    provider,
                    key,
                    hide_usage,
                    ends_without_done,
                    max_event,
                );
                Some(Box::new(stream))
            }
            Format::Messages => {
                let stream = anthropic_messages::stream::MessagesStream::new(provider, key, max_event);
                Some(Box::new(stream))
            }
            Format::Responses => {
                let stream = openai_responses::stream::ResponsesStream::new(provider, key, max_event);
                Some(Box::new(stream))
            }
            Format::Images | Format::ImageEdits | Format::Transcriptions | Format::Translations => {
                Some(Box::new(media::of_events(self.format, provider, key, max_event)))
            }
            Format::Speech => Some(Box::new(media::Audio::new(provider, key, max_event))),
            Format::Compaction
            | Format::Embeddings
            | Format::Moderations
            | Format::Rerank
            | Format::RerankV2
            | Format::ImageVariations => None,
        }
    }
}
