//! Reports: the documents that callers, the public and operators read about usage and health.
//!
//! A report is made from values; where they come from, and who may see the report, is decided elsewhere.

pub mod cache;
pub mod metrics;
pub mod routing;
pub mod usage;
