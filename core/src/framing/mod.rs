//! Framing: the boundaries of messages in a byte stream. [`crate::format`] reads the messages.

pub mod multipart;
pub mod sse;
