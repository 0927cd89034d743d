//! The properties of a request that routing, limits and receipts use, in any format.

use std::borrow::Cow;
use std::rc::Rc;

use serde::Serialize;

use super::body::{Body, RoutingFields, is_removed};
use super::openai_responses::deltas::Echo;
use super::size::{BYTES_PER_TOKEN, TOKENS_PER_IMAGE};
use super::upstream::Upstream;
use crate::catalog::{Quirk, ToolUse};
use crate::conversation::carrier::Maker;
use crate::conversation::names::Aliases;
use crate::operation::{Format, Operation, Task};
use crate::tier::Tier;
use crate::unit::Units;

/// The safety margin of the input estimate, in per cent of it.
const NEEDED_PER_CENT: usize = 120;
/// A report of less than this part of the estimated input is not believed.
const LEAST_SHARE: u64 = 16;
/// The most that an image may count, in tokens.
const MOST_PER_IMAGE: usize = 16_384;
/// The most that a provider may add to a prompt, in tokens.
const ADDED: u64 = 16_384;

/// A request. The fields that the gateway acts on have been checked.
#[derive(Debug)]
pub struct Inference<'a> {
    /// The endpoint of the request.
    pub operation: &'static Operation,
    /// The caller's name of the model.
    pub model: Cow<'a, str>,
    /// `true` if the response is to be streamed.
    pub stream: bool,
    /// `true` if the caller asked for the usage of a stream.
    pub wants_usage: bool,
    /// The body's `project_id`.
    pub project_id: Option<String>,
    /// The fallback models and routing preferences in the body.
    pub routing: RoutingFields<'a>,
    /// The capabilities that the request needs.
    pub needs: Needs,
    /// The size of the request.
    pub size: Size,
    /// The session, as written in the body.
    pub session: Option<&'a str>,
    /// The prompt, as written: calls with the same long prefix go to the same lane.
    pub prompt: &'a str,
    pub(super) body: Body<'a>,
}

/// The capabilities that a request needs of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "capabilities are independent of each other")]
pub struct Needs {
    /// Tool calls.
    pub tools: bool,
    /// JSON mode.
    pub json_mode: bool,
    /// JSON schemas.
    pub json_schema: bool,
    /// Image input.
    pub vision: bool,
    /// Input tokens: an estimate that is a fifth too high, to be on the safe side.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: Option<u64>,
    /// The tier that the effort asks for first; `None` for any.
    pub effort: Option<Tier>,
    /// The lowest acceptable tier.
    pub min_tier: Option<Tier>,
}

/// The size of a request, in bytes and counts. Nothing is tokenised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes of the prompt's text, tools included.
    pub text: usize,
    /// Bytes of a schema for the output, which providers add to the prompt.
    pub schema: usize,
    /// Bytes of all other fields.
    pub rest: usize,
    /// Images in the prompt.
    pub images: usize,
    /// `true` if the request offers tools; providers then add instructions on calling them to the prompt.
    pub tools: bool,
    /// The longest output that a provider may read the request to allow, in tokens of each choice.
    pub max_output: Option<u64>,
    /// The number of choices, each with an output of its own; 0 if the response has no output tokens.
    pub choices: u64,
    /// `true` if the prompt embeds audio or files, whose tokens do not follow from their bytes.
    pub has_media: bool,
    /// The likely tokens of audio in the input.
    pub audio_tokens: u64,
    /// The most tokens of audio in the input.
    pub most_audio_tokens: u64,
    /// The maximum of other units than tokens. A kind of tokens that is in it may be all of the input or the output.
    pub units: Units,
    /// The likely amounts of those of these units that are only estimated: the others are what the request asks for.
    pub guesses: Units,
    /// `true` if no field limits the output, so that a call is either paid for as a whole or not sent.
    pub is_fixed: bool,
    /// The usual output, in tokens of all choices, where it follows from the request; otherwise 0.
    pub likely_output: u64,
}

/// The bounds of the input tokens that a provider may report for a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PromptBounds {
    /// Fewer are not believed.
    pub least: u64,
    /// The number that is charged instead.
    pub likely: u64,
    /// More are doubtful.
    pub most: u64,
}

/// The request to send upstream.
#[derive(Debug)]
pub struct Outgoing {
    /// The body; `None` if it is the caller's own body, unchanged.
    pub body: Option<Vec<u8>>,
    /// The fields that were dropped or changed for the provider, for `x-gateway-dropped-params`: `seed`,
    /// `seed>random_seed`, `temperature=1e-8`.
    pub adjusted: Vec<String>,
    /// Reads the response.
    pub responder: Responder,
}

/// Reads the response to a request, and converts it for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Responder {
    /// The format of the upstream's response.
    pub format: Format,
    /// `true` if the gateway asked for the usage of a stream without the caller's asking, and so must hide it.
    pub hide_usage: bool,
    /// `true` if the provider's streams are known to end without `[DONE]`.
    pub ends_without_done: bool,
    /// The translation into the caller's format; `None` if the upstream serves it and bytes pass.
    pub translation: Option<Rc<Translation>>,
}

/// The facts about a request that the response of a translated call needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The format of the response to the caller.
    pub caller: Format,
    /// The lane that responds, as the maker of reasoning.
    pub maker: Maker,
    /// The provider's id of the model, for a response that does not name its model.
    pub model: String,
    /// The beginning of the id of a response to which the upstream gives none, without the prefix of a format. The
    /// Worker, which has random numbers, sets it.
    pub id: String,
    /// `true` if the caller asked for the usage of a stream.
    pub wants_usage: bool,
    /// The time of the call, in seconds since 1970, for formats that state it. The Worker, which has a clock, sets it.
    pub created: u64,
    /// The tools whose names the upstream does not accept.
    pub aliases: Aliases,
    /// The parts of the request that a response of OpenAI Responses repeats; `None` for other callers.
    pub echo: Option<Rc<Echo>>,
}

impl Outgoing {
    /// States the time of the call, in seconds since 1970, and random bytes: the response to a translated call has the
    /// time, and an id of its own.
    #[must_use]
    pub fn created_at(mut self, seconds: u64, random: impl FnOnce() -> [u8; 12]) -> Outgoing {
        if let Some(translation) = self.responder.translation.as_mut().and_then(Rc::get_mut) {
            translation.created = seconds;
            translation.id = hex::encode(random());
        }
        self
    }
}

impl Inference<'_> {
    /// The fields of the body that are forwarded to an upstream as they are or changed: name and value, as written.
    pub fn forwarded(&self, upstream: Upstream<'_>) -> impl Iterator<Item = (&str, &str)> {
        self.body.fields().filter(move |(name, _)| !is_removed(name, &upstream))
    }

    /// Returns `true` if a name differs only in upper and lower case from a field that the gateway acts on.
    pub fn is_look_alike(&self, name: &str) -> bool {
        self.body.is_look_alike(name)
    }

    /// The kinds of image that a request for images asks for, as the catalogue writes them before the name of a model,
    /// the most exact first: `hd/1024-x-1792`, `1024-x-1792`. A missing field has the default of OpenAI's API reference;
    /// `auto` is a kind that the catalogue does not have.
    pub fn kinds_of_image(&self) -> Option<[String; 2]> {
        let field =
            |name: &str, default| self.body.value(name).map_or(default, |text| text.trim_matches('"'));
        (self.operation.task == Task::Image).then(|| {
            let size = field("size", "1024x1024").replace('x', "-x-");
            [format!("{}/{size}", field("quality", "standard")), size]
        })
    }

    /// The parts of the request that decide whether Chat Completions accepts its tools.
    pub fn tool_use(&self) -> ToolUse {
        let has_tools = self.needs.tools;
        let effort = if has_tools { self.body.value("reasoning_effort") } else { None };
        let reasons = match effort {
            // The gateway removes its own value.
            None | Some("\"auto\"") => None,
            Some(effort) => Some(effort != "\"none\""),
        };
        ToolUse { has_tools, reasons }
    }

    /// The first field that a provider would drop, because it rejects the field and has no other name for it.
    pub fn dropped_by(&self, quirks: &[Quirk]) -> Option<String> {
        quirks.iter().find_map(|quirk| match quirk {
            Quirk::Drop(name) => self.body.value(name).map(|_| name.to_string()),
            _ => None,
        })
    }
}

impl Size {
    /// The estimated input tokens.
    pub fn input_tokens(&self) -> usize {
        self.text / BYTES_PER_TOKEN + self.images * TOKENS_PER_IMAGE
    }

    /// The bounds of the input tokens that a provider may report. They are wide: only absurd numbers lie outside.
    pub fn prompt_bounds(&self) -> PromptBounds {
        let likely = self.input_tokens() as u64;
        let bytes = (self.text + self.schema + self.images * MOST_PER_IMAGE) as u64;
        PromptBounds {
            least: if self.has_media { 0 } else { likely.div_ceil(LEAST_SHARE) },
            likely,
            // A token has at least one byte. Providers add their own instructions.
            most: if self.has_media { u64::MAX } else { bytes.saturating_mul(2).saturating_add(ADDED) },
        }
    }

    /// The input tokens that a model must accept: the estimate with its safety margin.
    pub fn needed_tokens(&self) -> u64 {
        (self.input_tokens() * NEEDED_PER_CENT / 100) as u64
    }
}
