//! Pages for people: one frame and one style for all of them, and headers that keep each page private.
//!
//! A template has placeholders such as `{{title}}`, which [`Page::fill`] replaces. Values are inserted unchanged, so
//! text from elsewhere must go through [`escaped`] first.

use gatehouse_core::error::Error;
use ulid::Ulid;

use super::random;
use super::response::{Body, Response};

/// The frame: title, shared style, and placeholders for the rest.
const FRAME: &str = include_str!("page/frame.html");

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

    /// Replaces the placeholders of a template: `{{nonce}}` and the given ones. Values are not searched for
    /// placeholders.
    pub fn fill(&self, template: &str, values: &[(&str, &str)]) -> String {
        let mut out = String::with_capacity(template.len());
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else { break };
            out.push_str(before);
            match values.iter().find(|(known, _)| *known == name) {
                Some((_, value)) => out.push_str(value),
                None if name == "nonce" => out.push_str(&self.nonce),
                None => {}
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }

    /// The response with the page. Title, additional head and content are HTML.
    pub fn response(self, status: u16, title: &str, head: &str, content: &str) -> Response {
        let text = self.fill(FRAME, &[("title", title), ("head", head), ("content", content)]);
        let nonce = self.nonce;
        // Only the page's own style and script; forms only to this origin; no framing.
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; form-action 'self'; \
             base-uri 'none'; frame-ancestors 'none'"
        );
        sealed(Response::new(status, "text/html; charset=utf-8", Body::Text(text.into())))
            .with("content-security-policy", policy)
    }
}

/// Adds the headers that keep a response out of caches and search engines.
pub fn sealed(response: Response) -> Response {
    response.with("cache-control", "no-store").with("x-robots-tag", "noindex, nofollow")
}

/// Escapes a text for HTML content and for quoted attribute values.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(character),
        }
    }
    out
}
