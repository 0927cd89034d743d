//! Storage in D1: the statements for each kind of data.
//!
//! Every action of an operator ([`change`]) is one transaction together with its entry in the audit trail: both are
//! written, or neither. In such a transaction each statement takes effect only if the one before it changed something
//! (`changes() > 0`): if two operators make the same change at once, one succeeds, and the other's statements have no
//! effect.

pub mod alerts;
pub mod audit;
pub mod calls;
mod change;
pub mod claims;
pub mod counts;
pub mod keys;
pub mod lanes;
pub mod notifications;
pub mod provider_keys;
pub mod requests;
pub mod settings;
pub mod sql;
pub mod usage;
