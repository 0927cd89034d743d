//! Legacy Completions: requests that continue a text. They are forwarded, and their responses and streams read, as those of
//! chat completions ([`super::request::outgoing`], [`super::response`], [`super::stream`]): only the reading of a request
//! differs. No request is translated into one for chat, which has no equal of `echo`, `suffix` and several prompts.
//!
//! <https://platform.openai.com/docs/api-reference/completions>

use super::request::wants_usage;
use crate::error::Error;
use crate::format::body::{Body, lenient_count};
use crate::format::embeddings::Input;
use crate::format::request::{Inference, Needs, Size};
use crate::operation::Operation;

/// The fields that the gateway acts on; each may appear only once.
const ONCE: &[&str] = &[
    "model",
    "prompt",
    "stream",
    "stream_options",
    "project_id",
    "models",
    "provider",
    "usage",
    "max_tokens",
    "n",
];

/// Reads a body.
pub fn read<'a>(operation: &'static Operation, bytes: &'a [u8]) -> Result<Inference<'a>, Error> {
    let body = Body::read(bytes, ONCE)?;
    let model = body.model()?;
    let prompt = Input::read(&body, "prompt")?;
    let stream = body.typed::<bool>("stream", "true or false")?.unwrap_or(false);
    let wants_usage = wants_usage(&body)?;
    let project_id = body.project_id()?;
    let n = body.value("n").and_then(lenient_count).unwrap_or(1).max(1);
    let max_output = body.value("max_tokens").and_then(lenient_count).filter(|tokens| *tokens > 0);
    let text = prompt.text.len() + body.size("suffix");
    let size = Size {
        text,
        rest: bytes.len().saturating_sub(text),
        max_output,
        // Each prompt has its own.
        choices: n.saturating_mul(prompt.count),
        ..Size::default()
    };
    // The model reads each prompt by itself.
    let longest = Size { text: prompt.longest, ..Size::default() };
    Ok(Inference {
        operation,
        model,
        stream,
        wants_usage,
        project_id,
        routing: body.routing(),
        needs: Needs { input_tokens: longest.needed_tokens(), output_tokens: max_output, ..Needs::default() },
        size,
        session: None,
        prompt: prompt.text,
        body,
    })
}

#[cfg(test)]
mod tests {
    use crate::catalog::Registry;
    use crate::config::Config;
    use crate::format::upstream::Upstream;
    use crate::format::{self, request::Inference};
    use crate::operation::COMPLETIONS;

    fn read(body: &str) -> Result<Inference<'_>, crate::error::Error> {
        format::read(&COMPLETIONS, body.as_bytes())
    }

    #[test]
    fn each_prompt_has_its_choices() {
        for (fields, choices, stream) in [
            (r#""prompt":"a""#, 1, false),
            (r#""prompt":["a","b"],"n":3,"stream":true"#, 6, true),
            (r#""prompt":[1,2,3],"n":2"#, 2, false),
            (r#""prompt":[[1],[2,3]]"#, 2, false),
        ] {
            let body = format!(r#"{{"model":"m","max_tokens":7,{fields}}}"#);
            let request = read(&body).unwrap();
            assert_eq!((request.size.choices, request.stream), (choices, stream), "{fields}");
            assert_eq!(request.size.max_output, Some(7));
            // The prompt is no stored prompt.
            assert!(request.billing().extras.is_empty(), "{fields}");
        }
        for (fields, code) in
            [("", "missing_input"), (r#","prompt":7"#, "invalid_type"), (r#","prompt":[]"#, "invalid_value")]
        {
            let error = read(&format!(r#"{{"model":"m"{fields}}}"#)).unwrap_err();
            assert_eq!((error.code(), error.param.as_deref()), (Some(code), Some("prompt")), "{fields}");
        }
    }

    #[test]
    fn only_the_named_fields_change() {
        let registry = Registry::new(&Config::read("{}", None).unwrap(), false, |name| {
            (name == "OPENAI_API_KEY").then(|| "k".to_owned())
        });
        let provider = registry.provider("openai").unwrap();
        let upstream = Upstream { provider, model: "m", own_routing: false };
        let written = |body: &str, limit| {
            let outgoing = read(body).unwrap().outgoing(&upstream, limit).unwrap();
            String::from_utf8(outgoing.body.unwrap()).unwrap()
        };
        assert_eq!(
            written(r#"{"model":"openai/m","prompt":"a","project_id":"p","echo":true,"stream":true}"#, None),
            r#"{"model":"m","prompt":"a","echo":true,"stream":true,"stream_options":{"include_usage":true}}"#
        );
        // OpenAI's name of the limit in this format.
        assert_eq!(
            written(r#"{"model":"openai/m","prompt":"a"}"#, Some(9)),
            r#"{"model":"m","prompt":"a","max_tokens":9}"#
        );
    }
}
