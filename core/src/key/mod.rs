//! Keys: their one format, their digests, the ring of digests that an operator configures, and what an isolate knows of
//! issued keys.
//!
//! A key is minted once, shown once, and known from then on only by its SHA-256. Nothing here stores keys or looks them
//! up anywhere but in memory.

mod cache;
mod digest;
mod format;
mod issued;
mod ring;
mod secret;

pub use cache::{HARD_MS, KeyCache, Remembered, SOFT_MS, Stored};
pub use digest::Digest;
pub use format::{FormatError, KEY_LENGTH, MINT_BYTES, mint, public_id};
pub use issued::{IssuedKey, covers};
pub use ring::{Caller, Ring, RingReport};
pub use secret::Secret;
