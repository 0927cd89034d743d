//! The inference endpoints, one row each. Routes, the endpoint lists of keys and policies, `openapi.json` and the
//! documentation's tables derive from the rows.
//!
//! [`crate::format`] reads and writes the formats; the provider table lists the formats that each provider serves.

use serde::{Deserialize, Serialize};

/// One inference endpoint.
#[derive(Debug, PartialEq, Eq)]
pub struct Operation {
    /// The path, for `POST`.
    pub path: &'static str,
    /// The task that a model must support.
    pub task: Task,
    /// The wire format of requests and responses.
    pub format: Format,
}

/// A task that a model can support.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Continue a conversation.
    Chat,
    /// Turn texts into vectors.
    Embed,
}

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// OpenAI Chat Completions.
    ChatCompletions,
    /// OpenAI Embeddings.
    Embeddings,
}

impl Task {
    /// All tasks.
    pub const ALL: [Task; 2] = [Task::Chat, Task::Embed];

    /// The name in configuration and in `GET /v1/models`.
    pub const fn name(self) -> &'static str {
        match self {
            Task::Chat => "chat",
            Task::Embed => "embed",
        }
    }

    /// A model for this task, in a sentence: `a chat model`.
    pub const fn model(self) -> &'static str {
        match self {
            Task::Chat => "a chat model",
            Task::Embed => "an embedding model",
        }
    }

    /// Returns `true` if the results of different models are comparable, so that another model may serve the call.
    pub const fn mixes_models(self) -> bool {
        match self {
            Task::Chat => true,
            // Vectors of different models have different meanings, even where they have the same length.
            Task::Embed => false,
        }
    }

    /// The endpoints for this task, in a sentence: `POST /v1/chat/completions`.
    pub fn endpoints(self) -> String {
        let paths = OPERATIONS.iter().filter(|operation| operation.task == self);
        paths.map(|operation| format!("POST {}", operation.path)).collect::<Vec<_>>().join(" or ")
    }
}

/// All inference endpoints.
pub static OPERATIONS: &[&Operation] = &[&CHAT_COMPLETIONS, &EMBEDDINGS];

/// `POST /v1/chat/completions`
pub static CHAT_COMPLETIONS: Operation =
    Operation { path: "/v1/chat/completions", task: Task::Chat, format: Format::ChatCompletions };

/// `POST /v1/embeddings`
pub static EMBEDDINGS: Operation =
    Operation { path: "/v1/embeddings", task: Task::Embed, format: Format::Embeddings };
