//! Compactions: a conversation in, and a shorter one out, whose summary only its provider can read.
//!
//! Requests and responses pass as those of Responses do. A compaction is neither streamed nor translated, and its length
//! cannot be limited.

use super::request;
use crate::error::{Code, Error};
use crate::format::request::{Inference, Outgoing, Responder};
use crate::format::upstream::Upstream;
use crate::operation::{Format, Operation};

/// Reads a body.
pub fn read<'a>(operation: &'static Operation, bytes: &'a [u8]) -> Result<Inference<'a>, Error> {
    let request = request::read(operation, bytes)?;
    if request.stream {
        let message = "'stream' is not available for a compaction, which comes whole: leave it out";
        return Err(Error::new(Code::UnsupportedParameter, message).with_param("stream"));
    }
    Ok(request)
}

/// Writes a request for an upstream. Fails as [`request::check`] does.
pub fn outgoing(request: &Inference<'_>, upstream: &Upstream<'_>) -> Result<Outgoing, Error> {
    let outgoing = request::outgoing(request, upstream, None)?;
    let responder = Responder { format: Format::Compaction, ..outgoing.responder };
    Ok(Outgoing { responder, ..outgoing })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Registry;
    use crate::config::Config;
    use crate::operation::COMPACTIONS;

    #[test]
    fn a_compaction_passes_to_providers_that_serve_it_and_is_never_streamed() {
        let body = br#"{"model":"openai/m","input":"hi","previous_response_id":"resp_1","new":1}"#;
        let request = crate::format::read(&COMPACTIONS, body).unwrap();
        let registry = Registry::new(&Config::read("{}", None).unwrap(), false, |name| {
            name.ends_with("_API_KEY").then(|| "sk-x".to_owned())
        });
        let entry = registry.provider("openai").unwrap();
        let upstream = Upstream { provider: entry, model: "m", own_routing: false };
        let Outgoing { body, responder, adjusted } = request.outgoing(&upstream, Some(5)).unwrap();
        let expected = r#"{"model":"m","input":"hi","previous_response_id":"resp_1","new":1}"#;
        assert_eq!(String::from_utf8(body.unwrap()).unwrap(), expected);
        assert_eq!((responder.format, adjusted.len()), (Format::Compaction, 0));
        let response = br#"{"id":"resp_2","object":"response.compaction","output":[{"type":"compaction"}],"usage":{"input_tokens":9,"output_tokens":2}}"#;
        let whole = responder.whole("openai", response, None).unwrap();
        assert_eq!((whole.usage.prompt_tokens, whole.usage.completion_tokens), (Some(9), Some(2)));
        assert!(responder.stream("openai", None, 1_000).is_none());
        assert!(entry.endpoint(Format::Compaction).unwrap().url.ends_with("/v1/responses/compact"));
        for other in ["anthropic", "groq", "xai"] {
            assert_eq!(registry.provider(other).unwrap().format_for(Format::Compaction), None, "{other}");
        }
        let error = read(&COMPACTIONS, br#"{"model":"m","input":"hi","stream":true}"#).unwrap_err();
        assert_eq!((error.code(), error.param.as_deref()), (Some("unsupported_parameter"), Some("stream")));
    }
}
