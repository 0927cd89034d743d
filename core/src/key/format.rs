//! The format of keys, generated here, in the Worker, or by `scripts/gateway-key-ring.mjs`.
//!
//! ```text
//! gw_ 0A1b2C3d4E AbCdEf…33 characters…Xyz 1a2B3c
//!     public id  secret                   checksum     (written without the spaces; 52 characters)
//! ```
//! Base62 (`0-9A-Za-z`), most significant digit first: the public id is 56 random bits, the secret 192, the checksum
//! the CRC-32 (IEEE 802.3) of everything before it. Logs and lists can therefore name a key without containing it,
//! secret scanners can find keys, and a mistyped key is rejected without a look-up. `core/testdata/gateway-keys.json`
//! has the vectors with which this module and the script are tested.

/// The number of random bytes in a new key: 7 for the public id, 24 for the secret.
pub const MINT_BYTES: usize = ID_BYTES + SECRET_BYTES;
/// The length of a key, in characters.
pub const KEY_LENGTH: usize = PREFIX.len() + ID_DIGITS + SECRET_DIGITS + CHECKSUM_DIGITS;

const PREFIX: &str = "gw_";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_BYTES: usize = 7;
const ID_DIGITS: usize = 10;
const SECRET_BYTES: usize = 24;
const SECRET_DIGITS: usize = 33;
const CHECKSUM_DIGITS: usize = 6;
/// The largest numbers of this many bytes.
const LARGEST_ID: &str = "5K1WLnfhB1";
const LARGEST_SECRET: &str = "2lFA6LboL2xx0ldQH2K1TdSrwuqMMiME3";

/// The reason why a text is not a key, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// The text does not start with `gw_`.
    Prefix,
    /// The text is not [`KEY_LENGTH`] bytes long.
    Length,
    /// The text has a character outside base62.
    Alphabet,
    /// The checksum does not match: the key is mistyped or incomplete.
    Checksum,
    /// The id or the secret exceeds its number of bits, so the key was never generated.
    Overflow,
}

/// Generates a key from [`MINT_BYTES`] random bytes, which must come from a cryptographic source.
pub fn mint(random: &[u8; MINT_BYTES]) -> String {
    let (id, secret) = random.split_at(ID_BYTES);
    let mut key = String::with_capacity(KEY_LENGTH);
    key.push_str(PREFIX);
    encode(id, ID_DIGITS, &mut key);
    encode(secret, SECRET_DIGITS, &mut key);
    let checksum = crc32(key.as_bytes());
    encode(&checksum.to_be_bytes(), CHECKSUM_DIGITS, &mut key);
    key
}

/// The public id (`gw_` and ten characters) of a well-formed key.
pub fn public_id(key: &str) -> Result<&str, FormatError> {
    let digits = key.strip_prefix(PREFIX).ok_or(FormatError::Prefix)?;
    if key.len() != KEY_LENGTH {
        return Err(FormatError::Length);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(FormatError::Alphabet);
    }
    let (body, checksum) = key.split_at_checked(KEY_LENGTH - CHECKSUM_DIGITS).ok_or(FormatError::Length)?;
    let mut right = String::with_capacity(CHECKSUM_DIGITS);
    encode(&crc32(body.as_bytes()).to_be_bytes(), CHECKSUM_DIGITS, &mut right);
    if checksum != right {
        return Err(FormatError::Checksum);
    }
    let (public, secret) = body.split_at_checked(PREFIX.len() + ID_DIGITS).ok_or(FormatError::Length)?;
    let id = public.strip_prefix(PREFIX).ok_or(FormatError::Prefix)?;
    // Digits are in the order of their bytes, so texts of one length are in the order of their numbers.
    if id > LARGEST_ID || secret > LARGEST_SECRET {
        return Err(FormatError::Overflow);
    }
    Ok(public)
}

/// Appends a big-endian number as exactly `digits` base62 digits.
fn encode(number: &[u8], digits: usize, out: &mut String) {
    let mut number = number.to_vec();
    let mut reversed = Vec::with_capacity(digits);
    for _ in 0..digits {
        let mut remainder = 0u32;
        for byte in &mut number {
            let value = remainder << 8 | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            remainder = value % 62;
        }
        reversed.push(ALPHABET.get(remainder as usize).copied().unwrap_or(b'0'));
    }
    out.extend(reversed.into_iter().rev().map(char::from));
}

/// CRC-32 as in IEEE 802.3 and zlib. Computed bit by bit, because it runs over only 46 bytes.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let mask = (crc & 1).wrapping_neg();
            crc = crc >> 1 ^ (0xedb8_8320 & mask);
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../testdata/gateway-keys.json")).unwrap()
    }

    fn reason(error: FormatError) -> &'static str {
        match error {
            FormatError::Prefix => "prefix",
            FormatError::Length => "length",
            FormatError::Alphabet => "alphabet",
            FormatError::Checksum => "checksum",
            FormatError::Overflow => "overflow",
        }
    }

    #[test]
    fn mints_and_reads_the_shared_vectors() {
        let vectors = vectors();
        let valid = vectors["valid"].as_array().unwrap();
        assert!(valid.len() >= 5);
        for vector in valid {
            let hex = vector["random_hex"].as_str().unwrap();
            let mut random = [0u8; MINT_BYTES];
            for (index, byte) in random.iter_mut().enumerate() {
                *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).unwrap();
            }
            let key = mint(&random);
            assert_eq!(key, vector["key"].as_str().unwrap());
            assert_eq!(key.len(), KEY_LENGTH);
            assert_eq!(public_id(&key), Ok(vector["public_id"].as_str().unwrap()));
            let digest = super::super::Digest::from_hex(vector["sha256"].as_str().unwrap()).unwrap();
            assert!(bool::from(super::super::Digest::of(key.as_bytes()).ct_eq(&digest)));
        }
    }

    #[test]
    fn the_largest_numbers_have_all_bits_set() {
        let key = mint(&[0xff; MINT_BYTES]);
        assert_eq!(
            key.strip_prefix(PREFIX).unwrap()[..ID_DIGITS + SECRET_DIGITS],
            [LARGEST_ID, LARGEST_SECRET].concat()
        );
        assert!(ALPHABET.is_sorted());
    }

    #[test]
    fn rejects_the_shared_vectors_for_the_stated_reason() {
        let vectors = vectors();
        for vector in vectors["invalid"].as_array().unwrap() {
            let key = vector["key"].as_str().unwrap();
            assert_eq!(public_id(key).map_err(reason), Err(vector["reason"].as_str().unwrap()), "{key}");
        }
    }

    proptest! {
        #[test]
        fn any_single_wrong_character_is_detected(random: [u8; MINT_BYTES], position in 3usize..KEY_LENGTH, digit in 0usize..62) {
            let key = mint(&random);
            prop_assert!(public_id(&key).is_ok());
            let mut typed = key.clone().into_bytes();
            typed[position] = ALPHABET[digit];
            let typed = String::from_utf8(typed).unwrap();
            prop_assert_eq!(public_id(&typed).is_ok(), typed == key);
        }

        #[test]
        fn any_text_is_read_without_a_panic(text: String) {
            let _ = public_id(&text);
        }
    }
}
