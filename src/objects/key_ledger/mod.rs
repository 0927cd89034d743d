//! `KeyLedger`: one object for each key, which keeps the account of the key (`gatehouse_core::ledger`): its limits, its
//! receipts, and its sums, which it rolls up to the database.
//!
//! The account is in memory and in the object's SQLite. The object applies a message and writes the changes without
//! waiting in between; the runtime holds the response back until they are on disk. So an acknowledged message survives
//! every failure, and a message that is not acknowledged is sent again.

mod budgets;
mod storage;
mod telemetry;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use gatehouse_core::json;
use gatehouse_core::ledger::{
    Account, Changes, KeptResponse, LeaseRequest, LeaseResponse, Limit, Report, ReportResponse,
};
use gatehouse_core::report::usage::KeyUsage;
use gatehouse_core::time::HOUR_MS;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use worker::wasm_bindgen::{self, JsValue};
use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::{ObjectError, send_within};
use crate::platform::database::Failure;
use crate::platform::{clock, log};
use crate::settings;
use crate::snapshot;
use crate::store;
use crate::store::calls::Page;
use crate::store::usage::Batch;
use budgets::Budgets;
pub use storage::Holder;
use storage::{Retry, RollUp};

/// The time for which a call waits for a lease, in milliseconds.
const CALL_PATIENCE_MS: u32 = 5_000;
/// The time limit of a report or query, in milliseconds.
const PATIENCE_MS: u32 = 10_000;
/// The wait before a failed roll-up is retried, in milliseconds; it doubles up to the maximum.
const RETRY_MS: u64 = 5_000;
const MAX_RETRY_MS: u64 = 60_000;
/// The lateness from which on an alarm counts as not set, in milliseconds.
const LATE_MS: u64 = 60_000;
/// The wait from the rejection of a call by a budget to its alert, and from a failed alert to the next try, in milliseconds.
const SPENT_MS: u64 = 1_000;
const TELL_AGAIN_MS: u64 = 30_000;
/// The wait if the database has no tables yet, or there is none.
const NO_TABLES_MS: u64 = 300_000;

/// A message to the object.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Message<'a> {
    /// A request for a lease.
    Ask(Cow<'a, LeaseRequest>),
    /// A report of finished calls of a key. An object of an earlier version rejects the message, and the isolate repeats it.
    ReportOf(Cow<'a, Holder>, Cow<'a, Report>),
    /// A report from an isolate of an earlier version.
    Report(Cow<'a, Report>),
    /// The report of `GET /usage`.
    Usage {
        /// The name of the key.
        key: Cow<'a, str>,
        /// The first and the last day, as days since 1970.
        days: [u32; 2],
        /// Its limits: counters and amounts.
        limits: Vec<(String, u64)>,
    },
    /// A number of receipts, newest first, from before a sequence number.
    Receipts(u64, u32),
    /// The receipt with an id.
    Receipt(String),
    /// The lane that made a response, to remember.
    KeepResponse(Cow<'a, KeptResponse>),
    /// The lane that made the response with an id.
    KeptResponse(Cow<'a, str>),
    /// The id of a response that its provider has deleted.
    ForgetResponse(Cow<'a, str>),
}

/// Requests a lease for an attempt.
pub async fn request_lease(
    env: &Env,
    ledger: &str,
    request: &LeaseRequest,
) -> Result<LeaseResponse, ObjectError> {
    exchange(CALL_PATIENCE_MS, env, ledger, &Message::Ask(Cow::Borrowed(request)), ledger).await
}

/// Sends a report; the response means that it is on disk. The report is sent at once, not only when the response is
/// awaited.
pub fn report(
    env: &Env,
    ledger: &str,
    holder: &Holder,
    report: &Report,
) -> impl Future<Output = Result<ReportResponse, ObjectError>> + use<> {
    let message = Message::ReportOf(Cow::Borrowed(holder), Cow::Borrowed(report));
    exchange(PATIENCE_MS, env, ledger, &message, &report.receipts)
}

/// The report of `GET /usage` ([`KeyUsage`]) as JSON text, for a range of days, both ends included.
pub async fn usage(
    env: &Env,
    ledger: &str,
    key: &str,
    days: [u32; 2],
    limits: &[Limit],
) -> Result<String, ObjectError> {
    let limits = limits.iter().map(|limit| (limit.counter().into_owned(), limit.amount)).collect();
    let message = Message::Usage { key: Cow::Borrowed(key), days, limits };
    send(PATIENCE_MS, env, ledger, &message, "").await
}

/// Texts of receipts, newest first, with numbers below `before`.
pub async fn receipts(env: &Env, ledger: &str, before: u64, limit: u32) -> Result<Vec<String>, ObjectError> {
    exchange(PATIENCE_MS, env, ledger, &Message::Receipts(before, limit), "").await
}

/// The text of a receipt, found by its id or by that of its request.
pub async fn receipt(env: &Env, ledger: &str, id: &str) -> Result<Option<String>, ObjectError> {
    exchange(PATIENCE_MS, env, ledger, &Message::Receipt(id.to_owned()), "").await
}

/// Remembers the lane that made a response. The message is sent at once, not only when the future is awaited.
pub fn keep_response(
    env: &Env,
    ledger: &str,
    kept: &KeptResponse,
) -> impl Future<Output = Result<(), ObjectError>> + use<> {
    exchange(PATIENCE_MS, env, ledger, &Message::KeepResponse(Cow::Borrowed(kept)), "")
}

/// The lane that made a response; `None` if the key has made none with this id that is remembered.
pub async fn kept_response(env: &Env, ledger: &str, id: &str) -> Result<Option<KeptResponse>, ObjectError> {
    exchange(CALL_PATIENCE_MS, env, ledger, &Message::KeptResponse(Cow::Borrowed(id)), "").await
}

/// Forgets a response.
pub async fn forget_response(env: &Env, ledger: &str, id: &str) -> Result<(), ObjectError> {
    exchange(PATIENCE_MS, env, ledger, &Message::ForgetResponse(Cow::Borrowed(id)), "").await
}

/// Sends a message, and reads the response.
fn exchange<T: DeserializeOwned>(
    patience_ms: u32,
    env: &Env,
    ledger: &str,
    message: &Message<'_>,
    rest: &str,
) -> impl Future<Output = Result<T, ObjectError>> + use<T> {
    let response = send(patience_ms, env, ledger, message, rest);
    async move { json::read(&response.await?).map_err(|error| ObjectError::Failed(error.to_string())) }
}

/// Sends a message, which is a line of JSON, and after it a report's receipts, or the name of the ledger with a request for a
/// lease. The response is JSON text.
fn send(
    patience_ms: u32,
    env: &Env,
    ledger: &str,
    message: &Message<'_>,
    rest: &str,
) -> impl Future<Output = Result<String, ObjectError>> + use<> {
    let message = json::to_text(message);
    send_within(patience_ms, env, "KEY_LEDGER", ledger, &format!("{message}\n{rest}"))
}

/// The object.
#[durable_object(alarm)]
pub struct KeyLedger {
    state: JsValue,
    id: String,
    env: Env,
    /// Read from storage by the first message.
    account: RefCell<Option<Account>>,
    /// Read together with the account.
    holder: RefCell<Holder>,
    /// The time of the alarm, in milliseconds since 1970, if it is known.
    alarm_ms: Cell<Option<u64>>,
    budgets: RefCell<Budgets>,
}

impl DurableObject for KeyLedger {
    fn new(state: State, env: Env) -> Self {
        KeyLedger {
            id: state.id().to_string(),
            state: state._inner().into(),
            env,
            account: RefCell::new(None),
            holder: RefCell::default(),
            alarm_ms: Cell::new(None),
            budgets: RefCell::default(),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let text = request.text().await?;
        let (message, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let mut message: Message<'_> = json::read(message)?;
        if let Message::ReportOf(_, report) | Message::Report(report) = &mut message {
            rest.clone_into(&mut report.to_mut().receipts);
        }
        // From here on the object does not wait, so no other message is handled in between.
        match self.answer(&message, rest) {
            Ok(answer) => Response::ok(answer),
            Err(message) => {
                // The state in memory may differ from the state on disk.
                self.account.replace(None);
                log::line(&log::Event::Ledger { error: &message, calls: None });
                Response::error(message, 500)
            }
        }
    }

    async fn alarm(&self) -> worker::Result<Response> {
        self.alarm_ms.set(None);
        let folded = self.with_book(|account, now_ms| {
            let changes = Changes { leases: account.expire(now_ms), ..Changes::default() };
            storage::store(&self.state, &changes)?;
            if account.is_fold_due(now_ms) { storage::fold(&self.state, account, now_ms) } else { Ok(()) }
        });
        if let Err(message) = folded {
            self.account.replace(None);
            log::line(&log::Event::Ledger { error: &message, calls: None });
        }
        let told_again_ms = self.tell_budgets().await;
        let rolled_again_ms = self.roll_up().await;
        self.list_rejections().await;
        let exported_again_ms = self.export().await;
        let again_ms = [told_again_ms, rolled_again_ms, exported_again_ms].into_iter().flatten().min();
        let due_ms = self.account.borrow().as_ref().and_then(Account::due_ms);
        if let Some(at_ms) = again_ms.into_iter().chain(due_ms).min() {
            self.wake_at(at_ms);
        }
        Response::ok("")
    }
}

impl KeyLedger {
    fn with_book<T>(&self, step: impl FnOnce(&mut Account, u64) -> Result<T, String>) -> Result<T, String> {
        let now_ms = clock::now_ms();
        let mut account = self.account.borrow_mut();
        let account = match &mut *account {
            Some(account) => account,
            empty => {
                let (account, holder) = storage::load(&self.state, now_ms)?;
                self.holder.replace(holder);
                empty.insert(account)
            }
        };
        step(account, now_ms)
    }

    fn answer(&self, message: &Message<'_>, rest: &str) -> Result<String, String> {
        let answer = self.with_book(|account, now_ms| match message {
            Message::Ask(request) => {
                let (answer, changes) = account.request_lease(request, now_ms);
                storage::store(&self.state, &changes)?;
                if self.budgets.borrow_mut().note(rest, request, &answer) {
                    self.wake_at(now_ms + SPENT_MS);
                }
                Ok(json::to_text(&answer))
            }
            Message::ReportOf(holder, report) => {
                if *self.holder.borrow() != **holder {
                    storage::store_holder(&self.state, holder)?;
                    self.holder.replace(Holder::clone(holder));
                }
                let (standing, changes) = account.report(report, now_ms);
                storage::store(&self.state, &changes)?;
                Ok(json::to_text(&standing))
            }
            Message::Report(report) => {
                let (standing, changes) = account.report(report, now_ms);
                storage::store(&self.state, &changes)?;
                Ok(json::to_text(&standing))
            }
            Message::Usage { key, days, limits } => {
                let usage = storage::usage(&self.state, *days, account)?;
                Ok(json::to_text(&KeyUsage::of(key, &usage, account, limits, now_ms)))
            }
            Message::Receipts(before, limit) => {
                let texts = storage::receipts(&self.state, *before, *limit)?;
                Ok(json::to_text(&texts))
            }
            Message::Receipt(id) => Ok(json::to_text(&storage::receipt(&self.state, id)?)),
            Message::KeepResponse(kept) => {
                storage::keep_response(&self.state, kept, now_ms)?;
                Ok(json::to_text(&()))
            }
            Message::KeptResponse(id) => Ok(json::to_text(&storage::kept_response(&self.state, id, now_ms)?)),
            Message::ForgetResponse(id) => {
                storage::forget_response(&self.state, id)?;
                Ok(json::to_text(&()))
            }
        })?;
        let due_ms = self.account.borrow().as_ref().and_then(Account::due_ms);
        if let Some(due_ms) = due_ms {
            self.wake_at(due_ms);
        }
        Ok(answer)
    }

    /// Notifies operators of budgets whose level has changed. Returns the time of the next try if it failed.
    async fn tell_budgets(&self) -> Option<u64> {
        if self.budgets.borrow().is_empty() {
            return None;
        }
        let settings = snapshot::for_background(&self.env).await.ok()?;
        let shares = &settings.config.alerts.budget_percent;
        if shares.is_empty() {
            return None;
        }
        self.budgets.borrow_mut().use_settings(settings.run_time.version);
        let news = self.with_book(|account, now_ms| Ok(self.budgets.borrow().news(account, shares, now_ms)));
        let key_id = self.budgets.borrow().key_id().to_owned();
        for one in news.unwrap_or_default() {
            match one.tell(&self.env, &settings, &key_id).await {
                Ok(level) => self.budgets.borrow_mut().told(&one.counter(), level),
                Err(_) => return Some(clock::now_ms() + TELL_AGAIN_MS),
            }
        }
        None
    }

    /// Exports new receipts as spans. Returns the time of the next try if some are left.
    async fn export(&self) -> Option<u64> {
        let settings = settings::of_isolate(&self.env).ok()?;
        settings.config.telemetry.otlp_url.as_ref()?;
        let count = self.with_book(|account, _| Ok(account.chain().count)).ok()?;
        let key_id = self.budgets.borrow().key_id().to_owned();
        telemetry::export(&self.state, &self.env, &settings, &key_id, count).await
    }

    /// Lists rejected calls, if it is time. The account knows when it is time again.
    async fn list_rejections(&self) {
        let batch = self.with_book(|account, now_ms| {
            let Some((batch, changes)) = account.list_rejections(now_ms) else { return Ok(None) };
            storage::store(&self.state, &changes).map(|()| Some(batch))
        });
        let Ok(Some(batch)) = batch else { return };
        let key = self.holder.borrow().key.clone();
        let is_done = store::calls::add_rejected(&self.env, &key, &batch).await.is_ok();
        let noted = self.with_book(|account, now_ms| {
            storage::store(&self.state, &account.rejections_listed(is_done, now_ms))
        });
        if let Err(message) = noted {
            // The batch is listed again, which has no effect.
            self.account.replace(None);
            log::line(&log::Event::Ledger { error: &message, calls: None });
        }
    }

    /// Sets the alarm, unless there is an earlier one. An alarm that is long overdue was never set.
    fn wake_at(&self, at_ms: u64) {
        let is_early = |set_ms: u64| set_ms <= at_ms && set_ms + LATE_MS > clock::now_ms();
        if !self.alarm_ms.get().is_some_and(is_early) {
            storage::set_alarm(&self.state, at_ms);
            self.alarm_ms.set(Some(at_ms));
        }
    }

    /// Rolls up sums to the database, oldest first, and returns the time of the next try if some are left. It is stored:
    /// the alarm may go off before for another reason, in another life of the object.
    async fn roll_up(&self) -> Option<u64> {
        loop {
            let RollUp { watermark, after, rows, retry } = storage::oldest_roll_up(&self.state)?;
            if let Some(Retry { at_ms, .. }) = retry.filter(|retry| retry.at_ms > clock::now_ms()) {
                return Some(at_ms);
            }
            let Holder { key, calls } = self.holder.borrow().clone();
            let page = (calls.keep > 0).then(|| storage::newest_receipts(&self.state, after, watermark));
            let page =
                page.and_then(|pages| Page::new(&key, pages.iter().flat_map(|page| page.lines().rev())));
            let batch = Batch { ledger: &self.id, watermark, key: &key, rows: &rows, calls: page };
            let wait_ms = match store::usage::roll_up(&self.env, batch).await {
                Ok(tidied_hour) => {
                    storage::rolled_up(&self.state, watermark, retry.is_some());
                    let now_hour = clock::now_ms() / HOUR_MS;
                    if tidied_hour < now_hour {
                        // If this fails, the next roll-up of any key does it.
                        let _ = store::usage::tidy(&self.env, now_hour, tidied_hour, calls).await;
                    }
                    continue;
                }
                Err(Failure::NotBound | Failure::NotMigrated) => NO_TABLES_MS,
                Err(Failure::Unavailable | Failure::Duplicate(_)) => {
                    retry.map_or(RETRY_MS, |retry| (retry.wait_ms * 2).min(MAX_RETRY_MS))
                }
            };
            let at_ms = clock::now_ms() + wait_ms;
            storage::retry_at(&self.state, Retry { at_ms, wait_ms });
            return Some(at_ms);
        }
    }
}
