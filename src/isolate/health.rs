//! One isolate's view of the health of providers, and its synchronization with the views of the other isolates through the
//! `ProviderHealth` Durable Object.
//!
//! If the view is almost two seconds old, a call refreshes it before it is sent, while its body is being read;
//! otherwise the view is refreshed after a response. Observations that the other isolates should act on are published
//! at once, all others within a second.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use gatehouse_core::health::{HealthView, REFRESH_MS, Token, Update};
use worker::Env;

use crate::objects::{ObjectError, provider_health};
use crate::platform::{clock, task, upstream};
use crate::request_context::RequestContext;

/// The health of providers, models and keys, as known to one isolate.
#[derive(Default)]
pub struct Health {
    pub view: RefCell<HealthView>,
    /// The time until which one call of this isolate waits to publish observations, in milliseconds since 1970.
    publishing_ms: Cell<u64>,
}

#[expect(clippy::cast_possible_truncation, reason = "a second")]
const WAIT_MS: u32 = REFRESH_MS as u32;

impl Health {
    /// Makes sure that the view is less than two seconds old. The request for an update is sent before this returns;
    /// await the future before reading the view.
    pub fn refresh(self: &Rc<Self>, context: &RequestContext<'_>) -> impl Future<Output = ()> + use<> {
        let now_ms = clock::now_ms();
        // A statement of its own, so that this borrow has ended before the next one.
        let is_stale = self.view.borrow().is_stale(now_ms);
        let refreshing = is_stale.then(|| {
            let (query, token) = self.view.borrow_mut().refresh_request(now_ms);
            (provider_health::refresh(&context.env, &query), token)
        });
        if refreshing.is_none() && self.view.borrow().is_due(now_ms) {
            let (health, env) = (Rc::clone(self), context.env.clone());
            task::after_response(&context.execution, async move { health.exchange(&env).await });
        }
        let health = Rc::clone(self);
        async move {
            if let Some((response, token)) = refreshing {
                health.apply(response.await, token);
            }
        }
    }

    fn apply(&self, response: Result<Update, ObjectError>, token: Token) {
        let mut view = self.view.borrow_mut();
        match response {
            Ok(response) => view.refreshed(&response, token),
            Err(_) => view.not_refreshed(token),
        }
    }

    /// Publishes observations after the response.
    pub fn publish_after_response(self: &Rc<Self>, context: &RequestContext<'_>) {
        if self.has_to_publish() {
            let (health, env) = (Rc::clone(self), context.env.clone());
            task::after_response(&context.execution, async move { health.publish(&env).await });
        }
    }

    /// True if this call has to publish: observations that can wait are published by one call of the isolate for all.
    fn has_to_publish(&self) -> bool {
        let now_ms = clock::now_ms();
        let view = self.view.borrow();
        view.has_unpublished() && (view.is_due(now_ms) || self.publishing_ms.get() <= now_ms)
    }

    /// Publishes observations: at once if others need them at once, otherwise together with those of the next second.
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

    /// Sends the observations and takes the update; repeats this if urgent observations were made in the meantime.
    async fn exchange(&self, env: &Env) {
        loop {
            let (report, token) = self.view.borrow_mut().publish_report(clock::now_ms());
            self.apply(provider_health::report(env, &report).await, token);
            if !self.view.borrow().is_due(clock::now_ms()) {
                return;
            }
        }
    }
}
