//! `ProviderHealth`: one object that adds up what all isolates see of the providers, and tells each what the others saw.
//!
//! Its state is that of `gatehouse_core::health`; it stands in memory and is written down every few seconds, since
//! an object that is moved or restarted should not forget who is throttled. What is lost with it is found out again.

use std::cell::RefCell;

use gatehouse_core::health::{Report, Shared, Update};
use gatehouse_core::json;
use worker::wasm_bindgen;
use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::{ObjectError, ask_within};
use crate::platform::object_storage::ObjectStorage;
use crate::platform::{clock, random};

/// There is one, of this name.
const NAME: &str = "providers";
/// How long a call waits for news, in milliseconds: what one isolate knows by itself is better than a late answer.
const CALL_PATIENCE_MS: u32 = 500;
/// How long a report behind an answer waits: not as long as the board takes it for under way.
const PATIENCE_MS: u32 = 5_000;
/// How often the state is written down, at most, in milliseconds.
const KEEP_EVERY_MS: u64 = 5_000;
const STORED: &str = "health";

/// Tells what an isolate has seen, and asks what the others have. It is sent at once, not only when awaited.
pub fn tell(env: &Env, report: &Report) -> impl Future<Output = Result<Update, ObjectError>> + use<> {
    exchange(PATIENCE_MS, env, report)
}

/// The same for a call that waits for the answer.
pub fn ask(env: &Env, question: &Report) -> impl Future<Output = Result<Update, ObjectError>> + use<> {
    exchange(CALL_PATIENCE_MS, env, question)
}

fn exchange(
    patience_ms: u32,
    env: &Env,
    report: &Report,
) -> impl Future<Output = Result<Update, ObjectError>> + use<> {
    let failed = |error: serde_json::Error| ObjectError::Failed(error.to_string());
    let message = serde_json::to_string(report).map_err(failed);
    let answer = message.map(|message| ask_within(patience_ms, env, "PROVIDER_HEALTH", NAME, &message));
    async move { json::read(&answer?.await?).map_err(failed) }
}

/// The object.
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
            // Another message may have read it in the meantime, and counted.
            if self.shared.borrow().is_none() {
                let kept = stored.and_then(|text| json::read(&text).ok()).unwrap_or_default();
                let epoch = u32::from_le_bytes(random::id_bytes()).into();
                self.shared.replace(Some(Shared::new(epoch, kept)));
            }
        }
        let answer = self.shared.borrow_mut().as_mut().map(|shared| shared.take(&report));
        if !report.lanes.is_empty() {
            self.storage.wake_by(clock::now_ms() + KEEP_EVERY_MS).await?;
        }
        Response::ok(serde_json::to_string(&answer.unwrap_or_default())?)
    }

    async fn alarm(&self) -> worker::Result<Response> {
        let text =
            self.shared.borrow().as_ref().map(|shared| serde_json::to_string(shared.lanes())).transpose()?;
        if let Some(text) = text {
            self.storage.keep(STORED, &text).await?;
        }
        Response::ok("")
    }
}
