//! The page for an address under `/docs` that does not exist. Programs get the usual error instead, and so does everybody
//! outside of the documentation.

use gatehouse_core::error::Error;
use maud::html;

use crate::platform::page::Page;
use crate::platform::response::Response;
use crate::request_context::RequestContext;

/// Returns `true` if a browser asks for a page of the documentation.
pub fn applies(context: &RequestContext<'_>) -> bool {
    matches!(context.method(), "GET" | "HEAD") && context.path().starts_with("/docs/") && context.wants_page()
}

/// The page, which leads back to the documentation.
pub fn show() -> Result<Response, Error> {
    let content = html! {
        p { "The documentation has no page at this address. It may have moved, or the address is mistyped." }
        ul {
            li { a href="/docs" { "Documentation" } ", with a search in every page" }
            li { a href="/docs/start" { "Quickstart" } }
            li { a href="/docs/errors" { "Errors by their code" } }
            li { a href="/docs/api" { "API reference" } }
        }
    };
    Ok(Page::new()?.response(404, "Page not found", &html! {}, &content))
}
