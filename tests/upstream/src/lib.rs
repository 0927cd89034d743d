//! A simulated LLM provider for the tests and benchmarks of the gateway. It speaks Chat Completions, Embeddings,
//! Anthropic Messages, OpenAI Responses and OpenAI's smaller endpoints and, if a request asks for it, fails in the ways real providers
//! fail. It has no model.
//!
//! The path of a request: [`server`] accepts the connection, `route` resolves the path, `chat`, `embeddings`,
//! `messages`, `responses` or `media` reads the body and `simulate` the requested faults (`when`: which requests they apply to; `script`:
//! those in a prompt). `response` builds the whole response (`reply` the content, `whole` and `stream`, or `messages` and
//! `responses`, the bytes, `faults` the errors), `body` writes it to the connection that `socket` observes, and `record` stores the
//! request and the outcome. `control` lets tests read the records, and
//! `throttle` a path. `provider` holds the state that outlives a request.

pub mod args;
pub mod server;

mod body;
mod chat;
mod control;
mod embeddings;
mod faults;
mod form;
mod json;
mod media;
mod messages;
mod provider;
mod record;
mod rejection;
mod reply;
mod response;
mod responses;
mod route;
mod script;
mod simulate;
mod socket;
mod stream;
mod throttle;
mod when;
mod whole;
