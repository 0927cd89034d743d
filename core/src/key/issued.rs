//! Issued keys on the path of a call: validity and permissions.
//!
//! The permissions of a key are its own lists and its policies together. Its own lists restrict further; of several
//! policies, a model or endpoint that any of them allows is allowed, and the strictest limits count. Policies are
//! looked up for each call, so a deployment that changes a policy changes all keys that have it.

use serde::Deserialize;

use crate::config::{Config, Policy};
use crate::error::{Code, Error};
use crate::json;

/// An issued key, found by one of its secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssuedKey {
    /// The id, which stays the same when secrets change.
    pub id: String,
    /// The public id of the secret that it was found by; empty if it was found by its name.
    pub public_id: String,
    /// Its name.
    pub name: String,
    /// `true` if an operator has disabled the key.
    pub disabled: bool,
    /// The time at which the key or this secret of it expires, whichever is first, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// The names of its policies.
    pub policies: Vec<String>,
    /// The models that it may use; `None` for all.
    pub models: Option<Vec<String>>,
    /// The endpoints that it may call; `None` for all.
    pub endpoints: Option<Vec<String>>,
}

/// A row of the database: lists are JSON texts, flags are 0 or 1.
#[derive(Deserialize)]
struct Row {
    id: String,
    #[serde(default)]
    public_id: String,
    name: String,
    disabled: u8,
    key_expires_ms: Option<u64>,
    secret_expires_ms: Option<u64>,
    policies: String,
    models: Option<String>,
    endpoints: Option<String>,
}

impl IssuedKey {
    /// Reads a row of the database; `None` if the row is invalid, in which case the key is rejected.
    pub fn from_row(row: &serde_json::Value) -> Option<IssuedKey> {
        let row = Row::deserialize(row).ok()?;
        let list = |text: Option<String>| text.map(|text| json::read(&text)).transpose().ok();
        Some(IssuedKey {
            id: row.id,
            public_id: row.public_id,
            name: row.name,
            disabled: row.disabled != 0,
            expires_ms: [row.key_expires_ms, row.secret_expires_ms].into_iter().flatten().min(),
            policies: json::read(&row.policies).ok()?,
            models: list(row.models)?,
            endpoints: list(row.endpoints)?,
        })
    }

    /// Returns `true` if another state of the key has the same permissions and limits.
    pub fn has_permissions_of(&self, other: &IssuedKey) -> bool {
        (&self.policies, &self.models, &self.endpoints) == (&other.policies, &other.models, &other.endpoints)
    }

    /// Checks that the key is neither disabled nor expired.
    pub fn check_alive(&self, now_ms: u64) -> Result<(), Error> {
        if self.disabled {
            return Err(Error::new(Code::ApiKeyDisabled, "Unauthorized: the operator has disabled this key"));
        }
        match self.expires_ms {
            Some(expires_ms) if expires_ms <= now_ms => Err(Error::new(
                Code::ApiKeyExpired,
                format!("Unauthorized: this key expired at {}", crate::time::to_rfc3339(expires_ms)),
            )),
            _ => Ok(()),
        }
    }

    /// Checks that the key may call an endpoint.
    pub fn check_endpoint(&self, config: &Config, path: &str) -> Result<(), Error> {
        let policies = self.policies(config)?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let allows =
            |list: &Option<Vec<String>>| list.as_ref().is_none_or(|list| list.iter().any(|one| one == path));
        let allowed = allows(&self.endpoints)
            && (policies.is_empty() || policies.iter().any(|policy| allows(&policy.endpoints)));
        if allowed {
            return Ok(());
        }
        Err(Error::new(Code::EndpointNotAllowed, format!("This key may not call {path}")))
    }

    /// Checks that the key may use a model: `requested` is the name in the call, `canonical` is `provider/model`.
    pub fn check_model(&self, config: &Config, requested: &str, canonical: &str) -> Result<(), Error> {
        let policies = self.policies(config)?;
        let allows = |list: &Option<Vec<String>>| {
            list.as_ref().is_none_or(|list| list.iter().any(|pattern| covers(pattern, requested, canonical)))
        };
        let allowed = allows(&self.models)
            && (policies.is_empty() || policies.iter().any(|policy| allows(&policy.models)));
        if allowed {
            return Ok(());
        }
        Err(Error::new(Code::ModelNotAllowed, format!("This key may not use the model '{canonical}'"))
            .with_param("model"))
    }

    /// The policies of the key. A policy that no longer exists is an error, because the permissions are not known any
    /// more.
    pub fn policies<'c>(&self, config: &'c Config) -> Result<Vec<&'c Policy>, Error> {
        self.policies
            .iter()
            .map(|name| {
                config.policies.get(name).ok_or_else(|| {
                    let message = format!(
                        "The policy '{name}' of this key is no longer in the gateway's configuration; ask the operator"
                    );
                    Error::new(Code::PolicyRemoved, message)
                })
            })
            .collect()
    }
}

/// Returns `true` if a pattern (`provider/model`, `provider/*`, an alias, a group or `auto`) covers a model:
/// `requested` is the name in the call, `canonical` is `provider/model`.
pub fn covers(pattern: &str, requested: &str, canonical: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) if prefix.ends_with('/') => canonical.starts_with(prefix),
        _ => pattern == canonical || pattern == requested,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config() -> Config {
        serde_json::from_value(json!({
            "aliases": {"fast": "groq/a"},
            "policies": {
                "small": {"models": ["groq/*", "fast"], "limits": {"requests_per_minute": 10}},
                "big": {"models": ["openai/gpt-4o"], "endpoints": ["/v1/embeddings"],
                    "limits": {"requests_per_minute": 5}, "model_limits": {"groq/*": {"usd_per_day": 0.5}}},
                "open": {},
            },
        }))
        .unwrap()
    }

    fn key(policies: &[&str]) -> IssuedKey {
        IssuedKey {
            policies: policies.iter().map(|name| (*name).to_owned()).collect(),
            ..IssuedKey::default()
        }
    }

    fn model(key: &IssuedKey, canonical: &str) -> bool {
        key.check_model(&config(), canonical, canonical).is_ok()
    }

    #[test]
    fn reads_a_row_of_the_database() {
        let row = json!({"id": "1", "name": "n", "disabled": 1, "key_expires_ms": 20, "secret_expires_ms": 10,
            "policies": "[\"small\"]", "models": null, "endpoints": "[]", "digest": "…"});
        let read = IssuedKey::from_row(&row).unwrap();
        assert_eq!((read.disabled, read.expires_ms), (true, Some(10)));
        assert_eq!((read.models, read.endpoints), (None, Some(vec![])));
        let mut broken = row;
        broken["models"] = json!("[1]");
        assert_eq!(IssuedKey::from_row(&broken), None, "an unreadable list allows nothing");
    }

    #[test]
    fn permissions_are_compared_without_names_and_times() {
        let old = IssuedKey { models: Some(vec!["groq/a".into()]), ..key(&["small"]) };
        let renamed = IssuedKey { name: "other".into(), expires_ms: Some(1), ..old.clone() };
        assert!(old.has_permissions_of(&renamed));
        for changed in [
            IssuedKey { models: None, ..old.clone() },
            IssuedKey { endpoints: Some(vec![]), ..old.clone() },
            IssuedKey { policies: vec!["big".into()], ..old.clone() },
        ] {
            assert!(!old.has_permissions_of(&changed), "{changed:?}");
        }
    }

    #[test]
    fn a_key_works_until_it_expires_or_is_disabled() {
        let key = IssuedKey { expires_ms: Some(10), ..IssuedKey::default() };
        assert!(key.check_alive(9).is_ok());
        assert!(key.check_alive(10).unwrap_err().is(Code::ApiKeyExpired));
        assert!(IssuedKey { disabled: true, ..key }.check_alive(0).unwrap_err().is(Code::ApiKeyDisabled));
    }

    #[test]
    fn without_lists_and_policies_everything_is_allowed() {
        assert!(model(&key(&[]), "openai/anything"));
        assert!(key(&[]).check_endpoint(&config(), "/v1/chat/completions/").is_ok());
    }

    #[test]
    fn a_model_or_endpoint_of_any_policy_is_allowed() {
        assert!(model(&key(&["small"]), "groq/b") && !model(&key(&["small"]), "openai/gpt-4o"));
        assert!(!model(&key(&["small"]), "groqs/b") && !model(&key(&["big"]), "openai/gpt-4o-mini"));
        let both = key(&["small", "big"]);
        assert!(model(&both, "groq/b") && model(&both, "openai/gpt-4o") && !model(&both, "xai/x"));
        assert!(model(&key(&["small", "open"]), "xai/x"));
        assert!(
            key(&["big"])
                .check_endpoint(&config(), "/v1/chat/completions")
                .unwrap_err()
                .is(Code::EndpointNotAllowed)
        );
        assert!(both.check_endpoint(&config(), "/v1/chat/completions").is_ok());
    }

    #[test]
    fn own_lists_restrict_further() {
        let narrow = IssuedKey { models: Some(vec!["groq/a".into()]), ..key(&["small"]) };
        assert!(model(&narrow, "groq/a") && !model(&narrow, "groq/b"));
        let nothing = IssuedKey { models: Some(vec![]), ..key(&["open"]) };
        assert!(!model(&nothing, "groq/a"));
        let alias = IssuedKey { models: Some(vec!["fast".into()]), ..key(&[]) };
        assert!(alias.check_model(&config(), "fast", "groq/a").is_ok());
        assert!(alias.check_model(&config(), "groq/a", "groq/a").unwrap_err().is(Code::ModelNotAllowed));
    }

    #[test]
    fn a_removed_policy_closes_the_key() {
        let key = key(&["open", "gone"]);
        assert!(key.check_model(&config(), "groq/a", "groq/a").unwrap_err().is(Code::PolicyRemoved));
        assert!(key.check_endpoint(&config(), "/v1/chat/completions").is_err());
    }
}
