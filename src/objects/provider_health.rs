//! `ProviderHealth`: the one object that adds up the observations of all isolates and returns the sum to each.
//!
//! Its state is `gatehouse_core::health::Shared`. The state is in memory and is stored every few seconds, since an
//! object that is moved or restarted should not forget which lanes are throttled. Calls find out again what is lost.
//!
//! It also counts the attempts of each minute ([`Minute`]), and stores each when it is over, for a day.

use std::cell::RefCell;

use gatehouse_core::health::minutes::{HistoryQuery, Minute};
use gatehouse_core::health::{Lanes, Report, Shared, Update};
use gatehouse_core::json;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use worker::wasm_bindgen;
use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::{ObjectError, send_within};
use crate::platform::object_storage::ObjectStorage;
use crate::platform::{clock, random};

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

/// A query of an operator. Everything else is a [`Report`].
#[derive(Deserialize, Serialize)]
struct History {
    history: HistoryQuery,
}

/// The attempts of the last minutes, by step.
pub async fn history(env: &Env, query: HistoryQuery) -> Result<Vec<Minute>, ObjectError> {
    exchange(TIMEOUT_MS, env, &History { history: query }).await
}

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
            let read = |text: String| {
                // Earlier versions stored the lanes alone.
                let of_lanes = |lanes| Stored { lanes, ..Stored::default() };
                json::read(&text).or_else(|_| json::read(&text).map(of_lanes)).ok()
            };
            let Stored { lanes, minute } = stored.and_then(read).unwrap_or_default();
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
}

impl DurableObject for ProviderHealth {
    fn new(state: State, _: Env) -> Self {
        ProviderHealth {
            storage: ObjectStorage::of(state),
            shared: RefCell::new(None),
            minute: RefCell::default(),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let message = request.text().await?;
        self.load().await?;
        if message.starts_with("{\"history\":") {
            let History { history } = json::read(&message)?;
            return self.history(history).await;
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
        Response::ok("")
    }
}
