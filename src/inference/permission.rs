//! The permission of a call, checked again before each attempt.
//!
//! Between the head of a request and an attempt there can be minutes: a slow body, an earlier attempt, a wait. What an
//! operator has changed about the key by then holds for the attempt.

use std::rc::Rc;

use gatehouse_core::error::{Code, Error};
use gatehouse_core::format::request::Inference;
use gatehouse_core::key::{Caller, IssuedKey};
use gatehouse_core::ledger::Limit;
use gatehouse_core::route::candidates::Candidate;

use super::selection::{self, Forced};
use crate::authentication;
use crate::isolate::Isolate;
use crate::request_context::RequestContext;

/// The caller as it is now; fails if its key does not allow the endpoint any more.
pub async fn of_caller(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    caller: &Caller,
) -> Result<Caller, Error> {
    let Some(key) = &caller.key else { return Ok(caller.clone()) };
    let now = authentication::check_again(context, isolate, key).await?;
    Ok(Caller { label: Rc::clone(&caller.label), key: Some(now), is_operator: false })
}

/// The decisions about a call with the permissions that its key had then.
pub struct Permission<'c> {
    /// The HTTP request.
    pub context: &'c RequestContext<'c>,
    /// The isolate that serves it.
    pub isolate: &'c Rc<Isolate>,
    /// The caller.
    pub caller: &'c Caller,
    /// The parsed request.
    pub request: &'c Inference<'c>,
    /// The headers that override the body.
    pub forced: &'c Forced,
    /// The candidates of the call.
    pub candidates: &'c [Candidate<'c>],
    /// The limits that count the call.
    pub limits: &'c [Limit],
}

impl Permission<'_> {
    /// Checks that the call may still be sent to its candidates, and within the limits that count it.
    pub async fn check(&self) -> Result<(), Error> {
        let Some(key) = &self.caller.key else { return Ok(()) };
        let now = authentication::check_again(self.context, self.isolate, key).await?;
        if Rc::ptr_eq(&now, key) || now.has_permissions_of(key) {
            return Ok(());
        }
        self.check_changed(&now)
    }

    /// Selects again with the key as it is now: that fails as a new call would.
    fn check_changed(&self, now: &Rc<IssuedKey>) -> Result<(), Error> {
        let caller =
            Caller { label: Rc::clone(&self.caller.label), key: Some(Rc::clone(now)), is_operator: false };
        let (selection, _) = selection::plan(self.context, self.isolate, &caller, self.request, self.forced)?;
        let is_allowed = |candidate: &Candidate<'_>| {
            let same = |other: &Candidate<'_>| {
                (&other.provider.name, &other.model) == (&candidate.provider.name, &candidate.model)
            };
            selection.candidates.iter().any(same)
        };
        if let Some(candidate) = self.candidates.iter().find(|candidate| !is_allowed(candidate)) {
            let message = format!("This key may no longer use the model '{}'", candidate.address());
            return Err(Error::new(Code::ModelNotAllowed, message).with_param("model"));
        }
        let limits = Limit::of_key(now, &self.isolate.settings.config)?;
        let counted = |limit: &Limit| {
            let counter = limit.counter();
            self.limits.iter().any(|known| known.counter() == counter && known.amount <= limit.amount)
        };
        if limits.iter().all(counted) {
            return Ok(());
        }
        let message = "The limits of this key were lowered while the call waited; send it again";
        Err(Error::new(Code::RateLimitExceeded, message))
    }
}
