//! Any error response is folded into one that is bounded and does not show the gateway's key, wherever the upstream
//! repeats it. `KEY` in the input is replaced by the key.
#![no_main]

use gatehouse_core::format::upstream_error;
use gatehouse_core::key::Secret;
use libfuzzer_sys::fuzz_target;

const KEY: &str = "sk-0123456789abcdefghijklmnopqrstuvwxyz";

/// Three bytes and the body, so that seeds can be written by hand.
#[derive(Debug, arbitrary::Arbitrary)]
struct Input<'a> {
    status: u16,
    is_named: bool,
    body: &'a str,
}

fuzz_target!(|input: Input<'_>| {
    let body = input.body.replace("KEY", KEY);
    let key = Secret::new(KEY);
    let error = upstream_error::read("acme", input.status, body.as_bytes(), key.as_ref());
    assert!((200..600).contains(&error.status) || error.status == input.status);
    assert!(error.message.chars().count() <= 2100);
    let tokens = [Some(error.kind()), error.code(), error.param.as_deref()];
    assert!(tokens.iter().flatten().all(|token| token.chars().count() <= 100));

    // A third of the key is a leak as well, unless the input itself contains that text.
    let piece = &KEY[..12];
    if !input.body.contains(piece) {
        assert!(!error.message.contains(piece), "message: {}", error.message);
        assert!(!tokens.iter().flatten().any(|token| token.contains(piece)), "type, code, param: {tokens:?}");
    }
    if let Some(error) =
        upstream_error::in_event("acme", body.as_bytes(), input.is_named, false, key.as_ref())
    {
        assert!(!format!("{error:?}").contains(KEY), "the key in {error:?}");
    }
});
