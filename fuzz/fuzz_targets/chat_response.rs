//! Any response is accepted or rejected. An accepted one is a JSON object with an array of choices; a rejected one
//! causes a bounded error.
#![no_main]

use std::collections::BTreeMap;

use gatehouse_core::format::request::Responder;
use gatehouse_core::format::whole::BOM;
use gatehouse_core::operation::Format;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

const RESPONDER: Responder =
    Responder { format: Format::ChatCompletions, hide_usage: false, ends_without_done: false, translation: None };

fuzz_target!(|body: &[u8]| match RESPONDER.whole("acme", body, None) {
    Ok(_) => {
        let body = body.strip_prefix(BOM).unwrap_or(body);
        let members: Result<BTreeMap<String, &RawValue>, _> = serde_json::from_slice(body);
        let choices = members.ok().and_then(|members| members.get("choices").copied());
        assert!(choices.is_some_and(|choices| choices.get().starts_with('[')));
    }
    Err(error) => {
        assert!((400..600).contains(&error.status));
        assert!(error.message.chars().count() <= 2100);
        for token in [Some(error.kind()), error.code(), error.param.as_deref()].into_iter().flatten() {
            assert!(token.chars().count() <= 100);
        }
    }
});
