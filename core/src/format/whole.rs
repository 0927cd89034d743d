//! A whole response, checked, and what the checks of all formats share.

use crate::error::{Code, Error};
use crate::json::members::{self, Members, ReadError};
use crate::usage::Usage;

/// The byte order mark in UTF-8, which some servers write before their JSON.
pub const BOM: &[u8] = "\u{feff}".as_bytes();

/// The facts that are read from a whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// The usage that it reports.
    pub usage: Usage,
    /// An estimate of its output tokens, if it reports none or suspiciously few; otherwise 0.
    pub produced: u64,
    /// `true` if its bytes start with [`BOM`], which not every client can read.
    pub has_bom: bool,
    /// `true` if it is a text without a place for a usage, which then follows from the request.
    pub is_text: bool,
    /// The body for the caller, if it was translated.
    pub translated: Option<Vec<u8>>,
}

/// The error for a response that is not of the requested kind.
pub(super) fn invalid(provider: &str, what: &str) -> Error {
    Error::new(Code::UpstreamInvalidResponse, format!("{provider} returned {what}"))
}

/// A response with more bytes than this for each token that it reports is looked at closely.
const BYTES_PER_TOLD_TOKEN: u64 = 64;

/// Returns `true` if a usage reports enough output for a content of this size, in bytes.
pub(super) fn is_plausible(usage: &Usage, content: usize) -> bool {
    usage.completion_tokens.unwrap_or(0).saturating_mul(BYTES_PER_TOLD_TOKEN) >= content as u64
}

/// Reads the members of these names, `usage` among them, and the usage with `read_usage`. `None` if the text is no JSON
/// object.
///
/// A complete response is not asked and paid for again because a member appears twice: the last one counts, and the
/// largest usage.
pub(super) fn read<'j, const N: usize>(
    json: &'j [u8],
    names: &'static [&'static str; N],
    read_usage: impl Fn(&str) -> Option<Usage>,
) -> Option<([Option<&'j str>; N], Usage)> {
    match members::pick(json, names) {
        Ok(found) => {
            let values = found.map(|member| member.map(|member| member.value));
            let usage =
                names.iter().position(|name| *name == "usage").and_then(|index| *values.get(index)?);
            Some((values, usage.and_then(read_usage).unwrap_or_default()))
        }
        Err(ReadError::Duplicate(_)) => {
            let members = Members::read(json, &[]).ok()?;
            // The texts live as long as the body.
            let value = |name: &str| members.all(name).last().map(|member| member.place.clone());
            let values =
                names.map(|name| value(name).and_then(|place| std::str::from_utf8(json.get(place)?).ok()));
            let reports = members.all("usage").filter_map(|member| read_usage(member.value));
            Some((values, reports.fold(Usage::default(), Usage::larger)))
        }
        Err(ReadError::Malformed(_)) => None,
    }
}
