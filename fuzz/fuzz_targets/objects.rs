//! Any body of a request for a moderation, a reranking, images, speech or a legacy completion is accepted or rejected; what
//! is accepted goes upstream as valid JSON in which `model` is the provider's id and the other fields that the gateway reads
//! are written as the caller wrote them. Any response, whole or streamed, is accepted or ends with a bounded error.
#![no_main]

use std::collections::BTreeMap;

use gatehouse_core::catalog::Registry;
use gatehouse_core::config::Config;
use gatehouse_core::format;
use gatehouse_core::format::request::Responder;
use gatehouse_core::format::stream::{Ending, StreamState};
use gatehouse_core::format::upstream::Upstream;
use gatehouse_core::operation::{COMPLETIONS, IMAGES, MODERATIONS, RERANK, SPEECH};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

type Fields<'a> = BTreeMap<String, &'a RawValue>;

fuzz_target!(|body: &[u8]| {
    let config = r#"{"providers":{"acme":{"base_url":"http://a.example","auth":"none",
        "formats":["completions","moderations","rerank","images","speech"]}}}"#;
    let registry = Registry::new(&Config::read("{}", Some(config)).unwrap_or_default(), false, |_| None);
    let Some(provider) = registry.provider("acme") else { panic!("no provider") };
    for operation in [&COMPLETIONS, &MODERATIONS, &RERANK, &IMAGES, &SPEECH] {
        let responder =
            Responder { format: operation.format, hide_usage: false, ends_without_done: false, translation: None };
        if let Err(error) = responder.whole("acme", body, None) {
            assert!(error.message.chars().count() <= 2100);
        }
        if let Some(mut stream) = responder.stream("acme", None, 1 << 20) {
            let (start, rest) = body.split_at(body.len() / 2);
            stream.push(start);
            stream.push(rest);
            stream.end(Ending::Closed);
            assert!(matches!(stream.state(), StreamState::Over(_)), "a stream that has ended is over");
        }
        let request = match format::read(operation, body) {
            Ok(request) => request,
            Err(error) => {
                assert!(error.message.len() < 300, "{} bytes of message", error.message.len());
                continue;
            }
        };
        let outgoing = request.outgoing(&Upstream { provider, model: "m", own_routing: false }, None);
        let Ok(outgoing) = outgoing else { panic!("a request in the provider's own format is always written") };
        let (sent, given) = (fields(outgoing.body.as_deref().unwrap_or(body)), fields(body));
        assert_eq!(sent["model"].get(), "\"m\"");
        let field = request.input_field();
        assert_eq!(sent[field].get(), given[field].get());
    }
});

fn fields(body: &[u8]) -> Fields<'_> {
    serde_json::from_slice(body).unwrap_or_else(|error| panic!("not an object: {error}"))
}
