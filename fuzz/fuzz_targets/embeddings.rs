//! Any body of an embeddings request is accepted or rejected; what is accepted goes upstream as valid JSON in which `model`
//! is the provider's id and `input` is written as the caller wrote it. Any response is accepted or rejected with a bounded
//! error.
#![no_main]

use std::collections::BTreeMap;

use gatehouse_core::catalog::Registry;
use gatehouse_core::config::Config;
use gatehouse_core::format;
use gatehouse_core::format::request::Responder;
use gatehouse_core::format::upstream::Upstream;
use gatehouse_core::operation::{EMBEDDINGS, Format};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

type Fields<'a> = BTreeMap<String, &'a RawValue>;

fuzz_target!(|body: &[u8]| {
    let responder = Responder { format: Format::Embeddings, hide_usage: false, ends_without_done: false, translation: None };
    if let Err(error) = responder.whole("acme", body, None) {
        assert!(error.message.chars().count() <= 2100);
    }
    let request = match format::read(&EMBEDDINGS, body) {
        Ok(request) => request,
        Err(error) => return assert!(error.message.len() < 300, "{} bytes of message", error.message.len()),
    };
    let config = r#"{"providers":{"acme":{"base_url":"http://a.example","auth":"none","formats":["embeddings"]}}}"#;
    let registry = Registry::new(&Config::read("{}", Some(config)).unwrap_or_default(), false, |_| None);
    let Some(provider) = registry.provider("acme") else { panic!("no provider") };
    let outgoing = request.outgoing(&Upstream { provider, model: "m", own_routing: false }, Some(1));
    let Ok(outgoing) = outgoing else { panic!("a request in the provider's own format is always written") };
    let sent = outgoing.body.as_deref().unwrap_or(body);
    let (sent, given) = (fields(sent), fields(body));
    assert_eq!(sent["model"].get(), "\"m\"");
    assert_eq!(sent["input"].get(), given["input"].get());
});

fn fields(body: &[u8]) -> Fields<'_> {
    serde_json::from_slice(body).unwrap_or_else(|error| panic!("not an object: {error}"))
}
