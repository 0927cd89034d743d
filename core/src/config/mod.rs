//! The operator's configuration: the schema of `gateway.toml`.
//!
//! The types below are the schema. The build reads `gateway.toml` with them, so an unknown or impossible setting fails
//! the build, not a call; the Worker contains the validated configuration as JSON. In development and in tests, the
//! variable `GATEWAY_CONFIG` (JSON with the same fields) changes it as a JSON Merge Patch (RFC 7396).
//!
//! Secrets are not configuration: they come from Worker secrets (see [`crate::key`] and [`crate::catalog`]).

mod alerts;
mod base_url;
mod cloudflare_access;
mod limits;
mod routing;
mod webhook_url;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

pub use alerts::Alerts;
pub use base_url::BaseUrl;
pub use cloudflare_access::CloudflareAccess;
pub use limits::Limits;
pub use routing::{Group, ModelSettings, Routing};
pub use webhook_url::WebhookUrl;

use crate::json;
use crate::operation::Format;

/// The maximum value of a per-client limit; each use takes one entry of a list.
pub const MAX_PER_CLIENT: u32 = 1000;
/// The model name that lets the gateway choose a model.
pub const AUTO: &str = "auto";

/// All settings. Every table and field has a default; unknown fields are rejected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Limits of requests.
    pub requests: Requests,
    /// Time limits of upstreams.
    pub timeouts: Timeouts,
    /// Limits of upstream responses.
    pub responses: ResponseLimits,
    /// Key requests and authentication.
    pub access: OnboardingConfig,
    /// Sign-in of operators with Cloudflare Access.
    pub cloudflare_access: CloudflareAccess,
    /// Public usage statistics.
    pub analytics: Analytics,
    /// The list of recent calls.
    pub calls: Calls,
    /// Log lines.
    pub log: Log,
    /// The permissions of issued keys, by name of the policy.
    pub policies: BTreeMap<String, Policy>,
    /// Charging of calls.
    pub ledger: Ledger,
    /// Notifications of key requests.
    pub webhook: Webhook,
    /// E-mails with claim links.
    pub email: Email,
    /// Alerts to operators.
    pub alerts: Alerts,
    /// OpenTelemetry.
    pub telemetry: Telemetry,
    /// Routing of calls.
    pub routing: Routing,
    /// Names for models: `fast = "groq/llama-3.1-8b-instant"`.
    pub aliases: BTreeMap<String, String>,
    /// Names for several models each.
    pub groups: BTreeMap<String, Group>,
    /// Facts about single models that override the catalogue, by `provider/model`.
    pub models: BTreeMap<String, ModelSettings>,
    /// Providers beyond the built-in table, by name.
    pub providers: BTreeMap<String, CustomProvider>,
}

/// Limits of requests.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Requests {
    /// The largest request body, in bytes.
    pub max_body_bytes: u32,
    /// The largest form with files, in bytes.
    pub max_upload_bytes: u32,
    /// The most that all calls of an isolate hold together, in bytes: request bodies, whole responses, held starts of
    /// streams and incomplete events. An isolate has 128 MB, and a body is there twice while it is sent; a form with files
    /// is there once, and counts half.
    pub max_held_bytes: u32,
    /// The rule on project ids.
    pub project_id: ProjectIdRule,
}

impl Default for Requests {
    fn default() -> Self {
        Requests {
            max_body_bytes: 20 * 1024 * 1024,
            // A file of 25 MB, which is what providers accept, and the texts beside it.
            max_upload_bytes: 26 * 1024 * 1024,
            max_held_bytes: 40 * 1024 * 1024,
            project_id: ProjectIdRule::Optional,
        }
    }
}

/// The rule on project ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProjectIdRule {
    /// Calls may omit it, so a plain OpenAI SDK works unchanged.
    Optional,
    /// Calls without one are rejected.
    Required,
}

/// Time limits of calls, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// From the request to the whole response or the start of a stream, including all attempts and waits.
    pub total_ms: u32,
    /// From the head of a request to the end of its body.
    pub body_ms: u32,
    /// From sending a request to the status line. Providers send it late if the response is not streamed.
    pub first_byte_ms: u32,
    /// The same for streamed responses.
    pub stream_first_byte_ms: u32,
    /// The maximum silence between a stream's status line and its first content, while another upstream is available.
    pub stall_ms: u32,
    /// The maximum silence within a response or a stream.
    pub idle_ms: u32,
    /// The silence after which the client of a stream gets a comment, so that proxies keep the connection and the
    /// gateway detects a disconnected client.
    pub ping_ms: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            total_ms: 600_000,
            body_ms: 120_000,
            first_byte_ms: 300_000,
            stream_first_byte_ms: 60_000,
            stall_ms: 20_000,
            idle_ms: 120_000,
            ping_ms: 15_000,
        }
    }
}

/// Limits of upstream responses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResponseLimits {
    /// The maximum size of a whole response and of a single event of a stream, in bytes.
    pub max_bytes: u32,
}

impl Default for ResponseLimits {
    fn default() -> Self {
        ResponseLimits { max_bytes: 16 * 1024 * 1024 }
    }
}

/// Key requests and authentication.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OnboardingConfig {
    /// The maximum number of key requests of one client in any 24 hours.
    pub requests_per_day: u32,
    /// The number of failed authentications of one client in a minute after which it gets 429.
    pub failed_auth_per_minute: u32,
    /// The policies of key requests from outside.
    pub policies: Vec<String>,
    /// Allow the holders of issued keys to rotate them.
    pub holder_rotation: bool,
    /// The lifetime of a claim link, in hours.
    pub claim_hours: u32,
    /// The URL at which callers reach this gateway, for claim links. Absent: the origin that the operator calls, which
    /// behind a proxy may be another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<BaseUrl>,
}

impl Default for OnboardingConfig {
    fn default() -> Self {
        OnboardingConfig {
            requests_per_day: 5,
            failed_auth_per_minute: 100,
            policies: Vec::new(),
            holder_rotation: true,
            claim_hours: 72,
            public_url: None,
        }
    }
}

/// Public usage statistics at `GET /v1/analytics`. Operators can always read all of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Analytics {
    /// Allow everybody to read the statistics; otherwise only operators can.
    pub public: bool,
    /// Include the names of projects in the public statistics.
    pub projects: bool,
}

impl Default for Analytics {
    fn default() -> Self {
        Analytics { public: true, projects: false }
    }
}

/// The list of recent calls of all keys at `GET /v0/calls`. Receipts of one key are kept apart from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Calls {
    /// The maximum number of calls, up to [`Calls::MAX_KEEP`]; 0: none.
    pub keep: u32,
    /// The maximum age of a call, in days, up to [`Calls::MAX_DAYS`].
    pub days: u32,
}

impl Calls {
    /// The maximum of [`Calls::keep`].
    pub const MAX_KEEP: u32 = 100_000;
    /// The maximum of [`Calls::days`].
    pub const MAX_DAYS: u32 = 30;
}

impl Default for Calls {
    fn default() -> Self {
        Calls { keep: 10_000, days: 7 }
    }
}

/// Log lines.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The share of the calls with outcome `answered` that get a log line, in percent. All other calls get one.
    pub calls_percent: u32,
}

impl Default for Log {
    fn default() -> Self {
        Log { calls_percent: 100 }
    }
}

/// The permissions of an issued key. [`crate::key::IssuedKey`] documents how several policies are combined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// A description for people.
    pub description: String,
    /// Models: `provider/model`, `provider/*`, an alias, a group or `auto`. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// Endpoints: paths of [`crate::routes::inference_endpoints`]. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<String>>,
    /// The limits of all models together.
    pub limits: Limits,
    /// Further limits of some models: by `provider/model`, `provider/*`, an alias, a group or `auto`.
    pub model_limits: BTreeMap<String, Limits>,
    /// The lifetime of a key, in days. Absent: until it is revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_days: Option<u32>,
}

/// Charging of calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ledger {
    /// The treatment of calls without a known price, if the key has a limit in US dollars.
    pub unknown_price: UnknownPrice,
}

/// The treatment of calls without a known price, if the key has a limit in US dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownPrice {
    /// The call is rejected, because a cost that is not known cannot be limited.
    #[default]
    Refuse,
    /// The call counts as a request with its tokens, at no cost.
    CountTokens,
}

/// Notifications of key requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhook {
    /// The URL to which notifications are posted; `https`, or this machine. Absent: none are sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<WebhookUrl>,
}

/// The export of calls as OpenTelemetry spans, and of metrics.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// The URL of a collector that takes OTLP over HTTP as JSON, to which `/v1/traces` and `/v1/metrics` are appended.
    /// Headers, such as its credential, come from the secret `GATEWAY_OTLP_HEADERS`. Absent: nothing is exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_url: Option<BaseUrl>,
    /// The time between two exports of the metrics, in seconds; 0: no metrics, for a collector that takes only spans.
    pub metrics_seconds: u32,
}

impl Default for Telemetry {
    fn default() -> Telemetry {
        Telemetry { otlp_url: None, metrics_seconds: 60 }
    }
}

impl Telemetry {
    /// The collector of metrics and the time between two exports, in milliseconds; `None` if metrics are not exported.
    pub fn of_metrics(&self) -> Option<(&BaseUrl, u64)> {
        let url = self.otlp_url.as_ref().filter(|_| self.metrics_seconds > 0)?;
        Some((url, u64::from(self.metrics_seconds) * 1_000))
    }

    /// Checks the settings.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.metrics_seconds == 0 || (5..=3_600).contains(&self.metrics_seconds) {
            return Ok(());
        }
        let message = "telemetry.metrics_seconds must be 0, for no metrics, or between 5 and 3600";
        Err(ConfigError(message.to_owned()))
    }
}

/// E-mails with claim links.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Email {
    /// The sender; needs the binding `GATEWAY_EMAIL`. Absent: no e-mails are sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// An OpenAI-compatible provider that is not in the built-in table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CustomProvider {
    /// The URL to which the paths of its formats are appended, such as `/chat/completions`. `<PROVIDER>_BASE_URL`
    /// overrides it.
    pub base_url: BaseUrl,
    /// The formats that it serves, each at its usual path under the base URL. Default: only chat completions.
    #[serde(default = "chat_completions_alone")]
    pub formats: Vec<Format>,
    /// How the gateway authenticates to it.
    #[serde(default)]
    pub auth: Auth,
    /// Ids of its models, for `GET /v1/models`, for `auto` and for bare model names. Other ids work as `provider/id`.
    #[serde(default)]
    pub models: Vec<String>,
    /// Request fields that it rejects: they are dropped, and a response header lists them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
    /// Request fields that it knows by another name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rename: BTreeMap<String, String>,
    /// `true` if it stops charging when a call is cancelled. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_stops_billing: Option<bool>,
    /// `true` if its streams end without `[DONE]`: one with a finish reason and usage then counts as complete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends_without_done: bool,
}

fn chat_completions_alone() -> Vec<Format> {
    vec![Format::ChatCompletions]
}

/// Authentication to a provider with the secret `<PROVIDER>_API_KEY`. Written as `"bearer"`, `"none"`, or the name of
/// the header for the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer`.
    #[default]
    Bearer,
    /// No authentication.
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
                "auth must be \"bearer\", \"none\", or the lower-case name of a header for keys, such as \"api-key\"",
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

/// An error in the configuration: what is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub(crate) String);

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads JSON that the build has written, with an optional patch on top. [`crate::check`] checks the rules that the
    /// types alone cannot state.
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

    /// The models behind an alias or a group, as `provider/model`; empty for any other name.
    pub fn behind(&self, name: &str) -> Vec<String> {
        match (self.aliases.get(name), self.groups.get(name)) {
            (Some(target), _) => vec![target.clone()],
            (None, Some(group)) => group.models.clone(),
            (None, None) => Vec::new(),
        }
    }

    /// Returns the first policy that does not exist as an error.
    pub fn check_policies<'p>(&self, policies: &'p [String]) -> Result<(), &'p str> {
        match policies.iter().find(|name| !self.policies.contains_key(name.as_str())) {
            Some(name) => Err(name),
            None => Ok(()),
        }
    }
}

/// RFC 7396: fields of the patch replace, `null` removes, objects are merged.
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
    fn a_patch_changes_only_the_settings_that_it_names() {
        let config = read(r#"{"timeouts":{"idle_ms":5},"aliases":{"fast":"groq/x"}}"#).unwrap();
        assert_eq!(config.timeouts, Timeouts { idle_ms: 5, ..Timeouts::default() });
        assert_eq!(config.aliases.get("fast").unwrap(), "groq/x");
        assert_eq!(config.requests, Requests::default());
        assert_eq!(read(r#"{"timeouts":null}"#).unwrap(), Config::default());
    }
}
