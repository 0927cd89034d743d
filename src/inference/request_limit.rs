//! The limit of requests that cost no money but as much work as a call, for each key.

use gatehouse_core::error::{Code, Error};
use gatehouse_core::key::Caller;
use gatehouse_core::onboarding::sliding_log::{Take, Verdict};
use gatehouse_core::onboarding::wrong_keys::MINUTE_MS;

use crate::isolate::accounts;
use crate::objects::{ObjectError, rate_limiter};
use crate::request_context::{RequestContext, seconds};

/// Counts a request for `what`, of which a key may send so many in a minute: it costs as much as a call, and no limit of
/// a key counts it.
pub async fn check(
    context: &RequestContext<'_>,
    caller: &Caller,
    what: &str,
    per_minute: u32,
) -> Result<(), Error> {
    let take = Take { limit: per_minute, span_ms: MINUTE_MS, name: None };
    let who = format!("{what} {}", accounts::name_of(caller));
    match rate_limiter::take(&context.env, &who, take).await {
        Ok(Verdict::Refused(wait_ms)) => {
            let message = format!("A key may send {per_minute} requests for '{what}' in a minute");
            Err(Error::new(Code::RateLimitExceeded, message).with_retry_after(seconds(wait_ms)))
        }
        Ok(Verdict::Allowed | Verdict::Repeated) | Err(ObjectError::NotBound) => Ok(()),
        Err(ObjectError::Failed(_)) => {
            Err(Error::new(Code::StorageUnavailable, "The gateway cannot count requests now; try again"))
        }
    }
}
