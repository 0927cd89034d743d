//! The audit trail: actions of operators as a chain of hashes, so that a changed, removed or inserted entry is
//! detected.
//!
//! An entry is a JSON text that is stored exactly as it was hashed. Its hash is the SHA-256 of the previous hash, a
//! newline and the text. Anyone with a copy can verify it with any SHA-256 program. Only a comparison with an earlier
//! head detects a trail that was cut at its end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::api_key::{Role, Settings};
use super::key_request::KeyRequestDraft;
use crate::config::Limits;
use crate::json;
use crate::key::provider_key::Note as ProviderKeyNote;
use crate::time;

/// The hash before the first entry: 64 zeros.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The head of a chain: its last entry, which the next one continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the last entry; 0 if there is none.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

impl Default for Head {
    fn default() -> Self {
        Head { seq: 0, hash: GENESIS.to_owned() }
    }
}

/// An action that is recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Action<'a> {
    /// The label of the operator key, `key holder`, or the automatic actor.
    pub actor: &'a str,
    /// The id of the request, or the name of the key.
    pub subject: &'a str,
    /// The event.
    pub event: Event<'a>,
}

/// The settings of a key, as the trail keeps them. Of the metadata, which may be personal, only the SHA-256
/// of its JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SettingsNote<'a> {
    /// Whether it is disabled.
    disabled: bool,
    /// Its policies.
    policies: &'a [String],
    /// Models that it may use; `None` is all.
    models: Option<&'a [String]>,
    /// Endpoints that it may call; `None` is all.
    endpoints: Option<&'a [String]>,
    /// Its own limits.
    limits: &'a Limits,
    /// The role that it was created with.
    role: Role,
    /// When it ends, in milliseconds since 1970.
    expires_ms: Option<u64>,
    /// The operator's notes, as a digest.
    #[serde(rename = "metadata_sha256", serialize_with = "as_digest")]
    metadata: &'a BTreeMap<String, String>,
}

impl<'a> From<&'a Settings> for SettingsNote<'a> {
    fn from(settings: &'a Settings) -> SettingsNote<'a> {
        SettingsNote {
            disabled: settings.disabled,
            policies: &settings.policies,
            models: settings.models.as_deref(),
            endpoints: settings.endpoints.as_deref(),
            limits: &settings.limits,
            role: settings.role,
            expires_ms: settings.expires_ms,
            metadata: &settings.metadata,
        }
    }
}

fn as_digest<S: Serializer>(metadata: &BTreeMap<String, String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(Sha256::digest(json::to_text(metadata))))
}

/// The wishes of a key request, as the trail keeps them: without its requester's words, which can be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RequestNote<'a> {
    /// The policies that it asks for.
    policies: &'a [String],
    /// Whether it is marked as approved.
    approved: bool,
}

impl<'a> From<&'a KeyRequestDraft> for RequestNote<'a> {
    fn from(draft: &'a KeyRequestDraft) -> RequestNote<'a> {
        RequestNote { policies: &draft.policies, approved: draft.approved }
    }
}

/// An event of a request or a key, with the facts that the trail keeps: what a change made of it, and what `was`
/// before. Never a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Event<'a> {
    /// An operator created a request.
    RequestCreated {
        /// Its wishes.
        #[serde(flatten)]
        now: RequestNote<'a>,
    },
    /// An operator changed a request.
    RequestUpdated {
        /// Its wishes.
        #[serde(flatten)]
        now: RequestNote<'a>,
        /// Its wishes before.
        was: RequestNote<'a>,
    },
    /// A request was approved.
    RequestApproved {
        /// The key that was issued for it.
        key_id: &'a str,
        /// The name of the key, if it is not the id of the request.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
        /// The settings of the key.
        #[serde(flatten)]
        settings: SettingsNote<'a>,
        /// The first credential of the key.
        #[serde(rename = "opening")]
        credential: CredentialNote<'a>,
    },
    /// A request for higher limits was approved.
    IncreaseApproved {
        /// The key.
        key_id: &'a str,
        /// Its name.
        name: &'a str,
        /// Its settings.
        #[serde(flatten)]
        settings: SettingsNote<'a>,
        /// Its settings before.
        was: SettingsNote<'a>,
    },
    /// A request was declined.
    RequestDeclined {
        /// The reason.
        reason: Option<&'a str>,
    },
    /// A request was deleted.
    RequestDeleted {},
    /// An operator created a key.
    KeyCreated {
        /// The key.
        key_id: &'a str,
        /// Its settings.
        #[serde(flatten)]
        settings: SettingsNote<'a>,
        /// Its first credential.
        #[serde(rename = "opening")]
        credential: CredentialNote<'a>,
    },
    /// An operator changed a key.
    KeyUpdated {
        /// The key.
        key_id: &'a str,
        /// Its settings.
        #[serde(flatten)]
        settings: SettingsNote<'a>,
        /// Its settings before.
        was: SettingsNote<'a>,
    },
    /// The secret of a key was rotated.
    KeyRotated {
        /// The key.
        key_id: &'a str,
        /// The new secret, or the claim link that creates it.
        #[serde(flatten)]
        credential: CredentialNote<'a>,
        /// The time for which the old secrets keep working.
        overlap_seconds: u64,
    },
    /// A key was revoked.
    KeyRevoked {
        /// The key.
        key_id: &'a str,
        /// Its settings before.
        was: SettingsNote<'a>,
    },
    /// An operator set a run-time setting, or removed it.
    Setting {
        /// The table of `gateway.toml`.
        table: &'a str,
        /// The name in it.
        name: &'a str,
        /// The version of all settings with this change.
        version: u64,
        /// The stored entry; `None` if the setting was removed.
        value: Option<&'a Value>,
        /// The entry that applied before.
        was: Option<&'a Value>,
    },
    /// An operator added, changed or deleted a key of a provider.
    ProviderKey {
        /// The provider.
        provider: &'a str,
        /// The id of the key.
        id: &'a str,
        /// The version of all settings with this change.
        version: u64,
        /// The key after it; `None` if it was deleted.
        now: Option<ProviderKeyNote<'a>>,
        /// The key before it; `None` if it was added.
        was: Option<ProviderKeyNote<'a>>,
    },
    /// An operator had all stored keys of providers encrypted with the current master key.
    ProviderKeysSealed {
        /// The version of all settings with this change.
        version: u64,
        /// The number of keys that were encrypted with another one.
        keys: usize,
        /// The id of the master key.
        sealed_with: &'a str,
    },
    /// An operator put a lane into cooldown, or ended its cooldown.
    Lane {
        /// The end of the cooldown, in milliseconds since 1970; `None` if it was ended.
        until_ms: Option<u64>,
    },
    /// The holder of a claim link got a secret.
    KeyClaimed {
        /// The key.
        key_id: &'a str,
        /// The new secret.
        public_id: &'a str,
        /// Its digest, as [`super::audit_state::noted_digest`] notes it.
        sha256: &'a str,
    },
}

impl Event<'_> {
    /// The name in the trail.
    pub fn name(&self) -> &'static str {
        match self {
            Event::RequestCreated { .. } => "request.created",
            Event::RequestUpdated { .. } => "request.updated",
            Event::RequestApproved { .. } => "request.approved",
            Event::IncreaseApproved { .. } => "request.increase_approved",
            Event::RequestDeclined { .. } => "request.declined",
            Event::RequestDeleted {} => "request.deleted",
            Event::KeyCreated { .. } => "key.created",
            Event::KeyUpdated { .. } => "key.updated",
            Event::KeyRotated { .. } => "key.rotated",
            Event::KeyRevoked { .. } => "key.revoked",
            Event::KeyClaimed { .. } => "key.claimed",
            Event::ProviderKey { was: None, .. } => "provider_key.added",
            Event::ProviderKey { now: None, .. } => "provider_key.deleted",
            Event::ProviderKey { .. } => "provider_key.changed",
            Event::ProviderKeysSealed { .. } => "provider_keys.encrypted",
            Event::Lane { until_ms: Some(_) } => "lane.cooldown",
            Event::Lane { until_ms: None } => "lane.resume",
            Event::Setting { value: Some(_), .. } => "setting.changed",
            Event::Setting { value: None, .. } => "setting.removed",
        }
    }
}

/// The public part of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum CredentialNote<'a> {
    /// A secret.
    Secret {
        /// `gw_` and ten characters.
        public_id: &'a str,
        /// Its digest, as [`super::audit_state::noted_digest`] notes it.
        sha256: &'a str,
    },
    /// A claim link.
    Link {
        /// `claim`.
        delivery: &'static str,
    },
}

impl CredentialNote<'_> {
    /// A claim link.
    pub const CLAIM: CredentialNote<'static> = CredentialNote::Link { delivery: "claim" };
}

/// An entry as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1 without gaps.
    pub seq: u64,
    /// The JSON text that was hashed.
    pub text: String,
    /// Its hash: 64 hexadecimal digits.
    pub hash: String,
}

/// The text of an entry.
#[derive(Serialize)]
struct EntryText<'a> {
    seq: u64,
    at: String,
    actor: &'a str,
    action: &'static str,
    subject: &'a str,
    detail: &'a Event<'a>,
}

/// The number in the text of an entry.
#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}

impl Head {
    /// The entry that continues the chain.
    pub fn next(&self, at_ms: u64, action: &Action<'_>) -> Entry {
        let seq = self.seq + 1;
        let text = json::to_text(&EntryText {
            seq,
            at: time::to_rfc3339(at_ms),
            actor: action.actor,
            action: action.event.name(),
            subject: action.subject,
            detail: &action.event,
        });
        let hash = self.hash_of(&text);
        Entry { seq, text, hash }
    }

    /// Verifies the next entry and moves to it; the error is the fault of the entry.
    pub fn follow(&mut self, entry: &Entry) -> Result<(), &'static str> {
        if entry.seq != self.seq + 1 {
            return Err("an entry is missing before this one");
        }
        if entry.hash != self.hash_of(&entry.text) {
            return Err("the hash is not that of the entry and the one before it");
        }
        let written = json::read::<Numbered>(&entry.text).map(|entry| entry.seq);
        if written.ok() != Some(entry.seq) {
            return Err("the entry has another number than its place");
        }
        *self = Head { seq: entry.seq, hash: entry.hash.clone() };
        Ok(())
    }

    fn hash_of(&self, text: &str) -> String {
        hex::encode(Sha256::new_with_prefix(&self.hash).chain_update("\n").chain_update(text).finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chain(length: u64) -> Vec<Entry> {
        let mut head = Head::default();
        (0..length)
            .map(|number| {
                let subject = format!("key-{number}");
                let event = Event::RequestDeclined { reason: None };
                let action = Action { actor: "ops", subject: &subject, event };
                let entry = head.next(1_700_000_000_000 + number, &action);
                head.follow(&entry).unwrap();
                entry
            })
            .collect()
    }

    #[test]
    fn an_event_states_its_facts_in_order() {
        let settings = Settings { policies: vec!["basic".to_owned()], ..Settings::default() };
        let now = SettingsNote::from(&settings);
        let before =
            Settings { disabled: true, models: Some(vec![]), expires_ms: Some(7), ..Settings::default() };
        let of_now = r#""disabled":false,"policies":["basic"],"models":null,"endpoints":null,"limits":{},"role":"read","expires_ms":null,"metadata_sha256":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a""#;
        let of_before = r#""disabled":true,"policies":[],"models":[],"endpoints":null,"limits":{},"role":"read","expires_ms":7,"metadata_sha256":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a""#;
        let secret = CredentialNote::Secret { public_id: "gw_a", sha256: "0f" };
        for (event, text) in [
            (Event::RequestDeleted {}, "{}"),
            (
                Event::RequestApproved {
                    key_id: "1",
                    name: None,
                    settings: now,
                    credential: CredentialNote::CLAIM,
                },
                &*format!(r#"{{"key_id":"1",{of_now},"opening":{{"delivery":"claim"}}}}"#),
            ),
            (
                Event::KeyUpdated { key_id: "1", settings: now, was: (&before).into() },
                &*format!(r#"{{"key_id":"1",{of_now},"was":{{{of_before}}}}}"#),
            ),
            (
                Event::KeyRotated { key_id: "1", credential: secret, overlap_seconds: 60 },
                r#"{"key_id":"1","public_id":"gw_a","sha256":"0f","overlap_seconds":60}"#,
            ),
            (
                Event::KeyRotated { key_id: "1", credential: CredentialNote::CLAIM, overlap_seconds: 60 },
                r#"{"key_id":"1","delivery":"claim","overlap_seconds":60}"#,
            ),
        ] {
            assert_eq!(json::to_text(&event), text);
        }
    }

    fn broken_at(entries: &[Entry]) -> Option<usize> {
        let mut head = Head::default();
        entries.iter().position(|entry| head.follow(entry).is_err())
    }

    #[test]
    fn a_chain_can_be_checked_with_any_sha_256() {
        let entries = chain(2);
        assert_eq!(
            entries[0].text,
            r#"{"seq":1,"at":"2023-11-14T22:13:20Z","actor":"ops","action":"request.declined","subject":"key-0","detail":{"reason":null}}"#
        );
        let by_hand = Sha256::digest(format!("{}\n{}", entries[0].hash, entries[1].text));
        assert_eq!(entries[1].hash, hex::encode(by_hand));
    }

    proptest! {
        #[test]
        fn any_change_is_detected_at_its_entry(length in 2u64..12, place: prop::sample::Index, kind in 0..5) {
            let mut entries = chain(length);
            prop_assert_eq!(broken_at(&entries), None);
            let place = place.index(entries.len());
            match kind {
                0 => entries[place].text = entries[place].text.replace("key-", "kez-"),
                1 => entries[place].hash = GENESIS.to_owned(),
                2 if place + 1 < entries.len() => { entries.remove(place); }
                3 if place + 1 < entries.len() => entries.swap(place, place + 1),
                4 => { let copy = entries[place].clone(); entries.insert(place, copy); }
                _ => return Ok(()),
            }
            let broken = broken_at(&entries);
            prop_assert!(broken == Some(place) || (kind == 4 && broken == Some(place + 1)), "{:?}", broken);
        }
    }
}
