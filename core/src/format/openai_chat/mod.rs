//! OpenAI's Chat Completions format.

mod chunks;
pub mod request;
pub mod response;
pub mod stream;
