//! Conversion of upstream errors of any shape to the gateway's error, with what they mean.
//!
//! [`said`] reads what an error says, wherever it stands: in a response with an error status, in a 200, in an event of a
//! stream. [`signs`] decides what it means. The provider's own message, type, code and `param` are kept if they are
//! texts. HTML pages of CDNs are never returned, nor are messages about the gateway's own credential, nor any part of it.

mod blot;
mod said;
mod signs;

use serde_json::Value;

use crate::catalog::api_key_variable;
use crate::error::{Code, Error, Meaning};
use crate::framing::sse;
use crate::json::partial;
use crate::key::Secret;
pub use blot::blot;
use said::Said;

/// The number of bytes of an error body that are read: the first part of a longer one is enough.
pub const MAX_BODY: usize = 64 * 1024;
/// The code of an input that is too long, by which clients recognise it.
const TOO_LONG: &str = "context_length_exceeded";

/// Converts a response with an error status, whatever its content type. `key`, the gateway's credential, is blotted out
/// in case the provider repeats it.
pub fn read(provider: &str, status: u16, body: &[u8], key: Option<&Secret>) -> Error {
    let said = match parse(body, key) {
        Some(value) => Said::of(&value).unwrap_or_default(),
        None => plain(body, key),
    };
    into_error(provider, said, Some(status))
}

/// Converts the error in a whole response with a status of success; `None` if there is none. `has_answer` is `true` if
/// there also is an answer, which an error must not be mistaken for.
pub fn in_answer(provider: &str, body: &[u8], has_answer: bool, key: Option<&Secret>) -> Option<Error> {
    let value = parse(body, key)?;
    let is_error = said::is_error(&value, has_answer)
        || if has_answer { ended_in_error(&value) } else { said::is_message(&value) };
    if !is_error {
        return None;
    }
    Some(into_error(provider, Said::of(&value).unwrap_or_default(), None))
}

/// Converts the error in an event of a stream; `None` if there is none. `is_named` is `true` if the name of the event is
/// `error`; `has_answer` as in [`in_answer`].
pub fn in_event(
    provider: &str,
    data: &[u8],
    is_named: bool,
    has_answer: bool,
    key: Option<&Secret>,
) -> Option<Error> {
    let said = match parse(data, key) {
        Some(value) if is_named || said::is_error(&value, has_answer) => Said::of(&value).unwrap_or_default(),
        None if is_named => plain(data, key),
        _ => return None,
    };
    Some(into_error(provider, said, None))
}

/// Returns `true` if a member `error`, as written, says nothing: `null`, `false`, `""`, `{}`.
pub fn is_nothing(text: &str) -> bool {
    matches!(text, "null" | "false" | "\"\"" | "{}")
        || serde_json::from_str(text).is_ok_and(|value: Value| said::is_nothing(&value))
}

/// Returns `true` if every choice ended with the reason `error` and has no content.
fn ended_in_error(value: &Value) -> bool {
    let choices = value.get("choices").and_then(Value::as_array);
    choices.is_some_and(|choices| {
        !choices.is_empty()
            && choices.iter().all(|choice| {
                let has = |name| {
                    choice
                        .get("message")
                        .and_then(|message| message.get(name))
                        .is_some_and(|value| !said::is_nothing(value))
                };
                choice.get("finish_reason").and_then(Value::as_str) == Some("error")
                    && !has("content")
                    && !has("tool_calls")
            })
    })
}

/// Parses JSON, also the beginning of one, behind a byte order mark too, and blots the key out everywhere, before any
/// text is truncated.
fn parse(body: &[u8], key: Option<&Secret>) -> Option<Value> {
    let mut value = json(text(body), body.len() >= MAX_BODY)?;
    if let Some(key) = key {
        blot_value(&mut value, key.expose());
    }
    Some(value)
}

/// The JSON of a text: all of it, its first value, what is left of one that was cut, or the data of its first event.
fn json(text: &str, is_cut: bool) -> Option<Value> {
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    if text.starts_with(['{', '[']) {
        let first = serde_json::Deserializer::from_str(text).into_iter().next().and_then(Result::ok);
        let rest = || partial::complete(text).iter().find_map(|text| serde_json::from_str(text).ok());
        return first.or_else(|| if is_cut { rest() } else { None });
    }
    let events = sse::events(text.as_bytes()).map(sse::parse);
    events.filter(|event| !event.data.is_empty()).find_map(|event| serde_json::from_slice(&event.data).ok())
}

/// The text of a body, as far as it is UTF-8, without a byte order mark and white space around it.
fn text(body: &[u8]) -> &str {
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => body
            .get(..error.valid_up_to())
            .and_then(|valid| std::str::from_utf8(valid).ok())
            .unwrap_or_default(),
    };
    text.trim_start_matches('\u{feff}').trim()
}

/// The message of a body that is not JSON. Markup says nothing.
fn plain(body: &[u8], key: Option<&Secret>) -> Said {
    let text = text(body);
    if text.starts_with('<') {
        return Said::default();
    }
    Said::plain(&key.map_or_else(|| text.to_owned(), |key| blot::blot(text, key.expose())))
}

fn blot_value(value: &mut Value, key: &str) {
    match value {
        Value::String(text) => *text = blot::blot(text, key),
        Value::Array(items) => items.iter_mut().for_each(|item| blot_value(item, key)),
        Value::Object(fields) => fields.values_mut().for_each(|item| blot_value(item, key)),
        _ => {}
    }
}

/// The error that is returned for what an upstream said. `status` is that of the response, if it is an error status.
fn into_error(provider: &str, said: Said, status: Option<u16>) -> Error {
    let (meaning, found) = signs::decide(provider, &said, status);
    if meaning == Meaning::CredentialRejected {
        let shown = status.map_or_else(String::new, |status| format!(" (HTTP {status})"));
        let message = format!(
            "{provider} rejected the gateway's own credential{shown}; the operator has to check {}",
            api_key_variable(provider)
        );
        let code = Code::UpstreamCredentialRejected.spec();
        return Error::upstream(found, code.kind.to_owned(), Some(code.code.to_owned()), message)
            .with_meaning(meaning, said.message)
            .with_told_status(status)
            .without_retry();
    }
    let is_too_long = meaning == Meaning::TooLong && found == 400;
    let code = if is_too_long { Some(TOO_LONG.to_owned()) } else { said.code };
    let kind = said.kind.unwrap_or_else(|| default_kind(found).to_owned());
    let message = match said.message {
        Some(message) if meaning == Meaning::QuotaSpent => {
            format!("{provider} rejects the gateway's account, not your key: {message}")
        }
        Some(message) => message,
        None => {
            let code = code.as_deref().map_or_else(String::new, |code| format!(" ({code})"));
            let what = status.map_or_else(|| "an error".to_owned(), |status| format!("HTTP {status}"));
            format!("{provider} returned {what}{code} without an error message")
        }
    };
    let mut error = Error::upstream(found, kind, code, message).with_meaning(meaning, None);
    if let Some(seconds) = said.retry_after_s {
        error = error.with_retry_after(seconds);
    }
    match said.param {
        Some(param) => error.with_param(param),
        None => error,
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
    use crate::error::Meaning::{
        CredentialRejected, Failed, Forbidden, ModelUnknown, Moderated, QuotaSpent, ReasoningRejected,
        Refused, Throttled, TooLong, Unsupported,
    };

    /// The facts of an error: status, type, code, message.
    fn told(error: &Error) -> (u16, &str, Option<&str>, &str) {
        (error.status, error.kind(), error.code(), error.message.as_str())
    }

    /// The shapes of errors that providers use, with the code and the message.
    const SHAPES: &[(&str, Option<&str>, &str)] = &[
        (r#"{"error":{"message":"m","type":"t","param":null,"code":"c"}}"#, Some("c"), "m"),
        (r#"{"object":"error","message":"m","type":"t","param":null,"code":"c"}"#, Some("c"), "m"),
        (r#"{"error":{"code":77,"message":"m","status":"ODD"}}"#, Some("77"), "m"),
        (r#"[{"error":{"code":77,"message":"m"}}]"#, Some("77"), "m"),
        ("\u{feff}{\"error\":{\"code\":77,\"message\":\"m\"}}", Some("77"), "m"),
        (r#"{"message":"m"}"#, None, "m"),
        (r#"{"Message":"m"}"#, None, "m"),
        (r#"{"detail":"m"}"#, None, "m"),
        (
            r#"{"detail":[{"loc":["body","n"],"msg":"bad","type":"v"},{"loc":["x"],"msg":"worse"}]}"#,
            None,
            "body.n: bad; x: worse",
        ),
        (
            r#"{"object":"Error","detail":[{"loc":["body","tools"],"msg":"bad"}],"message":[{"loc":["body","tools"],"msg":"bad"}],"code":3001}"#,
            Some("3001"),
            "body.tools: bad",
        ),
        (r#"{"error":"m"}"#, None, "m"),
        (r#"{"error":["m"]}"#, None, "m"),
        (r#"{"error":["m","n"]}"#, None, "m; n"),
        (r#"{"code":"c d","error":"m"}"#, Some("c d"), "m"),
        (r#"{"error":true,"message":"m","code":"c"}"#, Some("c"), "m"),
        (r#"{"statusCode":418,"error":"Teapot","message":"m"}"#, Some("418"), "Teapot: m"),
        (r#"{"error":{"message":{"text":"m"},"code":"c"}}"#, Some("c"), "m"),
        (r#"{"error":{"message":{"detail":["m","n"]},"code":"c"}}"#, Some("c"), "m; n"),
        (r#"{"fault":{"faultstring":"m"}}"#, None, "m"),
        (r#"{"internalCode":77,"description":"m","name":"AiError"}"#, Some("77"), "m"),
        (r#"{"success":false,"errors":[{"code":77,"message":"m"}]}"#, Some("77"), "m"),
        (r#"{"type":"error","error":{"type":"odd_error","message":"m"}}"#, None, "m"),
        (r#"{"code":77,"msg":"m","success":false}"#, Some("77"), "m"),
        (r#"{"error_code":77,"error_msg":"m"}"#, Some("77"), "m"),
        (r#"{"id":"x","choices":null,"base_resp":{"status_code":77,"status_msg":"m"}}"#, Some("77"), "m"),
        (r#"{"response":{"status":"failed","error":{"code":"c","message":"m"}}}"#, Some("c"), "m"),
        (r#"{"error":{"code":"c","message":"m","metadata":{"raw":"n"}}}"#, Some("c"), "m: n"),
        (
            r#"{"error":{"code":"c","message":"m","metadata":{"raw":"{\"error\":{\"message\":\"n\"}}"}}}"#,
            Some("c"),
            "m: n",
        ),
    ];

    #[test]
    fn every_shape_is_read_in_every_position() {
        for (body, code, message) in SHAPES {
            let found = read("acme", 418, body.as_bytes(), None);
            assert_eq!((found.code(), found.message.as_str()), (*code, *message), "{body}");
            assert_eq!(found.status, 418, "{body}");
            let found = in_answer("acme", body.as_bytes(), false, None).unwrap_or_else(|| panic!("{body}"));
            assert_eq!((found.code(), found.message.as_str()), (*code, *message), "{body}");
            let found = in_event("acme", body.as_bytes(), true, false, None).unwrap();
            assert_eq!((found.code(), found.message.as_str()), (*code, *message), "{body}");
        }
    }

    #[test]
    fn errors_beside_and_inside_of_an_answer_are_found() {
        for (body, status, code) in [
            (r#"{"choices":[{"message":{"content":null}}],"error":{"code":429,"message":"m"}}"#, 429, "429"),
            (r#"{"choices":[{"message":{"content":""},"error":{"code":502,"message":"m"}}]}"#, 502, "502"),
            (r#"{"choices":[{"delta":{"content":""},"error":{"code":"busy","message":"m"}}]}"#, 502, "busy"),
            (r#"{"choices":[],"base_resp":{"status_code":1002,"status_msg":"m"}}"#, 429, "1002"),
            (r#"{"choices":[{"delta":{}}],"error":{"message":"m","code":"503"}}"#, 503, "503"),
        ] {
            for error in [
                in_answer("acme", body.as_bytes(), true, None),
                in_event("acme", body.as_bytes(), false, true, None),
            ] {
                let error = error.unwrap_or_else(|| panic!("{body}"));
                assert_eq!(
                    (error.status, error.code(), error.message.as_str()),
                    (status, Some(code), "m"),
                    "{body}"
                );
            }
        }
    }

    #[test]
    fn what_says_nothing_or_is_an_answer_is_no_error() {
        for body in [
            r#"{"choices":[{"message":{"content":"a"}}],"error":null}"#,
            r#"{"choices":[{"message":{"content":"a"}}],"error":""}"#,
            r#"{"choices":[{"message":{"content":"a"}}],"error":false}"#,
            r#"{"choices":[{"message":{"content":"a"}}],"error":{}}"#,
            r#"{"choices":[{"message":{"content":"a"}}],"error":{"message":"","code":0}}"#,
            r#"{"choices":[{"message":{"content":"a"},"error":null}],"base_resp":{"status_code":0,"status_msg":"success"}}"#,
            r#"{"choices":[{"message":{"content":"a","detail":"rate limit"},"finish_reason":"error"}]}"#,
            r#"{"choices":[{"message":{"content":"Incorrect API key provided"}}],"detail":"x","message":"y"}"#,
        ] {
            assert_eq!(in_answer("acme", body.as_bytes(), true, None), None, "{body}");
            assert_eq!(in_event("acme", body.as_bytes(), false, true, None), None, "{body}");
        }
        for body in [
            "null",
            r#"{"id":"x","choices":null,"usage":{"total_tokens":3}}"#,
            r#"{"type":"ping"}"#,
            r#"{"code":0,"msg":"success"}"#,
            r#"{"message":{"role":"assistant","content":"rate limit"},"done":true}"#,
            "not json",
        ] {
            assert_eq!(in_answer("acme", body.as_bytes(), false, None), None, "{body}");
            assert_eq!(in_event("acme", body.as_bytes(), false, false, None), None, "{body}");
        }
    }

    /// Texts of upstreams, with the status of the response (0: a 200) and what it means.
    #[rustfmt::skip]
    const CASES: &[(u16, &str, Meaning, u16)] = &[
        // The reasoning of earlier turns.
        (400, r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0: Invalid `signature` in `thinking` block"}}"#, ReasoningRejected, 400),
        (400, r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.3.content.0: Invalid `data` in `redacted_thinking` block"}}"#, ReasoningRejected, 400),
        (400, r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0.thinking.signature: Field required"}}"#, ReasoningRejected, 400),
        (400, r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` is enabled, a final `assistant` message must start with a thinking block."}}"#, ReasoningRejected, 400),
        (400, r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.2: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified."}}"#, ReasoningRejected, 400),
        (400, r#"{"error":{"message":"The encrypted content gAAA could not be verified. Reason: Encrypted content could not be decrypted or parsed.","type":"invalid_request_error","param":null,"code":"invalid_encrypted_content"}}"#, ReasoningRejected, 400),
        (400, r#"{"error":{"message":"Item 'rs_1' of type 'reasoning' was provided without its required following item.","type":"invalid_request_error","param":"input","code":null}}"#, ReasoningRejected, 400),
        (400, r#"{"error":{"message":"Item 'fc_1' of type 'function_call' was provided without its required 'reasoning' item: 'rs_1'.","type":"invalid_request_error","param":"input","code":null}}"#, ReasoningRejected, 400),
        (404, r#"{"error":{"message":"Item with id 'rs_1' not found. Items are not persisted when `store` is set to false.","type":"invalid_request_error","param":"input","code":null}}"#, ReasoningRejected, 404),
        (0, r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0: Invalid `signature` in `thinking` block"}}"#, ReasoningRejected, 400),
        (400, r#"{"error":{"code":400,"message":"Corrupted thought signature.","status":"INVALID_ARGUMENT"}}"#, ReasoningRejected, 400),
        (400, r#"{"message":"The request signature we calculated does not match the signature you provided."}"#, Refused, 400),
        // The input is too long.
        (400, r#"{"error":{"code":400,"message":"the request exceeds the available context size. try increasing the context size","type":"exceed_context_size_error"}}"#, TooLong, 400),
        (400, r#"{"error":{"code":400,"message":"","type":"exceed_context_size_error"}}"#, TooLong, 400),
        (0, r#"{"error":{"code":400,"message":"request (19185 tokens) exceeds the available context size (16384 tokens)","type":"exceed_context_size_error"}}"#, TooLong, 400),
        (400, r#"[{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048575).","status":"INVALID_ARGUMENT"}}]"#, TooLong, 400),
        (400, r#"{"error":{"message":"Invalid request: Your request exceeded model token limit: 262144","type":"invalid_request_error"}}"#, TooLong, 400),
        (422, r#"{"error":{"message":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 32769. Given: 40000 `inputs` tokens and 1 `max_new_tokens`","type":"invalid_request_error","code":null}}"#, TooLong, 400),
        (422, r#"{"error":"Input validation error: `inputs` must have less than 1024 tokens. Given: 2000","error_type":"validation"}"#, TooLong, 400),
        (400, r#"{"type":"error","error":{"type":"invalid_request_error","message":"input length and `max_tokens` exceed context limit: 90402 + 116650 > 204648, decrease input length or `max_tokens` and try again"}}"#, TooLong, 400),
        (400, r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#, TooLong, 400),
        (413, r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum allowed number of bytes."}}"#, TooLong, 400),
        (400, r#"{"object":"error","message":"This model's maximum context length is 262144 tokens. However, you requested 128000 output tokens","type":"BadRequestError","param":null,"code":400}"#, TooLong, 400),
        (400, r#"{"object":"error","message":"The input (40000 tokens) is longer than the model's context length (32768 tokens).","type":"BadRequestError","code":400}"#, TooLong, 400),
        (400, r#"{"code":"Client specified an invalid argument","error":"This model's maximum prompt length is 131072 but the request contains 537812 tokens."}"#, TooLong, 400),
        (400, r#"{"message":"Input is too long for requested model."}"#, TooLong, 400),
        (400, r#"{"message":"Too many input tokens. Max input tokens: 8192, request input token count: 9000"}"#, TooLong, 400),
        (400, r#"{"object":"error","message":"Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length","type":"invalid_request_error","code":3051}"#, TooLong, 400),
        (400, r#"{"message":"too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4292"}"#, TooLong, 400),
        (400, r#"{"error":{"message":"Please reduce the length of the messages or completion.","type":"invalid_request_error","code":"context_length_exceeded"}}"#, TooLong, 400),
        (400, r#"{"error":{"message":"The prompt is too long: 140000, model maximum context length: 131071","code":"invalid_request_error"}}"#, TooLong, 400),
        (500, r#"{"error":{"message":"input is too large to process. increase the physical batch size","type":"server_error","code":500}}"#, TooLong, 400),
        (400, r#"{"error":"prompt too long; exceeded max context length by 17 tokens"}"#, TooLong, 400),
        (413, r#"{"error":{"code":"tokens_limit_reached","message":"Request body too large for gpt-4o model. Max size: 8000 tokens."}}"#, TooLong, 400),
        (400, r#"{"error":{"message":"Range of input length should be [1, 30720]","code":"InvalidParameter"}}"#, TooLong, 400),
        (400, r#"{"error":{"message":null,"type":"server_error","param":null,"code":"context_length_exceeded"}}"#, TooLong, 400),
        (400, r#"{"error":{"code":400,"message":"Provider returned error","metadata":{"raw":"{\"error\":{\"message\":\"This model's maximum context length is 4096 tokens\"}}"}}}"#, TooLong, 400),
        (500, r#"{"error":{"message":"litellm.BadRequestError: OpenAIException - {\"error\":{\"message\":\"m\",\"code\":\"context_length_exceeded\"}}","code":"500"}}"#, TooLong, 400),
        (413, "<html>413 Request Entity Too Large</html>", TooLong, 413),
        // The lane cannot serve the request.
        (404, r#"{"error":{"message":"No endpoints found that support tool use. To learn more about provider routing, visit: https://openrouter.ai/docs","code":404}}"#, Unsupported, 404),
        (400, r#"{"error":"registry.ollama.ai/library/gemma:2b does not support tools"}"#, Unsupported, 400),
        (429, r#"{"error":{"message":"Request too large for gpt-x in organization org-x on tokens per min (TPM): Limit 30000, Requested 40000.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#, Unsupported, 413),
        (413, r#"{"error":{"message":"Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 9000","type":"tokens","code":"rate_limit_exceeded"}}"#, Unsupported, 413),
        (0, r#"{"error":{"code":404,"message":"No endpoints found that support image input"}}"#, Unsupported, 404),
        // Moderation.
        (403, r#"{"error":{"message":"m/x requires moderation on OpenInference. Your input was flagged for \"self-harm\".","code":403,"metadata":{"reasons":["self-harm"]}}}"#, Moderated, 403),
        (400, r#"{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.","code":"content_filter","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#, Moderated, 400),
        (400, r#"{"error":{"message":"Content Exists Risk","type":"invalid_request_error","code":"invalid_request_error"}}"#, Moderated, 400),
        (400, r#"{"error":{"message":"blocked by safety settings","code":400}}"#, Moderated, 400),
        (403, r#"{"code":"The caller does not have permission","error":"Content violates usage guidelines."}"#, Moderated, 403),
        (0, r#"{"choices":null,"base_resp":{"status_code":1026,"status_msg":"input new_sensitive"}}"#, Moderated, 400),
        // The request.
        (400, r#"{"error":{"message":"messages: field required"}}"#, Refused, 400),
        (422, r#"{"detail":"bad"}"#, Refused, 422),
        (0, r#"{"error":{"message":"bad schema","code":400}}"#, Refused, 400),
        (0, r#"{"error":{"message":"bad schema","type":"invalid_request_error"}}"#, Refused, 400),
        (500, r#"{"error":{"message":"bad schema","code":400}}"#, Refused, 400),
        (400, r#"{"error":{"message":"'max_tokens' must be at least 1. Received: 0","code":400,"type":"BadRequestError"}}"#, Refused, 400),
        (400, r#"{"error":{"message":"Invalid value: 'Incorrect API key provided'. Supported values are: 'auto'","type":"invalid_request_error"}}"#, Refused, 400),
        (400, r#"{"object":"error","message":"[{'type': 'missing', 'loc': ('body',), 'input': {'messages': 'insufficient balance, maximum context length'}}]","code":400}"#, Refused, 400),
        (400, r#"{"detail":[{"loc":["body"],"msg":"bad","input":"prompt is too long"}]}"#, Refused, 400),
        // The credential.
        (400, r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***ef. You can obtain an API key from https://console.x.ai."}"#, CredentialRejected, 502),
        (400, r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]"#, CredentialRejected, 502),
        (400, r#"{"error":{"code":400,"message":"","status":"INVALID_ARGUMENT","details":[{"@type":"x","reason":"API_KEY_INVALID"}]}}"#, CredentialRejected, 502),
        (400, r#"{"error":{"code":400,"message":"API key expired. Please renew the API key.","status":"INVALID_ARGUMENT"}}"#, CredentialRejected, 502),
        (401, r#"{"message":"Unauthorized"}"#, CredentialRejected, 502),
        (401, "", CredentialRejected, 502),
        (0, r#"{"error":{"message":"User not found.","code":401}}"#, CredentialRejected, 502),
        (0, r#"{"base_resp":{"status_code":1004,"status_msg":"login fail"}}"#, CredentialRejected, 502),
        (403, r#"{"message":"The security token included in the request is invalid."}"#, CredentialRejected, 502),
        (500, r#"{"error":{"message":"Authentication Fails, Your api key: ****xx is invalid","type":"authentication_error"}}"#, CredentialRejected, 502),
        // The account.
        (429, r#"{"error":{"message":"","type":"insufficient_quota","param":"","code":"insufficient_quota"}}"#, QuotaSpent, 429),
        (429, r#"{"error":{"message":null,"type":"insufficient_quota"}}"#, QuotaSpent, 429),
        (400, r#"{"error":{"message":"insufficient quota","type":"invalid_request_error"}}"#, QuotaSpent, 402),
        (400, r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#, QuotaSpent, 402),
        (402, r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","code":"invalid_request_error"}}"#, QuotaSpent, 402),
        (402, "", QuotaSpent, 402),
        (403, r#"{"code":"x","error":"Your team has either used all available credits or reached its monthly spending limit."}"#, QuotaSpent, 402),
        (429, r#"[{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED"}}]"#, QuotaSpent, 429),
        (429, r#"{"error":{"message":"used up","code":3036}}"#, Throttled, 429),
        (400, r#"{"code":1113,"msg":"insufficient balance","success":false}"#, QuotaSpent, 402),
        (0, r#"{"error_code":17,"error_msg":"Open api daily request limit reached"}"#, QuotaSpent, 402),
        (0, r#"{"error":{"message":"余额不足或无可用资源包,请充值。","code":"1113"}}"#, QuotaSpent, 402),
        (403, r#"{"Message":"User is not authorized to perform: bedrock:InvokeModel"}"#, Forbidden, 403),
        // Limits.
        (429, r#"{"error":{"code":429,"message":"You exceeded your current quota, please check your plan.","status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}]}]}}"#, Throttled, 429),
        (0, r#"{"error":{"message":"Rate limit exceeded: free-models-per-day","code":429},"user_id":"u"}"#, Throttled, 429),
        (0, r#"[{"error":{"code":429,"message":"Resource has been exhausted","status":"RESOURCE_EXHAUSTED"}}]"#, Throttled, 429),
        (0, r#"{"id":"x","choices":null,"base_resp":{"status_code":1002,"status_msg":"rate limit"}}"#, Throttled, 429),
        (0, r#"{"error":{"message":"Rate limit reached","type":"rate_limit_error","code":"rate_limit_exceeded"}}"#, Throttled, 429),
        (0, r#"{"error":"Rate limit reached"}"#, Throttled, 429),
        (500, r#"{"error":{"message":"m","code":"429"}}"#, Throttled, 429),
        (400, r#"{"__type":"com.amazon.coral.service#ThrottlingException","message":"Too many tokens, please wait before trying again."}"#, Throttled, 429),
        (429, "", Throttled, 429),
        (429, r#"{"message":"Too many tokens, please wait before trying again."}"#, Throttled, 429),
        (429, r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit of 30,000 input tokens per minute"}}"#, Throttled, 429),
        // The model.
        (400, r#"{"error":{"message":"The model `x` does not exist or you do not have access to it.","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#, ModelUnknown, 400),
        (400, r#"{"error":{"message":"Model Not Exist","type":"invalid_request_error","code":"invalid_request_error"}}"#, ModelUnknown, 400),
        (400, r#"{"message":"The provided model identifier is invalid."}"#, ModelUnknown, 400),
        (400, r#"{"detail":"Model nonexistent is not supported. Supported models are ['voyage-2']."}"#, ModelUnknown, 400),
        (404, r#"{"error":{"message":"No endpoints found for x/y.","code":404}}"#, ModelUnknown, 404),
        (410, "", ModelUnknown, 410),
        // The provider.
        (500, r#"{"error":{"message":"","type":"InternalServerError","param":null,"code":500}}"#, Failed, 500),
        (529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Failed, 529),
        (0, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Failed, 503),
        (429, r#"{"error":{"message":"The engine is currently overloaded, please try again later","type":"engine_overloaded_error"}}"#, Failed, 429),
        (0, r#"{"error":{"message":"overloaded","type":"server_error","code":503}}"#, Failed, 503),
        (0, r#"{"error":{"message":"oom"}}"#, Failed, 502),
        (408, "", Failed, 408),
        (503, "<html>rate limit</html>", Failed, 503),
    ];

    #[test]
    fn what_an_upstream_says_decides_what_it_means() {
        for (status, body, meaning, expected) in CASES {
            let error = match status {
                0 => in_answer("acme", body.as_bytes(), false, None).unwrap_or_else(|| panic!("{body}")),
                _ => read("acme", *status, body.as_bytes(), None),
            };
            assert_eq!((error.meaning(), error.status), (Some(*meaning), *expected), "{status} {body}");
            if *status == 0 {
                let event = in_event("acme", body.as_bytes(), false, false, None).unwrap();
                assert_eq!(event, error, "{body}");
            }
            if *meaning == TooLong && *expected == 400 {
                assert_eq!(error.code(), Some("context_length_exceeded"), "{body}");
            }
        }
        let workers_ai = read("workers_ai", 429, br#"{"error":{"message":"used up","code":3036}}"#, None);
        assert_eq!(workers_ai.meaning(), Some(QuotaSpent));
        let zhipu = read("zhipu", 400, br#"{"error":{"code":"1261","message":"x"}}"#, None);
        assert_eq!(zhipu.meaning(), Some(TooLong));
    }

    #[test]
    fn text_that_is_not_json_is_read_but_never_returned() {
        for (status, body, meaning) in [
            (503, "<html>secret maximum context length</html>", Failed),
            (400, "model llama3 does not support tools secret", Unsupported),
            (400, "secret", Refused),
            (503, "", Failed),
            (503, "null", Failed),
            (503, "{}", Failed),
            (503, r#"{"error":{}}"#, Failed),
            (503, r#"{"detail":[]}"#, Failed),
            (503, r#"{"message":{"secret":1}}"#, Failed),
        ] {
            let error = read("acme", status, body.as_bytes(), None);
            assert_eq!(
                error.message,
                format!("acme returned HTTP {status} without an error message"),
                "{body}"
            );
            assert_eq!((error.meaning(), error.status), (Some(meaning), status), "{body}");
        }
        let event = in_event("acme", b"upstream connect error secret", true, false, None).unwrap();
        assert_eq!(
            told(&event),
            (502, "upstream_error", None, "acme returned an error without an error message")
        );
    }

    #[test]
    fn events_and_lines_of_json_are_read_too() {
        for body in [
            "data: {\"error\":{\"message\":\"m\",\"code\":\"c\"}}\n\ndata: [DONE]\n\n",
            "id:1\nevent:error\n:HTTP_STATUS/400\ndata:{\"code\":\"c\",\"message\":\"m\"}",
            "{\"error\":{\"message\":\"m\",\"code\":\"c\"}}\n{\"done\":true}",
        ] {
            assert_eq!(told(&read("acme", 400, body.as_bytes(), None)).2, Some("c"), "{body}");
            let error = in_answer("acme", body.as_bytes(), false, None).unwrap();
            assert_eq!((error.code(), error.message.as_str()), (Some("c"), "m"), "{body}");
        }
        let answer = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
        assert_eq!(in_answer("acme", answer.as_bytes(), false, None), None);
    }

    #[test]
    fn an_error_without_a_message_keeps_its_type_and_code() {
        for message in ["\"\"", "null", "\"  \"", "{}", "[]"] {
            let body = format!(r#"{{"error":{{"message":{message},"type":"t","code":"c","param":"p"}}}}"#);
            let error = read("acme", 400, body.as_bytes(), None);
            assert_eq!(
                told(&error),
                (400, "t", Some("c"), "acme returned HTTP 400 (c) without an error message")
            );
            assert_eq!(error.param.as_deref(), Some("p"));
        }
    }

    #[test]
    fn the_first_part_of_a_long_error_is_enough() {
        let words =
            r#""message":"This model's maximum context length is 4096 tokens","type":"BadRequestError""#;
        for (before, after) in [("", r#","input":"PPPP"#), (r#""list":[1,{"x":"y"}],"#, r#","trace":["PP","#)]
        {
            let start = format!("{{\"error\":{{{before}{words}{after}");
            let body = format!("{start}{}", "é".repeat(MAX_BODY / 2));
            let cut = body.as_bytes().get(..MAX_BODY).unwrap();
            let error = read("acme", 400, cut, None);
            assert_eq!((error.meaning(), error.kind()), (Some(TooLong), "BadRequestError"), "{start}");
        }
        let long = format!(r#"{{"error":{{"message":"{}"#, "P".repeat(MAX_BODY));
        assert!(read("acme", 400, long.as_bytes(), None).message.starts_with("PPP"));
    }

    #[test]
    fn a_rejected_credential_names_the_secret_that_the_operator_must_check() {
        let key = Secret::new("sk-abcdefgh-9xyz").unwrap();
        let words = "Incorrect API key provided: sk-abc***9xyz";
        for status in [401, 400] {
            let body = format!(r#"{{"error":{{"message":"{words}"}}}}"#);
            let error = read("my-llm", status, body.as_bytes(), Some(&key));
            assert_eq!(error.code(), Some("upstream_credential_rejected"));
            assert!(error.message.contains("MY_LLM_API_KEY") && !error.message.contains("sk-"));
            assert_eq!(error.told(), Some("Incorrect API key provided: …"), "for the operator");
        }
    }

    #[test]
    fn the_bill_of_the_operator_is_not_blamed_on_the_caller() {
        let body = br#"{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}"#;
        let error = read("acme", 429, body, None);
        assert!(error.message.starts_with("acme rejects the gateway's account, not your key: You exceeded"));
    }

    #[test]
    fn the_credential_is_redacted_everywhere() {
        let key = Secret::new("sk-abcdefgh").unwrap();
        let far = format!(r#"{{"message":"{}sk-abcdefgh"}}"#, "x".repeat(2000 - 5));
        for body in [
            r#"{"message":"key sk-abcdefgh has no access"}"#,
            r#"{"message":"m","code":"sk-abcdefgh","type":"sk-abcdefgh","param":"sk-abcdefgh"}"#,
            r#"{"error":{"message":"m","code":"x-sk-abcdefgh"}}"#,
            r#"{"detail":[{"loc":["sk-abcdefgh"],"msg":"sk-abcdefgh"}]}"#,
            &far,
        ] {
            let response = read("acme", 403, body.as_bytes(), Some(&key));
            let event = in_event("acme", body.as_bytes(), true, false, Some(&key)).unwrap();
            for error in [response, event] {
                assert!(!format!("{error:?}").contains("sk-ab"), "{error:?}");
            }
        }
    }

    #[test]
    fn long_messages_are_truncated_between_characters() {
        let body = format!(r#"{{"message":"{}"}}"#, "é".repeat(5000));
        assert_eq!(read("acme", 400, body.as_bytes(), None).message.chars().count(), 2000);
    }
}
