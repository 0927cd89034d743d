//! What an isolate knows: configuration, key ring and providers, read once, and the tally of its calls.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use gatehouse_core::catalog::Registry;
use gatehouse_core::config::Config;
use gatehouse_core::error::{Code, Error};
use gatehouse_core::key::{Ring, RingReport};
use gatehouse_core::route::Tally;
use serde_json::json;
use worker::Env;

use crate::platform::database::DatabaseState;
use crate::platform::{log, variables};

/// `gateway.toml`, checked and turned into JSON by the build.
const BUILT_CONFIG: &str = include_str!(concat!(env!("OUT_DIR"), "/gateway.json"));

/// The state of one isolate.
pub struct Gateway {
    /// The operator's configuration.
    pub config: Config,
    /// Who is let in.
    pub ring: Ring,
    /// Where calls can go.
    pub registry: Registry,
    /// How calls went, in this isolate.
    pub tally: RefCell<Tally>,
    /// What the database last answered, and when, in milliseconds since 1970.
    pub database: Cell<Option<(u64, DatabaseState)>>,
}

thread_local! {
    static GATEWAY: OnceCell<Result<Rc<Gateway>, Error>> = const { OnceCell::new() };
}

/// The gateway of this isolate, made from the environment by its first request. A configuration that is not valid closes
/// the gateway; the log says what is wrong with it.
pub fn of_isolate(env: &Env) -> Result<Rc<Gateway>, Error> {
    GATEWAY.with(|gateway| gateway.get_or_init(|| build(env).map(Rc::new)).clone())
}

fn build(env: &Env) -> Result<Gateway, Error> {
    let patch = variables::get(env, "GATEWAY_CONFIG").filter(|text| !text.trim().is_empty());
    let config = Config::read(BUILT_CONFIG, patch.as_deref()).map_err(|error| {
        log::line(&json!({"event": "start", "error": "invalid configuration", "detail": error.to_string()}));
        Error::new(Code::InvalidConfiguration, "The gateway's configuration is not valid; its log says where")
    })?;
    let (ring, report) = Ring::read(
        variables::get(env, "GATEWAY_API_KEY").as_deref(),
        variables::get(env, "GATEWAY_API_KEY_HASHES").as_deref(),
    );
    let registry = Registry::new(&config, |name| variables::get(env, name));
    let RingReport { accepted, malformed } = report;
    log::line(&json!({
        "event": "start",
        "version": env!("CARGO_PKG_VERSION"),
        "keys": accepted,
        "malformed_key_entries_skipped": malformed,
        "providers": registry.entries().iter().filter(|entry| entry.is_active()).map(|entry| &entry.name).collect::<Vec<_>>(),
    }));
    Ok(Gateway { config, ring, registry, tally: RefCell::default(), database: Cell::default() })
}
