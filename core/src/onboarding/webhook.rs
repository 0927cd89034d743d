//! Webhooks: the body, the signature and the retries.
//!
//! Signed according to Standard Webhooks 1.0, so that its libraries verify it: `webhook-id`, `webhook-timestamp`
//! (seconds) and `webhook-signature`, which is `v1,` and the base64 of the HMAC-SHA256 of `id.timestamp.body`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::key_request::{DeveloperKey, KeyRequest};
use super::portal::PortalRequest;
use crate::config::Config;
use crate::hash::hmac_sha256;
use crate::json;
use crate::time::to_rfc3339;

/// The maximum number of attempts of a notification.
pub const MAX_ATTEMPTS: u32 = 10;

/// An event that operators are notified of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key request was created.
    Submitted,
    /// A key request was approved.
    Approved,
    /// The holder of a key has rotated its secret.
    Rotated,
}

impl Event {
    /// The name in the body.
    pub fn name(self) -> &'static str {
        match self {
            Event::Submitted => "key_request_event.submitted",
            Event::Approved => "key_request_event.approved",
            Event::Rotated => "key_event.rotated",
        }
    }
}

/// The body of a webhook.
#[derive(Serialize)]
struct Body<'a, T> {
    /// The name of the event, as Standard Webhooks names the field.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The time of the event, as RFC 3339.
    timestamp: String,
    /// The name of the event, as the gateway names the field.
    event: &'static str,
    /// The subject after the event.
    data: &'a T,
}

/// The body of a notification. `data` is the subject of the event, after it.
pub fn body<T: Serialize>(event: &'static str, at_ms: u64, data: &T) -> String {
    json::to_text(&Body { kind: event, timestamp: to_rfc3339(at_ms), event, data })
}

/// A rotation by the holder of a key, without the secret.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rotated<'a> {
    /// The id of the key.
    pub key_id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The e-mail address of the request for the key, if it is known.
    pub email: Option<&'a str>,
    /// The public id of the new secret.
    pub public_id: &'a str,
    /// The expiry of the older secrets, in RFC 3339.
    pub previous_expires_at: &'a str,
}

/// A notification of a key request, before the transaction that writes it.
#[derive(Debug)]
pub struct Notification<'a> {
    /// The operator's configuration.
    pub config: &'a Config,
    /// The current keys of the developer.
    pub keys: Vec<DeveloperKey>,
    /// The time of the event, in milliseconds since 1970.
    pub at_ms: u64,
}

impl Notification<'_> {
    /// The body: the name of the event, and the request as `/api/portal` returns it after the transaction.
    pub fn body(&self, event: Event, request: &KeyRequest) -> String {
        let mut keys = self.keys.clone();
        if let Some(id) = &request.key_id {
            keys.push(DeveloperKey { id: id.clone(), policies: request.draft.policies.clone() });
        }
        body(event.name(), self.at_ms, &PortalRequest::of(request, &keys, self.config))
    }
}

/// The key of the signatures.
pub struct SigningKey(Vec<u8>);

impl SigningKey {
    /// Reads `whsec_` and the base64 of 24 to 64 bytes.
    pub fn read(secret: &str) -> Option<SigningKey> {
        let key = STANDARD.decode(secret.trim().strip_prefix("whsec_")?).ok()?;
        (24..=64).contains(&key.len()).then_some(SigningKey(key))
    }

    /// The header `webhook-signature`.
    pub fn sign(&self, id: &str, timestamp_s: u64, body: &str) -> String {
        let timestamp = timestamp_s.to_string();
        let parts = [id, ".", &timestamp, ".", body].map(str::as_bytes);
        format!("v1,{}", STANDARD.encode(hmac_sha256(&self.0, &parts)))
    }
}

/// The wait after a failed attempt, in milliseconds; `None` after the last one. It starts at 5 s and quadruples up to 6
/// h, with up to one fifth of jitter so that retries spread: about a day in total. `chance` is any random byte.
pub fn retry_after(attempts: u32, chance: u8) -> Option<u64> {
    if attempts >= MAX_ATTEMPTS {
        return None;
    }
    let wait = 5_000u64.saturating_mul(4u64.saturating_pow(attempts.saturating_sub(1))).min(6 * 3_600_000);
    Some(wait + wait / 5 * u64::from(chance) / 255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_according_to_the_specification() {
        // The vector of the specification's reference libraries.
        let key = SigningKey::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn rejects_malformed_secrets() {
        for wrong in ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_!!!!", "whsec_c2hvcnQ="] {
            assert!(SigningKey::read(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn retries_for_about_a_day() {
        let waits: Vec<_> = (1..=MAX_ATTEMPTS).map_while(|attempts| retry_after(attempts, 0)).collect();
        assert_eq!(waits.len() + 1, MAX_ATTEMPTS as usize);
        assert_eq!(waits[..4], [5_000, 20_000, 80_000, 320_000]);
        let day = 24 * 3_600_000u64;
        assert!((day / 2..2 * day).contains(&waits.iter().sum::<u64>()), "{waits:?}");
        assert_eq!(retry_after(1, 255), Some(6_000));
        assert_eq!(retry_after(MAX_ATTEMPTS, 0), None);
    }
}
