//! A persistent connection to the target, and one request and its response on it.

use std::time::Duration;

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

/// A request that is sent again and again, and the response it must get.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Host and port to connect to.
    pub(crate) address: String,
    pub(crate) message: hyper::Request<Full<Bytes>>,
    pub(crate) expected: Expected,
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
        Ok(Exchange { expected: request.expected, started, response, body: Vec::new(), first_event: None })
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
        Ok(Sample { latency, first_event: self.first_event, events, bytes: self.body.len() })
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
        }
        Ok(true)
    }
}
