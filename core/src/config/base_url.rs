//! The base URL of a provider. Only configuration creates one; callers cannot.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An `http` or `https` URL to which a path can be appended: no user name, query, fragment or final slash.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    origin_length: usize,
}

impl BaseUrl {
    /// Parses a URL. The error does not repeat the URL.
    pub fn parse(text: &str) -> Result<BaseUrl, &'static str> {
        let text = text.trim().trim_end_matches('/');
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
            .ok_or("must begin with https:// or http://")?;
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has a character that must be percent-encoded");
        }
        if rest.contains(['?', '#']) {
            return Err("must have no query and no fragment");
        }
        let host = rest.split('/').next().unwrap_or_default();
        if host.contains('@') {
            return Err("must have no user name or password");
        }
        if host.is_empty() || host.starts_with(':') {
            return Err("has no host");
        }
        if rest.split('/').any(|segment| segment == "." || segment == "..")
            || rest.contains(['\\', '"', '<', '>'])
        {
            return Err("is not an absolute URL");
        }
        let origin_length = text.len() - rest.len() + host.len();
        Ok(BaseUrl { text: text.to_owned(), origin_length })
    }

    /// The URL, without a final slash.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns `true` if there is no path.
    pub fn is_origin(&self) -> bool {
        self.text.len() == self.origin_length
    }

    /// Returns `true` if nobody on the way can read or change what is exchanged: `https`, or `http` to this machine.
    pub fn is_private(&self) -> bool {
        let host = self.text.get(..self.origin_length).and_then(|origin| origin.strip_prefix("http://"));
        host.is_none_or(is_loopback)
    }

    /// This URL, with the path of `default` if it is a bare origin (`http://127.0.0.1:8080`), so that
    /// `OLLAMA_BASE_URL=http://gpu.lan:11434` works as intended.
    #[must_use]
    pub fn with_path_of(self, default: &BaseUrl) -> BaseUrl {
        if !self.is_origin() {
            return self;
        }
        let path = default.text.get(default.origin_length..).unwrap_or_default();
        BaseUrl { text: format!("{}{path}", self.text), ..self }
    }
}

/// Returns `true` if an authority (`host` or `host:port`) is this machine.
pub(super) fn is_loopback(authority: &str) -> bool {
    let port = authority.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    matches!(port.map_or(authority, |(host, _)| host), "localhost" | "127.0.0.1" | "[::1]")
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for BaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BaseUrl::parse(&text).map_err(|what| serde::de::Error::custom(format!("base_url {what}")))
    }
}

impl Serialize for BaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_usable_urls() {
        for (text, kept) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1"),
            (" http://127.0.0.1:8080/v1/ ", "http://127.0.0.1:8080/v1"),
            ("http://[::1]:11434", "http://[::1]:11434"),
        ] {
            assert_eq!(BaseUrl::parse(text).unwrap().as_str(), kept);
        }
    }

    #[test]
    fn rejects_all_other_urls() {
        for text in [
            "",
            "api.openai.com",
            "ftp://x",
            "https://",
            "https:///v1",
            "https://:80/v1",
            "https://user:pw@host/v1",
            "https://host/v1?key=x",
            "https://host/v1#x",
            "https://host/a b",
            "https://hóst/",
            "https://host/../x",
            "https://host\\@evil/",
            "javascript:alert(1)",
        ] {
            assert!(BaseUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bare_origin_takes_the_default_path() {
        let default = BaseUrl::parse("https://api.groq.com/openai/v1").unwrap();
        for (text, address) in [
            ("http://127.0.0.1:9", "http://127.0.0.1:9/openai/v1"),
            ("http://127.0.0.1:9/", "http://127.0.0.1:9/openai/v1"),
            ("http://127.0.0.1:9/v2", "http://127.0.0.1:9/v2"),
        ] {
            assert_eq!(BaseUrl::parse(text).unwrap().with_path_of(&default).as_str(), address);
        }
    }
}
