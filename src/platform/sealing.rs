//! Encryption of secrets that are stored: AES-256-GCM by the runtime's `WebCrypto`, with a random nonce for each text.

use gatehouse_core::error::{Code, Error};
use gatehouse_core::json;
use gatehouse_core::key::Secret;
use gatehouse_core::key::master::MasterKey;
use serde::Serialize;
use worker::js_sys;
use worker::wasm_bindgen::{self, JsValue, prelude::wasm_bindgen};

use super::{random, task};

#[wasm_bindgen(module = "/src/platform/sealing.js")]
extern "C" {
    fn seal(exchange: &str) -> js_sys::Promise;
    fn open(exchange: &str) -> js_sys::Promise;
}

#[derive(Serialize)]
struct ToSeal<'a> {
    key: String,
    items: Vec<(String, &'a str, &'a str)>,
}

#[derive(Serialize)]
struct ToOpen<'a> {
    keys: Vec<String>,
    items: Vec<(usize, &'a str, &'a str)>,
}

/// Encrypts secrets, each bound to a text that its decryption needs.
pub async fn seal_all(key: &MasterKey, items: &[(&Secret, String)]) -> Result<Vec<String>, Error> {
    let mut with_nonces = Vec::with_capacity(items.len());
    for (secret, bound) in items {
        let nonce: [u8; 12] = random::secret_bytes()?;
        with_nonces.push((hex::encode(nonce), secret.expose(), bound.as_str()));
    }
    let exchange = json::to_text(&ToSeal { key: key.expose(), items: with_nonces });
    let sealed = read(task::settled(seal(&exchange)).await);
    let sealed: Option<Vec<String>> = sealed.map(|sealed| sealed.into_iter().flatten().collect());
    sealed
        .filter(|sealed| sealed.len() == items.len())
        .ok_or_else(|| Error::new(Code::InternalError, "The runtime did not encrypt the key"))
}

/// Decrypts sealed secrets, each with the key of an index and the text that it is bound to; `None` for one that does not
/// open.
pub async fn open_all(keys: &[&MasterKey], items: &[(usize, &str, String)]) -> Vec<Option<Secret>> {
    if items.is_empty() {
        return Vec::new();
    }
    let items: Vec<_> = items.iter().map(|(key, sealed, bound)| (*key, *sealed, bound.as_str())).collect();
    let count = items.len();
    let exchange = json::to_text(&ToOpen { keys: keys.iter().map(|key| key.expose()).collect(), items });
    let opened = read(task::settled(open(&exchange)).await);
    let opened = opened.filter(|opened| opened.len() == count).unwrap_or_else(|| vec![None; count]);
    opened.into_iter().map(|text| Secret::new(&text?)).collect()
}

/// Reads what the runtime returned. An error of it is not shown: it could have a part of a secret.
fn read(settled: Result<JsValue, JsValue>) -> Option<Vec<Option<String>>> {
    json::read(&settled.ok()?.as_string()?).ok()
}
