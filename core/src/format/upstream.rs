//! The upstream that a request is written for.

use crate::catalog::Entry;

/// The upstream that a request is written for.
#[derive(Clone, Copy, Debug)]
pub struct Upstream<'a> {
    /// The provider.
    pub provider: &'a Entry,
    /// The provider's id of the model.
    pub model: &'a str,
    /// `true` if the fields `models` and `provider` are for this provider, not for the gateway.
    pub own_routing: bool,
}
