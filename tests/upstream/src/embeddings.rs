//! An embeddings request and the response to it: a unit vector for each input, computed from the text of the input alone.
//! Does not decide on statuses and faults: `response` does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::json;
use crate::rejection::Rejection;
use crate::reply::words;
use crate::simulate::{Simulate, UsageMode, Wanted};
use crate::when::Caller;
use crate::whole::EXTRA_MEMBERS;

/// The default length of a vector.
const DIMENSIONS: u64 = 8;
/// The largest length of a vector, so that a mistyped number does not use up the memory.
const MAX_DIMENSIONS: u64 = 4096;

/// An embeddings request.
pub(crate) struct Embeddings {
    model: String,
    inputs: Vec<Input>,
    dimensions: u64,
    base64: bool,
    pub(crate) prompt_tokens: u64,
    pub(crate) simulate: Simulate,
}

/// One text, or the tokens of one.
struct Input {
    /// The text, or the tokens as JSON.
    text: String,
    tokens: u64,
}

impl Embeddings {
    /// Reads a request body. The caller decides only which faults apply.
    pub(crate) fn read(body: &[u8], caller: &Caller<'_>) -> Result<Self, Rejection> {
        let value: Value = serde_json::from_slice(body).map_err(|error| {
            Rejection::new(format!("We could not parse the JSON body of your request: {error}"), None)
        })?;
        let simulates = Simulate::read(value.get("simulate").unwrap_or(&Value::Null), Wanted::Vectors)
            .map_err(|message| Rejection::new(message, Some("simulate")))?;
        let inputs = inputs(value.get("input")).ok_or_else(|| {
            Rejection::new("input must be a string, an array of strings, or tokens".to_owned(), Some("input"))
        })?;
        let dimensions = match value.get("dimensions") {
            None | Some(Value::Null) => Some(DIMENSIONS),
            Some(value) => value.as_u64().filter(|length| (1..=MAX_DIMENSIONS).contains(length)),
        };
        let dimensions = dimensions.ok_or_else(|| {
            Rejection::new(format!("dimensions must be from 1 to {MAX_DIMENSIONS}"), Some("dimensions"))
        })?;
        let base64 = match value.get("encoding_format") {
            None | Some(Value::Null) => false,
            Some(format) if format == "float" => false,
            Some(format) if format == "base64" => true,
            Some(format) => {
                let message = format!("encoding_format must be \"float\" or \"base64\", not {format}");
                return Err(Rejection::new(message, Some("encoding_format")));
            }
        };
        let model = value.get("model").and_then(Value::as_str);
        Ok(Self {
            model: model.unwrap_or("simulated").to_owned(),
            prompt_tokens: inputs.iter().map(|input| input.tokens).sum(),
            inputs,
            dimensions,
            base64,
            // After all validation, since this counts the request.
            simulate: Simulate::choose(simulates, caller, model, false),
        })
    }

    /// The response as JSON text.
    pub(crate) fn response(&self) -> String {
        let mut out = String::from("{\"object\":\"list\",\"data\":[");
        for (index, input) in (0..).zip(&self.inputs) {
            let before = if index > 0 { "," } else { "" };
            json::number(&mut out, &format!("{before}{{\"object\":\"embedding\",\"index\":"), index);
            out.push_str(",\"embedding\":");
            let vector = vector(&input.text, self.dimensions);
            if self.base64 {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                json::quote(&mut out, &STANDARD.encode(&bytes));
            } else {
                let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
                out.push('[');
                out.push_str(&numbers.join(","));
                out.push(']');
            }
            out.push('}');
        }
        out.push_str("],\"model\":");
        json::quote(&mut out, &self.model);
        if self.simulate.extra_members {
            out.push_str(EXTRA_MEMBERS);
        }
        let tokens = self.prompt_tokens;
        match self.simulate.usage {
            UsageMode::None => {}
            UsageMode::TotalOnly => json::number(&mut out, ",\"usage\":{\"total_tokens\":", tokens),
            _ => {
                json::number(&mut out, ",\"usage\":{\"prompt_tokens\":", tokens);
                json::number(&mut out, ",\"total_tokens\":", tokens);
            }
        }
        out.push_str(if self.simulate.usage == UsageMode::None { "}" } else { "}}" });
        out
    }
}

/// The inputs of a request: a text, several, the tokens of one, or the tokens of several.
fn inputs(value: Option<&Value>) -> Option<Vec<Input>> {
    let text = |text: &str| Input { text: text.to_owned(), tokens: words(text) };
    let tokens = |value: &Value| {
        let list = value.as_array().filter(|list| !list.is_empty() && list.iter().all(Value::is_u64))?;
        Some(Input { text: value.to_string(), tokens: list.len() as u64 })
    };
    let value = value?;
    match value {
        Value::String(one) => Some(vec![text(one)]),
        Value::Array(list) if list.first().is_some_and(Value::is_u64) => Some(vec![tokens(value)?]),
        Value::Array(list) if !list.is_empty() => {
            list.iter().map(|one| one.as_str().map(text).or_else(|| tokens(one))).collect()
        }
        _ => None,
    }
}

/// A vector of length 1 that depends on the text alone. Texts that differ have vectors that differ.
fn vector(text: &str, dimensions: u64) -> Vec<f32> {
    // FNV-1a, then SplitMix64.
    let mut state = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let numbers: Vec<f64> = (0..dimensions)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            // The upper 32 bits, as a number from -1 to 1.
            f64::from((mixed >> 32) as u32) / f64::from(1_u32 << 31) - 1.0
        })
        .collect();
    let length = numbers.iter().map(|number| number * number).sum::<f64>().sqrt();
    #[expect(clippy::cast_possible_truncation, reason = "providers send single precision")]
    numbers.into_iter().map(|number| (number / length) as f32).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::when::Times;

    fn ask(value: &Value) -> Result<Value, String> {
        let times = Times::default();
        let headers = hyper::HeaderMap::new();
        let read = Embeddings::read(value.to_string().as_bytes(), &Caller::new("/", &headers, &times));
        let asked = read.map_err(|rejection| rejection.message)?;
        Ok(serde_json::from_str(&asked.response()).unwrap())
    }

    #[test]
    fn every_kind_of_input_has_its_vectors_and_tokens() {
        for (input, vectors, tokens) in [
            (json!("one two"), 1, 2),
            (json!(["one two", "", "three"]), 3, 3),
            (json!([1, 2, 3]), 1, 3),
            (json!([[1, 2], [3]]), 2, 3),
        ] {
            let response = ask(&json!({"model": "m", "input": input})).unwrap();
            let data = response["data"].as_array().unwrap();
            assert_eq!((data.len(), &response["model"]), (vectors, &json!("m")), "{input}");
            assert_eq!(
                response["usage"],
                json!({"prompt_tokens": tokens, "total_tokens": tokens}),
                "{input}"
            );
            for (index, item) in data.iter().enumerate() {
                assert_eq!((&item["index"], &item["object"]), (&json!(index), &json!("embedding")));
                let vector: Vec<f64> = serde_json::from_value(item["embedding"].clone()).unwrap();
                let length = vector.iter().map(|number| number * number).sum::<f64>().sqrt();
                assert!(vector.len() == 8 && (length - 1.0).abs() < 1e-6, "{vector:?}");
            }
        }
    }

    #[test]
    fn a_vector_depends_on_the_text_alone() {
        assert_eq!(vector("a", 3), vector("a", 3));
        assert_ne!(vector("a", 3), vector("b", 3));
        assert_eq!(vector("a", 1536).len(), 1536);
    }

    #[test]
    fn base64_has_little_endian_numbers() {
        let response = ask(&json!({"input": "a", "dimensions": 1, "encoding_format": "base64"})).unwrap();
        let bytes = vector("a", 1)[0].to_le_bytes();
        assert_eq!(response["data"][0]["embedding"], json!(STANDARD.encode(bytes)));
        assert!(bytes == 1_f32.to_le_bytes() || bytes == (-1_f32).to_le_bytes());
    }

    #[test]
    fn usage_has_the_requested_fields() {
        let usage = |mode| {
            let body = json!({"input": "a b", "simulate": {"usage": mode}});
            ask(&body).unwrap().get("usage").cloned()
        };
        assert_eq!(usage("none"), None);
        assert_eq!(usage("total_only"), Some(json!({"total_tokens": 2})));
    }

    #[test]
    fn invalid_requests_are_rejected() {
        for (body, part) in [
            (json!({}), "input must be"),
            (json!({"input": []}), "input must be"),
            (json!({"input": ["a", 1]}), "input must be"),
            (json!({"input": [[]]}), "input must be"),
            (json!({"input": [1, "a"]}), "input must be"),
            (json!({"input": "a", "dimensions": 0}), "from 1 to 4096"),
            (json!({"input": "a", "encoding_format": "int8"}), "\"int8\""),
            (json!({"input": "a", "simulate": {"cut": "stream"}}), "needs a response that is a stream"),
            (json!({"input": "a", "simulate": {"content": "b"}}), "have no content"),
        ] {
            let message = ask(&body).unwrap_err();
            assert!(message.contains(part), "{body}: {message}");
        }
    }
}
