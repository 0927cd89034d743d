//! The rejection of a request, before anything is generated.

use std::borrow::Cow;

/// A request that gets an error for its headers or its body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The reason, in the provider's words.
    pub(crate) message: String,
    /// The field that is wrong, where the envelope has a place for it.
    pub(crate) param: Option<Cow<'static, str>>,
    /// The code; none: the usual code of the status.
    pub(crate) code: Option<&'static str>,
}

impl Rejection {
    /// A rejection with status 400.
    pub(crate) fn new(message: impl Into<String>, param: Option<&'static str>) -> Self {
        Self { status: 400, message: message.into(), param: param.map(Cow::Borrowed), code: None }
    }

    /// The same with a field that is wrong.
    pub(crate) fn with_param(self, param: impl Into<String>) -> Self {
        Self { param: Some(Cow::Owned(param.into())), ..self }
    }

    /// The same with a code.
    pub(crate) fn with_code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }
}
