//! A streamed response on its way to the caller, whatever its format: what the platform drives.

use crate::error::Error;

use super::usage::Usage;

/// The state of one streamed response.
pub trait ResponseStream {
    /// Takes a chunk of the upstream's stream, and returns what to send on for it.
    fn push(&mut self, chunk: &[u8]) -> Relayed;

    /// Ends the stream, and returns the last bytes for the caller.
    fn end(&mut self, ending: Ending) -> Vec<u8>;

    /// How far it has come.
    fn state(&self) -> StreamState;

    /// The error that it ended before its first content with; `None` if it did not.
    fn early_end(&self) -> Option<Error>;

    /// The error that it ended with, if any.
    fn error(&self) -> Option<&Error>;

    /// The usage that the stream reported last.
    fn usage(&self) -> Usage;

    /// An estimate of the tokens of output that have come, for streams that end without their usage.
    fn produced(&self) -> u64;
}

/// How far a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamState {
    /// No content has come: what has come can be thrown away, and the call sent elsewhere.
    Held,
    /// Content has come.
    Begun,
    /// Nothing more goes to the caller.
    Over(Outcome),
}

/// How a stream ended for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Completely.
    Done,
    /// With an error event of the upstream.
    UpstreamError,
    /// With our error event, because the upstream's stream was cut, silent or malformed.
    Cut,
}

/// What to send on for a chunk.
#[derive(Debug, PartialEq, Eq)]
pub enum Relayed {
    /// The chunk itself.
    AsIs,
    /// These bytes instead, which may be none.
    Instead(Vec<u8>),
}

/// Why the upstream's stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It ended its body.
    Closed,
    /// The connection broke.
    Broken,
    /// It was silent for too long.
    Silent,
}
