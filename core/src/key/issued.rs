//! Issued keys as the call path sees them: whether one works now, and what it may do.
//!
//! What a key may do is its own lists and its policies together. Its own lists narrow; of several policies, what any of
//! them allows is allowed, and of their limits the strictest counts. Policies are looked up at each call, so a deployment
//! that changes one changes all keys that have it.

use serde::Deserialize;

use crate::config::{Config, Policy};
use crate::error::{Code, Error};
use crate::json;

/// An issued key, found by one of its secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssuedKey {
    /// Its id, which outlives its secrets.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether an operator has disabled it.
    pub disabled: bool,
    /// When it ends, in milliseconds since 1970; or when this secret of it does, whichever is first.
    pub expires_ms: Option<u64>,
    /// Names of policies.
    pub policies: Vec<String>,
    /// Models that it may use; `None` is all.
    pub models: Option<Vec<String>>,
    /// Endpoints that it may call; `None` is all.
    pub endpoints: Option<Vec<String>>,
}

/// A row of the database: the lists are JSON texts, flags are 0 or 1.
#[derive(Deserialize)]
struct Row {
    id: String,
    name: String,
    disabled: u8,
    key_expires_ms: Option<u64>,
    secret_expires_ms: Option<u64>,
    policies: String,
    models: Option<String>,
    endpoints: Option<String>,
}

impl IssuedKey {
    /// Reads the database's row; `None` if it is not one, in which case nobody is let in by it.
    pub fn from_row(row: &serde_json::Value) -> Option<IssuedKey> {
        let row = Row::deserialize(row).ok()?;
        let list = |text: Option<String>| text.map(|text| json::read(&text)).transpose().ok();
        Some(IssuedKey {
            id: row.id,
            name: row.name,
            disabled: row.disabled != 0,
            expires_ms: [row.key_expires_ms, row.secret_expires_ms].into_iter().flatten().min(),
            policies: json::read(&row.policies).ok()?,
            models: list(row.models)?,
            endpoints: list(row.endpoints)?,
        })
    }

    /// Whether the key works at all at this time.
    pub fn check_alive(&self, now_ms: u64) -> Result<(), Error> {
        if self.disabled {
            return Err(Error::new(Code::ApiKeyDisabled, "Unauthorized: the operator has disabled this key"));
        }
        match self.expires_ms {
            Some(expires_ms) if expires_ms <= now_ms => Err(Error::new(
                Code::ApiKeyExpired,
                format!("Unauthorized: this key ended at {}", crate::time::to_rfc3339(expires_ms)),
            )),
            _ => Ok(()),
        }
    }

    /// Whether it may call an endpoint.
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

    /// Whether it may use a model: `asked` is the name that the call gave, `canonical` is `provider/model`.
    pub fn check_model(&self, config: &Config, asked: &str, canonical: &str) -> Result<(), Error> {
        let policies = self.policies(config)?;
        let allows = |list: &Option<Vec<String>>| {
            list.as_ref().is_none_or(|list| list.iter().any(|pattern| covers(pattern, asked, canonical)))
        };
        let allowed = allows(&self.models)
            && (policies.is_empty() || policies.iter().any(|policy| allows(&policy.models)));
        if allowed {
            return Ok(());
        }
        Err(Error::new(Code::ModelNotAllowed, format!("This key may not use the model '{canonical}'"))
            .with_param("model"))
    }

    /// A policy that is gone closes the key: what it allowed is not known any more.
    pub fn policies<'c>(&self, config: &'c Config) -> Result<Vec<&'c Policy>, Error> {
        self.policies
            .iter()
            .map(|name| {
                config.policies.get(name).ok_or_else(|| {
                    let words = format!(
                        "The policy '{name}' of this key is no longer in the gateway's configuration; ask the operator"
                    );
                    Error::new(Code::PolicyRemoved, words)
                })
            })
            .collect()
    }
}

/// Whether a pattern (`provider/model`, `provider/*`, an alias, a group or `auto`) covers a model: `asked` is the name that
/// the call gave, `canonical` is `provider/model`.
pub fn covers(pattern: &str, asked: &str, canonical: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) if prefix.ends_with('/') => canonical.starts_with(prefix),
        _ => pattern == canonical || pattern == asked,
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
    fn reads_its_row() {
        let row = json!({"id": "1", "name": "n", "disabled": 1, "key_expires_ms": 20, "secret_expires_ms": 10,
            "policies": "[\"small\"]", "models": null, "endpoints": "[]", "digest": "…"});
        let read = IssuedKey::from_row(&row).unwrap();
        assert_eq!((read.disabled, read.expires_ms), (true, Some(10)));
        assert_eq!((read.models, read.endpoints), (None, Some(vec![])));
        let mut broken = row;
        broken["models"] = json!("[1]");
        assert_eq!(IssuedKey::from_row(&broken), None, "a list that cannot be read opens nothing");
    }

    #[test]
    fn ends_when_it_is_said_to() {
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
    fn what_any_policy_allows_is_allowed() {
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
    fn its_own_lists_narrow() {
        let narrow = IssuedKey { models: Some(vec!["groq/a".into()]), ..key(&["small"]) };
        assert!(model(&narrow, "groq/a") && !model(&narrow, "groq/b"));
        let nothing = IssuedKey { models: Some(vec![]), ..key(&["open"]) };
        assert!(!model(&nothing, "groq/a"));
        let alias = IssuedKey { models: Some(vec!["fast".into()]), ..key(&[]) };
        assert!(alias.check_model(&config(), "fast", "groq/a").is_ok());
        assert!(alias.check_model(&config(), "groq/a", "groq/a").unwrap_err().is(Code::ModelNotAllowed));
    }

    #[test]
    fn a_policy_that_is_gone_closes_the_key() {
        let key = key(&["open", "gone"]);
        assert!(key.check_model(&config(), "groq/a", "groq/a").unwrap_err().is(Code::PolicyRemoved));
        assert!(key.check_endpoint(&config(), "/v1/chat/completions").is_err());
    }
}
