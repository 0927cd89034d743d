//! `Notifier`: the one object that delivers webhook notifications and retries failed deliveries.
//!
//! The notifications are rows of the database, written in the same transaction as the change that they report. The
//! object has only an alarm, which is set before that transaction, so that a Worker that dies after it leaves nothing
//! undelivered.

use gatehouse_core::onboarding::webhook::{SigningKey, retry_after};
use worker::wasm_bindgen::{self, prelude::wasm_bindgen};
use worker::{DurableObject, Env, Request, Response, State, durable_object, js_sys};

use super::{ObjectError, send};
use crate::platform::object_storage::ObjectStorage;
use crate::platform::{clock, log, random, task, variables};
use crate::settings;
use crate::store::notifications::{self, Notification};

#[wasm_bindgen(module = "/src/platform/bindings.js")]
extern "C" {
    #[wasm_bindgen(js_name = postWebhook)]
    fn post_webhook(url: &str, id: &str, timestamp: &str, signature: &str, body: &str) -> js_sys::Promise;
}

/// The name of the only instance.
const NAME: &str = "notifier";
/// An upper bound, in milliseconds, for the transaction that writes a notification.
const MAX_TRANSACTION_MS: u64 = 15_000;
/// The delay before looking again for a signing secret, which only a deployment can bring.
const SECRET_RETRY_MS: u64 = 60_000;
/// The delay before the next try after the database has failed.
const DATABASE_RETRY_MS: u64 = 30_000;

/// Sets the alarm before a notification is written, so that it is delivered even if [`wake`] is never called.
pub async fn expect(env: &Env) -> Result<(), ObjectError> {
    send(env, "NOTIFIER", NAME, &MAX_TRANSACTION_MS.to_string()).await.map(|_| ())
}

/// Delivers now. Called after a notification has been written.
pub async fn wake(env: &Env) {
    // If this message is lost, the alarm that was set before it fires.
    let _ = send(env, "NOTIFIER", NAME, "0").await;
}

#[durable_object(alarm)]
pub struct Notifier {
    storage: ObjectStorage,
    env: Env,
}

impl DurableObject for Notifier {
    fn new(state: State, env: Env) -> Self {
        Notifier { storage: ObjectStorage::of(state), env }
    }

    /// The message is the delay before delivery, in milliseconds.
    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let wait_ms = request.text().await?.parse().unwrap_or(0);
        self.storage.wake_by(clock::now_ms().saturating_add(wait_ms)).await?;
        Response::ok("")
    }

    async fn alarm(&self) -> worker::Result<Response> {
        let next_ms = match self.deliver_due().await {
            Ok(next_ms) => next_ms,
            Err(wait_ms) => Some(clock::now_ms() + wait_ms),
        };
        if let Some(next_ms) = next_ms {
            self.storage.wake_by(next_ms).await?;
        }
        Response::ok("")
    }
}

impl Notifier {
    /// Delivers the notifications that are due. Returns the time of the next one; the error is the delay before another
    /// try.
    async fn deliver_due(&self) -> Result<Option<u64>, u64> {
        let Ok(settings) = settings::of_isolate(&self.env) else { return Ok(None) };
        let Some(url) = &settings.config.webhook.url else { return Ok(None) };
        let Some(key) = &settings.signing_key else {
            // Notifications wait until there is a signing secret. Without any, the alarm ends.
            let next_ms = notifications::next_ms(&self.env).await.map_err(|_| DATABASE_RETRY_MS)?;
            return if next_ms.is_some() { Err(SECRET_RETRY_MS) } else { Ok(None) };
        };
        let due = notifications::due(&self.env, clock::now_ms()).await.map_err(|_| DATABASE_RETRY_MS)?;
        for notification in due {
            let failure = post(url.as_str(), key, &notification).await.err();
            let settled = match &failure {
                None => notifications::delivered(&self.env, &notification.id).await,
                Some(message) => {
                    let attempts = notification.attempts + 1;
                    let [chance] = random::id_bytes();
                    let next_ms = retry_after(attempts, chance).map(|wait_ms| clock::now_ms() + wait_ms);
                    log::line(&log::Event::Webhook {
                        id: &notification.id,
                        attempts,
                        error: message,
                        given_up: next_ms.is_none(),
                    });
                    notifications::failed(&self.env, &notification.id, attempts, next_ms).await
                }
            };
            settled.map_err(|_| DATABASE_RETRY_MS)?;
        }
        notifications::next_ms(&self.env).await.map_err(|_| DATABASE_RETRY_MS)
    }
}

/// Posts one notification; the error is the reason of the failed delivery.
async fn post(url: &str, key: &SigningKey, notification: &Notification) -> Result<(), String> {
    let Notification { id, body, .. } = notification;
    let timestamp_s = clock::now_ms() / 1000;
    let signature = key.sign(id, timestamp_s, body);
    let posted = task::settled(post_webhook(url, id, &timestamp_s.to_string(), &signature, body)).await;
    match posted.map_err(|error| variables::message(&error))?.as_string().as_deref() {
        Some(status) if status.starts_with('2') => Ok(()),
        Some(status) => Err(format!("the receiver responded with status {status}")),
        None => Err("the receiver sent no status".to_owned()),
    }
}
