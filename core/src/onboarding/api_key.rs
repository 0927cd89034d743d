//! Issued keys in `/v0/api_keys`: the request bodies that create and change a key, and the document of a key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use validator::{Validate, ValidateArgs as _, ValidationError};

use super::approval::{Delivery, check_known_policies, is_ahead, limits};
use super::key_name::check_name;
use crate::config::{Config, Limits};
use crate::error::{Code, Error};
use crate::json;
use crate::json::Object;
use crate::routes::inference_endpoints;
use crate::text::{checked, invalid};
use crate::time;

/// The default overlap of a rotation, in seconds: the time for which the old secret keeps working.
const DEFAULT_OVERLAP_S: u64 = 3600;
/// The maximum overlap: 30 days.
const MAX_OVERLAP_S: u64 = 30 * 24 * 3600;

/// The maximum overlap of a rotation by the holder of the key: 7 days.
const MAX_OWN_OVERLAP_S: u64 = 7 * 24 * 3600;

/// A new id: a UUID of version 7 (RFC 9562), from milliseconds since 1970 and ten random bytes.
pub fn new_id(now_ms: u64, random: [u8; 10]) -> String {
    let [a, b, c, rest @ ..] = random;
    let [_, _, time @ ..] = now_ms.to_be_bytes();
    let digits = hex::encode([&time[..], &[0x70 | a & 0x0f, b, 0x80 | c & 0x3f], &rest].concat());
    let mut groups = Vec::new();
    let mut left = digits.as_str();
    for length in [8, 4, 4, 4, 12] {
        let (group, after) = left.split_at_checked(length).unwrap_or((left, ""));
        groups.push(group);
        left = after;
    }
    groups.join("-")
}

/// The error for a name that no key has.
pub fn unknown(name: &str) -> Error {
    let shown: String = name.chars().take(200).collect();
    Error::new(Code::UnknownApiKey, format!("Unknown API key '{shown}'")).with_details(json!({"name": shown}))
}

/// The error for a name that another key has.
pub fn duplicate() -> Error {
    Error::new(Code::DuplicateName, "An entity with this name already exists")
}

/// The role of a key in the API that this one follows. It has no effect here: a key never administers, and its policies
/// say what it may call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The default.
    #[default]
    Read,
    /// The other one.
    Write,
}

impl Role {
    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Write => "write",
        }
    }

    /// Reads the field `role`.
    fn read(object: &Object) -> Result<Role, Error> {
        match object.string("role")? {
            None | Some("read") => Ok(Role::Read),
            Some("write") => Ok(Role::Write),
            Some(role @ ("admin" | "owner")) => {
                let message = format!("The role '{role}' cannot be given to a key; use 'read' or 'write'");
                Err(Error::new(Code::OwnerAdminNotMintableAsApiKey, message))
            }
            Some(_) => Err(invalid("role", "must be 'read' or 'write'")),
        }
    }
}

/// The state of a key that is not revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The key is accepted.
    Active,
    /// An operator has disabled the key.
    Disabled,
    /// The key has expired, and is not disabled.
    Expired,
}

impl State {
    /// The states by their names in queries and documents.
    pub const CHOICES: [(&str, State); 3] =
        [("active", State::Active), ("disabled", State::Disabled), ("expired", State::Expired)];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Disabled => "disabled",
            State::Expired => "expired",
        }
    }
}

/// The settings of a key, which an operator decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The key is disabled.
    pub disabled: bool,
    /// Names of policies.
    pub policies: Vec<String>,
    /// Models that the key may use; `None` is all.
    pub models: Option<Vec<String>>,
    /// Endpoints that the key may call; `None` is all.
    pub endpoints: Option<Vec<String>>,
    /// Limits of the key itself, beside those of its policies.
    pub limits: Limits,
    /// The role, from its creation on.
    pub role: Role,
    /// The operator's notes.
    pub metadata: BTreeMap<String, String>,
    /// The expiry, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
}

/// The fields of a body that change settings; `None` if a field is missing or `null`.
#[derive(Validate)]
#[validate(context = "Rules<'v_a>")]
struct Changes {
    #[validate(length(max = 16), custom(function = "are_known_policies", use_context))]
    policies: Option<Vec<String>>,
    #[validate(length(max = 100), custom(function = "are_model_patterns", use_context))]
    models: Option<Vec<String>>,
    #[validate(custom(function = "are_endpoints"))]
    endpoints: Option<Vec<String>>,
    #[validate(custom(function = "is_short"))]
    metadata: Option<BTreeMap<String, String>>,
    #[validate(custom(function = "is_future", use_context))]
    expires_at: Option<u64>,
}

/// The order in which faults are reported.
const SETTINGS: [&str; 6] = ["policies", "models", "endpoints", "limits", "metadata", "expires_at"];

/// The context of the checks of settings.
struct Rules<'c> {
    config: &'c Config,
    now_ms: u64,
}

fn are_known_policies(policies: &[String], rules: &Rules<'_>) -> Result<(), ValidationError> {
    Ok(check_known_policies(rules.config, policies)?)
}

fn are_model_patterns(models: &[String], rules: &Rules<'_>) -> Result<(), ValidationError> {
    for model in models {
        rules.config.check_model_pattern(model).map_err(|what| {
            let shown: String = model.chars().take(200).collect();
            Error::new(Code::InvalidValue, format!("'models': '{shown}' {what}")).with_param("models")
        })?;
    }
    Ok(())
}

fn are_endpoints(endpoints: &[String]) -> Result<(), ValidationError> {
    let known = inference_endpoints();
    if endpoints.iter().any(|path| !known.contains(&path.as_str())) {
        return Err(invalid("endpoints", &format!("may contain: {}", known.join(", "))).into());
    }
    if endpoints.len() > known.len() {
        return Err(invalid("endpoints", &format!("has at most {} entries", known.len())).into());
    }
    Ok(())
}

fn is_short(metadata: &BTreeMap<String, String>) -> Result<(), ValidationError> {
    let fits = |(name, value): (&String, &String)| {
        (1..=64).contains(&name.chars().count()) && value.chars().count() <= 512
    };
    if metadata.len() <= 16 && metadata.iter().all(fits) {
        return Ok(());
    }
    let message = "has at most 16 fields, with names of 1 to 64 and texts of at most 512 characters";
    Err(invalid("metadata", message).into())
}

fn is_future(expires_ms: u64, rules: &Rules<'_>) -> Result<(), ValidationError> {
    is_ahead(expires_ms, &rules.now_ms)
}

impl Settings {
    /// Applies the fields of an object: missing fields stay unchanged, `null` removes.
    fn changed(mut self, object: &Object, config: &Config, now_ms: u64) -> Result<Settings, Error> {
        let changes = Changes {
            policies: object.strings("policies")?,
            models: object.strings("models")?,
            endpoints: object.strings("endpoints")?,
            metadata: object.string_map("metadata")?,
            expires_at: object.time("expires_at")?,
        };
        let limits = limits(object)?;
        checked(changes.validate_with_args(&Rules { config, now_ms }), &SETTINGS)?;
        if object.has("policies") {
            self.policies = changes.policies.unwrap_or_default();
        }
        if object.has("models") {
            self.models = changes.models;
        }
        if object.has("endpoints") {
            self.endpoints = changes.endpoints;
        }
        if object.has("limits") {
            self.limits = limits.unwrap_or_default();
        }
        if object.has("metadata") {
            self.metadata = changes.metadata.unwrap_or_default();
        }
        if object.has("expires_at") {
            self.expires_ms = changes.expires_at;
        }
        Ok(self)
    }

    /// Reads the body of a change.
    pub fn patched(self, body: &[u8], config: &Config, now_ms: u64) -> Result<Settings, Error> {
        let object = Object::read(body)?;
        let known = [&["disabled"][..], &SETTINGS].concat();
        object.only(&known)?;
        let disabled = object.boolean("disabled")?.unwrap_or(self.disabled);
        Ok(Settings { disabled, ..self.changed(&object, config, now_ms)? })
    }
}

/// A key to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// The name.
    pub name: String,
    /// The settings.
    pub settings: Settings,
    /// Key or claim link.
    pub delivery: Delivery,
}

impl NewKey {
    /// Reads a body. It rejects unknown fields: a misspelt `expires_at` would create a key that never expires.
    pub fn read(body: &[u8], config: &Config, now_ms: u64) -> Result<NewKey, Error> {
        let object = Object::read(body)?;
        let role = Role::read(&object)?;
        let name = object.required_string("name")?;
        check_name(name)?;
        object.only(&[&["name", "role", "delivery"][..], &SETTINGS].concat())?;
        let settings = Settings { role, ..Settings::default() };
        Ok(NewKey {
            name: name.to_owned(),
            delivery: Delivery::read(&object, &[Delivery::Key, Delivery::Claim])?,
            settings: settings.changed(&object, config, now_ms)?,
        })
    }
}

/// The rotation of a key's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The time for which the old secrets keep working, in milliseconds.
    pub overlap_ms: u64,
    /// Key or claim link.
    pub delivery: Delivery,
}

impl Rotation {
    /// Reads a body, which may be missing.
    pub fn read(body: &[u8]) -> Result<Rotation, Error> {
        let object = Object::read_optional(body)?;
        object.only(&["overlap_seconds", "delivery"])?;
        let delivery = Delivery::read(&object, &[Delivery::Key, Delivery::Claim])?;
        Ok(Rotation { overlap_ms: overlap_ms(&object, MAX_OVERLAP_S)?, delivery })
    }

    /// Reads the body of a rotation by the holder of the key, which may be missing. The new secret is in the response.
    pub fn by_holder(body: &[u8]) -> Result<Rotation, Error> {
        let object = Object::read_optional(body)?;
        object.only(&["overlap_seconds"])?;
        Ok(Rotation { overlap_ms: overlap_ms(&object, MAX_OWN_OVERLAP_S)?, delivery: Delivery::Key })
    }
}

fn overlap_ms(object: &Object, most: u64) -> Result<u64, Error> {
    let seconds = object.integer("overlap_seconds")?.unwrap_or(DEFAULT_OVERLAP_S);
    if seconds > most {
        let message = format!("'overlap_seconds' must be between 0 and {most}");
        return Err(Error::new(Code::InvalidValue, message).with_param("overlap_seconds"));
    }
    Ok(seconds * 1000)
}

/// One secret of a key, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SecretInfo {
    /// `gw_` and ten characters.
    pub public_id: String,
    /// The time of creation, in milliseconds since 1970.
    pub created_ms: u64,
    /// The expiry, if a rotation has set one.
    pub expires_ms: Option<u64>,
}

/// An issued key without its secrets, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
    /// The settings.
    pub settings: Settings,
    /// The request for which it was issued.
    pub request_id: Option<String>,
    /// The e-mail address of that request, until the request is deleted.
    pub email: Option<String>,
    /// The time of creation, in milliseconds since 1970.
    pub created_ms: u64,
    /// The actor that created it.
    pub created_by: String,
    /// The number of changes, plus 1.
    pub version: u64,
    /// Its secrets: none before a claim link is opened, two during an overlap.
    pub secrets: Vec<SecretInfo>,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    name: String,
    disabled: u8,
    policies: String,
    models: Option<String>,
    endpoints: Option<String>,
    limits: String,
    role: Role,
    metadata: String,
    expires_ms: Option<u64>,
    request_id: Option<String>,
    email: Option<String>,
    created_ms: u64,
    created_by: String,
    version: u64,
    secrets: String,
}

impl ApiKey {
    /// Reads the database's row, whose `secrets` are a JSON text.
    pub fn from_row(row: &Value) -> Option<ApiKey> {
        let row = Row::deserialize(row).ok()?;
        let list = |text: Option<String>| text.map(|text| json::read(&text)).transpose().ok();
        Some(ApiKey {
            id: row.id,
            name: row.name,
            settings: Settings {
                disabled: row.disabled != 0,
                policies: json::read(&row.policies).ok()?,
                models: list(row.models)?,
                endpoints: list(row.endpoints)?,
                limits: json::read(&row.limits).ok()?,
                role: row.role,
                metadata: json::read(&row.metadata).ok()?,
                expires_ms: row.expires_ms,
            },
            request_id: row.request_id,
            email: row.email,
            created_ms: row.created_ms,
            created_by: row.created_by,
            version: row.version,
            secrets: json::read(&row.secrets).ok()?,
        })
    }

    /// The document of the key in `/v0/api_keys`.
    pub fn document(&self, now_ms: u64) -> ApiKeyDocument<'_> {
        let Settings { disabled, policies, models, endpoints, limits, role, metadata, expires_ms } =
            &self.settings;
        let state = if *disabled {
            State::Disabled
        } else if expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
            State::Expired
        } else {
            State::Active
        };
        let live = self.secrets.iter().filter(|secret| secret.expires_ms.is_none_or(|end| end > now_ms));
        let mut secrets: Vec<_> = live.collect();
        secrets.sort_by_key(|secret| secret.created_ms);
        ApiKeyDocument {
            id: &self.id,
            name: &self.name,
            scopes: ["Read", "Write"],
            role: *role,
            state,
            policies,
            models: models.as_deref(),
            endpoints: endpoints.as_deref(),
            limits,
            metadata,
            created_at: time::to_rfc3339(self.created_ms),
            created_by: &self.created_by,
            expires_at: expires_ms.map(time::to_rfc3339),
            request_id: self.request_id.as_deref(),
            email: self.email.as_deref(),
            secrets: secrets.into_iter().map(SecretDocument::of).collect(),
        }
    }
}

/// An issued key in `/v0/api_keys`. Times are RFC 3339.
#[derive(Clone, Debug, Serialize)]
pub struct ApiKeyDocument<'a> {
    /// The id.
    pub id: &'a str,
    /// The name.
    pub name: &'a str,
    /// Constant, for clients of this API: every key may read and write.
    pub scopes: [&'static str; 2],
    /// The role that it was created with.
    pub role: Role,
    /// The state at the time of the response.
    pub state: State,
    /// Names of its policies.
    pub policies: &'a [String],
    /// Models that the key may use; `None` is all.
    pub models: Option<&'a [String]>,
    /// Endpoints that the key may call; `None` is all.
    pub endpoints: Option<&'a [String]>,
    /// Its own limits.
    pub limits: &'a Limits,
    /// The operator's notes.
    pub metadata: &'a BTreeMap<String, String>,
    /// The time of creation.
    pub created_at: String,
    /// The label of the operator key that created it.
    pub created_by: &'a str,
    /// The expiry.
    pub expires_at: Option<String>,
    /// The request for which it was issued.
    pub request_id: Option<&'a str>,
    /// The e-mail address of that request, until the request is deleted.
    pub email: Option<&'a str>,
    /// Its live secrets, oldest first.
    pub secrets: Vec<SecretDocument<'a>>,
}

/// A live secret of a key. Times are RFC 3339.
#[derive(Clone, Debug, Serialize)]
pub struct SecretDocument<'a> {
    /// `gw_` and ten characters.
    pub public_id: &'a str,
    /// The time of creation.
    pub created_at: String,
    /// The expiry, if a rotation has set one.
    pub expires_at: Option<String>,
}

impl SecretDocument<'_> {
    fn of(secret: &SecretInfo) -> SecretDocument<'_> {
        SecretDocument {
            public_id: &secret.public_id,
            created_at: time::to_rfc3339(secret.created_ms),
            expires_at: secret.expires_ms.map(time::to_rfc3339),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn config() -> Config {
        serde_json::from_value(json!({"policies": {"basic": {}}, "aliases": {"fast": "groq/a"}})).unwrap()
    }

    fn new_key(body: &Value) -> Result<NewKey, Error> {
        NewKey::read(body.to_string().as_bytes(), &config(), NOW)
    }

    #[test]
    fn ids_are_uuids_of_version_7() {
        assert_eq!(new_id(0x0123_4567_89ab, [0xff; 10]), "01234567-89ab-7fff-bfff-ffffffffffff");
        assert_eq!(new_id(0, [0; 10]), "00000000-0000-7000-8000-000000000000");
    }

    #[test]
    fn names_are_checked_in_the_order_of_the_samples() {
        for (name, code) in [
            (String::new(), Some("empty_name")),
            ("é".repeat(51), Some("too_long_name")),
            ("x".repeat(101), Some("too_long_name")),
            ("a b".to_owned(), Some("name_does_not_match_pattern")),
            ("a.b".to_owned(), Some("name_does_not_match_pattern")),
            ("a/b".to_owned(), Some("name_does_not_match_pattern")),
            ("é".to_owned(), Some("name_does_not_match_pattern")),
            ("x".repeat(100), None),
            ("-".to_owned(), None),
            ("_".to_owned(), None),
            ("_a-".to_owned(), None),
        ] {
            let error = new_key(&json!({"name": name})).err();
            assert_eq!(error.as_ref().and_then(Error::code), code, "{name}");
        }
        let envelope = |name: &str| {
            let error = check_name(name).unwrap_err();
            serde_json::to_value(error.envelope(crate::envelope::Surface::V0)).unwrap()
        };
        let error = envelope(&"x".repeat(101));
        assert_eq!(error["details"]["length"], 101);
        assert_eq!(error["details"]["maximum"], 100);
        let error = envelope("");
        assert_eq!((&error["error_code"], &error["details"]), (&json!("EmptyName"), &Value::Null));
    }

    #[test]
    fn the_error_of_a_duplicate_equals_the_sample_byte_for_byte() {
        assert_eq!(
            json::to_text(&duplicate().envelope(crate::envelope::Surface::V0)),
            r#"{"message":"An entity with this name already exists","error_code":"DuplicateName","details":null}"#
        );
    }

    #[test]
    fn rejects_fields_that_would_have_no_effect() {
        for (body, code) in [
            (json!({}), "missing_member"),
            (json!({"name": null}), "missing_member"),
            (json!({"name": 1}), "invalid_type"),
            (json!({"name": "a", "expires": "2030-01-01T00:00:00Z"}), "unknown_member"),
            (json!({"name": "a", "expires_at": "2020-01-01T00:00:00Z"}), "invalid_value"),
            (json!({"name": "a", "policies": ["gold"]}), "unknown_policy"),
            (json!({"name": "a", "models": ["gpt-4o"]}), "invalid_value"),
            (json!({"name": "a", "models": ["nowhere/x"]}), "invalid_value"),
            (json!({"name": "a", "endpoints": ["/v1/other"]}), "invalid_value"),
            (json!({"name": "a", "metadata": {"": "x"}}), "invalid_value"),
            (json!({"name": "a", "metadata": {"a": 1}}), "invalid_type"),
            (json!({"name": "a", "delivery": "email"}), "invalid_value"),
            (json!({"name": "a", "limits": {"usd_per_hour": 1}}), "invalid_value"),
            (json!({"name": "a", "limits": {"usd_per_day": 0}}), "invalid_value"),
            (json!({"name": "a", "limits": 5}), "invalid_value"),
            (json!({"name": "a b", "role": "owner"}), "owner_admin_not_mintable_as_api_key"),
            (json!({"name": "a", "role": "reader"}), "invalid_value"),
        ] {
            assert_eq!(new_key(&body).unwrap_err().code(), Some(code), "{body}");
        }
        let error = new_key(&json!({
            "name": "a", "expires_at": "2020-01-01T00:00:00Z", "models": vec!["fast"; 101], "policies": ["gold"],
        }))
        .unwrap_err();
        assert_eq!((error.code(), error.param.as_deref()), (Some("unknown_policy"), Some("policies")));
        assert_eq!(
            error.message,
            "Unknown policy 'gold'; the configured policies are: basic; 'models' has at most 100 entries; \
             'expires_at' must be in the future"
        );
        let good = json!({"name": "a", "policies": ["basic"], "models": ["groq/*", "fast", "openai/gpt-4o"],
            "endpoints": ["/v1/chat/completions"], "metadata": {"team": "é"}, "expires_at": "2030-01-01T00:00:00Z", "delivery": "claim"});
        let key = new_key(&good).unwrap();
        assert_eq!((key.delivery, key.settings.models.unwrap().len()), (Delivery::Claim, 3));
    }

    #[test]
    fn a_change_applies_to_its_fields_and_null_removes() {
        let settings =
            Settings { models: Some(vec!["fast".into()]), expires_ms: Some(NOW + 1), ..Settings::default() };
        let patched =
            settings.clone().patched(br#"{"disabled":true,"models":null}"#, &config(), NOW).unwrap();
        assert_eq!(patched, Settings { disabled: true, models: None, ..settings.clone() });
        assert_eq!(settings.clone().patched(b"{}", &config(), NOW).unwrap(), settings);
        let limited =
            settings.clone().patched(br#"{"limits":{"requests_per_day":3}}"#, &config(), NOW).unwrap();
        assert_eq!(limited.limits.requests_per_day, Some(3));
        assert_eq!(limited.patched(br#"{"limits":null}"#, &config(), NOW).unwrap(), settings);
        assert!(
            settings.clone().patched(br#"{"name":"b"}"#, &config(), NOW).unwrap_err().is(Code::UnknownMember)
        );
        assert!(settings.patched(b"", &config(), NOW).is_err());
    }

    #[test]
    fn reads_rotations() {
        assert_eq!(Rotation::read(b"").unwrap().overlap_ms, 3_600_000);
        assert_eq!(Rotation::read(br#"{"overlap_seconds":0}"#).unwrap().overlap_ms, 0);
        for bad in [r#"{"overlap_seconds":-1}"#, r#"{"overlap_seconds":2592001}"#, r#"{"overlap":5}"#, "[]"] {
            assert!(Rotation::read(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(Rotation::by_holder(br#"{"overlap_seconds":604800}"#).unwrap().overlap_ms, 604_800_000);
        for bad in [r#"{"overlap_seconds":604801}"#, r#"{"delivery":"claim"}"#] {
            assert!(Rotation::by_holder(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_document_has_no_secrets() {
        let row = json!({"id": "1", "name": "n", "disabled": 0, "policies": "[]", "models": null, "endpoints": null,
            "limits": "{\"usd_per_month\":50}", "role": "write", "metadata": "{}", "expires_ms": NOW, "request_id": null, "email": null, "created_ms": 0, "created_by": "ops", "version": 1,
            "secrets": "[{\"public_id\":\"gw_b\",\"created_ms\":2,\"expires_ms\":null},{\"public_id\":\"gw_a\",\"created_ms\":1,\"expires_ms\":5}]"});
        let key = ApiKey::from_row(&row).unwrap();
        assert_eq!(
            json::to_text(&key.document(3)),
            concat!(
                r#"{"id":"1","name":"n","scopes":["Read","Write"],"role":"write","state":"active","policies":[],"models":null,"#,
                r#""endpoints":null,"limits":{"usd_per_month":50.0},"metadata":{},"created_at":"1970-01-01T00:00:00Z","created_by":"ops","#,
                r#""expires_at":"2023-11-14T22:13:20Z","request_id":null,"email":null,"secrets":[{"public_id":"gw_a","#,
                r#""created_at":"1970-01-01T00:00:00.001Z","expires_at":"1970-01-01T00:00:00.005Z"},"#,
                r#"{"public_id":"gw_b","created_at":"1970-01-01T00:00:00.002Z","expires_at":null}]}"#,
            )
        );
        assert_eq!(key.document(5).secrets.len(), 1, "the expired secret is omitted");
        assert_eq!(key.document(NOW).state, State::Expired);
    }
}
