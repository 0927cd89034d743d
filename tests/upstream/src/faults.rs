//! The error bodies of various providers. Does not decide when an error happens: `response` does.

use serde_json::{Value, json};

use crate::json;
use crate::simulate::{ErrorShape, EventShape, Simulate};

/// The API whose errors are imitated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Wire {
    #[default]
    Openai,
    Anthropic,
}

/// The content of an error.
#[derive(Default)]
pub(crate) struct Fault<'a> {
    /// The API, which has its own usual messages.
    pub(crate) wire: Wire,
    /// The number of the request.
    pub(crate) n: u64,
    /// The HTTP status; 200 inside a stream.
    pub(crate) status: u16,
    /// The message; none: the usual message of the status.
    pub(crate) message: Option<&'a str>,
    /// The code; none: the usual code of the status.
    pub(crate) code: Option<&'a str>,
    /// The request field that is wrong.
    pub(crate) param: Option<&'a str>,
    /// The type; none: the usual type of the status.
    pub(crate) kind: Option<&'a str>,
}

/// An error body with its content type, which an empty body does not have.
pub(crate) struct ErrorBody {
    pub(crate) content_type: Option<&'static str>,
    pub(crate) text: String,
}

const JSON: Option<&str> = Some("application/json");

impl<'a> Fault<'a> {
    /// The error that a request asks for, with this status.
    pub(crate) fn of(simulate: &'a Simulate, status: u16, wire: Wire, n: u64) -> Self {
        Self {
            wire,
            n,
            status,
            message: simulate.message.as_deref(),
            code: simulate.code.as_deref(),
            param: None,
            kind: simulate.error_type.as_deref(),
        }
    }

    /// The message.
    pub(crate) fn message(&self) -> &str {
        let usual = match self.wire {
            Wire::Openai => self.openai_message(),
            Wire::Anthropic => self.anthropic_message(),
        };
        self.message.unwrap_or(usual)
    }

    fn anthropic_message(&self) -> &'static str {
        match self.status {
            200 | 503 | 529 => "Overloaded",
            401 => "invalid x-api-key",
            402 => "Your credit balance is too low to access the Anthropic API.",
            403 => "Your API key does not have permission to use the specified resource.",
            404 => "model: no-such-model",
            408 | 504 => "Request timed out.",
            413 => "Request exceeds the maximum size",
            429 => "This request would exceed your organization's rate limit.",
            400..=499 => "Error",
            _ => "Internal server error",
        }
    }

    fn openai_message(&self) -> &'static str {
        match self.status {
            200 => "The simulated provider failed while responding.",
            401 => "Incorrect API key provided.",
            402 => "Insufficient balance.",
            403 => "You are not allowed to use this model.",
            404 => "The model does not exist.",
            408 | 504 => "The simulated provider took too long.",
            413 => "The request is too large.",
            429 => "Rate limit reached for requests.",
            400..=499 => "The simulated provider rejects this request.",
            503 | 529 => "The simulated provider is overloaded.",
            _ => "The simulated provider had an error.",
        }
    }

    /// The code.
    pub(crate) fn code(&self) -> Option<&str> {
        self.code.or(match self.status {
            401 => Some("invalid_api_key"),
            402 => Some("insufficient_balance"),
            404 => Some("model_not_found"),
            429 => Some("rate_limit_exceeded"),
            503 | 529 => Some("overloaded"),
            200 | 500..=599 => Some("server_error"),
            _ => None,
        })
    }

    /// The type.
    pub(crate) fn kind(&self) -> &str {
        self.kind.unwrap_or(match (self.status, self.code) {
            (_, Some("insufficient_quota")) => "insufficient_quota",
            (429, _) => "rate_limit_error",
            (403, _) => "permission_error",
            (300..=499, _) => "invalid_request_error",
            (503 | 529, _) => "overloaded_error",
            _ => "server_error",
        })
    }

    /// `OpenAI`'s error object, written by hand to keep the usual order of fields.
    fn object(&self) -> String {
        let optional = |text: Option<&str>| text.map_or_else(|| "null".to_owned(), json::quoted);
        format!(
            "{{\"message\":{},\"type\":{},\"param\":{},\"code\":{}}}",
            json::quoted(self.message()),
            json::quoted(self.kind()),
            optional(self.param),
            optional(self.code())
        )
    }

    /// `OpenAI`'s envelope.
    fn openai(&self) -> String {
        format!("{{\"error\":{}}}", self.object())
    }

    /// The envelope of the API.
    pub(crate) fn envelope(&self) -> String {
        match self.wire {
            Wire::Openai => self.openai(),
            Wire::Anthropic => self.anthropic(),
        }
    }

    /// The whole body of an error response.
    pub(crate) fn body(&self, shape: ErrorShape) -> ErrorBody {
        let message = self.message();
        let (content_type, text) = match shape {
            ErrorShape::Openai => (JSON, self.openai()),
            ErrorShape::Flat => (JSON, self.flat()),
            ErrorShape::Message => (JSON, json!({"message": message}).to_string()),
            ErrorShape::Detail => (JSON, json!({"detail": message}).to_string()),
            ErrorShape::DetailList => {
                let detail = json!({"loc": ["body", "messages"], "msg": message, "type": "value_error"});
                (JSON, json!({"detail": [detail]}).to_string())
            }
            ErrorShape::ErrorText => (JSON, json!({"error": message}).to_string()),
            ErrorShape::Fault => (
                JSON,
                json!({"fault": {"faultstring": message, "detail": {"errorcode": self.code()}}}).to_string(),
            ),
            ErrorShape::Array => (JSON, format!("[{}]", self.openai())),
            ErrorShape::Cloudflare => (JSON, self.cloudflare()),
            ErrorShape::Anthropic => (JSON, self.anthropic()),
            ErrorShape::Html => (Some("text/html; charset=UTF-8"), self.html()),
            ErrorShape::Empty => (None, String::new()),
            ErrorShape::Text => (Some("text/plain; charset=utf-8"), message.to_owned()),
        };
        ErrorBody { content_type, text }
    }

    fn flat(&self) -> String {
        json!({
            "object": "error", "message": self.message(), "type": self.kind(),
            "param": self.param, "code": self.code(),
        })
        .to_string()
    }

    fn cloudflare(&self) -> String {
        // Cloudflare's codes are numbers.
        let code = self.code.and_then(|code| code.parse().ok()).unwrap_or(10_000_u64);
        let errors = json!([{"code": code, "message": self.message()}]);
        json!({"success": false, "errors": errors, "messages": [], "result": Value::Null}).to_string()
    }

    /// Anthropic's envelope.
    pub(crate) fn anthropic(&self) -> String {
        let (kind, message) = (self.anthropic_kind(), self.message());
        let error = match self.code {
            Some(code) => json!({"type": kind, "message": message, "details": {"error_code": code}}),
            None => json!({"type": kind, "message": message}),
        };
        json!({"type": "error", "error": error, "request_id": format!("req_sim_{}", self.n)}).to_string()
    }

    fn anthropic_kind(&self) -> &str {
        self.kind.unwrap_or(match self.status {
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            408 | 504 => "timeout_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            200 | 529 => "overloaded_error",
            300..=499 => "invalid_request_error",
            _ => "api_error",
        })
    }

    fn html(&self) -> String {
        let message = self.message().replace('&', "&amp;").replace('<', "&lt;");
        format!(
            "<!DOCTYPE html>\n<html>\n<head><title>{status} | provider.example</title></head>\n<body>\n\
             <center><h1>Error {status}</h1></center>\n<p>{message}</p>\n<hr><center>cdn</center>\n</body>\n</html>\n",
            status = self.status
        )
    }

    /// The lines of an event with this error inside a stream, without line ends. `chunk` builds a chunk of the stream
    /// from its choices and the fields before them.
    pub(crate) fn event_lines(&self, shape: EventShape, chunk: impl Fn(&str, &str) -> String) -> Vec<String> {
        match shape {
            EventShape::Anthropic => {
                // Inside a stream there is no `request_id`.
                let error = json!({"type": self.anthropic_kind(), "message": self.message()});
                vec!["event: error".to_owned(), format!("data: {}", json!({"type": "error", "error": error}))]
            }
            // Those of Responses, whose events have numbers, are written with the stream.
            EventShape::Openai | EventShape::Failed | EventShape::Error | EventShape::ErrorFailed => {
                vec![format!("data: {}", self.openai())]
            }
            EventShape::Text => vec![format!("data: {}", json!({"error": self.message()}))],
            EventShape::Named => {
                vec!["event: error".to_owned(), format!("data: {}", json!({"message": self.message()}))]
            }
            EventShape::Openrouter => {
                let code = json::quoted(self.code().unwrap_or("server_error"));
                let error =
                    format!("\"error\":{{\"code\":{code},\"message\":{}}},", json::quoted(self.message()));
                let choice = "{\"index\":0,\"delta\":{\"content\":\"\"},\"logprobs\":null,\"finish_reason\":\"error\"}";
                vec![format!("data: {}", chunk(&error, choice))]
            }
        }
    }
}
