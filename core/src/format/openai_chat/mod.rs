//! OpenAI's Chat Completions format.

pub mod request;
pub mod response;
pub mod stream;
