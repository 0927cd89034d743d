//! The cache of issued keys in one isolate.
//!
//! This module enforces the bound on revocation: a result of the database is used for at most [`HARD_MS`], counted from
//! before the query. After [`SOFT_MS`], one request queries again in the background while the others go on. No request
//! waits for another: a request that finds nothing sends its own query.
//!
//! Keys are found by their public id, which is not secret, and then compared by digest in constant time. A guessed
//! secret for a known id therefore causes no query and evicts nothing. Unknown ids are cached separately from known
//! ones, so that random ids cannot evict valid keys. Both caches are bounded.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Digest, IssuedKey};

/// The age in milliseconds at which the database is queried again, in the background.
pub const SOFT_MS: u64 = 5_000;
/// The age in milliseconds from which an entry is not used any more.
pub const HARD_MS: u64 = 10_000;
/// The maximum number of known keys: about 5 MB.
const MAX_KNOWN: usize = 10_000;
/// The maximum number of unknown ids.
const MAX_UNKNOWN: usize = 1_000;

/// The database's result for a public id: the digest of the whole key, and the key.
pub type Stored = Option<(Digest, Rc<IssuedKey>)>;

/// The cached result for a public id.
pub enum Remembered {
    /// A recent result.
    Fresh(Stored),
    /// A result that can be used, while this request queries again in the background.
    Ageing(Stored),
    /// No usable result.
    Nothing,
}

struct Known {
    digest: Digest,
    key: Rc<IssuedKey>,
    asked_ms: u64,
    /// The time at which a request last started to query again.
    refreshing_ms: u64,
}

/// The cache of one isolate.
#[derive(Default)]
pub struct KeyCache {
    known: BTreeMap<String, Known>,
    unknown: BTreeMap<String, u64>,
}

impl KeyCache {
    /// The cached result for a public id.
    pub fn recall(&mut self, public_id: &str, now_ms: u64) -> Remembered {
        if let Some(known) = self.known.get_mut(public_id) {
            let age = now_ms.saturating_sub(known.asked_ms);
            if age >= HARD_MS || now_ms < known.asked_ms {
                return Remembered::Nothing;
            }
            let stored = Some((known.digest, Rc::clone(&known.key)));
            // One query at a time; if it does not finish, another one a second later.
            if age >= SOFT_MS && now_ms.saturating_sub(known.refreshing_ms) >= 1_000 {
                known.refreshing_ms = now_ms;
                return Remembered::Ageing(stored);
            }
            return Remembered::Fresh(stored);
        }
        match self.unknown.get(public_id) {
            Some(asked_ms) if is_usable(*asked_ms, now_ms) => Remembered::Fresh(None),
            _ => Remembered::Nothing,
        }
    }

    /// Stores a result of the database. `asked_ms` is the time of the query, not of the result; an older result does
    /// not replace a newer one.
    pub fn remember(&mut self, public_id: &str, asked_ms: u64, stored: Stored) {
        let newer_known = self.known.get(public_id).is_some_and(|known| known.asked_ms > asked_ms);
        let newer_unknown = self.unknown.get(public_id).is_some_and(|known_ms| *known_ms > asked_ms);
        if newer_known || newer_unknown {
            return;
        }
        if let Some((digest, key)) = stored {
            self.unknown.remove(public_id);
            make_room(&mut self.known, MAX_KNOWN, |known| is_usable(known.asked_ms, asked_ms));
            self.known.insert(public_id.to_owned(), Known { digest, key, asked_ms, refreshing_ms: 0 });
        } else {
            self.known.remove(public_id);
            make_room(&mut self.unknown, MAX_UNKNOWN, |known_ms| is_usable(*known_ms, asked_ms));
            self.unknown.insert(public_id.to_owned(), asked_ms);
        }
    }

    /// Clears the cache, because an operator has just changed a key through this isolate.
    pub fn forget(&mut self) {
        self.known.clear();
        self.unknown.clear();
    }
}

fn is_usable(asked_ms: u64, now_ms: u64) -> bool {
    asked_ms <= now_ms && now_ms - asked_ms < HARD_MS
}

/// Removes old entries; if that is not enough, all of them. The only cost of a removed entry is another query.
fn make_room<T>(map: &mut BTreeMap<String, T>, max: usize, usable: impl Fn(&T) -> bool) {
    if map.len() >= max {
        map.retain(|_, entry| usable(entry));
    }
    if map.len() >= max {
        map.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[expect(clippy::unnecessary_wraps, reason = "the database may have no such key")]
    fn stored(name: &str) -> Stored {
        Some((
            Digest::of(name.as_bytes()),
            Rc::new(IssuedKey { name: name.to_owned(), ..IssuedKey::default() }),
        ))
    }

    fn describe(remembered: &Remembered) -> (&'static str, Option<&str>) {
        match remembered {
            Remembered::Fresh(Some((_, key))) => ("fresh", Some(&key.name)),
            Remembered::Ageing(Some((_, key))) => ("ageing", Some(&key.name)),
            Remembered::Fresh(None) => ("fresh", None),
            Remembered::Ageing(None) => ("ageing", None),
            Remembered::Nothing => ("nothing", None),
        }
    }

    #[test]
    fn results_are_fresh_for_five_seconds_and_used_for_ten() {
        let mut cache = KeyCache::default();
        assert_eq!(describe(&cache.recall("gw_a", 0)), ("nothing", None));
        cache.remember("gw_a", 1_000, stored("a"));
        assert_eq!(describe(&cache.recall("gw_a", 5_999)), ("fresh", Some("a")));
        assert_eq!(
            describe(&cache.recall("gw_a", 6_000)),
            ("ageing", Some("a")),
            "the first request queries again"
        );
        assert_eq!(describe(&cache.recall("gw_a", 6_001)), ("fresh", Some("a")), "the others go on");
        assert_eq!(
            describe(&cache.recall("gw_a", 7_000)),
            ("ageing", Some("a")),
            "the first query did not finish"
        );
        assert_eq!(describe(&cache.recall("gw_a", 10_999)), ("ageing", Some("a")));
        assert_eq!(describe(&cache.recall("gw_a", 11_000)), ("nothing", None));
        assert_eq!(describe(&cache.recall("gw_a", 0)), ("nothing", None), "a clock that was set back");
    }

    #[test]
    fn unknown_ids_are_cached_too() {
        let mut cache = KeyCache::default();
        cache.remember("gw_a", 1_000, None);
        assert_eq!(describe(&cache.recall("gw_a", 10_999)), ("fresh", None));
        assert_eq!(describe(&cache.recall("gw_a", 11_000)), ("nothing", None));
    }

    #[test]
    fn an_overtaken_result_does_not_revive_a_key() {
        let mut cache = KeyCache::default();
        cache.remember("gw_a", 2_000, None);
        cache.remember("gw_a", 1_000, stored("a"));
        assert_eq!(describe(&cache.recall("gw_a", 2_001)), ("fresh", None));
        cache.remember("gw_a", 3_000, stored("a"));
        cache.remember("gw_a", 2_500, None);
        assert_eq!(describe(&cache.recall("gw_a", 3_001)), ("fresh", Some("a")));
        cache.forget();
        assert_eq!(describe(&cache.recall("gw_a", 3_001)), ("nothing", None));
    }

    #[test]
    fn unknown_ids_neither_fill_the_memory_nor_evict_keys() {
        let mut cache = KeyCache::default();
        cache.remember("gw_good", 0, stored("good"));
        for number in 0..5_000u64 {
            cache.remember(&format!("gw_{number}"), number / 10, None);
            assert!(cache.unknown.len() <= MAX_UNKNOWN);
        }
        assert_eq!(describe(&cache.recall("gw_good", 600)), ("fresh", Some("good")));
        for number in 0..30_000u64 {
            cache.remember(&format!("gw_k{number}"), 600, stored("k"));
            assert!(cache.known.len() <= MAX_KNOWN);
        }
    }

    proptest! {
        /// In whatever order results arrive, a cached result is less than ten seconds old.
        #[test]
        fn no_result_older_than_the_bound_is_used(steps in proptest::collection::vec((0u64..4_000, 0u64..12_000, 0u8..3), 1..80)) {
            let (mut cache, mut now) = (KeyCache::default(), 20_000);
            for (wait, took, kind) in steps {
                now += wait;
                if kind == 0 {
                    let asked = now - took;
                    cache.remember("gw_a", asked, stored(&asked.to_string()));
                } else if let ("fresh" | "ageing", Some(name)) = describe(&cache.recall("gw_a", now)) {
                    let asked: u64 = name.parse().unwrap();
                    prop_assert!(now - asked < HARD_MS);
                }
            }
        }
    }
}
