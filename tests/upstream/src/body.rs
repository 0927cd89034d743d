//! The body of a response: writes a [`Script`] frame by frame onto a connection and reports progress and end to the
//! ticket. Does not decide what is sent: `response`, `whole` and `stream` do.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use crate::record::{Outcome, Ticket};
use crate::socket::Connection;

/// The interval at which a body that is about to break checks that its bytes have left.
const CHECK_EVERY: Duration = Duration::from_millis(1);
/// The interval between comments before the first byte.
const COMMENT_EVERY: Duration = Duration::from_millis(50);
/// A reset discards what the client has not fetched from the network yet. On loopback this is enough time to fetch it.
const BEFORE_RESET: Duration = Duration::from_millis(20);

/// The part of the content that `stamped` replaces by the time: its name and 16 digits.
const STAMP: &str = "sent_us=";
const STAMP_DIGITS: usize = 16;

/// The response is broken off on purpose. hyper closes the connection when it gets this error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut on purpose")
    }
}

impl std::error::Error for Cut {}

/// The end of a part of the body that is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    /// The end of the part, in bytes from the start of the body.
    pub(crate) end: usize,
    /// True for an SSE event; false for a comment.
    pub(crate) is_event: bool,
    /// The completion tokens of the part.
    pub(crate) tokens: u64,
}

/// Comments before the first byte, each in a separate frame; the first is sent at once.
#[derive(Default)]
pub(crate) struct Comments {
    /// The text of each comment.
    pub(crate) text: Bytes,
    /// The remaining time; 0: no more comments.
    pub(crate) rest: Duration,
}

impl Comments {
    /// The next comment, and the wait after it.
    fn next(&mut self) -> Option<(Bytes, Duration)> {
        if self.rest.is_zero() {
            return None;
        }
        let wait = self.rest.min(COMMENT_EVERY);
        self.rest = self.rest.saturating_sub(wait);
        Some((self.text.clone(), wait))
    }
}

/// The division of the bytes into frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frames {
    /// One frame per mark.
    PerMark,
    /// Frames of this many bytes (at least 1).
    Every(usize),
    /// Everything at once.
    Whole,
}

/// The end of the body, after the last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The response is complete.
    Complete,
    /// The body ends as if it were complete, but it is truncated.
    CleanCut,
    /// The connection closes before the body has ended.
    Break {
        /// Close it with a TCP reset.
        reset: bool,
    },
    /// Nothing more happens until the client disconnects.
    Hang,
}

/// Everything that is sent after the headers.
pub(crate) struct Script {
    /// Comments before the bytes; not part of them.
    pub(crate) comments: Comments,
    /// The bytes that are sent.
    pub(crate) bytes: Bytes,
    /// The declared `content-length`; none: a chunked body.
    pub(crate) promised: Option<u64>,
    /// The parts of the bytes, in ascending order.
    pub(crate) marks: Vec<Mark>,
    /// The division of the bytes into frames.
    pub(crate) frames: Frames,
    /// The wait between frames; none: no wait, but each frame is flushed separately.
    pub(crate) pace: Option<Duration>,
    /// True if the time is written into each frame that has a place for it.
    pub(crate) stamped: bool,
    /// The end of the body, after the last byte.
    pub(crate) ending: Ending,
}

impl Script {
    /// A body with a length that is sent at once.
    pub(crate) fn plain(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            comments: Comments::default(),
            promised: Some(bytes.len() as u64),
            bytes,
            marks: Vec::new(),
            frames: Frames::Whole,
            pace: None,
            stamped: false,
            ending: Ending::Complete,
        }
    }
}

/// Writes the current time, in microseconds since 1970, after the first `sent_us=` of a frame.
fn stamped(frame: Bytes) -> Bytes {
    let Some(text) = std::str::from_utf8(&frame).ok() else { return frame };
    let Some((before, after)) = text.split_once(STAMP) else { return frame };
    #[expect(clippy::disallowed_methods, reason = "the rule is for Wasm; this is a native program")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let rest = after.get(STAMP_DIGITS..).unwrap_or_default();
    format!("{before}{STAMP}{now:0STAMP_DIGITS$}{rest}").into()
}

enum Stage {
    Send,
    /// Let hyper write its buffer before the next frame.
    Yield,
    Wait(Pin<Box<Sleep>>),
    /// All bytes are handed over; break after the next flush.
    Break {
        since: u64,
        reset: bool,
        timer: Pin<Box<Sleep>>,
    },
    Reset(Pin<Box<Sleep>>),
    Hang,
    End,
}

/// A [`Script`] that is being sent.
pub(crate) struct ScriptBody {
    comments: Comments,
    rest: Bytes,
    sent: usize,
    promised: Option<u64>,
    marks: std::iter::Peekable<std::vec::IntoIter<Mark>>,
    frames: Frames,
    pace: Option<Duration>,
    stamped: bool,
    ending: Ending,
    stage: Stage,
    /// None for control routes, whose responses are not counted.
    ticket: Option<Ticket>,
    connection: Arc<Connection>,
}

impl ScriptBody {
    pub(crate) fn new(script: Script, ticket: Option<Ticket>, connection: Arc<Connection>) -> Self {
        Self {
            comments: script.comments,
            rest: script.bytes,
            sent: 0,
            promised: script.promised,
            marks: script.marks.into_iter().peekable(),
            frames: script.frames,
            pace: script.pace,
            stamped: script.stamped,
            ending: script.ending,
            stage: Stage::Send,
            ticket,
            connection,
        }
    }

    fn next_frame(&mut self) -> Bytes {
        let left = self.rest.len();
        let size = match self.frames {
            Frames::Whole => left,
            Frames::Every(size) => size.clamp(1, left.max(1)),
            Frames::PerMark => self.marks.peek().map_or(left, |mark| mark.end.saturating_sub(self.sent)),
        };
        let frame = self.rest.split_to(size.min(left));
        self.sent += frame.len();
        let (mut events, mut tokens) = (0, 0);
        while let Some(mark) = self.marks.next_if(|mark| mark.end <= self.sent) {
            events += u64::from(mark.is_event);
            tokens += mark.tokens;
        }
        if let Some(ticket) = &mut self.ticket {
            ticket.sent(events, tokens);
        }
        if self.stamped { stamped(frame) } else { frame }
    }

    /// The stage after the last byte.
    fn ending_stage(&mut self) -> Stage {
        match self.ending {
            Ending::Complete => {
                self.complete();
                Stage::End
            }
            Ending::CleanCut => {
                self.settle_cut();
                Stage::End
            }
            Ending::Break { reset } => Stage::Break {
                since: self.connection.flushes(),
                reset,
                timer: Box::pin(tokio::time::sleep(CHECK_EVERY)),
            },
            Ending::Hang => Stage::Hang,
        }
    }

    fn complete(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.connection.complete_when_flushed(ticket);
        }
    }

    // Called before the client can see the end, since it may read the record right after.
    fn settle_cut(&mut self) {
        if let Some(mut ticket) = self.ticket.take() {
            ticket.settle(Outcome::Cut);
        }
    }
}

impl Body for ScriptBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        loop {
            let next = match &mut this.stage {
                Stage::Send if let Some((comment, wait)) = this.comments.next() => {
                    this.stage = Stage::Wait(Box::pin(tokio::time::sleep(wait)));
                    return Poll::Ready(Some(Ok(Frame::data(comment))));
                }
                Stage::Send if this.rest.is_empty() => this.ending_stage(),
                Stage::Send => {
                    let frame = this.next_frame();
                    if !this.rest.is_empty() {
                        this.stage = match this.pace {
                            Some(pace) => Stage::Wait(Box::pin(tokio::time::sleep(pace))),
                            None => Stage::Yield,
                        };
                    }
                    return Poll::Ready(Some(Ok(Frame::data(frame))));
                }
                Stage::Yield => {
                    this.stage = Stage::Send;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Stage::Wait(timer) => {
                    ready!(timer.as_mut().poll(cx));
                    Stage::Send
                }
                Stage::Break { since, reset, timer } => {
                    ready!(timer.as_mut().poll(cx));
                    let (since, reset) = (*since, *reset);
                    if this.connection.flushes() == since {
                        Stage::Break { since, reset, timer: Box::pin(tokio::time::sleep(CHECK_EVERY)) }
                    } else if reset {
                        this.connection.reset_at_end();
                        Stage::Reset(Box::pin(tokio::time::sleep(BEFORE_RESET)))
                    } else {
                        this.settle_cut();
                        this.stage = Stage::End;
                        return Poll::Ready(Some(Err(Cut)));
                    }
                }
                Stage::Reset(timer) => {
                    ready!(timer.as_mut().poll(cx));
                    this.settle_cut();
                    this.stage = Stage::End;
                    return Poll::Ready(Some(Err(Cut)));
                }
                Stage::Hang => return Poll::Pending,
                Stage::End => return Poll::Ready(None),
            };
            this.stage = next;
        }
    }

    fn is_end_stream(&self) -> bool {
        // An empty chunked body must still be polled, or hyper would send `content-length: 0` for it.
        let complete = self.ending == Ending::Complete && (self.promised.is_some() || self.sent > 0);
        self.rest.is_empty() && complete
    }

    fn size_hint(&self) -> SizeHint {
        self.promised.map_or_else(SizeHint::default, |promised| {
            SizeHint::with_exact(promised.saturating_sub(self.sent as u64))
        })
    }
}

impl Drop for ScriptBody {
    fn drop(&mut self) {
        // hyper drops a body without another poll when the declared length is reached. Any other drop means that the
        // client has disconnected; the ticket's own drop records that.
        if self.is_end_stream() {
            self.complete();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyper_can_write_between_frames() {
        let mut script = Script::plain("abcd");
        script.frames = Frames::Every(2);
        let mut body = ScriptBody::new(script, None, Arc::default());
        let mut poll = || {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            Pin::new(&mut body)
                .poll_frame(&mut cx)
                .map(|frame| frame.map(|frame| frame.unwrap().into_data().unwrap()))
        };
        assert_eq!(poll(), Poll::Ready(Some("ab".into())));
        assert_eq!(poll(), Poll::Pending);
        assert_eq!(poll(), Poll::Ready(Some("cd".into())));
        assert_eq!(poll(), Poll::Ready(None));
    }

    #[test]
    fn a_break_waits_until_its_bytes_have_left() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut script = Script::plain("");
            script.ending = Ending::Break { reset: false };
            let connection = Arc::new(Connection::default());
            let mut body = ScriptBody::new(script, None, Arc::clone(&connection));
            let mut broken = std::pin::pin!(std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)));
            let early = tokio::time::timeout(Duration::from_millis(30), broken.as_mut()).await;
            assert!(early.is_err(), "it broke off before the flush");
            connection.flushed();
            assert!(matches!(broken.await, Some(Err(Cut))));
        });
    }
}
