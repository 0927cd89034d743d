//! The URL of the webhook. Only configuration creates one; callers cannot.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use super::base_url::is_loopback;

/// A URL that is used exactly as written, including path, final slash and query. It must be `https`, so that nobody on
/// the way can read who requests keys; plain `http` is allowed only to this machine.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct WebhookUrl(String);

impl WebhookUrl {
    /// Parses a URL. The error does not repeat the URL, whose query may be a secret.
    pub fn parse(text: &str) -> Result<WebhookUrl, &'static str> {
        let text = text.trim();
        let (rest, plain) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => return Err("must begin with https://"),
        };
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(['\\', '"', '<', '>']) {
            return Err("has a character that must be percent-encoded");
        }
        if text.contains('#') {
            return Err("must have no fragment");
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err("must have no user name or password");
        }
        let port = authority.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
        let host = port.map_or(authority, |(host, _)| host);
        if host.is_empty() {
            return Err("has no host");
        }
        if plain && !is_loopback(authority) {
            return Err("must begin with https://, except on this machine");
        }
        Ok(WebhookUrl(text.to_owned()))
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WebhookUrl(…)")
    }
}

impl<'de> Deserialize<'de> for WebhookUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WebhookUrl, D::Error> {
        let text = String::deserialize(deserializer)?;
        WebhookUrl::parse(&text).map_err(|what| serde::de::Error::custom(format!("webhook.url {what}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_url_exactly_as_written() {
        for text in [
            "https://a.example/hook/",
            "https://a.example",
            "https://a.example?code=x",
            "https://a.example:8443/hook?code=x%20y&z=1",
            "http://localhost:8080/hook/",
            "http://127.0.0.1:1",
            "http://[::1]:8080",
            "http://[::1]/",
        ] {
            assert_eq!(WebhookUrl::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn rejects_unencrypted_remote_and_invalid_urls() {
        for (text, part) in [
            ("ftp://a.example", "https://"),
            ("http://a.example", "except on this machine"),
            ("http://localhost.a.example", "except on this machine"),
            ("http://127.0.0.1.a.example:80/localhost", "except on this machine"),
            ("https://user@a.example", "user name"),
            ("https://a.example/#x", "fragment"),
            ("https://a.example/ x", "percent-encoded"),
            ("https:///hook", "no host"),
            ("https://:8080", "no host"),
        ] {
            let error = WebhookUrl::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
