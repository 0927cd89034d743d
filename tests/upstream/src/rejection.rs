//! The rejection of a request, before anything is generated.

/// A request that gets an error for its headers or its body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The reason, in the provider's words.
    pub(crate) message: String,
    /// The field that is wrong, where the envelope has a place for it.
    pub(crate) param: Option<&'static str>,
}

impl Rejection {
    /// A rejection with status 400.
    pub(crate) fn new(message: impl Into<String>, param: Option<&'static str>) -> Self {
        Self { status: 400, message: message.into(), param }
    }
}
