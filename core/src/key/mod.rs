//! Keys: their format, their digests, the ring of digests that an operator configures, and the cache of issued keys.
//!
//! A key is generated once and shown once; from then on, only its SHA-256 is known. This module does not store keys,
//! and looks them up only in memory.

mod cache;
mod digest;
mod format;
mod issued;
mod ring;
mod secret;
mod sent;

pub use cache::{HARD_MS, KeyCache, Remembered, SOFT_MS, Stored};
pub use digest::Digest;
pub use format::{FormatError, KEY_LENGTH, MINT_BYTES, mint, public_id};
pub use issued::{Boundaries, IssuedKey, binds, covers};
pub use ring::{Caller, Ring, RingReport};
pub use secret::Secret;
pub use sent::{Conflict, bearer, fault, plain};
