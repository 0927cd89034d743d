//! The settings of a deployment: configuration, key rings, secrets and providers, read from the environment once for
//! each isolate; and the run-time settings over the configuration.
//!
//! [`Settings`] is a snapshot: a call uses one from its beginning to its end. A change of run-time settings makes another
//! snapshot ([`Settings::with`]), which shares everything that did not change. Keys of providers are decrypted once for a
//! snapshot ([`open`]), not for a call.

use std::cell::OnceCell;
use std::rc::Rc;

use gatehouse_core::alerts::Channel;
use gatehouse_core::catalog::{AI_BINDING, Registry};
use gatehouse_core::check;
use gatehouse_core::config::{Config, WebhookUrl};
use gatehouse_core::error::{Code, Error};
use gatehouse_core::json;
use gatehouse_core::key::master::{Fault, MasterKeys};
use gatehouse_core::key::provider_key::{OpenKey, StoredKey};
use gatehouse_core::key::{Ring, RingReport};
use gatehouse_core::onboarding::pseudonym::Pseudonyms;
use gatehouse_core::onboarding::webhook::SigningKey;
use gatehouse_core::run_time::{self, Layers, Setting};
use gatehouse_core::url;
use worker::Env;

use crate::platform::analytics_engine::Dataset;
use crate::platform::upstream::Limits;
use crate::platform::{email, log, memory, sealing, variables};

/// `gateway.toml`, validated and converted to JSON by the build.
const BUILT_CONFIG: &str = include_str!(concat!(env!("OUT_DIR"), "/gateway.json"));

/// The settings of a deployment.
pub struct Settings {
    /// The effective configuration.
    pub config: Config,
    /// The configuration of the deployment, without run-time settings.
    pub base: Rc<Config>,
    /// The run-time settings.
    pub run_time: RunTime,
    /// The ring of inference keys. Issued keys are in D1.
    pub ring: Rc<Ring>,
    /// The ring of operator keys.
    pub operators: Rc<Ring>,
    /// Pseudonyms of clients; `None` if the Worker has no secret to derive them from.
    pub pseudonyms: Option<Rc<Pseudonyms>>,
    /// The key that webhooks are signed with.
    pub signing_key: Option<Rc<SigningKey>>,
    /// The keys that encrypt keys of providers.
    pub master: Rc<MasterKeys>,
    /// The URL that takes alerts as Slack's JSON. It is a secret.
    pub slack_url: Option<Rc<WebhookUrl>>,
    /// The headers for the collector of telemetry, as a JSON object. They are a secret.
    pub otlp_headers: Rc<str>,
    /// Approve requests for keys automatically.
    pub auto_issue: bool,
    /// The providers and models.
    pub registry: Registry,
    /// The limits that are the same for every exchange with an upstream.
    pub limits: Limits,
    /// The Analytics Engine data set that gets a data point for each call.
    pub dataset: Option<Dataset>,
}

/// The run-time settings, as they were read.
#[derive(Default)]
pub struct RunTime {
    /// Their version; `None` before they are read for the first time.
    pub version: Option<u64>,
    /// The settings.
    pub settings: Vec<Setting>,
    /// Why some of them do not apply.
    pub faults: Vec<String>,
    /// The keys of providers, by provider and place.
    pub keys: Vec<OpenKey>,
}

thread_local! {
    static SETTINGS: OnceCell<Result<Rc<Settings>, Error>> = const { OnceCell::new() };
}

/// The settings of this isolate, read from the environment by its first request. With an invalid configuration every
/// request fails, and the log states what is wrong.
pub fn of_isolate(env: &Env) -> Result<Rc<Settings>, Error> {
    SETTINGS.with(|settings| settings.get_or_init(|| read(env).map(Rc::new)).clone())
}

impl Settings {
    /// The snapshot with other run-time settings over the same configuration, and other keys of providers.
    pub fn with(&self, env: &Env, version: u64, settings: Vec<Setting>, keys: Vec<OpenKey>) -> Settings {
        let (config, faults) = run_time::apply(&self.base, &settings);
        for fault in &faults {
            log::line(&log::Event::Setting { error: "a run-time setting does not apply", detail: fault });
        }
        for OpenKey { stored, secret } in &keys {
            if let Err(fault) = secret {
                let detail = format!("{} of {}: {}", stored.id, stored.provider, fault.as_str());
                log::line(&log::Event::Setting {
                    error: "a key of a provider cannot be read",
                    detail: &detail,
                });
            }
        }
        Settings {
            registry: registry(env, &config, &keys),
            limits: Limits::of(&config),
            config,
            base: Rc::clone(&self.base),
            run_time: RunTime { version: Some(version), settings, faults, keys },
            ring: Rc::clone(&self.ring),
            operators: Rc::clone(&self.operators),
            pseudonyms: self.pseudonyms.clone(),
            signing_key: self.signing_key.clone(),
            master: Rc::clone(&self.master),
            slack_url: self.slack_url.clone(),
            otlp_headers: Rc::clone(&self.otlp_headers),
            auto_issue: self.auto_issue,
            dataset: Dataset::bound(env),
        }
    }

    /// The providers with these stored keys instead of those of the snapshot.
    pub fn registry_with(&self, env: &Env, keys: &[OpenKey]) -> Registry {
        registry(env, &self.config, keys)
    }

    /// The channels on which alerts are sent.
    pub fn channels(&self, env: &Env) -> Vec<Channel> {
        let Config { webhook, alerts, email, .. } = &self.config;
        let is_configured = |channel: &Channel| match channel {
            Channel::Webhook => webhook.url.is_some(),
            Channel::Slack => self.slack_url.is_some(),
            Channel::Email => alerts.email.is_some() && email.from.is_some() && email::is_bound(env),
        };
        Channel::ALL.into_iter().filter(is_configured).collect()
    }

    /// The configurations that stand over each other. That of the file alone is read again: only operators see it.
    pub fn with_layers<T>(&self, show: impl FnOnce(Layers<'_>) -> T) -> Result<T, Error> {
        let unreadable = |_| Error::new(Code::InternalError, "The built configuration cannot be read");
        let built = Config::read(BUILT_CONFIG, None).map_err(unreadable)?;
        let RunTime { settings, .. } = &self.run_time;
        Ok(show(Layers { built: &built, base: &self.base, effective: &self.config, settings }))
    }
}

/// Decrypts stored keys. What `known` has of them already is not decrypted again: the key of an id never changes, so that
/// an isolate keeps it while its master key is rotated.
pub async fn open(master: &MasterKeys, stored: Vec<StoredKey>, known: &[OpenKey]) -> Vec<OpenKey> {
    let known_secret = |key: &StoredKey| {
        let is_same = |other: &&OpenKey| other.stored.id == key.id && other.stored.provider == key.provider;
        known.iter().find(is_same)?.secret.clone().ok()
    };
    let (mut masters, mut items) = (Vec::new(), Vec::new());
    for key in stored.iter().filter(|key| known_secret(key).is_none()) {
        if let Ok(master) = master.find(&key.sealed_with) {
            items.push((masters.len(), key.sealed.as_str(), key.bound_to()));
            masters.push(master);
        }
    }
    let mut opened = sealing::open_all(&masters, &items).await.into_iter();
    let mut keys = Vec::with_capacity(stored.len());
    for stored in stored {
        let secret = match (known_secret(&stored), master.find(&stored.sealed_with)) {
            (Some(secret), _) => Ok(secret),
            (None, Ok(_)) => opened.next().flatten().ok_or(Fault::Damaged),
            (None, Err(fault)) => Err(fault),
        };
        keys.push(OpenKey { stored, secret });
    }
    keys
}

/// The headers in a secret of the form `name=value,name=value`, whose values are percent-encoded, as a JSON object.
fn otlp_headers(text: &str) -> String {
    let pairs = text.split(',').filter_map(|pair| pair.trim().split_once('='));
    let headers: serde_json::Map<String, serde_json::Value> = pairs
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), url::percent_decode(value.trim()).into()))
        .collect();
    json::to_text(&headers)
}

/// The providers and models of a configuration, with these stored keys.
pub fn registry(env: &Env, config: &Config, keys: &[OpenKey]) -> Registry {
    let secret = |name: &str| variables::get(env, name);
    // `wrangler.toml` has the binding in any case. A separate variable enables it, since its use costs money.
    let may_use_binding =
        secret("WORKERS_AI_ENABLED").is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
    let has_binding = may_use_binding && variables::binding(env, AI_BINDING).is_some();
    Registry::with_keys(config, has_binding, secret, keys)
}

fn read(env: &Env) -> Result<Settings, Error> {
    let patch = variables::get(env, "GATEWAY_CONFIG").filter(|text| !text.trim().is_empty());
    let config = check::read(BUILT_CONFIG, patch.as_deref()).map_err(|error| {
        log::line(&log::Event::NotStarted { error: "invalid configuration", detail: &error.to_string() });
        Error::new(Code::InvalidConfiguration, "The gateway's configuration is not valid; its log says where")
    })?;
    let secret = |name: &str| variables::get(env, name);
    let [primary, hashes, operator_hashes] =
        ["GATEWAY_API_KEY", "GATEWAY_API_KEY_HASHES", "GATEWAY_ADMIN_KEY_HASHES"].map(secret);
    let (ring, ring_report) = Ring::read(primary.as_deref(), hashes.as_deref());
    let (operators, operators_report) = Ring::read_operators(operator_hashes.as_deref());
    let pseudonyms = Pseudonyms::new([&operator_hashes, &hashes, &primary].map(Option::as_deref));
    let signing_key = secret("GATEWAY_WEBHOOK_SECRET").as_deref().and_then(SigningKey::read);
    let slack_url = secret("GATEWAY_SLACK_URL").and_then(|url| match WebhookUrl::parse(url.trim()) {
        Ok(url) => Some(Rc::new(url)),
        Err(fault) => {
            // The fault names the rule, not the URL.
            log::line(&log::Event::Setting { error: "GATEWAY_SLACK_URL is not valid", detail: fault });
            None
        }
    });
    let auto_issue = secret("AUTO_ISSUE_KEYS").is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
    let master = MasterKeys::read(
        secret("GATEWAY_MASTER_KEY").as_deref(),
        secret("GATEWAY_MASTER_KEY_PREVIOUS").as_deref(),
    );
    if master.malformed > 0 {
        let detail = format!("{} entries are not 32 bytes in base64", master.malformed);
        log::line(&log::Event::Setting {
            error: "GATEWAY_MASTER_KEY_PREVIOUS is not valid",
            detail: &detail,
        });
    }
    let registry = registry(env, &config, &[]);
    let limits = Limits::of(&config);
    memory::set_limit(config.requests.max_held_bytes);
    let active = registry.entries().iter().filter(|entry| entry.is_active());
    let malformed = |RingReport { malformed, .. }: RingReport| malformed;
    log::line(&log::Event::Start {
        version: env!("CARGO_PKG_VERSION"),
        keys: ring_report.accepted,
        operator_keys: operators_report.accepted,
        malformed_key_entries_skipped: malformed(ring_report) + malformed(operators_report),
        providers: active.map(|entry| entry.name.as_str()).collect(),
    });
    Ok(Settings {
        base: Rc::new(config.clone()),
        config,
        run_time: RunTime::default(),
        ring: Rc::new(ring),
        operators: Rc::new(operators),
        pseudonyms: pseudonyms.map(Rc::new),
        signing_key: signing_key.map(Rc::new),
        master: Rc::new(master),
        slack_url,
        otlp_headers: otlp_headers(secret("GATEWAY_OTLP_HEADERS").as_deref().unwrap_or_default()).into(),
        auto_issue,
        registry,
        limits,
        dataset: Dataset::bound(env),
    })
}
