//! Which provider answers a model name ([`resolve`]), and how the providers have been doing ([`Tally`]).
//!
//! One name leads to one provider here. Trying another provider after a failure is not in this module yet; it will be a
//! plan of several [`Target`]s.

mod address;
mod tally;

pub use address::{Target, resolve};
pub use tally::{ModelTally, Tally};
