//! Any accepted body of Messages goes upstream as valid JSON in which `model` is the provider's id, the gateway's fields are
//! removed, and every other field is written as the caller wrote it. Without reasoning, nothing but reasoning and what
//! depends on it is missing, and no reasoning is left.
#![no_main]

use std::collections::BTreeMap;

use gatehouse_core::catalog::Registry;
use gatehouse_core::config::Config;
use gatehouse_core::format;
use gatehouse_core::format::upstream::Upstream;
use gatehouse_core::operation::MESSAGES;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

/// Values in their original spelling; of two fields with one name, the last.
type Members<'a> = BTreeMap<String, &'a RawValue>;

fuzz_target!(|body: &[u8]| {
    let request = match format::read(&MESSAGES, body) {
        Ok(request) => request,
        Err(error) => return assert!(error.message.len() < 300, "{} bytes of message", error.message.len()),
    };
    let config = r#"{"providers":{"acme":{"base_url":"http://a.example","auth":"none","formats":["messages"]}}}"#;
    let config = Config::read("{}", Some(config)).unwrap_or_default();
    let entries = Registry::new(&config, false, |_| None).into_entries();
    let Some(provider) = entries.into_iter().find(|entry| entry.name == "acme") else { panic!("no provider") };
    let upstream = Upstream { provider: &provider, model: "m", own_routing: false };
    let Ok(outgoing) = request.outgoing(&upstream, None) else {
        panic!("a request in the provider's own format is always written")
    };
    let mut expected = read(body);
    for name in ["project_id", "models", "provider", "min_reasoning_level", "route", "transforms", "usage"] {
        expected.remove(name);
    }
    let mut sent = read(outgoing.body.as_deref().unwrap_or(body));
    expected.remove("model");
    assert_eq!(sent.remove("model").map(RawValue::get), Some("\"m\""));
    // Only reasoning that the gateway has carried changes the messages.
    if !body.windows(9).any(|part| part == b"gatehouse") && !body.contains(&b'\\') {
        assert_eq!(texts(&sent), texts(&expected));
    }

    let Ok(without) = request.outgoing_without_reasoning(&upstream, Some(1)) else { panic!("not written") };
    let without = without.body.as_deref().unwrap_or(body).to_vec();
    for name in read(&without).keys() {
        assert!(name == "model" || expected.contains_key(name), "a new field {name}");
    }
    if let Ok(again) = format::read(&MESSAGES, &without) {
        assert!(!again.has_reasoning(), "{}", String::from_utf8_lossy(&without));
    }
});

fn read(body: &[u8]) -> Members<'_> {
    serde_json::from_slice(body).unwrap_or_else(|error| panic!("not an object: {error}"))
}

fn texts(members: &Members<'_>) -> BTreeMap<String, String> {
    members.iter().map(|(name, value)| (name.clone(), value.get().to_owned())).collect()
}
