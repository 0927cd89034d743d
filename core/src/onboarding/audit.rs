//! The audit trail: what operators did, as a chain of hashes, so that a changed, removed or inserted entry shows.
//!
//! An entry is a JSON text that is stored as it was hashed; its hash is the SHA-256 of the hash before it, a newline, and
//! the text. Anybody with a copy can check it with any SHA-256 program. That the end of the chain was cut off shows to
//! whoever noted an earlier head.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::json;
use crate::time;

/// What stands before the first entry: 64 zeros.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The last entry of a chain, which the next one continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the last entry; 0 where there is none.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

impl Default for Head {
    fn default() -> Self {
        Head { seq: 0, hash: GENESIS.to_owned() }
    }
}

/// What was done, by whom, to what.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// The label of the operator's key, or what acted by itself.
    pub actor: String,
    /// `request.approved`, `key.revoked`, …
    pub action: &'static str,
    /// The id of the request, or the name of the key.
    pub subject: String,
    /// What else is worth knowing. Never a secret.
    pub detail: Value,
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

impl Head {
    /// The entry that continues the chain.
    pub fn next(&self, at_ms: u64, action: &Action) -> Entry {
        let seq = self.seq + 1;
        let text = json!({
            "seq": seq,
            "at": time::to_rfc3339(at_ms),
            "actor": action.actor,
            "action": action.action,
            "subject": action.subject,
            "detail": action.detail,
        })
        .to_string();
        let hash = self.hash_of(&text);
        Entry { seq, text, hash }
    }

    /// Follows the chain by one entry, or says why it is broken there.
    pub fn follow(&mut self, entry: &Entry) -> Result<(), &'static str> {
        if entry.seq != self.seq + 1 {
            return Err("an entry is missing before this one");
        }
        if entry.hash != self.hash_of(&entry.text) {
            return Err("the hash is not that of the entry and the one before it");
        }
        let written =
            serde_json::from_str::<Value>(&entry.text).ok().and_then(|entry| entry.get("seq")?.as_u64());
        if written != Some(entry.seq) {
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
    use serde_json::json;

    fn chain(length: u64) -> Vec<Entry> {
        let mut head = Head::default();
        (0..length)
            .map(|number| {
                let action = Action {
                    actor: "ops".into(),
                    action: "key.revoked",
                    subject: format!("key-{number}"),
                    detail: json!({"number": number}),
                };
                let entry = head.next(1_700_000_000_000 + number, &action);
                head.follow(&entry).unwrap();
                entry
            })
            .collect()
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
            r#"{"seq":1,"at":"2023-11-14T22:13:20Z","actor":"ops","action":"key.revoked","subject":"key-0","detail":{"number":0}}"#
        );
        let by_hand = Sha256::digest(format!("{}\n{}", entries[0].hash, entries[1].text));
        assert_eq!(entries[1].hash, hex::encode(by_hand));
    }

    proptest! {
        #[test]
        fn any_change_shows_where_it_is(length in 2u64..12, place: prop::sample::Index, kind in 0..5) {
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
