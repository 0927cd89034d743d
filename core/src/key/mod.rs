//! Keys: their format, their digests, the ring of digests that an operator configures, and the cache of issued keys; and
//! the keys of providers that the database has, with the master keys that encrypt them; and the tokens of Cloudflare Access.
//!
//! A key of the gateway is generated once and shown once; from then on, only its SHA-256 is known. This module does not store keys,
//! and looks them up only in memory.

pub mod access_token;
mod cache;
mod digest;
mod format;
mod issued;
pub mod master;
pub mod provider_key;
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
