//! The receiving of a call's body: JSON, or a form whose files stay in the runtime.

use std::borrow::Cow;

use gatehouse_core::config::Config;
use gatehouse_core::error::Error;
use gatehouse_core::format;
use gatehouse_core::format::form::Form;
use gatehouse_core::format::request::Inference;
use gatehouse_core::framing::multipart::Reader;
use gatehouse_core::operation::Operation;
use worker::js_sys::Uint8Array;
use worker::wasm_bindgen::JsValue;

use crate::platform::request::{BodyLimits, RequestBody};
use crate::platform::upload::Upload;
use crate::platform::upstream::Heartbeat;
use crate::request_context::RequestContext;

/// The body of a call.
pub enum Incoming {
    /// A JSON object.
    Json(RequestBody),
    /// A form: its texts, and all of its bytes.
    Form(Form, Upload),
}

impl Incoming {
    /// Receives the body of a call. `heartbeat` beats while a large one arrives.
    pub async fn receive(
        context: &RequestContext<'_>,
        config: &Config,
        operation: &'static Operation,
        heartbeat: Option<&Heartbeat>,
    ) -> Result<Incoming, Error> {
        let limits = |bytes| BodyLimits { bytes, ms: config.timeouts.body_ms };
        let Some(content_type) = context.check_type(operation.format)? else {
            return Ok(Incoming::Json(
                context.body(limits(config.requests.max_body_bytes), heartbeat).await?,
            ));
        };
        let mut reader = Reader::new(&content_type)?;
        let limits = limits(config.requests.max_upload_bytes);
        let upload = context.upload(&content_type, limits, heartbeat, |bytes| reader.push(bytes)).await?;
        Ok(Incoming::Form(format::form(operation, reader.finish()?)?, upload))
    }

    /// The request in the body.
    pub fn read(&self, operation: &'static Operation) -> Result<Inference<'_>, Error> {
        match self {
            Incoming::Json(body) => format::read(operation, &body.bytes),
            Incoming::Form(form, _) => format::read_form(operation, form),
        }
    }

    /// The body to send. `changed` is the JSON object to send, of a form that of its texts; `None` for the caller's own.
    pub fn outgoing(&self, changed: Option<&[u8]>) -> Result<Cow<'_, JsValue>, Error> {
        Ok(match (self, changed) {
            (Incoming::Form(form, upload), changed) => Cow::Owned(upload.with(form.changes(changed)?)),
            // The runtime sends a copy of its own. A small body that is not changed has one already.
            (Incoming::Json(RequestBody { buffer: Some(buffer), .. }), None) => Cow::Borrowed(buffer),
            (Incoming::Json(body), changed) => {
                Cow::Owned(Uint8Array::from(changed.unwrap_or(&body.bytes)).into())
            }
        })
    }
}
