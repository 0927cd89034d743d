//! Size estimates of prompts from their bytes. Nothing is tokenised.

use memchr::memmem;

/// The approximate number of bytes of English text in a token.
pub const BYTES_PER_TOKEN: usize = 4;
/// The assumed size of an image, in tokens. Providers count between some hundreds and some thousands.
pub(crate) const TOKENS_PER_IMAGE: usize = 1_000;
/// The images in messages.
pub(crate) struct Images {
    /// The number of images.
    pub(crate) count: usize,
    /// The bytes of the images that are embedded in the messages.
    pub(crate) bytes: usize,
}

impl Images {
    /// Counts images without parsing the messages: `"image_url"` between bare quotes can only be a JSON string, because
    /// quotes inside a string are escaped. A text that starts like an image is not counted: only a URL is.
    pub(crate) fn of(messages: &[u8]) -> Images {
        let mut bytes = 0;
        let mut embedded = 0;
        // Some clients write the following slash as `\/`.
        let finder = memmem::Finder::new(b"\"data:image");
        let mut at = 0;
        while let Some(found) = messages.get(at..).and_then(|rest| finder.find(rest)) {
            let quote = at + found;
            let data = messages.get(quote + 1..).unwrap_or_default();
            let length = memchr::memchr(b'"', data).unwrap_or(data.len());
            if messages.get(..quote).is_some_and(names_a_url) {
                bytes += length;
                embedded += 1;
            }
            at = quote + 1 + length;
        }
        // Each part has the word twice: as its type, and as the field with the URL.
        let words = memmem::find_iter(messages, b"\"image_url\"").count();
        Images { count: words.div_ceil(2).max(embedded), bytes }
    }
}

/// Returns `true` if a text ends with the name of a field for image URLs, and a colon.
fn names_a_url(before: &[u8]) -> bool {
    let name = before.trim_ascii_end().strip_suffix(b":").unwrap_or_default().trim_ascii_end();
    [&b"url\""[..], b"\"image\""].iter().any(|end| name.ends_with(end))
}
