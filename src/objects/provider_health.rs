//! `ProviderHealth`: the one object that adds up the observations of all isolates and returns the sum to each.
//!
//! Its state is `gatehouse_core::health::Shared`. The state is in memory and is stored every few seconds, since an
//! object that is moved or restarted should not forget which lanes are throttled. Calls find out again what is lost.
//!
//! It also counts the attempts of each minute ([`Minute`]), and stores each when it is over, for a day; and since there is
//! one such object, it exports the metrics of the deployment ([`Schedule`]), from its first report on.

use std::cell::RefCell;

use gatehouse_core::alerts::Kind;
use gatehouse_core::error::Error;
use gatehouse_core::health::minutes::{HistoryQuery, Minute};
use gatehouse_core::health::{HealthView, Lanes, Report, Shared, Update};
use gatehouse_core::json;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use worker::wasm_bindgen;
use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::telemetry::Schedule;
use super::{ObjectError, notifier, send_within};
use crate::platform::object_storage::ObjectStorage;
use crate::platform::{clock, random};
use crate::snapshot;
use crate::store::alerts;

/// The name of the only instance.
const NAME: &str = "providers";
/// The timeout of a refresh that a call waits for, in milliseconds: the isolate's own observations are better than a
/// late response.
const CALL_TIMEOUT_MS: u32 = 500;
/// The timeout of a report after a response: shorter than the time after which the health view regards it as lost.
const TIMEOUT_MS: u32 = 5_000;
/// The shortest time between two writes of the state, in milliseconds.
const STORE_EVERY_MS: u64 = 5_000;
const STORED: &str = "health";
/// The prefix of the names of stored minutes.
const MINUTES: &str = "minute:";

/// The stored state.
#[derive(Default, Deserialize, Serialize)]
struct Stored {
    lanes: Lanes,
    /// The minute that is not over.
    minute: Minute,
}

/// A query of an operator. Everything else is [`CHANGED`] or a [`Report`].
#[derive(Deserialize, Serialize)]
struct History {
    history: HistoryQuery,
}

/// The attempts of the last minutes, by step.
pub async fn history(env: &Env, query: HistoryQuery) -> Result<Vec<Minute>, ObjectError> {
    exchange(TIMEOUT_MS, env, &History { history: query }).await
}

/// Checks the conditions of alerts with settings that were changed just now.
pub async fn check_again(env: &Env) {
    // If this message is lost, the next check uses the settings.
    let _ = send_within(TIMEOUT_MS, env, "PROVIDER_HEALTH", NAME, CHANGED).await;
}

/// The message after a change of the settings of alerts.
const CHANGED: &str = "changed";
/// The wait before conditions that hold are checked again, in milliseconds.
const CHECK_AGAIN_MS: u64 = 30_000;
/// The alerts that operators know.
#[derive(Clone)]
struct Told {
    /// The version of the run-time settings with which they were found.
    version: Option<u64>,
    /// Kinds and subjects.
    alerts: Vec<(String, String)>,
}

/// The alerts that this object decides about.
const KINDS: [Kind; 2] = [Kind::ProviderFailing, Kind::ErrorRate];

/// Sends an isolate's observations and returns those of the others. The message is sent when this is called, not when
/// the future is awaited.
pub fn report(env: &Env, report: &Report) -> impl Future<Output = Result<Update, ObjectError>> + use<> {
    exchange(TIMEOUT_MS, env, report)
}

/// The same with the short timeout of a call that waits for the response.
pub fn refresh(env: &Env, query: &Report) -> impl Future<Output = Result<Update, ObjectError>> + use<> {
    exchange(CALL_TIMEOUT_MS, env, query)
}

fn exchange<M: Serialize, R: DeserializeOwned>(
    timeout_ms: u32,
    env: &Env,
    message: &M,
) -> impl Future<Output = Result<R, ObjectError>> + use<M, R> {
    let failed = |error: serde_json::Error| ObjectError::Failed(error.to_string());
    let message = serde_json::to_string(message).map_err(failed);
    let response = message.map(|message| send_within(timeout_ms, env, "PROVIDER_HEALTH", NAME, &message));
    async move { json::read(&response?.await?).map_err(failed) }
}

#[durable_object(alarm)]
pub struct ProviderHealth {
    storage: ObjectStorage,
    /// Read from storage by the first message.
    shared: RefCell<Option<Shared>>,
    minute: RefCell<Minute>,
    env: Env,
    /// The alerts that operators know; `None` before they are read from the database.
    told: RefCell<Option<Told>>,
    schedule: RefCell<Schedule>,
}

impl DurableObject for ProviderHealth {
    fn new(state: State, env: Env) -> Self {
        ProviderHealth {
            storage: ObjectStorage::of(state),
            shared: RefCell::new(None),
            minute: RefCell::default(),
            env,
            told: RefCell::new(None),
            schedule: RefCell::default(),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let message = request.text().await?;
        self.load().await?;
        if message.starts_with("{\"history\":") {
            let History { history } = json::read(&message)?;
            return self.history(history).await;
        }
        if message == CHANGED {
            // If this fails, the alarm uses the settings that are known.
            let _ = snapshot::refresh(&self.env).await;
            self.storage.wake_by(clock::now_ms()).await?;
            return Response::ok("");
        }
        let report: Report = json::read(&message)?;
        let update = self.shared.borrow_mut().as_mut().map(|shared| shared.take(&report));
        if !report.lanes.is_empty() {
            let over = self.minute.borrow_mut().take(&report.lanes, clock::now_ms());
            if let Some(minute) = over {
                let name = format!("{MINUTES}{}", minute.place());
                self.storage.store(&name, &serde_json::to_string(&minute)?).await?;
            }
            self.storage.wake_by(clock::now_ms() + STORE_EVERY_MS).await?;
        }
        Response::ok(serde_json::to_string(&update.unwrap_or_default())?)
    }

    async fn alarm(&self) -> worker::Result<Response> {
        let stored = self
            .shared
            .borrow()
            .as_ref()
            .map(|shared| Stored { lanes: shared.lanes().clone(), minute: self.minute.borrow().clone() });
        if let Some(stored) = stored {
            let text = serde_json::to_string(&stored)?;
            self.storage.store(STORED, &text).await?;
        }
        // An object that was evicted would take the conditions of its alerts for ended.
        self.load().await?;
        let told = self.tell().await;
        if told.is_err() {
            // What was written before the failure is read again.
            self.told.replace(None);
        }
        if told.unwrap_or(true) {
            self.storage.wake_by(clock::now_ms() + CHECK_AGAIN_MS).await?;
        }
        if let Some(next_ms) = self.export().await {
            self.storage.wake_by(next_ms).await?;
        }
        Response::ok("")
    }
}

impl ProviderHealth {
    /// Reads the stored state, unless it is there.
    async fn load(&self) -> worker::Result<()> {
        if self.shared.borrow().is_some() {
            return Ok(());
        }
        let stored = self.storage.read(STORED).await?;
        // Another message may have read the state in the meantime and added to it.
        if self.shared.borrow().is_none() {
            let Stored { lanes, minute } = stored.and_then(|text| json::read(&text).ok()).unwrap_or_default();
            let epoch = u32::from_le_bytes(random::id_bytes()).into();
            self.minute.replace(minute);
            self.shared.replace(Some(Shared::new(epoch, lanes)));
        }
        Ok(())
    }

    async fn history(&self, query: HistoryQuery) -> worker::Result<Response> {
        let stored = self.storage.read_all(MINUTES).await?;
        let stored = stored.iter().filter_map(|text| json::read(text).ok());
        let current = self.minute.borrow().clone();
        let steps = query.steps(stored.chain([current]), clock::now_ms());
        Response::ok(serde_json::to_string(&steps)?)
    }

    /// Exports the metrics if it is time. Returns the time of the next export.
    async fn export(&self) -> Option<u64> {
        let settings = snapshot::for_background(&self.env).await.ok()?;
        let mut view = HealthView::default();
        let (query, token) = view.refresh_request(clock::now_ms());
        let update = self.shared.borrow_mut().as_mut().map(|shared| shared.take(&query))?;
        view.refreshed(&update, token);
        // Only an alarm exports, and an object has one alarm at a time.
        let mut schedule = self.schedule.take();
        let next_ms = schedule.export(&self.env, &settings, &view).await;
        self.schedule.replace(schedule);
        next_ms
    }

    /// Notifies operators of providers whose condition has begun or ended. Returns `true` if a condition holds: it may end
    /// without a further report.
    async fn tell(&self) -> Result<bool, Error> {
        let settings = snapshot::for_background(&self.env).await?;
        let config = &settings.config.alerts;
        if !KINDS.iter().any(|kind| kind.is_on(config)) {
            return Ok(false);
        }
        // The `Notifier` ends alerts that are turned off: after a change of the settings they are read again.
        let version = settings.run_time.version;
        let known = self.told.borrow().clone().filter(|told| told.version == version);
        let told = if let Some(told) = known {
            told.alerts
        } else {
            let of_providers = |kind: &str| KINDS.iter().any(|known| known.name() == kind);
            let stored = alerts::list(&self.env).await?.into_iter();
            stored.filter(|one| of_providers(&one.kind)).map(|one| (one.kind, one.subject)).collect()
        };
        let holds =
            |kind: Kind, subject: &str| told.iter().any(|(known, of)| known == kind.name() && of == subject);
        let found = self.shared.borrow().as_ref().map(|shared| {
            gatehouse_core::alerts::of_providers(shared.lanes(), config, holds, clock::now_ms())
        });
        let found = found.unwrap_or_default();
        let channels = settings.channels(&self.env);
        let begun = found.iter().filter(|alert| !holds(alert.kind, &alert.subject));
        let is_found = |kind: Kind, subject: &str| {
            found.iter().any(|alert| alert.kind == kind && alert.subject == subject)
        };
        let kind_of = |name: &str| KINDS.into_iter().find(|kind| kind.name() == name);
        let ended = told.iter().filter_map(|(kind, subject)| Some((kind_of(kind)?, subject)));
        let ended: Vec<_> = ended.filter(|(kind, subject)| !is_found(*kind, subject)).collect();
        let begun: Vec<_> = begun.collect();
        if !begun.is_empty() || !ended.is_empty() {
            notifier::prepare(&self.env, &channels).await?;
            for alert in begun {
                alerts::raise(&self.env, alert, &channels).await?;
            }
            for (kind, subject) in ended {
                alerts::resolve(&self.env, kind, subject, &channels).await?;
            }
            notifier::wake(&self.env).await;
        }
        let now_told = found.into_iter().map(|alert| (alert.kind.name().to_owned(), alert.subject));
        let alerts: Vec<_> = now_told.collect();
        let some_hold = !alerts.is_empty();
        self.told.replace(Some(Told { version, alerts }));
        Ok(some_hold)
    }
}
