//! Approvals: the delivery, the policies and the expiry of a key, which an operator decides.

use serde::Deserialize as _;
use validator::{Validate, ValidateArgs as _, ValidationError};

use crate::check::check_limits;
use crate::config::{Config, Limits};
use crate::error::{Code, Error};
use crate::json::Object;
use crate::text::{checked, invalid, within};
use crate::time;

use super::key_name::{are_policy_names, check_name};

/// The delivery of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// The operator gets the key and passes it on.
    #[default]
    Key,
    /// The operator gets a claim link and passes it on.
    Claim,
    /// The gateway sends the claim link to the requester.
    Email,
}

impl Delivery {
    /// Reads the field `delivery`.
    pub fn read(object: &Object, possible: &[Delivery]) -> Result<Delivery, Error> {
        let text = object.string("delivery")?;
        let read = match text {
            None | Some("key") => Some(Delivery::Key),
            Some("claim") => Some(Delivery::Claim),
            Some("email") => Some(Delivery::Email),
            Some(_) => None,
        };
        read.filter(|delivery| possible.contains(delivery)).ok_or_else(|| {
            let message = if possible.contains(&Delivery::Email) {
                "'delivery' must be 'key', 'claim' or 'email'"
            } else {
                "'delivery' must be 'key' or 'claim'"
            };
            Error::new(Code::InvalidValue, message).with_param("delivery")
        })
    }
}

/// The body of an approval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Validate)]
#[validate(context = "u64")]
pub struct Approval {
    /// The delivery.
    pub delivery: Delivery,
    /// The name of the key; absent: the id of the request.
    pub name: Option<String>,
    /// Policies in place of those of the request.
    #[validate(custom(function = "are_policy_names"))]
    pub policies: Option<Vec<String>>,
    /// Limits of the key itself.
    pub limits: Limits,
    /// The expiry of the key, in milliseconds since 1970.
    #[validate(custom(function = "is_ahead", use_context))]
    pub expires_ms: Option<u64>,
}

impl Approval {
    /// Reads a body, which may be missing.
    pub fn read(body: &[u8], now_ms: u64) -> Result<Approval, Error> {
        let object = Object::read_optional(body)?;
        object.only(&["delivery", "name", "apply_policies", "limits", "expires_at"])?;
        let name = object.string("name")?;
        name.map_or(Ok(()), check_name)?;
        let approval = Approval {
            name: name.map(str::to_owned),
            policies: object.strings("apply_policies")?,
            limits: limits(&object)?.unwrap_or_default(),
            expires_ms: object.time("expires_at")?,
            delivery: Delivery::read(&object, &[Delivery::Key, Delivery::Claim, Delivery::Email])?,
        };
        checked(approval.validate_with_args(&now_ms), &["policies", "expires_ms"])?;
        Ok(approval)
    }
}

/// Reads the field `limits`, whose members are those of a policy's limits.
pub(super) fn limits(object: &Object) -> Result<Option<Limits>, Error> {
    let Some(value) = object.get("limits") else { return Ok(None) };
    let limits =
        Limits::deserialize(value).map_err(|what| invalid("limits", &format!("is not valid: {what}")))?;
    check_limits("limits", &limits)
        .map_err(|what| Error::new(Code::InvalidValue, what.to_string()).with_param("limits"))?;
    Ok(Some(limits))
}

/// Rejects an expiry in the past.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "the derived code passes its context by reference")]
pub(super) fn is_ahead(expires_ms: u64, now_ms: &u64) -> Result<(), ValidationError> {
    if expires_ms > *now_ms { Ok(()) } else { Err(invalid("expires_at", "must be in the future").into()) }
}

/// Rejects unknown policies.
pub fn check_known_policies(config: &Config, policies: &[String]) -> Result<(), Error> {
    config.check_policies(policies).map_err(|name| {
        let known: Vec<_> = config.policies.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let name: String = name.chars().take(64).collect();
        let message = format!("Unknown policy '{name}'; the configured policies are: {known}");
        Error::new(Code::UnknownPolicy, message).with_param("policies")
    })
}

/// The expiry of a key: the earliest of the requested time and the expiries of its policies.
pub fn expiry(config: &Config, policies: &[String], said_ms: Option<u64>, now_ms: u64) -> Option<u64> {
    let of_policies = policies
        .iter()
        .filter_map(|name| config.policies.get(name)?.expires_days)
        .map(|days| now_ms + u64::from(days) * time::DAY_MS);
    of_policies.chain(said_ms).min()
}

/// Reads the reason for declining, from a body that may be missing.
pub fn decline_reason(body: &[u8]) -> Result<Option<String>, Error> {
    let object = Object::read_optional(body)?;
    object.only(&["reason"])?;
    let reason = object.string("reason")?.map(str::trim).filter(|reason| !reason.is_empty());
    reason.map_or(Ok(()), |reason| within("reason", reason, 0, 500))?;
    Ok(reason.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: u64 = 1_700_000_000_000;

    fn config() -> Config {
        serde_json::from_value(json!({"policies": {"basic": {"expires_days": 30}, "open": {}}})).unwrap()
    }

    #[test]
    fn reads_approvals_and_declines() {
        assert_eq!(Approval::read(b"", NOW).unwrap(), Approval::default());
        assert_eq!(Approval::read(b"null", NOW).unwrap_err().code(), Some("invalid_json"));
        let body = br#"{"delivery":"claim","apply_policies":["open"],"limits":{"usd_total":5},"expires_at":"2030-01-01T00:00:00Z"}"#;
        let approval = Approval::read(body, NOW).unwrap();
        assert_eq!(approval.limits.usd_total, Some(crate::money::MicroUsd(5_000_000)));
        assert_eq!((approval.delivery, approval.expires_ms.is_some()), (Delivery::Claim, true));
        assert!(Approval::read(br#"{"expires_at":"2020-01-01T00:00:00Z"}"#, NOW).is_err());
        assert_eq!(Approval::read(br#"{"name":"ci"}"#, NOW).unwrap().name.as_deref(), Some("ci"));
        assert!(Approval::read(br#"{"name":"a b"}"#, NOW).unwrap_err().is(Code::NameDoesNotMatchPattern));
        assert!(Approval::read(br#"{"deliver":"claim"}"#, NOW).unwrap_err().is(Code::UnknownMember));
        assert!(Approval::read(br#"{"delivery":"pigeon"}"#, NOW).is_err());
        assert_eq!(decline_reason(br#"{"reason":" no "}"#).unwrap().as_deref(), Some("no"));
        assert_eq!(decline_reason(b"").unwrap(), None);
    }

    #[test]
    fn the_earliest_expiry_applies() {
        let both = ["basic".to_owned(), "open".to_owned()];
        let thirty_days = NOW + 30 * time::DAY_MS;
        assert_eq!(expiry(&config(), &both, None, NOW), Some(thirty_days));
        assert_eq!(expiry(&config(), &both, Some(NOW + 5), NOW), Some(NOW + 5));
        assert_eq!(expiry(&config(), &both[1..], None, NOW), None);
        assert!(check_known_policies(&config(), &both).is_ok());
        let error = check_known_policies(&config(), &["gold".to_owned()]).unwrap_err();
        assert_eq!(error.message, "Unknown policy 'gold'; the configured policies are: basic, open");
    }
}
