//! Requests for keys, in the words of `/api/portal/requests`.
//!
//! Whoever made it, a stranger at `/access/request-key` or an operator here, a request is one row in one queue. What the
//! portal's clients know beyond it (the developer, the catalogue entry) is put around it when it is shown.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use validator::{Validate, ValidationError};

use super::ORG_ID;
use super::submission::{Submission, developer_id};
use crate::config::Config;
use crate::error::{Code, Error};
use crate::json;
use crate::json::{Object, not_a_time};
use crate::text::{checked, email, invalid, visible};
use crate::time;

/// How far a request has come. There is no way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for an operator.
    Pending,
    /// Has a key, or was made as approved.
    Approved,
    /// Was refused.
    Declined,
}

impl State {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Approved => "approved",
            State::Declined => "declined",
        }
    }
}

/// What a request asks for: what the one who makes it decides.
#[derive(Clone, Debug, PartialEq, Eq, Validate)]
pub struct KeyRequestDraft {
    /// Whom it is for; an id that means something to the one who made it.
    #[validate(length(max = 128), custom(function = "visible"))]
    pub by_user: String,
    /// Where the answer goes, if that is known.
    pub email: Option<String>,
    /// Policies of the key to be.
    #[validate(custom(function = "are_policy_names"))]
    pub policies: Vec<String>,
    /// What was told: `use_case` and others.
    #[validate(custom(function = "are_fields"))]
    pub fields: BTreeMap<String, String>,
    /// The portal's version of requests: `v2`, or empty for legacy ones.
    #[validate(length(max = 16), custom(function = "visible"))]
    pub version: String,
    /// When it was made, as the one who made it says, in RFC 3339.
    pub date_created: String,
    /// Pending, or approved without a key.
    pub approved: bool,
}

/// A request as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRequest {
    /// `kreq_…`
    pub id: String,
    /// How far it has come.
    pub state: State,
    /// What it asks for.
    pub draft: KeyRequestDraft,
    /// When it was decided on, in milliseconds since 1970.
    pub decided_ms: Option<u64>,
    /// By whom: the label of an operator's key.
    pub decided_by: Option<String>,
    /// Why it was declined.
    pub decline_reason: Option<String>,
    /// The key that it became.
    pub key_id: Option<String>,
}

/// A row of the database: lists and maps are JSON texts.
#[derive(Deserialize)]
struct Row {
    id: String,
    state: State,
    by_user: String,
    email: Option<String>,
    policies: String,
    fields: String,
    version: String,
    date_created: String,
    decided_ms: Option<u64>,
    decided_by: Option<String>,
    decline_reason: Option<String>,
    key_id: Option<String>,
}

/// A key of a developer, as the portal shows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DeveloperKey {
    /// The key's id.
    pub id: String,
    /// Its policies.
    pub policies: Vec<String>,
}

const MAX_POLICIES: usize = 16;
const MAX_FIELDS: usize = 32;
/// Members of the portal's requests that ask for what a gateway of bearer keys does not have.
const NOT_SUPPORTED: [&str; 5] = ["key", "remove_policies", "jwt_secret", "certificate", "oauth_info"];

impl KeyRequestDraft {
    /// What a stranger's submission asks for.
    pub fn by_stranger(submission: Submission, policies: Vec<String>, now_ms: u64) -> KeyRequestDraft {
        KeyRequestDraft {
            by_user: submission.by_user(),
            email: Some(submission.email),
            policies,
            fields: submission.fields,
            version: "v2".to_owned(),
            date_created: time::to_rfc3339(now_ms),
            approved: false,
        }
    }

    /// Reads a request as the portal's clients write it. Members that the server makes (`id`, `org_id`,
    /// `portal_developer`, …) are ignored, so that what was read can be sent back.
    pub fn read(body: &[u8], now_ms: u64) -> Result<KeyRequestDraft, Error> {
        let object = Object::read(body).map_err(|error| error.found_in("Request body malformed"))?;
        if let Some(name) = NOT_SUPPORTED.into_iter().find(|name| object.get(name).is_some_and(is_something))
        {
            let words = format!("'{name}' is not supported here: a request asks for a new key with policies");
            return Err(Error::new(Code::InvalidValue, words).with_param(name));
        }
        let policies = match object.strings("apply_policies")? {
            Some(policies) if !policies.is_empty() => policies,
            _ => object
                .string("for_plan")?
                .filter(|plan| !plan.is_empty())
                .map(str::to_owned)
                .into_iter()
                .collect(),
        };
        let fields = object.string_map("fields")?.unwrap_or_default();
        let email = fields
            .get("email")
            .map(|text| email(text))
            .transpose()
            .map_err(|error| error.found_in("'fields.email'"))?;
        let by_user = object.string("by_user")?.unwrap_or_default();
        let draft = KeyRequestDraft {
            by_user: match &email {
                Some(email) if by_user.is_empty() => developer_id(email),
                _ => by_user.to_owned(),
            },
            email,
            policies,
            fields,
            version: object.string("version")?.unwrap_or_default().to_owned(),
            date_created: date_created(&object, now_ms)?,
            approved: object.boolean("approved")?.unwrap_or(false),
        };
        checked(draft.validate(), &["policies", "fields", "by_user", "version"])?;
        Ok(draft)
    }
}

/// The date that was given, or the present one where none was.
fn date_created(object: &Object, now_ms: u64) -> Result<String, Error> {
    match object.string("date_created")? {
        None | Some("" | time::GO_ZERO) => Ok(time::to_rfc3339(now_ms)),
        Some(text) => time::keep_rfc3339(text).ok_or_else(|| not_a_time("date_created")),
    }
}

/// Checks the form of policies' names; whether there are such policies is asked when a key is made.
pub(super) fn are_policy_names(policies: &[String]) -> Result<(), ValidationError> {
    if policies.len() <= MAX_POLICIES && policies.iter().all(|name| (1..=64).contains(&name.len())) {
        return Ok(());
    }
    let words = format!("has at most {MAX_POLICIES} names of 1 to 64 characters");
    Err(invalid("apply_policies", &words).into())
}

fn are_fields(fields: &BTreeMap<String, String>) -> Result<(), ValidationError> {
    let fits =
        |(name, value): (&String, &String)| name.chars().count() <= 64 && value.chars().count() <= 4000;
    if fields.len() <= MAX_FIELDS && fields.iter().all(fits) {
        return Ok(());
    }
    let words = format!("has at most {MAX_FIELDS} members, names of 64 and texts of 4000 characters");
    Err(invalid("fields", &words).into())
}

/// Whether a value says anything: clients write `""`, `[]` and `{"redirect_uri":""}` for nothing.
fn is_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => items.iter().any(is_something),
        Value::Object(members) => members.values().any(is_something),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

impl KeyRequest {
    /// Reads the database's row.
    pub fn from_row(row: &Value) -> Option<KeyRequest> {
        let row = Row::deserialize(row).ok()?;
        Some(KeyRequest {
            id: row.id,
            state: row.state,
            draft: KeyRequestDraft {
                by_user: row.by_user,
                email: row.email,
                policies: json::read(&row.policies).ok()?,
                fields: json::read(&row.fields).ok()?,
                version: row.version,
                date_created: row.date_created,
                approved: row.state == State::Approved,
            },
            decided_ms: row.decided_ms,
            decided_by: row.decided_by,
            decline_reason: row.decline_reason,
            key_id: row.key_id,
        })
    }

    /// The request as the portal shows it, with the live keys of its developer.
    pub fn to_portal(&self, keys: &[DeveloperKey], config: &Config) -> Value {
        let draft = &self.draft;
        let mut key_policies = BTreeMap::new();
        let mut policy_keys = BTreeMap::new();
        for key in keys {
            key_policies.insert(key.id.clone(), json!(key.policies));
            for policy in &key.policies {
                policy_keys.insert(policy.clone(), json!(key.id));
            }
        }
        json!({
            "id": self.id,
            "org_id": ORG_ID,
            "for_api": "",
            "for_plan": draft.policies.first().map_or("", String::as_str),
            "apply_policies": draft.policies,
            "by_user": draft.by_user,
            "fields": draft.fields,
            "approved": self.state == State::Approved,
            "date_created": draft.date_created,
            "version": draft.version,
            "jwt_secret": "",
            "portal_developer": {
                "id": draft.by_user,
                "email": draft.email.as_deref().unwrap_or_default(),
                "date_created": draft.date_created,
                "inactive": false,
                "org_id": ORG_ID,
                "keys": key_policies,
                "subscriptions": policy_keys,
                "fields": {},
                "nonce": "",
                "sso_key": "",
            },
            "catalogue_entry": self.catalogue_entry(config),
            "state": self.state.as_str(),
            "decline_reason": self.decline_reason,
            "decided_at": self.decided_ms.map(time::to_rfc3339),
            "decided_by": self.decided_by,
            "key_id": self.key_id,
        })
    }

    /// The catalogue entry of the first policy, if there is such a policy: here, policies are the catalogue.
    fn catalogue_entry(&self, config: &Config) -> Option<Value> {
        let id = self.draft.policies.first()?;
        let policy = config.policies.get(id)?;
        let mail =
            || json!({"enabled": false, "subject": "", "body": "", "sign_off": "", "hide_token_data": true});
        Some(json!({
            "name": id,
            "short_description": policy.description,
            "long_description": "",
            "show": true,
            "api_id": "",
            "policy_id": id,
            "documentation": "",
            "version": "v2",
            "config": {
                "id": "",
                "org_id": ORG_ID,
                "signup_fields": [],
                "key_request_fields": ["use_case"],
                "require_key_approval": true,
                "redirect_on_key_request": false,
                "redirect_to": "",
                "disable_login": true,
                "disable_signup": true,
                "disable_auto_login": true,
                "catalogue_login_only": false,
                "mail_options": {
                    "mail_from_name": "",
                    "mail_from_email": config.email.from.as_deref().unwrap_or_default(),
                    "email_copy": {"welcome_email": mail(), "key_email": mail()},
                },
                "override": false,
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: u64 = 1_700_000_000_000;

    fn read(body: &Value) -> Result<KeyRequestDraft, Error> {
        KeyRequestDraft::read(body.to_string().as_bytes(), NOW)
    }

    fn config() -> Config {
        serde_json::from_value(
            json!({"policies": {"basic": {"description": "To begin with", "expires_days": 30}, "open": {}}}),
        )
        .unwrap()
    }

    #[test]
    fn reads_the_seeds_sample() {
        let draft = read(&json!({
            "by_user": "554c733a30c55e4b16000002",
            "date_created": "2015-05-08T04:49:20.992-04:00",
            "fields": {"custom1": "sdf", "custom2": "sdf"},
            "for_plan": "554c789030c55e4ca0101002",
            "apply_policies": ["554c789030c55e4ca0101002"],
            "version": "v2",
        }))
        .unwrap();
        assert_eq!(draft.by_user, "554c733a30c55e4b16000002");
        assert_eq!(draft.policies, ["554c789030c55e4ca0101002"]);
        assert_eq!(draft.date_created, "2015-05-08T04:49:20.992-04:00");
        assert!(!draft.approved);
    }

    #[test]
    fn for_plan_and_apply_policies_are_the_same_thing() {
        assert_eq!(read(&json!({"for_plan": "a"})).unwrap().policies, ["a"]);
        assert_eq!(read(&json!({"for_plan": "a", "apply_policies": []})).unwrap().policies, ["a"]);
        assert_eq!(
            read(&json!({"for_plan": "a", "apply_policies": ["b", "c"]})).unwrap().policies,
            ["b", "c"]
        );
        assert!(read(&json!({"for_plan": ""})).unwrap().policies.is_empty());
    }

    #[test]
    fn a_date_that_was_not_given_is_now() {
        for body in [json!({}), json!({"date_created": ""}), json!({"date_created": time::GO_ZERO})] {
            assert_eq!(read(&body).unwrap().date_created, "2023-11-14T22:13:20Z");
        }
        assert!(read(&json!({"date_created": "yesterday"})).is_err());
    }

    #[test]
    fn what_was_read_can_be_sent_back() {
        let draft = read(
            &json!({"by_user": "u", "apply_policies": ["basic"], "fields": {"a": "b"}, "version": "v2"}),
        )
        .unwrap();
        let request = KeyRequest {
            id: "kreq_1".into(),
            state: State::Pending,
            draft: draft.clone(),
            decided_ms: None,
            decided_by: None,
            decline_reason: None,
            key_id: None,
        };
        let keys = [DeveloperKey { id: "k1".into(), policies: vec!["basic".into(), "open".into()] }];
        let shown = request.to_portal(&keys, &config());
        assert_eq!(read(&shown).unwrap(), draft);
        assert_eq!(shown["portal_developer"]["keys"], json!({"k1": ["basic", "open"]}));
        assert_eq!(shown["portal_developer"]["subscriptions"], json!({"basic": "k1", "open": "k1"}));
        assert_eq!(shown["catalogue_entry"]["short_description"], "To begin with");
        assert_eq!(shown["for_plan"], "basic");
        assert!(request.to_portal(&[], &Config::default())["catalogue_entry"].is_null());
    }

    #[test]
    fn refuses_what_it_would_not_do() {
        for (body, part) in [
            (json!({"key": "abc"}), "'key' is not supported"),
            (json!({"oauth_info": {"redirect_uri": "https://a.example"}}), "'oauth_info'"),
            (json!({"fields": {"a": 1}}), "object of strings"),
            (json!({"fields": {"email": "x\r\ny"}}), "'fields.email'"),
            (json!({"apply_policies": "a"}), "array of strings"),
            (json!({"apply_policies": [""]}), "1 to 64"),
            (json!({"by_user": "x".repeat(129)}), "at most 128"),
            (json!({"approved": "yes"}), "true or false"),
        ] {
            let error = read(&body).unwrap_err();
            assert!(error.message.contains(part), "{body}: {}", error.message);
        }
        let nothing =
            json!({"key": "", "oauth_info": {"redirect_uri": ""}, "remove_policies": [], "jwt_secret": null});
        assert!(read(&nothing).is_ok());
        assert!(KeyRequestDraft::read(b"{", NOW).unwrap_err().message.starts_with("Request body malformed"));
    }
}
