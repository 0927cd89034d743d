//! Wrong keys and tokens: counts them for each client, and blocks a client that presents too many. The rules are those of
//! [`crate::authentication`].

use gatehouse_core::error::{Code, Error};
use gatehouse_core::key::Digest;
use gatehouse_core::onboarding::sliding_log::{Take, Verdict};
use gatehouse_core::onboarding::wrong_keys::MINUTE_MS;

use crate::isolate::Isolate;
use crate::objects::rate_limiter;
use crate::platform::clock;
use crate::request_context::{RequestContext, seconds};

/// The pseudonym of the client.
pub(super) fn client(context: &RequestContext<'_>, isolate: &Isolate) -> Option<String> {
    isolate.settings.pseudonyms.as_ref().map(|pseudonyms| pseudonyms.of("client", &context.client()))
}

/// Fails if the client is blocked because of too many failed authentications.
pub fn check_not_blocked(context: &RequestContext<'_>, isolate: &Isolate) -> Result<(), Error> {
    let now_ms = clock::now_ms();
    if isolate.wrong_keys.borrow().is_empty() {
        return Ok(());
    }
    let Some(client) = client(context, isolate) else { return Ok(()) };
    match isolate.wrong_keys.borrow().blocked_until(&client, now_ms) {
        Some(until_ms) => Err(too_many_failures(until_ms - now_ms)),
        None => Ok(()),
    }
}

pub(super) fn too_many_failures(wait_ms: u64) -> Error {
    let message = "Too many failed authentications from this address. Try again later.";
    Error::new(Code::RateLimitExceeded, message).with_retry_after(seconds(wait_ms))
}

/// Counts a wrong key, or a wrong token, and returns the error for the response: `error`, or that there were too many.
pub async fn failed(context: &RequestContext<'_>, isolate: &Isolate, digest: &Digest, error: Error) -> Error {
    if let Err(blocked) = check_not_blocked(context, isolate) {
        return blocked;
    }
    let (Some(client), Some(pseudonyms)) = (client(context, isolate), &isolate.settings.pseudonyms) else {
        return error;
    };
    if isolate.wrong_keys.borrow().is_counted(&client, digest.part(), clock::now_ms()) {
        return error;
    }
    let take = Take {
        limit: isolate.settings.config.access.failed_auth_per_minute,
        span_ms: MINUTE_MS,
        name: Some(pseudonyms.of("wrong key", &digest.to_hex())),
    };
    match rate_limiter::take(&context.env, &format!("failed authentication {client}"), take).await {
        Ok(Verdict::Refused(wait_ms)) => {
            let now_ms = clock::now_ms();
            isolate.wrong_keys.borrow_mut().block(&client, now_ms + wait_ms, now_ms);
            too_many_failures(wait_ms)
        }
        Ok(Verdict::Allowed | Verdict::Repeated) => {
            isolate.wrong_keys.borrow_mut().counted(&client, digest.part(), clock::now_ms());
            error
        }
        // Without a working counter the authentication has still failed.
        Err(_) => error,
    }
}
