//! The models of the built-in providers, compiled from `core/data/models.jsonl` by `core/build.rs`.

/// What is known of a model. `None` is unknown: not zero, not false.
#[derive(Debug)]
pub struct Model {
    /// A name of [`super::PROVIDERS`].
    pub provider: &'static str,
    /// The id that the provider knows it by.
    pub id: &'static str,
    /// The longest input, in tokens.
    pub context: Option<u32>,
    /// The longest output, in tokens.
    pub max_output: Option<u32>,
    /// What it costs.
    pub price: Price,
    /// Whether it can call tools.
    pub tools: Option<bool>,
    /// Whether it can be held to a JSON schema.
    pub json_schema: Option<bool>,
    /// Whether it sees images.
    pub vision: Option<bool>,
    /// Whether it reasons before it answers.
    pub reasoning: Option<bool>,
}

/// Prices in micro-USD (millionths of a US dollar) per million tokens; `None` is unknown, never free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Input.
    pub input: Option<u64>,
    /// Output.
    pub output: Option<u64>,
    /// Input read from the provider's prompt cache.
    pub cached_input: Option<u64>,
    /// Input written to the provider's prompt cache.
    pub cache_write: Option<u64>,
}

/// When the table was drawn: 2026-11-01, in seconds since 1970. Stands as `created` of the listed models, since no
/// provider publishes that of all of its models.
pub const MODELS_AS_OF: u64 = 1_793_491_200;

include!(concat!(env!("OUT_DIR"), "/models.rs"));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::PROVIDERS;

    #[test]
    fn the_table_is_sorted_and_names_only_known_providers() {
        assert!(MODELS.is_sorted_by(|a, b| (a.provider, a.id) < (b.provider, b.id)));
        assert!(MODELS.len() > 200);
        for model in MODELS {
            assert!(PROVIDERS.iter().any(|provider| provider.name == model.provider), "{model:?}");
        }
    }

    #[test]
    fn prices_are_exact_integers_and_unknown_ones_are_none() {
        let find = |id: &str| MODELS.iter().find(|model| model.id == id).unwrap();
        assert_eq!(
            find("gpt-4o-mini").price,
            Price {
                input: Some(150_000),
                output: Some(600_000),
                cached_input: Some(75_000),
                cache_write: None
            }
        );
        assert!(MODELS.iter().any(|model| model.price.input.is_none()));
    }
}
