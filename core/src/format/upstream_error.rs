//! Conversion of upstream errors of any shape to the gateway's error.
//!
//! The provider's own message, type, code and `param` are kept if they are texts, so that clients can still find
//! `context_length_exceeded`. HTML pages of CDNs are never returned, nor are messages about the gateway's own
//! credential.

use serde_json::Value;

use crate::catalog::api_key_variable;
use crate::error::{Code, Error};
use crate::key::Secret;

/// The number of bytes of an error body that are read.
pub const MAX_BODY: usize = 64 * 1024;
const MAX_MESSAGE: usize = 2000;
const MAX_TOKEN: usize = 100;

/// Converts an error response. `is_json` is what the content type claims; `key`, the gateway's credential, is redacted
/// in case the provider repeats it.
pub fn read(provider: &str, status: u16, is_json: bool, body: &[u8], key: Option<&Secret>) -> Error {
    if status == 401 {
        let message = format!(
            "{provider} rejected the gateway's own credential (HTTP 401); the operator has to check {}",
            api_key_variable(provider)
        );
        let code = Code::UpstreamCredentialRejected.spec();
        return Error::upstream(status, code.kind.to_owned(), Some(code.code.to_owned()), message);
    }
    let fields = is_json.then(|| parse(body, key)).flatten().as_ref().and_then(fields);
    let Some(fields) = fields else {
        let message = format!("{provider} returned HTTP {status} without an error message");
        return Error::upstream(status, default_kind(status).to_owned(), None, message);
    };
    fields.into_error(status)
}

/// Converts an error event of a stream; `None` if the event has no error. `key` as in [`read`].
pub fn read_event(data: &[u8], named_error: bool, key: Option<&Secret>) -> Option<Error> {
    let value = parse(data, key)?;
    let carries_error = value.get("error").is_some_and(|error| !error.is_null());
    if !carries_error && !named_error {
        return None;
    }
    let fields = fields(&value)?;
    // Some report the status that the response would have had without a stream. A 401 would look like the caller's.
    let status = fields.code.as_deref().and_then(|code| code.parse().ok());
    let status = status.filter(|code| (400..600).contains(code) && *code != 401);
    Some(fields.into_error(status.unwrap_or(502)))
}

/// Parses JSON and redacts the key everywhere, before any text is truncated.
fn parse(body: &[u8], key: Option<&Secret>) -> Option<Value> {
    let mut value = serde_json::from_str(std::str::from_utf8(body).ok()?).ok()?;
    if let Some(key) = key {
        redact(&mut value, key.expose());
    }
    Some(value)
}

fn redact(value: &mut Value, key: &str) {
    match value {
        Value::String(text) if text.contains(key) => *text = text.replace(key, "…"),
        Value::Array(items) => items.iter_mut().for_each(|item| redact(item, key)),
        Value::Object(fields) => fields.values_mut().for_each(|item| redact(item, key)),
        _ => {}
    }
}

/// The content that all shapes have in common.
struct Fields {
    message: String,
    kind: Option<String>,
    code: Option<String>,
    param: Option<String>,
}

impl Fields {
    fn into_error(self, status: u16) -> Error {
        let kind = self.kind.unwrap_or_else(|| default_kind(status).to_owned());
        let error = Error::upstream(status, kind, self.code, self.message);
        match self.param {
            Some(param) => error.with_param(param),
            None => error,
        }
    }
}

fn fields(value: &Value) -> Option<Fields> {
    // Gemini's compatible endpoint: [{"error": {…}}].
    let value = value.as_array().and_then(|items| items.first()).unwrap_or(value);
    // {"error": {…}} (OpenAI, Anthropic, OpenRouter), {"error": "text"} (Hugging Face, Ollama), {"fault": {…}}
    // (Fireworks' front), {"errors": [{…}]} (Cloudflare), or the fields at the top level (Mistral, Cohere, and the binding of
    // Workers AI: {"internalCode": 3040, "description": "text"}).
    let inner = ["error", "fault"].iter().find_map(|name| value.get(name).filter(|inner| !inner.is_null()));
    let inner = inner.or_else(|| value.get("errors").and_then(|errors| errors.get(0))).unwrap_or(value);
    let message = text(Some(inner), MAX_MESSAGE)
        .or_else(|| {
            ["message", "faultstring", "description"]
                .iter()
                .find_map(|name| text(inner.get(name), MAX_MESSAGE))
        })
        .or_else(|| detail(inner.get("detail")?))?;
    let token = |name: &str| text(inner.get(name), MAX_TOKEN);
    let code = token("code").or_else(|| token("internalCode"));
    Some(Fields { message, kind: token("type"), code, param: token("param") })
}

/// `{"detail": "text"}` or `{"detail": [{"loc": ["body", "x"], "msg": "text"}]}` (FastAPI).
fn detail(detail: &Value) -> Option<String> {
    if let Some(items) = detail.as_array() {
        let parts: Vec<String> = items
            .iter()
            .filter_map(|item| {
                let place: Vec<_> = item
                    .get("loc")?
                    .as_array()?
                    .iter()
                    .filter_map(|part| text(Some(part), MAX_TOKEN))
                    .collect();
                Some(format!("{}: {}", place.join("."), text(item.get("msg"), MAX_MESSAGE)?))
            })
            .collect();
        return text(Some(&Value::from(parts.join("; "))), MAX_MESSAGE);
    }
    text(Some(detail), MAX_MESSAGE)
}

/// A text, or a number as text, truncated to `max` characters; `None` for anything else and for an empty text.
fn text(value: Option<&Value>, max: usize) -> Option<String> {
    match value? {
        Value::String(text) if !text.trim().is_empty() => Some(text.chars().take(max).collect()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn default_kind(status: u16) -> &'static str {
    match status {
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        400..500 => "invalid_request_error",
        _ => "upstream_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_every_shape_that_providers_use() {
        for (body, kind, code, message) in [
            (r#"{"error":{"message":"m","type":"t","param":null,"code":"c"}}"#, "t", Some("c"), "m"),
            (r#"{"object":"error","message":"m","type":"t","param":null,"code":"c"}"#, "t", Some("c"), "m"),
            (
                r#"{"error":{"code":429,"message":"m","status":"EXHAUSTED"}}"#,
                "rate_limit_error",
                Some("429"),
                "m",
            ),
            (r#"[{"error":{"code":429,"message":"m"}}]"#, "rate_limit_error", Some("429"), "m"),
            (r#"{"message":"m"}"#, "rate_limit_error", None, "m"),
            (r#"{"detail":"m"}"#, "rate_limit_error", None, "m"),
            (
                r#"{"detail":[{"loc":["body","n"],"msg":"bad","type":"v"},{"loc":["x"],"msg":"worse"}]}"#,
                "rate_limit_error",
                None,
                "body.n: bad; x: worse",
            ),
            (r#"{"error":"m"}"#, "rate_limit_error", None, "m"),
            (r#"{"fault":{"faultstring":"m"}}"#, "rate_limit_error", None, "m"),
            (
                r#"{"internalCode":3040,"description":"m","name":"AiError"}"#,
                "rate_limit_error",
                Some("3040"),
                "m",
            ),
            (
                r#"{"success":false,"errors":[{"code":10000,"message":"m"}]}"#,
                "rate_limit_error",
                Some("10000"),
                "m",
            ),
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
                "overloaded_error",
                None,
                "m",
            ),
        ] {
            let error = read("acme", 429, true, body.as_bytes(), None);
            assert_eq!(
                (error.status, error.kind(), error.code(), error.message.as_str()),
                (429, kind, code, message),
                "{body}"
            );
        }
    }

    #[test]
    fn never_returns_anything_but_an_error_message() {
        for (is_json, body) in [
            (false, "<html>secret</html>"),
            (true, "<html>secret</html>"),
            (true, ""),
            (true, "null"),
            (true, "{}"),
            (true, r#"{"error":{}}"#),
            (true, r#"{"detail":[]}"#),
            (true, r#"{"message":{"secret":1}}"#),
        ] {
            let error = read("acme", 503, is_json, body.as_bytes(), None);
            assert_eq!(error.message, "acme returned HTTP 503 without an error message", "{body}");
            assert_eq!(error.status, 503);
        }
    }

    #[test]
    fn a_rejected_credential_names_the_secret_that_the_operator_must_check() {
        let error = read(
            "my-llm",
            401,
            true,
            br#"{"error":{"message":"Incorrect API key provided: sk-abc***xyz"}}"#,
            None,
        );
        assert_eq!(error.code(), Some("upstream_credential_rejected"));
        assert!(error.message.contains("MY_LLM_API_KEY") && !error.message.contains("sk-"));
    }

    #[test]
    fn the_credential_is_redacted_everywhere() {
        let key = Secret::new("sk-abcdefgh").unwrap();
        let far = format!(r#"{{"message":"{}sk-abcdefgh"}}"#, "x".repeat(MAX_MESSAGE - 5));
        for body in [
            r#"{"message":"key sk-abcdefgh has no access"}"#,
            r#"{"message":"m","code":"sk-abcdefgh","type":"sk-abcdefgh","param":"sk-abcdefgh"}"#,
            r#"{"error":{"message":"m","code":"x-sk-abcdefgh"}}"#,
            r#"{"detail":[{"loc":["sk-abcdefgh"],"msg":"sk-abcdefgh"}]}"#,
            &far,
        ] {
            let response = read("acme", 403, true, body.as_bytes(), Some(&key));
            let event = read_event(body.as_bytes(), true, Some(&key)).unwrap();
            for error in [response, event] {
                assert!(!format!("{error:?}").contains("sk-ab"), "{error:?}");
            }
        }
    }

    #[test]
    fn reads_error_events_of_streams() {
        for (data, named, message) in [
            (r#"{"error":{"message":"m"}}"#, false, Some("m")),
            (
                r#"{"id":"x","choices":[{"finish_reason":"error"}],"error":{"code":502,"message":"m"}}"#,
                false,
                Some("m"),
            ),
            (r#"{"error":"m"}"#, false, Some("m")),
            (r#"{"message":"m"}"#, true, Some("m")),
            (r#"{"message":"m"}"#, false, None),
            (r#"{"error":null,"choices":[]}"#, false, None),
            (r#"{"choices":[{"delta":{"content":"\"error\""}}]}"#, false, None),
            ("not json", true, None),
        ] {
            assert_eq!(
                read_event(data.as_bytes(), named, None).map(|error| error.message).as_deref(),
                message,
                "{data}"
            );
        }
    }

    #[test]
    fn long_messages_are_truncated_between_characters() {
        let body = format!(r#"{{"message":"{}"}}"#, "é".repeat(5000));
        assert_eq!(read("acme", 400, true, body.as_bytes(), None).message.chars().count(), MAX_MESSAGE);
    }
}
