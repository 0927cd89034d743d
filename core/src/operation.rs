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
    /// The shape of errors.
    pub surface: Surface,
}

/// The shape of errors under a URL prefix. [`crate::envelope`] writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// `/v1`, `/access`, `/usage`, `/health` and everything else.
    OpenAi,
    /// `/v1/messages`, and `/v1/models` for Anthropic's clients.
    Anthropic,
    /// `/api/portal`.
    Portal,
    /// `/v0`.
    V0,
}

/// A task that a model can support.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Continue a conversation.
    Chat,
    /// Turn texts into vectors.
    Embed,
    /// Continue a text.
    Complete,
    /// Find what is harmful in a text or an image.
    Moderate,
    /// Order documents by their relevance to a query.
    Rerank,
    /// Generate images.
    Image,
    /// Speak a text.
    Speech,
    /// Write down speech.
    Transcribe,
}

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// OpenAI Chat Completions.
    ChatCompletions,
    /// Anthropic Messages.
    Messages,
    /// OpenAI Responses.
    Responses,
    /// Compactions of OpenAI Responses: a conversation in, a shorter one out.
    Compaction,
    /// OpenAI Embeddings.
    Embeddings,
    /// OpenAI's legacy Completions.
    Completions,
    /// OpenAI Moderations.
    Moderations,
    /// Rerank, as Jina and version 1 of Cohere's API have it.
    Rerank,
    /// Version 2 of Cohere's Rerank.
    RerankV2,
    /// OpenAI image generation.
    Images,
    /// OpenAI edits of images.
    ImageEdits,
    /// OpenAI variations of an image.
    ImageVariations,
    /// OpenAI speech.
    Speech,
    /// OpenAI transcriptions of speech.
    Transcriptions,
    /// OpenAI transcriptions of speech in English, whatever its language.
    Translations,
}

impl Operation {
    /// The name in usage, receipts and metrics: the path without `/v1/`, such as `chat/completions`.
    pub fn name(&self) -> &'static str {
        self.path.strip_prefix("/v1/").unwrap_or(self.path)
    }
}

impl Surface {
    /// The surface of a URL path.
    pub fn of_path(path: &str) -> Surface {
        let under = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let operation = || OPERATIONS.iter().find(|operation| under(operation.path));
        if under("/api/portal") {
            Surface::Portal
        } else if under("/v0") {
            Surface::V0
        } else {
            operation().map_or(Surface::OpenAi, |operation| operation.surface)
        }
    }

    /// The bytes for a client of a stream while the upstream is silent. Sending them detects that the client has disconnected, and keeps
    /// proxies from closing the connection.
    pub const fn ping(self) -> &'static str {
        match self {
            // Its clients expect events, and some count their silence by them.
            Surface::Anthropic => "event: ping\ndata: {\"type\": \"ping\"}\n\n",
            Surface::OpenAi | Surface::Portal | Surface::V0 => ": ping\n\n",
        }
    }
}

impl Format {
    /// The formats of conversations, which can be translated into each other, in the order of preference.
    pub const CONVERSATIONS: [Format; 3] = [Format::ChatCompletions, Format::Messages, Format::Responses];

    /// Returns `true` if the body of a request may be a form (`multipart/form-data`).
    pub const fn takes_form(self) -> bool {
        self.takes_only_form() || matches!(self, Format::ImageEdits)
    }

    /// Returns `true` if a response may be something other than JSON or, if it `is_streamed`, than events: sound, or a plain
    /// text.
    pub const fn has_other_types(self, is_streamed: bool) -> bool {
        let is_text = matches!(self, Format::Transcriptions | Format::Translations);
        matches!(self, Format::Speech) || (is_text && !is_streamed)
    }

    /// Returns `true` if the body of a request must be a form.
    pub const fn takes_only_form(self) -> bool {
        matches!(self, Format::ImageVariations | Format::Transcriptions | Format::Translations)
    }
}

impl Task {
    /// All tasks.
    pub const ALL: [Task; 8] = [
        Task::Chat,
        Task::Embed,
        Task::Complete,
        Task::Moderate,
        Task::Rerank,
        Task::Image,
        Task::Speech,
        Task::Transcribe,
    ];

    /// The name in configuration and in `GET /v1/models`.
    pub const fn name(self) -> &'static str {
        match self {
            Task::Chat => "chat",
            Task::Embed => "embed",
            Task::Complete => "complete",
            Task::Moderate => "moderate",
            Task::Rerank => "rerank",
            Task::Image => "image",
            Task::Speech => "speech",
            Task::Transcribe => "transcribe",
        }
    }

    /// A model for this task, in a sentence: `a chat model`.
    pub const fn model(self) -> &'static str {
        match self {
            Task::Chat => "a chat model",
            Task::Embed => "an embedding model",
            Task::Complete => "a completion model",
            Task::Moderate => "a moderation model",
            Task::Rerank => "a reranking model",
            Task::Image => "an image model",
            Task::Speech => "a speech model",
            Task::Transcribe => "a transcription model",
        }
    }

    /// Returns `true` if the results of different models are comparable, so that another model may serve the call.
    pub const fn mixes_models(self) -> bool {
        match self {
            Task::Chat | Task::Complete | Task::Image | Task::Speech | Task::Transcribe => true,
            // Vectors of different models have different meanings, even where they have the same length; so have scores,
            // and the names of categories differ.
            Task::Embed | Task::Moderate | Task::Rerank => false,
        }
    }

    /// Returns `true` if a call is too expensive to be sent twice unless the provider has surely not served it.
    pub const fn is_dear(self) -> bool {
        matches!(self, Task::Image)
    }

    /// Returns `true` if a model for this task may also be called for another one. Many servers complete texts with
    /// models for chat.
    pub fn also_serves(self, other: Task) -> bool {
        self == other || (self, other) == (Task::Chat, Task::Complete)
    }

    /// The endpoints for this task, in a sentence: `POST /v1/chat/completions`.
    pub fn endpoints(self) -> String {
        // A compaction continues no conversation.
        let is_meant =
            |operation: &&&Operation| operation.task == self && operation.format != Format::Compaction;
        let paths = OPERATIONS.iter().filter(is_meant);
        paths.map(|operation| format!("POST {}", operation.path)).collect::<Vec<_>>().join(" or ")
    }
}

/// All inference endpoints.
pub static OPERATIONS: &[&Operation] = &[
    &CHAT_COMPLETIONS,
    &MESSAGES,
    &RESPONSES,
    &EMBEDDINGS,
    &COMPACTIONS,
    &COMPLETIONS,
    &MODERATIONS,
    &RERANK,
    &RERANK_V2,
    &IMAGES,
    &IMAGE_EDITS,
    &IMAGE_VARIATIONS,
    &SPEECH,
    &TRANSCRIPTIONS,
    &TRANSLATIONS,
];

/// `POST /v1/chat/completions`
pub static CHAT_COMPLETIONS: Operation = Operation {
    path: "/v1/chat/completions",
    task: Task::Chat,
    format: Format::ChatCompletions,
    surface: Surface::OpenAi,
};

/// `POST /v1/messages`
pub static MESSAGES: Operation = Operation {
    path: "/v1/messages",
    task: Task::Chat,
    format: Format::Messages,
    surface: Surface::Anthropic,
};

/// `POST /v1/responses`
pub static RESPONSES: Operation = Operation {
    path: "/v1/responses",
    task: Task::Chat,
    format: Format::Responses,
    surface: Surface::OpenAi,
};

/// `POST /v1/responses/compact`
pub static COMPACTIONS: Operation = Operation {
    path: "/v1/responses/compact",
    task: Task::Chat,
    format: Format::Compaction,
    surface: Surface::OpenAi,
};

/// `POST /v1/embeddings`
pub static EMBEDDINGS: Operation = Operation {
    path: "/v1/embeddings",
    task: Task::Embed,
    format: Format::Embeddings,
    surface: Surface::OpenAi,
};

/// `POST /v1/completions`
pub static COMPLETIONS: Operation = Operation {
    path: "/v1/completions",
    task: Task::Complete,
    format: Format::Completions,
    surface: Surface::OpenAi,
};

/// `POST /v1/moderations`
pub static MODERATIONS: Operation = Operation {
    path: "/v1/moderations",
    task: Task::Moderate,
    format: Format::Moderations,
    surface: Surface::OpenAi,
};

/// `POST /v1/rerank`
pub static RERANK: Operation =
    Operation { path: "/v1/rerank", task: Task::Rerank, format: Format::Rerank, surface: Surface::OpenAi };

/// `POST /v2/rerank`
pub static RERANK_V2: Operation =
    Operation { path: "/v2/rerank", task: Task::Rerank, format: Format::RerankV2, surface: Surface::OpenAi };

/// `POST /v1/images/generations`
pub static IMAGES: Operation = Operation {
    path: "/v1/images/generations",
    task: Task::Image,
    format: Format::Images,
    surface: Surface::OpenAi,
};

/// `POST /v1/audio/speech`
pub static SPEECH: Operation = Operation {
    path: "/v1/audio/speech",
    task: Task::Speech,
    format: Format::Speech,
    surface: Surface::OpenAi,
};

/// `POST /v1/images/edits`
pub static IMAGE_EDITS: Operation = Operation {
    path: "/v1/images/edits",
    task: Task::Image,
    format: Format::ImageEdits,
    surface: Surface::OpenAi,
};

/// `POST /v1/images/variations`
pub static IMAGE_VARIATIONS: Operation = Operation {
    path: "/v1/images/variations",
    task: Task::Image,
    format: Format::ImageVariations,
    surface: Surface::OpenAi,
};

/// `POST /v1/audio/transcriptions`
pub static TRANSCRIPTIONS: Operation = Operation {
    path: "/v1/audio/transcriptions",
    task: Task::Transcribe,
    format: Format::Transcriptions,
    surface: Surface::OpenAi,
};

/// `POST /v1/audio/translations`
pub static TRANSLATIONS: Operation = Operation {
    path: "/v1/audio/translations",
    task: Task::Transcribe,
    format: Format::Translations,
    surface: Surface::OpenAi,
};
