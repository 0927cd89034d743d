//! Changes that the holder of an issued key makes: `POST /usage/rotate` and `POST /usage/request-increase`. Each concerns
//! only the key that the request is sent with.

use std::rc::Rc;

use gatehouse_core::error::{Code, Error};
use gatehouse_core::key::{Caller, IssuedKey};
use gatehouse_core::onboarding::api_key::{self, Rotation};
use gatehouse_core::onboarding::increase;
use gatehouse_core::onboarding::key_request::KeyRequestDraft;
use gatehouse_core::onboarding::sliding_log::{Take, Verdict};
use gatehouse_core::time::{DAY_MS, to_rfc3339};
use serde::Serialize;

use crate::isolate::Isolate;
use crate::notification;
use crate::objects::rate_limiter;
use crate::platform::clock;
use crate::platform::response::Response;
use crate::request_context::{RequestContext, seconds};
use crate::store::keys::NewSecret;
use crate::store::{keys, requests};

/// The maximum number of rotations of a key by its holder in any 24 hours. Each leaves an entry in the audit trail.
const ROTATIONS_PER_DAY: u32 = 10;

/// The response of a rotation. Times are RFC 3339.
#[derive(Serialize)]
struct OwnRotated<'a> {
    id: &'a str,
    name: &'a str,
    /// The new secret, shown only here.
    api_key: &'a str,
    /// The expiry of the older secrets.
    previous_expires_at: String,
}

/// The response of a request for higher limits.
#[derive(Serialize)]
struct IncreaseReceived<'a> {
    /// `kreq_…`
    request_id: &'a str,
    status: &'static str,
    message: &'static str,
}

/// The issued key of the caller; the error names what to do instead.
fn issued<'c>(caller: &'c Caller, instead: &str) -> Result<&'c Rc<IssuedKey>, Error> {
    if caller.is_operator {
        let message =
            format!("This is an operator's key, and this path is for the holders of keys: {instead}");
        return Err(Error::new(Code::PermissionDenied, message));
    }
    caller.key.as_ref().ok_or_else(|| {
        let message = "This key is in a secret of the gateway, which only its operator can change";
        Error::new(Code::PermissionDenied, message)
    })
}

/// Counts a use of the caller's key, or fails if there were too many of them in the last 24 hours.
async fn count(context: &RequestContext<'_>, what: &str, key: &IssuedKey, limit: u32) -> Result<(), Error> {
    let take = Take { limit, span_ms: DAY_MS, name: Some(context.id.clone()) };
    let taken = rate_limiter::take(&context.env, &format!("{what} {}", key.id), take).await;
    match taken {
        Ok(Verdict::Refused(wait_ms)) => {
            let message = format!(
                "There were {limit} {what} of this key in the last 24 hours, which is the limit; try again later"
            );
            Err(Error::new(Code::RateLimitExceeded, message).with_retry_after(seconds(wait_ms)))
        }
        Ok(_) => Ok(()),
        Err(_) => Err(Error::new(
            Code::StorageUnavailable,
            format!("The gateway cannot count {what} now; try again"),
        )),
    }
}

/// `POST /usage/rotate`
pub async fn rotate(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    caller: &Caller,
) -> Result<Response, Error> {
    let key = issued(caller, "rotate a key with POST /v0/api_keys/{name}/rotate")?;
    if !isolate.settings.config.access.holder_rotation {
        let message = "The operator of this gateway rotates keys (access.holder_rotation is false); ask for a new secret";
        return Err(Error::new(Code::PermissionDenied, message));
    }
    let Rotation { overlap_ms, .. } = Rotation::by_holder(&context.small_body().await?)?;
    let stored = keys::get(&context.env, &key.name).await?;
    if stored.id != key.id {
        return Err(api_key::unknown(&key.name));
    }
    count(context, "rotations", key, ROTATIONS_PER_DAY).await?;
    let notifies = notification::expect(context, &isolate.settings).await?;
    let secret = NewSecret::new()?;
    let rotated =
        keys::rotate_own(&context.env, &stored, &key.public_id, &secret, overlap_ms, notifies).await?;
    let Some(ends_ms) = rotated else {
        let message = "This secret was replaced by a newer one, and works only until its overlap ends: rotate with the newest";
        return Err(Error::new(Code::PermissionDenied, message));
    };
    notification::wake_after_response(context, notifies);
    isolate.keys.borrow_mut().forget();
    let shown = OwnRotated {
        id: &stored.id,
        name: &stored.name,
        api_key: &secret.text,
        previous_expires_at: to_rfc3339(ends_ms),
    };
    Ok(Response::json(200, &shown))
}

/// `POST /usage/request-increase`
pub async fn request_increase(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    caller: &Caller,
) -> Result<Response, Error> {
    let key = issued(caller, "change the limits of a key with PATCH /v0/api_keys/{name}")?;
    context.require_json()?;
    let config = &isolate.settings.config;
    let (wanted, reason) = increase::read(&context.small_body().await?, key, config)?;
    count(context, "requests for higher limits", key, config.access.requests_per_day).await?;
    let owner = keys::owner(&context.env, &key.id).await?;
    let draft = KeyRequestDraft::by_holder(owner, &key.id, reason, clock::now_ms());
    let notification = notification::prepare(context, &isolate.settings, &draft.by_user).await?;
    let stored = requests::submit_increase(&context.env, draft, wanted, notification.as_ref()).await?;
    let Some(request) = stored else {
        let message = "A request for higher limits of this key waits for the operator's decision; wait for it, or ask the \
                       operator to decline it";
        return Err(Error::new(Code::IncreasePending, message));
    };
    notification::deliver_after_response(context, notification.as_ref());
    let received = IncreaseReceived {
        request_id: &request.id,
        status: "pending",
        message: "Your request has been received. If the operator approves it, GET /usage shows the new limits.",
    };
    Ok(Response::json(202, &received))
}
