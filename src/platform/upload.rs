//! Uploads: bodies of many megabytes that are read here piece by piece and stay in JavaScript.
//!
//! Wasm memory never shrinks, and a body that is sent from it is copied for each attempt. The pieces of an upload are
//! sent as they are, with the changed bytes between them. So an upload is held once, where any other body is there twice
//! while it is sent, and counts half as much in the budget of the isolate.

use std::ops::Range;

use gatehouse_core::error::Error;
use worker::wasm_bindgen::{self, JsValue, prelude::wasm_bindgen};
use worker::{js_sys, web_sys};

use super::memory::Ticket;
use super::request::{BodyError, BodyLimits, pieces};
use super::upstream::Heartbeat;

#[wasm_bindgen(module = "/src/platform/upload.js")]
extern "C" {
    fn spliced(pieces: &js_sys::Array, content_type: &str, changes: &js_sys::Array) -> JsValue;
}

/// The part of each byte of an upload that counts in the budget.
const SHARE: f64 = 0.5;

/// An upload that has arrived.
#[derive(Debug)]
pub struct Upload {
    pieces: js_sys::Array,
    content_type: String,
    _ticket: Ticket,
}

/// Reads a request's body. `take` gets the bytes one after the other; the error is its own.
pub async fn read(
    request: &web_sys::Request,
    content_type: &str,
    declared: Option<u64>,
    limits: BodyLimits,
    heartbeat: Option<&Heartbeat>,
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<Result<Upload, Error>, BodyError> {
    let (pieces, ticket) = pieces(request, declared, limits, SHARE, heartbeat).await?;
    let mut bytes = Vec::new();
    for piece in &pieces {
        bytes.resize(piece.length() as usize, 0);
        piece.copy_to(&mut bytes);
        if let Err(error) = take(&bytes) {
            return Ok(Err(error));
        }
    }
    let content_type = content_type.to_owned();
    Ok(Ok(Upload { pieces: pieces.iter().collect(), content_type, _ticket: ticket }))
}

impl Upload {
    /// The body for an upstream: that of the request with other bytes in some places, which are in their order.
    pub fn with(&self, changes: Vec<(Range<usize>, Vec<u8>)>) -> JsValue {
        let list = js_sys::Array::new();
        for (place, bytes) in changes {
            // A body has far fewer bytes than a JavaScript number can count.
            list.push(&JsValue::from(u32::try_from(place.start).unwrap_or(u32::MAX)));
            list.push(&JsValue::from(u32::try_from(place.end).unwrap_or(u32::MAX)));
            list.push(&js_sys::Uint8Array::from(bytes.as_slice()));
        }
        spliced(&self.pieces, &self.content_type, &list)
    }
}
