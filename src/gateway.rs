//! What an isolate knows: configuration, key rings and providers, read once; what it remembers of issued keys; and how
//! the providers have been doing.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use gatehouse_core::catalog::Registry;
use gatehouse_core::check;
use gatehouse_core::config::Config;
use gatehouse_core::error::{Code, Error};
use gatehouse_core::health::Board;
use gatehouse_core::json_text;
use gatehouse_core::key::{KeyCache, Ring, RingReport};
use gatehouse_core::onboarding::pseudonym::Pseudonyms;
use gatehouse_core::onboarding::webhook::SigningKey;
use gatehouse_core::report::cache::Answers;
use worker::Env;

use crate::handlers::authentication::Blocked;
use crate::handlers::chat::AI_BINDING;
use crate::handlers::ledger::Accounts;
use crate::platform::analytics_engine::Dataset;
use crate::platform::database::DatabaseState;
use crate::platform::upstream::Limits;
use crate::platform::{log, variables};

/// `gateway.toml`, checked and turned into JSON by the build.
const BUILT_CONFIG: &str = include_str!(concat!(env!("OUT_DIR"), "/gateway.json"));

/// The state of one isolate.
pub struct Gateway {
    /// The operator's configuration.
    pub config: Config,
    /// Who may run inference, besides issued keys.
    pub ring: Ring,
    /// Who may administer.
    pub operators: Ring,
    /// What is remembered of issued keys.
    pub keys: RefCell<KeyCache>,
    /// What is held of the limits of keys, and what is to be reported to their ledgers.
    pub accounts: RefCell<Accounts>,
    /// Clients whose failed authentications are too many.
    pub blocked: RefCell<Blocked>,
    /// How clients are recognised without being known; `None` where the Worker has no secret to do it with.
    pub pseudonyms: Option<Pseudonyms>,
    /// The key that webhooks are signed with.
    pub signing_key: Option<SigningKey>,
    /// Whether requests for keys are approved at once.
    pub auto_issue: bool,
    /// Where calls can go.
    pub registry: Registry,
    /// How providers, models and keys have been doing.
    pub board: RefCell<Board>,
    /// Until when a call of this isolate waits to tell the others what was seen, in milliseconds since 1970.
    pub telling_ms: Cell<u64>,
    /// When an answer was last looked at for what it says of limits, in milliseconds since 1970.
    pub looked_ms: Cell<u64>,
    /// Limits of every exchange with an upstream.
    pub limits: Limits,
    /// What was answered about usage a moment ago.
    pub analytics: RefCell<Answers>,
    /// Where a data point is written for each call, if anywhere.
    pub dataset: Option<Dataset>,
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
    let config = check::read(BUILT_CONFIG, patch.as_deref()).map_err(|error| {
        log::line(
            json_text!({"event": "start", "error": "invalid configuration", "detail": error.to_string()}),
        );
        Error::new(Code::InvalidConfiguration, "The gateway's configuration is not valid; its log says where")
    })?;
    let secret = |name: &str| variables::get(env, name);
    let [primary, hashes, operator_hashes] =
        ["GATEWAY_API_KEY", "GATEWAY_API_KEY_HASHES", "GATEWAY_ADMIN_KEY_HASHES"].map(secret);
    let (ring, ring_report) = Ring::read(primary.as_deref(), hashes.as_deref());
    let (operators, operators_report) = Ring::read(None, operator_hashes.as_deref());
    let pseudonyms = Pseudonyms::new([&operator_hashes, &hashes, &primary].map(Option::as_deref));
    let signing_key = secret("GATEWAY_WEBHOOK_SECRET").as_deref().and_then(SigningKey::read);
    let auto_issue = secret("AUTO_ISSUE_KEYS").is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
    // The binding is in wrangler.toml or not; whether it may be used is said besides, since it costs.
    let may_use_binding =
        secret("WORKERS_AI_ENABLED").is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
    let has_binding = may_use_binding && variables::binding(env, AI_BINDING).is_some();
    let registry = Registry::new(&config, has_binding, secret);
    let limits = Limits::of(&config);
    let active = registry.entries().iter().filter(|entry| entry.is_active());
    let malformed = |RingReport { malformed, .. }: RingReport| malformed;
    log::line(json_text!({
        "event": "start",
        "version": env!("CARGO_PKG_VERSION"),
        "keys": ring_report.accepted,
        "operator_keys": operators_report.accepted,
        "malformed_key_entries_skipped": malformed(ring_report) + malformed(operators_report),
        "providers": active.map(|entry| &entry.name).collect::<Vec<_>>(),
    }));
    Ok(Gateway {
        config,
        ring,
        operators,
        keys: RefCell::default(),
        accounts: RefCell::default(),
        blocked: RefCell::default(),
        pseudonyms,
        signing_key,
        auto_issue,
        registry,
        board: RefCell::default(),
        telling_ms: Cell::default(),
        looked_ms: Cell::default(),
        limits,
        analytics: RefCell::default(),
        dataset: Dataset::bound(env),
        database: Cell::default(),
    })
}
