//! The document of a key request in `/api/portal/requests` and webhooks.
//!
//! The structure is that of the portal whose clients read it (docs/compatibility.md): the request has a developer and a
//! catalogue entry, most of whose fields are constant.

use std::collections::BTreeMap;

use serde::Serialize;

use super::ORG_ID;
use super::increase::Increase;
use super::key_request::{DeveloperKey, KeyRequest, State};
use crate::config::{Config, Policy};
use crate::time::to_rfc3339;

/// A key request, with the live keys of its developer.
#[derive(Clone, Debug, Serialize)]
pub struct PortalRequest<'a> {
    /// `kreq_…`
    pub id: &'a str,
    /// The organisation: always the same.
    pub org_id: &'static str,
    /// Empty: requests are for policies.
    pub for_api: &'static str,
    /// The first policy; empty if there is none.
    pub for_plan: &'a str,
    /// Policies of the key.
    pub apply_policies: &'a [String],
    /// The developer's id.
    pub by_user: &'a str,
    /// `use_case` and other statements of the requester.
    pub fields: &'a BTreeMap<String, String>,
    /// The request is approved.
    pub approved: bool,
    /// The time of the request, in RFC 3339.
    pub date_created: &'a str,
    /// The portal's version of requests: `v2`, or empty for legacy ones.
    pub version: &'a str,
    /// Empty: keys are not JWTs.
    pub jwt_secret: &'static str,
    /// The developer.
    pub portal_developer: Developer<'a>,
    /// The catalogue entry of the first policy, if the configuration has that policy.
    pub catalogue_entry: Option<CatalogueEntry<'a>>,
    /// The state of the request.
    pub state: &'static str,
    /// The reason for declining.
    pub decline_reason: Option<&'a str>,
    /// The time of the decision, in RFC 3339.
    pub decided_at: Option<String>,
    /// The label of the operator key of the decision.
    pub decided_by: Option<&'a str>,
    /// The id of the key that was issued for it.
    pub key_id: Option<&'a str>,
    /// The higher limits that a key holder asks for; absent in requests for a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub increase: Option<&'a Increase>,
}

/// A developer.
#[derive(Clone, Debug, Serialize)]
pub struct Developer<'a> {
    /// The developer's id.
    pub id: &'a str,
    /// The e-mail address; empty if it is unknown.
    pub email: &'a str,
    /// The time of the request, in RFC 3339.
    pub date_created: &'a str,
    /// Always false.
    pub inactive: bool,
    /// The organisation.
    pub org_id: &'static str,
    /// The policies of each live key, by the key's id.
    pub keys: BTreeMap<&'a str, &'a [String]>,
    /// The id of a live key for each policy.
    pub subscriptions: BTreeMap<&'a str, &'a str>,
    /// Nothing.
    pub fields: Nothing,
    /// Empty.
    pub nonce: &'static str,
    /// Empty.
    pub sso_key: &'static str,
}

/// An object without fields.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Nothing {}

/// The catalogue entry of a policy.
#[derive(Clone, Debug, Serialize)]
pub struct CatalogueEntry<'a> {
    /// The policy's name.
    pub name: &'a str,
    /// The policy's description.
    pub short_description: &'a str,
    /// Empty.
    pub long_description: &'static str,
    /// Always true.
    pub show: bool,
    /// Empty.
    pub api_id: &'static str,
    /// The policy's name.
    pub policy_id: &'a str,
    /// Empty.
    pub documentation: &'static str,
    /// `v2`.
    pub version: &'static str,
    /// The settings of requests for the policy.
    pub config: CatalogueConfig<'a>,
}

/// The settings of requests for a policy.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the portal's shape")]
pub struct CatalogueConfig<'a> {
    /// Empty.
    pub id: &'static str,
    /// The organisation.
    pub org_id: &'static str,
    /// None: developers do not sign up.
    pub signup_fields: [&'static str; 0],
    /// The fields of a request.
    pub key_request_fields: [&'static str; 1],
    /// Always true.
    pub require_key_approval: bool,
    /// Always false.
    pub redirect_on_key_request: bool,
    /// Empty.
    pub redirect_to: &'static str,
    /// Always true.
    pub disable_login: bool,
    /// Always true.
    pub disable_signup: bool,
    /// Always true.
    pub disable_auto_login: bool,
    /// Always false.
    pub catalogue_login_only: bool,
    /// The sender of e-mails.
    pub mail_options: MailOptions<'a>,
    /// Always false.
    #[serde(rename = "override")]
    pub overrides: bool,
}

/// The sender and the texts of e-mails.
#[derive(Clone, Debug, Serialize)]
pub struct MailOptions<'a> {
    /// Empty.
    pub mail_from_name: &'static str,
    /// The address that the gateway sends from; empty if it sends no e-mail.
    pub mail_from_email: &'a str,
    /// The texts.
    pub email_copy: EmailCopy,
}

/// The texts of e-mails, all disabled.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct EmailCopy {
    /// After sign-up.
    pub welcome_email: EmailText,
    /// With the key.
    pub key_email: EmailText,
}

/// The text of one e-mail.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct EmailText {
    /// The e-mail is sent.
    pub enabled: bool,
    /// Its subject.
    pub subject: &'static str,
    /// Its text.
    pub body: &'static str,
    /// Its last line.
    pub sign_off: &'static str,
    /// The e-mail is sent without the key.
    pub hide_token_data: bool,
}

impl Default for EmailText {
    fn default() -> EmailText {
        EmailText { enabled: false, subject: "", body: "", sign_off: "", hide_token_data: true }
    }
}

impl<'a> PortalRequest<'a> {
    /// The request with the live keys of its developer.
    pub fn of(
        request: &'a KeyRequest,
        keys: impl IntoIterator<Item = &'a DeveloperKey>,
        config: &'a Config,
    ) -> PortalRequest<'a> {
        let draft = &request.draft;
        let mut key_policies = BTreeMap::new();
        let mut policy_keys = BTreeMap::new();
        for key in keys {
            key_policies.insert(key.id.as_str(), key.policies.as_slice());
            for policy in &key.policies {
                policy_keys.insert(policy.as_str(), key.id.as_str());
            }
        }
        let policy = draft.policies.first();
        PortalRequest {
            id: &request.id,
            org_id: ORG_ID,
            for_api: "",
            for_plan: policy.map_or("", String::as_str),
            apply_policies: &draft.policies,
            by_user: &draft.by_user,
            fields: &draft.fields,
            approved: request.state == State::Approved,
            date_created: &draft.date_created,
            version: &draft.version,
            jwt_secret: "",
            portal_developer: Developer {
                id: &draft.by_user,
                email: draft.email.as_deref().unwrap_or_default(),
                date_created: &draft.date_created,
                inactive: false,
                org_id: ORG_ID,
                keys: key_policies,
                subscriptions: policy_keys,
                fields: Nothing {},
                nonce: "",
                sso_key: "",
            },
            catalogue_entry: policy
                .and_then(|name| Some(CatalogueEntry::of(name, config.policies.get(name)?, config))),
            state: request.state.as_str(),
            decline_reason: request.decline_reason.as_deref(),
            decided_at: request.decided_ms.map(to_rfc3339),
            decided_by: request.decided_by.as_deref(),
            key_id: request.key_id.as_deref(),
            increase: request.increase.as_ref(),
        }
    }
}

impl<'a> CatalogueEntry<'a> {
    fn of(name: &'a str, policy: &'a Policy, config: &'a Config) -> CatalogueEntry<'a> {
        CatalogueEntry {
            name,
            short_description: &policy.description,
            long_description: "",
            show: true,
            api_id: "",
            policy_id: name,
            documentation: "",
            version: "v2",
            config: CatalogueConfig {
                id: "",
                org_id: ORG_ID,
                signup_fields: [],
                key_request_fields: ["use_case"],
                require_key_approval: true,
                redirect_on_key_request: false,
                redirect_to: "",
                disable_login: true,
                disable_signup: true,
                disable_auto_login: true,
                catalogue_login_only: false,
                mail_options: MailOptions {
                    mail_from_name: "",
                    mail_from_email: config.email.from.as_deref().unwrap_or_default(),
                    email_copy: EmailCopy::default(),
                },
                overrides: false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::to_text;
    use crate::onboarding::key_request::KeyRequestDraft;
    use serde_json::json;

    #[test]
    fn a_document_can_be_sent_back() {
        let config: Config = serde_json::from_value(
            json!({"policies": {"basic": {"description": "To begin with"}, "open": {}}}),
        )
        .unwrap();
        let body =
            json!({"by_user": "u", "apply_policies": ["basic"], "fields": {"a": "b"}, "version": "v2"});
        let draft = KeyRequestDraft::read(body.to_string().as_bytes(), 1_700_000_000_000).unwrap();
        let request = KeyRequest {
            id: "kreq_1".into(),
            state: State::Pending,
            draft: draft.clone(),
            decided_ms: None,
            decided_by: None,
            decline_reason: None,
            key_id: None,
            increase: None,
        };
        let keys = [DeveloperKey { id: "k1".into(), policies: vec!["basic".into(), "open".into()] }];
        let text = to_text(&PortalRequest::of(&request, &keys, &config));
        assert_eq!(KeyRequestDraft::read(text.as_bytes(), 0).unwrap(), draft);
        let mail = r#"{"enabled":false,"subject":"","body":"","sign_off":"","hide_token_data":true}"#;
        let expected = [
            r#"{"id":"kreq_1","org_id":"ORG","for_api":"","for_plan":"basic","apply_policies":["basic"],"by_user":"u","#,
            r#""fields":{"a":"b"},"approved":false,"date_created":"2023-11-14T22:13:20Z","version":"v2","jwt_secret":"","#,
            r#""portal_developer":{"id":"u","email":"","date_created":"2023-11-14T22:13:20Z","inactive":false,"#,
            r#""org_id":"ORG","keys":{"k1":["basic","open"]},"subscriptions":{"basic":"k1","open":"k1"},"fields":{},"#,
            r#""nonce":"","sso_key":""},"catalogue_entry":{"name":"basic","short_description":"To begin with","#,
            r#""long_description":"","show":true,"api_id":"","policy_id":"basic","documentation":"","version":"v2","#,
            r#""config":{"id":"","org_id":"ORG","signup_fields":[],"key_request_fields":["use_case"],"#,
            r#""require_key_approval":true,"redirect_on_key_request":false,"redirect_to":"","disable_login":true,"#,
            r#""disable_signup":true,"disable_auto_login":true,"catalogue_login_only":false,"mail_options":"#,
            r#"{"mail_from_name":"","mail_from_email":"","email_copy":{"welcome_email":MAIL,"key_email":MAIL}},"#,
            r#""override":false}},"state":"pending","decline_reason":null,"decided_at":null,"decided_by":null,"#,
            r#""key_id":null}"#,
        ];
        assert_eq!(text, expected.concat().replace("MAIL", mail).replace("ORG", ORG_ID));
        assert!(PortalRequest::of(&request, &[], &Config::default()).catalogue_entry.is_none());
    }
}
