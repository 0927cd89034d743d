//! `RateLimiter`: one object for each client that is limited. It stores the hits of the last time span, and nothing
//! once they have expired.

use std::cell::RefCell;

use gatehouse_core::json;
use gatehouse_core::onboarding::sliding_log::{SlidingLog, Take, Verdict};
use serde::{Deserialize, Serialize};
use worker::wasm_bindgen;
use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::{self as objects, ObjectError};
use crate::platform::clock;
use crate::platform::object_storage::ObjectStorage;

/// A message to the object.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    /// Counts a hit.
    Take(Take),
    /// Removes the hit with this name.
    GiveBack(String),
}

/// Counts a hit of `who`, if there is room for it.
pub async fn take(env: &Env, who: &str, take: Take) -> Result<Verdict, ObjectError> {
    let response = send(env, who, &Message::Take(take)).await?;
    json::read(&response).map_err(|error| ObjectError::Failed(error.to_string()))
}

/// Removes the hit with this name, because the action that it was counted for did not happen.
pub async fn give_back(env: &Env, who: &str, name: &str) -> Result<(), ObjectError> {
    send(env, who, &Message::GiveBack(name.to_owned())).await.map(|_| ())
}

async fn send(env: &Env, who: &str, message: &Message) -> Result<String, ObjectError> {
    let message = serde_json::to_string(message).map_err(|error| ObjectError::Failed(error.to_string()))?;
    objects::send(env, "RATE_LIMITER", who, &message).await
}

#[durable_object(alarm)]
pub struct RateLimiter {
    storage: ObjectStorage,
    /// Read from storage by the first message.
    log: RefCell<Option<SlidingLog>>,
}

const STORED: &str = "log";

impl DurableObject for RateLimiter {
    fn new(state: State, _: Env) -> Self {
        RateLimiter { storage: ObjectStorage::of(state), log: RefCell::new(None) }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let message: Message = json::read(&request.text().await?)?;
        let mut log = self.load().await?;
        let (response, changed) = match &message {
            Message::Take(take) => {
                let verdict = log.take(clock::now_ms(), take);
                (serde_json::to_string(&verdict)?, verdict == Verdict::Allowed)
            }
            Message::GiveBack(name) => {
                log.give_back(name);
                ("null".to_owned(), true)
            }
        };
        // A rejected hit causes no write, however often it is tried.
        if changed {
            self.store(log).await?;
        } else {
            self.log.replace(Some(log));
        }
        Response::ok(response)
    }

    /// Deletes everything once the last hit has expired.
    async fn alarm(&self) -> worker::Result<Response> {
        let log = self.load().await?;
        match log.empty_at_ms() {
            Some(at_ms) if at_ms > clock::now_ms() => self.store(log).await?,
            _ => {
                self.log.replace(None);
                self.storage.delete().await?;
            }
        }
        Response::ok("")
    }
}

impl RateLimiter {
    /// Takes the log out of memory, or reads it from storage. The caller puts it back before it awaits anything.
    async fn load(&self) -> worker::Result<SlidingLog> {
        if let Some(log) = self.log.take() {
            return Ok(log);
        }
        let stored = self.storage.read(STORED).await?;
        // Another message may have read the log in the meantime and added to it.
        let log = self.log.take();
        Ok(log.or_else(|| json::read(&stored?).ok()).unwrap_or_default())
    }

    /// Stores the log, and sets the alarm that deletes it.
    async fn store(&self, log: SlidingLog) -> worker::Result<()> {
        let text = serde_json::to_string(&log)?;
        let empty_at_ms = log.empty_at_ms();
        self.log.replace(Some(log));
        self.storage.store(STORED, &text).await?;
        match empty_at_ms {
            Some(at_ms) => self.storage.wake_by(at_ms).await,
            None => Ok(()),
        }
    }
}
