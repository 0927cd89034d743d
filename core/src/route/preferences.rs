//! What a caller may say about routing: a list of models to fall back on (`models`), and preferences (`provider`), in the
//! words that `OpenRouter` made common. A member that would have no effect here is refused, not ignored.

use serde::Deserialize;

use crate::error::{Code, Error};
use crate::format::body::RoutingFields;
use crate::money::MicroUsd;

/// The most models that a caller may name to fall back on.
const MAX_MODELS: usize = 16;

/// A caller's preferences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Preferences {
    /// Providers that come first, in this order.
    pub order: Vec<String>,
    /// Only these providers, if there are any.
    pub only: Vec<String>,
    /// Not these providers.
    pub ignore: Vec<String>,
    /// No model that costs more, or whose price is not known.
    pub max_price: MaxPrice,
    /// What comes first where several would do.
    pub sort: Option<Sort>,
    /// Whether another model or provider may be asked when the first fails. Default: yes.
    pub allow_fallbacks: Option<bool>,
    /// No provider that would have to drop a parameter of this request.
    pub require_parameters: bool,
}

/// The highest price.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaxPrice {
    /// US dollars per million input tokens.
    pub prompt: Option<MicroUsd>,
    /// US dollars per million output tokens.
    pub completion: Option<MicroUsd>,
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// The cheapest.
    Price,
    /// The fastest of late.
    Latency,
}

impl Preferences {
    /// Reads a request's `provider`.
    pub fn read(fields: RoutingFields<'_>) -> Result<Preferences, Error> {
        let Some(text) = fields.provider else { return Ok(Preferences::default()) };
        serde_json::from_str(text).map_err(|error| {
            // Its place would be one in the member, not in the body.
            let words = error.to_string();
            let what = words.split(" at line ").next().unwrap_or_default();
            Error::new(Code::InvalidValue, format!("'provider' is not what it can be: {what}"))
                .with_param("provider")
        })
    }
}

/// Reads a request's `models`: what to fall back on, in order.
pub fn fallbacks(fields: RoutingFields<'_>) -> Result<Vec<String>, Error> {
    let Some(text) = fields.models else { return Ok(Vec::new()) };
    let wrong = |what: String| Err(Error::new(Code::InvalidValue, what).with_param("models"));
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(models) if models.len() > MAX_MODELS => {
            wrong(format!("'models' has {} models; at most {MAX_MODELS} are possible", models.len()))
        }
        Ok(models) if models.iter().any(|name| name.trim().is_empty()) => {
            wrong("'models' has an empty name".to_owned())
        }
        Ok(models) => Ok(models),
        Err(_) => wrong("'models' must be an array of model names".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferences(text: &str) -> Result<Preferences, String> {
        let fields = RoutingFields { provider: Some(text), ..RoutingFields::default() };
        Preferences::read(fields).map_err(|error| error.message)
    }

    #[test]
    fn reads_preferences_and_refuses_what_has_no_effect() {
        let read = preferences(
            r#"{"order":["a"],"only":["a","b"],"ignore":[],"max_price":{"prompt":1,"completion":2.5},"sort":"price","allow_fallbacks":false}"#,
        )
        .unwrap();
        assert_eq!(read.max_price.completion, Some(MicroUsd(2_500_000)));
        assert_eq!((read.sort, read.allow_fallbacks), (Some(Sort::Price), Some(false)));
        assert_eq!(Preferences::read(RoutingFields::default()).unwrap(), Preferences::default());
        for (text, part) in [
            (r#"{"data_collection":"deny"}"#, "unknown field `data_collection`"),
            (r#"{"sort":"beauty"}"#, "unknown variant `beauty`"),
            (r#"{"max_price":{"prompt":-1}}"#, "0 or more"),
            (r#""groq""#, "invalid type"),
        ] {
            let error = preferences(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn reads_fallbacks() {
        let read = |text: &str| {
            let fields = RoutingFields { models: Some(text), ..RoutingFields::default() };
            fallbacks(fields).map_err(|error| error.message)
        };
        assert_eq!(read(r#"["a","b/c"]"#).unwrap(), ["a", "b/c"]);
        assert!(fallbacks(RoutingFields::default()).unwrap().is_empty());
        assert!(read(r#""a""#).unwrap_err().contains("must be an array"));
        assert!(read(r#"[" "]"#).unwrap_err().contains("empty name"));
    }
}
