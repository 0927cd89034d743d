//! Records requests and the outcomes of their responses, and counts both. Bounded in number and in bytes; `control`
//! presents the records as JSON.
//!
//! A [`Ticket`] belongs to one request from its headers to the end of its response. A ticket that is dropped unsettled
//! means that the client disconnected, wherever in the program that happened.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use hyper::http::request::Parts;

/// The limit of all recorded bodies, in bytes. Beyond it the oldest records are removed, whatever their number.
const MAX_BYTES: usize = 256 << 20;

/// The outcome of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Not ended yet.
    Pending,
    /// The operating system has taken the whole response.
    Completed,
    /// The client disconnected first.
    Cancelled,
    /// Broken off on request.
    Cut,
}

impl Outcome {
    /// The name in the record.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Cut => "cut",
        }
    }
}

/// The tokens that a call is billed for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Billed {
    /// Tokens of the prompt at the usual price.
    pub(crate) prompt: u64,
    /// Tokens of the prompt that were read from the cache.
    pub(crate) cached: u64,
    /// Tokens of the prompt that were written to the cache for five minutes.
    pub(crate) written: u64,
    /// Tokens of the prompt that were written to the cache for an hour.
    pub(crate) written_1h: u64,
    /// Completion tokens, reasoning included.
    pub(crate) completion: u64,
}

/// Counts since the start or the last reset.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) requests: AtomicU64,
    pub(crate) completed: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) cut: AtomicU64,
    pub(crate) prompt_tokens: AtomicU64,
    pub(crate) completion_tokens: AtomicU64,
    pub(crate) billed_prompt: AtomicU64,
    pub(crate) billed_cached: AtomicU64,
    pub(crate) billed_written: AtomicU64,
    pub(crate) billed_written_1h: AtomicU64,
    pub(crate) billed_completion: AtomicU64,
    /// Responses that are handed to hyper as a whole but not yet to the operating system.
    pub(crate) leaving: AtomicU64,
}

/// One request and the state of its response.
pub(crate) struct Entry {
    /// Number of the request, from 1.
    pub(crate) n: u64,
    /// `None` if the record capacity is 0.
    pub(crate) received: Option<Received>,
    outcome: AtomicU8,
    events_sent: AtomicU64,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
}

/// The received request.
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) path: String,
    /// `name: value` lines. One copy instead of the parsed map, which would keep hyper's whole read buffer.
    pub(crate) headers: String,
    body: OnceLock<Box<[u8]>>,
}

impl Received {
    fn new(parts: &Parts) -> Self {
        let mut headers = String::with_capacity(512);
        for (name, value) in &parts.headers {
            headers.push_str(name.as_str());
            headers.push_str(": ");
            headers.push_str(&String::from_utf8_lossy(value.as_bytes()));
            headers.push('\n');
        }
        let path = parts.uri.path_and_query().map_or_else(|| parts.uri.path(), |path| path.as_str());
        Self {
            method: parts.method.as_str().to_owned(),
            path: path.to_owned(),
            headers,
            body: OnceLock::new(),
        }
    }

    /// The body; empty until it has arrived.
    pub(crate) fn body(&self) -> &[u8] {
        self.body.get().map_or(&[], |body| body)
    }
}

/// A snapshot of the state of a response.
pub(crate) struct State {
    pub(crate) outcome: Outcome,
    pub(crate) events_sent: u64,
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
}

impl Entry {
    /// The current state of the response.
    pub(crate) fn state(&self) -> State {
        let outcome = [Outcome::Pending, Outcome::Completed, Outcome::Cancelled, Outcome::Cut]
            .into_iter()
            .find(|outcome| *outcome as u8 == self.outcome.load(Ordering::Acquire))
            .unwrap_or(Outcome::Pending);
        State {
            outcome,
            events_sent: self.events_sent.load(Ordering::Relaxed),
            prompt_tokens: self.prompt_tokens.load(Ordering::Relaxed),
            completion_tokens: self.completion_tokens.load(Ordering::Relaxed),
        }
    }
}

#[derive(Default)]
struct Inner {
    ring: VecDeque<Arc<Entry>>,
    bytes: usize,
    last: u64,
    totals: Arc<Totals>,
}

/// The records of the server.
pub(crate) struct Recorder {
    capacity: usize,
    inner: Mutex<Inner>,
}

impl Recorder {
    /// Creates a recorder of up to `capacity` requests.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, inner: Mutex::default() }
    }

    /// Opens the ticket of a request whose headers have arrived.
    pub(crate) fn open(&self, parts: &Parts) -> Ticket {
        let received = (self.capacity > 0).then(|| Received::new(parts));
        let mut inner = self.lock();
        inner.last += 1;
        let entry = Arc::new(Entry {
            n: inner.last,
            received,
            outcome: AtomicU8::new(Outcome::Pending as u8),
            events_sent: AtomicU64::new(0),
            prompt_tokens: AtomicU64::new(0),
            completion_tokens: AtomicU64::new(0),
        });
        inner.totals.requests.fetch_add(1, Ordering::Relaxed);
        if self.capacity > 0 {
            if inner.ring.len() >= self.capacity {
                inner.remove_oldest();
            }
            inner.ring.push_back(Arc::clone(&entry));
        }
        Ticket { entry, totals: Arc::clone(&inner.totals), settled: false, is_leaving: false }
    }

    /// Records the body of a request, byte for byte.
    pub(crate) fn record_body(&self, ticket: &Ticket, body: &[u8]) {
        let Some(received) = &ticket.entry.received else { return };
        let copy: Box<[u8]> = body.into();
        let mut inner = self.lock();
        // The bytes of an entry that has been removed must not count: nothing would subtract them again.
        let oldest = inner.ring.front().map_or(u64::MAX, |entry| entry.n);
        let same_epoch = Arc::ptr_eq(&inner.totals, &ticket.totals);
        if same_epoch && ticket.entry.n >= oldest && received.body.set(copy).is_ok() {
            inner.bytes += body.len();
            while inner.bytes > MAX_BYTES && inner.ring.len() > 1 {
                inner.remove_oldest();
            }
        }
    }

    /// The recorded requests, oldest first.
    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        self.lock().ring.iter().cloned().collect()
    }

    /// The counts.
    pub(crate) fn totals(&self) -> Arc<Totals> {
        Arc::clone(&self.lock().totals)
    }

    /// Deletes everything and restarts the counts. Responses that are still in flight no longer count.
    pub(crate) fn clear(&self) {
        *self.lock() = Inner::default();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remove_oldest(&mut self) {
        if let Some(entry) = self.ring.pop_front() {
            self.bytes -= entry.received.as_ref().map_or(0, |received| received.body().len());
        }
    }
}

/// The obligation to report the outcome of one response.
pub(crate) struct Ticket {
    entry: Arc<Entry>,
    totals: Arc<Totals>,
    settled: bool,
    is_leaving: bool,
}

impl Ticket {
    /// Number of the request.
    pub(crate) fn n(&self) -> u64 {
        self.entry.n
    }

    /// Bills a call. Whatever becomes of the connection, the provider does what it was asked for.
    pub(crate) fn bill(&self, billed: Billed) {
        let Billed { prompt, cached, written, written_1h, completion } = billed;
        let totals = &self.totals;
        for (sum, tokens) in [
            (&totals.billed_prompt, prompt),
            (&totals.billed_cached, cached),
            (&totals.billed_written, written),
            (&totals.billed_written_1h, written_1h),
            (&totals.billed_completion, completion),
        ] {
            sum.fetch_add(tokens, Ordering::Relaxed);
        }
    }

    /// Records the prompt tokens when a response starts.
    pub(crate) fn prompt(&self, tokens: u64) {
        self.entry.prompt_tokens.store(tokens, Ordering::Relaxed);
        self.totals.prompt_tokens.fetch_add(tokens, Ordering::Relaxed);
    }

    /// Records events and completion tokens that were handed out.
    pub(crate) fn sent(&self, events: u64, tokens: u64) {
        if events > 0 {
            self.entry.events_sent.fetch_add(events, Ordering::Relaxed);
        }
        if tokens > 0 {
            self.entry.completion_tokens.fetch_add(tokens, Ordering::Relaxed);
            self.totals.completion_tokens.fetch_add(tokens, Ordering::Relaxed);
        }
    }

    /// Records that the whole response is handed out and only has to reach the operating system.
    pub(crate) fn leaving(&mut self) {
        if !self.is_leaving {
            self.is_leaving = true;
            self.totals.leaving.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Reports the outcome of the response. Only the first report counts.
    pub(crate) fn settle(&mut self, outcome: Outcome) {
        if self.settled {
            return;
        }
        self.settled = true;
        self.entry.outcome.store(outcome as u8, Ordering::Release);
        let count = match outcome {
            Outcome::Pending => return,
            Outcome::Completed => &self.totals.completed,
            Outcome::Cancelled => &self.totals.cancelled,
            Outcome::Cut => &self.totals.cut,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if self.is_leaving {
            self.totals.leaving.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.settle(Outcome::Cancelled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Parts {
        hyper::Request::post("/v1/chat/completions?x=1").header("X-A", "b").body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_ring_is_bounded_and_counting_continues() {
        let recorder = Recorder::new(2);
        let mut tickets: Vec<_> = (0..3).map(|_| recorder.open(&parts())).collect();
        recorder.record_body(&tickets[0], b"forgotten");
        recorder.record_body(&tickets[2], b"\xff\x00");
        let entries = recorder.entries();
        assert_eq!(entries.iter().map(|entry| entry.n).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(entries[1].received.as_ref().unwrap().body(), b"\xff\x00");
        assert_eq!(entries[1].received.as_ref().unwrap().headers, "x-a: b\n");
        assert_eq!(recorder.lock().bytes, 2);
        tickets[1].settle(Outcome::Cut);
        drop(tickets);
        assert_eq!(entries[0].state().outcome, Outcome::Cut);
        assert_eq!(entries[1].state().outcome, Outcome::Cancelled);
        let totals = recorder.totals();
        assert_eq!(totals.requests.load(Ordering::Relaxed), 3);
        assert_eq!(totals.cancelled.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_reset_leaves_older_tickets_uncounted() {
        let recorder = Recorder::new(0);
        let mut old = recorder.open(&parts());
        recorder.clear();
        old.settle(Outcome::Completed);
        assert_eq!(recorder.totals().completed.load(Ordering::Relaxed), 0);
        assert_eq!(recorder.open(&parts()).n(), 1);
        assert!(recorder.entries().is_empty());
    }
}
