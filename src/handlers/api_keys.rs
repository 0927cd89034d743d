//! `/v0/api_keys`: operators make, change, rotate and revoke keys.

use gatehouse_core::error::{Code, Error};
use gatehouse_core::json;
use gatehouse_core::key::Caller;
use gatehouse_core::onboarding::api_key::{self, NewKey, Rotation, check_name};
use gatehouse_core::onboarding::approval::{Delivery, expiry};
use gatehouse_core::time;
use serde_json::Value;

use super::Call;
use crate::gateway::Gateway;
use crate::platform::reply::{Body, Reply};
use crate::platform::{clock, random, request};
use crate::store::keys::{self, ClaimLink, Draft, Minted, Opening};

/// How many times a change is begun anew because the key was changed meanwhile.
const ATTEMPTS: u32 = 20;

/// `GET /v0/api_keys`
pub async fn list(call: &Call<'_>) -> Result<Reply, Error> {
    let now_ms = clock::now_ms();
    let shown: Vec<_> =
        keys::list_keys(&call.env, None).await?.iter().map(|key| key.to_json(now_ms)).collect();
    Ok(not_cached(Reply::json(200, &json!(shown))))
}

/// `GET /v0/api_keys/{name}`
pub async fn get(call: &Call<'_>, name: &str) -> Result<Reply, Error> {
    let key = keys::get(&call.env, name).await?;
    Ok(not_cached(Reply::json(200, &json!([key.to_json(clock::now_ms())]))))
}

/// `POST /v0/api_keys`
pub async fn create(call: &Call<'_>, gateway: &Gateway, operator: &Caller) -> Result<Reply, Error> {
    call.require_json()?;
    let now_ms = clock::now_ms();
    let NewKey { name, mut settings, delivery } =
        NewKey::read(&call.small_body().await?, &gateway.config, now_ms)?;
    settings.expires_ms = expiry(&gateway.config, &settings.policies, settings.expires_ms, now_ms);
    let id = api_key::new_id(now_ms, random::id_bytes());
    let opening = match delivery {
        Delivery::Claim | Delivery::Email => {
            Opening::Claim(ClaimLink::new(gateway.config.access.claim_hours, now_ms)?)
        }
        Delivery::Key => Opening::Secret(Minted::new()?),
    };
    let draft = Draft {
        id: &id,
        name: &name,
        settings: &settings,
        by_user: None,
        request_id: None,
        created_by: &operator.label,
    };
    keys::create(&call.env, draft, &opening).await?;
    let shown = match opening {
        Opening::Secret(minted) => json!({"id": id, "name": name, "api_key": minted.text}),
        Opening::Claim(link) => claim_json(call, &id, &name, &link),
    };
    Ok(not_cached(Reply::json(201, &shown)))
}

/// `PATCH /v0/api_keys/{name}`
pub async fn update(
    call: &Call<'_>,
    gateway: &Gateway,
    operator: &Caller,
    name: &str,
) -> Result<Reply, Error> {
    call.require_json()?;
    let body = call.small_body().await?;
    for _ in 0..ATTEMPTS {
        let key = keys::get(&call.env, name).await?;
        let now_ms = clock::now_ms();
        let settings = key.settings.clone().patched(&body, &gateway.config, now_ms)?;
        if keys::update(&call.env, &key, &settings, &operator.label).await? {
            gateway.keys.borrow_mut().forget();
            return Ok(Reply::json(200, &api_key::ApiKey { settings, ..key }.to_json(now_ms)));
        }
    }
    Err(Error::new(Code::StorageUnavailable, "The key is being changed by others; try again"))
}

/// `DELETE /v0/api_keys/{name}`
pub async fn revoke(
    call: &Call<'_>,
    gateway: &Gateway,
    operator: &Caller,
    name: &str,
) -> Result<Reply, Error> {
    let key = keys::get(&call.env, name).await?;
    keys::revoke(&call.env, &key, &operator.label).await?;
    // Here it is dead at once; other isolates ask again within the bound.
    gateway.keys.borrow_mut().forget();
    Ok(Reply { status: 200, headers: Vec::new(), body: Body::Empty })
}

/// `POST /v0/api_keys/{name}/rotate`
pub async fn rotate(
    call: &Call<'_>,
    gateway: &Gateway,
    operator: &Caller,
    name: &str,
) -> Result<Reply, Error> {
    let Rotation { overlap_ms, delivery } = Rotation::read(&call.small_body().await?)?;
    let key = keys::get(&call.env, name).await?;
    let shown = if delivery == Delivery::Key {
        let minted = Minted::new()?;
        let ends_ms = keys::rotate(&call.env, &key, &minted, overlap_ms, &operator.label).await?;
        gateway.keys.borrow_mut().forget();
        let ends = (!key.secrets.is_empty()).then(|| time::to_rfc3339(ends_ms));
        json!({"id": key.id, "name": key.name, "api_key": minted.text, "previous_expires_at": ends})
    } else {
        let link = ClaimLink::new(gateway.config.access.claim_hours, clock::now_ms())?;
        keys::offer_claim(&call.env, &key, &link, overlap_ms, &operator.label).await?;
        claim_json(call, &key.id, &key.name, &link)
    };
    Ok(not_cached(Reply::json(200, &shown)))
}

/// The name in a path: percent-decoded. One that no key can have is an unknown one.
pub fn name_of(segment: &str) -> Result<String, Error> {
    let name = request::percent_decode(segment);
    check_name(&name).map_err(|_| api_key::unknown(&name))?;
    Ok(name)
}

fn claim_json(call: &Call<'_>, id: &str, name: &str, link: &ClaimLink) -> Value {
    json!({
        "id": id,
        "name": name,
        "claim_url": call.claim_url(&link.token),
        "claim_expires_at": time::to_rfc3339(link.expires_ms),
    })
}

/// As this dialect's clients expect it.
fn not_cached(reply: Reply) -> Reply {
    reply.with("cache-control", "no-cache")
}
