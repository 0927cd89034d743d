//! Anthropic Messages: <https://docs.claude.com/en/api/messages>.

pub mod blocks;
pub mod conversation;
pub mod deltas;
mod events;
mod input;
pub mod request;
pub mod response;
pub mod stream;
mod usage;
