//! Ids of requests: the `x-request-id` header.
//!
//! The gateway keeps a caller's own id so that both sides can match their logs. The id is only a label: nothing is
//! counted, billed or deduplicated by it, since a caller may send the same id twice.

use ulid::Ulid;

use crate::name::is_name;

/// The maximum length of an incoming id, in characters.
pub const MAX_LENGTH: usize = 128;

/// Returns `true` if a caller's id is kept: 1 to [`MAX_LENGTH`] characters of `[A-Za-z0-9._:-]`.
pub fn is_valid(id: &str) -> bool {
    is_name(id, MAX_LENGTH)
}

/// Generates a ULID from the time (milliseconds since 1970) and ten random bytes.
pub fn generate(now_ms: u64, random: [u8; 10]) -> String {
    let random = random.iter().fold(0u128, |number, byte| number << 8 | u128::from(*byte));
    Ulid::from_parts(now_ms, random).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_id_formats_of_other_systems() {
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
