//! Diagnosis of providers for operators: `GET /v0/providers` and `GET /v0/lanes`, with the last error of each lane.
//!
//! A lane has the id `provider:key/model`, where `key` is the index of the provider's key; `provider:key` is the key itself.
//! On demand with the history of the last day ([`with_history`]). Times are RFC 3339, latencies milliseconds, and `None`
//! (`null` in JSON) is unknown. Of a long key, the last four characters are shown, by which operators recognise it.

use serde::Serialize;

use crate::catalog::{Entry, OTHER, Reachability, Registry};
use crate::error::{Code, Error};
use crate::health::failure::Class;
use crate::health::minutes::{self, Attempts, HistoryQuery, Minute};
use crate::health::{Availability, HealthView, LaneId, LaneStats, LastError};
use crate::key::Secret;
use crate::key::master::Fault;
use crate::key::provider_key::{FIRST_PLACE, OpenKey, StoredKey, mask};
use crate::operation::Format;
use crate::time;

/// A provider in `GET /v0/providers`.
#[derive(Clone, Debug, Serialize)]
pub struct ProviderDocument<'a> {
    /// The name.
    pub name: &'a str,
    /// It can be called.
    pub active: bool,
    /// Why it cannot be called.
    pub inactive_reason: Option<&'a str>,
    /// The formats that it serves over HTTP.
    pub formats: Vec<Format>,
    /// Its keys: those of Worker secrets by index, then the stored ones in the order in which they were added.
    pub keys: Vec<KeyDocument<'a>>,
    /// The number of models that it lists.
    pub models: usize,
    /// Attempts sent to all its lanes.
    pub attempts: u64,
    /// The last error of all its lanes, with the id of the lane.
    pub last_error: Option<ErrorDocument<'a>>,
    /// The attempts of the last minutes, if they were requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<StepDocument>>,
}

/// The attempts of some minutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepDocument {
    /// The beginning.
    pub start: String,
    /// Attempts that ended.
    pub attempts: u32,
    /// Those that failed through the provider's fault.
    pub failures: u32,
    /// The median latency of successful attempts.
    pub p50_ms: Option<u64>,
    /// The 95th percentile.
    pub p95_ms: Option<u64>,
}

/// A key of a provider.
#[derive(Clone, Debug, Serialize)]
pub struct KeyDocument<'a> {
    /// The id of the key as a lane.
    pub id: String,
    /// The id of a stored key; `None` for a key in a Worker secret.
    pub key_id: Option<&'a str>,
    /// The place that it comes from.
    pub source: KeySource,
    /// The operator's name of a stored key.
    pub label: Option<&'a str>,
    /// `…` and the last four characters of a long key.
    pub mask: String,
    /// Its share of the calls, relative to the other keys.
    pub weight: u16,
    /// Calls may use it.
    pub enabled: bool,
    /// Why a stored key cannot be read.
    pub problem: Option<&'static str>,
    /// The time of the creation of a stored key.
    pub created_at: Option<String>,
    /// The time of its last change.
    pub changed_at: Option<String>,
    /// The label of the operator key that made it.
    pub changed_by: Option<&'a str>,
    /// The cooldown of the key, which applies to all models that are reached with it.
    pub cooldown: Option<CooldownDocument>,
}

/// The place that a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// A Worker secret.
    Secret,
    /// The database, encrypted.
    Database,
}

/// A lane in `GET /v0/lanes`.
#[derive(Clone, Debug, Serialize)]
pub struct LaneDocument<'a> {
    /// The id.
    pub id: String,
    /// The provider.
    pub provider: &'a str,
    /// The provider's id of the model; `other` for all that are not listed.
    pub model: &'a str,
    /// The index of the provider's key.
    pub key: u8,
    /// Its cooldown, or that of its key; `None` if it is available.
    pub cooldown: Option<CooldownDocument>,
    /// Attempts sent.
    pub attempts: u64,
    /// Attempts that were throttled.
    pub throttles: u64,
    /// The recent share of successful calls, 0 to 1.
    pub success_rate: Option<f64>,
    /// The recent mean latency.
    pub avg_latency_ms: Option<f64>,
    /// The last error.
    pub last_error: Option<ErrorDocument<'a>>,
    /// The attempts of the last minutes, if they were requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<StepDocument>>,
}

/// A cooldown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CooldownDocument {
    /// The end.
    pub until: String,
    /// The reason.
    pub reason: &'static str,
}

/// The last error of a lane.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorDocument<'a> {
    /// The id of the lane.
    pub lane: String,
    /// The time.
    pub at: String,
    /// The class of the failure.
    pub class: &'static str,
    /// The status.
    pub status: u16,
    /// The code.
    pub code: Option<&'a str>,
    /// The beginning of the provider's message.
    pub message: &'a str,
}

/// The id of a lane in `/v0`.
pub fn id_of(LaneId { provider, model, key }: LaneId<'_>) -> String {
    if model.is_empty() { format!("{provider}:{key}") } else { format!("{provider}:{key}/{model}") }
}

/// The lane of an id; `None` if this deployment has no such provider, key or model.
pub fn find<'a>(registry: &'a Registry, id: &'a str) -> Option<LaneId<'a>> {
    let (lane, model) = id.split_once('/').unwrap_or((id, ""));
    let (provider, key) = lane.rsplit_once(':')?;
    let entry = registry.provider(provider)?;
    let key = key.parse().ok().filter(|key| entry.key_places().any(|place| place == *key))?;
    let is_known = model.is_empty() || model == OTHER || entry.facts(model).is_some();
    is_known.then_some(LaneId { provider: &entry.name, model, key })
}

fn last_error<'a>(id: LaneId<'_>, lane: &'a LaneStats) -> Option<ErrorDocument<'a>> {
    let LastError { at_ms, class, status, code, message } = lane.last_error.as_deref()?;
    Some(ErrorDocument {
        lane: id_of(id),
        at: time::to_rfc3339(*at_ms),
        class: Class::as_str(*class),
        status: *status,
        code: code.as_deref(),
        message,
    })
}

fn cooldown(
    view: &HealthView,
    id: LaneId<'_>,
    per_day: Option<u32>,
    now_ms: u64,
) -> Option<CooldownDocument> {
    match view.availability(id, per_day, now_ms) {
        Availability::Available => None,
        Availability::CoolingDown { until_ms, why, .. } => {
            Some(CooldownDocument { until: time::to_rfc3339(until_ms), reason: why })
        }
    }
}

/// The most steps of a history.
const MAX_STEPS: u32 = 288;

/// The query of a history of so many minutes in steps of so many minutes. The default is the shortest step of which there are
/// not too many.
///
/// # Errors
/// 400 for more than [`MAX_STEPS`] steps.
pub fn history_query(minutes: u32, step: Option<u32>, by_lane: bool) -> Result<HistoryQuery, Error> {
    let shortest = minutes.div_ceil(MAX_STEPS);
    let step = step.unwrap_or(shortest);
    if step < shortest {
        let message = format!(
            "'step' must be at least {shortest} for {minutes} minutes: there are at most {MAX_STEPS} steps"
        );
        return Err(Error::new(Code::InvalidValue, message).with_param("step"));
    }
    Ok(HistoryQuery { minutes, step, by_lane })
}

fn history(steps: &[Minute], is_this: impl Fn(&Attempts) -> bool) -> Vec<StepDocument> {
    let of_step = |step: &Minute| {
        let lane = step.lanes.iter().find(|lane| is_this(lane))?;
        Some(StepDocument {
            start: time::to_rfc3339(u64::from(step.minute) * minutes::MINUTE_MS),
            attempts: lane.attempts,
            failures: lane.failures,
            p50_ms: lane.percentile_ms(50),
            p95_ms: lane.percentile_ms(95),
        })
    };
    steps.iter().filter_map(of_step).collect()
}

/// Adds the history of each provider; steps without attempts are left out.
pub fn with_history(providers: &mut [ProviderDocument<'_>], steps: &[Minute]) {
    for provider in providers {
        provider.history = Some(history(steps, |lane| lane.provider == provider.name));
    }
}

/// Adds the history of each lane; steps without attempts are left out.
pub fn with_lane_history(lanes: &mut [LaneDocument<'_>], steps: &[Minute]) {
    for lane in lanes {
        lane.history = Some(history(steps, |attempts| {
            (attempts.provider.as_str(), attempts.model.as_str(), attempts.key)
                == (lane.provider, lane.model, lane.key)
        }));
    }
}

/// All providers, active or not, by name. `stored` are the keys of the database, in order.
pub fn providers<'a>(
    view: &'a HealthView,
    registry: &'a Registry,
    stored: &'a [OpenKey],
    now_ms: u64,
) -> Vec<ProviderDocument<'a>> {
    registry.entries().iter().map(|entry| provider(view, entry, stored, now_ms)).collect()
}

/// A stored key, as it is listed; `fault` is why it cannot be read.
pub fn stored_key<'a>(
    view: &HealthView,
    stored: &'a StoredKey,
    fault: Option<Fault>,
    now_ms: u64,
) -> KeyDocument<'a> {
    let StoredKey { id, provider, label, mask, weight, place, created_ms, changed_ms, changed_by, .. } =
        stored;
    let lane = LaneId { provider, model: "", key: *place };
    KeyDocument {
        id: id_of(lane),
        key_id: Some(id),
        source: KeySource::Database,
        label: Some(label),
        mask: mask.clone(),
        weight: *weight,
        enabled: stored.is_enabled(),
        problem: fault.map(Fault::as_str),
        created_at: Some(time::to_rfc3339(*created_ms)),
        changed_at: Some(time::to_rfc3339(*changed_ms)),
        changed_by: Some(changed_by),
        cooldown: cooldown(view, lane, None, now_ms),
    }
}

fn key_of_secret<'a>(lane: LaneId<'_>, secret: &Secret, view: &HealthView, now_ms: u64) -> KeyDocument<'a> {
    KeyDocument {
        id: id_of(lane),
        key_id: None,
        source: KeySource::Secret,
        label: None,
        mask: mask(secret),
        weight: 1,
        enabled: true,
        problem: None,
        created_at: None,
        changed_at: None,
        changed_by: None,
        cooldown: cooldown(view, lane, None, now_ms),
    }
}

fn provider<'a>(
    view: &'a HealthView,
    entry: &'a Entry,
    stored: &'a [OpenKey],
    now_ms: u64,
) -> ProviderDocument<'a> {
    let name = entry.name.as_str();
    let of_secrets = entry.keys().iter().filter(|key| key.place < FIRST_PLACE).map(|key| {
        let lane = LaneId { provider: name, model: "", key: key.place };
        key_of_secret(lane, &key.secret, view, now_ms)
    });
    let of_database = stored.iter().filter(|key| key.stored.provider == name);
    let keys = of_secrets
        .chain(
            of_database.map(|key| stored_key(view, &key.stored, key.secret.as_ref().err().copied(), now_ms)),
        )
        .collect();
    let lanes = || {
        let lanes = view.lanes().of_provider(name);
        lanes.map(|(model, key, lane)| (LaneId { provider: name, model, key }, lane))
    };
    let last = lanes().max_by_key(|(_, lane)| lane.last_error.as_ref().map(|error| error.at_ms));
    let (formats, inactive_reason) = match &entry.reachability {
        Reachability::Active { endpoints, .. } => {
            (endpoints.iter().map(|endpoint| endpoint.format).collect(), None)
        }
        Reachability::Binding => (Vec::new(), None),
        Reachability::Inactive(reason) => (Vec::new(), Some(reason.as_str())),
    };
    ProviderDocument {
        name,
        active: entry.is_active(),
        inactive_reason,
        formats,
        keys,
        models: entry.models().count(),
        attempts: lanes().map(|(_, lane)| lane.totals.attempts).sum(),
        last_error: last.and_then(|(id, lane)| last_error(id, lane)),
        history: None,
    }
}

/// The lanes that have been used, by provider, model and key; of one id, or all.
pub fn lanes<'a>(
    view: &'a HealthView,
    registry: &'a Registry,
    only: Option<LaneId<'_>>,
    now_ms: u64,
) -> Vec<LaneDocument<'a>> {
    let of_entry = |entry: &'a Entry| {
        let lanes = view.lanes().of_provider(&entry.name);
        lanes.map(move |(model, key, lane)| (entry, LaneId { provider: &entry.name, model, key }, lane))
    };
    let all = registry.entries().iter().flat_map(of_entry);
    let wanted = all.filter(|(_, id, _)| only.is_none_or(|only| only == *id));
    let document = |(entry, id, lane): (&'a Entry, LaneId<'a>, &'a LaneStats)| {
        let per_day = entry.facts(id.model).and_then(|facts| facts.requests_per_day);
        LaneDocument {
            id: id_of(id),
            provider: id.provider,
            model: id.model,
            key: id.key,
            cooldown: cooldown(view, id, per_day, now_ms),
            attempts: lane.totals.attempts,
            throttles: lane.totals.throttles,
            success_rate: lane.success_rate(),
            avg_latency_ms: lane.latency_ms(),
            last_error: last_error(id, lane),
            history: None,
        }
    };
    wanted.map(document).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn lanes_have_ids_that_name_them_and_their_last_errors() {
        let config: Config = serde_json::from_value(serde_json::json!({"providers": {
            "acme": {"base_url": "https://a.example", "models": ["org/m"]},
        }}))
        .unwrap();
        let registry = Registry::new(&config, false, |name| {
            (name == "ACME_API_KEY").then(|| "sk-one,sk-two".to_owned())
        });
        let lane = LaneId { provider: "acme", model: "org/m", key: 1 };
        assert_eq!(id_of(lane), "acme:1/org/m");
        assert_eq!(find(&registry, "acme:1/org/m"), Some(lane));
        assert_eq!(find(&registry, "acme:1"), Some(lane.of_key()));
        for unknown in ["acme:2", "acme:1/nothing", "nobody:0", "acme", "acme:x/org/m", ""] {
            assert_eq!(find(&registry, unknown), None, "{unknown}");
        }
        let mut view = HealthView::default();
        let error = Error::upstream(503, "t".into(), Some("overloaded".into()), "no room".into());
        view.keep_error(lane, LastError::of(&error, "no room", 7).unwrap());
        view.set_cooldown(lane.of_key(), Some(9_000), 8);
        let lanes = lanes(&view, &registry, Some(lane), 10);
        let shown = serde_json::to_value(&lanes).unwrap();
        assert_eq!(shown[0]["last_error"]["message"], "no room");
        assert_eq!(shown[0]["cooldown"]["reason"], "operator");
        let providers = serde_json::to_value(providers(&view, &registry, &[], 10)).unwrap();
        let acme = providers.as_array().unwrap().iter().find(|one| one["name"] == "acme").unwrap();
        assert_eq!(acme["last_error"]["lane"], "acme:1/org/m");
        assert_eq!(acme.get("history"), None);
        assert_eq!(acme["keys"][1]["cooldown"]["until"], "1970-01-01T00:00:09Z");
        assert!(acme["keys"][0]["cooldown"].is_null());
        assert!(!providers.to_string().contains("sk-"));
    }

    #[test]
    fn a_history_has_the_steps_with_attempts_of_a_lane_or_a_provider() {
        let registry = Registry::new(&Config::default(), false, |_| None);
        let mut view = HealthView::default();
        let lane = LaneId { provider: "groq", model: "other", key: 0 };
        view.answered(lane, 0, 60);
        let step = |minute, provider: &str, model: &str| Minute {
            minute,
            lanes: vec![Attempts {
                provider: provider.into(),
                model: model.into(),
                attempts: 3,
                failures: 1,
                ..Attempts::default()
            }],
        };
        let mut found = lanes(&view, &registry, None, 60);
        with_lane_history(&mut found, &[step(60, "groq", "other"), step(61, "groq", "else")]);
        let shown = serde_json::json!([
            {"start": "1970-01-01T01:00:00Z", "attempts": 3, "failures": 1, "p50_ms": null, "p95_ms": null}
        ]);
        assert_eq!(serde_json::to_value(&found).unwrap()[0]["history"], shown);
        let mut found = providers(&view, &registry, &[], 60);
        with_history(&mut found, &[step(60, "groq", "")]);
        let shown_of = |name: &str| {
            let provider = found.iter().find(|provider| provider.name == name).unwrap();
            serde_json::to_value(provider).unwrap()["history"].clone()
        };
        assert_eq!((shown_of("groq"), shown_of("openai")), (shown, serde_json::json!([])));
    }

    #[test]
    fn a_history_has_a_bounded_number_of_steps() {
        let step = |minutes, step| history_query(minutes, step, true).map(|query| query.step);
        assert_eq!((step(1440, None).unwrap(), step(60, None).unwrap()), (5, 1));
        assert_eq!(step(1440, Some(60)).unwrap(), 60);
        assert!(step(1440, Some(4)).unwrap_err().message.contains("at least 5"));
    }
}
