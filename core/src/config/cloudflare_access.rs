//! Sign-in of operators with Cloudflare Access. [`crate::key::access_token`] checks the tokens.

use serde::{Deserialize, Serialize};

use super::{BaseUrl, ConfigError};

/// Cloudflare Access as a second way to authenticate operators, beside their keys. Off by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CloudflareAccess {
    /// The URL of the team: `https://acme.cloudflareaccess.com`. Absent: tokens of Access are not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team_url: Option<BaseUrl>,
    /// The audience tag of the Access application that protects this gateway.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub audience: String,
    /// Who is an operator: an e-mail address, `@` and a domain for all of its addresses, or the client id of a service
    /// token.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<String>,
}

impl CloudflareAccess {
    /// The largest number of entries of `operators`.
    const MAX_OPERATORS: usize = 1000;

    /// Returns `true` if an identity of Access is an operator. E-mail addresses are compared without regard to case.
    pub fn is_operator(&self, identity: &str) -> bool {
        let domain = identity.rfind('@').and_then(|at| identity.get(at..));
        self.operators.iter().any(|entry| {
            entry.eq_ignore_ascii_case(identity)
                || domain.is_some_and(|domain| entry.eq_ignore_ascii_case(domain))
        })
    }

    /// Checks the settings.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let fail = |message: &str| Err(ConfigError(message.to_owned()));
        let Some(team_url) = &self.team_url else {
            return if *self == CloudflareAccess::default() {
                Ok(())
            } else {
                fail("cloudflare_access needs team_url, such as https://acme.cloudflareaccess.com")
            };
        };
        if !team_url.is_private() {
            return fail("cloudflare_access.team_url must begin with https://, except on this machine");
        }
        if !team_url.is_origin() {
            return fail("cloudflare_access.team_url must have no path");
        }
        let is_tag = |tag: &str| tag.len() == 64 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_tag(&self.audience) {
            return fail(
                "cloudflare_access.audience must be the audience tag (AUD) of the Access application: 64 hexadecimal digits",
            );
        }
        if self.operators.is_empty() || self.operators.len() > Self::MAX_OPERATORS {
            return fail("cloudflare_access.operators must have 1 to 1000 entries");
        }
        let is_entry = |entry: &String| {
            let (name, domain) = entry.rsplit_once('@').unwrap_or((entry, "domain"));
            let is_text = entry.len() <= 254 && entry.bytes().all(|byte| byte.is_ascii_graphic());
            is_text && !domain.is_empty() && !name.contains('@') && !entry.is_empty()
        };
        if self.operators.iter().all(is_entry) {
            Ok(())
        } else {
            fail(
                "an entry of cloudflare_access.operators must be an e-mail address, @ and a domain, or the client id of a service token",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(team_url: &str, audience: &str, operators: &[&str]) -> CloudflareAccess {
        CloudflareAccess {
            team_url: Some(BaseUrl::parse(team_url).unwrap()),
            audience: audience.to_owned(),
            operators: operators.iter().map(|entry| (*entry).to_owned()).collect(),
        }
    }

    #[test]
    fn operators_are_addresses_domains_and_service_tokens() {
        let settings = settings(
            "https://acme.cloudflareaccess.com",
            &"ab".repeat(32),
            &["Ada@example.com", "@ops.example", "88bf.access"],
        );
        assert_eq!(settings.check(), Ok(()));
        for operator in ["ada@example.com", "ADA@EXAMPLE.COM", "x@ops.example", "88bf.access"] {
            assert!(settings.is_operator(operator), "{operator}");
        }
        for other in
            ["eve@example.com", "x@eve.ops.example", "x@ops.example.eve", "@ops.example@eve", "88bf", "", "@"]
        {
            assert!(!settings.is_operator(other), "{other}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_rejected() {
        let tag = "ab".repeat(32);
        for (settings, part) in [
            (settings("http://acme.example", &tag, &["a@b.example"]), "https://"),
            (settings("https://acme.example/team", &tag, &["a@b.example"]), "no path"),
            (settings("https://acme.example", "tag", &["a@b.example"]), "64 hexadecimal"),
            (settings("https://acme.example", &tag, &[]), "1 to 1000"),
            (settings("https://acme.example", &tag, &["a@b@c"]), "an entry"),
            (settings("https://acme.example", &tag, &["a@"]), "an entry"),
            (settings("https://acme.example", &tag, &["a b"]), "an entry"),
            (CloudflareAccess { audience: tag.clone(), ..CloudflareAccess::default() }, "team_url"),
        ] {
            let error = settings.check().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(CloudflareAccess::default().check(), Ok(()));
        assert_eq!(settings("http://127.0.0.1:8080", &tag, &["@b.example"]).check(), Ok(()));
    }
}
