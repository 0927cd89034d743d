//! Keeping what this isolate holds and has seen of each key together with the key's ledger, the `KeyLedger` object.
//!
//! Calls of keys with limits spend from a lease that the isolate holds; only where that is not enough is the object asked before
//! the call is sent. What has become of calls is reported behind their answers: at once, or, while another report is under
//! way, together with what comes in the meantime. A lease is held only while some request of the isolate is there to give it
//! back: the isolate may be thrown away at any time after the last.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use gatehouse_core::error::{Code, Error};
use gatehouse_core::json_text;
use gatehouse_core::key::Caller;
use gatehouse_core::ledger::{
    Ask, Charge, IDLE_MS, Limit, LocalLease, Need, RENEW_MS, Reserved, Settled, Standing, headers,
};
use worker::Env;
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::worker_sys::Context;

use crate::objects::{ObjectError, key_ledger};
use crate::platform::upstream::Heartbeat;
use crate::platform::{clock, log, random, task, upstream};
use crate::request_context::RequestContext;

/// After how long another request takes over reporting, in milliseconds: behind its answer, a request has half a minute.
const HAND_OVER_MS: u64 = 10_000;
/// How long one goes on reporting, in milliseconds, if no other takes over.
const REPORTING_MS: u64 = 25_000;
/// The wait after a report that failed, in milliseconds; it doubles with each.
const RETRY_MS: u32 = 500;
/// How long a request stays to give a lease back, in milliseconds.
const LINGER_MS: u64 = 20_000;
/// How often an attempt asks the object: again where the lease was given back before the answer came.
const MAX_ASKS: u32 = 3;
/// How many keys' purses an isolate keeps, of those with nothing in them.
const MAX_IDLE: usize = 1_000;

/// The purses of an isolate, by the name of the ledger.
#[derive(Default)]
pub struct Accounts(RefCell<BTreeMap<String, Share>>);

struct Share {
    lease: LocalLease,
    /// Which request reports, and since when, in milliseconds since 1970.
    reporting: Option<(u64, u64)>,
    /// Until when a request stays to give the lease back, in milliseconds since 1970.
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

/// A limit that cannot be kept lets nobody through.
fn cannot_check() -> Error {
    Error::new(Code::StorageUnavailable, "The key's limits cannot be checked; try again")
}

/// How often the book hears of a call that is under way, in milliseconds.
#[expect(clippy::cast_possible_truncation, reason = "some seconds")]
pub const HEARTBEAT_MS: u32 = RENEW_MS as u32;

impl Accounts {
    fn with<T>(&self, ledger: &str, step: impl FnOnce(&mut Share, u64) -> T) -> T {
        let mut accounts = self.0.borrow_mut();
        if let Some(share) = accounts.get_mut(ledger) {
            return step(share, clock::now_ms());
        }
        if accounts.len() >= MAX_IDLE {
            accounts.retain(|_, share| !share.lease.is_idle());
        }
        // A name for each purse, not for the isolate: a purse that is made anew numbers its reports from 1 again.
        let lease = LocalLease::new(hex::encode(random::id_bytes::<8>()));
        let share = Share { lease, reporting: None, lingering_ms: 0 };
        step(accounts.entry(ledger.to_owned()).or_insert(share), clock::now_ms())
    }

    /// Sets aside what an attempt needs. Waits for the object only where the lease of this isolate is not enough.
    pub async fn set_aside(
        self: &Rc<Self>,
        context: &RequestContext<'_>,
        ledger: &str,
        needs: &[Need],
    ) -> Result<Vec<Charge>, Error> {
        if needs.is_empty() {
            return Ok(Vec::new());
        }
        let mut asks = 0;
        loop {
            let ask = match self.with(ledger, |share, now_ms| share.lease.reserve(needs, now_ms)) {
                Reserved::Held(charges, refill) => {
                    if let Some(ask) = refill {
                        let (accounts, env, ledger) =
                            (Rc::clone(self), context.env.clone(), ledger.to_owned());
                        task::after_response(&context.execution, async move {
                            // If there is nothing for it, the next call asks for itself.
                            let _ = accounts.ask_object(&env, &ledger, &ask).await;
                        });
                    }
                    return Ok(charges);
                }
                Reserved::Refused(refusal) => return Err(headers::refused(&refusal, clock::now_ms())),
                Reserved::Ask(ask) => ask,
            };
            // What ended calls have not used is told first: there may be enough of that.
            if self.has_news(ledger) {
                self.send_report(&context.env, ledger).await;
            }
            asks += 1;
            match self.ask_object(&context.env, ledger, &ask).await {
                Ok(charges) => return Ok(charges),
                // The lease was given back in the meantime: nothing has been set aside.
                Err(None) if asks < MAX_ASKS => {}
                // A call has ended in the meantime: again, with that.
                Err(Some(error))
                    if asks == 1 && error.is(Code::RateLimitExceeded) && self.has_news(ledger) => {}
                Err(error) => return Err(error.unwrap_or_else(cannot_check)),
            }
        }
    }

    fn has_news(&self, ledger: &str) -> bool {
        self.with(ledger, |share, _| share.lease.has_news())
    }

    /// Asks the object, and takes its answer. The error is `None` if the lease was given back in the meantime.
    async fn ask_object(&self, env: &Env, ledger: &str, ask: &Ask) -> Result<Vec<Charge>, Option<Error>> {
        let answer = key_ledger::ask_for(env, ledger, ask).await;
        self.with(ledger, |share, now_ms| {
            let Ok(answer) = answer else {
                share.lease.not_answered(ask);
                return Err(Some(cannot_check()));
            };
            let refused = |refusal: Option<_>| refusal.map(|refusal| headers::refused(&refusal, now_ms));
            share.lease.answered(ask, answer, now_ms).map_err(refused)
        })
    }

    /// The headers that tell a caller how its limits stand.
    pub fn headers(&self, ledger: &str, limits: &[Limit]) -> Vec<(&'static str, String)> {
        if limits.is_empty() {
            return Vec::new();
        }
        self.with(ledger, |share, now_ms| {
            headers::headers(limits, |counter| share.lease.left(counter, now_ms), now_ms)
        })
    }

    /// Lets the book know that a call is under way.
    pub fn heartbeat(self: &Rc<Self>, context: &RequestContext<'_>, ledger: &str) -> Heartbeat {
        let execution: Context = JsValue::from(&context.execution).unchecked_into();
        let (env, accounts, ledger) = (context.env.clone(), Rc::clone(self), ledger.to_owned());
        Heartbeat::new(HEARTBEAT_MS, move || {
            let (env, accounts, ledger) = (env.clone(), Rc::clone(&accounts), ledger.clone());
            task::after_response(&execution, async move { accounts.report(&env, &ledger).await });
        })
    }

    /// Notes what has become of a call. It is to be followed by [`Accounts::report`] behind the answer.
    pub fn settle(&self, ledger: &str, settled: Settled) {
        self.with(ledger, |share, _| share.lease.settle(settled));
    }

    /// Reports what there is to report, and stays until all of it is on disk; then sees to it that the lease is given back.
    pub async fn settle_up(self: Rc<Self>, env: Env, ledger: String) {
        self.report(&env, &ledger).await;
        self.linger(&env, &ledger).await;
    }

    /// Reports what there is to report, until nothing is left, unless another request is doing so.
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
            // However short, so that the answer leaves first.
            upstream::sleep(u32::try_from(wait_ms).unwrap_or(u32::MAX)).await;
            // Another may have taken over in the meantime.
            if !self.is_reporting(ledger, token) {
                return;
            }
            let sent = self.send_report(env, ledger).await;
            // What was not taken is news as before; so is what a call is sending by itself, which may not be taken.
            if !self.has_news(ledger) || clock::now_ms() > began_ms + REPORTING_MS {
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
    }

    /// Sends the report that is to be sent now, if there is one, and says whether it was taken. Of a key there is one report at a
    /// time: none while another request's is on its way.
    async fn send_report(&self, env: &Env, ledger: &str) -> Option<bool> {
        let (sent, lost) = self.with(ledger, |share, now_ms| {
            let sent = share
                .lease
                .report(now_ms)
                .map(|report| (report.number, report.calls(), key_ledger::report(env, ledger, report)));
            (sent, share.lease.lost())
        });
        if lost > 0 {
            log::line(
                json_text!({"event": "ledger", "error": "records of calls were given up", "calls": lost}),
            );
        }
        let (number, calls, answer) = sent?;
        match answer.await {
            Ok(standing) => {
                self.with(ledger, |share, _| share.lease.reported(standing));
                Some(true)
            }
            // Nobody keeps a ledger here.
            Err(ObjectError::NotBound) => {
                let standing = Standing { number, pause_ms: HAND_OVER_MS };
                self.with(ledger, |share, _| share.lease.reported(standing));
                Some(true)
            }
            Err(error) => {
                self.with(ledger, |share, _| share.lease.not_reported(number));
                let words = format!("a report was not taken: {error:?}");
                log::line(json_text!({"event": "ledger", "error": words, "calls": calls}));
                Some(false)
            }
        }
    }

    fn is_reporting(&self, ledger: &str, token: u64) -> bool {
        self.with(ledger, |share, _| share.reporting.is_some_and(|(owner, _)| owner == token))
    }

    /// Stays until the lease is idle, and gives it back; unless another request does so.
    async fn linger(self: &Rc<Self>, env: &Env, ledger: &str) {
        #[expect(clippy::cast_possible_truncation, reason = "some seconds")]
        const IDLE: u32 = IDLE_MS as u32;
        let began_ms = clock::now_ms();
        let stays = self.with(ledger, |share, now_ms| {
            let stays = share.lease.has_spare() && share.lingering_ms <= now_ms;
            if stays {
                share.lingering_ms = now_ms + LINGER_MS + 2 * IDLE_MS;
            }
            stays
        });
        if !stays {
            return;
        }
        loop {
            upstream::sleep(IDLE).await;
            let is_over = self.with(ledger, |share, now_ms| {
                let late = now_ms >= began_ms + LINGER_MS;
                // Calls that are under way have a request each, which stays in its turn.
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
