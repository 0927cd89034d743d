//! Claim links. A link shows a key once, so that an operator can issue a key without seeing it.
//!
//! The gateway stores only the SHA-256 of the link's token, and creates the key when the link is opened, so no stored
//! data can show it a second time.

use serde::Deserialize;
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

/// The token in the body of a request: the field `token` of a form or of a JSON object. A whole link is accepted in its
/// place, because people paste that.
pub fn token_in(body: &[u8]) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Body {
        token: String,
    }
    let text = if body.trim_ascii_start().starts_with(b"{") {
        serde_json::from_slice(body).ok().map(|Body { token }| token)
    } else {
        let mut fields = form_urlencoded::parse(body).filter(|(name, _)| name == "token");
        fields.next().map(|(_, value)| value.into_owned())
    };
    let token = text.as_deref().and_then(|text| text.rsplit('#').next()).map_or("", str::trim);
    if token.is_empty() {
        let message =
            "'token' is missing: send the part of the claim link after '#', as {\"token\": \"clm_…\"}";
        return Err(Error::new(Code::MissingMember, message).with_param("token"));
    }
    Ok(token.to_owned())
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
    fn a_token_is_read_from_a_form_or_from_json() {
        for body in [
            "token=clm_1",
            "a=b&token=clm_1&token=clm_2",
            "token=https%3A%2F%2Fg.example%2Faccess%2Fclaim%23clm_1",
            "token=+clm_1%0A",
            r#" {"token":"clm_1","x":1}"#,
            r#"{"token":"https://g.example/access/claim#clm_1"}"#,
        ] {
            assert_eq!(token_in(body.as_bytes()).unwrap(), "clm_1", "{body}");
        }
        for body in ["", "{}", "token=", "token=clm_1#", r#"{"token":1}"#, "clm_1", r#"{"token":"#] {
            let error = token_in(body.as_bytes()).unwrap_err();
            assert_eq!(
                (error.code(), error.param.as_deref()),
                (Some("missing_member"), Some("token")),
                "{body}"
            );
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
