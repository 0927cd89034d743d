//! The operator's configuration: what `gateway.toml` may say.
//!
//! The schema is the types below. The build reads `gateway.toml` through them, so a misspelt or impossible setting fails
//! the build and not a call; what the Worker carries is the validated result as JSON. In development and in tests the
//! variable `GATEWAY_CONFIG` (JSON, the same members) changes it as a JSON Merge Patch (RFC 7396).
//!
//! Secrets are not configuration: they come from Worker secrets (see [`crate::key`] and [`crate::catalog`]).

mod base_url;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use base_url::BaseUrl;

use crate::catalog::PROVIDERS;

/// All settings. Every table and member has a default, and a member that is not listed here is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What is accepted from callers.
    pub requests: Requests,
    /// How long an upstream may take.
    pub timeouts: Timeouts,
    /// What is accepted from upstreams.
    pub answers: Answers,
    /// Names for models: `fast = "groq/llama-3.1-8b-instant"`.
    pub aliases: BTreeMap<String, String>,
    /// Providers beyond the built-in table, by name.
    pub providers: BTreeMap<String, CustomProvider>,
}

/// What is accepted from callers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Requests {
    /// The largest request body, in bytes. An isolate has 128 MB for all its requests.
    pub max_body_bytes: u32,
    /// Whether each call must name a project.
    pub project_id: ProjectIdRule,
}

impl Default for Requests {
    fn default() -> Self {
        Requests { max_body_bytes: 20 * 1024 * 1024, project_id: ProjectIdRule::Optional }
    }
}

/// Whether each call must name a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProjectIdRule {
    /// A plain OpenAI SDK works unchanged.
    Optional,
    /// A call without one is refused.
    Required,
}

/// How long an upstream may take, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// From sending the request to the status line. Providers think before it when the answer is not streamed.
    pub first_byte_ms: u32,
    /// The longest silence inside an answer or a stream.
    pub idle_ms: u32,
    /// How long a stream may be silent before the client gets a comment, so that no proxy takes it for dead, and so that
    /// a client that has left is noticed.
    pub ping_ms: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { first_byte_ms: 300_000, idle_ms: 120_000, ping_ms: 15_000 }
    }
}

/// What is accepted from upstreams.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answers {
    /// The largest whole answer, and the largest single event of a stream, in bytes.
    pub max_bytes: u32,
}

impl Default for Answers {
    fn default() -> Self {
        Answers { max_bytes: 16 * 1024 * 1024 }
    }
}

/// An OpenAI-compatible provider that is not in the built-in table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CustomProvider {
    /// What `/chat/completions` is appended to. `<PROVIDER>_BASE_URL` overrides it.
    pub base_url: BaseUrl,
    /// How it wants to be authenticated to.
    #[serde(default)]
    pub auth: Auth,
    /// Ids of models it has, for `GET /v1/models` and for bare model names. Other ids work as `provider/id`.
    #[serde(default)]
    pub models: Vec<String>,
}

/// How a provider wants to be authenticated to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// `Authorization: Bearer` with the secret `<PROVIDER>_API_KEY`.
    #[default]
    Bearer,
    /// Not at all.
    None,
}

/// What is wrong with a configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads JSON that has been through the build, with an optional patch on top.
    pub fn read(built: &str, patch: Option<&str>) -> Result<Config, ConfigError> {
        let config = match patch {
            None => serde_json::from_str(built),
            Some(patch) => {
                let patch: Value = serde_json::from_str(patch)
                    .map_err(|error| ConfigError(format!("GATEWAY_CONFIG is not JSON: {error}")))?;
                if !patch.is_object() {
                    return Err(ConfigError("GATEWAY_CONFIG is not a JSON object".to_owned()));
                }
                serde_json::from_str(built).and_then(|mut config| {
                    merge(&mut config, patch);
                    serde_json::from_value(config)
                })
            }
        };
        let config: Config = config.map_err(|error| ConfigError(error.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// The rules that the types alone cannot state.
    pub fn check(&self) -> Result<(), ConfigError> {
        let fail = |message: String| Err(ConfigError(message));
        for (member, value) in [
            ("requests.max_body_bytes", self.requests.max_body_bytes),
            ("answers.max_bytes", self.answers.max_bytes),
            ("timeouts.first_byte_ms", self.timeouts.first_byte_ms),
            ("timeouts.idle_ms", self.timeouts.idle_ms),
            ("timeouts.ping_ms", self.timeouts.ping_ms),
        ] {
            if value == 0 {
                return fail(format!("{member} must be greater than 0"));
            }
        }
        for name in self.providers.keys() {
            if !is_provider_name(name) {
                return fail(format!(
                    "providers.{name}: a provider's name is lower-case letters, digits and '-', beginning with a letter"
                ));
            }
            if PROVIDERS.iter().any(|provider| provider.name == name) {
                return fail(format!(
                    "providers.{name} is built in; set {} to change where it lives",
                    crate::catalog::base_url_variable(name)
                ));
            }
        }
        for (provider, settings) in &self.providers {
            if let Some(id) = settings.models.iter().find(|id| id.trim().is_empty()) {
                return fail(format!("providers.{provider}.models has an empty id '{id}'"));
            }
        }
        for (alias, target) in &self.aliases {
            if alias.trim().is_empty() {
                return fail("aliases has an empty name".to_owned());
            }
            let Some((provider, model)) = target.split_once('/') else {
                return fail(format!("aliases.{alias} is '{target}'; it must be provider/model"));
            };
            let known =
                self.providers.contains_key(provider) || PROVIDERS.iter().any(|known| known.name == provider);
            if !known || model.is_empty() {
                return fail(format!("aliases.{alias} is '{target}'; there is no provider '{provider}'"));
            }
        }
        Ok(())
    }
}

fn is_provider_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// RFC 7396: members of the patch replace, `null` removes, objects are merged.
fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (name, value) in patch {
                if value.is_null() {
                    target.remove(&name);
                } else {
                    merge(target.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        (target, Value::Object(patch)) => {
            *target = Value::Object(serde_json::Map::new());
            merge(target, Value::Object(patch));
        }
        (target, patch) => *target = patch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(patch: &str) -> Result<Config, String> {
        let built = serde_json::to_string(&Config::default()).unwrap();
        Config::read(&built, Some(patch)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_patch_changes_what_it_names_and_nothing_else() {
        let config = read(r#"{"timeouts":{"idle_ms":5},"aliases":{"fast":"groq/x"}}"#).unwrap();
        assert_eq!(config.timeouts, Timeouts { idle_ms: 5, ..Timeouts::default() });
        assert_eq!(config.aliases["fast"], "groq/x");
        assert_eq!(config.requests, Requests::default());
        assert_eq!(read(r#"{"timeouts":null}"#).unwrap(), Config::default());
    }

    #[test]
    fn refuses_what_it_would_not_enforce_and_says_where() {
        for (patch, part) in [
            (r#"{"limits":{}}"#, "unknown field `limits`"),
            (r#"{"timeouts":{"idle":5}}"#, "unknown field `idle`"),
            (r#"{"timeouts":{"idle_ms":"5"}}"#, "invalid type: string \"5\""),
            (r#"{"timeouts":{"idle_ms":0}}"#, "timeouts.idle_ms must be greater than 0"),
            (r#"{"timeouts":{"idle_ms":-1}}"#, "invalid value: integer `-1`"),
            (r#"{"requests":{"project_id":"maybe"}}"#, "unknown variant `maybe`"),
            (r#"{"aliases":{"a":"gpt-4"}}"#, "aliases.a is 'gpt-4'; it must be provider/model"),
            (r#"{"aliases":{"a":"nowhere/x"}}"#, "no provider 'nowhere'"),
            (r#"{"aliases":{"":"groq/x"}}"#, "empty name"),
            (r#"{"providers":{"Acme":{"base_url":"https://a.example"}}}"#, "lower-case letters"),
            (r#"{"providers":{"openai":{"base_url":"https://a.example"}}}"#, "OPENAI_BASE_URL"),
            (r#"{"providers":{"acme":{"base_url":"https://user@a.example"}}}"#, "user name"),
            (r#"{"providers":{"acme":{"base_url":"https://a.example","key":"sk"}}}"#, "unknown field `key`"),
            (r#"{"providers":{"acme":{}}}"#, "missing field `base_url`"),
            ("[]", "not a JSON object"),
            ("{", "GATEWAY_CONFIG is not JSON"),
        ] {
            let error = read(patch).unwrap_err();
            assert!(error.contains(part), "{patch}: {error}");
        }
    }
}
