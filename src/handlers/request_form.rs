//! The page of `GET /access/request-key`, where people request a key, and the pages that answer its form. They need no
//! scripts.

use gatehouse_core::error::Error;
use gatehouse_core::onboarding::submission::{Form, MAX_USE_CASE};
use gatehouse_core::request_id;
use gatehouse_core::text::MAX_EMAIL;
use maud::{Markup, html};

use super::claims;
use crate::platform::page::Page;
use crate::platform::response::Response;
use crate::platform::{clock, random};

/// The field that makes a repeated submission of the same page the same request, as `Idempotency-Key` does.
pub const ONCE: &str = "once";
/// The style of the form, over that of claim links.
const STYLE: &str = include_str!("request_form/style.css");
/// The title of the page.
const TITLE: &str = "Request a key";

/// The page with the empty form.
pub fn empty(auto_issue: bool) -> Result<Response, Error> {
    page(200, TITLE, |_| form(&Form::default(), None, auto_issue))
}

/// The form again, with the values that were entered and the error.
pub fn rejected(error: &Error, entered: &Form, auto_issue: bool) -> Result<Response, Error> {
    let shown = page(error.status, TITLE, |_| form(entered, Some(error), auto_issue))?;
    Ok(claims::with_headers_of(error, shown))
}

/// The page after a submission that waits for the operator, or whose key was shown before.
pub fn received(message: &str, request_id: Option<&str>) -> Result<Response, Error> {
    page(if request_id.is_some() { 202 } else { 200 }, "Request received", |_| {
        html! {
            p { (message) }
            @if let Some(id) = request_id {
                p.quiet { "The id of your request, for questions: " code { (id) } }
            }
        }
    })
}

/// The page with a key that was issued at once.
pub fn issued(key: &str) -> Result<Response, Error> {
    page(201, "Your key", |page| claims::shown(page, key))
}

fn page(status: u16, title: &str, content: impl FnOnce(&Page) -> Markup) -> Result<Response, Error> {
    let page = Page::new()?;
    let head = html! { (page.style(claims::STYLE)) (page.style(STYLE)) };
    let content = content(&page);
    Ok(page.response(status, title, &head, &content))
}

fn form(entered: &Form, error: Option<&Error>, auto_issue: bool) -> Markup {
    let at_fault = error.and_then(|error| error.param.as_deref());
    let invalid = |name: &str| (at_fault == Some(name)).then_some("true");
    let described = |name: &str| (at_fault == Some(name)).then_some("fault");
    // A corrected form is another request.
    let once = request_id::generate(clock::now_ms(), random::id_bytes());
    let intended_use = entered.get("intended_use");
    html! {
        @if let Some(error) = error {
            p #fault role="alert" { strong { "Not sent. " } (error.message) "." }
        }
        p {
            @if auto_issue { "Your key is shown as soon as you send this form, once." }
            @else { "An operator of this gateway reviews your request and answers by e-mail." }
        }
        form method="post" action="/access/request-key" {
            input type="hidden" name=(ONCE) value=(once);
            label {
                "E-mail address"
                input type="email" name="email" required maxlength=(MAX_EMAIL) autocomplete="email"
                    value=(entered.get("email")) aria-invalid=[invalid("email")] aria-describedby=[described("email")];
            }
            label {
                "Purpose of the key"
                textarea name="use_case" required maxlength=(MAX_USE_CASE) rows="5"
                    aria-invalid=[invalid("use_case")] aria-describedby=[described("use_case")]
                    { (entered.get("use_case")) }
            }
            label {
                "Name (optional)"
                input name="name" minlength="2" maxlength="80" autocomplete="name"
                    value=(entered.get("name")) aria-invalid=[invalid("name")] aria-describedby=[described("name")];
            }
            label {
                "Company (optional)"
                input name="company" maxlength="120" autocomplete="organization"
                    value=(entered.get("company")) aria-invalid=[invalid("company")] aria-describedby=[described("company")];
            }
            label {
                "Intended use (optional)"
                select name="intended_use" aria-invalid=[invalid("intended_use")] aria-describedby=[described("intended_use")] {
                    @for (value, text) in [
                        ("", "Not stated"), ("personal", "Personal"), ("internal", "Internal"), ("production", "Production"),
                    ] {
                        option value=(value) selected[value == intended_use] { (text) }
                    }
                }
            }
            label {
                "Calls per day (optional)"
                input type="number" name="expected_daily_requests" min="1" max="200000" inputmode="numeric"
                    value=(entered.get("expected_daily_requests")) aria-invalid=[invalid("expected_daily_requests")]
                    aria-describedby=[described("expected_daily_requests")];
            }
            button { "Send the request" }
        }
        p.quiet {
            "The gateway stores what you enter here, and keyed hashes of your address and browser. "
            a href="/docs/request-a-key" { "Key requests" }
        }
    }
}
