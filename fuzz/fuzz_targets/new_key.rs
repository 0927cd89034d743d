//! Any key that `POST /v0/api_keys` accepts has a name that is valid in a path, lists of bounded length, and an expiry
//! in the future. An error is short.
#![no_main]

use gatehouse_core::config::Config;
use gatehouse_core::envelope::Surface;
use gatehouse_core::json;
use gatehouse_core::onboarding::api_key::NewKey;
use libfuzzer_sys::fuzz_target;

const NOW_MS: u64 = 1_700_000_000_000;

fuzz_target!(|body: &[u8]| match NewKey::read(body, &Config::default(), NOW_MS) {
    Ok(NewKey { name, settings, .. }) => {
        assert!((1..=100).contains(&name.len()));
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'));
        assert!(settings.policies.is_empty(), "there are none");
        assert!(settings.models.is_none_or(|models| models.len() <= 100));
        assert!(settings.metadata.len() <= 16);
        assert!(settings.expires_ms.is_none_or(|end| end > NOW_MS));
    }
    Err(error) => {
        let shown = json::to_text(&error.envelope(Surface::V0));
        assert!(shown.len() < 6000, "{} bytes", shown.len());
    }
});
