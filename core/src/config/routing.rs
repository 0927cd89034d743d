//! Routing settings: limits of an attempt plan, groups of models, and facts about single models. [`crate::route`] uses
//! them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::money::MicroUsd;
use crate::operation::Task;
use crate::tier::Tier;
use crate::unit::{Unit, UnitPrice};

/// Routing of a call and reaction to failures. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Routing {
    /// The maximum number of attempts for one request.
    pub max_attempts: u32,
    /// The maximum number of retries of the same upstream once no other is left.
    pub retries: u32,
    /// The wait before the first such retry; it doubles with each retry and is jittered.
    pub backoff_ms: u32,
    /// The maximum wait before a retry. If an upstream states a longer `retry-after`, the gateway does not wait for it.
    pub max_wait_ms: u32,
    /// The maximum time for which a stream with status 200 is held back until its first content event.
    pub hold_ms: u32,
    /// The maximum number of bytes of a stream that are held back until then.
    pub hold_bytes: u32,
    /// The time without content after which a stream is hedged, if the lane has no latency percentiles yet; 0 for
    /// never.
    pub hedge_ms: u32,
    /// Send calls of one session, or with the same long prompt, to the same upstream.
    pub sticky: bool,
    /// The models that `auto` may choose: `provider/model` or `provider/*`. Absent: every listed model that is fit for
    /// chats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto: Option<Vec<String>>,
}

impl Default for Routing {
    fn default() -> Self {
        Routing {
            max_attempts: 4,
            retries: 1,
            backoff_ms: 500,
            max_wait_ms: 5_000,
            hold_ms: 30_000,
            hold_bytes: 64 * 1024,
            hedge_ms: 0,
            sticky: true,
            auto: None,
        }
    }
}

/// A name for several models.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The models as `provider/model`, in the order in which they are tried.
    pub models: Vec<String>,
    /// A weight for each model: the order is then random in proportion to the weights. Absent: the order is as listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Vec<u32>>,
}

/// Facts about one model that override the catalogue. Absent fields keep the catalogue's value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSettings {
    /// A model of the catalogue whose facts apply to this model too, for a deployment with its own name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub like: Option<String>,
    /// Do not list the model, and do not choose it for `auto` or a bare name. `provider/model` still reaches it.
    pub hidden: bool,
    /// The maximum input, in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<u32>,
    /// The maximum output, in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u32>,
    /// US dollars per million input tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_usd_per_mtok: Option<MicroUsd>,
    /// US dollars per million output tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_usd_per_mtok: Option<MicroUsd>,
    /// US dollars per million input tokens read from the provider's prompt cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_input_usd_per_mtok: Option<MicroUsd>,
    /// US dollars per million input tokens written to the provider's prompt cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_usd_per_mtok: Option<MicroUsd>,
    /// US dollars per million input tokens written to the provider's prompt cache for an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_1h_usd_per_mtok: Option<MicroUsd>,
    /// US dollars for one of a unit other than tokens of text: `image`, `character`, `second`, `search`; or for one token
    /// of `audio_input`, `audio_output`, `image_input`, `image_output`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub usd_per_unit: BTreeMap<Unit, UnitPrice>,
    /// Support for tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<bool>,
    /// Support for JSON mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_mode: Option<bool>,
    /// Support for JSON schemas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<bool>,
    /// Support for image input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vision: Option<bool>,
    /// `true` if the model reasons before it responds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<bool>,
    /// Support for reasoning as much as the model sees fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive_thinking: Option<bool>,
    /// Support for `temperature`, `top_p` and `top_k`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling_params: Option<bool>,
    /// Support for a last message of the assistant, which the response continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefill: Option<bool>,
    /// The capability of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// The preference of `auto` among equal models, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// The task: `chat`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// The maximum number of successful calls in a day (UTC); after it, the model is in cooldown until midnight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_day: Option<u32>,
}
