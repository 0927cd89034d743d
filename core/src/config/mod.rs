//! The operator's configuration: what `gateway.toml` may say.
//!
//! The schema is the types below. The build reads `gateway.toml` through them, so a misspelt or impossible setting fails
//! the build and not a call; what the Worker carries is the validated result as JSON. In development and in tests the
//! variable `GATEWAY_CONFIG` (JSON, the same members) changes it as a JSON Merge Patch (RFC 7396).
//!
//! Secrets are not configuration: they come from Worker secrets (see [`crate::key`] and [`crate::catalog`]).

mod base_url;
mod limits;
mod routing;
mod webhook_url;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

pub use base_url::BaseUrl;
pub use limits::Limits;
pub use routing::{Group, ModelSettings, Routing};
pub use webhook_url::WebhookUrl;

use crate::json;
use crate::operation::Format;

/// The most that a limit of one client can be set to; each use is one entry of a list.
pub const MAX_PER_CLIENT: u32 = 1000;
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
    pub responses: ResponseLimits,
    /// Who may ask for a key, and how often.
    pub access: OnboardingConfig,
    /// What anybody may know of usage.
    pub analytics: Analytics,
    /// What an issued key may do, by name.
    pub policies: BTreeMap<String, Policy>,
    /// How calls are charged.
    pub ledger: Ledger,
    /// Who is told about requests for keys.
    pub webhook: Webhook,
    /// How claim links are sent.
    pub email: Email,
    /// How calls find their upstream.
    pub routing: Routing,
    /// Names for models: `fast = "groq/llama-3.1-8b-instant"`.
    pub aliases: BTreeMap<String, String>,
    /// Names for several models each.
    pub groups: BTreeMap<String, Group>,
    /// What the operator says of single models, by `provider/model`.
    pub models: BTreeMap<String, ModelSettings>,
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
pub struct ResponseLimits {
    /// The largest whole answer, and the largest single event of a stream, in bytes.
    pub max_bytes: u32,
}

impl Default for ResponseLimits {
    fn default() -> Self {
        ResponseLimits { max_bytes: 16 * 1024 * 1024 }
    }
}

/// Who may ask for a key, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OnboardingConfig {
    /// Requests for keys that one client may make in any 24 hours.
    pub requests_per_day: u32,
    /// Failed authentications that one client may have in any minute before it gets 429.
    pub failed_auth_per_minute: u32,
    /// Policies of the requests that strangers make.
    pub policies: Vec<String>,
    /// How long a claim link works, in hours.
    pub claim_hours: u32,
}

impl Default for OnboardingConfig {
    fn default() -> Self {
        OnboardingConfig {
            requests_per_day: 5,
            failed_auth_per_minute: 100,
            policies: Vec::new(),
            claim_hours: 72,
        }
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
    /// Endpoints: paths of [`crate::routes::inference_endpoints`]. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<String>>,
    /// How much, of all models together.
    pub limits: Limits,
    /// How much of some models, besides: by `provider/model`, `provider/*`, an alias, a group or `auto`.
    pub model_limits: BTreeMap<String, Limits>,
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
    /// The address that the paths of its formats are appended to, such as `/chat/completions`. `<PROVIDER>_BASE_URL`
    /// overrides it.
    pub base_url: BaseUrl,
    /// The formats that it serves, each at its usual path under the base URL. Default: chat completions alone.
    #[serde(default = "chat_completions_alone")]
    pub formats: Vec<Format>,
    /// How the gateway authenticates to it.
    #[serde(default)]
    pub auth: Auth,
    /// Ids of models it has, for `GET /v1/models`, for `auto` and for bare model names. Other ids work as `provider/id`.
    #[serde(default)]
    pub models: Vec<String>,
    /// Members of a request that it refuses: they are left out, and the caller is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
    /// Members of a request that it knows by another name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rename: BTreeMap<String, String>,
    /// Whether it stops charging when a call is cancelled. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_stops_billing: Option<bool>,
}

fn chat_completions_alone() -> Vec<Format> {
    vec![Format::ChatCompletions]
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
pub struct ConfigError(pub(crate) String);

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads JSON that has been through the build, with an optional patch on top. The rules that the types alone cannot
    /// state are in [`crate::check`].
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
                    Config::deserialize(&config)
                })
            }
        };
        config.map_err(|error| ConfigError(error.to_string()))
    }

    /// The first of some policies that does not exist.
    pub fn check_policies<'p>(&self, policies: &'p [String]) -> Result<(), &'p str> {
        match policies.iter().find(|name| !self.policies.contains_key(name.as_str())) {
            Some(name) => Err(name),
            None => Ok(()),
        }
    }
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
}
