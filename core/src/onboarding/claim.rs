//! Claim links. A link shows a key once, so that an operator can issue a key without seeing it.
//!
//! The gateway stores only the SHA-256 of the link's token, and creates the key when the link is opened, so no stored
//! data can show it a second time.

use sha2::{Digest as _, Sha256};

use crate::error::{Code, Error};
use crate::time;

/// The number of random bytes of a token.
pub const TOKEN_BYTES: usize = 32;

const PREFIX: &str = "clm_";

/// A token: `clm_` and 64 hexadecimal digits.
pub fn token(random: &[u8; TOKEN_BYTES]) -> String {
    format!("{PREFIX}{}", hex::encode(random))
}

/// The stored digest of a token: the SHA-256 of its text, in hexadecimal. `None` if the text is no token.
pub fn token_digest(token: &str) -> Option<String> {
    let digits = token.strip_prefix(PREFIX)?;
    let well_formed = digits.len() == 2 * TOKEN_BYTES
        && digits.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit));
    well_formed.then(|| hex::encode(Sha256::digest(token)))
}

/// The state of a claim link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The time of use, in milliseconds since 1970.
    pub used_ms: Option<u64>,
    /// The expiry.
    pub expires_ms: u64,
}

impl Claim {
    /// Checks that the link can be used now.
    pub fn check(&self, now_ms: u64) -> Result<(), Error> {
        if self.used_ms.is_some() {
            return Err(Error::new(
                Code::ClaimUsed,
                "This link has been used: each link shows its key once. If you did not use it, contact the operator at once",
            ));
        }
        if self.expires_ms <= now_ms {
            let when = time::to_rfc3339(self.expires_ms);
            let message = format!("This link expired at {when}; ask the operator for another one");
            return Err(Error::new(Code::ClaimExpired, message));
        }
        Ok(())
    }
}

/// The error for an unknown link.
pub fn not_found() -> Error {
    Error::new(
        Code::ClaimNotFound,
        "No claim link has this address: it is mistyped, or its key has been revoked",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_digest_of_a_token_is_stored() {
        let token = token(&[0xab; TOKEN_BYTES]);
        assert_eq!(token.len(), 68);
        let digest = token_digest(&token).unwrap();
        assert_eq!(digest.len(), 64);
        assert!(!token.contains(&digest));
        for wrong in [
            "",
            "clm_",
            &token[4..],
            &token[..67],
            &token.to_uppercase(),
            &format!("{token}0"),
            &format!("clm_{}", "g".repeat(64)),
        ] {
            assert_eq!(token_digest(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_link_works_once_and_in_time() {
        let claim = Claim { used_ms: None, expires_ms: 10 };
        assert!(claim.check(9).is_ok());
        assert!(claim.check(10).unwrap_err().is(Code::ClaimExpired));
        assert!(Claim { used_ms: Some(1), ..claim }.check(2).unwrap_err().is(Code::ClaimUsed));
        assert!(Claim { used_ms: Some(1), ..claim }.check(20).unwrap_err().is(Code::ClaimUsed));
    }
}
