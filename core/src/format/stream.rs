//! A streamed response on its way to the caller, in any format: the trait that the platform layer drives.

use crate::error::Error;

use crate::usage::Usage;

/// The state of one streamed response.
pub trait ResponseStream {
    /// Takes a chunk of the upstream's stream, and returns the bytes to send.
    fn push(&mut self, chunk: &[u8]) -> Relayed;

    /// Ends the stream, and returns the last bytes for the caller.
    fn end(&mut self, ending: Ending) -> Vec<u8>;

    /// The progress of the stream.
    fn state(&self) -> StreamState;

    /// The error if the stream ended before its first content; otherwise `None`.
    fn early_end(&self) -> Option<Error>;

    /// The error that ended the stream, if any.
    fn error(&self) -> Option<&Error>;

    /// The last event of a stream that the gateway ends with this error.
    fn failure(&mut self, error: &Error) -> Vec<u8>;

    /// The usage that the stream reported: of several reports the largest numbers.
    fn usage(&self) -> Usage;

    /// The id of the response, if it passes in a format whose provider may keep it.
    fn response_id(&self) -> Option<String> {
        None
    }

    /// An estimate of the output tokens received, for streams that end without usage.
    fn produced(&self) -> u64;

    /// The output tokens that the stream has produced at the very least: less than this is not believed.
    fn surely_produced(&self) -> u64;

    /// Returns `true` if the response is bytes without events, such as audio: the gateway can add nothing to it, not even an
    /// error, and one that is cut must not look complete.
    fn is_bytes(&self) -> bool {
        false
    }

    /// The bytes at the end of each chunk that suffice for [`ResponseStream::push`] once content has begun; the rest passes
    /// unread.
    fn suffices(&self) -> usize {
        usize::MAX
    }
}

/// The progress of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamState {
    /// No content yet: the bytes so far can be discarded, and the call sent to another lane.
    Held,
    /// Content has arrived.
    Begun,
    /// Nothing more is sent to the caller.
    Over(Outcome),
}

/// The end of a stream, as the caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Complete.
    Done,
    /// With an error event of the upstream.
    UpstreamError,
    /// With the gateway's error event, because the upstream's stream was cut, silent or malformed.
    Cut,
}

/// The bytes to send for a chunk.
#[derive(Debug, PartialEq, Eq)]
pub enum Relayed {
    /// The chunk itself.
    AsIs,
    /// Other bytes, possibly none.
    Instead(Vec<u8>),
}

/// The reason why the upstream's stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The upstream ended the body.
    Closed,
    /// The connection broke.
    Broken,
    /// It was silent for too long.
    Silent,
}
