//! How messages are cut out of a stream of bytes. What a message says is the business of [`crate::format`].

pub mod sse;
