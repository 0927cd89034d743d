//! Pages for people: one frame and one style for all of them, and headers that keep a page to itself.
//!
//! A template has places such as `{{title}}`, and [`Page::fill`] fills them. Values stand in the page as they are, so
//! text from elsewhere goes through [`escaped`] first.

use gatehouse_core::error::Error;
use ulid::Ulid;

use super::random;
use super::response::{Body, Response};

/// The frame: title, shared style, and the places of what differs.
const FRAME: &str = include_str!("page/frame.html");

/// A page that is being made.
pub struct Page {
    /// What its own styles and scripts are known by.
    nonce: String,
}

impl Page {
    /// A page with a nonce of its own.
    pub fn new() -> Result<Page, Error> {
        Ok(Page { nonce: Ulid::from_bytes(random::secret_bytes()?).to_string() })
    }

    /// A template with its places filled: `{{nonce}}`, and those that are given. What is filled in is not looked at, so
    /// a value cannot have places.
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

    /// The page: its title and its content, and what else it has in its head, each as HTML.
    pub fn response(self, status: u16, title: &str, head: &str, content: &str) -> Response {
        let text = self.fill(FRAME, &[("title", title), ("head", head), ("content", content)]);
        let nonce = self.nonce;
        // Nothing but its own style and script; nowhere to send anything but here; in nobody's frame.
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; form-action 'self'; \
             base-uri 'none'; frame-ancestors 'none'"
        );
        sealed(Response::new(status, "text/html; charset=utf-8", Body::Text(text.into())))
            .with("content-security-policy", policy)
    }
}

/// Kept by no cache, found by no search engine.
pub fn sealed(response: Response) -> Response {
    response.with("cache-control", "no-store").with("x-robots-tag", "noindex, nofollow")
}

/// A text as HTML that shows it: as content, and as the value of an attribute in quotes.
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
