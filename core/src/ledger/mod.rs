//! The ledger: what calls use, what they cost, and what is added up of them.
//!
//! Tokens are whole tokens, money is whole micro-USD, times are milliseconds: nothing here is a float until it is told, and
//! what is not known is never written as 0. Nothing here knows a database, an object or a clock.

pub mod answers;
pub mod exposition;
pub mod summary;
pub mod tally;
