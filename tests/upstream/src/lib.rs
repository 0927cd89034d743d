//! A simulated LLM provider: it speaks the `OpenAI` wire format and, when a request asks for it,
//! fails in the ways real providers fail. Tests and benchmarks of the gateway talk to it.
//! It is not a model, and it does not check keys: every request is welcome.
//!
//! The way of a request: [`server`] accepts the connection, `route` finds what the path means,
//! `chat` reads the body and `simulate` the faults it asks for (`when` whether they are meant for it),
//! `answer` decides the whole reply (`reply` what to say, `whole` and `stream` in which bytes, `faults` which
//! error), `body` plays it onto the connection that `socket` watches, and `record` keeps what came in and how it
//! ended. `control` lets tests look at that, and `throttle` a path. What outlives a request is in `provider`.

pub mod args;
pub mod server;

mod answer;
mod body;
mod chat;
mod control;
mod faults;
mod json;
mod provider;
mod record;
mod reply;
mod route;
mod simulate;
mod socket;
mod stream;
mod throttle;
mod when;
mod whole;
