//! The snapshot of the settings that this isolate uses now: for requests and for the Durable Objects that run in it.
//!
//! [`Freshness`] decides when the run-time settings are read again. Nobody waits for a query of another request: each that
//! has to wait makes its own.

use std::cell::RefCell;
use std::rc::Rc;

use gatehouse_core::error::Error;
use gatehouse_core::run_time::{Age, Freshness};
use worker::Env;

use crate::platform::clock;
use crate::settings::{self, Settings};
use crate::store;

/// The newest snapshot, and the age of its run-time settings.
struct Current {
    settings: Rc<Settings>,
    freshness: Freshness,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Uses the newest snapshot. The first use reads the settings of the deployment, whose error it returns.
fn with_current<T>(env: &Env, step: impl FnOnce(&mut Current) -> T) -> Result<T, Error> {
    CURRENT.with_borrow_mut(|current| {
        if let Some(current) = current {
            return Ok(step(current));
        }
        let settings = settings::of_isolate(env)?;
        Ok(step(current.insert(Current { settings, freshness: Freshness::default() })))
    })
}

/// The newest snapshot, and the use that a request can make of it.
pub fn known(env: &Env) -> Result<(Rc<Settings>, Age), Error> {
    let now_ms = clock::now_ms();
    with_current(env, |current| (Rc::clone(&current.settings), current.freshness.age(now_ms)))
}

/// The snapshot for work that nobody waits for, such as an alarm: it reads the run-time settings if they are a few seconds
/// old. If they cannot be read, the known ones stay in use.
pub async fn for_background(env: &Env) -> Result<Rc<Settings>, Error> {
    match known(env)? {
        (settings, Age::Fresh) => Ok(settings),
        (settings, Age::Ageing | Age::Stale) => Ok(refresh(env).await.unwrap_or(settings)),
    }
}

/// Reads the run-time settings, and returns the newest snapshot.
pub async fn refresh(env: &Env) -> Result<Rc<Settings>, Error> {
    let asked_ms = clock::now_ms();
    let known = with_current(env, |current| Rc::clone(&current.settings))?;
    let mut read = store::settings::newer(env, known.run_time.version).await;
    let keys = match &mut read {
        Ok(Some(stored)) => {
            settings::open(&known.master, std::mem::take(&mut stored.keys), &known.run_time.keys).await
        }
        _ => Vec::new(),
    };
    with_current(env, |current| {
        let newer = read.inspect_err(|_| current.freshness.failed(clock::now_ms()))?;
        let is_latest = current.freshness.succeeded(asked_ms);
        if let Some(stored) = newer.filter(|_| is_latest) {
            current.settings = Rc::new(current.settings.with(env, stored.version, stored.settings, keys));
        }
        Ok(Rc::clone(&current.settings))
    })?
}

/// Returns `true` if the run-time settings could not be read the last time.
pub fn is_unread(env: &Env) -> bool {
    with_current(env, |current| current.freshness.has_failed()).unwrap_or(false)
}
