//! The key ring: the keys that the operator has configured as secrets.
//!
//! Two Worker secrets feed the ring for inference: `GATEWAY_API_KEY`, one key in plain text (the legacy primary), and
//! `GATEWAY_API_KEY_HASHES`, any number of SHA-256 digests. Its entries are separated by commas or newlines; each is a
//! digest of 64 hexadecimal digits, or `label:digest`, where the digest follows the *last* colon. Operators have a ring
//! of their own, `GATEWAY_ADMIN_KEY_HASHES`, with the same rules.

use std::rc::Rc;

use super::{Digest, IssuedKey, Secret};

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The label of the key's entry: `primary` for `GATEWAY_API_KEY`, `sha256:` and eight digits for an entry without a
    /// label; or the name of an issued key; or the identity of Cloudflare Access.
    pub label: Rc<str>,
    /// The issued key, whose permissions apply. Keys of the ring may do everything.
    pub key: Option<Rc<IssuedKey>>,
    /// Whether the caller is an operator.
    pub is_operator: bool,
}

impl Caller {
    /// The caller with an issued key.
    pub fn with_issued_key(key: Rc<IssuedKey>) -> Caller {
        Caller { label: key.name.as_str().into(), key: Some(key), is_operator: false }
    }

    /// The operator of this label.
    pub fn operator(label: Rc<str>) -> Caller {
        Caller { label, key: None, is_operator: true }
    }
}

/// The numbers of accepted and malformed entries. Only numbers, because a malformed entry may be a misplaced secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingReport {
    /// Keys in the ring.
    pub accepted: usize,
    /// Entries that were skipped because they are not `label:digest`.
    pub malformed: usize,
}

struct Entry {
    digest: Digest,
    caller: Caller,
}

/// The digests of all configured keys, the last entry first.
#[derive(Default)]
pub struct Ring {
    entries: Vec<Entry>,
}

impl Ring {
    /// Reads both secrets. An empty or absent secret adds nothing; a malformed entry is skipped and counted.
    pub fn read(primary: Option<&str>, hashes: Option<&str>) -> (Ring, RingReport) {
        let mut ring = Ring::default();
        let mut report = RingReport::default();
        if let Some(key) = primary.and_then(Secret::new) {
            let caller = Caller { label: "primary".into(), key: None, is_operator: false };
            ring.entries.push(Entry { digest: Digest::of(key.expose().as_bytes()), caller });
        }
        for entry in hashes.unwrap_or_default().split([',', '\n', '\r']) {
            let entry = entry.trim();
            if entry.is_empty() {
                continue;
            }
            match read_entry(entry) {
                Some(entry) => ring.entries.push(entry),
                None => report.malformed += 1,
            }
        }
        // Of two equal digests the first entry wins, as when reading from the top: see `Digest::place_in`.
        ring.entries.reverse();
        report.accepted = ring.entries.len();
        (ring, report)
    }

    /// Reads the secret with the digests of operator keys, as [`Ring::read`] does.
    pub fn read_operators(hashes: Option<&str>) -> (Ring, RingReport) {
        let (mut ring, report) = Ring::read(None, hashes);
        for Entry { caller, .. } in &mut ring.entries {
            caller.is_operator = true;
        }
        (ring, report)
    }

    /// Returns `true` if no key is configured, so that no caller can be authenticated.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The caller of a key, or `None` if the key is not in the ring. Always compares with every entry, in constant
    /// time, so that the time reveals neither the entries nor the match.
    pub fn authenticate(&self, digest: &Digest) -> Option<&Caller> {
        let place = digest.place_in(self.entries.iter().map(|entry| &entry.digest))?;
        self.entries.get(place).map(|entry| &entry.caller)
    }
}

fn read_entry(entry: &str) -> Option<Entry> {
    let (label, digest) = entry.rsplit_once(':').unwrap_or(("", entry));
    let digest = Digest::from_hex(digest.trim())?;
    let label = match label.trim() {
        "" => format!("sha256:{}", digest.short_hex()).into(),
        label => label.into(),
    };
    Some(Entry { digest, caller: Caller { label, key: None, is_operator: false } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    const SECONDARY: &str = "7964817d0f3d4ec2eb13f3671edd285fbef0a9d3e5d8f2bf426f4540e5954c1e";

    fn label(ring: &Ring, key: &str) -> Option<String> {
        ring.authenticate(&Digest::of(key.as_bytes())).map(|caller| caller.label.to_string())
    }

    #[test]
    fn reads_every_documented_form_of_entry() {
        let upper = TEST.to_uppercase();
        for (hashes, expected) in [
            (TEST.to_owned(), "sha256:9f86d081"),
            (format!("testing:{TEST}"), "testing"),
            (format!("testing:{upper}"), "testing"),
            (format!("team:a:testing:{TEST}"), "team:a:testing"),
            (format!(":{TEST}"), "sha256:9f86d081"),
            (format!("  testing : {TEST}  "), "testing"),
            (format!("b:{SECONDARY},a:{TEST}"), "a"),
            (format!("b:{SECONDARY}\na:{TEST}\n"), "a"),
            (format!("b:{SECONDARY}\r\na:{TEST}\r\n"), "a"),
            (format!("first:{TEST},second:{TEST}"), "first"),
        ] {
            let (ring, report) = Ring::read(None, Some(&hashes));
            assert_eq!(label(&ring, "test").as_deref(), Some(expected), "{hashes}");
            assert_eq!(report.malformed, 0, "{hashes}");
        }
    }

    #[test]
    fn skips_and_counts_malformed_entries() {
        let hashes = format!("a:{},nonsense,label:,good:{SECONDARY},{}g", &TEST[1..], &TEST[1..]);
        let (ring, report) = Ring::read(None, Some(&hashes));
        assert_eq!(report, RingReport { accepted: 1, malformed: 4 });
        assert_eq!(label(&ring, "secondary-key").as_deref(), Some("good"));
        assert_eq!(label(&ring, "test"), None);
    }

    #[test]
    fn the_legacy_primary_works_with_and_without_a_ring() {
        let (ring, report) = Ring::read(Some("plain key\n"), None);
        assert_eq!((label(&ring, "plain key").as_deref(), report.accepted), (Some("primary"), 1));
        let (ring, _) = Ring::read(Some("plain"), Some(TEST));
        assert_eq!(label(&ring, "plain").as_deref(), Some("primary"));
        assert_eq!(label(&ring, "test").as_deref(), Some("sha256:9f86d081"));
        assert_eq!(label(&ring, TEST), None, "a digest is not a key");
    }

    #[test]
    fn without_a_configured_key_the_ring_is_empty() {
        for (primary, hashes) in
            [(None, None), (Some(""), Some("")), (Some(" "), Some(",\n ,")), (None, Some("bad"))]
        {
            assert!(Ring::read(primary, hashes).0.is_empty());
        }
    }

    proptest! {
        /// A valid entry works whatever the other entries are, and every other non-empty entry is counted.
        #[test]
        fn a_valid_entry_works_beside_any_others(
            junk in proptest::collection::vec("[ -+.-~éλ]{0,80}", 0..8),
            place in 0usize..9,
            separator in prop_oneof![Just(","), Just("\n"), Just("\r\n"), Just(" ,\n ")],
        ) {
            let mut entries = junk.clone();
            entries.insert(place.min(junk.len()), format!("good:{TEST}"));
            let (ring, report) = Ring::read(None, Some(&entries.join(separator)));
            prop_assert_eq!(label(&ring, "test"), Some("good".to_owned()));
            let not_empty = junk.iter().filter(|entry| !entry.trim().is_empty()).count();
            prop_assert_eq!(report.accepted + report.malformed, not_empty + 1);
        }

        #[test]
        fn any_ring_is_read_without_a_panic(primary: Option<String>, hashes: Option<String>) {
            let (ring, report) = Ring::read(primary.as_deref(), hashes.as_deref());
            prop_assert_eq!(ring.is_empty(), report.accepted == 0);
        }

        /// Every key of a ring is found under its own label, and no other key is found.
        #[test]
        fn finds_each_key_and_no_other(keys in proptest::collection::btree_set("[!-~]{1,40}", 1..20), other in "[!-~]{1,40}") {
            let hashes: Vec<String> = keys
                .iter()
                .map(|key| {
                    let hex = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(key));
                    format!("label-of-{key}:{hex}").replace(',', ";")
                })
                .collect();
            let (ring, _) = Ring::read(None, Some(&hashes.join(",")));
            for key in &keys {
                prop_assert_eq!(label(&ring, key), Some(format!("label-of-{key}").replace(',', ";")));
            }
            prop_assert_eq!(label(&ring, &other).is_some(), keys.contains(&other));
        }
    }
}
