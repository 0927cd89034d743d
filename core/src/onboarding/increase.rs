//! Requests of key holders for higher limits: `POST /usage/request-increase`.
//!
//! Such a request is a row of the queue of key requests, so that operators see both in one list. Its approval changes the
//! limits of the key, and issues none. A key can ask only for more of a limit that it has.

use serde::{Deserialize, Serialize};

use super::api_key::Settings;
use super::approval::{Approval, Delivery, check_known_policies, limits};
use crate::config::{Config, Limits};
use crate::error::{Code, Error};
use crate::json::Object;
use crate::key::IssuedKey;
use crate::ledger::Limit;
use crate::ledger::limit::table;
use crate::text::{Faults, invalid, visible_lines, within};

/// The maximum length of a reason, in characters.
const MAX_REASON: u64 = 2000;

/// The part of a key request that asks for higher limits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Increase {
    /// The key.
    pub key_id: String,
    /// Its name.
    pub key_name: String,
    /// The limits that are wanted.
    pub limits: Limits,
    /// The limits of the same kinds at the time of the request: the strictest of the key and its policies.
    pub current: Limits,
}

/// Reads a body, and checks it against the limits of the key. Returns the wish and its reason.
pub fn read(body: &[u8], key: &IssuedKey, config: &Config) -> Result<(Increase, String), Error> {
    let object = Object::read(body)?;
    object.only(&["limits", "reason"])?;
    let mut faults = Faults::default();
    let wanted = faults.note("limits", wanted(&object)).unwrap_or_default();
    let reason = faults.note("reason", reason(&object)).unwrap_or_default();
    faults.into_result(&["limits", "reason"])?;
    let current = strictest(&key.limits, &key.policies, config).only(&wanted);
    for ((name, .., wanted), (.., current)) in table(&wanted).into_iter().zip(table(&current)) {
        let Some(wanted) = wanted else { continue };
        match current.and_then(|amount| Limit::of_counter(name, amount)) {
            None => {
                let message =
                    format!("'limits.{name}': this key has no such limit, so there is nothing to raise");
                return Err(Error::new(Code::InvalidValue, message).with_param("limits"));
            }
            Some(current) if wanted <= current.amount => {
                let message = format!(
                    "'limits.{name}' must be above the present limit, which is {}",
                    current.describe()
                );
                return Err(Error::new(Code::InvalidValue, message).with_param("limits"));
            }
            Some(_) => {}
        }
    }
    let increase = Increase { key_id: key.id.clone(), key_name: key.name.clone(), limits: wanted, current };
    Ok((increase, reason))
}

fn wanted(object: &Object) -> Result<Limits, Error> {
    let wanted = limits(object)?.filter(|limits| *limits != Limits::default());
    wanted.ok_or_else(|| {
        let message = "'limits' is missing: name at least one limit and the amount that you need, such as \
                       {\"usd_per_month\": 100}";
        Error::new(Code::MissingMember, message).with_param("limits")
    })
}

fn reason(object: &Object) -> Result<String, Error> {
    let reason = object.required_string("reason")?.trim();
    within("reason", reason, 1, MAX_REASON)?;
    visible_lines(reason).map_err(|_| invalid("reason", "must have no control characters"))?;
    Ok(reason.to_owned())
}

/// The limits that apply to all models together, of a key and its policies. A policy that no longer exists has none.
fn strictest(own: &Limits, policies: &[String], config: &Config) -> Limits {
    let policies = policies.iter().filter_map(|name| config.policies.get(name));
    policies.fold(own.clone(), |limits, policy| limits.strictest(&policy.limits))
}

impl Increase {
    /// The settings of the key after an approval, which may grant other limits and change the policies.
    pub fn settings(&self, key: &Settings, approval: &Approval, config: &Config) -> Result<Settings, Error> {
        for (field, is_given) in [
            ("delivery", approval.delivery != Delivery::Key),
            ("name", approval.name.is_some()),
            ("expires_at", approval.expires_ms.is_some()),
        ] {
            if is_given {
                return Err(invalid(
                    field,
                    "has no effect here: this request is for higher limits of an existing key",
                ));
            }
        }
        let granted = if approval.limits == Limits::default() { &self.limits } else { &approval.limits };
        let policies = approval.policies.clone().unwrap_or_else(|| key.policies.clone());
        check_known_policies(config, &policies)?;
        let own = granted.over(&key.limits);
        let effective = strictest(&own, &policies, config).only(granted);
        let held_back = policies.iter().find_map(|name| {
            let stricter = config.policies.get(name)?.limits.only(granted);
            let kinds = table(&stricter).into_iter().zip(table(granted));
            let mut below = kinds.filter_map(|((limit, .., of_policy), (.., granted))| {
                of_policy.filter(|amount| Some(*amount) < granted).map(|amount| (limit, amount))
            });
            below.next().map(|(limit, amount)| (name, limit, amount))
        });
        if let Some((name, limit, amount)) = held_back.filter(|_| effective != *granted) {
            let present = Limit::of_counter(limit, amount).map_or_else(String::new, |limit| limit.describe());
            let message = format!(
                "The policy '{name}' of the key limits it to {present}, so a higher limit of the key itself would have no \
                 effect: change the policy, or approve with 'apply_policies' that allow more"
            );
            return Err(Error::new(Code::InvalidValue, message).with_param("apply_policies"));
        }
        Ok(Settings { limits: own, policies, ..key.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config() -> Config {
        serde_json::from_value(json!({"policies": {
            "small": {"limits": {"requests_per_minute": 10, "usd_per_day": 5}},
            "large": {"limits": {"requests_per_minute": 100}},
        }}))
        .unwrap()
    }

    fn key() -> IssuedKey {
        let limits = Limits { requests_per_minute: Some(20), concurrent: Some(2), ..Limits::default() };
        let policies = vec!["small".to_owned()];
        IssuedKey { id: "1".into(), name: "ci".into(), limits, policies, ..IssuedKey::default() }
    }

    fn asked(body: &str) -> Result<Increase, Error> {
        read(body.as_bytes(), &key(), &config()).map(|(increase, _)| increase)
    }

    #[test]
    fn a_request_states_what_it_wants_and_what_applies_now() {
        let body =
            br#"{"limits":{"requests_per_minute":50,"usd_per_day":7.5},"reason":" more users\nin May "}"#;
        let (increase, reason) = read(body, &key(), &config()).unwrap();
        assert_eq!(reason, "more users\nin May");
        assert_eq!(
            serde_json::to_value(&increase).unwrap(),
            json!({"key_id": "1", "key_name": "ci", "limits": {"requests_per_minute": 50, "usd_per_day": 7.5},
                "current": {"requests_per_minute": 10, "usd_per_day": 5.0}})
        );
    }

    #[test]
    fn each_fault_names_its_field_and_the_present_limit() {
        for (body, code, param, part) in [
            (r#"{"reason":"x"}"#, "missing_member", "limits", "name at least one limit"),
            (r#"{"limits":{},"reason":"x"}"#, "missing_member", "limits", "name at least one limit"),
            (r#"{"limits":{"usd_per_day":9}}"#, "missing_member", "reason", "'reason' is missing"),
            (r#"{"limits":{"usd_per_day":9},"reason":" "}"#, "invalid_value", "reason", "must not be empty"),
            (r#"{"limits":{"usd_per_day":0},"reason":"x"}"#, "invalid_value", "limits", "greater than 0"),
            (
                r#"{"limits":{"usd_per_day":5},"reason":"x"}"#,
                "invalid_value",
                "limits",
                "which is 5 USD per day",
            ),
            (r#"{"limits":{"usd_total":5},"reason":"x"}"#, "invalid_value", "limits", "has no such limit"),
            (r#"{"limits":{"usd_per_week":5},"reason":"x"}"#, "invalid_value", "limits", "usd_per_week"),
            (r#"{"limits":{"usd_per_day":9},"why":"x"}"#, "unknown_member", "why", "limits, reason"),
        ] {
            let error = asked(body).unwrap_err();
            assert_eq!((error.code(), error.param.as_deref()), (Some(code), Some(param)), "{body}");
            assert!(error.message.contains(part), "{body}: {}", error.message);
        }
    }

    #[test]
    fn an_approval_raises_the_limits_unless_a_policy_holds_them_back() {
        let settings = Settings { limits: key().limits, policies: key().policies, ..Settings::default() };
        let increase = asked(r#"{"limits":{"requests_per_minute":50},"reason":"x"}"#).unwrap();
        let error = increase.settings(&settings, &Approval::default(), &config()).unwrap_err();
        assert_eq!((error.code(), error.param.as_deref()), (Some("invalid_value"), Some("apply_policies")));
        assert!(error.message.contains("'small'") && error.message.contains("10 requests per minute"));

        let approval = Approval { policies: Some(vec!["large".into()]), ..Approval::default() };
        let raised = increase.settings(&settings, &approval, &config()).unwrap();
        assert_eq!(raised.policies, ["large"]);
        assert_eq!((raised.limits.requests_per_minute, raised.limits.concurrent), (Some(50), Some(2)));

        let other = Limits { concurrent: Some(9), ..Limits::default() };
        let approval = Approval { limits: other, ..Approval::default() };
        let raised = increase.settings(&settings, &approval, &config()).unwrap();
        assert_eq!((raised.limits.requests_per_minute, raised.limits.concurrent), (Some(20), Some(9)));

        let named = Approval { name: Some("x".into()), ..Approval::default() };
        assert_eq!(
            increase.settings(&settings, &named, &config()).unwrap_err().param.as_deref(),
            Some("name")
        );
    }
}
