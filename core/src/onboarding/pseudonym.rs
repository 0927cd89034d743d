//! Keyed hashes of values that must be recognised but not stored, such as the address of a client.
//!
//! The key is derived from the Worker's own secrets, which never enter the database, so a copy of the database is not
//! sufficient to try out all addresses. The pseudonyms change with these secrets; no part of the gateway depends on
//! them for longer.

use sha2::{Digest as _, Sha256};

use crate::hash::hmac_sha256;

/// Makes pseudonyms with the key of one deployment.
pub struct Pseudonyms([u8; 32]);

impl Pseudonyms {
    /// Derives the key from secrets; `None` if there is none, since a hash without a key can be reversed by trial.
    pub fn new<'a>(secrets: impl IntoIterator<Item = Option<&'a str>>) -> Option<Pseudonyms> {
        let mut hash = Sha256::new_with_prefix(b"gatehouse pseudonyms");
        let mut any = false;
        for secret in secrets {
            let secret = secret.unwrap_or_default().trim();
            any |= !secret.is_empty();
            // The length distinguishes "ab" + "c" from "a" + "bc".
            hash.update((secret.len() as u64).to_be_bytes());
            hash.update(secret);
        }
        any.then(|| Pseudonyms(hash.finalize().into()))
    }

    /// The pseudonym of a value: 32 hexadecimal digits. It differs for each purpose.
    pub fn of(&self, purpose: &str, value: &str) -> String {
        let mut out = hmac_sha256(&self.0, &[purpose.as_bytes(), b"\0", value.as_bytes()]);
        out.truncate(16);
        hex::encode(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_value_has_the_same_pseudonym() {
        let pseudonyms = Pseudonyms::new([Some("secret"), None]).unwrap();
        let address = pseudonyms.of("address", "203.0.113.7");
        assert_eq!(address.len(), 32);
        assert_eq!(address, pseudonyms.of("address", "203.0.113.7"));
        assert_ne!(address, pseudonyms.of("address", "203.0.113.8"));
        assert_ne!(address, pseudonyms.of("user agent", "203.0.113.7"));
        assert_ne!(address, Pseudonyms::new([Some("other")]).unwrap().of("address", "203.0.113.7"));
        assert_ne!(
            Pseudonyms::new([Some("a"), Some("bc")]).unwrap().of("x", "y"),
            Pseudonyms::new([Some("ab"), Some("c")]).unwrap().of("x", "y")
        );
        assert!(Pseudonyms::new([None, Some(" ")]).is_none());
    }
}
