//! Keys: their one format, their digests, and the ring of digests that an operator configures.
//!
//! A key is minted once, shown once, and known from then on only by its SHA-256. Nothing here stores keys or looks them
//! up anywhere but in memory.

mod digest;
mod format;
mod ring;
mod secret;

pub use digest::Digest;
pub use format::{FormatError, KEY_LENGTH, MINT_BYTES, mint, public_id};
pub use ring::{Caller, Ring, RingReport};
pub use secret::Secret;
