//! The parts of a request by which providers choose more than its model: other models, other services, other prices.
//!
//! A provider that routes calls itself (an aggregator, a proxy) reads such fields, and parts of the model's id, from the
//! body, which the gateway forwards. `route::boundary` checks them against the policy of the caller's key.

/// The choices that a provider leaves to a request: a column of the provider table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// Fields of the body.
    pub fields: &'static [(&'static str, Choice)],
    /// Parts of the model's id, in lower case. A part that ends with `/` is the beginning of the id; any other is
    /// anywhere in it.
    pub model_parts: &'static [(&'static str, Choice)],
}

/// The effect of a part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Models of the same provider, by their ids: a string or an array of strings.
    Models,
    /// Any model of the same provider.
    AnyModel,
    /// Services of the provider beyond the model, or settings that are stored at the provider.
    Services,
    /// Services, if the field lists a tool of another type than the caller's own functions.
    Tools,
    /// The host of the model, or how it runs the call, and with it the price.
    Price,
}

/// <https://openrouter.ai/docs/api-reference/parameters>, <https://openrouter.ai/docs/features/model-routing>,
/// <https://openrouter.ai/docs/features/presets>
pub(super) const OPENROUTER: Choices = Choices {
    fields: &[
        ("models", Choice::Models),
        ("fallbacks", Choice::Services),
        ("route", Choice::AnyModel),
        ("provider", Choice::Price),
        ("service_tier", Choice::Price),
        ("speed", Choice::Price),
        ("transforms", Choice::Services),
        ("plugins", Choice::Services),
        ("preset", Choice::Services),
        ("tools", Choice::Tools),
        ("web_search_options", Choice::Services),
    ],
    model_parts: &[
        ("openrouter/", Choice::AnyModel),
        (":online", Choice::Services),
        ("@", Choice::Services),
        (":", Choice::Price),
    ],
};

/// A refusal goes to the models that this field names. <https://docs.claude.com/en/api/messages>
pub(super) const ANTHROPIC: Choices =
    Choices { fields: &[("fallbacks", Choice::Services)], model_parts: &[] };

/// A preset chooses the model, its instructions and its tools. <https://docs.perplexity.ai/docs/agent-api/presets>
pub(super) const PERPLEXITY: Choices =
    Choices { fields: &[("preset", Choice::Services), ("models", Choice::Models)], model_parts: &[] };

/// A suffix names the host or the order of hosts. <https://huggingface.co/docs/inference-providers>
pub(super) const HUGGING_FACE: Choices =
    Choices { fields: &[("provider", Choice::Price)], model_parts: &[(":", Choice::Price)] };

/// `groq/compound` runs the models and tools that this field names. <https://console.groq.com/docs/compound>
pub(super) const GROQ: Choices =
    Choices { fields: &[("compound_custom", Choice::Services)], model_parts: &[] };

/// <https://docs.nano-gpt.com/api-reference/endpoint/chat-completion>
pub(super) const NANO_GPT: Choices = Choices {
    fields: &[
        ("provider", Choice::Price),
        ("linkup", Choice::Services),
        ("webSearch", Choice::Services),
        ("memory", Choice::Services),
    ],
    model_parts: &[
        ("auto-model", Choice::AnyModel),
        (":online", Choice::Services),
        (":memory", Choice::Services),
        (":", Choice::Price),
    ],
};

/// <https://docs.venice.ai/api-reference/endpoint/chat/completions>
pub(super) const VENICE: Choices =
    Choices { fields: &[("venice_parameters", Choice::Services)], model_parts: &[(":", Choice::Services)] };

/// For any compatible endpoint, which may be an aggregator, or a proxy that routes. The names are those of `OpenRouter` and
/// of `LiteLLM` (<https://docs.litellm.ai/docs/proxy/reliability>).
pub(super) const ANY: Choices = Choices {
    fields: &[
        ("models", Choice::Models),
        ("fallbacks", Choice::Services),
        ("context_window_fallbacks", Choice::Services),
        ("content_policy_fallbacks", Choice::Services),
        ("router_settings_override", Choice::Services),
        ("specific_deployment", Choice::Services),
        ("user_config", Choice::Services),
        ("api_base", Choice::Services),
        ("base_url", Choice::Services),
        ("extra_body", Choice::Services),
        ("route", Choice::AnyModel),
        ("provider", Choice::Price),
        ("transforms", Choice::Services),
        ("plugins", Choice::Services),
        ("preset", Choice::Services),
        ("tools", Choice::Tools),
    ],
    model_parts: &[
        (":online", Choice::Services),
        ("@preset", Choice::Services),
        (":nitro", Choice::Price),
        (":floor", Choice::Price),
    ],
};

impl Choices {
    /// The choice that a field makes. Some upstreams do not distinguish upper and lower case in the names of fields.
    pub fn of_field(&self, name: &str) -> Option<Choice> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, choice)| *choice)
    }

    /// The choices that the parts of a model's id make.
    pub fn of_model(&self, id: &str) -> impl Iterator<Item = Choice> {
        let has = |part: &str| {
            let mut places = id.as_bytes().windows(part.len());
            let is_part = |place: &[u8]| place.eq_ignore_ascii_case(part.as_bytes());
            if part.ends_with('/') { places.next().is_some_and(is_part) } else { places.any(is_part) }
        };
        self.model_parts.iter().filter(move |(part, _)| has(part)).map(|(_, choice)| *choice)
    }
}
