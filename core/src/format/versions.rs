//! The versioned headers of formats: those of the caller that a lane of the same format gets. Only Messages have any.
//!
//! Values pass an allow-list of characters and lengths. Which versions and betas exist is the provider's business.

use crate::error::{Code, Error};
use crate::operation::Format;

/// The header with the version of Anthropic's API.
pub const VERSION: &str = "anthropic-version";
/// The header with the names of betas.
const BETA: &str = "anthropic-beta";
/// The version of callers that state none. Providers reject requests without one.
const DEFAULT_VERSION: &str = "2023-06-01";
/// The most betas of a request. Claude Code sends about ten.
const MAX_BETAS: usize = 32;
/// The longest name of a beta, in bytes.
const MAX_BETA: usize = 64;

/// The versioned headers of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    version: String,
    betas: Vec<String>,
}

impl Default for Versions {
    /// Those of a caller of another format.
    fn default() -> Versions {
        Versions { version: DEFAULT_VERSION.to_owned(), betas: Vec::new() }
    }
}

impl Versions {
    /// Reads the headers of a caller of a format; `header` finds one by its name.
    pub fn read(format: Format, header: impl Fn(&str) -> Option<String>) -> Result<Versions, Error> {
        if format != Format::Messages {
            return Ok(Versions::default());
        }
        let (version, beta) = (header(VERSION), header(BETA));
        let stated = version.as_deref().map(str::trim).filter(|version| !version.is_empty());
        let version = stated.unwrap_or(DEFAULT_VERSION);
        if !is_date(version) {
            let message = format!("'{VERSION}' must be the date of a version, such as {DEFAULT_VERSION}");
            return Err(Error::new(Code::InvalidValue, message).with_param(VERSION));
        }
        let betas =
            beta.as_deref().unwrap_or_default().split(',').map(str::trim).filter(|beta| !beta.is_empty());
        let betas: Vec<String> = betas.map(str::to_owned).collect();
        if betas.len() > MAX_BETAS || !betas.iter().all(|beta| is_name(beta)) {
            let message = format!(
                "'{BETA}' must be at most {MAX_BETAS} names, separated by commas, each of at most {MAX_BETA} letters, digits, '-', '_' or '.'"
            );
            return Err(Error::new(Code::InvalidValue, message).with_param(BETA));
        }
        Ok(Versions { version: version.to_owned(), betas })
    }

    /// The headers for an upstream that is called in a format: names and values.
    pub fn headers(&self, format: Format) -> Vec<(&'static str, String)> {
        if format != Format::Messages {
            return Vec::new();
        }
        let mut headers = vec![(VERSION, self.version.clone())];
        if !self.betas.is_empty() {
            headers.push((BETA, self.betas.join(",")));
        }
        headers
    }
}

fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

fn is_name(text: &str) -> bool {
    text.len() <= MAX_BETA
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(version: Option<&str>, beta: Option<&str>) -> Result<Vec<(&'static str, String)>, Error> {
        let header = |name: &str| if name == VERSION { version } else { beta }.map(str::to_owned);
        Versions::read(Format::Messages, header).map(|versions| versions.headers(Format::Messages))
    }

    #[test]
    fn versions_and_betas_pass_as_they_are() {
        let version = |version: &str| vec![(VERSION, version.to_owned())];
        assert_eq!(passed(None, None), Ok(version("2023-06-01")));
        assert_eq!(passed(Some(" "), Some("")), Ok(version("2023-06-01")));
        assert_eq!(passed(Some("2026-10-21"), Some(" , ")), Ok(version("2026-10-21")));
        let both = passed(Some("2023-06-01"), Some("claude-code-20250219, context-1m-2025-08-07,x.y_z"));
        let betas = "claude-code-20250219,context-1m-2025-08-07,x.y_z";
        assert_eq!(both, Ok(vec![(VERSION, "2023-06-01".to_owned()), (BETA, betas.to_owned())]));
        assert_eq!(Versions::default().headers(Format::Messages), version("2023-06-01"));
        let of_chat = Versions::read(Format::ChatCompletions, |_| Some("x".to_owned()));
        assert_eq!(of_chat, Ok(Versions::default()));
        assert_eq!(Versions::default().headers(Format::ChatCompletions), []);
    }

    #[test]
    fn anything_else_is_rejected() {
        let long = "a".repeat(MAX_BETA + 1);
        let many = vec!["a"; MAX_BETAS + 1].join(",");
        for (version, beta, param) in [
            ("2023-6-1", "", VERSION),
            ("2023-06-01\r\nx: y", "", VERSION),
            ("bedrock-2023-05-31", "", VERSION),
            ("2023-06-01", "a b", BETA),
            ("2023-06-01", "é", BETA),
            ("2023-06-01", &long, BETA),
            ("2023-06-01", &many, BETA),
        ] {
            let error = passed(Some(version), Some(beta)).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(param), "{version} {beta}");
        }
    }
}
