//! Any `GATEWAY_CONFIG` is accepted or rejected. An accepted one passes the build's check, can be written and read
//! again, and every alias and group in it leads to a provider.
#![no_main]

use gatehouse_core::catalog::Registry;
use gatehouse_core::check;
use gatehouse_core::config::Config;
use gatehouse_core::error::Code;
use gatehouse_core::format;
use gatehouse_core::operation::CHAT_COMPLETIONS;
use gatehouse_core::health::HealthView;
use gatehouse_core::route::affinity::Affinity;
use gatehouse_core::route::candidates::{RouteQuery, select};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|patch: &str| {
    let Ok(config) = check::read(&written(&Config::default()), Some(patch)) else { return };
    assert_eq!(config.check(), Ok(()));
    assert_eq!(Config::read(&written(&config), None).as_ref(), Ok(&config));
    let registry = Registry::new(&config, false, |_| None);
    let view = HealthView::default();
    for name in config.aliases.keys().chain(config.groups.keys()) {
        let body = json!({"model": "m", "messages": []}).to_string();
        let Ok(request) = format::read(&CHAT_COMPLETIONS, body.as_bytes()) else { panic!("not read") };
        let query = RouteQuery {
            request: &request,
            force_model: Some(name),
            force_provider: None,
            key: None,
            config: &config,
            registry: &registry,
            view: &view,
            affinity: Affinity::of("", None, "", 7),
            now_ms: 0,
            explain: false,
        };
        if let Err(error) = select(&query) {
            assert!(
                error.is(Code::ProviderNotConfigured) || error.is(Code::NoCandidate),
                "{name}: {}",
                error.message
            );
        }
    }
});

fn written(config: &Config) -> String {
    serde_json::to_string(config).unwrap_or_else(|error| panic!("not written: {error}"))
}
