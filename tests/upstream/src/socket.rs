//! The TCP connection of hyper, observed: counts complete flushes, so that a body knows when its bytes have left, and
//! closes with a reset if turn to. Does not know HTTP.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::record::{Outcome, Ticket};

/// The state that the responses of one connection share with its socket.
#[derive(Default)]
pub(crate) struct Connection {
    flushes: AtomicU64,
    reset: AtomicBool,
    /// True if `leaving` holds a ticket; saves the lock on most flushes.
    has_leaving: AtomicBool,
    leaving: Mutex<Option<Ticket>>,
}

impl Connection {
    /// The number of times that everything written so far has reached the operating system.
    pub(crate) fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Acquire)
    }

    /// Makes this connection end with a TCP reset.
    pub(crate) fn reset_at_end(&self) {
        self.reset.store(true, Ordering::Release);
    }

    /// Hands over the ticket of a response that was given to hyper as a whole. It counts as completed when the next
    /// flush succeeds, and as cancelled if the connection ends first.
    pub(crate) fn complete_when_flushed(&self, mut ticket: Ticket) {
        ticket.leaving();
        let earlier = self.slot().replace(ticket);
        self.has_leaving.store(true, Ordering::Release);
        // A pipelined response went before; its own flush can no longer be distinguished.
        if let Some(mut earlier) = earlier {
            earlier.settle(Outcome::Completed);
        }
    }

    /// Records that everything written so far has reached the operating system.
    pub(crate) fn flushed(&self) {
        self.flushes.fetch_add(1, Ordering::AcqRel);
        if self.has_leaving.swap(false, Ordering::AcqRel)
            && let Some(mut ticket) = self.slot().take()
        {
            ticket.settle(Outcome::Completed);
        }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Ticket>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A TCP stream that reports to its [`Connection`].
pub(crate) struct Socket {
    io: TokioIo<TcpStream>,
    connection: Arc<Connection>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self { io: TokioIo::new(stream), connection }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.connection.reset.load(Ordering::Acquire) {
            // If this fails, the connection is closed normally, which is still a cut.
            let _ = self.io.inner().set_zero_linger();
        }
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    // hyper calls this only when its own buffer is empty, which makes the count meaningful.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.connection.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
