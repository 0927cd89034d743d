//! `/access/request-key`: a request for a key. `GET` returns a page with a form, `POST` takes the form or JSON.
//!
//! The response does not reveal earlier requests of other clients, and the request is stored before the response is
//! sent. A form is accepted only from the gateway's own page: browsers send forms of other sites without asking.

use std::borrow::Cow;
use std::rc::Rc;

use gatehouse_core::error::{Code, Error};
use gatehouse_core::onboarding::api_key::{self, Settings};
use gatehouse_core::onboarding::approval::{check_known_policies, expiry};
use gatehouse_core::onboarding::key_request::KeyRequestDraft;
use gatehouse_core::onboarding::pseudonym::Pseudonyms;
use gatehouse_core::onboarding::sliding_log::{Take, Verdict};
use gatehouse_core::onboarding::submission::{Form, Submission, idempotency_key, received_message};
use gatehouse_core::request_id;
use gatehouse_core::time::DAY_MS;
use serde::Serialize;
use worker::Env;

use super::request_form;
use crate::isolate::Isolate;
use crate::notification;
use crate::objects::rate_limiter;
use crate::platform::response::Response;
use crate::platform::{clock, random};
use crate::request_context::RequestContext;
use crate::request_context::seconds;
use crate::store::keys::{Credential, NewSecret};
use crate::store::requests::{self, AutoIssue, Origin, Submitted};

/// The page with the form.
pub fn form(isolate: &Isolate) -> Result<Response, Error> {
    request_form::empty(isolate.settings.auto_issue)
}

/// Handles a submission.
pub async fn request_key(context: &RequestContext<'_>, isolate: &Rc<Isolate>) -> Result<Response, Error> {
    if !context.sends_form() {
        let accepted = accept(context, isolate, None).await?;
        return Ok(accepted.into_json());
    }
    let wants_page = context.wants_page();
    let body = match context.small_body().await {
        Err(error) if wants_page => {
            return request_form::rejected(&error, &Form::default(), isolate.settings.auto_issue);
        }
        body => body?,
    };
    if body.trim_ascii_start().starts_with(b"{") {
        // A program that names no content type, as curl does with `-d`.
        context.require_json()?;
    }
    let form = Form::read(&body);
    match accept(context, isolate, Some((body, &form))).await {
        Err(error) if wants_page => request_form::rejected(&error, &form, isolate.settings.auto_issue),
        Ok(Accepted { submitted, key, email }) if wants_page => match (submitted, key) {
            (_, Some(key)) => request_form::issued(&key),
            (Submitted::Before { with_key: true, .. }, None) => request_form::received(SHOWN_BEFORE, None),
            (Submitted::Stored(id) | Submitted::Before { id, .. }, None) => {
                request_form::received(&received_message(&email), Some(&id))
            }
        },
        accepted => Ok(accepted?.into_json()),
    }
}

/// The message for a repeated submission whose key was shown before.
const SHOWN_BEFORE: &str = "Your key was issued for an earlier request, and was shown only then.";

/// A submission that was stored, now or before.
struct Accepted {
    submitted: Submitted,
    /// The key, if one was issued now.
    key: Option<String>,
    /// The requester's address.
    email: String,
}

/// Stores the submission of a form or, without one, of the JSON body.
async fn accept(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    form: Option<(Vec<u8>, &Form)>,
) -> Result<Accepted, Error> {
    let Some(pseudonyms) = &isolate.settings.pseudonyms else {
        let words = "This gateway accepts no key requests: its operator has not configured any key";
        return Err(Error::new(Code::AuthNotConfigured, words));
    };
    let config = &isolate.settings.config;
    if (isolate.settings.auto_issue || form.is_some()) && context.is_of_other_origin(config) {
        let message = if form.is_some() {
            "This form was sent from a page of another site; open /access/request-key of this gateway and send it there"
        } else {
            "This gateway issues keys at once, and so not to pages of other origins; send the request from a program"
        };
        return Err(Error::new(Code::PermissionDenied, message).with_param("origin"));
    }
    let (body, submission, once) = if let Some((body, form)) = form {
        let once = Some(form.get(request_form::ONCE)).filter(|once| !once.is_empty()).map(str::to_owned);
        (body, Submission::read_form(form)?, once)
    } else {
        context.require_json()?;
        let body = context.small_body().await?;
        let submission = Submission::read(&body)?;
        (body, submission, None)
    };
    let idempotency_key = idempotency_key(context.header("idempotency-key").or(once))?;
    let (origin, limiter) = origin(context, pseudonyms, idempotency_key.as_deref(), &body);

    // The hit has a name, so that it can be removed. No caller can choose the same name twice, except by its
    // Idempotency-Key, which counts once.
    let name = origin
        .idempotency_key
        .clone()
        .unwrap_or_else(|| request_id::generate(clock::now_ms(), random::id_bytes()));
    let take = Take { limit: config.access.requests_per_day, span_ms: DAY_MS, name: Some(name.clone()) };
    let verdict = rate_limiter::take(&context.env, &limiter, take).await.map_err(|_| {
        Error::new(Code::StorageUnavailable, "The gateway cannot count key requests now; try again")
    })?;
    if let Verdict::Refused(wait_ms) = verdict {
        let words = "Too many access requests from this IP. Try again later.";
        return Err(Error::new(Code::RateLimitExceeded, words).with_retry_after(seconds(wait_ms)));
    }
    let email = submission.email.clone();
    let stored = store(context, isolate, submission, &origin).await;
    match stored {
        Ok((submitted, key)) => Ok(Accepted { submitted, key, email }),
        Err(error) => {
            if verdict == Verdict::Allowed && error.is(Code::StorageUnavailable) {
                give_back(&context.env, &limiter, &name).await;
            }
            Err(error)
        }
    }
}

/// Keyed hashes of the origin of a submission, and the name of its client's limiter.
fn origin(
    context: &RequestContext<'_>,
    pseudonyms: &Pseudonyms,
    idempotency_key: Option<&str>,
    body: &[u8],
) -> (Origin, String) {
    let address = context.client();
    let origin = Origin {
        client: pseudonyms.of("client", &address),
        user_agent: context.header("user-agent").map(|agent| pseudonyms.of("user agent", &agent)),
        idempotency_key: idempotency_key
            .map(|key| pseudonyms.of("idempotency key", &format!("{address}\n{key}"))),
        body: idempotency_key.map(|_| pseudonyms.of("body", &String::from_utf8_lossy(body))),
    };
    let limiter = format!("key requests {}", origin.client);
    (origin, limiter)
}

/// Removes a hit whose submission was not stored.
async fn give_back(env: &Env, limiter: &str, name: &str) {
    // If this fails too, the client has one request less today.
    let _ = rate_limiter::give_back(env, limiter, name).await;
}

async fn store(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    submission: Submission,
    origin: &Origin,
) -> Result<(Submitted, Option<String>), Error> {
    let now_ms = clock::now_ms();
    let policies = isolate.settings.config.access.policies.clone();
    let draft = KeyRequestDraft::by_stranger(submission, policies.clone(), now_ms);
    let notification = notification::prepare(context, &isolate.settings, &draft.by_user).await?;
    if !isolate.settings.auto_issue {
        let submitted = requests::submit(&context.env, draft, origin, None, notification.as_ref()).await?;
        notification::deliver_after_response(context, notification.as_ref());
        return Ok((submitted, None));
    }
    check_known_policies(&isolate.settings.config, &policies)?;
    let secret = NewSecret::new()?;
    let key = secret.text.clone();
    let settings = Settings {
        expires_ms: expiry(&isolate.settings.config, &policies, None, now_ms),
        policies,
        ..Settings::default()
    };
    let key_id = api_key::new_id(now_ms, random::id_bytes());
    let auto = AutoIssue { key_id: &key_id, settings: &settings, credential: &Credential::Secret(secret) };
    let submitted = requests::submit(&context.env, draft, origin, Some(auto), notification.as_ref()).await?;
    notification::deliver_after_response(context, notification.as_ref());
    let key = matches!(submitted, Submitted::Stored(_)).then_some(key);
    Ok((submitted, key))
}

/// The response to a submission.
#[derive(Serialize)]
struct Received {
    /// `kreq_…`
    request_id: String,
    /// `approved` or `pending`.
    status: &'static str,
    /// The key, in the response that issues it.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
    message: Cow<'static, str>,
}

impl Accepted {
    /// The response for programs.
    fn into_json(self) -> Response {
        let (status, received) = match (self.submitted, self.key) {
            (Submitted::Stored(request_id), Some(key)) => {
                let message = "Your key has been issued. Store it safely: it is shown only once.".into();
                (201, Received { request_id, status: "approved", api_key: Some(key), message })
            }
            (Submitted::Before { id, with_key: true }, _) => {
                let message = SHOWN_BEFORE.into();
                (200, Received { request_id: id, status: "approved", api_key: None, message })
            }
            (Submitted::Stored(id) | Submitted::Before { id, .. }, _) => {
                let message = received_message(&self.email).into();
                (202, Received { request_id: id, status: "pending", api_key: None, message })
            }
        };
        Response::json(status, &received)
    }
}
