//! Pages for people: one frame and one style for all pages, and headers that keep a page out of caches, search engines and frames.
//!
//! Pages are written with Maud, which escapes every value. Only the styles and scripts of this repository are
//! [`PreEscaped`].

use gatehouse_core::error::Error;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use ulid::Ulid;

use super::random;
use super::response::{Body, Response};

/// The style of all pages.
const STYLE: &str = include_str!("page/style.css");

/// A page under construction.
pub struct Page {
    /// The nonce that permits the page's own styles and scripts.
    nonce: String,
}

impl Page {
    /// Creates a page with a random nonce.
    pub fn new() -> Result<Page, Error> {
        Ok(Page { nonce: Ulid::from_bytes(random::secret_bytes()?).to_string() })
    }

    /// A style, for the head.
    pub fn style(&self, css: &'static str) -> Markup {
        html! { style nonce=(self.nonce) { (PreEscaped(css)) } }
    }

    /// A script, for the end of the content.
    pub fn script(&self, js: &'static str) -> Markup {
        html! { script nonce=(self.nonce) { (PreEscaped(js)) } }
    }

    /// The response with the page. `head` is added to the head.
    pub fn response(self, status: u16, title: &str, head: &Markup, content: &Markup) -> Response {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="robots" content="noindex";
                    meta name="referrer" content="no-referrer";
                    title { (title) }
                    link rel="icon" href="/favicon.ico";
                    (self.style(STYLE))
                    (head)
                }
                body {
                    main {
                        h1 { (title) }
                        (content)
                    }
                }
            }
        };
        let nonce = self.nonce;
        // Only the page's own styles and scripts, and this gateway's icon; forms only to this gateway; in no frame.
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; img-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        let body = Body::Text(page.into_string().into());
        sealed(Response::new(status, "text/html; charset=utf-8", body))
            .with("content-security-policy", policy)
    }
}

/// Adds the headers that keep a response out of caches and search engines.
pub fn sealed(response: Response) -> Response {
    response.with("cache-control", "no-store").with("x-robots-tag", "noindex, nofollow")
}
