//! The state of one isolate, which lasts from request to request.
//!
//! [`Isolate`] is a snapshot of it: the parts that change are shared by all snapshots, the settings are those of one moment.
//! A call uses one snapshot from its beginning to its end. When the run-time settings have changed, the next request gets
//! another snapshot. They are never read before a call of an isolate that is in use: see [`crate::snapshot`].

pub mod accounts;
pub mod health;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use gatehouse_core::alerts;
use gatehouse_core::error::Error;
use gatehouse_core::key::KeyCache;
use gatehouse_core::key::access_token::PublicKeys;
use gatehouse_core::onboarding::wrong_keys::WrongKeys;
use gatehouse_core::report::cache::ReportCache;
use gatehouse_core::run_time::Age;
use worker::Env;

use crate::objects::notifier;
use crate::platform::database::DatabaseState;
use crate::platform::task;
use crate::request_context::RequestContext;
use crate::settings::Settings;
use crate::snapshot;
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

thread_local! {
    static CURRENT: RefCell<Option<Rc<Isolate>>> = const { RefCell::new(None) };
}

/// The state of this isolate with a snapshot of the settings. The first request creates it.
fn with(settings: Rc<Settings>) -> Rc<Isolate> {
    CURRENT.with_borrow_mut(|current| {
        let isolate = match current.take() {
            Some(isolate) if Rc::ptr_eq(&isolate.settings, &settings) => isolate,
            Some(isolate) => Rc::new(Isolate { settings, ..Isolate::clone(&isolate) }),
            None => {
                let accounts = Rc::<Accounts>::default();
                accounts.list_calls(settings.config.calls);
                Rc::new(Isolate {
                    settings,
                    keys: Rc::default(),
                    accounts,
                    wrong_keys: Rc::default(),
                    public_ids: Rc::default(),
                    access_keys: Rc::default(),
                    health: Rc::default(),
                    analytics: Rc::default(),
                    database: Rc::default(),
                })
            }
        };
        Rc::clone(current.insert(isolate))
    })
}

/// The state of this isolate for a request. Waits for the database only if the isolate is new, or has had no request for
/// as long as a change may take.
pub async fn of(context: &RequestContext<'_>) -> Result<Rc<Isolate>, Error> {
    let env = &context.env;
    let is_new = CURRENT.with_borrow(Option::is_none);
    let settings = match snapshot::known(env)? {
        (settings, Age::Fresh) => settings,
        (settings, Age::Ageing) => {
            let env = env.clone();
            task::after_response(&context.execution, async move {
                // If this fails, the known settings stay in use.
                let _ = snapshot::refresh(&env).await;
            });
            settings
        }
        (settings, Age::Stale) => snapshot::refresh(env).await.unwrap_or(settings),
    };
    if is_new && alerts::any_is_on(&settings.config.alerts) {
        // The alarm of the object continues by itself once it is set.
        let env = env.clone();
        task::after_response(&context.execution, async move { notifier::wake(&env).await });
    }
    Ok(with(settings))
}

/// Reads the run-time settings, and returns the state of this isolate with them.
pub async fn refresh(env: &Env) -> Result<Rc<Isolate>, Error> {
    snapshot::refresh(env).await.map(with)
}
