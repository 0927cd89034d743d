//! One isolate's view of the health of providers, and its synchronization with the views of the other isolates through the
//! `ProviderHealth` Durable Object.
//!
//! A call whose isolate has heard nothing for nearly two seconds fetches a report before it is sent, while its body is being
//! read; otherwise the report is fetched after a response. What an isolate has seen is published at once if the others should
//! act on it, and within a second otherwise.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use gatehouse_core::health::{HealthView, REFRESH_MS, Token, Update};
use worker::Env;

use crate::objects::{ObjectError, provider_health};
use crate::platform::{clock, task, upstream};
use crate::request_context::RequestContext;

/// The health of providers, models and keys, as one isolate knows it.
#[derive(Default)]
pub struct Health {
    /// The view.
    pub view: RefCell<HealthView>,
    /// Until when a call of this isolate waits to publish what was seen, in milliseconds since 1970.
    publishing_ms: Cell<u64>,
}

#[expect(clippy::cast_possible_truncation, reason = "a second")]
const WAIT_MS: u32 = REFRESH_MS as u32;

impl Health {
    /// Makes sure that the view is less than two seconds old. The request for a report is sent before this returns; await
    /// the future before reading the view.
    pub fn refresh(self: &Rc<Self>, context: &RequestContext<'_>) -> impl Future<Output = ()> + use<> {
        let now_ms = clock::now_ms();
        // A borrow of its own: it must have ended where the question is made.
        let is_stale = self.view.borrow().is_stale(now_ms);
        let asked = is_stale.then(|| {
            let (question, token) = self.view.borrow_mut().query(now_ms);
            (provider_health::ask(&context.env, &question), token)
        });
        if asked.is_none() && self.view.borrow().is_due(now_ms) {
            let (health, env) = (Rc::clone(self), context.env.clone());
            task::after_response(&context.execution, async move { health.exchange(&env).await });
        }
        let health = Rc::clone(self);
        async move {
            if let Some((response, token)) = asked {
                health.take(response.await, token);
            }
        }
    }

    fn take(&self, response: Result<Update, ObjectError>, token: Token) {
        let mut view = self.view.borrow_mut();
        match response {
            Ok(response) => view.refreshed(&response, token),
            Err(_) => view.not_refreshed(token),
        }
    }

    /// Publishes what was seen, after the response.
    pub fn publish_after_response(self: &Rc<Self>, context: &RequestContext<'_>) {
        if self.has_to_publish() {
            let (health, env) = (Rc::clone(self), context.env.clone());
            task::after_response(&context.execution, async move { health.publish(&env).await });
        }
    }

    /// Whether this call is the one that publishes: of those that could wait, one of the isolate waits for all.
    fn has_to_publish(&self) -> bool {
        let now_ms = clock::now_ms();
        let view = self.view.borrow();
        view.has_unpublished() && (view.is_due(now_ms) || self.publishing_ms.get() <= now_ms)
    }

    /// Publishes what was seen: at once or, if nobody needs it at once, together with what is seen in the next second.
    pub async fn publish(&self, env: &Env) {
        if !self.has_to_publish() {
            return;
        }
        let now_ms = clock::now_ms();
        if self.view.borrow().is_due(now_ms) {
            return self.exchange(env).await;
        }
        self.publishing_ms.set(now_ms + u64::from(WAIT_MS));
        upstream::sleep(WAIT_MS).await;
        if self.view.borrow().has_unpublished() {
            self.exchange(env).await;
        }
    }

    /// Sends the object what was seen and takes its response; then again what the others should know at once and was seen in
    /// the meantime.
    async fn exchange(&self, env: &Env) {
        loop {
            let (report, token) = self.view.borrow_mut().report(clock::now_ms());
            self.take(provider_health::tell(env, &report).await, token);
            if !self.view.borrow().is_due(clock::now_ms()) {
                return;
            }
        }
    }
}
