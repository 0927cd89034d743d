//! E-mail, through Cloudflare's `send_email` binding `GATEWAY_EMAIL`.

use worker::wasm_bindgen::{self, JsValue, prelude::wasm_bindgen};
use worker::{Env, js_sys};

use super::{task, variables};

#[wasm_bindgen(module = "/src/platform/bindings.js")]
extern "C" {
    #[wasm_bindgen(js_name = sendEmail)]
    fn send_email(binding: &JsValue, from: &str, to: &str, subject: &str, text: &str) -> js_sys::Promise;
}

pub struct Email<'a> {
    pub from: &'a str,
    pub to: &'a str,
    /// One line.
    pub subject: &'a str,
    pub text: &'a str,
}

/// True if e-mail can be sent.
pub fn is_bound(env: &Env) -> bool {
    variables::binding(env, "GATEWAY_EMAIL").is_some()
}

/// Sends an e-mail; the error is the runtime's message.
pub async fn send(env: &Env, email: Email<'_>) -> Result<(), String> {
    let binding = variables::binding(env, "GATEWAY_EMAIL").ok_or("there is no binding GATEWAY_EMAIL")?;
    let Email { from, to, subject, text } = email;
    task::settled(send_email(&binding, from, to, subject, text))
        .await
        .map(|_| ())
        .map_err(|error| variables::message(&error))
}
