//! A caller's routing preferences: a list of fallback models (`models`) and an object of preferences (`provider`), both
//! as in `OpenRouter`'s API. A field that would have no effect is rejected, not ignored.

use serde::Deserialize;

use crate::config::AUTO;
use crate::error::{Code, Error};
use crate::format::body::RoutingFields;
use crate::money::MicroUsd;

/// The maximum number of fallback models.
const MAX_MODELS: usize = 16;

/// A caller's preferences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Preferences {
    /// Providers that come first, in this order.
    pub order: Vec<String>,
    /// The only providers that may be used; empty for all.
    pub only: Vec<String>,
    /// Providers that must not be used.
    pub ignore: Vec<String>,
    /// The maximum price. Models whose price is not known are skipped too.
    pub max_price: MaxPrice,
    /// The order of models that qualify equally.
    pub sort: Option<Sort>,
    /// Allow another model or provider if the first fails. Default: `true`. See also [`allows_repeats`].
    pub allow_fallbacks: Option<bool>,
    /// Skip providers that would have to drop a parameter of this request.
    pub require_parameters: bool,
}

/// The maximum price.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaxPrice {
    /// US dollars per million input tokens.
    pub prompt: Option<MicroUsd>,
    /// US dollars per million output tokens.
    pub completion: Option<MicroUsd>,
}

/// The criterion by which models are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// The cheapest first.
    Price,
    /// The fastest first, by recent latency.
    Latency,
}

impl Preferences {
    /// Reads the field `provider` of a request.
    pub fn read(fields: RoutingFields<'_>) -> Result<Preferences, Error> {
        let Some(text) = fields.provider else { return Ok(Preferences::default()) };
        serde_json::from_str(text).map_err(|error| {
            // Its position would be relative to the field, not to the body.
            let message = error.to_string();
            let what = message.split(" at line ").next().unwrap_or_default();
            Error::new(Code::InvalidValue, format!("'provider' is invalid: {what}")).with_param("provider")
        })
    }
}

/// Reads the field `models` of a request: the fallback models, in order.
pub fn fallbacks(fields: RoutingFields<'_>) -> Result<Vec<String>, Error> {
    let Some(text) = fields.models else { return Ok(Vec::new()) };
    let wrong = |what: String| Err(Error::new(Code::InvalidValue, what).with_param("models"));
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(models) if models.len() > MAX_MODELS => {
            wrong(format!("'models' has {} models; the limit is {MAX_MODELS}", models.len()))
        }
        Ok(models) if models.iter().any(|name| name.trim().is_empty()) => {
            wrong("'models' has an empty name".to_owned())
        }
        Ok(models) => Ok(models),
        Err(_) => wrong("'models' must be an array of model names".to_owned()),
    }
}

/// Returns `true` if the caller explicitly allows fallbacks: then a call that must not be served twice may be sent again
/// after a failure that leaves open if it was served.
pub fn allows_repeats(fields: RoutingFields<'_>) -> Result<bool, Error> {
    Ok(Preferences::read(fields)?.allow_fallbacks == Some(true))
}

/// The name in a request by which limits find it: `auto` if it may fall back to that, otherwise `model`. Limits of all
/// other names apply to the models behind the name.
pub fn limited_name<'m>(fields: RoutingFields<'_>, model: &'m str) -> &'m str {
    let names_auto = fallbacks(fields).is_ok_and(|models| models.iter().any(|name| name == AUTO));
    if names_auto { AUTO } else { model }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferences(text: &str) -> Result<Preferences, String> {
        let fields = RoutingFields { provider: Some(text), ..RoutingFields::default() };
        Preferences::read(fields).map_err(|error| error.message)
    }

    #[test]
    fn reads_preferences_and_rejects_fields_without_effect() {
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
        let limited = |text: &'static str| {
            limited_name(RoutingFields { models: Some(text), ..RoutingFields::default() }, "a")
        };
        assert_eq!((limited(r#"["b"]"#), limited(r#"["b","auto"]"#), limited("7")), ("a", "auto", "a"));
        for (provider, allows) in
            [(None, false), (Some("{}"), false), (Some(r#"{"allow_fallbacks":true}"#), true)]
        {
            let fields = RoutingFields { provider, ..RoutingFields::default() };
            assert_eq!(allows_repeats(fields), Ok(allows));
        }
        assert!(read(r#""a""#).unwrap_err().contains("must be an array"));
        assert!(read(r#"[" "]"#).unwrap_err().contains("empty name"));
    }
}
