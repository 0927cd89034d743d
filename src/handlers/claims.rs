//! `/access/claim/{token}`: the holder of a claim link sees a key, once.
//!
//! Credential the link shows a page with a button and changes nothing, so that chat programs and mail filters that look at
//! links do no harm. The button posts to the same address; that spends the link.

use std::rc::Rc;

use gatehouse_core::envelope::Surface;
use gatehouse_core::error::{Code, Error};
use gatehouse_core::json;

use crate::authentication;
use crate::isolate::Isolate;
use crate::platform::clock;
use crate::platform::page::{Page, escaped, sealed};
use crate::platform::response::Response;
use crate::request_context::RequestContext;
use crate::store::claims;
use crate::store::keys::NewSecret;

/// The style of all pages here.
const HEAD: &str = include_str!("claim/head.html");
const OFFER: &str = include_str!("claim/offer.html");
const KEY: &str = include_str!("claim/key.html");
const FAULT: &str = include_str!("claim/fault.html");

/// `GET /access/claim/{token}`
pub async fn show(context: &RequestContext<'_>, isolate: &Isolate, token: &str) -> Result<Response, Error> {
    match look_up(context, isolate, token).await {
        Ok(_) => page(200, "Your key is ready", OFFER, &[]),
        Err(error) => fault(context, error),
    }
}

/// `POST /access/claim/{token}`
pub async fn redeem(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    token: &str,
) -> Result<Response, Error> {
    let (name, key) = match spend(context, isolate, token).await {
        Ok(shown) => shown,
        Err(error) => return fault(context, error),
    };
    isolate.keys.borrow_mut().forget();
    if context.wants_page() {
        return page(200, "Your key", KEY, &[("key", &escaped(&key))]);
    }
    let message = "Store it safely: it is shown only once.";
    Ok(sealed(Response::json(200, &json!({"api_key": key, "name": name, "message": message}))))
}

/// The link of a token. One that leads nowhere counts as a failed authentication.
async fn look_up(
    context: &RequestContext<'_>,
    isolate: &Isolate,
    token: &str,
) -> Result<claims::Found, Error> {
    authentication::check_not_blocked(context, isolate)?;
    match claims::find(&context.env, token).await {
        Ok(found) => found.check(clock::now_ms()).map(|()| found),
        Err(error) if error.is(Code::ClaimNotFound) => {
            Err(authentication::failed(context, isolate, error).await)
        }
        Err(error) => Err(error),
    }
}

async fn spend(
    context: &RequestContext<'_>,
    isolate: &Isolate,
    token: &str,
) -> Result<(String, String), Error> {
    let found = look_up(context, isolate, token).await?;
    let secret = NewSecret::new()?;
    claims::redeem(&context.env, &found, &secret).await?;
    Ok((found.name, secret.text))
}

/// What went wrong: a page for people, the usual envelope for programs.
fn fault(context: &RequestContext<'_>, error: Error) -> Result<Response, Error> {
    if !context.wants_page() {
        return Err(error);
    }
    let title = if error.is(Code::ClaimUsed) {
        "Used already"
    } else if error.is(Code::ClaimExpired) {
        "Too late"
    } else if error.is(Code::ClaimNotFound) {
        "No key here"
    } else {
        "Not now"
    };
    let shown = page(error.status, title, FAULT, &[("message", &escaped(&error.message))])?;
    // The headers of the error stay: who refused, and when to try again.
    let headers = Response::error(&error, Surface::OpenAi).headers.into_iter();
    Ok(headers
        .filter(|(name, _)| *name != "content-type")
        .fold(shown, |response, (name, value)| response.with(name, value)))
}

fn page(status: u16, title: &str, content: &str, values: &[(&str, &str)]) -> Result<Response, Error> {
    let page = Page::new()?;
    let (head, content) = (page.fill(HEAD, &[]), page.fill(content, values));
    Ok(page.response(status, title, &head, &content))
}
