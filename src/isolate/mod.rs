//! The state of one isolate, which lasts from request to request.

pub mod accounts;
pub mod health;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use gatehouse_core::error::Error;
use gatehouse_core::key::KeyCache;
use gatehouse_core::onboarding::wrong_keys::WrongKeys;
use gatehouse_core::report::cache::ReportCache;
use worker::Env;

use crate::platform::database::DatabaseState;
use crate::settings::{self, Settings};
use accounts::Accounts;
use health::Health;

/// The state of one isolate.
pub struct Isolate {
    /// The settings of the deployment.
    pub settings: Rc<Settings>,
    /// Cached issued keys.
    pub keys: RefCell<KeyCache>,
    /// The shares of keys' limits that this isolate holds, and the calls that are yet to be reported to their ledgers.
    pub accounts: Rc<Accounts>,
    /// Wrong keys, by client.
    pub wrong_keys: RefCell<WrongKeys>,
    /// The public ids of all issued keys, as far as they were needed.
    pub public_ids: RefCell<PublicIds>,
    /// The health of providers, models and keys.
    pub health: Rc<Health>,
    /// Recent reports about usage.
    pub analytics: RefCell<ReportCache>,
    /// The last state of the database, and the time of the check in milliseconds since 1970.
    pub database: Cell<Option<(u64, DatabaseState)>>,
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
    static ISOLATE: OnceCell<Rc<Isolate>> = const { OnceCell::new() };
}

/// The state of this isolate, created by its first request. The error is that of the settings.
pub fn of(env: &Env) -> Result<Rc<Isolate>, Error> {
    let settings = settings::of_isolate(env)?;
    let new = || {
        Rc::new(Isolate {
            settings,
            keys: RefCell::default(),
            accounts: Rc::default(),
            wrong_keys: RefCell::default(),
            public_ids: RefCell::default(),
            health: Rc::default(),
            analytics: RefCell::default(),
            database: Cell::default(),
        })
    };
    Ok(ISOLATE.with(|isolate| Rc::clone(isolate.get_or_init(new))))
}
