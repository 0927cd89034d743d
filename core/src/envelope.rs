//! The JSON of an error on each surface.
//!
//! Each URL prefix keeps the shape that its clients expect ([`Surface`]): OpenAI's `{"error":{…}}` with all four fields
//! always present, the portal's `{"Status","Message","Meta"}`, and `/v0`'s `{"message","error_code","details"}`. The
//! error, its status and its code are in [`crate::error`].

use serde::Serialize;
use serde_json::Value;

use crate::error::{Code, Error, Origin};
use crate::json;

/// The shape of errors under a URL prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// `/v1`, `/access`, `/usage`, `/health` and everything else.
    OpenAi,
    /// `/api/portal`.
    Portal,
    /// `/v0`.
    V0,
}

impl Surface {
    /// The surface of a URL path.
    pub fn of_path(path: &str) -> Surface {
        let under = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if under("/api/portal") {
            Surface::Portal
        } else if under("/v0") {
            Surface::V0
        } else {
            Surface::OpenAi
        }
    }
}

/// The body of an error, in the shape of a surface.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Envelope<'a> {
    /// On [`Surface::OpenAi`].
    OpenAi {
        /// The error.
        error: OpenAiError<'a>,
    },
    /// On [`Surface::Portal`].
    #[serde(rename_all = "PascalCase")]
    Portal {
        /// `Error`.
        status: &'static str,
        /// The message.
        message: &'a str,
        /// Null.
        meta: (),
    },
    /// On [`Surface::V0`].
    V0 {
        /// The message.
        message: &'a str,
        /// The code in Pascal case.
        error_code: &'static str,
        /// Facts about the error.
        details: Details<'a>,
    },
}

/// An error in `OpenAI`'s API. All four fields are always present.
#[derive(Clone, Debug, Serialize)]
pub struct OpenAiError<'a> {
    /// The message.
    pub message: &'a str,
    /// The type.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The field, parameter or header at fault.
    pub param: Option<&'a str>,
    /// The code.
    pub code: Option<&'a str>,
}

/// Facts about an error on [`Surface::V0`].
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Details<'a> {
    /// Those of the error.
    Stated(&'a Value),
    /// The field, parameter or header at fault.
    Param {
        /// Its name.
        param: &'a str,
    },
    /// None: null.
    None,
}

impl Error {
    /// The body of the error in the envelope of a surface.
    pub fn envelope(&self, surface: Surface) -> Envelope<'_> {
        let param = self.param.as_deref();
        match surface {
            Surface::OpenAi => Envelope::OpenAi {
                error: OpenAiError { message: &self.message, kind: self.kind(), param, code: self.code() },
            },
            Surface::Portal => {
                Envelope::Portal { status: "Error", message: self.message_on(surface), meta: () }
            }
            Surface::V0 => Envelope::V0 {
                message: self.message_on(surface),
                error_code: match self.origin {
                    // The one code that clients of this surface know by another name.
                    Origin::Gateway(Code::InvalidApiKey) => "AuthenticationFailed",
                    Origin::Gateway(code) => code.spec().pascal_code,
                    Origin::Upstream(_) => "UpstreamError",
                },
                details: match (self.details(), param) {
                    (Some(details), _) => Details::Stated(details),
                    (None, Some(param)) => Details::Param { param },
                    (None, None) => Details::None,
                },
            },
        }
    }

    /// The message, or the fixed text that clients of the operator's surfaces compare.
    fn message_on(&self, surface: Surface) -> &str {
        match (surface, &self.origin) {
            (Surface::Portal, Origin::Gateway(Code::InvalidApiKey)) => "Not authorised",
            (Surface::V0, Origin::Gateway(Code::InvalidApiKey)) => "Unauthorized API key",
            _ => &self.message,
        }
    }

    /// The error as the last event of a stream in OpenAI's format.
    pub fn stream_event(&self) -> Vec<u8> {
        format!("data: {}\n\n", json::to_text(&self.envelope(Surface::OpenAi))).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_surface_has_its_envelope() {
        let error = Error::new(Code::InvalidType, "'model' must be a string").with_param("model");
        assert_eq!(
            json::to_text(&error.envelope(Surface::of_path("/v1/chat/completions"))),
            r#"{"error":{"message":"'model' must be a string","type":"invalid_request_error","param":"model","code":"invalid_type"}}"#
        );
        assert_eq!(
            json::to_text(&error.envelope(Surface::of_path("/api/portal/requests"))),
            r#"{"Status":"Error","Message":"'model' must be a string","Meta":null}"#
        );
        assert_eq!(
            json::to_text(&error.envelope(Surface::of_path("/v0/api_keys"))),
            r#"{"message":"'model' must be a string","error_code":"InvalidType","details":{"param":"model"}}"#
        );
    }

    #[test]
    fn a_prefix_is_a_whole_segment() {
        assert_eq!(Surface::of_path("/v0x"), Surface::OpenAi);
        assert_eq!(Surface::of_path("/v0"), Surface::V0);
        assert_eq!(Surface::of_path("/api/portals"), Surface::OpenAi);
    }

    #[test]
    fn all_four_fields_are_present_even_when_null() {
        let error = Error::upstream(418, "teapot".into(), None, "no".into());
        assert_eq!(
            json::to_text(&error.envelope(Surface::OpenAi)),
            r#"{"error":{"message":"no","type":"teapot","param":null,"code":null}}"#
        );
    }
}
