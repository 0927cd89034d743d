//! Wire formats: reading requests, writing the upstream's request, and reading its responses.
//!
//! Works on bytes, not trees: only the fields that the gateway acts on are read, and a changed request consists of the
//! caller's own bytes with those fields spliced in. Everything else is forwarded byte for byte.

pub mod billing;
pub mod body;
pub mod embeddings;
pub mod openai_chat;
pub mod project_id;
pub mod request;
pub mod size;
pub mod stream;
pub mod upstream;
pub mod upstream_error;
pub mod usage;
pub mod whole;

use crate::error::Error;
use crate::key::Secret;
use crate::operation::{Format, Operation};
use request::{Inference, Outgoing, Responder};
use stream::ResponseStream;
use upstream::Upstream;
use whole::Whole;

/// Reads the body of a request.
pub fn read<'a>(operation: &'static Operation, body: &'a [u8]) -> Result<Inference<'a>, Error> {
    match operation.format {
        Format::ChatCompletions => openai_chat::request::read(operation, body),
        Format::Embeddings => embeddings::read(operation, body),
    }
}

impl Inference<'_> {
    /// The field with the input.
    pub fn input_field(&self) -> &'static str {
        match self.operation.format {
            Format::ChatCompletions => "messages",
            Format::Embeddings => "input",
        }
    }

    /// Writes the request for an upstream. If there is an `output_limit`, no choice may have more tokens of output,
    /// even if the caller asked for more.
    pub fn outgoing(&self, upstream: &Upstream<'_>, output_limit: Option<u64>) -> Outgoing {
        match self.operation.format {
            Format::ChatCompletions => openai_chat::request::outgoing(self, upstream, output_limit),
            Format::Embeddings => embeddings::outgoing(self, upstream),
        }
    }
}

impl Responder {
    /// Checks a whole response, and returns its usage. `key`, the gateway's credential, is blotted out of errors.
    pub fn whole(&self, provider: &str, body: &[u8], key: Option<&Secret>) -> Result<Whole, Error> {
        match self.format {
            Format::ChatCompletions => openai_chat::response::check(provider, body, key),
            Format::Embeddings => embeddings::check(provider, body, key),
        }
    }

    /// Creates the state of a streamed response; `None` for a format without streams. `key` as in [`Responder::whole`];
    /// `max_event` is the maximum size of an event, in bytes.
    pub fn stream(
        &self,
        provider: &str,
        key: Option<Secret>,
        max_event: usize,
    ) -> Option<Box<dyn ResponseStream>> {
        match self.format {
            Format::ChatCompletions => {
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
            Format::Embeddings => None,
        }
    }
}
