//! SHA-256 digests of keys. They can be compared only in constant time.

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// The SHA-256 of a whole key string, as four words so that a comparison is four word operations.
#[derive(Clone, Copy)]
pub struct Digest([u64; 4]);

impl Digest {
    /// The digest of a key.
    pub fn of(key: &[u8]) -> Digest {
        Digest::from_bytes(&Sha256::digest(key).into())
    }

    /// Reads 64 hexadecimal digits of either case.
    pub fn from_hex(text: &str) -> Option<Digest> {
        let mut bytes = [0u8; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Digest::from_bytes(&bytes))
    }

    /// The 64 hexadecimal digits, for the database.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0.map(u64::to_be_bytes).as_flattened())
    }

    /// The first eight hexadecimal digits: enough to distinguish keys in a log, not enough to be a credential.
    pub fn short_hex(&self) -> String {
        let [[a, b, c, d, ..], ..] = self.0.map(u64::to_be_bytes);
        hex::encode([a, b, c, d])
    }

    /// A part of the digest, by which wrong keys are told apart.
    pub fn part(&self) -> u64 {
        let Digest([first, ..]) = self;
        *first
    }

    /// Equality in constant time.
    pub fn ct_eq(&self, other: &Digest) -> Choice {
        self.difference(other).ct_eq(&0)
    }

    /// The index of the digest that equals this one; the last index, if there are several. Compares with every digest
    /// in the same steps, so that the time reveals neither the digests nor the match.
    ///
    /// Uses plain arithmetic, because [`Choice`] has an optimisation barrier at each step: 10,000 digests take 11 µs.
    pub fn place_in<'a>(&self, digests: impl Iterator<Item = &'a Digest>) -> Option<usize> {
        let found = (0u64..).zip(digests).fold(u64::MAX, |found, (place, digest)| {
            let difference = self.difference(digest);
            // The highest bit is set only if the difference is zero; then all bits of `is_equal` are set.
            let is_equal = ((difference.wrapping_sub(1) & !difference).cast_signed() >> 63).cast_unsigned();
            found & !is_equal | place & is_equal
        });
        if found == u64::MAX { None } else { usize::try_from(found).ok() }
    }

    /// Zero if both digests are equal.
    fn difference(&self, other: &Digest) -> u64 {
        let (Digest([first, second, third, fourth]), Digest([a, b, c, d])) = (self, other);
        (first ^ a) | (second ^ b) | (third ^ c) | (fourth ^ d)
    }

    fn from_bytes(bytes: &[u8; 32]) -> Digest {
        let mut words = [0u64; 4];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = chunk.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        }
        Digest(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn from_hex_accepts_either_case() {
        let digest = Digest::of(b"test");
        for hex in [TEST.to_owned(), TEST.to_uppercase()] {
            assert!(bool::from(Digest::from_hex(&hex).unwrap().ct_eq(&digest)));
        }
        assert_eq!(digest.short_hex(), "9f86d081");
    }

    #[test]
    fn changing_any_digit_changes_the_digest() {
        let digest = Digest::of(b"test");
        for position in 0..64 {
            let mut hex = TEST.as_bytes().to_vec();
            hex[position] = if hex[position] == b'0' { b'1' } else { b'0' };
            let other = Digest::from_hex(std::str::from_utf8(&hex).unwrap()).unwrap();
            assert!(!bool::from(other.ct_eq(&digest)), "digit {position}");
        }
    }

    #[test]
    fn rejects_texts_other_than_64_hexadecimal_digits() {
        for text in
            ["", "abc", &TEST[1..], &format!("{TEST}0"), &TEST.replace('9', "g"), &TEST.replace('9', "é")]
        {
            assert!(Digest::from_hex(text).is_none(), "{text}");
        }
    }
}
