//! A response as a sequence of changes, and their sum.
//!
//! A stream is a sequence of deltas as they arrive; a whole response is the fold of the same deltas, so that the two
//! cannot disagree. Every reader keeps these rules, and every writer relies on them:
//!
//! - [`Delta::Begin`] comes first, once.
//! - Blocks do not overlap: a block is open from its first delta until a delta of another block or [`Delta::Stop`].
//!   A reader whose upstream interleaves parallel calls keeps the later ones back.
//! - [`Delta::Stop`] comes once, behind all content; [`Delta::Usage`] may come any number of times, before and after it.
//! - The sequence of a response that is complete has a [`Delta::Stop`]. What has none was cut.

use super::{Piece, Reasoning, ToolCall, carrier};
use crate::usage::Usage;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// The response begins.
    Begin {
        /// The upstream's id of the response, if it has one.
        id: Option<String>,
        /// The upstream's name of the model, if it states one.
        model: Option<String>,
    },
    /// More text of the answer.
    Text(String),
    /// More text of a refusal.
    Refusal(String),
    /// More text of the reasoning.
    Reasoning(String),
    /// The blob that ends a block of reasoning. Without text before it, the reasoning is the blob alone.
    Blob(carrier::Blob),
    /// A tool call begins.
    ToolCall {
        /// The id.
        id: String,
        /// The tool.
        name: String,
    },
    /// More of the arguments of the call that began last, as JSON text.
    Arguments(String),
    /// The usage so far.
    Usage(Usage),
    /// The content is complete.
    Stop(Stop),
}

/// The reason why the content is complete. It follows from the pieces where it can: a response with tool calls stops
/// for them, whatever the upstream's word for it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The model has finished.
    Done,
    /// At a stop sequence; its text, if the upstream says it.
    Sequence(Option<String>),
    /// The tools have to run.
    ToolCalls,
    /// The output limit, or the end of the context.
    Length,
    /// The model or the provider refused.
    Refusal,
    /// The model waits for a hosted tool and wants to continue: Anthropic's `pause_turn`.
    Pause,
}

impl Stop {
    /// The reason that fits the content: tool calls have to run even if the upstream's word is that the model has
    /// finished, and without tool calls none has to run. Every reader of responses applies it.
    #[must_use]
    pub fn fitting(self, has_tool_calls: bool) -> Stop {
        match self {
            Stop::Done | Stop::Sequence(_) if has_tool_calls => Stop::ToolCalls,
            Stop::ToolCalls if !has_tool_calls => Stop::Done,
            stated => stated,
        }
    }
}

/// A response: the sum of its deltas.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// The upstream's id.
    pub id: Option<String>,
    /// The upstream's name of the model.
    pub model: Option<String>,
    /// The content, in order.
    pub pieces: Vec<Piece>,
    /// The usage: of several reports the largest numbers.
    pub usage: Usage,
    /// The reason why it is complete; `None` if it was cut.
    pub stop: Option<Stop>,
}

impl Reply {
    /// The sum of deltas.
    pub fn of(deltas: impl IntoIterator<Item = Delta>) -> Reply {
        let mut reply = Reply::default();
        for delta in deltas {
            reply.add(delta);
        }
        reply
    }

    /// Adds a delta.
    pub fn add(&mut self, delta: Delta) {
        match delta {
            Delta::Begin { id, model } => {
                self.id = id;
                self.model = model;
            }
            Delta::Text(more) => match self.pieces.last_mut() {
                Some(Piece::Text(text)) => text.push_str(&more),
                _ => self.pieces.push(Piece::Text(more)),
            },
            Delta::Refusal(more) => match self.pieces.last_mut() {
                Some(Piece::Refusal(text)) => text.push_str(&more),
                _ => self.pieces.push(Piece::Refusal(more)),
            },
            Delta::Reasoning(more) => match self.pieces.last_mut() {
                Some(Piece::Reasoning(Reasoning { text, blob: None })) => text.push_str(&more),
                _ => self.pieces.push(Piece::Reasoning(Reasoning { text: more, blob: None })),
            },
            Delta::Blob(made) => match self.pieces.last_mut() {
                Some(Piece::Reasoning(Reasoning { blob: blob @ None, .. })) => *blob = Some(made),
                _ => self.pieces.push(Piece::Reasoning(Reasoning { text: String::new(), blob: Some(made) })),
            },
            Delta::ToolCall { id, name } => {
                self.pieces.push(Piece::ToolCall(ToolCall { id, name, arguments: String::new() }));
            }
            Delta::Arguments(more) => {
                if let Some(Piece::ToolCall(call)) = self.pieces.last_mut() {
                    call.arguments.push_str(&more);
                }
            }
            Delta::Usage(usage) => self.usage = self.usage.larger(usage),
            Delta::Stop(stop) => self.stop = Some(stop),
        }
    }

    /// Returns `true` if the model calls a tool.
    pub fn has_tool_calls(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::ToolCall(_)))
    }
}
