//! Authentication: identifies the caller by the key of the request and checks that the key may use the route.
//!
//! Ring keys are compared in memory. Issued keys are read from D1 through the isolate's
//! `gatehouse_core::key::KeyCache`, which bounds how long a revoked key works. A text that is not a well-formed key is
//! never looked up.
//!
//! A call checks its issued key again before each attempt ([`check_again`]): its body may have taken minutes, and so may
//! an earlier attempt. Ring keys are not checked again, because the secrets of an isolate never change.
//!
//! An operator without a key may have a token of Cloudflare Access ([`cloudflare_access`]). A key counts first.
//!
//! Clients that present too many wrong keys are blocked. The client's `RateLimiter` object counts them, each once in a
//! minute; once it reports that the limit is reached, this isolate blocks the client by itself until there is room again.
//! A bad script behind a shared address must not lock out the others, so a block depends on the key:
//!
//! - Keys of the generated form, which nobody can guess, are never refused if they are valid. Ring keys are compared in
//!   memory. Issued keys are looked up if they are cached, or if their public id is among those that exist: the isolate
//!   reads all public ids in one query, at most every [`PUBLIC_IDS_MS`]. All others get 429 without a look-up.
//! - Other texts are guessable. They are not compared, and get 429.
//!
//! So however many keys a client invents, an isolate makes at most as many look-ups for it in a minute as the limit says,
//! and one query in [`PUBLIC_IDS_MS`].

mod cloudflare_access;
mod wrong_keys;

use std::rc::Rc;

use gatehouse_core::envelope::Surface;
use gatehouse_core::error::{Code, Error};
use gatehouse_core::key::{self, Caller, Conflict, Digest, IssuedKey, Remembered, Secret, Stored};
use worker::Env;

use crate::isolate::{Isolate, PublicIds, accounts};
use crate::platform::{clock, task};
use crate::request_context::RequestContext;
use crate::settings::Settings;
use crate::store::keys;
use gatehouse_core::routes::Audience;

pub use wrong_keys::{check_not_blocked, failed};
use wrong_keys::{client, too_many_failures};

/// The age at which the public ids are read again, in milliseconds: for as long a key that has just been made can be
/// refused to a client that is blocked.
const PUBLIC_IDS_MS: u64 = 2_000;
/// The largest number of public ids that an isolate remembers: some 4 MB. With more keys, a blocked client gets 429 for
/// issued keys that are not cached.
const MAX_PUBLIC_IDS: u32 = 50_000;

/// Authenticates the caller of a route that is not public.
pub async fn authenticate(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    audience: Audience,
) -> Result<Caller, Error> {
    check_configured(isolate, audience)?;
    let Some(secret) = credential(context)? else {
        return match cloudflare_access::operator(context, isolate, audience).await? {
            Some(operator) => Ok(operator),
            None => Err(no_credential(context)),
        };
    };
    let digest = Digest::of(secret.expose().as_bytes());
    let public_id = || key::public_id(secret.expose()).ok();
    if !isolate.wrong_keys.borrow().is_empty() && public_id().is_none() {
        check_not_blocked(context, isolate)?;
    }
    let of_ring = match audience {
        Audience::Operator => isolate.settings.operators.authenticate(&digest),
        Audience::Inference => isolate.settings.ring.authenticate(&digest),
        Audience::Holder => isolate
            .settings
            .operators
            .authenticate(&digest)
            .or_else(|| isolate.settings.ring.authenticate(&digest)),
    };
    if let Some(caller) = of_ring {
        return Ok(caller.clone());
    }
    let issued = match public_id() {
        Some(public_id) => issued_key(context, isolate, public_id, &digest).await?,
        None => None,
    };
    match (audience, issued) {
        (Audience::Inference, Some(key)) => {
            check_issued(context, isolate, &key).inspect_err(|error| {
                isolate.accounts.reject(context, &accounts::of_key(&key.id), error);
            })?;
            Ok(Caller::with_issued_key(key))
        }
        // The usage of a key can be read with every key that works.
        (Audience::Holder, Some(key)) => {
            key.check_alive(clock::now_ms())?;
            Ok(Caller::with_issued_key(key))
        }
        (Audience::Inference, None) if isolate.settings.operators.authenticate(&digest).is_some() => {
            let message = "This is an operator's key, which runs no inference; use an inference key";
            Err(Error::new(Code::PermissionDenied, message))
        }
        (Audience::Operator, issued)
            if issued.is_some() || isolate.settings.ring.authenticate(&digest).is_some() =>
        {
            // The two spaces are part of the message that clients of the portal expect.
            let message = format!("access denied: You do not have permission to access  {}", context.path());
            Err(Error::new(Code::PermissionDenied, message))
        }
        _ => Err(failed(context, isolate, &digest, explained(&secret)).await),
    }
}

/// The working issued key of a request to a public route, so that lists can be limited to what the key may use. A wrong
/// key counts as no key, and as a wrong key of its client: the error is that there were too many.
pub async fn known_key(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
) -> Result<Option<Rc<IssuedKey>>, Error> {
    let Some(secret) = credential(context).ok().flatten() else { return Ok(None) };
    let Ok(public_id) = key::public_id(secret.expose()) else { return Ok(None) };
    let digest = Digest::of(secret.expose().as_bytes());
    let Settings { ring, operators, .. } = &*isolate.settings;
    if ring.authenticate(&digest).or_else(|| operators.authenticate(&digest)).is_some() {
        return Ok(None);
    }
    let error = match issued_key(context, isolate, public_id, &digest).await {
        Ok(Some(key)) => return Ok(key.check_alive(clock::now_ms()).is_ok().then_some(key)),
        Ok(None) => failed(context, isolate, &digest, not_valid()).await,
        Err(error) => error,
    };
    if error.is(Code::RateLimitExceeded) { Err(error) } else { Ok(None) }
}

/// Fails if no key of this kind is configured, so that no caller could be authenticated.
fn check_configured(isolate: &Isolate, audience: Audience) -> Result<(), Error> {
    let has_access = isolate.settings.config.cloudflare_access.team_url.is_some();
    let message = match audience {
        Audience::Operator | Audience::Holder if has_access => return Ok(()),
        Audience::Operator if isolate.settings.operators.is_empty() => {
            "No operator key is configured: set GATEWAY_ADMIN_KEY_HASHES"
        }
        _ if isolate.settings.ring.is_empty() && isolate.settings.operators.is_empty() => {
            "Gateway API key is not configured: the operator has to set GATEWAY_API_KEY or GATEWAY_API_KEY_HASHES, or \
             GATEWAY_ADMIN_KEY_HASHES to issue keys"
        }
        _ => return Ok(()),
    };
    Err(Error::new(Code::AuthNotConfigured, message))
}

/// The headers that carry nothing but a key, beside `Authorization`. Those of Google's and of Azure's clients are read
/// only if the others are absent: reading a header that `Head` does not have costs a crossing into JavaScript.
const KEY_HEADERS: [&str; 3] = ["x-api-key", "x-goog-api-key", "api-key"];

/// The key of the request, from `Authorization: Bearer`; on `/api/portal` also a bare key in `Authorization`; on `/v1`
/// also `x-api-key`, `x-goog-api-key` or `api-key`.
pub fn credential(context: &RequestContext<'_>) -> Result<Option<Secret>, Error> {
    let authorization = context.header("authorization").unwrap_or_default();
    let bearer = key::bearer(&authorization).map_err(|Conflict| conflicting("authorization"))?;
    match context.surface() {
        Surface::V0 => Ok(bearer),
        Surface::Portal => Ok(bearer.or_else(|| Secret::new(&authorization))),
        Surface::OpenAi | Surface::Anthropic => {
            let mut found = bearer;
            for name in KEY_HEADERS {
                if found.is_some() && name == "x-goog-api-key" {
                    break;
                }
                let value = context.header(name).unwrap_or_default();
                let key = key::plain(&value).map_err(|Conflict| conflicting(name))?;
                if let (Some(known), Some(key)) = (&found, &key)
                    && known.expose() != key.expose()
                {
                    let message =
                        "The headers 'Authorization' and 'x-api-key' carry different keys; send one of them";
                    return Err(Error::new(Code::ConflictingCredentials, message).with_param(name));
                }
                found = found.or(key);
            }
            Ok(found)
        }
    }
}

/// The value of `www-authenticate` in a 401.
pub fn challenge(context: &RequestContext<'_>) -> &'static str {
    // RFC 6750, section 3: the challenge names an error only when there was a credential.
    match credential(context) {
        Ok(Some(_)) => r#"Bearer realm="gatehouse", error="invalid_token""#,
        _ => r#"Bearer realm="gatehouse""#,
    }
}

fn conflicting(header: &'static str) -> Error {
    let message =
        format!("The header '{header}' was sent more than once, with different keys; send one of them");
    Error::new(Code::ConflictingCredentials, message).with_param(header)
}

fn no_credential(context: &RequestContext<'_>) -> Error {
    let sent = match context.header("authorization") {
        Some(_) => "the header 'Authorization' is not of the form 'Bearer <key>'",
        None => "no key was sent",
    };
    let message = format!("Unauthorized: {sent}. Send 'Authorization: Bearer <key>' or 'x-api-key: <key>'");
    Error::new(Code::InvalidApiKey, message)
}

fn not_valid() -> Error {
    Error::new(Code::InvalidApiKey, "Unauthorized: this key is not valid here")
}

/// The error for a key that is not valid, with what is visibly wrong with it.
fn explained(key: &Secret) -> Error {
    let fault = key::fault(key.expose());
    if fault.is_empty() { not_valid() } else { not_valid().with_more(&format!(": {fault}")) }
}

/// The issued key with this public id, if the whole key matches.
async fn issued_key(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    public_id: &str,
    digest: &Digest,
) -> Result<Option<Rc<IssuedKey>>, Error> {
    let stored = stored(context, isolate, public_id, Purpose::Authenticate).await?;
    Ok(stored.filter(|(known, _)| bool::from(known.ct_eq(digest))).map(|(_, key)| key))
}

/// The purpose of a look-up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// A request presents the key.
    Authenticate,
    /// A request that has presented a valid key is about to be sent.
    CheckAgain,
}

/// The key with this public id, from the cache or from D1.
async fn stored(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    public_id: &str,
    purpose: Purpose,
) -> Result<Stored, Error> {
    let remembered = isolate.keys.borrow_mut().recall(public_id, clock::now_ms());
    let stored = match remembered {
        Remembered::Fresh(stored) => stored,
        Remembered::Ageing(stored) => {
            let (isolate, env, public_id) = (Rc::clone(isolate), context.env.clone(), public_id.to_owned());
            // If this fails, the cached entry is used until it is too old and is then read again.
            task::after_response(&context.execution, async move {
                let _ = fetch_and_remember(&isolate, &env, &public_id).await;
            });
            stored
        }
        Remembered::Nothing => {
            if purpose == Purpose::CheckAgain {
                return fetch_and_remember(isolate, &context.env, public_id).await;
            }
            let client = client(context, isolate);
            check_look_up(context, isolate, client.as_deref(), public_id).await?;
            let stored = fetch_and_remember(isolate, &context.env, public_id).await?;
            if let Some(client) = client.filter(|_| stored.is_some()) {
                isolate.wrong_keys.borrow_mut().found(&client);
            }
            stored
        }
    };
    Ok(stored)
}

/// Checks again that the issued key of a call may make it, immediately before the call is sent. Returns the key as it is
/// now. As long as the cached entry is young enough this is a look-up in memory; otherwise the key is read from D1.
pub async fn check_again(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    key: &Rc<IssuedKey>,
) -> Result<Rc<IssuedKey>, Error> {
    let now = match stored(context, isolate, &key.public_id, Purpose::CheckAgain).await? {
        Some((_, now)) if Rc::ptr_eq(&now, key) => now,
        Some((digest, now)) if is_sent(context, &digest) => now,
        _ => return Err(not_valid()),
    };
    check_issued(context, isolate, &now)?;
    Ok(now)
}

/// Returns `true` if the key of the request has this digest.
fn is_sent(context: &RequestContext<'_>, digest: &Digest) -> bool {
    let sent = credential(context).ok().flatten();
    sent.is_some_and(|sent| Digest::of(sent.expose().as_bytes()).ct_eq(digest).into())
}

/// Checks that an issued key may be looked up for a client: it has presented few wrong keys, or the key exists.
async fn check_look_up(
    context: &RequestContext<'_>,
    isolate: &Isolate,
    client: Option<&str>,
    public_id: &str,
) -> Result<(), Error> {
    let Some(client) = client else { return Ok(()) };
    let now_ms = clock::now_ms();
    let limit = isolate.settings.config.access.failed_auth_per_minute;
    let blocked_ms = isolate.wrong_keys.borrow().blocked_until(client, now_ms);
    let wait_ms = match blocked_ms {
        Some(until_ms) => until_ms - now_ms,
        None => match isolate.wrong_keys.borrow_mut().look_up(client, limit, now_ms) {
            Ok(()) => return Ok(()),
            Err(wait_ms) => wait_ms,
        },
    };
    if exists(context, isolate, public_id).await? { Ok(()) } else { Err(too_many_failures(wait_ms)) }
}

/// Returns `true` if an issued key has this public id, as far as was known [`PUBLIC_IDS_MS`] ago.
async fn exists(context: &RequestContext<'_>, isolate: &Isolate, public_id: &str) -> Result<bool, Error> {
    let now_ms = clock::now_ms();
    let has = |known: &PublicIds| known.ids.as_ref().is_some_and(|ids| ids.contains(public_id));
    {
        let known = isolate.public_ids.borrow();
        let is_fresh = now_ms.checked_sub(known.asked_ms).is_some_and(|ms| ms < PUBLIC_IDS_MS);
        if has(&known) || is_fresh && known.ids.is_some() {
            return Ok(has(&known));
        }
    }
    // While the ids are read again, others use those that are known.
    isolate.public_ids.borrow_mut().asked_ms = now_ms;
    let ids = keys::public_ids(&context.env, MAX_PUBLIC_IDS).await?;
    let known = PublicIds { asked_ms: now_ms, ids: Some(ids.unwrap_or_default()) };
    let found = has(&known);
    isolate.public_ids.replace(known);
    Ok(found)
}

async fn fetch_and_remember(isolate: &Isolate, env: &Env, public_id: &str) -> Result<Stored, Error> {
    let requested_ms = clock::now_ms();
    let stored = keys::find_by_public_id(env, public_id).await?;
    isolate.keys.borrow_mut().remember(public_id, requested_ms, stored.clone());
    Ok(stored)
}

/// Checks that an issued key is alive and may use the endpoint.
fn check_issued(context: &RequestContext<'_>, isolate: &Isolate, key: &IssuedKey) -> Result<(), Error> {
    key.check_alive(clock::now_ms())?;
    key.check_endpoint(&isolate.settings.config, context.path())
}
