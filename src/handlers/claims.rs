//! `/access/claim`: a claim link shows a key to its holder, once.
//!
//! The token is in the fragment of the link, which browsers do not send: no log of requests has it. `GET` returns a page
//! with a button, the same for every link, so that link previews and mail filters do not use up the link. The button posts
//! the token in the body, which uses up the link.

use std::rc::Rc;

use gatehouse_core::envelope::Surface;
use gatehouse_core::error::{Code, Error};
use gatehouse_core::key::Digest;
use gatehouse_core::onboarding::claim::token_in;
use maud::{Markup, html};
use serde::Serialize;

use crate::authentication;
use crate::isolate::Isolate;
use crate::platform::clock;
use crate::platform::page::{Page, sealed};
use crate::platform::response::Response;
use crate::request_context::RequestContext;
use crate::store::claims;
use crate::store::keys::NewSecret;

/// The style of these pages.
pub(super) const STYLE: &str = include_str!("claim/style.css");
/// The script that takes the token from the fragment.
const OFFER: &str = include_str!("claim/offer.js");
/// The script of the button that copies the key.
const COPY: &str = include_str!("claim/copy.js");

/// The key, for programs.
#[derive(Serialize)]
struct Claimed<'a> {
    api_key: &'a str,
    name: &'a str,
    message: &'static str,
}

/// `GET /access/claim`
pub fn show() -> Result<Response, Error> {
    page(200, "Your key is ready", offer)
}

/// `POST /access/claim`
pub async fn redeem(context: &RequestContext<'_>, isolate: &Rc<Isolate>) -> Result<Response, Error> {
    let (name, key) = match spend(context, isolate).await {
        Ok(shown) => shown,
        Err(error) => return fault(context, error),
    };
    isolate.keys.borrow_mut().forget();
    if context.wants_page() {
        return page(200, "Your key", |page| shown(page, &key));
    }
    let claimed = Claimed { api_key: &key, name: &name, message: "Store it safely: it is shown only once." };
    Ok(sealed(Response::json(200, &claimed)))
}

/// The link of a token. An unknown link counts as a failed authentication.
async fn look_up(
    context: &RequestContext<'_>,
    isolate: &Isolate,
    token: &str,
) -> Result<claims::Found, Error> {
    authentication::check_not_blocked(context, isolate)?;
    match claims::find(&context.env, token).await {
        Ok(found) => found.check(clock::now_ms()).map(|()| found),
        Err(error) if error.is(Code::ClaimNotFound) => {
            let digest = Digest::of(token.as_bytes());
            Err(authentication::failed(context, isolate, &digest, error).await)
        }
        Err(error) => Err(error),
    }
}

async fn spend(context: &RequestContext<'_>, isolate: &Isolate) -> Result<(String, String), Error> {
    let token = token_in(&context.small_body().await?)?;
    let found = look_up(context, isolate, &token).await?;
    let secret = NewSecret::new()?;
    claims::redeem(&context.env, &found, &secret).await?;
    Ok((found.name, secret.text))
}

/// The response to a link that cannot be used: a page for people, the usual envelope for programs.
fn fault(context: &RequestContext<'_>, error: Error) -> Result<Response, Error> {
    if !context.wants_page() {
        return Err(error);
    }
    let title = if error.is(Code::MissingMember) {
        "No link"
    } else if error.is(Code::ClaimUsed) {
        "Link already used"
    } else if error.is(Code::ClaimExpired) {
        "Link expired"
    } else if error.is(Code::ClaimNotFound) {
        "Unknown link"
    } else {
        "Temporarily unavailable"
    };
    let shown = page(error.status, title, |_| rejection(&error.message))?;
    Ok(with_headers_of(&error, shown))
}

/// Adds the headers of an error to its page: its source, and the time to wait.
pub(super) fn with_headers_of(error: &Error, shown: Response) -> Response {
    let headers = Response::error(error, Surface::OpenAi, "").headers.into_iter();
    headers
        .filter(|(name, _)| *name != "content-type")
        .fold(shown, |response, (name, value)| response.with(name, value))
}

fn page(status: u16, title: &str, content: impl FnOnce(&Page) -> Markup) -> Result<Response, Error> {
    let page = Page::new()?;
    let (head, content) = (page.style(STYLE), content(&page));
    Ok(page.response(status, title, &head, &content))
}

/// The content of the page with the button. Without scripts, the holder pastes the link.
fn offer(page: &Page) -> Markup {
    html! {
        p {
            "The key is shown " strong { "once" } ": prepare a safe place for it, such as a password manager, before you \
             continue."
        }
        form method="post" {
            label #link { "The link that you were given" input #token name="token" autocomplete="off" required; }
            button { "Show my key" }
        }
        p.quiet { "The link works once. If you did not expect it, close this page." }
        (page.script(OFFER))
    }
}

/// The content of the page with the key.
pub(super) fn shown(page: &Page, key: &str) -> Markup {
    html! {
        p { "Store it now. It is not shown again: the gateway stores only its digest, and the operator does not see it." }
        code #key { (key) }
        button #copy type="button" hidden { "Copy" }
        p.quiet {
            "Send it as " strong { "Authorization: Bearer" } " and the key. "
            a href="/docs/start" { "Quickstart" }
        }
        (page.script(COPY))
    }
}

/// The content of the page for a link that cannot be used.
fn rejection(message: &str) -> Markup {
    html! {
        p { (message) "." }
        p.quiet {
            "Each key is shown once, so that nobody else can see yours. If you need another link, ask the operator of this \
             gateway."
        }
    }
}
