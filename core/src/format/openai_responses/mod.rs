//! OpenAI Responses: <https://platform.openai.com/docs/api-reference/responses>.
//!
//! A call whose upstream serves this format passes as bytes: `request`, `response` and `stream`. The others read and write
//! requests and responses of this format in the neutral form ([`crate::conversation`]).

pub mod compaction;
pub mod conversation;
pub mod deltas;
mod echo;
mod events;
mod fields;
pub mod request;
pub mod response;
pub mod stream;
mod tools;
mod write;
mod writer;

#[cfg(test)]
mod tests;
