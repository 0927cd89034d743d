//! A load generator for `scripts/bench`: chat completions over HTTP/1.1 on loopback, on connections that are kept, each
//! answer checked for being whole. It measures what it sees itself; the processor and the memory of what it asks are not
//! its matter, and neither are TLS, HTTP/2, redirects and other hosts.
//!
//! `args` says what to do, [`load`] asks and measures, [`hold`] opens streams and keeps them open. Both go by
//! `connection`: it sends a request and has `http` find where the answer ends and `answer` judge what is in it
//! (`events` counts those of streams). `figures` adds up.

pub mod args;
pub mod hold;
pub mod load;

mod answer;
mod connection;
mod events;
mod figures;
mod http;
