//! The built-in providers. One row each; everything that differs between them is a column.
//!
//! Every row is an API with a static key and the formats that it serves, so that one piece of code calls all of them.
//! Two things need no column: the shape of errors (`format::upstream_error` detects it in each response), and the
//! capabilities of models (which are in the table of models).
//!
//! Providers without such an endpoint are not listed: Reka, Snowflake Cortex (a format of their own), Oracle OCI and
//! `SageMaker` (signed requests), Replicate (jobs that are polled), Vertex AI (tokens that expire after an hour and
//! must be signed for), Nomic (an embeddings format of its own), `ModelScope` (no known URL). Gemini, Cohere, Bedrock
//! and Workers AI are called through their compatible endpoints. A row lists Messages only if the provider serves all
//! of its chat models so. Any other compatible endpoint can be
//! configured (see [`crate::config::CustomProvider`]).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::choices::{self, Choices};
use crate::config::Auth;
use crate::operation::Format;

/// The built-in properties of a provider.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the columns are independent of each other")]
pub struct Provider {
    /// The name in `provider/model`, and, in upper case, in the names of its variables. Lower case, `_` between words.
    pub name: &'static str,
    /// The base URL, without a final slash. May have placeholders, each the name of a variable in braces:
    /// `https://{AZURE_RESOURCE}.openai.azure.com/openai/v1`.
    pub base_url: &'static str,
    /// The formats that it serves, each with the path that is appended to the base URL. Each `../` at its beginning takes
    /// a segment off the base URL first.
    pub serves: &'static [(Format, &'static str)],
    /// How the gateway authenticates to it.
    pub auth: Auth,
    /// The header that has the key in requests for Messages, if it is another one.
    pub messages_key_header: Option<&'static str>,
    /// Further names of the secret with its key, in addition to `<NAME>_API_KEY`; the first that is set counts.
    pub key_variables: &'static [&'static str],
    /// When its streams report usage.
    pub stream_usage: StreamUsage,
    /// Changes that its requests need.
    pub quirks: &'static [Quirk],
    /// The headers of its responses that report the remaining amount of a limit.
    pub limit_headers: &'static [LimitHeader],
    /// `true` if it stops charging for a stream whose connection is closed; `None` if not known.
    pub cancel_stops_billing: Option<bool>,
    /// `true` if it charges for requests that it rejects for their content or their length.
    pub charges_rejections: bool,
    /// `true` if it does its own routing, and so accepts the fields `models` and `provider`.
    pub own_routing: bool,
    /// The choices beyond the model that it leaves to a request.
    pub choices: Choices,
    /// `true` if its streams are known to end without `[DONE]`: with a finish reason and usage, they are complete.
    pub ends_without_done: bool,
    /// `true` if it serves OpenAI's own models as OpenAI does: its reasoning models call tools best through Responses.
    pub is_openai: bool,
    /// The parts of Responses for which a provider has to keep something. It rejects or ignores the others.
    pub keeps: &'static [Kept],
}

/// A part of Responses that only some providers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It keeps responses: `previous_response_id`, and `GET` and `DELETE` of a response.
    Responses,
    /// It lists the input of a response.
    InputItems,
    /// It makes responses in the background, and cancels them.
    Background,
    /// It keeps conversations.
    Conversations,
    /// It keeps prompts.
    Prompts,
    /// It counts the tokens of an input.
    InputTokens,
}

/// When a provider's streams report usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamUsage {
    /// If `stream_options.include_usage` asks for it.
    OnRequest,
    /// Always; some of these providers reject `stream_options` as an unknown parameter.
    Always,
}

/// A change to the fields of a request without which a provider would reject it. Fields that decide the meaning of a
/// call (`messages`, `tools`, `response_format`, …) are never dropped; routing skips the provider instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// The provider rejects this field: it is dropped.
    Drop(Cow<'static, str>),
    /// The provider knows the first field by the name of the second. If a request has both, the first is dropped.
    Rename(Cow<'static, str>, Cow<'static, str>),
    /// The provider rejects this value of a field, as JSON, which means the same as no value: the field is dropped, and
    /// the response header does not list it, because the result is the same.
    Usual(Cow<'static, str>, Cow<'static, str>),
    /// The smallest value of a field that the provider accepts, as the text of a JSON number.
    AtLeast(Cow<'static, str>, Cow<'static, str>),
    /// The largest value of a field that the provider accepts, as the text of a JSON number.
    AtMost(Cow<'static, str>, Cow<'static, str>),
}

impl Quirk {
    /// Returns `true` if the provider does not get a field under this name.
    pub fn takes(&self, field: &str) -> bool {
        matches!(self, Quirk::Drop(name) | Quirk::Rename(name, _) if name == field)
    }

    const fn drop(field: &'static str) -> Quirk {
        Quirk::Drop(Cow::Borrowed(field))
    }

    const fn rename(field: &'static str, other: &'static str) -> Quirk {
        Quirk::Rename(Cow::Borrowed(field), Cow::Borrowed(other))
    }

    const fn usual(field: &'static str, value: &'static str) -> Quirk {
        Quirk::Usual(Cow::Borrowed(field), Cow::Borrowed(value))
    }

    const fn at_least(field: &'static str, least: &'static str) -> Quirk {
        Quirk::AtLeast(Cow::Borrowed(field), Cow::Borrowed(least))
    }
}

/// The headers for one limit. Names are in lower case; an empty name means that there is no such header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitHeader {
    /// The resource that is counted.
    pub resource: Resource,
    /// The window of the limit.
    pub window: Window,
    /// The header with the limit.
    pub limit: &'static str,
    /// The header with the remaining amount.
    pub remaining: &'static str,
    /// The header with the time at which the window resets: a duration, seconds or a time, depending on the provider.
    pub reset: &'static str,
}

/// The resource that a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Calls.
    Requests,
    /// Tokens, as the provider counts them.
    Tokens,
    /// Tokens of the input.
    InputTokens,
    /// Tokens of the output.
    OutputTokens,
}

/// The window of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// A minute.
    Minute,
    /// A day.
    Day,
    /// Not stated by the provider, or variable.
    Unknown,
}

// A provider that knows the output limit only by its older name rejects the newer name or, worse, ignores it.
const MAX_TOKENS: Quirk = Quirk::rename("max_completion_tokens", "max_tokens");
const ONLY_MAX_TOKENS: &[Quirk] = &[MAX_TOKENS];

const CEREBRAS: &[Quirk] = &[
    Quirk::drop("prompt_cache_key"),
    Quirk::drop("service_tier"),
    Quirk::drop("store"),
    Quirk::drop("verbosity"),
];
const GROQ: &[Quirk] = &[
    Quirk::drop("logit_bias"),
    Quirk::drop("logprobs"),
    Quirk::drop("top_logprobs"),
    Quirk::at_least("temperature", "1e-8"),
];
const MISTRAL: &[Quirk] =
    &[MAX_TOKENS, Quirk::rename("seed", "random_seed"), Quirk::rename("dimensions", "output_dimension")];
const JINA: &[Quirk] = &[Quirk::drop("user"), Quirk::rename("encoding_format", "embedding_type")];
const PERPLEXITY: &[Quirk] = &[
    MAX_TOKENS,
    Quirk::drop("logprobs"),
    Quirk::drop("seed"),
    Quirk::drop("stop"),
    Quirk::drop("top_logprobs"),
];

// Accepts only `base64`; without the field, it returns numbers.
const VOYAGE: &[Quirk] = &[
    Quirk::rename("dimensions", "output_dimension"),
    Quirk::usual("encoding_format", "\"float\""),
    Quirk::rename("top_n", "top_k"),
    Quirk::drop("user"),
];

const fn limit(
    resource: Resource,
    window: Window,
    [limit, remaining, reset]: [&'static str; 3],
) -> LimitHeader {
    LimitHeader { resource, window, limit, remaining, reset }
}

const REQUESTS: [&str; 3] =
    ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"];
const TOKENS: [&str; 3] =
    ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"];
const REQUESTS_DAY: [&str; 3] = [
    "x-ratelimit-limit-requests-day",
    "x-ratelimit-remaining-requests-day",
    "x-ratelimit-reset-requests-day",
];

/// The limit headers of OpenAI, which most others copy.
#[rustfmt::skip]
pub(super) const OPENAI_LIMITS: &[LimitHeader] = &[
    limit(Resource::Requests, Window::Minute, REQUESTS),
    limit(Resource::Tokens,   Window::Minute, TOKENS),
];
#[rustfmt::skip]
const ANTHROPIC_LIMITS: &[LimitHeader] = &[
    limit(Resource::Requests, Window::Minute,
        ["anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"]),
    limit(Resource::Tokens,   Window::Minute,
        ["anthropic-ratelimit-tokens-limit", "anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"]),
    limit(Resource::InputTokens, Window::Minute,
        ["anthropic-ratelimit-input-tokens-limit", "anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"]),
    limit(Resource::OutputTokens, Window::Minute,
        ["anthropic-ratelimit-output-tokens-limit", "anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"]),
];
#[rustfmt::skip]
const CEREBRAS_LIMITS: &[LimitHeader] = &[
    limit(Resource::Requests, Window::Day,    REQUESTS_DAY),
    limit(Resource::Tokens,   Window::Minute,
        ["x-ratelimit-limit-tokens-minute", "x-ratelimit-remaining-tokens-minute", "x-ratelimit-reset-tokens-minute"]),
];
// OpenAI's names, but the requests are per day.
#[rustfmt::skip]
const GROQ_LIMITS: &[LimitHeader] = &[
    limit(Resource::Requests, Window::Day,    REQUESTS),
    limit(Resource::Tokens,   Window::Minute, TOKENS),
];
#[rustfmt::skip]
const MISTRAL_LIMITS: &[LimitHeader] = &[
    limit(Resource::Tokens,   Window::Minute,
        ["x-ratelimitbysize-limit-minute", "x-ratelimitbysize-remaining-minute", "ratelimitbysize-reset"]),
];
#[rustfmt::skip]
const SAMBANOVA_LIMITS: &[LimitHeader] = &[
    limit(Resource::Requests, Window::Minute, REQUESTS),
    limit(Resource::Requests, Window::Day,    REQUESTS_DAY),
];
// The windows change with the load.
#[rustfmt::skip]
const TOGETHER_LIMITS: &[LimitHeader] = &[
    limit(Resource::Requests, Window::Unknown, ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]),
    limit(Resource::Tokens,   Window::Unknown, ["x-tokenlimit-limit", "x-tokenlimit-remaining", ""]),
];

/// The path that most providers serve a format at, under their base URL.
pub(super) const fn usual_path(format: Format) -> &'static str {
    match format {
        Format::ChatCompletions => "/chat/completions",
        Format::Messages => "/messages",
        Format::Responses => "/responses",
        Format::Compaction => "/responses/compact",
        Format::Embeddings => "/embeddings",
        Format::Completions => "/completions",
        Format::Moderations => "/moderations",
        Format::Rerank | Format::RerankV2 => "/rerank",
        Format::Images => "/images/generations",
        Format::ImageEdits => "/images/edits",
        Format::ImageVariations => "/images/variations",
        Format::Speech => "/audio/speech",
        Format::Transcriptions => "/audio/transcriptions",
        Format::Translations => "/audio/translations",
    }
}

/// The address of a format, from the base URL and the path of the table.
pub(super) fn address(base_url: &str, path: &str) -> String {
    let (mut base, mut path) = (base_url, path);
    while let Some(rest) = path.strip_prefix("../") {
        // The host is no segment.
        let host = base.find("://").map_or(0, |scheme| scheme + 3);
        base = base.rsplit_once('/').map_or(base, |(above, _)| if above.len() > host { above } else { base });
        path = rest;
    }
    let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
    format!("{base}{slash}{path}")
}

const CHAT_AND_EMBEDDINGS: &[(Format, &str)] = &[CHAT, EMBEDDINGS];
const EMBEDDINGS: (Format, &str) = (Format::Embeddings, usual_path(Format::Embeddings));
const CHAT: (Format, &str) = (Format::ChatCompletions, usual_path(Format::ChatCompletions));
const MESSAGES: (Format, &str) = (Format::Messages, usual_path(Format::Messages));
const RESPONSES: (Format, &str) = (Format::Responses, usual_path(Format::Responses));
const COMPACTION: (Format, &str) = (Format::Compaction, usual_path(Format::Compaction));
const COMPLETIONS: (Format, &str) = (Format::Completions, usual_path(Format::Completions));
const MODERATIONS: (Format, &str) = (Format::Moderations, usual_path(Format::Moderations));
// A request of version 2 is one of version 1, and its response has no more fields.
const RERANK: (Format, &str) = (Format::Rerank, usual_path(Format::Rerank));
const RERANK_V2: (Format, &str) = (Format::RerankV2, usual_path(Format::RerankV2));
const IMAGES: (Format, &str) = (Format::Images, usual_path(Format::Images));
const IMAGE_EDITS: (Format, &str) = (Format::ImageEdits, usual_path(Format::ImageEdits));
const IMAGE_VARIATIONS: (Format, &str) = (Format::ImageVariations, usual_path(Format::ImageVariations));
const SPEECH: (Format, &str) = (Format::Speech, usual_path(Format::Speech));
const TRANSCRIPTIONS: (Format, &str) = (Format::Transcriptions, usual_path(Format::Transcriptions));
const TRANSLATIONS: (Format, &str) = (Format::Translations, usual_path(Format::Translations));

/// A typical provider: the key is a bearer token, nothing else is special.
const fn provider(name: &'static str, base_url: &'static str) -> Provider {
    with_auth(name, base_url, Auth::Bearer)
}

/// A provider that takes the key in a header of its own.
const fn with_header(name: &'static str, base_url: &'static str, header: &'static str) -> Provider {
    with_auth(name, base_url, Auth::Header(Cow::Borrowed(header)))
}

const fn with_auth(name: &'static str, base_url: &'static str, auth: Auth) -> Provider {
    Provider {
        name,
        base_url,
        serves: &[CHAT],
        auth,
        messages_key_header: None,
        key_variables: &[],
        stream_usage: StreamUsage::OnRequest,
        quirks: &[],
        limit_headers: &[],
        cancel_stops_billing: None,
        charges_rejections: false,
        own_routing: false,
        choices: Choices { fields: &[], model_parts: &[] },
        ends_without_done: false,
        is_openai: false,
        keeps: &[],
    }
}

/// Builder methods for the other columns of a row.
impl Provider {
    const fn serves(mut self, formats: &'static [(Format, &'static str)]) -> Provider {
        self.serves = formats;
        self
    }

    /// The provider takes the key for Messages in Anthropic's header.
    const fn x_api_key(mut self) -> Provider {
        self.messages_key_header = Some("x-api-key");
        self
    }

    const fn keys(mut self, variables: &'static [&'static str]) -> Provider {
        self.key_variables = variables;
        self
    }

    const fn usage(mut self, usage: StreamUsage) -> Provider {
        self.stream_usage = usage;
        self
    }

    const fn quirks(mut self, quirks: &'static [Quirk]) -> Provider {
        self.quirks = quirks;
        self
    }

    const fn limits(mut self, headers: &'static [LimitHeader]) -> Provider {
        self.limit_headers = headers;
        self
    }

    const fn cancel_stops_billing(mut self, stops: bool) -> Provider {
        self.cancel_stops_billing = Some(stops);
        self
    }

    const fn charges_rejections(mut self) -> Provider {
        self.charges_rejections = true;
        self
    }

    const fn own_routing(mut self) -> Provider {
        self.own_routing = true;
        self
    }

    const fn choices(mut self, choices: Choices) -> Provider {
        self.choices = choices;
        self
    }

    /// <https://platform.openai.com/docs/api-reference/responses>
    const fn openai(mut self) -> Provider {
        self.is_openai = true;
        self.keeps(&[
            Kept::Responses,
            Kept::InputItems,
            Kept::Background,
            Kept::Conversations,
            Kept::Prompts,
            Kept::InputTokens,
        ])
    }

    const fn keeps(mut self, kept: &'static [Kept]) -> Provider {
        self.keeps = kept;
        self
    }

    const fn ends_without_done(mut self) -> Provider {
        self.ends_without_done = true;
        self
    }
}

/// All built-in providers, by name. Addresses as of mid-2026.
#[rustfmt::skip]
pub static PROVIDERS: &[Provider] = &[
    provider("ai21", "https://api.ai21.com/studio/v1").quirks(ONLY_MAX_TOKENS).cancel_stops_billing(false),
    provider("ai302", "https://api.302.ai/v1").choices(choices::ANY),
    provider("anthropic", "https://api.anthropic.com/v1").serves(&[CHAT, MESSAGES]).x_api_key()
        .choices(choices::ANTHROPIC).limits(ANTHROPIC_LIMITS).cancel_stops_billing(true),
    with_header("azure", "https://{AZURE_RESOURCE}.openai.azure.com/openai/v1", "api-key")
        .serves(&[CHAT, RESPONSES, COMPACTION, EMBEDDINGS, IMAGES, IMAGE_EDITS, SPEECH, TRANSCRIPTIONS, TRANSLATIONS])
        .openai().keys(&["AZURE_OPENAI_API_KEY"]).limits(OPENAI_LIMITS).cancel_stops_billing(true).charges_rejections(),
    provider("azure_ai", "https://models.inference.ai.azure.com").serves(CHAT_AND_EMBEDDINGS).limits(OPENAI_LIMITS)
        .charges_rejections(),
    // Claude in Microsoft Foundry; the names of models are those of the customer's deployments.
    with_header("azure_anthropic", "https://{ANTHROPIC_FOUNDRY_RESOURCE}.services.ai.azure.com/anthropic/v1", "x-api-key")
        .serves(&[MESSAGES]).keys(&["ANTHROPIC_FOUNDRY_API_KEY"]).choices(choices::ANTHROPIC),
    provider("baseten", "https://inference.baseten.co/v1"),
    provider("bedrock", "https://bedrock-runtime.{BEDROCK_REGION}.amazonaws.com/openai/v1")
        .keys(&["AWS_BEARER_TOKEN_BEDROCK"]).cancel_stops_billing(false),
    provider("cerebras", "https://api.cerebras.ai/v1").quirks(CEREBRAS).limits(CEREBRAS_LIMITS),
    provider("chutes", "https://llm.chutes.ai/v1").quirks(ONLY_MAX_TOKENS).cancel_stops_billing(true),
    provider("cohere", "https://api.cohere.ai/compatibility/v1")
        .serves(&[CHAT, EMBEDDINGS, (Format::Rerank, "../../v1/rerank"), (Format::RerankV2, "../../v2/rerank")])
        .keys(&["CO_API_KEY"]).quirks(ONLY_MAX_TOKENS).cancel_stops_billing(true),
    provider("cometapi", "https://api.cometapi.com/v1").serves(&[CHAT, EMBEDDINGS, IMAGES]).choices(choices::ANY),
    provider("command_code", "https://api.commandcode.ai/provider/v1").choices(choices::ANY),
    provider("crusoe", "https://managed-inference-api-proxy.crusoecloud.com/v1").quirks(ONLY_MAX_TOKENS),
    provider("dashscope", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1").serves(CHAT_AND_EMBEDDINGS)
        .quirks(ONLY_MAX_TOKENS).cancel_stops_billing(false),
    provider("deepinfra", "https://api.deepinfra.com/v1/openai").serves(&[CHAT, EMBEDDINGS, COMPLETIONS, IMAGES, SPEECH, TRANSCRIPTIONS, TRANSLATIONS])
        .quirks(ONLY_MAX_TOKENS).cancel_stops_billing(true),
    provider("deepseek", "https://api.deepseek.com/v1").serves(&[CHAT, (Format::Messages, "../anthropic/v1/messages"), (Format::Responses, "../responses")])
        .x_api_key().quirks(ONLY_MAX_TOKENS).cancel_stops_billing(true),
    provider("featherless", "https://api.featherless.ai/v1").quirks(ONLY_MAX_TOKENS).cancel_stops_billing(false),
    provider("fireworks", "https://api.fireworks.ai/inference/v1")
        .serves(&[CHAT, MESSAGES, RESPONSES, EMBEDDINGS, COMPLETIONS, RERANK, RERANK_V2])
        .usage(StreamUsage::Always).quirks(ONLY_MAX_TOKENS).keeps(&[Kept::Responses]).cancel_stops_billing(true),
    provider("friendli", "https://api.friendli.ai/serverless/v1")
        .keys(&["FRIENDLI_TOKEN"]).cancel_stops_billing(true),
    provider("gemini", "https://generativelanguage.googleapis.com/v1beta/openai").serves(&[CHAT, EMBEDDINGS, IMAGES])
        .keys(&["GOOGLE_API_KEY"]).cancel_stops_billing(false),
    provider("github_models", "https://models.github.ai/inference").serves(CHAT_AND_EMBEDDINGS).keys(&["GITHUB_TOKEN"]),
    provider("gmi", "https://api.gmi-serving.com/v1").ends_without_done(),
    provider("groq", "https://api.groq.com/openai/v1").serves(&[CHAT, RESPONSES, SPEECH, TRANSCRIPTIONS, TRANSLATIONS]).quirks(GROQ).limits(GROQ_LIMITS)
        .choices(choices::GROQ).cancel_stops_billing(false),
    provider("huggingface", "https://router.huggingface.co/v1")
        .keys(&["HF_TOKEN"]).quirks(ONLY_MAX_TOKENS).choices(choices::HUGGING_FACE).cancel_stops_billing(false),
    provider("hunyuan", "https://api.hunyuan.cloud.tencent.com/v1").quirks(ONLY_MAX_TOKENS),
    provider("hyperbolic", "https://api.hyperbolic.xyz/v1").quirks(ONLY_MAX_TOKENS).cancel_stops_billing(true),
    provider("inference_net", "https://api.inference.net/v1").quirks(ONLY_MAX_TOKENS).cancel_stops_billing(false),
    provider("io_net", "https://api.intelligence.io.solutions/api/v1").keys(&["IOINTELLIGENCE_API_KEY"]),
    provider("jina", "https://api.jina.ai/v1").serves(&[EMBEDDINGS, RERANK, RERANK_V2]).quirks(JINA),
    provider("kluster", "https://api.kluster.ai/v1").serves(CHAT_AND_EMBEDDINGS).cancel_stops_billing(false),
    provider("krutrim", "https://cloud.olakrutrim.com/v1").quirks(ONLY_MAX_TOKENS),
    provider("lambda", "https://api.lambdalabs.com/v1").serves(&[CHAT, COMPLETIONS]).quirks(ONLY_MAX_TOKENS).cancel_stops_billing(false),
    provider("lemonfox", "https://api.lemonfox.ai/v1").serves(&[CHAT, IMAGES, SPEECH, TRANSCRIPTIONS]).quirks(ONLY_MAX_TOKENS),
    provider("lingyi", "https://api.lingyiwanwu.com/v1").quirks(ONLY_MAX_TOKENS).cancel_stops_billing(false),
    provider("minimax", "https://api.minimax.io/v1").serves(&[CHAT, (Format::Messages, "../anthropic/v1/messages")]).x_api_key()
        .cancel_stops_billing(false).ends_without_done(),
    provider("mistral", "https://api.mistral.ai/v1").serves(&[CHAT, EMBEDDINGS, MODERATIONS, SPEECH, TRANSCRIPTIONS])
        .usage(StreamUsage::Always).quirks(MISTRAL).limits(MISTRAL_LIMITS).cancel_stops_billing(false),
    provider("moonshot", "https://api.moonshot.ai/v1").serves(&[CHAT, (Format::Messages, "../anthropic/v1/messages")]),
    provider("nano_gpt", "https://nano-gpt.com/api/v1").keys(&["NANOGPT_API_KEY"])
        .quirks(ONLY_MAX_TOKENS).choices(choices::NANO_GPT),
    provider("nebius", "https://api.studio.nebius.ai/v1").serves(&[CHAT, EMBEDDINGS, COMPLETIONS, IMAGES]).quirks(ONLY_MAX_TOKENS).cancel_stops_billing(false),
    provider("novita", "https://api.novita.ai/v3/openai").serves(&[CHAT, EMBEDDINGS, COMPLETIONS, RERANK, RERANK_V2]).quirks(ONLY_MAX_TOKENS).cancel_stops_billing(true),
    provider("nscale", "https://inference.api.nscale.com/v1").serves(&[CHAT, IMAGES]).quirks(ONLY_MAX_TOKENS),
    provider("nvidia", "https://integrate.api.nvidia.com/v1").serves(CHAT_AND_EMBEDDINGS).quirks(ONLY_MAX_TOKENS),
    with_auth("ollama", "http://localhost:11434/v1", Auth::None).serves(&[CHAT, EMBEDDINGS, COMPLETIONS]).quirks(ONLY_MAX_TOKENS),
    provider("openai", "https://api.openai.com/v1")
        .serves(&[CHAT, RESPONSES, COMPACTION, EMBEDDINGS, COMPLETIONS, MODERATIONS, IMAGES, IMAGE_EDITS, IMAGE_VARIATIONS, SPEECH,
            TRANSCRIPTIONS, TRANSLATIONS]).openai().limits(OPENAI_LIMITS).cancel_stops_billing(true),
    provider("openrouter", "https://openrouter.ai/api/v1")
        .serves(&[CHAT, MESSAGES, RESPONSES, EMBEDDINGS, COMPLETIONS, SPEECH])
        .own_routing().choices(choices::OPENROUTER),
    provider("ovhcloud", "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1").quirks(ONLY_MAX_TOKENS),
    provider("perplexity", "https://api.perplexity.ai")
        .serves(&[CHAT, (Format::Responses, "/v1/responses"), (Format::Embeddings, "/v1/embeddings")]).quirks(PERPLEXITY)
        .choices(choices::PERPLEXITY).cancel_stops_billing(false).ends_without_done(),
    provider("poe", "https://api.poe.com/v1").quirks(ONLY_MAX_TOKENS).choices(choices::ANY),
    // The key may be the word "anonymous".
    provider("pollinations", "https://text.pollinations.ai/openai").serves(&[(Format::ChatCompletions, "")]),
    provider("sambanova", "https://api.sambanova.ai/v1")
        .usage(StreamUsage::Always).quirks(ONLY_MAX_TOKENS).limits(SAMBANOVA_LIMITS).cancel_stops_billing(false),
    with_header("sarvam", "https://api.sarvam.ai/v1", "api-subscription-key").quirks(ONLY_MAX_TOKENS),
    provider("scaleway", "https://api.scaleway.ai/v1").serves(&[CHAT, EMBEDDINGS, RERANK, RERANK_V2, TRANSCRIPTIONS]).keys(&["SCW_SECRET_KEY"]),
    provider("siliconflow", "https://api.siliconflow.cn/v1")
        .serves(&[CHAT, EMBEDDINGS, RERANK, RERANK_V2, IMAGES, SPEECH, TRANSCRIPTIONS]).quirks(ONLY_MAX_TOKENS),
    provider("stepfun", "https://api.stepfun.com/v1").quirks(ONLY_MAX_TOKENS),
    provider("synthetic", "https://api.synthetic.new/openai/v1").quirks(ONLY_MAX_TOKENS),
    provider("together", "https://api.together.xyz/v1")
        .serves(&[CHAT, EMBEDDINGS, COMPLETIONS, RERANK, RERANK_V2, IMAGES, SPEECH, TRANSCRIPTIONS, TRANSLATIONS])
        .quirks(ONLY_MAX_TOKENS).limits(TOGETHER_LIMITS).cancel_stops_billing(true),
    provider("upstage", "https://api.upstage.ai/v1/solar").serves(CHAT_AND_EMBEDDINGS).quirks(ONLY_MAX_TOKENS),
    provider("venice", "https://api.venice.ai/api/v1").keys(&["VENICE_AI_API_KEY"]).choices(choices::VENICE),
    provider("volcengine", "https://ark.cn-beijing.volces.com/api/v3").serves(&[CHAT, EMBEDDINGS, IMAGES]).keys(&["ARK_API_KEY"]),
    provider("voyage", "https://api.voyageai.com/v1").serves(&[EMBEDDINGS, RERANK, RERANK_V2]).quirks(VOYAGE),
    provider("workers_ai", "https://api.cloudflare.com/client/v4/accounts/{CLOUDFLARE_ACCOUNT_ID}/ai/v1").serves(CHAT_AND_EMBEDDINGS)
        .keys(&["CLOUDFLARE_WORKERS_AI_API_KEY", "CLOUDFLARE_API_TOKEN"])
        .quirks(ONLY_MAX_TOKENS).cancel_stops_billing(true),
    provider("xai", "https://api.x.ai/v1").serves(&[CHAT, RESPONSES, COMPLETIONS, IMAGES]).keeps(&[Kept::Responses]).cancel_stops_billing(true),
    provider("zai", "https://api.z.ai/api/paas/v4").serves(&[CHAT, (Format::Messages, "../../anthropic/v1/messages")]).quirks(ONLY_MAX_TOKENS),
    provider("zhipu", "https://open.bigmodel.cn/api/paas/v4").serves(&[CHAT, (Format::Messages, "../../anthropic/v1/messages")]).quirks(ONLY_MAX_TOKENS),
];

/// The Worker secret with a provider's key: `my-llm` → `MY_LLM_API_KEY`.
pub fn api_key_variable(provider: &str) -> String {
    variable(provider, "API_KEY")
}

/// The variable that overrides a provider's base URL: `my-llm` → `MY_LLM_BASE_URL`.
pub fn base_url_variable(provider: &str) -> String {
    variable(provider, "BASE_URL")
}

fn variable(provider: &str, suffix: &str) -> String {
    format!("{}_{suffix}", provider.to_ascii_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BaseUrl;

    fn is_variable(name: &str) -> bool {
        name.starts_with(|first: char| first.is_ascii_uppercase())
            && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    }

    fn is_header(name: &str) -> bool {
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    }

    #[test]
    fn the_table_is_sorted_and_names_are_usable() {
        assert!(PROVIDERS.is_sorted_by(|a, b| a.name < b.name));
        for provider in PROVIDERS {
            let name = provider.name;
            assert!(
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
                "{name}"
            );
            let own = api_key_variable(name);
            assert!(is_variable(&own), "{own}");
            for variable in provider.key_variables {
                assert!(is_variable(variable) && *variable != own, "{variable}");
            }
        }
    }

    #[test]
    fn base_urls_are_valid_once_their_placeholders_are_filled() {
        let mut placeholders = Vec::new();
        for provider in PROVIDERS {
            let mut filled = String::new();
            let mut rest = provider.base_url;
            while let Some((before, after)) = rest.split_once('{') {
                let (name, after) = after.split_once('}').unwrap();
                assert!(name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{name}");
                placeholders.push(name);
                filled = filled + before + "x";
                rest = after;
            }
            filled += rest;
            assert_eq!(BaseUrl::parse(&filled).unwrap().as_str(), filled);
            for (index, (format, path)) in provider.serves.iter().enumerate() {
                let (address, path) = (address(&filled, path), path.trim_start_matches("../"));
                assert!(path.is_empty() || !path.trim_start_matches('/').is_empty(), "{}", provider.name);
                assert_eq!(BaseUrl::parse(&address).map(|url| url.as_str().to_owned()), Ok(address));
                assert!(provider.serves.iter().skip(index + 1).all(|(other, _)| other != format), "{filled}");
            }
        }
        let expected =
            ["AZURE_RESOURCE", "ANTHROPIC_FOUNDRY_RESOURCE", "BEDROCK_REGION", "CLOUDFLARE_ACCOUNT_ID"];
        assert_eq!(placeholders, expected);
    }

    #[test]
    fn a_path_may_begin_above_the_base_url() {
        for (base_url, path, expected) in [
            ("https://a.example/v1", "/messages", "https://a.example/v1/messages"),
            ("https://a.example/v1", "", "https://a.example/v1"),
            ("https://a.example/v1", "../x/messages", "https://a.example/x/messages"),
            ("https://a.example/b/v1", "../x/messages", "https://a.example/b/x/messages"),
            ("https://a.example/api/paas/v4", "../../x", "https://a.example/api/x"),
            ("https://a.example", "../x", "https://a.example/x"),
        ] {
            assert_eq!(address(base_url, path), expected, "{base_url} {path}");
        }
    }

    #[test]
    fn quirks_never_drop_fields_that_decide_the_meaning_of_a_call() {
        let kept = [
            "input",
            "documents",
            "messages",
            "model",
            "n",
            "prompt",
            "query",
            "response_format",
            "stream",
            "stream_options",
            "tool_choice",
            "tools",
        ];
        for provider in PROVIDERS {
            for quirk in provider.quirks {
                match quirk {
                    Quirk::Drop(field) | Quirk::Rename(field, _) | Quirk::Usual(field, _) => {
                        assert!(!kept.contains(&&**field), "{field}");
                    }
                    Quirk::AtLeast(_, number) | Quirk::AtMost(_, number) => {
                        assert!(serde_json::from_str::<serde_json::Number>(number).is_ok(), "{number}");
                    }
                }
            }
        }
    }

    #[test]
    fn header_names_are_lower_case() {
        for provider in PROVIDERS {
            if let Auth::Header(name) = &provider.auth {
                assert!(!name.is_empty() && is_header(name), "{name}");
            }
            assert!(provider.messages_key_header.is_none_or(is_header), "{}", provider.name);
            for headers in provider.limit_headers {
                assert!(!headers.remaining.is_empty(), "{}", provider.name);
                for name in [headers.limit, headers.remaining, headers.reset] {
                    assert!(is_header(name), "{name}");
                }
            }
        }
    }

    #[test]
    fn variables_are_upper_case_names() {
        assert_eq!(api_key_variable("openai"), "OPENAI_API_KEY");
        assert_eq!(api_key_variable("github_models"), "GITHUB_MODELS_API_KEY");
        assert_eq!(base_url_variable("my-llm"), "MY_LLM_BASE_URL");
    }
}
