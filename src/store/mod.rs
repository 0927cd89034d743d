//! What is kept in the database, and the statements that keep it.
//!
//! Everything that an operator does ([`change`]) is one transaction together with its entry in the audit trail: both stand, or
//! neither. In such a transaction each statement happens only if the one before it changed something
//! (`changes() > 0`): of two operators who do the same at once, one does it, and the other's statements do nothing.

pub mod audit;
mod change;
pub mod claims;
pub mod counts;
pub mod keys;
pub mod notifications;
pub mod requests;
pub mod sql;
pub mod usage;
