//! The hold of a call on its key's limits while a large body arrives.
//!
//! Requests and places of concurrent calls do not depend on the body. If a key has none left, a large body is not read:
//! it would only take memory. Small bodies arrive with the head, and their calls reserve everything at once.

use std::borrow::Cow;
use std::rc::Rc;

use gatehouse_core::error::Error;
use gatehouse_core::key::Caller;
use gatehouse_core::ledger::{Charge, Kind, Limit, Need, Settled};
use worker::Env;
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::worker_sys::Context;

use crate::isolate::Isolate;
use crate::isolate::accounts::{self, Accounts};
use crate::platform::request::SMALL;
use crate::platform::upstream::Heartbeat;
use crate::platform::{clock, task};
use crate::request_context::RequestContext;

/// The early part of a reservation; `None` for a small body. What no attempt takes is returned when this is dropped.
pub struct Early(Option<Box<Held>>);

struct Held {
    execution: Context,
    env: Env,
    accounts: Rc<Accounts>,
    ledger: String,
    limits: Vec<Limit>,
    charges: Vec<Charge>,
    heartbeat: Option<Heartbeat>,
}

impl Early {
    /// Reserves what a call needs whatever its body is, if the body may be large; fails if nothing is left of it.
    pub async fn reserve(
        context: &RequestContext<'_>,
        isolate: &Isolate,
        caller: &Caller,
    ) -> Result<Early, Error> {
        let is_small = context.declared_size().is_some_and(|size| size <= SMALL.into());
        let Some(key) = caller.key.as_ref().filter(|_| !is_small) else { return Ok(Early(None)) };
        let limits = Limit::of_key(key, &isolate.settings.config)?;
        let needs: Vec<Need> = limits.iter().filter_map(need).collect();
        if needs.is_empty() {
            return Ok(Early(None));
        }
        let (accounts, ledger) = (Rc::clone(&isolate.accounts), accounts::name_of(caller));
        let held = accounts.reserve(context, &ledger, &needs).await;
        let charges = held.map_err(|unreserved| unreserved.into_error(clock::now_ms()))?;
        let heartbeat = Some(accounts.heartbeat(context, &ledger));
        let execution: Context = JsValue::from(&context.execution).unchecked_into();
        let env = context.env.clone();
        Ok(Early(Some(Box::new(Held { execution, env, accounts, ledger, limits, charges, heartbeat }))))
    }

    /// Reports that the call is in flight, if anything is held.
    pub fn heartbeat(&self) -> Option<&Heartbeat> {
        self.0.as_ref()?.heartbeat.as_ref()
    }

    /// The same, for the attempts of the call.
    pub fn take_heartbeat(&mut self) -> Option<Heartbeat> {
        self.0.as_mut()?.heartbeat.take()
    }

    /// Returns everything if the limits of the call are others by now.
    pub fn check_limits(&mut self, limits: &[Limit]) {
        self.0.take_if(|held| held.limits != limits);
    }

    /// Takes the charges for these needs, and the needs that remain.
    pub fn take<'n>(&mut self, needs: &'n [Need]) -> (Vec<Charge>, Cow<'n, [Need]>) {
        let Some(held) = &mut self.0 else { return (Vec::new(), Cow::Borrowed(needs)) };
        let is_needed = |charge: &Charge| needs.iter().any(|need| need.counter == charge.counter);
        let (taken, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut held.charges).into_iter().partition(is_needed);
        held.charges = kept;
        let is_open = |need: &&Need| !taken.iter().any(|charge| charge.counter == need.counter);
        let rest = needs.iter().filter(is_open).cloned().collect();
        (taken, rest)
    }

    /// Takes charges back that no attempt uses.
    pub fn put_back(&mut self, charges: Vec<Charge>) {
        if let Some(held) = &mut self.0 {
            held.charges.extend(charges);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.heartbeat = None;
        let charges = std::mem::take(&mut self.charges);
        if charges.is_empty() {
            return;
        }
        self.accounts.settle(&self.ledger, Settled { receipt: None, rows: Vec::new(), charges });
        let reported = Rc::clone(&self.accounts).report_and_release(self.env.clone(), self.ledger.clone());
        task::after_response(&self.execution, reported);
    }
}

/// The need of a limit that counts a call whatever its body is.
fn need(limit: &Limit) -> Option<Need> {
    let counts_calls = matches!(limit.kind, Kind::Requests | Kind::Concurrent);
    (counts_calls && limit.models.is_none()).then(|| Need {
        counter: limit.counter(),
        limit: limit.amount,
        least: 1,
        most: 1,
    })
}
