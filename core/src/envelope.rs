//! The JSON of an error on each surface.
//!
//! Each URL prefix keeps the shape that its clients expect ([`Surface`]): OpenAI's `{"error":{…}}` with all four fields
//! always present, the portal's `{"Status","Message","Meta"}`, and `/v0`'s `{"message","error_code","details"}`. The
//! error, its status and its code are in [`crate::error`].

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

impl Error {
    /// The body of the error in the envelope of a surface.
    pub fn envelope(&self, surface: Surface) -> Value {
        match surface {
            Surface::OpenAi => json!({"error": {
                "message": self.message,
                "type": self.kind(),
                "param": self.param,
                "code": self.code(),
            }}),
            Surface::Portal => {
                json!({"Status": "Error", "Message": self.message_on(surface), "Meta": null})
            }
            Surface::V0 => json!({
                "message": self.message_on(surface),
                "error_code": match self.origin {
                    // The one code that clients of this surface know by another name.
                    Origin::Gateway(Code::InvalidApiKey) => "AuthenticationFailed",
                    Origin::Gateway(code) => code.spec().pascal_code,
                    Origin::Upstream { .. } => "UpstreamError",
                },
                "details": match (&self.details, &self.param) {
                    (Some(details), _) => Value::clone(details),
                    (None, Some(param)) => json!({"param": param}),
                    (None, None) => Value::Null,
                },
            }),
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
        format!("data: {}\n\n", self.envelope(Surface::OpenAi)).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_surface_has_its_envelope() {
        let error = Error::new(Code::InvalidType, "'model' must be a string").with_param("model");
        assert_eq!(
            error.envelope(Surface::of_path("/v1/chat/completions")).to_string(),
            r#"{"error":{"message":"'model' must be a string","type":"invalid_request_error","param":"model","code":"invalid_type"}}"#
        );
        assert_eq!(
            error.envelope(Surface::of_path("/api/portal/requests")).to_string(),
            r#"{"Status":"Error","Message":"'model' must be a string","Meta":null}"#
        );
        assert_eq!(
            error.envelope(Surface::of_path("/v0/api_keys")).to_string(),
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
        let body = Error::upstream(418, "teapot".into(), None, "no".into()).envelope(Surface::OpenAi);
        let fields = body["error"].as_object().unwrap();
        assert_eq!(fields.len(), 4);
        assert!(fields["code"].is_null() && fields["param"].is_null());
    }
}
