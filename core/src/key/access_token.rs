//! Tokens of Cloudflare Access: the JWT (RFC 7519) that Access adds to each request of a person or service that it has let
//! pass, in the header `Cf-Access-Jwt-Assertion`.
//!
//! Reads a token and checks its claims, and decides when the team's public keys are read. The runtime checks the
//! signature (RS256, RFC 7518, section 3.3).
//!
//! Source: Cloudflare One, "Validate JWTs" and "Application token".

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::config::CloudflareAccess;
use crate::json;

/// The largest token that is read, in bytes. Those of Access have one to two thousand.
const MAX_TOKEN_BYTES: usize = 16_384;
/// The largest number of public keys that are kept. A team has two: the present and the previous one.
const MAX_KEYS: usize = 16;
/// The shortest modulus of a public key, in characters of base64url: 2048 bits.
const MIN_MODULUS: usize = 340;
/// The age at which the public keys are read again, in milliseconds. A team's key changes every six weeks, and the
/// previous one stays valid for a week.
const KEYS_MS: u64 = 60 * 60_000;
/// The shortest time between two readings, in milliseconds, whatever tokens arrive.
const PAUSE_MS: u64 = 60_000;
/// The time, in seconds, by which the clock that issued a token may be ahead.
const LEEWAY_SECONDS: u64 = 60;

/// A token, whose signature is not checked yet.
pub struct AccessToken<'t> {
    /// The signed text.
    pub signed: &'t str,
    /// The bytes of the signature.
    pub signature: Vec<u8>,
    /// The id of the public key.
    pub key_id: String,
    claims: Claims,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audiences,
    exp: u64,
    #[serde(default)]
    nbf: u64,
    #[serde(default)]
    email: String,
    /// The client id of a service token.
    #[serde(default)]
    common_name: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Several(Vec<String>),
}

/// Why a token does not authenticate, as the end of a sentence.
pub type TokenFault = &'static str;

impl<'t> AccessToken<'t> {
    /// Reads a token. The algorithm is checked here, so that no other can be asked for by the token.
    pub fn read(token: &'t str) -> Result<AccessToken<'t>, TokenFault> {
        const FORM: TokenFault = "it is not a JSON Web Token";
        if token.len() > MAX_TOKEN_BYTES {
            return Err("it is too long");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(FORM)?;
        let (header, claims) = signed.split_once('.').ok_or(FORM)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| FORM);
        let text = |part: &str| String::from_utf8(decode(part)?).map_err(|_| FORM);
        let header: Header = json::read(&text(header)?).map_err(|_| FORM)?;
        if header.alg != "RS256" {
            return Err("it is not signed with RS256");
        }
        let claims: Claims =
            json::read(&text(claims)?).map_err(|_| "it lacks a claim: iss, aud and exp are required")?;
        Ok(AccessToken { signed, signature: decode(signature)?, key_id: header.kid, claims })
    }

    /// Checks the claims and returns the identity: the e-mail address of a person, or the client id of a service token.
    pub fn check(&self, settings: &CloudflareAccess, now_ms: u64) -> Result<&str, TokenFault> {
        let Claims { iss, aud, exp, nbf, email, common_name } = &self.claims;
        let now = now_ms / 1000;
        if settings.team_url.as_ref().is_none_or(|team| team.as_str() != iss.trim_end_matches('/')) {
            return Err("it was issued by another team");
        }
        let is_for_us = match aud {
            Audiences::One(one) => *one == settings.audience,
            Audiences::Several(all) => all.contains(&settings.audience),
        };
        if !is_for_us {
            return Err("it was issued for another application");
        }
        if *exp <= now {
            return Err("it has expired");
        }
        if *nbf > now + LEEWAY_SECONDS {
            return Err("it is not valid yet");
        }
        match [email, common_name].into_iter().find(|name| !name.is_empty()) {
            Some(identity) => Ok(identity),
            None => Err("it names nobody"),
        }
    }
}

/// A public key of a team, with the members of a JSON Web Key (RFC 7517) that a signature is checked with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct PublicKey {
    kid: String,
    kty: String,
    n: String,
    e: String,
}

/// The public keys of a team, as an isolate knows them.
#[derive(Default)]
pub struct PublicKeys {
    keys: Vec<PublicKey>,
    /// The times of the last reading and of the last attempt at one, in milliseconds since 1970.
    read_ms: u64,
    asked_ms: u64,
}

impl PublicKeys {
    /// Returns `true` if none have been read yet.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key of this id.
    pub fn find(&self, id: &str) -> Option<&PublicKey> {
        self.keys.iter().find(|key| key.kid == id)
    }

    /// Returns `true` if the keys should be read before a token of this key is checked, and notes the attempt. Old keys
    /// are read again, and so is a key that is not known, but not more often than once in [`PAUSE_MS`].
    pub fn should_read(&mut self, id: &str, now_ms: u64) -> bool {
        let is_old = now_ms.saturating_sub(self.read_ms) > KEYS_MS;
        let may_ask = now_ms.saturating_sub(self.asked_ms) >= PAUSE_MS;
        let should = may_ask && (is_old || self.find(id).is_none());
        if should {
            self.asked_ms = now_ms;
        }
        should
    }

    /// Keeps the keys of a response of `/cdn-cgi/access/certs`; returns `false` if it has none. Those that are known stay
    /// then.
    pub fn keep(&mut self, response: &str, now_ms: u64) -> bool {
        #[derive(Deserialize)]
        struct Certificates {
            keys: Vec<PublicKey>,
        }
        let Ok(Certificates { mut keys }) = json::read(response) else { return false };
        keys.retain(|key| key.kty == "RSA" && key.n.len() >= MIN_MODULUS);
        keys.truncate(MAX_KEYS);
        if keys.is_empty() {
            return false;
        }
        (self.keys, self.read_ms) = (keys, now_ms);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BaseUrl;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const NOW_MS: u64 = 1_800_000_000_000;

    fn settings() -> CloudflareAccess {
        CloudflareAccess {
            team_url: Some(BaseUrl::parse("https://acme.cloudflareaccess.com").unwrap()),
            audience: "ab".repeat(32),
            operators: vec!["@example.com".to_owned()],
        }
    }

    fn token(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode("signature"))
    }

    fn identity(change: &Value) -> Result<String, TokenFault> {
        let mut claims = json!({
            "iss": "https://acme.cloudflareaccess.com", "aud": ["ab".repeat(32)], "exp": NOW_MS / 1000 + 1,
            "iat": NOW_MS / 1000, "nbf": NOW_MS / 1000, "type": "app", "sub": "7335d417", "email": "ada@example.com",
        });
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let token = token(&json!({ "alg": "RS256", "kid": "k1", "typ": "JWT" }), &claims);
        let read = AccessToken::read(&token)?;
        assert_eq!((read.key_id.as_str(), read.signature.as_slice()), ("k1", &b"signature"[..]));
        read.check(&settings(), NOW_MS).map(str::to_owned)
    }

    #[test]
    fn a_token_names_a_person_or_a_service() {
        assert_eq!(identity(&json!({})).unwrap(), "ada@example.com");
        assert_eq!(identity(&json!({ "aud": "ab".repeat(32) })).unwrap(), "ada@example.com");
        assert_eq!(
            identity(&json!({ "email": "", "common_name": "88bf.access", "sub": "" })).unwrap(),
            "88bf.access"
        );
    }

    #[test]
    fn claims_that_do_not_hold_are_named() {
        let now = NOW_MS / 1000;
        for (change, part) in [
            (json!({ "iss": "https://eve.cloudflareaccess.com" }), "another team"),
            (json!({ "aud": ["cd".repeat(32)] }), "another application"),
            (json!({ "aud": [] }), "another application"),
            (json!({ "exp": now }), "expired"),
            (json!({ "exp": "never" }), "lacks a claim"),
            (json!({ "nbf": now + 61 }), "not valid yet"),
            (json!({ "email": "" }), "nobody"),
        ] {
            let fault = identity(&change).unwrap_err();
            assert!(fault.contains(part), "{change}: {fault}");
        }
    }

    #[test]
    fn no_other_algorithm_is_accepted() {
        for algorithm in ["none", "HS256", "RS384", "rs256", ""] {
            let token = token(&json!({ "alg": algorithm, "kid": "k1" }), &json!({}));
            assert!(AccessToken::read(&token).is_err_and(|fault| fault.contains("RS256")), "{algorithm}");
        }
        for text in ["", "a", "a.b", "a.b.c", "..", "e30.e30.", &".".repeat(20_000)] {
            assert!(AccessToken::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn keys_are_read_when_they_are_old_or_unknown_but_not_for_each_token() {
        let key = |id: &str, modulus: usize| json!({ "kid": id, "kty": "RSA", "alg": "RS256", "n": "A".repeat(modulus), "e": "AQAB" });
        let mut keys = PublicKeys::default();
        assert!(keys.should_read("k1", NOW_MS));
        assert!(!keys.should_read("k1", NOW_MS + PAUSE_MS - 1));
        let response = json!({ "keys": [key("k1", 342), key("short", 171)], "public_cert": {} }).to_string();
        assert!(keys.keep(&response, NOW_MS));
        assert!(keys.find("k1").is_some() && keys.find("short").is_none());
        assert!(!keys.should_read("k1", NOW_MS + KEYS_MS));
        assert!(keys.should_read("k2", NOW_MS + PAUSE_MS));
        assert!(!keys.should_read("k3", NOW_MS + PAUSE_MS + 1));
        assert!(keys.should_read("k1", NOW_MS + KEYS_MS + PAUSE_MS + 1));
        for broken in ["", "{}", r#"{"keys":[]}"#, "<html>"] {
            assert!(!keys.keep(broken, NOW_MS) && keys.find("k1").is_some());
        }
    }

    proptest! {
        #[test]
        fn reading_never_fails_otherwise(text in ".{0,200}", header in ".{0,50}", claims in ".{0,50}") {
            let _ = AccessToken::read(&text);
            let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
            let _ = AccessToken::read(&format!("{}.{}.x", part(&header), part(&claims)));
        }
    }
}
