//! Opaque blobs of reasoning on their way through a client: a signature, or the reasoning itself in encrypted form.
//!
//! A maker wants its blob back with the next turn and rejects everybody else's. The gateway keeps no state, so a blob
//! that leaves its own format travels in a field that clients echo, as a text that names its maker:
//! `gatehouse:<kind>:<maker>:<data>`. On the way back the maker's lane gets the bare data; every other lane gets none.

use memchr::memmem;
use sha2::{Digest as _, Sha256};

/// The beginning of every blob outside of its own format. No provider's blob contains a colon.
pub const MARK: &str = "gatehouse:";

/// A blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Its kind.
    pub kind: Kind,
    /// The lane that can read it.
    pub maker: Maker,
    /// The blob, as its maker wrote it.
    pub data: String,
}

/// The kinds of blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The signature of reasoning whose text is beside it: Anthropic's `signature`, Google's `thoughtSignature`.
    Signature,
    /// The whole reasoning without a text: Anthropic's `redacted_thinking`.
    Redacted,
    /// The encrypted reasoning whose summary is beside it: OpenAI's `encrypted_content`.
    Encrypted,
    /// No blob: the text beside it is what the maker wants back, such as `DeepSeek`'s `reasoning_content`.
    Plain,
}

/// The lane that made a blob, as a short hash: blobs are bound to the model at some providers, and to the account at
/// others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maker(u64);

impl Maker {
    /// The maker for a provider and its model.
    pub fn of(provider: &str, model: &str) -> Maker {
        let hash = Sha256::new().chain_update(provider).chain_update([0]).chain_update(model).finalize();
        Maker(hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }
}

/// The maker of a blob that came without a mark, in its own format: some lane of that format, and unknown which. Equal
/// to no lane's maker.
pub fn unmarked() -> Maker {
    Maker::of("", "")
}

/// The maker of the last blob with a mark in the body of a request, whatever its format: no format escapes the mark.
pub fn last_maker(body: &[u8]) -> Option<Maker> {
    let start = memmem::rfind(body, MARK.as_bytes())?;
    let text = body.get(start..)?;
    let end = text.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    Some(Blob::read(std::str::from_utf8(text.get(..end)?).ok()?)?.maker)
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Signature, Kind::Redacted, Kind::Encrypted, Kind::Plain];

    const fn as_str(self) -> &'static str {
        match self {
            Kind::Signature => "signature",
            Kind::Redacted => "redacted",
            Kind::Encrypted => "encrypted",
            Kind::Plain => "plain",
        }
    }
}

impl Blob {
    /// The blob as a text for another format.
    pub fn to_text(&self) -> String {
        let Blob { kind, maker: Maker(maker), data } = self;
        format!("{MARK}{}:{maker:016x}:{data}", kind.as_str())
    }

    /// Reads a text that [`Blob::to_text`] made; `None` for any other text.
    pub fn read(text: &str) -> Option<Blob> {
        let mut parts = text.strip_prefix(MARK)?.splitn(3, ':');
        let kind = parts.next()?;
        let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind)?;
        let maker = Maker(u64::from_str_radix(parts.next()?, 16).ok()?);
        Some(Blob { kind, maker, data: parts.next()?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_maker_is_found_wherever_its_blob_is() {
        let (first, last) = (Maker::of("a", "m"), Maker::of("b", "m"));
        let text = |maker| Blob { kind: Kind::Signature, maker, data: "x".to_owned() }.to_text();
        let body = format!(r#"[{{"signature":"{}"}},{{"data":"{}"}}]"#, text(first), text(last));
        assert_eq!(last_maker(body.as_bytes()), Some(last));
        // In a text that is JSON itself, as the details of reasoning in Chat Completions can be.
        assert_eq!(last_maker(format!(r#""{{\"a\":\"{}\"}}""#, text(first)).as_bytes()), Some(first));
        for body in ["", "{}", r#"{"text":"gatehouse:"}"#, r#"{"text":"gatehouse:plain:zz:x"}"#, "gatehouse:"]
        {
            assert_eq!(last_maker(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn a_blob_survives_its_way_as_a_text() {
        for kind in Kind::ALL {
            let maker = Maker::of("anthropic", "claude");
            let blob = Blob { kind, maker, data: "a+/=:b".to_owned() };
            assert_eq!(Blob::read(&blob.to_text()), Some(blob));
        }
        assert_ne!(Maker::of("a", "bc"), Maker::of("ab", "c"));
        assert_ne!(Maker::of("a", ""), unmarked());
        for text in ["", "ErUB", "gatehouse:", "gatehouse:x:0:y", "gatehouse:plain:zz:y", "gatehouse:plain:0"]
        {
            assert_eq!(Blob::read(text), None, "{text}");
        }
    }
}
