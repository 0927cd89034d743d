//! A whole response, checked.

use super::usage::Usage;
use crate::error::{Code, Error};

/// The byte order mark in UTF-8, which some servers write before their JSON.
pub const BOM: &[u8] = "\u{feff}".as_bytes();

/// The facts that are read from a whole response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// The usage that it reports.
    pub usage: Usage,
    /// An estimate of its output tokens, if it reports none or suspiciously few; otherwise 0.
    pub produced: u64,
    /// `true` if its bytes start with [`BOM`], which not every client can read.
    pub has_bom: bool,
}

/// The error for a response that is not of the requested kind.
pub(super) fn invalid(provider: &str, what: &str) -> Error {
    Error::new(Code::UpstreamInvalidResponse, format!("{provider} returned {what}"))
}
