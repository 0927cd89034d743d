//! The wire formats: what is read of a request, what is changed in it, and what is read of the responses to it.
//!
//! Bytes, not trees: only the fields that the gateway acts on are read, and a changed request is the caller's own bytes
//! with those fields spliced, so whatever else stands there survives byte for byte.

pub mod openai_chat;
pub mod project_id;
pub mod size;
pub mod upstream_error;
pub mod usage;
