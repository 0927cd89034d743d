//! The budgets of a key and the levels that operators have been notified of.
//!
//! The account learns the amounts of limits from requests for leases; they are kept in memory alone, as are the levels: the
//! database has the levels too, and a life of the object reads them once.

use gatehouse_core::alerts::{self, Kind, budget_level, is_budget};
use gatehouse_core::error::Error;
use gatehouse_core::ledger::{Account, LeaseRequest, LeaseResponse, Limit, State};
use worker::Env;

use crate::objects::notifier;
use crate::settings::Settings;
use crate::store;

/// The prefix of the ledgers of issued keys. Other keys have no limits.
const PREFIX: &str = "key ";

/// The budgets of one key.
#[derive(Default)]
pub struct Budgets {
    /// The id of the key; empty if it is not known yet.
    key_id: String,
    known: Vec<Budget>,
    /// The version of the run-time settings that decided about the levels.
    version: Option<u64>,
}

struct Budget {
    limit: Limit,
    /// The end of the window in which the account had too little left for a call, in milliseconds since 1970.
    spent_until_ms: u64,
    /// The level that operators know; `None` before it is read.
    told: Option<u32>,
}

/// A budget whose level operators do not know.
pub struct News {
    limit: Limit,
    state: State,
    level: u32,
    told: Option<u32>,
}

impl Budgets {
    /// Takes note of the limits in a request for a lease. Returns `true` if one of them is newly spent.
    pub fn note(&mut self, ledger: &str, request: &LeaseRequest, response: &LeaseResponse) -> bool {
        let Some(key_id) = ledger.strip_prefix(PREFIX) else { return false };
        if self.key_id.is_empty() {
            key_id.clone_into(&mut self.key_id);
        }
        for need in &request.needs {
            if let Some(budget) = self.find(&need.counter) {
                budget.limit.amount = need.limit;
            } else {
                let limit = Limit::of_counter(&need.counter, need.limit).filter(is_budget);
                self.known.extend(limit.map(|limit| Budget { limit, spent_until_ms: 0, told: None }));
            }
        }
        let LeaseResponse::Refused(refusal) = response else { return false };
        let Some(budget) = self.find(&refusal.counter).filter(|_| refusal.is_spent()) else { return false };
        let until_ms = refusal.ends_ms.unwrap_or(u64::MAX);
        std::mem::replace(&mut budget.spent_until_ms, until_ms) != until_ms
    }

    fn find(&mut self, counter: &str) -> Option<&mut Budget> {
        self.known.iter_mut().find(|budget| budget.limit.counter() == counter)
    }

    /// Returns `true` if the key has no budgets that are known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Decides by settings of a version from now on. The levels that operators know are read again after a change: an alert
    /// that was turned off has ended in the meantime.
    pub fn use_settings(&mut self, version: Option<u64>) {
        if self.version != version {
            self.version = version;
            self.known.iter_mut().for_each(|budget| budget.told = None);
        }
    }

    /// The budgets whose level is not the one that operators know. `shares` are those of the configuration.
    pub fn news(&self, account: &mut Account, shares: &[u32], now_ms: u64) -> Vec<News> {
        let news = |budget: &Budget| {
            let state = account.state(&budget.limit, now_ms);
            // A limit that was raised since is not spent any more.
            let is_spent = budget.spent_until_ms > now_ms && state.used * 2 > budget.limit.amount;
            let level = budget_level(shares, &budget.limit, state.used, is_spent);
            (budget.told != Some(level)).then(|| News {
                limit: budget.limit.clone(),
                state,
                level,
                told: budget.told,
            })
        };
        self.known.iter().filter_map(news).collect()
    }

    /// The id of the key.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Takes note of what operators know now.
    pub fn told(&mut self, counter: &str, level: u32) {
        if let Some(budget) = self.find(counter) {
            budget.told = Some(level);
        }
    }
}

impl News {
    /// The counter of the budget.
    pub fn counter(&self) -> String {
        self.limit.counter().into_owned()
    }

    /// Notifies operators, unless the database shows that they know. Returns the level that they know now.
    pub async fn tell(&self, env: &Env, settings: &Settings, key_id: &str) -> Result<u32, Error> {
        let News { limit, state, level, told } = self;
        let Some((name, known)) = store::alerts::budget_level(env, key_id, &limit.counter()).await? else {
            return Ok(*level);
        };
        if known == *level || (*level == 0 && told.unwrap_or(known) == 0) {
            return Ok(*level);
        }
        let channels = settings.channels(env);
        notifier::prepare(env, &channels).await?;
        if *level > 0 {
            store::alerts::raise(env, &alerts::budget(&name, limit, state, *level), &channels).await?;
        } else {
            let subject = alerts::budget_subject(&name, &limit.counter());
            store::alerts::resolve(env, Kind::Budget, &subject, &channels).await?;
        }
        notifier::wake(env).await;
        Ok(*level)
    }
}
