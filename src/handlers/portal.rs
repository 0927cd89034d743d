//! `/api/portal/requests`: the review of key requests by operators.

use std::rc::Rc;

use gatehouse_core::config::Config;
use gatehouse_core::error::{Code, Error};
use gatehouse_core::key::Caller;
use gatehouse_core::onboarding::api_key::{self, Settings};
use gatehouse_core::onboarding::approval::{
    Approval, Delivery, check_known_policies, decline_reason, expiry,
};
use gatehouse_core::onboarding::increase::Increase;
use gatehouse_core::onboarding::key_request::{DeveloperKey, KeyRequest, KeyRequestDraft, State};
use gatehouse_core::onboarding::portal::PortalRequest;
use gatehouse_core::onboarding::webhook::Notification;
use gatehouse_core::time;
use serde::Serialize;

use super::spending::parameter;
use crate::isolate::Isolate;
use crate::notification;
use crate::platform::email::{self, Email};
use crate::platform::response::Response;
use crate::platform::{clock, random};
use crate::request_context::RequestContext;
use crate::store::keys::{self, ClaimLink, Credential, NewSecret};
use crate::store::requests::{self, PAGE_SIZE};

/// The maximum number of tries of a decision whose request was changed concurrently.
const ATTEMPTS: u32 = 5;

/// A page of requests.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RequestPage<'a> {
    data: Vec<PortalRequest<'a>>,
    /// The number of pages; 0 if all requests are on one.
    pages: u64,
}

/// The response to a change.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Done<'a> {
    status: &'static str,
    message: &'a str,
    meta: &'static str,
}

/// The response to an approval.
#[derive(Serialize)]
#[serde(untagged)]
enum Approved {
    /// The key, for the operator to pass on.
    #[serde(rename_all = "PascalCase")]
    Key { raw_key: String },
    /// The claim link, for the operator to pass on. `email_error` is the reason why it was not sent.
    #[serde(rename_all = "PascalCase")]
    Link {
        #[serde(rename = "ClaimURL")]
        claim_url: String,
        expires_at: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        email_error: Option<String>,
    },
    /// The address that the claim link was sent to.
    #[serde(rename_all = "PascalCase")]
    Sent { sent_to: String, expires_at: String },
}

/// `GET /api/portal/requests?p=&approved=&declined=&q=`
pub async fn list(context: &RequestContext<'_>, isolate: &Isolate) -> Result<Response, Error> {
    let state = match (flag(context, "approved")?, flag(context, "declined")?) {
        (Some(true), _) => Some(State::Approved),
        (_, Some(true)) => Some(State::Declined),
        (Some(false), _) => Some(State::Pending),
        (None, _) => None,
    };
    // No page: the first page. Zero and below: all requests, without pages.
    let page = match given(context, "p") {
        None => 1,
        Some(text) => text.parse::<i128>().map_err(|_| not_understood("p", "a whole number"))?,
    };
    let page = (page > 0).then(|| u64::try_from(page).unwrap_or(u64::MAX));
    let search = parameter(context, "q")?.filter(|text| !text.is_empty());
    let (found, count) = requests::list(&context.env, state, search.as_deref(), page).await?;
    let keys = keys_of(context, &found).await?;
    let data = found.iter().map(|request| shown(isolate, request, &keys)).collect();
    let pages = page.map_or(0, |_| count.div_ceil(PAGE_SIZE));
    Ok(Response::json(200, &RequestPage { data, pages }))
}

/// A query parameter that is not blank.
fn given(context: &RequestContext<'_>, name: &str) -> Option<String> {
    let text = context.query(name)?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// A filter that is true or false, as the languages of clients write it: Python sends `True`, forms send `1` and `on`.
fn flag(context: &RequestContext<'_>, name: &'static str) -> Result<Option<bool>, Error> {
    let Some(text) = given(context, name) else { return Ok(None) };
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" | "t" | "y" => Ok(Some(true)),
        "false" | "0" | "no" | "off" | "f" | "n" => Ok(Some(false)),
        _ => Err(not_understood(name, "true or false")),
    }
}

/// The error for a filter that is not understood: without it, the list would look complete and would not be.
fn not_understood(name: &'static str, what: &str) -> Error {
    Error::new(Code::InvalidValue, format!("'{name}' must be {what}")).with_param(name)
}

/// `GET /api/portal/requests/{id}`
pub async fn get(context: &RequestContext<'_>, isolate: &Isolate, id: &str) -> Result<Response, Error> {
    let found = [requests::get(&context.env, id).await?.ok_or_else(not_found)?];
    let keys = keys_of(context, &found).await?;
    let [request] = &found;
    Ok(Response::json(200, &shown(isolate, request, &keys)))
}

/// The live keys of the developers of some requests, by developer.
async fn keys_of(
    context: &RequestContext<'_>,
    found: &[KeyRequest],
) -> Result<Vec<(String, DeveloperKey)>, Error> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let developers: Vec<_> = found.iter().map(|request| request.draft.by_user.as_str()).collect();
    requests::keys_of(&context.env, &developers).await
}

fn shown<'a>(
    isolate: &'a Isolate,
    request: &'a KeyRequest,
    keys: &'a [(String, DeveloperKey)],
) -> PortalRequest<'a> {
    let own = keys.iter().filter(|(by_user, _)| *by_user == request.draft.by_user);
    PortalRequest::of(request, own.map(|(_, key)| key), &isolate.settings.config)
}

/// `POST /api/portal/requests`
pub async fn create(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    operator: &Caller,
) -> Result<Response, Error> {
    let draft = KeyRequestDraft::read(&context.small_body().await?, clock::now_ms())?;
    let notification = notification::prepare(context, &isolate.settings, &draft.by_user).await?;
    let id = requests::create(&context.env, draft, &operator.label, notification.as_ref()).await?;
    notification::deliver_after_response(context, notification.as_ref());
    Ok(done(&id))
}

/// `PUT /api/portal/requests/{id}`
pub async fn update(context: &RequestContext<'_>, operator: &Caller, id: &str) -> Result<Response, Error> {
    let draft = KeyRequestDraft::read(&context.small_body().await?, clock::now_ms())?;
    for _ in 0..ATTEMPTS {
        let read = requests::get(&context.env, id).await?.ok_or_else(not_found)?;
        if read.state != State::Pending {
            return Err(processed());
        }
        if read.increase.is_some() {
            let message = "This request asks for higher limits of a key, and cannot be changed: approve it with other \
                           'limits', or decline it";
            return Err(Error::new(Code::InvalidValue, message));
        }
        if requests::update(&context.env, &read, &draft, &operator.label).await? {
            return Ok(done(id));
        }
    }
    Err(processed())
}

/// `DELETE /api/portal/requests/{id}`
pub async fn delete(context: &RequestContext<'_>, operator: &Caller, id: &str) -> Result<Response, Error> {
    if requests::delete(&context.env, id, &operator.label).await? {
        return Ok(done("Data deleted"));
    }
    Err(Error::new(Code::RequestNotFound, "Could not retrieve object for deletion"))
}

/// `PUT /api/portal/requests/decline/{id}`
pub async fn decline(context: &RequestContext<'_>, operator: &Caller, id: &str) -> Result<Response, Error> {
    let reason = decline_reason(&context.small_body().await?)?;
    if requests::decline(&context.env, id, reason.as_deref(), &operator.label).await? {
        return Ok(done(id));
    }
    Err(not_pending(context, id).await?)
}

/// `PUT /api/portal/requests/approve/{id}`
pub async fn approve(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    operator: &Caller,
    id: &str,
) -> Result<Response, Error> {
    let approval = Approval::read(&context.small_body().await?, clock::now_ms())?;
    for _ in 0..ATTEMPTS {
        let read = requests::get(&context.env, id).await?.ok_or_else(not_found)?;
        if read.state != State::Pending {
            return Err(processed());
        }
        let notification = notification::prepare(context, &isolate.settings, &read.draft.by_user).await?;
        if let Some(increase) = &read.increase {
            if approve_increase(context, isolate, operator, &approval, &read, increase, notification.as_ref())
                .await?
            {
                notification::deliver_after_response(context, notification.as_ref());
                isolate.keys.borrow_mut().forget();
                return Ok(done(id));
            }
            continue;
        }
        let delivery = DeliveryPlan::choose(context, isolate, approval.delivery, &read)?;
        let now_ms = clock::now_ms();
        let policies = approval.policies.clone().unwrap_or_else(|| read.draft.policies.clone());
        check_known_policies(&isolate.settings.config, &policies)?;
        let settings = Settings {
            expires_ms: expiry(&isolate.settings.config, &policies, approval.expires_ms, now_ms),
            policies: policies.clone(),
            limits: approval.limits.clone(),
            ..Settings::default()
        };
        let request = KeyRequest {
            state: State::Approved,
            draft: KeyRequestDraft { policies, ..read.draft.clone() },
            decided_ms: Some(now_ms),
            decided_by: Some(operator.label.to_string()),
            key_id: Some(api_key::new_id(now_ms, random::id_bytes())),
            ..read.clone()
        };
        let credential = match delivery {
            DeliveryPlan::Show => Credential::Secret(NewSecret::new()?),
            DeliveryPlan::Link | DeliveryPlan::Send { .. } => {
                Credential::Claim(ClaimLink::new(isolate.settings.config.access.claim_hours, now_ms)?)
            }
        };
        let name = approval.name.as_deref();
        if requests::approve(
            &context.env,
            &read,
            &request,
            name,
            &settings,
            &credential,
            notification.as_ref(),
        )
        .await?
        {
            notification::deliver_after_response(context, notification.as_ref());
            return Ok(Response::json(
                200,
                &deliver(context, &isolate.settings.config, delivery, credential).await,
            ));
        }
    }
    Err(Error::new(Code::StorageUnavailable, "Other requests are changing this key request; try again"))
}

/// Approves a request for higher limits. `false` if the request or the key was changed since they were read.
async fn approve_increase(
    context: &RequestContext<'_>,
    isolate: &Isolate,
    operator: &Caller,
    approval: &Approval,
    read: &KeyRequest,
    increase: &Increase,
    notification: Option<&Notification<'_>>,
) -> Result<bool, Error> {
    let key = keys::get(&context.env, &increase.key_name).await?;
    if key.id != increase.key_id {
        return Err(api_key::unknown(&increase.key_name));
    }
    let settings = increase.settings(&key.settings, approval, &isolate.settings.config)?;
    let request = KeyRequest {
        state: State::Approved,
        draft: KeyRequestDraft { approved: true, ..read.draft.clone() },
        decided_ms: Some(clock::now_ms()),
        decided_by: Some(operator.label.to_string()),
        ..read.clone()
    };
    requests::approve_increase(&context.env, &request, &key, &settings, &operator.label, notification).await
}

/// The delivery of the key, with the data that it needs.
enum DeliveryPlan {
    Show,
    Link,
    Send { from: String, to: String },
}

impl DeliveryPlan {
    fn choose(
        context: &RequestContext<'_>,
        isolate: &Isolate,
        delivery: Delivery,
        request: &KeyRequest,
    ) -> Result<DeliveryPlan, Error> {
        match delivery {
            Delivery::Key => Ok(DeliveryPlan::Show),
            Delivery::Claim => Ok(DeliveryPlan::Link),
            Delivery::Email => {
                let refused = |words| Error::new(Code::InvalidValue, words).with_param("delivery");
                let sender =
                    isolate.settings.config.email.from.clone().filter(|_| email::is_bound(&context.env));
                let from = sender.ok_or_else(|| {
                    refused(
                        "This gateway sends no e-mail: it needs the binding GATEWAY_EMAIL and email.from in gateway.toml; \
                         use 'claim'",
                    )
                })?;
                let to = request.draft.email.clone().ok_or_else(|| {
                    refused("This request has no e-mail address; use 'claim' and pass the link on yourself")
                })?;
                Ok(DeliveryPlan::Send { from, to })
            }
        }
    }
}

/// Delivers the key of an approved request. It never fails: if the e-mail cannot be sent, the operator gets the link.
async fn deliver(
    context: &RequestContext<'_>,
    config: &Config,
    plan: DeliveryPlan,
    credential: Credential,
) -> Approved {
    let link = match credential {
        Credential::Secret(secret) => return Approved::Key { raw_key: secret.text },
        Credential::Claim(link) => link,
    };
    let url = context.claim_url(config, &link.token);
    let expires = time::to_rfc3339(link.expires_ms);
    let DeliveryPlan::Send { from, to } = plan else {
        return Approved::Link { claim_url: url, expires_at: expires, email_error: None };
    };
    let text = format!(
        "Your request for a key has been approved.\n\n\
         Open this link to see your key. It works once, until {expires}:\n\n{url}\n\n\
         The key is shown only once: have a safe place ready for it.\n\
         If you did not ask for a key, ignore this message.\n"
    );
    let email = Email { from: &from, to: &to, subject: "Your key is ready", text: &text };
    match email::send(&context.env, email).await {
        Ok(()) => Approved::Sent { sent_to: to, expires_at: expires },
        Err(reason) => Approved::Link { claim_url: url, expires_at: expires, email_error: Some(reason) },
    }
}

/// The error for a request that is not pending.
async fn not_pending(context: &RequestContext<'_>, id: &str) -> Result<Error, Error> {
    Ok(match requests::get(&context.env, id).await? {
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

fn done(message: &str) -> Response {
    Response::json(200, &Done { status: "OK", message, meta: "" })
}
