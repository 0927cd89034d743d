//! Keeping the board of this isolate and those of the others together, by way of the `ProviderHealth` object.
//!
//! A call whose isolate has heard nothing for nearly two seconds asks before it is sent, while its body is being read;
//! otherwise news is fetched behind an answer. What an isolate has seen is told at once if the others should act on it, and
//! within a second otherwise.

use std::rc::Rc;

use gatehouse_core::health::{Answer, REFRESH_MS, Token};
use worker::Env;

use super::Call;
use crate::gateway::Gateway;
use crate::objects::{ObjectError, provider_health};
use crate::platform::{clock, task, upstream};

/// Sees to it that what is known is less than two seconds old. What this returns is to be awaited before the board is read;
/// the question is on its way before that.
pub fn news(call: &Call<'_>, gateway: &Rc<Gateway>) -> impl Future<Output = ()> + use<> {
    let now_ms = clock::now_ms();
    // A borrow of its own: it must have ended where the question is made.
    let stale = gateway.board.borrow().is_stale(now_ms);
    let asked = stale.then(|| {
        let (question, token) = gateway.board.borrow_mut().question(now_ms);
        (provider_health::ask(&call.env, &question), token)
    });
    if asked.is_none() && gateway.board.borrow().is_due(now_ms) {
        let (gateway, env) = (Rc::clone(gateway), call.env.clone());
        task::run_behind(&call.context, async move { exchange(&gateway, &env).await });
    }
    let gateway = Rc::clone(gateway);
    async move {
        if let Some((answer, token)) = asked {
            take(&gateway, answer.await, token);
        }
    }
}

fn take(gateway: &Gateway, answer: Result<Answer, ObjectError>, token: Token) {
    let mut board = gateway.board.borrow_mut();
    match answer {
        Ok(answer) => board.heard(&answer, token),
        Err(_) => board.not_heard(token),
    }
}

/// Tells what was seen: behind the answer of a call.
pub fn tell_behind(call: &Call<'_>, gateway: &Rc<Gateway>) {
    if has_to_tell(gateway) {
        task::run_behind(&call.context, tell(Rc::clone(gateway), call.env.clone()));
    }
}

/// Whether this call is the one that tells: of those that could wait, one of the isolate waits for all.
fn has_to_tell(gateway: &Gateway) -> bool {
    let now_ms = clock::now_ms();
    let board = gateway.board.borrow();
    board.has_news() && (board.is_due(now_ms) || gateway.telling_ms.get() <= now_ms)
}

/// Tells what was seen, at once or, if nobody needs it at once, together with what comes in the next second.
pub async fn tell(gateway: Rc<Gateway>, env: Env) {
    if !has_to_tell(&gateway) {
        return;
    }
    let now_ms = clock::now_ms();
    if gateway.board.borrow().is_due(now_ms) {
        return exchange(&gateway, &env).await;
    }
    gateway.telling_ms.set(now_ms + u64::from(WAIT_MS));
    upstream::sleep(WAIT_MS).await;
    if gateway.board.borrow().has_news() {
        exchange(&gateway, &env).await;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a second")]
const WAIT_MS: u32 = REFRESH_MS as u32;

/// Tells the object what was seen, and takes what it answers; then again what the others should know at once and was seen in
/// the meantime.
async fn exchange(gateway: &Gateway, env: &Env) {
    loop {
        let (report, token) = gateway.board.borrow_mut().report(clock::now_ms());
        take(gateway, provider_health::tell(env, &report).await, token);
        if !gateway.board.borrow().is_due(clock::now_ms()) {
            return;
        }
    }
}
