//! `/api/portal/requests`: operators see requests for keys and decide on them.

use std::rc::Rc;

use gatehouse_core::error::{Code, Error};
use gatehouse_core::json;
use gatehouse_core::key::Caller;
use gatehouse_core::onboarding::api_key::{self, Settings};
use gatehouse_core::onboarding::approval::{
    Approval, Delivery, check_known_policies, decline_reason, expiry,
};
use gatehouse_core::onboarding::key_request::{Asked, DeveloperKey, KeyRequest, State};
use gatehouse_core::time;
use serde_json::Value;

use super::{Call, notify};
use crate::gateway::Gateway;
use crate::platform::email::{self, Email};
use crate::platform::reply::Reply;
use crate::platform::{clock, random};
use crate::store::keys::{ClaimLink, Minted, Opening};
use crate::store::requests::{self, PAGE_SIZE};

/// How many times an approval is begun anew because its request was changed meanwhile.
const ATTEMPTS: u32 = 5;

/// `GET /api/portal/requests?p=&approved=&declined=`
pub async fn list(call: &Call<'_>, gateway: &Gateway) -> Result<Reply, Error> {
    let flag = |name| call.query(name).and_then(|text| text.parse::<bool>().ok());
    let state = match (flag("approved"), flag("declined")) {
        (Some(true), _) => Some(State::Approved),
        (_, Some(true)) => Some(State::Declined),
        (Some(false), _) => Some(State::Pending),
        (None, _) => None,
    };
    // No page, or none that is a number: the first. Zero and below: all, without pages.
    let page = call.query("p").and_then(|text| text.trim().parse::<i128>().ok()).unwrap_or(1);
    let page = (page > 0).then(|| u64::try_from(page).unwrap_or(u64::MAX));
    let (found, count) = requests::list(&call.env, state, page).await?;
    let shown = show_all(call, gateway, &found).await?;
    let pages = page.map_or(0, |_| count.div_ceil(PAGE_SIZE));
    Ok(Reply::json(200, &json!({"Data": shown, "Pages": pages})))
}

/// `GET /api/portal/requests/{id}`
pub async fn get(call: &Call<'_>, gateway: &Gateway, id: &str) -> Result<Reply, Error> {
    let found = requests::get(&call.env, id).await?.ok_or_else(not_found)?;
    let shown = show_all(call, gateway, &[found]).await?;
    Ok(Reply::json(200, shown.first().unwrap_or(&Value::Null)))
}

async fn show_all(call: &Call<'_>, gateway: &Gateway, found: &[KeyRequest]) -> Result<Vec<Value>, Error> {
    let developers: Vec<_> = found.iter().map(|request| request.asked.by_user.as_str()).collect();
    let keys = if found.is_empty() { Vec::new() } else { requests::keys_of(&call.env, &developers).await? };
    Ok(found
        .iter()
        .map(|request| {
            let own: Vec<DeveloperKey> = keys
                .iter()
                .filter(|(by_user, _)| *by_user == request.asked.by_user)
                .map(|(_, key)| key.clone())
                .collect();
            request.to_portal(&own, &gateway.config)
        })
        .collect())
}

/// `POST /api/portal/requests`
pub async fn create(call: &Call<'_>, gateway: &Rc<Gateway>, operator: &Caller) -> Result<Reply, Error> {
    let asked = Asked::read(&call.small_body().await?, clock::now_ms())?;
    let telling = notify::expect(call, gateway, &asked.by_user).await?;
    let id = requests::create(&call.env, asked, &operator.label, &|request| telling.words(request)).await?;
    telling.wake(call);
    Ok(done(&id))
}

/// `PUT /api/portal/requests/{id}`
pub async fn update(call: &Call<'_>, operator: &Caller, id: &str) -> Result<Reply, Error> {
    let asked = Asked::read(&call.small_body().await?, clock::now_ms())?;
    if requests::update(&call.env, id, &asked, &operator.label).await? {
        return Ok(done(id));
    }
    Err(not_pending(call, id).await?)
}

/// `DELETE /api/portal/requests/{id}`
pub async fn delete(call: &Call<'_>, operator: &Caller, id: &str) -> Result<Reply, Error> {
    if requests::delete(&call.env, id, &operator.label).await? {
        return Ok(done("Data deleted"));
    }
    Err(Error::new(Code::RequestNotFound, "Could not retrieve object for deletion"))
}

/// `PUT /api/portal/requests/decline/{id}`
pub async fn decline(call: &Call<'_>, operator: &Caller, id: &str) -> Result<Reply, Error> {
    let reason = decline_reason(&call.small_body().await?)?;
    if requests::decline(&call.env, id, reason.as_deref(), &operator.label).await? {
        return Ok(done(id));
    }
    Err(not_pending(call, id).await?)
}

/// `PUT /api/portal/requests/approve/{id}`
pub async fn approve(
    call: &Call<'_>,
    gateway: &Rc<Gateway>,
    operator: &Caller,
    id: &str,
) -> Result<Reply, Error> {
    let approval = Approval::read(&call.small_body().await?, clock::now_ms())?;
    for _ in 0..ATTEMPTS {
        let read = requests::get(&call.env, id).await?.ok_or_else(not_found)?;
        if read.state != State::Pending {
            return Err(processed());
        }
        let telling = notify::expect(call, gateway, &read.asked.by_user).await?;
        let delivery = Way::choose(call, gateway, approval.delivery, &read)?;
        let now_ms = clock::now_ms();
        let policies = approval.policies.clone().unwrap_or_else(|| read.asked.policies.clone());
        check_known_policies(&gateway.config, &policies)?;
        let settings = Settings {
            expires_ms: expiry(&gateway.config, &policies, approval.expires_ms, now_ms),
            policies: policies.clone(),
            ..Settings::default()
        };
        let request = KeyRequest {
            state: State::Approved,
            asked: Asked { policies, ..read.asked.clone() },
            decided_ms: Some(now_ms),
            decided_by: Some(operator.label.to_string()),
            key_id: Some(api_key::new_id(now_ms, random::id_bytes())),
            ..read.clone()
        };
        let opening = match delivery {
            Way::Show => Opening::Secret(Minted::new()?),
            Way::Link | Way::Send { .. } => {
                Opening::Claim(ClaimLink::new(gateway.config.access.claim_hours, now_ms)?)
            }
        };
        let words = |request: &KeyRequest| telling.words(request);
        if requests::approve(&call.env, &read, &request, &settings, &opening, &words).await? {
            telling.wake(call);
            return Ok(deliver(call, delivery, opening).await);
        }
    }
    Err(Error::new(Code::StorageUnavailable, "The request is being changed by others; try again"))
}

/// How the key reaches its holder, and what that needs.
enum Way {
    Show,
    Link,
    Send { from: String, to: String },
}

impl Way {
    fn choose(
        call: &Call<'_>,
        gateway: &Gateway,
        delivery: Delivery,
        request: &KeyRequest,
    ) -> Result<Way, Error> {
        match delivery {
            Delivery::Key => Ok(Way::Show),
            Delivery::Claim => Ok(Way::Link),
            Delivery::Email => {
                let refused = |words| Error::new(Code::InvalidValue, words).with_param("delivery");
                let sender = gateway.config.email.from.clone().filter(|_| email::is_bound(&call.env));
                let from = sender.ok_or_else(|| {
                    refused(
                        "This gateway sends no e-mail: it needs the binding GATEWAY_EMAIL and email.from in gateway.toml; \
                         use 'claim'",
                    )
                })?;
                let to = request.asked.email.clone().ok_or_else(|| {
                    refused("This request has no e-mail address; use 'claim' and pass the link on yourself")
                })?;
                Ok(Way::Send { from, to })
            }
        }
    }
}

/// The answer to an approval. From here on nothing fails: an e-mail that cannot be sent leaves the link to the operator.
async fn deliver(call: &Call<'_>, way: Way, opening: Opening) -> Reply {
    let link = match opening {
        Opening::Secret(minted) => return Reply::json(200, &json!({"RawKey": minted.text})),
        Opening::Claim(link) => link,
    };
    let url = call.claim_url(&link.token);
    let expires = time::to_rfc3339(link.expires_ms);
    let Way::Send { from, to } = way else {
        return Reply::json(200, &json!({"ClaimURL": url, "ExpiresAt": expires}));
    };
    let text = format!(
        "Your request for a key has been approved.\n\n\
         Open this link to see your key. It works once, until {expires}:\n\n{url}\n\n\
         The key is shown only once: have a safe place ready for it.\n\
         If you did not ask for a key, ignore this message.\n"
    );
    let email = Email { from: &from, to: &to, subject: "Your key is ready", text: &text };
    match email::send(&call.env, email).await {
        Ok(()) => Reply::json(200, &json!({"SentTo": to, "ExpiresAt": expires})),
        Err(words) => Reply::json(200, &json!({"ClaimURL": url, "ExpiresAt": expires, "EmailError": words})),
    }
}

/// Why a request that should be pending could not be decided on.
async fn not_pending(call: &Call<'_>, id: &str) -> Result<Error, Error> {
    Ok(match requests::get(&call.env, id).await? {
        None => not_found(),
        Some(_) => processed(),
    })
}

fn not_found() -> Error {
    Error::new(Code::RequestNotFound, "Could not retrieve portal object.")
}

fn processed() -> Error {
    Error::new(Code::RequestProcessed, "Key request has already been processed.")
}

fn done(message: &str) -> Reply {
    Reply::json(200, &json!({"Status": "OK", "Message": message, "Meta": ""}))
}
