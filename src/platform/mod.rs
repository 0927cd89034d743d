//! Everything that touches the runtime: tasks, time, randomness, variables, logs, requests, responses, pages,
//! upstreams, the database, encryption, signatures and e-mail.
//!
//! This module makes no decision about a call.

pub mod analytics_engine;
pub mod clock;
pub mod database;
pub mod email;
pub mod log;
pub mod memory;
pub mod object_storage;
pub mod page;
mod panic;
pub mod random;
pub mod request;
pub mod response;
pub mod sealing;
pub mod signature;
pub mod task;
pub mod upload;
pub mod upstream;
pub mod variables;
