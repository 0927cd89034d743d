//! The size of a prompt, estimated from its bytes. Nothing is tokenised.

use memchr::memmem;

/// Bytes of English text that make a token, roughly.
pub const BYTES_PER_TOKEN: usize = 4;
/// What an image is taken to cost, in tokens. Providers count some hundred to some thousand.
pub(crate) const TOKENS_PER_IMAGE: usize = 1_000;
/// Images among messages: how many, and how many bytes of them stand in the messages themselves.
pub(crate) struct Images {
    /// How many.
    pub(crate) count: usize,
    /// The bytes of those that are written out.
    pub(crate) bytes: usize,
}

impl Images {
    /// Counts them without reading the messages as JSON: `"image_url"` with both quotes bare is a JSON string and nothing
    /// else, since inside one a quote is escaped. A text that begins like an image is none: only an address is.
    pub(crate) fn of(messages: &[u8]) -> Images {
        let mut bytes = 0;
        let mut written_out = 0;
        // Some clients write the slash that follows as `\/`.
        let finder = memmem::Finder::new(b"\"data:image");
        let mut at = 0;
        while let Some(found) = messages.get(at..).and_then(|rest| finder.find(rest)) {
            let quote = at + found;
            let data = messages.get(quote + 1..).unwrap_or_default();
            let length = memchr::memchr(b'"', data).unwrap_or(data.len());
            if messages.get(..quote).is_some_and(names_an_address) {
                bytes += length;
                written_out += 1;
            }
            at = quote + 1 + length;
        }
        // Each part has the word twice: as its type, and as the member with the address.
        let words = memmem::find_iter(messages, b"\"image_url\"").count();
        Images { count: words.div_ceil(2).max(written_out), bytes }
    }
}

/// Whether a text ends with the name of a member for addresses of images, and a colon.
fn names_an_address(before: &[u8]) -> bool {
    let name = before.trim_ascii_end().strip_suffix(b":").unwrap_or_default().trim_ascii_end();
    [&b"url\""[..], b"\"image\""].iter().any(|end| name.ends_with(end))
}
