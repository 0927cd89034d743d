//! Every decision of Gatehouse, and no I/O.
//!
//! This crate knows no Worker, no JavaScript, no clock and no randomness: bytes, time and random bytes come in as
//! values, decisions go out as values. So it compiles natively and is tested in seconds. Whatever touches the outside
//! world is in the Worker crate (`src/`), which asks this one what to do.
//!
//! | module | decides |
//! | --- | --- |
//! | [`access`] | how a stranger comes to a key, and what operators do with requests and keys |
//! | [`key`] | what a key looks like, and who a caller is |
//! | [`config`] | what `gateway.toml` may say |
//! | [`catalog`] | which providers and models exist |
//! | [`route`] | which provider answers a model name, and how the providers have been doing |
//! | [`ledger`] | what calls use, may cost and have cost |
//! | [`protocol`] | how requests, answers, streams and upstream errors are read and rewritten |
//! | [`error`] | every error: code, status, type, and how it looks on each surface |

#![cfg_attr(
    test,
    allow(clippy::string_slice, clippy::format_collect, reason = "a test may panic, and need not be fast")
)]

pub mod catalog;
pub mod check;
pub mod config;
pub mod envelope;
pub mod error;
pub mod format;
pub mod framing;
mod hash;
pub mod health;
pub mod json;
pub mod key;
pub mod ledger;
pub mod money;
mod name;
pub mod onboarding;
pub mod operation;
mod order;
pub mod report;
pub mod request_id;
pub mod route;
pub mod routes;
pub mod text;
pub mod tier;
pub mod time;
pub mod url;
