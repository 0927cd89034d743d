//! The state of one isolate, which lasts from request to request.

pub mod accounts;
pub mod blocked;
pub mod health;

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use gatehouse_core::error::Error;
use gatehouse_core::key::KeyCache;
use gatehouse_core::report::cache::ReportCache;
use worker::Env;

use crate::platform::database::DatabaseState;
use crate::settings::{self, Settings};
use accounts::Accounts;
use blocked::Blocked;
use health::Health;

/// The state of one isolate.
pub struct Isolate {
    /// The settings of the deployment.
    pub settings: Rc<Settings>,
    /// Cached issued keys.
    pub keys: RefCell<KeyCache>,
    /// The shares of keys' limits that this isolate holds, and the calls that are yet to be reported to their ledgers.
    pub accounts: Rc<Accounts>,
    /// Clients with too many failed authentications.
    pub blocked: RefCell<Blocked>,
    /// The health of providers, models and keys.
    pub health: Rc<Health>,
    /// Recent reports about usage.
    pub analytics: RefCell<ReportCache>,
    /// The last state of the database, and the time of the check in milliseconds since 1970.
    pub database: Cell<Option<(u64, DatabaseState)>>,
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
            blocked: RefCell::default(),
            health: Rc::default(),
            analytics: RefCell::default(),
            database: Cell::default(),
        })
    };
    Ok(ISOLATE.with(|isolate| Rc::clone(isolate.get_or_init(new))))
}
