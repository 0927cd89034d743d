//! What is noted of a call once it is over: its receipt, for the key's ledger, and the request's one log line. Never its
//! content.

use std::cell::RefCell;
use std::rc::Rc;

use gatehouse_core::catalog::OTHER;
use gatehouse_core::health::LaneId;
use gatehouse_core::health::failure::Failure;
use gatehouse_core::key::Caller;
use gatehouse_core::ledger::receipt::{Outcome, Receipt};
use gatehouse_core::ledger::{End, Reservation, Settled, Target};
use gatehouse_core::route::candidates::Candidate;
use gatehouse_core::{json, json_text};

use crate::isolate::Isolate;
use crate::platform::upstream::Heartbeat;
use crate::platform::{clock, log, random, task};
use crate::request_context::RequestContext;

/// A call, as it is noted once it is over.
pub struct Record {
    /// The isolate that it ran in.
    pub isolate: Rc<Isolate>,
    /// The id that the caller was told.
    pub request_id: String,
    /// The id of its receipt.
    pub receipt_id: String,
    /// Who called.
    pub caller: Caller,
    /// The name of the key's ledger.
    pub ledger: String,
    /// The project that it named.
    pub project: Option<String>,
    /// The provider that answered, or whose failure was told; `None` when nobody was asked.
    pub provider: Option<String>,
    /// The provider's id of the model.
    pub model: Option<String>,
    /// Whether the model is one that `GET /v1/models` shows.
    pub listed: bool,
    /// Whether the provider stops charging when a call is cancelled; `None` is not known.
    pub cancel_stops_billing: Option<bool>,
    /// The place of the key that it was asked with.
    pub key: u8,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// When it began, in milliseconds since 1970.
    pub began_ms: u64,
    /// How many upstream calls it took.
    pub attempts: u32,
    /// Until the first content of a stream, or the end of a whole answer, in milliseconds.
    pub upstream_ms: u64,
    /// Until a stream had begun, in milliseconds from the beginning of the call.
    pub first_token_ms: Option<u64>,
    /// What it holds and has spent; gone once the call has been noted.
    pub reservation: RefCell<Option<Reservation>>,
    /// While this is there, the ledger hears that the call is under way.
    pub heartbeat: RefCell<Option<Heartbeat>>,
}

/// What [`Record::new`] needs to know of a call.
pub struct Call<'c> {
    /// The name of the key's ledger.
    pub ledger: String,
    /// The project that it named.
    pub project: Option<String>,
    /// The candidate that answered, or whose error is returned; `None` if no attempt was sent.
    pub candidate: Option<&'c Candidate<'c>>,
    /// The place of the key that it was asked with.
    pub key: u8,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// How many attempts were sent.
    pub attempts: u32,
    /// Until the response, the first content of a stream, or the failure, in milliseconds.
    pub upstream_ms: u64,
    /// Until a stream had begun, in milliseconds from the beginning of the call.
    pub first_token_ms: Option<u64>,
    /// What it holds and has spent.
    pub reservation: Reservation,
    /// While this is there, the ledger hears that the call is under way.
    pub heartbeat: Option<Heartbeat>,
}

impl Record {
    /// The record of a call whose attempts are over.
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
            project: call.project,
            provider: candidate.map(|candidate| candidate.provider.name.clone()),
            model: candidate.map(|candidate| candidate.model.to_string()),
            listed: candidate.is_some_and(|candidate| candidate.listed),
            cancel_stops_billing: candidate.and_then(|candidate| candidate.provider.cancel_stops_billing),
            key: call.key,
            stream: call.stream,
            began_ms: context.began_ms,
            attempts: call.attempts,
            upstream_ms: call.upstream_ms,
            first_token_ms: call.first_token_ms,
            reservation: RefCell::new(Some(call.reservation)),
            heartbeat: RefCell::new(call.heartbeat),
        }
    }

    /// Reports to the ledger after the response, and gives back what the isolate no longer needs of the key's limits.
    pub fn settle_after_response(&self, context: &RequestContext<'_>, isolate: &Rc<Isolate>) {
        let accounts = Rc::clone(&isolate.accounts);
        task::after_response(
            &context.execution,
            accounts.settle_up(context.env.clone(), self.ledger.clone()),
        );
    }

    /// Notes that a stream broke after it had begun.
    pub fn broke(&self, failure: &Failure) {
        let (Some(provider), Some(model)) = (&self.provider, &self.model) else { return };
        let place = LaneId { provider, model: if self.listed { model } else { OTHER }, key: self.key };
        self.isolate.health.view.borrow_mut().failed(place, failure, true, clock::now_ms(), random::chance());
    }

    /// Notes how the attempt ended that was answered.
    pub fn ended(&self, end: End) {
        let (Some(provider), Some(model)) = (&self.provider, &self.model) else { return };
        let facts = self.isolate.settings.registry.provider(provider).and_then(|entry| entry.facts(model));
        let target = Target { provider, model, facts: &facts.unwrap_or_default() };
        if let Some(reservation) = &mut *self.reservation.borrow_mut() {
            reservation.ended(target, "ok", self.upstream_ms, end);
        }
    }

    /// Notes the end of the call, and gives its receipt; `None` if no upstream was asked. What it adds to the ledger is then
    /// to be reported.
    pub fn close(
        &self,
        status: u16,
        outcome: Outcome,
        partial: bool,
        detail: Option<&str>,
    ) -> Option<Receipt> {
        self.heartbeat.replace(None);
        let reservation = self.reservation.take()?;
        let (attempts, charges) = reservation.settle();
        let receipt = Receipt {
            id: self.receipt_id.clone(),
            request_id: self.request_id.clone(),
            at_ms: self.began_ms,
            project: self.project.clone(),
            stream: self.stream,
            status,
            outcome,
            first_token_ms: self.first_token_ms,
            duration_ms: clock::now_ms().saturating_sub(self.began_ms),
            partial,
            attempts,
        };
        self.log(&receipt, detail);
        self.write_point(&receipt);
        let sent = !receipt.attempts.is_empty();
        let text = sent.then(|| receipt.to_text());
        let rows = receipt.rows(&self.isolate.settings.registry);
        self.isolate.accounts.settle(&self.ledger, Settled { receipt: text, rows, charges });
        sent.then_some(receipt)
    }

    /// Writes the data point of Analytics Engine: by ledger; the names in `blobs` and the numbers in `doubles` keep their places.
    fn write_point(&self, receipt: &Receipt) {
        let Some(dataset) = &self.isolate.settings.dataset else { return };
        let usage = receipt.usage();
        dataset.write(&json!({
            "indexes": [self.ledger],
            "blobs": [self.provider, self.model, self.project, receipt.outcome.as_str(), self.receipt_id],
            "doubles": [
                receipt.status,
                self.attempts,
                usage.prompt_tokens.unwrap_or(0),
                usage.completion_tokens.unwrap_or(0),
                receipt.cost_micro_usd().unwrap_or(0),
                receipt.duration_ms,
                self.first_token_ms.unwrap_or(0),
            ],
        }));
    }

    fn log(&self, receipt: &Receipt, detail: Option<&str>) {
        let usage = receipt.usage();
        log::line(json_text!({
            "event": "call",
            "request_id": self.request_id,
            "receipt": self.receipt_id,
            "caller": &*self.caller.label,
            "key_id": self.caller.key.as_ref().map(|key| key.id.as_str()),
            "project": self.project,
            "provider": self.provider,
            "model": self.model,
            "attempts": self.attempts,
            "stream": self.stream,
            "status": receipt.status,
            "outcome": receipt.outcome.as_str(),
            "partial": receipt.partial,
            "estimated": receipt.is_estimated(),
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "cost_micro_usd": receipt.cost_micro_usd(),
            "first_token_ms": self.first_token_ms,
            "upstream_ms": self.upstream_ms,
            "total_ms": receipt.duration_ms,
            "detail": detail,
        }));
    }
}
