//! A persistent connection to the target, and one request and its response on it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Response;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::Instant;

use crate::figures::Sample;
use crate::response::{Expected, check, events};

/// The longest wait for a response, connecting included.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The text before the time of sending of an event, and the number of its digits. See `stamped` of the simulated provider.
const STAMP: &[u8] = b"sent_us=";
const STAMP_DIGITS: usize = 16;

/// A request that is sent again and again, and the response it must get.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Host and port to connect to.
    pub(crate) address: String,
    pub(crate) message: hyper::Request<Full<Bytes>>,
    pub(crate) expected: Expected,
    /// True if the events have the time of their sending.
    pub(crate) stamped: bool,
}

/// A connection that runs in a task of its own on the current `LocalSet`.
pub(crate) struct Connection(SendRequest<Full<Bytes>>);

/// A response that is being read.
pub(crate) struct Exchange {
    expected: Expected,
    started: Instant,
    response: Response<Incoming>,
    body: Vec<u8>,
    first_event: Option<Duration>,
    stamped: bool,
    /// The end of the last time in the body that has been read.
    scanned: usize,
    delays: Vec<Duration>,
}

impl Connection {
    /// Returns `kept` as soon as it can take the next request, or a new connection if the target has closed it.
    pub(crate) async fn reuse_or_open(kept: Option<Self>, address: &str) -> Result<Self> {
        if let Some(mut kept) = kept
            && kept.0.ready().await.is_ok()
        {
            return Ok(kept);
        }
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // An exchange in flight returns its error.
        spawn_local(connection);
        Ok(Self(sender))
    }

    /// Sends a request and waits for the head of its response.
    pub(crate) async fn send(&mut self, request: &Request) -> Result<Exchange> {
        let started = Instant::now();
        let response =
            self.0.send_request(request.message.clone()).await.context("waiting for a response")?;
        Ok(Exchange {
            expected: request.expected,
            started,
            response,
            body: Vec::new(),
            first_event: None,
            stamped: request.stamped,
            scanned: 0,
            delays: Vec::new(),
        })
    }
}

impl Exchange {
    /// Reads until the first event has arrived.
    pub(crate) async fn first_event(&mut self) -> Result<()> {
        while self.first_event.is_none() {
            if !self.read().await? {
                check(self.response.status(), &self.body, self.expected)?;
                bail!("a response without an event");
            }
        }
        Ok(())
    }

    /// Reads to the end and checks the whole.
    pub(crate) async fn finish(mut self) -> Result<Sample> {
        while self.read().await? {}
        let latency = self.started.elapsed();
        let events = check(self.response.status(), &self.body, self.expected)?;
        Ok(Sample {
            latency,
            first_event: self.first_event,
            events,
            bytes: self.body.len(),
            delays: self.delays,
        })
    }

    /// Reads the next part of the body; false at its end.
    async fn read(&mut self) -> Result<bool> {
        let Some(frame) = self.response.frame().await else { return Ok(false) };
        // Trailers are the only other kind of frame.
        if let Ok(data) = frame.context("reading a body")?.into_data() {
            self.body.extend_from_slice(&data);
            let streams = matches!(self.expected, Expected::Events(_));
            if streams && self.first_event.is_none() && events(&self.body).next().is_some() {
                self.first_event = Some(self.started.elapsed());
            }
            if self.stamped {
                self.measure_delays();
            }
        }
        Ok(true)
    }

    /// Measures the delay of each event that has arrived since the last time.
    fn measure_delays(&mut self) {
        #[expect(clippy::disallowed_methods, reason = "the rule is for Wasm; this is a native program")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        while let Some((sent, end)) = next_stamp(&self.body, self.scanned) {
            self.delays.push(now.saturating_sub(sent));
            self.scanned = end;
        }
    }
}

/// The next time of sending at or after `from`, since 1970, and the end of its text. None if it has not arrived whole.
fn next_stamp(body: &[u8], from: usize) -> Option<(Duration, usize)> {
    let rest = body.get(from..)?;
    let start = from + memchr::memmem::find(rest, STAMP)? + STAMP.len();
    let end = start + STAMP_DIGITS;
    let digits = std::str::from_utf8(body.get(start..end)?).ok()?;
    Some((Duration::from_micros(digits.parse().ok()?), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_counts_once_it_has_arrived_whole() {
        let body = b"data: sent_us=0000000000000007 x\n\ndata: sent_us=0000000000000008";
        let (first, end) = next_stamp(body, 0).unwrap();
        assert_eq!(first, Duration::from_micros(7));
        assert_eq!(next_stamp(body, end), Some((Duration::from_micros(8), body.len())));
        assert_eq!(next_stamp(&body[..body.len() - 1], end), None);
    }
}
