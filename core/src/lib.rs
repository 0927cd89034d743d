//! All decisions of Gatehouse, without I/O.
//!
//! This crate does not know Workers, JavaScript, clocks or randomness: bytes, time and random bytes enter as values,
//! decisions leave as values. It compiles natively, so its tests run in seconds. Everything that touches the outside
//! world is in the Worker crate (`src/`), which calls this one.
//!
//! | module | decides |
//! | --- | --- |
//! | [`operation`], [`routes`] | the endpoints that exist, and who may call them |
//! | [`key`], [`onboarding`] | the identity and permissions of a caller; how a person gets a key |
//! | [`config`], [`check`] | the schema of `gateway.toml` and its validation |
//! | [`run_time`] | settings that operators change while the gateway runs |
//! | [`catalog`] | the providers and models that exist |
//! | [`mod@format`], [`framing`] | how requests, responses, streams and upstream errors are read and rewritten |
//! | [`conversation`], [`usage`], [`unit`] | the neutral form between two formats; the tokens and other units of a call |
//! | [`route`], [`health`] | the lanes that a call tries, and their health |
//! | [`ledger`] | the limits, holds, costs and receipts of calls |
//! | [`report`] | reports on health, usage and metrics |
//! | [`error`], [`envelope`] | every error: code, status, type, and its JSON on each surface |
//! | [`log`] | the events of the log and their fields |

#![cfg_attr(
    test,
    allow(clippy::string_slice, clippy::format_collect, reason = "tests may panic and need not be fast")
)]

pub mod alerts;
pub mod catalog;
pub mod check;
pub mod config;
pub mod conversation;
pub mod envelope;
pub mod error;
pub mod format;
pub mod framing;
mod hash;
pub mod health;
pub mod json;
pub mod key;
pub mod ledger;
pub mod log;
pub mod money;
mod name;
pub mod onboarding;
pub mod operation;
mod order;
pub mod report;
pub mod request_id;
pub mod route;
pub mod routes;
pub mod run_time;
pub mod text;
pub mod tier;
pub mod time;
pub mod unit;
pub mod url;
pub mod usage;
