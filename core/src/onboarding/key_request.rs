//! Key requests.
//!
//! A request is one row in one queue, whether a stranger made it at `/access/request-key` or an operator at
//! `/api/portal/requests`. [`super::portal`] shows it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use validator::{Validate, ValidationError};

use super::submission::{Submission, developer_id};
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: u64 = 1_700_000_000_000;

    fn read(body: &Value) -> Result<KeyRequestDraft, Error> {
        KeyRequestDraft::read(body.to_string().as_bytes(), NOW)
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
