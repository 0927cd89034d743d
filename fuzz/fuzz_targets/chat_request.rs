//! Any accepted body goes upstream as valid JSON in which `model` is the provider's id, `project_id` is removed, a
//! stream requests usage where necessary, the provider's quirks are applied, and every other field is written as the
//! caller wrote it. An error is short: it does not repeat the body.
#![no_main]

use std::collections::BTreeMap;

use gatehouse_core::catalog::{Registry, StreamUsage};
use gatehouse_core::config::Config;
use gatehouse_core::format;
use gatehouse_core::format::upstream::Upstream;
use gatehouse_core::operation::CHAT_COMPLETIONS;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

/// Values in their original spelling; of two fields with one name, the last.
type Members<'a> = BTreeMap<String, &'a RawValue>;

fuzz_target!(|body: &[u8]| {
    let request = match format::read(&CHAT_COMPLETIONS, body) {
        Ok(request) => request,
        Err(error) => return assert!(error.message.len() < 300, "{} bytes of message", error.message.len()),
    };
    let config = r#"{"providers":{"acme":{"base_url":"http://a.example","auth":"none","drop":["x"],"rename":{"y":"z"}}}}"#;
    let config = Config::read("{}", Some(config)).unwrap_or_default();
    let entries = Registry::new(&config, false, |_| None).into_entries();
    let Some(mut provider) = entries.into_iter().find(|entry| entry.name == "acme") else {
        panic!("no provider")
    };
    for usage in [StreamUsage::OnRequest, StreamUsage::Always] {
        provider.stream_usage = usage;
        let outgoing = request.outgoing(&Upstream { provider: &provider, model: "m", own_routing: false }, None);
        let Ok(outgoing) = outgoing else { panic!("a request in the provider's own format is always written") };
        assert_eq!(
            outgoing.responder.hide_usage,
            request.stream && !request.wants_usage && usage == StreamUsage::OnRequest
        );
        let mut expected = read(body);
        for name in ["project_id", "models", "provider", "min_reasoning_level"] {
            expected.remove(name);
        }
        if expected.get("reasoning_effort").is_some_and(|value| value.get() == "\"auto\"") {
            expected.remove("reasoning_effort");
        }
        // The provider's parser chooses between fields that occur twice, so any of them may be sent.
        let twice = |name: &str| body.windows(name.len()).filter(|part| *part == name.as_bytes()).count() > 1;
        if twice("x") || twice("y") || twice("z") || body.contains(&b'\\') {
            return;
        }
        if expected.get("x").is_some_and(|value| value.get() != "null") {
            expected.remove("x");
        }
        if let Some(value) = expected.get("y").copied().filter(|value| value.get() != "null") {
            expected.remove("y");
            expected.entry("z".to_owned()).or_insert(value);
        }
        let mut sent = read(outgoing.body.as_deref().unwrap_or(body));
        expected.remove("model");
        assert_eq!(sent.remove("model").map(string).as_deref(), Some("m"));
        if outgoing.responder.hide_usage {
            let mut options = options(expected.remove("stream_options"));
            let mut sent_options = self::options(sent.remove("stream_options"));
            options.remove("include_usage");
            assert_eq!(sent_options.remove("include_usage").as_deref(), Some("true"));
            assert_eq!(sent_options, options);
        }
        assert_eq!(texts(&sent), texts(&expected));
    }
});

fn read(body: &[u8]) -> Members<'_> {
    serde_json::from_slice(body).unwrap_or_else(|error| panic!("not an object: {error}"))
}

fn string(value: &RawValue) -> String {
    serde_json::from_str(value.get()).unwrap_or_default()
}

fn options(value: Option<&RawValue>) -> BTreeMap<String, String> {
    match value.map(RawValue::get) {
        None | Some("null") => BTreeMap::new(),
        Some(object) => texts(&read(object.as_bytes())),
    }
}

fn texts(members: &Members<'_>) -> BTreeMap<String, String> {
    members.iter().map(|(name, value)| (name.clone(), value.get().to_owned())).collect()
}
