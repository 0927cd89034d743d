//! Key requests.
//!
//! All requests are rows of one queue: public submissions at `/access/request-key`, and requests that operators create
//! at `/api/portal/requests`. [`super::portal`] has their document.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use validator::{Validate, ValidationError};

use super::increase::Increase;
use super::key_name::are_policy_names;
use super::submission::{Submission, developer_id};
use crate::error::{Code, Error};
use crate::json;
use crate::json::{Object, not_a_time};
use crate::text::{checked, email, invalid, visible};
use crate::time;

/// The state of a request. It is decided once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for an operator's decision.
    Pending,
    /// Has a key, or was created as approved.
    Approved,
    /// Declined.
    Declined,
}

impl State {
    /// The text in storage and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Approved => "approved",
            State::Declined => "declined",
        }
    }
}

/// The fields of a request that its creator decides.
#[derive(Clone, Debug, PartialEq, Eq, Validate)]
pub struct KeyRequestDraft {
    /// The developer: an id of the creator's own.
    #[validate(length(max = 128), custom(function = "visible"))]
    pub by_user: String,
    /// The requester's e-mail address, if it is known.
    pub email: Option<String>,
    /// Policies of the key.
    #[validate(custom(function = "are_policy_names"))]
    pub policies: Vec<String>,
    /// Statements of the requester: `use_case` and others.
    #[validate(custom(function = "are_fields"))]
    pub fields: BTreeMap<String, String>,
    /// The portal's version of requests: `v2`, or empty for legacy ones.
    #[validate(length(max = 16), custom(function = "visible"))]
    pub version: String,
    /// The date of the request that the creator states, in RFC 3339.
    pub date_created: String,
    /// Pending, or approved without a key.
    pub approved: bool,
}

/// A stored request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRequest {
    /// `kreq_…`
    pub id: String,
    /// The state.
    pub state: State,
    /// The fields that its creator decided.
    pub draft: KeyRequestDraft,
    /// The time of the decision, in milliseconds since 1970.
    pub decided_ms: Option<u64>,
    /// The actor of the decision: the label of an operator key.
    pub decided_by: Option<String>,
    /// The reason for declining.
    pub decline_reason: Option<String>,
    /// The key that was issued for it.
    pub key_id: Option<String>,
    /// The higher limits that it asks for, if it is not for a new key.
    pub increase: Option<Increase>,
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
    increase: Option<String>,
}

/// The owner of an issued key, as far as the request for it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The developer.
    pub by_user: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
}

/// A key of a developer, for the portal's document.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DeveloperKey {
    /// The key's id.
    pub id: String,
    /// Its policies.
    pub policies: Vec<String>,
}

const MAX_FIELDS: usize = 32;
/// Fields of the portal's requests for features that the gateway does not have.
const NOT_SUPPORTED: [&str; 5] = ["key", "remove_policies", "jwt_secret", "certificate", "oauth_info"];

impl KeyRequestDraft {
    /// The request of a public submission.
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

    /// The request of a key holder for higher limits. The developer of a key without one is the key.
    pub fn by_holder(owner: Owner, key_id: &str, reason: String, now_ms: u64) -> KeyRequestDraft {
        KeyRequestDraft {
            by_user: owner.by_user.unwrap_or_else(|| key_id.to_owned()),
            email: owner.email,
            policies: Vec::new(),
            fields: BTreeMap::from([("reason".to_owned(), reason)]),
            version: "v2".to_owned(),
            date_created: time::to_rfc3339(now_ms),
            approved: false,
        }
    }

    /// Reads a request as the portal's clients write it. Fields that the server sets (`id`, `org_id`,
    /// `portal_developer`, …) are ignored, so that a client can send back a request that it has read.
    pub fn read(body: &[u8], now_ms: u64) -> Result<KeyRequestDraft, Error> {
        let object = Object::read(body).map_err(|error| error.found_in("Request body malformed"))?;
        if let Some(name) = NOT_SUPPORTED.into_iter().find(|name| object.get(name).is_some_and(is_something))
        {
            let message =
                format!("'{name}' is not supported here: a request asks for a new key with policies");
            return Err(Error::new(Code::InvalidValue, message).with_param(name));
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

/// The date in the body, or the current time if there is none.
fn date_created(object: &Object, now_ms: u64) -> Result<String, Error> {
    match object.string("date_created")? {
        None | Some("" | time::GO_ZERO) => Ok(time::to_rfc3339(now_ms)),
        Some(text) => time::keep_rfc3339(text).ok_or_else(|| not_a_time("date_created")),
    }
}

fn are_fields(fields: &BTreeMap<String, String>) -> Result<(), ValidationError> {
    let fits =
        |(name, value): (&String, &String)| name.chars().count() <= 64 && value.chars().count() <= 4000;
    if fields.len() <= MAX_FIELDS && fields.iter().all(fits) {
        return Ok(());
    }
    let message = format!("has at most {MAX_FIELDS} fields, with names of 64 and texts of 4000 characters");
    Err(invalid("fields", &message).into())
}

/// Returns true if a value has content: clients send `""`, `[]` and `{"redirect_uri":""}` for empty fields.
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
    /// Reads a row of the database.
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
            increase: row.increase.map(|text| json::read(&text)).transpose().ok()?,
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
    fn reads_the_sample_of_the_documentation() {
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
    fn for_plan_and_apply_policies_are_equivalent() {
        assert_eq!(read(&json!({"for_plan": "a"})).unwrap().policies, ["a"]);
        assert_eq!(read(&json!({"for_plan": "a", "apply_policies": []})).unwrap().policies, ["a"]);
        assert_eq!(
            read(&json!({"for_plan": "a", "apply_policies": ["b", "c"]})).unwrap().policies,
            ["b", "c"]
        );
        assert!(read(&json!({"for_plan": ""})).unwrap().policies.is_empty());
    }

    #[test]
    fn the_date_is_now_by_default() {
        for body in [json!({}), json!({"date_created": ""}), json!({"date_created": time::GO_ZERO})] {
            assert_eq!(read(&body).unwrap().date_created, "2023-11-14T22:13:20Z");
        }
        assert!(read(&json!({"date_created": "yesterday"})).is_err());
    }

    #[test]
    fn rejects_fields_that_it_does_not_support() {
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
