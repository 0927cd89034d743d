//! Session affinity: choosing among equals so that calls of one session get the same lane, by weighted rendezvous
//! hashing (highest random weight).
//!
//! Each item gets a number from the seed and its name; the lowest number comes first. If an item is removed, the calls
//! of the other items keep theirs.

/// The origin of the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AffinitySource {
    /// The session that the caller named.
    Session,
    /// The start of a long prompt, which an upstream may have in its cache.
    Prompt,
    /// Random.
    None,
}

/// The seed by which one call chooses among equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// The seed.
    pub seed: u64,
    /// The origin of the seed.
    pub source: AffinitySource,
}

/// Prompts shorter than this are not cached by any provider: caches start at 1,024 tokens. In bytes of JSON.
const LONG_PROMPT: usize = 4_096;
/// The length of the prefix by which long prompts are distinguished, in bytes: usually the instructions, which stay the
/// same from turn to turn.
const PREFIX: usize = 2_048;

impl Affinity {
    /// The affinity of a caller's session or prompt; seeded by `chance` if there is neither.
    pub fn of(caller: &str, session: Option<&str>, messages: &str, chance: u64) -> Affinity {
        let seeded =
            |bytes: &[u8], source| Affinity { seed: hash(hash(0, caller.as_bytes()), bytes), source };
        match session {
            Some(session) => seeded(session.as_bytes(), AffinitySource::Session),
            None if messages.len() >= LONG_PROMPT => {
                seeded(messages.as_bytes().get(..PREFIX).unwrap_or_default(), AffinitySource::Prompt)
            }
            None => Affinity { seed: chance, source: AffinitySource::None },
        }
    }

    /// The rank of an item; the lowest rank comes first. An item of twice the weight comes first twice as often.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are kept")]
    pub fn rank(&self, name: &str, weight: f64) -> f64 {
        let bits = hash(self.seed, name.as_bytes()) >> 11;
        // Above 0 and at most 1.
        let uniform = (bits as f64 + 1.0) / (1_u64 << 53) as f64;
        -uniform.ln() / weight.max(1e-9)
    }
}

/// FNV-1a with the finalizer of splitmix64: fast for short texts, and mixed well enough to choose by. Not for secrets.
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(seed: u64, items: &[(&'static str, f64)]) -> &'static str {
        let affinity = Affinity { seed, source: AffinitySource::None };
        let mut items: Vec<_> =
            items.iter().map(|(name, weight)| (affinity.rank(name, *weight), *name)).collect();
        items.sort_by(|a, b| a.0.total_cmp(&b.0));
        items[0].1
    }

    #[test]
    fn weights_are_proportions() {
        let items = [("a", 3.0), ("b", 1.0)];
        let firsts = (0..10_000).filter(|seed| first(*seed, &items) == "a").count();
        assert!((7300..7700).contains(&firsts), "{firsts}");
    }

    #[test]
    fn removing_an_item_moves_only_its_own_calls() {
        for seed in 0..1000 {
            let of_three = first(seed, &[("a", 1.0), ("b", 1.0), ("c", 1.0)]);
            if of_three != "c" {
                assert_eq!(first(seed, &[("a", 1.0), ("b", 1.0)]), of_three);
            }
        }
    }

    #[test]
    fn a_session_or_a_long_prompt_fixes_the_seed_and_a_short_prompt_does_not() {
        let long = "x".repeat(5000);
        let longer = format!("{long} and more");
        let of = |session, messages, chance| Affinity::of("caller", session, messages, chance);
        assert_eq!(of(Some("s"), "m", 1), of(Some("s"), "n", 2));
        assert_ne!(of(Some("s"), "m", 1), of(Some("t"), "m", 1));
        assert_eq!(of(None, &long, 1), of(None, &longer, 2));
        assert_ne!(of(None, &long, 1), Affinity::of("another", None, &long, 1));
        assert_eq!(of(None, "short", 7), Affinity { seed: 7, source: AffinitySource::None });
    }
}
