//! `Notifier`: the one object that delivers notifications and retries failed deliveries. It also checks the conditions of
//! alerts that depend on the time alone.
//!
//! The notifications are rows of the database, written in the same transaction as the change that they report. The
//! object has only an alarm, which is set before that transaction, so that a Worker that dies after it leaves nothing
//! undelivered.

use std::cell::Cell;

use gatehouse_core::alerts::{AlertDocument, Channel, any_is_on};
use gatehouse_core::error::{Code, Error};
use gatehouse_core::json;
use gatehouse_core::onboarding::webhook::retry_after;
use gatehouse_core::run_time::HARD_MS;
use serde::Serialize;
use worker::wasm_bindgen::{self, prelude::wasm_bindgen};
use worker::{DurableObject, Env, Request, Response, State, durable_object, js_sys};

use super::{ObjectError, send, send_within};
use crate::platform::email::{self, Email};
use crate::platform::object_storage::ObjectStorage;
use crate::platform::{clock, log, random, task, variables};
use crate::settings::Settings;
use crate::snapshot;
use crate::store::alerts;
use crate::store::notifications;

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

/// The time between two checks of conditions, in milliseconds.
const CHECK_MS: u64 = 300_000;
/// The message after a change of the settings of alerts.
const CHANGED: &str = "changed";
/// Between the bodies of a test in a message. JSON has no such character outside of texts, which escape it.
const SEPARATOR: &str = "\u{1e}";
/// The time limit of a test: that of a receiver, for each channel, in milliseconds.
const TEST_TIMEOUT_MS: u32 = 35_000;
/// The longest subject of an e-mail, in characters.
const MAX_SUBJECT: usize = 120;

/// The results of a test: the response of `POST /v0/alerts/test`.
#[derive(Serialize)]
struct TestResults {
    data: Vec<TestResult>,
}

/// The result of a test on one channel.
#[derive(Serialize)]
struct TestResult {
    channel: &'static str,
    delivered: bool,
    /// The reason of a failed delivery.
    error: Option<String>,
}

/// Sets the alarm before a notification is written, so that it is delivered even if [`wake`] is never called.
pub async fn expect(env: &Env) -> Result<(), ObjectError> {
    send(env, "NOTIFIER", NAME, &MAX_TRANSACTION_MS.to_string()).await.map(|_| ())
}

/// The same before an alert is written, if there is a channel for it.
pub async fn prepare(env: &Env, channels: &[Channel]) -> Result<(), Error> {
    if channels.is_empty() {
        return Ok(());
    }
    let message = "The object that sends notifications does not respond";
    expect(env).await.map_err(|_| Error::new(Code::StorageUnavailable, message))
}

/// Sends a document on each channel at once, without retries, and checks the conditions of alerts after that. Returns the
/// results as JSON text; `None` if no channel is configured.
pub async fn test(env: &Env, document: &AlertDocument) -> Result<Option<String>, ObjectError> {
    let bodies = Channel::ALL.map(|channel| document.body(channel, clock::now_ms()));
    let results = send_within(TEST_TIMEOUT_MS, env, "NOTIFIER", NAME, &bodies.join(SEPARATOR)).await?;
    Ok(Some(results).filter(|results| !results.is_empty()))
}

/// Delivers now. Called after a notification has been written.
pub async fn wake(env: &Env) {
    // If this message is lost, the alarm that was set before it fires.
    let _ = send(env, "NOTIFIER", NAME, "0").await;
}

/// Checks the conditions of alerts with settings that were changed just now.
pub async fn check_again(env: &Env) {
    // If this message is lost, the next check uses the settings. A new isolate starts the checks, if any alert is on.
    let _ = send(env, "NOTIFIER", NAME, CHANGED).await;
}

#[durable_object(alarm)]
pub struct Notifier {
    storage: ObjectStorage,
    env: Env,
    /// The time of the next check of conditions, in milliseconds since 1970. A new life of the object checks at once, which
    /// has no effect on conditions that are known.
    check_ms: Cell<u64>,
    /// The time from which all objects use the settings that were changed last, in milliseconds since 1970. Until then one of
    /// them may write an alert that has been turned off, so that the conditions are checked once more.
    settled_ms: Cell<u64>,
}

impl DurableObject for Notifier {
    fn new(state: State, env: Env) -> Self {
        Notifier { storage: ObjectStorage::of(state), env, check_ms: Cell::new(0), settled_ms: Cell::new(0) }
    }

    /// The message is the delay before delivery, in milliseconds, [`CHANGED`], or the bodies of a test by channel.
    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let message = request.text().await?;
        if message.contains(SEPARATOR) {
            let data = self.test(message.split(SEPARATOR)).await;
            self.check_ms.set(0);
            self.storage.wake_by(clock::now_ms()).await?;
            let is_empty = data.is_empty();
            return Response::ok(if is_empty { String::new() } else { json::to_text(&TestResults { data }) });
        }
        if message == CHANGED {
            // If this fails, the alarm uses the settings that are known.
            let _ = snapshot::refresh(&self.env).await;
            self.check_ms.set(0);
            self.settled_ms.set(clock::now_ms() + HARD_MS);
        }
        let wait_ms = message.parse().unwrap_or(0);
        self.storage.wake_by(clock::now_ms().saturating_add(wait_ms)).await?;
        Response::ok("")
    }

    async fn alarm(&self) -> worker::Result<Response> {
        let Ok(settings) = snapshot::for_background(&self.env).await else { return Response::ok("") };
        let check_ms = self.check(&settings).await;
        let next_ms = match self.deliver_due(&settings).await {
            Ok(next_ms) => next_ms,
            Err(wait_ms) => Some(clock::now_ms() + wait_ms),
        };
        if let Some(next_ms) = next_ms.into_iter().chain(check_ms).min() {
            self.storage.wake_by(next_ms).await?;
        }
        Response::ok("")
    }
}

impl Notifier {
    /// Checks the conditions of alerts if it is time: with all alerts off, those that held end. Returns the time of the next
    /// check, if any alert is on.
    async fn check(&self, settings: &Settings) -> Option<u64> {
        let config = &settings.config.alerts;
        let now_ms = clock::now_ms();
        let is_settled = self.settled_ms.get() <= now_ms;
        if self.check_ms.get() <= now_ms {
            let checked = alerts::check(&self.env, config, &settings.channels(&self.env)).await;
            let again_ms = now_ms + if checked.is_ok() { CHECK_MS } else { DATABASE_RETRY_MS };
            self.check_ms.set(if is_settled { again_ms } else { self.settled_ms.get() });
        }
        (any_is_on(config) || !is_settled).then(|| self.check_ms.get())
    }

    /// Delivers the notifications that are due. Returns the time of the next one; the error is the delay before another
    /// try.
    async fn deliver_due(&self, settings: &Settings) -> Result<Option<u64>, u64> {
        let mut channels = settings.channels(&self.env);
        // Webhooks wait until there is a signing secret. Without any, the alarm ends.
        let lacks_secret = settings.config.webhook.url.is_some() && settings.signing_key.is_none();
        let mut secret_ms = None;
        if lacks_secret {
            channels.retain(|channel| *channel != Channel::Webhook);
            let waiting = notifications::next_ms(&self.env, &[Channel::Webhook]).await;
            let waits = waiting.map_err(|_| DATABASE_RETRY_MS)?.is_some();
            secret_ms = waits.then(|| clock::now_ms() + SECRET_RETRY_MS);
        }
        if channels.is_empty() {
            return Ok(secret_ms);
        }
        let due = notifications::due(&self.env, &channels, clock::now_ms()).await;
        for notification in due.map_err(|_| DATABASE_RETRY_MS)? {
            let Some(channel) = notification.channel() else { continue };
            let failure = self.post(settings, channel, &notification.id, &notification.body).await.err();
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
        let next_ms = notifications::next_ms(&self.env, &channels).await.map_err(|_| DATABASE_RETRY_MS)?;
        Ok(next_ms.into_iter().chain(secret_ms).min())
    }

    /// Sends the body of each channel that is configured.
    async fn test(&self, bodies: impl Iterator<Item = &str>) -> Vec<TestResult> {
        let Ok(settings) = snapshot::for_background(&self.env).await else { return Vec::new() };
        let configured = settings.channels(&self.env);
        let mut results = Vec::new();
        for (channel, body) in Channel::ALL.into_iter().zip(bodies) {
            if configured.contains(&channel) {
                let id = format!("msg_test_{}", hex::encode(random::id_bytes::<8>()));
                let error = self.post(&settings, channel, &id, body).await.err();
                results.push(TestResult { channel: channel.name(), delivered: error.is_none(), error });
            }
        }
        results
    }

    /// Sends one notification; the error is the reason of the failed delivery.
    async fn post(&self, settings: &Settings, channel: Channel, id: &str, body: &str) -> Result<(), String> {
        match channel {
            Channel::Webhook => {
                let url = settings.config.webhook.url.as_ref().ok_or("webhook.url is not set")?;
                let key =
                    settings.signing_key.as_ref().ok_or("the secret GATEWAY_WEBHOOK_SECRET is not set")?;
                let timestamp_s = clock::now_ms() / 1000;
                let signature = key.sign(id, timestamp_s, body);
                let posted = post_webhook(url.as_str(), id, &timestamp_s.to_string(), &signature, body);
                accepted(&task::settled(posted).await.map_err(|error| variables::message(&error))?)
            }
            Channel::Slack => {
                let url = settings.slack_url.as_ref().ok_or("the secret GATEWAY_SLACK_URL is not set")?;
                // The URL is a secret, which an error of the runtime could repeat.
                let posted = task::settled(post_webhook(url.as_str(), "", "", "", body)).await;
                accepted(&posted.map_err(|_| "the receiver did not respond")?)
            }
            Channel::Email => {
                let config = &settings.config;
                let (Some(from), Some(to)) = (&config.email.from, &config.alerts.email) else {
                    return Err("email.from and alerts.email are not set".to_owned());
                };
                let subject: String = body.chars().take(MAX_SUBJECT).collect();
                email::send(&self.env, Email { from, to, subject: &subject, text: body }).await
            }
        }
    }
}

/// The error is the status with which a receiver rejects a notification.
fn accepted(status: &wasm_bindgen::JsValue) -> Result<(), String> {
    match status.as_string().as_deref() {
        Some(status) if status.starts_with('2') => Ok(()),
        Some(status) => Err(format!("the receiver responded with status {status}")),
        None => Err("the receiver sent no status".to_owned()),
    }
}
