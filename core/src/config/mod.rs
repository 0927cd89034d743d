//! The operator's configuration: what `gateway.toml` may say.
//!
//! The schema is the types below. The build reads `gateway.toml` through them, so a misspelt or impossible setting fails
//! the build and not a call; what the Worker carries is the validated result as JSON. In development and in tests the
//! variable `GATEWAY_CONFIG` (JSON, the same members) changes it as a JSON Merge Patch (RFC 7396).
//!
//! Secrets are not configuration: they come from Worker secrets (see [`crate::key`] and [`crate::catalog`]).

mod base_url;
mod routing;
mod webhook_url;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

pub use base_url::BaseUrl;
pub use routing::{Group, MicroUsd, ModelSettings, Routing};
pub use webhook_url::WebhookUrl;

use crate::access::sliding_log::MAX_LIMIT;
use crate::access::submission::email;
use crate::catalog::{PROVIDERS, facts};
use crate::json;
use crate::key::ENDPOINTS;
use crate::ledger::Limits;
use crate::name::is_name;
use crate::table::Table;

/// The model name by which the gateway chooses.
pub const AUTO: &str = "auto";

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
    /// Who may ask for a key, and how often.
    pub access: Access,
    /// What anybody may know of usage.
    pub analytics: Analytics,
    /// What an issued key may do, by name.
    pub policies: Table<Policy>,
    /// How calls are charged.
    pub ledger: Ledger,
    /// Who is told about requests for keys.
    pub webhook: Webhook,
    /// How claim links are sent.
    pub email: Email,
    /// How calls find their upstream.
    pub routing: Routing,
    /// Names for models: `fast = "groq/llama-3.1-8b-instant"`.
    pub aliases: Table<String>,
    /// Names for several models each.
    pub groups: Table<Group>,
    /// What the operator says of single models, by `provider/model`.
    pub models: Table<ModelSettings>,
    /// Providers beyond the built-in table, by name.
    pub providers: Table<CustomProvider>,
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
    /// From the request to the answer or, of a stream, its beginning: all attempts and waits together.
    pub total_ms: u32,
    /// From sending a request to the status line. Providers think before it when the answer is not streamed.
    pub first_byte_ms: u32,
    /// The same where the answer is streamed.
    pub stream_first_byte_ms: u32,
    /// The longest silence between a stream's status line and its first content, while another upstream could be asked.
    pub stall_ms: u32,
    /// The longest silence inside an answer or a stream.
    pub idle_ms: u32,
    /// How long a stream may be silent before the client gets a comment, so that no proxy takes it for dead, and so that
    /// a client that has left is noticed.
    pub ping_ms: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            total_ms: 600_000,
            first_byte_ms: 300_000,
            stream_first_byte_ms: 60_000,
            stall_ms: 20_000,
            idle_ms: 120_000,
            ping_ms: 15_000,
        }
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

/// Who may ask for a key, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// Requests for keys that one client may make in any 24 hours.
    pub requests_per_day: u32,
    /// Failed authentications that one client may have in any minute before it gets 429.
    pub failed_auth_per_minute: u32,
    /// Policies of the requests that strangers make.
    pub policies: Vec<String>,
    /// How long a claim link works, in hours.
    pub claim_hours: u32,
}

impl Default for Access {
    fn default() -> Self {
        Access { requests_per_day: 5, failed_auth_per_minute: 100, policies: Vec::new(), claim_hours: 72 }
    }
}

/// What anybody may know of usage at `GET /v1/analytics`. Operators may know all of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Analytics {
    /// Whether anybody may ask. If not, only operators may.
    pub public: bool,
    /// Whether the names of projects are told to anybody.
    pub projects: bool,
}

impl Default for Analytics {
    fn default() -> Self {
        Analytics { public: true, projects: true }
    }
}

/// What an issued key may do. See [`crate::key::IssuedKey`] for how several go together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// A line for people.
    pub description: String,
    /// Models: `provider/model`, `provider/*`, an alias, a group or `auto`. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// Endpoints: paths of [`ENDPOINTS`]. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<String>>,
    /// How much, of all models together.
    pub limits: Limits,
    /// How much of some models, besides: by `provider/model`, `provider/*`, an alias, a group or `auto`.
    pub model_limits: Table<Limits>,
    /// How long a key lives, in days from its making. Absent: until it is revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_days: Option<u32>,
}

/// How calls are charged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ledger {
    /// What becomes of a call whose price is not known, where its key has a limit in US dollars.
    pub unknown_price: UnknownPrice,
}

/// What becomes of a call whose price is not known, where its key has a limit in US dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownPrice {
    /// It is refused: what cannot be counted cannot be limited.
    #[default]
    Refuse,
    /// It counts as a request, with its tokens, and costs nothing.
    CountTokens,
}

/// Who is told about requests for keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhook {
    /// Where notifications are posted to; `https`, or this machine. Absent: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<WebhookUrl>,
}

/// How claim links are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Email {
    /// The sender; needs the binding `GATEWAY_EMAIL`. Absent: nothing is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
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
    /// Ids of models it has, for `GET /v1/models`, for `auto` and for bare model names. Other ids work as `provider/id`.
    #[serde(default)]
    pub models: Vec<String>,
    /// Members of a request that it refuses: they are left out, and the caller is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
    /// Members of a request that it knows by another name.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub rename: Table<String>,
    /// Whether it stops charging when a call is cancelled. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_stops_billing: Option<bool>,
}

/// How a provider wants to be authenticated to, with the secret `<PROVIDER>_API_KEY`. Written as `"bearer"`, `"none"`, or
/// the name of the header that the key is to stand in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer`.
    #[default]
    Bearer,
    /// Not at all.
    None,
    /// The bare key in this header: `api-key`.
    Header(Cow<'static, str>),
}

impl<'de> Deserialize<'de> for Auth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "bearer" => Ok(Auth::Bearer),
            "none" => Ok(Auth::None),
            name if name.contains("key")
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') =>
            {
                Ok(Auth::Header(Cow::Owned(name.to_owned())))
            }
            _ => Err(serde::de::Error::custom(
                "auth must be \"bearer\", \"none\", or the lower-case name of a header for keys, as \"api-key\"",
            )),
        }
    }
}

impl Serialize for Auth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Auth::Bearer => "bearer",
            Auth::None => "none",
            Auth::Header(name) => name,
        })
    }
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
    #[inline] // So that it is compiled with the Worker, for the least size: 3 KB of the Wasm, gzipped.
    pub fn read(built: &str, patch: Option<&str>) -> Result<Config, ConfigError> {
        let config = match patch {
            None => json::read(built),
            Some(patch) => {
                let patch: Value = serde_json::from_str(patch)
                    .map_err(|error| ConfigError(format!("GATEWAY_CONFIG is not JSON: {error}")))?;
                if !patch.is_object() {
                    return Err(ConfigError("GATEWAY_CONFIG is not a JSON object".to_owned()));
                }
                serde_json::from_str(built).and_then(|mut config: Value| {
                    merge(&mut config, patch);
                    json::read_value(&config)
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
            ("timeouts.total_ms", self.timeouts.total_ms),
            ("timeouts.first_byte_ms", self.timeouts.first_byte_ms),
            ("timeouts.stream_first_byte_ms", self.timeouts.stream_first_byte_ms),
            ("timeouts.stall_ms", self.timeouts.stall_ms),
            ("timeouts.idle_ms", self.timeouts.idle_ms),
            ("timeouts.ping_ms", self.timeouts.ping_ms),
            ("routing.hold_ms", self.routing.hold_ms),
            ("routing.hold_bytes", self.routing.hold_bytes),
            ("routing.backoff_ms", self.routing.backoff_ms),
        ] {
            if value == 0 {
                return fail(format!("{member} must be greater than 0"));
            }
        }
        self.check_access()?;
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
        self.check_models()
    }

    /// The rules about names of models.
    fn check_models(&self) -> Result<(), ConfigError> {
        let fail = |message: String| Err(ConfigError(message));
        let routing = &self.routing;
        if !(1..=10).contains(&routing.max_attempts) || routing.retries > 5 {
            return fail(
                "routing.max_attempts must be between 1 and 10, routing.retries at most 5".to_owned(),
            );
        }
        for pattern in routing.auto.iter().flatten() {
            self.check_address("routing.auto", pattern)?;
        }
        for (alias, target) in &self.aliases {
            if alias.trim().is_empty() {
                return fail("aliases has an empty name".to_owned());
            }
            self.check_address(&format!("aliases.{alias}"), target)?;
        }
        for (name, group) in &self.groups {
            if name.trim().is_empty() || name == AUTO || self.aliases.contains_key(name) {
                return fail(format!("groups.{name}: the name is empty, '{AUTO}', or that of an alias"));
            }
            if group.models.is_empty() {
                return fail(format!("groups.{name} has no models"));
            }
            for (index, model) in group.models.iter().enumerate() {
                self.check_address(&format!("groups.{name}.models"), model)?;
                if group.models.iter().take(index).any(|earlier| earlier == model) {
                    return fail(format!("groups.{name}.models has '{model}' twice"));
                }
            }
            if let Some(weights) = &group.weights
                && (weights.len() != group.models.len()
                    || weights.iter().any(|weight| !(1..=1000).contains(weight)))
            {
                return fail(format!(
                    "groups.{name}.weights must be one number from 1 to 1000 for each model"
                ));
            }
        }
        for (address, settings) in &self.models {
            self.check_address("models", address)?;
            if settings.priority.is_some_and(|priority| priority > 100) {
                return fail(format!("models.\"{address}\".priority must be between 0 and 100"));
            }
            if let Some(like) = &settings.like
                && like.split_once('/').is_none_or(|(provider, id)| facts(provider, id).is_none())
            {
                return fail(format!("models.\"{address}\".like is '{like}', which is not in the catalogue"));
            }
        }
        Ok(())
    }

    fn check_address(&self, place: &str, target: &str) -> Result<(), ConfigError> {
        let Some((provider, model)) = target.split_once('/') else {
            return Err(ConfigError(format!("{place} is '{target}'; it must be provider/model")));
        };
        if !self.is_provider(provider) || model.is_empty() {
            return Err(ConfigError(format!("{place} is '{target}'; there is no provider '{provider}'")));
        }
        Ok(())
    }

    fn is_provider(&self, name: &str) -> bool {
        self.providers.contains_key(name) || PROVIDERS.iter().any(|known| known.name == name)
    }

    /// The rules about keys.
    fn check_access(&self) -> Result<(), ConfigError> {
        let fail = |message: String| Err(ConfigError(message));
        for (member, value, max) in [
            ("access.requests_per_day", self.access.requests_per_day, MAX_LIMIT),
            ("access.failed_auth_per_minute", self.access.failed_auth_per_minute, MAX_LIMIT),
            ("access.claim_hours", self.access.claim_hours, 24 * 365),
        ] {
            if !(1..=max).contains(&value) {
                return fail(format!("{member} must be between 1 and {max}"));
            }
        }
        if let Err(name) = self.check_policies(&self.access.policies) {
            return fail(format!("access.policies names '{name}', which is not in [policies]"));
        }
        for (name, policy) in &self.policies {
            if !is_name(name, 64) {
                return fail(format!(
                    "policies.{name}: a policy's name is 1 to 64 characters of [A-Za-z0-9._:-]"
                ));
            }
            if policy.expires_days.is_some_and(|days| !(1..=36_500).contains(&days)) {
                return fail(format!("policies.{name}.expires_days must be between 1 and 36500"));
            }
            check_limits(&format!("policies.{name}.limits"), &policy.limits)?;
            for (models, limits) in &policy.model_limits {
                let place = format!("policies.{name}.model_limits");
                self.check_model_pattern(models)
                    .map_err(|what| ConfigError(format!("{place}: '{models}' {what}")))?;
                check_limits(&format!("{place}.\"{models}\""), limits)?;
            }
            for model in policy.models.iter().flatten() {
                self.check_model_pattern(model)
                    .map_err(|what| ConfigError(format!("policies.{name}.models: '{model}' {what}")))?;
            }
            if let Some(path) =
                policy.endpoints.iter().flatten().find(|path| !ENDPOINTS.contains(&path.as_str()))
            {
                let known = ENDPOINTS.join(", ");
                return fail(format!("policies.{name}.endpoints: '{path}' is none of {known}"));
            }
        }
        if let Some(Err(error)) = self.email.from.as_deref().map(email) {
            return fail(format!("email.from: {}", error.message));
        }
        Ok(())
    }

    /// The first of some policies that does not exist.
    pub fn check_policies<'p>(&self, policies: &'p [String]) -> Result<(), &'p str> {
        match policies.iter().find(|name| !self.policies.contains_key(name.as_str())) {
            Some(name) => Err(name),
            None => Ok(()),
        }
    }

    /// Whether a text can stand in a list of models; the error says why not.
    pub fn check_model_pattern(&self, pattern: &str) -> Result<(), String> {
        if pattern == AUTO || self.aliases.contains_key(pattern) || self.groups.contains_key(pattern) {
            return Ok(());
        }
        match pattern.split_once('/') {
            Some((provider, model)) if !model.is_empty() && pattern.len() <= 200 => {
                if self.is_provider(provider) {
                    Ok(())
                } else {
                    Err("begins with no provider that is known here".to_owned())
                }
            }
            _ => Err("must be provider/model, provider/*, an alias, a group or 'auto'".to_owned()),
        }
    }
}

/// A limit of 0 is a key that may do nothing, and more likely a mistake.
fn check_limits(place: &str, limits: &Limits) -> Result<(), ConfigError> {
    match limits.table().into_iter().find(|(.., amount)| *amount == Some(0)) {
        Some((name, ..)) => Err(ConfigError(format!("{place}.{name} must be greater than 0"))),
        None => Ok(()),
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
        assert_eq!(config.aliases.get("fast").unwrap(), "groq/x");
        assert_eq!(config.requests, Requests::default());
        assert_eq!(read(r#"{"timeouts":null}"#).unwrap(), Config::default());
    }

    #[test]
    fn refuses_what_it_would_not_enforce_and_says_where() {
        for (patch, part) in [
            (r#"{"limits":{}}"#, "unknown field `limits`"),
            (r#"{"timeouts":{"idle":5}}"#, "unknown field `idle`"),
            (r#"{"analytics":{"public":"no"}}"#, "invalid type: string \"no\""),
            (r#"{"analytics":{"private":true}}"#, "unknown field `private`"),
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
            (r#"{"access":{"requests_per_day":0}}"#, "access.requests_per_day must be between 1 and 1000"),
            (r#"{"access":{"policies":["gold"]}}"#, "'gold', which is not in [policies]"),
            (r#"{"policies":{"a b":{}}}"#, "policies.a b: a policy's name"),
            (r#"{"policies":{"a":{"rpm":5}}}"#, "unknown field `rpm`"),
            (
                r#"{"policies":{"a":{"limits":{"requests_per_minute":0}}}}"#,
                "policies.a.limits.requests_per_minute must be greater than 0",
            ),
            (
                r#"{"policies":{"a":{"model_limits":{"groq/*":{"usd_total":0}}}}}"#,
                "policies.a.model_limits.\"groq/*\".usd_total must be greater than 0",
            ),
            (r#"{"policies":{"a":{"model_limits":{"gpt-4o":{}}}}}"#, "'gpt-4o' must be provider/model"),
            (r#"{"policies":{"a":{"limits":{"usd_per_day":0.0000001}}}}"#, "at most six decimals"),
            (r#"{"policies":{"a":{"limits":{"usd_per_hour":1}}}}"#, "unknown field `usd_per_hour`"),
            (r#"{"ledger":{"unknown_price":"guess"}}"#, "unknown variant `guess`"),
            (r#"{"policies":{"a":{"models":["gpt-4o"]}}}"#, "'gpt-4o' must be provider/model"),
            (r#"{"policies":{"a":{"models":["nowhere/*"]}}}"#, "begins with no provider"),
            (
                r#"{"policies":{"a":{"endpoints":["/v1/other"]}}}"#,
                "'/v1/other' is none of /v1/chat/completions",
            ),
            (
                r#"{"webhook":{"url":"http://example.com/hook"}}"#,
                "webhook.url must begin with https://, except on this machine",
            ),
            (r#"{"email":{"from":"nobody"}}"#, "email.from: 'email' must be an e-mail address"),
            ("[]", "not a JSON object"),
            ("{", "GATEWAY_CONFIG is not JSON"),
        ] {
            let error = read(patch).unwrap_err();
            assert!(error.contains(part), "{patch}: {error}");
        }
    }
}
