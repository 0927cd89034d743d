//! `ProviderHealth`: the one object that adds up the observations of all isolates and returns the sum to each.
//!
//! Its state is `gatehouse_core::health::Shared`. The state is in memory and is stored every few seconds, since an
//! object that is moved or restarted should not forget which lanes are throttled. Calls find out again what is lost.

use std::cell::RefCell;

use gatehouse_core::health::{Report, Shared, Update};
use gatehouse_core::json;
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

/// Sends an isolate's observations and returns those of the others. The message is sent when this is called, not when
/// the future is awaited.
pub fn report(env: &Env, report: &Report) -> impl Future<Output = Result<Update, ObjectError>> + use<> {
    exchange(TIMEOUT_MS, env, report)
}

/// The same with the short timeout of a call that waits for the response.
pub fn refresh(env: &Env, query: &Report) -> impl Future<Output = Result<Update, ObjectError>> + use<> {
    exchange(CALL_TIMEOUT_MS, env, query)
}

fn exchange(
    timeout_ms: u32,
    env: &Env,
    report: &Report,
) -> impl Future<Output = Result<Update, ObjectError>> + use<> {
    let failed = |error: serde_json::Error| ObjectError::Failed(error.to_string());
    let message = serde_json::to_string(report).map_err(failed);
    let response = message.map(|message| send_within(timeout_ms, env, "PROVIDER_HEALTH", NAME, &message));
    async move { json::read(&response?.await?).map_err(failed) }
}

#[durable_object(alarm)]
pub struct ProviderHealth {
    storage: ObjectStorage,
    /// Read from storage by the first message.
    shared: RefCell<Option<Shared>>,
}

impl DurableObject for ProviderHealth {
    fn new(state: State, _: Env) -> Self {
        ProviderHealth { storage: ObjectStorage::of(state), shared: RefCell::new(None) }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let report: Report = json::read(&request.text().await?)?;
        if self.shared.borrow().is_none() {
            let stored = self.storage.read(STORED).await?;
            // Another message may have read the state in the meantime and added to it.
            if self.shared.borrow().is_none() {
                let lanes = stored.and_then(|text| json::read(&text).ok()).unwrap_or_default();
                let epoch = u32::from_le_bytes(random::id_bytes()).into();
                self.shared.replace(Some(Shared::new(epoch, lanes)));
            }
        }
        let update = self.shared.borrow_mut().as_mut().map(|shared| shared.take(&report));
        if !report.lanes.is_empty() {
            self.storage.wake_by(clock::now_ms() + STORE_EVERY_MS).await?;
        }
        Response::ok(serde_json::to_string(&update.unwrap_or_default())?)
    }

    async fn alarm(&self) -> worker::Result<Response> {
        let text =
            self.shared.borrow().as_ref().map(|shared| serde_json::to_string(shared.lanes())).transpose()?;
        if let Some(text) = text {
            self.storage.store(STORED, &text).await?;
        }
        Response::ok("")
    }
}
