//! OpenAI Embeddings: requests with a text, several texts, or their tokens, and responses with a vector for each.
//!
//! Vectors are forwarded unread, as numbers or as base64. The gateway checks the shape of `input` and the presence of
//! `data` in a response, and reads the usage. `encoding_format` and `dimensions` are left to the provider.
//!
//! <https://platform.openai.com/docs/api-reference/embeddings>

use serde_json::value::RawValue;

use crate::error::{Code, Error};
use crate::format::body::Body;
use crate::format::request::{Inference, Needs, Outgoing, Responder, Size};
use crate::format::upstream::Upstream;
use crate::format::upstream_error;
use crate::format::whole::{self, BOM, Whole};
use crate::json::members::{self, Members};
use crate::key::Secret;
use crate::operation::{Format, Operation};
use crate::usage::Usage;

/// The fields that the gateway acts on; each may appear only once.
const ONCE: &[&str] =
    &["model", "input", "project_id", "models", "provider", "encoding_format", "dimensions"];

/// Reads a body.
pub fn read<'a>(operation: &'static Operation, bytes: &'a [u8]) -> Result<Inference<'a>, Error> {
    let body = Body::read(bytes, ONCE)?;
    let model = body.model()?;
    let input = Input::read(&body, "input")?;
    let project_id = body.project_id()?;
    let rest = bytes.len().saturating_sub(input.text.len());
    let size = Size { text: input.text.len(), rest, ..Size::default() };
    // The model reads each input by itself, so the longest one has to fit.
    let longest = Size { text: input.longest, ..Size::default() };
    Ok(Inference {
        operation,
        model,
        stream: false,
        wants_usage: true,
        project_id,
        routing: body.routing(),
        needs: Needs { input_tokens: longest.needed_tokens(), ..Needs::default() },
        size,
        session: None,
        // No provider caches the beginning of an input.
        prompt: "",
        body,
    })
}

/// One or several texts, or their tokens.
pub(super) struct Input<'a> {
    /// All of them, as written.
    pub(super) text: &'a str,
    /// The bytes of the longest one.
    pub(super) longest: usize,
    /// Their number.
    pub(super) count: u64,
}

impl<'a> Input<'a> {
    /// Reads a field.
    pub(super) fn read(body: &Body<'a>, field: &'static str) -> Result<Input<'a>, Error> {
        const EXPECTED: &str =
            "a string, an array of strings, or tokens as an array of integers or of such arrays";
        let Some(text) = body.value(field) else {
            let message = format!("'{field}' is missing; it must be {EXPECTED}");
            return Err(Error::new(Code::MissingInput, message).with_param(field));
        };
        let wrong =
            || Err(Error::new(Code::InvalidType, format!("'{field}' must be {EXPECTED}")).with_param(field));
        if text.starts_with('"') {
            return Ok(Input { text, longest: text.len(), count: 1 });
        }
        let Ok(items) = serde_json::from_str::<Vec<&'a RawValue>>(text) else { return wrong() };
        let kind = |item: &RawValue| {
            item.get().bytes().next().map_or(b' ', |first| if first.is_ascii_digit() { b'0' } else { first })
        };
        let Some(first) = items.first().map(|item| kind(item)) else {
            let message = format!("'{field}' is an empty array; send at least one text");
            return Err(Error::new(Code::InvalidValue, message).with_param(field));
        };
        if !matches!(first, b'"' | b'0' | b'[') || items.iter().any(|item| kind(item) != first) {
            return wrong();
        }
        let longest = items.iter().map(|item| item.get().len()).max().unwrap_or(0);
        // An array of numbers is one input.
        let is_one = first == b'0';
        Ok(Input {
            text,
            longest: if is_one { text.len() } else { longest },
            count: if is_one { 1 } else { items.len() as u64 },
        })
    }
}

/// Writes a request for an upstream. There is no output limit.
pub fn outgoing(request: &Inference<'_>, upstream: &Upstream<'_>) -> Outgoing {
    let (body, adjusted) = request.body.addressed_to(upstream, &request.model).finish();
    Outgoing {
        body,
        adjusted,
        responder: Responder {
            format: Format::Embeddings,
            hide_usage: false,
            ends_without_done: false,
            translation: None,
        },
    }
}

/// Checks a whole response, and returns its usage: only input tokens. `key`, the gateway's credential, is blotted out of
/// errors.
pub fn check(provider: &str, body: &[u8], key: Option<&Secret>) -> Result<Whole, Error> {
    let json = body.strip_prefix(BOM).unwrap_or(body);
    let error = |has_answer| upstream_error::in_answer(provider, json, has_answer, key);
    let members = Members::read(json, &[]).map_err(|_| {
        error(false).unwrap_or_else(|| whole::invalid(provider, "a body that is not a JSON object"))
    })?;
    if !members.get("data").is_some_and(|data| data.value.starts_with('[')) {
        return Err(error(false).unwrap_or_else(|| whole::invalid(provider, "a JSON object without 'data'")));
    }
    let is_doubtful = members.get("base_resp").is_some()
        || members.get("error").is_some_and(|error| !upstream_error::is_nothing(error.value));
    if is_doubtful && let Some(error) = error(true) {
        return Err(error);
    }
    let prompt_tokens = members.all("usage").filter_map(|usage| input_tokens(usage.value)).max();
    Ok(Whole {
        usage: usage(prompt_tokens),
        produced: 0,
        has_bom: json.len() < body.len(),
        is_text: false,
        translated: None,
    })
}

/// The usage of so many input tokens.
pub(super) fn usage(prompt_tokens: Option<u64>) -> Usage {
    Usage { prompt_tokens, completion_tokens: Some(0), ..Usage::default() }
}

/// The input tokens: `prompt_tokens`, or `total_tokens` if a provider reports nothing else (Voyage, Jina).
pub(super) fn input_tokens(usage: &str) -> Option<u64> {
    let [prompt, input, total] =
        members::pick(usage.as_bytes(), &["prompt_tokens", "input_tokens", "total_tokens"]).ok()?;
    let count = |member: Option<members::Member<'_>>| Usage::count(member?.value);
    count(prompt).max(count(input)).max(count(total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Registry;
    use crate::config::Config;
    use crate::operation::EMBEDDINGS;

    fn read(body: &str) -> Result<Inference<'_>, Error> {
        super::read(&EMBEDDINGS, body.as_bytes())
    }

    #[test]
    fn every_kind_of_input_is_read() {
        for (input, text, needed) in [
            (r#""hello""#, 7, 1),
            (r#"["hello","a longer text"]"#, 25, 3),
            ("[1,2,3]", 7, 1),
            ("[[1,2],[3,4,5,6,7,8]]", 21, 3),
            (r#"  ["a"]"#, 5, 0),
        ] {
            let body = format!(r#"{{"model":"m","input":{input}}}"#);
            let request = read(&body).unwrap();
            assert_eq!((request.size.text, request.needs.input_tokens), (text, needed), "{input}");
            assert_eq!((request.size.choices, request.stream), (0, false), "{input}");
        }
    }

    #[test]
    fn any_other_input_is_rejected() {
        for (input, code) in [
            ("", "missing_input"),
            (r#","input":null"#, "missing_input"),
            (r#","input":[]"#, "invalid_value"),
            (r#","input":7"#, "invalid_type"),
            (r#","input":{"text":"a"}"#, "invalid_type"),
            (r#","input":["a",1]"#, "invalid_type"),
            (r#","input":[null]"#, "invalid_type"),
            (r#","input":[{"type":"text"}]"#, "invalid_type"),
            (r#","input":"a","input":"b""#, "duplicate_member"),
        ] {
            let error = read(&format!(r#"{{"model":"m"{input}}}"#)).unwrap_err();
            assert_eq!((error.code(), error.param.as_deref()), (Some(code), Some("input")), "{input}");
        }
        assert_eq!(read(r#"{"input":"a"}"#).unwrap_err().code(), Some("missing_model"));
    }

    #[test]
    fn only_the_named_fields_change() {
        let config = r#"{"providers":{"acme":{"base_url":"http://a.example","auth":"none","formats":["embeddings"],
            "rename":{"dimensions":"output_dimension"}}}}"#;
        let registry = Registry::new(&Config::read("{}", Some(config)).unwrap(), false, |_| None);
        let provider = registry.provider("acme").unwrap();
        let upstream = Upstream { provider, model: "m", own_routing: false };
        let body = r#"{ "input":["a"], "model":"acme/m","project_id":"p","encoding_format":"base64","dimensions":8,"x":1 }"#;
        let outgoing = outgoing(&read(body).unwrap(), &upstream);
        assert_eq!(
            String::from_utf8(outgoing.body.unwrap()).unwrap(),
            r#"{ "input":["a"], "model":"m","encoding_format":"base64","output_dimension":8,"x":1 }"#
        );
        assert_eq!(outgoing.adjusted, ["dimensions>output_dimension"]);
        assert_eq!(super::outgoing(&read(r#"{"input":"a","model":"m"}"#).unwrap(), &upstream).body, None);
    }

    #[test]
    fn usage_has_only_input_tokens() {
        let none = Usage { completion_tokens: Some(0), ..Usage::default() };
        for (usage, expected) in [
            (r#","usage":{"prompt_tokens":8,"total_tokens":8}"#, Some(8)),
            (r#","usage":{"total_tokens":8}"#, Some(8)),
            (r#","usage":{"prompt_tokens":"x"}"#, None),
            (r#","usage":{"prompt_tokens":0,"total_tokens":7.5}"#, Some(8)),
            (r#","usage":{"prompt_tokens":8},"usage":{}"#, Some(8)),
            (r#","usage":null"#, None),
            ("", None),
        ] {
            let body = format!(r#"{{"object":"list","data":[{{"embedding":[0.5]}}]{usage}}}"#);
            let found = check("acme", body.as_bytes(), None).unwrap().usage;
            assert_eq!(found, Usage { prompt_tokens: expected, ..none }, "{usage}");
        }
    }

    #[test]
    fn a_response_without_vectors_is_an_error() {
        for (body, code) in [
            ("", "upstream_invalid_response"),
            ("[]", "upstream_invalid_response"),
            ("{}", "upstream_invalid_response"),
            (r#"{"choices":[]}"#, "upstream_invalid_response"),
            (r#"{"error":{"message":"m","code":"busy"}}"#, "busy"),
            (r#"{"data":[],"error":{"message":"m","code":"busy"}}"#, "busy"),
            ("\u{feff}{\"error\":{\"message\":\"m\",\"code\":\"busy\"}}", "busy"),
        ] {
            let error = check("acme", body.as_bytes(), None).unwrap_err();
            assert_eq!((error.status, error.code()), (502, Some(code)), "{body}");
        }
    }
}
