//! OpenAI's Chat Completions format.

mod chunks;
pub mod conversation;
pub mod deltas;
pub mod request;
pub mod response;
pub mod stream;
