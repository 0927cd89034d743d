//! `/v0/api_keys`: the list of issued keys; their creation, changes, rotation and revocation by operators.

use std::borrow::Cow;

use gatehouse_core::config::Config;
use gatehouse_core::error::{Code, Error};
use gatehouse_core::key::Caller;
use gatehouse_core::onboarding::api_key::{self, ApiKey, NewKey, Rotation, State};
use gatehouse_core::onboarding::approval::{Delivery, expiry};
use gatehouse_core::onboarding::key_name::check_name;
use gatehouse_core::time;
use gatehouse_core::url;
use serde::Serialize;

use super::spending::parameter;
use crate::isolate::Isolate;
use crate::platform::response::{Body, Response};
use crate::platform::{clock, random};
use crate::request_context::RequestContext;
use crate::store::keys::{self, ClaimLink, Credential, Draft, KeyQuery, NewSecret};

/// The maximum number of tries of a change whose key was changed concurrently.
const ATTEMPTS: u32 = 20;
/// The maximum number of keys of a page.
const MOST: u32 = 1000;
/// The header with the number of keys on all pages.
const TOTAL_COUNT: &str = "x-total-count";

/// `GET /v0/api_keys?q=&policy=&state=&after=&limit=`
///
/// The body is an array with and without pages; the next page is in the header `link` (RFC 8288).
pub async fn list(context: &RequestContext<'_>) -> Result<Response, Error> {
    let limit = context.query_number("limit", MOST)?;
    let text =
        |name| Ok::<_, Error>(parameter(context, name)?.filter(|text| !text.is_empty()).map(Cow::into_owned));
    let query = KeyQuery {
        search: text("q")?,
        policy: text("policy")?,
        state: context.query_choice("state", &State::CHOICES)?,
        after: text("after")?,
        limit: limit.map(|limit| limit + 1),
    };
    let now_ms = clock::now_ms();
    let (mut keys, total) = keys::list(&context.env, &query, now_ms).await?;
    let next = limit.and_then(|limit| {
        let has_more = keys.len() > limit as usize;
        keys.truncate(limit as usize);
        let last = keys.last().filter(|_| has_more)?;
        // The query has `limit`, so that it is not empty. A name needs no encoding.
        let same = context.query_of(&["q", "policy", "state", "limit"]);
        Some(format!("<{}{same}&after={}>; rel=\"next\"", context.path(), last.name))
    });
    let shown: Vec<_> = keys.iter().map(|key| key.document(now_ms)).collect();
    let mut response = not_cached(Response::json(200, &shown)).with(TOTAL_COUNT, total.to_string());
    if let Some(next) = next {
        response = response.with("link", next);
    }
    Ok(response)
}

/// `GET /v0/api_keys/{name}`
pub async fn get(context: &RequestContext<'_>, name: &str) -> Result<Response, Error> {
    let key = keys::get(&context.env, name).await?;
    Ok(not_cached(Response::json(200, &[key.document(clock::now_ms())])))
}

/// `POST /v0/api_keys`
pub async fn create(
    context: &RequestContext<'_>,
    isolate: &Isolate,
    operator: &Caller,
) -> Result<Response, Error> {
    context.require_json()?;
    let now_ms = clock::now_ms();
    let NewKey { name, mut settings, delivery } =
        NewKey::read(&context.small_body().await?, &isolate.settings.config, now_ms)?;
    settings.expires_ms = expiry(&isolate.settings.config, &settings.policies, settings.expires_ms, now_ms);
    let id = api_key::new_id(now_ms, random::id_bytes());
    let credential = match delivery {
        Delivery::Claim | Delivery::Email => {
            Credential::Claim(ClaimLink::new(isolate.settings.config.access.claim_hours, now_ms)?)
        }
        Delivery::Key => Credential::Secret(NewSecret::new()?),
    };
    let draft = Draft {
        id: &id,
        name: &name,
        settings: &settings,
        by_user: None,
        request_id: None,
        created_by: &operator.label,
    };
    keys::create(&context.env, draft, &credential).await?;
    let shown = match &credential {
        Credential::Secret(secret) => NewCredential::Created { id: &id, name: &name, api_key: &secret.text },
        Credential::Claim(link) => NewCredential::link(context, &isolate.settings.config, &id, &name, link),
    };
    Ok(not_cached(Response::json(201, &shown)))
}

/// `PATCH /v0/api_keys/{name}`
pub async fn update(
    context: &RequestContext<'_>,
    isolate: &Isolate,
    operator: &Caller,
    name: &str,
) -> Result<Response, Error> {
    context.require_json()?;
    let body = context.small_body().await?;
    for _ in 0..ATTEMPTS {
        let key = keys::get(&context.env, name).await?;
        let now_ms = clock::now_ms();
        let settings = key.settings.clone().patched(&body, &isolate.settings.config, now_ms)?;
        if keys::update(&context.env, &key, &settings, &operator.label).await? {
            isolate.keys.borrow_mut().forget();
            return Ok(Response::json(200, &ApiKey { settings, ..key }.document(now_ms)));
        }
    }
    Err(Error::new(Code::StorageUnavailable, "Other requests are changing this key; try again"))
}

/// `DELETE /v0/api_keys/{name}`
pub async fn revoke(
    context: &RequestContext<'_>,
    isolate: &Isolate,
    operator: &Caller,
    name: &str,
) -> Result<Response, Error> {
    let key = keys::get(&context.env, name).await?;
    keys::revoke(&context.env, &key, &operator.label).await?;
    // The key is revoked here at once; other isolates query the database again within the bound.
    isolate.keys.borrow_mut().forget();
    Ok(Response { status: 200, headers: Vec::new(), body: Body::Empty })
}

/// `POST /v0/api_keys/{name}/rotate`
pub async fn rotate(
    context: &RequestContext<'_>,
    isolate: &Isolate,
    operator: &Caller,
    name: &str,
) -> Result<Response, Error> {
    let Rotation { overlap_ms, delivery } = Rotation::read(&context.small_body().await?)?;
    let key = keys::get(&context.env, name).await?;
    let response = if delivery == Delivery::Key {
        let secret = NewSecret::new()?;
        let ends_ms = keys::rotate(&context.env, &key, &secret, overlap_ms, &operator.label).await?;
        isolate.keys.borrow_mut().forget();
        let ends = (!key.secrets.is_empty()).then(|| time::to_rfc3339(ends_ms));
        let rotated = NewCredential::Rotated {
            id: &key.id,
            name: &key.name,
            api_key: &secret.text,
            previous_expires_at: ends,
        };
        Response::json(200, &rotated)
    } else {
        let link = ClaimLink::new(isolate.settings.config.access.claim_hours, clock::now_ms())?;
        keys::offer_claim(&context.env, &key, &link, overlap_ms, &operator.label).await?;
        Response::json(
            200,
            &NewCredential::link(context, &isolate.settings.config, &key.id, &key.name, &link),
        )
    };
    Ok(not_cached(response))
}

/// The name in a path, percent-decoded. An impossible name is an unknown one.
pub fn name_of(segment: &str) -> Result<String, Error> {
    let name = url::percent_decode(segment);
    check_name(&name).map_err(|_| api_key::unknown(&name))?;
    Ok(name.into_owned())
}

/// The response with a new credential of a key. Times are RFC 3339.
#[derive(Serialize)]
#[serde(untagged)]
enum NewCredential<'a> {
    /// The first secret.
    Created { id: &'a str, name: &'a str, api_key: &'a str },
    /// A further secret. `previous_expires_at` is the expiry of the older ones; `None` if there are none.
    Rotated { id: &'a str, name: &'a str, api_key: &'a str, previous_expires_at: Option<String> },
    /// A claim link, which creates a secret.
    Link { id: &'a str, name: &'a str, claim_url: String, claim_expires_at: String },
}

impl<'a> NewCredential<'a> {
    fn link(
        context: &RequestContext<'_>,
        config: &Config,
        id: &'a str,
        name: &'a str,
        link: &ClaimLink,
    ) -> NewCredential<'a> {
        NewCredential::Link {
            id,
            name,
            claim_url: context.claim_url(config, &link.token),
            claim_expires_at: time::to_rfc3339(link.expires_ms),
        }
    }
}

/// Adds the header that the clients of this surface expect.
fn not_cached(response: Response) -> Response {
    response.with("cache-control", "no-cache")
}
