//! Signatures of others, checked by the runtime's `WebCrypto`, and the public keys that they are checked with.

use gatehouse_core::json;
use gatehouse_core::key::access_token::{AccessToken, PublicKey};
use worker::js_sys;
use worker::wasm_bindgen::{self, prelude::wasm_bindgen};

use super::{task, variables};

#[wasm_bindgen(module = "/src/platform/signature.js")]
extern "C" {
    #[wasm_bindgen(js_name = readKeys)]
    fn read_keys_of(url: &str) -> js_sys::Promise;
    fn verify(key: &str, signed: &str, signature: &str) -> js_sys::Promise;
}

/// Reads public keys; the error is the runtime's message.
pub async fn read_keys(url: &str) -> Result<String, String> {
    let read = task::settled(read_keys_of(url)).await.map_err(|error| variables::message(&error))?;
    read.as_string().ok_or_else(|| "no text".to_owned())
}

/// Returns `true` if the token has the signature of the key.
pub async fn is_signed(token: &AccessToken<'_>, key: &PublicKey) -> bool {
    let signature = hex::encode(&token.signature);
    let verified = task::settled(verify(&json::to_text(key), token.signed, &signature)).await;
    verified.ok().and_then(|verified| verified.as_bool()).unwrap_or(false)
}
