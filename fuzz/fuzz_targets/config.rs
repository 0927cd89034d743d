//! Any `GATEWAY_CONFIG` is accepted or refused. What is accepted passes the build's check, survives being written and read
//! again, and every alias of it leads to a provider.
#![no_main]

use gatehouse_core::catalog::Registry;
use gatehouse_core::config::Config;
use gatehouse_core::error::Code;
use gatehouse_core::route;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|patch: &str| {
    let Ok(config) = Config::read(&written(&Config::default()), Some(patch)) else { return };
    assert_eq!(config.check(), Ok(()));
    assert_eq!(Config::read(&written(&config), None).as_ref(), Ok(&config));
    let registry = Registry::new(&config, |_| None);
    for alias in config.aliases.keys() {
        if let Err(error) = route::resolve(&registry, &config, alias) {
            assert!(error.is(Code::ProviderNotConfigured), "{alias}: {}", error.message);
        }
    }
});

fn written(config: &Config) -> String {
    serde_json::to_string(config).unwrap_or_else(|error| panic!("not written: {error}"))
}
