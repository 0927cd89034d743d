//! The permissions of a key, as its holder reads them at `GET /usage`.

use serde::Serialize;

use crate::config::Config;
use crate::key::IssuedKey;
use crate::routes::inference_endpoints;
use crate::time::to_rfc3339;

/// The permissions of a key. A model must be allowed by `models`, and by at least one of the policies if there are any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Permissions<'a> {
    /// The policies of the key.
    pub policies: Vec<PolicyPermissions<'a>>,
    /// The key's own list of models; `None` is all.
    pub models: Option<&'a [String]>,
    /// The endpoints that the key may call, by its own list and its policies together.
    pub endpoints: Vec<&'static str>,
    /// The time at which the key or the secret of the request expires, whichever is first, in RFC 3339.
    pub expires_at: Option<String>,
}

/// One policy of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyPermissions<'a> {
    /// The name.
    pub name: &'a str,
    /// The description for people; empty if the policy was removed.
    pub description: &'a str,
    /// The models that the policy allows; `None` is all.
    pub models: Option<&'a [String]>,
    /// `false` if the policy was removed from the configuration. Then the key may do nothing.
    pub exists: bool,
}

impl<'a> Permissions<'a> {
    /// The permissions of an issued key; those of a key of the ring without one.
    pub fn of(key: Option<&'a IssuedKey>, config: &'a Config) -> Permissions<'a> {
        let policies = key.map(|key| key.policies.as_slice()).unwrap_or_default();
        let policies = policies.iter().map(|name| {
            let policy = config.policies.get(name);
            PolicyPermissions {
                name,
                description: policy.map_or("", |policy| &policy.description),
                models: policy.and_then(|policy| policy.models.as_deref()),
                exists: policy.is_some(),
            }
        });
        let may_call = |path: &&str| key.is_none_or(|key| key.check_endpoint(config, path).is_ok());
        Permissions {
            policies: policies.collect(),
            models: key.and_then(|key| key.models.as_deref()),
            endpoints: inference_endpoints().into_iter().filter(may_call).collect(),
            expires_at: key.and_then(|key| key.expires_ms).map(to_rfc3339),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn endpoints_are_those_of_the_key_and_its_policies_together() {
        let config: Config = serde_json::from_value(json!({"policies": {
            "chat": {"description": "Chat", "models": ["groq/*"], "endpoints": ["/v1/chat/completions", "/v1/messages"]},
        }}))
        .unwrap();
        let key = IssuedKey {
            policies: vec!["chat".into()],
            endpoints: Some(vec!["/v1/messages".into(), "/v1/embeddings".into()]),
            expires_ms: Some(0),
            ..IssuedKey::default()
        };
        assert_eq!(
            serde_json::to_value(Permissions::of(Some(&key), &config)).unwrap(),
            json!({
                "policies": [{"name": "chat", "description": "Chat", "models": ["groq/*"], "exists": true}],
                "models": null,
                "endpoints": ["/v1/messages"],
                "expires_at": "1970-01-01T00:00:00Z",
            })
        );
        let removed = IssuedKey { policies: vec!["gone".into()], ..IssuedKey::default() };
        let permissions = Permissions::of(Some(&removed), &config);
        assert_eq!((permissions.endpoints.len(), permissions.policies[0].exists), (0, false));
        assert_eq!(Permissions::of(None, &config).endpoints, inference_endpoints());
    }
}
