//! Ids of requests: the `x-request-id` header.
//!
//! A caller's own id is kept so that its logs and ours can be matched. It is a label for people only: nothing is counted,
//! billed or deduplicated by it, since a caller may send the same one twice.

use ulid::Ulid;

use crate::name::is_name;

/// The longest incoming id that is kept, in characters.
pub const MAX_LENGTH: usize = 128;

/// Whether a caller's id is kept: 1 to [`MAX_LENGTH`] characters of `[A-Za-z0-9._:-]`.
pub fn is_valid(id: &str) -> bool {
    is_name(id, MAX_LENGTH)
}

/// A new id: a ULID of the time (milliseconds since 1970) and ten random bytes.
pub fn generate(now_ms: u64, random: [u8; 10]) -> String {
    let random = random.iter().fold(0u128, |number, byte| number << 8 | u128::from(*byte));
    Ulid::from_parts(now_ms, random).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_other_systems_use_as_ids() {
        for id in ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "6f1c9c0e-9a51-4a5e-8f0c-6b1b8a3f0b9e", "req_1:a.b", "x"] {
            assert!(is_valid(id), "{id}");
        }
        for id in ["", "a b", "a\nb", "é", "a,b", "<script>", &"x".repeat(129)] {
            assert!(!is_valid(id), "{id}");
        }
    }

    #[test]
    fn generates_ulids_that_sort_by_time() {
        let early = generate(1_700_000_000_000, [255; 10]);
        let late = generate(1_700_000_000_001, [0; 10]);
        assert_eq!(early.len(), 26);
        assert!(early < late);
        assert!(is_valid(&early));
    }
}
