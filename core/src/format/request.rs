//! What routing, limits and receipts read of any request, whatever its format.

use std::borrow::Cow;

use serde::Serialize;

use super::body::{Body, RoutingFields};
use super::size::{BYTES_PER_TOKEN, TOKENS_PER_IMAGE};
use crate::catalog::Quirk;
use crate::operation::{Format, Operation};
use crate::tier::Tier;

/// The estimate of the input is taken a fifth higher.
const NEEDED_PER_CENT: usize = 120;

/// A request, checked as far as the gateway acts on it.
#[derive(Debug)]
pub struct Inference<'a> {
    /// The endpoint that it was sent to.
    pub operation: &'static Operation,
    /// The caller's name of the model.
    pub model: Cow<'a, str>,
    /// Whether the response is to be streamed.
    pub stream: bool,
    /// Whether the caller asked for the usage of a stream.
    pub wants_usage: bool,
    /// The body's `project_id`.
    pub project_id: Option<String>,
    /// The models to fall back on and the preferences of routing, as the body has them.
    pub routing: RoutingFields<'a>,
    /// What it needs of a model.
    pub needs: Needs,
    /// How large it is.
    pub size: Size,
    /// The session that it belongs to, as the body has it.
    pub session: Option<&'a str>,
    /// The prompt, as it is written: calls with the same long beginning go to the same lane.
    pub prompt: &'a str,
    pub(super) body: Body<'a>,
}

/// What a request needs of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "capabilities are independent of each other")]
pub struct Needs {
    /// To call tools.
    pub tools: bool,
    /// To write JSON.
    pub json_mode: bool,
    /// To keep to a JSON schema.
    pub json_schema: bool,
    /// To see images.
    pub vision: bool,
    /// To read this many tokens: an estimate, a fifth on the safe side.
    pub input_tokens: u64,
    /// To write this many tokens.
    pub output_tokens: Option<u64>,
    /// The tier that the effort asks for first; `None`: any.
    pub effort: Option<Tier>,
    /// The lowest tier that will do.
    pub min_tier: Option<Tier>,
}

/// The size of a request, in bytes and counts. Nothing is tokenised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes of the prompt's text, tools included.
    pub text: usize,
    /// Bytes of a schema for the output, which providers add to the prompt.
    pub schema: usize,
    /// Images in the prompt.
    pub images: usize,
    /// Whether tools are offered, of which providers tell the model how to call them.
    pub tools: bool,
    /// The longest output that a provider may understand the request to ask for, in tokens of each choice.
    pub max_output: Option<u64>,
    /// How many choices are asked for, each with an output of its own; 0: the response has no tokens of output.
    pub choices: u64,
}

/// What to send upstream.
#[derive(Debug)]
pub struct Outgoing {
    /// The body; `None` when it is the caller's own, unchanged.
    pub body: Option<Vec<u8>>,
    /// What was dropped or changed for the provider, for `x-gateway-dropped-params`: `seed`, `seed>random_seed`,
    /// `temperature=1e-8`.
    pub adjusted: Vec<String>,
    /// Reads the response.
    pub responder: Responder,
}

/// Reads the response to a request and makes it the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Responder {
    /// The format that the upstream answers in.
    pub format: Format,
    /// Whether the gateway asked for the usage of a stream that the caller did not ask for, and so has to hide it.
    pub hide_usage: bool,
}

impl Inference<'_> {
    /// The first field that a provider would drop: one that it rejects and has no other name for.
    pub fn dropped_by(&self, quirks: &[Quirk]) -> Option<String> {
        quirks.iter().find_map(|quirk| match quirk {
            Quirk::Drop(name) => self.body.value(name).map(|_| name.to_string()),
            _ => None,
        })
    }
}

impl Size {
    /// The likely tokens of the input.
    pub fn input_tokens(&self) -> usize {
        self.text / BYTES_PER_TOKEN + self.images * TOKENS_PER_IMAGE
    }

    /// The tokens that a model must be able to read, on the safe side.
    pub fn needed_tokens(&self) -> u64 {
        (self.input_tokens() * NEEDED_PER_CENT / 100) as u64
    }
}
