//! Reports: the documents that callers, the public and operators read about usage and health.
//!
//! A report is computed from values. Other modules read these values and decide who may see the report.

pub mod cache;
pub mod calls;
pub mod lanes;
pub mod metrics;
pub mod otlp;
pub mod permissions;
pub mod routing;
pub mod spending;
pub mod usage;
