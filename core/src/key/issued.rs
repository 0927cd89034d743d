//! Issued keys on the path of a call: validity and permissions.
//!
//! The permissions of a key are its own lists and limits and its policies together. Its own lists restrict further; of
//! several policies, a model or endpoint that any of them allows is allowed, and the strictest limits count, of the
//! policies and of the key. Policies are looked up for each call, so a change of a policy changes all keys that have it.

use serde::Deserialize;

use crate::config::{Config, Limits, Policy};
use crate::error::{Code, Error};
use crate::json;
use crate::routes::is_path_of;

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
    /// Its own limits.
    pub limits: Limits,
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
    limits: String,
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
            limits: json::read(&row.limits).ok()?,
        })
    }

    /// Returns `true` if another state of the key has the same permissions and limits.
    pub fn has_permissions_of(&self, other: &IssuedKey) -> bool {
        self.policies == other.policies
            && self.models == other.models
            && self.endpoints == other.endpoints
            && self.limits == other.limits
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
        let allows = |list: &Option<Vec<String>>| {
            list.as_ref().is_none_or(|list| list.iter().any(|one| is_path_of(one, path)))
        };
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

    /// Returns `true` if one of the key's lists of models, or of its policies', names exactly this `provider/model`.
    pub fn names_model(&self, config: &Config, canonical: &str) -> bool {
        let policies = self.policies.iter().filter_map(|name| config.policies.get(name));
        let lists = policies.filter_map(|policy| policy.models.as_ref()).chain(&self.models);
        lists.flatten().any(|pattern| pattern == canonical)
    }

    /// Which rules of the policies bind a call beyond the choice of its first model. A policy that no longer exists has
    /// none: its key may use no model.
    pub fn boundaries(&self, config: &Config) -> Boundaries {
        let policies = || self.policies.iter().filter_map(|name| config.policies.get(name));
        let all_have = |has: fn(&Policy) -> bool| !self.policies.is_empty() && policies().all(has);
        let model_limits = || policies().flat_map(|policy| policy.model_limits.values());
        let has_money = |limits: &Limits| {
            limits.usd_per_day.is_some() || limits.usd_per_month.is_some() || limits.usd_total.is_some()
        };
        Boundaries {
            models: self.models.is_some() || all_have(|policy| policy.models.is_some()),
            endpoints: self.endpoints.is_some() || all_have(|policy| policy.endpoints.is_some()),
            model_limits: model_limits().next().is_some(),
            money: policies()
                .map(|policy| &policy.limits)
                .chain(model_limits())
                .chain([&self.limits])
                .any(has_money),
        }
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

/// The rules of a key's policies that a provider could break by choosing a model, a service or a price itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the rules are independent of each other")]
pub struct Boundaries {
    /// The key may use only some models.
    pub models: bool,
    /// The key may call only some endpoints.
    pub endpoints: bool,
    /// The key has limits of single models.
    pub model_limits: bool,
    /// The key has a budget in US dollars.
    pub money: bool,
}

impl Boundaries {
    /// Returns `true` if there is any rule.
    pub fn any(&self) -> bool {
        self.models || self.endpoints || self.model_limits || self.money
    }
}

/// Returns `true` if the limits of `pattern` (as in [`covers`]) apply to a model. They also apply to the models `behind`
/// an alias or a group, whichever name the call gives, and to variants of a model's id: other case, and suffixes such as
/// `:online` and `@preset/…`.
pub fn binds(pattern: &str, behind: &[String], requested: &str, canonical: &str) -> bool {
    let starts = |text: &str| {
        canonical
            .get(..text.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(text))
            .then(|| canonical.get(text.len()..).unwrap_or_default())
    };
    let is_variant =
        |address: &str| starts(address).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '@']));
    let is_below = |prefix: &str| prefix.ends_with('/') && starts(prefix).is_some();
    covers(pattern, requested, canonical)
        || is_variant(pattern)
        || pattern.strip_suffix('*').is_some_and(is_below)
        || behind.iter().any(|address| is_variant(address))
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
            "policies": "[\"small\"]", "models": null, "endpoints": "[]", "limits": "{}", "digest": "…"});
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
            IssuedKey { limits: Limits { concurrent: Some(1), ..Limits::default() }, ..old.clone() },
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
    fn an_endpoint_with_braces_allows_the_paths_that_it_matches() {
        let endpoints = Some(vec!["/v1/responses/{response_id}".to_owned()]);
        let key = IssuedKey { endpoints, ..key(&[]) };
        assert!(key.check_endpoint(&config(), "/v1/responses/resp_1").is_ok());
        for other in
            ["/v1/responses", "/v1/responses/resp_1/cancel", "/v1/responses/", "/v1/chat/completions"]
        {
            assert!(key.check_endpoint(&config(), other).is_err(), "{other}");
        }
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
    fn limits_bind_the_models_behind_a_name_and_variants_of_their_ids() {
        let behind = ["groq/a".to_owned()];
        for (pattern, requested, canonical, expected) in [
            ("fast", "fast", "groq/a", true),
            ("fast", "groq/a", "groq/a", true),
            ("fast", "quick", "groq/a", true),
            ("fast", "groq/A:online", "groq/A:online", true),
            ("fast", "groq/ab", "groq/ab", false),
            ("groq/b", "fast", "groq/a", true),
            ("groq/b", "groq/b@preset/x", "groq/b@preset/x", true),
            ("groq/b", "groq/b-large", "groq/b-large", false),
            ("groq/Org/*", "groq/org/x", "groq/org/x", true),
            ("groq/b", "groqé", "groqé", false),
            ("auto", "auto", "xai/x", true),
            ("auto", "xai/x", "xai/x", false),
        ] {
            assert_eq!(binds(pattern, &behind, requested, canonical), expected, "{pattern} {requested}");
        }
    }

    #[test]
    fn boundaries_are_those_of_the_lists_and_of_all_policies() {
        let of = |key: &IssuedKey| key.boundaries(&config());
        assert!(!of(&key(&[])).any() && !of(&key(&["open"])).any());
        let small = Boundaries { models: true, ..Boundaries::default() };
        assert_eq!(of(&key(&["small"])), small);
        assert!(!of(&key(&["small", "open"])).any(), "of two policies the wider list counts");
        assert_eq!(
            of(&key(&["big"])),
            Boundaries { models: true, endpoints: true, model_limits: true, money: true }
        );
        assert!(of(&IssuedKey { endpoints: Some(vec![]), ..key(&["open"]) }).endpoints);
        let budget = Limits { usd_total: Some(crate::money::MicroUsd(1)), ..Limits::default() };
        assert!(of(&IssuedKey { limits: budget, ..key(&["open"]) }).money);
    }

    #[test]
    fn a_removed_policy_closes_the_key() {
        let key = key(&["open", "gone"]);
        assert!(key.check_model(&config(), "groq/a", "groq/a").unwrap_err().is(Code::PolicyRemoved));
        assert!(key.check_endpoint(&config(), "/v1/chat/completions").is_err());
    }
}
