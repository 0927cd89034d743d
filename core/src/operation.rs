//! The inference endpoints, one row each. Routes, the endpoint lists of keys and policies, `openapi.json` and the
//! documentation's tables derive from the rows.
//!
//! What a format looks like is in [`crate::format`]; which providers serve it is a column of the provider table.

use serde::{Deserialize, Serialize};

/// One inference endpoint.
#[derive(Debug, PartialEq, Eq)]
pub struct Operation {
    /// The path, for `POST`.
    pub path: &'static str,
    /// What a model must be able to do.
    pub task: Task,
    /// The wire format of requests and responses.
    pub format: Format,
}

/// What a model must be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// To continue a conversation.
    Chat,
}

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// OpenAI Chat Completions.
    ChatCompletions,
}

/// All inference endpoints.
pub static OPERATIONS: &[&Operation] = &[&CHAT_COMPLETIONS];

/// `POST /v1/chat/completions`
pub static CHAT_COMPLETIONS: Operation =
    Operation { path: "/v1/chat/completions", task: Task::Chat, format: Format::ChatCompletions };
