//! OpenAI's Chat Completions format, and its older sibling for texts: legacy Completions.

mod chunks;
pub mod conversation;
pub mod deltas;
pub mod request;
pub mod response;
pub mod stream;
pub mod text;
