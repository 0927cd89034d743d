//! The state of one isolate, which lasts from request to request.
//!
//! [`Isolate`] is a snapshot of it: the parts that change are shared by all snapshots, the settings are those of one moment.
//! A call uses one snapshot from its beginning to its end. When the run-time settings have changed, the next request gets
//! another snapshot. [`Freshness`] decides when they are read: never before a call of an isolate that is in use.

pub mod accounts;
pub mod health;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use gatehouse_core::error::Error;
use gatehouse_core::key::KeyCache;
use gatehouse_core::key::access_token::PublicKeys;
use gatehouse_core::onboarding::wrong_keys::WrongKeys;
use gatehouse_core::report::cache::ReportCache;
use gatehouse_core::run_time::{Age, Freshness};
use worker::Env;

use crate::objects::notifier;
use crate::platform::database::DatabaseState;
use crate::platform::{clock, task};
use crate::request_context::RequestContext;
use crate::settings::{self, Settings};
use crate::store;
use accounts::Accounts;
use health::Health;

/// The state of one isolate, with the settings of one moment.
#[derive(Clone)]
pub struct Isolate {
    /// The settings of the deployment.
    pub settings: Rc<Settings>,
    /// Cached issued keys.
    pub keys: Rc<RefCell<KeyCache>>,
    /// The shares of keys' limits that this isolate holds, and the calls that are yet to be reported to their ledgers.
    pub accounts: Rc<Accounts>,
    /// Wrong keys, by client.
    pub wrong_keys: Rc<RefCell<WrongKeys>>,
    /// The public ids of all issued keys, as far as they were needed.
    pub public_ids: Rc<RefCell<PublicIds>>,
    /// The public keys of the Cloudflare Access team.
    pub access_keys: Rc<RefCell<PublicKeys>>,
    /// The health of providers, models and keys.
    pub health: Rc<Health>,
    /// Recent reports about usage.
    pub analytics: Rc<RefCell<ReportCache>>,
    /// The last state of the database, and the time of the check in milliseconds since 1970.
    pub database: Rc<Cell<Option<(u64, DatabaseState)>>>,
}

/// The public ids of all issued keys. They are read only while a client is over its limit of wrong keys: then one query
/// tells which of its keys are worth a look-up.
#[derive(Default)]
pub struct PublicIds {
    /// The time of the query, in milliseconds since 1970.
    pub asked_ms: u64,
    /// The ids; `None` if there are too many to remember, or none have been read.
    pub ids: Option<BTreeSet<String>>,
}

/// The newest snapshot, and the age of its run-time settings.
struct Current {
    isolate: Rc<Isolate>,
    freshness: Freshness,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Uses the newest snapshot. The first request creates it; the error is that of the settings of the deployment.
fn with_current<T>(env: &Env, step: impl FnOnce(&mut Current) -> T) -> Result<T, Error> {
    CURRENT.with_borrow_mut(|current| {
        if let Some(current) = current {
            return Ok(step(current));
        }
        let settings = settings::of_isolate(env)?;
        let accounts = Rc::<Accounts>::default();
        accounts.list_calls(settings.config.calls);
        let isolate = Rc::new(Isolate {
            settings,
            keys: Rc::default(),
            accounts,
            wrong_keys: Rc::default(),
            public_ids: Rc::default(),
            access_keys: Rc::default(),
            health: Rc::default(),
            analytics: Rc::default(),
            database: Rc::default(),
        });
        Ok(step(current.insert(Current { isolate, freshness: Freshness::default() })))
    })
}

/// The state of this isolate for a request. Waits for the database only if the isolate is new, or has had no request for
/// as long as a change may take.
pub async fn of(context: &RequestContext<'_>) -> Result<Rc<Isolate>, Error> {
    let env = &context.env;
    let now_ms = clock::now_ms();
    let newest = |current: &mut Current| (Rc::clone(&current.isolate), current.freshness.age(now_ms));
    match with_current(env, newest)? {
        (isolate, Age::Fresh) => Ok(isolate),
        (isolate, Age::Ageing) => {
            let env = env.clone();
            task::after_response(&context.execution, async move {
                // If this fails, the known settings stay in use.
                let _ = refresh(&env).await;
            });
            Ok(isolate)
        }
        (isolate, Age::Stale) => {
            let is_new = isolate.settings.run_time.version.is_none();
            if is_new && isolate.settings.config.alerts.any() {
                // The alarm of the object continues by itself once it is set.
                let env = env.clone();
                task::after_response(&context.execution, async move { notifier::wake(&env).await });
            }
            Ok(refresh(env).await.unwrap_or(isolate))
        }
    }
}

/// Reads the run-time settings, and returns the newest snapshot.
pub async fn refresh(env: &Env) -> Result<Rc<Isolate>, Error> {
    let asked_ms = clock::now_ms();
    let known = with_current(env, |current| Rc::clone(&current.isolate.settings))?;
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
            let settings = current.isolate.settings.with(env, stored.version, stored.settings, keys);
            current.isolate =
                Rc::new(Isolate { settings: Rc::new(settings), ..Isolate::clone(&current.isolate) });
        }
        Ok(Rc::clone(&current.isolate))
    })?
}

/// Returns `true` if the run-time settings could not be read the last time.
pub fn settings_are_unread(env: &Env) -> bool {
    with_current(env, |current| current.freshness.has_failed()).unwrap_or(false)
}
