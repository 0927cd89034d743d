//! The record of an ended call: its receipt, for the key's ledger, and the one log line of the request. Never its
//! content.

use std::cell::RefCell;
use std::rc::Rc;

use gatehouse_core::catalog::{Facts, OTHER};
use gatehouse_core::error::{Error, Source};
use gatehouse_core::format::request::PromptBounds;
use gatehouse_core::health::LaneId;
use gatehouse_core::health::failure::Failure;
use gatehouse_core::key::Caller;
use gatehouse_core::ledger::receipt::{Outcome, Receipt, code_of};
use gatehouse_core::ledger::{End, Reservation, Settled, Target};
use gatehouse_core::route::candidates::Candidate;

use crate::isolate::{Isolate, accounts};
use crate::platform::analytics_engine::DataPoint;
use crate::platform::upstream::Heartbeat;
use crate::platform::{clock, log, random, task};
use crate::request_context::RequestContext;

/// The facts of a call from which its receipt and its log line are written.
pub struct Record {
    /// The isolate that served the call.
    pub isolate: Rc<Isolate>,
    /// The request id, as in the response.
    pub request_id: String,
    pub receipt_id: String,
    pub caller: Caller,
    pub ledger: String,
    /// The operation's name.
    pub operation: &'static str,
    /// The project that the request names.
    pub project: Option<String>,
    /// The provider that answered or whose error is returned; `None` if no attempt was sent.
    pub provider: Option<String>,
    /// The provider's id of the model.
    pub model: Option<String>,
    /// True if `GET /v1/models` lists the model.
    pub listed: bool,
    /// The data of the model, with the price of what the call asked for.
    pub facts: Facts,
    /// True if the provider stops charging when a call is cancelled; `None` if unknown.
    pub cancel_stops_billing: Option<bool>,
    /// The index of the provider's key.
    pub key: u8,
    /// The bounds of the input that a provider may report.
    pub prompt: PromptBounds,
    /// True if the request asks for a stream.
    pub stream: bool,
    /// The time of arrival, in milliseconds since 1970.
    pub began_ms: u64,
    /// The number of attempts sent.
    pub attempts: u32,
    /// The time to the first content of a stream or the end of a whole response, in milliseconds.
    pub upstream_ms: u64,
    /// The time from arrival to the start of the stream, in milliseconds.
    pub first_token_ms: Option<u64>,
    /// The reservation; `None` once the call is closed.
    pub reservation: RefCell<Option<Reservation>>,
    /// While this exists, it reports to the ledger that the call is in flight.
    pub heartbeat: RefCell<Option<Heartbeat>>,
}

/// The parameters of [`Record::new`].
pub struct Call<'c> {
    pub ledger: String,
    /// The operation's name.
    pub operation: &'static str,
    /// The project that the request names.
    pub project: Option<String>,
    /// The candidate that answered, or whose error is returned; `None` if no attempt was sent.
    pub candidate: Option<&'c Candidate<'c>>,
    /// The index of the provider's key.
    pub key: u8,
    /// The bounds of the input that a provider may report.
    pub prompt: PromptBounds,
    /// True if the request asks for a stream.
    pub stream: bool,
    /// The number of attempts sent.
    pub attempts: u32,
    /// The time to the response, the first content of a stream or the failure, in milliseconds.
    pub upstream_ms: u64,
    /// The time from arrival to the start of the stream, in milliseconds.
    pub first_token_ms: Option<u64>,
    pub reservation: Reservation,
    /// While this exists, it reports to the ledger that the call is in flight.
    pub heartbeat: Option<Heartbeat>,
}

/// The failure of a call, for its log line.
#[derive(Clone, Copy)]
pub struct Failed<'f> {
    /// The error that is returned; its code and its `param` are logged, which names the limit of a refusal.
    pub error: &'f Error,
    /// The gateway's knowledge beyond the message.
    pub detail: Option<&'f str>,
}

impl Failed<'_> {
    /// The field, header or limit at fault, as the gateway names it. An upstream could write anything there.
    fn param(&self) -> Option<&str> {
        self.error.param.as_deref().filter(|_| self.error.source() == Source::Gateway)
    }
}

impl Record {
    /// Creates the record of a call whose attempts are over.
    pub fn new(
        context: &RequestContext<'_>,
        isolate: &Rc<Isolate>,
        caller: &Caller,
        call: Call<'_>,
    ) -> Record {
        let candidate = call.candidate;
        Record {
            isolate: Rc::clone(isolate),
            request_id: context.id.clone(),
            receipt_id: Receipt::new_id(context.began_ms, random::id_bytes()),
            caller: caller.clone(),
            ledger: call.ledger,
            operation: call.operation,
            project: call.project,
            provider: candidate.map(|candidate| candidate.provider.name.clone()),
            model: candidate.map(|candidate| candidate.model.to_string()),
            listed: candidate.is_some_and(|candidate| candidate.listed),
            facts: candidate.map(|candidate| candidate.facts).unwrap_or_default(),
            cancel_stops_billing: candidate.and_then(|candidate| candidate.provider.cancel_stops_billing),
            key: call.key,
            prompt: call.prompt,
            stream: call.stream,
            began_ms: context.began_ms,
            attempts: call.attempts,
            upstream_ms: call.upstream_ms,
            first_token_ms: call.first_token_ms,
            reservation: RefCell::new(Some(call.reservation)),
            heartbeat: RefCell::new(call.heartbeat),
        }
    }

    /// Reports to the ledger after the response and returns what the isolate no longer needs of the key's limits.
    pub fn settle_after_response(&self, context: &RequestContext<'_>, isolate: &Rc<Isolate>) {
        let accounts = Rc::clone(&isolate.accounts);
        task::after_response(
            &context.execution,
            accounts.report_and_release(context.env.clone(), self.ledger.clone()),
        );
    }

    /// Records in the health view that a stream broke after it had started.
    pub fn broke(&self, failure: &Failure) {
        let (Some(provider), Some(model)) = (&self.provider, &self.model) else { return };
        let place = LaneId { provider, model: if self.listed { model } else { OTHER }, key: self.key };
        self.isolate.health.view.borrow_mut().failed(place, failure, true, clock::now_ms(), random::chance());
    }

    /// Returns `true` if a limit of money or tokens counts the call.
    pub fn is_metered(&self) -> bool {
        let (Some(provider), Some(model)) = (&self.provider, &self.model) else { return false };
        self.reservation.borrow().as_ref().is_some_and(|reservation| reservation.is_metered(provider, model))
    }

    /// Records the end of the answered attempt in the reservation.
    pub fn ended(&self, end: End) {
        let (Some(provider), Some(model), key) = (&self.provider, &self.model, self.key) else { return };
        let target = Target { provider, model, key, facts: &self.facts };
        if let Some(reservation) = &mut *self.reservation.borrow_mut() {
            reservation.ended(target, "ok", self.upstream_ms, end);
        }
    }

    /// Closes the call and returns its receipt; `None` if no attempt was sent. The change must then be reported to the
    /// ledger.
    pub fn close(
        &self,
        status: u16,
        outcome: Outcome,
        partial: bool,
        failed: Option<Failed<'_>>,
    ) -> Option<Receipt> {
        self.heartbeat.replace(None);
        let reservation = self.reservation.take()?;
        let (attempts, charges) = reservation.settle();
        let receipt = Receipt {
            id: self.receipt_id.clone(),
            request_id: self.request_id.clone(),
            at_ms: self.began_ms,
            operation: self.operation,
            project: self.project.clone(),
            stream: self.stream,
            status,
            code: failed.and_then(|failed| code_of(failed.error)).map(str::to_owned),
            outcome,
            first_token_ms: self.first_token_ms,
            duration_ms: clock::now_ms().saturating_sub(self.began_ms),
            partial,
            attempts,
        };
        if receipt.is_capped() {
            accounts::capped();
        }
        self.log(&receipt, failed);
        self.write_point(&receipt);
        let sent = !receipt.attempts.is_empty();
        let text = sent.then(|| receipt.to_text());
        let rows = receipt.rows(&self.isolate.settings.registry);
        self.isolate.accounts.settle(&self.ledger, Settled { receipt: text, rows, charges });
        sent.then_some(receipt)
    }

    /// Writes the data point of Analytics Engine, indexed by ledger. The positions in `blobs` and `doubles` are fixed.
    fn write_point(&self, receipt: &Receipt) {
        let Some(dataset) = &self.isolate.settings.dataset else { return };
        let usage = receipt.usage();
        dataset.write(&DataPoint {
            indexes: [&self.ledger],
            blobs: [
                self.provider.as_deref(),
                self.model.as_deref(),
                self.project.as_deref(),
                Some(receipt.outcome.as_str()),
                Some(&self.receipt_id),
            ],
            doubles: [
                receipt.status.into(),
                self.attempts.into(),
                usage.prompt_tokens.unwrap_or(0),
                usage.completion_tokens.unwrap_or(0),
                receipt.cost_micro_usd().unwrap_or(0),
                receipt.duration_ms,
                self.first_token_ms.unwrap_or(0),
            ],
        });
    }

    /// Writes the log line, or none for a part of the successful calls.
    fn log(&self, receipt: &Receipt, failed: Option<Failed<'_>>) {
        let percent = self.isolate.settings.config.log.calls_percent;
        let is_left_out = percent < 100 && random::chance() % 100 >= u64::from(percent);
        if is_left_out && receipt.outcome == Outcome::Answered && !receipt.is_capped() {
            return;
        }
        let usage = receipt.usage();
        log::line(&log::Event::Call {
            request_id: &self.request_id,
            receipt: &self.receipt_id,
            caller: &self.caller.label,
            key_id: self.caller.key.as_ref().map(|key| key.id.as_str()),
            project: self.project.as_deref(),
            provider: self.provider.as_deref(),
            model: self.model.as_deref(),
            attempts: self.attempts,
            stream: self.stream,
            status: receipt.status,
            outcome: receipt.outcome.as_str(),
            code: failed.as_ref().and_then(|failed| failed.error.code()),
            param: failed.as_ref().and_then(Failed::param),
            partial: receipt.partial,
            estimated: receipt.is_estimated(),
            capped: receipt.is_capped(),
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            cost_micro_usd: receipt.cost_micro_usd(),
            first_token_ms: self.first_token_ms,
            upstream_ms: self.upstream_ms,
            total_ms: receipt.duration_ms,
            detail: failed.and_then(|failed| failed.detail),
        });
    }
}
