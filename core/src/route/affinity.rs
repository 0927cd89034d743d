//! Choosing among equals, so that the same call falls to the same one: weighted rendezvous hashing (highest random weight).
//!
//! Each item gets a number from the seed and its own name; the lowest comes first. If an item goes, the calls of the others
//! stay where they are.

/// Where a draw's seed comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AffinitySource {
    /// The caller named a session.
    Session,
    /// The beginning of a long prompt, which an upstream may have in its cache.
    Prompt,
    /// Chance.
    None,
}

/// A draw for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// What decides.
    pub seed: u64,
    /// Where it comes from.
    pub source: AffinitySource,
}

/// Prompts shorter than this are in no provider's cache: those begin at 1,024 tokens. In bytes of JSON.
const LONG_PROMPT: usize = 4_096;
/// How much of a long prompt tells it from others, in bytes: usually the instructions, which do not change from turn to turn.
const PREFIX: usize = 2_048;

impl Affinity {
    /// The draw for a caller's session or prompt; `chance` where it has neither.
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

    /// Where an item stands: items are taken in ascending order. An item of twice the weight comes first twice as often.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are kept")]
    pub fn rank(&self, name: &str, weight: f64) -> f64 {
        let bits = hash(self.seed, name.as_bytes()) >> 11;
        // Above 0 and at most 1.
        let uniform = (bits as f64 + 1.0) / (1_u64 << 53) as f64;
        -uniform.ln() / weight.max(1e-9)
    }
}

/// FNV-1a with the finalizer of splitmix64: fast for short texts, and well enough mixed to draw by. Not for secrets.
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
    fn weights_hold() {
        let items = [("a", 3.0), ("b", 1.0)];
        let firsts = (0..10_000).filter(|seed| first(*seed, &items) == "a").count();
        assert!((7300..7700).contains(&firsts), "{firsts}");
    }

    #[test]
    fn others_stay_when_one_goes() {
        for seed in 0..1000 {
            let of_three = first(seed, &[("a", 1.0), ("b", 1.0), ("c", 1.0)]);
            if of_three != "c" {
                assert_eq!(first(seed, &[("a", 1.0), ("b", 1.0)]), of_three);
            }
        }
    }

    #[test]
    fn a_session_or_a_long_prompt_decides_and_a_short_one_does_not() {
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
