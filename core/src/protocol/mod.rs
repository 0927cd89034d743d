//! The bytes that pass: requests, answers, streams and upstream errors, in OpenAI's chat-completions format.
//!
//! Bytes, not trees: only the members that the gateway acts on are read, and a changed request is the caller's own bytes
//! with those members spliced, so whatever else stands there survives byte for byte. A translation between API formats
//! will be a module beside these.

pub mod chat_answer;
pub mod chat_request;
pub mod chat_stream;
pub mod members;
pub mod project_id;
pub mod sse;
pub mod upstream_error;
pub mod usage;
