//! What the operator says of routing: limits of an attempt plan, groups of models, and what is known of single models.
//! How calls are routed is decided in [`crate::route`].

use serde::{Deserialize, Serialize};

use crate::money::MicroUsd;
use crate::operation::Task;
use crate::tier::Tier;

/// How a call finds its upstream, and what is done when one fails. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Routing {
    /// Upstream calls for one request, the first included.
    pub max_attempts: u32,
    /// How often the same upstream is asked again once no other is left.
    pub retries: u32,
    /// The wait before the first such retry; it doubles with each, and is jittered.
    pub backoff_ms: u32,
    /// The longest wait before a retry. An upstream that states a longer `retry-after` is not waited for.
    pub max_wait_ms: u32,
    /// How long a 200 is held back until the first content event.
    pub hold_ms: u32,
    /// How much of a stream is held back until then, in bytes.
    pub hold_bytes: u32,
    /// After how long without content a second upstream is asked besides the first, where that has no percentiles yet;
    /// 0: never.
    pub hedge_ms: u32,
    /// Whether calls of one session, or with one long prompt, go to the same upstream.
    pub sticky: bool,
    /// What `auto` may choose: `provider/model` or `provider/*`. Absent: every listed model that is fit for chats.
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
    /// The models, as `provider/model`: in the order in which they are tried.
    pub models: Vec<String>,
    /// A weight for each: then the first is drawn by weight, and so is each next. Absent: the order counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Vec<u32>>,
}

/// What the operator says of one model, over what the catalogue knows. Absent members leave it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSettings {
    /// A model of the catalogue whose facts hold for this one too: for a deployment with a name of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub like: Option<String>,
    /// Neither listed nor chosen by `auto` or by a bare name. It still answers to `provider/model`.
    pub hidden: bool,
    /// The longest input, in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<u32>,
    /// The longest output, in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u32>,
    /// US dollars per million input tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_usd_per_mtok: Option<MicroUsd>,
    /// US dollars per million output tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_usd_per_mtok: Option<MicroUsd>,
    /// US dollars per million input tokens that come from the provider's prompt cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_input_usd_per_mtok: Option<MicroUsd>,
    /// US dollars per million input tokens that are written to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_usd_per_mtok: Option<MicroUsd>,
    /// Whether it can call tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<bool>,
    /// Whether it can be held to JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_mode: Option<bool>,
    /// Whether it can be held to a JSON schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<bool>,
    /// Whether it sees images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vision: Option<bool>,
    /// Whether it reasons before it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<bool>,
    /// How much reasoning it is good for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// Which of several equals `auto` prefers, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// What it can do: `chat`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Successful calls a day (UTC), after which it is left alone until midnight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_day: Option<u32>,
}
