//! Synchronizes this isolate's local leases and the calls of its keys with the keys' accounts, in the `KeyLedger`
//! objects.
//!
//! Calls of keys with limits spend from the isolate's lease. The object is queried before a call is sent only if the
//! lease does not suffice. Ended calls are reported after their responses: at once, or, while another report is in
//! flight, together with those that end in the meantime. A lease is held only as long as some request of the isolate
//! lives that can return it, since the runtime may discard the isolate at any time after the last.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use gatehouse_core::config::Calls;
use gatehouse_core::error::{Code, Error};
use gatehouse_core::key::Caller;
use gatehouse_core::ledger::rejection::Rejection;
use gatehouse_core::ledger::{
    Charge, IDLE_MS, LeaseRequest, Limit, LocalLease, Need, RENEW_MS, ReportResponse, Reserved, Settled,
    Unreserved, headers,
};
use gatehouse_core::operation::OPERATIONS;
use worker::Env;
use worker::wasm_bindgen::{self, JsCast, JsValue, prelude::wasm_bindgen};
use worker::worker_sys::Context;

use crate::objects::ObjectError;
use crate::objects::key_ledger::{self, Holder};
use crate::platform::upstream::Heartbeat;
use crate::platform::{clock, log, random, task, upstream};
use crate::request_context::RequestContext;
use crate::store::counts::{self, Incidents};

/// The time after which another request takes over reporting, in milliseconds: after its response a request has half a
/// minute.
const HAND_OVER_MS: u64 = 10_000;
/// The longest time that one request keeps reporting, in milliseconds, if no other takes over.
const REPORTING_MS: u64 = 25_000;
/// The delay after a failed report, in milliseconds; it doubles with each failure.
const RETRY_MS: u32 = 500;
/// The longest time that a request lives on to return a lease, in milliseconds.
const MAX_LINGER_MS: u64 = 20_000;
/// The largest number of requests for a lease by one attempt: it requests again if the lease was returned before the
/// response came.
const MAX_REQUESTS: u32 = 3;
/// The number of keys from which on an isolate drops idle leases.
const MAX_IDLE: usize = 1_000;

thread_local! {
    /// The calls that were sent and whose records the ledgers do not have yet. After a failure of the Wasm, JavaScript
    /// reads it: these are the records that are lost.
    static UNRECORDED: Cell<u64> = const { Cell::new(0) };
    /// Incidents that are not in the database yet.
    static INCIDENTS: Cell<Incidents> = const { Cell::new(Incidents { capped_calls: 0, lost_records: 0 }) };
}

/// The number of calls whose records are lost if this instance of the Wasm fails now.
#[wasm_bindgen]
pub fn unrecorded() -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a number of calls")]
    UNRECORDED.with(|calls| calls.get() as f64)
}

/// Takes note of the calls whose records were lost with an earlier instance of the Wasm.
#[wasm_bindgen(js_name = recordsLost)]
pub fn records_lost(calls: f64) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of calls")]
    lost(calls as u64);
}

fn lost(calls: u64) {
    log::line(&log::Event::Ledger { error: "records of calls were lost", calls: Some(calls) });
    let known = INCIDENTS.get();
    INCIDENTS.set(Incidents { lost_records: known.lost_records + calls, ..known });
}

/// Counts a call whose provider reported more usage than can be right.
pub fn capped() {
    let known = INCIDENTS.get();
    INCIDENTS.set(Incidents { capped_calls: known.capped_calls + 1, ..known });
}

/// Counts a call that was sent, and will have a record.
pub fn will_record() {
    UNRECORDED.set(UNRECORDED.get() + 1);
}

fn recorded(calls: u64) {
    UNRECORDED.set(UNRECORDED.get().saturating_sub(calls));
}

/// The local leases of an isolate, by the name of the ledger.
#[derive(Default)]
pub struct Accounts {
    shares: RefCell<BTreeMap<String, Share>>,
    /// The configuration of the list of calls, which the ledgers fill.
    calls: Cell<Calls>,
}

struct Share {
    lease: LocalLease,
    /// The token of the request that reports, and the time since when, in milliseconds since 1970.
    reporting: Option<(u64, u64)>,
    /// The time until which a request lives on to return the lease, in milliseconds since 1970.
    lingering_ms: u64,
}

/// The name of a caller's ledger.
pub fn name_of(caller: &Caller) -> String {
    match &caller.key {
        Some(key) => of_key(&key.id),
        None => of_ring(&caller.label),
    }
}

/// The name of the ledger of an issued key.
pub fn of_key(id: &str) -> String {
    format!("key {id}")
}

/// The name of the ledger of a key of the ring.
pub fn of_ring(label: &str) -> String {
    format!("ring {label}")
}

/// The key of a ledger, as usage and calls name it: the id of an issued key, or `ring:` and the label of a key of the ring.
fn key_of(ledger: &str) -> String {
    match ledger.split_once(' ') {
        Some(("key", id)) => id.to_owned(),
        _ => ledger.replacen(' ', ":", 1),
    }
}

/// The error if the limits cannot be checked: a call is rejected rather than left unlimited.
fn limits_unavailable() -> Error {
    Error::new(Code::StorageUnavailable, "The key's limits cannot be checked; try again")
}

/// The interval at which reports to the account confirm a call in flight, in milliseconds.
#[expect(clippy::cast_possible_truncation, reason = "some seconds")]
pub const HEARTBEAT_MS: u32 = RENEW_MS as u32;

impl Accounts {
    /// Sets the configuration of the list of calls.
    pub fn list_calls(&self, calls: Calls) {
        self.calls.set(calls);
    }

    fn with<T>(&self, ledger: &str, step: impl FnOnce(&mut Share, u64) -> T) -> T {
        let mut accounts = self.shares.borrow_mut();
        if let Some(share) = accounts.get_mut(ledger) {
            return step(share, clock::now_ms());
        }
        if accounts.len() >= MAX_IDLE {
            accounts.retain(|_, share| !share.lease.is_idle());
        }
        // The name belongs to the lease, not to the isolate: a lease that is created again numbers its reports from 1
        // again.
        let lease = LocalLease::new(hex::encode(random::id_bytes::<8>()));
        let share = Share { lease, reporting: None, lingering_ms: 0 };
        step(accounts.entry(ledger.to_owned()).or_insert(share), clock::now_ms())
    }

    /// Reserves what an attempt needs. Waits for the object only if the lease of this isolate does not suffice.
    pub async fn reserve(
        self: &Rc<Self>,
        context: &RequestContext<'_>,
        ledger: &str,
        needs: &[Need],
    ) -> Result<Vec<Charge>, Unreserved> {
        if needs.is_empty() {
            return Ok(Vec::new());
        }
        let mut requests = 0;
        loop {
            let request = match self.with(ledger, |share, now_ms| share.lease.reserve(needs, now_ms)) {
                Reserved::Held(charges, refill) => {
                    if let Some(request) = refill {
                        let (accounts, env, ledger) =
                            (Rc::clone(self), context.env.clone(), ledger.to_owned());
                        task::after_response(&context.execution, async move {
                            // If the account has nothing left, the next call sends its own request.
                            let _ = accounts.request_lease(&env, &ledger, &request).await;
                        });
                    }
                    return Ok(charges);
                }
                Reserved::Refused(refusal) => return Err(Unreserved::Refused(refusal)),
                Reserved::Request(request) => request,
            };
            // Reports first what ended calls have not used: that may suffice.
            if self.has_unreported(ledger) {
                self.send_report(&context.env, ledger).await;
            }
            requests += 1;
            match self.request_lease(&context.env, ledger, &request).await {
                Ok(charges) => return Ok(charges),
                // The lease was returned in the meantime: nothing has been reserved.
                Err(None) if requests < MAX_REQUESTS => {}
                // A call has ended in the meantime: report it and try again.
                Err(Some(Unreserved::Refused(refusal)))
                    if requests == 1 && !refusal.is_spent() && self.has_unreported(ledger) => {}
                Err(error) => {
                    return Err(error.unwrap_or_else(|| Unreserved::Unavailable(limits_unavailable())));
                }
            }
        }
    }

    fn has_unreported(&self, ledger: &str) -> bool {
        self.with(ledger, |share, _| share.lease.has_unreported())
    }

    /// Requests a lease from the object and takes the response. The error is `None` if the lease was returned in the
    /// meantime.
    async fn request_lease(
        &self,
        env: &Env,
        ledger: &str,
        request: &LeaseRequest,
    ) -> Result<Vec<Charge>, Option<Unreserved>> {
        let response = key_ledger::request_lease(env, ledger, request).await;
        self.with(ledger, |share, now_ms| {
            let Ok(response) = response else {
                share.lease.request_failed(request);
                return Err(Some(Unreserved::Unavailable(limits_unavailable())));
            };
            share.lease.apply(request, response, now_ms).map_err(|refusal| refusal.map(Unreserved::Refused))
        })
    }

    /// The response headers with the limits of the key and what is left of them.
    pub fn headers(&self, ledger: &str, limits: &[Limit]) -> Vec<(&'static str, String)> {
        if limits.is_empty() {
            return Vec::new();
        }
        self.with(ledger, |share, now_ms| {
            headers::headers(limits, |counter| share.lease.left(counter, now_ms), now_ms)
        })
    }

    /// A heartbeat that reports to the account that a call is in flight.
    pub fn heartbeat(self: &Rc<Self>, context: &RequestContext<'_>, ledger: &str) -> Heartbeat {
        let execution: Context = JsValue::from(&context.execution).unchecked_into();
        let (env, accounts, ledger) = (context.env.clone(), Rc::clone(self), ledger.to_owned());
        Heartbeat::new(HEARTBEAT_MS, move || {
            let (env, accounts, ledger) = (env.clone(), Rc::clone(&accounts), ledger.clone());
            task::after_response(&execution, async move { accounts.report(&env, &ledger).await });
        })
    }

    /// Settles a call locally. [`Accounts::report`] must follow after the response.
    pub fn settle(&self, ledger: &str, settled: Settled) {
        self.with(ledger, |share, _| share.lease.settle(settled));
    }

    /// Counts a call that the gateway rejected before it called a provider, for the list of calls, and reports it after the
    /// response. Requests of other kinds are not counted.
    pub fn reject(self: &Rc<Self>, context: &RequestContext<'_>, ledger: &str, error: &Error) {
        let Some(operation) = OPERATIONS.iter().find(|operation| operation.path == context.path()) else {
            return;
        };
        let (name, random) = (operation.name(), random::id_bytes());
        let rejection = Rejection::new(&context.id, name, error, context.began_ms, random);
        let Some(rejection) = rejection.filter(|_| self.calls.get().keep > 0) else { return };
        self.with(ledger, |share, _| share.lease.reject(rejection));
        let reported = Rc::clone(self).report_and_release(context.env.clone(), ledger.to_owned());
        task::after_response(&context.execution, reported);
    }

    /// Reports until everything is on disk, and makes sure that the lease is returned.
    pub async fn report_and_release(self: Rc<Self>, env: Env, ledger: String) {
        self.report(&env, &ledger).await;
        self.linger(&env, &ledger).await;
    }

    /// Reports until nothing is left to report, unless another request is doing so.
    pub async fn report(self: &Rc<Self>, env: &Env, ledger: &str) {
        let token = random::chance();
        let began_ms = clock::now_ms();
        let claimed = self.with(ledger, |share, now_ms| {
            let is_free = share.reporting.is_none_or(|(_, since_ms)| since_ms + HAND_OVER_MS <= now_ms);
            if is_free {
                share.reporting = Some((token, now_ms));
            }
            is_free
        });
        if !claimed {
            return;
        }
        let mut failures = 0;
        loop {
            let wait_ms = self.with(ledger, |share, now_ms| share.lease.wait_ms(now_ms));
            // Waits even if the time is 0, so that the response leaves first.
            upstream::sleep(u32::try_from(wait_ms).unwrap_or(u32::MAX)).await;
            // Another request may have taken over in the meantime.
            if !self.is_reporting(ledger, token) {
                return;
            }
            let sent = self.send_report(env, ledger).await;
            // A report that failed is still to be sent; so is one that a call sends by itself, which may fail.
            let is_behind = self.with(ledger, |share, _| share.lease.is_behind());
            if !is_behind || clock::now_ms() > began_ms + REPORTING_MS {
                break;
            }
            failures = if sent == Some(false) { failures + 1 } else { 0 };
            if sent != Some(true) {
                upstream::sleep(RETRY_MS << failures.min(4)).await;
            }
        }
        self.with(ledger, |share, _| {
            if share.reporting.is_some_and(|(owner, _)| owner == token) {
                share.reporting = None;
            }
        });
        let incidents = INCIDENTS.take();
        if incidents != Incidents::default() && counts::add(env, incidents).await.is_err() {
            let more = INCIDENTS.get();
            INCIDENTS.set(Incidents {
                capped_calls: more.capped_calls + incidents.capped_calls,
                lost_records: more.lost_records + incidents.lost_records,
            });
        }
    }

    /// Sends the next report, if there is one and none of this key is in flight, and returns whether the object took
    /// it.
    async fn send_report(&self, env: &Env, ledger: &str) -> Option<bool> {
        let (sent, dropped) = self.with(ledger, |share, now_ms| {
            let sent = share.lease.report(now_ms).map(|report| {
                let holder = Holder { key: key_of(ledger), calls: self.calls.get() };
                (report.number, report.calls(), key_ledger::report(env, ledger, &holder, report))
            });
            (sent, share.lease.lost())
        });
        if dropped > 0 {
            recorded(dropped);
            lost(dropped);
        }
        let (number, calls, response) = sent?;
        match response.await {
            Ok(response) => {
                recorded(calls as u64);
                self.with(ledger, |share, _| share.lease.reported(response));
                Some(true)
            }
            // No ledger is bound: the report is dropped.
            Err(ObjectError::NotBound) => {
                recorded(calls as u64);
                let response = ReportResponse { number, pause_ms: HAND_OVER_MS };
                self.with(ledger, |share, _| share.lease.reported(response));
                Some(true)
            }
            Err(error) => {
                self.with(ledger, |share, _| share.lease.not_reported(number));
                let message = format!("a report failed: {error:?}");
                log::line(&log::Event::Ledger { error: &message, calls: u64::try_from(calls).ok() });
                Some(false)
            }
        }
    }

    fn is_reporting(&self, ledger: &str, token: u64) -> bool {
        self.with(ledger, |share, _| share.reporting.is_some_and(|(owner, _)| owner == token))
    }

    /// Waits until the lease is idle and returns it, unless another request does so.
    async fn linger(self: &Rc<Self>, env: &Env, ledger: &str) {
        #[expect(clippy::cast_possible_truncation, reason = "some seconds")]
        const IDLE: u32 = IDLE_MS as u32;
        let began_ms = clock::now_ms();
        let stays = self.with(ledger, |share, now_ms| {
            let stays = share.lease.has_spare() && share.lingering_ms <= now_ms;
            if stays {
                share.lingering_ms = now_ms + MAX_LINGER_MS + 2 * IDLE_MS;
            }
            stays
        });
        if !stays {
            return;
        }
        loop {
            upstream::sleep(IDLE).await;
            let is_over = self.with(ledger, |share, now_ms| {
                let late = now_ms >= began_ms + MAX_LINGER_MS;
                // Each call in flight has a request, which lingers in its turn.
                if late && share.lease.is_holding() {
                    share.lingering_ms = 0;
                    return true;
                }
                share.lease.tidy(if late { u64::MAX } else { now_ms });
                late || !share.lease.has_spare()
            });
            self.report(env, ledger).await;
            if is_over {
                self.with(ledger, |share, _| share.lingering_ms = 0);
                return;
            }
        }
    }
}
